"""What goes wrong on a tenant is told as what it is, reaches no further, and has an end."""

from __future__ import annotations

import errno
import math
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import aiohttp
import anyio
import anyio.to_thread
import jwt
import pytest

from bulkhooks import Limits, Tenant, hooks
from bulkhooks.auth0 import ManagementClient
from bulkhooks.errors import Stopped
from bulkhooks.gates import Breaker, Stop
from bulkhooks.items import Reply, State
from bulkhooks.journal import Journal
from bulkhooks.lanes import Lanes
from bulkhooks.network import Network, NotSent
from bulkhooks.pacing import Limiter
from bulkhooks.plan import stage
from bulkhooks.references import Reference
from bulkhooks.sandbox import Sandbox, SecondEnable
from bulkhooks.tenants import ClientSecret, Given, StaticToken
from bulkhooks.tokens import handed
from engine import NAMES, TENANTS, Answered, Core, calm, causes, for_t0, one_on, work

# ---- a tenant that is set aside


async def test_a_tenant_that_answers_well_and_does_nothing_is_given_up(tmp_path: Path) -> None:
    sent = 0

    async def do_nothing(method: str, path: str, body: bytes) -> Reply | None:
        nonlocal sent
        sent += method == "PATCH"
        return Reply(status=200, body=b"{}") if method == "PATCH" else None

    sandbox = Sandbox(NAMES, hooks=40)
    ids = [hook["id"] for hook in sandbox.hooks_of("t0")]
    job = for_t0(*({"hook": id, "set": {"name": f"new-{id}"}} for id in ids))
    core = Answered(sandbox, tmp_path, do_nothing)
    books = await work(tmp_path / "j", core, plan=job)
    assert books[State.FAILED] + books[State.UNCERTAIN] == len(ids)
    assert sent < len(ids)


async def test_one_more_that_breaks_gives_nobody_up_if_another_went_well_meanwhile() -> None:
    breaker, stop = Breaker(0.0), Stop()
    for _ in range(Breaker.BREAKS):
        breaker.broke("no answer", trial=False)
    assert await breaker.closed(stop)
    breaker.held()
    assert not breaker.broke("no answer", trial=True)
    assert not await breaker.closed(stop)


# ---- no room for more connections


async def test_many_that_find_no_room_at_once_leave_half_of_the_places() -> None:
    class Session:
        async def request(self, *words: Any, **more: Any) -> Any:
            await anyio.lowlevel.checkpoint()
            key: Any = None
            raise aiohttp.ClientConnectorError(key, OSError(errno.EMFILE, "Too many open files"))

    network = Network(Session(), 64)  # type: ignore[arg-type]
    way = network.way_to(Tenant.with_token("t0", "http://127.0.0.1", "token"))

    async def ask() -> None:
        with pytest.raises(NotSent):
            await way.send("GET", "http://127.0.0.1/", {}, None)

    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(ask)
    assert network.gate.places == 32


# ---- hooks that turn out to be read-only


async def test_what_read_only_hooks_will_refuse_is_not_begun(tmp_path: Path) -> None:
    async def refuse_names(method: str, path: str, body: bytes) -> Reply | None:
        refusal = Reply(status=403, body=b'{"message": "hooks are read-only"}')
        return refusal if method == "PATCH" and b"name" in body else None

    core = Answered(one_on(), tmp_path, refuse_names)
    job = for_t0(
        {"hook": "C", "set": {"name": "new-c"}},
        {"hook": "B", "set": {"name": "new-b", "enabled": True}},
    )
    books = await work(tmp_path / "j", core, plan=job)
    assert books[State.FAILED] == 2
    assert causes(tmp_path / "j") == ["403 hooks are read-only"]
    assert core.sandbox.writes() == []  # A is on, and was never off


# ---- what has no end, or takes long


async def test_a_token_with_a_number_beyond_all_bounds_is_good_all_the_same() -> None:
    token = jwt.encode({"exp": 10**400, "azp": "me"}, "k" * 32, algorithm="HS256")
    grant = await handed(StaticToken(token=Given(token)))
    assert (grant.client, grant.life) == ("me", math.inf)


async def test_a_stop_starts_no_more_commands_for_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, ended, run = threading.Event(), threading.Event(), []

    def resolve(reference: Reference) -> str:
        run.append(reference.value)
        begun.set()
        ended.wait(20)
        return "found"

    async def ask() -> None:
        with pytest.raises(Stopped):
            await client.read(hooks.list_hooks(0))

    monkeypatch.setattr(Reference, "resolve", resolve)
    id, secret = (Reference.parse(f"cmd:{word}", Path("/")) for word in ("id", "secret"))
    credential = ClientSecret(client_id=id, client_secret=secret)
    tenant = Tenant(name="t0", base_url="http://127.0.0.1:1", credential=credential)
    stop = Stop()
    async with Network.opened() as network, anyio.create_task_group() as tasks:
        client = ManagementClient(tenant, Limiter(Limits()), network, stop, 8)
        for _ in range(3):
            tasks.start_soon(ask)
        await anyio.to_thread.run_sync(begun.wait, 20)
        stop.ask()
        ended.set()
    assert run == ["id"]


