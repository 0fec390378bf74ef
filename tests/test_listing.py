"""What edits make of a tenant's hooks: which they are for, what changes, and what contradicts."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from bulkhooks.errors import ItemError
from bulkhooks.hooks import request, rivals
from bulkhooks.items import ABSENT, UNCHANGED, Call, Edit, Item, Match, Narrowed, State, Step, Undo
from bulkhooks.listing import Listing
from bulkhooks.undo import undone

PRE, POST = "pre-user-registration", "post-user-registration"


def hook(id: str, name: str = "n", trigger: str = PRE, enabled: bool = False, **more: Any) -> Any:
    fields = {"id": id, "name": name, "triggerId": trigger, "enabled": enabled}
    return fields | {"dependencies": {}} | more


def listing(*found: Any) -> Listing:
    return Listing({hook["id"]: hook for hook in found})


def edit(one: bool = False, match: Any = None, **more: Any) -> Edit:
    matching = Match(**(match or {}))
    return Edit(digest="d" * 32, line=1, tenants=("t",), one=one, match=matching, **more)


def items(read: Listing, *edits: Edit) -> list[Item]:
    waiting = [(row, wanted, read.must_wait(wanted)) for row, wanted in enumerate(edits, 1)]
    waiting.sort(key=lambda each: each[2])
    return [item for row, wanted, late in waiting for item in read.resolve(row, wanted, late=late)]


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
    call = request(item.steps[0], "A")
    assert (call.method, call.path, call.body) == ("PATCH", "/hooks/A", {"enabled": True})


def test_a_guard_that_does_not_hold_skips_the_item() -> None:
    wanted = edit(match={"id": "A"}, set={"name": "z"}, expect={"enabled": True})
    (item,) = items(listing(hook("A")), wanted)
    assert item.outcome.state is State.SKIPPED
    assert item.outcome.cause == "expected enabled true, found false"


def test_an_edit_sees_what_those_ahead_of_it_leave_but_selectors_see_what_was_read() -> None:
    first = edit(match={"name": "n"}, set={"name": "m"})
    second = edit(match={"name": "n"}, set={"dependencies": {"b": "2"}}, expect={"name": "m"})
    one, two = items(listing(hook("A")), first, second)
    assert one.steps[0].before == {"name": "n"}
    assert two.steps[0].before == {"name": "m", "dependencies": {}}
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


class Reads:
    """Answers reads of one hook and of its secrets, and counts them."""

    def __init__(self, *secrets: str) -> None:
        self.paths: list[str] = []
        self._secrets = secrets

    async def __call__(self, call: Call) -> Any:
        self.paths.append(call.path)
        if call.path.endswith("/secrets"):
            return dict.fromkeys(self._secrets, "_VALUE_NOT_SHOWN_")
        return hook(call.path.rsplit("/", 1)[1], script="s")


def read_for(read: Listing, wanted: Edit | Undo, *secrets: str) -> list[str]:
    reads = Reads(*secrets)
    anyio.run(lambda: read.read_for(wanted, reads))
    return reads.paths


def test_a_hook_is_read_alone_only_where_the_list_does_not_show_what_matters() -> None:
    read = listing(hook("A"), hook("B"))
    assert read_for(read, edit(match={"id": "A"}, set={"enabled": True})) == []
    assert read_for(read, edit(match={"id": "A"}, set={"script": "s"})) == ["/hooks/A"]
    assert read_for(read, edit(match={"id": "A"}, set={"script": "s"})) == []
    guarded = edit(match={"name": "n"}, set={"name": "z"}, expect={"script": "s"})
    assert read_for(read, guarded) == ["/hooks/B"]
    secret = edit(match={"id": "A"}, set_secrets={"K": "env:K"})
    assert read_for(read, secret) == ["/hooks/A/secrets"]
    assert read_for(read, edit(match={"id": "B"}, delete=True)) == ["/hooks/B/secrets"]


@pytest.mark.parametrize("untold", ["triggerId", "enabled"])
def test_before_one_is_enabled_all_are_read_of_which_the_list_does_not_tell_enough(
    untold: str,
) -> None:
    hooks = [hook("A", "a", enabled=True), hook("B", "b"), hook("X", "x", POST, enabled=True)]
    for fields in hooks:
        del fields[untold]
    on = edit(match={"id": "B"}, set={"enabled": True})
    assert sorted(read_for(listing(*hooks), on)) == ["/hooks/A", "/hooks/B", "/hooks/X"]


def test_scripts_that_were_read_are_not_kept_for_longer_than_a_page_of_edits() -> None:
    kept = hook("A")
    read, wanted = listing(kept), edit(match={"id": "A"}, set={"script": "t"})
    read_for(read, wanted)
    read.let_go()
    assert "script" not in kept
    assert read_for(read, wanted) == ["/hooks/A"]


def test_an_edit_that_fails_on_one_hook_leaves_no_trace_of_the_others() -> None:
    full: dict[str, Any] = {f"secrets.S{number}": True for number in range(20)}
    read = listing(hook("A", "a", enabled=True), hook("B", "b", **full))
    both = edit(set={"enabled": False}, set_secrets={"K": "env:K"})
    read_for(read, both)
    with pytest.raises(ItemError, match="more than 20 secrets"):
        read.resolve(1, both)
    (item,) = read.resolve(2, edit(match={"id": "A"}, set={"enabled": False}))
    assert [step.want for step in item.steps] == [{"enabled": False}]


# ---- one enabled hook a trigger


def test_enabling_where_another_is_on_is_one_item_with_a_way_back() -> None:
    read = listing(hook("A", "a", enabled=True), hook("B", "b"), hook("C", "c", POST))
    swap, other = items(read, *(edit(match={"id": id}, set={"enabled": True}) for id in "BC"))
    assert [(step.target, step.want, step.back) for step in swap.steps] == [
        ("A", {"enabled": False}, False),
        ("B", {"enabled": True}, False),
        ("A", {"enabled": True}, True),
    ]
    assert {"A", "B", f"enabled:{PRE}"} <= set(swap.keys)
    assert len(other.steps) == 1


def test_two_hooks_of_one_trigger_are_not_enabled_by_one_job() -> None:
    read = listing(hook("A", "a"), hook("B", "b"), hook("C", "c", POST))
    found = items(read, *(edit(match={"id": id}, set={"enabled": True}) for id in "ABC"))
    assert [item.outcome.state for item in found] == [State.PENDING, State.FAILED, State.PENDING]
    (what,) = read.contradictions
    assert (what.first, what.second) == (1, 2)
    assert what.what == f"which hook of {PRE} is enabled; only one may be"


def test_what_an_edit_wants_of_many_hooks_is_told_once() -> None:
    read = listing(hook("A", "a"), hook("B", "b"), hook("C", "c"))
    items(read, edit(match={}, one=False, set={"name": "same"}))
    (what,) = read.contradictions
    assert what.what == "which hook is same"


def test_that_the_one_is_on_already_is_no_excuse() -> None:
    read = listing(hook("A", "a", enabled=True), hook("B", "b"))
    items(read, *(edit(match={"id": id}, set={"enabled": True}) for id in "AB"))
    assert len(read.contradictions) == 1


def test_what_a_job_creates_is_the_one_that_is_on_even_if_it_is_there_already() -> None:
    read = listing(hook("A", "new", enabled=True, script="s"), hook("B", "b"))
    create = edit(one=True, create=NEW | {"enabled": True})
    items(read, create, edit(match={"id": "B"}, set={"enabled": True}))
    (what,) = read.contradictions
    assert what.what == f"which hook of {PRE} is enabled; only one may be"


def test_a_hook_whose_trigger_nobody_tells_is_no_rival() -> None:
    assert rivals("B", {"A": {"enabled": True}, "B": {"enabled": False}}) == []


@pytest.mark.parametrize("create", [False, True])
def test_what_skip_leaves_out_is_not_switched_off_for_another(create: bool) -> None:
    wanted: Any = {"match": {"id": "B"}, "set": {"enabled": True}}
    if create:
        wanted = {"one": True, "create": NEW | {"enabled": True}}
    read = listing(hook("A", "a", enabled=True), hook("B", "b"))
    (item,) = items(read, edit(narrowed=Narrowed(skip_names=("a",)), **wanted))
    assert item.outcome.state is State.SKIPPED
    assert item.outcome.cause == "a of its trigger is enabled, and --skip leaves that as it is"
    assert item.steps == ()


def test_what_an_edit_that_is_skipped_wanted_besides_is_not_noted() -> None:
    read = listing(hook("A", "a", enabled=True), hook("B", "b"), hook("C", "c"))
    skip = Narrowed(skip_names=("a",))
    swap = edit(match={"id": "B"}, set={"enabled": True, "name": "x"}, narrowed=skip)
    skipped, renamed = items(
        read, swap, edit(match={"id": "C"}, set={"name": "x", "enabled": True})
    )
    assert skipped.outcome.state is State.SKIPPED
    assert renamed.steps
    assert not read.contradictions


# ---- what contradicts


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ({"set": {"name": "x"}}, {"set": {"name": "y"}}, "name of n"),
        ({"set": {"enabled": True}}, {"set": {"enabled": False}}, "enabled of n"),
        ({"set": {"name": "n"}}, {"set": {"name": "y"}}, "name of n"),
        ({"delete": True}, {"set": {"name": "y"}}, "whether n is there"),
        ({"set": {"name": "y"}}, {"delete": True}, "name of n"),
        ({"set_secrets": {"K": "env:A"}}, {"set_secrets": {"K": "env:B"}}, "secrets.K of n"),
        ({"set_secrets": {"K": "env:A"}}, {"remove_secrets": ("K",)}, "secrets.K of n"),
    ],
)
def test_one_field_wanted_in_two_ways_is_told_with_both_edits(
    one: Any, other: Any, what: str
) -> None:
    read = listing(hook("A", enabled=True, script="s"))
    edits = [edit(match={"id": "A"}, **each) for each in (one, other)]
    for each in edits:
        read_for(read, each)
    found = items(read, *edits)
    (told,) = read.contradictions
    assert (told.first, told.second, told.what) == (1, 2, what)
    assert sorted(item.outcome.state for item in found)[0] is State.FAILED


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_that_one_edit_gives_and_another_creates_is_told_with_both(order: int) -> None:
    read = listing(hook("A"))
    both = [edit(match={"id": "A"}, set={"name": "new"}), edit(one=True, create=NEW)]
    items(read, *both[::order])
    (told,) = read.contradictions
    assert (told.first, told.second, told.what) == (1, 2, "which hook is new")


def test_the_same_wanted_twice_is_no_contradiction() -> None:
    read = listing(hook("A"))
    one, two = items(read, *[edit(match={"id": "A"}, set={"name": "x"})] * 2)
    assert one.steps
    assert two.outcome == UNCHANGED
    assert not read.contradictions


def test_guards_that_exclude_each_other_may_want_different_things() -> None:
    read = listing(hook("A"))
    off, on = (
        edit(match={"id": "A"}, set={"name": name}, expect={"enabled": enabled})
        for name, enabled in (("x", False), ("y", True))
    )
    one, two = items(read, off, on)
    assert one.steps
    assert two.outcome.state is State.SKIPPED
    assert not read.contradictions


def test_a_name_that_another_hook_has_is_refused_unless_that_one_gives_it_up_before() -> None:
    taken = edit(match={"id": "A"}, set={"name": "b"})
    (item,) = items(listing(hook("A", "a"), hook("B", "b")), taken)
    assert item.outcome.cause == "another hook has that name"
    free = edit(match={"id": "B"}, set={"name": "c"})
    one, two = items(listing(hook("A", "a"), hook("B", "b")), free, taken)
    assert one.steps
    assert two.steps
    assert set(one.keys) & set(two.keys) == {"name:b"}


# ---- create, delete, secrets


NEW = {"name": "new", "triggerId": PRE, "script": "s"}


def test_a_hook_is_created_and_then_made_what_it_should_be() -> None:
    wanted = edit(one=True, create=NEW | {"enabled": True}, set_secrets={"K": "env:K"})
    (item,) = items(listing(hook("A", "a", enabled=True)), wanted)
    assert [(step.kind, step.target, step.back) for step in item.steps] == [
        ("create", "new:new", False),
        ("create_secrets", "new:new", False),
        ("update", "A", False),
        ("update", "new:new", False),
        ("update", "A", True),
    ]
    assert item.steps[0].want == NEW | {"dependencies": {}}
    assert request(item.steps[0], "new:new").path == "/hooks"


def test_unless_asked_for_a_created_hook_is_off_even_if_it_is_the_first_of_its_trigger() -> None:
    (item,) = items(listing(), edit(one=True, create=NEW))
    assert item.steps[-1].want == {"enabled": False}


def test_what_was_created_before_is_unchanged_and_another_of_that_name_is_a_failure() -> None:
    there = hook("A", "new", script="s")
    (same,) = items(listing(there), edit(one=True, create=NEW))
    assert same.outcome == UNCHANGED
    (other,) = items(listing(there), edit(one=True, create=NEW | {"script": "t"}))
    assert other.outcome.state is State.FAILED
    assert "`hook` and `set`" in other.outcome.hint


def test_a_delete_keeps_the_whole_hook_before_it() -> None:
    read, wanted = listing(hook("A")), edit(match={"id": "A"}, delete=True)
    read_for(read, wanted, "K")
    (item,) = items(read, wanted)
    (step,) = item.steps
    assert step.before == {
        "name": "n",
        "triggerId": PRE,
        "enabled": False,
        "dependencies": {},
        "script": "s",
        "secrets.K": True,
    }
    assert step.want == ABSENT


def test_new_secrets_are_posted_and_known_ones_patched() -> None:
    wanted = edit(
        match={"id": "A"},
        set_secrets={"OLD": "env:O", "NEW": "env:N"},
        remove_secrets=("GONE", "NEVER"),
    )
    read = listing(hook("A"))
    read_for(read, wanted, "OLD", "GONE")
    (item,) = items(read, wanted)
    calls = [request(step, "A") for step in item.steps]
    assert [(call.method, call.body) for call in calls] == [
        ("DELETE", ["GONE"]),
        ("POST", {"NEW": "env:N"}),
        ("PATCH", {"OLD": "env:O"}),
    ]


def test_more_than_twenty_secrets_are_refused_before_any_is_sent() -> None:
    wanted = edit(match={"id": "A"}, set_secrets={"NEW": "env:N"})
    read = listing(hook("A"))
    read_for(read, wanted, *(f"S{number}" for number in range(20)))
    with pytest.raises(ItemError, match="more than 20 secrets"):
        items(read, wanted)


# ---- the way back


def done(item: Item, made: str = "M") -> Item:
    """An item whose steps were all applied."""
    steps = [
        Step(
            kind=step.kind,
            target=step.target,
            before=step.before,
            want=step.want,
            back=step.back,
            state="pending" if step.back else "applied",
            sent_at=None if step.back else 1.0,
            after=step.want | ({"id": made} if step.kind == "create" else {}),
        )
        for step in item.steps
    ]
    return Item(edit=1, target=item.target, label=item.label, steps=tuple(steps))


def back(item: Item) -> Undo:
    turned = undone(done(item))
    assert turned is not None
    return turned


def test_a_swap_is_undone_as_a_swap() -> None:
    read = listing(hook("A", "a", enabled=True), hook("B", "b"))
    (swap,) = items(read, edit(match={"id": "B"}, set={"enabled": True}))
    after = listing(hook("A", "a"), hook("B", "b", enabled=True))
    (item,) = after.resolve(1, back(swap))
    assert [(step.target, step.want, step.back) for step in item.steps] == [
        ("B", {"enabled": False}, False),
        ("A", {"enabled": True}, False),
        ("B", {"enabled": True}, True),
    ]


def test_what_somebody_changed_since_is_left_alone_and_told() -> None:
    (item,) = items(listing(hook("A")), edit(match={"id": "A"}, set={"name": "x"}))
    (left,) = listing(hook("A", "theirs")).resolve(1, back(item))
    assert left.outcome.state is State.SKIPPED
    assert left.outcome.cause == "drifted since it was written: name was x, is theirs"
    (done_already,) = listing(hook("A", "n")).resolve(1, back(item))
    assert done_already.outcome == UNCHANGED


def test_a_created_hook_is_deleted_and_a_deleted_one_created_again() -> None:
    (made,) = items(listing(), edit(one=True, create=NEW))
    there = listing(hook("M", "new", script="s"))
    turned = back(made)
    read_for(there, turned)
    (item,) = there.resolve(1, turned)
    assert [(step.kind, step.target) for step in item.steps] == [("delete", "M")]
    (again,) = listing().resolve(1, back(item))
    assert [(step.kind, step.target) for step in again.steps] == [
        ("create", "new:new"),
        ("update", "new:new"),
    ]


def test_no_key_has_a_space_which_is_what_parts_them_in_the_journal() -> None:
    new, renamed = edit(one=True, create=NEW | {"name": "n B"}), edit(set={"name": "m B"})
    found = items(listing(hook("A")), new, renamed)
    (turned,) = listing(hook("M", "n B", script="s")).resolve(1, back(found[0]))
    for item in (*found, turned):
        assert item.steps
        assert not any(" " in key for key in item.keys)


def test_what_cannot_be_brought_back_is_told() -> None:
    read, wanted = listing(hook("A")), edit(match={"id": "A"}, remove_secrets=("K",))
    read_for(read, wanted, "K")
    (item,) = items(read, wanted)
    (told,) = listing(hook("A")).resolve(1, back(item))
    assert told.outcome.state is State.SKIPPED
    assert told.outcome.cause == "cannot be undone: the value of secret K"


def test_what_was_never_sent_is_not_undone() -> None:
    (item,) = items(listing(hook("A")), edit(match={"id": "A"}, set={"name": "x"}))
    assert undone(item) is None
