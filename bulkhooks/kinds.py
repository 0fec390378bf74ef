"""The kinds of single values in the files that people write: what each must be.

A kind is a type with a `Meta`, from which come its check, what is told of it where it is wrong, and
its part of the JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from msgspec import Meta

from . import actions, hooks
from .references import pattern_of

# ---- what is asked of a kind


def matcher(kind: Any) -> Callable[[str], re.Match[str] | None]:
    """The test of a text of this kind."""
    meta = _meta(kind)
    # Python's `$` would let a line break pass at the end.
    match = re.compile((meta.pattern or "").replace("$", r"\Z"), re.DOTALL).match
    shortest, longest = meta.min_length or 0, meta.max_length
    if longest is None and not shortest:
        return match
    most = longest or float("inf")
    return lambda text: match(text) if shortest <= len(text) <= most else None


def within(kind: Any, number: float) -> bool:
    """Whether a number is in this kind's range."""
    meta = _meta(kind)
    return (
        (meta.ge is None or number >= meta.ge)
        and (meta.gt is None or number > meta.gt)
        and (meta.le is None or number <= meta.le)
    )


def longest(kind: Any) -> int:
    """How many characters, members or items this kind may have."""
    return int(_meta(kind).max_length or 0)


def words(kind: Any) -> tuple[Any, ...]:
    """What a value of this kind may be, where it is one of some words."""
    literal, *_ = get_args(kind)
    return get_args(literal)


def rule(kind: Any) -> str:
    """What this kind demands, in words."""
    return str((_meta(kind).extra or {})["rule"])


def _meta(kind: Any) -> Meta:
    (meta,) = kind.__metadata__
    assert isinstance(meta, Meta)
    return meta


# ---- how kinds are said


def _text(
    pattern: str = "",
    rule: str = "",
    about: str = "",
    longest: int | None = None,
    examples: list[str] | None = None,
) -> Meta:
    """A kind of text: `rule` says in words what `pattern` and length demand."""
    return Meta(
        pattern=pattern or None,
        min_length=None if pattern else 1,
        max_length=longest,
        description=f"{about}: {rule}" if about and rule else about or rule,
        examples=examples,
        extra={"rule": rule},
    )


def _portable(pattern: re.Pattern[str]) -> str:
    """A pattern of ours as every dialect writes it."""
    return pattern.pattern.replace(r"\Z", "$")


def _count(about: str) -> Meta:
    return Meta(ge=1, description=about, extra={"rule": "a whole number, 1 or more"})


def _seconds(about: str, most: int) -> Meta:
    return Meta(
        gt=0,
        le=most,
        description=about,
        extra={"rule": f"a number of seconds, more than 0 and at most {most}"},
    )


def _any_case(*words: str) -> str:
    # JavaScript, where editors match, has no switch for case inside a pattern.
    letters = (
        "".join(f"[{char.upper()}{char}]" if char.isalpha() else char for char in word)
        for word in words
    )
    return f"({'|'.join(letters)})"


_WORD = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_WORD_RULE = "letters, digits, `.`, `_` and `-`, the first a letter or digit, 100 at most"
_NAME_RULE = "letters, digits, spaces and hyphens, a letter or digit first and last"
#: A character of a line: none that controls, breaks the line or turns the way it is written.
_SEEN = r"[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]"


# ---- jobs, and edits of either

JobName: TypeAlias = Annotated[
    str,
    _text(
        r"^(?!\.)[A-Za-z0-9._-]{1,100}$",
        "letters, digits, `.`, `_` and `-`, 100 at most, no dot first",
        "Names the journal",
    ),
]
Note: TypeAlias = Annotated[str, _text(about="Kept in the journal, and shown with every result")]
EditId: TypeAlias = Annotated[
    str,
    _text(
        rule="one line of at most 200 characters",
        about="Names the edit in every result",
        longest=200,
    ),
]
AllowEmpty: TypeAlias = Annotated[bool, Meta(description="It is no error if nothing matches")]
TransformName: TypeAlias = Annotated[
    str,
    _text(
        r"^.*[^/:]\.py:[A-Za-z_][A-Za-z0-9_]*$",
        "FILE.py:function",
        "A function of a Python file beside the job, that says what each is to become",
        examples=["rename.py:to_v2"],
    ),
]
Delete: TypeAlias = Annotated[
    bool, Meta(description="Needs --max-deletes", extra_json_schema={"const": True})
]


