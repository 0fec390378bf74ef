"""What items change, in a person's words: a title for equal changes, and each field.

A hook that becomes an action is one change, whatever number of steps that takes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from .actions import DRAFT
from .items import SECRET, Fields, Item, Step, told
from .report import clean, many
from .steps import kind_of, of_action
from .tally import Group

#: Names that are shown in a row; what is more is counted.
NAMES: Final = 3
#: Fields that are texts of many lines.
TEXTS: Final = ("script", "code")
#: Characters of a change of dependencies that one line may have; a longer one is shown as a diff.
_ROOM: Final = 100
#: The order in which fields are told.
_ORDER: Final = (
    *("name", "triggerId", "enabled", "bound", "position", "deployed"),
    *("dependencies", "runtime"),
)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one field: `says` in one line, or `brief` and `diff` where that is long."""

    key: str
    name: str
    before: Any = None
    after: Any = None
    says: str = ""
    brief: str = ""
    diff: tuple[str, ...] = ()  #: lines, the first character is the sign; not clean

    @property
    def fits(self) -> bool:
        """Whether one line tells it all, or as much as a screen should say."""
        return not self.diff or 0 < len(self.says) <= _ROOM


def kind(group: Group) -> str:
    """What a group is of: `hooks` or `actions`. What moves between the two is a hook."""
    return "hooks" if _moved(group) else kind_of(str(group.example.target))


# ---- its title


class _Deed(NamedTuple):
    """What is done, in words: `verb` alone, `verb` and `of` before a name; `then` stands behind
    the name, and `thens` behind several."""

    verb: str
    of: str = ""
    then: str = ""
    thens: str = ""


_DEEDS: Final[dict[tuple[str, ...], _Deed]] = {
    ("name",): _Deed("rename"),
    ("script",): _Deed("change script", " of"),
    ("dependencies",): _Deed("change dependencies", " of"),
}


def title(group: Group, names: Mapping[int, str]) -> str:
    """What a group does, to which hooks or actions, on how many tenants: one clean line."""
    deed, item = _deed(group), group.example
    labels = list(group.some_labels)
    if deed.verb == "rename":
        labels = [f"{label} to {item.steps[0].want['name']}" for label in labels]
    noun = kind(group).removesuffix("s")
    one_each = group.labels == 1 and group.items == group.tenants
    one_tenant = group.tenants == 1
    where = names[group.some_tenants[0]] if one_tenant else many(group.tenants, "tenant")
    if one_each and (noun == "action" or _moved(group)):
        return clean(f"{deed.verb}{deed.of} {noun} {labels[0]}{deed.then} on {where}")
    if deed.verb.startswith("switch ") and one_each:
        return clean(f"{deed.verb} on {where}")
    if one_each and one_tenant:
        return clean(f"{deed.verb}{deed.of} {labels[0]} on {where}")
    what = "" if one_each else f"{deed.of} {many(group.items, noun)}{deed.thens}"
    return clean(f"{deed.verb}{what} on {where}: {some(labels, group.labels)}")


def where(group: Group, names: Mapping[int, str]) -> str:
    """A few of a group's tenants, and how many more there are."""
    return clean(some([names[row] for row in group.some_tenants], group.tenants))


def some(names: Sequence[str], total: int) -> str:
    """A few names, and how many more there are."""
    if total <= NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NAMES])}, ... and {total - NAMES} more"


def _deed(group: Group) -> _Deed:
    item = group.example
    if _moved(group):
        return _move_deed(item)
    if of_action(str(item.target)):
        return _action_deed(item)
    steps = _forward(item)
    kinds = {step.kind for step in steps}
    for kind in ("create", "delete"):
        if kind in kinds:
            return _Deed(kind)
    facets = _facets(steps, "script")
    if facets == ("secrets",):
        return _Deed(_secrets_verb(kinds), " of")
    updates = [step for step in steps if step.kind == "update"]
    if switch := _switch(item, updates):
        rest = [facet for facet in facets if facet != "enabled"]
        return _Deed(switch + (f" and change its {', '.join(rest)}" if rest else ""))
    if facets == ("enabled",):
        return _Deed("enable" if updates[-1].want["enabled"] else "disable")
    return _DEEDS.get(facets) or _Deed(f"change {', '.join(facets)}", " of")


