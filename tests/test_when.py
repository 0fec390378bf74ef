"""Schedules on their way: taken by the commands, kept in journals, and changed for what goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from typer.testing import CliRunner, Result

from bulkhooks.cli import app
from bulkhooks.errors import Differs, NotPutBack, Refused
from bulkhooks.jobfile import Job
from bulkhooks.journal import Journal
from bulkhooks.night import Ways
from bulkhooks.plan import schedule as schedule_of
from bulkhooks.run import apply_journal, plan_job, run_job
from bulkhooks.sandbox import Sandbox, serve
from bulkhooks.schedule import AT_ONCE, Rule, Schedule, Wave, Window
from bulkhooks.tenants import Tenant
from engine import PRE

#: Open for as long as these tests are run.
OPEN: Final = Window(start="2020-01-01T00:00", end="2099-01-01T00:00", timezone="Europe/London")
LONGER: Final = Window(start="2020-01-01T00:00", end="2098-01-01T00:00", timezone="Europe/London")
PAST: Final = Window(start="2020-01-01T00:00", end="2020-01-01T02:00", timezone="Europe/London")
HALT: Final = (Rule(of="tenants", count=1),)
OFF: Final[list[Mapping[str, Any]]] = [
    {"tenant": "t0", "hook": {"name": "h"}, "set": {"enabled": False}},
    {"tenant": "t0", "action": {"name": "a"}, "set": {"bound": False}},
]


def a_job(schedule: Schedule, edits: list[Mapping[str, Any]] = OFF) -> Job:
    return Job.of("job", edits, schedule=schedule)


def a_sandbox(**more: Any) -> Sandbox:
    sandbox = Sandbox(["t0"], hooks=0, **more)
    sandbox.add_hook("t0", name="h", triggerId=PRE, enabled=True)
    sandbox.add_action("t0", name="a", triggerId=PRE, bound=True)
    return sandbox


async def run(
    sandbox: Sandbox, journal: Path, job: Job, **more: Any
) -> tuple[dict[str, int], list[str]]:
    """Run a job: its books, and what was told on the way."""
    told: list[str] = []
    async with serve(sandbox) as url:
        base_url = f"{url}/t0"
        with suppress(Refused), Journal.open(journal) as kept:
            base_url = kept.tenants()[0].base_url
        tenants = {"t0": Tenant.with_token("t0", base_url, "sandbox")}
        summary = await run_job(job, tenants, journal, tell=told.append, **more)
    return {"applied": summary.books.applied, "pending": summary.books.pending}, told


def kept(journal: Path, key: str = "schedule") -> str:
    with Journal.open(journal) as opened:
        return opened.meta(key)


def written(folder: Path, schedule: str = "", **job: Any) -> None:
    """A job of t0, its tenants file, and a schedule apart."""
    (folder / "job.yaml").write_text(yaml.safe_dump({"edits": OFF, **job}))
    (folder / "job.jsonl").write_text("".join(json.dumps(edit) + "\n" for edit in OFF))
    tenants = {"t0": {"base_url": "http://127.0.0.1:9/t0", "token": "env:T", "tags": ["canary"]}}
    (folder / "tenants.yaml").write_text(json.dumps({"tenants": tenants}))
    (folder / "when.yaml").write_text(schedule)


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def refusal(*words: str | Path) -> str:
    error = call(*words).exception
    assert isinstance(error, Refused), error
    return str(error)


# ---- of the commands


@pytest.mark.parametrize("job", ["job.yaml", "job.jsonl"])
def test_a_job_takes_a_schedule_from_a_file_apart(tmp_path: Path, job: str) -> None:
    written(tmp_path, "waves: [[canary], 100%]\n")
    words = ("validate", tmp_path / job, "--schedule", tmp_path / "when.yaml")
    assert call(*words).exit_code == 0
    written(tmp_path, "waves: [[canari], 100]\nhalt: {tenant: 1}\n")
    told = refusal(*words)
    assert f"{tmp_path}/when.yaml:1: waves[0]: unknown tag `canari`" in told
    assert "when.yaml:2: halt.tenant: unknown key `tenant`; did you mean `tenants`?" in told
    written(tmp_path, "window: 5\n")
    (tmp_path / "tenants.yaml").write_text("tenants: {}")
    told = refusal(*words)
    assert "when.yaml:1: window: must be a mapping" in told
    assert "tenants.yaml:1: tenants" in told


def test_a_freeze_from_a_file_apart_takes_no_more_than_one_of_the_job(tmp_path: Path) -> None:
    window = "{every: Sat 01:00, for: 2h, timezone: UTC}"
    written(tmp_path, f"window: {window}\nduring: window\n")
    deletes = {"tenant": "t0", "hook": {"name": "h"}, "delete": True}
    (tmp_path / "job.jsonl").write_text(json.dumps(deletes))
    words = ("validate", tmp_path / "job.jsonl")
    assert call(*words).exit_code == 0
    told = refusal(*words, "--schedule", tmp_path / "when.yaml")
    assert "job.jsonl:1: delete: cannot be put back at the window's end" in told


def test_a_probe_is_looked_for_from_the_folder_of_the_job(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    when = tmp_path / "elsewhere" / "when.yaml"
    when.write_text("waves: [{tenants: 1, probe: ./smoke.sh}]\n")
    (tmp_path / "elsewhere" / "smoke.sh").write_text("#!/bin/sh\n")
    words = ("validate", tmp_path / "job.yaml", "--schedule", when)
    assert "waves[0].probe: `./smoke.sh` is not there" in refusal(*words)
    (tmp_path / "elsewhere" / "smoke.sh").rename(tmp_path / "smoke.sh")
    (tmp_path / "smoke.sh").chmod(0o700)
    assert call(*words).exit_code == 0


def test_two_schedules_are_two_answers(tmp_path: Path) -> None:
    written(tmp_path, "halt: {tenants: 1}\n", halt={"failures": 1})
    for command in ("validate", "plan", "run"):
        told = refusal(command, tmp_path / "job.yaml", "--schedule", tmp_path / "when.yaml")
        assert told == (
            f"{tmp_path}/job.yaml has a schedule of its own; leave that out, or --schedule"
        )


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_a_window_that_is_over_is_refused_with_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T", "x")
    times = {"start": "2020-06-01T01:00", "end": "2020-06-01T03:00", "timezone": "Europe/London"}
    written(tmp_path, window=times)
    told = refusal(command, "job.yaml")
    assert "over at Mon 2020-06-01 03:00 Europe/London" in told
    assert not [*tmp_path.glob("*journal*")]


def test_a_cutover_takes_no_freeze(tmp_path: Path) -> None:
    window = "{every: Sat 01:00, for: 2h, timezone: UTC}"
    written(tmp_path, f"window: {window}\nduring: window\n")
    with Journal.create(tmp_path / "prepare.journal"):
        pass
    words = ("--tenants", tmp_path / "tenants.yaml", "--schedule", tmp_path / "when.yaml")
    told = refusal("migrate", "cutover", tmp_path / "prepare.journal", *words)
    assert "a cutover is to stay" in told


# ---- of the journal


async def test_the_journal_keeps_the_schedule(tmp_path: Path) -> None:
    schedule = Schedule(window=OPEN, halt=HALT, waves=(Wave(count=1),))
    books, _ = await run(a_sandbox(), tmp_path / "j", a_job(schedule))
    assert books == {"applied": 2, "pending": 0}
    with Journal.open(tmp_path / "j") as journal:
        assert schedule_of(journal) == schedule


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (Schedule(window=OPEN), Schedule(window=OPEN), None),
        (Schedule(window=OPEN), Schedule(window=LONGER), "window"),
        (AT_ONCE, Schedule(window=OPEN, halt=HALT), "window and halt"),
        (Schedule(waves=(Wave(count=1),)), Schedule(waves=(Wave(share=1.0),)), "waves"),
        (Schedule(halt=HALT), AT_ONCE, "halt"),
    ],
)
async def test_a_job_goes_on_by_another_schedule_and_says_so(
    tmp_path: Path, before: Schedule, after: Schedule, changed: str | None
) -> None:
    sandbox, path = a_sandbox(), tmp_path / "j"
    await run(sandbox, path, a_job(before))
    with Journal.open(path) as journal:
        journal.note(waves='[["t0"]]')
    writes = len(sandbox.writes())
    books, told = await run(sandbox, path, a_job(after))
    assert books == {"applied": 2, "pending": 0}
    assert len(sandbox.writes()) == writes
    said = f"{path} goes on by another schedule than before: {changed} changed"
    assert told == ([said] if changed else [])
    with Journal.open(path) as journal:
        assert schedule_of(journal) == after
        assert journal.meta("waves") == ("" if changed == "waves" else '[["t0"]]')
        anew = [event for event in journal.events() if event.kind == "waves"]
        assert len(anew) == (changed == "waves")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Schedule(window=OPEN, freeze=True), Schedule(window=LONGER, freeze=True)),
        (Schedule(window=OPEN, freeze=True), Schedule(window=OPEN)),
        (Schedule(window=OPEN), Schedule(window=OPEN, freeze=True)),
    ],
)
async def test_a_freeze_keeps_the_schedule_that_it_began_with(
    tmp_path: Path, before: Schedule, after: Schedule
) -> None:
    sandbox, path = a_sandbox(), tmp_path / "j"
    await run(sandbox, path, a_job(before), ways=Ways(wait=False))
    assert len(sandbox.writes()) == 2
    kept_before = kept(path)
    for _ in range(2):
        with pytest.raises((Differs, NotPutBack), match="a freeze keeps the one that it began"):
            await run(sandbox, path, a_job(after), ways=Ways(wait=False))
    assert kept(path) == kept_before
    assert len(sandbox.writes()) == 2


async def test_a_freeze_that_has_not_begun_is_planned_anew_for_another_window(
    tmp_path: Path,
) -> None:
    sandbox, path, told = a_sandbox(), tmp_path / "j", list[str]()
    async with serve(sandbox) as url:
        tenants = {"t0": Tenant.with_token("t0", f"{url}/t0", "sandbox")}
        for year in (2090, 2091):
            later = Window(
                start=f"{year}-01-01T00:00", end=f"{year}-01-02T00:00", timezone="Europe/London"
            )
            job = a_job(Schedule(window=later, freeze=True))
            await run_job(job, tenants, path, ways=Ways(wait=False), tell=told.append)
            span = json.loads(kept(path, "span"))
            assert datetime.fromtimestamp(span[0], UTC).year == year
    assert told == []
    assert sandbox.writes() == []


async def test_a_window_that_is_over_is_refused_where_work_would_begin(tmp_path: Path) -> None:
    sandbox, path = a_sandbox(), tmp_path / "j"
    tenants = {"t0": Tenant.with_token("t0", "http://127.0.0.1:9/t0", "x")}
    late = a_job(Schedule(window=PAST))
    with pytest.raises(Refused, match="over at Wed 2020-01-01 02:00 Europe/London"):
        await run(sandbox, path, late)
    with pytest.raises(Refused, match="over at Wed 2020-01-01 02:00 Europe/London"):
        await plan_job(late, tenants, path)
    assert not os.listdir(tmp_path)
    await run(sandbox, path, a_job(AT_ONCE))
    before = path.read_bytes()
    with pytest.raises(Refused, match="does not come again"):
        await run(sandbox, path, late, fresh=True)
    assert path.read_bytes() == before
    # What has begun goes on by it: what is to be put back must be.
    books, _ = await run(sandbox, path, late)
    assert books == {"applied": 2, "pending": 0}


async def test_what_is_left_when_a_window_is_over_for_good_needs_another(tmp_path: Path) -> None:
    path = tmp_path / "j"
    later = Window(start="2098-01-01T00:00", end="2099-01-01T00:00", timezone="Europe/London")
    asked = list[Journal]()

    async def ask(journal: Journal) -> bool:
        asked.append(journal)
        return True

    async with serve(a_sandbox()) as url:
        tenants = {"t0": Tenant.with_token("t0", f"{url}/t0", "sandbox")}
        await run_job(a_job(Schedule(window=later)), tenants, path, ways=Ways(wait=False))
        with Journal.open(path) as journal:
            journal.note(schedule=kept(path).replace("209", "200"))
        told = await apply_journal(path, tenants, confirm=ask)
        assert told.exit_status == 3
        assert not asked
        assert told.window == "over, and it does not come again; give its job another, and run that"
        assert told.next == f"bulkhooks run JOB --journal {path}"
        told = await run_job(a_job(Schedule(window=OPEN)), tenants, path)
    assert (told.books.applied, told.next) == (2, "")


# ---- of clocks


@pytest.mark.parametrize(
    ("ahead", "words"), [(45.0, "4[45] s behind"), (-45.0, "4[56] s ahead of"), (25.0, "")]
)
async def test_a_host_whose_clock_is_off_is_told_where_windows_are_kept(
    tmp_path: Path, ahead: float, words: str
) -> None:
    for number, schedule in enumerate((Schedule(window=OPEN), AT_ONCE)):
        path, sandbox = tmp_path / f"j{number}", a_sandbox(clock_ahead=ahead)
        _, told = await run(sandbox, path, a_job(schedule))
        with Journal.open(path) as journal:
            events = [event.what for event in journal.events() if event.kind == "clock"]
        if not words or schedule is AT_ONCE:
            assert (told, events) == ([], [])
            continue
        (line,) = told
        assert re.match(f"the clock of this host is {words} that of t0; windows are kept by", line)
        (event,) = events
        assert event["tenant"] == "t0"
        assert abs(event["ahead"] - ahead) < 2


async def test_a_plan_that_is_applied_later_tells_of_clocks_each_time(tmp_path: Path) -> None:
    told: list[str] = []
    async with serve(a_sandbox(clock_ahead=300)) as url:
        tenants = {"t0": Tenant.with_token("t0", f"{url}/t0", "sandbox")}
        await plan_job(a_job(Schedule(window=OPEN)), tenants, tmp_path / "j", tell=told.append)
        assert len(told) == 1
        await apply_journal(tmp_path / "j", tenants, tell=told.append)
    assert len(told) == 2
    assert all("this host is" in line for line in told)
