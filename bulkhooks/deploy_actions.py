"""Actions in the files of auth0-deploy-cli: `actions/NAME.json` beside `actions/NAME/code.js`, or a
list in `tenant.yaml`; and what is bound to triggers: `triggers/triggers.json`, or a mapping there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import kinds
from .actions import MAX_SECRETS, PREFIX, Binding, triggers_of
from .deploy import Section, Tree, TreeEntry, as_json, file_name, is_marker, listed
from .errors import Complaint
from .items import Fields
from .kinds import matcher, words
from .references import MASK
from .source import Findings, dotted
from .source import shown as quoted

_TRIGGERS: Final = words(kinds.ActionTrigger)
_is_runtime = matcher(kinds.Runtime)

#: In the order of the tool's files.
_SHOWN: Final = ("name", "code", "runtime", "status", "dependencies", "secrets")
_SHOWN_LAST: Final = ("supported_triggers", "deployed", "installed_integration_id", "modules")
#: `id` is the other tenant's, written where the tool is told to.
_KNOWN: Final = dict.fromkeys((*_SHOWN, *_SHOWN_LAST, "id")).keys()
#: Fields that are no text: what a marker stands for is read as JSON.
_PLAIN: Final = ("supported_triggers", "dependencies", "deployed", "modules")
_VERSION: Final = "trigger's version"
_PACKAGE: Final = dict.fromkeys(("name", "version", "registry_url")).keys()
_MODULE: Final = ("module_name", "module_version_number")
_BINDING: Final = dict.fromkeys(("action_name", "display_name")).keys()


# ---- writing


def actions_section(shown: Iterable[Fields], *, yaml: bool) -> Section:
    """Actions as the server shows them. Nothing that one holds leads out of the folder."""
    taken: set[str] = set()
    files: dict[str, bytes] = {}
    entries: list[Fields] = []
    for action in shown:
        name = file_name(str(action["name"]), taken, "", ".json")
        if action["code"]:
            files[f"{name}/code.js"] = action["code"].encode()
        path = f"./actions/{name}/code.js" if action["code"] else ""
        entry = _entry(action, path, yaml=yaml)
        entries.append(entry)
        if not yaml:
            files[f"{name}.json"] = as_json(entry)
    return Section(kind="actions", files=files, entries=listed(entries))


def _entry(action: Fields, path: str, *, yaml: bool) -> Fields:
    deployed = action.get("deployed") or action.get("all_changes_deployed")
    made: Fields = {
        "code": path,
        "secrets": [{"name": each["name"]} for each in action.get("secrets") or ()],
        "deployed": bool(deployed) if yaml else deployed,
    }
    if yaml:
        made["dependencies"] = action.get("dependencies") or []
    if action.get("modules") is not None:
        made["modules"] = [
            {key: each[key] for key in _MODULE if key in each} for each in action["modules"]
        ]
    known = action | made
    last = [key for key in _SHOWN_LAST if not (yaml and key == "installed_integration_id")]
    keys = [key for key in (*_SHOWN, *last) if key in known]
    return {key: known[key] for key in keys if key != "deployed" or known[key] is not None}


def triggers_section(orders: Mapping[str, Iterable[Binding]], *, yaml: bool) -> Section:
    """What is bound to each trigger; those to which nothing is are left out."""
    bound = {
        trigger: [{"action_name": each.name, "display_name": each.display_name} for each in order]
        for trigger, order in orders.items()
        if order
    }
    files = {} if yaml else {"triggers.json": as_json(bound)}
    return Section(kind="triggers", files=files, entries=dict(sorted(bound.items())))


# ---- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeAction:
    """One action of a tree, checked."""

    entry: TreeEntry
    id: str | None  #: that it had where it was exported
    deployed: bool  #: with all its changes
    beyond: Fields  #: what no job can say

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.entry.fields["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeBindings:
    """What a tree wants bound to triggers."""

    here: Findings
    #: Of each trigger names, with what each is to be shown as, "" where that is not said.
    orders: Mapping[str, Mapping[str, str]]

    def complaint(self, trigger: str, what: str) -> Complaint:
        """That `what` is wrong with a trigger's list."""
        key = dotted(self.here.prefix, trigger)
        return Complaint(file=self.here.file, line=self.here.lines.get(key), key=key, what=what)


