"""check: what can be told of a tenant by reading, and what a job needs that it cannot do."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import jwt
import pytest

from bulkhooks import (
    Checked,
    Job,
    Narrowing,
    Tenant,
    actions,
    auth0,
    check_tenants,
    hooks,
    progress,
    steps,
)
from bulkhooks.answers import MOVE
from bulkhooks.check import Trouble, causes
from bulkhooks.errors import BadInput, Refused
from bulkhooks.items import Fields
from bulkhooks.listing import Listing
from bulkhooks.sandbox import Sandbox, serve
from raw import http, raw_server
from world import Make, World

ENDED = b'{"statusCode": 403, "message": "Insufficient privileges to use this deprecated feature"}'
NO_HOOK = b'{"statusCode": 404, "message": "The hook does not exist."}'
LISTED = b'{"start": 0, "limit": 100, "total": 1, "hooks": [{"id": "A", "name": "a"}]}'
PRE = "pre-user-registration"
SCRIPT = {"script": "module.exports = 1;"}
RENAME = {"tenant": "t0", "hook": "A", "set": {"name": "b"}}
DISABLE = {"tenant": "t0", "hook": "A", "set": {"enabled": False}}


def token_of(scopes: str, client: str = "ABC", life: float = 86_400.0) -> str:
    """A token that tells what it allows."""
    claims = {"azp": client, "scope": scopes, "exp": time.time() + life}
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


async def checked(url: str, *edits: Mapping[str, Any], token: str = "t", **more: Any) -> Checked:
    """What is found out of tenant `t0` there; with edits, for a job that has these."""
    lifecycle = more.pop("lifecycle", None)
    tenant = replace(Tenant.with_token("t0", url, token), lifecycle=lifecycle)
    job = Job.of("job", edits) if edits else None
    found = await check_tenants({"t0": tenant}, job, **more)
    assert list(found) == ["t0"]
    return found["t0"]


# ---- what hooks take


@pytest.mark.parametrize(
    ("listed", "patched", "said", "lifecycle"),
    [
        (http(200, LISTED), None, None, "active?"),
        (http(200, LISTED), None, "active", "active"),
        (http(200, LISTED), None, "read-only", "read-only"),
        (http(200, LISTED), http(404, NO_HOOK), None, "active"),
        (http(200, LISTED), http(404, NO_HOOK), "read-only", "active"),
        (http(200, LISTED), http(400), None, "active"),
        (http(200, LISTED), http(403, ENDED), None, "read-only"),
        (http(200, LISTED), http(403, ENDED), "active", "read-only"),
        (http(200, LISTED), http(501), None, "read-only"),
        (http(200, LISTED), http(403, b'{"errorCode": "feature_not_enabled"}'), None, "active?"),
        (http(200, LISTED), http(403, b'{"errorCode": "insufficient_scope"}'), None, "active?"),
        (http(200, LISTED), http(500), None, "active?"),
        (http(403, ENDED), http(404, NO_HOOK), None, "gone"),
        (http(404), None, None, "gone"),
        (http(410), None, "read-only", "gone"),
        (http(501), None, None, "gone"),
        (http(401), None, None, "?"),
        (http(403, b'{"errorCode": "insufficient_scope"}'), None, None, "?"),
    ],
)
async def test_what_hooks_take_is_told_as_far_as_answers_show_it(
    listed: bytes, patched: bytes | None, said: str | None, lifecycle: str
) -> None:
    def answer(line: str) -> bytes | None:
        return listed if line.startswith("GET") else patched

    async with raw_server(answer) as (url, asked):
        found = await checked(url, probe=patched is not None, lifecycle=said)
    assert found.lifecycle == lifecycle
    assert found.ready is (lifecycle not in ("gone", "?"))
    if lifecycle == "gone":
        assert [each.hint.endswith(MOVE) for each in found.troubles] == [True]
    assert asked["PATCH"] == (patched is not None and found.ready)


async def test_reading_alone_sends_no_write_and_a_probe_changes_nothing() -> None:
    sandbox = Sandbox(["t0"], hooks=6)
    before = [dict(hook) for hook in sandbox.hooks_of("t0")]
    async with serve(sandbox) as url:
        await checked(f"{url}/t0", token="sandbox")
        assert [seen.method for seen in sandbox.log] == ["GET"]
        found = await checked(f"{url}/t0", token="sandbox", probe=True)
    assert found.lifecycle == "active"
    [probe] = [seen for seen in sandbox.log if seen.method != "GET"]
    assert (probe.method, probe.status) == ("PATCH", 404)
    assert json.loads(probe.body).keys() == {"name"}
    assert sandbox.hooks_of("t0") == before


async def test_read_only_hooks_that_the_tenants_file_does_not_tell_of_are_remarked() -> None:
    def answer(line: str) -> bytes:
        return http(200, LISTED) if line.startswith("GET") else http(403, ENDED)

    async with raw_server(answer) as (url, _):
        found = await checked(url, probe=True)
        told = await checked(url, probe=True, lifecycle="read-only")
        asked = await checked(url, RENAME, probe=True)
    assert found.ready
    assert "say `hooks: read-only`" in found.remarks[0].hint
    assert told.remarks == ()
    assert asked.troubles == (Trouble("hooks are read-only here: name cannot be written", MOVE),)


# ---- what a token allows


async def test_a_token_that_tells_its_scopes_is_believed() -> None:
    token = token_of("read:hooks create:hooks", life=3600.0)
    async with serve(Sandbox(["t0"], hooks=5, tokens=[token])) as url:
        found = await checked(f"{url}/t0", token=token)
    assert found.ready
    assert found.scopes == dict.fromkeys((*hooks.SCOPES, *actions.SCOPES), False) | {
        "read:hooks": True,
        "create:hooks": True,
    }
    assert found.client == "ABC"
    assert found.token_life is not None
    assert 0 < found.token_life <= 3600
    assert found.hooks == 5


async def test_of_a_token_that_tells_nothing_only_what_was_read_is_known() -> None:
    async with serve(Sandbox(["t0"], hooks=5)) as url:
        found = await checked(f"{url}/t0", token="sandbox")
        asked = await checked(f"{url}/t0", RENAME, token="sandbox")
    unknown = dict.fromkeys((*hooks.SCOPES, *actions.SCOPES))
    assert found.scopes == unknown | {"read:hooks": True}
    assert (found.client, found.token_life) == (None, None)
    assert asked.ready, "what is not known keeps nobody from trying"


async def test_scopes_that_a_job_needs_are_named_with_the_client_to_grant_them_to() -> None:
    token = token_of("read:hooks")
    remove = {"tenant": "t0", "hook": "A", "remove_secrets": ["KEY"]}
    async with serve(Sandbox(["t0"], hooks=5, tokens=[token])) as url:
        found = await checked(f"{url}/t0", RENAME, remove, token=token)
    [trouble] = found.troubles
    assert trouble.cause == "its token lacks delete:hooks and update:hooks"
    assert trouble.hint.startswith("grant delete:hooks and update:hooks to client ABC")
    assert "apply" not in trouble.hint


async def test_a_token_that_may_not_read_is_told_by_the_list() -> None:
    token = token_of("update:hooks")
    async with raw_server(lambda line: http(403, b'{"errorCode": "insufficient_scope"}')) as (
        url,
        _,
    ):
        found = await checked(url, RENAME, token=token)
    [trouble] = found.troubles
    assert trouble.hint == "grant read:hooks to client ABC"
    assert found.scopes["read:hooks"] is False


CREATE = {"name": "new", "triggerId": PRE} | SCRIPT
KINDS: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "enable": ({"hook": "A", "set": {"enabled": False}}, {"update:hooks"}, ""),
    "rename": ({"hook": "A", "set": {"name": "b"}}, {"update:hooks"}, "name"),
    "change": (
        {"hook": "A", "set": SCRIPT | {"dependencies": {"x": "1"}, "enabled": False}},
        {"update:hooks"},
        "dependencies, script",
    ),
    "create": ({"create": CREATE}, {"create:hooks", "update:hooks"}, "a new hook"),
    "create on": (
        {"create": CREATE | {"enabled": True}, "set_secrets": {"K": "env:K"}},
        {"create:hooks", "update:hooks"},
        "a new hook",
    ),
    "delete": ({"hook": "A", "delete": True}, {"delete:hooks"}, ""),
    "set secrets": (
        {"hook": "A", "set_secrets": {"OLD": "env:K", "K": "env:K"}},
        {"update:hooks"},
        "",
    ),
    "remove secrets": ({"hook": "A", "remove_secrets": ["OLD"]}, {"delete:hooks"}, ""),
    "all": (
        {"hook": "A", "set": {"name": "b"}, "set_secrets": {"K": "env:K"}}
        | {"remove_secrets": ["OLD"]},
        {"delete:hooks", "update:hooks"},
        "name",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_edit_needs_is_what_the_items_that_it_makes_need(kind: str) -> None:
    edit, scopes, refused = KINDS[kind]
    tenants = {"t0": Tenant.with_token("t0", "https://x", "t")}
    [read] = Job.of("job", [{"tenant": "t0"} | edit]).edits(tenants)
    live: Fields = {"id": "A", "name": "a", "triggerId": PRE, "enabled": True, "script": "2"}
    live |= {"dependencies": {}, "secrets.OLD": True, "secrets.K": False}
    made = [step for item in Listing({"A": live}).resolve(1, read) for step in item.steps]
    assert made
    for needed in (made, steps.of_edit(read)):
        assert steps.scopes(needed) == scopes
        assert steps.frozen(needed) == refused


async def test_writes_that_read_only_hooks_refuse_are_named() -> None:
    create = {"tenant": "t0", "create": CREATE}
    async with serve(Sandbox(["t0"], hooks=5)) as url:
        ready = await checked(f"{url}/t0", DISABLE, token="sandbox", lifecycle="read-only")
        job = (RENAME, create, DISABLE)
        found = await checked(f"{url}/t0", *job, token="sandbox", lifecycle="read-only")
    assert ready.ready
    [trouble] = found.troubles
    assert trouble.cause == "hooks are read-only here: a new hook, name cannot be written"
    assert trouble.hint.startswith(MOVE)


# ---- jobs of actions

UNBIND = {"tenant": "t0", "action": {"name": "a"}, "set": {"bound": False}}
REMOVE = {"tenant": "t0", "action": {"name": "b"}, "delete": True}


def with_actions(**more: Any) -> Sandbox:
    sandbox = Sandbox(["t0"], hooks=5, **more)
    for name in "abc":
        sandbox.add_action("t0", name=name, triggerId="post-login", bound=True)
    return sandbox


async def test_a_job_of_actions_alone_does_not_ask_for_hooks() -> None:
    sandbox = with_actions(lifecycle="gone")
    async with serve(sandbox) as url:
        found = await checked(f"{url}/t0", UNBIND, token="sandbox")
        both = await checked(f"{url}/t0", UNBIND, DISABLE, token="sandbox")
    assert found.ready, found.troubles
    assert (set(found.of), found.actions, found.hooks) == ({"actions"}, 3, None)
    assert (found.lifecycle, found.enabled) == (None, None)
    assert found.scopes["read:actions"] is True
    assert found.scopes["read:hooks"] is None
    assert sandbox.log[0].path == "/api/v2/actions/actions"
    assert (both.lifecycle, both.actions, both.ready) == ("gone", 3, False)


async def test_what_a_job_of_actions_needs_of_a_token_is_named() -> None:
    token = token_of("read:actions update:hooks")
    async with serve(with_actions(tokens=[token])) as url:
        found = await checked(f"{url}/t0", UNBIND, REMOVE, token=token)
        deploys = await checked(f"{url}/t0", UNBIND | {"deploy": True}, token=token)
    assert [each.cause for each in found.troubles] == [
        "its token lacks delete:actions and update:actions"
    ]
    assert deploys.troubles[0].cause == "its token lacks create:actions and update:actions"
    assert (found.scopes["read:actions"], found.scopes["delete:actions"]) == (True, False)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (
            http(403, b'{"errorCode": "insufficient_scope"}'),
            "grant read:actions to client ABC, then try again",
        ),
        (http(404), "no Actions here: look at base_url, and at what the tenant's plan covers"),
    ],
)
async def test_actions_that_cannot_be_read_say_why(answer: bytes, hint: str) -> None:
    async with raw_server(lambda line: answer) as (url, _):
        found = await checked(url, UNBIND, token=token_of("update:actions"))
    assert [each.hint for each in found.troubles] == [hint]
    assert found.actions is None


async def test_one_trouble_of_hooks_and_actions_is_told_once() -> None:
    async with raw_server(lambda line: http(401)) as (url, _):
        found = await checked(url, UNBIND, DISABLE)
    assert len(found.troubles) == 1


# ---- what keeps a tenant from being used


async def test_a_tenant_that_cannot_be_reached_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth0, "TRIES", 1)
    found = await checked("http://127.0.0.1:1/t0")
    [trouble] = found.troubles
    assert trouble.cause.startswith("cannot connect: ")
    assert trouble.hint == "check the tenant's address and the network, then try again"
    assert (found.lifecycle, found.hooks, found.clock_ahead) == ("?", None, None)
    of_actions = await checked("http://127.0.0.1:1/t0", UNBIND)
    lacking = await checked("https://bad.example", UNBIND, token="two words")
    for each in (of_actions, lacking):
        assert (each.lifecycle, set(each.of)) == (None, {"actions"})


async def test_what_is_known_of_a_tenant_with_trouble_is_told_all_the_same() -> None:
    token = token_of("read:hooks update:hooks")
    left = "x-ratelimit-limit: 50\r\nx-ratelimit-remaining: 7\r\n"
    async with raw_server(lambda line: http(404, extra=left)) as (url, _):
        found = await checked(url, token=token)
    assert (found.client, found.limit, found.remaining) == ("ABC", 50, 7)
    assert not found.ready


async def test_one_tenant_without_a_credential_leaves_the_others_alone(tmp_path: Path) -> None:
    async with serve(Sandbox(["t0"], hooks=5)) as url:
        tenants = {
            "bad": Tenant.with_token("bad", "https://bad.example", "two words"),
            "good": Tenant.with_token("good", f"{url}/t0", "sandbox"),
        }
        found = await check_tenants(tenants)
    assert list(found) == ["bad", "good"]
    assert [each.ready for each in found.values()] == [False, True]
    assert found["bad"].troubles[0].cause == "no credential"


@pytest.mark.parametrize(("ahead", "apart"), [(0.0, False), (300.0, True), (-300.0, True)])
async def test_a_clock_that_is_far_off_is_remarked(ahead: float, apart: bool) -> None:
    async with serve(Sandbox(["t0"], hooks=5, clock_ahead=ahead)) as url:
        found = await checked(f"{url}/t0", token="sandbox")
    assert found.ready
    assert found.clock_ahead is not None
    assert abs(found.clock_ahead - ahead) < 60
    assert [each.cause for each in found.remarks] == [
        "its clock and this machine's are more than 60 s apart"
    ] * apart


async def test_the_hooks_that_are_enabled_are_named_by_trigger() -> None:
    sandbox = Sandbox(["t0"], hooks=0)
    for name, enabled in (("one", True), ("two", False)):
        sandbox.add_hook("t0", name=name, triggerId=PRE, enabled=enabled)
    async with serve(sandbox) as url:
        found = await checked(f"{url}/t0", token="sandbox")
    assert found.hooks == 2
    assert found.enabled == {PRE: ("one",)}


# ---- which tenants are looked at


async def test_a_job_is_checked_whole_before_anything_is_sent() -> None:
    sandbox = Sandbox(["t0"], hooks=5)
    async with serve(sandbox) as url:
        with pytest.raises(BadInput, match="sett"):
            await checked(f"{url}/t0", RENAME, {"tenant": "t0", "hook": "A", "sett": {}})
    assert sandbox.log == []


async def test_a_job_is_checked_on_the_tenants_that_are_left_of_it() -> None:
    sandbox = Sandbox(["t0", "t1", "t2"], hooks=5)
    edits = [
        {"tenant": name, "hooks": {"name": "*"}, "set": {"enabled": False}} for name in ("t2", "t1")
    ]
    async with serve(sandbox) as url:
        tenants = {
            name: Tenant.with_token(name, f"{url}/{name}", "sandbox") for name in ("t0", "t1", "t2")
        }
        job = Job.of("job", edits)
        assert list(await check_tenants(tenants, job)) == ["t1", "t2"]
        only = Narrowing(only=("t1", f"trigger:{PRE}"))
        assert list(await check_tenants(tenants, job, narrowing=only)) == ["t1"]
        assert list(await check_tenants(tenants, narrowing=Narrowing(skip=("t1",)))) == ["t0", "t2"]
        for narrowing, with_job, why in (
            (Narrowing(only=("t0",)), job, "leave nothing of the job"),
            (Narrowing(only=("x",)), job, "no tenant is or has x"),
            (Narrowing(only=("x",)), None, "no tenant is or has x"),
            (only, None, "narrow it by NAME or tag:TAG"),
        ):
            with pytest.raises(Refused, match=why):
                await check_tenants(tenants, with_job, narrowing=narrowing)


async def test_whoever_watches_sees_who_is_not_done_yet() -> None:
    seen: list[list[str]] = []
    answered = anyio.Event()

    async def watch(left: Collection[str]) -> None:
        while True:
            if list(left) not in seen[-1:]:
                seen.append(list(left))
            if list(left) == ["slow"]:
                answered.set()
            await anyio.sleep(0.001)

    async with serve(Sandbox(["t0"], hooks=1)) as url:
        tenants = {name: Tenant.with_token(name, f"{url}/t0", "sandbox") for name in ("fast",)}
        tenants["slow"] = Tenant.with_token("slow", f"{url}/t0", "sandbox")

        async def look(tenant: Tenant, client: auth0.ManagementClient) -> None:
            if tenant.name == "slow":
                await answered.wait()

        await auth0.everywhere(tenants.values(), look, watch=watch)
    assert seen == [["fast", "slow"], ["slow"]]


async def test_who_is_waited_for_is_told_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN", 0.001)
    stream, left = StringIO(), dict.fromkeys(["a", "b", "c"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(progress.count, stream, left.keys())
        while "\n" not in stream.getvalue():
            await anyio.lowlevel.checkpoint()
        del left["b"]
        while "1 of 3 tenants done; waiting for a, c\n" not in stream.getvalue():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert stream.getvalue().startswith("0 of 3 tenants done; waiting for a, b, c\n")


# ---- what a person sees


def test_equal_causes_are_told_together_with_each_next_step() -> None:
    found = {
        f"t{number}": Checked(troubles=(Trouble("its token lacks it", f"grant it to {number}"),))
        for number in range(7)
    }
    found["t0"] = replace(found["t0"], remarks=(Trouble("remarked", "so\x1b"),))
    found["u"] = Checked(troubles=(Trouble("no credential", "give one"),))
    assert list(causes(found)) == [
        "t0, t1, t2, t3, t4 and 2 more: its token lacks it",
        *(f"    grant it to {number}" for number in range(5)),
        "    and 2 more like these: --json has them all",
        "u: no credential",
        "    give one",
        "t0: remarked",
        "    so\N{SYMBOL FOR ESCAPE}",
    ]


def check(world: World, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    return world.call("check", *words, "--tenants", "tenants.json", status=status)


def test_the_table_has_those_with_trouble_first_and_one_line_closes(make: Make) -> None:
    names = tuple(f"t{number:02}" for number in range(60))
    world = make(names, hooks=6)
    for name in ("t07", "t58"):
        world.tenants[name]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    lines = check(world, status=2).stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith(" t")][1:]
    assert [row[:2] for row in rows[:3]] == [["t07", "not"], ["t58", "not"], ["t00", "ready"]]
    assert len(rows) == 50
    assert "and 10 more" in "\n".join(lines)
    assert "t07, t58: 401 Invalid token" in lines[-3]
    assert lines[-1] == "60 tenants: 58 ready, 2 not"


def test_columns_are_of_what_a_job_is_of(make: Make) -> None:
    world = make(("t0",), hooks=6)
    world.sandbox.add_action("t0", name="a", triggerId="post-login", bound=True)
    world.write("actions.jsonl", [UNBIND])
    hook = {"tenant": "t0", "hook": {"name": "fraud-check"}, "set": {"enabled": False}}
    world.write("both.jsonl", [UNBIND, hook])

    def table(*job: str) -> tuple[list[str], list[str]]:
        lines = check(world, *job).stdout.splitlines()
        place = next(n for n, line in enumerate(lines) if "tenant" in line)
        return lines[place].split(), lines[place + 2].split()

    head, row = table("actions.jsonl")
    assert head[:5] == ["tenant", "actions", "left", "token", "hook"]
    assert row[:3] == ["t0", "ready", "1"]
    head, row = table("both.jsonl")
    assert head[:5] == ["tenant", "hooks", "are", "hooks", "actions"]
    assert row[:5] == ["t0", "ready", "active?", "6", "1"]
    head, row = table()
    assert "actions" not in head
    found = json.loads(check(world, "actions.jsonl", "--json").stdout)["tenants"]["t0"]
    assert (found["actions"], found["hooks"], found["lifecycle"]) == (1, None, None)


def test_json_has_everything_of_every_tenant(make: Make) -> None:
    world = make(("t0", "t1"), hooks=6)
    world.tenants["t1"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    found = json.loads(check(world, "--json", status=2).stdout)
    assert (found["ready"], found["not_ready"]) == (1, 1)
    good, bad = found["tenants"]["t0"], found["tenants"]["t1"]
    assert good.keys() == bad.keys()
    assert good["enabled"][PRE] == ["fraud-check"]
    assert (good["ready"], good["hooks"], good["troubles"]) == (True, 6, [])
    assert bad["troubles"][0]["cause"] == "401 Invalid token"


def test_a_job_finds_its_tenants_file_beside_it_and_each_request_is_in_the_log(make: Make) -> None:
    world = make(("t0", "t1"), hooks=6)
    (world.folder / "jobs").mkdir()
    (world.folder / "tenants.json").rename(world.folder / "jobs" / "tenants.yaml")
    edit = {"tenant": "t1", "hook": {"name": "fraud-check"}, "set": {"enabled": False}}
    world.write("jobs/job.jsonl", [edit])
    words = ("check", "jobs/job.jsonl", "--probe", "--log", "log", "-v")
    ended = world.call(*words)
    assert ended.stdout.endswith("1 tenant: 1 ready, 0 not\n")
    log = [json.loads(line) for line in (world.folder / "log").read_text().splitlines()]
    assert [(line["tenant"], line["method"], line["status"]) for line in log] == [
        (seen.tenant, seen.method, seen.status) for seen in world.sandbox.log
    ]
    assert [line["tenant"] for line in log] == ["t1", "t1"]
    assert ended.stderr.count("/api/v2/hooks") == 2
    assert "tenants.yaml" in world.call("check", status=2).stderr, "in this folder, without a job"


def on_terminal(world: World, columns: int, *job: str) -> str:
    """What `check` shows on a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    words = [sys.executable, "-m", "bulkhooks", "check", *job, "--tenants", "tenants.json"]
    env = world.env | {"TERM": "xterm"}
    with subprocess.Popen(words, cwd=world.folder, env=env, stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        with open(ours, "rb", buffering=0) as terminal:
            while piece := _read(terminal):
                shown += piece
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))


def _read(terminal: Any) -> bytes:
    try:
        return bytes(terminal.read(4096))
    except OSError:  # the other end is closed
        return b""


def test_on_a_terminal_columns_are_left_out_and_no_name_steers_it(make: Make) -> None:
    world = make(("t0", "a-tenant-with-a-name-that-" + "is-long-" * 8), hooks=0)
    world.sandbox.add_hook("t0", name="[red]x", triggerId=PRE, enabled=True)
    narrow, wide = on_terminal(world, 80), on_terminal(world, 160)
    for shown, columns in ((narrow, 80), (wide, 160)):
        lines = shown.splitlines()
        assert max(map(len, lines)) <= columns
        assert sum("active?" in line and "read ?" in line for line in lines) == 2
    both = {"tenant": "t0", "hook": {"name": "x"}, "set": {"enabled": False}}
    world.write("both.jsonl", [UNBIND, both])
    lines = on_terminal(world, 80, "both.jsonl").splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[-1] == "scopes"
    assert lines[3].split()[:2] == ["t0", "ready"]
    assert lines[3].split()[-2:] == ["?", "?"]
    assert "action scopes" in wide
    assert "clock" not in narrow
    assert "[red]x (pre-user-registration)" in wide
