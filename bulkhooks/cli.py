"""The commands. Here, and only here, things are printed and exit statuses decided.

Data goes to stdout, talk and progress to stderr. What a command needs is imported when it runs.
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
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import cycle
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TextIO, get_args

import typer

from .errors import BadInput, BulkhooksError, Refused, TenantError

if TYPE_CHECKING:
    from .buckets import Bucket
    from .guards import Guards, Narrowing
    from .hooks import Edit
    from .items import Fields, State
    from .jobfile import Job
    from .journal import Journal
    from .lanes import Lanes
    from .progress import Screen
    from .report import Summary
    from .tenants import Tenant
    from .transfer import Compared, Exported

#: Tenants that the books show.
_TENANTS_SHOWN = 50
#: How lines of a plan look on a terminal, in ECMA-48's numbers.
_TINTS = {"head": "1", "plus": "32", "minus": "31", "place": "36", "alarm": "1;33"}
#: Columns from which on the table of books tells requests too.
_WIDE = 95
_SIGNALS = (SIGINT, SIGTERM, SIGHUP)
#: New objects after which garbage is looked for.
_GARBAGE = 20_000
#: Threads of libuv, set unless the environment says otherwise. Half of them look up names, and its
#: own 4 would let two dead names hold up every other tenant.
_THREADS = 128
#: Files that may be open at once, if the system lets us: a lane has up to 8 connections of its own.
_FILES = 65_536


class Refill(StrEnum):
    """How a pretend tenant's tokens come back: one by one, or all at the top of each second."""

    DRIP = "drip"
    WINDOW = "window"


class Written(StrEnum):
    """The files that people write."""

    JOB = "job"
    TENANTS = "tenants"


class SecondEnable(StrEnum):
    """What enabling a hook gets where another of its trigger is on."""

    CONFLICT = "conflict"
    BAD_REQUEST = "bad_request"
    SWITCH = "switch"


app = typer.Typer(
    help="Bulk updates of Auth0 hooks across many tenants: planned, paced, journaled, resumable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JobArgument = Annotated[
    Path, typer.Argument(metavar="JOB", help="The job file: .yaml, .json, .jsonl or .csv.")
]
JournalArgument = Annotated[Path, typer.Argument(metavar="JOURNAL", help="The job's journal.")]
TenantsOption = Annotated[
    Path | None,
    typer.Option("--tenants", metavar="FILE", help="Default: tenants.yaml beside the job."),
]
HereOption = Annotated[
    Path, typer.Option("--tenants", metavar="FILE", help="Default: tenants.yaml in this folder.")
]
JournalOption = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="Default: NAME.journal in this folder."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before writing.")]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Put an old journal aside and plan anew.")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(metavar="WHICH", help="Just tenant NAME, tag:TAG, trigger:T or hook:NAME."),
]
SkipOption = Annotated[
    list[str] | None, typer.Option(metavar="WHICH", help="All but these; named as for --only.")
]
MaxChangesOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Refuse to change more hooks than this.")
]
MaxPerTenantOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Refuse to change more on one tenant.")
]
MaxDeletesOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Refuse to delete more hooks than this.")
]
SandboxOption = Annotated[
    bool, typer.Option("--sandbox", help="Against pretend tenants inside this process.")
]


@app.command()
def validate(job: JobArgument, tenants: TenantsOption = None, json: JsonOption = False) -> None:
    """Check a job and its tenants; no network."""
    from .report import many

    work = _Work.read(job, tenants)
    edits = sum(1 for _ in work.job.edits(work.tenants))
    if json:
        _print_json({"job": work.job.name, "edits": edits, "tenants": len(work.tenants)})
    else:
        _print(f"{job}: {many(edits, 'edit')}, nothing wrong")


