"""The journal: one SQLite file that is plan, record, resume point and undo source of a job.

It knows edits, items and steps, and nothing of what they edit. Rows are read on one connection and
written on another, in batches that are gathered over all lanes and are durable before anyone who
waits for them goes on. Every row carries a checksum that is verified when the row is used.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import anyio
import anyio.to_thread
import orjson

from .errors import JournalError, Refused
from .items import Fields, Item, Outcome, State, Step

FORMAT: Final = 3
_APPLICATION: Final = 0x62686B73  # "bhks"
_STATES: Final = {state.value: state for state in State}
_NOT_PLANNED: Final = Outcome(state=State.FAILED, cause="not planned")
#: Seconds over which writes of all lanes are gathered into one commit.
_GATHER: Final = 0.008
#: Writes in one commit from which on whoever has many more waits.
_CROWDED: Final = 8_192
#: Strings longer than this many characters are stored once and referred to.
_LONG: Final = 200
#: KiB of the journal that the writer keeps at hand; pages of the log after which it is moved
#: into the journal.
_CACHE, _CHECKPOINT = 8_000, 4_000
#: Items that are read at once.
_PAGE: Final = 256
#: What a value holds that refers to a text.
_REFERS: Final = '"$text":'

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (digest TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tenants (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base_url TEXT NOT NULL, read_at REAL,
    requests INTEGER NOT NULL DEFAULT 0, throttled INTEGER NOT NULL DEFAULT 0, pace TEXT);
CREATE TABLE edits (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, given INTEGER NOT NULL, line INTEGER NOT NULL,
    must_match INTEGER NOT NULL, tenants INTEGER NOT NULL, body TEXT NOT NULL,
    sum INTEGER NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, edit INTEGER NOT NULL, tenant INTEGER NOT NULL, target TEXT,
    label TEXT NOT NULL, keys TEXT NOT NULL, rank INTEGER NOT NULL, change INTEGER NOT NULL,
    planned_sum INTEGER NOT NULL,
    state TEXT NOT NULL, cause TEXT NOT NULL, hint TEXT NOT NULL, state_sum INTEGER NOT NULL);
CREATE INDEX items_by_state ON items (tenant, state, rank);
CREATE TABLE steps (
    item INTEGER, n INTEGER, kind TEXT NOT NULL, target TEXT NOT NULL, back INTEGER NOT NULL,
    before TEXT NOT NULL, want TEXT NOT NULL, planned_sum INTEGER NOT NULL,
    state TEXT NOT NULL, sent_at REAL, after TEXT, state_sum INTEGER NOT NULL,
    PRIMARY KEY (item, n)) WITHOUT ROWID;
CREATE INDEX steps_sent ON steps (item) WHERE state = 'sent';
"""

_ADD_EDIT: Final = """INSERT INTO edits VALUES
    (:id, :name, :given, :line, :must_match, :tenants, :body, rowsum(:id, :name, :line, :body))"""
_ADD_ITEM: Final = """INSERT INTO items VALUES
    (:id, :edit, :tenant, :target, :label, :keys, :rank, :change,
    rowsum(:id, :edit, :tenant, :target, :label, :keys, :rank, :change),
    :state, :cause, :hint, rowsum(:id, :state, :cause, :hint))"""
_ADD_STEP: Final = """INSERT INTO steps VALUES
    (:item, :n, :kind, :target, :back, :before, :want,
    rowsum(:item, :n, :kind, :target, :back, :before, :want),
    'pending', NULL, NULL, rowsum(:item, :n, 'pending', NULL, NULL))"""
_ADD_TEXT: Final = "INSERT OR IGNORE INTO texts VALUES (?, ?)"
#: New names of the edits whose name, made from their content, others have before them.
_FIND_EQUALS: Final = """INSERT INTO equals SELECT id, name || '-' || nth FROM
    (SELECT id, name, row_number() OVER (PARTITION BY name ORDER BY id) AS nth
    FROM edits WHERE given = 0) WHERE nth > 1"""
_NAME_EQUALS: Final = """UPDATE edits SET (name, sum) =
    (SELECT q.name, rowsum(q.id, q.name, line, body) FROM equals q WHERE q.id = edits.id)
    WHERE id IN (SELECT id FROM equals)"""
#: The two that every edit needs several times: their checksums come with them.
_MOVE_STEP: Final = """UPDATE steps SET state = ?, sent_at = ?, after = ?, state_sum = ?
    WHERE item = ? AND n = ?"""
_END_ITEM: Final = "UPDATE items SET state = ?, cause = ?, hint = ?, state_sum = ? WHERE id = ?"
_MOVE_ITEMS: Final = """UPDATE items SET state = :state, cause = :cause, hint = :hint,
    state_sum = rowsum(id, :state, :cause, :hint) WHERE tenant = :tenant"""
_TELL_PLACEHOLDERS: Final = _MOVE_ITEMS + " AND target IS NULL"
#: Only whole rows are moved on: one that is not stays as it is, to be found when it is used.
_MOVE_WHOLE: Final = (
    _MOVE_ITEMS
    + """ AND state = :was AND target IS NOT NULL AND state_sum = rowsum(id, state, cause, hint)
    AND planned_sum = rowsum(id, edit, tenant, target, label, keys, rank, change)"""
)
#: What nothing of ours is left of: nothing is in doubt, and what was written was put back.
_NOT_BEGUN: Final = """NOT EXISTS (SELECT 1 FROM steps s WHERE s.item = i.id AND NOT s.back
    AND (s.state = 'sent' OR s.state = 'applied' AND s.sent_at IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM steps b WHERE b.item = i.id AND b.back AND b.target = s.target
    AND b.state = 'applied')))"""
