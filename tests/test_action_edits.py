"""Edits of actions over the sandbox: what they come to, what bars them, and what others do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import msgspec
import orjson
import pytest

from bulkhooks import Job
from bulkhooks.items import Edit, Match, Reply, State
from bulkhooks.lanes import Lanes
from bulkhooks.listing import Listing
from bulkhooks.sandbox import Sandbox
from engine import (
    NAMES,
    PRE,
    Answered,
    Clock,
    Core,
    Undoing,
    Watched,
    acting,
    actions_of,
    bound,
    causes,
    for_t0,
    on,
    run,
    whole_state_of,
)

CODE = "exports.onExecutePreUserRegistration = async () => {};\n"
NEW = {"name": "new one", "triggerId": PRE, "code": CODE}
SECRET = {"set_secrets": {"K": "env:SECRET_ONE"}}


def on_actions(name: str, /, **edit: Any) -> dict[str, Any]:
    """An edit of the action of that name."""
    return {"action": {"name": name}, **edit}


def carried_out(folder: Path, *edits: Mapping[str, Any], **more: Any) -> tuple[Core, Any]:
    """A world in which these edits of t0 were carried out, and the states of its items."""
    core = Watched(acting(**more), folder / "j")
    return core, states(run(folder / "j", core, plan=for_t0(*edits)))


def states(books: Mapping[State, int]) -> dict[str, int]:
    return {state.value: count for state, count in books.items() if count}


def asked(core: Core, method: str, end: str = "") -> list[str]:
    """Paths of requests behind /api/v2/actions/."""
    return [
        seen.path.removeprefix("/api/v2/actions/")
        for seen in core.sandbox.log
        if seen.method == method and seen.path.endswith(end)
    ]


# ---- what edits come to


@pytest.mark.parametrize(
    ("place", "order"),
    [
        ({}, "a b c"),
        ({"bound": True}, "a b c new one"),
        ({"bound": True, "position": "first"}, "new one a b c"),
        ({"bound": True, "position": "last"}, "a b c new one"),
        ({"bound": True, "position": "before b"}, "a new one b c"),
        ({"bound": True, "position": "after b"}, "a b new one c"),
    ],
)
@pytest.mark.parametrize("dependencies", [{}, {"axios": "1.7.9"}])
def test_an_action_is_made_deployed_and_bound_in_its_place(
    tmp_path: Path, place: dict[str, Any], order: str, dependencies: dict[str, str]
) -> None:
    new = NEW | place | {"dependencies": dependencies}
    core, ended = carried_out(tmp_path, {"create": new, "deploy": True} | SECRET)
    assert ended == {"applied": 1}
    assert bound(core.sandbox) == order
    made = actions_of(core.sandbox)["new one"]
    assert made["secrets"] == {"K": "one"}
    assert made["runs"] == {key: made[key] for key in made["runs"]} | {"secrets": ["K"]}
    assert run(tmp_path / "again", core, plan=for_t0({"create": new, "deploy": True} | SECRET))[
        State.UNCHANGED
    ]
    (first,) = [seen for seen in core.sandbox.writes() if seen.path.endswith("/actions/actions")]
    packages = [{"name": name, "version": version} for name, version in dependencies.items()]
    trigger = {"id": PRE, "version": "v2"}  # v1 is DEPRECATED
    assert orjson.loads(first.body) == {
        "name": "new one",
        "code": CODE,
        "supported_triggers": [trigger],
        "dependencies": packages,
    }


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        ({"name": "z"}, {}),
        ({"code": CODE}, {"code": CODE}),
        (
            {"dependencies": {"x": "1.0.0"}},
            {"dependencies": [{"name": "x", "version": "1.0.0"}]},
        ),
        ({"runtime": "node18"}, {"runtime": "node18"}),
    ],
)
@pytest.mark.parametrize("deploy", [{}, {"deploy": True}])
def test_a_draft_is_changed_and_runs_only_when_it_is_deployed(
    tmp_path: Path, wanted: dict[str, Any], fields: dict[str, Any], deploy: dict[str, Any]
) -> None:
    core, ended = carried_out(tmp_path, on_actions("a", set=wanted, **deploy))
    assert ended == {"applied": 1}
    name = wanted.get("name", "a")
    assert bound(core.sandbox) == f"{name} b c"
    was, now = actions_of(acting())["a"], actions_of(core.sandbox)[name]
    assert now == was | fields | {"runs": was["runs"] | (fields if deploy else {})}
    assert len(asked(core, "POST", "/deploy")) == bool(deploy)


def test_secrets_are_set_and_removed_and_those_not_named_stay(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    action = core.sandbox.actions_of("t0")[0]["id"]
    edits = [on_actions("a", **SECRET), on_actions("a", remove_secrets=["OLD"], deploy=True)]
    assert run(tmp_path / "j", core, plan=for_t0(edits[0]))[State.APPLIED]
    assert core.sandbox.action_secrets_of("t0", action) == {"OLD": "old", "K": "one"}
    assert run(tmp_path / "k", core, plan=for_t0(edits[1]))[State.APPLIED]
    assert core.sandbox.action_secrets_of("t0", action) == {"K": "one"}


def test_actions_are_switched_off_and_on_across_tenants(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    was = whole_state_of(core.sandbox)
    for turn, order in ((False, "a c"), (True, "a c b")):
        edit = {"tenants": list(NAMES), "actions": {"name": "b"}, "set": {"bound": turn}}
        books = run(tmp_path / f"{turn}", core, plan=Job.of("job", [edit]))
        assert states(books) == {"applied": 2}
        assert [bound(core.sandbox, name) for name in NAMES] == [order] * 2
    assert core.crossed == []
    now = whole_state_of(core.sandbox)
    assert [actions for actions, _ in now[1:]] == [actions for actions, _ in was[1:]]


@pytest.mark.parametrize(
    ("name", "position", "order"),
    [
        ("c", "first", "c a b"),
        ("a", "last", "b c a"),
        ("c", "before b", "a c b"),
        ("a", "after b", "b a c"),
        ("a", "before c", "a b c"),
    ],
)
def test_an_action_changes_its_place(tmp_path: Path, name: str, position: str, order: str) -> None:
    core, ended = carried_out(tmp_path, on_actions(name, set={"position": position}))
    assert ended == {"unchanged" if order == "a b c" else "applied": 1}
    assert bound(core.sandbox) == order


def test_edits_of_one_list_are_carried_out_one_after_another_in_their_order(tmp_path: Path) -> None:
    core, ended = carried_out(
        tmp_path,
        {"create": NEW | {"bound": True, "position": "after a"}, "deploy": True},
        on_actions("b", set={"bound": False}),
        on_actions("d", set={"bound": True, "position": "before new one"}),
        on_actions("a", set={"position": "last"}),
    )
    assert ended == {"applied": 4}
    assert bound(core.sandbox) == "d new one c a"
    assert isinstance(core, Watched)
    assert core.crossed == []


def test_a_bound_action_is_unbound_and_then_deleted(tmp_path: Path) -> None:
    core, ended = carried_out(tmp_path, on_actions("b", delete=True))
    assert ended == {"applied": 1}
    assert bound(core.sandbox) == "a c"
    assert "b" not in actions_of(core.sandbox)


def test_what_is_switched_off_and_changed_is_switched_off_first(tmp_path: Path) -> None:
    wanted = {"bound": False, "code": CODE}
    core, ended = carried_out(tmp_path, on_actions("a", set=wanted, deploy=True))
    assert ended == {"applied": 1}
    assert asked(core, "PATCH")[0] == f"triggers/{PRE}/bindings"


def test_an_action_that_cannot_be_deleted_is_bound_again_where_it_was(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    core.nth, core.times = 2, 1
    assert states(run(tmp_path / "j", core, plan=for_t0(on_actions("b", delete=True)))) == {
        "failed": 1
    }
    assert causes(tmp_path / "j") == ["400 no; what was on before is on again"]
    assert bound(core.sandbox) == "a b c"
    assert states(run(tmp_path / "j", core, failed=True)) == {"applied": 1}
    assert bound(core.sandbox) == "a c"
    assert states(run(tmp_path / "u", core, plan=Undoing(tmp_path / "j")))["applied"] == 1
    assert bound(core.sandbox) == "a b c"


# ---- guards


@pytest.mark.parametrize(
    ("name", "wanted", "expect", "ended"),
    [
        ("a", {"code": CODE}, {"bound": True}, "applied"),
        ("a", {"code": CODE}, {"bound": False}, "skipped"),
        ("d", {"code": CODE}, {"bound": True}, "skipped"),
        ("e", {"code": CODE}, {"deployed": False, "bound": False}, "applied"),
        ("a", {"bound": False}, {"deployed": True, "name": "a", "triggerId": PRE}, "applied"),
        ("a", {"bound": False}, {"code": "other"}, "skipped"),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_an_edit_is_carried_out_only_where_what_it_expects_holds(
    tmp_path: Path, name: str, wanted: Any, expect: Any, ended: str, trusted: bool
) -> None:
    core = Watched(acting(), tmp_path / "j")
    job = for_t0(on_actions(name, set=wanted, expect=expect))
    books = run(tmp_path / "j", core, plan=job, apply=trusted)
    books = books if trusted else run(tmp_path / "j", core)
    assert states(books) == {ended: 1}


@pytest.mark.parametrize("wanted", [{"code": CODE}, {"bound": False}])
def test_what_an_edit_expects_must_hold_when_it_is_carried_out(tmp_path: Path, wanted: Any) -> None:
    core = Watched(acting(), tmp_path / "j")
    expect = {"bound": True, "code": "exports.a = 1;"}
    job = for_t0(on_actions("a", set=wanted, expect=expect))
    run(tmp_path / "j", core, plan=job, apply=False)
    if "code" in wanted:
        core.sandbox.set_bindings("t0", PRE, ["b"])
    else:
        change(core.sandbox, "a", code="theirs")
    assert states(run(tmp_path / "j", core)) == {"skipped": 1}
    assert "drifted: " in causes(tmp_path / "j")[0]
    assert core.sandbox.writes() == []


def change(sandbox: Sandbox, name: str, **fields: Any) -> None:
    """Change a draft as somebody else might; it is built at once."""
    actions = sandbox._tenants["t0"].actions._actions.values()
    (action,) = [each for each in actions if each.name == name]
    action.draft = replace(action.draft, **fields)


# ---- what cannot be


@pytest.mark.parametrize(
    ("edits", "what"),
    [
        (
            [{"position": "first"}, {"position": "first"}],
            f"which action of {PRE} is first",
        ),
        ([{"bound": True}, {"bound": False}], "bound of a"),
        ([{"position": "after b"}, {"bound": True, "position": "first"}], "position of a"),
        ([{"code": "1"}, {"code": "2"}], "code of a"),
        ([{"name": "y"}, {"name": "z"}], "name of a"),
    ],
)
def test_edits_that_want_different_things_contradict_each_other(
    tmp_path: Path, edits: list[Any], what: str
) -> None:
    core = Watched(acting(), tmp_path / "j")
    names = "ab" if edits[0] == edits[1] else "aa"
    job = for_t0(*(on_actions(n, set=each) for n, each in zip(names, edits, strict=True)))
    found: list[str] = []

    async def watch(lanes: Lanes) -> None:
        found.extend(each.what for each in lanes.contradictions)

    run(tmp_path / "j", core, plan=job, watch=watch)
    assert found == [what]
    assert causes(tmp_path / "j") == [f"contradicts another edit: {what}"]


@pytest.mark.parametrize(
    ("edit", "ended", "cause"),
    [
        (on_actions("e", set={"bound": True}), "failed", "it was never deployed"),
        (on_actions("d", set={"position": "first"}), "skipped", "it is not bound, so it has no"),
        (on_actions("a", set={"position": "after d"}), "failed", f"d is not bound to {PRE}"),
        (on_actions("a", set={"name": "b"}), "failed", "another action has that name"),
        ({"create": NEW | {"name": "a"}}, "failed", "another action of that name is there already"),
        (on_actions("z", set={"bound": True}), "failed", "no such action"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_sent(
    tmp_path: Path, edit: Any, ended: str, cause: str
) -> None:
    core, states = carried_out(tmp_path, edit)
    assert states == {ended: 1}
    assert causes(tmp_path / "j")[0].startswith(cause)
    assert core.sandbox.writes() == []


def test_what_an_edit_makes_that_is_there_already_no_other_makes_otherwise(tmp_path: Path) -> None:
    core, _ = carried_out(tmp_path, {"create": NEW})
    edits = [{"create": NEW}, on_actions("new one", set={"code": "other"})]
    assert states(run(tmp_path / "1", core, plan=for_t0(*edits))) == {"unchanged": 1, "failed": 1}
    assert causes(tmp_path / "1") == ["contradicts another edit: code of new one"]


def test_an_action_that_one_edit_makes_gets_its_place_from_no_other(tmp_path: Path) -> None:
    edits: list[Any] = [{"create": NEW, "deploy": True}]
    edits.append({"create": NEW | {"bound": True}, "deploy": True})
    core, ended = carried_out(tmp_path, *edits)
    assert ended == {"applied": 1, "failed": 1}
    assert causes(tmp_path / "j") == ["another edit makes it"]
    assert bound(core.sandbox) == "a b c"


def test_what_an_edit_that_cannot_be_would_have_left_is_not_counted_on(tmp_path: Path) -> None:
    core, ended = carried_out(
        tmp_path,
        on_actions("d", set={"code": CODE, "name": "z", "position": "first"}),
        on_actions("d", set={"code": CODE}),
        {"create": NEW | {"name": "z"}},
    )
    assert ended == {"applied": 2, "skipped": 1}
    assert actions_of(core.sandbox)["d"]["code"] == CODE


@pytest.mark.parametrize("kind", ["bound", "secrets", "actions"])
def test_the_limits_of_a_tenant_are_told_before_anything_is_sent(tmp_path: Path, kind: str) -> None:
    sandbox = acting()
    if kind == "bound":
        for number in range(17):
            sandbox.add_action("t0", name=f"n{number}", triggerId=PRE, bound=True)
        edit, cause = on_actions("d", set={"bound": True}), f"{PRE} has 20 actions"
    elif kind == "secrets":
        secrets = {f"S{number}": "v" for number in range(29)}
        sandbox.add_action("t0", name="full", triggerId=PRE, secrets=secrets)
        wanted = {"set_secrets": {"K": "env:SECRET_ONE", "L": "env:SECRET_ONE"}}
        edit, cause = on_actions("full", **wanted), "more than 30 secrets"
    else:
        for number in range(95):
            sandbox.add_action("t0", name=f"n{number}", triggerId=PRE)
        edit, cause = {"create": NEW}, "the tenant has 100 actions"
    core = Watched(sandbox, tmp_path / "j")
    assert states(run(tmp_path / "j", core, plan=for_t0(edit))) == {"failed": 1}
    assert causes(tmp_path / "j")[0].startswith(cause)
    assert sandbox.writes() == []


def test_bindings_that_the_service_keeps_for_itself_are_refused(tmp_path: Path) -> None:
    sandbox = acting()
    sandbox.add_action("t0", name="mail", triggerId="custom-email-provider")
    core = Watched(sandbox, tmp_path / "j")
    job = for_t0(on_actions("mail", set={"bound": True}))
    assert states(run(tmp_path / "j", core, plan=job)) == {"failed": 1}
    assert causes(tmp_path / "j")[0].startswith("400 Bindings of custom-email-provider")


@pytest.mark.parametrize("hidden", ["secrets", "supported_triggers", "code"])
@pytest.mark.parametrize(
    "edit",
    [
        on_actions("a", **SECRET),
        on_actions("a", set={"bound": False}),
        on_actions("a", set={"code": CODE}),
        on_actions("a", delete=True),
        on_actions("a", set={"runtime": "node18"}, expect={"code": "c", "triggerId": PRE}),
    ],
    ids=["secrets", "bound", "code", "delete", "expect"],
)
def test_what_a_tenant_does_not_tell_fails_the_edits_that_need_it(
    tmp_path: Path, hidden: str, edit: Any
) -> None:
    async def less(method: str, path: str, body: bytes) -> Reply | None:
        if method != "GET" or "/actions/actions" not in path:
            return None
        shown = [
            {key: value for key, value in action.items() if key != hidden}
            for action in sandbox.actions_of("t0")
        ]
        if "?" in path:
            return Reply(status=200, body=orjson.dumps({"actions": shown}))
        one = next((each for each in shown if path.endswith(each["id"])), None)
        return Reply(status=200, body=orjson.dumps(one)) if one else None

    sandbox = acting()
    core = Answered(sandbox, tmp_path, less, Clock())
    ended = states(run(tmp_path / "j", core, plan=for_t0(edit)))
    told = causes(tmp_path / "j")
    needs = {"set_secrets": "secrets", "delete": "supported_triggers code"}
    needed = " ".join(needs.get(key, "") for key in edit)
    needed += " supported_triggers" if "bound" in edit.get("set", {}) else ""
    needed += " code" if "code" in edit.get("set", {}) else ""
    needed += " code supported_triggers" if "expect" in edit else ""
    if hidden not in needed:
        assert ended in ({"applied": 1}, {"skipped": 1})
        return
    name = {"supported_triggers": "triggerId"}.get(hidden, hidden)
    assert (ended, told) == ({"failed": 1}, [f"the tenant does not tell the action's {name}"])


# ---- builds and deployments


def test_a_build_that_failed_is_told_and_what_was_made_is_gone_on_with(tmp_path: Path) -> None:
    edit = {"create": NEW | {"bound": True}, "deploy": True}
    core, ended = carried_out(tmp_path, edit, failing_builds=["new one"])
    assert ended == {"failed": 1}
    assert causes(tmp_path / "j") == ["its build failed"]
    core.sandbox._tenants["t0"].actions._failing = frozenset()
    change(core.sandbox, "new one", fails=False)
    assert states(run(tmp_path / "j", core, failed=True)) == {"applied": 1}
    assert bound(core.sandbox) == "a b c new one"


def waits(folder: Path, core: Core, *edits: Mapping[str, Any]) -> tuple[dict[str, int], set[str]]:
    """What these edits come to, and what the lane was seen to wait for meanwhile."""
    seen: set[str] = set()

    async def watch(lanes: Lanes) -> None:
        while True:
            seen.update(view.waiting[0] for view in lanes.views() if view.waiting)
            assert all(0 <= v.waiting[1] <= 300 for v in lanes.views() if v.waiting)
            await anyio.sleep(0.5)

    return states(run(folder / "j", core, plan=for_t0(*edits), watch=watch)), seen


DEPLOYS = on_actions("a", set={"code": CODE}, deploy=True)


def test_a_build_that_never_ends_is_waited_for_five_minutes_and_others_go_on(
    tmp_path: Path,
) -> None:
    core = Watched(acting(build_time=1e6), tmp_path / "j")
    others = [on_actions(name, set={"bound": False}) for name in "bc"]
    ended, seen = waits(tmp_path, core, DEPLOYS, *others)
    assert ended == {"failed": 1, "applied": 2}
    assert causes(tmp_path / "j") == ["waited 300 s for 1 to be built"]
    assert "for 1 to be built" in seen
    at = [entry.at for entry in core.sandbox.log if entry.path.endswith("bindings")]
    assert at[-1] - at[0] < 10
    assert 300 <= core.sandbox.log[-1].at - at[0] < 320
    assert asked(core, "POST") == []


def test_a_deployment_that_takes_its_time_is_waited_for_and_shown(tmp_path: Path) -> None:
    core = Watched(acting(deploy_time=40.0), tmp_path / "j")
    ended, seen = waits(tmp_path, core, DEPLOYS)
    assert ended == {"applied": 1}
    assert {"for 1 to be built", "for 1 to be deployed"} <= seen
    assert len(asked(core, "POST")) == 1


class Terse(Watched):
    """A tenant that does not tell whether all of a draft is deployed."""

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        reply, more = await super().send(method, url, headers, body)
        left = re.sub(rb'"all_changes_deployed":(true|false),?', b"", reply.body)
        return msgspec.structs.replace(reply, body=left), more


@pytest.mark.parametrize("name", ["OLD", "K"])
def test_a_secret_is_deployed_where_a_tenant_does_not_tell_what_is_deployed(
    tmp_path: Path, name: str
) -> None:
    core = Terse(acting(), tmp_path / "j")
    edit = on_actions("a", set_secrets={name: "env:SECRET_ONE"}, deploy=True)
    assert states(run(tmp_path / "j", core, plan=for_t0(edit))) == {"applied": 1}
    assert len(asked(core, "POST", "/deploy")) == 1
    assert name in actions_of(core.sandbox)["a"]["runs"]["secrets"]


def test_a_deployment_that_is_refused_as_too_early_is_asked_for_again(tmp_path: Path) -> None:
    said = "A draft must be in the 'built' state before it can be deployed."
    refusals = [Reply(status=400, body=orjson.dumps({"message": said}))] * 4

    async def early(method: str, path: str, body: bytes) -> Reply | None:
        return refusals.pop() if method == "POST" and refusals else None

    core = Answered(acting(build_time=0.0), tmp_path, early, Clock())
    ended, seen = waits(tmp_path, core, DEPLOYS)
    assert ended == {"applied": 1}
    assert refusals == []
    assert "for 1 to be built" in seen
    assert len(asked(core, "POST")) == 1


# ---- what others do meanwhile


class Meddled(Watched):
    """A tenant where somebody does something right before a request of that kind is answered."""

    before: tuple[str, str] = ("", "")
    does: Any = None

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if self.does and (method, url.rpartition("/")[2]) == self.before:
            does, self.does = self.does, None
            does(self.sandbox)
        return await super().send(method, url, headers, body)


def meddled(folder: Path, before: tuple[str, str], does: Any) -> Meddled:
    core = Meddled(acting(), folder / "j")
    core.before, core.does = before, does
    return core


def binds(*names: str) -> Any:
    return lambda sandbox: sandbox.set_bindings("t0", PRE, names)


def test_what_others_bind_between_plan_and_apply_stays(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    job = for_t0(on_actions("b", set={"bound": False}))
    run(tmp_path / "j", core, plan=job, apply=False)
    binds("d", "b", "c", "a")(core.sandbox)
    assert states(run(tmp_path / "j", core)) == {"applied": 1}
    assert bound(core.sandbox) == "d c a"


def test_what_others_moved_between_our_write_and_its_read_back_is_put_in_its_place(
    tmp_path: Path,
) -> None:
    core = Watched(acting(), tmp_path / "j")
    core.nth, core.meddles = 1, binds("c", "b", "d", "a")
    job = for_t0(on_actions("d", set={"bound": True, "position": "first"}))
    assert states(run(tmp_path / "j", core, plan=job)) == {"applied": 1}
    assert bound(core.sandbox) == "d c b a"


def test_what_others_took_out_between_our_write_and_its_read_back_is_bound_again(
    tmp_path: Path,
) -> None:
    core = Watched(acting(), tmp_path / "j")
    core.nth, core.meddles = 1, binds("c", "b")
    job = for_t0(on_actions("d", set={"bound": True}))
    assert states(run(tmp_path / "j", core, plan=job)) == {"applied": 1}
    assert bound(core.sandbox) == "c b d"


def test_code_that_others_wrote_after_ours_is_not_deployed(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    core.nth, core.meddles = 1, lambda sandbox: change(sandbox, "a", code="theirs")
    assert states(run(tmp_path / "j", core, plan=for_t0(DEPLOYS))) == {"skipped": 1}
    assert causes(tmp_path / "j")[0].startswith("drifted: code was 1 line")
    assert asked(core, "POST") == []
    assert actions_of(core.sandbox)["a"]["runs"]["code"] == "exports.a = 1;"


def test_code_that_others_deployed_after_ours_is_not_taken_for_it(tmp_path: Path) -> None:
    def deploy_theirs(sandbox: Sandbox) -> None:
        change(sandbox, "a", code="theirs", takes=0.0)
        actions = sandbox._tenants["t0"].actions
        (action,) = [each for each in actions._actions.values() if each.name == "a"]
        actions._deploy(action, action.draft, core.clock())

    core = Watched(acting(deploy_time=0.0), tmp_path / "j")
    core.nth, core.meddles = 1, deploy_theirs
    assert states(run(tmp_path / "j", core, plan=for_t0(DEPLOYS))) == {"skipped": 1}
    assert causes(tmp_path / "j")[0].startswith("drifted: code was 1 line")


def test_an_action_that_others_delete_before_it_is_bound_fails_alone(tmp_path: Path) -> None:
    def delete(sandbox: Sandbox) -> None:
        actions = sandbox._tenants["t0"].actions._actions
        del actions[next(id for id, each in actions.items() if each.name == "d")]

    core = meddled(tmp_path, ("PATCH", "bindings"), delete)
    edits = [on_actions("d", set={"bound": True}), on_actions("b", set={"bound": False})]
    assert states(run(tmp_path / "j", core, plan=for_t0(*edits))) == {"failed": 1, "applied": 1}
    assert bound(core.sandbox) == "a c"


class Throttled(Watched):
    """A tenant that takes so many writes of lists only half a minute later; meanwhile somebody
    binds another action."""

    later = 1
    order = "abcd"

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if method == "PATCH" and self.later:
            self.later -= 1
            binds(*self.order)(self.sandbox)
            return Reply(status=429, body=b"{}"), {"retry-after": "30"}
        return await super().send(method, url, headers, body)


def test_a_list_is_read_again_when_its_write_had_to_wait_for_its_turn(tmp_path: Path) -> None:
    core = Throttled(acting(), tmp_path / "j")
    job = for_t0(on_actions("b", set={"bound": False}))
    assert states(run(tmp_path / "j", core, plan=job)) == {"applied": 1}
    assert bound(core.sandbox) == "a c d"


def test_an_undo_gives_a_place_back_as_it_was_right_before_the_write(tmp_path: Path) -> None:
    core = Throttled(acting(), tmp_path / "j")
    core.order = "bac"
    run(tmp_path / "j", core, plan=for_t0(on_actions("b", set={"bound": False})))
    run(tmp_path / "u", core, plan=Undoing(tmp_path / "j"))
    assert bound(core.sandbox) == "b a c"


def test_a_list_whose_write_never_gets_its_turn_in_time_is_given_up(tmp_path: Path) -> None:
    core = Throttled(acting(), tmp_path / "j")
    core.later = 99
    job = for_t0(on_actions("b", set={"bound": False}))
    assert states(run(tmp_path / "j", core, plan=job)) == {"failed": 1}
    assert causes(tmp_path / "j") == ["what it writes was always read too long before its turn"]
    core.later = 0
    assert states(run(tmp_path / "j", core, failed=True)) == {"applied": 1}


# ---- tenants that give no actions

HOOK = {"hook": "H", "set": {"enabled": False}}


@pytest.mark.parametrize("only", [("read:hooks", "update:hooks"), None], ids=["scope", "404"])
def test_where_actions_cannot_be_had_hooks_go_on(tmp_path: Path, only: Any) -> None:
    sandbox = acting(scopes={"t0": only} if only else {})

    async def nothing(method: str, path: str, body: bytes) -> Reply | None:
        if only or "/actions" not in path:
            return None
        return Reply(status=404, body=b'{"message": "Not Found"}')

    core = Answered(sandbox, tmp_path, nothing, Clock())
    edits = [on_actions("a", set={"bound": False}), on_actions("b", delete=True), HOOK]
    ended = states(run(tmp_path / "j", core, plan=for_t0(*edits)))
    assert ended == {"failed": 2, "applied": 1}
    assert len(causes(tmp_path / "j")) == 1
    assert on(sandbox) == ""
    asked_for = [seen for seen in sandbox.log if "/actions" in seen.path]
    assert len(asked_for) <= 1
    assert states(run(tmp_path / "j", core, failed=True)) == {"failed": 2, "applied": 1}


@pytest.mark.parametrize("trusted", [True, False])
def test_where_actions_cannot_be_written_hooks_go_on_and_it_is_tried_once(
    tmp_path: Path, trusted: bool
) -> None:
    sandbox = acting(scopes={"t0": ("read:hooks", "update:hooks", "read:actions")})
    hooks = []
    for number in range(9):
        sandbox.add_hook("t0", id=f"N{number}", name=f"n{number}", triggerId=PRE)
        hooks.append({"hook": f"N{number}", "set": {"name": f"m{number}"}})
    core = Watched(sandbox, tmp_path / "j")
    turns = [on_actions(name, set={"bound": False}) for name in "abc"]
    job = for_t0(*turns, *hooks, HOOK)
    books = run(tmp_path / "j", core, plan=job, apply=trusted)
    books = books if trusted else run(tmp_path / "j", core)
    assert states(books) == {"failed": 3, "applied": 10}
    assert len(causes(tmp_path / "j")) == 1
    assert [seen.status for seen in sandbox.log if seen.method == "PATCH"].count(403) == 1
    assert on(sandbox) == ""


# ---- lists that leave things out


def edit_of_actions(**more: Any) -> Edit:
    return Edit(digest="d" * 32, line=1, tenants=("t",), of="actions", one=True, **more)


def test_a_name_with_spaces_and_a_hook_of_the_same_name_are_told_apart() -> None:
    listing = Listing({"H": {"id": "H", "name": "a b", "triggerId": PRE, "enabled": True}})
    listing.add({"actions/A": {"id": "actions/A", "name": "a b", "triggerId": PRE, "code": "1"}})
    wanted = edit_of_actions(match=Match(name="a b"), set={"code": "2"})
    (item,) = listing.resolve(1, wanted)
    assert item.target == "actions/A"
    assert all(" " not in key for key in item.keys)
