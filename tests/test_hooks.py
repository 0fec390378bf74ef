"""What an edit of a hook means: which hooks it is for, what it changes, and when it is done."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhooks.errors import ItemError
from bulkhooks.hooks import (
    Edit,
    HookMatch,
    Listing,
    body_of,
    describe,
    edit_of,
    hook_in,
    hooks_in,
    request,
)
from bulkhooks.items import UNCHANGED, Item, Seen, State, Step, judge, shows

PRE, POST = "pre-user-registration", "post-user-registration"


def hook(id: str, name: str = "n", trigger: str = PRE, enabled: bool = False, **more: Any) -> Any:
    fields = {"id": id, "name": name, "triggerId": trigger, "enabled": enabled}
    return fields | {"dependencies": {}} | more


def listing(*found: Any) -> Listing:
    read = Listing()
    assert not read.add_page({"total": len(found), "hooks": list(found)})
    read.complete()
    return read


def edit(one: bool = False, match: Any = None, **more: Any) -> Edit:
    matching = HookMatch(**(match or {}))
    return Edit(digest="d" * 32, line=1, tenants=("t",), one=one, match=matching, **more)


def items(read: Listing, *edits: Edit) -> list[Item]:
    waiting = [(row, wanted, read.must_wait(wanted)) for row, wanted in enumerate(edits, 1)]
    waiting.sort(key=lambda each: each[2])
    return [item for row, wanted, _ in waiting for item in read.resolve(row, wanted)]


def test_a_selector_takes_every_hook_for_which_all_of_it_holds() -> None:
    read = listing(
        hook("A", "fraud-a", enabled=True), hook("B", "fraud-b", POST), hook("C", "other", POST)
    )
    by_name = items(read, edit(match={"name": "fraud-*"}, set={"dependencies": {"x": "1"}}))
    assert [item.target for item in by_name] == ["A", "B"]
    both = items(read, edit(match={"name": "fraud-*", "enabled": True}, set={"name": "z"}))
    assert [item.target for item in both] == ["A"]
    assert [i.target for i in items(read, edit(match={"triggerId": POST}, set={"name": "z"}))] == [
        "B",
        "C",
    ]


def test_one_hook_is_found_by_its_exact_name_and_a_star_is_no_glob_there() -> None:
    read = listing(hook("A", "check"))
    assert items(read, edit(one=True, match={"name": "check"}, set={"name": "z"}))
    with pytest.raises(ItemError, match="no such hook"):
        items(read, edit(one=True, match={"name": "che*"}, set={"name": "z"}))


def test_what_is_already_as_wanted_is_unchanged_and_has_no_step() -> None:
    (item,) = items(listing(hook("A")), edit(match={"id": "A"}, set={"enabled": False}))
    assert item.outcome == UNCHANGED
    assert item.steps == ()


def test_a_write_carries_the_changed_fields_and_nothing_else() -> None:
    wanted = edit(match={"id": "A"}, set={"name": "n", "enabled": True, "dependencies": {}})
    (item,) = items(listing(hook("A")), wanted)
    call = request(item, item.steps[0])
    assert (call.method, call.path, call.body) == ("PATCH", "/hooks/A", {"enabled": True})


def test_a_guard_that_does_not_hold_skips_the_item() -> None:
    wanted = edit(match={"id": "A"}, set={"name": "z"}, expect={"enabled": True})
    (item,) = items(listing(hook("A")), wanted)
    assert item.outcome.state is State.SKIPPED
    assert item.outcome.cause == "expected enabled true, found false"


def test_an_edit_sees_what_those_ahead_of_it_leave_but_selectors_see_what_was_read() -> None:
    first = edit(match={"name": "n"}, set={"name": "m", "dependencies": {"a": "1"}})
    second = edit(match={"name": "n"}, set={"dependencies": {"b": "2"}})
    one, two = items(listing(hook("A")), first, second)
    assert one.steps[0].before == {"name": "n", "dependencies": {}}
    assert two.steps[0].before == {"dependencies": {"a": "1"}}
    assert two.label == "m"


def test_what_disables_goes_before_what_enables() -> None:
    read = listing(hook("A", "a", enabled=True), hook("B", "b"))
    off = edit(match={"id": "A"}, set={"enabled": False})
    on = edit(match={"id": "B"}, set={"enabled": True})
    rename = edit(match={"id": "B"}, set={"name": "c"})
    found = items(read, off, on, rename)
    assert [(item.target, item.rank) for item in found] == [("A", 0), ("B", 1), ("B", 1)]
    shared = set(found[0].keys) & set(found[1].keys)
    assert shared == {f"enabled:{PRE}"}


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_lines_does_not_decide_what_is_disabled_first(order: int) -> None:
    read = listing(hook("A", "a", enabled=True), hook("B", "b"))
    both = [edit(match={"id": id}, set={"enabled": id == "B"}) for id in "AB"]
    found = items(read, *both[::order])
    assert [(item.target, item.outcome.state) for item in found] == [
        ("A", State.PENDING),
        ("B", State.PENDING),
    ]


def test_a_hook_whose_fields_are_not_told_is_an_error_for_people() -> None:
    read = listing({"id": "A", "name": "n"})
    with pytest.raises(ItemError, match="does not tell the hook's enabled"):
        items(read, edit(match={"id": "A"}, set={"enabled": True}))


def test_a_second_enabled_hook_of_a_trigger_is_not_asked_for() -> None:
    read = listing(hook("A", "a", enabled=True), hook("B", "b"), hook("C", "c", POST))
    on = [edit(match={"id": id}, set={"enabled": True}) for id in "BC"]
    second, other = items(read, *on)
    assert second.outcome.state is State.SKIPPED
    assert "disable a in the same job" in second.outcome.hint
    assert other.steps


def test_a_hook_is_read_alone_only_where_the_list_does_not_show_what_matters() -> None:
    read = listing(hook("A"), hook("B"))
    assert read.lacking(edit(match={"id": "A"}, set={"enabled": True})) == []
    assert read.lacking(edit(match={"id": "A"}, set={"script": "s"})) == ["A"]
    read.add(hook("A", script="s"))
    assert read.lacking(edit(match={"id": "A"}, set={"script": "s"})) == []
    assert read.lacking(edit(match={"name": "n"}, set={"name": "z"}, expect={"script": "s"})) == [
        "B"
    ]


@pytest.mark.parametrize(
    ("pages", "count"),
    [
        ([{"total": 3, "hooks": [hook("A"), hook("B")]}, {"total": 3, "hooks": [hook("C")]}], 3),
        ([{"length": 1, "hooks": [hook("A")]}], 1),
        ([[hook(f"H{n}") for n in range(100)], [hook("L")]], 101),
        ([[hook(f"H{n}") for n in range(100)]] * 2, 100),
        ([{"total": 9, "hooks": [hook("A")]}, {"total": 9, "hooks": []}], 1),
        ([{"total": 9, "hooks": [hook("A")]}, {"total": 9, "hooks": [hook("A")]}], 1),
        ([[]], 0),
    ],
    ids=["total", "length", "array", "no paging", "total too high", "same page", "none"],
)
def test_pages_are_read_until_there_are_no_more(pages: list[Any], count: int) -> None:
    read = Listing()
    assert [read.add_page(page) for page in pages] == [True] * (len(pages) - 1) + [False]
    assert len(read.hooks) == count


@pytest.mark.parametrize("answer", [None, "OK", 3, {}, {"id": 5}, {"id": "a/b"}, {"hooks": "x"}])
def test_what_is_not_a_hook_is_an_error_for_people(answer: object) -> None:
    with pytest.raises(ItemError):
        hook_in(answer)
    with pytest.raises(ItemError):
        hooks_in(answer)


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
        ({"enabled": False}, Seen.LACKING),
        ({}, Seen.LACKING),
    ],
)
def test_a_look_is_judged_by_before_and_want(seen: Any, verdict: Seen) -> None:
    assert judge(STEP, seen) is verdict


def test_an_answer_shows_the_change_or_it_does_not() -> None:
    assert shows(STEP, {"enabled": False})
    assert not shows(STEP, {"enabled": True})
    assert not shows(STEP, {})


def test_an_edit_survives_the_journal() -> None:
    wanted = edit(match={"name": "x*"}, set={"script": "s"}, expect={"enabled": True}, note="why")
    assert edit_of(body_of(wanted)) == wanted


def test_a_change_is_told_in_a_few_words() -> None:
    step = Step(
        kind="update",
        target="h",
        before={"enabled": True, "script": "a\nb", "dependencies": {}},
        want={"enabled": False, "script": "a", "dependencies": {"axios": "1.7.9"}},
    )
    assert describe(step) == [
        "enabled: true → false",
        "script: 2 lines → 1 line",
        "dependencies: {} → {axios 1.7.9}",
    ]
