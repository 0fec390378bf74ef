"""The pretend service keeps the rules about actions that Auth0 documents."""

from __future__ import annotations

import http.client
import re
import signal
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import urlsplit

import orjson
import pytest

from asking import BEARER, NOW, ask, hook_path, json
from bulkhooks.sandbox import Answer, Sandbox
from bulkhooks.sandbox.buckets import Bucket
from bulkhooks.sandbox.issuer import SCOPES
from bulkhooks.sandbox.pretend import Gone
from world import Make

ACTIONS = "/api/v2/actions/actions"
TRIGGERS = "/api/v2/actions/triggers"
PRE = "pre-user-registration"
BINDINGS = f"{TRIGGERS}/{PRE}/bindings"
TOO_EARLY = "A draft must be in the 'built' state before it can be deployed."

#: Keys of what is answered, as the OpenAPI description has them; `?`: may be missing.
BASE = "id name supported_triggers all_changes_deployed created_at updated_at"
CONTENT = "code dependencies runtime secrets status"
SHAPES = {
    "action": f"{BASE} {CONTENT} built_at? deployed_version?",
    "base": BASE,
    "version": "id action_id number deployed created_at updated_at supported_triggers"
    f" {CONTENT} built_at? errors? action?",
    "trigger": "id version status runtimes default_runtime compatible_triggers binding_policy",
    "dependency": "name version registry_url?",
    "secret": "name updated_at",
    "error": "id msg url",
    "binding": "id trigger_id display_name action created_at updated_at",
    "bindings": "bindings",
    "triggers": "triggers",
    **{f"page of {kind}": f"total page per_page {kind}" for kind in ("actions", "versions")},
    **{f"page of {kind}": f"total page per_page {kind}" for kind in ("bindings", "modules")},
}
#: What lies under a key is of this shape, or a list of such.
INNER = {
    "supported_triggers": "trigger",
    "dependencies": "dependency",
    "secrets": "secret",
    "deployed_version": "version",
    "errors": "error",
    "action": "action",
    "actions": "action",
    "versions": "version",
    "bindings": "binding",
    "triggers": "trigger",
}
STATUSES = {"pending", "building", "packaged", "built", "retrying", "failed"}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def check_shape(value: Any, shape: str) -> None:
    """The value has the keys of the shape and no other, and so has all that is in it."""
    if isinstance(value, list):
        for each in value:
            check_shape(each, shape)
        return
    keys = SHAPES[shape].split()
    assert {key for key in keys if not key.endswith("?")} <= value.keys()
    assert value.keys() <= {key.rstrip("?") for key in keys}
    for key, inner in value.items():
        if key.endswith("_at"):
            assert STAMP.fullmatch(inner)
        elif key == "status" and shape != "trigger":
            assert inner in STATUSES
        elif key in INNER:
            check_shape(inner, "base" if (shape, key) == ("version", "action") else INNER[key])


def new(name: str = "new", trigger: str = PRE, **more: Any) -> dict[str, Any]:
    return {"name": name, "supported_triggers": [{"id": trigger, "version": "v2"}], **more}


def create(sandbox: Sandbox, at: float = 0.0, **fields: Any) -> str:
    """Creates an action; its path."""
    answer = ask(sandbox, "POST", ACTIONS, new(**fields), at=at)
    assert answer.status == 201
    return f"{ACTIONS}/{json(answer)['id']}"


def show(sandbox: Sandbox, path: str, at: float = 0.0) -> Any:
    answer = ask(sandbox, "GET", path, at=at)
    assert answer.status == 200
    return json(answer)


def deploy(sandbox: Sandbox, path: str, at: float) -> Any:
    answer = ask(sandbox, "POST", f"{path}/deploy", at=at)
    assert answer.status == 202
    return json(answer)


def bind(sandbox: Sandbox, *refs: object, trigger: str = PRE, at: float = 100.0) -> Answer:
    """A name stands for a reference by name."""
    items = [
        {"ref": {"type": "action_name", "value": each}} if isinstance(each, str) else each
        for each in refs
    ]
    path = f"{TRIGGERS}/{trigger}/bindings"
    return ask(sandbox, "PATCH", path, {"bindings": items}, at=at)


def three() -> Sandbox:
    """Actions a and b, bound in that order, and c, which is deployed but not bound."""
    sandbox = Sandbox(["acme"])
    for name in "abc":
        sandbox.add_action("acme", name=name, triggerId=PRE, bound=name != "c")
    return sandbox


