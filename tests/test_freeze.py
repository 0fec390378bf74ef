"""A freeze: what a job writes in a window is put back at its end, whatever happens in between."""

from __future__ import annotations

import random
import re
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from platformdirs import user_state_path

from bulkhooks import (
    Job,
    Limits,
    Refused,
    Summary,
    Tenant,
    apply_journal,
    plan_job,
    read_books,
    run_job,
)
from bulkhooks import work as working
from bulkhooks.errors import JournalError, NotPutBack
from bulkhooks.freeze import Do, Stand, back_at, measured, next_step
from bulkhooks.freezing import staged_putback
from bulkhooks.items import Reply
from bulkhooks.journal import Journal, TenantRow
from bulkhooks.lanes import Lanes
from bulkhooks.locks import held
from bulkhooks.night import Ways
from bulkhooks.run import undo_journal
from bulkhooks.sandbox import Sandbox
from bulkhooks.schedule import Schedule, Span, Wave, Window
from bulkhooks.work import Watch
from engine import (
    EPOCH,
    PRE,
    TENANTS,
    Clock,
    Core,
    Killed,
    acting,
    bound,
    mind_threads,
    on,
    one_on,
    whole_state_of,
)
from virtual import VirtualTimeLoop

START, END = EPOCH + 600, EPOCH + 4200
SPAN = Span(START, END)


def at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()


def freeze_of(*edits: Mapping[str, Any], window: Window | None = None) -> Job:
    window = window or Window(timezone="UTC", start=at(START), end=at(END))
    wanted = [{"tenant": "t0", **edit} for edit in edits]
    return Job.of("freeze", wanted, schedule=Schedule(window=window, freeze=True))


HOOKS_OFF = freeze_of({"hooks": {"enabled": True}, "set": {"enabled": False}})
SWAP = freeze_of({"hook": "B", "set": {"enabled": True}})
UNBOUND = freeze_of({"actions": {"bound": True}, "set": {"bound": False}})
PLACED = freeze_of({"action": {"name": "d"}, "set": {"bound": True, "position": "first"}})


class Night(Core):
    """A folder with the journals of a freeze, over the sandbox's core, in virtual time: what the
    disk had when the process died takes the folder's place."""

    clock: Clock

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.folder, self.saved = folder / "now", folder / "died"
        self.folder.mkdir()
        super().__init__(sandbox, self.folder / "j", self.saved, 0, False, Clock())
        self.journal = self.folder / "freeze.journal"
        self.putback = self.folder / "freeze.putback.journal"
        #: What is done when a time has come, by those who are not us.
        self.others: list[tuple[float, Callable[[], object]]] = []
        self.refuses: Callable[[str, str, bytes], bool] = lambda method, path, body: False
        self.writes_at: list[float] = []
        self.latency = 0.01  #: seconds

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        await anyio.sleep(self.latency)
        self.let_others()
        if method != "GET":
            self.writes_at.append(self.clock())
        if self.refuses(method, url, body or b""):
            return Reply(status=400, body=b'{"message": "no"}'), {}
        return await super().send(method, url, headers, body)

    def let_others(self) -> None:
        """Do what others do until now."""
        while self.others and self.others[0][0] <= self.clock():
            self.others.pop(0)[1]()

    def die(self) -> None:
        shutil.copytree(self.folder, self.saved)
        raise Killed

    def call(self, work: Callable[[Ways], Any], **ways: Any) -> Any:
        """What a command does, in a loop of its own whose time is the night's."""

        @asynccontextmanager
        async def connect(_: int) -> AsyncIterator[Core]:
            yield self

        @asynccontextmanager
        async def opened(
            journal: Journal, rows: list[TenantRow], *rest: Any, **more: Any
        ) -> AsyncIterator[Lanes]:
            mind_threads(journal)
            async with Lanes.opened(journal, rows, *rest, **more, connect=connect) as lanes:
                yield lanes

        async def called() -> Any:
            self.clock()
            return await work(Ways(wall=self.clock, **ways))

        class Opened:
            pass

        Opened.opened = opened  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(working, "Lanes", Opened)
            return anyio.run(called, backend_options={"loop_factory": VirtualTimeLoop})

    def run(self, job: Job, watch: Watch | None = None, **more: Any) -> Summary:
        """`run JOB`; `more` is said to it, or of the ways that it has."""
        known = ("fresh", "confirm", "tell", "tenants_file")
        said = {key: more.pop(key) for key in known if key in more}
        running = partial(run_job, job, TENANTS, self.journal, watch=watch, **said)
        return self.call(lambda ways: running(ways=ways), **more)  # type: ignore[no-any-return]

    def apply(self, journal: Path | None = None, **what: Any) -> Summary:
        """`apply JOURNAL`."""
        applying = partial(apply_journal, journal or self.journal, TENANTS, **what)
        return self.call(lambda ways: applying(ways=ways))  # type: ignore[no-any-return]

    def killed(self, job: Job, at: int, *, after: bool) -> bool:
        """`run JOB`, killed at a request; whether it came to that."""
        self.at, self.after, self.sent = at, after, 0
        try:
            self.run(job)
        except BaseExceptionGroup as group:
            if not group.subgroup(Killed):
                raise
            shutil.rmtree(self.folder)
            self.saved.rename(self.folder)
            return True
        finally:
            self.at = 0
        return False


