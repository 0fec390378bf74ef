"""Metrics for Prometheus: what a command is at, in a file for the node exporter's textfile
collector."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import anyio
import msgspec
from anyio.to_thread import run_sync
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .atomic import replacing
from .auth0 import Exchange, loop_time
from .errors import BulkhooksError, Refused
from .items import State
from .lane import LaneView
from .lanes import Lanes
from .permit import Phase, Wall
from .report import Summary

#: Seconds between two writes of the file, where nothing new begins meanwhile.
_EVERY: Final = 10.0
#: Seconds between two looks whether something new has begun.
_LOOK: Final = 0.5
#: How a file of metrics begins.
_BEGINS: Final = b"# HELP bulkhooks_"
#: How the line begins that tells whether a freeze is open.
_FREEZE: Final = b"bulkhooks_freeze_open{"
#: The exit status of a command that leaves a freeze open.
_OPEN: Final = 5
#: Exit statuses of a command that did not come so far as to see whether a freeze is open.
_BLIND: Final = (2, 4, 70, 130)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One command at one moment. Times are Unix seconds."""

    job: str
    now: float
    started: float
    ended: float | None = None
    status: int | None = None  #: the exit status, once it has ended
    frozen: bool  #: a freeze is open
    phase: Phase
    halted: bool
    paused: bool
    views: Sequence[LaneView]
    requests: Mapping[tuple[str, str], int]  #: by tenant and status
    books: Mapping[tuple[str, str], Mapping[State, int]]  #: items by job and tenant


class Metrics:
    """A file of metrics, written anew every few seconds while lanes are at work. Made by `opened`.

    It is called with every request.
    """

    def __init__(self, path: Path, job: str, lost: Callable[[str], None], wall: Wall) -> None:
        self._path, self._job, self._lost, self._wall = path, job, lost, wall
        self._works, self._started = True, wall()
        #: What an earlier command left open is so until this one has ended.
        self._open = _was_open(path)
        self._status: int | None = None
        self._requests = Counter[tuple[str, str]]()
        self._books: dict[tuple[str, str], Mapping[State, int]] = {}
        self._lanes: Lanes | None = None
        self._views: Sequence[LaneView] = []

    @classmethod
    @contextmanager
    def opened(
        cls, path: Path, job: str, lost: Callable[[str], None], *, wall: Wall = time.time
    ) -> Iterator[Metrics]:
        """Keep the file at `path` until a command has ended, and leave in it how that was.

        Anybody can read it. Where it cannot be written any more, `lost` is told so once. Raises
        Refused when it cannot be written at all, or has something else in it.
        """
        if path.suffix != ".prom":
            raise Refused(f"{path}: the collector reads files named *.prom alone; name it so")
        try:
            if _is_other(path):
                raise Refused(f"{path} is there and has no metrics; name another file")
            metrics = cls(path, job, lost, wall)
            _save(path, as_text(metrics.seen()))
        except OSError as error:
            raise Refused(f"{path}: the metrics cannot be written: {error.strerror}") from error
        try:
            yield metrics
        except BaseException as error:
            metrics._end(_status(error))
            raise
        else:
            metrics._end(0)

    def __call__(self, exchange: Exchange) -> None:
        """Count a request."""
        status = "none" if exchange.status is None else str(exchange.status)
        self._requests[exchange.tenant, status] += 1

    async def watch(self, lanes: Lanes) -> None:
        """Write what the lanes are at, until cancelled."""
        self._lanes, permit = lanes, lanes.permit
        written, told = loop_time(), None
        try:
            while True:
                await anyio.sleep(_LOOK)
                phase, begun = permit.phase, bool(permit.books)
                new = (begun, phase.span, phase.wave, phase.frozen, permit.halted, permit.paused)
                if new != told or loop_time() - written >= _EVERY:
                    written, told = loop_time(), new
                    self._look()
                    # Of thousands of tenants it takes a while, in which lanes go on.
                    await run_sync(self._write, self.seen())
        finally:
            self._look()

    def finish(self, summary: Summary) -> None:
        """Take over the books that a command has ended with, and its exit status."""
        for name, tenant in summary.tenants.items():
            books = msgspec.structs.asdict(tenant.books)
            self._books[summary.job, name] = {state: books[state] for state in State}
        self._status = summary.exit_status

    def seen(self) -> Seen:
        """What there is to tell now."""
        permit = self._lanes.permit if self._lanes else None
        phase, now = permit.phase if permit else Phase(), self._wall()
        self._open = self._open or _is_open(phase, now)
        return Seen(
            job=self._job,
            now=now,
            started=self._started,
            frozen=self._open,
            phase=phase,
            halted=bool(permit and permit.halted),
            paused=bool(permit and permit.paused),
            views=self._views,
            requests=dict(self._requests),
            books=dict(self._books),
        )

    def _look(self) -> None:
        if self._lanes is not None:
            self._views = self._lanes.views()
            for tenant, books in self._lanes.permit.books.items():
                self._books[self._lanes.job, tenant] = dict(books)

    def _write(self, seen: Seen) -> None:
        if not self._works:
            return
        try:
            _save(self._path, as_text(seen))
        except OSError as error:
            self._works = False
            why = f"the metrics end here: {error.strerror}; the work goes on"
            self._lost(f"{self._path}: {why}")

    def _end(self, status: int) -> None:
        status = status if self._status is None else self._status
        seen = self.seen()
        self._write(
            replace(
                seen,
                ended=seen.now,
                status=status,
                frozen=seen.frozen if status in _BLIND else status == _OPEN,
                paused=False,
            )
        )


