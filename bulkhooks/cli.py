"""The commands, their options and their exit statuses.

What they share is in `desk` and `console`. What a command needs is imported when it runs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import migrate_commands
from .console import (
    give_job,
    heard,
    open_streams,
    print_json,
    print_pieces,
    print_text,
    show_books,
    show_checks,
    show_plan,
    talk,
    told,
    watch_tenants,
)
from .desk import (
    Desk,
    Work,
    interactive,
    job_of,
    logged,
    measured,
    run_async,
    tenants_of,
)
from .errors import BulkhooksError, Refused, TenantError
from .options import (
    ContinueOption,
    FreshOption,
    HereOption,
    JobArgument,
    JournalArgument,
    JournalOption,
    JsonOption,
    LogOption,
    MappingsOption,
    MarkdownOption,
    MaxChangesOption,
    MaxDeletesOption,
    MaxPerTenantOption,
    MetricsOption,
    NoWaitOption,
    OnlyOption,
    ScheduleOption,
    SkipOption,
    TenantsOption,
    VerboseOption,
    YesOption,
)
from .sandbox_command import sandbox
from .secrecy import tell_bugs, where

if TYPE_CHECKING:
    from .auth0 import Log
    from .guards import Guards, Narrowing
    from .items import State
    from .report import Summary
    from .tenants import Tenant
    from .transfer import Exported


class Written(StrEnum):
    """The files that people write."""

    JOB = "job"
    TENANTS = "tenants"
    SECRETS = "secrets"
    SCHEDULE = "schedule"


class Steered(StrEnum):
    """What a job that runs is told from another terminal."""

    STATUS = "status"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    SET = "set"
    SKIP_TENANT = "skip-tenant"


app = typer.Typer(
    help="Bulk updates of Auth0 hooks across many tenants: planned, paced, journaled, resumable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(migrate_commands.app, name="migrate")


@app.command()
def validate(
    job: JobArgument,
    tenants: TenantsOption = None,
    schedule: ScheduleOption = None,
    json: JsonOption = False,
) -> None:
    """Check a job and its tenants; no network."""
    from .guards import check_to_come
    from .report import many

    work = Work.read(job, tenants, schedule)
    edits = sum(1 for _ in work.job.edits(work.tenants))
    check_to_come(work.job.schedule, time.time())
    if json:
        print_json({"job": work.job.name, "edits": edits, "tenants": len(work.tenants)})
    else:
        print_text(f"{job}: {many(edits, 'edit')}, nothing wrong")


@app.command()
def check(
    job: Annotated[
        Path | None,
        typer.Argument(metavar="JOB", help="Only tenants that it reaches, and what it needs."),
    ] = None,
    tenants: Annotated[
        Path | None,
        typer.Option(
            "--tenants", metavar="FILE", help="Default: tenants.yaml beside the job, or here."
        ),
    ] = None,
    only: OnlyOption = None,
    skip: SkipOption = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="See whether hooks are read-only: sends each tenant a PATCH of `name` for an id "
            "that no hook has, which changes nothing.",
        ),
    ] = False,
    json: JsonOption = False,
    log_file: LogOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Look at every tenant before the work: token, scopes, hooks, limit, clock; changes nothing.

    Exit status 2 if one of them cannot be used, or cannot do what the job asks of it.
    """
    from .check import check_tenants
    from .guards import Narrowing
    from .tenants import load_tenants

    narrowing = Narrowing(only=tuple(only or ()), skip=tuple(skip or ()))
    work = Work.read(job, tenants) if job else None
    known = work.tenants if work else load_tenants(tenants or Path("tenants.yaml"))
    with logged(log_file, verbose=verbose) as log:
        found = run_async(
            check_tenants(
                *(known, work.job if work else None),
                narrowing=narrowing,
                probe=probe,
                watch=watch_tenants,
                log=log,
            )
        )
    show_checks(found, json=json)
    raise typer.Exit(0 if all(each.ready for each in found.values()) else 2)


