"""The files of auth0-deploy-cli, Auth0's own import and export: hooks as it writes and reads them.

A tree is one tenant's: `hooks/NAME.json` beside `hooks/NAME.js`, or `tenant.yaml` with
`hooks/NAME.js`. tests/test_interop.py holds what is said here of the tool against the tool itself.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from .edits import MAX_SCRIPT, EditCheck
from .errors import BadInput, Complaint, Refused
from .hooks import MAX_SECRETS
from .items import Fields
from .references import MASK, MASKS
from .source import Document, Findings, document_in, dotted, read_document, read_file, read_text
from .source import shown as quoted
from .tenants import Tenant

#: Bytes in a file of a tree, and in a file of mappings, at most.
_MAX_FILE: Final = 20_000_000
#: The setting of the Deploy CLI's configuration that holds the mappings.
_MAPPINGS: Final = "AUTH0_KEYWORD_REPLACE_MAPPINGS"

_FIELDS: Final = ("name", "triggerId", "enabled", "script", "dependencies")
#: `id` is the other tenant's: the tool writes it when it is told to, and so do servers like Auth0.
_KNOWN: Final = dict.fromkeys((*_FIELDS, "secrets", "id", "hook_id")).keys()
_YAML_FILES: Final = ("tenant.yaml", "tenant.yml")

#: The names that its schema takes, three characters at least.
_TAKEN: Final = re.compile(r"[^-\s][a-zA-Z0-9\-\s]+[^-\s]\Z")
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
_HOOKS_KEY: Final = re.compile(r"^(?:hooks|'hooks'|\"hooks\")[ \t]*:", re.MULTILINE)
_NEXT_KEY: Final = re.compile(r"^[^\s#-]", re.MULTILINE)
_ENV: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def altered(name: str) -> str:
    """A hook's name as the Deploy CLI reads it: in lower case, with dashes for spaces."""
    return re.sub(r"\s", "-", name.lower())


def changes_by_import(names: Sequence[str]) -> dict[str, str]:
    """The names of one tenant's hooks that the Deploy CLI would not import as they are, and what
    it would make of them."""
    told = {}
    for name in names:
        becomes = altered(name)
        if not _TAKEN.match(name):
            told[name] = "is refused: it takes three characters at least"
        elif becomes != name:
            twins = sum(altered(other) == becomes for other in names) > 1
            told[name] = f"becomes {becomes}" + (", as another does: refused" if twins else "")
    return told


# ---- writing


def occupied(root: Path) -> str | None:
    """Why no tree may be written to `root`; None if one may."""
    hooks = root / "hooks"
    if links := [path for path in (root, hooks) if path.is_symlink()]:
        return f"{links[0]} is a link, and may lead elsewhere"
    if hooks.is_dir() and any(hooks.iterdir()):
        return f"{hooks} has files in it"
    found = [path for path in (root, hooks) if path.exists() and not path.is_dir()]
    found += [root / name for name in _YAML_FILES if os.path.lexists(root / name)]
    return f"{found[0]} is there" if found else None


def write_tree(root: Path, hooks: Iterable[Fields], *, yaml: bool) -> None:
    """Write one tenant's hooks, each with `secrets`, a list of names. `root` is not `occupied`.

    The folder of hooks appears whole or not at all. Nothing that a hook holds leads out of it.
    """
    staged = root / ".hooks.staged"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        taken: set[str] = set()
        entries = []
        for hook in hooks:
            name = _file_name(str(hook["name"]), taken)
            (staged / f"{name}.js").write_bytes(hook["script"].encode())
            entry = {key: value for key, value in hook.items() if key in _FIELDS}
            entry["script"] = f"./hooks/{name}.js" if yaml else f"./{name}.js"
            entry["secrets"] = dict.fromkeys(hook["secrets"], MASK)
            entries.append(entry)
            if not yaml:
                options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
                (staged / f"{name}.json").write_bytes(orjson.dumps(entry, option=options))
        staged.rename(root / "hooks")
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    if yaml:
        document = root / ".tenant.yaml.staged"
        document.unlink(missing_ok=True)
        with document.open("x", encoding="utf-8") as file:  # not through a link
            file.write(_tenant_yaml(entries))
        os.replace(document, root / "tenant.yaml")


