"""Where a script reads what its hook is given: `user.email`, `const { secrets } = context.webtask`.

Followed through members, destructuring, names that stand for a part, and functions of the same
script that are called with one. What goes elsewhere whole is not followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .javascript import Script, parameters

if TYPE_CHECKING:
    from tree_sitter import Node

#: Steps of a path that are followed.
_DEPTH = 8
_INHERITED_NAMES = """
hasOwnProperty toString toLocaleString valueOf isPrototypeOf propertyIsEnumerable constructor
__proto__
"""
#: What every object has.
_INHERITED = frozenset(_INHERITED_NAMES.split())


@dataclass(frozen=True, slots=True)
class Read:
    """A part of what is given, and the whole expression that means it."""

    path: tuple[str, ...]
    node: Node
    #: Assigned or deleted, not read.
    written: bool = False
    #: Taken apart by a pattern, whose keys are reads of their own.
    destructured: bool = False


def reads_of(script: Script, function: Node, names: tuple[str, ...]) -> list[Read]:
    """All that a function reads of its parameters; `names` are the first steps of the paths."""
    found: list[Read] = []
    seen: set[tuple[int, tuple[str, ...]]] = set()
    patterns = parameters(function)[: len(names)]
    work: list[tuple[Node, tuple[str, ...]]] = []
    work += [(pattern, (name,)) for pattern, name in zip(patterns, names, strict=False)]
    while work:
        pattern, path = work.pop()
        if (pattern.id, path) in seen or len(path) > _DEPTH:
            continue
        seen.add((pattern.id, path))
        if pattern.type in ("identifier", "shorthand_property_identifier_pattern"):
            binding = script.binding(pattern)
            for use in binding.used if binding is not None else ():
                if script.written(use) and pattern not in patterns:
                    continue  # where the name gets the value that is followed
                read = _climb(script, use, path)
                found.append(read)
                work += [(further, read.path) for further in _passed_to(script, read.node)]
        else:
            taken = list(_taken(script, pattern, path))
            found += [read for read, _ in taken]
            work += [(further, read.path) for read, further in taken if further is not None]
    return sorted(found, key=lambda read: read.node.start_byte)


def missing(read: Read, fields: Mapping[str, str]) -> str | None:
    """The path up to the first step that no event tells, if there is one."""
    for length in range(1, len(read.path) + 1):
        known = ".".join(read.path[:length])
        if known in fields or read.path[length - 1] in _INHERITED:
            return None
        if not any(each.startswith(f"{known}.") for each in fields):
            return known
    return None


def _climb(script: Script, node: Node, path: tuple[str, ...]) -> Read:
    """From a name up to the whole of what it is the beginning of."""
    while (parent := script.parent(node)) is not None:
        if parent.type in ("member_expression", "subscript_expression"):
            key = script.key(parent) if script.stands_as(node, "object", parent) else None
            if key is None:
                break
            path = (*path, key)
        elif parent.type != "parenthesized_expression" and not _chosen(script, node, parent):
            break
        node = parent
    target = script.parent(node)
    pattern = None
    if target is not None and target.type == "variable_declarator":
        pattern = target.child_by_field_name("name")
    return Read(
        path,
        node,
        written=script.written(node),
        destructured=pattern is not None and pattern.type == "object_pattern",
    )


def _chosen(script: Script, node: Node, parent: Node) -> bool:
    """Whether an expression is what `a || b`, `a ?? b` or `a && b` may come to."""
    if parent.type != "binary_expression":
        return False
    operator = parent.child_by_field_name("operator")
    word = operator.type if operator is not None else ""
    return word in ("||", "??") or (word == "&&" and script.stands_as(node, "right", parent))


def _taken(
    script: Script, pattern: Node, path: tuple[str, ...]
) -> Iterator[tuple[Read, Node | None]]:
    """What a pattern takes from the value at a path, and the patterns that get it."""
    for each in pattern.named_children if pattern.type == "object_pattern" else ():
        if each.type == "rest_pattern":
            yield Read(path, each, destructured=True), each.named_children[0]
            continue
        name: Node | None = each
        if each.type in ("pair_pattern", "object_assignment_pattern"):
            name = each.child_by_field_name("key") or each.child_by_field_name("left")
        key = _key_of(script, name) if name is not None else None
        target = each.child_by_field_name("value") if each.type == "pair_pattern" else name
        if key is not None:
            further = _without_default(target)
            nested = further is not None and further.type == "object_pattern"
            yield Read((*path, key), each, destructured=nested), further
    if pattern.type == "assignment_pattern":
        inner = _without_default(pattern)
        if inner is not None:
            yield Read(path, pattern, destructured=inner.type == "object_pattern"), inner


def _key_of(script: Script, name: Node) -> str | None:
    if name.type == "shorthand_property_identifier_pattern":
        return script.text(name)
    return script.key(name)


def _without_default(pattern: Node | None) -> Node | None:
    if pattern is not None and pattern.type == "assignment_pattern":
        return pattern.child_by_field_name("left")
    return pattern


def _passed_to(script: Script, node: Node) -> Iterator[Node]:
    """The patterns that an expression's value goes to: a name, or a function's parameter."""
    parent = script.parent(node)
    if parent is None:
        return
    match parent.type:
        case "variable_declarator":
            target = parent.child_by_field_name("name")
        case "assignment_expression" if script.stands_as(node, "right", parent):
            target = parent.child_by_field_name("left")
        case "arguments":
            target = _parameter(script, node, parent)
        case _:
            return
    if target is not None and _only_value(script, target):
        yield target


def _only_value(script: Script, target: Node) -> bool:
    """Whether a pattern's names have no other value: a name that is given two is not followed."""
    if target.type != "identifier":
        return target.type in ("object_pattern", "assignment_pattern")
    binding = script.binding(target)
    if binding is None or len(binding.declared) != 1:
        return False
    parent = script.parent(binding.declared[0])
    first = parent is not None and parent.child_by_field_name("value") is not None
    return first + sum(script.written(use) for use in binding.used) <= 1


def _parameter(script: Script, node: Node, arguments: Node) -> Node | None:
    """The parameter that an argument becomes, where the function is one of the script."""
    call = script.parent(arguments)
    if call is None or call.type != "call_expression":
        return None
    given = [each for each in arguments.named_children if each.type != "comment"]
    if any(each.type == "spread_element" for each in given):
        return None
    function = script.function(call.child_by_field_name("function"))
    wanted = parameters(function) if function is not None else []
    place = [each.id for each in given].index(node.id)
    return wanted[place] if place < len(wanted) else None
