"""What a plan tells a person, from its journal alone: what changes where, what cannot be undone,
and how long it takes. As text for a screen, as Markdown for a change ticket, and as JSON.

However large a job is, a page of its items and one group of equal changes are in memory at once.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

import msgspec
import orjson

from . import changes, tally, windows
from .changes import NAMES, TEXTS
from .guards import listed
from .halting import sentences
from .items import SECRET, Fields, State, Step
from .journal import Journal
from .markup import (
    change_id,
    clean_line,
    escaped,
    fenced,
    item_fields,
    json_list,
    row,
    table,
    target,
)
from .plan import Effort, Room, expected, room, schedule, together
from .probes import READ_BACK
from .report import Summary, causes, clean, many
from .schedule import Wave
from .tenants import Tenant
from .waves import said, waves_of
from .windows import length

Tenants: TypeAlias = Mapping[str, Tenant]

#: What a screen shows: different changes, lines of a diff, things that cannot be undone, and
#: tenants with their times. What is more is counted.
_GROUPS, _LINES, _LOSSES, _TIMES = 20, 20, 10, 5
#: Seconds from which on a tenant's time is worth a line.
_SLOW: Final = 2.0
#: Names of a group that Markdown and JSON have.
_LABELS: Final = 256


class Tint(StrEnum):
    """What a line is, for whoever colours it."""

    PLAIN = "plain"
    HEAD = "head"
    PLUS = "plus"
    MINUS = "minus"
    PLACE = "place"
    ALARM = "alarm"


class Line(NamedTuple):
    """One line for a screen, without anything that steers a terminal."""

    text: str
    tint: Tint = Tint.PLAIN


def as_text(
    journal: Journal,
    summary: Summary,
    tenants: Tenants,
    width: int | None = None,
    *,
    wall: Callable[[], float] = time.time,
) -> Iterator[Line]:
    """What a screen shows before the question; `width` is its columns, None: lines of any length,
    `wall` the clock that windows are kept by.

    Equal changes are one group, whatever the number of tenants; the first groups are shown, the
    others counted.
    """
    _verify(journal)
    items, changes = tally.different(journal)
    yield from _heading(journal, summary, changes)
    yield from _ways(journal, width)
    names = _names(journal)
    shown = 0
    for group in tally.groups(journal, groups=_GROUPS, tenants=NAMES + 1, labels=NAMES + 1):
        shown += group.items
        yield from _group_text(group, names, width)
    if changes > _GROUPS:
        more = many(changes - _GROUPS, "more different change")
        yield Line(f"  and {more} of {many(items - shown, 'item')}; plan --markdown lists all")
    for line in causes(summary):
        yield from _wrapped(line, "  ", width, Tint.PLAIN)
    yield from _losses_text(journal)
    if items:
        yield from _stages_text(journal, width)
        yield from _times_text(expected(journal, tenants))
        for line in _room_lines(journal, room(journal, tenants, wall())):
            yield from _wrapped(line, "", width, Tint.PLAIN)


def as_markdown(
    journal: Journal,
    summary: Summary,
    tenants: Tenants,
    *,
    wall: Callable[[], float] = time.time,
) -> Iterator[str]:
    """The whole plan for a change ticket, piece by piece. What servers and files say stays text:
    it makes no markup, and leaves no code block."""
    _verify(journal)
    title, note = summary.job, journal.meta("note")
    yield f"# {escaped(title)}\n\n"
    if note:
        yield f"Note: {escaped(note)}\n\n"
    yield f"Planned {escaped(summary.made)} in {escaped(summary.journal)}.\n\n"
    books = {k: v for k, v in msgspec.structs.asdict(summary.books).items() if v or k == "planned"}
    yield table(list(books), [books.values()])
    names = _names(journal)
    for line in _ways(journal, None):
        yield f"\n{escaped(line.text)}\n"
    if tally.different(journal)[0]:
        yield "\n## Changes\n\n" + table(("#", "change", "tenants", "items"), [])
        groups = tally.groups(journal, tenants=NAMES + 1, labels=NAMES + 1)
        for number, group in enumerate(groups, 1):
            yield row(
                (number, changes.title(group, names), changes.where(group, names), group.items)
            )
        for number, group in enumerate(tally.groups(journal, labels=_LABELS), 1):
            yield f"\n### {number}. {escaped(changes.title(group, names))}\n\n"
            yield from _group_markdown(group, names)
    told = list(causes(summary))
    if told:
        yield "\n## Not written\n\n" + "".join(f"- {escaped(line.strip())}\n" for line in told)
    heading = "\n## Cannot be undone\n\n"
    for loss in _losses(journal):
        yield f"{heading}- {escaped(str(loss))}\n"
        heading = ""
    yield from _stages_markdown(journal)
    efforts = expected(journal, tenants)
    if efforts:
        total = together(efforts.values())
        rows = [(name, one.requests, one.seconds) for name, one in _slowest(efforts)]
        rows.insert(0, ("all", total.requests, total.ends))
        yield "\n## Expected\n\n"
        cells = [(name, f"{requests:,}", _span(seconds)) for name, requests, seconds in rows]
        yield table(("tenant", "requests", "time"), cells)
        for said in _room_lines(journal, room(journal, tenants, wall()), every=True):
            yield f"\n{escaped(said)}\n"


def as_json(
    journal: Journal,
    summary: Summary,
    tenants: Tenants,
    *,
    wall: Callable[[], float] = time.time,
) -> Iterator[str]:
    """The whole plan as one JSON document, piece by piece: the books, what it is expected to take,
    the window, what cannot be undone, the groups of equal changes, and every item."""
    _verify(journal)
    efforts = expected(journal, tenants)
    total = together(efforts.values())
    took = {"requests": total.requests, "seconds": round(total.ends, 1)}
    each = {
        name: {"requests": one.requests, "seconds": round(one.seconds, 1)}
        for name, one in efforts.items()
    }
    head = summary.as_json() | {
        "note": journal.meta("note") or None,
        "expected_seconds": took["seconds"],
        "expected": took | {"tenants": each},
        "window": _room_json(journal, room(journal, tenants, wall())),
    }
    yield orjson.dumps(head, option=orjson.OPT_INDENT_2).decode().removesuffix("\n}")
    names = _names(journal)
    lost = (
        {"what": loss.what, loss.of: loss.count, "tenants": loss.tenants}
        for loss in _losses(journal)
    )
    yield from json_list("irreversible", lost)
    yield from json_list("waves", (stage.as_json() for stage in _stages(journal)))
    groups = tally.groups(journal, labels=_LABELS)
    yield from json_list("groups", (_group_json(group, names) for group in groups))
    yield from json_list("items", _items_json(journal, names))
    yield "\n}\n"


def _verify(journal: Journal) -> None:
    """Raises JournalError when not all that is shown is whole."""
    journal.verify([State.PENDING], steps=True)


# ---- one group of equal changes


def _group_text(group: tally.Group, names: Mapping[int, str], width: int | None) -> Iterator[Line]:
    title, fields = changes.title(group, names), changes.fields(group)
    where = f"({changes.where(group, names)})" if group.tenants > 1 else ""
    if where and (width is None or len(f"  {title} {where}") <= width):
        title, where = f"{title} {where}", ""
    said = {"rename": "name", "switch": "enabled"}.get(title.split()[0])
    fields = [field for field in fields if field.key not in (said, "deployed")]
    told = [f"{field.name}: {field.says}" if field.fits else "" for field in fields]
    if group.items == 1 and len(fields) == 1 and told[0]:
        one = f"{title}, {told[0]}"
        if width is None or len(one) + 2 <= width:
            title, fields = one, []
    yield from _wrapped(title, "  ", width, Tint.HEAD)
    if where:
        yield from _wrapped(where, "      ", width, Tint.HEAD)
    for field, line in zip(fields, told, strict=False):
        if line:
            yield from _wrapped(line, "      ", width, Tint.PLAIN)
            continue
        yield Line(f"      {field.name}: {field.brief}")
        for line in field.diff[:_LINES]:
            yield _cut(f"        {clean_line(line)}", width, _tint(line))
        if len(field.diff) > _LINES:
            yield Line(f"        and {many(len(field.diff) - _LINES, 'more line')}")


def _group_markdown(group: tally.Group, names: Mapping[int, str]) -> Iterator[str]:
    for field in changes.fields(group):
        if field.fits and field.key not in TEXTS:
            yield f"- {escaped(f'{field.name}: {field.says}')}\n"
        else:
            yield f"- {escaped(f'{field.name}: {field.brief}')}\n\n{fenced(field.diff)}"
    labels = _all(group.some_labels, group.labels)
    yield f"\n{changes.kind(group).capitalize()}: {escaped(labels)}\n"
    here = [names[row] for row in group.some_tenants]
    yield f"\nTenants: {escaped(_all(here, group.tenants))}\n"


def _group_json(group: tally.Group, names: Mapping[int, str]) -> Fields:
    fields = []
    for field in changes.fields(group):
        told = {
            "field": field.key,
            "what": field.name,
            "before": field.before,
            "after": field.after,
        }
        fields.append(told | ({"diff": "\n".join(field.diff)} if field.diff else {}))
    return {
        "change": change_id(group.change),
        "title": changes.title(group, names),
        "items": group.items,
        changes.kind(group): group.labels,
        "names": list(group.some_labels),
        "tenants": [names[row] for row in group.some_tenants],
        "fields": fields,
    }


def _items_json(journal: Journal, names: Mapping[int, str]) -> Iterator[Fields]:
    for page in journal.pages([State.PENDING]):
        notes = journal.notes({item.edit for item in page})
        for item in page:
            yield {
                **item_fields(item, names[item.tenant], notes.get(item.edit)),
                "steps": [
                    {
                        "kind": step.kind,
                        **target(step.target),
                        "back": step.back,
                        "before": _before(step),
                        "want": step.want,
                    }
                    for step in item.steps
                ],
            }


def _before(step: Step) -> Fields:
    """What was there before; not the code that is deployed: that is in the step which writes it,
    or is not changed."""
    return {key: was for key, was in step.before.items() if (step.kind, key) != ("deploy", "code")}


# ---- waves, and what halts them


class _Stage(NamedTuple):
    """What is pending of one wave; of a job without waves it is all that is."""

    n: int  #: from 1; 0: there are none
    tenants: tuple[str, ...]
    items: int
    changes: int  #: different ones, where the wave has every one of the job; else 0
    says: Wave
    halts: list[str]

    def __str__(self) -> str:
        """One line of the wave, without the names of its tenants."""
        told = many(len(self.tenants), "tenant")
        if self.changes > 1 and len(self.tenants) == self.changes:
            told += f" (one for each of {self.changes:,} changes)"
        elif self.changes > 1:
            told += f" (each of {self.changes:,} changes on at least one)"
        told += f", then {length(self.says.soak)}" if self.says.soak else ""
        probe = "all is read back" if self.says.probe == READ_BACK else self.says.probe
        return clean(f"wave {self.n}: {told}{f', then {probe}' if probe else ''}")

    def as_json(self) -> Fields:
        """The wave for machines; `wave` is null where there are none."""
        return {
            "wave": self.n or None,
            "tenants": list(self.tenants),
            "items": self.items,
            "soak_seconds": self.says.soak,
            "probe": self.says.probe or None,
            "halts": self.halts,
        }


def _stages(journal: Journal) -> Iterator[_Stage]:
    """What is pending, wave by wave; nothing where neither waves nor rules that halt are given."""
    when, waves = schedule(journal), waves_of(journal)
    if not (waves or when.halt):
        return
    counts = journal.counts()
    pending = {row.name: counts[row.id][State.PENDING] for row in journal.tenants()}
    wanted = tally.wanted(journal) if waves else {}
    every = {change for mine in wanted.values() for change in mine}
    for n, wave in enumerate(waves or [tuple(pending)], 1 if waves else 0):
        names = tuple(name for name in wave if pending[name])
        items = sum(pending[name] for name in names)
        has = {change for name in names for change in wanted.get(name, ())}
        if names:
            yield _Stage(
                n=n,
                tenants=names,
                items=items,
                changes=len(every) if has == every else 0,
                says=said(when, n - 1) if n else Wave(),
                halts=sentences(when.halt, items),
            )


def _stages_text(journal: Journal, width: int | None) -> Iterator[Line]:
    stages = list(_stages(journal))
    if stages and stages[0].n:
        yield Line(f"in {many(len(stages), 'wave')}:")
    for stage in stages:
        if stage.n:
            names = f": {clean(listed(list(stage.tenants)))}" if stage is stages[0] else ""
            yield from _wrapped(f"{stage}{names}", "  ", width, Tint.PLAIN)
    for line in _halts(stages):
        yield from _wrapped(line, "", width, Tint.PLAIN)


def _stages_markdown(journal: Journal) -> Iterator[str]:
    stages = list(_stages(journal))
    if stages and stages[0].n:
        yield "\n## Waves\n\n"
        for stage in stages:
            names = ", ".join(stage.tenants)
            yield f"- {escaped(f'{stage}: {names}')}\n"
    if halts := list(_halts(stages)):
        yield "\n## Halts\n\n" + "".join(f"- {escaped(line)}\n" for line in halts)


def _halts(stages: Sequence[_Stage]) -> Iterator[str]:
    """What halts them, by waves where that differs."""
    for rules in zip(*(stage.halts for stage in stages), strict=True):
        if len({*rules}) == 1:
            yield rules[0]
            continue
        for stage, rule in zip(stages, rules, strict=True):
            yield f"wave {stage.n}: {rule}"


# ---- what cannot be undone, and how long it takes


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What no undo brings back, on how many hooks or actions of how many tenants."""

    what: str
    of: str  #: `hooks` or `actions`
    count: int
    tenants: int

    def __str__(self) -> str:
        """One clean line."""
        where = f"{many(self.count, self.of.removesuffix('s'))} on {many(self.tenants, 'tenant')}"
        return f"{self.what}: {where}"


