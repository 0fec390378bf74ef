"""Sockets: one request out, one whole answer back, and nothing sent twice or followed elsewhere.

What an answer means is for `answers` to say. Here it is only told whether one came, whether the
server can have seen the request, and whether the tenant can be reached at all.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from .answers import PROXY_WANTS
from .errors import ItemError, Refused, TenantError, Unsure
from .gates import Deadlines, Gate
from .items import Reply
from .tenants import Tenant

#: Requests in flight over all tenants. A thousand buckets at 2 a second need 300 where an answer
#: takes 0.15 s, and more for as long as their first tokens last.
IN_FLIGHT: Final = 1024
#: Bytes in an answer, at most, once it is decompressed. A page of a hundred hooks has some 30,000.
LONGEST_ANSWER: Final = 10_000_000
#: Files that are kept for the journal, for names that are looked up, for `cmd:` references.
_OTHER_FILES: Final = 64
_SCARCE: Final = (errno.EMFILE, errno.ENFILE)
#: aiohttp's own errors in our words: in its own it quotes what the server sent, token and all.
_BROKEN: Final = (
    (aiohttp.ClientResponseError, "what came is not HTTP"),
    (aiohttp.ClientPayloadError, "no whole answer came"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proxy:
    """A proxy's URL, and apart from it, for aiohttp shows it in its errors, the password."""

    url: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)


_NO_PROXY: Final = _Proxy()


class NotSent(ItemError):
    """No connection came about: the server has seen nothing of the request."""


class Sender(Protocol):
    """What carries requests to one tenant: sockets, or in tests the sandbox's core."""

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        """Send one request once, and read its whole answer; answers its headers too.

        Raises NotSent when no connection came about, Unsure when it broke later, TenantError when
        the server cannot be trusted.
        """


class Carrier(Protocol):
    """What has the ways to all tenants."""

    gate: Gate  #: to all requests in flight

    def way_to(self, tenant: Tenant) -> Sender:
        """What carries requests to one tenant. Raises Refused."""


