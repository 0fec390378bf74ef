"""Steering a job while it runs: what is taken, by whom, and what comes of it."""

from __future__ import annotations

import pytest

from bulkhooks.control import safety
from bulkhooks.lane import LaneView
from bulkhooks.pacing import Limiter, Limits
from bulkhooks.permit import Phase


def view(*, in_flight: int = 0, switching: bool = False) -> LaneView:
    return LaneView(
        tenant="prod-eu",
        planned=8,
        done=3,
        doing="writing",
        pace=Limiter(Limits()).statistics(),
        waiting=None,
        in_flight=in_flight,
        switching=switching,
    )


CALM, FLYING, BETWEEN = view(), view(in_flight=4), view(in_flight=1, switching=True)
OFF = "nothing is put back by that: the same command does"
BACK = "not all is put back yet: the same command goes on"


@pytest.mark.parametrize(
    ("views", "phase", "told"),
    [
        ([], Phase(), "safe: nothing is in flight"),
        ([CALM], Phase(), "safe: nothing is in flight"),
        ([view(in_flight=1)], Phase(), "safe: 1 request in flight ends first"),
        ([FLYING, FLYING], Phase(), "safe: 8 requests in flight end first"),
        (
            [BETWEEN, FLYING],
            Phase(),
            "not yet: 1 tenant is between off and on (that ends first even if you do)",
        ),
        (
            [BETWEEN, BETWEEN],
            Phase(frozen=True),
            "not yet: 2 tenants are between off and on (that ends first even if you do)",
        ),
        ([CALM], Phase(frozen=True), f"safe, but {OFF}"),
        (
            [FLYING],
            Phase(frozen=True, putting_back=True),
            f"safe, but {BACK}; 4 requests in flight end first",
        ),
    ],
)
def test_whether_it_is_safe_to_stop_now(views: list[LaneView], phase: Phase, told: str) -> None:
    assert safety(views, phase) == told
