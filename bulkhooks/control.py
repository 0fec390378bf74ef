"""Steering a job while it runs: over a Unix socket, from another terminal of the same person.

Whoever runs a journal listens (`serving`), whoever steers it `ask`s: one line of JSON, and one line
back. A socket's path may be some hundred bytes long, and a journal may lie anywhere: so sockets lie
in the user's state folder, under names made from their journals' paths.
"""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import socket
import stat
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import anyio
import msgspec
from anyio.abc import SocketAttribute, SocketListener, SocketStream
from platformdirs import user_state_path

from . import windows
from .errors import Refused
from .filing import Tell
from .items import State
from .journal import Journal
from .lane import LaneView
from .lanes import Lanes
from .permit import Phase
from .report import clean, many
from .source import Findings, shown
from .tenants import limits_in

#: Bytes that an order, or the answer to one, may have.
_LONGEST: Final = 64 * 1024
#: Seconds in which an order must have come whole, and the answer gone; whoever asks waits longer.
_PATIENCE, _PATIENCE_OF_ASKER = 5.0, 15.0
#: Who may be served at once: each has an open file.
_AT_ONCE: Final = 8
#: Bytes that the path of a socket may have: 103 on macOS, 107 on Linux.
_LONGEST_PATH: Final = 100
#: Where sockets lie if the state folder is too deep for them; whose it is, is looked at.
_SHALLOW: Final = "/tmp"
#: Tenants in trouble that are named.
_SHOWN: Final = 5

