"""What a mapping in the files that people write may hold: its keys, and which of them go together.

A mapping is a model; its shape, by which it is checked, and its part of the JSON Schema come from
the same keys and rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, get_args

import msgspec
from msgspec import Struct, UnsetType

from .source import Findings, dotted


class Rules(Struct, frozen=True, kw_only=True):
    """Which keys of a mapping go together."""

    #: Of each of these groups it needs a member; a member is a key, or several.
    needs: tuple[tuple[str | tuple[str, ...], ...], ...] = ()
    #: Keys, and those that cannot stand beside them.
    apart: Mapping[str, tuple[str, ...]] = {}
    #: Keys, `inner.key` in a mapping below, that need another to be true beside them, where they
    #: are not false themselves.
    wants: Mapping[str, str] = {}
    #: Keys, and another that must not be false beside them.
    spares: Mapping[str, str] = {}
    #: Keys, and another that must be beside them.
    beside: Mapping[str, str] = {}

    def json_schema(self) -> Iterator[dict[str, Any]]:
        """What must hold all together, as JSON Schema."""
        for group in self.needs:
            members = ([member] if isinstance(member, str) else [*member] for member in group)
            yield {"anyOf": [{"required": names} for names in members]}
        # Editors tell the key that is not allowed here; of `not` they could tell none.
        for name, others in self.apart.items():
            yield if_then({"required": [name]}, {"properties": dict.fromkeys(others, False)})
        for path, other in self.wants.items():
            true = {"required": [other], "properties": {other: {"const": True}}}
            yield if_then(_is_given(path), true)
        for name, other in self.spares.items():
            kept = {"properties": {other: {"not": {"const": False}}}}
            yield if_then({"required": [name]}, kept)
        for name, other in self.beside.items():
            yield if_then({"required": [name]}, {"required": [other]})


class Model(Struct, forbid_unknown_fields=True):
    """What people write is a mapping of known keys."""

    rules: ClassVar[Rules] = Rules()


class Shape:
    """What a mapping may hold, by its model."""

    def __init__(self, model: type[Model]) -> None:
        fields = msgspec.structs.fields(model)
        #: The kind of value of every key.
        self.kinds: Mapping[str, Any] = {each.encode_name: _kind(each.type) for each in fields}
        self.keys = self.kinds.keys()
        rules = model.rules
        required = [(each.encode_name,) for each in fields if each.required]
        self._needs = [(frozenset(group), group) for group in (*required, *rules.needs)]
        self._apart = [(name, frozenset(others)) for name, others in rules.apart.items()]
        self._wants = rules.wants.items()
        self._spares = rules.spares.items()
        self._beside = rules.beside.items()

    def of(self, found: Findings, key: str, value: object) -> dict[str, object]:
        """The known keys of the mapping that `value` is; what is wrong with them is complained of.

        The values themselves are still to be checked.
        """
        raw = found.mapping(key, value, self.keys)
        if not raw:
            return raw
        for names, group in self._needs:
            if names.isdisjoint(raw) and not any(
                isinstance(member, tuple) and raw.keys() >= {*member} for member in group
            ):
                found.add(key, f"needs {_listed(map(_shown, group), 'or')}")
        for name, others in self._apart:
            if name in raw and not others.isdisjoint(raw):
                wrong = [each for each in raw if each in others]
                found.add(dotted(key, name), f"does not go with {_shown(wrong)}")
        self._check_others(found, key, raw)
        return raw

    def _check_others(self, found: Findings, key: str, raw: Mapping[str, object]) -> None:
        """Complain of what is not beside a key as it must be."""
        for name, other in self._wants:
            if _given(raw, name) and raw.get(other) is not True:
                found.add(dotted(key, name), f"needs `{other}: true` beside it")
        for name, other in self._spares:
            if name in raw and raw.get(other) is False:
                found.add(dotted(key, name), f"does not go with `{other}: false`")
        for name, other in self._beside:
            if name in raw and other not in raw:
                found.add(dotted(key, name), f"needs `{other}` beside it")


def _given(raw: Mapping[str, object], path: str) -> bool:
    name, _, rest = path.partition(".")
    value = raw.get(name, False)
    if rest:
        return isinstance(value, dict) and _given(value, rest)
    return value is not False


def _shown(member: str | Iterable[str]) -> str:
    return f"`{member}`" if isinstance(member, str) else _listed(map(_shown, member), "and")


def _listed(words: Iterable[str], last: str) -> str:
    *most, final = words
    return f"{', '.join(most)} {last} {final}" if most else final


def _kind(annotation: Any) -> Any:
    given = [each for each in get_args(annotation) if each is not UnsetType]
    optional = UnsetType in get_args(annotation)
    return given[0] if optional and len(given) == 1 else annotation


def _is_given(path: str) -> dict[str, Any]:
    """What `_given` says."""
    name, _, rest = path.partition(".")
    inner = _is_given(rest) if rest else {"not": {"const": False}}
    return {"type": "object", "required": [name], "properties": {name: inner}}


def if_then(condition: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """In JSON Schema: where the one holds, the other must."""
    return {"if": condition, "then": rest}
