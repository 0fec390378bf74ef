"""One tenant's pace: as fast as its rate limit allows, with tokens left for others and no 429.

The upper half decides: plain functions over values, with every time handed in. The lower half,
`Limiter`, waits. All times are seconds on the loop's clock unless they are called the server's.

What is known of a server's bucket, and what is not (Auth0 Management API, rate limit headers):
`x-ratelimit-remaining` is what was left when the request was counted, `x-ratelimit-reset` the
whole second (Unix time) by which more comes. Whether tokens drip in or come a window at a time is
not told, nor at what rate; both are learned from gains between answers, never by risking a 429.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Literal

import anyio
import msgspec
from aiolimiter import AsyncLimiter
from backoff import full_jitter
from msgspec.structs import replace

from .errors import TenantError

DEFAULT_RESERVE = 0.2
LONGEST_HOLD, SHORTEST_HOLD = 300.0, 0.05  # seconds, after a 429
LONGEST_GROWN = 16.0  # of a hold that nobody asked for: a look now and then shows when it is over
LONGEST_TRUST = 60.0  # seconds that an announced reset is waited for without a 429
LONGEST_RESET = 86_400.0  # seconds; what lies further ahead is no reset
PROBE_INTERVAL = 1.0  # seconds between looks at a bucket that does not say when it refills
TEST_WAIT = 0.6  # seconds: long enough to see tokens drip in, and the second is not over
TESTS = 3  # in vain, and it is a window
BLIND_REFILLS = 3
MEMORY = 10.0  # seconds over which what others took, or a silent bucket, is forgotten
TRACE = 0.1  # tokens; of what others took, less is as good as forgotten
LEAST_RATE = 1e-3  # requests a second; a rate below is as good as none
SLOWEST_PACE, FIRST_PACE = 0.2, 1.0  # requests a second, of a server without headers

Rule = Literal["drip", "window"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a person allows on a tenant; None: not said here.

    `reserve` is what stays in the bucket for others: a float in [0, 1) is a share of the bucket
    (rounded up), an int a number of requests; 0.2 when nobody says anything. `max_rate` is in
    requests a second, `concurrency` in requests in flight on one tenant.
    """

    reserve: float | int | None = None
    max_rate: float | None = None
    concurrency: int | None = None

    def over(self, other: Limits) -> Limits:
        """These limits where they say something, `other`'s where they do not."""
        return Limits(
            reserve=other.reserve if self.reserve is None else self.reserve,
            max_rate=other.max_rate if self.max_rate is None else self.max_rate,
            concurrency=other.concurrency if self.concurrency is None else self.concurrency,
        )


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What a limiter has learned and done so far; `waits` is in seconds by cause."""

    limit: int | None = None
    remaining: int | None = None
    refill: float | None = None  #: requests a second that come back at least, without others' share
    refill_rule: Rule | None = None
    lowest: int | None = None  #: the lowest remaining seen
    requests: int = 0
    throttled: int = 0  #: answers with status 429
    waits: dict[str, float] = {}
    clock_offset: float | None = None  #: the server's Unix time minus the loop's time, seconds
    clock_uncertainty: float | None = None  #: the offset is known to within plus or minus this

    def clock_ahead(self, wall: float, now: float) -> float | None:
        """Seconds that the server's clock is ahead of this host's, which shows `wall` (Unix
        seconds) when the loop's shows `now`; None: that is not known."""
        return None if self.clock_offset is None else self.clock_offset + now - wall


class Clock(msgspec.Struct, frozen=True):
    """Bounds of (server's time - loop's time), in seconds."""

    low: float = -math.inf
    high: float = math.inf

    def narrowed(self, date: float, sent: float, at: float) -> Clock:
        """With an answer's `Date`: whole seconds, stamped between sending and receiving it.

        Bounds that exclude each other mean that a clock was set: the newest alone count.
        """
        low, high = date - at, date + 1 - sent
        if low <= self.low and high >= self.high:
            return self
        within = Clock(max(self.low, low), min(self.high, high))
        return within if within.low < within.high else Clock(low, high)


