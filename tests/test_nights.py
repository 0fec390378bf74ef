"""What docs/nights.md shows is so, and the sample probe says what it promises."""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bulkhooks.cli import app
from bulkhooks.halting import sentences
from bulkhooks.jobfile import load_job
from bulkhooks.sandbox import Sandbox
from bulkhooks.schedulefile import load_schedule
from bulkhooks.tenants import Tenant
from bulkhooks.windows import coming
from world import served

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "nights.md").read_text()
PROBE = ROOT / "jobs" / "probes" / "smoke.py"
TENANTS = {name: Tenant.with_token(name, f"https://x/{name}", "t") for name in ("prod-a", "prod-b")}


def blocks(kind: str, start: str = "") -> list[str]:
    """The page's code blocks of a kind that begin so."""
    return re.findall(rf"^```{kind}\n({start}.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def cells(head: str) -> list[list[str]]:
    """The rows of the table with this head."""
    after = PAGE.partition(f"\n{head}\n")[2].splitlines()[1:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), after)
    found = [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]
    assert found
    return found


def test_its_job_is_valid_for_hooks_and_actions(tmp_path: Path) -> None:
    (text,) = blocks("yaml", "# job.yaml")
    (tmp_path / "job.yaml").write_text(text)
    job = load_job(tmp_path / "job.yaml")
    assert {edit.of for edit in job.edits(TENANTS)} == {"hooks", "actions"}
    schedule = job.schedule
    assert schedule.window
    assert schedule.waves
    assert schedule.halt


def test_its_schedules_are_valid(tmp_path: Path) -> None:
    texts = blocks("yaml", "# schedule.yaml")
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "schedule.yaml").write_text(text)
        assert load_schedule(tmp_path / "schedule.yaml")


def test_every_form_of_a_window_is_one(tmp_path: Path) -> None:
    forms = [
        row[0].strip("`").replace("...", "Europe/London") for row in cells("| written | is open |")
    ]
    (text,) = [text for text in blocks("yaml", "# schedule.yaml") if "window" in text]
    forms += [f"{{every: {each}, for: 2h, timezone: UTC}}" for each in re.findall('"[^"]+"', text)]
    assert len(forms) == 7
    for form in forms:
        (tmp_path / "schedule.yaml").write_text(f"window: {form}\n")
        window = load_schedule(tmp_path / "schedule.yaml").window
        assert window
        assert coming(window, 1_700_000_000.0)


def test_every_rule_that_halts_is_told_as_the_page_says(tmp_path: Path) -> None:
    for written, says in cells("| written | stops when |"):
        (tmp_path / "schedule.yaml").write_text(f"halt: {{{written.strip('`')}}}\n")
        (sentence,) = sentences(load_schedule(tmp_path / "schedule.yaml").halt, 40)
        told = sentence.partition(" (")[0]
        if "%" in written:
            assert told == "5% of the wave's 40 items: stops when the 2nd item fails"
        else:
            assert told == f"stops when {says.removesuffix(', over all tenants')}"


def test_its_commands_and_exit_statuses_are_those_that_there_are() -> None:
    commands = {
        command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
        if command.callback
    }
    shown = set(re.findall(r"(?:`|^\$ |^)bulkhooks ([\w-]+)", PAGE, re.MULTILINE))
    assert shown
    assert shown <= commands
    readme = (ROOT / "README.md").read_text()
    known = set(re.findall(r"^\| (\d+) \|", readme, re.MULTILINE))
    assert {row[0] for row in cells("| exit status | of a night |")} <= known


def ask(*base_urls: str) -> subprocess.CompletedProcess[str]:
    """The sample probe, asked about tenants, told as the page shows it."""
    (shown,) = blocks("json")
    wave = json.loads(shown)
    (tenant,) = wave["tenants"]
    wave["tenants"] = [tenant | {"base_url": url} for url in base_urls]
    return subprocess.run(
        [sys.executable, str(PROBE)], input=json.dumps(wave), capture_output=True, text=True
    )


def test_the_sample_probe_is_good_where_tenants_answer_and_bad_where_they_break() -> None:
    with served(
        Sandbox(["t0", "t1"], fault=lambda asked: "error-500" if asked.tenant == "t1" else None)
    ) as url:
        assert ask(f"{url}/t0").returncode == 0
        ended = ask(f"{url}/t0", f"{url}/t1")
    assert ended.returncode == 1
    assert "500" in ended.stdout


def test_the_sample_probe_asks_where_a_tenant_cannot_be_reached() -> None:
    with socket.socket() as taken:  # and does not listen
        taken.bind(("127.0.0.1", 0))
        ended = ask(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert ended.returncode == 2
    assert ended.stdout.startswith("shop-1: ")


@pytest.mark.parametrize("job", ["window", "freeze-window", "waves"])
def test_the_samples_are_of_what_their_names_say(job: str) -> None:
    keys = yaml.safe_load((ROOT / "jobs" / f"{job}.yaml").read_text()).keys()
    wanted = {
        "window": {"window"},
        "freeze-window": {"window", "during"},
        "waves": {"waves", "halt"},
    }
    assert keys & {"window", "during", "waves", "halt"} == wanted[job]
