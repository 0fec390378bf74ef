"""Job files: what is read, what is complained of, and what the digest of an edit covers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks import edits as edits_module
from bulkhooks import source
from bulkhooks.errors import BadInput, Complaint
from bulkhooks.items import Edit, Match
from bulkhooks.jobfile import Job, load_job
from bulkhooks.pacing import Limits
from bulkhooks.references import Reference
from bulkhooks.tenants import StaticToken, Tenant, load_tenants

JOBS = Path(__file__).parent.parent / "jobs"
HOOK = "01GEPVQNVSHW1ZVB7WVPRYKX18"


def tenant(name: str, *tags: str) -> Tenant:
    return Tenant(
        name=name,
        base_url=f"https://{name}.example",
        tags=frozenset(tags),
        credential=StaticToken(token=Reference(kind="env", value="T", folder=Path())),
        limits=Limits(),
        default_limits=Limits(),
    )


TENANTS = {
    each.name: each
    for each in (
        tenant("prod-z", "prod", "eu"),
        tenant("prod-a", "prod", "us"),
        tenant("dev", "dev", "eu"),
    )
}


def job(folder: Path, name: str, text: str | bytes) -> Job:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_job(path)


def edits(folder: Path, name: str, text: str | bytes) -> list[Edit]:
    return list(job(folder, name, text).edits(TENANTS))


def complaints(folder: Path, name: str, text: str | bytes) -> list[Complaint]:
    with pytest.raises(BadInput) as caught:
        edits(folder, name, text)
    return list(caught.value.complaints)


def written(**changed: object) -> dict[str, object]:
    """An edit as a person writes it; None takes a key out."""
    edit = {"tenant": "dev", "hook": HOOK, "set": {"enabled": False}, **changed}
    return {key: value for key, value in edit.items() if value is not None}


def one_edit(**changed: object) -> Edit:
    (edit,) = Job.of("job", [written(**changed)]).edits(TENANTS)
    return edit


def wrong_with(edit: Mapping[str, object]) -> list[Complaint]:
    with pytest.raises(BadInput) as caught:
        list(Job.of("job", [edit]).edits(TENANTS))
    return list(caught.value.complaints)


# ---- what is read


def test_a_document_is_read_with_header_and_edits(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "check.js").write_bytes(b"a\r\nb\n")
    text = f"""\
name: freeze
note: "CHG-1: freeze"
edits:
  - tenants: "prod-*"
    hooks: {{triggerId: pre-user-registration, name: "fraud-*", enabled: true}}
    set: {{enabled: false}}
  - tenant: dev
    hook: {HOOK}
    id: mine
    note: why
    allow_empty: true
    set: {{name: check-email, script_file: hooks/check.js, dependencies: {{axios: "1.7.9"}}}}
    expect: {{enabled: true, dependencies: {{}}}}