#: What failed, and what was put back, as if it had never been sent.
_RETRY_STEPS: Final = """UPDATE steps SET state = 'pending', sent_at = NULL, after = NULL,
    state_sum = rowsum(item, n, 'pending', NULL, NULL)
    WHERE item IN (SELECT id FROM items i WHERE tenant = :tenant AND {which})
    AND (state = 'failed' OR state = 'applied' AND EXISTS (SELECT 1 FROM steps b
    WHERE b.item = steps.item AND b.target = steps.target AND b.back AND b.state = 'applied'))"""
#: Items that are taken up again: what failed and has steps, what drifted after it was begun.
_FAILED: Final = "state = 'failed' AND EXISTS (SELECT 1 FROM steps WHERE item = i.id)"
_HALF_DRIFTED: Final = f"state = 'skipped' AND cause LIKE 'drifted%' AND NOT {_NOT_BEGUN}"
_REOPEN: Final = """UPDATE items AS i SET state = 'pending',
    state_sum = rowsum(id, 'pending', cause, hint) WHERE tenant = :tenant AND {which}
    AND state_sum = rowsum(id, state, cause, hint)
    AND planned_sum = rowsum(id, edit, tenant, target, label, keys, rank, change)"""
_GIVE_UP: Final = (
    _MOVE_WHOLE
    + """ AND NOT EXISTS
    (SELECT 1 FROM steps WHERE item = items.id AND state IN ('sent', 'applied'))"""
)
#: Items of a query with their edits' names and their steps, a row for each step.
_ITEMS: Final = """SELECT i.id, i.edit, i.tenant, i.target, i.label, i.keys, i.rank, i.change,
    i.planned_sum, i.state, i.cause, i.hint, i.state_sum, {name}, s.item, s.n, s.kind, s.target,
    s.back, s.before, s.want, s.planned_sum, s.state, s.sent_at, s.after, s.state_sum
    FROM (SELECT * FROM items {which}) i LEFT JOIN steps s ON s.item = i.id ORDER BY {order}, s.n"""
_PENDING: Final = _ITEMS.format(
    name="''",
    which="""WHERE tenant = ? AND state = 'pending' AND (rank, id) > (?, ?)
    ORDER BY rank, id LIMIT ?""",
    order="i.rank, i.id",
)
_WRITTEN: Final = _ITEMS.format(
    name="(SELECT name FROM edits WHERE id = i.edit)",
    which="""WHERE rank = ? AND id < ? AND EXISTS (SELECT 1 FROM steps WHERE item = items.id
    AND sent_at IS NOT NULL AND state IN ('applied', 'sent')) ORDER BY id DESC LIMIT ?""",
    order="i.id DESC",
)
_CHANGES: Final = """SELECT t.name, count(*) FROM items i JOIN tenants t ON t.id = i.tenant
    WHERE EXISTS (SELECT 1 FROM steps WHERE item = i.id) GROUP BY t.id ORDER BY t.id"""
_BOOKS: Final = "SELECT tenant, state, count(*) FROM items GROUP BY tenant, state"
_IN_DOUBT: Final = """SELECT i.tenant, count(DISTINCT i.id) FROM steps s
    JOIN items i ON i.id = s.item
    WHERE s.state = 'sent' AND i.state = 'pending' GROUP BY i.tenant"""
#: Groups of pending items that change the same, the largest first; then up to a number of each
#: group's tenants, in the job's order, and of its labels, the most frequent first.
_OF_A_CHANGE: Final = """WITH g AS (SELECT change, count(*) AS items,
    count(DISTINCT tenant) AS tenants, count(DISTINCT label) AS labels, min(id) AS first
    FROM items WHERE state = 'pending' GROUP BY change ORDER BY items DESC, first LIMIT :groups) """
_GROUPS: Final = _OF_A_CHANGE + "SELECT * FROM g ORDER BY items DESC, first"
_SOME_OF_EACH: Final = (
    _OF_A_CHANGE
    + """SELECT change, {what} FROM (SELECT g.items AS items, g.first AS first, i.change AS change,
    i.{what} AS {what}, row_number() OVER (PARTITION BY i.change ORDER BY {order}) AS nth
    FROM g JOIN items i ON i.change = g.change WHERE i.state = 'pending'
    GROUP BY i.change, i.{what}) WHERE nth <= :{what}s OR :{what}s < 0
    ORDER BY items DESC, first, nth"""
)
_TENANTS_OF_EACH: Final = _SOME_OF_EACH.format(what="tenant", order="i.tenant")
_LABELS_OF_EACH: Final = _SOME_OF_EACH.format(what="label", order="count(*) DESC, i.label")
#: What is still to be written for each tenant: steps, those of certain kinds, and the things that
#: items of several things write to.
_WORK: Final = """SELECT tenant, sum(steps), sum(these), sum(iif(targets > 1, targets, 0))
    FROM (SELECT i.tenant AS tenant, count(*) AS steps, sum(s.kind IN ({kinds})) AS these,
    count(DISTINCT s.target) AS targets FROM steps s JOIN items i ON i.id = s.item
    WHERE i.state = 'pending' AND s.state <> 'applied' AND NOT s.back GROUP BY s.item)
    GROUP BY tenant"""
