"""What the commands share: how work is read, run, watched, asked about and shown.

Here, and only here, things are printed: data goes to stdout, talk and progress to stderr. As in
`cli`, what is needed is imported when it is.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import resource
import shlex
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from signal import SIG_DFL, SIGHUP, SIGINT, SIGTERM, default_int_handler, signal
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, get_args

from .errors import BadInput, Refused, TenantError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .assess import Assessment
    from .auth0 import Exchange, Log
    from .check import Checked
    from .guards import Narrowing
    from .items import Edit, Fields
    from .jobfile import Job
    from .journal import Journal
    from .lanes import Lanes
    from .metrics import Metrics
    from .night import Ways
    from .report import Summary
    from .sandbox import Sandbox
    from .tenants import Tenant

_T = TypeVar("_T")

#: Tenants that the books show.
_TENANTS_SHOWN = 50
#: How lines of a plan look on a terminal, in ECMA-48's numbers.
_TINTS = {"head": "1", "plus": "32", "minus": "31", "place": "36", "alarm": "1;33"}
#: Columns from which on the table of books tells requests too.
_WIDE = 95
#: The same of the table of checks, for clocks, clients and enabled hooks.
_WIDE_CHECKS = 150
_SIGNALS = (SIGINT, SIGTERM, SIGHUP)
#: New objects after which garbage is looked for.
_GARBAGE = 20_000
#: Threads of libuv, set unless the environment says otherwise. Half of them look up names, and its
#: own 4 would let two dead names hold up every other tenant.
_THREADS = 128
#: Files that may be open at once, if the system lets us: a lane has up to 8 connections of its own.
_FILES = 65_536


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

    @asynccontextmanager
    async def pretended(self) -> AsyncIterator[dict[str, Tenant]]:
        """The job's tenants, each at a sandbox that has what the job names."""
        from . import sandbox
        from .sandbox.buckets import BUCKETS
        from .tenants import Given, Route, StaticToken

        schedule = self.job.schedule
        if schedule.window or any(wave.soak for wave in schedule.waves):
            talk("a rehearsal waits for nothing: no window, no soak, no end of a freeze")
        named: dict[tuple[str, str, str], Edit] = {}
        names: dict[str, None] = {}
        selected = set[str]()
        for edit in self.job.edits(self.tenants):
            names.update(dict.fromkeys(edit.tenants))
            if not edit.one:
                selected.add(edit.of)
            elif not edit.create:
                wanted = edit.match.id or edit.match.name or ""
                named.update({(name, edit.of, wanted): edit for name in edit.tenants})
        box = sandbox.Sandbox(
            names,
            hooks=25 if "hooks" in selected else 0,
            actions=6 if "actions" in selected else 0,
            bucket=BUCKETS["prod"],
            keep_log=False,
        )
        for number, ((name, _, _), edit) in enumerate(named.items()):
            with suppress(ValueError):  # one of that name is there already
                _pretend(box, name, number, edit)
        token = StaticToken(token=Given("sandbox"))
        async with sandbox.serve(box) as url:
            # Those that no edit reaches too: a selector may name them under `not`. Headers of
            # theirs may be secrets, and what a real tenant takes is not what a job is rehearsed
            # for, unless somebody has said it.
            yield {
                name: replace(
                    tenant,
                    base_url=f"{url}/{name}",
                    credential=token,
                    route=Route(),
                    headers={},
                    lifecycle=tenant.lifecycle or "active",
                )
                for name, tenant in self.tenants.items()
            }


def _pretend(box: Sandbox, tenant: str, number: int, edit: Edit) -> None:
    """Put into a sandbox the one hook or action that an edit is for."""
    from . import actions, hooks

    match, expect = edit.match, edit.expect
    of_hooks = edit.of == "hooks"
    triggers = get_args(hooks.Trigger if of_hooks else actions.Trigger)
    trigger = match.triggerId or expect.get("triggerId") or triggers[number % len(triggers)]
    name = match.name or expect.get("name") or f"{edit.of[:-1]}-{number + 1}"
    if of_hooks:
        box.add_hook(
            tenant,
            id=match.id,
            name=name,
            triggerId=trigger,
            enabled=expect.get("enabled", False),
            dependencies=expect.get("dependencies"),
            alone=True in (expect.get("enabled"), edit.set.get("enabled")),
        )
    else:
        box.add_action(
            tenant,
            name=name,
            triggerId=trigger,
            dependencies=expect.get("dependencies"),
            deployed=expect.get("deployed", True),
            bound=expect.get("bound", False),
        )


