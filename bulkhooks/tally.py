"""What a plan asks for and came to, counted over all of it: for whoever shows or guards it.

What counts pending items and their steps is for who has had the journal `verify` them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Final

import orjson

from .actions import REREAD
from .items import Fields, Item, Move, State, edit_of
from .journal import Journal
from .steps import SILENT, of_action, told_of

_CHANGES: Final = """SELECT t.name, count(*) FROM items i JOIN tenants t ON t.id = i.tenant
    WHERE i.steps > 0 GROUP BY t.id ORDER BY t.id"""
#: Groups of items in a state that change the same, the largest first; then up to a number of each
#: group's tenants, in the job's order, and of its labels, the most frequent first.
_OF_A_CHANGE: Final = """WITH g AS (SELECT change, count(*) AS items,
    count(DISTINCT tenant) AS tenants, count(DISTINCT label) AS labels, min(id) AS first
    FROM items WHERE state = :state GROUP BY change ORDER BY items DESC, first LIMIT :groups) """
_GROUPS: Final = _OF_A_CHANGE + "SELECT * FROM g ORDER BY items DESC, first"
_SOME_OF_EACH: Final = (
    _OF_A_CHANGE
    + """SELECT change, {what} FROM (SELECT g.items AS items, g.first AS first, i.change AS change,
    i.{what} AS {what}, row_number() OVER (PARTITION BY i.change ORDER BY {order}) AS nth
    FROM g JOIN items i ON i.change = g.change WHERE i.state = :state
    GROUP BY i.change, i.{what}) WHERE nth <= :{what}s OR :{what}s < 0
    ORDER BY items DESC, first, nth"""
)
_TENANTS_OF_EACH: Final = _SOME_OF_EACH.format(what="tenant", order="i.tenant")
_LABELS_OF_EACH: Final = _SOME_OF_EACH.format(what="label", order="count(*) DESC, i.label")


def _kinds(kinds: Sequence[str]) -> str:
    return ",".join(f"'{kind}'" for kind in kinds)


_OF: Final = "iif(instr(s.target, 'actions/'), 'actions', 'hooks') AS of"
#: What is still to be done for each tenant: lists, requests beside them, and deployments. A step
#: takes its write and what is read right before it and after it (a trigger's list is read until a
#: page is empty; what is deployed is waited for twice). Of an item of several steps each thing is
#: looked at before the first of its steps, and of one that writes to several things after the last.
_WORK: Final = f"""WITH w AS (SELECT i.tenant AS tenant, s.kind = 'deploy' AS deploy,
    instr(s.target, 'actions/') > 0 AS action,
    CASE WHEN s.kind = 'bind' THEN 2
        WHEN instr(s.target, 'actions/') THEN s.kind IN ('create', {_kinds(REREAD)})
        ELSE s.kind IN ({_kinds(SILENT)}) OR s.before LIKE '%"script":%' END AS ahead,
    CASE WHEN s.kind = 'bind' THEN 2 ELSE s.kind IN ({_kinds(SILENT)}) END AS behind,
    iif(s.kind = 'bind', 2, 1) AS look,
    i.steps > 1 AND instr(s.target, ':') = 0 AND NOT EXISTS (SELECT 1 FROM steps o
        WHERE o.item = s.item AND o.target = s.target AND o.n < s.n) AS first,
    i.steps > 1 AND NOT EXISTS (SELECT 1 FROM steps o
        WHERE o.item = s.item AND o.target = s.target AND o.n > s.n AND NOT o.back)
        AND EXISTS (SELECT 1 FROM steps o
        WHERE o.item = s.item AND o.target <> s.target AND NOT o.back) AS last
    FROM steps s JOIN items i ON i.id = s.item
    WHERE i.state = 'pending' AND s.state <> 'applied' AND NOT s.back)
    SELECT tenant, max(action) + max(NOT action),
    sum(1 + ahead + behind + 2 * deploy + iif(first, ahead, 0) + iif(last, look, 0)), sum(deploy)
    FROM w GROUP BY tenant"""
#: Pending items of a tenant that change the same and are called the same, with the script that
#: begins to run without being written: a draft that is deployed as it is, what a hook becomes.
_WANTED: Final = """SELECT t.name, i.change, i.label, {script} AS script, min(i.id)
    FROM items i JOIN tenants t ON t.id = i.tenant WHERE i.state = 'pending'
    GROUP BY i.tenant, i.change, i.label, script ORDER BY i.tenant"""
_DRAFT: Final = """(SELECT group_concat(json_extract(s.before, '$.code')) FROM steps s
    WHERE s.item = i.id AND s.kind = 'deploy' AND NOT s.back AND NOT EXISTS (SELECT 1 FROM steps o
    WHERE o.item = s.item AND o.target = s.target AND o.n < s.n AND NOT o.back))"""
_MOVED: Final = "(SELECT json_extract(e.body, '$.create.code') FROM edits e WHERE e.id = i.edit)"
#: Of pending steps of certain kinds, how often they had a field that begins in a certain way.
_FIELDS: Final = f"""SELECT s.kind, f.key, {_OF}, count(*), count(DISTINCT i.tenant)
    FROM steps s JOIN items i ON i.id = s.item, json_each(s.before) f
    WHERE s.kind IN ({{kinds}}) AND s.state <> 'applied' AND i.state = 'pending'
    AND substr(f.key, 1, length(?)) = ? GROUP BY s.kind, f.key, of ORDER BY s.kind, f.key, of"""
_LABELS: Final = f"""SELECT i.label, {_OF}, count(*), count(DISTINCT i.tenant)
    FROM steps s JOIN items i ON i.id = s.item
    WHERE s.kind = ? AND s.state <> 'applied' AND i.state = 'pending'
    AND NOT (? AND (s.target LIKE 'new:%' OR s.want LIKE '%"version":%'))
    GROUP BY i.label, of ORDER BY count(*) DESC, i.label, of"""
#: Of how many pending items a hook and its action both run for a moment, and of how many neither.
_MOVES: Final = """SELECT sum(both), sum(NOT both) FROM
    (SELECT (b.n < h.n) = json_extract(b.want, '$.bound') AS both FROM steps b
    JOIN steps h ON h.item = b.item AND h.kind = 'update' AND instr(h.target, 'actions/') = 0
    AND NOT h.back JOIN items i ON i.id = b.item AND i.state = 'pending'
    WHERE b.kind = 'bind' AND NOT b.back)"""
_CAUSES: Final = """SELECT i.state, i.cause, json_group_array(DISTINCT i.hint), max(i.label),
    count(*), group_concat(DISTINCT t.name)
    FROM tenants t NOT INDEXED CROSS JOIN items i ON i.tenant = t.id
    AND i.state IN ('failed', 'skipped', 'uncertain') GROUP BY i.state, i.cause
    ORDER BY count(*) DESC, i.cause"""


#: Next steps that are told of one cause.
_HINTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Items in one state that all change the same."""

    change: int
    items: int
    tenants: int
    labels: int  #: different ones
    some_tenants: tuple[int, ...]  #: rows, in the job's order
    some_labels: tuple[str, ...]  #: the most frequent first
    example: Item
    move: Move | None  #: the example's edit, where a hook is to become an action


