"""Logs of requests: a line of JSON for each, in a file, and a short one for a person.

What a line tells is an `Exchange`, in which there is no header and no body.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import orjson

from .auth0 import Exchange
from .errors import Refused

#: How a line of a log begins.
_BEGINS: Final = b'{"time":'


class LogFile:
    """A file that gets a line of JSON for every request that it is called with. Made by `opened`.

    A line is there as soon as its request was answered, or is known not to be.
    """

    def __init__(self, path: Path, file: int, lost: Callable[[str], None]) -> None:
        self._path, self._file, self._lost = path, file, lost
        self._works = True

    @classmethod
    @contextmanager
    def opened(cls, path: Path, lost: Callable[[str], None]) -> Iterator[LogFile]:
        """Append to the file at `path`; a new one can be read by nobody else.

        Where it cannot be written any more, `lost` is told so once, and no line is added from then
        on. Raises Refused when it cannot be opened, or has something else in it.
        """
        try:
            if _is_other(path):
                raise Refused(f"{path} is there and is no log; name another file by --log")
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            why = f"cannot be written: {error.strerror}; name another file by --log"
            raise Refused(f"{path}: the log {why}") from error
        try:
            yield cls(path, file, lost)
        finally:
            os.close(file)

    def __call__(self, exchange: Exchange) -> None:
        """Add a request's line."""
        if not self._works:
            return
        line = as_json(exchange)
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            self._works = False
            self._lost(f"{self._path}: the log ends here: {error.strerror}; the work goes on")


def as_json(exchange: Exchange) -> bytes:
    """A request as a line of JSON; `error` is there only where there was no answer."""
    told = msgspec.structs.asdict(exchange) | {"time": _moment(exchange)}
    if exchange.error is None:
        del told["error"]
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def as_text(exchange: Exchange) -> str:
    """A request as a short line: what is as always is left out."""
    came = "no answer" if exchange.status is None else str(exchange.status)
    parts = [f"{exchange.tenant}: {exchange.method} {exchange.path} {came}"]
    if exchange.error is not None:
        parts.append(exchange.error)
    if exchange.tries > 1:
        parts.append(f"try {exchange.tries}")
    if exchange.waited:
        parts.append(f"waited {exchange.waited:g} s")
    if exchange.remaining is not None:
        parts.append(f"{exchange.remaining} left")
    if exchange.item is not None:
        parts.append(f"for {exchange.item}")
    return f"{_moment(exchange)[11:]} {', '.join(parts)}"


def _is_other(path: Path) -> bool:
    """Whether a file is there to which lines would do harm: a journal, a job."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_BEGINS)) not in (b"", _BEGINS)


def _moment(exchange: Exchange) -> str:
    """When it was sent: ISO 8601, in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(exchange.time, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
