"""The buckets of pretend tenants: how they fill, what their headers say, and who else drinks.

As `sandbox.py` this imports nothing of ours. Times are seconds on the server's clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
class Statistics:
    """One tenant's counts: requests that asked for a token, and what the neighbour got."""

    requests: int
    throttled: int  #: of `requests`, those answered 429
    neighbour_served: int
    neighbour_refused: int


class Meter:
    """One tenant's bucket, and the other traffic that drinks from it. Times are the server's."""

    def __init__(self, bucket: Bucket | None, neighbour: float) -> None:
        self.counts = dict.fromkeys(Statistics.__slots__, 0)
        self._bucket = bucket
        self._tokens = float(bucket.burst) if bucket else math.inf
        self._at = -math.inf
        self._rate = neighbour
        self._first: float | None = None
        self._due = 1  # number of the neighbour's next request; number 0 would be at `_first`

    def take(self, server: float) -> bool:
        """Takes one token for a request that came at `server`; False: there is none."""
        self._let_neighbour_drink(server)
        taken = self._take_one(server)
        self.counts["requests"] += 1
        self.counts["throttled"] += not taken
        return taken

    def headers(self, server: float) -> dict[str, str]:
        """The three headers as they stand after a request at `server`."""
        if self._bucket is None:
            limit, remaining, reset = 1_000_000, 999_999, math.floor(server) + 1
        else:
            limit, remaining = self._bucket.burst, max(0, math.floor(self._tokens + _SLACK))
            reset = math.ceil(self._next(server) - _SLACK)
        return {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": str(reset),
        }

    def retry_after(self, server: float) -> str:
        """Whole seconds, at least 1, until tokens are added."""
        return str(max(1, math.ceil(self._next(server) - server - _SLACK)))

    def _let_neighbour_drink(self, server: float) -> None:
        if not self._rate:
            return
        if self._first is None:
            self._first = server
        while (at := self._first + self._due / self._rate) <= server:
            self._due += 1
            served = self._take_one(at)
            self.counts["neighbour_served" if served else "neighbour_refused"] += 1

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
