"""Servers that answer bytes, for what no sandbox would say."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def raw_server(
    answer: Callable[[str], bytes | None],
    *,
    tls: ssl.SSLContext | None = None,
    close: bool = False,
    heads: list[str] | None = None,
) -> AsyncIterator[tuple[str, Counter[str]]]:
    """A server that answers bytes by request line, or cuts the line; counts what it was asked.

    With `close` it hangs up after an answer; `heads` collects the lines of requests' heads.
    """
    asked: Counter[str] = Counter()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode(errors="replace").strip():
                length = 0
                while (header := (await reader.readline()).decode(errors="replace").strip()) != "":
                    if heads is not None:
                        heads.append(header)
                    if header.lower().startswith("content-length:"):
                        length = int(header.split(":")[1])
                await reader.readexactly(length)
                asked[line.split()[0]] += 1
                content = answer(line)
                if content is None:
                    break
                writer.write(content)
                await writer.drain()
                if close:
                    break
        finally:
            writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}/t0", asked


def http(status: int, body: bytes = b"{}", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
