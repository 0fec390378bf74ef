"""What keeps a hand from slipping: drift, guards, narrowing, and the way back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulkhooks import (
    BadInput,
    Guards,
    Job,
    Narrowing,
    Refused,
    Tenant,
    apply_journal,
    load_tenants,
    plan_job,
    run_job,
    undo_journal,
)
from bulkhooks.items import Narrowed
from bulkhooks.journal import Journal
from bulkhooks.plan import differences, stage
from engine import TENANTS, for_t0
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


@pytest.fixture
def known(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tenant]:
    """The tenants of the world, for calls that need no process."""
    monkeypatch.setenv("TOKEN", "sandbox")
    return load_tenants(world.folder / "tenants.json")


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


def test_actions_are_told_from_hooks_where_a_plan_is_refused(world: World) -> None:
    world.sandbox.add_action("t0", name="a", triggerId="post-login")
    hooks = {"tenants": ["t0", "t1"], "hook": "B", "delete": True}
    job(world, hooks, {"tenant": "t0", "action": {"name": "a"}, "delete": True})
    told = "2 hooks and 1 action would be deleted; --max-deletes is 0"
    assert told in plan(world, status=2).stderr
    job(world, {"tenants": ["t0"], "actions": {"name": "z*"}, "set": {"bound": False}})
    told = plan(world, status=2).stderr
    assert "actions: edit " in told
    assert "matches no action on any tenant; correct it" in told


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
    ("only", "skip", "hooks", "actions"),
    [
        (("hook:a*",), (), Narrowed(only_names=("a*",)), None),
        (("action:b",), (), None, Narrowed(only_names=("b",))),
        (
            ("hook:a", "action:b: c", f"trigger:{PRE}"),
            (),
            Narrowed(only_names=("a",), only_triggers=(PRE,)),
            Narrowed(only_names=("b: c",), only_triggers=(PRE,)),
        ),
        ((), ("action:b",), Narrowed(), Narrowed(skip_names=("b",))),
        (
            ("action:b",),
            ("hook:a", "trigger:post-login"),
            None,
            Narrowed(only_names=("b",), skip_triggers=("post-login",)),
        ),
    ],
)
def test_hooks_are_narrowed_by_their_names_and_actions_by_theirs(
    only: tuple[str, ...], skip: tuple[str, ...], hooks: object, actions: object
) -> None:
    narrowing = Narrowing(only=only, skip=skip)
    for edit, narrowed in (
        ({"hooks": {"enabled": True}, "delete": True}, hooks),
        ({"actions": {"bound": True}, "set": {"bound": False}}, actions),
    ):
        (read,) = Job.of("job", [{"tenants": "*", **edit}]).edits(TENANTS)
        left = narrowing.of(read, TENANTS)
        assert (left and (left.narrowed or Narrowed())) == narrowed


@pytest.mark.parametrize(
    "which", ["tag:no", "nobody", "trigger:x", "colour:red", "hook:", "hook:hok A"]
)
def test_a_word_that_narrows_to_nothing_known_is_refused(world: World, which: str) -> None:
    job(world, OFF)
    assert which.rpartition(":")[2] in plan(world, "--only", which, status=2).stderr


def test_a_job_of_hooks_has_nothing_for_who_names_an_action(world: World) -> None:
    job(world, OFF)
    assert "leave nothing of the job" in plan(world, "--only", "action:A", status=2).stderr


DELETE = {"tenant": "t0", "hook": "B", "delete": True}


def unreachable(world: World, *names: str) -> None:
    """From now on these tenants, and no others, refuse every token."""
    world.sandbox._refuse = frozenset(names)


async def test_what_is_planned_later_must_keep_within_the_guards_at_every_apply(
    world: World, known: dict[str, Tenant]
) -> None:
    path = world.folder / "j"
    unreachable(world, "t0")
    await plan_job(Job.of("job", [DELETE]), known, path)
    unreachable(world)
    for failed in (True, False):
        with pytest.raises(Refused, match="--max-deletes is 0"):
            await apply_journal(path, known, failed=failed)
    assert world.sandbox.writes() == []


async def test_edits_that_are_planned_later_must_not_contradict_either(
    world: World, known: dict[str, Tenant]
) -> None:
    path = world.folder / "j"
    names = [{"tenant": "t0", "hook": "B", "set": {"name": name}} for name in ("one", "two")]
    unreachable(world, "t0")
    await plan_job(Job.of("job", names), known, path)
    unreachable(world)
    with pytest.raises(BadInput, match="contradict each other on name of hook B; tenants: t0"):
        await apply_journal(path, known, failed=True)
    assert world.sandbox.writes() == []


async def test_a_run_that_goes_on_keeps_within_its_own_guards_too(
    world: World, known: dict[str, Tenant]
) -> None:
    job, path = Job.of("job", [DELETE]), world.folder / "j"
    await plan_job(job, known, path, guards=Guards(max_deletes=1))
    with pytest.raises(Refused, match="--max-deletes is 0"):
        await run_job(job, known, path, guards=Guards())
    assert world.sandbox.writes() == []
    await run_job(job, known, path, guards=Guards(max_deletes=1))
    assert len(world.sandbox.writes()) == 1


async def test_a_rehearsal_may_reach_a_protected_tenant(
    world: World, known: dict[str, Tenant]
) -> None:
    job = Job.of("job", [OFF | {"tenants": "*"}])
    summary = await run_job(job, known, world.folder / "j", sandbox=True)
    assert summary.books.applied == 3


async def test_a_selector_may_match_nothing_in_the_part_of_a_job_that_is_meant(
    world: World, known: dict[str, Tenant]
) -> None:
    world.sandbox.add_hook("t1", name="there", triggerId=PRE)
    named = {"tenants": ["t0", "t1"], "hooks": {"name": "there"}, "set": {"name": "renamed"}}
    for narrowing, planned in ((Narrowing(only=("t0",)), 1), (None, 2)):
        job = Job.of("job", [named, OFF | {"tenants": ["t0"]}])
        summary = await plan_job(job, known, world.folder / "j", narrowing=narrowing)
        assert summary.books.planned == planned


@contextmanager
def staged(path: Path, *only: str) -> Iterator[Journal]:
    """A journal of one and the same job, narrowed."""
    with Journal.create(path) as journal:
        job = for_t0({"hook": "B", "set": {"name": "x"}})
        narrowing, now = Narrowing(only=only), datetime.now(UTC)
        stage(journal, job, TENANTS, sandbox=False, now=now, narrowing=narrowing)
        yield journal


def test_what_narrows_a_job_makes_it_another_but_not_its_order(tmp_path: Path) -> None:
    with (
        staged(tmp_path / "one", "t0", "t1") as one,
        staged(tmp_path / "same", "t1", "t0") as same,
        staged(tmp_path / "other", "t0") as other,
    ):
        assert one.meta("digest") == same.meta("digest") != other.meta("digest")
        assert differences(one, other) == ["--only or --skip narrow it in another way"]


# ---- the way back


async def test_an_undo_that_its_guards_refuse_leaves_the_journal_to_be_applied(
    world: World, known: dict[str, Tenant]
) -> None:
    path, undo = world.folder / "j", world.folder / "undo"
    create = {"tenant": "t0", "create": {"name": "new", "triggerId": PRE, "script": "s"}}
    await run_job(Job.of("job", [create]), known, path)
    with pytest.raises(Refused, match="--max-deletes is 0"):
        await undo_journal(path, known, undo)
    assert not undo.exists()
    await apply_journal(path, known)


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
    with closing(sqlite3.connect(world.folder / "j")) as journal:
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