def tenants_of(journal: Path, file: Path | None) -> dict[str, Tenant]:
    """The tenants that a journal may name: of its own tenants file, unless another is given.

    Raises Refused when its own lies outside of its folder; BadInput.
    """
    from .journal import Journal
    from .report import clean, foreign_tenants_file
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
        from .progress import Screen

        self._metrics = metrics
        self.tenants, self._yes, self._began = tenants, yes, False
        self._screen = Screen(sys.stderr, in_place=not verbose)
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
            show_changes(journal, books, self.tenants, sys.stderr)
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


def _lost(why: str) -> None:
    """Tell that a file beside the work cannot be written any more."""
    with heard():
        talk(why)


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


def show_plan(
    journal: Journal,
    summary: Summary,
    tenants: Mapping[str, Tenant],
    *,
    json: bool,
    markdown: bool = False,
) -> None:
    """Show what a journal is about to do."""
    from .diff import as_json, as_markdown

    if json or markdown:
        pieces = as_json if json else as_markdown
        print_pieces(pieces(journal, summary, tenants))
    else:
        show_changes(journal, summary, tenants, sys.stdout)
    if not json:
        talk(f"planned in {journal.path}; next: {summary.next or 'nothing'}")


def show_changes(
    journal: Journal, summary: Summary, tenants: Mapping[str, Tenant], out: TextIO
) -> None:
    """What will be written, as far as a screen shows it."""
    from .diff import as_text

    terminal = out.isatty()
    width = os.get_terminal_size(out.fileno()).columns if terminal else None
    coloured = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    for text, tint in as_text(journal, summary, tenants, width or None):
        code = _TINTS.get(tint.value) if coloured else None
        print(f"\x1b[{code}m{text}\x1b[0m" if code else text, file=out)


def show_books(summary: Summary, *, json: bool) -> None:
    """Show the books of a journal by tenant, why items failed, and what to type next."""
    if json:
        return print_json(summary.as_json())
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from .report import ahead, causes

    _show_freeze(summary)
    console = Console(file=sys.stdout, highlight=False)
    states = list(summary.books.__struct_fields__)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("tenant", no_wrap=True, overflow="ellipsis")
    wide = not console.is_terminal or console.width >= _WIDE
    if not console.is_terminal:
        console.width = 200
    for name in states + ["requests", "429s"] * wide:
        table.add_column(name, justify="right", no_wrap=True)
    shown = sorted(
        summary.tenants.items(),
        key=lambda pair: (pair[1].books.planned == pair[1].books.applied, pair[0]),
    )[:_TENANTS_SHOWN]
    for name, tenant in shown:
        numbers = [getattr(tenant.books, state) for state in states]
        numbers += [tenant.requests, tenant.throttled] * wide
        table.add_row(name, *map(str, numbers))
    if len(summary.tenants) > len(shown):
        table.add_row(f"and {len(summary.tenants) - len(shown)} more")
    table.add_section()
    requests = sum(tenant.requests for tenant in summary.tenants.values())
    throttled = sum(tenant.throttled for tenant in summary.tenants.values())
    numbers = [getattr(summary.books, state) for state in states]
    table.add_row("all", *map(str, numbers + [requests, throttled] * wide))
    console.print(f"{summary.job} in {summary.journal}", table)
    for line in causes(summary):
        print_text(f"  {line}")
    for line in ahead(summary):
        print_text(line)


def _show_freeze(summary: Summary) -> None:
    """What is not put back, ahead of all else."""
    from .freeze import details
    from .report import clean

    if summary.freeze and summary.freeze.told:
        print_text(clean(summary.freeze.told))
        for line in details(summary.freeze):
            print_text(clean(f"  {line}"))


async def watch_tenants(left: Collection[str]) -> None:
    """Progress on stderr, until cancelled: which tenants are not done yet."""
    from .progress import count

    with heard():
        await count(sys.stderr, left)


