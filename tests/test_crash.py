"""Killed at any moment, a job ends as an undisturbed one does, and no write goes out twice."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks import Job, tally
from bulkhooks.errors import Unsure
from bulkhooks.items import Reply, State
from bulkhooks.journal import Journal, Unresolved
from bulkhooks.lanes import Lanes
from bulkhooks.sandbox import Request, Sandbox
from engine import NAMES, Core, Killed, killed, random_job, state_of, two_tenants, work


def written(sandbox: Sandbox) -> Counter[Any]:
    """All writes that may not go out twice: a secret's value cannot be read, and is set again.

    Ids of made hooks depend on the order of making, and whether one comes out enabled as well.
    """
    made = {
        hook["id"]
        for name in NAMES
        for hook in sandbox.hooks_of(name)
        if hook["name"][:4] == "new-"
    }
    return Counter(
        (seen.tenant, seen.path, seen.method, seen.body)
        for seen in sandbox.writes()
        if not seen.path.endswith("/secrets") and seen.path.rsplit("/", 1)[1] not in made
    )


def crash_and_resume(seed: int, at: int, after: bool, fault: Any = None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        undisturbed, sandbox = two_tenants(), two_tenants(fault)
        job = random_job(sandbox, random.Random(seed))
        calm = Core(undisturbed, folder / "calm", folder / "none", 0, False)
        ended = anyio.run(lambda: work(folder / "calm", calm, plan=job))
        assert sum(ended.values()) == ended[State.APPLIED] + ended[State.UNCHANGED]

        first = Core(sandbox, folder / "first", folder / "copy", at, after)
        try:
            books = anyio.run(lambda: work(folder / "first", first, plan=job))
        except BaseExceptionGroup as group:
            if not group.subgroup(Killed):
                raise
            with Journal.open(folder / "copy") as journal:
                marked = journal.pending(1, (-1, 0), 99) + journal.pending(2, (-1, 0), 99)
                in_doubt = [step for item in marked for step in item.steps if step.state == "sent"]
                assert in_doubt or not first.writing, "sent, and the journal does not know"
                planned = not journal.unresolved_tenants(Unresolved(10**6))
            if planned:
                second = Core(sandbox, folder / "copy", folder / "none", 0, False)
                books = anyio.run(lambda: work(folder / "copy", second))
            else:
                second = Core(sandbox, folder / "again", folder / "none", 0, False)
                books = anyio.run(lambda: work(folder / "again", second, plan=job))
        assert books == ended
        assert state_of(sandbox) == state_of(undisturbed)
        assert written(sandbox) == written(undisturbed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(1, 25), after=st.booleans())
def test_a_job_killed_at_any_request_ends_as_an_undisturbed_one(
    seed: int, at: int, after: bool
) -> None:
    crash_and_resume(seed, at, after)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(1, 40), after=st.booleans())
def test_many_jobs_killed_at_any_request(seed: int, at: int, after: bool) -> None:
    crash_and_resume(seed, at, after)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_job_killed_over_and_over_ends_as_an_undisturbed_one(seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        undisturbed, sandbox = two_tenants(), two_tenants()
        job = random_job(sandbox, random.Random(seed), edits=40)
        calm = Core(undisturbed, folder / "calm", folder / "none", 0, False)
        ended = anyio.run(lambda: work(folder / "calm", calm, plan=job))
        plan: Job | None = job
        path, kills = folder / "0", 0
        core = Core(sandbox, path, folder / "1", chance.randint(5, 20), False)
        while killed(path, core, **({"plan": plan} if plan else {})):
            kills += 1
            path = folder / str(kills)
            with Journal.open(path) as journal:
                planned = not journal.unresolved_tenants(Unresolved(10**6))
            plan = None if planned else job
            path = path if planned else folder / f"again-{kills}"
            at = chance.randint(3, 12) if kills < 20 else 0
            core = Core(sandbox, path, folder / str(kills + 1), at, chance.random() < 0.5)
        with Journal.open(path) as journal:
            books, causes = journal.books(), tally.causes(journal)
        summed = {state: sum(mine[state] for mine in books.values()) for state in State}
        assert summed == ended, causes
        assert state_of(sandbox) == state_of(undisturbed)
        assert written(sandbox) == written(undisturbed)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    at=st.integers(0, 25),
    after=st.booleans(),
    share=st.sampled_from([0.1, 0.5]),
)
def test_cut_lines_and_a_kill_together_leave_nothing_done_twice(
    seed: int, at: int, after: bool, share: float
) -> None:
    chance = random.Random(seed)

    def fault(request: Request) -> Any:
        if request.method == "PATCH" and chance.random() < share / 2:
            return chance.choice(["cut-before", "cut-after"])
        return None

    crash_and_resume(seed, at, after, fault)


Server = TypeVar("Server", bound=Core)


def one_rename(server: type[Server], folder: Path) -> tuple[Server, Job]:
    """A server of that kind, and a job with one edit for it."""
    sandbox = Sandbox(NAMES, hooks=2)
    hook = sandbox.hooks_of("t0")[0]["id"]
    job = Job.of("job", [{"tenant": "t0", "hook": hook, "set": {"name": "renamed"}}])
    return server(sandbox, folder / "j", folder / "none", 0, False), job


class Late(Core):
    """A server that carries the first write out some time after its line was cut."""

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if method == "PATCH" and not self.writing:
            self.writing = url
            self.later = anyio.current_time() + 0.1
            self.request = (method, url, headers, body)
            raise Unsure("the line was cut")
        if self.writing and anyio.current_time() >= self.later:
            self.later = float("inf")
            await super().send(*self.request)  # now it takes effect
        return await super().send(method, url, headers, body)


def test_a_write_that_takes_effect_late_is_not_sent_again(tmp_path: Path) -> None:
    core, job = one_rename(Late, tmp_path)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=job, settle=0.3))
    assert core.later == float("inf"), "believed before the write could take effect"
    assert books[State.APPLIED] == 1
    assert len(core.sandbox.writes()) == 1


class Busy(Core):
    """A server that answers the first write by 429."""

    marked_at = 0.0
    written_at = 0.0

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if method == "PATCH":
            with Journal.read(self.journal) as journal:
                (item,) = journal.pending(1, (-1, 0), 1)
                self.marked_at, self.written_at = item.steps[0].sent_at or 0.0, time.time()
            if not self.writing:
                self.writing = url
                return Reply(status=429, body=b"{}"), {}
        return await super().send(method, url, headers, body)


def test_a_write_that_goes_out_again_is_marked_again(tmp_path: Path) -> None:
    """What a crash leaves must tell when the write went out last: doubt is counted from there."""
    core, job = one_rename(Busy, tmp_path)
    first = time.time()
    assert anyio.run(lambda: work(tmp_path / "j", core, plan=job))[State.APPLIED] == 1
    assert core.written_at - core.marked_at < (core.written_at - first) / 2


class Opaque(Core):
    """A server that carries a write out, cuts the line, and then shows nothing of the hook."""

    shows: bytes

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        reply, seen = await super().send(method, url, headers, body)
        if method == "PATCH":
            self.writing = url
            raise Unsure("the line was cut")
        return (Reply(status=200, body=self.shows), seen) if self.writing else (reply, seen)


@pytest.mark.parametrize("shows", [b"<html>", b"{}", b'{"id": "A"}'])
def test_what_cannot_be_told_is_uncertain_and_nothing_else(tmp_path: Path, shows: bytes) -> None:
    core, job = one_rename(Opaque, tmp_path)
    core.shows = shows
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=job))
    assert books[State.UNCERTAIN] == 1
    assert len(core.sandbox.writes()) == 1


def test_the_wait_for_a_read_back_is_shown_with_its_reason(tmp_path: Path) -> None:
    core, job = one_rename(Late, tmp_path)
    shown: list[Any] = []

    async def watch(lanes: Lanes) -> None:
        while True:
            shown.extend(view.waiting for view in lanes.views() if view.waiting)
            await anyio.sleep(0.05)

    anyio.run(lambda: work(tmp_path / "j", core, plan=job, settle=0.3, watch=watch))
    assert "to read 1 back" in {reason for reason, _ in shown}
    assert all(0 <= seconds <= 0.3 for reason, seconds in shown if reason == "to read 1 back")
