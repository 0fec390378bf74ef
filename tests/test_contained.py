"""What files and tenants say leads nowhere: no name is a path, no link is written through, nothing
is run by a shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhooks import BadInput
from bulkhooks.desk import Work
from bulkhooks.errors import NoValue, Refused
from bulkhooks.jobwriter import save_job
from bulkhooks.locks import held_beside
from bulkhooks.references import Reference
from world import Make, World

TENANTS = ("--tenants", "tenants.json")
NAME = "$(touch made); touch made & `touch made` | touch made"
RUNS = f"{NAME}\n#{{`touch made`}}"


def under(folder: Path) -> dict[str, bytes]:
    """All files below a folder, and what is in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def job(world: World) -> None:
    hook = world.ids("t0")[0]
    world.write("job.jsonl", [{"tenant": "t0", "hook": hook, "set": {"name": "renamed"}}])


# ---- the journal


def test_a_journal_is_not_made_through_a_link(make: Make) -> None:
    world = make(("t0",), hooks=1)
    job(world)
    (world.folder / "j").symlink_to("elsewhere")
    (world.folder / ".j.staged").symlink_to("elsewhere")
    world.call("plan", "job.jsonl", *TENANTS, "--journal", "j")
    assert not (world.folder / "elsewhere").exists()
    assert not (world.folder / "j").is_symlink()


def test_a_link_to_what_is_no_journal_is_refused(make: Make) -> None:
    world = make(("t0",), hooks=1)
    job(world)
    for content in (b"something else", b""):
        (world.folder / "elsewhere").write_bytes(content)
        (world.folder / "j").unlink(missing_ok=True)
        (world.folder / "j").symlink_to("elsewhere")
        for words in (("run", "job.jsonl", *TENANTS, "--yes"), ("plan", "job.jsonl", *TENANTS)):
            assert "damaged" in world.call(*words, "--journal", "j", status=4).stderr
        assert (world.folder / "elsewhere").read_bytes() == content
        assert (world.folder / "j").is_symlink()


def test_a_link_to_a_journal_is_followed_to_go_on_and_replaced_by_a_new_plan(make: Make) -> None:
    world = make(("t0",), hooks=1)
    job(world)
    world.call("plan", "job.jsonl", *TENANTS, "--journal", "elsewhere")
    planned = (world.folder / "elsewhere").read_bytes()
    (world.folder / "j").symlink_to("elsewhere")
    world.call("plan", "job.jsonl", *TENANTS, "--journal", "j")
    assert (world.folder / "elsewhere").read_bytes() == planned
    (world.folder / "j").unlink()
    (world.folder / "j").symlink_to("elsewhere")
    world.call("apply", "j", "--yes")
    assert world.books("elsewhere")["applied"] == 1


def test_a_lock_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "j.lock").symlink_to("elsewhere")
    with pytest.raises(Refused, match="cannot make the lock file"), held_beside(tmp_path / "j"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", "..", ".x", "a\\b", "x\0", "x\n", "$(x)"]
)
def test_a_jobs_name_is_no_path(tmp_path: Path, name: str) -> None:
    edit = {"tenant": "t0", "hook": "A", "set": {"enabled": False}}
    (tmp_path / "job.json").write_text(json.dumps({"name": name, "edits": [edit]}))
    entry = {"base_url": "http://127.0.0.1:1", "token": "env:TOKEN"}
    (tmp_path / "tenants.json").write_text(json.dumps({"tenants": {"t0": entry}}))
    with pytest.raises(BadInput, match="name"):
        Work.read(tmp_path / "job.json", tmp_path / "tenants.json")


# ---- exports and jobs


def link_to(place: str) -> Callable[[Path], None]:
    """Puts a link to a folder or file elsewhere at a place in the folder of an export."""

    def make_link(out: Path) -> None:
        link = out / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(out.parent / "elsewhere")

    return make_link


@pytest.mark.parametrize("yaml", [False, True], ids=["json", "yaml"])
@pytest.mark.parametrize(
    "place", ["t0", "t0/hooks", "t0/.hooks.staged", "t0/tenant.yaml", "t0/.tenant.yaml.staged"]
)
def test_an_export_goes_through_no_link(make: Make, place: str, yaml: bool) -> None:
    world = make(("t0",), hooks=2)
    for content in (None, "kept"):
        elsewhere, out = world.folder / "elsewhere", world.folder / f"out-{content}"
        elsewhere.mkdir() if content is None else elsewhere.write_text(content)
        link_to(place)(out)
        words = ("export", "--to", out.name, *TENANTS, *(["--yaml"] if yaml else []))
        with world.start(*words) as process:
            _, err = process.communicate()
        assert process.returncode in ((0,) if place.startswith("t0/.tenant") else (1, 2)), err
        assert "Traceback" not in err
        if content is None:
            assert list(elsewhere.iterdir()) == []
            elsewhere.rmdir()
        else:
            assert elsewhere.read_text() == content


