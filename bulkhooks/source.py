"""What people write, as values that know their lines.

YAML and JSON documents, lines of a long file, and the gathering of all that is wrong with them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from stat import S_ISREG
from typing import Final, Literal, TypeAlias

import orjson
import yaml

from .errors import BadInput, Complaint

#: Where every key and list item of a document stands: dotted key -> line from 1.
Lines: TypeAlias = dict[str, int]

#: Bytes in a line of a long file, at most.
MAX_LINE: Final = 1_000_000
#: Complaints that are kept; the rest are counted, for memory must not grow with the mistakes.
MAX_COMPLAINTS: Final = 10_000

_BOM: Final = b"\xef\xbb\xbf"
#: Levels of a YAML document. What people write for us has six.
_MAX_DEPTH: Final = 30
#: Levels whose lines are kept, how much of a name goes into a dotted key (a secret's may have 128
#: characters), and how many lines are kept: together they keep a document made to be hard from
#: filling the memory with its own keys.
_KEPT_DEPTH: Final = 8
_KEPT_NAME: Final = 130
_KEPT_LINES: Final = 500_000
#: Characters of a value in a message, and of a name for which suggestions are searched, at most.
_SHOWN: Final = 60
#: Suggestions are searched for the first complaints only: a thousand names take milliseconds.
_MAX_SUGGESTIONS: Final = 100

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
_JSON_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:\n]|[^\s{}\[\],:"]+', re.DOTALL)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE: Final = frozenset({"true", "yes", "on", "y"})


@dataclass(frozen=True, slots=True)
class Plain:
    """Something without quotes that YAML does not read as text: `1.10`, `yes`, `2024-05-01`."""

    text: str
    kind: Literal["number", "truth value", "date"]
    value: int | float | None = None  #: of a number written as JSON would write it


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A YAML or JSON document: its value, its lines, and what is wrong with the way it is put."""

    file: str
    value: object
    lines: Lines
    complaints: tuple[Complaint, ...]


class Findings:
    """Gathers what is wrong with one file. Keys given to it are relative to `prefix`."""

    def __init__(self, file: str, lines: Lines | None = None) -> None:
        self.file = file
        self.lines: Lines = {} if lines is None else lines
        self.line: int | None = None  #: of a key that `lines` does not have
        self.prefix = ""
        self.count = 0
        self.complaints: list[Complaint] = []

    def add(self, key: str, what: str) -> None:
        """Notes that `what` is wrong at `key`."""
        full = f"{self.prefix}.{key}" if self.prefix and key else self.prefix or key
        self.take(Complaint(file=self.file, line=self._line(full), key=_clean(full), what=what))

    def take(self, *complaints: Complaint) -> None:
        """Takes complaints over as they are."""
        self.count += len(complaints)
        self.complaints.extend(complaints[: max(0, MAX_COMPLAINTS - len(self.complaints))])

    def close(self) -> None:
        """Raises BadInput if anything was found, in the order of lines."""
        if self.count:
            raise self.refusal()

    def refusal(self) -> BadInput:
        """The error for what was found, in the order of lines."""
        every = sorted(self.complaints, key=lambda complaint: complaint.line or 0)
        if self.count > len(every):
            what = f"{self.count - len(every)} more complaints; correct these first"
            every.append(Complaint(file=self.file, line=None, key="", what=what))
        return BadInput(every)

    def mapping(self, key: str, value: object, known: Set[str]) -> dict[str, object]:
        """The known keys of the mapping that `value` is; none, with a complaint, if it is none."""
        if not isinstance(value, dict):
            self.add(key, f"must be a mapping, not {shown(value)}")
            return {}
        if not value:
            self.add(key, f"is empty; the keys are {_listed(known)}")
        if value.keys() <= known:
            return value
        for name in value:
            if name not in known:
                self.unknown(dotted(key, name), "key", name, known)
        return {name: inner for name, inner in value.items() if name in known}

    def text(self, key: str, value: object) -> str | None:
        """The text that `value` is, at least one character; else None, with a complaint."""
        if isinstance(value, str) and value:
            return value
        if isinstance(value, Plain):
            quoted = f'write it in quotes, "{_clean(value.text)}"'
            self.add(key, f"YAML reads this as a {value.kind}; {quoted}")
        else:
            self.add(key, f"must be text, not {shown(value)}")
        return None

    def boolean(self, key: str, value: object) -> bool | None:
        """The truth value that `value` is; else None, with a complaint."""
        if isinstance(value, bool):
            return value
        word = value.text if isinstance(value, Plain) else value
        what = f"must be true or false, not {shown(value)}"
        if isinstance(value, Plain) and value.kind == "truth value":
            what += f"; write {'true' if value.text.lower() in _TRUE else 'false'}"
        elif isinstance(word, str) and word.lower() in ("true", "false"):
            what = f"must be {word.lower()} without quotes"
        self.add(key, what)
        return None

    def unknown(self, key: str, kind: str, name: str, known: Collection[str]) -> None:
        """Notes that `name` is not among `known`, and the nearest that is."""
        near: list[str] = []
        if self.count < _MAX_SUGGESTIONS and len(name) <= _SHOWN:
            near = get_close_matches(name, known, 1)
        what = f"unknown {kind} {shown(name)}"
        if near:
            what += f"; did you mean {shown(near[0])}?"
        elif 0 < len(known) <= 12:
            what += f"; known are {_listed(known)}"
        self.add(key, what)

    def _line(self, full: str) -> int | None:
        while full and full not in self.lines:
            full = full[: max(full.rfind("."), full.rfind("["), 0)]
        return self.lines.get(full, self.line)


