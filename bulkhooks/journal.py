"""The journal: one SQLite file that is plan, record, resume point and undo source of a job.

It knows edits, items and steps, and nothing of what they edit. Every row carries a checksum that is
verified when the row is used. The books are counted from an index alone, and against what each
tenant's row says it has; and what is found by that index is used only where the row agrees with it.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from . import statements
from .items import Fields, Item, Outcome, State, Step
from .steps import of_action, told_of
from .store import Store, Write, rowsum

_STATES: Final = {state.value: state for state in State}
_NOT_PLANNED: Final = Outcome(state=State.FAILED, cause="not planned")
#: Strings longer than this many characters are stored once and referred to.
_LONG: Final = 200
#: Items that are read at once.
_PAGE: Final = 256
#: What a value holds that refers to a text.
_REFERS: Final = '"$text":'


class StagedEdit(msgspec.Struct, frozen=True, kw_only=True):
    """An edit as the journal keeps it; `body` is for whoever made it to read."""

    name: str
    given: bool  #: the name was written in the job, rather than made from the content
    line: int
    must_match: bool  #: an error if it matches nothing on any tenant that could be read
    body: Fields
    tenants: tuple[str, ...]


class Placeholder(msgspec.Struct, frozen=True, kw_only=True):
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
        drifted = f"i.cause LIKE 'drifted%' AND {statements.NOT_BEGUN}"
        failed = [(State.FAILED, "i.steps = 0")] * self.failed
        again = [(State.PENDING, statements.NOT_BEGUN), (State.SKIPPED, drifted)] * self.replan
        return failed + again


class TenantRow(msgspec.Struct, frozen=True):
    """A tenant as the journal knows it."""

    id: int
    name: str
    base_url: str
    items: int  #: how many it has
    read_at: float | None  #: Unix seconds at which its befores were read
    requests: int = 0
    throttled: int = 0
    pace: Fields | None = None


class Event(NamedTuple):
    """Something that happened to a job as a whole; `at` is in Unix seconds."""

    at: float
    kind: str
    what: Fields


class Sample(NamedTuple):
    """What one tenant's lane did in a few seconds."""

    tenant: int  #: the tenant's row
    at: float  #: when they began, in Unix seconds
    seconds: float
    requests: int
    throttled: int  #: answers with status 429
    waited: float  #: seconds that requests waited for their turn
    remaining: int | None  #: requests left in the bucket at their end
    bucket: int | None  #: the bucket's size
    reserve: int | None  #: requests of it that were left to others