class Answer(msgspec.Struct, frozen=True):
    """One answer's reading of a bucket; `reset`, `refill` and `date` are the server's time."""

    limit: int
    remaining: int
    reset: float | None
    refill: float | None  # the time by which more has come: the reset, or what it was rounded from
    date: float | None
    sent: float
    at: float
    floored: bool = False  # this server was caught at rounding resets down


class Mark(msgspec.Struct, frozen=True):
    """A bucket at a moment that gains are counted from: no request of ours was in flight."""

    tokens: int
    at: float
    reset: float | None


class Lore(msgspec.Struct, frozen=True):
    """What was learned of how a bucket refills and of who else drinks from it."""

    rule: Rule | None = None
    rate: float = 0.0  # requests a second that it gains at least
    since: float = 0.0  # when gains began to be counted
    gained: int = 0
    tests: int = 0  # in vain
    peak: float = 0.0  # the most that others took between two answers, fading
    taken: float = 0.0  # what others took of windows, fading
    watched: float = 0.0  # seconds in which they did, fading


class Bucket(msgspec.Struct, frozen=True):
    """A bucket of the server as its newest answers show it; `tokens` is the least it may hold."""

    limit: int
    tokens: int
    at: float
    refill: float | None
    lore: Lore = Lore()
    mark: Mark | None = None
    spent: int = 0  # requests of ours that it counted since the mark
    lost: int = 0  # requests that it may have counted without our hearing of it
    test_at: float = 0.0  # the last few tokens are kept until then, to see whether more drip in


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@lru_cache(maxsize=16)
def _unix_time(text: str) -> float | None:
    """An HTTP date as Unix time; the same text comes with every answer of one second."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def read(
    headers: Mapping[str, str],
    before: Answer | None,
    date: float | None,
    sent: float,
    at: float,
    clock: Clock,
) -> Answer | None:
    """What an answer's headers say of the bucket, put within bounds; None when they say nothing.

    `before` is the last answer read. A reset that was over when the request was sent gives away a
    server that rounds down: what it means lies within the second after.
    """
    remaining = _number(headers.get("x-ratelimit-remaining"))
    limit = _number(headers.get("x-ratelimit-limit"))
    reset = _number(headers.get("x-ratelimit-reset"))
    if remaining is None:
        return None
    if limit is None or limit < 1:
        limit = before.limit if before is not None else max(1, remaining + 1)
    left = min(int(limit), max(0, int(remaining)))
    floored = before is not None and before.floored
    if reset is None or date is None or not date - 2 < reset < date + LONGEST_RESET:
        return Answer(int(limit), left, None, None, date, sent, at, floored)
    floored = floored or reset <= sent + clock.low
    refill = reset + 1 if floored or reset <= date else reset
    return Answer(int(limit), left, reset, refill, date, sent, at, floored)


def heard(bucket: Bucket | None, answer: Answer, *, quiet: bool) -> Bucket:
    """The bucket after one more answer that is not a 429; `quiet`: nothing else is in flight."""
    if bucket is None:
        bucket = Bucket(answer.limit, answer.remaining, answer.at, answer.refill)
        return _marked(bucket, answer) if quiet else bucket
    left, refill, lost = answer.remaining, answer.refill, 0
    together, before = answer.sent < bucket.at, bucket.refill
    if together:
        lost = bucket.lost
        # In flight together with the one heard last: which of them was counted first is not known,
        # so the lower reading stands, unless a refill lies between the two.
        if refill is None or before is None or refill == before:
            left = min(left, bucket.tokens)
        elif refill < before:
            left, refill = bucket.tokens, before
    bucket = replace(
        bucket, tokens=left, at=answer.at, refill=refill, spent=bucket.spent + 1, lost=lost
    )
    # Tokens may have dripped in between requests that were in flight together: these tell too
    # little to count gains from. A window gains nothing meanwhile.
    told = quiet and (not together or bucket.lore.rule == "window")
    return _marked(bucket, answer) if told else bucket


def refused(bucket: Bucket | None, answer: Answer, *, fresh: bool) -> Bucket:
    """The bucket after a 429; `fresh`: not one of several that were in flight together.

    Its model did not foresee it: others take, or the rate is wrong.
    """
    lore = bucket.lore if bucket is not None else Lore()
    if fresh:
        lore = replace(lore, rate=lore.rate / 2, peak=lore.peak + 1, taken=lore.taken + 1)
    return Bucket(answer.limit, answer.remaining, answer.at, answer.refill, lore)


def missed(bucket: Bucket) -> Bucket:
    """The bucket after a request of which is not known whether it was counted."""
    return replace(bucket, lost=bucket.lost + 1, mark=None)


def _marked(bucket: Bucket, answer: Answer) -> Bucket:
    """Learns from what came since the mark, and sets a new one."""
    mark, test_at = bucket.mark, bucket.test_at
    if mark is None:
        lore = _anchored(bucket.lore, bucket.limit, answer)
    else:
        gain = bucket.tokens - mark.tokens + bucket.spent
        lore = _learned(bucket, mark, gain, answer)
        if lore.rule is None and gain > 0:
            test_at = bucket.at + TEST_WAIT
        elif lore.rule is not None or answer.sent >= test_at:
            test_at = 0.0
    mark = Mark(bucket.tokens, bucket.at, answer.reset)
    return replace(bucket, lore=lore, mark=mark, spent=0, test_at=test_at)


def _learned(bucket: Bucket, mark: Mark, gain: int, answer: Answer) -> Lore:
    """What `gain` tokens between two marks teach.

    One before the announced reset is proof of dripping. Windows are known by their gain a reset.
    """
    limit, lore = bucket.limit, bucket.lore
    span, passed, inside = answer.sent - mark.at, 0.0, False
    if mark.reset is not None and answer.reset is not None and answer.date is not None:
        passed, inside = answer.reset - mark.reset, answer.date < mark.reset
    if lore.rule != "drip" and (answer.floored or (inside and gain > 0)):
        lore = replace(lore, rule="drip", rate=0.0)
    elif inside and lore.rule is None and 0 < bucket.test_at <= answer.sent:
        tests = lore.tests + 1
        lore = replace(lore, tests=tests, rule="window" if tests >= TESTS else None)
    drips = lore.rule == "drip"
    due = lore.rate * (span if drips else passed)
    # Less than was due, and the bucket did not run over: others took it. Before the rule is known
    # that is a guess, good for windows alone: a dripping bucket goes by `peak`.
    short = max(0, math.floor(min(due, limit - mark.tokens - 1) - gain))
    if short or lore.taken > TRACE or lore.peak > TRACE:
        fade = math.exp(-max(0.0, span) / MEMORY)
        lore = replace(
            lore,
            peak=max(lore.peak * fade, short if lore.rule else 0),
            taken=lore.taken * fade + (0 if drips else short),
            watched=lore.watched * fade + (span if inside or lore.rule else 0.0),
        )
    gained, rate = lore.gained + gain, lore.rate
    if drips:
        rate = max(rate, gained / max(1e-3, answer.at - lore.since))
    elif passed >= 1:
        rate = max(rate, gain / passed)
    if answer.remaining == limit - 1:
        return _anchored(replace(lore, rate=rate), limit, answer)
    return replace(lore, gained=gained, rate=rate) if gain or rate != lore.rate else lore


def _anchored(lore: Lore, limit: int, answer: Answer) -> Lore:
    """Counts gains from this mark on.

    A part of a token may have been there already, so the first gain does not count. Not so in a
    bucket that was full: it lacks exactly the one that this request took.
    """
    return replace(lore, since=answer.sent, gained=-(answer.remaining < limit - 1))


def refill_at(bucket: Bucket, clock: Clock) -> float:
    """When at least one token more will have come, by the reset that was announced."""
    if bucket.refill is None:
        return bucket.at + PROBE_INTERVAL
    return min(max(bucket.refill - clock.low, bucket.at), bucket.at + LONGEST_TRUST)


def until_refill(bucket: Bucket, clock: Clock) -> float:
    """Seconds from the last answer to the next refill, and no less than between two looks."""
    return max(PROBE_INTERVAL, refill_at(bucket, clock) - bucket.at)


@lru_cache(maxsize=64)
def reserved(limit: int, reserve: float | int | None) -> int:
    """Tokens of a bucket that are left to others: a share of it (rounded up), or a number.

    Never the whole bucket: that would be no progress at all.
    """
    share = DEFAULT_RESERVE if reserve is None else reserve
    # The small subtraction: 0.14 * 50 is a little more than 7.
    kept = share if isinstance(share, int) else math.ceil(share * limit - 1e-9)
    return min(kept, limit - 1)


def guarded(bucket: Bucket, clock: Clock) -> int:
    """Tokens that others will probably take before we know, and one more.

    Of a dripping bucket what they take between two answers, of a window until the next one.
    """
    lore, guess = bucket.lore, 0.0
    if lore.rule == "drip" and lore.peak > TRACE:
        guess = round(lore.peak) + 1
    elif lore.rule != "drip" and lore.taken > TRACE:
        rate = lore.taken / max(1.0, lore.watched)
        guess = math.ceil(rate * (refill_at(bucket, clock) - bucket.at)) + 1
    return min(int(guess), bucket.limit // 2)


def spare(bucket: Bucket, reserve: int, clock: Clock) -> int:
    """Requests that may be in flight at once on the tokens that are surely there."""
    kept = reserve + guarded(bucket, clock)
    if reserve and bucket.lore.rate * until_refill(bucket, clock) < reserve + 1:
        # Others may take the reserve before the next refill, and it may bring back no more than
        # that: what the next look takes must be there besides, or it is missing from the reserve.
        kept = max(kept, reserve + 1)
    return bucket.tokens - bucket.lost - min(kept, bucket.limit - 1)


def tested(bucket: Bucket) -> int:
    """Tokens kept for a test: enough that others will not have taken them all by then."""
    return max(1, bucket.limit // 8) if bucket.test_at else 0


def next_send(bucket: Bucket, in_flight: int, reserve: int, clock: Clock) -> float:
    """The first moment at which one request more can be sent without a 429, as far as is known.

    A bucket proven to drip is reckoned by its rate. Otherwise each announced refill brings at
    least one token; a lone request may then look whether the learned rate holds, less what others
    take where there is a reserve. It needs no answer to come true: a lost one delays a lane and
    never stops it.
    """
    lore, refill = bucket.lore, refill_at(bucket, clock)
    missing = 1 + in_flight - spare(bucket, reserve, clock)
    if missing <= 0:
        if missing <= -tested(bucket):
            return bucket.at
        return bucket.test_at + (PROBE_INTERVAL if in_flight else 0.0)
    period, best = until_refill(bucket, clock), math.inf
    known = lore.rate > LEAST_RATE
    if known and lore.rule == "drip":
        if bucket.tokens + missing <= bucket.limit:
            best = bucket.at + min(missing / lore.rate, LONGEST_TRUST)
    elif not in_flight:
        # Without a reserve, what others take until the next refill is no reason not to look at
        # this one. Nobody minds one look in a few refills where nothing is known.
        rate = lore.rate
        if reserve:
            rate = max(rate / 8, rate - lore.taken / max(1.0, lore.watched))
        else:
            missing = min(missing, 1 + bucket.lost - bucket.tokens)
        if known:
            due = bucket.at + min(missing / rate, LONGEST_TRUST)
            best = refill + max(0, math.ceil((due - refill) / period)) * period
        else:
            missing = min(missing, BLIND_REFILLS)
    if bucket.tokens < reserve and lore.rule != "drip" and (known or in_flight):
        # Others drink from the reserve: whether a refill leaves anything is for a look to tell.
        return best
    return min(best, refill + max(0, missing - 1) * period)


def hold_for(told: Iterable[float], strikes: int, jitter: Callable[[float], float]) -> float:
    """Seconds to hold after a 429 that asked for `told`, the `strikes`th in a row.

    The longest sane wait that was asked for. Without one, and when the last hold did not help, at
    least a growing wait with full jitter.
    """
    asked = [wait for wait in told if wait > 0]
    sane = [wait for wait in asked if wait <= LONGEST_HOLD]
    hold = max(sane, default=LONGEST_HOLD if asked else 0.0)
    if hold and strikes <= 1:
        return hold
    grown = min(LONGEST_GROWN, 0.5 * 2.0 ** min(strikes, 10))
    return max(hold, jitter(grown), SHORTEST_HOLD)


def asked_waits(
    headers: Mapping[str, str], answer: Answer | None, now: float, clock: Clock
) -> list[float]:
    """The waits that a 429 asks for: `Retry-After` (seconds or an HTTP date), and its reset."""
    after = headers.get("retry-after", "")
    wait, until = _number(after), answer.refill if answer is not None else None
    if wait is None and clock.low > -math.inf:
        date = _unix_time(after)
        wait = None if date is None else date - clock.low - now
    waits = [] if wait is None else [wait]
    return waits if until is None else [*waits, until - clock.low - now]


class Turn:
    """Leave to send one request. Settle it once, by `answered` or by `lost`; more is ignored."""

    __slots__ = ("_limiter", "_open", "sent")

    def __init__(self, limiter: Limiter, sent: float) -> None:
        self._limiter, self._open, self.sent = limiter, True, sent

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer's headers are there. To be called at once: their age tells the server's clock.

        `headers` is asked for lower-case names only.
        """
        if self._open:
            self._open = False
            self._limiter._answered(self.sent, status, headers)

    def lost(self) -> None:
        """No answer came, or the request was never sent."""
        if self._open:
            self._open = False
            self._limiter._lost()


