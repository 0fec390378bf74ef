"""What all lanes of a journal heed before they begin anything, and where it is told what goes on.

A lane asks before each item and before each write; how items end is heard here, and may halt it
all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio

from .errors import Stopped
from .gates import Stop
from .items import Outcome, State
from .schedule import Span

#: Seconds after which the wall clock is looked at again, for clocks are set.
SLICE: Final = 30.0

#: Ends of items that are told with their causes.
_NOT_WELL: Final = (State.FAILED, State.SKIPPED, State.UNCERTAIN)

#: The wall clock, in Unix seconds.
Wall = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What a night is at, for whoever looks on."""

    doing: str = ""  #: "" while lanes are at work; else what is waited for
    until: float | None = None  #: until when, in Unix seconds; None: that is not known
    span: Span | None = None  #: the window's
    wave: int = 0  #: from 1; 0: there are none
    waves: int = 0
    tenants: int = 0  #: of the wave
    frozen: bool = False  #: what the job has changed is to be put back
    putting_back: bool = False


class Permit:
    """Whether work may go on now: inside its window, not paused, not halted."""

    def __init__(self, wall: Wall) -> None:
        self._wall = wall
        self.closes_at = math.inf  #: the end of the window, in Unix seconds
        self.late = False  #: something was not begun, for it would not be done by then
        self.phase = Phase()
        self.halted = ""  #: why, once something has halted it all
        self.causes: Counter[tuple[State, str]] = Counter()  #: of what did not end well
        self.books: dict[str, dict[State, int]] = {}  #: items by state, by tenant
        #: Is told how each item ends, and that a tenant is given up (None); answers why that is
        #: to halt it all, or "".
        self.judge: Callable[[str, State | None], str] = lambda tenant, state: ""
        #: Is called when it all is halted.
        self.stop: Callable[[], None] = lambda: None
        self._go = anyio.Event()
        self._go.set()

    @property
    def paused(self) -> bool:
        """Whether a person has said so."""
        return not self._go.is_set()

    def pause(self) -> None:
        """Begin no item from here on; what is begun ends."""
        if not self.paused:
            self._go = anyio.Event()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    async def gone_on(self, stop: Stop) -> None:
        """Wait while paused, until the window's end at most. Raises Stopped."""
        while self.paused and (left := self.closes_at - self._wall()) > 0:
            with stop.ends(), anyio.move_on_after(min(left, SLICE)):
                await self._go.wait()

    def has_room(self, seconds: float) -> bool:
        """Whether what takes about so long is done by the window's end. Where something is not,
        that is kept: its turn is in the next one."""
        room = self._wall() + seconds <= self.closes_at
        self.late = self.late or not room
        return room

    def send(self) -> None:
        """Raises Stopped when the window is over: no write goes out any more."""
        if self._wall() >= self.closes_at:
            self.late = True
            raise Stopped("the window is over; the next one goes on")

    def ended(self, tenant: str, outcome: Outcome) -> None:
        """Hear how an item ended."""
        if books := self.books.get(tenant):
            books[State.PENDING] -= 1
            books[outcome.state] += 1
        if outcome.state in _NOT_WELL:
            self.causes[outcome.state, outcome.cause] += 1
        if why := self.judge(tenant, outcome.state):
            self.halt(why)

    def given_up(self, tenant: str) -> None:
        """Hear that a tenant was given up."""
        if why := self.judge(tenant, None):
            self.halt(why)

    def halt(self, why: str) -> None:
        """Begin nothing more; what is in flight ends."""
        if not self.halted:
            self.halted = why
            self.stop()