Word: TypeAlias = Literal["status", "pause", "resume", "stop", "set", "skip-tenant"]


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person wants of a running job. `set` takes `limits`, as files write them, on `tenant`
    or on all."""

    do: Word
    limits: dict[str, str | int | float] = {}
    tenant: str = ""


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is at. Times are Unix seconds."""

    doing: str
    until: float | None
    window: tuple[float, float] | None
    wave: int  #: from 1; 0: there are none
    waves: int
    frozen: bool  #: what it has changed is to be put back
    putting_back: bool
    paused: bool
    stopping: bool
    halted: str  #: why, once something has halted it all
    planned: int  #: items of the journal; 0: they are not known yet
    done: int
    in_flight: int  #: requests
    at_work: int  #: tenants
    tenants: int
    trouble: dict[str, str]  #: why tenants were given up
    safe: str  #: whether it is safe to stop now


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order, in words, and what the job is at then."""

    said: str
    refused: bool = False
    now: Now | None = None


def safety(views: Iterable[LaneView], phase: Phase) -> str:
    """Whether it is safe to press Ctrl-C now, and what comes of it."""
    lanes = list(views)
    between = sum(view.switching for view in lanes)
    if between:
        are = "is" if between == 1 else "are"
        what = f"{many(between, 'tenant')} {are} between off and on"
        return f"not yet: {what} (that ends first even if you do)"
    flight = _in_flight(lanes)
    if left := _left_by(phase):
        return f"safe, but {left}" + (f"; {flight}" if flight else "")
    return f"safe: {flight or 'nothing is in flight'}"


def _left_by(phase: Phase) -> str:
    """What stays behind where one stops now."""
    if phase.putting_back:
        return "not all is put back yet: the same command goes on"
    return "nothing is put back by that: the same command does" if phase.frozen else ""


def _in_flight(views: Iterable[LaneView]) -> str:
    flying = sum(view.in_flight for view in views)
    ends = "ends" if flying == 1 else "end"
    return f"{many(flying, 'request')} in flight {ends} first" if flying else ""


def stop(lanes: Lanes) -> str:
    """Stop as Ctrl-C does: the first time nothing new is sent, the second time nothing is waited
    for. Answers what comes of it."""
    if lanes.stopped:
        lanes.abandon()
        return "waiting for nothing: what was in flight is read back by the command that goes on"
    lanes.stop()
    views, left = lanes.views(), _left_by(lanes.permit.phase)
    told = f"stopping: {_in_flight(views) or 'nothing is in flight'}"
    again = "once more to wait for nothing" if any(view.doing for view in views) else ""
    return "; ".join(part for part in (told, left, again) if part)


class Steering:
    """A running job, as it is steered. What it was made to do is told where it runs, too."""

    def __init__(self, lanes: Lanes, journal: Journal, tell: Tell) -> None:
        self._lanes, self._journal, self._tell = lanes, journal, tell

    def obey(self, order: Order) -> Reply:
        """Do as told, if that can be."""
        try:
            said = self._obeyed(order)
        except Refused as error:
            return Reply(said=str(error), refused=True, now=self.now())
        if order.do != "status":
            with suppress(OSError):  # nobody may look on there any more
                self._tell(f"from another terminal: {said}")
        return Reply(said=said, now=self.now())

    def now(self) -> Now:
        """What the job is at."""
        views, permit = self._lanes.views(), self._lanes.permit
        phase = permit.phase
        books = Counter[State]()
        if self._journal.meta("planned"):
            for mine in self._journal.counts().values():
                books.update(mine)
        return Now(
            doing=phase.doing or _doing(views),
            until=phase.until,
            window=phase.span and (phase.span.start, phase.span.end),
            wave=phase.wave,
            waves=phase.waves,
            frozen=phase.frozen,
            putting_back=phase.putting_back,
            paused=permit.paused,
            stopping=self._lanes.stopped,
            halted=permit.halted,
            planned=books.total(),
            done=books.total() - books[State.PENDING],
            in_flight=sum(view.in_flight for view in views),
            at_work=sum(bool(view.doing) for view in views),
            tenants=len(views),
            trouble={view.tenant: view.trouble for view in views if view.trouble},
            safe=safety(views, phase),
        )

    def _obeyed(self, order: Order) -> str:
        if order.do == "status":
            return "\n".join(self._status())
        if order.do == "stop":
            return stop(self._lanes)
        if not self._journal.meta("planned"):
            raise Refused("it is planning, and writes nothing yet: it takes `status` and `stop`")
        if self._lanes.stopped:
            raise Refused("it is stopping; the command that goes on can be steered again")
        match order.do:
            case "pause":
                return self._pause()
            case "resume":
                return self._resume()
            case "set":
                return self._set(order)
            case "skip-tenant":
                return self._skip(order.tenant)

    def _pause(self) -> str:
        if self._lanes.permit.phase.putting_back:
            raise Refused("it is putting back, which is not to be held up; `stop` ends that too")
        self._lanes.pause()
        flight = _in_flight(self._lanes.views()) or "nothing is in flight"
        goes_on = f"`{command(self._journal.path)} resume` goes on"
        return f"paused: what is begun ends ({flight}), no other item is begun; {goes_on}"

    def _resume(self) -> str:
        paused = self._lanes.permit.paused
        self._lanes.resume()
        return "it goes on" if paused else "it was not paused"

    def _set(self, order: Order) -> str:
        found = Findings("set")
        limits = limits_in(found, "", {"limits": order.limits})
        found.close()
        if limits.concurrency is not None:
            raise Refused("concurrency cannot be set while it runs; max_rate and reserve can")
        names = [view.tenant for view in self._lanes.views()]
        names = [self._known(order.tenant)] if order.tenant else names
        self._lanes.allow(limits, only=names)
        on = names[0] if order.tenant else f"all {many(len(names), 'tenant')}"
        what = ", ".join(f"{name} {value}" for name, value in order.limits.items())
        return f"{what} on {on}, until this command ends"

    def _skip(self, name: str) -> str:
        tenant = self._known(name)
        if self._lanes.permit.phase.putting_back:
            raise Refused("it is putting back, which leaves out no tenant; `stop` ends that")
        self._lanes.skip(tenant)
        mine = next(view for view in self._lanes.views() if view.tenant == tenant)
        done = f", {mine.done} of {mine.planned} are done" if mine.planned else ""
        return f"{tenant}: none of its items is begun any more{done}; what is pending stays so"

    def _known(self, name: str) -> str:
        """Raises Refused where no tenant at work is called so."""
        names = [view.tenant for view in self._lanes.views()]
        if name in names:
            return name
        near = get_close_matches(name[:_LONGEST_PATH], names, 3)
        more = f"; did you mean {' or '.join(map(shown, near))}?" if near else ""
        raise Refused(f"no tenant {shown(name)} is at work here{more}")

    def _status(self) -> Iterator[str]:
        now, permit = self.now(), self._lanes.permit
        doing = now.doing + (f" until {self._clock(now.until)}" if now.until is not None else "")
        wave = f"wave {now.wave} of {now.waves}" if now.waves else ""
        window = f"window until {self._clock(now.window[1])}" if now.window else ""
        yield ", ".join(part for part in (doing, wave, window) if part)
        if now.planned:
            at_work = f"{now.at_work} of {many(now.tenants, 'tenant')} at work"
            yield f"{now.done} of {many(now.planned, 'item')} done, {at_work}"
        if now.halted:
            yield clean(f"halted: {now.halted}")
        if now.stopping:
            yield "stopping"
        elif permit.paused:
            yield f"paused; `{command(self._journal.path)} resume` goes on"
        for tenant, why in list(now.trouble.items())[:_SHOWN]:
            yield clean(f"{tenant} was given up: {why}")
        if len(now.trouble) > _SHOWN:
            yield f"and {many(len(now.trouble) - _SHOWN, 'tenant')} more were given up"
        yield f"stop it now? {now.safe}"

    def _clock(self, moment: float) -> str:
        return windows.clock(moment, self._lanes.timezone or "UTC")


def _doing(views: Iterable[LaneView]) -> str:
    at_work = {view.doing for view in views}
    if "reading" in at_work:
        return "planning"
    return "writing" if "writing" in at_work else "at rest"


def command(journal: Path) -> str:
    """What steers whoever works on a journal, as it is typed, but for the order."""
    return f"bulkhooks control {clean(shlex.quote(str(journal)))}"


# ---- whoever runs a journal


@asynccontextmanager
async def serving(lanes: Lanes, journal: Journal, *, tell: Tell) -> AsyncIterator[None]:
    """Be steered until the block ends, under the journal's path, and under that of the journal that
    it takes back: who steers a freeze need not know which half it is at.

    Whoever runs a journal holds its lock: a socket that is there already is a dead process's.
    `tell` hears what others make it do; and where there can be no socket, why, and all goes on.
    """
    steering, listeners = Steering(lanes, journal, tell), list[SocketListener]()
    undoes = journal.meta("undoes")
    async with AsyncExitStack() as stack:
        for path in (journal.path, Path(undoes)) if undoes else (journal.path,):
            try:
                place = _place(path)
                listener = await anyio.create_unix_listener(place, mode=0o600)
            except (OSError, Refused) as error:
                tell(f"{path} cannot be steered while it runs: {error}")
                continue
            stack.push_async_callback(listener.aclose)
            stack.callback(place.unlink, missing_ok=True)
            listeners.append(listener)
        async with anyio.create_task_group() as tasks:
            for listener in listeners:
                tasks.start_soon(_listen, listener, steering)
            yield
            tasks.cancel_scope.cancel()


async def _listen(listener: SocketListener, steering: Steering) -> None:
    places = anyio.Semaphore(_AT_ONCE)

    async def serve(stream: SocketStream) -> None:
        try:
            with anyio.move_on_after(_PATIENCE), suppress(anyio.BrokenResourceError, OSError):
                async with stream:
                    await _answer(stream, steering)
        finally:
            places.release()

    async with anyio.create_task_group() as tasks:
        while True:
            await places.acquire()
            try:
                stream = await listener.accept()
            except OSError:  # no file can be opened just now, say: the job matters more
                places.release()
                await anyio.sleep(_PATIENCE)
                continue
            tasks.start_soon(serve, stream)


async def _answer(stream: SocketStream, steering: Steering) -> None:
    if not _same_person(stream.extra(SocketAttribute.raw_socket)):
        return
    line = await _line(stream)
    try:
        reply = steering.obey(msgspec.json.decode(line, type=Order))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reply = Reply(said=f"not an order: {error}", refused=True)
    await stream.send(msgspec.json.encode(reply) + b"\n")


async def _line(stream: SocketStream) -> bytes:
    """What comes before the end of the line, of the stream, or of what an order may have."""
    line = b""
    with suppress(anyio.EndOfStream):
        while b"\n" not in line and len(line) <= _LONGEST:
            line += await stream.receive()
    return line.partition(b"\n")[0]


def _same_person(line: socket.socket) -> bool:
    """Whether who is on the other end is who we are, as far as the system tells; the modes of
    socket and folder say so too."""
    if sys.platform != "linux":
        return True
    told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", told)[1] == os.geteuid())


def _place(journal: Path) -> Path:
    """Where the socket of a journal is, in a folder that is ours alone. Raises OSError, Refused."""
    name = hashlib.blake2b(os.fsencode(journal.resolve()), digest_size=10).hexdigest()
    folder = user_state_path("bulkhooks") / "control"
    if len(os.fsencode(folder / name)) > _LONGEST_PATH:
        folder = Path(_SHALLOW) / f"bulkhooks-{os.geteuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    whose = folder.lstat()
    if not stat.S_ISDIR(whose.st_mode) or whose.st_uid != os.geteuid():
        raise Refused(f"{folder} is not a folder of your own; remove it")
    if whose.st_mode & 0o077:
        folder.chmod(0o700)
    return folder / name


# ---- whoever steers it


def order_of(word: Word, given: Iterable[str], tenant: str = "") -> Order:
    """An order as it was typed: `set` is followed by `name=value`s, `skip-tenant` by a name.

    Raises Refused when it is none.
    """
    words = list(given)
    if word == "set":
        if not words:
            raise Refused("set: say what, such as max_rate=4/s or reserve=50%")
        return Order(do=word, limits=_limits(words), tenant=tenant)
    if word == "skip-tenant" and not tenant and len(words) == 1:
        return Order(do=word, tenant=words[0])
    if word == "skip-tenant":
        raise Refused("skip-tenant: say the name of one tenant")
    if words or tenant:
        raise Refused(f"{word} takes nothing more")
    return Order(do=word)


def _limits(words: Iterable[str]) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value) or name in found:
            raise Refused(
                f"set {word}: must be like max_rate=4/s or reserve=50%, each of them once"
            )
        found[name] = _number(value)
    return found


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        with suppress(ValueError, OverflowError):
            if math.isfinite(number := kind(text)):
                return number
    return text


def ask(journal: Path, order: Order) -> Reply:
    """Have an order obeyed by whoever runs a journal now. Raises Refused when nobody does, or it
    was refused."""
    line = msgspec.json.encode(order) + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as to:
            to.settimeout(_PATIENCE_OF_ASKER)
            to.connect(str(_place(journal)))
            to.sendall(line)
            reply = msgspec.json.decode(b"".join(iter(partial(to.recv, 65536), b"")), type=Reply)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        words = clean(shlex.quote(str(journal)))
        more = f"; `bulkhooks status {words}` tells how it ended" if journal.exists() else ""
        raise Refused(f"nothing runs on {journal} now{more}") from error
    except (OSError, msgspec.DecodeError) as error:
        why = "it does not answer" if isinstance(error, TimeoutError) else f"{error}"
        raise Refused(f"{journal} cannot be steered: {why}; try it once more") from error
    if reply.refused:
        raise Refused(reply.said)
    return reply
