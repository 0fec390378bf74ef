"""Texts without what is secret: what a server says, and what is told of a bug.

Values are not gathered here: whoever has sent one hands it in, or nothing of a text is shown.
"""

from __future__ import annotations

import html
import json
import logging
import sys
import threading
import traceback
import warnings
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator
from string import ascii_letters, digits
from typing import Any, Final
from urllib.parse import quote

from .errors import BulkhooksError

#: So many letters and digits that follow each other in a secret, and in a text, are no accident.
_PIECE: Final = 8
_LETTERS: Final = frozenset(ascii_letters + digits)


def veiled(text: str, hidden: Collection[str]) -> str:
    """`text` with *** for what it holds of any of `hidden`.

    A server that quotes what it was sent may have it encoded, cut to a piece, or broken over
    lines: only letters and digits are compared, and 8 that follow each other are enough.
    """
    for secret in hidden:
        text = text.replace(secret, "***")
    places = [place for place, char in enumerate(text) if char in _LETTERS]
    letters = "".join(text[place] for place in places).lower()
    forms = [_plain(form) for secret in hidden for form in _forms(secret)]
    shown, end = "", 0
    for start in range(len(letters) - _PIECE + 1):
        piece = letters[start : start + _PIECE]
        if not any(piece in form for form in forms):
            continue
        first, last = places[start], places[start + _PIECE - 1] + 1
        if first >= end:
            shown += text[end:first] + "***"
        end = last
    return shown + text[end:]


def _forms(secret: str) -> Iterator[str]:
    """A secret as it may be quoted."""
    raw = secret.encode()
    yield from (secret, secret[::-1], quote(secret, safe=""), html.escape(secret), raw.hex())
    yield json.dumps(secret)
    for ahead in range(3):  # what base64 makes of it depends on where it starts
        yield b64encode(bytes(ahead) + raw).decode()


def _plain(form: str) -> str:
    return "".join(filter(_LETTERS.__contains__, form)).lower()


def where(error: BaseException) -> str:
    """The traceback of a bug. What its exceptions say is left out, for it may hold anything that
    the program held; but what ours say is made to be shown."""
    return "".join(_lines(error, set()))


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    if id(error) in seen:
        return
    seen.add(id(error))
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for each in ((behind,) if behind else ()) + inner:
        yield from _lines(each, seen)
        yield "which led to:\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    said = f": {error}" if isinstance(error, BulkhooksError) else ""
    yield f"{type(error).__module__}.{type(error).__qualname__}{said}\n"


def tell_bugs(tell: Callable[[str], object]) -> None:
    """From now on `tell` is told what Python and libraries would write to stderr by themselves:
    where it happened, and nothing of what it was about."""

    def raised(args: Any) -> None:
        if args.exc_value is not None:
            tell(where(args.exc_value))

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        tell(f"{filename}:{lineno}: {category.__name__}\n")

    sys.unraisablehook = threading.excepthook = raised
    warnings.showwarning = warned
    logging.getLogger().addHandler(_Logged(tell))


class _Logged(logging.Handler):
    """Tells of errors that libraries log. What they only warn of is of no use to a person."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging` asks for."""
        error = record.exc_info[1] if record.exc_info else None
        self._tell(f"an error in {record.name}\n{where(error) if error else ''}")
