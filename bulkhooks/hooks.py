"""Hooks: their fields and rules, the calls that read and write them, and what an edit means.

All that is known of hooks is here; lanes, limiter and journal know items, steps and calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any, Final, Literal

from .errors import Gone, ItemError
from .items import ABSENT, SECRET, Call, Edit, Fields, Read, Step

Trigger = Literal[
    "credentials-exchange",
    "pre-user-registration",
    "post-user-registration",
    "post-change-password",
    "send-phone-message",
]

#: What the API takes as a hook's name (UpdateHookRequestContent of Auth0's OpenAPI description).
NAME: Final = re.compile(r"^[a-zA-Z0-9]([ \-a-zA-Z0-9]*[a-zA-Z0-9])?\Z")
#: What the API takes as a hook's id.
ID: Final = re.compile(r"^[A-Za-z0-9-]+\Z")
#: Secrets of a hook, at most (https://auth0.com/docs/customize/hooks/hook-secrets).
MAX_SECRETS: Final = 20
#: The permissions that all calls of hooks take, and that of every edit.
SCOPES: Final = ("read:hooks", "create:hooks", "update:hooks", "delete:hooks")
READ: Final = SCOPES[0]
#: Fields that hooks take still where they are read-only, as Auth0's are since 2024-11-18. (Their
#: secrets can change too, and they can be deleted.)
THAWED: Final = frozenset({"enabled"})
#: Hooks a page of a list, the most that the API gives, and pages that are read at most: a server
#: that makes up new hooks for ever must have an end.
PAGE: Final = 100
MAX_PAGES: Final = 1_000


_BETWEEN: Final = "look at what stands between here and the tenant"


# ---- the nine calls (https://auth0.com/docs/api/management/v2/hooks)


def list_hooks(page: int) -> Call:
    """Page `page` (from 0) of all hooks, without their scripts."""
    path = f"/hooks?page={page}&per_page={PAGE}&include_totals=true"
    return Call(method="GET", path=path, scope="read:hooks", whole=True)


def create_hook(fields: Fields) -> Call:
    """A new hook: name, script, triggerId, and enabled and dependencies if wanted."""
    scope = "create:hooks"
    return Call(method="POST", path="/hooks", scope=scope, body=fields, whole=True, frozen=True)


def get_hook(hook: str) -> Call:
    """One hook with its script."""
    return Call(method="GET", path=f"/hooks/{hook}", scope="read:hooks")


def update_hook(hook: str, fields: Fields) -> Call:
    """Changes just `fields` of one hook."""
    path, frozen = f"/hooks/{hook}", bool(fields.keys() - THAWED)
    return Call(method="PATCH", path=path, scope="update:hooks", body=fields, frozen=frozen)


def delete_hook(hook: str) -> Call:
    """Deletes one hook."""
    return Call(method="DELETE", path=f"/hooks/{hook}", scope="delete:hooks")


def get_secrets(hook: str) -> Call:
    """The names of a hook's secrets; their values are masked."""
    return Call(method="GET", path=f"/hooks/{hook}/secrets", scope="read:hooks")


def create_secrets(hook: str, secrets: Fields) -> Call:
    """Adds secrets under new names; the values are references."""
    path = f"/hooks/{hook}/secrets"
    return Call(method="POST", path=path, scope="update:hooks", body=secrets, secret=True)


def update_secrets(hook: str, secrets: Fields) -> Call:
    """Gives existing secrets new values; the values are references."""
    path = f"/hooks/{hook}/secrets"
    return Call(method="PATCH", path=path, scope="update:hooks", body=secrets, secret=True)


def delete_secrets(hook: str, names: list[str]) -> Call:
    """Deletes secrets by name."""
    return Call(method="DELETE", path=f"/hooks/{hook}/secrets", scope="delete:hooks", body=names)


# ---- what the answers hold


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _are_lines(value: dict[str, object]) -> bool:
    return not value or all(map(_is_line, (*value, *value.values())))


#: The fields of a hook in an answer, what each is, and what tells whether it can be shown to people
#: as it is: all but scripts are of one line. Other fields are not kept.
_KNOWN: Final[tuple[tuple[str, type, Callable[[Any], bool] | None], ...]] = (
    ("name", str, str.isprintable),
    ("triggerId", str, str.isprintable),
    ("enabled", bool, None),
    ("script", str, None),
    ("dependencies", dict, _are_lines),
)


def hook_in(answer: object) -> tuple[str, Fields]:
    """The id and known fields of the hook in an answer; a field without a value is left out.

    Servers that are not Auth0 were met with the id under `hook_id`. Raises ItemError when it shows
    no hook, or a field is not of its kind.
    """
    hook = (answer.get("id") or answer.get("hook_id")) if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(hook, str) or not ID.match(hook):
        raise ItemError("the answer is not a hook", _BETWEEN)
    fields: Fields = {"id": hook}
    for name, kind, shown in _KNOWN:
        value = answer.get(name)
        if value is None:
            continue
        if type(value) is not kind or (shown and not shown(value)):
            raise ItemError(f"the answer is not a hook: odd {name}", _BETWEEN)
        fields[name] = value
    return hook, fields


def hooks_in(answer: object) -> tuple[list[object], int | None]:
    """The hooks on one page of a list, and how many there are in all if the page tells.

    Servers that are not Auth0 were met with the total under `length`.
    """
    if isinstance(answer, list):
        return answer, None
    if isinstance(answer, dict) and isinstance(answer.get("hooks"), list):
        total = answer.get("total", answer.get("length"))
        return answer["hooks"], total if type(total) is int else None
    raise ItemError("the answer is not a list of hooks", "look at the tenant's base_url")


