"""An event loop whose clock leaps to the next timer as soon as nobody is ready."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable


class _Leap(selectors.DefaultSelector):
    """Counts the seconds that were asked for instead of sleeping them."""

    now = 1_000.0
    #: Whether a thread is at work, whose end is to be waited for in true time.
    threads: Callable[[], bool] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # A round of the loop takes a little time: else a wait that is too short to change a float
        # (aiolimiter's rounding makes such) would be begun anew for ever.
        self.now += 1e-7
        if timeout is None or (timeout > 0 and self.threads and self.threads()):
            return super().select()
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time passes in sleeps alone: an hour of them takes milliseconds, and every run is the same.

    Not for code with sockets: while those are busy, pending timers fire too early. So they do with
    threads, unless `mind` was told how to see that one is at work.
    """

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def mind(self, threads: Callable[[], bool]) -> None:
        """Let no time pass while `threads` says that one is at work."""
        self._leap.threads = threads

    def time(self) -> float:
        """Virtual seconds; work between two sleeps takes next to none."""
        return self._leap.now