def ids(sandbox: Sandbox) -> dict[str, str]:
    return {action["name"]: action["id"] for action in sandbox.actions_of("acme")}


# What is there at first


def test_there_are_no_actions_unless_some_are_asked_for() -> None:
    assert json(ask(Sandbox(["acme"]), "GET", ACTIONS)) == {
        "total": 0,
        "page": 0,
        "per_page": 20,
        "actions": [],
    }


def test_generated_actions_are_the_same_in_every_run_and_apart_by_tenant() -> None:
    actions = Sandbox(["acme"], actions=20).actions_of("acme")
    box = Sandbox(["other", "acme"], actions=20)

    assert actions == box.actions_of("acme")
    assert not {a["id"] for a in actions} & {a["id"] for a in box.actions_of("other")}
    assert all(re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", a["id"]) for a in actions)
    assert len({a["name"] for a in actions}) == 20
    assert {"deployed_version" in a for a in actions} == {True, False}
    assert box.bindings_of("acme", PRE) == ["block-throwaway-mail"]


def test_added_actions_are_bound_where_that_is_said() -> None:
    sandbox = three()
    sandbox.add_action("acme", name="first", triggerId=PRE, bound=0)
    draft = sandbox.add_action("acme", name="draft", triggerId=PRE, deployed=False)

    assert sandbox.bindings_of("acme", PRE) == ["first", "a", "b"]
    assert (draft["status"], draft["all_changes_deployed"]) == ("built", False)
    with pytest.raises(ValueError, match="'draft'"):
        sandbox.add_action("acme", name="draft", triggerId=PRE)


def test_somebody_elses_bindings_keep_those_that_stay() -> None:
    sandbox = three()
    before = {b["display_name"]: b["id"] for b in show(sandbox, BINDINGS)["bindings"]}
    sandbox.set_bindings("acme", PRE, ["c", "b"])

    assert sandbox.bindings_of("acme", PRE) == ["c", "b"]
    assert show(sandbox, BINDINGS)["bindings"][1]["id"] == before["b"]


# Every answer has the shape that is documented


def every_answer(sandbox: Sandbox) -> Iterator[tuple[str, Answer]]:
    """All calls, and the shape of what each answers."""
    full: dict[str, Any] = {
        "code": "exports.x = 1;",
        "dependencies": [{"name": "axios", "version": "1.7.9"}],
        "secrets": [{"name": "KEY", "value": "v"}],
    }
    create(sandbox, name="failing", deploy=True)
    path = create(sandbox, name="full", **full)
    yield "action", ask(sandbox, "POST", ACTIONS, new("other", deploy=True))
    yield "action", ask(sandbox, "GET", path)
    yield "version", ask(sandbox, "POST", f"{path}/deploy", at=10)
    yield "version", ask(sandbox, "POST", f"{path}/deploy", at=20)
    yield "action", ask(sandbox, "PATCH", path, {"code": "exports.x = 2;"}, at=25)
    yield "bindings", bind(sandbox, "full", "other", at=30)
    yield "page of bindings", ask(sandbox, "GET", BINDINGS, at=40)
    yield "page of actions", ask(sandbox, "GET", ACTIONS, at=40)
    for action in sandbox.actions_of("acme"):
        versions = f"{ACTIONS}/{action['id']}/versions"
        yield "page of versions", ask(sandbox, "GET", versions, at=40)
        version = f"{versions}/{show(sandbox, versions, 40)['versions'][-1]['id']}"
        yield "version", ask(sandbox, "GET", version, at=40)
        if action["status"] == "built":
            yield "version", ask(sandbox, "POST", f"{version}/deploy", at=40)
    yield "triggers", ask(sandbox, "GET", TRIGGERS)
    yield "page of modules", ask(sandbox, "GET", "/api/v2/actions/modules")


def test_every_answer_has_the_shape_that_is_documented() -> None:
    sandbox = Sandbox(["acme"], failing_builds=["failing"])
    for shape, answer in every_answer(sandbox):
        assert answer.status in (200, 201, 202), answer
        check_shape(json(answer), shape)


def test_values_of_secrets_are_never_answered() -> None:
    sandbox = Sandbox(["acme"])
    path = create(sandbox, secrets=[{"name": "KEY", "value": "s3cret"}])
    ask(sandbox, "PATCH", path, {"secrets": [{"name": "KEY"}, {"name": "B", "value": "s3cret"}]})
    deploy(sandbox, path, 10)
    asked = (ACTIONS, path, f"{path}/versions", BINDINGS)

    assert bind(sandbox, "new").status == 200
    assert not any(b"s3cret" in ask(sandbox, "GET", each, at=100).body for each in asked)
    assert sandbox.action_secrets_of("acme", ids(sandbox)["new"]) == {
        "KEY": "s3cret",
        "B": "s3cret",
    }


# Lists


def test_pages_hold_every_action_once_and_end_with_an_empty_one() -> None:
    sandbox = Sandbox(["acme"], actions=25)
    pages = [show(sandbox, ACTIONS)]
    pages += [
        json(ask(sandbox, "GET", ACTIONS, query=f"page={number}&per_page=12"))
        for number in range(4)
    ]

    assert [len(page["actions"]) for page in pages] == [20, 12, 12, 1, 0]
    assert [a["id"] for page in pages[1:] for a in page["actions"]] == list(ids(sandbox).values())
    assert {page["total"] for page in pages} == {25}
    assert [(page["page"], page["per_page"]) for page in pages[:3]] == [(0, 20), (0, 12), (1, 12)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("actionName=b", "b"),
        ("triggerId=post-login", "d"),
        (f"triggerId={PRE}&actionName=d", ""),
        ("deployed=true", "abc"),
        ("deployed=false", "d"),
        ("installed=true", ""),
        ("installed=false", "abcd"),
    ],
)
def test_a_list_is_filtered(query: str, names: str) -> None:
    sandbox = three()
    sandbox.add_action("acme", name="d", triggerId="post-login", deployed=False)
    found = json(ask(sandbox, "GET", ACTIONS, query=query))

    assert [action["name"] for action in found["actions"]] == list(names)
    assert found["total"] == len(names)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (ACTIONS, "include_totals=true"),
        (ACTIONS, "per_page=101"),
        (ACTIONS, "page=x"),
        (ACTIONS, "triggerId=pre-login"),
        (ACTIONS, "deployed=yes"),
        (BINDINGS, "triggerId=post-login"),
        (TRIGGERS, "page=0"),
    ],
)
def test_a_bad_query_is_refused(path: str, query: str) -> None:
    answer = ask(Sandbox(["acme"]), "GET", path, query=query)

    assert (answer.status, json(answer)["errorCode"]) == (400, "invalid_query_string")


