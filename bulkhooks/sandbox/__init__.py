"""Pretend Auth0 tenants: hooks and actions of the Management API, rate limits included.

`Sandbox.handle` is a plain function from a request and the time to an answer, so that it can be
called under any clock; `serve` puts it behind a socket. Of the rest of the package only the
sandbox's own parts are imported here: a rule misread once must not be able to agree with itself on
both sides.

The rules come from Auth0's OpenAPI description and its pages on rate limits. Where these are silent
the docstring at hand says what was chosen.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import orjson

from .asked import Refusal, Request, read_object
from .buckets import Bucket, Logins, Meter, Statistics
from .faults import Fault, Faults, clock_jumps
from .issuer import SCOPES, TOKEN_LIFETIME, Denied, Issuer
from .pretend import (
    MASK,
    Gone,
    Hook,
    Lifecycle,
    PretendTenant,
    Rules,
    SecondEnable,
)
from .pretend_actions import Action, PretendActions

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

__all__ = [
    "MASK",
    "Answer",
    "Fault",
    "NoAnswer",
    "Request",
    "Sandbox",
    "SecondEnable",
    "Seen",
    "serve",
]

#: Seconds that a storm lasts.
_STORM: Final = 3.0
#: Pieces that a dripping answer comes in, if it has so many bytes.
_DRIPS: Final = 20
#: What is done as usual, to the answer of which something happens on its way.
_ON_THE_WAY: Final = frozenset(("half", "drip", "wrong-type", "gzip"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the tenant answers. Header names as written here: `x-ratelimit-limit`, `Date`."""

    status: int
    headers: dict[str, str]
    body: bytes
    #: How a socket sends it: "half": the line is cut halfway; "drip": piece by piece.
    sending: Literal["whole", "half", "drip"] = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as the server saw it; `status` 0 is one that was cut off and not done."""

    at: float  #: Unix seconds on the server's clock
    tenant: str
    method: str
    path: str
    status: int  #: answered, or what would have been answered had the line held
    body: bytes  #: the request's
    remaining: int | None = None  #: whole tokens left in the bucket after it, where that was told


class NoAnswer(Exception):
    """The request gets no answer; `fault` says how: "cut-before", "cut-after" or "hang"."""

    def __init__(self, fault: Fault) -> None:
        self.fault: Final = fault
        super().__init__(fault)


class _Tenant(PretendTenant):
    """A pretend tenant with what it gives out: requests and tokens."""

    def __init__(
        self,
        name: str,
        hooks: int,
        rules: Rules,
        *,
        actions: PretendActions,
        meter: Meter,
        token_meter: Meter,
        issuer: Issuer,
    ) -> None:
        super().__init__(name, hooks, rules)
        self.actions = actions
        self.meter, self.token_meter = meter, token_meter
        self.issuer = issuer
        self.storm = -math.inf  # until when all requests get 429 (server seconds)
        self.jumps: Iterator[float] | None = None  # of its clock


class Sandbox:
    """Pretend tenants with hooks and actions, that meter requests and log what they were asked.

    Each tenant starts with `hooks` and `actions` generated ones, the same in every run. All have
    `bucket` (None: no limit) except where `buckets` says otherwise by name. `tokens` are bearer
    tokens taken besides the issued ones; tenants in `refuse` take none and issue none.

    Hooks are "active", "read-only" or "gone" by `lifecycle`, for a tenant in `lifecycles` by that;
    where they are gone every call of theirs gets the status `gone`. Actions stay.

    An action builds for `build_time` seconds, three times as long with dependencies, and is
    deployed after `deploy_time` more; the builds of those named in `failing_builds` fail.

    Issued tokens are good for `token_lifetime` seconds. `scopes` has, by tenant, all that any token
    may do there, the fixed ones too; elsewhere they may do everything. A tenant in `public_keys`
    gives tokens only to who signs for them with the key that belongs to its PEM there. Requests
    for tokens have `token_bucket` for themselves, one in each tenant (None: no limit).

    `latency` is in seconds: `reply` waits half of it on each side of the work. `clock_ahead` is
    in seconds: the server's Date and reset run ahead of true time by it. `neighbour` is other
    traffic on each tenant, each request of which takes a token if there is one: `Logins`, or so
    many requests a second, evenly spaced from a tenant's first request on. Without
    `rate_headers` a 429 says Retry-After instead.

    `fault` is asked once for every request, before anything else looks at it. An answer that
    drips takes `drip` seconds; one that redirects leads to its path at `redirect_to`.

    :raises ValueError: where an option names a tenant that is not there.
    """

    def __init__(
        self,
        tenants: Iterable[str],
        *,
        hooks: int = 25,
        actions: int = 0,
        bucket: Bucket | None = None,
        buckets: Mapping[str, Bucket | None] | None = None,
        latency: float = 0.0,
        tokens: Collection[str] = ("sandbox",),
        refuse: Collection[str] = (),
        second_enable: SecondEnable = "conflict",
        clock_ahead: float = 0.0,
        rate_headers: bool = True,
        neighbour: float | Logins = 0.0,
        lifecycle: Lifecycle = "active",
        lifecycles: Mapping[str, Lifecycle] | None = None,
        gone: Gone = 403,
        build_time: float = 0.5,
        deploy_time: float = 0.2,
        failing_builds: Collection[str] = (),
        token_lifetime: int = TOKEN_LIFETIME,
        scopes: Mapping[str, Collection[str]] | None = None,
        public_keys: Mapping[str, str] | None = None,
        token_bucket: Bucket | None = None,
        fault: Callable[[Request], Fault | None] | None = None,
        drip: float = 2.0,
        redirect_to: str = "http://127.0.0.2:1",
        keep_log: bool = True,
    ) -> None:
        self.latency, self.drip = latency, drip
        self.log: list[Seen] = []
        self._keep_log = keep_log
        self._tokens = frozenset(tokens)
        self._refuse = frozenset(refuse)
        self._ahead = clock_ahead
        self._rate_headers = rate_headers
        self._fault = fault
        self._redirect_to = redirect_to
        self._token_limit = token_bucket is not None
        own, lives, allowed = buckets or {}, lifecycles or {}, scopes or {}
        keys = public_keys or {}
        self._tenants: dict[str, _Tenant] = {}
        for name in tenants:
            rules = Rules(
                second_enable=second_enable,
                lifecycle=lives.get(name, lifecycle),
                gone=gone,
                scopes=allowed.get(name),
            )
            self._tenants[name] = _Tenant(
                *(name, hooks, rules),
                actions=PretendActions(
                    *(name, actions),
                    build_time=build_time,
                    deploy_time=deploy_time,
                    failing_builds=failing_builds,
                    scopes=rules.scopes,
                ),
                meter=Meter(own.get(name, bucket), name, neighbour),
                token_meter=Meter(token_bucket, name, 0.0),
                issuer=Issuer(
                    name,
                    lifetime=token_lifetime,
                    scopes=allowed.get(name, SCOPES),
                    public_key=keys.get(name),
                ),
            )
        named = self._refuse.union(own, lives, allowed, keys)
        if strangers := named - self._tenants.keys():
            raise ValueError(f"not among the tenants: {', '.join(sorted(strangers))}")

    def add_hook(
        self,
        tenant: str,
        *,
        id: str | None = None,
        name: str,
        triggerId: str,
        enabled: bool = False,
        script: str = "module.exports = function (...args) { args.pop()(null); };\n",
        dependencies: Mapping[str, str] | None = None,
        alone: bool = False,
    ) -> Hook:
        """Puts a hook there, past all rules but unique id and name; gives a copy of it.

        With `alone` no other hook of its trigger stays enabled.
        """
        if alone:
            for other in self._tenants[tenant].hooks.values():
                other["enabled"] = other["enabled"] and other["triggerId"] != triggerId
        hook: Hook = {"id": id, "name": name, "triggerId": triggerId, "enabled": enabled}
        hook |= {"script": script, "dependencies": dict(dependencies or {})}
        return deepcopy(self._tenants[tenant].add(hook))

    def hooks_of(self, tenant: str) -> list[Hook]:
        """A copy of the tenant's hooks with all their fields, in the order of their creation."""
        return deepcopy(list(self._tenants[tenant].hooks.values()))

    def change(self, tenant: str, id: str, **fields: Any) -> None:
        """Changes a hook as somebody else might, past all rules."""
        self._tenants[tenant].hooks[id].update(fields)

    def secrets_of(self, tenant: str, id: str) -> dict[str, str]:
        """A copy of a hook's secrets with their values."""
        return dict(self._tenants[tenant].secrets.get(id, {}))

    def set_secrets(self, tenant: str, id: str, secrets: Mapping[str, str]) -> None:
        """Gives a hook secrets, past all rules."""
        self._tenants[tenant].secrets.setdefault(id, {}).update(secrets)

    def add_action(
        self,
        tenant: str,
        *,
        name: str,
        triggerId: str,
        code: str = "module.exports = () => {};\n",
        dependencies: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        deployed: bool = True,
        bound: bool | int = False,
    ) -> Action:
        """Puts an action there, built long ago, past all rules but a unique name; gives a copy.

        `bound` is its place among the bindings of its trigger, True the last.
        """
        actions = self._tenants[tenant].actions
        id = actions.add(
            name=name,
            triggerId=triggerId,
            code=code,
            dependencies=dependencies or {},
            secrets=secrets or {},
            deployed=deployed,
            bound=bound,
        )
        return next(each for each in self.actions_of(tenant) if each["id"] == id)

    def actions_of(self, tenant: str, now: float = math.inf) -> list[Action]:
        """A copy of the tenant's actions as they are shown, in the order of their creation.

        They are as of `now`, Unix seconds of the true clock: without it as they will be when
        nothing builds or deploys any more.
        """
        return self._tenants[tenant].actions.all(now + self._ahead)

    def action_secrets_of(self, tenant: str, id: str) -> dict[str, str]:
        """A copy of the secrets of an action's draft with their values."""
        return self._tenants[tenant].actions.secrets_of(id)

    def bindings_of(self, tenant: str, triggerId: str) -> list[str]:
        """Names of the actions that are bound to a trigger, in their order."""
        return self._tenants[tenant].actions.bound_to(triggerId)

    def set_bindings(self, tenant: str, triggerId: str, names: Iterable[str]) -> None:
        """Binds these actions to a trigger and no other, as somebody else might."""
        self._tenants[tenant].actions.bind(triggerId, names)

    def writes(self) -> list[Seen]:
        """The log's writes to hooks, actions and what is theirs that were done, answered or not."""
        return [
            seen
            for seen in self.log
            if 200 <= seen.status < 300
            and seen.method in ("PATCH", "POST", "DELETE")
            and seen.path.startswith(("/api/v2/hooks", "/api/v2/actions"))
        ]

    def statistics(self, now: float | None = None) -> dict[str, Statistics]:
        """Counts of each tenant; the neighbour's up to `now`, Unix seconds of the true clock.

        Without `now` they are as of the tenant's last request.
        """
        if now is not None:
            for each in self._tenants.values():
                each.meter.let_neighbour_drink(now + self._ahead)
        return {name: Statistics(**each.meter.counts) for name, each in self._tenants.items()}

    async def reply(self, request: Request, *, clock: Callable[[], float] = time.time) -> Answer:
        """`handle` in the middle of the latency. `clock` gives true Unix seconds.

        :raises NoAnswer: at once, in the middle, where no answer will come.
        """
        if self.latency:
            await asyncio.sleep(self.latency / 2)
        answer = self.handle(request, clock())
        if self.latency:
            await asyncio.sleep(self.latency / 2)
        return answer

    def handle(self, request: Request, now: float) -> Answer:
        """Answers `request` at `now`, Unix seconds of the true clock, and logs it.

        :raises NoAnswer: if a fault keeps the answer from coming.
        """
        server = now + self._ahead
        fault = self._fault(request) if self._fault else None
        if fault == "cut-before":
            self._note(request, server, 0)
            raise NoAnswer(fault)
        answer = self._answer(request, server, fault)
        self._note(request, server, answer.status, answer.headers.get("x-ratelimit-remaining"))
        if fault == "cut-after" or fault == "hang":
            raise NoAnswer(fault)
        return _on_its_way(answer, fault, request) if fault in _ON_THE_WAY else answer

    def _note(
        self, request: Request, server: float, status: int, remaining: str | None = None
    ) -> None:
        if self._keep_log:
            self.log.append(
                Seen(
                    at=server,
                    tenant=request.tenant,
                    method=request.method,
                    path=request.path,
                    status=status,
                    body=request.body,
                    remaining=None if remaining is None else int(remaining),
                )
            )

    def _answer(self, request: Request, server: float, fault: Fault | None) -> Answer:
        tenant = self._tenants.get(request.tenant)
        if tenant and fault == "clock-jump":
            self._jump(tenant)
        told = server + tenant.meter.ahead if tenant else server
        headers = {"Date": formatdate(told, usegmt=True)}
        if fault == "html":  # what stands in front knows nothing of buckets
            headers["Content-Type"] = "text/html"
            return Answer(status=502, headers=headers, body=b"<h1>502 Bad Gateway</h1>")
        if fault == "redirect":
            headers["Location"] = f"{self._redirect_to}/{request.tenant}{request.path}"
            return Answer(status=302, headers=headers, body=b"")
        try:
            if tenant is None:
                raise Refusal(404, f"No tenant {request.tenant} here.")
            status, value = self._served(tenant, request, server, fault, headers)
            body = b"" if value is None else orjson.dumps(value)
        except Refusal as refusal:
            status, body = refusal.status, refusal.body()
        if body:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return Answer(status=status, headers=headers, body=body)

    def _jump(self, tenant: _Tenant) -> None:
        """Moves the clock that the tenant tells; what it has and when that ends stays."""
        if tenant.jumps is None:
            seed = self._fault.seed if isinstance(self._fault, Faults) else 0
            tenant.jumps = clock_jumps(seed, tenant.name)
        tenant.meter.ahead += next(tenant.jumps)
        tenant.token_meter.ahead = tenant.meter.ahead

    def _served(
        self,
        tenant: _Tenant,
        request: Request,
        server: float,
        fault: Fault | None,
        headers: dict[str, str],
    ) -> tuple[int, Any]:
        """What a request gets, from the bucket on; adds to `headers` of the answer."""
        is_token_call = request.path == "/oauth/token"
        meter = tenant.token_meter if is_token_call else tenant.meter
        if fault == "storm":
            tenant.storm = server + _STORM
        if server < tenant.storm:
            self._storm(meter, server, headers)
        if not is_token_call or self._token_limit:
            self._meter(meter, server, headers)
        if fault == "error-502":
            return 502, None
        if fault == "error-500":
            raise Refusal(500, "An internal server error occurred")
        if fault == "error-503":
            raise Refusal(503, "Service Unavailable")
        if is_token_call:
            return self._issue_token(tenant, request, server)
        self._check_token(tenant, request.headers.get("authorization", ""), server, fault)
        if request.path.startswith("/api/v2/actions/"):
            return tenant.actions.serve(request, headers, server)
        return tenant.serve(request, headers)

    def _meter(self, meter: Meter, server: float, headers: dict[str, str]) -> None:
        taken = meter.take(server)
        if self._rate_headers:
            headers |= meter.headers(server)
        if not taken:
            if not self._rate_headers:
                headers["Retry-After"] = meter.retry_after(server)
            raise _too_many()

    def _storm(self, meter: Meter, server: float, headers: dict[str, str]) -> NoReturn:
        told = meter.storm(server)
        if self._rate_headers:
            headers |= told
        headers["Retry-After"] = "1"
        raise _too_many()

    def _check_token(
        self, tenant: _Tenant, authorization: str, server: float, fault: Fault | None
    ) -> None:
        kind, _, token = authorization.partition(" ")
        if not authorization:
            raise Refusal(401, "Missing authentication", "invalid_token")
        if fault == "unauthorized":
            tenant.issuer.revoke(token)
        if kind.lower() != "bearer" or tenant.name in self._refuse:
            raise Refusal(401, "Invalid token", "invalid_token")
        if token not in self._tokens and not tenant.issuer.is_good(token, server):
            raise Refusal(401, "Invalid token", "invalid_token")

    def _issue_token(
        self, tenant: _Tenant, request: Request, server: float
    ) -> tuple[int, dict[str, Any]]:
        if request.method != "POST":
            raise Refusal(405, "Method Not Allowed")
        asked = read_object(request)
        try:
            if tenant.name in self._refuse:
                raise Denied(401, "access_denied", "Unauthorized")
            return 200, tenant.issuer.issue(asked, server)
        except Denied as denied:
            return denied.status, denied.body