class Journal(Store):
    """One open journal, by `create` and `open` for whoever works on it, and by `read` beside them.

    Everything raises JournalError when the file is damaged or cannot be read or written.
    """

    FORMAT = 7
    SCHEMA = statements.SCHEMA
    OFTEN = (statements.MOVE_STEP, statements.END_ITEM)
    WHOLE = statements.CHECKED
    FEW = ("meta", "tenants")

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: sqlite3.Connection) -> None:
        super().__init__(path, reader, writer)
        self._last_item: int = self.rows("SELECT coalesce(max(id), 0) FROM items")[0][0]

    # ---- what holds for the whole job

    def meta(self, key: str, default: str = "") -> str:
        """What was last `note`d under `key`."""
        # All of them: a key that is damaged must not look like one that was never noted.
        kept: dict[str, str] = {}
        for name, value, total in self.rows("SELECT key, value, sum FROM meta"):
            if rowsum(name, value) != total:
                raise self.damaged(f"what it keeps of {name}")
            kept[name] = value
        return kept.get(key, default)

    def note(self, **values: str) -> None:
        """Keep `values`, at once and durably; not while `writing`."""
        self.write(self.noted(**values))

    def noted(self, **values: str) -> list[Write]:
        """The writes that keep `values`."""
        return [(statements.NOTE, {"key": key, "value": value}) for key, value in values.items()]

    def tenants(self) -> list[TenantRow]:
        """All tenants of the job, in their file's order."""
        sql = """SELECT id, name, base_url, items, read_at, requests, throttled, pace,
            planned_sum, state_sum FROM tenants ORDER BY id"""
        return [self._tenant(row) for row in self.rows(sql)]

    def _tenant(self, row: Any) -> TenantRow:
        number, name, base_url, items, read_at, requests, throttled, pace, planned, total = row
        now = rowsum(number, items, read_at, requests, throttled, pace)
        if rowsum(number, name, base_url) != planned or now != total:
            raise self.damaged(f"tenant {name}")
        learned = None if pace is None else orjson.loads(pace)
        return TenantRow(number, name, base_url, items, read_at, requests, throttled, learned)

    # ---- the job, before anything is read of the tenants

    def stage(self, edits: Iterable[StagedEdit], base_urls: dict[str, str]) -> str:
        """Write the whole job down, or nothing of it: each edit, and a placeholder for each of its
        tenants. Answers a digest of the edits. What `edits` raises goes through.
        """
        ids: dict[str, int] = {}
        items = Counter[int]()
        digest = blake2b(digest_size=16)
        with self.transaction() as db:
            for number, edit in enumerate(edits, 1):
                body = self._packed(edit.body, db)
                digest.update(f"{edit.name}\x1f{','.join(edit.tenants)}\x1f{body}\n".encode())
                must, tenants = int(edit.must_match), len(edit.tenants)
                row = (number, edit.name, int(edit.given), edit.line, must, tenants, body)
                db.execute(statements.ADD_EDIT, (*row, rowsum(*row)))
                for name in edit.tenants:
                    tenant = ids.setdefault(name, len(ids) + 1)
                    items[tenant] += 1
                    placeholder = Item(edit=number, target=None, label="", outcome=_NOT_PLANNED)
                    db.execute(*self._added(placeholder, tenant))
            db.executemany(
                statements.ADD_TENANT,
                [
                    {"id": row, "name": name, "at": base_urls[name], "items": items[row]}
                    for name, row in ids.items()
                ],
            )
            self._number_equals(db)
        return digest.hexdigest()

    @staticmethod
    def _number_equals(db: sqlite3.Connection) -> None:
        """Edits of one content: the first keeps the name made from it, the others get a number."""
        # In the database, not here: all edits may be of one content.
        db.execute("CREATE TEMP TABLE equals (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        db.execute(statements.FIND_EQUALS)
        db.execute(statements.NAME_EQUALS)
        db.execute("DROP TABLE equals")

    def same_names(self) -> list[tuple[str, list[int]]]:
        """Edit names that stand in the job more than once, with their lines."""
        rows = self.rows(
            """SELECT name, group_concat(line) FROM edits GROUP BY name HAVING count(*) > 1
            ORDER BY min(line)"""
        )
        return [(name, sorted(int(line) for line in lines.split(","))) for name, lines in rows]

    def unmatched(self) -> list[tuple[int, str, str]]:
        """Line and name of each edit that must match something and matched nothing anywhere, and
        whether it is of `hooks` or `actions`."""
        return [(line, name, of) for line, name, of in self.rows(statements.UNMATCHED)]

    def notes(self, edits: Iterable[int]) -> dict[int, str]:
        """The notes that some edits carry, by the edits' rows."""
        rows = ",".join(map(str, edits))
        sql = f"""SELECT name, id, body, {statements.EDIT_WHOLE} FROM edits WHERE id IN ({rows})"""
        found = {row: orjson.loads(body).get("note") for _, row, body in self._edits(sql)}
        return {row: note for row, note in found.items() if note}

    def body(self, edit: int) -> Fields:
        """What an edit asks for, by the edit's row. Raises JournalError."""
        sql = f"SELECT name, body, {statements.EDIT_WHOLE} FROM edits WHERE id = ?"
        for _, body in self._edits(sql, (edit,)):
            return self._unpacked(body)
        raise self.damaged(f"edit {edit}, which is not there")

    def edit_names(self, rows: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Name and line of edits, by their rows."""
        sql = f"SELECT name, line, {statements.EDIT_WHOLE} FROM edits WHERE id = ?"
        names = {row: each for row in rows for each in self._edits(sql, (row,))}
        if lost := set(rows) - names.keys():
            raise self.damaged(f"edit {min(lost)}, which is not there")
        return names

    def left(self, states: Iterable[State]) -> Iterator[tuple[str, Fields, list[str]]]:
        """Every edit that has items in one of `states`, in the job's order: its name, its body,
        and the tenants of these items."""
        names = {row.id: row.name for row in self.tenants()}
        for name, body, tenants in self.each(statements.LEFT.format(states=_marks(states))):
            there = sorted(map(int, tenants.split(",")))
            yield name, self._unpacked(body), [names[tenant] for tenant in there]

    def contents(self) -> Iterator[tuple[str, int, int]]:
        """Name, line and a checksum of the content of every edit, in the job's order."""
        for name, line, body in self._edits(
            f"SELECT name, line, body, {statements.EDIT_WHOLE} FROM edits"
        ):
            yield name, line, zlib.crc32(body.encode())

    def _edits(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """What a query finds of edits: their names first, and last whether they are whole."""
        for *found, whole in self.each(sql, values):
            if not whole:
                raise self.damaged(f"edit {found[0]}")
            yield found

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
            found |= {row[0] for row in self.rows(sql, (state.value,))}
        return found

    def placeholders(
        self, tenant: int, which: Unresolved, count: int
    ) -> Iterator[list[tuple[Placeholder, Fields]]]:
        """The places of a tenant that are to be resolved, up to `count` at a time, in the job's
        order, with the bodies of their edits."""
        for state, holds in which.kinds:
            sql = f"""SELECT f.rank, f.id, i.target, i.edit, e.name, e.body, i.whole, e.whole
                FROM ({statements.FOUND} i WHERE tenant = ? AND state = ? AND (rank, id) > (?, ?)
                    AND id <= ? AND {holds} ORDER BY rank, id LIMIT ?) f
                LEFT JOIN (SELECT *, {statements.ALL_WHOLE} AS whole FROM items) i
                    ON {statements.AS_FOUND}
                LEFT JOIN (SELECT *, {statements.EDIT_WHOLE} AS whole FROM edits) e ON e.id = i.edit
                ORDER BY f.rank, f.id"""
            after: Sequence[int] = (-1, 0)
            more = True
            while more:
                rows = self.rows(sql, (tenant, state.value, *after, which.last, count))
                more = len(rows) == count
                if rows:
                    after = rows[-1][:2]
                    yield [self._placeholder(row) for row in rows]

    def _placeholder(self, row: Any) -> tuple[Placeholder, Fields]:
        _, item, target, edit, name, body, item_whole, edit_whole = row
        if not item_whole:
            raise self.damaged(f"item {item}")
        if not edit_whole:
            raise self.damaged(f"edit {name or edit}")
        return Placeholder(item=item, target=target, edit=edit), self._unpacked(body)

    def resolve(self, tenant: int, place: Placeholder, items: Sequence[Item]) -> list[Write]:
        """The writes that put `items` in a placeholder's place; the books stay balanced."""
        writes: list[Write] = [("DELETE FROM items WHERE id = ?", (place.item,))]
        if place.target is not None:
            writes.append(("DELETE FROM steps WHERE item = ?", (place.item,)))
        if more := len(items) - 1:
            writes.append((statements.PLAN_MORE, {"more": more}))
            writes.append((statements.HAS_MORE, {"tenant": tenant, "more": more}))
        for item in items:
            packed = [
                (self._pack(step.before, writes), self._pack(step.want, writes))
                for step in item.steps
            ]
            writes.append(self._added(item, tenant, self._change(item, packed)))
            for n, (step, (before, want)) in enumerate(zip(item.steps, packed, strict=True)):
                row = (self._last_item, n, step.kind, step.target, int(step.back), before, want)
                pending = rowsum(self._last_item, n, "pending", None, None)
                writes.append((statements.ADD_STEP, (*row, rowsum(*row), pending)))
        return writes

    def _change(self, item: Item, packed: Sequence[tuple[str, str]]) -> int:
        """A digest that items share which change the same, on whatever tenant they are and
        whatever they are called; `packed` is before and want of each step.

        Guards do not count: of what was there, the fields that a step changes do, and all of them
        where it leaves none. An item that writes to several things is told by their names too,
        unless these are a hook and its action.
        """
        moved = len({of_action(step.target) for step in item.steps}) > 1
        several = not moved and len({step.target for step in item.steps}) > 1
        names = [item.label, *(key for key in item.keys if ":" in key)] if several else []
        change = 0
        for step, (before, want) in zip(item.steps, packed, strict=True):
            if moved or of_action(step.target):
                before, want = (self._pack(each, []) for each in told_of(step, item.label))
            elif not several and step.before.keys() != step.want.keys():
                changed = {key: value for key, value in step.before.items() if key in step.want}
                before = self._pack(changed or step.before, [])
            change = _digest(change, names, step.kind, before, want)
        return change

    def _added(self, item: Item, tenant: int, change: int = 0) -> Write:
        """The write of a new item's row."""
        self._last_item += 1
        number, keys = self._last_item, " ".join(item.keys)
        where = (number, item.edit, tenant, item.target, item.label, keys)
        row = (*where, item.rank, change, len(item.steps))
        return (statements.ADD_ITEM, (*row, rowsum(*row), *_state(number, item.outcome)))

    def unresolved(self, tenant: int, cause: str, hint: str) -> list[Write]:
        """The writes that give every placeholder of a tenant its cause."""
        failed = {"state": State.FAILED.value, "cause": cause, "hint": hint}
        return [(statements.TELL_PLACEHOLDERS, {"tenant": tenant, **failed})]

    def was_read(self, tenant: int, at: float) -> Write:
        """The write that says when a tenant's befores were read, in Unix seconds."""
        return (statements.WAS_READ, {"at": at, "tenant": tenant})

    def untouched(self) -> bool:
        """Whether no step was ever sent."""
        sql = f"""SELECT item, n, {statements.STEP_WHOLE} FROM steps
            WHERE state <> 'pending' LIMIT 1"""
        for item, n, whole in self.rows(sql):
            if not whole:
                raise self.damaged(f"item {item} step {n}")
            return False
        return True

    def count(self) -> int:
        """How many items there are."""
        return int(self.rows("SELECT count(*) FROM items")[0][0])

    # ---- the work

    def reopen(self, tenant: int, *, failed: bool, replan: bool) -> list[Write]:
        """The writes that make a tenant's uncertain items pending, the `failed` ones, and with
        `replan` those that drifted after they were begun. What steps were sent stays known, and why
        one of them turns back."""
        writes: list[Write] = []
        again = [statements.FAILED] * failed + [statements.HALF_DRIFTED] * replan
        for which in ["state = 'uncertain'", *again]:
            if which in again:
                writes.append((statements.RETRY_STEPS.format(which=which), {"tenant": tenant}))
            writes.append(
                (statements.REOPEN.format(which=which, whole=statements.WHOLE), {"tenant": tenant})
            )
        return writes

    def pending(self, tenant: int, after: tuple[int, int], count: int) -> list[Item]:
        """Up to `count` pending items of a tenant in the order of work, `after` (rank, id)."""
        return list(self._items(self.rows(statements.PENDING, (tenant, *after, count))))

    def done(self, tenant: int) -> Iterator[Item]:
        """Every item of a tenant that ended well, in the order of their ids."""
        last = 0
        while page := list(self._items(self.rows(statements.DONE, (tenant, last, _PAGE)))):
            yield from page
            last = page[-1].id

    def to_write(self) -> dict[str, int]:
        """How many items of each tenant are, or were, to write something, by the tenant's name."""
        sql = """SELECT t.name, count(i.id) FROM tenants t LEFT JOIN items i ON i.tenant = t.id
            AND i.steps > 0 AND i.state <> 'unchanged' GROUP BY t.id"""
        return dict(self.rows(sql))

    def items(self, states: Iterable[State], count: int, after: int = 0) -> list[Item]:
        """Up to `count` items in one of `states`, with the names of their edits, by their ids:
        those later than `after`."""
        sql = statements.ITEMS.format(
            name=statements.EDIT_NAME,
            which=f"WHERE state IN ({_marks(states)}) AND id > ? ORDER BY id LIMIT ?",
            order="f.id",
        )
        return list(self._items(self.rows(sql, (after, count))))

    def pages(self, states: Iterable[State]) -> Iterator[list[Item]]:
        """All items in one of `states`, with the names of their edits, by their ids: as many at
        once as may be in memory."""
        wanted, last = tuple(states), 0
        while page := self.items(wanted, _PAGE, last):
            yield page
            last = page[-1].id

    def written(self) -> Iterator[Item]:
        """Every item of which something was written, or may have been; the newest work first."""
        for rank in range(
            int(self.rows("SELECT coalesce(max(rank), -1) FROM items")[0][0]), -1, -1
        ):
            last = self._last_item + 1
            while page := list(self._items(self.rows(statements.WRITTEN, (rank, last, _PAGE)))):
                yield from page
                last = page[-1].id

    def last_sent(self) -> float:
        """When the last of the steps was sent of which no answer is known; Unix seconds, or 0."""
        sql = "SELECT coalesce(max(sent_at), 0) FROM steps WHERE state = 'sent'"
        return float(self.rows(sql)[0][0])

    def wrote_until(self, before: float) -> float:
        """When the last step was sent before a moment; Unix seconds, or 0."""
        sql = "SELECT coalesce(max(sent_at), 0) FROM steps WHERE sent_at < ?"
        return float(self.rows(sql, (before,))[0][0])

    def sent(self, item: Item, n: int, at: float, kept: Fields | None = None) -> Write:
        """The write that marks a step as sent, at `at` Unix seconds; `kept` is what was seen right
        before it, and its way back takes."""
        return _move_step(item, n, "sent", at, orjson.dumps(kept).decode() if kept else None)

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
        return (statements.END_ITEM, (*_state(item.id, outcome), item.id))

    def give_up(
        self, tenant: int, cause: str, hint: str, *, state: State = State.FAILED
    ) -> list[Write]:
        """The writes that fail a tenant's pending items, or give them another `state`; those of
        which something was sent or done are uncertain."""
        move = {"tenant": tenant, "was": State.PENDING.value, "cause": cause, "hint": hint}
        return [
            (statements.GIVE_UP, move | {"state": state.value}),
            (statements.MOVE_WHOLE, move | {"state": State.UNCERTAIN.value}),
        ]

    def counted(self, tenant: int, requests: int, throttled: int, pace: Fields) -> Write:
        """The write that adds to a tenant's requests, and keeps what its lane learned."""
        learned = orjson.dumps(pace).decode()
        new = {"requests": requests, "throttled": throttled, "pace": learned}
        return (statements.COUNTED, new | {"tenant": tenant})

    # ---- what went on, for the report

    def event(self, kind: str, at: float, **what: object) -> Write:
        """The write that keeps that something happened, at `at` Unix seconds."""
        told = orjson.dumps(what).decode()
        return (statements.ADD_EVENT, {"at": float(at), "kind": kind, "what": told})

    def events(self) -> Iterator[Event]:
        """All that happened, in its order."""
        for number, at, kind, what, whole in self.each(
            f"SELECT id, at, kind, what, {statements.EVENT_WHOLE} FROM events ORDER BY id"
        ):
            if not whole:
                raise self.damaged(f"event {number}")
            yield Event(at, kind, orjson.loads(what))

    def sampled(self, sample: Sample) -> Write:
        """The write that keeps a sample of the timeline."""
        real = {key: float(getattr(sample, key)) for key in ("at", "seconds", "waited")}
        return (statements.ADD_SAMPLE, sample._asdict() | real)

    def timeline(self) -> Iterator[Sample]:
        """All samples, by tenant and time."""
        for *row, whole in self.each(
            f"""SELECT {statements.SAMPLE}, {statements.SAMPLE_WHOLE} FROM timeline
            ORDER BY tenant, at"""
        ):
            if not whole:
                raise self.damaged(f"the timeline of tenant {row[0]}")
            yield Sample(*row)

    # ---- the books

    def books(self) -> dict[int, dict[State, int]]:
        """For each tenant the number of its items in each state; what a dead process left sent
        counts as uncertain. Raises what `counts` raises."""
        books = self.counts()
        for tenant in self._in_doubt().values():
            books[tenant][State.PENDING] -= 1
            books[tenant][State.UNCERTAIN] += 1
        return books

    def counts(self) -> dict[int, dict[State, int]]:
        """For each tenant the number of its items in each state; what a dead process left sent is
        pending.

        The items' rows are not read for it. An item that is lost, found twice, under another tenant
        or in a state that is none is told by the counts.
        """
        tenants = self.tenants()
        books = {row.id: dict.fromkeys(State, 0) for row in tenants}
        for tenant, state, count in self.rows(statements.BOOKS):
            # No word of a state becomes another by a flipped bit.
            if tenant not in books or state not in _STATES:
                raise self.damaged(f"an item of tenant {tenant} that is {state!r}")
            books[tenant][_STATES[state]] += count
        for row in tenants:
            if row.items != (there := sum(books[row.id].values())):
                raise self.damaged(
                    f"its books: tenant {row.name} has {row.items} items, {there} are there"
                )
        return books

    def _in_doubt(self) -> dict[int, int]:
        """Pending items of which a step was sent that has no answer, and their tenants."""
        found: dict[int, int] = {}
        for item, whole, tenant, state, item_whole in self.each(statements.SENT):
            if not (whole and item_whole):
                raise self.damaged(f"item {item}")
            if state == State.PENDING:
                found[item] = tenant
        return found

    def verify(self, states: Iterable[State], *, steps: bool = False) -> None:
        """Raises JournalError when an item in one of `states` is not whole; with `steps` also when
        one of its steps is not."""
        whole = statements.ALL_WHOLE if steps else statements.WHOLE
        for (item,) in self.rows(statements.BROKEN.format(states=_marks(states), whole=whole)):
            raise self.damaged(item)

    # ---- rows and values

    def _items(self, rows: Sequence[Any]) -> Iterator[Item]:
        for number, group in groupby(rows, itemgetter(0)):
            lines = list(group)
            row = lines[0]
            _, edit, tenant, target, label, keys, rank, change, count, planned = row[:10]
            state, cause, hint, total, name = row[10:15]
            if rowsum(*row[:9]) != planned or rowsum(number, state, cause, hint) != total:
                raise self.damaged(f"item {number}")
            if name is None:
                raise self.damaged(f"edit {edit}")
            steps = tuple([self._step(line[15:]) for line in lines if line[15] is not None])
            # One that is lost is not to be passed over; an item found twice has them twice.
            if [step.n for step in steps] != list(range(count)):
                raise self.damaged(f"item {number}, which has {count} steps")
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
                steps=steps,
            )

    def _step(self, row: Any) -> Step:
        item, n, kind, target, back, before, want, planned, state, sent_at, after, total = row
        if rowsum(*row[:7]) != planned or rowsum(item, n, state, sent_at, after) != total:
            raise self.damaged(f"item {item} step {n}")
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

    def _pack(self, fields: Fields, writes: list[Write]) -> str:
        """JSON of `fields`; a long string among them becomes a reference to a text of its own."""
        packed = fields
        for key, value in fields.items():
            if isinstance(value, str) and len(value) > _LONG:
                digest = blake2b(value.encode(), digest_size=16).hexdigest()
                writes.append((statements.ADD_TEXT, (digest, value)))
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
        rows = self.rows("SELECT body FROM texts WHERE digest = ?", (value["$text"],))
        text = str(rows[0][0]) if rows else ""
        if blake2b(text.encode(), digest_size=16).hexdigest() != value["$text"]:
            raise self.damaged(f"text {value['$text']}")
        return text


def _marks(states: Iterable[State]) -> str:
    return ",".join(f"'{state.value}'" for state in states)


def _digest(*values: object) -> int:
    """Of what a change is: 63 bits, so that equal ones are found together."""
    digest = blake2b(orjson.dumps(values), digest_size=8).digest()
    return int.from_bytes(digest, signed=True) >> 1


def _state(item: int, outcome: Outcome) -> tuple[str, str, str, int]:
    """The part of an item's row that tells where it is."""
    state, cause, hint = outcome.state.value, outcome.cause, outcome.hint
    return state, cause, hint, rowsum(item, state, cause, hint)


def _move_step(item: Item, n: int, state: str, at: float | None, after: str | None) -> Write:
    return (
        statements.MOVE_STEP,
        (state, at, after, rowsum(item.id, n, state, at, after), item.id, n),
    )
