"""The client of the Management API: one tenant's requests, ring by ring.

read  -> repeated where that is safe -> authorised -> paced -> sent once
write ->                                authorised -> paced -> sent once
token -> repeated                                  -> paced -> sent once
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from copy import copy
from itertools import count
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import anyio
import anyio.to_thread
import backoff
import msgspec
import orjson

from . import answers, tokens
from .errors import BulkhooksError, ItemError, TenantError, Unsure
from .gates import Gate, Stop
from .items import Call, Fields, Item, Reply
from .network import Carrier, Network, NotSent
from .pacing import Limiter, Limits, Turn
from .tenants import StaticToken, Tenant
from .tokens import Grant

#: Requests in flight on one tenant, unless it says otherwise.
CONCURRENCY: Final = 8
#: Times that something safe to repeat is tried, and seconds that this, or 429s, may take.
TRIES, HELD_UP = 5, 300.0
#: Tokens that a request is tried with: whatever ended one may end the next, which is in use by
#: other requests as well.
_TOKENS_TRIED: Final = 3
#: Requests for tokens that one tenant gets a second, at most: its endpoint has a limit of its own.
_TOKENS: Final = 1.0
_TOKEN_PATH: Final = "/oauth/token"
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_JSON: Final = {"Content-Type": "application/json"}


def loop_time() -> float:
    """The clock of all durations: the loop's, in seconds."""
    return asyncio.get_running_loop().time()


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what came of it, as a log tells it. No body and no header is in it."""

    time: float  #: when it was sent, Unix seconds
    tenant: str
    item: str | None  #: what it was sent for, where that is one item
    method: str
    path: str  #: below the base URL
    status: int | None  #: None: no answer
    tries: int
    waited: float  #: seconds for its turn
    remaining: int | None  #: requests left in the tenant's bucket, as the answer told
    error: str | None = None  #: why there was no answer


_T = TypeVar("_T")

#: Runs beside work on many tenants, and is given the names of those that are not done yet.
WatchTenants: TypeAlias = Callable[[Collection[str]], Coroutine[Any, Any, None]]
#: Is told of every request.
Log: TypeAlias = Callable[[Exchange], None]
#: Asks once; is told which try it is.
_Ask: TypeAlias = Callable[[int], Awaitable[Any]]
#: Is awaited when a write's turn has come.
_BeforeSending: TypeAlias = Callable[[], Awaitable[None]] | None


class _Head:
    """What heads a tenant's requests: of a call with its token, made once for all of them."""

    def __init__(self, fixed: dict[str, str], grant: Grant | None = None) -> None:
        self.grant = grant
        own = {"Authorization": f"Bearer {grant.token}"} if grant else {}
        self.plain = own | {"Accept": "application/json"} | fixed
        self.json = self.plain | _JSON


class _Session:
    """What a tenant's clients have in common: its token, and what one of them waits for."""

    def __init__(self) -> None:
        self.grant: Grant | None = None
        self.head: _Head | None = None
        self.renew_at = -math.inf
        self.headers: dict[str, str] = {}
        #: What has been sent to the tenant, and must not be shown when it says it again.
        self.hidden: set[str] = set()
        self.lock = asyncio.Lock()
        self.proven = ""  #: the last token that a request was served with
        self.failed: TenantError | None = None  #: why the last try to get a token did
        self.limiter = Limiter(Limits(reserve=0, max_rate=_TOKENS))
        self.waiting: tuple[str, float] | None = None


