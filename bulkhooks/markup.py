"""Pieces of Markdown and of JSON, in which what servers and files say stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import orjson

from .actions import PREFIX
from .items import Fields, Item
from .report import clean
from .steps import of_action


def clean_line(line: str) -> str:
    """A line of a script: tabs are spaces, and what else would steer a terminal is made visible."""
    return clean(line[:1] + line[1:].expandtabs(4))


def escaped(text: str) -> str:
    """Text that makes no markup in Markdown."""
    return re.sub(r"([\\`*_\[\]!|<>~&$])", r"\\\1", clean(text))


def fenced(lines: Iterable[str]) -> str:
    """A code block that nothing in it can end."""
    body = "".join(f"{clean_line(line)}\n" for line in lines)
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}diff\n{body}{fence}\n"


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table, escaped."""
    rule = "| --- " * len(head)
    return row(head) + rule + "|\n" + "".join(map(row, rows))


def row(cells: Iterable[object]) -> str:
    """One more row of a table."""
    return f"| {' | '.join(escaped(str(cell)) for cell in cells)} |\n"


def json_list(name: str, values: Iterable[Fields]) -> Iterator[str]:
    """A list as the next member of an object that has members already, an element a line."""
    yield f',\n  "{name}": ['
    comma = ""
    for value in values:
        yield f"{comma}\n    {orjson.dumps(value).decode()}"
        comma = ","
    yield "\n  ]" if comma else "]"


def change_id(change: int) -> str:
    """A change's digest as JSON has it: not every reader's numbers are long enough for it."""
    return f"{change & (2**64 - 1):016x}"


def item_fields(item: Item, tenant: str, note: str | None) -> Fields:
    """What an item is for and what it changes, as JSON tells it; `note` is its edit's."""
    return {
        "tenant": tenant,
        **target(item.target),
        "name": item.label,
        "edit": item.edit_name,
        "note": note,
        "change": change_id(item.change) if item.change else None,
    }


def target(id: str | None) -> dict[str, str | None]:
    """What something is, and its id as the API has it."""
    if id is None or not of_action(id):
        return {"hook": id}
    return {"action": id.replace(PREFIX, "", 1)}