_LOST: Final = {
    "update_secrets": "the old value of secret {name}",
    "remove_secrets": "the value of removed secret {name}",
    "delete": "the value of secret {name}, deleted with its {noun}",
}


def _losses(journal: Journal) -> Iterator[Loss]:
    for label, of, count, tenants in tally.labels(journal, "delete"):
        what = clean(f"the id of deleted {of.removesuffix('s')} {label}")
        yield Loss(what=what, of=of, count=count, tenants=tenants)
    for kind, key, of, count, tenants in tally.fields(journal, tuple(_LOST), SECRET):
        name, noun = key.removeprefix(SECRET), of.removesuffix("s")
        what = clean(_LOST[kind].format(name=name, noun=noun))
        yield Loss(what=what, of=of, count=count, tenants=tenants)
    for label, of, count, tenants in tally.labels(journal, "deploy", drafts=True):
        what = clean(f"the deployment of action {label}, where it is its first")
        yield Loss(what=what, of=of, count=count, tenants=tenants)


def _losses_text(journal: Journal) -> Iterator[Line]:
    losses = _losses(journal)
    shown = list(islice(losses, _LOSSES))
    if shown:
        yield Line("cannot be undone:", Tint.ALARM)
    for loss in shown:
        yield Line(f"  {loss}")
    more = sum(1 for _ in losses)
    if more:
        yield Line(f"  and {more} more; plan --markdown lists all")


