"""The tenants file, and the references in it."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks.desk import Work
from bulkhooks.errors import BadInput, Complaint
from bulkhooks.pacing import Limits
from bulkhooks.references import Reference
from bulkhooks.rehearsal import pretended
from bulkhooks.tenants import (
    ClientKey,
    ClientSecret,
    Given,
    Lifecycle,
    Route,
    StaticToken,
    Tenant,
    load_tenants,
)

JOBS = Path(__file__).parent.parent / "jobs"
GOOD = """\
defaults:
  limits: {reserve: 20%}
tenants:
  acme-prod:
    domain: Acme.eu.auth0.com
    tags: [prod, eu]
    client_id: env:ACME_CLIENT_ID
    client_secret: file:keys/acme.secret
    audience: https://acme.eu.auth0.com/api/v2/
    limits: {max_rate: 100/m, concurrency: 8}
    protected: true
  acme-dev:
    domain: acme-dev.eu.auth0.com
    client_id: env:ACME_DEV_ID
    private_key: file:keys/acme-dev.pem
    algorithm: PS256
    kid: "2024-05"
    hooks: active
    timeouts: {connect: 2.5}
    headers: {X-Team: identity, x-gateway-KEY: "cmd:pass show gateway"}
  local: {base_url: "http://127.0.0.1:9100/t0/", token: "env:LOCAL_TOKEN"}
