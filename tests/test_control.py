"""Steering a job while it runs: what is taken, by whom, and what comes of it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import anyio
import msgspec
import orjson
import pytest

from bulkhooks import Job, Limits
from bulkhooks import control as steering
from bulkhooks.control import Order, Reply, Word, ask, order_of, safety, serving
from bulkhooks.errors import Refused, Stopped
from bulkhooks.items import Reply as Answer
from bulkhooks.items import State
from bulkhooks.journal import Journal
from bulkhooks.lane import LaneView
from bulkhooks.lanes import Lanes
from bulkhooks.night import AS_CALLED, Ways, carry_out
from bulkhooks.pacing import Pace
from bulkhooks.permit import Phase
from bulkhooks.plan import stage
from bulkhooks.sandbox import Sandbox
from bulkhooks.schedule import AT_ONCE, Schedule, Span, Window
from engine import EPOCH, NAMES, TENANTS, Clock, Core, acting, bound, run
from test_end_to_end import dependencies_job
from world import Make

pytestmark = pytest.mark.anyio


def view(*, in_flight: int = 0, switching: bool = False) -> LaneView:
    return LaneView(
        tenant="prod-eu",
        planned=8,
        done=3,
        doing="writing",
        pace=Pace(),
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


# ---- a job at work, and what it is told


@dataclass(frozen=True)
class Kind:
    """A job of one kind, and whether it was done on a tenant."""

    edit: Mapping[str, Any]
    done: Callable[[Sandbox, str], bool]

    @property
    def job(self) -> Job:
        return Job.of("job", [{"tenants": list(NAMES), **self.edit}])


KINDS = {
    "hooks": Kind(
        {"hook": {"name": "h"}, "set": {"enabled": False}},
        lambda sandbox, name: not sandbox.hooks_of(name)[0]["enabled"],
    ),
    "actions": Kind(
        {"action": {"name": "a"}, "set": {"bound": False}},
        lambda sandbox, name: "a" not in bound(sandbox, name),
    ),
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    given: Kind = request.param
    return given


class Held(Core):
    """The sandbox's core, which sends a write on when it may."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        super().__init__(sandbox, folder / "j", folder / "none", 0, False)
        self.go, self.came = anyio.Event(), anyio.Event()
        self.writes = 0
        #: Reads wait for this where it is not None; `looked` is set when one does.
        self.reads: anyio.Event | None = None
        self.looked = anyio.Event()

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Answer, Mapping[str, str]]:
        if method != "GET":
            self.writes += 1
            self.came.set()
            await self.go.wait()
        elif self.reads:
            self.looked.set()
            await self.reads.wait()
        return await super().send(method, url, headers, body)


@dataclass
class Night:
    """A planned job that is served, to be steered as from another terminal."""

    path: Path
    lanes: Lanes
    journal: Journal
    core: Held
    told: list[str] = field(default_factory=list)

    async def obeys(self, *words: str, tenant: str = "", path: Path | None = None) -> str:
        """What an order is answered; raises Refused where it is refused."""
        return (await self.answers(*words, tenant=tenant, path=path)).said

    async def answers(self, *words: str, tenant: str = "", path: Path | None = None) -> Reply:
        """The same, with what the job is at."""
        [known] = [each for each in get_args(Word) if each == words[0]]
        order = order_of(known, words[1:], tenant)
        return await anyio.to_thread.run_sync(ask, path or self.path, order)

    async def flies(self) -> None:
        """Wait until a write of each tenant is in flight."""
        while self.core.writes < len(NAMES):
            self.core.came = anyio.Event()
            await self.core.came.wait()

    def states(self) -> dict[str, list[State]]:
        """The states of items, by tenant."""
        books, names = self.journal.books(), {row.id: row.name for row in self.journal.tenants()}
        return {
            names[row]: [state for state, count in mine.items() for _ in range(count)]
            for row, mine in books.items()
        }

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(event.kind, dict(event.what)) for event in self.journal.events()]


@asynccontextmanager
async def night(
    folder: Path, job: Job, *, planned: bool = True, undoes: str = ""
) -> AsyncIterator[Night]:
    """A job that is planned, and not applied yet."""
    core, told = Held(acting(), folder), list[str]()

    @asynccontextmanager
    async def connect(_: int) -> AsyncIterator[Core]:
        yield core

    path = folder / "j"
    with Journal.create(path) as journal:
        stage(journal, job, TENANTS, sandbox=False, now=datetime.now(UTC))
        journal.note(undoes=undoes)
        opening = Lanes.opened(
            *(journal, journal.tenants(), TENANTS, Limits()), settle=0.0, connect=connect
        )
        async with opening as lanes, serving(lanes, journal, tell=told.append):
            if planned:
                await lanes.survey()
                await journal.commit(*journal.noted(planned=str(journal.count())))
            yield Night(path, lanes, journal, core, told)


