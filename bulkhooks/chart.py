"""A journal's timeline as shapes to draw: requests, limits and waits over time, with the windows
and waves above them.

Places across are in thousandths of the width, places down from 0 at the top to 100. Stretches in
which nothing went on for long are left out.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Final

from .journal import Event, Journal, Sample
from .schedule import Span

WIDTH: Final = 1000.0
#: Seconds without anything after which time is left out, and how wide the cut is.
_IDLE, _CUT = 1800.0, 14.0
#: Bars across a chart, and the least seconds of one.
_BARS, _LEAST = 250, 1.0
#: How high a 429 is at least, that it can be seen.
_SEEN: Final = 8.0
#: Marks of time below a chart.
_TICKS: Final = 5
#: Tenants with a chart of their own: those with 429s, then those that waited longest.
TENANTS: Final = 40
#: Seconds by which time is marked.
_ROUND: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time that has a name, `x` to `x + width`."""

    kind: str
    told: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of time."""

    x: float
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What one tenant's lane did, or all together. Paths are as SVG has them; "" draws nothing."""

    tenant: str  #: "": all
    requests: int
    throttled: int
    waited: float  #: seconds
    peak: float  #: requests a second at the top of the chart
    sent: str  #: the requests, those answered 429 among them
    refused: str  #: those answered 429, from the bottom
    top: int = 0  #: tokens at the top of the lower chart; 0: there is none
    bucket: str = ""
    reserve: str = ""
    remaining: str = ""
    waits: tuple[Band, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """All charts of a journal, over the same time."""

    axis: Axis
    ticks: tuple[Tick, ...]
    cuts: tuple[Band, ...]
    bands: tuple[tuple[str, tuple[Band, ...]], ...]  #: rows of bands, by what they are
    whole: Chart
    tenants: tuple[Chart, ...]
    more: int  #: tenants with samples and without a chart


@dataclass(frozen=True, slots=True)
class Axis:
    """Where moments are across: the stretches in which something went on, side by side."""

    stretches: tuple[tuple[float, float], ...]  #: Unix seconds
    scale: float  #: thousandths of the width a second
    starts: tuple[float, ...] = field(default=())  #: where each stretch is

    @classmethod
    def over(cls, busy: Iterable[tuple[float, float]]) -> Axis | None:
        """Across all stretches of time that are `busy`; None when there are none."""
        found: list[tuple[float, float]] = []
        for start, end in sorted(busy):
            if found and start - found[-1][1] < _IDLE:
                found[-1] = (found[-1][0], max(found[-1][1], end))
            else:
                found.append((start, end))
        if not found:
            return None
        found = [(start, max(end, start + _LEAST)) for start, end in found]
        seconds = sum(end - start for start, end in found)
        cut = min(_CUT, WIDTH / 2 / len(found))
        scale = (WIDTH - cut * (len(found) - 1)) / seconds
        starts, x = [], 0.0
        for start, end in found:
            starts.append(x)
            x += (end - start) * scale + cut
        return cls(tuple(found), scale, tuple(starts))

    def x(self, at: float) -> float:
        """Where a moment is; one that is left out is at the end of what was before it."""
        n = max(0, bisect_right(self.stretches, (at, math.inf)) - 1)
        start, end = self.stretches[n]
        return self.starts[n] + (min(max(at, start), end) - start) * self.scale

    def band(self, kind: str, told: str, start: float, end: float) -> Band:
        """A band between two moments."""
        x = self.x(start)
        return Band(kind, told, round(x, 2), round(max(self.x(end) - x, 1.0), 2))

    def ticks(self, zone: tzinfo) -> Iterator[Tick]:
        """A few marks of time at round moments."""
        seconds = (WIDTH / self.scale) / _TICKS
        step = next((each for each in _ROUND if each >= seconds), 86_400)
        last = -math.inf
        for start, end in self.stretches:
            # Round moments are those of the local day.
            shift = datetime.fromtimestamp(start, zone).utcoffset()
            local = shift.total_seconds() if shift else 0.0
            at = math.ceil((start + local) / step) * step - local
            while at <= end:
                x = self.x(at)
                if x - last >= WIDTH / _TICKS / 2:
                    form = "%H:%M:%S" if step < 60 else "%H:%M"
                    yield Tick(round(x, 2), datetime.fromtimestamp(at, zone).strftime(form))
                    last = x
                at += step


class _Bars:
    """So many of something in each bar of the time."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._wide = max(_LEAST * axis.scale, WIDTH / _BARS)
        self.seconds = self._wide / axis.scale  #: of a bar
        self._count: dict[int, float] = {}

    def add(self, start: float, end: float, count: float) -> None:
        """Spread a count evenly over the bars that a stretch of time is in."""
        left, right = self._axis.x(start), self._axis.x(end)
        first, last = int(left / self._wide), int(right / self._wide)
        for bar in range(first, last + 1):
            begin, over = max(left, bar * self._wide), min(right, (bar + 1) * self._wide)
            share = (over - begin) / (right - left) if right > left else 1.0
            self._count[bar] = self._count.get(bar, 0.0) + count * share

    @property
    def peak(self) -> float:
        """The highest bar, in counts a second."""
        return max(self._count.values(), default=0.0) / self.seconds

    def path(self, top: float, least: float = 0.0) -> str:
        """The bars as one shape; `top` is the count a second at 0, none is lower than `least`."""
        shape = []
        for bar, count in sorted(self._count.items()):
            if count > 0:
                high = 100 - max(100 * count / self.seconds / top, least)
                x, over = bar * self._wide, min((bar + 1) * self._wide, WIDTH)
                shape.append(f"M{x:.5g},100V{high:.4g}H{over:.5g}V100Z")
        return "".join(shape)


class _Line:
    """What something was, at some moments."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._points: dict[int, tuple[float, float, float]] = {}

    def add(self, at: float, value: int | None) -> None:
        """It was so from `at` on. Of what falls on one place the least and the last are kept."""
        if value is None:
            return
        x = self._axis.x(at)
        place = int(x * _BARS / WIDTH)
        _, least, _ = self._points.get(place, (x, value, value))
        self._points[place] = (x, min(least, value), value)

    def path(self, top: float) -> str:
        """A line from each value to the next; `top` is at 0."""
        shape = []
        for n, (x, least, last) in enumerate(self._points.values()):
            low, high = 100 - 100 * least / top, 100 - 100 * last / top
            shape.append(f"{'L' if n else 'M'}{x:.5g},{low:.4g}" + f"V{high:.4g}" * (low != high))
        if len(shape) == 1:
            shape.append("h4")
        return "".join(shape)


def draw(journal: Journal, zone: tzinfo, frozen: Span | None = None) -> Drawn | None:
    """The charts of a journal, with times of a zone; None when nothing was sent. `frozen` is how
    long what it changed was to last."""
    busy = list(_busy(journal))
    events = list(journal.events())
    axis = Axis.over([*busy, *((event.at, event.at) for event in events)]) if busy else None
    if axis is None:
        return None
    names = {row.id: row.name for row in journal.tenants()}
    told = _most(journal)
    whole = _Lane(axis, "")
    tenants = []
    for tenant, samples in groupby(journal.timeline(), attrgetter("tenant")):
        own = _Lane(axis, names[tenant]) if tenant in told else None
        for sample in samples:
            whole.add(sample)
            if own:
                own.add(sample)
        if own:
            tenants.append(own.chart())
    tenants.sort(key=lambda chart: (-chart.throttled, -chart.waited, -chart.requests))
    cuts = (
        Band("cut", "", axis.x(end), axis.starts[n + 1] - axis.x(end))
        for n, ((_, end), _) in enumerate(pairwise(axis.stretches))
    )
    return Drawn(
        axis=axis,
        ticks=tuple(axis.ticks(zone)),
        cuts=tuple(cuts),
        bands=tuple((name, tuple(found)) for name, found in _bands(axis, events, frozen).items()),
        whole=whole.chart(),
        tenants=tuple(tenants),
        more=len(_sampled(journal)) - len(tenants),
    )


class _Lane:
    """A chart in the making."""

    def __init__(self, axis: Axis, tenant: str) -> None:
        self._axis, self._tenant = axis, tenant
        self._sent, self._refused = _Bars(axis), _Bars(axis)
        self._remaining, self._bucket, self._reserve = _Line(axis), _Line(axis), _Line(axis)
        self._top = self._requests = self._throttled = 0
        self._waited = 0.0
        self._waits: list[tuple[float, float]] = []

    def add(self, sample: Sample) -> None:
        """Take in what a lane did."""
        end = sample.at + sample.seconds
        self._requests += sample.requests
        self._throttled += sample.throttled
        self._waited += sample.waited
        self._sent.add(sample.at, end, sample.requests)
        self._refused.add(sample.at, end, sample.throttled)
        if not self._tenant:
            return
        self._top = max(self._top, sample.bucket or 0, sample.remaining or 0)
        self._remaining.add(end, sample.remaining)
        self._bucket.add(end, sample.bucket)
        self._reserve.add(end, sample.reserve)
        if sample.waited > 0:
            self._waits.append((end - sample.waited, end))

    def chart(self) -> Chart:
        """All of it as shapes."""
        peak = _above(self._sent.peak)
        return Chart(
            tenant=self._tenant,
            requests=self._requests,
            throttled=self._throttled,
            waited=self._waited,
            peak=peak,
            sent=self._sent.path(peak),
            refused=self._refused.path(peak, _SEEN),
            top=self._top,
            bucket=self._bucket.path(self._top) if self._top else "",
            reserve=self._reserve.path(self._top) if self._top else "",
            remaining=self._remaining.path(self._top) if self._top else "",
            waits=tuple(self._joined()),
        )

    def _joined(self) -> Iterator[Band]:
        """The waits, as one where they are too near to be told apart."""
        near = WIDTH / _BARS / self._axis.scale / 2
        start, end = math.inf, -math.inf
        for begin, over in self._waits:
            if begin - end > near:
                if end > start:
                    yield self._axis.band("wait", "", start, end)
                start = begin
            end = max(over, end)
        if end > start:
            yield self._axis.band("wait", "", start, end)


def _above(peak: float) -> float:
    """A round number that is not below `peak`."""
    if peak <= 0:
        return 1.0
    ten = 10 ** math.floor(math.log10(peak))
    return float(next(ten * step for step in (1, 2, 3, 4, 5, 6, 8, 10) if ten * step >= peak))


def _busy(journal: Journal) -> Iterator[tuple[float, float]]:
    """The stretches of time in which lanes did something, by the minute."""
    sql = """SELECT min(at), max(at + seconds) FROM timeline
        GROUP BY CAST(at / 60 AS INTEGER) ORDER BY 1"""
    yield from journal.each(sql)


def _sampled(journal: Journal) -> list[tuple[int, int, float, int]]:
    """Of each tenant with samples: its row, answers of 429, seconds waited, requests."""
    sql = """SELECT tenant, sum(throttled), sum(waited), sum(requests) FROM timeline
        GROUP BY tenant"""
    return journal.rows(sql)


def _most(journal: Journal) -> set[int]:
    """The tenants that get a chart of their own."""
    most = heapq.nlargest(TENANTS, _sampled(journal), key=lambda row: row[1:])
    return {tenant for tenant, *_ in most}


# ---- bands

#: Events that begin a band, by the row of it, and those that end it.
_BEGINS: Final[Mapping[str, str]] = {"wave": "waves", "pause": "pauses"}
_ENDED_BY: Final[Mapping[str, frozenset[str]]] = {
    "waves": frozenset(("wave-done", "wave", "halt", "stop", "end")),
    "pauses": frozenset(("resume", "stop", "end")),
}
_ENDS_SOAK: Final = frozenset(("probe", "wave-done", "stop", "end"))


def _bands(axis: Axis, events: list[Event], frozen: Span | None) -> dict[str, list[Band]]:
    """Rows of bands: windows, waves with their soaks, pauses, and how long a freeze is."""
    last = axis.stretches[-1][1]
    found: dict[str, list[Band]] = {}
    windows: dict[tuple[float, float], None] = {}
    for n, (at, kind, what) in enumerate(events):
        if kind == "window" and not frozen:  # of a freeze that is the same
            windows[_span(what)] = None
        if kind == "soak":
            ends = (event.at for event in events[n + 1 :] if event.kind in _ENDS_SOAK)
            over = min(at + _number(what.get("seconds")), next(ends, last))
            found.setdefault("waves", []).append(axis.band("soak", "soak", at, over))
        if row := _BEGINS.get(kind, ""):
            ends = (event.at for event in events[n + 1 :] if event.kind in _ENDED_BY[row])
            told = f"wave {what.get('n')}" if kind == "wave" else "paused"
            band = axis.band(kind, told, at, next(ends, last))
            found.setdefault(row, []).append(band)
    for start, end in windows:
        if end > start and end > axis.stretches[0][0] and start < last:
            found.setdefault("windows", []).append(axis.band("window", "window", start, end))
    if frozen:
        found["freeze"] = [axis.band("freeze", "freeze", *frozen)]
    order = ("windows", "freeze", "waves", "pauses")
    return {name: found[name] for name in order if name in found}


def _span(what: Mapping[str, object]) -> tuple[float, float]:
    return _number(what.get("start")), _number(what.get("end"))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
