"""Actions: their fields and rules, the calls that read and write them and what is bound to a
trigger, and what an edit of one means.

All that is known of actions is here, as all that is known of hooks is in `hooks`; the engine sees
both alike. An action's id is here, and everywhere but in files that people write, `actions/` and
what the API calls its id; one that is not there yet is `new:actions/NAME`.

A trigger's bindings are one ordered list, and are written whole. What an edit says of an action's
place in it (`bound`, `position`) is a field of the action; the list is read right before each
write, the others in it and their order are kept, and it is read back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from .errors import Gone, ItemError
from .items import ABSENT, SECRET, Call, Edit, Fields, Read, Step

#: Auth0's OpenAPI description, ActionTriggerTypeEnum.
Trigger = Literal[
    "post-login",
    "credentials-exchange",
    "pre-user-registration",
    "post-user-registration",
    "post-change-password",
    "send-phone-message",
    "custom-phone-provider",
    "custom-email-provider",
    "password-reset-post-challenge",
    "custom-token-exchange",
    "event-stream",
    "password-hash-migration",
    "login-post-identifier",
    "signup-post-identifier",
]

#: How ids of actions begin here.
PREFIX: Final = "actions/"
#: What the API takes as an action's id.
ID: Final = re.compile(r"^[A-Za-z0-9-]+\Z")
#: https://auth0.com/docs/customize/actions/limitations: secrets and dependencies of an action,
#: bytes of its code, actions of a tenant, actions that are bound to a trigger.
MAX_SECRETS, MAX_DEPENDENCIES, MAX_CODE, MAX_ACTIONS, MAX_BOUND = 30, 10, 100_000, 100, 20
#: The permissions that all calls of actions take.
SCOPES: Final = ("read:actions", "create:actions", "update:actions", "delete:actions")
READ: Final = SCOPES[0]
#: Kinds of steps whose answer does not show that it is done: it must be read back.
SILENT: Final = (
    *("delete", "create_secrets", "update_secrets", "remove_secrets"),
    *("deploy", "bind"),
)
#: Kinds of steps before which what they write to is read: what others have there must be kept, or
#: must be what was planned.
REREAD: Final = ("bind", "deploy", "create_secrets", "update_secrets", "remove_secrets")
#: Seconds that a build, or a deployment, may take (45 were seen), and between two looks at it.
BUILT_IN, LOOK_EVERY = 300.0, 2.0
#: What a draft has, and its deployment takes over.
DRAFT: Final = ("code", "dependencies", "runtime")

_PAGE: Final = 100
_MAX_PAGES: Final = 100
#: Readings of a trigger's list of which one must be whole.
_READINGS: Final = 3
LOOK: Final = "look at the tenant's base_url"
_BETWEEN: Final = "look at what stands between here and the tenant"
_NAMED: Final = re.compile(r"(before|after) (.+)", re.DOTALL)


class _NotWhole(ItemError):
    """Pages of a list that do not make one list: others may have changed it meanwhile."""


class Binding(msgspec.Struct, frozen=True):
    """One place of a trigger's list."""

    id: str  #: the action's; the binding's own where it is of none of the tenant's actions
    name: str
    display_name: str
    ref: Fields  #: what names it in a write


# ---- the calls (https://auth0.com/docs/api/management/v2/actions)


def _call(method: str, path: str, verb: str, body: Fields | None = None, **more: bool) -> Call:
    return Call(method=method, path=f"/actions/{path}", scope=f"{verb}:actions", body=body, **more)


def list_actions(page: int, name: str = "") -> Call:
    """Page `page` (from 0) of all actions, with their code; of those of a name where it is given
    and the server looks at it."""
    named = f"&actionName={quote(name, safe='')}" if name else ""
    return _call("GET", f"actions?page={page}&per_page={_PAGE}{named}", "read", whole=True)


def get_action(action: str) -> Call:
    """One action with its code and what is deployed of it."""
    return _call("GET", action, "read")


def list_triggers() -> Call:
    """All triggers with their versions."""
    return _call("GET", "triggers", "read", whole=True)


def list_bindings(trigger: str, page: int) -> Call:
    """Page `page` (from 0) of what is bound to a trigger."""
    path = f"triggers/{quote(trigger, safe='')}/bindings?page={page}&per_page={_PAGE}"
    return _call("GET", path, "read", whole=True)


# ---- what the answers hold


