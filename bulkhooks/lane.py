"""One lane: a tenant's client and limiter, and what is known of its hooks."""

from __future__ import annotations

import math
import time
from asyncio import Lock, get_running_loop
from collections import deque
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Final, TypeAlias

import msgspec

from . import actions, hooks, steps
from .answers import MOVE
from .auth0 import CONCURRENCY, Log, ManagementClient
from .errors import Ended, ItemError, NoActions, TenantError
from .gates import Breaker, Stop, Switch
from .items import Fields, Item
from .journal import Journal, TenantRow
from .network import Carrier
from .pacing import Limiter, Limits, Pace
from .permit import Permit
from .references import secret_value
from .tenants import Tenant
from .tokens import Grant

#: Items of which is known how long they took; and seconds that a step takes of which it is not.
_RECENT: Final = 20
_STEP: Final = 2.0

#: Fetches the value of a secret by its reference. Raises ItemError.
ValueOf: TypeAlias = Callable[[str], str]


class LaneView(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane is at, for whoever looks on."""

    tenant: str
    planned: int
    done: int
    doing: str
    pace: Pace
    waiting: tuple[str, float] | None  #: for what, and seconds from now until when
    reserve: int | None = None  #: requests of its bucket that are left to others
    max_rate: float | None = None  #: requests a second that are never exceeded
    in_flight: int = 0  #: requests
    switching: bool = False  #: one thing is off, and another that takes its place not yet on
    trouble: str = ""  #: why it was given up


_LISTS: Final = {"hooks": hooks.list_all, "actions": actions.list_all}


class Lane:
    """One tenant's work: its client and limiter, and what it knows of the tenant's hooks."""

    def __init__(
        self,
        row: TenantRow,
        tenant: Tenant,
        limits: Limits,
        network: Carrier,
        settle: float,
        aside: float,
        value_of: ValueOf = secret_value,
        log: Log | None = None,
        permit: Permit | None = None,
    ) -> None:
        self.row, self.tenant, self.settle, self.value_of = row, tenant, settle, value_of
        self.permit = permit or Permit(time.time)
        self.stop = Stop()
        self.time = get_running_loop().time  #: the clock of all durations, in seconds
        self.limiter = Limiter(limits)
        self.concurrency = limits.concurrency or CONCURRENCY
        self.client = ManagementClient(
            tenant, self.limiter, network, self.stop, self.concurrency, log=log
        )
        self.breaker = Breaker(aside)
        self.switch = Switch()
        self.read_at = row.read_at  #: Unix seconds
        self.trouble: TenantError | None = None
        self.planned = self.done = 0
        self.doing = ""
        #: What is known of hooks by now; None: it must be read. A hook that is not here is as its
        #: item's before says, while the plan is trusted.
        self.live: dict[str, Fields | None] = {}
        self.trusts_plan = True
        #: When each kind of thing was listed, on the loop's clock; those that were not are missing.
        self.listed_at: dict[str, float] = {}
        self._listing = Lock()
        #: Keys that items of the first rank share with later ones, and that did not end well.
        self.not_cleared: set[str] = set()
        #: That its hooks are read-only, once it was answered so.
        self.ended: Ended | None = None
        #: What was answered where actions are not given or taken, by the scope of the call.
        self.no_actions: dict[str, NoActions] = {}
        #: Things that are waited for: why (`{n}`: how many), and until when on the loop's clock.
        self.waits: dict[str, tuple[str, float]] = {}
        self._counted = (0, 0)
        #: Seconds that the last items took, by how often each deployed.
        self._took: dict[int, deque[float]] = {}

    def view(self, now: float) -> LaneView:
        """A snapshot; `now` is the loop's time."""
        waiting = self.breaker.waiting or self.limiter.waiting or self.client.waiting
        if self.waits and not waiting:
            waiting = self._longest_wait()
        pace = self.limiter.statistics()
        return LaneView(
            tenant=self.tenant.name,
            planned=self.planned,
            done=self.done,
            doing=self.doing,
            pace=pace,
            reserve=pace.limit and self.limiter.reserved(pace.limit),
            max_rate=self.limiter.max_rate,
            in_flight=self.limiter.in_flight,
            switching=self.switch.held,
            trouble=str(self.trouble or ""),
            waiting=(waiting[0], max(0.0, waiting[1] - now)) if waiting else None,
        )

    def _longest_wait(self) -> tuple[str, float]:
        why, until = max(self.waits.values(), key=itemgetter(1))
        return why.format(n=sum(1 for each, _ in self.waits.values() if each == why)), until

    def give_up(self, trouble: TenantError) -> None:
        """End the lane: what is in flight goes on, and what is half done ends or goes back."""
        if self.trouble is None:
            self.trouble = trouble
            self.permit.given_up(self.tenant.name)
        self.stop.ask()

    def has_room(self, item: Item) -> bool:
        """Whether an item can be done and read back before the window closes."""
        permit = self.permit
        return permit.closes_at == math.inf or permit.has_room(self.takes(item))

    def takes(self, item: Item) -> float:
        """About how many seconds an item takes from its beginning to its read-back: what the
        longest of the last ones took that deploy as often, or at first a guess; and no less than
        its requests wait for their turn."""
        deploys = _deploys(item)
        steps = sum(not step.back for step in item.steps)
        took = self._took.get(deploys)
        guess = _STEP * steps + 2 * actions.LOOK_EVERY * deploys
        # A step's write, what is read before and after it; of several things, all once more.
        turns = self.limiter.seconds_for(3 * steps + (steps if steps > 1 else 0))
        return max(max(took) if took else guess, turns)

    def took(self, item: Item, began: float) -> None:
        """Learn how long an item took, where a window is to close; it `began` by the loop's clock
        and has ended now."""
        if self.permit.closes_at < math.inf:
            seconds = self.time() - began
            self._took.setdefault(_deploys(item), deque(maxlen=_RECENT)).append(seconds)

    def forbids(self, item: Item, grant: Grant) -> ItemError | None:
        """Why the steps of an item cannot be carried out here, as far as that is known before."""
        refused = steps.frozen(item.steps) if self.tenant.read_only else ""
        return read_only(refused) if refused else lacks(steps.scopes(item.steps), grant)

    def finishing(self) -> ManagementClient:
        """The client for an item that is half done. It goes on when the lane is stopped or given
        up, for that one hook is off and the other not on yet is no state to leave a tenant in."""
        return self.client.until(Stop())

    def count(self, journal: Journal) -> None:
        """Have the journal keep what was sent since this was last called, and what was learned."""
        pace, (requests, throttled) = self.limiter.statistics(), self._counted
        if (pace.requests, pace.throttled) == self._counted:
            return
        self._counted = (pace.requests, pace.throttled)
        learned = msgspec.structs.asdict(pace)
        sent = (pace.requests - requests, pace.throttled - throttled)
        journal.post(journal.counted(self.row.id, *sent, learned))

    async def list_for(self, item: Item) -> None:
        """Have what the steps of an item are for listed, if that was not done yet, hooks first.
        Raises NoActions, TenantError, Stopped."""
        kinds = {steps.kind_of(step.target) for step in item.steps} - self.listed_at.keys()
        for kind in sorted(kinds, reverse=True):
            async with self._listing:
                if kind not in self.listed_at:
                    began = self.time()
                    self.live |= await self.list_all(kind)
                    self.listed_at[kind] = began

    async def unlike(self, items: Iterable[Item], stop: Stop) -> list[str]:
        """What of some items that ended well is not any more as they wrote it, a line each: all is
        listed and read anew. Raises TenantError, Stopped."""
        read = self.client.until(stop).read
        live: dict[str, dict[str, Fields]] = {}
        found = []
        for item in items:
            made = {s.target: str(s.after["id"]) for s in item.steps if s.after and "id" in s.after}
            last = {(step.target, step.kind): step for step in item.steps if not step.back}
            for step in last.values():
                kind, id = steps.kind_of(step.target), made.get(step.target, step.target)
                try:
                    if kind not in live:
                        live[kind] = await _LISTS[kind](read)
                    seen = live[kind].get(id) if step.kind not in steps.SILENT else None
                    if seen is None or not steps.shows(step, seen):
                        seen = await steps.look(step, id, read)
                    if not steps.shows(step, seen):
                        found.append(f"{item.label}: {steps.unlike(step, seen)}")
                except ItemError as error:
                    found.append(f"{item.label}: {error.cause}")
        return found

    async def list_all(self, kind: str) -> dict[str, Fields]:
        """All hooks, or all actions, as they are now. Raises TenantError when they cannot be had,
        NoActions when that concerns actions alone, Stopped."""
        try:
            if kind == "hooks":
                return await hooks.list_all(self.client.read)
            if actions.READ in self.no_actions:
                raise self.no_actions[actions.READ]
            return await actions.list_all(self.client.read)
        except NoActions as error:
            self.no_actions[actions.READ] = error
            raise
        except ItemError as error:
            hint = error.hint or "see whether the tenant answers, then apply --failed"
            raise TenantError(error.cause, hint) from error


def _deploys(item: Item) -> int:
    return sum(step.kind == "deploy" and not step.back for step in item.steps)


def read_only(refused: str) -> Ended:
    """Why `refused`, in words, cannot be written where the tenants file says that hooks are so."""
    hint = f"{MOVE}; or say `hooks: active` of the tenant, if it still takes that"
    return Ended(f"hooks are read-only here: {refused} cannot be written", hint)


def lacks(scopes: set[str], grant: Grant) -> ItemError | None:
    """Why a token will not do for what takes these scopes, as far as it tells."""
    missing = " and ".join(sorted(scopes - (scopes if grant.scopes is None else grant.scopes)))
    if not missing:
        return None
    hint = f"grant {missing} to {grant.whose}, then apply --failed"
    return ItemError(f"its token lacks {missing}", hint)
