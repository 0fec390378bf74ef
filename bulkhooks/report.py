"""What a journal says: the books, by tenant and by cause, and the next command to type."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from . import plan, tally, windows
from .freeze import Freeze, look
from .items import State
from .journal import Journal
from .plan import foreign_tenants_file, typed
from .waves import under_way, waves_of

#: U+2400 and on: pictures of U+0000 and on.
_PICTURES: Final = {chr(code): chr(0x2400 + code) for code in range(32)}
#: What is told of a window when nothing is written in it any more.
_CLOSED: Final = "over, and it does not come again; give its job another, and run that"


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Items by state; planned is the sum of the other six, always."""

    planned: int = 0
    applied: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
    uncertain: int = 0
    pending: int = 0


class TenantBooks(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's books, and what its lane spent and learned."""

    books: Books
    requests: int
    throttled: int
    pace: dict[str, Any] | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The books of one journal at one moment."""

    job: str
    journal: str
    made: str  #: when it was planned, ISO 8601
    books: Books
    next: str  #: the command to type; empty when nothing is left to do
    undoes: str  #: the journal that this one takes back, if it is an undo
    undone_by: str  #: the journal that takes this one back, if there is one
    causes: tuple[tally.Cause, ...]
    tenants: dict[str, TenantBooks]
    halted: str  #: why it goes on only when somebody has looked at it, if that is so
    wave: str  #: the one that is written and still to be looked at, if there is one
    window: str  #: the one that is open, or the next, where something is pending; "": there is none
    freeze: Freeze | None = None  #: if it is one, or its put-back: how far that is

    @property
    def exit_status(self) -> int:
        """The exit status of a command that leaves the books so."""
        if self.freeze and not self.freeze.wholly_back:
            return 5
        if self.books.pending or self.wave or self.halted:
            return 3
        if self.books.failed or self.books.skipped or self.books.uncertain:
            return 1
        return 0

    def as_json(self) -> dict[str, Any]:
        """What `status --json` prints."""
        return {
            "job": self.job,
            "journal": self.journal,
            **msgspec.structs.asdict(self.books),
            "next": self.next,
            "undoes": self.undoes,
            "undone_by": self.undone_by,
            "halted": self.halted,
            "wave": self.wave,
            "window": self.window,
            "freeze": self.freeze and msgspec.to_builtins(self.freeze),
            "causes": [
                {
                    "cause": cause.cause,
                    "count": cause.count,
                    "tenants": list(cause.tenants),
                    "hint": cause.hint,
                }
                for cause in self.causes
            ],
            "tenants": {
                name: {
                    **msgspec.structs.asdict(tenant.books),
                    "requests": tenant.requests,
                    "throttled": tenant.throttled,
                    "pace": tenant.pace,
                }
                for name, tenant in self.tenants.items()
            },
        }


def read_books(path: Path) -> Summary:
    """The books of the journal at `path`. Raises Refused, JournalError."""
    with Journal.read(path) as journal:
        journal.check_index("items")  # that is what the books are counted from
        return summary(journal)


def summary(journal: Journal) -> Summary:
    """The books of a journal. Raises JournalError when they do not balance."""
    counted = journal.books()
    tenants = {}
    for row in journal.tenants():
        books = _books(counted.get(row.id, {}))
        tenants[row.name] = TenantBooks(
            books=books, requests=row.requests, throttled=row.throttled, pace=row.pace
        )
    total = _books({state: sum(mine[state] for mine in counted.values()) for state in State})
    planned = journal.meta("planned")
    if planned and planned != str(total.planned):
        raise journal.damaged(f"its books: {planned} items were planned, {total.planned} are there")
    frozen = look(journal)
    over = frozen is not None or bool(journal.meta("undone_by"))  # what it wrote goes back
    begun = frozen is not None and frozen.state != "planned"
    window = _window(journal) if total.pending and not begun else ""
    return Summary(
        job=journal.meta("job"),
        journal=str(journal.path),
        made=journal.meta("made"),
        books=total,
        next=_next(journal, total, frozen, closed=window == _CLOSED),
        undoes=journal.meta("undoes"),
        undone_by=journal.meta("undone_by"),
        causes=tuple(tally.causes(journal)),
        tenants=tenants,
        halted=journal.meta("halted") if total.pending or not over else "",
        wave="" if total.pending or over else _wave(journal),
        window=window,
        freeze=frozen,
    )


def _wave(journal: Journal) -> str:
    """The wave that is written and still to be looked at."""
    of = len(waves_of(journal))
    return ", ".join(f"{n + 1} of {of}" for n in sorted(under_way(journal)))


def _window(journal: Journal) -> str:
    """When what is pending may be written, as far as its schedule says."""
    window = plan.schedule(journal).window
    if window is None:
        return ""
    span = windows.coming(window, time.time())
    if span is None:
        return _CLOSED
    return windows.told(span, window.timezone)


def _books(states: Mapping[State, int]) -> Books:
    counts = {state.value: count for state, count in states.items()}
    return Books(planned=sum(counts.values()), **counts)


def _next(journal: Journal, books: Books, frozen: Freeze | None, *, closed: bool) -> str:
    if journal.meta("sandbox"):
        return ""  # its tenants ended with their process
    if frozen and (frozen.next or frozen.state == "put back"):
        return typed(frozen.next) if frozen.next else ""
    if journal.meta("undone_by"):
        return f"bulkhooks status {shlex.quote(journal.meta('undone_by'))}"
    if closed or not journal.meta("planned"):
        does, file = "run" if closed else "plan", journal.meta("file") or "JOB"
        words = [does, file, "--journal", str(journal.path)]
        if done := journal.meta("undoes"):
            words = ["undo", done]
        if moves := journal.meta("moves"):
            step = {"migrate": ["plan"], "prepare": ["prepare"]}.get(journal.meta("job"))
            words = ["migrate", *(step or ["cutover", moves]), "--journal", str(journal.path)]
            words += ["--schedule", "FILE"] if closed else []
        tenants = journal.meta("tenants_file")
    elif _to_do(journal, books) or books.failed or journal.meta("halted"):
        words = ["apply", str(journal.path)]
        words += ["--failed"] if books.failed and not _to_do(journal, books) else []
        words += ["--continue"] if journal.meta("halted") else []
        tenants = foreign_tenants_file(journal)
    else:
        return ""
    return typed(words, tenants)


def _to_do(journal: Journal, books: Books) -> bool:
    """Whether an apply goes on with something."""
    return bool(books.pending or books.uncertain or under_way(journal))


def causes(summary: Summary) -> Iterator[str]:
    """Why items failed, were skipped or are uncertain: clean lines, a hint below its cause."""
    for cause in summary.causes:
        where = ", ".join(cause.tenants[:5]) + (", ..." if len(cause.tenants) > 5 else "")
        example = f" (such as {cause.example})" if cause.example else ""
        yield clean(f"{cause.count} {cause.state} on {where}: {cause.cause}{example}")
        if cause.hint:
            yield clean(f"    {cause.hint}")


def ahead(summary: Summary) -> Iterator[str]:
    """What is to come of a journal: clean lines, the command to type last."""
    if summary.halted:
        yield clean(f"halted: {summary.halted}; it goes on when somebody has looked at it")
    if summary.wave:
        yield f"wave {summary.wave} is written; its soak and its probe are not over"
    if summary.window:
        yield f"its window: {summary.window}"
    if summary.undone_by:
        yield f"taken back by {summary.undone_by}"
    if summary.next:
        yield f"next: {summary.next}"


def many(count: int, thing: str) -> str:
    """So many of a thing: `1 item`, `2 items`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def clean(text: str) -> str:
    """One line for a terminal: what a server or a file says must not steer it.

    Control characters are shown by their pictures.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _PICTURES.get(char, "\ufffd") for char in text)
