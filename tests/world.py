"""A whole small world for tests: pretend tenants over sockets, their file, and the program."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from bulkhooks.sandbox import Sandbox, serve


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """The sandbox on loopback, in a thread of its own; its URL."""
    ready: list[tuple[str, Callable[[], object]]] = []
    started = threading.Event()

    async def main() -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with serve(sandbox) as url:
            ready.append((url, lambda: loop.call_soon_threadsafe(over.set)))
            started.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    started.wait(10)
    url, end = ready[0]
    try:
        yield url
    finally:
        end()
        thread.join()


class World:
    """A folder with a tenants file for a served sandbox, and the program to run in it."""

    def __init__(self, folder: Path, sandbox: Sandbox, url: str, names: Iterable[str]) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.tenants: dict[str, dict[str, Any]] = {
            name: {"base_url": f"{url}/{name}", "token": "env:TOKEN"} for name in names
        }
        self.program = [sys.executable, "-m", "bulkhooks"]
        self.env = os.environ | {"TOKEN": "sandbox", "BAD_TOKEN": "wrong", "NO_COLOR": "1"}
        self.write_tenants()

    def write_tenants(self) -> None:
        """Write the tenants file as it now is."""
        (self.folder / "tenants.json").write_text(json.dumps({"tenants": self.tenants}))

    def write(self, name: str, content: Any) -> Path:
        """Write a job: text as it is, a list as JSON Lines, a mapping as JSON."""
        if isinstance(content, list):
            content = "".join(json.dumps(edit) + "\n" for edit in content)
        elif not isinstance(content, str):
            content = json.dumps(content)
        path = self.folder / name
        path.write_text(content)
        return path

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """The program, started; `more` is said to the system."""
        return subprocess.Popen(
            [*self.program, *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def call(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """The program, run to its end, which must be `status`."""
        with self.start(*words) as process:
            out, err = process.communicate()
        assert process.returncode == status, f"{process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def run_job(self, job: str, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """`run JOB` as a script would."""
        fixed = ("--tenants", "tenants.json", "--journal", "j", "--yes")
        return self.call("run", job, *fixed, *words, status=status)

    def start_job(self, job: str) -> subprocess.Popen[str]:
        """`run JOB` as a script would, started."""
        return self.start("run", job, "--tenants", "tenants.json", "--journal", "j", "--yes")

    def books(self, journal: str = "j") -> dict[str, Any]:
        """`status --json`, looked over: the books balance, for each tenant and in total."""
        books = json.loads(self.call("status", journal, "--json").stdout)
        for each in (books, *books["tenants"].values()):
            assert each["planned"] == sum(each[state] for state in STATES)
        for state in ("planned", *STATES):
            assert books[state] == sum(each[state] for each in books["tenants"].values())
        return dict(books)

    def ids(self, tenant: str) -> list[str]:
        """The ids of a tenant's hooks."""
        return [hook["id"] for hook in self.sandbox.hooks_of(tenant)]

    def wait_for(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of the world."""
        for _ in range(40_000):
            if true():
                return
            time.sleep(0.005)
        raise AssertionError("it never came true")


#: Makes a world of so many tenants; the rest is said to the sandbox.
Make: TypeAlias = Callable[..., World]
NAMES = ("t0", "t1", "t2", "t3", "t4")
STATES = ("applied", "unchanged", "failed", "skipped", "uncertain", "pending")
