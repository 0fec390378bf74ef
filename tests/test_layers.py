"""The architecture, held by tests: imports point down, and the public list is the promise."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import bulkhooks

PACKAGE = Path(bulkhooks.__file__).parent

LAYERS = (
    ("errors", "items", "javascript", "signatures", "asked", "buckets", "faults", "issuer"),
    ("pretend", "pretend_actions", "reads"),
    ("hooks", "actions", "matching", "pacing", "gates", "locks"),
    ("secrecy", "source", "store"),
    ("references", "sandbox", "steps", "prospect", "requires", "hookscript"),
    ("schema", "hook_edits", "action_edits", "claims", "rewrite"),
    ("fields", "convert"),
    ("transform",),
    ("tenants", "journal", "listing", "undo"),
    ("answers",),
    ("network", "tokens"),
    ("tally", "edits", "auth0"),
    ("jobfile", "guards", "deploy", "lane", "requestlog"),
    ("plan", "report", "course", "jobwriter", "legacy", "supplies"),
    ("lanes", "migration", "changes"),
    ("progress", "run", "diff", "transfer", "check", "assess"),
    ("verdict",),
    ("console",),
    ("migrate_commands",),
    ("cli",),
    ("__init__", "__main__"),
)
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> Iterator[str]:
    """The package's own modules that a module imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else [name.name for name in node.names]
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        assert not any(name.startswith("bulkhooks") for name in names), f"{path}: import relatively"


def libraries(path: Path) -> set[str]:
    """What a module imports from outside of the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def test_imports_point_down() -> None:
    for path in PACKAGE.glob("*.py"):
        for name in imported(path):
            assert LAYER[name] < LAYER[path.stem], f"{path.stem} must not import {name}"


def test_the_sandbox_imports_nothing_of_ours_but_its_own_parts() -> None:
    parts = {"asked", "buckets", "faults", "issuer", "pretend", "pretend_actions"}
    for name in ("sandbox", *parts):
        assert set(imported(PACKAGE / f"{name}.py")) <= parts, name


def test_only_the_network_and_the_sandbox_know_aiohttp() -> None:
    users = {path.stem for path in PACKAGE.glob("*.py") if "aiohttp" in libraries(path)}
    assert users == {"network", "sandbox"}


def test_only_the_page_of_an_assessment_knows_jinja() -> None:
    users = {path.stem for path in PACKAGE.glob("*.py") if "jinja2" in libraries(path)}
    assert users == {"verdict"}


def test_only_the_console_prints() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.stem != "console":
            text = path.read_text()
            assert "print(" not in text, path
            assert "sys.stdout" not in text, path
            assert "sys.stderr" not in text, path


def test_only_the_commands_exit() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.stem != "cli":
            assert "sys.exit" not in path.read_text(), path
        if path.stem not in ("cli", "migrate_commands"):
            assert "typer" not in libraries(path), path


def test_only_the_converter_knows_the_parser() -> None:
    users = {
        path.stem
        for path in PACKAGE.glob("*.py")
        if {"tree_sitter", "tree_sitter_javascript"} & libraries(path)
    }
    assert users == {"javascript", "reads", "requires", "hookscript", "claims", "rewrite"}


def test_every_public_name_is_there_and_documented() -> None:
    for name in bulkhooks.__all__:
        assert getattr(bulkhooks, name).__doc__, name
    homes = {name for names in bulkhooks._HOME.values() for name in names}
    assert sorted(bulkhooks.__all__) == sorted(homes)


def test_every_module_says_what_it_is_for() -> None:
    for path in PACKAGE.glob("*.py"):
        name = "bulkhooks" if path.stem == "__init__" else f"bulkhooks.{path.stem}"
        if path.stem != "__main__":
            assert importlib.import_module(name).__doc__, path