async def test_what_is_paused_begins_nothing_and_what_goes_on_ends_well(
    tmp_path: Path, kind: Kind
) -> None:
    async with night(tmp_path, kind.job) as at, anyio.create_task_group() as tasks:
        at.core.go.set()
        assert "`bulkhooks control" in await at.obeys("pause")
        assert (await at.answers("status")).now.paused  # type: ignore[union-attr]
        tasks.start_soon(at.lanes.apply)
        await at.obeys("status")
        await anyio.sleep(0.05)
        assert "paused" in await at.obeys("status")
        assert at.core.writes == 0
        assert await at.obeys("resume") == "it goes on"
        assert [told.partition(": ")[2][:8] for told in at.told] == ["paused: ", "it goes "]
    assert all(kind.done(at.core.sandbox, name) for name in NAMES)


async def test_each_order_is_kept_once_among_the_events(tmp_path: Path, kind: Kind) -> None:
    async with night(tmp_path, kind.job) as at:
        await at.obeys("resume")
        await at.obeys("pause")
        await at.obeys("pause")
        await at.obeys("resume")
        await at.obeys("set", "max_rate=30/m", "reserve=7", tenant="t1")
        await at.obeys("skip-tenant", "t0")
        await at.obeys("stop")
        await at.obeys("stop")
        await at.journal.commit()
        said = dict(at.events())
        assert [event for event, _ in at.events()] == ["pause", "resume", "set", "skip", "stop"]
    assert said["set"]["max_rate"] == 0.5
    assert said["set"]["reserve"] == 7
    assert said["skip"] == {"tenant": "t0"}


async def test_a_tenant_that_is_skipped_stays_pending_and_others_go_on(
    tmp_path: Path, kind: Kind
) -> None:
    async with night(tmp_path, kind.job) as at:
        at.core.go.set()
        said = await at.obeys("skip-tenant", "t0")
        assert said == "t0: none of its items is begun any more; what is pending stays so"
        await at.lanes.apply()
        await at.journal.commit()
        assert at.states() == {"t0": [State.PENDING], "t1": [State.APPLIED]}
    assert [kind.done(at.core.sandbox, name) for name in NAMES] == [False, True]


async def test_what_is_in_flight_is_told_and_a_stop_lets_it_end(tmp_path: Path, kind: Kind) -> None:
    async with night(tmp_path, kind.job) as at, anyio.create_task_group() as tasks:
        tasks.start_soon(at.lanes.apply)
        await at.flies()
        flight = "2 requests in flight end first"
        assert flight in await at.obeys("pause")
        now = (await at.answers("status")).now
        assert now is not None
        assert (now.doing, now.in_flight, now.planned, now.done) == ("writing", 2, 2, 0)
        assert now.safe == f"safe: {flight}"
        said = await at.obeys("stop")
        assert said == f"stopping: {flight}; once more to wait for nothing"
        with pytest.raises(Refused, match="it is stopping"):
            await at.obeys("resume")
        at.core.go.set()
    assert all(kind.done(at.core.sandbox, name) for name in NAMES)


async def test_a_second_stop_waits_for_nothing_and_what_was_in_flight_is_in_doubt(
    tmp_path: Path, kind: Kind
) -> None:
    async with night(tmp_path, kind.job) as at, anyio.create_task_group() as tasks:
        tasks.start_soon(at.lanes.apply)
        await at.flies()
        await at.obeys("stop")
        assert "waiting for nothing" in await at.obeys("stop")
    with Journal.open(at.path) as journal:
        states = [state for mine in journal.books().values() for state in mine if mine[state]]
        assert set(states) == {State.UNCERTAIN}


async def test_a_second_stop_ends_a_read_back(tmp_path: Path, kind: Kind) -> None:
    async with night(tmp_path, kind.job) as at:
        at.core.go.set()
        await at.lanes.apply()
        await at.journal.commit()
        at.core.reads = anyio.Event()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:

                async def look() -> None:
                    with pytest.raises(Stopped):
                        await at.lanes.read_back(NAMES)

                tasks.start_soon(look)
                await at.core.looked.wait()
                await at.obeys("stop")
                await at.obeys("stop")


