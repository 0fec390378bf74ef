"""Job files: what to change, where. Read line by line, checked whole, nothing guessed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import orjson

from . import kinds, schema
from .edits import EditCheck
from .errors import Complaint, Refused
from .items import Edit
from .kinds import matcher, rule
from .pacing import Limits
from .schedule import AT_ONCE, Schedule
from .schedulefile import check_put_back, check_tags, check_window, schedule_in
from .shape import Shape
from .source import (
    Findings,
    Lines,
    check_file,
    not_json,
    read_document,
    read_lines,
    refused,
    shown,
    walk_json,
)
from .tenants import Tenant, limits_in, tags_in

#: Bytes in a job that is one document, at most; a longer one is written as JSON Lines or CSV.
MAX_DOCUMENT: Final = 1_000_000

#: Edits as they are written: line, key of the edit in its document, edit. What is wrong with the
#: way they are put is added to the findings on the way.
_Rows: TypeAlias = Callable[[Findings], Iterator[tuple[int, str, object]]]

_job_name = matcher(kinds.JobName)
_JOB: Final = Shape(schema.JobFile)
#: Fields of `set` that have a column.
_SET: Final = frozenset({"enabled", "bound", "name", "script_file", "script"})
_SWITCHES: Final = ("enabled", "bound")
_TARGETS: Final = ("hook", "action")
_COLUMNS: Final = dict.fromkeys(
    ("tenant", *_TARGETS, *_SWITCHES, "name", "script_file", "script", "id", "note")
).keys()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A job as read: its header. The edits are streamed, as often as they are asked for."""

    name: str  #: makes a file name; the journal is named by it
    note: str | None
    limits: Limits
    schedule: Schedule
    #: A guard: every tenant that an edit reaches must have one of these; none given: no guard.
    only_tags: tuple[str, ...]
    path: Path | None  #: None: built in code
    folder: Path  #: where the files are that its edits name
    _lines: Lines
    _header: tuple[Complaint, ...]
    _rows: _Rows

    @property
    def sound(self) -> bool:
        """Whether the header is right; where it is not, `edits` says why."""
        return not self._header

    def scheduled(self, schedule: Schedule) -> Job:
        """The job with a schedule from elsewhere. Raises Refused when it has one of its own."""
        if self.schedule != AT_ONCE:
            where = self.path or self.name
            raise Refused(f"{where} has a schedule of its own; leave that out, or --schedule")
        return replace(self, schedule=schedule)

    def edits(self, tenants: Mapping[str, Tenant]) -> Iterator[Edit]:
        """Every edit that is right, in the job's order.

        Raises BadInput at the end, with every complaint of the whole job, header included: until
        then nothing may be done with what came. (Of more than 10,000 complaints the rest are
        counted.)
        """
        found = Findings(self.name if self.path is None else str(self.path), self._lines)
        found.take(*self._header)
        check_tags(found, self.schedule, tenants)
        check = EditCheck(found, tenants, self.folder, self.only_tags)
        empty = True
        for line, key, raw in self._rows(found):
            empty = False
            found.line, found.prefix = line, key
            if self.schedule.freeze:
                check_put_back(found, raw)
            edit = check.edit(raw, line)
            if edit is not None:
                yield edit
        if empty and not found.count:
            found.line = None
            found.add("", "has no edits")
        found.close()

    @classmethod
    def of(
        cls,
        name: str,
        edits: Iterable[Mapping[str, object]],
        *,
        note: str | None = None,
        limits: Limits | None = None,
        schedule: Schedule = AT_ONCE,
        only_tags: Iterable[str] = (),
        folder: Path | None = None,
    ) -> Job:
        """A job built in code: edits are written exactly as in a file, and copied here.

        `folder` is where the files are that edits name, the working directory unless given. What
        is wrong is raised by `edits`, with an edit's number from 1 as its line.
        """
        header = Findings(name)
        _check_job_name(header, "name", name)
        if schedule.window is not None:
            check_window(header, "window", schedule.window)
        if schedule.freeze and schedule.window is None:
            header.add("during", "needs `window` beside it")
        lines = []
        for header.line, edit in enumerate(edits, 1):
            try:
                # A copy: orjson's own bytes keep 4 kB each.
                lines.append(bytes(memoryview(orjson.dumps(dict(edit)))))
            except (TypeError, ValueError) as error:
                header.add("", f"cannot be written as JSON: {error}")
                lines.append(b"")
        return cls(
            name=name,
            note=note,
            limits=limits or Limits(),
            schedule=schedule,
            only_tags=tuple(only_tags),
            path=None,
            folder=folder or Path.cwd(),
            _lines={},
            _header=tuple(header.complaints),
            _rows=lambda found: _json_rows(_numbered(lines, found), found),
        )


def load_job(path: Path) -> Job:
    """Reads the header of a job file; the suffix tells its kind: yaml, yml, json, jsonl or csv.

    Raises BadInput where not even a header can be had; all else that is wrong, `Job.edits` raises.
    """
    match path.suffix.lower():
        case ".yaml" | ".yml" | ".json":
            return _document_job(path)
        case ".jsonl":
            return _list_job(path, lambda found: _json_rows(read_lines(path, found), found))
        case ".csv":
            return _list_job(path, lambda found: _csv_rows(path, found))
        case _:
            raise refused(str(path), None, "must end in .yaml, .yml, .json, .jsonl or .csv")


