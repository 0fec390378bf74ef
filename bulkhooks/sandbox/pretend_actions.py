"""The actions of a pretend tenant: drafts that build, versions that deploy, bindings to triggers.

Part of the sandbox, and as `sandbox.py` apart from the client. The rules come from Auth0's OpenAPI
description, its pages on actions, and answers that others recorded. Where these are silent the
docstring at hand says what was chosen. Times are seconds on the server's clock; what builds or
deploys has a time at which it is done, so that a state follows from when it is asked for.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from .asked import (
    PAGING,
    Paths,
    Refusal,
    Request,
    bad_body,
    bad_path,
    check_keys,
    check_query,
    check_scope,
    expect,
    find_call,
    is_boolean,
    read_json,
    read_object,
)

Action: TypeAlias = dict[str, Any]

#: Most actions of a tenant, bindings of a trigger, and versions that are kept of an action.
MAX_ACTIONS: Final = 100
MAX_BINDINGS: Final = 20
MAX_VERSIONS: Final = 50
#: Most secrets and dependencies of an action, characters of a secret, and bytes of code.
MAX_SECRETS: Final = 30
MAX_DEPENDENCIES: Final = 10
MAX_SECRET_NAME: Final = 128
MAX_SECRET_VALUE: Final = 4096
MAX_CODE: Final = 100_000

_RUNTIME: Final = "node22"
_RUNTIMES: Final = ("node12", "node16", "node18", "node18-actions", _RUNTIME)
#: Versions of each trigger in the order in which they are told; those with a * are not current.
_TRIGGERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "post-login": ("v1*", "v2*", "v3"),
        "credentials-exchange": ("v2", "v1*"),
        "pre-user-registration": ("v1*", "v2"),
        "post-user-registration": ("v1*", "v2"),
        "post-change-password": ("v2", "v1*"),
        "send-phone-message": ("v1*", "v2"),
        "custom-phone-provider": ("v1",),
        "custom-email-provider": ("v1",),
        "password-reset-post-challenge": ("v1",),
        "custom-token-exchange": ("v1",),
        "event-stream": ("v1",),
        "password-hash-migration": ("v1",),
        "login-post-identifier": ("v1",),
        "signup-post-identifier": ("v1",),
    }
)
_ENTITY_BOUND: Final = frozenset(("custom-phone-provider", "custom-email-provider"))
_OFFERED: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = MappingProxyType(
    {
        (id, version.strip("*")): {
            "id": id,
            "version": version.strip("*"),
            "status": "DEPRECATED" if version.endswith("*") else "CURRENT",
            "runtimes": list(_RUNTIMES),
            "default_runtime": _RUNTIME,
            "compatible_triggers": [],
            "binding_policy": "entity-bound" if id in _ENTITY_BOUND else "trigger-bound",
        }
        for id, versions in _TRIGGERS.items()
        for version in versions
    }
)

#: How far a build is at what share of its time; one that fails is tried again for as long.
_BUILDS: Final = ((0.25, "pending"), (0.75, "building"), (1.0, "packaged"), (math.inf, "built"))
_FAILS: Final = ((0.25, "pending"), (1.0, "building"), (2.0, "retrying"), (math.inf, "failed"))
#: Of what was there from the start.
_AT_FIRST: Final = datetime(2024, 1, 1, tzinfo=UTC).timestamp()

_FIELDS: Final = ("name", "supported_triggers", "code", "dependencies", "runtime", "secrets")
_TRIGGER_KEYS: Final = frozenset(next(iter(_OFFERED.values())))
_NAMESPACE: Final = uuid.UUID("6f1c2a52-6d0e-5c63-9e7b-0d6a4b9b6a11")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secret:
    value: str
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """What of an action is built, and what its versions keep."""

    trigger: tuple[str, str]  #: id and version
    code: str = "module.exports = () => {}"
    dependencies: tuple[Mapping[str, str], ...] = ()
    runtime: str = _RUNTIME
    secrets: Mapping[str, _Secret] = field(default_factory=dict)
    began: float = -math.inf  #: to build
    takes: float = 0.0
    fails: bool = False

    def status(self, now: float) -> str:
        steps = _FAILS if self.fails else _BUILDS
        return next(
            (name for share, name in steps[:-1] if now < self.began + share * self.takes),
            steps[-1][1],
        )

    @property
    def ends(self) -> float:
        """When it is built, or failed."""
        return self.began + self.takes * (2 if self.fails else 1)

    def shown(self) -> dict[str, Any]:
        return {
            "supported_triggers": [dict(_OFFERED[self.trigger])],
            "code": self.code,
            "dependencies": [dict(each) for each in self.dependencies],
            "runtime": self.runtime,
            "secrets": [
                {"name": name, "updated_at": _stamp(secret.updated)}
                for name, secret in self.secrets.items()
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    id: str
    number: int
    draft: _Draft
    created: float
    deployed: float  #: when it begins to run


@dataclass(slots=True, kw_only=True)
class _Action:
    id: str
    name: str
    created: float
    updated: float
    draft: _Draft
    versions: list[_Version]  #: those of a draft that is still to be deployed lie in the future

    def current(self, now: float) -> _Version | None:
        """The version that runs."""
        ran = [each for each in self.versions if each.deployed <= now and not each.draft.fails]
        return ran[-1] if ran else None


@dataclass(slots=True, kw_only=True)
class _Binding:
    id: str
    action: str  #: its id
    display_name: str
    created: float
    updated: float


class PretendActions:
    """The actions of one tenant and what may be done to them. Each call gives status and body.

    A draft builds for `build_time` seconds, three times as long with dependencies; that of an
    action whose name is in `failing_builds` fails, after it was tried again. A version runs
    `deploy_time` seconds after it was asked for; until then the one before it does.
    """

    def __init__(
        self,
        tenant: str,
        actions: int,
        *,
        build_time: float,
        deploy_time: float,
        failing_builds: Collection[str],
        scopes: Collection[str] | None,
    ) -> None:
        """Starts with so many generated actions; `scopes` are of every token, None: all."""
        self._tenant, self._scopes = tenant, scopes
        self._build_time, self._deploy_time = build_time, deploy_time
        self._failing = frozenset(failing_builds)
        self._actions: dict[str, _Action] = {}
        self._bindings: dict[str, list[_Binding]] = {trigger: [] for trigger in _TRIGGERS}
        self._numbers = count(1)
        for number in range(actions):
            self.add(**_generated(number))

    def serve(self, request: Request, headers: dict[str, str], now: float) -> tuple[int, Any]:
        """Carries out what the request asks for at `now`; adds to `headers` of the answer.

        :raises Refusal: if there is no such call, or it may not be done.
        """
        call, scope, ids = find_call(_PATHS, request, headers)
        check_scope(scope, self._scopes)
        return call(self, request, now, *ids)

    # Past all rules

    def add(
        self,
        *,
        name: str,
        triggerId: str,
        code: str,
        dependencies: Mapping[str, str],
        secrets: Mapping[str, str],
        deployed: bool,
        bound: bool | int,
    ) -> str:
        """Puts an action there that has been built long ago; gives its id."""
        if any(each.name == name for each in self._actions.values()):
            raise ValueError(f"{self._tenant} has an action {name!r} already")
        draft = _Draft(
            trigger=_current_version(triggerId),
            code=code,
            dependencies=_listed(dependencies),
            secrets={
                key: _Secret(value=value, updated=-math.inf) for key, value in secrets.items()
            },
        )
        action = self._new(name, draft, -math.inf)
        if deployed:
            self._deploy(action, draft, -math.inf)
        if bound is not False:
            bindings = self._bindings[triggerId]
            place = len(bindings) if bound is True else bound
            bindings.insert(place, self._binding(action, -math.inf))
        return action.id

    def all(self, now: float) -> list[Action]:
        """All actions as they are shown at `now`, in the order of their creation."""
        return [self._shown(action, now) for action in self._actions.values()]

    def secrets_of(self, id: str) -> dict[str, str]:
        """The secrets of an action's draft, with their values."""
        secrets = self._actions[id].draft.secrets
        return {name: secret.value for name, secret in secrets.items()}

    def bound_to(self, trigger: str) -> list[str]:
        """Names of the actions that are bound to a trigger, in their order."""
        return [self._actions[each.action].name for each in self._bindings[trigger]]

    def bind(self, trigger: str, names: Iterable[str]) -> None:
        """Binds these actions and no other; those that stay keep their bindings."""
        there = {each.action: each for each in self._bindings[trigger]}
        ids = {action.name: action.id for action in self._actions.values()}
        self._bindings[trigger] = [
            there.get(ids[name]) or self._binding(self._actions[ids[name]], -math.inf)
            for name in names
        ]

    # Actions

    def list_actions(self, request: Request, now: float) -> tuple[int, Any]:
        """`installed` are those of the marketplace, of which there are none."""
        query = request.query
        check_query(query, _LIST_QUERY)
        trigger, name, deployed = (query.get(k) for k in ("triggerId", "actionName", "deployed"))
        found = [
            action
            for action in self._actions.values()
            if query.get("installed") != "true"
            and trigger in (None, action.draft.trigger[0])
            and name in (None, action.name)
            and deployed in (None, "false" if action.current(now) is None else "true")
        ]
        shown = _paged(query, found)
        return 200, shown | {"actions": [self._shown(each, now) for each in shown.pop("found")]}

    def create_action(self, request: Request, now: float) -> tuple[int, Any]:
        """With `deploy` its first version is made as soon as it is built."""
        wanted = read_object(request)
        check_keys(wanted, (*_FIELDS, "modules", "deploy"), ("name", "supported_triggers"))
        deploy = expect(wanted.pop("deploy", False), bool, "deploy")
        self._check_name(wanted["name"], None)
        if len(self._actions) >= MAX_ACTIONS:
            raise Refusal(403, f"A tenant can have at most {MAX_ACTIONS} actions.", "too_many")
        draft = self._drafted(wanted, None, wanted["name"], now)
        action = self._new(wanted["name"], draft, now)
        if deploy:
            self._deploy(action, draft, draft.ends)
        return 201, self._shown(action, now)

    def get_action(self, request: Request, now: float, id: str) -> tuple[int, Any]:
        check_query(request.query, {})
        return 200, self._shown(self._action(id), now)

    def patch_action(self, request: Request, now: float, id: str) -> tuple[int, Any]:
        """Builds the draft anew, whatever changed. One that was still to be deployed still is."""
        action = self._action(id)
        changes = read_object(request)
        check_keys(changes, (*_FIELDS, "modules"))
        name = changes.get("name", action.name)
        self._check_name(name, id)
        draft = self._drafted(changes, action.draft, name, now)
        bound = any(each.action == id for each in self._bindings[action.draft.trigger[0]])
        if bound and draft.trigger[0] != action.draft.trigger[0]:
            raise bad_body("An action that is bound cannot change its trigger")
        action.name, action.draft, action.updated = name, draft, now
        made = [each for each in action.versions if each.created <= now]
        if len(made) < len(action.versions):
            action.versions = made
            self._deploy(action, draft, draft.ends)
        return 200, self._shown(action, now)

    def delete_action(self, request: Request, _: float, id: str) -> tuple[int, Any]:
        query = request.query
        check_query(query, {"force": is_boolean})
        action = self._action(id)
        bindings = self._bindings[action.draft.trigger[0]]
        left = [each for each in bindings if each.action != id]
        if len(left) < len(bindings) and query.get("force") != "true":
            raise Refusal(409, "Unable to delete an action bound to a trigger.")
        bindings[:] = left
        del self._actions[id]
        return 204, None

    # Versions

    def deploy_action(self, _: Request, now: float, id: str) -> tuple[int, Any]:
        action = self._action(id)
        if action.draft.status(now) != "built":
            said = "A draft must be in the 'built' state before it can be deployed."
            raise Refusal(400, said)
        return 202, self._version(action, self._deploy(action, action.draft, now), now)

    def list_versions(self, request: Request, now: float, id: str) -> tuple[int, Any]:
        """The newest first; the documentation does not say."""
        check_query(request.query, PAGING)
        action = self._action(id)
        found = [each for each in reversed(action.versions) if each.created <= now]
        shown = _paged(request.query, found)
        versions = [self._version(action, each, now) for each in shown.pop("found")]
        return 200, shown | {"versions": versions}

    def get_version(self, request: Request, now: float, id: str, of: str) -> tuple[int, Any]:
        check_query(request.query, {})
        action = self._action(id)
        return 200, self._version(action, _find_version(action, of, now), now)

    def deploy_version(self, request: Request, now: float, id: str, of: str) -> tuple[int, Any]:
        action = self._action(id)
        wanted = expect((read_json(request) if request.body else None) or {}, dict)
        check_keys(wanted, ("update_draft",))
        update_draft = expect(wanted.get("update_draft", False), bool, "update_draft")
        old = _find_version(action, of, now)
        if old.draft.fails:
            raise Refusal(400, "A version that was not built cannot be deployed.")
        if update_draft:
            action.draft, action.updated = old.draft, now
        return 202, self._version(action, self._deploy(action, old.draft, now), now)

    # Triggers and what is bound to them

    def list_triggers(self, request: Request, _: float) -> tuple[int, Any]:
        check_query(request.query, {})
        return 200, {"triggers": [dict(each) for each in _OFFERED.values()]}

    def list_bindings(self, request: Request, now: float, trigger: str) -> tuple[int, Any]:
        check_query(request.query, PAGING)
        shown = _paged(request.query, self._bound(trigger))
        bindings = [self._bound_action(trigger, each, now) for each in shown.pop("found")]
        return 200, shown | {"bindings": bindings}

    def patch_bindings(self, request: Request, now: float, trigger: str) -> tuple[int, Any]:
        """What stays keeps its binding, with the name that is shown unless there is a new one."""
        there = {each.action: each for each in self._bound(trigger)}
        wanted = read_object(request)
        check_keys(wanted, ("bindings",), ("bindings",))
        if trigger in _ENTITY_BOUND:
            raise Refusal(400, f"Bindings of {trigger} are managed by Auth0.")
        if len(expect(wanted["bindings"], list, "bindings")) > MAX_BINDINGS:
            raise bad_body(f"At most {MAX_BINDINGS} actions can be bound to a trigger", "bindings")
        bindings: dict[str, _Binding] = {}
        for each in wanted["bindings"]:
            action = self._referred(trigger, each, now)
            if action.id in bindings:
                raise bad_body(f"The action {action.name} is there twice", "bindings")
            binding = there.get(action.id) or self._binding(action, now)
            name = expect(each.get("display_name", binding.display_name), str, "display_name")
            if name != binding.display_name:
                binding = replace(binding, display_name=name, updated=now)
            bindings[action.id] = binding
        self._bindings[trigger] = list(bindings.values())
        shown = [self._bound_action(trigger, each, now) for each in bindings.values()]
        return 200, {"bindings": shown}

    def list_modules(self, request: Request, _: float) -> tuple[int, Any]:
        """There are none."""
        check_query(request.query, PAGING)
        shown = _paged(request.query, [])
        return 200, shown | {"modules": shown.pop("found")}

    # What these have in common

    def _action(self, id: str) -> _Action:
        try:
            return self._actions[id]
        except KeyError:
            raise Refusal(404, "The action does not exist.", "inexistent_action") from None

    def _bound(self, trigger: str) -> list[_Binding]:
        if trigger not in self._bindings:
            raise bad_path()
        return self._bindings[trigger]

    def _check_name(self, name: Any, but: str | None) -> None:
        if not expect(name, str, "name").strip():
            raise bad_body("Invalid value", "name")
        if any(each.name == name and each.id != but for each in self._actions.values()):
            raise Refusal(409, "An action with the same name already exists.", "action_conflict")

    def _drafted(
        self, fields: Mapping[str, Any], before: _Draft | None, name: str, now: float
    ) -> _Draft:
        """The draft with these fields, which begins to build."""
        changes: dict[str, Any] = {}
        if "supported_triggers" in fields:
            changes["trigger"] = _trigger_asked(fields["supported_triggers"])
        if "code" in fields:
            changes["code"] = expect(fields["code"], str, "code")
            if len(changes["code"].encode()) > MAX_CODE:
                raise bad_body(f"Code is longer than {MAX_CODE} bytes", "code")
        if "dependencies" in fields:
            changes["dependencies"] = _dependencies_asked(fields["dependencies"])
        if "runtime" in fields:
            changes["runtime"] = expect(fields["runtime"], str, "runtime")
            if changes["runtime"] not in _RUNTIMES:
                raise bad_body("Invalid value", "runtime")
        if "secrets" in fields:
            there = before.secrets if before else {}
            changes["secrets"] = _secrets_asked(fields["secrets"], there, now)
        if expect(fields.get("modules", []), list, "modules"):
            raise bad_body("There are no modules here", "modules")
        draft = replace(before, **changes) if before else _Draft(**changes)
        takes = self._build_time * (3 if draft.dependencies else 1)
        return replace(draft, began=now, takes=takes, fails=name in self._failing)

    def _new(self, name: str, draft: _Draft, now: float) -> _Action:
        id = self._made_id()
        action = _Action(id=id, name=name, created=now, updated=now, draft=draft, versions=[])
        self._actions[id] = action
        return action

    def _deploy(self, action: _Action, draft: _Draft, at: float) -> _Version:
        version = _Version(
            id=self._made_id(),
            number=action.versions[-1].number + 1 if action.versions else 1,
            draft=draft,
            created=at,
            deployed=at + self._deploy_time,
        )
        action.versions = [*action.versions[-MAX_VERSIONS + 1 :], version]
        return version

    def _binding(self, action: _Action, now: float) -> _Binding:
        return _Binding(
            id=self._made_id(),
            action=action.id,
            display_name=action.name,
            created=now,
            updated=now,
        )

    def _made_id(self) -> str:
        """The same in every run."""
        return str(uuid.uuid5(_NAMESPACE, f"{self._tenant}/{next(self._numbers)}"))

    def _referred(self, trigger: str, item: Any, now: float) -> _Action:
        """The action that one of the wanted bindings means, if it may be bound."""
        check_keys(expect(item, dict, "bindings"), ("ref", "display_name", "secrets"), ("ref",))
        if expect(item.get("secrets", []), list, "secrets"):
            raise bad_body("A binding has no secrets here", "secrets")
        ref = expect(item["ref"], dict, "ref")
        kind, value = ref.get("type", "action_name"), expect(ref.get("value"), str, "value")
        match kind:
            case "action_id":
                found = [each for each in self._actions.values() if each.id == value]
            case "action_name":
                found = [each for each in self._actions.values() if each.name == value]
            case "binding_id":
                bindings = self._bindings[trigger]
                found = [self._actions[each.action] for each in bindings if each.id == value]
            case _:
                raise bad_body("Invalid value", "type")
        if not found:
            raise Refusal(400, f"There is no {kind} {value}.")
        [action] = found
        if action.draft.trigger[0] != trigger:
            raise Refusal(400, f"The action {action.name} does not support {trigger}.")
        if action.current(now) is None:
            said = "Trying to create a binding for an action that has not been deployed yet"
            raise Refusal(400, said)
        return action

    # How they are shown

    def _base(self, action: _Action, now: float) -> dict[str, Any]:
        current = action.current(now)
        return {
            "id": action.id,
            "name": action.name,
            "supported_triggers": [dict(_OFFERED[action.draft.trigger])],
            "created_at": _stamp(action.created),
            "updated_at": _stamp(action.updated),
            "all_changes_deployed": current is not None and current.draft is action.draft,
        }

    def _shown(self, action: _Action, now: float) -> Action:
        draft, current = action.draft, action.current(now)
        status = draft.status(now)
        shown = self._base(action, now) | draft.shown() | {"status": status}
        if status == "built":
            shown["built_at"] = _stamp(draft.ends)
        if current:
            shown["deployed_version"] = self._bare_version(action, current, now)
        return shown

    def _bare_version(self, action: _Action, version: _Version, now: float) -> dict[str, Any]:
        draft = version.draft
        shown = {
            "id": version.id,
            "action_id": action.id,
            "number": version.number,
            "deployed": version is action.current(now),
            "status": "failed" if draft.fails else "built",
            "created_at": _stamp(version.created),
            "updated_at": _stamp(min(version.deployed, max(version.created, now))),
        }
        if draft.fails:
            shown["errors"] = [
                {
                    "id": "npm_install_failed",
                    "msg": f"The dependencies of {action.name} could not be installed.",
                    "url": "https://auth0.com/docs/customize/actions",
                }
            ]
        else:
            shown["built_at"] = _stamp(draft.ends)
        return shown | draft.shown()

    def _version(self, action: _Action, version: _Version, now: float) -> dict[str, Any]:
        return self._bare_version(action, version, now) | {"action": self._base(action, now)}

    def _bound_action(self, trigger: str, binding: _Binding, now: float) -> dict[str, Any]:
        return {
            "id": binding.id,
            "trigger_id": trigger,
            "display_name": binding.display_name,
            "action": self._shown(self._actions[binding.action], now),
            "created_at": _stamp(binding.created),
            "updated_at": _stamp(binding.updated),
        }