#: Of pending steps of certain kinds, how often they had a field that begins in a certain way.
_FIELDS: Final = """SELECT s.kind, f.key, count(*), count(DISTINCT i.tenant)
    FROM steps s JOIN items i ON i.id = s.item, json_each(s.before) f
    WHERE s.kind IN ({kinds}) AND s.state <> 'applied' AND i.state = 'pending'
    AND substr(f.key, 1, length(?)) = ? GROUP BY s.kind, f.key ORDER BY s.kind, f.key"""
_LABELS: Final = """SELECT i.label, count(*), count(DISTINCT i.tenant)
    FROM steps s JOIN items i ON i.id = s.item
    WHERE s.kind = ? AND s.state <> 'applied' AND i.state = 'pending'
    GROUP BY i.label ORDER BY count(*) DESC, i.label"""
_CAUSES: Final = """SELECT i.state, i.cause, max(i.hint), max(i.label), count(*),
    group_concat(DISTINCT t.name)
    FROM items i JOIN tenants t ON t.id = i.tenant
    WHERE i.state IN ('failed', 'skipped', 'uncertain') GROUP BY i.state, i.cause
    ORDER BY count(*) DESC, i.cause"""
#: Selectors that must match something: how many hooks they matched, on how many tenants that
#: could be read they did not.
_UNMATCHED: Final = """SELECT e.line, e.name FROM edits e
    LEFT JOIN items i ON i.edit = e.id WHERE e.must_match = 1 GROUP BY e.id
    HAVING count(i.target) = 0 AND count(i.id) < e.tenants ORDER BY e.line"""

#: Edits that have items in some of the states, with the tenants of these, and whether the rows are
#: whole. What a dead process left sent counts as uncertain.
_LEFT: Final = """SELECT e.id, e.name, e.line, e.body, e.sum, l.tenants, l.whole FROM edits e
    JOIN (SELECT edit, group_concat(DISTINCT tenant) AS tenants,
        min(planned_sum = rowsum(id, edit, tenant, target, label, keys, rank, change)
            AND state_sum = rowsum(id, state, cause, hint)) AS whole
        FROM items i WHERE CASE WHEN state = 'pending' AND EXISTS
            (SELECT 1 FROM steps s WHERE s.item = i.id AND s.state = 'sent')
            THEN 'uncertain' ELSE state END IN ({states})
        GROUP BY edit) l ON l.edit = e.id ORDER BY e.id"""