def _file_name(name: str, taken: set[str]) -> str:
    """A hook's name as a file's, without suffix; no two are equal, not even by lower case."""
    text = _UNSAFE.sub("-", name)
    text = "-" if not text or _RESERVED.match(text) else text
    if text != text.rstrip(". "):
        text = text.rstrip(". ") + "-"
    text = text.encode()[:_LONGEST].decode(errors="ignore")
    found, number = text, 1
    while found.casefold() in taken:
        number += 1
        found = f"{text}-{number}"
    taken.add(found.casefold())
    return found


class _Dumper(yaml.SafeDumper):
    """Writes as js-yaml does, for a reader of YAML 1.2."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists stand deeper than their key."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if not text.isprintable() else "'" if _NUMBER.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _tenant_yaml(entries: list[Fields]) -> str:
    order = ("name", "script", *sorted({*_FIELDS, "secrets"} - {"name", "script"}))
    listed = [
        {key: entry[key] for key in order if key in entry}
        for entry in sorted(entries, key=lambda entry: str(entry["name"]))
    ]
    text: str = yaml.dump(
        {"hooks": listed}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31
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
class TreeHook:
    """One hook of a tree, checked; its secrets without a value."""

    file: str
    lines: dict[str, int]
    prefix: str  #: of the hook's keys in its file
    fields: Fields  #: name, triggerId, script, and enabled and dependencies where given
    script: Path | None  #: the file that has just this script; None: it needs more than a file
    lacking: str | None  #: a marker in the script that no mapping replaces
    references: dict[str, str]  #: secrets whose values are to be found elsewhere
    masked: tuple[str, ...]  #: secrets of which the tree has but the names
    literal: tuple[str, ...]  #: secrets whose values stand in the tree: not to be carried on

    def complaint(self, key: str, what: str) -> Complaint:
        """That `what` is wrong at a key of this hook."""
        key = dotted(self.prefix, key)
        return Complaint(file=self.file, line=self.lines.get(key), key=key, what=what)

    def not_replaced(self) -> Complaint:
        """That no mapping replaces a marker which its script has, or seems to have."""
        what = f"{_not_replaced(self.lacking or '')}; if it is to stay, let it stand for itself"
        return self.complaint("script", what)


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
            "neither hooks/ nor tenant.yaml, nor a folder a tenant with one of these"
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
    return (folder / "hooks").is_dir() or any((folder / name).is_file() for name in _YAML_FILES)


def read_tree(root: Path, tenant: Tenant, mappings: Mappings, found: Findings) -> list[TreeHook]:
    """The hooks of one tree; all that is wrong with it goes to `found`."""
    return _Reader(root, tenant, mappings, found).read()


class _Reader:
    """Reads one tree. Nothing outside of its folder is opened, whatever its files say."""

    def __init__(self, root: Path, tenant: Tenant, mappings: Mappings, found: Findings) -> None:
        self._root, self._mappings, self._found = root, mappings, found
        self._home = root.resolve()
        self._tenant = tenant.name
        # The parser of jobs checks the fields; what it finds is told of the tree's own files.
        self._wrong = Findings("")
        self._check = EditCheck(self._wrong, {tenant.name: tenant}, root, ())

    def read(self) -> list[TreeHook]:
        """Raises nothing: what is wrong is in the findings."""
        documents = [self._root / name for name in _YAML_FILES if (self._root / name).is_file()]
        files = sorted((self._root / "hooks").glob("*.json"))
        if len(documents) > bool(documents) or (documents and files):
            both = [str(path) for path in (*documents, *files[:1])]
            self._complain(both[0], None, "", f"stands beside {both[1]}: which of them counts?")
            return []
        hooks = []
        for path in documents or files:
            try:
                hooks += self._read_file(path, listed=bool(documents))
            except BadInput as error:
                self._found.take(*error.complaints)
        names: dict[str, TreeHook] = {}
        for hook in hooks:
            twin = names.setdefault(hook.fields["name"], hook)
            if twin is not hook:
                self._found.take(hook.complaint("name", f"is the name of a hook in {twin.file}"))
        return hooks

    def _read_file(self, path: Path, *, listed: bool) -> list[TreeHook]:
        file = str(path)
        if not path.resolve().is_relative_to(self._home):
            self._complain(file, None, "", "leads out of the folder")
            return []
        text = read_text(path, limit=_MAX_FILE)
        if not listed:
            document = document_in(_BARE_IN_JSON.sub(_in_quotes, text), file, json=True)
            self._found.take(*document.complaints)
            return self._hook(document, "", document.value, path.parent)
        section = _hooks_section(text)
        if not section.strip():
            return []
        document = document_in(_BARE_IN_YAML.sub(r'\1"\2"', section), file, json=False)
        self._found.take(*document.complaints)
        value = document.value.get("hooks") if isinstance(document.value, dict) else None
        if isinstance(value, str):
            value = self._mappings.value(value)
        if value is not None and not isinstance(value, list):
            self._complain(file, document.lines.get("hooks"), "hooks", "must be a list of hooks")
        hooks = []
        for index, raw in enumerate(value if isinstance(value, list) else ()):
            hooks += self._hook(document, f"hooks[{index}]", raw, self._root)
        return hooks

    def _hook(self, document: Document, prefix: str, raw: object, base: Path) -> list[TreeHook]:
        """The hook that `raw` is, or none; `base` is where the path of its script starts."""
        file, before = document.file, self._found.count
        here = Findings(file, document.lines)
        here.prefix, here.line = prefix, 1
        written = here.mapping("", raw, _KNOWN)
        secrets, masked, literal = self._secrets(here, written.get("secrets"))
        fields: Fields = {key: self._field(key, written[key]) for key in _FIELDS if key in written}
        path = lacking = None
        if isinstance(fields.get("script"), str) and fields["script"]:
            fields["script"], path, lacking = self._script(here, base, fields["script"])
        for key, value in fields.items():
            if key != "script":
                self._find_markers(here, key, value)
        edit: Fields = {"tenant": self._tenant, "create": fields}
        if secrets and len(secrets) + len(masked) + len(literal) <= MAX_SECRETS:
            edit["set_secrets"] = secrets
        elif secrets:
            here.add("secrets", f"are more than the {MAX_SECRETS} that a hook may have")
        if not here.count:
            self._checked(here, edit)
        self._found.take(*here.complaints)
        if self._found.count != before:
            return []
        return [
            TreeHook(
                file=file,
                lines=document.lines,
                prefix=prefix,
                fields=fields,
                script=path,
                lacking=lacking,
                references=secrets,
                masked=masked,
                literal=literal,
            )
        ]

    def _checked(self, here: Findings, edit: Fields) -> None:
        count = len(self._wrong.complaints)
        self._check.edit(edit, 1)
        for complaint in self._wrong.complaints[count:]:
            key = re.sub(r"^(create|set_(?=secrets))\.?", "", complaint.key)
            here.add(key, complaint.what.replace(" or `script_file`", ""))

    def _field(self, key: str, raw: object) -> Any:
        value = self._mappings.value(raw)
        whole = isinstance(raw, str) and _MARKER.fullmatch(raw)
        if whole and isinstance(value, str) and key in ("enabled", "dependencies"):
            try:  # without quotes around it, a text is what it says
                return orjson.loads(value)
            except orjson.JSONDecodeError:
                return value
        return value

    def _secrets(
        self, here: Findings, raw: object
    ) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
        """References, names without a value, names with one. No value goes any further."""
        references: dict[str, str] = {}
        masked: list[str] = []
        literal: list[str] = []
        if raw is None:
            raw = {}
        if isinstance(raw, str) and _MARKER.fullmatch(raw):
            value = self._mappings.value(raw)
            raw = dict.fromkeys(value, 0) if isinstance(value, dict) else raw
        if not isinstance(raw, dict):
            here.add("secrets", "must be a mapping of names to values")
            raw = {}
        for written, value in raw.items():
            name = self._mappings.replaced(written)
            marker = _MARKER.fullmatch(value) if isinstance(value, str) else None
            if isinstance(value, str) and value in MASKS:
                masked.append(name)
            elif marker and _ENV.match(marker[2]):
                references[name] = f"env:{marker[2]}"
            else:
                literal.append(name)
        return references, tuple(masked), tuple(literal)

    def _script(
        self, here: Findings, base: Path, written: str
    ) -> tuple[str, Path | None, str | None]:
        """A script's text, the file that has just that, and a marker that is left in it."""
        wrong, text, path = "", "", None
        try:
            path = (base / written.replace("\\", "/")).resolve()
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
            here.add("script", f"{quoted(written)} {wrong}")
        replaced = self._mappings.replaced(text)
        left = self._mappings.left(replaced, _SCRIPT_MARKER)
        # A job's script_file is read without a byte order mark.
        same = replaced == text and not text.startswith("\ufeff")
        return replaced, path if same else None, left

    def _find_markers(self, found: Findings, key: str, value: object) -> None:
        """Complains of markers that no mapping replaced."""
        if isinstance(value, dict):
            for name, inner in value.items():
                self._find_markers(found, key, name)
                self._find_markers(found, dotted(key, name), inner)
        elif isinstance(value, str) and (marker := self._mappings.left(value)):
            found.add(key, _not_replaced(marker))

    def _complain(self, file: str, line: int | None, key: str, what: str) -> None:
        self._found.take(Complaint(file=file, line=line, key=key, what=what))