# Making and changing


def test_a_new_action_has_what_it_was_made_of_and_defaults() -> None:
    sandbox = Sandbox(["acme"])
    body = new(
        code="exports.x = 1;",
        dependencies=[{"name": "axios", "version": "1.7.9"}],
        secrets=[{"name": "KEY", "value": "v"}],
    )
    made, plain = (json(ask(sandbox, "POST", ACTIONS, each)) for each in (body, new("plain")))

    assert {key: made[key] for key in ("name", "code", "dependencies")} == {
        key: body[key] for key in ("name", "code", "dependencies")
    }
    assert [secret["name"] for secret in made["secrets"]] == ["KEY"]
    assert (made["status"], made["all_changes_deployed"]) == ("pending", False)
    assert plain["runtime"] == "node22"
    assert (plain["code"], plain["dependencies"], plain["secrets"]) == (
        "module.exports = () => {}",
        [],
        [],
    )


def test_a_trigger_without_a_version_is_the_current_one() -> None:
    sandbox = Sandbox(["acme"])
    made = ask(sandbox, "POST", ACTIONS, {"name": "n", "supported_triggers": [{"id": PRE}]})

    [trigger] = json(made)["supported_triggers"]
    assert (trigger["version"], trigger["status"]) == ("v2", "CURRENT")


def test_a_name_that_is_taken_gets_409_from_create_and_patch() -> None:
    sandbox = three()
    path = f"{ACTIONS}/{ids(sandbox)['b']}"

    assert ask(sandbox, "POST", ACTIONS, new("a")).status == 409
    assert ask(sandbox, "PATCH", path, {"name": "a"}).status == 409
    assert ask(sandbox, "PATCH", path, {"name": "b"}).status == 200