"""
#: A list of revoked certificates.
REVOKED = """\
-----BEGIN X509 CRL-----
MIGVMDwCAQEwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCY2EXDTI0MDEwMTAwMDAw
MFoXDTM0MDEwMTAwMDAwMFowCgYIKoZIzj0EAwIDSQAwRgIhAN/dqO86xQPlHued
cdBruXRgSFCXNn6Rx7CgFfBp28hhAiEAyn8CKLL5Awg3oxFKtBnZNitYP1jiwJ9y
EMLGZHIEF7w=
-----END X509 CRL-----
"""


def load(folder: Path, text: str | bytes, name: str = "tenants.yaml") -> dict[str, Tenant]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_tenants(path)


def complaints(folder: Path, text: str | bytes, name: str = "tenants.yaml") -> list[Complaint]:
    with pytest.raises(BadInput) as caught:
        load(folder, text, name)
    return list(caught.value.complaints)


def test_a_tenants_file_is_read_whole(tmp_path: Path) -> None:
    tenants = load(tmp_path, GOOD)
    assert tenants == {
        "acme-prod": Tenant(
            name="acme-prod",
            base_url="https://acme.eu.auth0.com",
            by_domain=True,
            tags=frozenset({"prod", "eu"}),
            protected=True,
            credential=ClientSecret(
                client_id=Reference(kind="env", value="ACME_CLIENT_ID", folder=tmp_path),
                client_secret=Reference(kind="file", value="keys/acme.secret", folder=tmp_path),
                audience="https://acme.eu.auth0.com/api/v2/",
            ),
            limits=Limits(max_rate=100 / 60, concurrency=8),
            default_limits=Limits(reserve=0.2),
        ),
        "acme-dev": Tenant(
            name="acme-dev",
            base_url="https://acme-dev.eu.auth0.com",
            by_domain=True,
            credential=ClientKey(
                client_id=Reference(kind="env", value="ACME_DEV_ID", folder=tmp_path),
                private_key=Reference(kind="file", value="keys/acme-dev.pem", folder=tmp_path),
                algorithm="PS256",
                kid="2024-05",
            ),
            route=Route(connect=2.5),
            headers={
                "X-Team": Given("identity"),
                "x-gateway-KEY": Reference(kind="cmd", value="pass show gateway", folder=tmp_path),
            },
            lifecycle="active",
            default_limits=Limits(reserve=0.2),
        ),
        "local": Tenant(
            name="local",
            base_url="http://127.0.0.1:9100/t0",
            tags=frozenset(),
            credential=StaticToken(
                token=Reference(kind="env", value="LOCAL_TOKEN", folder=tmp_path)
            ),
            limits=Limits(),
            default_limits=Limits(reserve=0.2),
        ),
    }


def test_a_tenants_file_may_be_json(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbf{"tenants": {"t": {"domain": "a.example", "token": "env:T"}}}'
    assert load(tmp_path, text, "tenants.json")["t"].base_url == "https://a.example"


def test_the_sample_is_right() -> None:
    tenants = load_tenants(JOBS / "tenants.yaml")
    assert len(tenants) == 9
    assert [name for name, tenant in tenants.items() if tenant.protected] == ["payments"]
    assert tenants["local"].base_url == "http://127.0.0.1:9100/local"


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ("{reserve: 20%}", Limits(reserve=0.2)),
        ("{reserve: '12.5 %'}", Limits(reserve=0.125)),
        ("{reserve: 0%}", Limits(reserve=0.0)),
        ("{reserve: 0}", Limits(reserve=0)),
        ("{reserve: 5}", Limits(reserve=5)),
        ("{max_rate: 10/s}", Limits(max_rate=10.0)),
        ("{max_rate: 90/min}", Limits(max_rate=1.5)),
        ("{max_rate: 0.5}", Limits(max_rate=0.5)),
        ("{max_rate: 3}", Limits(max_rate=3.0)),
        ("{concurrency: 64}", Limits(concurrency=64)),
    ],
)
def test_limits_are_read_as_they_are_meant(tmp_path: Path, written: str, limits: Limits) -> None:
    text = f"tenants: {{t: {{domain: a.example, token: env:T, limits: {written}}}}}"
    read = load(tmp_path, text)["t"].limits
    assert read == limits
    assert type(read.reserve) is type(limits.reserve)


@pytest.mark.parametrize(
    ("limits", "key", "what"),
    [
        ("{reserve: 100%}", "reserve", "share"),
        ("{reserve: 0.2}", "reserve", "share"),
        ("{reserve: -1}", "reserve", "share"),
        ("{reserve: yes}", "reserve", "`yes`"),
        ("{max_rate: 0}", "max_rate", "more than 0"),
        ("{max_rate: 0/s}", "max_rate", "more than 0"),
        ("{max_rate: -1}", "max_rate", "more than 0"),
        ("{max_rate: 5/h}", "max_rate", "`5/h`"),
        ("{max_rate: .inf}", "max_rate", "more than 0"),
        ("{max_rate: null}", "max_rate", "null"),
        ("{concurrency: 0}", "concurrency", "1 to 64"),
        ("{concurrency: 65}", "concurrency", "1 to 64"),
        ("{concurrency: true}", "concurrency", "1 to 64"),
        ("{concurrency: 2.0}", "concurrency", "1 to 64"),
        ("{concurency: 2}", "concurency", "did you mean `concurrency`?"),
    ],
)
def test_bad_limits_are_complained_of(tmp_path: Path, limits: str, key: str, what: str) -> None:
    text = f"tenants:\n  t:\n    domain: a.example\n    token: env:T\n    limits: {limits}\n"
    (complaint,) = complaints(tmp_path, text)
    assert complaint.key == f"tenants.t.limits.{key}"
    assert complaint.line == 5
    assert what in complaint.what
    assert complaint.file == str(tmp_path / "tenants.yaml")


@pytest.mark.parametrize(
    ("tenant", "key", "what"),
    [
        ("{token: env:T}", "", "needs `domain` or `base_url`"),
        (
            "{domain: a.example, base_url: 'https://b.example', token: env:T}",
            ".domain",
            "does not go with `base_url`",
        ),
        ("{domain: 'https://a.example', token: env:T}", ".domain", "host name alone"),
        ("{domain: a.example/x, token: env:T}", ".domain", "host name alone"),
        ("{domain: acme, token: env:T}", ".domain", "host name alone"),
        ("{domain: 12.5, token: env:T}", ".domain", 'write it in quotes, "12.5"'),
        ("{base_url: 'http://a.example', token: env:T}", ".base_url", "https"),
        ("{base_url: 'http://127.0.0.1.a.example', token: env:T}", ".base_url", "https"),
        ("{base_url: 'http://10.0.0.1', token: env:T}", ".base_url", "https"),
        ("{base_url: 'https://me:pw@a.example', token: env:T}", ".base_url", "password"),
        ("{base_url: 'http://localhost@a.example', token: env:T}", ".base_url", "password"),
        ("{base_url: 'https://a.example?x', token: env:T}", ".base_url", "`?`"),
        ("{base_url: 'https://a.example#x', token: env:T}", ".base_url", "`#`"),
        ("{base_url: 'https://a.example/../x', token: env:T}", ".base_url", "`..`"),
        ("{base_url: 'https://a.example/api/v2/', token: env:T}", ".base_url", "/api/v2"),
        ("{base_url: 'https://a.example:99999', token: env:T}", ".base_url", "must be a URL"),
        ("{base_url: 'https://[::1', token: env:T}", ".base_url", "must be a URL"),
        ("{base_url: 'https://', token: env:T}", ".base_url", "must be a URL"),
        ("{base_url: 'ftp://a.example', token: env:T}", ".base_url", "must be a URL"),
        (r"{base_url: 'http://localhost\a.example', token: env:T}", ".base_url", "must be a URL"),
        (
            "{domain: a.example}",
            "",
            "needs `token`, `client_id` and `client_secret` or `client_id`",
        ),
        ("{domain: a.example, client_id: env:A}", "", "or `client_id` and `private_key`"),
        ("{domain: a.example, private_key: env:A}", "", "or `client_id` and `private_key`"),
        ("{domain: a.example, client_id: env:A, algorithm: PS256, kid: a}", "", "`private_key`"),
        (
            "{domain: a.example, client_id: env:A, client_secret: env:B, private_key: env:C}",
            ".client_secret",
            "does not go with `private_key`",
        ),
        (
            "{domain: a.example, client_id: env:A, client_secret: env:B, algorithm: RS256, kid: a}",
            ".client_secret",
            "does not go with `algorithm` and `kid`",
        ),
        (
            "{domain: a.example, token: env:T, private_key: env:C}",
            ".token",
            "does not go with `private_key`",
        ),
        (
            "{domain: a.example, token: env:T, algorithm: RS256}",
            ".token",
            "does not go with `algorithm`",
        ),
        ("{domain: a.example, token: env:T, kid: a}", ".token", "does not go with `kid`"),
        (
            "{domain: a.example, client_id: env:A, token: env:B}",
            ".token",
            "does not go with `client_id`",
        ),
        (
            "{domain: a.example, token: env:T, audience: x}",
            ".token",
            "does not go with `audience`",
        ),
        ("{domain: a.example, token: env:T, tags: prod}", ".tags", "must be a list"),
        ("{domain: a.example, token: env:T, tags: [eu, 2024]}", ".tags[1]", "in quotes"),
        ("{domain: a.example, token: env:T, tags: ['a b']}", ".tags[0]", "bad tag"),
        ("{domain: a.example, token: env:T, protected: yes}", ".protected", "write true"),
        ("{domain: a.example, token: env:T, tag: []}", ".tag", "did you mean `tags`?"),
        ("{}", "", "is empty"),
        ("x", "", "must be a mapping"),
    ],
)
def test_bad_tenants_are_complained_of(tmp_path: Path, tenant: str, key: str, what: str) -> None:
    (complaint,) = complaints(tmp_path, f"tenants:\n  t: {tenant}\n")
    assert (complaint.key, complaint.line) == (f"tenants.t{key}", 2)
    assert what in complaint.what
    assert "me:pw" not in str(complaint)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.8.9.1:80", "[::1]:9100", "LOCALHOST:1/x/y"]
)
def test_plain_http_is_taken_on_loopback(tmp_path: Path, host: str) -> None:
    text = f"tenants: {{t: {{base_url: 'http://{host}/', token: env:T}}}}"
    assert load(tmp_path, text)["t"].base_url == f"http://{host}".lower().removesuffix(":80")


@pytest.mark.parametrize("name", ["a b", "", "prod-*", "-x", ".x", "a/b", "ä", "x" * 101])
def test_a_tenant_name_must_be_good_for_files_urls_and_globs(tmp_path: Path, name: str) -> None:
    (complaint,) = complaints(
        tmp_path, f"tenants: {{'{name}': {{domain: a.example, token: env:T}}}}"
    )
    assert "bad tenant name" in complaint.what


@pytest.mark.parametrize("second", ["domain: A.example", "base_url: 'https://a.example:443/'"])
def test_two_tenants_at_one_place_are_refused(tmp_path: Path, second: str) -> None:
    text = f"""\
