"""What a plan tells of waves and of what halts them, before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from bulkhooks.diff import as_json, as_markdown, as_text
from bulkhooks.items import Item, Outcome, State, Step
from bulkhooks.journal import Journal, StagedEdit, Unresolved
from bulkhooks.report import summary
from bulkhooks.schedule import Rule, Schedule, Wave
from bulkhooks.tenants import Tenant
from bulkhooks.waves import assign, kept

PRE = "pre-user-registration"
NAMES = ("t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7")
OFF = Step(kind="update", target="h", before={"enabled": True}, want={"enabled": False})
UNBOUND = Step(
    kind="bind",
    target="action:1",
    before={"bound": True, "triggerId": PRE},
    want={"bound": False, "display_name": "a"},
)
RENAMED = Step(kind="update", target="h", before={"name": "a"}, want={"name": "b"})
FAILURES = "(a tenant that is given up counts once; 429s and skipped items do not count)"


class Plan(Protocol):
    def __call__(self, schedule: Schedule, step: Step = OFF, **more: Step) -> Journal: ...


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    with ExitStack() as stack:

        def planned(schedule: Schedule, step: Step = OFF, **more: Step) -> Journal:
            """Two items on each tenant, but for one that has another, and one that has none."""
            journal = stack.enter_context(Journal.create(tmp_path / "j"))
            edit = StagedEdit(
                name="e", given=True, line=1, must_match=False, body={}, tenants=NAMES
            )
            journal.stage([edit], dict.fromkeys(NAMES, "https://x"))
            which = Unresolved(journal.last_item)
            for row in journal.tenants():
                state = State.UNCHANGED if row.name == "t1" else State.PENDING
                one = more.get(row.name, step)
                item = Item(
                    edit=1,
                    target=one.target,
                    label="h",
                    steps=(one,),
                    outcome=Outcome(state=state),
                )
                (((place, _),),) = journal.placeholders(row.id, which, 2)
                journal.write(journal.resolve(row.id, place, [item, item]))
            journal.note(
                job="freeze",
                limits="{}",
                made="2026-01-02T03:04:05+00:00",
                schedule=msgspec.json.encode(schedule).decode(),
            )
            journal.note(waves=kept(assign(journal, TENANTS, schedule)))
            return journal

        yield planned


TENANTS = {name: Tenant.with_token(name, "https://x", "x") for name in NAMES}


def told(journal: Journal, width: int | None = None) -> list[str]:
    """What a screen shows of waves and halts."""
    lines = [line.text for line in as_text(journal, summary(journal), TENANTS, width)]
    first = next(n for n, line in enumerate(lines) if "enabled" in line or "bound" in line) + 1
    return [line for line in lines[first:] if not line.startswith(("expected", "  rename"))]


CAUTIOUS = Schedule(
    waves=(
        Wave(count=1, soak=600, probe="./smoke.sh --all"),
        Wave(count=3, soak=90, probe="read-back"),
        Wave(share=0.5),
        Wave(share=1),
    ),
    halt=(Rule(of="failures", count=3), Rule(of="failures", share=0.3)),
)


@pytest.mark.parametrize("step", [OFF, UNBOUND], ids=["enabled", "bound"])
def test_a_plan_tells_each_wave_and_what_halts_it(plan: Plan, step: Step) -> None:
    assert told(plan(CAUTIOUS, step)) == [
        "in 4 waves:",
        "  wave 1: 1 tenant, then 10 min, then ./smoke.sh --all: t0",
        "  wave 2: 2 tenants, then 1 min 30 s, then all is read back",
        "  wave 3: 1 tenant",
        "  wave 4: 3 tenants",
        f"stops when the 3rd item fails {FAILURES}",
        f"wave 1: 30% of the wave's 2 items: stops when the 1st item fails {FAILURES}",
        f"wave 2: 30% of the wave's 4 items: stops when the 2nd item fails {FAILURES}",
        f"wave 3: 30% of the wave's 2 items: stops when the 1st item fails {FAILURES}",
        f"wave 4: 30% of the wave's 6 items: stops when the 2nd item fails {FAILURES}",
    ]


@pytest.mark.parametrize("step", [OFF, UNBOUND], ids=["enabled", "bound"])
def test_the_first_wave_is_told_to_have_every_change(plan: Plan, step: Step) -> None:
    lines = told(plan(Schedule(waves=(Wave(count=1),)), step, t6=RENAMED))
    assert lines[-3:-1] == [
        "in 2 waves:",
        "  wave 1: 2 tenants (one for each of 2 changes): t0, t6",
    ]


def test_more_tenants_than_changes_are_told_as_such(plan: Plan) -> None:
    lines = told(plan(Schedule(waves=(Wave(count=7),)), t6=RENAMED))
    assert lines[-1] == (
        "  wave 1: 7 tenants (each of 2 changes on at least one): t0, t2, t3, t4, t5 and 2 more"
    )


def test_a_wave_without_tenants_is_not_told_and_the_others_keep_their_numbers(plan: Plan) -> None:
    lines = told(plan(Schedule(waves=(Wave(count=2), Wave(count=1), Wave(share=1)))))
    assert lines == ["in 2 waves:", "  wave 1: 2 tenants: t0, t2", "  wave 3: 5 tenants"]


def test_without_waves_all_is_one(plan: Plan) -> None:
    journal = plan(Schedule(halt=(Rule(of="failures", share=0.1),)))
    assert told(journal) == [
        f"10% of the wave's 14 items: stops when the 2nd item fails {FAILURES}"
    ]
    assert document(journal)["waves"] == [
        {
            "wave": None,
            "tenants": [name for name in NAMES if name != "t1"],
            "items": 14,
            "soak_seconds": 0.0,
            "probe": None,
            "halts": [f"10% of the wave's 14 items: stops when the 2nd item fails {FAILURES}"],
        }
    ]


def test_a_plan_that_goes_out_at_once_says_nothing_of_it(plan: Plan) -> None:
    journal = plan(Schedule())
    assert told(journal) == []
    assert document(journal)["waves"] == []
    assert "## Waves" not in markdown(journal)
    assert "## Halts" not in markdown(journal)


def test_what_is_left_of_waves_is_told(plan: Plan) -> None:
    journal = plan(Schedule(waves=(Wave(count=1, soak=7200), Wave(count=3))))
    t0 = next(row for row in journal.tenants() if row.name == "t0")
    for item in journal.items([State.PENDING], 2):
        assert item.tenant == t0.id
        journal.write([journal.ended(item, Outcome(state=State.APPLIED))])
    assert told(journal) == ["in 2 waves:", "  wave 2: 2 tenants: t2, t3", "  wave 3: 4 tenants"]


def test_lines_are_no_wider_than_the_screen_and_steer_nothing(plan: Plan) -> None:
    wave = Wave(count=7, probe="./smoke.sh '\x1b[2J'")
    lines = told(plan(Schedule(waves=(wave,), halt=(Rule(of="in_a_row", count=5),))), 60)
    assert max(map(len, lines)) <= 60
    assert all(line.isprintable() for line in lines)


def markdown(journal: Journal) -> str:
    return "".join(as_markdown(journal, summary(journal), TENANTS))


def document(journal: Journal) -> Any:
    return json.loads("".join(as_json(journal, summary(journal), TENANTS)))


def test_a_ticket_has_every_tenant_of_every_wave(plan: Plan) -> None:
    text = markdown(plan(CAUTIOUS))
    assert r"- wave 1: 1 tenant, then 10 min, then ./smoke.sh --all: t0" in text
    assert "- wave 4: 3 tenants: t5, t6, t7\n" in text
    assert "\n## Halts\n\n- stops when the 3rd item fails (" in text


def test_machines_are_told_each_wave(plan: Plan) -> None:
    first, *_, last = document(plan(CAUTIOUS))["waves"]
    assert first == {
        "wave": 1,
        "tenants": ["t0"],
        "items": 2,
        "soak_seconds": 600.0,
        "probe": "./smoke.sh --all",
        "halts": [
            f"stops when the 3rd item fails {FAILURES}",
            f"30% of the wave's 2 items: stops when the 1st item fails {FAILURES}",
        ],
    }
    assert (last["wave"], last["tenants"], last["items"]) == (4, ["t5", "t6", "t7"], 6)