def _forward(item: Item) -> list[Step]:
    return [step for step in item.steps if not step.back]


def _facets(steps: Sequence[Step], text: str) -> tuple[str, ...]:
    """What updates change, in the order in which it is told."""
    keys = {key for step in steps if step.kind == "update" for key in step.want}
    order = [*_ORDER, text]
    found = sorted(keys, key=lambda key: order.index(key) if key in order else 99)
    secret = any(step.kind.endswith("_secrets") for step in steps)
    return (*found, *(["secrets"] if secret else []))


def _secrets_verb(kinds: set[str]) -> str:
    secrets = {kind for kind in kinds if kind.endswith("_secrets")}
    verb = "set" if "remove_secrets" not in secrets else "change"
    return f"{'remove' if secrets == {'remove_secrets'} else verb} secrets"


def _switch(item: Item, updates: Sequence[Step]) -> str:
    """`switch TRIGGER from A to B`, where an item does that."""
    on = [step.target for step in updates if step.want.get("enabled") is True]
    off = [step.target for step in updates if step.want.get("enabled") is False]
    if not (on and off):
        return ""
    called = _called(item)
    key = next((key for key in item.keys if key.startswith("enabled:")), "")
    words = ["switch", clean(key.removeprefix("enabled:")) or "its trigger"]
    words += ["from", called[off[0]]] if off[0] in called else []
    words += ["to", called[on[0]]] if on[0] in called else []
    return " ".join(words)


def _action_deed(item: Item) -> _Deed:
    steps = _forward(item)
    kinds = {step.kind for step in steps}
    if "delete" in kinds:
        return _Deed("delete")
    facets = _facets(steps, "code")
    deeds = [_Deed("create")] if "create" in kinds else []
    if facets and not deeds:
        verb = f"change {', '.join(facets)}"
        deeds.append(_Deed(_secrets_verb(kinds) if facets == ("secrets",) else verb, " of"))
        if facets == ("name",):
            deeds = [_Deed("rename")]
    drafted = "create" in kinds or {*DRAFT, "secrets"} & {*facets}
    then, thens = list[str](), list[str]()
    for step in steps:
        if step.kind not in ("deploy", "bind"):
            continue
        again = step.kind == "deploy" and "version" in step.want
        does = "deploy what ran before" if again else "deploy"
        if not deeds:
            deeds.append(_Deed(does if step.kind == "deploy" else _binding(step), " of" * again))
        elif step.kind == "deploy":
            then.append(does)
            thens.append(does)
        else:
            then.append(f"{_binding(step)} it")
            thens.append(f"{_binding(step)} them")
    aside = " (draft only, not deployed)" if drafted and "deploy" not in kinds else ""
    return deeds[0]._replace(then=_and(then) + aside, thens=_and(thens) + aside)


def _binding(step: Step) -> str:
    if not step.want["bound"]:
        return "unbind"
    return "place" if step.before["bound"] else "bind"


def _and(verbs: Sequence[str]) -> str:
    """` and A`, `, A and B`."""
    *first, last = ["", *verbs]
    return ", ".join(first) + f" and {last}" if first else last


# ---- field by field


def fields(group: Group) -> list[Field]:
    """What a group's items change, field by field, scripts and code last."""
    item, steps = group.example, _forward(group.example)
    found = _of_steps(item, steps, moved=_moved(group))
    if _moved(group):
        way = _way(group)
        found.append(Field(key="way", name="way", after=way, says=way))
    order = {key: place for place, key in enumerate(_ORDER)}
    return sorted(found, key=lambda field: order.get(field.key, 99 + (field.key in TEXTS)))