LONG = [{"name": "N", "value": "v" * 4097}]
BAD: list[Any] = [
    {"name": ""},
    {"name": 1},
    {"supported_triggers": []},
    {"supported_triggers": [{"id": PRE}, {"id": "post-login"}]},
    {"supported_triggers": [{"id": PRE, "version": "v9"}]},
    {"supported_triggers": [{"id": "pre-login", "version": "v1"}]},
    {"supported_triggers": [{"id": PRE, "extra": 1}]},
    {"code": 1},
    {"code": "x" * 100_001},
    {"runtime": "node8"},
    {"dependencies": {"axios": "1"}},
    {"dependencies": [{"name": "axios"}]},
    {"dependencies": [{"name": "axios", "version": "1"}] * 2},
    {"dependencies": [{"name": f"n{n}", "version": "1"} for n in range(11)]},
    {"secrets": {"A": "1"}},
    {"secrets": [{"name": "NEW"}]},
    {"secrets": [{"name": "", "value": "1"}]},
    {"secrets": [{"name": "N" * 129, "value": "1"}]},
    {"secrets": LONG},
    {"secrets": [{"name": "A", "value": "1"}] * 2},
    {"secrets": [{"name": f"N{n}", "value": "1"} for n in range(31)]},
    {"modules": [{"module_name": "m"}]},
    {"status": "built"},
    {"deployed": True},
]


@pytest.mark.parametrize("fields", BAD, ids=lambda fields: str(fields)[:60])
def test_bad_fields_are_refused_by_create_and_patch_and_change_nothing(fields: Any) -> None:
    sandbox = three()
    before = sandbox.actions_of("acme")
    answers = [
        ask(sandbox, "POST", ACTIONS, new() | fields),
        ask(sandbox, "PATCH", f"{ACTIONS}/{ids(sandbox)['a']}", fields),
    ]

    for answer in answers:
        assert (answer.status, json(answer)["errorCode"]) == (400, "invalid_body")
    assert sandbox.actions_of("acme") == before
    assert sandbox.writes() == []


@pytest.mark.parametrize("missing", ["name", "supported_triggers"])
def test_a_create_needs_a_name_and_a_trigger(missing: str) -> None:
    body = new()
    del body[missing]

    assert ask(Sandbox(["acme"]), "POST", ACTIONS, body).status == 400


def test_what_is_just_within_the_limits_is_taken() -> None:
    sandbox = Sandbox(["acme"], actions=99)
    path = create(
        sandbox,
        code="x" * 100_000,
        dependencies=[{"name": f"n{n}", "version": "1"} for n in range(10)],
        secrets=[{"name": f"{n:0128}", "value": "v" * 4096} for n in range(30)],
    )
    refused = ask(sandbox, "POST", ACTIONS, new("one-too-many"))

    assert len(show(sandbox, path)["secrets"]) == 30
    assert (refused.status, json(refused)["statusCode"]) == (403, 403)


def test_a_patch_of_secrets_is_the_whole_list_and_keeps_values_it_leaves_out() -> None:
    sandbox = Sandbox(["acme"])
    path = create(sandbox, secrets=[{"name": n, "value": n.lower()} for n in ("A", "B", "C")])
    body = {"secrets": [{"name": "C", "value": "new"}, {"name": "A"}]}
    changed = json(ask(sandbox, "PATCH", path, body, at=5))
    stamps = {each["name"]: each["updated_at"] for each in changed["secrets"]}

    assert sandbox.action_secrets_of("acme", changed["id"]) == {"C": "new", "A": "a"}
    assert stamps["A"] < stamps["C"]


def test_a_patch_changes_the_draft_alone_and_builds_it_anew() -> None:
    sandbox = three()
    path = f"{ACTIONS}/{ids(sandbox)['a']}"
    before = show(sandbox, path)
    changed = json(ask(sandbox, "PATCH", path, {"code": "exports.y = 1;"}))

    assert before["all_changes_deployed"]
    assert not changed["all_changes_deployed"]
    assert (changed["status"], "built_at" in changed) == ("pending", False)
    assert changed["code"] == "exports.y = 1;"
    assert changed["deployed_version"] == before["deployed_version"]


def test_an_action_that_is_bound_keeps_its_trigger() -> None:
    sandbox = three()
    body = {"supported_triggers": [{"id": "post-login", "version": "v3"}]}

    assert [
        ask(sandbox, "PATCH", f"{ACTIONS}/{ids(sandbox)[name]}", body).status for name in "ac"
    ] == [400, 200]


def test_a_bound_action_is_deleted_by_force_alone() -> None:
    sandbox = three()
    bound, free = (f"{ACTIONS}/{ids(sandbox)[name]}" for name in "ac")
    refused = ask(sandbox, "DELETE", bound)

    assert (refused.status, json(refused)["message"]) == (
        409,
        "Unable to delete an action bound to a trigger.",
    )
    assert ask(sandbox, "DELETE", bound, query="force=false").status == 409
    assert ask(sandbox, "DELETE", free).status == 204
    assert ask(sandbox, "DELETE", bound, query="force=true").status == 204
    assert sandbox.bindings_of("acme", PRE) == ["b"]
    assert list(ids(sandbox)) == ["b"]


