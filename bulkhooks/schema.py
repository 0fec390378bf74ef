"""The shape of job and tenants files: models that their checks and their JSON Schema share.

A rule that a schema can say stands here and nowhere else: keys, patterns, lengths, ranges, and
what goes together. What takes more than the file itself to tell (whether a tenant is known, a
script file there) is said where it is checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from . import actions, hooks
from .references import pattern_of
from .source import Findings, dotted

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _text(
    pattern: str = "", rule: str = "", about: str = "", longest: int | None = None, *examples: str
) -> Meta:
    """A kind of text: `rule` says in words what `pattern` and length demand."""
    return Meta(
        pattern=pattern or None,
        min_length=None if pattern else 1,
        max_length=longest,
        description=f"{about}: {rule}" if about and rule else about or rule,
        examples=list(examples) or None,
        extra={"rule": rule},
    )


def _portable(pattern: re.Pattern[str]) -> str:
    """A pattern of ours as every dialect writes it."""
    return pattern.pattern.replace(r"\Z", "$")


# ---- kinds of values

_WORD = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_WORD_RULE = "letters, digits, `.`, `_` and `-`, the first a letter or digit, 100 at most"
_NAME_RULE = "letters, digits, spaces and hyphens, a letter or digit first and last"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#: A character of a line: none that controls, breaks the line or turns the way it is written.
_SEEN = r"[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]"

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
        None,
        "rename.py:to_v2",
    ),
]

#: Tenant names stand in URLs, globs and file names.
TenantName: TypeAlias = Annotated[str, _text(_WORD, _WORD_RULE, "A tenant's name")]
TenantGlob: TypeAlias = Annotated[
    str, _text("", "", "A tenant's name, or a glob with *, ? or [...]", None, "prod-*")
]
Tag: TypeAlias = Annotated[str, _text(_WORD, _WORD_RULE, "A tag of tenants")]
Tags: TypeAlias = Annotated[
    list[Tag],
    Meta(min_length=1, description="All of these tags", examples=[["prod", "eu"]]),
]

HookId: TypeAlias = Annotated[
    str, _text(_portable(hooks.ID), "letters, digits and hyphens", "A hook's id")
]
HookName: TypeAlias = Annotated[str, _text(_portable(hooks.NAME), _NAME_RULE, "A hook's name")]
#: What a glob can hold and still match a hook's name.
HookGlob: TypeAlias = Annotated[
    str,
    _text(r"^[a-zA-Z0-9 \-*?\[\]!]+$", _NAME_RULE, "A glob over hooks' names", None, "fraud-*"),
]
Trigger: TypeAlias = Annotated[hooks.Trigger, Meta(description="What makes a hook run")]
Enabled: TypeAlias = Annotated[
    bool, Meta(description="Of the hooks of one trigger, only one may be enabled")
]
Script: TypeAlias = Annotated[str, _text(about="The hook's code")]
ScriptFile: TypeAlias = Annotated[
    str, _text("", "", "The hook's code in a file beside the job", None, "hooks/check-email.js")
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
    str, _text(f"^{_SEEN}+$", "one line", "A glob over actions' names", None, "fraud-*")
]
ActionTrigger: TypeAlias = Annotated[actions.Trigger, Meta(description="What makes an action run")]
Deployed: TypeAlias = Annotated[bool, Meta(description="Whether a version of it is deployed")]
Bound: TypeAlias = Annotated[
    bool, Meta(description="Whether it is among the actions that its trigger runs")
]
Code: TypeAlias = Annotated[
    str, _text("", "", "The action's code, 100,000 bytes at most", actions.MAX_CODE)
]
CodeFile: TypeAlias = Annotated[
    str,
    _text("", "", "The action's code in a file beside the job", None, "actions/check-email.js"),
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
    _text("^node[0-9]{1,3}$", "a version of Node like node22", "What runs it", None, "node22"),
]
Position: TypeAlias = Annotated[
    str,
    _text(
        f"^(first|last|(before|after) {_SEEN}{{1,255}})$",
        "`first`, `last`, `before NAME` or `after NAME`",
        "Its place among the actions that its trigger runs",
        None,
        "first",
        "after audit",
    ),
]
#: The API documents no rule for the names of secrets.
SecretName: TypeAlias = Annotated[
    str,
    _text(r"^[!-~]{1,128}$", "1 to 128 visible characters of ASCII, no spaces", "A secret's name"),
]
SecretReference: TypeAlias = Annotated[
    str,
    _text(
        pattern_of("env", "file"),
        "",
        "Where the value is found when it is sent",
        None,
        "env:AUDIT_KEY",
        "file:keys/audit.pem",
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

Duration: TypeAlias = Annotated[
    str,
    _text(
        r"^(?=.*[1-9])([0-9]{1,3}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$",
        "like 90s, 10m, 2h, 1h30m or 1d",
        "How long it lasts, in true time",
        None,
        "2h",
        "1h30m",
    ),
]
Zone: TypeAlias = Annotated[
    str,
    _text(
        "", "", "Whose local times these are: a name of the IANA database", None, "Europe/London"
    ),
]
LocalTime: TypeAlias = Annotated[
    str,
    _text(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?$",
        "like 2026-11-28T01:00",
        "A local time",
        None,
        "2026-11-28T01:00",
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
        None,
        "Sat 01:00",
        "day 22:30",
    ),
]
Cron: TypeAlias = Annotated[
    str,
    _text(
        r"^[^ ]+( +[^ ]+){4}$",
        "five fields: minute, hour, day of the month, month, day of the week",
        "When it opens, as a line of cron",
        None,
        "0 1 * * 6",
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
WaveCount: TypeAlias = Annotated[int, Meta(ge=1)]
WaveShare: TypeAlias = Annotated[
    str, Meta(pattern=r"^(?=[0-9.]*[1-9])(100|[0-9]{1,2}(?:\.[0-9]{1,6})?)\s*%$")
]
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
        "",
        "",
        "Says whether it went well: `read-back`, or a command that is given the wave's tenants as "
        "JSON, and whose exit status is 0 for good, 1 for bad, 2 to ask",
        None,
        "read-back",
        "./smoke.sh",
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


def _count(about: str) -> Meta:
    return Meta(ge=1, description=about, extra={"rule": "a whole number, 1 or more"})


InARow: TypeAlias = Annotated[int, _count("So many items that failed one after the other")]
FailedTenants: TypeAlias = Annotated[int, _count("So many tenants on which something failed")]

Domain: TypeAlias = Annotated[
    str,
    _text(
        rf"^(?=.{{4,253}}$){_LABEL}(\.{_LABEL})+$",
        "a host name alone, like acme.eu.auth0.com",
        "Where the tenant is",
        None,
        "acme.eu.auth0.com",
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
        "",
        "Where it is found when the tenant is called",
        None,
        "env:ACME_CLIENT_SECRET",
        "file:keys/acme.secret",
        "cmd:pass show auth0/acme",
    ),
]
PrivateKey: TypeAlias = Annotated[
    str,
    _text(
        pattern_of("env", "file"),
        "",
        "The application's key in PEM, in place of client_secret: where it is found",
        None,
        "file:keys/acme.pem",
        "env:ACME_KEY",
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
        "",
        "",
        "Of the token; made from the base URL unless given, so a custom domain needs it",
        None,
        "https://acme.eu.auth0.com/api/v2/",
    ),
]
CaFile: TypeAlias = Annotated[
    str,
    _text(
        "",
        "",
        "A file beside this one: the certificates, in PEM, of those who may vouch for the tenant",
        None,
        "certs/acme-ca.pem",
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


def _seconds(about: str, most: int) -> Meta:
    return Meta(
        gt=0,
        le=most,
        description=about,
        extra={"rule": f"a number of seconds, more than 0 and at most {most}"},
    )


ConnectTime: TypeAlias = Annotated[
    float, _seconds("Seconds for a connection to come about, 10 unless given", 300)
]
RequestTime: TypeAlias = Annotated[
    float, _seconds("Seconds for a request, to the end of its answer, 30 unless given", 600)
]


def _any_case(*words: str) -> str:
    # JavaScript, where editors match, has no switch for case inside a pattern.
    letters = (
        "".join(f"[{char.upper()}{char}]" if char.isalpha() else char for char in word)
        for word in words
    )
    return f"({'|'.join(letters)})"


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
        "",
        "A text of visible ASCII and spaces, or where it is found when the tenant is called",
        None,
        "bulk-edits",
        "env:GATEWAY_KEY",
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


# ---- mappings


class _File(Struct, forbid_unknown_fields=True):
    """What people write is a mapping of known keys."""


class LimitsEntry(_File):
    """How much of a tenant's rate limit may be used."""

    reserve: Reserve | UnsetType = UNSET
    max_rate: MaxRate | UnsetType = UNSET
    concurrency: Concurrency | UnsetType = UNSET


