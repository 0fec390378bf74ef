"""How requests to pretend tenants go wrong, and a choice of them by chance.

Part of the sandbox, and as `sandbox.py` apart from the client.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final, Literal, Protocol, get_args

#: How a request goes wrong.
#:
#: No answer: "cut-before": the line is cut and nothing is done; "cut-after": it is done, then the
#: line is cut; "hang": it is done and never answered.
#:
#: Another answer, and nothing is done: "error-500", "error-502" (without a body), "error-503": a
#: token is taken; "html": a proxy in front answers 502 with a page; "redirect": it answers 302 to
#: another host; "unauthorized": 401, and the bearer token is good no more if it was an issued one
#: (else the request is served as usual); "storm": this and all of the tenant's for 3 s get 429.
#:
#: It is done, and its answer is odd: "half": half of it comes, then the line is cut; "drip": it
#: comes piece by piece; "wrong-type": it calls its JSON text/html; "gzip": it is gzipped if the
#: client allows that; "clock-jump": Date and reset jump by 2 to 30 seconds, and stay there.
Fault = Literal[
    "cut-before",
    "cut-after",
    "hang",
    "error-500",
    "error-502",
    "error-503",
    "html",
    "redirect",
    "unauthorized",
    "storm",
    "half",
    "drip",
    "wrong-type",
    "gzip",
    "clock-jump",
]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)


class _Asked(Protocol):
    """What a choice looks at of a request."""

    @property
    def tenant(self) -> str: ...


class Faults:
    """Chooses by chance which requests go wrong and how, the same ones in every run.

    `rates` has the share of requests, 0 to 1, that each kind befalls. What befalls a request
    follows from `seed`, its tenant, and how many that tenant has had before it, and from nothing
    else: tenants do not disturb each other.

    :raises ValueError: where a kind is not known, a rate not a share, or all are more than 1.
    """

    def __init__(self, seed: int, rates: Mapping[Fault, float]) -> None:
        if strange := rates.keys() - set(FAULTS):
            known = ", ".join(FAULTS)
            raise ValueError(f"no fault is called {', '.join(sorted(strange))}: there are {known}")
        self.seed: Final = seed
        self._kinds = [kind for kind in FAULTS if kind in rates]
        self._sums = list(accumulate(rates[kind] for kind in self._kinds))
        fits = all(0 <= rate <= 1 for rate in rates.values())
        if not fits or (self._sums and self._sums[-1] > 1 + 1e-9):  # 15 shares of a whole
            raise ValueError("rates of faults are shares from 0 to 1, together at most 1")
        self._chances: dict[str, random.Random] = {}

    def __call__(self, request: _Asked) -> Fault | None:
        """What befalls this request; None: nothing."""
        chance = self._chances.get(request.tenant)
        if chance is None:
            chance = self._chances[request.tenant] = random.Random(f"{self.seed}/{request.tenant}")
        place = bisect_right(self._sums, chance.random())
        return self._kinds[place] if place < len(self._kinds) else None


def clock_jumps(seed: int, tenant: str) -> Iterator[float]:
    """By how many seconds the tenant's clock jumps each time, forward or back, without end."""
    chance = random.Random(f"{seed}/{tenant}/clock")
    while True:
        yield chance.choice((-1, 1)) * chance.uniform(2, 30)
