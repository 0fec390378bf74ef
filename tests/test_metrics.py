"""Metrics are what the commands did, in a form that Prometheus reads."""

from __future__ import annotations

import math
import os
import signal
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bulkhooks.errors import BulkhooksError, Differs, JournalError, Refused
from bulkhooks.items import Outcome, State
from bulkhooks.lane import LaneView
from bulkhooks.metrics import Metrics, Seen, as_text
from bulkhooks.pacing import Pace
from bulkhooks.permit import Permit, Phase
from bulkhooks.schedule import Span
from world import Make, World

NOW = 1_700_000_000.0
HOOKS = [{"tenants": "*", "hooks": {"enabled": True}, "set": {"enabled": False}}]
ACTIONS = [{"tenants": "*", "actions": {"bound": True}, "set": {"bound": False}}]


def metrics(text: str) -> dict[tuple[str, ...], float]:
    """A value for each metric and its labels but the job's, in the order of their names."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        assert family.name.startswith("bulkhooks_")
        for sample in family.samples:
            labels = dict(sorted(sample.labels.items()))
            del labels["job_name"]
            key = (sample.name.removeprefix("bulkhooks_"), *labels.values())
            assert key not in found
            found[key] = sample.value
    return found


def seen(**more: Any) -> Seen:
    fields: dict[str, Any] = {
        "job": "freeze",
        "now": NOW,
        "started": NOW - 60,
        "frozen": False,
        "phase": Phase(),
        "halted": False,
        "paused": False,
        "views": (),
        "requests": {},
        "books": {},
    }
    return Seen(**(fields | more))


def told(**more: Any) -> dict[tuple[str, ...], float]:
    return metrics(as_text(seen(**more)).decode())


@pytest.mark.parametrize(
    ("what", "metric", "value"),
    [
        ({"frozen": True}, "freeze_open", 1),
        ({}, "freeze_open", 0),
        ({"halted": True}, "halted", 1),
        ({"paused": True}, "paused", 1),
        ({"phase": Phase(wave=2, waves=4)}, "wave", 2),
        ({}, "wave", 0),
        ({}, "window_open", None),
        ({"phase": Phase(span=Span(NOW, NOW + 1))}, "window_open", 1),
        ({"phase": Phase(span=Span(NOW + 1, NOW + 2))}, "window_open", 0),
        ({"phase": Phase(span=Span(NOW - 1, NOW))}, "window_open", 0),
        ({"phase": Phase(span=Span(NOW - 1, NOW))}, "window_end_timestamp_seconds", NOW),
        ({"phase": Phase(span=Span(NOW, NOW + 1)), "ended": NOW}, "window_open", 0),
        ({"phase": Phase(wave=2, waves=4), "ended": NOW}, "wave", 0),
        ({}, "written_timestamp_seconds", NOW),
        ({}, "last_start_timestamp_seconds", NOW - 60),
        ({}, "last_end_timestamp_seconds", None),
        ({"ended": NOW}, "last_end_timestamp_seconds", NOW),
        ({}, "last_exit_status", None),
        ({"status": 5}, "last_exit_status", 5),
    ],
)
def test_what_a_command_is_at(what: dict[str, Any], metric: str, value: float | None) -> None:
    assert told(**what).get((metric,)) == value


def test_what_a_lane_is_at() -> None:
    pace = Pace(waits={"reserve": 2.5})
    fixed: dict[str, Any] = {"planned": 0, "done": 0, "doing": "", "waiting": None}
    views = [LaneView(tenant="t0", pace=pace, reserve=10, **fixed)]
    found = told(views=views, requests={("t0", "200"): 7, ("t0", "none"): 1})
    assert found["tokens_reserve", "t0"] == 10
    assert ("tokens_left", "t0") not in found, "no answer has told yet"
    assert found["waits_seconds_total", "reserve", "t0"] == 2.5
    assert found["requests_total", "200", "t0"] == 7
    assert found["requests_total", "none", "t0"] == 1


def test_names_of_all_kinds_stay_within_their_label() -> None:
    names = ['a"b', "a\\b", "a\nb", "a}b{", "ü 漢"]
    found = told(requests={(name, "200"): 1 for name in names})
    assert {key[2] for key in found if key[0] == "requests_total"} == set(names)


def test_a_permit_keeps_the_books_of_what_ends() -> None:
    permit = Permit(lambda: NOW)
    permit.books["t0"] = dict.fromkeys(State, 0) | {State.PENDING: 2}
    permit.ended("t0", Outcome(state=State.APPLIED))
    permit.ended("t0", Outcome(state=State.FAILED))
    permit.ended("t1", Outcome(state=State.FAILED))
    ended = {State.APPLIED: 1, State.FAILED: 1}
    assert permit.books == {"t0": dict.fromkeys(State, 0) | ended}


class Looked:
    """Lanes that only tell what they are at."""

    job = "freeze"

    def __init__(self, phase: Phase) -> None:
        self.permit, self.looked = Permit(lambda: NOW), anyio.Event()
        self.permit.phase = phase

    def views(self) -> list[LaneView]:
        self.looked.set()
        return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bulkhooks.prom"


@contextmanager
def kept(file: Path) -> Iterator[Metrics]:
    with Metrics.opened(file, "freeze", pytest.fail, wall=lambda: NOW) as metrics:
        yield metrics


def test_the_node_exporter_may_read_the_file(file: Path) -> None:
    old = os.umask(0o077)
    try:
        with kept(file):
            assert stat.S_IMODE(file.stat().st_mode) == 0o644
    finally:
        os.umask(old)
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (None, 1, 0),
        (Refused("the lock"), 1, 1),
        (Differs("another job's"), 0, 0),
        (JournalError("damaged"), 1, 1),
        (BulkhooksError("else"), 1, 0),
        (KeyboardInterrupt(), 1, 1),
        (RuntimeError("a bug"), 1, 1),
    ],
)
def test_a_freeze_is_open_until_a_command_has_seen_that_it_is_not(
    file: Path, error: BaseException | None, before: int, after: int
) -> None:
    file.write_bytes(as_text(seen(frozen=bool(before))))
    try:
        with kept(file):
            assert metrics(file.read_text())["freeze_open",] == before
            if error:
                raise error
    except BaseException as raised:
        assert raised is error  # noqa: PT017 - of any class
    found = metrics(file.read_text())
    assert found["freeze_open",] == after
    assert found["last_end_timestamp_seconds",] == NOW


@pytest.mark.parametrize(
    ("phase", "open"),
    [
        (Phase(), 0),
        (Phase(frozen=True, span=Span(NOW + 1, NOW + 2)), 0),
        (Phase(frozen=True, span=Span(NOW, NOW + 2)), 1),
        (Phase(frozen=True, span=Span(NOW - 2, NOW - 1)), 1),
        (Phase(span=Span(NOW, NOW + 2)), 0),
    ],
)
async def test_a_freeze_that_waits_for_its_window_is_not_open(
    file: Path, phase: Phase, open: int
) -> None:
    lanes: Any = Looked(phase)
    with kept(file) as metrics_file:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(metrics_file.watch, lanes)
            await lanes.looked.wait()
            tasks.cancel_scope.cancel()
        assert metrics(as_text(metrics_file.seen()).decode())["freeze_open",] == open


async def test_a_window_that_is_waited_for_is_told_as_soon_as_it_is(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhooks.metrics._EVERY", math.inf)
    lanes: Any = Looked(Phase())
    with kept(file) as metrics_file:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(metrics_file.watch, lanes)
            await lanes.looked.wait()
            lanes.permit.phase, lanes.looked = Phase(span=Span(NOW + 1, NOW + 2)), anyio.Event()
            await lanes.looked.wait()
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.prom", "name: freeze\n", "has no metrics"),
        ("a.prom", None, "has no metrics"),
        ("a.txt", "", "files named"),
        ("gone/a.prom", "", "No such file"),
    ],
)
def test_what_is_there_and_no_metrics_is_left_as_it_is(
    tmp_path: Path, name: str, content: str | None, why: str
) -> None:
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif path.parent == tmp_path:
        path.write_text(content)
    with pytest.raises(Refused, match=why), kept(path):
        pytest.fail("it was begun")
    assert path.is_dir() if content is None else not content or path.read_text() == content


def test_where_it_cannot_be_written_any_more_that_is_told_once(tmp_path: Path) -> None:
    lost: list[str] = []
    folder = tmp_path / "gone"
    folder.mkdir()
    with Metrics.opened(folder / "a.prom", "freeze", lost.append) as metrics:
        (folder / "a.prom").unlink()
        folder.rmdir()
        metrics._write(metrics.seen())
        metrics._write(metrics.seen())
    (line,) = lost
    assert "a.prom: the metrics end here: No such file or directory; the work goes on" in line


@pytest.mark.parametrize("edits", [HOOKS, ACTIONS], ids=["hooks", "actions"])
def test_a_run_leaves_its_books_and_what_the_servers_answered(
    make: Make, edits: list[dict[str, Any]]
) -> None:
    world = make(("t0", "t1"), hooks=6, actions=6)
    world.write("job.jsonl", edits)
    world.run_job("job.jsonl", "--metrics-file", "a.prom")
    found = metrics((world.folder / "a.prom").read_text())
    books = world.books()
    for name, mine in books["tenants"].items():
        assert mine["applied"] > 0
        for state in State:
            assert found["items", state, name] == mine[state], (name, state)
    served = Counter((str(each.status), each.tenant) for each in world.sandbox.log)
    asked = {key[1:]: value for key, value in found.items() if key[0] == "requests_total"}
    assert asked == served
    pace = books["tenants"]["t0"]["pace"]
    assert found["tokens_limit", "t0"] == pace["limit"]
    assert found["tokens_left", "t0"] == pace["remaining"]
    assert found["tokens_reserve", "t0"] == pace["limit"] / 5
    assert found["last_exit_status",] == 0
    assert found["last_end_timestamp_seconds",] >= found["last_start_timestamp_seconds",]


@pytest.mark.slow
def test_every_command_that_writes_leaves_metrics(make: Make) -> None:
    world = make(("t0",), hooks=3)
    world.write("job.jsonl", HOOKS)
    fixed = ("--metrics-file", "a.prom")

    def status_after(*words: str, status: int = 0) -> float:
        (world.folder / "a.prom").unlink(missing_ok=True)
        world.call(*words, *fixed, status=status)
        return metrics((world.folder / "a.prom").read_text())["last_exit_status",]

    world.call("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    assert status_after("apply", "j", status=2) == 2
    assert status_after("apply", "j", "--yes") == 0
    assert status_after("undo", "j", "--yes") == 0
    migrating = ("--tenants", "tenants.json", "--yes")
    assert status_after("migrate", "prepare", *migrating) == 0
    cutting = ("migrate", "cutover", "prepare.journal", "--tenants", "tenants.json", "--yes")
    assert status_after(*cutting) == 0


def test_while_it_runs_the_file_tells_how_far_it_is(make: Make) -> None:
    world = make(("t0",), hooks=9, latency=0.2)
    world.tenants["t0"]["limits"] = {"concurrency": 1}
    world.write_tenants()
    ids = world.ids("t0")
    edit = {"tenant": "t0", "set": {"name": "new"}}
    world.write("job.jsonl", [edit | {"hook": id, "set": {"name": f"n-{id}"}} for id in ids])
    file = world.folder / "a.prom"
    words = ("run", "job.jsonl", "--tenants", "tenants.json", "--journal", "j", "--yes")
    with world.start(*words, "--metrics-file", "a.prom") as process:
        world.wait_for(lambda: file.exists() and b'state="pending"' in file.read_bytes())
        found = metrics(file.read_text())
        process.send_signal(signal.SIGKILL)
    items = {State(key[1]): value for key, value in found.items() if key[0] == "items"}
    assert sum(items.values()) == len(ids)
    assert items[State.PENDING] > 0
    assert ("last_end_timestamp_seconds",) not in found
    assert not math.isnan(found["written_timestamp_seconds",])


def test_metrics_are_not_loaded_unless_they_are_asked_for(make: Make) -> None:
    world: World = make(("t0",), hooks=3)
    world.write("job.jsonl", HOOKS)
    world.program[1:1] = ["-X", "importtime"]
    assert "prometheus_client" not in world.run_job("job.jsonl").stderr
