"""Functions of people's own: what they are given, what they may give, and how they fail."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks.edits import EditCheck
from bulkhooks.errors import BadInput, ItemError
from bulkhooks.items import Transform
from bulkhooks.jobfile import Job, load_job
from bulkhooks.source import Findings
from bulkhooks.tenants import Tenant, load_tenants
from bulkhooks.transform import Transforms, find

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "transform.md").read_text()
TENANTS = {"t0": Tenant.with_token("t0", "https://t0.example", "x")}
HOOK: dict[str, Any] = {
    "id": "01AB",
    "name": "fraud-check",
    "triggerId": "post-user-registration",
    "enabled": True,
    "script": "one",
    "dependencies": {"axios": "1.6.0"},
    "secrets.KEY": True,
    "secrets.API": True,
    "secrets.GONE": False,
}
ACTION: dict[str, Any] = {
    "id": "4c8a-1",
    "name": "audit",
    "triggerId": "post-login",
    "deployed": True,
    "bound": False,
    "code": "one",
    "dependencies": {},
    "runtime": "node18",
}


class Place:
    """A job's folder, with a file of functions in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.transforms = Transforms(folder, self.told.append)

    def write(self, text: str, name: str = "rename.py") -> None:
        (self.folder / name).write_text(text)

    def function(self, body: str, name: str = "to_v2") -> Transform:
        """A function of that body, its first line the file's second."""
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        self.write(f"def {name}(it):\n{lines}")
        return find(f"rename.py:{name}", self.folder)

    def hook(self, transform: Transform, **changed: Any) -> Any:
        return self.transforms.apply(transform, HOOK | changed, of="hooks", tenant="t0")

    def action(self, transform: Transform) -> Any:
        return self.transforms.apply(transform, ACTION, of="actions", tenant="t0")

    def failure(self, transform: Transform, of: str = "hook") -> ItemError:
        with pytest.raises(ItemError) as caught:
            self.hook(transform) if of == "hook" else self.action(transform)
        return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "job").mkdir()
    return Place(tmp_path / "job")


# ---- what a job says of them


def wrong_with(folder: Path, **edit: Any) -> list[tuple[int | None, str, str]]:
    rows = [{"tenant": "t0", "hook": "01AB", **edit}]
    with pytest.raises(BadInput) as caught:
        list(Job.of("job", rows, folder=folder).edits(TENANTS))
    return [(each.line, each.key, each.what) for each in caught.value.complaints]


def test_a_job_names_a_function_in_place_of_what_to_set(place: Place) -> None:
    place.write("raise SystemExit('nothing of it is run')\ndef to_v2(it): ...\n")
    rows: list[dict[str, Any]] = [
        {"hooks": {"enabled": True}, "expect": {"enabled": True}, "allow_empty": True, "id": "x"},
        {"action": {"name": "audit"}, "deploy": True},
    ]
    same = {"tenant": "t0", "transform": "rename.py:to_v2"}
    hooks, actions = Job.of("j", [same | row for row in rows], folder=place.folder).edits(TENANTS)
    assert hooks.transform == actions.transform == find("rename.py:to_v2", place.folder)
    assert hooks.transform is not None
    assert hooks.transform.file == str(place.folder / "rename.py")
    assert re.fullmatch("[0-9a-f]{32}", hooks.transform.digest)
    assert (hooks.of, actions.of, actions.deploy) == ("hooks", "actions", True)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("rename.py", "must be FILE.py:function, not `rename.py`"),
        ("rename.py:to v2", "must be FILE.py:function"),
        ("none.py:to_v2", "`none.py` is not there"),
        ("../out.py:to_v2", "`../out.py` is outside the job file's folder"),
        ("link.py:to_v2", "`link.py` is outside the job file's folder"),
        ("folder.py:to_v2", "`folder.py` is not a file"),
        ("bad.py:to_v2", "`bad.py` is not Python: line 2: unmatched ')'"),
        ("late.py:to_v2", "`late.py` is not Python: line 1: 'return' outside function"),
        ("null.py:to_v2", "`null.py` is not Python: "),
        ("latin.py:to_v2", "`latin.py` is not Python: "),
        ("long.py:to_v2", "`long.py` is longer than 1,000,000 bytes"),
        ("rename.py:to_v3", "`rename.py` defines no `to_v3` at its top level; did you mean `to_"),
        ("rename.py:inner", "`rename.py` defines no `inner` at its top level"),
        ("rename.py:made", "`rename.py` defines no `made` at its top level"),
        ("rename.py:later", "`later` in line 5 of `rename.py` is async; write a plain def"),
        ("rename.py:two", "`two` in line 6 of `rename.py` must take 1 argument: the hook or act"),
        ("rename.py:none", "must take 1 argument: the hook or action"),
        ("rename.py:named", "must take 1 argument: the hook or action"),
        ("rename.py:more", "must take 1 argument: the hook or action"),
    ],
)
def test_what_is_wrong_with_a_function_is_told_before_any_is_run(
    place: Place, name: str, what: str
) -> None:
    place.write(
        "def to_v2(it):\n    def inner(it): ...\nmade = to_v2\n\n"
        "async def later(it): ...\ndef two(a, b): ...\ndef none(): ...\n"
        "def named(*, it): ...\ndef more(it, *, other): ...\n"
    )
    place.write("def to_v2(it): ...", "../out.py")
    place.write("x = 1\ndef to_v2(it): )\n", "bad.py")
    place.write("return 1\ndef to_v2(it): ...\n", "late.py")
    place.write("def to_v2(it): ...\0\n", "null.py")
    place.write("#" * 1_000_001, "long.py")
    (place.folder / "latin.py").write_bytes(b"x = '\xe4'\ndef to_v2(it): ...\n")
    (place.folder / "folder.py").mkdir()
    (place.folder / "link.py").symlink_to(place.folder.parent / "out.py")
    ((line, key, told),) = wrong_with(place.folder, transform=name)
    assert (line, key) == (1, "transform")
    assert what in told


