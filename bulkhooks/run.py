"""What the commands do, for whoever calls: plan a job, apply a journal, or both in one go.

Whoever looks on hands in `watch`, which runs beside the lanes, whoever may say no hands in
`confirm`, which is asked before the first write, `log` is told of every request, and `tell` what
functions of a person's own (`transform:`) write, and what a person should know on the way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from . import freeze, plan
from .auth0 import Log
from .errors import Refused
from .filing import Tell, locked, planning, put_job, put_plan, stage
from .freezing import apply_and_put_back, put_back, put_back_earlier, staged_putback
from .guards import Guards, Narrowing, check_guards, check_to_come
from .items import Move
from .jobfile import Job
from .journal import Journal
from .lanes import ASIDE, SETTLE
from .night import AS_CALLED, Ways
from .pacing import Limits
from .report import Summary, summary
from .schedule import AT_ONCE, Schedule
from .work import (
    Confirm,
    Orders,
    Tenants,
    Watch,
    apply,
    at_work,
    make_plan,
    same_addresses,
    survey_undo,
    unheard,
)


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
    tell: Tell = unheard,
    log: Log | None = None,
) -> Summary:
    """Read the live state and write a journal of items at `path`; no write is sent.

    A journal there to which nothing was ever sent is replaced; another only with `fresh`, which
    puts it aside under a dated name. `tenants_file` is kept for a later apply. `narrowing` is what
    part of the job is meant, `guards` how much it may ask for. Raises Refused (BadInput, Locked),
    JournalError, Stopped. Each recurrence of a freeze has a journal of its own: a date is added to
    the name of `path`, as the books say.
    """
    for earlier in freeze.open_earlier(path, job.schedule, time.time()):
        with Journal.read(earlier) as journal:
            freeze.check_over(journal)
    path, span = freeze.recurrence(path, job.schedule, time.time(), dated=not sandbox)
    with locked(path):
        staging = partial(plan.stage, job=job, tenants=tenants, sandbox=sandbox, guards=guards)
        staging = partial(staging, narrowing=narrowing)
        new = stage(path, staging, tenants_file=tenants_file, span=span)
        put_plan(new, path, fresh=fresh, sandbox=sandbox, schedule=job.schedule)
        with planning(path) as journal:
            orders = Orders(tenants=tenants, folder=job.folder, tell=tell, watch=watch, log=log)
            await make_plan(journal, job.limits, orders)
            return summary(journal)


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
    tell: Tell = unheard,
    log: Log | None = None,
) -> Summary:
    """Plan, as `plan_job` does, to move hooks to actions, as a journal called `name`; `prepared`
    is the journal that they come from, if they do."""
    with locked(path):
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
        _, span = freeze.recurrence(path, schedule, time.time(), dated=False)
        new = stage(path, staging, tenants_file=tenants_file, span=span)
        put_plan(new, path, fresh=fresh, sandbox=False, schedule=schedule)
        with planning(path) as journal:
            orders = Orders(tenants=tenants, folder=path.parent, tell=tell, watch=watch, log=log)
            await make_plan(journal, plan.limits(journal), orders)
            return summary(journal)


async def apply_journal(
    path: Path,
    tenants: Tenants,
    *,
    failed: bool = False,
    replan: bool = False,
    ways: Ways = AS_CALLED,
    watch: Watch | None = None,
    confirm: Confirm | None = None,
    tell: Tell = unheard,
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
    with locked(path), Journal.open(path) as journal:
        if not journal.meta("planned"):
            again = f"`bulkhooks undo {done}`" if (done := journal.meta("undoes")) else "the job"
            again = "the hooks" if journal.meta("moves") else again
            refused = Refused(f"{path}: its plan was not finished; plan {again} again")
            raise freeze.unless_open(freeze.look(journal), refused)
        if journal.meta("sandbox"):
            raise Refused(f"{path}: its pretend tenants are gone; run the job again")
        orders = Orders(
            tenants=tenants,
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
        await _carry_out(journal, plan.limits(journal), orders)
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
    tell: Tell = unheard,
    log: Log | None = None,
    settle: float = SETTLE,
    aside: float = ASIDE,
) -> Summary:
    """Plan, ask, apply. With a journal of the same job at `path` already, go on with that.

    Of a freeze, what earlier recurrences have left is put back first. Raises what `plan_job` and
    `apply_journal` raise; Differs when the journal is another job's.
    """
    orders = Orders(
        tenants=tenants,
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
    if left := await put_back_earlier(path, job.schedule, orders):
        return left
    path, span = freeze.recurrence(path, job.schedule, ways.wall(), dated=not sandbox)
    with locked(path):
        staging = partial(plan.stage, job=job, tenants=tenants, sandbox=sandbox, guards=guards)
        staging = partial(staging, narrowing=narrowing)
        new = stage(path, staging, tenants_file=tenants_file, span=span)
        come = partial(check_to_come, job.schedule, ways.wall())
        put_job(new, path, fresh=fresh, sandbox=sandbox, come=come, tell=tell)
        with planning(path) as journal:
            await _carry_out(journal, job.limits, orders)
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
    with locked(path), Journal.open(path) as done:
        done.check()  # a row that looks as if nothing had been written would be passed over
        if frozen := freeze.span_of(done) is not None and not done.meta("puts_back"):
            new = freeze.putback_path(path)
        _may_be_undone(done, by=new)
        orders = Orders(tenants=tenants, folder=new.parent, watch=watch, log=log, settle=settle)
        with locked(new):
            if frozen and not freeze.stand(done).written:
                raise Refused(f"{path}: nothing was written, so there is nothing to undo")
            if frozen:
                staged_putback(done, new, time.time(), "a person said so")
            else:
                staging = partial(plan.stage_undo, done=done, guards=guards or Guards())
                renamed = "renamed it leaves room for another way back"
                staged = stage(new, staging)
                put_plan(staged, new, fresh=False, sandbox=False, anew=renamed)
            with planning(new) as journal:
                if not journal.meta("planned"):
                    await _plan_undo(done, journal, orders)
                return summary(journal)


async def _carry_out(journal: Journal, limits: Limits, orders: Orders) -> None:
    """Do what is left to be done of a journal, whatever it is."""
    if journal.meta("puts_back"):
        await put_back(journal, orders)
    elif freeze.span_of(journal) is not None:
        await apply_and_put_back(journal, limits, orders)
    else:
        await apply(journal, limits, orders)


def _may_be_undone(done: Journal, *, by: Path) -> None:
    """Raises Refused when a journal cannot be undone by one at `by`."""
    if done.meta("sandbox"):
        raise Refused(f"{done.path}: its pretend tenants are gone")
    if done.meta("puts_back"):  # what it put back would stay off, and nothing would say so
        raise Refused(f"{done.path} is the put-back of a freeze; --fresh begins its job anew")
    other = done.meta("undone_by")
    if other not in ("", str(by.absolute())):
        raise Refused(f"{done.path} is undone by {other} already; `bulkhooks apply {other}`")


async def _plan_undo(done: Journal, journal: Journal, orders: Orders) -> None:
    rows = journal.tenants()
    same_addresses(journal, rows, orders)
    async with at_work(journal, rows, plan.limits(journal), orders) as lanes:
        await survey_undo(done, journal, lanes, orders)
        check_guards(journal)
        done.note(undone_by=str(journal.path.absolute()))
        await journal.commit(*journal.noted(planned=str(journal.count())))
