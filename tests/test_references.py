"""References to credentials and secrets: what they lead to, and what is said where they do not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bulkhooks import references
from bulkhooks.errors import ItemError, NoValue
from bulkhooks.references import Reference, secret_value


def reference(kind: str, value: str, folder: Path) -> Reference:
    return Reference.parse(f"{kind}:{value}", folder)


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("marker", "must be a reference: env:NAME, file:PATH or cmd:COMMAND"),
        ("ENV:marker", "must be a reference"),
        (5, "must be a reference"),
        (None, "must be a reference"),
        ("env:", "must have one line of text after env:"),
        ("file:marker\nb", "must have one line of text after file:"),
        ("env:marker-x", "must have a variable's name after env:"),
        ("cmd:'marker", "has a quote that does not end"),
    ],
)
def test_what_is_no_reference_is_refused_and_not_shown(written: object, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        Reference.parse(written, Path())
    assert "marker" not in str(caught.value)


def test_only_the_kinds_that_are_wanted_are_taken() -> None:
    with pytest.raises(ValueError, match="must be a reference: env:NAME or file:PATH"):
        Reference.parse("cmd:true", Path(), ("env", "file"))


def test_a_reference_is_written_with_an_absolute_path() -> None:
    assert str(reference("env", "A", Path("/x"))) == "env:A"
    assert str(reference("file", "a/b", Path("/x"))) == "file:/x/a/b"
    assert str(reference("file", "/a", Path("/x"))) == "file:/a"
    assert str(reference("file", "a", Path())) == f"file:{Path.cwd()}/a"


def test_a_variable_is_read_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = reference("env", "ACME_TOKEN", tmp_path)
    with pytest.raises(NoValue) as caught:
        token.resolve()
    assert caught.value.cause == "no value in env:ACME_TOKEN"
    assert caught.value.hint == "set environment variable ACME_TOKEN"
    monkeypatch.setenv("ACME_TOKEN", "marker")
    assert token.resolve() == "marker"
    assert "marker" not in repr(token)


def test_a_file_is_read_beside_the_file_that_names_it(tmp_path: Path) -> None:
    token = reference("file", "keys/t", tmp_path)
    with pytest.raises(NoValue, match="file keys/t cannot be read: No such file"):
        token.resolve()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "t").write_text("marker\r\n\n")
    assert token.resolve() == "marker"
    for content in (b"", b"\n", b"\n\n", b"\xff", b"marker\nmore", b"x" * 200_000):
        (tmp_path / "keys" / "t").write_bytes(content)
        with pytest.raises(NoValue) as caught:
            token.resolve()
        assert "marker" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("no-such-command", "cannot be run"),
        ("/", "cannot be run"),
        ('sh -c "echo marker; echo marker >&2; exit 3"', "ended with status 3"),
        ("true", "must print it and nothing else"),
        ("echo $HOME;echo", None),
        (r'printf "\377"', "printed no UTF-8"),
        (r'printf "marker\nmarker"', "more than one line"),
    ],
)
def test_a_command_runs_without_a_shell(tmp_path: Path, command: str, what: str | None) -> None:
    token = reference("cmd", command, tmp_path)
    if what is None:
        assert token.resolve() == "$HOME;echo"
        return
    with pytest.raises(NoValue) as caught:
        token.resolve()
    assert what in str(caught.value)
    assert "marker" not in str(caught.value)
    assert caught.value.cause == "no value in its cmd:"


def test_a_command_runs_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(" marker \n")
    assert reference("cmd", "cat t", tmp_path).resolve() == "marker"


def test_a_command_that_takes_too_long_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_CMD_TIMEOUT", 0.2)
    started = time.monotonic()
    with pytest.raises(NoValue, match="took longer than"):
        reference("cmd", 'sh -c "sleep 30 & sleep 30"', tmp_path).resolve()
    assert time.monotonic() - started < 10


# ---- a hook's secrets


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"marker", "marker"),
        (b"marker\n", "marker"),
        (b"marker\r\n", "marker"),
        (b" marker\n\n", " marker\n"),
        (b"-----BEGIN-----\nmarker\n-----END-----\n", "-----BEGIN-----\nmarker\n-----END-----"),
    ],
)
def test_a_secret_may_be_many_lines(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "s").write_bytes(content)
    assert secret_value(f"file:{tmp_path}/s") == value


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\xff", b"x" * 100_001, b"_VALUE_NOT_SHOWN_\n", b" _VALUE_NOT_SHOWN"],
)
def test_what_cannot_be_a_secret_fails_its_item(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(ItemError) as caught:
        secret_value(f"file:{tmp_path}/s")
    assert caught.value.cause == f"no value in file:{tmp_path}/s"
    assert "_VALUE" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "\n", "_VALUE_NOT_SHOWN_", "\udcff", "x" * 100_001])
def test_a_variable_that_cannot_be_a_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("SECRET", value)
    with pytest.raises(NoValue, match=r"no value in env:SECRET: .*environment variable SECRET"):
        secret_value("env:SECRET")


@pytest.mark.parametrize("reference", ["marker", "cmd:echo marker", "env:", ""])
def test_a_secret_comes_from_a_variable_or_a_file(reference: str) -> None:
    with pytest.raises(NoValue) as caught:
        secret_value(reference)
    assert "marker" not in str(caught.value)
