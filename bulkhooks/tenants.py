"""The tenants file: where each tenant is, how to log in there, what it may be asked for."""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from .errors import TenantError
from .pacing import Limits
from .source import Findings, Plain, dotted, number, read_document, read_file, shown

#: Bytes in a tenants file, at most: a few tens of thousands of tenants.
_MAX_FILE: Final = 10_000_000
#: Bytes in a credential's file, at most.
_MAX_CREDENTIAL: Final = 100_000
#: Seconds that a `cmd:` may take.
_CMD_TIMEOUT: Final = 30.0

#: Names stand in URLs, globs and file names.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_NAME_RULE: Final = "letters, digits, `.`, `_` and `-`, the first a letter or digit, 100 at most"
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{4,253}}\Z){_LABEL}(\.{_LABEL})+\Z")
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/*\Z", re.IGNORECASE)
_ENV: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SHARE: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,6})?)\s*%\Z")
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*/\s*(s|m|min)\Z")
_RULES: Final = {
    "reserve": 'must be a share of the limit like "20%" or a number of requests, 0 or more',
    "max_rate": 'must be more than 0: "10/s", "100/m" or a number a second',
    "concurrency": "must be a whole number from 1 to 64",
}
_KINDS: Final[dict[str, Literal["env", "file", "cmd"]]] = {
    "env": "env",
    "file": "file",
    "cmd": "cmd",
}
_REFERENCE_RULE: Final = "must be a reference: env:NAME, file:PATH or cmd:COMMAND"
_FILE: Final = {"defaults": None, "tenants": None}
_DEFAULTS: Final = {"limits": None}
_TENANT: Final = dict.fromkeys(
    ("domain", "base_url", "tags", "token", "client_id", "client_secret", "audience", "limits")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a credential is to be found. The credential itself is never kept, shown or logged."""

    kind: Literal["env", "file", "cmd"]
    value: str  #: the variable's name, the path or the command line
    folder: Path  #: of the file that names it: relative paths and commands start there

    def resolve(self) -> str:
        """Fetches the credential: reads a variable or a file, or runs a command.

        A command runs without a shell, for 30 s at most, so call this from a thread. Raises
        TenantError, which says what to do and never what was found.
        """
        fetch = {"env": self._variable, "file": self._content, "cmd": self._output}[self.kind]
        text, hint = fetch()
        if not text:
            raise TenantError("no credential", hint)
        if not text.isprintable():
            raise TenantError("the credential is more than one line of text", hint)
        return text

    def _variable(self) -> tuple[str, str]:
        return os.environ.get(self.value, ""), f"set environment variable {self.value}"

    def _content(self) -> tuple[str, str]:
        hint = f"write it into file {self.value}"
        try:
            text = read_file(self.folder / self.value, _MAX_CREDENTIAL).decode()
        except UnicodeDecodeError:
            raise TenantError("no credential", f"file {self.value} is not UTF-8") from None
        except ValueError as error:
            raise TenantError("no credential", f"file {self.value} {error}") from None
        return text.rstrip("\r\n"), hint

    def _output(self) -> tuple[str, str]:
        # Not even the command's name is shown: `cmd:TOKEN=... tool` is soon written.
        try:
            status, output = _run(shlex.split(self.value), self.folder)
            text = output.decode().strip()
        except subprocess.TimeoutExpired:
            hint = f"its cmd: took longer than {_CMD_TIMEOUT:.0f} s"
            raise TenantError("no credential", hint) from None
        except OSError as error:
            hint = f"its cmd: cannot be run: {os.strerror(error.errno or 0)}"
            raise TenantError("no credential", hint) from None
        except UnicodeDecodeError:
            raise TenantError("no credential", "its cmd: printed no UTF-8") from None
        if status:
            raise TenantError("no credential", f"its cmd: ended with status {status}")
        return text, "its cmd: must print the credential and nothing else"


@dataclass(frozen=True, slots=True)
class Given:
    """A credential in hand: for tenants made in code, never in a file."""

    value: str = field(repr=False)

    def resolve(self) -> str:
        """The credential."""
        return self.value


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


Credential: TypeAlias = StaticToken | ClientSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One Auth0 tenant as the tenants file has it."""

    name: str
    base_url: str  #: without a slash at the end; the API is at {base_url}/api/v2
    credential: Credential
    tags: frozenset[str] = frozenset()
    #: The tenant's own; they go over the job's.
    limits: Limits = field(default_factory=Limits)
    #: The file's defaults; the job's go over them.
    default_limits: Limits = field(default_factory=Limits)

    @classmethod
    def with_token(cls, name: str, base_url: str, token: str) -> Tenant:
        """A tenant made in code, with a token in hand."""
        credential = StaticToken(token=Given(token))
        return cls(name=name, base_url=base_url.rstrip("/"), credential=credential)

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
    raw = found.mapping("", document.value, _FILE.keys())
    default_limits = Limits()
    if "defaults" in raw:
        defaults = found.mapping("defaults", raw["defaults"], _DEFAULTS.keys())
        default_limits = limits_in(found, "defaults", defaults)
    tenants: dict[str, Tenant] = {}
    homes: dict[str, str] = {}
    every = raw.get("tenants")
    if not isinstance(every, dict) or not every:
        found.add("tenants", "must be a mapping of names to tenants, with at least one")
        every = {}
    for name, value in every.items():
        key = f"tenants.{name}"
        if not _NAME.match(name):
            found.add(key, f"bad tenant name {shown(name)}: must be {_NAME_RULE}")
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
    raw = found.mapping(key, holder["limits"], _RULES.keys())
    reserve = max_rate = concurrency = None
    if "reserve" in raw:
        reserve = _reserve(raw["reserve"])
        _check(found, key, "reserve", reserve, raw)
    if "max_rate" in raw:
        max_rate = _max_rate(raw["max_rate"])
        _check(found, key, "max_rate", max_rate, raw)
    if "concurrency" in raw:
        count = number(raw["concurrency"])
        concurrency = count if isinstance(count, int) and 1 <= count <= 64 else None
        _check(found, key, "concurrency", concurrency, raw)
    return Limits(reserve=reserve, max_rate=max_rate, concurrency=concurrency)


def _check(found: Findings, key: str, name: str, value: object, raw: Mapping[str, object]) -> None:
    if value is None:
        found.add(f"{key}.{name}", f"{_RULES[name]}, not {shown(raw[name])}")


def _reserve(value: object) -> float | int | None:
    if isinstance(value, str):
        share = _SHARE.match(value)
        return None if share is None else float(share[1]) / 100
    count = number(value)
    return count if isinstance(count, int) and count >= 0 else None


def _max_rate(value: object) -> float | None:
    if isinstance(value, str):
        written = _RATE.match(value)
        rate = None if written is None else float(written[1]) / (1 if written[2] == "s" else 60)
    else:
        rate = number(value)
    return float(rate) if rate and 0 < rate < math.inf else None


def _tenant(
    found: Findings, key: str, name: str, value: object, default_limits: Limits, folder: Path
) -> Tenant | None:
    raw = found.mapping(key, value, _TENANT.keys())
    if not raw:
        return None
    base_url = _base_url(found, key, raw)
    credential = _credential(found, key, raw, folder)
    tags = _tags(found, f"{key}.tags", raw["tags"]) if "tags" in raw else frozenset[str]()
    limits = limits_in(found, key, raw)
    if base_url is None or credential is None:
        return None
    return Tenant(
        name=name,
        base_url=base_url,
        tags=tags,
        credential=credential,
        limits=limits,
        default_limits=default_limits,
    )


def _base_url(found: Findings, key: str, raw: Mapping[str, object]) -> str | None:
    if ("domain" in raw) == ("base_url" in raw):
        found.add(key, "needs exactly one of `domain` and `base_url`")
        return None
    if "domain" in raw:
        domain = found.text(f"{key}.domain", raw["domain"])
        if domain is not None and not _DOMAIN.match(domain):
            found.add(f"{key}.domain", "must be a host name alone, like acme.eu.auth0.com")
            domain = None
        return None if domain is None else f"https://{domain.lower()}"
    text = found.text(f"{key}.base_url", raw["base_url"])
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
    if not host or port == 0 or not _URL.match(text):
        return "must be a URL like https://acme.eu.auth0.com"
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


def _tags(found: Findings, key: str, value: object) -> frozenset[str]:
    if not isinstance(value, list):
        found.add(key, f"must be a list like [prod, eu], not {shown(value)}")
        return frozenset()
    tags = set()
    for index, item in enumerate(value):
        tag = found.text(f"{key}[{index}]", item)
        if tag is not None and not _NAME.match(tag):
            found.add(f"{key}[{index}]", f"bad tag {shown(tag)}: must be {_NAME_RULE}")
        elif tag is not None:
            tags.add(tag)
    return frozenset(tags)


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
    match sorted(references):
        case ["token"]:
            if "audience" in raw:
                found.add(f"{key}.audience", "is for client_id and client_secret, not for a token")
            token = references["token"]
            return None if token is None else StaticToken(token=token)
        case ["client_id", "client_secret"]:
            client_id, secret = references["client_id"], references["client_secret"]
            if client_id is None or secret is None:
                return None
            return ClientSecret(client_id=client_id, client_secret=secret, audience=audience)
        case _:
            found.add(key, "needs either `token`, or `client_id` and `client_secret`")
            return None


def _reference(found: Findings, key: str, value: object, folder: Path) -> Reference | None:
    """What a credential refers to. No complaint shows the value: it may be the credential."""
    text = value.text if isinstance(value, Plain) else value
    word, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    kind = _KINDS.get(word)
    if kind is None:
        found.add(key, _REFERENCE_RULE)
    elif not rest.strip() or not rest.isprintable():
        found.add(key, f"must have one line of text after {kind}:")
    elif kind == "env" and not _ENV.match(rest):
        found.add(key, "must have a variable's name after env: letters, digits and `_`")
    elif kind == "cmd" and not _splits(rest):
        found.add(key, "has a quote that does not end, or no command")
    else:
        return Reference(kind=kind, value=rest, folder=folder)
    return None


def _splits(command: str) -> bool:
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


def _run(words: list[str], folder: Path) -> tuple[int, bytes]:
    """Exit status and stdout of a command; it and what it started are killed at the timeout.

    Its stderr goes nowhere: it may hold secrets.
    """
    with subprocess.Popen(
        words,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_CMD_TIMEOUT)
        except BaseException:
            # A child of the command that holds the pipe would keep us waiting beyond its parent.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, output