def test_what_a_tenant_calls_its_hooks_leads_nowhere(make: Make) -> None:
    names = ("../../x", "/tmp/x", "..", "hooks/../../../x", "-rf", NAME, "a\\b", "x" * 400)
    world = make(("t0",), hooks=len(names))
    for id, name in zip(world.ids("t0"), names, strict=True):
        world.sandbox.change("t0", id, name=name, script=RUNS)
    before = set(under(world.folder.parent))
    world.call("export", "--to", "out", *TENANTS)
    made = set(under(world.folder.parent)) - before
    made.remove(f"{world.folder.name}/out/t0/triggers/triggers.json")
    assert len(made) == 2 * len(names)
    assert {str(Path(path).parent) for path in made} == {f"{world.folder.name}/out/t0/hooks"}


@pytest.mark.parametrize("what", ["hooks", "hooks/a.json", "hooks/a.js", "tenant.yaml"])
def test_a_job_is_made_of_nothing_behind_a_link(make: Make, what: str) -> None:
    world = make(("t0",), hooks=1)
    elsewhere, root = world.folder / "elsewhere", world.folder / "out" / "t0"
    (elsewhere / "hooks").mkdir(parents=True)
    hook = {"name": "a", "triggerId": "pre-user-registration", "script": "./a.js"}
    (elsewhere / "hooks" / "a.json").write_text(json.dumps(hook))
    (elsewhere / "hooks" / "a.js").write_text("outside")
    listed = hook | {"script": "./hooks/a.js"}
    (elsewhere / "tenant.yaml").write_text(json.dumps({"hooks": [listed]}))
    root.mkdir(parents=True)
    if "/" in what:
        (root / "hooks").mkdir()
    if what == "hooks/a.js":
        (root / "hooks" / "a.json").write_text(json.dumps(hook))
    (root / what).symlink_to(elsewhere / what)
    told = world.call("job-from", "out", *TENANTS, status=2)
    assert "leads out of the folder" in told.stderr
    assert "outside" not in told.stdout + told.stderr


def test_a_job_is_not_written_through_a_link(tmp_path: Path) -> None:
    for name in ("job.yaml", ".job.yaml.staged"):
        (tmp_path / name).symlink_to("elsewhere")
    assert save_job(tmp_path / "job.yaml", {}, [{"tenant": "t0", "delete": True}]) == 1
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "job.yaml").is_symlink()


# ---- what is run


@pytest.mark.parametrize(
    "command", ["echo $(touch made); touch made", "echo `touch made` > made", "echo | touch made"]
)
def test_a_command_is_words_and_no_line_for_a_shell(tmp_path: Path, command: str) -> None:
    found = Reference.parse(f"cmd:{command}", tmp_path).resolve()
    assert found == command.removeprefix("echo ")
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_found_in_a_variable_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMAND", "cmd:touch made")
    (tmp_path / "written").write_text("cmd:touch made")
    for written in ("env:COMMAND", "file:written"):
        assert Reference.parse(written, tmp_path).resolve() == "cmd:touch made"
    with pytest.raises(NoValue):
        Reference.parse("cmd:touch made", tmp_path).resolve()
    assert (tmp_path / "made").exists()  # it would have been seen


def test_what_scripts_and_names_say_is_not_run(make: Make) -> None:
    world = make(("t0",), hooks=2)
    for id in world.ids("t0"):
        world.sandbox.change("t0", id, script=RUNS, name=f"{NAME}{id}")
    create = {"name": "new", "triggerId": "send-phone-message", "script": RUNS}
    edits = [
        {
            "tenant": "t0",
            "hooks": {"enabled": True},
            "set": {"script": f"{RUNS} // new"},
            "note": RUNS,
        },
        {"tenant": "t0", "create": create, "note": RUNS},
    ]
    world.write("job.json", {"name": "job", "note": NAME, "edits": edits})
    world.call("run", "job.json", *TENANTS, "--yes", "--journal", "j")
    world.call("export", "--to", "out", *TENANTS)
    world.call("job-from", "j", "--to", "left.yaml", "--status", "failed")
    world.call("undo", "j", "--yes", "--max-deletes", "1", "--journal", "u")
    assert not list(world.folder.rglob("made"))
