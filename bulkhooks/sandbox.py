"""Pretend Auth0 tenants: the hooks part of the Management API, rate limits included.

`Sandbox.handle` is a plain function from a request and the time to an answer, so that it can be
called under any clock; `serve` puts it behind a socket. Of the rest of the package only
`buckets.py`, the other half of the sandbox, is imported here: a rule misread once must not be able
to agree with itself on both sides.

The rules come from Auth0's OpenAPI description and its pages on hooks and rate limits. Where
these are silent the docstring at hand says what was chosen.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson

from .buckets import Bucket, Logins, Meter, Statistics

if TYPE_CHECKING:
    from aiohttp import web

#: How a request goes wrong. "cut-before": the line is cut and nothing is done; "cut-after": it is
#: done, then the line is cut; "hang": it is done and never answered; "error-500", "error-503":
#: nothing is done, a token is taken; "html": a proxy in front answers 502 with a page.
Fault = Literal["cut-before", "cut-after", "hang", "error-500", "error-503", "html"]
#: What enabling a second hook of a trigger gets: a 409, a 400, or 200 and the first one goes off.
SecondEnable = Literal["conflict", "bad_request", "switch"]
Hook: TypeAlias = dict[str, Any]

#: Seconds that an issued token is good for (Auth0's default).
TOKEN_LIFETIME: Final = 86_400
#: Most secrets a hook can have.
MAX_SECRETS: Final = 20
MASK: Final = "_VALUE_NOT_SHOWN_"

#: Of each trigger, in the order of generation: names of hooks, and what a script is called with.
_KINDS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("pre-user-registration", ("fraud-check", "invite-only", "age-gate"), "user, context, cb"),
    ("post-user-registration", ("audit-log", "welcome-mail", "crm-sync"), "user, context, cb"),
    ("credentials-exchange", ("add-claims", "scope-guard"), "client, scope, audience, context, cb"),
    ("post-change-password", ("password-notice", "end-sessions"), "user, context, cb"),
    ("send-phone-message", ("sms-gateway", "voice-call"), "recipient, text, context, cb"),
)
_TRIGGERS: Final = frozenset(trigger for trigger, _, _ in _KINDS)
_FIELDS: Final = ("id", "name", "triggerId", "enabled", "script", "dependencies")
_LISTED: Final = tuple(field for field in _FIELDS if field != "script")
_JSON_TYPES: Final = MappingProxyType(
    {bool: "boolean", str: "string", dict: "object", list: "array"}
)
_NAME: Final = re.compile(r"[a-zA-Z0-9]([ \-a-zA-Z0-9]*[a-zA-Z0-9])?")
_PATH: Final = re.compile(r"/api/v2/hooks(?:/([^/]+)(/secrets)?)?")
_ID: Final = re.compile(r"[A-Za-z0-9-]+")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_QUERY: Final = frozenset(("page", "per_page", "include_totals", "enabled", "triggerId", "fields"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to one tenant. `path` is what follows the tenant; header names in lower case."""

    tenant: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the tenant answers. Header names as written here: `x-ratelimit-limit`, `Date`."""

    status: int
    headers: dict[str, str]
    body: bytes


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


class _Refusal(Exception):
    """Ends the handling of a request with an error answer in Auth0's form."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        self.status, self.message, self.code = status, message, code
        super().__init__(message)

    def body(self) -> bytes:
        phrase = HTTPStatus(self.status).phrase
        error = {"statusCode": self.status, "error": phrase, "message": self.message}
        return orjson.dumps(error | ({"errorCode": self.code} if self.code else {}))


