"""The account of a job when it is done, or as far as it is: from its journal alone, as a page for
whoever looks in the morning, as Markdown for a ticket, as CSV and as JSON.

However large a job is, a page of its items is in memory at once. What servers and files say stays
text in each of them.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec
import orjson

from . import changes, freeze, tally
from .chart import TENANTS, draw
from .guards import listed
from .items import Fields, Item, State
from .journal import Event, Journal
from .markup import change_id, clean_line, escaped, fenced, item_fields, json_list, table, target
from .page import check_page, save_page
from .plan import foreign_tenants_file, schedule
from .report import (
    Books,
    Summary,
    TenantBooks,
    causes,
    clean,
    many,
    summary,
)
from .waves import waves_of
from .windows import length

#: What a page shows: items, different changes, lines of a diff, names in a row.
_ITEMS, _CHANGES, _LINES, _NAMES = 20_000, 100, 400, 300
#: The same of Markdown.
_CHANGES_TOLD, _TENANTS_TOLD, _LINES_TOLD = 20, 50, 60
#: States that somebody has to look at first.
_TROUBLE: Final = (State.FAILED, State.UNCERTAIN, State.SKIPPED, State.PENDING)
_WELL: Final = (State.APPLIED, State.UNCHANGED)
#: What items in a state did, as a heading; in this order.
_DID: Final = {
    State.APPLIED: "What was changed",
    State.UNCERTAIN: "What may have been changed",
    State.PENDING: "What is still to be changed",
}
_COLUMNS: Final = (
    *("tenant", "wave", "of", "id", "name", "state", "cause", "hint", "edit", "note"),
    *("change", "steps", "sent_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All of it in a sentence."""

    says: str
    shade: Literal["good", "open", "alarm"]