def _of_steps(item: Item, steps: Sequence[Step], *, moved: bool) -> list[Field]:
    called = _called(item)
    several = len({step.target for step in steps}) > 1
    made = {step.target for step in steps if step.kind == "create"}
    gone = {step.target for step in steps if step.kind == "delete"}
    found: list[Field] = []
    for step in steps:
        if step.kind == "delete":
            found += _of_whole(step.before, item.label, gone=True)
        elif step.kind == "create" or (step.kind == "update" and step.target in made):
            found += _of_whole(step.want, item.label, gone=False)
        elif step.kind == "bind":
            found += [] if moved else [_placed(step, whole=step.target in made | gone)]
        elif step.kind == "deploy":
            says = "the version that ran before" if "version" in step.want else "its draft"
            found.append(Field(key="deployed", name="deployed", after=True, says=says))
        elif not (moved and step.want.keys() == {"enabled"}):
            of = f" of {called.get(step.target, 'another hook')}" if several else ""
            found += [_changed(step, key, of) for key in step.want]
    return found


def _changed(step: Step, key: str, of: str) -> Field:
    before, after = step.before.get(key), step.want[key]
    if key.startswith(SECRET):
        origin = {"create_secrets": "new, from ", "update_secrets": "new value from "}.get(
            step.kind
        )
        says = f"{origin}{after}" if origin else "removed"
        name = clean(f"secret {key.removeprefix(SECRET)}")
        return Field(key=key, name=name, before=before, after=after, says=clean(says))
    if key in TEXTS:
        diff = _unified(str(before or ""), str(after))
        plus = sum(line.startswith("+") for line in diff)
        minus = sum(line.startswith("-") for line in diff)
        brief = f"{many(plus, 'line')} added, {minus} removed"
        return Field(key=key, name=key + of, before=before, after=after, brief=brief, diff=diff)
    says = f"{_shown(before)} → {_shown(after)}"
    if key == "dependencies" and isinstance(before, dict) and isinstance(after, dict):
        return _map_changed(before, after, says)
    return Field(key=key, name=key + of, before=before, after=after, says=says)


def _map_changed(before: Fields, after: Fields, says: str) -> Field:
    gone = sorted(before.keys() - after.keys())
    diff = []
    both = before.keys() & after.keys()
    kept = sum(before[name] == after[name] for name in both)
    counts = {"new": len(after) - len(both), "changed": len(both) - kept}
    counts |= {"removed": len(gone), "kept as they are": kept}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        diff += [f"-{name} {before[name]}"] if name in before else []
        diff += [f"+{name} {after[name]}"] if name in after else []
    return Field(
        key="dependencies",
        name="dependencies (the whole map)",
        before=before,
        after=after,
        says=says + (f", removes {clean(', '.join(gone))}" if gone else ""),
        brief=", ".join(f"{count} {what}" for what, count in counts.items() if count),
        diff=tuple(diff),
    )


def _of_whole(fields: Fields, label: str, *, gone: bool) -> list[Field]:
    """The fields of a hook or an action that is made or `gone`; a title has its label."""
    found = []
    secrets = sorted(key.removeprefix(SECRET) for key in fields if key.startswith(SECRET))
    for key, value in fields.items():
        told = key == "name" and (gone or value == label)
        if told or key == "version" or value == {} or key.startswith(SECRET):
            continue
        new = {"before": value} if gone else {"after": value}
        if key in TEXTS:
            sign = "-" if gone else "+"
            lines = tuple(sign + line for line in str(value).splitlines())
            brief = many(len(lines), "line")
            says = brief if gone else ""
            found.append(Field(key=key, name=key, says=says, brief=brief, diff=lines, **new))
        else:
            found.append(Field(key=key, name=key, says=_shown(value), **new))
    if secrets:
        names = clean(", ".join(secrets))
        found.append(Field(key="secrets", name="secrets", before=secrets, says=names))
    return found


def _unified(before: str, after: str) -> tuple[str, ...]:
    """A unified diff without its file names. That both end without a line break is not told."""
    if not (before.endswith("\n") or after.endswith("\n")):
        before, after = before + "\n", after + "\n"
    found: list[str] = []
    for line in islice(difflib.unified_diff(_lines_of(before), _lines_of(after), n=3), 2, None):
        found.append(line.removesuffix("\n"))
        if not line.endswith("\n"):
            found.append("\\ No newline at end of file")
    return tuple(found)