class ManagementClient:
    """One tenant's requests, each through the tenant's limiter.

    At most `concurrency` are in flight at once. `jitter` spreads the waits between tries (backoff's
    full jitter unless a test says otherwise). `log` is told of every request.
    """

    def __init__(
        self,
        tenant: Tenant,
        limiter: Limiter,
        network: Carrier,
        stop: Stop,
        concurrency: int,
        *,
        log: Log | None = None,
        jitter: Callable[[float], float] = backoff.full_jitter,
    ) -> None:
        self.tenant, self.limiter = tenant, limiter
        self._way, self._everyone = network.way_to(tenant), network.gate
        self.stop, self._log, self._jitter = stop, log, jitter
        self._gate = Gate(concurrency)
        self._time = asyncio.get_running_loop().time
        self._session = _Session()
        self._item: str | None = None

    @property
    def waiting(self) -> tuple[str, float] | None:
        """For what a broken request waits, and until when on the loop's clock."""
        turn = self._session.limiter.waiting  # its pace is nothing that a person has set
        return self._session.waiting or (("for a token", turn[1]) if turn else None)

    @property
    def logged(self) -> bool:
        """Whether somebody is told of its requests."""
        return self._log is not None

    def until(self, stop: Stop) -> ManagementClient:
        """The same client, with the same token and limiter, ended by another stop."""
        other = copy(self)
        other.stop = stop
        return other

    def sending_for(self, item: Item) -> ManagementClient:
        """The same client, whose requests the log tells to be for `item`."""
        if self._log is None:
            return self
        other = copy(self)
        other._item = item.name
        return other

    async def sleep(self, seconds: float) -> None:
        """Wait, until its stop at most. Raises Stopped."""
        await self.stop.sleep(seconds)

    def read(self, call: Call) -> Coroutine[Any, Any, Any]:
        """The parsed answer to a call that changes nothing; tried up to 5 times, for 5 minutes.

        Raises ItemError or TenantError; Unsure when every try broke.
        """
        return self._again(lambda tries: self._authorised(call, None, tries))

    def write(
        self, call: Call, before_sending: Callable[[], Awaitable[None]]
    ) -> Coroutine[Any, Any, Any]:
        """The parsed answer to a call that is sent at most once for each turn of the limiter.

        `before_sending` is awaited when the turn has come. Only what the server has surely not
        seen (no connection) or refused unseen (429) is sent again. Raises ItemError when the
        server refused it, Unsure when it may have been carried out, TenantError, Stopped.
        """
        return self._again(lambda tries: self._authorised(call, before_sending, tries), NotSent)

    async def grant(self) -> Grant:
        """The token that requests carry now, fetched if there is none or it is about to end.

        Raises TenantError when there is none to be had, Stopped.
        """
        session = self._session
        if not self._granted:
            await self._renew(lambda: not self._granted)
        assert session.grant is not None
        return session.grant

    @property
    def _granted(self) -> bool:
        """Whether there is a token, and it is not about to end."""
        return self._session.head is not None and self._time() < self._session.renew_at

    # ---- ring by ring

    async def _again(self, ask: _Ask, repeatable: type[ItemError] = ItemError) -> Any:
        """Ask up to 5 times, for 5 minutes from the first that broke, while that may help."""
        until = math.inf
        for tries in range(1, TRIES + 1):
            try:
                return await ask(tries)
            except (NotSent, Unsure) as error:
                if not isinstance(error, repeatable):
                    raise
                wait, until = self._jitter(0.25 * 2**tries), min(until, self._time() + HELD_UP)
                last = tries == TRIES or self._time() + wait >= until
                if last and isinstance(error, NotSent):
                    hint = "check the tenant's address and the network, then apply --failed"
                    raise TenantError(error.cause, hint) from error
                if last:
                    raise
                self._session.waiting = f"to try again: {error.cause}", self._time() + wait
            try:
                await self.stop.sleep(wait)
            finally:
                self._session.waiting = None
        raise AssertionError("the last try answers or raises")

    async def _authorised(self, call: Call, before_sending: _BeforeSending, tries: int) -> Any:
        session = self._session
        for token in count(1):
            if not self._granted:
                await self.grant()
            await self._gate.enter(self.stop)
            try:
                # The token may end while the call waits for its turn.
                reply, head = await self._paced(
                    *(self.limiter, call.method, f"/api/v2{call.path}", self._head, call.body),
                    before_sending=before_sending,
                    tries=tries,
                )
            finally:
                self._gate.leave()
            grant = head.grant
            assert grant is not None
            if reply.status != 401:
                session.proven = grant.token
            # A new token that was never good will not be better than the next one.
            again = reply.status == 401 and (token == 1 or session.proven == grant.token)
            if not (again and token < _TOKENS_TRIED and await self._replaced(grant)):
                hidden = (grant.token, *session.hidden)
                return answers.value(call, reply, client=grant.whose, hidden=hidden)
        raise AssertionError("the last token ends")

    async def _head(self) -> _Head:
        """The headers of a call that is sent now."""
        if not self._granted:
            await self.grant()
        assert self._session.head is not None
        return self._session.head

    async def _paced(
        self,
        limiter: Limiter,
        method: str,
        path: str,
        heading: Callable[[], Awaitable[_Head]],
        body: Fields | list[str] | None,
        *,
        before_sending: _BeforeSending = None,
        tries: int,
    ) -> tuple[Reply, _Head]:
        """Send at a limiter's pace; a 429 pauses the lane and is no try, and has an end."""
        give_up = math.inf
        while True:
            asked = self._time()
            turn = await self._turn(limiter)
            sent, reply, seen = None, None, _NO_HEADERS
            try:
                head = await heading()
                await self._everyone.enter(self.stop)
                try:
                    # Made no sooner: orjson's bytes keep 4 kB each, and many wait for a turn.
                    content = None if body is None else orjson.dumps(body)
                    headers = head.plain if body is None else head.json
                    if before_sending is not None:
                        await before_sending()
                    sent = self._time()
                    url = self.tenant.base_url + path
                    reply, seen = await self._way.send(method, url, headers, content)
                finally:
                    self._everyone.leave()
                    if self._log is not None and sent is not None:
                        self._tell(method, path, tries, asked, sent, reply, seen)
            except BaseException:
                turn.lost()
                raise
            turn.answered(reply.status, seen)
            if reply.status != 429:
                return reply, head
            give_up = min(give_up, self._time() + HELD_UP)
            if self._time() >= give_up:
                raise TenantError(
                    "others use the limit",
                    f"nothing but 429 for {HELD_UP:.0f} s; apply --failed at a quieter time",
                )

    async def _turn(self, limiter: Limiter) -> Turn:
        turn = limiter.turn_now()
        if turn is None:
            with self.stop.ends():
                turn = await limiter.turn()
        return turn

    def _tell(
        self,
        method: str,
        path: str,
        tries: int,
        asked: float,
        sent: float,
        reply: Reply | None,
        headers: Mapping[str, str],
    ) -> None:
        assert self._log is not None
        left, broken = headers.get("x-ratelimit-remaining", ""), sys.exc_info()[1]
        self._log(
            Exchange(
                time=time.time() - (self._time() - sent),
                tenant=self.tenant.name,
                item=None if path == _TOKEN_PATH else self._item,
                method=method,
                path=path,
                status=reply.status if reply else None,
                tries=tries,
                waited=round(sent - asked, 3),
                remaining=int(left) if left.isdecimal() and len(left) < 10 else None,
                error=_told(broken) if broken else None,
            )
        )

    # ---- the token

    async def _replaced(self, refused: Grant) -> bool:
        """Whether there is another token in the place of one that was refused."""
        session = self._session
        await self._renew(lambda: session.grant is refused)
        return session.grant is not None and session.grant.token != refused.token

    async def _renew(self, needed: Callable[[], bool]) -> None:
        """Get another token, if it is still `needed` when whoever else got one is done. Raises
        TenantError: of many who wait for one token, all learn that there is none."""
        session = self._session
        failed = session.failed
        with self.stop.ends():  # many may wait for commands that take their time
            async with session.lock:
                if session.failed is not failed and session.failed is not None:
                    raise TenantError(session.failed.cause, session.failed.hint)
                if not needed():
                    return
                try:
                    grant = await self._another()
                except TenantError as error:
                    session.failed = error
                    raise
                session.grant, session.renew_at = grant, self._time() + grant.use
                session.head = _Head(session.headers, grant)
                session.failed = None

    async def _another(self) -> Grant:
        session, credential = self._session, self.tenant.credential
        session.headers, hidden = await tokens.fixed_headers(self.tenant)
        session.hidden |= hidden
        if isinstance(credential, StaticToken):
            return await tokens.handed(credential)
        try:
            found: Grant = await self._again(self._fetched)
        except Unsure as error:
            raise TenantError(error.cause, "apply --failed later") from error
        return found

    async def _fetched(self, tries: int) -> Grant:
        session, body = self._session, await tokens.request(self.tenant)
        session.hidden |= tokens.proof(body)

        async def head() -> _Head:
            return _Head(session.headers)

        reply, _ = await self._paced(session.limiter, "POST", _TOKEN_PATH, head, body, tries=tries)
        return tokens.granted(self.tenant, body, reply)

    async def with_values(self, call: Call, value_of: Callable[[str], str]) -> Call:
        """A call that sets secrets, with the values that its body refers to. Raises ItemError."""
        references = call.secret_values()
        found = [await anyio.to_thread.run_sync(value_of, reference) for reference in references]
        values = dict(zip(references, found, strict=True))
        self._session.hidden |= set(found)
        return call.with_values(values)


