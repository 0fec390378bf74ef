"""Edits of actions, killed at any request: they end as undisturbed ones do, and are made once."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks import Job
from bulkhooks.items import State
from bulkhooks.journal import Journal, Unresolved
from bulkhooks.lanes import SETTLE
from engine import (
    NAMES,
    PRE,
    Undoing,
    Watched,
    acting,
    actions_of,
    bound,
    causes,
    for_t0,
    killed,
    random_action_job,
    run,
    whole_state_of,
)

CODE = "exports.onExecutePreUserRegistration = async () => {};\n"
NEW = {"name": "new one", "triggerId": PRE, "code": CODE, "dependencies": {"axios": "1.7.9"}}
SECRETS = {"set_secrets": {"K": "env:SECRET_ONE", "OLD": "env:SECRET_TWO"}}


def of(name: str, **edit: Any) -> Mapping[str, Any]:
    return {"action": {"name": name}, **edit}


#: Jobs of every kind of edit.
JOBS: dict[str, Sequence[Mapping[str, Any]]] = {
    "create": [{"create": NEW}],
    "create bound": [
        {"create": NEW | {"bound": True, "position": "after a"}, "deploy": True} | SECRETS
    ],
    "code": [of("a", set={"code": CODE, "runtime": "node18"}, deploy=True)],
    "rename": [of("a", set={"name": "z"})],
    "secrets": [of("a", **SECRETS, deploy=True)],
    "remove": [of("a", remove_secrets=["OLD"])],
    "off": [{"actions": {"name": "[abc]"}, "set": {"bound": False}}],
    "on": [of("d", set={"bound": True, "position": "before b"}, expect={"deployed": True})],
    "place": [of("c", set={"position": "first"})],
    "never deployed": [of("e", set={"bound": True}, deploy=True)],
    "delete": [of("b", delete=True)],
    "off and changed": [of("a", set={"bound": False, "code": CODE}, deploy=True)],
}


def undisturbed(folder: Path, job: Job) -> tuple[Any, ...]:
    """What a job comes to: the books, the state of the tenants, and what was made."""
    core = Watched(acting(), folder / "calm")
    ended = run(folder / "calm", core, plan=job)
    assert sum(ended.values()) == ended[State.APPLIED] + ended[State.UNCHANGED]
    return ended, whole_state_of(core.sandbox), made(core)


def crashed(folder: Path, job: Job, wanted: tuple[Any, ...], at: int, after: bool) -> bool:
    """Whether a kill at that request came to anything; after it the same command goes on."""
    core = Watched(acting(), folder / "j", at=at, after=after)
    rest = Watched(core.sandbox, folder / "rest", clock=core.clock)
    if not killed(folder / "j", core, plan=job):
        return False
    with Journal.open(folder / "j-copy") as kept:
        planned = not kept.unresolved_tenants(Unresolved(10**6))
    path = folder / ("j-copy" if planned else "again")
    books = run(path, rest, **({} if planned else {"plan": job}))
    assert (books, whole_state_of(core.sandbox), made(core)) == wanted, causes(path)
    assert core.crossed == rest.crossed == []
    return True


def made(core: Watched) -> Counter[bytes]:
    """What was made, by what was sent."""
    sent = (seen for seen in core.sandbox.writes() if seen.path.endswith("/actions/actions"))
    return Counter(seen.body for seen in sent)


def crash_everywhere(job: Job, step: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        wanted, at = undisturbed(Path(name), job), 1
    while True:
        for after in (False, True):
            with tempfile.TemporaryDirectory() as name:
                if not crashed(Path(name), job, wanted, at, after):
                    assert at > 2
                    return
        at += step


def crash_once(seed: int, at: int, after: bool) -> None:
    job = random_action_job(random.Random(seed))
    with tempfile.TemporaryDirectory() as name:
        crashed(Path(name), job, undisturbed(Path(name), job), at, after)


@pytest.mark.parametrize("kind", JOBS)
def test_killed_at_some_requests_a_job_ends_as_an_undisturbed_one(kind: str) -> None:
    crash_everywhere(for_t0(*JOBS[kind]), step=8)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", JOBS)
def test_killed_at_every_request_a_job_ends_as_an_undisturbed_one(kind: str) -> None:
    crash_everywhere(for_t0(*JOBS[kind]), step=1)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(1, 60), after=st.booleans())
def test_a_job_of_many_kinds_killed_at_any_request_ends_as_an_undisturbed_one(
    seed: int, at: int, after: bool
) -> None:
    crash_once(seed, at, after)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(1, 100), after=st.booleans())
def test_many_jobs_of_many_kinds_killed_at_any_request(seed: int, at: int, after: bool) -> None:
    crash_once(seed, at, after)


# ---- refused


@pytest.mark.parametrize("kind", ["create bound", "code", "secrets", "off", "delete"])
@pytest.mark.parametrize("status", [400, 500])
def test_refused_at_any_write_it_is_told_and_gone_on_with(
    tmp_path: Path, kind: str, status: int
) -> None:
    job, nth, refused = for_t0(*JOBS[kind]), 0, True
    ended, state, _ = undisturbed(tmp_path, job)
    while refused:
        nth += 1
        core = Watched(acting(), tmp_path / f"{nth}")
        core.nth, core.times, core.status = nth, 1, status
        books = run(tmp_path / f"{nth}", core, plan=job)
        refused = core.times == 0
        if status == 400 and refused:
            assert books[State.FAILED] == 1
            books = run(tmp_path / f"{nth}", core, failed=True)
        assert books == ended, causes(tmp_path / f"{nth}")
        if kind != "off":  # the order of those that go on one after another is another one
            assert whole_state_of(core.sandbox) == state
        assert core.crossed == []
    assert nth > 1


# ---- and undone


def restorable(was: list[Any], now: list[Any], done: Path) -> None:
    """Forget on both sides what cannot be brought back of what `done` has written."""
    ids = {each["id"]: each["name"] for t in NAMES for each in acting().actions_of(t)}
    with Journal.open(done) as kept:
        places = {row.id: NAMES.index(row.name) for row in kept.tenants()}
        steps = [(places[item.tenant], step) for item in kept.written() for step in item.steps]
    for place, step in steps:
        lost: dict[str, Any] = {}
        if any(key.startswith("secrets.") for key in step.before):
            lost = {"secrets": {}, "runs": None}
        elif step.kind == "deploy" and (step.after or {}).get("was", {}) is None:
            lost = {"runs": None}
        for state in (was, now):
            id = step.target.removeprefix("actions/")
            name = ids.get(id, step.before.get("name"))
            state[1 + place][0].get(name, {}).update(lost)


def apply_and_undo(seed: int, at: int, after: bool, again: int, max_deletes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        core = Watched(acting(), folder / "j", at=at, after=after)
        was, job = whole_state_of(core.sandbox), random_action_job(random.Random(seed))
        done = folder / ("j-copy" if killed(folder / "j", core, plan=job) else "j")
        with Journal.open(done) as kept:
            if kept.unresolved_tenants(Unresolved(10**6)):
                return
        core.clock.pass_by(SETTLE)  # as `undo` does after what was sent and not answered
        undo = folder / "undo"
        back = Watched(core.sandbox, undo, at=again, after=after, clock=core.clock)
        wanted = Undoing(done, max_deletes)
        if killed(undo, back, plan=wanted):
            undo = folder / "undo-copy"
            with Journal.open(undo) as kept:
                planned = not kept.unresolved_tenants(Unresolved(10**6))
            undo = undo if planned else folder / "other"
            rest = Watched(core.sandbox, undo, clock=core.clock)
            assert not killed(undo, rest, **({} if planned else {"plan": wanted}))
        if undo.exists():
            with Journal.open(undo) as kept:
                each = kept.books().values()
            left = sum(mine[state] for mine in each for state in (State.FAILED, State.UNCERTAIN))
            assert not left, causes(undo)
            assert all(cause.startswith("cannot be undone: ") for cause in causes(undo))
        now = whole_state_of(core.sandbox)
        restorable(was, now, done)
        if not max_deletes:  # what was made stays, bound nowhere
            for place, (actions, _) in enumerate(now[1:], 1):
                for label in actions.keys() - was[place][0].keys():
                    del actions[label]
        assert now == was


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    at=st.integers(0, 80),
    after=st.booleans(),
    again=st.integers(0, 80),
    max_deletes=st.sampled_from([0, 100]),
)
def test_apply_and_undo_leave_everything_as_it_was(
    seed: int, at: int, after: bool, again: int, max_deletes: int
) -> None:
    apply_and_undo(seed, at, after, again, max_deletes)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    at=st.integers(0, 120),
    after=st.booleans(),
    again=st.integers(0, 120),
    max_deletes=st.sampled_from([0, 100]),
)
def test_many_jobs_are_undone(
    seed: int, at: int, after: bool, again: int, max_deletes: int
) -> None:
    apply_and_undo(seed, at, after, again, max_deletes)


@pytest.mark.parametrize("kind", ["create bound", "code", "rename", "off", "on", "place", "delete"])
def test_an_undo_is_undone(tmp_path: Path, kind: str) -> None:
    core = Watched(acting(), tmp_path / "j")
    was = whole_state_of(core.sandbox)
    run(tmp_path / "j", core, plan=for_t0(*JOBS[kind]))
    wanted = whole_state_of(core.sandbox)
    for number, state in enumerate((was, wanted, was)):
        done = tmp_path / (f"u{number - 1}" if number else "j")
        run(tmp_path / f"u{number}", core, plan=Undoing(done, max_deletes=1))
        now = whole_state_of(core.sandbox)
        restorable(state, now, done)
        assert now == state


def test_without_leave_to_delete_what_was_made_stays_bound_nowhere(tmp_path: Path) -> None:
    core = Watched(acting(), tmp_path / "j")
    run(tmp_path / "j", core, plan=for_t0(*JOBS["create bound"]))
    assert run(tmp_path / "u", core, plan=Undoing(tmp_path / "j"))[State.APPLIED] == 1
    assert bound(core.sandbox) == "a b c"
    assert actions_of(core.sandbox)["new one"]["runs"]["code"] == CODE
