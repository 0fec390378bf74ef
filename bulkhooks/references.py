"""References: where a credential or a secret's value is to be found, and how it is fetched."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from .errors import NoValue
from .source import read_file

Kind: TypeAlias = Literal["env", "file", "cmd"]

#: What the API shows in place of a secret's value, in either of its spellings.
MASK: Final = "_VALUE_NOT_SHOWN_"
MASKS: Final = frozenset({MASK, MASK.removesuffix("_")})

#: Bytes in a file that is referred to, and characters in any value, at most.
_MAX_TEXT: Final = 100_000
#: Seconds that a `cmd:` may take.
_CMD_TIMEOUT: Final = 30.0
_KINDS: Final[dict[str, Kind]] = {kind: kind for kind in get_args(Kind)}
_FORMS: Final = {"env": "env:NAME", "file": "file:PATH", "cmd": "cmd:COMMAND"}
_ENV: Final = "[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a value is to be found. The value itself is never kept, shown or logged."""

    kind: Kind
    #: The variable's name, the path or the command line, in which a secret is soon written.
    value: str = field(repr=False)
    folder: Path  #: of the file that names it: relative paths and commands start there

    @classmethod
    def parse(cls, written: object, folder: Path, kinds: Collection[str] = _KINDS) -> Reference:
        """The reference that `written` is, of one of `kinds`.

        Raises ValueError with what is wrong; what was written is not shown, for it may be the
        value itself.
        """
        word, _, rest = written.partition(":") if isinstance(written, str) else ("", "", "")
        kind = _KINDS.get(word)
        if kind is None or kind not in kinds:
            forms = [_FORMS[kind] for kind in kinds]
            raise ValueError(f"must be a reference: {', '.join(forms[:-1])} or {forms[-1]}")
        if not rest.strip() or not rest.isprintable():
            raise ValueError(f"must have one line of text after {kind}:")
        if kind == "env" and not re.fullmatch(_ENV, rest):
            raise ValueError("must have a variable's name after env: letters, digits and `_`")
        if kind == "cmd" and not _splits(rest):
            raise ValueError("has a quote that does not end, or no command")
        return cls(kind=kind, value=rest, folder=folder)

    def __str__(self) -> str:
        """As it is written; a path is absolute."""
        value = (self.folder / self.value).absolute() if self.kind == "file" else self.value
        return f"{self.kind}:{value}"

    def resolve(self) -> str:
        """Fetches a credential, one line of text: reads a variable or a file, or runs a command.

        A command runs without a shell, for 30 s at most, so call this from a thread. Raises
        NoValue, which says what to do and never what was found.
        """
        value = self._checked(self._fetched().rstrip("\r\n"))
        if not value.isprintable():
            raise self._none(f"it is more than one line of text; {self._hint()}")
        return value

    def text(self) -> str:
        """Fetches a text of any kind, less one line break at its end; else as `resolve`."""
        return self._checked(self._fetched().removesuffix("\n").removesuffix("\r"))

    def _checked(self, value: str) -> str:
        if not value:
            raise self._none(self._hint())
        if len(value) > _MAX_TEXT:
            long = f"it is longer than {_MAX_TEXT:,} characters"
            raise self._none(f"{long}; {self._hint()}")
        return value

    def _none(self, hint: str) -> NoValue:
        # Items that lack the same value are counted together, with one hint.
        place = "its cmd:" if self.kind == "cmd" else f"{self.kind}:{self.value}"
        return NoValue(f"no value in {place}", hint)

    def _hint(self) -> str:
        # Not even a command's name is shown: `cmd:TOKEN=... tool` is soon written.
        return {
            "env": f"set environment variable {self.value}",
            "file": f"write it into file {self.value}",
            "cmd": "its cmd: must print it and nothing else",
        }[self.kind]

    def _fetched(self) -> str:
        return {"env": self._variable, "file": self._content, "cmd": self._output}[self.kind]()

    def _variable(self) -> str:
        value = os.environ.get(self.value, "")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise self._none(f"environment variable {self.value} is not UTF-8")
        return value

    def _content(self) -> str:
        try:
            return read_file(self.folder / self.value, _MAX_TEXT).decode()
        except UnicodeDecodeError:
            raise self._none(f"file {self.value} is not UTF-8") from None
        except ValueError as error:
            raise self._none(f"file {self.value} {error}") from None

    def _output(self) -> str:
        try:
            status, output = _run(shlex.split(self.value), self.folder)
            text = output.decode().strip()
        except subprocess.TimeoutExpired:
            hint = f"its cmd: took longer than {_CMD_TIMEOUT:.0f} s"
            raise self._none(hint) from None
        except OSError as error:
            hint = f"its cmd: cannot be run: {os.strerror(error.errno or 0)}"
            raise self._none(hint) from None
        except UnicodeDecodeError:
            raise self._none("its cmd: printed no UTF-8") from None
        if status:
            raise self._none(f"its cmd: ended with status {status}")
        return text


def pattern_of(*kinds: str) -> str:
    """What references of these kinds look like, as nearly as a pattern can tell."""
    forms = [f"{kind}:{_ENV if kind == 'env' else '.*[^ ].*'}" for kind in kinds]
    return f"^({'|'.join(forms)})$"


def secret_value(reference: str) -> str:
    """The value of a hook's secret, fetched now; `reference` is as `Edit.set_secrets` has it.

    It may read a file, and may be many lines. Raises NoValue, never with the value.
    """
    try:
        found = Reference.parse(reference, Path("/"), ("env", "file"))
    except ValueError as error:
        raise NoValue("no value for a secret", str(error)) from None
    value = found.text()
    if value.strip() in MASKS:
        hint = "what was found is the mask that Auth0 shows for a secret, not the secret"
        raise found._none(f"{hint}; {found._hint()}")
    return value


def _splits(command: str) -> bool:
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


def _run(words: list[str], folder: Path) -> tuple[int, bytes]:
    """Exit status and stdout of a command; it and what it started are killed at the timeout.

    Its stderr goes nowhere: it may hold secrets.
    """
    with subprocess.Popen(
        words,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        _running.add(process.pid)
        try:
            output, _ = process.communicate(timeout=_CMD_TIMEOUT)
        except BaseException:
            # A child of the command that holds the pipe would keep us waiting beyond its parent.
            _kill(process.pid)
            raise
        finally:
            _running.discard(process.pid)
        return process.returncode, output


#: Commands that run now.
_running: Final[set[int]] = set()


def end_commands() -> None:
    """Kill what `cmd:` references have running: nobody waits for it any more."""
    for pid in tuple(_running):
        _kill(pid)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
