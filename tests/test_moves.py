"""A hook becomes an action: one of the two runs at every moment, or with a gap never both; and
whatever comes in between, it ends, goes back, or is told."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks.items import Move, Reply, State
from bulkhooks.journal import Journal, Unresolved
from bulkhooks.lanes import SETTLE, Lanes
from bulkhooks.sandbox import Sandbox
from bulkhooks.sandbox.buckets import BUCKETS
from engine import (
    PRE,
    TRIGGERS,
    Moving,
    Undoing,
    Watched,
    acting,
    actions_of,
    bound,
    causes,
    killed,
    on,
    run,
    whole_state_of,
)

CODE = "exports.onExecutePreUserRegistration = async () => {};\n"


def move(**more: Any) -> Move:
    """Hook H of t0, called h, to an action of that name."""
    create = {"name": "h", "triggerId": PRE, "code": CODE, "dependencies": {"axios": "1.7.9"}}
    given: dict[str, Any] = {
        "hook": "H",
        "label": "h",
        "script": "h",
        "enabled": True,
        "create": create,
    }
    return Move(**given | {"set_secrets": {"K": "env:SECRET_ONE"}} | more)


def there(wanted: Move) -> Sandbox:
    """A world in which hook H is on or off as its move says."""
    sandbox = acting()
    sandbox.change("t0", "H", enabled=wanted.enabled)
    return sandbox


def moved(folder: Path, *moves: Move, **meddled: Any) -> tuple[Watched, dict[State, int]]:
    """A world in which these moves were carried out, and the books of it."""
    core = Watched(there(moves[0]), folder / "j")
    for name, value in meddled.items():
        setattr(core, name, value)
    return core, run(folder / "j", core, plan=Moving(moves))


BOTH = pytest.mark.parametrize("overlap", [True, False], ids=["overlap", "gap"])
#: What runs, one after another: the hook H, the action h.
ORDER = {True: ["H", "Hh", "h"], False: ["H", "", "h"]}


@BOTH
def test_a_hook_becomes_an_action_that_is_bound_first(tmp_path: Path, overlap: bool) -> None:
    core, books = moved(tmp_path, move(overlap=overlap))
    assert books[State.APPLIED] == 1
    assert core.runs == ORDER[overlap]
    assert bound(core.sandbox) == "h a b c"
    made = actions_of(core.sandbox)["h"]
    assert made["secrets"] == {"K": "one"}
    assert made["runs"]["code"] == made["code"] == CODE
    was = whole_state_of(acting())
    was[0][0]["h"]["enabled"] = False
    was[1][1][PRE] = "h a b c"
    assert without(whole_state_of(core.sandbox)) == was


def test_the_hook_goes_off_only_after_its_action_was_seen_to_be_bound(tmp_path: Path) -> None:
    core, _ = moved(tmp_path, move())
    asked = [(seen.method, seen.path.rpartition("/")[2]) for seen in core.sandbox.log]
    off, bind = asked.index(("PATCH", "H")), asked.index(("PATCH", "bindings"))
    assert ("GET", "bindings") in asked[bind + 1 : off]


def test_a_move_is_prepared_cut_over_and_done_again(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    for number, (until, runs) in enumerate([("deploy", "H"), ("cutover", "h"), ("off", "h")]):
        books = run(tmp_path / f"{number}", core, plan=Moving([move(until=until)]))
        assert books[State.APPLIED if number < 2 else State.UNCHANGED] == 1
        assert core.runs[-1] == runs
    assert len([seen for seen in core.sandbox.writes() if seen.method == "POST"]) == 2
    for number, runs in ((1, "H"), (0, "H")):
        back = Undoing(tmp_path / f"{number}", max_deletes=1)
        assert run(tmp_path / f"u{number}", core, plan=back)[State.APPLIED] == 1
        assert core.runs[-1] == runs
    assert whole_state_of(core.sandbox) == whole_state_of(acting())


def test_a_cutover_needs_the_action_that_was_prepared(tmp_path: Path) -> None:
    core, books = moved(tmp_path, move(until="cutover"))
    assert books[State.FAILED] == 1
    assert causes(tmp_path / "j") == ["its action is not there, or not all of it is deployed"]
    assert core.sandbox.writes() == []


def test_a_hook_that_somebody_disabled_since_gets_no_action_that_runs(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    run(tmp_path / "0", core, plan=Moving([move(until="deploy")]))
    core.sandbox.change("t0", "H", enabled=False)
    assert run(tmp_path / "1", core, plan=Moving([move(until="cutover")]))[State.SKIPPED] == 1
    assert causes(tmp_path / "1")[0].startswith("it is disabled by now")
    assert (bound(core.sandbox), on(core.sandbox)) == ("a b c", "")


def test_a_hook_that_is_off_gets_an_action_that_does_not_run(tmp_path: Path) -> None:
    core, books = moved(tmp_path, move(enabled=False))
    assert books[State.APPLIED] == 1
    assert core.runs == [""]
    assert actions_of(core.sandbox)["h"]["runs"]["code"] == CODE


def test_what_cannot_be_moved_is_told_and_left(tmp_path: Path) -> None:
    core, books = moved(tmp_path, move(blocked="it calls back twice", hint="rewrite it"))
    assert books[State.SKIPPED] == 1
    assert causes(tmp_path / "j") == ["it calls back twice"]
    assert core.sandbox.writes() == []


def test_a_hook_that_is_gone_with_all_others_gets_its_action(tmp_path: Path) -> None:
    core = Watched(acting(lifecycle="gone"), tmp_path / "j")
    assert run(tmp_path / "j", core, plan=Moving([move(hook=None)]))[State.APPLIED] == 1
    assert bound(core.sandbox) == "h a b c"
    assert core.sandbox.hooks_of("t0")[0]["enabled"]


def test_a_hook_whose_script_is_not_the_one_that_was_moved_stays_on(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    run(tmp_path / "j", core, plan=Moving([move()]), apply=False)
    core.sandbox.change("t0", "H", script="other")
    assert run(tmp_path / "j", core)[State.SKIPPED] == 1
    assert on(core.sandbox) == "H"
    assert core.sandbox.writes() == []


# ---- killed


def crashed(folder: Path, wanted: Move, state: list[Any], at: int, after: bool) -> bool:
    """Whether a kill at that request came to anything; after it the same command goes on."""
    core = Watched(there(wanted), folder / "j", at=at, after=after)
    rest = Watched(core.sandbox, folder / "rest", clock=core.clock)
    if not killed(folder / "j", core, plan=Moving([wanted])):
        return False
    path = folder / ("j-copy" if planned(folder / "j-copy") else "again")
    books = run(path, rest, **({} if path.exists() else {"plan": Moving([wanted])}))
    assert books[State.APPLIED] == sum(books.values()) == 1, causes(path)
    assert whole_state_of(core.sandbox) == state
    runs = [*core.runs, *rest.runs]
    assert not wanted.enabled or ("" if wanted.overlap else "Hh") not in runs
    assert core.crossed == rest.crossed == []
    sent = Counter((seen.method, seen.path) for seen in core.sandbox.writes())
    assert sent["POST", "/api/v2/actions/actions"] == 1
    return True


def crash_everywhere(wanted: Move, step: int = 1) -> int:
    """Kill at every so-manieth request of a move, before it and after; how many requests it has."""
    with tempfile.TemporaryDirectory() as name:
        state, at = whole_state_of(moved(Path(name), wanted)[0].sandbox), 1
    while True:
        for after in (False, True):
            with tempfile.TemporaryDirectory() as name:
                if not crashed(Path(name), wanted, state, at, after):
                    return at
        at += step


@BOTH
def test_killed_at_any_request_a_move_ends_as_an_undisturbed_one(overlap: bool) -> None:
    assert crash_everywhere(move(overlap=overlap), step=6) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"overlap": False},
        {"until": "deploy"},
        {"enabled": False},
        {"hook": None},
    ],
    ids=str,
)
def test_killed_at_every_request_a_move_ends_as_an_undisturbed_one(more: Any) -> None:
    assert crash_everywhere(move(**more)) > 10


class NoActionsGiven(Watched):
    """A tenant whose token may not see actions any more."""

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if "/actions/" in url:
            return Reply(status=403, body=b'{"errorCode": "insufficient_scope"}'), {}
        return await super().send(method, url, headers, body)


def test_a_hook_that_went_off_goes_on_where_its_action_is_not_to_be_had_after_a_kill(
    tmp_path: Path,
) -> None:
    """Neither ran, and nobody would have known until actions are given again."""
    at = 15
    while True:
        core = Watched(acting(), tmp_path / f"{at}", at=at, after=True)
        assert killed(tmp_path / f"{at}", core, plan=Moving([move(overlap=False)]))
        if core.runs[-1] == "":
            break
        at += 1
    rest = NoActionsGiven(core.sandbox, tmp_path / "rest", clock=core.clock)
    assert run(tmp_path / f"{at}-copy", rest)[State.FAILED] == 1
    assert on(core.sandbox) == "H"
    given = Watched(core.sandbox, tmp_path / "given", clock=core.clock)
    assert run(tmp_path / f"{at}-copy", given, failed=True)[State.APPLIED] == 1
    assert given.runs[-1] == "h"


# ---- refused, and meddled with


@BOTH
@pytest.mark.parametrize("status", [400, 403, 500])
@pytest.mark.parametrize("nth", range(1, 6))
def test_refused_at_any_write_a_move_goes_back_or_is_told_and_can_be_gone_on_with(
    tmp_path: Path, nth: int, status: int, overlap: bool
) -> None:
    core, books = moved(tmp_path, move(overlap=overlap), nth=nth, times=1, status=status)
    assert books[State.APPLIED] == (status == 500)
    assert core.runs[-1] == ("h" if status == 500 else "H")
    assert ("" if overlap else "Hh") not in core.runs
    if status == 400 and nth == 5:
        assert causes(tmp_path / "j") == ["400 no; what was on before is on again"]
    run(tmp_path / "j", core, failed=True)
    assert (bound(core.sandbox), on(core.sandbox)) == ("h a b c", "")
    assert ("" if overlap else "Hh") not in core.runs


def test_what_was_bound_elsewhere_before_stays_bound_where_its_hook_cannot_go_off(
    tmp_path: Path,
) -> None:
    core = Watched(acting(), tmp_path / "j")
    run(tmp_path / "0", core, plan=Moving([move(until="deploy")]))
    core.sandbox.set_bindings("t0", PRE, ["a", "h"])
    core._writes, core.nth, core.times = 0, 2, 1
    assert run(tmp_path / "j", core, plan=Moving([move()]))[State.FAILED] == 1
    assert (bound(core.sandbox), on(core.sandbox)) == ("h a", "H")


def put_first(sandbox: Sandbox) -> None:
    sandbox.set_bindings("t0", PRE, ["c", *bound(sandbox).replace("c", "").split()])


def take_out(sandbox: Sandbox) -> None:
    sandbox.set_bindings("t0", PRE, ["a", "b", "c"])


def switch_on(sandbox: Sandbox) -> None:
    sandbox.change("t0", "H", enabled=True)


@BOTH
@pytest.mark.parametrize("meddles", [put_first, take_out, switch_on])
@pytest.mark.parametrize("nth", [4, 5])
def test_whatever_others_do_while_a_hook_is_moved_one_of_the_two_runs_at_the_end(
    tmp_path: Path, nth: int, meddles: Callable[[Sandbox], None], overlap: bool
) -> None:
    core, books = moved(tmp_path, move(overlap=overlap), nth=nth, meddles=meddles)
    assert core.runs[-1] == ("h" if books[State.APPLIED] else "H")
    run(tmp_path / "j", core, failed=True)
    assert core.runs[-1] == "h"


@pytest.mark.parametrize("kill", range(16))
def test_killed_on_its_way_back_a_move_still_goes_back(tmp_path: Path, kill: int) -> None:
    """Somebody takes the action out right after the hook went off: neither runs until then."""
    core = Watched(acting(), tmp_path / "j", at=24 + kill // 2, after=kill % 2 > 0)
    core.nth, core.meddles = 5, take_out
    if killed(tmp_path / "j", core, plan=Moving([move()])):
        rest = Watched(core.sandbox, tmp_path / "rest", clock=core.clock)
        run(tmp_path / "j-copy", rest)
    assert on(core.sandbox) == "H" or bound(core.sandbox).startswith("h")


@BOTH
@pytest.mark.parametrize("nth", [1, 2])
def test_the_way_back_of_a_move_that_is_refused_leaves_one_of_the_two(
    tmp_path: Path, nth: int, overlap: bool
) -> None:
    core, _ = moved(tmp_path, move(overlap=overlap))
    core._writes, core.nth, core.times = 0, nth, 1
    assert run(tmp_path / "u", core, plan=Undoing(tmp_path / "j"))[State.FAILED] == 1
    assert (bound(core.sandbox), core.runs[-1]) == ("h a b c", "h")
    assert run(tmp_path / "u", core, failed=True)[State.APPLIED] == 1
    assert (bound(core.sandbox), core.runs[-1]) == ("a b c", "H")
    assert ("" if overlap else "Hh") not in core.runs


def test_the_way_back_of_a_move_that_others_undo_leaves_the_action_where_it_was(
    tmp_path: Path,
) -> None:
    """It comes last otherwise, behind actions that it ran before."""
    core, _ = moved(tmp_path, move())
    core._writes, core.nth = 0, 2
    core.meddles = lambda sandbox: sandbox.change("t0", "H", enabled=False)
    assert run(tmp_path / "u", core, plan=Undoing(tmp_path / "j"))[State.FAILED] == 1
    assert bound(core.sandbox) == "h a b c"


@BOTH
def test_a_stop_lets_a_move_end_whose_first_of_two_is_switched(
    tmp_path: Path, overlap: bool
) -> None:
    core, running = Watched(acting(), tmp_path / "j"), list[Lanes]()

    async def watch(lanes: Lanes) -> None:
        running.append(lanes)

    core.nth, core.meddles = 4, lambda sandbox: running[0].stop()
    wanted = Moving([move(overlap=overlap)])
    assert run(tmp_path / "j", core, plan=wanted, watch=watch)[State.APPLIED] == 1
    assert core.runs == ORDER[overlap]


# ---- and undone


def moved_and_undone(
    folder: Path, wanted: Move, at: int, again: int, *, after: bool, max_deletes: int
) -> None:
    """A move killed at one request, and its undo at another: all is as it was."""
    core = Watched(acting(), folder / "j", at=at, after=after)
    was = whole_state_of(core.sandbox)
    done = folder / ("j-copy" if killed(folder / "j", core, plan=Moving([wanted])) else "j")
    if not planned(done):
        return
    core.clock.pass_by(SETTLE)  # as `undo` does after what was sent and not answered
    back = Watched(core.sandbox, folder / "u", at=again, after=after, clock=core.clock)
    undo = Undoing(done, max_deletes)
    if killed(folder / "u", back, plan=undo):
        path = folder / ("u-copy" if planned(folder / "u-copy") else "v")
        rest = Watched(core.sandbox, path, clock=core.clock)
        assert not killed(path, rest, **({} if path.exists() else {"plan": undo}))
        assert ("" if wanted.overlap else "Hh") not in rest.runs
    assert ("" if wanted.overlap else "Hh") not in [*core.runs, *back.runs]
    if not max_deletes:
        was = without(was)
    now = whole_state_of(core.sandbox)
    assert (now if max_deletes else without(now)) == was


def planned(journal: Path) -> bool:
    with Journal.open(journal) as kept:
        return not kept.unresolved_tenants(Unresolved(10**6))


def without(state: list[Any]) -> list[Any]:
    """All that there is but the action that was made: without leave to delete it stays."""
    state[1][0].pop("h", None)
    return state


@settings(max_examples=8, deadline=None)
@given(
    overlap=st.booleans(),
    at=st.integers(0, 34),
    again=st.integers(0, 20),
    after=st.booleans(),
    max_deletes=st.sampled_from([0, 1]),
)
def test_a_move_killed_anywhere_is_undone(
    overlap: bool, at: int, again: int, after: bool, max_deletes: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        moved_and_undone(
            *(Path(name), move(overlap=overlap), at, again), after=after, max_deletes=max_deletes
        )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "share",
    [pytest.param(3, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.hunt)],
    ids=["a third", "all"],
)
@pytest.mark.parametrize("after", [False, True])
@BOTH
def test_a_move_killed_at_every_request_is_undone_killed_at_every_request(
    overlap: bool, after: bool, share: int
) -> None:
    for at in range(29):
        for again in range(at % share, 17, share):
            with tempfile.TemporaryDirectory() as name:
                moved_and_undone(
                    *(Path(name), move(overlap=overlap), at, again), after=after, max_deletes=1
                )


@BOTH
def test_on_a_small_bucket_nothing_else_is_sent_in_the_middle_of_a_switch(
    tmp_path: Path, overlap: bool
) -> None:
    """What is between the two writes makes the moment longer in which both run, or neither."""
    sandbox = acting(bucket=BUCKETS["free"], build_time=0.1, deploy_time=0.1)
    triggers = [trigger for trigger in TRIGGERS if trigger != PRE]
    moves = [move(overlap=overlap)]
    for trigger in triggers:
        id = f"H-{trigger}"
        sandbox.add_hook("t0", id=id, name=id, triggerId=trigger, enabled=True, script="h")
        create = {"name": id, "triggerId": trigger, "code": CODE, "dependencies": {}}
        moves.append(move(hook=id, label=id, create=create, overlap=overlap))
    core = Watched(sandbox, tmp_path / "j")
    assert run(tmp_path / "j", core, plan=Moving(moves))[State.APPLIED] == len(moves)
    asked = [(seen.method, seen.path) for seen in sandbox.log if seen.tenant == "t0"]
    for trigger, id in [(PRE, "H"), *((trigger, f"H-{trigger}") for trigger in triggers)]:
        lists = f"/api/v2/actions/triggers/{trigger}/bindings"
        hook = f"/api/v2/hooks/{id}"
        between = sorted([asked.index(("PATCH", lists)), asked.index(("PATCH", hook))])
        assert {path for _, path in asked[slice(*between)]} <= {lists, hook}