class Tagged(_File):
    """Tenants by their tags."""

    tags: Tags


TenantNames: TypeAlias = TenantGlob | Annotated[list[TenantGlob], Meta(min_length=1)]
OtherTenants: TypeAlias = (
    TenantGlob | Annotated[list[TenantGlob | Tagged], Meta(min_length=1)] | Tagged
)


class TenantSelector(_File):
    """Tenants for which all that is given holds."""

    names: (
        Annotated[TenantNames, Meta(description="A name, a glob, or a list of these")] | UnsetType
    ) = UNSET
    tags: Tags | UnsetType = UNSET
    not_: (
        Annotated[
            OtherTenants,
            Meta(
                description="But none of these: a name, a glob, {tags: [...]}, or a list of these"
            ),
        ]
        | UnsetType
    ) = msgspec.field(default=UNSET, name="not")


Tenants: TypeAlias = Annotated[
    TenantGlob | Annotated[list[TenantGlob], Meta(min_length=1)] | TenantSelector,
    Meta(description="A name, a glob, a list of these, or {names: ..., tags: [...], not: ...}"),
]


class OneHook(_File):
    """One hook by its id or exact name."""

    id: HookId | UnsetType = UNSET
    name: HookName | UnsetType = UNSET
    triggerId: Trigger | UnsetType = UNSET