def action_in(answer: object) -> tuple[str, Fields]:
    """The id and the known fields of the action in an answer, a field without a value left out.

    `dependencies` are a mapping, `deployed` is whether a version of it is, `all_changes_deployed`
    whether that is its draft, `version` the version's id and `runs` a digest of what it has.
    Raises ItemError when it shows no action.
    """
    raw = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(raw, str) or not ID.match(raw):
        raise ItemError("the answer is not an action", _BETWEEN)
    id = PREFIX + raw
    fields: Fields = {"id": id}
    for key in ("name", "code", "runtime", "status"):
        if isinstance(value := answer.get(key), str):
            fields[key] = value
    for trigger in _mappings(answer.get("supported_triggers"))[:1]:
        if isinstance(trigger.get("id"), str):
            fields["triggerId"] = trigger["id"]
    if "dependencies" in answer:
        fields["dependencies"] = _versions(answer["dependencies"])
    if isinstance(answer.get("secrets"), list):
        names = [secret.get("name") for secret in _mappings(answer["secrets"])]
        fields |= {SECRET + str(name): True for name in names}
        fields["secrets"] = True
    if odd := [key for key, value in fields.items() if not _shown_as_it_is(key, value)]:
        raise ItemError(f"the answer is not an action: odd {odd[0].partition('.')[0]}", _BETWEEN)
    return id, fields | _deployment(answer)


def _shown_as_it_is(key: str, value: Any) -> bool:
    """Whether a field can be shown to people: all but code are of one line."""
    lines = [key, *value, *value.values()] if isinstance(value, dict) else [key, str(value)]
    return key == "code" or all(line.isprintable() for line in lines)


def _deployment(answer: Fields) -> Fields:
    version = answer.get("deployed_version")
    version = version if isinstance(version, dict) else {}
    deployed = bool(version) and version.get("deployed") is not False
    all_changes = answer.get("all_changes_deployed")
    if not isinstance(all_changes, bool):
        all_changes = _alike(answer, version)
    fields: Fields = {"deployed": deployed, "all_changes_deployed": deployed and all_changes}
    id, code = version.get("id"), version.get("code")
    if deployed and isinstance(code, str) and isinstance(id, str) and ID.match(id):
        packages = sorted(_versions(version.get("dependencies")).items())
        secrets = sorted(str(each.get("name")) for each in _mappings(version.get("secrets")))
        had = msgspec.json.encode([code, packages, version.get("runtime"), secrets])
        fields |= {"version": id, "runs": blake2b(had, digest_size=6).hexdigest()}
    return fields


def _alike(draft: Fields, version: Fields) -> bool:
    """Whether a version has all of a draft, as far as answers tell: none has a secret's value, and
    some have less of a version than of its draft."""
    ours, theirs = (
        {
            "code": it.get("code"),
            "dependencies": _versions(it.get("dependencies")),
            "runtime": it.get("runtime"),
            "secrets": {str(each.get("name")) for each in _mappings(it.get("secrets"))},
        }
        for it in (draft, version)
    )
    return all(
        theirs[key] == ours[key] for key in ("code", "dependencies", *version) if key in ours
    )


def _mappings(value: object) -> list[Fields]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _versions(value: object) -> dict[str, str]:
    return {str(each.get("name")): str(each.get("version")) for each in _mappings(value)}


def _page_of(answer: object, what: str) -> list[Any]:
    found = answer.get(what) if isinstance(answer, dict) else answer
    if isinstance(found, list):
        return found
    raise ItemError(f"the answer is not a list of {what}", LOOK)


async def list_all(read: Read, name: str = "") -> dict[str, Fields]:
    """All actions of a tenant by their ids, or those called `name` and, of a server that does not
    look at names, others. Pages until one brings nothing new. Raises ItemError, also after 100."""
    return {id: fields for id, (fields, _) in (await list_whole(read, name)).items()}


async def list_whole(read: Read, name: str = "") -> dict[str, tuple[Fields, Fields]]:
    """The same, each beside all that the server shows of it."""
    actions: dict[str, tuple[Fields, Fields]] = {}
    for page in range(_MAX_PAGES):
        answer = await read(list_actions(page, name))
        known = len(actions)
        for raw in _page_of(answer, "actions"):
            id, fields = action_in(raw)
            actions[id] = fields, raw
        total = _total(answer)
        if len(actions) == known or len(actions) == total:
            if len(actions) < (total or 0):
                cause = f"the list of actions is not whole: {len(actions)} of {total}"
                raise ItemError(cause, _BETWEEN)
            return actions
    raise ItemError("the list of actions has no end", LOOK)