def _times_text(efforts: Mapping[str, Effort]) -> Iterator[Line]:
    total = together(efforts.values())
    yield Line(f"expected to take {_span(total.ends)}, {many(total.requests, 'request')}")
    slow = [pair for pair in _slowest(efforts) if pair[1].seconds >= _SLOW][:_TIMES]
    if len(efforts) == 1 or not slow:
        return
    rest = [one for name, one in _slowest(efforts)[len(slow) :]]
    wide = max(len(name) for name, _ in slow)
    high = max(len(f"{one.requests:,}") for _, one in slow)
    for name, one in slow:
        yield Line(
            f"  {clean(name):<{wide}}  {one.requests:>{high},} requests  {_span(one.seconds)}"
        )
    if rest:
        requests = many(sum(one.requests for one in rest), "request")
        most = _span(max(one.seconds for one in rest))
        yield Line(f"  {many(len(rest), 'other tenant')}: {requests}, {most} each at most")


def _room_lines(journal: Journal, found: Room | None, *, every: bool = False) -> Iterator[str]:
    """Which window comes, and for which tenants it is too short; `every` one, or the worst few."""
    window = schedule(journal).window
    if window is None:
        return
    if found is None:
        yield "window: it is over, and does not come again"
        return
    is_open = found.span.end - found.span.start > found.seconds
    opens = "open now" if is_open else "nothing is written before"
    back = "; what changes is put back by its end" if found.freeze else ""
    yield f"window: {windows.told(found.span, window.timezone)}; {opens}{back}"
    long = length(found.seconds)
    left = f"what is left of it, {long}, is" if is_open else f"a window of {long} is"
    enough = f"enough{', there and back,' if found.freeze else ''} for"
    if not found.needs:
        yield f"{left} {enough} {many(found.enough, 'tenant')}"
        return
    few = [
        f"{name} (needs about {length(needs)}, {length(needs - found.seconds)} more)"
        for name, needs in islice(found.needs.items(), None if every else _TIMES)
    ]
    more = len(found.needs) - len(few)
    rest = f" and {many(more, 'other tenant')}" if more else ""
    but = f"{enough} {many(found.enough, 'tenant')}; not for" if found.enough else f"not {enough}"
    yield clean(f"{left} {but} {', '.join(few)}{rest}")


