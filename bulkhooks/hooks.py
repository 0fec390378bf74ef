"""Hooks: their fields and rules, the calls that read and write them, and what an edit means.

All that is known of hooks is here; lanes, limiter and journal know items, steps and calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import msgspec

from .errors import ItemError
from .items import UNCHANGED, Call, Fields, Item, Outcome, State, Step

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
#: Hooks a page of a list, the most that the API gives.
PAGE: Final = 100


class HookMatch(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which hooks of a tenant an edit is for. All that is given must hold."""

    id: str | None = None
    name: str | None = None  #: a glob in a `hooks:` selector, the exact name in `hook:`
    triggerId: Trigger | None = None
    enabled: bool | None = None


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One edit of a job, checked: names are known, values are what the API takes.

    It has `create`, `delete`, or one or more of `set`, `set_secrets` and `remove_secrets`;
    `create` may have `set_secrets` beside it.
    """

    digest: str  #: of the edit as it was written, `id` and `note` left out; 32 hex digits
    line: int  #: in the job file; for a job built in code, the edit's number from 1
    tenants: tuple[str, ...]  #: at least one, in the tenants file's order
    match: HookMatch = HookMatch()  #: of a `create`: nothing
    one: bool = False  #: `hook:` or `create:` (exactly one) rather than `hooks:` (every match)
    set: Fields = {}  #: of name, script, enabled, dependencies; `script` is the text
    create: Fields = {}  #: name, triggerId, script, and enabled and dependencies where given
    delete: bool = False
    #: Names of secrets, and references to their values: `env:NAME`, or `file:` and a path that is
    #: absolute. The values are fetched when they are sent.
    set_secrets: dict[str, str] = {}
    remove_secrets: tuple[str, ...] = ()
    expect: Fields = {}  #: of name, script, triggerId, enabled, dependencies
    id: str | None = None  #: as the job gives it
    note: str | None = None
    allow_empty: bool = False


def body_of(edit: Edit) -> Fields:
    """An edit as the journal keeps it."""
    return msgspec.to_builtins(edit)  # type: ignore[no-any-return]


def edit_of(body: Fields) -> Edit:
    """The edit of `body_of`."""
    return msgspec.convert(body, Edit)


# ---- the nine calls (https://auth0.com/docs/api/management/v2/hooks)


def list_hooks(page: int) -> Call:
    """Page `page` (from 0) of all hooks, without their scripts."""
    path = f"/hooks?page={page}&per_page={PAGE}&include_totals=true"
    return Call(method="GET", path=path, scope="read:hooks", whole=True)


def create_hook(fields: Fields) -> Call:
    """A new hook: name, script, triggerId, and enabled and dependencies if wanted."""
    return Call(method="POST", path="/hooks", scope="create:hooks", body=fields, whole=True)


def get_hook(hook: str) -> Call:
    """One hook with its script."""
    return Call(method="GET", path=f"/hooks/{hook}", scope="read:hooks")


def update_hook(hook: str, fields: Fields) -> Call:
    """Changes just `fields` of one hook."""
    return Call(method="PATCH", path=f"/hooks/{hook}", scope="update:hooks", body=fields)


def delete_hook(hook: str) -> Call:
    """Deletes one hook."""
    return Call(method="DELETE", path=f"/hooks/{hook}", scope="delete:hooks")


def get_secrets(hook: str) -> Call:
    """The names of a hook's secrets; their values are masked."""
    return Call(method="GET", path=f"/hooks/{hook}/secrets", scope="read:hooks")


def create_secrets(hook: str, secrets: dict[str, str]) -> Call:
    """Adds secrets under new names."""
    path = f"/hooks/{hook}/secrets"
    return Call(method="POST", path=path, scope="update:hooks", body=secrets)


def update_secrets(hook: str, secrets: dict[str, str]) -> Call:
    """Gives existing secrets new values."""
    path = f"/hooks/{hook}/secrets"
    return Call(method="PATCH", path=path, scope="update:hooks", body=secrets)


def delete_secrets(hook: str, names: list[str]) -> Call:
    """Deletes secrets by name."""
    return Call(method="DELETE", path=f"/hooks/{hook}/secrets", scope="delete:hooks", body=names)


# ---- what the answers hold


def hook_in(answer: object) -> tuple[str, Fields]:
    """The id and fields of the hook in an answer. Raises ItemError when it shows none.

    Servers that are not Auth0 were met with the id under `hook_id`.
    """
    if isinstance(answer, dict):
        hook = answer.get("id", answer.get("hook_id"))
        if isinstance(hook, str) and ID.match(hook):
            return hook, answer
    raise ItemError("the answer is not a hook", "look at what stands between here and the tenant")


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


