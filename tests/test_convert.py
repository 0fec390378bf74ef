"""Hooks made into actions: both do the same.

`golden/TRIGGER/NAME/hook.js` are hooks; `wrap.js` and `rewrite.js` beside them are the actions made
of them, where they can be made. After a change of the converter they are written anew by
`python tests/test_convert.py`, to be looked at in the diff.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from bulkhooks.convert import Conversion, Mode, convert
from bulkhooks.convert.signatures import SIGNATURES

GOLDEN = Path(__file__).parent / "golden"
HOOKS = sorted(GOLDEN.glob("*/*/hook.js"))
INPUTS = json.loads((GOLDEN / "inputs.json").read_text())
#: What denies, by the errors of credentials-exchange.
CODES = {"InvalidScopeError": "invalid_scope", "InvalidRequestError": "invalid_request"}
#: Hooks without a callback that nobody waited for: their actions end when they return.
WITHOUT_CALLBACK = {"post-user-registration/no-callback"}


def name_of(hook: Path) -> str:
    return "/".join(hook.parts[-3:-1])


def conversions(hook: Path) -> dict[str, Conversion]:
    """What a hook becomes, by the mode."""
    script = hook.read_bytes().decode()
    both = {mode: convert(script, hook.parts[-3], mode=mode) for mode in get_args(Mode)}
    return {mode: each for mode, each in both.items() if each.mode is not None}


def expected(trigger: str, end: dict[str, Any] | None) -> dict[str, Any] | None:
    """What an action must do where a hook ended so."""
    if end is None:
        return None
    if "thrown" in end:
        return {"thrown": end["thrown"], "called": []}
    error, response = end["called"]
    if error is None:
        return {"called": calls_for(trigger, response)}
    if trigger == "pre-user-registration":
        words = [error["message"], error["userMessage"]]
        return {"called": [["deny", [word for word in words if word is not None]]]}
    if trigger == "credentials-exchange":
        code = "invalid_scope" if error["kind"] == "Nope" else CODES.get(error["kind"])
        return {"called": [["deny", [code or "server_error", error["message"]]]]}
    return {"thrown": error, "called": []}


def calls_for(trigger: str, response: Any) -> list[Any]:
    """What of `api` is called for a hook's answer."""
    answer = response if isinstance(response, dict) else {}
    if trigger == "credentials-exchange":
        return [["setCustomClaim", [k, v]] for k, v in answer.items() if k != "scope"]
    if trigger == "pre-user-registration":
        user = answer.get("user") or {}
        return [
            *(["setUserMetadata", [k, v]] for k, v in (user.get("user_metadata") or {}).items()),
            *(["setAppMetadata", [k, v]] for k, v in (user.get("app_metadata") or {}).items()),
        ]
    return []


def run(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What node saw every code of every case do. It may be missing, but not in CI."""
    node = shutil.which("node")
    if node is None:
        assert not os.environ.get("CI"), "CI needs node"
        pytest.skip("needs node")
    ended = subprocess.run(
        [node, str(Path(__file__).parent / "both_worlds.js")],
        input=json.dumps(cases),
        capture_output=True,
        encoding="utf-8",
    )
    assert ended.returncode == 0, ended.stderr
    answers: list[dict[str, Any]] = json.loads(ended.stdout)
    return answers


@pytest.fixture(scope="session")
def told() -> dict[str, dict[str, Any]]:
    """What every hook and its actions did, by the hook's name and the code's."""
    cases = [
        {
            "trigger": hook.parts[-3],
            "inputs": INPUTS[hook.parts[-3]],
            "codes": {
                "hook": hook.read_bytes().decode().removeprefix("\ufeff").replace("#!", "//"),
                **{mode: each.code for mode, each in conversions(hook).items()},
            },
        }
        for hook in HOOKS
    ]
    return dict(zip(map(name_of, HOOKS), run(cases), strict=True))


def test_there_are_enough_of_every_trigger() -> None:
    assert len(HOOKS) >= 40
    assert {hook.parts[-3] for hook in HOOKS} == set(INPUTS)


@pytest.mark.parametrize("hook", HOOKS, ids=name_of)
def test_an_action_does_what_its_hook_did(hook: Path, told: dict[str, dict[str, Any]]) -> None:
    trigger, answers = hook.parts[-3], told[name_of(hook)]
    assert "wrap" in answers
    for mode in answers.keys() - {"hook"}:
        assert isinstance(answers[mode], list), answers[mode]
        for was, now in zip(answers["hook"], answers[mode], strict=True):
            assert now["did"] == was["did"], mode
            ended = expected(trigger, was["end"])
            if ended is None and name_of(hook) in WITHOUT_CALLBACK:
                ended = {"called": []}
            assert now["end"] == ended, mode


@pytest.mark.parametrize("hook", HOOKS, ids=name_of)
def test_the_code_is_as_it_was(hook: Path) -> None:
    made = conversions(hook)
    for mode in get_args(Mode):
        kept = hook.with_name(f"{mode}.js")
        assert (made[mode].code if mode in made else None) == (
            kept.read_text() if kept.exists() else None
        ), f"{kept}: if this is meant, run python tests/test_convert.py"
        assert not (mode in made and made[mode].blockers)


@pytest.mark.parametrize("hook", HOOKS, ids=name_of)
def test_it_is_rewritten_where_it_can_be(hook: Path) -> None:
    made = conversions(hook)
    chosen = convert(hook.read_bytes().decode(), hook.parts[-3])
    assert chosen == made.get("rewrite", made["wrap"])


@pytest.mark.parametrize("trigger", SIGNATURES)
def test_both_ways_find_every_field_in_the_same_place(trigger: str) -> None:
    signature = SIGNATURES[trigger]
    read = {"scope": "scope.join()", "context.webtask.secrets": "context.webtask.secrets.KEY"}
    fields = ", ".join(f"`{path} ${{{read.get(path, path)}}}`" for path in signature.fields)
    script = (
        f"module.exports = function ({', '.join(signature.parameters)}) {{\n"
        f"  console.log({fields});\n  callback();\n}};\n"
    )
    codes = {mode: convert(script, trigger, mode=mode).code for mode in get_args(Mode)}
    every = {
        **INPUTS[trigger][0]["event"],
        "client": {"client_id": "c1", "name": "Shop", "metadata": {"a": 1}},
        "connection": {"id": "con_1", "name": "Users", "strategy": "auth0", "metadata": {"a": 1}},
        "request": {
            **{name: f"the {name}" for name in ("ip", "language", "hostname", "method", "body")},
            **{"user_agent": "the agent", "geoip": {"cityName": "Aarhus"}},
        },
        "transaction": {"locale": "the locale"},
    }
    every["user"] = {
        **{"given_name": "A", "family_name": "B", "nickname": "C", "picture": "D", "name": "E"},
        **every.get("user", {}),
    }
    (told,) = run([{"trigger": trigger, "inputs": [{"event": every}], "codes": codes}])
    assert told["wrap"] == told["rewrite"]
    assert "undefined" not in json.dumps(told)


if __name__ == "__main__":
    for path in HOOKS:
        for old in (path.with_name(f"{mode}.js") for mode in get_args(Mode)):
            old.unlink(missing_ok=True)
        for way, conversion in conversions(path).items():
            path.with_name(f"{way}.js").write_text(conversion.code)
