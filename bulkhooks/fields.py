"""The fields of hooks and actions as people write them, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from . import schema
from .items import Fields
from .schema import Shape, longest, matcher, rule, words
from .source import Findings, dotted, shown

_Check: TypeAlias = Callable[[Findings, str, object], object]

_TRIGGERS: Final = words(schema.Trigger)
_ACTION_TRIGGERS: Final = words(schema.ActionTrigger)
_is_package = matcher(schema.Package)
_is_version = matcher(schema.Version)


class FieldsShape(Shape):
    """A mapping of the fields of a hook or an action."""

    def __init__(self, model: type[Struct]) -> None:
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
    size, most = len(text.encode()), longest(schema.Code)
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
    most = longest(schema.ActionDependencies)
    if isinstance(value, dict) and len(value) > most:
        found.add(key, f"has {len(value)} packages; an action may have {most}")
    _dependencies(found, key, value)


_hook_id = _matching(schema.HookId, "is no hook id")
_action_id = _matching(schema.ActionId, "is no action id")
_CHECKS: Final[Mapping[Any, _Check]] = {
    schema.HookId: _hook_id,
    schema.HookName: _matching(schema.HookName, "is no hook name"),
    schema.HookGlob: _matching(schema.HookGlob, "matches no hook name"),
    schema.Trigger: _hook_trigger,
    schema.Enabled: Findings.boolean,
    schema.Script: Findings.text,
    schema.ScriptFile: Findings.text,
    schema.Dependencies: _dependencies,
    schema.ActionId: _action_id,
    schema.ActionName: _matching(schema.ActionName, "is no action name"),
    schema.ActionGlob: _matching(schema.ActionGlob, "matches no action name"),
    schema.ActionTrigger: _action_trigger,
    schema.Deployed: Findings.boolean,
    schema.Bound: Findings.boolean,
    schema.Code: _code,
    schema.CodeFile: Findings.text,
    schema.ActionDependencies: _few_dependencies,
    schema.Runtime: _matching(schema.Runtime, "is no runtime"),
    schema.Position: _matching(schema.Position, "is no position"),
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
    max_secrets=longest(schema.Secrets),
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
    max_secrets=longest(schema.ActionSecrets),
)
