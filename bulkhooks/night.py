"""How a journal is carried out when it has a schedule: in its windows, wave by wave.

Phases are told by the lanes' permit; what happened is kept in the journal's events, by which a wave
that was done is not begun again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import msgspec

from . import windows
from .errors import Stopped
from .halting import Counted, Halting
from .items import State
from .journal import Journal
from .lanes import Lanes
from .permit import SLICE, Phase, Wall
from .probes import READ_BACK, Answer, Verdict, probe
from .report import clean, many
from .schedule import Schedule, Wave
from .waves import begun, done, said, waves_of

#: Is asked a question for a person; None: nobody is there.
Ask: TypeAlias = Callable[[str], Awaitable[bool | None]]

#: Tenants that a read-back tells of.
_SHOWN: Final = 5


async def nobody(question: str) -> bool | None:
    """Nobody is there to be asked."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How a night meets whoever called it."""

    wait: bool = True  #: for the window to open, a soak, the end of a freeze
    go_on: bool = False  #: a person has looked at what halted it
    ask: Ask = nobody  #: whether to go on after a wave of which a probe cannot tell
    wall: Wall = time.time


#: Waiting for all of it, on the wall's clock.
AS_CALLED: Final = Ways()


async def until(lanes: Lanes, ways: Ways, phase: Phase) -> None:
    """Wait until the time that `phase` says, on the wall's clock. Raises Stopped."""
    before, lanes.permit.phase = lanes.permit.phase, phase
    while (left := (phase.until or 0.0) - ways.wall()) > 0:
        with lanes.unless_stopped():
            await anyio.sleep(min(left, SLICE))
    lanes.permit.phase = before


async def opened(journal: Journal, lanes: Lanes, schedule: Schedule, ways: Ways) -> bool:
    """Wait until the window of a schedule is open; whether it is, which it is not where a stop was
    asked for, nobody is to wait, or it does not come again."""
    if schedule.window is None or journal.meta("sandbox"):
        return True
    span = windows.coming(schedule.window, ways.wall())
    if span is None or (span.start > ways.wall() and not ways.wait):
        return False
    try:
        await until(lanes, ways, Phase(doing="waits for the window", until=span.start, span=span))
    except Stopped:
        return False
    return True


async def carry_out(
    journal: Journal,
    lanes: Lanes,
    schedule: Schedule,
    ways: Ways,
    *,
    folder: Path,
    read_first: bool,
    back_by: float = math.inf,
) -> None:
    """Carry out what is pending in a journal as its schedule says, until its window closes, a wave
    or a rule halts it, or a stop is asked for; `folder` is where probes may lie. What is to be put
    back by `back_by` (Unix seconds) is written, wave by wave, in the first half of the time that is
    left until then: putting back takes as long.

    A window that is not open is not waited for (`opened` does that). No item is begun in it that
    would not be done by its end; a step that is not sent by then stays pending. What is half done
    then, one thing off and another not on yet, ends or goes back all the same, as it does at a
    stop: that is no state to leave a tenant in.
    """
    night = _Night(journal, lanes, schedule, ways, folder, back_by)
    if ways.go_on and journal.meta("halted"):
        await journal.commit(*journal.noted(halted="", counted=""))
    span = windows.current(schedule.window, ways.wall()) if schedule.window else None
    if schedule.window and span is None and not journal.meta("sandbox"):
        return
    night.tell("apply")
    if span is not None:
        # Of a freeze's window only the first part is for this; what is told is all of it.
        night.span, night.end = night.span or span, span.end
        lanes.permit.closes_at = night.end
        night.tell("window", start=night.span.start, end=night.span.end)
    try:
        await night.pass_on(read_first)
    except Stopped:
        pass
    finally:
        if lanes.permit.halted:
            night.tell("halt", why=lanes.permit.halted)
        if lanes.permit.late:
            night.tell("closed")
        night.tell("end")
        lanes.permit.phase = night.before
        await journal.commit()


