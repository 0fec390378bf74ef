"""The tenants file: where each tenant is, how to log in there, what it may be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from . import schema
from .pacing import Limits
from .references import Reference
from .schema import Shape, matcher, rule, within
from .source import Findings, dotted, number, read_document, shown

#: Bytes in a tenants file, at most: a few tens of thousands of tenants.
_MAX_FILE: Final = 10_000_000

#: How a client's assertion is signed, of what Auth0 takes.
Algorithm: TypeAlias = Literal["RS256", "RS384", "PS256"]
#: What hooks take: every write, or those of `enabled` and of secrets alone.
Lifecycle: TypeAlias = Literal["active", "read-only"]

_tenant_name = matcher(schema.TenantName)
_tag = matcher(schema.Tag)
_domain = matcher(schema.Domain)
_url_text = matcher(schema.BaseUrl)
_share = matcher(schema.Share)
_rate = matcher(schema.Rate)
_FILE: Final = Shape(schema.TenantsFile)
_DEFAULTS: Final = Shape(schema.DefaultsEntry)
_TENANT: Final = Shape(schema.TenantEntry)
_LIMITS: Final = Shape(schema.LimitsEntry)


@dataclass(frozen=True, slots=True)
class Given:
    """A credential in hand: for tenants made in code, never in a file."""

    value: str = field(repr=False)

    def resolve(self) -> str:
        """The credential."""
        return self.value

    text = resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticToken:
    """A Management API token that somebody else keeps fresh."""

    token: Reference | Given


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """An application that may ask for tokens (client credentials grant)."""

    client_id: Reference | Given
    client_secret: Reference | Given
    audience: str | None = None  #: None: made from the base URL


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKey:
    """An application that signs what it asks for tokens with (private key JWT, RFC 7523)."""

    client_id: Reference | Given
    private_key: Reference | Given  #: a text in PEM
    algorithm: Algorithm = "RS256"
    kid: str | None = None  #: of the key, where the application has several
    audience: str | None = None  #: None: made from the base URL


Credential: TypeAlias = StaticToken | ClientSecret | ClientKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a tenant is reached; times are in seconds."""

    #: The certificates, in PEM, of those who may vouch for it; None: the system's.
    ca_file: Path | None = None
    connect: float = 10.0  #: for a connection to come about
    request: float = 30.0  #: for a request, from its sending to the end of its answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One Auth0 tenant as the tenants file has it."""

    name: str
    base_url: str  #: without a slash at the end; the API is at {base_url}/api/v2
    credential: Credential
    route: Route = Route()
    #: Headers of every request to the API, besides our own.
    headers: Mapping[str, Reference | Given] = field(default_factory=dict)
    #: What hooks still take here; None: nobody has said.
    lifecycle: Lifecycle | None = None
    tags: frozenset[str] = frozenset()
    #: Nothing is written there unless the tenant is named beside the job.
    protected: bool = False
    #: The tenant's own; they go over the job's.
    limits: Limits = field(default_factory=Limits)
    #: The file's defaults; the job's go over them.
    default_limits: Limits = field(default_factory=Limits)

    @classmethod
    def with_token(cls, name: str, base_url: str, token: str) -> Tenant:
        """A tenant made in code, with a token in hand."""
        credential = StaticToken(token=Given(token))
        return cls(name=name, base_url=base_url.rstrip("/"), credential=credential)

    @property
    def read_only(self) -> bool:
        """Whether hooks take nothing here but writes of `enabled` and of secrets."""
        return self.lifecycle == "read-only"

    def allowed(self, job: Limits) -> Limits:
        """What a job with the limits `job` is allowed here: the nearest word counts."""
        return self.limits.over(job).over(self.default_limits)


def load_tenants(path: Path) -> dict[str, Tenant]:
    """Reads a tenants file (YAML, or JSON by its suffix); tenants are in the file's order.

    No reference is resolved. Raises BadInput with everything that is wrong with the file.
    """
    document = read_document(path, limit=_MAX_FILE)
    found = Findings(document.file, document.lines)
    found.take(*document.complaints)
    raw = _FILE.of(found, "", document.value)
    default_limits = Limits()
    if "defaults" in raw:
        defaults = _DEFAULTS.of(found, "defaults", raw["defaults"])
        default_limits = limits_in(found, "defaults", defaults)
    tenants: dict[str, Tenant] = {}
    homes: dict[str, str] = {}
    every = raw.get("tenants", {})
    if not isinstance(every, dict) or ("tenants" in raw and not every):
        found.add("tenants", "must be a mapping of names to tenants, with at least one")
        every = {}
    for name, value in every.items():
        key = f"tenants.{name}"
        if not _tenant_name(name):
            what = f"bad tenant name {shown(name)}: must be {rule(schema.TenantName)}"
            found.add(key, what)
        tenant = _tenant(found, key, name, value, default_limits, path.parent)
        if tenant is None:
            continue
        twin = homes.setdefault(tenant.base_url, name)
        if twin != name:
            found.add(key, f"is at the same place as {shown(twin)}; one tenant, one name")
        tenants[name] = tenant
    found.close()
    return tenants