async def test_commands_that_take_long_do_not_keep_the_journal_waiting(
    tmp_path: Path,
) -> None:
    ended, shared = threading.Event(), anyio.to_thread.current_default_thread_limiter()
    with Journal.create(tmp_path / "j") as journal:
        async with journal.writing(), anyio.create_task_group() as tasks:
            for _ in range(int(shared.total_tokens)):
                tasks.start_soon(anyio.to_thread.run_sync, ended.wait, 20)
            await anyio.wait_all_tasks_blocked()
            await journal.commit(*journal.noted(job="is written"))
            waiting = not ended.is_set() and not shared.available_tokens
            ended.set()
    assert waiting


async def test_what_was_read_before_the_clock_was_set_back_is_read_again(tmp_path: Path) -> None:
    core, now = calm(one_on(), tmp_path), [1e9]

    @asynccontextmanager
    async def connect(_: int) -> AsyncIterator[Core]:
        yield core

    with Journal.create(tmp_path / "j") as journal:
        job = for_t0({"hook": "B", "set": {"name": "new-b"}})
        stage(journal, job, TENANTS, sandbox=False, now=datetime.now(UTC))
        rows, limits = journal.tenants(), Limits()
        async with Lanes.opened(
            journal, rows, TENANTS, limits, connect=connect, wall=lambda: now[0]
        ) as lanes:
            await lanes.survey()
            now[0] -= 3600
            await lanes.apply(read_first=False)
    assert [seen.method for seen in core.sandbox.log] == ["GET", "GET", "PATCH"]


# ---- what is known beforehand to be refused


@pytest.mark.parametrize("mode", get_args(SecondEnable))
async def test_what_is_forbidden_leaves_nothing_that_others_build_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: SecondEnable
) -> None:
    read_only = {name: replace(each, lifecycle="read-only") for name, each in TENANTS.items()}
    monkeypatch.setattr("engine.TENANTS", read_only)
    core = calm(one_on(second_enable=mode), tmp_path)
    off = {"hook": "A", "set": {"enabled": False, "name": "new-a"}}
    job = for_t0(off, {"hook": "B", "set": {"enabled": True}})
    books = await work(tmp_path / "j", core, plan=job)
    assert (books[State.APPLIED], books[State.FAILED]) == (1, 1)
    # A is known to be on still: it goes off first, and on again if B is refused.
    asked = [(seen.method, seen.path[-1]) for seen in core.sandbox.log[1:]]
    assert asked == [("PATCH", "A"), ("PATCH", "B"), ("GET", "A"), ("GET", "B")]
    with Journal.open(tmp_path / "j") as journal:
        [item] = journal.items([State.APPLIED], 9)
    assert len([step for step in item.steps if not step.back]) == 2


# ---- answers that show something else


@pytest.mark.parametrize("answered", ["PATCH", "GET"])
async def test_another_hook_in_an_answer_shows_nothing_of_ours(
    tmp_path: Path, answered: str
) -> None:
    async def other(method: str, path: str, body: bytes) -> Reply | None:
        if method == "PATCH" and path.endswith("/A"):
            if answered == "PATCH":
                return Reply(status=200, body=b'{"id": "OTHER", "enabled": false}')
            return Reply(status=500, body=b"")
        if answered == "GET" and method == "GET" and path.endswith("/A"):
            return Reply(status=200, body=b'{"id": "OTHER", "enabled": false}')
        return None

    core = Answered(one_on(), tmp_path, other)
    job = for_t0({"hook": "A", "set": {"enabled": False}})
    books = await work(tmp_path / "j", core, plan=job)
    assert books[State.APPLIED] == 0
    assert books[State.FAILED] + books[State.UNCERTAIN] == 1


async def test_a_list_that_ends_before_its_total_is_no_list(tmp_path: Path) -> None:
    async def short(method: str, path: str, body: bytes) -> Reply | None:
        return Reply(status=200, body=b'{"hooks": [{"id": "A", "name": "a"}], "total": 5000}')

    core = Answered(one_on(), tmp_path, short)
    job = for_t0({"hook": "A", "set": {"enabled": False}})
    books = await work(tmp_path / "j", core, plan=job)
    assert books[State.FAILED] == 1
    assert causes(tmp_path / "j") == ["the list of hooks is not whole: 1 of 5,000"]