@app.command()
def plan(
    job: JobArgument,
    tenants: TenantsOption = None,
    journal: JournalOption = None,
    only: OnlyOption = None,
    skip: SkipOption = None,
    max_changes: MaxChangesOption = None,
    max_per_tenant: MaxPerTenantOption = None,
    max_deletes: MaxDeletesOption = 0,
    json: JsonOption = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The whole of it, for a change ticket.")
    ] = False,
    fresh: FreshOption = False,
) -> None:
    """Show what would change; sends no write.

    Reads the live state of every tenant, and writes a journal of items for `apply`.
    """
    from .journal import Journal
    from .run import plan_job

    if json and markdown:
        raise typer.BadParameter("--json and --markdown are two answers; ask for one")
    guards, narrowing = _limited(only, skip, max_changes, max_per_tenant, max_deletes)
    work = _Work.read(job, tenants)
    path = journal or Path(f"{work.job.name}.journal")

    async def planned() -> Summary:
        async with _watched(_screen()) as watch:
            return await plan_job(
                *(work.job, work.tenants, path),
                tenants_file=work.tenants_file,
                fresh=fresh,
                narrowing=narrowing,
                guards=guards,
                watch=watch,
            )

    summary = _run(planned())
    with Journal.read(path) as kept:
        _show_plan(kept, summary, work.tenants, json=json, markdown=markdown)


