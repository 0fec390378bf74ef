"""Actions in the Deploy CLI's files: as they go out, and the jobs that bring them back.

The tool itself: test_interop.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks.actions import Binding, action_in, arranged, in_place
from bulkhooks.deploy import Mappings, Tree, write_tree
from bulkhooks.deploy_actions import (
    Comparison,
    LiveActions,
    actions_section,
    places,
    read_actions,
    read_bindings,
    triggers_section,
)
from bulkhooks.items import Fields, State
from bulkhooks.jobfile import Job
from bulkhooks.sandbox import Sandbox
from bulkhooks.source import Findings
from engine import NAMES, PRE, TENANTS, calm, work
from world import World, served

LOGIN = "post-login"
CODE = "exports.onExecutePostLogin = async (event, api) => {};\n"


@pytest.fixture
def sandbox() -> Sandbox:
    """Actions of `t0`: b, a and c are bound in that order, d is deployed, e a draft; `t1` has
    none."""
    box = Sandbox(NAMES, hooks=0, build_time=0, deploy_time=0)
    for name in "bac":
        box.add_action("t0", name=name, triggerId=LOGIN, code=f"// {name}\n", bound=True)
    secrets, packages = {"KEY": "v4lue", "TWO": "v4lue"}, {"axios": "1.10", "@a/b": "1.0.0"}
    box.add_action("t0", name="d", triggerId=PRE, secrets=secrets, dependencies=packages)
    box.add_action("t0", name="e", triggerId=LOGIN, deployed=False)
    return box


def live_of(sandbox: Sandbox, tenant: str) -> LiveActions:
    """What is read of a tenant of the sandbox."""
    shown = sandbox.actions_of(tenant)
    ids = {action["name"]: action_in(action)[0] for action in shown}
    return LiveActions(
        actions={ids[action["name"]]: (action_in(action)[1], action) for action in shown},
        orders={
            trigger: [
                Binding(ids[name], name, name, {}) for name in sandbox.bindings_of(tenant, trigger)
            ]
            for trigger in (LOGIN, PRE)
        },
    )


def exported(folder: Path, shown: list[Fields], *, yaml: bool = False, **bound: str) -> Path:
    """A tree with these actions, of which those of these letters are bound to login or pre."""
    orders = {
        {"login": LOGIN, "pre": PRE}[trigger]: [Binding(name, name, name, {}) for name in names]
        for trigger, names in bound.items()
    }
    sections = (actions_section(shown, yaml=yaml), triggers_section(orders, yaml=yaml))
    write_tree(folder, sections, yaml=yaml)
    return folder


def compared(
    root: Path, sandbox: Sandbox, tenant: str = "t0", mappings: Mappings | None = None
) -> Comparison:
    """A tree that is right, against a tenant; what the job says is right too."""
    found = Findings("")
    tree = Tree(root, TENANTS[tenant], mappings or Mappings(), found)
    actions, bindings = read_actions(tree), read_bindings(tree)
    assert found.complaints == []
    made = Comparison(actions, bindings, live_of(sandbox, tenant), root)
    if made.edits:
        list(job_of(made, root, tenant).edits(TENANTS))
    return made


def job_of(made: Comparison, root: Path, tenant: str) -> Job:
    return Job.of("job", [{"tenant": tenant} | edit for edit in made.edits], folder=root)


def apply(made: Comparison, root: Path, sandbox: Sandbox, tenant: str = "t0") -> None:
    """Carry the job out; all of it works."""
    path = root / "journal"
    job = job_of(made, root, tenant)
    books = anyio.run(partial(work, path, calm(sandbox, root), plan=job))
    assert books[State.APPLIED] == sum(books.values()) == len(made.edits), books


def said(root: Path, **more: Any) -> None:
    """An action's file, and its code beside it."""
    (root / "actions" / "neu").mkdir(parents=True)
    (root / "actions" / "neu" / "code.js").write_text(CODE)
    action = {
        "name": "neu",
        "code": "./actions/neu/code.js",
        "supported_triggers": [{"id": LOGIN, "version": "v3"}],
    }
    (root / "actions" / "neu.json").write_text(json.dumps(action | more))


