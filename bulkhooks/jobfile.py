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
from typing import Final, TypeAlias, get_args

import orjson

from .errors import BadInput, Complaint
from .hooks import ID, NAME, Edit, HookMatch, Trigger
from .items import Fields
from .pacing import Limits
from .source import (
    Document,
    Findings,
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
_TAGS: Final = dict.fromkeys(("tags",)).keys()
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

    @property
    def sound(self) -> bool:
        """Whether the header is right; where it is not, `edits` says why."""
        return not self._header

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
    lacking = [name for name in ("tenant", "hook") if name not in cells]
    for name in lacking:
        found.add("", f"has no column `{name}`")
    return None if lacking else cells


def _csv_edit(columns: list[str], cells: list[str]) -> dict[str, object]:
    edit: dict[str, object] = {}
    fields: dict[str, object] = {}
    for name, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        if name == "enabled":
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


# ---- one edit


class _Check:
    """Checks edits one by one; all that is wrong with them goes to the findings."""

    def __init__(self, found: Findings, tenants: Mapping[str, Tenant], folder: Path) -> None:
        self._found = found
        self._tenants = tenants
        self._tags = sorted({tag for tenant in tenants.values() for tag in tenant.tags})
        self._rank = {name: rank for rank, name in enumerate(tenants)}
        self._folder = folder
        # Long jobs say the same again and again: what costs time is done once.
        self._named = lru_cache(maxsize=1000)(self._find_named)
        self._script = lru_cache(maxsize=32)(self._read_script)

    def edit(self, raw: object, line: int) -> Edit | None:
        """The edit that `raw` is; None, with complaints, if it is none."""
        found = self._found
        before = found.count
        written = found.mapping("", raw, _EDIT)
        if not written:
            return None
        tenants = self._tenants_of(written)
        match = self._match(written)
        fields = self._set(written)
        expect = self._fields("expect", written["expect"], _EXPECT) if "expect" in written else {}
        ident = found.text("id", written["id"]) if "id" in written else None
        if ident is not None and not (len(ident) <= 200 and ident.isprintable()):
            found.add("id", "must be one line of at most 200 characters")
        note = found.text("note", written["note"]) if "note" in written else None
        allow_empty = "allow_empty" in written and found.boolean(
            "allow_empty", written["allow_empty"]
        )
        if found.count != before:
            return None
        return Edit(
            digest=_digest(written),
            line=line,
            tenants=tenants,
            match=match,
            one="hook" in written,
            set=fields,
            expect=expect,
            id=ident,
            note=note,
            allow_empty=bool(allow_empty),
        )

    def _only(self, edit: Mapping[str, object], one: str, many: str) -> str | None:
        """Which of two keys is there."""
        if (one in edit) == (many in edit):
            self._found.add("", f"needs exactly one of `{one}` and `{many}`")
            return None
        return one if one in edit else many

    def _tenants_of(self, edit: Mapping[str, object]) -> tuple[str, ...]:
        key = self._only(edit, "tenant", "tenants")
        if key is None:
            return ()
        value = edit[key]
        if key == "tenant":
            name = self._found.text(key, value)
            if name is not None and name not in self._tenants and _GLOB.search(name):
                self._found.add(key, f"must be one name; for a glob write `tenants: {name}`")
                return ()
            return () if name is None else self._names(key, name)
        if isinstance(value, dict):
            return self._tagged(value)
        if not isinstance(value, list):
            name = self._found.text(key, value)
            return () if name is None else self._names(key, name)
        if not value:
            self._found.add(key, "is an empty list")
        every: set[str] = set()
        for index, item in enumerate(value):
            name = self._found.text(f"{key}[{index}]", item)
            if name is not None:
                every.update(self._names(f"{key}[{index}]", name))
        return tuple(sorted(every, key=self._rank.__getitem__))

    def _names(self, key: str, name: str) -> tuple[str, ...]:
        """The tenants of a name or glob."""
        names = self._named(name)
        if not names:
            kind = "tenant" if not _GLOB.search(name) else "tenants"
            self._found.unknown(key, kind, name, self._tenants)
        return names

    def _find_named(self, name: str) -> tuple[str, ...]:
        if name in self._tenants:
            return (name,)
        if not _GLOB.search(name):
            return ()
        return tuple(known for known in self._tenants if fnmatchcase(known, name))

    def _tagged(self, value: object) -> tuple[str, ...]:
        found = self._found
        raw = found.mapping("tenants", value, _TAGS).get("tags")
        if not isinstance(raw, list) or not raw:
            found.add("tenants.tags", "must be a list like [prod, eu]")
            return ()
        before = found.count
        tags: set[str] = set()
        for index, item in enumerate(raw):
            tag = found.text(f"tenants.tags[{index}]", item)
            if tag is not None and tag not in self._tags:
                found.unknown(f"tenants.tags[{index}]", "tag", tag, self._tags)
            elif tag is not None:
                tags.add(tag)
        names = tuple(name for name, tenant in self._tenants.items() if tenant.tags >= tags)
        if not names and found.count == before:
            found.add("tenants.tags", "no tenant has all of these tags")
        return names

    def _match(self, edit: Mapping[str, object]) -> HookMatch:
        found = self._found
        key = self._only(edit, "hook", "hooks")
        if key is None:
            return HookMatch()
        value = edit[key]
        if key == "hook" and not isinstance(value, dict):
            _hook_id(found, key, value)
            return HookMatch(id=value if isinstance(value, str) else None)
        if key == "hooks":
            return HookMatch(**self._fields(key, value, _MANY))
        raw = self._fields(key, value, _ONE)
        if raw and not ("id" in raw or "name" in raw):
            found.add(key, "needs `name` or `id`; to change every match, write `hooks`")
        return HookMatch(**raw)

    def _set(self, edit: Mapping[str, object]) -> Fields:
        found = self._found
        if "set" not in edit:
            found.add("", "says nothing to do: needs `set`")
            return {}
        fields = self._fields("set", edit["set"], _SET)
        if "script_file" not in fields:
            return fields
        written = fields.pop("script_file")
        if "script" in fields:
            found.add("set", "needs at most one of `script` and `script_file`")
        elif isinstance(written, str) and written:
            fields["script"], wrong = self._script(written)
            if wrong:
                found.add("set.script_file", f"{shown(written)} {wrong}")
        return fields

    def _fields(self, key: str, value: object, checks: Mapping[str, _FieldCheck]) -> Fields:
        """A mapping of fields, each checked."""
        fields = dict(self._found.mapping(key, value, checks.keys()))
        for name, inner in fields.items():
            checks[name](self._found, f"{key}.{name}", inner)
        return fields

    def _read_script(self, written: str) -> tuple[str, str]:
        """The text of a script file, and what is wrong with it."""
        try:
            folder = self._folder.resolve()
            path = (folder / written).resolve(strict=True)
            if not path.is_relative_to(folder):
                return "", "is outside the job file's folder"
            text = read_file(path, MAX_SCRIPT).decode()
        except UnicodeDecodeError:
            return "", "is not UTF-8"
        except FileNotFoundError:
            return "", "is not there"
        except OSError as error:
            return "", f"cannot be read: {error.strerror}"
        except (ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
            return "", str(error)
        return text, "" if text else "is empty"


def _digest(written: Mapping[str, object]) -> str:
    content = {key: value for key, value in written.items() if key not in ("id", "note")}
    return blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _hook_id(found: Findings, key: str, value: object) -> None:
    text = found.text(key, value)
    if text is not None and not ID.match(text):
        what = f"{shown(text)} is no hook id: letters, digits and hyphens"
        found.add(key, f"{what}; by name it is {{name: ...}}" if key == "hook" else what)


def _hook_name(found: Findings, key: str, value: object) -> None:
    text = found.text(key, value)
    if text is not None and not NAME.match(text):
        found.add(key, f"{shown(text)} is no hook name: {_NAME_RULE}")


def _hook_glob(found: Findings, key: str, value: object) -> None:
    text = found.text(key, value)
    if text is not None and not _HOOK_GLOB.match(text):
        found.add(key, f"{shown(text)} matches no hook name: {_NAME_RULE}")


def _trigger(found: Findings, key: str, value: object) -> None:
    text = found.text(key, value)
    if text is not None and text not in _TRIGGERS:
        found.unknown(key, "trigger", text, _TRIGGERS)


def _dependencies(found: Findings, key: str, value: object) -> None:
    if not isinstance(value, dict):
        found.add(key, f"must be a mapping of packages to versions, not {shown(value)}")
        return
    for name, version in value.items():
        at = dotted(key, name)
        if len(name) > 214 or not _PACKAGE.match(name):
            found.add(at, f"{shown(name)} is no npm package name")
        text = found.text(at, version)
        if text is not None and not (len(text) <= 200 and text.isprintable()):
            found.add(at, f"{shown(text)} is no version")


_FieldCheck: TypeAlias = Callable[[Findings, str, object], object]
_MANY: Final[Mapping[str, _FieldCheck]] = {
    "id": _hook_id,
    "name": _hook_glob,
    "triggerId": _trigger,
    "enabled": Findings.boolean,
}
_ONE: Final[Mapping[str, _FieldCheck]] = {
    "id": _hook_id,
    "name": _hook_name,
    "triggerId": _trigger,
}
_EXPECT: Final[Mapping[str, _FieldCheck]] = {
    "name": _hook_name,
    "enabled": Findings.boolean,
    "triggerId": _trigger,
    "dependencies": _dependencies,
}
_SET: Final[Mapping[str, _FieldCheck]] = {
    "name": _hook_name,
    "script": Findings.text,
    "script_file": Findings.text,
    "enabled": Findings.boolean,
    "dependencies": _dependencies,
}
