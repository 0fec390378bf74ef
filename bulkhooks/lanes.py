"""One lane a tenant, all at once, from the journal and back into it.

A lane reads its tenant's hooks and resolves edits into items (`survey`), then carries the items
out (`apply`).
"""

from __future__ import annotations

import time
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import anyio

from .auth0 import CONCURRENCY, Log, loop_time
from .course import carry_out, unanswered
from .errors import ItemError, NoActions, Stopped, TenantError
from .gates import Gate, Stop
from .items import AnyEdit, Item, Outcome, State, edit_of
from .journal import Journal, Placeholder, TenantRow, Unresolved
from .lane import Lane, LaneView, ValueOf
from .listing import Listing
from .network import Carrier, Network
from .pacing import Limits
from .permit import Permit, Wall
from .plan import timezone
from .prospect import Contradiction
from .references import secret_value
from .tenants import Tenant
from .tokens import Grant
from .transform import Transforms

#: Seconds after a send from which a read that shows it undone is believed.
SETTLE: Final = 10.0
#: Seconds for which a tenant is set aside whose writes break.
ASIDE: Final = 60.0
#: Seconds for which what was read of a tenant is trusted without reading again.
FRESH: Final = 60.0
#: Edits that a lane holds at once; the journal is the queue.
_PAGE: Final = 64
#: Lanes that plan at once: each holds all hooks of its tenant meanwhile.
_SURVEYS: Final = 256

#: A placeholder and the edit that it stands for.
_Placed: TypeAlias = tuple[Placeholder, AnyEdit]


