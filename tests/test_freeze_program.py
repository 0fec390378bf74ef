"""A freeze by the program, over sockets: killed, run again, and told."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine import TRIGGERS
from world import Make, World

#: Seconds from now on until the window opens, and how long it is at least.
OPENS, LASTS = 2, 20


def freeze_of(world: World, opens: float = OPENS, lasts: float = LASTS) -> None:
    """Write a freeze of all hooks that are on, and all actions that are bound."""
    now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    start = now + timedelta(seconds=opens)
    end = start + timedelta(seconds=lasts)
    job = {
        "name": "freeze",
        "window": {"start": start.isoformat(), "end": end.isoformat(), "timezone": "UTC"},
        "during": "window",
        "edits": [
            {"tenants": "*", "hooks": {"enabled": True}, "set": {"enabled": False}},
            {"tenants": "*", "actions": {"bound": True}, "set": {"bound": False}},
        ],
    }
    world.write("job.json", job)


def lasts_here(world: World) -> int:
    """How long a window must be for a few starts of the program, as slow as the machine is now."""
    began = time.monotonic()
    world.call("schema", "job")
    return max(LASTS, math.ceil(40 * (time.monotonic() - began)))


def switches(world: World) -> list[Any]:
    """What is on, of hooks and of actions in their order."""
    return [
        (
            [hook["id"] for hook in world.sandbox.hooks_of(name) if hook["enabled"]],
            [world.sandbox.bindings_of(name, trigger) for trigger in TRIGGERS],
        )
        for name in world.tenants
    ]


def all_off(world: World) -> bool:
    return not any(hooks or any(lists) for hooks, lists in switches(world))


def killed_after(world: World, writes: int) -> None:
    """Kill a run when so many writes have come, if it has not ended by then."""
    with world.start_job("job.json") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) >= writes or process.poll() is not None)
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_three_times_all_is_on_again(make: Make) -> None:
    world = make(("t0", "t1"), hooks=10, actions=4)
    was = switches(world)
    every = sum(len(hooks) + sum(map(len, lists)) for hooks, lists in was)
    freeze_of(world, lasts=lasts_here(world))
    for writes in (1, every, every + 1):
        killed_after(world, writes)
    with world.start_job("job.json") as process:
        told, err = process.communicate()
    assert process.returncode in (0, 1), (
        err
    )  # where the machine is slow, items are left when it is over
    assert switches(world) == was
    assert told.startswith("put back on ")
    books = world.books("j.putback")
    assert books["freeze"]["state"] == "put back"
    assert not books["pending"] + books["failed"] + books["uncertain"] + books["skipped"]
    seen = len(world.sandbox.log)
    with world.start_job("job.json") as process:
        _, err = process.communicate()
    assert "nothing sent; put back on " in err
    assert len(world.sandbox.log) == seen


def test_a_stop_says_what_is_off_and_undo_puts_it_back_now(make: Make) -> None:
    world = make(("t0",), hooks=10, actions=4)
    was = switches(world)
    freeze_of(world, opens=0, lasts=3600)
    with world.start_job("job.json") as process:
        world.wait_for(lambda: all_off(world))
        process.terminate()
        out, err = process.communicate()
    assert process.returncode == 5, err
    assert out.startswith("NOT put back yet: ")
    assert "hooks are still off, " in out.splitlines()[0]
    assert "`bulkhooks apply j` puts it back by then, or at once if that is past" in out
    status = world.call("status", "j").stdout
    assert status.splitlines()[0] == out.splitlines()[0]
    back = world.call("undo", "j", "--tenants", "tenants.json", "--yes").stdout
    assert back.startswith("put back on ")
    assert switches(world) == was
