"""A job on its way into the journal: written down whole, or refused with all that is wrong."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from . import tally, waves, windows
from .actions import LOOK_EVERY
from .errors import BadInput, Complaint, Refused
from .guards import Guards, Narrowing, listed, narrowed_by
from .items import Edit, Move, body_of
from .jobfile import Job
from .journal import Journal, StagedEdit
from .pacing import Limits, reserved
from .prospect import Contradiction
from .schedule import AT_ONCE, Schedule, Span
from .tenants import Tenant
from .undo import undone

#: Requests a second that one process makes, about, where no limit holds it back.
_RATE: Final = 3_000.0
#: Contradictions that an error shows.
_SHOWN: Final = 20


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
    in_full = narrowing == Narrowing()  # a part of a job may well match nothing
    edits = (_staged(edit, must_match=in_full) for edit in narrowed if edit is not None)
    digest = journal.stage(edits, {name: tenant.base_url for name, tenant in tenants.items()})
    reached = [tenants[row.name] for row in journal.tenants()]
    if not reached:
        raise Refused("--only and --skip leave nothing of the job")
    if not sandbox:
        narrowing.spare(reached)
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
        whole.update(f"{sorted(narrowing.only)} {sorted(narrowing.skip)}".encode())
    journal.note(
        job=job.name,
        note=job.note or "",
        file=str(job.path.absolute()) if job.path else "",
        digest=whole.hexdigest(),
        limits=orjson.dumps(job.limits).decode(),
        schedule=msgspec.json.encode(job.schedule).decode(),
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
            body=body_of(back),
            tenants=(base_urls[item.tenant][0],),
        )
        for item in done.written()
        if (back := undone(item, leave_actions=not guards.max_deletes)) is not None
    )
    digest = journal.stage(edits, dict(base_urls.values()))
    if not journal.tenants():
        made = sum(1 for item in done.written() if undone(item, leave_actions=False))
        what = f"{made} actions were made and nothing else; --max-deletes {made} deletes them"
        why = what if made else "nothing was written, so there is nothing to undo"
        raise Refused(f"{done.path}: {why}")
    kept = {key: done.meta(key) for key in ("note", "limits", "narrowing", "tenants_file")}
    journal.note(
        job=f"undo of {done.meta('job')}",
        undoes=str(done.path.absolute()),
        guards=orjson.dumps(guards).decode(),
        digest=digest,
        made=now.isoformat(timespec="seconds"),
        **kept,
    )


def stage_moves(
    journal: Journal,
    moves: Iterable[tuple[str, Move]],
    tenants: Mapping[str, Tenant],
    *,
    name: str,
    prepared: Journal | None = None,
    narrowing: Narrowing | None = None,
    guards: Guards | None = None,
    schedule: Schedule = AT_ONCE,
    now: datetime,
) -> None:
    """Write hooks on their way to actions, with their tenants, into a new journal called `name`;
    `prepared` is the journal that they come from, if they do: what it was narrowed to and its
    tenants file hold for the new one, unless others are given. Raises Refused when there are none,
    or a tenant of them is protected and not named.
    """
    edits = (
        StagedEdit(
            name=f"{tenant}/{move.label}",
            given=True,
            line=0,
            must_match=False,
            body=body_of(move),
            tenants=(tenant,),
        )
        for tenant, move in moves
    )
    digest = journal.stage(edits, {name: tenant.base_url for name, tenant in tenants.items()})
    if not journal.tenants():
        raise Refused("there are no hooks to be moved")
    if narrowing is None:
        narrowing = narrowed_by(prepared) if prepared else Narrowing()
    narrowing.spare([tenants[row.name] for row in journal.tenants()])
    journal.note(
        job=name,
        moves=str(prepared.path.absolute()) if prepared else "yes",
        tenants_file=prepared.meta("tenants_file") if prepared else "",
        guards=orjson.dumps(guards or Guards()).decode(),
        narrowing=orjson.dumps(narrowing).decode(),
        digest=digest,
        limits=orjson.dumps(Limits()).decode(),
        schedule=msgspec.json.encode(schedule).decode(),
        made=now.isoformat(timespec="seconds"),
    )


def schedule(journal: Journal) -> Schedule:
    """When a journal is to be carried out, in what waves, and what ends that early."""
    try:
        return msgspec.json.decode(journal.meta("schedule") or b"{}", type=Schedule)
    except msgspec.DecodeError as error:
        raise journal.damaged("its schedule") from error


def timezone(journal: Journal) -> str:
    """The time zone of the window of a journal, or of what it puts back; "": it has none."""
    window = schedule(journal).window
    return window.timezone if window else journal.meta("zone")


def foreign_tenants_file(journal: Journal) -> str:
    """The tenants file that a journal names, if it lies outside of the journal's folder; else "".

    It may name commands to run: a person has to choose it, not whoever handed over the journal.
    """
    named = journal.meta("tenants_file")
    folder = Path(os.path.realpath(journal.path)).parent
    own = not named or Path(os.path.realpath(named)).is_relative_to(folder)
    return "" if own else named


def typed(words: Sequence[str], tenants: str = "") -> str:
    """A command of these words, with the tenants file that it does not take by itself, if any."""
    return shlex.join(["bulkhooks", *words, *(["--tenants", tenants] if tenants else [])])


def limits(journal: Journal) -> Limits:
    """The limits that a journal's job gave."""
    try:
        return Limits(**orjson.loads(journal.meta("limits")))
    except (ValueError, TypeError) as error:
        raise journal.damaged("its limits") from error


