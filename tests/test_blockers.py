"""What a hook's script has that no action can do, and what of a script goes beside the code."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhooks.convert import Conversion, Mode, convert, syntax_error
from bulkhooks.convert.signatures import SIGNATURES

TRIGGER = "pre-user-registration"


def in_hook(body: str, trigger: str = "pre-user-registration") -> str:
    """A hook of the usual parameters; `body` begins on line 2."""
    names = ", ".join(SIGNATURES[trigger].parameters)
    return f"module.exports = function ({names}) {{\n{body}\n}};\n"


def blocked(
    body: str, trigger: str = "pre-user-registration", mode: Mode | None = None
) -> list[tuple[int, str]]:
    """Lines and words of the blockers of a hook that also calls back."""
    found = convert(in_hook(f"{body}\ncallback();", trigger), trigger, mode=mode)
    return [(each.line, each.what) for each in found.blockers]


def converted(body: str, dependencies: dict[str, str] | None = None) -> Conversion:
    script = in_hook(f"{body}\ncallback();")
    return convert(script, "pre-user-registration", dependencies=dependencies)


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        pytest.param("auth0.users.get(1);", 2, "`auth0`", id="auth0"),
        pytest.param("\nconfiguration.KEY;", 3, "`configuration`", id="configuration"),
        pytest.param("crypto.createHash('md5');", 2, "of browsers", id="crypto"),
        pytest.param("global.cache = {};", 2, "`global.cache`", id="global"),
        pytest.param("globalThis['cache'];", 2, "`globalThis.cache`", id="globalThis"),
        pytest.param("res.end(req.body);", 2, "`req`", id="req"),
        pytest.param("_.map([]);", 2, "`_` is declared nowhere", id="global of rules"),
        pytest.param("\n\nnew ServerError('x');", 4, "`ServerError`", id="another's error"),
        pytest.param("module.parent;", 2, "`module.parent`", id="module"),
        pytest.param("context.webtask.storage.get(f => f);", 2, "no storage", id="storage"),
        pytest.param("const { storage } = context.webtask;", 2, "no storage", id="storage taken"),
        pytest.param("const w = context.webtask;\nw.headers;", 3, "only secrets", id="webtask"),
        pytest.param("user.password.length;", 2, "`user.password`", id="password"),
        pytest.param("const { ['password']: p } = user;", 2, "`user.password`", id="taken"),
        pytest.param("(user || {}).password;", 2, "`user.password`", id="with a default"),
        pytest.param("user?.password;", 2, "`user.password`", id="optional"),
        pytest.param("var u;\nu = user;\nu.password;", 4, "`user.password`", id="assigned"),
        pytest.param("f(user);\nfunction f(u) { u.password; }", 3, "`user.password`", id="passed"),
        pytest.param("f(user);\nvar f = ({ password }) => 1;", 3, "`user.password`", id="arrow"),
        pytest.param("context.connection.options;", 2, "`context.connection.options`", id="deep"),
        pytest.param("require(user.email);", 2, "known only when it runs", id="dynamic"),
        pytest.param("require('x' + '@1');", 2, "known only when it runs", id="sum"),
        pytest.param("const r = require;", 2, "not called here", id="require aliased"),
        pytest.param("require.resolve('x');", 2, "not called here", id="require.resolve"),
        pytest.param("require('./x');", 2, "one file", id="a file beside it"),
        pytest.param("require('x@1');\nrequire('x@2/y');", 3, "as 1 and as 2", id="two pins"),
    ],
)
def test_what_no_action_can_do_is_named_with_its_line(body: str, line: int, words: str) -> None:
    found = blocked(body)
    assert any(each == line and words in what for each, what in found), found
    assert len({each for each, _ in found}) == 1


@pytest.mark.parametrize(
    "body",
    [
        "const auth0 = require('auth0'), crypto = require('crypto'); auth0.x; crypto.x;",
        "function f(configuration, req) { return configuration.x + req; }",
        "try { f(); } catch (auth0) { auth0.x; } function f() {}",
        "const o = { auth0: 1, res: 2 }; o.auth0; o.configuration;",
        "auth0: for (;;) break auth0;",
        "typeof Rollbar === 'undefined' && typeof auth0 === typeof module;",
        "count = 1; count += 1;",
        "const f = (require) => require(1 + 1);",
        "const text = 'auth0.x'; `configuration ${text}`; /auth0/; // auth0",
        "user.password = 'x'; user.password.length;",
        "delete user.password;",
        "const f = (user) => user.password;",
        "let u = user; u = {}; u.password;",
        "user.user_metadata.anything.at.all; user.app_metadata['x']; user.email.length;",
        "user.hasOwnProperty('email'); context.connection.name;",
        "global.setTimeout(() => 1); globalThis.process;",
        "context.webtask.secrets.ANY.length;",
        "class res { static #auth0 = 1; req() { return res; } }",
    ],
)
def test_what_only_looks_so_is_not(body: str) -> None:
    assert blocked(body) == []


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("scope.push('x');\ncallback(null, { scope });", 2, "cannot change the scope"),
        ("callback(null, { scope: ['x'] });", 2, "cannot change the scope"),
        ("const s = scope;\ns.push('x');\ncallback(null, { scope: s });", 3, "cannot change"),
        ("callback(null, { 'https://a/b': 1 });", 2, "takes every scope"),
        ("var t = {};\nt['https://a/b'] = 1;\ncallback(null, t);", 4, "takes every scope"),
        (
            "var t = { scope };\nt.scope.push('x');\ncallback(null, t);",
            3,
            "cannot change the scope",
        ),
        ("var t = {};\nt.scope = scope.concat('x');\ncallback(null, t);", 3, "cannot change"),
        ("callback(null, {\nscope,\nsub: 'x' });", 4, "the claim `sub`"),
        ("var t = { scope };\nt.iss = 1;\ncallback(null, t);", 3, "the claim `iss`"),
    ],
)
def test_scopes_and_claims_that_an_action_cannot_set(body: str, line: int, words: str) -> None:
    found = convert(in_hook(body, "credentials-exchange"), "credentials-exchange").blockers
    assert [each.line for each in found] == [line]
    assert words in found[0].what


@pytest.mark.parametrize(
    "body",
    [
        "callback(null, { scope });",
        "const granted = scope || [];\ncallback(null, { scope: granted });",
        "callback(null, { scope: scope || [], 'https://a/b': 1 });",
        "var t = {};\nt.scope = scope;\nt['https://a/b'] = scope.length;\ncallback(null, t);",
        "callback(null, build(scope));\nfunction build(scope) { return { scope }; }",
        "fetch('x', { scope: 'x' });\ncallback(new ServerError('x'));",
        "callback(null);",
    ],
)
def test_a_scope_that_stays_blocks_nothing(body: str) -> None:
    found = convert(in_hook(body, "credentials-exchange"), "credentials-exchange")
    assert found.blockers == ()


@pytest.mark.parametrize(
    ("script", "line", "words"),
    [
        pytest.param("module.exports = function () {\n(;\n};", 2, "not JavaScript", id="syntax"),
        pytest.param("let a;\nlet a;", 2, "declared twice", id="declared twice"),
        pytest.param("\nimport x from 'x';", 2, "ES module", id="import"),
        pytest.param("export default () => 1;", 1, "ES module", id="export"),
        pytest.param("\nmodule.exports = () => { await 1; };", 2, "async function", id="await"),
        pytest.param("var x = <b/>;", 1, "not JavaScript", id="JSX"),
        pytest.param("", 1, "exports no function", id="nothing"),
        pytest.param("function hook() {}", 1, "exports no function", id="nothing exported"),
        pytest.param("exports = () => 1;", 1, "exports no function", id="only exports"),
        pytest.param("\n\nmodule.exports = {};", 3, "is no function", id="an object"),
        pytest.param("'\ud800'", 1, "surrogate", id="half a character"),
        pytest.param("'\0'", 1, "not JavaScript", id="a zero"),
    ],
)
def test_where_there_is_no_hook_there_is_no_code(script: str, line: int, words: str) -> None:
    found = convert(script, "post-user-registration")
    assert (found.mode, found.code) == (None, "")
    assert [each.line for each in found.blockers] == [line]
    assert words in found.blockers[0].what


def test_a_trigger_that_is_not_known_is_told() -> None:
    found = convert(in_hook(""), "post-login")
    assert found.mode is None
    assert "send-phone-message" in found.blockers[0].what


def test_a_hook_that_never_calls_back_blocks_where_somebody_waits() -> None:
    script = "module.exports = async (user, context) => {};"
    assert convert(script, "post-user-registration").blockers == ()
    assert "never calls back" in convert(script, "pre-user-registration").blockers[0].what


def test_dependencies_are_the_hooks_own_with_what_is_pinned() -> None:
    found = converted(
        "require('a@1.2.3'); require('@s/b@2.0.0/lib/y'); require('c'); require('d');\n"
        "require('e/f'); require('fs/promises'); require('node:path'); require('crypto');\n"
        "require(`g@4`); import('h@5').then(1); require('a');",
        dependencies={"c": "3.0.0", "unused": "9.9.9", "a": "1.2.3"},
    )
    assert found.blockers == ()
    assert found.dependencies == {
        **{"a": "1.2.3", "@s/b": "2.0.0", "c": "3.0.0", "unused": "9.9.9"},
        **{"d": "latest", "e": "latest", "g": "4", "h": "5"},
    }
    for bare in ("'a'", "'@s/b/lib/y'", "`g`", "import('h')"):
        assert bare in found.code
    assert "@1.2.3" not in found.code


def test_a_pin_goes_before_what_the_hook_lists() -> None:
    found = converted("require('x@2');", dependencies={"x": "1"})
    assert (found.dependencies, found.blockers) == ({"x": "2"}, ())
    assert converted("require('x@2'); require('x');", dependencies={"x": "1"}).blockers


def test_secrets_are_told_by_name() -> None:
    found = converted(
        "const { secrets: s } = context.webtask; s.B; s['A'];\n"
        "const { D, E: e = 1, ...rest } = context.webtask.secrets; rest.C; f(s);\n"
        "function f(given) { return given.F; }"
    )
    assert found.secrets == ("A", "B", "C", "D", "E", "F")


@pytest.mark.parametrize(
    "script",
    [
        "{}; module.exports = hook;\nfunction hook@",
        "const hook = function@;\nmodule.exports = hook;",
        "let hook;\nhook = async function@;\nmodule.exports = hook;",
        "exports = module.exports = hook;\nasync function hook@",
        "const a = function@, b = a;\nmodule.exports = b;",
        "module.exports = (function () { return function@; })();",
        "module.exports = require('x')(f);\nconst f = function@;",
        "'use strict';\nmodule['exports'] = (function@);",
    ],
)
def test_the_hook_is_found_where_it_is(script: str) -> None:
    body = "(user, context, cb) { context.webtask.storage; context.webtask.secrets.A; cb(); }"
    found = convert(script.replace("@", body), "pre-user-registration")
    assert found.mode == "wrap"
    assert found.secrets == ("A",)
    assert ["no storage" in each.what for each in found.blockers] == [True]


def test_what_was_asked_to_be_rewritten_and_is_not_plain_says_why() -> None:
    found = convert(in_hook("\nf(callback);"), "post-user-registration", mode="rewrite")
    assert found.mode is None
    assert "not plain" in found.blockers[-1].what
    assert found.blockers[-1].line == 3


def test_a_plain_script_that_loses_something_is_wrapped() -> None:
    assert converted("auth0.x;").mode == "wrap"
    assert converted("1;").mode == "rewrite"


@pytest.mark.parametrize(
    "body",
    [
        "if (user.email) callback(); callback();",
        "if (user.email) return callback();",
        "if (user.email) return; callback();",
        "try { callback(); } catch (e) { callback(e); }",
        "setTimeout(() => callback(), 1);",
        "const done = callback; done();",
        "callback(user.email ? null : new Error('x'));",
        "callback(new Error(user.email));",
        "switch (user.email) { case 1: callback(); default: callback(); }",
        "for (const c of user.email) callback(); callback();",
        "user.x = 1; callback();",
        "user.email = 'x'; callback();",
        "try { return callback(new Error('x')); } catch (e) { f(e); } callback(); function f() {}",
        "console.log(user); callback();",
        "const tags = user.app_metadata.tags; tags.push(1); callback();",
        "(user.app_metadata.tags || []).push(1); callback();",
        "const event = 1; callback();",
        "const api = 1; callback();",
        "this.x = 1; callback();",
        "f(...arguments); callback(); function f() {}",
        "user = {}; callback();",
        "var context; callback();",
        "eval('user.x'); callback();",
        "callback(null, { user });",
        "callback(null, {}, 1);",
    ],
)
def test_what_is_not_plain_is_wrapped(body: str) -> None:
    trigger = "pre-user-registration"
    assert convert(in_hook(body), trigger, mode="rewrite").mode is None
    assert convert(in_hook(body), trigger).mode == "wrap"


@pytest.mark.parametrize("depth", [1, 2_000])
def test_scripts_may_be_deep_and_long(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    much = "".join(f"if (user.email === {number}) {{}} else " for number in range(depth))
    found = converted(f"const x = {deep};\n{much}{{}}\n{'+'.join(['user.email'] * depth)};")
    assert found.mode == "rewrite"
    assert found.code.count("event.user.email") == 2 * depth


def test_what_goes_deep_does_not_break_it() -> None:
    way = "if (user.email) { callback(); } else " * 600
    assert convert(in_hook(f"{way}callback();"), "post-user-registration").mode == "rewrite"
    chain = "user.app_metadata" + ".a" * 3_000
    assert convert(in_hook(f"if ({chain}) return callback(); callback();"), TRIGGER).mode
    many = "if (user.email) return callback(null, t);\n" * 1_000
    body = f"const t = {{ scope }};\n{many.replace('user.email', 'client.id')}callback(null, t);"
    assert convert(in_hook(body, "credentials-exchange"), "credentials-exchange").mode == "rewrite"


def test_line_ends_marks_and_hash_bangs_change_no_line() -> None:
    script = "\ufeff#!/usr/bin/env node\r\n\r\n" + in_hook("auth0.x;\r\n callback();")
    found = convert(script, "post-user-registration")
    assert [each.line for each in found.blockers] == [4]
    assert "\r" not in found.code
    assert syntax_error(found.code) is None


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_node_tells_what_is_wrong_with_the_syntax() -> None:
    assert syntax_error("let a;") is None
    assert syntax_error("let a;\nlet a = 1;") == (
        "line 2: SyntaxError: Identifier 'a' has already been declared"
    )
    assert "await" in (syntax_error("await 1;") or "")


def test_without_node_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert syntax_error("(") is None


_TOKENS = """
module.exports = function ( user , context , callback ) { } ; => return cb ( ) `${ } ' " /
async const let var { secrets } . webtask [ ] require('x@1') // /* */ ... ?. || new Error class
await this if else for try catch 1 # ü
"""


@given(
    st.lists(st.sampled_from([*_TOKENS.split(), *"\n\r\0\ufeff\ud800"]), max_size=40).map(" ".join),
    st.sampled_from([*SIGNATURES, "nope"]),
)
def test_no_text_makes_it_raise(text: str, trigger: str) -> None:
    for script in (text, in_hook(text)):
        found = convert(script, trigger)
        assert (found.mode is None) == (found.code == "")
        assert found == convert(script, trigger)
        assert found.mode or found.blockers