def show_checks(found: Mapping[str, Checked], *, json: bool) -> None:
    """Show how each tenant is, those with trouble first, and below it what to do."""
    from .check import causes
    from .report import many

    ready = sum(each.ready for each in found.values())
    if json:
        tenants = {name: each.as_json() for name, each in found.items()}
        return print_json({"ready": ready, "not_ready": len(found) - ready, "tenants": tenants})
    _print_checks(found)
    for line in causes(found):
        print_text(f"  {line}")
    print_text(f"{many(len(found), 'tenant')}: {ready} ready, {len(found) - ready} not")


def _print_checks(found: Mapping[str, Checked]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .report import clean

    console = Console(file=sys.stdout, highlight=False)
    wide = not console.is_terminal or console.width >= _WIDE_CHECKS
    if not console.is_terminal:
        console.width = 200
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    columns = _columns(found, wide=wide)
    # Of columns that may wrap room is taken first; no cell of them does.
    table.add_column("tenant")
    for name, _ in columns:
        right = name in ("hooks", "actions", "left", "token", "clock")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "enabled")
    shown = sorted(found.items(), key=lambda pair: (pair[1].ready, not pair[1].remarks, pair[0]))
    for tenant, each in shown[:_TENANTS_SHOWN]:
        cells = [tenant, *(cell(each) for _, cell in columns)]
        table.add_row(*(Text(clean(cell), no_wrap=True, overflow="ellipsis") for cell in cells))
    if len(found) > _TENANTS_SHOWN:
        table.add_row(f"and {len(found) - _TENANTS_SHOWN} more")
    console.print(table)


def _columns(
    found: Mapping[str, Checked], *, wide: bool
) -> list[tuple[str, Callable[[Checked], str]]]:
    """What is known of tenants, as a table shows it: a name, and what is told of each."""
    of = {kind for each in found.values() for kind in each.of}
    columns: list[tuple[str, Callable[[Checked], str]]] = [
        ("", lambda each: "ready" if each.ready else "not")
    ]
    if "hooks" in of:
        columns.append(("hooks are", lambda each: each.lifecycle or "-"))
        columns.append(("hooks", lambda each: _count(each, "hooks", each.hooks)))
    if "actions" in of:
        columns.append(("actions", lambda each: _count(each, "actions", each.actions)))
    columns += [("left", _left), ("token", _life)]
    if wide:
        columns.append(("hook scopes", partial(_granted, "hooks")))
        columns.append(("action scopes", partial(_granted, "actions")))
        columns += [("clock", _clock), ("client", lambda each: each.client or "?")]
        columns += [("enabled", _enabled)] if "hooks" in of else []
    else:
        columns.append(("scopes", partial(_granted, min(of)) if len(of) == 1 else _granted_of_both))
    return columns


def _count(each: Checked, kind: str, count: int | None) -> str:
    if kind not in each.of:
        return "-"
    return "?" if count is None else str(count)


def _left(each: Checked) -> str:
    return "?" if each.remaining is None else f"{each.remaining}/{each.limit}"


def _life(each: Checked) -> str:
    return "?" if each.token_life is None else _span(each.token_life)


def _granted(kind: str, each: Checked) -> str:
    """Which scopes of hooks, or of actions, a token has."""
    mine = {scope: has for scope, has in each.scopes.items() if scope.endswith(f":{kind}")}
    has = [scope.partition(":")[0] for scope in mine if mine[scope]]
    if None in mine.values():
        return " ".join([*has, "?"])
    return "all" if len(has) == len(mine) else " ".join(has) or "none"


def _granted_of_both(each: Checked) -> str:
    """How many scopes a token has; for their names there is no room."""
    has = [*each.scopes.values()]
    if None in has:
        return "?"
    return "all" if all(has) else f"{sum(map(bool, has))} of {len(has)}"


def _clock(each: Checked) -> str:
    ahead = each.clock_ahead
    return "?" if ahead is None else "0 s" if abs(ahead) < 1 else f"{ahead:+.0f} s"


