"""bulkhooks report: what became of a job is told whole, and what it tells stays text."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from bulkhooks import Job, account, chart
from bulkhooks.errors import Refused
from bulkhooks.freeze import Freeze
from bulkhooks.items import Outcome, State
from bulkhooks.journal import Event, Journal
from bulkhooks.page import check_page, save_page
from bulkhooks.report import Books, Summary
from bulkhooks.sandbox import Sandbox
from bulkhooks.schedule import Span
from engine import Undoing, acting, one_on, run
from nights import BEGAN, Page, night
from test_freeze import END, HOOKS_OFF, START, UNBOUND
from test_freeze import night as frozen
from test_moves import move, moved
from world import Make

LONDON: Final = ZoneInfo("Europe/London")
EVIL: Final = (
    "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u2028\x00\x1b[31m\u202e"
)


def page_of(journal: Path, to: Path) -> Page:
    """The page of a journal, read again."""
    with Journal.read(journal) as kept:
        account.save_account(kept, to)
    return Page(to.read_text())


def shown(page: Page) -> str:
    """The text of a page, in a row."""
    return " ".join(" ".join(page.text).split())


def rows_of(page: Page) -> list[list[Any]]:
    """The items that a page lists."""
    return list(json.loads(page.data))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    with night(tmp_path / "j"):
        pass
    return tmp_path / "j"


# ---- what it tells


def test_a_night_of_hooks_and_actions_is_told_in_every_way(make: Make) -> None:
    world = make(("t0", "t1"), hooks=0)
    for name in world.tenants:
        world.sandbox.add_hook(name, id="H", name="check", triggerId=PRE, enabled=True)
        world.sandbox.add_action(name, name="enrich", triggerId="post-login", bound=True)
    job = [
        {"tenants": ["t0", "t1"], "hooks": {"name": "check"}, "set": {"enabled": False}},
        {"tenants": ["t0", "t1"], "action": {"name": "enrich"}, "set": {"bound": False}},
        {"tenant": "t1", "hook": {"name": "none"}, "set": {"enabled": False}, "note": "=1+1"},
    ]
    world.write("job.jsonl", job)
    world.run_job("job.jsonl", status=1)
    books = world.books()

    told = json.loads(world.call("report", "j", "--json").stdout)
    assert {state: told[state] for state in ("planned", "applied", "failed")} == {
        "planned": 5,
        "applied": 4,
        "failed": 1,
    }
    assert told["verdict"] == "4 of 5 items done; 1 failed"
    assert told["commands"]["Take back what was written"] == "bulkhooks undo j"
    assert told["commands"]["Take up what failed"] == books["next"]
    kinds = Counter("action" if "action" in item else "hook" for item in told["items"])
    assert kinds == {"hook": 3, "action": 2}
    assert [event["kind"] for event in told["events"]][:1] == ["apply"]
    # Whatever was sent is in the timeline, to the last request.
    for name, each in books["tenants"].items():
        mine = [sample for sample in told["timeline"] if sample["tenant"] == name]
        assert sum(sample["requests"] for sample in mine) == each["requests"] > 0

    rows = list(csv.DictReader(world.call("report", "j", "--csv").stdout.splitlines()))
    assert [row["state"] for row in rows].count("applied") == 4
    assert {row["note"] for row in rows} == {"", "'=1+1"}
    failed = next(row for row in rows if row["state"] == "failed")
    assert (failed["tenant"], failed["name"], failed["sent_at"]) == ("t1", "none", "")

    text = world.call("report", "j", "--markdown").stdout
    assert "**4 of 5 items done; 1 failed**" in text
    assert "- disable on 2 tenants: check" in text
    assert "- unbind action enrich on 2 tenants" in text
    assert "    bulkhooks undo j\n" in text

    ended = world.call("report", "j", "--html", "night.html")
    assert (ended.stdout, ended.stderr) == ("", "written to night.html\n")
    page = Page((world.folder / "night.html").read_text())
    assert "4 of 5 items done; 1 failed" in shown(page)
    assert "unbind action enrich on 2 tenants" in shown(page)
    assert Counter(row[0] for row in rows_of(page)) == {"applied": 4, "failed": 1}


PRE: Final = "pre-user-registration"


@pytest.mark.parametrize("words", [(), ("--csv", "--json"), ("--html", "a.html", "--markdown")])
def test_one_way_of_telling_is_to_be_named(make: Make, words: tuple[str, ...]) -> None:
    world = make(("t0",))
    with night(world.folder / "j"):
        pass
    ended = world.call("report", "j", *words, status=2)
    assert "name one of --html FILE, --markdown, --csv and --json" in ended.stderr


def test_a_page_tells_all_of_a_night(journal: Path, tmp_path: Path) -> None:
    page = page_of(journal, tmp_path / "a.html")
    text = shown(page)
    assert "32 of 36 items done; 1 failed, 1 uncertain, 1 skipped, 1 pending" in text
    assert "CHG-10423" in text
    assert "Sat 2026-11-28 00:40:00, Europe/London" in text
    for words in ("bulkhooks apply", "bulkhooks undo", "--csv"):
        assert words in text
    assert "its token lacks update:hooks" in text
    assert "grant it, then apply --failed" in text
    assert "disable 11 hooks on 6 tenants: fraud-check" in text
    assert "unbind 10 actions on 5 tenants: enrich" in text
    assert "+ if (user.blocked) return cb(new Error('no'));" in text
    assert "wave 2 began: 4 tenants" in text
    assert "the window opened, until Sat 2026-11-28 03:00:00" in text
    assert {row[0] for row in rows_of(page)} == {
        "failed",
        "uncertain",
        "skipped",
        "pending",
        "applied",
    }
    assert [row[0] != "applied" for row in rows_of(page)] == [True] * 4 + [False] * 32


def test_every_link_leads_somewhere_and_every_heading_is_in_order(
    journal: Path, tmp_path: Path
) -> None:
    page = page_of(journal, tmp_path / "a.html")
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    links = {str(attributes["href"]) for tag, attributes in page.tags if tag == "a"}
    assert len(ids) == len(set(ids))
    assert links <= {f"#{id}" for id in ids}
    assert {f"#c{row[6]}" for row in rows_of(page) if row[6]} <= {f"#{id}" for id in ids}
    depths = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert depths[0] == 1
    assert all(now <= was + 1 for was, now in pairwise(depths))
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row") for attributes in heads)


def test_a_page_needs_nothing_else(journal: Path, tmp_path: Path) -> None:
    page = page_of(journal, tmp_path / "a.html")
    outside = {"src", "srcset", "action", "data", "poster", "background", "style"}
    for tag, attributes in page.tags:
        assert tag not in ("link", "base", "iframe", "object", "embed", "img", "form"), tag
        assert outside.isdisjoint(attributes), attributes
        assert not any(name.startswith("on") for name in attributes), attributes
    assert "url(" not in page.style
    assert "@import" not in page.style
    (policy,) = [
        str(attributes["content"])
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src 'sha256-" in policy
    assert "unsafe" not in policy


def test_what_servers_and_files_say_stays_text(tmp_path: Path) -> None:
    with night(tmp_path / "plain"):
        pass
    with night(
        tmp_path / "j", job=EVIL, label=EVIL, meta={"note": EVIL, "halted": EVIL}
    ) as journal:
        item = journal.items([State.PENDING], 1)[0]
        ended = Outcome(state=State.FAILED, cause=EVIL, hint=EVIL)
        journal.write(
            [
                journal.ended(item, ended),
                journal.event("wave", BEGAN + 300, n=EVIL, tenants=[EVIL]),
                journal.event(EVIL, BEGAN + 301, what=EVIL),
                journal.event("probe", BEGAN + 302, n=2, verdict=EVIL, command="{n}", told=EVIL),
            ]
        )
    plain = page_of(tmp_path / "plain", tmp_path / "plain.html")
    page = page_of(tmp_path / "j", tmp_path / "a.html")
    tags = {tag for tag, _ in page.tags}
    assert tags - {"section"} <= {tag for tag, _ in plain.tags}
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    text = (tmp_path / "a.html").read_text()
    assert text.count("<script") == 2
    assert not {"\x00", "\x1b", "\u2028", "\u202e"} & set(text)
    assert any(row[2].startswith("</script><script>alert(1)") for row in rows_of(page))
    with Journal.read(tmp_path / "j") as kept:
        marked = "".join(account.as_markdown(kept))
        table = "".join(account.as_csv(kept))
        whole = json.loads("".join(account.as_json(kept)))
    unmarked = "\n".join(line for line in marked.splitlines() if not line.startswith("    "))
    assert not re.search(r"(?<!\\)<", unmarked)
    assert not {"\x00", "\x1b", "\u2028", "\u202e"} & set(marked + table)
    assert whole["note"] == EVIL


@pytest.mark.parametrize("begins", list("=+-@"))
def test_no_cell_of_a_table_is_a_formula(tmp_path: Path, begins: str) -> None:
    with night(tmp_path / "j", tenants=1, each=1, label=f"{begins}cmd|' /C calc'!A0") as journal:
        table = "".join(account.as_csv(journal))
    (row,) = csv.DictReader(table.splitlines())
    assert row["name"] == f"'{begins}cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("job", "there", "name"), [(HOOKS_OFF, one_on, "a"), (UNBOUND, acting, "c")]
)
def test_what_was_not_put_back_stands_first(
    tmp_path: Path, job: Job, there: Callable[[], Sandbox], name: str
) -> None:
    here = frozen(tmp_path / "night", there())
    here.refuses = lambda method, url, body: method == "PATCH" and here.clock() > START + 100
    assert here.run(job).exit_status == 5
    to = tmp_path / "a.html"
    for journal in (here.journal, here.putback):
        with Journal.read(journal) as kept:
            marked = "".join(account.as_markdown(kept))
            told = json.loads("".join(account.as_json(kept)))
        first, second = told["alarms"][:2]
        assert "NOT put back: t0" in first
        assert second.startswith(f"t0: {name}: failed: ")
        assert marked.index("NOT put back") < marked.index("**") < marked.index("journal:")
        assert told["commands"]["Take up what failed"] == f"bulkhooks apply {here.putback} --failed"
        assert "Take back what was written" not in told["commands"]
        classes = [attributes.get("class") for _, attributes in page_of(journal, to).tags]
        assert classes.index("alarms") < classes.index("verdict blocked") < classes.index("facts")


def test_a_freeze_that_was_put_back_is_no_alarm(tmp_path: Path) -> None:
    here = frozen(tmp_path / "night")
    assert here.run(HOOKS_OFF).exit_status == 0
    verdicts = {
        here.journal: "The one item was as the job wanted; what it changed is put back",
        here.putback: "The one item is put back",
    }
    for journal, verdict in verdicts.items():
        with Journal.read(journal) as kept:
            told = json.loads("".join(account.as_json(kept)))
            assert (told["alarms"], told["verdict"]) == ([], verdict)
            drawn = chart.draw(kept, LONDON, Span(START, END))
        assert drawn is not None
        bands = {name: [band.told for band in row] for name, row in drawn.bands}
        assert bands == {"freeze": ["freeze"]}
        assert "freeze put back on Tue 2023-11-14 " in shown(page_of(journal, tmp_path / "a.html"))
    assert "putting back: it is time" in shown(page_of(here.journal, tmp_path / "a.html"))


def test_what_halted_a_job_stands_first(tmp_path: Path) -> None:
    with night(tmp_path / "j", meta={"halted": "the 3rd item failed"}) as journal:
        marked = "".join(account.as_markdown(journal))
    looked = "it goes on when somebody has looked at it"
    assert marked.startswith(f"# freeze\n\n> Halted: the 3rd item failed; {looked}\n\n**32 of 36")


def test_a_wave_that_went_badly_is_told(make: Make) -> None:
    world = make(("t0", "t1", "t2"), hooks=0)
    for name in world.tenants:
        world.sandbox.add_hook(name, name="check", triggerId=PRE, enabled=True)
        world.sandbox.add_action(name, name="enrich", triggerId="post-login", bound=True)
    probe = world.folder / "smoke.sh"
    probe.write_text("#!/bin/sh\necho '<logins fail>'\nexit 1\n")
    probe.chmod(0o700)
    edits = [
        {"tenants": "*", "hooks": {"name": "check"}, "set": {"enabled": False}},
        {"tenants": "*", "actions": {"name": "enrich"}, "set": {"bound": False}},
    ]
    waves = [{"tenants": 1, "probe": "./smoke.sh"}, "100%"]
    world.write("job.json", {"name": "job", "edits": edits, "waves": waves})
    world.run_job("job.json", status=3)
    rows = list(csv.DictReader(world.call("report", "j", "--csv").stdout.splitlines()))
    assert {row["tenant"]: row["wave"] for row in rows} == {"t0": "1", "t1": "2", "t2": "2"}
    assert {row["state"] for row in rows if row["wave"] == "1"} == {"applied"}
    assert {row["state"] for row in rows if row["wave"] == "2"} == {"pending"}
    told = json.loads(world.call("report", "j", "--json").stdout)
    assert told["waves"] == [["t0"], ["t1", "t2"]]
    assert told["alarms"][0].startswith("Halted: wave 1: it went badly: <logins fail>")
    assert told["commands"]["Go on, when somebody has looked at why it halted"].endswith(
        " --continue"
    )
    world.call("report", "j", "--html", "a.html")
    text = shown(Page((world.folder / "a.html").read_text()))
    assert "wave 1 began: 1 tenant, t0" in text
    assert "wave 1 is done: bad (<logins fail>)" in text
    assert "halted: wave 1: it went badly" in text


def test_hooks_that_become_actions_are_told_and_their_way_back(tmp_path: Path) -> None:
    core, books = moved(tmp_path, move())
    assert books[State.APPLIED] == 1
    run(tmp_path / "u", core, plan=Undoing(tmp_path / "j", max_deletes=1))
    for journal, says in (("j", "move hook h to an action on t0"), ("u", "move hook h back")):
        with Journal.read(tmp_path / journal) as kept:
            assert says in "".join(account.as_markdown(kept))
        assert says in shown(page_of(tmp_path / journal, tmp_path / "a.html"))


@pytest.mark.parametrize(
    ("meta", "troubles", "verdict", "commands"),
    [
        ({}, 0, "All 36 items are as the job wants", ["undo", "report"]),
        ({}, 4, "32 of 36 items done; 1 failed, 1 uncertain", ["apply", "undo", "report"]),
        ({"sandbox": "yes"}, 0, "All 36 items are as the job wants", ["report"]),
        ({"undone_by": "u"}, 0, "All 36 items are as the job wants", ["status", "report"]),
        ({"undoes": "other"}, 0, "All 36 items are as the job wants", ["undo", "report"]),
    ],
    ids=["well", "trouble", "sandbox", "undone", "undo"],
)
def test_the_commands_are_those_that_can_be_typed(
    tmp_path: Path, meta: dict[str, str], troubles: int, verdict: str, commands: list[str]
) -> None:
    with night(tmp_path / "j", troubles=troubles, meta=meta) as journal:
        told = json.loads("".join(account.as_json(journal)))
    assert told["verdict"].startswith(verdict)
    assert [words.split()[1] for words in told["commands"].values()] == commands


def test_a_page_lists_so_many_items_and_says_where_all_are(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_ITEMS", 10)
    page = page_of(journal, tmp_path / "a.html")
    assert len(rows_of(page)) == 10
    assert [row[0] for row in rows_of(page)].count("applied") == 6
    assert "10 of 36 items are listed, those first that are not done: --csv has all." in shown(page)


def test_a_journal_that_is_being_worked_on_is_told_as_it_is(tmp_path: Path) -> None:
    with night(tmp_path / "j") as journal, journal.transaction() as db:
        db.execute("DELETE FROM events")
        page = page_of(tmp_path / "j", tmp_path / "a.html")
        assert "wave 2 began: 4 tenants" in shown(page)


@pytest.mark.parametrize(
    ("kind", "what", "says"),
    [
        ("wave", {"n": 1, "tenants": ["t0", "t1"]}, "wave 1 began: 2 tenants, t0, t1"),
        ("wave", {"n": 1, "tenants": 3}, "wave 1 began: 3 tenants"),
        ("wave", {}, "wave"),
        (
            "wave-done",
            {"n": 1, "verdict": "bad", "told": "3 differ"},
            "wave 1 is done: bad (3 differ)",
        ),
        ("soak", {"n": 2, "seconds": 600}, "waiting 10 min after wave 2"),
        (
            "probe",
            {"n": 1, "command": "./p", "verdict": "ask"},
            "the probe of wave 1 said ask: ./p",
        ),
        ("clock", {"tenant": "t0", "ahead": 41}, "the clock of t0 is 41 s ahead of this host's"),
        (
            "clock",
            {"tenant": "t0", "ahead": -90},
            "the clock of t0 is 1 min 30 s behind this host's",
        ),
        ("set", {"max_rate": 4.0, "reserve": None, "tenants": None}, "set max_rate=4.0"),
        ("putback", {"why": "it is time", "journal": "j"}, "putting back: it is time"),
        ("putback", {"left": 1}, "put back, but for 1 item"),
        ("place", {"told": "t0: a: elsewhere"}, "t0: a: elsewhere"),
        ("window", {"start": BEGAN}, "window start=Sat 2026-11-28 01:00:00"),
        ("new", {"a": [1]}, "new a=[1]"),
    ],
)
def test_an_event_is_told_in_words(kind: str, what: dict[str, Any], says: str) -> None:
    assert account._says(Event(BEGAN, kind, what), LONDON) == says


# ---- where it goes


def test_only_a_page_of_ours_is_written_over(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.html").write_text("<!doctype html>\n<p>mine")
    with pytest.raises(Refused, match=r"notes.html is there, and was not made by bulkhooks"):
        page_of(journal, tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "<!doctype html>\n<p>mine"
    page_of(journal, tmp_path / "a.html")
    page_of(journal, tmp_path / "a.html")
    with pytest.raises(Refused, match="is a folder; name a file"):
        check_page(tmp_path)
    with pytest.raises(Refused, match="none is not a folder"):
        check_page(tmp_path / "none" / "a.html")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    save_page(tmp_path / "a.html", "page.html", scripted=None)
    before = (tmp_path / "a.html").read_text()
    with pytest.raises(Exception, match="undefined"):
        save_page(tmp_path / "a.html", "verdict.html", scripted=None)
    assert (tmp_path / "a.html").read_text() == before
    assert os.listdir(tmp_path) == ["a.html"]


# ---- how it looks


def ratio(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG 2 counts it."""

    def light(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = "".join(2 * each for each in digits) if len(digits) == 3 else digits
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def palettes() -> list[dict[str, str]]:
    """The colours of the light and of the dark page."""
    style = (Path(account.__file__).parent / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in blocks]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_what_is_to_be_read_can_be_read(palette: dict[str, str]) -> None:
    for text in ("ink", "faint", "alarm", "warn", "good", "link"):
        for paper in ("paper", "code"):
            assert ratio(palette[text], palette[paper]) >= 4.5, (text, paper)
    pairs = [("alarm", "alarm-paper"), ("good", "plus-paper")]
    pairs += [("ink", band) for band in ("band", "soak", "wait", "alarm-paper")]
    for text, paper in pairs:
        assert ratio(palette[text], palette[paper]) >= 4.5, (text, paper)
    for shape in ("mark", "alarm", "warn", "good", "faint"):  # what is no text needs 3
        assert ratio(palette[shape], palette["code"]) >= 3, shape


# ---- its charts


def test_time_in_which_nothing_went_on_is_left_out() -> None:
    axis = chart.Axis.over([(100.0, 200.0), (150.0, 400.0), (90_000.0, 90_100.0)])
    assert axis is not None
    assert axis.stretches == ((100.0, 400.0), (90_000.0, 90_100.0))
    assert axis.x(100.0) == 0.0
    assert axis.x(90_100.0) == pytest.approx(1000.0)
    assert axis.x(50_000.0) == axis.x(400.0)
    assert axis.x(400.0) == pytest.approx(3 * (1000.0 - axis.x(90_000.0)))
    assert 0 < axis.x(90_000.0) - axis.x(400.0) < 20
    assert axis.x(-5.0) == 0.0
    assert axis.x(99_999.0) == pytest.approx(1000.0)


def test_a_chart_shows_every_request_once(journal: Path) -> None:
    with Journal.read(journal) as kept:
        drawn = chart.draw(kept, LONDON)
        requests = sum(row.requests for row in kept.tenants())
        sampled = sum(sample.requests for sample in kept.timeline())
    assert drawn is not None
    assert drawn.whole.requests == requests == sampled
    bars = re.findall(r"M([\d.e+]+),100V([\d.e+-]+)H([\d.e+]+)V100Z", drawn.whole.sent)
    area = sum((100 - float(y)) / 100 * (float(to) - float(x)) for x, y, to in bars)
    assert area / drawn.axis.scale * drawn.whole.peak == pytest.approx(requests, rel=0.02)


def test_windows_and_waves_lie_above_the_same_time(journal: Path) -> None:
    with Journal.read(journal) as kept:
        drawn = chart.draw(kept, LONDON)
    assert drawn is not None
    bands = dict(drawn.bands)
    assert list(bands) == ["windows", "waves"]
    assert [band.told for band in bands["waves"]] == ["wave 1", "soak", "wave 2"]
    first, soak, second = bands["waves"]
    assert first.x == pytest.approx(drawn.axis.x(BEGAN), abs=0.01)
    assert soak.x + soak.width == pytest.approx(drawn.axis.x(BEGAN + 180), abs=0.02)
    assert first.x < soak.x < first.x + first.width < second.x
    assert second.x + second.width == pytest.approx(drawn.axis.x(BEGAN + 600), abs=0.02)
    assert [tick.told for tick in drawn.ticks] == ["01:00", "01:05", "01:10"]


def test_so_many_tenants_have_a_chart_those_that_were_slowed_most(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart, "TENANTS", 2)
    with Journal.read(journal) as kept:
        drawn = chart.draw(kept, LONDON)
        slowed = sorted(kept.tenants(), key=lambda row: -row.throttled)
    assert drawn is not None
    assert (len(drawn.tenants), drawn.more) == (2, 4)
    assert drawn.tenants[0].throttled == slowed[0].throttled > 0


def test_without_requests_there_is_no_chart(tmp_path: Path) -> None:
    with night(tmp_path / "j") as journal:
        with journal.transaction() as db:
            db.execute("DELETE FROM timeline")
        assert chart.draw(journal, LONDON) is None
    assert "Timeline" not in shown(page_of(tmp_path / "j", tmp_path / "a.html"))


def test_the_marks_of_time_are_round_on_the_day_of_a_clock_change() -> None:
    """In London 2026-10-25 has the hour from one to two twice."""
    axis = chart.Axis.over([(1_792_879_200.0, 1_792_897_200.0)])  # 23:00 to 05:00
    assert axis is not None
    told = [tick.told for tick in axis.ticks(LONDON)]
    assert all(each.endswith(":00") for each in told), told


FROZEN: Final = Freeze(
    start=0.0, end=1.0, state="open", putback="", not_put_back=(), places=(), told="", next=()
)
LEFT: Final[dict[str, dict[str, Any]]] = {
    "pending": {},
    "failed": {},
    "skipped": {},
    "uncertain": {},
    "halted": {"halted": "3 items failed"},
    "wave": {"wave": "wave 2"},
    "open": {"freeze": FROZEN},
}


@pytest.mark.parametrize("one", LEFT)
@pytest.mark.parametrize("other", LEFT)
def test_the_exit_status_is_the_first_that_fits(one: str, other: str) -> None:
    first = ("open", 5), ("pending", 3), ("halted", 3), ("wave", 3)
    rest = ("failed", 1), ("skipped", 1), ("uncertain", 1)
    expected = next(status for what, status in (*first, *rest) if what in (one, other))
    of_both = Books(**dict.fromkeys({one, other} & set(Books.__struct_fields__), 1))
    empty: dict[str, Any] = {"causes": (), "tenants": {}, "halted": "", "wave": "", "window": ""}
    names = dict.fromkeys(("job", "journal", "made", "next", "undoes", "undone_by"), "")
    books = names | empty | LEFT[one] | LEFT[other] | {"books": of_both}
    assert Summary(**books).exit_status == expected