async def read_action(action: str, read: Read) -> Fields:
    """One action. Raises ItemError, Gone when it is not there."""
    shown, fields = action_in(await read(get_action(action)))
    if shown != action:
        raise ItemError("the answer is another action", _BETWEEN)
    return fields


async def read_bindings(trigger: str, read: Read) -> list[Binding]:
    """What is bound to a trigger, in order: what is not read here would be unbound by the next
    write. A list that others changed between two of its pages is read anew, twice at most. Raises
    ItemError."""
    for _ in range(_READINGS - 1):
        try:
            return await _bindings_at_once(trigger, read)
        except _NotWhole:
            continue
    return await _bindings_at_once(trigger, read)


async def _bindings_at_once(trigger: str, read: Read) -> list[Binding]:
    """One reading of a trigger's list: pages until one is empty, or brings nothing new. Raises
    ItemError, also after 100 pages."""
    bindings: list[Binding] = []
    known: set[str] = set()
    totals: set[int] = set()
    for page in range(_MAX_PAGES):
        answer = await read(list_bindings(trigger, page))
        if total := _total(answer):  # behind the last page some tell 0
            totals.add(total)
        shown = {_ident(raw): raw for raw in _page_of(answer, "bindings")}
        new = [raw for ident, raw in shown.items() if ident not in known]
        if not new:
            if len(totals) > 1 or len(bindings) < max(totals, default=0):
                cause = f"the list of bindings is not whole: {len(bindings)} of {max(totals)}"
                raise _NotWhole(cause, _BETWEEN)
            return bindings
        known.update(map(_ident, new))
        bindings += map(_binding, new)
    raise ItemError("the list of bindings has no end", LOOK)


def _total(answer: object) -> int | None:
    total = answer.get("total") if isinstance(answer, dict) else None
    return total if type(total) is int else None


def _ident(raw: object) -> str:
    if isinstance(raw, dict):
        action = raw.get("action")
        id = raw.get("id") or (isinstance(action, dict) and action.get("id"))
        if isinstance(id, str) and ID.match(id):
            return id
    raise ItemError("the answer is not a list of bindings", LOOK)


def _binding(raw: Fields) -> Binding:
    action = raw.get("action")
    action = action if isinstance(action, dict) else {}
    id, name = action.get("id"), str(action.get("name", ""))
    display_name = str(raw.get("display_name") or name)
    if isinstance(id, str) and ID.match(id):
        ref = {"type": "action_id", "value": id}
        return Binding(PREFIX + id, name or display_name, display_name, ref)
    ref = {"type": "binding_id", "value": raw["id"]}
    return Binding(f"bindings/{raw['id']}", display_name, display_name, ref)


async def trigger_ids(read: Read) -> list[str]:
    """All triggers, in the server's order. Raises ItemError."""
    shown = _mappings(_page_of(await read(list_triggers()), "triggers"))
    return list(dict.fromkeys(str(trigger.get("id")) for trigger in shown))


async def current_versions(read: Read) -> dict[str, str]:
    """The version of each trigger that new actions are made for: the one whose status is CURRENT.
    Raises ItemError."""
    versions: dict[str, list[str]] = {}
    for trigger in _mappings(_page_of(await read(list_triggers()), "triggers")):
        if str(trigger.get("status", "CURRENT")).upper() == "CURRENT":
            versions.setdefault(str(trigger.get("id")), []).append(str(trigger.get("version")))
    # By number, for v10 comes after v9.
    return {id: max(found, key=lambda v: (len(v), v)) for id, found in versions.items()}


def triggers_of(shown: Fields) -> list[str]:
    """The triggers of an action as the server shows it: one, but for those of the marketplace."""
    return [str(each.get("id")) for each in _mappings(shown.get("supported_triggers"))]


def over_limits(code: str, dependencies: Mapping[str, str], secrets: int) -> Iterator[str]:
    """The limits of an action that one would break."""
    size = len(code.encode(errors="surrogatepass"))
    if size > MAX_CODE:
        yield f"{size:,} bytes of code: an action may have {MAX_CODE:,}"
    if len(dependencies) > MAX_DEPENDENCIES:
        yield f"{len(dependencies)} dependencies: an action may have {MAX_DEPENDENCIES}"
    if secrets > MAX_SECRETS:
        yield f"{secrets} secrets: an action may have {MAX_SECRETS}"


