"""What the commands do, for whoever calls: plan a job, apply a journal, or both in one go.

Whoever looks on hands in `watch`, which runs beside the lanes, whoever may say no hands in
`confirm`, which is asked before the first write, `log` is told of every request, and `tell` what
functions of a person's own (`transform:`) write, and what a person should know on the way.
"""

from __future__ import annotations

import os
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
import msgspec
import orjson
from platformdirs import user_state_path

from . import freeze, plan
from .auth0 import Log, loop_time
from .control import serving
from .errors import (
    BulkhooksError,
    Differs,
    JournalError,
    Locked,
    NotPutBack,
    Refused,
    Stopped,
)
from .freeze import Do
from .guards import (
    Guards,
    Narrowing,
    check_guards,
    check_narrowing,
    check_protected,
    check_to_come,
    listed,
)
from .items import Move, State
from .jobfile import Job
from .journal import Journal, TenantRow
from .lanes import ASIDE, SETTLE, Lanes
from .locks import held, held_beside
from .night import AS_CALLED, Ways, carry_out, opened, until
from .pacing import Limits
from .permit import Phase, Wall
from .probes import check_probes
from .references import secret_value
from .report import Summary, summary
from .schedule import AT_ONCE, Schedule, Span
from .tenants import Tenant
from .timeline import Timeline
from .transform import Transforms
from .waves import assign, kept, under_way, waves_of
from .windows import APART, length

Tenants: TypeAlias = Mapping[str, Tenant]
Watch: TypeAlias = Callable[[Lanes], Coroutine[Any, Any, None]]
#: Is given what functions of a person's own write, why they failed, and what else to know.
Tell: TypeAlias = Callable[[str], None]
#: Is asked with the journal as it will be applied.
Confirm: TypeAlias = Callable[[Journal], Awaitable[bool]]


#: What people write in a schedule, where it is called otherwise here.
_WRITTEN: Final = {"freeze": "during"}
#: Differences between two jobs that an error shows.
_SHOWN: Final = 10
#: Seconds after which what could not be put back is tried again: 5 minutes in all.
_AGAIN: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 145.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orders:
    """How a caller wants the work done."""

    folder: Path  #: of the job, or of the journal: from there, or below, code may be run
    tell: Tell | None = None
    failed: bool = False
    replan: bool = False
    ways: Ways = AS_CALLED
    guards: Guards | None = None
    watch: Watch | None = None
    confirm: Confirm | None = None
    log: Log | None = None
    settle: float = SETTLE
    aside: float = ASIDE


async def plan_job(
    job: Job,
    tenants: Tenants,
    path: Path,
    *,
    tenants_file: Path | None = None,
    fresh: bool = False,
    sandbox: bool = False,
    narrowing: Narrowing | None = None,
    guards: Guards | None = None,
    watch: Watch | None = None,
    tell: Tell | None = None,
    log: Log | None = None,
) -> Summary:
    """Read the live state and write a journal of items at `path`; no write is sent.

    A journal there to which nothing was ever sent is replaced; another only with `fresh`, which
    puts it aside under a dated name. `tenants_file` is kept for a later apply. `narrowing` is what
    part of the job is meant, `guards` how much it may ask for. Raises Refused (BadInput, Locked),
    JournalError, Stopped. Each recurrence of a freeze has a journal of its own: a date is added to
    the name of `path`, as the books say.
    """
    for earlier in _open_earlier(path, job.schedule, time.time()):
        with Journal.read(earlier) as journal:
            told = (found := freeze.look(journal)) and found.told
        raise NotPutBack(f"{earlier} is of a freeze that is not over: {told}")
    path, span = _recurrence(path, job.schedule, time.time(), dated=not sandbox)
    with _locked(path):
        staging = partial(plan.stage, job=job, tenants=tenants, sandbox=sandbox, guards=guards)
        new = _stage(path, partial(staging, narrowing=narrowing), tenants_file, span)
        _put_plan(new, path, fresh=fresh, sandbox=sandbox, schedule=job.schedule)
        with _planned(path) as journal:
            orders = _Orders(folder=job.folder, tell=tell, watch=watch, log=log)
            return await _plan(journal, tenants, job.limits, orders)