@dataclass(frozen=True, slots=True)
class Work:
    """What one tenant's pending items still have to do."""

    lists: int  #: of hooks, of actions
    requests: int  #: beside these
    deployments: int


@dataclass(frozen=True, slots=True)
class Cause:
    """Items that ended the same way for the same reason."""

    state: str
    cause: str
    hint: str
    example: str  #: what one of the items is for
    count: int
    tenants: tuple[str, ...]


def groups(
    journal: Journal,
    state: State = State.PENDING,
    *,
    groups: int = -1,
    tenants: int = -1,
    labels: int = -1,
) -> Iterator[Group]:
    """Items in a state, pending ones, by what they change, the most frequent change first.

    Up to `groups` of them, each with up to `tenants` of its tenants and `labels` of its
    labels; -1: all.
    """
    most = {"state": state.value, "groups": groups, "tenants": tenants, "labels": labels}
    own = groupby(journal.each(_TENANTS_OF_EACH, most), itemgetter(0))
    called = groupby(journal.each(_LABELS_OF_EACH, most), itemgetter(0))
    for change, items, here, names, first in journal.each(_GROUPS, most):
        (_, some_tenants), (_, some_labels) = next(own), next(called)
        yield Group(
            change=change,
            items=items,
            tenants=here,
            labels=names,
            some_tenants=tuple([row[1] for row in some_tenants]),
            some_labels=tuple([row[1] for row in some_labels]),
            example=(example := journal.items([state], 1, first - 1)[0]),
            move=_move_of(journal.body(example.edit)),
        )


def _move_of(body: Fields) -> Move | None:
    edit = edit_of(body) if body.get("type") == "move" else None
    return edit if isinstance(edit, Move) else None


