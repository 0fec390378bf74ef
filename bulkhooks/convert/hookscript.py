"""A hook's script: the function that it exports, and what in it no action can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from .javascript import FUNCTIONS, Binding, NotJavaScript, Script, parameters
from .reads import Read, missing, reads_of
from .signatures import SIGNATURES, Signature

if TYPE_CHECKING:
    from tree_sitter import Node

_GLOBALS_NAMES = """
AbortController AbortSignal AggregateError Array ArrayBuffer Atomics BigInt BigInt64Array
BigUint64Array Blob Boolean BroadcastChannel Buffer ByteLengthQueuingStrategy CompressionStream
CountQueuingStrategy Crypto CryptoKey CustomEvent DOMException DataView Date DecompressionStream
Error EvalError Event EventTarget File FinalizationRegistry Float32Array Float64Array FormData
Function Headers Infinity Int16Array Int32Array Int8Array Intl Iterator JSON Map Math
MessageChannel MessageEvent MessagePort NaN Navigator Number Object Performance PerformanceEntry
PerformanceMark PerformanceMeasure PerformanceObserver Promise Proxy RangeError ReadableStream
ReferenceError Reflect RegExp Request Response Set SharedArrayBuffer String SubtleCrypto Symbol
SyntaxError TextDecoder TextDecoderStream TextEncoder TextEncoderStream TransformStream
TypeError URIError URL URLSearchParams Uint16Array Uint32Array Uint8Array Uint8ClampedArray
WeakMap WeakRef WeakSet WebAssembly WebSocket WritableStream __dirname __filename arguments atob
btoa clearImmediate clearInterval clearTimeout console crypto decodeURI decodeURIComponent
encodeURI encodeURIComponent escape eval exports fetch globalThis global isFinite isNaN module
navigator parseFloat parseInt performance process queueMicrotask require setImmediate
setInterval setTimeout structuredClone undefined unescape
"""
#: Globals of node 22.
GLOBALS = frozenset(_GLOBALS_NAMES.split())
_REMOVED = {
    "auth0": "the global `auth0` is not there in actions",
    "configuration": "the global `configuration` is not there in actions",
    "crypto": "the global `crypto` of actions is the one of browsers: load it by require",
    "req": "an action has no request of its own, no `req`",
    "res": "an action has no response of its own, no `res`",
}


class HookScript:
    """A script and the function of it that is the hook."""

    def __init__(self, script: Script, trigger: str) -> None:
        """Raises NotJavaScript where no function is exported."""
        self.script, self.trigger = script, trigger
        self.signature: Signature = SIGNATURES[trigger]
        #: `module.exports = ...` of the hook, a whole assignment.
        self.export = self._exported()
        #: The hook itself; None where only a run can tell, as in `module.exports = wrap(f)`.
        self.function = script.function(self.export.child_by_field_name("right"))

    @cached_property
    def reads(self) -> list[Read]:
        """What the hook reads of its parameters, the callback aside."""
        names = self.signature.parameters[:-1]
        functions = [self.function] if self.function is not None else self._alike()
        return [read for each in functions for read in reads_of(self.script, each, names)]

    @cached_property
    def callback(self) -> Binding | None:
        """The parameter that is the callback; None where there is none, or it cannot be told."""
        place = len(self.signature.parameters) - 1
        patterns = parameters(self.function) if self.function is not None else []
        if len(patterns) <= place or patterns[place].type != "identifier":
            return None
        return self.script.binding(patterns[place])

    @cached_property
    def calls_back(self) -> bool:
        """Whether the hook may come to its callback at all."""
        if self.function is None:
            return True
        if self.callback is not None and (self.callback.used or len(self.callback.declared) > 1):
            return True
        patterns = parameters(self.function)
        place = len(self.signature.parameters) - 1
        if any(each.type == "rest_pattern" for each in patterns):
            return True
        if len(patterns) > place and patterns[place].type != "identifier":
            return True
        return any(
            self.script.text(node) == "arguments" and node.type == "identifier"
            for node in self.script.inside(self.function)
        )

    def secrets(self) -> tuple[str, ...]:
        """Names of secrets that are read, sorted."""
        place = ("context", "webtask", "secrets")
        return tuple(
            sorted(
                {read.path[3] for read in self.reads if read.path[:3] == place and read.path[3:]}
            )
        )

    @cached_property
    def calls(self) -> dict[int, tuple[Node, list[Node]]]:
        """Calls of the callback and what they hand over, by the ids of their arguments' node."""
        found = {}
        for use in self.callback.used if self.callback is not None else ():
            call = self.script.parent(use)
            if call is not None and call.type == "call_expression":
                given = call.child_by_field_name("arguments")
                if self.script.stands_as(use, "function", call) and given is not None:
                    listed = [each for each in given.named_children if each.type != "comment"]
                    found[given.id] = (call, listed)
        return found

    def blockers(self) -> Iterator[tuple[int, str]]:
        """What no action can do, with its line."""
        yield from self._globals()
        yield from self._fields()
        if self.signature.blocking and not self.calls_back:
            line = self.script.line(self.function or self.export)
            yield line, "the hook never calls back, so it let nobody through; the action would"

    def _exported(self) -> Node:
        script = self.script
        assignments = (each for each in script.nodes if each.type == "assignment_expression")
        found = [each for each in assignments if self._is_exports(each)]
        if not found:
            raise NotJavaScript(1, "it exports no function: there is no `module.exports = ...`")
        right = found[-1].child_by_field_name("right")
        while right is not None and right.type in (
            "parenthesized_expression",
            "assignment_expression",
        ):
            right = right.child_by_field_name("right") or right.named_children[-1]
        if right is None or right.type in ("object", "string", "number", "array", "null"):
            raise NotJavaScript(script.line(found[-1]), "what it exports is no function")
        return found[-1]

    def _alike(self) -> list[Node]:
        """Functions that take what a hook is given, by the usual names."""
        names = list(self.signature.parameters[:-1])
        return [
            each
            for each in self.script.nodes
            if each.type in FUNCTIONS
            and [self.script.text(one) for one in parameters(each)][: len(names)] == names
        ]

    def _is_exports(self, assignment: Node) -> bool:
        """Whether it sets `module.exports`."""
        left = assignment.child_by_field_name("left")
        held = left.child_by_field_name("object") if left is not None else None
        if left is None or held is None or self.script.key(left) != "exports":
            return False
        return self.script.text(held) == "module" and self.script.binding(held) is None

    def _globals(self) -> Iterator[tuple[int, str]]:
        script = self.script
        known = GLOBALS | self.signature.errors.keys()
        known |= {script.text(node) for node in script.free if script.written(node)}
        for node in script.free:
            name, line, parent = script.text(node), script.line(node), script.parent(node)
            whole = parent is not None and script.stands_as(node, "object", parent)
            member = script.key(parent) if whole and parent is not None else None
            if parent is not None and parent.type == "unary_expression":
                continue  # typeof: it is asked whether it is there
            if name in _REMOVED:
                yield line, _REMOVED[name]
            elif name in ("global", "globalThis"):
                if member not in GLOBALS:
                    what = f"{name}.{member}" if member else name
                    yield line, f"`{what}`: nothing is kept on the global object of an action"
            elif name == "module" and member != "exports":
                yield line, f"`module{f'.{member}' if member else ''}` is not there in actions"
            elif name not in known:
                yield line, f"`{name}` is declared nowhere, and no global of actions"

    def _fields(self) -> Iterator[tuple[int, str]]:
        written = [read.path for read in self.reads if read.written]
        for read in self.reads:
            if any(read.path[: len(path)] == path for path in written):
                continue  # what the script itself has put there
            unknown = missing(read, self.signature.fields)
            if unknown is None:
                continue
            line = self.script.line(read.node)
            if unknown == "context.webtask.storage":
                yield line, f"`{unknown}`: actions have no storage"
            elif unknown.startswith("context.webtask."):
                yield line, f"`{unknown}`: of webtask only secrets are there in actions"
            else:
                yield line, f"`{unknown}`: hooks are not given it, or an action's event has it not"


def edited(code: bytes, edits: Iterable[tuple[int, int, str]]) -> str:
    """A script with parts of it replaced: from byte, to byte, by what. They do not overlap."""
    parts, done = [], 0
    for start, end, text in sorted(edits):
        parts += [code[done:start], text.encode()]
        done = end
    return b"".join([*parts, code[done:]]).decode()
