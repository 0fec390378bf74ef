"""What keeps a job from doing more than was meant: how much it may ask for, what part of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import msgspec
import orjson

from . import kinds, tally, windows
from .errors import Refused
from .items import Edit, Narrowed
from .journal import Journal
from .kinds import words
from .schedule import Schedule
from .tenants import Tenant

#: The kinds of what `--only` and `--skip` take, and what goes before each.
_NARROWING: Final = ("tenant", "tag", "trigger", "hook", "action")
_TRIGGERS: Final = words(kinds.ActionTrigger)  # hooks have some of them
#: Those of them that say less than a whole tenant.
_WITHIN: Final = _NARROWING[2:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """How much a plan may ask for; None: any number."""

    max_changes: int | None = None  #: items to be written, in all
    max_per_tenant: int | None = None  #: the same, on each tenant
    max_deletes: int = 0  #: hooks and actions to be deleted, in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What part of a job one call is for. Each is a tenant's name or glob, or `tag:`, `trigger:`,
    `hook:` or `action:` and one; of a kind one must hold, of each kind that is given. (A hook has
    its own name to hold, an action its: where hooks alone are named, no action is left.)"""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises Refused when one of them is none of these."""
        for word, given in (("--only", self.only), ("--skip", self.skip)):
            for each in given:
                kind, name = _parted(each)
                if not name or kind not in _NARROWING:
                    known = "NAME, tag:TAG, trigger:TRIGGER, hook:NAME or action:NAME"
                    raise Refused(f"{word} {each}: must be {known}")
                if kind == "trigger" and name not in _TRIGGERS:
                    known = ", ".join(_TRIGGERS)
                    raise Refused(f"{word} {each}: the triggers are {known}")

    def of(self, edit: Edit, tenants: Mapping[str, Tenant]) -> Edit | None:
        """What is left of an edit; None if it is for no tenant, or nothing on any, that is left."""
        if not (self.only or self.skip):
            return edit
        kind, other = ("hook", "action") if edit.of == "hooks" else ("action", "hook")
        if _of_kind(other, self.only) and not _of_kind(kind, self.only):
            return None
        left = tuple(name for name in edit.tenants if self._takes(tenants[name]))
        narrowed = Narrowed(
            only_triggers=_of_kind("trigger", self.only),
            only_names=_of_kind(kind, self.only),
            skip_triggers=_of_kind("trigger", self.skip),
            skip_names=_of_kind(kind, self.skip),
        )
        within = None if narrowed == Narrowed() else narrowed
        return msgspec.structs.replace(edit, tenants=left, narrowed=within) if left else None

    def named(self, tenant: Tenant) -> bool:
        """Whether a tenant is spelled out, which a protected one must be."""
        return tenant.name in _of_kind("tenant", self.only)

    def spare(self, tenants: Iterable[Tenant]) -> None:
        """Raises Refused when protected tenants are among those reached, and not spelled out."""
        shut = [each.name for each in tenants if each.protected and not self.named(each)]
        if shut:
            words = " ".join(f"--only {name}" for name in shut[:3])
            raise Refused(
                f"protected: {listed(shut)}; to change them name each: {words}, or --skip them"
            )

    def unknown(self, tenants: Mapping[str, Tenant]) -> list[str]:
        """The names and tags that no tenant has."""
        return [
            each
            for each in (*self.only, *self.skip)
            if _parted(each)[0] in ("tenant", "tag")
            and not any(_is(tenant, each) for tenant in tenants.values())
        ]

    def _takes(self, tenant: Tenant) -> bool:
        names, tags = _of_kind("tenant", self.only), _of_kind("tag", self.only)
        return (
            (not names or any(_is(tenant, name) for name in names))
            and (not tags or not tenant.tags.isdisjoint(tags))
            and not any(_is(tenant, name) for name in _of_kind("tenant", self.skip))
            and tenant.tags.isdisjoint(_of_kind("tag", self.skip))
        )


def whole_tenants(tenants: Mapping[str, Tenant], narrowing: Narrowing) -> dict[str, Tenant]:
    """The tenants that are left for what is of all hooks of a tenant. Raises Refused when none
    is."""
    if unknown := narrowing.unknown(tenants):
        raise Refused(f"no tenant is or has {', '.join(unknown)}; look at --only and --skip")
    given = (*narrowing.only, *narrowing.skip)
    if any(_of_kind(kind, given) for kind in _WITHIN):
        raise Refused("this is for all hooks of a tenant; narrow it by NAME or tag:TAG")
    left = narrowing.of(Edit(digest="", line=0, tenants=tuple(tenants)), tenants)
    if left is None:
        raise Refused("--only and --skip leave no tenant")
    return {name: tenants[name] for name in left.tenants}


def narrowed_by(journal: Journal) -> Narrowing:
    """What part of its job a journal was planned for."""
    return Narrowing(**orjson.loads(journal.meta("narrowing", "{}")))


def check_protected(journal: Journal, tenants: Mapping[str, Tenant]) -> None:
    """Raises Refused when tenants of a journal are protected by now, and were not spelled out when
    it was planned."""
    narrowed_by(journal).spare(
        tenants[row.name] for row in journal.tenants() if row.name in tenants
    )


def check_narrowing(journal: Journal, met: Collection[str]) -> None:
    """Raises Refused when `--only` or `--skip` named hooks or actions that no tenant has."""
    narrowing = narrowed_by(journal)
    given = (*narrowing.only, *narrowing.skip)
    for kind in ("hook", "action"):
        if missed := [f"{kind}:{name}" for name in _of_kind(kind, given) if name not in met]:
            no_such = f"no tenant of the job has such {'a hook' if kind == 'hook' else 'an action'}"
            raise Refused(f"{listed(missed)}: {no_such}; nothing was sent")


def check_to_come(schedule: Schedule, now: float) -> None:
    """Raises Refused when the window of a schedule is over for good at `now` (Unix seconds)."""
    if schedule.window is not None and (ended := windows.over(schedule.window, now)):
        raise Refused(
            f"its window was over at {ended}, and does not come again; nothing was sent: "
            "give it another"
        )


def check_guards(journal: Journal, given: Guards | None = None) -> None:
    """Raises Refused when a journal's plan asks for more than its guards allow, or than those that
    are `given` now."""
    wrong: dict[str, None] = {}
    for guards in (Guards(**orjson.loads(journal.meta("guards", "{}"))), given):
        wrong |= dict.fromkeys(_over(guards, journal) if guards else ())
    if wrong:
        raise Refused("refused by its guards, nothing was sent:\n  " + "\n  ".join(wrong))


def _over(guards: Guards, journal: Journal) -> Iterator[str]:
    """In which ways a plan asks for more than `guards` allow."""
    in_all, each = guards.max_changes, guards.max_per_tenant
    if in_all is not None or each is not None:
        changes = tally.planned_writes(journal)
        total = sum(changes.values())
        over = [name for name, count in changes.items() if each is not None and count > each]
        if in_all is not None and total > in_all:
            yield f"{total} changes; --max-changes is {in_all}"
        if over:
            listing = listed([f"{name} ({changes[name]})" for name in over])
            yield f"more than --max-per-tenant {each} on {listing}"
    deletes = tally.deletes(journal)
    if sum(deletes.values()) > guards.max_deletes:
        counts = (
            f"{count} {of if count > 1 else of.removesuffix('s')}" for of, count in deletes.items()
        )
        yield f"{' and '.join(counts)} would be deleted; --max-deletes is {guards.max_deletes}"


def _of_kind(kind: str, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for word, name in map(_parted, given) if word == kind)


def _parted(which: str) -> tuple[str, str]:
    """The kind and the name of one of what `--only` and `--skip` take."""
    # An action's name may have a colon in it.
    kind, colon, name = which.partition(":")
    return (kind, name) if colon else ("tenant", which)


def _is(tenant: Tenant, wanted: str) -> bool:
    kind, name = _parted(wanted)
    return name in tenant.tags if kind == "tag" else fnmatchcase(tenant.name, name)


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
