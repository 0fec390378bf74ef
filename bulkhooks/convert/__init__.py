"""Hook scripts made into the code of actions, in one of two ways.

`wrap` keeps the script as it is, inside a shim that calls it as a hook was called. `rewrite` makes
of the plain shapes what a person would write. Nothing here runs a script: it is read as a tree.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.resources import files
from typing import Literal, TypeAlias

import msgspec

from .claims import claim_blockers
from .hookscript import HookScript, edited
from .javascript import NotJavaScript, Script
from .requires import Packages
from .rewrite import NotPlain, rewritten
from .signatures import SIGNATURES

Mode: TypeAlias = Literal["wrap", "rewrite"]

#: Seconds that node may take to parse a script.
_PATIENCE = 10


class Blocker(msgspec.Struct, frozen=True):
    """What of a script cannot be carried over; `line` counts from 1."""

    line: int
    what: str


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a script.

    `mode` is None where there is no code: the script does not parse, exports no function, or is not
    plain enough for the mode that was asked for. Code with blockers does less than the hook did.
    """

    mode: Mode | None
    code: str
    #: Packages and versions: the hook's own, over them what `require` pins; else `latest`.
    dependencies: dict[str, str]
    #: Names that are read from the hook's secrets, as far as it can be told; sorted.
    secrets: tuple[str, ...]
    blockers: tuple[Blocker, ...]


def convert(
    script: str,
    trigger: str,
    *,
    dependencies: Mapping[str, str] | None = None,
    mode: Mode | None = None,
) -> Conversion:
    """The action that does what a hook does.

    Without a `mode` a script of a plain shape that loses nothing is rewritten, any other wrapped.
    The same script always gives the same code. Raises nothing, whatever the text.
    """
    own = dict(dependencies or {})
    signature = SIGNATURES.get(trigger)
    if signature is None:
        return _impossible(own, 1, f"no trigger {trigger}; there are {', '.join(SIGNATURES)}")
    try:
        hook = HookScript(Script(_plain_text(script)), trigger)
    except NotJavaScript as error:
        return _impossible(own, error.line, error.what)
    packages = Packages(hook.script, own)
    found = [*hook.blockers(), *claim_blockers(hook), *packages.blockers]
    code, chosen = "", mode
    if mode is None and found:
        chosen = "wrap"
    elif mode != "wrap":
        try:
            code, chosen = rewritten(hook, packages.edits), "rewrite"
        except NotPlain as error:
            chosen = None if mode == "rewrite" else "wrap"
            if mode == "rewrite":
                found.append((error.line, f"not plain enough to be rewritten: {error.what}"))
    if chosen == "wrap":
        code = _wrapped(hook, packages.edits)
    blockers = tuple(Blocker(line, what) for line, what in sorted(set(found)))
    return Conversion(
        mode=chosen,
        code=f"{_head(script, trigger, chosen)}\n{code}" if chosen else "",
        dependencies=packages.wanted,
        secrets=hook.secrets(),
        blockers=blockers,
    )


def syntax_error(code: str) -> str | None:
    """What node finds wrong with the syntax of an action's code; None where it is not at hand."""
    node = shutil.which("node")
    if node is None:
        return None
    words = [node, "--input-type=commonjs", "--check", "-"]
    try:
        ended = subprocess.run(
            words, input=code, capture_output=True, encoding="utf-8", timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeError):
        return None
    if ended.returncode == 0:
        return None
    line = re.search(r"^\[stdin\]:(\d+)", ended.stderr, re.MULTILINE)
    what = re.search(r"^\w*Error: .*", ended.stderr, re.MULTILINE)
    told = what[0] if what else "node cannot parse it"
    return f"line {line[1]}: {told}" if line else told


def _impossible(dependencies: dict[str, str], line: int, what: str) -> Conversion:
    return Conversion(
        mode=None,
        code="",
        dependencies=dependencies,
        secrets=(),
        blockers=(Blocker(line, what),),
    )


def _plain_text(script: str) -> str:
    """Without what only the beginning of a file may have, and with one kind of line end.

    JavaScript reads every line end within a template as a line feed, so no string changes.
    """
    text = script.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return f"//{text[2:]}" if text.startswith("#!") else text


def _head(script: str, trigger: str, mode: Mode | None) -> str:
    digest = hashlib.sha256(script.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"// Made from a {trigger} hook by bulkhooks ({mode}); sha256 of its script: {digest}..."


def _wrapped(hook: HookScript, edits: list[tuple[int, int, str]]) -> str:
    """The script inside the shim of its trigger."""
    signature = hook.signature
    shims = files(__package__) / "shims"
    ends = "" if hook.calls_back else " // it has no callback: it ends when it returns"
    parts = {
        "EXPORT": signature.export,
        "SHIM": (shims / f"{hook.trigger}.js").read_text(encoding="utf-8").rstrip("\n"),
        "RETURNED": "undefined" if hook.calls_back else "() => resolve({})",
        "ENDS": "" if hook.calls_back else f"\n      else resolve({{}});{ends}",
        "GIVEN": "event, api" if signature.api else "event",
        "API": ", api" if signature.api else "",
        "GLOBALS": f"{{ {', '.join(signature.errors)} }}" if signature.errors else "",
        "SCRIPT": edited(hook.script.code, edits).rstrip("\n"),
    }
    template = (shims / "action.js").read_text(encoding="utf-8")
    return re.sub("__([A-Z]+)__", lambda found: parts[found[1]], template)