tenants:
  one: {{domain: a.example, token: env:T}}
  two: {{{second}, token: env:T}}
"""
    (complaint,) = complaints(tmp_path, text)
    assert str(complaint) == (
        f"{tmp_path}/tenants.yaml:3: tenants.two: is at the same place as `one`; "
        "one tenant, one name"
    )


@pytest.mark.parametrize("field", ["token", "client_id", "client_secret", "private_key"])
@pytest.mark.parametrize(
    "value",
    [
        "s3cr3t-value",
        "'s3cr3t:value'",
        "'env:s3cr3t value'",
        "'env: s3cr3t'",
        "'cmd:\"s3cr3t'",
        "[s3cr3t]",
        "{s3cr3t: 1}",
        "'ENV:s3cr3t'",
        '"file:s3cr3t\\n"',
        "!s3cr3t x",
        "*s3cr3t",
        "'env:'",
        "123",
        "null",
    ],
)
def test_a_literal_credential_is_refused_and_never_shown(
    tmp_path: Path, field: str, value: str
) -> None:
    other = {"token": "", "client_id": "client_secret: env:B"}.get(field, "client_id: env:B")
    text = f"tenants:\n  t:\n    domain: a.example\n    {field}: {value}\n    {other}\n"
    found = complaints(tmp_path, text)
    assert found[0].line == 4
    assert "s3cr3t" not in " ".join(map(str, found))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("[]", "must be a mapping"),
        ("tenants: {}", "at least one"),
        ("tenants: []", "must be a mapping of names"),
        ("defaults: {limits: {}}\ntenants: {t: {domain: a.example, token: env:T}}", "is empty"),
        ("defaults: 1\ntenants: {t: {domain: a.example, token: env:T}}", "must be a mapping"),
        ("tenant: {}\ntenants: {t: {domain: a.example, token: env:T}}", "unknown key `tenant`"),
        ("tenants: {t: {domain: a.example, token: env:T, token: env:U}}", "is given twice"),
        ("a: 1\n---\nb: 2", "second document"),
        (b"tenants: \xff", "is not UTF-8"),
        ("tenants: '\x00'", "character that YAML does not allow"),
        ("tenants: [", "is not YAML"),
    ],
)
def test_a_file_that_is_none_is_complained_of(tmp_path: Path, text: str | bytes, what: str) -> None:
    assert what in " ".join(map(str, complaints(tmp_path, text)))


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        (
            "tenants.yaml",
            "a0: &a0 [x, x]\n"
            + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 99)),
            ":2: has an alias (*name); write the value out",
        ),
        ("tenants.yaml", "a: &a {x: 1}\nb: {<<: *a}", ":2: has an alias"),
        ("tenants.yaml", "a: &a [*a]", "has an alias"),
        ("tenants.yaml", "[" * 3_000_000, "nested deeper than 30 levels"),
        ("tenants.yaml", "- " * 1_500_000, "nested deeper than 30 levels"),
        ("tenants.yaml", "{a: " * 900_000, "nested deeper than 30 levels"),
        ("tenants.json", "[" * 3_000_000, "is not JSON"),
        ("tenants.json", '{"a":' * 700_000, "is not JSON"),
        ("tenants.yaml", "#" * 4_000_001, "is longer than 4,000,000 bytes; split it"),
        ("tenants.json", " " * 4_000_001, "is longer than 4,000,000 bytes; split it"),
    ],
    ids=lambda value: value[:20],
)
def test_a_file_that_is_made_to_be_hard_is_refused(
    tmp_path: Path, name: str, text: str, what: str
) -> None:
    (complaint,) = complaints(tmp_path, text, name)
    assert what in str(complaint)


def test_all_that_is_wrong_comes_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = """\
tenants:
  one: {domain: a.example, token: literal, tags: x}
  two: {base_url: "http://b.example", token: env:T, limits: {reserve: 1.5, max_rate: x}}
