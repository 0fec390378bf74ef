"""Job files as bulkhooks writes them, for `jobfile` to read: edit by edit, in bounded memory.

An edit here is a mapping as a person would write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
import yaml

from .atomic import replacing
from .errors import Refused
from .items import Edit, Fields
from .jobfile import MAX_DOCUMENT
from .pacing import Limits
from .schedule import AT_ONCE, Schedule, Wave, Window
from .source import MAX_LINE

_SUFFIXES: Final = (".yaml", ".yml", ".json", ".jsonl")


def as_written(edit: Edit, *, id: str, tenants: Sequence[str]) -> Fields:
    """A checked edit as a job file has it, named `id` and for `tenants` alone."""
    one, match = edit.match.id, msgspec.to_builtins(edit.match)
    written: Fields = {"id": id}
    written |= {"tenant": tenants[0]} if len(tenants) == 1 else {"tenants": list(tenants)}
    if not edit.create:
        alone = edit.one and match.keys() == {"id"}
        written[edit.of.removesuffix("s") if edit.one else edit.of] = one if alone else match
    acts = {
        "create": edit.create,
        "set": edit.set,
        "delete": edit.delete,
        "set_secrets": edit.set_secrets,
        "remove_secrets": list(edit.remove_secrets),
        "deploy": edit.deploy,
        "transform": edit.transform and f"{edit.transform.file}:{edit.transform.function}",
        "expect": edit.expect,
        "allow_empty": edit.allow_empty,
        "note": edit.note,
    }
    return written | {key: value for key, value in acts.items() if value}


def header(
    *,
    name: str = "",
    note: str = "",
    limits: Limits | None = None,
    schedule: Schedule = AT_ONCE,
) -> Fields:
    """What stands above the edits of a document; what is not given is left out."""
    said = limits or Limits()
    limited: Fields = {"reserve": said.reserve, "concurrency": said.concurrency}
    if isinstance(said.reserve, float):
        limited["reserve"] = _percent(said.reserve)
    if said.max_rate is not None:
        limited["max_rate"] = f"{_decimal(said.max_rate, 9)}/s"
    limited = {key: value for key, value in limited.items() if value is not None}
    head = {"name": name, "note": note, "limits": limited} | _scheduled(schedule)
    return {key: value for key, value in head.items() if value}


def _scheduled(schedule: Schedule) -> Fields:
    """A schedule as a job file has it."""
    window, rules = schedule.window, {rule.of: rule for rule in schedule.halt}
    return {
        "window": _window(window) if window else None,
        "during": "window" if schedule.freeze else "",
        "waves": [_wave(wave) for wave in schedule.waves],
        "halt": {
            of: f"{_percent(rule.share)} of wave" if rule.share else rule.count
            for of, rule in rules.items()
        },
    }


def _window(window: Window) -> Fields:
    if not window.cron:
        return {"start": window.start, "end": window.end, "timezone": window.timezone}
    # As a person wrote it: `every Sat 01:00 for 2h`, or `cron 0 1 * * 6 for 2h`.
    key, _, when = window.written.rpartition(" for ")[0].partition(" ")
    recurs = {key: when} if key in ("every", "cron") else {"cron": window.cron}
    return recurs | {"for": _duration(window.seconds), "timezone": window.timezone}


def _wave(wave: Wave) -> object:
    size = _percent(wave.share) if wave.share is not None else wave.count
    if not (wave.soak or wave.probe):
        return list(wave.tags) or size
    of: Fields = {"tags": list(wave.tags)} if wave.tags else {"tenants": size}
    of |= {"soak": _duration(wave.soak)} if wave.soak else {}
    return of | ({"probe": wave.probe} if wave.probe else {})


def job_text(head: Fields, edits: Iterable[Fields], *, json: bool = False) -> tuple[str, int]:
    """A job as one document, YAML unless `json`, and how many edits it has.

    Raises Refused when it would be longer than a document may be.
    """
    pieces: list[str] = []
    size = 0
    for piece in _pieces(head, edits, json=json):
        pieces.append(piece)
        size += len(piece.encode())
        if size > MAX_DOCUMENT:
            raise Refused(
                f"the job is longer than {MAX_DOCUMENT:,} bytes; write it with --to NAME.jsonl"
            )
    return "".join(pieces), max(0, len(pieces) - 2)


def check_target(path: Path) -> None:
    """Raises Refused when no job can be written to `path`."""
    if path.suffix.lower() not in _SUFFIXES:
        raise Refused(f"{path}: must end in {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}")
    if path.exists():
        raise Refused(f"{path} is there already; name another file, or remove it")


def save_job(path: Path, head: Fields, edits: Iterable[Fields]) -> int:
    """Write a job to `path`, whole or not at all, and tell how many edits it has.

    JSON Lines, which have no place for `head`, are written as the edits come. Without an edit
    nothing is written. Raises Refused when the job cannot be written so.
    """
    check_target(path)
    suffix, count = path.suffix.lower(), 0
    try:
        with suppress(_NoEdit), replacing(path) as file:
            if suffix == ".jsonl":
                for edit in edits:
                    file.write(_line(edit))
                    count += 1
            else:
                text, count = job_text(head, edits, json=suffix == ".json")
                file.write(text.encode())
            if not count:
                raise _NoEdit
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from error
    return count


class _NoEdit(Exception):
    """A job that is not written, for it has none."""


def _line(edit: Fields) -> bytes:
    line = orjson.dumps(edit, option=orjson.OPT_APPEND_NEWLINE)
    if len(line) > MAX_LINE:
        what = f"an edit of {edit.get('tenant') or 'several tenants'}"
        raise Refused(f"{what} is longer than a line of {MAX_LINE:,} bytes; use script_file")
    return line


def _pieces(head: Fields, edits: Iterable[Fields], *, json: bool) -> Iterator[str]:
    """The text of a document: its head, each edit, its end."""
    if not json:
        yield (_yaml(head) if head else "") + "edits:\n"
        for edit in edits:
            yield _yaml([edit])
        yield ""
        return
    text = orjson.dumps(head | {"edits": []}, option=orjson.OPT_INDENT_2).decode()
    yield text.removesuffix("[]\n}") + "["
    between = "\n"
    for edit in edits:
        inner = orjson.dumps(edit, option=orjson.OPT_INDENT_2).decode()
        yield between + "    " + inner.replace("\n", "\n    ")
        between = ",\n"
    yield "\n  ]\n}\n"


class _Dumper(yaml.SafeDumper):
    """Scripts stand as they are read by people: line under line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # What is not seen, YAML takes for a line break, or loses: only quotes of this kind escape it.
    seen = text.strip("\n") != "" and text.replace("\n", "").isprintable()
    style = '"' if not seen else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31, indent=2
    )
    return text


def _percent(share: float) -> str:
    return f"{_decimal(share * 100, 6)}%"


def _duration(seconds: float) -> str:
    text, left = "", round(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text


def _decimal(number: float, places: int) -> str:
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".")