def _room_json(journal: Journal, found: Room | None) -> Fields | None:
    window = schedule(journal).window
    if window is None or found is None:
        return None
    return {
        "start": found.span.start,
        "end": found.span.end,
        "told": windows.told(found.span, window.timezone),
        "timezone": window.timezone,
        "seconds": found.seconds,
        "freeze": found.freeze,
        "enough": found.enough,
        "short": {
            name: {"needs": round(needs, 1), "lacks": round(needs - found.seconds, 1)}
            for name, needs in found.needs.items()
        },
    }


def _slowest(efforts: Mapping[str, Effort]) -> list[tuple[str, Effort]]:
    return sorted(efforts.items(), key=lambda pair: (-pair[1].seconds, -pair[1].requests))


def _span(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    if seconds < 7200:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


# ---- lines, Markdown and JSON


def _heading(journal: Journal, summary: Summary, changes: int) -> Iterator[Line]:
    books = summary.books
    count = books.pending + books.uncertain
    busy = sum(1 for one in summary.tenants.values() if one.books.pending or one.books.uncertain)
    work = f"{many(count, 'item')} to write on {many(busy, 'tenant')}"
    if 0 < changes < count:
        work += f", {many(changes, 'different change')}"
    others = ("applied", "unchanged", "skipped", "failed")
    rest = [f"{getattr(books, state):,} {state}" for state in others if getattr(books, state)]
    aside = f" ({', '.join(rest)})" if rest else ""
    yield Line(clean(f"{summary.job}: {work if count else 'nothing to write'}{aside}"))
    if note := journal.meta("note"):
        yield Line(clean(note))
    if books.uncertain:
        yield Line(f"{books.uncertain:,} of them may have been sent: they are read back first")


_WAYS: Final = (
    "overlap on {}: a hook and its action both run for a moment: a login may have effects twice",
    "gap on {}: neither a hook nor its action runs for a moment: a login has neither",
)


def _ways(journal: Journal, width: int | None) -> Iterator[Line]:
    """What moving hooks means for logins, where hooks move."""
    for way, count in zip(_WAYS, tally.moves(journal), strict=True):
        if count:
            yield from _wrapped(way.format(many(count, "hook")), "", width, Tint.ALARM)


def _names(journal: Journal) -> dict[int, str]:
    return {row.id: row.name for row in journal.tenants()}


def _wrapped(text: str, indent: str, width: int | None, tint: Tint) -> Iterator[Line]:
    if width is None:
        yield Line(indent + text, tint)
        return
    for line in textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_on_hyphens=False,
        drop_whitespace=True,
    ):
        yield Line(line, tint)


def _cut(text: str, width: int | None, tint: Tint) -> Line:
    return Line(text if width is None or len(text) <= width else f"{text[: width - 1]}…", tint)


def _tint(line: str) -> Tint:
    return {"+": Tint.PLUS, "-": Tint.MINUS, "@": Tint.PLACE}.get(line[:1], Tint.PLAIN)


def _all(names: Sequence[str], total: int) -> str:
    more = f", and {total - len(names)} more" if total > len(names) else ""
    return ", ".join(names) + more
