"""A freeze carried out: its job is applied when its window opens, held, and put back at the end.

What is to be done next is decided in `freeze`; it is done here, in two halves: the job's journal,
then that of its put-back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from . import freeze, plan
from .errors import BulkhooksError, JournalError, Stopped
from .filing import actionable, locked, put, put_aside, stage
from .freeze import Do
from .guards import Guards
from .journal import Journal
from .lanes import Lanes
from .night import carry_out, until
from .pacing import Limits
from .permit import Phase, Wall
from .report import Summary, clean, summary
from .schedule import AT_ONCE, Schedule
from .work import (
    Locks,
    Orders,
    at_work,
    check,
    confirmed,
    made_ready,
    same_addresses,
    survey_undo,
    tell_clocks,
    with_work,
)

#: Seconds after which what could not be put back is tried again: 5 minutes in all.
_AGAIN: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 145.0)


async def put_back_earlier(path: Path, schedule: Schedule, orders: Orders) -> Summary | None:
    """Put back what earlier recurrences of a freeze have left. The books of one that could not
    be: nothing new is begun then; of the others it is told what is put back, and what is not."""
    for earlier in freeze.open_earlier(path, schedule, orders.ways.wall()):
        with locked(earlier), Journal.open(earlier) as journal:
            await apply_and_put_back(journal, plan.limits(journal), orders)
            books = summary(journal)
        if books.freeze and books.freeze.state == "open":
            return books
        if books.freeze:
            orders.tell(f"{earlier}: {books.freeze.told}")
    return None


async def apply_and_put_back(journal: Journal, limits: Limits, orders: Orders) -> None:
    """Apply, wait, put back: what of it is left to be done. Raises NotPutBack where it ends with
    the freeze open, else what `work.apply` raises; a JournalError tells what is open too."""
    with _telling_what_is_open(journal), ExitStack() as stack:
        locks = Locks(stack)
        if await _first_half(journal, limits, orders, locks):
            await _second_half(journal, orders, locks)


async def put_back(back: Journal, orders: Orders) -> None:
    """Go on with a put-back. Raises what `apply_and_put_back` does."""
    with _telling_what_is_open(back), ExitStack() as stack:
        await _in_rounds(None, back, orders, Locks(stack))


@contextmanager
def _telling_what_is_open(journal: Journal) -> Iterator[None]:
    """Have what ends the block tell that a freeze is open, by its journal or its put-back."""
    try:
        yield
    except (BulkhooksError, BaseExceptionGroup) as error:
        found = actionable(error)
        if found is None:
            raise
        ended = freeze.unless_open(_looked(journal), found)
        if ended is found:
            raise
        raise ended from error


def _looked(journal: Journal) -> freeze.Freeze | None:
    """How far a freeze is, as far as its journals can be read still."""
    with suppress(JournalError):
        return freeze.look(journal)
    return None


# ---- the first half


async def _first_half(journal: Journal, limits: Limits, orders: Orders, locks: Locks) -> bool:
    """Whether what was applied is to be put back now."""
    do, saved = Do.APPLY, bool(journal.meta("planned"))
    if saved:
        do = freeze.next_step(freeze.stand(journal), orders.ways.wall())
        anew = do is Do.NOTHING and (orders.failed or orders.replan)
        if do in (Do.PUT_BACK, Do.NOTHING) and not anew:
            return do is Do.PUT_BACK
    rows = journal.tenants()
    check(journal, rows, orders)
    async with at_work(journal, rows, limits, orders) as lanes:
        if do is not Do.HOLD or orders.failed or orders.replan:
            freeze.check_start(journal, orders.ways.wall())
            await made_ready(journal, lanes, orders)
        over = False
        with suppress(Stopped):
            over = await _in_the_window(journal, lanes, orders, locks, saved=saved)
        if saved:
            tell_clocks(journal, lanes, orders)
        return over


async def _in_the_window(
    journal: Journal, lanes: Lanes, orders: Orders, locks: Locks, *, saved: bool
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
                locks.free(journal.tenants())  # others hold up nothing: the put-back asks again
                hold = replace(phase, doing="waits to put back", until=freeze.back_at(stand))
                await until(lanes, ways, replace(hold, frozen=True))
            case Do.APPLY:
                locks.take(journal.tenants())
                freeze.check_start(journal, ways.wall())
                lanes.permit.phase = Phase(span=stand.span)
                part = freeze.until_back(schedule, stand)
                await carry_out(
                    *(journal, lanes, part, ways),
                    folder=orders.folder,
                    read_first=saved,
                    back_by=freeze.back_by(stand, freeze.measured(journal)),
                )
                await journal.commit()
                takes = max(stand.takes, freeze.measured(journal))
                await journal.commit(*journal.noted(putback_takes=str(takes)))
                tried = True
            case _:
                return do is Do.PUT_BACK
    return False


def _ahead(seconds: float) -> Wall:
    return lambda: time.time() + seconds


# ---- the second half


async def _second_half(done: Journal, orders: Orders, locks: Locks) -> None:
    path = freeze.putback_path(done.path)
    with locked(path):
        if staged_putback(done, path, orders.ways.wall(), done.meta("halted")):
            with Journal.open(path) as back:
                orders = replace(orders, confirm=None, failed=True, replan=False)
                await _in_rounds(done, back, orders, locks)


def staged_putback(done: Journal, path: Path, now: float, why: str) -> bool:
    """End the first half of a freeze, and have its put-back at `path`; `why` that is before its
    time, "" if it is not. Whether there is anything to be put back."""
    if not done.meta("putback"):
        done.write(freeze.over(done, path, now, why))
    if path.exists():
        with Journal.open(path) as back:
            mine = freeze.is_of(back, done)
            planned, untouched = bool(back.meta("planned")), back.untouched()
        if mine and planned:
            return True
        if not (untouched or done.meta("sandbox")):
            put_aside(path)
    if not freeze.stand(done).written:
        return False

    def staging(back: Journal, now: datetime) -> None:
        plan.stage_undo(back, done, guards=Guards(max_deletes=done.count()), now=now)
        freeze.staged(back, done)

    put(stage(path, staging), path)
    done.note(undone_by=str(path.absolute()))
    return True


async def _in_rounds(done: Journal | None, back: Journal, orders: Orders, locks: Locks) -> None:
    """Carry out a put-back; what fails is tried again, for 5 minutes. `done` is what it puts back,
    if it may have to be planned yet. Raises Differs when all has been done but on tenants that are
    elsewhere now."""
    for pause in (*_AGAIN, 0.0):
        if not await _one_round(done, back, orders, locks, pause):
            break
        orders = replace(orders, confirm=None, failed=True)
    freeze.note_end(back, orders.ways.wall())
    same_addresses(back, with_work(back, orders), orders)


async def _one_round(
    done: Journal | None, back: Journal, orders: Orders, locks: Locks, pause: float
) -> bool:
    """Put back what is left, once; whether to do so again, which is after the pause."""
    left = with_work(back, orders)
    if not left:
        return False
    # A tenant that another process works on, or that is elsewhere now, holds up no other.
    there = [row for row in left if row.name in orders.tenants]
    there = [row for row in there if orders.tenants[row.name].base_url == row.base_url]
    rows, ways = locks.free(there), orders.ways
    async with at_work(back, rows, plan.limits(back), orders) as lanes:
        phase = Phase(span=freeze.span_of(back), frozen=True, putting_back=True)
        lanes.permit.phase = phase
        try:
            saved = bool(back.meta("planned"))
            if done is not None and not saved:
                await survey_undo(done, back, lanes, orders)
                await back.commit(*back.noted(planned=str(back.count())))
            elif orders.failed or orders.replan:
                await lanes.survey(failed=orders.failed, replan=orders.replan)
            await lanes.reopen(failed=orders.failed, replan=orders.replan)
            await confirmed(back, lanes, orders)
            await carry_out(*(back, lanes, AT_ONCE, ways), folder=orders.folder, read_first=saved)
            await back.commit()
            if lanes.stopped or not (pause and freeze.unfinished(back)):
                return False
            orders.tell(clean(freeze.left_in_words(back)))
            again = "waits to try again what could not be put back"
            await until(lanes, ways, replace(phase, doing=again, until=ways.wall() + pause))
        except Stopped:
            return False
    return True
