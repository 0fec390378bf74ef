"""What a person sees of a lane: what it is at, and why it waits."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import anyio
import pytest

from bulkhooks import progress
from bulkhooks.lane import LaneView
from bulkhooks.pacing import Limiter, Limits
from bulkhooks.progress import Screen, _lines


def view(**more: object) -> LaneView:
    fields: dict[str, object] = {
        "tenant": "prod-eu",
        "planned": 8,
        "done": 3,
        "doing": "writing",
        "pace": Limiter(Limits()).statistics(),
        "waiting": None,
    }
    return LaneView(**(fields | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("waiting", "line"),
    [
        (None, "prod-eu: writing, 3/8"),
        (("reserve", 4.2), "prod-eu: writing, 3/8, waiting 4 s: reserve"),
        (("first answer", math.inf), "prod-eu: writing, 3/8, waiting: first answer"),
        (("to read 2 back", 9.6), "prod-eu: writing, 3/8, waiting 10 s: to read 2 back"),
        (
            ("for 3 to be built", 287.0),
            "prod-eu: writing, 3/8, waiting for 3 to be built, 287 s at most",
        ),
    ],
)
def test_a_lane_says_for_what_it_waits(waiting: tuple[str, float] | None, line: str) -> None:
    assert _lines([view(waiting=waiting)], 5)[0] == line


def test_why_a_lane_waits_stands_before_what_is_cut_first() -> None:
    limiter = Limiter(Limits())
    pace = replace(limiter.statistics(), limit=50, remaining=42, throttled=2)
    line = _lines([view(pace=pace, waiting=("for 3 to be built", 287.0))], 5)[0]
    told = "prod-eu: writing, 3/8, waiting for 3 to be built, 287 s at most"
    assert line == f"{told}, 42 of 50 requests left, 2 answered 429"
    assert len(told) < 80


def test_more_tenants_than_there_is_room_for_are_summed() -> None:
    views = [view(tenant=f"t{number}") for number in range(7)] + [view(doing="", done=8)]
    assert _lines(views, 2) == [
        "t0: writing, 3/8",
        "t1: writing, 3/8",
        "and 5 more tenants at work",
        "29 of 64 items done; 7 of 8 tenants at work",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Looked:
    """Lanes that are looked at twice, and then never again."""

    def __init__(self) -> None:
        self.left, self.done = 2, anyio.Event()

    def views(self) -> list[LaneView]:
        self.left -= 1
        if self.left <= 0:
            self.done.set()
        return [view()]


@pytest.mark.parametrize("in_place", [True, False])
async def test_lines_are_redrawn_in_place_unless_others_are_to_be_read_between_them(
    monkeypatch: pytest.MonkeyPatch, in_place: bool
) -> None:
    monkeypatch.setattr(progress, "_PLAIN", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    terminal, lanes = Terminal(), Looked()
    screen: Any = Screen(terminal, in_place=in_place)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(screen.watch, lanes)
        await lanes.done.wait()
        tasks.cancel_scope.cancel()
    assert "prod-eu: writing, 3/8" in terminal.getvalue()
    assert ("\x1b[" in terminal.getvalue()) is in_place
