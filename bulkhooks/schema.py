"""The files that people write, as models that their checks and their JSON Schema share.

A rule that a schema can say stands here, or with the kinds of values, and nowhere else: keys,
patterns, lengths, ranges, and what goes together. What takes more than the file itself to tell
(whether a tenant is known, a script file there) is said where it is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from . import kinds
from .shape import Model, Rules, if_then

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


# ---- parts of several files


class LimitsEntry(Model):
    """How much of a tenant's rate limit may be used."""

    reserve: kinds.Reserve | UnsetType = UNSET
    max_rate: kinds.MaxRate | UnsetType = UNSET
    concurrency: kinds.Concurrency | UnsetType = UNSET


# ---- the tenants of an edit


class Tagged(Model):
    """Tenants by their tags."""

    tags: kinds.Tags


TenantNames: TypeAlias = kinds.TenantGlob | Annotated[list[kinds.TenantGlob], Meta(min_length=1)]
OtherTenants: TypeAlias = (
    kinds.TenantGlob | Annotated[list[kinds.TenantGlob | Tagged], Meta(min_length=1)] | Tagged
)


class TenantSelector(Model):
    """Tenants for which all that is given holds."""

    names: (
        Annotated[TenantNames, Meta(description="A name, a glob, or a list of these")] | UnsetType
    ) = UNSET
    tags: kinds.Tags | UnsetType = UNSET
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
    TenantNames | TenantSelector,
    Meta(description="A name, a glob, a list of these, or {names: ..., tags: [...], not: ...}"),
]


# ---- edits of hooks

_SCRIPT: Final = {"script": ("script_file",)}


class OneHook(Model):
    """One hook by its id or exact name."""

    id: kinds.HookId | UnsetType = UNSET
    name: kinds.HookName | UnsetType = UNSET
    triggerId: kinds.Trigger | UnsetType = UNSET

    rules = Rules(needs=(("id", "name"),))


class HookSelector(Model):
    """Every hook for which all that is given holds."""

    id: kinds.HookId | UnsetType = UNSET
    name: kinds.HookGlob | UnsetType = UNSET
    triggerId: kinds.Trigger | UnsetType = UNSET
    enabled: kinds.Enabled | UnsetType = UNSET


Hook: TypeAlias = Annotated[
    kinds.HookId | OneHook,
    Meta(description="Exactly one hook, by id or {name: ..., triggerId: ...}"),
]


class SetHook(Model):
    """What to change; fields that are not given stay as they are."""

    name: kinds.HookName | UnsetType = UNSET
    script: kinds.Script | UnsetType = UNSET
    script_file: kinds.ScriptFile | UnsetType = UNSET
    enabled: kinds.Enabled | UnsetType = UNSET
    dependencies: kinds.Dependencies | UnsetType = UNSET

    rules = Rules(apart=_SCRIPT)


class NewHook(Model):
    """A hook to be created."""

    name: kinds.HookName
    triggerId: kinds.Trigger
    script: kinds.Script | UnsetType = UNSET
    script_file: kinds.ScriptFile | UnsetType = UNSET
    enabled: kinds.Enabled | UnsetType = UNSET
    dependencies: kinds.Dependencies | UnsetType = UNSET

    rules = Rules(needs=(("script", "script_file"),), apart=_SCRIPT)


class ExpectedHook(Model):
    """A guard: where it does not hold, the hook is skipped."""

    name: kinds.HookName | UnsetType = UNSET
    triggerId: kinds.Trigger | UnsetType = UNSET
    script: kinds.Script | UnsetType = UNSET
    script_file: kinds.ScriptFile | UnsetType = UNSET
    enabled: kinds.Enabled | UnsetType = UNSET
    dependencies: kinds.Dependencies | UnsetType = UNSET

    rules = Rules(apart=_SCRIPT)


class HookEdit(Model):
    """One change on the hooks of some tenants."""

    tenant: kinds.TenantName | UnsetType = UNSET
    tenants: Tenants | UnsetType = UNSET
    hook: Hook | UnsetType = UNSET
    hooks: HookSelector | UnsetType = UNSET
    set: SetHook | UnsetType = UNSET
    transform: kinds.TransformName | UnsetType = UNSET
    create: NewHook | UnsetType = UNSET
    delete: kinds.Delete | UnsetType = UNSET
    set_secrets: kinds.Secrets | UnsetType = UNSET
    remove_secrets: kinds.SecretNames | UnsetType = UNSET
    expect: ExpectedHook | UnsetType = UNSET
    id: kinds.EditId | UnsetType = UNSET
    note: kinds.Note | UnsetType = UNSET
    allow_empty: kinds.AllowEmpty | UnsetType = UNSET

    rules = Rules(
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
    )


# ---- edits of actions

_CODE: Final = {"code": ("code_file",)}


class OneAction(Model):
    """One action by its id or exact name."""

    id: kinds.ActionId | UnsetType = UNSET
    name: kinds.ActionName | UnsetType = UNSET
    triggerId: kinds.ActionTrigger | UnsetType = UNSET

    rules = Rules(needs=(("id", "name"),))