def read_actions(tree: Tree) -> list[TreeAction]:
    """The actions of a tree. Raises nothing: what is wrong is in the tree's findings."""
    actions = []
    for here, raw, _ in tree.listed("actions"):
        if action := _action(tree, here, raw):
            actions.append(action)
    tree.check_names([action.entry for action in actions], "an action")
    return actions


def _action(tree: Tree, here: Findings, raw: object) -> TreeAction | None:
    written = here.mapping("", raw, _KNOWN)
    value = {key: tree.plain(written[key]) for key in _PLAIN if key in written}
    fields: Fields = {
        key: tree.mappings.value(written[key]) for key in ("name", "code") if written.get(key)
    }
    fields["triggerId"] = _trigger(here, value.get("supported_triggers"))
    if "dependencies" in value:
        fields["dependencies"] = _dependencies(here, value["dependencies"])
    if (runtime := written.get("runtime")) is not None:
        fields["runtime"] = tree.mappings.value(runtime)
    if "deployed" in value:
        here.boolean("deployed", value["deployed"])
    beyond = _beyond(fields | value)  # of dependencies as they are written
    entry = tree.entry(
        here,
        "code",
        {key: each for key, each in fields.items() if key not in beyond},
        _secrets(tree, here, written.get("secrets")),
        folder=tree.root,
        most=MAX_SECRETS,
        spare={"code": "//"},  # one without code may be there; no job makes one
        called={"triggerId": "supported_triggers"},
    )
    if entry is None:
        return None
    id = written.get("id")
    return TreeAction(
        entry=entry,
        id=id if isinstance(id, str) else None,
        deployed=value.get("deployed") is True,
        beyond=beyond,
    )


def _trigger(here: Findings, triggers: object) -> object:
    if isinstance(triggers, list) and len(triggers) == 1 and isinstance(triggers[0], dict):
        return triggers[0].get("id")
    here.add("supported_triggers", "must be a list of one trigger, like [{id: post-login}]")
    return None


def _dependencies(here: Findings, written: object) -> dict[str, object]:
    found: dict[str, object] = {}
    if not isinstance(written, list):
        here.add("dependencies", f"must be a list of packages, not {quoted(written)}")
        return found
    for index, each in enumerate(written):
        key = f"dependencies[{index}]"
        package = here.mapping(key, each, _PACKAGE)
        name = here.text(f"{key}.name", package.get("name"))
        if name is not None and name in found:
            here.add(key, f"{quoted(name)} is there twice")
        if name is not None:
            found[name] = package.get("version")
    return found


def _secrets(tree: Tree, here: Findings, written: object) -> list[tuple[str, object]]:
    """Names, with what is written for their values. No complaint shows what may be one."""
    whole = is_marker(written)
    listed = tree.mappings.value(written) if whole else written
    if listed is None:
        return []
    secrets: list[tuple[str, object]] = []
    for index, each in enumerate(listed if isinstance(listed, list) else (None,)):
        name = each.get("name") if isinstance(each, dict) else None
        if not isinstance(name, str) or not isinstance(each, dict):
            key = f"secrets[{index}]" if isinstance(listed, list) else "secrets"
            here.add(key, "must have a name: a list like [{name: KEY, value: ##KEY##}]")
            continue
        value = each.get("value")
        secrets.append((name, 0 if whole else MASK if value is None else value))
    return secrets


def _beyond(action: Fields) -> Fields:
    """What a file or a server says of an action and no job can, as they are compared."""
    packages = action.get("dependencies")
    registries = {
        str(each.get("name")): each["registry_url"]
        for each in (packages if isinstance(packages, list) else ())
        if isinstance(each, dict) and each.get("registry_url")
    }
    modules = action.get("modules")
    beyond: Fields = {
        "dependencies' registries": registries,
        "modules": sorted(
            f"{each.get('module_name')} {each.get('module_version_number')}"
            for each in (modules if isinstance(modules, list) else ())
            if isinstance(each, dict)
        ),
    }
    runtime = action.get("runtime")
    if isinstance(runtime, str) and runtime.isprintable() and not _is_runtime(runtime):
        beyond["runtime"] = runtime
    triggers = action.get("supported_triggers")
    if isinstance(triggers, list) and triggers and isinstance(triggers[0], dict):
        beyond[_VERSION] = triggers[0].get("version")
    return {key: value for key, value in beyond.items() if value}