@pytest.mark.parametrize(
    "function",
    ["def f(it, more=1): ...", "def f(*its, x=1): ...", "def f(it, /): ...", "@d\ndef f(): ..."],
)
def test_a_function_may_take_more_than_it_is_given(place: Place, function: str) -> None:
    place.write(f"{function}\n")
    assert find("rename.py:f", place.folder).function == "f"


def test_a_function_for_migrations_takes_two(place: Place) -> None:
    place.write("def one(hook): ...\ndef two(hook, action): ...\n")
    assert find("rename.py:two", place.folder, arguments=2).function == "two"
    with pytest.raises(ValueError, match="must take 2 arguments: the hook and the proposed action"):
        find("rename.py:one", place.folder, arguments=2)


@pytest.mark.parametrize("act", ["set", "delete", "set_secrets", "remove_secrets"])
def test_a_function_stands_alone(place: Place, act: str) -> None:
    place.write("def to_v2(it): ...\n")
    acts: dict[str, Any] = {
        "set": {"enabled": False},
        "delete": True,
        "set_secrets": {"A": "env:A"},
        "remove_secrets": ["A"],
    }
    ((_, key, what),) = wrong_with(place.folder, transform="rename.py:to_v2", **{act: acts[act]})
    first, other = ("delete", "transform") if act == "delete" else ("transform", act)
    assert (key, what) == (first, f"does not go with `{other}`")


def test_one_file_is_looked_at_once_a_job(place: Place) -> None:
    place.write("def to_v2(it): ...\n")
    check = EditCheck(Findings("job"), TENANTS, place.folder, ())
    row = {"tenant": "t0", "hook": "01AB", "transform": "rename.py:to_v2"}
    first = check.edit(row, 1)
    (place.folder / "rename.py").unlink()
    second = check.edit(row, 2)
    assert first is not None
    assert second is not None
    assert first.transform == second.transform


# ---- what they are given and give


def test_a_function_is_given_a_copy_with_names_of_secrets_and_no_values(place: Place) -> None:
    transform = place.function("print(sorted(it.items()))\nit['dependencies'].clear()")
    before = repr(HOOK)
    assert place.hook(transform) == {}
    assert repr(HOOK) == before
    (said,) = place.told
    plain = {key: value for key, value in HOOK.items() if not key.startswith("secrets.")}
    assert said == f"{sorted((plain | {'secrets': ['API', 'KEY']}).items())}\n"


@pytest.mark.parametrize(
    ("gives", "changed"),
    [
        ("None", {}),
        ("{}", {}),
        ("it", {}),
        ("{'name': 'fraud-check', 'enabled': True}", {}),
        ("{'name': 'new', 'id': '01AB'}", {"name": "new"}),
        ("it | {'enabled': False, 'script': it['script'] + ' two'}", "both"),
        ("{'dependencies': {'axios': '1.6.0'}}", {}),
        ("{'dependencies': {}}", {"dependencies": {}}),
        ("__import__('types').MappingProxyType({'name': 'new'})", {"name": "new"}),
    ],
)
def test_what_differs_is_set_and_nothing_else(place: Place, gives: str, changed: Any) -> None:
    both = {"enabled": False, "script": "one two"}
    assert place.hook(place.function(f"return {gives}")) == (both if changed == "both" else changed)