class Network:
    """The connections of one run, shared by all tenants. Made by `opened`."""

    def __init__(
        self, session: aiohttp.ClientSession, in_flight: int, proxy: _Proxy = _NO_PROXY
    ) -> None:
        self._session, self._proxy = session, proxy
        self.gate = Gate(in_flight)
        self._deadlines: dict[float, Deadlines] = {}
        self._trusted: dict[Path, ssl.SSLContext] = {}

    @classmethod
    @asynccontextmanager
    async def opened(cls, wanted: int = IN_FLIGHT) -> AsyncIterator[Network]:
        """Connections for whoever would keep up to `wanted` of them.

        Where the system lets us open fewer files, fewer requests are in flight at once, and no
        connection is kept for the next request. Raises Refused when the environment names a proxy
        that is none.
        """
        proxy, places = _proxy(), _places()
        scarce = places < wanted
        # Lanes bound their own requests and the gate all of them; aiohttp's limit by host would
        # throw tenants that share an address together.
        connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=0, ttl_dns_cache=300, force_close=scarce
        )
        # aiohttp's own `trust_env` would also put the passwords of ~/.netrc over our tokens.
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            # aiohttp sends GET and DELETE again by itself when a kept connection was cut, and has
            # no public switch for it. tests/test_network.py counts requests at the server.
            session._retry_connection = False
            in_flight = max(1, min(IN_FLIGHT, places * 3 // 4 if scarce else places))
            yield cls(session, in_flight, proxy)

    def way_to(self, tenant: Tenant) -> Sender:
        """As `Carrier` promises. Certificates are read once, its proxy is the environment's."""
        route = tenant.route
        deadlines = self._deadlines.setdefault(route.request, Deadlines(route.request))
        timeout = aiohttp.ClientTimeout(total=None, connect=route.connect)
        direct = self._proxy is _NO_PROXY or _direct(tenant.base_url)
        proxy = _NO_PROXY if direct else self._proxy
        trust = partial(self._trust, route.ca_file)
        return _Way(self._session, self.gate, deadlines, timeout, trust, proxy)

    def _trust(self, ca_file: Path | None) -> ssl.SSLContext | bool:
        """Who may vouch for a tenant. Raises TenantError."""
        if ca_file is None:
            return True
        if ca_file not in self._trusted:
            try:
                self._trusted[ca_file] = ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                cause = f"no certificates in {ca_file}: {_why(error)}"
                raise TenantError(cause, "correct its ca_file, then apply --failed") from error
        return self._trusted[ca_file]


class _Way:
    """The way to one tenant."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        gate: Gate,
        deadlines: Deadlines,
        timeout: aiohttp.ClientTimeout,
        trust: Callable[[], ssl.SSLContext | bool],
        proxy: _Proxy,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._session, self._gate, self._deadlines = session, gate, deadlines
        self._timeout, self._trust, self._proxy = timeout, trust, proxy

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        """As `Sender` promises."""
        task, trusted = asyncio.current_task(self._loop), self._trust()
        assert task is not None
        group, places = self._deadlines.begin(task), self._gate.places
        try:
            response = await self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=self._timeout,
                ssl=trusted,
                proxy=self._proxy.url,
                proxy_headers=self._proxy.headers,
            )
            return Reply(status=response.status, body=await _body(response)), response.headers
        except aiohttp.ClientConnectorCertificateError as error:
            hint = "correct its certificate or the address, or name a private CA by ca_file"
            raise TenantError(f"its certificate is not trusted: {_why(error)}", hint) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self._not_sent(error, places) from error
        except aiohttp.ClientHttpProxyError as error:
            if error.status == 407:
                raise TenantError("the proxy answered 407", PROXY_WANTS) from error
            raise NotSent(f"the proxy answered {error.status}") from error
        except aiohttp.InvalidURL as error:
            raise NotSent(f"not an address: {url}") from error
        except asyncio.CancelledError as error:
            if self._deadlines.missed(task):
                raise Unsure(f"no answer within {self._deadlines.seconds:g} s") from error
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise Unsure(f"the line was cut before the answer: {_why(error)}") from error
        finally:
            self._deadlines.end(task, group)

    def _not_sent(self, error: Exception, places: int) -> NotSent:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return NotSent(f"cannot connect within {self._timeout.connect:g} s")
        if getattr(getattr(error, "os_error", None), "errno", None) in _SCARCE:
            self._gate.narrow(places)
        through = " to the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        return NotSent(f"cannot connect{through}: {_why(error)}")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """A whole body, if it is no longer than an answer can be. Raises Unsure."""
    length = response.headers.get("Content-Length", "")
    if len(length) < 7 and length.isdigit() and "Content-Encoding" not in response.headers:
        return await response.read()
    body = bytearray()
    try:
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > LONGEST_ANSWER:
                raise Unsure(f"the answer is longer than {LONGEST_ANSWER // 1_000_000} MB")
    except BaseException:
        response.close()
        raise
    response.release()
    return bytes(body)


def _places() -> int:
    """Connections that the system lets us have, besides the other files that a run needs."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return IN_FLIGHT * 64
    free = max(1, most - len(os.listdir("/dev/fd")))
    return max(1, free - min(_OTHER_FILES, free // 2))


def _proxy() -> _Proxy:
    """The proxy that the environment names by HTTPS_PROXY. Raises Refused."""
    named = getproxies().get("https", "")
    if not named:
        return _NO_PROXY
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            known, _, place = parts.netloc.rpartition("@")
            user, _, password = (unquote(part) for part in known.partition(":"))
            proof = b64encode(f"{user}:{password}".encode()).decode()
            headers = {"Proxy-Authorization": f"Basic {proof}"} if known else {}
            return _Proxy(url=parts._replace(netloc=place).geturl(), headers=headers)
    except ValueError:
        pass
    # Not shown: a password may stand in it.
    raise Refused("HTTPS_PROXY must be a URL like http://proxy.example:3128, or not set")


def _direct(base_url: str) -> bool:
    """Whether no proxy is for an address: plain http is loopback, NO_PROXY may name others."""
    address = urlsplit(base_url)
    return address.scheme == "http" or bool(proxy_bypass(address.netloc))


def _why(error: BaseException) -> str:
    """What the system says of an error, or in our words what it is."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, OSError) and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0)  # its own text may have an address in it
    told = (getattr(cause, name, None) for name in ("verify_message", "strerror"))
    ours = (words for kind, words in _BROKEN if isinstance(cause, kind))
    return next(filter(None, told), "") or next(ours, "the other side hung up")
