"""Logins come first: what a tenant's neighbours get with us and without us, in virtual time.

A lane's client and limiter work over the sandbox's core. The neighbours come at the same moments to
a second sandbox, which nobody else asks anything.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress

import pytest

from bulkhooks import Limits, Tenant, hooks
from bulkhooks.gates import Gate
from bulkhooks.items import Reply
from bulkhooks.journal import TenantRow
from bulkhooks.lane import Lane
from bulkhooks.lanes import ASIDE, SETTLE
from bulkhooks.sandbox import Request, Sandbox
from bulkhooks.sandbox.buckets import Bucket, Logins
from virtual import VirtualTimeLoop

EPOCH = 1_700_000_000.0
LEAD = 3.0  # seconds until the lane begins
NOTHING_SAID = Limits()
#: Buckets, and what the default reserve is of each.
BUCKETS = {
    "50 drip 16/s": (Bucket(burst=50, rate=16), 10),
    "50 window 16": (Bucket(burst=50, rate=16, refill="window"), 10),
    "10 drip 2/s": (Bucket(burst=10, rate=2), 2),
    "10 window 2": (Bucket(burst=10, rate=2, refill="window"), 2),
    "2 drip 2/s": (Bucket(burst=2, rate=2), 1),
    "2 window 2": (Bucket(burst=2, rate=2, refill="window"), 1),
    "5 drip 100 a minute": (Bucket(burst=5, rate=100, per=60), 1),
}


def now() -> float:
    """Unix seconds of the true clock; the loop begins at 1000."""
    return asyncio.get_running_loop().time() - 1000 + EPOCH


class Core:
    """The sandbox's core as a network: some hundredths of a second each way."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self.sandbox, self.chance = sandbox, random.Random(seed)
        self.gate = Gate(256)
        self.in_flight = self.most_in_flight = 0

    def way_to(self, tenant: Tenant) -> Core:
        return self

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.chance.uniform(0.006, 0.04))
        request = Request(
            tenant="t0",
            method=method,
            path=url.removeprefix("https://x/t0"),
            query={},
            headers={name.lower(): value for name, value in headers.items()},
            body=body or b"",
        )
        answer = self.sandbox.handle(request, now())
        await asyncio.sleep(self.chance.uniform(0.006, 0.04))
        self.in_flight -= 1
        seen = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status, body=answer.body), seen


class Town:
    """One tenant, its neighbours, and a lane that asks as much as it may for some seconds.

    The neighbours come `after` seconds later than the lane; earlier, where that is below 0.
    """

    def __init__(
        self,
        bucket: Bucket,
        seed: int,
        *,
        rate: float,
        burst: int,
        most: int | None = None,
        after: float = -3.0,
        limits: Limits = NOTHING_SAID,
    ) -> None:
        self.limits, self.ahead = limits, seed / 7  # it begins anywhere in the server's second
        begin = EPOCH + LEAD + after + self.ahead
        logins = Logins(seed=seed, rate=rate, burst=burst, most=most, begin=begin)
        self.sandbox, self.without_us = (
            Sandbox(["t0"], hooks=1, bucket=bucket, neighbour=logins, clock_ahead=self.ahead)
            for _ in range(2)
        )
        self.core = Core(self.sandbox, seed)

    def work(self, seconds: float) -> None:
        """Asks for so long; the neighbours are counted for as long again."""
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(self._work(seconds))

    async def _work(self, seconds: float) -> None:
        [hook] = self.sandbox.hooks_of("t0")
        tenant = Tenant.with_token("t0", "https://x/t0", "sandbox")
        row = TenantRow(id=1, name="t0", base_url=tenant.base_url, items=1, read_at=None)
        lane = Lane(row, tenant, self.limits, self.core, SETTLE, ASIDE)

        async def worker() -> None:
            while True:
                await lane.client.read(hooks.get_hook(hook["id"]))

        await asyncio.sleep(LEAD)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(worker() for _ in range(12)))
        await asyncio.sleep(seconds)
        self.theirs, self.theirs_alone = (
            box.statistics(now())["t0"] for box in (self.sandbox, self.without_us)
        )

    @property
    def refused_for_us(self) -> int:
        """How many 429s more the neighbours saw with us than without us."""
        return self.theirs.neighbour_refused - self.theirs_alone.neighbour_refused

    def served(self, begin: float, end: float) -> int:
        """Requests of ours that were, from `begin` to `end` seconds after the lane's start."""
        start = EPOCH + LEAD + self.ahead
        served = [seen.at - start for seen in self.sandbox.log if seen.status == 200]
        return sum(begin <= at < end for at in served)


