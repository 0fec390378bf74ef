"""Asks the sandbox's core at chosen times, without sockets."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import orjson
import trustme

from bulkhooks.sandbox import Answer, Request, Sandbox

NOW = 1_800_000_000.0
BEARER = {"authorization": "Bearer sandbox"}
CREDENTIALS = {
    "grant_type": "client_credentials",
    "client_id": "id",
    "client_secret": "secret",
    "audience": "https://acme.example/api/v2/",
}


def ask(
    sandbox: Sandbox,
    method: str = "GET",
    path: str = "/api/v2/hooks",
    body: object = None,
    *,
    query: str = "",
    tenant: str = "acme",
    headers: dict[str, str] = BEARER,
    at: float = 0.0,
) -> Answer:
    """What the core answers `at` seconds after NOW; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    asked = Request(
        tenant=tenant,
        method=method,
        path=path,
        query=dict(parse_qsl(query)),
        headers=headers,
        body=raw,
    )
    return sandbox.handle(asked, NOW + at)


def json(answer: Answer) -> Any:
    return orjson.loads(answer.body)


def hook_path(sandbox: Sandbox, name: str) -> str:
    [id] = [hook["id"] for hook in sandbox.hooks_of("acme") if hook["name"] == name]
    return f"/api/v2/hooks/{id}"


def rate(answer: Answer) -> tuple[int, int, int, float]:
    """Status, limit, remaining, and seconds from NOW to the reset."""
    limit, remaining, reset = (
        int(answer.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")
    )
    return answer.status, limit, remaining, reset - NOW


@cache
def certified() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For TLS: of a server on 127.0.0.1, and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    client = ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client