def limits_in(found: Findings, key: str, holder: Mapping[str, object]) -> Limits:
    """What `holder` gives as its limits; what is wrong with them is added to `found`."""
    if "limits" not in holder:
        return Limits()
    key = dotted(key, "limits")
    raw = _LIMITS.of(found, key, holder["limits"])
    reserve = max_rate = concurrency = None
    if "reserve" in raw:
        reserve = _reserve(raw["reserve"])
        _check(found, key, "reserve", reserve, raw)
    if "max_rate" in raw:
        max_rate = _max_rate(raw["max_rate"])
        _check(found, key, "max_rate", max_rate, raw)
    if "concurrency" in raw:
        count = number(raw["concurrency"])
        if isinstance(count, int) and within(schema.Concurrency, count):
            concurrency = count
        _check(found, key, "concurrency", concurrency, raw)
    return Limits(reserve=reserve, max_rate=max_rate, concurrency=concurrency)


def _check(found: Findings, key: str, name: str, value: object, raw: Mapping[str, object]) -> None:
    if value is None:
        found.add(f"{key}.{name}", f"must be {rule(_LIMITS.kinds[name])}, not {shown(raw[name])}")


def _reserve(value: object) -> float | int | None:
    if isinstance(value, str):
        share = _share(value)
        return None if share is None else float(share[1]) / 100
    count = number(value)
    return count if isinstance(count, int) and within(schema.Requests, count) else None


def _max_rate(value: object) -> float | None:
    if isinstance(value, str):
        written = _rate(value)
        return written and float(written[1]) / (1 if written[2] == "s" else 60)
    rate = number(value)
    return None if rate is None or not within(schema.PerSecond, rate) else float(rate)


def _tenant(
    found: Findings, key: str, name: str, value: object, default_limits: Limits, folder: Path
) -> Tenant | None:
    raw = _TENANT.of(found, key, value)
    if not raw:
        return None
    base_url = _base_url(found, key, raw)
    credential = _credential(found, key, raw, folder)
    tags = tags_in(found, f"{key}.tags", raw["tags"]) if "tags" in raw else ()
    limits = limits_in(found, key, raw)
    protected = "protected" in raw and found.boolean(f"{key}.protected", raw["protected"])
    if base_url is None or credential is None:
        return None
    return Tenant(
        name=name,
        base_url=base_url,
        tags=frozenset(tags),
        protected=bool(protected),
        credential=credential,
        limits=limits,
        default_limits=default_limits,
    )


def _base_url(found: Findings, key: str, raw: Mapping[str, object]) -> str | None:
    if "domain" in raw:
        domain = found.text(f"{key}.domain", raw["domain"])
        if domain is not None and not _domain(domain):
            found.add(f"{key}.domain", f"must be {rule(schema.Domain)}")
            domain = None
        return None if domain is None else f"https://{domain.lower()}"
    text = found.text(f"{key}.base_url", raw["base_url"]) if "base_url" in raw else None
    if text is None:
        return None
    # The URL is not shown: a password may stand in it.
    url = _url(text)
    if url.startswith("http"):
        return url
    found.add(f"{key}.base_url", url)
    return None


def _url(text: str) -> str:
    """The base URL in one spelling; or, for one that will not do, what is wrong with it."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    if "?" in text or "#" in text:
        return "must not hold `?` or `#`"
    if not host or port == 0 or not _url_text(text):
        return f"must be {rule(schema.BaseUrl)}"
    if {".", ".."} & set(parts.path.split("/")):
        return "must not hold `.` or `..` as a part of its path"
    if parts.path.rstrip("/").endswith("/api/v2"):
        return "must be without /api/v2; that is added"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must start with https; plain http is for loopback addresses only"
    named = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        named += f":{port}"
    return f"{parts.scheme}://{named}{parts.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tags_in(found: Findings, key: str, value: object) -> tuple[str, ...]:
    """The tags that `value` lists; what is wrong with them is added to `found`."""
    if not isinstance(value, list):
        found.add(key, f"must be a list like [prod, eu], not {shown(value)}")
        return ()
    tags = []
    for index, item in enumerate(value):
        tag = found.text(f"{key}[{index}]", item)
        if tag is not None and not _tag(tag):
            found.add(f"{key}[{index}]", f"bad tag {shown(tag)}: must be {rule(schema.Tag)}")
        elif tag is not None:
            tags.append(tag)
    return tuple(tags)


def _credential(
    found: Findings, key: str, raw: Mapping[str, object], folder: Path
) -> Credential | None:
    references = {
        name: _reference(found, f"{key}.{name}", raw[name], folder)
        for name in ("token", "client_id", "client_secret")
        if name in raw
    }
    audience = None
    if "audience" in raw:
        audience = found.text(f"{key}.audience", raw["audience"])
    if "token" in references:
        token = references["token"]
        return None if token is None else StaticToken(token=token)
    client_id, secret = references.get("client_id"), references.get("client_secret")
    if client_id is None or secret is None:
        return None
    return ClientSecret(client_id=client_id, client_secret=secret, audience=audience)


def _reference(found: Findings, key: str, value: object, folder: Path) -> Reference | None:
    try:
        return Reference.parse(value, folder)
    except ValueError as error:
        found.add(key, str(error))
        return None