def dotted(key: str, name: str) -> str:
    """The key of `name` in the mapping at `key`; of a name that is very long, its beginning."""
    name = name[:_KEPT_NAME]
    return f"{key}.{name}" if key and name else key or name


def shown(value: object) -> str:
    """A value in a message: short, on one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = value.text if isinstance(value, Plain) else str(value)
    return f"`{_clean(text[:_SHOWN])}{'...' if len(text) > _SHOWN else ''}`"


def number(value: object) -> int | float | None:
    """The number that `value` is, if it is one."""
    value = value.value if isinstance(value, Plain) else value
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_document(path: Path, *, limit: int, instead: str = "") -> Document:
    """Reads a YAML or JSON document of at most `limit` bytes, by suffix.

    Raises BadInput where it cannot be read, is longer (then with what to do `instead`), is not
    UTF-8 or has no value.
    """
    text = read_text(path, limit=limit, instead=instead)
    return document_in(text, str(path), json=path.suffix.lower() == ".json")


def read_text(path: Path, *, limit: int, instead: str = "") -> str:
    """The text of a file of at most `limit` bytes. Raises BadInput where it cannot be had."""
    data = _read(path, limit, instead)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refused(str(path), line, "is not UTF-8") from None


def document_in(text: str, file: str, *, json: bool) -> Document:
    """The document that `text` is, JSON or YAML. Raises BadInput where it has no value."""
    if not json:
        return _YamlReader(file).read(text)
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise refused(file, error.lineno, not_json(error)) from None
    walk = walk_json(text)
    return Document(
        file=file,
        value=value,
        lines=walk.lines,
        complaints=tuple(
            Complaint(file=file, line=line, key=_clean(key), what="is given twice")
            for key, line in walk.twice
        ),
    )


def read_lines(path: Path, found: Findings) -> Iterator[bytes]:
    """The lines of a long file, one at a time; `found.line` is set to the line's number.

    Lines over MAX_LINE are left out with a complaint. Raises BadInput if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                found.line = number
                if len(line) <= MAX_LINE:
                    yield line.removeprefix(_BOM) if number == 1 else line
                    continue
                found.add("", f"is longer than {MAX_LINE:,} bytes; use script_file")
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE)
    except (OSError, ValueError) as error:
        found.add("", _unreadable(error))
        found.close()


def not_json(error: orjson.JSONDecodeError) -> str:
    """What is wrong with a text that is not JSON."""
    return f"is not JSON: {error.msg.split(':')[0]} at column {error.colno}"


def refused(file: str, line: int | None, what: str) -> BadInput:
    """The error for a file that cannot be read on."""
    return BadInput([Complaint(file=file, line=line, key="", what=what)])


