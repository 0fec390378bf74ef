"""How a journal is carried out when it has a schedule: in its windows, wave by wave.

Phases are told by the lanes' permit; what happened is kept in the journal's events.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from .journal import Journal
from .lanes import Lanes
from .permit import Wall
from .schedule import Schedule

#: Is asked a question for a person; None: nobody is there.
Ask: TypeAlias = Callable[[str], Awaitable[bool | None]]


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


async def carry_out(
    journal: Journal, lanes: Lanes, schedule: Schedule, ways: Ways, *, read_first: bool
) -> None:
    """Carry out what is pending in a journal, as its schedule says."""
    journal.post(journal.event("apply", ways.wall()))
    await lanes.apply(read_first=read_first)
