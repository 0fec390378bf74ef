"""Schedules as people write them: what is read, and what is complained of, in jobs and apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bulkhooks.errors import BadInput
from bulkhooks.jobfile import Job, load_job
from bulkhooks.schedule import AT_ONCE, Rule, Schedule, Wave, Window
from bulkhooks.schedulefile import load_schedule
from bulkhooks.tenants import Tenant

HOOK = "01GEPVQNVSHW1ZVB7WVPRYKX18"
EDIT = f"edits: [{{tenant: dev, hook: {HOOK}, set: {{enabled: false}}}}]\n"
NIGHT = "{start: 2026-11-28T01:00, end: 2026-11-28T03:00, timezone: Europe/London}"
TAGGED = {"dev": replace(Tenant.with_token("dev", "https://x", "x"), tags=frozenset({"prod"}))}
TENANTS = {"dev": Tenant.with_token("dev", "https://dev.example", "x")}


def read(folder: Path, text: str) -> Schedule:
    """The schedule of a text: that of a job and that of a file of its own, which are the same."""
    (folder / "schedule.yaml").write_text(text)
    (folder / "job.yaml").write_text(EDIT + text)
    apart, job = load_schedule(folder / "schedule.yaml"), load_job(folder / "job.yaml")
    assert job.schedule == apart
    assert len(list(job.edits(TENANTS))) == 1
    return apart


def wrong(folder: Path, text: str) -> list[str]:
    """What is wrong with a schedule, in a file of its own and as a job's."""
    (folder / "s.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        load_schedule(folder / "s.yaml")
    apart = [(each.line, each.key, each.what) for each in caught.value.complaints]
    (folder / "job.yaml").write_text(EDIT + text)
    with pytest.raises(BadInput) as caught:
        list(load_job(folder / "job.yaml").edits(TENANTS))
    here = [((each.line or 1) - 1, each.key, each.what) for each in caught.value.complaints]
    assert here == apart
    return [f"{line}: {key}: {what}" for line, key, what in apart]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            NIGHT,
            Window(
                start="2026-11-28T01:00",
                end="2026-11-28T03:00",
                timezone="Europe/London",
                written="2026-11-28T01:00 to 2026-11-28T03:00",
            ),
        ),
        (
            "{start: 2026-11-28 01:00:30, end: '2026-11-28T03:00', timezone: UTC}",
            Window(
                start="2026-11-28T01:00:30",
                end="2026-11-28T03:00",
                timezone="UTC",
                written="2026-11-28 01:00:30 to 2026-11-28T03:00",
            ),
        ),
        (
            "{cron: 5 1 * * 6, for: 1h30m, timezone: UTC}",
            Window(
                cron="5 1 * * 6", seconds=5400.0, timezone="UTC", written="cron 5 1 * * 6 for 1h30m"
            ),
        ),
    ],
)
def test_a_window_is_read_as_it_is_written(tmp_path: Path, text: str, wanted: Window) -> None:
    assert read(tmp_path, f"window: {text}\n") == Schedule(window=wanted)


@pytest.mark.parametrize(
    ("every", "cron"),
    [
        ("Sat 01:00", "0 1 * * 6"),
        ("Sun 00:05", "5 0 * * 0"),
        ("day 22:30", "30 22 * * *"),
        ("Mon-Fri 01:00", "0 1 * * 1,2,3,4,5"),
        ("Mon,Thu 22:30", "30 22 * * 1,4"),
        ("Sat-Mon,Wed 09:00", "0 9 * * 0,1,3,6"),
        ("Mon-Sun 09:00", "0 9 * * 0,1,2,3,4,5,6"),
    ],
)
def test_days_and_a_time_are_a_line_of_cron(tmp_path: Path, every: str, cron: str) -> None:
    schedule = read(tmp_path, f"window: {{every: '{every}', for: 2h, timezone: UTC}}\n")
    assert schedule.window is not None
    assert (schedule.window.cron, schedule.window.seconds) == (cron, 7200.0)
    assert schedule.window.written == f"every {every} for 2h"


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1d2h3m4s", 93784)],
)
def test_a_duration_is_read(tmp_path: Path, duration: str, seconds: float) -> None:
    (wave,) = read(tmp_path, f"waves: [{{tenants: 1, soak: {duration}}}]\n").waves
    assert wave.soak == seconds


