"""What a run looks like while it goes on: live lines on a terminal, plain ones elsewhere.

What is shown is made by pure functions of a `Scene`; `Screen` looks, measures and draws.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

import anyio

from . import windows
from .auth0 import loop_time
from .control import command, safety
from .guards import listed
from .items import State
from .lane import LaneView
from .permit import Phase, Wall
from .report import clean, many

if TYPE_CHECKING:
    from rich.console import Console, Group

    from .lanes import Lanes

#: Seconds between two looks, on a terminal and elsewhere.
_LIVE, _LOOK = 0.25, 1.0
#: Looks take no more than one part in so many of the time: thousands of lanes are looked at less
#: often.
_SPARED: Final = 30
#: Seconds between two plain lines while something changes, and while it does not. The longer it
#: goes on, the fewer: at least a share of what has passed by then, for nobody reads ten thousand.
_PLAIN, _STILL, _THINNED = 5.0, 60.0, 0.01
#: Seconds between two samples of what lanes have done, those over which requests a second are
#: told, and items; fewer than the last tell nothing.
_SAMPLE, _REQUESTS_OVER, _ITEMS_OVER, _TOO_FEW = 2.0, 10.0, 60.0, 1.0
#: Seconds for which a lane has to wait to go before others.
_LONG: Final = 5.0
#: Seconds from which on a moment is told with its date.
_FAR: Final = 6 * 86400.0
#: Columns from which on a tenant's line tells rates and tokens.
_WIDE: Final = 64
#: Plain lines of tenants in trouble that are told at once.
_TROUBLES: Final = 10


class Line(NamedTuple):
    """A line of a screen, and how it looks in rich's words."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was measured of late, in requests and items a second; None: nothing yet."""

    requests: float | None = None
    lanes: Mapping[str, float] = field(default_factory=dict)  #: requests, by tenant
    left: float | None = None  #: seconds until what lanes have planned is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All there is to see at one moment."""

    at: float  #: Unix seconds
    views: Sequence[LaneView]
    phase: Phase = field(default_factory=Phase)
    timezone: str = ""  #: of the window; "": times are told as this host does
    journal: Path = Path("JOURNAL")  #: as it is typed
    paused: bool = False
    stopping: bool = False
    halted: str = ""
    causes: Mapping[tuple[State, str], int] = field(default_factory=dict)
    books: Mapping[str, Mapping[State, int]] = field(default_factory=dict)  #: by tenant
    rates: Rates = Rates()


class _Sample(NamedTuple):
    at: float  #: on the loop's clock
    requests: list[int]  #: by lane
    done: list[int]


class Paces:
    """How fast lanes were of late; they are told in the same order always."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()

    def measure(self, now: float, views: Sequence[LaneView]) -> Rates:
        """Look once more; `now` is the loop's time. Nothing counts from before all idled."""
        if not any(view.doing for view in views):
            self._samples.clear()
            return Rates()
        sample = _Sample(now, [v.pace.requests for v in views], [v.done for v in views])
        samples = self._samples
        if not samples or now - samples[-1].at >= _SAMPLE:
            samples.append(sample)
        while len(samples) > 1 and now - samples[1].at >= _ITEMS_OVER:
            samples.popleft()
        oldest, recent = samples[0], samples[0]
        for each in samples:
            if now - each.at < _REQUESTS_OVER:
                break
            recent = each
        if now - recent.at < _TOO_FEW:
            return Rates()
        took = now - recent.at
        sent = [
            max(0, new - old) for new, old in zip(sample.requests, recent.requests, strict=True)
        ]
        return Rates(
            requests=sum(sent) / took,
            lanes={
                view.tenant: count / took for view, count in zip(views, sent, strict=True) if count
            },
            left=_left(views, oldest.done, now - oldest.at),
        )


def _left(views: Sequence[LaneView], before: list[int], seconds: float) -> float | None:
    """Seconds until all is done: at the pace of all, or of the slowest lane if that is longer."""
    left = done = 0
    slowest = 0.0
    for view, was in zip(views, before, strict=True):
        mine, more = max(0, view.planned - view.done), view.done - was
        left, done = left + mine, done + max(0, more)
        if mine and more > 0:
            slowest = max(slowest, mine * seconds / more)
    return max(slowest, left * seconds / done) if left and done else None


# ---- what is seen


