"""Actions: what answers show of them, places in a trigger's list, and what is written."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhooks import actions, steps
from bulkhooks.actions import PREFIX, Binding, action_in, arranged, in_place
from bulkhooks.errors import ItemError
from bulkhooks.items import Call, Fields, Read, Step

# ---- places in a list


def order(names: str) -> list[Binding]:
    """Bindings called by these letters, whose ids are the same."""
    return [Binding(name, name, name, {}) for name in names]


def placed(names: str, own: str, want: Fields) -> str:
    """Names in the order that `want` makes of them."""
    after = arranged(order(names), Binding(own, own, own, {}), want, "post-login")
    return "".join(each.name for each in after)


def among(names: str) -> list[list[str]]:
    """Old neighbours; a dash is the place itself, and one in capitals has another id by now."""
    return [["", ""] if name == "-" else [name, name.lower()] for name in names]


@pytest.mark.parametrize(
    ("names", "own", "want", "after"),
    [
        ("abc", "x", {"bound": True}, "abcx"),
        ("abc", "b", {"bound": True}, "abc"),
        ("abc", "b", {"bound": False}, "ac"),
        ("abc", "x", {"bound": False}, "abc"),
        ("", "x", {"bound": True, "position": "first"}, "x"),
        ("", "x", {"bound": True, "position": "last"}, "x"),
        ("abc", "c", {"bound": True, "position": "first"}, "cab"),
        ("abc", "a", {"bound": True, "position": "last"}, "bca"),
        ("abc", "x", {"bound": True, "position": "before b"}, "axbc"),
        ("abc", "x", {"bound": True, "position": "after b"}, "abxc"),
        ("abc", "a", {"bound": True, "position": "after c"}, "bca"),
        ("abc", "c", {"bound": True, "position": "before a"}, "cab"),
        ("abc", "x", {"bound": True, "among": among("a-bc")}, "axbc"),
        ("abc", "x", {"bound": True, "among": among("-abc")}, "xabc"),
        ("abc", "x", {"bound": True, "among": among("abc-")}, "abcx"),
        ("bac", "x", {"bound": True, "among": among("ab-c")}, "bxac"),
        ("qc", "x", {"bound": True, "among": among("ab-c")}, "qxc"),
        ("qr", "x", {"bound": True, "among": among("ab-c")}, "qrx"),
        ("abc", "b", {"bound": True, "among": among("-ac")}, "bac"),
        ("abc", "x", {"bound": True, "among": []}, "abcx"),
        ("abc", "x", {"bound": True, "among": among("aB-c")}, "abxc"),
    ],
)
def test_an_action_gets_its_place_and_the_others_keep_their_order(
    names: str, own: str, want: Fields, after: str
) -> None:
    assert placed(names, own, want) == after
    left = [name for name in after if name != own]
    assert left == [name for name in names if name != own]
    assert in_place(order(after), own, want)
    assert in_place(order(names), own, want) is (placed(names, own, want) == names)


@pytest.mark.parametrize(
    ("names", "want", "there"),
    [
        ("axqb", "before b", True),
        ("axqb", "after b", False),
        ("aqxb", "after a", True),
        ("axqb", "before z", False),
        ("axq", "after z", False),
        ("axb", "first", False),
        ("axb", "last", False),
        ("x", "first", True),
        ("x", "last", True),
    ],
)
def test_before_and_after_are_wherever_that_is_so(names: str, want: str, there: bool) -> None:
    assert in_place(order(names), "x", {"bound": True, "position": want}) is there


@pytest.mark.parametrize("position", ["before z", "after z", "before x"])
def test_a_place_by_what_is_not_bound_cannot_be_had(position: str) -> None:
    with pytest.raises(ItemError, match="is not bound to post-login"):
        placed("ab", "x", {"bound": True, "position": position})


# ---- what answers show

BARE = {"id": "A", "name": "a"}
CODE = {"code": "c", "dependencies": [{"name": "axios", "version": "1"}]}


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({}, {"deployed": False, "all_changes_deployed": False}),
        ({"code": None, "runtime": 22, "status": None, "supported_triggers": None}, {}),
        ({"status": "BUILT", "runtime": "node22"}, {"status": "BUILT", "runtime": "node22"}),
        ({"supported_triggers": [{"id": "t", "version": "v3"}]}, {"triggerId": "t"}),
        ({"supported_triggers": [{"version": "v3"}, {"id": "x"}]}, {}),
        ({"dependencies": None}, {"dependencies": {}}),
        ({"dependencies": []}, {"dependencies": {}}),
        (CODE, {"code": "c", "dependencies": {"axios": "1"}}),
        ({"secrets": None}, {}),
        ({"secrets": []}, {"secrets": True}),
        ({"secrets": [{"name": "K"}]}, {"secrets": True, "secrets.K": True}),
        ({"deployed_version": None}, {"deployed": False}),
        ({"deployed_version": {}}, {"deployed": False}),
        ({"deployed_version": {"deployed": False}}, {"deployed": False}),
    ],
)
def test_what_an_answer_leaves_out_is_left_out(answer: Fields, shown: Fields) -> None:
    id, fields = action_in(BARE | answer)
    assert id == "actions/A"
    nothing = {"id": id, "name": "a", "deployed": False, "all_changes_deployed": False}
    assert fields == nothing | shown


@pytest.mark.parametrize(
    ("answer", "deployed", "all_changes"),
    [
        ({"deployed_version": {"id": "1"} | CODE} | CODE, True, True),
        ({"deployed_version": {"deployed": True} | CODE, "code": "other"}, True, False),
        ({"deployed_version": {"deployed": True, "code": "c"}} | CODE, True, False),
        ({"deployed_version": CODE, "all_changes_deployed": False} | CODE, True, False),
        ({"deployed_version": {"deployed": True}, "all_changes_deployed": True}, True, True),
        ({"all_changes_deployed": True}, False, False),
        (
            {"deployed_version": {"runtime": "node18"} | CODE, "runtime": "node22"} | CODE,
            True,
            False,
        ),
        (
            {"deployed_version": {"secrets": []} | CODE, "secrets": [{"name": "K"}]} | CODE,
            True,
            False,
        ),
        (
            {"deployed_version": CODE, "runtime": "node22", "secrets": [{"name": "K"}]} | CODE,
            True,
            True,
        ),
    ],
)
def test_what_is_deployed_is_told_without_what_an_answer_may_leave_out(
    answer: Fields, deployed: bool, all_changes: bool
) -> None:
    fields = action_in(BARE | answer)[1]
    assert (
        ("runs" in fields) is ("version" in fields) is ("id" in answer.get("deployed_version", ()))
    )
    assert (fields["deployed"], fields["all_changes_deployed"]) == (deployed, all_changes)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "OK",
        {},
        {"id": 7},
        {"id": "a/b"},
        {"id": ""},
        BARE | {"name": "a\x1b[2J"},
        BARE | {"status": "built\n"},
        BARE | {"supported_triggers": [{"id": "post\nlogin"}]},
        BARE | {"dependencies": [{"name": "a\x07", "version": "1"}]},
        BARE | {"secrets": [{"name": "K\n"}]},
    ],
)
def test_what_is_no_action_or_cannot_be_shown_is_an_error(answer: object) -> None:
    with pytest.raises(ItemError, match="the answer is not an action"):
        action_in(answer)


@pytest.mark.parametrize(
    ("status", "why"),
    [(None, ""), ("built", ""), ("BUILT", ""), ("Building", "to be built"), ("new", "to be built")],
)
def test_what_is_not_built_is_waited_for(status: str | None, why: str) -> None:
    assert actions.unready({"status": status} if status else {}) == why


def test_a_build_that_failed_is_not_waited_for() -> None:
    with pytest.raises(ItemError, match="its build failed"):
        actions.unready({"status": "FAILED"})


# ---- lists, page by page


def answering(*pages: object) -> tuple[Read, list[str]]:
    """Answers a read after the other, the last one again and again; and the paths asked for."""
    asked: list[str] = []

    async def read(call: Call) -> Any:
        asked.append(call.path)
        return pages[min(len(asked), len(pages)) - 1]

    return read, asked


def page(names: str, **more: object) -> Fields:
    return {"actions": [{"id": name, "name": name} for name in names]} | more


def bindings(names: str, **more: object) -> Fields:
    bound = [{"id": f"b{name}", "action": {"id": name, "name": name}} for name in names]
    return {"bindings": bound} | more


@pytest.mark.parametrize(
    ("pages", "found", "reads"),
    [
        ([page("ab", total=2)], "ab", 1),
        ([page("ab", total=3), page("c", total=3)], "abc", 2),
        ([page("ab")], "ab", 2),
        ([page("ab"), page("")], "ab", 2),
        ([page("ab", total=1)], "ab", 2),
        ([page("ab", total="2"), page("")], "ab", 2),
        ([page("ab", total=3), page("bc", total=3)], "abc", 2),
        ([page("")], "", 1),
        ([page("ab")["actions"]], "ab", 2),
    ],
    ids=["whole", "two", "again", "empty", "too few", "text", "overlap", "none", "bare"],
)
async def test_all_pages_of_actions_are_read_and_no_more(
    pages: list[Any], found: str, reads: int
) -> None:
    read, asked = answering(*pages)
    assert "".join(was["name"] for was in (await actions.list_all(read)).values()) == found
    assert len(asked) == reads


@pytest.mark.parametrize(
    ("pages", "found", "reads"),
    [
        ([bindings("ab", total=2), bindings("", total=2)], "ab", 2),
        ([bindings("ab", total=2), bindings("c", total=2), bindings("")], "abc", 3),
        ([bindings("ab")], "ab", 2),
        ([bindings("abb"), bindings("")], "ab", 2),
        ([bindings("")], "", 1),
        ([bindings("ab", total=2), bindings("", total=0)], "ab", 2),
    ],
    ids=["whole", "more than the total", "no paging", "twice", "none", "no total behind the last"],
)
async def test_bindings_are_read_until_there_is_nothing_new(
    pages: list[Any], found: str, reads: int
) -> None:
    read, asked = answering(*pages)
    assert "".join(each.name for each in await actions.read_bindings("post-login", read)) == found
    assert len(asked) == reads


@pytest.mark.parametrize(
    "torn",
    [
        [bindings("ab", total=2), bindings("", total=3)],
        [bindings("ab", total=3), bindings("", total=2)],
        [bindings("a", total=2), bindings("", total=2)],
    ],
    ids=["bound meanwhile", "unbound meanwhile", "one left out"],
)
async def test_bindings_that_others_change_between_two_pages_are_read_anew(torn: list[Any]) -> None:
    whole = [bindings("abc", total=3), bindings("", total=3)]
    read, asked = answering(*torn, *torn, *whole)
    found = await actions.read_bindings("post-login", read)
    assert "".join(each.name for each in found) == "abc"
    assert len(asked) == 6


async def test_a_list_that_is_not_whole_is_an_error() -> None:
    with pytest.raises(ItemError, match="actions is not whole: 2 of 3"):
        await actions.list_all(answering(page("ab", total=3))[0])
    with pytest.raises(ItemError, match="bindings is not whole: 2 of 3"):
        await actions.read_bindings("post-login", answering(bindings("ab", total=3))[0])


async def test_a_list_without_an_end_is_given_up() -> None:
    many = [page(f"{letter}") for letter in map(chr, range(0x4E00, 0x4E00 + 200))]
    for number, each in enumerate(many):
        each["actions"][0]["id"] = f"A{number}"
    with pytest.raises(ItemError, match="has no end"):
        await actions.list_all(answering(*many)[0])
    lists = [{"bindings": [{"id": f"B{number}"}]} for number in range(200)]
    with pytest.raises(ItemError, match="has no end"):
        await actions.read_bindings("post-login", answering(*lists)[0])


@pytest.mark.parametrize("answer", [None, {}, {"bindings": [7]}, {"bindings": [{"id": "a b"}]}])
async def test_what_is_no_list_of_bindings_is_an_error(answer: object) -> None:
    """What is not read would be unbound by the next write."""
    with pytest.raises(ItemError, match="not a list of bindings"):
        await actions.read_bindings("post-login", answering(answer)[0])


BIND = {"bound": False, "triggerId": "post-login"}
FOREIGN = {"bindings": [{"id": "B1", "display_name": "theirs"}, {"id": "B2"}]}


async def test_what_is_bound_and_none_of_the_tenants_own_stays_where_it_is() -> None:
    """Two that have no action are two, and neither is the place that an action has left."""
    own = {"id": "B3", "display_name": "mine", "action": {"id": "A", "name": "a"}}
    listed = {"bindings": [*FOREIGN["bindings"], own]}
    step = Step(kind="bind", target="actions/A", before=BIND | {"bound": True}, want=BIND)
    seen = await actions.look(step, "actions/A", answering(listed, {"bindings": []})[0])
    kept = actions.kept(step, seen)
    was = [["bindings/B1", "theirs"], ["bindings/B2", ""], ["actions/A", "a"]]
    assert kept == {"was": was, "display_name": "mine"}
    assert steps.request(step, "actions/A", seen).body == {
        "bindings": [
            {"ref": {"type": "binding_id", "value": "B1"}, "display_name": "theirs"},
            {"ref": {"type": "binding_id", "value": "B2"}, "display_name": ""},
        ]
    }
    want = {"bound": True, "among": [*was[:2], ["", ""]], "display_name": "mine"}
    seen = await actions.look(step, "actions/A", answering(FOREIGN, {"bindings": []})[0])
    back = Step(kind="bind", target="actions/A", before=BIND, want=want)
    body = steps.request(back, "actions/A", seen).body
    assert isinstance(body, dict)
    assert [each["ref"]["value"] for each in body["bindings"]] == ["B1", "B2", "A"]


# ---- versions of triggers, and secrets

NEW = {"name": "NEW", "value": "env:N"}


@pytest.mark.parametrize(
    ("versions", "current"),
    [
        ([("v1", "CURRENT")], "v1"),
        ([("v1", "DEPRECATED"), ("v2", "current")], "v2"),
        ([("v3", "CURRENT"), ("v2", "DEPRECATED")], "v3"),
        ([("v9", "CURRENT"), ("v10", "CURRENT"), ("v2", "CURRENT")], "v10"),
        ([("v1", None)], "v1"),
        ([("v1", "DEPRECATED")], None),
    ],
)
async def test_new_actions_are_for_the_version_that_is_current(
    versions: list[tuple[str, str | None]], current: str | None
) -> None:
    listed = [
        {"id": "post-login", "version": version} | ({"status": status} if status else {})
        for version, status in versions
    ]
    read, _ = answering({"triggers": listed})
    assert (await actions.current_versions(read)).get("post-login") == current


@pytest.mark.parametrize(
    ("kind", "want", "there", "written"),
    [
        ("create_secrets", {"NEW": "env:N"}, ["A"], [{"name": "A"}, NEW]),
        ("create_secrets", {"NEW": "env:N"}, [], [NEW]),
        ("update_secrets", {"A": "env:N"}, ["A", "B"], [{"name": "B"}, NEW | {"name": "A"}]),
        ("remove_secrets", {"A": False}, ["A", "B", "C"], [{"name": "B"}, {"name": "C"}]),
        ("remove_secrets", {"A": False}, ["A"], []),
    ],
)
def test_secrets_are_written_as_a_whole_list_and_those_without_a_value_keep_theirs(
    kind: str, want: dict[str, Any], there: list[str], written: list[Fields]
) -> None:
    wanted = {f"secrets.{name}": value for name, value in want.items()}
    step = Step(kind=kind, target=f"{PREFIX}A", before={}, want=wanted)
    seen = dict.fromkeys(wanted, False) | {f"secrets.{name}": True for name in there}
    call = steps.request(step, f"{PREFIX}A", seen)
    assert (call.method, call.path, call.secret) == ("PATCH", "/actions/actions/A", True)
    assert call.body == {"secrets": written}
    assert call.secret_values() == [each["value"] for each in written if "value" in each]
    sent = call.with_values({"env:N": "hidden"})
    assert isinstance(sent.body, dict)
    assert [each["name"] for each in sent.body["secrets"]] == [each["name"] for each in written]
    assert sent.secret_values() == ["hidden"] * len(call.secret_values())
    assert "hidden" not in repr(sent)
