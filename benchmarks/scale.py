"""What size costs: a million edits over a thousand tenants, and a thousand lanes at once.

`python -m benchmarks.scale` prints a table and writes scale.json beside this file. It takes about
six minutes, 2 GB in the folder for temporary files, and Linux: peaks of memory are read from
/proc. Every command runs as a person runs it, in a process of its own.

A lane's ratio is as in benchmarks.pacing: its span as the server saw it, from its first request to
its last answer, less one second, over the least possible time.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from benchmarks.loopback import served, write_json
from benchmarks.throughput import hook_ids
from bulkhooks.items import APPLIED
from bulkhooks.journal import Journal

#: Edits of the long job, and of the one that it is compared with; tenants of both, hooks of each.
EDITS, FEWER, TENANTS, HOOKS = 1_000_000, 100_000, 1_000, 1_000
#: Items of each tenant that are left pending for `apply`.
LEFT = 1
#: Lanes at once, writes on each, their buckets' size and requests a second, an answer's seconds.
LANES, WRITES, BURST, RATE, LATENCY = 1_000, 30, 10, 2.0, 0.03
#: Times that what is short is measured; seconds between two looks at a process.
ROUNDS, TICK = 3, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure, and what it may be."""

    name: str
    value: float
    unit: str
    at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What one command took, from the start of its process. Memory is in units of a million bytes,
    all that was resident at its peak."""

    began: float  #: Unix seconds
    seconds: float
    cpu: float
    peak: float
    seconds_until: float  #: the awaited file was there
    peak_until: float


def ran(folder: Path, *words: str, awaited: str = "") -> Ended:
    """Run a command in `folder` to its end; its stdout goes to `out`, its stderr to `err`."""
    root = str(Path(__file__).parents[1])
    env = os.environ | {"TOKEN": "sandbox", "XDG_STATE_HOME": str(folder), "PYTHONPATH": root}
    peak = until = peak_until = 0.0
    began, start = time.time(), time.perf_counter()
    with open(folder / "out", "w") as out, open(folder / "err", "w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "bulkhooks", *words], cwd=folder, env=env, stdout=out, stderr=err
        )
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        peak = max(peak, _high_water(process.pid))
        if awaited and not until and (folder / awaited).exists():
            until, peak_until = time.perf_counter() - start, peak
        time.sleep(TICK)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        raise RuntimeError(f"bulkhooks {' '.join(words)}: {(folder / 'err').read_text()}")
    return Ended(
        began=began,
        seconds=time.perf_counter() - start,
        cpu=ended[2].ru_utime + ended[2].ru_stime,
        peak=peak,
        seconds_until=until,
        peak_until=peak_until,
    )


def _high_water(process: int) -> float:
    """The most memory that a process had at once. (What wait4 tells counts its parent's too.)"""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def write_tenants(folder: Path, url: str, names: Iterable[str], **limits: float) -> None:
    """`tenants.json`, of tenants that are all at one server."""
    tenants = {name: {"base_url": f"{url}/{name}", "token": "env:TOKEN"} for name in names}
    defaults = {"defaults": {"limits": limits}} if limits else {}
    (folder / "tenants.json").write_text(json.dumps(defaults | {"tenants": tenants}))


def write_job(path: Path, ids: dict[str, list[str]], edits: int) -> None:
    """A job of that many edits, each of another hook, tenant after tenant."""
    with path.open("w") as file:
        for number, (name, hook) in zip(range(edits), _in_turn(ids), strict=False):
            dependencies = {"axios": f"1.0.{number}"}
            edit = {"tenant": name, "hook": hook, "set": {"dependencies": dependencies}}
            file.write(json.dumps(edit) + "\n")


def _in_turn(ids: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for hooks in zip(*ids.values(), strict=True):
        yield from zip(ids, hooks, strict=True)


async def apply_in_pretence(path: Path) -> None:
    """Have the journal say that all but a few items of each tenant were applied."""
    with Journal.open(path) as journal:
        async with journal.writing():
            for tenant in journal.tenants():
                for item in journal.pending(tenant.id, (-1, 0), EDITS)[LEFT:]:
                    for step in item.steps:
                        ended = journal.step_ended(
                            item, step.n, applied=True, at=1.0, after=step.want
                        )
                        journal.post(*ended)
                    journal.post(journal.ended(item, APPLIED))
                await journal.commit()


def size(folder: Path) -> list[Row]:
    """A million edits: planned, looked at, and gone on with."""
    names = [f"t{number}" for number in range(TENANTS)]
    with served(tenants=names, hooks=HOOKS, keep_log=True) as server:
        write_tenants(folder, server.url, names)
        ids = anyio.run(hook_ids, server.url, names)
        plans = []
        for name, edits in (("fewer", FEWER), ("long", EDITS)):
            write_job(folder / f"{name}.jsonl", ids, edits)
            words = ("plan", f"{name}.jsonl", "--tenants", "tenants.json")
            plans.append(ran(folder, *words, awaited=f"{name}.journal"))
        fewer, long = plans
        anyio.run(apply_in_pretence, folder / "long.journal")
        looks = [ran(folder, "status", "long.journal") for _ in range(ROUNDS)]
        applies = []
        for number in range(ROUNDS):
            shutil.copy(folder / "long.journal", folder / f"{number}.journal")
            applies.append(ran(folder, "apply", f"{number}.journal", "--yes"))
            (folder / f"{number}.journal").unlink()
        seen = [request["at"] for request in server.log()]
    first = min(min(at for at in seen if at > one.began) - one.began for one in applies)
    return [
        Row(
            name="reading, memory: 1M over 100k edits",
            value=long.peak_until / fewer.peak_until,
            unit="",
            at_most=1.15,
        ),
        Row(name="reading 1M edits", value=long.seconds_until, unit="s", at_most=60),
        Row(name="reading 1M edits, memory", value=long.peak_until, unit="MB", at_most=150),
        Row(name="reading 100k edits, memory", value=fewer.peak_until, unit="MB", at_most=150),
        Row(name="plan, memory: 1M over 100k edits", value=long.peak / fewer.peak, unit=""),
        Row(name="plan of 1M edits", value=long.seconds, unit="s"),
        Row(name="plan of 1M edits, memory", value=long.peak, unit="MB"),
        Row(name="apply of 1M, first request", value=first, unit="s", at_most=3),
        Row(name="apply of 1M, memory", value=max(one.peak for one in applies), unit="MB"),
        Row(
            name="status of 1M items",
            value=min(look.seconds for look in looks),
            unit="s",
            at_most=2,
        ),
    ]


def breadth(folder: Path) -> list[Row]:
    """A thousand lanes at once, each with a bucket that it empties."""
    names = [f"t{number}" for number in range(LANES)]
    bucket = {"burst": BURST, "rate": RATE}
    with served(
        tenants=names, hooks=WRITES, bucket=bucket, latency=LATENCY, keep_log=True
    ) as server:
        write_tenants(folder, server.url, names, reserve=0)
        ids = anyio.run(hook_ids, server.url, names)
        write_job(folder / "lanes.jsonl", ids, LANES * WRITES)
        ran(folder, "plan", "lanes.jsonl", "--tenants", "tenants.json")
        time.sleep(2)  # the buckets are full again
        before = server.cpu()
        ended = ran(folder, "apply", "lanes.journal", "--yes", "--json")
        server_cpu = server.cpu() - before
        books = json.loads((folder / "out").read_text())
        assert books["applied"] == LANES * WRITES, books
        log = [request for request in server.log() if request["at"] > ended.began]
    ratios = lane_ratios(log)
    span = max(request["at"] for request in log) - min(request["at"] for request in log)
    throttled = sum(request["status"] == 429 for request in log)
    return [
        Row(name="1,000 lanes, slowest ratio", value=max(ratios), unit="", at_most=1.1),
        Row(name="1,000 lanes, middle ratio", value=statistics.median(ratios), unit=""),
        Row(name="1,000 lanes, memory", value=ended.peak, unit="MB", at_most=250),
        Row(name="1,000 lanes, all", value=span, unit="s"),
        Row(name="1,000 lanes, CPU a request", value=ended.cpu / len(log) * 1e6, unit="us"),
        Row(name="1,000 lanes, 429s", value=throttled, unit=""),
        Row(name="the server's share of a core", value=server_cpu / span, unit=""),
    ]


def lane_ratios(log: list[dict[str, Any]]) -> list[float]:
    """Each lane's ratio."""
    lanes: dict[str, list[float]] = {}
    for request in log:
        lanes.setdefault(request["tenant"], []).append(request["at"])
    least = (1 + WRITES - BURST) / RATE  # a list goes before them
    return [(max(times) - min(times) + LATENCY - 1) / least for times in lanes.values()]


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        helped = min(ran(folder, "--help").cpu for _ in range(ROUNDS + 2))
        rows = [
            *breadth(folder),
            *size(folder),
            Row(name="bulkhooks --help, CPU", value=helped, unit="s", at_most=0.3),
        ]
    for row in rows:
        bound = "" if row.at_most is None else f"at most {row.at_most:g}"
        sys.stdout.write(f"{row.name:38}{row.value:>10,.2f} {row.unit:3}{bound:>14}\n")
    table = {
        row.name: {"value": round(row.value, 3), "unit": row.unit, "at_most": row.at_most}
        for row in rows
    }
    write_json("scale", {"table": table})


if __name__ == "__main__":
    main()
