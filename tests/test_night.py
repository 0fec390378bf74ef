"""Jobs carried out in windows and waves, in virtual time: no write goes out but inside, the next
window goes on, and in the end all is as if nothing had come in between."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from bulkhooks import Job, Limits, apply_journal
from bulkhooks import work as working
from bulkhooks.items import Reply, State
from bulkhooks.journal import Event, Journal
from bulkhooks.lanes import Lanes
from bulkhooks.night import Ways, carry_out, opened
from bulkhooks.plan import schedule, stage
from bulkhooks.probes import Answer, Verdict
from bulkhooks.report import Summary, summary
from bulkhooks.sandbox import Sandbox
from bulkhooks.schedule import Rule, Schedule, Wave, Window
from bulkhooks.store import Write
from bulkhooks.waves import assign, kept
from engine import (
    EPOCH,
    NAMES,
    PRE,
    TENANTS,
    Clock,
    Core,
    acting,
    actions_of,
    bound,
    mind_threads,
    on,
    one_on,
    random_action_job,
    random_job,
    run,
    two_tenants,
    whole_state_of,
)
from virtual import VirtualTimeLoop

#: Every hour, from the hour on: the first of them begins so many seconds after the clock.
FIRST = 3600 - EPOCH % 3600


class Wall(Clock):
    """A wall clock that somebody sets: by so many seconds from some time on."""

    def __init__(self, *jumps: tuple[float, float]) -> None:
        super().__init__()
        self._jumps = jumps

    def true(self) -> float:
        """What a clock would say that nobody sets."""
        return super().__call__()

    def __call__(self) -> float:
        now = self.true()
        return now + sum(by for at, by in self._jumps if now >= EPOCH + at)


class Slow(Core):
    """The sandbox's core, each answer of which takes a while; it notes when writes were sent."""

    clock: Wall

    def __init__(
        self, sandbox: Sandbox, folder: Path, latency: float = 0.05, wall: Wall | None = None
    ) -> None:
        super().__init__(sandbox, folder / "j", folder / "none", 0, False, wall or Wall())
        self.latency = latency
        self.written: list[tuple[float, str, str]] = []  #: when, by the wall, and what
        self.meddles: Callable[[], None] | None = None  #: once, `later` s after the first write
        self.later = 60.0
        self.refuses: Callable[[str, str, bytes], bool] = lambda method, url, body: False

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if self.meddles and self.written and self.clock() > self.written[0][0] + self.later:
            self.meddles()
            self.meddles = None
        if method != "GET":
            self.written.append((self.clock(), url.removeprefix("https://x/"), str(body)))
        if self.refuses(method, url, body or b""):
            return Reply(status=400, body=b'{"message": "no"}'), {}
        await anyio.sleep(self.latency)
        return await super().send(method, url, headers, body)


def hourly(seconds: float) -> Window:
    """Open so long every hour."""
    return Window(timezone="UTC", cron="0 * * * *", seconds=seconds)


def night(
    path: Path,
    core: Slow,
    job: Job | None = None,
    when: Schedule | None = None,
    ways: Mapping[str, Any] | None = None,
    stop_at: float | None = None,
    limits: Limits | None = None,
    failed: bool = False,
) -> Summary:
    """Plan, if there is a job, and carry out what is pending, as a schedule says; the books after
    it; with `failed` what failed as well. `stop_at`: seconds until a person stops it."""

    @asynccontextmanager
    async def connect(_: int) -> AsyncIterator[Core]:
        yield core

    async def stop(lanes: Lanes) -> None:
        await anyio.sleep(stop_at or 0.0)
        lanes.stop()

    async def called() -> Summary:
        own = Ways(wall=core.clock, **(ways or {}))
        with Journal.create(path) if job else Journal.open(path) as journal:
            mind_threads(journal)
            if job:
                stage(journal, job, TENANTS, sandbox=False, now=datetime.now(UTC))
            async with Lanes.opened(
                *(journal, journal.tenants(), TENANTS, limits or Limits()),
                connect=connect,
                wall=core.clock,
            ) as lanes:
                if job:
                    await lanes.survey()
                await lanes.reopen(failed=failed)
                by = when or schedule(journal)
                meta = {"waves": kept(assign(journal, TENANTS, by))}
                meta |= {"planned": str(journal.count())} if job else {}
                await journal.commit(*journal.noted(**meta))
                async with anyio.create_task_group() as tasks:
                    if stop_at is not None:
                        tasks.start_soon(stop, lanes)
                    if await opened(journal, lanes, by, own):
                        await carry_out(
                            *(journal, lanes, by, own), folder=path.parent, read_first=job is None
                        )
                    tasks.cancel_scope.cancel()
            return summary(journal)

    return anyio.run(called, backend_options={"loop_factory": VirtualTimeLoop})