# ---- out to files


def test_an_action_is_written_as_the_tool_writes_it(tmp_path: Path, sandbox: Sandbox) -> None:
    root = exported(tmp_path / "t0", sandbox.actions_of("t0"), login="bac")
    (shown,) = (action for action in sandbox.actions_of("t0") if action["name"] == "d")
    written = json.loads((root / "actions" / "d.json").read_text())
    assert written == {
        "name": "d",
        "code": "./actions/d/code.js",
        "runtime": "node22",
        "status": "built",
        "dependencies": shown["dependencies"],
        "secrets": [{"name": "KEY"}, {"name": "TWO"}],
        "supported_triggers": shown["supported_triggers"],
        "deployed": True,
    }
    assert list(written)[-1] == "deployed"
    assert (root / "actions" / "d" / "code.js").read_text() == shown["code"]
    assert json.loads((root / "actions" / "e.json").read_text())["deployed"] is False
    bound = json.loads((root / "triggers" / "triggers.json").read_text())
    assert bound == {LOGIN: [{"action_name": name, "display_name": name} for name in "bac"]}


@given(st.lists(st.text(max_size=300) | st.sampled_from(["..", "con", "a", "A", "a.json", "a/b"])))
@settings(max_examples=60, deadline=None)
def test_no_name_of_an_action_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    root = tmp_path_factory.mktemp("t") / "t0"
    shown = [{"name": name, "code": f"// {number}"} for number, name in enumerate(names)]
    exported(root, shown)
    assert os.listdir(root.parent) == ["t0"]
    assert sorted(os.listdir(root)) == ["actions", "triggers"]
    assert len({name.casefold() for name in os.listdir(root / "actions")}) == 2 * len(names)
    files = [path for path in (root / "actions").glob("*.json") if path.is_file()]
    assert len(files) == len(names)
    for path in files:
        action = json.loads(path.read_text())
        assert action["name"] == names[int((root / action["code"]).read_text()[3:])]


# ---- back in


@pytest.mark.parametrize("yaml", [False, True], ids=["directory", "yaml"])
def test_what_is_exported_is_nothing_to_do_there_and_the_same_elsewhere(
    tmp_path: Path, sandbox: Sandbox, yaml: bool
) -> None:
    root = exported(tmp_path / "t0", sandbox.actions_of("t0"), yaml=yaml, login="bac")
    back = compared(root, sandbox)
    assert (back.edits, back.remarks, back.complaints) == ([], [], [])

    made = compared(root, sandbox, "t1")
    what = "give secrets KEY, TWO by set_secrets: its value is not in the files"
    assert made.remarks == [f"action d: {what}"]
    apply(made, root, sandbox, "t1")
    assert sandbox.bindings_of("t1", LOGIN) == ["b", "a", "c"]
    there, here = (
        {each["name"]: each for each in sandbox.actions_of(tenant)} for tenant in ("t0", "t1")
    )
    assert there.keys() == here.keys()
    for name, action in here.items():
        for key in ("code", "runtime", "supported_triggers"):
            assert action[key] == there[name][key], (name, key)
        assert action_in(action)[1]["dependencies"] == action_in(there[name])[1]["dependencies"]
        assert action["all_changes_deployed"] is there[name]["all_changes_deployed"]
    again = compared(root, sandbox, "t1")
    assert again.edits == []