defaults: {limit: {}}
"""
    found = complaints(tmp_path, text)
    assert [(c.line, c.key) for c in found] == [
        (2, "tenants.one.token"),
        (2, "tenants.one.tags"),
        (3, "tenants.two.base_url"),
        (3, "tenants.two.limits.reserve"),
        (3, "tenants.two.limits.max_rate"),
        (4, "defaults.limit"),
    ]


def test_a_missing_file_is_a_complaint(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        load_tenants(tmp_path / "tenants.yaml")
    with pytest.raises(BadInput, match="is not a file"):
        load_tenants(tmp_path)


# ---- how a tenant is reached, and what its hooks take


def entry(more: str, first: str = "domain: a.example, token: env:T") -> str:
    """A tenants file with `more` on a line of its own, in one tenant."""
    return f"tenants:\n  t: {{{first},\n    {more}}}\n"


def test_no_reference_is_resolved_on_loading(tmp_path: Path) -> None:
    load(
        tmp_path,
        entry(
            "private_key: file:not-there.pem, headers: {X-Key: 'cmd:touch ran', X-A: env:NOT_SET}",
            "domain: a.example, client_id: env:NOT_SET",
        ),
    )
    assert not (tmp_path / "ran").exists()


def test_a_private_key_signs_with_rs256_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    text = entry("private_key: env:B, audience: https://x", "domain: a.example, client_id: env:A")
    assert load(tmp_path, text)["t"].credential == ClientKey(
        client_id=Reference(kind="env", value="A", folder=tmp_path),
        private_key=Reference(kind="env", value="B", folder=tmp_path),
        algorithm="RS256",
        audience="https://x",
    )


@pytest.mark.parametrize(
    ("more", "key", "what"),
    [
        (
            "private_key: 'cmd:cat s3cr3t'",
            ".private_key",
            "must be a reference: env:NAME or file:PATH",
        ),
        ("private_key: env:B, algorithm: RS512", ".algorithm", "`RS512`; did you mean `RS256`?"),
        ("private_key: env:B, algorithm: none", ".algorithm", "known are `RS256`"),
        ("private_key: env:B, algorithm: null", ".algorithm", "must be text"),
        ("private_key: env:B, kid: 2024", ".kid", 'write it in quotes, "2024"'),
        ("private_key: env:B, kid: ''", ".kid", "must be text"),
        ("private_key: env:B, audience: ''", ".audience", "must be text"),
        ("private_keys: env:B, private_key: env:B", ".private_keys", "did you mean `private_key`?"),
    ],
)
def test_what_goes_with_a_private_key_is_checked(
    tmp_path: Path, more: str, key: str, what: str
) -> None:
    (complaint,) = complaints(tmp_path, entry(more, "domain: a.example, client_id: env:A"))
    assert (complaint.key, complaint.line) == (f"tenants.t{key}", 3)
    assert what in complaint.what
    assert "s3cr3t" not in str(complaint)


def test_what_a_tenant_says_goes_before_the_defaults(tmp_path: Path) -> None:
    for name in ("ca.pem", "own.pem"):
        trustme.CA().cert_pem.write_to_path(tmp_path / name)
    text = """\
