"""Hooks become actions by `bulkhooks migrate`: planned, prepared, cut over, and taken back."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias, get_args
from urllib.request import Request, urlopen

import pytest

from bulkhooks.hooks import Trigger
from bulkhooks.journal import Journal
from bulkhooks.legacy import script_digest
from bulkhooks.plan import schedule
from bulkhooks.sandbox import Sandbox
from bulkhooks.schedule import Rule
from world import STATES, Make, World

TRIGGERS: Final = get_args(Trigger)
PRE: Final = "pre-user-registration"
POST: Final = "post-user-registration"
PLAIN: Final = "module.exports = function (user, context, cb) {\n  cb(null, { user: user });\n};\n"
ARGUMENTS: Final = {
    "credentials-exchange": "client, scope, audience, context, cb",
    "send-phone-message": "recipient, text, context, cb",
}
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


def test_no_value_of_a_secret_is_shown_or_kept(trial: Trial) -> None:
    world = trial(("t0",))
    world.env["KEY"] = "5up3r-s3cr3t"
    said = migrate(world, "-v", "--log", "plan.log")
    log = ("--log", "undo.log", "-v")
    ended = world.call("undo", "migrate.journal", "--yes", "--max-deletes", "3", *log)
    kept = [file.read_bytes() for file in world.folder.rglob("*") if file.is_file()]
    assert len(kept) > 4
    assert not any(b"5up3r-s3cr3t" in each for each in kept)
    assert "5up3r-s3cr3t" not in said + ended.stdout + ended.stderr


def test_an_undo_leaves_the_actions_there_unless_it_may_delete_them(trial: Trial) -> None:
    world = trial(("t0",))
    migrate(world)
    world.call("undo", "migrate.journal", "--yes")
    assert looks(world) == PREPARED


def test_actions_that_an_undo_left_are_deleted_by_another_when_it_is_renamed(trial: Trial) -> None:
    world = trial(("t0",))
    migrate(world)
    world.call("undo", "migrate.journal", "--yes")
    undo = ("undo", "migrate.journal", "--yes", "--max-deletes", "3")
    ended = world.call(*undo, status=2)
    assert "goes on with it, renamed it leaves room for another way back" in ended.stderr
    (world.folder / "migrate.undo.journal").rename(world.folder / "aside.journal")
    world.call(*undo)
    assert looks(world) == BEFORE


def test_an_undo_deletes_no_more_than_it_may(trial: Trial) -> None:
    world = trial(("t0",))
    migrate(world)
    ended = world.call("undo", "migrate.journal", "--yes", "--max-deletes", "2", status=2)
    assert "3 actions would be deleted; --max-deletes is 2" in ended.stderr
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
    ended = world.call("undo", "prepare.journal", "--yes", status=2)
    assert "6 actions were made and nothing else; --max-deletes 6 deletes them" in ended.stderr
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
    when = str(world.write("when.json", {"halt": {"tenants": 2}}))
    cut = world.call("migrate", "cutover", "prepare.journal", "--schedule", when)
    assert "next: bulkhooks apply prepare.cutover.journal" in cut.stderr
    with Journal.open(world.folder / "prepare.cutover.journal") as journal:
        assert schedule(journal).halt == (Rule(of="tenants", count=2),)
    assert len(world.sandbox.writes()) == count
    world.call("apply", "prepare.cutover.journal", "--yes")
    assert looks(world) == MOVED


# ---- what is in the way


def test_hooks_without_values_are_left_and_a_new_plan_goes_on(trial: Trial) -> None:
    world = trial(("t0", "t1"))
    world.write("secrets.json", {"tenants": {"*1": {"KEY": "env:KEY"}}})
    migrate(world, status=1)
    assert causes(world) == {"no value for secret KEY": "say by --secrets FILE where each is found"}
    assert looks(world, "t1") == MOVED
    assert looks(world)["on"] == ["crm-sync"]
    world.write(
        "secrets.json", {"secrets": {"KEY": "env:NONE"}, "tenants": {"t0": {"KEY": "env:MINE"}}}
    )
    world.env["MINE"] = "mine"
    migrate(world, "--fresh")
    assert looks(world) == MOVED
    assert world.sandbox.action_secrets_of("t0", action(world, "crm-sync")["id"]) == {"KEY": "mine"}
    assert books(world) == {"applied": 1, "unchanged": 5}


def test_a_value_that_is_not_there_when_it_is_sent_can_be_given_afterwards(trial: Trial) -> None:
    world = trial(("t0",))
    del world.env["KEY"]
    migrate(world, status=1)
    assert causes(world) == {"no value in env:KEY": "set environment variable KEY"}
    assert looks(world)["on"] == ["crm-sync"]
    world.env["KEY"] = "late"
    world.call("apply", "migrate.journal", "--failed", "--yes")
    assert looks(world) == MOVED
    posts = [s for s in world.sandbox.writes() if s.method == "POST"]
    assert sum(seen.path == "/api/v2/actions/actions" for seen in posts) == 3


def test_blocked_scripts_are_left_unless_they_are_allowed(trial: Trial) -> None:
    world = trial(("t0",))
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], script=BLOCKED)
    migrate(world, status=1)
    (cause,) = causes(world)
    digest = script_digest(BLOCKED)
    assert cause.startswith(f"script {digest} cannot be carried over, line 2: ")
    assert f"--allow {digest}" in causes(world)[cause]
    assert looks(world)["on"] == ["fraud-check"]
    migrate(world, "--fresh", *ALLOW)
    assert looks(world) == MOVED


def test_all_scripts_can_be_allowed_but_for_those_that_have_no_code(trial: Trial) -> None:
    world = trial(("t0",))
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], script=BLOCKED)
    world.sandbox.change("t0", hook(world, "crm-sync")["id"], script="module.exports = (")
    migrate(world, "--allow", "all", status=1)
    assert looks(world)["on"] == ["crm-sync"]
    assert list(causes(world).values()) == ["give another action by --transform"]


def test_what_is_allowed_must_be_there(trial: Trial) -> None:
    world = trial(("t0",))
    ended = world.call("migrate", "plan", *GIVEN, "--allow", "0123456789abcdef", status=2)
    assert "--allow 0123456789abcdef: no hook has such a script" in ended.stderr
    assert not (world.folder / "migrate.journal").exists()


def test_a_mode_is_kept_to(trial: Trial) -> None:
    world = trial(("t0",))
    simple = "module.exports = function (user, context, cb) {\n  cb(null, {});\n};\n"
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], script=simple)
    migrate(world, "--mode", "rewrite", status=1)
    assert "(rewrite)" in action(world, "fraud-check")["code"]
    assert all(hint.startswith("leave out --mode") for hint in causes(world).values())
    world.call("undo", "migrate.journal", "--yes", "--max-deletes", "1")
    migrate(world, "--mode", "wrap", "--fresh")
    assert "(wrap)" in action(world, "fraud-check")["code"]


def test_an_action_of_that_name_is_left_and_told(trial: Trial) -> None:
    world = trial(("t0",))
    world.sandbox.add_action("t0", name="fraud-check", triggerId=PRE)
    migrate(world, status=1)
    (cause,) = causes(world)
    assert cause == "another action of that name is there already"
    assert looks(world)["on"] == ["fraud-check"]
    assert looks(world)["pre"] == ["own"]


def test_tenants_that_cannot_be_read_are_told_and_the_others_go_on(trial: Trial) -> None:
    world = trial(("t0", "t1", "t2"), lifecycles={"t2": "gone"})
    world.tenants["t1"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    migrate(world, status=1)
    assert looks(world) == MOVED
    assert books(world) == {"applied": 3, "skipped": 2}
    hints = causes(world)
    assert "give this tenant a valid one" in hints["401 Invalid token"]
    assert hints["403 This endpoint is disabled for your tenant."].endswith("--from DIR")


def test_protected_tenants_must_be_named_and_a_cutover_remembers_it(trial: Trial) -> None:
    world = trial()
    world.tenants["t0"]["protected"] = True
    world.write_tenants()
    ended = world.call("migrate", "plan", *GIVEN, status=2)
    assert "protected: t0; to change them name each: --only t0" in ended.stderr
    world.call("migrate", "prepare", *GIVEN, "--only", "t0", "--yes")
    world.call("migrate", "cutover", "prepare.journal", "--yes")
    assert looks(world) == MOVED
    assert looks(world, "t1") == BEFORE


def test_more_changes_than_were_meant_are_refused(trial: Trial) -> None:
    world = trial()
    ended = world.call("migrate", "plan", *GIVEN, "--max-changes", "5", status=2)
    assert "6 changes; --max-changes is 5" in ended.stderr
    world.call("migrate", "plan", *GIVEN, "--max-changes", "3", "--skip", "t1")


def test_a_cutover_can_begin_with_a_few_tenants(trial: Trial) -> None:
    world = trial(("t0", "t1"))
    world.call("migrate", "prepare", *GIVEN, "--yes")
    world.call("migrate", "cutover", "prepare.journal", "--only", "t1", "--yes")
    assert [looks(world, tenant) for tenant in world.tenants] == [PREPARED, MOVED]
    second = ("--journal", "rest.journal", "--yes")
    world.call("migrate", "cutover", "prepare.journal", *second)
    assert [looks(world, tenant) for tenant in world.tenants] == [MOVED, MOVED]


def test_a_cutover_tells_what_was_not_prepared(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "prepare", *TENANTS, "--yes", status=1)
    ended = world.call("migrate", "cutover", "prepare.journal", "--yes")
    why = "left out, for it was not prepared: 1 item; why: bulkhooks status prepare.journal"
    assert why in ended.stderr
    assert looks(world)["on"] == ["crm-sync"]


def test_only_what_was_prepared_can_be_cut_over(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "plan", *GIVEN)
    ended = world.call("migrate", "cutover", "migrate.journal", status=2)
    assert ended.stderr == "migrate.journal is no journal of `bulkhooks migrate prepare`\n"
    world.call("migrate", "prepare", *GIVEN, "--yes")
    world.call("undo", "prepare.journal", "--yes", "--max-deletes", "3")
    ended = world.call("migrate", "cutover", "prepare.journal", status=2)
    assert "was undone by" in ended.stderr


# ---- others, meanwhile


def test_an_action_that_a_person_corrected_is_cut_over_as_it_is(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "prepare", *GIVEN, "--yes")
    made = action(world, "fraud-check")
    better = {"code": "exports.onExecutePreUserRegistration = async () => {};\n"}
    request(world, "PATCH", f"actions/actions/{made['id']}", better)
    ended = world.call("migrate", "cutover", "prepare.journal", "--yes", status=1)
    assert "not all of it is deployed" in ended.stdout
    assert looks(world)["on"] == ["fraud-check"]
    request(world, "POST", f"actions/actions/{made['id']}/deploy")
    world.call("apply", "prepare.cutover.journal", "--failed", "--yes")
    assert looks(world) == MOVED
    assert action(world, "fraud-check")["code"] == better["code"]


def request(world: World, method: str, path: str, body: object = None) -> None:
    """What somebody else asks of t0."""
    asked = Request(f"{world.tenants['t0']['base_url']}/api/v2/{path}", method=method)
    asked.add_header("Authorization", "Bearer sandbox")
    asked.add_header("Content-Type", "application/json")
    urlopen(asked, json.dumps(body).encode() if body else None).close()


def test_a_hook_that_was_changed_since_stays_on(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "plan", *GIVEN)
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], script=KEYED)
    world.call("apply", "migrate.journal", "--yes", status=1)
    (cause,) = causes(world)
    assert cause.startswith("drifted: script was 3 lines")
    assert looks(world)["on"] == ["fraud-check"]
    assert "fraud-check" not in looks(world)["deployed"]


def test_a_hook_that_was_changed_since_it_was_prepared_is_told_by_the_plan(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("export", *TENANTS, "--to", "out")
    world.call("migrate", "prepare", *GIVEN, "--yes")
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], script=KEYED)
    told = {
        "its script is no longer the one that its action is made of": (
            "plan anew, from the hook as it is"
        )
    }
    world.call("migrate", "cutover", "prepare.journal")
    assert causes(world, "prepare.cutover.journal") == told
    world.call("migrate", "plan", *GIVEN, "--from", "out")
    assert causes(world) == told


def test_a_hook_that_was_enabled_since_it_was_prepared_is_told_by_the_plan(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "prepare", *GIVEN, "--yes")
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], enabled=False)
    world.sandbox.change("t0", hook(world, "age-gate")["id"], enabled=True)
    world.call("migrate", "cutover", "prepare.journal")
    assert sorted(causes(world, "prepare.cutover.journal")) == [
        "it is disabled by now, and was not when its action was made of it",
        "it is enabled by now, and was not when its action was made of it",
    ]


def test_a_plan_that_was_not_finished_is_made_again(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "plan", *GIVEN)
    with Journal.open(world.folder / "migrate.journal") as journal:
        journal.note(planned="")
    shown = world.call("status", "migrate.journal").stdout
    assert "next: bulkhooks migrate plan --journal migrate.journal --tenants " in shown
    ended = world.call("apply", "migrate.journal", "--yes", status=2)
    assert "its plan was not finished; plan the hooks again" in ended.stderr
    migrate(world)
    assert looks(world) == MOVED


def test_what_was_planned_before_a_hook_was_changed_is_not_planned_again(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "plan", *GIVEN)
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], script=KEYED)
    world.call("apply", "migrate.journal", "--yes", status=1)
    world.call("apply", "migrate.journal", "--yes", "--replan", status=1)
    assert list(causes(world).values()) == ["plan anew, from the hook as it is"]
    assert looks(world)["on"] == ["fraud-check"]


def test_what_was_prepared_is_cut_over_though_hooks_have_come_to_their_end(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "prepare", *GIVEN, "--yes")
    end(world, "t0")
    world.call("migrate", "cutover", "prepare.journal", "--yes")
    assert looks(world) == MOVED | {"on": BEFORE["on"]}
    world.call("undo", "prepare.cutover.journal", "--yes")
    assert looks(world) == PREPARED


def end(world: World, tenant: str) -> None:
    """Hooks come to their end on a tenant."""
    there = world.sandbox._tenants[tenant]
    there._rules = replace(there._rules, lifecycle="gone")


def test_a_tenant_that_the_file_has_no_more_is_told(trial: Trial) -> None:
    world = trial()
    world.call("migrate", "prepare", *GIVEN, "--yes")
    del world.tenants["t1"]
    world.write_tenants()
    ended = world.call("migrate", "cutover", "prepare.journal", "--yes")
    assert "left out, for the tenants file has no such tenants: t1" in ended.stderr
    assert looks(world) == MOVED
    assert looks(world, "t1") == PREPARED


def test_what_others_bind_meanwhile_stays_where_it_is(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("migrate", "plan", *GIVEN)
    world.sandbox.add_action("t0", name="theirs", triggerId=PRE, bound=0)
    world.call("apply", "migrate.journal", "--yes")
    assert looks(world)["pre"] == ["fraud-check", "theirs", "own"]
    world.sandbox.add_action("t0", name="late", triggerId=PRE, bound=0)
    world.call("undo", "migrate.journal", "--yes", "--max-deletes", "3")
    assert looks(world)["pre"] == ["late", "theirs", "own"]


def test_read_only_hooks_become_actions_all_the_same(trial: Trial) -> None:
    world = trial(("t0",), lifecycle="read-only")
    migrate(world)
    assert looks(world) == MOVED
    world.call("undo", "migrate.journal", "--yes", "--max-deletes", "3")
    assert looks(world) == BEFORE


# ---- from files


def test_hooks_come_from_files_where_they_are_gone(trial: Trial) -> None:
    world = trial(("t0", "t1"))
    world.call("export", *TENANTS, "--to", "out")
    shutil.rmtree(world.folder / "out" / "t1")
    end(world, "t0")
    end(world, "t1")
    said = migrate(world, "--from", "out")
    assert "out has no files of t1: left out" in said
    assert looks(world) == MOVED | {"on": BEFORE["on"]}
    assert books(world) == {"applied": 3}
    world.call("undo", "migrate.journal", "--yes", "--max-deletes", "3")
    assert looks(world) == BEFORE


def test_hooks_of_files_that_are_still_there_go_off(trial: Trial) -> None:
    world = trial(("t0",))
    world.call("export", *TENANTS, "--to", "out")
    migrate(world, "--from", "out")
    assert looks(world) == MOVED


# ---- a function of one's own

SETTLE: Final = """\
def renamed(hook, action):
    return {"name": action["name"] + " v2"}
