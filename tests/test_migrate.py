"""Hooks become actions by `bulkhooks migrate`: planned, prepared, cut over, and taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pytest

from bulkhooks.legacy import script_digest
from bulkhooks.sandbox import Sandbox
from world import STATES, Make, World

PRE: Final = "pre-user-registration"
POST: Final = "post-user-registration"
PLAIN: Final = "module.exports = function (user, context, cb) {\n  cb(null, { user: user });\n};\n"
KEYED: Final = """\
module.exports = function (user, context, cb) {
  cb(context.webtask.secrets.KEY ? null : new Error('no key'));
};
"""
BLOCKED: Final = """\
module.exports = function (user, context, cb) {
  context.webtask.storage.get(function (error, data) {
    cb(null, { user: user });
  });
};
"""
ALLOW: Final = ("--allow", script_digest(BLOCKED))
TENANTS: Final = ("--tenants", "tenants.json")
GIVEN: Final = (*TENANTS, "--secrets", "secrets.json")
#: Hooks with their state, what is bound to their triggers, and the actions that are deployed.
Looks: TypeAlias = dict[str, Any]
Trial: TypeAlias = Callable[..., World]


def fill(box: Sandbox, tenant: str) -> None:
    """A hook that is plain, one that has a secret, and one that is off; and an action of a
    person's own."""
    box.add_hook(tenant, name="fraud-check", triggerId=PRE, enabled=True, script=PLAIN)
    keyed = box.add_hook(tenant, name="crm-sync", triggerId=POST, enabled=True, script=KEYED)
    box.set_secrets(tenant, keyed["id"], {"KEY": "old"})
    box.add_hook(tenant, name="age-gate", triggerId=PRE, script=PLAIN)
    box.add_action(tenant, name="own", triggerId=PRE, bound=True)


@pytest.fixture
def trial(make: Make) -> Trial:
    """Makes a world of tenants with the hooks of `fill`, and files of their secrets' values."""

    def begun(names: tuple[str, ...] = ("t0", "t1"), **more: Any) -> World:
        world = make(names, hooks=0, **{"build_time": 0.0, "deploy_time": 0.0} | more)
        for name in names:
            fill(world.sandbox, name)
        world.env["KEY"] = "new"
        world.write("secrets.json", {"secrets": {"KEY": "env:KEY"}})
        return world

    return begun


def looks(world: World, tenant: str = "t0") -> Looks:
    box = world.sandbox
    return {
        "on": [hook["name"] for hook in box.hooks_of(tenant) if hook["enabled"]],
        "pre": box.bindings_of(tenant, PRE),
        "post": box.bindings_of(tenant, POST),
        "deployed": {each["name"]: each["all_changes_deployed"] for each in box.actions_of(tenant)},
    }


BEFORE: Final[Looks] = {
    "on": ["fraud-check", "crm-sync"],
    "pre": ["own"],
    "post": [],
    "deployed": {"own": True},
}
ALL: Final = {"own": True, "fraud-check": True, "crm-sync": True, "age-gate": True}
MOVED: Final[Looks] = {
    "on": [],
    "pre": ["fraud-check", "own"],
    "post": ["crm-sync"],
    "deployed": ALL,
}
PREPARED: Final[Looks] = BEFORE | {"deployed": ALL}


def books(world: World, journal: str = "migrate.journal") -> dict[str, int]:
    """The states of a journal that are not 0, which balance."""
    found = world.books(journal)
    return {state: found[state] for state in STATES if found[state]}


def causes(world: World, journal: str = "migrate.journal") -> dict[str, str]:
    """Why items did not end well, and what to do."""
    found = world.books(journal)["causes"]
    return {each["cause"]: each["hint"] for each in found}


def action(world: World, name: str, tenant: str = "t0") -> dict[str, Any]:
    return next(each for each in world.sandbox.actions_of(tenant) if each["name"] == name)


def hook(world: World, name: str, tenant: str = "t0") -> dict[str, Any]:
    return next(each for each in world.sandbox.hooks_of(tenant) if each["name"] == name)


def migrate(world: World, *words: str, status: int = 0) -> str:
    """Plan and apply; what both said."""
    planned = world.call("migrate", "plan", *GIVEN, *words)
    applied = world.call("apply", "migrate.journal", "--yes", status=status)
    return planned.stdout + planned.stderr + applied.stdout + applied.stderr


# ---- there, and back


def test_hooks_become_actions_in_their_place_and_undo_puts_all_back(trial: Trial) -> None:
    world = trial()
    migrate(world)
    for tenant in world.tenants:
        assert looks(world, tenant) == MOVED
        made = action(world, "crm-sync", tenant)
        assert world.sandbox.action_secrets_of(tenant, made["id"]) == {"KEY": "new"}
    assert books(world) == {"applied": 6}
    world.call("undo", "migrate.journal", "--yes", "--max-deletes", "6")
    assert [looks(world, tenant) for tenant in world.tenants] == [BEFORE, BEFORE]


