"""What is known of hooks: their calls, their answers, and what a look at one says of a step."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bulkhooks.errors import ItemError
from bulkhooks.hooks import hook_in, hooks_in, list_all, secrets_in
from bulkhooks.items import Call, Edit, Match, Seen, Step, body_of, edit_of
from bulkhooks.steps import judge, shows

PRE = "pre-user-registration"


def hook(id: str, name: str = "n", trigger: str = PRE, enabled: bool = False, **more: Any) -> Any:
    fields = {"id": id, "name": name, "triggerId": trigger, "enabled": enabled}
    return fields | {"dependencies": {}} | more


@pytest.mark.parametrize(
    ("pages", "count"),
    [
        ([{"total": 3, "hooks": [hook("A"), hook("B")]}, {"total": 3, "hooks": [hook("C")]}], 3),
        ([{"length": 1, "hooks": [hook("A")]}], 1),
        ([[hook(f"H{n}") for n in range(100)], [hook("L")], []], 101),
        ([[hook(f"H{n}") for n in range(50)], [hook("L")], []], 51),
        ([[hook(f"H{n}") for n in range(100)]] * 2, 100),
        ([[]], 0),
    ],
    ids=[
        "total",
        "length",
        "array",
        "fifty a page",
        "no paging",
        "none",
    ],
)
def test_pages_are_read_until_there_are_no_more(pages: list[Any], count: int) -> None:
    calls: list[Call] = []

    async def read(call: Call) -> Any:
        calls.append(call)
        return pages[len(calls) - 1]

    assert len(anyio.run(list_all, read)) == count
    assert len(calls) == len(pages)


@pytest.mark.parametrize("last", [[], [hook("A")]], ids=["an empty page", "the same page"])
def test_a_list_that_lacks_some_of_its_total_is_not_believed(last: list[Any]) -> None:
    pages = iter([[hook("A")], last])

    async def read(call: Call) -> Any:
        return {"total": 9, "hooks": next(pages)}

    with pytest.raises(ItemError, match="not whole: 1 of 9"):
        anyio.run(list_all, read)


@pytest.mark.parametrize("answer", [None, "OK", 3, {}, {"id": 5}, {"id": "a/b"}, {"hooks": "x"}])
def test_what_is_not_a_hook_is_an_error_for_people(answer: object) -> None:
    with pytest.raises(ItemError):
        hook_in(answer)
    with pytest.raises(ItemError):
        hooks_in(answer)


@pytest.mark.parametrize(
    "odd",
    [
        {"name": 5},
        {"name": "a\x1b[2J"},
        {"triggerId": [PRE]},
        {"enabled": "true"},
        {"enabled": 0},
        {"script": {}},
        {"dependencies": []},
        {"dependencies": {"axios": 1}},
        {"dependencies": {"axios": None}},
    ],
)
def test_a_field_that_is_not_of_its_kind_is_an_error_for_people(odd: Any) -> None:
    """No journal could keep all that may stand there, and no terminal should show it."""
    with pytest.raises(ItemError, match=f"not a hook: odd {next(iter(odd))}"):
        hook_in(hook("A") | odd)


def test_fields_without_a_value_and_unknown_ones_are_left_out() -> None:
    answer = hook("A", script=None, more=[1], enabled=True) | {"dependencies": None}
    assert hook_in(answer) == ("A", {"id": "A", "name": "n", "triggerId": PRE, "enabled": True})


@pytest.mark.parametrize("answer", [None, [], "OK", {"A\n": "_VALUE_NOT_SHOWN_"}])
def test_what_is_not_secrets_is_an_error_for_people(answer: object) -> None:
    with pytest.raises(ItemError):
        secrets_in(answer)


def test_a_list_without_an_end_is_an_error_for_people() -> None:
    """A server that makes up new hooks for ever is asked for a thousand pages, and no more."""
    calls: list[Call] = []

    async def read(call: Call) -> Any:
        calls.append(call)
        return [hook(f"H{len(calls)}")]

    with pytest.raises(ItemError, match="has no end: 1,000 on 1,000 pages: look at"):
        anyio.run(list_all, read)
    assert len(calls) == 1000


def test_the_id_may_stand_under_hook_id() -> None:
    assert hook_in({"hook_id": "A", "name": "n"})[0] == "A"


STEP = Step(
    kind="update", target="h", before={"enabled": True, "name": "n"}, want={"enabled": False}
)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ({"enabled": False, "name": "n"}, Seen.WANTED),
        ({"enabled": False, "name": "m"}, Seen.WANTED),
        ({"enabled": True, "name": "n"}, Seen.BEFORE),
        ({"enabled": True, "name": "m"}, Seen.OTHER),
        ({"enabled": None, "name": "n"}, Seen.OTHER),
        ({"enabled": False}, Seen.WANTED),
        ({"enabled": True}, Seen.LACKING),
        ({}, Seen.LACKING),
    ],
)
def test_a_look_is_judged_by_before_and_want(seen: Any, verdict: Seen) -> None:
    assert judge(STEP, seen, sent=False) is verdict


def test_an_answer_shows_the_change_or_it_does_not() -> None:
    assert shows(STEP, {"enabled": False})
    assert not shows(STEP, {"enabled": True})
    assert not shows(STEP, {})


def test_an_edit_survives_the_journal() -> None:
    wanted = Edit(
        digest="d" * 32,
        line=1,
        tenants=("t",),
        match=Match(name="x*"),
        set={"script": "s"},
        expect={"enabled": True},
        note="why",
    )
    assert edit_of(body_of(wanted)) == wanted
