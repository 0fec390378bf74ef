"""The client of the Management API: one tenant's requests, ring by ring.

    read  -> repeated where that is safe -> authorised -> paced -> sent once
    write ->                                authorised -> paced -> sent once

What an answer means is decided here and nowhere else: a value, or an error of `errors.py` that
says how far the damage reaches. Nothing below repeats or redirects a request.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from typing import Any, Final, NoReturn, Protocol

import aiohttp
import anyio
import backoff
import msgspec
import orjson

from .errors import Gone, ItemError, NoValue, TenantError, Unsure
from .gates import Deadlines, Gate, Stop
from .items import Call
from .pacing import Limiter, Turn
from .references import Reference
from .tenants import ClientKey, ClientSecret, Given, StaticToken, Tenant

#: A code that a server gives an error: one plain word.
_CODE: Final = re.compile(r"[a-z_]{1,40}\Z")
#: Requests in flight on one tenant, unless it says otherwise.
CONCURRENCY: Final = 8
#: Requests in flight over all tenants, token requests aside. A thousand buckets at 2 a second need
#: 300 where an answer takes 0.15 s, and more for as long as their first tokens last.
IN_FLIGHT: Final = 1024
#: Seconds to connect, and for a whole request.
_CONNECT, _WHOLE = 10.0, 30.0
#: Times that something safe to repeat is tried, and seconds that a 429 may hold one request up.
TRIES, _HELD_UP = 5, 300.0
#: Seconds of a token's life that are left when it is renewed.
_RENEW: Final = 300.0

_MOVE = "hooks have reached their end of life; move this tenant's hooks to Actions"


def loop_time() -> float:
    """The clock of all durations: the loop's, in seconds."""
    return asyncio.get_running_loop().time()


class NotSent(ItemError):
    """No connection came about: the server has seen nothing of the request."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for one request."""

    status: int
    body: bytes


class Sender(Protocol):
    """What carries requests: sockets, or in tests the sandbox's core."""

    gate: Gate  #: to all requests in flight, token requests aside

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        """Send one request once, and read its whole answer; answers its headers too.

        Raises NotSent when no connection came about, Unsure when it broke later.
        """


class Network:
    """The connections of one run, shared by all tenants' clients."""

    def __init__(self, session: aiohttp.ClientSession, in_flight: int, whole: float) -> None:
        self._session = session
        self._deadlines = Deadlines(whole)
        self.gate = Gate(in_flight)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, in_flight: int = IN_FLIGHT, whole: float = _WHOLE
    ) -> AsyncIterator[Network]:
        """Connections for at most `in_flight` requests at once; each has `whole` seconds."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
        # Lanes bound their own requests and the gate all of them; aiohttp's limit by host would
        # throw tenants that share an address together.
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, ttl_dns_cache=300)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            # aiohttp sends GET and DELETE again by itself when a kept connection was cut, and has
            # no public switch for it. tests/test_auth0.py counts requests at the server.
            session._retry_connection = False
            yield cls(session, in_flight, whole)

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        """As `Sender` promises."""
        task = asyncio.current_task()
        assert task is not None
        group = self._deadlines.begin(task)
        try:
            response = await self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            )
            content = await response.read()
            return Reply(status=response.status, body=content), response.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"cannot connect: {_why(error)}") from error
        except aiohttp.InvalidURL as error:
            raise NotSent(f"not an address: {url}") from error
        except asyncio.CancelledError as error:
            if self._deadlines.missed(task):
                raise Unsure(f"no answer within {self._deadlines.seconds:.0f} s") from error
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise Unsure(f"the line was cut before the answer: {_why(error)}") from error
        finally:
            self._deadlines.end(task, group)


class _Held:
    """What a tenant's clients have in common: the token, and what one of them waits for."""

    def __init__(self) -> None:
        self.token, self.token_ends, self.lock = "", 0.0, asyncio.Lock()
        self.waiting: tuple[str, float] | None = None


