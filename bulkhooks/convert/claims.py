"""What a credentials-exchange hook answers with: claims and scopes that no action can set.

The scope of a token is a part of a hook's answer. An action sets claims alone, and leaves the scope
as it was granted: a hook that answers with another scope cannot be carried over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .hookscript import HookScript
from .javascript import Binding, names_of, parameters

if TYPE_CHECKING:
    from tree_sitter import Node

_RESERVED_NAMES = """
acr act active amr at_hash ath attest aud auth_time authorization_details azp c_hash client_id
cnf cty dest entitlements events exp groups gty htm htu iat internalService iss jcard jku jti
jwe jwk kid may_act mky nbf nonce object_id org_id org_name orig origid permissions roles rph
s_hash sid sip_callid sip_cseq_num sip_date sip_from_tag sip_via_branch sub sub_jwk toe txn typ
uuid vot vtm x5t#S256
"""
#: Claims that are Auth0's own.
RESERVED = frozenset(_RESERVED_NAMES.split())
_MUTATORS_NAMES = """
push pop shift unshift splice sort reverse fill copyWithin
"""
#: What changes an array in its place.
MUTATORS = frozenset(_MUTATORS_NAMES.split())
_CHANGED = "an action cannot change the scope of a token"
_NONE = "it answers without `scope`, which takes every scope from the token: an action cannot"


def claim_blockers(hook: HookScript) -> Iterator[tuple[int, str]]:
    """What of the answers no action can set, with its line."""
    if hook.trigger == "credentials-exchange" and hook.function is not None:
        yield from _Answers(hook).blockers()


class _Answers:
    """The objects that a hook hands to its callback, as far as they are made in plain sight."""

    def __init__(self, hook: HookScript) -> None:
        self._hook, self._script = hook, hook.script
        patterns = parameters(hook.function)[1:2] if hook.function is not None else []
        names = [name for pattern in patterns for name in names_of(pattern)]
        #: The scope that was granted, by the names it has in the script.
        self._granted = [each for name in names if (each := self._script.binding(name))]
        for node in self._script.nodes if self._granted else ():
            alias = node.child_by_field_name("name") if node.type == "variable_declarator" else None
            value = node.child_by_field_name("value") if alias is not None else None
            if alias is not None and alias.type == "identifier" and self._is_granted(value):
                self._granted += [each for each in [self._script.binding(alias)] if each]

    def blockers(self) -> Iterator[tuple[int, str]]:
        told: set[int] = set()
        for call, given in self._hook.calls.values():
            if len(given) > 1 and given[0].type not in ("new_expression", "string"):
                binding = self._script.binding(given[1])
                answer = id(binding) if binding is not None else given[1].id
                if answer not in told:
                    told.add(answer)
                    yield from self._answered(call, given[1])
        for binding in self._granted:
            for use in binding.used:
                if self._script.written(use) or self._mutated(use):
                    yield self._script.line(use), _CHANGED

    def _answered(self, call: Node, answer: Node) -> Iterator[tuple[int, str]]:
        script, keys = self._script, list(self._keys(answer))
        for key, value, place in keys:
            if key in RESERVED:
                yield script.line(place), f"an action cannot set the claim `{key}`"
            if key == "scope" and not self._is_granted(value):
                yield script.line(place), _CHANGED
        if self._in_plain_sight(answer) and not any(key == "scope" for key, _, _ in keys):
            yield script.line(call), _NONE
        for use in self._uses(answer):
            member = script.parent(use)
            if member is not None and script.key(member) == "scope" and self._mutated(member):
                yield script.line(member), _CHANGED

    def _keys(self, answer: Node) -> Iterator[tuple[str, Node | None, Node]]:
        """Key, value and place of what an answer is made of."""
        script = self._script
        if answer.type == "object":
            for each in answer.named_children:
                if each.type == "shorthand_property_identifier":
                    yield script.text(each), each, each
                elif (
                    each.type == "pair" and (key := script.key(each.named_children[0])) is not None
                ):
                    yield key, each.child_by_field_name("value"), each
            return
        for declared in self._declared(answer):
            yield from self._keys(declared)
        for use in self._uses(answer):
            member = script.parent(use)
            if member is None or not script.stands_as(use, "object", member):
                continue
            key, target = script.key(member), script.parent(member)
            if key is not None and target is not None and script.stands_as(member, "left", target):
                yield key, target.child_by_field_name("right"), member

    def _uses(self, answer: Node) -> list[Node]:
        binding = self._script.binding(answer)
        return binding.used if binding is not None else []

    def _declared(self, answer: Node) -> Iterator[Node]:
        """The objects that a name is declared as."""
        binding = self._script.binding(answer)
        for name in binding.declared if binding is not None else ():
            held = self._script.parent(name)
            value = held.child_by_field_name("value") if held is not None else None
            if value is not None and value.type == "object":
                yield value

    def _is_granted(self, value: Node | None) -> bool:
        while value is not None and value.type in ("parenthesized_expression", "binary_expression"):
            operator = value.child_by_field_name("operator")
            if operator is not None and operator.type not in ("||", "??"):
                return False
            value = value.named_children[0]  # `scope || []` says nothing else
        return value is not None and self._script.binding(value) in self._granted

    def _mutated(self, node: Node) -> bool:
        """Whether an array is changed in its place."""
        script, parent = self._script, self._script.parent(node)
        if parent is None or not script.stands_as(node, "object", parent):
            return False
        return script.written(parent) or script.key(parent) in MUTATORS

    def _in_plain_sight(self, answer: Node) -> bool:
        """Whether nothing but what `_keys` tells can be in an answer."""
        script = self._script
        if answer.type == "object":
            return all(
                each.type in ("pair", "shorthand_property_identifier", "comment")
                and (each.type != "pair" or script.key(each.named_children[0]) is not None)
                for each in answer.named_children
            )
        declared = list(self._declared(answer))
        binding: Binding | None = script.binding(answer)
        if binding is None or len(declared) != 1 or not self._in_plain_sight(declared[0]):
            return False
        return all(self._plain_use(use) for use in binding.used)

    def _plain_use(self, use: Node) -> bool:
        """Whether a name is handed to the callback, or has a member of it named."""
        script, parent = self._script, self._script.parent(use)
        if parent is None:
            return False
        if parent.type == "arguments":
            return parent.id in self._hook.calls
        return script.stands_as(use, "object", parent) and script.key(parent) is not None
