"""The commands of `migrate`: hooks become actions.

As in `cli`, what a command needs is imported when it runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .console import print_text, show_assessment, show_plan, talk, watch_tenants
from .desk import Desk, interactive, logged, measured, run_async, tenants_of
from .errors import Refused
from .options import (
    ContinueOption,
    FreshOption,
    HereOption,
    JsonOption,
    LogOption,
    MappingsOption,
    MarkdownOption,
    MaxChangesOption,
    MetricsOption,
    SkipOption,
    VerboseOption,
    YesOption,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from .auth0 import Log
    from .guards import Guards, Narrowing
    from .journal import Journal
    from .legacy import Sources
    from .migration import Propose, Way
    from .night import Ways
    from .report import Summary
    from .schedule import Schedule
    from .supplies import Supplies
    from .tenants import Tenant

#: Bytes of a script, at most.
_MAX_SCRIPT = 1_000_000


class Mode(StrEnum):
    """How a script becomes an action: kept inside a shim, or written anew."""

    WRAP = "wrap"
    REWRITE = "rewrite"


app = typer.Typer(
    help="Move hooks to Actions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

FromOption = Annotated[
    Path | None,
    typer.Option("--from", metavar="DIR", help="Exported files; then no hook is read."),
]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Whose DIR is.")]
SecretsOption = Annotated[
    Path | None,
    typer.Option("--secrets", metavar="FILE", help="Where the values of secrets are found."),
]
OnlyOption = Annotated[
    list[str] | None, typer.Option(metavar="WHICH", help="Just tenant NAME or tag:TAG.")
]
ModeOption = Annotated[
    Mode | None,
    typer.Option(help="Default: rewrite where the script is plain enough, else wrap."),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIGEST",
        help="Move this script although not all of it can be carried over; `all`: every one.",
    ),
]
TransformOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.py:FUNCTION",
        help="Asked for each action: a function of (hook, proposed action), to action or None.",
    ),
]
OverlapOption = Annotated[
    bool,
    typer.Option(
        "--overlap/--gap",
        help="For a moment both hook and action run, or neither does.",
    ),
]
ScheduleOption = Annotated[
    Path | None,
    typer.Option("--schedule", metavar="FILE", help="When: window, waves and halt."),
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Wait for no window and no soak: exit status 3.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    """Which hooks are meant, and where they and the values of their secrets are found."""

    tenants_file: Path
    tenants: Mapping[str, Tenant]
    narrowing: Narrowing
    folder: Path | None
    tenant: str | None
    mappings: Path | None
    secrets: Path | None

    @classmethod
    def given(
        cls,
        tenants: Path,
        folder: Path | None,
        tenant: str | None,
        mappings: Path | None,
        secrets: Path | None,
        only: list[str] | None,
        skip: list[str] | None,
    ) -> _Where:
        """Raises Refused where options do not go together, BadInput."""
        from .guards import Narrowing
        from .tenants import load_tenants

        if folder is None and (tenant is not None or mappings is not None):
            raise Refused("--tenant and --mappings are for --from")
        return cls(
            tenants_file=tenants,
            tenants=load_tenants(tenants),
            narrowing=Narrowing(only=tuple(only or ()), skip=tuple(skip or ())),
            folder=folder,
            tenant=tenant,
            mappings=mappings,
            secrets=secrets,
        )

    def supplies(self) -> Supplies:
        """Where the values of secrets are found. Raises BadInput."""
        from .supplies import NONE, Supplies

        return Supplies.load(self.secrets, self.tenants) if self.secrets else NONE

    def hooks(self, log: Log | None) -> Sources:
        """The hooks that are meant. Raises Refused."""
        from .deploy import Mappings
        from .legacy import read_hooks

        reading = read_hooks(
            self.tenants,
            narrowing=self.narrowing,
            folder=self.folder,
            tenant=self.tenant,
            mappings=Mappings.load(self.mappings) if self.mappings else None,
            watch=watch_tenants,
            log=log,
        )
        return run_async(reading)

    def tell_of_files(self, found: Collection[str]) -> None:
        """Say which tenants are left out, for the folder has no files of theirs."""
        from .guards import listed, whole_tenants
        from .report import clean

        if self.folder is None or self.tenant is not None:
            return
        wanted = whole_tenants(self.tenants, self.narrowing)
        if without := [name for name in wanted if name not in found]:
            talk(clean(f"{self.folder} has no files of {listed(without)}: left out"))

    def words(self) -> str:
        """The options that say the same."""
        given = {"--tenants": self.tenants_file, "--from": self.folder, "--tenant": self.tenant}
        given |= {"--mappings": self.mappings, "--secrets": self.secrets}
        words = [str(each) for pair in given.items() if pair[1] is not None for each in pair]
        words += [word for each in self.narrowing.only for word in ("--only", each)]
        words += [word for each in self.narrowing.skip for word in ("--skip", each)]
        return shlex.join(words)


@app.command()
def assess(
    tenants: HereOption = Path("tenants.yaml"),
    from_: FromOption = None,
    tenant: TenantOption = None,
    mappings: MappingsOption = None,
    secrets: SecretsOption = None,
    only: OnlyOption = None,
    skip: SkipOption = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="One page: scripts beside their actions."),
    ] = None,
    json: JsonOption = False,
    log_file: LogOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Look at hooks before they become actions: equal scripts once, and what stands in their way.

    Changes nothing. Exit status 1 if a tenant could not be read.
    """
    from .assess import assess_hooks
    from .deploy import Mappings
    from .page import check_page
    from .report import clean
    from .verdict import save_verdict

    where = _Where.given(tenants, from_, tenant, mappings, secrets, only, skip)
    if html is not None:
        check_page(html)
    with logged(log_file, verbose=verbose) as log:
        found = run_async(
            assess_hooks(
                where.tenants,
                narrowing=where.narrowing,
                folder=from_,
                tenant=tenant,
                mappings=Mappings.load(mappings) if mappings else None,
                supplies=where.supplies(),
                watch=watch_tenants,
                log=log,
            )
        )
    if from_ is not None:
        talk(clean(f"read from {from_} alone: what the tenants have now was not looked at"))
    where.tell_of_files(found.tenants)
    if html is not None:
        save_verdict(found, html)
    show_assessment(found, where.words(), page=html, json=json)
    raise typer.Exit(int(any(each.trouble for each in found.tenants.values())))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A hook's script.")],
    trigger: Annotated[str, typer.Option(metavar="TRIGGER", help="The trigger of the hook.")],
    mode: ModeOption = None,
) -> None:
    """Print the action's code that a hook's script becomes; no network.

    What cannot be carried over is told on stderr with its line, and makes the exit status 1.
    """
    from .convert import convert as converted
    from .convert import syntax_error
    from .convert.signatures import SIGNATURES
    from .report import clean
    from .source import read_file

    if trigger not in SIGNATURES:
        raise typer.BadParameter(f"--trigger is one of {', '.join(SIGNATURES)}")
    try:
        script = read_file(file, _MAX_SCRIPT, keep_mark=True).decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{file}: is not UTF-8") from error
    except ValueError as error:
        raise Refused(f"{file}: {error}") from error
    found = converted(script, trigger, mode=mode.value if mode else None)
    for blocker in found.blockers:
        talk(f"{file}:{blocker.line}: {clean(blocker.what)}")
    if found.mode is None:
        raise typer.Exit(1)
    print_text(found.code.rstrip("\n"))
    if wrong := syntax_error(found.code):
        talk(f"{file}: the code does not parse, {clean(wrong)}")
    raise typer.Exit(1 if found.blockers or wrong else 0)


