"""What befalls the process, its disk and its journal: nothing is lost, and nothing sent wrongly."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from bulkhooks import read_books
from bulkhooks.desk import Desk
from bulkhooks.errors import BulkhooksError
from bulkhooks.items import State
from bulkhooks.journal import Journal
from bulkhooks.permit import Phase
from bulkhooks.progress import Screen
from bulkhooks.sandbox import Request, Sandbox
from world import Make, World, served

WANTED = {"axios": "9.9.9"}
FIXED = ("--tenants", "tenants.json", "--journal", "j", "--yes")


def dependencies_job(world: World) -> None:
    """Every hook of every tenant gets the same dependencies, by id."""
    edits = [
        {"tenant": name, "hook": id, "set": {"dependencies": WANTED}}
        for name in world.tenants
        for id in world.ids(name)
    ]
    world.write("job.jsonl", edits)


def assert_each_written_once(world: World) -> None:
    writes = Counter((seen.tenant, seen.path) for seen in world.sandbox.writes())
    assert set(writes.values()) == {1}
    for name in world.tenants:
        assert all(hook["dependencies"] == WANTED for hook in world.sandbox.hooks_of(name))


# ---- killed, and told to stop

KILLS, LATENCY = 50, 0.04
ALL_KINDS = (*FIXED, "--max-deletes", "2")


def job_of_all_kinds(world: World) -> None:
    """Edits of every kind for each tenant, several of which take more than one write."""
    edits: list[Any] = []
    for name in world.tenants:
        ids = world.ids(name)
        create = {"name": "made", "triggerId": "send-phone-message", "script": "module.exports = 1"}
        edits += [
            {"tenant": name, "hook": ids[0], "set": {"dependencies": WANTED}},
            {"tenant": name, "hook": ids[1], "set": {"script": "module.exports = 2;"}},
            {"tenant": name, "hook": ids[2], "set": {"name": "renamed"}},
            {"tenant": name, "hook": ids[8], "set": {"enabled": True}},
            {"tenant": name, "hook": ids[5], "set_secrets": {"KEY": "env:TOKEN"}},
            {"tenant": name, "hook": ids[6], "delete": True},
            {"tenant": name, "create": create | {"enabled": True}},
        ]
    world.write("job.jsonl", edits)


def state_of(world: World) -> list[Any]:
    """All hooks and their secrets, by name: ids of made hooks depend on the order of making."""
    return [
        {
            hook.pop("name"): hook | {"secrets": world.sandbox.secrets_of(name, hook.pop("id"))}
            for hook in world.sandbox.hooks_of(name)
        }
        for name in world.tenants
    ]


def assert_read_between(sandbox: Sandbox) -> None:
    """No write went out twice unless what it writes to was read in between."""
    written: dict[tuple[str, str, str, bytes], int] = {}
    for place, seen in enumerate(sandbox.log):
        if seen.method == "GET":
            continue
        key = (seen.tenant, seen.method, seen.path, seen.body)
        if key in written:
            between = sandbox.log[written[key] : place]
            reads = {each.path for each in between if (each.tenant, each.method) == (key[0], "GET")}
            assert reads & {"/api/v2/hooks", seen.path}, f"{seen} was sent twice"
        written[key] = place


class Watched:
    """A sandbox's fault that does no harm: it tells when a world has seen so many requests."""

    def __init__(self) -> None:
        self.seen = Counter[str]()
        self._awaited: dict[str, tuple[int, threading.Event]] = {}

    def __call__(self, request: Request) -> None:
        world = request.tenant[:-1]
        self.seen[world] += 1
        many, event = self._awaited.get(world, (0, threading.Event()))
        if self.seen[world] >= many:
            event.set()

    def after(self, world: str, many: int) -> threading.Event:
        """What is set once a world has seen that many requests."""
        event = threading.Event()
        self._awaited[world] = (many, event)
        if not many:
            event.set()
        return event


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_the_same_command_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    watched = Watched()
    numbers = [f"k{number}" for number in range(KILLS + 1)]
    names = [f"{number}{letter}" for number in numbers for letter in "ab"]
    sandbox = Sandbox(names, hooks=10, latency=LATENCY, fault=watched)
    chance = random.Random(7)
    with served(sandbox) as url, ThreadPoolExecutor(10) as pool:

        def world_of(number: str) -> World:
            (tmp_path / number).mkdir()
            world = World(tmp_path / number, sandbox, url, [f"{number}a", f"{number}b"])
            job_of_all_kinds(world)
            return world

        worlds = [world_of(number) for number in numbers]
        calm = worlds.pop()
        calm.call("run", "job.jsonl", *ALL_KINDS)
        requests = watched.seen[numbers[-1]]
        wanted, books = state_of(calm), read_books(calm.folder / "j").books
        assert books.applied == books.planned

        def killed(place: int, pause: float) -> bool:
            """Kill a run at one moment, and let another one end its work."""
            world = worlds[place]
            moment = watched.after(numbers[place], requests * place // KILLS)
            with world.start("run", "job.jsonl", *ALL_KINDS) as process:
                while not moment.wait(0.05) and process.poll() is None:
                    pass
                time.sleep(pause if place else 10 * pause)
                process.kill()
                process.communicate()
            if process.returncode == -signal.SIGKILL and (world.folder / "j").exists():
                read_books(world.folder / "j")  # they balance, or this raises
            world.call("run", "job.jsonl", *ALL_KINDS)
            assert state_of(world) == wanted
            assert read_books(world.folder / "j").books == books
            return process.returncode == -signal.SIGKILL

        pauses = [chance.uniform(0, LATENCY) for _ in worlds]
        assert sum(pool.map(killed, range(KILLS), pauses)) > KILLS / 2
    assert_read_between(sandbox)


def test_sigterm_lets_what_is_in_flight_end_and_apply_goes_on(make: Make) -> None:
    world = make(("t0", "t1"), hooks=60, latency=0.05)
    dependencies_job(world)
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) > 10)
        process.terminate()
        out, err = process.communicate()
    assert process.returncode == 3, err
    assert "next: bulkhooks apply j" in out
    books = world.books()
    assert books["pending"] > 0
    assert books["applied"] == len(world.sandbox.writes())
    world.call("apply", "j", "--yes")
    assert_each_written_once(world)


