"""Tokens: one a tenant, asked for at a pace of its own, and what it tells of itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bulkhooks import Limits, Tenant, hooks
from bulkhooks.auth0 import ManagementClient, loop_time
from bulkhooks.errors import TenantError, Unsure
from bulkhooks.gates import Gate, Stop
from bulkhooks.items import Reply
from bulkhooks.network import Network
from bulkhooks.pacing import Limiter
from bulkhooks.references import Reference
from bulkhooks.sandbox import Request, Sandbox, serve
from bulkhooks.tenants import ClientKey, ClientSecret, Given, StaticToken
from bulkhooks.tokens import granted, handed
from raw import http, raw_server
from virtual import VirtualTimeLoop

SECRET = ClientSecret(client_id=Given("me"), client_secret=Given("secret"))
LIST = hooks.list_hooks(0)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A key to sign with."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey, password: bytes = b"") -> str:
    """A private key as text."""
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


def public(key: rsa.RSAPrivateKey) -> str:
    """Its public half."""
    own = key.public_key()
    return own.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@asynccontextmanager
async def client_of(tenant: Tenant) -> AsyncIterator[ManagementClient]:
    async with Network.opened() as network:
        yield ManagementClient(
            *(tenant, Limiter(Limits()), network, Stop(), 8), jitter=lambda wait: 0.0
        )


def at(url: str, credential: Any = SECRET, **more: Any) -> Tenant:
    return Tenant(name="t0", base_url=f"{url}/t0", credential=credential, **more)


# ---- signed by a key


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "PS256"])
async def test_a_client_may_sign_for_its_token(
    key: rsa.RSAPrivateKey, tmp_path: Path, algorithm: Literal["RS256", "RS384", "PS256"]
) -> None:
    (tmp_path / "key.pem").write_text(pem(key))
    credential = ClientKey(
        client_id=Given("me"),
        private_key=Reference.parse("file:key.pem", tmp_path),
        algorithm=algorithm,
        kid="k1",
    )
    bodies = []

    def keep(request: Request) -> None:
        if request.path == "/oauth/token":
            bodies.append(orjson.loads(request.body))

    sandbox = Sandbox(["t0"], public_keys={"t0": public(key)}, fault=keep)
    async with serve(sandbox) as url, client_of(at(url, credential)) as client:
        assert (await client.read(LIST))["total"] == 25
        assert (await client.grant()).client == "me"
    [body] = bodies
    assert jwt.get_unverified_header(body["client_assertion"])["alg"] == algorithm
    assert jwt.get_unverified_header(body["client_assertion"])["kid"] == "k1"
    claims = jwt.decode(body["client_assertion"], options={"verify_signature": False})
    assert claims["iss"] == claims["sub"] == "me"
    assert claims["aud"] == f"{url}/t0/"
    assert 0 < claims["exp"] - time.time() <= 60
    assert "client_secret" not in body


async def test_every_assertion_is_another(key: rsa.RSAPrivateKey) -> None:
    credential = ClientKey(client_id=Given("me"), private_key=Given(pem(key)))
    sandbox = Sandbox(["t0"], public_keys={"t0": public(key)}, token_lifetime=0)
    async with serve(sandbox) as url, client_of(at(url, credential)) as client:
        with pytest.raises(TenantError, match="401"):  # no token lives
            await client.read(LIST)
    asked = [seen for seen in sandbox.log if seen.path == "/oauth/token"]
    assert len(asked) == 2
    assert all(seen.status == 200 for seen in asked)


@pytest.mark.parametrize("kind", ["no key", "with a password", "of another kind"])
async def test_a_key_that_cannot_sign_stops_the_tenant_and_is_not_shown(
    key: rsa.RSAPrivateKey, kind: str
) -> None:
    text = {"no key": "-----BEGIN PRIVATE KEY-----\nabcMARKER\n", "of another kind": "MARKER"}
    written = text.get(kind) or pem(key, b"word")
    credential = ClientKey(client_id=Given("me"), private_key=Given(written))
    async with client_of(at("http://127.0.0.1:1", credential)) as client:
        with pytest.raises(TenantError, match="RSA key in PEM, without a password") as told:
            await client.read(LIST)
    assert "MARKER" not in str(told.value)
    assert told.value.__cause__ is None


# ---- one token, for as long as it is good


def test_a_token_is_renewed_when_a_fifth_of_its_life_is_left() -> None:
    asked = Counter[str]()

    class Answers:
        gate = Gate(9)

        def way_to(self, tenant: Tenant) -> Answers:
            return self

        async def send(self, method: str, url: str, *rest: Any) -> Any:
            asked[method] += 1
            body = {"access_token": f"t{asked['POST']}", "expires_in": 100, "hooks": []}
            return Reply(status=200, body=orjson.dumps(body)), {}

    async def main() -> None:
        client = ManagementClient(at("http://x"), Limiter(Limits()), Answers(), Stop(), 8)
        await client.read(LIST)
        await anyio.sleep(79)
        await client.read(LIST)
        assert asked["POST"] == 1
        await anyio.sleep(2)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(client.read, LIST)
        assert asked["POST"] == 2
        assert (await client.grant()).token == "t2"

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def test_a_given_token_that_is_refused_is_read_again_once(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    credential = StaticToken(token=Reference.parse("file:token", tmp_path))
    sandbox = Sandbox(["t0"], tokens=("new",))
    async with serve(sandbox) as url, client_of(at(url, credential)) as client:
        with pytest.raises(TenantError, match="401"):
            await client.read(LIST)
        assert len(sandbox.log) == 1
        (tmp_path / "token").write_text("new")
        assert (await client.read(LIST))["total"] == 25


# ---- how it is asked for


@pytest.mark.parametrize("kind", ["static", "fetched"])
async def test_fixed_headers_go_with_every_request(kind: str, tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("hidden-word")
    headers: dict[str, Reference | Given] = {
        "X-Via": Given("us"),
        "X-Pass": Reference.parse("file:pass", tmp_path),
    }
    seen: list[str] = []
    body = b'{"access_token": "t", "message": "hidden-word via us"}'
    answers = iter([*[http(200, body)] * (kind == "fetched"), http(400, body)])
    async with raw_server(lambda line: next(answers), heads=seen) as (url, asked):
        credential = SECRET if kind == "fetched" else StaticToken(token=Given("t"))
        tenant = Tenant(name="t0", base_url=url, credential=credential, headers=headers)
        async with client_of(tenant) as client:
            with pytest.raises(Exception, match=r"400 \*\*\* via us"):
                await client.read(LIST)
        assert seen.count("X-Via: us") == seen.count("X-Pass: hidden-word") == asked.total()


async def test_requests_for_tokens_have_a_pace_and_waits_of_their_own() -> None:
    answers = iter([429, 500, 200])

    def answer(line: str) -> bytes:
        status = next(answers) if "/oauth/token" in line else 200
        return http(status, b'{"access_token": "t", "hooks": []}', "Retry-After: 0\r\n")

    async with raw_server(answer) as (url, asked):
        async with client_of(Tenant(name="t0", base_url=url, credential=SECRET)) as client:
            await client.read(LIST)
            assert client.limiter.statistics().throttled == 0
            assert client.limiter.statistics().requests == 1
        assert asked == {"POST": 3, "GET": 1}


def test_a_token_endpoint_that_knows_nothing_but_429_ends_the_lane_in_5_minutes() -> None:
    class Busy:
        gate = Gate(9)

        def way_to(self, tenant: Tenant) -> Busy:
            return self

        async def send(self, *words: Any) -> Any:
            return Reply(status=429, body=b""), {"retry-after": "31536000"}

    async def main() -> float:
        client = ManagementClient(at("http://x"), Limiter(Limits()), Busy(), Stop(), 8)
        with pytest.raises(TenantError, match="others use the limit"):
            await client.read(LIST)
        return loop_time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        began = runner.run(now())
        assert 300 <= runner.run(main()) - began <= 700


async def now() -> float:
    return loop_time()


# ---- what it tells


def token(**claims: Any) -> str:
    """A JWT that nobody will check."""
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


async def told(text: str) -> Any:
    return await handed(StaticToken(token=Given(text)))


async def test_a_token_tells_client_scopes_and_life() -> None:
    grant = await told(token(azp="me", scope="read:hooks update:hooks", exp=time.time() + 90))
    assert grant.client == "me"
    assert grant.scopes == {"read:hooks", "update:hooks"}
    assert 80 < grant.life <= 90


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b.c",
        "..",
        "eyJhbGciOiJub25lIn0.W10.x",
        token(azp=7, scope=["x"], exp="soon"),
        token(azp="a\nb", scope=None),
    ],
)
async def test_a_token_that_tells_nothing_is_good_all_the_same(text: str) -> None:
    grant = await told(text)
    assert grant.token == text
    assert (grant.client, grant.scopes, grant.life) == ("", None, float("inf"))
    assert text not in repr(grant)


@pytest.mark.parametrize("text", ["two words", "a\u00e9", "x" * 20_001, "a\x07b"])
async def test_what_cannot_be_a_token_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(TenantError) as refused:
        await told(text)
    assert text not in str(refused.value)


def test_a_new_token_lasts_by_the_clock_of_its_tenant() -> None:
    there = time.time() - 1e6
    body = {"access_token": token(iat=there, exp=there + 60)}
    assert (
        granted(
            at("https://x"), {"client_id": "me"}, Reply(status=200, body=orjson.dumps(body))
        ).life
        == 60
    )


@pytest.mark.parametrize(
    ("body", "life", "scopes"),
    [
        ({"expires_in": 600, "scope": "a b"}, 600, {"a", "b"}),
        ({"expires_in": "long"}, 86_400, None),
        ({"expires_in": -1, "scope": 7}, 86_400, None),
        ({"expires_in": True}, 86_400, None),
    ],
)
def test_an_answer_may_tell_life_and_scopes(
    body: dict[str, Any], life: float, scopes: set[str] | None
) -> None:
    reply = Reply(status=200, body=orjson.dumps({"access_token": "t"} | body))
    grant = granted(at("https://x"), {"client_id": "me"}, reply)
    assert (grant.life, grant.scopes) == (life, scopes)


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, b'{"error": "invalid_client"}', TenantError, "401 invalid_client: check client_id"),
        (403, b'{"error": "sEcReT echoed"}', TenantError, "answered 403: check"),
        (200, b"<html>", TenantError, "answered 200"),
        (200, b'{"access_token": "a b"}', TenantError, "answered 200"),
        (200, b'{"access_token": ["a"]}', TenantError, "answered 200"),
        (302, b"", TenantError, "answered 302"),
        (500, b"<html>", Unsure, "answered 500"),
        (408, b"", Unsure, "answered 408"),
    ],
)
def test_what_is_no_token_is_told_without_what_was_sent(
    status: int, body: bytes, error: type[TenantError | Unsure], words: str
) -> None:
    with pytest.raises(error, match=words) as refused:
        granted(at("https://x"), {"client_id": "me"}, Reply(status=status, body=body))
    assert "sEcReT" not in str(refused.value)


def test_a_token_that_ends_while_a_request_waits_for_its_turn_is_not_sent() -> None:
    sent: list[tuple[float, str]] = []

    class Answers:
        gate = Gate(9)

        def way_to(self, tenant: Tenant) -> Answers:
            return self

        async def send(self, method: str, url: str, headers: dict[str, str], *rest: Any) -> Any:
            if method == "POST":
                body = {"access_token": f"until-{loop_time() + 5}", "expires_in": 5}
                return Reply(status=200, body=orjson.dumps(body)), {}
            until = float(headers["Authorization"].removeprefix("Bearer until-"))
            sent.append((loop_time(), headers["Authorization"]))
            return Reply(status=200 if loop_time() < until else 401, body=b'{"hooks": []}'), {}

    async def main() -> None:
        limiter = Limiter(Limits(max_rate=0.5))
        client = ManagementClient(at("http://x"), limiter, Answers(), Stop(), 8)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(client.read, LIST)
        assert len(sent) == 20

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


def test_all_who_wait_for_a_token_learn_at_once_that_there_is_none() -> None:
    class Dead:
        gate = Gate(9)
        asked = 0

        def way_to(self, tenant: Tenant) -> Dead:
            return self

        async def send(self, *words: Any) -> Any:
            self.asked += 1
            await anyio.sleep(30)
            raise Unsure("no answer within 30 s")

    async def main() -> int:
        network = Dead()
        client = ManagementClient(at("http://x"), Limiter(Limits()), network, Stop(), 8)

        async def ask() -> None:
            with pytest.raises(TenantError, match="no answer"):
                await client.read(LIST)

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(ask)
        return network.asked

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main()) == 5


async def read_list(tenant: Tenant, secret: str = "") -> None:
    """A list, read after a secret was fetched."""
    async with client_of(tenant) as client:
        call = hooks.create_secrets("A", {"K": "env:X"})
        await client.with_values(call, lambda reference: secret)
        await client.read(LIST)


async def test_a_client_is_named_where_its_token_does_not_name_it() -> None:
    answers = iter([http(200, b'{"access_token": "opaque"}'), http(403, b'{"message": "scope"}')])
    async with raw_server(lambda line: next(answers)) as (url, _):
        with pytest.raises(TenantError, match="grant read:hooks to client me"):
            await read_list(Tenant(name="t0", base_url=url, credential=SECRET))


async def test_what_was_sent_before_is_not_shown_when_it_comes_again() -> None:
    secret = ClientSecret(client_id=Given("me"), client_secret=Given("hidden-word-1"))
    said = b'{"access_token": "t", "message": "hidden-word-1 and hidden-word-2"}'
    answers = iter([http(200, said), http(400, said)])
    async with raw_server(lambda line: next(answers)) as (url, _):
        with pytest.raises(Exception, match=r"400 \*\*\* and \*\*\*"):
            await read_list(Tenant(name="t0", base_url=url, credential=secret), "hidden-word-2")