def _enabled(each: Checked) -> str:
    if each.enabled is None:
        return "?"
    return ", ".join(f"{', '.join(names)} ({trigger})" for trigger, names in each.enabled.items())


def _span(seconds: float) -> str:
    """A span of time in its largest whole unit that leaves two figures."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def show_assessment(found: Assessment, words: str, *, page: Path | None, json: bool) -> None:
    """Show what stands in the way of hooks that are to become actions, and what to type next:
    `words` are the options of this call, `page` is where it was written as HTML."""
    if json:
        return print_json(found.as_json())
    from .verdict import as_text

    width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    for line in as_text(found, width=max(width, 80)):
        print_text(line)
    if any(each.missing for each in found.scripts):
        print_text("say where values are by --secrets FILE; its form: bulkhooks schema secrets")
    if page is not None:
        print_text(f"each script beside its action: {page}")
    elif any(each.urgency < 4 for each in found.scripts):
        print_text(f"next: bulkhooks migrate assess {words} --html assess.html")
    if found.scripts:
        print_text(f"next: bulkhooks migrate plan {words}")


def give_job(
    head: Fields,
    edits: Iterable[Fields],
    to: Path | None,
    *,
    narrowing: Narrowing | None = None,
    json: bool,
) -> None:
    """Write a job to a file or to stdout, and say what to type next."""
    from .jobwriter import job_text, save_job
    from .report import many

    if to is None:
        text, count = job_text(head, edits, json=json)
        if count or json:
            print_text(text.removesuffix("\n"))
    else:
        count = save_job(to, head, edits)
        if json:
            print_json({"job": str(to) if count else None, "edits": count})
    if not count:
        talk("nothing to do, so there is no job")
        return
    again = _words(narrowing)
    if to is None:
        if again:
            talk(f"its journal was planned with{again}; plan this job with the same")
        return
    name, lost = str(head.get("name", to.stem)), list[str]()
    if to.suffix.lower() == ".jsonl":
        name, lost = to.stem, [key for key in ("note", "limits") if key in head]
    if lost:
        talk(f"JSON Lines have no place for the job's {' and '.join(lost)}: left out")
    if Path(f"{name}.journal").exists():  # it may be the one that the job came from
        again += f" --journal {to.stem}-2.journal"
    talk(f"{many(count, 'edit')} in {to}; next: bulkhooks plan {to}{again}")


def _words(narrowing: Narrowing | None) -> str:
    """The options that a narrowing came from."""
    if narrowing is None:
        return ""
    words = [f" --only {shlex.quote(each)}" for each in narrowing.only]
    return "".join(words + [f" --skip {shlex.quote(each)}" for each in narrowing.skip])


def told(
    ended: Mapping[str, _T | TenantError], remarks: Callable[[_T], Iterable[str]]
) -> dict[str, _T]:
    """Those of the tenants that could be read. What there is to remark on each of them is told,
    and then which could not be read, and why; equal causes together."""
    from .report import clean

    done = {name: each for name, each in ended.items() if not isinstance(each, TenantError)}
    for name, each in done.items():
        for remark in remarks(each):
            talk(clean(f"{name}: {remark}"))
    alike: dict[str, list[str]] = {}
    for name, error in ended.items():
        if isinstance(error, TenantError):
            alike.setdefault(str(error), []).append(name)
    for trouble, names in alike.items():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        talk(clean(f"{', '.join(names[:5])}{more}: {trouble}"))
    return done


def print_text(text: str) -> None:
    """Data, to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_pieces(pieces: Iterable[str]) -> None:
    """Data on stdout, piece by piece."""
    sys.stdout.writelines(pieces)
    sys.stdout.flush()


def print_json(value: object) -> None:
    """The same, for machines."""
    import orjson

    print_text(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def talk(text: str, end: str = "\n") -> None:
    """What is for a person only, to stderr."""
    sys.stderr.write(text + end)
    sys.stderr.flush()


@contextmanager
def heard() -> Iterator[None]:
    """Whoever reads our output may go away; the work goes on, and its exit status counts."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, SystemExit):  # rich leaves by SystemExit when a pipe is broken
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)


def open_streams() -> None:
    """Started without one of the three, a socket would take its number: libuv aborts at that."""
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(lowest)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