def night(folder: Path, sandbox: Sandbox | None = None) -> Night:
    folder.mkdir(exist_ok=True)
    return Night(sandbox or one_on(), folder)


# ---- what is next


FREE = Stand(span=Span(0.0, 1000.0), takes=100.0)  # it is put back from 840 on


@pytest.mark.parametrize(
    ("how", "now", "do"),
    [
        ({"pending": True}, -1.0, Do.WAIT),
        ({"pending": True}, 0.0, Do.APPLY),
        ({"pending": True, "written": True}, 839.9, Do.APPLY),
        ({"written": True}, 0.0, Do.HOLD),
        ({"written": True}, 839.9, Do.HOLD),
        ({"written": True}, 840.0, Do.PUT_BACK),
        ({"written": True}, 5000.0, Do.PUT_BACK),
        ({"pending": True, "written": True}, 840.0, Do.PUT_BACK),
        ({"pending": True}, 840.0, Do.PUT_BACK),
        ({}, 500.0, Do.NOTHING),
        ({"pending": True, "written": True, "halted": True}, 1.0, Do.PUT_BACK),
        ({"written": True, "ended": True}, 1.0, Do.PUT_BACK),
        ({"written": True, "ended": True, "back": True}, 1.0, Do.NOTHING),
        ({"written": True, "ended": True, "back": True}, 5000.0, Do.NOTHING),
    ],
)
def test_what_is_next(how: dict[str, bool], now: float, do: Do) -> None:
    fields = {name: getattr(FREE, name) for name in FREE.__struct_fields__} | how
    assert next_step(Stand(**fields), now) is do


@pytest.mark.parametrize(
    ("takes", "when"), [(0.0, 990.0), (100.0, 840.0), (300.0, 540.0), (327.0, 500.0), (9e9, 500.0)]
)
def test_putting_back_begins_early_enough_and_not_before_half_of_the_window(
    takes: float, when: float
) -> None:
    assert back_at(Stand(span=FREE.span, takes=takes)) == when


# ---- undisturbed


@pytest.mark.parametrize(
    ("job", "there"), [(HOOKS_OFF, one_on), (SWAP, one_on), (UNBOUND, acting), (PLACED, acting)]
)
def test_it_is_applied_when_the_window_opens_and_put_back_by_its_end(
    tmp_path: Path, job: Job, there: Callable[[], Sandbox]
) -> None:
    here = night(tmp_path, there())
    was, seen = whole_state_of(here.sandbox), []
    here.others = [(END - 100, lambda: seen.append(whole_state_of(here.sandbox)))]
    books = here.run(job)
    assert books.exit_status == 0
    assert books.freeze
    assert books.freeze.wholly_back
    assert re.fullmatch(r"put back on Tue 2023-11-14 [\d:]+ UTC", books.freeze.told)
    with Journal.read(here.journal) as kept:
        windows = [event.what for event in kept.events() if event.kind == "window"]
    assert windows == [{"start": START, "end": END}]
    assert seen[0] != was
    assert whole_state_of(here.sandbox) == was
    assert min(here.writes_at) >= START
    assert END - 100 < max(here.writes_at) < END


async def nobody_answers(question: str) -> bool | None:
    await anyio.sleep_forever()
    return None


@pytest.mark.parametrize(
    "wave", [Wave(count=1, soak=1e4), Wave(count=1, probe="sh -c 'exit 2'")], ids=["soak", "ask"]
)
@pytest.mark.parametrize("job", [HOOKS_OFF, UNBOUND], ids=["hooks", "actions"])
def test_what_a_wave_waits_for_holds_up_no_put_back(tmp_path: Path, job: Job, wave: Wave) -> None:
    here = night(tmp_path, acting())
    was = whole_state_of(here.sandbox)
    schedule = msgspec.structs.replace(job.schedule, waves=(wave,))
    books = here.run(replace(job, schedule=schedule), ask=nobody_answers)
    assert books.exit_status == 0
    assert whole_state_of(here.sandbox) == was
    assert min(here.writes_at) >= START
    assert max(here.writes_at) < END