@app.command()
def apply(
    journal: JournalArgument,
    tenants: TenantsOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Take the failed ones too.")] = False,
    replan: Annotated[
        bool, typer.Option("--replan", help="Plan what drifted again, from how it is now.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Carry out what is pending in a journal. Run again, it goes on where it was."""
    _apply(journal, _tenants_of(journal, tenants), failed=failed, replan=replan, yes=yes, json=json)


@app.command()
def undo(
    journal: JournalArgument,
    tenants: TenantsOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="Default: JOURNAL with .undo in its name."),
    ] = None,
    max_deletes: MaxDeletesOption = 0,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Take back what a journal wrote: plans the way back as a new journal, asks, applies it.

    Without a terminal and without --yes it plans only.
    """
    from .guards import Guards
    from .journal import Journal
    from .run import undo_journal

    known = _tenants_of(journal, tenants)
    new = to or journal.with_name(f"{journal.stem}.undo{journal.suffix}")

    async def planned() -> Summary:
        async with _watched(_screen()) as watch:
            guards = Guards(max_deletes=max_deletes)
            return await undo_journal(journal, known, new, guards=guards, watch=watch)

    summary = _run(planned())
    if yes or _terminal():
        _apply(new, known, yes=yes, json=json)
    with Journal.read(new) as kept:
        _show_plan(kept, summary, known, json=json)


@app.command()
def run(
    job: JobArgument,
    tenants: TenantsOption = None,
    journal: JournalOption = None,
    yes: YesOption = False,
    fresh: FreshOption = False,
    sandbox: SandboxOption = False,
    only: OnlyOption = None,
    skip: SkipOption = None,
    max_changes: MaxChangesOption = None,
    max_per_tenant: MaxPerTenantOption = None,
    max_deletes: MaxDeletesOption = 0,
    json: JsonOption = False,
) -> None:
    """Plan, ask, apply. With a journal of the same job there already, go on with that."""
    from .run import run_job

    guards, narrowing = _limited(only, skip, max_changes, max_per_tenant, max_deletes)
    work = _Work.read(job, tenants)
    name = f"{work.job.name}.sandbox.journal" if sandbox else f"{work.job.name}.journal"
    path = journal or Path(name)

    async def ran() -> Summary:
        async with AsyncExitStack() as stack:
            known = work.tenants
            if sandbox:
                known = await stack.enter_async_context(_pretend(work))
            watch = await stack.enter_async_context(_watched(screen))
            return await run_job(
                *(work.job, known, path),
                tenants_file=work.tenants_file,
                fresh=fresh,
                sandbox=sandbox,
                narrowing=narrowing,
                guards=guards,
                watch=watch,
                confirm=confirm,
            )

    screen = _screen()
    confirm = _Confirm(work.tenants, screen, yes=yes or sandbox)
    _finish(_run(ran()), confirm, json=json)


@app.command()
def status(journal: JournalArgument, json: JsonOption = False) -> None:
    """The books of a journal, and what to type next."""
    from .run import read_books

    summary = read_books(journal)
    if json:
        _print_json(summary.as_json())
    else:
        _show_books(summary, sys.stdout)


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A folder a tenant in it.")],
    tenants: HereOption = Path("tenants.yaml"),
    only: OnlyOption = None,
    skip: SkipOption = None,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="tenant.yaml rather than a file a hook.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write every tenant's hooks as files of auth0-deploy-cli; sends no write."""
    from .guards import Narrowing
    from .report import clean, many
    from .tenants import load_tenants
    from .transfer import chosen, export_hooks

    narrowing = Narrowing(only=tuple(only or ()), skip=tuple(skip or ()))
    known = chosen(load_tenants(tenants), narrowing)
    ended: dict[str, Exported | TenantError] = _run(export_hooks(known, to, yaml=yaml))
    done = {name: each for name, each in ended.items() if not isinstance(each, TenantError)}
    for name, each in done.items():
        for hook, why in each.changes.items():
            _talk(clean(f"{name}: hook {hook}, imported by auth0-deploy-cli, {why}"))
    _tell_trouble(ended)
    hooks = sum(each.hooks for each in done.values())
    if json:
        _print_json({"folder": str(to), "tenants": {k: _exported(v) for k, v in ended.items()}})
    else:
        _print(f"{many(hooks, 'hook')} of {many(len(done), 'tenant')} in {to}")
    raise typer.Exit(int(len(done) < len(ended)))


@app.command()
def job_from(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A folder of auth0-deploy-cli, or a journal.")
    ],
    tenants: HereOption = Path("tenants.yaml"),
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Whose the folder is.")
    ] = None,
    mappings: Annotated[
        Path | None,
        typer.Option("--mappings", metavar="FILE", help="JSON: what ##KEY## and @@KEY@@ are."),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Of a journal: failed,skipped,uncertain,pending or some."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Default: to stdout, as YAML.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a job out of exported files (what differs), or out of a journal (what is left)."""
    from .jobwriter import check_target
    from .transfer import left_of

    if to:
        check_target(to)
    if not source.exists():
        raise Refused(f"{source} is not there")
    if source.is_dir() and status is not None:
        raise Refused("--status is for a journal")
    if not source.is_dir():
        if tenant is not None or mappings is not None:
            raise Refused("--tenant and --mappings are for a folder")
        with left_of(source, _states(status)) as left:
            return _give_job(left.head, left.edits, to, narrowing=left.narrowing, json=json)
    compared = _compared(source, tenants, tenant, mappings, to)
    done = [each for each in compared.values() if not isinstance(each, TenantError)]
    _give_job({}, (edit for each in done for edit in each.edits), to, json=json)
    raise typer.Exit(int(len(done) < len(compared)))


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 takes a free one.")] = 9100,
    tenants: Annotated[
        Path | None, typer.Option("--tenants", metavar="FILE", help="Serve these tenants.")
    ] = None,
    hooks: Annotated[int, typer.Option(min=0, max=1000, help="Hooks a tenant.")] = 25,
    bucket: Annotated[
        str, typer.Option(help="free, nonprod, prod, none, or BURST,RATE (a second).")
    ] = "prod",
    refill: Annotated[Refill, typer.Option(help="How tokens come back.")] = Refill.DRIP,
    latency: Annotated[float, typer.Option(min=0, max=60, help="Seconds an answer takes.")] = 0.0,
    second_enable: Annotated[
        SecondEnable,
        typer.Option(
            help="What a second enable of a trigger gets: 409, 400, or the first goes off."
        ),
    ] = SecondEnable.CONFLICT,
    json: JsonOption = False,
) -> None:
    """Serve pretend tenants on 127.0.0.1.

    Each is at http://127.0.0.1:PORT/TENANT until Ctrl-C; the bearer token is `sandbox`.
    """
    import anyio

    from .sandbox import Sandbox, serve
    from .tenants import load_tenants

    limit = _parse_bucket(bucket, refill)
    names = list(load_tenants(tenants)) if tenants else ["t0", "t1", "t2", "t3", "t4"]

    async def serving() -> None:
        box = Sandbox(
            names,
            hooks=hooks,
            bucket=limit,
            latency=latency,
            second_enable=second_enable.value,
            keep_log=False,
        )
        async with AsyncExitStack() as stack:
            try:
                url = await stack.enter_async_context(serve(box, port=port))
            except OSError as error:
                raise Refused(f"port {port}: {error.strerror}; choose another by --port") from error
            served = {name: f"{url}/{name}" for name in names}
            if json:
                _print_json({"token": "sandbox", "tenants": served})
            else:
                _print("\n".join(served.values()))
            _talk("the bearer token is `sandbox`; /oauth/token gives others; Ctrl-C ends it")
            with anyio.open_signal_receiver(*_SIGNALS) as signals:
                async for _ in signals:
                    return

    _run(serving())


@app.command()
def schema(
    file: Annotated[Written, typer.Argument(metavar="job|tenants", help="The kind of file.")],
) -> None:
    """The JSON Schema of job or tenants files, by which editors complete and check them."""
    from .schema import JobFile, TenantsFile, json_schema

    _print_json(json_schema(JobFile if file is Written.JOB else TenantsFile))


# ---- what the commands share


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A job and the tenants it may name."""

    job: Job
    tenants: dict[str, Tenant]
    tenants_file: Path

    @classmethod
    def read(cls, job: Path, tenants: Path | None) -> _Work:
        """Raises BadInput with what is wrong in either file."""
        from .jobfile import load_job
        from .tenants import load_tenants

        file = tenants or job.parent / "tenants.yaml"
        wrong: list[Any] = []
        found: list[Any] = []
        for load, path in ((load_job, job), (load_tenants, file)):
            try:
                found.append(load(path))
            except BadInput as error:
                wrong += error.complaints
        if wrong:
            raise BadInput(wrong)
        if not found[0].sound:  # its name must not become a path
            deque(found[0].edits(found[1]), maxlen=0)
        return cls(job=found[0], tenants=found[1], tenants_file=file)


def _limited(
    only: list[str] | None,
    skip: list[str] | None,
    max_changes: int | None,
    max_per_tenant: int | None,
    max_deletes: int,
) -> tuple[Guards, Narrowing]:
    """What part of a job is meant, and how much it may ask for."""
    from .guards import Guards, Narrowing

    guards = Guards(max_changes=max_changes, max_per_tenant=max_per_tenant, max_deletes=max_deletes)
    return guards, Narrowing(only=tuple(only or ()), skip=tuple(skip or ()))


def _tenants_of(journal: Path, file: Path | None) -> dict[str, Tenant]:
    """The tenants that a journal may name: of its own tenants file, unless another is given."""
    from .journal import Journal
    from .tenants import load_tenants

    with Journal.read(journal) as kept:
        file = file or Path(kept.meta("tenants_file") or "tenants.yaml")
        sandbox = bool(kept.meta("sandbox"))
    return {} if sandbox else load_tenants(file)


def _apply(
    journal: Path,
    tenants: dict[str, Tenant],
    *,
    failed: bool = False,
    replan: bool = False,
    yes: bool,
    json: bool,
) -> NoReturn:
    """Apply a journal, show its books and leave."""
    from .run import apply_journal

    async def applied() -> Summary:
        async with _watched(screen) as watch:
            return await apply_journal(
                journal, tenants, failed=failed, replan=replan, watch=watch, confirm=confirm
            )

    screen = _screen()
    confirm = _Confirm(tenants, screen, yes=yes)
    _finish(_run(applied()), confirm, json=json)


def _compared(
    folder: Path, tenants: Path, tenant: str | None, mappings: Path | None, to: Path | None
) -> dict[str, Compared | TenantError]:
    """What is to be done on each tenant of the trees in `folder`; remarks are told."""
    from .deploy import Mappings
    from .report import clean
    from .tenants import load_tenants
    from .transfer import compare_trees

    compared: dict[str, Compared | TenantError] = _run(
        compare_trees(
            *(folder, load_tenants(tenants)),
            tenant=tenant,
            mappings=Mappings.load(mappings) if mappings else None,
            job_folder=to.parent if to else None,
        )
    )
    for name, each in compared.items():
        for remark in () if isinstance(each, TenantError) else each.remarks:
            _talk(clean(f"{name}: {remark}"))
    _tell_trouble(compared)
    return compared


def _states(status: str | None) -> list[State]:
    from .transfer import LEFT

    known = {state.value: state for state in LEFT}
    try:
        return [known[word.strip()] for word in (status or ",".join(known)).split(",")]
    except KeyError as error:
        raise typer.BadParameter(f"--status is one or more of {','.join(known)}") from error


def _give_job(
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
            _print(text.removesuffix("\n"))
    else:
        count = save_job(to, head, edits)
        if json:
            _print_json({"job": str(to) if count else None, "edits": count})
    if not count:
        _talk("nothing to do, so there is no job")
        return
    again = _words(narrowing)
    if to is None:
        if again:
            _talk(f"its journal was planned with{again}; plan this job with the same")
        return
    name, lost = str(head.get("name", to.stem)), list[str]()
    if to.suffix.lower() == ".jsonl":
        name, lost = to.stem, [key for key in ("note", "limits") if key in head]
    if lost:
        _talk(f"JSON Lines have no place for the job's {' and '.join(lost)}: left out")
    if Path(f"{name}.journal").exists():  # it may be the one that the job came from
        again += f" --journal {to.stem}-2.journal"
    _talk(f"{many(count, 'edit')} in {to}; next: bulkhooks plan {to}{again}")


def _words(narrowing: Narrowing | None) -> str:
    """The options that a narrowing came from."""
    if narrowing is None:
        return ""
    words = [f" --only {shlex.quote(each)}" for each in narrowing.only]
    return "".join(words + [f" --skip {shlex.quote(each)}" for each in narrowing.skip])


def _tell_trouble(ended: Mapping[str, object]) -> None:
    """Which tenants could not be read, and why; equal causes together."""
    from .report import clean

    alike: dict[str, list[str]] = {}
    for name, error in ended.items():
        if isinstance(error, TenantError):
            alike.setdefault(str(error), []).append(name)
    for trouble, names in alike.items():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        _talk(clean(f"{', '.join(names[:5])}{more}: {trouble}"))


def _exported(ended: Exported | TenantError) -> dict[str, Any]:
    if isinstance(ended, TenantError):
        return {"cause": ended.cause, "hint": ended.hint}
    return {"hooks": ended.hooks, "secrets": ended.secrets, "changed_by_import": ended.changes}


@asynccontextmanager
async def _pretend(work: _Work) -> AsyncIterator[dict[str, Tenant]]:
    """The job's tenants, each at a sandbox that has the hooks which the job names."""
    from . import sandbox
    from .buckets import BUCKETS
    from .hooks import Trigger
    from .tenants import Given, StaticToken

    named: dict[tuple[str, str], Edit] = {}
    names: dict[str, None] = {}
    selects = False
    for edit in work.job.edits(work.tenants):
        names.update(dict.fromkeys(edit.tenants))
        selects = selects or not edit.one
        if edit.one and not edit.create:
            wanted = edit.match.id or edit.match.name or ""
            named.update({(name, wanted): edit for name in edit.tenants})
    box = sandbox.Sandbox(names, hooks=25 if selects else 0, bucket=BUCKETS["prod"], keep_log=False)
    triggers = cycle(get_args(Trigger))
    for number, ((name, _), edit) in enumerate(named.items(), 1):
        match, expect = edit.match, edit.expect
        with suppress(ValueError):  # one of that name is there already
            box.add_hook(
                name,
                id=match.id,
                name=match.name or expect.get("name") or f"hook-{number}",
                triggerId=match.triggerId or expect.get("triggerId") or next(triggers),
                enabled=expect.get("enabled", False),
                dependencies=expect.get("dependencies"),
                alone=True in (expect.get("enabled"), edit.set.get("enabled")),
            )
    token = StaticToken(token=Given("sandbox"))
    async with sandbox.serve(box) as url:
        # Those that no edit reaches too: a selector may name them under `not`.
        yield {
            name: replace(tenant, base_url=f"{url}/{name}", credential=token)
            for name, tenant in work.tenants.items()
        }


@asynccontextmanager
async def _watched(screen: Screen) -> AsyncIterator[Callable[[Lanes], Coroutine[Any, Any, None]]]:
    """Progress on stderr, and signals: the first one stops, the second waits for nothing."""
    import anyio

    async def heed(lanes: Lanes) -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async for _ in signals:
                if lanes.stopped:
                    lanes.abandon()
                    return
                lanes.stop()
                _talk("stopping: what is in flight ends first; once more to wait for nothing")

    async def look_on(lanes: Lanes) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heed, lanes)
            with _heard():
                await screen.watch(lanes)

    yield look_on


