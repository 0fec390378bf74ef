"""One tenant's trouble: it stops that tenant at most, once, with one cause; and no longer than it
must. All but the last in virtual time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bulkhooks.items import Reply
from bulkhooks.lane import LaneView
from bulkhooks.report import Summary
from bulkhooks.sandbox import Request, Sandbox
from bulkhooks.sandbox.buckets import Bucket
from bulkhooks.sandbox.pretend import Gone
from bulkhooks.tally import Cause
from engine import EPOCH
from storm import Edit, Storm, in_virtual_time, tenants_at, weathered
from world import Make

BOTH = ["t0", "t1"]
NO_HEADERS: Mapping[str, str] = {}
WANTED = {"dependencies": {"axios": "9.9.9"}}


def on_all(sandbox: Sandbox, names: list[str], change: Edit) -> Storm:
    """The same edit on every hook of every tenant."""
    edits = [
        {"tenant": name, "hook": hook["id"], **change}
        for name in names
        for hook in sandbox.hooks_of(name)
    ]
    return Storm.given(edits, names, sandbox)


def is_write(request: Request) -> bool:
    return request.method != "GET" and request.path != "/oauth/token"


def refusing(tenant: str, status: int) -> Callable[[Request], Any]:
    """Every write to a tenant gets this status."""

    def answer(request: Request) -> Any:
        if request.tenant == tenant and is_write(request):
            return Reply(status=status, body=b'{"message": "down"}'), NO_HEADERS
        return None

    return answer


class Onlooker:
    """What each tenant waited for, and for how long at most it was said to; what was done when."""

    def __init__(self) -> None:
        self.waits: dict[str, dict[str, float]] = {}
        self.done: dict[str, dict[float, int]] = {}

    def __call__(self, views: list[LaneView]) -> None:
        now = asyncio.get_running_loop().time()
        for view in views:
            self.done.setdefault(view.tenant, {})[now] = view.done
            if view.waiting:
                reason, seconds = view.waiting
                mine = self.waits.setdefault(view.tenant, {})
                mine[reason] = max(mine.get(reason, 0.0), seconds)


def timed(work: Callable[[], Any]) -> tuple[Summary, float]:
    """What some work came to, and how many seconds it took."""

    async def run() -> tuple[Summary, float]:
        told = await work()
        return told, asyncio.get_running_loop().time() - 1000

    found: tuple[Summary, float] = in_virtual_time(run)
    return found


# ---- 429s


@pytest.mark.parametrize(
    ("after", "longer"),
    [
        (str(365 * 86_400), True),
        ("1e308", True),
        (formatdate(EPOCH + 1e8, usegmt=True), True),
        ("-1", False),
        (formatdate(EPOCH - 1e8, usegmt=True), False),
        ("soon", False),
    ],
    ids=["a year", "for ever", "a date to come", "below zero", "a date gone by", "no time"],
)
def test_whatever_a_429_asks_for_a_lane_waits_5_minutes_at_most(
    tmp_path: Path, after: str, longer: bool
) -> None:
    asked = [after]

    def answer(request: Request) -> Any:
        if is_write(request) and asked:
            return Reply(status=429, body=b"{}"), {"retry-after": asked.pop()}
        return None

    storm, look = on_all(Sandbox(["t0"], hooks=3), ["t0"], {"set": WANTED}), Onlooker()
    told, took = timed(lambda: weathered(storm, tmp_path / "j", watch=look, instead=answer))
    assert told.books.applied == 3
    assert (took > 299) is longer
    assert took < 310
    waits = look.waits.get("t0", {})
    assert ("throttled, and asked for longer" in waits) is longer


def test_a_tenant_that_answers_nothing_but_429_is_given_up_after_5_minutes(tmp_path: Path) -> None:
    storm = on_all(Sandbox(BOTH, hooks=10), BOTH, {"set": WANTED})
    answer = refusing("t0", 429)
    told, took = timed(lambda: weathered(storm, tmp_path / "j", instead=answer))
    assert (told.books.applied, told.books.failed) == (10, 10)
    [cause] = told.causes
    assert (cause.cause, cause.tenants) == ("others use the limit", ("t0",))
    assert 299 < took < 602


# ---- writes that break


def test_a_tenant_whose_writes_break_is_set_aside_tried_once_more_and_given_up(
    tmp_path: Path,
) -> None:
    storm, look = on_all(Sandbox(BOTH, hooks=20), BOTH, {"set": WANTED}), Onlooker()
    sent = Counter[str]()

    def answer(request: Request) -> Any:
        sent[request.tenant] += is_write(request)
        return refusing("t0", 500)(request)

    told, took = timed(lambda: weathered(storm, tmp_path / "j", watch=look, instead=answer))
    mine = told.tenants["t0"].books
    assert told.tenants["t1"].books.applied == 20
    assert mine.failed == 20
    assert {cause.cause for cause in told.causes} == {"500 down"}
    assert all("apply --failed" in cause.hint for cause in told.causes)
    # Five and those in flight with them, each tried again after it was read back, and one more.
    assert sent["t0"] <= 5 + 7 + 1
    [reason] = [reason for reason in look.waits["t0"] if "set aside" in reason]
    assert reason == "set aside, its requests break: 500 down"
    assert 50 < look.waits["t0"][reason] <= 60
    assert 60 < took < 120


def test_a_tenant_that_works_again_when_it_is_tried_once_more_goes_on(tmp_path: Path) -> None:
    storm, look = on_all(Sandbox(BOTH, hooks=20), BOTH, {"set": WANTED}), Onlooker()

    def answer(request: Request) -> Any:
        down = asyncio.get_running_loop().time() < 1040
        return refusing("t0", 503)(request) if down else None

    told, took = timed(lambda: weathered(storm, tmp_path / "j", watch=look, instead=answer))
    assert told.books.applied == 40
    assert 60 < took < 120
    # The other tenant was done with long before.
    assert max(at for at, done in look.done["t1"].items() if done < 20) < 1010


def test_a_tenant_that_is_down_for_half_a_minute_is_waited_for(tmp_path: Path) -> None:
    """Its reads break as well: that alone does not give it up."""
    storm = on_all(Sandbox(BOTH, hooks=20), BOTH, {"set": WANTED})
    wrote = Counter[str]()

    def answer(request: Request) -> Any:
        wrote[request.tenant] += is_write(request)
        down = wrote["t0"] and asyncio.get_running_loop().time() < 1030
        return (Reply(status=503, body=b""), NO_HEADERS) if down else None

    told, _ = timed(lambda: weathered(storm, tmp_path / "j", instead=answer))
    assert told.books.failed == 0
    assert told.tenants["t0"].books.applied >= 10
    told, _ = timed(lambda: weathered(storm, tmp_path / "j", plan=False))
    assert told.books.applied == 40


def test_a_hook_that_cannot_be_read_back_is_in_doubt_alone(tmp_path: Path) -> None:
    slow = Bucket(burst=10, rate=2)  # others are still to be written when it is found out
    storm = on_all(Sandbox(["t0"], hooks=80, bucket=slow), ["t0"], {"set": WANTED})
    poor = storm.edits[4]["hook"]

    def answer(request: Request) -> Any:
        if request.path.endswith(poor):
            return Reply(status=500, body=b""), NO_HEADERS
        return None

    told, _ = timed(lambda: weathered(storm, tmp_path / "j", instead=answer))
    assert (told.books.applied, told.books.uncertain) == (79, 1)


# ---- tokens


@pytest.mark.parametrize("times", [1, 99], ids=["once", "for ever"])
def test_a_token_that_is_refused_is_renewed_once(tmp_path: Path, times: int) -> None:
    refusals = [401] * times
    storm = on_all(Sandbox(["t0"], hooks=1), ["t0"], {"set": WANTED})

    def answer(request: Request) -> Any:
        refused = is_write(request) and refusals
        return (Reply(status=refusals.pop(), body=b"{}"), NO_HEADERS) if refused else None

    told, _ = timed(lambda: weathered(storm, tmp_path / "j", instead=answer))
    asked = [seen for seen in storm.sandbox.log if seen.path == "/oauth/token"]
    assert len(asked) == 2
    assert told.books.applied == (times == 1)


# ---- hooks at their end


def test_what_read_only_hooks_refuse_fails_alone_and_is_not_sent_on_and_on(tmp_path: Path) -> None:
    sandbox = Sandbox(["t0"], hooks=40, lifecycle="read-only")
    hooks = sandbox.hooks_of("t0")
    edits: list[Edit] = [{"hook": hook["id"], "set": WANTED} for hook in hooks[5:]]
    edits += [{"hook": hook["id"], "set": {"enabled": False}} for hook in hooks[:5]]
    edits += [{"hook": hook["id"], "set_secrets": {"A": "env:SECRET_ONE"}} for hook in hooks[5:10]]
    edits += [{"create": {"name": "new", "triggerId": hooks[0]["triggerId"], "script": "1"}}]
    storm = Storm.given([{"tenant": "t0", **edit} for edit in edits], ["t0"], sandbox)

    told, _ = timed(lambda: weathered(storm, tmp_path / "j"))
    assert (told.books.applied, told.books.failed) == (10, 36)
    [cause] = told.causes
    assert "deprecated feature" in cause.cause
    assert "hooks are read-only here" in cause.hint
    refused = [seen for seen in sandbox.log if seen.status == 403]
    assert 1 <= len(refused) <= 8  # as many as may be in flight


@pytest.mark.parametrize("status", [403, 404, 410, 501])
@pytest.mark.parametrize("when", ["before the plan", "after it"])
def test_where_hooks_are_gone_each_tenant_stops_once(
    tmp_path: Path, status: Gone, when: str
) -> None:
    sandbox = Sandbox(BOTH, hooks=10, gone=status)
    storm = on_all(sandbox, BOTH, {"set": {"enabled": False}})
    if when == "after it":
        timed(lambda: weathered(storm, tmp_path / "j", apply=False))
    for tenant in sandbox._tenants.values():
        tenant._rules = replace(tenant._rules, lifecycle="gone")
    before = len(sandbox.log)

    told, _ = timed(lambda: weathered(storm, tmp_path / "j", plan=when != "after it"))
    assert told.books.failed + told.books.unchanged == 20
    assert {cause.tenants for cause in told.causes} == {("t0", "t1")}
    [cause] = told.causes
    assert cause.cause.startswith(str(status))
    assert "bulkhooks migrate" in cause.hint
    asked = Counter(seen.tenant for seen in sandbox.log[before:] if seen.status == status)
    assert asked == {"t0": 1, "t1": 1}


# ---- what is known before anything is sent


def planned(storm: Storm, path: Path, **more: Any) -> list[Cause]:
    """Why items failed as they were planned; nothing was sent for them."""
    told, _ = timed(lambda: weathered(storm, path, **more))
    assert {seen.status for seen in storm.sandbox.log} == {200}
    assert len(storm.sandbox.writes()) == told.books.applied
    return list(told.causes)


def test_what_read_only_hooks_refuse_is_known_when_the_tenant_is_said_to_be(tmp_path: Path) -> None:
    sandbox = Sandbox(BOTH, hooks=10)
    storm = on_all(sandbox, BOTH, {"set": WANTED})
    at = tenants_at("https://x", BOTH)
    at["t0"] = replace(at["t0"], lifecycle="read-only")
    [cause] = planned(storm, tmp_path / "j", tenants=at)
    assert (cause.count, cause.tenants) == (10, ("t0",))
    assert cause.cause == "hooks are read-only here: dependencies cannot be written"
    assert "bulkhooks migrate" in cause.hint


def test_what_a_token_does_not_allow_is_known_before_it_is_sent(tmp_path: Path) -> None:
    sandbox = Sandbox(BOTH, hooks=10, scopes={"t0": ["read:hooks"]})
    storm = on_all(sandbox, BOTH, {"set": WANTED})
    [cause] = planned(storm, tmp_path / "j")
    assert (cause.count, cause.tenants) == (10, ("t0",))
    assert cause.cause == "its token lacks update:hooks"
    assert cause.hint == "grant update:hooks to client storm, then apply --failed"


# ---- files that may be open, over sockets


async def test_where_few_files_may_be_open_all_is_done_all_the_same(make: Make) -> None:
    names = tuple(f"t{number}" for number in range(100))
    world = make(names, hooks=2, latency=0.02)
    off = {"tenants": "*", "hooks": {"enabled": True}, "set": {"enabled": False}}
    world.write("job.json", {"name": "job", "edits": [off]})
    few = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "from bulkhooks.cli import main; main()"
    )
    words = ["run", "job.json", "--tenants", "tenants.json", "--journal", "j", "--yes"]
    run = partial(subprocess.run, cwd=world.folder, env=world.env, capture_output=True, text=True)
    child = await asyncio.to_thread(run, [sys.executable, "-c", few, *words])
    assert child.returncode == 0, child.stderr
    assert world.books()["applied"] == 200