class _Tenant:
    """The hooks of one tenant and what may be done to them. Each call gives status and body."""

    def __init__(self, name: str, meter: Meter, second_enable: SecondEnable) -> None:
        self.name = name
        self.meter = meter
        self.hooks: dict[str, Hook] = {}
        self.tokens: dict[str, float] = {}  # issued ones, and when they end (server seconds)
        self.secrets: dict[str, dict[str, str]] = {}
        self._second_enable = second_enable
        self._created = 0

    def add(self, hook: Hook) -> Hook:
        """Puts a hook there as it is, `id` made unless given."""
        self._created += 1
        hook["id"] = hook["id"] or _made_id(self.name, self._created)
        if hook["id"] in self.hooks or any(h["name"] == hook["name"] for h in self.hooks.values()):
            raise ValueError(f"{self.name} has a hook {hook['id']} or {hook['name']!r} already")
        self.hooks[hook["id"]] = hook
        return hook

    def list_hooks(self, request: Request, _: str) -> tuple[int, Any]:
        query = request.query
        _check_query(query, _QUERY)
        enabled, trigger = query.get("enabled"), query.get("triggerId")
        fields = [field for field in _wanted(query) if field in _LISTED]
        found = [
            {field: hook[field] for field in fields}
            for hook in self.hooks.values()
            if (trigger is None or hook["triggerId"] == trigger)
            and (enabled is None or hook["enabled"] is (enabled == "true"))
        ]
        total, start, limit = len(found), 0, len(found)
        if "page" in query or "per_page" in query:
            limit = int(query.get("per_page", 50))
            start = int(query.get("page", 0)) * limit
        shown = found[start : start + limit]
        if query.get("include_totals") == "true":
            return 200, {"start": start, "limit": limit, "total": total, "hooks": shown}
        return 200, shown

    def create_hook(self, request: Request, _: str) -> tuple[int, Any]:
        """The first hook of a trigger comes out enabled, whatever `enabled` says."""
        wanted = _payload(request, _FIELDS[1:], required=("name", "script", "triggerId"))
        self._check_name_free(wanted["name"], None)
        trigger = wanted["triggerId"]
        first = all(hook["triggerId"] != trigger for hook in self.hooks.values())
        if wanted.get("enabled"):
            self._make_room(trigger, None)
        hook = {"id": None, "dependencies": {}, **wanted}
        hook["enabled"] = first or wanted.get("enabled", False)
        return 201, self.add(hook)

    def get_hook(self, request: Request, id: str) -> tuple[int, Any]:
        hook = self._hook(id)
        _check_query(request.query, ("fields",))
        return 200, {field: hook[field] for field in _wanted(request.query)}

    def patch_hook(self, request: Request, id: str) -> tuple[int, Any]:
        changes = _payload(request, ("name", "script", "enabled", "dependencies"))
        hook = self._hook(id)
        if "name" in changes:
            self._check_name_free(changes["name"], id)
        if changes.get("enabled"):
            self._make_room(hook["triggerId"], id)
        hook.update(changes)
        return 200, hook

    def delete_hook(self, _: Request, id: str) -> tuple[int, Any]:
        """404 for a hook that is not there; the documentation does not say."""
        del self.hooks[self._hook(id)["id"]]
        self.secrets.pop(id, None)
        return 204, None

    def get_secrets(self, _: Request, id: str) -> tuple[int, Any]:
        self._hook(id)
        return 200, dict.fromkeys(self.secrets.get(id, {}), MASK)

    def post_secrets(self, request: Request, id: str) -> tuple[int, Any]:
        new, there = self._secrets_asked(request, id, dict)
        if taken := new.keys() & there:
            raise _Refusal(409, f"Secret {min(taken)} exists already.", "secret_conflict")
        if len(there) + len(new) > MAX_SECRETS:
            raise _bad_body(f"A hook can have at most {MAX_SECRETS} secrets")
        there.update(new)
        return 201, None

    def patch_secrets(self, request: Request, id: str) -> tuple[int, Any]:
        values, there = self._secrets_asked(request, id, dict)
        _check_all_there(values, there)
        there.update(values)
        return 201, None

    def delete_secrets(self, request: Request, id: str) -> tuple[int, Any]:
        """404 for a name that is not there, and nothing is deleted; not documented either."""
        names, there = self._secrets_asked(request, id, list)
        _check_all_there(names, there)
        for name in set(names):
            del there[name]
        return 204, None

    def _secrets_asked(
        self, request: Request, id: str, kind: type[dict[str, Any]] | type[list[Any]]
    ) -> tuple[Any, dict[str, str]]:
        """The body, an object or array of strings, and the hook's secrets."""
        self._hook(id)
        body = _json(request)
        if not isinstance(body, kind) or not 1 <= len(body) <= MAX_SECRETS:
            raise _bad_body(f"Expected type {_JSON_TYPES[kind]} with 1 to {MAX_SECRETS} secrets")
        strings = body.values() if isinstance(body, dict) else body
        if not all(isinstance(each, str) for each in strings):
            raise _bad_body("Expected type string")
        return body, self.secrets.setdefault(id, {})

    def _hook(self, id: str) -> Hook:
        if not _ID.fullmatch(id):
            raise _Refusal(400, "Path validation error: 'Invalid value'", "invalid_uri")
        try:
            return self.hooks[id]
        except KeyError:
            raise _Refusal(404, "The hook does not exist.", "inexistent_hook") from None

    def _check_name_free(self, name: str, but: str | None) -> None:
        if any(hook["name"] == name and hook["id"] != but for hook in self.hooks.values()):
            raise _Refusal(409, "A hook with the same name already exists.", "hook_conflict")

    def _make_room(self, trigger: str, id: str | None) -> None:
        """Only one hook of a trigger may be enabled; called before `id` becomes the one."""
        for hook in self.hooks.values():
            if not hook["enabled"] or hook["triggerId"] != trigger or hook["id"] == id:
                continue
            if self._second_enable != "switch":
                status = 409 if self._second_enable == "conflict" else 400
                message = f"Another {trigger} hook is enabled already."
                raise _Refusal(status, message, "trigger_conflict")
            hook["enabled"] = False