@pytest.mark.slow  # what is in doubt is believed after 10 s
def test_the_second_sigint_waits_for_nothing_and_apply_goes_on(make: Make) -> None:
    hung = set[str]()

    def hang_once(request: Request) -> Any:
        if request.method == "PATCH" and len(hung) < 3 and request.path not in hung:
            hung.add(request.path)
            return "hang"
        return None

    world = make(("t0",), hooks=60, latency=0.05, fault=hang_once)
    dependencies_job(world)
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) > 5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("stopping" in line for line in process.stderr)  # it waits for what hangs
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 3
    books = world.books()
    assert books["uncertain"] >= 3
    assert books["pending"] > 0
    world.call("apply", "j", "--yes")
    assert_each_written_once(world)


class Halted:
    """Lanes, as far as a stop looks at them."""

    def __init__(self) -> None:
        self.stopped, self.permit = False, SimpleNamespace(phase=Phase(frozen=True))

    def views(self) -> tuple[()]:
        return ()

    def stop(self) -> None:
        self.stopped = True


async def test_a_signal_while_no_lanes_are_at_work_is_kept_for_those_that_come(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def looking(screen: Screen, lanes: object) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(Screen, "watch", looking)
    monkeypatch.setattr("bulkhooks.desk.show_books", lambda *_, **__: None)
    desk: Any = Desk({})

    async def stopped() -> bool:
        lanes = Halted()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(desk.watch, lanes)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        return lanes.stopped

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert not await stopped()
        signal.raise_signal(signal.SIGINT)
        assert await stopped()  # a freeze's second half, say
        assert "nothing is put back by that" in capfd.readouterr().err
        signal.raise_signal(signal.SIGINT)  # it does not keep us from telling what is left off
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert desk.finish(SimpleNamespace(exit_status=5), json=False) == 5
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        for each, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(each, handler)


# ---- a disk that is full, or may not be written


def assert_only_what_is_marked_was_sent(world: World, journal: Path) -> None:
    """Every write that the server saw has its mark in the journal: none went out after the disk
    was full."""
    marked = set()
    if journal.exists():
        with Journal.read(journal) as kept:
            steps = [step for item in kept.items(State, 10**6) for step in item.steps]
            marked = {step.target for step in steps if step.state != "pending"}
    assert {seen.path.rpartition("/")[2] for seen in world.sandbox.writes()} <= marked


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What is started inside can write no file that is larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run_until_full(world: World, size: int) -> str:
    """`run` with files of at most so many bytes; what it was doing when that was too little."""
    before = len(world.sandbox.log)
    with files_of_at_most(size):
        process = world.start("run", "job.jsonl", *FIXED)
    _, err = process.communicate()
    if process.returncode == 0:
        return "nothing"
    assert process.returncode == 4, err
    assert "Traceback" not in err
    assert "the journal cannot be used" in err
    assert "has room" in err
    assert_only_what_is_marked_was_sent(world, world.folder / "j")
    if len(world.sandbox.log) == before:
        return "staging"
    return "applying" if world.sandbox.writes() else "planning"


@pytest.mark.slow  # what is in doubt is believed after 10 s
@pytest.mark.timeout(900)
def test_a_full_disk_ends_the_run_and_with_room_it_goes_on(tmp_path: Path) -> None:
    sizes = [20_000, 80_000, 105_000, 115_000, 125_000, 135_000, 200_000, 400_000, 600_000]

    def one(size: int) -> str:
        (folder := tmp_path / str(size)).mkdir()
        sandbox = Sandbox(["t0", "t1"], hooks=100, latency=0.02)
        with served(sandbox) as url:
            world = World(folder, sandbox, url, ["t0", "t1"])
            dependencies_job(world)
            doing = run_until_full(world, size)
            assert not list(folder.glob(".*")), "a staged journal is left"
            if doing == "applying":
                world.call("apply", "j", "--yes")
            else:
                world.call("run", "job.jsonl", *FIXED)
            assert_each_written_once(world)
            assert world.books()["applied"] == 200
        return doing

    found = [one(size) for size in sizes]
    assert found[0] == "staging"
    assert {"planning", "applying"} <= set(found), found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room in it."""
    (folder := tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow  # what is in doubt is believed after 10 s
def test_a_file_system_without_room_is_no_other_matter(make: Make, small_disk: Path) -> None:
    world = make(("t0", "t1"), hooks=100, latency=0.02)
    dependencies_job(world)
    words = ("run", "job.jsonl", "--tenants", "tenants.json", "--journal", "disk/j", "--yes")
    told = world.call(*words, status=4).stderr
    assert "full" in told
    assert_only_what_is_marked_was_sent(world, small_disk / "j")
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    world.call(*words)
    assert_each_written_once(world)


def bound_by_modes(world: World) -> None:
    """Have the program run as somebody whom the modes of files bind, as they do not bind root."""
    if os.getuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("there is no setpriv here, and root may write everything")
        less = "-dac_override,-dac_read_search"
        world.program[:0] = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}"]


def test_a_journal_that_may_not_be_written_is_looked_at_and_not_worked_on(make: Make) -> None:
    world = make(("t0",), hooks=4)
    bound_by_modes(world)
    dependencies_job(world)
    world.call("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    before = len(world.sandbox.log)
    (world.folder / "j").chmod(0o444)
    world.folder.chmod(0o555)
    try:
        assert "next: bulkhooks apply j" in world.call("status", "j").stdout
        for words in (
            ("apply", "j", "--yes"),
            ("undo", "j", "--yes"),
            ("run", "job.jsonl", *FIXED),
            ("run", "job.jsonl", *FIXED, "--fresh"),
            ("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "new"),
        ):
            told = world.call(*words, status=4).stderr
            assert "nothing can be written in its folder" in told, words
    finally:
        world.folder.chmod(0o755)
    assert "readonly" in world.call("apply", "j", "--yes", status=4).stderr
    assert len(world.sandbox.log) == before


def test_what_a_dead_process_left_is_seen_where_nothing_may_be_written(make: Make) -> None:
    world = make(("t0",), hooks=50, latency=0.05)
    bound_by_modes(world)
    dependencies_job(world)
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) > 10)
        process.kill()
    sent = world.folder / "j-wal"
    assert sent.stat().st_size > 0
    world.folder.chmod(0o555)
    try:
        books = world.books()
    finally:
        world.folder.chmod(0o755)
    assert books["applied"] + books["uncertain"] >= len(world.sandbox.writes())


def test_all_files_are_their_owners_alone(make: Make, state_folder: Path) -> None:
    world = make(("t0",), hooks=400, latency=0.02)
    dependencies_job(world)
    found: dict[str, set[int]] = {}

    def look() -> None:
        for folder in (world.folder, state_folder / "bulkhooks"):
            for path in folder.glob("*"):
                try:
                    mode = stat.S_IMODE(path.stat().st_mode)
                except FileNotFoundError:
                    continue
                found.setdefault(path.name, set()).add(mode)

    with world.start("run", "job.jsonl", *FIXED, umask=0) as process:
        while process.poll() is None:
            look()
    assert process.returncode == 0
    given = {"job.jsonl", "tenants.json"}
    ours = {"j", "j-wal", "j-shm", "j.lock", ".j.staged", ".j.staged-wal", "tenants.lock"}
    assert ours <= found.keys()
    assert found.pop("control") == {0o700}  # a folder, and nobody else gets at what is in it
    assert {name: modes for name, modes in found.items() if modes != {0o600}}.keys() <= given


# ---- nobody there


def test_a_name_that_leads_nowhere_fails_its_items_and_says_why(make: Make) -> None:
    world = make(("t0", "t1"), hooks=3)
    dependencies_job(world)
    world.tenants["t1"] = {"base_url": "https://nosuch.invalid", "token": "env:TOKEN"}
    world.write_tenants()
    world.run_job("job.jsonl", status=1)
    books = world.books()
    assert (books["applied"], books["failed"]) == (3, 3)
    (cause,) = books["causes"]
    assert cause["tenants"] == ["t1"]
    assert cause["cause"].startswith("cannot connect: ")
    assert "address" in cause["hint"]


def test_when_all_tenants_are_down_one_line_says_so(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    world = make(hooks=3)
    dependencies_job(world)
    for name, tenant in world.tenants.items():
        tenant["base_url"] = f"http://127.0.0.1:{port}/{name}"
    world.write_tenants()
    told = world.run_job("job.jsonl", status=1)
    books = world.books()
    assert books["failed"] == books["planned"] == 15
    (cause,) = books["causes"]
    assert cause["count"] == 15
    assert sum("15 failed on t0, t1, t2, t3, t4" in line for line in told.stdout.splitlines()) == 1


# ---- a journal that is damaged


@pytest.mark.parametrize("length", [0, 5000])
def test_what_a_damaged_journal_says_to_type_leads_on(make: Make, length: int) -> None:
    world = make(("t0",), hooks=4)
    dependencies_job(world)
    world.run_job("job.jsonl")
    os.truncate(world.folder / "j", length)
    for words in ((), ("--fresh",)):
        assert "the journal is damaged: " in world.run_job("job.jsonl", *words, status=4).stderr
    told = world.run_job("job.jsonl", "--fresh", status=4).stderr
    (command,) = [line for line in told.splitlines() if line.startswith("  mv ")]
    subprocess.run(command, shell=True, cwd=world.folder, check=True)
    world.run_job("job.jsonl")
    assert world.books()["unchanged"] == 4
    assert_each_written_once(world)
    assert [path.stat().st_size for path in world.folder.glob("j.*.damaged")] == [length]


def test_what_is_not_known_to_be_written_is_told_by_undo_and_not_left_out(make: Make) -> None:
    world = make(("t0",), hooks=2)
    dependencies_job(world)
    world.run_job("job.jsonl")
    with closing(sqlite3.connect(world.folder / "j", isolation_level=None)) as journal:
        journal.execute(
            "UPDATE steps SET state = 'bpplied' WHERE item = (SELECT max(id) FROM items)"
        )
    assert "is damaged: item " in world.call("undo", "j", "--yes", status=4).stderr
    assert_each_written_once(world)


#: Runs commands, a line of JSON each, in forks of one process that has all it needs loaded.
FORKS = """
import json, os, sys
import bulkhooks.cli, bulkhooks.diff, bulkhooks.progress, bulkhooks.run, rich.table, uvloop
for line in sys.stdin:
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for number, flags in enumerate([os.O_RDONLY, *[os.O_CREAT | os.O_TRUNC | os.O_WRONLY] * 2]):
        os.dup2(os.open(["/dev/null", "out", "err"][number], flags, 0o600), number)
    sys.argv = ["bulkhooks", *json.loads(line)]
    bulkhooks.cli.main()
"""
PLACES = 200
COMMANDS = {
    "apply": ("apply", "j", "--yes"),
    "undo": ("undo", "j", "--yes"),
    "run": ("run", "job.jsonl", *FIXED),
}


@dataclass(frozen=True)
class Stage:
    """A journal at some stage of its job, and all hooks as they were then."""

    name: str
    journal: bytes
    hooks: dict[str, Any]


class Bench:
    """Where damaged journals are tried, without a start of Python for each command."""

    def __init__(self, world: World) -> None:
        self.world, self.journal = world, world.folder / "j"
        self._forks = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            cwd=world.folder,
            env=world.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> None:
        self._forks.communicate()

    def call(self, *words: str) -> tuple[int, str]:
        """Exit status and stderr of a command."""
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        self._forks.stdin.write(json.dumps(words) + "\n")
        self._forks.stdin.flush()
        status = int(self._forks.stdout.readline())
        return status, (self.world.folder / "err").read_text()

    def look(self) -> tuple[int, Any, str]:
        """Exit status of `status`, what it shows, and what it says instead."""
        try:
            return 0, read_books(self.journal).as_json(), ""
        except BulkhooksError as error:
            return error.exit_status, None, str(error)

    def tried(self, stage: Stage, journal: bytes, command: str) -> tuple[int, Any, str]:
        """Exit status of a command at that stage with this as the journal; what it shows (status)
        or all hooks after it; and what it says."""
        self.put(stage, journal)
        if command == "status":
            return self.look()
        status, err = self.call(*COMMANDS[command])
        return status, self.hooks(), err

    def hooks(self) -> dict[str, Any]:
        """All hooks of all tenants."""
        return {
            f"{name} {hook['id']}": hook
            for name in self.world.tenants
            for hook in self.world.sandbox.hooks_of(name)
        }

    def stage(self, name: str) -> Stage:
        with Journal.open(self.journal):
            pass  # all of it is in the one file
        return Stage(name, self.journal.read_bytes(), self.hooks())

    def stages(self) -> Iterator[Stage]:
        """A job's journal when it is planned, when its run was killed, and when it has ended."""
        world = self.world
        dependencies_job(world)
        first = world.ids("t0")[0]
        script = {"tenant": "t0", "hook": first, "set": {"script": "module.exports = 1;" * 30}}
        other = {"tenant": "t1", "hook": world.ids("t1")[5], "set": {"enabled": True}}
        with (world.folder / "job.jsonl").open("a") as file:
            file.writelines(json.dumps(edit) + "\n" for edit in (script, other))
        world.call("plan", "job.jsonl", *FIXED[:4])
        yield self.stage("planned")
        world.sandbox.latency = 0.1
        with world.start("apply", "j", "--yes") as process:
            world.wait_for(lambda: len(world.sandbox.writes()) >= 17)
            process.kill()
        world.sandbox.latency = 0.0
        yield self.stage("killed")
        world.call("apply", "j", "--yes")  # what was in doubt is old enough to be believed now
        yield self.stage("ended")

    def put(self, stage: Stage, journal: bytes) -> None:
        """Have the tenants be as they were at that stage, and this as the only journal."""
        for path in self.world.folder.glob("j*"):
            if path.name != "job.jsonl":
                path.unlink()
        self.journal.write_bytes(journal)
        for name in self.world.tenants:
            self.world.sandbox._tenants[name].hooks.clear()
        for place, hook in stage.hooks.items():
            name, id = place.split()
            self.world.sandbox._tenants[name].hooks[id] = deepcopy(hook)


def damages(stage: Stage, chance: random.Random, flips: int) -> Iterator[tuple[str, bytes]]:
    """A journal cut short at several lengths, and with one bit flipped at `flips` places."""
    whole = len(stage.journal)
    for length in (0, 1, 100, 4096, whole // 2, whole - 4096, whole - 1):
        yield f"{stage.name}, cut to {length}", stage.journal[:length]
    for _ in range(flips):
        damaged, place = bytearray(stage.journal), chance.randrange(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        yield f"{stage.name}, byte {place} now {damaged[place]}", bytes(damaged)


def try_damaged(folder: Path, seed: int, flips: int) -> Counter[int]:
    """Damage each stage's journal at `flips` places, and look at it and try one of the commands in
    turn on it each time; how often each exit status came."""
    sandbox, chance = Sandbox(["t0", "t1"], hooks=10), random.Random(seed)
    folder.mkdir()
    found = Counter[int]()
    with served(sandbox) as url:
        bench = Bench(World(folder, sandbox, url, ["t0", "t1"]))
        before = bench.hooks()
        stages = list(bench.stages())
        wanted = {"apply": stages[-1].hooks, "run": stages[-1].hooks, "undo": before}
        turn = cycle(COMMANDS)
        for stage in stages:
            each = ("status", *COMMANDS)
            whole = {command: bench.tried(stage, stage.journal, command) for command in each}
            for damage, journal in damages(stage, chance, flips):
                for command in ("status", next(turn)):
                    status, now, err = bench.tried(stage, journal, command)
                    told = f"{command}, {damage}: {status}\n{now}\n{err}"
                    found[status] += 1
                    assert "Traceback" not in err, told
                    if (status, now) == whole[command][:2]:
                        continue
                    assert status == 4 or (status == 2 and "journal format" in err), told
                    assert "the journal" in err or status == 2, told
                    if command != "status":
                        assert_between(stage.hooks, wanted[command], now, told)
        bench.end()
    return found


def assert_between(was: Any, wanted: Any, now: Any, told: str) -> None:
    """Each field of each hook is as it was, or as it was to be."""
    assert now.keys() == was.keys(), told
    for place, hook in was.items():
        to = wanted[place]
        assert all(now[place][key] in (hook[key], to[key]) for key in hook), told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_damaged_journal_is_told_and_nothing_wrong_is_written(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = sum(
            pool.map(lambda seed: try_damaged(tmp_path / str(seed), seed, PLACES // 6), range(2)),
            Counter[int](),
        )
    assert found[4] > PLACES / 3