def _lines_of(text: str) -> list[str]:
    return [line for line in re.split("(?<=\n)", text) if line]


def _shown(value: Any) -> str:
    return "none" if value is None else clean(told("", value))


def _called(item: Item) -> dict[str, str]:
    """What an item's hooks are called, by what its steps write to, as far as that is known."""
    targets = {step.target for step in item.steps}
    if len(targets) == 1:
        return dict.fromkeys(targets, item.label)
    called = {item.target or "": item.label}
    for step in item.steps:
        if name := (step.want if step.kind == "create" else step.before).get("name"):
            called[step.target] = str(name)
    return {target: clean(name) for target, name in called.items() if target in targets}


def _placed(step: Step, *, whole: bool) -> Field:
    """What becomes of an action's place; `whole`: it is made, or goes."""
    trigger, was, now = clean(str(step.before["triggerId"])), step.before["bound"], step.want
    if was and now["bound"]:
        name, says = f"position in {trigger}", _place(now)
        return Field(key="position", name=name, after=now.get("position"), says=says)
    says = _shown(now["bound"] or was) if whole else f"{_shown(was)} → {_shown(now['bound'])}"
    says += f", {_place(now)}" if now["bound"] else ""
    name = f"bound to {trigger}"
    return Field(key="bound", name=name, before=was, after=now["bound"], says=says)


def _place(want: Fields) -> str:
    return clean(str(want.get("position", "where it was" if "among" in want else "last")))


# ---- from a hook to its action, and back


def _moved(group: Group) -> bool:
    """Whether a group is of hooks that become actions, or of actions that become hooks again."""
    targets = {of_action(step.target) for step in group.example.steps}
    return group.move is not None or len(targets) > 1


def _of_move(item: Item) -> tuple[list[Step], Step | None, Step | None]:
    """Its steps, the one that binds or unbinds the action, and the one that switches the hook."""
    steps = _forward(item)
    switch = next((step for step in steps if not of_action(step.target)), None)
    return steps, next((step for step in steps if step.kind == "bind"), None), switch


def _move_deed(item: Item) -> _Deed:
    steps, bind, switch = _of_move(item)
    if bind is None and switch is None:
        return _Deed("make an action", " of")
    if switch is not None and switch.want.get("enabled"):
        return _Deed("move", "", " back from its action", " back from their actions")
    if any(step.kind == "create" for step in steps):
        return _Deed("move", "", " to an action", " to actions")
    return _Deed("move", "", " to its action", " to their actions")


def _way(group: Group) -> str:
    """In what order a hook and its action are switched, and what that means."""
    steps, bind, switch = _of_move(group.example)
    kinds = {step.kind for step in steps}
    done = [word for kind, word in (("create", "made"), ("deploy", "deployed")) if kind in kinds]
    made = " and ".join(done) or "there as it is to be"
    if bind is None and switch is None:
        if group.move is not None and group.move.until == "deploy":
            return f"{made}; not bound (prepare)"
        return f"its hook is disabled or gone: {made}, not bound"
    back = bool(switch and switch.want.get("enabled"))
    hook = "its hook is enabled" if back else "its hook is disabled"
    if bind is None:
        return f"its action is {'not bound' if back else 'bound'} already; {hook}"
    place, trigger = _place(bind.want), bind.before["triggerId"]
    bound = clean(f"bound {place} {'in' if place.startswith('where') else 'of'} {trigger}")
    if switch is None:
        return f"{bound}; its hook is disabled or gone already"
    if back:
        action, then = "its action is unbound", "its action is unbound"
    else:
        action, then = bound, f"it is {bound}"
    gone = "; then its action is deleted" if "delete" in kinds else ""
    if overlaps(bind, switch):
        first, second = (hook, then) if back else (action, hook)
        return f"{first}, then {second}: both run for a moment{gone}"
    first, second = (action, hook) if back else (hook, then)
    return f"{first}, then {second}: neither runs for a moment{gone}"


def overlaps(bind: Step, switch: Step) -> bool:
    """Whether a hook and its action both run for a moment, rather than neither."""
    return (bind.n < switch.n) is bool(bind.want["bound"])
