"""The one tree of errors. The class says how far the damage reaches; the message says what to do.

BulkhooksError
├── Refused            this call sends nothing (exit status 2)
│   ├── BadInput       job or tenants file: every complaint, with file, line and key
│   ├── Locked         another process works on this journal or tenant
│   └── Differs        the journal belongs to another job
├── NotPutBack         a freeze is open, and this call ends (exit status 5)
├── JournalError       damaged, or cannot be written (exit status 4)
├── TenantError        one tenant's lane ends: credentials, scope, network
│   └── HooksGone      hooks are at their end on this tenant
├── ItemError          one item fails, the lane goes on
│   ├── NoValue        a reference to a credential or a secret's value leads to nothing
│   ├── NoActions      actions are not given or taken; hooks go on
│   ├── Ended          read-only hooks do not take this write; others they may take
│   ├── Gone           what the item is for is not there any more
│   └── Unsure         a request went out and no answer that can be relied on came back
└── Stopped            a person asked to stop before this was sent
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


class BulkhooksError(Exception):
    """Base of all errors that bulkhooks raises on purpose; `exit_status` is the command's."""

    exit_status: ClassVar[int] = 1


class Refused(BulkhooksError):
    """The call was refused before anything was sent."""

    exit_status = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One thing that is wrong in a file that a person wrote."""

    file: str
    line: int | None
    key: str
    what: str

    def __str__(self) -> str:
        """`file:line: key: what`, leaving out what is not known."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.what) if part)


class BadInput(Refused):
    """A file that a person wrote is wrong; `complaints` has all that is wrong with it."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(map(str, self.complaints)))


class Locked(Refused):
    """Another process holds `what`; `pid` is its process id."""

    def __init__(self, what: str, pid: int | None) -> None:
        self.what, self.pid = what, pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{what} is in use by {holder}; wait for it to end, or stop it")


class Differs(Refused):
    """The journal was made for another job than the one at hand."""


class NotPutBack(BulkhooksError):
    """What ended this call leaves a freeze that is not wholly put back."""

    exit_status = 5


class JournalError(BulkhooksError):
    """The journal is damaged or cannot be written; nothing more is sent."""

    exit_status = 4


class TenantError(BulkhooksError):
    """Ends one tenant's lane. Equal causes are counted together; `hint` says what to do."""

    def __init__(self, cause: str, hint: str) -> None:
        self.cause, self.hint = cause, hint
        super().__init__(f"{cause}: {hint}")


class HooksGone(TenantError):
    """Hooks are at their end on this tenant: nothing of them can be done."""


class ItemError(BulkhooksError):
    """Fails one item. Equal causes are counted together; `hint` says what to do."""

    def __init__(self, cause: str, hint: str = "") -> None:
        self.cause, self.hint = cause, hint
        super().__init__(f"{cause}: {hint}" if hint else cause)


class NoValue(ItemError):
    """A reference leads to no value that can be used. What was found is never shown."""


class NoActions(ItemError):
    """The tenant does not give or take its actions, or not in this way; its hooks go on."""


class Ended(ItemError):
    """Read-only hooks do not take what the request asks for."""


class Gone(ItemError):
    """The server says that what the request is for is not there."""


class Unsure(ItemError):
    """A request was sent, and whether the server carried it out cannot be told from the answer."""


class Stopped(BulkhooksError):
    """The run was asked to stop before this request was sent."""

    exit_status = 3