def read_bindings(tree: Tree) -> TreeBindings | None:
    """What a tree wants bound; None where it does not say. Raises nothing: what is wrong is in the
    tree's findings."""
    found = [each for each in tree.documents("triggers") if each[1] is not None]
    if not found:
        return None
    document, value, in_yaml = found[0]
    here = Findings(document.file, document.lines)
    here.prefix, here.line = "triggers" if in_yaml else "", 1
    if len(found) > 1:
        here.add("", f"stands beside {found[1][0].file}: which of them counts?")
    value = tree.mappings.value(value)
    tree.find_markers(here, "", value)
    orders: dict[str, Mapping[str, str]] = {}
    if not isinstance(value, dict):
        here.add("", f"must be a mapping of triggers, not {quoted(value)}")
        value = {}
    for trigger, bound in value.items():
        if trigger not in _TRIGGERS:
            here.unknown(trigger, "trigger", trigger, _TRIGGERS)
        orders[trigger] = _bound(here, trigger, bound)
    tree.tell(here)
    return TreeBindings(here=here, orders=orders)


def _bound(here: Findings, trigger: str, written: object) -> dict[str, str]:
    names: dict[str, str] = {}
    if not isinstance(written, list):
        here.add(trigger, f"must be a list of what is bound, not {quoted(written)}")
        return names
    for index, each in enumerate(written):
        key = f"{trigger}[{index}]"
        binding = here.mapping(key, each, _BINDING)
        name = here.text(f"{key}.action_name", binding.get("action_name"))
        shown = binding.get("display_name") or ""
        if name is not None and name in names:
            here.add(key, f"{quoted(name)} is there twice")
        if name is not None:
            names[name] = str(shown)
    return names


# ---- against the live state


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveActions:
    """The actions of a tenant, and what is bound to the triggers that its tree names."""

    actions: Mapping[str, tuple[Fields, Fields]]  #: by id; beside it all that the server shows
    orders: Mapping[str, Sequence[Binding]]