def consistent(journal: Journal, found: Mapping[Contradiction, list[str]]) -> None:
    """Raises BadInput when edits of a job want different things of one tenant."""
    if not found:
        return
    names = journal.edit_names({row for each in found for row in (each.first, each.second)})
    file = journal.meta("file") or journal.meta("job")
    complaints = []
    for each in sorted(found)[:_SHOWN]:
        (first, line), (second, other) = names[each.first], names[each.second]
        both = f"edits {first} and {second} (line {other}) contradict each other"
        if first == second:
            both = f"edit {first} contradicts itself"
        what = f"{both} on {each.what}; tenants: {listed(found[each])}"
        complaints.append(Complaint(file=file, line=line, key="", what=what))
    if len(found) > _SHOWN:
        what = f"{len(found) - _SHOWN} more contradictions; correct these first"
        complaints.append(Complaint(file=file, line=None, key="", what=what))
    raise BadInput(complaints)


def matched(journal: Journal) -> None:
    """Raises BadInput when a selector matched nothing on any tenant that could be read."""
    file = journal.meta("file") or journal.meta("job")
    missed = [
        Complaint(
            file=file,
            line=line,
            key=of,
            what=f"edit {name} matches no {of.removesuffix('s')} on any tenant; correct it, or add "
            "allow_empty: true",
        )
        for line, name, of in journal.unmatched()
    ]
    if missed:
        raise BadInput(missed)