def test_what_differs_is_set_and_deployed_where_the_file_says_so(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    root = exported(tmp_path / "t0", sandbox.actions_of("t0"), login="bac")
    for name in "ade":
        (root / "actions" / name / "code.js").write_text(CODE)
    (root / "actions" / "d.json").write_text(
        (root / "actions" / "d.json").read_text().replace('"1.10"', '"1.11"')
    )
    edits = compared(root, sandbox).edits
    assert edits == [
        {
            "action": {"name": "d"},
            "set": {
                "dependencies": {"axios": "1.11", "@a/b": "1.0.0"},
                "code_file": "actions/d/code.js",
            },
            "deploy": True,
        },
        {"action": {"name": "e"}, "set": {"code_file": "actions/e/code.js"}},
        {"action": {"name": "a"}, "set": {"code_file": "actions/a/code.js"}, "deploy": True},
    ]
    apply(compared(root, sandbox), root, sandbox)
    assert compared(root, sandbox).edits == []
    after = {action["name"]: action for action in sandbox.actions_of("t0")}
    assert after["a"]["deployed_version"]["code"] == CODE == after["e"]["code"]
    assert "deployed_version" not in after["e"]
    assert sandbox.bindings_of("t0", LOGIN) == ["b", "a", "c"]


def test_changes_that_are_not_deployed_are_where_the_file_says_deployed(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    shown = sandbox.actions_of("t0")
    shown[-1]["all_changes_deployed"] = True
    root = exported(tmp_path / "t0", shown)
    assert compared(root, sandbox).edits == [{"action": {"name": "e"}, "deploy": True}]


def test_an_action_of_the_same_id_is_given_its_new_name(tmp_path: Path, sandbox: Sandbox) -> None:
    shown = sandbox.actions_of("t0")
    root = exported(tmp_path / "t0", shown, login="bac")
    file = root / "actions" / "b.json"
    text = file.read_text().replace('"name": "b"', f'"id": "{shown[0]["id"]}", "name": "beta"')
    file.write_text(text)
    bound = {LOGIN: [{"action_name": name} for name in ("c", "beta", "a")]}
    (root / "triggers" / "triggers.json").write_text(json.dumps(bound))
    made = compared(root, sandbox)
    change = {"name": "beta", "bound": True, "position": "after c"}
    assert made.edits == [{"action": {"name": "b"}, "set": change, "deploy": True}]
    what = "binding a to post-login: its place is after beta, a new name"
    assert made.remarks == [f"{what}; make another job when this one is applied"]
    apply(made, root, sandbox)
    (root / "journal").unlink()
    again = compared(root, sandbox)
    place = {"bound": True, "position": "after beta"}
    assert again.edits == [{"action": {"name": "a"}, "set": place}]
    apply(again, root, sandbox)
    assert sandbox.bindings_of("t0", LOGIN) == ["c", "beta", "a"]
    assert compared(root, sandbox).edits == []


# ---- what is bound


@given(data=st.data())
def test_places_bring_names_in_order_and_leave_the_others_in_theirs(data: st.DataObject) -> None:
    names = data.draw(st.permutations("abcdef"))
    wanted = data.draw(st.permutations("abcdwxyz"))[: data.draw(st.integers(0, 8))]
    order = [Binding(name, name, name, {}) for name in names]
    for name, place in places(wanted, names).items():
        assert not in_place(order, name, place), "it is said where it says something"
        order = arranged(order, Binding(name, name, name, {}), place, LOGIN)
    after = [each.name for each in order]
    assert [name for name in after if name in wanted] == list(wanted)
    others = [name for name in names if name not in wanted]
    assert [name for name in after if name in others] == others


def test_the_order_of_the_files_comes_out_and_others_keep_their_places(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    shown = sandbox.actions_of("t0")
    root = exported(tmp_path / "t0", [each for each in shown if each["name"] != "a"], login="dbc")
    (root / "triggers" / "triggers.json").write_text(
        json.dumps({LOGIN: [{"action_name": "neu"}, {"action_name": "c"}]})
    )
    said(tmp_path / "more", deployed=True)
    for path in (tmp_path / "more" / "actions").iterdir():
        path.rename(root / "actions" / path.name)
    made = compared(root, sandbox)
    assert [edit.get("action", {}).get("name", "neu") for edit in made.edits] == ["b", "neu"]
    assert made.edits[0] == {"action": {"name": "b"}, "set": {"bound": False}}
    apply(made, root, sandbox)
    assert sandbox.bindings_of("t0", LOGIN) == ["neu", "a", "c"], "a is none of the files'"


def test_triggers_that_the_files_do_not_name_are_left_alone(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    root = exported(tmp_path / "t0", sandbox.actions_of("t0"))
    assert (root / "triggers" / "triggers.json").read_text() == "{}\n"
    assert compared(root, sandbox).edits == []
    (root / "triggers" / "triggers.json").write_text(json.dumps({LOGIN: []}))
    assert [edit["set"] for edit in compared(root, sandbox).edits] == [{"bound": False}] * 3


def test_triggers_alone_arrange_the_live_actions(tmp_path: Path, sandbox: Sandbox) -> None:
    exported(tmp_path / "t0", [], login="cba")
    (tmp_path / "t0" / "actions").rmdir()
    apply(compared(tmp_path / "t0", sandbox), tmp_path / "t0", sandbox)
    assert sandbox.bindings_of("t0", LOGIN) == ["c", "b", "a"]


def test_a_name_that_a_binding_is_shown_as_is_told_where_it_differs(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    root = exported(tmp_path / "t0", sandbox.actions_of("t0"))
    shown = {"a": "first", "b": "b", "c": None}
    bound = [{"action_name": name, "display_name": each} for name, each in shown.items()]
    (root / "triggers" / "triggers.json").write_text(json.dumps({LOGIN: bound}))
    what = "binding a to post-login: no job can say the name that it is shown as, first"
    assert compared(root, sandbox).remarks == [f"{what}: see to that by hand"]


def test_what_is_not_deployed_is_not_bound_and_that_is_told(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    root = exported(tmp_path / "t0", sandbox.actions_of("t0"), login="beac")
    made = compared(root, sandbox)
    assert made.edits == []
    assert made.remarks == ["action e: is not deployed, so it is not bound to post-login"]
    apply(compared(root, sandbox, "t1"), root, sandbox, "t1")
    assert sandbox.bindings_of("t1", LOGIN) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("bound", "complaint"),
    [
        ([{"action_name": "x"}], "post-login: `x` is neither in the files nor on the tenant"),
        ([{"action_name": "d"}], "post-login: `d` is an action of pre-user-registration"),
    ],
)
def test_what_cannot_be_bound_is_told_by_file(
    tmp_path: Path, sandbox: Sandbox, bound: object, complaint: str
) -> None:
    (tmp_path / "triggers").mkdir()
    (tmp_path / "triggers" / "triggers.json").write_text(json.dumps({LOGIN: bound}))
    (told,) = compared(tmp_path, sandbox).complaints
    assert str(told) == f"{tmp_path}/triggers/triggers.json:1: {complaint}"


# ---- what is wrong, and what no job can say


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"naem": "x"}, "naem: unknown key `naem`; did you mean `name`?"),
        ({"name": ""}, "needs `name`"),
        ({"name": "a\nb"}, "is no action name"),
        ({"name": "a##STAGE##"}, "name: `##STAGE##` is not replaced; give STAGE by --mappings"),
        ({"code": "./actions/x.js"}, "code: `./actions/x.js` is not there"),
        ({"code": "../x.js"}, "code: `../x.js` leads out of the folder"),
        ({"code": "actions\\..\\..\\x.js"}, "leads out of the folder"),
        ({"code": "/etc/hostname"}, "code: `/etc/hostname` leads out of the folder"),
        ({"code": "./actions/link.js"}, "code: `./actions/link.js` leads out of the folder"),
        ({"supported_triggers": []}, "supported_triggers: must be a list of one trigger"),
        ({"supported_triggers": [{"id": "login"}]}, "supported_triggers: unknown trigger `login`"),
        ({"dependencies": {"a": "1"}}, "dependencies: must be a list of packages, not a mapping"),
        ({"dependencies": [{"name": "a", "version": 1.1}]}, "a: must be text, not `1.1`"),
        ({"dependencies": [{"name": "a"}] * 2}, "dependencies[1]: `a` is there twice"),
        ({"deployed": "yes"}, "deployed: must be true or false, not `yes`"),
        ({"secrets": {"KEY": "v4lue"}}, "secrets: must have a name"),
        ({"secrets": ["v4lue"]}, "secrets[0]: must have a name"),
        ({"secrets": [{"name": "K", "value": "##V##"}] * 31}, ""),
        ({"secrets": [{"name": "A B", "value": "##A##"}]}, "`A B` cannot name a secret"),
    ],
)
def test_what_is_wrong_with_an_action_is_told_by_file_and_key(
    tmp_path: Path, more: dict[str, Any], complaint: str
) -> None:
    root, found = tmp_path / "t0", Findings("")
    said(root, **more)
    (tmp_path / "x.js").write_text("outside")
    (root / "actions" / "link.js").symlink_to(tmp_path / "x.js")
    actions = read_actions(Tree(root, TENANTS["t0"], Mappings(), found))
    told = [str(each) for each in found.complaints]
    assert all(line.startswith(f"{root}/actions/neu.json:1: ") for line in told)
    assert any(complaint in line for line in told) if complaint else len(actions) == 1, told
    assert "v4lue" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "must be a mapping of triggers, not a list"),
        ('{"login": []}', "login: unknown trigger `login`"),
        ('{"post-login": {}}', "post-login: must be a list of what is bound, not a mapping"),
        ('{"post-login": [{"name": "a"}]}', "post-login[0].name: unknown key `name`"),
        ('{"post-login": [{"action_name": 1}]}', "post-login[0].action_name: must be text"),
        ('{"post-login": [{"action_name": "a"}, {"action_name": "a"}]}', "[1]: `a` is there twice"),
        ('{"post-login": [{"action_name": "##A##"}]}', "`##A##` is not replaced"),
    ],
)
def test_what_is_wrong_with_triggers_is_told_by_file_and_key(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "triggers").mkdir()
    (tmp_path / "triggers" / "triggers.json").write_text(text)
    found = Findings("")
    read_bindings(Tree(tmp_path, TENANTS["t0"], Mappings(), found))
    assert any(complaint in str(each) for each in found.complaints), found.complaints


