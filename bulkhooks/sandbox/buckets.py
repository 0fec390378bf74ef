"""The buckets of pretend tenants: how they fill, what their headers say, and who else drinks.

As `sandbox.py` this imports nothing of ours. Times are seconds on the server's clock.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Final, Literal

#: Unix seconds as a float are good to a quarter of a microsecond; less than this is no lack.
_SLACK: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A tenant's rate limit: `burst` requests at once, `rate` more every `per` seconds.

    "drip" adds tokens continuously; "window" adds `rate` tokens at once at each multiple of `per`
    on the server's clock. Neither fills the bucket over `burst`.
    """

    burst: int
    rate: float
    per: float = 1.0
    refill: Literal["drip", "window"] = "drip"

    def __post_init__(self) -> None:
        if self.burst < 1 or self.rate <= 0 or self.per <= 0:
            raise ValueError("a bucket needs a burst of at least 1, and a rate and per above 0")

    def refill_began(self, at: float) -> float:
        """When the refill that `at` lies in began: the last top of a window.

        What drips has no tops; there it is as long ago as from one announced reset to the next.
        """
        if self.refill == "window":
            return math.floor(at / self.per) * self.per
        return at - max(1.0, self.per / self.rate)


#: Auth0's published limits, requests and requests a second, by kind of tenant.
BUCKETS: Final[Mapping[str, Bucket | None]] = MappingProxyType(
    {
        "free": Bucket(burst=2, rate=2),
        "nonprod": Bucket(burst=10, rate=2),
        "prod": Bucket(burst=50, rate=16),
        "none": None,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """A neighbour that comes as logins do: at random moments, several at once, heedless of us.

    Their moments follow from `seed`, the tenant's name and `begin` alone. `rate` is the mean in
    requests a second, each burst has 1 to `burst` requests. They begin after `begin`, Unix seconds
    on the server's clock; None: after the tenant's first request. With `most` at most so many come
    between two refills of the bucket (in any second, where it drips): what is more stays away.
    """

    seed: int
    rate: float
    burst: int = 1
    most: int | None = None
    begin: float | None = None

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.burst < 1 or (self.most is not None and self.most < 1):
            raise ValueError("logins need a rate above 0, and a burst and most of at least 1")

    def moments(self, tenant: str, begin: float, bucket: Bucket | None) -> Iterator[float]:
        """When each of them comes, in order, without end."""
        chance, at = random.Random(f"{self.seed}/{tenant}"), begin
        came = deque[float](maxlen=self.most)
        while True:
            at += chance.expovariate(2 * self.rate / (1 + self.burst))
            for _ in range(chance.randint(1, self.burst)):
                if bucket and len(came) == self.most and came[0] >= bucket.refill_began(at):
                    continue
                came.append(at)
                yield at


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """One tenant's counts: requests that asked for a token, and what the neighbour got."""

    requests: int
    throttled: int  #: of `requests`, those answered 429
    neighbour_served: int
    neighbour_refused: int


class Meter:
    """One tenant's bucket, and the other traffic that drinks from it. Times are the server's."""

    def __init__(self, bucket: Bucket | None, tenant: str, neighbour: float | Logins) -> None:
        self.counts = dict.fromkeys(Statistics.__slots__, 0)
        self.ahead = 0.0  #: seconds that the reset told is later than it truly is
        self._bucket = bucket
        self._tokens = float(bucket.burst) if bucket else math.inf
        self._at = -math.inf
        self._tenant, self._neighbour = tenant, neighbour
        self._moments: Iterator[float] | None = None  # of the neighbour's requests
        self._due = math.inf
        if isinstance(neighbour, Logins) and neighbour.begin is not None:
            self._begin(neighbour.begin)

    def take(self, server: float) -> bool:
        """Takes one token for a request that came at `server`; False: there is none."""
        if self._moments is None:
            self._begin(server)
        self.let_neighbour_drink(server)
        taken = self._take_one(server)
        self.counts["requests"] += 1
        self.counts["throttled"] += not taken
        return taken

    def headers(self, server: float) -> dict[str, str]:
        """The three headers as they stand after a request at `server`."""
        if self._bucket is None:
            limit, remaining = 1_000_000, 999_999
            reset = math.floor(server + self.ahead) + 1
        else:
            limit, remaining = self._bucket.burst, max(0, math.floor(self._tokens + _SLACK))
            reset = math.ceil(self._next(server) + self.ahead - _SLACK)
        return {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": str(reset),
        }

    def retry_after(self, server: float) -> str:
        """Whole seconds, at least 1, until tokens are added."""
        return str(max(1, math.ceil(self._next(server) - server - _SLACK)))

    def storm(self, server: float) -> dict[str, str]:
        """The headers of a request that is refused whatever there is, and told to come back about
        a second later."""
        self.counts["requests"] += 1
        self.counts["throttled"] += 1
        return self.headers(server) | {
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(round(server + self.ahead + 1)),
        }

    def let_neighbour_drink(self, until: float) -> None:
        """The neighbour takes, or is refused, a token at each of its moments up to `until`."""
        while self._moments is not None and self._due <= until:
            served = self._take_one(self._due)
            self.counts["neighbour_served" if served else "neighbour_refused"] += 1
            self._due = next(self._moments)

    def _begin(self, at: float) -> None:
        rate = self._neighbour
        if isinstance(rate, Logins):
            self._moments = rate.moments(self._tenant, at, self._bucket)
        else:
            self._moments = (at + n / rate if rate else math.inf for n in count(1))
        self._due = next(self._moments)

    def _take_one(self, at: float) -> bool:
        self._fill(at)
        if self._tokens + _SLACK < 1:
            return False
        self._tokens -= 1
        return True

    def _fill(self, at: float) -> None:
        bucket = self._bucket
        if bucket is None or at <= self._at:  # a clock that steps back must not add tokens
            return
        if self._at == -math.inf:  # the first request finds the bucket full
            self._at = at
            return
        if bucket.refill == "drip":
            gained = (at - self._at) * bucket.rate / bucket.per
        else:
            windows = math.floor(at / bucket.per) - math.floor(self._at / bucket.per)
            gained = windows * bucket.rate
        self._tokens = min(float(bucket.burst), self._tokens + gained)
        self._at = at

    def _next(self, server: float) -> float:
        """When the next tokens are added: the next whole one, or the next window's."""
        bucket = self._bucket
        if bucket is None:
            return server
        if bucket.refill == "window":
            return (math.floor(server / bucket.per) + 1) * bucket.per
        lacking = 1 - (self._tokens + _SLACK) % 1
        return server + lacking * bucket.per / bucket.rate