@app.command()
def plan(
    job: JobArgument,
    tenants: TenantsOption = None,
    journal: JournalOption = None,
    schedule: ScheduleOption = None,
    only: OnlyOption = None,
    skip: SkipOption = None,
    max_changes: MaxChangesOption = None,
    max_per_tenant: MaxPerTenantOption = None,
    max_deletes: MaxDeletesOption = 0,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
    fresh: FreshOption = False,
    log_file: LogOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Show what would change; sends no write.

    Reads the live state of every tenant, and writes a journal of items for `apply`.
    """
    from .journal import Journal
    from .run import plan_job

    if json and markdown:
        raise typer.BadParameter("--json and --markdown are two answers; ask for one")
    guards, narrowing = _limited(only, skip, max_changes, max_per_tenant, max_deletes)
    work = Work.read(job, tenants, schedule)
    path = journal or Path(f"{work.job.name}.journal")
    with logged(log_file, verbose=verbose) as log:
        summary = run_async(
            plan_job(
                *(work.job, work.tenants, path),
                tenants_file=work.tenants_file,
                fresh=fresh,
                narrowing=narrowing,
                guards=guards,
                watch=Desk(work.tenants, verbose=verbose).watch,
                tell=talk,
                log=log,
            )
        )
    with Journal.read(Path(summary.journal)) as kept:
        show_plan(kept, summary, work.tenants, json=json, markdown=markdown)


@app.command()
def apply(
    journal: JournalArgument,
    tenants: TenantsOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="Take the failed ones too.")] = False,
    replan: Annotated[
        bool, typer.Option("--replan", help="Plan what drifted again, from how it is now.")
    ] = False,
    no_wait: NoWaitOption = False,
    go_on: ContinueOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    log_file: LogOption = None,
    metrics_file: MetricsOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Carry out what is pending in a journal, or put back what a freeze has left.

    Run again, it goes on where it was, whatever ended it.
    """
    from .night import Ways

    known = tenants_of(journal, tenants)
    with (
        measured(metrics_file, job_of(journal)) as metrics,
        logged(log_file, verbose=verbose, metrics=metrics) as log,
    ):
        desk = Desk(known, yes=yes, verbose=verbose, metrics=metrics)
        ways = Ways(wait=not no_wait, go_on=go_on, ask=desk.ask)
        status = desk.apply(journal, log, failed=failed, replan=replan, ways=ways, json=json)
    raise typer.Exit(status)


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
    log_file: LogOption = None,
    metrics_file: MetricsOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Take back what a journal wrote: plans the way back as a new journal, asks, applies it.

    Without a terminal and without --yes it plans only.
    """
    from .guards import Guards
    from .journal import Journal
    from .run import undo_journal

    known = tenants_of(journal, tenants)
    new = to or journal.with_name(f"{journal.stem}.undo{journal.suffix}")
    guards = Guards(max_deletes=max_deletes)
    with (
        measured(metrics_file, job_of(journal)) as metrics,
        logged(log_file, verbose=verbose, metrics=metrics) as log,
    ):
        desk = Desk(known, yes=yes, verbose=verbose, metrics=metrics)
        planning = undo_journal(journal, known, new, guards=guards, watch=desk.watch, log=log)
        summary = run_async(planning)
        new = Path(summary.journal)
        if yes or interactive():
            raise typer.Exit(desk.apply(new, log, json=json))
    with Journal.read(new) as kept:
        show_plan(kept, summary, known, json=json)


@app.command()
def run(
    job: JobArgument,
    tenants: TenantsOption = None,
    journal: JournalOption = None,
    yes: YesOption = False,
    fresh: FreshOption = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Against pretend tenants inside this process.")
    ] = False,
    schedule: ScheduleOption = None,
    no_wait: NoWaitOption = False,
    go_on: ContinueOption = False,
    only: OnlyOption = None,
    skip: SkipOption = None,
    max_changes: MaxChangesOption = None,
    max_per_tenant: MaxPerTenantOption = None,
    max_deletes: MaxDeletesOption = 0,
    json: JsonOption = False,
    log_file: LogOption = None,
    metrics_file: MetricsOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Plan, ask, apply: in the job's windows, wave by wave; a freeze is put back at the end.

    With a journal of the same job there already, it goes on with that: run again, whatever ended
    it, it does what is left.
    """
    from .night import Ways
    from .run import run_job

    guards, narrowing = _limited(only, skip, max_changes, max_per_tenant, max_deletes)
    work = Work.read(job, tenants, schedule)
    name = f"{work.job.name}.sandbox.journal" if sandbox else f"{work.job.name}.journal"
    path = journal or Path(name)
    there: AbstractAsyncContextManager[Mapping[str, Tenant]] = nullcontext(work.tenants)
    if sandbox:
        from .rehearsal import pretended

        there = pretended(work.job, work.tenants)

    async def ran(desk: Desk, log: Log | None) -> Summary:
        async with there as known:
            return await run_job(
                *(work.job, known, path),
                tenants_file=work.tenants_file,
                fresh=fresh,
                sandbox=sandbox,
                narrowing=narrowing,
                guards=guards,
                ways=Ways(wait=not no_wait, go_on=go_on, ask=desk.ask),
                watch=desk.watch,
                confirm=desk.confirm,
                tell=talk,
                log=log,
            )

    with (
        measured(metrics_file, work.job.name) as metrics,
        logged(log_file, verbose=verbose, metrics=metrics) as log,
    ):
        desk = Desk(work.tenants, yes=yes or sandbox, verbose=verbose, metrics=metrics)
        status = desk.finish(run_async(ran(desk, log)), json=json)
    raise typer.Exit(status)


@app.command()
def status(journal: JournalArgument, json: JsonOption = False) -> None:
    """The books of a journal, and what to type next."""
    from .report import read_books

    show_books(read_books(journal), json=json)


@app.command()
def control(
    journal: JournalArgument,
    order: Annotated[
        Steered,
        typer.Argument(metavar="ORDER", help="What it is to do."),
    ],
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHAT",
            help="To set: max_rate=RATE, reserve=PART, as in `limits:`; to skip: the tenant.",
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="NAME", help="Set it on this one; default: on all."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Steer the run, apply or undo that works on a journal now, from another terminal.

    `stop` is as Ctrl-C there: said twice, it waits for nothing.
    """
    import msgspec

    from .control import ask, order_of

    reply = ask(journal, order_of(order.value, given or (), tenant or ""))
    if json:
        print_json(msgspec.to_builtins(reply))
    else:
        print_text(reply.said)


@app.command()
def report(
    journal: JournalArgument,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="One page that needs nothing else."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Short, for the change ticket.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A line for every item.")] = False,
    json: Annotated[bool, typer.Option("--json", help="All of it, machine-readable.")] = False,
) -> None:
    """Tell what became of a journal: books, causes, changes, and how it went over time."""
    from . import account
    from .journal import Journal

    if (html is not None) + markdown + csv + json != 1:
        raise typer.BadParameter("name one of --html FILE, --markdown, --csv and --json")
    with Journal.read(journal) as kept:
        if html is not None:
            account.save_account(kept, html)
            return talk(f"written to {html}")
        told = account.as_markdown if markdown else account.as_csv if csv else account.as_json
        print_pieces(told(kept))


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
    log_file: LogOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Write every tenant's hooks and actions as files of auth0-deploy-cli; sends no write."""
    from .guards import Narrowing, whole_tenants
    from .report import many
    from .tenants import load_tenants
    from .transfer import export_trees

    narrowing = Narrowing(only=tuple(only or ()), skip=tuple(skip or ()))
    known = whole_tenants(load_tenants(tenants), narrowing)
    with logged(log_file, verbose=verbose) as log:
        ended = run_async(export_trees(known, to, yaml=yaml, log=log))
    done = told(
        ended,
        lambda each: (
            *(
                f"hook {hook}, imported by auth0-deploy-cli, {why}"
                for hook, why in each.changes.items()
            ),
            *each.remarks,
        ),
    )
    told({name: each.left_out for name, each in done.items() if each.left_out}, lambda _: ())
    hooks = sum(each.hooks for each in done.values())
    actions = sum(each.actions for each in done.values())
    if json:
        print_json({"folder": str(to), "tenants": {k: _exported(v) for k, v in ended.items()}})
    else:
        what = f"{many(hooks, 'hook')} and {many(actions, 'action')}"
        print_text(f"{what} of {many(len(done), 'tenant')} in {to}")
    whole = sum(each.whole for each in done.values())
    raise typer.Exit(int(whole < len(ended)))


@app.command()
def job_from(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A folder of auth0-deploy-cli, or a journal.")
    ],
    tenants: HereOption = Path("tenants.yaml"),
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Whose the folder is.")
    ] = None,
    mappings: MappingsOption = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Of a journal: failed,skipped,uncertain,pending or some."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Default: to stdout, as YAML.")
    ] = None,
    json: JsonOption = False,
    log_file: LogOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Make a job out of exported files (what differs), or out of a journal (what is left)."""
    from .deploy import Mappings
    from .jobwriter import check_target
    from .tenants import load_tenants
    from .transfer import compare_trees, left_of

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
            return give_job(left.head, left.edits, to, narrowing=left.narrowing, json=json)
    with logged(log_file, verbose=verbose) as log:
        compared = run_async(
            compare_trees(
                *(source, load_tenants(tenants)),
                tenant=tenant,
                mappings=Mappings.load(mappings) if mappings else None,
                job_folder=to.parent if to else None,
                log=log,
            )
        )
    done = told(compared, lambda each: each.remarks)
    told({name: each.left_out for name, each in done.items() if each.left_out}, lambda _: ())
    give_job({}, (edit for each in done.values() for edit in each.edits), to, json=json)
    whole = [each for each in done.values() if each.left_out is None]
    raise typer.Exit(int(len(whole) < len(compared)))


app.command()(sandbox)


@app.command()
def schema(
    file: Annotated[
        Written, typer.Argument(metavar="job|tenants|secrets|schedule", help="The kind of file.")
    ],
) -> None:
    """The JSON Schema of the files that people write, by which editors complete and check."""
    from .schema import JobFile, ScheduleFile, SecretsFile, TenantsFile, json_schema

    match file:
        case Written.JOB:
            print_json(json_schema(JobFile))
        case Written.TENANTS:
            print_json(json_schema(TenantsFile))
        case Written.SECRETS:
            print_json(json_schema(SecretsFile))
        case Written.SCHEDULE:
            print_json(json_schema(ScheduleFile))


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


def _states(status: str | None) -> list[State]:
    from .transfer import LEFT

    known = {state.value: state for state in LEFT}
    try:
        return [known[word.strip()] for word in (status or ",".join(known)).split(",")]
    except KeyError as error:
        raise typer.BadParameter(f"--status is one or more of {','.join(known)}") from error


def _exported(ended: Exported | TenantError) -> dict[str, Any]:
    if isinstance(ended, TenantError):
        return {"cause": ended.cause, "hint": ended.hint}
    left_out = ended.left_out
    return {
        "hooks": ended.hooks,
        "actions": ended.actions,
        "secrets": ended.secrets,
        "changed_by_import": ended.changes,
        "remarks": list(ended.remarks),
        "left_out": left_out and {"cause": left_out.cause, "hint": left_out.hint},
    }


def _tell_bug(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody may listen any more, and the work goes on
        talk(text, end="")


def main() -> None:
    """The program: runs a command, and tells its errors to a person."""
    open_streams()
    os.umask(0o077)  # scripts that are exported may hold what a journal may
    tell_bugs(_tell_bug)
    try:
        app()
    except BulkhooksError as error:
        with heard():
            talk(str(error))
        sys.exit(error.exit_status)
    except OSError as error:
        with heard():
            talk(f"cannot write: {error.strerror}")
        with heard():
            raise
        sys.exit(1)
    except KeyboardInterrupt:
        with heard():
            talk("stopped")
        sys.exit(130)
    except (Exception, BaseExceptionGroup) as error:
        talk(where(error), end="")
        talk("this is a bug in bulkhooks; its journal can still be applied")
        talk("what was at hand is left out above: it may hold a secret")
        sys.exit(70)


if __name__ == "__main__":
    main()
