"""How close to each tenant's limit, and how few 429s: real time, every server a process of its own.

`python -m benchmarks.pacing` prints a table and writes pacing.json and pacing.svg (matplotlib, of
the extra `bench`) beside this file. It takes about three minutes, most of it the peer's.

The least possible time is what a client could reach that knew the bucket exactly. The span is the
server's, from the first request to the last answer, less one second.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio

from benchmarks.loopback import UVLOOP, Served, served, write_json
from bulkhooks import Job, Limits, Tenant
from bulkhooks.journal import Journal
from bulkhooks.lanes import Lanes
from bulkhooks.plan import stage

HEADERS = {"Authorization": "Bearer sandbox", "Content-Type": "application/json"}
LATENCY = 0.03  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One server, and how much is written there."""

    name: str
    burst: int
    rate: float
    writes: int
    at_most: float
    per: float = 1.0
    refill: str = "drip"
    neighbour: float = 0.0  #: requests a second of others
    ahead: float = 0.0  #: seconds that the server's clock is ahead
    headers: bool = True

    def least(self, begun: float, others: float) -> float:
        """Seconds that the writes take at least, begun at `begun` on the server's clock, where
        others were served `others` requests a second."""
        over = max(0, self.writes - self.burst)
        if self.refill == "drip":
            return over / (self.rate / self.per - others)
        windows = math.ceil(over / self.rate)
        return (math.floor(begun / self.per) + windows) * self.per - begun


ROWS = (
    Row(name="50, 16/s dripping", burst=50, rate=16, writes=250, at_most=1.03),
    Row(name="50, 16 each second", burst=50, rate=16, writes=250, at_most=1.03, refill="window"),
    Row(name="10, 2/s", burst=10, rate=2, writes=40, at_most=1.05),
    Row(name="2, 2/s", burst=2, rate=2, writes=30, at_most=1.10),
    Row(name="50, 16/s, others 6/s", burst=50, rate=16, writes=200, at_most=1.10, neighbour=6),
    Row(name="50, 16/s, clock +75 s", burst=50, rate=16, writes=250, at_most=1.03, ahead=75),
    Row(name="50, 16/s, clock -75 s", burst=50, rate=16, writes=250, at_most=1.03, ahead=-75),
    Row(name="5, 100 a minute", burst=5, rate=100, writes=60, at_most=1.05, per=60),
    Row(name="50, 16/s, no headers", burst=50, rate=16, writes=100, at_most=9.0, headers=False),
)
#: The row that is drawn.
DRAWN = ROWS[4]

#: Tenants of mixed limits, for the peer: burst, rate a second; edits on each.
MIXED = [(50, 16), (10, 2), (10, 2), (2, 2)] * 5
MIXED_EDITS = 30


async def apply(folder: Path, urls: dict[str, str], writes: dict[str, int], limits: Limits) -> None:
    """Plan and apply `writes` edits on each tenant, all tenants at once."""
    tenants = {name: Tenant.with_token(name, url, "sandbox") for name, url in urls.items()}
    edits: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session:
        for name, url in urls.items():
            async with session.get(f"{url}/api/v2/hooks", headers=HEADERS) as response:
                ids = [hook["id"] for hook in await response.json()]
            edits += [
                {"tenant": name, "hook": id, "set": {"dependencies": {"axios": "9.9.9"}}}
                for id in ids[: writes[name]]
            ]
    await anyio.sleep(6)  # the bucket is full again
    with Journal.create(folder / "j") as journal:
        stage(journal, Job.of("pacing", edits), tenants, sandbox=False, now=datetime.now(UTC))
        async with Lanes.opened(journal, journal.tenants(), tenants, limits) as lanes:
            await lanes.survey()
            await lanes.apply(read_first=False)


def figures_of(row: Row, log: list[dict[str, Any]]) -> dict[str, Any]:
    """What the server saw of one row."""
    log = log[1:]  # the benchmark's own question
    begun, ended = log[0]["at"], log[-1]["at"] + LATENCY / 2
    served = [seen for seen in log if seen["status"] != 429]
    span = ended - begun
    least = row.least(begun, min(row.neighbour, row.rate))
    throttled = len(log) - len(served)
    return {
        "server": row.name,
        "writes": row.writes,
        "span": round(span, 2),
        "least": round(least, 2),
        "ratio": round((span - 1) / least, 3),
        "at_most": row.at_most,
        "throttled": throttled,
        "throttled_share": round(throttled / len(log), 4),
    }


def measure() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table, and the log of the row that is drawn."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        servers: dict[str, Served] = {}
        for number, row in enumerate(ROWS):
            bucket = {"burst": row.burst, "rate": row.rate, "per": row.per, "refill": row.refill}
            servers[f"r{number}"] = stack.enter_context(
                served(
                    tenants=[f"r{number}"],
                    hooks=row.writes,
                    bucket=bucket,
                    latency=LATENCY,
                    clock_ahead=row.ahead,
                    rate_headers=row.headers,
                    neighbour=row.neighbour,
                    keep_log=True,
                )
            )
        urls = {name: f"{server.url}/{name}" for name, server in servers.items()}
        writes = {f"r{number}": row.writes for number, row in enumerate(ROWS)}
        none = Limits(reserve=0)
        anyio.run(apply, Path(folder), urls, writes, none, backend_options=UVLOOP)
        logs = [server.log() for server in servers.values()]
    table = [figures_of(row, log) for row, log in zip(ROWS, logs, strict=True)]
    return table, logs[ROWS.index(DRAWN)]


