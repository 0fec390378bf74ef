"""The tenants file: where each tenant is, how to log in there, what it may be asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Final, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit

from . import kinds, schema
from .kinds import matcher, rule, within, words
from .pacing import Limits
from .references import Kind, Reference
from .shape import Shape
from .source import Findings, dotted, number, read_document, read_file, shown

#: How a client's assertion is signed, of what Auth0 takes.
Algorithm: TypeAlias = kinds.Algorithm
#: What hooks take: every write, or those of `enabled` and of secrets alone.
Lifecycle: TypeAlias = kinds.Lifecycle

#: Bytes in a tenants file, at most: more than ten thousand tenants. Unlike the edits of a job they
#: cannot be written as JSON Lines. A file of that size made to be hard is refused in seconds.
_MAX_FILE: Final = 4_000_000
#: Bytes in a file of certificates, at most: the largest bundles have a quarter of that.
_MAX_CA_FILE: Final = 1_000_000
_SPLIT: Final = "split it, and name the part with --tenants"
_NOT_PEM: Final = "must hold certificates in PEM (-----BEGIN CERTIFICATE-----)"

_Word = TypeVar("_Word", bound=str)
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: How references start.
_REFERS: Final = tuple(f"{kind}:" for kind in _KINDS)
#: Where each part of a credential may be found.
_CREDENTIALS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "token": _KINDS,
    "client_id": _KINDS,
    "client_secret": _KINDS,
    "private_key": ("env", "file"),
}
_ALGORITHMS: Final[Mapping[str, Algorithm]] = {word: word for word in words(kinds.Algorithm)}
_LIFECYCLES: Final[Mapping[str, Lifecycle]] = {word: word for word in words(kinds.Lifecycle)}

_tenant_name = matcher(kinds.TenantName)
_tag = matcher(kinds.Tag)
_domain = matcher(kinds.Domain)
_url_text = matcher(kinds.BaseUrl)
_share = matcher(kinds.Share)
_rate = matcher(kinds.Rate)
_header_name = matcher(kinds.HeaderName)
_header_text = matcher(kinds.HeaderText)
_secretive = matcher(kinds.SecretiveName)
_FILE: Final = Shape(schema.TenantsFile)
_DEFAULTS: Final = Shape(schema.DefaultsEntry)
_TENANT: Final = Shape(schema.TenantEntry)
_LIMITS: Final = Shape(schema.LimitsEntry)
_TIMEOUTS: Final = Shape(schema.TimeoutsEntry)


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
    by_domain: bool = False  #: its domain was given, not its base URL
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
        """Whether hooks here take no writes but those of `enabled` and of secrets.

        Auth0 made them so on 2024-11-18; a tenant given by its domain is taken for that unless
        its `lifecycle` says otherwise.
        """
        return self.by_domain if self.lifecycle is None else self.lifecycle == "read-only"

    def allowed(self, job: Limits) -> Limits:
        """What a job with the limits `job` is allowed here: the nearest word counts."""
        return self.limits.over(job).over(self.default_limits)


def load_tenants(path: Path) -> dict[str, Tenant]:
    """Reads a tenants file (YAML, or JSON by its suffix); tenants are in the file's order.

    No reference is resolved. Raises BadInput with everything that is wrong with the file.
    """
    document = read_document(path, limit=_MAX_FILE, instead=_SPLIT)
    found = Findings(document.file, document.lines)
    found.take(*document.complaints)
    raw = _FILE.of(found, "", document.value)
    entries = _Entries(found, path.parent, raw)
    tenants: dict[str, Tenant] = {}
    homes: dict[str, str] = {}
    every = raw.get("tenants", {})
    if not isinstance(every, dict) or ("tenants" in raw and not every):
        found.add("tenants", "must be a mapping of names to tenants, with at least one")
        every = {}
    for name, value in every.items():
        key = dotted("tenants", name)
        if not _tenant_name(name):
            what = f"bad tenant name {shown(name)}: must be {rule(kinds.TenantName)}"
            found.add(key, what)
        tenant = entries.tenant(key, name, value)
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
        _check(found, f"{key}.reserve", reserve, raw["reserve"], kinds.Reserve)
    if "max_rate" in raw:
        max_rate = _max_rate(raw["max_rate"])
        _check(found, f"{key}.max_rate", max_rate, raw["max_rate"], kinds.MaxRate)
    if "concurrency" in raw:
        count = number(raw["concurrency"])
        if isinstance(count, int) and within(kinds.Concurrency, count):
            concurrency = count
        _check(found, f"{key}.concurrency", concurrency, raw["concurrency"], kinds.Concurrency)
    return Limits(reserve=reserve, max_rate=max_rate, concurrency=concurrency)


def _check(found: Findings, key: str, value: object, written: object, kind: object) -> None:
    if value is None:
        found.add(key, f"must be {rule(kind)}, not {shown(written)}")


def _reserve(value: object) -> float | int | None:
    if isinstance(value, str):
        share = _share(value)
        return None if share is None else float(share[1]) / 100
    count = number(value)
    return count if isinstance(count, int) and within(kinds.Requests, count) else None


def _max_rate(value: object) -> float | None:
    if isinstance(value, str):
        written = _rate(value)
        return written and float(written[1]) / (1 if written[2] == "s" else 60)
    rate = number(value)
    return None if rate is None or not within(kinds.PerSecond, rate) else float(rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What defaults and tenants may say alike, but for limits: a job's stand between theirs."""

    route: Route = Route()
    headers: Mapping[str, Reference | Given] = field(default_factory=dict)
    lifecycle: Lifecycle | None = None