NO_ACTION = f"{ACTIONS}/910b1053-577f-4d81-a8c8-020e7319a38a"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *((method, NO_ACTION, 404) for method in ("GET", "PATCH", "DELETE")),
        ("POST", f"{NO_ACTION}/deploy", 404),
        ("GET", f"{NO_ACTION}/versions", 404),
        ("GET", f"{NO_ACTION}/versions/x", 404),
        ("POST", f"{NO_ACTION}/versions/x/deploy", 404),
        ("GET", f"{TRIGGERS}/pre-login/bindings", 400),
        ("PATCH", f"{TRIGGERS}/pre-login/bindings", 400),
        ("PUT", NO_ACTION, 405),
        ("POST", TRIGGERS, 405),
        ("GET", "/api/v2/actions", 404),
        ("GET", "/api/v2/actions/executions/x", 404),
        ("GET", f"{NO_ACTION}/", 404),
    ],
)
def test_a_path_that_is_not_there(method: str, path: str, status: int) -> None:
    answer = ask(Sandbox(["acme"]), method, path, {})

    assert (answer.status, json(answer)["statusCode"]) == (status, status)


def test_what_is_not_there_says_what_it_is() -> None:
    sandbox = three()
    version = f"{ACTIONS}/{ids(sandbox)['a']}/versions/x"
    codes = [json(ask(sandbox, "GET", path))["errorCode"] for path in (NO_ACTION, version)]

    assert codes == ["inexistent_action", "inexistent_action_version"]


# Building


def test_a_build_takes_its_time_and_longer_with_dependencies() -> None:
    sandbox = Sandbox(["acme"], build_time=4)
    plain = create(sandbox)
    wide = create(sandbox, name="wide", dependencies=[{"name": "axios", "version": "1"}])
    times = (0, 1, 3, 4, 12)

    assert [show(sandbox, plain, at)["status"] for at in times] == (
        ["pending", "building", "packaged", "built", "built"]
    )
    assert [show(sandbox, wide, at)["status"] for at in times] == (
        ["pending", "pending", "building", "building", "built"]
    )
    assert show(sandbox, plain, 4)["built_at"] == show(sandbox, plain, 99)["built_at"]


def test_builds_of_some_names_are_tried_again_and_fail() -> None:
    sandbox = Sandbox(["acme"], build_time=4, failing_builds=["new"])
    path = create(sandbox)
    shown = [show(sandbox, path, at)["status"] for at in (0, 1, 4, 8)]

    assert shown == ["pending", "building", "retrying", "failed"]
    refused = ask(sandbox, "POST", f"{path}/deploy", at=8)
    assert (refused.status, json(refused)["message"]) == (400, TOO_EARLY)
    ask(sandbox, "PATCH", path, {"name": "other"}, at=8)
    assert show(sandbox, path, 12)["status"] == "built"


def test_a_time_of_nothing_builds_at_once() -> None:
    sandbox = Sandbox(["acme"], build_time=0, deploy_time=0)
    path = create(sandbox)
    deploy(sandbox, path, 0)

    assert show(sandbox, path)["deployed_version"]["deployed"] is True


def test_actions_are_told_as_they_will_be_unless_a_time_is_given() -> None:
    sandbox = Sandbox(["acme"], build_time=4, clock_ahead=100)
    create(sandbox)

    assert [action["status"] for action in sandbox.actions_of("acme", NOW)] == ["pending"]
    assert [action["status"] for action in sandbox.actions_of("acme")] == ["built"]


# Deploying


def test_a_deploy_that_comes_too_early_is_refused_and_makes_no_version() -> None:
    sandbox = Sandbox(["acme"], build_time=4)
    path = create(sandbox)
    answer = ask(sandbox, "POST", f"{path}/deploy", at=3.9)

    assert json(answer) == {"statusCode": 400, "error": "Bad Request", "message": TOO_EARLY}
    assert show(sandbox, f"{path}/versions", 99)["total"] == 0


