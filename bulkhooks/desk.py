"""Where a command is at work: what it is given is read, and a run is looked on at, asked about,
stopped, and shown when it has ended.

As in `cli`, what is needed is imported when it is.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shlex
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIG_DFL, SIGHUP, SIGINT, SIGTERM, default_int_handler, signal
from typing import TYPE_CHECKING, Any, TypeVar

from .console import heard, screen, show_books, show_changes, talk
from .errors import BadInput, Refused

if TYPE_CHECKING:
    from .auth0 import Exchange, Log
    from .jobfile import Job
    from .journal import Journal
    from .lanes import Lanes
    from .metrics import Metrics
    from .night import Ways
    from .report import Summary
    from .tenants import Tenant

_T = TypeVar("_T")

_SIGNALS = (SIGINT, SIGTERM, SIGHUP)
#: New objects after which garbage is looked for.
_GARBAGE = 100_000
#: Threads of libuv, set unless the environment says otherwise. Half of them look up names, and its
#: own 4 would let two dead names hold up every other tenant.
_THREADS = 128
#: Files that may be open at once, if the system lets us: a lane has up to 8 connections of its own.
_FILES = 65_536


# ---- what a command is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job and the tenants it may name."""

    job: Job
    tenants: Mapping[str, Tenant]
    tenants_file: Path

    @classmethod
    def read(cls, job: Path, tenants: Path | None, schedule: Path | None = None) -> Work:
        """Raises BadInput with what is wrong in any of the files, Refused when both the job and
        `schedule` say when."""
        from .jobfile import load_job
        from .schedulefile import load_schedule
        from .tenants import load_tenants

        file = tenants or job.parent / "tenants.yaml"
        wrong: list[Any] = []

        def read(load: Callable[..., Any], *given: Any) -> Any:
            try:
                return load(*given)
            except BadInput as error:
                wrong.extend(error.complaints)

        work, known = read(load_job, job), read(load_tenants, file)
        when = read(load_schedule, schedule, known, job.parent) if schedule else None
        if wrong:
            raise BadInput(wrong)
        if when is not None:
            work = work.scheduled(when)
        if not work.sound:  # its name must not become a path
            deque(work.edits(known), maxlen=0)
        return cls(job=work, tenants=known, tenants_file=file)


def tenants_of(journal: Path, file: Path | None) -> dict[str, Tenant]:
    """The tenants that a journal may name: of its own tenants file, unless another is given.

    Raises Refused when its own lies outside of its folder; BadInput.
    """
    from .journal import Journal
    from .plan import foreign_tenants_file
    from .report import clean
    from .tenants import load_tenants

    with Journal.read(journal) as kept:
        if kept.meta("sandbox"):
            return {}
        if file is None and (foreign := foreign_tenants_file(kept)):
            words = clean(shlex.quote(foreign))
            raise Refused(
                f"{journal} names the tenants file {words}, outside its folder; "
                f"if you trust it: --tenants {words}"
            )
        file = file or Path(kept.meta("tenants_file") or "tenants.yaml")
    return load_tenants(file)


def job_of(journal: Path) -> str:
    """The name of the job whose journal it is. Raises Refused, JournalError."""
    from .journal import Journal

    with Journal.read(journal) as kept:
        return kept.meta("job")


# ---- a run