def secrets_in(answer: object) -> Fields:
    """The secrets in an answer, as fields that say that they are there."""
    if isinstance(answer, dict) and all(map(_is_line, answer)):
        return {SECRET + name: True for name in answer}
    raise ItemError("the answer is not a hook's secrets", "look at the tenant's base_url")


# ---- a step: its write, what is read for it, and what that says


def request(step: Step, hook: str, seen: Fields | None = None) -> Call:
    """The write of a step on the hook of that id: the changed fields and nothing else.

    `seen` is what was read after an earlier sending of it: secrets that are there by now are
    given their value again, for POST takes new names and PATCH known ones.
    """
    if step.kind == "update":
        return update_hook(hook, step.want)
    names = [key.removeprefix(SECRET) for key in step.want]
    match step.kind:
        case "create":
            return create_hook(step.want)
        case "delete":
            return delete_hook(hook)
        case "remove_secrets":
            return delete_secrets(hook, names)
        case _:
            values = {name: step.want[SECRET + name] for name in names}
            there = (seen or step.before)[SECRET + names[0]]
            return update_secrets(hook, values) if there else create_secrets(hook, values)


def steps_of(edit: Edit) -> list[Step]:
    """Steps like those that an edit makes of hooks which are in nothing as it wants them: what the
    edit needs is what these need."""
    thing, steps = f"new:{edit.label}", list[Step]()
    if edit.create:
        # The first hook of a trigger comes out enabled and all others do not, whatever is asked.
        on = {"enabled": edit.create.get("enabled", False)}
        want = {key: value for key, value in edit.create.items() if key != "enabled"}
        steps.append(Step(kind="create", target=thing, before=ABSENT, want=want))
        steps.append(Step(kind="update", target=thing, before={}, want=on))
    if edit.set or edit.transform:
        steps.append(Step(kind="update", target=thing, before={}, want=edit.set))
    if edit.set_secrets:
        secrets = {SECRET + name: value for name, value in edit.set_secrets.items()}
        before = dict.fromkeys(secrets, False)
        steps.append(Step(kind="create_secrets", target=thing, before=before, want=secrets))
    if edit.remove_secrets:
        gone = dict.fromkeys((SECRET + name for name in edit.remove_secrets), False)
        steps.append(Step(kind="remove_secrets", target=thing, before={}, want=gone))
    if edit.delete:
        steps.append(Step(kind="delete", target=thing, before={}, want=ABSENT))
    return steps


async def look(step: Step, hook: str, read: Read) -> Fields:
    """What `step` is for, as it is now: all that it takes to tell whether it is done.

    Raises Gone when the hook of an update is not there.
    """
    if step.kind == "create":
        listing = await list_all(read)
        hook = next((id for id, was in listing.items() if was.get("name") == step.want["name"]), "")
        if not hook:
            return ABSENT
    try:
        seen: Fields = {}
        keys = step.before.keys() | step.want.keys()
        if not all(key.startswith(SECRET) for key in keys):
            seen |= await read_hook(hook, read)
            seen.setdefault("dependencies", {})
        if any(key.startswith(SECRET) for key in keys):
            seen |= dict.fromkeys((key for key in keys if key.startswith(SECRET)), False)
            seen |= secrets_in(await read(get_secrets(hook)))
    except Gone:
        if step.kind in ("create", "delete"):
            return ABSENT
        raise
    return seen


async def read_hook(hook: str, read: Read) -> Fields:
    """One hook with its script. Raises ItemError, Gone when it is not there."""
    shown, fields = hook_in(await read(get_hook(hook)))
    if shown != hook:
        raise ItemError("the answer is another hook", _BETWEEN)
    return fields


async def list_all(read: Read) -> dict[str, Fields]:
    """All hooks of a tenant by their ids, as its list shows them: without scripts.

    Pages until the total is there, else until a page brings nothing new: a server that has no
    paging answers every page with the same hooks. Raises ItemError after 1,000 pages, and where the
    pages end before the total is there.
    """
    hooks: dict[str, Fields] = {}
    total: int | None = None
    for page in count():
        if page == MAX_PAGES:
            cause = f"the list of hooks has no end: {len(hooks):,} on {page:,} pages"
            raise ItemError(cause, "look at the tenant's base_url")
        found, total = hooks_in(await read(list_hooks(page)))
        known = len(hooks)
        hooks.update(hook_in(raw) for raw in found)
        more = total is None or len(hooks) < total
        if not more or len(hooks) == known:
            break
    if total is not None and len(hooks) < total:
        cause = f"the list of hooks is not whole: {len(hooks):,} of {total:,}"
        raise ItemError(cause, _BETWEEN)
    # A field without a value may be left out of a list.
    if any("dependencies" in hook for hook in hooks.values()):
        for hook in hooks.values():
            hook.setdefault("dependencies", {})
    return hooks


def rivals(hook: str, live: Mapping[str, Fields | None]) -> list[str]:
    """The hooks in `live` that are enabled on the trigger of `hook`, but for itself."""
    trigger = (live.get(hook) or {}).get("triggerId")
    return [
        other
        for other, fields in live.items()
        if other != hook
        and trigger is not None
        and fields
        and fields.get("enabled") is True
        and fields.get("triggerId") == trigger
    ]


def rivalled(hook: str, live: Mapping[str, Fields | None], besides: Collection[str] = ()) -> str:
    """Which hooks keep `hook` from being enabled, as a sentence; "" if none but those `besides`."""
    others = [other for other in rivals(hook, live) if other not in besides]
    names = ", ".join(str((live[other] or {}).get("name", other)) for other in others)
    return f"{names} of its trigger is enabled" if names else ""
