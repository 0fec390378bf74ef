"""A pretend tenant gives tokens to whom it should, and they may do what they may."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asking import CREDENTIALS, NOW, ask, json, rate
from bulkhooks.sandbox import Answer, Sandbox
from bulkhooks.sandbox.buckets import Bucket
from bulkhooks.sandbox.issuer import ASSERTION_TYPE, SCOPES

TOKEN = "/oauth/token"
HOOKS = "/api/v2/hooks"


def token_of(sandbox: Sandbox, at: float = 0.0) -> str:
    return str(json(ask(sandbox, "POST", TOKEN, CREDENTIALS, at=at))["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


# Tokens


def test_an_issued_token_is_good_for_its_tenant_for_a_day() -> None:
    sandbox = Sandbox(["acme", "other"])
    issued = json(ask(sandbox, "POST", "/oauth/token", CREDENTIALS, headers={}))
    headers = {"authorization": f"Bearer {issued['access_token']}"}

    assert issued["expires_in"] == 86_400
    assert ask(sandbox, headers=headers, at=86_399).status == 200
    assert ask(sandbox, headers=headers, at=86_400).status == 401
    assert ask(sandbox, headers=headers, tenant="other").status == 401


@pytest.mark.parametrize("missing", list(CREDENTIALS))
def test_a_token_needs_every_credential(missing: str) -> None:
    body = {key: value for key, value in CREDENTIALS.items() if key != missing}
    answer = ask(Sandbox(["acme"]), "POST", "/oauth/token", body)

    assert answer.status in (400, 403)
    assert "error" in json(answer)


def test_a_token_is_a_jwt_that_tells_whose_it_is_and_what_it_may_do() -> None:
    issued = json(ask(Sandbox(["acme"]), "POST", TOKEN, CREDENTIALS, at=0.5))
    claims = claims_of(issued["access_token"])

    assert (claims["iss"], claims["aud"]) == ("https://acme/", CREDENTIALS["audience"])
    assert (claims["sub"], claims["azp"]) == ("id@clients", "id")
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 86_400)
    assert claims["scope"] == issued["scope"] == " ".join(sorted(SCOPES))
    assert issued["token_type"] == "Bearer"


def test_each_token_is_another() -> None:
    sandbox = Sandbox(["acme"])

    assert len({token_of(sandbox) for _ in range(3)}) == 3


def test_a_token_ends_after_its_lifetime() -> None:
    sandbox = Sandbox(["acme"], token_lifetime=60, clock_ahead=1000)
    answer = json(ask(sandbox, "POST", TOKEN, CREDENTIALS))
    headers = bearer(answer["access_token"])

    assert answer["expires_in"] == 60
    assert [ask(sandbox, headers=headers, at=at).status for at in (59.9, 60)] == [200, 401]


CALLS = [
    ("GET", "", "read"),
    ("POST", "", "create"),
    ("GET", "/ID", "read"),
    ("PATCH", "/ID", "update"),
    ("DELETE", "/ID", "delete"),
    ("GET", "/ID/secrets", "read"),
    ("POST", "/ID/secrets", "update"),
    ("PATCH", "/ID/secrets", "update"),
    ("DELETE", "/ID/secrets", "delete"),
]


@pytest.mark.parametrize(("method", "path", "right"), CALLS)
def test_a_call_needs_its_scope(method: str, path: str, right: str) -> None:
    scope = f"{right}:hooks"
    others = [each for each in SCOPES if each != scope]
    sandbox = Sandbox(["a", "b"], hooks=0, scopes={"a": others, "b": [scope]})
    refused, let = (ask(sandbox, method, HOOKS + path, {}, tenant=tenant) for tenant in "ab")

    assert (refused.status, json(refused)["errorCode"]) == (403, "insufficient_scope")
    assert json(refused)["message"] == f"Insufficient scope, expected any of: {scope}"
    assert let.status in (200, 400, 404)


def test_issued_tokens_tell_and_have_the_tenants_scopes_only() -> None:
    sandbox = Sandbox(["acme"], scopes={"acme": ["read:hooks", "read:actions"]})
    issued = json(ask(sandbox, "POST", TOKEN, CREDENTIALS))
    headers = bearer(issued["access_token"])

    assert (
        issued["scope"] == claims_of(issued["access_token"])["scope"] == "read:actions read:hooks"
    )
    assert ask(sandbox, headers=headers).status == 200
    assert ask(sandbox, "POST", headers=headers).status == 403


# The limit of token requests


def test_token_requests_have_a_limit_of_their_own() -> None:
    bucket = Bucket(burst=2, rate=1, per=10)
    sandbox = Sandbox(["acme", "b"], bucket=Bucket(burst=1, rate=1), token_bucket=bucket)
    answers = [ask(sandbox, "POST", TOKEN, CREDENTIALS) for _ in range(3)]

    assert [rate(answer) for answer in answers] == [
        (200, 2, 1, 10),
        (200, 2, 0, 10),
        (429, 2, 0, 10),
    ]
    assert json(answers[2])["errorCode"] == "too_many_requests"
    assert rate(ask(sandbox)) == (200, 1, 0, 1)
    assert ask(sandbox, "POST", TOKEN, CREDENTIALS, tenant="b").status == 200
    assert ask(sandbox, "POST", TOKEN, CREDENTIALS, at=10).status == 200
    assert [seen.status for seen in sandbox.log] == [200, 200, 429, 200, 200, 200]
    assert sandbox.statistics()["acme"].requests == 1


def test_without_a_limit_of_their_own_token_requests_tell_none() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=1, rate=1))
    answers = [ask(sandbox, "POST", TOKEN, CREDENTIALS) for _ in range(3)]

    assert {answer.status for answer in answers} == {200}
    assert not any(name.startswith("x-") for answer in answers for name in answer.headers)


# Signed requests (RFC 7523)


@pytest.fixture(scope="module")
def keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    """The client's key, and another one."""
    mine, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    return mine, other


