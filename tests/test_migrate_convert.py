"""`bulkhooks migrate convert`: one script, looked at alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bulkhooks.convert import convert

TRIGGER = "pre-user-registration"
PLAIN = "module.exports = function (user, context, cb) {\n  cb();\n};\n"


def program(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "bulkhooks", "migrate", "convert", *map(str, words)]
    return subprocess.run(line, capture_output=True, encoding="utf-8")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "hook.js"
    path.write_text(PLAIN)
    return path


def test_it_prints_the_code(script: Path) -> None:
    for words, mode in (
        ((), None),
        (("--mode", "wrap"), "wrap"),
        (("--mode", "rewrite"), "rewrite"),
    ):
        ended = program(script, "--trigger", TRIGGER, *words)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == convert(PLAIN, TRIGGER, mode=mode).code  # type: ignore[arg-type]


def test_it_names_what_cannot_be_carried_over(script: Path) -> None:
    script.write_text(PLAIN.replace("cb()", "auth0.x; cb()"))
    ended = program(script, "--trigger", TRIGGER)
    assert ended.returncode == 1
    assert ended.stderr == f"{script}:2: the global `auth0` is not there in actions\n"
    assert "exports.onExecutePreUserRegistration" in ended.stdout


def test_without_a_hook_there_is_nothing_to_print(script: Path) -> None:
    script.write_text("\n(")
    ended = program(script, "--trigger", TRIGGER)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{script}:")


def test_what_node_cannot_parse_is_told(script: Path) -> None:
    script.write_text(PLAIN.replace("cb()", "'use strict'; 010; cb()"))
    ended = program(script, "--trigger", TRIGGER)
    assert ended.returncode == 1
    assert "Octal literals" in ended.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"\xff", "not UTF-8"), (b" " * 1_000_001, "1,000,000")],
)
def test_files_that_are_no_scripts_are_refused(
    script: Path, content: bytes | None, told: str
) -> None:
    script.unlink()
    if content is not None:
        script.write_bytes(content)
    ended = program(script, "--trigger", TRIGGER)
    assert ended.returncode == 2
    assert str(script) in ended.stderr
    assert told in ended.stderr


def test_a_trigger_that_is_not_known_names_the_known(script: Path) -> None:
    ended = program(script, "--trigger", "post-login")
    assert ended.returncode == 2
    assert "post-change-password" in ended.stderr


def test_the_parser_is_loaded_only_for_it() -> None:
    code = (
        "import sys, bulkhooks, bulkhooks.cli, bulkhooks.convert;"
        "sys.exit(any('tree_sitter' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
