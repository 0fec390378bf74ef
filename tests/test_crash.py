"""Killed at any moment, a job ends as an undisturbed one does, and no write goes out twice.

The engine runs over the sandbox's core, without sockets. A crash is what the disk has at that
moment: the journal's files are copied, and whatever the first run still does is not seen again.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks import Job, Limits, Tenant
from bulkhooks.auth0 import Reply
from bulkhooks.errors import Unsure
from bulkhooks.gates import Gate
from bulkhooks.hooks import Trigger
from bulkhooks.items import State
from bulkhooks.journal import Journal, Unresolved
from bulkhooks.lanes import Lanes
from bulkhooks.plan import stage
from bulkhooks.sandbox import NoAnswer, Request, Sandbox, SecondEnable

NAMES = ("t0", "t1")
TRIGGERS = get_args(Trigger)
TENANTS = {name: Tenant.with_token(name, f"https://x/{name}", "sandbox") for name in NAMES}


class Killed(BaseException):
    """The process is no more."""


class Core:
    """The sandbox's core as a network, in which the process dies at one request."""

    def __init__(self, sandbox: Sandbox, journal: Path, copy: Path, at: int, after: bool) -> None:
        self.sandbox, self.journal, self.copy = sandbox, journal, copy
        self.at, self.after = at, after
        self.sent = 0
        self.writing = ""
        self.gate = Gate(256)

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        self.sent += 1
        last = self.sent == self.at
        if last and method != "GET":
            self.writing = url
        if last and not self.after:
            self.die()
        await anyio.lowlevel.checkpoint()
        if 0 < self.at < self.sent and not last:
            await anyio.sleep_forever()
        path, _, query = url.removeprefix("https://x/").partition("?")
        tenant, _, path = path.partition("/")
        request = Request(
            tenant=tenant,
            method=method,
            path="/" + path,
            query=dict(pair.split("=") for pair in query.split("&") if pair),
            headers={name.lower(): value for name, value in headers.items()},
            body=body or b"",
        )
        try:
            answer = self.sandbox.handle(request, time.time())
        except NoAnswer as cut:
            if last:
                self.die()
            raise Unsure("the line was cut") from cut
        if last:
            self.die()
        seen = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status, body=answer.body), seen

    def die(self) -> None:
        for end in ("", "-wal"):
            file = Path(f"{self.journal}{end}")
            if file.exists():
                shutil.copy(file, f"{self.copy}{end}")
        raise Killed


os.environ |= {"SECRET_ONE": "one", "SECRET_TWO": "two"}


def random_job(sandbox: Sandbox, chance: random.Random) -> Job:
    """Edits of every kind there is, several of them on one hook now and then, none of which
    contradicts another. Hooks 0 and 1 of each tenant have a secret."""
    edits: list[Mapping[str, Any]] = []
    taken: set[tuple[str, str, str]] = set()
    whole = {(tenant, trigger) for tenant in NAMES for trigger in TRIGGERS if chance.random() < 0.5}
    for number in range(chance.randint(1, 14)):
        tenant = chance.choice(NAMES)
        hooks = sandbox.hooks_of(tenant)
        place = chance.randrange(6)
        hook, trigger = hooks[place], hooks[place]["triggerId"]
        base = {"tenant": tenant, "hook": hook["id"]}
        edit: Mapping[str, Any]
        key, edit = chance.choice(
            [
                ("dependencies", base | {"set": {"dependencies": {"axios": f"1.0.{number}"}}}),
                ("name", base | {"set": {"name": f"renamed-{number}"}}),
                ("script", base | {"set": {"script": f"module.exports = {number};"}}),
                ("enabled", base | {"set": {"enabled": (tenant, trigger) in whole}}),
                ("secrets", base | {"set_secrets": {"NEW": "env:SECRET_ONE"}}),
                (
                    "secrets",
                    base | {"set_secrets": {"NEW": "env:SECRET_ONE", "OLD": "env:SECRET_TWO"}},
                ),
                ("secrets", base | {"remove_secrets": ["OLD"]}),
                ("*", base | {"delete": True}),
                (
                    "new",
                    {
                        "tenant": tenant,
                        "create": NEW | {"name": f"new-{number}", "triggerId": trigger},
                    },
                ),
                (
                    "enabled",
                    {
                        "tenant": tenant,
                        "create": NEW
                        | {"name": f"new-{number}", "triggerId": trigger, "enabled": True},
                        "set_secrets": {"KEY": "env:SECRET_ONE"},
                    },
                ),
            ]
        )
        mine = {(tenant, hook["id"], key)} if key != "new" else set()
        if key == "enabled":  # one edit a trigger says which of its hooks is to be on
            mine = {(tenant, trigger, key), (tenant, hook["id"], key)}
        everything = {field for *_, field in taken if _ == [tenant, hook["id"]]}
        if mine & taken or "*" in everything or (key == "*" and everything):
            continue
        if key == "*" and (tenant, trigger, "enabled") in taken:
            continue
        taken |= mine
        edits.append(edit)
    edits = edits or [{"tenant": "t0", "hooks": {"enabled": True}, "set": {"enabled": False}}]
    return Job.of("job", edits)


