"""Job files: what to change, where. Read line by line, checked whole, nothing guessed."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

import orjson

from .errors import BadInput, Complaint
from .hooks import ID, NAME, Edit, HookMatch, Trigger
from .pacing import Limits
from .source import (
    Document,
    Findings,
    Plain,
    dotted,
    not_json,
    read_document,
    read_file,
    read_lines,
    refused,
    shown,
    walk_json,
)
from .tenants import Tenant, limits_in

#: Bytes in a job that is one document, at most; a longer one is written as JSON Lines or CSV.
MAX_DOCUMENT: Final = 1_000_000
#: Bytes in a hook's script, at most. Auth0 documents no limit for hooks; for Actions it is 100 kB.
MAX_SCRIPT: Final = 1_000_000

#: Edits as they are written: line, key of the edit in its document, edit. What is wrong with the
#: way they are put is added to the findings on the way.
_Rows: TypeAlias = Callable[[Findings], Iterator[tuple[int, str, object]]]

_JOB_NAME: Final = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}\Z")
#: npm's rule for package names; names from before the rule may have capitals.
_PACKAGE: Final = re.compile(r"(@[A-Za-z0-9~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~-]*\Z")
_GLOB: Final = re.compile(r"[*?\[]")
#: What a glob can hold and still match a hook's name.
_HOOK_GLOB: Final = re.compile(r"[a-zA-Z0-9 \-*?\[\]!]+\Z")
_NAME_RULE: Final = "letters, digits, spaces and hyphens, a letter or digit first and last"
_TRIGGERS: Final[tuple[str, ...]] = get_args(Trigger)

_JOB: Final = dict.fromkeys(("name", "note", "edits", "limits")).keys()
_EDIT: Final = dict.fromkeys(
    ("tenant", "tenants", "hook", "hooks", "set", "expect", "id", "note", "allow_empty")
).keys()
_ONE: Final = dict.fromkeys(("id", "name", "triggerId")).keys()
_COLUMNS: Final = dict.fromkeys(
    ("tenant", "hook", "enabled", "name", "script_file", "script", "id", "note")
).keys()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A job as read: its header. The edits are streamed, as often as they are asked for."""

    name: str  #: makes a file name; the journal is named by it
    note: str | None
    limits: Limits
    path: Path | None  #: None: built in code
    _folder: Path
    _header: tuple[Complaint, ...]
    _rows: _Rows

    def edits(self, tenants: Mapping[str, Tenant]) -> Iterator[Edit]:
        """Every edit that is right, in the job's order.

        Raises BadInput at the end, with every complaint of the whole job, header included: until
        then nothing may be done with what came. (Of more than 10,000 complaints the rest are
        counted.)
        """
        found = Findings(self.name if self.path is None else str(self.path))
        found.take(*self._header)
        check = _Check(found, tenants, self._folder)
        empty = True
        for line, key, raw in self._rows(found):
            empty = False
            found.line, found.prefix = line, key
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
        folder: Path | None = None,
    ) -> Job:
        """A job built in code: edits are written exactly as in a file, and copied here.

        `folder` is where script files are, the working directory unless given. What is wrong is
        raised by `edits`, with an edit's number from 1 as its line.
        """
        header = Findings(name)
        _check_job_name(header, "name", name)
        lines = [_packed(edit) for edit in edits]
        return cls(
            name=name,
            note=note,
            limits=limits or Limits(),
            path=None,
            _folder=folder or Path.cwd(),
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
    document = read_document(path, limit=MAX_DOCUMENT)
    found = Findings(document.file, document.lines)
    found.take(*document.complaints)
    if not isinstance(document.value, dict):
        what = "must be a mapping with `edits`; a bare list of edits is written as .jsonl or .csv"
        raise BadInput([*document.complaints, *refused(document.file, 1, what).complaints])
    raw = found.mapping("", document.value, _JOB)
    name = note = None
    if "name" in raw:
        name = _check_job_name(found, "name", raw["name"])
    else:
        _check_job_name(found, "", path.stem)
    if "note" in raw:
        note = found.text("note", raw["note"])
    if not isinstance(raw.get("edits"), list):
        found.add("edits", "must be a list of edits")
    return Job(
        name=name or path.stem,
        note=note,
        limits=limits_in(found, "", raw),
        path=path,
        _folder=path.parent,
        _header=tuple(found.complaints),
        _rows=lambda found: _document_rows(document, raw.get("edits"), found),
    )


def _list_job(path: Path, rows: _Rows) -> Job:
    if not path.is_file():
        raise refused(str(path), None, "is not a file" if path.exists() else "is not there")
    found = Findings(str(path))
    _check_job_name(found, "", path.stem)
    return Job(
        name=path.stem,
        note=None,
        limits=Limits(),
        path=path,
        _folder=path.parent,
        _header=tuple(found.complaints),
        _rows=rows,
    )


def _check_job_name(found: Findings, key: str, value: object) -> str | None:
    name = found.text(key, value)
    if name is not None and not _JOB_NAME.match(name):
        rule = "letters, digits, `.`, `_` and `-`, 100 at most, no dot first"
        found.add(key, f"{shown(name)} cannot name a job: must be {rule}")
    return name


# ---- edits as they are written, out of each kind of file


def _document_rows(
    document: Document, edits: object, found: Findings
) -> Iterator[tuple[int, str, object]]:
    found.lines = document.lines
    for index, raw in enumerate(edits if isinstance(edits, list) else ()):
        key = f"edits[{index}]"
        yield document.lines.get(key, 1), key, raw


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
    while True:
        # A row may have several lines; it is named by its first.
        line = (found.line or 0) + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            found.line, found.prefix, last = line, "", found.line
            found.add("", f"is not CSV: {error}")
            found.line = last
            continue
        last = found.line
        if cells is None:
            return
        found.line, found.prefix = line, ""
        if columns is None and cells:
            columns = _csv_columns(cells, found)
            if columns is None:
                return
        elif columns is not None and len(cells) == len(columns):
            yield line, "", _csv_edit(columns, cells)
        elif columns is not None and cells:
            found.add("", f"has {len(cells)} cells; the header has {len(columns)}")
        found.line = last


def _csv_columns(cells: list[str], found: Findings) -> list[str] | None:
    """The names of the columns; None if rows cannot be told by them."""
    if len(cells) == 1 and ";" in cells[0]:
        found.add("", "cells must be separated by commas, not semicolons")
        return None
    bad = found.count
    for index, name in enumerate(cells):
        if name not in _COLUMNS:
            found.unknown("", "column", name, _COLUMNS)
        elif name in cells[:index]:
            found.add("", f"column `{name}` is given twice")
    for name in ("tenant", "hook"):
        if name not in cells:
            found.add("", f"has no column `{name}`")
    return cells if "tenant" in cells or found.count == bad else None


def _csv_edit(columns: list[str], cells: list[str]) -> dict[str, object]:
    edit: dict[str, object] = {}
    fields: dict[str, object] = {}
    for name, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        if name == "enabled":
            fields[name] = {"true": True, "false": False}.get(cell.lower(), cell)
        elif name in _FIELDS:
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


def _packed(edit: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(dict(edit))
    except (TypeError, ValueError) as error:
        # Stands for the edit, so that it is complained of with its number.
        return b"? " + str(error).encode(errors="replace")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