class Listing:
    """The hooks of one tenant, page by page as they are read, and what edits make of them.

    Edits are resolved in the job's order: each sees what those ahead of it will leave, while
    selectors match what was read.
    """

    def __init__(self) -> None:
        self.hooks: dict[str, Fields] = {}
        self._left: dict[str, Fields] = {}
        self._late: set[str] = set()

    def must_wait(self, edit: Edit) -> bool:
        """Whether `edit` is to be resolved after all that need not wait: it enables hooks, or is
        for one that an edit ahead of it will enable. What disables goes before what enables, for
        only one hook of a trigger may be enabled; and a hook's own edits keep their order.
        """
        hooks = self._matching(edit)
        late = edit.set.get("enabled") is True or not self._late.isdisjoint(hooks)
        if late:
            self._late.update(hooks)
        return late

    def add_page(self, answer: object) -> bool:
        """Takes in one page; true if there may be more.

        Pages until the total is there, else until a page brings nothing new: a server that has no
        paging answers every page with the same hooks.
        """
        page, total = hooks_in(answer)
        known = len(self.hooks)
        self.hooks.update(hook_in(raw) for raw in page)
        if total is not None:
            return known < len(self.hooks) < total
        return len(page) == PAGE and len(self.hooks) > known

    def complete(self) -> None:
        """To be called after the last page: a field without a value may be left out of a list."""
        if any("dependencies" in hook for hook in self.hooks.values()):
            for hook in self.hooks.values():
                hook.setdefault("dependencies", {})

    def lacking(self, edit: Edit) -> list[str]:
        """Ids of the hooks that must be read alone before `edit` can be resolved."""
        needed = edit.set.keys() | edit.expect.keys()
        return [hook for hook in self._matching(edit) if not self.hooks[hook].keys() >= needed]

    def add(self, answer: object) -> None:
        """Takes in a hook that was read alone."""
        hook, fields = hook_in(answer)
        fields.setdefault("dependencies", {})
        self.hooks[hook] = self.hooks.get(hook, {}) | fields

    def resolve(self, row: int, edit: Edit) -> Iterator[Item]:
        """The items of one edit; `row` is its place in the journal.

        Raises ItemError when `hook:` is not there, or is not one.
        """
        matching = self._matching(edit)
        if edit.one and len(matching) != 1:
            wanted = edit.match.id or edit.match.name
            if not matching:
                hint = "correct the job, or take the edit out of it"
                if any(hook.get("name") == edit.match.id for hook in self.hooks.values()):
                    hint = f"that is a name, not an id: write hook: {{name: {wanted}}}"
                raise ItemError("no such hook", hint)
            raise ItemError("several hooks have that name", "name the hook by its id")
        for hook in matching:
            yield self._item(row, edit, hook)

    def _matching(self, edit: Edit) -> list[str]:
        match = edit.match
        if match.id is not None:
            known = self.hooks.get(match.id)
            return [match.id] if known is not None and _fits(match, known, edit.one) else []
        return [hook for hook, fields in self.hooks.items() if _fits(match, fields, edit.one)]

    def _item(self, row: int, edit: Edit, hook: str) -> Item:
        now = self.hooks[hook] | self._left.get(hook, {})
        if missing := (edit.set.keys() | edit.expect.keys()) - now.keys():
            raise ItemError(
                f"the tenant does not tell the hook's {', '.join(sorted(missing))}",
                "look at the tenant's base_url",
            )
        outcome = self._guard(edit, hook, now)
        want = {key: value for key, value in edit.set.items() if now.get(key) != value}
        if outcome is None and not want:
            outcome = UNCHANGED
        label = str(now.get("name", hook))
        if outcome is not None:
            return Item(edit=row, target=hook, label=label, outcome=outcome)
        keys = [hook]
        if "enabled" in want:
            keys.append(f"enabled:{now.get('triggerId')}")
        self._left[hook] = self._left.get(hook, {}) | want
        before = {key: now[key] for key in want.keys() | edit.expect.keys()}
        step = Step(kind="update", target=hook, before=before, want=want)
        rank = int(hook in self._late)
        return Item(edit=row, target=hook, label=label, keys=tuple(keys), rank=rank, steps=(step,))

    def _guard(self, edit: Edit, hook: str, now: Fields) -> Outcome | None:
        for key, value in edit.expect.items():
            if now.get(key) != value:
                cause = f"expected {key} {_shown(key, value)}, found {_shown(key, now.get(key))}"
                return Outcome(state=State.SKIPPED, cause=cause)
        if edit.set.get("enabled") is True and now.get("enabled") is False:
            for other, fields in self.hooks.items():
                fields = fields | self._left.get(other, {})
                same = fields.get("triggerId") == now.get("triggerId")
                if other != hook and same and fields.get("enabled") is True:
                    return Outcome(
                        state=State.SKIPPED,
                        cause=f"another hook of {now.get('triggerId')} is enabled",
                        hint=f"disable {fields.get('name', other)} in the same job: "
                        "only one hook of a trigger may be enabled",
                    )
        return None


def request(item: Item, step: Step) -> Call:
    """The write of a step: the changed fields and nothing else."""
    return update_hook(str(item.target), step.want)


def look(item: Item) -> Call:
    """The read that shows how an item's hook is now."""
    return get_hook(str(item.target))


def seen_in(answer: object) -> Fields:
    """The fields that the answer to a write or a look shows; none if it shows no hook."""
    try:
        fields = hook_in(answer)[1]
    except ItemError:
        return {}
    fields.setdefault("dependencies", {})
    return fields


def describe(step: Step) -> list[str]:
    """A step's changes, one short line a field."""
    return [
        f"{key}: {_shown(key, step.before.get(key))} → {_shown(key, value)}"
        for key, value in step.want.items()
    ]


def _fits(match: HookMatch, fields: Fields, exact: bool) -> bool:
    name = str(fields.get("name", ""))
    if match.name is not None and not (
        name == match.name if exact else fnmatchcase(name, match.name)
    ):
        return False
    if match.triggerId is not None and fields.get("triggerId") != match.triggerId:
        return False
    return match.enabled is None or fields.get("enabled") is match.enabled


def _shown(key: str, value: Any) -> str:
    if key == "script" and isinstance(value, str):
        count = len(value.splitlines())
        return f"{count} line" if count == 1 else f"{count} lines"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{name} {version}" for name, version in sorted(value.items()))
        return f"{{{inner}}}"
    return str(value)