def differences(old: Journal, new: Journal) -> list[str]:
    """What differs between the jobs of two journals, a short sentence each."""
    found: list[str] = []
    if old.meta("sandbox") != new.meta("sandbox"):
        found.append("one of them is for the sandbox")
    if old.meta("narrowing") != new.meta("narrowing"):
        found.append("--only or --skip narrow it in another way")
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


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to apply what is pending, about."""

    requests: int
    seconds: float
    ends: float  #: seconds until it is done, with the waves ahead of it and their soaks


def expected(
    journal: Journal, tenants: Mapping[str, Tenant], *, times: int = 1
) -> dict[str, Effort]:
    """About what applying what is pending, so many `times`, takes on each tenant that has work.

    The time is from what each tenant's answers showed of its bucket, where they did.
    """
    work, job = tally.work(journal), limits(journal)
    efforts = {}
    for row in journal.tenants():
        if row.id in work and row.name in tenants:
            mine = work[row.id]
            requests = times * (mine.lists + mine.requests)
            seconds = _lane_seconds(requests, row.pace or {}, tenants[row.name].allowed(job))
            if mine.deployments:  # all are waited for at once, to be built and to be deployed
                seconds += times * 2 * LOOK_EVERY
            efforts[row.name] = Effort(requests=requests, seconds=seconds, ends=seconds)
    return _in_waves(journal, efforts, times)


def _in_waves(journal: Journal, efforts: dict[str, Effort], times: int) -> dict[str, Effort]:
    """The same, each behind the waves ahead of it, which go one way only."""
    begins, when, over, begun = 0.0, schedule(journal), waves.done(journal), waves.begun(journal)
    for n, names in enumerate(waves.waves_of(journal)):
        mine = [name for name in names if name in efforts]
        if n in over or not (mine or n in begun):
            continue
        for name in mine:
            one = efforts[name]
            efforts[name] = msgspec.structs.replace(one, ends=begins + one.seconds)
        slowest = max((efforts[name].seconds for name in mine), default=0.0)
        begins += slowest / times + waves.said(when, n).soak
    return efforts


def together(efforts: Iterable[Effort]) -> Effort:
    """What they take side by side, and until when with all waves."""
    efforts = list(efforts)
    requests = sum(effort.requests for effort in efforts)
    slowest = max((effort.seconds for effort in efforts), default=0.0)
    last = max((effort.ends for effort in efforts), default=0.0)
    least = requests / _RATE
    return Effort(requests=requests, seconds=max(slowest, least), ends=max(last, least))


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The window that a journal's work is to be done in, and for which tenants it is too short."""

    span: Span  #: the one that is open, or else the next
    seconds: float  #: that are left of it, or all of it
    freeze: bool  #: it is to hold the way back too
    enough: int  #: tenants for which it is long enough
    needs: dict[str, float]  #: seconds that the others need, those that lack most first


def room(journal: Journal, tenants: Mapping[str, Tenant], now: float) -> Room | None:
    """Whether the window at `now` (Unix seconds), or the next one, is long enough for what is
    pending, by what `expected` says. None: the journal has no window, or that is over."""
    when = schedule(journal)
    span = windows.coming(when.window, now) if when.window else None
    if span is None:
        return None
    left = span.end - max(now, span.start)
    efforts = expected(journal, tenants, times=2 if when.freeze else 1)
    short = {name: one.ends for name, one in efforts.items() if one.ends > left}
    return Room(
        span=span,
        seconds=left,
        freeze=when.freeze,
        enough=len(efforts) - len(short),
        needs=dict(sorted(short.items(), key=lambda pair: -pair[1])),
    )


def _lane_seconds(requests: int, pace: dict[str, Any], allowed: Limits) -> float:
    ceiling = allowed.max_rate or math.inf
    limit, remaining = pace.get("limit"), pace.get("remaining")
    if not limit or remaining is None:
        return requests / min(ceiling, 40.0)  # nothing is known but that it answers
    # Auth0's documented buckets: 2 and 10 are refilled with 2 a second, 50 with 16.
    refill: float = pace.get("refill") or (2.0 if limit <= 10 else limit / 3)
    waiting: float = (
        max(0, requests - max(0, remaining - reserved(limit, allowed.reserve))) / refill
    )
    return max(waiting, requests / min(ceiling, 40.0))


def _staged(edit: Edit, *, must_match: bool) -> StagedEdit:
    return StagedEdit(
        name=edit.id or edit.digest[:12],
        given=edit.id is not None,
        line=edit.line,
        must_match=must_match and not (edit.one or edit.allow_empty),
        body=body_of(edit),
        tenants=edit.tenants,
    )


def _file(job: Job) -> str:
    return str(job.path) if job.path else job.name
