"""What keeps a hand from slipping: drift, guards, narrowing, and the way back."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from world import Make, World

PRE = "pre-user-registration"


@pytest.fixture
def world(make: Make) -> World:
    """Three tenants, each with hooks A (on) and B (off) of one trigger; t2 is protected."""
    world = make(names=("t0", "t1", "t2"), hooks=0)
    for name in world.tenants:
        for id in "AB":
            world.sandbox.add_hook(name, id=id, name=f"hook {id}", triggerId=PRE, enabled=id == "A")
    world.tenants["t0"]["tags"] = ["eu", "staging"]
    world.tenants["t1"]["tags"] = ["eu"]
    world.tenants["t2"]["protected"] = True
    world.write_tenants()
    return world


def plan(world: World, *words: str, status: int = 0) -> Any:
    fixed = ("--tenants", "tenants.json", "--journal", "j")
    return world.call("plan", "job.json", *fixed, *words, status=status)


def job(world: World, *edits: Any, **more: Any) -> None:
    world.write("job.json", {"edits": list(edits)} | more)


def on(world: World, name: str) -> str:
    return "".join(hook["id"] for hook in world.sandbox.hooks_of(name) if hook["enabled"])


OFF = {"tenants": ["t0", "t1"], "hook": "A", "set": {"enabled": False}}
SWAP = {"tenants": ["t0", "t1"], "hook": "B", "set": {"enabled": True}}


# ---- drift


def test_a_saved_plan_skips_what_has_changed_since_and_shows_both_states(world: World) -> None:
    job(world, {"tenants": ["t0", "t1"], "hook": "A", "set": {"dependencies": {"a": "2"}}})
    plan(world)
    world.sandbox.change("t0", "A", dependencies={"a": "theirs"})
    applied = world.call("apply", "j", "--yes", status=1)
    assert "drifted: dependencies was {}, is {a theirs}" in applied.stdout
    assert "apply --replan" in applied.stdout
    assert world.sandbox.hooks_of("t0")[0]["dependencies"] == {"a": "theirs"}
    assert world.sandbox.hooks_of("t1")[0]["dependencies"] == {"a": "2"}
    world.call("apply", "j", "--yes", "--replan")
    assert world.sandbox.hooks_of("t0")[0]["dependencies"] == {"a": "2"}
    assert world.books()["applied"] == 2


def test_a_hook_that_somebody_enabled_since_is_not_switched_off_silently(make: Make) -> None:
    world = make(names=("t0",), hooks=0, second_enable="switch")
    for id in "AB":
        world.sandbox.add_hook("t0", id=id, name=id, triggerId=PRE)
    job(world, {"tenant": "t0", "hook": "A", "set": {"enabled": True}})
    plan(world)
    world.sandbox.change("t0", "B", enabled=True)
    applied = world.call("apply", "j", "--yes", status=1)
    assert "drifted: B of its trigger is enabled" in applied.stdout
    assert on(world, "t0") == "B"
    world.call("apply", "j", "--yes", "--replan")
    assert on(world, "t0") == "A"


# ---- what a job may not ask for


def test_edits_that_contradict_are_both_named_and_nothing_is_sent(world: World) -> None:
    other = {"tenant": "t1", "hook": {"name": "hook A"}, "set": {"enabled": True}}
    job(world, {**OFF, "id": "night"}, {**other, "id": "day"})
    refused = plan(world, status=2)
    assert "edits night and day" in refused.stderr
    assert "enabled of hook A; tenants: t1" in refused.stderr
    assert not (world.folder / "j").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--max-changes", "1"), "2 changes; --max-changes is 1"),
        (("--max-per-tenant", "0"), "more than --max-per-tenant 0 on t0 (1), t1 (1)"),
    ],
)
def test_more_than_the_guards_allow_is_refused_at_plan_time(
    world: World, words: tuple[str, ...], told: str
) -> None:
    job(world, OFF)
    assert told in plan(world, *words, status=2).stderr
    assert not (world.folder / "j").exists()
    plan(world, words[0], "2")


def test_deletes_are_counted_before_any_is_sent(world: World) -> None:
    job(world, {"tenants": ["t0", "t1"], "hook": "B", "delete": True})
    assert "2 hooks would be deleted; --max-deletes is 0" in plan(world, status=2).stderr
    world.call("run", "job.json", "--tenants", "tenants.json", "--yes", "--max-deletes", "2")
    assert [len(world.sandbox.hooks_of(name)) for name in world.tenants] == [1, 1, 2]


def test_a_protected_tenant_must_be_spelled_out(world: World) -> None:
    job(world, {"tenants": "*", "hook": "A", "set": {"enabled": False}})
    refused = plan(world, status=2)
    assert "protected: t2; to change them name each: --only t2" in refused.stderr
    assert "t2" in plan(world, "--only", "t*", status=2).stderr
    plan(world, "--only", "t2")
    world.call("apply", "j", "--yes")
    assert [on(world, name) for name in world.tenants] == ["A", "A", ""]


def test_only_tags_keep_a_job_where_it_belongs(world: World) -> None:
    job(world, OFF, only_tags=["staging"])
    assert "t1" in plan(world, status=2).stderr
    job(world, OFF | {"tenants": "t0"}, only_tags=["staging"])
    plan(world)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("--only", "t1"), ["A", ""]),
        (("--skip", "t1"), ["", "A"]),
        (("--only", "tag:staging"), ["", "A"]),
        (("--skip", "tag:eu", "--only", "t0"), None),
        (("--only", f"trigger:{PRE}"), ["", ""]),
        (("--skip", f"trigger:{PRE}"), ["A", "A"]),
        (("--only", "hook:hook B"), ["A", "A"]),
        (("--only", "hook:*A", "--only", "tag:eu", "--skip", "t0"), ["A", ""]),
    ],
)
def test_only_and_skip_narrow_a_job(
    world: World, words: tuple[str, ...], left: list[str] | None
) -> None:
    job(world, OFF)
    world.run_job("job.json", *words, status=0 if left else 2)
    if left:
        assert [on(world, name) for name in ("t0", "t1")] == left


@pytest.mark.parametrize(
    "which", ["tag:no", "nobody", "trigger:x", "colour:red", "hook:", "hook:hok A"]
)
def test_a_word_that_narrows_to_nothing_known_is_refused(world: World, which: str) -> None:
    job(world, OFF)
    assert which.rpartition(":")[2] in plan(world, "--only", which, status=2).stderr


# ---- the way back


def test_undo_puts_everything_back_and_the_journal_is_not_applied_any_more(world: World) -> None:
    secret = {"tenant": "t0", "hook": "A", "set_secrets": {"K": "env:TOKEN"}}
    create = {"tenant": "t1", "create": {"name": "new", "triggerId": PRE, "script": "s"}}
    delete = {"tenant": "t1", "hook": "A", "delete": True}
    swap = SWAP | {"tenants": ["t0"]}
    job(world, swap, secret, create, delete)
    was = [world.sandbox.hooks_of(name) for name in world.tenants]
    world.run_job("job.json", "--max-deletes", "1")
    assert on(world, "t0") == "B"
    assert "--max-deletes is 0" in world.call("undo", "j", "--yes", status=2).stderr
    world.call("undo", "j", "--yes", "--max-deletes", "1")
    now = [world.sandbox.hooks_of(name) for name in world.tenants]
    for hooks in (was[1], now[1]):
        for hook in hooks:
            hook["id"] = hook["id"] if hook["name"] != "hook A" else "made again"
        hooks.sort(key=lambda hook: str(hook["name"]))
    assert now == was
    assert world.sandbox.secrets_of("t0", "A") == {}
    refused = world.call("apply", "j", "--yes", "--failed", status=2)
    assert "was undone by" in refused.stderr
    assert "was undone by" in world.run_job("job.json", "--max-deletes", "1", status=2).stderr
    assert world.books()["next"].endswith("j.undo")


def test_without_yes_an_undo_is_a_plan_that_apply_carries_out(world: World) -> None:
    job(world, SWAP)
    world.run_job("job.json")
    told = json.loads(world.call("undo", "j", "--json").stdout)
    assert told["pending"] == 2
    assert on(world, "t0") == "B"
    world.call("apply", "j.undo", "--yes")
    assert on(world, "t0") == "A"
    world.call("undo", "j.undo", "--yes")
    assert on(world, "t0") == "B"


def test_what_others_changed_since_is_left_alone_by_an_undo(world: World) -> None:
    job(world, OFF)
    world.run_job("job.json")
    world.sandbox.change("t0", "A", enabled=True)
    world.sandbox.change("t1", "B", enabled=True)
    undone = world.call("undo", "j", "--yes", status=1)
    assert "drifted since it was written: hook B of its trigger is enabled" in undone.stdout
    assert [on(world, name) for name in ("t0", "t1")] == ["A", "B"]
    assert world.books("j.undo")["unchanged"] == 1


def test_a_journal_that_wrote_nothing_has_no_way_back(world: World) -> None:
    job(world, OFF)
    plan(world)
    assert "nothing was written" in world.call("undo", "j", status=2).stderr
    world.call("apply", "j", "--yes")


# ---- secrets


def test_a_secrets_value_is_fetched_when_it_is_sent_and_kept_nowhere(world: World) -> None:
    world.env["HIDDEN"] = "marker-5b1d"
    job(world, {"tenants": ["t0", "t1"], "hook": "A", "set_secrets": {"K": "env:HIDDEN"}})
    ran = world.run_job("job.json")
    assert world.sandbox.secrets_of("t1", "A") == {"K": "marker-5b1d"}
    kept = b"".join(path.read_bytes() for path in world.folder.iterdir() if path.is_file())
    assert b"marker-5b1d" not in kept + (ran.stdout + ran.stderr).encode()
    with sqlite3.connect(world.folder / "j") as journal:
        assert "env:HIDDEN" in "".join(row[0] for row in journal.execute("SELECT want FROM steps"))


@pytest.mark.parametrize("value", ["", "_VALUE_NOT_SHOWN_", "_VALUE_NOT_SHOWN"])
def test_a_value_that_is_missing_or_the_mask_fails_its_item_and_no_other(
    world: World, value: str
) -> None:
    world.env["HIDDEN"] = value
    secret = {"tenant": "t0", "hook": "A", "set_secrets": {"K": "env:HIDDEN"}}
    job(world, secret, {"tenant": "t1", "hook": "A", "set": {"name": "x"}})
    assert "HIDDEN" in world.run_job("job.json", status=1).stdout
    books = world.books()
    assert (books["failed"], books["applied"]) == (1, 1)
    assert world.sandbox.secrets_of("t0", "A") == {}