Write: TypeAlias = tuple[str, Sequence[object] | Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedEdit:
    """An edit as the journal keeps it; `body` is for whoever made it to read."""

    name: str
    given: bool  #: the name was written in the job, rather than made from the content
    line: int
    must_match: bool  #: an error if it matches nothing on any tenant that could be read
    body: Fields
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """An item in whose place others are put when its edit is resolved."""

    item: int
    edit: int  #: the edit's row
    target: str | None  #: None: the edit was never resolved; else it is, for that target only


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Which items are placeholders: those up to `last` that failed without a step (`failed`), and
    with `replan` those of which nothing was begun or that have drifted."""

    last: int
    failed: bool = True
    replan: bool = False

    @property
    def kinds(self) -> list[tuple[State, str]]:
        """States of items `i`, and what holds of the placeholders among them."""
        no_step = "NOT EXISTS (SELECT 1 FROM steps WHERE item = i.id)"
        drifted = f"i.cause LIKE 'drifted%' AND {_NOT_BEGUN}"
        failed = [(State.FAILED, no_step)] * self.failed
        again = [(State.PENDING, _NOT_BEGUN), (State.SKIPPED, drifted)] * self.replan
        return failed + again


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """A tenant as the journal knows it."""

    id: int
    name: str
    base_url: str
    read_at: float | None  #: Unix seconds at which its befores were read
    requests: int = 0
    throttled: int = 0
    pace: Fields | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Pending items that all change the same."""

    change: int
    items: int
    tenants: int
    labels: int  #: different ones
    some_tenants: tuple[int, ...]  #: rows, in the job's order
    some_labels: tuple[str, ...]  #: the most frequent first
    example: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one tenant's pending items still have to do."""

    steps: int
    these: int  #: steps of the kinds that were asked for
    things: int  #: what items that write to several things write to


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Items that ended the same way for the same reason."""

    state: str
    cause: str
    hint: str
    example: str  #: what one of the items is for
    count: int
    tenants: tuple[str, ...]


def _rowsum(*values: object) -> int:
    return zlib.crc32(orjson.dumps(values, repr))


class Journal:
    """One open journal, by `create` and `open` for whoever works on it, and by `read` beside them.

    Everything raises JournalError when the file is damaged or cannot be read or written.
    """

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: sqlite3.Connection) -> None:
        self.path = path
        self._reader, self._writer = reader, writer
        self._batch = _Batch()
        self._wake = asyncio.Event()
        self._broken: JournalError | None = None
        self._closing = False
        with _told(path):
            row = reader.execute("SELECT coalesce(max(id), 0) FROM items").fetchone()
        self._last_item: int = row[0]

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[Self]:
        """A new, empty journal that only its owner may read. Raises JournalError if it is there."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise JournalError(f"{path}: cannot make the journal: {error.strerror}") from error
        with _told(path), _connection(path) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            writer.executescript(
                f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {FORMAT};{_SCHEMA}"
            )
        with cls._opened(path) as journal:
            yield journal

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """The journal at `path`, checked, to work on: whoever opens it holds its lock.

        Raises Refused when there is none, or when it has another version's format; JournalError
        when it is damaged.
        """
        cls._look_over(path)
        with cls._opened(path) as journal:
            journal.check()
            yield journal

    @classmethod
    @contextmanager
    def read(cls, path: Path) -> Iterator[Self]:
        """The journal at `path` to look into, while another process may be at work on it.

        Raises what `open` raises, but does not `check`.
        """
        # Where no file can be made beside it, nobody can be at work on it either.
        sealed = not os.access(path.absolute().parent, os.W_OK)
        cls._look_over(path, sealed=sealed)
        with _connection(path, sealed=sealed) as reader:
            with _told(path):
                reader.execute("PRAGMA query_only = ON")
                reader.execute("BEGIN")  # all that is read is of one moment
            yield cls(path, reader, reader)

    @staticmethod
    def _look_over(path: Path, *, sealed: bool = False) -> None:
        if not path.is_file():
            raise Refused(f"{path}: there is no such journal; `bulkhooks plan JOB` makes one")
        with _told(path), _connection(path, sealed=sealed) as db:
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if application != _APPLICATION:
                raise JournalError(f"{path}: not a bulkhooks journal, or its head is damaged")
            if version != FORMAT:
                raise Refused(
                    f"{path}: journal format {version}, this bulkhooks reads format {FORMAT}; "
                    f"use the bulkhooks version that made it"
                )

    def check(self) -> None:
        """Raises JournalError when SQLite finds the file damaged; reads all of it."""
        found = self._rows("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise JournalError(f"{self.path}: the journal is damaged: {found}")

    @classmethod
    @contextmanager
    def _opened(cls, path: Path) -> Iterator[Self]:
        with _connection(path) as reader, _connection(path) as writer:
            with _told(path):
                reader.execute("PRAGMA query_only = ON")
                writer.execute("PRAGMA synchronous = FULL")
                writer.execute(f"PRAGMA cache_size = -{_CACHE}")
                writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
            yield cls(path, reader, writer)
            # A full checkpoint leaves one file that may be moved.
            reader.close()
            with suppress(sqlite3.Error):
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # ---- what holds for the whole job

    def meta(self, key: str, default: str = "") -> str:
        """What was last `note`d under `key`."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else default

    def note(self, **values: str) -> None:
        """Keep `values`, at once and durably; not while `writing`."""
        self._write(self.noted(**values))

    def noted(self, **values: str) -> list[Write]:
        """The writes that keep `values`."""
        return [("INSERT OR REPLACE INTO meta VALUES (?, ?)", pair) for pair in values.items()]

    def tenants(self) -> list[TenantRow]:
        """All tenants of the job, in their file's order."""
        rows = self._rows(
            "SELECT id, name, base_url, read_at, requests, throttled, pace FROM tenants ORDER BY id"
        )
        return [
            TenantRow(
                id=row[0],
                name=row[1],
                base_url=row[2],
                read_at=row[3],
                requests=row[4],
                throttled=row[5],
                pace=self._pace(row[6]) if row[6] else None,
            )
            for row in rows
        ]

    def _pace(self, text: str) -> Fields:
        try:
            return dict(orjson.loads(text))
        except (ValueError, TypeError) as error:
            raise self._damaged("what a lane learned") from error

    # ---- the job, before anything is read of the tenants

    def stage(self, edits: Iterable[StagedEdit], base_urls: dict[str, str]) -> str:
        """Write the whole job down, or nothing of it: each edit, and a placeholder for each of its
        tenants. Answers a digest of the edits. What `edits` raises goes through.
        """
        ids: dict[str, int] = {}
        digest = blake2b(digest_size=16)
        with _told(self.path), _transaction(self._writer) as db:
            for number, edit in enumerate(edits, 1):
                body = self._packed(edit.body, db)
                digest.update(f"{edit.name}\x1f{','.join(edit.tenants)}\x1f{body}\n".encode())
                row = {"id": number, "name": edit.name, "given": edit.given, "line": edit.line}
                row |= {"must_match": edit.must_match, "tenants": len(edit.tenants), "body": body}
                db.execute(_ADD_EDIT, row)
                for name in edit.tenants:
                    tenant = ids.setdefault(name, len(ids) + 1)
                    placeholder = Item(edit=number, target=None, label="", outcome=_NOT_PLANNED)
                    db.execute(_ADD_ITEM, self._row(placeholder, tenant))
            db.executemany(
                "INSERT INTO tenants (id, name, base_url) VALUES (?, ?, ?)",
                [(row, name, base_urls[name]) for name, row in ids.items()],
            )
            self._number_equals(db)
        return digest.hexdigest()

    @staticmethod
    def _number_equals(db: sqlite3.Connection) -> None:
        """Edits of one content: the first keeps the name made from it, the others get a number."""
        # In the database, not here: all edits may be of one content.
        db.execute("CREATE TEMP TABLE equals (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        db.execute(_FIND_EQUALS)
        db.execute(_NAME_EQUALS)
        db.execute("DROP TABLE equals")

    def same_names(self) -> list[tuple[str, list[int]]]:
        """Edit names that stand in the job more than once, with their lines."""
        rows = self._rows(
            """SELECT name, group_concat(line) FROM edits GROUP BY name HAVING count(*) > 1
            ORDER BY min(line)"""
        )
        return [(name, sorted(int(line) for line in lines.split(","))) for name, lines in rows]

    def unmatched(self) -> list[tuple[int, str]]:
        """Line and name of each edit that must match something and matched nothing anywhere."""
        return [(line, name) for line, name in self._rows(_UNMATCHED)]

    def notes(self, edits: Iterable[int]) -> dict[int, str]:
        """The notes that some edits carry, by the edits' rows."""
        rows = ",".join(map(str, edits))
        sql = f"SELECT id, json_extract(body, '$.note') FROM edits WHERE id IN ({rows})"
        return {row: note for row, note in self._rows(sql) if note}

    def edit_names(self, rows: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Name and line of edits, by their rows."""
        sql = "SELECT name, line FROM edits WHERE id = ?"
        return {row: (name, line) for row in rows for name, line in self._rows(sql, (row,))}

    def left(self, states: Iterable[State]) -> Iterator[tuple[str, Fields, list[str]]]:
        """Every edit that has items in one of `states`, in the job's order: its name, its body,
        and the tenants of these items."""
        names = {row.id: row.name for row in self.tenants()}
        marks = ",".join(f"'{state.value}'" for state in states)
        with _told(self.path):
            for row in self._reader.execute(_LEFT.format(states=marks)):
                edit, name, line, body, total, tenants, whole = row
                if not whole or _rowsum(edit, name, line, body) != total:
                    raise self._damaged(f"edit {name}")
                there = sorted(map(int, tenants.split(",")))
                yield name, self._unpacked(body), [names[tenant] for tenant in there]

    def contents(self) -> Iterator[tuple[str, int, int]]:
        """Name, line and a checksum of the content of every edit, in the job's order."""
        for name, line, body in self._reader.execute("SELECT name, line, body FROM edits"):
            yield name, line, zlib.crc32(body.encode())

    # ---- the plan of one tenant

    @property
    def last_item(self) -> int:
        """The highest id that an item has."""
        return self._last_item

    def unresolved_tenants(self, which: Unresolved) -> set[int]:
        """The tenants that have edits which are to be resolved."""
        found: set[int] = set()
        for state, holds in which.kinds:
            sql = f"SELECT DISTINCT tenant FROM items i WHERE state = ? AND {holds}"
            found |= {row[0] for row in self._rows(sql, (state.value,))}
        return found

    def placeholders(
        self, tenant: int, which: Unresolved, count: int
    ) -> Iterator[list[tuple[Placeholder, Fields]]]:
        """The places of a tenant that are to be resolved, up to `count` at a time, in the job's
        order, with the bodies of their edits."""
        for state, holds in which.kinds:
            sql = f"""SELECT i.rank, i.id, i.target, e.id, e.name, e.line, e.body, e.sum
                FROM items i JOIN edits e ON e.id = i.edit
                WHERE i.tenant = ? AND i.state = ? AND (i.rank, i.id) > (?, ?) AND i.id <= ?
                AND {holds} ORDER BY i.rank, i.id LIMIT ?"""
            after: Sequence[int] = (-1, 0)
            while rows := self._rows(sql, (tenant, state.value, *after, which.last, count)):
                after = rows[-1][:2]
                yield [self._placeholder(row) for row in rows]

    def _placeholder(self, row: Any) -> tuple[Placeholder, Fields]:
        _, item, target, edit, name, line, body, total = row
        if _rowsum(edit, name, line, body) != total:
            raise self._damaged(f"edit {name}")
        return Placeholder(item=item, target=target, edit=edit), self._unpacked(body)

    def resolve(self, tenant: int, place: Placeholder, items: Sequence[Item]) -> list[Write]:
        """The writes that put `items` in a placeholder's place; the books stay balanced."""
        writes: list[Write] = [("DELETE FROM items WHERE id = ?", (place.item,))]
        if place.target is not None:
            writes.append(("DELETE FROM steps WHERE item = ?", (place.item,)))
        if len(items) != 1:
            sql = "UPDATE meta SET value = value + ? WHERE key = 'planned'"
            writes.append((sql, (len(items) - 1,)))
        for item in items:
            row = self._row(item, tenant)
            packed = [
                (self._pack(step.before, writes), self._pack(step.want, writes))
                for step in item.steps
            ]
            writes.append((_ADD_ITEM, row | {"change": self._change(item, packed)}))
            for n, (step, (before, want)) in enumerate(zip(item.steps, packed, strict=True)):
                new = {"item": row["id"], "n": n, "kind": step.kind, "target": step.target}
                writes.append(
                    (_ADD_STEP, new | {"back": step.back, "before": before, "want": want})
                )
        return writes

    def _change(self, item: Item, packed: Sequence[tuple[str, str]]) -> int:
        """A digest that items share which change the same, on whatever tenant they are and
        whatever they are called; `packed` is before and want of each step.

        Guards do not count: of what was there, the fields that a step changes do, and all of them
        where it leaves none. An item that writes to several things is told by their names too.
        """
        several = len({step.target for step in item.steps}) > 1
        names = [item.label, *(key for key in item.keys if ":" in key)] if several else []
        change = 0
        for step, (before, want) in zip(item.steps, packed, strict=True):
            if not several and step.before.keys() != step.want.keys():
                changed = {key: value for key, value in step.before.items() if key in step.want}
                before = self._pack(changed or step.before, [])
            change = _digest(change, names, step.kind, before, want)
        return change

    def _row(self, item: Item, tenant: int) -> dict[str, object]:
        """A new item's row."""
        self._last_item += 1
        outcome = item.outcome
        return {
            "id": self._last_item,
            "edit": item.edit,
            "tenant": tenant,
            "target": item.target,
            "label": item.label,
            "keys": " ".join(item.keys),
            "rank": item.rank,
            "change": 0,
            "state": outcome.state.value,
            "cause": outcome.cause,
            "hint": outcome.hint,
        }

    def unresolved(self, tenant: int, cause: str, hint: str) -> list[Write]:
        """The writes that give every placeholder of a tenant its cause."""
        failed = {"state": State.FAILED.value, "cause": cause, "hint": hint}
        return [(_TELL_PLACEHOLDERS, {"tenant": tenant, **failed})]

    def was_read(self, tenant: int, at: float) -> Write:
        """The write that says when a tenant's befores were read, in Unix seconds."""
        return ("UPDATE tenants SET read_at = ? WHERE id = ?", (at, tenant))

    def untouched(self) -> bool:
        """Whether no step was ever sent."""
        return not self._rows("SELECT 1 FROM steps WHERE state <> 'pending' LIMIT 1")

    def count(self) -> int:
        """How many items there are."""
        return int(self._rows("SELECT count(*) FROM items")[0][0])

    # ---- the work

    def reopen(self, tenant: int, *, failed: bool, replan: bool) -> list[Write]:
        """The writes that make a tenant's uncertain items pending, the `failed` ones, and with
        `replan` those that drifted after they were begun. What steps were sent stays known, and why
        one of them turns back."""
        writes: list[Write] = []
        again = [_FAILED] * failed + [_HALF_DRIFTED] * replan
        for which in ["state = 'uncertain'", *again]:
            if which in again:
                writes.append((_RETRY_STEPS.format(which=which), {"tenant": tenant}))
            writes.append((_REOPEN.format(which=which), {"tenant": tenant}))
        return writes

    def pending(self, tenant: int, after: tuple[int, int], count: int) -> list[Item]:
        """Up to `count` pending items of a tenant in the order of work, `after` (rank, id)."""
        return list(self._items(self._rows(_PENDING, (tenant, *after, count))))

    def items(self, states: Iterable[State], count: int, after: int = 0) -> list[Item]:
        """Up to `count` items in one of `states`, with the names of their edits, by their ids:
        those later than `after`."""
        marks = ",".join(f"'{state.value}'" for state in states)
        sql = _ITEMS.format(
            name="(SELECT name FROM edits WHERE id = i.edit)",
            which=f"WHERE state IN ({marks}) AND id > ? ORDER BY id LIMIT ?",
            order="i.id",
        )
        return list(self._items(self._rows(sql, (after, count))))

    def written(self) -> Iterator[Item]:
        """Every item of which something was written, or may have been; the newest work first."""
        for rank in range(
            int(self._rows("SELECT coalesce(max(rank), -1) FROM items")[0][0]), -1, -1
        ):
            last = self._last_item + 1
            while page := list(self._items(self._rows(_WRITTEN, (rank, last, _PAGE)))):
                yield from page
                last = page[-1].id

    def last_sent(self) -> float:
        """When the last of the steps was sent of which no answer is known; Unix seconds, or 0."""
        sql = "SELECT coalesce(max(sent_at), 0) FROM steps WHERE state = 'sent'"
        return float(self._rows(sql)[0][0])

    def planned_writes(self) -> dict[str, int]:
        """How many items of each tenant were planned to write something, by the tenant's name."""
        return dict(self._rows(_CHANGES))

    def deletes(self) -> int:
        """How many hooks were planned to be deleted."""
        sql = "SELECT count(*) FROM steps WHERE kind = 'delete'"
        return int(self._rows(sql)[0][0])

    def sent(self, item: Item, n: int, at: float) -> Write:
        """The write that marks a step as sent, at `at` Unix seconds."""
        return _move_step(item, n, "sent", at, None)

    def unsent(self, item: Item, n: int) -> Write:
        """The write that takes the mark back: the server is known not to have done the step."""
        return _move_step(item, n, "pending", None, None)

    def step_ended(
        self, item: Item, n: int, *, applied: bool, at: float | None, after: Fields
    ) -> list[Write]:
        """The writes that record a step's end. `at` is when it was sent, in Unix seconds; None: it
        was not, or was taken back. `after` is what was seen then."""
        writes: list[Write] = []
        seen = self._pack(after, writes)
        writes.append(_move_step(item, n, "applied" if applied else "failed", at, seen))
        return writes

    def ended(self, item: Item, outcome: Outcome) -> Write:
        """The write that records an item's end."""
        state, cause, hint = outcome.state.value, outcome.cause, outcome.hint
        total = _rowsum(item.id, state, cause, hint)
        return (_END_ITEM, (state, cause, hint, total, item.id))

    def give_up(self, tenant: int, cause: str, hint: str) -> list[Write]:
        """The writes that fail a tenant's pending items; those of which something was sent or done
        are uncertain."""
        move = {"tenant": tenant, "was": State.PENDING.value, "cause": cause, "hint": hint}
        return [
            (_GIVE_UP, move | {"state": State.FAILED.value}),
            (_MOVE_WHOLE, move | {"state": State.UNCERTAIN.value}),
        ]

    def counted(self, tenant: int, requests: int, throttled: int, pace: Fields) -> Write:
        """The write that adds to a tenant's requests, and keeps what its lane learned."""
        return (
            """UPDATE tenants SET requests = requests + ?, throttled = throttled + ?, pace = ?
            WHERE id = ?""",
            (requests, throttled, orjson.dumps(pace).decode(), tenant),
        )

    def post(self, *writes: Write) -> None:
        """Hand writes over, to be durable before any that is handed over later."""
        if self._broken:
            raise self._broken
        self._batch.writes.extend(writes)
        self._wake.set()

    async def commit(self, *writes: Write) -> None:
        """Hand writes over and wait until they, and all before them, are durable."""
        self.post(*writes)
        durable = asyncio.get_running_loop().create_future()
        self._batch.waiting.append(durable)
        await durable
        if self._broken:
            raise self._broken

    async def room(self) -> None:
        """Wait while so much is gathered that more would fill the memory."""
        while len(self._batch.writes) > _CROWDED:
            await self.commit()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """While inside, what is handed over is written; at the end, all of it has been."""
        self._closing = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write_batches)
            try:
                yield
            finally:
                self._closing = True
                self._wake.set()
        if self._broken:
            raise self._broken

    async def _write_batches(self) -> None:
        # Whoever is cancelled, what was handed over is written.
        with anyio.CancelScope(shield=True):
            while not (self._broken or (self._closing and not self._batch.writes)):
                await self._wake.wait()
                if not self._closing:
                    await asyncio.sleep(_GATHER)
                batch, self._batch, self._wake = self._batch, _Batch(), asyncio.Event()
                try:
                    with _told(self.path), _transaction(self._writer, commit=False) as db:
                        _execute(db, batch.writes)
                    # Only the wait for the disk goes to a thread: two threads that run Python
                    # take the interpreter from each other at every statement.
                    await anyio.to_thread.run_sync(self._commit)
                except JournalError as error:
                    self._broken = error
                    self._batch.end()
                batch.end()
                if self._closing:
                    self._wake.set()

    def _commit(self) -> None:
        with _told(self.path):
            self._writer.execute("COMMIT")

    def _write(self, writes: list[Write]) -> None:
        with _told(self.path), _transaction(self._writer) as db:
            _execute(db, writes)

    # ---- the books

    def books(self) -> dict[int, dict[State, int]]:
        """For each tenant the number of its items in each state; what a dead process left sent
        counts as uncertain."""
        books: dict[int, dict[State, int]] = {}
        for tenant, state, count in self._rows(_BOOKS):
            if state not in _STATES:
                raise self._damaged(f"an item that is {state!r}")
            books.setdefault(tenant, dict.fromkeys(State, 0))[_STATES[state]] += count
        for tenant, count in self._rows(_IN_DOUBT):
            books[tenant][State.PENDING] -= count
            books[tenant][State.UNCERTAIN] += count
        return books

    # ---- what is pending, as a whole

    def groups(self, *, groups: int = -1, tenants: int = -1, labels: int = -1) -> Iterator[Group]:
        """Pending items by what they change, the most frequent change first.

        Up to `groups` of them, each with up to `tenants` of its tenants and `labels` of its
        labels; -1: all.
        """
        most = {"groups": groups, "tenants": tenants, "labels": labels}
        own = groupby(self._each(_TENANTS_OF_EACH, most), itemgetter(0))
        called = groupby(self._each(_LABELS_OF_EACH, most), itemgetter(0))
        for change, items, here, names, first in self._each(_GROUPS, most):
            (_, some_tenants), (_, some_labels) = next(own), next(called)
            yield Group(
                change=change,
                items=items,
                tenants=here,
                labels=names,
                some_tenants=tuple([row[1] for row in some_tenants]),
                some_labels=tuple([row[1] for row in some_labels]),
                example=self.items([State.PENDING], 1, first - 1)[0],
            )

    def different(self) -> tuple[int, int]:
        """How many pending items there are, and how many different changes they make."""
        sql = "SELECT count(*), count(DISTINCT change) FROM items WHERE state = 'pending'"
        items, changes = self._rows(sql)[0]
        return items, changes

    def work(self, kinds: Sequence[str]) -> dict[int, Work]:
        """What is still to be done, by tenant; steps of `kinds` are counted apart as well."""
        rows = self._rows(_WORK.format(kinds=_marks(kinds)), kinds)
        return {
            tenant: Work(steps=steps, these=these, things=things)
            for tenant, steps, these, things in rows
        }

    def fields(self, kinds: Sequence[str], prefix: str) -> Iterator[tuple[str, str, int, int]]:
        """What pending steps of `kinds` had before, of fields that begin with `prefix`: kind,
        field, how many steps, on how many tenants."""
        yield from self._each(_FIELDS.format(kinds=_marks(kinds)), (*kinds, prefix, prefix))

    def labels(self, kind: str) -> Iterator[tuple[str, int, int]]:
        """What pending steps of a kind are for: label, how many steps, on how many tenants."""
        yield from self._each(_LABELS, (kind,))

    def causes(self) -> list[Cause]:
        """Why items failed, were skipped or are uncertain, the most frequent first."""
        return [
            Cause(
                state=state,
                cause=cause,
                hint=hint,
                example=example,
                count=count,
                tenants=tuple(sorted(names.split(","))),
            )
            for state, cause, hint, example, count, names in self._rows(_CAUSES)
        ]

    # ---- rows and values

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        with _told(self.path):
            return self._reader.execute(sql, values).fetchall()

    def _each(
        self, sql: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> Iterator[Any]:
        """Rows as they are found: there may be more of them than memory holds."""
        with _told(self.path):
            yield from self._reader.execute(sql, values)

    def _items(self, rows: Sequence[Any]) -> Iterator[Item]:
        for number, group in groupby(rows, itemgetter(0)):
            steps = list(group)
            row = steps[0]
            _, edit, tenant, target, label, keys, rank, change, planned = row[:9]
            state, cause, hint, total, name = row[9:14]
            if _rowsum(*row[:8]) != planned or _rowsum(number, state, cause, hint) != total:
                raise self._damaged(f"item {number}")
            yield Item(
                id=number,
                edit=edit,
                edit_name=name,
                tenant=tenant,
                target=target,
                label=label,
                keys=tuple(keys.split()),
                rank=rank,
                change=change,
                outcome=Outcome(state=_STATES[state], cause=cause, hint=hint),
                steps=tuple([self._step(step[14:]) for step in steps if step[14] is not None]),
            )

    def _step(self, row: Any) -> Step:
        item, n, kind, target, back, before, want, planned, state, sent_at, after, total = row
        if _rowsum(*row[:7]) != planned or _rowsum(item, n, state, sent_at, after) != total:
            raise self._damaged(f"item {item} step {n}")
        return Step(
            n=n,
            kind=kind,
            target=target,
            back=bool(back),
            before=self._unpacked(before),
            want=self._unpacked(want),
            state=state,
            sent_at=sent_at,
            after=None if after is None else self._unpacked(after),
        )

    def _damaged(self, what: str) -> JournalError:
        return JournalError(f"{self.path}: the journal is damaged at {what}")

    def _pack(self, fields: Fields, writes: list[Write]) -> str:
        """JSON of `fields`; a long string among them becomes a reference to a text of its own."""
        packed = fields
        for key, value in fields.items():
            if isinstance(value, str) and len(value) > _LONG:
                digest = blake2b(value.encode(), digest_size=16).hexdigest()
                writes.append((_ADD_TEXT, (digest, value)))
                packed = packed | {key: {"$text": digest}}
        return orjson.dumps(packed, option=orjson.OPT_SORT_KEYS).decode()

    def _packed(self, body: Fields, db: sqlite3.Connection) -> str:
        writes: list[Write] = []
        inner = {
            key: orjson.Fragment(self._pack(value, writes)) if isinstance(value, dict) else value
            for key, value in body.items()
        }
        for sql, values in writes:
            db.execute(sql, values)
        return orjson.dumps(inner, option=orjson.OPT_SORT_KEYS).decode()

    def _unpacked(self, packed: str) -> Fields:
        fields: Fields = orjson.loads(packed)
        if _REFERS not in packed:
            return fields
        return {key: self._whole(value) for key, value in fields.items()}

    def _whole(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.keys() != {"$text"}:
            return {key: self._whole(inner) for key, inner in value.items()} if value else value
        rows = self._rows("SELECT body FROM texts WHERE digest = ?", (value["$text"],))
        text = str(rows[0][0]) if rows else ""
        if blake2b(text.encode(), digest_size=16).hexdigest() != value["$text"]:
            raise self._damaged(f"text {value['$text']}")
        return text


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _digest(*values: object) -> int:
    """Of what a change is: 63 bits, so that equal ones are found together."""
    digest = blake2b(orjson.dumps(values), digest_size=8).digest()
    return int.from_bytes(digest, signed=True) >> 1


def _move_step(item: Item, n: int, state: str, at: float | None, after: str | None) -> Write:
    return (_MOVE_STEP, (state, at, after, _rowsum(item.id, n, state, at, after), item.id, n))


def _execute(db: sqlite3.Connection, writes: Iterable[Write]) -> None:
    """Write in order, except that between two other writes all of `_MOVE_STEP` go first, then all
    of `_END_ITEM`: they are most by far, change nothing in common, and go faster together."""
    for often, run in groupby(writes, lambda write: write[0] in (_MOVE_STEP, _END_ITEM)):
        if often:
            together = list(run)
            for often_sql in (_MOVE_STEP, _END_ITEM):
                db.executemany(often_sql, [v for sql, v in together if sql is often_sql])
        else:
            for sql, values in run:
                db.execute(sql, values)


class _Batch:
    """Writes that become durable together, and whoever waits until they are."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.waiting: list[asyncio.Future[None]] = []

    def end(self) -> None:
        """Let them go on, those who were not cancelled."""
        for durable in self.waiting:
            if not durable.done():
                durable.set_result(None)


@contextmanager
def _connection(path: Path, *, sealed: bool = False) -> Iterator[sqlite3.Connection]:
    uri = path.absolute().as_uri() + ("?immutable=1" if sealed else "")
    db = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        db.create_function("rowsum", -1, _rowsum, deterministic=True)
        yield db
    finally:
        db.close()


@contextmanager
def _transaction(db: sqlite3.Connection, *, commit: bool = True) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        if commit:
            db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite may have rolled back on its own
            db.execute("ROLLBACK")
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what SQLite raises into a JournalError that says what to do."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or not name:
            raise JournalError(f"{path}: the journal is damaged: {error}") from error
        raise JournalError(
            f"{path}: the journal cannot be used: {error}; nothing more was sent"
        ) from error
