"""A journal that somebody hands over chooses no tenants file, which may name commands to run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from world import Make, World


def planned(world: World, tenants: str) -> None:
    """A plan at `handed/j` of one edit, with that tenants file."""
    (world.folder / "handed").mkdir(exist_ok=True)
    hook = world.ids("t0")[0]
    world.write("job.jsonl", [{"tenant": "t0", "hook": hook, "set": {"name": "renamed"}}])
    world.call("plan", "job.jsonl", "--tenants", tenants, "--journal", "handed/j")


def commanding(world: World, file: Path) -> Path:
    """A tenants file that runs a command, and what that command makes."""
    made = world.folder / "made"
    token = f"cmd:{shlex.join(['sh', '-c', f'touch {made}; echo sandbox'])}"
    file.write_text(json.dumps({"tenants": {"t0": world.tenants["t0"] | {"token": token}}}))
    return made


def test_a_tenants_file_outside_of_the_journals_folder_is_used_only_when_named(
    make: Make,
) -> None:
    world = make(("t0",), hooks=2)
    planned(world, "tenants.json")
    made = commanding(world, world.folder / "tenants.json")
    file = world.folder / "tenants.json"
    for command in (("apply", "handed/j", "--yes"), ("undo", "handed/j")):
        told = world.call(*command, status=2).stderr
        assert told == (
            f"handed/j names the tenants file {file}, outside its folder; "
            f"if you trust it: --tenants {file}\n"
        )
    assert not made.exists()
    assert world.sandbox.writes() == []
    following = world.books("handed/j")["next"]
    assert following == f"bulkhooks apply handed/j --tenants {file}"
    world.call(*shlex.split(following)[1:], "--yes")
    assert made.exists()
    assert world.books("handed/j")["applied"] == 1


@pytest.mark.parametrize("place", ["handed/tenants.json", "handed/deeper/tenants.json"])
def test_a_tenants_file_in_the_journals_folder_or_below_needs_no_naming(
    make: Make, place: str
) -> None:
    world = make(("t0",), hooks=2)
    file = world.folder / place
    file.parent.mkdir(parents=True)
    file.write_bytes((world.folder / "tenants.json").read_bytes())
    planned(world, place)
    assert world.books("handed/j")["next"] == "bulkhooks apply handed/j"
    world.call("apply", "handed/j", "--yes")
    assert world.books("handed/j")["applied"] == 1


def test_a_link_out_of_the_journals_folder_leads_outside(make: Make) -> None:
    world = make(("t0",), hooks=2)
    (world.folder / "handed").mkdir()
    (world.folder / "handed" / "tenants.json").symlink_to(world.folder / "tenants.json")
    planned(world, "handed/tenants.json")
    told = world.call("apply", "handed/j", "--yes", status=2).stderr
    assert "outside its folder" in told
    assert world.sandbox.writes() == []


def test_a_link_to_a_journal_leads_to_its_own_folder(make: Make) -> None:
    world = make(("t0",), hooks=2)
    planned(world, "tenants.json")
    (world.folder / "j").symlink_to("handed/j")
    assert "outside its folder" in world.call("apply", "j", "--yes", status=2).stderr


def test_what_failed_is_gone_on_with_by_the_command_that_is_shown(make: Make) -> None:
    world = make(("t0",), hooks=2)
    planned(world, "tenants.json")
    world.sandbox._refuse = frozenset(["t0"])
    words = ("--tenants", "tenants.json", "--yes")
    world.call("apply", "handed/j", *words, status=1)
    world.sandbox._refuse = frozenset()
    following = shlex.split(world.books("handed/j")["next"])
    assert following[2:] == ["handed/j", "--failed", "--tenants", f"{world.folder}/tenants.json"]
    world.call(*following[1:], "--yes")
    assert world.books("handed/j")["applied"] == 1
