"""The files of auth0-deploy-cli, Auth0's own import and export, as it writes and reads them.

A tree is one tenant's: a folder for each kind of thing, with a JSON file for each, or `tenant.yaml`
with all of them; scripts and code have files of their own. What is said of a hook or an action in
these files is in `deploy_hooks` and `deploy_actions`. tests/test_interop.py holds what is said here
of the tool against the tool itself.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import yaml

from .atomic import replacing
from .edits import MAX_SCRIPT, EditCheck
from .errors import BadInput, Complaint, Refused
from .items import Fields
from .references import MASKS
from .source import Document, Findings, document_in, dotted, read_document, read_file, read_text
from .source import shown as quoted
from .tenants import Tenant

#: Bytes in a file of a tree, and in a file of mappings, at most.
_MAX_FILE: Final = 20_000_000
#: The setting of the Deploy CLI's configuration that holds the mappings.
_MAPPINGS: Final = "AUTH0_KEYWORD_REPLACE_MAPPINGS"

#: Kinds of things in a tree: each has a folder of that name, or a key in tenant.yaml.
_KINDS: Final = ("hooks", "actions", "triggers")
_YAML_FILES: Final = ("tenant.yaml", "tenant.yml")

#: What it keeps out of file names (npm's sanitize-filename).
_UNSAFE: Final = re.compile(r'[/?<>\\:*|"\x00-\x1f\x80-\x9f]')
_RESERVED: Final = re.compile(r"(\.+|(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?)\Z", re.IGNORECASE)
#: Bytes of a file name without its suffix; 255 are allowed with it.
_LONGEST: Final = 240
#: Text that YAML 1.2 takes for a number, though YAML 1.1 does not.
_NUMBER: Final = re.compile(r"[-+]?(0[obx][0-9a-fA-F_]+|[0-9_]+\.?[0-9_]*[eE][-+]?[0-9]+)\Z")

_MARKER: Final = re.compile(r"(##|@@)([A-Za-z0-9_]+)\1")
#: In scripts only what is all capitals is held for a marker, as the tool itself does.
_SCRIPT_MARKER: Final = re.compile(r"(##|@@)([A-Z0-9_]+)\1")
_BARE_IN_JSON: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(##|@@)[A-Za-z0-9_]+\1', re.DOTALL)
_BARE_IN_YAML: Final = re.compile(
    r"((?::|-|,|\[)[ \t]+|\[)((##|@@)[A-Za-z0-9_]+\3)(?=[ \t]*(?:$|[,\]}]))", re.MULTILINE
)
_NEXT_KEY: Final = re.compile(r"^[^\s#-]", re.MULTILINE)
_ENV: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


# ---- writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """All things of one kind, as they are to be written."""

    kind: str  #: its folder, and its key in tenant.yaml
    files: Mapping[str, bytes]  #: by their paths in the folder
    entries: object  #: what tenant.yaml says


def occupied(root: Path) -> str | None:
    """Why no tree may be written to `root`; None if one may."""
    folders = [root / kind for kind in _KINDS]
    if links := [path for path in (root, *folders) if path.is_symlink()]:
        return f"{links[0]} is a link, and may lead elsewhere"
    if full := [path for path in folders if path.is_dir() and any(path.iterdir())]:
        return f"{full[0]} has files in it"
    found = [path for path in (root, *folders) if path.exists() and not path.is_dir()]
    found += [root / name for name in _YAML_FILES if os.path.lexists(root / name)]
    return f"{found[0]} is there" if found else None


def as_json(value: object) -> bytes:
    """A JSON file as the Deploy CLI writes it."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def listed(entries: Iterable[Fields]) -> list[Fields]:
    """A list in tenant.yaml: by name, and of each what names it first, then the rest by name."""
    first = ("name", "script", "id")
    return [
        {key: entry[key] for key in (*first, *sorted(entry.keys() - {*first})) if key in entry}
        for entry in sorted(entries, key=lambda entry: str(entry["name"]))
    ]


