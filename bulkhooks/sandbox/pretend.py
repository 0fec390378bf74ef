"""The hooks of a pretend tenant, and the rules that Auth0 keeps about them.

Part of the sandbox, and as `sandbox.py` apart from the client. The rules come from Auth0's OpenAPI
description and its pages on hooks. Where these are silent the docstring at hand says what was
chosen.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

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

#: What enabling a second hook of a trigger gets: a 409, a 400, or 200 and the first one goes off.
SecondEnable = Literal["conflict", "bad_request", "switch"]
#: What may be done to hooks. "read-only", as they have been since 2024-11-18: enabled and secrets
#: may change, and hooks be deleted; "gone": nothing, every call is refused.
Lifecycle = Literal["active", "read-only", "gone"]
#: What every call gets when hooks are gone; that is not documented.
Gone = Literal[403, 404, 410, 501]
Hook: TypeAlias = dict[str, Any]

#: Most secrets a hook can have.
MAX_SECRETS: Final = 20
MASK: Final = "_VALUE_NOT_SHOWN_"

#: Of each trigger, in the order of generation: names of hooks, and what a script is called with.
_KINDS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("pre-user-registration", ("fraud-check", "invite-only", "age-gate"), "user, context, cb"),
    ("post-user-registration", ("audit-log", "welcome-mail", "crm-sync"), "user, context, cb"),
    ("credentials-exchange", ("add-claims", "scope-guard"), "client, scope, audience, context, cb"),
    ("post-change-password", ("password-notice", "end-sessions"), "user, context, cb"),
    ("send-phone-message", ("sms-gateway", "voice-call"), "recipient, text, context, cb"),
)
_TRIGGERS: Final = frozenset(trigger for trigger, _, _ in _KINDS)
_FIELDS: Final = ("id", "name", "triggerId", "enabled", "script", "dependencies")
_LISTED: Final = tuple(field for field in _FIELDS if field != "script")
_GONE: Final[Mapping[Gone, str]] = MappingProxyType(
    {
        403: "This endpoint is disabled for your tenant.",
        404: "Not Found",
        410: "Gone",
        501: "Not Implemented",
    }
)
_NAME: Final = re.compile(r"[a-zA-Z0-9]([ \-a-zA-Z0-9]*[a-zA-Z0-9])?")
_ID: Final = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one tenant lets its clients do."""

    second_enable: SecondEnable
    lifecycle: Lifecycle
    gone: Gone
    scopes: Collection[str] | None  #: of every token; None: all


