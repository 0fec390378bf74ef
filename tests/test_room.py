"""What a plan says of the window: which comes, and whether it is long enough for each tenant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from bulkhooks.diff import as_json, as_markdown, as_text
from bulkhooks.items import Item, Step
from bulkhooks.journal import Journal, StagedEdit, Unresolved
from bulkhooks.plan import room
from bulkhooks.report import summary
from bulkhooks.schedule import Schedule, Wave, Window
from bulkhooks.tenants import Tenant
from bulkhooks.waves import kept

#: Makes a journal with so many items of each tenant, of a kind.
Make: TypeAlias = Callable[..., Journal]

NIGHT = Window(start="2026-11-28T01:00", end="2026-11-28T03:00", timezone="Europe/London")
TOLD = "Sat 2026-11-28 01:00-03:00 Europe/London"
AHEAD = f"window: {TOLD}; nothing is written before"
START, END = (datetime.fromisoformat(f"2026-11-28T0{hour}:00+00:00").timestamp() for hour in (1, 3))
#: Takes ten seconds a request from the first on.
PACE = {"limit": 50, "remaining": 0, "refill": 0.1}
HOOK = Step(kind="update", target="h", before={"enabled": True}, want={"enabled": False})
ACTION = Step(
    kind="bind",
    target="actions/bindings:post-login",
    before={"triggerId": "post-login", "name": "a", "bound": True},
    want={"bound": False},
)
STEPS = {"enabled": HOOK, "bound": ACTION}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def journal(kind: str = "enabled", *, freeze: bool = False, **items: int) -> Journal:
            path = tmp_path / f"j{len(list(tmp_path.iterdir()))}"
            made = stack.enter_context(Journal.create(path))
            edit = StagedEdit(
                name="e", given=True, line=1, must_match=False, body={}, tenants=(*items,)
            )
            made.stage([edit], dict.fromkeys(items, "https://x"))
            made.note(job="freeze", made="2026-11-01T00:00:00+00:00", limits="{}")
            schedule = Schedule(window=NIGHT, freeze=freeze)
            made.note(schedule=msgspec.json.encode(schedule).decode())
            for row in made.tenants():
                step = STEPS[kind]
                some = [
                    Item(edit=1, target=step.target, label=f"i{n}", keys=(f"k{n}",), steps=(step,))
                    for n in range(items[row.name])
                ]
                (((place, _),),) = made.placeholders(row.id, Unresolved(made.last_item), 2)
                made.write(made.resolve(row.id, place, some))
                made.write([made.counted(row.id, 1, 0, PACE)])
            made.note(planned=str(made.count()))
            return made

        yield journal


def tenants(journal: Journal) -> dict[str, Tenant]:
    return {row.name: Tenant.with_token(row.name, "https://x", "x") for row in journal.tenants()}


def told(journal: Journal, now: float) -> list[str]:
    lines = as_text(journal, summary(journal), tenants(journal), wall=lambda: now)
    texts = [line.text for line in lines]
    first = next((n for n, text in enumerate(texts) if text.startswith("window: ")), len(texts))
    return texts[first:]


@pytest.mark.parametrize(
    ("kind", "acme", "lacking"),
    [
        (
            "enabled",  # a request each, and a list for all
            959,
            (
                "large (needs about 5 h 19 min, 3 h 19 min more), "
                "acme (needs about 2 h 40 min, 40 min more)"
            ),
        ),
        (
            "bound",  # its list is read to its end before and after each
            191,
            (
                "large (needs about 5 h 18 min, 3 h 18 min more), "
                "acme (needs about 2 h 39 min, 39 min 20 s more)"
            ),
        ),
    ],
)
def test_a_plan_says_for_whom_the_window_is_too_short_and_by_how_much(
    make: Make, kind: str, acme: int, lacking: str
) -> None:
    journal = make(kind, small=3, acme=acme, large=2 * acme)
    assert told(journal, START - 86400) == [
        AHEAD,
        f"a window of 2 h is enough for 1 tenant; not for {lacking}",
    ]


@pytest.mark.parametrize("kind", STEPS)
def test_a_freeze_has_to_put_back_in_its_window_too(make: Make, kind: str) -> None:
    each = {"enabled": 1, "bound": 5}[kind]
    items = (360 - 1) // each  # an hour's requests, about
    journal = make(kind, t0=items)
    found = room(journal, tenants(journal), START + 3600)
    assert found is not None
    assert (found.needs, found.freeze) == ({}, False)
    journal = make(kind, freeze=True, t0=items)
    found = room(journal, tenants(journal), START + 3600)
    assert found is not None
    assert (found.needs, found.freeze) == ({"t0": 2 * 10 * (1 + each * items)}, True)
    first, second = told(journal, START + 3600)
    assert first == f"window: {TOLD}; open now; what changes is put back by its end"
    assert second.startswith(
        "what is left of it, 1 h, is not enough, there and back, for t0 (needs"
    )
    assert told(journal, START)[1] == "a window of 2 h is enough, there and back, for 1 tenant"


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        (
            START - 1,
            [
                AHEAD,
                "a window of 2 h is enough for 2 tenants",
            ],
        ),
        (
            START,
            [
                AHEAD,
                "a window of 2 h is enough for 2 tenants",
            ],
        ),
        (
            END - 1200,
            [f"window: {TOLD}; open now", "what is left of it, 20 min, is enough for 2 tenants"],
        ),
        (
            END - 1190,
            [
                f"window: {TOLD}; open now",
                (
                    "what is left of it, 19 min 50 s, is enough for 1 tenant; "
                    "not for b (needs about 20 min, 10 s more)"
                ),
            ],
        ),
        (
            END - 5,
            [
                f"window: {TOLD}; open now",
                (
                    "what is left of it, 5 s, is not enough for "
                    "b (needs about 20 min, 19 min 55 s more), a (needs about 20 s, 15 s more)"
                ),
            ],
        ),
        (END, ["window: it is over, and does not come again"]),
    ],
)
def test_what_is_left_of_an_open_window_counts(make: Make, now: float, lines: list[str]) -> None:
    assert told(make(a=1, b=119), now) == lines


def test_the_worst_few_are_told_the_others_counted_and_json_has_them_all(make: Make) -> None:
    journal = make(**{f"t{n}": 720 + 6 * n for n in range(8)})
    now = START - 60
    (_, line) = told(journal, now)
    assert line.startswith(
        "a window of 2 h is not enough for t7 (needs about 2 h 7 min, 7 min 10 s more), t6"
    )
    assert line.count("needs") == 5
    assert line.endswith(" and 3 other tenants")
    books, known = summary(journal), tenants(journal)
    whole = json.loads("".join(as_json(journal, books, known, wall=lambda: now)))["window"]
    assert list(whole["short"]) == [f"t{n}" for n in range(7, -1, -1)]
    assert whole["short"]["t7"] == {"needs": 7630.0, "lacks": 430.0}
    assert (whole["start"], whole["end"], whole["seconds"]) == (START, END, 7200.0)
    assert (whole["told"], whole["timezone"]) == (TOLD, "Europe/London")
    assert (whole["enough"], whole["freeze"]) == (0, False)
    ticket = "".join(as_markdown(journal, books, known, wall=lambda: now))
    assert "window: Sat 2026-11-28 01:00-03:00 Europe/London" in ticket
    assert ticket.count("needs about") == 8


@pytest.mark.parametrize("kind", STEPS)
def test_waves_ahead_and_their_soaks_take_of_the_window_too(make: Make, kind: str) -> None:
    journal = make(kind, a=1, b=1, c=1)
    ways = Schedule(window=NIGHT, waves=(Wave(count=1, soak=3600.0), Wave(count=2, soak=3600.0)))
    journal.note(schedule=msgspec.json.encode(ways).decode(), waves=kept((("a",), ("b",), ("c",))))
    for freeze in (False, True):
        found = room(journal, tenants(journal), START)
        each = (2 if kind == "enabled" else 6) * 10.0  # seconds on a tenant
        assert found is not None
        assert found.needs == {"c": 2 * 3600 + (4 if freeze else 3) * each}
        again = msgspec.structs.replace(ways, freeze=True)
        journal.note(schedule=msgspec.json.encode(again).decode())
    texts = [line.text for line in as_text(journal, summary(journal), tenants(journal))]
    assert any(text.startswith("expected to take about 2.0 h, ") for text in texts)
    journal.write([journal.event("wave", START, n=1), journal.event("wave-done", START, n=1)])
    found = room(journal, tenants(journal), START)
    assert found is not None
    assert found.needs == {}  # what is done is not ahead any more


def test_without_a_window_nothing_is_said_of_one(make: Make) -> None:
    journal = make(t0=1)
    journal.note(schedule="{}")
    assert told(journal, START) == []
    assert "window:" not in "".join(as_markdown(journal, summary(journal), tenants(journal)))
    whole = json.loads("".join(as_json(journal, summary(journal), tenants(journal))))
    assert whole["window"] is None