def events(path: Path) -> list[Event]:
    with Journal.read(path) as journal:
        return list(journal.events())


def kinds(path: Path) -> str:
    """What kinds of things happened, in their order."""
    return " ".join(event.kind for event in events(path))


def halves(journal: Path) -> set[str]:
    """What tenants have an item that switches one thing off and another on."""
    with Journal.read(journal) as read:
        rows = {row.id: row.name for row in read.tenants()}
        items = read.items(list(State), 999)
        return {rows[item.tenant] for item in items if len(item.steps) > 1}


# ---- windows


def test_it_waits_for_its_window_and_ends_within_it(tmp_path: Path) -> None:
    core = Slow(sandbox := acting(), tmp_path)
    edits = [
        {"tenant": "t0", "hook": {"name": "h"}, "set": {"enabled": False}},
        {"tenant": "t1", "action": {"name": "a"}, "set": {"bound": False}},
    ]
    found = night(tmp_path / "j", core, Job.of("job", edits), Schedule(window=hourly(600)))
    assert found.books.applied == 2
    assert on(sandbox) == ""
    assert bound(sandbox, "t1") == "b c"
    assert [FIRST <= at - EPOCH < FIRST + 600 for at, *_ in core.written] == [True, True]
    assert kinds(tmp_path / "j") == "apply window end"


@pytest.mark.parametrize("ways", [{"wait": False}, {}], ids=["no wait", "over"])
def test_outside_of_its_window_nothing_is_sent(tmp_path: Path, ways: dict[str, Any]) -> None:
    window = (
        hourly(600)
        if ways
        else Window(timezone="UTC", start="2020-01-01T00:00", end="2020-01-02T00:00")
    )
    core, job = (
        Slow(one_on(), tmp_path),
        Job.of("job", [{"tenant": "t0", "hook": "A", "set": {"enabled": False}}]),
    )
    found = night(tmp_path / "j", core, job, Schedule(window=window), ways)
    assert found.books.pending == 1
    assert found.exit_status == 3
    assert core.written == []
    assert core.clock.now - EPOCH < 60


def begun_twice(core: Slow) -> list[tuple[float, str, str]]:
    """Writes that went out more than once."""
    seen = [what for _, *what in core.written]
    return [each for each in core.written if seen.count(list(each[1:])) > 1]


def inside(core: Slow, seconds: float) -> bool:
    """Whether all writes were sent in an hourly window, by the wall."""
    return all(at % 3600 < seconds for at, *_ in core.written)


def made(chance: random.Random, of: str, folder: Path) -> tuple[Callable[[], Sandbox], Job]:
    """A world, and a job for it."""
    if of == "actions":
        return acting, random_action_job(chance)
    return two_tenants, random_job(two_tenants(), chance, edits=10)


@pytest.mark.parametrize("of", ["hooks", "actions"])
@pytest.mark.parametrize("seed", range(12))
def test_windows_make_no_difference_in_the_end(tmp_path: Path, of: str, seed: int) -> None:
    chance = random.Random(f"{of} {seed}")
    world, job = made(chance, of, tmp_path)
    undisturbed = world()
    calm_core = Slow(undisturbed, tmp_path)
    books = run(tmp_path / "calm", calm_core, plan=job)
    sandbox = world()
    jumps = [(FIRST + chance.uniform(0, 20), chance.choice([-5.0, 9.0, 1200.0]))]
    wall = Wall(*(jumps if chance.random() < 0.5 else []))
    core = Slow(sandbox, tmp_path, latency=chance.choice([0.01, 0.4, 2.5]), wall=wall)
    seconds = chance.choice([30.0, 60.0, 300.0])
    limits = Limits(max_rate=chance.choice([None, 1.0, 3.0]))
    when = Schedule(window=hourly(seconds))
    found = night(tmp_path / "j", core, job, when, limits=limits)
    for _ in range(40):
        if found.exit_status != 3:
            break
        core.clock.pass_by(seconds)
        found = night(tmp_path / "j", core, None, when, limits=limits)
    assert found.exit_status != 3
    assert whole_state_of(sandbox) == whole_state_of(undisturbed)
    assert found.books.applied == books[State.APPLIED]
    assert inside(core, seconds) or halves(tmp_path / "j")