def test_a_version_runs_after_a_time_and_until_then_the_one_before_it() -> None:
    sandbox = Sandbox(["acme"], build_time=1, deploy_time=2)
    path = create(sandbox, code="one")
    first = deploy(sandbox, path, 1)

    assert (first["number"], first["deployed"], first["status"]) == (1, False, "built")
    assert "deployed_version" not in show(sandbox, path, 2.9)
    assert show(sandbox, path, 3)["deployed_version"]["deployed"] is True
    assert show(sandbox, path, 3)["all_changes_deployed"] is True

    ask(sandbox, "PATCH", path, {"code": "two"}, at=4)
    second = deploy(sandbox, path, 5)
    assert (second["number"], second["id"] != first["id"]) == (2, True)
    before, after = (show(sandbox, path, at) for at in (6.9, 7))
    assert (before["deployed_version"]["id"], before["all_changes_deployed"]) == (
        first["id"],
        False,
    )
    assert (after["deployed_version"]["id"], after["all_changes_deployed"]) == (second["id"], True)
    assert after["deployed_version"]["code"] == "two"
    versions = show(sandbox, f"{path}/versions", 7)["versions"]
    assert [(each["number"], each["deployed"], each["code"]) for each in versions] == [
        (2, True, "two"),
        (1, False, "one"),
    ]


def test_every_deploy_makes_a_version_and_fifty_are_kept() -> None:
    sandbox = Sandbox(["acme"])
    path = create(sandbox)
    for number in range(52):
        assert deploy(sandbox, path, 10 + number)["number"] == number + 1
    kept = json(ask(sandbox, "GET", f"{path}/versions", query="per_page=100", at=99))

    assert kept["total"] == 50
    assert [each["number"] for each in kept["versions"]] == list(range(52, 2, -1))


def test_with_deploy_an_action_is_deployed_once_it_is_built() -> None:
    sandbox = Sandbox(["acme"], build_time=4, deploy_time=1)
    path = create(sandbox, deploy=True)

    assert [show(sandbox, f"{path}/versions", at)["total"] for at in (3.9, 4)] == [0, 1]
    assert "deployed_version" not in show(sandbox, path, 4)
    assert show(sandbox, path, 5)["deployed_version"]["number"] == 1


def test_what_was_to_be_deployed_still_is_where_it_changed_before_it_was_built() -> None:
    sandbox = Sandbox(["acme"], build_time=4, deploy_time=1)
    path = create(sandbox, deploy=True)
    ask(sandbox, "PATCH", path, {"code": "two"}, at=2)

    assert show(sandbox, f"{path}/versions", 5)["total"] == 0
    assert show(sandbox, path, 7)["deployed_version"]["code"] == "two"


def test_a_version_that_was_not_built_tells_why_and_never_runs() -> None:
    sandbox = Sandbox(["acme"], failing_builds=["new"])
    path = create(sandbox, deploy=True)
    [version] = show(sandbox, f"{path}/versions", 9)["versions"]
    again = ask(sandbox, "POST", f"{path}/versions/{version['id']}/deploy", at=9)

    assert (version["status"], version["deployed"]) == ("failed", False)
    assert version["errors"][0]["msg"]
    assert "deployed_version" not in show(sandbox, path, 9)
    assert again.status == 400


@pytest.mark.parametrize("body", [None, b"null", {}, {"update_draft": False}])
def test_a_rollback_is_a_new_version_like_the_old_one(body: object) -> None:
    sandbox = Sandbox(["acme"])
    path = create(sandbox, code="one")
    first = deploy(sandbox, path, 10)
    ask(sandbox, "PATCH", path, {"code": "two"}, at=20)
    deploy(sandbox, path, 30)
    back = ask(sandbox, "POST", f"{path}/versions/{first['id']}/deploy", body, at=40)
    shown = show(sandbox, path, 50)

    assert (back.status, json(back)["number"]) == (202, 3)
    assert shown["deployed_version"]["code"] == "one"
    assert (shown["code"], shown["all_changes_deployed"]) == ("two", False)


def test_a_rollback_may_take_the_draft_with_it() -> None:
    sandbox = Sandbox(["acme"])
    path = create(sandbox, code="one", secrets=[{"name": "KEY", "value": "old"}])
    first = deploy(sandbox, path, 10)
    body = {"code": "two", "secrets": [{"name": "KEY", "value": "new"}]}
    ask(sandbox, "PATCH", path, body, at=20)
    version = f"{path}/versions/{first['id']}"

    assert ask(sandbox, "POST", f"{version}/deploy", {"draft": True}, at=40).status == 400
    assert ask(sandbox, "POST", f"{version}/deploy", {"update_draft": True}, at=40).status == 202
    shown = show(sandbox, path, 50)
    assert (shown["code"], shown["status"], shown["all_changes_deployed"]) == ("one", "built", True)
    assert sandbox.action_secrets_of("acme", shown["id"]) == {"KEY": "old"}