class HookSelector(_File):
    """Every hook for which all that is given holds."""

    id: HookId | UnsetType = UNSET
    name: HookGlob | UnsetType = UNSET
    triggerId: Trigger | UnsetType = UNSET
    enabled: Enabled | UnsetType = UNSET


Hook: TypeAlias = Annotated[
    HookId | OneHook, Meta(description="Exactly one hook, by id or {name: ..., triggerId: ...}")
]


class SetHook(_File):
    """What to change; fields that are not given stay as they are."""

    name: HookName | UnsetType = UNSET
    script: Script | UnsetType = UNSET
    script_file: ScriptFile | UnsetType = UNSET
    enabled: Enabled | UnsetType = UNSET
    dependencies: Dependencies | UnsetType = UNSET


class NewHook(_File):
    """A hook to be created."""

    name: HookName
    triggerId: Trigger
    script: Script | UnsetType = UNSET
    script_file: ScriptFile | UnsetType = UNSET
    enabled: Enabled | UnsetType = UNSET
    dependencies: Dependencies | UnsetType = UNSET


class ExpectedHook(_File):
    """A guard: where it does not hold, the hook is skipped."""

    name: HookName | UnsetType = UNSET
    triggerId: Trigger | UnsetType = UNSET
    script: Script | UnsetType = UNSET
    script_file: ScriptFile | UnsetType = UNSET
    enabled: Enabled | UnsetType = UNSET
    dependencies: Dependencies | UnsetType = UNSET


Delete: TypeAlias = Annotated[
    bool, Meta(description="Needs --max-deletes", extra_json_schema={"const": True})
]


class HookEdit(_File):
    """One change on the hooks of some tenants."""

    tenant: TenantName | UnsetType = UNSET
    tenants: Tenants | UnsetType = UNSET
    hook: Hook | UnsetType = UNSET
    hooks: HookSelector | UnsetType = UNSET
    set: SetHook | UnsetType = UNSET
    transform: TransformName | UnsetType = UNSET
    create: NewHook | UnsetType = UNSET
    delete: Delete | UnsetType = UNSET
    set_secrets: Secrets | UnsetType = UNSET
    remove_secrets: SecretNames | UnsetType = UNSET
    expect: ExpectedHook | UnsetType = UNSET
    id: EditId | UnsetType = UNSET
    note: Note | UnsetType = UNSET
    allow_empty: AllowEmpty | UnsetType = UNSET


class OneAction(_File):
    """One action by its id or exact name."""

    id: ActionId | UnsetType = UNSET
    name: ActionName | UnsetType = UNSET
    triggerId: ActionTrigger | UnsetType = UNSET


class ActionSelector(_File):
    """Every action for which all that is given holds."""

    id: ActionId | UnsetType = UNSET
    name: ActionGlob | UnsetType = UNSET
    triggerId: ActionTrigger | UnsetType = UNSET
    deployed: Deployed | UnsetType = UNSET
    bound: Bound | UnsetType = UNSET


