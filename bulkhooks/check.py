"""A look at tenants before the work: whether each can be used, and can do what a job asks of it.

Nothing that is sent here changes anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from . import actions, hooks, steps
from .answers import MOVE
from .auth0 import (
    Log,
    ManagementClient,
    WatchTenants,
    everywhere,
    loop_time,
    without_journal,
)
from .errors import Ended, HooksGone, ItemError, Refused, TenantError, Unsure
from .guards import Narrowing, listed, whole_tenants
from .items import Fields
from .jobfile import Job
from .lane import lacks, read_only
from .report import clean
from .tenants import Tenant
from .tokens import Grant

#: What hooks take: every write, or those of `enabled` and of secrets alone, or nothing is there
#: any more. `active?`: they can be read, and more is not known; `?`: not even that.
Lifecycle: TypeAlias = Literal["active", "active?", "read-only", "gone", "?"]

_SCOPES: Final = (*hooks.SCOPES, *actions.SCOPES)
_HOOKS: Final = frozenset({"hooks"})
_LISTS: Final = {"hooks": hooks.list_all, "actions": actions.list_all}
#: Seconds by which two clocks may differ. What signs a request for a token is good for so long.
_APART: Final = 60.0
#: Next steps that are told of one cause; they differ by the client that is to be granted something.
_STEPS_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a tenant. Equal causes are told together; `hint` says what to do."""

    cause: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found out about one tenant. What is not known is None."""

    client: str | None = None  #: id of the application that its token was given to
    token_life: float | None = None  #: seconds that the token is still good for
    #: Whether the token has each scope of hooks and of actions.
    scopes: Mapping[str, bool | None] = field(default_factory=lambda: dict.fromkeys(_SCOPES))
    #: Which lists of it were asked for, `hooks` or `actions`: what a job's edits are of.
    of: frozenset[str] = _HOOKS
    lifecycle: Lifecycle | None = None  #: None: it was not asked for its hooks
    limit: int | None = None  #: requests in a full bucket
    remaining: int | None = None  #: of these were left
    clock_ahead: float | None = None  #: seconds that its clock is ahead of ours, give or take one
    hooks: int | None = None
    enabled: Mapping[str, tuple[str, ...]] | None = None  #: names by trigger
    actions: int | None = None
    troubles: tuple[Trouble, ...] = ()  #: for which it cannot be used, or not for the job
    remarks: tuple[Trouble, ...] = ()  #: that keep nobody from using it

    @property
    def ready(self) -> bool:
        """Whether it can be used, and for the job if there is one."""
        return not self.troubles

    def as_json(self) -> dict[str, Any]:
        """What `check --json` prints of a tenant."""
        return {
            "ready": self.ready,
            "client": self.client,
            "token_life": None if self.token_life is None else round(self.token_life),
            "scopes": dict(self.scopes),
            "lifecycle": self.lifecycle,
            "limit": self.limit,
            "remaining": self.remaining,
            "clock_ahead": None if self.clock_ahead is None else round(self.clock_ahead, 1),
            "hooks": self.hooks,
            "enabled": None if self.enabled is None else dict(self.enabled),
            "actions": self.actions,
            "troubles": [{"cause": each.cause, "hint": each.hint} for each in self.troubles],
            "remarks": [{"cause": each.cause, "hint": each.hint} for each in self.remarks],
        }


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a job needs on one tenant; without a job, nothing of its hooks."""

    of: set[str] = field(default_factory=set)  #: what its edits are of
    scopes: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)  #: what of it read-only hooks refuse, in words


async def check_tenants(
    tenants: Mapping[str, Tenant],
    job: Job | None = None,
    *,
    narrowing: Narrowing | None = None,
    probe: bool = False,
    watch: WatchTenants | None = None,
    log: Log | None = None,
) -> dict[str, Checked]:
    """Look at every tenant, or at those that the edits of `job` reach and for what these need: all
    at once, each through its own limiter, and mostly with one request. Answers them in the tenants
    file's order.

    Of a job whose edits are all of actions, hooks are not asked for. Nothing is written, and what
    reading does not tell is not known. `probe` finds out whether hooks
    are read-only too: each tenant is sent a new name for a hook that it does not have. `watch`
    runs beside it, and is given the names of those that are not done yet; `log` is told of every
    request. Raises Refused (BadInput) before anything is sent.
    """
    needs = _needed(tenants, job, narrowing or Narrowing())

    async def look(tenant: Tenant, client: ManagementClient) -> Checked:
        return await _look(tenant, client, needs[tenant.name], probe=probe)

    chosen = [tenants[name] for name in needs]
    ended = await everywhere(chosen, look, watch=watch, log=log)
    return {
        name: _unusable(each, needs[name]) if isinstance(each, TenantError) else each
        for name, each in ended.items()
    }