class Ceiling:
    """The rate that is never exceeded: `max_rate`, or less where 429s came that no header explains.

    Such a 429 sets a pace of half of what was served until its hold ends, or halves the pace there
    is; good answers let it creep up again.
    """

    __slots__ = ("_begun", "_bucket", "_last", "_max_rate", "_pace", "_served", "_step", "rate")

    def __init__(self, max_rate: float | None) -> None:
        self.rate = self._max_rate = max_rate
        self._pace: float | None = None
        self._step = self._begun = 0.0
        self._served, self._last = 0, -math.inf
        self._bucket: AsyncLimiter | None = None

    @property
    def cause(self) -> str:
        """Which of the two it is."""
        return "max_rate" if self.rate == self._max_rate else "pace"

    def good(self, sent: float) -> None:
        """A request sent then was served."""
        if sent - self._last > MEMORY:
            self._served, self._begun = 0, sent
        self._served, self._last = self._served + 1, sent
        if self._pace is not None:
            self._keep(self._pace + self._step)

    def unexplained(self, until: float) -> None:
        """A 429 without a reason, which holds the lane until then."""
        served = self._served / (until - self._begun) if self._served > 1 else 2 * FIRST_PACE
        pace = max(SLOWEST_PACE, (self._pace or served) / 2)
        # A hundred good answers double it, if it is not very slow.
        self._step = max(pace / 100, 0.02)
        self._keep(pace)

    def allow(self, max_rate: float) -> None:
        """Exceed no other rate from now on."""
        self._max_rate = max_rate
        self.rate = max_rate if self._pace is None else min(self._pace, max_rate)

    def _keep(self, pace: float) -> None:
        self._pace = pace
        self.rate = pace if self._max_rate is None else min(pace, self._max_rate)

    async def passed(self, rate: float) -> None:
        """Waits for this rate's next moment."""
        # Buckets of one: a larger one lets its whole size through at once. Their rate is fixed when
        # they are made, and a new one is empty.
        if self._bucket is not None:
            await self._bucket.acquire()
        if self._bucket is None or self._bucket.time_period != 1 / rate:
            self._bucket = AsyncLimiter(1, 1 / rate)
            await self._bucket.acquire()