Action: TypeAlias = Annotated[
    ActionId | OneAction,
    Meta(description="Exactly one action, by id or {name: ..., triggerId: ...}"),
]


class SetAction(_File):
    """What to change; fields that are not given stay as they are."""

    name: ActionName | UnsetType = UNSET
    code: Code | UnsetType = UNSET
    code_file: CodeFile | UnsetType = UNSET
    dependencies: ActionDependencies | UnsetType = UNSET
    runtime: Runtime | UnsetType = UNSET
    bound: Bound | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class NewAction(_File):
    """An action to be created."""

    name: ActionName
    triggerId: ActionTrigger
    code: Code | UnsetType = UNSET
    code_file: CodeFile | UnsetType = UNSET
    dependencies: ActionDependencies | UnsetType = UNSET
    runtime: Runtime | UnsetType = UNSET
    bound: Bound | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class ExpectedAction(_File):
    """A guard: where it does not hold, the action is skipped."""

    name: ActionName | UnsetType = UNSET
    triggerId: ActionTrigger | UnsetType = UNSET
    code: Code | UnsetType = UNSET
    code_file: CodeFile | UnsetType = UNSET
    dependencies: ActionDependencies | UnsetType = UNSET
    runtime: Runtime | UnsetType = UNSET
    deployed: Deployed | UnsetType = UNSET
    bound: Bound | UnsetType = UNSET


Deploy: TypeAlias = Annotated[
    bool,
    Meta(description="What it is by then becomes what runs", extra_json_schema={"const": True}),
]


class ActionEdit(_File):
    """One change on the actions of some tenants."""

    tenant: TenantName | UnsetType = UNSET
    tenants: Tenants | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    actions: ActionSelector | UnsetType = UNSET
    set: SetAction | UnsetType = UNSET
    transform: TransformName | UnsetType = UNSET
    create: NewAction | UnsetType = UNSET
    delete: Delete | UnsetType = UNSET
    deploy: Deploy | UnsetType = UNSET
    set_secrets: ActionSecrets | UnsetType = UNSET
    remove_secrets: SecretNames | UnsetType = UNSET
    expect: ExpectedAction | UnsetType = UNSET
    id: EditId | UnsetType = UNSET
    note: Note | UnsetType = UNSET
    allow_empty: AllowEmpty | UnsetType = UNSET


def is_of_actions(edit: Mapping[str, object]) -> bool:
    """Whether an edit is a change on actions, by the keys that it has."""
    if "action" in edit or "actions" in edit:
        return True
    new = edit.get("create")
    return isinstance(new, dict) and ("code" in new or "code_file" in new)


# What `is_of_actions` says: models that no tag tells apart are no union for msgspec.
_CODED: Final = {"anyOf": [{"required": ["code"]}, {"required": ["code_file"]}]}
_EDIT: Final = {
    "if": {
        "anyOf": [
            {"required": ["action"]},
            {"required": ["actions"]},
            {"required": ["create"], "properties": {"create": _CODED}},
        ]
    },
    "then": {"$ref": "#/$defs/ActionEdit"},
    "else": {"$ref": "#/$defs/HookEdit"},
}


class WindowEntry(_File):
    """When writes may be sent: once, from `start` to `end`, or `every` so often `for` a time."""

    timezone: Zone
    start: LocalTime | UnsetType = UNSET
    end: LocalTime | UnsetType = UNSET
    every: Every | UnsetType = UNSET
    cron: Cron | UnsetType = UNSET
    for_: Duration | UnsetType = msgspec.field(default=UNSET, name="for")


class WaveEntry(_File):
    """A wave with what is waited for, and looked at, before the next one."""

    tenants: WaveSize | UnsetType = UNSET
    tags: WaveTags | UnsetType = UNSET
    soak: Soak | UnsetType = UNSET
    probe: Probe | UnsetType = UNSET


Waves: TypeAlias = Annotated[
    list[WaveCount | WaveShare | WaveTags | WaveEntry],
    Meta(
        min_length=1,
        description="Tenants that must go well before others start: a number of them, a share, "
        "a list of tags, or {tenants: 5%, soak: 10m, probe: read-back}",
        examples=[[1, "5%", "100%"]],
    ),
]