class PretendTenant:
    """The hooks of one tenant and what may be done to them. Each call gives status and body."""

    def __init__(self, name: str, hooks: int, rules: Rules) -> None:
        """Starts with so many generated hooks."""
        self.hooks: dict[str, Hook] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.name = name
        self._rules = rules
        self._created = 0
        for number in range(hooks):
            hook, secrets = _generated(number)
            self.secrets[self.add(hook)["id"]] = secrets

    def serve(self, request: Request, headers: dict[str, str]) -> tuple[int, Any]:
        """Carries out what the request asks for; adds to `headers` of the answer.

        :raises Refusal: if there is no such call, or it may not be done.
        """
        call, scope, ids = find_call(_PATHS, request, headers)
        rules = self._rules
        if rules.lifecycle == "gone":
            raise Refusal(rules.gone, _GONE[rules.gone])
        check_scope(scope, rules.scopes)
        return call(self, request, *ids)

    def add(self, hook: Hook) -> Hook:
        """Puts a hook there as it is, `id` made unless given."""
        self._created += 1
        hook["id"] = hook["id"] or _made_id(self.name, self._created)
        if hook["id"] in self.hooks or any(h["name"] == hook["name"] for h in self.hooks.values()):
            raise ValueError(f"{self.name} has a hook {hook['id']} or {hook['name']!r} already")
        self.hooks[hook["id"]] = hook
        return hook

    def list_hooks(self, request: Request) -> tuple[int, Any]:
        query = request.query
        check_query(query, _QUERY)
        enabled, trigger = query.get("enabled"), query.get("triggerId")
        fields = [field for field in _wanted(query) if field in _LISTED]
        found = [
            {field: hook[field] for field in fields}
            for hook in self.hooks.values()
            if (trigger is None or hook["triggerId"] == trigger)
            and (enabled is None or hook["enabled"] is (enabled == "true"))
        ]
        total, start, limit = len(found), 0, len(found)
        if "page" in query or "per_page" in query:
            limit = int(query.get("per_page", 50))
            start = int(query.get("page", 0)) * limit
        shown = found[start : start + limit]
        if query.get("include_totals") == "true":
            return 200, {"start": start, "limit": limit, "total": total, "hooks": shown}
        return 200, shown

    def create_hook(self, request: Request) -> tuple[int, Any]:
        """The first hook of a trigger comes out enabled, whatever `enabled` says."""
        self._check_may_change({"name"})
        wanted = _payload(request, _FIELDS[1:], required=("name", "script", "triggerId"))
        self._check_name_free(wanted["name"], None)
        trigger = wanted["triggerId"]
        first = all(hook["triggerId"] != trigger for hook in self.hooks.values())
        if wanted.get("enabled"):
            self._make_room(trigger, None)
        hook = {"id": None, "dependencies": {}, **wanted}
        hook["enabled"] = first or wanted.get("enabled", False)
        return 201, self.add(hook)

    def get_hook(self, request: Request, id: str) -> tuple[int, Any]:
        hook = self._hook(id)
        check_query(request.query, {"fields": _are_fields})
        return 200, {field: hook[field] for field in _wanted(request.query)}

    def patch_hook(self, request: Request, id: str) -> tuple[int, Any]:
        changes = _payload(request, ("name", "script", "enabled", "dependencies"))
        hook = self._hook(id)
        self._check_may_change(changes.keys())
        if "name" in changes:
            self._check_name_free(changes["name"], id)
        if changes.get("enabled"):
            self._make_room(hook["triggerId"], id)
        hook.update(changes)
        return 200, hook

    def delete_hook(self, _: Request, id: str) -> tuple[int, Any]:
        """404 for a hook that is not there; the documentation does not say."""
        del self.hooks[self._hook(id)["id"]]
        self.secrets.pop(id, None)
        return 204, None

    def get_secrets(self, _: Request, id: str) -> tuple[int, Any]:
        self._hook(id)
        return 200, dict.fromkeys(self.secrets.get(id, {}), MASK)

    def post_secrets(self, request: Request, id: str) -> tuple[int, Any]:
        new, there = self._secrets_asked(request, id, dict)
        if taken := new.keys() & there:
            raise Refusal(409, f"Secret {min(taken)} exists already.", "secret_conflict")
        if len(there) + len(new) > MAX_SECRETS:
            raise bad_body(f"A hook can have at most {MAX_SECRETS} secrets")
        there.update(new)
        return 201, None

    def patch_secrets(self, request: Request, id: str) -> tuple[int, Any]:
        values, there = self._secrets_asked(request, id, dict)
        _check_all_there(values, there)
        there.update(values)
        return 201, None

    def delete_secrets(self, request: Request, id: str) -> tuple[int, Any]:
        """404 for a name that is not there, and nothing is deleted; not documented either."""
        names, there = self._secrets_asked(request, id, list)
        _check_all_there(names, there)
        for name in set(names):
            del there[name]
        return 204, None

    def _secrets_asked(
        self, request: Request, id: str, kind: type[dict[str, Any]] | type[list[Any]]
    ) -> tuple[Any, dict[str, str]]:
        """The body, an object or array of strings, and the hook's secrets."""
        self._hook(id)
        body = expect(read_json(request), kind)
        if not 1 <= len(body) <= MAX_SECRETS:
            raise bad_body(f"Expected 1 to {MAX_SECRETS} secrets")
        for each in body.values() if isinstance(body, dict) else body:
            expect(each, str)
        return body, self.secrets.setdefault(id, {})

    def _hook(self, id: str) -> Hook:
        if not _ID.fullmatch(id):
            raise bad_path()
        try:
            return self.hooks[id]
        except KeyError:
            raise Refusal(404, "The hook does not exist.", "inexistent_hook") from None

    def _check_may_change(self, fields: Set[str]) -> None:
        """How Auth0 refuses what is read-only is not documented; it is seen as a deprecation."""
        if self._rules.lifecycle == "read-only" and fields - {"enabled"}:
            raise Refusal(403, "Insufficient privileges to use this deprecated feature")

    def _check_name_free(self, name: str, but: str | None) -> None:
        if any(hook["name"] == name and hook["id"] != but for hook in self.hooks.values()):
            raise Refusal(409, "A hook with the same name already exists.", "hook_conflict")

    def _make_room(self, trigger: str, id: str | None) -> None:
        """Only one hook of a trigger may be enabled; called before `id` becomes the one."""
        for hook in self.hooks.values():
            if not hook["enabled"] or hook["triggerId"] != trigger or hook["id"] == id:
                continue
            if self._rules.second_enable != "switch":
                status = 409 if self._rules.second_enable == "conflict" else 400
                message = f"Another {trigger} hook is enabled already."
                raise Refusal(status, message, "trigger_conflict")
            hook["enabled"] = False