NAMED: list[dict[str, Any]] = [
    {"tenant": "t0", "action": {"name": name}, "set": {"name": f"{name}2"}} for name in "abcde"
]


def test_what_would_not_be_done_by_the_end_is_not_begun(tmp_path: Path) -> None:
    core, when = Slow(acting(), tmp_path, latency=4.0), Schedule(window=hourly(18))
    limits = Limits(max_rate=0.2)
    found = night(tmp_path / "j", core, Job.of("job", NAMED), when, limits=limits)
    assert 0 < len(core.written) < 5
    assert len(core.written) == found.books.applied
    assert all(at % 3600 + core.latency < 18 for at, *_ in core.written)


def test_where_a_clock_is_set_past_the_end_nothing_more_is_sent(tmp_path: Path) -> None:
    sandbox = acting()
    core = Slow(sandbox, tmp_path, wall=Wall((FIRST + 8, 1200.0)))
    code = {"tenant": "t0", "action": {"name": "a"}, "set": {"code": "exports.y = 2;"}}
    edits = [code | {"deploy": True}]
    core.latency = 3.0
    found = night(tmp_path / "j", core, Job.of("job", edits), Schedule(window=hourly(60)))
    assert found.exit_status == 3
    assert len(core.written) == 1
    assert inside(core, 60)


# ---- waves


OFF: list[dict[str, Any]] = [
    {"tenant": name, "hook": {"name": "h"}, "set": {"enabled": False}} for name in NAMES
]
UNBOUND: list[dict[str, Any]] = [
    {"tenant": name, "action": {"name": "a"}, "set": {"bound": False}} for name in NAMES
]
both = pytest.mark.parametrize("edits", [OFF, UNBOUND], ids=["hooks", "actions"])


def waves(**first: Any) -> Schedule:
    return Schedule(waves=(Wave(count=1, **first), Wave(share=1.0)))


@both
def test_waves_go_one_after_another_with_a_soak_between(tmp_path: Path, edits: Any) -> None:
    core, path = Slow(acting(), tmp_path), tmp_path / "j"
    found = night(path, core, Job.of("job", edits), waves(soak=600.0, probe="read-back"))
    assert found.books.applied == 2
    assert found.exit_status == 0
    (first, *_), (second, *_) = core.written
    assert second - first > 600
    assert kinds(path) == "apply wave soak probe wave-done wave wave-done end"


@both
def test_what_changed_again_in_a_soak_makes_a_wave_bad(tmp_path: Path, edits: Any) -> None:
    core, path = Slow(sandbox := acting(), tmp_path), tmp_path / "j"

    def meddle() -> None:
        for name in NAMES:
            sandbox.change(name, "H", enabled=True)
            sandbox.set_bindings(name, PRE, "abc")

    core.meddles = meddle
    when = waves(soak=600.0, probe="read-back")
    found = night(path, core, Job.of("job", edits), when)
    assert found.books.pending == 1
    assert found.exit_status == 3
    assert "wave 1: it went badly: 1 thing not as written any more: t0:" in found.halted
    assert found.next.endswith("--continue")
    found = night(path, core, None, when, {"go_on": True})
    assert found.exit_status == 0
    assert not found.halted
    assert found.books.applied == 2


def test_lines_of_a_probe_make_one_of_what_halted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said(*_: object, **more: object) -> Verdict:
        return Verdict(Answer.BAD, "the probe ended with status 9\nlogins\x1b fail")

    monkeypatch.setattr("bulkhooks.night.probe", said)
    core = Slow(acting(), tmp_path)
    found = night(tmp_path / "j", core, Job.of("job", OFF), waves(probe="./smoke.sh"))
    assert found.halted == "wave 1: it went badly: the probe ended with status 9; logins␛ fail"


def test_a_read_back_sees_what_was_written_just_now(tmp_path: Path) -> None:
    core, path = Slow(sandbox := acting(), tmp_path), tmp_path / "j"
    core.meddles, core.later = partial(sandbox.change, "t0", "H", enabled=True), 0.0
    found = night(path, core, Job.of("job", OFF), waves(probe="read-back"))
    assert "1 thing not as written any more: t0:" in found.halted
    assert found.books.pending == 1


@both
def test_a_stop_in_a_soak_has_the_wave_looked_at_again_but_not_written(
    tmp_path: Path, edits: Any
) -> None:
    core, path = Slow(acting(), tmp_path), tmp_path / "j"
    when = waves(soak=600.0, probe="read-back")
    found = night(path, core, Job.of("job", edits), when, stop_at=300)
    assert found.books.pending == 1
    assert found.exit_status == 3
    found = night(path, core, None, when)
    assert found.exit_status == 0
    assert len(core.written) == 2
    assert not begun_twice(core)
    again = "wave soak probe wave-done wave wave-done end"
    assert kinds(path) == f"apply wave soak stop end apply {again}"