class HaltEntry(_File):
    """What ends a job before its end; what is in flight ends, the rest is pending."""

    failures: Failures | UnsetType = UNSET
    in_a_row: InARow | UnsetType = UNSET
    tenants: FailedTenants | UnsetType = UNSET


class ScheduleFile(_File, kw_only=True):
    """When a job is carried out, in what waves, and what ends it early."""

    window: WindowEntry | UnsetType = UNSET
    during: During | UnsetType = UNSET
    waves: Waves | UnsetType = UNSET
    halt: HaltEntry | UnsetType = UNSET


class JobFile(_File, kw_only=True):
    """A job of bulkhooks: edits of Auth0 hooks and actions across tenants."""

    name: JobName | UnsetType = UNSET
    note: Note | UnsetType = UNSET
    edits: Annotated[
        list[Any],
        Meta(
            min_length=1,
            description="What to change, in order",
            extra_json_schema={"items": _EDIT},
        ),
    ]
    only_tags: (
        Annotated[
            list[Tag],
            Meta(
                min_length=1,
                description="A guard: every tenant that an edit reaches must have one of these",
            ),
        ]
        | UnsetType
    ) = UNSET
    limits: LimitsEntry | UnsetType = UNSET
    window: WindowEntry | UnsetType = UNSET
    during: During | UnsetType = UNSET
    waves: Waves | UnsetType = UNSET
    halt: HaltEntry | UnsetType = UNSET


class TimeoutsEntry(_File):
    """How long a tenant is waited for."""

    connect: ConnectTime | UnsetType = UNSET
    request: RequestTime | UnsetType = UNSET


class TenantEntry(_File):
    """One Auth0 tenant, and how to log in there."""

    domain: Domain | UnsetType = UNSET
    base_url: BaseUrl | UnsetType = UNSET
    tags: TenantTags | UnsetType = UNSET
    client_id: Credential | UnsetType = UNSET
    client_secret: Credential | UnsetType = UNSET
    private_key: PrivateKey | UnsetType = UNSET
    algorithm: Algorithm | UnsetType = UNSET
    kid: KeyId | UnsetType = UNSET
    audience: Audience | UnsetType = UNSET
    token: Credential | UnsetType = UNSET
    hooks: Lifecycle | UnsetType = UNSET
    ca_file: CaFile | UnsetType = UNSET
    timeouts: TimeoutsEntry | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    limits: LimitsEntry | UnsetType = UNSET
    protected: Protected | UnsetType = UNSET


class DefaultsEntry(_File):
    """What holds for every tenant that says nothing else."""

    hooks: Lifecycle | UnsetType = UNSET
    ca_file: CaFile | UnsetType = UNSET
    timeouts: TimeoutsEntry | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    limits: LimitsEntry | UnsetType = UNSET


class TenantsFile(_File):
    """The tenants that jobs of bulkhooks may name."""

    tenants: Annotated[
        dict[TenantName, TenantEntry], Meta(min_length=1, description="Tenants by our names")
    ]
    defaults: DefaultsEntry | UnsetType = UNSET


Supplied: TypeAlias = Annotated[
    dict[SecretName, SecretReference],
    Meta(min_length=1, description="Where the values of secrets are found, by their names"),
]


SuppliedTenant: TypeAlias = Annotated[
    str,
    _text(
        r"^[^/]+(/[a-zA-Z0-9 \-*?\[\]!]+)?$",
        "",
        "A tenant, or a tenant/hook: names, or globs with *, ? or [...]",
        None,
        "prod-*/fraud-check",
    ),
]


class SecretsFile(_File):
    """Where the values of hooks' secrets are found: Auth0 shows none. The nearest word counts."""

    secrets: Annotated[Supplied, Meta(description="Of every hook of every tenant")] | UnsetType = (
        UNSET
    )
    tenants: (
        Annotated[
            dict[SuppliedTenant, Supplied],
            Meta(
                min_length=1,
                description="By tenant, before `secrets`, and by tenant/hook, before all others: a "
                "name counts before globs, of these the first that matches and has the secret",
            ),
        ]
        | UnsetType
    ) = UNSET
    hooks: (
        Annotated[
            dict[HookName, Supplied],
            Meta(min_length=1, description="By the hook's name, before its tenant"),
        ]
        | UnsetType
    ) = UNSET


# ---- what goes together