_PATHS: Final[Paths] = MappingProxyType(
    {
        re.compile(r"/api/v2/hooks"): {
            "GET": (PretendTenant.list_hooks, "read:hooks"),
            "POST": (PretendTenant.create_hook, "create:hooks"),
        },
        re.compile(r"/api/v2/hooks/([^/]+)"): {
            "GET": (PretendTenant.get_hook, "read:hooks"),
            "PATCH": (PretendTenant.patch_hook, "update:hooks"),
            "DELETE": (PretendTenant.delete_hook, "delete:hooks"),
        },
        re.compile(r"/api/v2/hooks/([^/]+)/secrets"): {
            "GET": (PretendTenant.get_secrets, "read:hooks"),
            "POST": (PretendTenant.post_secrets, "update:hooks"),
            "PATCH": (PretendTenant.patch_secrets, "update:hooks"),
            "DELETE": (PretendTenant.delete_secrets, "delete:hooks"),
        },
    }
)


def _payload(
    request: Request, allowed: Collection[str], *, required: Collection[str] = ()
) -> dict[str, Any]:
    """Fields of a hook out of the body, checked as Auth0's schema would."""
    payload = read_object(request)
    check_keys(payload, allowed, required)
    if not payload:
        raise bad_body("Too few properties defined (0), minimum 1")
    for key, value in payload.items():
        _check_field(key, value)
    return payload


def _check_field(key: str, value: Any) -> None:
    expect(value, {"enabled": bool, "dependencies": dict}.get(key, str), key)
    match key:
        case "name":
            good = _NAME.fullmatch(value) is not None
        case "script":
            good = value != ""
        case "triggerId":
            good = value in _TRIGGERS
        case "dependencies":
            good = all(isinstance(version, str) for version in value.values())
        case _:
            good = True
    if not good:
        raise bad_body("Invalid value", key)


def _check_all_there(names: Iterable[str], there: Collection[str]) -> None:
    for name in names:
        if name not in there:
            raise Refusal(404, f"Secret {name} does not exist.", "inexistent_secret")


def _are_fields(value: str) -> bool:
    """'Leave empty to retrieve all fields.'"""
    return not value or all(field in _FIELDS for field in value.split(","))


_QUERY: Final[Mapping[str, Callable[[str], bool]]] = {
    **PAGING,
    "include_totals": is_boolean,
    "enabled": is_boolean,
    "triggerId": _TRIGGERS.__contains__,
    "fields": _are_fields,
}


def _wanted(query: Mapping[str, str]) -> Collection[str]:
    return query["fields"].split(",") if query.get("fields") else _FIELDS


def _made_id(tenant: str, number: int) -> str:
    """26 upper-case letters and digits, as Auth0's ids; the same in every run."""
    digest = hashlib.sha256(f"{tenant}/{number}".encode()).digest()
    return "01" + base64.b32encode(digest).decode()[:24]


_SCRIPT: Final = """module.exports = function (%s) {
%s
};
"""
_BODY: Final = """  console.log('%s', context);
  cb(null, {});"""
#: What some hooks do instead, by name: such as hooks do that people have.
_BODIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fraud-check": """  if (user.email.endsWith('@spam.example')) {
    return cb(new PreUserRegistrationError('spam', 'Please use another address.'));
  }
  cb(null, { user: { app_metadata: { checked: true } } });""",
        "invite-only": """  context.webtask.storage.get(function (error, data) {
    cb(error, { user: { app_metadata: { invited: data } } });
  });""",
        "add-claims": """  const access_token = { scope: scope };
  access_token['https://acme.example/plan'] = 'free';
  cb(null, access_token);""",
        "sms-gateway": """  const axios = require('axios');
  const message = { to: recipient, text: text, key: context.webtask.secrets.SMS_KEY };
  axios.post('https://sms.example/send', message).then(() => cb(null, {}), cb);""",
    }
)
#: Names of the secrets that some hooks have.
_SECRETS: Final[Mapping[str, str]] = MappingProxyType({"sms-gateway": "SMS_KEY"})


def _generated(number: int) -> tuple[Hook, dict[str, str]]:
    """Hook `number` (from 0) of every tenant, and its secrets: the triggers in turn, the first of
    each enabled."""
    turn, place = divmod(number, len(_KINDS))
    trigger, names, arguments = _KINDS[place]
    again, which = divmod(turn, len(names))
    name = names[which]
    hook = {
        "id": None,
        "name": name + (f"-{again + 1}" if again else ""),
        "triggerId": trigger,
        "enabled": turn == 0,
        "script": _SCRIPT % (arguments, _BODIES.get(name, _BODY.replace("%s", name))),
        "dependencies": {"axios": "1.7.9"} if number % 3 == 1 else {},
    }
    return hook, {_SECRETS[name]: f"key-of-{name}"} if name in _SECRETS else {}
