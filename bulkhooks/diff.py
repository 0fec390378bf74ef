"""What a plan tells a person, from its journal alone: what changes where, what cannot be undone,
and how long it takes. As text for a screen, as Markdown for a change ticket, and as JSON.

However large a job is, a page of its items and one group of equal changes are in memory at once.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import orjson

from . import tally
from .items import SECRET, Fields, Item, State, Step, told
from .journal import Journal
from .plan import Effort, expected, together
from .report import Summary, causes, clean, many
from .tenants import Tenant

Tenants: TypeAlias = Mapping[str, Tenant]

#: What a screen shows: different changes, lines of a diff, things that cannot be undone, tenants
#: with their times, and names in a row. What is more is counted.
_GROUPS, _LINES, _LOSSES, _TIMES, _NAMES = 20, 20, 10, 5, 3
#: Seconds from which on a tenant's time is worth a line.
_SLOW: Final = 2.0
#: Characters of a change of dependencies that one line may have; a longer one is shown as a diff.
_ROOM: Final = 100
#: Items in memory at once.
_PAGE: Final = 256
#: The order in which a hook's fields are told.
_ORDER: Final = ("name", "triggerId", "enabled", "dependencies")


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
    journal: Journal, summary: Summary, tenants: Tenants, width: int | None = None
) -> Iterator[Line]:
    """What a screen shows before the question; `width` is its columns, None: lines of any length.

    Equal changes are one group, whatever the number of tenants; the first groups are shown, the
    others counted.
    """
    _verify(journal)
    items, changes = tally.different(journal)
    yield from _heading(journal, summary, changes)
    names = _names(journal)
    shown = 0
    for group in tally.groups(journal, groups=_GROUPS, tenants=_NAMES + 1, labels=_NAMES + 1):
        shown += group.items
        yield from _group_text(group, names, width)
    if changes > _GROUPS:
        more = many(changes - _GROUPS, "more different change")
        yield Line(f"  and {more} of {many(items - shown, 'item')}; plan --markdown lists all")
    for line in causes(summary):
        yield from _wrapped(line, "  ", width, Tint.PLAIN)
    yield from _losses_text(journal)
    if items:
        yield from _times_text(expected(journal, tenants))


def as_markdown(journal: Journal, summary: Summary, tenants: Tenants) -> Iterator[str]:
    """The whole plan for a change ticket, piece by piece. What servers and files say stays text:
    it makes no markup, and leaves no code block."""
    _verify(journal)
    title, note = summary.job, journal.meta("note")
    yield f"# {_escaped(title)}\n\n"
    if note:
        yield f"Note: {_escaped(note)}\n\n"
    yield f"Planned {_escaped(summary.made)} in {_escaped(summary.journal)}.\n\n"
    books = {k: v for k, v in msgspec.structs.asdict(summary.books).items() if v or k == "planned"}
    yield _table(list(books), [books.values()])
    names = _names(journal)
    if tally.different(journal)[0]:
        yield "\n## Changes\n\n" + _table(("#", "change", "tenants", "items"), [])
        groups = tally.groups(journal, tenants=_NAMES + 1, labels=_NAMES + 1)
        for number, group in enumerate(groups, 1):
            yield _row((number, _title(group, names), _where(group, names), group.items))
        for number, group in enumerate(tally.groups(journal, labels=_PAGE), 1):
            yield f"\n### {number}. {_escaped(_title(group, names))}\n\n"
            yield from _group_markdown(group, names)
    told = list(causes(summary))
    if told:
        yield "\n## Not written\n\n" + "".join(f"- {_escaped(line.strip())}\n" for line in told)
    heading = "\n## Cannot be undone\n\n"
    for loss in _losses(journal):
        yield f"{heading}- {_escaped(str(loss))}\n"
        heading = ""
    efforts = expected(journal, tenants)
    if efforts:
        rows = [("all", together(efforts.values())), *_slowest(efforts)]
        yield "\n## Expected\n\n"
        cells = [(name, f"{one.requests:,}", _span(one.seconds)) for name, one in rows]
        yield _table(("tenant", "requests", "time"), cells)


def as_json(journal: Journal, summary: Summary, tenants: Tenants) -> Iterator[str]:
    """The whole plan as one JSON document, piece by piece: the books, what it is expected to take,
    what cannot be undone, the groups of equal changes, and every item."""
    _verify(journal)
    efforts = expected(journal, tenants)
    total = together(efforts.values())
    time = {"requests": total.requests, "seconds": round(total.seconds, 1)}
    each = {
        name: {"requests": one.requests, "seconds": round(one.seconds, 1)}
        for name, one in efforts.items()
    }
    head = summary.as_json() | {
        "note": journal.meta("note") or None,
        "expected_seconds": time["seconds"],
        "expected": time | {"tenants": each},
    }
    yield orjson.dumps(head, option=orjson.OPT_INDENT_2).decode().removesuffix("\n}")
    names = _names(journal)
    lost = (
        {"what": loss.what, "hooks": loss.hooks, "tenants": loss.tenants}
        for loss in _losses(journal)
    )
    yield from _json_list("irreversible", lost)
    groups = tally.groups(journal, labels=_PAGE)
    yield from _json_list("groups", (_group_json(group, names) for group in groups))
    yield from _json_list("items", _items_json(journal, names))
    yield "\n}\n"


def _verify(journal: Journal) -> None:
    """Raises JournalError when not all that is shown is whole."""
    journal.verify([State.PENDING], steps=True)


# ---- one group of equal changes


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one field: `says` in one line, or `brief` and `diff` where that is long."""

    key: str
    name: str
    before: Any = None
    after: Any = None
    says: str = ""
    brief: str = ""
    diff: tuple[str, ...] = ()  #: lines, the first character is the sign; not clean

    @property
    def fits(self) -> bool:
        """Whether one line tells it all, or as much as a screen should say."""
        return not self.diff or 0 < len(self.says) <= _ROOM


