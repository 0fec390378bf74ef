"""The fields of hooks and actions as people write them, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from . import kinds, schema
from .items import Fields
from .kinds import longest, matcher, rule, words
from .shape import Model, Shape
from .source import Findings, dotted, shown

_Check: TypeAlias = Callable[[Findings, str, object], object]

_TRIGGERS: Final = words(kinds.Trigger)
_ACTION_TRIGGERS: Final = words(kinds.ActionTrigger)
_is_package = matcher(kinds.Package)
_is_version = matcher(kinds.Version)


class FieldsShape(Shape):
    """A mapping of the fields of a hook or an action."""

    def __init__(self, model: type[Model]) -> None:
        super().__init__(model)
        self._checks = {name: _CHECKS[kind] for name, kind in self.kinds.items()}

    def checked(self, found: Findings, key: str, value: object) -> Fields:
        """The known fields of the mapping that `value` is; what is wrong with them, and with their
        values, is complained of."""
        fields = dict(self.of(found, key, value))
        for name, inner in fields.items():
            self._checks[name](found, dotted(key, name), inner)
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What may be said of hooks, or of actions."""

    of: Literal["hooks", "actions"]
    one: Literal["hook", "action"]
    edit: Shape
    pick: FieldsShape  #: exactly one
    select: FieldsShape  #: every one that matches
    set: FieldsShape
    create: FieldsShape
    expect: FieldsShape
    id: _Check
    text: Literal["script", "code"]  #: the field whose text may stand in a file, `{text}_file`
    max_secrets: int


def check_code(found: Findings, key: str, text: str) -> None:
    """Complains of an action's code that is too long."""
    size, most = len(text.encode()), longest(kinds.Code)
    if size > most:
        found.add(key, f"is {size:,} bytes; an action's code may have {most:,}")


# ---- single fields


def _matching(kind: Any, wrong: str) -> _Check:
    """The check of a line of this kind; `wrong` is what any other is."""
    match, demand = matcher(kind), rule(kind)

    def check(found: Findings, key: str, value: object) -> None:
        text = found.text(key, value)
        if text is not None and not (match(text) and text.isprintable()):
            more = "; by name it is {name: ...}" if key in ("hook", "action") else ""
            found.add(key, f"{shown(text)} {wrong}: {demand}{more}")

    return check


def _hook_trigger(found: Findings, key: str, value: object) -> None:
    text = found.text(key, value)
    if text in _ACTION_TRIGGERS and text not in _TRIGGERS:
        known = ", ".join(map(shown, _TRIGGERS))
        found.add(key, f"{shown(text)} is a trigger of actions; hooks have {known}")
    elif text is not None and text not in _TRIGGERS:
        found.unknown(key, "trigger", text, _TRIGGERS)


def _action_trigger(found: Findings, key: str, value: object) -> None:
    text = found.text(key, value)
    if text is not None and text not in _ACTION_TRIGGERS:
        found.unknown(key, "trigger", text, _ACTION_TRIGGERS)


def _code(found: Findings, key: str, value: object) -> None:
    text = found.text(key, value)
    if text is not None:
        check_code(found, key, text)


def _dependencies(found: Findings, key: str, value: object) -> None:
    if not isinstance(value, dict):
        found.add(key, f"must be a mapping of packages to versions, not {shown(value)}")
        return
    for name, version in value.items():
        at = dotted(key, name)
        if not _is_package(name):
            found.add(at, f"{shown(name)} is no npm package name")
        text = found.text(at, version)
        if text is not None and not (_is_version(text) and text.isprintable()):
            found.add(at, f"{shown(text)} is no version")


def _few_dependencies(found: Findings, key: str, value: object) -> None:
    most = longest(kinds.ActionDependencies)
    if isinstance(value, dict) and len(value) > most:
        found.add(key, f"has {len(value)} packages; an action may have {most}")
    _dependencies(found, key, value)


_hook_id = _matching(kinds.HookId, "is no hook id")
_action_id = _matching(kinds.ActionId, "is no action id")
_CHECKS: Final[Mapping[Any, _Check]] = {
    kinds.HookId: _hook_id,
    kinds.HookName: _matching(kinds.HookName, "is no hook name"),
    kinds.HookGlob: _matching(kinds.HookGlob, "matches no hook name"),
    kinds.Trigger: _hook_trigger,
    kinds.Enabled: Findings.boolean,
    kinds.Script: Findings.text,
    kinds.ScriptFile: Findings.text,
    kinds.Dependencies: _dependencies,
    kinds.ActionId: _action_id,
    kinds.ActionName: _matching(kinds.ActionName, "is no action name"),
    kinds.ActionGlob: _matching(kinds.ActionGlob, "matches no action name"),
    kinds.ActionTrigger: _action_trigger,
    kinds.Deployed: Findings.boolean,
    kinds.Bound: Findings.boolean,
    kinds.Code: _code,
    kinds.CodeFile: Findings.text,
    kinds.ActionDependencies: _few_dependencies,
    kinds.Runtime: _matching(kinds.Runtime, "is no runtime"),
    kinds.Position: _matching(kinds.Position, "is no position"),
}

HOOKS: Final = Resource(
    of="hooks",
    one="hook",
    edit=Shape(schema.HookEdit),
    pick=FieldsShape(schema.OneHook),
    select=FieldsShape(schema.HookSelector),
    set=FieldsShape(schema.SetHook),
    create=FieldsShape(schema.NewHook),
    expect=FieldsShape(schema.ExpectedHook),
    id=_hook_id,
    text="script",
    max_secrets=longest(kinds.Secrets),
)
ACTIONS: Final = Resource(
    of="actions",
    one="action",
    edit=Shape(schema.ActionEdit),
    pick=FieldsShape(schema.OneAction),
    select=FieldsShape(schema.ActionSelector),
    set=FieldsShape(schema.SetAction),
    create=FieldsShape(schema.NewAction),
    expect=FieldsShape(schema.ExpectedAction),
    id=_action_id,
    text="code",
    max_secrets=longest(kinds.ActionSecrets),
)
