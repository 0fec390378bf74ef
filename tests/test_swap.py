"""Enabling a hook where another is on: one item of two steps, and always one of the two is on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest

from bulkhooks.items import Reply, State
from bulkhooks.journal import Journal
from bulkhooks.lanes import Lanes
from bulkhooks.sandbox import SecondEnable
from engine import Answered, Core, Undoing, calm, causes, for_t0, killed, on, one_on, work

MODES = get_args(SecondEnable)
SWAP = for_t0({"hook": "B", "set": {"enabled": True}})


def cause(journal: Path) -> str:
    (found,) = causes(journal)
    return found


class Meddled(Core):
    """The sandbox's core, but something happens right before B is to be enabled."""

    _asked: anyio.Event | None = None
    refused = False
    refuse = 0  #: how often B's write is answered with `status`
    status = 400
    dead = False  #: what is refused once is the token, and nothing is answered from then on
    undo_once = False  #: somebody disables B right after it was enabled
    then = ""  #: the hook that somebody else enables

    async def wait_for_off(self) -> None:
        """Wait until a hook is to be disabled; what asks for it is answered after that."""
        self._asked = anyio.Event()
        await self._asked.wait()

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if self.dead and self.refused:
            return Reply(status=401, body=b"{}"), {}
        if method == "PATCH" and url.endswith("/B") and b"true" in (body or b""):
            if self.then:
                await super().send("PATCH", url[:-1] + self.then, headers, b'{"enabled":true}')
                self.then = ""
            elif self.refuse:
                self.refuse -= 1
                self.refused = True
                return Reply(status=self.status, body=b'{"message": "no"}'), {}
            elif self.undo_once:
                self.undo_once = False
                answer = await super().send(method, url, headers, body)
                self.sandbox.change("t0", "B", enabled=False)
                return answer
        if method == "PATCH" and self._asked:
            self._asked.set()
            await anyio.lowlevel.checkpoint()
        return await super().send(method, url, headers, body)


def meddled(folder: Path, mode: SecondEnable = "conflict", **what: Any) -> Meddled:
    core = Meddled(one_on(second_enable=mode), folder / "j", folder / "none", 0, False)
    for name, value in what.items():
        setattr(core, name, value)
    return core


@pytest.mark.parametrize("mode", MODES)
def test_the_first_goes_off_then_the_second_on_and_both_are_read_back(
    tmp_path: Path, mode: SecondEnable
) -> None:
    core = meddled(tmp_path, mode)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert books[State.APPLIED] == 1
    assert on(core.sandbox) == "B"
    asked = [(seen.method, seen.path[-1]) for seen in core.sandbox.log[1:]]
    assert asked == [("PATCH", "A"), ("PATCH", "B"), ("GET", "A"), ("GET", "B")]


def test_if_the_second_is_refused_the_first_is_put_back(tmp_path: Path) -> None:
    core = meddled(tmp_path, refuse=1)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert books[State.FAILED] == 1
    assert on(core.sandbox) == "A"
    assert cause(tmp_path / "j") == "400 no; what was on before is on again"
    again = anyio.run(lambda: work(tmp_path / "j", core, failed=True))
    assert again[State.APPLIED] == 1
    assert on(core.sandbox) == "B"


@pytest.mark.parametrize(
    ("mode", "left"), [("conflict", "C"), ("bad_request", "C"), ("switch", "B")]
)
def test_what_somebody_enables_in_between_is_not_switched_off_by_putting_back(
    tmp_path: Path, mode: SecondEnable, left: str
) -> None:
    """A service that switches silently has switched it off for B; that is its own doing."""
    core = meddled(tmp_path, mode, then="C")
    anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert on(core.sandbox) == left
    if left == "C":
        assert "not put back: drifted: c of its trigger is enabled" in cause(tmp_path / "j")


def test_what_is_read_back_otherwise_is_put_back_and_can_be_tried_again(tmp_path: Path) -> None:
    core = meddled(tmp_path, undo_once=True)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert books[State.FAILED] == 1
    assert on(core.sandbox) == "A"
    assert cause(tmp_path / "j").startswith("read back: enabled is false, not true; ")
    assert anyio.run(lambda: work(tmp_path / "j", core, failed=True))[State.APPLIED] == 1
    assert on(core.sandbox) == "B"