class Lanes:
    """All lanes of one journal. Made by `opened`."""

    def __init__(
        self,
        journal: Journal,
        lanes: list[Lane],
        wall: Wall,
        transforms: Transforms | None,
        permit: Permit,
    ) -> None:
        self._journal, self._lanes, self._wall, self.permit = journal, lanes, wall, permit
        permit.stop = self._halted
        self._transforms = transforms
        self._scope = anyio.CancelScope()
        self._stop = Stop()
        self._surveys = Gate(_SURVEYS)
        self._unanswered = unanswered()
        #: What `survey` found that edits want differently, by tenant.
        self.contradictions: dict[Contradiction, list[str]] = {}
        self.met: set[str] = set()  #: names and globs of hooks that narrow the job, and are met

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        journal: Journal,
        rows: Iterable[TenantRow],
        tenants: Mapping[str, Tenant],
        limits: Limits,
        *,
        settle: float = SETTLE,
        aside: float = ASIDE,
        value_of: ValueOf = secret_value,
        transforms: Transforms | None = None,
        log: Log | None = None,
        connect: Callable[[int], AbstractAsyncContextManager[Carrier]] = Network.opened,
        wall: Wall = time.time,
    ) -> AsyncIterator[Lanes]:
        """A lane for each of `rows`; `limits` are the job's.

        `value_of` fetches the value of a secret by its reference, `transforms` calls the functions
        that edits name, `log` is told of every request.
        A tenant's own limits go before the job's, the job's before the tenants file's defaults.
        """
        allowed = [(row, tenants[row.name].allowed(limits)) for row in rows]
        wanted = sum(each.concurrency or CONCURRENCY for _, each in allowed)
        async with connect(wanted) as network, journal.writing():
            permit = Permit(wall)
            lanes = [
                Lane(row, tenants[row.name], each, network, settle, aside, value_of, log, permit)
                for row, each in allowed
            ]
            yield cls(journal, lanes, wall, transforms, permit)

    def views(self) -> list[LaneView]:
        """What each lane is at now."""
        now = loop_time()
        return [lane.view(now) for lane in self._lanes]

    @property
    def journal(self) -> Path:
        """Where their journal is."""
        return self._journal.path

    @property
    def job(self) -> str:
        """The job's name."""
        return self._journal.meta("job")

    @property
    def tenants(self) -> dict[str, Tenant]:
        """The tenants that there are lanes of, by name."""
        return {lane.tenant.name: lane.tenant for lane in self._lanes}

    @property
    def asked_to_stop(self) -> Stop:
        """A person's wish to stop it all."""
        return self._stop

    @property
    def timezone(self) -> str:
        """The time zone of the job's window; "": it has none."""
        return timezone(self._journal)

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.asked

    def unless_stopped(self) -> AbstractContextManager[None]:
        """A block that waits for a person; Stopped is raised out of it when a stop is asked for."""
        return self._stop.ends()

    def stop(self) -> None:
        """Send nothing new; what is in flight ends and is recorded."""
        if not self.stopped:
            self._journal.post(self._journal.event("stop", self._wall()))
        self._stop.ask()
        self._end()

    def pause(self) -> None:
        """Begin no item from here on; what is begun ends."""
        self._steered("pause", paused=True)
        self.permit.pause()

    def resume(self) -> None:
        """Go on after a pause."""
        self._steered("resume", paused=False)
        self.permit.resume()

    def _steered(self, word: str, *, paused: bool) -> None:
        if self.permit.paused is not paused:
            self._journal.post(self._journal.event(word, self._wall()))

    def allow(self, limits: Limits, *, only: Collection[str] | None = None) -> None:
        """Take other limits from now on, where they say something, on all tenants or on those
        named. How many requests may be in flight stays as it is."""
        said = {"max_rate": limits.max_rate, "reserve": limits.reserve}
        named = None if only is None else sorted(only)
        self._journal.post(self._journal.event("set", self._wall(), **said, tenants=named))
        for lane in self._lanes:
            if only is None or lane.tenant.name in only:
                lane.limiter.allow(limits)

    def skip(self, tenant: str) -> None:
        """Begin no item of a tenant any more; its rest stays pending."""
        self._journal.post(self._journal.event("skip", self._wall(), tenant=tenant))
        for lane in self._lanes:
            if lane.tenant.name == tenant:
                lane.stop.ask()

    def _halted(self) -> None:
        # In one piece with the item, or the wave, that did it: who goes on from a crash finds both.
        self._journal.post(*self._journal.noted(halted=self.permit.halted))
        self._end()

    def _end(self) -> None:
        for lane in self._lanes:
            lane.stop.ask()

    def abandon(self) -> None:
        """Wait no longer for what is in flight: it stays in doubt until it is read back."""
        self.stop()
        self._scope.cancel()

    # ---- plan

    async def survey(self, *, failed: bool = True, replan: bool = False) -> None:
        """Read every tenant, and put items in the place of the edits not resolved yet (`failed`).

        With `replan` also in the place of items that were not begun or that had drifted. A tenant
        that cannot be read keeps them as they are, the edits with its cause.
        """
        which = Unresolved(self._journal.last_item, failed=failed, replan=replan)
        unresolved = self._journal.unresolved_tenants(which)
        with self._scope:
            async with TaskGroup() as tasks:
                for lane in self._lanes:
                    if lane.row.id in unresolved:
                        tasks.create_task(self._survey(lane, which))
        for lane in self._lanes:  # what was learned tells how long the work will take
            lane.count(self._journal)
        await self._journal.commit()
        if self.stopped:
            raise Stopped("stopped while planning; nothing was sent, the same command plans again")

    async def _survey(self, lane: Lane, which: Unresolved) -> None:
        try:
            await self._surveys.enter(lane.stop)
        except Stopped:
            return
        lane.doing = "reading"
        try:
            began = self._wall()
            listing = Listing(tenant=lane.tenant.name, transforms=self._transforms)
            if lane.read_at is None:  # befores of an earlier plan are not read again here
                lane.read_at = began
                self._journal.post(self._journal.was_read(lane.row.id, began))
            await self._resolve(lane, listing, which)
            for found in listing.contradictions:
                self.contradictions.setdefault(found, []).append(lane.tenant.name)
        except Stopped:
            return
        except TenantError as error:
            self._journal.post(*self._journal.unresolved(lane.row.id, error.cause, error.hint))
        finally:
            lane.doing = ""
            self._surveys.leave()

    async def _resolve(self, lane: Lane, listing: Listing, which: Unresolved) -> None:
        late: list[_Placed] = []
        for page in self._journal.placeholders(lane.row.id, which, _PAGE):
            now: list[_Placed] = []
            for place, body in page:
                edit = edit_of(body)
                try:
                    await listing.open_for(edit, lane.list_all)
                except NoActions as error:
                    item = _unresolved(place, listing.label(edit), error)
                    self._journal.post(*self._journal.resolve(lane.row.id, place, [item]))
                    continue
                self.met |= listing.met(edit)
                (late if listing.must_wait(edit) else now).append((place, edit))
            grant = await lane.client.grant()
            await self._put(lane, listing, now, grant, late=False)
            if len(page) == _PAGE:  # other lanes have their turn
                await self._journal.commit()
                await self._journal.room()
        await self._put(lane, listing, late, await lane.client.grant(), late=True)

    async def _put(
        self, lane: Lane, listing: Listing, edits: list[_Placed], grant: Grant, *, late: bool
    ) -> None:
        """Put items in the place of the placeholders of `edits`, in one transaction."""
        writes, forbids = [], partial(lane.forbids, grant=grant)
        for place, edit in edits:
            try:
                await listing.read_for(edit, lane.client.read)
                items = listing.resolve(
                    *(place.edit, edit), late=late, only=place.target, forbids=forbids
                )
            except ItemError as error:
                items = [_unresolved(place, listing.label(edit), error)]
            writes += self._journal.resolve(lane.row.id, place, items)
        self._journal.post(*writes)
        listing.let_go()

    # ---- apply

    async def reopen(self, *, failed: bool = False, replan: bool = False) -> None:
        """Make what is uncertain pending, to be read back; with `failed` also what failed, which
        rules count anew then, with `replan` what drifted when it was half done."""
        if failed:
            self._journal.post(*self._journal.noted(counted=""))
        for lane in self._lanes:
            self._journal.post(*self._journal.reopen(lane.row.id, failed=failed, replan=replan))
        await self._journal.commit()

    async def apply(self, *, read_first: bool = True, only: Collection[str] | None = None) -> None:
        """Carry out what is pending, on all tenants or on those named. Unless the plan was made
        just now, every tenant is to be read before anything is sent to it.
        """
        counts = self._journal.counts()
        with self._scope:
            async with TaskGroup() as tasks:
                for lane in self._lanes:
                    self.permit.books.setdefault(lane.tenant.name, dict(counts[lane.row.id]))
                    if only is not None and lane.tenant.name not in only:
                        continue
                    mine = counts[lane.row.id]
                    lane.planned = mine[State.PENDING] + mine[State.UNCERTAIN]
                    if lane.planned:
                        tasks.create_task(self._apply(lane, read_first))

    async def _apply(self, lane: Lane, read_first: bool) -> None:
        lane.doing = "writing"
        try:
            # A clock that was set back tells no age.
            fresh = lane.read_at is not None and 0 <= self._wall() - lane.read_at <= FRESH
            if read_first or not fresh:
                lane.trusts_plan = False
            await carry_out(self._journal, lane, self._wall, self._unanswered)
        except Stopped:
            pass
        except TenantError as error:
            lane.give_up(error)
        finally:
            lane.doing = ""
            if lane.trouble:
                cause, hint = lane.trouble.cause, lane.trouble.hint
                self._journal.post(*self._journal.give_up(lane.row.id, cause, hint))
            lane.count(self._journal)

    # ---- look back

    async def read_back(self, names: Collection[str]) -> dict[str, list[str]]:
        """What is not as it was written any more, by tenant, of those named that were not given
        up; all of it is read anew. Raises Stopped."""
        found: dict[str, list[str]] = {}

        async def look(lane: Lane) -> None:
            unlike = []
            try:
                unlike = await lane.unlike(self._journal.done(lane.row.id), self._stop)
            except TenantError as error:
                unlike = [error.cause]
            except Stopped:
                pass
            if unlike:
                found[lane.tenant.name] = unlike

        with self._scope:
            async with TaskGroup() as tasks:
                for lane in self._lanes:
                    if lane.tenant.name in names and lane.trouble is None:
                        tasks.create_task(look(lane))
        if self.stopped:
            raise Stopped("stopped while it was read back; the same command goes on")
        return found


def _unresolved(place: Placeholder, label: str, error: ItemError) -> Item:
    """The item of an edit that could not be resolved."""
    outcome = Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)
    return Item(edit=place.edit, target=place.target, label=label, outcome=outcome)