async def test_a_stop_ends_what_is_paused(tmp_path: Path, kind: Kind) -> None:
    async with night(tmp_path, kind.job) as at:
        await at.obeys("pause")
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(at.lanes.apply)
                await anyio.sleep(0.02)
                await at.obeys("stop")
        await at.journal.commit()
        assert at.states() == {name: [State.PENDING] for name in NAMES}
        assert at.core.writes == 0


async def test_while_it_plans_only_status_and_stop_are_taken(tmp_path: Path) -> None:
    async with night(tmp_path, KINDS["hooks"].job, planned=False) as at:
        for words in (["pause"], ["resume"], ["set", "reserve=0"], ["skip-tenant", "t0"]):
            with pytest.raises(Refused, match="it is planning"):
                await at.obeys(*words)
        assert (await at.answers("status")).now is not None
        await at.obeys("stop")
        assert at.lanes.stopped


async def test_what_puts_back_says_so_to_its_end_and_is_not_held_up(
    tmp_path: Path, kind: Kind
) -> None:
    async with night(tmp_path, kind.job) as at, anyio.create_task_group() as tasks:
        back = at.lanes.permit.phase = Phase(frozen=True, putting_back=True)
        way = (at.journal, at.lanes, AT_ONCE, AS_CALLED)
        tasks.start_soon(partial(carry_out, *way, folder=tmp_path, read_first=False))
        await at.flies()
        for words in (["pause"], ["skip-tenant", "t0"]):
            with pytest.raises(Refused, match="putting back"):
                await at.obeys(*words)
        assert not at.lanes.permit.paused
        assert "not all is put back yet" in await at.obeys("stop")
        at.core.go.set()
    assert at.lanes.permit.phase == back


@pytest.mark.parametrize(
    ("words", "tenant", "told"),
    [
        (["skip-tenant", "t00"], "", r"no tenant `t00` is at work here; did you mean `t0`\?$"),
        (["skip-tenant", "prod"], "", r"no tenant `prod` is at work here$"),
        (["set", "reserve=0"], "t9", "no tenant `t9`"),
        (["set", "max_rate=fast"], "", r"set: limits.max_rate: must be .* not `fast`"),
        (["set", "max_rate=0"], "", "must be"),
        (["set", "max_rate=nan"], "", "must be"),
        (["set", "reserve=120%"], "", "must be"),
        (["set", "reserve=-1"], "", "must be"),
        (["set", "max_rat=4"], "", "unknown key `max_rat`; did you mean `max_rate`"),
        (["set", "concurrency=4"], "", "concurrency cannot be set while it runs"),
    ],
)
async def test_what_cannot_be_done_is_refused_and_changes_nothing(
    tmp_path: Path, words: list[str], tenant: str, told: str
) -> None:
    async with night(tmp_path, KINDS["hooks"].job) as at:
        with pytest.raises(Refused, match=told):
            await at.obeys(*words, tenant=tenant)
        await at.journal.commit()
        assert at.events() == []


async def test_what_a_night_is_at_is_told_with_its_wave_and_window(tmp_path: Path) -> None:
    async with night(tmp_path, KINDS["hooks"].job) as at:
        at.journal.note(zone="Europe/Paris")  # as a put-back has it, which has no window
        at.lanes.permit.phase = Phase(
            doing="waits to put back",
            until=EPOCH + 600,
            span=Span(EPOCH, EPOCH + 900),
            wave=2,
            waves=4,
            frozen=True,
        )
        said = (await at.obeys("status")).splitlines()
    until = "window until Tue 2023-11-14 23:28:20 Europe/Paris"
    assert said == [
        f"waits to put back until Tue 2023-11-14 23:23:20 Europe/Paris, wave 2 of 4, {until}",
        "0 of 2 items done, 0 of 2 tenants at work",  # of the job, not of waves begun
        f"stop it now? safe, but {OFF}",
    ]


async def test_all_of_a_freezes_window_is_told_and_its_first_part_is_written_in(
    tmp_path: Path, kind: Kind
) -> None:
    now, close = (datetime.fromtimestamp(EPOCH + s, UTC).isoformat()[:19] for s in (0, 100))
    part = Schedule(window=Window(timezone="UTC", start=now, end=close), freeze=True)
    async with night(tmp_path, kind.job) as at:
        at.core.go.set()
        at.lanes.permit.phase = Phase(span=Span(EPOCH, EPOCH + 900))
        way = (at.journal, at.lanes, part, Ways(wall=lambda: float(EPOCH)))
        await carry_out(*way, folder=tmp_path, read_first=False, back_by=EPOCH + 890)
        assert at.lanes.permit.closes_at == EPOCH + 100
        windows = [event.what for event in at.journal.events() if event.kind == "window"]
        assert windows == [{"start": EPOCH, "end": EPOCH + 900}]