# ---- tenants, as they are named and selected

#: Tenant names stand in URLs, globs and file names.
TenantName: TypeAlias = Annotated[str, _text(_WORD, _WORD_RULE, "A tenant's name")]
TenantGlob: TypeAlias = Annotated[
    str, _text(about="A tenant's name, or a glob with *, ? or [...]", examples=["prod-*"])
]
Tag: TypeAlias = Annotated[str, _text(_WORD, _WORD_RULE, "A tag of tenants")]
Tags: TypeAlias = Annotated[
    list[Tag],
    Meta(min_length=1, description="All of these tags", examples=[["prod", "eu"]]),
]


# ---- hooks

HookId: TypeAlias = Annotated[
    str, _text(_portable(hooks.ID), "letters, digits and hyphens", "A hook's id")
]
HookName: TypeAlias = Annotated[str, _text(_portable(hooks.NAME), _NAME_RULE, "A hook's name")]
#: What a glob can hold and still match a hook's name.
HookGlob: TypeAlias = Annotated[
    str,
    _text(
        r"^[a-zA-Z0-9 \-*?\[\]!]+$", _NAME_RULE, "A glob over hooks' names", examples=["fraud-*"]
    ),
]
Trigger: TypeAlias = Annotated[hooks.Trigger, Meta(description="What makes a hook run")]
Enabled: TypeAlias = Annotated[
    bool, Meta(description="Of the hooks of one trigger, only one may be enabled")
]
Script: TypeAlias = Annotated[str, _text(about="The hook's code")]
ScriptFile: TypeAlias = Annotated[
    str, _text(about="The hook's code in a file beside the job", examples=["hooks/check-email.js"])
]
#: npm's rule for package names; names from before the rule may have capitals.
Package: TypeAlias = Annotated[
    str,
    _text(
        r"^(@[A-Za-z0-9~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~-]*$",
        "no npm package name",
        longest=214,
    ),
]
Version: TypeAlias = Annotated[str, _text(about="A version, in quotes", longest=200)]
Dependencies: TypeAlias = Annotated[
    dict[Package, Version],
    Meta(description="npm packages and versions: the whole map, for the API replaces it"),
]


# ---- actions

# How much an action may have: https://auth0.com/docs/customize/actions/limitations
ActionId: TypeAlias = Annotated[
    str, _text(_portable(hooks.ID), "letters, digits and hyphens", "An action's id")
]
_ACTION_NAME_RULE = "one line of at most 255 characters"
#: The API documents no rule for an action's name; this is what it says of an action module's.
ActionName: TypeAlias = Annotated[
    str, _text(f"^{_SEEN}+$", _ACTION_NAME_RULE, "An action's name", 255)
]
ActionGlob: TypeAlias = Annotated[
    str, _text(f"^{_SEEN}+$", "one line", "A glob over actions' names", examples=["fraud-*"])
]
ActionTrigger: TypeAlias = Annotated[actions.Trigger, Meta(description="What makes an action run")]
Deployed: TypeAlias = Annotated[bool, Meta(description="Whether a version of it is deployed")]
Bound: TypeAlias = Annotated[
    bool, Meta(description="Whether it is among the actions that its trigger runs")
]
Code: TypeAlias = Annotated[
    str, _text(about="The action's code, 100,000 bytes at most", longest=actions.MAX_CODE)
]
CodeFile: TypeAlias = Annotated[
    str,
    _text(about="The action's code in a file beside the job", examples=["actions/check-email.js"]),
]
ActionDependencies: TypeAlias = Annotated[
    dict[Package, Version],
    Meta(
        max_length=actions.MAX_DEPENDENCIES,
        description="npm packages and versions: the whole map, for the API replaces it",
    ),
]
Runtime: TypeAlias = Annotated[
    str,
    _text("^node[0-9]{1,3}$", "a version of Node like node22", "What runs it", examples=["node22"]),
]
Position: TypeAlias = Annotated[
    str,
    _text(
        f"^(first|last|(before|after) {_SEEN}{{1,255}})$",
        "`first`, `last`, `before NAME` or `after NAME`",
        "Its place among the actions that its trigger runs",
        examples=["first", "after audit"],
    ),
]
Deploy: TypeAlias = Annotated[
    bool,
    Meta(description="What it is by then becomes what runs", extra_json_schema={"const": True}),
]