class ActionSelector(Model):
    """Every action for which all that is given holds."""

    id: kinds.ActionId | UnsetType = UNSET
    name: kinds.ActionGlob | UnsetType = UNSET
    triggerId: kinds.ActionTrigger | UnsetType = UNSET
    deployed: kinds.Deployed | UnsetType = UNSET
    bound: kinds.Bound | UnsetType = UNSET


Action: TypeAlias = Annotated[
    kinds.ActionId | OneAction,
    Meta(description="Exactly one action, by id or {name: ..., triggerId: ...}"),
]


class SetAction(Model):
    """What to change; fields that are not given stay as they are."""

    name: kinds.ActionName | UnsetType = UNSET
    code: kinds.Code | UnsetType = UNSET
    code_file: kinds.CodeFile | UnsetType = UNSET
    dependencies: kinds.ActionDependencies | UnsetType = UNSET
    runtime: kinds.Runtime | UnsetType = UNSET
    bound: kinds.Bound | UnsetType = UNSET
    position: kinds.Position | UnsetType = UNSET

    rules = Rules(apart=_CODE, spares={"position": "bound"})


class NewAction(Model):
    """An action to be created."""

    name: kinds.ActionName
    triggerId: kinds.ActionTrigger
    code: kinds.Code | UnsetType = UNSET
    code_file: kinds.CodeFile | UnsetType = UNSET
    dependencies: kinds.ActionDependencies | UnsetType = UNSET
    runtime: kinds.Runtime | UnsetType = UNSET
    bound: kinds.Bound | UnsetType = UNSET
    position: kinds.Position | UnsetType = UNSET

    rules = Rules(needs=(("code", "code_file"),), apart=_CODE, wants={"position": "bound"})


class ExpectedAction(Model):
    """A guard: where it does not hold, the action is skipped."""

    name: kinds.ActionName | UnsetType = UNSET
    triggerId: kinds.ActionTrigger | UnsetType = UNSET
    code: kinds.Code | UnsetType = UNSET
    code_file: kinds.CodeFile | UnsetType = UNSET
    dependencies: kinds.ActionDependencies | UnsetType = UNSET
    runtime: kinds.Runtime | UnsetType = UNSET
    deployed: kinds.Deployed | UnsetType = UNSET
    bound: kinds.Bound | UnsetType = UNSET

    rules = Rules(apart=_CODE)


class ActionEdit(Model):
    """One change on the actions of some tenants."""

    tenant: kinds.TenantName | UnsetType = UNSET
    tenants: Tenants | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    actions: ActionSelector | UnsetType = UNSET
    set: SetAction | UnsetType = UNSET
    transform: kinds.TransformName | UnsetType = UNSET
    create: NewAction | UnsetType = UNSET
    delete: kinds.Delete | UnsetType = UNSET
    deploy: kinds.Deploy | UnsetType = UNSET
    set_secrets: kinds.ActionSecrets | UnsetType = UNSET
    remove_secrets: kinds.SecretNames | UnsetType = UNSET
    expect: ExpectedAction | UnsetType = UNSET
    id: kinds.EditId | UnsetType = UNSET
    note: kinds.Note | UnsetType = UNSET
    allow_empty: kinds.AllowEmpty | UnsetType = UNSET

    rules = Rules(
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
    )


def is_of_actions(edit: Mapping[str, object]) -> bool:
    """Whether an edit is a change on actions, by the keys that it has."""
    if "action" in edit or "actions" in edit:
        return True
    new = edit.get("create")
    return isinstance(new, dict) and ("code" in new or "code_file" in new)


# ---- the schedule file

_FREEZE: Final = Rules(beside={"during": "window"})
#: What no edit of a freeze may have: nobody could put it back as it was.
NOT_FROZEN: Final = ("create", "delete", "deploy", "set_secrets", "remove_secrets")


class WindowEntry(Model):
    """When writes may be sent: once, from `start` to `end`, or `every` so often `for` a time."""

    timezone: kinds.Zone
    start: kinds.LocalTime | UnsetType = UNSET
    end: kinds.LocalTime | UnsetType = UNSET
    every: kinds.Every | UnsetType = UNSET
    cron: kinds.Cron | UnsetType = UNSET
    for_: kinds.Duration | UnsetType = msgspec.field(default=UNSET, name="for")

    rules = Rules(
        needs=(("start", "every", "cron"),),
        apart={"start": ("every", "cron", "for"), "end": ("every", "cron"), "every": ("cron",)},
        beside={"start": "end", "end": "start", "every": "for", "cron": "for"},
    )


class WaveEntry(Model):
    """A wave with what is waited for, and looked at, before the next one."""

    tenants: kinds.WaveSize | UnsetType = UNSET
    tags: kinds.WaveTags | UnsetType = UNSET
    soak: kinds.Soak | UnsetType = UNSET
    probe: kinds.Probe | UnsetType = UNSET

    rules = Rules(needs=(("tenants", "tags"),), apart={"tenants": ("tags",)})


