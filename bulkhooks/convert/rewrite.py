"""A plain hook written anew, as a person would write the action.

Plain is what can be seen to do the same: one function that ends every way it takes with a call of
its callback, and reads single fields of what it is given. Whatever else there is, wins a NotPlain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .hookscript import HookScript, edited
from .javascript import FUNCTIONS, Binding, parameters

if TYPE_CHECKING:
    from tree_sitter import Node

#: Fields that are no plain values: whoever gets one may change it, and an event is not his.
_OBJECTS = frozenset(("metadata", "client_metadata", "geoip", "body", "scope", "secrets"))
_METADATA = {"user_metadata": "setUserMetadata", "app_metadata": "setAppMetadata"}
#: What is given and cannot be changed by it: comparisons, sums, conditions, texts.
_LOOKS = frozenset(("template_substitution", "if_statement", "ternary_expression"))
_LOGICAL = frozenset(("||", "&&", "??"))
#: Methods of arrays and texts that leave them as they are.
_LEAVE = frozenset(
    ("includes", "indexOf", "lastIndexOf", "join", "length", "some", "every", "startsWith")
)
_CONSTANTS = frozenset(("string", "number", "true", "false", "null"))
_NOTHING = frozenset(("null", "undefined", "false"))
_FURNITURE = frozenset(("comment", "empty_statement", "function_declaration"))
_NEVER = frozenset(("this", "super", "meta_property", "with_statement"))

_SETTERS = {
    "pre-user-registration": """
// A hook answered in JSON: what is undefined in it was left out. Only metadata was taken of it.
function setMetadata(api, response) {
  const { user } = JSON.parse(JSON.stringify({ response })).response ?? {};
  for (const [key, value] of Object.entries(user?.user_metadata ?? {})) {
    api.user.setUserMetadata(key, value);
  }
  for (const [key, value] of Object.entries(user?.app_metadata ?? {})) {
    api.user.setAppMetadata(key, value);
  }
}
""",
    "credentials-exchange": """
// A hook answered in JSON: what is undefined in it was left out. The scope stays as it was granted.
function setClaims(api, response) {
  const answer = JSON.parse(JSON.stringify({ response })).response;
  const { scope, ...claims } = answer instanceof Object ? answer : {};
  for (const [claim, value] of Object.entries(claims)) {
    api.accessToken.setCustomClaim(claim, value);
  }
}
""",
}
_SETTER = {"pre-user-registration": "setMetadata", "credentials-exchange": "setClaims"}


class NotPlain(Exception):
    """A script that only `wrap` can carry over; `line` is where that shows."""

    def __init__(self, line: int, what: str) -> None:
        self.line, self.what = line, what
        super().__init__(f"line {line}: {what}")


def rewritten(hook: HookScript, pins: list[tuple[int, int, str]]) -> str:
    """The action's code; `pins` are edits of what it loads. Raises NotPlain."""
    return _Rewriting(hook, pins).code()