async def plan_moves(
    moves: Iterable[tuple[str, Move]],
    tenants: Tenants,
    path: Path,
    *,
    name: str,
    prepared: Journal | None = None,
    tenants_file: Path | None = None,
    fresh: bool = False,
    narrowing: Narrowing | None = None,
    guards: Guards | None = None,
    schedule: Schedule = AT_ONCE,
    watch: Watch | None = None,
    tell: Tell | None = None,
    log: Log | None = None,
) -> Summary:
    """Plan, as `plan_job` does, to move hooks to actions, as a journal called `name`; `prepared`
    is the journal that they come from, if they do."""
    with _locked(path):
        staging = partial(
            plan.stage_moves,
            moves=moves,
            tenants=tenants,
            name=name,
            prepared=prepared,
            narrowing=narrowing,
            guards=guards,
            schedule=schedule,
        )
        new = _stage(path, staging, tenants_file)
        _put_plan(new, path, fresh=fresh, sandbox=False, schedule=schedule)
        with _planned(path) as journal:
            orders = _Orders(folder=path.parent, tell=tell, watch=watch, log=log)
            return await _plan(journal, tenants, plan.limits(journal), orders)


async def apply_journal(
    path: Path,
    tenants: Tenants,
    *,
    failed: bool = False,
    replan: bool = False,
    ways: Ways = AS_CALLED,
    watch: Watch | None = None,
    confirm: Confirm | None = None,
    tell: Tell | None = None,
    log: Log | None = None,
    settle: float = SETTLE,
    aside: float = ASIDE,
) -> Summary:
    """Carry out what is pending or uncertain in the journal at `path`, and with `failed` what
    failed; answers the books after it.

    Run again, it goes on where it was. Every tenant is read first: a hook that is not as it was
    planned is skipped, or with `replan` planned again from how it is now, unless something of its
    item was written already. `settle` is how many seconds after a send a read that shows it undone
    is believed, `aside` for how many a tenant is set aside whose writes break. Raises Refused
    (Locked, Differs), JournalError.
    """
    with _locked(path), Journal.open(path) as journal:
        if not journal.meta("planned"):
            again = f"`bulkhooks undo {done}`" if (done := journal.meta("undoes")) else "the job"
            again = "the hooks" if journal.meta("moves") else again
            raise Refused(f"{path}: its plan was not finished; plan {again} again")
        if journal.meta("sandbox"):
            raise Refused(f"{path}: its pretend tenants are gone; run the job again")
        orders = _Orders(
            folder=path.parent,
            tell=tell,
            failed=failed,
            replan=replan,
            ways=ways,
            watch=watch,
            confirm=confirm,
            log=log,
            settle=settle,
            aside=aside,
        )
        if journal.meta("puts_back"):
            with ExitStack() as stack:
                await _put_back(None, journal, tenants, orders, _Locks(stack))
        else:
            await _apply(journal, tenants, plan.limits(journal), orders)
        return summary(journal)