def test_an_action_is_bound_and_given_code(place: Place) -> None:
    gives = "{'bound': True, 'position': 'last', 'code': 'two', 'runtime': 'node22'}"
    assert place.action(place.function(f"return it | {gives}")) == {
        "bound": True,
        "position": "last",
        "code": "two",
        "runtime": "node22",
    }


@pytest.mark.parametrize(
    ("gives", "what"),
    [
        ("{'enabled': 1}", "gives enabled: must be true or false, not `1`"),
        ("{'enabled': None}", "gives enabled: must be true or false, not null"),
        ("{'nam': 'x'}", "gives nam: unknown field `nam`; did you mean `name`?"),
        ("{'script_file': 'x.js'}", "gives script_file: unknown field `script_file`"),
        ("{'code': 'x'}", "gives code: unknown field `code`"),
        ("{'name': '-a'}", "gives name: `-a` is no hook name: letters"),
        ("{'script': ''}", "gives script: must be text"),
        ("{'dependencies': {'axios': 1.1}}", "gives dependencies.axios: must be text, not `1.1`"),
        ("{'id': '02CD'}", "gives id: cannot be changed; give it as it is, or leave it out"),
        ("it | {'triggerId': 'send-phone-message'}", "gives triggerId: cannot be changed"),
        ("{'secrets': []}", "gives secrets: cannot be changed"),
        ("'x'", "gives str; must be a mapping of fields, or None"),
        ("[it]", "gives list; must be a mapping of fields, or None"),
        ("True", "gives bool; must be a mapping of fields, or None"),
        ("(yield)", "gives generator; must be a mapping of fields, or None"),
    ],
)
def test_what_a_function_gives_is_checked_like_what_a_job_sets(
    place: Place, gives: str, what: str
) -> None:
    error = place.failure(place.function(f"return {gives}"))
    assert error.cause.startswith(f"rename.py:to_v2 {what}")
    assert error.hint.startswith("it gave that for hook fraud-check of t0; correct it")
    assert place.told == []


@pytest.mark.parametrize(
    ("gives", "what"),
    [
        ("{'bound': False, 'position': 'first', 'deployed': False}", "gives deployed: cannot be"),
        ("{'position': 'second'}", "gives position: `second` is no position"),
        ("{'code': 'x' * 100_001}", "gives code: is 100,001 bytes; an action's code may have"),
        ("{'enabled': True}", "gives enabled: unknown field `enabled`"),
    ],
)
def test_what_a_function_gives_of_an_action_is_checked_too(
    place: Place, gives: str, what: str
) -> None:
    error = place.failure(place.function(f"return {gives}"), of="action")
    assert error.cause.startswith(f"rename.py:to_v2 {what}")
    assert "action audit of t0" in error.hint


def test_what_is_no_json_is_an_error_of_the_function(place: Place) -> None:
    error = place.failure(place.function("return {'name': object()}"))
    assert error.cause.startswith("rename.py: TypeError: Type is not JSON serializable")
    assert place.failure(place.function("return {1: 2}", "other")).cause.startswith("rename.py")