class ManagementClient:
    """One tenant's requests, each through the tenant's limiter.

    At most `concurrency` are in flight at once. `jitter` spreads the waits
    between tries (backoff's full jitter unless a test says otherwise).
    """

    def __init__(
        self,
        tenant: Tenant,
        limiter: Limiter,
        network: Sender,
        stop: Stop,
        concurrency: int,
        jitter: Callable[[float], float] = backoff.full_jitter,
    ) -> None:
        self.tenant, self.limiter = tenant, limiter
        self._network, self._stop, self._jitter = network, stop, jitter
        self._gate = Gate(concurrency)
        self._base = f"{tenant.base_url}/api/v2"
        self._held = _Held()

    @property
    def waiting(self) -> tuple[str, float] | None:
        """For what a broken request waits, and until when on the loop's clock."""
        return self._held.waiting

    def until(self, stop: Stop) -> ManagementClient:
        """The same client, with the same token and limiter, ended by another stop."""
        other = copy(self)
        other._stop = stop
        return other

    async def sleep(self, seconds: float) -> None:
        """Wait, until its stop at most. Raises Stopped."""
        await self._stop.sleep(seconds)

    async def read(self, call: Call) -> Any:
        """The parsed answer to a call that changes nothing; tried up to 5 times.

        Raises ItemError or TenantError; Unsure when every try broke.
        """
        return await self._again(lambda: self._authorised(call, None))

    async def write(self, call: Call, before_sending: Callable[[], Awaitable[None]]) -> Any:
        """The parsed answer to a call that is sent at most once for each turn of the limiter.

        `before_sending` is awaited when the turn has come. Only what the server has surely not
        seen (no connection) or refused unseen (429) is sent again. Raises ItemError when the
        server refused it, Unsure when it may have been carried out, TenantError, Stopped.
        """
        return await self._again(lambda: self._authorised(call, before_sending), NotSent)

    async def _again(
        self, ask: Callable[[], Awaitable[Any]], repeatable: type[ItemError] = ItemError
    ) -> Any:
        """Ask up to 5 times while what went wrong may be asked again."""
        for tries in range(1, TRIES + 1):
            try:
                return await ask()
            except (NotSent, Unsure) as error:
                if not isinstance(error, repeatable):
                    raise
                if tries == TRIES and isinstance(error, NotSent):
                    hint = "check the tenant's address and the network, then apply --failed"
                    raise TenantError(error.cause, hint) from error
                if tries == TRIES:
                    raise
                wait = self._jitter(0.25 * 2**tries)
                self._held.waiting = f"to try again: {error.cause}", loop_time() + wait
            await self._stop.sleep(wait)
            self._held.waiting = None
        raise AssertionError("the last try answers or raises")

    async def _authorised(
        self, call: Call, before_sending: Callable[[], Awaitable[None]] | None
    ) -> Any:
        reply = await self._paced(call, await self._bearer(), before_sending)
        if reply.status == 401 and isinstance(self.tenant.credential, ClientSecret):
            self._held.token_ends = 0.0
            reply = await self._paced(call, await self._bearer(), before_sending)
        return self._value(call, reply)

    async def _paced(
        self, call: Call, token: str, before_sending: Callable[[], Awaitable[None]] | None
    ) -> Reply:
        """Send at the limiter's pace; a 429 pauses the lane and is no try, and has an end."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        give_up = math.inf
        gate = self._network.gate
        while True:
            turn = await self._turn()
            try:
                await gate.enter(self._stop)
                try:
                    # Made no sooner: orjson's bytes keep 4 kB each, and many wait for a turn.
                    body = None if call.body is None else orjson.dumps(call.body)
                    if before_sending is not None:
                        await before_sending()
                    reply, seen = await self._network.send(
                        call.method, self._base + call.path, headers, body
                    )
                finally:
                    gate.leave()
            except BaseException:
                turn.lost()
                raise
            finally:
                self._gate.leave()
            turn.answered(reply.status, seen)
            if reply.status != 429:
                return reply
            give_up = min(give_up, loop_time() + _HELD_UP)
            if loop_time() >= give_up:
                raise TenantError(
                    "others use the limit",
                    f"nothing but 429 for {_HELD_UP:.0f} s; apply --failed at a quieter time",
                )

    async def _turn(self) -> Turn:
        """A place among the lane's requests in flight, and then the limiter's turn."""
        await self._gate.enter(self._stop)
        try:
            turn = self.limiter.turn_now()
            if turn is None:
                with self._stop.ends():
                    turn = await self.limiter.turn()
        except BaseException:
            self._gate.leave()
            raise
        return turn

    async def _bearer(self) -> str:
        credential = self.tenant.credential
        if loop_time() < self._held.token_ends:
            return self._held.token
        async with self._held.lock:
            if loop_time() >= self._held.token_ends:
                if isinstance(credential, StaticToken):
                    self._held.token = await _resolved(credential.token)
                    self._held.token_ends = math.inf
                else:
                    try:
                        await self._again(lambda: self._fetch_token(credential))
                    except Unsure as error:
                        raise TenantError(error.cause, "apply --failed later") from error
        return self._held.token

    async def _fetch_token(self, credential: ClientSecret | ClientKey) -> None:
        """A token by client credentials (https://auth0.com/docs/get-started/authentication-and-
        authorization-flow/client-credentials-flow)."""
        assert isinstance(credential, ClientSecret)
        body = {
            "grant_type": "client_credentials",
            "client_id": await _resolved(credential.client_id),
            "client_secret": await _resolved(credential.client_secret),
            "audience": credential.audience or f"{self.tenant.base_url}/api/v2/",
        }
        url, headers = f"{self.tenant.base_url}/oauth/token", {"Content-Type": "application/json"}
        reply, _ = await self._network.send("POST", url, headers, orjson.dumps(body))
        if reply.status == 429 or reply.status >= 500:
            raise Unsure(f"no token: the tenant answered {reply.status}")
        answer = _parsed(reply.body)
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if reply.status != 200 or not isinstance(token, str) or not token.isprintable():
            raise TenantError(
                f"no token: the tenant answered {reply.status}",
                "check client_id, client_secret and audience in the tenants file",
            )
        life = answer.get("expires_in")
        life = float(life) if isinstance(life, int | float) and life > 0 else 86400.0
        self._held.token = token
        self._held.token_ends = loop_time() + life - min(_RENEW, life / 5)

    # ---- what an answer means

    def _value(self, call: Call, reply: Reply) -> Any:
        if 200 <= reply.status < 300:
            value = _parsed(reply.body)
            if value is None and call.method == "GET":
                raise ItemError(
                    "the answer is not JSON", "look at what stands between here and the tenant"
                )
            return value
        self._refuse(call, reply)

    def _refuse(self, call: Call, reply: Reply) -> NoReturn:
        answer = _parsed(reply.body)
        said = answer if isinstance(answer, dict) else {}
        message = self._told(said.get("message") or said.get("error"))
        if call.secret:  # what it says may hold the values, however twisted
            code = str(said.get("errorCode", ""))
            message = code if _CODE.match(code) else ""
        cause = f"{reply.status} {message}".strip()
        match reply.status:
            case 401:
                raise TenantError(cause, "the token is refused; give this tenant a valid one")
            case 403:
                self._forbid(call, cause, f"{said.get('errorCode')} {message}".lower())
            case 404 | 410 | 501 if call.whole:
                raise TenantError(cause, f"no hooks here: either base_url is wrong, or {_MOVE}")
            case 404 | 410:
                raise Gone(cause, "the hook was deleted; take its edit out of the job")
            case status if 300 <= status < 400:
                raise TenantError(cause, "the address redirects; correct domain or base_url")
            case status if status >= 500 or status == 408:
                raise Unsure(cause)
            case _:
                raise ItemError(cause, "correct the edit" if reply.status == 400 else "")

    @staticmethod
    def _forbid(call: Call, cause: str, said: str) -> NoReturn:
        if "scope" in said:
            raise TenantError(cause, f"grant {call.scope} to this tenant's client")
        if "deprecated feature" in said or "disabled for your tenant" in said:
            raise TenantError(cause, _MOVE)
        raise TenantError(cause, "this tenant's client may not do that")

    def _told(self, message: object) -> str:
        """The server's message, fit to be shown and kept: bounded, and without our token."""
        text = message if isinstance(message, str) else ""
        if self._held.token:
            text = text.replace(self._held.token, "***")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


async def with_values(call: Call, value_of: Callable[[str], str]) -> Call:
    """A call that sets secrets, with the values that its body refers to. Raises ItemError."""
    assert isinstance(call.body, dict)
    values = {
        name: await anyio.to_thread.run_sync(value_of, reference)
        for name, reference in call.body.items()
    }
    return msgspec.structs.replace(call, body=values)


async def _resolved(credential: Reference | Given) -> str:
    """A credential; what may take its time to give one does so in a thread."""
    try:
        if isinstance(credential, Reference) and credential.kind != "env":
            return await anyio.to_thread.run_sync(credential.resolve)
        return credential.resolve()
    except NoValue as error:
        raise TenantError("no credential", error.hint) from None


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _why(error: BaseException) -> str:
    cause = getattr(error, "os_error", None) or error
    return getattr(cause, "strerror", None) or str(cause) or type(error).__name__