# ---- secrets

#: The API documents no rule for the names of secrets.
SecretName: TypeAlias = Annotated[
    str,
    _text(r"^[!-~]{1,128}$", "1 to 128 visible characters of ASCII, no spaces", "A secret's name"),
]
SecretReference: TypeAlias = Annotated[
    str,
    _text(
        pattern_of("env", "file"),
        about="Where the value is found when it is sent",
        examples=["env:AUDIT_KEY", "file:keys/audit.pem"],
    ),
]
Secrets: TypeAlias = Annotated[
    dict[SecretName, SecretReference],
    Meta(
        min_length=1,
        max_length=hooks.MAX_SECRETS,
        description="Secrets to set, whether they are new or not",
    ),
]
ActionSecrets: TypeAlias = Annotated[
    dict[SecretName, SecretReference],
    Meta(
        min_length=1,
        max_length=actions.MAX_SECRETS,
        description="Secrets to set, whether they are new or not",
    ),
]
SecretNames: TypeAlias = Annotated[
    list[SecretName], Meta(min_length=1, description="Secrets to remove, by name")
]
Supplied: TypeAlias = Annotated[
    dict[SecretName, SecretReference],
    Meta(min_length=1, description="Where the values of secrets are found, by their names"),
]
SuppliedTenant: TypeAlias = Annotated[
    str,
    _text(
        r"^[^/]+(/[a-zA-Z0-9 \-*?\[\]!]+)?$",
        about="A tenant, or a tenant/hook: names, or globs with *, ? or [...]",
        examples=["prod-*/fraud-check"],
    ),
]


# ---- limits

