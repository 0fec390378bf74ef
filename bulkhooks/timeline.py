"""What each lane sent and waited for, second by second, kept in the journal for the report."""

from __future__ import annotations

from typing import Final

import anyio

from .auth0 import loop_time
from .journal import Journal, Sample, TenantRow
from .lane import LaneView
from .lanes import Lanes
from .permit import Wall

#: Seconds between two looks, where there are few lanes; rows that are written a second at most.
_OFTEN: Final = 1.0
_ROWS: Final = 60


class Timeline:
    """Looks at the lanes of a journal, and keeps what has changed since it last looked."""

    def __init__(self, journal: Journal, lanes: Lanes, rows: list[TenantRow], wall: Wall) -> None:
        self._journal, self._lanes, self._wall = journal, lanes, wall
        self._rows = {row.name: row.id for row in rows}
        self._seen = {view.tenant: _counts(view) for view in lanes.views()}
        self._looked = loop_time()

    async def watch(self) -> None:
        """Look every second, or less often where there are many lanes, until cancelled."""
        while True:
            await anyio.sleep(max(_OFTEN, len(self._rows) / _ROWS))
            self.look()

    def look(self) -> None:
        """Keep what was sent and waited for since the last look, of lanes that did either."""
        now = loop_time()
        seconds, self._looked = now - self._looked, now
        at = self._wall() - seconds
        for view in self._lanes.views():
            counts, seen = _counts(view), self._seen[view.tenant]
            if counts == seen:
                continue
            self._seen[view.tenant] = counts
            sample = Sample(
                tenant=self._rows[view.tenant],
                at=at,
                seconds=seconds,
                requests=counts[0] - seen[0],
                throttled=counts[1] - seen[1],
                waited=counts[2] - seen[2],
                remaining=view.pace.remaining,
                bucket=view.pace.limit,
                reserve=view.reserve,
            )
            self._journal.post(self._journal.sampled(sample))


def _counts(view: LaneView) -> tuple[int, int, float]:
    """Requests, answers of 429, and seconds that requests waited for their turn."""
    pace = view.pace
    return pace.requests, pace.throttled, sum(pace.waits.values(), 0.0)