def test_what_is_paused_ends_with_its_window(tmp_path: Path, kind: Kind) -> None:
    """Also where the clock is set meanwhile: a freeze is put back though somebody has paused it."""
    clock = Clock()
    sandbox = acting()

    async def pause(lanes: Lanes) -> None:
        lanes.permit.closes_at = clock() + 100
        lanes.pause()
        await anyio.sleep(10)
        clock._begin += 50.0

    core = Core(sandbox, tmp_path / "j", tmp_path / "none", 0, False, clock)
    states = run(tmp_path / "j", core, plan=kind.job, watch=pause)
    assert states[State.PENDING] == 2
    assert 100 <= clock._now - EPOCH < 101


# ---- limits, while they are at work


@pytest.mark.parametrize(("only", "seconds"), [(None, 100), (["t1"], 0), (["t0"], 100)])
def test_a_rate_that_is_set_holds_from_then_on(
    tmp_path: Path, only: list[str] | None, seconds: float
) -> None:
    clock = Clock()
    sandbox = Sandbox(NAMES, hooks=50)
    edits = [
        {"tenant": "t0", "hook": hook["id"], "set": {"dependencies": {"axios": "1.0.0"}}}
        for hook in sandbox.hooks_of("t0")
    ]

    async def slower(lanes: Lanes) -> None:
        lanes.allow(Limits(max_rate=0.5), only=only)

    core = Core(sandbox, tmp_path / "j", tmp_path / "none", 0, False, clock)
    run(tmp_path / "j", core, plan=Job.of("job", edits), watch=slower)
    assert seconds - 10 < clock._now - EPOCH < seconds + 10


# ---- the line


def test_what_is_typed_is_an_order_or_is_refused() -> None:
    assert order_of("set", ["max_rate=4/s", "reserve=5"]) == Order(
        do="set", limits={"max_rate": "4/s", "reserve": 5}
    )
    assert order_of("skip-tenant", ["t0"]) == Order(do="skip-tenant", tenant="t0")
    for word, given in (
        ("pause", ["t0"]),
        ("set", []),
        ("set", ["max_rate"]),
        ("set", ["=3"]),
        ("set", ["reserve=1", "reserve=2"]),
        ("skip-tenant", []),
        ("skip-tenant", ["t0", "t1"]),
    ):
        with pytest.raises(Refused):
            order_of(word, given)  # type: ignore[arg-type]


def test_every_order_that_the_page_shows_is_one() -> None:
    page = (Path(__file__).parents[1] / "docs" / "steering.md").read_text()
    shown = [
        shlex.split(line, comments=True)[3:]
        for line in page.splitlines()
        if line.startswith("bulkhooks control ")
    ]
    assert {words[0] for words in shown} == set(get_args(Word))
    for word, *given in shown:
        at = given.index("--tenant") if "--tenant" in given else len(given)
        order_of(word, given[:at], "".join(given[at + 1 :]))  # type: ignore[arg-type]
    [line] = re.findall(r"^One line of JSON .*`({.*})`", page, re.MULTILINE)
    assert msgspec.json.decode(line, type=Order).tenant == "prod-acme"


def say(place: Path, line: bytes, *, end: bool = True) -> bytes:
    """What comes back when this is said."""
    with socket.socket(socket.AF_UNIX) as to:
        to.settimeout(10)
        to.connect(str(place))
        try:
            to.sendall(line)
            if end:
                to.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: to.recv(4096), b""))
        except (BrokenPipeError, ConnectionResetError):  # it did not listen to the end
            return b""


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"pause\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"do": "explode"}\n',
        b'{"do": "pause", "more": 1}\n',
        b'{"do": "set", "limits": {"reserve": [1]}}\n',
        b'{"do": "set", "limits": {}}\n',
        b'{"do": "set"}\n',
        b'{"do": "skip-tenant"}\n',
        b'{"do": "pause"',
        b"\xff\xfe\x00\n",
        b'{"do": "skip-tenant", "tenant": "\xff"}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 1_000_000,
        b'{"do": "skip-tenant", "tenant": "' + b"x" * 50_000 + b'"}\n',
    ],
)
async def test_what_is_no_order_harms_nothing(tmp_path: Path, line: bytes) -> None:
    async with night(tmp_path, KINDS["hooks"].job) as at:
        answer = await anyio.to_thread.run_sync(say, steering._place(at.path), line)
        assert len(answer) < 10_000
        if answer:
            assert orjson.loads(answer)["refused"]
        await at.obeys("status")
        await at.journal.commit()
        assert at.events() == []
        assert not at.lanes.permit.paused