@both
def test_who_goes_on_from_a_soak_looks_at_the_tenants_that_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edits: Any
) -> None:
    core, path = Slow(sandbox := acting(), tmp_path), tmp_path / "j"
    job = Job.of("job", edits, schedule=waves(soak=600.0, probe="read-back"))
    night(path, core, job, stop_at=300)
    sandbox.change("t0", "H", enabled=True)
    sandbox.set_bindings("t0", PRE, "abc")

    @asynccontextmanager
    async def connect(_: int) -> AsyncIterator[Core]:
        yield core

    @asynccontextmanager
    async def lanes(journal: Journal, *rest: Any, **more: Any) -> AsyncIterator[Lanes]:
        mind_threads(journal)
        async with Lanes.opened(journal, *rest, **more, connect=connect) as opened:
            yield opened

    monkeypatch.setattr(working, "Lanes", SimpleNamespace(opened=lanes))

    async def again(**ways: Any) -> Summary:
        return await apply_journal(path, TENANTS, ways=Ways(wall=core.clock, **ways))

    def applied(**ways: Any) -> Summary:
        options = {"loop_factory": VirtualTimeLoop}
        return anyio.run(partial(again, **ways), backend_options=options)

    found = applied()
    assert "1 thing not as written any more: t0:" in found.halted
    assert found.books.pending == 1
    assert applied() == found  # nobody has looked at it
    assert applied(go_on=True).exit_status == 0


def test_a_last_wave_that_is_bad_is_no_good_end(tmp_path: Path) -> None:
    core, path = Slow(sandbox := acting(), tmp_path), tmp_path / "j"
    core.meddles = partial(sandbox.change, "t0", "H", enabled=True)
    when = Schedule(waves=(Wave(share=1.0, soak=600.0, probe="read-back"),))
    found = night(path, core, Job.of("job", OFF), when)
    assert (found.books.applied, found.exit_status) == (2, 3)
    assert found.next.endswith("--continue")
    assert night(path, core, None, when, {"go_on": True}).exit_status == 0


def test_a_last_wave_that_is_not_looked_at_yet_is_not_the_end(tmp_path: Path) -> None:
    core, path = Slow(acting(), tmp_path), tmp_path / "j"
    when = Schedule(waves=(Wave(share=1.0, soak=60.0),))
    found = night(path, core, Job.of("job", OFF), when, stop_at=30)
    assert (found.books.pending, found.exit_status, found.wave) == (0, 3, "1 of 1")
    assert "bulkhooks apply" in found.next
    found = night(path, core, None, when)
    assert (found.exit_status, found.wave, found.next) == (0, "", "")


def test_calls_that_do_not_wait_get_on_when_a_soak_is_over(tmp_path: Path) -> None:
    core, path = Slow(acting(), tmp_path), tmp_path / "j"
    when, ways = waves(soak=600.0), {"wait": False}
    assert night(path, core, Job.of("job", OFF), when, ways).exit_status == 3
    core.clock.pass_by(300)
    assert night(path, core, None, when, ways).books.pending == 1
    core.clock.pass_by(301)
    assert night(path, core, None, when, ways).exit_status == 0
    assert len(core.written) == 2


@both
def test_a_wave_that_its_window_cuts_goes_on_in_the_next(tmp_path: Path, edits: Any) -> None:
    core, path = Slow(acting(), tmp_path), tmp_path / "j"
    when = Schedule(window=hourly(300), waves=(Wave(count=1, soak=600.0), Wave(share=1.0)))
    found = night(path, core, Job.of("job", edits), when)
    assert found.books.pending == 1
    assert found.exit_status == 3
    found = night(path, core, None, when)
    assert found.exit_status == 0
    assert inside(core, 300)
    assert len(core.written) == 2


def test_a_wave_that_is_not_all_written_is_not_done(tmp_path: Path) -> None:
    core, path = Slow(acting(), tmp_path, latency=4.0), tmp_path / "j"
    when = Schedule(window=hourly(18), waves=(Wave(share=1.0, soak=60.0),))
    limits = Limits(max_rate=0.2)
    night(path, core, Job.of("job", NAMED), when, limits=limits)
    assert kinds(path) == "apply window wave closed end"
    while night(path, core, None, when, limits=limits).exit_status == 3:
        core.clock.pass_by(18)
    assert kinds(path).endswith("wave soak wave-done end")
    assert len(core.written) == 5


