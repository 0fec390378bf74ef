"""The commands of `migrate`: hooks become actions.

As in `cli`, what a command needs is imported when it runs.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import logged, run_async, show_assessment, talk, watch_tenants
from .errors import Refused

if TYPE_CHECKING:
    from collections.abc import Collection

    from .assess import Assessment

app = typer.Typer(
    help="Move hooks to Actions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def assess(
    tenants: Annotated[
        Path,
        typer.Option("--tenants", metavar="FILE", help="Default: tenants.yaml in this folder."),
    ] = Path("tenants.yaml"),
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Exported files; then no tenant is read."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Whose DIR is.")
    ] = None,
    mappings: Annotated[
        Path | None,
        typer.Option("--mappings", metavar="FILE", help="JSON: what ##KEY## and @@KEY@@ are."),
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option("--secrets", metavar="FILE", help="Where the values of secrets are found."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="WHICH", help="Just tenant NAME or tag:TAG.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="WHICH", help="All but these; named as for --only.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="One page: scripts beside their actions."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Append a line of JSON for every request."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell every request on stderr.")
    ] = False,
) -> None:
    """Look at hooks before they become actions: equal scripts once, and what stands in their way.

    Changes nothing. Exit status 1 if a tenant could not be read.
    """
    from .assess import assess_hooks
    from .deploy import Mappings
    from .guards import Narrowing, whole_tenants
    from .supplies import NONE, Supplies
    from .tenants import load_tenants
    from .verdict import check_page, save_page

    if from_ is None and (tenant is not None or mappings is not None):
        raise Refused("--tenant and --mappings are for --from")
    if html is not None:
        check_page(html)
    known = load_tenants(tenants)
    narrowing = Narrowing(only=tuple(only or ()), skip=tuple(skip or ()))
    with logged(log_file, verbose=verbose) as log:
        found = run_async(
            assess_hooks(
                known,
                narrowing=narrowing,
                folder=from_,
                tenant=tenant,
                mappings=Mappings.load(mappings) if mappings else None,
                supplies=Supplies.load(secrets, known) if secrets else NONE,
                watch=watch_tenants,
                log=log,
            )
        )
    if from_ is not None:
        _tell_of_files(from_, found, {} if tenant else whole_tenants(known, narrowing))
    if html is not None:
        save_page(found, html)
    given = {"--tenants": tenants, "--from": from_, "--tenant": tenant, "--mappings": mappings}
    given |= {"--secrets": secrets}
    words = [str(each) for pair in given.items() if pair[1] is not None for each in pair]
    words += [word for each in narrowing.only for word in ("--only", each)]
    words += [word for each in narrowing.skip for word in ("--skip", each)]
    show_assessment(found, shlex.join(words), page=html, json=json)
    raise typer.Exit(int(any(each.trouble for each in found.tenants.values())))


def _tell_of_files(folder: Path, found: Assessment, wanted: Collection[str]) -> None:
    """Say what is not known where hooks are read from files."""
    from .guards import listed
    from .report import clean

    talk(clean(f"read from {folder} alone: what the tenants have now was not looked at"))
    if without := [name for name in wanted if name not in found.tenants]:
        talk(clean(f"{folder} has no files of {listed(without)}: left out"))