async def test_a_line_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    async with night(tmp_path, KINDS["hooks"].job) as at:
        line = b"x" * (steering._LONGEST + 1)
        place = steering._place(at.path)
        answer = await anyio.to_thread.run_sync(lambda: say(place, line, end=False))
        assert orjson.loads(answer)["refused"]


async def test_who_says_half_a_line_and_waits_is_left_and_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "_PATIENCE", 0.1)
    async with night(tmp_path, KINDS["hooks"].job) as at, anyio.create_task_group() as tasks:
        place = steering._place(at.path)
        for _ in range(20):
            tasks.start_soon(lambda: anyio.to_thread.run_sync(lambda: say(place, b"{", end=False)))
        await anyio.sleep(0.02)
        assert await at.obeys("status")


async def test_only_its_own_person_may_speak(
    tmp_path: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with night(tmp_path, KINDS["hooks"].job) as at:
        place = steering._place(at.path)
        assert place.parent.parent.parent == state_folder
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        here, there = socket.socketpair()
        with here, there:
            assert steering._same_person(here)
            monkeypatch.setattr(os, "geteuid", lambda: 12_345)
            assert not steering._same_person(here)
        monkeypatch.undo()
    assert not place.exists()


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steering._place(tmp_path / "j")
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(Refused, match="not a folder of your own"):
        steering._place(tmp_path / "j")


async def test_a_dead_process_left_a_socket_and_it_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(steering._place(tmp_path / "j")))
    with pytest.raises(Refused, match=r"nothing runs on .*/j now$"):
        ask(tmp_path / "j", Order(do="status"))
    async with night(tmp_path, KINDS["hooks"].job) as at:
        assert await at.obeys("status")
    with pytest.raises(Refused, match=r"nothing runs .* tells how it ended"):
        ask(tmp_path / "j", Order(do="status"))


async def test_a_deep_state_folder_has_its_sockets_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("deep" * 30)))
    with TemporaryDirectory(dir="/tmp") as shallow:  # tmp_path may be too deep itself
        monkeypatch.setattr(steering, "_SHALLOW", shallow)
        async with night(tmp_path, KINDS["hooks"].job) as at:
            assert steering._place(at.path).parent == Path(shallow) / f"bulkhooks-{os.geteuid()}"
            assert await at.obeys("status")


async def test_where_there_can_be_no_socket_the_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "_SHALLOW", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("deep" * 30)))
    (tmp_path / "of another").mkdir()
    (tmp_path / f"bulkhooks-{os.geteuid()}").symlink_to(tmp_path / "of another")
    async with night(tmp_path, KINDS["hooks"].job) as at:
        [told] = at.told
        assert "cannot be steered while it runs" in told
        assert "not a folder of your own" in told
        at.core.go.set()
        await at.lanes.apply()
    assert not at.core.sandbox.hooks_of("t0")[0]["enabled"]


async def test_a_way_back_is_steered_under_the_name_of_what_it_takes_back_too(
    tmp_path: Path,
) -> None:
    first = tmp_path / "first.journal"
    async with night(tmp_path, KINDS["hooks"].job, undoes=str(first)) as at:
        for path in (first, at.path):
            await at.obeys("pause", path=path)
            assert await at.obeys("resume", path=path) == "it goes on"
    for path in (first, at.path):
        with pytest.raises(Refused, match="nothing runs on"):
            ask(path, Order(do="status"))


# ---- the program


def test_a_run_is_paused_and_steered_from_another_terminal_and_ends_by_sigterm(make: Make) -> None:
    world = make(("t0", "t1"), hooks=40)
    dependencies_job(world)
    for tenant in world.tenants.values():
        tenant["limits"] = {"max_rate": "30/m"}
    world.write_tenants()
    assert "nothing runs on j now" in world.call("control", "j", "pause", status=2).stderr
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: bool(world.sandbox.writes()))
        assert "resume` goes on" in world.call("control", "j", "pause").stdout
        now = orjson.loads(world.call("control", "j", "status", "--json").stdout)["now"]
        assert now["paused"]
        near = world.call("control", "j", "skip-tenant", "t00", status=2).stderr
        assert "did you mean `t0`?" in near
        world.call("control", "j", "set", "reserve=10%", "max_rate=40/s")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode == 3, err
    assert "stopping: " in err
    assert "next: bulkhooks apply j" in out
    assert world.books()["pending"] > 0
    for tenant in world.tenants.values():
        tenant["limits"] = {"reserve": 0}
    world.write_tenants()
    world.call("apply", "j", "--yes")
    assert world.books()["applied"] == 80
