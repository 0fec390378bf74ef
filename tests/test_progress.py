"""What a person sees of a night: its screen at fixed times, and plain lines elsewhere."""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions

from bulkhooks import progress
from bulkhooks.auth0 import loop_time
from bulkhooks.items import State
from bulkhooks.lane import LaneView
from bulkhooks.pacing import Pace
from bulkhooks.permit import Phase
from bulkhooks.progress import Line, Paces, Rates, Scene, Screen, drawn, plain
from bulkhooks.schedule import Span
from virtual import VirtualTimeLoop

GOLDEN = Path(__file__).parent / "golden" / "screens"
LONDON = "Europe/London"
#: Saturday, 02:18 in London; the window is from 01:00 to 03:00.
AT = datetime(2026, 11, 28, 2, 18, tzinfo=UTC).timestamp()
NIGHT = Span(AT - 78 * 60, AT + 42 * 60)
IDLE = Pace()
PACED = msgspec.structs.replace(IDLE, limit=50, remaining=38, refill=2.0, requests=30)
SHAPES = ((80, 24), (40, 10))


def view(tenant: str = "prod-eu", **more: Any) -> LaneView:
    fields: dict[str, Any] = {
        "planned": 8,
        "done": 3,
        "doing": "writing",
        "pace": PACED,
        "waiting": None,
    }
    return LaneView(tenant=tenant, **(fields | {"reserve": 10} | more))


def books(**counts: int) -> dict[State, int]:
    return {state: counts.get(state, 0) for state in State}


def fleet(count: int, at_work: int) -> tuple[list[LaneView], dict[str, dict[State, int]]]:
    """So many tenants of eight items each: some at work, a fifth of the others done."""
    views, kept = [], {}
    for number in range(count):
        name = f"prod-{number:03}"
        if number < at_work:
            views.append(view(name, in_flight=number % 2))
            kept[name] = books(applied=3, pending=5)
        else:
            views.append(view(name, planned=0, done=0, doing="", pace=IDLE, reserve=None))
            kept[name] = books(pending=8) if number % 5 else books(applied=8)
    return views, kept


def applying() -> Scene:
    views, kept = fleet(20, 15)
    views[3] = view("prod-003", waiting=("reserve", 4.2), in_flight=1)
    views[4] = view("prod-004", waiting=("for 3 to be built", 287.0), done=5)
    views[5] = view("prod-005", doing="reading", waiting=("first answer", math.inf), pace=IDLE)
    views[6] = view("prod-006", pace=msgspec.structs.replace(PACED, throttled=2), max_rate=0.5)
    phase = Phase(span=NIGHT, wave=2, waves=4, tenants=15)
    rates = Rates(requests=22.4, lanes={v.tenant: 1.5 for v in views[:15]}, left=683.0)
    return Scene(at=AT, views=views, phase=phase, timezone=LONDON, books=kept, rates=rates)


def waiting(doing: str, until: float | None, **more: Any) -> Scene:
    views, kept = fleet(20, 0)
    phase = Phase(doing=doing, until=until, span=NIGHT, **more)
    return Scene(at=AT, views=views, phase=phase, timezone=LONDON, books=kept)


def trouble() -> Scene:
    refused = "its client is refused (401 access_denied): see client_id and client_secret"
    views, kept = fleet(40, 30)
    for number in (7, 8, 21):
        views[number] = view(f"prod-{number:03}", doing="", trouble=refused)
    aside = "set aside, its requests break: the server answered 503"
    views[11] = view("prod-011", waiting=(aside, 43.0), switching=True)
    views[12] = view("日本の顧客\x1b[31m-本番環境-東京-第一", in_flight=2)
    kept["prod-000"] = books(applied=1, failed=2, skipped=1, uncertain=1, pending=3)
    causes = {
        (State.FAILED, "hook script has a syntax error at line 3"): 2,
        (State.SKIPPED, "drifted: enabled was true, is false\x07"): 1,
        (State.UNCERTAIN, "no answer to the read-back"): 1,
    }
    scene = applying()
    return replace(scene, views=views, books=kept, causes=causes)


def crowd() -> Scene:
    views, kept = fleet(500, 470)
    return replace(applying(), views=views, books=kept, phase=Phase())


