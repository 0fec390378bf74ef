"""The architecture, held by tests: imports point down, and the public list is the promise."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import bulkhooks

PACKAGE = Path(bulkhooks.__file__).parent

LAYERS = (
    ("errors", "items", "atomic", "convert", "sandbox"),
    ("errors", "items", "options", "convert", "sandbox"),
    ("hooks", "actions", "matching", "pacing", "gates", "locks", "schedule", "page"),
    ("secrecy", "source", "statements", "store", "windows"),
    ("references", "steps", "prospect", "permit"),
    ("halting",),
    ("kinds", "shape"),
    ("schema", "hook_edits", "action_edits"),
    ("fields",),
    ("transform",),
    ("tenants", "journal", "listing", "undo"),
    ("answers", "schedulefile"),
    ("network", "tokens"),
    ("tally", "edits", "auth0"),
    ("jobfile", "guards", "deploy", "lane", "requestlog"),
    ("waves",),
    ("deploy_hooks", "deploy_actions"),
    ("plan", "chart", "course", "jobwriter", "legacy", "supplies"),
    ("freeze",),
    ("report",),
    ("lanes", "migration", "changes", "markup", "filing"),
    ("probes", "timeline"),
    ("night", "control"),
    ("work",),
    ("freezing",),
    ("progress", "run", "diff", "transfer", "check", "assess", "metrics"),
    ("verdict", "account"),
    ("console",),
    ("desk", "rehearsal"),
    ("migrate_commands", "sandbox_command"),
    ("cli",),
    ("__init__", "__main__"),
)
#: The same within the folders, which import nothing from outside of themselves.
FOLDERS = {
    "sandbox": (
        ("asked", "buckets", "faults", "issuer"),
        ("pretend", "pretend_actions"),
        ("__init__",),
    ),
    "convert": (
        ("javascript", "signatures"),
        ("reads",),
        ("requires", "hookscript"),
        ("claims", "rewrite"),
        ("__init__",),
    ),
}


def modules() -> list[Path]:
    """Every file of code."""
    return sorted(PACKAGE.rglob("*.py"))


def called(path: Path) -> str:
    """What a module is called here: a folder by its own name."""
    return path.stem if path.parent == PACKAGE else path.parent.name


def imported(path: Path) -> Iterator[str]:
    """The modules of the same folder that a module imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, f"{path} must not look outside of its folder"
            names = [node.module] if node.module else [name.name for name in node.names]
            yield from (name.partition(".")[0] for name in names)
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
    for folder, layers in {"": LAYERS, **FOLDERS}.items():
        layer = {name: depth for depth, names in enumerate(layers) for name in names}
        for path in (PACKAGE / folder).glob("*.py"):
            for name in imported(path):
                assert layer[name] < layer[path.stem], f"{path.stem} must not import {name}"


def users(*of: str) -> set[str]:
    """The modules that import one of these libraries."""
    return {called(path) for path in modules() if not libraries(path).isdisjoint(of)}


def test_only_the_network_and_the_sandbox_know_aiohttp() -> None:
    assert users("aiohttp") == {"network", "sandbox"}


def test_only_the_page_knows_jinja() -> None:
    assert users("jinja2", "markupsafe") == {"page"}


def test_only_the_console_prints() -> None:
    for path in modules():
        if called(path) != "console":
            text = path.read_text()
            assert "print(" not in text, path
            assert "sys.stdout" not in text, path
            assert "sys.stderr" not in text, path


def test_only_the_commands_exit() -> None:
    assert users("typer") == {"cli", "options", "migrate_commands", "sandbox_command"}
    for path in modules():
        if called(path) != "cli":
            assert "sys.exit" not in path.read_text(), path


def test_only_the_metrics_know_prometheus() -> None:
    assert users("prometheus_client") == {"metrics"}


def test_only_the_converter_knows_the_parser() -> None:
    assert users("tree_sitter", "tree_sitter_javascript") == {"convert"}


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
