"""The words of the work, whatever it is that is edited: edit, item, step, outcome, call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, StrEnum, auto
from hashlib import blake2b
from typing import Any, Final, Literal, TypeAlias

import msgspec

#: Fields of a hook (or another resource) under the API's own names, or some of them.
Fields: TypeAlias = dict[str, Any]
#: What a thing is that is not there.
ABSENT: Final[Fields] = {"id": None}
#: A secret among the fields of a step is this and its name: in `before` whether it is there, in
#: `want` the reference to its value, or False.
SECRET: Final = "secrets."


class State(StrEnum):
    """Where an item is. (`sent` is a step's state: its item is still pending, or uncertain.)"""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNCERTAIN = "uncertain"
    PENDING = "pending"

    __hash__ = str.__hash__  # as of the word that it equals; an enum's own takes a call of Python


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an item ended and why; `hint` says what to do. Equal causes are counted together."""

    state: State
    cause: str = ""
    hint: str = ""


PENDING: Final = Outcome(state=State.PENDING)
APPLIED: Final = Outcome(state=State.APPLIED)
UNCHANGED: Final = Outcome(state=State.UNCHANGED)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One write of an item: the fields that were seen before it, and those that it changes."""

    kind: str
    target: str  #: what it writes to, by id; what is not there yet has a name with a colon in it
    before: Fields
    want: Fields
    back: bool = False  #: it is taken only where a step ahead of it failed: the way back
    n: int = 0
    state: str = "pending"  #: pending, sent, applied or failed
    sent_at: float | None = None  #: Unix seconds
    after: Fields | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One edit on one thing of one tenant: the unit of work."""

    edit: int  #: the edit's row in the journal
    target: str | None  #: the hook's id; None where the edit could not be resolved
    label: str  #: what a person calls the target
    #: Items that share one never have writes in flight together; the first is the target's.
    keys: tuple[str, ...] = ()
    rank: int = 0  #: lower ranks go first
    outcome: Outcome = PENDING
    steps: tuple[Step, ...] = ()
    id: int = 0  #: within a rank, the order of work
    change: int = 0  #: in the journal, equal for items that change the same
    edit_name: str = ""
    tenant: int = 0  #: the tenant's row in the journal

    @property
    def name(self) -> str:
        """What a log calls it: its edit and its target, as the plan names them."""
        return f"{self.edit_name}/{self.target}"


class Match(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which hooks or actions of a tenant an edit is for. All that is given must hold."""

    id: str | None = None
    name: str | None = None  #: a glob where every match is meant, else the exact name
    triggerId: str | None = None
    enabled: bool | None = None  #: of hooks
    deployed: bool | None = None  #: of actions, as `bound`
    bound: bool | None = None


class Narrowed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The hooks, or the actions, that one call of a job is for, by `--only` and `--skip`; names are
    globs."""

    only_triggers: tuple[str, ...] = ()
    only_names: tuple[str, ...] = ()
    skip_triggers: tuple[str, ...] = ()
    skip_names: tuple[str, ...] = ()


class Transform(msgspec.Struct, frozen=True, kw_only=True):
    """A person's own Python function, that says what is to become of a hook or an action."""

    file: str  #: an absolute path
    function: str
    digest: str  #: of the file's bytes when the job was read; 32 hex digits


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="edit"):
    """One edit of a job, checked: names are known, values are what the API takes.

    It has `create`, `delete`, or one or more of `set`, `set_secrets`, `remove_secrets`, `deploy`
    and `transform`; `create` may have `set_secrets` and `deploy` beside it.
    """

    digest: str  #: of the edit as it was written, `id` and `note` left out; 32 hex digits
    line: int  #: in the job file; for a job built in code, the edit's number from 1
    tenants: tuple[str, ...]  #: at least one, in the tenants file's order
    of: Literal["hooks", "actions"] = "hooks"
    match: Match = Match()  #: of a `create`: nothing
    one: bool = False  #: exactly one (`hook:`, `action:`, `create:`) rather than every match
    #: Of a hook's name, script, enabled, dependencies; of an action's name, code, dependencies,
    #: runtime, bound, position. `script` and `code` are texts.
    set: Fields = {}
    create: Fields = {}  #: name, triggerId, script or code, and what else is given
    delete: bool = False
    deploy: bool = False  #: the action's draft becomes what runs
    transform: Transform | None = None
    #: Names of secrets, and references to their values: `env:NAME`, or `file:` and a path that is
    #: absolute. The values are fetched when they are sent.
    set_secrets: dict[str, str] = {}
    remove_secrets: tuple[str, ...] = ()
    expect: Fields = {}  #: fields by the names of `set`, triggerId, and an action's deployed
    id: str | None = None  #: as the job gives it
    note: str | None = None
    allow_empty: bool = False
    narrowed: Narrowed | None = None

    @property
    def label(self) -> str:
        """What a person calls its target where that cannot be found."""
        return self.match.name or self.match.id or str(self.create.get("name", ""))


