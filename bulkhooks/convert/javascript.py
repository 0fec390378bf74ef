"""JavaScript read as a tree: who declares a name, who uses it, and where an expression stands.

tree-sitter parses; which declaration an identifier means is worked out here, as the language scopes
it. A script may be as deep as it likes: nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

FUNCTIONS = frozenset(
    (
        *("function_declaration", "function_expression", "arrow_function", "method_definition"),
        *("generator_function", "generator_function_declaration"),
    )
)
_SCOPES = FUNCTIONS | {
    *("program", "statement_block", "for_statement", "for_in_statement", "catch_clause"),
    *("switch_body", "class", "class_declaration", "class_static_block"),
}
_NAMES = frozenset(
    ("identifier", "shorthand_property_identifier", "shorthand_property_identifier_pattern")
)
_LEXICAL = frozenset(("let", "const", "class"))


class NotJavaScript(Exception):
    """A text does not parse as a CommonJS module; `line` is the first that is wrong."""

    def __init__(self, line: int, what: str) -> None:
        self.line, self.what = line, what
        super().__init__(f"line {line}: {what}")


@dataclass(eq=False, slots=True)
class Binding:
    """One declared name: how and where it is declared, and every other place that means it."""

    name: str
    kind: str
    declared: list[Node]
    used: list[Node] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Scope:
    """The names of one function or block."""

    outer: _Scope | None
    hoists: bool
    names: dict[str, Binding] = field(default_factory=dict)

    def find(self, name: str) -> Binding | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None

    def function(self) -> _Scope:
        """Where a `var` goes."""
        scope = self
        while not scope.hoists and scope.outer is not None:
            scope = scope.outer
        return scope


class Script:
    """A parsed script."""

    def __init__(self, code: str) -> None:
        """Raises NotJavaScript."""
        try:
            self.code = code.encode()
        except UnicodeEncodeError as error:
            line = code.count("\n", 0, error.start) + 1
            raise NotJavaScript(line, "half of a surrogate pair is no text") from error
        self.root = _parser().parse(self.code).root_node
        #: All nodes, each after the one that holds it, in the order of the text.
        self.nodes: list[Node] = []
        #: Identifiers that no declaration of the script stands for.
        self.free: list[Node] = []
        self._parents: dict[int, Node] = {}
        self._bindings: dict[int, Binding] = {}
        self._walk()
        self._check()
        self._bind()

    def text(self, node: Node) -> str:
        """The source of a node."""
        return self.code[node.start_byte : node.end_byte].decode()

    def line(self, node: Node) -> int:
        """The line that a node starts on, from 1."""
        return int(node.start_point[0]) + 1

    def parent(self, node: Node) -> Node | None:
        """What holds a node; None for the whole script."""
        return self._parents.get(node.id)

    def around(self, node: Node) -> Iterator[Node]:
        """What holds a node, from the inside out."""
        while (outer := self._parents.get(node.id)) is not None:
            yield outer
            node = outer

    def function_of(self, node: Node) -> Node | None:
        """The function that a node is in, if it is in one."""
        return next((outer for outer in self.around(node) if outer.type in FUNCTIONS), None)

    def inside(self, node: Node) -> list[Node]:
        """A node and all in it."""
        return [each for each in self.nodes if _within(each, node)]

    def binding(self, name: Node) -> Binding | None:
        """What an identifier means; None where it is a global."""
        return self._bindings.get(name.id)

    def stands_as(self, node: Node, role: str, of: Node | None) -> bool:
        """Whether a node is the field `role` of another."""
        found = of.child_by_field_name(role) if of is not None else None
        return found is not None and found.id == node.id

    def written(self, node: Node) -> bool:
        """Whether an expression is assigned to, counted up or down, or deleted."""
        parent = self.parent(node)
        while parent is not None and parent.type == "parenthesized_expression":
            node, parent = parent, self.parent(parent)
        if parent is None:
            return False
        match parent.type:
            case "assignment_expression" | "augmented_assignment_expression" | "for_in_statement":
                return self.stands_as(node, "left", parent)
            case "assignment_pattern" | "object_assignment_pattern":
                return self.stands_as(node, "left", parent)
            case "update_expression" | "array_pattern" | "rest_pattern":
                return True
            case "pair_pattern":
                return self.stands_as(node, "value", parent)
            case "unary_expression":
                operator = parent.child_by_field_name("operator")
                return operator is not None and operator.type == "delete"
            case _:
                return node.type == "shorthand_property_identifier_pattern"

    def key(self, node: Node) -> str | None:
        """The name that a property's key, a member or a string in brackets spells; else None."""
        match node.type:
            case "property_identifier" | "number":
                return self.text(node)
            case "computed_property_name":
                return self.key(node.named_children[0])
            case "member_expression":
                named = node.child_by_field_name("property")
                return self.key(named) if named is not None else None
            case "subscript_expression":
                index = node.child_by_field_name("index")
                return self.string(index) if index is not None else None
            case _:
                return self.string(node)

    def string(self, node: Node) -> str | None:
        """The value of a string, or of a template without holes; None of all else."""
        if node.type not in ("string", "template_string"):
            return None
        if any(each.type == "template_substitution" for each in node.named_children):
            return None
        return "".join(
            _unescaped(self.text(each)) if each.type == "escape_sequence" else self.text(each)
            for each in node.named_children
        )

    def function(self, node: Node | None) -> Node | None:
        """The function that an expression is, or that its name was declared as and stays."""
        seen: set[int] = set()
        while node is not None and node.id not in seen:
            seen.add(node.id)
            if node.type in FUNCTIONS:
                return node
            if node.type == "parenthesized_expression":
                node = node.named_children[-1]
            elif node.type == "assignment_expression":
                node = node.child_by_field_name("right")
            elif node.type == "identifier":
                node = self.value(node)
            else:
                return None
        return None

    def value(self, name: Node) -> Node | None:
        """What a name stands for, where it is declared once and given one value."""
        binding = self.binding(name)
        if binding is None or len(binding.declared) != 1:
            return None
        declared = binding.declared[0]
        parent = self.parent(declared)
        if parent is None or not self.stands_as(declared, "name", parent):
            return None
        first = parent if parent.type in FUNCTIONS else parent.child_by_field_name("value")
        given = [use for use in binding.used if self.written(use)]
        if len(given) + (first is not None) != 1:
            return None
        if first is not None:
            return first
        assigned = self.parent(given[0])
        if assigned is None or assigned.type != "assignment_expression":
            return None
        return assigned.child_by_field_name("right")

    def _walk(self) -> None:
        stack = [self.root]
        while stack:
            node = stack.pop()
            self.nodes.append(node)
            inner = node.named_children
            for child in inner:
                self._parents[child.id] = node
            stack.extend(reversed(inner))

    def _check(self) -> None:
        for node in self.nodes:
            if node.is_error or node.is_missing or node.type.startswith("jsx_"):
                raise NotJavaScript(self.line(node), "this is not JavaScript")
            if node.type in ("import_statement", "export_statement"):
                raise NotJavaScript(
                    self.line(node), "an ES module: hooks and actions are CommonJS modules"
                )
            if node.type == "await_expression" and not self._may_await(node):
                raise NotJavaScript(self.line(node), "`await` outside of an async function")
        if self.root.has_error:  # in a token that has no name of its own
            raise NotJavaScript(_first_error(self.root), "this is not JavaScript")

    def _may_await(self, node: Node) -> bool:
        function = self.function_of(node)
        return function is not None and is_async(function)

    def _bind(self) -> None:
        scopes: dict[int, _Scope] = {}
        for node in self.nodes:
            parent = self.parent(node)
            scope = scopes[parent.id] if parent is not None else None
            if node.type in _SCOPES and not _is_body(node, parent):
                hoists = node.type in FUNCTIONS or node.type in ("program", "class_static_block")
                scopes[node.id] = _Scope(scope, hoists)
            elif scope is not None:
                scopes[node.id] = scope
            self._declare(node, scopes[node.id])
        for node in self.nodes:
            if node.type in _NAMES and node.id not in self._bindings:
                scope = scopes[node.id]
                binding = scope.find(self.text(node))
                if binding is None:
                    self.free.append(node)
                else:
                    binding.used.append(node)
                    self._bindings[node.id] = binding

    def _declare(self, node: Node, scope: _Scope) -> None:
        """Enter what a node declares; `scope` is its own, where it has one."""
        outer = scope.outer or scope
        name = node.child_by_field_name("name")
        match node.type:
            case "variable_declarator":
                parent = self.parent(node)
                kind = self.text(parent.children[0]) if parent is not None else "var"
                self._enter(name, kind, scope.function() if kind == "var" else scope)
            case "for_in_statement" if (kind_of := node.child_by_field_name("kind")) is not None:
                kind, left = self.text(kind_of), node.child_by_field_name("left")
                self._enter(left, kind, scope.function() if kind == "var" else scope)
            case "function_declaration" | "generator_function_declaration":
                self._enter(name, "function", outer.function())
            case "class_declaration":
                self._enter(name, "class", outer)
            case "class":
                self._enter(name, "name", scope)
            case "catch_clause":
                self._enter(node.child_by_field_name("parameter"), "catch", scope)
            case "function_expression" | "generator_function" if name is not None:
                self._enter(name, "name", scope)
            case _:
                pass
        for pattern in parameters(node) if node.type in FUNCTIONS else ():
            self._enter(pattern, "parameter", scope)

    def _enter(self, pattern: Node | None, kind: str, scope: _Scope) -> None:
        for name in names_of(pattern) if pattern is not None else ():
            text = self.text(name)
            binding = scope.names.get(text)
            if binding is not None and kind in _LEXICAL and binding.kind in _LEXICAL:
                raise NotJavaScript(self.line(name), f"`{text}` is declared twice")
            if binding is None or binding.kind == "name":
                binding = scope.names[text] = Binding(text, kind, [])
            binding.declared.append(name)
            self._bindings[name.id] = binding