limits: {{reserve: 20%, max_rate: 10/s, concurrency: 8}}
"""
    read = job(tmp_path, "job.yaml", text)
    assert (read.name, read.note) == ("freeze", "CHG-1: freeze")
    assert read.limits == Limits(reserve=0.2, max_rate=10.0, concurrency=8)
    assert read.path == tmp_path / "job.yaml"
    first, second = read.edits(TENANTS)
    assert first == Edit(
        digest=first.digest,
        line=4,
        tenants=("prod-z", "prod-a"),
        match=Match(triggerId="pre-user-registration", name="fraud-*", enabled=True),
        one=False,
        set={"enabled": False},
    )
    assert second == Edit(
        digest=second.digest,
        line=7,
        tenants=("dev",),
        match=Match(id=HOOK),
        one=True,
        set={
            "name": "check-email",
            "script": "a\r\nb\n",
            "dependencies": {"axios": "1.7.9"},
        },
        expect={"enabled": True, "dependencies": {}},
        id="mine",
        note="why",
        allow_empty=True,
    )
    assert re.fullmatch("[0-9a-f]{32}", first.digest)
    assert list(read.edits(TENANTS)) == [first, second]


def test_one_edit_is_the_same_in_every_kind_of_file(tmp_path: Path) -> None:
    document = json.dumps({"edits": [written()]}, indent=1)
    line = json.dumps(written())
    read = [
        *edits(tmp_path, "job.json", document),
        *edits(tmp_path, "job.yml", document),
        *edits(tmp_path, "job.jsonl", f"\n{line}\n"),
        *edits(tmp_path, "job.csv", f"hook,tenant,enabled,name\n{HOOK},dev,False,\n"),
        *Job.of("job", [written()]).edits(TENANTS),
    ]
    assert [edit.line for edit in read] == [3, 3, 2, 2, 1]
    assert len({(edit.digest, edit.tenants, edit.match, str(edit.set)) for edit in read}) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job.yaml", json.dumps({"edits": [written()]})),
        ("job.json", json.dumps({"edits": [written()]})),
        ("job.jsonl", json.dumps(written())),
        ("job.csv", f"tenant,hook,enabled\ndev,{HOOK},false"),
    ],
)
def test_a_byte_order_mark_is_dropped(tmp_path: Path, name: str, text: str) -> None:
    (edit,) = edits(tmp_path, name, b"\xef\xbb\xbf" + text.encode())
    assert edit.tenants == ("dev",)


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.*")), ids=lambda path: path.name)
def test_the_samples_are_right(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40
    tenants = load_tenants(JOBS / "tenants.yaml")
    if path.stem == "tenants":
        return
    for edit in load_job(path).edits(tenants):
        assert edit.match.id is None or re.fullmatch("[A-Z0-9]{26}", edit.match.id)


@pytest.mark.parametrize(
    ("tenants", "names"),
    [
        ("dev", ("dev",)),
        ("*", ("prod-z", "prod-a", "dev")),
        ("prod-[a-m]", ("prod-a",)),
        (["dev", "prod-*", "dev"], ("prod-z", "prod-a", "dev")),
        ({"tags": ["eu"]}, ("prod-z", "dev")),
        ({"tags": ["eu", "prod"]}, ("prod-z",)),
        ({"names": "prod-*"}, ("prod-z", "prod-a")),
        ({"names": ["dev", "prod-*"], "tags": ["eu"]}, ("prod-z", "dev")),
        ({"not": "dev"}, ("prod-z", "prod-a")),
        ({"tags": ["eu"], "not": "prod-*"}, ("dev",)),
        ({"names": "*", "not": ["prod-z", {"tags": ["us"]}]}, ("dev",)),
        ({"names": "prod-*", "not": {"tags": ["prod", "eu"]}}, ("prod-a",)),
    ],
)
def test_tenants_come_once_each_in_the_order_of_their_file(
    tenants: object, names: tuple[str, ...]
) -> None:
    assert one_edit(tenant=None, tenants=tenants).tenants == names


@pytest.mark.parametrize(
    ("target", "match", "one"),
    [
        ({"hook": HOOK}, Match(id=HOOK), True),
        ({"hook": {"id": HOOK}}, Match(id=HOOK), True),
        ({"hook": {"name": "a b-c"}}, Match(name="a b-c"), True),
        (
            {"hook": {"name": "a", "triggerId": "send-phone-message"}},
            Match(name="a", triggerId="send-phone-message"),
            True,
        ),
        ({"hooks": {"id": HOOK}}, Match(id=HOOK), False),
        ({"hooks": {"name": "[!a]*"}}, Match(name="[!a]*"), False),
        ({"hooks": {"enabled": False}}, Match(enabled=False), False),
    ],
)
def test_hooks_are_named_by_id_name_or_selector(
    target: dict[str, object], match: Match, one: bool
) -> None:
    edit = one_edit(**{"hook": None, **target})
    assert (edit.match, edit.one) == (match, one)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a"},
        {"script": " "},
        {"dependencies": {}},
        {"dependencies": {"@scope/a.b": "^1.0.0", "lodash": "latest", "JSONStream": "1"}},
        {"name": "Check e-mail", "enabled": True, "script": "x\n\u2028"},
    ],
)
def test_what_the_api_takes_can_be_set(fields: dict[str, object]) -> None:
    assert one_edit(set=fields).set == fields


NEW: dict[str, object] = {"name": "audit", "triggerId": "post-user-registration", "script": "x"}


def test_a_hook_is_created_with_secrets(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("text")
    fields = {**NEW, "script": None, "script_file": "a.js", "enabled": True, "dependencies": {}}
    create = {key: value for key, value in fields.items() if value is not None}
    row = {"tenants": "prod-*", "create": create, "set_secrets": {"A": "env:A"}}
    (edit,) = Job.of("job", [row], folder=tmp_path).edits(TENANTS)
    assert edit.create == {
        "name": "audit",
        "triggerId": "post-user-registration",
        "script": "text",
        "enabled": True,
        "dependencies": {},
    }
    assert (edit.match, edit.one, edit.set_secrets) == (Match(), True, {"A": "env:A"})
    assert edit.tenants == ("prod-z", "prod-a")


@pytest.mark.parametrize("target", [{"hook": HOOK}, {"hooks": {"name": "old-*"}}])
def test_hooks_are_deleted(target: dict[str, object]) -> None:
    edit = one_edit(**{"hook": None, **target}, set=None, delete=True, expect={"enabled": False})
    assert (edit.delete, edit.set, edit.expect) == (True, {}, {"enabled": False})
    assert edit.one == ("hook" in target)


def test_secrets_are_set_by_reference_and_removed_by_name(tmp_path: Path) -> None:
    secrets = {"API_KEY": "env:KEY", "cert.pem": "file:keys/c.pem", "b": "file:/run/b"}
    row = written(set_secrets=secrets, remove_secrets=["OLD", "OLDER", "OLD"])
    (edit,) = Job.of("job", [row], folder=tmp_path).edits(TENANTS)
    assert edit.set_secrets == {
        "API_KEY": "env:KEY",
        "cert.pem": f"file:{tmp_path}/keys/c.pem",
        "b": "file:/run/b",
    }
    assert edit.remove_secrets == ("OLD", "OLDER")
    assert edit.set == {"enabled": False}
    assert one_edit(set=None, set_secrets={"A": "file:a"}).set_secrets == {
        "A": f"file:{Path.cwd()}/a"
    }
    assert one_edit(set=None, remove_secrets=["A"]).remove_secrets == ("A",)


def test_the_path_of_a_secret_is_absolute_though_the_jobs_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.json").write_text(json.dumps({"edits": [written(set_secrets={"A": "file:a"})]}))
    (edit,) = load_job(Path("job.json")).edits(TENANTS)
    assert edit.set_secrets == {"A": f"file:{tmp_path}/a"}


def test_any_field_is_expected(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("text")
    expect = {**NEW, "enabled": True, "dependencies": {"a": "1"}}
    assert one_edit(expect=expect).expect == expect
    row = written(expect={"script_file": "a.js"})
    (edit,) = Job.of("job", [row], folder=tmp_path).edits(TENANTS)
    assert edit.expect == {"script": "text"}


ACTION = "4c8a1a4e-1f6b-4a29-9d6c-2b7f0f0c1d11"


def on_actions(**changed: object) -> dict[str, object]:
    """An edit of actions as a person writes it; None takes a key out."""
    edit = {"tenant": "dev", "action": ACTION, "set": {"bound": False}, **changed}
    return {key: value for key, value in edit.items() if value is not None}


def one_action_edit(**changed: object) -> Edit:
    (edit,) = Job.of("job", [on_actions(**changed)]).edits(TENANTS)
    assert edit.of == "actions"
    return edit


@pytest.mark.parametrize(
    ("target", "match", "one"),
    [
        ({"action": ACTION}, Match(id=ACTION), True),
        ({"action": {"id": ACTION}}, Match(id=ACTION), True),
        (
            {"action": {"name": "Émile's (v2)", "triggerId": "post-login"}},
            Match(name="Émile's (v2)", triggerId="post-login"),
            True,
        ),
        (
            {"actions": {"name": "audit_*", "deployed": True, "bound": False}},
            Match(name="audit_*", deployed=True, bound=False),
            False,
        ),
        (
            {"actions": {"id": ACTION, "triggerId": "event-stream"}},
            Match(id=ACTION, triggerId="event-stream"),
            False,
        ),
    ],
)
def test_actions_are_named_by_id_name_or_selector(
    target: dict[str, object], match: Match, one: bool
) -> None:
    edit = one_action_edit(**{"action": None, **target})
    assert (edit.match, edit.one) == (match, one)


@pytest.mark.parametrize(
    "fields",
    [
        {"bound": True},
        {"bound": True, "position": "first"},
        {"position": "before check email"},
        {"name": "a" * 255, "runtime": "node22", "dependencies": {}},
        {"code": "é" * 50_000},
        {"dependencies": {f"p{number}": "1" for number in range(10)}},
    ],
)
def test_what_actions_take_can_be_set(fields: dict[str, object]) -> None:
    assert one_action_edit(set=fields).set == fields


def test_the_code_of_an_action_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("text")
    rows = [
        on_actions(set={"code_file": "a.js"}, expect={"code_file": "a.js"}, deploy=True),
        on_actions(
            action=None,
            set=None,
            create={
                "name": "a_b",
                "triggerId": "post-login",
                "code_file": "a.js",
                "runtime": "node22",
                "bound": True,
                "position": "after check email",
            },
            deploy=True,
            set_secrets={f"S{number}": "env:A" for number in range(30)},
        ),
    ]
    change, new = Job.of("job", rows, folder=tmp_path).edits(TENANTS)
    assert (change.set, change.expect) == ({"code": "text"}, {"code": "text"})
    assert change.deploy
    assert new.of == "actions"
    assert new.create == {
        "name": "a_b",
        "triggerId": "post-login",
        "code": "text",
        "runtime": "node22",
        "bound": True,
        "position": "after check email",
    }
    assert (new.deploy, new.one, len(new.set_secrets)) == (True, True, 30)


@pytest.mark.parametrize(
    "act",
    [
        {"deploy": True},
        {"delete": True},
        {"remove_secrets": ["A"], "deploy": True},
        {"set": {"bound": True}, "set_secrets": {"A": "env:A"}, "deploy": True},
    ],
)
def test_actions_are_deployed_deleted_and_given_secrets(act: dict[str, object]) -> None:
    edit = one_action_edit(**{"set": None, **act}, expect={"deployed": False, "bound": False})
    assert edit.deploy == ("deploy" in act)
    assert edit.delete == ("delete" in act)
    assert edit.expect == {"deployed": False, "bound": False}


def test_a_row_of_csv_is_for_a_hook_or_for_an_action(tmp_path: Path) -> None:
    text = f"tenant,hook,action,enabled,bound\ndev,{HOOK},,true,\ndev,,{ACTION},,FALSE\n"
    hook, action = edits(tmp_path, "job.csv", text)
    assert (hook.of, hook.match.id, hook.set) == ("hooks", HOOK, {"enabled": True})
    assert (action.of, action.match.id, action.set) == ("actions", ACTION, {"bound": False})
    (same,) = edits(tmp_path, "only.csv", f"action,tenant,bound\n{ACTION},dev,false\n")
    assert same.digest == action.digest == one_action_edit().digest
    (both,) = complaints(tmp_path, "job.csv", f"{text}dev,{HOOK},{ACTION},,true\n")
    assert (both.line, both.key) == (4, "hook")


def test_a_csv_cell_that_is_empty_leaves_its_field_alone(tmp_path: Path) -> None:
    text = f"""\
