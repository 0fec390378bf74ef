"""What is asked between waves whether all went well: a command of a person's own.

It is run without a shell, with our environment, credentials included, and is killed with all that
it started when it takes too long or a stop is asked for.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from time import monotonic
from typing import Final, NamedTuple

import orjson
from anyio import to_thread

from .errors import Refused
from .gates import Stop
from .journal import Journal
from .report import clean
from .schedule import Schedule
from .tenants import Tenant

#: The probe that is no command: every hook and action is read back.
READ_BACK: Final = "read-back"
#: Seconds that a probe may take, and between two looks whether it is to end.
_LONGEST, _LOOK = 600.0, 0.05
#: What is told of its output: so many lines from its end, and characters of each.
_LINES, _WIDTH = 5, 200
#: Bytes at the end of its output in which these are looked for.
_END: Final = 4_000


class Answer(StrEnum):
    """What a probe says of a wave."""

    GOOD = "good"
    BAD = "bad"
    ASK = "ask"  #: a person is to say


class Verdict(NamedTuple):
    """A probe's answer, and clean lines: why, where it is bad otherwise than by saying so, and the
    last ones that it wrote."""

    answer: Answer
    told: str


async def probe(
    command: str,
    tenants: Iterable[Tenant],
    *,
    journal: Journal,
    wave: int,
    of: int,
    folder: Path,
    stop: Stop,
) -> Verdict:
    """Run a probe on a wave that is done, and answer what it says; `wave` is counted from 1.

    It gets JSON on stdin: `job`, `journal`, `wave`, `of`, and `tenants`, each with `name`,
    `base_url` and `tags`. Exit status 0 is good, 1 bad, 2 ask; any other is bad, and so is a
    command that cannot be run, ends by a signal, or takes longer than 10 min. Where `folder`, the
    job's or the journal's, does not hold it, it is not run. Raises Stopped.
    """
    try:
        start = _start(journal, folder)
        words = _words(command, start, folder)
    except ValueError as error:
        return Verdict(Answer.BAD, clean(f"{command} {error}"))
    told = {
        "job": journal.meta("job"),
        "journal": str(journal.path.absolute()),
        "wave": wave,
        "of": of,
        "tenants": [
            {"name": each.name, "base_url": each.base_url, "tags": sorted(each.tags)}
            for each in tenants
        ],
    }
    over = Event()
    try:
        with stop.ends():
            running = partial(_run, words, start, orjson.dumps(told), over)
            ended, output = await to_thread.run_sync(running, abandon_on_cancel=True)
    finally:
        over.set()
    return _verdict(ended, output)


def check_probes(journal: Journal, schedule: Schedule, folder: Path) -> None:
    """Raises Refused when a probe of a schedule could not be run from the `folder` of its job, or
    of its journal."""
    for n, wave in enumerate(schedule.waves, 1):
        if wave.probe in ("", READ_BACK):
            continue
        try:
            _words(wave.probe, _start(journal, folder), folder)
        except ValueError as error:
            raise Refused(clean(f"the probe of wave {n}: {wave.probe} {error}")) from None


def _start(journal: Journal, folder: Path) -> Path:
    """Where a relative path of a command begins: the job's folder, if that is trusted."""
    file = journal.meta("file")
    own = Path(file).parent.resolve() if file else folder.resolve()
    return own if own.is_relative_to(folder.resolve()) and own.is_dir() else folder.resolve()


def _words(command: str, start: Path, folder: Path) -> list[str]:
    """A command in words, what it runs as a whole path: a bare name is looked for on PATH, a file
    must be in `folder` or below it, so that a journal from elsewhere brings none along.

    Raises ValueError with what is wrong and what to do.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise ValueError("has a quote that does not end, or no command; correct it")
    name, *rest = words
    if "/" not in name:
        found = shutil.which(name)
        if found is None:
            raise ValueError(f"cannot be run: no {name} on PATH; write ./{name} for a file")
        return [os.path.abspath(found), *rest]
    try:
        path = (start / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a null byte
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"cannot be run: {why}; it begins in {start}") from None
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(
            f"is not run: it lies outside of {folder.resolve()}; it must be below the folder of "
            "the job, or of the journal that is applied"
        )
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ValueError("cannot be run: it is no file that may be executed; chmod +x it")
    return [str(path), *rest]


def _run(words: list[str], folder: Path, given: bytes, over: Event) -> tuple[int | str, bytes]:
    """Exit status of a command, or why it has none, and the end of what it wrote."""
    # Files and not pipes: who does not read what is given, or leaves a child behind that holds a
    # pipe open, keeps nobody waiting.
    with TemporaryFile() as stdin, TemporaryFile() as output:
        stdin.write(given)
        stdin.seek(0)
        try:
            ended = _ended(words, folder, stdin.fileno(), output.fileno(), over)
        except OSError as error:
            return f"cannot be run: {error.strerror or error}", b""
        output.seek(max(0, output.seek(0, os.SEEK_END) - _END))
        return ended, output.read()


def _ended(words: list[str], folder: Path, stdin: int, output: int, over: Event) -> int | str:
    until = monotonic() + _LONGEST
    with subprocess.Popen(
        words, cwd=folder, stdin=stdin, stdout=output, stderr=output, start_new_session=True
    ) as process:
        try:
            while not over.is_set() and monotonic() < until:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_LOOK)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):  # it has ended by itself
                    os.killpg(process.pid, signal.SIGKILL)
    return f"took longer than {_LONGEST / 60:.0f} min"


def _verdict(ended: int | str, output: bytes) -> Verdict:
    said = [clean(line) for line in output.decode(errors="replace").splitlines() if line.strip()]
    lines = [line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…" for line in said[-_LINES:]]
    answers = {0: Answer.GOOD, 1: Answer.BAD, 2: Answer.ASK}
    if isinstance(ended, int) and ended in answers:
        return Verdict(answers[ended], "\n".join(lines))
    why = ended
    if isinstance(ended, int):
        why = f"ended with status {ended}" if ended > 0 else f"was ended by {_signal(-ended)}"
    return Verdict(Answer.BAD, "\n".join(["the probe " + str(why), *lines]))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
