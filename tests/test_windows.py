"""When windows are open: by the wall, on the days that clocks are set too, and how that is told."""

from __future__ import annotations

from datetime import datetime
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks.schedule import Span, Window
from bulkhooks.windows import clock, coming, current, flaw, length, over, spans, told

LONDON, NEW_YORK, LORD_HOWE = "Europe/London", "America/New_York", "Australia/Lord_Howe"
HOUR = 3600.0


def at(utc: str) -> float:
    """A moment by its time in UTC."""
    return datetime.fromisoformat(f"{utc}+00:00").timestamp()


def span(start: str, end: str) -> Span:
    return Span(at(start), at(end))


def cron(line: str, seconds: float = HOUR, timezone: str = LONDON) -> Window:
    return Window(cron=line, seconds=seconds, timezone=timezone)


def once(start: str, end: str, timezone: str = LONDON) -> Window:
    return Window(start=start, end=end, timezone=timezone)


NIGHT = once("2026-11-28T01:00", "2026-11-28T03:00")
SATURDAYS = cron("0 1 * * 6", 2 * HOUR)


@pytest.mark.parametrize(
    ("window", "after", "wanted"),
    [
        pytest.param(
            NIGHT,
            "2026-11-01 00:00",
            [span("2026-11-28 01:00", "2026-11-28 03:00")],
            id="one window, in winter at UTC",
        ),
        pytest.param(
            once("2026-07-01T01:00:30", "2026-07-02T03:00", NEW_YORK),
            "2026-01-01 00:00",
            [span("2026-07-01 05:00:30", "2026-07-02 07:00")],
            id="one window, in summer elsewhere",
        ),
        pytest.param(NIGHT, "2026-11-28 02:59:59", [*spans(NIGHT, 0)], id="one that ends soon"),
        pytest.param(NIGHT, "2026-11-28 03:00", [], id="one that has just ended"),
        pytest.param(
            SATURDAYS,
            "2026-10-23 00:00",
            [
                span("2026-10-24 00:00", "2026-10-24 02:00"),
                span("2026-10-31 01:00", "2026-10-31 03:00"),
                span("2026-11-07 01:00", "2026-11-07 03:00"),
            ],
            id="Saturdays at one o'clock, whatever the clock",
        ),
        pytest.param(
            SATURDAYS,
            "2026-10-24 01:59",
            [span("2026-10-24 00:00", "2026-10-24 02:00")],
            id="the one that is open comes first",
        ),
        pytest.param(
            cron("0 1 * * 6", 12 * HOUR),
            "2026-10-31 12:59",
            [span("2026-10-31 01:00", "2026-10-31 13:00")],
            id="a long one that is open comes first",
        ),
        pytest.param(
            cron("30 1 * * 0", 0.25 * HOUR),
            "2026-03-29 01:40",
            [span("2026-03-29 01:30", "2026-03-29 01:45")],
            id="so does one that was moved forward",
        ),
        # 29 March 2026: from 01:00 to 02:00; 25 October: from 02:00 back to 01:00.
        pytest.param(
            cron("30 1 * * *"),
            "2026-03-28 12:00",
            [
                span("2026-03-29 01:30", "2026-03-29 02:30"),
                span("2026-03-30 00:30", "2026-03-30 01:30"),
            ],
            id="London: what does not exist moves forward by the hour",
        ),
        pytest.param(
            cron("30 1 * * *"),
            "2026-10-24 12:00",
            [
                span("2026-10-25 00:30", "2026-10-25 01:30"),
                span("2026-10-26 01:30", "2026-10-26 02:30"),
            ],
            id="London: of two the first",
        ),
        pytest.param(
            cron("0 0 * * 0", 4 * HOUR),
            "2026-03-28 12:00",
            [span("2026-03-29 00:00", "2026-03-29 04:00")],
            id="London: four hours are four hours, where a day has 23",
        ),
        pytest.param(
            cron("0 0 * * 0", 4 * HOUR),
            "2026-10-24 12:00",
            [span("2026-10-24 23:00", "2026-10-25 03:00")],
            id="London: and where it has 25",
        ),
        pytest.param(
            cron("30 2 * * 0", 0.5 * HOUR, NEW_YORK),
            "2026-03-07 12:00",
            [span("2026-03-08 07:30", "2026-03-08 08:00")],
            id="New York: 02:30 is 03:30 when clocks go forward",
        ),
        pytest.param(
            cron("30 1 * * 0", 2 * HOUR, NEW_YORK),
            "2026-10-31 12:00",
            [span("2026-11-01 05:30", "2026-11-01 07:30")],
            id="New York: 01:30 is the first one when they go back",
        ),
        pytest.param(
            cron("15 2 * * 0", HOUR, LORD_HOWE),
            "2026-10-03 12:00",
            [span("2026-10-03 15:45", "2026-10-03 16:45")],
            id="Lord Howe: forward by half an hour alone",
        ),
        pytest.param(
            cron("45 1 * * 0", HOUR, LORD_HOWE),
            "2026-04-04 00:00",
            [span("2026-04-04 14:45", "2026-04-04 15:45")],
            id="Lord Howe: back by half an hour",
        ),
        pytest.param(
            cron("30 1,2 * * *", 0.5 * HOUR),
            "2026-03-29 00:00",
            [
                span("2026-03-29 01:30", "2026-03-29 02:00"),
                span("2026-03-30 00:30", "2026-03-30 01:00"),
            ],
            id="two that fall together are one",
        ),
        pytest.param(
            cron("0,45 1,2 * * *", 0.25 * HOUR),
            "2026-03-29 00:00",
            [
                span("2026-03-29 01:00", "2026-03-29 01:15"),
                span("2026-03-29 01:45", "2026-03-29 02:00"),
                span("2026-03-30 00:00", "2026-03-30 00:15"),
            ],
            id="those moved forward stay in order",
        ),
        pytest.param(
            cron("30 1 29 3 *", 0.75 * HOUR),
            "2026-01-01 00:00",
            [
                span("2026-03-29 01:30", "2026-03-29 02:15"),
                span("2027-03-29 00:30", "2027-03-29 01:15"),
            ],
            id="once a year",
        ),
        pytest.param(
            cron("0 12 29 2 *"),
            "2026-01-01 00:00",
            [
                span("2028-02-29 12:00", "2028-02-29 13:00"),
                span("2032-02-29 12:00", "2032-02-29 13:00"),
            ],
            id="on leap days",
        ),
        pytest.param(
            once("2026-03-29T01:30", "2026-03-29T03:00"),
            "2026-01-01 00:00",
            [span("2026-03-29 01:30", "2026-03-29 02:00")],
            id="one window from a time that does not exist",
        ),
        pytest.param(
            once("2026-10-25T01:30", "2026-10-25T02:00"),
            "2026-01-01 00:00",
            [span("2026-10-25 00:30", "2026-10-25 02:00")],
            id="one window from the first of two",
        ),
    ],
)
def test_spans_are_where_the_local_clock_has_them(
    window: Window, after: str, wanted: list[Span]
) -> None:
    assert [*islice(spans(window, at(after)), len(wanted) or None)] == wanted