class Rules(Struct, frozen=True, kw_only=True):
    """Which keys of a mapping go together."""

    #: Of each of these groups it needs a member; a member is a key, or several.
    needs: tuple[tuple[str | tuple[str, ...], ...], ...] = ()
    #: Keys, and those that cannot stand beside them.
    apart: Mapping[str, tuple[str, ...]] = {}
    #: Keys, `inner.key` in a mapping below, that need another to be true beside them, where they
    #: are not false themselves.
    wants: Mapping[str, str] = {}
    #: Keys, and another that must not be false beside them.
    spares: Mapping[str, str] = {}
    #: Keys, and another that must be beside them.
    beside: Mapping[str, str] = {}


_SCRIPT: Final = {"script": ("script_file",)}
_CODE: Final = {"code": ("code_file",)}
_KEY: Final = ("private_key", "algorithm", "kid")
#: What no edit of a freeze may have: nobody could put it back as it was.
NOT_FROZEN: Final = ("create", "delete", "deploy", "set_secrets", "remove_secrets")
_FREEZE: Final = Rules(beside={"during": "window"})
_RULES: Final[Mapping[type[Struct], Rules]] = {
    WindowEntry: Rules(
        needs=(("start", "every", "cron"),),
        apart={"start": ("every", "cron", "for"), "end": ("every", "cron"), "every": ("cron",)},
        beside={"start": "end", "end": "start", "every": "for", "cron": "for"},
    ),
    WaveEntry: Rules(needs=(("tenants", "tags"),), apart={"tenants": ("tags",)}),
    ScheduleFile: _FREEZE,
    JobFile: _FREEZE,
    OneHook: Rules(needs=(("id", "name"),)),
    SetHook: Rules(apart=_SCRIPT),
    NewHook: Rules(needs=(("script", "script_file"),), apart=_SCRIPT),
    ExpectedHook: Rules(apart=_SCRIPT),
    HookEdit: Rules(
        needs=(
            ("tenant", "tenants"),
            # An edit that has none of these is taken for one of hooks.
            ("hook", "hooks", "action", "actions", "create"),
            ("set", "create", "delete", "set_secrets", "remove_secrets", "transform"),
        ),
        apart={
            "tenant": ("tenants",),
            "hook": ("hooks",),
            "create": ("hook", "hooks", "set", "transform", "delete", "remove_secrets", "expect"),
            "delete": ("set", "transform", "set_secrets", "remove_secrets"),
            "transform": ("set", "set_secrets", "remove_secrets"),
        },
    ),
    OneAction: Rules(needs=(("id", "name"),)),
    SetAction: Rules(apart=_CODE, spares={"position": "bound"}),
    NewAction: Rules(needs=(("code", "code_file"),), apart=_CODE, wants={"position": "bound"}),
    ExpectedAction: Rules(apart=_CODE),
    ActionEdit: Rules(
        needs=(
            ("tenant", "tenants"),
            ("action", "actions", "create"),
            ("set", "create", "delete", "deploy", "set_secrets", "remove_secrets", "transform"),
        ),
        apart={
            "tenant": ("tenants",),
            "action": ("actions",),
            "create": (
                *("action", "actions", "set", "transform", "delete", "remove_secrets", "expect"),
            ),
            "delete": ("set", "transform", "deploy", "set_secrets", "remove_secrets"),
            "transform": ("set", "set_secrets", "remove_secrets"),
        },
        # What was never deployed cannot be bound.
        wants={"create.bound": "deploy"},
    ),
    TenantEntry: Rules(
        needs=(
            ("domain", "base_url"),
            ("token", ("client_id", "client_secret"), ("client_id", "private_key")),
        ),
        # With these and the needs, `algorithm` and `kid` are left with `private_key` alone.
        apart={
            "domain": ("base_url",),
            "token": ("client_id", "client_secret", *_KEY, "audience"),
            "client_secret": _KEY,
        },
    ),
}