def moves(journal: Journal) -> tuple[int, int]:
    """For how many pending items a hook and its action both run for a moment, when one takes the
    other's place; and for how many neither does."""
    both, neither = journal.rows(_MOVES)[0]
    return both or 0, neither or 0


def different(journal: Journal, state: State = State.PENDING) -> tuple[int, int]:
    """How many items there are in a state, pending ones, and how many different changes they
    make."""
    sql = "SELECT count(*), count(DISTINCT change) FROM items WHERE state = ?"
    items, changes = journal.rows(sql, (state.value,))[0]
    return items, changes


def wanted(journal: Journal) -> dict[str, set[int]]:
    """The different things that pending items leave behind them, as digests, by tenant in the job's
    order.

    What was there before makes no difference. What an item is for is told by its name only where a
    script begins to run of which nothing else is known.
    """
    sql = _WANTED.format(script=_MOVED if journal.meta("moves") else _DRAFT)
    known: dict[tuple[int, str | None], tuple[int, bool]] = {}
    found: dict[str, set[int]] = {}
    for tenant, change, label, script, first in journal.each(sql):
        key = (change, script)
        if key not in known:
            known[key] = _left_by(journal.items([State.PENDING], 1, first - 1)[0], script)
        left, by_name = known[key]
        found.setdefault(tenant, set()).add(_digest(left, label) if by_name else left)
    return found


def _left_by(item: Item, script: str | None) -> tuple[int, bool]:
    """A digest of what an item leaves behind it, and whether it starts a script that this does not
    tell."""
    steps = [step for step in item.steps if not step.back]
    left = [(step.kind, told_of(step, item.label)[1]) for step in steps]
    targets = {step.target for step in steps}
    # Of several hooks the one is told by its name and its trigger that takes the others' place.
    moved = len({of_action(target) for target in targets}) > 1
    names = [item.label, *(key for key in item.keys if ":" in key)] if len(targets) > 1 else []
    starts = any(step.want.get(key) is True for step in steps for key in ("enabled", "bound"))
    told = script is not None or any({"script", "code"} & step.want.keys() for step in steps)
    return _digest([] if moved else names, left, script), starts and not told


def _digest(*values: object) -> int:
    whole = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(whole, digest_size=8).digest()) >> 1


def work(journal: Journal) -> dict[int, Work]:
    """About what is still to be done, by tenant."""
    return {tenant: Work(*counts) for tenant, *counts in journal.rows(_WORK)}


def fields(
    journal: Journal, kinds: Sequence[str], prefix: str
) -> Iterator[tuple[str, str, str, int, int]]:
    """What pending steps of `kinds` had before, of fields that begin with `prefix`: kind,
    field, `hooks` or `actions`, how many steps, on how many tenants."""
    yield from journal.each(_FIELDS.format(kinds=_marks(kinds)), (*kinds, prefix, prefix))


def labels(
    journal: Journal, kind: str, *, drafts: bool = False
) -> Iterator[tuple[str, str, int, int]]:
    """What pending steps of a kind are for: label, `hooks` or `actions`, how many steps, on how
    many tenants. With `drafts` those alone that are for a draft which is there already."""
    yield from journal.each(_LABELS, (kind, drafts))


def causes(journal: Journal) -> list[Cause]:
    """Why items failed, were skipped or are uncertain, the most frequent first. Raises JournalError
    when one of them is not whole."""
    journal.verify((State.FAILED, State.SKIPPED, State.UNCERTAIN))
    return [
        Cause(state, cause, _together(hints), example, count, tuple(sorted(names.split(","))))
        for state, cause, hints, example, count, names in journal.rows(_CAUSES)
    ]


def _together(hints: str) -> str:
    """What to do where that differs by tenant, such as whom to grant something to."""
    every = sorted(orjson.loads(hints))
    more = f"; and {len(every) - _HINTS} more such steps" if len(every) > _HINTS else ""
    return "; ".join(every[:_HINTS]) + more


def planned_writes(journal: Journal) -> dict[str, int]:
    """How many items of each tenant were planned to write something, by the tenant's name. Raises
    JournalError when an item is not whole."""
    journal.verify(State)
    return dict(journal.rows(_CHANGES))


def deletes(journal: Journal) -> dict[str, int]:
    """How many `hooks` and `actions` were planned to be deleted, of what there are any."""
    # No row of these is verified: one that is not whole is not carried out either.
    sql = (
        f"SELECT {_OF}, count(*) FROM steps s WHERE s.kind = 'delete' GROUP BY of ORDER BY of DESC"
    )
    return dict(journal.rows(sql))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