async def run_job(
    job: Job,
    tenants: Tenants,
    path: Path,
    *,
    tenants_file: Path | None = None,
    fresh: bool = False,
    sandbox: bool = False,
    narrowing: Narrowing | None = None,
    guards: Guards | None = None,
    ways: Ways = AS_CALLED,
    watch: Watch | None = None,
    confirm: Confirm | None = None,
    tell: Tell | None = None,
    log: Log | None = None,
    settle: float = SETTLE,
    aside: float = ASIDE,
) -> Summary:
    """Plan, ask, apply. With a journal of the same job at `path` already, go on with that.

    Of a freeze, what earlier recurrences have left is put back first. Raises what `plan_job` and
    `apply_journal` raise; Differs when the journal is another job's.
    """
    orders = _Orders(
        folder=job.folder,
        tell=tell,
        guards=guards,
        ways=ways,
        watch=watch,
        confirm=confirm,
        log=log,
        settle=settle,
        aside=aside,
    )
    if left := await _put_back_earlier(path, job.schedule, tenants, orders):
        return left
    path, span = _recurrence(path, job.schedule, ways.wall(), dated=not sandbox)
    with _locked(path):
        staging = partial(plan.stage, job=job, tenants=tenants, sandbox=sandbox, guards=guards)
        new = _stage(path, partial(staging, narrowing=narrowing), tenants_file, span)
        come = partial(check_to_come, job.schedule, ways.wall())
        _put_job(new, path, fresh=fresh, sandbox=sandbox, come=come, tell=tell or _unheard)
        with _planned(path) as journal:
            await _apply(journal, tenants, job.limits, orders)
            return summary(journal)


async def undo_journal(
    path: Path,
    tenants: Tenants,
    new: Path,
    *,
    guards: Guards | None = None,
    watch: Watch | None = None,
    log: Log | None = None,
    settle: float = SETTLE,
) -> Summary:
    """Plan the way back of all that the journal at `path` has written, or may have, as a journal at
    `new`, to be applied like any other; no write is sent.

    The journal at `path` refuses to be applied from then on. What was changed since it was written
    is skipped. Of a freeze it is the put-back, now, in the journal that belongs to that, whatever
    `new` is. Raises Refused (Locked), JournalError, Stopped.
    """
    with _locked(path), Journal.open(path) as done:
        done.check()  # a row that looks as if nothing had been written would be passed over
        if frozen := freeze.span_of(done) is not None and not done.meta("puts_back"):
            new = freeze.putback_path(path)
        _may_be_undone(done, by=new)
        orders = _Orders(folder=new.parent, watch=watch, log=log, settle=settle)
        with _locked(new):
            if frozen and not freeze.stand(done).written:
                raise Refused(f"{path}: nothing was written, so there is nothing to undo")
            if frozen:
                _staged_putback(done, new, time.time(), "a person said so")
            else:
                staging = partial(plan.stage_undo, done=done, guards=guards or Guards())
                renamed = "renamed it leaves room for another way back"
                staged = _stage(new, staging, None)
                _put_plan(staged, new, fresh=False, sandbox=False, anew=renamed)
            with _planned(new) as journal:
                if not journal.meta("planned"):
                    await _planned_undo(done, journal, tenants, orders)
                return summary(journal)


async def _planned_undo(done: Journal, journal: Journal, tenants: Tenants, orders: _Orders) -> None:
    rows = journal.tenants()
    _same_addresses(journal, rows, tenants)
    async with _at_work(journal, rows, tenants, plan.limits(journal), orders) as lanes:
        await _survey_undo(done, journal, lanes, orders)
        check_guards(journal)
        done.note(undone_by=_absolute(journal.path))
        await journal.commit(*journal.noted(planned=str(journal.count())))


async def _survey_undo(done: Journal, journal: Journal, lanes: Lanes, orders: _Orders) -> None:
    # What may be under way still must have shown before what is seen is believed.
    since = orders.ways.wall() - done.last_sent()
    with lanes.unless_stopped():
        await anyio.sleep(max(0.0, min(orders.settle, orders.settle - since)))
    await lanes.survey()


# ---- the way


def _stage(
    path: Path,
    staging: Callable[..., None],
    tenants_file: Path | None,
    span: Span | None = None,
) -> Path:
    """A new journal beside `path` with what `staging` writes into it, closed; `span` is that of a
    freeze."""
    new = path.with_name(f".{path.name}.staged")
    _remove(new)
    try:
        with Journal.create(new) as journal:
            staging(journal, now=datetime.now(UTC))
            if tenants_file:
                journal.note(tenants_file=str(tenants_file.absolute()))
            if span is None:
                _, span = _recurrence(path, plan.schedule(journal), time.time(), dated=False)
            if span is not None:
                journal.note(span=orjson.dumps([*span]).decode())
    except BaseException:
        _remove(new)
        raise
    return new


