"""What the commands print, and how it looks.

Here, and only here, things are printed: data goes to stdout, talk and progress to stderr. As in
`cli`, what is needed is imported when it is.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from .errors import TenantError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .assess import Assessment
    from .check import Checked
    from .guards import Narrowing
    from .items import Fields
    from .journal import Journal
    from .progress import Screen
    from .report import Summary
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


# ---- the streams


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


# ---- progress


def screen(*, in_place: bool) -> Screen:
    """Where the progress of lanes is shown, on stderr."""
    from .progress import Screen

    return Screen(sys.stderr, in_place=in_place)


async def watch_tenants(left: Collection[str]) -> None:
    """Progress on stderr, until cancelled: which tenants are not done yet."""
    from .progress import count

    with heard():
        await count(sys.stderr, left)


# ---- plans and books


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
    journal: Journal,
    summary: Summary,
    tenants: Mapping[str, Tenant],
    out: TextIO | None = None,
) -> None:
    """What will be written, as far as a screen shows it: on stderr, unless `out` is given."""
    from .diff import as_text

    out = out or sys.stderr
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
    from .report import ahead, causes

    _show_freeze(summary)
    console, table, wide = _table(_WIDE)
    states = list(summary.books.__struct_fields__)
    table.add_column("tenant", no_wrap=True, overflow="ellipsis")
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


def _table(roomy: int) -> tuple[Console, Table, bool]:
    """Where a table is printed, an empty one, and whether it may be wide: on a terminal of so many
    columns, or on none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False)
    wide = not console.is_terminal or console.width >= roomy
    if not console.is_terminal:
        console.width = 200
    return console, Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)), wide


def _show_freeze(summary: Summary) -> None:
    """What is not put back, ahead of all else."""
    from .freeze import details
    from .report import clean

    if summary.freeze and summary.freeze.told:
        print_text(clean(summary.freeze.told))
        for line in details(summary.freeze):
            print_text(clean(f"  {line}"))


# ---- checks, assessments and jobs


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
    from rich.text import Text

    from . import check
    from .report import clean

    console, table, wide = _table(_WIDE_CHECKS)
    columns = check.columns(found, wide=wide)
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
        name, lost = to.stem, [key for key in head if key != "name"]
        again += " --schedule FILE" if {"window", "waves", "halt"} & {*lost} else ""
    if lost:
        talk(f"JSON Lines have no place for the job's {', '.join(lost)}: left out")
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
