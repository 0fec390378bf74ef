"""The table of answers: every status has a meaning, and the page shows the same."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import orjson
import pytest

from bulkhooks import hooks
from bulkhooks.answers import TABLE, Meaning, value
from bulkhooks.errors import ItemError, TenantError
from bulkhooks.items import Reply

PAGE = Path(__file__).parents[1] / "docs" / "answers.md"
CALLS = (hooks.list_hooks(0), hooks.get_hook("A"), hooks.update_hook("A", {"name": "b"}))


def statuses(status: Collection[int]) -> str:
    """Statuses as the page names them."""
    if isinstance(status, range):
        return f"{status[0] // 100}xx"
    listed = ["5xx" if each == 500 else str(each) for each in status]
    return ", ".join(listed[: listed.index("5xx") + 1] if "5xx" in listed else listed)


def row(meaning: Meaning) -> str:
    """A row of the page."""
    hint = meaning.hint.format(scope="SCOPE", client="CLIENT")
    return f"| {statuses(meaning.status)} | {meaning.when} | {meaning.reach} | {hint} |"


def test_the_page_shows_the_table_as_it_is() -> None:
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert shown[2:] == [row(meaning) for meaning in TABLE]


@pytest.mark.parametrize("status", range(300, 600))
def test_every_refusal_has_a_meaning_and_a_next_step(status: int) -> None:
    for call in CALLS:
        for body in (
            b"",
            b"<html>",
            b'{"message": "no"}',
            b"[1]",
            b"\xff",
            b'"deprecated feature"',
            b'{"errorCode": %s, "message": %s}' % ((b"[" * 900 + b"]" * 900,) * 2),
        ):
            with pytest.raises((ItemError, TenantError)) as told:
                value(call, Reply(status=status, body=body), client="client X", hidden=())
            assert isinstance(told.value, ItemError | TenantError)
            assert told.value.cause.startswith(str(status))
            assert told.value.hint
            assert "{" not in told.value.hint


def test_a_missing_scope_names_the_scope_and_the_client() -> None:
    reply = Reply(status=403, body=b'{"errorCode": "insufficient_scope"}')
    with pytest.raises(TenantError, match="grant update:hooks to client X"):
        value(CALLS[2], reply, client="client X", hidden=())


@pytest.mark.parametrize("kind", ["json", "text"])
def test_what_is_hidden_is_not_shown_however_long_it_is(kind: str) -> None:
    secret = "s" * 20_000
    said = f"{'x' * 150} {secret} and {secret}"
    body = orjson.dumps({"message": said}) if kind == "json" else said.encode()
    with pytest.raises(ItemError) as told:
        value(CALLS[1], Reply(status=400, body=body), client="", hidden=(secret,))
    assert "sss" not in str(told.value)
    assert "***" in str(told.value)
