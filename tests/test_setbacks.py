"""What goes wrong on a tenant is told as what it is, reaches no further, and has an end."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from bulkhooks import Tenant
from bulkhooks.gates import Breaker, Stop
from bulkhooks.items import Reply, State
from bulkhooks.network import Network, NotSent
from bulkhooks.sandbox import Sandbox
from engine import NAMES, Answered, causes, for_t0, one_on, work

# ---- a tenant that is set aside


async def test_a_tenant_that_answers_well_and_does_nothing_is_given_up(tmp_path: Path) -> None:
    sent = 0

    async def do_nothing(method: str, path: str, body: bytes) -> Reply | None:
        nonlocal sent
        sent += method == "PATCH"
        return Reply(status=200, body=b"{}") if method == "PATCH" else None

    sandbox = Sandbox(NAMES, hooks=40)
    hooks = [hook["id"] for hook in sandbox.hooks_of("t0")]
    job = for_t0(*({"hook": id, "set": {"name": f"new-{id}"}} for id in hooks))
    core = Answered(sandbox, tmp_path, do_nothing)
    books = await work(tmp_path / "j", core, plan=job)
    assert books[State.FAILED] + books[State.UNCERTAIN] == len(hooks)
    assert sent < len(hooks), sent


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
