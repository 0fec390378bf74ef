"""Faults of every kind over the whole engine: whatever happens, the books and the tenants agree.

In virtual time all of it is as in production, an hour's waits included; over sockets answers are
cut for true, and the waits are short.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bulkhooks import apply_journal, run_job
from bulkhooks.journal import Journal
from bulkhooks.report import Summary
from bulkhooks.sandbox import Sandbox, serve
from bulkhooks.sandbox.buckets import Bucket
from bulkhooks.sandbox.faults import Fault, Faults
from bulkhooks.tenants import Route
from raw import http, raw_server
from storm import GUARDS, Storm, in_virtual_time, rates, sent_twice, tenants_at, weathered

BUCKETS = [
    None,
    Bucket(burst=50, rate=16),
    Bucket(burst=10, rate=2),
    Bucket(burst=50, rate=16, refill="window"),
]


def named(tenants: int) -> list[str]:
    return [f"t{number}" for number in range(tenants)]


def calm_down(sandbox: Sandbox) -> None:
    """Nothing goes wrong from now on."""
    sandbox._fault = None
    for tenant in sandbox._tenants.values():
        tenant.storm = 0.0


def weather(
    seed: int, path: Path, faults: dict[Fault, float], tenants: int, edits: int
) -> tuple[Storm, Summary]:
    """A job in bad weather, and what it came to; what is left of it then goes well in good."""
    sandbox = Sandbox(
        named(tenants),
        hooks=max(20, edits * 4 // 3),
        actions=12,
        tokens=(),
        bucket=BUCKETS[seed % len(BUCKETS)],
        fault=Faults(seed, faults),
        second_enable=("conflict", "bad_request", "switch")[seed % 3],
    )
    storm = Storm.of(seed, named(tenants), edits, sandbox)
    random.seed(seed)  # of the waits between tries
    told: Summary = in_virtual_time(lambda: weathered(storm, path, seed=seed))
    calm_down(sandbox)
    in_virtual_time(lambda: weathered(storm, path, plan=False))
    with Journal.read(path) as journal:
        storm.check_all_done(journal)
    assert sent_twice(sandbox.log) == []
    return storm, told


def test_whatever_goes_wrong_the_books_and_the_tenants_agree(tmp_path: Path) -> None:
    for seed in range(3):
        _, told = weather(seed, tmp_path / f"{seed}", rates(0.1), 4, 25)
        assert told.books.pending == told.books.skipped == 0
        assert told.books.applied > 80


def test_where_lanes_are_given_up_nothing_is_lost(tmp_path: Path) -> None:
    for seed in range(3):
        _, told = weather(seed, tmp_path / f"{seed}", rates(0.6), 4, 25)
        assert told.books.failed
        assert told.books.pending == told.books.skipped == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_whatever_goes_wrong_at_full_size(tmp_path: Path, seed: int) -> None:
    weather(seed, tmp_path / "j", rates(0.1), 20, 100)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.35, 0.7])
def test_the_worse_it_gets_the_less_is_done_and_nothing_is_lost(
    tmp_path: Path, share: float
) -> None:
    for seed in range(10):
        weather(seed, tmp_path / f"{seed}", rates(share), 5, 40)


# ---- over sockets

ROUTE = Route(request=0.3)


async def over_sockets(
    seed: int, folder: Path, faults: dict[Fault, float], tenants: int, edits: int
) -> tuple[Summary, set[int]]:
    """As `weather`, over sockets, and every status that was answered; whoever is redirected to
    must never hear of it."""
    heads: list[str] = []
    names = named(tenants)
    async with raw_server(lambda line: http(200), heads=heads) as (elsewhere, asked):
        sandbox = Sandbox(
            names,
            hooks=max(20, edits * 4 // 3),
            tokens=(),
            fault=Faults(seed, faults),
            drip=0.1,
            redirect_to=elsewhere,
        )
        storm, path = Storm.of(seed, names, edits, sandbox), folder / "j"
        async with serve(sandbox) as url:
            at = tenants_at(url, names, ROUTE)
            told = await run_job(storm.job, at, path, guards=GUARDS, settle=0.1, aside=0.1)
            with Journal.read(path) as journal:
                storm.check(journal)
            calm_down(sandbox)
            await apply_journal(path, at, failed=True, settle=0.1)
        with Journal.read(path) as journal:
            storm.check_all_done(journal)
        assert sent_twice(sandbox.log) == []
        assert (asked, heads) == ({}, [])
    return told, {seen.status for seen in sandbox.log}


@pytest.mark.parametrize("besides", [("redirect", "storm"), ("storm",)], ids=["", "redirects"])
async def test_lines_that_break_in_every_way_lose_nothing(
    tmp_path: Path, besides: tuple[Fault, ...]
) -> None:
    told, statuses = await over_sockets(1, tmp_path, rates(0.1, *besides), 4, 25)
    assert told.books.pending == told.books.skipped == 0
    assert (302 in statuses) == ("redirect" not in besides)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_lines_that_break_in_every_way_at_full_size(tmp_path: Path, seed: int) -> None:
    faults = rates(0.1, "redirect", "storm") | {"redirect": 0.0005}
    told, _ = await over_sockets(seed, tmp_path, faults, 20, 100)
    assert told.books.applied > 1000