@dataclass(frozen=True, slots=True)
class Command:
    """A command to type, and what it is for."""

    what: str
    words: str


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened, in words."""

    at: str
    kind: str
    says: str


def save_account(journal: Journal, path: Path) -> None:
    """Write the account as one page of HTML that needs nothing else, whole or not at all.

    Raises Refused when it cannot be written; JournalError.
    """
    check_page(path)
    journal.check()
    found, zone = summary(journal), ZoneInfo(freeze.timezone(journal))
    rows = _Rows(journal, zone)
    save_page(
        path,
        "account.html",
        scripted="account.js",
        books=found,
        states=[(state, getattr(found.books, state)) for state in _states(found.books)],
        verdict=verdict(journal, found),
        alarms=list(alarms(found)),
        facts=list(_facts(journal, found, zone)),
        commands=list(commands(journal, found)),
        headings=[(state, _DID[state]) for state in _DID if getattr(found.books, state)],
        groups=rows.groups,
        tenants=_by_tenant(found),
        waves=waves_by_tenant(journal),
        charts=draw(journal, zone, freeze.span_of(journal)),
        charted=TENANTS,
        zone=str(zone),
        events=list(told(journal, zone)),
        rows=rows,
        many=many,
        clean=clean,
        span=length,
        listed=_listed,
    )


def verdict(journal: Journal, found: Summary) -> Verdict:
    """How a job stands, in a sentence."""
    books = found.books
    done, rest = books.applied + books.unchanged, _told_states(books, _TROUBLE)
    if not journal.meta("planned"):
        return Verdict(says="Its plan was not finished; nothing was sent", shade="open")
    if not books.planned:
        return Verdict(says="There was nothing to do", shade="good")
    if books.pending == books.planned and journal.untouched():
        return Verdict(says=f"Planned: {many(books.planned, 'item')}, nothing sent", shade="open")
    if done == books.planned:
        return _all_done(journal, found, done)
    bad = books.failed or books.uncertain
    says = f"{done:,} of {many(books.planned, 'item')} done; {rest}"
    return Verdict(says=says, shade="alarm" if bad else "open")


def _all_done(journal: Journal, found: Summary, done: int) -> Verdict:
    """That nothing is left, of a job or of a put-back."""
    one, frozen, unchanged = done == 1, found.freeze, found.books.unchanged
    what = "The one item" if one else f"All {done:,} items"
    are, were = ("is", "was") if one else ("are", "were")
    if journal.meta("puts_back"):
        return Verdict(says=f"{what} {are} put back", shade="good")
    kept = f", {unchanged:,} of them already" if unchanged else ""
    if frozen and frozen.told and frozen.wholly_back:
        then = "; what it changed is put back"
        return Verdict(says=f"{what} {were} as the job wanted{kept}{then}", shade="good")
    open_ = frozen and not frozen.wholly_back
    return Verdict(says=f"{what} {are} as the job wants{kept}", shade="alarm" if open_ else "good")


def alarms(found: Summary) -> Iterator[str]:
    """What somebody has to know before anything else: clean lines."""
    if found.freeze and not found.freeze.wholly_back:
        yield clean(found.freeze.told)
        yield from map(clean, freeze.details(found.freeze))
    if found.halted:
        yield clean(f"Halted: {found.halted}; it goes on when somebody has looked at it")


def commands(journal: Journal, found: Summary) -> Iterator[Command]:
    """The commands that one may want to type next."""
    path = str(journal.path)
    if found.next:
        what = "Take up what failed" if " --failed" in found.next else "Go on with what is left"
        what = "Go on, when somebody has looked at why it halted" if found.halted else what
        what = "See what became of it" if found.next.startswith("bulkhooks status") else what
        yield Command(what, found.next)
    kept = journal.meta("sandbox") or journal.meta("puts_back") or found.undone_by
    if not (kept or journal.untouched()):
        foreign = foreign_tenants_file(journal)
        words = ["bulkhooks", "undo", path, *(["--tenants", foreign] if foreign else [])]
        yield Command("Take back what was written", shlex.join(words))
    yield Command("The same as a table", shlex.join(["bulkhooks", "report", path, "--csv"]))


def waves_by_tenant(journal: Journal) -> dict[str, int]:
    """The wave that each tenant is in, from 1, by its name; none where there are no waves."""
    return {name: n for n, names in enumerate(waves_of(journal), 1) for name in names}


# ---- the page


class _Rows:
    """What a page lists: groups of changes, and items that name their group."""

    def __init__(self, journal: Journal, zone: tzinfo) -> None:
        self._journal, self._zone = journal, zone
        self._names = {row.id: row.name for row in journal.tenants()}
        self._places: dict[tuple[str, int], int] = {}
        self.shown = 0  #: items, once they were listed

    def groups(self, state: State) -> Iterator[Fields]:
        """The changes of items in a state, the most frequent first."""
        found = tally.groups(
            self._journal, state, groups=_CHANGES, tenants=_NAMES + 1, labels=_NAMES + 1
        )
        for group in found:
            place = self._places[state, group.change] = len(self._places) + 1
            yield {
                "place": place,
                "title": changes.title(group, self._names),
                "size": group.items,
                "fields": changes.fields(group) if group.example.steps else [],
                "kind": changes.kind(group),
                "labels": _cut([clean(label) for label in group.some_labels], group.labels),
                "tenants": _cut([self._names[row] for row in group.some_tenants], group.tenants),
                "spread": group.tenants,
            }

    def more(self, state: State) -> str:
        """What is not shown of the changes of a state; "" if all are."""
        items, different = tally.different(self._journal, state)
        more = different - _CHANGES
        return f"and {many(more, 'more different change')} of {items:,} items" if more > 0 else ""

    def lines(self, diff: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Lines of a diff, and what each is."""
        kinds = {"+": "plus", "-": "minus", "@": "place"}
        for line in diff[:_LINES]:
            yield kinds.get(line[:1], "same"), clean_line(line)
        if len(diff) > _LINES:
            yield "place", f"and {many(len(diff) - _LINES, 'more line')}"

    def __iter__(self) -> Iterator[list[object]]:
        """Items, those first that somebody has to look at, as the page's script reads them."""
        every = (item for states in (_TROUBLE, _WELL) for item in _items(self._journal, states))
        for item in islice(every, _ITEMS):
            self.shown += 1
            outcome, sent = item.outcome, _sent_at(item)
            yield [
                outcome.state.value,
                clean(self._names[item.tenant]),
                clean(item.label),
                clean(outcome.cause),
                clean(item.edit_name),
                "" if sent is None else _stamp(sent, self._zone),
                self._places.get((outcome.state, item.change), 0),
            ]