_ACTION: Final = "/api/v2/actions/actions/([^/]+)"
_PATHS: Final[Paths] = MappingProxyType(
    {
        re.compile("/api/v2/actions/actions"): {
            "GET": (PretendActions.list_actions, "read:actions"),
            "POST": (PretendActions.create_action, "create:actions"),
        },
        re.compile(_ACTION): {
            "GET": (PretendActions.get_action, "read:actions"),
            "PATCH": (PretendActions.patch_action, "update:actions"),
            "DELETE": (PretendActions.delete_action, "delete:actions"),
        },
        re.compile(f"{_ACTION}/deploy"): {
            "POST": (PretendActions.deploy_action, "create:actions"),
        },
        re.compile(f"{_ACTION}/versions"): {
            "GET": (PretendActions.list_versions, "read:actions"),
        },
        re.compile(f"{_ACTION}/versions/([^/]+)"): {
            "GET": (PretendActions.get_version, "read:actions"),
        },
        re.compile(f"{_ACTION}/versions/([^/]+)/deploy"): {
            "POST": (PretendActions.deploy_version, "create:actions"),
        },
        re.compile("/api/v2/actions/triggers"): {
            "GET": (PretendActions.list_triggers, "read:actions"),
        },
        re.compile("/api/v2/actions/triggers/([^/]+)/bindings"): {
            "GET": (PretendActions.list_bindings, "read:actions"),
            "PATCH": (PretendActions.patch_bindings, "update:actions"),
        },
        re.compile("/api/v2/actions/modules"): {
            "GET": (PretendActions.list_modules, "read:actions"),
        },
    }
)
_LIST_QUERY: Final = {
    **PAGING,
    "triggerId": _TRIGGERS.__contains__,
    "actionName": bool,
    "deployed": is_boolean,
    "installed": is_boolean,
}