Waves: TypeAlias = Annotated[
    list[kinds.WaveCount | kinds.WaveShareOrElse | kinds.WaveTags | WaveEntry],
    Meta(
        min_length=1,
        description="Tenants that must go well before others start: a number of them, a share, "
        "a list of tags, or {tenants: 5%, soak: 10m, probe: read-back}",
        examples=[[1, "5%", "100%"]],
    ),
]


class HaltEntry(Model):
    """What ends a job before its end; what is in flight ends, the rest is pending."""

    failures: kinds.Failures | UnsetType = UNSET
    in_a_row: kinds.InARow | UnsetType = UNSET
    tenants: kinds.FailedTenants | UnsetType = UNSET


class ScheduleFile(Model, kw_only=True):
    """When a job is carried out, in what waves, and what ends it early."""

    window: WindowEntry | UnsetType = UNSET
    during: kinds.During | UnsetType = UNSET
    waves: Waves | UnsetType = UNSET
    halt: HaltEntry | UnsetType = UNSET

    rules = _FREEZE


# ---- the job file

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


class JobFile(Model, kw_only=True):
    """A job of bulkhooks: edits of Auth0 hooks and actions across tenants."""

    name: kinds.JobName | UnsetType = UNSET
    note: kinds.Note | UnsetType = UNSET
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
            list[kinds.Tag],
            Meta(
                min_length=1,
                description="A guard: every tenant that an edit reaches must have one of these",
            ),
        ]
        | UnsetType
    ) = UNSET
    limits: LimitsEntry | UnsetType = UNSET
    window: WindowEntry | UnsetType = UNSET
    during: kinds.During | UnsetType = UNSET
    waves: Waves | UnsetType = UNSET
    halt: HaltEntry | UnsetType = UNSET

    rules = _FREEZE


# ---- the tenants file

_KEY: Final = ("private_key", "algorithm", "kid")


class TimeoutsEntry(Model):
    """How long a tenant is waited for."""

    connect: kinds.ConnectTime | UnsetType = UNSET
    request: kinds.RequestTime | UnsetType = UNSET


class TenantEntry(Model):
    """One Auth0 tenant, and how to log in there."""

    domain: kinds.Domain | UnsetType = UNSET
    base_url: kinds.BaseUrl | UnsetType = UNSET
    tags: kinds.TenantTags | UnsetType = UNSET
    client_id: kinds.Credential | UnsetType = UNSET
    client_secret: kinds.Credential | UnsetType = UNSET
    private_key: kinds.PrivateKey | UnsetType = UNSET
    algorithm: kinds.Algorithm | UnsetType = UNSET
    kid: kinds.KeyId | UnsetType = UNSET
    audience: kinds.Audience | UnsetType = UNSET
    token: kinds.Credential | UnsetType = UNSET
    hooks: kinds.Lifecycle | UnsetType = UNSET
    ca_file: kinds.CaFile | UnsetType = UNSET
    timeouts: TimeoutsEntry | UnsetType = UNSET
    headers: kinds.Headers | UnsetType = UNSET
    limits: LimitsEntry | UnsetType = UNSET
    protected: kinds.Protected | UnsetType = UNSET

    rules = Rules(
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
    )


class DefaultsEntry(Model):
    """What holds for every tenant that says nothing else."""

    hooks: kinds.Lifecycle | UnsetType = UNSET
    ca_file: kinds.CaFile | UnsetType = UNSET
    timeouts: TimeoutsEntry | UnsetType = UNSET
    headers: kinds.Headers | UnsetType = UNSET
    limits: LimitsEntry | UnsetType = UNSET


class TenantsFile(Model):
    """The tenants that jobs of bulkhooks may name."""

    tenants: Annotated[
        dict[kinds.TenantName, TenantEntry], Meta(min_length=1, description="Tenants by our names")
    ]
    defaults: DefaultsEntry | UnsetType = UNSET


# ---- the file of secrets


class SecretsFile(Model):
    """Where the values of hooks' secrets are found: Auth0 shows none. The nearest word counts."""

    secrets: (
        Annotated[kinds.Supplied, Meta(description="Of every hook of every tenant")] | UnsetType
    ) = UNSET
    tenants: (
        Annotated[
            dict[kinds.SuppliedTenant, kinds.Supplied],
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
            dict[kinds.HookName, kinds.Supplied],
            Meta(min_length=1, description="By the hook's name, before its tenant"),
        ]
        | UnsetType
    ) = UNSET


# ---- JSON Schema


def json_schema(model: type[Model]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file."""
    edits = (HookEdit, ActionEdit) if model is JobFile else ()
    (top, *_), parts = msgspec.json.schema_components([model, *edits])
    models = {each.__name__: each for each in Model.__subclasses__()}
    for name, part in parts.items():
        if not part["required"]:  # `Shape.of` takes no empty mapping
            part["minProperties"] = 1
        if together := list(models[name].rules.json_schema()):
            part["allOf"] = together
        if models[name] is JobFile:
            barred = {"items": {"properties": dict.fromkeys(NOT_FROZEN, False)}}
            frozen = if_then({"required": ["during"]}, {"properties": {"edits": barred}})
            part["allOf"].append(frozen)
    return {"$schema": _DIALECT, **top, "$defs": parts}
