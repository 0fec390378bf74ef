"""What a script loads by `require`, and the packages and versions that an action needs for it.

A hook could pin a version where it loads a package, `require("x@1.2.3")`; an action lists versions
apart and loads `x`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .javascript import Script

if TYPE_CHECKING:
    from tree_sitter import Node

_BUILT_IN_NAMES = """
assert async_hooks buffer child_process cluster console constants crypto dgram
diagnostics_channel dns domain events fs http http2 https inspector module net os path
perf_hooks process punycode querystring readline repl stream string_decoder sys timers tls
trace_events tty url util v8 vm wasi worker_threads zlib
"""
#: What node brings itself.
BUILT_IN = frozenset(_BUILT_IN_NAMES.split())


class Packages:
    """The packages of one script. `own` is what its hook lists."""

    def __init__(self, script: Script, own: Mapping[str, str]) -> None:
        self._script = script
        #: Packages and versions.
        self.wanted = dict(own)
        #: Where a pin goes out of the script: from byte, to byte, and what comes there.
        self.edits: list[tuple[int, int, str]] = []
        self.blockers: list[tuple[int, str]] = []
        self._pins: dict[str, str] = {}
        loaded: list[tuple[str, int]] = []
        for node in script.nodes:
            if (asked := self._asked(node)) is not None:
                loaded += self._load(asked)
        for package, line in loaded:
            version = self._pins.get(package, "latest")
            if package in own and package in self._pins and own[package] != version:
                self._differs(line, package, own[package], version)
            self.wanted.setdefault(package, version)
        self.wanted.update(self._pins)

    def _asked(self, node: Node) -> Node | None:
        """What is loaded by a node, if it loads; says what cannot be followed."""
        script = self._script
        parent = script.parent(node)
        if node.type == "import" and parent is not None and parent.type == "call_expression":
            return self._argument(parent)
        if node.type != "identifier" or script.text(node) != "require" or script.binding(node):
            return None
        if parent is None or parent.type == "unary_expression":  # typeof
            return None
        if parent.type == "call_expression" and script.stands_as(node, "function", parent):
            return self._argument(parent)
        self.blockers.append(
            (script.line(node), "`require` is not called here: what it loads cannot be told")
        )
        return None

    def _argument(self, call: Node) -> Node | None:
        given = call.child_by_field_name("arguments")
        listed = [] if given is None else [n for n in given.named_children if n.type != "comment"]
        if listed and self._script.string(listed[0]) is not None:
            return listed[0]
        self.blockers.append(
            (self._script.line(call), "what is loaded here is known only when it runs")
        )
        return None

    def _load(self, asked: Node) -> list[tuple[str, int]]:
        """The package that is asked for without a pin; a pin is noted, and goes out."""
        line = self._script.line(asked)
        text = self._script.string(asked) or ""
        if text.startswith((".", "/")):
            self.blockers.append((line, f"require({text!r}): an action is one file"))
            return []
        package, version, rest = _parts(text)
        if not version:
            bare = text.removeprefix("node:")
            built_in = bare.split("/")[0] in BUILT_IN and not bare.endswith("/")
            return [] if built_in or bare != text else [(package, line)]
        quote = self._script.text(asked)[0]
        self.edits.append((asked.start_byte, asked.end_byte, f"{quote}{package}{rest}{quote}"))
        if self._pins.setdefault(package, version) != version:
            self._differs(line, package, self._pins[package], version)
        return []

    def _differs(self, line: int, package: str, one: str, other: str) -> None:
        self.blockers.append(
            (line, f"{package} is wanted as {one} and as {other}: an action has one version of it")
        )


def _parts(text: str) -> tuple[str, str, str]:
    """Package, version and path within it: `@scope/x@1.2.3/lib/y`."""
    words = text.split("/")
    count = 2 if text.startswith("@") else 1
    package, rest = "/".join(words[:count]), "".join(f"/{word}" for word in words[count:])
    name, at, version = package[1:].partition("@")
    return package[0:1] + name, version if at else "", rest
