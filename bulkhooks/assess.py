"""A look at hooks before they become actions: equal scripts are one thing to look at, and each is
told with what stands in its way.

Nothing that is sent here changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from . import actions
from .actions import MAX_ACTIONS, MAX_BOUND, over_limits
from .auth0 import Log, ManagementClient, WatchTenants, without_journal
from .convert import Conversion, convert
from .deploy import Mappings
from .errors import ItemError, TenantError
from .guards import Narrowing
from .legacy import SourceHook, Sources, read_hooks, script_digest
from .supplies import NONE, Supplies
from .tenants import Tenant

#: A script and its trigger: hooks that share both are converted together.
_Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """The dependencies of some hooks that share a script."""

    versions: Mapping[str, str]
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A secret without a value."""

    name: str
    why: str
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A hook whose action cannot have its name."""

    hook: str
    triggerId: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Hooks of one trigger with one script, and what becomes of them."""

    digest: str  #: of the script: how its SHA-256 begins, as the action's code tells it
    triggerId: str
    script: str
    hooks: int
    enabled: int  #: of the hooks
    names: tuple[str, ...]  #: of the hooks, each once
    tenants: tuple[str, ...]  #: each once, in the order of their file
    conversion: Conversion  #: by what most of the hooks depend on; with the blockers of all
    packages: tuple[Packages, ...]  #: what the hooks depend on, the most usual first
    secrets: Mapping[str, bool]  #: names, and whether every hook that has one is given its value
    missing: tuple[Missing, ...]
    unheld: tuple[str, ...]  #: names of secrets that the script reads and no hook has
    limits: tuple[str, ...]  #: of an action, that it would break
    clashes: int  #: hooks whose action cannot have its name

    @property
    def urgency(self) -> int:
        """0 for what cannot be converted at all, up to 4 for what needs nobody."""
        settled = (
            self.conversion.mode is not None,
            not self.conversion.blockers,
            not (self.limits or self.clashes),
            not self.missing,
        )
        return settled.index(False) if False in settled else len(settled)

    def as_json(self) -> dict[str, Any]:
        """What `assess --json` prints of a script."""
        return {
            "digest": self.digest,
            "triggerId": self.triggerId,
            "tenants": self.tenants,
            "hooks": self.hooks,
            "enabled": self.enabled,
            "names": self.names,
            "mode": self.conversion.mode,
            "blockers": [{"line": one.line, "what": one.what} for one in self.conversion.blockers],
            "dependencies": self.conversion.dependencies,
            "dependencies_differ": [
                {"dependencies": dict(each.versions), "tenants": each.tenants}
                for each in (self.packages if len(self.packages) > 1 else ())
            ],
            "secrets": dict(self.secrets),
            "missing": [
                {"name": each.name, "why": each.why, "tenants": each.tenants}
                for each in self.missing
            ],
            "unheld": self.unheld,
            "limits": self.limits,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is on one tenant. What is not known is None."""

    hooks: int | None = None
    scripts: tuple[str, ...] = ()  #: the digests of its hooks' scripts, each once
    actions: int | None = None  #: that are there
    made: int | None = None  #: of the hooks' actions that are there already, by this very code
    clashes: tuple[Clash, ...] = ()
    limits: tuple[str, ...] = ()  #: of a tenant, that would be broken
    trouble: TenantError | None = None  #: why not all of it could be read

    def as_json(self) -> dict[str, Any]:
        """What `assess --json` prints of a tenant."""
        trouble = self.trouble
        return {
            "hooks": self.hooks,
            "scripts": self.scripts,
            "actions": self.actions,
            "made": self.made,
            "clashes": [
                {"hook": each.hook, "triggerId": each.triggerId, "what": each.what}
                for each in self.clashes
            ],
            "limits": self.limits,
            "trouble": trouble and {"cause": trouble.cause, "hint": trouble.hint},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What was found out about the hooks of some tenants."""

    scripts: tuple[Script, ...]  #: the most urgent first, then those of most hooks
    tenants: Mapping[str, Standing]  #: in the order of their file

    def as_json(self) -> dict[str, Any]:
        """What `assess --json` prints."""
        return {
            "scripts": [each.as_json() for each in self.scripts],
            "tenants": {name: each.as_json() for name, each in self.tenants.items()},
        }


async def assess_hooks(
    tenants: Mapping[str, Tenant],
    *,
    narrowing: Narrowing | None = None,
    folder: Path | None = None,
    tenant: str | None = None,
    mappings: Mappings | None = None,
    supplies: Supplies = NONE,
    watch: WatchTenants | None = None,
    log: Log | None = None,
) -> Assessment:
    """Read the hooks of tenants, as `legacy.read_hooks` does, and what actions are there; convert
    each script once, and tell what stands in its way.

    Nothing is read of tenants whose hooks come from `folder`: what actions are there is not known
    then. Raises what `read_hooks` raises.
    """
    there: dict[str, _There | TenantError] = {}

    async def beside(client: ManagementClient, found: tuple[SourceHook, ...]) -> None:
        there[client.tenant.name] = await _actions_there(client, found)

    sources = await read_hooks(
        tenants,
        narrowing=narrowing,
        folder=folder,
        tenant=tenant,
        mappings=mappings,
        beside=beside,
        watch=watch,
        log=log,
    )
    groups = _grouped(sources)
    converted = {key: _converted(key, group) for key, group in groups.items()}
    codes = {key: script_digest(each.code) for key, each in converted.items() if each.mode}
    standings = {
        name: Standing(trouble=each)
        if isinstance(each, TenantError)
        else _standing(each, there.get(name), codes)
        for name, each in sources.items()
    }
    clashes = {(name, clash.hook) for name, each in standings.items() for clash in each.clashes}
    scripts = [
        _script(key, group, converted[key], supplies, clashes) for key, group in groups.items()
    ]
    scripts.sort(key=lambda each: (each.urgency, -each.hooks, each.triggerId, each.digest))
    return Assessment(scripts=tuple(scripts), tenants=standings)


# ---- scripts


def _grouped(sources: Sources) -> dict[_Key, list[SourceHook]]:
    groups: dict[_Key, list[SourceHook]] = {}
    for each in sources.values():
        for hook in () if isinstance(each, TenantError) else each:
            groups.setdefault((hook.triggerId, hook.script), []).append(hook)
    return groups


def _packages(group: Iterable[SourceHook]) -> tuple[Packages, ...]:
    """What hooks depend on; where that differs, the most usual first."""
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for hook in group:
        alike.setdefault(tuple(sorted(hook.dependencies.items())), []).append(hook.tenant)
    return tuple(
        Packages(versions=dict(versions), tenants=_once(tenants))
        for versions, tenants in sorted(alike.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    )


def _converted(key: _Key, group: Iterable[SourceHook]) -> Conversion:
    trigger, script = key
    every = [convert(script, trigger, dependencies=each.versions) for each in _packages(group)]
    first = every[0]
    blockers = tuple(dict.fromkeys(blocker for each in every for blocker in each.blockers))
    return msgspec.structs.replace(
        first, blockers=tuple(sorted(blockers, key=lambda each: each.line))
    )


def _script(
    key: _Key,
    group: Sequence[SourceHook],
    conversion: Conversion,
    supplies: Supplies,
    clashes: Set[tuple[str, str]],
) -> Script:
    trigger, script = key
    held = sorted({name for hook in group for name in hook.secrets})
    missing = _missing(group, supplies)
    lacking = {each.name for each in missing}
    return Script(
        digest=script_digest(script),
        triggerId=trigger,
        script=script,
        hooks=len(group),
        enabled=sum(hook.enabled for hook in group),
        names=_once(sorted(hook.name for hook in group)),
        tenants=_once(hook.tenant for hook in group),
        conversion=conversion,
        packages=_packages(group),
        secrets={name: name not in lacking for name in held},
        missing=missing,
        unheld=tuple(name for name in conversion.secrets if name not in held),
        limits=tuple(_broken(group, conversion)),
        clashes=sum((hook.tenant, hook.name) in clashes for hook in group),
    )


def _missing(group: Iterable[SourceHook], supplies: Supplies) -> tuple[Missing, ...]:
    alike: dict[tuple[str, str], list[str]] = {}
    for hook in group:
        for name in hook.secrets:
            if why := supplies.lack(hook.tenant, hook.name, name):
                alike.setdefault((name, why), []).append(hook.tenant)
    return tuple(
        Missing(name=name, why=why, tenants=_once(tenants))
        for (name, why), tenants in sorted(alike.items())
    )


def _broken(group: Iterable[SourceHook], conversion: Conversion) -> Iterator[str]:
    """The limits of an action that a script's would break."""
    secrets = max(len(hook.secrets) for hook in group)
    yield from over_limits(conversion.code, conversion.dependencies, secrets)


# ---- tenants


def _standing(
    mine: Sequence[SourceHook], there: _There | TenantError | None, codes: Mapping[_Key, str]
) -> Standing:
    """What is to be told of a tenant with these hooks; `there` is None where nobody has asked."""
    known = there if isinstance(there, _There) else None
    clashes, made = list[Clash](), set[str]()
    times = Counter(hook.name for hook in mine)
    for hook in mine:
        action = known.actions.get(hook.name) if known else None
        if times[hook.name] > 1:
            what = f"{times[hook.name]} hooks have the name that each one's action would have"
        elif action is None:
            continue
        elif hook.triggerId not in action.triggers:
            what = f"an action of that name is there, of {', '.join(action.triggers) or '?'}"
        elif action.code == codes.get((hook.triggerId, hook.script)):
            made.add(hook.name)
            continue
        else:
            what = "an action of that name is there, with other code"
        clashes.append(Clash(hook=hook.name, triggerId=hook.triggerId, what=what))
    return Standing(
        hooks=len(mine),
        scripts=_once(script_digest(hook.script) for hook in mine),
        actions=None if known is None else len(known.actions),
        made=None if known is None else len(made),
        clashes=tuple(clashes),
        limits=tuple(_exceeded(mine, known or _There(actions={}, bound={}), made)),
        trouble=there if isinstance(there, TenantError) else None,
    )


def _exceeded(mine: Sequence[SourceHook], there: _There, made: set[str]) -> Iterator[str]:
    """The limits of a tenant that these hooks' actions would break beside those that are there."""
    new = sum(hook.name not in made for hook in mine)
    if len(there.actions) + new > MAX_ACTIONS:
        have = f"{len(there.actions)} actions there and {new} to be made"
        yield f"{have}: a tenant may have {MAX_ACTIONS}"
    for trigger, bound in there.bound.items():
        more = sum(
            hook.enabled and hook.triggerId == trigger and hook.name not in bound for hook in mine
        )
        if len(bound) + more > MAX_BOUND:
            have = f"{len(bound)} actions bound to {trigger} and {more} to be bound"
            yield f"{have}: a trigger may have {MAX_BOUND}"


# ---- what is there already


@dataclass(frozen=True, slots=True)
class _Action:
    triggers: tuple[str, ...]
    code: str  #: its digest: a thousand tenants have a hundred actions each


@dataclass(frozen=True, slots=True, kw_only=True)
class _There:
    """The actions of one tenant."""

    actions: Mapping[str, _Action]  #: by name
    bound: Mapping[str, tuple[str, ...]]  #: names by trigger, where these may come near the limit


async def _actions_there(
    client: ManagementClient, found: Sequence[SourceHook]
) -> _There | TenantError:
    """What actions a tenant has that has these hooks; or why that cannot be read."""
    try:
        listed = await actions.list_whole(client.read)
        there = {
            str(fields.get("name")): _Action(
                tuple(actions.triggers_of(shown)), script_digest(fields.get("code", ""))
            )
            for fields, shown in listed.values()
        }
        possible = Counter(trigger for each in there.values() for trigger in each.triggers)
        possible.update(hook.triggerId for hook in found if hook.enabled)
        # What is bound is among the actions: mostly their number tells that there is room.
        near = {hook.triggerId for hook in found if possible[hook.triggerId] > MAX_BOUND}
        lists = {t: await actions.read_bindings(t, client.read) for t in sorted(near)}
    except (TenantError, ItemError) as error:
        told = without_journal(error)
        return TenantError(f"its actions cannot be read: {told.cause}", told.hint)
    bound = {trigger: tuple(each.name for each in order) for trigger, order in lists.items()}
    return _There(actions=there, bound=bound)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