class _Entries:
    """Reads the entries of one tenants file: what is wrong with them is added to `found`."""

    def __init__(self, found: Findings, folder: Path, raw: Mapping[str, object]) -> None:
        self._found, self._folder = found, folder
        #: What is wrong with the files of certificates: thousands of tenants may name the same.
        self._ca_files: dict[Path, str] = {}
        self._limits, self._common = Limits(), _Common()
        if "defaults" in raw:
            defaults = _DEFAULTS.of(found, "defaults", raw["defaults"])
            self._limits = limits_in(found, "defaults", defaults)
            self._common = self._over(self._common, "defaults", defaults)

    def tenant(self, key: str, name: str, value: object) -> Tenant | None:
        """The tenant that stands at `key`; None where it has no place or no credential."""
        raw = _TENANT.of(self._found, key, value)
        if not raw:
            return None
        base_url = _base_url(self._found, key, raw)
        credential = self._credential(key, raw)
        common = self._over(self._common, key, raw)
        tags = tags_in(self._found, f"{key}.tags", raw["tags"]) if "tags" in raw else ()
        limits = limits_in(self._found, key, raw)
        protected = "protected" in raw and self._found.boolean(f"{key}.protected", raw["protected"])
        if base_url is None or credential is None:
            return None
        return Tenant(
            name=name,
            base_url=base_url,
            by_domain="domain" in raw,
            credential=credential,
            route=common.route,
            headers=common.headers,
            lifecycle=common.lifecycle,
            tags=frozenset(tags),
            protected=bool(protected),
            limits=limits,
            default_limits=self._limits,
        )

    def _credential(self, key: str, raw: Mapping[str, object]) -> Credential | None:
        given = {
            name: self._reference(f"{key}.{name}", raw[name], kinds)
            for name, kinds in _CREDENTIALS.items()
            if name in raw
        }
        audience, kid = self._text(key, "audience", raw), self._text(key, "kid", raw)
        algorithm = self._word(key, "algorithm", raw, _ALGORITHMS)
        match given:
            case {"token": Reference() as token}:
                return StaticToken(token=token)
            case {"client_id": Reference() as client_id, "client_secret": Reference() as secret}:
                return ClientSecret(client_id=client_id, client_secret=secret, audience=audience)
            case {"client_id": Reference() as client_id, "private_key": Reference() as private_key}:
                return ClientKey(
                    client_id=client_id,
                    private_key=private_key,
                    algorithm=algorithm or "RS256",
                    kid=kid,
                    audience=audience,
                )
            case _:
                return None

    def _over(self, below: _Common, key: str, raw: Mapping[str, object]) -> _Common:
        """What `raw` says, and where it says nothing, what is said `below` it."""
        return _Common(
            route=self._route(below.route, key, raw),
            headers=self._headers(below.headers, key, raw),
            lifecycle=self._word(key, "hooks", raw, _LIFECYCLES) or below.lifecycle,
        )

    def _route(self, below: Route, key: str, raw: Mapping[str, object]) -> Route:
        ca_file, times = below.ca_file, {"connect": below.connect, "request": below.request}
        if "ca_file" in raw:
            ca_file = self._ca_file(f"{key}.ca_file", raw["ca_file"])
        if "timeouts" in raw:
            place = f"{key}.timeouts"
            written = _TIMEOUTS.of(self._found, place, raw["timeouts"])
            for name, value in written.items():
                kind, seconds = _TIMEOUTS.kinds[name], number(value)
                right = seconds if seconds is not None and within(kind, seconds) else None
                _check(self._found, f"{place}.{name}", right, value, kind)
                times[name] = float(right or 0)
        return Route(ca_file=ca_file, **times)

    def _ca_file(self, key: str, value: object) -> Path | None:
        written = self._found.text(key, value)
        if written is None:
            return None
        path = (self._folder / written).absolute()
        if path not in self._ca_files:
            self._ca_files[path] = _no_certificates(path)
        if wrong := self._ca_files[path]:
            self._found.add(key, f"{shown(written)} {wrong}")
        return path

    def _headers(
        self, below: Mapping[str, Reference | Given], key: str, raw: Mapping[str, object]
    ) -> Mapping[str, Reference | Given]:
        if "headers" not in raw:
            return below
        key, written = f"{key}.headers", raw["headers"]
        if not isinstance(written, dict) or not written:
            # What is written is not shown: it may be a header, its secret and all.
            self._found.add(key, "must be a mapping of names to values, with at least one")
            return below
        spelt: dict[str, str] = {}
        headers = {}
        for name, value in written.items():
            place = f"{key}.{name}"
            if not _header_name(name):
                what = f"bad header name {shown(name)}: must be {rule(kinds.HeaderName)}"
                self._found.add(place, what)
            elif spelt.setdefault(name.lower(), name) != name:
                twin = shown(spelt[name.lower()])
                self._found.add(place, f"is the same header as {twin}; give it once")
            elif held := self._header(place, name, value):
                headers[name] = held
        return {name: value for name, value in below.items() if name.lower() not in spelt} | headers

    def _header(self, key: str, name: str, value: object) -> Reference | Given | None:
        if _secretive(name) or (isinstance(value, str) and value.startswith(_REFERS)):
            return self._reference(key, value)
        text = self._found.text(key, value)
        if text is not None and not _header_text(text):
            self._found.add(key, f"must be {rule(kinds.HeaderText)}, or a reference")
            return None
        return None if text is None else Given(text)

    def _reference(
        self, key: str, value: object, kinds: Collection[Kind] = _KINDS
    ) -> Reference | None:
        try:
            return Reference.parse(value, self._folder, kinds)
        except ValueError as error:
            self._found.add(key, str(error))
            return None

    def _text(self, key: str, name: str, raw: Mapping[str, object]) -> str | None:
        return self._found.text(f"{key}.{name}", raw[name]) if name in raw else None

    def _word(
        self, key: str, name: str, raw: Mapping[str, object], known: Mapping[str, _Word]
    ) -> _Word | None:
        text = self._text(key, name, raw)
        if text is not None and text not in known:
            self._found.unknown(f"{key}.{name}", "word", text, known)
        return None if text is None else known.get(text)


def _no_certificates(path: Path) -> str:
    """What is wrong with a file that is to hold certificates; nothing where it is right."""
    try:
        read_file(path, _MAX_CA_FILE)
        trusted = SSLContext(PROTOCOL_TLS_CLIENT)
        trusted.load_verify_locations(path)
    except OSError:  # what OpenSSL cannot read
        return _NOT_PEM
    except ValueError as error:
        return str(error)
    # A list of revoked certificates can be loaded as well.
    return "" if trusted.cert_store_stats()["x509"] else _NOT_PEM


def _base_url(found: Findings, key: str, raw: Mapping[str, object]) -> str | None:
    if "domain" in raw:
        domain = found.text(f"{key}.domain", raw["domain"])
        if domain is not None and not _domain(domain):
            found.add(f"{key}.domain", f"must be {rule(kinds.Domain)}")
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
        return f"must be {rule(kinds.BaseUrl)}"
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
            found.add(f"{key}[{index}]", f"bad tag {shown(tag)}: must be {rule(kinds.Tag)}")
        elif tag is not None:
            tags.append(tag)
    return tuple(tags)