tenant,hook,enabled,name,script,id,note
dev,{HOOK},TRUE,,,,

dev,{HOOK},,new name,"a,
""b""
",x,because
dev,{HOOK},false,,,,
"""
    first, second, third = edits(tmp_path, "job.csv", text)
    assert (first.line, first.set, first.id) == (2, {"enabled": True}, None)
    assert (second.line, second.id, second.note) == (4, "x", "because")
    assert second.set == {"name": "new name", "script": 'a,\n"b"\n'}
    assert third.line == 7


# ---- the digest


def test_the_digest_is_of_what_is_written_but_for_id_and_note(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("one")
    plain = one_edit(set={"enabled": True, "name": "a"}).digest
    assert plain == one_edit(set={"name": "a", "enabled": True}, id="x", note="y").digest
    (_, second) = Job.of("x", [written(), written(set={"name": "a", "enabled": True})]).edits(
        TENANTS
    )
    assert plain == second.digest
    assert plain != one_edit(set={"enabled": False, "name": "a"}).digest
    assert plain != one_edit(set={"enabled": True, "name": "a"}, expect={"name": "b"}).digest
    by_file = Job.of("job", [written(set={"script_file": "a.js"})], folder=tmp_path)
    (before,) = by_file.edits(TENANTS)
    (tmp_path / "a.js").write_text("two")
    (after,) = by_file.edits(TENANTS)
    assert before.digest == after.digest
    assert (before.set, after.set) == ({"script": "one"}, {"script": "two"})


def test_the_digest_does_not_change_from_version_to_version() -> None:
    assert one_edit().digest == "88c866b6c7964bd26596d1d147bbe808"


# ---- what is complained of


@pytest.mark.parametrize(
    ("changed", "key", "what"),
    [
        ({"set": {"enbled": True}}, "set.enbled", "unknown key `enbled`; did you mean `enabled`?"),
        ({"delte": True}, "delte", "unknown key `delte`; did you mean `delete`?"),
        ({"set": {"\x1b[31m": 1}}, "set.?[31m", "unknown key `?[31m`"),
        ({"tenant": None}, "", "needs `tenant` or `tenants`"),
        ({"tenants": "dev"}, "tenant", "does not go with `tenants`"),
        ({"hook": None}, "", "needs `hook`, `hooks`, `action`, `actions` or `create`"),
        ({"hooks": {"name": "a"}}, "hook", "does not go with `hooks`"),
        ({"set": None}, "", "needs `set`"),
        ({"set": {}}, "set", "is empty"),
        ({"set": []}, "set", "must be a mapping, not a list"),
        ({"tenant": "prod-b"}, "tenant", "unknown tenant `prod-b`; did you mean `prod-"),
        ({"tenant": "prod-*"}, "tenant", "write `tenants: prod-*`"),
        ({"tenant": ["dev"]}, "tenant", "must be text, not a list"),
        ({"tenant": 7}, "tenant", "must be text, not `7`"),
        ({"tenant": ""}, "tenant", "must be text"),
        ({"tenant": None, "tenants": "prd-*"}, "tenants", "did you mean `prod-"),
        ({"tenant": None, "tenants": []}, "tenants", "empty list"),
        ({"tenant": None, "tenants": ["dev", "x*"]}, "tenants[1]", "unknown tenants `x*`"),
        ({"tenant": None, "tenants": ["dev", {}]}, "tenants[1]", "must be text, not a mapping"),
        ({"tenant": None, "tenants": {"tags": ["eur"]}}, "tenants.tags[0]", "did you mean `eu`?"),
        ({"tenant": None, "tenants": {"tags": ["us", "dev"]}}, "tenants.tags", "all of these"),
        ({"tenant": None, "tenants": {"tags": "eu"}}, "tenants.tags", "must be a list"),
        ({"tenant": None, "tenants": {}}, "tenants", "is empty; the keys are `names`, `tags`"),
        ({"tenant": None, "tenants": {"name": "dev"}}, "tenants.name", "did you mean `names`?"),
        ({"tenant": None, "tenants": {"names": "prd"}}, "tenants.names", "unknown tenant `prd`"),
        ({"tenant": None, "tenants": {"names": []}}, "tenants.names", "empty list"),
        ({"tenant": None, "tenants": {"not": "*"}}, "tenants", "no tenant is left"),
        ({"tenant": None, "tenants": {"names": "dev", "tags": ["us"]}}, "tenants", "no tenant"),
        ({"tenant": None, "tenants": {"not": ["dev", "x*"]}}, "tenants.not[1]", "unknown tenants"),
        ({"tenant": None, "tenants": {"not": [["dev"]]}}, "tenants.not[0]", "must be text"),
        ({"tenant": None, "tenants": {"not": {"names": "dev"}}}, "tenants.not.names", "unknown"),
        ({"tenant": None, "tenants": {"not": {}}}, "tenants.not", "is empty"),
        (
            {"tenant": None, "tenants": {"not": [{"tags": ["eur"]}]}},
            "tenants.not[0].tags[0]",
            "did you mean `eu`?",
        ),
        (
            {"tenant": None, "tenants": {"not": {"tags": ["us", "dev"]}}},
            "tenants.not.tags",
            "no tenant has all of these tags",
        ),
        ({"hook": "check email"}, "hook", "{name: ...}"),
        ({"hook": True}, "hook", "must be text, not true"),
        ({"hook": {}}, "hook", "is empty"),
        ({"hook": {"triggerId": "send-phone-message"}}, "hook", "needs `id` or `name`"),
        ({"hook": {"name": "a*"}}, "hook.name", "no hook name"),
        ({"hook": {"name": "a", "enabled": True}}, "hook.enabled", "unknown key"),
        ({"hook": {"name": "a", "triggerId": "pre-user"}}, "hook.triggerId", "unknown trigger"),
        ({"hook": None, "hooks": {}}, "hooks", "is empty"),
        ({"hook": None, "hooks": "a*"}, "hooks", "must be a mapping"),
        ({"hook": None, "hooks": {"name": "a_*"}}, "hooks.name", "matches no hook name"),
        ({"hook": None, "hooks": {"id": "a*"}}, "hooks.id", "no hook id"),
        ({"hook": None, "hooks": {"enabled": "yes"}}, "hooks.enabled", "true or false, not `yes`"),
        ({"set": {"enabled": "true"}}, "set.enabled", "must be true without quotes"),
        ({"set": {"enabled": 1}}, "set.enabled", "must be true or false, not `1`"),
        ({"set": {"enabled": None}}, "set.enabled", "must be true or false, not null"),
        ({"set": {"name": "-a"}}, "set.name", "no hook name"),
        ({"set": {"name": "a\n"}}, "set.name", "no hook name"),
        ({"set": {"name": "ä"}}, "set.name", "no hook name"),
        ({"set": {"name": ""}}, "set.name", "must be text"),
        ({"set": {"script": ""}}, "set.script", "must be text"),
        ({"set": {"script": "x", "script_file": "y"}}, "set.script", "go with `script_file`"),
        ({"set": {"triggerId": "send-phone-message"}}, "set.triggerId", "unknown key"),
        ({"set": {"dependencies": ["a"]}}, "set.dependencies", "must be a mapping"),
        ({"set": {"dependencies": {"a": 1.1}}}, "set.dependencies.a", "must be text, not `1.1`"),
        ({"set": {"dependencies": {"a": ""}}}, "set.dependencies.a", "must be text"),
        ({"set": {"dependencies": {"a": "1\n"}}}, "set.dependencies.a", "no version"),
        ({"set": {"dependencies": {".a": "1"}}}, "set.dependencies..a", "no npm package name"),
        ({"set": {"dependencies": {"a b": "1"}}}, "set.dependencies.a b", "no npm package name"),
        ({"expect": {}}, "expect", "is empty"),
        ({"expect": {"secrets": ["x"]}}, "expect.secrets", "unknown key"),
        ({"expect": {"script": "x", "script_file": "y"}}, "expect.script", "go with `script_file`"),
        ({"expect": {"enabled": "no"}}, "expect.enabled", "true or false"),
        ({"expect": None, "expects": {}}, "expects", "did you mean `expect`?"),
        ({"id": 5}, "id", "must be text"),
        ({"id": "a\nb"}, "id", "one line"),
        ({"note": []}, "note", "must be text"),
        ({"allow_empty": "yes"}, "allow_empty", "true or false"),
    ],
)
def test_a_wrong_edit_is_complained_of(changed: dict[str, object], key: str, what: str) -> None:
    (complaint,) = wrong_with(written(**changed))
    assert (complaint.key, complaint.line, complaint.file) == (key, 1, "job")
    assert what in complaint.what


@pytest.mark.parametrize(
    ("changed", "key", "what"),
    [
        ({"create": NEW}, "create", "does not go with `set`"),
        ({"set": None, "hook": HOOK, "create": NEW}, "create", "does not go with `hook`"),
        (
            {"set": None, "hooks": {"name": "a"}, "create": NEW},
            "create",
            "does not go with `hooks`",
        ),
        ({"set": None, "create": NEW, "expect": {"name": "a"}}, "create", "go with `expect`"),
        ({"set": None, "create": NEW, "remove_secrets": ["A"]}, "create", "`remove_secrets`"),
        ({"set": None, "create": {}}, "create", "is empty"),
        ({"set": None, "create": {**NEW, "id": HOOK}}, "create.id", "unknown key `id`"),
        ({"set": None, "create": {"name": "a", "script": "x"}}, "create", "needs `triggerId`"),
        ({"set": None, "create": {**NEW, "triggerId": "x"}}, "create.triggerId", "unknown trig"),
        ({"set": None, "create": {**NEW, "name": "-"}}, "create.name", "no hook name"),
        ({"set": None, "create": {**NEW, "script_file": "x"}}, "create.script", "`script_file`"),
        (
            {"set": None, "create": {"name": "a", "triggerId": "send-phone-message"}},
            "create",
            "needs `script` or `script_file`",
        ),
        ({"hook": HOOK, "delete": True}, "delete", "does not go with `set`"),
        (
            {"hook": HOOK, "delete": True, "set_secrets": {"A": "env:A"}, "remove_secrets": ["B"]},
            "delete",
            "does not go with `set`, `set_secrets` and `remove_secrets`",
        ),
        ({"set": None, "hook": HOOK, "delete": False}, "delete", "must be true, not false"),
        ({"set": None, "hook": HOOK, "delete": "true"}, "delete", "must be true, not `true`"),
        (
            {"set": None, "delete": True},
            "",
            "needs `hook`, `hooks`, `action`, `actions` or `create`",
        ),
        ({"hook": HOOK, "remove_secrets": "A"}, "remove_secrets", "must be a list of names"),
        ({"hook": HOOK, "remove_secrets": []}, "remove_secrets", "must be a list of names"),
        ({"hook": HOOK, "remove_secrets": [7]}, "remove_secrets[0]", "must be text, not `7`"),
        ({"hook": HOOK, "remove_secrets": ["A B"]}, "remove_secrets[0]", "cannot name a secret"),
        (
            {"hook": HOOK, "set_secrets": {"A": "env:A"}, "remove_secrets": ["B", "A"]},
            "remove_secrets[1]",
            "`A` is set by the same edit",
        ),
    ],
)
def test_what_does_not_go_together_is_complained_of(
    changed: dict[str, object], key: str, what: str
) -> None:
    (complaint,) = wrong_with(written(**{"hook": None, **changed}))
    assert complaint.key == key
    assert what in complaint.what


NEW_ACTION: dict[str, object] = {"name": "audit", "triggerId": "post-login", "code": "x"}


@pytest.mark.parametrize(
    ("changed", "key", "what"),
    [
        ({"hook": HOOK}, "hook", "is for hooks, the rest for an action; write two edits"),
        ({"actions": {"name": "a"}}, "action", "does not go with `actions`"),
        ({"action": "check email"}, "action", "no action id: letters, digits and hyphens; by name"),
        ({"action": {"name": "a\nb"}}, "action.name", "no action name: one line of at most 255"),
        ({"action": {"name": "a\u202eb"}}, "action.name", "no action name"),
        ({"action": {"name": "a\u200bb"}}, "action.name", "no action name"),
        ({"action": {"name": "a" * 256}}, "action.name", "no action name"),
        ({"action": {"name": "a", "triggerId": "post-logn"}}, "action.triggerId", "`post-login`?"),
        ({"action": None, "actions": {"enabled": True}}, "actions.enabled", "unknown key"),
        ({"action": None, "actions": {"name": "\x1b"}}, "actions.name", "matches no action name"),
        ({"set": {"enabled": True}}, "set.enabled", "unknown key `enabled`; known are `name`, `co"),
        ({"set": {"script": "x"}}, "set.script", "unknown key"),
        ({"set": {"code": "x", "code_file": "y"}}, "set.code", "does not go with `code_file`"),
        ({"set": {"code": "é" * 50_001}}, "set.code", "is 100,002 bytes; an action's code may"),
        ({"set": {"runtime": "22"}}, "set.runtime", "no runtime: a version of Node like node22"),
        ({"set": {"bound": "yes"}}, "set.bound", "true or false"),
        ({"set": {"position": "2"}}, "set.position", "no position: `first`, `last`, `before NAME`"),
        ({"set": {"position": "after "}}, "set.position", "no position"),
        (
            {"set": {"bound": False, "position": "last"}},
            "set.position",
            "does not go with `bound: false`",
        ),
        (
            {"set": {"dependencies": {f"p{number}": "1" for number in range(11)}}},
            "set.dependencies",
            "has 11 packages; an action may have 10",
        ),
        ({"expect": {"position": "first"}}, "expect.position", "unknown key"),
        ({"deploy": False}, "deploy", "must be true, not false"),
        ({"delete": True, "deploy": True, "set": None}, "delete", "does not go with `deploy`"),
        (
            {"set_secrets": {f"N{number}": "env:A" for number in range(31)}},
            "set_secrets",
            "a mapping of 1 to 30 names",
        ),
        ({"set": None}, "", "needs `set`, `create`, `delete`, `deploy`"),
        (
            {"action": None, "set": None, "create": {**NEW_ACTION, "bound": True}},
            "create.bound",
            "needs `deploy: true` beside it",
        ),
        (
            {"action": None, "set": None, "create": {**NEW_ACTION, "position": "first"}},
            "create.position",
            "needs `bound: true` beside it",
        ),
        (
            {"action": None, "set": None, "create": {**NEW_ACTION, "script": "x"}},
            "create.script",
            "unknown key",
        ),
        (
            {"action": None, "create": {**NEW_ACTION}, "set": {"bound": True}},
            "create",
            "does not go with `set`",
        ),
    ],
)
def test_a_wrong_edit_of_actions_is_complained_of(
    changed: dict[str, object], key: str, what: str
) -> None:
    (complaint,) = wrong_with(on_actions(**changed))
    assert complaint.key == key
    assert what in complaint.what


def test_a_mistake_in_the_key_that_says_action_is_told_as_one() -> None:
    row = {"tenant": "dev", "actoin": ACTION, "set": {"bound": True}}
    assert [(each.key, each.what) for each in wrong_with(row)] == [
        ("actoin", "unknown key `actoin`; did you mean `action`?"),
        ("", "needs `action`, `actions` or `create`"),
    ]
    row = {"tenant": "dev", "hook": HOOK, "actoin": ACTION, "set": {"enabled": True}}
    assert [each.what for each in wrong_with(row)] == ["unknown key `actoin`"]


def test_the_triggers_of_actions_are_not_those_of_hooks() -> None:
    (complaint,) = wrong_with(written(hook=None, hooks={"triggerId": "post-login"}))
    assert complaint.what.startswith("`post-login` is a trigger of actions; hooks have `cred")


def test_the_code_of_an_action_is_measured_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "long.js").write_text("x" * 100_001)
    rows = [on_actions(set={"code_file": "long.js"}), written(set={"script_file": "long.js"})]
    with pytest.raises(BadInput) as caught:
        list(Job.of("job", rows, folder=tmp_path).edits(TENANTS))
    (complaint,) = caught.value.complaints  # hooks may be longer
    assert (complaint.line, complaint.key) == (1, "set.code_file")
    assert complaint.what == "is 100,001 bytes; an action's code may have 100,000"


@pytest.mark.parametrize(
    ("secrets", "key", "what"),
    [
        ("s3cr3t", "", "must be a mapping of 1 to 20 names"),
        (["s3cr3t"], "", "must be a mapping of 1 to 20 names"),
        ({}, "", "must be a mapping of 1 to 20 names"),
        ({f"N{number}": "env:A" for number in range(21)}, "", "1 to 20 names"),
        ({"A": "s3cr3t"}, ".A", "must be a reference: env:NAME or file:PATH"),
        ({"A": "cmd:echo s3cr3t"}, ".A", "must be a reference: env:NAME or file:PATH"),
        ({"A": "env:s3cr3t value"}, ".A", "a variable's name after env:"),
        ({"A": "file:"}, ".A", "must have one line of text after file:"),
        ({"A": "file:s3cr3t\n"}, ".A", "must have one line of text after file:"),
        ({"A": 333}, ".A", "must be a reference"),
        ({"A": None}, ".A", "must be a reference"),
        ({"A": ["s3cr3t"]}, ".A", "must be a reference"),
        ({"A": "_VALUE_NOT_SHOWN_"}, ".A", "what Auth0 shows in place of a secret"),
        ({"A": "_VALUE_NOT_SHOWN"}, ".A", "what Auth0 shows in place of a secret"),
        ({"A B": "env:A"}, ".A B", "cannot name a secret"),
        ({"": "env:A"}, "", "cannot name a secret"),
        ({"a" * 129: "env:A"}, f".{'a' * 129}", "cannot name a secret"),
    ],
)
def test_a_secret_is_a_reference_and_never_shown(secrets: object, key: str, what: str) -> None:
    (complaint,) = wrong_with(written(set=None, set_secrets=secrets))
    assert complaint.key == f"set_secrets{key}"
    assert what in complaint.what
    assert not any(hidden in str(complaint) for hidden in ("s3cr3t", "333", "_VALUE_NOT_SHOWN"))


def test_only_tags_guards_every_tenant_that_an_edit_reaches(tmp_path: Path) -> None:
    text = """\
