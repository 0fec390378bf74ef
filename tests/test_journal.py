"""The journal: durable before it says so, whole or told, and its books always balance."""

from __future__ import annotations

import os
import sqlite3
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from string import ascii_letters
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhooks import tally
from bulkhooks.errors import JournalError, Refused
from bulkhooks.items import APPLIED, Item, Outcome, State, Step
from bulkhooks.journal import Event, Journal, Placeholder, Sample, StagedEdit, Unresolved
from bulkhooks.store import rowsum

LONG = "module.exports = (user, context, cb) => cb(null);\n" * 20


def staged(name: str, *tenants: str, line: int = 1, given: bool = False) -> StagedEdit:
    body = {"set": {"script": LONG, "enabled": False}, "name": name}
    return StagedEdit(
        name=name, given=given, line=line, must_match=False, body=body, tenants=tenants
    )


def item(edit: int, target: str, **more: Any) -> Item:
    step = Step(kind="update", target="h", before={"script": "x"}, want={"script": LONG})
    return Item(edit=edit, target=target, label="name", keys=(target,), steps=(step,), **more)


def places(journal: Journal, tenant: int, last: int = 10**9) -> list[tuple[Placeholder, Any]]:
    """What is to be resolved of a tenant."""
    return [place for page in journal.placeholders(tenant, Unresolved(last), 10) for place in page]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.create(tmp_path / "j") as journal:
        journal.stage([staged("a", "t0", "t1"), staged("b", "t0")], {"t0": "u0", "t1": "u1"})
        yield journal


def write(journal: Journal, *writes: Any) -> None:
    journal.write(writes)


def resolved(journal: Journal) -> list[Item]:
    """Each placeholder of t0 becomes one pending item."""
    last = journal.last_item
    for place, _ in places(journal, 1, last):
        write(journal, *journal.resolve(1, place, [item(place.edit, f"h{place.edit}")]))
    return journal.pending(1, (-1, 0), 10)


def test_only_its_owner_may_read_a_journal(journal: Journal) -> None:
    assert stat.S_IMODE(os.stat(journal.path).st_mode) == 0o600


def test_a_long_text_is_kept_once_however_many_edits_have_it(journal: Journal) -> None:
    resolved(journal)
    assert journal.rows("SELECT count(*) FROM texts")[0][0] == 1
    assert places(journal, 2)[0][1]["set"]["script"] == LONG
    assert journal.pending(1, (-1, 0), 1)[0].steps[0].want == {"script": LONG}


