"""The timeline: what lanes sent and waited for is kept to the last request, and costs little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import msgspec
import pytest

from bulkhooks.journal import Journal
from bulkhooks.lane import LaneView
from bulkhooks.pacing import Pace
from bulkhooks.timeline import Timeline
from engine import EPOCH, Clock
from nights import night
from virtual import VirtualTimeLoop


class Views:
    """Lanes of which all that is known is what they show."""

    def __init__(self, count: int) -> None:
        pace = Pace(limit=50, remaining=40)
        self.paces = {f"prod-{number:03}": pace for number in range(count)}
        self.looks = 0

    def views(self) -> list[LaneView]:
        self.looks += 1
        return [
            LaneView(tenant=name, planned=1, done=0, doing="", pace=pace, waiting=None, reserve=10)
            for name, pace in self.paces.items()
        ]

    def send(self, tenant: str, requests: int, throttled: int = 0, waited: float = 0.0) -> None:
        was = self.paces[tenant]
        waits = {"limit": was.waits.get("limit", 0.0) + waited} if waited else was.waits
        more = {"requests": was.requests + requests, "throttled": was.throttled + throttled}
        self.paces[tenant] = msgspec.structs.replace(was, **more, waits=waits)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with night(tmp_path / "j", tenants=2, each=1) as journal:
        with journal.transaction() as db:
            db.execute("DELETE FROM timeline")
        yield journal


def test_what_lanes_did_between_two_looks_is_kept_and_nothing_else(journal: Journal) -> None:
    lanes, clock = Views(2), Clock()

    async def look() -> None:
        clock()
        async with journal.writing():
            timeline = Timeline(journal, lanes, journal.tenants(), clock)  # type: ignore[arg-type]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(timeline.watch)
                await anyio.sleep(1.5)
                lanes.send("prod-001", 3, throttled=1, waited=0.5)
                await anyio.sleep(2)
                lanes.send("prod-001", 2)
                lanes.send("prod-000", 1)
                tasks.cancel_scope.cancel()
            timeline.look()

    anyio.run(look, backend_options={"loop_factory": VirtualTimeLoop})
    journal.check()
    first, second = journal.tenants()
    found = [
        (each.tenant, round(each.at - EPOCH, 3), round(each.seconds, 3), *each[3:])
        for each in journal.timeline()
    ]
    assert found == [
        (first.id, 3.0, 0.5, 1, 0, 0.0, 40, 50, 10),
        (second.id, 1.0, 1.0, 3, 1, 0.5, 40, 50, 10),
        (second.id, 3.0, 0.5, 2, 0, 0.0, 40, 50, 10),
    ]


def test_many_lanes_are_looked_at_less_often(tmp_path: Path) -> None:
    lanes = Views(600)

    async def look() -> None:
        clock = Clock()
        clock()
        with night(tmp_path / "j", tenants=600, each=1, troubles=0) as journal:
            timeline = Timeline(journal, lanes, journal.tenants(), clock)  # type: ignore[arg-type]
            lanes.looks = 0
            with anyio.move_on_after(100.5):
                await timeline.watch()

    anyio.run(look, backend_options={"loop_factory": VirtualTimeLoop})
    assert lanes.looks == 10