SCENES: dict[str, Callable[[], Scene]] = {
    "applying": applying,
    "before-the-window": lambda: replace(
        waiting("waits for the window", NIGHT.start), at=NIGHT.start - 3 * 3600 - 59
    ),
    "soak": lambda: waiting("soaks", AT + 9 * 60 + 30, wave=2, waves=4, tenants=15),
    "probe": lambda: waiting("probes", None, wave=2, waves=4, tenants=15),
    "freeze": lambda: waiting("waits to put back", NIGHT.end - 300, frozen=True),
    "putting-back": lambda: replace(
        applying(), phase=Phase(span=NIGHT, frozen=True, putting_back=True)
    ),
    "paused": lambda: replace(applying(), paused=True),
    "halted": lambda: replace(applying(), halted="the 3rd item failed"),
    "stopping": lambda: replace(applying(), stopping=True),
    "trouble": trouble,
    "500-tenants": crowd,
}


@pytest.mark.parametrize("name", SCENES)
def test_a_screen_looks_as_it_was_looked_at(name: str) -> None:
    seen = []
    for width, height in SHAPES:
        lines = [line.text for line in drawn(SCENES[name](), width, height)]
        seen.append(f"--- {width}x{height}\n" + "".join(f"{line}\n" for line in lines))
    seen.append("--- plain\n" + "".join(f"{line}\n" for line in plain(SCENES[name]())))
    matches(f"{name}.txt", "".join(seen))


def matches(name: str, seen: str) -> None:
    """Hold what is seen against what was looked at; with RENEW in the environment, keep it to be
    looked at."""
    path = GOLDEN / name
    if "RENEW" in os.environ:
        path.write_text(seen)
    assert seen == path.read_text()


@pytest.mark.parametrize("name", ["applying", "trouble", "halted", "freeze"])
def test_colours_add_to_words_and_can_be_left_out(name: str) -> None:
    said = []
    for no_color in (False, True):
        terminal = Terminal()
        console = Console(
            file=terminal,
            force_terminal=True,
            color_system="standard",
            no_color=no_color,
            width=80,
            highlight=False,
            _environ={"TERM": "xterm"},
        )
        console.print(progress._rendered(drawn(SCENES[name](), 80, 24)))
        said.append(terminal.getvalue())
    coloured, without = said
    matches(f"{name}.ansi", coloured)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", without)
    words = (re.sub(r"\x1b\[[0-9;]*m", "", text) for text in said)
    assert len(set(words)) == 1


def test_a_screen_keeps_its_colours_apart_from_its_words() -> None:
    told = {line.text: line.style for line in drawn(trouble(), 80, 24)}
    assert {style for text, style in told.items() if " given up: " in text} == {"red"}
    assert [style for text, style in told.items() if text.startswith("Ctrl-C")] == ["yellow"]
    safe = drawn(applying(), 80, 24)[-1]
    assert (safe.text[:16], safe.style) == ("Ctrl-C now? safe", "green")


@pytest.mark.parametrize("name", SCENES)
def test_nothing_wraps_and_nothing_falls_out(name: str) -> None:
    for width, height in product((20, 40, 63, 64, 79, 80, 200), (1, 4, 6, 10, 24, 60)):
        lines = drawn(SCENES[name](), width, height)
        assert len(lines) <= height
        assert all(cell_len(line.text) <= width and line.text.isprintable() for line in lines)
        assert any(line.text.startswith("Ctrl-C now?") for line in lines) or height == 1


def test_tenants_stand_in_their_columns_whatever_they_are_called() -> None:
    names = ("a", "日本の顧客", "e\u0301cole", "tab\there", "x" * 50)
    lines = drawn(Scene(at=AT, views=[view(name) for name in names]), 80, 24)[:5]
    ends = {cell_len(line.text[: line.text.index("3/8")]) for line in lines}
    assert len(ends) == 1


def test_those_in_trouble_come_first_but_leave_room_for_the_others() -> None:
    views = [view(f"t{n}") for n in range(50)]
    views += [view(f"bad{n}", doing="", trouble="its token is refused") for n in range(50)]
    lines = [line.text for line in drawn(Scene(at=AT, views=views), 80, 24)]
    assert [line[:3] for line in lines[:9]] == ["bad"] * 9
    bad = sum(line.startswith("bad") for line in lines)
    good = sum(line.startswith("t") for line in lines)
    assert bad <= good + 1
    assert f"and {50 - good} more at work, {50 - bad} more given up" in lines
    assert "50 given up: its token is refused" in lines


def test_more_room_shows_more_tenants() -> None:
    views, kept = fleet(500, 470)
    scene = Scene(at=AT, views=views, books=kept)
    rows = {height: len(drawn(scene, 200, height)) for height in (10, 24, 60)}
    assert rows == {10: 10, 24: 24, 60: 60}