class Comparison:
    """What a job has to say, apart from the tenant, to make live actions like a tree's, and what is
    bound as the tree has it; with remarks for a person, and what is wrong.

    `folder` is the job's, if code may be named by its file. Live actions that the tree does not
    name are left alone, and so are the places of those among the others.
    """

    def __init__(
        self,
        actions: Sequence[TreeAction],
        bindings: TreeBindings | None,
        live: LiveActions,
        folder: Path | None,
    ) -> None:
        self._live, self._folder = live, folder
        self._tree = {action.name: action for action in actions}
        self._names = {str(fields.get("name")): id for id, (fields, _) in live.actions.items()}
        self._ids: dict[str, str | None] = {}  #: of live actions, by their names in the tree
        self._edits: dict[str, Fields] = {}
        self._placed: dict[str, None] = {}
        self.remarks: list[str] = []
        self.complaints: list[Complaint] = []
        for action in actions:
            self._compare(action)
        if bindings and not self.complaints:
            for trigger, wanted in bindings.orders.items():
                self._arrange(bindings, trigger, wanted)

    @property
    def edits(self) -> list[Fields]:
        """In the order that lets each find the one that it is put after."""
        free = [edit for name, edit in self._edits.items() if name not in self._placed]
        return free + [self._edits[name] for name in self._placed if name in self._edits]

    # ---- one action

    def _compare(self, action: TreeAction) -> None:
        name, entry = action.name, action.entry
        id = self._ids[name] = self._live_of(action)
        now, shown = self._live.actions[id] if id else ({}, {})
        edit: Fields = {"action": {"name": now["name"]}} if id else {}
        fields = dict(entry.fields)
        if id:
            trigger = fields.pop("triggerId")
            if now.get("triggerId") != trigger:
                what = f"is {now.get('triggerId')} on the tenant, and never changes; "
                what += "delete or rename the one there"
                self.complaints.append(entry.complaint("supported_triggers", what))
                return
            fields = {key: value for key, value in fields.items() if now.get(key) != value}
        elif "code" not in fields:
            self.complaints.append(entry.complaint("code", "is empty, and an action needs some"))
            return
        if entry.lacking and "code" in fields:
            self.complaints.append(entry.not_replaced())
            return
        entry.in_file(fields, self._folder)
        edit |= {"set" if id else "create": fields} if fields else {}
        edit |= {"set_secrets": entry.references} if entry.references else {}
        changed = edit.keys() - {"action"}
        if action.deployed and (changed or not now.get("all_changes_deployed")):
            edit["deploy"] = True
        if edit.keys() - {"action"}:
            self._edits[name] = edit
        self._remark(action, shown if id else None)

    def _live_of(self, action: TreeAction) -> str | None:
        """By its name; where no live action has that, by its id, unless another of the tree has
        that one's name."""
        id = f"{PREFIX}{action.id}"
        if action.name in self._names or id not in self._live.actions:
            return self._names.get(action.name)
        return id if self._live.actions[id][0].get("name") not in self._tree else None

    def _remark(self, action: TreeAction, shown: Fields | None) -> None:
        there = {each.get("name") for each in (shown or {}).get("secrets") or ()}
        remarks = action.entry.without_value(there)
        beyond = _beyond(shown or {})
        other = [key for key, value in action.beyond.items() if beyond.get(key) != value]
        if shown is None and _VERSION in other:  # what is made is of the one that is current
            other.remove(_VERSION)
        if other:
            remarks.append(f"no job can say its {', '.join(other)}: see to that by hand")
        self.remarks += [f"action {action.name}: {remark}" for remark in remarks]

    # ---- what is bound

    def _arrange(self, bindings: TreeBindings, trigger: str, wanted: Mapping[str, str]) -> None:
        names = {id: name for name, id in self._ids.items() if id}
        order = {names.get(each.id, each.name): each for each in self._live.orders[trigger]}
        for name in order:
            if name in self._tree and name not in wanted:
                self._say(name, {"bound": False})
        left = [name for name in wanted if self._may_be_bound(bindings, trigger, name)]
        renamed = {f"after {name}" for name, each in order.items() if each.name != name}
        for name, place in places(left, list(order)).items():
            if place["position"] in renamed:
                what = f"binding {name} to {trigger}: its place is {place['position']}, a new name"
                self.remarks.append(f"{what}; make another job when this one is applied")
            else:
                self._say(name, place)
        self._placed |= dict.fromkeys(left)
        for name in left:
            shown = order[name].display_name if name in order else name
            if wanted[name] not in ("", shown):
                what = f"binding {name} to {trigger}: no job can say the name that it is shown as"
                self.remarks.append(f"{what}, {wanted[name]}: see to that by hand")

    def _may_be_bound(self, bindings: TreeBindings, trigger: str, name: str) -> bool:
        action, id = self._tree.get(name), self._ids.get(name) or self._names.get(name)
        now, shown = self._live.actions[id] if id else ({}, {})
        triggers = [action.entry.fields["triggerId"]] if action else triggers_of(shown)
        if not (action or id):
            what = f"{quoted(name)} is neither in the files nor on the tenant"
            self.complaints.append(bindings.complaint(trigger, what))
        elif trigger not in triggers:
            what = f"{quoted(name)} is an action of {', '.join(triggers)}"
            self.complaints.append(bindings.complaint(trigger, what))
        elif not (now.get("deployed") or (action and action.deployed)):
            self.remarks.append(f"action {name}: is not deployed, so it is not bound to {trigger}")
        else:
            return True
        return False

    def _say(self, name: str, place: Fields) -> None:
        edit = self._edits.setdefault(name, {})
        if "create" in edit:
            edit["create"] |= place
            return
        id = self._ids.get(name) or self._names[name]
        edit.setdefault("action", {"name": self._live.actions[id][0]["name"]})
        edit["set"] = edit.get("set", {}) | place


def places(wanted: Sequence[str], order: Sequence[str]) -> dict[str, Fields]:
    """What to say of actions, in turn, for the names in a trigger's list to come in the `wanted`
    order; the others in it stay in theirs."""
    order, said = list(order), dict[str, Fields]()
    for before, name in zip((None, *wanted), wanted, strict=False):
        at = order.index(before) if before in order else -1
        if name in order and order.index(name) > at:
            continue
        if name in order:
            order.remove(name)
            at -= 1
        order.insert(at + 1, name)
        said[name] = {"bound": True, "position": f"after {before}" if before else "first"}
    return said