def _too_many() -> Refusal:
    return Refusal(429, "Global limit has been reached", "too_many_requests")


def _on_its_way(answer: Answer, fault: Fault | None, request: Request) -> Answer:
    """What becomes of an answer that was on its way; some faults need a body."""
    if fault == "half":
        return replace(answer, sending="half")
    if not answer.body:
        return answer
    if fault == "drip":
        return replace(answer, sending="drip")
    if fault == "wrong-type":
        return replace(answer, headers=answer.headers | {"Content-Type": "text/html"})
    if not _allows_gzip(request.headers.get("accept-encoding", "")):
        return answer
    headers = answer.headers | {"Content-Encoding": "gzip"}
    return replace(answer, headers=headers, body=gzip.compress(answer.body, 6, mtime=0))


def _allows_gzip(accepted: str) -> bool:
    for each in accepted.lower().replace(" ", "").split(","):
        coding, _, quality = each.partition(";q=")
        if coding == "gzip":
            return not quality or quality.strip("0.") != ""
    return False


@asynccontextmanager
async def serve(
    sandbox: Sandbox,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serves the sandbox and gives its URL; tenant NAME is at URL/NAME. With `tls` it is HTTPS.

    Port 0 takes a free one. Leaving cuts what is still open after some hundredths of a second.
    """
    import anyio
    from aiohttp import web

    async def face(request: web.BaseRequest) -> web.StreamResponse:
        return await _face(sandbox, request)

    server = web.Server(face, access_log=None)
    listener = await asyncio.get_running_loop().create_server(
        server,
        host,
        port,
        backlog=4096,
        ssl=tls,
    )
    try:
        yield f"{'https' if tls else 'http'}://{host}:{listener.sockets[0].getsockname()[1]}"
    finally:
        with anyio.CancelScope(shield=True):
            listener.close()
            server.pre_shutdown()  # idle connections end at once, not when the time is up
            await server.shutdown(0.02)
            await listener.wait_closed()
            await asyncio.sleep(0.001)  # cancelled handlers and closed transports end in the loop


async def _face(sandbox: Sandbox, request: web.BaseRequest) -> web.StreamResponse:
    from aiohttp import web

    url = request.rel_url
    _, tenant, path = (*url.path.split("/", 2), "")[:3]
    try:
        answer = await sandbox.reply(
            Request(
                tenant=tenant,
                method=request.method,
                path="/" + path,
                query=dict(url.query) if url.query_string else {},
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.read() if request.body_exists else b"",
            )
        )
    except NoAnswer as trouble:
        if trouble.fault == "hang":
            # aiohttp has no event for a client that went away
            while request.transport is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return _cut(request)
    if answer.sending == "whole":
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    return await _send_badly(answer, request, sandbox.drip)


async def _send_badly(answer: Answer, request: web.BaseRequest, drip: float) -> web.StreamResponse:
    from aiohttp import web

    body = answer.body
    if not body:  # that has no half
        return _cut(request)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(body)
    await response.prepare(request)
    if answer.sending == "half":
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()  # unlike abort, it sends what was written
        return response
    size = math.ceil(len(body) / _DRIPS)
    for start in range(0, len(body), size):
        await asyncio.sleep(drip / _DRIPS)
        await response.write(body[start : start + size])
    return response


def _cut(request: web.BaseRequest) -> web.Response:
    """Cuts the line; what it gives goes nowhere."""
    from aiohttp import web

    if request.transport is not None:
        request.transport.abort()
    return web.Response()