# ---- halting


@both
def test_a_rule_halts_it_all_and_it_goes_on_only_when_told(tmp_path: Path, edits: Any) -> None:
    core, path = Slow(acting(), tmp_path), tmp_path / "j"
    core.refuses = lambda method, url, body: method == "PATCH" and "/t0/" in url
    when = Schedule(waves=(Wave(count=1), Wave(share=1.0)), halt=(Rule(of="failures", count=1),))
    found = night(path, core, Job.of("job", edits), when)
    assert (found.books.failed, found.books.pending) == (1, 1)
    assert found.halted == "1 item failed"
    assert "halt" in kinds(path)
    found = night(path, core, None, when, {"go_on": True})
    assert (found.books.failed, found.books.applied, found.halted) == (1, 1, "")


@both
def test_who_goes_on_from_a_crash_finds_what_halted_it_with_the_item_that_did(
    tmp_path: Path, edits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, path, write = Slow(acting(), tmp_path), tmp_path / "j", Journal._execute
    core.refuses = lambda method, url, body: method == "PATCH"
    seen: set[tuple[int, int]] = set()

    def writes(journal: Journal, batch: Iterable[Write]) -> None:
        write(journal, batch)
        failed = "SELECT count(*) FROM items WHERE state = 'failed' AND steps > 0"
        halted = "SELECT count(*) FROM meta WHERE key = 'halted' AND value <> ''"
        seen.add(journal._writer.execute(f"SELECT ({failed}), ({halted})").fetchone())

    monkeypatch.setattr(Journal, "_execute", writes)
    when = Schedule(waves=(Wave(count=1), Wave(share=1.0)), halt=(Rule(of="failures", count=1),))
    night(path, core, Job.of("job", edits), when)
    assert seen == {(0, 0), (1, 1)}


@pytest.mark.parametrize("of", ["hook", "action"])
def test_what_failed_before_a_stop_counts_behind_it(tmp_path: Path, of: str) -> None:
    core, path = Slow(sandbox := acting(), tmp_path), tmp_path / "j"
    for name in "abcde":
        sandbox.add_hook("t0", name=name, triggerId=PRE, script=name)
    core.refuses = lambda method, url, body: method == "PATCH"
    edits = [{"tenant": "t0", of: {"name": name}, "set": {"name": f"{name}2"}} for name in "abcde"]
    when = Schedule(halt=(Rule(of="failures", count=3),))
    slowly = Limits(concurrency=1, max_rate=1.0)
    found = night(path, core, Job.of("job", edits), when, stop_at=2.5, limits=slowly)
    assert (found.books.failed, found.halted) == (2, "")
    found = night(path, core, None, when, limits=slowly)
    assert (found.books.failed, found.halted) == (3, "3 items failed")
    found = night(path, core, None, when, {"go_on": True}, limits=slowly)
    assert (found.books.failed, found.halted) == (5, "")


@both
def test_each_wave_and_who_takes_what_failed_again_count_anew(tmp_path: Path, edits: Any) -> None:
    core, path = Slow(acting(), tmp_path), tmp_path / "j"
    core.refuses = lambda method, url, body: method == "PATCH"
    when = Schedule(waves=(Wave(count=1), Wave(share=1.0)), halt=(Rule(of="failures", count=2),))
    found = night(path, core, Job.of("job", edits), when)
    assert (found.books.failed, found.halted) == (2, "")
    core.refuses = lambda method, url, body: method == "PATCH" and "/t0/" in url
    found = night(path, core, None, Schedule(halt=when.halt), failed=True)
    assert (found.books.failed, found.halted) == (1, "")


# ---- order


def test_what_comes_behind_an_item_that_has_no_room_does_not_go_ahead_of_it(
    tmp_path: Path,
) -> None:
    core = Slow(sandbox := acting(), tmp_path)
    code = {"tenant": "t0", "action": {"name": "b"}, "set": {"code": "exports.y = 2;"}}
    edits: list[dict[str, Any]] = [
        code | {"deploy": True},
        {"tenant": "t0", "action": {"name": "b"}, "set": {"name": "renamed"}},
        *(
            {"tenant": "t0", "action": {"name": name}, "set": {"name": f"{name}2"}}
            for name in "acde"
        ),
    ]
    found = night(tmp_path / "j", core, Job.of("job", edits), Schedule(window=hourly(8)))
    assert found.exit_status == 3
    assert "renamed" not in actions_of(sandbox)
