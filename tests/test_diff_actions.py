"""What a plan tells of actions, and of hooks that become actions: from plans of pretend tenants."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from bulkhooks import Job
from bulkhooks.diff import as_json, as_markdown, as_text
from bulkhooks.items import Move
from bulkhooks.journal import Journal
from bulkhooks.plan import stage_moves
from bulkhooks.report import summary
from bulkhooks.sandbox import Sandbox
from engine import NAMES, PRE, TENANTS, Undoing, calm, work

#: Plans, and where `apply` is said carries out, on these pretend tenants; the journal of it.
Planned: TypeAlias = Callable[..., Path]
#: Hooks that are to become actions, each with its tenant.
Moves: TypeAlias = list[tuple[str, Move]]

CODE = "exports.onExecutePreUserRegistration = 1;\n"
NEW = {"name": "new", "triggerId": PRE, "code": "1\n2\n"}
KEY = {"KEY": "env:SECRET_ONE"}
LOGIN = "post-login"


@pytest.fixture
def tenants() -> Sandbox:
    """Hooks `fraud` (on) and `old`, actions `a` and `b` (bound), `built` (deployed) and `draft`, on
    each of two tenants."""
    sandbox = Sandbox(NAMES, hooks=0, build_time=0, deploy_time=0)
    for tenant in NAMES:
        sandbox.add_hook(tenant, name="fraud", triggerId=PRE, enabled=True, script="1")
        sandbox.add_hook(tenant, name="old", triggerId=PRE, enabled=False, script="1")
        for name in "ab":
            sandbox.add_action(tenant, name=name, triggerId=PRE, bound=True, secrets={"OLD": "1"})
        sandbox.add_action(tenant, name="built", triggerId=LOGIN, deployed=True, code="0\n")
        sandbox.add_action(tenant, name="draft", triggerId=LOGIN, deployed=False, code="0\n")
    return sandbox


@pytest.fixture
def planned(tmp_path: Path, tenants: Sandbox) -> Planned:
    def plan(wanted: Job | Undoing | Moves, *, apply: bool = False) -> Path:
        path = tmp_path / f"j{len(list(tmp_path.iterdir()))}"
        working = partial(work, path, calm(tenants, tmp_path), apply=apply)
        if isinstance(wanted, list):
            with Journal.create(path) as journal:
                stage_moves(journal, wanted, TENANTS, name="move", now=datetime.now(UTC))
            working = partial(working, failed=True)
        else:
            working = partial(working, plan=wanted)
        anyio.run(working)
        return path

    return plan


def everywhere(*edits: Mapping[str, Any]) -> Job:
    return Job.of("job", [{"tenants": [*NAMES], **edit} for edit in edits])


def edit(name: str, **does: Any) -> Job:
    return everywhere({"action": {"name": name}, **does})


def move(name: str, *, tenants: Sequence[str] = NAMES, enabled: bool = True, **more: Any) -> Moves:
    fields = {"name": name, "triggerId": PRE, "code": CODE, "dependencies": {"axios": "1.7.9"}}
    one = Move(
        hook=None,
        label=name,
        script="1",
        enabled=enabled,
        create=fields,
        set_secrets=KEY,
        **more,
    )
    return [(tenant, one) for tenant in tenants]


def text(path: Path, width: int | None = None) -> list[str]:
    with Journal.read(path) as journal:
        return [line.text for line in as_text(journal, summary(journal), TENANTS, width)]


def markdown(path: Path) -> str:
    with Journal.read(path) as journal:
        return "".join(as_markdown(journal, summary(journal), TENANTS))


def document(path: Path) -> Any:
    with Journal.read(path) as journal:
        return json.loads("".join(as_json(journal, summary(journal), TENANTS)))


def group(shown: list[str]) -> list[str]:
    """The groups of a plan."""
    first = next(n for n, line in enumerate(shown) if line.startswith("  "))
    ended = next(n for n, line in enumerate(shown) if n > first and not line.startswith("  "))
    return [line[2:] for line in shown[first:ended]]


@pytest.mark.parametrize(
    ("job", "told"),
    [
        pytest.param(
            edit("a", set={"bound": False}),
            f"unbind action a on 2 tenants (t0, t1)\n    bound to {PRE}: true → false",
            id="unbind",
        ),
        pytest.param(
            edit("built", set={"bound": True}),
            f"bind action built on 2 tenants (t0, t1)\n    bound to {LOGIN}: false → true, last",
            id="bind",
        ),
        pytest.param(
            edit("a", set={"position": "after b"}),
            f"place action a on 2 tenants (t0, t1)\n    position in {PRE}: after b",
            id="place",
        ),
        pytest.param(
            edit("a", set={"name": "z"}), "rename action a to z on 2 tenants (t0, t1)", id="rename"
        ),
        pytest.param(
            edit("built", set={"code": "1\n"}, deploy=True),
            """change code of action built and deploy on 2 tenants (t0, t1)
    code: 1 line added, 1 removed
      @@ -1 +1 @@
      -0
      +1""",
            id="code",
        ),
        pytest.param(
            edit("built", set={"runtime": "node18", "dependencies": {"x": "1"}, "bound": True}),
            "change dependencies, runtime of action built and bind it (draft only, not deployed) "
            f"""on 2 tenants (t0, t1)
    bound to {LOGIN}: false → true, last
    dependencies (the whole map): {{}} → {{x 1}}
    runtime: node22 → node18""",
            id="draft",
        ),
        pytest.param(
            edit("draft", deploy=True, set={"bound": True, "position": "first"}),
            "deploy action draft and bind it on 2 tenants (t0, t1)\n"
            f"    bound to {LOGIN}: false → true, first",
            id="deploy",
        ),
        pytest.param(
            edit("a", set_secrets=KEY | {"OLD": "env:SECRET_TWO"}),
            """set secrets of action a (draft only, not deployed) on 2 tenants (t0, t1)
    secret KEY: new, from env:SECRET_ONE
    secret OLD: new value from env:SECRET_TWO""",
            id="secrets",
        ),
        pytest.param(
            edit("a", remove_secrets=["OLD"], deploy=True),
            """remove secrets of action a and deploy on 2 tenants (t0, t1)
    secret OLD: removed""",
            id="remove secrets",
        ),
        pytest.param(
            everywhere({"create": NEW | {"bound": True}, "deploy": True, "set_secrets": KEY}),
            f"""create action new, deploy and bind it on 2 tenants (t0, t1)
    triggerId: {PRE}
    bound to {PRE}: true, last
    secret KEY: new, from env:SECRET_ONE
    code: 2 lines
      +1
      +2""",
            id="create",
        ),
        pytest.param(
            everywhere({"create": NEW}),
            f"""create action new (draft only, not deployed) on 2 tenants (t0, t1)
    triggerId: {PRE}
    code: 2 lines
      +1
      +2""",
            id="create a draft",
        ),
        pytest.param(
            edit("a", delete=True),
            f"""delete action a on 2 tenants (t0, t1)
    triggerId: {PRE}
    bound to {PRE}: true
    runtime: node22
    secrets: OLD
    code: 1 line""",
            id="delete",
        ),
        pytest.param(
            everywhere({"actions": {"bound": True}, "set": {"bound": False}}),
            f"unbind 4 actions on 2 tenants: a, b (t0, t1)\n    bound to {PRE}: true → false",
            id="several",
        ),
    ],
)
def test_a_change_of_actions_reads_as(planned: Planned, job: Job, told: str) -> None:
    assert group(text(planned(job))) == told.splitlines()


def test_one_change_on_one_tenant_is_one_line(planned: Planned) -> None:
    one = {"tenant": "t0", "action": {"name": "a"}, "set": {"bound": False}}
    shown = text(planned(Job.of("job", [one])))
    assert shown[1] == f"  unbind action a on t0, bound to {PRE}: true → false"


MADE = f"""    triggerId: {PRE}
    dependencies: {{axios 1.7.9}}
    secret KEY: new, from env:SECRET_ONE
    way: """
CODED = """
    code: 1 line
      +exports.onExecutePreUserRegistration = 1;"""
BOTH = "overlap on 2 hooks: a hook and its action both run for a moment: a login may have effects"
NEITHER = "gap on 2 hooks: neither a hook nor its action runs for a moment: a login has neither"


@pytest.mark.parametrize(
    ("moves", "above", "told"),
    [
        pytest.param(
            move("fraud"),
            BOTH,
            f"move hook fraud to an action on 2 tenants (t0, t1)\n{MADE}bound first of {PRE}, then "
            f"its hook is disabled: both run for a moment{CODED}",
            id="overlap",
        ),
        pytest.param(
            move("fraud", overlap=False),
            NEITHER,
            f"move hook fraud to an action on 2 tenants (t0, t1)\n{MADE}its hook is disabled, then "
            f"it is bound first of {PRE}: neither runs for a moment{CODED}",
            id="gap",
        ),
        pytest.param(
            move("old", enabled=False),
            "",
            f"make an action of hook old on 2 tenants (t0, t1)\n{MADE}its hook is disabled or "
            f"gone: made and deployed, not bound{CODED}",
            id="disabled",
        ),
        pytest.param(
            move("gone"),
            "",
            f"move hook gone to an action on 2 tenants (t0, t1)\n{MADE}bound first of {PRE}; its "
            f"hook is disabled or gone already{CODED}",
            id="gone",
        ),
        pytest.param(
            move("fraud", until="deploy") + move("old", enabled=False, until="deploy"),
            "",
            "make an action of 4 hooks on 2 tenants: fraud, old (t0, t1)\n"
            f"{MADE}made and deployed; not bound (prepare){CODED}",
            id="prepare",
        ),
    ],
)
def test_hooks_that_become_actions_read_as(
    planned: Planned, moves: Moves, above: str, told: str
) -> None:
    shown = text(planned(moves))
    assert shown[1].startswith(above or "  make" if "make" in told else above or "  move")
    assert group(shown) == told.splitlines()


def test_the_way_back_deploys_what_ran_before(planned: Planned) -> None:
    done = planned(edit("built", set={"code": "1\n"}, deploy=True), apply=True)
    undone = planned(Undoing(done))
    title, *fields = group(text(undone))
    assert title.startswith("change code of action built and deploy what ran before on 2 tenants")
    assert fields[0] == "    code: 1 line added, 1 removed"
    assert "- deployed: the version that ran before" in markdown(undone)
    assert "cannot be undone:" not in text(undone)


def test_equal_scripts_that_become_equal_actions_are_one_change(planned: Planned) -> None:
    moves = move("gone", tenants=["t0"]) + move("other", tenants=["t1"])
    assert group(text(planned(moves)))[0] == (
        "move 2 hooks to actions on 2 tenants: gone, other (t0, t1)"
    )


def test_an_action_with_another_name_than_its_hooks_says_so(planned: Planned) -> None:
    renamed = move("fraud")
    renamed[0][1].create["name"] = "fraud-action"
    assert "    name: fraud-action" in group(text(planned(renamed)))


def test_what_was_prepared_is_cut_over_and_what_was_moved_goes_back(planned: Planned) -> None:
    first = f"bound first of {PRE}, then its hook is disabled: both run for a moment"
    planned(move("fraud", until="deploy"), apply=True)
    assert group(text(planned(move("fraud", until="cutover")))) == [
        "move hook fraud to its action on 2 tenants (t0, t1)",
        f"    way: {first}",
    ]
    done = planned(move("fraud", until="cutover"), apply=True)
    undone = planned(Undoing(done), apply=False)
    shown = text(undone)
    assert shown[1].startswith(BOTH)
    title, *fields = group(shown)
    assert title.startswith("move hook fraud back from its action on 2 tenants")
    assert fields == [
        "    way: its hook is enabled, then its action is unbound: both run for a moment",
    ]
    undone = planned(Undoing(done), apply=True)
    shown = text(planned(Undoing(undone)))
    assert shown[1].startswith(BOTH)
    assert group(shown)[1] == (
        f"    way: bound where it was in {PRE}, then its hook is disabled: both run for a moment"
    )


def test_a_ticket_names_actions_and_says_how_hooks_move(planned: Planned) -> None:
    assert "\nActions: a\n" in markdown(planned(edit("a", set={"bound": False})))
    ticket = markdown(planned(move("fraud")))
    assert f"\n{BOTH}" in ticket
    assert "\nHooks: fraud\n" in ticket
    assert "```diff\n+exports.onExecutePreUserRegistration = 1;\n```" in ticket


def test_json_has_actions_by_their_own_ids(planned: Planned, tenants: Sandbox) -> None:
    whole = document(planned(edit("built", set={"code": "1\n"}, deploy=True)))
    ids = [tenants.actions_of(name)[2]["id"] for name in NAMES]
    assert [item["action"] for item in whole["items"]] == ids
    assert all("hook" not in item for item in whole["items"])
    update, deploy = whole["items"][0]["steps"]
    assert (update["kind"], update["action"], deploy["kind"]) == ("update", ids[0], "deploy")
    assert update["want"] == {"code": "1\n"}
    assert "code" not in deploy["before"]
    assert (whole["groups"][0]["actions"], whole["groups"][0]["names"]) == (1, ["built"])


def test_json_of_a_move_has_its_hook_and_the_steps_of_its_action(
    planned: Planned, tenants: Sandbox
) -> None:
    whole = document(planned(move("fraud")))
    item = whole["items"][0]
    assert item["hook"] == tenants.hooks_of("t0")[0]["id"]
    steps = [step for step in item["steps"] if not step["back"]]
    assert [(step["kind"], step.get("action")) for step in steps] == [
        ("create", "new:fraud"),
        ("create_secrets", "new:fraud"),
        ("deploy", "new:fraud"),
        ("bind", "new:fraud"),
        ("update", None),
    ]
    [way] = [field for field in whole["groups"][0]["fields"] if field["field"] == "way"]
    assert way["after"].endswith("both run for a moment")


def test_what_cannot_be_undone_of_actions_is_named_and_counted(planned: Planned) -> None:
    deleted = {"action": {"name": "a"}, "delete": True}
    told = {"action": {"name": "b"}, "set_secrets": {"OLD": "env:SECRET_TWO"}, "deploy": True}
    path = planned(everywhere(deleted, told))
    shown = text(path)
    place = shown.index("cannot be undone:")
    assert shown[place + 1 : place + 5] == [
        "  the id of deleted action a: 2 actions on 2 tenants",
        "  the value of secret OLD, deleted with its action: 2 actions on 2 tenants",
        "  the old value of secret OLD: 2 actions on 2 tenants",
        "  the deployment of action b, where it is its first: 2 actions on 2 tenants",
    ]
    assert [loss["actions"] for loss in document(path)["irreversible"]] == [2, 2, 2, 2]
    assert "cannot be undone:" not in text(planned(move("fraud")))


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(move("fraud"), id="move"),
        pytest.param(move("fraud", overlap=False), id="gap"),
        pytest.param(edit("a", set={"bound": False}), id="unbind"),
        pytest.param(edit("a", delete=True), id="delete"),
        pytest.param(edit("a", set={"name": "z"}), id="rename"),
        pytest.param(edit("a", set_secrets=KEY), id="secrets"),
        pytest.param(
            everywhere({"create": NEW | {"bound": True}, "deploy": True, "set_secrets": KEY}),
            id="create",
        ),
        pytest.param(
            everywhere(
                {"hook": {"name": "old"}, "set": {"enabled": True}},
                {"action": {"name": "a"}, "set": {"bound": False}},
            ),
            id="both",
        ),
    ],
)
def test_as_many_requests_are_sent_as_a_plan_tells_but_for_waits(
    planned: Planned, tenants: Sandbox, tmp_path: Path, wanted: Job | Moves
) -> None:
    path = planned(wanted)
    whole, before = document(path), len(tenants.log)
    anyio.run(partial(work, path, calm(tenants, tmp_path)))
    kinds = [step["kind"] for item in whole["items"] for step in item["steps"]]
    waits = 2 * kinds.count("deploy")  # for a build and a deployment, which take no time here
    assert len(tenants.log) - before == whole["expected"]["requests"] - waits


def test_a_deployment_is_waited_for_twice_and_all_at_once(planned: Planned) -> None:
    one = {"set": {"code": "1\n"}, "deploy": True}
    path = planned(everywhere({"action": {"name": "a"}} | one, {"action": {"name": "b"}} | one))
    expected = document(path)["expected"]
    assert expected["tenants"]["t0"]["requests"] == 1 + 2 * (1 + 5)
    assert 4 < expected["seconds"] < 6