Share: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9]{1,2}(?:\.[0-9]{1,6})?)\s*%$")]
Requests: TypeAlias = Annotated[int, Meta(ge=0)]
Reserve: TypeAlias = Annotated[
    Share | Requests,
    Meta(
        description="What is left of the bucket for others",
        examples=["20%"],
        extra={"rule": 'a share of the limit like "20%" or a number of requests, 0 or more'},
    ),
]
Rate: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^(?=[0-9.]*[1-9])([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*/\s*(s|m|min)$"),
]
PerSecond: TypeAlias = Annotated[float, Meta(gt=0)]
MaxRate: TypeAlias = Annotated[
    Rate | PerSecond,
    Meta(
        description="Requests that may be sent at most",
        examples=["10/s", "100/m"],
        extra={"rule": 'more than 0: "10/s", "100/m" or a number a second'},
    ),
]
Concurrency: TypeAlias = Annotated[
    int,
    Meta(
        ge=1,
        le=64,
        description="Requests in flight at once",
        extra={"rule": "a whole number from 1 to 64"},
    ),
]


# ---- windows

Duration: TypeAlias = Annotated[
    str,
    _text(
        r"^(?=.*[1-9])([0-9]{1,3}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$",
        "like 90s, 10m, 2h, 1h30m or 1d",
        "How long it lasts, in true time",
        examples=["2h", "1h30m"],
    ),
]
Zone: TypeAlias = Annotated[
    str,
    _text(
        about="Whose local times these are: a name of the IANA database", examples=["Europe/London"]
    ),
]
LocalTime: TypeAlias = Annotated[
    str,
    _text(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?$",
        "like 2026-11-28T01:00",
        "A local time",
        examples=["2026-11-28T01:00"],
    ),
]
_DAY: Final = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DAYS: Final = f"{_DAY}(-{_DAY})?"
Every: TypeAlias = Annotated[
    str,
    _text(
        f"^(day|{_DAYS}(,{_DAYS})*) ([01][0-9]|2[0-3]):[0-5][0-9]$",
        "days and a time like `Sat 01:00`, `Mon-Fri 01:00`, `Mon,Thu 22:30` or `day 01:00`",
        "When it opens",
        examples=["Sat 01:00", "day 22:30"],
    ),
]
Cron: TypeAlias = Annotated[
    str,
    _text(
        r"^[^ ]+( +[^ ]+){4}$",
        "five fields: minute, hour, day of the month, month, day of the week",
        "When it opens, as a line of cron",
        examples=["0 1 * * 6"],
    ),
]
During: TypeAlias = Annotated[
    Literal["window"],
    Meta(
        description="A freeze: what the job sets is put back by the window's end. For edits with "
        "`set` or `transform` alone",
        extra={"rule": "`window`"},
    ),
]


# ---- waves, and what ends a job early

WaveCount: TypeAlias = Annotated[int, Meta(ge=1)]
_WAVE_SHARE: Final = r"^(?=[0-9.]*[1-9])(100|[0-9]{1,2}(?:\.[0-9]{1,6})?)\s*%$"
WaveShare: TypeAlias = Annotated[str, Meta(pattern=_WAVE_SHARE)]
#: The same where a list may stand in its place: of a text with a pattern that is one of several
#: kinds beside a list or a mapping, msgspec 0.22 frees what is not its own.
WaveShareOrElse: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": _WAVE_SHARE})]
WaveTags: TypeAlias = Annotated[
    list[Tag],
    Meta(
        min_length=1,
        description="Tenants that have one of these tags, and are in no wave ahead",
        examples=[["canary"]],
    ),
]
WaveSize: TypeAlias = Annotated[
    WaveCount | WaveShare,
    Meta(
        description="So many tenants of all, or such a share, with those of the waves ahead",
        examples=[1, "5%"],
        extra={"rule": 'a number of tenants, 1 or more, or a share of them like "5%"'},
    ),
]
Soak: TypeAlias = Annotated[
    Duration, Meta(description="How long to wait when it is done: like 90s, 10m, 2h or 1h30m")
]
Probe: TypeAlias = Annotated[
    str,
    _text(
        about="Says whether it went well: `read-back`, or a command that is given the wave's "
        "tenants as JSON, and whose exit status is 0 for good, 1 for bad, 2 to ask",
        examples=["read-back", "./smoke.sh"],
    ),
]
FailureCount: TypeAlias = Annotated[int, Meta(ge=1)]
FailureShare: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^(?=[0-9.]*[1-9])(100|[0-9]{1,2}(?:\.[0-9]{1,6})?)\s*% of wave$"),
]
Failures: TypeAlias = Annotated[
    FailureCount | FailureShare,
    Meta(
        description="So many items that failed, or such a share of the wave's items",
        examples=[3, "5% of wave"],
        extra={"rule": 'a whole number, 1 or more, or a share like "5% of wave"'},
    ),
]
InARow: TypeAlias = Annotated[int, _count("So many items that failed one after the other")]
FailedTenants: TypeAlias = Annotated[int, _count("So many tenants on which something failed")]


