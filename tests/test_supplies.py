"""Where the values of secrets are found when hooks move: nearness, and what is refused unshown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bulkhooks.errors import BadInput
from bulkhooks.schema import SecretsFile, json_schema
from bulkhooks.supplies import NONE, Supplies
from bulkhooks.tenants import Tenant

NAMES = ("prod-acme", "prod-nord", "dev")
TENANTS = {name: Tenant.with_token(name, f"http://127.0.0.1:1/{name}", "t") for name in NAMES}
CHECK = Draft202012Validator(json_schema(SecretsFile))

WHOLE = """\
secrets: {API_KEY: env:ALL, LAST: env:LAST}
tenants:
  "prod-*": {API_KEY: env:GLOB, SMTP: env:FIRST}
  "*-acme": {SMTP: env:SECOND, MORE: env:MORE}
  prod-acme: {API_KEY: env:NAMED}
  "prod-*/invite": {API_KEY: env:EACH}
  prod-acme/invite: {API_KEY: env:ONE}
  prod-acme/fraud-*: {API_KEY: env:FRAUDS}
hooks:
  fraud-check: {API_KEY: file:keys/fraud}
"""


def loaded(folder: Path, text: str) -> Supplies:
    (folder / "secrets.yaml").write_text(text)
    return Supplies.load(folder / "secrets.yaml", TENANTS)


@pytest.mark.parametrize(
    ("tenant", "hook", "name", "reference"),
    [
        ("dev", "audit", "API_KEY", "env:ALL"),
        ("prod-nord", "audit", "API_KEY", "env:GLOB"),
        ("prod-acme", "audit", "API_KEY", "env:NAMED"),
        ("prod-acme", "audit", "SMTP", "env:FIRST"),
        ("prod-acme", "audit", "MORE", "env:MORE"),
        ("prod-acme", "audit", "LAST", "env:LAST"),
        ("prod-acme", "audit", "OTHER", None),
        ("dev", "audit", "SMTP", None),
        ("prod-acme", "invite", "API_KEY", "env:ONE"),
        ("prod-nord", "invite", "API_KEY", "env:EACH"),
        ("prod-acme", "fraud-check", "API_KEY", "env:FRAUDS"),
        ("prod-acme", "invite", "SMTP", "env:FIRST"),
        ("dev", "invite", "API_KEY", "env:ALL"),
    ],
)
def test_the_nearest_word_on_a_secret_counts(
    tmp_path: Path, tenant: str, hook: str, name: str, reference: str | None
) -> None:
    assert loaded(tmp_path, WHOLE).reference(tenant, hook, name) == reference


def test_a_hooks_own_word_goes_before_all_and_its_paths_start_at_the_file(tmp_path: Path) -> None:
    supplies = loaded(tmp_path, WHOLE)
    for tenant in ("prod-nord", "dev"):
        found = supplies.reference(tenant, "fraud-check", "API_KEY")
        assert found == f"file:{tmp_path}/keys/fraud"
    assert supplies.reference("dev", "fraud-check", "LAST") == "env:LAST"
    assert NONE.reference("dev", "fraud-check", "LAST") is None


def test_a_value_is_lacking_until_what_the_reference_leads_to_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplies = loaded(tmp_path, WHOLE)
    monkeypatch.delenv("ALL", raising=False)
    assert supplies.lack("dev", "audit", "OTHER") == "nothing says where"
    assert supplies.lack("dev", "audit", "API_KEY") == "variable ALL is not set"
    monkeypatch.setenv("ALL", "")
    assert supplies.lack("dev", "audit", "API_KEY") == "variable ALL is not set"
    monkeypatch.setenv("ALL", "v4lue")
    assert supplies.lack("dev", "audit", "API_KEY") == ""
    lacking = "file keys/fraud cannot be read: No such file or directory"
    assert supplies.lack("dev", "fraud-check", "API_KEY") == lacking
    (tmp_path / "keys" / "fraud").mkdir(parents=True)
    assert supplies.lack("dev", "fraud-check", "API_KEY") == "file keys/fraud is not a file"
    (tmp_path / "keys" / "fraud").rmdir()
    (tmp_path / "keys" / "fraud").write_text("v4lue")
    assert supplies.lack("dev", "fraud-check", "API_KEY") == ""


GOOD: list[Any] = [
    {"secrets": {"A": "env:A"}},
    {"tenants": {"prod-*": {"A": "env:A"}}, "hooks": {"a b": {"a.b": "file:a b"}}},
    {"tenants": {"prod-*/a b": {"A": "env:A"}, "dev/*": {"A": "env:A"}}},
]
BAD: list[Any] = [
    *({}, [], "m4rker", 5, None, {"secret": {"A": "env:A"}}),
    *({"secrets": {}}, {"secrets": "m4rker"}, {"secrets": ["m4rker"]}, {"secrets": None}),
    *({"secrets": {"A": value}} for value in ("m4rker", "", 5, None, ["env:A"], {"B": "env:A"})),
    *({"secrets": {"A": value}} for value in ("cmd:m4rker", "env:m4 rker", "_VALUE_NOT_SHOWN_")),
    *({"secrets": {"A B": "env:A"}}, {"secrets": {"": "env:A"}}),
    *({"tenants": {"dev": "m4rker"}}, {"tenants": {"dev": {"A": "m4rker"}}}, {"tenants": {}}),
    *({"tenants": {name: {"A": "env:A"}}} for name in ("dev/", "/a", "dev/a_b", "dev/a/b")),
    *({"hooks": {"-": {"A": "env:A"}}}, {"hooks": {"a": {}}}, {"hooks": "m4rker"}),
]


@pytest.mark.parametrize("document", [*GOOD, *BAD], ids=json.dumps)
def test_a_file_is_right_by_its_schema_if_it_is_by_its_checks(
    tmp_path: Path, document: Any
) -> None:
    """And nothing that may be a value is shown."""
    right = document in GOOD
    assert CHECK.is_valid(document) is right
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(document))
    if right:
        Supplies.load(path, TENANTS)
        return
    with pytest.raises(BadInput) as caught:
        Supplies.load(path, TENANTS)
    assert "m4rker" not in str(caught.value)


def test_what_is_wrong_is_told_with_its_line_and_the_nearest_known(tmp_path: Path) -> None:
    text = """\
