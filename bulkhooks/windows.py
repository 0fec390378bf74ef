"""When a window is open: its spans of time, and how these are told.

A local time that does not exist, for clocks were set forward over it, moves forward by as much; of
one that comes twice the first is meant. How long a span lasts is elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from .schedule import Span, Window

#: Seconds by which the clock of this host and a server's may differ where windows are kept.
APART: Final = 30.0
#: By how much clocks are set at most, and twice that.
_SET: Final = timedelta(hours=3)
#: Spans that are looked at for some that overlap, and the most seconds that come of merging such.
_LOOKED_AT: Final = 12
_MERGED: Final = 31 * 86400.0
_UNITS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def spans(window: Window, after: float) -> Iterator[Span]:
    """The spans of a window that end after a moment (Unix seconds), in their order; they may have
    no end. None overlaps another."""
    found = _recurring(window, after) if window.cron else iter([_given(window)])
    return (span for span in found if span.end > after)


def current(window: Window, now: float) -> Span | None:
    """The span that holds now, its end not in it."""
    span = coming(window, now)
    return span if span is not None and span.start <= now else None


def coming(window: Window, now: float) -> Span | None:
    """The span that holds now, or else the next; None: it is over and does not come again."""
    return next(spans(window, now), None)


def over(window: Window, now: float) -> str:
    """When a window was over for good, in words; "": it is open or comes again."""
    if window.cron or coming(window, now) is not None:
        return ""
    return clock(_given(window).end, window.timezone)


def flaw(window: Window) -> tuple[str, str] | None:
    """What is wrong with a window: the key that a person wrote, and what. None: nothing."""
    if window.timezone not in zones():
        return "timezone", "is no name of the IANA database, like Europe/London"
    if not window.cron:
        return _flaw_of_times(window)
    try:
        first = list(islice(CronSim(window.cron, datetime(2001, 1, 1)), _LOOKED_AT))
    except CronSimError as error:
        return "cron", f"is no line of cron (minute hour day month weekday): {error}".lower()
    if not first:
        return "cron", "names a time that never comes"
    apart = min((later - time for time, later in pairwise(first)), default=timedelta.max)
    if apart.total_seconds() < window.seconds:
        return "for", f"is longer than until it opens again, {length(apart.total_seconds())}"
    return None


def told(span: Span, timezone: str) -> str:
    """A span in local times: `Sat 2026-11-28 01:00-03:00 Europe/London`."""
    start, end = (_local(moment, timezone) for moment in span)
    if start.utcoffset() != end.utcoffset() or _comes_twice(start):
        zoned = f"{time_of_day(start)} {start:%Z} - {end:%a %Y-%m-%d} {time_of_day(end)} {end:%Z}"
        return f"{start:%a %Y-%m-%d} {zoned} {timezone}"
    between = "-" if start.date() == end.date() else f" - {end:%a %Y-%m-%d} "
    return f"{start:%a %Y-%m-%d} {time_of_day(start)}{between}{time_of_day(end)} {timezone}"


def clock(moment: float, timezone: str) -> str:
    """A moment in local time: `Sat 2026-11-28 01:00 Europe/London`."""
    local = _local(moment, timezone)
    which = f" {local:%Z}" if _comes_twice(local) else ""
    return f"{local:%a %Y-%m-%d} {time_of_day(local)}{which} {timezone}"


def time_of_day(local: datetime) -> str:
    """`01:00`, with seconds where there are any."""
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"


def length(seconds: float) -> str:
    """How long something lasts, by its two largest units: `2 h 40 min`."""
    left, words = round(seconds), list[str]()
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}")
        elif words:
            break
    return " ".join(words[:2]) or "0 s"


@cache
def zones() -> frozenset[str]:
    """The names of time zones that are known here."""
    return frozenset(available_timezones())


def moment(local: datetime, timezone: str) -> float:
    """When a local time is, in Unix seconds."""
    # With `fold` 0 this is the first of two, and what a clock that was not set forward would show.
    return local.replace(tzinfo=ZoneInfo(timezone), fold=0).timestamp()


def _given(window: Window) -> Span:
    start, end = map(datetime.fromisoformat, (window.start, window.end))
    return Span(moment(start, window.timezone), moment(end, window.timezone))


def _recurring(window: Window, after: float) -> Iterator[Span]:
    """Spans by a line of cron from some time before `after` on: none of those that `after` is in
    may be cut."""
    merged: Span | None = None
    for start in _starts(window, after - 2 * window.seconds):
        span = Span(start, start + window.seconds)
        if merged is None:
            merged = span
        elif span.start < merged.end and span.end - merged.start <= _MERGED:
            merged = Span(merged.start, max(merged.end, span.end))
        else:
            yield merged
            merged = Span(max(span.start, merged.end), span.end)
    if merged is not None:
        yield merged


def _starts(window: Window, since: float) -> Iterator[float]:
    """When spans start, in order. Where clocks are set forward local times are not in order: the
    times that do not exist come after what follows them."""
    waiting: list[tuple[datetime, float]] = []
    naive = _local(since, window.timezone).replace(tzinfo=None) - _SET
    for local in CronSim(window.cron, naive):
        while waiting and local - waiting[0][0] > _SET:
            yield waiting.pop(0)[1]
        waiting.append((local, moment(local, window.timezone)))
        waiting.sort(key=lambda each: each[1])
    yield from (start for _, start in waiting)


def _flaw_of_times(window: Window) -> tuple[str, str] | None:
    for key, written in (("start", window.start), ("end", window.end)):
        try:
            datetime.fromisoformat(written)
        except ValueError as error:
            return key, f"is no time: {error}"
    span = _given(window)
    return None if span.start < span.end else ("end", "must be after `start`")


def _local(moment: float, timezone: str) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(timezone))


def _comes_twice(local: datetime) -> bool:
    return local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
