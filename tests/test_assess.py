"""migrate assess: equal scripts are one thing to look at, and what stands in their way is told."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bulkhooks import assess, legacy, verdict
from bulkhooks.assess import Assessment, assess_hooks
from bulkhooks.convert import Conversion, convert
from bulkhooks.errors import TenantError
from bulkhooks.sandbox import Sandbox, serve
from bulkhooks.tenants import Tenant
from nights import Page
from raw import http, raw_server
from world import Make

TRIGGERS: Final = (
    *("credentials-exchange", "pre-user-registration", "post-user-registration"),
    *("post-change-password", "send-phone-message"),
)
PRE: Final = "pre-user-registration"
SCRIPT: Final = "module.exports = function (user, context, cb) {\n  cb(null, { user: user });\n};\n"
BLOCKED: Final = """\
module.exports = function (user, context, cb) {
  context.webtask.storage.get(function (error, data) {
    cb(null, { user: user });
  });
};
"""
NO_HOOK: Final = "module.exports = function (user, context, cb) {\n"
READS_KEY: Final = """\
module.exports = function (user, context, cb) {
  cb(context.webtask.secrets.API_KEY ? null : new Error('no key'), { user: user });
};
"""
ARGUMENTS: Final = {
    "credentials-exchange": "client, scope, audience, context, cb",
    "send-phone-message": "recipient, text, context, cb",
}


def numbered(number: int, trigger: str) -> str:
    """A script like no other."""
    arguments = ARGUMENTS.get(trigger, "user, context, cb")
    return f"module.exports = function ({arguments}) {{\n  // {number}\n  cb(null, {{}});\n}};\n"


async def assessed(box: Sandbox, **more: Any) -> Assessment:
    """What is told of all tenants of a sandbox."""
    async with serve(box) as url:
        tenants = {
            name: Tenant.with_token(name, f"{url}/{name}", "sandbox") for name in box._tenants
        }
        return await assess_hooks(tenants, **more)


def box_of(*scripts: str, trigger: str = PRE, tenants: int = 1, **more: Any) -> Sandbox:
    """Tenants that have each of the scripts."""
    box = Sandbox([f"t{number}" for number in range(tenants)], hooks=0, **more)
    for name in box._tenants:
        for number, script in enumerate(scripts):
            box.add_hook(name, name=f"hook-{number}", triggerId=trigger, script=script)
    return box


def text(found: Assessment) -> str:
    return "\n".join(verdict.as_text(found))


# ---- scripts


def test_many_hooks_of_few_scripts_are_few_things_to_look_at(make: Make) -> None:
    world = make(tuple(f"t{number:02}" for number in range(60)), hooks=0)
    for at, name in enumerate(world.tenants):
        for number in range(12):
            trigger = TRIGGERS[number % 5]
            if (at + number) % 3:
                script = numbered(number, trigger)
                world.sandbox.add_hook(
                    *(name,),
                    name=f"hook-{number}",
                    triggerId=trigger,
                    enabled=number < 5,
                    script=script,
                )
    ended = world.call("migrate", "assess", "--tenants", "tenants.json", "--json")
    told = json.loads(ended.stdout)
    assert ended.stderr == ""
    assert len(told["scripts"]) == 12
    assert sum(each["hooks"] for each in told["scripts"]) == 60 * 8
    for each in told["scripts"]:
        (name,) = each["names"]
        number = int(name.removeprefix("hook-"))
        assert each["triggerId"] == TRIGGERS[number % 5]
        assert each["tenants"] == [f"t{at:02}" for at in range(60) if (at + number) % 3]
        assert each["hooks"] == 40
        assert each["enabled"] == (40 if number < 5 else 0)
        conversion = convert(numbered(number, each["triggerId"]), each["triggerId"])
        assert each["mode"] == conversion.mode
        assert each["blockers"] == [msgspec.structs.asdict(one) for one in conversion.blockers]
    digests = {each["digest"] for each in told["scripts"]}
    assert len(digests) == 12
    for each in told["tenants"].values():
        assert each["hooks"] == 8
        assert len(each["scripts"]) == 8
        assert digests.issuperset(each["scripts"])
    assert {seen.method for seen in world.sandbox.log} == {"GET"}
    assert not any("bindings" in seen.path for seen in world.sandbox.log)


async def test_what_is_told_in_json_is_this() -> None:
    box = box_of(READS_KEY, BLOCKED)
    box.set_secrets("t0", box.hooks_of("t0")[0]["id"], {"API_KEY": "v4lue"})
    told = (await assessed(box)).as_json()
    assert told.keys() == {"scripts", "tenants"}
    blocked, reading = told["scripts"]
    assert [each["line"] for each in blocked["blockers"]] == [2]
    assert blocked["blockers"][0].keys() == {"line", "what"}
    assert reading.pop("mode") in ("wrap", "rewrite")
    assert reading.pop("digest") == sha256(READS_KEY.encode()).hexdigest()[:16]
    assert reading == {
        "triggerId": PRE,
        "tenants": ("t0",),
        "hooks": 1,
        "enabled": 0,
        "names": ("hook-0",),
        "blockers": [],
        "dependencies": {},
        "dependencies_differ": [],
        "secrets": {"API_KEY": False},
        "missing": [{"name": "API_KEY", "why": "nothing says where", "tenants": ("t0",)}],
        "unheld": (),
        "limits": (),
    }
    assert told["tenants"]["t0"].pop("scripts")
    assert told["tenants"] == {
        "t0": {
            "hooks": 2,
            "actions": 0,
            "made": 0,
            "clashes": [],
            "limits": (),
            "trouble": None,
        }
    }


async def test_one_script_on_two_triggers_is_two_things() -> None:
    box = box_of(SCRIPT, tenants=2)
    for name in ("t0", "t1"):
        box.add_hook(name, name="after", triggerId="post-user-registration", script=SCRIPT)
    found = await assessed(box)
    assert {each.triggerId for each in found.scripts} == {PRE, "post-user-registration"}
    assert len({each.digest for each in found.scripts}) == 1
    assert found.tenants["t0"].scripts == (found.scripts[0].digest,)


async def test_equal_scripts_are_converted_once_and_held_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    converted: list[str] = []

    def counting(script: str, trigger: str, **more: Any) -> Conversion:
        converted.append(script)
        return convert(script, trigger, **more)

    monkeypatch.setattr(assess, "convert", counting)
    box = box_of(SCRIPT, numbered(1, PRE), tenants=20)
    found = await assessed(box)
    assert sorted(converted) == sorted([SCRIPT, numbered(1, PRE)])
    assert [each.hooks for each in found.scripts] == [20, 20]
    async with serve(box) as url:
        tenants = {
            name: Tenant.with_token(name, f"{url}/{name}", "sandbox") for name in box._tenants
        }
        sources = await legacy.read_hooks(tenants)
    hooks = [
        hook for each in sources.values() if not isinstance(each, TenantError) for hook in each
    ]
    assert len(hooks) == 40
    assert len({id(hook.script) for hook in hooks}) == 2


async def test_dependencies_that_differ_and_pins_are_told() -> None:
    box = Sandbox(["t0", "t1", "t2"], hooks=0)
    script = "var a = require('axios@1.7.9');\n" + SCRIPT
    for name, version in (("t0", "3.0.0"), ("t1", "3.5.1"), ("t2", "3.5.1")):
        box.add_hook(
            *(name,), name="a", triggerId=PRE, script=script, dependencies={"uuid": version}
        )
    found = await assessed(box)
    (each,) = found.as_json()["scripts"]
    assert each["dependencies"] == {"uuid": "3.5.1", "axios": "1.7.9"}
    assert each["dependencies_differ"] == [
        {"dependencies": {"uuid": "3.5.1"}, "tenants": ("t1", "t2")},
        {"dependencies": {"uuid": "3.0.0"}, "tenants": ("t0",)},
    ]
    assert "dependencies differ: uuid 3.0.0 (on t0)" in text(found)


async def test_a_trigger_that_actions_do_not_have_blocks_and_breaks_nothing() -> None:
    found = await assessed(box_of(SCRIPT, trigger="on-odd-days"))
    (each,) = found.scripts
    assert each.urgency == 0
    assert "on-odd-days" in each.conversion.blockers[0].what


async def test_secrets_that_a_script_reads_and_no_hook_has_are_told() -> None:
    found = await assessed(box_of(READS_KEY))
    assert found.scripts[0].unheld == ("API_KEY",)
    assert found.scripts[0].urgency == 4, "the hook goes without it too"
    assert "reads secrets that none of the hooks has: API_KEY" in text(found)


# ---- limits and clashes


async def test_limits_of_an_action_are_told() -> None:
    packages = {f"p{number}": "1.0.0" for number in range(11)}
    box = Sandbox(["t0"], hooks=0)
    long = SCRIPT + "// " + "x" * 100_000 + "\n"
    box.add_hook("t0", name="long", triggerId=PRE, script=long)
    box.add_hook("t0", name="many", triggerId=PRE, script=SCRIPT, dependencies=packages)
    id = box.add_hook("t0", name="secretive", triggerId=PRE, script=numbered(1, PRE))["id"]
    box.set_secrets("t0", id, {f"S{number}": "v" for number in range(31)})
    found = await assessed(box)
    told = {each.names[0]: each.limits for each in found.scripts}
    (size,) = told["long"]
    assert size.endswith("bytes of code: an action may have 100,000")
    assert told["many"] == ("11 dependencies: an action may have 10",)
    assert told["secretive"] == ("31 secrets: an action may have 30",)
    assert {each.urgency for each in found.scripts} == {2}


async def test_a_tenant_may_have_a_hundred_actions_counting_those_that_are_ours() -> None:
    box = box_of(SCRIPT, numbered(1, PRE))
    for number in range(98):
        box.add_action("t0", name=f"a{number}", triggerId="post-login")
    assert (await assessed(box)).tenants["t0"].limits == ()
    made = convert(SCRIPT, PRE, dependencies={}).code
    box.add_action("t0", name="hook-0", triggerId=PRE, code=made)
    standing = (await assessed(box)).tenants["t0"]
    assert (standing.actions, standing.made, standing.limits) == (99, 1, ())
    box.add_action("t0", name="one-more", triggerId="post-login")
    limit = "100 actions there and 1 to be made: a tenant may have 100"
    assert (await assessed(box)).tenants["t0"].limits == (limit,)


async def test_twenty_actions_may_be_bound_to_a_trigger() -> None:
    box = Sandbox(["t0", "t1"], hooks=0)
    for name, bound in (("t0", 19), ("t1", 20)):
        box.add_hook(name, name="on", triggerId=PRE, script=SCRIPT, enabled=True)
        box.add_hook(name, name="off", triggerId=PRE, script=numbered(1, PRE))
        for number in range(20):
            box.add_action(name, name=f"a{number}", triggerId=PRE, bound=number < bound)
    found = await assessed(box)
    assert found.tenants["t0"].limits == ()
    (limit,) = found.tenants["t1"].limits
    assert limit == f"20 actions bound to {PRE} and 1 to be bound: a trigger may have 20"
    assert f"t1: limit: {limit}" in " ".join(text(found).split())


async def test_actions_of_a_hooks_name_clash_unless_they_are_ours_from_before() -> None:
    box = box_of(SCRIPT, tenants=4)
    made = convert(SCRIPT, PRE, dependencies={}).code
    box.add_action("t0", name="hook-0", triggerId=PRE, code=made)
    box.add_action("t1", name="hook-0", triggerId=PRE, code=made + "// by hand\n")
    box.add_action("t2", name="hook-0", triggerId="post-login", code=made)
    found = await assessed(box)
    whats = {name: [one.what for one in each.clashes] for name, each in found.tenants.items()}
    assert whats == {
        "t0": [],
        "t1": ["an action of that name is there, with other code"],
        "t2": ["an action of that name is there, of post-login"],
        "t3": [],
    }
    assert [each.made for each in found.tenants.values()] == [1, 0, 0, 0]
    assert found.scripts[0].urgency == 2
    assert found.scripts[0].clashes == 2
    assert "clash, hook-0: an action of that name is there, with other code (on t1)" in text(found)
    assert "1 action of them there already" in text(found)


async def test_two_hooks_of_one_name_clash() -> None:
    box = box_of(SCRIPT, numbered(1, PRE))
    box.change("t0", box.hooks_of("t0")[1]["id"], name="hook-0")
    found = await assessed(box)
    what = "2 hooks have the name that each one's action would have"
    assert [each.what for each in found.tenants["t0"].clashes] == [what, what]


# ---- what cannot be read


async def test_a_tenant_whose_hooks_are_gone_is_told_the_way_out(make: Make) -> None:
    world = make(("t0", "t1", "t2"), hooks=2, lifecycles={"t1": "gone"})
    world.tenants["t2"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    ended = world.call("migrate", "assess", "--tenants", "tenants.json", "--json", status=1)
    tenants = json.loads(ended.stdout)["tenants"]
    trouble = tenants["t1"]["trouble"]
    assert trouble["hint"].endswith("take them from files that were exported before: --from DIR")
    assert tenants["t2"]["trouble"]["cause"] == "401 Invalid token"
    assert tenants["t1"]["hooks"] is tenants["t2"]["hooks"] is None
    assert tenants["t0"]["hooks"] == 2
    told = world.call("migrate", "assess", "--tenants", "tenants.json", status=1).stdout
    assert "--from DIR" in " ".join(told.split())


async def test_hooks_are_told_though_actions_cannot_be_read() -> None:
    box = box_of(SCRIPT, tenants=2, scopes={"t1": ["read:hooks"]})
    found = await assessed(box)
    assert found.scripts[0].tenants == ("t0", "t1")
    trouble = found.tenants["t1"].trouble
    assert trouble is not None
    assert trouble.cause.startswith("its actions cannot be read: 403 Insufficient scope")
    assert "grant read:actions" in trouble.hint
    assert found.tenants["t1"].actions is None
    assert found.tenants["t0"].trouble is None


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (http(404), "404"),
        (http(200, b"{}"), "the answer is not a list of actions"),
        (http(200, b'{"actions": [5]}'), "the answer is not an action"),
        (http(200, b'{"actions": [{"id": "a"}], "total": 2}'), "the list of actions is not whole"),
    ],
)
async def test_odd_answers_are_told_as_trouble(answer: bytes, cause: str) -> None:
    def say(line: str) -> bytes:
        return answer if "actions" in line else http(200, b"[]")

    async with raw_server(say) as (url, _):
        found = await assess_hooks({"t0": Tenant.with_token("t0", url, "t")})
    trouble = found.tenants["t0"].trouble
    assert trouble is not None
    assert trouble.cause.startswith(f"its actions cannot be read: {cause}")
    assert "look at " in trouble.hint


# ---- out of files


@pytest.mark.parametrize("form", [(), ("--yaml",)], ids=["directory", "yaml"])
def test_exported_files_tell_the_same_as_their_tenants(make: Make, form: tuple[str, ...]) -> None:
    world = make(("t0", "t1"), hooks=7)
    world.sandbox.set_secrets("t0", world.ids("t0")[0], {"API_KEY": "v4lue"})
    words = ("migrate", "assess", "--tenants", "tenants.json", "--json")
    live = json.loads(world.call(*words).stdout)
    world.call("export", "--tenants", "tenants.json", "--to", "out", *form)
    world.sandbox.log.clear()
    ended = world.call(*words, "--from", "out")
    told = json.loads(ended.stdout)
    assert world.sandbox.log == []
    assert told["scripts"] == live["scripts"]
    assert {"API_KEY": False} in [each["secrets"] for each in told["scripts"]]
    for each in live["tenants"].values():
        each |= {"actions": None, "made": None}
        each["scripts"].sort()
    for each in told["tenants"].values():
        each["scripts"].sort()
    assert told["tenants"] == live["tenants"]
    assert ended.stderr == "read from out alone: what the tenants have now was not looked at\n"


def test_tenants_without_files_are_told_and_others_can_be_left_out(make: Make) -> None:
    world = make(("t0", "t1", "t2"), hooks=2)
    world.call("export", "--tenants", "tenants.json", "--to", "out", "--skip", "t2")
    words = ("migrate", "assess", "--tenants", "tenants.json", "--from", "out")
    ended = world.call(*words)
    assert "out has no files of t2: left out\n" in ended.stderr
    assert "4 hooks of 2 tenants" in ended.stdout
    assert "2 hooks of 1 tenant:" in world.call(*words, "--only", "t1").stdout
    refused = world.call(*words, "--only", "t2", status=2).stderr
    assert refused == "out has no files of the tenants that --only and --skip leave\n"
    one = (*words[:-1], "out/t0", "--tenant", "t2")
    assert "2 hooks of 1 tenant:" in world.call(*one).stdout


def test_what_cannot_be_answered_is_refused(make: Make) -> None:
    world = make(("t0",), hooks=2)
    words = ("migrate", "assess", "--tenants", "tenants.json")
    for more, why in (
        (("--tenant", "t0"), "--tenant and --mappings are for --from"),
        (("--mappings", "m.json"), "--tenant and --mappings are for --from"),
        (("--from", "none"), "none is not a folder"),
        (("--html", "none/a.html"), "none is not a folder"),
        (("--html", "."), ". is a folder; name a file"),
        (("--secrets", "none.yaml"), "none.yaml: cannot be read"),
        (("--only", "hook:a"), "for all hooks of a tenant"),
    ):
        assert why in world.call(*words, *more, status=2).stderr
    assert world.sandbox.log == []


def test_markers_in_scripts_are_replaced_or_refused(make: Make) -> None:
    world = make(("t0",), hooks=0)
    hooks = world.folder / "out" / "t0" / "hooks"
    hooks.mkdir(parents=True)
    hook = {"name": "neu", "triggerId": PRE, "script": "./a.js", "secrets": {"KEY": "##KEY##"}}
    (hooks / "a.js").write_text("// ##WHERE##\n" + SCRIPT)
    (hooks / "a.json").write_text(json.dumps(hook))
    words = ("migrate", "assess", "--tenants", "tenants.json", "--from", "out", "--json")
    refused = world.call(*words, status=2).stderr
    assert "a.json" in refused
    assert "`##WHERE##` is not replaced; give WHERE by --mappings" in refused
    world.write("m.json", {"WHERE": "here"})
    told = json.loads(world.call(*words, "--mappings", "m.json", "--html", "a.html").stdout)
    assert told["scripts"][0]["secrets"] == {"KEY": False}
    assert "// here" in (world.folder / "a.html").read_text()


# ---- secrets


def test_values_of_secrets_are_supplied_and_never_shown(make: Make) -> None:
    world = make(("t0", "t1"), hooks=0)
    for name in ("t0", "t1"):
        id = world.sandbox.add_hook(name, name="a", triggerId=PRE, script=READS_KEY)["id"]
        world.sandbox.set_secrets(name, id, {"API_KEY": "m4rker-held", "SMTP": "m4rker-held"})
    world.env["KEY"] = "m4rker-in-variable"
    world.write("key", "m4rker-in-file")
    (world.folder / "s.yaml").write_text(
        "secrets: {API_KEY: env:KEY}\ntenants: {t0: {SMTP: file:key}, t1: {SMTP: env:UNSET}}\n"
    )
    words = ("migrate", "assess", "--tenants", "tenants.json", "--secrets", "s.yaml")
    ended = world.call(*words, "--json", "--html", "a.html", "--log", "log")
    (each,) = json.loads(ended.stdout)["scripts"]
    assert each["secrets"] == {"API_KEY": True, "SMTP": False}
    why = "variable UNSET is not set"
    assert each["missing"] == [{"name": "SMTP", "why": why, "tenants": ["t1"]}]
    shown = world.call(*words, "-v")
    assert "secret SMTP: variable UNSET is not set (on t1)" in shown.stdout
    assert shown.stderr.count("/secrets") == 2
    files = [world.folder / name for name in ("a.html", "log")]
    for told in (ended.stdout, shown.stdout, shown.stderr, *(path.read_text() for path in files)):
        assert "m4rker" not in told
    world.write("s.yaml", "secrets: {API_KEY: m4rker}\n")
    refused = world.call(*words, status=2).stderr
    assert refused.startswith("s.yaml:1: secrets.API_KEY: must be a reference: env:NAME or file:")


# ---- what a person sees


async def test_the_most_urgent_come_first_and_lines_fit_a_screen() -> None:
    box = box_of(SCRIPT, READS_KEY, BLOCKED, NO_HOOK, numbered(1, PRE), tenants=30)
    for name in box._tenants:
        ids = [hook["id"] for hook in box.hooks_of(name)]
        box.set_secrets(name, ids[1], {"API_KEY": "v"})
        box.add_action(name, name="hook-4", triggerId=PRE)
    found = await assessed(box)
    assert [each.urgency for each in found.scripts] == [0, 1, 2, 3, 4]
    lines = text(found).splitlines()
    assert max(map(len, lines)) <= 80
    states = ["1 blocker", "1 blocker", "30 clashes", "1 secret", "ready"]
    for line, script, state in zip(lines[1:6], found.scripts, states, strict=True):
        assert line.startswith(script.digest)
        assert line.endswith(state)
    assert lines.index("  cannot be converted") < lines.index(
        f"  line 2: {found.scripts[1].conversion.blockers[0].what}"[:80]
    )
    assert lines[-2:] == [
        "150 hooks of 30 tenants: 5 scripts, 1 ready, 2 blocked, 2 with something to",
        "  settle",
    ]


def test_the_next_commands_have_the_words_of_this_one(make: Make) -> None:
    world = make(("t0", "t1"), hooks=0)
    world.sandbox.add_hook("t0", name="a", triggerId=PRE, script=BLOCKED)
    words = ("--tenants", "tenants.json", "--skip", "t1")
    told = world.call("migrate", "assess", *words).stdout.splitlines()
    assert told[-2:] == [
        "next: bulkhooks migrate assess --tenants tenants.json --skip t1 --html assess.html",
        "next: bulkhooks migrate plan --tenants tenants.json --skip t1",
    ]
    assert world.call("migrate", "assess", "--tenants", "tenants.json", "--only", "t1").stdout == (
        "\n0 hooks of 1 tenant: 0 scripts, 0 ready, 0 blocked\n"
    )


EVIL: Final = "<script>alert(1)</script>"


async def paged(box: Sandbox, folder: Path) -> tuple[Assessment, Page]:
    found = await assessed(box)
    verdict.save_verdict(found, folder / "a.html")
    return found, Page((folder / "a.html").read_text())


async def test_the_page_needs_nothing_else_and_shows_what_is_hostile_as_text(
    tmp_path: Path,
) -> None:
    box = Sandbox(["t0"], hooks=0)
    script = f"// {EVIL}</span></body>\n{SCRIPT}// '\"{{{{ 7 * 7 }}}}&lt;\n"
    box.add_hook("t0", name=EVIL, triggerId=PRE, script=script, dependencies={EVIL: EVIL})
    box.add_hook("t0", name="odd", triggerId=EVIL, script=script)
    box.set_secrets("t0", box.hooks_of("t0")[0]["id"], {EVIL: "v4lue"})
    _, page = await paged(box, tmp_path)
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "base", "form", "svg", "video"}
    )
    for _, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on")}
        assert attributes.keys().isdisjoint({"src", "srcset", "style", "action"})
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page.style
    assert "@import" not in page.style
    shown = "".join(page.text)
    assert f"// {EVIL}</span></body>" in shown
    assert "// '\"{{ 7 * 7 }}&lt;" in shown
    assert shown.count(EVIL) >= 6
    assert sum(tag == "body" for tag, _ in page.tags) == 1


async def test_the_page_has_each_script_beside_its_action_with_blockers_at_their_lines(
    tmp_path: Path,
) -> None:
    box = box_of(SCRIPT, BLOCKED, NO_HOOK)
    found, page = await paged(box, tmp_path)
    shown = "".join(page.text)
    lines = [line.rstrip() for line in shown.splitlines()]
    for each in found.scripts:
        for number, line in enumerate(each.script.splitlines(), 1):
            assert f"{number}{line}".rstrip() in lines
        for number, line in enumerate(each.conversion.code.splitlines(), 1):
            assert f"{number}{line}".rstrip() in lines
    (what,) = found.scripts[1].conversion.blockers
    at = lines.index("2  context.webtask.storage.get(function (error, data) {")
    assert lines[at + 1] == what.what
    assert "It cannot be converted." in lines
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a"}
    assert links == targets
    assert targets == {"main", "s1", "s2", "s3"}
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in page.tags
    assert "prefers-color-scheme: dark" in page.style


async def test_a_page_is_replaced_whole_and_not_through_a_link(tmp_path: Path) -> None:
    found = await assessed(box_of(SCRIPT))
    (tmp_path / "other").write_text("other's")
    (tmp_path / "a.html").symlink_to(tmp_path / "other")
    verdict.save_verdict(found, tmp_path / "a.html")
    assert (tmp_path / "other").read_text() == "other's"
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert sorted(os.listdir(tmp_path)) == ["a.html", "other"]


async def test_what_servers_say_steers_neither_a_terminal_nor_a_path() -> None:
    hook = {"id": "A", "name": "a", "triggerId": "x/../y", "enabled": True, "script": "\x1b[31m"}
    actions = [
        {"id": f"{number}", "name": f"a{number}", "supported_triggers": [{"id": "x/../y"}]}
        for number in range(20)
    ]
    triggers = [{"id": "z"}, {"id": "\x1b[31mred"}]
    actions.append({"id": "red", "name": "a", "supported_triggers": triggers})
    asked: list[str] = []

    def say(line: str) -> bytes:
        asked.append(line)
        answers = {
            "/hooks?": [hook],
            "/hooks/A/secrets": {},
            "/hooks/A ": hook,
            "/actions?": {"total": len(actions), "actions": actions},
            "/bindings?": {"total": 0, "bindings": []},
        }
        return http(200, json.dumps(next(answers[key] for key in answers if key in line)).encode())

    async with raw_server(say) as (url, _):
        found = await assess_hooks({"t0": Tenant.with_token("t0", url, "t")})
    lines = text(found).splitlines()
    assert "of z, \u241b[31mred" in " ".join(lines)
    assert all(line.isprintable() for line in lines)
    assert "/triggers/x%2F..%2Fy/bindings?" in asked[-1]
