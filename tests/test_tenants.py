"""The tenants file, and the references in it."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks.errors import BadInput, Complaint
from bulkhooks.pacing import Limits
from bulkhooks.references import Reference
from bulkhooks.tenants import ClientSecret, StaticToken, Tenant, load_tenants

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
  local: {base_url: "http://127.0.0.1:9100/t0/", token: "env:LOCAL_TOKEN"}
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
        ("{domain: a.example}", "", "needs `token` or `client_id` and `client_secret`"),
        ("{domain: a.example, client_id: env:A}", "", "needs `token` or `client_id` and"),
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


@pytest.mark.parametrize("field", ["token", "client_id", "client_secret"])
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
    other = {"token": "", "client_id": "client_secret: env:B", "client_secret": "client_id: env:B"}
    text = f"tenants:\n  t:\n    domain: a.example\n    {field}: {value}\n    {other[field]}\n"
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
