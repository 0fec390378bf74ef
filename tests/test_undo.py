"""Undo: what was written is taken back, at whatever moment it is asked for, and nothing else."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks import Refused, apply_journal, tally
from bulkhooks.items import Reply, State
from bulkhooks.journal import Journal, Unresolved
from engine import (
    NAMES,
    PRE,
    TENANTS,
    Core,
    Refusing,
    Undoing,
    calm,
    causes,
    for_t0,
    killed,
    on,
    one_on,
    random_job,
    state_of,
    two_tenants,
    work,
)


def planned(journal: Path) -> bool:
    with Journal.open(journal) as kept:
        return not kept.unresolved_tenants(Unresolved(10**6))


def restorable(was: list[Any], now: list[Any], journal: Path) -> None:
    """Forget on both sides the secrets whose values nobody can know, which the plan names."""
    with Journal.open(journal) as kept:
        places = {row.id: NAMES.index(row.name) for row in kept.tenants()}
        lost = [
            (places[item.tenant], key.removeprefix("secrets."))
            for item in kept.written()
            for step in item.steps
            if step.kind in ("delete", "update_secrets", "remove_secrets")
            for key in step.before
        ]
    for place, name in lost:
        for hook in (*was[place].values(), *now[place].values()):
            hook["secrets"].pop(name, None)


def apply_and_undo(seed: int, at: int, after: bool, again: int, resumed: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sandbox = two_tenants()
        was, job = state_of(sandbox), random_job(sandbox, random.Random(seed))
        core = Core(sandbox, folder / "first", folder / "copy", at, after)
        done = folder / ("copy" if killed(folder / "first", core, plan=job) else "first")
        if not planned(done):
            return
        if resumed:
            anyio.run(lambda: work(done, Core(sandbox, done, folder / "none", 0, False)))
        undo = folder / "undo"
        core = Core(sandbox, undo, folder / "half", again, after)
        if killed(undo, core, plan=Undoing(done)):
            undo = folder / "half"
            rest = Core(sandbox, undo, folder / "none", 0, False)
            what = {} if planned(undo) else {"plan": Undoing(done)}
            undo = undo if planned(undo) else folder / "other"
            assert not killed(undo, rest, **what)
        if not undo.exists():
            return
        with Journal.open(undo) as kept:
            books = kept.books()
            left = {state: sum(mine[state] for mine in books.values()) for state in State}
            assert not (left[State.FAILED] + left[State.UNCERTAIN] + left[State.PENDING]), left
            causes = {cause.cause for cause in tally.causes(kept)}
            assert all(cause.startswith("cannot be undone: the value") for cause in causes), causes
        now = state_of(sandbox)
        restorable(was, now, done)
        assert now == was


@pytest.mark.parametrize(
    "edits",
    [
        [
            {"hook": "C", "set": {"name": "free"}},
            {"hook": "B", "set": {"name": "c"}},
            {"hook": "C", "set": {"enabled": True}},
        ],
        [
            {"hook": "C", "set": {"name": "free", "enabled": True}},
            {"hook": "B", "set": {"name": "c"}},
        ],
        [
            {"hook": "C", "set": {"name": "free"}},
            {"hook": "A", "set": {"name": "c", "enabled": False}},
        ],
        [
            {"hook": "A", "expect": {"triggerId": PRE}, "set": {"name": "free", "enabled": False}},
            {"hook": "B", "set": {"name": "a", "enabled": True}},
        ],
    ],
    ids=["enabled later", "enabled with it", "disabled with it", "both"],
)
async def test_names_that_go_from_hook_to_hook_go_back_in_order(
    tmp_path: Path, edits: list[Any]
) -> None:
    core = calm(one_on(), tmp_path)
    was = state_of(core.sandbox)
    books = await work(tmp_path / "j", core, plan=for_t0(*edits))
    assert books[State.APPLIED] == len(edits)
    assert state_of(core.sandbox) != was
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"))
    assert state_of(core.sandbox) == was


SWAP = {"hook": "B", "set": {"enabled": True}}
CREATE = {"create": {"name": "n", "triggerId": PRE, "enabled": True, "script": "s"}}


async def test_if_what_was_on_is_refused_what_a_job_created_stays_on(tmp_path: Path) -> None:
    core = Refusing(one_on(), tmp_path, lambda method, path, body: b"true" in body, times=0)
    await work(tmp_path / "j", core, plan=for_t0(CREATE))
    left, core.times = state_of(core.sandbox), 1
    books = await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"))
    assert books[State.FAILED] == 1
    assert causes(tmp_path / "undo") == ["400 no; what was on before is on again"]
    assert state_of(core.sandbox) == left


async def test_what_a_way_back_does_first_is_no_drift_to_what_it_does_last(tmp_path: Path) -> None:
    core = calm(one_on(), tmp_path)
    was = state_of(core.sandbox)
    await work(tmp_path / "j", core, plan=for_t0(CREATE))
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"), apply=False)
    assert (await work(tmp_path / "undo", core))[State.APPLIED] == 1
    assert state_of(core.sandbox) == was


@pytest.mark.parametrize(
    ("edit", "theirs", "left"),
    [
        (SWAP, {"A": {"name": "theirs"}}, "A"),
        (SWAP, {"A": None}, "B"),
        (SWAP, {"B": {"enabled": False}, "C": {"enabled": True}}, "C"),
        ({"hook": "A", "delete": True}, {"C": {"enabled": True}}, "C"),
    ],
    ids=["renamed", "deleted", "another on", "another on instead of a deleted one"],
)
async def test_what_others_did_since_leaves_the_one_on_that_they_left_on(
    tmp_path: Path, edit: Any, theirs: Mapping[str, Any], left: str
) -> None:
    sandbox = one_on(second_enable="switch")
    core = calm(sandbox, tmp_path)
    assert (await work(tmp_path / "j", core, plan=for_t0(edit)))[State.APPLIED] == 1
    for id, fields in theirs.items():
        if fields:
            sandbox.change("t0", id, **fields)
        else:
            del sandbox._tenants["t0"].hooks[id]
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"))
    assert on(sandbox) == left


async def test_an_undo_whose_plan_was_cut_off_is_planned_again_by_undo(tmp_path: Path) -> None:
    core = calm(one_on(), tmp_path)
    await work(tmp_path / "j", core, plan=for_t0(SWAP))
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"), apply=False)
    with pytest.raises(Refused, match=f"plan `bulkhooks undo {tmp_path / 'j'}` again"):
        await apply_journal(tmp_path / "undo", TENANTS)


class Foreign(Core):
    """A server that is not Auth0: ids under `hook_id`, totals under `length`, lists without
    dependencies, and OK for an answer to a delete."""

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        reply, seen = await super().send(method, url, headers, body)
        if method == "DELETE":
            return Reply(status=200, body=b"OK"), seen
        answer = orjson.loads(reply.body or b"null")
        if isinstance(answer, dict) and "hooks" in answer:
            answer["length"] = answer.pop("total")
            for hook in answer["hooks"]:
                hook["hook_id"] = hook.pop("id")
                del hook["dependencies"]
        elif isinstance(answer, dict) and "id" in answer:
            answer["hook_id"] = answer.pop("id")
        return Reply(status=reply.status, body=orjson.dumps(answer)), seen


async def test_hooks_of_a_server_that_is_not_auth0_are_changed_and_put_back(
    tmp_path: Path,
) -> None:
    core = Foreign(one_on(), tmp_path / "j", tmp_path / "none", 0, False)
    was = state_of(core.sandbox)
    secret = {"set_secrets": {"K": "env:SECRET_ONE"}}
    job = for_t0(
        {"hook": "C", "delete": True},
        {"hook": "B", "set": {"enabled": True, "dependencies": {"a": "1.0.0"}}} | secret,
        {"create": {"name": "n", "triggerId": PRE, "script": "s"}} | secret,
    )
    assert (await work(tmp_path / "j", core, plan=job))[State.APPLIED] == 3
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"))
    assert state_of(core.sandbox) == was


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    at=st.integers(0, 40),
    after=st.booleans(),
    again=st.integers(0, 40),
    resumed=st.booleans(),
)
def test_apply_and_undo_leave_everything_as_it_was(
    seed: int, at: int, after: bool, again: int, resumed: bool
) -> None:
    apply_and_undo(seed, at, after, again, resumed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    at=st.integers(0, 60),
    after=st.booleans(),
    again=st.integers(0, 60),
    resumed=st.booleans(),
)
def test_many_jobs_are_undone(seed: int, at: int, after: bool, again: int, resumed: bool) -> None:
    apply_and_undo(seed, at, after, again, resumed)