@app.command()
def plan(
    tenants: HereOption = Path("tenants.yaml"),
    from_: FromOption = None,
    tenant: TenantOption = None,
    mappings: MappingsOption = None,
    secrets: SecretsOption = None,
    only: OnlyOption = None,
    skip: SkipOption = None,
    mode: ModeOption = None,
    allow: AllowOption = None,
    transform: TransformOption = None,
    overlap: OverlapOption = True,
    journal: Annotated[Path, typer.Option("--journal", metavar="FILE")] = Path("migrate.journal"),
    max_changes: MaxChangesOption = None,
    fresh: FreshOption = False,
    json: JsonOption = False,
    markdown: MarkdownOption = False,
    log_file: LogOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Show how each hook would become an action; sends no write.

    Each is made, given its secrets, deployed when it is built, bound where its hook ran, and read
    back; then its hook goes off. `bulkhooks apply` carries the journal out.
    """
    from .guards import Guards
    from .journal import Journal

    if json and markdown:
        raise typer.BadParameter("--json and --markdown are two answers; ask for one")
    where = _Where.given(tenants, from_, tenant, mappings, secrets, only, skip)
    way = _way("off", overlap, mode, allow, transform)
    guards = Guards(max_changes=max_changes)
    with logged(log_file, verbose=verbose) as log:
        desk = Desk(where.tenants, verbose=verbose)
        summary = _planned(where, way, journal, guards, log, desk, fresh=fresh)
    with Journal.read(journal) as kept:
        show_plan(kept, summary, where.tenants, json=json, markdown=markdown)


@app.command()
def prepare(
    tenants: HereOption = Path("tenants.yaml"),
    from_: FromOption = None,
    tenant: TenantOption = None,
    mappings: MappingsOption = None,
    secrets: SecretsOption = None,
    only: OnlyOption = None,
    skip: SkipOption = None,
    mode: ModeOption = None,
    allow: AllowOption = None,
    transform: TransformOption = None,
    journal: Annotated[Path, typer.Option("--journal", metavar="FILE")] = Path("prepare.journal"),
    max_changes: MaxChangesOption = None,
    fresh: FreshOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    log_file: LogOption = None,
    metrics_file: MetricsOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Make and deploy the actions of hooks, and bind none, so that they can be looked at: plans
    that, asks, carries it out.

    Without a terminal and without --yes it plans only. `cutover` goes on from its journal.
    """
    from .guards import Guards

    where = _Where.given(tenants, from_, tenant, mappings, secrets, only, skip)
    way = _way("deploy", True, mode, allow, transform)
    guards = Guards(max_changes=max_changes)
    with (
        measured(metrics_file, "prepare") as metrics,
        logged(log_file, verbose=verbose, metrics=metrics) as log,
    ):
        desk = Desk(where.tenants, yes=yes, verbose=verbose, metrics=metrics)
        _planned(where, way, journal, guards, log, desk, fresh=fresh)
        _carry_out(journal, desk, log, yes=yes, json=json)


@app.command()
def cutover(
    prepared: Annotated[
        Path, typer.Argument(metavar="JOURNAL", help="What `prepare` has carried out.")
    ],
    tenants: Annotated[
        Path | None,
        typer.Option("--tenants", metavar="FILE", help="Default: that of JOURNAL."),
    ] = None,
    only: OnlyOption = None,
    skip: SkipOption = None,
    overlap: OverlapOption = True,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="Default: JOURNAL with .cutover in it."),
    ] = None,
    schedule: ScheduleOption = None,
    no_wait: NoWaitOption = False,
    go_on: ContinueOption = False,
    max_changes: MaxChangesOption = None,
    fresh: FreshOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    log_file: LogOption = None,
    metrics_file: MetricsOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Bind the actions that `prepare` has made, as they are now, and switch their hooks off: plans
    that, asks, carries it out.

    Without a terminal and without --yes it plans only.
    """
    from .guards import Guards, Narrowing, whole_tenants
    from .journal import Journal
    from .migration import prepared_moves
    from .night import Ways
    from .run import plan_moves

    known = tenants_of(prepared, tenants)
    new = journal or prepared.with_name(f"{prepared.stem}.cutover{prepared.suffix}")
    when = _when(schedule, known, new.parent)
    narrowing = Narrowing(only=tuple(only or ()), skip=tuple(skip or ()))
    chosen = whole_tenants(known, narrowing)
    with (
        measured(metrics_file, "cutover") as metrics,
        logged(log_file, verbose=verbose, metrics=metrics) as log,
        Journal.read(prepared) as done,
    ):
        desk = Desk(known, yes=yes, verbose=verbose, metrics=metrics)
        way = prepared_moves(done, chosen, overlap=overlap)
        _tell_of_the_rest(done, known)
        run_async(
            plan_moves(
                *(way, known, new),
                name="cutover",
                prepared=done,
                tenants_file=tenants,
                fresh=fresh,
                narrowing=narrowing if only or skip else None,
                guards=Guards(max_changes=max_changes),
                schedule=when,
                watch=desk.watch,
                tell=talk,
                log=log,
            )
        )
        ways = Ways(wait=not no_wait, go_on=go_on, ask=desk.ask)
        _carry_out(new, desk, log, ways=ways, yes=yes, json=json)


def _when(file: Path | None, tenants: Mapping[str, Tenant], folder: Path) -> Schedule:
    """When a cutover is to be, whose journal is in `folder`. Raises Refused where it would be put
    back."""
    from .schedule import AT_ONCE
    from .schedulefile import load_schedule

    if file is None:
        return AT_ONCE
    schedule = load_schedule(file, tenants, folder)
    if schedule.freeze:
        raise Refused(f"{file}: `during` is for jobs that are put back, a cutover is to stay")
    return schedule


def _tell_of_the_rest(prepared: Journal, tenants: Collection[str]) -> None:
    """Say what of a preparation is not cut over: what came to nothing, and whose tenants are not
    known any more."""
    from .guards import listed
    from .report import clean, many, summary

    books = summary(prepared).books
    if left := books.planned - books.applied - books.unchanged:
        where = f"bulkhooks status {shlex.quote(str(prepared.path))}"
        talk(clean(f"left out, for it was not prepared: {many(left, 'item')}; why: {where}"))
    if gone := [row.name for row in prepared.tenants() if row.name not in tenants]:
        talk(clean(f"left out, for the tenants file has no such tenants: {listed(gone)}"))


# ---- what the three have in common


def _way(
    until: Literal["deploy", "off"],
    overlap: bool,
    mode: Mode | None,
    allow: list[str] | None,
    transform: str | None,
) -> Way:
    from .migration import Way

    return Way(
        until=until,
        overlap=overlap,
        mode=mode.value if mode else None,
        allowed=frozenset(allow or ()),
        propose=_proposing(transform) if transform else None,
    )


def _proposing(written: str) -> Propose:
    """What asks a person's own function. Raises Refused where there is none."""
    from .migration import proposing
    from .transform import Transforms, find

    file, colon, function = written.rpartition(":")
    path = Path(file if colon else written)
    try:
        name = f"{path.name}:{function}" if colon else path.name
        transform = find(name, path.parent, arguments=2)
    except ValueError as error:
        raise Refused(f"--transform {written}: {error}") from error
    return proposing(Transforms(path.parent, talk), transform)


def _planned(
    where: _Where,
    way: Way,
    journal: Path,
    guards: Guards,
    log: Log | None,
    desk: Desk,
    *,
    fresh: bool,
) -> Summary:
    """Plan to move the hooks that are meant, as a journal."""
    from .migration import moves
    from .run import plan_moves

    supplies = where.supplies()
    found = where.hooks(log)
    where.tell_of_files(found)
    planning = plan_moves(
        *(moves(found, supplies, way), where.tenants, journal),
        name="prepare" if way.until == "deploy" else "migrate",
        tenants_file=where.tenants_file,
        fresh=fresh,
        narrowing=where.narrowing,
        guards=guards,
        watch=desk.watch,
        log=log,
    )
    return run_async(planning)


def _carry_out(
    journal: Path,
    desk: Desk,
    log: Log | None,
    *,
    ways: Ways | None = None,
    yes: bool,
    json: bool,
) -> None:
    """Apply a plan where somebody says so, or show it."""
    from .journal import Journal
    from .report import summary

    if yes or interactive():
        raise typer.Exit(desk.apply(journal, log, ways=ways, json=json))
    with Journal.read(journal) as kept:
        show_plan(kept, summary(kept), desk.tenants, json=json)