_Call: TypeAlias = Callable[[_Tenant, Request, str], tuple[int, Any]]
#: The nine calls, by how many parts follow `/api/v2/` in the path.
_CALLS: Final[Mapping[int, Mapping[str, _Call]]] = MappingProxyType(
    {
        1: {"GET": _Tenant.list_hooks, "POST": _Tenant.create_hook},
        2: {"GET": _Tenant.get_hook, "PATCH": _Tenant.patch_hook, "DELETE": _Tenant.delete_hook},
        3: {
            "GET": _Tenant.get_secrets,
            "POST": _Tenant.post_secrets,
            "PATCH": _Tenant.patch_secrets,
            "DELETE": _Tenant.delete_secrets,
        },
    }
)


class Sandbox:
    """Pretend tenants that hold hooks, meter requests and keep a log of what they were asked.

    Each tenant starts with `hooks` generated ones, the same in every run. All have `bucket`
    (None: no limit) except where `buckets` says otherwise by name. `tokens` are bearer tokens
    taken besides the issued ones; tenants in `refuse` take none and issue none.

    `latency` is in seconds: `reply` waits half of it on each side of the work. `clock_ahead` is
    in seconds: the server's Date and reset run ahead of true time by it. `neighbour` is other
    traffic on each tenant, each request of which takes a token if there is one: `Logins`, or so
    many requests a second, evenly spaced from a tenant's first request on. Without
    `rate_headers` a 429 says Retry-After instead. `fault` is asked once for every request, before
    anything else looks at it.
    """

    def __init__(
        self,
        tenants: Iterable[str],
        *,
        hooks: int = 25,
        bucket: Bucket | None = None,
        buckets: Mapping[str, Bucket | None] | None = None,
        latency: float = 0.0,
        tokens: Collection[str] = ("sandbox",),
        refuse: Collection[str] = (),
        second_enable: SecondEnable = "conflict",
        clock_ahead: float = 0.0,
        rate_headers: bool = True,
        neighbour: float | Logins = 0.0,
        fault: Callable[[Request], Fault | None] | None = None,
        keep_log: bool = True,
    ) -> None:
        self.latency = latency
        self.log: list[Seen] = []
        self._keep_log = keep_log
        self._tokens = frozenset(tokens)
        self._refuse = frozenset(refuse)
        self._ahead = clock_ahead
        self._rate_headers = rate_headers
        self._fault = fault
        own = buckets or {}
        self._tenants: dict[str, _Tenant] = {}
        for name in tenants:
            meter = Meter(own.get(name, bucket), name, neighbour)
            tenant = _Tenant(name, meter, second_enable)
            for number in range(hooks):
                tenant.add(_generated(number))
            self._tenants[name] = tenant
        if strangers := (self._refuse | own.keys()) - self._tenants.keys():
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

    def writes(self) -> list[Seen]:
        """The log's writes to hooks and secrets that were done, answered or not."""
        return [
            seen
            for seen in self.log
            if 200 <= seen.status < 300
            and seen.method in ("PATCH", "POST", "DELETE")
            and seen.path.startswith("/api/v2/hooks")
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
        return answer

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
        headers = {"Date": formatdate(server, usegmt=True)}
        if fault == "html":  # what stands in front knows nothing of buckets
            headers["Content-Type"] = "text/html"
            return Answer(status=502, headers=headers, body=b"<h1>502 Bad Gateway</h1>")
        try:
            status, value = self._served(request, server, fault, headers)
            body = b"" if value is None else orjson.dumps(value)
        except _Refusal as refusal:
            status, body = refusal.status, refusal.body()
        if body:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return Answer(status=status, headers=headers, body=body)

    def _served(
        self, request: Request, server: float, fault: Fault | None, headers: dict[str, str]
    ) -> tuple[int, Any]:
        """What a request gets, from the bucket on; adds to `headers` of the answer."""
        tenant = self._tenants.get(request.tenant)
        if tenant is None:
            raise _Refusal(404, f"No tenant {request.tenant} here.")
        is_token_call = request.path == "/oauth/token"
        if not is_token_call:  # the token endpoint has a limit of its own, and none here
            self._meter(tenant.meter, server, headers)
        if fault == "error-500":
            raise _Refusal(500, "An internal server error occurred")
        if fault == "error-503":
            raise _Refusal(503, "Service Unavailable")
        if is_token_call:
            return self._issue_token(tenant, request, server)
        self._check_token(tenant, request.headers.get("authorization", ""), server)
        call, id = _find_call(request, headers)
        return call(tenant, request, id)

    def _meter(self, meter: Meter, server: float, headers: dict[str, str]) -> None:
        taken = meter.take(server)
        if self._rate_headers:
            headers |= meter.headers(server)
        if not taken:
            if not self._rate_headers:
                headers["Retry-After"] = meter.retry_after(server)
            raise _Refusal(429, "Global limit has been reached", "too_many_requests")

    def _check_token(self, tenant: _Tenant, authorization: str, server: float) -> None:
        kind, _, token = authorization.partition(" ")
        if not authorization:
            raise _Refusal(401, "Missing authentication", "invalid_token")
        if kind.lower() != "bearer" or tenant.name in self._refuse:
            raise _Refusal(401, "Invalid token", "invalid_token")
        if token not in self._tokens and server >= tenant.tokens.get(token, -math.inf):
            raise _Refusal(401, "Invalid token", "invalid_token")

    def _issue_token(
        self, tenant: _Tenant, request: Request, server: float
    ) -> tuple[int, dict[str, Any]]:
        """Client credentials (RFC 6749, 4.4); errors in that document's form."""
        if request.method != "POST":
            raise _Refusal(405, "Method Not Allowed")
        asked = _json(request)
        if not isinstance(asked, dict):
            raise _bad_body("Expected type object")
        for key in ("grant_type", "client_id", "client_secret"):
            if not isinstance(asked.get(key), str) or not asked[key]:
                return 400, _oauth_error("invalid_request", f"Missing required parameter: {key}")
        if asked["grant_type"] != "client_credentials":
            return 400, _oauth_error("unsupported_grant_type", "Unsupported grant type")
        if tenant.name in self._refuse:
            return 401, _oauth_error("access_denied", "Unauthorized")
        if not asked.get("audience"):  # Auth0 has no default audience unless one was set
            return 403, _oauth_error("access_denied", "No audience parameter was provided")
        token = secrets.token_urlsafe(32)
        tenant.tokens[token] = server + TOKEN_LIFETIME
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME}


