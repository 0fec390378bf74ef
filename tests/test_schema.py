"""The JSON Schema of job and tenants files, and that it says what the checks say."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from bulkhooks.cli import app
from bulkhooks.errors import BadInput
from bulkhooks.jobfile import load_job
from bulkhooks.schedulefile import load_schedule
from bulkhooks.schema import JobFile, ScheduleFile, SecretsFile, TenantsFile, json_schema
from bulkhooks.tenants import Tenant, load_tenants

ROOT = Path(__file__).parents[1]
SCHEMAS = {
    "job": json_schema(JobFile),
    "tenants": json_schema(TenantsFile),
    "secrets": json_schema(SecretsFile),
    "schedule": json_schema(ScheduleFile),
}
CHECKS = {name: Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
SAMPLES = sorted((ROOT / "jobs").glob("*.yaml"))

HOOK: Final = "01GEPVQNVSHW1ZVB7WVPRYKX18"
TRIGGER: Final = "post-user-registration"
NEW: Final = {"name": "audit", "triggerId": TRIGGER, "script": "x"}
PACKAGES: Final = {"axios": "1.7.9", "@a/b": "^1", "JSONStream": "latest"}

# Values that are right but for what no schema can say, and values that are not; by key.
GOOD: Final[dict[str, list[Any]]] = {
    "tenant": ["dev"],
    "tenants": [
        *("dev", "prod-*", ["dev", "prod-?"], {"tags": ["eu"]}, {"names": "prod-*"}),
        {"names": ["dev", "prod-a"], "tags": ["eu"], "not": ["prod-*", {"tags": ["us"]}]},
        {"not": {"tags": ["us"]}},
    ],
    "hook": [HOOK, {"name": "a b-c"}, {"id": HOOK}, {"name": "a", "triggerId": TRIGGER}],
    "hooks": [{"name": "[!a]*"}, {"enabled": False}, {"id": HOOK, "triggerId": TRIGGER}],
    "set": [
        *({"enabled": True}, {"name": "a", "script": " "}, {"script_file": "a.js"}),
        *({"dependencies": {}}, {"dependencies": PACKAGES}),
    ],
    "create": [NEW, {**NEW, "enabled": True, "dependencies": PACKAGES}],
    "delete": [True],
    "transform": ["a.py:to_v2"],
    "set_secrets": [{"A": "env:A"}, {"a.b": "file:a b", "~": "file:/x"}],
    "remove_secrets": [["OLD"], ["OLD", "OLD", "!"]],
    "expect": [{**NEW, "enabled": False, "dependencies": {}}, {"script_file": "a.js"}],
    "id": ["x", "a" * 200],
    "note": ["why\nso"],
    "allow_empty": [True, False],
}
BAD: Final[dict[str, list[Any]]] = {
    "tenant": ["", "prod-*", 5, None, ["dev"]],
    "tenants": [
        *("", [], {}, 5, None, [5], [["dev"]], {"tag": ["eu"]}, {"tags": []}, {"tags": "eu"}),
        *({"names": []}, {"not": {}}, {"not": {"names": "dev"}}, {"not": [{}]}, {"not": []}),
        *([{"tags": ["eu"]}], {"names": {"tags": ["eu"]}}),
    ],
    "hook": [
        *("a b", "", 5, None, {}, {"triggerId": TRIGGER}, {"name": "a*"}, {"name": "-a"}),
        *({"name": "a", "enabled": True}, {"name": "a", "triggerId": "x"}, {"name": ""}),
    ],
    "hooks": [{}, "a*", {"name": "a_*"}, {"id": "a*"}, {"enabled": "yes"}, {"enabled": 1}],
    "set": [
        *({}, [], {"enabled": None}, {"name": ""}, {"name": "a "}, {"script": ""}, {"script": 1}),
        *({"script": "x", "script_file": "a.js"}, {"triggerId": TRIGGER}, {"id": HOOK}),
        *({"dependencies": {"a b": "1"}}, {"dependencies": {"a": 1.1}}, {"dependencies": []}),
        *({"dependencies": {"a": ""}}, {"dependencies": {"a" * 215: "1"}}),
        {"dependencies": {"a": "1" * 201}},
    ],
    "create": [
        *({}, {**NEW, "id": HOOK}, {**NEW, "script_file": "a.js"}, {**NEW, "triggerId": "x"}),
        *({"name": "a", "script": "x"}, {"name": "a", "triggerId": TRIGGER}),
        {"triggerId": TRIGGER, "script": "x"},
    ],
    "delete": [False, "true", 1, None],
    "transform": ["a.py", "a.py:", "a.py:2", "a.js:f", ":f", ".py:f", "a.py:f g", 5, ["a.py:f"]],
    "set_secrets": [
        *({}, "A", ["A"], {"A": "x"}, {"A": "cmd:x"}, {"A": "env:"}, {"A": "env:a b"}),
        *({"A": "file: "}, {"A": 5}, {"A B": "env:A"}, {"": "env:A"}, {"a" * 129: "env:A"}),
        *({"A": "_VALUE_NOT_SHOWN_"}, {f"N{number}": "env:A" for number in range(21)}),
    ],
    "remove_secrets": [[], "A", [5], ["A B"], [""], ["a" * 129]],
    "expect": [{}, {"secrets": {}}, {"enabled": "no"}, {"script": "x", "script_file": "a.js"}],
    "id": ["", 5, "a" * 201],
    "note": ["", 5, []],
    "allow_empty": ["yes", 1, None],
    "sett": [{"enabled": True}],
    "deploy": [True],
    "action": [HOOK],
}
# The same of actions, as far as it is not alike.
CODED: Final = {"name": "Audit (2)", "triggerId": "post-login", "code": "x"}
GOOD_OF_ACTIONS: Final[dict[str, list[Any]]] = {
    "action": [HOOK, {"name": "é_*"}, {"id": HOOK}, {"name": "a", "triggerId": "event-stream"}],
    "actions": [{"name": "[!a]*"}, {"deployed": False}, {"id": HOOK, "bound": True}],
    "set": [
        *({"bound": True}, {"bound": False}, {"name": "a_b", "code": " "}, {"code_file": "a.js"}),
        *({"bound": True, "position": "first"}, {"position": "after a b"}, {"runtime": "node18"}),
        {"dependencies": PACKAGES},
    ],
    "create": [CODED, {**CODED, "runtime": "node22", "dependencies": {}, "bound": False}],
    "delete": [True],
    "deploy": [True],
    "transform": GOOD["transform"],
    "set_secrets": [{f"N{number}": "env:A" for number in range(30)}],
    "expect": [{**CODED, "deployed": True, "bound": False}, {"code_file": "a.js"}],
}
BAD_OF_ACTIONS: Final[dict[str, list[Any]]] = {
    "action": [
        *("a b", "", 5, None, {}, {"triggerId": "post-login"}, {"name": "a\nb"}, {"name": ""}),
        *(
            {"name": "a" * 256},
            {"name": "a\x7f"},
            {"name": "a\u2028"},
            {"name": "a", "bound": True},
        ),
    ],
    "actions": [{}, "a*", {"name": ""}, {"enabled": True}, {"deployed": 1}, {"triggerId": "x"}],
    "set": [
        *({}, {"enabled": True}, {"script": "x"}, {"code": ""}, {"code": "x" * 100_001}),
        *({"code": "x", "code_file": "a.js"}, {"runtime": "node"}, {"runtime": "nodejs22"}),
        *({"bound": False, "position": "first"}, {"position": "second"}, {"position": "before "}),
        *({"position": 1}, {"bound": "true"}, {"bound": 0}, {"deployed": True}),
        {"dependencies": {f"p{number}": "1" for number in range(11)}},
    ],
    "create": [
        *({**CODED, "script": "x"}, {**CODED, "enabled": True}, {**CODED, "code_file": "a.js"}),
        *({**CODED, "bound": True}, {**CODED, "position": "first"}, {"code": "x"}),
        *({**CODED, "bound": False, "position": "first"}, {**CODED, "triggerId": "post-logins"}),
    ],
    "deploy": [False, 1, "true", None],
    "set_secrets": [{f"N{number}": "env:A" for number in range(31)}],
    "expect": [{}, {"position": "first"}, {"enabled": True}, {"code": "x", "code_file": "a.js"}],
    "hook": [HOOK],
    "hooks": [{"name": "a"}],
}
HEADERS: Final[dict[str, list[Any]]] = {
    "name": ["freeze", "a.b", ".a", "a/b", "", 5, "a" * 101],
    "note": ["x", "", 5],
    "only_tags": [["eu", "us"], [], "eu", ["a b"], [5]],
    "limits": [
        *({"reserve": "20%"}, {"reserve": "12.5 %"}, {"reserve": 5}, {"reserve": "100%"}, {}),
        *({"reserve": 0.5}, {"reserve": -1}, {"max_rate": "10/s"}, {"max_rate": "0/s"}),
        *({"max_rate": "0.0/m"}, {"max_rate": "05/min"}, {"max_rate": 0.5}, {"max_rate": 0}),
        *({"max_rate": "5/h"}, {"max_rate": True}, {"concurrency": 64}, {"concurrency": 65}),
        *({"concurrency": 0}, {"concurrency": "8"}, {"rate": 5}, 5, None),
    ],
    "edit": [[]],
    "during": ["window", "windows", "", None, True],
}
ONCE: Final = {"start": "2026-11-28T01:00", "end": "2026-11-28T03:00", "timezone": "Europe/London"}
OFTEN: Final = {"every": "Sat 01:00", "for": "2h", "timezone": "UTC"}
# When jobs are carried out, right and wrong.
SCHEDULES: Final[dict[str, tuple[list[Any], list[Any]]]] = {
    "window": (
        [
            *(ONCE, OFTEN, {**ONCE, "start": "2026-11-28 01:00:30"}, {**OFTEN, "for": "1h30m"}),
            *({**OFTEN, "every": "Mon,Thu-Sat 22:30"}, {**OFTEN, "every": "day 00:00"}),
            {"cron": "0 1 * * 6", "for": "90s", "timezone": "America/New_York"},
        ],
        [
            *({}, [], None, "Sat 01:00", {"timezone": "UTC"}, {**ONCE, "for": "2h"}),
            *({**ONCE, "every": "Sat 01:00"}, {**ONCE, "cron": "0 1 * * 6"}, {**ONCE, "to": "x"}),
            *({**OFTEN, "cron": "0 1 * * 6"}, {"every": "Sat 01:00", "timezone": "UTC"}),
            *({"cron": "0 1 * * 6", "timezone": "UTC"}, {"for": "2h", "timezone": "UTC"}),
            *({"start": "2026-11-28T01:00", "timezone": "UTC"}, {**ONCE, "timezone": ""}),
            *({"end": "2026-11-28T01:00", "timezone": "UTC"}, {**ONCE, "timezone": None}),
            *({"every": "Sat 01:00", "for": "2h"}, {**ONCE, "start": "2026-11-28"}),
            *({**ONCE, "start": "2026-11-28T01:00Z"}, {**ONCE, "start": "2026-11-28T01:00+01:00"}),
            *({**ONCE, "end": "2026-11-28T3:00"}, {**ONCE, "end": 5}, {**OFTEN, "for": "2"}),
            *({**OFTEN, "for": 7200}, {**OFTEN, "for": "0h"}, {**OFTEN, "for": ""}),
            *({**OFTEN, "for": "30m1h"}, {**OFTEN, "for": "1.5h"}, {**OFTEN, "every": "Sat"}),
            *({**OFTEN, "every": "sat 01:00"}, {**OFTEN, "every": "Sat 24:00"}),
            *({**OFTEN, "every": "Sat, Sun 01:00"}, {**OFTEN, "every": "day,Sun 01:00"}),
            {"cron": "0 1 * *", "for": "2h", "timezone": "UTC"},
            {"cron": "0 0 1 * * 6", "for": "2h", "timezone": "UTC"},
        ],
    ),
    "waves": (
        [
            *([1], [1, "5%", "25%", "100%"], [["eu"]], [1, ["eu", "us"], 3], ["12.5 %"]),
            [{"tenants": 1, "soak": "10m", "probe": "read-back"}, {"tags": ["eu"]}],
            [{"tenants": "5%", "probe": "smoke --fast 'a b'"}],
        ],
        [
            *([], {}, "5%", None, [0], [-1], [1.5], ["5"], ["0%"], ["101%"], [[]], [["a b"]]),
            *([None], [True], [{}], [{"soak": "10m"}], [{"tenants": 1, "tags": ["eu"]}]),
            *([{"tags": []}], [{"tags": "eu"}], [{"tenants": "5"}], [{"tenants": [1]}]),
            *([{"tenants": 1, "soak": 600}], [{"tenants": 1, "soak": "x"}], [[5]]),
            *([{"tenants": 1, "probe": ""}], [{"tenants": 1, "probe": ["a"]}], [{"size": 1}]),
        ],
    ),
    "halt": (
        [
            *({"failures": 3}, {"failures": "5% of wave"}, {"in_a_row": 5}, {"tenants": 2}),
            {"failures": "0.5% of wave", "in_a_row": 1, "tenants": 1},
        ],
        [
            *({}, [], 3, None, {"failures": 0}, {"failures": "5%"}, {"failures": "0% of wave"}),
            *({"failures": 1.5}, {"failures": "3"}, {"in_a_row": 0}, {"in_a_row": "5"}),
            *({"in_a_row": "5% of wave"}, {"tenants": 0}, {"tenants": "5%"}, {"tenants": True}),
            {"failed": 3},
        ],
    ),
}
HEADERS.update({key: [*good, *bad] for key, (good, bad) in SCHEDULES.items()})
# What defaults and tenants may say alike, right and wrong.
WAYS: Final[dict[str, tuple[list[Any], list[Any]]]] = {
    "hooks": (["active", "read-only"], ["readonly", "Active", "", True, None]),
    "ca_file": (["ca.pem"], ["", 5, None, ["ca.pem"]]),
    "timeouts": (
        [{"connect": 300}, {"request": 0.5}, {"connect": 1, "request": 600}],
        [
            *({"connect": 0}, {"connect": 301}, {"connect": "5"}, {"request": 600.5}, {}, 30),
            *({"request": -1}, {"request": None}, {"request": True}, {"read": 5}),
        ],
    ),
    "headers": (
        [
            *({"X-Team": "identity"}, {"X-Team": " a, b:c "}, {"x": "a" * 8000, "$y'": "a"}),
            *({"X-Key": "env:A"}, {"x-tokens": "cmd:x", "COOKIE": "file:a"}, {"X": "file:a b"}),
            *({"Hosts": "a"}, {"Accept-Language": "de"}, {"X-Content-Type": "a"}, {"X": "env"}),
        ],
        [
            *({}, [], "X: a", None, {"X": ""}, {"X": 5}, {"X": None}, {"X": "ä"}, {"X": "\x7f"}),
            *({"X": "a" * 8001}, {"X": "env:a b"}, {"X": "file: "}, {"X": "cmd:"}, {"X": "a\tb"}),
            *({"X-Key": "a"}, {"X-tOkEn": "a"}, {"authority": "a"}, {"Cookie": "a=b"}),
            *({"X-Password": "env:a b"}, {"credentials": ""}, {"signature": 5}, {"secrets": []}),
            *({"HOST": "a"}, {"authorization": "env:A"}, {"Accept": "a"}, {"": "a"}, {"X Y": "a"}),
            *({"Content-Type": "a"}, {"content-": "a"}, {"Connection": "a"}, {"X:": "a"}),
            *({"Accept-Encoding": "a"}, {"transfer-Encoding": "a"}, {"Ä": "a"}, {"X\\": "a"}),
        ],
    ),
}
ENTRIES: Final[dict[str, list[Any]]] = {
    **{key: [*good, *bad] for key, (good, bad) in WAYS.items()},
    "private_key": ["env:A", "file:a b.pem", "cmd:x", "-----BEGIN", "file:", 5],
    "algorithm": ["RS256", "RS384", "PS256", "RS512", "rs256", None],
    "kid": ["a b", "", 5],
    "domain": ["acme.eu.auth0.com", "acme", "https://a.example", "a.example/x", "a." * 130, 5],
    "base_url": [
        *("https://a.example", "HTTPS://a.example:8443/x/", "ftp://a.example", "https://"),
        *("https://me:pw@a.example", "https://a.example?x", "", None),
    ],
    "tags": [["prod", "eu"], [], "prod", ["a b"], [5]],
    "token": ["env:A", "cmd:pass show x", "file:a", "literal", "env:a-b", "cmd:", 5],
    "client_id": ["env:A", "literal"],
    "client_secret": ["env:A", "file:k", "file: "],
    "audience": ["https://a.example/api/v2/", "", 5],
    "protected": [True, False, "yes", 1],
    "limits": HEADERS["limits"],
    "tag": [["x"]],
}
TARGETS: Final[list[dict[str, Any]]] = [
    {"tenant": "dev", "hook": HOOK, "set": {"enabled": True}},
    {"tenants": "*", "hooks": {"name": "a"}, "set_secrets": {"A": "env:A"}},
    {"tenants": "*", "create": NEW, "set_secrets": {"A": "env:A"}},
    {"tenant": "dev", "hook": {"name": "a"}, "delete": True},
]
TARGETS_OF_ACTIONS: Final[list[dict[str, Any]]] = [
    {"tenant": "dev", "action": HOOK, "set": {"bound": True}},
    {"tenants": "*", "actions": {"name": "a"}, "deploy": True},
    {"tenants": "*", "create": {**CODED, "bound": True, "position": "last"}, "deploy": True},
    {"tenant": "dev", "action": {"name": "a"}, "delete": True},
]
LOGINS: Final[list[dict[str, Any]]] = [
    {"domain": "a.example", "token": "env:A"},
    {"base_url": "https://b.example", "client_id": "env:A", "client_secret": "env:B"},
    {"domain": "c.example", "client_id": "env:A", "private_key": "file:b", "kid": "c"},
]
TENANTS: Final = {
    name: replace(Tenant.with_token(name, f"https://{name}.example", "x"), tags=frozenset(tags))
    for name, tags in (("prod-a", ("prod", "us")), ("dev", ("dev", "eu")))
}


def changed(
    starts: list[dict[str, Any]], values: dict[str, list[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """One of `starts`, with some keys given another value or taken out."""
    change = st.sampled_from(sorted(values)).flatmap(
        lambda key: st.tuples(st.just(key), st.sampled_from([*values[key], ...]))
    )
    return st.builds(
        lambda start, changes: {
            key: value for key, value in {**start, **dict(changes)}.items() if value is not ...
        },
        st.sampled_from(starts),
        st.lists(change, max_size=3),
    )


BOTH = {key: [*GOOD.get(key, ()), *BAD.get(key, ())] for key in {**GOOD, **BAD}}
OF_ACTIONS = {
    key: [*GOOD_OF_ACTIONS.get(key, ()), *BAD_OF_ACTIONS.get(key, ())]
    for key in {**GOOD_OF_ACTIONS, **BAD_OF_ACTIONS}
}
EDITS = (
    changed(TARGETS, GOOD)
    | changed(TARGETS, BOTH)
    | changed(TARGETS_OF_ACTIONS, GOOD_OF_ACTIONS)
    | changed(TARGETS_OF_ACTIONS, BOTH | OF_ACTIONS)
)
JOBS = changed([{}], HEADERS).flatmap(
    lambda header: st.lists(EDITS, max_size=2).map(lambda edits: {"edits": edits, **header})
)
TENANT_FILES = changed(
    [{}, {"defaults": {"limits": {"reserve": 0}}}],
    {
        "defaults": [
            *({"limits": limits} for limits in HEADERS["limits"]),
            *({key: value, "limits": {"reserve": 0}} for key in WAYS for value in ENTRIES[key]),
            *({}, 5, {"tags": []}, {"token": "env:A"}),
        ]
    },
).flatmap(
    lambda rest: st.dictionaries(
        st.sampled_from(["a", "B-1", "a b", "-", "a" * 101]),
        changed(LOGINS, ENTRIES),
        max_size=1,
    ).map(lambda tenants: {"tenants": tenants, **rest})
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema")
    (path / "a.js").write_text("x")
    (path / "a.py").write_text("def to_v2(hook): ...\n")
    trustme.CA().cert_pem.write_to_path(path / "ca.pem")
    return path


def job_is_valid(folder: Path, document: object) -> bool:
    path = folder / "job.json"
    path.write_text(json.dumps(document))
    try:
        list(load_job(path).edits(TENANTS))
    except BadInput:
        return False
    return True


def tenants_are_valid(folder: Path, document: object) -> bool:
    path = folder / "tenants.json"
    path.write_text(json.dumps(document))
    try:
        load_tenants(path)
    except BadInput:
        return False
    return True


@settings(deadline=None, max_examples=500)
@given(document=JOBS)
def test_a_job_is_right_by_its_schema_if_it_is_by_its_checks(
    folder: Path, document: object
) -> None:
    assert CHECKS["job"].is_valid(document) == job_is_valid(folder, document)


def schedule_is_valid(folder: Path, document: object) -> bool:
    path = folder / "schedule.json"
    path.write_text(json.dumps(document))
    try:
        load_schedule(path)
    except BadInput:
        return False
    return True


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        (key, value, good)
        for key, both in SCHEDULES.items()
        for good, values in zip((True, False), both, strict=True)
        for value in values
    ],
)
def test_every_schedule_is_taken_or_refused_by_both(
    folder: Path, key: str, value: object, good: bool
) -> None:
    job = {"edits": [TARGETS[0]], key: value}
    assert CHECKS["job"].is_valid(job) is good
    assert job_is_valid(folder, job) is good
    assert CHECKS["schedule"].is_valid({key: value}) is good
    assert schedule_is_valid(folder, {key: value}) is good


@pytest.mark.parametrize(
    ("document", "good"),
    [
        ({"window": ONCE, "during": "window", "waves": [1], "halt": {"tenants": 1}}, True),
        ({}, False),
        ({"during": "window"}, False),
        ({"window": ONCE, "during": "windows"}, False),
        ({"edits": []}, False),
    ],
)
def test_a_schedule_is_taken_or_refused_by_both(folder: Path, document: object, good: bool) -> None:
    assert CHECKS["schedule"].is_valid(document) is good
    assert schedule_is_valid(folder, document) is good


@settings(deadline=None, max_examples=500)
@given(document=TENANT_FILES)
def test_a_tenants_file_is_right_by_its_schema_if_it_is_by_its_checks(
    folder: Path, document: object
) -> None:
    assert CHECKS["tenants"].is_valid(document) == tenants_are_valid(folder, document)


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        *((key, value, True) for key, values in GOOD.items() for value in values),
        *((key, value, False) for key, values in BAD.items() for value in values),
    ],
)
def test_every_value_is_taken_or_refused_by_both(
    folder: Path, key: str, value: object, good: bool
) -> None:
    rivals = {
        "tenants": "tenant",
        "hooks": "hook",
        "create": "hook",
        "set": "delete",
        "transform": "delete",
        "remove_secrets": "delete",
    }
    start = TARGETS[0 if key == "expect" or key in ("hook", "tenant") else 3]
    edit = {name: each for name, each in start.items() if name != rivals.get(key)}
    if key in ("create", "set_secrets"):
        edit.pop("delete")
    document = {"edits": [edit | {key: value}]}
    assert CHECKS["job"].is_valid(document) is good
    assert job_is_valid(folder, document) is good


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        *((key, value, True) for key, values in GOOD_OF_ACTIONS.items() for value in values),
        *((key, value, False) for key, values in BAD_OF_ACTIONS.items() for value in values),
    ],
)
def test_every_value_of_actions_is_taken_or_refused_by_both(
    folder: Path, key: str, value: object, good: bool
) -> None:
    edit = {"tenant": "dev", "action": HOOK, "remove_secrets": ["OLD"], key: value}
    if key in ("actions", "create"):
        edit.pop("action")
    if key in ("create", "delete", "transform"):
        edit.pop("remove_secrets")
    document = {"edits": [edit]}
    assert CHECKS["job"].is_valid(document) is good
    assert job_is_valid(folder, document) is good


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        (key, value, good)
        for key, both in WAYS.items()
        for good, values in zip((True, False), both, strict=True)
        for value in values
    ],
)
def test_every_way_to_reach_a_tenant_is_taken_or_refused_by_both(
    folder: Path, key: str, value: object, good: bool
) -> None:
    tenant = LOGINS[0]
    for document in (
        {"tenants": {"t": tenant | {key: value}}},
        {"tenants": {"t": tenant}, "defaults": {key: value}},
    ):
        assert CHECKS["tenants"].is_valid(document) is good
        assert tenants_are_valid(folder, document) is good


@pytest.mark.parametrize(
    ("edit", "good"),
    [
        (TARGETS[0], True),
        ({"tenant": "dev", "hooks": {"name": "a"}, "transform": "a.py:to_v2"}, True),
        *((edit, False) for edit in TARGETS[1:]),
        ({"tenant": "dev", "hook": HOOK, "remove_secrets": ["A"]}, False),
        (TARGETS_OF_ACTIONS[0], True),
        *((edit, False) for edit in TARGETS_OF_ACTIONS[1:]),
        (TARGETS_OF_ACTIONS[0] | {"deploy": True}, False),
    ],
)
def test_what_a_freeze_could_not_put_back_is_refused_by_both(
    folder: Path, edit: dict[str, Any], good: bool
) -> None:
    document = {"edits": [edit], "window": ONCE, "during": "window"}
    assert CHECKS["job"].is_valid(document) is good
    assert job_is_valid(folder, document) is good
    assert job_is_valid(folder, {"edits": [edit], "window": ONCE})


@pytest.mark.parametrize(
    ("given", "good"),
    [
        ("token", True),
        ("client_id client_secret", True),
        ("client_id client_secret audience", True),
        ("client_id private_key", True),
        ("client_id private_key algorithm kid audience", True),
        ("", False),
        ("audience", False),
        ("client_id", False),
        ("client_secret", False),
        ("private_key", False),
        ("algorithm kid", False),
        ("client_id algorithm", False),
        ("token client_id", False),
        ("token private_key", False),
        ("token algorithm", False),
        ("token kid", False),
        ("token audience", False),
        ("client_id client_secret private_key", False),
        ("client_id client_secret algorithm", False),
        ("client_id client_secret kid", False),
    ],
)
def test_what_goes_together_to_log_in_is_known_to_both(
    folder: Path, given: str, good: bool
) -> None:
    tenant = {"domain": "a.example"} | {name: ENTRIES[name][0] for name in given.split()}
    document = {"tenants": {"t": tenant}}
    assert CHECKS["tenants"].is_valid(document) is good
    assert tenants_are_valid(folder, document) is good


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_is_one_and_shipped_as_the_command_prints_it(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    printed = CliRunner().invoke(app, ["schema", name]).stdout
    assert json.loads(printed) == SCHEMAS[name]
    assert (ROOT / "docs" / "schema" / f"{name}.json").read_text() == printed


@pytest.mark.program
@pytest.mark.parametrize("name", SCHEMAS)
def test_printing_a_schema_frees_nothing_that_is_not_its_own(name: str) -> None:
    words = [sys.executable, "-X", "dev", "-m", "bulkhooks", "schema", name]
    ended = subprocess.run(words, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_editor_can_say_what_every_key_is_for(name: str) -> None:
    defs = SCHEMAS[name]["$defs"]
    for part in defs.values():
        assert part["description"]
        for key, inner in part["properties"].items():
            assert "$ref" in inner or inner["description"], key


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_samples_name_their_schema_and_are_right_by_it(path: Path) -> None:
    name = "tenants" if path.stem == "tenants" else "job"
    first, *_ = path.read_text().splitlines()
    assert first == f"# yaml-language-server: $schema=../docs/schema/{name}.json"
    CHECKS[name].validate(yaml.safe_load(path.read_text()))
