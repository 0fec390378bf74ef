"""What bulkhooks costs where no limit holds it back: against bare aiohttp and auth0-python.

`python -m benchmarks.throughput` prints a table and writes throughput.json beside this file.
Figures of one machine differ from run to run; the ratios, measured by turns in one run, hold. Ours
runs on uvloop and seldom looks for garbage, as the command does. The bare loop runs on asyncio's
own, and where it is a program of its own looks for garbage as Python does; what it takes when it is
run as ours is told too ("tuned").
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import orjson

from benchmarks.loopback import UVLOOP, Served, cpu, served, write_json
from bulkhooks import Job, Limits, Tenant
from bulkhooks.journal import Journal
from bulkhooks.lanes import Lanes
from bulkhooks.network import IN_FLIGHT as IN_FLIGHT_ALL
from bulkhooks.plan import stage

HEADERS = {"Authorization": "Bearer sandbox", "Content-Type": "application/json"}
#: Tenants, hooks each, requests in flight a tenant; rounds that are measured.
TENANTS, HOOKS, IN_FLIGHT, ROUNDS = 20, 1000, 8, 5
#: Hooks of each tenant that auth0-python edits.
FEWER = 100
WIDE, WIDE_EDITS = 2000, 3
#: Tenants over TLS.
SECURE = 1000
#: New objects after which the command looks for garbage.
GARBAGE = 100_000


async def bare(url: str, ids: dict[str, list[str]]) -> None:
    """The same PATCHes by a loop that does nothing else, answers parsed."""
    tag = str(time.time())
    connector = aiohttp.TCPConnector(limit=0)

    async def work(name: str, todo: list[str]) -> None:
        while todo:
            path = f"{url}/{name}/api/v2/hooks/{todo.pop()}"
            body = orjson.dumps({"dependencies": {"axios": tag}})
            async with session.request("PATCH", path, data=body, headers=HEADERS) as response:
                orjson.loads(await response.read())

    async with (
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for name, hooks in ids.items():
            todo = list(hooks)
            for _ in range(IN_FLIGHT):
                tasks.create_task(work(name, todo))


async def ours(url: str, ids: dict[str, list[str]], path: Path) -> tuple[float, float]:
    """CPU and time of the apply phase, in seconds."""
    tenants = {name: Tenant.with_token(name, f"{url}/{name}", "sandbox") for name in ids}
    edits = [
        {"tenant": name, "hook": id, "set": {"dependencies": {"axios": f"{time.time()}"}}}
        for name, hooks in ids.items()
        for id in hooks
    ]
    with Journal.create(path) as journal:
        stage(journal, Job.of("b", edits), tenants, sandbox=False, now=datetime.now(UTC))
        rows = journal.tenants()
        async with Lanes.opened(journal, rows, tenants, Limits()) as lanes:
            await lanes.survey()
            spent, began = cpu(), time.perf_counter()
            await lanes.apply(read_first=False)
            return cpu() - spent, time.perf_counter() - began


async def official(url: str, ids: dict[str, list[str]]) -> float:
    """Seconds that auth0-python's async client takes for one PATCH each of a few hooks."""
    from auth0.management import AsyncAuth0

    clients = {
        name: AsyncAuth0(base_url=f"{url}/{name}/api/v2", token="sandbox", max_retries=0)
        for name in ids
    }

    async def work(name: str, todo: list[str]) -> None:
        while todo:
            await clients[name].hooks.update(todo.pop(), dependencies={"axios": str(time.time())})

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for name, hooks in ids.items():
            todo = hooks[:FEWER]
            for _ in range(IN_FLIGHT):
                tasks.create_task(work(name, todo))
    return time.perf_counter() - began


async def hook_ids(url: str, names: list[str]) -> dict[str, list[str]]:
    """The ids of all tenants' hooks."""
    async with aiohttp.ClientSession() as session:
        found = {}
        for name in names:
            async with session.get(f"{url}/{name}/api/v2/hooks", headers=HEADERS) as response:
                found[name] = [hook["id"] for hook in await response.json()]
        return found


