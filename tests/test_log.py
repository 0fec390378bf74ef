"""Logs of requests: every request is there once, with what came of it, and nothing secret."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulkhooks import Exchange, Job, Tenant, apply_journal, plan_job
from bulkhooks.auth0 import ManagementClient
from bulkhooks.gates import Stop
from bulkhooks.hooks import list_hooks
from bulkhooks.items import Item
from bulkhooks.network import Network
from bulkhooks.pacing import Limiter, Limits
from bulkhooks.requestlog import as_json, as_text
from bulkhooks.sandbox import Fault, Request
from bulkhooks.tenants import ClientSecret, Given
from raw import http, raw_server
from world import Make, World

MARKER = "m4rker-that-nobody-may-see"
KEYS = ["time", "tenant", "item", "method", "path", "status", "tries", "waited", "remaining"]
SENT = Exchange(
    time=1_700_000_000.5,
    tenant="t0",
    item="first/A",
    method="PATCH",
    path="/api/v2/hooks/A",
    status=200,
    tries=1,
    waited=0.0,
    remaining=49,
)


def lines(world: World, name: str = "log") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (world.folder / name).read_text().splitlines()]


def logged(world: World, name: str = "log") -> Counter[tuple[Any, ...]]:
    """What the log tells of each request, as the server knows it."""
    return Counter(
        (
            *(line["tenant"], line["method"], line["path"].partition("?")[0]),
            *(line["status"] or 0, line["remaining"]),
        )
        for line in lines(world, name)
    )


def served(world: World, since: int = 0) -> Counter[tuple[Any, ...]]:
    """The same, as the server wrote it down; what was answered 0 was cut off."""
    return Counter(
        (seen.tenant, seen.method, seen.path, seen.status, seen.remaining)
        for seen in world.sandbox.log[since:]
    )


def toggles(world: World) -> None:
    edits = [
        {
            "id": f"off-{name}",
            "tenants": name,
            "hooks": {"enabled": True},
            "set": {"enabled": False},
        }
        for name in world.tenants
    ]
    made = {"name": "made", "triggerId": "send-phone-message", "script": "1"}
    world.write(
        "job.jsonl",
        [
            *edits,
            {"id": "new", "tenant": "t0", "create": made, "set_secrets": {"KEY": "env:SECRET"}},
        ],
    )


@pytest.fixture
def world(make: Make) -> World:
    """Two tenants; one of them gives a client its tokens, and cuts the line of its second read."""
    reads = Counter[str]()

    def fault(request: Request) -> Fault | None:
        reads[request.tenant] += request.method == "GET"
        second = request.tenant == "t1" and reads["t1"] == 2 and request.method == "GET"
        return "cut-before" if second else None

    world = make(("t0", "t1"), hooks=6, fault=fault)
    world.env |= {"SECRET": MARKER + "-value", "CLIENT_SECRET": MARKER + "-client", "ID": "me"}
    del world.tenants["t1"]["token"]
    world.tenants["t1"] |= {"client_id": "env:ID", "client_secret": "env:CLIENT_SECRET"}
    world.write_tenants()
    toggles(world)
    return world


def test_every_request_of_a_run_is_there_once_and_nothing_secret(world: World) -> None:
    ended = world.run_job("job.jsonl", "--log", "log")
    assert "/api/v2" not in ended.stderr
    assert logged(world) == served(world)
    assert sum(logged(world).values()) > 10
    said = (world.folder / "log").read_bytes()
    seen = b"".join(each.body for each in world.sandbox.log)
    assert MARKER.encode() in seen, "the server was sent it"
    assert MARKER.encode() not in said
    for token in world.sandbox._tenants["t1"].issuer._ends:
        assert token.encode() not in said
    for line in lines(world):
        assert list(line) == KEYS + ["error"] * (line["status"] is None)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert stat.S_IMODE((world.folder / "log").stat().st_mode) == 0o600


def test_a_cut_line_has_its_reason_and_the_try_after_it_its_number(world: World) -> None:
    del world.tenants["t0"]
    world.write_tenants()
    edit = {"tenant": "t1", "hooks": {"name": "*"}, "set": {"enabled": False}}
    world.write("read.jsonl", [edit | {"expect": {"script": "other"}}])
    world.call("plan", "read.jsonl", "--tenants", "tenants.json", "--log", "log")
    broken = [line for line in lines(world) if line["status"] is None]
    assert [line["path"][:14] for line in broken] == ["/api/v2/hooks/"]
    assert broken[0]["error"].startswith("the line was cut before the answer")
    again = [line["tries"] for line in lines(world) if line["path"] == broken[0]["path"]]
    assert again == [1, 2]


def test_what_was_sent_for_an_item_has_its_name_as_the_plan_has_it(world: World) -> None:
    words = ("--tenants", "tenants.json", "--json", "--log", "log")
    planned = json.loads(world.call("plan", "job.jsonl", "--journal", "j", *words).stdout)
    items = {f"{item['edit']}/{item['hook']}" for item in planned["items"]}
    assert {line["item"] for line in lines(world)} == {None}
    before = len(world.sandbox.log)
    world.call("apply", "j", "--yes", "--log", "log")
    assert {line["item"] for line in lines(world)} - {None} == items
    assert "new/new:made" in items
    writes = [line for line in lines(world)[before:] if line["method"] in ("PATCH", "DELETE")]
    assert writes
    assert all(line["item"] in items for line in writes)
    assert {line["item"] for line in lines(world) if line["path"] == "/oauth/token"} == {None}


async def test_a_token_is_not_fetched_for_one_item() -> None:
    told: list[Exchange] = []
    answer = http(200, b'{"access_token": "t", "hooks": [], "total": 0}')
    async with raw_server(lambda line: answer) as (url, _), Network.opened() as network:
        credential = ClientSecret(client_id=Given("id"), client_secret=Given(MARKER))
        tenant = Tenant(name="t0", base_url=url, credential=credential)
        client = ManagementClient(tenant, Limiter(Limits()), network, Stop(), 1, log=told.append)
        item = Item(edit=1, edit_name="edit", target="A", label="A")
        await client.sending_for(item).read(list_hooks(0))
    assert [(each.path, each.item) for each in told] == [
        ("/oauth/token", None),
        (f"/api/v2{list_hooks(0).path}", "edit/A"),
    ]


@pytest.mark.parametrize(
    "command",
    ["plan", "apply", pytest.param("undo", marks=pytest.mark.slow), "export", "job-from"],
)
def test_each_command_adds_to_a_log_what_it_sends(world: World, command: str) -> None:
    words = ("--tenants", "tenants.json")
    calls = {
        "plan": ("job.jsonl", *words),
        "apply": ("j", "--yes"),
        "undo": ("j", "--yes", "--max-deletes", "1"),
        "export": ("--to", "out", *words),
        "job-from": ("out", *words),
    }
    if command in ("apply", "undo"):
        world.call("plan", "job.jsonl", "--journal", "j", *words)
    if command == "undo":
        world.call("apply", "j", "--yes")
    if command == "job-from":
        world.call("export", "--to", "out", *words)
    before = len(world.sandbox.log)
    (world.folder / "log").write_text(as_json(SENT).decode())
    world.call(command, *calls[command], "--log", "log")
    assert lines(world)[0]["item"] == "first/A", "it is added to"
    (world.folder / "rest").write_text(
        "".join((world.folder / "log").read_text().splitlines(keepends=True)[1:])
    )
    assert logged(world, "rest") == served(world, before)
    assert len(world.sandbox.log) > before


def test_a_killed_run_leaves_what_was_sent(make: Make) -> None:
    world = make(("t0",), hooks=200, latency=0.01)
    edits = [{"tenant": "t0", "hook": id, "set": {"name": f"n-{id}"}} for id in world.ids("t0")]
    world.write("job.jsonl", edits)
    words = ("--tenants", "tenants.json", "--journal", "j", "--yes", "--log", "log")
    with world.start("run", "job.jsonl", *words) as process:
        world.wait_for(lambda: len(world.sandbox.log) > 50)
        process.kill()
    left = served(world) - logged(world)
    assert not logged(world) - served(world)
    assert sum(left.values()) <= 8, "no more than was in flight"


@pytest.mark.parametrize("where", [".", "none/log"])
def test_a_log_that_cannot_be_opened_is_refused_before_anything_is_sent(
    world: World, where: str
) -> None:
    told = world.run_job("job.jsonl", "--log", where, status=2).stderr
    assert told.startswith(f"{where}: the log cannot be written: ")
    assert "name another file by --log" in told
    assert world.sandbox.log == []
    assert not (world.folder / "j").exists()


def test_nothing_is_added_to_a_file_that_is_no_log(world: World) -> None:
    world.call("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    before = (world.folder / "j").read_bytes()
    told = world.call("apply", "j", "--yes", "--log", "j", status=2).stderr
    assert told == "j is there and is no log; name another file by --log\n"
    assert (world.folder / "j").read_bytes() == before
    assert world.sandbox.writes() == []


def test_a_run_goes_on_without_a_log_that_cannot_be_written_any_more(world: World) -> None:
    world.write("full", "")
    os.remove(world.folder / "full")
    os.symlink("/dev/full", world.folder / "full")
    ended = world.run_job("job.jsonl", "--log", "full")
    assert ended.stderr.count("full: the log ends here: No space left on device") == 1
    assert world.books()["applied"] == world.books()["planned"]


def test_verbose_tells_the_same_on_stderr_and_nothing_of_it_on_stdout(world: World) -> None:
    ended = world.run_job("job.jsonl", "-v", "--log", "log", "--json")
    told = [
        line for line in ended.stderr.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d{3}Z ", line)
    ]
    assert len(told) == len(lines(world)) == len(world.sandbox.log)
    assert json.loads(ended.stdout)["applied"] > 0
    assert MARKER not in ended.stderr
    quiet = world.call("export", "--tenants", "tenants.json", "--to", "out").stderr
    assert "/api/v2" not in quiet


def test_a_short_line_leaves_out_what_is_as_always() -> None:
    assert as_text(SENT) == ("22:13:20.500Z t0: PATCH /api/v2/hooks/A 200, 49 left, for first/A")
    fields = {name: getattr(SENT, name) for name in SENT.__struct_fields__}
    broken = {"status": None, "tries": 2, "waited": 0.25, "remaining": None, "item": None}
    cut = Exchange(**(fields | broken | {"error": "the line was cut"}))
    assert as_text(cut) == (
        "22:13:20.500Z t0: PATCH /api/v2/hooks/A no answer, the line was cut, try 2, waited 0.25 s"
    )


async def test_a_request_that_nobody_waits_for_any_more_is_told_as_such() -> None:
    told: list[Exchange] = []
    arrived = anyio.Event()

    def answer(line: str) -> bytes:
        arrived.set()
        return b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"  # and never the rest

    async with raw_server(answer) as (url, _), Network.opened() as network:
        tenant = Tenant.with_token("t0", url, MARKER)
        client = ManagementClient(tenant, Limiter(Limits()), network, Stop(), 1, log=told.append)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.read, list_hooks(0))
            await arrived.wait()
            tasks.cancel_scope.cancel()
    assert [(each.status, each.error) for each in told] == [(None, "nobody waits for it any more")]


async def test_a_log_from_python_is_told_of_every_request(tmp_path: Path, make: Make) -> None:
    world = make(("t0",), hooks=3)
    tenants = {"t0": Tenant.with_token("t0", world.tenants["t0"]["base_url"], "sandbox")}
    told: list[Exchange] = []
    edit = {"tenant": "t0", "hooks": {"enabled": True}, "set": {"enabled": False}}
    await plan_job(Job.of("off", [edit]), tenants, tmp_path / "j", log=told.append)
    await apply_journal(tmp_path / "j", tenants, log=told.append)
    assert [each.method for each in told] == [seen.method for seen in world.sandbox.log]