def _paged(query: Mapping[str, str], all: Sequence[Any]) -> dict[str, Any]:
    """Head of a page, and what is `found` on it."""
    page, per_page = int(query.get("page", 0)), int(query.get("per_page", 20))
    found = all[page * per_page : (page + 1) * per_page]
    return {"total": len(all), "page": page, "per_page": per_page, "found": found}


def _find_version(action: _Action, id: str, now: float) -> _Version:
    for version in action.versions:
        if version.id == id and version.created <= now:
            return version
    raise Refusal(404, "The action version does not exist.", "inexistent_action_version")


def _current_version(trigger: str) -> tuple[str, str]:
    """A trigger with the version that is current."""
    return next((trigger, each) for each in _TRIGGERS[trigger] if not each.endswith("*"))


def _trigger_asked(asked: Any) -> tuple[str, str]:
    """A trigger without a version means the current one; not documented."""
    if len(expect(asked, list, "supported_triggers")) != 1:
        raise bad_body("Expected exactly one trigger", "supported_triggers")
    trigger = expect(asked[0], dict, "supported_triggers")
    check_keys(trigger, _TRIGGER_KEYS, ("id",))
    id = expect(trigger["id"], str, "id")
    if id not in _TRIGGERS:
        raise bad_body("Invalid value", "id")
    found = (id, expect(trigger.get("version", _current_version(id)[1]), str, "version"))
    if found not in _OFFERED:
        raise Refusal(400, f"The trigger {id} has no version {found[1]}.", "invalid_body")
    return found


