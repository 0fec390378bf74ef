"""The Deploy CLI's files, and jobs out of them and out of journals. The tool: test_interop.py."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bulkhooks.deploy import Mappings, Tree, write_tree
from bulkhooks.deploy_hooks import changes_by_import, hooks_section, read_hooks
from bulkhooks.errors import BadInput, Refused
from bulkhooks.items import Edit
from bulkhooks.jobfile import Job, load_job
from bulkhooks.jobwriter import as_written, header, job_text, save_job
from bulkhooks.journal import Journal
from bulkhooks.pacing import Limits
from bulkhooks.plan import stage
from bulkhooks.sandbox import MASK, Request, Sandbox
from bulkhooks.schedule import AT_ONCE, Schedule, Window
from bulkhooks.source import Findings
from bulkhooks.tenants import Tenant
from bulkhooks.transfer import LEFT, left_of
from world import World, served

NAMES = ("t0", "t1")
TENANTS = {name: Tenant.with_token(name, f"http://127.0.0.1:1/{name}", "t") for name in NAMES}
SCRIPT = "module.exports = (user, context, cb) => cb();\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two tenants of six hooks; the first hook of `t0` has a secret."""
    sandbox = Sandbox(NAMES, hooks=6)
    with ExitStack() as stack:
        made = World(tmp_path, sandbox, stack.enter_context(served(sandbox)), NAMES)
        path = f"/api/v2/hooks/{made.ids('t0')[0]}/secrets"
        headers, body = {"authorization": "Bearer sandbox"}, b'{"API_KEY": "v4lue"}'
        asked = Request(tenant="t0", method="POST", path=path, query={}, headers=headers, body=body)
        assert sandbox.handle(asked, 0.0).status == 201
        sandbox.log.clear()
        yield made


def export(world: World, *words: str, status: int = 0) -> Any:
    return world.call("export", "--tenants", "tenants.json", "--to", "out", *words, status=status)


def job_from(world: World, *words: str, status: int = 0) -> Any:
    return world.call("job-from", "out", "--tenants", "tenants.json", *words, status=status)


def edits_of(world: World, *words: str) -> list[dict[str, Any]]:
    """The edits of the job out of the tree, which are valid."""
    text = job_from(world, *words, "--json").stdout
    edits: list[dict[str, Any]] = json.loads(text)["edits"]
    if edits:
        world.write("made.json", text)
        world.call("validate", "made.json", "--tenants", "tenants.json")
    return edits


def tree(world: World, text: str, tenant: str = "t0") -> None:
    """One hook's JSON file beside a script."""
    hooks = world.folder / "out" / tenant / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "a.js").write_text(SCRIPT)
    (hooks / "a.json").write_text(text)


def one_hook(**more: Any) -> str:
    hook = {"name": "neu", "triggerId": "post-change-password", "script": "./a.js"}
    return json.dumps(hook | more)


# ---- export


@pytest.mark.parametrize("form", [(), ("--yaml",)], ids=["directory", "yaml"])
def test_what_is_exported_comes_back_as_nothing_to_do(world: World, form: tuple[str, ...]) -> None:
    assert export(world, *form).stdout == "12 hooks and 0 actions of 2 tenants in out\n"
    back = job_from(world)
    assert (back.stdout, back.stderr) == ("", "nothing to do, so there is no job\n")
    assert edits_of(world) == []
    assert {seen.method for seen in world.sandbox.log} == {"GET"}
    assert job_from(world, "--to", "job.yaml").stdout == ""
    assert not (world.folder / "job.yaml").exists()


def test_files_that_are_there_are_never_written_over(world: World) -> None:
    (world.folder / "out" / "t1" / "hooks").mkdir(parents=True)
    (world.folder / "out" / "t1" / "hooks" / "mine.js").write_text("mine")
    told = export(world, status=2).stderr
    assert "out/t1/hooks has files in it" in told
    assert world.sandbox.log == []
    (world.folder / "out" / "t1" / "hooks" / "mine.js").unlink()
    export(world)
    assert "out/t0/hooks has files in it\nout/t1/hooks" in export(world, status=2).stderr
    assert not list(world.folder.glob("out/*/.*")), "nothing is left of the writing"