NEW = {"script": "module.exports = 1;"}


def two_tenants(fault: Any = None, second_enable: SecondEnable = "conflict") -> Sandbox:
    sandbox = Sandbox(NAMES, hooks=8, fault=fault, second_enable=second_enable)
    for name in NAMES:
        for hook in sandbox.hooks_of(name)[:2]:
            sandbox.set_secrets(name, hook["id"], {"OLD": "old"})
    return sandbox


async def work(
    path: Path,
    core: Core,
    *,
    plan: Job | None = None,
    settle: float = 0.0,
    watch: Callable[[Lanes], Coroutine[Any, Any, None]] | None = None,
) -> dict[State, int]:
    """Plan, if there is a job to plan, and apply; the books after it."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Core]:
        yield core

    opening = Journal.create(path) if plan else Journal.open(path)
    with opening as journal:
        if plan:
            stage(journal, plan, TENANTS, sandbox=False, now=datetime.now(UTC))
        async with Lanes.opened(
            journal, journal.tenants(), TENANTS, Limits(), settle=settle, connect=connect
        ) as lanes:
            if plan:
                await lanes.survey()
            await lanes.reopen(failed=False)
            async with anyio.create_task_group() as tasks:
                if watch:
                    tasks.start_soon(watch, lanes)
                await lanes.apply(read_first=plan is None)
                tasks.cancel_scope.cancel()
        books = journal.books()
        return {state: sum(mine[state] for mine in books.values()) for state in State}


def state_of(sandbox: Sandbox) -> list[Any]:
    """All hooks with their secrets, by name; ids of made hooks depend on the order of making."""
    return [
        {
            hook.pop("name"): hook | {"secrets": sandbox.secrets_of(name, hook.pop("id"))}
            for hook in sandbox.hooks_of(name)
        }
        for name in NAMES
    ]


def written(sandbox: Sandbox) -> Counter[Any]:
    """All writes that may not go out twice: a secret's value cannot be read, and is set again."""
    return Counter(
        (seen.tenant, re.sub("/new-[^/]*", "/new", seen.path), seen.method, seen.body)
        for seen in sandbox.writes()
        if not seen.path.endswith("/secrets")
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


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(1, 25), after=st.booleans())
def test_a_job_killed_at_any_request_ends_as_an_undisturbed_one(
    seed: int, at: int, after: bool
) -> None:
    crash_and_resume(seed, at, after)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(1, 40), after=st.booleans())
def test_many_jobs_killed_at_any_request(seed: int, at: int, after: bool) -> None:
    crash_and_resume(seed, at, after)


@settings(max_examples=25, deadline=None)
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