def names_of(pattern: Node) -> Iterator[Node]:
    """The identifiers that a pattern declares or assigns."""
    stack = [pattern]
    while stack:
        node = stack.pop()
        match node.type:
            case "identifier" | "shorthand_property_identifier_pattern":
                yield node
            case "object_pattern" | "array_pattern" | "rest_pattern":
                stack.extend(reversed(node.named_children))
            case "pair_pattern":
                if (value := node.child_by_field_name("value")) is not None:
                    stack.append(value)
            case "assignment_pattern" | "object_assignment_pattern":
                if (left := node.child_by_field_name("left")) is not None:
                    stack.append(left)
            case _:
                pass


def parameters(function: Node) -> list[Node]:
    """The patterns of a function's parameters."""
    if (only := function.child_by_field_name("parameter")) is not None:
        return [only]
    listed = function.child_by_field_name("parameters")
    if listed is None:
        return []
    return [each for each in listed.named_children if each.type != "comment"]


def is_async(function: Node) -> bool:
    """Whether a function is async."""
    return any(child.type == "async" for child in function.children)


def _within(node: Node, outer: Node) -> bool:
    return bool(outer.start_byte <= node.start_byte and node.end_byte <= outer.end_byte)


def _is_body(node: Node, parent: Node | None) -> bool:
    """Whether a block is the body of a function, which shares the scope of its parameters."""
    return node.type == "statement_block" and parent is not None and parent.type in FUNCTIONS


def _first_error(root: Node) -> int:
    node = root
    while (inner := next((each for each in node.children if each.has_error), None)) is not None:
        node = inner
    return int(node.start_point[0]) + 1


def _unescaped(sequence: str) -> str:
    """What an escape in a string stands for."""
    simple = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
    rest = sequence[1:]
    if rest[:1] in ("x", "u") and len(rest) > 1:
        number = int(rest[1:].strip("{}"), 16)
        return chr(number) if number < 0xD800 or 0xDFFF < number <= 0x10FFFF else "\ufffd"
    return "" if rest == "\n" else simple.get(rest, rest)


@cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_javascript

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_javascript.language()))