class Limiter:
    """One tenant's model of the server's bucket: gives turns, first come, first served.

    It is made where the loop runs whose clock it goes by. `give_up` is how many seconds of waiting
    without one good answer end the lane. `jitter` makes a wait of up to that many seconds random.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        give_up: float = 300.0,
        jitter: Callable[[float], float] = full_jitter,
    ) -> None:
        self._reserve, self._give_up, self._jitter = limits.reserve, give_up, jitter
        self._time = asyncio.get_running_loop().time
        self._ceiling = Ceiling(limits.max_rate)
        self._clock, self._buckets = Clock(), dict[int, Bucket]()
        self._last: Answer | None = None
        self._lowest: int | None = None
        self._requests = self._throttled = self._in_flight = 0
        # How many may be in flight without a second look: one until the first answer is there.
        self._free, self._answers_seen = 1.0, False
        self._strikes, self._struck, self._hold = 0, -math.inf, -math.inf
        self._held_for = "throttled"
        self._line, self._queued, self._news = asyncio.Lock(), 0, asyncio.Event()
        self._dry, self._waits = 0.0, dict[str, float]()
        self._waiting: tuple[str, float] | None = None

    @property
    def waiting(self) -> tuple[str, float] | None:
        """Why no request goes, and the loop's time until which; None: nothing waits for a turn.

        The time is infinite where an answer is waited for.
        """
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Requests that were sent and have no answer yet."""
        return self._in_flight

    @property
    def max_rate(self) -> float | None:
        """Requests a second that are never exceeded; None: the bucket alone counts."""
        return self._ceiling.rate

    def reserved(self, limit: int) -> int:
        """How many requests of a bucket of this size are left to others."""
        return reserved(limit, self._reserve)

    def allow(self, limits: Limits) -> None:
        """Take other limits from now on, where they say something."""
        if limits.reserve is not None:
            self._reserve = limits.reserve
        if limits.max_rate is not None:
            self._ceiling.allow(limits.max_rate)
        self._review()

    def statistics(self) -> Pace:
        """What was learned and done so far."""
        last, clock = self._last, self._clock
        bucket = self._buckets.get(last.limit) if last is not None else None
        known = clock.low > -math.inf
        return Pace(
            limit=last.limit if last is not None else None,
            remaining=last.remaining if last is not None else None,
            refill=bucket.lore.rate or None if bucket is not None else None,
            refill_rule=bucket.lore.rule if bucket is not None else None,
            lowest=self._lowest,
            requests=self._requests,
            throttled=self._throttled,
            waits=dict(self._waits),
            clock_offset=(clock.low + clock.high) / 2 if known else None,
            clock_uncertainty=(clock.high - clock.low) / 2 if known else None,
        )

    def seconds_for(self, requests: int) -> float:
        """About how long so many requests wait for their turns, if they were asked for now."""
        now = self._time()
        until = self._outlook(now)[0]
        wait = until - now if math.isfinite(until) else 0.0
        for bucket in self._buckets.values():
            kept = reserved(bucket.limit, self._reserve)
            short = requests + self._in_flight + self._queued + kept - bucket.tokens
            # Auth0's documented buckets: 2 and 10 are refilled with 2 a second, 50 with 16.
            refill = bucket.lore.rate or (2.0 if bucket.limit <= 10 else bucket.limit / 3)
            wait = max(wait, short / refill)
        if self._ceiling.rate is not None:
            wait = max(wait, (requests + self._queued) / self._ceiling.rate)
        return wait

    async def turn(self) -> Turn:
        """Waits until a request may be sent, and counts it as sent.

        Raises TenantError when `give_up` seconds of waiting brought no good answer.
        """
        turn = self.turn_now()
        if turn is not None:
            return turn
        self._queued += 1
        try:
            async with self._line:
                now = await self._admitted()
        finally:
            self._queued -= 1
        return self._given(now)

    def turn_now(self) -> Turn | None:
        """A turn, where one can be had without waiting."""
        if self._in_flight >= self._free or self._queued or self._ceiling.rate is not None:
            return None
        return self._given(self._time())

    def _given(self, now: float) -> Turn:
        self._in_flight += 1
        self._requests += 1
        return Turn(self, now)

    async def _admitted(self) -> float:
        """Waits at the head of the line. After each wait it looks again: a hold may have come."""
        ceiling = self._ceiling
        while True:
            until, cause = self._outlook(now := self._time())
            if until > now:
                await self._news_until(until, cause)
                continue
            if ceiling.rate is None:
                return now
            with self._noted(ceiling.cause, now + 1 / ceiling.rate):
                await ceiling.passed(ceiling.rate)
            if self._outlook(now := self._time())[0] <= now:
                return now

    def _outlook(self, now: float) -> tuple[float, str]:
        """When the next request may go, and why not before."""
        if now < self._hold:
            return self._hold, self._held_for
        if self._in_flight and (self._strikes or not self._answers_seen):
            return math.inf, "throttled" if self._strikes else "first answer"
        latest, cause = now, ""
        for bucket in self._buckets.values():
            reserve = reserved(bucket.limit, self._reserve)
            at = next_send(bucket, self._in_flight, reserve, self._clock)
            if at > latest:
                kept = reserve > 0 and bucket.tokens - bucket.lost - self._in_flight >= 1
                latest, cause = at, "reserve" if kept else "limit"
        return latest, cause

    async def _news_until(self, until: float, cause: str) -> None:
        """Waits for an answer, and no longer than until then."""
        # How long an answer may take is for the caller's timeout to say; it may be a good one.
        left = math.inf if math.isinf(until) else self._give_up - self._dry
        if left <= 0:
            hint = f"no turn in {self._give_up:.0f} s; try again when less else calls this tenant"
            raise TenantError("others use the limit", hint)
        self._news.clear()
        with self._noted(cause, until) as begun:
            with anyio.CancelScope(deadline=min(until, begun + left)):
                await self._news.wait()
            if cause != "first answer":
                self._dry += self._time() - begun

    @contextmanager
    def _noted(self, cause: str, until: float) -> Iterator[float]:
        begun = self._time()
        self._waiting = cause, until
        try:
            yield begun
        finally:
            self._waiting = None
            spent = self._time() - begun
            self._waits[cause] = self._waits.get(cause, 0.0) + spent

    def _answered(self, sent: float, status: int, headers: Mapping[str, str]) -> None:
        now = self._time()
        self._in_flight -= 1
        self._answers_seen = True
        date = _unix_time(headers.get("date", ""))
        if date is not None:
            self._clock = self._clock.narrowed(date, sent, now)
        answer = read(headers, self._last, date, sent, now, self._clock)
        fresh = sent > self._struck  # no 429 was heard of that it was in flight with
        if status == 429:
            self._strike(now, answer, headers, fresh=fresh)
        elif fresh:
            self._strikes, self._dry = 0, 0.0
            self._ceiling.good(sent)
        if answer is None:
            self._missed()
        else:
            self._note(answer, refusal=status == 429, fresh=fresh)
        if answer is None or len(self._buckets) > 1:
            self._forget(now)
        self._review()

    def _lost(self) -> None:
        self._in_flight -= 1
        self._missed()
        self._review()

    def _missed(self) -> None:
        self._buckets = {limit: missed(bucket) for limit, bucket in self._buckets.items()}

    def _note(self, answer: Answer, *, refusal: bool, fresh: bool) -> None:
        """Corrects the model of the bucket that this answer tells of; its size tells which."""
        self._last = answer
        if self._lowest is None or answer.remaining < self._lowest:
            self._lowest = answer.remaining
        known = self._buckets.get(answer.limit)
        if refusal:
            self._buckets[answer.limit] = refused(known, answer, fresh=fresh)
        else:
            self._buckets[answer.limit] = heard(known, answer, quiet=not self._in_flight)

    def _forget(self, now: float) -> None:
        """Drops buckets that no answer speaks of any more: a limit that was changed, say."""
        self._buckets = {
            limit: bucket
            for limit, bucket in self._buckets.items()
            if now - bucket.at < MEMORY or refill_at(bucket, self._clock) > now
        }

    def _review(self) -> None:
        """Says what may go without a second look; wakes whoever may go sooner than was thought."""
        free = math.inf if self._answers_seen else 1.0
        for bucket in self._buckets.values():
            reserve = reserved(bucket.limit, self._reserve)
            free = min(free, spare(bucket, reserve, self._clock) - tested(bucket))
        self._free = 0.0 if self._strikes else free
        # The head of the line looks again when its wait is over: what makes that later can wait.
        if self._waiting is not None:
            now = self._time()
            if self._outlook(now)[0] < self._waiting[1]:
                self._news.set()

    def _strike(
        self, now: float, answer: Answer | None, headers: Mapping[str, str], *, fresh: bool
    ) -> None:
        """Holds the lane after a 429; several that were in flight together are one strike."""
        self._throttled += 1
        if fresh:
            self._strikes, self._struck = self._strikes + 1, now
        waits = asked_waits(headers, answer, now, self._clock)
        if fresh or waits:
            hold = hold_for(waits, self._strikes if fresh else 1, self._jitter)
            self._hold = max(self._hold, now + hold)
            longer = any(wait > LONGEST_HOLD for wait in waits)
            self._held_for = "throttled, and asked for longer" if longer else "throttled"
        if fresh and (answer is None or answer.remaining > 0):
            self._ceiling.unexplained(self._hold)