def causes(found: Mapping[str, Checked]) -> Iterator[str]:
    """What is wrong with tenants: clean lines, a cause with those that it is true of, and below it
    what to do. What keeps a tenant from being used comes first, then what most have."""
    troubles = {name: each.troubles for name, each in found.items()}
    remarks = {name: each.remarks for name, each in found.items()}
    for told in (troubles, remarks):
        alike: dict[str, dict[str, str]] = {}
        for name, trouble in ((name, one) for name, each in told.items() for one in each):
            alike.setdefault(trouble.cause, {})[name] = trouble.hint
        for cause, mine in sorted(alike.items(), key=lambda pair: -len(pair[1])):
            yield clean(f"{listed(list(mine))}: {cause}")
            hints = list(dict.fromkeys(mine.values()))
            yield from (clean(f"    {hint}") for hint in hints[:_STEPS_TOLD])
            if len(hints) > _STEPS_TOLD:
                yield f"    and {len(hints) - _STEPS_TOLD} more like these: --json has them all"


def columns(
    found: Mapping[str, Checked], *, wide: bool
) -> list[tuple[str, Callable[[Checked], str]]]:
    """What a table tells of tenants: a column's name, and what it says of each. A `wide` one has
    clocks, clients and enabled hooks too."""
    of = {kind for each in found.values() for kind in each.of}
    told: list[tuple[str, Callable[[Checked], str]]] = [
        ("", lambda each: "ready" if each.ready else "not")
    ]
    if "hooks" in of:
        told.append(("hooks are", lambda each: each.lifecycle or "-"))
        told.append(("hooks", lambda each: _count(each, "hooks", each.hooks)))
    if "actions" in of:
        told.append(("actions", lambda each: _count(each, "actions", each.actions)))
    told += [("left", _left), ("token", _life)]
    if wide:
        told.append(("hook scopes", partial(_granted, "hooks")))
        told.append(("action scopes", partial(_granted, "actions")))
        told += [("clock", _clock), ("client", lambda each: each.client or "?")]
        told += [("enabled", _on)] if "hooks" in of else []
    else:
        told.append(("scopes", partial(_granted, min(of)) if len(of) == 1 else _granted_of_both))
    return told


# ---- what is needed


def _needed(
    tenants: Mapping[str, Tenant], job: Job | None, narrowing: Narrowing
) -> dict[str, _Needs]:
    """The tenants to look at, in the tenants file's order, and what is needed of each."""
    if job is None:
        return {name: _Needs(of={"hooks"}) for name in whole_tenants(tenants, narrowing)}
    if unknown := narrowing.unknown(tenants):
        raise Refused(f"no tenant is or has {', '.join(unknown)}; look at --only and --skip")
    needs: dict[str, _Needs] = {}
    for edit in job.edits(tenants):
        left = narrowing.of(edit, tenants)
        if left is None:
            continue
        needed = steps.of_edit(edit)
        scopes, frozen = steps.scopes(needed), steps.frozen(needed)
        for name in left.tenants:
            mine = needs.setdefault(name, _Needs())
            mine.of.add(edit.of)
            mine.scopes.update(scopes)
            mine.frozen.update(frozen.split(", ") if frozen else ())
    if not needs:
        raise Refused("--only and --skip leave nothing of the job")
    return {name: needs[name] for name in tenants if name in needs}


# ---- one tenant


async def _look(tenant: Tenant, client: ManagementClient, needs: _Needs, *, probe: bool) -> Checked:
    grant = await client.grant()
    there: dict[str, dict[str, Fields]] = {}
    troubles: list[ItemError | TenantError] = []
    lifecycle: Lifecycle | None = "?" if "hooks" in needs.of else None
    for kind in sorted(needs.of, reverse=True):
        try:
            there[kind] = await _LISTS[kind](client.read)
            if kind == "hooks":
                lifecycle = await _probed(client) if probe else "active?"
        except (ItemError, TenantError) as error:
            troubles.append(error)
            lifecycle = "gone" if isinstance(error, HooksGone) else lifecycle
    found = lifecycle == "read-only"
    if lifecycle == "active?" and tenant.lifecycle:
        lifecycle = tenant.lifecycle
    # Whether it may read, the list has told.
    if lacking := lacks(needs.scopes - steps.READ, grant):
        troubles.append(lacking)
    if needs.frozen and (found or tenant.read_only):
        refused = read_only(", ".join(sorted(needs.frozen)))
        troubles.append(Ended(refused.cause, MOVE) if found else refused)
    pace = client.limiter.statistics()
    ahead = pace.clock_ahead(time.time(), loop_time())
    return Checked(
        client=grant.client or None,
        token_life=None if grant.life == math.inf else max(0.0, grant.life),
        scopes=_scopes(grant, there),
        of=frozenset(needs.of),
        lifecycle=lifecycle,
        limit=pace.limit,
        remaining=pace.remaining,
        clock_ahead=ahead,
        hooks=len(there["hooks"]) if "hooks" in there else None,
        enabled=_enabled(there["hooks"]) if "hooks" in there else None,
        actions=len(there["actions"]) if "actions" in there else None,
        troubles=tuple(dict.fromkeys(_told(without_journal(error)) for error in troubles)),
        remarks=tuple(_remarks(tenant, ahead, read_only=found)),
    )


