"""Undo: what was written is taken back, at whatever moment it is asked for, and nothing else."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks import tally
from bulkhooks.items import State
from bulkhooks.journal import Journal, Unresolved
from engine import NAMES, Core, Undoing, killed, random_job, state_of, two_tenants, work


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