@pytest.mark.parametrize(
    ("at", "until", "told"),
    [
        ((2026, 11, 28, 1, 0), (2026, 11, 28, 2, 55), "until 02:55, 1 h 55 min left"),
        ((2026, 11, 27, 23, 0), (2026, 11, 28, 1, 0), "until Sat 01:00, 2 h left"),
        ((2026, 11, 10, 1, 0), (2026, 11, 28, 1, 0), "until Sat 2026-11-28 01:00, 18 d left"),
        ((2026, 10, 24, 22, 0), (2026, 10, 25, 0, 30), "until Sun 01:30 BST, 2 h 30 min left"),
        ((2026, 10, 24, 22, 0), (2026, 10, 25, 1, 30), "until Sun 01:30 GMT, 3 h 30 min left"),
    ],
    ids=["today", "tomorrow", "far", "the-first-of-two", "the-second"],
)
def test_a_wait_tells_until_when_in_the_time_there(
    at: tuple[int, ...], until: tuple[int, ...], told: str
) -> None:
    begins, ends = (datetime(*each, tzinfo=UTC).timestamp() for each in (at, until))  # type: ignore[misc,arg-type]
    phase = Phase(doing="waits for the window", until=ends)
    lines = drawn(Scene(at=begins, views=[], phase=phase, timezone=LONDON), 80, 24)
    assert lines[0].text == f"waits for the window: {told}"


def test_where_there_is_no_window_times_are_those_of_this_host() -> None:
    here = datetime.fromtimestamp(AT + 7 * 60)
    lines = drawn(replace(crowd(), timezone="", rates=Rates(left=361)), 80, 24)
    assert any(line.text.endswith(f"about 7 min left, {here:%H:%M}") for line in lines)
    soon = Scene(at=AT, views=[], phase=Phase(doing="soaks", until=AT + 7.5))
    at = f"{datetime.fromtimestamp(AT + 7):%H:%M:%S}"
    assert drawn(soon, 80, 24)[0].text == f"soaks: until {at}, 8 s left"


def test_a_window_that_is_over_is_told_so() -> None:
    scene = replace(applying(), at=NIGHT.end + 120, phase=Phase(span=NIGHT, putting_back=True))
    assert drawn(scene, 80, 24)[0].text.endswith("01:00-03:00 Europe/London, over for 2 min")


# ---- how fast it goes


def measured(*looks: tuple[float, list[tuple[int, int]]], planned: int = 100) -> Rates:
    """What is told after looks at lanes that have by then sent so many requests for so many items
    that are done."""
    paces, rates = Paces(), Rates()
    for at, lanes in looks:
        views = [
            view(f"t{n}", planned=planned, done=done, pace=Pace(requests=sent))
            for n, (sent, done) in enumerate(lanes)
        ]
        rates = paces.measure(at, views)
    return rates


def test_requests_are_those_of_the_last_ten_seconds() -> None:
    rates = measured(*((float(s), [(min(s, 20) * 5, 0), (s * 2, 0)]) for s in range(0, 41, 2)))
    assert rates.lanes == {"t1": 2.0}
    assert rates.requests == 2.0


def test_it_takes_as_long_as_its_slowest_lane() -> None:
    even = measured((0.0, [(0, 0), (0, 0)]), (10.0, [(9, 50), (9, 50)]))
    assert even.left == 10.0
    uneven = measured((0.0, [(0, 0), (0, 0)]), (10.0, [(9, 50), (9, 10)]))
    assert uneven.left == 90.0