class Desk:
    """Where a run is looked on at, stopped, asked about, and shown when it has ended."""

    def __init__(
        self,
        tenants: Mapping[str, Tenant],
        *,
        yes: bool = False,
        verbose: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics
        self.tenants, self._yes, self._began = tenants, yes, False
        self._screen = screen(in_place=not verbose)
        self._early = False  #: a signal came while no lanes were at work

    async def watch(self, lanes: Lanes) -> None:
        """Progress on stderr, and signals: the first one stops, the second waits for nothing."""
        import anyio

        from .control import stop

        self._began, again = True, False

        async def heed() -> None:
            nonlocal again
            with anyio.open_signal_receiver(*_SIGNALS) as signals:
                if self._early:
                    with heard():
                        talk(stop(lanes))
                async for _ in signals:
                    again = lanes.stopped
                    with heard():
                        talk(stop(lanes))
                    if again:  # a third one ends the program
                        return

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(heed)
                if self._metrics:
                    tasks.start_soon(self._metrics.watch, lanes)
                with heard():
                    await self._screen.watch(lanes)
        finally:
            if not again:
                self._keep()

    def _keep(self) -> None:
        """Until lanes are at work again, or all is told, a signal is kept for them: of two in a row
        the second does not take away what the first one was to tell. One more ends the program."""

        def kept(number: int, frame: object) -> None:
            if self._early:
                _end_by_signals()
                os.kill(os.getpid(), number)
            self._early = True

        self._early = False
        for number in _SIGNALS:
            signal(number, kept)

    async def confirm(self, journal: Journal) -> bool:
        """Show what will be written, and ask on a terminal unless `yes`."""
        from .report import summary

        await self._screen.quiet()
        books = summary(journal)
        with heard():
            show_changes(journal, books, self.tenants)
        if self._yes or not (books.books.pending or books.books.uncertain):
            return True
        if not interactive():
            talk("not a terminal: --yes says that it may write")
            return False
        return await _answered("Write this?")

    async def ask(self, question: str) -> bool | None:
        """Ask on a terminal, lines that say why ahead of the question; None where there is none."""
        from .report import clean

        if not interactive():
            return None
        await self._screen.quiet()
        *why, last = map(clean, question.splitlines())
        with heard():
            for line in why:
                talk(line)
        return await _answered(last)

    def apply(
        self,
        journal: Path,
        log: Log | None,
        *,
        failed: bool = False,
        replan: bool = False,
        ways: Ways | None = None,
        json: bool,
    ) -> int:
        """Apply a journal and show its books; the exit status that they call for."""
        from .night import Ways
        from .run import apply_journal

        applying = apply_journal(
            *(journal, self.tenants),
            failed=failed,
            replan=replan,
            ways=ways or Ways(ask=self.ask),
            watch=self.watch,
            confirm=self.confirm,
            tell=talk,
            log=log,
        )
        return self.finish(run_async(applying), json=json)

    def finish(self, summary: Summary, *, json: bool) -> int:
        """Show the books; the exit status that they call for."""
        if self._metrics:
            self._metrics.finish(summary)
        with heard():
            show_books(summary, json=json)
            if not self._began:
                told = summary.freeze and summary.freeze.told
                talk(f"nothing sent; {told or f'journal of {summary.made}'}")
        _end_by_signals()
        return summary.exit_status


def _end_by_signals() -> None:
    signal(SIGINT, default_int_handler)
    for number in (SIGTERM, SIGHUP):
        signal(number, SIG_DFL)


def interactive() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


async def _answered(question: str) -> bool:
    """The answer from the terminal. The thread that waits for it does not keep us from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def tell(line: str) -> None:
        if not answer.done():
            answer.set_result(line)

    def read() -> None:
        line = sys.stdin.readline()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, line)

    talk(f"{question} [y/N] ", end="")
    threading.Thread(target=read, daemon=True).start()
    return (await answer).strip().lower() in ("y", "yes")


# ---- what is kept of a run beside its journal


@contextmanager
def measured(file: Path | None, job: str) -> Iterator[Metrics | None]:
    """Metrics of a command on this job, in a file; None: nobody wants them. Raises Refused when the
    file cannot be written."""
    if file is None:
        yield None
        return
    from .metrics import Metrics

    with Metrics.opened(file, job, _lost) as metrics:
        yield metrics


@contextmanager
def logged(
    file: Path | None, *, verbose: bool, metrics: Metrics | None = None
) -> Iterator[Log | None]:
    """What is to be told of every request: it goes to a file, and where `verbose` to stderr. None:
    nobody wants to know. Raises Refused when the file cannot be opened."""
    if file is None and not verbose:
        yield metrics
        return
    from .report import clean
    from .requestlog import LogFile, as_text

    def show(exchange: Exchange) -> None:
        with heard():
            talk(clean(as_text(exchange)))

    with ExitStack() as stack:
        logs: list[Log] = [show] if verbose else []
        if metrics is not None:
            logs.append(metrics)
        if file is not None:
            logs.append(stack.enter_context(LogFile.opened(file, _lost)))

        def tell(exchange: Exchange) -> None:
            for log in logs:
                log(exchange)

        yield tell


def _lost(why: str) -> None:
    """Tell that a file beside the work cannot be written any more."""
    with heard():
        talk(why)


# ---- the process


async def until_signal() -> None:
    """Return when one of the signals comes that end a program."""
    import anyio

    with anyio.open_signal_receiver(*_SIGNALS) as signals:
        async for _ in signals:
            return


def run_async(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's work to its end, in a process made ready for a thousand tenants."""
    import anyio

    from .references import end_commands

    # Nearly all that a run makes goes when its last reference goes. Looking for cycles as often as
    # Python does by default took a fifth of the CPU of a large run.
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    _open_many()
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(_THREADS))
    try:
        return anyio.run(lambda: work, backend="asyncio", backend_options={"use_uvloop": True})
    finally:
        end_commands()  # Python waits for the threads that wait for them


def _open_many() -> None:
    """Raise the soft limit of open files, often 1024, which a thousand tenants are too many for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (_FILES, 10_240):  # macOS grants no more than the second, whatever it says
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        if soft == resource.RLIM_INFINITY or wanted <= soft:
            return
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