def _by_tenant(found: Summary) -> tuple[list[tuple[str, TenantBooks]], ...]:
    """Tenants on which something is not done, and the others."""
    every = [(clean(name), each) for name, each in found.tenants.items()]
    troubled = [pair for pair in every if not _is_well(pair[1].books)]
    troubled.sort(key=lambda pair: (-pair[1].books.failed, -pair[1].books.uncertain, pair[0]))
    return troubled, [pair for pair in every if _is_well(pair[1].books)]


def _is_well(books: Books) -> bool:
    return books.applied + books.unchanged == books.planned


def _facts(journal: Journal, found: Summary, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """What stands under the title."""
    if note := journal.meta("note"):
        yield "note", clean(note)
    yield "journal", clean(f"{found.journal} (format {journal.FORMAT})")
    yield "planned", clean(f"{_of_iso(found.made, zone)}, {zone}")
    times = sorted(event.at for event in journal.events())
    if times:
        yield "carried out", f"{_clock(times[0], zone)} to {_clock(times[-1], zone)}, {zone}"
    requests = sum(each.requests for each in found.tenants.values())
    refused = sum(each.throttled for each in found.tenants.values())
    sent = f"{many(requests, 'request')} to {many(len(found.tenants), 'tenant')}"
    yield "sent", sent + f", {refused:,} answered 429"
    if journal.meta("sandbox"):
        yield "sandbox", "pretend tenants: nothing of this happened on a real one"
    if found.freeze and found.freeze.wholly_back and found.freeze.told:
        yield "freeze", clean("; ".join((found.freeze.told, *found.freeze.places)))
    if found.undoes:
        yield "takes back", clean(found.undoes)
    if found.undone_by:
        yield "taken back by", clean(found.undone_by)


# ---- what happened


def told(journal: Journal, zone: tzinfo) -> Iterator[Told]:
    """What happened to the job as a whole, in words."""
    for event in journal.events():
        yield Told(_clock(event.at, zone), clean(event.kind), clean(_says(event, zone)))


#: What happened, with what is known of it: the first of these for which enough is.
_SAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "apply": ("work began",),
    "end": ("work ended",),
    "window": ("the window opened, until {end}",),
    "closed": ("the window closed",),
    "waves": ("the job got other waves",),
    "wave": ("wave {n} began: {tenants}",),
    "wave-done": ("wave {n} is done: {verdict}",),
    "soak": ("waiting {seconds} after wave {n}",),
    "probe": ("the probe of wave {n} said {verdict}: {command}",),
    "halt": ("halted: {why}",),
    "stop": ("stopped",),
    "pause": ("paused",),
    "resume": ("resumed",),
    "skip": ("{tenant} is left out from here on",),
    "putback": ("putting back: {why}", "put back, but for {left}", "putting back"),
    "place": ("{told}",),
    "clock": ("the clock of {tenant} is {ahead} this host's",),
}


def _says(event: Event, zone: tzinfo) -> str:
    what = {key: _shown(key, value, zone) for key, value in event.what.items() if value is not None}
    for words in _SAYS.get(event.kind, ()):
        try:
            line = words.format(**what)
        except (KeyError, IndexError):
            continue
        said = "" if "{told}" in words else what.get("told", "")
        return f"{line} ({said})" if said else line
    pairs = " ".join(f"{key}={value}" for key, value in what.items())
    return f"{event.kind} {pairs}".strip()