class _Told:
    """Gives the library what there is to tell."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        yield from _of_tenants(self._seen)
        yield from _of_the_command(self._seen)


def as_text(seen: Seen) -> bytes:
    """What was seen, in the format that the collector reads."""
    registry = CollectorRegistry()
    registry.register(_Told(seen))
    return generate_latest(registry)


def _of_tenants(seen: Seen) -> Iterator[Metric]:
    items = _gauge("items", "Items of a tenant by state.", "tenant", "state")
    for (job, tenant), books in seen.books.items():
        for state, count in books.items():
            items.add_metric([job, tenant, state], count)
    yield items
    requests = _counter("requests", "Requests by status; none: no answer.", "tenant", "status")
    for (tenant, status), count in seen.requests.items():
        requests.add_metric([seen.job, tenant, status], count)
    yield requests
    left = _gauge("tokens_left", "Requests left in the tenant's bucket.", "tenant")
    limit = _gauge("tokens_limit", "Requests that the tenant's bucket holds.", "tenant")
    reserve = _gauge("tokens_reserve", "Requests of the bucket that are left to others.", "tenant")
    waits = _counter("waits_seconds", "Seconds that requests waited.", "tenant", "cause")
    for view in seen.views:
        pace, whose = view.pace, [seen.job, view.tenant]
        known = ((left, pace.remaining), (limit, pace.limit), (reserve, view.reserve))
        for gauge, value in known:
            if value is not None:
                gauge.add_metric(whose, value)
        for cause, seconds in pace.waits.items():
            waits.add_metric([*whose, cause], seconds)
    yield from (left, limit, reserve, waits)


def _of_the_command(seen: Seen) -> Iterator[Metric]:
    span, runs = seen.phase.span, seen.ended is None
    told: list[tuple[str, str, float | None]] = [
        ("freeze_open", "Whether what a freeze changed is still to be put back.", seen.frozen),
        ("halted", "Whether a rule or a wave has halted the job.", seen.halted),
        ("paused", "Whether somebody has paused it.", seen.paused),
        ("wave", "The wave at work, from 1; 0: none.", runs and seen.phase.wave),
        (
            "window_open",
            "Whether the command may write, for its window is open.",
            None if span is None else runs and span.start <= seen.now < span.end,
        ),
        ("window_end_timestamp_seconds", "When the window ends.", span and span.end),
        ("written_timestamp_seconds", "When this was written.", seen.now),
        ("last_start_timestamp_seconds", "When the command began.", seen.started),
        ("last_end_timestamp_seconds", "When it ended; absent while it runs.", seen.ended),
        ("last_exit_status", "Its exit status; absent while it runs.", seen.status),
    ]
    for name, what, value in told:
        gauge = _gauge(name, what)
        if value is not None:
            gauge.add_metric([seen.job], value)
        yield gauge


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    # `job` is Prometheus' own label, and would be renamed.
    return GaugeMetricFamily(f"bulkhooks_{name}", what, labels=["job_name", *labels])


def _counter(name: str, what: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"bulkhooks_{name}", what, labels=["job_name", *labels])


def _is_other(path: Path) -> bool:
    """Whether something is there to which metrics would do harm: a journal, a job."""
    if not path.exists():
        return False
    if not path.is_file():
        return True
    with path.open("rb") as file:
        return file.read(len(_BEGINS)) not in (b"", _BEGINS)


def _is_open(phase: Phase, now: float) -> bool:
    """Whether a freeze may have changed something: until its window it has not."""
    return phase.frozen and (phase.span is None or phase.span.start <= now)


def _was_open(path: Path) -> bool:
    """Whether the metrics in a file say that a freeze is open."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return any(line.startswith(_FREEZE) and line.endswith(b" 1.0\n") for line in file)


def _save(path: Path, text: bytes) -> None:
    with replacing(path) as file:
        os.fchmod(file.fileno(), 0o644)  # the node exporter is another user, who must read it
        file.write(text)


def _status(error: BaseException) -> int:
    """The exit status of a command that an error ends."""
    if isinstance(error, BulkhooksError):
        return error.exit_status
    return 130 if isinstance(error, KeyboardInterrupt) else 70
