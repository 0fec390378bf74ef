"""Headless Chromium, driven over its DevTools protocol: one page at a time, and all it complains
of."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_WORDS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--remote-debugging-port=0", "--hide-scrollbars", "about:blank"),
)


class Tab:
    """One page that is open."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: dict[str, asyncio.Event] = {}
        self.complaints: list[str] = []  #: of the console: errors, and what its policy refused
        self.requests: list[str] = []  #: the addresses that it asked for

    async def listen(self) -> None:
        """Hear what the browser says, until it ends."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self._heard(said["method"], said["params"])

    def _heard(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        if method in self._events:
            self._events[method].set()

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The browser's answer to a command of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        said = await answer
        assert "error" not in said, said
        return dict(said["result"])

    async def open(self, url: str) -> None:
        """Load a page, to its end."""
        loaded = self._events["Page.loadEventFired"] = asyncio.Event()
        await self.ask("Page.navigate", url=url)
        await loaded.wait()

    async def value(self, script: str) -> Any:
        """What an expression is in the page."""
        said = await self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def look(self, width: int, *, dark: bool = False) -> None:
        """Look at it in a window so wide, in the dark or in the light."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        await self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key of the keyboard."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = "keyDown" if text else "rawKeyDown"
        await self.ask("Input.dispatchKeyEvent", type=down, text=text, **named)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", **named)

    async def picture(self) -> bytes:
        """All of the page, as a PNG."""
        said = await self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(said["data"])


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    """A browser with a tab, that is gone afterwards."""
    assert CHROMIUM, "chromium is not there"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            *(CHROMIUM, f"--user-data-dir={folder}", *_WORDS),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with aiohttp.ClientSession() as session:
                assert process.stderr
                url = await _address(process.stderr, session)
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    tab = Tab(socket)
                    listening = asyncio.create_task(tab.listen())
                    for domain in ("Page", "Runtime", "Network", "Log"):
                        await tab.ask(f"{domain}.enable")
                    yield tab
                listening.cancel()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()


async def _address(said: asyncio.StreamReader, session: aiohttp.ClientSession) -> str:
    """Where the browser's only tab is driven from, once the browser has said its port."""
    async for line in said:
        if found := re.search(rb"ws://(127\.0\.0\.1:\d+)/", line):
            break
    else:
        raise AssertionError("the browser has ended")
    async with session.get(f"http://{found[1].decode()}/json/list") as answer:
        tabs = await answer.json()
    return str(next(each["webSocketDebuggerUrl"] for each in tabs if each["type"] == "page"))