# ---- tenants, and how to log in there

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
Domain: TypeAlias = Annotated[
    str,
    _text(
        rf"^(?=.{{4,253}}$){_LABEL}(\.{_LABEL})+$",
        "a host name alone, like acme.eu.auth0.com",
        "Where the tenant is",
        examples=["acme.eu.auth0.com"],
    ),
]
BaseUrl: TypeAlias = Annotated[
    str,
    _text(
        r"^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/*$",
        "a URL like https://acme.eu.auth0.com",
        "In place of domain, without /api/v2",
    ),
]
TenantTags: TypeAlias = Annotated[
    list[Tag], Meta(description="Tags that jobs select by", examples=[["prod", "eu"]])
]
Credential: TypeAlias = Annotated[
    str,
    _text(
        pattern_of("env", "file", "cmd"),
        about="Where it is found when the tenant is called",
        examples=["env:ACME_CLIENT_SECRET", "file:keys/acme.secret", "cmd:pass show auth0/acme"],
    ),
]
PrivateKey: TypeAlias = Annotated[
    str,
    _text(
        pattern_of("env", "file"),
        about="The application's key in PEM, in place of client_secret: where it is found",
        examples=["file:keys/acme.pem", "env:ACME_KEY"],
    ),
]
Algorithm: TypeAlias = Annotated[
    Literal["RS256", "RS384", "PS256"],
    Meta(description="What private_key signs with, RS256 unless given"),
]
KeyId: TypeAlias = Annotated[
    str, _text(about="Of private_key, where the application has several keys")
]
Audience: TypeAlias = Annotated[
    str,
    _text(
        about="Of the token; made from the base URL unless given, so a custom domain needs it",
        examples=["https://acme.eu.auth0.com/api/v2/"],
    ),
]
CaFile: TypeAlias = Annotated[
    str,
    _text(
        about="A file beside this one: the certificates, in PEM, of those who may vouch for the "
        "tenant",
        examples=["certs/acme-ca.pem"],
    ),
]
Protected: TypeAlias = Annotated[
    bool, Meta(description="Nothing is written here unless the command names it: --only NAME")
]
Lifecycle: TypeAlias = Annotated[
    Literal["active", "read-only"],
    Meta(
        description="What hooks still take here. Auth0 made them read-only on 2024-11-18 (enabled "
        "and secrets can change, nothing else), so a tenant with a domain is taken for read-only "
        "unless this says otherwise, one with a base_url for active"
    ),
]
ConnectTime: TypeAlias = Annotated[
    float, _seconds("Seconds for a connection to come about, 10 unless given", 300)
]
RequestTime: TypeAlias = Annotated[
    float, _seconds("Seconds for a request, to the end of its answer, 30 unless given", 600)
]


# ---- headers

#: Headers that say what is sent, to whom and by whom: a wrong one would break every request.
_OURS: Final = (
    *("Authorization", "Host", "Accept", "Accept-Encoding", "Connection", "Transfer-Encoding"),
    "Content-*",
)
_NOT_OURS: Final = "".join(
    f"(?!{_any_case(name.lower().rstrip('*'))}{'' if name.endswith('*') else '$'})"
    for name in _OURS
)
#: What a secret is called: the value of such a header is never written out.
_SECRETIVE: Final = _any_case(
    *("key", "token", "secret", "cookie", "auth", "password", "credential", "signature")
)
# The dollar sign that names may have is written by its code: `matcher` knows it as the end alone.
HeaderName: TypeAlias = Annotated[
    str,
    _text(
        rf"^{_NOT_OURS}[A-Za-z0-9!#\x24%&'*+.^_`|~-]+$",
        "a token of HTTP (letters, digits, hyphens), and none that bulkhooks sets: "
        + ", ".join(_OURS),
        "A header's name",
    ),
]
SecretiveName: TypeAlias = Annotated[str, Meta(pattern=f"^.*{_SECRETIVE}")]
_LITERAL: Final = "^(?!(env|file|cmd):)[ -~]{1,8000}$"
HeaderText: TypeAlias = Annotated[
    str, _text(_LITERAL, "1 to 8000 visible characters of ASCII and spaces")
]
HeaderValue: TypeAlias = Annotated[
    str,
    _text(
        f"{_LITERAL}|{pattern_of('env', 'file', 'cmd')}",
        about="A text of visible ASCII and spaces, or where it is found when the tenant is called",
        examples=["bulk-edits", "env:GATEWAY_KEY"],
    ),
]
Headers: TypeAlias = Annotated[
    dict[HeaderName, HeaderValue],
    Meta(
        min_length=1,
        description="Headers of every request, for a gateway before the tenant. A name with key, "
        "token, secret, cookie, auth, password, credential or signature in it takes a reference",
        examples=[{"X-Team": "identity", "X-Gateway-Key": "env:GATEWAY_KEY"}],
        extra_json_schema={
            "patternProperties": {
                _SECRETIVE: {
                    "description": "Where it is found when the tenant is called",
                    "type": "string",
                    "pattern": pattern_of("env", "file", "cmd"),
                }
            }
        },
    ),
]
