"""README is true: what it shows runs, and what it promises is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from bulkhooks.cli import app
from bulkhooks.jobfile import load_job
from bulkhooks.journal import Journal
from bulkhooks.pacing import Pace
from bulkhooks.sandbox import Sandbox
from bulkhooks.schema import TenantsFile, json_schema
from bulkhooks.tenants import load_tenants
from world import World, served

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(kind: str, start: str = "") -> str:
    """The first code block of a kind that holds `start`."""
    return next(str(text) for name, text in BLOCKS if name == kind and start in text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the job and tenants file that README shows."""
    (tmp_path / "tenants.yaml").write_text(block("yaml", "# tenants.yaml"))
    (tmp_path / "job.yaml").write_text(block("yaml", "# job.yaml"))
    return tmp_path


def program(*words: str, folder: Path, status: int = 0) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "bulkhooks", *words], cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == status, ended.stderr
    return ended.stdout


def test_the_job_and_tenants_files_it_shows_are_valid(folder: Path) -> None:
    assert "5 edits, nothing wrong" in program("validate", "job.yaml", folder=folder)


def test_the_night_it_shows_is_valid_and_can_be_rehearsed(folder: Path) -> None:
    (folder / "night.yaml").write_text(block("yaml", "# night.yaml"))
    assert "2 edits, nothing wrong" in program("validate", "night.yaml", folder=folder)
    program("run", "night.yaml", "--sandbox", folder=folder)
    night, back = sorted(path.name for path in folder.glob("*.journal"))
    for journal in (night, back):
        books = json.loads(program("status", journal, "--json", folder=folder))
        assert books["applied"] == books["planned"] == 4


def test_the_job_it_shows_runs_on_the_sandbox(folder: Path) -> None:
    program("run", "job.yaml", "--sandbox", "--max-deletes", "1", folder=folder)
    assert "applied" in program("status", "freeze-signups.sandbox.journal", folder=folder)


def test_its_run_command_works_from_the_folder_it_is_shown_for(tmp_path: Path) -> None:
    command = shlex.split(block("sh", "--sandbox").split("&&")[-1])
    assert command[0] == ".venv/bin/bulkhooks"
    path = str(ROOT / command[2])
    program(command[1], path, *command[3:], folder=tmp_path)


def test_its_commands_are_the_commands_there_are() -> None:
    commands = {
        command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
        if command.callback
    }
    shown = set(re.findall(r"bulkhooks ([\w-]+)", README))
    assert commands <= shown
    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__


def test_its_python_example_runs(folder: Path) -> None:
    example = block("python")
    code = [line for line in example.splitlines() if line.strip()]
    assert len(code) <= 15
    sandbox = Sandbox(["prod-a", "prod-b"])
    with served(sandbox) as url:
        world = World(folder, sandbox, url, ["prod-a", "prod-b"])
        (folder / "tenants.yaml").write_text((folder / "tenants.json").read_text())
        ended = subprocess.run(
            [sys.executable, "-c", example],
            cwd=folder,
            env=world.env,
            capture_output=True,
            text=True,
        )
    assert ended.stdout == "2 applied, 0 failed\n", ended.stderr


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_the_tenants_files_and_links_of_every_page_are_good(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"ca_file: ([^ \n]+)", text):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        trustme.CA().cert_pem.write_to_path(tmp_path / name)
    for file in re.findall(r"^```yaml\n(# tenants.yaml\n.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / "tenants.yaml").write_text(file)
        assert load_tenants(tmp_path / "tenants.yaml")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / link).exists(), link


def test_the_tenants_page_names_every_key_and_shows_most(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tenants.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    defs = json_schema(TenantsFile)["$defs"]
    for key in {*defs["TenantEntry"]["properties"], *defs["TimeoutsEntry"]["properties"]}:
        assert re.search(rf"`{key}[`:]", page), key
    for key in defs["DefaultsEntry"]["properties"]:
        assert re.search(rf"^\| `{key}[`:].*\*", page, re.MULTILINE), key
    for key in ("token", "client_secret", "private_key", "audience", "ca_file", "headers", "hooks"):
        assert f"{key}: " in example, key


def test_the_tuning_page_names_all_that_a_lane_tells_of_its_pace() -> None:
    page = (ROOT / "docs" / "tuning.md").read_text()
    for name in Pace.__struct_fields__:
        assert f"`{name}`" in page


def test_every_sample_job_is_valid_and_short() -> None:
    tenants = load_tenants(ROOT / "jobs" / "tenants.yaml")
    jobs = [
        path
        for path in (ROOT / "jobs").iterdir()
        if path.suffix in (".yaml", ".json", ".jsonl", ".csv") and path.stem != "tenants"
    ]
    assert len(jobs) >= 4
    for path in jobs:
        assert list(load_job(path).edits(tenants)), path
        assert len(path.read_text().splitlines()) < 40


@pytest.mark.parametrize(
    "job",
    [
        *("toggles.jsonl", "renames.csv", "script-edit.yaml", "swap.yaml"),
        *("window.yaml", "freeze-window.yaml"),
    ],
)
def test_every_sample_job_can_be_rehearsed(job: str, tmp_path: Path) -> None:
    out = program("run", str(ROOT / "jobs" / job), "--sandbox", folder=tmp_path)
    assert " failed" not in out.replace("failed  ", "")


def test_the_samples_of_nights_are_for_hooks_and_actions_alike() -> None:
    tenants = load_tenants(ROOT / "jobs" / "tenants.yaml")
    for name in ("window", "freeze-window", "waves"):
        edits = load_job(ROOT / "jobs" / f"{name}.yaml").edits(tenants)
        assert {edit.of for edit in edits} == {"hooks", "actions"}


def test_a_rehearsal_asks_a_probe_and_waits_for_nothing(tmp_path: Path) -> None:
    program("run", str(ROOT / "jobs" / "waves.yaml"), "--sandbox", folder=tmp_path)
    with Journal.read(tmp_path / "waves.sandbox.journal") as journal:
        events = [(event.kind, event.what.get("verdict")) for event in journal.events()]
    assert events.count(("probe", "good")) == 2
    assert not {"soak", "halt"} & {kind for kind, _ in events}


def test_a_rehearsal_knows_the_tenants_that_a_selector_leaves_out(folder: Path) -> None:
    """Though no edit reaches them, so that the sandbox has none of their hooks."""
    edit = {"tenants": {"not": "acme-dev"}, "hooks": {"enabled": True}, "set": {"enabled": False}}
    (folder / "rest.jsonl").write_text(json.dumps(edit))
    out = program("run", "rest.jsonl", "--sandbox", folder=folder)
    assert "prod-acme" in out
    assert "acme-dev" not in out


def test_a_rehearsal_has_the_actions_that_a_job_names(folder: Path) -> None:
    edits = [
        {"tenant": "acme-dev", "action": {"name": "mine"}, "set": {"bound": True}},
        {
            "tenant": "acme-dev",
            "actions": {"triggerId": "post-login", "bound": True},
            "set": {"bound": False},
        },
    ]
    (folder / "bind.jsonl").write_text("".join(json.dumps(edit) + "\n" for edit in edits))
    program("run", "bind.jsonl", "--sandbox", folder=folder)
    told = json.loads(program("status", "bind.sandbox.journal", "--json", folder=folder))
    assert told["applied"] == told["planned"] == 2


def test_the_exit_statuses_it_lists_are_the_ones_there_are() -> None:
    assert re.findall(r"^\| (\d+) \|", README, re.MULTILINE) == [
        *("0", "1", "2", "3", "4", "5", "70", "130")
    ]