def deep(url: str) -> dict[str, Any]:
    """20,000 edits on 20 tenants: CPU an edit, ours and bare by turns."""
    ids = anyio.run(hook_ids, url, [f"t{n}" for n in range(TENANTS)])
    edits = TENANTS * HOOKS
    bare_cpu, tuned_cpu, our_cpu, bare_rates, rates = [], [], [], [], []
    for _ in range(ROUNDS):
        spent, began = cpu(), time.perf_counter()
        anyio.run(bare, url, ids)
        bare_cpu.append(cpu() - spent)
        bare_rates.append(edits / (time.perf_counter() - began))
        spent = cpu()
        anyio.run(bare, url, ids, backend_options=UVLOOP)
        tuned_cpu.append(cpu() - spent)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "j"
            spent, took = anyio.run(ours, url, ids, path, backend_options=UVLOOP)
        our_cpu.append(spent)
        rates.append(edits / took)
    figures = {
        "edits": edits,
        "bare_us_an_edit": min(bare_cpu) / edits * 1e6,
        "tuned_bare_us_an_edit": min(tuned_cpu) / edits * 1e6,
        "ours_us_an_edit": min(our_cpu) / edits * 1e6,
        "ratio": min(our_cpu) / min(bare_cpu),
        "ratio_to_tuned_bare": min(our_cpu) / min(tuned_cpu),
        "ours_edits_a_second": max(rates),
    }
    try:
        took = anyio.run(official, url, ids)
    except ImportError:
        return figures
    rate = TENANTS * FEWER / took
    return figures | {
        "official_edits_a_second": rate,
        "times_official": max(rates) / rate,
        "bare_times_official": max(bare_rates) / rate,
    }


def wide() -> dict[str, Any]:
    """2,000 tenants with 3 edits each: a whole `run`, against a loop of the same requests."""
    names = [f"t{n}" for n in range(WIDE)]
    with (
        served(tenants=names, hooks=WIDE_EDITS) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        url = server.url
        ids = anyio.run(hook_ids, url, names)
        (Path(folder) / "tenants.json").write_text(
            json.dumps(
                {"tenants": {n: {"base_url": f"{url}/{n}", "token": "env:TOKEN"} for n in names}}
            )
        )
        (Path(folder) / "ids.json").write_text(json.dumps(ids))
        our_cpu, bare_cpu, tuned_cpu, requests = [], [], [], 0
        for turn in range(ROUNDS):
            with open(Path(folder) / "job.jsonl", "w") as job:
                for name, hooks in ids.items():
                    for id in hooks:
                        edit = {
                            "tenant": name,
                            "hook": id,
                            "set": {"dependencies": {"a": f"{turn}"}},
                        }
                        job.write(json.dumps(edit) + "\n")
            words = ["run", "job.jsonl", "--tenants", "tenants.json", "--yes", "--json", "--fresh"]
            our_cpu.append(_child(["-m", "bulkhooks", *words], folder))
            books = json.loads((Path(folder) / "out").read_text())
            assert books["applied"] == WIDE * WIDE_EDITS, books
            requests = max(tenant["requests"] for tenant in books["tenants"].values())
            loop = ["bare-wide", url, "ids.json"]
            bare_cpu.append(_child([__file__, *loop], folder))
            tuned_cpu.append(_child([__file__, "tuned", *loop], folder))
    return {
        "tenants": WIDE,
        "edits_a_tenant": WIDE_EDITS,
        "requests_a_tenant_at_most": requests,
        **_ratios(our_cpu, bare_cpu, tuned_cpu),
    }


def secure() -> dict[str, Any]:
    """1,000 tenants over TLS, each with a token to fetch and 3 edits: a whole `run`, against a loop
    of the same requests."""
    names = [f"t{n}" for n in range(SECURE)]
    with tempfile.TemporaryDirectory() as folder:
        ca_file = str(Path(folder) / "ca.pem")
        with served(tenants=names, hooks=WIDE_EDITS, ca_file=ca_file, keep_log=True) as server:
            return _secure(server, names, Path(folder), ca_file)


def _secure(server: Served, names: list[str], folder: Path, ca_file: str) -> dict[str, Any]:
    client = {"client_id": "env:TOKEN", "client_secret": "env:TOKEN"}
    tenants = {n: {"base_url": f"{server.url}/{n}", **client} for n in names}
    document = {"defaults": {"ca_file": ca_file}, "tenants": tenants}
    (folder / "tenants.json").write_text(json.dumps(document))
    (folder / "names.json").write_text(json.dumps(names))
    edit = {"tenants": "*", "hooks": {"name": "*"}}
    words = ["run", "job.json", "--tenants", "tenants.json", "--yes", "--json", "--fresh"]
    our_cpu, bare_cpu, tuned_cpu = [], [], []
    for turn in range(ROUNDS):
        edits = [edit | {"set": {"dependencies": {"a": f"{turn}"}}}]
        (folder / "job.json").write_text(json.dumps({"name": "job", "edits": edits}))
        our_cpu.append(_child(["-m", "bulkhooks", *words], str(folder)))
        books = json.loads((folder / "out").read_text())
        assert books["applied"] == SECURE * WIDE_EDITS, books
        loop = ["bare-secure", server.url, "names.json", ca_file]
        bare_cpu.append(_child([__file__, *loop], str(folder)))
        tuned_cpu.append(_child([__file__, "tuned", *loop], str(folder)))
    asked = Counter(f"{seen['method']} {seen['path'][:8]}" for seen in server.log())
    each = {what: count / SECURE / ROUNDS / 3 for what, count in asked.items()}
    return {
        "tenants": SECURE,
        "edits_a_tenant": WIDE_EDITS,
        **{f"{what} a tenant": count for what, count in each.items()},
        **_ratios(our_cpu, bare_cpu, tuned_cpu),
    }


def _ratios(ours: list[float], bare: list[float], tuned: list[float]) -> dict[str, float]:
    return {
        "bare_seconds_of_cpu": min(bare),
        "tuned_bare_seconds_of_cpu": min(tuned),
        "ours_seconds_of_cpu": min(ours),
        "ratio": min(ours) / min(bare),
        "ratio_to_tuned_bare": min(ours) / min(tuned),
    }


def _child(words: list[str], folder: str) -> float:
    """Seconds of CPU that a Python process takes from start to exit; its stdout goes to `out`."""
    spent = cpu(resource.RUSAGE_CHILDREN)
    root = str(Path(__file__).parents[1])
    env = os.environ | {"TOKEN": "sandbox", "XDG_STATE_HOME": folder, "PYTHONPATH": root}
    with open(Path(folder) / "out", "w") as out:
        subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=env,
            check=True,
            stdout=out,
            stderr=subprocess.DEVNULL,
        )
    return cpu(resource.RUSAGE_CHILDREN) - spent