# ---- killed


def planned(path: Path) -> bool:
    with Journal.open(path) as kept:
        return bool(kept.meta("planned"))


@pytest.mark.parametrize(
    ("job", "there"), [(HOOKS_OFF, one_on), (SWAP, one_on), (UNBOUND, acting), (PLACED, acting)]
)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the end"])
def test_killed_at_any_request_and_run_again_all_is_as_it_was(
    tmp_path: Path, job: Job, there: Callable[[], Sandbox], late: bool
) -> None:
    asked, place = True, 0
    while asked:
        place += 3 if late or there is acting else 1
        here = night(tmp_path / str(place), there())
        was = whole_state_of(here.sandbox)
        asked = here.killed(job, (place + 1) // 2, after=place % 2 == 0)
        if late:
            here.clock.pass_by(max(0.0, END - here.clock.now))
        if late and not (here.journal.exists() and planned(here.journal)):
            with pytest.raises(Refused, match="its window was over at "):
                here.run(job)
            assert not here.writes_at
            continue
        books = here.run(job)
        assert whole_state_of(here.sandbox) == was
        assert not books.freeze or books.freeze.wholly_back
        assert late or books.exit_status == 0
        assert not late or books.exit_status in (0, 1)
    assert place > 10


def test_killed_again_and_again_all_is_as_it_was(tmp_path: Path) -> None:
    chance = random.Random(1)
    for number in range(12):
        job, there = chance.choice([(HOOKS_OFF, one_on), (SWAP, one_on), (UNBOUND, acting)])
        here = night(tmp_path / str(number), there())
        was = whole_state_of(here.sandbox)
        for _ in range(3):
            here.killed(job, chance.randint(1, 12), after=chance.random() < 0.5)
            here.clock.pass_by(chance.choice([0.0, 10.0, 1000.0]))
        assert here.run(job).exit_status in (0, 1)
        assert whole_state_of(here.sandbox) == was


# ---- what was not ours


def test_what_was_off_before_stays_off(tmp_path: Path) -> None:
    here = night(tmp_path)
    books = here.run(freeze_of({"hooks": {"triggerId": PRE}, "set": {"enabled": False}}))
    assert (books.books.applied, books.books.unchanged) == (1, 2)
    assert on(here.sandbox) == "A"


def test_where_nothing_is_to_be_done_nothing_is_waited_for(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.sandbox.change("t0", "A", enabled=False)
    books = here.run(freeze_of({"hook": "A", "set": {"enabled": False}}))
    assert books.exit_status == 0
    assert here.clock.now < END - 1000
    assert not here.putback.exists()


def test_what_others_changed_meanwhile_is_left_and_told(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.others = [(START + 100, lambda: here.sandbox.change("t0", "C", enabled=True))]
    books = here.run(HOOKS_OFF)
    assert books.exit_status == 5
    assert on(here.sandbox) == "C"
    assert books.freeze
    assert books.freeze.told.startswith("1 of 1 hook is NOT put back: t0 a; what others changed")
    assert "c of its trigger is enabled" in books.freeze.not_put_back[0].cause
    assert books.next == ""
    assert here.run(HOOKS_OFF).exit_status == 5  # and nothing more is tried


@pytest.mark.parametrize("bound_on", [("H", "x a b c"), ("gone", "x a b")])
def test_an_action_finds_its_place_again_among_what_others_did_to_the_list(
    tmp_path: Path, bound_on: tuple[str, str]
) -> None:
    job = freeze_of({"action": {"name": "b"}, "set": {"bound": False}})
    here = night(tmp_path, acting())
    what, left = bound_on

    def others() -> None:
        here.sandbox.add_action("t0", name="x", triggerId=PRE, code="x", deployed=True, bound=True)
        order = ["x", "a", "c"] if what == "H" else ["x", "a"]
        here.sandbox.set_bindings("t0", PRE, order)

    here.others = [(START + 100, others)]
    books = here.run(job)
    assert bound(here.sandbox) == left
    assert books.exit_status == 0
    assert books.freeze
    told = "others changed the list of pre-user-registration; it is back beside its old neighbours"
    assert books.freeze.places == (f"t0: b: {told}",)
    with Journal.open(here.putback) as kept:
        assert [event.kind for event in kept.events() if event.kind == "place"] == ["place"]


# ---- what cannot be put back


def enables(method: str, url: str, body: bytes) -> bool:
    return method == "PATCH" and b"true" in body and url.endswith("/A")


def test_what_fails_is_tried_again_for_a_while(tmp_path: Path) -> None:
    here, times = night(tmp_path), iter([True, True])
    here.refuses = lambda *request: enables(*request) and next(times, False)
    books = here.run(HOOKS_OFF)
    assert books.exit_status == 0
    assert on(here.sandbox) == "A"


def test_what_cannot_be_put_back_is_the_first_that_is_told(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.refuses, said = enables, list[str]()
    books = here.run(HOOKS_OFF, tell=said.append)
    assert books.exit_status == 5
    assert set(said) == {"1 of 1 hook is NOT put back: t0 a: 400 no"}
    assert books.freeze
    assert books.freeze.told == "1 of 1 hook is NOT put back: t0 a"
    assert books.next == f"bulkhooks apply {here.putback} --failed"
    assert here.clock.now > END + 200  # it tried for long
    assert read_books(here.journal).freeze == books.freeze
    here.refuses = lambda *request: False
    books = here.apply(here.putback, failed=True)
    assert books.exit_status == 0
    assert books.freeze
    assert books.freeze.told.startswith("put back on ")
    assert on(here.sandbox) == "A"
    assert here.apply().exit_status == 0


def test_the_first_journal_takes_up_what_failed_too(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.refuses = enables
    here.run(HOOKS_OFF)
    here.refuses = lambda *request: False
    assert here.apply().exit_status == 0
    assert on(here.sandbox) == "A"


def test_one_that_died_when_all_was_back_tells_when_that_was(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF)
    with closing(sqlite3.connect(here.putback)) as db, db:
        db.execute("DELETE FROM events WHERE kind = 'putback'")
    found = read_books(here.journal).freeze
    assert found
    assert found.told == "put back on Tue 2023-11-14 23:23:09 UTC"


def test_a_tenant_that_fails_does_not_hold_up_others(tmp_path: Path) -> None:
    here = night(tmp_path, Sandbox(("t0", "t1"), hooks=8))
    was = whole_state_of(here.sandbox)
    off = {"tenants": ["t0", "t1"], "hooks": {"enabled": True}, "set": {"enabled": False}}
    schedule = Schedule(window=Window(timezone="UTC", start=at(START), end=at(END)), freeze=True)
    job, ended = Job.of("freeze", [off], schedule=schedule), []
    dead = START + 10

    def refuse(method: str, url: str, body: bytes) -> bool:
        if method == "PATCH" and "/t1/" in url and here.clock() > dead:
            ended.append(here.clock())
        return "/t0/" in url and here.clock() > dead

    here.refuses = refuse
    books = here.run(job)
    assert books.exit_status == 5
    assert max(ended) < END
    assert whole_state_of(here.sandbox)[0][1] == was[0][1]
    assert books.freeze
    assert {each.tenant for each in books.freeze.not_put_back} == {"t0"}
    names = {hook["name"] for hook in here.sandbox.hooks_of("t0")}
    assert {each.label for each in books.freeze.not_put_back} <= names


# ---- stopped, and told to


async def _stop_after(lanes: Lanes, seconds: float) -> None:
    await anyio.sleep(seconds)
    lanes.stop()


def stops_in_the_window(lanes: Lanes) -> Any:
    return _stop_after(lanes, 700)


@pytest.mark.parametrize(
    ("job", "there", "held"),
    [
        (HOOKS_OFF, one_on, "1 hook is still off"),
        (UNBOUND, acting, "3 actions are still unbound"),
        (SWAP, one_on, "1 hook is still on, 1 hook is still off"),
    ],
)
def test_a_stop_tells_what_is_off_and_until_when(
    tmp_path: Path, job: Job, there: Callable[[], Sandbox], held: str
) -> None:
    here = night(tmp_path, there())
    was = whole_state_of(here.sandbox)
    books = here.run(job, stops_in_the_window)
    assert books.exit_status == 5
    assert books.freeze
    assert books.freeze.told == (
        f"NOT put back yet: {held}, until Tue 2023-11-14 23:23:20 UTC; "
        f"`bulkhooks apply {here.journal}` puts it back by then, or at once if that is past, "
        f"`bulkhooks undo {here.journal} --yes` puts it back now"
    )
    assert books.next == f"bulkhooks apply {here.journal}"
    assert whole_state_of(here.sandbox) != was
    with pytest.raises(NotPutBack, match="NOT put back yet"):
        here.run(job, fresh=True)
    with pytest.raises(NotPutBack, match=r"NOT put back yet(.|\n)*was made for another job"):
        here.run(freeze_of({"hook": "C", "set": {"enabled": True}}))
    longer = Window(timezone="UTC", start=at(START), end=at(END + 60))
    with pytest.raises(NotPutBack, match="NOT put back yet"):
        here.run(replace(job, schedule=Schedule(window=longer, freeze=True)))
    assert here.apply().exit_status == 0
    assert whole_state_of(here.sandbox) == was


def test_commands_name_a_tenants_file_that_they_do_not_take_by_themselves(tmp_path: Path) -> None:
    here, elsewhere = night(tmp_path), tmp_path / "our tenants.yaml"
    books = here.run(HOOKS_OFF, stops_in_the_window, tenants_file=elsewhere)
    assert books.freeze
    for command in (f"apply {here.journal}", f"undo {here.journal} --yes"):
        assert f"`bulkhooks {command} --tenants '{elsewhere}'` puts it back" in books.freeze.told
    assert books.next == f"bulkhooks apply {here.journal} --tenants '{elsewhere}'"


def test_a_stop_while_it_is_put_back_tells_what_is_not(tmp_path: Path) -> None:
    here = night(tmp_path, Sandbox(("t0", "t1"), hooks=8))
    was = whole_state_of(here.sandbox)

    seen: list[Lanes] = []

    async def watch(lanes: Lanes) -> None:
        seen.append(lanes)

    def stops(*request: object) -> bool:
        if len(here.writes_at) > every:
            seen[-1].stop()
        return False

    off = {"tenants": ["t0", "t1"], "hooks": {"enabled": True}, "set": {"enabled": False}}
    job = Job.of("freeze", [off], schedule=HOOKS_OFF.schedule, limits=Limits(concurrency=1))
    every = sum(hook["enabled"] for name in ("t0", "t1") for hook in here.sandbox.hooks_of(name))
    here.refuses = stops
    books = here.run(job, watch)
    here.refuses = lambda *request: False
    assert books.exit_status == 5
    assert books.freeze
    left = len(books.freeze.not_put_back)
    assert 0 < left < every
    assert books.freeze.told.startswith(f"{left} of {every} hooks are NOT put back: t")
    assert books.next == f"bulkhooks apply {here.putback}"
    assert here.run(job).exit_status == 0
    assert whole_state_of(here.sandbox) == was


def test_how_long_it_takes_is_measured_by_waves_and_without_what_they_are_left_alone_for(
    tmp_path: Path,
) -> None:
    with Journal.create(tmp_path / "j") as kept:
        events = [("apply", 0, 0), ("wave", 1, 1), ("soak", 9, 1), ("probe", 609, 1)]
        events += [("wave-done", 640, 1), ("wave", 641, 2), ("wave-done", 646, 2), ("end", 650, 0)]
        kept.write(kept.event(kind, at, n=n) for kind, at, n in events)
        assert measured(kept) == 8
        kept.write(kept.event(kind, at, n=2) for kind, at in (("wave", 700), ("wave-done", 704)))
        assert measured(kept) == 9


def test_an_undo_of_it_puts_back_now_in_the_same_journal(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF, stops_in_the_window)
    undone = here.call(lambda _: undo_journal(here.journal, TENANTS, tmp_path / "other", settle=0))
    assert undone.journal == str(here.putback)
    assert here.apply(here.putback).exit_status == 0
    assert on(here.sandbox) == "A"
    assert here.clock.now < END - 2000
    assert here.apply().exit_status == 0
    with pytest.raises(Refused, match="is the put-back of a freeze"):
        here.call(lambda _: undo_journal(here.putback, TENANTS, tmp_path / "other", settle=0))


def test_without_waiting_each_call_does_what_can_be_done_now(tmp_path: Path) -> None:
    here = night(tmp_path)
    assert here.run(HOOKS_OFF, wait=False).exit_status == 3
    assert on(here.sandbox) == "A"
    here.clock.pass_by(700)
    assert here.run(HOOKS_OFF, wait=False).exit_status == 5
    assert on(here.sandbox) == ""
    here.clock.pass_by(3600)
    assert here.run(HOOKS_OFF, wait=False).exit_status == 0
    assert on(here.sandbox) == "A"


def test_what_ends_a_call_while_it_is_open_has_its_own_exit_status(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF, stops_in_the_window)
    moved = {"t0": Tenant.with_token("t0", "https://x/elsewhere", "sandbox")}
    with pytest.raises(NotPutBack, match="NOT put back yet: 1 hook is still off") as raised:
        here.call(lambda ways: apply_journal(here.journal, moved, ways=ways))
    assert raised.value.exit_status == 5
    assert "the tenants file says" in str(raised.value)


async def no(journal: Journal) -> bool:
    return False


def test_what_ends_a_put_back_before_it_begins_has_that_exit_status_too(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF, stops_in_the_window)
    here.call(lambda _: undo_journal(here.journal, TENANTS, tmp_path / "other", settle=0))
    with pytest.raises(NotPutBack) as raised:
        here.apply(here.putback, confirm=no)
    goes_on = f"`bulkhooks apply {here.putback}` goes on\nnot confirmed; nothing was sent"
    assert str(raised.value) == f"1 of 1 hook is NOT put back: t0 a; {goes_on}"
    assert here.apply(here.putback).exit_status == 0


def test_a_put_back_that_died_while_it_was_planned_is_planned_again(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF, stops_in_the_window)
    with Journal.open(here.journal) as done:
        assert staged_putback(done, here.putback, here.clock.now, "")
    goes_on = f"bulkhooks apply {here.journal}"
    assert read_books(here.putback).next == goes_on
    with pytest.raises(NotPutBack, match=rf"1 of 1 item is NOT put back.*`{goes_on}` goes on\n"):
        here.apply(here.putback, failed=True)
    assert here.apply().exit_status == 0
    assert on(here.sandbox) == "A"


def test_where_no_journal_can_be_written_any_more_it_is_told_what_is_off(tmp_path: Path) -> None:
    here, limits = night(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)

    async def fills(lanes: Lanes) -> None:
        await anyio.sleep(700)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.raises(JournalError, match="NOT put back yet: 1 hook is still off") as raised:
            here.run(HOOKS_OFF, fills)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.exit_status == 4
    assert "the journal cannot be used" in str(raised.value)
    assert here.run(HOOKS_OFF).exit_status == 0
    assert on(here.sandbox) == "A"


def test_a_halt_puts_back_at_once_and_what_it_left_out_says_why(tmp_path: Path) -> None:
    here = night(tmp_path, Sandbox(("t0", "t1"), hooks=10))
    was = whole_state_of(here.sandbox)
    off = {"tenant": "t0", "hooks": {"enabled": True}, "set": {"enabled": False}}
    job = Job.of("freeze", [off], schedule=HOOKS_OFF.schedule, limits=Limits(concurrency=1))

    def halts(lanes: Lanes) -> Any:
        async def halt() -> None:
            lanes.permit.judge = lambda tenant, state: "enough"

        return halt()

    books = here.run(job, halts)
    assert books.exit_status == 1
    assert [cause.cause for cause in books.causes] == ["put back early: enough"]
    assert whole_state_of(here.sandbox) == was
    assert here.clock.now < START + 100
    with Journal.open(here.journal) as kept:
        (why,) = [event.what["why"] for event in kept.events() if event.kind == "putback"]
    assert why == "enough"


# ---- before it


def test_a_window_that_is_too_short_is_refused_and_says_by_how_much(tmp_path: Path) -> None:
    here = night(tmp_path)
    window = Window(timezone="UTC", start=at(START), end=at(START + 60))
    off = {"tenant": "t0", "hooks": {"name": "*"}, "set": {"dependencies": {"axios": "1.7.9"}}}
    schedule, slow = Schedule(window=window, freeze=True), Limits(max_rate=0.1)
    job = Job.of("freeze", [off], schedule=schedule, limits=slow)
    with pytest.raises(Refused) as raised:
        here.run(job)
    assert str(raised.value) == (
        "its window is 1 min long; applying and putting back takes about 1 min 20 s (the slowest "
        "tenant is t0): 20 s are missing"
    )
    assert not here.writes_at


def test_one_that_never_began_is_over_and_nothing_was_sent(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF, wait=False)
    here.clock.pass_by(5000)
    books = here.run(HOOKS_OFF)
    assert (books.exit_status, books.books.skipped) == (1, 1)
    assert [cause.cause for cause in books.causes] == ["window over"]
    assert not here.writes_at
    assert not here.putback.exists()


@pytest.mark.parametrize("kill_at", [0, 9])
def test_what_goes_slower_than_was_planned_is_back_by_the_end_all_the_same(
    tmp_path: Path, kill_at: int
) -> None:
    here = night(tmp_path, Sandbox(("t0", "t1"), hooks=10, actions=6))
    was = whole_state_of(here.sandbox)
    off = [
        {"tenants": "*", "hooks": {"enabled": True}, "set": {"enabled": False}},
        {"tenants": "*", "actions": {"bound": True}, "set": {"bound": False}},
    ]
    end = START + 120
    schedule = Schedule(window=Window(timezone="UTC", start=at(START), end=at(end)), freeze=True)
    job = Job.of("freeze", off, schedule=schedule, limits=Limits(concurrency=1))
    here.run(job, wait=False)
    here.latency = 3.0
    if kill_at:
        here.clock.pass_by(START - here.clock.now)
        assert here.killed(job, kill_at, after=True)
    books = here.run(job)
    assert whole_state_of(here.sandbox) == was
    assert max(here.writes_at) < end
    assert books.exit_status == 1
    assert 0 < books.books.skipped < books.books.planned


# ---- one that recurs


HOURLY = Window(timezone="UTC", cron="30 * * * *", seconds=600)  # EPOCH is at 22:13:20


def test_each_recurrence_has_its_own_journal(tmp_path: Path) -> None:
    here = night(tmp_path)
    job = freeze_of({"hooks": {"enabled": True}, "set": {"enabled": False}}, window=HOURLY)
    journals = []
    for _ in range(3):
        books = here.run(job)
        assert books.exit_status == 0
        assert on(here.sandbox) == "A"
        journals.append(Path(books.journal).name)
    assert journals == [f"freeze.2023-11-{at}.journal" for at in ("14T2230", "14T2330", "15T0030")]
    assert (here.folder / "freeze.2023-11-14T2330.putback.journal").exists()
    assert len(here.writes_at) == 6
    newest = here.folder / "freeze.2023-11-15T0030.putback.journal"
    with pytest.raises(Refused, match=rf"no such journal; there is .*, {re.escape(str(newest))}$"):
        read_books(here.folder / "freeze.journal")


def test_a_recurrence_that_was_planned_too_early_is_planned_anew_by_fresh(tmp_path: Path) -> None:
    here = night(tmp_path)
    job = freeze_of({"hooks": {"enabled": True}, "set": {"enabled": False}}, window=HOURLY)
    here.run(job)
    assert here.run(job, wait=False).exit_status == 3  # for the one that comes next
    here.sandbox.change("t0", "A", enabled=False)
    here.sandbox.change("t0", "B", enabled=True)
    books = here.run(job, fresh=True)
    assert (books.exit_status, books.books.applied) == (0, 1)
    assert Path(books.journal).name == "freeze.2023-11-14T2330.journal"
    assert on(here.sandbox) == "B"


def test_one_that_has_not_begun_tells_its_window(tmp_path: Path) -> None:
    here = night(tmp_path)
    job = freeze_of({"hooks": {"enabled": True}, "set": {"enabled": False}}, window=HOURLY)
    books = here.run(job, wait=False)
    assert books.freeze
    assert books.freeze.state == "planned"
    assert re.fullmatch(r"\w{3} [0-9-]+ \d\d:30-.* UTC", books.window)


def test_what_an_earlier_recurrence_left_is_put_back_first(tmp_path: Path) -> None:
    here = night(tmp_path)
    job = freeze_of({"hooks": {"enabled": True}, "set": {"enabled": False}}, window=HOURLY)
    here.run(job, lambda lanes: _stop_after(lanes, 1100))
    assert on(here.sandbox) == ""
    here.clock.pass_by(1800)
    told: list[str] = []
    books = here.run(job, wait=False, tell=told.append)
    assert on(here.sandbox) == "A"
    assert Path(books.journal).name == "freeze.2023-11-14T2330.journal"
    assert books.exit_status == 3
    assert told[0].startswith(f"{here.folder / 'freeze.2023-11-14T2230.journal'}: put back on ")
    first = read_books(here.folder / "freeze.2023-11-14T2230.journal")
    assert first.freeze
    assert first.freeze.wholly_back


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (HOURLY, Window(timezone="UTC", start=at(START + 9000), end=at(END + 9000))),
        (HOURLY, None),
        (Window(timezone="UTC", start=at(START), end=at(END)), HOURLY),
    ],
    ids=["comes once now", "has no window now", "comes again now"],
)
def test_what_is_open_by_another_schedule_is_not_left_off(
    tmp_path: Path, was: Window, now: Window | None
) -> None:
    here = night(tmp_path)
    off = {"tenant": "t0", "hooks": {"enabled": True}, "set": {"enabled": False}}
    job = freeze_of(off, window=was)
    open_one = Path(here.run(job, lambda lanes: _stop_after(lanes, 1100)).journal)
    assert on(here.sandbox) == ""
    other = replace(job, schedule=Schedule(window=now, freeze=now is not None))
    with pytest.raises(NotPutBack, match=f"{open_one} is of a freeze that is not over"):
        here.run(other, wait=False)
    here.clock.pass_by(5000)
    told: list[str] = []
    here.run(other, wait=False, tell=told.append)
    assert told[0].startswith(f"{open_one}: put back on ")
    assert on(here.sandbox) == ("" if now is None else "A")


def test_an_earlier_recurrence_that_cannot_be_read_may_be_moved_away(tmp_path: Path) -> None:
    here = night(tmp_path)
    job = freeze_of({"hooks": {"enabled": True}, "set": {"enabled": False}}, window=HOURLY)
    earlier = Path(here.run(job).journal)
    here.clock.pass_by(600)
    with closing(sqlite3.connect(earlier)) as db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(Refused, match=r"T2230\.journal: journal format 1, .* move it elsewhere"):
        here.run(job)
    earlier.rename(tmp_path / "of-long-ago")
    assert here.run(job).exit_status == 0


def test_a_plan_is_refused_while_an_earlier_recurrence_is_open(tmp_path: Path) -> None:
    here = night(tmp_path)
    job = freeze_of({"hooks": {"enabled": True}, "set": {"enabled": False}}, window=HOURLY)
    here.run(job, lambda lanes: _stop_after(lanes, 1100))
    with pytest.raises(NotPutBack, match=r"T2230\.journal is of a freeze that is not over"):
        anyio.run(lambda: plan_job(job, TENANTS, here.journal))


# ---- others at work


def test_a_tenant_that_another_process_works_on_is_put_back_when_that_has_ended(
    tmp_path: Path,
) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF, stops_in_the_window)
    here.clock.pass_by(3600)
    locks = user_state_path("bulkhooks") / "tenants.lock"
    with ExitStack() as stack:
        stack.enter_context(held(locks, [TENANTS["t0"].base_url]))

        async def ends(lanes: Lanes) -> None:
            await anyio.sleep(3)
            stack.close()

        assert here.run(HOOKS_OFF, ends).exit_status == 0
    assert on(here.sandbox) == "A"


def test_a_tenant_that_another_process_works_on_ends_no_hold(tmp_path: Path) -> None:
    here = night(tmp_path)
    here.run(HOOKS_OFF, stops_in_the_window)
    locks = user_state_path("bulkhooks") / "tenants.lock"
    with ExitStack() as stack:
        stack.enter_context(held(locks, [TENANTS["t0"].base_url]))

        async def ends(lanes: Lanes) -> None:
            await anyio.sleep(100)
            stack.close()

        assert here.run(HOOKS_OFF, ends).exit_status == 0
    assert on(here.sandbox) == "A"


def test_journals_that_were_moved_together_are_those_of_a_freeze_still(tmp_path: Path) -> None:
    here, moved = night(tmp_path), tmp_path / "moved"
    here.run(HOOKS_OFF)
    here.folder.rename(moved)
    assert read_books(moved / here.journal.name).exit_status == 0
    assert here.apply(moved / here.journal.name).exit_status == 0
    assert len(here.writes_at) == 2


def test_a_tenant_that_is_elsewhere_by_now_holds_up_no_other(tmp_path: Path) -> None:
    here = night(tmp_path, Sandbox(("t0", "t1"), hooks=8))
    was = whole_state_of(here.sandbox)
    off = {"tenants": ["t0", "t1"], "hooks": {"enabled": True}, "set": {"enabled": False}}
    job = Job.of("freeze", [off], schedule=HOOKS_OFF.schedule)
    here.run(job, stops_in_the_window)
    here.clock.pass_by(3600)
    left = {"t1": TENANTS["t1"]}
    with pytest.raises(NotPutBack, match=r"tenant t0 of .* is not in the tenants file"):
        here.call(lambda ways: apply_journal(here.journal, left, ways=ways))
    assert whole_state_of(here.sandbox)[0][1] == was[0][1]
    assert here.apply(failed=True).exit_status in (0, 1)
    assert whole_state_of(here.sandbox) == was