def test_an_action_of_another_trigger_or_without_code_is_an_error(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    said(tmp_path / "t0", name="d", code="")
    (told,) = compared(tmp_path / "t0", sandbox).complaints
    assert "supported_triggers: is pre-user-registration on the tenant, and never" in str(told)
    (told,) = compared(tmp_path / "t0", sandbox, "t1").complaints
    assert "code: is empty, and an action needs some" in str(told)


def test_no_value_of_an_actions_secret_gets_into_a_job(tmp_path: Path, sandbox: Sandbox) -> None:
    values = {"KEY": "##KEY##", "TWO": "@@KEY@@", "THREE": "v4lue", "FOUR": "a##KEY##"}
    secrets = [{"name": name, "value": value} for name, value in values.items()]
    said(tmp_path / "t0", secrets=[*secrets, {"name": "FIVE"}], deployed=True)
    made = compared(tmp_path / "t0", sandbox, mappings=Mappings(values={"KEY": "v4lue"}))
    assert "v4lue" not in str(made.edits) + str(made.remarks)
    assert made.edits[0]["set_secrets"] == {"KEY": "env:KEY", "TWO": "env:KEY"}
    assert made.remarks == [
        "action neu: give secret FIVE by set_secrets: its value is not in the files",
        "action neu: give secrets THREE, FOUR by set_secrets: what the files say is not carried on",
    ]


def test_what_no_job_can_say_is_told_where_it_differs(tmp_path: Path, sandbox: Sandbox) -> None:
    shown = sandbox.actions_of("t0")[:1]
    shown[0] |= {
        "runtime": "node18-actions",
        "modules": [{"module_name": "m", "module_version_number": 2, "module_id": "x"}],
        "dependencies": [{"name": "a", "version": "1", "registry_url": "https://x"}],
    }
    root = exported(tmp_path / "t0", shown)
    written = json.loads((root / "actions" / "b.json").read_text())
    assert written["modules"] == [{"module_name": "m", "module_version_number": 2}]
    made = compared(root, sandbox)
    assert made.edits[0]["set"] == {"dependencies": {"a": "1"}}
    what = "no job can say its dependencies' registries, modules, runtime: see to that by hand"
    assert made.remarks == [f"action b: {what}"]
    live = live_of(sandbox, "t0")
    (id, (fields, _)), *_ = live.actions.items()
    fields |= {"dependencies": {"a": "1"}, "runtime": "node18-actions"}
    tree = Tree(root, TENANTS["t0"], Mappings(), Findings(""))
    same = LiveActions(actions={id: (fields, shown[0])}, orders=live.orders)
    again = Comparison(read_actions(tree), read_bindings(tree), same, None)
    assert (again.edits, again.remarks) == ([], [])


YAML = """clients:
  - &app {name: app}
actions:
  - name: check-##STAGE##
    code: ./actions/neu/code.js
    deployed: ##ON##
    dependencies: @@PACKAGES@@
    secrets:
      - {name: KEY, value: ##KEY##}
    supported_triggers: @@TRIGGERS@@
triggers:
  post-login: @@BOUND@@
tenant: *app
"""


def test_markers_are_replaced_in_a_tenant_yaml(tmp_path: Path, sandbox: Sandbox) -> None:
    said(tmp_path)
    (tmp_path / "actions" / "neu.json").unlink()
    (tmp_path / "actions" / "neu" / "code.js").write_text("const a = '@@BOUND@@', b = \"##ON##\";")
    (tmp_path / "tenant.yaml").write_text(YAML)
    mappings = {
        "STAGE": "blue",
        "ON": "true",
        "PACKAGES": [{"name": "axios", "version": "1.10"}],
        "TRIGGERS": [{"id": LOGIN}],
        "BOUND": [{"action_name": "c"}, {"action_name": "check-##STAGE##"}],
    }
    made = compared(tmp_path, sandbox, mappings=Mappings(values=mappings))
    assert made.edits == [
        {
            "create": {
                "name": "check-blue",
                "code": 'const a = [{"action_name":"c"},{"action_name":"check-##STAGE##"}], '
                'b = "true";'.replace("##STAGE##", "blue"),
                "triggerId": LOGIN,
                "dependencies": {"axios": "1.10"},
                "bound": True,
                "position": "after c",
            },
            "set_secrets": {"KEY": "env:KEY"},
            "deploy": True,
        }
    ]


def test_a_marker_may_stand_for_all_actions(tmp_path: Path, sandbox: Sandbox) -> None:
    said(tmp_path)
    action = json.loads((tmp_path / "actions" / "neu.json").read_text())
    (tmp_path / "actions" / "neu.json").unlink()
    (tmp_path / "tenant.yaml").write_text("actions: @@ACTIONS@@\n")
    (edit,) = compared(tmp_path, sandbox, mappings=Mappings(values={"ACTIONS": [action]})).edits
    assert edit["create"]["name"] == "neu"


def test_a_marker_in_code_that_nothing_replaces_is_an_error(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    said(tmp_path)
    (tmp_path / "actions" / "neu" / "code.js").write_text("const a = '##WORD##';")
    (told,) = compared(tmp_path, sandbox).complaints
    assert "neu.json:1: code: `##WORD##` is not replaced; give WORD by --mappings" in str(told)


# ---- the commands


@pytest.fixture
def world(tmp_path: Path, sandbox: Sandbox) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, sandbox, stack.enter_context(served(sandbox)), NAMES)


TENANTS_FILE = ("--tenants", "tenants.json")


@pytest.mark.parametrize("form", [(), ("--yaml",)], ids=["directory", "yaml"])
def test_export_and_job_from_take_actions(world: World, form: tuple[str, ...]) -> None:
    ended = world.call("export", *TENANTS_FILE, "--to", "out", *form)
    assert ended.stdout == "0 hooks and 5 actions of 2 tenants in out\n"
    assert ended.stderr == ""
    back = world.call("job-from", "out", *TENANTS_FILE)
    assert (back.stdout, back.stderr) == ("", "nothing to do, so there is no job\n")
    assert {seen.method for seen in world.sandbox.log} == {"GET"}
    (world.folder / "out" / "t0").rename(world.folder / "out" / "other")
    (world.folder / "out" / "t1").rename(world.folder / "out" / "t0")
    (world.folder / "out" / "other").rename(world.folder / "out" / "t1")
    world.call("job-from", "out", *TENANTS_FILE, "--to", "job.yaml")
    assert "code_file: out/t1/actions/a/code.js" in (world.folder / "job.yaml").read_text()
    world.run_job("job.yaml")
    assert world.sandbox.bindings_of("t1", LOGIN) == ["b", "a", "c"]


def test_what_is_of_the_marketplace_is_left_out_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = world.sandbox._tenants["t0"].actions
    shown = there._shown

    def bought(action: Any, now: float) -> Fields:
        return shown(action, now) | ({"integration": {"id": "x"}} if action.name == "a" else {})

    monkeypatch.setattr(there, "_shown", bought)
    ended = world.call("export", *TENANTS_FILE, "--to", "out", "--only", "t0")
    assert ended.stderr == "t0: action a is of the marketplace: left out\n"
    root = world.folder / "out" / "t0"
    assert not (root / "actions" / "a.json").exists()
    bound = json.loads((root / "triggers" / "triggers.json").read_text())
    assert [each["action_name"] for each in bound[LOGIN]] == ["b", "a", "c"]
    assert world.call("job-from", "out", *TENANTS_FILE).stdout == "", "it is there"


def test_hooks_that_are_gone_or_may_not_be_read_leave_actions_to_be_exported(
    tmp_path: Path,
) -> None:
    names = ("gone", "blind", "old")
    scopes = {"blind": ["read:actions"], "old": ["read:hooks"]}
    box = Sandbox(names, hooks=2, actions=2, lifecycles={"gone": "gone"}, scopes=scopes)
    with served(box) as url:
        world = World(tmp_path, box, url, names)
        gone = world.call("export", *TENANTS_FILE, "--to", "a", "--only", "gone")
        assert gone.stdout == "0 hooks and 2 actions of 1 tenant in a\n"
        assert gone.stderr.startswith("gone: hooks are left out: 403")
        assert sorted(os.listdir(tmp_path / "a" / "gone")) == ["actions", "triggers"]
        ended = world.call("export", *TENANTS_FILE, "--to", "b", "--json", status=1)
        told = json.loads(ended.stdout)["tenants"]
        assert [(told[name]["hooks"], told[name]["actions"]) for name in names] == [
            *((0, 2), (0, 2), (2, 0)),
        ]
        assert "read:hooks" in told["blind"]["left_out"]["hint"]
        assert "actions are left out: 403" in told["old"]["left_out"]["cause"]
        for name in ("hooks", "actions"):
            (tmp_path / "b" / "gone" / name).mkdir(exist_ok=True)
        (tmp_path / "b" / "gone" / "hooks" / "x.js").write_text("// x")
        hook = {"name": "x", "triggerId": PRE, "script": "./x.js"}
        (tmp_path / "b" / "gone" / "hooks" / "x.json").write_text(json.dumps(hook))
        (tmp_path / "b" / "gone" / "actions" / "enrich-profile" / "code.js").write_text(CODE)
        back = world.call("job-from", "b", *TENANTS_FILE, "--json", status=1)
        (edit,) = json.loads(back.stdout)["edits"]
        assert edit["action"] == {"name": "enrich-profile"}
        assert back.stderr.startswith("gone: hooks are left out: 403")