def drawn(scene: Scene, width: int, height: int) -> list[Line]:
    """A screen of at most so many columns and lines; what matters most is there on the smallest.

    Above, what the night is at; a line a tenant in trouble or at work; the sums; why things
    failed; and whether it is safe to stop it now.
    """
    head, sums = _head(scene, width), _sums(scene, width)
    alerts, safe = (_wrapped(lines, width) for lines in (_alerts(scene), [_safe(scene)]))
    room = height - len(head) - len(alerts) - len(sums) - len(safe)
    causes = _causes(scene, max(0, min(1 + height // 8, (room + 1) // 2)))
    lanes = _tenants(scene, width, room - len(causes))
    if room < 0:  # no more than what cannot be left out
        head = head[: max(0, len(head) + room)]
    lines = [*head, *alerts, *lanes, *sums, *causes, *safe]
    return [Line(_cut(line.text, width), line.style) for line in lines[-height:]]


def plain(scene: Scene) -> list[str]:
    """A few lines for where none can be drawn over."""
    lines = [line.text for line in _alerts(scene)]
    if scene.phase.doing:
        return lines
    lines.append(" | ".join(_parts(scene)))
    waiting = [view for view in _at_work(scene) if _long_wait(view)]
    if waiting:
        more = f", and {len(waiting) - 3} more" if len(waiting) > 3 else ""
        told = (clean(f"{view.tenant} {_waiting(view)}") for view in waiting[:3])
        lines.append(f"waiting: {', '.join(told)}{more}")
    return lines


def _head(scene: Scene, width: int) -> list[Line]:
    """What wave and which window it is, on one line if they fit."""
    phase, parts = scene.phase, list[str]()
    if phase.waves:
        parts.append(f"wave {phase.wave} of {phase.waves}: {many(phase.tenants, 'tenant')}")
    if phase.putting_back:
        parts.append("putting back")
    if phase.span:
        kind = "freeze" if phase.frozen and not phase.putting_back else "window"
        zone = scene.timezone or "UTC"
        when = windows.told(phase.span, zone)
        if -_FAR < phase.span.start - scene.at < _FAR:
            when = _without_dates(when)
        there, left = when.removesuffix(f" {zone}"), _time_left(scene)
        then = ", then it is put back" if kind == "freeze" else ""
        told = [f"{kind} {when}, {left}{then}", f"{kind} {when}, {left}", f"{kind} {there}, {left}"]
        parts.append(next((each for each in told if len(each) <= width), told[-1]))
    return [Line(text, "bold") for text in _packed(parts, width)]


def _time_left(scene: Scene) -> str:
    phase, at = scene.phase, scene.at
    assert phase.span is not None
    if at < phase.span.start:
        return f"opens in {_length(phase.span.start - at)}"
    if at >= phase.span.end:
        return f"over for {_length(at - phase.span.end)}"
    return f"{_length(phase.span.end - at)} left"


def _alerts(scene: Scene) -> list[Line]:
    """What keeps it from going on, and until when."""
    phase, lines = scene.phase, list[Line]()
    if scene.halted:
        lines.append(Line(clean(f"halted: {scene.halted}; what is in flight ends first"), "red"))
    elif scene.stopping:
        lines.append(Line("stopping: what is in flight ends first", "yellow"))
    if scene.paused:
        lines.append(Line(f"paused; `{command(scene.journal)} resume` goes on", "yellow"))
    if phase.doing:
        left = phase.until - scene.at if phase.until is not None else 0
        until = ""
        if phase.until is not None and left > 0:
            until = f": until {_clock(scene, phase.until)}, {_length(left)} left"
        lines.append(Line(clean(f"{phase.doing}{until}"), "cyan"))
    return lines


def _at_work(scene: Scene) -> list[LaneView]:
    """Those that wait longest first; the others in their order, for lines are to stay in place."""
    active = [view for view in scene.views if view.doing and not view.trouble]
    return sorted(active, key=_long_wait, reverse=True)


def _tenants(scene: Scene, width: int, room: int) -> list[Line]:
    """Lines of tenants as far as there is room; the rest are summed on the last."""
    if room < 1:
        return []
    active, trouble = _at_work(scene), [view for view in scene.views if view.trouble]
    fits = len(active) + len(trouble) <= room - 1
    first = trouble if fits else trouble[: max(1, room // 2)]
    then = active[: max(0, room - 1 - len(first))]
    shown = [*first, *then] if room > 1 else []
    name = _width_of_names(shown, width)
    lines = [
        Line(_row(view, scene.rates, name, width), "red" if view.trouble else "") for view in shown
    ]
    rest = _rest(scene, shown, len(active), len(trouble))
    return [*lines, Line(rest, "dim")] if rest else lines


def _rest(scene: Scene, shown: list[LaneView], active: int, trouble: int) -> str:
    """How many tenants are at work, or not, beside those that are shown."""
    seen_in_trouble = sum(bool(view.trouble) for view in shown)
    busy = {view.tenant for view in scene.views if view.doing or view.trouble}
    others = [books for tenant, books in scene.books.items() if tenant not in busy]
    to_come = sum(bool(books.get(State.PENDING)) for books in others)
    more = "more " if shown else ""
    counts = (
        (active - len(shown) + seen_in_trouble, f"{more}at work"),
        (trouble - seen_in_trouble, f"{more}given up"),
        (len(others) - to_come, "done"),
        (to_come, "to come"),
    )
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count > 0)
    return f"and {told}" if told and shown else told


def _width_of_names(shown: list[LaneView], width: int) -> int:
    longest = max((_cells(clean(view.tenant)) for view in shown), default=0)
    return min(longest, max(8, width // 4))


def _row(view: LaneView, rates: Rates, name: int, width: int) -> str:
    """A tenant's line, in columns."""
    cells = [_fill(clean(view.tenant), name)]
    cells.append(f"{view.done}/{view.planned}".rjust(7) if view.planned else " " * 7)
    if view.trouble:
        return "  ".join([*cells, clean(f"given up: {view.trouble}")])
    if width >= _WIDE:
        cells += [_rate(view, rates.lanes.get(view.tenant, 0.0)).ljust(12), _tokens(view).ljust(14)]
    what = _waiting(view) if view.waiting else "" if view.doing == "writing" else view.doing
    throttled = f"{view.pace.throttled} answered 429" if view.pace.throttled else ""
    return "  ".join([*cells, clean(", ".join(filter(None, (what, throttled))))]).rstrip()


def _rate(view: LaneView, rate: float) -> str:
    """Requests a second, and how many there may be for long, as far as that is known."""
    limits = [each for each in (view.pace.refill, view.max_rate) if each is not None]
    return f"{_number(rate)} of {_number(min(limits))}/s" if limits else f"{_number(rate)}/s"


def _tokens(view: LaneView) -> str:
    if view.pace.limit is None:
        return ""
    kept = f", {view.reserve} kept" if view.reserve else ""
    return f"{view.pace.remaining}/{view.pace.limit}{kept}"


def _long_wait(view: LaneView) -> float:
    """Seconds, as far as they are known and many."""
    seconds = view.waiting[1] if view.waiting else 0.0
    return seconds if _LONG <= seconds < math.inf else 0.0


def _waiting(view: LaneView) -> str:
    """For how long it waits, which is not to be cut, and for what."""
    assert view.waiting is not None
    reason, seconds = view.waiting
    if math.isinf(seconds):
        return f"waits: {reason}"
    most = "<" if reason.startswith("for ") else ""  # what a service does may come sooner
    return f"{most}{_length(math.ceil(seconds))}: {reason}"


def _sums(scene: Scene, width: int) -> list[Line]:
    return [Line(text) for text in _packed(_parts(scene), width)]


def _parts(scene: Scene) -> list[str]:
    """What is done of all that is planned, how fast it goes, and how long it will take."""
    books = Counter[State]()
    for each in scene.books.values():
        books.update(each)
    planned, done = books.total(), books.total() - books[State.PENDING]
    if not books:
        planned = sum(view.planned for view in scene.views)
        done = sum(view.done for view in scene.views)
    bad = (State.FAILED, State.SKIPPED, State.UNCERTAIN)
    ended = [f"{books[state]:,} {state}" for state in bad if books[state]]
    active = sum(bool(view.doing) for view in scene.views)
    of_all = f"{active:,} of {many(len(scene.views), 'tenant')} at work"
    parts = [f"{done:,} of {many(planned, 'item')} done"] if planned else []
    if active and not planned:
        parts = [f"reading; {of_all}"]
    parts += [", ".join(ended)] if ended else []
    throttled = sum(view.pace.throttled for view in scene.views)
    told = [f"{_number(scene.rates.requests)} requests/s"] if scene.rates.requests else []
    told += [f"{throttled:,} answered 429"] if throttled else []
    parts += [", ".join(told)] if told else []
    held = scene.paused or scene.stopping or scene.halted or scene.phase.doing
    if scene.rates.left and not held:
        end = _clock(scene, math.ceil((scene.at + scene.rates.left) / 60) * 60)
        whose = "wave: " if scene.phase.waves else ""
        parts.append(f"{whose}about {_length(_rough(scene.rates.left))} left, {end}")
    return parts


def _causes(scene: Scene, room: int) -> list[Line]:
    """Why items did not end well and tenants were given up, the most first."""
    found = Counter[str]()
    for (state, cause), count in scene.causes.items():
        found[f"{state}: {cause}"] += count
    found.update(f"given up: {view.trouble}" for view in scene.views if view.trouble)
    return [Line(clean(f"{count:,} {what}"), "red") for what, count in found.most_common(room)]


def _safe(scene: Scene) -> Line:
    if scene.stopping:
        return Line("Ctrl-C now? waits for nothing: what is in flight is read back later", "yellow")
    answer = safety(scene.views, scene.phase)
    return Line(f"Ctrl-C now? {answer}", "green" if answer.startswith("safe:") else "yellow")


# ---- words and columns


def _clock(scene: Scene, moment: float) -> str:
    """A moment as people there say it: no day if it is today, no date if it is near."""
    zone = scene.timezone
    if zone:
        now, then = (windows.clock(t, zone).removesuffix(f" {zone}") for t in (scene.at, moment))
    else:
        here = (datetime.fromtimestamp(t) for t in (scene.at, moment))
        now, then = (f"{t:%a %Y-%m-%d} {windows.time_of_day(t)}" for t in here)
    day, date, hour = then.split(" ", 2)
    if date == now.split(" ", 2)[1]:
        return hour
    return f"{day} {hour}" if abs(moment - scene.at) < _FAR else then


def _without_dates(told: str) -> str:
    return " ".join(word for word in told.split(" ") if not (word[:1] == "2" and len(word) == 10))


def _length(seconds: float) -> str:
    """How long it is, without seconds where they do not matter, so that it stays calm."""
    return windows.length(seconds if seconds < 600 else seconds // 60 * 60)


def _rough(seconds: float) -> float:
    unit = 60 if seconds > 60 else 5
    return math.ceil(seconds / unit) * unit


def _number(rate: float) -> str:
    return f"{rate:.1f}" if rate < 9.95 else f"{rate:,.0f}"


def _packed(parts: Iterable[str], width: int) -> Iterator[str]:
    """Parts on as few lines as they fit on."""
    line = ""
    for part in parts:
        both = f"{line} | {part}"
        if not line or _cells(both) <= width:
            line = both if line else part
        else:
            yield line
            line = part
    if line:
        yield line


def _wrapped(lines: Iterable[Line], width: int) -> list[Line]:
    """Lines on two each where they do not fit on one."""
    found = list[Line]()
    for text, style in lines:
        first, *more = wrap(text, width) if _cells(text) > width else [text]
        found += [Line(first, style)] + ([Line("  " + " ".join(more), style)] if more else [])
    return found


def _cells(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, width: int) -> str:
    """A text of no more columns than that."""
    return text if _cells(text) <= width else _fill(text, width)


def _fill(text: str, width: int) -> str:
    """A text of just so many columns."""
    if (cells := _cells(text)) <= width:
        return text + " " * (width - cells)
    from rich.cells import set_cell_size

    return set_cell_size(text, width - 1) + "…"


# ---- looking on


class Screen:
    """Where progress is shown: nothing while no lane is at work and nothing is waited for, as a
    question may stand there.

    On a terminal its lines stay `in_place`, unless others are to be read between them.
    """

    def __init__(self, stream: TextIO, *, in_place: bool = True, wall: Wall = time.time) -> None:
        self._stream, self._in_place, self._wall = stream, in_place and stream.isatty(), wall
        self._lanes: Lanes | None = None
        self._paces = Paces()
        self._hushed: Phase | None = None
        self._idle = anyio.Event()
        self._idle.set()
        self._spent = 0.0

    async def watch(self, lanes: Lanes) -> None:
        """Show what the lanes are at, until cancelled."""
        self._lanes, self._paces, self._hushed = lanes, Paces(), None
        timezone = lanes.timezone
        if self._in_place:
            from rich.console import Console

            console = Console(file=self._stream, highlight=False)
            if not console.is_dumb_terminal:
                while True:
                    await self._show(lanes, timezone, console)
                    await self._sleep()
        await self._tell(lanes, timezone)

    async def quiet(self) -> None:
        """Show nothing more of what goes on now, for a question is to stand there; return when
        nothing is shown in place any more."""
        self._hushed = self._lanes.permit.phase if self._lanes else None
        await self._idle.wait()

    def _look(self, lanes: Lanes, timezone: str) -> Scene | None:
        """What there is to see; None: nothing is to be shown."""
        began = time.thread_time()
        permit, views = lanes.permit, lanes.views()
        rates = self._paces.measure(loop_time(), views)
        self._spent = time.thread_time() - began
        waits = permit.phase.doing and permit.phase is not self._hushed
        if not waits and not any(view.doing for view in views):
            return None
        return Scene(
            at=self._wall(),
            views=views,
            phase=permit.phase,
            timezone=timezone,
            journal=lanes.journal,
            paused=permit.paused,
            stopping=lanes.stopped,
            halted=permit.halted,
            causes=permit.causes,
            books=permit.books,
            rates=rates,
        )

    async def _sleep(self) -> None:
        await anyio.sleep(max(_LIVE, self._spent * _SPARED))

    async def _show(self, lanes: Lanes, timezone: str, console: Console) -> None:
        """Lines in one place of the screen, gone when there is nothing to show."""
        from rich.live import Live

        if (scene := self._look(lanes, timezone)) is None:
            return
        self._idle = anyio.Event()
        size, shown = console.size, list[Line]()
        try:
            # What others write to stderr meanwhile stands above.
            with Live(
                console=console, auto_refresh=False, transient=True, redirect_stdout=False
            ) as live:
                while scene is not None and console.size == size:
                    began = time.thread_time()
                    shown = drawn(scene, size.width, size.height - 1)
                    live.update(_rendered(shown), refresh=True)
                    self._spent += time.thread_time() - began
                    await self._sleep()
                    scene = self._look(lanes, timezone)
            if console.width < size.width:
                _wipe(console, _overflow(shown, console.width))
        finally:
            self._idle.set()

    async def _tell(self, lanes: Lanes, timezone: str) -> None:
        """Plain lines: what the night is at when that changes, and else now and then."""
        began = told_at = loop_time()
        stage: object = (Phase(), False, False, "")
        done: object = None
        known = set[str]()
        while True:
            await anyio.sleep(max(_LOOK, self._spent * _SPARED))
            if (scene := self._look(lanes, timezone)) is None:
                continue
            now = loop_time()
            silent = now - told_at
            pause = (now - began) * _THINNED
            was, stage = stage, (scene.phase, scene.paused, scene.stopping, scene.halted)
            state = _state(scene)
            if stage == was and silent < max(_PLAIN if state != done else _STILL, pause):
                continue
            lines = [line.text for line in _head(scene, 1000)] if stage != was else []
            trouble = [view for view in scene.views if view.trouble and view.tenant not in known]
            known |= {view.tenant for view in trouble}
            lines += [clean(f"{v.tenant}: given up: {v.trouble}") for v in trouble[:_TROUBLES]]
            if len(trouble) > _TROUBLES:
                lines.append(f"and {len(trouble) - _TROUBLES} more given up")
            self._write([*lines, *plain(scene)])
            told_at, done = now, state

    def _write(self, lines: Iterable[str]) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()


def _rendered(lines: Iterable[Line]) -> Group:
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text(line.text, line.style, no_wrap=True) for line in lines))


def _overflow(lines: Iterable[Line], width: int) -> int:
    """How many more rows lines take on a terminal that was made so narrow, for it wraps them."""
    return sum(max(0, math.ceil(_cells(line.text) / width) - 1) for line in lines)


def _wipe(console: Console, rows: int) -> None:
    """Erase so many rows above the cursor."""
    from rich.control import Control
    from rich.segment import ControlType

    row = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
    console.control(Control(*row * rows))


def _state(scene: Scene) -> tuple[int, ...]:
    """What changes while something is done."""
    views = scene.views
    return (
        sum(view.done for view in views),
        sum(view.pace.requests for view in views),
        sum(bool(view.trouble) for view in views),
    )


async def count(stream: TextIO, left: Collection[str]) -> None:
    """Tell every few seconds which tenants are not done yet, until cancelled."""
    whole = len(left)
    while True:
        await anyio.sleep(_PLAIN)
        done = f"{whole - len(left)} of {whole} tenants done"
        stream.write(f"{done}; waiting for {listed(list(left))}\n")
        stream.flush()