def write_tree(root: Path, sections: Iterable[Section], *, yaml: bool) -> None:
    """Write one tenant's tree. `root` is not `occupied`.

    Each folder appears whole or not at all.
    """
    sections, staged = tuple(sections), dict[str, Path]()
    try:
        for section in sections:
            if section.files or not yaml:
                staged[section.kind] = root / f".{section.kind}.staged"
                _stage(staged[section.kind], section.files)
        for kind, folder in staged.items():
            folder.rename(root / kind)
    except BaseException:
        for folder in staged.values():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if yaml:
        root.mkdir(parents=True, exist_ok=True)
        text = _tenant_yaml({section.kind: section.entries for section in sections})
        with replacing(root / "tenant.yaml") as file:
            file.write(text.encode())


def _stage(folder: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def file_name(name: str, taken: set[str], *ends: str) -> str:
    """A hook's or an action's name as a file's, to which `ends` are put; no two are equal, not even
    by lower case."""
    text = _UNSAFE.sub("-", name)
    text = "-" if not text or _RESERVED.match(text) else text
    if text != text.rstrip(". "):
        text = text.rstrip(". ") + "-"
    text = text.encode()[:_LONGEST].decode(errors="ignore")
    found, number = text, 1
    while taken & {f"{found}{end}".casefold() for end in ends}:
        number += 1
        found = f"{text}-{number}"
    taken.update(f"{found}{end}".casefold() for end in ends)
    return found


class _Dumper(yaml.SafeDumper):
    """Writes as js-yaml does, for a reader of YAML 1.2."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists stand deeper than their key."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """What is there twice is written twice: no name stands for it."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if not text.isprintable() else "'" if _NUMBER.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _tenant_yaml(sections: Mapping[str, object]) -> str:
    text: str = yaml.dump(
        dict(sections), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31
    )
    return text


# ---- mappings


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappings:
    """What `##KEY##` and `@@KEY@@` stand for."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Mappings:
        """Reads a JSON file: the mapping itself, or the Deploy CLI's configuration with one.

        Raises BadInput.
        """
        document = read_document(path, limit=_MAX_FILE)
        values, key = document.value, ""
        if isinstance(values, dict) and _MAPPINGS in values:
            values, key = values[_MAPPINGS], _MAPPINGS
        complaints = list(document.complaints)
        if not isinstance(values, dict):
            what = "must be a mapping of keys to what they stand for"
            complaints.append(Complaint(file=str(path), line=None, key=key, what=what))
        if complaints or not isinstance(values, dict):
            raise BadInput(complaints)
        return cls(values=values)

    def replaced(self, text: str) -> str:
        """A text with its markers replaced, `@@KEY@@` by JSON, with any quotes around it."""
        if not self.values or not _MARKER.search(text):
            return text
        keys = "|".join(map(re.escape, self.values))
        text = re.sub(
            rf"""(['"]?)@@({keys})@@\1""", lambda m: orjson.dumps(self.values[m[2]]).decode(), text
        )
        return re.sub(f"##({keys})##", lambda m: self._as_text(m[1]), text)

    def value(self, value: Any) -> Any:
        """A value of a document with the markers in its texts replaced."""
        if isinstance(value, dict):
            return {self.replaced(key): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if not isinstance(value, str):
            return value
        marker = _MARKER.fullmatch(value)
        if marker and marker[1] == "@@" and marker[2] in self.values:
            return self.value(self.values[marker[2]])
        return self.replaced(value)

    def left(self, text: str, marker: re.Pattern[str] = _MARKER) -> str | None:
        """A marker in a text that stands for nothing here."""
        found = (match for match in marker.finditer(text) if match[2] not in self.values)
        return next((match[0] for match in found), None)

    def _as_text(self, key: str) -> str:
        value = self.values[key]
        return value if isinstance(value, str) else orjson.dumps(value).decode()


# ---- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One hook or action of a tree, checked; its secrets without a value."""

    file: str
    lines: dict[str, int]
    prefix: str  #: of its keys in its file
    text: Literal["script", "code"]  #: the field that is in a file of its own
    fields: Fields  #: what a job says of one that is created, as far as it is given
    path: Path | None  #: the file that has just this text; None: it needs more than a file
    lacking: str | None  #: a marker in the text that no mapping replaces
    references: dict[str, str]  #: secrets whose values are to be found elsewhere
    masked: tuple[str, ...]  #: secrets of which the tree has but the names
    literal: tuple[str, ...]  #: secrets whose values stand in the tree: not to be carried on

    def complaint(self, key: str, what: str) -> Complaint:
        """That `what` is wrong at a key of it."""
        key = dotted(self.prefix, key)
        return Complaint(file=self.file, line=self.lines.get(key), key=key, what=what)

    def not_replaced(self) -> Complaint:
        """That no mapping replaces a marker which its text has, or seems to have."""
        what = f"{_not_replaced(self.lacking or '')}; if it is to stay, let it stand for itself"
        return self.complaint(self.text, what)

    def in_file(self, change: Fields, folder: Path | None) -> None:
        """Name the file of its text in what a job in `folder` says, if it is there or below."""
        home = folder.resolve() if folder else None
        if home and self.path and self.text in change and self.path.is_relative_to(home):
            del change[self.text]
            change[f"{self.text}_file"] = str(self.path.relative_to(home))

    def without_value(self, there: Collection[str]) -> list[str]:
        """Remarks on secrets whose values no job can have; those of which the tree has but the
        names are missed where they are not `there`."""
        lost = [name for name in self.masked if name not in there]
        remarks = _missing(lost, "its value is not in the files")
        return remarks + _missing(self.literal, "what the files say is not carried on")


def find_trees(folder: Path, tenants: Mapping[str, Tenant], tenant: str | None) -> dict[str, Path]:
    """The folder of each tenant's tree: `folder` itself, or one folder a tenant in it.

    `tenant` says whose tree is wanted. Raises Refused when that cannot be told.
    """
    if tenant is not None and tenant not in tenants:
        found = Findings("--tenant")
        found.unknown("", "tenant", tenant, tenants)
        found.close()
    if _is_tree(folder):
        own = folder.resolve().name
        name = tenant or (own if own in tenants else None)
        if name is None and len(tenants) == 1:
            name = next(iter(tenants))
        if name is None:
            raise Refused(f"{folder} is the tree of one tenant; say which by --tenant NAME")
        return {name: folder}
    trees = {path.name: path for path in sorted(folder.iterdir()) if _is_tree(path)}
    if not trees:
        raise Refused(
            f"{folder} has no files of auth0-deploy-cli: "
            "neither hooks/, actions/ nor tenant.yaml, nor a folder a tenant with one of these"
        )
    if tenant is not None:
        if tenant not in trees:
            raise Refused(f"{folder} has no folder {tenant}")
        trees = {tenant: trees[tenant]}
    _check_trees(folder, trees, tenants)
    return {name: trees[name] for name in tenants if name in trees}


def _check_trees(folder: Path, trees: Mapping[str, Path], tenants: Mapping[str, Tenant]) -> None:
    found = Findings(str(folder))
    for name, path in trees.items():
        if name not in tenants:
            found.unknown("", "tenant", name, tenants)
        elif not path.resolve().is_relative_to(folder.resolve()):
            found.add(name, "leads out of the folder")
    found.close()


def _is_tree(folder: Path) -> bool:
    kinds = any((folder / kind).is_dir() for kind in _KINDS)
    return kinds or any((folder / name).is_file() for name in _YAML_FILES)


class Tree:
    """One tenant's tree, to be read. Nothing outside of its folder is opened, whatever its files
    say; all that is wrong with it goes to the findings.
    """

    def __init__(self, root: Path, tenant: Tenant, mappings: Mappings, found: Findings) -> None:
        self.root, self.mappings, self._found = root, mappings, found
        self._home = root.resolve()
        self._tenant = tenant.name
        # The parser of jobs checks the fields; what it finds is told of the tree's own files.
        self._wrong = Findings("")
        self._check = EditCheck(self._wrong, {tenant.name: tenant}, root, ())

    def listed(self, kind: str) -> Iterator[tuple[Findings, object, Path]]:
        """Each thing of a kind that is many: the findings that know its place, what is written of
        it, and the folder of its file."""
        for document, value, listed in self.documents(kind):
            folder = Path(document.file).parent
            if not listed:
                yield self._place(document, ""), value, folder
                continue
            if value is not None and not isinstance(value, list):
                what = f"must be a list of {kind}"
                self._complain(document.file, document.lines.get(kind), kind, what)
            for index, raw in enumerate(value if isinstance(value, list) else ()):
                yield self._place(document, f"{kind}[{index}]"), raw, folder

    def documents(self, kind: str) -> Iterator[tuple[Document, object, bool]]:
        """The documents that have things of a kind, what they say of these, and whether that is
        under the kind's key in tenant.yaml."""
        documents = [self.root / name for name in _YAML_FILES if (self.root / name).is_file()]
        files = sorted((self.root / kind).glob("*.json"))
        if len(documents) > bool(documents) or (documents and files):
            both = [str(path) for path in (*documents, *files[:1])]
            self._complain(both[0], None, "", f"stands beside {both[1]}: which of them counts?")
            return
        for path in documents or files:
            try:
                if (document := self._read_file(path, kind, listed=bool(documents))) is None:
                    continue
            except BadInput as error:
                self._found.take(*error.complaints)
                continue
            self._found.take(*document.complaints)
            value = document.value
            if documents:
                value = value.get(kind) if isinstance(value, dict) else None
                value = self.mappings.value(value) if isinstance(value, str) else value
            yield document, value, bool(documents)

    def _read_file(self, path: Path, kind: str, *, listed: bool) -> Document | None:
        """Raises BadInput."""
        file = str(path)
        if not path.resolve().is_relative_to(self._home):
            self._complain(file, None, "", "leads out of the folder")
            return None
        text = read_text(path, limit=_MAX_FILE)
        if not listed:
            return document_in(_BARE_IN_JSON.sub(_in_quotes, text), file, json=True)
        section = _section(text, kind)
        if not section.strip():
            return None
        return document_in(_BARE_IN_YAML.sub(r'\1"\2"', section), file, json=False)

    @staticmethod
    def _place(document: Document, prefix: str) -> Findings:
        here = Findings(document.file, document.lines)
        here.prefix, here.line = prefix, 1
        return here

    def entry(
        self,
        here: Findings,
        text: Literal["script", "code"],
        fields: Fields,
        secrets: Iterable[tuple[str, object]],
        *,
        folder: Path,
        most: int,
        spare: Fields | None = None,
        called: Mapping[str, str] | None = None,
    ) -> TreeEntry | None:
        """A hook or an action of these fields and secrets, of which it may have `most`; None where
        something is wrong with it.

        The path of its text starts at `folder`. `spare` stands in for fields that need not be
        there, `called` says what a field is called in the file where that is not its own name.
        """
        references, masked, literal = self._sorted(secrets)
        path = lacking = None
        if isinstance(fields.get(text), str) and fields[text]:
            fields[text], path, lacking = self._text(here, text, folder, fields[text])
        for key, value in fields.items():
            if key != text:
                self.find_markers(here, key, value)
        edit: Fields = {"tenant": self._tenant, "create": (spare or {}) | fields}
        if len(references) + len(masked) + len(literal) > most:
            here.add("secrets", f"are more than the {most} that there may be")
        elif references:
            edit["set_secrets"] = references
        if not here.count:
            self._checked(here, edit, text, called or {})
        self.tell(here)
        if here.count:
            return None
        return TreeEntry(
            file=here.file,
            lines=here.lines,
            prefix=here.prefix,
            text=text,
            fields=fields,
            path=path,
            lacking=lacking,
            references=references,
            masked=masked,
            literal=literal,
        )

    def tell(self, here: Findings) -> None:
        """Take over what is wrong."""
        self._found.take(*here.complaints)

    def check_names(self, entries: Iterable[TreeEntry], one: str) -> None:
        """Complains of two, each `one` hook or action, that have one name."""
        names: dict[str, TreeEntry] = {}
        for entry in entries:
            twin = names.setdefault(entry.fields["name"], entry)
            if twin is not entry:
                what = f"is the name of {one} in {twin.file}"
                self._found.take(entry.complaint("name", what))

    def _checked(self, here: Findings, edit: Fields, text: str, called: Mapping[str, str]) -> None:
        count = len(self._wrong.complaints)
        self._check.edit(edit, 1)
        for complaint in self._wrong.complaints[count:]:
            key = re.sub(r"^(create|set_(?=secrets))\.?", "", complaint.key)
            here.add(called.get(key, key), complaint.what.replace(f" or `{text}_file`", ""))

    def plain(self, raw: object) -> Any:
        """The value of what is no text; of a marker without quotes around it, what it says."""
        value = self.mappings.value(raw)
        if is_marker(raw) and isinstance(value, str):
            try:
                return orjson.loads(value)
            except orjson.JSONDecodeError:
                return value
        return value

    def _sorted(
        self, secrets: Iterable[tuple[str, object]]
    ) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
        """References, names without a value, names with one. No value goes any further."""
        references: dict[str, str] = {}
        masked: list[str] = []
        literal: list[str] = []
        for written, value in secrets:
            name = self.mappings.replaced(written)
            marker = _MARKER.fullmatch(value) if isinstance(value, str) else None
            if isinstance(value, str) and value in MASKS:
                masked.append(name)
            elif marker and _ENV.match(marker[2]):
                references[name] = f"env:{marker[2]}"
            else:
                literal.append(name)
        return references, tuple(masked), tuple(literal)

    def _text(
        self, here: Findings, key: str, folder: Path, written: str
    ) -> tuple[str, Path | None, str | None]:
        """A script's or an action's text, the file that has just that, and a marker that is left
        in it."""
        wrong, text, path = "", "", None
        try:
            path = (folder / written.replace("\\", "/")).resolve()
            if not path.is_relative_to(self._home):
                wrong = "leads out of the folder"
            elif not path.exists():
                wrong = "is not there"
            else:
                text = read_file(path, MAX_SCRIPT, keep_mark=True).decode()
        except UnicodeDecodeError:
            wrong = "is not UTF-8"
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
            wrong = str(error)
        if wrong:
            here.add(key, f"{quoted(written)} {wrong}")
        replaced = self.mappings.replaced(text)
        left = self.mappings.left(replaced, _SCRIPT_MARKER)
        # A job's files are read without a byte order mark.
        same = replaced == text and not text.startswith("\ufeff")
        return replaced, path if same else None, left

    def find_markers(self, found: Findings, key: str, value: object) -> None:
        """Complains of markers that no mapping replaced."""
        if isinstance(value, dict):
            for name, inner in value.items():
                self.find_markers(found, key, name)
                self.find_markers(found, dotted(key, name), inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                self.find_markers(found, f"{key}[{index}]", inner)
        elif isinstance(value, str) and (marker := self.mappings.left(value)):
            found.add(key, _not_replaced(marker))

    def _complain(self, file: str, line: int | None, key: str, what: str) -> None:
        complaint = Complaint(file=file, line=line, key=key, what=what)
        if complaint not in self._found.complaints:  # what is wrong with a file for all its kinds
            self._found.take(complaint)


def is_marker(raw: object) -> bool:
    """Whether a value is a marker and nothing else."""
    return isinstance(raw, str) and _MARKER.fullmatch(raw) is not None


def _in_quotes(match: re.Match[str]) -> str:
    return f'"{match[0]}"' if match[1] else match[0]


def _section(text: str, kind: str) -> str:
    """The part of a tenant.yaml that has things of a kind, each line in its place.

    The rest may be long, and may have what only it needs.
    """
    start = re.search(rf"^(?:{kind}|'{kind}'|\"{kind}\")[ \t]*:", text, re.MULTILINE)
    if start is None:
        return text if text.lstrip().startswith("{") else ""
    end = _NEXT_KEY.search(text, start.end())
    return "\n" * text.count("\n", 0, start.start()) + text[start.start() : end and end.start()]


def _not_replaced(marker: str) -> str:
    return f"{quoted(marker)} is not replaced; give {marker[2:-2]} by --mappings"


def _missing(secrets: Sequence[str], why: str) -> list[str]:
    many = "secrets" if len(secrets) > 1 else "secret"
    return [f"give {many} {', '.join(secrets)} by set_secrets: {why}"] if secrets else []