defaults:
  hooks: read-only
  ca_file: ca.pem
  timeouts: {connect: 5, request: 60}
  headers: {X-Team: identity, X-Trace: bulk, X-Key: env:KEY}
tenants:
  plain: {domain: a.example, token: env:T}
  own:
    domain: b.example
    token: env:T
    hooks: active
    ca_file: own.pem
    timeouts: {request: 600}
    headers: {x-TEAM: other, X-More: 'env is no reference'}
"""
    plain, own = load(tmp_path, text).values()
    key = Reference(kind="env", value="KEY", folder=tmp_path)
    assert plain.route == Route(ca_file=tmp_path / "ca.pem", connect=5.0, request=60.0)
    assert plain.headers == {"X-Team": Given("identity"), "X-Trace": Given("bulk"), "X-Key": key}
    assert (plain.lifecycle, own.lifecycle) == ("read-only", "active")
    assert own.route == Route(ca_file=tmp_path / "own.pem", connect=5.0, request=600.0)
    assert own.headers == {
        "X-Trace": Given("bulk"),
        "X-Key": key,
        "x-TEAM": Given("other"),
        "X-More": Given("env is no reference"),
    }


@pytest.mark.parametrize("section", ["defaults", "tenants.t"])
@pytest.mark.parametrize(
    ("more", "key", "what"),
    [
        ("timeouts: {connect: 0}", "timeouts.connect", "more than 0 and at most 300, not `0`"),
        ("timeouts: {connect: 300.5}", "timeouts.connect", "more than 0 and at most 300"),
        ("timeouts: {request: 601}", "timeouts.request", "more than 0 and at most 600"),
        ("timeouts: {request: -1}", "timeouts.request", "a number of seconds"),
        ("timeouts: {request: 30s}", "timeouts.request", "not `30s`"),
        ("timeouts: {request: '30'}", "timeouts.request", "a number of seconds"),
        ("timeouts: {request: true}", "timeouts.request", "a number of seconds"),
        ("timeouts: {request: .inf}", "timeouts.request", "a number of seconds"),
        ("timeouts: {conect: 5}", "timeouts.conect", "did you mean `connect`?"),
        ("timeouts: {connect: 5, connect: 6}", "timeouts.connect", "is given twice"),
        ("timeouts: {}", "timeouts", "is empty"),
        ("timeouts: 30", "timeouts", "must be a mapping"),
        ("hooks: readonly", "hooks", "unknown word `readonly`; did you mean `read-only`?"),
        ("hooks: off", "hooks", "YAML reads this as a truth value"),
        ("hooks: [active]", "hooks", "must be text"),
        ("ca_file: nowhere.pem", "ca_file", "`nowhere.pem` cannot be read: No such file"),
        ("ca_file: '.'", "ca_file", "is not a file"),
        ('ca_file: "a\\0b"', "ca_file", "null byte"),
        (f"ca_file: {'a' * 5000}", "ca_file", "cannot be read"),
        ("ca_file: key.pem", "ca_file", "must hold certificates in PEM"),
        ("ca_file: empty.pem", "ca_file", "must hold certificates in PEM"),
        ("ca_file: damaged.pem", "ca_file", "must hold certificates in PEM"),
        ("ca_file: revoked.pem", "ca_file", "must hold certificates in PEM"),
        ("ca_file: long.pem", "ca_file", "is longer than 1,000,000 bytes"),
        ("ca_file: ''", "ca_file", "must be text"),
        ("ca_files: ca.pem", "ca_files", "did you mean `ca_file`?"),
        ("headers: {}", "headers", "with at least one"),
        ("headers: 'X-Api-Key: s3cr3t'", "headers", "must be a mapping of names to values"),
        ("headers: ['X-Api-Key: s3cr3t']", "headers", "must be a mapping of names to values"),
        ("headers: {X-A: '', X-B: b}", "headers.X-A", "must be text"),
        ("headers: {X-A: 5}", "headers.X-A", 'write it in quotes, "5"'),
        ("headers: {X-A: bäd}", "headers.X-A", "1 to 8000 visible characters of ASCII"),
        ('headers: {X-A: "a\\nb"}', "headers.X-A", "1 to 8000 visible characters of ASCII"),
        (f"headers: {{X-A: {'a' * 8001}}}", "headers.X-A", "1 to 8000 visible characters"),
        ("headers: {X-A: 'env:a b'}", "headers.X-A", "a variable's name after env:"),
        ("headers: {X-A: 'file: '}", "headers.X-A", "one line of text after file:"),
        ("headers: {X-A: a, x-a: b}", "headers.x-a", "is the same header as `X-A`"),
        ("headers: {X-A: a, X-A: b}", "headers.X-A", "is given twice"),
    ],
)
def test_how_a_tenant_is_reached_is_checked(
    tmp_path: Path, section: str, more: str, key: str, what: str
) -> None:
    ca = trustme.CA()
    pem = ca.cert_pem.bytes()
    middle = len(pem) // 2
    files = {
        "key.pem": ca.private_key_pem.bytes(),
        "empty.pem": b"",
        "damaged.pem": pem + pem[:middle] + b"!!!!" + pem[middle + 4 :],
        "revoked.pem": REVOKED.encode(),
        "long.pem": pem + b"#" * 1_000_000,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    text = entry(more)
    if section == "defaults":
        text = f"defaults: {{\n\n    {more}}}\ntenants: {{t: {{domain: a.example, token: env:T}}}}"
    (complaint,) = complaints(tmp_path, text)
    assert (complaint.key, complaint.line) == (f"{section}.{key}", 3)
    assert what in complaint.what
    assert "s3cr3t" not in str(complaint)


def test_certificates_may_have_words_and_others_beside_them(tmp_path: Path) -> None:
    pems = [trustme.CA().cert_pem.bytes().decode() for _ in range(2)]
    (tmp_path / "ca.pem").write_text(f"# Zürich\n{pems[0]}\n# and\n{pems[1]}{REVOKED}")
    found = load(tmp_path, entry("ca_file: ca.pem"))["t"].route.ca_file
    assert found == tmp_path / "ca.pem"


def test_a_file_of_certificates_is_beside_the_tenants_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    trustme.CA().cert_pem.write_to_path(tmp_path / "here" / "ca.pem")
    (tmp_path / "here" / "tenants.yaml").write_text(entry("ca_file: ca.pem"))
    monkeypatch.chdir(tmp_path)
    tenant = load_tenants(Path("here/tenants.yaml"))["t"]
    assert tenant.route.ca_file == tmp_path / "here" / "ca.pem"


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "HOST", "accept", "Accept-Encoding", "Connection", "transfer-encoding"),
        *("Content-Type", "content-length", "Content-", "X Y", "X:", "", "Ä", "X-(a)", '"X\\n"'),
    ],
)
def test_headers_of_our_own_and_what_is_no_name_are_refused(tmp_path: Path, name: str) -> None:
    quoted = name if name.startswith('"') else f"'{name}'"
    found = complaints(tmp_path, entry(f"headers: {{{quoted}: s3cr3t}}"))
    assert [complaint.line for complaint in found] == [3]
    assert "bad header name" in found[0].what
    assert "s3cr3t" not in str(found[0])


@pytest.mark.parametrize(
    "name", ["Accept-Language", "Hosts", "X-Content-Type", "User-Agent", "a", "!#$%&'*+.^_`|~-9"]
)
def test_other_headers_are_taken(tmp_path: Path, name: str) -> None:
    quoted = name.replace("'", "''")
    headers = load(tmp_path, entry(f"headers: {{'{quoted}': ' a: b '}}"))["t"].headers
    assert headers == {name: Given(" a: b ")}


@pytest.mark.parametrize(
    "name",
    [
        *("X-Api-Key", "apikey", "X-TOKEN", "Client-Secret", "Cookie", "Proxy-Authorization"),
        *("X-Auth", "password", "X-Credentials", "X-Hub-Signature-256"),
    ],
)
@pytest.mark.parametrize(
    "value",
    ["s3cr3t", "'env:s3cr3t value'", "123", "[s3cr3t]", "null", "''", "!s3cr3t x", "s3cr3t: 1"],
)
def test_a_header_that_may_be_a_secret_takes_a_reference(
    tmp_path: Path, name: str, value: str
) -> None:
    if value == "s3cr3t: 1":
        value = f"{{{value}}}"
    found = complaints(tmp_path, entry(f"headers: {{{name}: {value}}}"))
    assert {(c.key, c.line) for c in found} == {(f"tenants.t.headers.{name}", 3)}
    assert "s3cr3t" not in " ".join(map(str, found))
    assert "123" not in " ".join(c.what for c in found)
    headers = load(tmp_path, entry(f"headers: {{{name}: 'file:a'}}"))["t"].headers
    assert headers == {name: Reference(kind="file", value="a", folder=tmp_path)}


def test_a_literal_header_is_not_shown_with_its_tenant(tmp_path: Path) -> None:
    assert "identity" not in repr(load(tmp_path, entry("headers: {X-Team: identity}")))


@pytest.mark.parametrize(
    ("place", "hooks", "read_only"),
    [
        ("domain: a.example", None, True),
        ("domain: a.example", "active", False),
        ("domain: a.example", "read-only", True),
        ("base_url: https://a.example", None, False),
        ("base_url: https://a.example", "active", False),
        ("base_url: https://a.example", "read-only", True),
    ],
)
@pytest.mark.parametrize("section", ["defaults", "tenant"])
def test_tenants_at_auth0_are_read_only_unless_the_file_says_otherwise(
    tmp_path: Path, section: str, place: str, hooks: Lifecycle | None, read_only: bool
) -> None:
    said = f"hooks: {hooks}" if hooks else "limits: {reserve: 0}"
    text = entry(said, f"{place}, token: env:T")
    if section == "defaults":
        text = f"defaults: {{{said}}}\ntenants: {{t: {{{place}, token: env:T}}}}"
    tenant = load(tmp_path, text)["t"]
    assert tenant.lifecycle == hooks
    assert tenant.read_only is read_only


def test_a_tenant_made_in_code_takes_every_write() -> None:
    assert not Tenant.with_token("t", "https://acme.eu.auth0.com", "x").read_only


async def test_a_rehearsal_is_of_tenants_that_take_every_write_unless_the_file_says_otherwise(
    tmp_path: Path,
) -> None:
    """And that are reached without anything secret, or meant for the way to the real ones."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text("""\
