"""Which tenants are in which wave: each with work once, and whatever is bad shows in the first."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks import Job, tally
from bulkhooks.desk import Desk
from bulkhooks.errors import JournalError
from bulkhooks.items import Item, Move, Outcome, State, Step
from bulkhooks.journal import Journal, StagedEdit, Unresolved
from bulkhooks.plan import stage_moves
from bulkhooks.sandbox import Sandbox
from bulkhooks.schedule import AT_ONCE, Schedule, Wave, part
from bulkhooks.tenants import Tenant
from bulkhooks.waves import Waves, assign, done, kept, said, spread, waves_of
from engine import NAMES, PRE, TENANTS, calm, work
from world import Make, World

#: Makes a journal of tenants, each with the items that are pending there.
Planned = Callable[[Mapping[str, Sequence[Item]]], Journal]

ABC = [chr(code) for code in range(ord("a"), ord("z") + 1)]


def alike(names: Sequence[str]) -> dict[str, set[int]]:
    """Tenants on which the same is to be there."""
    return {name: {1} for name in names}


def told(waves: Waves) -> list[str]:
    return ["".join(wave) for wave in waves]


# ---- sizes and tags


@pytest.mark.parametrize(
    ("wanted", "tenants", "found"),
    [
        pytest.param([Wave(count=1)], 3, ["a", "bc"], id="the rest is one more"),
        pytest.param([Wave(count=3)], 3, ["abc"], id="nothing is left"),
        pytest.param([Wave(count=9)], 3, ["abc"], id="more than there are"),
        pytest.param([Wave(count=1), Wave(count=3)], 5, ["a", "bc", "de"], id="with those ahead"),
        pytest.param([Wave(count=2), Wave(count=1)], 4, ["ab", "", "cd"], id="an empty one"),
        pytest.param([Wave(share=0.5)], 4, ["ab", "cd"], id="half"),
        pytest.param([Wave(share=0.5)], 5, ["abc", "de"], id="rounded up"),
        pytest.param([Wave(share=0.01)], 5, ["a", "bcde"], id="at least one"),
        pytest.param([Wave(share=0.07), Wave(share=1)], 1, ["a", ""], id="of one"),
        pytest.param(
            [Wave(count=1), Wave(share=0.05), Wave(share=0.25), Wave(share=1)],
            20,
            ["a", "", "bcde", "fghijklmnopqrst"],
            id="as most people write it",
        ),
    ],
)
def test_a_wave_takes_so_many_with_those_ahead(
    wanted: list[Wave], tenants: int, found: list[str]
) -> None:
    names = ABC[:tenants]
    assert told(spread(wanted, alike(names), dict.fromkeys(names, ()))) == found


@pytest.mark.parametrize(
    ("share", "whole", "number"),
    [(0.07, 100, 7), (0.071, 100, 8), (0.05, 40, 2), (0.05, 41, 3), (0.01, 1, 1), (1, 7, 7)],
)
def test_a_share_is_rounded_up_and_never_by_a_float_alone(
    share: float, whole: int, number: int
) -> None:
    assert part(share, whole) == number


def test_a_wave_of_tags_takes_those_that_have_one_and_are_in_none_ahead() -> None:
    tags = {"a": {"prod"}, "b": {"dev", "eu"}, "c": {"dev"}, "d": {"eu"}, "e": {"us"}}
    wanted = [Wave(tags=("dev",)), Wave(tags=("eu", "us")), Wave(tags=("dev", "none"))]
    assert told(spread(wanted, alike("abcde"), tags)) == ["bc", "de", "", "a"]


# ---- the first wave has it all


@pytest.mark.parametrize(
    ("wanted", "changes", "first"),
    [
        pytest.param(Wave(count=1), {"a": {1}, "b": {1}, "c": {1}}, "a", id="one change"),
        pytest.param(Wave(count=1), {"a": {1}, "b": {1}, "c": {2}}, "ac", id="one of each"),
        pytest.param(Wave(count=1), {"a": {1}, "b": {2}, "c": {1, 2}}, "c", id="has several"),
        pytest.param(Wave(count=2), {"a": {1}, "b": {2}, "c": {1, 2}}, "ac", id="and up to size"),
        pytest.param(Wave(count=1), {"a": {1}, "b": {1, 2}, "c": {1, 2}}, "b", id="the earliest"),
        pytest.param(Wave(tags=("x",)), {"a": {1}, "b": {2}, "x": {1}}, "bx", id="beside tags"),
        pytest.param(Wave(tags=("x",)), {"a": {1}, "b": {2}, "x": {1, 2}}, "x", id="tags have it"),
    ],
)
def test_the_first_wave_has_each_change(
    wanted: Wave, changes: dict[str, set[int]], first: str
) -> None:
    tags = {name: (name,) for name in changes}
    assert told(spread([wanted], changes, tags))[0] == first


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Wave], dict[str, set[int]], dict[str, set[str]]]:
    """Waves of every kind, tenants with changes, and their tags."""
    wave = st.one_of(
        st.builds(Wave, count=st.integers(1, 30)),
        st.builds(Wave, share=st.floats(0.001, 1)),
        st.builds(Wave, tags=st.lists(st.sampled_from("xyz"), min_size=1).map(tuple)),
    )
    names = draw(st.lists(st.sampled_from(ABC), unique=True, max_size=26))
    changes = {name: draw(st.sets(st.integers(0, 6), min_size=1, max_size=4)) for name in names}
    tags = {name: draw(st.sets(st.sampled_from("xyz"))) for name in names}
    return draw(st.lists(wave, min_size=1, max_size=5)), changes, tags


def asked(wave: Wave, tenants: int) -> int:
    """How many tenants a wave is to have, with those ahead of it."""
    return wave.count or (math.ceil(wave.share * tenants - 1e-6) if wave.share else 0)


@settings(max_examples=200, deadline=None)
@given(fleets())
def test_every_tenant_is_in_one_wave_and_no_change_is_only_in_later_ones(
    fleet: tuple[list[Wave], dict[str, set[int]], dict[str, set[str]]],
) -> None:
    wanted, changes, tags = fleet
    found = spread(wanted, changes, tags)
    assert sorted(name for wave in found for name in wave) == sorted(changes)
    assert len(wanted) <= len(found) <= len(wanted) + 1
    for wave in found:
        assert list(wave) == [name for name in changes if name in wave]
    every = {change for mine in changes.values() for change in mine}
    assert {change for name in found[0] for change in changes[name]} == every
    # No more than are needed: each was taken for its size, its tag or something that it has.
    size = asked(wanted[0], len(changes))
    tagged = [name for name in found[0] if tags[name] & {*wanted[0].tags}]
    assert len(found[0]) <= max(min(size, len(changes)), len(tagged) + len(every))
    ahead = 0
    for says, names in zip(wanted, found, strict=False):
        ahead += len(names)
        assert ahead >= min(asked(says, len(changes)), len(changes))


@settings(max_examples=100, deadline=None)
@given(fleets(), st.sets(st.integers(0, 5)), st.sets(st.sampled_from(ABC)))
def test_tenants_stay_where_they_are_and_none_goes_in_a_wave_that_is_done(
    fleet: tuple[list[Wave], dict[str, set[int]], dict[str, set[str]]],
    over: set[int],
    again: set[str],
) -> None:
    wanted, changes, tags = fleet
    first = {name: changes[name] for name in changes if name not in again}
    was = spread(wanted, first, tags)
    late = {
        name: changes[name]
        for name in changes
        if name in again or any(name in was[n] for n in over if n < len(was))
    }
    found = spread(wanted, late, tags, was=was, over=over)
    assert sorted(name for wave in found for name in wave) == sorted(changes)
    for n, wave in enumerate(was):
        assert [name for name in wave if name not in late] == [
            name for name in found[n] if name not in late
        ]
        assert n not in over or not {*found[n]} & late.keys()


# ---- what is told apart


def sandbox() -> Sandbox:
    """Hooks `one` (on) and `two`, actions `a` (bound) and `draft`, on each of two tenants."""
    made = Sandbox(NAMES, hooks=0, build_time=0, deploy_time=0)
    for tenant in NAMES:
        made.add_hook(tenant, id=f"{tenant}1", name="one", triggerId=PRE, enabled=True, script="1")
        made.add_hook(tenant, id=f"{tenant}2", name="two", triggerId=PRE, enabled=False, script="1")
        made.add_action(tenant, name="a", triggerId=PRE, bound=True, code="1")
        made.add_action(tenant, name="spare", triggerId=PRE, deployed=True, code="1")
        made.add_action(tenant, name="draft", triggerId=PRE, deployed=False, code="1")
    return made


def wanted_of(
    folder: Path, tenants: Sandbox, job: Job | list[tuple[str, Move]]
) -> dict[str, set[int]]:
    """What is to be there of a job, by tenant."""
    path = folder / "j"
    working = partial(work, path, calm(tenants, folder), apply=False)
    if isinstance(job, Job):
        anyio.run(partial(working, plan=job))
    else:
        with Journal.create(path) as journal:
            stage_moves(journal, job, TENANTS, name="cutover", now=datetime.now(UTC))
        anyio.run(partial(working, failed=True))
    with Journal.read(path) as journal:
        return tally.wanted(journal)


def everywhere(*edits: Mapping[str, Any]) -> Job:
    return Job.of("job", [{"tenants": [*NAMES], **edit} for edit in edits])


def each(one: Mapping[str, Any], other: Mapping[str, Any]) -> Job:
    return Job.of("job", [{"tenant": "t0", **one}, {"tenant": "t1", **other}])


OTHER, UNBIND = {"hook": {"name": "other"}}, {"set": {"bound": False}}
HOOK, ACTION = {"hook": {"name": "one"}}, {"action": {"name": "a"}}
LONG = "module.exports = 1;\n" * 50


@pytest.mark.parametrize(
    "job",
    [
        everywhere(HOOK | {"set": {"enabled": False}}),
        everywhere(HOOK | {"set": {"script": LONG}}),
        everywhere(HOOK | {"set": {"dependencies": {"axios": "1.7.9"}}}),
        everywhere({"hook": {"name": "two"}, "set": {"enabled": True}}),
        everywhere(
            {"create": {"name": "new", "triggerId": PRE, "script": LONG, "enabled": True}},
        ),
        everywhere(HOOK | {"set_secrets": {"KEY": "env:SECRET_ONE"}}),
        everywhere(ACTION | {"set": {"bound": False}}),
        everywhere(ACTION | {"set": {"code": LONG}, "deploy": True}),
        everywhere({"action": {"name": "spare"}, "set": {"bound": True}}),
        everywhere({"action": {"name": "draft"}, "set": {"bound": True}, "deploy": True}),
    ],
)
def test_what_is_the_same_to_be_there_counts_once_whatever_was_there(
    tmp_path: Path, job: Job
) -> None:
    tenants = sandbox()
    tenants.change("t1", "t11", script="2" * 300, dependencies={"axios": "1.0.0"})
    tenants.set_bindings("t1", PRE, [])
    tenants.set_bindings("t1", PRE, ["a"])
    found = wanted_of(tmp_path, tenants, job)
    assert len(found["t0"]) == 1
    assert found["t0"] == found["t1"]


def test_a_hook_that_takes_the_place_of_different_ones_counts_once(tmp_path: Path) -> None:
    tenants = sandbox()
    tenants.change("t1", "t11", name="other")
    job = everywhere({"hook": {"name": "two"}, "set": {"enabled": True}})
    found = wanted_of(tmp_path, tenants, job)
    assert found["t0"] == found["t1"]
    with Journal.read(tmp_path / "j") as journal:
        assert tally.different(journal) == (2, 2)  # the plan tells them apart


@pytest.mark.parametrize(
    "job",
    [
        # Nothing begins to run.
        each(HOOK | {"set": {"enabled": False}}, OTHER | {"set": {"enabled": False}}),
        each(
            ACTION | {"set": {"bound": False}}, {"action": {"name": "b"}, "set": {"bound": False}}
        ),
        # What begins to run is what is written.
        each(
            HOOK | {"set": {"script": LONG, "enabled": True}},
            OTHER | {"set": {"script": LONG, "enabled": True}},
        ),
    ],
)
def test_names_make_no_difference_where_all_that_runs_is_known(tmp_path: Path, job: Job) -> None:
    tenants = sandbox()
    on = not next(iter(job.edits(TENANTS))).set.get("enabled")
    for tenant in NAMES:
        tenants.change(tenant, f"{tenant}1", enabled=on)
    tenants.change("t1", "t11", name="other")
    tenants.set_bindings("t1", PRE, [])
    tenants.add_action("t1", name="b", triggerId=PRE, bound=True, code="1")
    found = wanted_of(tmp_path, tenants, job)
    assert len(found["t0"]) == 1
    assert found["t0"] == found["t1"]


@pytest.mark.parametrize(
    "job",
    [
        each(HOOK | {"set": {"name": "new"}}, {"hook": {"name": "two"}, "delete": True}),
        each(HOOK | {"set": {"script": LONG}}, HOOK | {"set": {"script": LONG + "2"}}),
        each(ACTION | {"set": {"code": LONG}}, ACTION | {"set": {"code": LONG + "2"}}),
        # A script begins to run of which nothing is known but whose it is.
        each(
            {"action": {"name": "spare"}, "set": {"bound": True}},
            {"action": {"name": "other"}, "set": {"bound": True}},
        ),
        each(
            {"hook": {"name": "two"}, "set": {"enabled": True}},
            {"hook": {"name": "three"}, "set": {"enabled": True}},
        ),
        # A draft begins to run as it is.
        each(
            {"action": {"name": "draft"}, "deploy": True},
            {"action": {"name": "later"}, "deploy": True},
        ),
    ],
)
def test_what_is_not_the_same_to_be_there_is_told_apart(tmp_path: Path, job: Job) -> None:
    tenants = sandbox()
    tenants.change("t0", "t01", enabled=False)
    tenants.change("t1", "t11", enabled=False)
    tenants.add_hook("t1", name="three", triggerId=PRE, enabled=False, script="1")
    tenants.add_action("t1", name="other", triggerId=PRE, deployed=True, code="1")
    tenants.add_action("t1", name="later", triggerId=PRE, deployed=False, code=LONG)
    found = wanted_of(tmp_path, tenants, job)
    assert found["t0"].isdisjoint(found["t1"])


@pytest.mark.parametrize("until", ["deploy", "off"])
def test_hooks_that_become_actions_are_told_apart_by_what_they_become(
    tmp_path: Path, until: str
) -> None:
    def move(code: str, name: str = "one") -> Move:
        create = {"name": name, "triggerId": PRE, "code": code}
        more: dict[str, Any] = {"until": until, "script": "1", "enabled": True}
        return Move(hook=None, label=name, create=create, **more)

    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    moves = [("t0", move(LONG)), ("t1", move(LONG, "two"))]
    tenants = sandbox()
    tenants.change("t1", "t11", enabled=False)
    tenants.change("t1", "t12", enabled=True)
    same = wanted_of(tmp_path / "same", tenants, moves)
    assert same["t0"] == same["t1"]
    codes = [("t0", move(LONG)), ("t1", move(LONG + "2"))]
    other = wanted_of(tmp_path / "other", sandbox(), codes)
    assert other["t0"].isdisjoint(other["t1"])


def test_a_cutover_is_told_apart_by_the_script_that_begins_to_run(tmp_path: Path) -> None:
    codes = {"t0": LONG, "t1": LONG + "2"}
    tenants = sandbox()
    moves = []
    for name, code in codes.items():
        tenants.add_action(name, name="one", triggerId=PRE, deployed=True, code=code)
        create = {"name": "one", "triggerId": PRE, "code": code, "dependencies": {}}
        one = Move(
            hook=f"{name}1", label="one", script="1", enabled=True, create=create, until="cutover"
        )
        moves.append((name, one))
    found = wanted_of(tmp_path, tenants, moves)
    assert {*map(len, found.values())} == {1}
    assert found["t0"].isdisjoint(found["t1"])


# ---- the journal


OFF = Step(kind="update", target="h", before={"enabled": True}, want={"enabled": False})
UNBOUND = Step(
    kind="bind",
    target="action:1",
    before={"bound": True, "triggerId": PRE},
    want={"bound": False, "display_name": "a"},
)


def item(step: Step = OFF, state: State = State.PENDING) -> Item:
    return Item(edit=1, target=step.target, label="h", steps=(step,), outcome=Outcome(state=state))


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Planned]:
    with ExitStack() as stack:

        def journal(plan: Mapping[str, Sequence[Item]]) -> Journal:
            made = stack.enter_context(Journal.create(tmp_path / "j"))
            edit = StagedEdit(
                name="e", given=True, line=1, must_match=False, body={}, tenants=(*plan,)
            )
            made.stage([edit], dict.fromkeys(plan, "https://x"))
            which = Unresolved(made.last_item)
            for row in made.tenants():
                (((place, _),),) = made.placeholders(row.id, which, 2)
                made.write(made.resolve(row.id, place, plan[row.name]))
            return made

        yield journal


def fleet(names: Sequence[str]) -> dict[str, Tenant]:
    return {name: Tenant.with_token(name, "https://x.example", "x") for name in names}


def scheduled(*waves: Wave) -> Schedule:
    return Schedule(waves=waves)


@pytest.mark.parametrize("step", [OFF, UNBOUND], ids=["enabled", "bound"])
def test_only_tenants_with_something_to_do_are_in_a_wave(planned: Planned, step: Step) -> None:
    plan = {"a": [item(step)], "b": [item(step, State.UNCHANGED)], "c": [item(step)] * 2, "d": []}
    journal = planned(plan)
    assert assign(journal, fleet("abcd"), scheduled(Wave(count=1))) == (("a",), ("c",))
    assert assign(journal, fleet("abcd"), AT_ONCE) == ()
    assert waves_of(journal) == ()


def test_the_way_back_makes_no_difference(planned: Planned) -> None:
    def item_with(way_back: Step) -> Item:
        return Item(edit=1, target="h", label="h", steps=(OFF, way_back))

    backs = [Step(kind="update", target="h", before={}, want={"name": n}, back=True) for n in "xy"]
    journal = planned({"a": [item_with(backs[0])], "b": [item_with(backs[1])]})
    found = tally.wanted(journal)
    assert found["a"] == found["b"]


def test_a_hook_that_becomes_an_action_is_told_by_its_script_alone(planned: Planned) -> None:
    def moved(name: str, was: Mapping[str, Any]) -> Item:
        made = Step(
            kind="create", target=f"new:actions/{name}", before={}, want={"name": name, "code": "1"}
        )
        off = Step(kind="update", target="h", before={**was}, want={"enabled": False})
        return Item(edit=1, target="h", label=name, keys=(f"name:{name}",), steps=(made, off))

    one, two = moved("a", {"enabled": True}), moved("b", {"enabled": True, "name": "c"})
    journal = planned({"a": [one], "b": [two]})
    assert tally.different(journal) == (2, 2)
    found = tally.wanted(journal)
    assert found["a"] == found["b"]


@pytest.mark.parametrize("step", [OFF, UNBOUND], ids=["enabled", "bound"])
def test_what_is_pending_again_of_a_wave_that_is_done_goes_in_the_next(
    planned: Planned, step: Step
) -> None:
    plan = {name: [item(step)] for name in "abcde"}
    journal = planned(plan)
    schedule = scheduled(Wave(count=1), Wave(count=3))
    was = assign(journal, fleet("abcde"), schedule)
    assert was == (("a",), ("b", "c"), ("d", "e"))
    journal.note(waves=kept(was))
    assert waves_of(journal) == was
    assert assign(journal, fleet("abcde"), schedule) == was  # an interrupted one goes on
    journal.write([journal.event("wave-done", 1.0, n=1, verdict="good", told="")])
    assert assign(journal, fleet("abcde"), schedule) == ((), ("b", "c", "a"), ("d", "e"))
    for n in (2, 3):
        journal.write([journal.event("wave-done", 1.0, n=n, verdict="good", told="")])
    assert assign(journal, fleet("abcde"), schedule) == ((), (), (), tuple("abcde"))


def test_what_can_be_read_at_last_goes_in_a_wave_too(planned: Planned) -> None:
    journal = planned({name: [item()] for name in "abc"})
    journal.note(waves=kept((("a",), ("c",))))
    schedule = scheduled(Wave(count=1))
    assert assign(journal, fleet("abc"), schedule) == (("a", "b"), ("c",))
    journal.write([journal.event("wave-done", 1.0, n=1, verdict="good", told="")])
    assert assign(journal, fleet("abc"), schedule) == ((), ("c", "a", "b"))


def test_other_waves_begin_anew(planned: Planned) -> None:
    journal = planned({name: [item()] for name in "abc"})
    journal.write([journal.event("wave-done", 1.0, n=1, verdict="good", told="")])
    assert done(journal) == {0}
    journal.write([journal.event("waves", 2.0), *journal.noted(waves="")])
    assert done(journal) == set()
    was = assign(journal, fleet("abc"), scheduled(Wave(count=2)))
    assert was == (("a", "b"), ("c",))
    journal.note(waves=kept(was))
    journal.write([journal.event("wave-done", 3.0, n=2, verdict="good", told="")])
    assert done(journal) == {1}


def test_each_wave_has_what_its_schedule_says_of_it() -> None:
    first, second = Wave(count=1, soak=600, probe="./smoke.sh"), Wave(share=0.5)
    schedule = scheduled(first, second)
    assert [said(schedule, n) for n in range(3)] == [first, second, Wave()]


def test_waves_that_are_not_whole_are_told(planned: Planned) -> None:
    journal = planned({"a": [item()]})
    journal.note(waves='{"a": 1}')
    with pytest.raises(JournalError, match="its waves"):
        waves_of(journal)


# ---- the program


def probe(world: World, name: str = "smoke.sh") -> None:
    """A probe that says yes."""
    path = world.folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def write(world: World, edits: Sequence[Mapping[str, Any]], **more: Any) -> None:
    world.write("job.json", {"name": "night", "edits": edits} | more)


WORDS = ("--tenants", "tenants.json", "--journal", "j")


def waves_in(world: World) -> Waves:
    with Journal.read(world.folder / "j") as journal:
        return waves_of(journal)


def test_the_first_wave_has_every_script_of_hooks_and_of_actions(make: Make) -> None:
    world = make(("t0", "t1", "t2", "t3"), hooks=0)
    for name in world.tenants:
        world.sandbox.add_hook(name, name="h", triggerId=PRE, enabled=False, script=f"// {name}")
        world.sandbox.add_action(name, name="a", triggerId=PRE, bound=True, code=f"// {name}")
    probe(world)
    edits = [
        {"tenants": "*", "hook": {"name": "h"}, "set": {"script": "module.exports = 1;"}},
        {"tenants": ["t0", "t1", "t2"], "action": {"name": "a"}, "set": {"code": "exports.a = 1;"}},
        {"tenant": "t3", "action": {"name": "a"}, "set": {"code": "exports.a = 2;"}},
    ]
    wave = {"tenants": 1, "soak": "10m", "probe": "./smoke.sh"}
    write(world, edits, waves=[wave, "75%"], halt={"failures": "10% of wave", "tenants": 2})
    told = world.call("plan", "job.json", *WORDS).stdout.splitlines()
    first = told.index("in 3 waves:") + 1
    assert told[first] == (
        "  wave 1: 2 tenants (each of 3 changes on at least one), then 10 min, then "
        "./smoke.sh: t0, t3"
    )
    assert told[first + 1 : first + 3] == ["  wave 2: 1 tenant", "  wave 3: 1 tenant"]
    sizes = ["wave 1: 10% of the wave's 4 items", "wave 2: 10% of the wave's 2 items"]
    assert [line.rpartition(": ")[0] for line in told[first + 3 : first + 5]] == sizes
    assert waves_in(world) == (("t0", "t3"), ("t1",), ("t2",))


def test_a_probe_that_would_not_be_run_is_refused_before_anything_is_read(make: Make) -> None:
    world = make(("t0",), hooks=1)
    (world.folder / "jobs").mkdir()
    probe(world)
    edits = [{"tenants": "*", "hooks": {"name": "*"}, "set": {"dependencies": {"axios": "1.7.9"}}}]
    write(world, edits, waves=[{"tenants": 1, "probe": "../smoke.sh"}])
    (world.folder / "job.json").rename(world.folder / "jobs" / "job.json")
    told = world.call("plan", "jobs/job.json", *WORDS, status=2).stderr
    assert "the probe of wave 1: " in told
    assert "is not run: it lies outside of " in told
    assert not world.sandbox.log
    assert not (world.folder / "j").exists()


def test_a_tenant_that_can_be_read_only_later_is_in_a_wave_too(make: Make) -> None:
    world = make(("t0", "t1"), hooks=1)
    world.tenants["t1"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    edits = [{"tenants": "*", "hooks": {"name": "*"}, "set": {"dependencies": {"axios": "1.7.9"}}}]
    write(world, edits, waves=[1, "100%"])
    world.call("plan", "job.json", *WORDS)
    assert waves_in(world) == (("t0",), ())
    world.tenants["t1"]["token"] = "env:TOKEN"
    world.write_tenants()
    world.call("apply", "j", "--failed", "--yes")
    assert sorted(name for wave in waves_in(world) for name in wave) == ["t0", "t1"]
    assert world.books()["applied"] == 2


# ---- a person is asked


@pytest.mark.parametrize(("typed", "answer"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_a_person_on_a_terminal_is_asked(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: str, answer: bool
) -> None:
    ours, theirs = os.openpty()
    with open(theirs) as terminal, open(ours, "wb", buffering=0) as keys:
        monkeypatch.setattr("sys.stdin", terminal)
        keys.write(typed.encode())
        question = "login is slow\x1b[2J\nIs wave 1 good?"
        assert anyio.run(Desk({}).ask, question) is answer
    assert capfd.readouterr().err == "login is slow␛[2J\nIs wave 1 good? [y/N] "


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert anyio.run(Desk({}).ask, "Is wave 1 good?") is None