def _fields(item: Item) -> list[Field]:
    """What an item changes, field by field, scripts last."""
    called = _called(item)
    steps = [step for step in item.steps if not step.back]
    several = len({step.target for step in steps}) > 1
    made = {step.target for step in steps if step.kind == "create"}
    found: list[Field] = []
    for step in steps:
        if step.kind == "delete":
            found += _of_whole(step.before, gone=True)
        elif step.kind == "create" or (step.kind == "update" and step.target in made):
            found += _of_whole(step.want, gone=False)
        else:
            of = f" of {called.get(step.target, 'another hook')}" if several else ""
            found += [_changed(step, key, of) for key in step.want]
    order = {key: place for place, key in enumerate(_ORDER)}
    return sorted(found, key=lambda field: order.get(field.key, 99 + (field.key == "script")))


def _changed(step: Step, key: str, of: str) -> Field:
    before, after = step.before.get(key), step.want[key]
    if key.startswith(SECRET):
        origin = {"create_secrets": "new, from ", "update_secrets": "new value from "}.get(
            step.kind
        )
        says = f"{origin}{after}" if origin else "removed"
        name = clean(f"secret {key.removeprefix(SECRET)}")
        return Field(key=key, name=name, before=before, after=after, says=clean(says))
    if key == "script":
        diff = _unified(str(before or ""), str(after))
        plus = sum(line.startswith("+") for line in diff)
        minus = sum(line.startswith("-") for line in diff)
        brief = f"{many(plus, 'line')} added, {minus} removed"
        return Field(key=key, name=key + of, before=before, after=after, brief=brief, diff=diff)
    says = f"{_shown(before)} → {_shown(after)}"
    if key == "dependencies" and isinstance(before, dict) and isinstance(after, dict):
        return _map_changed(before, after, says)
    return Field(key=key, name=key + of, before=before, after=after, says=says)


def _map_changed(before: Fields, after: Fields, says: str) -> Field:
    gone = sorted(before.keys() - after.keys())
    diff = []
    both = before.keys() & after.keys()
    kept = sum(before[name] == after[name] for name in both)
    counts = {"new": len(after) - len(both), "changed": len(both) - kept}
    counts |= {"removed": len(gone), "kept as they are": kept}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        diff += [f"-{name} {before[name]}"] if name in before else []
        diff += [f"+{name} {after[name]}"] if name in after else []
    return Field(
        key="dependencies",
        name="dependencies (the whole map)",
        before=before,
        after=after,
        says=says + (f", removes {clean(', '.join(gone))}" if gone else ""),
        brief=", ".join(f"{count} {what}" for what, count in counts.items() if count),
        diff=tuple(diff),
    )


def _of_whole(fields: Fields, *, gone: bool) -> list[Field]:
    """The fields of a hook that is made or `gone`."""
    found = []
    secrets = sorted(key.removeprefix(SECRET) for key in fields if key.startswith(SECRET))
    for key, value in fields.items():
        if key == "name" or value == {} or key.startswith(SECRET):
            continue
        new = {"before": value} if gone else {"after": value}
        if key == "script":
            sign = "-" if gone else "+"
            lines = tuple(sign + line for line in str(value).splitlines())
            brief = many(len(lines), "line")
            says = brief if gone else ""
            found.append(Field(key=key, name=key, says=says, brief=brief, diff=lines, **new))
        else:
            found.append(Field(key=key, name=key, says=_shown(value), **new))
    if secrets:
        names = clean(", ".join(secrets))
        found.append(Field(key="secrets", name="secrets", before=secrets, says=names))
    return found