class _Confirm:
    """Shows what will be written, and asks on a terminal unless `yes`."""

    def __init__(self, tenants: dict[str, Tenant], screen: Screen, *, yes: bool) -> None:
        self._tenants, self._screen, self._yes = tenants, screen, yes
        self.called = False

    async def __call__(self, journal: Journal) -> bool:
        from .report import summary

        self.called = True
        await self._screen.quiet()
        books = summary(journal)
        with _heard():
            _show_changes(journal, books, self._tenants, sys.stderr)
        if self._yes or not (books.books.pending or books.books.uncertain):
            return True
        if not _terminal():
            _talk("not a terminal: --yes says that it may write")
            return False
        return await _asked()


def _terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


async def _asked() -> bool:
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

    _talk("Write this? [y/N] ", end="")
    threading.Thread(target=read, daemon=True).start()
    return (await answer).strip().lower() in ("y", "yes")


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    import anyio

    async def main() -> Any:
        return await work

    # Nearly all that a run makes goes when its last reference goes. Looking for cycles as often as
    # Python does by default took a fifth of the CPU of a large run.
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    _open_many()
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(_THREADS))
    return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": True})


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


def _show_plan(
    journal: Journal,
    summary: Summary,
    tenants: dict[str, Tenant],
    *,
    json: bool,
    markdown: bool = False,
) -> None:
    """Show what a journal is about to do."""
    from .diff import as_json, as_markdown

    if json or markdown:
        pieces = as_json if json else as_markdown
        sys.stdout.writelines(pieces(journal, summary, tenants))
        sys.stdout.flush()
    else:
        _show_changes(journal, summary, tenants, sys.stdout)
    if not json:
        _talk(f"planned in {journal.path}; next: {summary.next or 'nothing'}")


