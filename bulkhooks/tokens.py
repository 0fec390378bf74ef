"""Tokens: how one is asked for with a tenant's credential, and what one allows.

Tokens and credentials are held in memory only, and no text that is made here shows one.
"""

from __future__ import annotations

import math
import re
import time
from typing import Any, Final
from uuid import uuid4

import anyio.to_thread
import msgspec
import orjson

from .answers import BETWEEN, REDIRECTS, page
from .errors import NoValue, TenantError, Unsure
from .items import Fields, Reply
from .references import Reference
from .secrecy import veiled
from .tenants import ClientKey, ClientSecret, Given, StaticToken, Tenant

#: A token is renewed when this share of its life is left, or so many seconds if that is less.
_SHARE, _RENEW = 0.2, 300.0
#: Seconds of a token's life where a tenant does not tell (Auth0's default), and at most.
_LIFE: Final = 86_400.0
#: Seconds for which what signs a request for a token is good.
_ASSERTION_LIFE: Final = 60
#: How a client's assertion is announced (RFC 7523, 2.2).
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: What of a request for a token is secret.
_PROOF: Final = ("client_secret", "client_assertion")
#: What RFC 6749, 5.2 lets an error be called, as far as it is a plain word.
_CODE: Final = re.compile(r"[a-z_]{1,40}\Z")
_TOKEN: Final = re.compile(r"[!-~]{1,20000}\Z")
_CORRECT: Final = {
    ClientSecret: "check client_id, client_secret and audience in the tenants file",
    ClientKey: "check client_id, private_key, kid, algorithm and audience in the tenants file",
}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A token, and what it allows as far as it or its issuer tells."""

    token: str
    client: str = ""  #: id of the application that it was given to; "" where it does not tell
    scopes: frozenset[str] | None = None  #: None: it does not tell
    life: float = math.inf  #: seconds from when it was given, or was first seen
    given: bool = False  #: it came as it is: asking gets no other

    def __repr__(self) -> str:
        """Without the token."""
        return f"Grant(client={self.client!r}, life={self.life:.0f})"

    @property
    def whose(self) -> str:
        """Who it was given to, in words."""
        return f"client {self.client}" if self.client else "this tenant's client"

    @property
    def use(self) -> float:
        """Seconds after which another is fetched."""
        return math.inf if self.given else self.life - min(_RENEW, self.life * _SHARE)


async def handed(credential: StaticToken) -> Grant:
    """The token that somebody else keeps fresh. Raises TenantError when there is none."""
    token = await _resolved(credential.token)
    if not _TOKEN.match(token):
        raise TenantError("no credential", "its token must be visible ASCII without spaces")
    return _grant(token, given=True)


async def request(tenant: Tenant) -> Fields:
    """The body of a request for a token, by client credentials (RFC 6749, 4.4), the client proven
    by its secret or by a signature (RFC 7523; https://auth0.com/docs/get-started/applications/
    configure-private-key-jwt). Raises TenantError when a credential is not to be had."""
    credential = tenant.credential
    assert not isinstance(credential, StaticToken)
    client_id = await _resolved(credential.client_id)
    body = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "audience": credential.audience or f"{tenant.base_url}/api/v2/",
    }
    if isinstance(credential, ClientSecret):
        return body | {"client_secret": await _resolved(credential.client_secret)}
    signed = await anyio.to_thread.run_sync(_signed, credential, client_id, f"{tenant.base_url}/")
    return body | {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": signed}


def granted(tenant: Tenant, asked: Fields, reply: Reply) -> Grant:
    """The token in the answer to the body `asked`. Raises Unsure where asking again may help, else
    TenantError."""
    if reply.status >= 500 or reply.status == 408:
        raise Unsure(f"no token: the tenant answered {reply.status}")
    answer = _object(reply.body)
    token = answer.get("access_token")
    if reply.status != 200 or not isinstance(token, str) or not _TOKEN.match(token):
        # Its description is not shown: what was sent may be quoted there.
        code = str(answer.get("error", ""))
        said = f" {code}" if _CODE.match(code) and code == veiled(code, proof(asked)) else ""
        cause = f"no token: the tenant answered {reply.status}{said}"
        if strange := page(reply.body):
            raise TenantError(f"{cause} {strange}", BETWEEN)
        redirects = 300 <= reply.status < 400
        raise TenantError(cause, REDIRECTS if redirects else _CORRECT[type(tenant.credential)])
    found = _grant(token)
    lives = (_seconds(answer.get("expires_in")), found.life, _LIFE)
    life = next(life for life in lives if 0 < life < math.inf)
    client = found.client or asked["client_id"]
    found = msgspec.structs.replace(found, life=life, client=client)
    scopes = answer.get("scope")
    if found.scopes is None and isinstance(scopes, str):
        found = msgspec.structs.replace(found, scopes=frozenset(scopes.split()))
    return found


def proof(asked: Fields) -> set[str]:
    """What of the body of a request for a token is secret."""
    return {asked[key] for key in _PROOF if key in asked}


def _grant(token: str, *, given: bool = False) -> Grant:
    """A token and what it says of itself, if it is a JWT. Nothing of that is relied on: the tenant
    is who checks tokens."""
    if token.count(".") != 2:
        return Grant(token=token, given=given)
    import jwt

    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return Grant(token=token, given=given)
    client, scopes = claims.get("azp"), claims.get("scope")
    # A new one lasts by the tenant's clock alone; how old one in hand is, only ours can tell.
    life = _seconds(claims.get("exp")) - (time.time() if given else _seconds(claims.get("iat")))
    return Grant(
        token=token,
        client=client if isinstance(client, str) and client.isprintable() else "",
        scopes=frozenset(scopes.split()) if isinstance(scopes, str) else None,
        life=life if math.isfinite(life) else math.inf,
        given=given,
    )


def _seconds(value: object) -> float:
    """A number of seconds; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # JSON's numbers have no bounds
        return math.nan


def _signed(credential: ClientKey, client_id: str, audience: str) -> str:
    """An assertion that is who it says. Raises TenantError, never with anything of the key."""
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        pem, now = credential.private_key.text(), int(time.time())
    except NoValue as error:
        raise TenantError("no credential", error.hint) from None
    claims: Fields = {"iss": client_id, "sub": client_id, "aud": audience}
    claims |= {"jti": uuid4().hex, "iat": now, "exp": now + _ASSERTION_LIFE}
    headers = {"kid": credential.kid} if credential.kid else None
    try:
        return jwt.encode(claims, pem, credential.algorithm, headers)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, AttributeError):
        # AttributeError is what PyJWT makes of a public key.
        hint = "its private_key must be an RSA key in PEM, without a password"
        raise TenantError("no credential", hint) from None


async def _resolved(credential: Reference | Given) -> str:
    """A credential; what may take its time to give one does so in a thread."""
    try:
        if isinstance(credential, Reference) and credential.kind != "env":
            return await anyio.to_thread.run_sync(credential.resolve, abandon_on_cancel=True)
        return credential.resolve()
    except NoValue as error:
        raise TenantError("no credential", error.hint) from None


async def fixed_headers(tenant: Tenant) -> tuple[dict[str, str], frozenset[str]]:
    """The headers that a tenant's requests carry besides ours, and which of their values must not
    be shown. Raises TenantError."""
    headers = {name: await _resolved(value) for name, value in tenant.headers.items()}
    referred = (name for name, value in tenant.headers.items() if isinstance(value, Reference))
    return headers, frozenset(headers[name] for name in referred)


def _object(body: bytes) -> Fields:
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