def _unified(before: str, after: str) -> tuple[str, ...]:
    """A unified diff without its file names. That both end without a line break is not told."""
    if not (before.endswith("\n") or after.endswith("\n")):
        before, after = before + "\n", after + "\n"
    found: list[str] = []
    for line in islice(difflib.unified_diff(_lines_of(before), _lines_of(after), n=3), 2, None):
        found.append(line.removesuffix("\n"))
        if not line.endswith("\n"):
            found.append("\\ No newline at end of file")
    return tuple(found)


def _lines_of(text: str) -> list[str]:
    return [line for line in re.split("(?<=\n)", text) if line]


def _shown(value: Any) -> str:
    return "none" if value is None else clean(told("", value))


def _called(item: Item) -> dict[str, str]:
    """What an item's hooks are called, by what its steps write to, as far as that is known."""
    targets = {step.target for step in item.steps}
    if len(targets) == 1:
        return dict.fromkeys(targets, item.label)
    called = {item.target or "": item.label}
    for step in item.steps:
        if name := (step.want if step.kind == "create" else step.before).get("name"):
            called[step.target] = str(name)
    return {target: clean(name) for target, name in called.items() if target in targets}


class _Deed(NamedTuple):
    """What is done, in words: `verb` alone, `verb` and `of` before a hook's name."""

    verb: str
    of: str = ""


_DEEDS: Final[dict[tuple[str, ...], _Deed]] = {
    ("name",): _Deed("rename"),
    ("script",): _Deed("change script", " of"),
    ("dependencies",): _Deed("change dependencies", " of"),
}


def _deed(item: Item) -> _Deed:
    steps = [step for step in item.steps if not step.back]
    kinds = {step.kind for step in steps}
    for kind in ("create", "delete"):
        if kind in kinds:
            return _Deed(kind)
    updates = [step for step in steps if step.kind == "update"]
    keys = {key for step in updates for key in step.want}
    secrets = kinds - {"update"}
    if not keys:
        verb = "set" if "remove_secrets" not in secrets else "change"
        return _Deed(f"{'remove' if secrets == {'remove_secrets'} else verb} secrets", " of")
    order = [*_ORDER, "script"]
    facets = tuple(sorted(keys, key=lambda key: order.index(key) if key in order else 99))
    facets += ("secrets",) if secrets else ()
    switch = _switch(item, updates)
    if switch:
        rest = [facet for facet in facets if facet != "enabled"]
        return _Deed(switch + (f" and change its {', '.join(rest)}" if rest else ""))
    if facets == ("enabled",):
        return _Deed("enable" if updates[-1].want["enabled"] else "disable")
    return _DEEDS.get(facets) or _Deed(f"change {', '.join(facets)}", " of")


def _switch(item: Item, updates: Sequence[Step]) -> str:
    """`switch TRIGGER from A to B`, where an item does that."""
    on = [step.target for step in updates if step.want.get("enabled") is True]
    off = [step.target for step in updates if step.want.get("enabled") is False]
    if not (on and off):
        return ""
    called = _called(item)
    key = next((key for key in item.keys if key.startswith("enabled:")), "")
    words = ["switch", clean(key.removeprefix("enabled:")) or "its trigger"]
    words += ["from", called[off[0]]] if off[0] in called else []
    words += ["to", called[on[0]]] if on[0] in called else []
    return " ".join(words)


def _title(group: tally.Group, names: Mapping[int, str]) -> str:
    """What a group does, to which hooks, on how many tenants: one clean line."""
    deed, item = _deed(group.example), group.example
    labels = list(group.some_labels)
    if deed.verb == "rename":
        labels = [f"{label} to {item.steps[0].want['name']}" for label in labels]
    one_each = group.labels == 1 and group.items == group.tenants
    one_tenant = group.tenants == 1
    where = names[group.some_tenants[0]] if one_tenant else many(group.tenants, "tenant")
    if deed.verb.startswith("switch ") and one_each:
        return clean(f"{deed.verb} on {where}")
    if one_each and one_tenant:
        return clean(f"{deed.verb}{deed.of} {labels[0]} on {where}")
    what = "" if one_each else f"{deed.of} {many(group.items, 'hook')}"
    return clean(f"{deed.verb}{what} on {where}: {_some(labels, group.labels)}")


def _where(group: tally.Group, names: Mapping[int, str]) -> str:
    """A few of a group's tenants, and how many more there are."""
    return clean(_some([names[row] for row in group.some_tenants], group.tenants))


def _some(names: Sequence[str], total: int) -> str:
    """A few names, and how many more there are."""
    if total <= _NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMES])}, ... and {total - _NAMES} more"


