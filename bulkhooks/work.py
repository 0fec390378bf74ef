"""The work on a journal: its tenants' lanes are opened, its plan made, confirmed and applied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from platformdirs import user_state_path

from . import freeze, plan
from .auth0 import Log, loop_time
from .control import serving
from .errors import Differs, Locked, Refused
from .filing import Tell
from .guards import Guards, check_guards, check_narrowing, check_protected, listed
from .items import State
from .journal import Journal, TenantRow
from .lanes import ASIDE, SETTLE, Lanes
from .locks import held
from .night import AS_CALLED, Ways, carry_out, opened
from .pacing import Limits
from .probes import check_probes
from .references import secret_value
from .schedule import Schedule
from .tenants import Tenant
from .timeline import Timeline
from .transform import Transforms
from .waves import assign, kept, under_way, waves_of
from .windows import APART, length, over

Tenants: TypeAlias = Mapping[str, Tenant]
Watch: TypeAlias = Callable[[Lanes], Coroutine[Any, Any, None]]
#: Is asked with the journal as it will be applied.
Confirm: TypeAlias = Callable[[Journal], Awaitable[bool]]


def unheard(text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """On which tenants a caller wants the work done, and how."""

    tenants: Tenants
    folder: Path  #: of the job, or of the journal: from there, or below, code may be run
    tell: Tell = unheard
    failed: bool = False
    replan: bool = False
    ways: Ways = AS_CALLED
    guards: Guards | None = None
    watch: Watch | None = None
    confirm: Confirm | None = None
    log: Log | None = None
    settle: float = SETTLE
    aside: float = ASIDE


class Locks:
    """The tenants' locks, from when they are taken until the stack is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._had = stack, set[str]()

    def take(self, rows: Iterable[TenantRow]) -> None:
        """Take those of all `rows` that are not taken yet. Raises Locked."""
        urls = {row.base_url for row in rows} - self._had
        self._stack.enter_context(held(user_state_path("bulkhooks") / "tenants.lock", urls))
        self._had |= urls

    def free(self, rows: Iterable[TenantRow]) -> list[TenantRow]:
        """Those of `rows` that no other process works on; they are taken."""
        mine = []
        for row in rows:
            with suppress(Locked):
                self.take([row])
                mine.append(row)
        return mine


