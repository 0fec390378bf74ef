"""The client: every call goes out once, and every answer has one meaning."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from bulkhooks import Limits, Tenant, hooks
from bulkhooks.auth0 import ManagementClient
from bulkhooks.errors import (
    BulkhooksError,
    Ended,
    Gone,
    HooksGone,
    ItemError,
    Stopped,
    TenantError,
    Unsure,
)
from bulkhooks.gates import Stop
from bulkhooks.items import Call
from bulkhooks.network import Network
from bulkhooks.pacing import Limiter
from bulkhooks.references import Reference
from bulkhooks.sandbox import Request, Sandbox, serve
from bulkhooks.tenants import ClientSecret, Given, StaticToken
from raw import http, raw_server


async def no_mark() -> None:
    """Nothing is to be marked before a write."""


@asynccontextmanager
async def client_of(base_url: str, **more: Any) -> AsyncIterator[ManagementClient]:
    tenant = more.pop("tenant", None) or Tenant.with_token("t0", base_url, "sandbox")
    async with Network.opened() as network:
        yield ManagementClient(
            *(tenant, Limiter(Limits()), network, Stop(), 8),
            jitter=lambda wait: 0.0,
            **more,
        )


CALLS: dict[str, Callable[[str], Call]] = {
    "GET": lambda id: hooks.get_hook(id),
    "POST": lambda id: hooks.create_hook({"name": "n"}),
    "PATCH": lambda id: hooks.update_hook(id, {"enabled": False}),
    "DELETE": lambda id: hooks.delete_hook(id),
}


async def test_a_write_that_was_cut_is_left_to_who_asked_for_it() -> None:
    async with raw_server(lambda line: None) as (url, asked), client_of(url) as client:
        with pytest.raises(Unsure):
            await client.write(hooks.delete_hook("A"), no_mark)
        assert asked == {"DELETE": 1}


async def test_a_read_is_tried_five_times() -> None:
    async with raw_server(lambda line: None) as (url, asked), client_of(url) as client:
        with pytest.raises(Unsure):
            await client.read(hooks.get_hook("A"))
        assert asked == {"GET": 5}


async def test_a_redirect_is_never_followed() -> None:
    def answer(line: str) -> bytes:
        return http(302, extra="Location: /elsewhere\r\n")

    async with raw_server(answer) as (url, asked), client_of(url) as client:
        for ask in (client.read(hooks.get_hook("A")), client.write(CALLS["PATCH"]("A"), no_mark)):
            with pytest.raises(Unsure, match="redirects"):
                await ask
        assert asked == {"GET": 5, "PATCH": 1}


async def test_where_nobody_listens_the_tenant_is_given_up() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/t0"
        async with client_of(url) as client:
            marks = Counter[str]()

            async def mark() -> None:
                marks["sent"] += 1

            with pytest.raises(TenantError, match="cannot connect"):
                await client.write(hooks.update_hook("A", {"enabled": True}), mark)
            assert marks["sent"] == 5


PATCH, GET, LIST = CALLS["PATCH"]("A"), CALLS["GET"]("A"), hooks.list_hooks(0)
RENAME, CREATE = hooks.update_hook("A", {"name": "b"}), hooks.create_hook({"name": "n"})
SCOPE = b'{"message": "Insufficient scope, expected any of: update:hooks", "errorCode": "x"}'
OLD = b'{"message": "Insufficient privileges to use this deprecated feature"}'
OFF = b'{"message": "This endpoint is disabled for your tenant."}'


@pytest.mark.parametrize(
    ("call", "status", "body", "error", "words"),
    [
        (PATCH, 400, b'{"message": "Payload validation error"}', ItemError, "400 Payload"),
        (PATCH, 401, b"{}", TenantError, "token is refused"),
        (PATCH, 403, SCOPE, TenantError, "grant update:hooks"),
        (GET, 403, b'{"errorCode": "insufficient_scope"}', TenantError, "grant read:hooks"),
        (GET, 403, OLD, HooksGone, "at their end.*bulkhooks migrate"),
        (LIST, 403, OFF, HooksGone, "at their end.*bulkhooks migrate"),
        (PATCH, 403, OLD, HooksGone, "at their end.*bulkhooks migrate"),
        (RENAME, 403, OLD, Ended, "read-only.*bulkhooks migrate"),
        (CREATE, 403, OFF, Ended, "read-only.*bulkhooks migrate"),
        (RENAME, 403, SCOPE, TenantError, "grant update:hooks to this tenant's client"),
        (PATCH, 403, b'{"errorCode": "insufficient_entitlement"}', TenantError, "subscription"),
        (PATCH, 403, b'{"errorCode": "operation_not_supported"}', TenantError, "subscription"),
        (PATCH, 403, b"plain text", TenantError, "plain text.*may not do that"),
        (PATCH, 403, b"<html><b>go away</b></html>", TenantError, "403 an HTML page"),
        (PATCH, 407, b"", TenantError, "proxy"),
        (PATCH, 302, b"", Unsure, "redirects"),
        (PATCH, 501, b"", HooksGone, "Actions"),
        (PATCH, 408, b"", Unsure, "408"),
        (PATCH, 999, b"", Unsure, "999"),
        (PATCH, 415, b"{}", ItemError, "415"),
        (PATCH, 404, b'{"errorCode": "inexistent_hook"}', Gone, "was deleted"),
        (LIST, 404, b"{}", HooksGone, "Actions"),
        (LIST, 410, b"<html>", HooksGone, "Actions"),
        (LIST, 501, b"", HooksGone, "Actions"),
        (PATCH, 409, b'{"message": "name taken"}', ItemError, "409 name taken"),
        (PATCH, 500, b"<html>oops</html>", Unsure, "500"),
        (PATCH, 503, b"", Unsure, "503"),
        (GET, 200, b"<html>", ItemError, "HTML page"),
        (GET, 200, b"OK", ItemError, "not JSON"),
        (PATCH, 418, b'{"message": ["a", "list"]}', ItemError, "418"),
    ],
)
async def test_an_answer_has_one_meaning(
    call: Call, status: int, body: bytes, error: type[BulkhooksError], words: str
) -> None:
    async with raw_server(lambda line: http(status, body)) as (url, _), client_of(url) as client:
        ask: Awaitable[Any] = (
            client.read(call) if call.method == "GET" else client.write(call, no_mark)
        )
        with pytest.raises(error, match=words) as told:
            await ask
        assert type(told.value) is error


async def test_a_message_that_repeats_the_token_is_shown_without_it() -> None:
    body = b'{"message": "bad token sandbox\\u0007 <script>"}'
    async with raw_server(lambda line: http(400, body)) as (url, _), client_of(url) as client:
        with pytest.raises(ItemError) as told:
            await client.write(PATCH, no_mark)
        assert told.value.cause == "400 bad token *** <script>"


@pytest.mark.parametrize(
    ("said", "code", "kept"),
    [
        ("K: abc, L: abcdef", "invalid_body", "400 invalid_body"),
        (r'in {"K": "a\"b\nc"}', "", "400"),
        ("abcd", "abcdef is no secret", "400"),
    ],
    ids=["one in another", "as JSON", "in the code"],
)
async def test_nothing_is_kept_of_what_a_server_says_to_secrets(
    said: str, code: str, kept: str
) -> None:
    call = hooks.create_secrets("A", {"K": "abc", "L": "abcdef"})
    body = orjson.dumps({"message": said, "errorCode": code})
    async with raw_server(lambda line: http(400, body)) as (url, _), client_of(url) as client:
        with pytest.raises(ItemError) as told:
            await client.write(call, no_mark)
        assert told.value.cause == kept


def test_a_call_does_not_show_its_body_which_may_be_a_secret() -> None:
    assert "abc" not in repr(hooks.update_secrets("A", {"K": "abc"}))


async def test_a_429_is_no_try_and_the_write_goes_out_again() -> None:
    answers = iter([429, 429, 200])

    def answer(line: str) -> bytes:
        return http(next(answers), b'{"id": "A", "enabled": false}', "Retry-After: 0\r\n")

    async with raw_server(answer) as (url, asked), client_of(url) as client:
        with anyio.fail_after(50):
            assert (await client.write(PATCH, no_mark))["enabled"] is False
        assert asked == {"PATCH": 3}


async def test_a_stop_ends_the_wait_for_a_turn() -> None:
    limits = Limits(max_rate=0.001)
    async with Network.opened() as network, serve(Sandbox(["t0"])) as url:
        tenant, stop = Tenant.with_token("t0", f"{url}/t0", "sandbox"), Stop()
        client = ManagementClient(tenant, Limiter(limits), network, stop, 8)
        await client.read(hooks.list_hooks(0))

        async def ask_to_stop() -> None:
            await anyio.sleep(0.05)
            stop.ask()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_to_stop)
            with pytest.raises(Stopped):
                await client.read(hooks.list_hooks(0))


async def test_all_nine_calls_do_what_they_say() -> None:
    sandbox = Sandbox(["t0"], hooks=2)
    async with serve(sandbox) as url, client_of(f"{url}/t0") as client:
        listed = await client.read(hooks.list_hooks(0))
        assert listed["total"] == 2
        new = {"name": "new", "script": "1", "triggerId": "send-phone-message"}
        id = (await client.write(hooks.create_hook(new), no_mark))["id"]
        assert (await client.read(hooks.get_hook(id)))["script"] == "1"
        await client.write(hooks.update_hook(id, {"name": "newer"}), no_mark)
        await client.write(hooks.create_secrets(id, {"A": "1", "B": "2"}), no_mark)
        await client.write(hooks.update_secrets(id, {"A": "3"}), no_mark)
        await client.write(hooks.delete_secrets(id, ["B"]), no_mark)
        assert (await client.read(hooks.get_secrets(id))).keys() == {"A"}
        await client.write(hooks.delete_hook(id), no_mark)
        assert len(sandbox.hooks_of("t0")) == 2


async def test_one_token_is_fetched_however_many_ask_and_renewed_once_when_refused() -> None:
    asked = Counter[str]()

    def count(request: Request) -> None:
        asked[request.path] += 1

    sandbox = Sandbox(["t0"], fault=count)
    async with serve(sandbox) as url:
        credential = ClientSecret(client_id=Given("id"), client_secret=Given("secret"))
        tenant = Tenant(name="t0", base_url=f"{url}/t0", credential=credential)
        async with client_of("", tenant=tenant) as client:
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(client.read, hooks.list_hooks(0))
            assert asked["/oauth/token"] == 1
            sandbox._tenants["t0"].issuer._ends.clear()
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(client.read, hooks.list_hooks(0))
            assert asked["/oauth/token"] == 2


async def test_a_client_that_a_stop_does_not_end_has_the_same_token() -> None:
    async with raw_server(lambda line: http(200, b'{"access_token": "t"}')) as (url, asked):
        credential = ClientSecret(client_id=Given("id"), client_secret=Given("secret"))
        tenant = Tenant(name="t0", base_url=url, credential=credential)
        async with client_of("", tenant=tenant) as client:
            await client.until(Stop()).read(GET)
            await client.read(GET)
        assert asked == {"POST": 1, "GET": 2}


@pytest.mark.parametrize("answer", [http(401, b'{"error": "access_denied"}'), http(200, b"OK")])
async def test_a_refused_client_stops_the_tenant(answer: bytes) -> None:
    async with raw_server(lambda line: answer) as (url, asked):
        credential = ClientSecret(client_id=Given("id"), client_secret=Given("secret"))
        tenant = Tenant(name="t0", base_url=url, credential=credential)
        async with client_of("", tenant=tenant) as client:
            with pytest.raises(TenantError, match="no token: the tenant answered"):
                await client.read(LIST)
        assert asked == {"POST": 1}


@pytest.mark.parametrize("written", ["env:NOT_THERE", "file:not-there", "cmd:false"])
async def test_a_credential_that_cannot_be_had_stops_the_tenant(
    tmp_path: Path, written: str
) -> None:
    credential = StaticToken(token=Reference.parse(written, tmp_path))
    tenant = Tenant(name="t0", base_url="https://t0.example", credential=credential)
    async with client_of("", tenant=tenant) as client:
        with pytest.raises(TenantError) as caught:
            await client.read(LIST)
    assert caught.value.cause == "no credential"
    assert caught.value.hint