only_tags: [us, prdo]
edits:
  - {tenants: "prod-*", hooks: {name: a}, set: {enabled: false}}
  - {tenant: prod-a, hooks: {name: a}, set: {enabled: false}}
  - {tenants: {not: prod-a}, hooks: {name: a}, set: {enabled: false}}
"""
    assert [str(found).split(".yaml:")[1] for found in complaints(tmp_path, "job.yaml", text)] == [
        "1: only_tags[1]: unknown tag `prdo`; did you mean `prod`?",
        "3: edits[0].tenants: reaches `prod-z`, which has none of only_tags (us, prdo)",
        "5: edits[2].tenants: reaches `prod-z`, `dev`, which have none of only_tags (us, prdo)",
    ]
    many = {f"t{number}": tenant(f"t{number}", "a") for number in range(9)} | TENANTS
    made = Job.of("job", [written(tenant=None, tenants="t*")], only_tags=["us"])
    with pytest.raises(BadInput, match="reaches `t0`, `t1`, `t2` and 6 more, which have none"):
        list(made.edits(many))
    fits = Job.of("job", [written()], only_tags=["dev", "us"])
    assert fits.only_tags == ("dev", "us")
    assert len(list(fits.edits(TENANTS))) == 1


def test_all_that_is_wrong_with_a_document_comes_at_once(tmp_path: Path) -> None:
    text = """\