secret: {A: env:A}
tenants:
  prod-acne: {A: env:A}
  "stage-*": {A: env:A}
  dev/a_b: {A: env:A}
hooks:
  fraud-check:
    A: m4rker
    A: env:A
"""
    with pytest.raises(BadInput) as caught:
        loaded(tmp_path, text)
    file, known = tmp_path / "secrets.yaml", "`prod-acme`, `prod-nord`, `dev`"
    rule = "letters, digits, spaces and hyphens, a letter or digit first and last"
    assert str(caught.value).splitlines() == [
        f"{file}:1: secret: unknown key `secret`; did you mean `secrets`?",
        f"{file}:3: tenants.prod-acne: unknown tenant `prod-acne`; did you mean `prod-acme`?",
        f"{file}:4: tenants.stage-*: unknown tenant `stage-*`; known are {known}",
        f"{file}:5: tenants.dev/a_b: `a_b` matches no hook name: {rule}",
        f"{file}:9: hooks.fraud-check.A: is given twice",
    ]


def test_the_file_that_the_page_on_migration_shows_is_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "migrate.md").read_text()
    *_, example = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    supplies = loaded(tmp_path, example)
    assert supplies.reference("prod-acme", "audit", "API_KEY") == "env:ACME_API_KEY"
    assert supplies.reference("prod-nord", "audit", "API_KEY") == "env:PROD_API_KEY"
    assert CHECK.is_valid(yaml.safe_load(example))