def test_waves_halting_and_freezes_are_read(tmp_path: Path) -> None:
    (tmp_path / "smoke test.sh").write_text("#!/bin/sh\n")
    (tmp_path / "smoke test.sh").chmod(0o700)
    text = f"""\
window: {NIGHT}
during: window
waves:
  - 1
  - {{tenants: 5%, soak: 10m, probe: "'./smoke test.sh' --fast"}}
  - [canary, eu]
  - {{tags: [us], probe: read-back}}
  - 12.5 %
  - 100%
halt: {{failures: 5% of wave, in_a_row: 5, tenants: 2}}
"""
    (tmp_path / "s.yaml").write_text(text)
    read = load_schedule(tmp_path / "s.yaml")
    assert read.freeze
    assert read.waves == (
        Wave(count=1),
        Wave(share=0.05, soak=600.0, probe="'./smoke test.sh' --fast"),
        Wave(tags=("canary", "eu")),
        Wave(tags=("us",), probe="read-back"),
        Wave(share=0.125),
        Wave(share=1.0),
    )
    assert read.halt == (
        Rule(of="failures", share=0.05),
        Rule(of="in_a_row", count=5),
        Rule(of="tenants", count=2),
    )


def test_a_job_that_says_nothing_is_carried_out_at_once(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(EDIT)
    assert load_job(tmp_path / "job.yaml").schedule == AT_ONCE


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("windw: {}", ["1: windw: unknown key `windw`; did you mean `window`?"]),
        (
            "window:\n  start: 2026-11-28T01:00\n  timezone: UTC",
            ["2: window.start: needs `end` beside it"],
        ),
        (
            "window:\n  every: Sat 1:00\n  for: 2\n  timezone: UTC",
            [
                (
                    "2: window.every: must be days and a time like `Sat 01:00`, `Mon-Fri 01:00`, "
                    "`Mon,Thu 22:30` or `day 01:00`, not `Sat 1:00`"
                ),
                "3: window.for: must be like 90s, 10m, 2h, 1h30m or 1d, not `2`",
            ],
        ),
        (
            "window:\n  every: Sat 01:00\n  for: 2hours\n  timezone: UTC",
            ["3: window.for: must be like 90s, 10m, 2h, 1h30m or 1d, not `2hours`"],
        ),
        (
            "window:\n  every: Sat 01:00\n  for: 2h\n  timezone: Europe/Londn",
            [
                (
                    "4: window.timezone: `Europe/Londn` is no name of the IANA database, like "
                    "Europe/London; did you mean `Europe/London`?"
                )
            ],
        ),
        (
            "window:\n  every: day 01:00\n  for: 25h\n  timezone: UTC",
            ["3: window.for: is longer than until it opens again, 1 d"],
        ),
        (
            "window:\n  cron: 0 1 30 2 *\n  for: 2h\n  timezone: UTC",
            [
                (
                    "2: window.cron: is no line of cron (minute hour day month weekday): "
                    "bad day-of-month"
                )
            ],
        ),
        (
            "window:\n  start: 2026-11-28T03:00\n  end: 2026-11-28T01:00\n  timezone: UTC",
            ["3: window.end: must be after `start`"],
        ),
        ("during: window", ["1: during: needs `window` beside it"]),
        (
            "waves:\n- 5%\n- 5%",
            ["3: waves[1]: must be more than what is ahead of it: the waves ahead count too"],
        ),
        (
            "waves:\n- 3\n- 5%\n- 2",
            ["4: waves[2]: must be more than what is ahead of it: the waves ahead count too"],
        ),
        (
            "waves:\n- 100%\n- [canary]",
            ["3: waves[1]: comes after 100%: no tenant is left for it"],
        ),
        (
            "waves: [all]",
            [
                (
                    "1: waves[0]: must be a number of tenants, 1 or more, or a share of them like "
                    '"5%", not `all`'
                )
            ],
        ),
        (
            "waves:\n- tenants: 1\n  soak: 10",
            ["3: waves[0].soak: must be like 90s, 10m, 2h, 1h30m or 1d, not `10`"],
        ),
        (
            "waves:\n- tenants: 1\n  soak: a while\n  prob: x",
            [
                "3: waves[0].soak: must be like 90s, 10m, 2h, 1h30m or 1d, not `a while`",
                "4: waves[0].prob: unknown key `prob`; did you mean `probe`?",
            ],
        ),
        (
            "waves: [{tenants: 1, probe: ./no.sh}]",
            ["1: waves[0].probe: `./no.sh` is not there"],
        ),
        (
            "waves: [{tenants: 1, probe: ./s.yaml}]",
            ["1: waves[0].probe: `./s.yaml` cannot be run; chmod +x makes it so"],
        ),
        (
            'waves: [{tenants: 1, probe: "smoke \'a"}]',
            ["1: waves[0].probe: is no command: no closing quotation"],
        ),
        (
            "halt: {failures: 5%}",
            [
                (
                    "1: halt.failures: must be a whole number, 1 or more, or a share like "
                    '"5% of wave", not `5%`'
                )
            ],
        ),
        (
            "halt: {in_row: 5}",
            ["1: halt.in_row: unknown key `in_row`; did you mean `in_a_row`?"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, complaints: list[str]
) -> None:
    assert wrong(tmp_path, f"{text}\n") == complaints


def test_tags_of_waves_must_be_known(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("waves:\n- 1\n- [prd]\n")
    with pytest.raises(BadInput) as caught:
        load_schedule(tmp_path / "s.yaml", tenants=TAGGED)
    file = tmp_path / "s.yaml"
    assert str(caught.value) == f"{file}:3: waves[1]: unknown tag `prd`; did you mean `prod`?"
    (tmp_path / "job.yaml").write_text(EDIT + "waves: [[prd]]\n")
    with pytest.raises(BadInput, match="unknown tag `prd`"):
        list(load_job(tmp_path / "job.yaml").edits(TENANTS))


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        ({"hook": HOOK, "delete": True}, "delete: {}, for it would have another id then"),
        (
            {"hook": HOOK, "set_secrets": {"A": "env:A"}},
            "set_secrets: {}, for the value that a secret has now is not shown",
        ),
        (
            {"action": {"name": "a"}, "set": {"bound": True}, "deploy": True},
            "deploy: {}, for a first deployment stays",
        ),
        (
            {"create": {"name": "a", "triggerId": "post-login", "code": "x"}},
            "create: {}, for it would have to be deleted",
        ),
        ({"hook": HOOK, "set": {"enabled": False}}, None),
        ({"actions": {"name": "a"}, "set": {"bound": False}}, None),
    ],
)
def test_a_freeze_takes_what_can_be_put_back(
    edit: Mapping[str, object], complaint: str | None
) -> None:
    window = Window(cron="0 1 * * 6", seconds=3600.0, timezone="UTC")
    freeze = Schedule(window=window, freeze=True)
    edits = [{"tenant": "dev", **edit}]
    assert len(list(Job.of("job", edits, schedule=Schedule(window=window)).edits(TENANTS))) == 1
    job = Job.of("job", edits, schedule=freeze)
    if complaint is None:
        assert len(list(job.edits(TENANTS))) == 1
        return
    with pytest.raises(BadInput) as caught:
        list(job.edits(TENANTS))
    (found,) = caught.value.complaints
    why = "cannot be put back at the window's end (`during: window`)"
    assert f"{found.line}: {found.key}: {found.what}" == f"1: {complaint.format(why)}"


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        (Schedule(freeze=True), "during: needs `window` beside it"),
        (
            Schedule(window=Window(cron="0 1 * *", seconds=60.0, timezone="UTC")),
            (
                "window.cron: is no line of cron (minute hour day month weekday): "
                "wrong number of fields"
            ),
        ),
    ],
)
def test_a_schedule_made_in_code_is_checked_too(schedule: Schedule, complaint: str) -> None:
    edits = [{"tenant": "dev", "hook": HOOK, "set": {"enabled": False}}]
    job = Job.of("job", edits, schedule=schedule)
    assert not job.sound
    with pytest.raises(BadInput) as caught:
        list(job.edits(TENANTS))
    assert str(caught.value) == f"job: {complaint}"