# ---- a place in a trigger's list


def arranged(order: Sequence[Binding], own: Binding, want: Fields, trigger: str) -> list[Binding]:
    """A trigger's list as `want` (`bound`, and `position` or `among`) would have it, the others
    in it left in their order. Raises ItemError where `position` names what is not bound."""
    rest = [each for each in order if each.id != own.id]
    if not want["bound"]:
        return rest
    own = next((each for each in order if each.id == own.id), own)
    if "among" in want:
        at = _place_among(rest, want["among"])
    elif "position" not in want:
        return list(order) if len(rest) < len(order) else [*rest, own]
    else:
        at = _place_at(rest, want["position"], trigger)
    return [*rest[:at], own, *rest[at:]]


def _place_at(rest: Sequence[Binding], position: str, trigger: str) -> int:
    named = _NAMED.fullmatch(position)
    if named is None:
        return 0 if position == "first" else len(rest)
    places = [at for at, each in enumerate(rest) if each.name == named[2]]
    if not places:
        raise ItemError(f"{named[2]} is not bound to {trigger}", "correct the edit's position")
    return places[0] + (named[1] == "after")


def _place_among(rest: Sequence[Binding], among: Sequence[Sequence[str]]) -> int:
    """A place by its old neighbours, by id and name, its own among them being ["", ""]: after the
    nearest of those ahead that is there still, else before the nearest of those behind, else last.
    One that was deleted and made again has its name and another id."""
    ids = {each.id: at for at, each in enumerate(rest)}
    names = {each.name: at for at, each in enumerate(rest) if each.name}
    places = [ids.get(id, names.get(name)) for id, name in among]
    at = next((at for at, (id, _) in enumerate(among) if not id), len(among))
    ahead = [place + 1 for place in reversed(places[:at]) if place is not None]
    behind = [place for place in places[at + 1 :] if place is not None]
    return [*ahead, *behind, len(rest)][0]


def in_place(order: Sequence[Binding], own: str, want: Fields) -> bool:
    """Whether a trigger's list has an action as `want` would: `before NAME` and `after NAME` are
    wherever that is so."""
    ids = [each.id for each in order]
    if not want["bound"] or own not in ids:
        return want["bound"] is (own in ids)
    at = ids.index(own)
    if "among" in want:
        return [each.id for each in arranged(order, order[at], want, "")] == ids
    position = want.get("position")
    if position in (None, "first", "last"):
        return position is None or at == (0 if position == "first" else len(ids) - 1)
    named = _NAMED.fullmatch(str(position))
    others = [place for place, each in enumerate(order) if named and each.name == named[2]]
    return any(at < place if named and named[1] == "before" else at > place for place in others)


# ---- a step: its write, what is read for it, and what that says


def request(step: Step, action: str, seen: Fields | None = None) -> Call:
    """The write of a step on the action of that id; `seen` is what was read for it, if anything.

    Raises ItemError where a place in a list is named by what is not there.
    """
    seen = step.before if seen is None else seen
    match step.kind:
        case "create":
            return _call("POST", "actions", "create", _written(step.want), whole=True)
        case "delete":
            return _call("DELETE", action, "delete")
        case "deploy" if "version" in step.want:
            return _call("POST", f"{action}/versions/{step.want['version']}/deploy", "create")
        case "deploy":
            return _call("POST", f"{action}/deploy", "create")
        case "bind":
            trigger = step.before["triggerId"]
            name = str(step.want.get("display_name", ""))
            ref = {"type": "action_id", "value": action.removeprefix(PREFIX)}
            own = Binding(action, name, name, ref)
            order = arranged(seen["order"], own, step.want, trigger) if "order" in seen else []
            bindings = [{"ref": each.ref, "display_name": each.display_name} for each in order]
            path = f"triggers/{quote(trigger, safe='')}/bindings"
            return _call("PATCH", path, "update", {"bindings": bindings}, whole=True)
        case "create_secrets" | "update_secrets" | "remove_secrets":
            # The list is written whole: a name without a value keeps the one that it has.
            values = {key.removeprefix(SECRET): value for key, value in step.want.items() if value}
            there = [key.removeprefix(SECRET) for key, value in seen.items() if _there(key, value)]
            kept = [name for name in there if SECRET + name not in step.want]
            entries = [{"name": name, "value": value} for name, value in values.items()]
            body = {"secrets": [*({"name": name} for name in kept), *entries]}
            return _call("PATCH", action, "update", body, secret=True)
        case _:
            return _call("PATCH", action, "update", _written(step.want))


