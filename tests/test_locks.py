"""Locks: one holder, who is named, and whose end frees them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bulkhooks.errors import Locked, Refused
from bulkhooks.locks import held, held_beside

HOLDER = """
import sys, time
from pathlib import Path
from bulkhooks.locks import held
with held(Path(sys.argv[1]), sys.argv[2:]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(path: Path, *names: str) -> subprocess.Popen[str]:
    """Another process that holds locks."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), *names], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_told_which_process_holds_what(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", "a", "b") as holder:
        with pytest.raises(Locked, match=f"b is in use by process {holder.pid}"):  # noqa: SIM117
            with held(tmp_path / "lock", ["b", "c"]):
                pass
        holder.kill()


def test_a_refused_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path, "b") as holder:
        with pytest.raises(Locked), held(path, ["a", "b", "c"]):
            pass
        with hold(path, "a", "c") as other:
            other.kill()
        holder.kill()


def test_the_lock_goes_with_its_killed_holder(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", "a") as holder:
        os.kill(holder.pid, signal.SIGKILL)
    with held(tmp_path / "lock", ["a"]):
        pass


def test_one_process_does_not_hold_a_lock_twice(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path, ["a"]), pytest.raises(Locked, match=str(os.getpid())), held(path, ["a"]):
        pass


def test_the_end_of_one_block_leaves_the_locks_of_another(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path, ["a"]):
        with held(path, ["b"]):
            pass
        code = "\n".join(
            [
                "import sys",
                "from pathlib import Path",
                "from bulkhooks.locks import held",
                "with held(Path(sys.argv[1]), ['a']): pass",
            ]
        )
        ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
        assert b"Locked" in ended.stderr


def test_a_lock_beside_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with held_beside(tmp_path / "j"):
        assert (tmp_path / "j.lock").exists()
        with pytest.raises(Locked, match=str(os.getpid())), held_beside(tmp_path / "j"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_one_lock_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "j").write_text("")
    (tmp_path / "k").symlink_to(tmp_path / "j")
    monkeypatch.chdir(tmp_path)
    with hold(tmp_path / "j.lock", "") as holder:
        for name in (Path("j"), tmp_path / "j", Path("k")):
            with pytest.raises(Locked, match=str(holder.pid)), held_beside(name):
                pass
        holder.kill()


def test_a_lock_file_that_was_removed_under_its_holder_is_no_lock(tmp_path: Path) -> None:
    with hold(tmp_path / "j.lock", "") as holder:
        with pytest.raises(Locked), held_beside(tmp_path / "j"):
            pass
        (tmp_path / "j.lock").unlink()
        with held_beside(tmp_path / "j"):
            pass
        holder.kill()


def test_a_lock_file_that_cannot_be_made_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(Refused, match="cannot make the lock file"),
        held(tmp_path / "file" / "x", []),
    ):
        pass