class Move(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="move"):
    """A hook that is to become an action, or one that is gone already and is known from a file."""

    hook: str | None  #: its id; None: it is known from a file, and found by its name if it is there
    label: str  #: its name
    script: str
    enabled: bool  #: whether its action is to run: else it is made and deployed, and bound nowhere
    create: Fields  #: the action: name, triggerId, code, dependencies, and runtime where given
    set_secrets: dict[str, str] = {}
    lacking: tuple[str, ...] = ()  #: names of its secrets that no value was given for
    #: Both run for a moment, rather than neither.
    overlap: bool = True
    #: How far it goes: until it is deployed, from there on, or all the way.
    until: Literal["deploy", "cutover", "off"] = "off"
    blocked: str = ""  #: why it cannot be moved
    hint: str = ""  #: what to do about that


class Undo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="undo"):
    """The way back of one item: its steps turned round, the newest first.

    A step's before is what our write left, its want what was there before that.
    """

    target: str
    label: str
    steps: tuple[Step, ...]
    lost: tuple[str, ...] = ()  #: what cannot be brought back


#: What a journal's edits are.
AnyEdit: TypeAlias = Edit | Undo | Move


def body_of(edit: AnyEdit) -> Fields:
    """An edit as the journal keeps it."""
    return msgspec.to_builtins(edit)  # type: ignore[no-any-return]


def edit_of(body: Fields) -> AnyEdit:
    """The edit of `body_of`."""
    return msgspec.convert(body, Edit | Undo | Move)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the Management API; `path` is what follows /api/v2."""

    method: str
    path: str
    scope: str  #: the permission it needs
    body: Fields | list[str] | None = None
    whole: bool = False  #: it is for a whole collection: a 404 means that the tenant has none
    frozen: bool = False  #: read-only hooks refuse it
    #: Its body is names of secrets and references to values, to be fetched when it is sent: a
    #: mapping, or under `secrets` a list of `name` and, where it is to be set, `value`.
    secret: bool = False

    @property
    def of_actions(self) -> bool:
        """Whether it is for actions rather than hooks."""
        return self.scope.endswith(":actions")

    def secret_values(self) -> list[str]:
        """What a call that sets secrets gives them: references, or when it is sent, values."""
        return [entry["value"] for entry in self._secrets() if "value" in entry]

    def with_values(self, values: Mapping[str, str]) -> Call:
        """The same call with the values of its references."""
        entries = [
            entry | ({"value": values[entry["value"]]} if "value" in entry else {})
            for entry in self._secrets()
        ]
        flat = {entry["name"]: entry.get("value") for entry in entries}
        body = {"secrets": entries} if self.of_actions else flat
        return msgspec.structs.replace(self, body=body)

    def _secrets(self) -> list[Fields]:
        body = self.body if self.secret and isinstance(self.body, dict) else {}
        if self.of_actions:
            return list(body.get("secrets", ()))
        return [{"name": name, "value": value} for name, value in body.items()]

    def __repr__(self) -> str:
        """Without the body: a secret's value may be in it."""
        return f"Call({self.method} {self.path})"


#: Sends one call and gives its parsed answer. Raises ItemError or TenantError.
Read: TypeAlias = Callable[[Call], Awaitable[Any]]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for one request."""

    status: int
    body: bytes

    def __repr__(self) -> str:
        """Without the body: a token may be in it."""
        return f"Reply({self.status})"


class Seen(Enum):
    """What a look at a target says of a step."""

    WANTED = auto()
    BEFORE = auto()
    OTHER = auto()
    LACKING = auto()  #: what was read does not show the fields that it takes to tell


def holds(fields: Fields, seen: Fields) -> bool:
    """Whether `seen` shows all of `fields`."""
    return all(key in seen and seen[key] == value for key, value in fields.items())


def told(key: str, value: Any) -> str:
    """A field's value in a sentence."""
    if key in ("script", "code") and isinstance(value, str):
        count = len(value.splitlines())
        digest = blake2b(value.encode(), digest_size=3).hexdigest()
        return f"{count} {'line' if count == 1 else 'lines'} ({digest})"
    if key.startswith(SECRET) and isinstance(value, bool):
        return "there" if value else "not there"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{name} {version}" for name, version in sorted(value.items()))
        return f"{{{inner}}}"
    return str(value)