class _Rewriting:
    """One script on its way."""

    def __init__(self, hook: HookScript, pins: list[tuple[int, int, str]]) -> None:
        self._hook, self._script, self._signature = hook, hook.script, hook.signature
        #: What changes where a parameter is read or a package is loaded, in the order of the text.
        self._edits = pins
        self._starts: list[int] = []
        self._lasts: dict[int, Node | None] = {}
        self._needs_setter = False
        self._function = self._plain_function()
        body = self._function.child_by_field_name("body")
        if body is None or body.type != "statement_block":
            raise self._not(self._function, "it is a single expression")
        self._body: Node = body

    def code(self) -> str:
        self._check_names()
        callback = self._parameters()
        statements = self._statements(callback)
        if not self._ends(set(statements)):
            raise self._not(self._body, "it may end without calling back")
        ended: list[tuple[int, int, str]] = []
        within: set[int] = set()
        for use, statement in zip(callback.used, statements.values(), strict=True):
            ended.append(self._ending(use, statement))
            within.update(self._inside(statement))
        whole = self._script.parent(self._hook.export)
        assert whole is not None
        given = "event, api" if self._signature.api else "event"
        head = f"exports.{self._signature.export} = async ({given}) => "
        edits = [
            *(edit for place, edit in enumerate(self._edits) if place not in within),
            *ended,
            (whole.start_byte, self._body.start_byte, head),
            (self._body.end_byte, whole.end_byte, ";"),
        ]
        code = edited(self._script.code, edits).rstrip("\n") + "\n"
        return code + (_SETTERS[self._hook.trigger] if self._needs_setter else "")

    def _not(self, node: Node, what: str) -> NotPlain:
        return NotPlain(self._script.line(node), what)

    def _plain_function(self) -> Node:
        """The hook, where it is what `module.exports` is set to, once and at the top."""
        script, export = self._script, self._hook.export
        statement = script.parent(export)
        right = export.child_by_field_name("right")
        if statement is None or right is None or script.parent(statement) != script.root:
            raise self._not(export, "it is not exported by a statement of its own")
        if right.type not in ("function_expression", "arrow_function"):
            raise self._not(export, "what is exported is not written there as a function")
        return right

    def _check_names(self) -> None:
        """Nothing may be there that means another thing in the action."""
        script = self._script
        ours = {"event", "api", "await", "eval", "arguments", *_SETTER.values()}
        for node in script.nodes:
            if node.type in _NEVER and self._is_of_the_hook(node):
                raise self._not(node, f"it uses `{script.text(node)}`")
            named = node.type in ("identifier", "shorthand_property_identifier_pattern")
            if named and script.text(node) in ours:
                raise self._not(node, f"`{script.text(node)}` has a meaning of its own")
        for node in script.free:
            if script.text(node) in ("module", "exports") and not self._is_export(node):
                raise self._not(node, "more is exported than the hook")
        name = self._function.child_by_field_name("name")
        binding = script.binding(name) if name is not None else None
        if binding is not None and binding.used:
            raise self._not(binding.used[0], "it calls itself")

    def _is_export(self, node: Node) -> bool:
        left = self._hook.export.child_by_field_name("left")
        return self._script.stands_as(node, "object", left)

    def _is_of_the_hook(self, node: Node) -> bool:
        """Whether `this` would be the hook's own, or that of the whole script."""
        if node.type == "with_statement":
            return True
        own = (each for each in self._script.around(node) if each.type in FUNCTIONS)
        holder = next((each for each in own if each.type != "arrow_function"), None)
        return holder is None or holder == self._function or self._function.type == "arrow_function"

    def _parameters(self) -> Binding:
        """Puts fields of the event where parameters are read; gives the callback."""
        patterns = parameters(self._function)
        if len(patterns) != len(self._signature.parameters):
            raise self._not(self._function, "its parameters are not the usual ones")
        bindings = []
        for pattern in patterns:
            binding = self._script.binding(pattern) if pattern.type == "identifier" else None
            if binding is None or len(binding.declared) != 1:
                raise self._not(pattern, "a parameter is more than a name")
            bindings.append(binding)
        edits = list(self._edits)
        for binding, name in zip(bindings[:-1], self._signature.parameters, strict=False):
            edits += [self._field(use, name) for use in binding.used]
        self._edits = sorted(edits)
        self._starts = [start for start, _, _ in self._edits]
        return bindings[-1]

    def _field(self, use: Node, name: str) -> tuple[int, int, str]:
        """What comes in the place of one read of a parameter."""
        script, path, node = self._script, name, use
        while path not in self._signature.fields:
            parent = script.parent(node)
            key = script.key(parent) if parent is not None else None
            if parent is None or key is None or not script.stands_as(node, "object", parent):
                raise self._not(use, f"`{path}` is used whole")
            path, node = f"{path}.{key}", parent
        if script.written(node):
            raise self._not(use, f"`{path}` is changed")
        if path.rpartition(".")[2] in _OBJECTS | _METADATA.keys() and not self._safe(node, path):
            raise self._not(use, f"`{path}` is used where it might be changed")
        text, parent = self._signature.fields[path], script.parent(node)
        if node.type == "shorthand_property_identifier":
            return node.start_byte, node.end_byte, f"{script.text(node)}: {text}"
        if "?." in text and script.stands_as(node, "object", parent):
            text = f"({text})"
        return node.start_byte, node.end_byte, text

    def _safe(self, node: Node, path: str) -> bool:
        """Whether an object of the event is only looked at where it is read."""
        script, parent = self._script, self._script.parent(node)
        if parent is None:
            return False
        if path == "scope" and (parent.type == "pair" or node.type.startswith("shorthand")):
            return True
        if path == "scope" and parent.type == "assignment_expression":
            return True
        if path.endswith("secrets") and parent.type == "variable_declarator":
            pattern = parent.child_by_field_name("name")
            return pattern is not None and pattern.type == "object_pattern"
        if not script.stands_as(node, "object", parent) or script.written(parent):
            return path != "scope" and self._looked_at(node)
        key = script.key(parent)
        if path == "scope":
            return key in _LEAVE
        if path.endswith("secrets"):
            return key is not None
        return key is not None and self._deeper(parent)

    def _deeper(self, node: Node) -> bool:
        """The same of what is in metadata: `user.app_metadata.tags.includes("a")`."""
        script, parent = self._script, self._script.parent(node)
        while parent is not None and script.stands_as(node, "object", parent):
            key = script.key(parent)
            if key is None or key in _LEAVE:
                return key is not None and not script.written(parent)
            node, parent = parent, script.parent(parent)
        return not script.written(node) and self._looked_at(node)

    def _looked_at(self, node: Node) -> bool:
        """Whether a value is compared, added, asked for, or answered with: never changed."""
        parent = self._script.parent(node)
        while parent is not None and parent.type in (
            "parenthesized_expression",
            "binary_expression",
        ):
            operator = parent.child_by_field_name("operator")
            if operator is not None and operator.type not in _LOGICAL:
                return True
            node, parent = parent, self._script.parent(parent)
        if parent is None:
            return False
        if parent.type == "unary_expression" or parent.type in _LOOKS:
            return parent.type != "ternary_expression" or self._script.stands_as(
                node, "condition", parent
            )
        return parent.type == "pair" and self._is_answered(parent)

    def _is_answered(self, node: Node) -> bool:
        """Whether it is a part of what the callback is called with, of which a copy is made."""
        around = self._script.around(node)
        outer = next((each for each in around if each.type not in ("object", "pair")), None)
        return outer is not None and outer.id in self._hook.calls

    def _statements(self, callback: Binding) -> dict[int, Node]:
        """The statements that call back, by their ids: each the end of its way.

        Nothing but they may return.
        """
        script, found = self._script, {}
        for use in callback.used:
            statement = self._statement(use)
            if statement is None:
                raise self._not(use, "the callback is not only called and left")
            holder = next(
                e for e in script.around(statement) if e.type in FUNCTIONS | {"try_statement"}
            )
            if holder != self._function:
                raise self._not(use, "the callback is called in a function or a `try` of its own")
            if statement.type == "expression_statement" and not self._is_last(statement):
                raise self._not(use, "it goes on after the callback")
            found[statement.id] = statement
        for node in script.nodes:
            returns = node.type == "return_statement" and node.id not in found
            if returns and script.function_of(node) in (None, self._function):
                raise self._not(node, "it returns without calling back")
        return found

    def _statement(self, use: Node) -> Node | None:
        """The statement that does nothing but call the callback."""
        call = self._script.parent(use)
        if (
            call is None
            or call.type != "call_expression"
            or not self._script.stands_as(use, "function", call)
        ):
            return None
        statement = self._script.parent(call)
        whole = statement is not None and statement.type in (
            "return_statement",
            "expression_statement",
        )
        return statement if whole else None

    def _is_last(self, node: Node) -> bool:
        """Whether nothing comes after a statement, up to the end of the hook."""
        while node != self._body:
            parent = self._script.parent(node)
            if parent is None:
                return False
            if parent.type == "statement_block":
                if self._last_of(parent) != node:
                    return False
            elif parent.type not in ("if_statement", "else_clause"):
                return False
            node = parent
        return True

    def _last_of(self, block: Node) -> Node | None:
        """The last statement of a block that is carried out."""
        if block.id not in self._lasts:
            ways = [each for each in block.named_children if each.type not in _FURNITURE]
            self._lasts[block.id] = ways[-1] if ways else None
        return self._lasts[block.id]

    def _ends(self, calling: set[int]) -> bool:
        """Whether each way through the hook ends in a call of the callback, or throws."""
        work = [self._body]
        while work:
            node = work.pop()
            match node.type:
                case "return_statement" | "throw_statement":
                    continue  # that the returns call back is known
                case "statement_block" if (last := self._last_of(node)) is not None:
                    work.append(last)
                case "else_clause":
                    work.append(node.named_children[-1])
                case "if_statement" if node.child_by_field_name("alternative") is not None:
                    work += [each for each in node.named_children[1:] if each.type != "comment"]
                case _ if node.id not in calling:
                    return False
                case _:
                    continue
        return True

    def _ending(self, use: Node, statement: Node) -> tuple[int, int, str]:
        """What comes in the place of a statement that calls back."""
        call = self._script.parent(use)
        arguments = call.child_by_field_name("arguments") if call is not None else None
        assert arguments is not None
        lines = list(self._answer(use, self._hook.calls[arguments.id][1]))
        block = self._script.parent(statement)
        in_block = block is not None and block.type == "statement_block"
        last = in_block and self._is_last(statement)
        if not last and lines and not lines[-1].startswith("throw"):
            lines[-1:] = [f"return {lines[-1]}"] if len(lines) == 1 else [lines[-1], "return;"]
        elif not last and not lines:
            lines = ["return;"]
        start = self._script.code.rfind(b"\n", 0, statement.start_byte) + 1
        before = self._script.code[start : statement.start_byte].decode()
        indent = before[: len(before) - len(before.lstrip())]
        text = f"\n{indent}".join(lines)
        if len(lines) > 1 and not in_block:
            text = "{ " + " ".join(lines) + " }"
        start = start - 1 if not (text or before.strip()) else statement.start_byte
        return start, statement.end_byte, text

    def _answer(self, use: Node, given: list[Node]) -> Iterator[str]:
        """The statements that do what a call of the callback did."""
        if len(given) > 2 or any(each.type == "spread_element" for each in given):
            raise self._not(use, "the callback is given more than an error and an answer")
        error = given[0] if given else None
        if error is not None and error.type not in _NOTHING:
            if len(given) > 1 and given[1].type not in _NOTHING | _CONSTANTS:
                raise self._not(use, "the callback is given an error and an answer")
            yield self._refusal(error)
        elif len(given) > 1 and given[1].type not in _NOTHING:
            yield from self._carried(given[1])

    def _refusal(self, error: Node) -> str:
        """An error that is made where it is handed over, denied or thrown."""
        script, trigger = self._script, self._hook.trigger
        kind = error.child_by_field_name("constructor") if error.type == "new_expression" else None
        given = error.child_by_field_name("arguments")
        listed = (
            [n for n in given.named_children if n.type != "comment"] if given is not None else []
        )
        if error.type == "string" and script.string(error):
            words, name = [self._text(error)], ""
        elif kind is None or script.binding(kind) is not None or not listed:
            raise self._not(error, "whether it is an error is known only when it runs")
        elif not self._is_text(listed[0]):
            raise self._not(error, "the reason is no text")
        else:
            words, name = [self._text(each) for each in listed], script.text(kind)
        if name not in ("", "Error", *self._signature.errors):
            raise self._not(error, f"it is a {name}")
        if trigger == "pre-user-registration":
            count = 2 if name in self._signature.errors else 1
            return f"api.access.deny({', '.join(words[:count])});"
        if trigger == "credentials-exchange":
            code = self._signature.errors.get(name, "server_error")
            return f'api.access.deny("{code}", {words[0]});'
        return f"throw {self._text(error)};"

    def _carried(self, answer: Node) -> Iterator[str]:
        """What an answer sets. Where nobody took one, it is left out, if making it does nothing."""
        trigger = self._hook.trigger
        if trigger not in _SETTER:
            if answer.type in _CONSTANTS or (answer.type == "object" and not answer.named_children):
                return
            raise self._not(answer, "it answers with more than nothing")
        constants = self._constants(answer)
        if constants is None:
            self._needs_setter = True
            yield f"{_SETTER[trigger]}(api, {self._text(answer)});"
        else:
            yield from constants

    def _constants(self, answer: Node) -> list[str] | None:
        """Calls for an answer that is spelled out, in which nothing is left to be found out."""
        if self._hook.trigger == "credentials-exchange":
            pairs = self._pairs(answer, free="scope")
            return (
                None
                if pairs is None
                else [f"api.accessToken.setCustomClaim({key}, {value});" for key, value in pairs]
            )
        users = (
            [n for n in answer.named_children if n.type != "comment"]
            if answer.type == "object"
            else []
        )
        if len(users) > 1 or answer.type != "object":
            return None
        if not users:
            return []
        name, user = users[0].child_by_field_name("key"), users[0].child_by_field_name("value")
        if (
            name is None
            or self._script.key(name) != "user"
            or user is None
            or user.type != "object"
        ):
            return None
        return self._metadata(user)

    def _metadata(self, user: Node) -> list[str] | None:
        found: dict[str, list[str]] = {name: [] for name in _METADATA}
        seen = set()
        for each in (n for n in user.named_children if n.type != "comment"):
            name, value = each.child_by_field_name("key"), each.child_by_field_name("value")
            key = self._script.key(name) if name is not None else None
            pairs = self._pairs(value) if value is not None else None
            if key not in _METADATA or pairs is None or key in seen:
                return None
            seen.add(key)
            found[key] = [f"api.user.{_METADATA[key]}({one}, {two});" for one, two in pairs]
        return [line for lines in found.values() for line in lines]

    def _pairs(self, node: Node, free: str = "") -> list[tuple[str, str]] | None:
        """Keys and constants of an object, as they are spelled; None where there is more to it."""
        if node.type != "object":
            return None
        pairs: dict[str, str] = {}
        for each in (n for n in node.named_children if n.type != "comment"):
            if each.type == "shorthand_property_identifier" and self._script.text(each) == free:
                continue
            name, value = each.child_by_field_name("key"), each.child_by_field_name("value")
            key = self._script.key(name) if name is not None and name.type != "number" else None
            if key is None or value is None or name is None or key == "__proto__" or key.isdigit():
                return None
            if key == free and value.type == "identifier":
                continue
            spelled = self._script.text(name) if name.type == "string" else f'"{key}"'
            if (
                value.type not in _CONSTANTS
                or spelled in pairs
                or name.type == "computed_property_name"
            ):
                return None
            pairs[spelled] = self._script.text(value)
        return list(pairs.items())

    def _is_text(self, node: Node) -> bool:
        """Whether an expression is surely a text."""
        while node.type in ("binary_expression", "parenthesized_expression"):
            if node.type == "parenthesized_expression":
                node = node.named_children[-1]
                continue
            operator = node.child_by_field_name("operator")
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if operator is None or operator.type != "+" or left is None or right is None:
                return False
            if right.type in ("string", "template_string"):
                return True
            node = left
        return node.type in ("string", "template_string")

    def _text(self, node: Node) -> str:
        """The source of a node with all that is changed in it."""
        start, end = node.start_byte, node.end_byte
        inside = [self._edits[place] for place in self._inside(node)]
        moved = [(one - start, other - start, text) for one, other, text in inside]
        return edited(self._script.code[start:end], moved)

    def _inside(self, node: Node) -> range:
        """Which edits are within a node."""
        return range(
            bisect_left(self._starts, node.start_byte), bisect_left(self._starts, node.end_byte)
        )