class Shape:
    """What a mapping may hold, by its model."""

    def __init__(self, model: type[Struct]) -> None:
        fields = msgspec.structs.fields(model)
        #: The kind of value of every key.
        self.kinds: Mapping[str, Any] = {each.encode_name: _kind(each.type) for each in fields}
        self.keys = self.kinds.keys()
        rules = _RULES.get(model, Rules())
        required = [(each.encode_name,) for each in fields if each.required]
        self._needs = [(frozenset(group), group) for group in (*required, *rules.needs)]
        self._apart = [(name, frozenset(others)) for name, others in rules.apart.items()]
        self._wants = rules.wants.items()
        self._spares = rules.spares.items()
        self._beside = rules.beside.items()

    def of(self, found: Findings, key: str, value: object) -> dict[str, object]:
        """The known keys of the mapping that `value` is; what is wrong with them is complained of.

        The values themselves are still to be checked.
        """
        raw = found.mapping(key, value, self.keys)
        if not raw:
            return raw
        for names, group in self._needs:
            if names.isdisjoint(raw) and not any(
                isinstance(member, tuple) and raw.keys() >= {*member} for member in group
            ):
                found.add(key, f"needs {_listed(map(_shown, group), 'or')}")
        for name, others in self._apart:
            if name in raw and not others.isdisjoint(raw):
                wrong = [each for each in raw if each in others]
                found.add(dotted(key, name), f"does not go with {_shown(wrong)}")
        self._check_others(found, key, raw)
        return raw

    def _check_others(self, found: Findings, key: str, raw: Mapping[str, object]) -> None:
        """Complain of what is not beside a key as it must be."""
        for name, other in self._wants:
            if _given(raw, name) and raw.get(other) is not True:
                found.add(dotted(key, name), f"needs `{other}: true` beside it")
        for name, other in self._spares:
            if name in raw and raw.get(other) is False:
                found.add(dotted(key, name), f"does not go with `{other}: false`")
        for name, other in self._beside:
            if name in raw and other not in raw:
                found.add(dotted(key, name), f"needs `{other}` beside it")


def _given(raw: Mapping[str, object], path: str) -> bool:
    name, _, rest = path.partition(".")
    value = raw.get(name, False)
    if rest:
        return isinstance(value, dict) and _given(value, rest)
    return value is not False


def _shown(member: str | Iterable[str]) -> str:
    return f"`{member}`" if isinstance(member, str) else _listed(map(_shown, member), "and")


def _listed(words: Iterable[str], last: str) -> str:
    *most, final = words
    return f"{', '.join(most)} {last} {final}" if most else final


def _kind(annotation: Any) -> Any:
    given = [each for each in get_args(annotation) if each is not UnsetType]
    optional = UnsetType in get_args(annotation)
    return given[0] if optional and len(given) == 1 else annotation


# ---- single values


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


# ---- JSON Schema


def json_schema(model: type[Struct]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a model."""
    edits = (HookEdit, ActionEdit) if model is JobFile else ()
    (top, *_), parts = msgspec.json.schema_components([model, *edits])
    models = {each.__name__: each for each in _File.__subclasses__()}
    for name, part in parts.items():
        if not part["required"]:  # `Shape.of` takes no empty mapping
            part["minProperties"] = 1
        if together := list(_together(_RULES.get(models[name], Rules()))):
            part["allOf"] = together
        if models[name] is JobFile:
            barred = {"items": {"properties": dict.fromkeys(NOT_FROZEN, False)}}
            frozen = _if_then({"required": ["during"]}, {"properties": {"edits": barred}})
            part["allOf"].append(frozen)
    return {"$schema": _DIALECT, **top, "$defs": parts}


def _together(rules: Rules) -> Iterator[dict[str, Any]]:
    for group in rules.needs:
        members = ([member] if isinstance(member, str) else [*member] for member in group)
        yield {"anyOf": [{"required": names} for names in members]}
    # Editors tell the key that is not allowed here; of `not` they could tell none.
    for name, others in rules.apart.items():
        yield _if_then({"required": [name]}, {"properties": dict.fromkeys(others, False)})
    for path, other in rules.wants.items():
        true = {"required": [other], "properties": {other: {"const": True}}}
        yield _if_then(_is_given(path), true)
    for name, other in rules.spares.items():
        kept = {"properties": {other: {"not": {"const": False}}}}
        yield _if_then({"required": [name]}, kept)
    for name, other in rules.beside.items():
        yield _if_then({"required": [name]}, {"required": [other]})


def _if_then(condition: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    return {"if": condition, "then": rest}


def _is_given(path: str) -> dict[str, Any]:
    """What `_given` says."""
    name, _, rest = path.partition(".")
    inner = _is_given(rest) if rest else {"not": {"const": False}}
    return {"type": "object", "required": [name], "properties": {name: inner}}