def _oauth_error(error: str, description: str) -> dict[str, str]:
    return {"error": error, "error_description": description}


def _find_call(request: Request, headers: dict[str, str]) -> tuple[_Call, str]:
    """The call that method and path ask for, and the hook's id in the path."""
    found = _PATH.fullmatch(request.path)
    if found is None:
        raise _Refusal(404, "Not Found")
    id, of_secrets = found.groups()
    calls = _CALLS[1 if id is None else 3 if of_secrets else 2]
    if request.method not in calls:
        headers["Allow"] = ", ".join(calls)
        raise _Refusal(405, "Method Not Allowed")
    return calls[request.method], id or ""


def _bad_body(what: str, key: str | None = None) -> _Refusal:
    place = f" on property {key}" if key else ""
    return _Refusal(400, f"Payload validation error: '{what}'{place}", "invalid_body")


def _bad_query(what: str, key: str | None = None) -> _Refusal:
    place = f" on property {key}" if key else ""
    return _Refusal(400, f"Query validation error: '{what}'{place}", "invalid_query_string")


def _json(request: Request) -> Any:
    """The body as JSON, whatever its content type says."""
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise _Refusal(400, "Invalid request payload JSON format", "invalid_body") from None


def _payload(
    request: Request, allowed: Collection[str], *, required: Collection[str] = ()
) -> dict[str, Any]:
    """Fields of a hook out of the body, checked as Auth0's schema would."""
    payload = _json(request)
    if not isinstance(payload, dict):
        raise _bad_body("Expected type object")
    if unknown := [key for key in payload if key not in allowed]:
        raise _bad_body(f"Additional properties not allowed: {','.join(unknown)}")
    if not payload:
        raise _bad_body("Too few properties defined (0), minimum 1")
    for key in required:
        if key not in payload:
            raise _bad_body(f"Missing required property: {key}")
    for key, value in payload.items():
        _check_field(key, value)
    return payload


