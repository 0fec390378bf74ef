"""The token endpoint of a pretend tenant: client credentials by secret or by signature.

Part of the sandbox, and as `sandbox.py` apart from the client. It follows RFC 6749 (4.4), RFC 7523
and Auth0's page on private key JWT. PyJWT is imported when a token is asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final

#: Seconds that a token is good for (Auth0's default).
TOKEN_LIFETIME: Final = 86_400
#: What `client_assertion_type` must be.
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Most seconds that an assertion may have left.
ASSERTION_LIFETIME: Final = 300
#: What a tenant's tokens may do unless that is limited.
SCOPES: Final = tuple(
    f"{verb}:{kind}"
    for kind in ("hooks", "actions")
    for verb in ("read", "create", "update", "delete")
)

_ALGORITHMS: Final = ("RS256", "RS384", "PS256")
_CLAIMS: Final = ("iss", "sub", "aud", "exp", "jti")


class Denied(Exception):
    """No token: `status` and the `body` that goes with it, in the form of RFC 6749 (5.2)."""

    def __init__(self, status: int, error: str, description: str) -> None:
        self.status: Final = status
        self.body: Final = {"error": error, "error_description": description}
        super().__init__(description)


class Issuer:
    """Gives out one tenant's tokens, and knows which are good. Times are the server's seconds.

    A client has to sign for its tokens where there is a `public_key` (PEM); else any secret is
    taken, and any assertion that is a JWT. `scopes` are what the tokens tell.
    """

    def __init__(
        self, tenant: str, *, lifetime: int, scopes: Collection[str], public_key: str | None
    ) -> None:
        self._tenant = tenant
        self._lifetime = lifetime
        self._scope = " ".join(sorted(scopes))
        self._public_key = public_key
        self._ends: dict[str, float] = {}  # of each issued token
        self._used: set[str] = set()  # ids of assertions

    def issue(self, asked: Mapping[str, Any], server: float) -> dict[str, Any]:
        """The answer to a request for a token.

        :raises Denied: if it gets none.
        """
        signed = "client_assertion" in asked or "client_assertion_type" in asked
        proof = ("client_assertion_type", "client_assertion") if signed else ("client_secret",)
        for key in ("grant_type", *(() if signed else ("client_id",)), *proof):
            if not isinstance(asked.get(key), str) or not asked[key]:
                raise Denied(400, "invalid_request", f"Missing required parameter: {key}")
        if asked["grant_type"] != "client_credentials":
            raise Denied(400, "unsupported_grant_type", "Unsupported grant type")
        if signed:
            client = self._signer(asked, server)
        elif self._public_key:
            raise Denied(401, "invalid_client", "This client has to use private_key_jwt")
        else:
            client = asked["client_id"]
        if not asked.get("audience"):  # Auth0 has no default audience unless one was set
            raise Denied(403, "access_denied", "No audience parameter was provided")
        return self._token(client, asked["audience"], server)

    def is_good(self, token: str, server: float) -> bool:
        """Whether it was issued here and has neither ended nor been revoked."""
        ends = self._ends.get(token)
        return ends is not None and server < ends

    def revoke(self, token: str) -> None:
        """The token is good no more, if it ever was."""
        self._ends.pop(token, None)

    def _token(self, client: str, audience: Any, server: float) -> dict[str, Any]:
        import jwt

        claims = {
            "iss": f"https://{self._tenant}/",
            "sub": f"{client}@clients",
            "azp": client,
            "aud": audience,
            "iat": int(server),
            "exp": int(server) + self._lifetime,
            "gty": "client-credentials",
            "scope": self._scope,
            "jti": secrets.token_urlsafe(16),
        }
        token = jwt.encode(claims, _KEY, algorithm="HS256")
        self._ends[token] = server + self._lifetime
        return {
            "access_token": token,
            "scope": self._scope,
            "expires_in": self._lifetime,
            "token_type": "Bearer",
        }

    def _signer(self, asked: Mapping[str, Any], server: float) -> str:
        """The client that signed the assertion, which was verified if there is a key for that."""
        import jwt

        if asked["client_assertion_type"] != ASSERTION_TYPE:
            raise Denied(400, "invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}")
        # Times are checked below, by the server's clock.
        options: Any = {f"verify_{claim}": False for claim in ("aud", "exp", "iat", "nbf")}
        try:
            if self._public_key is None:
                options = {"verify_signature": False}
                claims = jwt.decode(asked["client_assertion"], options=options)
                return str(claims.get("sub") or asked.get("client_id") or "")
            options["require"] = list(_CLAIMS)
            claims = jwt.decode(
                *(asked["client_assertion"], self._public_key, _ALGORITHMS), options=options
            )
        except jwt.InvalidTokenError as error:
            raise _bad_assertion(str(error)) from None
        self._check_claims(claims, asked.get("client_id"), server)
        return str(claims["sub"])

    def _check_claims(self, claims: Mapping[str, Any], client: Any, server: float) -> None:
        issuer, audience, ends = claims["iss"], claims["aud"], claims["exp"]
        if issuer != claims["sub"] or client not in (None, issuer):
            raise _bad_assertion("iss, sub and client_id must be the same")
        if not isinstance(audience, str) or not (
            audience.endswith(f"/{self._tenant}/")
            or (audience.startswith("https://") and audience.endswith("/"))
        ):
            raise _bad_assertion("aud must be the tenant's address, with a / at its end")
        if not isinstance(ends, int | float) or not 0 < ends - server <= ASSERTION_LIFETIME:
            raise _bad_assertion(f"exp must be at most {ASSERTION_LIFETIME} s away, and not passed")
        if claims["jti"] in self._used:
            raise _bad_assertion("jti was used before")
        self._used.add(claims["jti"])


#: Nobody else needs to know it: what was issued is known by its text.
_KEY: Final = secrets.token_bytes(32)


def _bad_assertion(why: str) -> Denied:
    return Denied(401, "invalid_client", f"client_assertion: {why}")