def test_an_undo_leaves_the_actions_there_unless_it_may_delete_them(trial: Trial) -> None:
    world = trial(("t0",))
    migrate(world)
    world.call("undo", "migrate.journal", "--yes")
    assert looks(world) == PREPARED


def test_an_undo_deletes_no_more_than_it_may(trial: Trial) -> None:
    world = trial(("t0",))
    migrate(world)
    ended = world.call("undo", "migrate.journal", "--yes", "--max-deletes", "2", status=2)
    assert "3 hooks would be deleted; --max-deletes is 2" in ended.stderr
    assert looks(world) == MOVED


def test_a_plan_sends_no_write_and_says_what_to_type(trial: Trial) -> None:
    world = trial()
    ended = world.call("migrate", "plan", *GIVEN)
    assert world.sandbox.writes() == []
    assert "next: bulkhooks apply migrate.journal" in ended.stderr
    assert "6 items to write on 2 tenants" in ended.stdout


def test_a_plan_can_be_had_for_a_program_and_for_a_ticket(trial: Trial) -> None:
    world = trial()
    told = json.loads(world.call("migrate", "plan", *GIVEN, "--json").stdout)
    assert (told["planned"], told["pending"], told["job"]) == (6, 6, "migrate")
    assert "# migrate" in world.call("migrate", "plan", *GIVEN, "--markdown").stdout
    both = world.call("migrate", "plan", *GIVEN, "--json", "--markdown", status=2)
    assert "ask for one" in both.stderr


def switched(world: World, tenant: str = "t0") -> list[str]:
    """What went on and off on a tenant, in order."""
    on = []
    for seen in world.sandbox.writes():
        body = json.loads(seen.body or b"null")
        if seen.tenant == tenant and seen.path.endswith("/bindings"):
            on.append(f"bind {seen.path.split('/')[-2]}")
        elif seen.tenant == tenant and seen.path.startswith("/api/v2/hooks/"):
            on.append(f"off {seen.path.rpartition('/')[2]}")
            assert body == {"enabled": False}
    return on


@pytest.mark.parametrize("way", ["overlap", "gap"])
def test_for_a_moment_both_run_or_neither(trial: Trial, way: str) -> None:
    world = trial(("t0",))
    migrate(world, f"--{way}")
    for name, trigger in (("fraud-check", PRE), ("crm-sync", POST)):
        pair = [f"bind {trigger}", f"off {hook(world, name)['id']}"]
        found = [each for each in switched(world) if each in pair]
        assert found == (pair if way == "overlap" else pair[::-1])
    assert looks(world) == MOVED


def test_prepared_actions_run_nowhere_until_they_are_cut_over(trial: Trial) -> None:
    world = trial()
    world.call("migrate", "prepare", *GIVEN, "--yes")
    assert [looks(world, tenant) for tenant in world.tenants] == [PREPARED, PREPARED]
    world.call("migrate", "cutover", "prepare.journal", "--yes")
    assert [looks(world, tenant) for tenant in world.tenants] == [MOVED, MOVED]
    assert books(world, "prepare.cutover.journal") == {"applied": 4, "unchanged": 2}
    world.call("undo", "prepare.cutover.journal", "--yes")
    assert [looks(world, tenant) for tenant in world.tenants] == [PREPARED, PREPARED]
    world.call("undo", "prepare.journal", "--yes", "--max-deletes", "6")
    assert [looks(world, tenant) for tenant in world.tenants] == [BEFORE, BEFORE]


@pytest.mark.parametrize("way", ["overlap", "gap"])
def test_a_cutover_has_overlap_or_gap_too(trial: Trial, way: str) -> None:
    world = trial(("t0",))
    world.call("migrate", "prepare", *GIVEN, "--yes")
    world.call("migrate", "cutover", "prepare.journal", "--yes", f"--{way}")
    assert switched(world)[0].startswith("bind" if way == "overlap" else "off")
    assert looks(world) == MOVED


def test_without_a_terminal_and_yes_prepare_and_cutover_only_plan(trial: Trial) -> None:
    world = trial(("t0",))
    prepared = world.call("migrate", "prepare", *GIVEN)
    assert "next: bulkhooks apply prepare.journal" in prepared.stderr
    assert world.sandbox.writes() == []
    world.call("apply", "prepare.journal", "--yes")
    count = len(world.sandbox.writes())
    cut = world.call("migrate", "cutover", "prepare.journal")
    assert "next: bulkhooks apply prepare.cutover.journal" in cut.stderr
    assert len(world.sandbox.writes()) == count
    world.call("apply", "prepare.cutover.journal", "--yes")
    assert looks(world) == MOVED
