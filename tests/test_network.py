"""Sockets: what is sent once, whom it goes to, and what is made of a line that breaks."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import resource
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
import trustme

from bulkhooks import Tenant
from bulkhooks.errors import Refused, TenantError, Unsure
from bulkhooks.gates import Deadlines, Gate, Stop
from bulkhooks.items import Reply
from bulkhooks.network import LONGEST_ANSWER, Network, NotSent, Sender, _why
from bulkhooks.tenants import Route
from raw import http, raw_server


@asynccontextmanager
async def way_to(base_url: str, **route: Any) -> AsyncIterator[Sender]:
    """The way to a tenant there."""
    tenant = Tenant.with_token("t0", base_url, "sandbox")
    async with Network.opened() as network:
        yield network.way_to(replace(tenant, route=Route(**route)))


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_a_request_on_a_kept_line_that_is_cut_is_not_sent_again(method: str) -> None:
    cut = False

    def answer(line: str) -> bytes | None:
        return None if cut else http(200, b'{"id": "A"}')

    async with raw_server(answer) as (url, asked), way_to(url) as network:
        for _ in range(2):  # the second one finds a kept connection
            await network.send("GET", url, {}, None)
        cut = True
        before = asked[method]
        with pytest.raises(Unsure, match="cut"):
            await network.send(method, url, {}, b"{}" if method != "GET" else None)
        await anyio.sleep(0.05)
        assert asked[method] == before + 1


async def test_what_is_no_answer_is_told_in_our_words() -> None:
    head = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    for said in ("marker\r\n\r\n", "HTTP/1.1 200 X\r\nmarker\r\n\r\n", f"{head}marker\r\nmarker"):
        async with raw_server(lambda line, said=said: said.encode(), close=True) as (url, _):  # type: ignore[misc]
            with pytest.raises(Unsure, match="cut before the answer: ") as told:
                await asked(url)
        assert "marker" not in str(told.value)


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """A server that takes requests and never answers."""
    lines: list[asyncio.StreamWriter] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for line in lines:
            line.close()
            await line.wait_closed()


async def test_a_request_that_takes_too_long_is_ended_and_unsure() -> None:
    async with silent_server() as url, way_to(url, request=0.05) as network:
        for _ in range(2):
            with pytest.raises(Unsure, match="no answer within"):
                await network.send("PATCH", url, {}, b"{}")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_a_cancellation_from_outside_is_no_missed_deadline() -> None:
    async with silent_server() as url, way_to(url) as network:
        with anyio.move_on_after(0.01) as scope:
            await network.send("PATCH", url, {}, b"{}")
        assert scope.cancelled_caught


@pytest.mark.parametrize("first", ["outside", "deadline"])
async def test_whoever_cancels_from_outside_goes_before_the_deadline(first: str) -> None:
    deadlines = Deadlines(60.0)

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        group = deadlines.begin(task)
        asyncio.get_running_loop().call_soon(cancel, task, group)
        try:
            await anyio.sleep(60)
        except asyncio.CancelledError:
            assert not deadlines.missed(task)
            raise
        finally:
            deadlines.end(task, group)

    def cancel(task: asyncio.Task[None], group: dict[asyncio.Task[None], int]) -> None:
        if first == "outside":
            task.cancel()
        deadlines._cancel(group)
        if first == "deadline":
            task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())


def all_of(error: type[BaseException]) -> set[type[BaseException]]:
    return {error}.union(*(all_of(below) for below in error.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(all_of(aiohttp.ClientError), key=str), ids=str)
async def test_no_error_of_the_library_below_slips_by(kind: type[aiohttp.ClientError]) -> None:
    bare: dict[str, Any] = {"__init__": lambda self: None, "__str__": lambda self: "x"}
    bare |= {"os_error": None, "status": 1}
    error: BaseException = type(kind.__name__, (kind,), bare)()

    class Session:
        def request(self, *words: Any, **more: Any) -> Any:
            raise error

    network = Network(Session(), 1)  # type: ignore[arg-type]
    way = network.way_to(Tenant.with_token("t0", "http://127.0.0.1", "token"))
    with pytest.raises((Unsure, NotSent, TenantError)):
        await way.send("GET", "http://127.0.0.1/", {}, None)
    assert isinstance(_why(OSError(111, "refused")), str)


# ---- bodies


async def asked(url: str, **route: Any) -> tuple[Reply, Mapping[str, str]]:
    """What one request gets."""
    async with way_to(url, **route) as way:
        return await way.send("GET", url, {}, None)


async def test_an_answer_that_is_packed_or_comes_in_pieces_is_whole() -> None:
    packed = http(200, gzip.compress(b'{"a": 1}'), "Content-Encoding: gzip\r\n")
    pieces = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    for raw, body in ((packed, b'{"a": 1}'), (pieces, b"[1,2]")):
        async with raw_server(lambda line, raw=raw: raw) as (url, _):  # type: ignore[misc]
            assert (await asked(url))[0].body == body


@pytest.mark.parametrize(
    "answer",
    [
        http(200, gzip.compress(b" " * (LONGEST_ANSWER + 1)), "Content-Encoding: gzip\r\n"),
        http(200, b"abc")[:-1],
        http(200, b"no gzip", "Content-Encoding: gzip\r\n"),
        b"nothing like HTTP\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\nabc",
    ],
    ids=["a bomb", "half", "not packed", "noise", "never so long"],
)
async def test_an_answer_that_is_not_whole_is_no_answer(answer: bytes) -> None:
    async with raw_server(lambda line: answer, close=True) as (url, _):
        with pytest.raises(Unsure):
            await asked(url)


# ---- TLS


@contextmanager
def certified(folder: Path, name: str = "127.0.0.1") -> Iterator[tuple[Path, Any]]:
    """A private CA's file, and what serves with a certificate of its."""
    import ssl

    ca = trustme.CA()
    file = folder / "ca.pem"
    ca.cert_pem.write_to_path(file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    yield file, context


async def test_a_private_ca_is_trusted_where_it_is_named_and_nowhere_else(tmp_path: Path) -> None:
    with certified(tmp_path) as (ca_file, context):
        async with raw_server(lambda line: http(200), tls=context) as (url, _):
            assert (await asked(url, ca_file=ca_file))[0].status == 200
            with pytest.raises(TenantError, match=r"not trusted.*ca_file"):
                await asked(url)


async def test_certificates_that_are_gone_stop_that_tenant_alone(tmp_path: Path) -> None:
    async with raw_server(lambda line: http(200)) as (url, _), Network.opened() as network:
        tenant = Tenant.with_token("t0", url, "token")
        gone = replace(tenant, route=Route(ca_file=tmp_path / "gone.pem"))
        with pytest.raises(TenantError, match=r"No such file.*correct its ca_file"):
            await network.way_to(gone).send("GET", url, {}, None)
        assert (await network.way_to(tenant).send("GET", url, {}, None))[0].status == 200


async def test_a_certificate_of_another_name_is_not_trusted(tmp_path: Path) -> None:
    with certified(tmp_path, "other.example") as (ca_file, context):
        async with raw_server(lambda line: http(200), tls=context) as (url, seen):
            with pytest.raises(TenantError, match="not trusted"):
                await asked(url, ca_file=ca_file)
        assert not seen


async def test_what_does_not_speak_tls_has_seen_nothing(tmp_path: Path) -> None:
    async with raw_server(lambda line: http(200)) as (url, seen):
        with pytest.raises(NotSent):
            await asked(url.replace("http:", "https:"), connect=0.5)
        assert not seen


# ---- proxies


@asynccontextmanager
async def proxy(status: int = 200) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that opens tunnels, or refuses to; and the heads of what it was asked."""
    heads: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"HTTP/1.1 {status} X\r\n\r\n".encode())
        if status == 200:
            host, port = heads[-1].split()[1].split(":")
            inner, out = await asyncio.open_connection(host, int(port))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pump, reader, out)
                tasks.start_soon(pump, inner, writer)
        writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def test_https_goes_through_the_proxy_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with certified(tmp_path) as (ca_file, context):
        async with (
            proxy() as (there, heads),
            raw_server(lambda _: http(200), tls=context) as (
                url,
                seen,
            ),
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3same@{there}")
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            assert (await asked(url, ca_file=ca_file))[0].status == 200
            assert len(heads) == 1
            assert "Proxy-Authorization: Basic dXNlcjpzM3NhbWU=" in heads[0]
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            assert (await asked(url, ca_file=ca_file))[0].status == 200
            assert len(heads) == 1
            assert seen == {"GET": 2}


async def test_a_proxy_that_refuses_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxy(407) as (there, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:s3same@{there}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(TenantError, match="the proxy answered 407: give the proxy") as told:
            await asked("https://t0.example/x")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:s3same@127.0.0.1:1")
    with pytest.raises(NotSent, match="to the proxy") as other:
        await asked("https://t0.example/x")
    assert "s3same" not in f"{told.value} {other.value}"


@pytest.mark.parametrize(
    ("known", "proof"),
    [
        ("user:word", b"user:word"),
        ("us%40er:w%3Aord", b"us@er:w:ord"),
        ("user", b"user:"),
        ("", b""),
    ],
)
async def test_what_a_proxy_is_shown_of_us_does_not_stand_in_its_url(
    monkeypatch: pytest.MonkeyPatch, known: str, proof: bytes
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{known}@proxy.example:3128" if known else "proxy.example")
    async with Network.opened() as network:
        kept = network._proxy
        assert kept.url == ("http://proxy.example:3128" if known else "http://proxy.example")
        shown = kept.headers.get("Proxy-Authorization", "Basic ").removeprefix("Basic ")
        assert base64.b64decode(shown) == proof
        assert "Basic" not in repr(kept)


async def test_a_proxy_that_is_none_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wrong in ("ftp://user:s3same@x", "http://user:s3same@", "http://x:s3same"):
        monkeypatch.setenv("HTTPS_PROXY", wrong)
        with pytest.raises(Refused, match="HTTPS_PROXY") as told:
            async with Network.opened():
                pass
        assert "s3same" not in str(told.value)


async def test_loopback_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with raw_server(lambda line: http(200)) as (url, _):
        assert (await asked(url))[0].status == 200


async def test_the_passwords_of_netrc_are_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    heads: list[str] = []
    async with raw_server(lambda line: http(200), heads=heads) as (url, _), way_to(url) as way:
        await way.send("GET", url, {"Authorization": "Bearer t"}, None)
    assert [head for head in heads if "authorization" in head.lower()] == [
        "Authorization: Bearer t"
    ]


# ---- files that may be open


@contextmanager
def files(most: int) -> Iterator[None]:
    """No more than so many files may be open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_requests_in_flight_shrink_to_the_files_that_may_be_open() -> None:
    with files(256):
        async with Network.opened(wanted=100) as network:
            assert network._session.connector is not None
            assert not network._session.connector.force_close
        async with Network.opened(wanted=1000) as network:
            assert network._session.connector is not None
            assert network._session.connector.force_close
            assert 8 < network.gate.places < 256


async def test_where_no_file_can_be_opened_fewer_requests_are_in_flight() -> None:
    class Session:
        def request(self, *words: Any, **more: Any) -> Any:
            key: Any = None
            raise aiohttp.ClientConnectorError(key, OSError(errno.EMFILE, "Too many open files"))

    network = Network(Session(), 9)  # type: ignore[arg-type]
    way = network.way_to(Tenant.with_token("t0", "http://127.0.0.1", "token"))
    left = []
    for _ in range(5):
        with pytest.raises(NotSent, match="Too many open files"):
            await way.send("GET", "http://127.0.0.1/", {}, None)
        left.append(network.gate.places)
    assert left == [5, 3, 2, 1, 1]


async def test_a_gate_that_narrows_takes_places_as_they_come_free() -> None:
    gate, stop = Gate(4), Stop()
    for _ in range(4):
        await gate.enter(stop)
    gate.narrow(4)
    entered = []

    async def enter() -> None:
        await gate.enter(stop)
        entered.append(1)

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(enter)
        await anyio.sleep(0.01)
        for expected in (0, 0, 1, 2):
            gate.leave()
            await anyio.sleep(0.01)
            assert len(entered) == expected