def _shown(key: str, value: object, zone: tzinfo) -> str:
    if key == "tenants" and isinstance(value, list):
        return f"{many(len(value), 'tenant')}, {listed([str(each) for each in value])}"
    if key == "tenants" and isinstance(value, int):
        return many(value, "tenant")
    if key in ("start", "end") and isinstance(value, int | float):
        return _clock(value, zone)
    if key == "seconds" and isinstance(value, int | float):
        return length(value)
    if key == "ahead" and isinstance(value, int | float):
        return f"{length(abs(value))} {'behind' if value < 0 else 'ahead of'}"
    if key == "left" and isinstance(value, int):
        return many(value, "item")
    return str(value)


# ---- for a ticket, a table, a program


def as_markdown(journal: Journal) -> Iterator[str]:
    """The account for a ticket: short, with what is not well in full."""
    journal.check()
    found, zone = summary(journal), ZoneInfo(freeze.timezone(journal))
    yield f"# {escaped(found.job)}\n\n"
    for line in alarms(found):
        yield f"> {escaped(line)}\n\n"
    yield f"**{escaped(verdict(journal, found).says)}**\n\n"
    for what, says in _facts(journal, found, zone):
        yield f"- {escaped(what)}: {escaped(says)}\n"
    books = {state: count for state, count in msgspec.structs.asdict(found.books).items() if count}
    yield "\n" + table(list(books), [books.values()])
    if lines := list(causes(found)):
        yield "\n## Why\n\n" + "".join(map(_bullet, lines))
    names = {row.id: row.name for row in journal.tenants()}
    for state, heading in _DID.items():
        yield from _changes_markdown(journal, state, heading, names)
    if troubled := _by_tenant(found)[0]:
        yield "\n## Tenants with something left\n\n"
        yield table(("tenant", *books, "requests", "429s"), _tenant_rows(troubled, books))
        if len(troubled) > _TENANTS_TOLD:
            more = many(len(troubled) - _TENANTS_TOLD, "more tenant")
            yield f"\nand {more}: `--csv` has all\n"
    yield "\n## Commands\n\n"
    for command in commands(journal, found):
        yield f"{escaped(command.what)}:\n\n    {clean(command.words)}\n\n"


def _bullet(line: str) -> str:
    """A line of the causes; a hint is below its cause."""
    return f"{'  ' if line.startswith(' ') else ''}- {escaped(line.strip())}\n"


def _changes_markdown(
    journal: Journal, state: State, heading: str, names: Mapping[int, str]
) -> Iterator[str]:
    most = changes.NAMES + 1
    found = tally.groups(journal, state, groups=_CHANGES_TOLD, tenants=most, labels=most)
    for number, group in enumerate(found):
        yield f"\n## {heading}\n\n" if not number else ""
        where = f" ({changes.where(group, names)})" if group.tenants > 1 else ""
        yield f"- {escaped(changes.title(group, names) + where)}\n"
        for field in changes.fields(group) if group.example.steps else []:
            if field.fits:
                yield f"  - {escaped(f'{field.name}: {field.says}')}\n"
            else:
                diff = fenced(field.diff[:_LINES_TOLD]).replace("\n", "\n    ").rstrip(" ")
                yield f"  - {escaped(f'{field.name}: {field.brief}')}\n\n    {diff}\n"
    different = tally.different(journal, state)[1]
    if different > _CHANGES_TOLD:
        yield f"- and {many(different - _CHANGES_TOLD, 'more different change')}\n"


def _tenant_rows(
    tenants: Iterable[tuple[str, TenantBooks]], states: Iterable[str]
) -> Iterator[list[object]]:
    for name, each in islice(tenants, _TENANTS_TOLD):
        counts = [getattr(each.books, state) for state in states]
        yield [name, *counts, each.requests, each.throttled]


