"""Where requests wait for their turn to be sent, and what ends a wait: a stop, or a deadline.

Every request passes here, so each costs next to nothing where there is nothing to wait for.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

import anyio

from .errors import Stopped

_Who = TypeVar("_Who")
_What = TypeVar("_What")

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


class Switch:
    """Has what switches one thing off and another on, item by item, go before all else of its lane:
    every other request between the two writes would make that moment longer."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._over = asyncio.Event()
        self._over.set()
        self._holder: object = None

    @property
    def held(self) -> bool:
        """Whether others have to wait."""
        return not self._over.is_set()

    async def enter(self, item: object) -> None:
        """Wait for the turn of `item`, to be given back by `leave`."""
        await self._turn.acquire()
        self._holder = item
        self._over.clear()

    def leave(self) -> None:
        """Let the others go on."""
        self._holder = None
        self._over.set()
        self._turn.release()

    async def over(self) -> None:
        """Wait until nobody is in between."""
        await self._over.wait()

    def rest(self, item: object) -> None:
        """Where `item` has come in between and waits for long itself, the others go on."""
        if self._holder == item:
            self._over.set()


class Gate:
    """Places for requests in flight: first come, first served."""

    def __init__(self, places: int) -> None:
        self._free = self.places = places
        self._closed = 0  # of these as many are given up as come free
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

    def narrow(self, places: int) -> None:
        """Give up half of `places` for good, all but one at most: there is no room for more.

        Where it has fewer by now, nothing: those that were let in together find it out together.
        """
        if self.places < places:
            return
        lost = self.places // 2
        self.places -= lost
        self._closed += lost
        while self._closed and self._free:
            self._closed, self._free = self._closed - 1, self._free - 1

    def leave(self) -> None:
        """Give the place to whoever has waited longest."""
        if self._closed:
            self._closed -= 1
            return
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class Together(Generic[_Who, _What]):
    """Those who begin something at about one time, and what becomes of whoever is there still when
    it has taken `seconds`, or up to a thirtieth less.

    They share a timer: one for each request cost a tenth of its CPU.
    """

    def __init__(self, seconds: float, late: Callable[[dict[_Who, _What]], None]) -> None:
        self.seconds, self._late = seconds, late
        self._loop = asyncio.get_running_loop()
        self._group: dict[_Who, _What] = {}
        self._ends = -math.inf

    def now(self) -> dict[_Who, _What]:
        """For whoever begins now, to be put into, and to be taken out of by the end."""
        now = self._loop.time()
        if now >= self._ends:
            self._group, self._ends = {}, now + self.seconds / 30
            self._loop.call_at(now + self.seconds, self._late, self._group)
        return self._group


class Deadlines:
    """Ends tasks that take longer than `seconds` for something, or up to a thirtieth less.

    Whoever cancels a task from outside goes before its deadline, as with asyncio.timeout.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: Tasks with how often each had been cancelled when it began.
        self._begun = Together[asyncio.Task[Any], int](seconds, self._cancel)
        self._late: dict[asyncio.Task[Any], int] = {}

    def begin(self, task: asyncio.Task[Any]) -> dict[asyncio.Task[Any], int]:
        """Put a task under a deadline; it is to `end` with what this answers."""
        group = self._begun.now()
        group[task] = task.cancelling()
        return group

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


class Breaker:
    """Sets a tenant aside where one write after another breaks, or what reads it back; so many
    seconds later one more is tried. Until that has gone well the others wait.
    """

    #: Writes, and looks at what they did, that break in a row.
    BREAKS = 5

    def __init__(self, aside: float) -> None:
        self._aside, self._broken = aside, 0
        self._why = ""
        self._again_at: float | None = None  #: on the loop's clock; None: it is not aside
        self._trial: asyncio.Event | None = None  #: is there while one is tried

    @property
    def waiting(self) -> tuple[str, float] | None:
        """Why it is aside, and until when on the loop's clock."""
        if self._again_at is None or self._trial:
            return None
        return f"set aside, its requests break: {self._why}", self._again_at

    @property
    def open(self) -> bool:
        """Whether a write has to wait until it is `closed`."""
        return self._again_at is not None

    async def closed(self, stop: Stop) -> bool:
        """Wait until a write may go; whether it is the one more. Raises Stopped."""
        while self._again_at is not None:
            wait = self._again_at - asyncio.get_running_loop().time()
            if self._trial is not None:
                with stop.ends():
                    await self._trial.wait()
            elif wait > 0:
                await stop.sleep(wait)
            else:
                self._trial = asyncio.Event()
                return True
        return False

    def held(self) -> None:
        """A write went well, or was refused by a server that works."""
        self._broken, self._again_at = 0, None
        self.unsent()

    def broke(self, why: str, *, trial: bool) -> bool:
        """A write broke, or what reads it back; whether that was the one more, and the tenant is to
        be given up. It is not where another that had been sent before went well meanwhile.
        """
        self._broken, self._why = self._broken + 1, why
        if trial and self._again_at is not None:
            return True
        if self._broken == self.BREAKS:
            self._again_at = asyncio.get_running_loop().time() + self._aside
        return False

    def unsent(self) -> None:
        """The one more has ended; who waits looks again."""
        if self._trial is not None:
            self._trial.set()
            self._trial = None
