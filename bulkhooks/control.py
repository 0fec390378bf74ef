"""Steering a job while it runs, and whether it may be stopped now."""

from __future__ import annotations

from collections.abc import Iterable

from .lane import LaneView
from .permit import Phase
from .report import many


def safety(views: Iterable[LaneView], phase: Phase) -> str:
    """Whether it is safe to press Ctrl-C now, and what comes of it."""
    lanes = list(views)
    between = sum(view.switching for view in lanes)
    if between:
        are = "is" if between == 1 else "are"
        what = f"{many(between, 'tenant')} {are} between off and on"
        return f"not yet: {what} (that ends first even if you do)"
    flying = sum(view.in_flight for view in lanes)
    ends = "ends" if flying == 1 else "end"
    flight = f"{many(flying, 'request')} in flight {ends} first" if flying else ""
    if phase.putting_back:
        left = "not all is put back yet: the same command goes on"
    elif phase.frozen:
        left = "nothing is put back by that: the same command does"
    else:
        return f"safe: {flight or 'nothing is in flight'}"
    return f"safe, but {left}" + (f"; {flight}" if flight else "")