def as_csv(journal: Journal) -> Iterator[str]:
    """A line for every item, with their names above. No cell is a formula to a spreadsheet."""
    journal.check()
    names = {row.id: row.name for row in journal.tenants()}
    waves = waves_by_tenant(journal)
    writer = csv.DictWriter(_Lines(), _COLUMNS, lineterminator="\n")
    yield str(writer.writeheader())
    for page in journal.pages(State):
        notes = journal.notes({item.edit for item in page})
        for item in page:
            kind, id = next(iter(target(item.target).items()))
            row = {
                "tenant": names[item.tenant],
                "wave": str(waves.get(names[item.tenant], "")),
                "of": kind,
                "id": id or "",
                "name": item.label,
                "state": item.outcome.state.value,
                "cause": item.outcome.cause,
                "hint": item.outcome.hint,
                "edit": item.edit_name,
                "note": notes.get(item.edit, ""),
                "change": change_id(item.change) if item.change else "",
                "steps": str(len(item.steps)),
                "sent_at": _iso(_sent_at(item)),
            }
            yield str(writer.writerow({key: _harmless(cell) for key, cell in row.items()}))


class _Lines:
    """A file that hands over each line as it is written."""

    def write(self, text: str) -> str:
        """The line itself: a writer answers what its file answers."""
        return text


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet takes for text, and not for a formula."""
    cell = clean(cell)
    return f"'{cell}" if cell[:1] in tuple("=+-@") else cell


def as_json(journal: Journal) -> Iterator[str]:
    """All of it as one JSON document, piece by piece: the books, what happened, what changed,
    every item, and the timeline."""
    journal.check()
    found = summary(journal)
    said = verdict(journal, found)
    head = found.as_json() | {
        "note": journal.meta("note") or None,
        "made": found.made,
        "format": journal.FORMAT,
        "sandbox": bool(journal.meta("sandbox")),
        "verdict": said.says,
        "alarms": list(alarms(found)),
        "commands": {each.what: each.words for each in commands(journal, found)},
        "schedule": msgspec.to_builtins(schedule(journal)),
        "waves": [list(names) for names in waves_of(journal)],
    }
    yield orjson.dumps(head, option=orjson.OPT_INDENT_2).decode().removesuffix("\n}")
    names = {row.id: row.name for row in journal.tenants()}
    yield from json_list("events", ({**event._asdict()} for event in journal.events()))
    yield from json_list("items", _items_json(journal, names))
    samples = (each._asdict() | {"tenant": names[each.tenant]} for each in journal.timeline())
    yield from json_list("timeline", samples)
    yield "\n}\n"


def _items_json(journal: Journal, names: Mapping[int, str]) -> Iterator[Fields]:
    for page in journal.pages(State):
        notes = journal.notes({item.edit for item in page})
        for item in page:
            yield {
                **item_fields(item, names[item.tenant], notes.get(item.edit)),
                "state": item.outcome.state.value,
                "cause": item.outcome.cause,
                "hint": item.outcome.hint,
                "steps": [
                    {
                        "kind": step.kind,
                        **target(step.target),
                        "back": step.back,
                        "before": step.before,
                        "want": step.want,
                        "state": step.state,
                        "sent_at": step.sent_at,
                        "after": step.after,
                    }
                    for step in item.steps
                ],
            }


# ---- items, states, times


def _items(journal: Journal, states: Iterable[State]) -> Iterator[Item]:
    for page in journal.pages(states):
        yield from page


def _states(books: Books) -> list[str]:
    return [state for state in books.__struct_fields__ if state != "planned"]


def _told_states(books: Books, states: Iterable[State]) -> str:
    counts = [(state.value, getattr(books, state)) for state in states]
    return ", ".join(f"{count:,} {state}" for state, count in counts if count)


def _sent_at(item: Item) -> float | None:
    """When its first write went out."""
    return min((step.sent_at for step in item.steps if step.sent_at), default=None)


def _iso(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _of_iso(text: str, zone: tzinfo) -> str:
    try:
        return _clock(datetime.fromisoformat(text).timestamp(), zone)
    except ValueError:
        return text


def _clock(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%a %Y-%m-%d %H:%M:%S")


def _stamp(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def _cut(names: list[str], total: int) -> str:
    shown = ", ".join(names[:_NAMES])
    return shown + (f", and {total - _NAMES:,} more" if total > _NAMES else "")


def _listed(names: tuple[str, ...]) -> str:
    return clean(_cut(list(names), len(names)))