def test_how_long_it_takes_follows_the_last_minute() -> None:
    looks = [(float(s), [(s, s if s < 100 else 100 + (s - 100) // 4)]) for s in range(0, 201, 2)]
    assert measured(*looks, planned=225).left == pytest.approx(400.0)


def test_a_pause_between_two_waves_makes_neither_slower() -> None:
    paces, rates = Paces(), Rates()
    for at, done, doing in ((0, 0, "writing"), (1, 0, ""), (50, 0, "writing"), (60, 50, "writing")):
        rates = paces.measure(float(at), [view(planned=100, done=done, doing=doing)])
    assert rates.left == 10.0


def test_nothing_is_told_of_what_was_hardly_measured() -> None:
    assert measured((0.0, [(0, 0)])) == measured((0.0, [(0, 0)]), (0.5, [(5, 5)])) == Rates()
    assert measured((0.0, [(0, 7)]), (9.0, [(5, 7)])).left is None


# ---- looking on


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class Steered:
    """A permit, as far as a screen looks at it."""

    phase: Phase = field(default_factory=Phase)
    paused: bool = False
    halted: str = ""
    causes: dict[tuple[State, str], int] = field(default_factory=dict)
    books: dict[str, dict[State, int]] = field(default_factory=dict)


class Looked:
    """Lanes, as far as a screen looks at them."""

    def __init__(self, *views: LaneView) -> None:
        self.now, self.looks, self._looked = list(views), 0, anyio.Event()
        self.permit, self.stopped, self.timezone = Steered(), False, LONDON
        self.journal = Path("night jobs/freeze.journal")

    def views(self) -> list[LaneView]:
        self.looks += 1
        self._looked.set()
        return self.now

    async def looked_at(self, more: int = 3) -> None:
        """Return when it was looked at some times more."""
        for _ in range(more):
            self._looked = anyio.Event()
            await self._looked.wait()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow one another at once; times that are told do not pass."""
    for name in ("_LIVE", "_LOOK", "_PLAIN", "_SPARED"):
        monkeypatch.setattr(progress, name, 0.001)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("quick")
class TestScreen:
    async def seen(self, lanes: Any, **more: Any) -> str:
        """What a terminal got until it was looked on for a while."""
        terminal = Terminal()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Screen(terminal, wall=lambda: AT, **more).watch, lanes)
            await lanes.looked_at()
            tasks.cancel_scope.cancel()
        return terminal.getvalue()

    async def test_lines_are_drawn_over_unless_others_are_to_be_read_between_them(self) -> None:
        drawn_over = await self.seen(Looked(view()))
        assert "3/8" in drawn_over
        assert "\x1b[2K" in drawn_over
        plain_ones = await self.seen(Looked(view()), in_place=False)
        assert "\x1b" not in plain_ones
        assert "3 of 8 items done\n" in plain_ones

    async def test_a_terminal_that_cannot_draw_gets_plain_lines(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "dumb")
        said = await self.seen(Looked(view()))
        assert "\x1b" not in said
        assert "3 of 8 items done\n" in said

    async def test_without_colour_it_is_live_still(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "\x1b[32mCtrl-C now? safe" in await self.seen(Looked(view()))
        monkeypatch.setenv("NO_COLOR", "1")
        said = await self.seen(Looked(view()))
        assert "\x1b[2K" in said
        assert "\x1b[32m" not in said

    async def test_nothing_is_drawn_over_a_question(self) -> None:
        lanes, terminal = Looked(), Terminal()
        lanes.permit.phase = Phase(doing="probes")
        screen: Any = Screen(terminal)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(screen.watch, lanes)
            await lanes.looked_at()
            await screen.quiet()
            said = terminal.getvalue()
            assert "probes" in said
            await lanes.looked_at()
            assert terminal.getvalue() == said
            lanes.permit.phase = Phase(doing="soaks")
            await lanes.looked_at()
            assert "soaks" in terminal.getvalue()
            tasks.cancel_scope.cancel()

    async def test_what_others_say_meanwhile_stands_above(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lanes, terminal = Looked(view()), Terminal()
        seen: Any = lanes
        monkeypatch.setattr("sys.stderr", terminal)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Screen(terminal).watch, seen)
            await lanes.looked_at()
            sys.stderr.write("paused by a person\n")
            await lanes.looked_at()
            tasks.cancel_scope.cancel()
        assert re.search(r"\x1b\[2Kpaused by a person\n", terminal.getvalue())
        last = terminal.getvalue().rpartition("paused by a person\n")[2]
        assert "3/8" in last
        assert sys.stderr is terminal


def lines_of(seconds: float, at: Callable[[float, Looked], None]) -> list[str]:
    """The plain lines of a run of so many seconds of virtual time; `at` has lanes go on."""

    async def run() -> list[str]:
        lanes, stream, began = Looked(view(doing="")), io.StringIO(), loop_time()
        screen: Any = Screen(stream, wall=lambda: AT + loop_time() - began)
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(screen.watch, lanes)
                while True:
                    at(loop_time() - began, lanes)
                    await anyio.sleep(0.5)
        return stream.getvalue().splitlines()

    return anyio.run(run, backend_options={"loop_factory": VirtualTimeLoop})


def going_on(now: float, lanes: Looked, planned: int = 100_000) -> None:
    """Four items a second."""
    pace = msgspec.structs.replace(PACED, requests=int(now * 4))
    lanes.now = [view(planned=planned, done=int(now * 4), pace=pace), *lanes.now[1:]]


def test_a_plain_line_comes_every_few_seconds_and_tells_what_is_left() -> None:
    lines = lines_of(31, partial(going_on, planned=400))
    assert len(lines) == 6
    assert lines[-1].startswith("118 of 400 items done | ")
    assert lines[-1].endswith(" requests/s | about 2 min left, 02:20")


def test_a_long_night_is_no_long_mail() -> None:
    lines = lines_of(3 * 3600, going_on)
    assert 100 < len(lines) < 500


def test_waiting_is_told_every_minute_and_each_phase_at_once() -> None:
    def night(now: float, lanes: Looked) -> None:
        phase = lanes.permit.phase
        if now < 600:
            doing = "waits for the window"
            if phase.doing != doing:
                lanes.permit.phase = Phase(doing=doing, until=AT + 600, span=NIGHT)
        elif now < 602:
            if phase.doing:
                lanes.permit.phase = Phase(span=NIGHT, wave=1, waves=2, tenants=1)
            going_on(now, lanes)
        else:
            lanes.now = [msgspec.structs.replace(lanes.now[0], doing="")]
            if phase.doing != "soaks":
                lanes.permit.phase = Phase(doing="soaks", until=AT + 660, wave=1, waves=2)

    lines = lines_of(640, night)
    assert lines[1] == "waits for the window: until 02:28, 9 min 59 s left"
    assert sum(line.startswith("waits for the window") for line in lines) == 10
    assert sum(line.startswith("wave 1 of 2: 1 tenant | window") for line in lines) == 1
    assert sum(line.startswith("soaks: until 02:29") for line in lines) == 1


def test_a_pause_tells_the_command_that_ends_it() -> None:
    def night(now: float, lanes: Looked) -> None:
        lanes.permit.paused = True
        going_on(now, lanes)

    goes_on = "bulkhooks control 'night jobs/freeze.journal' resume"
    assert f"paused; `{goes_on}` goes on" in lines_of(10, night)


def test_a_tenant_that_is_given_up_is_told_once() -> None:
    def night(now: float, lanes: Looked) -> None:
        trouble = "refused\x1b" if now > 10 else ""
        lanes.now[1:] = [view(f"t{n}", doing="", trouble=trouble) for n in range(12)]
        going_on(now, lanes)

    lines = lines_of(60, night)
    assert [line for line in lines if line.startswith("t0")] == ["t0: given up: refused\u241b"]
    assert "and 2 more given up" in lines


def test_thousands_of_tenants_are_looked_at_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes a tenth of a second comes every three."""

    async def run() -> int:
        lanes, terminal = Looked(view()), Terminal()
        times = iter(range(1_000_000))
        monkeypatch.setattr("time.thread_time", lambda: next(times) * 0.05)
        with anyio.move_on_after(60):
            await Screen(terminal).watch(lanes)  # type: ignore[arg-type]
        return lanes.looks

    monkeypatch.setenv("TERM", "xterm")
    looks = anyio.run(run, backend_options={"loop_factory": VirtualTimeLoop})
    assert looks == pytest.approx(20, abs=2)


def test_a_narrower_terminal_has_wrapped_what_was_drawn() -> None:
    lines = [Line("x" * 50), Line("日本" * 10), Line(""), Line("y" * 20)]
    assert progress._overflow(lines, 20) == 2 + 1
    said = Terminal()
    progress._wipe(Console(file=said, force_terminal=True), 2)
    assert said.getvalue() == "\x1b[1A\x1b[2K" * 2


@pytest.mark.usefixtures("quick")
async def test_a_terminal_that_was_resized_is_drawn_on_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lanes, terminal = Looked(view("x" * 19, trouble="refused " * 20)), Terminal()
    seen: Any = lanes
    sizes, wiped = [ConsoleDimensions(80, 24)], list[int]()
    monkeypatch.setattr(progress, "_wipe", lambda console, rows: wiped.append(rows))
    monkeypatch.setattr(Console, "size", property(lambda console: sizes[-1]))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Screen(terminal, wall=lambda: AT).watch, seen)
        await lanes.looked_at()
        before = len(terminal.getvalue())
        sizes.append(ConsoleDimensions(40, 10))
        await lanes.looked_at(5)
        tasks.cancel_scope.cancel()
    assert wiped == [2]
    for line in drawn(Scene(at=AT, views=lanes.now), 40, 9):
        assert line.text in terminal.getvalue()[before:]
