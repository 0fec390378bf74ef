"""What can go wrong with a pretend tenant does, as often and in such a way as it is asked to."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import signal
import time
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import typer

from asking import BEARER, CREDENTIALS, NOW, ask, certified, hook_path, json, rate
from bulkhooks.sandbox import NoAnswer, Request, Sandbox, serve
from bulkhooks.sandbox.buckets import Bucket
from bulkhooks.sandbox.faults import FAULTS, Fault, Faults
from bulkhooks.sandbox_command import faults_in
from world import Make

HOOKS = "/api/v2/hooks"


def request_of(tenant: str) -> Request:
    return Request(tenant=tenant, method="GET", path=HOOKS, query={}, headers={}, body=b"")


def befall(faults: Faults, tenants: str) -> dict[str, list[Fault | None]]:
    """What befalls each tenant, asked in this order."""
    found: dict[str, list[Fault | None]] = {tenant: [] for tenant in tenants}
    for tenant in tenants:
        found[tenant].append(faults(request_of(tenant)))
    return found


def once(fault: Fault, times: int = 1) -> Any:
    """This fault for the first requests, and then none."""
    left = [fault] * times
    return lambda request: left.pop() if left else None


# The choice


def test_the_same_requests_go_wrong_in_every_run() -> None:
    rates: dict[Fault, float] = {"hang": 0.3, "half": 0.3}

    assert befall(Faults(1, rates), "a" * 50) == befall(Faults(1, rates), "a" * 50)
    assert befall(Faults(1, rates), "a" * 50) != befall(Faults(2, rates), "a" * 50)


def test_what_befalls_a_tenant_does_not_hang_on_the_others() -> None:
    rates: dict[Fault, float] = {"hang": 0.3, "half": 0.3}
    mixed = befall(Faults(1, rates), "ab" * 30)

    assert mixed == befall(Faults(1, rates), "b" * 30 + "a" * 30)
    assert mixed["a"] != mixed["b"]


def test_each_kind_befalls_its_share_of_the_requests() -> None:
    faults = Faults(7, {"storm": 0.0, "gzip": 0.2, "cut-before": 0.1})
    counts = Counter(befall(faults, "a" * 4000)["a"])

    assert counts.keys() == {"gzip", "cut-before", None}
    assert counts["gzip"] == pytest.approx(800, abs=100)
    assert counts["cut-before"] == pytest.approx(400, abs=80)


def test_all_requests_may_go_wrong_in_all_ways() -> None:
    faults = Faults(7, {kind: 1 / len(FAULTS) for kind in FAULTS})

    assert set(befall(faults, "a" * 500)["a"]) == set(FAULTS)
    assert set(befall(Faults(7, {"hang": 1.0}), "a" * 100)["a"]) == {"hang"}
    assert set(befall(Faults(7, {}), "a" * 100)["a"]) == {None}


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"hangs": 0.1}, "hangs.*there are.*hang,"),
        ({"hang": 1.1}, "shares"),
        ({"hang": -0.1}, "shares"),
        ({"hang": float("nan")}, "shares"),
        ({"hang": 0.6, "half": 0.6}, "together"),
    ],
)
def test_rates_that_cannot_be_are_refused(rates: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Faults(1, rates)


# No answer, or another one


@pytest.mark.parametrize(
    ("fault", "left", "status"),
    [("cut-before", True, 0), ("cut-after", False, 200), ("hang", False, 200)],
)
def test_a_request_without_an_answer_is_done_or_not(fault: Fault, left: bool, status: int) -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: fault)

    with pytest.raises(NoAnswer) as caught:
        ask(sandbox, "PATCH", hook_path(sandbox, "fraud-check"), {"enabled": False})
    assert caught.value.fault == fault
    assert sandbox.hooks_of("acme")[0]["enabled"] is left
    assert [seen.status for seen in sandbox.log] == [status]


@pytest.mark.parametrize(
    ("fault", "status"), [("error-500", 500), ("error-502", 502), ("error-503", 503)]
)
def test_a_server_error_does_nothing_and_takes_a_token(fault: Fault, status: int) -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=5, rate=1), fault=lambda request: fault)
    answer = ask(sandbox, "DELETE", hook_path(sandbox, "fraud-check"))

    assert rate(answer)[:3] == (status, 5, 4)
    assert answer.body == b"" if status == 502 else json(answer)["statusCode"] == status
    assert len(sandbox.hooks_of("acme")) == 25


def test_a_proxys_page_is_not_json_and_has_no_rate_headers() -> None:
    answer = ask(Sandbox(["acme"], fault=lambda request: "html"))

    assert (answer.status, answer.headers["Content-Type"]) == (502, "text/html")
    assert "x-ratelimit-limit" not in answer.headers


def test_a_redirect_leads_to_another_host_and_nothing_is_done() -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: "redirect", redirect_to="http://127.0.0.9:7")
    path = hook_path(sandbox, "fraud-check")
    answer = ask(sandbox, "DELETE", path)

    assert (answer.status, answer.headers["Location"]) == (302, f"http://127.0.0.9:7/acme{path}")
    assert len(sandbox.hooks_of("acme")) == 25
    assert [seen.status for seen in sandbox.log] == [302]


def bearer(sandbox: Sandbox) -> dict[str, str]:
    """The header of a token that was issued just now."""
    issued = json(ask(sandbox, "POST", "/oauth/token", CREDENTIALS))
    return {"authorization": f"Bearer {issued['access_token']}"}


def test_an_issued_token_is_good_no_more_after_an_unauthorized() -> None:
    sandbox = Sandbox(["acme"], fault=lambda r: "unauthorized" if r.method == "DELETE" else None)
    first, second = bearer(sandbox), bearer(sandbox)
    path = hook_path(sandbox, "fraud-check")
    refused = ask(sandbox, "DELETE", path, headers=first)

    assert (refused.status, json(refused)["errorCode"]) == (401, "invalid_token")
    assert len(sandbox.hooks_of("acme")) == 25
    assert ask(sandbox, headers=first).status == 401
    assert ask(sandbox, headers=second).status == 200


def test_a_fixed_token_and_a_token_request_are_never_unauthorized() -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: "unauthorized")

    assert [ask(sandbox).status for _ in range(2)] == [200, 200]
    assert ask(sandbox, "POST", "/oauth/token", CREDENTIALS).status == 200


def test_a_storm_refuses_this_and_all_of_the_tenants_for_3_seconds() -> None:
    sandbox = Sandbox(["acme", "b"], bucket=Bucket(burst=50, rate=16), fault=once("storm"))
    answers = [ask(sandbox, at=0.25) for _ in range(20)]
    answers.append(ask(sandbox, "POST", "/oauth/token", CREDENTIALS, at=0.25))

    assert ask(sandbox, tenant="b", at=0.25).status == 200
    assert [rate(answer)[0] for answer in answers] == [429] * 21
    assert {rate(answer)[2:] for answer in answers} == {(0, 1)}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    assert rate(ask(sandbox, at=3.25))[:3] == (200, 50, 49)
    assert sandbox.statistics()["acme"].throttled == 20
    assert sandbox.log[0].remaining == 0


def test_without_rate_headers_a_storm_says_when_to_come_back() -> None:
    answer = ask(Sandbox(["acme"], rate_headers=False, fault=once("storm")))

    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert not any(name.startswith("x-") for name in answer.headers)


def date_of(sandbox: Sandbox, tenant: str) -> float:
    return parsedate_to_datetime(ask(sandbox, tenant=tenant).headers["Date"]).timestamp()


def clock_told(sandbox: Sandbox, at: float = 0.0) -> tuple[float, float]:
    """How far Date is from true time, and how far reset is from Date."""
    answer = ask(sandbox, at=at)
    assert answer.status in (200, 429)
    date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    return date - NOW - at, int(answer.headers["x-ratelimit-reset"]) - date


@pytest.mark.parametrize("bucket", [None, Bucket(burst=50, rate=16)])
def test_a_clock_jumps_with_date_and_reset_and_stays_there(bucket: Bucket | None) -> None:
    sandbox = Sandbox(["acme", "b"], bucket=bucket, fault=once("clock-jump"))
    ahead, reset = clock_told(sandbox)

    assert 1 <= abs(ahead) <= 31
    assert 0 <= reset <= 2
    assert clock_told(sandbox, 5) == (ahead, reset)
    assert date_of(sandbox, "b") == NOW
    assert [seen.at - NOW for seen in sandbox.log] == [0, 5, 0]


def test_a_clock_jumps_forward_or_back_by_the_seed() -> None:
    def told(seed: int) -> list[float]:
        sandbox = Sandbox(["acme"], fault=Faults(seed, {"clock-jump": 1.0}))
        return [clock_told(sandbox)[0] for _ in range(5)]

    assert told(1) == told(1) != told(2)
    assert {ahead > 0 for seed in range(10) for ahead in told(seed)[:1]} == {True, False}


@pytest.mark.parametrize("seed", range(4))
def test_neither_bucket_nor_tokens_feel_a_jump_of_the_clock(seed: int) -> None:
    faults = Faults(seed, {"clock-jump": 1})
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=2, rate=1), fault=faults, token_lifetime=9)
    headers = bearer(sandbox)
    answers = [ask(sandbox, headers=headers, at=at) for at in (0, 0, 0, 1, 1, 8, 9)]

    assert [answer.status for answer in answers] == [200, 200, 429, 200, 429, 200, 401]


# An odd answer to what was done


@pytest.mark.parametrize("fault", ["half", "drip", "wrong-type", "gzip"])
def test_what_goes_wrong_with_the_answer_alone_is_done(fault: Fault) -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: fault)
    headers = BEARER | {"accept-encoding": "br, gzip;q=0.5"}
    path = hook_path(sandbox, "fraud-check")
    answer = ask(sandbox, "PATCH", path, {"enabled": False}, headers=headers)
    body = gzip.decompress(answer.body) if fault == "gzip" else answer.body

    assert answer.status == 200
    assert body == ask(Sandbox(["acme"]), "PATCH", path, {"enabled": False}).body
    assert answer.sending == (fault if fault in ("half", "drip") else "whole")
    assert answer.headers.get("Content-Encoding") == ("gzip" if fault == "gzip" else None)
    assert answer.headers["Content-Type"].startswith(
        "text/html" if fault == "wrong-type" else "application/json"
    )
    assert [seen.status for seen in sandbox.writes()] == [200]


@pytest.mark.parametrize("accepted", ["", "deflate, br", "gzip;q=0", "gzip; q=0.0, br"])
def test_no_answer_is_gzipped_that_must_not_be(accepted: str) -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: "gzip")
    answer = ask(sandbox, headers=BEARER | {"accept-encoding": accepted})

    assert len(json(answer)) == 25
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("fault", ["drip", "wrong-type", "gzip"])
def test_an_answer_without_a_body_stays_as_it_is(fault: Fault) -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: fault)
    headers = BEARER | {"accept-encoding": "gzip"}
    answer = ask(sandbox, "DELETE", hook_path(sandbox, "fraud-check"), headers=headers)

    assert (answer.status, answer.body, answer.sending) == (204, b"", "whole")
    assert answer.headers.keys().isdisjoint({"Content-Type", "Content-Encoding"})


# Over sockets


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("fault", ["cut-before", "cut-after"])
async def test_a_cut_line_is_an_error_at_the_client(fault: Fault, secure: bool) -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: fault)
    path = hook_path(sandbox, "fraud-check")
    server, client = certified()
    async with (
        serve(sandbox, tls=server if secure else None) as url,
        aiohttp.ClientSession(headers=BEARER) as session,
    ):
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.patch(f"{url}/acme{path}", json={"enabled": False}, ssl=client)
    assert len(sandbox.writes()) == (fault == "cut-after")


async def test_a_hanging_request_is_done_and_holds_neither_client_nor_server() -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: "hang")
    path = hook_path(sandbox, "fraud-check")
    timeout = aiohttp.ClientTimeout(total=0.2)
    async with aiohttp.ClientSession(headers=BEARER) as session:
        async with serve(sandbox) as url:
            with pytest.raises(TimeoutError):
                await session.patch(f"{url}/acme{path}", json={"enabled": False}, timeout=timeout)
            hanging = asyncio.ensure_future(session.get(f"{url}/acme/api/v2/hooks"))
            await asyncio.sleep(0.1)
            before = time.monotonic()
        assert time.monotonic() - before < 30
        with pytest.raises(aiohttp.ClientConnectionError):
            await hanging
    assert [seen.status for seen in sandbox.log] == [200, 200]


@pytest.mark.parametrize("secure", [False, True])
async def test_half_an_answer_comes_and_then_the_line_is_cut(secure: bool) -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: "half")
    whole = ask(Sandbox(["acme"])).body
    server, client = certified()
    async with (
        serve(sandbox, tls=server if secure else None) as url,
        aiohttp.ClientSession(headers=BEARER) as session,
    ):
        answer = await session.get(f"{url}/acme{HOOKS}", ssl=client)
        assert answer.content_length == len(whole)
        assert await answer.content.readexactly(len(whole) // 2) == whole[: len(whole) // 2]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
        path = hook_path(sandbox, "fraud-check")
        session._retry_connection = False  # aiohttp sends a DELETE again where the line was cut
        with pytest.raises(aiohttp.ClientConnectionError):  # no body: nothing to halve
            await session.delete(f"{url}/acme{path}", ssl=client)
    assert [seen.status for seen in sandbox.log] == [200, 204]


async def test_an_answer_drips_in_whole() -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: "drip", drip=0.05)
    async with (
        serve(sandbox) as url,
        aiohttp.ClientSession(headers=BEARER) as session,
        session.get(f"{url}/acme{HOOKS}") as answer,
    ):
        pieces = [piece async for piece in answer.content.iter_any()]
    assert len(pieces) > 1
    assert b"".join(pieces) == ask(Sandbox(["acme"])).body


async def test_an_answer_that_drips_holds_neither_client_nor_server() -> None:
    sandbox = Sandbox(["acme"], fault=lambda request: "drip", drip=3600)
    async with aiohttp.ClientSession(headers=BEARER) as session:
        async with serve(sandbox) as url:
            left = await session.get(f"{url}/acme{HOOKS}")
            left.close()
            held = await session.get(f"{url}/acme{HOOKS}")
            reading = asyncio.ensure_future(held.read())
            await asyncio.sleep(0)
        with pytest.raises(aiohttp.ClientPayloadError):
            await reading


async def test_an_odd_answer_is_read_by_whoever_looks_at_it_closely() -> None:
    odd: list[Fault] = ["gzip", "wrong-type"]
    sandbox = Sandbox(["acme"], fault=lambda request: odd.pop())
    async with serve(sandbox) as url, aiohttp.ClientSession(headers=BEARER) as session:
        async with session.get(f"{url}/acme{HOOKS}") as answer:
            assert answer.content_type == "text/html"
            assert len(await answer.json(content_type=None)) == 25
        async with session.get(f"{url}/acme{HOOKS}") as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert len(await answer.json()) == 25


async def test_whatever_goes_wrong_the_log_has_every_request() -> None:
    kinds = [kind for kind in FAULTS if kind not in ("hang", "storm")]
    faults = Faults(3, {kind: 1 / len(kinds) for kind in kinds})
    sandbox = Sandbox(["acme"], fault=faults, drip=0.02)
    ended = Counter[str]()
    async with serve(sandbox) as url, aiohttp.ClientSession(headers=BEARER) as session:
        session._retry_connection = False  # aiohttp sends a GET again where the line was cut
        for _ in range(150):
            try:
                async with session.get(f"{url}/acme{HOOKS}", allow_redirects=False) as answer:
                    await answer.read()
                    ended[str(answer.status)] += 1
            except aiohttp.ClientError as error:
                ended[type(error).__name__] += 1
    assert len(sandbox.log) == sum(ended.values()) == 150
    assert {"200", "302", "500", "502", "503"} < ended.keys()
    assert {"ClientPayloadError", "ServerDisconnectedError"} & ended.keys()


# The command


def test_the_command_serves_what_goes_wrong_and_a_lifecycle(make: Make) -> None:
    words = ("--port", "0", "--faults", "wrong-type=100%", "--seed", "3", "--lifecycle", "gone")
    with make(("t0",)).start("sandbox", *words) as process:
        assert process.stdout is not None
        at = urlsplit(process.stdout.readline().strip())
        line = http.client.HTTPConnection(at.netloc, timeout=30)
        line.request("GET", f"{at.path}{HOOKS}", headers=BEARER)
        answer = line.getresponse()
        said = answer.read().decode()
        line.close()
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert (answer.status, answer.headers["Content-Type"]) == (403, "text/html")
    assert "disabled for your tenant" in said


@pytest.mark.parametrize(
    ("written", "rates"),
    [
        ("15%", dict.fromkeys(FAULTS, 0.01)),
        ("hang=1%,error-500=2.5%", {"hang": 0.01, "error-500": 0.025}),
        ("hang=60%, half=40%", {"hang": 0.6, "half": 0.4}),
    ],
)
def test_the_command_takes_one_share_or_one_of_each_kind(
    written: str, rates: dict[Fault, float]
) -> None:
    asked = "a" * 500

    assert befall(faults_in(written, 5), asked) == befall(Faults(5, rates), asked)


@pytest.mark.parametrize(
    "written",
    ["", "10", "101%", "x%", "nan%", "hang", "hangs=1%", "hang=1", "hang=1%,hang=1%", "hang=1%,"],
)
def test_the_command_refuses_faults_that_are_written_otherwise(written: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"a share such as 10%.*; kinds are "):
        faults_in(written, 5)
