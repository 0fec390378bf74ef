"""Which tenants are in which wave, so that what is bad shows on few of them.

The journal keeps it: whatever becomes of the tenants file, a wave is what the plan said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

import msgspec
import orjson

from . import tally
from .items import State
from .journal import Journal
from .schedule import Schedule, Wave, part
from .tenants import Tenant

#: The names of each wave's tenants.
Waves: TypeAlias = tuple[tuple[str, ...], ...]

_LAST: Final = Wave()


def assign(journal: Journal, tenants: Mapping[str, Tenant], schedule: Schedule) -> Waves:
    """Which tenants go in which of a schedule's waves, in their order; none where it has none.

    Only tenants that have something pending go in a wave, each in one: a share of a job is of
    these. A wave may be empty, so that each has the place of its own in the schedule; what is in
    none of them goes in one more behind them. Of what was `waves_of` the journal before, tenants
    stay where they are; only those that have something pending again, or now at last, and are in no
    wave or in one that is done, go in those that are not done.

    The first wave has each different thing that is to be there on at least one tenant, on as few as
    can be found quickly, and then tenants in the job's order up to its size. What counts is what
    comes, scripts that begin to run included, and not what is there before: 300 tenants that get
    one script are told apart by what they have now, but what is bad about that script shows on
    any one of them. Raises JournalError.
    """
    if not schedule.waves:
        return ()
    journal.verify([State.PENDING], steps=True)
    was, over = waves_of(journal), done(journal)
    stays = {name for n, wave in enumerate(was) if n not in over for name in wave}
    work = tally.wanted(journal)
    late = {name: changes for name, changes in work.items() if name not in stays}
    tags = {name: tenants[name].tags for name in late}
    return spread(schedule.waves, late, tags, was=was, over=over)


def waves_of(journal: Journal) -> Waves:
    """What was assigned when the journal was planned; none where there are no waves, or it is not
    planned yet. The first is the first of its schedule's waves, and so on; one more is of tenants
    in none of these. Raises JournalError."""
    try:
        return msgspec.json.decode(journal.meta("waves") or b"[]", type=Waves)
    except msgspec.DecodeError as error:
        raise journal.damaged("its waves") from error


def done(journal: Journal) -> set[int]:
    """The waves that are done, from 0: those that were since the job last got other waves. Raises
    JournalError."""
    return _told(journal, "wave-done")


def begun(journal: Journal) -> set[int]:
    """The same of those that were begun."""
    return _told(journal, "wave")


def _told(journal: Journal, kind: str) -> set[int]:
    found: set[int] = set()
    for event in journal.events():
        if event.kind == "waves":
            found = set()
        elif event.kind == kind:
            found.add(int(event.what["n"]) - 1)
    return found


def kept(waves: Waves) -> str:
    """Waves as the journal's meta `waves` has them."""
    return orjson.dumps(waves).decode()


def under_way(journal: Journal) -> set[int]:
    """The waves, from 0, that were begun and are not done: some of it is to be written yet, or
    its soak and its probe are to come."""
    waves = waves_of(journal)
    if not waves:
        return set()
    return {n for n in begun(journal) - done(journal) if n < len(waves)}


def said(schedule: Schedule, n: int) -> Wave:
    """What a schedule says of wave `n`, from 0: one behind its own has no soak and no probe."""
    return schedule.waves[n] if n < len(schedule.waves) else _LAST


def spread(
    wanted: Sequence[Wave],
    late: Mapping[str, Set[int]],
    tags: Mapping[str, Collection[str]],
    *,
    was: Waves = (),
    over: Collection[int] = (),
) -> Waves:
    """Put tenants in waves as `assign` does: `late` are those to be put, in the job's order, with
    the things that are to be there; `was` are waves that have tenants already, `over` those of
    them, from 0, that get no more."""
    found = [[name for name in wave if name not in late] for wave in was]
    found += [[] for _ in range(len(wanted) - len(found))]
    left = dict(late)
    total = sum(map(len, found)) + len(left)
    ahead, first = 0, True
    for n, wave in enumerate(wanted):
        if n not in over:
            new = {name for name in left if not set(wave.tags).isdisjoint(tags[name])}
            if first:
                new |= _cover(left, new)
            room = max(0, _size(wave, total) - ahead - len(found[n]) - len(new))
            new |= set([name for name in left if name not in new][:room])
            found[n] += [name for name in left if name in new]
            left = {name: changes for name, changes in left.items() if name not in new}
            first = False
        ahead += len(found[n])
    if left:
        if len(found) == len(wanted) or len(found) - 1 in over:
            found.append([])
        found[-1] += left
    return tuple(map(tuple, found))


def _size(wave: Wave, total: int) -> int:
    """How many tenants there are with a wave and those ahead of it, as far as it says."""
    if wave.share is not None:
        return part(wave.share, total)
    return wave.count or 0


def _cover(left: Mapping[str, Set[int]], chosen: Iterable[str]) -> set[str]:
    """A few tenants that have each of the things which are to be there and none of the `chosen`
    has: each time the one that has most of those missing, the earliest of equals."""
    missing = set().union(*left.values())
    for name in chosen:
        missing -= left[name]
    found: set[str] = set()
    # What was counted once only shrinks: it is counted again when it comes to the top.
    most = [(-len(changes), place, name) for place, (name, changes) in enumerate(left.items())]
    heapify(most)
    while missing:
        count, place, name = heappop(most)
        new = len(left[name] & missing)
        if new == -count:
            found.add(name)
            missing -= left[name]
        elif new:
            heappush(most, (-new, place, name))
    return found