def own(hook, action):
    code = "exports.%s = async () => {};\\n" % hook["name"][:3]
    return action | {"code": code, "runtime": "node18"}
def some(hook, action):
    return None if hook["secrets"] == ["KEY"] else action
def broken(hook, action):
    return {"name": hook["nam"]}
def strange(hook, action):
    return {"triggerId": "post-login"}
"""


def test_a_function_of_ones_own_says_what_the_actions_are(trial: Trial) -> None:
    world = trial(("t0",))
    world.sandbox.change("t0", hook(world, "fraud-check")["id"], script=BLOCKED)
    world.write("settle.py", SETTLE)
    migrate(world, "--transform", "settle.py:own")
    assert looks(world) == MOVED
    made = action(world, "fraud-check")
    assert (made["code"], made["runtime"]) == ("exports.fra = async () => {};\n", "node18")


def test_a_function_of_ones_own_gives_another_name_or_leaves_a_hook(trial: Trial) -> None:
    world = trial(("t0",))
    world.sandbox.add_action("t0", name="fraud-check", triggerId=PRE)
    world.write("settle.py", SETTLE)
    migrate(world, "--transform", "settle.py:renamed")
    assert looks(world)["pre"] == ["fraud-check v2", "own"]
    world.call("undo", "migrate.journal", "--yes")
    migrate(world, "--transform", "settle.py:some", "--fresh", status=1)
    assert looks(world)["on"] == ["fraud-check", "crm-sync"]
    assert "left as it is by the transform" in causes(world)


def test_a_function_of_ones_own_that_fails_is_told_once(trial: Trial) -> None:
    world = trial()
    world.write("settle.py", SETTLE)
    with world.start("migrate", "plan", *GIVEN, "--transform", "settle.py:broken") as process:
        _, said = process.communicate()
    assert process.returncode == 0
    assert said.count("Traceback") == 1
    assert causes(world) == {"settle.py:9: KeyError: 'nam'": "correct the function, then plan anew"}
    assert books(world) == {"skipped": 6}
    world.call("migrate", "plan", *GIVEN, "--transform", "settle.py:strange")
    (cause,) = causes(world)
    assert cause.startswith("settle.py:strange gives triggerId: cannot be changed")


def test_a_function_that_is_not_there_is_refused_by_its_place(trial: Trial) -> None:
    world = trial(("t0",))
    for given in ("x/settle.py:own", "settle.py"):
        ended = world.call("migrate", "plan", *GIVEN, "--transform", given, status=2)
        assert ended.stderr.startswith(f"--transform {given}: ")


# ---- the page


def served_by_command(world: World) -> Iterator[str]:
    """Where `bulkhooks sandbox` serves what the page is practised on."""
    words = ("sandbox", "--hooks", "12", "--port", "0", "--json")
    with world.start(*words, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            line = ""
            while not line.endswith("}\n}\n"):
                line += process.stdout.readline()
            yield json.loads(line)["tenants"]["t0"].removesuffix("/t0")
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_page_can_be_typed_as_it_stands(trial: Trial) -> None:
    page = (Path(__file__).parents[1] / "docs" / "migrate.md").read_text()
    way = page[page.index("## The whole way") : page.index("## assess, in full")]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", way, re.MULTILINE | re.DOTALL)
    world = trial(("t0",))
    with contextmanager(served_by_command)(world) as url:
        for kind, text in blocks:
            if kind in ("yaml", "python"):
                world.write(text.split()[1], text.replace("http://127.0.0.1:9100", url))
        shell = f'bulkhooks() {{ {shlex.join(world.program)} "$@"; }}\n'
        commands = [line for kind, text in blocks if kind == "sh" for line in text.splitlines()]
        assert len(commands) > 12
        exports, said = "", ""
        for line in commands:
            if line.startswith("export "):
                exports += f"{line}\n"
                continue
            ended = subprocess.run(
                ["sh", "-c", shell + exports + line],
                cwd=world.folder,
                env=world.env,
                capture_output=True,
                text=True,
            )
            assert ended.returncode == ("convert" in line), f"{line}\n{ended.stdout}{ended.stderr}"
            said += ended.stdout + ended.stderr
    for kind, text in blocks:
        if not kind:
            assert text in said


# ---- many tenants, and a process that dies


def filled(box: Sandbox) -> None:
    """Twelve hooks on every tenant, the first of each trigger enabled, and an action of a
    person's own."""
    for tenant in box._tenants:
        for number in range(12):
            trigger = TRIGGERS[number % 5]
            arguments = ARGUMENTS.get(trigger, "user, context, cb")
            key = "context.webtask.secrets.KEY" if number % 2 else "'none'"
            made = box.add_hook(
                tenant,
                name=f"hook-{number}",
                triggerId=trigger,
                enabled=number < 5,
                script=f"module.exports = function ({arguments}) {{\n  // {number}\n"
                f"  cb({key} ? null : new Error('no key'));\n}};\n",
                dependencies={"axios": "1.7.9"} if number % 3 == 1 else {},
            )
            if number % 2:
                box.set_secrets(tenant, made["id"], {"KEY": "old"})
        box.add_action(tenant, name="own", triggerId=PRE, bound=True)