def test_spans_that_overlap_since_the_clock_was_set_are_one() -> None:
    window = cron("15,40 2 * * 0", 25 * 60.0, LORD_HOWE)  # 02:15 is 02:45 on that day
    assert flaw(window) is None
    assert [*islice(spans(window, at("2026-10-03 12:00")), 2)] == [
        span("2026-10-03 15:40", "2026-10-03 16:10"),
        span("2026-10-10 15:15", "2026-10-10 15:40"),
    ]


@settings(deadline=None, max_examples=60)
@given(
    line=st.sampled_from(["*/20 * * * *", "10,40 1-3 * * *", "5 2 * * 0", "30 1 1-7 * 0"]),
    seconds=st.sampled_from([60.0, 900.0, 1200.0, 3000.0, 86_000.0]),
    timezone=st.sampled_from([LONDON, NEW_YORK, LORD_HOWE, "UTC", "Asia/Kathmandu"]),
    after=st.integers(int(at("2026-01-01 00:00")), int(at("2027-12-31 00:00"))),
    later=st.integers(0, 200_000),
)
def test_spans_are_the_same_whenever_they_are_asked_for(
    line: str, seconds: float, timezone: str, after: int, later: int
) -> None:
    window = cron(line, seconds, timezone)
    if flaw(window):
        return
    found = [*islice(spans(window, after), 30)]
    assert all(one.start < one.end for one in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert found[0].end > after
    moment = after + later
    left = [one for one in found if one.end > moment]
    assert [*islice(spans(window, moment), len(left))] == left


def test_what_never_ends_is_still_told_step_by_step() -> None:
    always = cron("* * * * *", 90.0)  # a file is refused that says so
    first, second = islice(spans(always, at("2026-06-01 00:00")), 2)
    assert first.end == second.start


@pytest.mark.parametrize(
    ("now", "holds", "comes"),
    [
        ("2026-10-31 00:59:59", False, "2026-10-31 01:00"),
        ("2026-10-31 01:00", True, "2026-10-31 01:00"),
        ("2026-10-31 02:59:59", True, "2026-10-31 01:00"),
        ("2026-10-31 03:00", False, "2026-11-07 01:00"),
    ],
)
def test_a_span_holds_from_its_start_up_to_its_end(now: str, holds: bool, comes: str) -> None:
    found = coming(SATURDAYS, at(now))
    assert found is not None
    assert found.start == at(comes)
    assert current(SATURDAYS, at(now)) == (found if holds else None)


def test_a_window_that_does_not_come_again_is_over() -> None:
    assert over(NIGHT, at("2026-11-28 02:59")) == ""
    assert over(NIGHT, at("2026-11-28 03:00")) == "Sat 2026-11-28 03:00 Europe/London"
    assert coming(NIGHT, at("2026-11-28 03:00")) is None
    assert over(SATURDAYS, at("2026-11-28 03:00")) == ""


@pytest.mark.parametrize(
    ("window", "wrong"),
    [
        (NIGHT, None),
        (SATURDAYS, None),
        (cron("0 1 * * *", 24 * HOUR), None),
        (cron("0 1 29 2 *", 24 * HOUR), None),
        (cron("0 1 * * *", 24 * HOUR + 1), ("for", "is longer than until it opens again, 1 d")),
        (cron("0 1 * * 5,6", 30 * HOUR), ("for", "is longer than until it opens again, 1 d")),
        (
            cron("0 0 1 * *", 29 * 24 * HOUR),
            ("for", "is longer than until it opens again, 28 d"),
        ),
        (
            cron("0 1 30 2 *"),
            ("cron", "is no line of cron (minute hour day month weekday): bad day-of-month"),
        ),
        (
            cron("0 25 * * *"),
            ("cron", "is no line of cron (minute hour day month weekday): bad hour"),
        ),
        (
            once("2026-02-30T01:00", "2026-03-01T01:00"),
            ("start", "is no time: "),
        ),
        (
            once("2026-03-01T01:00", "2026-03-01T25:00"),
            ("end", "is no time: "),
        ),
        (once("2026-03-01T01:00", "2026-03-01T01:00"), ("end", "must be after `start`")),
        # It would begin at 02:30 by the clock that has been set, and end at 02:00.
        (once("2026-03-29T01:30", "2026-03-29T02:00"), ("end", "must be after `start`")),
        (
            once("2026-03-01T01:00", "2026-03-02T01:00", "Europe/Londn"),
            ("timezone", "is no name of the IANA database, like Europe/London"),
        ),
        (
            once("2026-03-01T01:00", "2026-03-02T01:00", "../../etc/passwd"),
            ("timezone", "is no name of the IANA database, like Europe/London"),
        ),
    ],
)
def test_what_is_wrong_with_a_window_is_told_with_its_key(
    window: Window, wrong: tuple[str, str] | None
) -> None:
    found = flaw(window)
    assert (found and found[0]) == (wrong and wrong[0])
    if found and wrong:  # what Python says of a time depends on its version
        assert found[1].startswith(wrong[1])


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-11-28 01:00", "2026-11-28 03:00", "Sat 2026-11-28 01:00-03:00"),
        ("2026-11-28 01:00:30", "2026-11-28 03:00", "Sat 2026-11-28 01:00:30-03:00"),
        ("2026-11-27 23:00", "2026-11-28 01:00", "Fri 2026-11-27 23:00 - Sat 2026-11-28 01:00"),
        (
            "2026-10-25 00:00",
            "2026-10-25 02:00",
            "Sun 2026-10-25 01:00 BST - Sun 2026-10-25 02:00 GMT",
        ),
        (
            "2026-10-25 01:00",
            "2026-10-25 02:00",
            "Sun 2026-10-25 01:00 GMT - Sun 2026-10-25 02:00 GMT",
        ),
    ],
)
def test_a_span_is_told_in_local_time(start: str, end: str, words: str) -> None:
    assert told(span(start, end), LONDON) == f"{words} {LONDON}"


def test_a_moment_is_told_in_local_time_and_which_of_two_it_is() -> None:
    assert clock(at("2026-11-28 01:00"), NEW_YORK) == "Fri 2026-11-27 20:00 America/New_York"
    assert clock(at("2026-10-25 00:30"), LONDON) == "Sun 2026-10-25 01:30 BST Europe/London"
    assert clock(at("2026-10-25 01:30"), LONDON) == "Sun 2026-10-25 01:30 GMT Europe/London"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (45, "45 s"),
        (90, "1 min 30 s"),
        (7200, "2 h"),
        (9600, "2 h 40 min"),
        (9659, "2 h 40 min"),
        (86_460, "1 d"),
        (100_000, "1 d 3 h"),
    ],
)
def test_a_length_is_told_by_its_two_largest_units(seconds: float, words: str) -> None:
    assert length(seconds) == words