def test_a_token_that_dies_between_the_two_leaves_it_for_the_next_apply(tmp_path: Path) -> None:
    core = meddled(tmp_path, refuse=1, status=401, dead=True)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert books[State.UNCERTAIN] == 1
    assert on(core.sandbox) == ""
    core.dead = False
    books = anyio.run(lambda: work(tmp_path / "j", core))
    assert books[State.APPLIED] == 1
    assert on(core.sandbox) == "B"


def test_if_the_second_is_deleted_meanwhile_the_first_is_put_back(tmp_path: Path) -> None:
    sandbox = one_on()

    async def delete_b(method: str, path: str, body: bytes) -> None:
        if method == "PATCH" and path.endswith("/B"):
            sandbox._tenants["t0"].hooks.pop("B", None)

    core = Answered(sandbox, tmp_path, delete_b)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert books[State.FAILED] == 1
    assert on(sandbox) == "A"


def test_if_the_second_has_drifted_the_first_is_not_touched(tmp_path: Path) -> None:
    core = calm(one_on(), tmp_path)
    guarded = for_t0({"hook": "B", "set": {"enabled": True}, "expect": {"name": "b"}})
    anyio.run(lambda: work(tmp_path / "j", core, plan=guarded, apply=False))
    core.sandbox.change("t0", "B", name="theirs")
    books = anyio.run(lambda: work(tmp_path / "j", core))
    assert books[State.SKIPPED] == 1
    assert cause(tmp_path / "j") == "drifted: name was b, is theirs"
    assert core.sandbox.writes() == []


def test_all_that_are_on_go_off_where_a_service_let_several_be_on(tmp_path: Path) -> None:
    core = calm(one_on(), tmp_path)
    core.sandbox.change("t0", "C", enabled=True)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert books[State.APPLIED] == 1
    assert on(core.sandbox) == "B"


def test_if_the_second_alone_is_forbidden_the_first_is_put_back(tmp_path: Path) -> None:
    core = meddled(tmp_path, refuse=1, status=403)
    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    assert books[State.FAILED] == 1
    assert on(core.sandbox) == "A"


def test_a_stop_lets_a_swap_that_has_begun_end(tmp_path: Path) -> None:
    core = meddled(tmp_path)

    async def stop(lanes: Lanes) -> None:
        await core.wait_for_off()
        lanes.stop()

    books = anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP, watch=stop))
    assert books[State.APPLIED] == 1
    assert on(core.sandbox) == "B"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("refuse", [0, 1])
def test_killed_at_any_request_of_it_apply_ends_with_exactly_one_on(
    mode: SecondEnable, refuse: int
) -> None:
    for at in range(1, 9):
        for after in (False, True):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                core = meddled(folder, mode, refuse=refuse)
                core.copy, core.at, core.after = folder / "copy", at, after
                begun = True
                if killed(folder / "j", core, plan=SWAP):
                    core.at = 0
                    with Journal.open(folder / "copy") as kept:
                        begun = not kept.untouched()
                    if begun:
                        assert not killed(folder / "copy", core)
                assert on(core.sandbox) == ("B" if begun and not refuse else "A")


def test_the_way_back_of_a_swap_is_a_swap_and_can_itself_be_undone(tmp_path: Path) -> None:
    core = meddled(tmp_path)
    anyio.run(lambda: work(tmp_path / "j", core, plan=SWAP))
    for number, left in ((1, "A"), (2, "B"), (3, "A")):
        done = tmp_path / ("j" if number == 1 else f"undo{number - 1}")
        undo = tmp_path / f"undo{number}"
        books = anyio.run(partial(work, undo, core, plan=Undoing(done)))
        assert books[State.APPLIED] == 1
        assert on(core.sandbox) == left


@pytest.mark.parametrize("mode", MODES)
def test_what_somebody_enables_while_the_process_is_dead_stays_on(
    tmp_path: Path, mode: SecondEnable
) -> None:
    core = meddled(tmp_path, mode)
    core.copy, core.at = tmp_path / "copy", 3  # the request that enables B
    assert killed(tmp_path / "j", core, plan=SWAP)
    core.sandbox.change("t0", "C", enabled=True)
    core.at = 0
    anyio.run(lambda: work(tmp_path / "copy", core))
    assert on(core.sandbox) == "C"
    assert "drifted: c of its trigger is enabled" in cause(tmp_path / "copy")