# Triggers


def test_of_each_trigger_one_version_is_current() -> None:
    triggers = show(Sandbox(["acme"]), TRIGGERS)["triggers"]
    current = {each["id"]: each["version"] for each in triggers if each["status"] == "CURRENT"}

    assert len({each["id"] for each in triggers}) == 14
    assert len(current) == sum(each["status"] == "CURRENT" for each in triggers) == 14
    assert len(triggers) > 14
    assert {current[id] for id in ("post-login", "credentials-exchange")} == {"v3", "v2"}
    assert {each["default_runtime"] in each["runtimes"] for each in triggers} == {True}
    assert {each["id"] for each in triggers if each["binding_policy"] == "entity-bound"} == {
        "custom-phone-provider",
        "custom-email-provider",
    }


# Bindings


def bindings(sandbox: Sandbox) -> dict[str, str]:
    """Ids of the bindings by the names of their actions, in their order."""
    found = show(sandbox, BINDINGS)["bindings"]
    return {each["action"]["name"]: each["id"] for each in found}


def test_bindings_are_set_as_a_whole_in_their_order_and_keep_their_ids() -> None:
    sandbox = three()
    before = bindings(sandbox)
    c = {"ref": {"type": "action_id", "value": ids(sandbox)["c"]}, "display_name": "the third"}
    answer = bind(sandbox, c, {"ref": {"type": "binding_id", "value": before["b"]}})

    assert answer.status == 200
    assert [each["display_name"] for each in json(answer)["bindings"]] == ["the third", "b"]
    assert sandbox.bindings_of("acme", PRE) == ["c", "b"]
    assert bindings(sandbox)["b"] == before["b"]

    assert bind(sandbox, "a", "b").status == 200
    assert bindings(sandbox)["a"] != before["a"]
    assert bind(sandbox).status == 200
    assert sandbox.bindings_of("acme", PRE) == []


def test_a_reference_without_a_type_is_a_name() -> None:
    sandbox = three()

    assert bind(sandbox, {"ref": {"value": "c"}}).status == 200
    assert sandbox.bindings_of("acme", PRE) == ["c"]


def test_bindings_come_in_pages() -> None:
    sandbox = Sandbox(["acme"])
    for number in range(20):
        sandbox.add_action("acme", name=f"n{number}", triggerId=PRE, bound=True)
    pages = [
        json(ask(sandbox, "GET", BINDINGS, query=f"page={page}&per_page=15")) for page in range(3)
    ]

    assert [len(page["bindings"]) for page in pages] == [15, 5, 0]
    assert {page["total"] for page in pages} == {20}


@pytest.mark.parametrize(
    "refs",
    [
        ["draft"],
        ["deploying"],
        ["other"],
        ["a", "a"],
        ["nobody"],
        [f"n{n}" for n in range(21)],
        [{"ref": {"type": "action_id", "value": "a"}}],
        [{"ref": {"type": "binding_id", "value": "a"}}],
        [{"ref": {"type": "hook_id", "value": "a"}}],
        [{"ref": {"type": "action_name"}}],
        [{"ref": "a"}],
        [{"action_name": "a"}],
        [{"ref": {"value": "a"}, "display_name": 1}],
        [1],
    ],
    ids=lambda refs: str(refs)[:50],
)
def test_bad_bindings_are_refused_and_change_nothing(refs: list[object]) -> None:
    sandbox = three()
    sandbox.add_action("acme", name="draft", triggerId=PRE, deployed=False)
    sandbox.add_action("acme", name="other", triggerId="post-login")
    for number in range(21):
        sandbox.add_action("acme", name=f"n{number}", triggerId=PRE)
    deploy(sandbox, create(sandbox, at=10, name="deploying"), 99.9)
    answer = bind(sandbox, "b", *refs)

    assert (answer.status, json(answer)["statusCode"]) == (400, 400)
    assert sandbox.bindings_of("acme", PRE) == ["a", "b"]


@pytest.mark.parametrize("body", [{}, [], {"bindings": {}}, {"bindings": [], "more": 1}], ids=str)
def test_a_body_that_is_no_list_of_bindings_is_refused(body: object) -> None:
    sandbox = three()

    assert ask(sandbox, "PATCH", BINDINGS, body).status == 400
    assert sandbox.bindings_of("acme", PRE) == ["a", "b"]