nam: x
limits:
  max_rate: fast
edits:
  - tenant: dev
    hook: a b
    set:
      enabled: yes
      dependencies:
        axios: 1.10
        qs: 2024-05-01
  - tenant: dve
    tenant: dev
    hok: x
    set: {enabled: "true", name: 1_0}
  - 5
"""
    found = complaints(tmp_path, "job.yaml", text)
    shown = [str(complaint).removeprefix(f"{tmp_path}/job.yaml:") for complaint in found]
    assert (
        "\n".join(shown)
        == """\
1: nam: unknown key `nam`; did you mean `name`?
3: limits.max_rate: must be more than 0: "10/s", "100/m" or a number a second, not `fast`
6: edits[0].hook: `a b` is no hook id: letters, digits and hyphens; by name it is {name: ...}
8: edits[0].set.enabled: must be true or false, not `yes`; write true
10: edits[0].set.dependencies.axios: YAML reads this as a number; write it in quotes, "1.10"
11: edits[0].set.dependencies.qs: YAML reads this as a date; write it in quotes, "2024-05-01"
12: edits[1]: needs `hook`, `hooks`, `action`, `actions` or `create`
13: edits[1].tenant: is given twice
14: edits[1].hok: unknown key `hok`; did you mean `hook`?
15: edits[1].set.enabled: must be true without quotes
15: edits[1].set.name: YAML reads this as a number; write it in quotes, "1_0"
16: edits[2]: must be a mapping, not `5`"""
    )


@pytest.mark.parametrize(
    ("value", "write"),
    [("yes", "true"), ("on", "true"), ("True", "true"), ("no", "false"), ("OFF", "false")],
)
def test_yaml_truth_values_are_true_and_false_only(tmp_path: Path, value: str, write: str) -> None:
    text = f"edits: [{{tenant: dev, hook: {HOOK}, set: {{enabled: {value}}}}}]"
    (complaint,) = complaints(tmp_path, "job.yaml", text)
    assert complaint.what == f"must be true or false, not `{value}`; write {write}"


def test_the_lines_of_a_json_document_are_its_own(tmp_path: Path) -> None:
    text = """\
{
  "note": "braces } ] , \\" : { in text",
  "edits": [
    {"tenant": "dev", "hook": "a", "set": {"enabled": false}},
    {
      "tenant": "dev",
      "hook": "a",
      "set": {
        "enabled": 0,
        "name": "a", "name": "b"
      },
      "id": "x",
      "\\u0069d": "y"
    }
  ]
}
"""
    found = complaints(tmp_path, "job.json", text)
    assert [(c.line, c.key, c.what) for c in found] == [
        (9, "edits[1].set.enabled", "must be true or false, not `0`"),
        (10, "edits[1].set.name", "is given twice"),
        (13, "edits[1].id", "is given twice"),
    ]


def test_json_lines_are_read_on_after_a_bad_one(tmp_path: Path) -> None:
    good = json.dumps(written())
    lines = [
        good.encode(),
        good[:20].encode(),
        b"",
        b'{"tenant": "dev", "hook": "a\xff"}',
        good.replace("enabled", "enbled").encode(),
        b'{"tenant": "dev", "hook": "a", "hook": "b", "set": {"enabled": true}}',
        b'{"tenant": "dev", "hook": "a", "set": {"\\u0065nabled": true, "enabled": true}}',
        b"x" * (source.MAX_LINE + 1),
        b"[" * 2000,
        b"5",
        good.encode(),
    ]
    found: list[Edit] = []
    read = job(tmp_path, "job.jsonl", b"\n".join(lines)).edits(TENANTS)
    with pytest.raises(BadInput) as caught:
        found.extend(read)
    assert [edit.line for edit in found] == [1, 6, 7, 11]
    assert [(c.line, c.key, c.what[:11]) for c in caught.value.complaints] == [
        (2, "", "is not JSON"),
        (4, "", "is not UTF-"),
        (5, "set.enbled", "unknown key"),
        (6, "hook", "is given tw"),
        (7, "set.enabled", "is given tw"),
        (8, "", "is longer t"),
        (9, "", "is not JSON"),
        (10, "", "must be a m"),
    ]


def test_a_key_given_twice_is_found_behind_an_escaped_colon(tmp_path: Path) -> None:
    line = r'{"tenant": "dev", "hook": "a", "hook": "b", "set": {"name": "a"}, "note": "\u003a"}'
    (complaint,) = complaints(tmp_path, "job.jsonl", line)
    assert (complaint.key, complaint.what) == ("hook", "is given twice")


def test_a_colon_in_a_text_is_not_taken_for_a_key(tmp_path: Path) -> None:
    line = json.dumps(written(set={"script": 'x ? {a: "b:c"} : "\u003a"'}, note="a: b"))
    (edit,) = edits(tmp_path, "job.jsonl", line)
    assert edit.set == {"script": 'x ? {a: "b:c"} : ":"'}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("tenant,hook,enbled\nx", 1, "unknown column `enbled`; did you mean `enabled`?"),
        ("tenant,hook,dependencies\n", 1, "unknown column `dependencies`"),
        ("tenant;hook;enabled\na;b;c", 1, "separated by commas"),
        ("tenant,enabled\ndev,true", 1, "has no column `hook`"),
        ("tenant,hook,hook\n", 1, "given twice"),
        (f"tenant,hook,enabled\n\ndev,{HOOK},yes", 3, "must be true or false, not `yes`"),
        (f"tenant,hook,enabled\ndev,{HOOK}", 2, "has 2 cells; the header has 3"),
        (f"tenant,hook,enabled\ndev,{HOOK},true,", 2, "has 4 cells; the header has 3"),
        (f"tenant,hook,enabled\ndev,{HOOK},", 2, "needs `set`, `create`"),
        (f"tenant,hook,enabled\n,{HOOK},true", 2, "needs `tenant` or `tenants`"),
        ('tenant,hook,name\ndev,a,"x\ny" z\n', 2, "is not CSV"),
        ('tenant,hook,name\ndev,a,b\ndev,a,"x\n\n', 3, "is not CSV"),
        (b"tenant,hook,name\ndev,a,\xff", 2, "is not UTF-8"),
        ("tenant,hook,note\ndev,a,b", 2, "needs `set`, `create`"),
        (f"tenant,hook,script\ndev,a,{'x' * 200_000}", 2, "is not CSV: field larger"),
    ],
)
def test_a_wrong_csv_is_complained_of(
    tmp_path: Path, text: str | bytes, line: int, what: str
) -> None:
    first = complaints(tmp_path, "job.csv", text)[0]
    assert first.line == line
    assert what in first.what


def test_a_csv_is_read_on_after_a_bad_row(tmp_path: Path) -> None:
    text = f'tenant,hook,enabled\ndev,"{HOOK}"x,true\ndev,{HOOK},maybe\ndev,{HOOK},true\n'
    assert [c.line for c in complaints(tmp_path, "job.csv", text)] == [2, 3]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("job.yaml", "", "is empty"),
        ("job.yaml", "- tenant: dev", "must be a mapping with `edits`"),
        ("job.json", "[]", "must be a mapping with `edits`"),
        ("job.json", "", "is not JSON"),
        ("job.json", '{"edits": [],}', "is not JSON"),
        ("job.json", '{"note": "\\ud800"}', "is not JSON"),
        ("job.json", "[" * 100_000, "is not JSON"),
        ("job.yaml", "edits: [", "is not YAML"),
        ("job.yaml", "edits: []", "has no edits"),
        ("job.yaml", "edits:", "must be a list of edits"),
        ("job.yaml", "note: x", "needs `edits`"),
        ("job.jsonl", "\n \n", "has no edits"),
        ("job.csv", "", "has no edits"),
        ("job.csv", "tenant,hook,enabled\n", "has no edits"),
        ("job.yaml", "a: &x [1]\nb: *x", "alias"),
        ("job.yaml", "a: &x [*x]", "alias"),
        ("job.yaml", "edits: !!python/object:os.system []", "has a tag"),
        ("job.yaml", "{[a]: b}", "a key that is not text"),
        ("job.yaml", "a: 1\n--- 2", "second document"),
        ("job.yaml", "[" * 500_000, "nested deeper"),
        ("job.yaml", "- " * 400_000, "nested deeper"),
        ("job.yaml", "a: \x07", "a character that YAML does not allow"),
        ("job.yaml", b"a: \xff\xfe", "is not UTF-8"),
        ("job.yaml", "x" * 1_000_001, "is longer than 1,000,000 bytes; write the edits as .jsonl"),
        ("job.json", "x" * 1_000_001, "is longer than 1,000,000 bytes; write the edits as .jsonl"),
        ("job.toml", "", "must end in .yaml"),
        ("my job.jsonl", "", "cannot name a job"),
        (".jsonl", "", "must end in"),
        ("job.yaml", "name: a/b\nedits: []", "`a/b` cannot name a job"),
        ("job.yaml", "name: .a\nedits: []", "`.a` cannot name a job"),
        ("job.yaml", "name: 2024\nedits: []", 'write it in quotes, "2024"'),
        ("job.yaml", f"name: {'a' * 101}\nedits: []", "cannot name a job"),
        ("job.yaml", "limits: {concurrency: 100}\nedits: []", "from 1 to 64"),
        ("job.yaml", "limits:\nedits: []", "must be a mapping, not null"),
        ("job.yaml", "only_tags: prod\nedits: []", "must be a list like [prod, eu]"),
        ("job.yaml", "only_tags: []\nedits: []", "only_tags: is an empty list"),
        ("job.yaml", "only_tags: [a b]\nedits: []", "bad tag `a b`"),
    ],
)
def test_a_file_that_is_no_job_is_complained_of(
    tmp_path: Path, name: str, text: str | bytes, what: str
) -> None:
    assert what in " ".join(map(str, complaints(tmp_path, name, text)))


def test_a_missing_job_is_a_complaint(tmp_path: Path) -> None:
    for name in ("job.yaml", "job.json", "job.jsonl", "job.csv"):
        with pytest.raises(BadInput):
            load_job(tmp_path / name)
        (tmp_path / name).mkdir()
        with pytest.raises(BadInput, match="is not a file"):
            load_job(tmp_path / name)


def test_a_job_that_goes_away_is_a_complaint(tmp_path: Path) -> None:
    read = job(tmp_path, "job.jsonl", json.dumps(written()))
    (tmp_path / "job.jsonl").unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        list(read.edits(TENANTS))


def test_complaints_beyond_ten_thousand_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MAX_COMPLAINTS", 10)
    found = complaints(tmp_path, "job.jsonl", "{\n" * 25)
    assert len(found) == 11
    assert found[-1].what == "15 more complaints; correct these first"


# ---- script files


def test_a_script_stays_in_the_folder_of_its_job(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside.js").write_text("x")
    (folder / "inside.js").write_text("x")
    (folder / "out.js").symlink_to(tmp_path / "outside.js")
    (folder / "in.js").symlink_to(folder / "inside.js")
    (folder / "loop.js").symlink_to(folder / "loop.js")
    (folder / "empty.js").touch()
    (folder / "latin.js").write_bytes(b"\xe4")
    (folder / "long.js").write_bytes(b"x" * (edits_module.MAX_SCRIPT + 1))
    cases = {
        "inside.js": None,
        "in.js": None,
        "sub/../inside.js": None,
        "out.js": "outside the job file's folder",
        "../outside.js": "outside the job file's folder",
        "/etc/passwd": "outside the job file's folder",
        "none.js": "is not there",
        "sub": "is not a file",
        "inside.js/x": "cannot be read",
        "loop.js": "",
        "empty.js": "is empty",
        "latin.js": "is not UTF-8",
        "long.js": "is longer than",
        "a\0b": "",
        "x" * 5000: "cannot be read",
    }
    for name, what in cases.items():
        made = Job.of("job", [written(set={"script_file": name})], folder=folder)
        if what is None:
            (edit,) = made.edits(TENANTS)
            assert edit.set == {"script": "x"}
            continue
        with pytest.raises(BadInput) as caught:
            list(made.edits(TENANTS))
        (complaint,) = caught.value.complaints
        assert complaint.key == "set.script_file"
        assert what in complaint.what


def test_a_script_file_is_read_once_a_job(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("one")
    made = Job.of("job", [written(set={"script_file": "a.js"})] * 2, folder=tmp_path)
    reading = made.edits(TENANTS)
    first = next(reading)
    (tmp_path / "a.js").unlink()
    assert first.set == next(reading).set == {"script": "one"}


# ---- jobs built in code


def test_a_job_built_in_code_is_a_copy_that_can_be_read_again() -> None:
    fields: dict[str, object] = {"enabled": True}
    made = Job.of("job", iter([written(set=fields), written()]), note="n", limits=Limits(reserve=1))
    fields["enabled"] = "no"
    first = list(made.edits(TENANTS))
    first[0].set["enabled"] = "no"
    assert [edit.set for edit in made.edits(TENANTS)] == [{"enabled": True}, {"enabled": False}]
    assert [edit.line for edit in first] == [1, 2]
    assert (made.name, made.note, made.limits, made.path) == ("job", "n", Limits(reserve=1), None)


@pytest.mark.parametrize(
    "edit", [written(set={"enabled": object()}), {1: 2}, written(note="\ud800"), 5, "x", [[1]]]
)
def test_an_edit_that_is_no_json_is_complained_of(edit: Any) -> None:
    with pytest.raises(BadInput, match="job:2: cannot be written as JSON"):
        list(Job.of("job", [written(), edit, written()]).edits(TENANTS))


def test_a_bad_job_name_in_code_is_complained_of() -> None:
    with pytest.raises(BadInput, match="cannot name a job"):
        list(Job.of("a/b", [written()]).edits(TENANTS))
    with pytest.raises(BadInput, match="has no edits"):
        list(Job.of("a", []).edits(TENANTS))


def test_a_document_is_not_changed_by_who_reads_it(tmp_path: Path) -> None:
    read = job(tmp_path, "job.json", json.dumps({"edits": [written()]}))
    next(read.edits(TENANTS)).set["enabled"] = 5
    assert next(read.edits(TENANTS)).set == {"enabled": False}


# ---- whatever comes

SAMPLES = {
    ".yaml": (JOBS / "script-edit.yaml").read_text(),
    ".yml": (JOBS / "rotate-secrets.yaml").read_text(),
    ".json": json.dumps({"name": "x", "edits": [written(note="a\tb"), written(id="x")]}, indent=1),
    ".jsonl": (JOBS / "toggles.jsonl").read_text(),
    ".csv": (JOBS / "renames.csv").read_text(),
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("tenant", "tenants", "hook", "hooks", "set", "enabled", "name", "tags"),
                    *("names", "not", "triggerId", "script", "script_file", "dependencies"),
                    *("code", "code_file", "bound", "position", "runtime"),
                ]
            )
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(text=st.text() | st.binary(), suffix=st.sampled_from(sorted(SAMPLES)))
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes, suffix: str
) -> None:
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    with pytest.raises(BadInput):
        edits(tmp_path_factory.getbasetemp(), f"any{suffix}", data)


@settings(deadline=None, max_examples=400)
@given(seed=st.integers(), suffix=st.sampled_from(sorted(SAMPLES)))
def test_any_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, suffix: str
) -> None:
    chance = random.Random(seed)
    text = SAMPLES[suffix]
    bits = [
        "",
        "x",
        "{",
        "}",
        "[",
        ":",
        ",",
        "\n",
        "- ",
        "&a ",
        "*a",
        "! ",
        '"',
        "1.10",
        "yes",
        "\0",
    ]
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(bits) + text[at + chance.randint(0, 5) :]
    with suppress(BadInput):
        edits(tmp_path_factory.getbasetemp(), f"any{suffix}", text)


@settings(deadline=None, max_examples=300)
@given(
    edit=VALUES
    | st.fixed_dictionaries(
        {},
        optional={
            "tenant": VALUES,
            "tenants": VALUES,
            "hook": VALUES,
            "hooks": VALUES,
            "action": VALUES,
            "actions": VALUES,
            "transform": VALUES,
            "deploy": VALUES,
            "set": VALUES,
            "create": VALUES,
            "delete": VALUES,
            "set_secrets": VALUES | st.dictionaries(st.text(), st.just("env:A") | st.text()),
            "remove_secrets": VALUES | st.lists(st.text()),
            "expect": VALUES,
            "id": VALUES,
        },
    )
)
def test_any_value_is_an_edit_or_refused(edit: Any) -> None:
    with suppress(BadInput):
        list(Job.of("job", [edit], only_tags=["us"]).edits(TENANTS))


@settings(deadline=None, max_examples=200)
@given(value=VALUES)
def test_lines_are_found_in_any_json(value: Any) -> None:
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError:
        return
    walk = source.walk_json(text)
    assert not walk.twice
    assert not walk.stack
    for key, line in walk.lines.items():
        assert 1 <= line <= text.count("\n") + 1, key