def check_file(path: Path) -> None:
    """Raises ValueError, with what is wrong in plain words, where `path` is no regular file."""
    _check_name(path)
    try:
        if not S_ISREG(path.stat().st_mode):
            raise ValueError("is not a file")
    except OSError as error:
        raise ValueError(_unreadable(error)) from None


def read_file(path: Path, limit: int, *, instead: str = "", keep_mark: bool = False) -> bytes:
    """The bytes of a regular file, without a byte order mark unless `keep_mark`.

    Raises ValueError, with what is wrong in plain words.
    """
    _check_name(path)
    try:
        check_file(path)
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ValueError(_unreadable(error)) from None
    if len(data) > limit:
        raise ValueError(f"is longer than {limit:,} bytes{instead and '; '}{instead}")
    return data if keep_mark else data.removeprefix(_BOM)


def read_below(
    folder: Path, name: str, limit: int, *, keep_mark: bool = False
) -> tuple[Path, bytes]:
    """The path and the bytes of the file of that name, as `read_file`; it must be in the job's
    `folder` or below it, wherever links lead.

    Raises ValueError, with the name and what is wrong in plain words.
    """
    try:
        root = folder.resolve()
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root):
            raise ValueError("is outside the job file's folder")
        return path, read_file(path, limit, keep_mark=keep_mark)
    except FileNotFoundError:
        what = "is not there"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except (ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        what = str(error)
    raise ValueError(f"{shown(name)} {what}")


def _read(path: Path, limit: int, instead: str) -> bytes:
    try:
        return read_file(path, limit, instead=instead)
    except ValueError as error:
        raise refused(str(path), None, str(error)) from None


def _check_name(path: Path) -> None:
    if "\0" in str(path):  # what Python says of it depends on its version
        raise ValueError("cannot be read: its name has a null byte in it")


def _unreadable(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot be read: {reason or error}"


def _clean(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _listed(known: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in known)


# ---- where things stand


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being walked through."""

    key: str
    names: set[str] | None  #: a mapping's keys so far; None for a list
    name: str | None = None  #: the mapping's key that waits for its value
    index: int = 0


@dataclass(slots=True)
class Walk:
    """A walk through a document: lines by dotted key, and the keys that are given twice."""

    lines: Lines = field(default_factory=dict)
    twice: list[tuple[str, int]] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    def here(self) -> str:
        """The dotted key of the value that is next."""
        if not self.stack:
            return ""
        top = self.stack[-1]
        if len(self.stack) > _KEPT_DEPTH:
            return top.key
        if top.names is None:
            return f"{top.key}[{top.index}]"
        return dotted(top.key, top.name or "")

    def value(self, line: int) -> None:
        """A value starts."""
        if (not self.stack or self.stack[-1].names is None) and self.here() not in self.lines:
            self._keep(line)

    def name(self, name: str, line: int) -> None:
        """A mapping's key; its value is next."""
        top = self.stack[-1]
        assert top.names is not None
        top.name = name
        if name in top.names:
            self.twice.append((self.here(), line))
        top.names.add(name)
        self._keep(line)

    def _keep(self, line: int) -> None:
        # What comes after so many goes by the line of what it is in.
        if len(self.lines) < _KEPT_LINES:
            self.lines[self.here()] = line

    def open(self, *, mapping: bool, line: int) -> None:
        """A mapping or list starts."""
        self.value(line)
        self.stack.append(_Open(self.here(), set() if mapping else None))

    def ended(self) -> None:
        """A value has ended."""
        if self.stack:
            self.stack[-1].name = None
            self.stack[-1].index += 1


def walk_json(text: str) -> Walk:
    """Walks through a text that is known to be JSON."""
    walk, line = Walk(), 1
    for match in _JSON_TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token in "{[":
            walk.open(mapping=token == "{", line=line)
        elif token in "}]":
            walk.stack.pop()
            walk.ended()
        elif token in ",:":
            continue
        elif walk.stack and walk.stack[-1].names is not None and walk.stack[-1].name is None:
            walk.name(orjson.loads(token), line)
        else:
            walk.value(line)
            walk.ended()
    return walk


class _YamlReader:
    """Builds a document's value from YAML events.

    From events rather than nodes: nesting costs no stack, and an alias is refused where it stands
    instead of growing into what it names.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._walk = Walk()
        self._open: list[dict[str, object] | list[object]] = []
        self._value: object = None
        self._complaints: list[Complaint] = []
        self._documents = 0

    def read(self, text: str) -> Document:
        """Raises BadInput where the text cannot be read on."""
        try:
            for event in yaml.parse(text, Loader=_Loader):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            # What is found wrong at the end of the text is marked on a line that is not there.
            line = min(mark.line + 1, len(text.splitlines())) if mark else None
            self._refuse(line, f"is not YAML: {error.problem}")
        except yaml.YAMLError:
            bad = next((at for at, c in enumerate(text) if not _in_yaml(c)), 0)
            self._refuse(text.count("\n", 0, bad) + 1, "has a character that YAML does not allow")
        if not self._documents:
            self._refuse(None, "is empty")
        for key, line in self._walk.twice:
            self._complain(line, key, "is given twice")
        return Document(
            file=self._file,
            value=self._value,
            lines=self._walk.lines,
            complaints=tuple(self._complaints),
        )

    def _take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._refuse(line, "has a second document; write one document a file")
            case yaml.AliasEvent():
                self._refuse(line, "has an alias (*name); write the value out")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._walk.stack.pop()
                self._open.pop()
                self._walk.ended()
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case _:  # starts and ends of stream and document
                pass

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        self._check_tag(event.tag, line)
        if len(self._open) == _MAX_DEPTH:
            self._refuse(line, f"is nested deeper than {_MAX_DEPTH} levels")
        if self._at_name():
            self._refuse(line, "has a key that is not text")
        mapping = isinstance(event, yaml.MappingStartEvent)
        new: dict[str, object] | list[object] = {} if mapping else []
        self._put(new)
        self._walk.open(mapping=mapping, line=line)
        self._open.append(new)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        self._check_tag(event.tag, line)
        if any("\ud800" <= c <= "\udfff" for c in event.value):
            self._refuse(line, "has half a character (a lone surrogate)")
        if self._at_name():
            # A key is what is written, even where YAML would read a number or a truth value.
            self._walk.name(event.value, line)
            return
        self._walk.value(line)
        self._put(self._resolved(event.value) if event.implicit[0] else event.value)
        self._walk.ended()

    def _resolved(self, text: str) -> object:
        """The value of something without quotes."""
        match _yaml_type(text):
            case "bool":
                plain = {"true": True, "false": False}
                return plain[text] if text in plain else Plain(text, "truth value")
            case "null":
                return None
            case "int" | "float":
                exact = len(text) <= 40 and _NUMBER.match(text)
                value = orjson.loads(text) if exact else None
                return Plain(text, "number", value)
            case "timestamp":
                return Plain(text, "date")
            case _:
                return text

    def _at_name(self) -> bool:
        top = self._walk.stack[-1] if self._walk.stack else None
        return top is not None and top.names is not None and top.name is None

    def _put(self, value: object) -> None:
        match self._open[-1] if self._open else None:
            case dict() as mapping:
                mapping[str(self._walk.stack[-1].name)] = value
            case list() as items:
                items.append(value)
            case _:
                self._value = value

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            self._complain(line, self._walk.here(), "has a tag (!name); leave it out")

    def _complain(self, line: int | None, key: str, what: str) -> None:
        self._complaints.append(Complaint(file=self._file, line=line, key=_clean(key), what=what))

    def _refuse(self, line: int | None, what: str) -> None:
        # First, for of very many complaints the last are not kept.
        found = Findings(self._file)
        found.take(Complaint(file=self._file, line=line, key="", what=what))
        found.take(*self._complaints)
        raise found.refusal()


def _yaml_type(text: str) -> str:
    """What YAML takes something without quotes for: `str`, `bool`, `int`, ..."""
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return str(tag).rpartition(":")[2]
    return "str"


def _in_yaml(char: str) -> bool:
    # What a stream may hold: YAML 1.1, section 5.1.
    if char >= "\xa0":
        return char not in "\ufffe\uffff"
    return char in "\t\n\r\x85" or " " <= char <= "~"