def _check_field(key: str, value: Any) -> None:
    wanted: type = {"enabled": bool, "dependencies": dict}.get(key, str)
    fits = isinstance(value, wanted)
    if not fits:
        raise _bad_body(f"Expected type {_JSON_TYPES[wanted]}", key)
    match key:
        case "name":
            good = _NAME.fullmatch(value) is not None
        case "script":
            good = value != ""
        case "triggerId":
            good = value in _TRIGGERS
        case "dependencies":
            good = all(isinstance(version, str) for version in value.values())
        case _:
            good = True
    if not good:
        raise _bad_body("Invalid value", key)


def _check_all_there(names: Iterable[str], there: Collection[str]) -> None:
    for name in names:
        if name not in there:
            raise _Refusal(404, f"Secret {name} does not exist.", "inexistent_secret")


def _check_query(query: Mapping[str, str], allowed: Collection[str]) -> None:
    for key, value in query.items():
        if key not in allowed:
            raise _bad_query(f"Additional properties not allowed: {key}")
        if key in ("page", "per_page"):
            good = bool(_NUMBER.fullmatch(value)) and (key == "page" or int(value) <= 100)
        elif key == "triggerId":
            good = value in _TRIGGERS
        elif key == "fields":  # "leave empty to retrieve all fields"
            good = not value or all(field in _FIELDS for field in value.split(","))
        else:
            good = value in ("true", "false")
        if not good:
            raise _bad_query("Invalid value", key)


def _wanted(query: Mapping[str, str]) -> Collection[str]:
    return query["fields"].split(",") if query.get("fields") else _FIELDS


def _made_id(tenant: str, number: int) -> str:
    """26 upper-case letters and digits, as Auth0's ids; the same in every run."""
    digest = hashlib.sha256(f"{tenant}/{number}".encode()).digest()
    return "01" + base64.b32encode(digest).decode()[:24]


_SCRIPT: Final = """module.exports = function (%s) {
  console.log('%s', context);
  cb(null, {});
};
"""


def _generated(number: int) -> Hook:
    """Hook `number` (from 0) of every tenant: the triggers in turn, the first of each enabled."""
    turn, place = divmod(number, len(_KINDS))
    trigger, names, arguments = _KINDS[place]
    again, which = divmod(turn, len(names))
    return {
        "id": None,
        "name": names[which] + (f"-{again + 1}" if again else ""),
        "triggerId": trigger,
        "enabled": turn == 0,
        "script": _SCRIPT % (arguments, names[which]),
        "dependencies": {"axios": "1.7.9"} if number % 3 == 1 else {},
    }


@asynccontextmanager
async def serve(sandbox: Sandbox, *, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serves the sandbox over HTTP and gives its URL; tenant NAME is at URL/NAME.

    Port 0 takes a free one. Leaving cuts what is still open after some hundredths of a second.
    """
    import anyio
    from aiohttp import web

    async def face(request: web.BaseRequest) -> web.StreamResponse:
        return await _face(sandbox, request)

    server = web.Server(face, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, host, port, backlog=4096)
    try:
        yield f"http://{host}:{listener.sockets[0].getsockname()[1]}"
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
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # goes nowhere: the line is cut
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