@settings(deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from([*HOOK, "code", "é"]) | st.text(), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_whatever_a_function_gives_can_be_set_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    place = Place(tmp_path_factory.getbasetemp())
    transform = place.function("import json\nreturn json.loads(it['script'])")
    with suppress(ItemError):
        changed = place.hook(transform, script=json.dumps(value))
        assert changed.keys() <= {"name", "script", "enabled", "dependencies"}


def test_a_migration_is_given_a_hook_and_what_is_proposed(place: Place) -> None:
    place.write(
        "def to_v2(hook, action):\n"
        "    if hook['enabled']:\n"
        "        return {'name': hook['name'] + '-v2', 'runtime': 'node22'}\n"
    )
    transform = find("rename.py:to_v2", place.folder, arguments=2)
    new = {"name": "fraud-check", "triggerId": "post-user-registration", "code": "x"}
    made = place.transforms.propose(transform, HOOK, new, tenant="t0")
    assert made == new | {"name": "fraud-check-v2", "runtime": "node22"}
    off = HOOK | {"enabled": False}
    assert place.transforms.propose(transform, off, new, tenant="t0") is None
    place.write("def wrong(hook, action):\n    return action | {'bound': True}\n", "w.py")
    with pytest.raises(ItemError, match=r"w\.py:wrong gives bound: unknown field `bound`"):
        place.transforms.propose(
            find("w.py:wrong", place.folder, arguments=2), HOOK, new, tenant="t0"
        )


# ---- how they fail


def test_an_error_is_one_line_in_the_books_and_a_traceback_once(place: Place) -> None:
    transform = place.function("import json\nreturn json.loads(it['script'])")
    first = place.failure(transform)
    assert first.cause.startswith("rename.py:3: JSONDecodeError: Expecting value: line 1")
    assert (
        first.hint == "to_v2 failed on hook fraud-check of t0; correct it, then plan the job again"
    )
    (told,) = place.told
    assert told.startswith("rename.py: to_v2 failed on hook fraud-check of t0\nTraceback (most")
    assert f'File "{place.folder}/rename.py", line 3, in to_v2' in told
    assert "return json.loads(it['script'])" in told
    assert "decoder.py" not in told
    assert "transform.py" not in told
    with pytest.raises(ItemError, match="hook other of t0"):
        place.hook(transform, name="other", script="{")
    assert len(place.told) == 1
    with pytest.raises(ItemError, match=re.escape("rename.py:3: TypeError: ")):
        place.hook(transform, script=5)
    assert len(place.told) == 2


def test_the_errors_that_an_error_came_of_are_shown_without_our_frames(place: Place) -> None:
    place.failure(
        place.function(
            "import json\ntry:\n    json.loads('x')\nexcept ValueError as error:\n"
            "    raise KeyError('y') from error"
        )
    )
    (told,) = place.told
    assert "JSONDecodeError: Expecting value" in told
    assert "KeyError: 'y'" in told
    assert set(re.findall(r'File "(.*?)"', told)) == {f"{place.folder}/rename.py"}


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("raise SystemExit(3)", "rename.py:2: SystemExit: 3"),
        ("raise ValueError('a\\nb')", "rename.py:2: ValueError: a"),
        ("raise ValueError('\\x1b[31m')", "rename.py:2: ValueError: ?[31m"),
        ("raise ValueError", "rename.py:2: ValueError"),
        ("raise GeneratorExit('x')", "rename.py:2: GeneratorExit: x"),
        ("class Odd(Exception): pass\nraise Odd('x')", "rename.py:3: to_v2.<locals>.Odd: x"),
        ("return to_v2(it)", "rename.py:2: RecursionError: maximum recursion depth exceeded"),
        (
            "class Mute(Exception):\n    def __str__(self): return 1 / 0\nraise Mute",
            "rename.py:4: to_v2.<locals>.Mute: <exception str() failed>",
        ),
    ],
)
def test_whatever_a_function_raises_fails_one_item(place: Place, body: str, cause: str) -> None:
    assert place.failure(place.function(body)).cause.startswith(cause)


def test_ctrl_c_goes_through(place: Place) -> None:
    with pytest.raises(KeyboardInterrupt):
        place.hook(place.function("raise KeyboardInterrupt"))