class _Night:
    """One call's way through the waves of a journal."""

    def __init__(
        self,
        journal: Journal,
        lanes: Lanes,
        schedule: Schedule,
        ways: Ways,
        folder: Path,
        back_by: float,
    ) -> None:
        self._journal, self._lanes, self._schedule = journal, lanes, schedule
        self._ways, self._folder, self._back_by = ways, folder, back_by
        self._waves = waves_of(journal)
        self.before = lanes.permit.phase  #: what all of it is part of: a put-back, say
        self.span = self.before.span
        self.end = math.inf  #: when no write goes out any more, in Unix seconds

    def tell(self, kind: str, **what: object) -> None:
        """Keep what happens."""
        self._journal.post(self._journal.event(kind, self._ways.wall(), **what))

    async def pass_on(self, read_first: bool) -> None:
        """Carry out wave after wave, as long as each goes well; without waves, all at once. Raises
        Stopped."""
        if not self._waves:
            self._lanes.permit.phase = self._phase()
            await self._apply(None, read_first)
            return
        over, on_the_way = done(self._journal), begun(self._journal)
        for place, names in enumerate(self._waves):
            if place in over or not (place in on_the_way or self._pending(names)):
                continue
            n = place + 1
            self._lanes.permit.phase = self._phase(n, len(names))
            self.tell("wave", n=n, tenants=list(names))
            if place not in on_the_way:
                self._journal.post(*self._journal.noted(counted=""))
            await self._journal.commit()
            if not await self._wave(n, names, read_first):
                return

    async def _wave(self, n: int, names: Collection[str], read_first: bool) -> bool:
        """Whether the next wave may begin."""
        permit, wave = self._lanes.permit, said(self._schedule, n - 1)
        wrote = self._pending(names)
        await self._apply(names, read_first)
        if permit.halted or self._lanes.stopped or permit.late:
            return False
        # A put-back waits for no soak, no probe and no person.
        left = self.end - self._ways.wall() if self._schedule.freeze else math.inf
        with anyio.move_on_after(left):
            return await self._went_well(n, wave, names, wrote=wrote)
        return False

    async def _went_well(self, n: int, wave: Wave, names: Collection[str], *, wrote: bool) -> bool:
        """Leave a wave that is written alone, then ask its probe; whether the next may begin."""
        permit = self._lanes.permit
        if wave.soak and not await self._soaked(n, wave.soak, wrote=wrote):
            return False
        verdict = await self._probed(n, wave, names)
        if verdict.answer is not Answer.GOOD:
            asks = verdict.answer is Answer.ASK
            why = "a person is asked whether it went well" if asks else "it went badly"
            told = "; ".join(verdict.told.splitlines()) or wave.probe
            permit.halt(clean(f"wave {n}: {why}: {told}"))
        # In one piece: whoever finds that the wave is done finds that it halted it all.
        self.tell("wave-done", n=n, verdict=verdict.answer.value, told=verdict.told)
        return not permit.halted

    async def _apply(self, names: Collection[str] | None, read_first: bool) -> None:
        """Carry out what is pending on some tenants, under the rules that halt it."""
        if max(self.end, self._back_by) < math.inf:
            half = (self._ways.wall() + self._back_by) / 2
            self._lanes.permit.closes_at = min(self.end, half)
        if self._schedule.halt:
            counts = self._journal.to_write()
            items = sum(counts[name] for name in (counts if names is None else names))
            self._lanes.permit.judge = self._counting(items)
        await self._lanes.apply(read_first=read_first, only=names)
        await self._journal.commit()  # whoever looks back must see all of it

    def _counting(self, items: int) -> Callable[[str, State | None], str]:
        """What hears how items end, under the rules that halt it: it goes on from what an earlier
        call counted, and keeps each count in one piece with the item that made it."""
        journal = self._journal
        try:
            counted = msgspec.json.decode(journal.meta("counted") or b"{}", type=Counted)
        except msgspec.DecodeError as error:
            raise journal.damaged("what was counted of failures") from error
        halting = Halting(self._schedule.halt, items, counted)

        def judge(tenant: str, state: State | None) -> str:
            was = halting.counted
            why = halting.judge(tenant, state)
            if halting.counted != was:
                kept = msgspec.json.encode(halting.counted).decode()
                journal.post(*journal.noted(counted=kept))
            return why

        return judge

    async def _soaked(self, n: int, seconds: float, *, wrote: bool) -> bool:
        """Whether a wave was left alone for so long, which it is not where nobody is to wait. A
        rehearsal does not wait either, and goes on. Raises Stopped."""
        if self._journal.meta("sandbox"):
            return True
        if not self._ways.wait:
            return self._left_alone(n, seconds, wrote=wrote)
        self.tell("soak", n=n, seconds=seconds)
        at = self._ways.wall() + seconds
        if self._schedule.freeze:  # however the clock is set meanwhile
            at = min(at, self.end)
        phase = replace(self._lanes.permit.phase, doing="soaks", until=at)
        await until(self._lanes, self._ways, phase)
        return not self._schedule.freeze or self._ways.wall() < self.end

    def _left_alone(self, n: int, seconds: float, *, wrote: bool) -> bool:
        """Whether the soak that an earlier call began is over by now, so that calls which do not
        wait get on too; where there is none since something was written, it begins."""
        at = None
        for event in self._journal.events():
            if event.kind == "waves":  # others than those of now
                at = None
            elif event.kind == "soak" and event.what["n"] == n:
                at = event.at
        if wrote or at is None:
            self.tell("soak", n=n, seconds=seconds)
            return False
        return self._ways.wall() >= at + seconds

    async def _probed(self, n: int, wave: Wave, names: Collection[str]) -> Verdict:
        """What the probe of a wave says; good where there is none. Raises Stopped."""
        if not wave.probe:
            return Verdict(Answer.GOOD, "")
        self._lanes.permit.phase = self._phase(n, len(names), doing="probes")
        verdict = await (self._read_back(names) if wave.probe == READ_BACK else self._run(n, wave))
        self.tell("probe", n=n, command=wave.probe, verdict=verdict.answer.value, told=verdict.told)
        if verdict.answer is Answer.ASK:
            question = f"Wave {n} is done; {wave.probe} asks: {verdict.told}\nDid it go well?"
            with self._lanes.unless_stopped():
                said_so = await self._ways.ask(question)
            if said_so is not None:
                answer = Answer.GOOD if said_so else Answer.BAD
                return Verdict(answer, verdict.told if said_so else "a person said so")
        return verdict

    async def _run(self, n: int, wave: Wave) -> Verdict:
        tenants = self._lanes.tenants
        return await probe(
            wave.probe,
            [tenants[name] for name in self._waves[n - 1] if name in tenants],
            journal=self._journal,
            wave=n,
            of=len(self._waves),
            folder=self._folder,
            stop=self._lanes.asked_to_stop,
        )

    async def _read_back(self, names: Collection[str]) -> Verdict:
        unlike = await self._lanes.read_back(names)
        if not unlike:
            return Verdict(Answer.GOOD, "")
        count = sum(map(len, unlike.values()))
        told = [f"{name}: {each}" for name, found in sorted(unlike.items()) for each in found]
        more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
        what = f"{many(count, 'thing')} not as written any more"
        return Verdict(Answer.BAD, clean(f"{what}: {'; '.join(told[:_SHOWN])}{more}"))

    def _pending(self, names: Collection[str]) -> bool:
        """Whether one of these tenants has anything to be done."""
        counts = self._journal.counts()
        rows = (row for row in self._journal.tenants() if row.name in names)
        return any(counts[row.id][State.PENDING] for row in rows)

    def _phase(
        self, n: int = 0, tenants: int = 0, *, doing: str = "", until: float | None = None
    ) -> Phase:
        return replace(
            self.before,
            doing=doing,
            until=until,
            span=self.span,
            wave=n,
            waves=len(self._waves),
            tenants=tenants,
            frozen=self.before.frozen or self._schedule.freeze,
        )