async def _probed(client: ManagementClient) -> Lifecycle:
    """What hooks take, by what a write is answered that is for no hook there is."""
    nowhere = f"00{uuid4().hex[:24].upper()}"  # of the form of Auth0's ids
    try:
        await client.write(hooks.update_hook(nowhere, {"name": "bulkhooks check"}), _unmarked)
    except Unsure:
        return "active?"
    except TenantError as error:  # the list has shown that there are hooks
        return "read-only" if isinstance(error, HooksGone) else "active?"
    except ItemError as error:
        return "read-only" if isinstance(error, Ended) else "active"
    return "active"


async def _unmarked() -> None:
    """A write that changes nothing leaves nothing to be marked."""


def _scopes(grant: Grant, there: Collection[str]) -> dict[str, bool | None]:
    told = {scope: None if grant.scopes is None else scope in grant.scopes for scope in _SCOPES}
    return told | {f"read:{kind}": True for kind in there}


def _unusable(error: TenantError, needs: _Needs) -> Checked:
    lifecycle: Lifecycle | None = "?" if "hooks" in needs.of else None
    return Checked(of=frozenset(needs.of), lifecycle=lifecycle, troubles=(_told(error),))


def _enabled(there: Mapping[str, Fields]) -> dict[str, tuple[str, ...]]:
    on: dict[str, tuple[str, ...]] = {}
    for id, hook in there.items():
        if hook.get("enabled") is True:
            trigger = str(hook.get("triggerId"))
            on[trigger] = (*on.get(trigger, ()), str(hook.get("name", id)))
    return on


def _remarks(tenant: Tenant, ahead: float | None, *, read_only: bool) -> Iterator[Trouble]:
    if read_only and not tenant.read_only:
        yield Trouble(
            "hooks are read-only here, and the tenants file does not say so",
            "say `hooks: read-only` of it: then a plan tells what cannot be written",
        )
    if ahead is not None and abs(ahead) > _APART:
        yield Trouble(
            f"its clock and this machine's are more than {_APART:.0f} s apart",
            "set this machine's clock: tokens and what asks for them are good for a time",
        )


def _told(error: TenantError) -> Trouble:
    return Trouble(error.cause, error.hint)


# ---- what a table tells of one tenant


def _count(each: Checked, kind: str, count: int | None) -> str:
    if kind not in each.of:
        return "-"
    return "?" if count is None else str(count)


def _left(each: Checked) -> str:
    return "?" if each.remaining is None else f"{each.remaining}/{each.limit}"


def _life(each: Checked) -> str:
    return "?" if each.token_life is None else _span(each.token_life)


def _granted(kind: str, each: Checked) -> str:
    """Which scopes of hooks, or of actions, a token has."""
    mine = {scope: has for scope, has in each.scopes.items() if scope.endswith(f":{kind}")}
    has = [scope.partition(":")[0] for scope in mine if mine[scope]]
    if None in mine.values():
        return " ".join([*has, "?"])
    return "all" if len(has) == len(mine) else " ".join(has) or "none"


def _granted_of_both(each: Checked) -> str:
    """How many scopes a token has; for their names there is no room."""
    has = [*each.scopes.values()]
    if None in has:
        return "?"
    return "all" if all(has) else f"{sum(map(bool, has))} of {len(has)}"


def _clock(each: Checked) -> str:
    ahead = each.clock_ahead
    return "?" if ahead is None else "0 s" if abs(ahead) < 1 else f"{ahead:+.0f} s"


def _on(each: Checked) -> str:
    if each.enabled is None:
        return "?"
    return ", ".join(f"{', '.join(names)} ({trigger})" for trigger, names in each.enabled.items())


def _span(seconds: float) -> str:
    """A span of time in its largest whole unit that leaves two figures."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