def knowing(key: rsa.RSAPrivateKey) -> Sandbox:
    """Tenants, of which `acme` knows the client's public key."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Sandbox(["acme", "b"], public_keys={"acme": pem.decode()})


CLAIMS = {
    "iss": "id",
    "sub": "id",
    "aud": "https://acme.eu.auth0.com/",
    "exp": int(NOW) + 60,
    "jti": "1",
}


def signed(
    key: Any, claims: dict[str, Any] | None = None, algorithm: str = "RS256", **more: Any
) -> dict[str, Any]:
    """A request for a token that is signed so; a claim of None is left away."""
    kept = {name: value for name, value in (CLAIMS | (claims or {})).items() if value is not None}
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": jwt.encode(kept, key, algorithm, headers={"kid": "any"}),
        "audience": CREDENTIALS["audience"],
        **more,
    }


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "PS256"])
@pytest.mark.parametrize(
    ("claims", "more"),
    [
        ({}, {}),
        ({}, {"client_id": "id"}),
        ({"aud": "http://127.0.0.1:9100/acme/"}, {}),
        ({"exp": int(NOW) + 300}, {}),
    ],
)
def test_who_signs_with_the_right_key_gets_a_token(
    keys: Any, algorithm: str, claims: dict[str, Any], more: dict[str, Any]
) -> None:
    sandbox = knowing(keys[0])
    answer = ask(sandbox, "POST", TOKEN, signed(keys[0], claims, algorithm, **more))

    assert answer.status == 200
    token = json(answer)["access_token"]
    assert claims_of(token)["sub"] == "id@clients"
    assert ask(sandbox, headers=bearer(token)).status == 200


@pytest.mark.parametrize(
    ("claims", "more"),
    [
        ({"iss": "other"}, {}),
        ({"iss": "other", "sub": "other"}, {"client_id": "id"}),
        ({"aud": "https://acme.eu.auth0.com"}, {}),
        ({"aud": "http://127.0.0.1:9100/b/"}, {}),
        ({"aud": ["https://acme.eu.auth0.com/"]}, {}),
        ({"exp": int(NOW)}, {}),
        ({"exp": int(NOW) + 301}, {}),
        *(({claim: None}, {}) for claim in CLAIMS),
    ],
)
def test_an_assertion_with_a_wrong_claim_is_refused(
    keys: Any, claims: dict[str, Any], more: dict[str, Any]
) -> None:
    answer = ask(knowing(keys[0]), "POST", TOKEN, signed(keys[0], claims, **more))

    assert (answer.status, json(answer)["error"]) == (401, "invalid_client")


def test_who_signs_with_another_key_or_not_at_all_gets_none(keys: Any) -> None:
    sandbox = knowing(keys[0])
    asked = [
        signed(keys[1]),
        signed("x" * 32, algorithm="HS256"),
        signed(keys[0]) | {"client_assertion": "x"},
        CREDENTIALS,
    ]
    answers = [ask(sandbox, "POST", TOKEN, each) for each in asked]

    assert {refusal(answer) for answer in answers} == {(401, "invalid_client")}
    assert ask(sandbox, "POST", TOKEN, CREDENTIALS, tenant="b").status == 200


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, json(answer)["error"]


def test_an_assertion_is_good_once(keys: Any) -> None:
    sandbox = knowing(keys[0])
    asked = [
        signed(keys[0]),
        signed(keys[0], {"exp": int(NOW) + 90}),
        signed(keys[0], {"jti": "2"}),
    ]

    assert [ask(sandbox, "POST", TOKEN, each).status for each in asked] == [200, 401, 200]


@pytest.mark.parametrize("years", [-20, 20])
def test_whether_an_assertion_has_ended_is_told_by_the_servers_clock(keys: Any, years: int) -> None:
    at = years * 31_557_600
    asked = [signed(keys[0], {"exp": int(NOW) + at + end, "jti": f"{end}"}) for end in (60, 0)]
    sandbox = knowing(keys[0])

    assert [ask(sandbox, "POST", TOKEN, each, at=at).status for each in asked] == [200, 401]


@pytest.mark.parametrize(
    "wrong", [{"client_assertion_type": "jwt"}, {"client_assertion": ""}, {"grant_type": "x"}]
)
def test_a_signed_request_must_be_a_whole_one(keys: Any, wrong: dict[str, str]) -> None:
    answer = ask(knowing(keys[0]), "POST", TOKEN, signed(keys[0]) | wrong)

    assert answer.status == 400


def test_where_no_key_is_known_any_assertion_is_taken_that_is_one(keys: Any) -> None:
    sandbox = Sandbox(["acme"])
    whole = ask(sandbox, "POST", TOKEN, signed(keys[1], {"exp": 1}))

    assert claims_of(json(whole)["access_token"])["azp"] == "id"
    broken = ask(sandbox, "POST", TOKEN, signed(keys[1]) | {"client_assertion": "a.b.c"})
    assert refusal(broken) == (401, "invalid_client")