def _put_plan(
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
                _put_aside(path)
        _put(new, path)
    finally:
        _remove(new)


def _put_job(
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
                _put_aside(path)
            _put(new, path)
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
                raise _unless_open(frozen, error) from None
        found = plan.differences(old, job)
    more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    differs = f"{path} was made for another job:\n  " + "\n  ".join(found[:_SHOWN]) + more
    finish = "finish that one with `bulkhooks apply`, or put it aside with --fresh"
    raise _unless_open(frozen, Differs(f"{differs}\n{finish}"))


def _unless_open(frozen: freeze.Freeze | None, error: BulkhooksError) -> BulkhooksError:
    """What a call is ended by: an open freeze is told ahead of it."""
    if frozen is None or frozen.state != "open":
        return error
    return NotPutBack(f"{frozen.told}\n{error}")


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
        old.write([*old.noted(waves="", wave=""), old.event("waves", time.time())])
    tell(f"{old.path} goes on by another schedule than before: {changed}")
    return True


def _put_aside(path: Path) -> None:
    with Journal.open(path) as journal:
        books = summary(journal)
        made, doubtful, frozen = journal.meta("made"), books.books.uncertain, books.freeze
        undone = journal.meta("undone_by")
    if frozen and frozen.state == "open":
        raise NotPutBack(f"{path} is of a freeze that is not over: {frozen.told}")
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


def _put(new: Path, path: Path) -> None:
    _remove(path)
    _move(new, path)


def _move(journal: Path, to: Path) -> None:
    """Move a closed journal. Raises Refused when it is not all in its one file."""
    log = journal.with_name(f"{journal.name}-wal")
    if log.exists() and log.stat().st_size:
        raise Refused(f"{journal}: another process is reading it; try again when that has ended")
    journal.rename(to)


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def _may_be_undone(done: Journal, *, by: Path) -> None:
    """Raises Refused when a journal cannot be undone by one at `by`."""
    if done.meta("sandbox"):
        raise Refused(f"{done.path}: its pretend tenants are gone")
    other = done.meta("undone_by")
    if other not in ("", _absolute(by)):
        raise Refused(f"{done.path} is undone by {other} already; `bulkhooks apply {other}`")


def _absolute(path: Path) -> str:
    return str(path.absolute())


async def _plan(journal: Journal, tenants: Tenants, limits: Limits, orders: _Orders) -> Summary:
    check_probes(journal, plan.schedule(journal), orders.folder)
    async with _at_work(journal, journal.tenants(), tenants, limits, orders) as lanes:
        await _survey(journal, lanes, tenants)
        _tell_clocks(journal, lanes, orders)
    return summary(journal)


async def _survey(journal: Journal, lanes: Lanes, tenants: Tenants) -> None:
    await lanes.survey()
    check_narrowing(journal, lanes.met)
    plan.consistent(journal, lanes.contradictions)
    plan.matched(journal)
    check_guards(journal)
    takes = freeze.check(journal, tenants) if freeze.span_of(journal) else 0.0
    waves = kept(assign(journal, tenants, plan.schedule(journal)))
    learned = {"planned": str(journal.count()), "waves": waves, "putback_takes": str(takes)}
    await journal.commit(*journal.noted(**learned))


async def _apply(journal: Journal, tenants: Tenants, limits: Limits, orders: _Orders) -> None:
    if freeze.span_of(journal) is not None:
        return await _freeze(journal, tenants, limits, orders)
    if other := journal.meta("undone_by"):
        raise Refused(
            f"{journal.path} was undone by {other}; it is not applied any more, "
            "--fresh plans its job anew"
        )
    rows = _with_work(journal, orders)
    if not rows:
        if orders.ways.go_on:
            journal.note(halted="")
        return
    _check(journal, rows, tenants, orders)
    if journal.meta("halted") and not orders.ways.go_on:
        return  # the books say why, and what somebody who has looked at it types
    schedule, urls = plan.schedule(journal), [row.base_url for row in rows]
    with ExitStack() as stack:
        if schedule.window is None:
            stack.enter_context(held(_lock_file(), urls))
        async with _at_work(journal, rows, tenants, limits, orders) as lanes:
            saved = await _made_ready(journal, lanes, tenants, orders)
            if not await opened(journal, lanes, schedule, orders.ways):
                return
            if schedule.window is not None:  # others may use the tenants while it was waited for
                stack.enter_context(held(_lock_file(), urls))
            await carry_out(
                *(journal, lanes, schedule, orders.ways), folder=orders.folder, read_first=saved
            )
            if saved:
                _tell_clocks(journal, lanes, orders)


async def _made_ready(journal: Journal, lanes: Lanes, tenants: Tenants, orders: _Orders) -> bool:
    """Plan what is not planned yet, and have it confirmed; whether it was a saved plan."""
    saved = bool(journal.meta("planned"))
    if not saved:
        await _survey(journal, lanes, tenants)
        _tell_clocks(journal, lanes, orders)
    elif orders.failed or orders.replan:
        await lanes.survey(failed=orders.failed, replan=orders.replan)
        plan.consistent(journal, lanes.contradictions)
    check_guards(journal, orders.guards)
    await lanes.reopen(failed=orders.failed, replan=orders.replan)
    if saved and (waves := assign(journal, tenants, plan.schedule(journal))):
        # What is pending again may have been in a wave that is done.
        await journal.commit(*journal.noted(waves=kept(waves)))
    await _confirmed(journal, lanes, orders)
    return saved


async def _confirmed(journal: Journal, lanes: Lanes, orders: _Orders) -> None:
    with lanes.unless_stopped():
        if orders.confirm and not await orders.confirm(journal):
            raise Refused("not confirmed; nothing was sent")


# ---- a freeze


class _Locks:
    """The tenants' locks, from a freeze's first write to the end of its put-back."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._had = stack, set[str]()

    def take(self, rows: Iterable[TenantRow]) -> None:
        """Take those of all `rows`. Raises Locked."""
        urls = {row.base_url for row in rows} - self._had
        self._stack.enter_context(held(_lock_file(), urls))
        self._had |= urls

    def free(self, rows: Iterable[TenantRow]) -> list[TenantRow]:
        """Those of `rows` that no other process works on."""
        mine = []
        for row in rows:
            with suppress(Locked):
                self.take([row])
                mine.append(row)
        return mine


def _recurrence(
    path: Path, schedule: Schedule, now: float, *, dated: bool
) -> tuple[Path, Span | None]:
    """The journal of a freeze, and its span: of one that recurs, those of the current recurrence,
    or of the next one if its work is done, by its date if it is to be `dated`. What is no freeze
    has no span."""
    window = schedule.window
    if window is None or not schedule.freeze:
        return path, None
    dated = dated and bool(window.cron)
    for span in freeze.spans_of(window, now):
        own = freeze.dated(path, span, window.timezone) if dated else path
        if not (dated and own.exists() and _is_over(own)):
            return own, span
    raise Refused(f"its window {window.written or window.cron} does not open any more")


def _is_over(path: Path) -> bool:
    with Journal.read(path) as journal:
        found = freeze.look(journal)
        return bool(found and found.state == "put back")


def _open_earlier(path: Path, schedule: Schedule, now: float) -> Iterator[Path]:
    """The journals of earlier recurrences of a freeze that were not put back."""
    if not (schedule.freeze and schedule.window and schedule.window.cron):
        return
    for earlier in freeze.recurrences(path):
        with Journal.read(earlier) as journal:
            found = freeze.look(journal)
        if found and found.state == "open" and found.end <= now:
            yield earlier


async def _put_back_earlier(
    path: Path, schedule: Schedule, tenants: Tenants, orders: _Orders
) -> Summary | None:
    """Put back what earlier recurrences of a freeze have left. The books of one that could not
    be: nothing new is begun then."""
    for earlier in _open_earlier(path, schedule, orders.ways.wall()):
        with _locked(earlier), Journal.open(earlier) as journal:
            await _apply(journal, tenants, plan.limits(journal), orders)
            books = summary(journal)
        if books.freeze and books.freeze.state == "open":
            return books
    return None


async def _freeze(journal: Journal, tenants: Tenants, limits: Limits, orders: _Orders) -> None:
    """Apply, wait, put back: what of it is left to be done."""
    try:
        with ExitStack() as stack:
            locks = _Locks(stack)
            if await _first_half(journal, tenants, limits, orders, locks):
                await _second_half(journal, tenants, orders, locks)
    except (BulkhooksError, BaseExceptionGroup) as error:
        found = error if isinstance(error, BulkhooksError) else _told(error)
        if found is None or isinstance(found, JournalError):
            raise
        ended = _unless_open(freeze.look(journal), found)
        if ended is found:
            raise
        raise ended from error


async def _first_half(
    journal: Journal, tenants: Tenants, limits: Limits, orders: _Orders, locks: _Locks
) -> bool:
    """Whether what was applied is to be put back now."""
    do, saved = Do.APPLY, bool(journal.meta("planned"))
    if saved:
        do = freeze.next_step(freeze.stand(journal), orders.ways.wall())
        anew = do is Do.NOTHING and (orders.failed or orders.replan)
        if do in (Do.PUT_BACK, Do.NOTHING) and not anew:
            return do is Do.PUT_BACK
    rows = journal.tenants()
    _check(journal, rows, tenants, orders)
    async with _at_work(journal, rows, tenants, limits, orders) as lanes:
        if do is not Do.HOLD or orders.failed or orders.replan:
            freeze.check_start(journal, orders.ways.wall())
            await _made_ready(journal, lanes, tenants, orders)
        over = False
        with suppress(Stopped):
            over = await _in_the_window(journal, lanes, orders, locks, saved=saved)
        if saved:
            _tell_clocks(journal, lanes, orders)
        return over


async def _in_the_window(
    journal: Journal, lanes: Lanes, orders: _Orders, locks: _Locks, *, saved: bool
) -> bool:
    schedule, ways, tried = plan.schedule(journal), orders.ways, False
    while not lanes.stopped:
        await journal.commit()
        stand = freeze.stand(journal, tried=tried)
        do = freeze.next_step(stand, ways.wall())
        phase = Phase(doing="waits for the window", until=stand.span.start, span=stand.span)
        match do:
            case Do.WAIT | Do.HOLD if journal.meta("sandbox"):  # a rehearsal waits for nothing
                if do is Do.HOLD:
                    return True
                ways = replace(ways, wall=_ahead(stand.span.start - ways.wall()))
            case Do.WAIT | Do.HOLD if not ways.wait:
                return False
            case Do.WAIT:
                await until(lanes, ways, replace(phase, frozen=stand.written))
            case Do.HOLD:
                locks.take(journal.tenants())
                at, doing = freeze.back_at(stand), "holds until it puts back"
                await until(lanes, ways, replace(phase, doing=doing, until=at, frozen=True))
            case Do.APPLY:
                locks.take(journal.tenants())
                freeze.check_start(journal, ways.wall())
                began = ways.wall()
                part = freeze.until_back(schedule, stand)
                await carry_out(
                    *(journal, lanes, part, ways), folder=orders.folder, read_first=saved
                )
                await journal.commit()
                takes = max(stand.takes, freeze.measured(journal, began))
                await journal.commit(*journal.noted(putback_takes=str(takes)))
                tried = True
            case _:
                return do is Do.PUT_BACK
    return False


def _ahead(seconds: float) -> Wall:
    return lambda: time.time() + seconds


async def _second_half(done: Journal, tenants: Tenants, orders: _Orders, locks: _Locks) -> None:
    path = freeze.putback_path(done.path)
    with _locked(path):
        why = done.meta("halted") or "it is time"
        if _staged_putback(done, path, orders.ways.wall(), why):
            with Journal.open(path) as back:
                orders = replace(orders, confirm=None, failed=True, replan=False)
                await _put_back(done, back, tenants, orders, locks)


def _staged_putback(done: Journal, path: Path, now: float, why: str) -> bool:
    """End the first half of a freeze, and have its put-back at `path`; whether there is anything
    to be put back."""
    if not done.meta("putback"):
        done.write(freeze.over(done, path, now, why))
    if path.exists():
        with Journal.open(path) as back:
            mine = freeze.is_of(back, done)
            planned, untouched = bool(back.meta("planned")), back.untouched()
        if mine and planned:
            return True
        if not (untouched or done.meta("sandbox")):
            _put_aside(path)
    if not freeze.stand(done).written:
        return False

    def staging(back: Journal, now: datetime) -> None:
        plan.stage_undo(back, done, guards=Guards(max_deletes=done.count()), now=now)
        freeze.staged(back, done)

    _put(_stage(path, staging, None), path)
    done.note(undone_by=_absolute(path))
    return True


async def _put_back(
    done: Journal | None, back: Journal, tenants: Tenants, orders: _Orders, locks: _Locks
) -> None:
    """Carry out a put-back; what fails is tried again, for 5 minutes. Raises Differs when all has
    been done but on tenants that are elsewhere now."""
    for pause in (*_AGAIN, 0.0):
        if not await _one_round(done, back, tenants, orders, locks, pause):
            break
        orders = replace(orders, confirm=None, failed=True)
    freeze.note_end(back, orders.ways.wall())
    _same_addresses(back, _with_work(back, orders), tenants)


async def _one_round(
    done: Journal | None,
    back: Journal,
    tenants: Tenants,
    orders: _Orders,
    locks: _Locks,
    pause: float,
) -> bool:
    """Put back what is left, once; whether to do so again, which is after the pause."""
    left = _with_work(back, orders)
    if not left:
        return False
    # A tenant that another process works on, or that is elsewhere now, holds up no other.
    there = [row for row in left if row.name in tenants]
    there = [row for row in there if tenants[row.name].base_url == row.base_url]
    rows, ways = locks.free(there), orders.ways
    async with _at_work(back, rows, tenants, plan.limits(back), orders) as lanes:
        phase = Phase(span=freeze.span_of(back), frozen=True, putting_back=True)
        lanes.permit.phase = phase
        try:
            saved = bool(back.meta("planned"))
            if done is not None and not saved:
                await _survey_undo(done, back, lanes, orders)
                await back.commit(*back.noted(planned=str(back.count())))
            elif orders.failed or orders.replan:
                await lanes.survey(failed=orders.failed, replan=orders.replan)
            await lanes.reopen(failed=orders.failed, replan=orders.replan)
            await _confirmed(back, lanes, orders)
            await carry_out(*(back, lanes, AT_ONCE, ways), folder=orders.folder, read_first=saved)
            await back.commit()
            if lanes.stopped or not (pause and freeze.unfinished(back)):
                return False
            again = "waits to try again what could not be put back"
            await until(lanes, ways, replace(phase, doing=again, until=ways.wall() + pause))
        except Stopped:
            return False
    return True


def _tell_clocks(journal: Journal, lanes: Lanes, orders: _Orders) -> None:
    """Tell which servers' clocks are far from this host's, if windows are kept by that."""
    if plan.schedule(journal).window is None:
        return
    wall, now = orders.ways.wall(), loop_time()
    known = {view.tenant: view.pace.clock_ahead(wall, now) for view in lanes.views()}
    apart = {name: ahead for name, ahead in known.items() if ahead and abs(ahead) > APART}
    journal.post(
        *(
            journal.event("clock", wall, tenant=name, ahead=round(ahead, 1))
            for name, ahead in apart.items()
        )
    )
    for is_ahead, word in ((True, "behind"), (False, "ahead of")):
        those = [name for name, ahead in apart.items() if (ahead > 0) is is_ahead]
        if those:
            most = length(max(abs(apart[name]) for name in those))
            (orders.tell or _unheard)(
                f"the clock of this host is {most} {word} that of {listed(those)}; windows are "
                "kept by this host's clock: set it if it is wrong"
            )


def _lock_file() -> Path:
    return user_state_path("bulkhooks") / "tenants.lock"


def _with_work(journal: Journal, orders: _Orders) -> list[TenantRow]:
    rows = journal.tenants()
    if not journal.meta("planned"):
        return rows
    states = [State.PENDING, State.UNCERTAIN]
    states += [State.FAILED] * orders.failed + [State.SKIPPED] * orders.replan
    counts, waves = journal.counts(), waves_of(journal)
    # A wave that is written may still have to be looked at, by its probe.
    probed = {name for n in under_way(journal) for name in waves[n]}
    return [
        row for row in rows if row.name in probed or any(counts[row.id][state] for state in states)
    ]


def _check(journal: Journal, rows: list[TenantRow], tenants: Tenants, orders: _Orders) -> None:
    """Raises Refused when a journal may not be carried out on these tenants, or a probe of it
    could not be run."""
    _same_addresses(journal, rows, tenants)
    if not journal.meta("sandbox"):
        check_protected(journal, tenants)
    check_probes(journal, plan.schedule(journal), orders.folder)


def _same_addresses(journal: Journal, rows: list[TenantRow], tenants: Tenants) -> None:
    for row in rows:
        tenant = tenants.get(row.name)
        if tenant is None:
            raise Differs(f"tenant {row.name} of {journal.path} is not in the tenants file")
        if tenant.base_url != row.base_url:
            raise Differs(
                f"tenant {row.name} was planned at {row.base_url}, "
                f"the tenants file says {tenant.base_url}"
            )


@asynccontextmanager
async def _at_work(
    journal: Journal,
    rows: list[TenantRow],
    tenants: Tenants,
    limits: Limits,
    orders: _Orders,
) -> AsyncIterator[Lanes]:
    # Pretend tenants get pretend secrets: a rehearsal reads no credential.
    value_of = str if journal.meta("sandbox") else secret_value
    async with (
        Lanes.opened(
            *(journal, rows, tenants, limits),
            settle=orders.settle,
            aside=orders.aside,
            value_of=value_of,
            transforms=Transforms(orders.folder, orders.tell or _unheard),
            log=orders.log,
            wall=orders.ways.wall,
        ) as lanes,
        serving(lanes, journal, tell=orders.tell),
        anyio.create_task_group() as tasks,
    ):
        if orders.watch:
            tasks.start_soon(orders.watch, lanes)
        timeline = Timeline(journal, lanes, rows, orders.ways.wall)
        tasks.start_soon(timeline.watch)
        try:
            yield lanes
        finally:
            timeline.look()
        tasks.cancel_scope.cancel()


def _unheard(text: str) -> None:
    """Nobody listens."""


@contextmanager
def _planned(path: Path) -> Iterator[Journal]:
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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The journal is ours alone; of a group of errors, the one that a person can act on."""
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
        found = _told(group)
        if found is None:
            raise
        raise found from None


def _told(group: BaseExceptionGroup[BaseException]) -> BulkhooksError | None:
    for error in group.exceptions:
        found = _told(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, BulkhooksError):
            return found
    return None
