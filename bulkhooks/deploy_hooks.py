"""Hooks in the files of auth0-deploy-cli: `hooks/NAME.json` beside `hooks/NAME.js`, or a list in
`tenant.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .deploy import Section, Tree, TreeEntry, as_json, file_name, is_marker, listed
from .errors import Complaint
from .hooks import MAX_SECRETS
from .items import Fields
from .references import MASK
from .source import Findings

_FIELDS: Final = ("name", "triggerId", "enabled", "script", "dependencies")
#: `id` is the other tenant's: the tool writes it when it is told to, and so do servers like Auth0.
_KNOWN: Final = dict.fromkeys((*_FIELDS, "secrets", "id", "hook_id")).keys()
#: Fields that are no text: what a marker stands for is read as JSON.
_PLAIN: Final = ("enabled", "dependencies")
#: The names that the tool's schema takes, three characters at least.
_TAKEN: Final = re.compile(r"[^-\s][a-zA-Z0-9\-\s]+[^-\s]\Z")


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


def hooks_section(hooks: Iterable[Fields], *, yaml: bool) -> Section:
    """Hooks with their `secrets`, a list of names. Nothing that one holds leads out of the
    folder."""
    taken: set[str] = set()
    files: dict[str, bytes] = {}
    entries: list[Fields] = []
    for hook in hooks:
        name = file_name(str(hook["name"]), taken, "")
        files[f"{name}.js"] = hook["script"].encode()
        entry = {key: value for key, value in hook.items() if key in _FIELDS}
        entry["script"] = f"./hooks/{name}.js" if yaml else f"./{name}.js"
        entry["secrets"] = dict.fromkeys(hook["secrets"], MASK)
        entries.append(entry)
        if not yaml:
            files[f"{name}.json"] = as_json(entry)
    return Section(kind="hooks", files=files, entries=listed(entries))


# ---- reading


def read_hooks(tree: Tree) -> list[TreeEntry]:
    """The hooks of a tree. Raises nothing: what is wrong is in the tree's findings."""
    hooks = []
    for here, raw, folder in tree.listed("hooks"):
        if hook := _hook(tree, here, raw, folder):
            hooks.append(hook)
    tree.check_names(hooks, "a hook")
    return hooks


def _hook(tree: Tree, here: Findings, raw: object, folder: Path) -> TreeEntry | None:
    written = here.mapping("", raw, _KNOWN)
    secrets = written.get("secrets")
    if is_marker(secrets) and isinstance(value := tree.mappings.value(secrets), dict):
        secrets = dict.fromkeys(value, 0)
    if secrets is not None and not isinstance(secrets, dict):
        here.add("secrets", "must be a mapping of names to values")
        secrets = {}
    fields: dict[str, Any] = {
        key: (tree.plain if key in _PLAIN else tree.mappings.value)(written[key])
        for key in _FIELDS
        if key in written
    }
    pairs = (secrets or {}).items()
    return tree.entry(here, "script", fields, pairs, folder=folder, most=MAX_SECRETS)


# ---- against the live state


def pair(
    tree: Iterable[TreeEntry], live: Mapping[str, Fields]
) -> tuple[list[tuple[TreeEntry, str | None]], list[Complaint]]:
    """Each hook of a tree with the id of the live one that it is for; None: there is none yet.

    By name, and where no live hook has the name, by the name that the Deploy CLI makes of it.
    """
    pairs: list[tuple[TreeEntry, str | None]] = []
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
    hook: TreeEntry, live: Fields | None, secrets: Collection[str], folder: Path | None
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
    hook.in_file(edit.get("create") or edit["set"], folder)
    if hook.references:
        edit["set_secrets"] = hook.references
    remarks += hook.without_value(secrets)
    if live is not None and not edit["set"]:
        del edit["set"]
        edit = edit if hook.references else {}
    return edit, remarks, []