def test_edits_of_one_content_are_numbered_in_their_order(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j") as journal:
        edits = [staged(name, "t0", line=line) for line, name in enumerate("xyxyzx", 1)]
        journal.stage(edits, {"t0": "u"})
        names = [name for name, _, _ in journal.contents()]
        assert names == ["x", "y", "x-2", "y-2", "z", "x-3"]
        assert len(places(journal, 1)) == len(edits)  # each row is whole
        assert journal.same_names() == []


def test_memory_does_not_grow_with_edits_of_one_content(tmp_path: Path) -> None:
    def peak(edits: int) -> int:
        with Journal.create(tmp_path / str(edits)) as journal:
            tracemalloc.start()
            journal.stage((staged("x", "t0", line=n) for n in range(edits)), {"t0": "u"})
            taken = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return taken

    peak(10)  # what is made once
    assert peak(2000) < 2 * peak(200)


def test_an_id_that_was_given_is_not_numbered(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j") as journal:
        edits = [staged("x", "t0", line=1, given=True), staged("x", "t0", line=2)]
        journal.stage(edits, {"t0": "u"})
        assert [name for name, _, _ in journal.contents()] == ["x", "x"]
        assert journal.same_names() == [("x", [1, 2])]


def test_an_id_given_twice_is_found_with_its_lines(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j") as journal:
        edits = [staged("x", "t0", line=line, given=True) for line in (4, 9)]
        journal.stage(edits, {"t0": "u"})
        assert journal.same_names() == [("x", [4, 9])]


def test_a_job_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def edits() -> Iterator[StagedEdit]:
        yield staged("a", "t0")
        raise RuntimeError("line 2 is wrong")

    with Journal.create(tmp_path / "j") as journal:
        with pytest.raises(RuntimeError):
            journal.stage(edits(), {"t0": "u"})
        assert journal.count() == 0


def test_work_comes_by_rank_and_then_in_the_jobs_order(journal: Journal) -> None:
    last = journal.last_item
    for place, _ in places(journal, 1, last):
        edit = place.edit
        items = [item(edit, f"late{edit}", rank=1), item(edit, f"soon{edit}")]
        write(journal, *journal.resolve(1, place, items))
    order = [found.target for found in journal.pending(1, (-1, 0), 10)]
    assert order == ["soon1", "soon2", "late1", "late2"]
    first = journal.pending(1, (-1, 0), 2)
    rest = journal.pending(1, (first[-1].rank, first[-1].id), 10)
    assert [found.target for found in first + rest] == order


def test_what_a_dead_process_left_sent_counts_as_uncertain(journal: Journal) -> None:
    first, _ = resolved(journal)
    write(journal, journal.sent(first, 0, 1000.5))
    books = journal.books()[1]
    assert (books[State.PENDING], books[State.UNCERTAIN]) == (1, 1)
    assert journal.pending(1, (-1, 0), 1)[0].steps[0].sent_at == 1000.5


def test_giving_a_lane_up_fails_what_was_never_sent_and_nothing_else(journal: Journal) -> None:
    first, second = resolved(journal)
    write(journal, journal.sent(first, 0, 1.0))
    write(journal, *journal.give_up(1, "403", "grant it"))
    books = journal.books()[1]
    assert (books[State.FAILED], books[State.UNCERTAIN]) == (1, 1)
    ended = {found.id: found.outcome for found in journal.items(State, 10)}
    assert ended[second.id] == Outcome(state=State.FAILED, cause="403", hint="grant it")
    assert ended[first.id] == Outcome(state=State.UNCERTAIN, cause="403", hint="grant it")


def test_failed_items_are_reopened_only_when_asked(journal: Journal) -> None:
    first, _ = resolved(journal)
    step = first.steps[0]
    write(journal, *journal.step_ended(first, step.n, applied=False, at=None, after={}))
    write(journal, journal.ended(first, Outcome(state=State.FAILED, cause="400")))
    write(journal, *journal.reopen(1, failed=False, replan=False))
    assert journal.books()[1][State.FAILED] == 1
    write(journal, *journal.reopen(1, failed=True, replan=False))
    assert journal.books()[1][State.PENDING] == 2
    assert journal.pending(1, (-1, 0), 1)[0].steps[0].state == "pending"


def test_what_failed_without_a_step_is_planned_again_and_not_merely_reopened(
    journal: Journal,
) -> None:
    place, _ = places(journal, 1)[0]
    told = Outcome(state=State.FAILED, cause="another hook has that name")
    failed = Item(edit=place.edit, target="h", label="name", outcome=told)
    write(journal, *journal.resolve(1, place, [failed]))
    write(journal, *journal.reopen(1, failed=True, replan=False))
    assert journal.pending(1, (-1, 0), 10) == []
    assert "h" in [found.target for found, _ in places(journal, 1)]


def effort(db: sqlite3.Connection, do: Callable[[], object]) -> int:
    """How many tens of SQLite's instructions something takes."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    db.set_progress_handler(count, 10)
    do()
    db.set_progress_handler(None, 0)
    return taken


def plan(journal: Journal, tenant: int, page: int, **which: bool) -> None:
    """Put a pending item in every place of a tenant that is to be resolved, page by page."""
    for found in journal.placeholders(tenant, Unresolved(journal.last_item, **which), page):
        new = [item(place.edit, f"h{place.edit}") for place, _ in found]
        made = zip(found, new, strict=True)
        write(journal, *chain(*(journal.resolve(tenant, at, [one]) for (at, _), one in made)))


@contextmanager
def planned(path: Path, tenants: str, edits: int) -> Iterator[Journal]:
    """A journal in which every edit has a pending item on every tenant."""
    with Journal.create(path) as journal:
        wanted = (staged(f"e{n}", *tenants) for n in range(edits))
        journal.stage(wanted, dict.fromkeys(tenants, "u"))
        for tenant, _ in enumerate(tenants, 1):
            plan(journal, tenant, edits)
        yield journal


def test_planning_a_tenant_again_costs_in_proportion_to_its_items(tmp_path: Path) -> None:
    def taken(edits: int) -> int:
        with planned(tmp_path / str(edits), "t", edits) as journal:
            return effort(journal._reader, lambda: plan(journal, 1, 10, replan=True))

    assert taken(400) < 2 * 8 * taken(50)


def test_trying_a_tenant_again_costs_the_same_beside_any_number_of_others(tmp_path: Path) -> None:
    def taken(tenants: str) -> int:
        with planned(tmp_path / str(len(tenants)), tenants, 1) as journal:
            for found in journal.items([State.PENDING], 10**9):  # as what was read back otherwise
                ended = journal.step_ended(found, 0, applied=True, at=1.0, after={})
                write(journal, *ended, journal.ended(found, Outcome(state=State.FAILED)))
            again = journal.reopen(1, failed=True, replan=False)
            return effort(journal._writer, lambda: write(journal, *again))

    assert taken(ascii_letters) < 1.5 * taken("a")


async def test_what_is_committed_is_there_for_another_process(journal: Journal) -> None:
    first, second = resolved(journal)
    async with journal.writing():
        journal.post(journal.ended(first, APPLIED))
        await journal.commit(journal.ended(second, APPLIED))
        other = sqlite3.connect(journal.path)
        states = other.execute("SELECT state FROM items WHERE target IS NOT NULL").fetchall()
        other.close()
        assert states == [("applied",), ("applied",)]


async def test_after_a_failed_write_nothing_is_accepted_any_more(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no such table"):  # noqa: PT012
        async with journal.writing():
            with pytest.raises(JournalError):
                await journal.commit(("INSERT INTO no_such_table VALUES (1)", ()))
            with pytest.raises(JournalError):
                journal.post()


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE items SET target = 'h9' WHERE target = 'h1'", "item"),
        ("UPDATE items SET state = 'pending', cause = 'x' WHERE target = 'h1'", "item"),
        ("UPDATE steps SET want = '{\"enabled\":true}'", "step 0"),
        ("UPDATE steps SET sent_at = 5.0", "step 0"),
        ("DELETE FROM steps WHERE item = 4", "item 4, which has 1 steps"),
        ("UPDATE texts SET body = 'evil'", "text"),
    ],
)
def test_a_row_that_is_not_whole_is_never_used(journal: Journal, sql: str, found: str) -> None:
    resolved(journal)
    write(journal, (sql, ()))
    with pytest.raises(JournalError, match=f"damaged: .*{found}"):
        journal.pending(1, (-1, 0), 10)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE meta SET value = '3'", "what it keeps of planned"),
        ("UPDATE tenants SET base_url = 'u0' WHERE name = 't1'", "tenant t1"),
        ("UPDATE tenants SET read_at = 5.0 WHERE name = 't1'", "tenant t1"),
        ("UPDATE tenants SET pace = '{}' WHERE name = 't1'", "tenant t1"),
        ("UPDATE edits SET must_match = 1 WHERE name = 'b'", "edit b of line 1"),
        ("UPDATE items SET tenant = 2 WHERE target = 'h1'", r"item \d+ \(t1 name\)"),
        ("UPDATE items SET state = 'applied' WHERE target = 'h1'", r"item \d+ \(t0 name\)"),
        ("UPDATE steps SET state = 'applied' WHERE item = 4", "item 4 step 0"),
        ("UPDATE steps SET item = 9 WHERE item = 4", "item 9 step 0"),
    ],
)
def test_where_all_is_checked_any_row_that_is_not_whole_is_told(
    journal: Journal, sql: str, found: str
) -> None:
    resolved(journal)
    journal.note(planned="2")
    journal.check()
    write(journal, (sql, ()))
    with (
        pytest.raises(JournalError, match=f"damaged: {found}"),
        Journal.open(journal.path) as opened,
    ):
        opened.check()


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE meta SET value = '3'", "what it keeps of planned"),
        ("UPDATE tenants SET base_url = 'u0' WHERE name = 't1'", "tenant t1"),
        ("UPDATE tenants SET items = 1 WHERE name = 't0'", "tenant t0"),
        ("UPDATE tenants SET read_at = 5.0 WHERE name = 't1'", "tenant t1"),
        ("UPDATE tenants SET pace = '{}' WHERE name = 't1'", "tenant t1"),
    ],
)
def test_no_work_begins_where_what_holds_for_all_of_it_is_not_whole(
    journal: Journal, sql: str, found: str
) -> None:
    journal.note(planned="2")
    write(journal, (sql, ()))
    with pytest.raises(JournalError, match=f"damaged: {found}"), Journal.open(journal.path):
        pass


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE items SET tenant = 2 WHERE target = 'h1'", "tenant t0 has 2 items, 1 are there"),
        ("UPDATE items SET tenant = 9 WHERE target = 'h1'", "an item of tenant 9"),
        ("UPDATE items SET state = 'qending' WHERE target = 'h1'", "1 that is 'qending'"),
        ("DELETE FROM items WHERE target = 'h1'", "tenant t0 has 2 items, 1 are there"),
        (
            """INSERT INTO items SELECT 99, edit, tenant, target, label, keys, rank, change, steps,
            planned_sum, state, cause, hint, state_sum FROM items WHERE target = 'h1'""",
            "tenant t0 has 2 items, 3 are there",
        ),
        ("UPDATE steps SET sent_at = 5.0 WHERE state = 'sent'", "item 4"),
        ("UPDATE steps SET state = 'tent' WHERE state = 'sent'", "item 4"),
        ("UPDATE steps SET item = 77 WHERE state = 'sent'", "item 77"),
    ],
)
def test_the_books_are_not_counted_wrongly(journal: Journal, sql: str, found: str) -> None:
    first, _ = resolved(journal)
    write(journal, journal.sent(first, 0, 1.0))
    journal.books()
    write(journal, (sql, ()))
    with pytest.raises(JournalError, match=f"damaged: .*{found}"):
        journal.books()


@contextmanager
def behind_its_indexes(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose changes to a journal no index learns of."""
    find = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE type = 'index'"
    hide = "DELETE FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        hidden = db.execute(f"{find} AND sql IS NOT NULL").fetchall()
        db.executescript(f"PRAGMA writable_schema = ON; {hide}; PRAGMA schema_version = 998")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.create_function("rowsum", -1, rowsum)
        yield db
        db.execute("PRAGMA writable_schema = ON")
        db.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", hidden)
        db.execute("PRAGMA schema_version = 999")


#: An item's or a step's row as it may be while an index knows it otherwise; both are whole.
OTHERWISE = {
    "tenant": """UPDATE items SET tenant = 2, planned_sum =
        rowsum(id, edit, 2, target, label, keys, rank, change, steps) WHERE id = 4""",
    "rank": """UPDATE items SET rank = 1, planned_sum =
        rowsum(id, edit, tenant, target, label, keys, 1, change, steps) WHERE id = 4""",
    "state": """UPDATE items SET state = 'applied', state_sum = rowsum(id, 'applied', cause, hint)
        WHERE id = 4""",
    "gone": "DELETE FROM items WHERE id = 4",
}


@pytest.mark.parametrize("sql", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_a_row_that_its_index_knows_otherwise_is_never_used(journal: Journal, sql: str) -> None:
    resolved(journal)
    with behind_its_indexes(journal.path) as db:
        db.execute(sql)
    with Journal.open(journal.path) as opened:
        with pytest.raises(JournalError, match="damaged: item 4"):
            opened.pending(1, (-1, 0), 10)
        with pytest.raises(JournalError, match="damaged: item 4"):
            opened.verify([State.PENDING])
        with pytest.raises(JournalError, match="damaged: item 4"):
            list(opened.placeholders(1, Unresolved(10**9, replan=True), 10))
        with pytest.raises(JournalError, match="damaged: "):
            opened.check_index("items")


def test_an_item_that_its_index_has_twice_is_not_done_twice(journal: Journal) -> None:
    resolved(journal)
    # The index has the entries of both, and the second's row has the first's number.
    with behind_its_indexes(journal.path) as db:
        db.execute("UPDATE items SET id = 7 WHERE id = 5")
    with Journal.open(journal.path) as opened:
        assert sum(opened.books()[1].values()) == 2
        with pytest.raises(JournalError, match="damaged: item 5"):
            opened.pending(1, (-1, 0), 10)


def test_rows_that_are_not_read_to_their_end_may_be_left(journal: Journal) -> None:
    with Journal.read(journal.path) as seen:
        rows = seen.each("SELECT id FROM items")
        assert next(rows)
    rows.close()  # type: ignore[attr-defined]


def test_an_edit_that_is_not_whole_is_never_used(journal: Journal) -> None:
    resolved(journal)
    looks: list[Callable[[Journal], object]] = [
        lambda journal: journal.items([State.PENDING], 10),
        lambda journal: journal.edit_names([1]),
        lambda journal: journal.notes([1]),
        lambda journal: list(journal.contents()),
        lambda journal: places(journal, 2),
    ]
    write(journal, ("UPDATE edits SET line = 7 WHERE id = 1", ()))
    for look in looks:
        with pytest.raises(JournalError, match="damaged: edit"):
            look(journal)
    write(journal, ("DELETE FROM edits WHERE id = 1", ()))
    for look in (looks[0], looks[1], looks[4]):
        with pytest.raises(JournalError, match="damaged: edit 1"):
            look(journal)


def test_whether_anything_was_sent_is_not_read_from_a_row_that_is_not_whole(
    journal: Journal,
) -> None:
    resolved(journal)
    assert journal.untouched()
    write(journal, ("UPDATE steps SET state = 'qending' WHERE item = 4", ()))
    with pytest.raises(JournalError, match="damaged: item 4 step 0"):
        journal.untouched()


def test_why_items_failed_is_told_of_whole_rows_only(journal: Journal) -> None:
    first, _ = resolved(journal)
    write(journal, journal.ended(first, Outcome(state=State.FAILED, cause="400")))
    write(journal, ("UPDATE items SET label = 'x' WHERE id = 5", ()))
    assert [cause.cause for cause in tally.causes(journal)] == ["400", "not planned"]
    with pytest.raises(JournalError, match="damaged: item 5"):
        tally.planned_writes(journal)
    with pytest.raises(JournalError, match="damaged: item 5"):
        journal.verify([State.PENDING])
    write(journal, ("UPDATE items SET cause = '401' WHERE id = 4", ()))
    with pytest.raises(JournalError, match=r"damaged: item 4 \(t0 name\)"):
        tally.causes(journal)


def test_an_item_is_verified_with_its_steps_where_that_is_asked_for(journal: Journal) -> None:
    resolved(journal)
    journal.verify(State, steps=True)
    for sql in ("UPDATE steps SET want = '{}' WHERE item = 4", "DELETE FROM steps WHERE item = 4"):
        write(journal, (sql, ()))
        journal.verify(State)
        with pytest.raises(JournalError, match=r"damaged: item 4 \(t0 name\)"):
            journal.verify([State.PENDING], steps=True)


@pytest.mark.parametrize(
    ("sql", "look"),
    [
        ("UPDATE meta SET value = '3'", lambda journal: journal.meta("planned")),
        ("UPDATE meta SET key = 'qlanned'", lambda journal: journal.meta("planned")),
        ("UPDATE tenants SET name = 't9' WHERE name = 't0'", Journal.tenants),
        ("UPDATE tenants SET requests = 7 WHERE name = 't0'", Journal.books),
        ("UPDATE items SET label = 'x'", lambda journal: places(journal, 1)),
        ("UPDATE items SET state = 'done'", Journal.books),
    ],
)
def test_whoever_only_looks_is_told_too(journal: Journal, sql: str, look: Any) -> None:
    journal.note(planned="2")
    write(journal, (sql, ()))
    with Journal.read(journal.path) as seen, pytest.raises(JournalError, match="damaged: "):
        look(seen)


def test_a_damaged_row_is_not_made_whole_by_what_is_written_to_it(journal: Journal) -> None:
    resolved(journal)
    journal.note(planned="2")
    write(journal, ("UPDATE tenants SET throttled = 7 WHERE id = 1", ()))
    write(journal, journal.was_read(1, 1.0), journal.counted(1, 1, 1, {}))
    with pytest.raises(JournalError, match="damaged: tenant t0"):
        journal.tenants()
    write(journal, ("UPDATE meta SET value = '7'", ()))
    place, _ = places(journal, 2)[0]
    write(journal, *journal.resolve(2, place, []))
    with pytest.raises(JournalError, match="damaged: what it keeps of planned"):
        journal.meta("planned")


def test_what_a_lane_spent_and_learned_is_kept_and_whole(journal: Journal) -> None:
    write(journal, journal.was_read(1, 5.0), journal.counted(1, 3, 1, {"limit": 10}))
    write(journal, journal.counted(1, 2, 0, {"limit": 50}))
    first, second = journal.tenants()
    assert (first.read_at, first.requests, first.throttled) == (5.0, 5, 1)
    assert first.pace == {"limit": 50}
    assert (second.read_at, second.requests, second.pace) == (None, 0, None)


def test_a_count_that_a_plan_corrects_stays_whole(journal: Journal) -> None:
    journal.note(planned=str(journal.count()))
    place, _ = places(journal, 1)[0]
    write(journal, *journal.resolve(1, place, [item(1, "h1"), item(1, "h2")]))
    assert journal.meta("planned") == str(journal.count()) == "4"
    assert [row.items for row in journal.tenants()] == [3, 1]
    journal.books()


def test_a_schema_that_is_not_ours_is_told(journal: Journal) -> None:
    write(journal, ("DROP INDEX items_by_state", ()))
    with pytest.raises(JournalError, match="damaged: its schema"), Journal.open(journal.path):
        pass


def test_a_schema_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal.create(path):
        pass
    whole = path.read_bytes()
    first = whole.index(b"indexitems_by_state")
    for place in range(first, first + 60):
        path.write_bytes(whole[:place] + b"\xe1" + whole[place + 1 :])
        with pytest.raises(JournalError, match="damaged: "), Journal.open(path):
            pass


def test_an_index_that_leads_elsewhere_is_told(journal: Journal) -> None:
    """What is looked for by it would be found under another tenant, or not at all."""
    sql = "UPDATE sqlite_schema SET sql = replace(sql, '(tenant, state', '(edit, state')"
    resolved(journal)
    with closing(sqlite3.connect(journal.path)) as db:
        db.executescript(f"PRAGMA writable_schema = ON; {sql}; PRAGMA schema_version = 999;")
    with closing(sqlite3.connect(journal.path)) as db:
        db.executescript("REINDEX items_by_state; PRAGMA writable_schema = ON;")
        db.executescript(
            "UPDATE sqlite_schema SET sql = replace(sql, '(edit, state', '(tenant, state')"
        )
    with Journal.open(journal.path) as opened:
        with pytest.raises(JournalError, match="damaged: "):
            opened.check_index("items")
        with pytest.raises(JournalError, match="damaged: "):
            opened.pending(2, (-1, 0), 10)


def test_a_damaged_journal_says_how_to_put_it_aside(journal: Journal) -> None:
    write(journal, ("UPDATE tenants SET name = 't9\x1b' WHERE name = 't0'", ()))
    os.utime(journal.path, (0, 0))
    with pytest.raises(JournalError) as told:
        journal.tenants()
    aside = f"{journal.path}.1970-01-01T000000.damaged"
    text = str(told.value)
    assert "damaged: tenant t9?;" in text
    assert f"  mv {journal.path} {aside} && mv {journal.path}-wal {aside}-wal\n" in text


def test_a_damaged_edit_is_never_resolved(journal: Journal) -> None:
    write(journal, ("UPDATE edits SET body = replace(body, 'false', 'true')", ()))
    with pytest.raises(JournalError, match="damaged: edit"):
        places(journal, 1)


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "j").write_text("not a journal " * 100)
    with pytest.raises(JournalError, match="damaged"), Journal.open(tmp_path / "j"):
        pass
    with pytest.raises(Refused, match="no such journal"), Journal.open(tmp_path / "none"):
        pass
    with closing(sqlite3.connect(tmp_path / "other")) as other:
        other.execute("CREATE TABLE t (x)")
    with (
        pytest.raises(JournalError, match="if it is a journal at all"),
        Journal.open(tmp_path / "other"),
    ):
        pass


def test_another_versions_format_is_refused(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j") as journal:
        write(journal, ("PRAGMA user_version = 99", ()))
    with pytest.raises(Refused, match="format 99"), Journal.open(tmp_path / "j"):
        pass


def test_a_truncated_journal_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal.create(path) as journal:
        journal.stage([staged(f"e{n}", "t0") for n in range(2000)], {"t0": "u"})
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(JournalError, match="damaged"), Journal.open(path) as journal:
        places(journal, 1)


def test_a_closed_journal_is_one_file(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j") as journal:
        journal.stage([staged("a", "t0")], {"t0": "u"})
    assert [path.name for path in tmp_path.iterdir()] == ["j"]


values = st.none() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text()


@given(st.lists(values, min_size=1, max_size=6))
def test_a_checksum_is_the_same_in_sql_and_here(row: list[Any]) -> None:
    row = [
        value.replace("\x00", "").encode("utf-8", "ignore").decode()
        if isinstance(value, str)
        else value
        for value in row
    ]
    db = sqlite3.connect(":memory:")
    db.create_function("rowsum", -1, rowsum)
    marks = ",".join("?" * len(row))
    assert db.execute(f"SELECT rowsum({marks})", row).fetchone()[0] == rowsum(*row)
    db.close()


def test_times_that_are_whole_numbers_are_kept_whole(journal: Journal) -> None:
    write(journal, journal.event("apply", 5), journal.sampled(Sample(1, 5, 1, 2, 0, 0, 9, 10, 2)))
    journal.check()
    assert list(journal.events()) == [Event(5.0, "apply", {})]
    assert list(journal.timeline()) == [Sample(1, 5.0, 1.0, 2, 0, 0.0, 9, 10, 2)]