def _there(key: str, value: object) -> bool:
    return key.startswith(SECRET) and value is not False


def _written(fields: Fields) -> Fields:
    """Fields as the API takes them."""
    body: Fields = {key: fields[key] for key in ("name", "code", "runtime") if key in fields}
    if "triggerId" in fields:
        trigger = {"id": fields["triggerId"], "version": fields["version"]}
        body["supported_triggers"] = [trigger]
    if "dependencies" in fields:
        packages = fields["dependencies"].items()
        body["dependencies"] = [{"name": name, "version": version} for name, version in packages]
    return body


def steps_of(edit: Edit) -> list[Step]:
    """Steps like those that an edit makes of actions which are in nothing as it wants them."""
    thing, steps = f"new:{PREFIX}{edit.label}", list[Step]()
    unbound = {"bound": False, "triggerId": "post-login"}

    def add(kind: str, want: Fields, before: Fields | None = None) -> None:
        steps.append(Step(kind=kind, target=thing, before=before or {}, want=want))

    if edit.create:
        add("create", {"triggerId": "post-login", "version": "", "name": ""}, ABSENT)
    fields = {key: value for key, value in edit.set.items() if key not in ("bound", "position")}
    if fields or edit.transform:
        add("update", fields)
    if edit.set_secrets or edit.remove_secrets:
        add("update_secrets", {SECRET: ""})
    if edit.deploy:
        add("deploy", {})
    if {"bound", "position"} & {*edit.set, *edit.create} or edit.delete:
        add("bind", {"bound": True}, unbound)
    if edit.delete:
        add("delete", ABSENT)
    return steps


async def look(step: Step, action: str, read: Read) -> Fields:
    """What `step` is for, as it is now: all that it takes to tell whether it is done.

    Raises Gone when the action of an update is not there.
    """
    if step.kind == "bind":
        place = await _place(action, step.before["triggerId"], read)
        guarded = step.before.keys() - place.keys()
        return await read_action(action, read) | place if guarded else place
    try:
        if step.kind == "create":
            name = step.want["name"]
            listed = await list_all(read, str(name))
            return next((was for was in listed.values() if was.get("name") == name), ABSENT)
        seen = await read_action(action, read)
    except Gone:
        if step.kind == "delete":
            return ABSENT
        raise
    if "bound" in step.before and "triggerId" in seen:
        seen["bound"] = (await _place(action, seen["triggerId"], read))["bound"]
    secrets = (key for key in (step.before.keys() | step.want.keys()) if key.startswith(SECRET))
    return dict.fromkeys(secrets, False) | seen if seen.pop("secrets", False) else seen


async def _place(action: str, trigger: str, read: Read) -> Fields:
    """Whether an action is bound to a trigger, and the order of all that is."""
    order = await read_bindings(trigger, read)
    bound = any(each.id == action for each in order)
    return {"id": action, "triggerId": trigger, "bound": bound, "order": order}


def unready(seen: Fields) -> str:
    """What a deployment must wait for; "" if nothing. Raises ItemError when that cannot come."""
    status = str(seen.get("status", "built")).lower()
    if status == "built":
        return ""
    if status == "failed":
        raise ItemError("its build failed", "look at its code and dependencies in the dashboard")
    return "to be built"


def too_early(error: ItemError) -> bool:
    """Whether the refusal of a deployment means that it must wait."""
    return error.cause.startswith("400") and "'built' state" in error.cause


def kept(step: Step, seen: Fields) -> Fields:
    """What is kept of what was seen right before a step, for its way back: a list's order, or
    which version was deployed."""
    if step.kind == "deploy":
        ran = {key: seen[key] for key in ("version", "runs") if key in seen}
        return {"was": ran if seen.get("deployed") else None}
    order: list[Binding] = seen.get("order", [])
    if "order" not in seen:
        return {}
    shown = [each.display_name for each in order if each.id == seen["id"]]
    return {"was": [[each.id, each.name] for each in order]} | (
        {"display_name": shown[0]} if shown else {}
    )