def test_one_tenant_that_cannot_be_read_leaves_the_others_alone(world: World) -> None:
    world.tenants["t1"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    ended = export(world, "--json", status=1)
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("t1: 401 Invalid token: the token is refused")
    told = json.loads(ended.stdout)["tenants"]
    assert told["t0"] == {
        "hooks": 6,
        "actions": 0,
        "secrets": 2,
        "changed_by_import": {},
        "remarks": [],
        "left_out": None,
    }
    assert told["t1"]["cause"] == "401 Invalid token"
    assert os.listdir(world.folder / "out") == ["t0"]

    (world.folder / "out" / "t0" / "hooks" / "audit-log.js").write_text(SCRIPT)
    tree(world, one_hook(), tenant="t1")
    ended = job_from(world, status=1)
    assert ended.stderr.startswith("t1: 401 Invalid token")
    assert "name: audit-log" in ended.stdout


def test_only_takes_names_and_globs_of_tenants(world: World) -> None:
    assert "no tenant is or has t2" in export(world, "--only", "t2", status=2).stderr
    assert "leave no tenant" in export(world, "--skip", "*", status=2).stderr
    assert "for all hooks of a tenant" in export(world, "--only", "hook:a", status=2).stderr
    export(world, "--only", "*1")
    assert os.listdir(world.folder / "out") == ["t1"]


def test_names_that_the_tool_would_change_are_told(world: World) -> None:
    for name in ("Mixed Case", "mixed-case", "ab"):
        world.sandbox.add_hook("t1", name=name, triggerId="send-phone-message")
    told = export(world).stderr.splitlines()
    assert [line.split("deploy-cli, ")[1] for line in told] == [
        "becomes mixed-case, as another does: refused",
        "is refused: it takes three characters at least",
    ]
    assert edits_of(world) == [], "to us they are two hooks"


def test_a_hook_that_goes_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    gone: list[str] = []

    def delete(request: Request) -> None:
        if request.path.startswith("/api/v2/hooks/") and not gone:
            gone.append(request.path.rpartition("/")[2])
            del sandbox._tenants["t0"].hooks[gone[0]]

    sandbox = Sandbox(["t0"], hooks=4, fault=delete)
    with served(sandbox) as url:
        world = World(tmp_path, sandbox, url, ["t0"])
        assert export(world).stdout == "3 hooks and 0 actions of 1 tenant in out\n"


@given(st.lists(st.text(max_size=300) | st.sampled_from(["..", "con", "a/../b", "A", "a", "a-2"])))
@settings(max_examples=60, deadline=None)
def test_no_name_of_a_hook_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    root = tmp_path_factory.mktemp("t") / "t0"
    hooks = [
        {"name": name, "script": f"// {number}", "secrets": []} for number, name in enumerate(names)
    ]
    write_tree(root, [hooks_section(hooks, yaml=False)], yaml=False)
    assert os.listdir(root.parent) == ["t0"]
    assert os.listdir(root) == ["hooks"]
    found = sorted(os.listdir(root / "hooks"))
    assert len({name.casefold() for name in found}) == 2 * len(names)
    for path in (root / "hooks").glob("*.json"):
        hook = json.loads(path.read_text())
        script = (root / "hooks" / hook["script"]).read_text()
        assert hook["name"] == names[int(script[3:])]


# ---- a tree as a job


def test_what_is_missing_is_created_and_what_differs_is_set(world: World) -> None:
    export(world)
    hooks = world.folder / "out" / "t0" / "hooks"
    text = (hooks / "audit-log.json").read_text()
    (hooks / "audit-log.json").write_text(text.replace('"enabled": true', '"enabled": false'))
    (hooks / "add-claims.js").write_text(SCRIPT)
    (hooks / "neu.json").write_text(one_hook(script="./add-claims.js", enabled=True))
    (world.folder / "out" / "t1" / "hooks" / "add-claims.json").unlink()
    off, script, made = sorted(edits_of(world), key=json.dumps, reverse=True)[::-1]
    assert {"off": off, "script": script, "made": made} == {
        "off": {
            "tenant": "t0",
            "create": {
                "name": "neu",
                "triggerId": "post-change-password",
                "enabled": True,
                "script": SCRIPT,
            },
        },
        "script": {"tenant": "t0", "hook": {"name": "add-claims"}, "set": {"script": SCRIPT}},
        "made": {"tenant": "t0", "hook": {"name": "audit-log"}, "set": {"enabled": False}},
    }


@pytest.mark.parametrize("name", ["job.yaml", "job.yml", "job.json", "job.jsonl"])
def test_a_job_beside_the_tree_names_its_script_files(world: World, name: str) -> None:
    tree(world, one_hook(dependencies={"axios": "1.10"}))
    told = job_from(world, "--to", name)
    assert told.stderr == f"1 edit in {name}; next: bulkhooks plan {name}\n"
    assert "out/t0/hooks/a.js" in (world.folder / name).read_text()
    (edit,) = load_job(world.folder / name).edits(TENANTS)
    assert edit.create["script"] == SCRIPT
    assert edit.create["dependencies"] == {"axios": "1.10"}
    assert "is there already" in job_from(world, "--to", name, status=2).stderr
    (world.folder / "jobs").mkdir()
    job_from(world, "--to", f"jobs/{name}")
    assert "a.js" not in (world.folder / "jobs" / name).read_text(), "it is outside of the folder"


def test_a_hook_is_found_by_the_name_that_the_tool_makes_of_it(world: World) -> None:
    world.sandbox.add_hook("t0", name="Fraud Guard", triggerId="send-phone-message")
    tree(world, one_hook(name="fraud-guard", triggerId="send-phone-message"))
    assert "hook fraud-guard: taken for the live hook Fraud Guard" in job_from(world).stderr
    (edit,) = edits_of(world)
    assert edit["hook"] == {"name": "Fraud Guard"}
    assert edit["set"].keys() == {"script"}


def test_a_hook_that_another_of_the_tree_has_by_name_is_not_taken(world: World) -> None:
    world.sandbox.add_hook("t0", name="one-check", triggerId="send-phone-message", script=SCRIPT)
    tree(world, one_hook(name="one-check", triggerId="send-phone-message"))
    other = one_hook(name="One Check", triggerId="send-phone-message")
    (world.folder / "out" / "t0" / "hooks" / "b.json").write_text(other)
    (edit,) = edits_of(world)
    assert edit["create"]["name"] == "One Check"


def test_a_script_comes_back_to_the_byte(world: World) -> None:
    script = "\ufeff// \u2028\u0085\r\n\tx\r \n "
    made = world.sandbox.add_hook("t0", name="odd", triggerId="send-phone-message", script=script)
    export(world)
    assert edits_of(world) == []
    world.sandbox._tenants["t0"].hooks[made["id"]]["script"] = "// other"
    for words in ((), ("--to", "job.yaml"), ("--to", "job.json")):
        text = job_from(world, *words).stdout
        if text:
            world.write("out.yaml", text)
        (edit,) = load_job(world.folder / (words or ("", "out.yaml"))[1]).edits(TENANTS)
        assert edit.set == {"script": script}


def test_a_trigger_that_differs_is_an_error_that_names_file_and_key(world: World) -> None:
    tree(world, one_hook(name="fraud-check"))
    told = job_from(world, status=2).stderr
    assert told.startswith("out/t0/hooks/a.json:1: triggerId: is pre-user-registration on the ten")


def test_no_value_of_a_secret_gets_into_a_job(world: World) -> None:
    (world.folder / "map.json").write_text('{"KEY": "v4lue", "ALL": {"FIFTH": "v4lue"}}')
    secrets = {
        "ONE": "##KEY##",
        "TWO": "@@KEY@@",
        "THREE": "v4lue",
        "FOUR": MASK,
        "SIX": "a##KEY##",
    }
    tree(world, one_hook(secrets=secrets))
    tree(world, one_hook(secrets="@@ALL@@"), tenant="t1")
    told = job_from(world, "--mappings", "map.json")
    assert "v4lue" not in told.stdout + told.stderr
    edit, other = edits_of(world, "--mappings", "map.json")
    assert edit["set_secrets"] == {"ONE": "env:KEY", "TWO": "env:KEY"}
    assert "set_secrets" not in other
    assert [line.removeprefix("t0: hook neu: ") for line in told.stderr.splitlines()[:3]] == [
        "give secret FOUR by set_secrets: its value is not in the files",
        "give secrets THREE, SIX by set_secrets: what the files say is not carried on",
        "t1: hook neu: give secret FIFTH by set_secrets: what the files say is not carried on",
    ]


def test_a_masked_secret_is_missed_only_where_the_live_hook_has_none(world: World) -> None:
    export(world)
    file = world.folder / "out" / "t0" / "hooks" / "fraud-check.json"
    file.write_text(file.read_text().replace('"API_KEY"', f'"NEW": "{MASK}", "API_KEY"'))
    told = job_from(world).stderr
    assert "give secret NEW by set_secrets: its value is not in the files" in told
    assert "API_KEY" not in told


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (one_hook(enabeld=True), "enabeld: unknown key `enabeld`; did you mean `enabled`?"),
        (one_hook(enabled="true"), "enabled: must be true without quotes"),
        (one_hook(name="-x"), "name: `-x` is no hook name"),
        (one_hook(triggerId="login"), "triggerId: unknown trigger `login`"),
        (one_hook(dependencies={"axios": 1.1}), "dependencies.axios: must be text, not `1.1`"),
        (one_hook(name="a##STAGE##"), "name: `##STAGE##` is not replaced; give STAGE by --mapp"),
        (one_hook(dependencies="@@D@@"), "dependencies: `@@D@@` is not replaced"),
        (one_hook(secrets=["A"]), "secrets: must be a mapping of names to values"),
        (one_hook(secrets={"A B": "##A##"}), "secrets.A B: `A B` cannot name a secret"),
        (one_hook(script="./b.js"), "script: `./b.js` is not there"),
        (one_hook(script="../../../x.js"), "script: `../../../x.js` leads out of the folder"),
        (one_hook(script="..\\..\\..\\x.js"), "leads out of the folder"),
        (one_hook(script="/etc/hostname"), "script: `/etc/hostname` leads out of the folder"),
        (one_hook(script="./link.js"), "script: `./link.js` leads out of the folder"),
        ('{"name": "neu", "name": "neu"}', "name: is given twice"),
        ('{"name": "neu"}', "needs `script`"),
        ("[]", "must be a mapping, not a list"),
        ("{", "is not JSON"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    hooks = tmp_path / "t0" / "hooks"
    hooks.mkdir(parents=True)
    (tmp_path / "x.js").write_text("outside")
    (hooks / "link.js").symlink_to(tmp_path / "x.js")
    (hooks / "a.js").write_text(SCRIPT)
    (hooks / "a.json").write_text(text)
    found = Findings("")
    assert read_hooks(Tree(tmp_path / "t0", TENANTS["t0"], Mappings(), found)) == []
    assert any(
        str(told).startswith(f"{hooks}/a.json:1: ") and complaint in str(told)
        for told in found.complaints
    ), found.complaints


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_asked(world: World) -> None:
    tree(world, one_hook(enabled=0))
    tree(world, one_hook(name=""), tenant="t1")
    assert job_from(world, status=2).stderr.splitlines() == [
        "out/t0/hooks/a.json:1: enabled: must be true or false, not `0`",
        "out/t1/hooks/a.json:1: name: must be text, not ``",
    ]
    assert world.sandbox.log == []


def test_a_folder_or_file_that_leads_out_is_refused(world: World) -> None:
    tree(world, one_hook())
    elsewhere = world.folder / "elsewhere"
    (world.folder / "out" / "t0").rename(elsewhere)
    (world.folder / "out" / "t0").symlink_to(elsewhere)
    assert "t0: leads out of the folder" in job_from(world, status=2).stderr
    (world.folder / "out" / "t0").unlink()
    (world.folder / "out" / "t0" / "hooks").mkdir(parents=True)
    (world.folder / "out" / "t0" / "hooks" / "b.json").symlink_to(elsewhere / "hooks" / "a.json")
    assert "b.json: leads out of the folder" in job_from(world, status=2).stderr


def test_whose_a_tree_is(world: World) -> None:
    tree(world, one_hook(), tenant="t2")
    assert "unknown tenant `t2`; known are `t0`, `t1`" in job_from(world, status=2).stderr
    (world.folder / "out" / "t2").rename(world.folder / "out" / "t1")
    assert "no folder t0" in job_from(world, "--tenant", "t0", status=2).stderr
    assert "unknown tenant `x`" in job_from(world, "--tenant", "x", status=2).stderr
    assert edits_of(world)[0]["tenant"] == "t1"
    (world.folder / "out" / "t1" / "hooks").rename(world.folder / "out" / "hooks")
    assert "say which by --tenant" in job_from(world, status=2).stderr
    assert edits_of(world, "--tenant", "t1")[0]["tenant"] == "t1"
    (world.folder / "out").rename(world.folder / "t0")
    named = world.call("job-from", "t0", "--tenants", "tenants.json", "--json").stdout
    assert json.loads(named)["edits"][0]["tenant"] == "t0", "the folder is called so"
    (world.folder / "out").mkdir()
    assert "has no files of auth0-deploy-cli" in job_from(world, status=2).stderr


YAML = """clients:
  - &app {name: app}
  - *app
hooks:
- name: check-##STAGE##
  triggerId: send-phone-message
  enabled: ##ON##
  script: ./hooks/a.js
  dependencies: @@DEPENDENCIES@@
  secrets:
    KEY: ##KEY##
- {name: two, triggerId: post-change-password, script: ./hooks/a.js, enabled: 'no'}
tenant: *app
"""


def test_a_tenant_yaml_is_read_for_its_hooks_alone(world: World) -> None:
    tree(world, "")
    (world.folder / "out" / "t0" / "hooks" / "a.json").unlink()
    file = world.folder / "out" / "t0" / "tenant.yaml"
    file.write_text(YAML)
    mappings = {"STAGE": "blue", "ON": "false", "DEPENDENCIES": {"axios": "1.10"}}
    config = {"AUTH0_CLIENT_SECRET": "x", "AUTH0_KEYWORD_REPLACE_MAPPINGS": mappings}
    (world.folder / "map.json").write_text(json.dumps(config))
    told = job_from(world, "--mappings", "map.json", status=2).stderr
    assert told == "out/t0/tenant.yaml:12: hooks[1].enabled: must be true or false, not `no`\n"
    file.write_text(YAML.replace("'no'", "false"))
    edit, _ = edits_of(world, "--mappings", "map.json")
    assert edit["set_secrets"] == {"KEY": "env:KEY"}
    assert edit["create"] == {
        "name": "check-blue",
        "triggerId": "send-phone-message",
        "enabled": False,
        "script": SCRIPT,
        "dependencies": {"axios": "1.10"},
    }
    told = job_from(world, status=2).stderr
    assert "tenant.yaml:5: hooks[0].name: `##STAGE##` is not replaced" in told
    (world.folder / "out" / "t0" / "hooks" / "a.json").write_text(one_hook())
    assert "stands beside" in job_from(world, status=2).stderr


def test_a_script_with_markers_goes_into_the_job_itself(world: World) -> None:
    tree(world, one_hook())
    script = world.folder / "out" / "t0" / "hooks" / "a.js"
    script.write_text("const a = '@@LIST@@', b = \"##WORD##\";\n")
    told = job_from(world, status=2).stderr
    assert "a.json:1: script: `@@LIST@@` is not replaced; give LIST by --mappings" in told
    (world.folder / "map.json").write_text('{"LIST": [1, "x"], "WORD": "$&"}')
    job_from(world, "--mappings", "map.json", "--to", "job.yaml")
    (edit,) = load_job(world.folder / "job.yaml").edits(TENANTS)
    assert edit.create["script"] == 'const a = [1,"x"], b = "$&";\n'


def test_mappings_are_json_of_one_of_two_shapes(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text('{"AUTH0_KEYWORD_REPLACE_MAPPINGS": []}')
    with pytest.raises(BadInput, match="AUTH0_KEYWORD_REPLACE_MAPPINGS: must be a mapping"):
        Mappings.load(file)
    file.write_text('{"A": "1", "A": "2"}')
    with pytest.raises(BadInput, match="A: is given twice"):
        Mappings.load(file)


def test_names_are_told_as_the_tool_reads_them() -> None:
    assert changes_by_import(["fine-1", "Two Words"]) == {"Two Words": "becomes two-words"}


# ---- jobs as they are written

EVERY_KIND: list[dict[str, Any]] = [
    {"tenant": "t0", "hook": "01AB", "set": {"enabled": True}, "note": "why"},
    {"tenants": ["t0", "t1"], "hooks": {"name": "a*", "enabled": True}, "set": {"name": "b"}},
    {"tenants": "*", "hooks": {"triggerId": "send-phone-message"}, "delete": True},
    {"tenant": "t1", "hook": {"name": "a", "triggerId": "send-phone-message"}, "delete": True},
    {
        "tenant": "t1",
        "create": {"name": "n", "triggerId": "send-phone-message", "script": SCRIPT},
        "set_secrets": {"A": "env:A", "B": "file:/secret"},
    },
    {"tenant": "t0", "hook": "01AB", "remove_secrets": ["C"], "set_secrets": {"A": "env:A"}},
    {
        "tenants": "t*",
        "hooks": {"name": "*"},
        "set": {"script": SCRIPT, "dependencies": {"a": "1.10"}},
        "expect": {"enabled": False, "script": "\u2028\t x \n"},
        "allow_empty": True,
    },
    {
        "tenant": "t0",
        "create": {
            **{"name": "n (1)", "triggerId": "post-login", "code": SCRIPT, "runtime": "node22"},
            **{"bound": True, "position": "after n"},
        },
        "deploy": True,
    },
    {"tenant": "t0", "action": "4c8a-1", "set": {"bound": False}, "expect": {"deployed": True}},
    {"tenant": "t0", "action": {"name": "n"}, "set": {"code": SCRIPT}, "deploy": True},
    {"tenants": "t*", "actions": {"bound": True, "deployed": True}, "delete": True},
    {"tenants": "t*", "hooks": {"name": "*"}, "transform": "a.py:f"},
    {"tenant": "t0", "actions": {"name": "*"}, "transform": "a.py:f", "deploy": True},
]


def parsed(edits: list[dict[str, Any]], folder: Path | None = None) -> list[Edit]:
    return list(Job.of("job", edits, folder=folder).edits(TENANTS))


def test_an_edit_of_every_kind_is_written_as_it_was_meant(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f(it): ...\n")
    named = [edit | {"id": f"e{number}"} for number, edit in enumerate(EVERY_KIND)]
    meant = parsed(named, tmp_path)
    written = [as_written(edit, id=edit.id or "", tenants=edit.tenants) for edit in meant]
    for name in ("job.yaml", "job.json", "job.jsonl"):
        assert save_job(tmp_path / name, {}, iter(written)) == len(meant)
        read = list(load_job(tmp_path / name).edits(TENANTS))
        for was, now in zip(meant, read, strict=True):
            for field in set(Edit.__struct_fields__) - {"digest", "line"}:
                assert getattr(now, field) == getattr(was, field)
    assert sorted(os.listdir(tmp_path)) == ["a.py", "job.json", "job.jsonl", "job.yaml"]


@given(script=st.text(min_size=1), note=st.text(min_size=1))
@example(script="a\x85b \n", note="\x85")
@example(script="\n", note="\n\n")
@settings(deadline=None)
def test_any_script_comes_back_out_of_yaml_and_json(
    tmp_path_factory: pytest.TempPathFactory, script: str, note: str
) -> None:
    folder = tmp_path_factory.mktemp("j")
    edit = {"tenant": "t0", "hook": "A", "set": {"script": script}, "note": note}
    for name in ("job.yaml", "job.json"):
        save_job(folder / name, {"note": note}, [edit])
        job = load_job(folder / name)
        (read,) = job.edits(TENANTS)
        assert (read.set["script"], read.note, job.note) == (script, note, note)


def test_what_stands_above_the_edits_is_kept(tmp_path: Path) -> None:
    limits = Limits(reserve=0.07, max_rate=100 / 60, concurrency=3)
    save_job(tmp_path / "a.yaml", header(name="n", note="x", limits=limits), [EVERY_KIND[0]])
    job = load_job(tmp_path / "a.yaml")
    assert (job.name, job.note) == ("n", "x")
    assert job.limits.reserve == pytest.approx(0.07)
    assert job.limits.max_rate == pytest.approx(100 / 60)
    assert job.limits.concurrency == 3
    whole = Limits(reserve=4, max_rate=10.0)
    save_job(tmp_path / "b.json", header(limits=whole), [EVERY_KIND[0]])
    assert load_job(tmp_path / "b.json").limits == whole
    assert header(name="n", limits=Limits()) == {"name": "n"}


def test_a_document_that_would_be_too_long_is_refused(tmp_path: Path) -> None:
    edits = [{"tenant": "t0", "hook": f"A{n}", "set": {"script": "x" * 1000}} for n in range(1000)]
    with pytest.raises(Refused, match=r"write it with --to NAME.jsonl"):
        job_text({}, edits)
    with pytest.raises(Refused, match="longer than"):
        save_job(tmp_path / "a.json", {}, edits)
    assert os.listdir(tmp_path) == []
    assert save_job(tmp_path / "a.jsonl", {}, edits) == 1000
    with pytest.raises(Refused, match="must end in"):
        save_job(tmp_path / "a.csv", {}, edits)


# ---- a journal as a job


def left_job(world: World, *words: str, status: int = 0) -> Any:
    return world.call("job-from", "j", *words, status=status)


def make_journal(world: World) -> None:
    """`t1` refuses its token; on `t0` one edit is skipped, one fails and the rest is done."""
    ids = world.ids("t0")
    world.tenants["t1"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    job = {
        "name": "night",
        "note": "CHG-1",
        "limits": {"max_rate": "100/s"},
        "halt": {"failures": 99},
        "edits": [
            {
                "id": "all",
                "tenants": "*",
                "hooks": {"name": "*"},
                "set": {"dependencies": {"a": "1"}},
            },
            {"tenant": "t0", "hook": ids[1], "set": {"enabled": False}},
            {
                "tenant": "t0",
                "hook": ids[0],
                "set": {"script": SCRIPT * 9},
                "expect": {"enabled": False},
                "note": "mine",
            },
            {"tenant": "t0", "hook": "NONE", "set": {"enabled": False}},
        ],
    }
    world.write("night.json", job)
    world.run_job("night.json", status=1)


def test_what_is_left_of_a_journal_is_a_job_with_the_same_ids(world: World) -> None:
    make_journal(world)
    told = left_job(world, "--to", "rest.yaml")
    assert told.stderr == "3 edits in rest.yaml; next: bulkhooks plan rest.yaml\n"
    job = load_job(world.folder / "rest.yaml")
    assert (job.name, job.note, job.limits.max_rate) == ("night", "CHG-1", 100.0)
    everywhere, skipped, failed = job.edits(TENANTS)
    assert (everywhere.id, everywhere.tenants) == ("all", ("t1",))
    assert everywhere.match.name == "*"
    assert (skipped.set["script"], skipped.note) == (SCRIPT * 9, "mine")
    assert skipped.expect == {"enabled": False}
    assert failed.match.id == "NONE"
    with Journal.read(world.folder / "j") as journal:
        names = [name for name, _, _ in journal.contents()]
    assert [skipped.id, failed.id] == names[2:]

    only = json.loads(left_job(world, "--status", "skipped", "--json").stdout)
    assert [edit["id"] for edit in only["edits"]] == [skipped.id]
    assert left_job(world, "--status", "pending,uncertain").stdout == ""
    assert "--status is one or more of" in left_job(world, "--status", "applied", status=2).stderr
    (world.folder / "night.journal").touch()
    told = left_job(world, "--to", "rest.jsonl")
    assert told.stderr.splitlines() == [
        "JSON Lines have no place for the job's note, limits, halt: left out",
        "3 edits in rest.jsonl; next: bulkhooks plan rest.jsonl --schedule FILE",
    ]
    told = left_job(world, "--to", "again.yaml")
    assert told.stderr.endswith("bulkhooks plan again.yaml --journal again-2.journal\n")


def test_what_a_dead_process_left_sent_is_uncertain_not_pending(world: World) -> None:
    ids = world.ids("t0")
    edits = [{"tenant": "t0", "hook": id, "set": {"name": f"new-{id}"}} for id in ids]
    world.write("job.jsonl", edits)
    fixed = ("--tenants", "tenants.json", "--journal", "j")
    world.call("plan", "job.jsonl", *fixed, "--only", "t0", "--only", "hook:*")
    with Journal.open(world.folder / "j") as journal:
        (item,) = journal.pending(1, (-1, 0), 1)
        journal.write([journal.sent(item, 0, 1.0)])
    left = {
        state: [edit["hook"] for edit in json.loads(out)["edits"]]
        for state in ("pending", "uncertain")
        if (out := left_job(world, "--status", state, "--json").stdout)
    }
    assert left == {"pending": ids[1:], "uncertain": ids[:1]}
    told = left_job(world).stderr
    assert told.endswith("with --only t0 --only 'hook:*'; plan this job with the same\n")


ACTION = {"tenant": "t0", "action": "a-1"}
NAMED = {"tenants": ["t0", "t1"], "action": {"name": "audit", "triggerId": "post-login"}}
NEW = {"name": "new", "triggerId": "post-login", "code": "1\n2\n", "bound": True}


@pytest.mark.parametrize("suffix", ["yaml", "json", "jsonl"])
def test_edits_of_actions_are_written_back_as_they_were_meant(tmp_path: Path, suffix: str) -> None:
    edits: list[Any] = [
        ACTION | {"set": {"bound": False}, "expect": {"deployed": True}, "note": "n"},
        NAMED | {"set": {"code": "1\n", "runtime": "node22"}, "deploy": True},
        NAMED | {"set": {"dependencies": {"axios": "1.7.9"}, "bound": True, "position": "after b"}},
        NAMED | {"set_secrets": {"KEY": "env:KEY"}, "remove_secrets": ["OLD"]},
        {"tenants": ["t1"], "actions": {"name": "geo-*", "bound": False}, "set": {"name": "x"}},
        {"tenant": "t0", "create": NEW | {"position": "first"}, "deploy": True},
        {"tenant": "t0", "action": {"name": "gone"}, "delete": True},
    ]
    job = Job.of("job", [{"id": f"e{number}"} | edit for number, edit in enumerate(edits)])
    with Journal.create(tmp_path / "j") as journal:
        stage(journal, job, TENANTS, sandbox=False, now=datetime.now(UTC))
        journal.note(planned=str(journal.count()))
    with left_of(tmp_path / "j", LEFT) as left:
        save_job(tmp_path / f"rest.{suffix}", left.head, left.edits)
    again = list(load_job(tmp_path / f"rest.{suffix}").edits(TENANTS))
    meant = list(job.edits(TENANTS))
    assert len(again) == len(edits)
    for one, other in zip(again, meant, strict=True):
        assert replace(one, digest="", line=0) == replace(other, digest="", line=0)


@pytest.mark.parametrize(
    "when",
    [
        {"window": {"start": "2026-11-28T01:00", "end": "2026-11-28T03:00", "timezone": "UTC"}},
        {"window": {"every": "Mon-Fri,Sun 01:05", "for": "1h30m5s", "timezone": "UTC"}},
        {
            "window": {"cron": "5 1 * * 6", "for": "1d", "timezone": "Europe/London"},
            "during": "window",
        },
        {
            "waves": [
                1,
                {"tenants": 2, "soak": "10m", "probe": "read-back"},
                ["eu"],
                {"tags": ["prod"], "probe": "true"},
                "12.5%",
                {"tenants": "100%", "soak": "90s"},
            ],
            "halt": {"failures": "0.5% of wave", "in_a_row": 5, "tenants": 2},
        },
        {"halt": {"failures": 3}},
    ],
)
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_what_is_left_of_a_job_goes_out_when_the_job_did(
    tmp_path: Path, when: dict[str, Any], suffix: str
) -> None:
    edit = {"tenants": "*", "hooks": {"enabled": True}, "set": {"enabled": False}}
    (tmp_path / "night.json").write_text(json.dumps({"edits": [edit], **when}))
    job = load_job(tmp_path / "night.json")
    with Journal.create(tmp_path / "j") as journal:
        tagged = {
            name: dataclasses.replace(TENANTS[name], tags=frozenset({"eu", "prod"}))
            for name in NAMES
        }
        stage(journal, job, tagged, sandbox=False, now=datetime.now(UTC))
        journal.note(planned=str(journal.count()))
    with left_of(tmp_path / "j", LEFT) as left:
        save_job(tmp_path / f"rest.{suffix}", left.head, left.edits)
    again = load_job(tmp_path / f"rest.{suffix}").schedule
    assert again == job.schedule != AT_ONCE
    minutes = Window(timezone="UTC", cron="5 * * * *", seconds=3660)
    assert header(schedule=Schedule(window=minutes)) == {
        "window": {"cron": "5 * * * *", "for": "1h1m", "timezone": "UTC"}
    }


def test_a_journal_that_is_no_jobs_is_refused(world: World) -> None:
    make_journal(world)
    for key, what in (
        ("undoes", "is an undo"),
        ("moves", "is a migration; `bulkhooks apply .*` goes on with it"),
        ("sandbox", "pretend"),
        ("planned", "not finished"),
    ):
        with Journal.open(world.folder / "j") as journal:
            was = journal.meta(key)
            journal.note(**{key: "" if key == "planned" else "yes"})
        with pytest.raises(Refused, match=what), left_of(world.folder / "j", LEFT):
            pass
        with Journal.open(world.folder / "j") as journal:
            journal.note(**{key: was})
    assert "are for a folder" in left_job(world, "--tenant", "t0", status=2).stderr
    assert "is for a journal" in world.call("job-from", ".", "--status", "failed", status=2).stderr
    assert "nowhere is not there" in world.call("job-from", "nowhere", status=2).stderr
