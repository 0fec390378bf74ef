"""Journals as files: made beside their place and put there whole, kept or put aside, and locked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import orjson

from . import freeze, plan
from .errors import BulkhooksError, Differs, JournalError, Refused
from .guards import check_to_come
from .journal import Journal
from .locks import held_beside
from .report import summary
from .schedule import AT_ONCE, Schedule, Span

#: Is given what a person should know on the way.
Tell: TypeAlias = Callable[[str], None]

#: What people write in a schedule, where it is called otherwise here.
_WRITTEN: Final = {"freeze": "during"}
#: Differences between two jobs that an error shows.
_SHOWN: Final = 10


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The journal at `path` is ours alone. Raises Refused (Locked), and JournalError where nothing
    can be written; of a group of errors, the one that a person can act on."""
    if not path.name or path.is_dir():
        raise Refused(f"{str(path)!r}: a journal is a file; name it with --journal")
    folder = path.absolute().parent
    if folder.exists() and not os.access(folder, os.W_OK):
        raise JournalError(
            f"{path}: cannot be worked on, for nothing can be written in its folder; nothing more "
            "was sent. When that can be, type the same command again"
        )
    try:
        with held_beside(path):
            yield
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror or error}; nothing more was sent") from error
    except BaseExceptionGroup as group:
        found = actionable(group)
        if found is None:
            raise
        raise found from None


def actionable(error: BaseException) -> BulkhooksError | None:
    """An error that a person can act on, or the first such of a group."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(actionable, error.exceptions)), None)
    return error if isinstance(error, BulkhooksError) else None


@contextmanager
def planning(path: Path) -> Iterator[Journal]:
    """The journal at `path`; one whose plan is refused before it is finished goes."""
    finished = True
    try:
        with Journal.open(path) as journal:
            try:
                yield journal
            except BaseException:
                finished = bool(journal.meta("planned"))
                raise
    except* Refused:
        if not finished:
            _remove(path)
        raise


# ---- new ones


def stage(
    path: Path,
    staging: Callable[..., None],
    *,
    tenants_file: Path | None = None,
    span: Span | None = None,
) -> Path:
    """A new journal beside `path` with what `staging` writes into it, closed; `span` is that of a
    freeze. Raises what `staging` raises."""
    new = path.with_name(f".{path.name}.staged")
    _remove(new)
    try:
        with Journal.create(new) as journal:
            staging(journal, now=datetime.now(UTC))
            if tenants_file:
                journal.note(tenants_file=str(tenants_file.absolute()))
            if span is not None:
                journal.note(span=orjson.dumps([*span]).decode())
    except BaseException:
        _remove(new)
        raise
    return new


def put(new: Path, path: Path) -> None:
    """Put a new journal where another may be. Raises Refused when it is not all in its file."""
    _remove(path)
    _move(new, path)


def put_plan(
    new: Path,
    path: Path,
    *,
    fresh: bool,
    sandbox: bool,
    schedule: Schedule = AT_ONCE,
    anew: str = "--fresh puts it aside",
) -> None:
    """Put a new journal in its place. Raises Refused when the one that is there must be kept, or
    the window of its schedule is over; `anew` says how there can be another all the same."""
    try:
        check_to_come(schedule, time.time())
        if path.exists() and not sandbox:
            with Journal.open(path) as journal:
                untouched, made = journal.untouched(), journal.meta("made")
            if not (untouched or fresh):
                raise Refused(
                    f"{path} holds work of {made}; `bulkhooks apply` goes on with it, {anew}"
                )
            if not untouched:
                put_aside(path)
        put(new, path)
    finally:
        _remove(new)


def put_job(
    new: Path,
    path: Path,
    *,
    fresh: bool,
    sandbox: bool,
    come: Callable[[], None],
    tell: Tell,
) -> None:
    """Put a new journal in its place, unless the one that is there is of the same job; `come`
    raises Refused where there is no time left for a new one.

    Raises Differs when it is another job's.
    """
    try:
        if path.exists() and sandbox:
            _only_a_rehearsal(path)
        anew = sandbox or fresh or not path.exists()
        if anew or not _same_job(path, new, tell):
            come()
            if path.exists() and fresh and not sandbox:
                put_aside(path)
            put(new, path)
    finally:
        _remove(new)


def _only_a_rehearsal(path: Path) -> None:
    """Raises Refused when the journal at `path` is not one of the sandbox."""
    with Journal.read(path) as journal:
        if not journal.meta("sandbox"):
            raise Refused(f"{path} is not a journal of the sandbox; name another with --journal")


def _same_job(path: Path, new: Path, tell: Tell) -> bool:
    """Whether to go on with the journal at `path`, by the new schedule; False when its plan was
    not finished, or is to be made anew."""
    with Journal.open(path) as old, Journal.open(new) as job:
        if not old.meta("planned"):
            return False
        frozen = freeze.look(old)
        if old.meta("digest") == job.meta("digest"):
            try:
                return _reschedule(old, job, tell)
            except Differs as error:
                raise freeze.unless_open(frozen, error) from None
        found = plan.differences(old, job)
    more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    differs = f"{path} was made for another job:\n  " + "\n  ".join(found[:_SHOWN]) + more
    finish = "finish that one with `bulkhooks apply`, or put it aside with --fresh"
    raise freeze.unless_open(frozen, Differs(f"{differs}\n{finish}"))


def _reschedule(old: Journal, new: Journal, tell: Tell) -> bool:
    """Have a journal go on by the schedule of a new one of the same job; False where it is to be
    planned anew, for a freeze's window is chosen then. Raises Differs where one has begun."""
    was, now = plan.schedule(old), plan.schedule(new)
    if was == now:
        return True
    before, after = msgspec.structs.asdict(was), msgspec.structs.asdict(now)
    keys = [_WRITTEN.get(key, key) for key in before if before[key] != after[key]]
    changed = f"{' and '.join(keys)} changed"
    if was.freeze or now.freeze:
        if old.untouched():
            return False
        raise Differs(
            f"{old.path} has begun by another schedule ({changed}), and a freeze keeps the one "
            "that it began with: run the job with that to its end, then --fresh begins by the new"
        )
    old.note(schedule=new.meta("schedule"))
    if was.waves != now.waves:
        # Who is in which wave is told anew; what was written is not written twice.
        old.write([*old.noted(waves=""), old.event("waves", time.time())])
    tell(f"{old.path} goes on by another schedule than before: {changed}")
    return True


# ---- old ones


def put_aside(path: Path) -> None:
    """Put a journal aside under a dated name. Raises NotPutBack where its freeze is open, and
    Refused where something that it may have sent is to be read back first."""
    with Journal.open(path) as journal:
        freeze.check_over(journal)
        made, undone = journal.meta("made"), journal.meta("undone_by")
        doubtful = summary(journal).books.uncertain
    if doubtful and not undone:
        raise Refused(
            f"{path}: {doubtful} of its items may have been sent; "
            "`bulkhooks apply` reads them back, then put it aside"
        )
    stamp = made.replace(":", "")[:17]
    aside, number = path.with_name(f"{path.stem}.{stamp}{path.suffix}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.stem}.{stamp}-{number}{path.suffix}")
    _move(path, aside)


def _move(journal: Path, to: Path) -> None:
    """Move a closed journal. Raises Refused when it is not all in its one file."""
    log = journal.with_name(f"{journal.name}-wal")
    if log.exists() and log.stat().st_size:
        raise Refused(f"{journal}: another process is reading it; try again when that has ended")
    journal.rename(to)


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
