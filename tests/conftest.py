"""What all tests share: one loop, a state folder of their own, and pretend tenants over sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bulkhooks.sandbox import Sandbox
from world import NAMES, Make, World, served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts the program takes its time: it has a mark to be left out by."""
    for item in items:
        if "make" in getattr(item, "fixturenames", ()):
            item.add_marker("program")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks of tests stay among tests."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def world(names: tuple[str, ...] = NAMES, **more: Any) -> World:
            sandbox = Sandbox(names, **more)
            return World(tmp_path, sandbox, stack.enter_context(served(sandbox)), names)

        yield world