async def bare_wide(url: str, ids: dict[str, list[str]]) -> None:
    """The requests that `run` sends for the wide job, and nothing else: a list, then the writes
    over the same connection."""
    connector, gate = aiohttp.TCPConnector(limit=0), asyncio.Semaphore(IN_FLIGHT_ALL)
    tag = str(time.time())

    async def work(name: str, hooks: list[str]) -> None:
        base = f"{url}/{name}/api/v2/hooks"
        listing = f"{base}?page=0&per_page=100&include_totals=true"
        async with gate, session.get(listing, headers=HEADERS) as response:
            orjson.loads(await response.read())
        async with asyncio.TaskGroup() as writes:
            for id in hooks:
                writes.create_task(write(f"{base}/{id}"))

    async def write(path: str) -> None:
        body = orjson.dumps({"dependencies": {"a": tag}})
        async with gate, session.patch(path, data=body, headers=HEADERS) as response:
            orjson.loads(await response.read())

    async with (
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for name, hooks in ids.items():
            tasks.create_task(work(name, hooks))


async def bare_secure(url: str, names: list[str], ca_file: str) -> None:
    """The requests that `run` sends for 1,000 tenants over TLS, and nothing else: a token, a list,
    and the writes one after another."""
    trusted = ssl.create_default_context(cafile=ca_file)
    connector = aiohttp.TCPConnector(limit=0, ssl=trusted)
    tag = str(time.time())

    async def ask(method: str, url: str, headers: dict[str, str], body: Any) -> Any:
        data = None if body is None else orjson.dumps(body)
        async with session.request(method, url, data=data, headers=headers) as response:
            return orjson.loads(await response.read())

    async def work(name: str) -> None:
        base = f"{url}/{name}"
        body = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
        body["audience"] = f"{base}/api/v2/"
        token = (await ask("POST", f"{base}/oauth/token", HEADERS, body))["access_token"]
        mine = HEADERS | {"Authorization": f"Bearer {token}"}
        listing = f"{base}/api/v2/hooks?page=0&per_page=100&include_totals=true"
        for hook in (await ask("GET", listing, mine, None))["hooks"]:
            change = {"dependencies": {"a": tag}}
            await ask("PATCH", f"{base}/api/v2/hooks/{hook['id']}", mine, change)

    async with (
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for name in names:
            tasks.create_task(work(name))


def main() -> None:
    """Measure, print, write."""
    gc.set_threshold(GARBAGE)  # for both sides of deep
    names = [f"t{n}" for n in range(TENANTS)]
    with served(tenants=names, hooks=HOOKS) as server:
        figures = {"deep": deep(server.url)}
    figures |= {"wide": wide(), "secure": secure()}
    for name, found in figures.items():
        sys.stdout.write(f"{name}\n")
        for key, value in found.items():
            shown = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
            sys.stdout.write(f"  {key:28} {shown:>12}\n")
    write_json("throughput", figures)


def run_bare(words: list[str], options: dict[str, Any] | None = None) -> None:
    """One of the bare loops of whole runs, as a program of its own."""
    match words:
        case ["tuned", *rest]:
            gc.set_threshold(GARBAGE)
            run_bare(rest, UVLOOP)
        case ["bare-wide", url, ids]:
            anyio.run(bare_wide, url, json.loads(Path(ids).read_text()), backend_options=options)
        case ["bare-secure", url, names, ca_file]:
            listed = json.loads(Path(names).read_text())
            anyio.run(bare_secure, url, listed, ca_file, backend_options=options)
        case _:
            raise SystemExit(f"there is no loop {' '.join(words)}")


if __name__ == "__main__":
    if sys.argv[1:]:
        run_bare(sys.argv[1:])
    else:
        main()
