"""Items that are half done: whatever comes then, they end, are put back, or are gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulkhooks.auth0 import TRIES
from bulkhooks.errors import Stopped, Unsure
from bulkhooks.items import Reply, State
from bulkhooks.journal import Journal
from bulkhooks.lanes import Lanes
from bulkhooks.sandbox import Request, Sandbox
from engine import (
    NAMES,
    PRE,
    Answered,
    Clock,
    Core,
    Refusing,
    Undoing,
    calm,
    causes,
    for_t0,
    killed,
    on,
    one_on,
    run,
    state_of,
    work,
)

OTHER = "post-user-registration"
OFF = {"hook": "A", "set": {"enabled": False}}
ON = {"hook": "B", "set": {"enabled": True}}
NEW = {"name": "n", "triggerId": PRE, "script": "s"}
SECRET = {"set_secrets": {"K": "env:SECRET_ONE"}}


def enables_another(method: str, path: str, body: bytes) -> bool:
    return method == "PATCH" and b"true" in body and not path.endswith("/A")


# ---- a stop, and a lane that is given up


async def test_if_the_second_breaks_for_good_the_first_is_put_back_each_time(
    tmp_path: Path,
) -> None:
    core = Refusing(one_on(), tmp_path, enables_another, times=99, status=500)
    books = await work(tmp_path / "j", core, plan=for_t0(ON))
    for _ in range(2):
        assert books[State.FAILED] == 1
        assert causes(tmp_path / "j") == ["500 no; what was on before is on again"]
        assert on(core.sandbox) == "A"
        books = await work(tmp_path / "j", core, failed=True)
    core.times = 0
    assert (await work(tmp_path / "j", core, failed=True))[State.APPLIED] == 1
    assert on(core.sandbox) == "B"


async def test_what_is_forbidden_to_another_item_does_not_cut_a_swap(tmp_path: Path) -> None:
    begun, given_up = anyio.Event(), anyio.Event()

    async def answers(method: str, path: str, body: bytes) -> Reply | None:
        if method == "DELETE":
            await begun.wait()
            return Reply(status=403, body=b"{}")
        if method == "PATCH" and path.endswith("/A"):
            begun.set()
            await given_up.wait()
        return None

    async def watch(lanes: Lanes) -> None:
        with suppress(Stopped), lanes._lanes[0].stop.ends():
            await anyio.sleep_forever()
        given_up.set()

    core = Answered(one_on(), tmp_path, answers)
    job = for_t0(ON, {"hook": "C", "delete": True})
    books = await work(tmp_path / "j", core, plan=job, watch=watch)
    assert (books[State.APPLIED], books[State.FAILED]) == (1, 1)
    assert on(core.sandbox) == "B"


async def test_a_stop_while_the_second_is_in_doubt_lets_the_swap_end(tmp_path: Path) -> None:
    lost = anyio.Event()

    async def lose_one(method: str, path: str, body: bytes) -> None:
        if enables_another(method, path, body) and not lost.is_set():
            lost.set()
            raise Unsure("the line was cut")

    async def stop(lanes: Lanes) -> None:
        await lost.wait()
        lanes.stop()

    core = Answered(one_on(), tmp_path, lose_one)
    books = await work(tmp_path / "j", core, plan=for_t0(ON), watch=stop, settle=0.05)
    assert books[State.APPLIED] == 1
    assert on(core.sandbox) == "B"


@pytest.mark.parametrize("edit", [{"hook": "A", "delete": True}, {"hook": "A"} | SECRET])
async def test_what_was_answered_is_read_back_though_a_stop_came(
    tmp_path: Path, edit: dict[str, Any]
) -> None:
    running: list[Lanes] = []

    async def stop(method: str, path: str, body: bytes) -> None:
        if method in ("DELETE", "POST"):
            running[0].stop()

    async def watch(lanes: Lanes) -> None:
        running.append(lanes)

    core = Answered(one_on(), tmp_path, stop)
    books = await work(tmp_path / "j", core, plan=for_t0(edit), watch=watch)
    assert (books[State.APPLIED], books[State.UNCERTAIN]) == (1, 0)


# ---- what was put back, and is tried again


@pytest.mark.parametrize(
    "edit", [ON | SECRET, {"create": NEW | {"enabled": True}} | SECRET], ids=["secret", "create"]
)
async def test_a_swap_that_was_put_back_is_tried_again_and_undone_with_all_it_wrote(
    tmp_path: Path, edit: Mapping[str, Any]
) -> None:
    core = Refusing(one_on(), tmp_path, enables_another)
    was = state_of(core.sandbox)
    assert (await work(tmp_path / "j", core, plan=for_t0(edit)))[State.FAILED] == 1
    assert on(core.sandbox) == "A"
    assert (await work(tmp_path / "j", core, failed=True))[State.APPLIED] == 1
    assert on(core.sandbox) != "A"
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"))
    assert state_of(core.sandbox) == was


def test_what_drifted_when_it_was_half_done_is_gone_on_with_once_that_is_mended(
    tmp_path: Path,
) -> None:
    sandbox = one_on()
    core = Core(sandbox, tmp_path / "j", tmp_path / "copy", 4, True)
    job = for_t0({"hook": "B", "set": {"script": "new"}} | SECRET)
    assert killed(tmp_path / "j", core, plan=job)  # the script was written, the secret was not
    core = calm(sandbox, tmp_path)
    sandbox.set_secrets("t0", "B", {"K": "theirs"})
    for replan in (False, True):
        books = anyio.run(partial(work, tmp_path / "copy", core, replan=replan))
        assert books[State.SKIPPED] == 1
        assert sandbox.secrets_of("t0", "B") == {"K": "theirs"}
    sandbox._tenants["t0"].secrets.clear()
    assert anyio.run(lambda: work(tmp_path / "copy", core, replan=True))[State.APPLIED] == 1
    assert sandbox.secrets_of("t0", "B") == {"K": "one"}
    assert len(sandbox.writes()) == 2


# ---- what is held back by what failed before it


async def test_what_was_held_back_is_taken_up_with_what_held_it_back(tmp_path: Path) -> None:
    core = Refusing(one_on(), tmp_path, lambda method, path, body: method == "PATCH")
    books = await work(tmp_path / "j", core, plan=for_t0(OFF, ON))
    assert books[State.FAILED] == 2
    assert on(core.sandbox) == "A"
    assert (await work(tmp_path / "j", core, failed=True))[State.APPLIED] == 2
    assert on(core.sandbox) == "B"


@pytest.mark.parametrize("new", [NEW, NEW | {"name": "n B", "triggerId": OTHER}])
async def test_a_create_that_failed_holds_nothing_back(
    tmp_path: Path, new: Mapping[str, Any]
) -> None:
    core = Refusing(one_on(), tmp_path, lambda method, path, body: method == "POST")
    books = await work(tmp_path / "j", core, plan=for_t0({"create": new}, ON))
    assert (books[State.APPLIED], books[State.FAILED]) == (1, 1)
    assert on(core.sandbox) == "B"


# ---- writes of which no answer came


STOP = 0
THEN = [STOP, 400, 403, 500]


async def secret_in_doubt(folder: Path, then: int) -> Core:
    """A secret was set and the answer lost; when it was read back came a stop, or when it was to
    be set once more a refusal, or none of its tries was answered well."""
    lost = iter(["cut-after"])
    looked, stopped = anyio.Event(), anyio.Event()
    times = {STOP: 0, 500: TRIES - 1}.get(then, 1)
    refusals = repeat(Reply(status=then, body=b"{}"), times)

    def lose_one(request: Request) -> Any:
        return next(lost, None) if request.method == "POST" else None

    async def answers(method: str, path: str, body: bytes) -> Reply | None:
        if then == STOP and method == "GET" and sandbox.secrets_of("t0", "B"):
            looked.set()
            await stopped.wait()
        return next(refusals, None) if method == "PATCH" else None

    async def stop(lanes: Lanes) -> None:
        await looked.wait()
        lanes.stop()
        stopped.set()

    sandbox = one_on(fault=lose_one)
    core = Answered(sandbox, folder, answers)
    books = await work(folder / "j", core, plan=for_t0({"hook": "B"} | SECRET), watch=stop)
    assert books[State.UNCERTAIN] == 1
    assert sandbox.secrets_of("t0", "B") == {"K": "one"}
    return core


@pytest.mark.parametrize("then", THEN)
async def test_a_secret_in_doubt_is_gone_on_with(tmp_path: Path, then: int) -> None:
    core = await secret_in_doubt(tmp_path, then)
    with Journal.open(tmp_path / "j") as journal:
        assert not journal.untouched()
    assert (await work(tmp_path / "j", core))[State.APPLIED] == 1


@pytest.mark.parametrize("then", THEN)
async def test_a_secret_in_doubt_is_undone(tmp_path: Path, then: int) -> None:
    core = await secret_in_doubt(tmp_path, then)
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"))
    assert core.sandbox.secrets_of("t0", "B") == {}


async def test_a_hook_whose_making_was_not_answered_is_found_and_made_once(tmp_path: Path) -> None:
    lost = iter(["cut-after"])
    sandbox = one_on(fault=lambda request: next(lost, None) if request.method == "POST" else None)
    core, was = calm(sandbox, tmp_path), state_of(sandbox)
    job = for_t0({"create": NEW | {"enabled": True}} | SECRET)
    assert (await work(tmp_path / "j", core, plan=job))[State.APPLIED] == 1
    assert [seen.path for seen in sandbox.writes()].count("/api/v2/hooks") == 1
    await work(tmp_path / "undo", core, plan=Undoing(tmp_path / "j"))
    assert state_of(sandbox) == was


async def test_a_hook_that_somebody_deletes_first_is_gone_as_wanted(tmp_path: Path) -> None:
    sandbox = one_on()

    async def delete_first(method: str, path: str, body: bytes) -> None:
        if method == "DELETE":
            del sandbox._tenants["t0"].hooks["C"]

    core = Answered(sandbox, tmp_path, delete_first)
    books = await work(tmp_path / "j", core, plan=for_t0({"hook": "C", "delete": True}))
    assert books[State.APPLIED] == 1


# ---- a write without an answer


def test_others_go_on_beside_a_write_that_waits_for_its_answer(tmp_path: Path) -> None:
    clock, done = Clock(), list[tuple[str, float]]()

    async def slow_first(method: str, path: str, body: bytes) -> None:
        if method == "PATCH":
            if not done:
                done.append(("asked", clock()))
                await anyio.sleep(20)
            done.append((path.rpartition("/")[2], clock()))

    sandbox = Sandbox(NAMES, hooks=2)
    first, second = (hook["id"] for hook in sandbox.hooks_of("t0"))
    job = for_t0(*({"hook": id, "set": {"name": f"new-{id}"}} for id in (first, second)))
    books = run(tmp_path / "j", Answered(sandbox, tmp_path, slow_first, clock), plan=job)
    assert books[State.APPLIED] == 2
    (_, asked), (other, soon), (one, late) = done
    assert (other, one) == (second, first)
    assert 1 <= soon - asked < 2
    assert late - asked >= 20
