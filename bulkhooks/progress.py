"""What a run looks like while it goes on: live lines on a terminal, plain ones elsewhere."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, TextIO

import anyio

from .guards import listed
from .lane import LaneView
from .lanes import Lanes

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between two looks, on a terminal and elsewhere.
_LIVE, _PLAIN = 0.25, 5.0
#: Lines that a terminal shows of lanes; the rest are summed.
_LINES = 15


class Screen:
    """Where progress is shown: nothing while no lane is at work, for a question may stand there.

    On a terminal its lines stay `in_place`, unless others are to be read between them.
    """

    def __init__(self, stream: TextIO, *, in_place: bool = True) -> None:
        self._stream, self._in_place = stream, in_place and stream.isatty()
        self._idle = anyio.Event()
        self._idle.set()

    async def watch(self, lanes: Lanes) -> None:
        """Show what the lanes are at, until cancelled."""
        while not self._in_place:
            await anyio.sleep(_PLAIN)
            views = lanes.views()
            if any(view.doing for view in views):
                self._stream.write("".join(f"{line}\n" for line in _lines(views, _LINES)))
                self._stream.flush()
        from rich.console import Console

        console = Console(file=self._stream, highlight=False)
        while True:
            await anyio.sleep(_LIVE)
            await self._show(lanes, console)

    async def quiet(self) -> None:
        """Return when nothing is shown in place any more."""
        await self._idle.wait()

    async def _show(self, lanes: Lanes, console: Console) -> None:
        """Lines in one place of the screen, gone when no lane is at work."""
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        views = lanes.views()
        if not any(view.doing for view in views):
            return
        self._idle = anyio.Event()
        with Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            while any(view.doing for view in views):
                lines = [
                    Text(line, no_wrap=True, overflow="ellipsis")
                    for line in _lines(views, _room(console))
                ]
                live.update(Group(*lines), refresh=True)
                await anyio.sleep(_LIVE)
                views = lanes.views()
        self._idle.set()


async def count(stream: TextIO, left: Collection[str]) -> None:
    """Tell every few seconds which tenants are not done yet, until cancelled."""
    whole = len(left)
    while True:
        await anyio.sleep(_PLAIN)
        done = f"{whole - len(left)} of {whole} tenants done"
        stream.write(f"{done}; waiting for {listed(list(left))}\n")
        stream.flush()


def _room(console: Console) -> int:
    return max(3, min(_LINES, console.height - 4))


def _lines(views: list[LaneView], room: int) -> list[str]:
    active = [view for view in views if view.doing]
    done, planned = sum(view.done for view in views), sum(view.planned for view in views)
    lines = [_line(view) for view in active[:room]]
    if len(active) > room:
        lines.append(f"and {len(active) - room} more tenants at work")
    what = f"{done} of {planned} items done" if planned else "reading"
    lines.append(f"{what}; {len(active)} of {len(views)} tenants at work")
    return lines


def _line(view: LaneView) -> str:
    parts = [f"{view.tenant}: {view.doing}"]
    if view.planned:
        parts.append(f"{view.done}/{view.planned}")
    if view.waiting:
        parts.append(_waiting(*view.waiting))
    pace = view.pace
    if pace.limit is not None:
        parts.append(f"{pace.remaining} of {pace.limit} requests left")
    if pace.throttled:
        parts.append(f"{pace.throttled} answered 429")
    return ", ".join(parts)


def _waiting(reason: str, seconds: float) -> str:
    if reason.startswith("for "):  # what the service does by itself may come sooner
        return f"waiting {reason}, {seconds:.0f} s at most"
    span = "" if math.isinf(seconds) else f" {seconds:.0f} s"
    return f"waiting{span}: {reason}"