def _dependencies_asked(asked: Any) -> tuple[Mapping[str, str], ...]:
    if len(expect(asked, list, "dependencies")) > MAX_DEPENDENCIES:
        said = f"An action can have at most {MAX_DEPENDENCIES} dependencies"
        raise bad_body(said, "dependencies")
    found: dict[str, Mapping[str, str]] = {}
    for each in asked:
        check_keys(
            expect(each, dict, "dependencies"),
            ("name", "version", "registry_url"),
            ("name", "version"),
        )
        for key, value in each.items():
            if not expect(value, str, key):
                raise bad_body("Invalid value", key)
        if each["name"] in found:
            raise bad_body(f"{each['name']} is there twice", "dependencies")
        found[each["name"]] = each
    return tuple(found.values())


def _secrets_asked(asked: Any, there: Mapping[str, _Secret], now: float) -> dict[str, _Secret]:
    """The whole list; one without a value keeps that which it has."""
    if len(expect(asked, list, "secrets")) > MAX_SECRETS:
        raise bad_body(f"An action can have at most {MAX_SECRETS} secrets", "secrets")
    found: dict[str, _Secret] = {}
    for each in asked:
        name = expect(expect(each, dict, "secrets").get("name"), str, "name")
        if not 1 <= len(name) <= MAX_SECRET_NAME:
            raise bad_body(f"Expected 1 to {MAX_SECRET_NAME} characters", "name")
        if name in found:
            raise bad_body(f"The secret {name} is there twice", "secrets")
        value = each.get("value")
        if value is None:
            if name not in there:
                raise bad_body(f"The secret {name} has no value", "secrets")
            found[name] = there[name]
            continue
        if len(expect(value, str, "value")) > MAX_SECRET_VALUE:
            raise bad_body(f"Expected at most {MAX_SECRET_VALUE} characters", "value")
        found[name] = _Secret(value=value, updated=now)
    return found