def test_what_a_function_prints_is_told_and_not_on_stdout(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write("print('loaded')\ndef to_v2(it):\n    print('\\x1b[2J', it['name'])\n    1 / 0\n")
    transform = find("rename.py:to_v2", place.folder)
    place.failure(transform)
    loaded, said, traceback = place.told
    assert (loaded, said) == ("loaded\n", "?[2J fraud-check\n")
    assert "ZeroDivisionError" in traceback
    assert capsys.readouterr() == ("", "")


# ---- the file


def test_a_file_is_run_once_in_a_namespace_of_its_own(place: Place) -> None:
    place.write("""\
from __future__ import annotations
from dataclasses import dataclass

count = 0

@dataclass
class Name:
    text: str

def first(it):
    global count
    count += 1
    return {"name": Name(f"{__name__} {count}").text}

def second(it):
    return first(it)
""")
    known = {*sys.modules}
    for number, function in enumerate(("first", "second", "first"), 1):
        transform = find(f"rename.py:{function}", place.folder)
        assert place.hook(transform) == {"name": f"rename {number}"}
    assert "rename" not in sys.modules
    assert {*sys.modules} - known <= {"rename"}
    assert os.listdir(place.folder) == ["rename.py"]


def test_modules_beside_it_are_imported_and_forgotten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    other = Place(place.folder / "other")
    other.folder.mkdir()
    paths = [*sys.path]
    for each, word in ((place, "here"), (other, "there")):
        each.write(f"WORD = '{word}'\n", "names.py")
        (each.folder / "pack").mkdir()
        (each.folder / "pack" / "__init__.py").write_text("from .inner import END\n")
        (each.folder / "pack" / "inner.py").write_text(f"END = '{word[::-1]}'\n")
        each.write(
            "from names import WORD\nfrom pack import END\n"
            "def to_v2(it):\n    return {'name': WORD + END}\n"
        )
    assert place.hook(find("rename.py:to_v2", place.folder)) == {"name": "hereereh"}
    below = find("other/rename.py:to_v2", place.folder)
    assert place.hook(below) == {"name": "thereereht"}
    assert (sys.path, sys.dont_write_bytecode) == (paths, False)
    assert not {"names", "pack", "pack.inner", "rename"} & {*sys.modules}
    assert not list(place.folder.rglob("*.pyc"))


def test_a_file_that_is_called_like_a_module_of_pythons_takes_nothing_from_it(place: Place) -> None:
    place.write("import json\ndef f(it):\n    return {'name': json.dumps(1)}\n", "rename.py")
    place.write("def f(it):\n    return {'name': 'own'}\n", "json.py")
    assert place.hook(find("json.py:f", place.folder)) == {"name": "own"}
    assert sys.modules["json"] is json


def test_a_file_that_cannot_be_loaded_fails_every_item_and_is_run_once(place: Place) -> None:
    place.write("print('x')\n1 / 0\ndef to_v2(it): ...\n")
    transform = find("rename.py:to_v2", place.folder)
    for _ in range(2):
        error = place.failure(transform)
        assert error.cause == "rename.py:2: ZeroDivisionError: division by zero"
        assert error.hint == "it cannot be loaded; correct it, then plan the job again"
    assert len(place.told) == 2
    assert "x\n" in place.told


def test_a_function_that_its_file_takes_away_is_an_error(place: Place) -> None:
    place.write("def to_v2(it): ...\nto_v2 = 5\n")
    error = place.failure(find("rename.py:to_v2", place.folder))
    assert error.cause == "rename.py: TypeError: to_v2 is no function"


def test_a_file_that_was_changed_since_the_plan_is_not_run(place: Place) -> None:
    transform = place.function("return {'name': 'planned'}")
    with (place.folder / "rename.py").open("a") as file:
        file.write("print('changed')\n")
    assert place.failure(transform).cause == "rename.py was changed since the plan was made"
    assert place.told == []
    (place.folder / "rename.py").unlink()
    assert place.failure(transform).cause.startswith("rename.py cannot be read: No such file")


def test_a_file_from_elsewhere_is_not_run(place: Place, tmp_path: Path) -> None:
    transform = place.function("print('run')")
    other = tmp_path / "handed-over"
    other.mkdir()
    (other / "rename.py").symlink_to(place.folder / "rename.py")
    through_link = Transform(
        file=str(other / "rename.py"), function="to_v2", digest=transform.digest
    )
    transforms = Transforms(other, place.told.append)
    for each in (transform, through_link):
        with pytest.raises(ItemError) as caught:
            transforms.apply(each, HOOK, of="hooks", tenant="t0")
        assert caught.value.cause.startswith(f"no code is run from outside of {other}")
        assert caught.value.hint.startswith("plan the job again")
    assert place.told == []
    assert (
        Transforms(tmp_path, place.told.append).apply(transform, HOOK, of="hooks", tenant="t0")
        == {}
    )
    assert place.told == ["run\n"]


# ---- what is shown of them


def test_the_page_shows_a_function_that_works(place: Place) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (job,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    place.write(example, "migrate.py")
    place.write(job.replace('"prod-*"', "t0"), "job.yaml")
    hooks, actions = load_job(place.folder / "job.yaml").edits(TENANTS)
    assert hooks.transform is not None
    assert hooks.transform == actions.transform
    script = 'const http = require("request");'
    assert place.hook(hooks.transform, script=script) == {
        "script": 'const http = require("axios");',
        "dependencies": {"axios": "1.7.9"},
    }
    assert place.action(hooks.transform) == {}
    for key in (*HOOK, *ACTION):
        assert f"`{key.partition('.')[0]}`" in PAGE


def test_the_sample_renames_what_is_not_renamed_yet() -> None:
    tenants = load_tenants(ROOT / "jobs" / "tenants.yaml")
    (edit,) = load_job(ROOT / "jobs" / "rename-hooks.yaml").edits(tenants)
    assert edit.transform is not None
    told: list[str] = []
    transforms = Transforms(ROOT / "jobs", told.append)
    renamed = {"name": "fraud-check-v2", "dependencies": {"axios": "1.7.9"}}
    for hook, changed in ((HOOK, renamed), (HOOK | renamed, {})):
        assert transforms.apply(edit.transform, hook, of="hooks", tenant="t0") == changed
    assert told == []