@asynccontextmanager
async def at_work(
    journal: Journal, rows: list[TenantRow], limits: Limits, orders: Orders
) -> AsyncIterator[Lanes]:
    """The lanes of these tenants, watched, steered and timed while the block runs."""
    # Pretend tenants get pretend secrets: a rehearsal reads no credential.
    value_of = str if journal.meta("sandbox") else secret_value
    async with (
        Lanes.opened(
            *(journal, rows, orders.tenants, limits),
            settle=orders.settle,
            aside=orders.aside,
            value_of=value_of,
            transforms=Transforms(orders.folder, orders.tell),
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


# ---- a plan


async def make_plan(journal: Journal, limits: Limits, orders: Orders) -> None:
    """Read the tenants, and plan what a journal was staged with. Raises Refused, Stopped."""
    check_probes(journal, plan.schedule(journal), orders.folder)
    async with at_work(journal, journal.tenants(), limits, orders) as lanes:
        await _survey(journal, lanes, orders)


async def made_ready(journal: Journal, lanes: Lanes, orders: Orders) -> bool:
    """Plan what is not planned yet, and have it confirmed; whether it was a saved plan. Raises
    Refused, Stopped."""
    saved = bool(journal.meta("planned"))
    if not saved:
        await _survey(journal, lanes, orders)
    elif orders.failed or orders.replan:
        await lanes.survey(failed=orders.failed, replan=orders.replan)
        plan.consistent(journal, lanes.contradictions)
    check_guards(journal, orders.guards)
    await lanes.reopen(failed=orders.failed, replan=orders.replan)
    if saved and (waves := assign(journal, orders.tenants, plan.schedule(journal))):
        # What is pending again may have been in a wave that is done.
        await journal.commit(*journal.noted(waves=kept(waves)))
    await confirmed(journal, lanes, orders)
    return saved


async def _survey(journal: Journal, lanes: Lanes, orders: Orders) -> None:
    await lanes.survey()
    check_narrowing(journal, lanes.met)
    plan.consistent(journal, lanes.contradictions)
    plan.matched(journal)
    check_guards(journal)
    takes = freeze.check(journal, orders.tenants) if freeze.span_of(journal) else 0.0
    waves = kept(assign(journal, orders.tenants, plan.schedule(journal)))
    learned = {"planned": str(journal.count()), "waves": waves, "putback_takes": str(takes)}
    await journal.commit(*journal.noted(**learned))
    tell_clocks(journal, lanes, orders)


async def survey_undo(done: Journal, journal: Journal, lanes: Lanes, orders: Orders) -> None:
    """Read the tenants for a journal that undoes another. Raises Stopped."""
    # What may be under way still must have shown before what is seen is believed.
    since = orders.ways.wall() - done.last_sent()
    with lanes.unless_stopped():
        await anyio.sleep(max(0.0, min(orders.settle, orders.settle - since)))
    await lanes.survey()


async def confirmed(journal: Journal, lanes: Lanes, orders: Orders) -> None:
    """Ask whoever may say no. Raises Refused, Stopped."""
    with lanes.unless_stopped():
        if orders.confirm and not await orders.confirm(journal):
            raise Refused("not confirmed; nothing was sent")


def tell_clocks(journal: Journal, lanes: Lanes, orders: Orders) -> None:
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
            orders.tell(
                f"the clock of this host is {most} {word} that of {listed(those)}; windows are "
                "kept by this host's clock: set it if it is wrong"
            )


# ---- carried out


async def apply(journal: Journal, limits: Limits, orders: Orders) -> None:
    """Carry out what is left of a journal, planning it first if need be: in its window, wave by
    wave. Raises Refused (Locked, Differs), JournalError, Stopped."""
    if other := journal.meta("undone_by"):
        raise Refused(
            f"{journal.path} was undone by {other}; it is not applied any more, "
            "--fresh plans its job anew"
        )
    rows = with_work(journal, orders)
    if not rows:
        if orders.ways.go_on:
            journal.note(halted="")
        return
    check(journal, rows, orders)
    if journal.meta("halted") and not orders.ways.go_on:
        return  # the books say why, and what somebody who has looked at it types
    schedule = plan.schedule(journal)
    if _over_for_good(journal, schedule, orders):
        return  # nobody is asked about what will not be sent; the books say what to do
    with ExitStack() as stack:
        locks = Locks(stack)
        if schedule.window is None:  # others may use the tenants while it is waited for
            locks.take(rows)
        async with at_work(journal, rows, limits, orders) as lanes:
            saved = await made_ready(journal, lanes, orders)
            if not await opened(journal, lanes, schedule, orders.ways):
                return
            locks.take(rows)
            await carry_out(
                *(journal, lanes, schedule, orders.ways), folder=orders.folder, read_first=saved
            )
            if saved:
                tell_clocks(journal, lanes, orders)


def _over_for_good(journal: Journal, schedule: Schedule, orders: Orders) -> bool:
    """Whether what is planned has a window that does not open any more; a rehearsal needs none."""
    if schedule.window is None or journal.meta("sandbox") or not journal.meta("planned"):
        return False
    return bool(over(schedule.window, orders.ways.wall()))


def check(journal: Journal, rows: list[TenantRow], orders: Orders) -> None:
    """Raises Refused when a journal cannot be worked on with what is there: its tenants are
    elsewhere now (Differs) or are protected, a probe is missing."""
    same_addresses(journal, rows, orders)
    if not journal.meta("sandbox"):
        check_protected(journal, orders.tenants)
    check_probes(journal, plan.schedule(journal), orders.folder)


def same_addresses(journal: Journal, rows: list[TenantRow], orders: Orders) -> None:
    """Raises Differs when one of the tenants is not where it was when it was planned."""
    for row in rows:
        tenant = orders.tenants.get(row.name)
        if tenant is None:
            raise Differs(f"tenant {row.name} of {journal.path} is not in the tenants file")
        if tenant.base_url != row.base_url:
            raise Differs(
                f"tenant {row.name} was planned at {row.base_url}, "
                f"the tenants file says {tenant.base_url}"
            )


def with_work(journal: Journal, orders: Orders) -> list[TenantRow]:
    """The tenants that something is to be done on; all of them, while it is not planned."""
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