async def fixed_rate(urls: list[str]) -> float:
    """Seconds that a loop of 8 requests a second, 3 at a time, takes tenant by tenant: what
    auth0-deploy-cli does. A 429 is tried again after a second."""
    began = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        for url in urls:
            async with session.get(f"{url}/api/v2/hooks", headers=HEADERS) as response:
                todo = [hook["id"] for hook in await response.json()]
            next_at = time.perf_counter()

            async def work(url: str = url, todo: list[str] = todo) -> None:
                nonlocal next_at
                while todo:
                    id = todo.pop()
                    status = 429
                    while status == 429:
                        next_at = max(next_at + 1 / 8, time.perf_counter())
                        await asyncio.sleep(next_at - time.perf_counter())
                        async with session.patch(
                            f"{url}/api/v2/hooks/{id}",
                            json={"dependencies": {"axios": "1.0.0"}},
                            headers=HEADERS,
                        ) as response:
                            status = response.status
                        if status == 429:
                            await asyncio.sleep(1)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(work())
    return time.perf_counter() - began


def against_fixed_rate() -> dict[str, Any]:
    """The whole times of the fixed-rate loop and of ours, over the same tenants."""
    names = [f"m{number}" for number in range(len(MIXED))]
    buckets = {
        name: {"burst": burst, "rate": rate}
        for name, (burst, rate) in zip(names, MIXED, strict=True)
    }
    options: dict[str, Any] = {"hooks": MIXED_EDITS, "buckets": buckets, "latency": LATENCY}
    with served(tenants=names, keep_log=True, **options) as server:
        peer = anyio.run(fixed_rate, [f"{server.url}/{name}" for name in names])
        peer_log = server.log()
    with (
        served(tenants=names, keep_log=True, **options) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        urls = {name: f"{server.url}/{name}" for name in names}
        writes = dict.fromkeys(names, MIXED_EDITS)
        anyio.run(apply, Path(folder), urls, writes, Limits(), backend_options=UVLOOP)
        log = server.log()[len(names) :]
        ours = log[-1]["at"] - log[0]["at"]
    return {
        "tenants": len(names),
        "edits_a_tenant": MIXED_EDITS,
        "fixed_rate_seconds": round(peer, 1),
        "fixed_rate_429s": sum(seen["status"] == 429 for seen in peer_log),
        "ours_seconds": round(ours, 1),
        "ours_429s": sum(seen["status"] == 429 for seen in log),
        "ratio": round(peer / ours, 1),
    }


def draw(log: list[dict[str, Any]], path: Path) -> None:
    """Requests a second, tokens left and 429s over time."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    log = log[1:]
    begun = log[0]["at"]
    seconds = Counter(int(seen["at"] - begun) for seen in log if seen["status"] != 429)
    refused = [seen["at"] - begun for seen in log if seen["status"] == 429]
    figure, rate = pyplot.subplots(figsize=(8, 3.2))
    rate.bar([s + 0.5 for s in seconds], list(seconds.values()), 0.9, color="#8fb8de", label="ours")
    rate.axhline(DRAWN.rate, color="#777", linestyle=":", label="refill, all traffic")
    rate.set(xlabel="seconds", ylabel="requests a second")
    left = rate.twinx()
    left.step(
        [seen["at"] - begun for seen in log],
        [seen["remaining"] for seen in log],
        where="post",
        color="#c44e52",
        linewidth=1,
        label="tokens left",
    )
    left.plot(refused, [0] * len(refused), "kx", label="429")
    left.set(ylabel="tokens left", ylim=(0, None))
    rate.set_title(f"bucket {DRAWN.name}: {DRAWN.writes} writes, {len(refused)} answered 429")
    figure.legend(loc="upper right", bbox_to_anchor=(0.9, 0.88), fontsize="small")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Measure, print, draw, write."""
    table, log = measure()
    shown = ("server", "writes", "span", "least", "ratio", "at_most", "throttled")
    sys.stdout.write("".join(f"{name:>{24 if name == 'server' else 10}}" for name in shown) + "\n")
    for found in table:
        cells = (f"{found[name]:>{24 if name == 'server' else 10}}" for name in shown)
        sys.stdout.write("".join(cells) + "\n")
    peer = against_fixed_rate()
    for key, value in peer.items():
        sys.stdout.write(f"{key:>24}{value:>10}\n")
    write_json("pacing", {"table": table, "fixed_rate": peer})
    draw(log, Path(__file__).with_name("pacing.svg"))


if __name__ == "__main__":
    main()