def state_of(box: Sandbox) -> dict[str, Any]:
    """All that a migration may change, without what depends on when it was made."""
    return {
        tenant: {
            "on": [hook["name"] for hook in box.hooks_of(tenant) if hook["enabled"]],
            "bound": {trigger: box.bindings_of(tenant, trigger) for trigger in TRIGGERS},
            "actions": {
                each["name"]: (
                    each["code"],
                    each["dependencies"],
                    each["all_changes_deployed"],
                    box.action_secrets_of(tenant, each["id"]),
                )
                for each in box.actions_of(tenant)
            },
        }
        for tenant in box._tenants
    }


def bare(box: Sandbox) -> set[tuple[str, str]]:
    """Triggers of tenants that had at some moment neither their hook on nor its action bound."""
    hooks = {(tenant, hook["id"]): hook for tenant in box._tenants for hook in box.hooks_of(tenant)}
    on = dict.fromkeys(product(box._tenants, TRIGGERS), True)
    bound = dict.fromkeys(on, False)
    found = set()
    for seen in box.writes():
        parts, body = seen.path.removeprefix("/api/v2/").split("/"), seen.body
        place = (seen.tenant, parts[-2])
        if parts[0] == "hooks":
            place = (seen.tenant, hooks[seen.tenant, parts[1]]["triggerId"])
            on[place] = json.loads(body)["enabled"]
        elif parts[-1] == "bindings":
            names = [each["display_name"] for each in json.loads(body)["bindings"]]
            bound[place] = any(name.startswith("hook-") for name in names)
        if place in on and not (on[place] or bound[place]):
            found.add(place)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sixty_tenants_are_migrated_though_the_process_dies_ten_times(make: Make) -> None:
    def begun(*names: str) -> World:
        world = make(names, hooks=0, build_time=0.2, deploy_time=0.0)
        filled(world.sandbox)
        world.env["KEY"] = "new"
        world.write("secrets.json", {"secrets": {"KEY": "env:KEY"}})
        return world

    calm = begun("calm")
    migrate(calm)
    wanted = state_of(calm.sandbox)["calm"]

    world = begun(*(f"t{number:02}" for number in range(60)))
    box, before = world.sandbox, state_of(world.sandbox)
    world.call("migrate", "plan", *GIVEN, "--fresh")
    for writes in sorted(Random(6).sample(range(20, 2300), 10)):
        with world.start("apply", "migrate.journal", "--yes") as process:
            while process.poll() is None and len(box.writes()) < writes:
                time.sleep(0.01)
            process.kill()
        found = world.books("migrate.journal")
        assert found["planned"] == 720
        assert found["failed"] == found["skipped"] == 0
    with world.start("apply", "migrate.journal", "--yes") as process:
        out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert books(world) == {"applied": 720}
    assert state_of(box) == dict.fromkeys(box._tenants, wanted)
    assert bare(box) == set()
    made = Counter(
        (seen.tenant, json.loads(seen.body)["name"])
        for seen in box.writes()
        if (seen.method, seen.path) == ("POST", "/api/v2/actions/actions")
    )
    assert made == dict.fromkeys(product(box._tenants, (f"hook-{n}" for n in range(12))), 1)

    with world.start("undo", "migrate.journal", "--yes", "--max-deletes", "720") as process:
        out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert state_of(box) == before
