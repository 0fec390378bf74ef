"""A job on its way into the journal: written down whole, or refused with all that is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, Final, get_args

import msgspec
import orjson

from . import hooks
from .errors import BadInput, Complaint, JournalError, Refused
from .items import State
from .jobfile import Job
from .journal import Journal, StagedEdit
from .listing import Contradiction, undone
from .pacing import Limits, reserved
from .tenants import Tenant

#: Contradictions that an error shows.
_SHOWN: Final = 20
#: The kinds of what `--only` and `--skip` take, and what goes before each.
_NARROWING: Final = ("tenant", "tag", "trigger", "hook")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """How much a plan may ask for; None: any number."""

    max_changes: int | None = None  #: items to be written, in all
    max_per_tenant: int | None = None  #: the same, on each tenant
    max_deletes: int = 0  #: hooks to be deleted, in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What part of a job one call is for. Each is a tenant's name or glob, or `tag:`, `trigger:`
    or `hook:` and one; of a kind one must hold, of each kind that is given."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises Refused when one of them is none of these."""
        for word, given in (("--only", self.only), ("--skip", self.skip)):
            for each in given:
                kind, _, name = each.rpartition(":")
                if not name or kind not in ("", *_NARROWING):
                    known = "NAME, tag:TAG, trigger:TRIGGER or hook:NAME"
                    raise Refused(f"{word} {each}: must be {known}")
                if kind == "trigger" and name not in get_args(hooks.Trigger):
                    known = ", ".join(get_args(hooks.Trigger))
                    raise Refused(f"{word} {each}: the triggers are {known}")

    def of(self, edit: hooks.Edit, tenants: Mapping[str, Tenant]) -> hooks.Edit | None:
        """What is left of an edit; None if it has no tenant left."""
        if not (self.only or self.skip):
            return edit
        left = tuple(name for name in edit.tenants if self._takes(tenants[name]))
        narrowed = hooks.Narrowed(
            only_triggers=_of_kind("trigger", self.only),
            only_hooks=_of_kind("hook", self.only),
            skip_triggers=_of_kind("trigger", self.skip),
            skip_hooks=_of_kind("hook", self.skip),
        )
        by_hook = None if narrowed == hooks.Narrowed() else narrowed
        return msgspec.structs.replace(edit, tenants=left, narrowed=by_hook) if left else None

    def named(self, tenant: Tenant) -> bool:
        """Whether a tenant is spelled out, which a protected one must be."""
        return tenant.name in _of_kind("tenant", self.only)

    def unknown(self, tenants: Mapping[str, Tenant]) -> list[str]:
        """The names and tags that no tenant has."""
        return [
            each
            for each in (*self.only, *self.skip)
            if each.rpartition(":")[0] in ("", "tenant", "tag")
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


def stage(
    journal: Journal,
    job: Job,
    tenants: Mapping[str, Tenant],
    *,
    sandbox: bool,
    now: datetime,
    narrowing: Narrowing | None = None,
    guards: Guards | None = None,
) -> None:
    """Write a job into a new journal: its edits, and for each of their tenants a placeholder.

    Raises BadInput with everything that is wrong with the job, Refused when `narrowing` leaves
    nothing of it or a protected tenant is not named. Nothing is read of any tenant.
    """
    narrowing, guards = narrowing or Narrowing(), guards or Guards()
    if unknown := narrowing.unknown(tenants):
        raise Refused(f"no tenant is or has {', '.join(unknown)}; look at --only and --skip")
    narrowed = (narrowing.of(edit, tenants) for edit in job.edits(tenants))
    edits = (_staged(edit) for edit in narrowed if edit is not None)
    digest = journal.stage(edits, {name: tenant.base_url for name, tenant in tenants.items()})
    reached = [tenants[row.name] for row in journal.tenants()]
    if not reached:
        raise Refused("--only and --skip leave nothing of the job")
    shut = [each.name for each in reached if each.protected and not narrowing.named(each)]
    if shut and not sandbox:
        words = " ".join(f"--only {name}" for name in shut[:3])
        raise Refused(
            f"protected: {_listed(shut)}; to change them name each: {words}, or --skip them"
        )
    same = journal.same_names()
    if same:
        raise BadInput(
            Complaint(
                file=_file(job),
                line=lines[-1],
                key="id",
                what=f"{name} is also the id of the edit in line {lines[0]}; give it another",
            )
            for name, lines in same
        )
    whole = blake2b(digest.encode(), digest_size=16)
    for row in journal.tenants():
        whole.update(f"{row.name} {row.base_url}\n".encode())
    whole.update(b"sandbox" if sandbox else b"tenants")
    if narrowing != Narrowing():
        whole.update(orjson.dumps(narrowing))
    journal.note(
        job=job.name,
        note=job.note or "",
        file=str(job.path.absolute()) if job.path else "",
        digest=whole.hexdigest(),
        limits=orjson.dumps(job.limits).decode(),
        guards=orjson.dumps(guards).decode(),
        narrowing=orjson.dumps(narrowing).decode(),
        sandbox="yes" if sandbox else "",
        made=now.isoformat(timespec="seconds"),
    )


def stage_undo(journal: Journal, done: Journal, *, guards: Guards, now: datetime) -> None:
    """Write the way back of all that was written by the journal `done` into a new one, the newest
    first. Raises Refused when nothing was."""
    base_urls = {row.id: (row.name, row.base_url) for row in done.tenants()}
    edits = (
        StagedEdit(
            name=item.edit_name,
            given=True,
            line=0,
            must_match=False,
            body=hooks.body_of(back),
            tenants=(base_urls[item.tenant][0],),
        )
        for item in done.written()
        if (back := undone(item)) is not None
    )
    digest = journal.stage(edits, dict(base_urls.values()))
    if not journal.tenants():
        raise Refused(f"{done.path}: nothing was written, so there is nothing to undo")
    kept = {key: done.meta(key) for key in ("note", "limits", "narrowing", "tenants_file")}
    journal.note(
        job=f"undo of {done.meta('job')}",
        undoes=str(done.path.absolute()),
        guards=orjson.dumps(guards).decode(),
        digest=digest,
        made=now.isoformat(timespec="seconds"),
        **kept,
    )


def limits(journal: Journal) -> Limits:
    """The limits that a journal's job gave."""
    try:
        return Limits(**orjson.loads(journal.meta("limits")))
    except (ValueError, TypeError) as error:
        raise JournalError(f"{journal.path}: the journal is damaged at its limits") from error


def protected(journal: Journal, tenants: Mapping[str, Tenant]) -> list[str]:
    """Tenants of a journal that are protected, and were not spelled out when it was planned."""
    narrowing = Narrowing(**orjson.loads(journal.meta("narrowing", "{}")))
    known = [tenants[row.name] for row in journal.tenants() if row.name in tenants]
    return [each.name for each in known if each.protected and not narrowing.named(each)]


def guard(journal: Journal) -> None:
    """Raises Refused when a journal's plan asks for more than its guards allow."""
    guards = Guards(**orjson.loads(journal.meta("guards", "{}")))
    changes, deletes = journal.planned_writes(), journal.deletes()
    wrong = []
    if guards.max_changes is not None and sum(changes.values()) > guards.max_changes:
        wrong.append(f"{sum(changes.values())} changes; --max-changes is {guards.max_changes}")
    most = guards.max_per_tenant
    over = [
        f"{name} ({count})" for name, count in changes.items() if most is not None and count > most
    ]
    if over:
        wrong.append(f"more than --max-per-tenant {most} on {_listed(over)}")
    if deletes > guards.max_deletes:
        hint = f"--max-deletes is {guards.max_deletes}"
        wrong.append(f"{deletes} hooks would be deleted; {hint}")
    if wrong:
        raise Refused("refused by its guards, nothing was sent:\n  " + "\n  ".join(wrong))


def consistent(journal: Journal, found: Mapping[Contradiction, list[str]]) -> None:
    """Raises BadInput when edits of a job want different things of one hook."""
    if not found:
        return
    names = journal.edit_names({row for each in found for row in (each.first, each.second)})
    file = journal.meta("file") or journal.meta("job")
    complaints = []
    for each in sorted(found)[:_SHOWN]:
        (first, line), (second, other) = names[each.first], names[each.second]
        both = f"edit {first}" if first == second else f"edits {first} and {second} (line {other})"
        what = f"{both} contradict on {each.what}, on {_listed(found[each])}"
        complaints.append(Complaint(file=file, line=line, key="", what=what))
    if len(found) > _SHOWN:
        what = f"{len(found) - _SHOWN} more contradictions; correct these first"
        complaints.append(Complaint(file=file, line=None, key="", what=what))
    raise BadInput(complaints)


def matched(journal: Journal) -> None:
    """Raises BadInput when a selector matched no hook on any tenant that could be read."""
    file = journal.meta("file") or journal.meta("job")
    missed = [
        Complaint(
            file=file,
            line=line,
            key="hooks",
            what=f"edit {name} matches no hook on any tenant; correct it, or add allow_empty: true",
        )
        for line, name in journal.unmatched()
    ]
    if missed:
        raise BadInput(missed)


def differences(old: Journal, new: Journal) -> list[str]:
    """What differs between the jobs of two journals, a short sentence each."""
    found: list[str] = []
    if old.meta("sandbox") != new.meta("sandbox"):
        found.append("one of them is for the sandbox")
    was = {row.name: row.base_url for row in old.tenants()}
    now = {row.name: row.base_url for row in new.tenants()}
    found += [f"tenant {name} is new" for name in now if name not in was]
    found += [f"tenant {name} is gone" for name in was if name not in now]
    found += [
        f"tenant {name} was at {was[name]}, is at {now[name]}"
        for name in now
        if was.get(name, now[name]) != now[name]
    ]
    known = {name: content for name, _, content in old.contents()}
    for name, line, content in new.contents():
        before = known.pop(name, None)
        if before is None:
            found.append(f"edit {name} (line {line}) is new or was changed")
        elif before != content:
            found.append(f"edit {name} (line {line}): its script, tenants or note changed")
    found += [f"edit {name} is gone or was changed" for name in known]
    return found or ["the order of its edits"]


def expected_seconds(journal: Journal, tenants: Mapping[str, Tenant]) -> float:
    """About how long applying what is pending will take: the slowest tenant's time, in seconds.

    From what each tenant's answers showed of its bucket, where they did.
    """
    states, job = journal.books(), limits(journal)
    return max(
        (
            _lane_seconds(
                states[row.id][State.PENDING], row.pace or {}, tenants[row.name].allowed(job)
            )
            for row in journal.tenants()
            if row.id in states and row.name in tenants
        ),
        default=0.0,
    )


def _lane_seconds(writes: int, pace: dict[str, Any], allowed: Limits) -> float:
    ceiling = allowed.max_rate or math.inf
    limit, remaining = pace.get("limit"), pace.get("remaining")
    if not limit or remaining is None:
        return writes / min(ceiling, 40.0)  # nothing is known but that it answers
    # Auth0's documented buckets: 2 and 10 are refilled with 2 a second, 50 with 16.
    refill: float = pace.get("refill") or (2.0 if limit <= 10 else limit / 3)
    waiting: float = max(0, writes - max(0, remaining - reserved(limit, allowed.reserve))) / refill
    return max(waiting, writes / min(ceiling, 40.0))


def _staged(edit: hooks.Edit) -> StagedEdit:
    return StagedEdit(
        name=edit.id or edit.digest[:12],
        given=edit.id is not None,
        line=edit.line,
        must_match=not (edit.one or edit.allow_empty or edit.narrowed),
        body=hooks.body_of(edit),
        tenants=edit.tenants,
    )


def _of_kind(kind: str, given: tuple[str, ...]) -> tuple[str, ...]:
    pairs = (each.rpartition(":") for each in given)
    return tuple(name for word, _, name in pairs if (word or "tenant") == kind)


def _is(tenant: Tenant, wanted: str) -> bool:
    kind, _, name = wanted.rpartition(":")
    return name in tenant.tags if kind == "tag" else fnmatchcase(tenant.name, name)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _file(job: Job) -> str:
    return str(job.path) if job.path else job.name
