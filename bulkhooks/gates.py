"""Where requests wait for their turn to be sent, and what ends a wait: a stop, or a deadline.

Every request passes here, so each costs next to nothing where there is nothing to wait for.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import anyio

from .errors import Stopped

_STOPPED: Final = "stopped before anything more was sent; the same command goes on"


class Stop:
    """A person's wish to stop, and the waits that it ends."""

    def __init__(self) -> None:
        self.asked = False
        self._waits: set[Callable[[], object]] = set()

    def ask(self) -> None:
        """End every wait for something to be sent; what is in flight goes on."""
        self.asked = True
        for end in tuple(self._waits):
            end()

    @contextmanager
    def ends(self) -> Iterator[None]:
        """Raises Stopped out of a block that waits, when a stop is asked for."""
        if self.asked:
            raise Stopped(_STOPPED)
        with anyio.CancelScope() as scope:
            self._waits.add(scope.cancel)
            try:
                yield
            finally:
                self._waits.discard(scope.cancel)
        if scope.cancelled_caught:
            raise Stopped(_STOPPED)

    async def sleep(self, seconds: float) -> None:
        """Wait; raises Stopped when a stop is asked for meanwhile."""
        with self.ends():
            await anyio.sleep(seconds)

    async def over(self, place: asyncio.Future[None]) -> None:
        """Wait until `place` is done; raises Stopped when a stop is asked for before that."""

        def end() -> None:
            if not place.done():
                place.set_exception(Stopped(_STOPPED))

        self._waits.add(end)
        try:
            await place
        finally:
            self._waits.discard(end)


class Gate:
    """Places for requests in flight: first come, first served."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._line: deque[asyncio.Future[None]] = deque()

    async def enter(self, stop: Stop) -> None:
        """Wait for a place, to be given back by `leave`. Raises Stopped when that is asked for."""
        if stop.asked:
            raise Stopped(_STOPPED)
        if self._free:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await stop.over(place)
            if stop.asked:
                raise Stopped(_STOPPED)
        except BaseException:
            if not place.cancelled() and place.done() and place.exception() is None:
                self.leave()  # it came, but too late
            raise

    def leave(self) -> None:
        """Give the place to whoever has waited longest."""
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class Deadlines:
    """Ends tasks that take longer than `seconds` for something, or up to a thirtieth less.

    Those that begin together share a timer: one for each request cost a tenth of its CPU. Whoever
    cancels a task from outside goes before its deadline, as with asyncio.timeout.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: Tasks that began together, with how often each had been cancelled by then.
        self._group: dict[asyncio.Task[Any], int] = {}
        self._group_ends = -math.inf
        self._late: dict[asyncio.Task[Any], int] = {}

    def begin(self, task: asyncio.Task[Any]) -> dict[asyncio.Task[Any], int]:
        """Put a task under a deadline; it is to `end` with what this answers."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._group_ends:
            self._group, self._group_ends = {}, now + self.seconds / 30
            loop.call_at(now + self.seconds, self._cancel, self._group)
        self._group[task] = task.cancelling()
        return self._group

    def end(self, task: asyncio.Task[Any], group: dict[asyncio.Task[Any], int]) -> None:
        """It is over, well or not."""
        del group[task]
        if self._late.pop(task, None) is not None:
            task.uncancel()

    def missed(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task that was cancelled was so for its deadline alone."""
        return task in self._late and task.cancelling() - 1 <= self._late[task]

    def _cancel(self, group: dict[asyncio.Task[Any], int]) -> None:
        self._late |= group
        for task in group:
            task.cancel()