def test_bindings_that_auth0_manages_cannot_be_set() -> None:
    sandbox = Sandbox(["acme"])

    assert bind(sandbox, trigger="custom-phone-provider").status == 400
    assert show(sandbox, f"{TRIGGERS}/custom-phone-provider/bindings")["bindings"] == []


def test_what_is_bound_keeps_running_until_a_new_version_does() -> None:
    sandbox = three()
    path = f"{ACTIONS}/{ids(sandbox)['a']}"
    ask(sandbox, "PATCH", path, {"code": "two"})
    deploy(sandbox, path, 10)
    codes = [
        show(sandbox, BINDINGS, at)["bindings"][0]["action"]["deployed_version"]["code"]
        for at in (10, 20)
    ]

    assert codes == ["module.exports = () => {};\n", "two"]


# Who may do what, and the rest that is as for hooks


@pytest.mark.parametrize("verb", ["read", "create", "update", "delete"])
def test_each_call_needs_its_scope(verb: str) -> None:
    scope = f"{verb}:actions"
    sandbox = Sandbox(["acme"], scopes={"acme": set(SCOPES) - {scope}})
    action = sandbox.add_action("acme", name="a", triggerId=PRE)
    path = f"{ACTIONS}/{action['id']}"
    version = f"{path}/versions/{action['deployed_version']['id']}"
    reads = (ACTIONS, path, f"{path}/versions", version, TRIGGERS, BINDINGS)
    calls: list[tuple[str, str, str, Any]] = [
        *(("read", "GET", each, None) for each in (*reads, "/api/v2/actions/modules")),
        ("create", "POST", ACTIONS, new()),
        ("create", "POST", f"{path}/deploy", None),
        ("create", "POST", f"{version}/deploy", None),
        ("update", "PATCH", path, {"code": "x"}),
        ("update", "PATCH", BINDINGS, {"bindings": []}),
        ("delete", "DELETE", path, None),
    ]
    answers = [(needed, ask(sandbox, *call)) for needed, *call in calls]

    assert {needed for needed, answer in answers if answer.status == 403} == {verb}
    said = {json(answer)["message"] for needed, answer in answers if needed == verb}
    assert said == {f"Insufficient scope, expected any of: {scope}"}


@pytest.mark.parametrize("gone", get_args(Gone))
def test_actions_stay_where_hooks_are_gone(gone: Gone) -> None:
    sandbox = Sandbox(["acme"], lifecycle="gone", gone=gone)

    assert ask(sandbox).status == gone
    assert show(sandbox, create(sandbox))["name"] == "new"


def test_hooks_and_actions_drink_from_one_bucket() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=2, rate=1))

    answers = [ask(sandbox, "GET", path) for path in (ACTIONS, "/api/v2/hooks", TRIGGERS)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert ask(sandbox, "GET", ACTIONS, headers={}, at=9).status == 401


def test_writes_to_actions_and_bindings_are_among_the_writes() -> None:
    sandbox = three()
    path = create(sandbox)
    deploy(sandbox, path, 10)
    bind(sandbox, "new")
    ask(sandbox, "PATCH", hook_path(sandbox, "fraud-check"), {"enabled": False})
    ask(sandbox, "DELETE", path)
    ask(sandbox, "GET", path)

    assert [(seen.method, seen.status) for seen in sandbox.writes()] == [
        ("POST", 201),
        ("POST", 202),
        ("PATCH", 200),
        ("PATCH", 200),
    ]


# The command


def test_the_command_serves_actions_and_builds_as_it_is_told(make: Make) -> None:
    words = ("--port", "0", "--actions", "2", "--build-time", "0", "--failing-build", "bad")
    with make(("t0",)).start("sandbox", *words) as process:
        assert process.stdout is not None
        at = urlsplit(process.stdout.readline().strip())
        line = http.client.HTTPConnection(at.netloc, timeout=30)

        def asked(method: str, body: object = None) -> Any:
            line.request(method, f"{at.path}{ACTIONS}", orjson.dumps(body), headers=BEARER)
            return orjson.loads(line.getresponse().read())

        listed = asked("GET")
        made = [asked("POST", new(name))["status"] for name in ("good", "bad")]
        line.close()
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert listed["total"] == 2
    assert made == ["built", "failed"]