def _finish(summary: Summary, confirm: _Confirm, *, json: bool) -> NoReturn:
    """Show the books and leave with the status that they call for."""
    with _heard():
        if json:
            _print_json(summary.as_json())
        else:
            _show_books(summary, sys.stdout)
        if not confirm.called:
            _talk(f"nothing sent; journal of {summary.made}")
    raise typer.Exit(summary.exit_status)


def _show_changes(
    journal: Journal, summary: Summary, tenants: dict[str, Tenant], out: TextIO
) -> None:
    """What will be written, as far as a screen shows it."""
    from .diff import as_text

    terminal = out.isatty()
    width = os.get_terminal_size(out.fileno()).columns if terminal else None
    coloured = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    for text, tint in as_text(journal, summary, tenants, width or None):
        code = _TINTS.get(tint.value) if coloured else None
        print(f"\x1b[{code}m{text}\x1b[0m" if code else text, file=out)


def _show_causes(summary: Summary, out: TextIO) -> None:
    from .report import causes

    for line in causes(summary):
        print(f"  {line}", file=out)


def _show_books(summary: Summary, out: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(file=out, highlight=False)
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
    _show_causes(summary, out)
    if summary.undone_by:
        print(f"taken back by {summary.undone_by}", file=out)
    if summary.next:
        print(f"next: {summary.next}", file=out)


def _parse_bucket(bucket: str, refill: Refill) -> Bucket | None:
    from .buckets import BUCKETS, Bucket

    rule: Literal["drip", "window"] = "drip" if refill is Refill.DRIP else "window"
    try:
        if bucket in BUCKETS:
            named = BUCKETS[bucket]
            return replace(named, refill=rule) if named else None
        burst, rate = bucket.split(",")
        return Bucket(burst=int(burst), rate=float(rate), refill=rule)
    except ValueError as error:
        raise typer.BadParameter(
            "--bucket is free, nonprod, prod, none, or BURST,RATE such as 50,16"
        ) from error


@contextmanager
def _heard() -> Iterator[None]:
    """Whoever reads our output may go away; the work goes on, and its exit status counts."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, SystemExit):  # rich leaves by SystemExit when a pipe is broken
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)


def _screen() -> Screen:
    from .progress import Screen

    return Screen(sys.stderr)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _print_json(value: object) -> None:
    import orjson

    _print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _talk(text: str, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()


def _open_streams() -> None:
    """Started without one of the three, a socket would take its number: libuv aborts at that."""
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(lowest)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def main() -> None:
    """The program: runs a command, and tells its errors to a person."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except BulkhooksError as error:
        with _heard():
            _talk(str(error))
        sys.exit(error.exit_status)
    except OSError as error:
        with _heard():
            _talk(f"cannot write: {error.strerror}")
        with _heard():
            raise
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        _talk("this is a bug in bulkhooks; its journal can still be applied")
        sys.exit(70)


if __name__ == "__main__":
    main()