defaults: {ca_file: ca.pem, timeouts: {request: 0.001}, headers: {X-Key: "cmd:touch ran"}}
tenants:
  real: {domain: a.example, token: env:T}
  frozen: {domain: b.example, token: env:T, hooks: read-only}
""")
    job = tmp_path / "job.jsonl"
    job.write_text('{"tenants": "*", "hooks": {"enabled": true}, "set": {"enabled": false}}')
    work = Work.read(job, tenants)
    async with pretended(work.job, work.tenants) as known:
        assert [tenant.read_only for tenant in known.values()] == [False, True]
        for tenant in known.values():
            assert tenant.base_url.startswith("http://127.0.0.1:")
            assert (tenant.route, tenant.headers) == (Route(), {})


# ---- whatever comes


@settings(deadline=None)
@given(text=st.one_of(st.text(), st.binary()), json=st.booleans())
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes, json: bool
) -> None:
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    with pytest.raises(BadInput):
        load(tmp_path_factory.getbasetemp(), data, "any.json" if json else "any.yaml")


@settings(deadline=None, max_examples=300)
@given(seed=st.integers())
def test_any_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    text = GOOD
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        put = chance.choice(
            ["", "x", "{", "]", ": ", "\n", "- ", "*a", "!b ", "'", "1.10", "yes", " "]
        )
        text = text[:at] + put + text[at + chance.randint(0, 6) :]
    with suppress(BadInput):
        load(tmp_path_factory.getbasetemp(), text)