def _listed(dependencies: Mapping[str, str]) -> tuple[Mapping[str, str], ...]:
    return tuple({"name": name, "version": version} for name, version in dependencies.items())


def _stamp(at: float) -> str:
    moment = datetime.fromtimestamp(at if math.isfinite(at) else _AT_FIRST, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


#: Of each generated action: trigger, name, and the function that its code exports.
_KINDS: Final = (
    ("post-login", "enrich-profile", "onExecutePostLogin = async (event, api)"),
    (
        "pre-user-registration",
        "block-throwaway-mail",
        "onExecutePreUserRegistration = async (event, api)",
    ),
    ("credentials-exchange", "tenant-claims", "onExecuteCredentialsExchange = async (event, api)"),
    ("post-user-registration", "notify-sales", "onExecutePostUserRegistration = async (event)"),
    ("post-change-password", "tell-security", "onExecutePostChangePassword = async (event)"),
    ("send-phone-message", "route-by-country", "onExecuteSendPhoneMessage = async (event)"),
)


def _generated(number: int) -> dict[str, Any]:
    """Action `number` (from 0) of every tenant: the triggers in turn, the first of each bound."""
    turn, place = divmod(number, len(_KINDS))
    trigger, name, head = _KINDS[place]
    return {
        "name": name + (f"-{turn + 1}" if turn else ""),
        "triggerId": trigger,
        "code": f"exports.{head} => {{\n  console.log('{name}', event.request);\n}};\n",
        "dependencies": {"axios": "1.7.9"} if number % 3 == 1 else {},
        "secrets": {"API_KEY": f"key-of-{name}"} if number % 2 else {},
        "deployed": turn < 2,
        "bound": turn == 0,
    }