def _document_job(path: Path) -> Job:
    document = read_document(path, limit=MAX_DOCUMENT, instead="write the edits as .jsonl or .csv")
    found = Findings(document.file, document.lines)
    if not isinstance(document.value, dict):
        what = "must be a mapping with `edits`; a bare list of edits is written as .jsonl or .csv"
        found.add("", what)
        found.take(*document.complaints)
        raise found.refusal()
    found.take(*document.complaints)
    raw = _JOB.of(found, "", document.value)
    name = note = None
    if "name" in raw:
        name = _check_job_name(found, "name", raw["name"])
    else:
        _check_job_name(found, "", path.stem)
    if "note" in raw:
        note = found.text("note", raw["note"])
    only_tags: tuple[str, ...] = ()
    if "only_tags" in raw:
        only_tags = tags_in(found, "only_tags", raw["only_tags"])
        if raw["only_tags"] == []:
            found.add("only_tags", "is an empty list")
    if not isinstance(raw.get("edits", []), list):
        found.add("edits", "must be a list of edits")
    return Job(
        name=name or path.stem,
        note=note,
        limits=limits_in(found, "", raw),
        schedule=schedule_in(found, raw, path.parent),
        only_tags=only_tags,
        path=path,
        folder=path.parent,
        _lines=document.lines,
        _header=tuple(found.complaints),
        _rows=lambda found: _document_rows(raw.get("edits"), found),
    )


def _list_job(path: Path, rows: _Rows) -> Job:
    try:
        check_file(path)
    except ValueError as error:
        raise refused(str(path), None, str(error)) from None
    found = Findings(str(path))
    _check_job_name(found, "", path.stem)
    return Job(
        name=path.stem,
        note=None,
        limits=Limits(),
        schedule=AT_ONCE,
        only_tags=(),
        path=path,
        folder=path.parent,
        _lines={},
        _header=tuple(found.complaints),
        _rows=rows,
    )


def _check_job_name(found: Findings, key: str, value: object) -> str | None:
    name = found.text(key, value)
    if name is not None and not _job_name(name):
        found.add(key, f"{shown(name)} cannot name a job: must be {rule(kinds.JobName)}")
    return name


# ---- edits as they are written, out of each kind of file


def _document_rows(edits: object, found: Findings) -> Iterator[tuple[int, str, object]]:
    for index, raw in enumerate(edits if isinstance(edits, list) else ()):
        key = f"edits[{index}]"
        yield found.lines.get(key, 1), key, raw


def _json_rows(lines: Iterable[bytes], found: Findings) -> Iterator[tuple[int, str, object]]:
    for line in lines:
        try:
            raw = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line.strip():
                found.add("", not_json(error) if _is_utf8(line) else "is not UTF-8")
            continue
        if _may_repeat_a_key(line, raw):
            for key, _ in walk_json(line.decode()).twice:
                found.add(key, "is given twice")
        assert found.line is not None
        yield found.line, "", raw


def _may_repeat_a_key(line: bytes, raw: object) -> bool:
    # A parser keeps one of two equal keys. Each key has a colon, so if none of the line's colons
    # is gone, no key is; that is cheap to tell, unless a colon may be written as \u003a.
    try:
        return b"\\u" in line or line.count(b":") != orjson.dumps(raw).count(b":")
    except TypeError:  # nested too deep to be written
        return True


def _csv_rows(path: Path, found: Findings) -> Iterator[tuple[int, str, object]]:
    rows = csv.reader(_decoded(read_lines(path, found), found), strict=True)
    columns: list[str] | None = None
    last = 0
    while True:
        wrong = ""
        try:
            cells = next(rows, None)
        except csv.Error as error:
            cells, wrong = [], f"is not CSV: {error}"
        # A row may be several lines long; it goes by its first.
        first, last = last + 1, found.line or 0
        found.line = first
        if cells is None:
            return
        if wrong:
            found.add("", wrong)
        elif columns is None and cells:
            columns = _csv_columns(cells, found)
            if columns is None:
                return
        elif columns is not None and len(cells) == len(columns):
            yield first, "", _csv_edit(columns, cells)
        elif columns is not None and cells:
            found.add("", f"has {len(cells)} cells; the header has {len(columns)}")


def _csv_columns(cells: list[str], found: Findings) -> list[str] | None:
    """The names of the columns; None if rows make no sense by them."""
    if len(cells) == 1 and ";" in cells[0]:
        found.add("", "cells must be separated by commas, not semicolons")
        return None
    for index, name in enumerate(cells):
        if name not in _COLUMNS:
            found.unknown("", "column", name, _COLUMNS)
        elif name in cells[:index]:
            found.add("", f"column `{name}` is given twice")
    lacking = [names for names in (("tenant",), _TARGETS) if not {*names} & {*cells}]
    for names in lacking:
        found.add("", f"has no column `{'` or `'.join(names)}`")
    return None if lacking else cells


def _csv_edit(columns: list[str], cells: list[str]) -> dict[str, object]:
    edit: dict[str, object] = {}
    fields: dict[str, object] = {}
    for name, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        if name in _SWITCHES:
            fields[name] = {"true": True, "false": False}.get(cell.lower(), cell)
        elif name in _SET:
            fields[name] = cell
        elif name in _COLUMNS:
            edit[name] = cell
    if fields:
        edit["set"] = fields
    return edit


def _decoded(lines: Iterable[bytes], found: Findings) -> Iterator[str]:
    for line in lines:
        if not _is_utf8(line):
            found.add("", "is not UTF-8")
        yield line.decode(errors="replace")


def _numbered(lines: Iterable[bytes], found: Findings) -> Iterator[bytes]:
    for found.line, line in enumerate(lines, 1):
        yield line


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
