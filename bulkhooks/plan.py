"""A job on its way into the journal: written down whole, or refused with all that is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

import orjson

from . import hooks
from .errors import BadInput, Complaint, JournalError
from .items import State
from .jobfile import Job
from .journal import Journal, StagedEdit
from .pacing import Limits, reserved
from .tenants import Tenant


def stage(
    journal: Journal, job: Job, tenants: Mapping[str, Tenant], *, sandbox: bool, now: datetime
) -> None:
    """Write a job into a new journal: its edits, and for each of their tenants a placeholder.

    Raises BadInput with everything that is wrong with the job. Nothing is read of any tenant.
    """
    edits = (_staged(edit) for edit in job.edits(tenants))
    digest = journal.stage(edits, {name: tenant.base_url for name, tenant in tenants.items()})
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
    journal.note(
        job=job.name,
        note=job.note or "",
        file=str(job.path.absolute()) if job.path else "",
        digest=whole.hexdigest(),
        limits=orjson.dumps(job.limits).decode(),
        sandbox="yes" if sandbox else "",
        made=now.isoformat(timespec="seconds"),
    )


def limits(journal: Journal) -> Limits:
    """The limits that a journal's job gave."""
    try:
        return Limits(**orjson.loads(journal.meta("limits")))
    except (ValueError, TypeError) as error:
        raise JournalError(f"{journal.path}: the journal is damaged at its limits") from error


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
        must_match=not (edit.one or edit.allow_empty),
        body=hooks.body_of(edit),
        tenants=edit.tenants,
    )


def _file(job: Job) -> str:
    return str(job.path) if job.path else job.name