def _in_quotes(match: re.Match[str]) -> str:
    return f'"{match[0]}"' if match[1] else match[0]


def _hooks_section(text: str) -> str:
    """The part of a tenant.yaml that has its hooks, each line in its place.

    The rest may be long, and may have what only it needs.
    """
    start = _HOOKS_KEY.search(text)
    if start is None:
        return text if text.lstrip().startswith("{") else ""
    end = _NEXT_KEY.search(text, start.end())
    return "\n" * text.count("\n", 0, start.start()) + text[start.start() : end and end.start()]


def _not_replaced(marker: str) -> str:
    return f"{quoted(marker)} is not replaced; give {marker[2:-2]} by --mappings"


# ---- against the live state


def pair(
    tree: Iterable[TreeHook], live: Mapping[str, Fields]
) -> tuple[list[tuple[TreeHook, str | None]], list[Complaint]]:
    """Each hook of a tree with the id of the live one that it is for; None: there is none yet.

    By name, and where no live hook has the name, by the name that the Deploy CLI makes of it.
    """
    pairs: list[tuple[TreeHook, str | None]] = []
    complaints: list[Complaint] = []
    exact = {hook.fields["name"] for hook in tree}
    for hook in tree:
        name = hook.fields["name"]
        ids = [id for id, fields in live.items() if fields.get("name") == name]
        ids = ids or [
            id
            for id, fields in live.items()
            if altered(str(fields.get("name"))) == altered(name) and fields["name"] not in exact
        ]
        if len(ids) > 1:
            complaints.append(hook.complaint("name", "is the name of several live hooks"))
            continue
        trigger = live[ids[0]].get("triggerId") if ids else hook.fields["triggerId"]
        if trigger != hook.fields["triggerId"]:
            what = f"is {trigger} on the tenant, and never changes; delete or rename the one there"
            complaints.append(hook.complaint("triggerId", what))
        else:
            pairs.append((hook, ids[0] if ids else None))
    return pairs, complaints