def _told(error: BaseException) -> str:
    """What an error says if it is ours; others may quote what was sent."""
    if isinstance(error, asyncio.CancelledError):
        return "nobody waits for it any more"
    return (isinstance(error, BulkhooksError) and str(error)) or type(error).__name__


def without_journal(error: TenantError | ItemError) -> TenantError:
    """What ends work on a tenant where there is no journal to go on with."""
    hint = error.hint.replace("apply --failed", "try again")
    return TenantError(error.cause, hint or "see whether the tenant answers, then try again")


async def everywhere(
    tenants: Iterable[Tenant],
    work: Callable[[Tenant, ManagementClient], Awaitable[_T]],
    *,
    watch: WatchTenants | None = None,
    log: Log | None = None,
) -> dict[str, _T | TenantError]:
    """Work that needs no journal on all tenants at once, each through its own limiter; what came
    of it, in order. `watch` runs beside it, `log` is told of every request. Raises Refused."""
    allowed = [(tenant, tenant.allowed(Limits())) for tenant in tenants]
    left = {tenant.name: None for tenant, _ in allowed}
    ended: dict[str, _T | TenantError] = {}

    async def one(tenant: Tenant, client: ManagementClient) -> None:
        try:
            ended[tenant.name] = await work(tenant, client)
        except (TenantError, ItemError) as error:
            ended[tenant.name] = without_journal(error)
        del left[tenant.name]

    wanted = sum(limits.concurrency or CONCURRENCY for _, limits in allowed)
    async with Network.opened(wanted) as network:
        clients = [
            ManagementClient(
                *(tenant, Limiter(limits), network, Stop(), limits.concurrency or CONCURRENCY),
                log=log,
            )
            for tenant, limits in allowed
        ]
        async with anyio.create_task_group() as beside:
            if watch:
                beside.start_soon(watch, left.keys())
            async with TaskGroup() as tasks:
                for client in clients:
                    tasks.create_task(one(client.tenant, client))
            beside.cancel_scope.cancel()
    return {tenant.name: ended[tenant.name] for tenant, _ in allowed}
