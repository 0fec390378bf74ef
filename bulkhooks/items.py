"""The words of the work, whatever it is that is edited: item, step, outcome, call."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Any, Final, TypeAlias

import msgspec

#: Fields of a hook (or another resource) under the API's own names, or some of them.
Fields: TypeAlias = dict[str, Any]


class State(StrEnum):
    """Where an item is. (`sent` is a step's state: its item is still pending, or uncertain.)"""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNCERTAIN = "uncertain"
    PENDING = "pending"


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


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the Management API; `path` is what follows /api/v2."""

    method: str
    path: str
    scope: str  #: the permission it needs
    body: Fields | list[str] | None = None
    whole: bool = False  #: it is for a whole collection: a 404 means that the tenant has none
    frozen: bool = False  #: read-only hooks refuse it
    secret: bool = False  #: its body is names and references to values, to be fetched when sent

    def __repr__(self) -> str:
        """Without the body: a secret's value may be in it."""
        return f"Call({self.method} {self.path})"


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