def edit_of(
    hook: TreeHook, live: Fields | None, secrets: Collection[str], folder: Path | None
) -> tuple[Fields, list[str], list[Complaint]]:
    """What a job has to say, apart from the tenant, to make a live hook like the tree's; empty
    where nothing differs. With remarks for a person, and what is wrong.

    `folder` is the job's, if its scripts may be named by their files; `secrets` are the names of
    the live hook's.
    """
    fields, edit, remarks = hook.fields, Fields(), list[str]()
    wanted = {key: value for key, value in fields.items() if key != "name"}
    if live is None:
        edit["create"] = {"name": fields["name"]} | wanted
    else:
        edit["hook"] = {"name": live["name"]}
        live = {"dependencies": {}} | live
        wanted = {key: value for key, value in wanted.items() if live.get(key) != value}
        edit["set"] = wanted
        if live["name"] != fields["name"]:
            remarks.append(f"taken for the live hook {live['name']}")
    if hook.lacking and "script" in wanted:
        return {}, [], [hook.not_replaced()]
    if folder and hook.script and "script" in wanted:
        home = folder.resolve()
        if hook.script.is_relative_to(home):
            change = edit.get("create") or edit["set"]
            del change["script"]
            change["script_file"] = str(hook.script.relative_to(home))
    if hook.references:
        edit["set_secrets"] = hook.references
    lost = [name for name in hook.masked if name not in secrets]
    remarks += _missing(lost, "its value is not in the files")
    remarks += _missing(hook.literal, "what the files say is not carried on")
    if live is not None and not edit["set"]:
        del edit["set"]
        edit = edit if hook.references else {}
    return edit, remarks, []


def _missing(secrets: Sequence[str], why: str) -> list[str]:
    many = "secrets" if len(secrets) > 1 else "secret"
    return [f"give {many} {', '.join(secrets)} by set_secrets: {why}"] if secrets else []