#: What the neighbours ask for, as a share of the refill; at 2.0 for all that they may have.
LOADS = [
    (name, load)
    for name, (bucket, reserve) in BUCKETS.items()
    for load in (0.3, 0.6, 2.0)
    # A reserve that is all of a refill, and taken each time, is the next test's.
    if load < 1 or bucket.refill == "drip" or bucket.rate > reserve
]


@pytest.mark.parametrize(("name", "load"), LOADS)
def test_neighbours_within_the_reserve_see_not_one_429_more(name: str, load: float) -> None:
    """They take at most the reserve between two refills, and get all they got without us."""
    bucket, reserve = BUCKETS[name]
    for seed in range(5):
        rate = load * bucket.rate / bucket.per
        town = Town(bucket, seed, rate=rate, burst=reserve, most=reserve)
        town.work(40)
        assert town.theirs_alone.neighbour_served > 10, seed
        assert town.refused_for_us == 0, seed
        assert town.theirs.neighbour_served == town.theirs_alone.neighbour_served, seed
        assert town.served(20, 40) > 0, seed


def test_neighbours_that_take_all_of_each_refill_lose_no_more_than_our_looks() -> None:
    """Of such a bucket every look takes what one of them would have got; soon there are none."""
    bucket, reserve = BUCKETS["10 window 2"]
    for seed in range(5):
        town = Town(bucket, seed, rate=4, burst=2, most=reserve)
        town.work(40)
        assert town.refused_for_us <= min(3, town.served(1, 40)), seed
        assert town.served(20, 40) <= 1, seed


@pytest.mark.parametrize("name", BUCKETS)
def test_when_remaining_falls_faster_than_we_spend_we_give_way(name: str) -> None:
    """After 20 s they come half as often again as tokens do: they get nine tenths of what they
    got without us, and our rate falls to a third at most."""
    bucket, reserve = BUCKETS[name]
    for seed in range(5):
        rate = 1.5 * bucket.rate / bucket.per
        town = Town(bucket, seed, rate=rate, burst=max(2, reserve), after=20)
        town.work(60)
        assert town.served(30, 60) / 30 < town.served(5, 20) / 15 / 3, seed
        assert town.theirs.neighbour_served > 0.9 * town.theirs_alone.neighbour_served, seed


@pytest.mark.parametrize(
    ("limits", "rate", "at_once"),
    [
        (Limits(max_rate=3.0), 3.0, 8),
        (Limits(max_rate=1000.0), 16.0, 8),
        (Limits(concurrency=2), 16.0, 2),
        (Limits(concurrency=100), 16.0, 12),
        (Limits(max_rate=5.0, concurrency=1), 5.0, 1),
    ],
)
def test_max_rate_and_concurrency_are_ceilings_on_top_of_the_reserve(
    limits: Limits, rate: float, at_once: int
) -> None:
    """They slow us down, and however high they are the neighbours keep what is theirs."""
    bucket, reserve = BUCKETS["50 drip 16/s"]
    for seed in range(3):
        town = Town(bucket, seed, rate=6, burst=reserve, most=reserve, limits=limits)
        town.work(30)
        assert town.refused_for_us == 0, seed
        assert town.core.most_in_flight <= at_once, seed
        assert town.served(10, 30) <= 20 * rate + 1, seed