def _group_text(group: tally.Group, names: Mapping[int, str], width: int | None) -> Iterator[Line]:
    title, fields = _title(group, names), _fields(group.example)
    where = f"({_where(group, names)})" if group.tenants > 1 else ""
    if where and (width is None or len(f"  {title} {where}") <= width):
        title, where = f"{title} {where}", ""
    said = {"rename": "name", "switch": "enabled"}.get(title.split()[0])
    fields = [field for field in fields if field.key != said]
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
            yield _cut(f"        {_clean_line(line)}", width, _tint(line))
        if len(field.diff) > _LINES:
            yield Line(f"        and {many(len(field.diff) - _LINES, 'more line')}")


def _group_markdown(group: tally.Group, names: Mapping[int, str]) -> Iterator[str]:
    for field in _fields(group.example):
        if field.fits and field.key != "script":
            yield f"- {_escaped(f'{field.name}: {field.says}')}\n"
        else:
            yield f"- {_escaped(f'{field.name}: {field.brief}')}\n\n{_fenced(field.diff)}"
    yield f"\nHooks: {_escaped(_all(group.some_labels, group.labels))}\n"
    here = [names[row] for row in group.some_tenants]
    yield f"\nTenants: {_escaped(_all(here, group.tenants))}\n"


def _group_json(group: tally.Group, names: Mapping[int, str]) -> Fields:
    fields = []
    for field in _fields(group.example):
        told = {
            "field": field.key,
            "what": field.name,
            "before": field.before,
            "after": field.after,
        }
        fields.append(told | ({"diff": "\n".join(field.diff)} if field.diff else {}))
    return {
        "change": _change(group.change),
        "title": _title(group, names),
        "items": group.items,
        "hooks": group.labels,
        "names": list(group.some_labels),
        "tenants": [names[row] for row in group.some_tenants],
        "fields": fields,
    }


def _items_json(journal: Journal, names: Mapping[int, str]) -> Iterator[Fields]:
    after = 0
    while page := journal.items([State.PENDING], _PAGE, after):
        after = page[-1].id
        notes = journal.notes({item.edit for item in page})
        for item in page:
            yield {
                "tenant": names[item.tenant],
                "hook": item.target,
                "name": item.label,
                "edit": item.edit_name,
                "note": notes.get(item.edit),
                "change": _change(item.change),
                "steps": [
                    {
                        "kind": step.kind,
                        "hook": step.target,
                        "back": step.back,
                        "before": step.before,
                        "want": step.want,
                    }
                    for step in item.steps
                ],
            }


# ---- what cannot be undone, and how long it takes


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What no undo brings back, on how many hooks of how many tenants."""

    what: str
    hooks: int
    tenants: int

    def __str__(self) -> str:
        """One clean line."""
        where = f"{many(self.hooks, 'hook')} on {many(self.tenants, 'tenant')}"
        return f"{self.what}: {where}"


_LOST: Final = {
    "update_secrets": "the old value of secret {}",
    "remove_secrets": "the value of removed secret {}",
    "delete": "the value of secret {}, deleted with its hook",
}


def _losses(journal: Journal) -> Iterator[Loss]:
    for label, hooks, tenants in tally.labels(journal, "delete"):
        what = clean(f"the id of deleted hook {label}")
        yield Loss(what=what, hooks=hooks, tenants=tenants)
    for kind, key, hooks, tenants in tally.fields(journal, tuple(_LOST), SECRET):
        what = clean(_LOST[kind].format(key.removeprefix(SECRET)))
        yield Loss(what=what, hooks=hooks, tenants=tenants)


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
    yield Line(f"expected to take {_span(total.seconds)}, {many(total.requests, 'request')}")
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


def _clean_line(line: str) -> str:
    """A line of a script: tabs are spaces, and what else would steer a terminal is made visible."""
    return clean(line[:1] + line[1:].expandtabs(4))


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]!|<>~&$])", r"\\\1", clean(text))


def _fenced(lines: Iterable[str]) -> str:
    """A code block that nothing in it can end."""
    body = "".join(f"{_clean_line(line)}\n" for line in lines)
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}diff\n{body}{fence}\n"


def _table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    rule = "| --- " * len(head)
    return _row(head) + rule + "|\n" + "".join(map(_row, rows))


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(_escaped(str(cell)) for cell in cells)} |\n"


def _all(names: Sequence[str], total: int) -> str:
    more = f", and {total - len(names)} more" if total > len(names) else ""
    return ", ".join(names) + more


def _json_list(name: str, values: Iterable[Fields]) -> Iterator[str]:
    """A list as the next member of an object that has members already, an element a line."""
    yield f',\n  "{name}": ['
    comma = ""
    for value in values:
        yield f"{comma}\n    {orjson.dumps(value).decode()}"
        comma = ","
    yield "\n  ]" if comma else "]"


def _change(change: int) -> str:
    """A change's digest as JSON has it: not every reader's numbers are long enough for it."""
    return f"{change & (2**64 - 1):016x}"
