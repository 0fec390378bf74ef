"""The statements of the journal: its tables, what is written into them, and what is read of them.

Each row carries a checksum of what was planned and one of what moves, both made by `rowsum`. A
statement makes one anew only where the row is whole: what is not stays as it is, to be found when
it is used.
"""

from __future__ import annotations

from typing import Final

SCHEMA: Final = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (digest TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tenants (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base_url TEXT NOT NULL,
    planned_sum INTEGER NOT NULL,
    items INTEGER NOT NULL, read_at REAL, requests INTEGER NOT NULL, throttled INTEGER NOT NULL,
    pace TEXT, state_sum INTEGER NOT NULL);
CREATE TABLE edits (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, given INTEGER NOT NULL, line INTEGER NOT NULL,
    must_match INTEGER NOT NULL, tenants INTEGER NOT NULL, body TEXT NOT NULL,
    sum INTEGER NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, edit INTEGER NOT NULL, tenant INTEGER NOT NULL, target TEXT,
    label TEXT NOT NULL, keys TEXT NOT NULL, rank INTEGER NOT NULL, change INTEGER NOT NULL,
    steps INTEGER NOT NULL, planned_sum INTEGER NOT NULL,
    state TEXT NOT NULL, cause TEXT NOT NULL, hint TEXT NOT NULL, state_sum INTEGER NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL,
    sum INTEGER NOT NULL);
CREATE TABLE timeline (
    tenant INTEGER, at REAL, seconds REAL NOT NULL, requests INTEGER NOT NULL,
    throttled INTEGER NOT NULL, waited REAL NOT NULL, remaining INTEGER, bucket INTEGER,
    reserve INTEGER, sum INTEGER NOT NULL, PRIMARY KEY (tenant, at)) WITHOUT ROWID;
CREATE INDEX items_by_state ON items (tenant, state, rank);
CREATE TABLE steps (
    item INTEGER, n INTEGER, kind TEXT NOT NULL, target TEXT NOT NULL, back INTEGER NOT NULL,
    before TEXT NOT NULL, want TEXT NOT NULL, planned_sum INTEGER NOT NULL,
    state TEXT NOT NULL, sent_at REAL, after TEXT, state_sum INTEGER NOT NULL,
    PRIMARY KEY (item, n)) WITHOUT ROWID;
"""

_META_WHOLE: Final = "sum IS rowsum(key, value)"
NOTE: Final = "INSERT OR REPLACE INTO meta VALUES (:key, :value, rowsum(:key, :value))"
PLAN_MORE: Final = f"""UPDATE meta SET value = CAST(value + :more AS TEXT),
    sum = rowsum(key, CAST(value + :more AS TEXT)) WHERE key = 'planned' AND {_META_WHOLE}"""
_TENANT_WHOLE: Final = """planned_sum IS rowsum(id, name, base_url)
    AND state_sum IS rowsum(id, items, read_at, requests, throttled, pace)"""
ADD_TENANT: Final = """INSERT INTO tenants VALUES (:id, :name, :at, rowsum(:id, :name, :at),
    :items, NULL, 0, 0, NULL, rowsum(:id, :items, NULL, 0, 0, NULL))"""
HAS_MORE: Final = f"""UPDATE tenants SET items = items + :more,
    state_sum = rowsum(id, items + :more, read_at, requests, throttled, pace)
    WHERE id = :tenant AND {_TENANT_WHOLE}"""
WAS_READ: Final = f"""UPDATE tenants SET read_at = :at,
    state_sum = rowsum(id, items, :at, requests, throttled, pace)
    WHERE id = :tenant AND {_TENANT_WHOLE}"""
COUNTED: Final = f"""UPDATE tenants SET
    requests = requests + :requests, throttled = throttled + :throttled, pace = :pace,
    state_sum = rowsum(id, items, read_at, requests + :requests, throttled + :throttled, :pace)
    WHERE id = :tenant AND {_TENANT_WHOLE}"""
EVENT_WHOLE: Final = "sum IS rowsum(at, kind, what)"
ADD_EVENT: Final = """INSERT INTO events (at, kind, what, sum)
    VALUES (:at, :kind, :what, rowsum(:at, :kind, :what))"""
SAMPLE: Final = "tenant, at, seconds, requests, throttled, waited, remaining, bucket, reserve"
SAMPLE_WHOLE: Final = f"sum IS rowsum({SAMPLE})"
ADD_SAMPLE: Final = f"""INSERT OR REPLACE INTO timeline VALUES
    (:{SAMPLE.replace(", ", ", :")}, rowsum(:{SAMPLE.replace(", ", ", :")}))"""
EDIT_WHOLE: Final = "sum IS rowsum(id, name, given, line, must_match, tenants, body)"
ADD_TEXT: Final = "INSERT OR IGNORE INTO texts VALUES (?, ?)"
#: New names of the edits whose name, made from their content, others have before them.
FIND_EQUALS: Final = """INSERT INTO equals SELECT id, name || '-' || nth FROM
    (SELECT id, name, row_number() OVER (PARTITION BY name ORDER BY id) AS nth
    FROM edits WHERE given = 0) WHERE nth > 1"""
NAME_EQUALS: Final = """UPDATE edits SET (name, sum) =
    (SELECT q.name, rowsum(q.id, q.name, given, line, must_match, tenants, body)
    FROM equals q WHERE q.id = edits.id)
    WHERE id IN (SELECT id FROM equals)"""
#: What every edit needs, some of it several times: the checksums come with it.
ADD_EDIT: Final = "INSERT INTO edits VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
ADD_ITEM: Final = "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_STEP: Final = "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', NULL, NULL, ?)"
MOVE_STEP: Final = """UPDATE steps SET state = ?, sent_at = ?, after = ?, state_sum = ?
    WHERE item = ? AND n = ?"""
END_ITEM: Final = "UPDATE items SET state = ?, cause = ?, hint = ?, state_sum = ? WHERE id = ?"
_MOVE_ITEMS: Final = """UPDATE items SET state = :state, cause = :cause, hint = :hint,
    state_sum = rowsum(id, :state, :cause, :hint) WHERE tenant = :tenant"""
#: Whether a row is whole: of `items`, of `steps`.
WHOLE: Final = """state_sum IS rowsum(id, state, cause, hint)
    AND planned_sum IS rowsum(id, edit, tenant, target, label, keys, rank, change, steps)"""
STEP_WHOLE: Final = """state_sum IS rowsum(item, n, state, sent_at, after)
    AND planned_sum IS rowsum(item, n, kind, target, back, before, want)"""
#: Whether an item is, with all of its steps.
ALL_WHOLE: Final = f"""{WHOLE}
    AND steps = (SELECT count(*) FROM steps WHERE item = id AND {STEP_WHOLE})"""
CHECKED: Final = {
    "meta": ("'what it keeps of ' || key", _META_WHOLE),
    "tenants": ("'tenant ' || name", _TENANT_WHOLE),
    "edits": ("'edit ' || name || ' of line ' || line", EDIT_WHOLE),
    "items": (
        """'item ' || id || ' (' || trim(coalesce((SELECT name FROM tenants t
        WHERE t.id = items.tenant), tenant) || ' ' || label) || ')'""",
        WHOLE,
    ),
    "steps": ("'item ' || item || ' step ' || n", STEP_WHOLE),
    "events": ("'event ' || id", EVENT_WHOLE),
    "timeline": ("'the timeline of tenant ' || tenant", SAMPLE_WHOLE),
}
#: Only whole rows are moved on.
TELL_PLACEHOLDERS: Final = f"{_MOVE_ITEMS} AND target IS NULL AND {WHOLE}"
MOVE_WHOLE: Final = f"{_MOVE_ITEMS} AND state = :was AND target IS NOT NULL AND {WHOLE}"
#: What nothing of ours is left of: nothing is in doubt, and what was written was put back.
NOT_BEGUN: Final = """NOT EXISTS (SELECT 1 FROM steps s WHERE s.item = i.id AND NOT s.back
    AND (s.state = 'sent' OR s.state = 'applied' AND s.sent_at IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM steps b WHERE b.item = i.id AND b.back AND b.target = s.target
    AND b.kind = s.kind AND b.state = 'applied')))"""
#: What failed, and what was put back, as if it had never been sent.
RETRY_STEPS: Final = f"""UPDATE steps SET state = 'pending', sent_at = NULL, after = NULL,
    state_sum = rowsum(item, n, 'pending', NULL, NULL)
    WHERE {STEP_WHOLE} AND item IN (SELECT id FROM items i WHERE tenant = :tenant AND {{which}})
    AND (state = 'failed' OR state = 'applied' AND EXISTS (SELECT 1 FROM steps b
    WHERE b.item = steps.item AND b.target = steps.target AND b.kind = steps.kind AND b.back
    AND b.state = 'applied'))"""
#: Items that are taken up again: what failed and has steps, what drifted after it was begun.
FAILED: Final = "state = 'failed' AND steps > 0"
HALF_DRIFTED: Final = f"state = 'skipped' AND cause LIKE 'drifted%' AND NOT {NOT_BEGUN}"
REOPEN: Final = """UPDATE items AS i SET state = 'pending',
    state_sum = rowsum(id, 'pending', cause, hint) WHERE tenant = :tenant AND {which} AND {whole}"""
GIVE_UP: Final = (
    MOVE_WHOLE
    + """ AND NOT EXISTS
    (SELECT 1 FROM steps WHERE item = items.id AND state IN ('sent', 'applied'))"""
)
#: What an index, or a look through the table, has of an item, and which row `i` agrees with it: a
#: row that does not is as if it were not there, and so never whole.
FOUND: Final = "SELECT id, tenant, state, rank FROM items"
AS_FOUND: Final = "(i.id, i.tenant, i.state, i.rank) = (f.id, f.tenant, f.state, f.rank)"
EDIT_NAME: Final = f"(SELECT name FROM edits WHERE id = i.edit AND {EDIT_WHOLE})"
#: Items of a query with their edits' names and their steps, a row for each step.
ITEMS: Final = f"""SELECT f.id, i.edit, i.tenant, i.target, i.label, i.keys, i.rank, i.change,
    i.steps, i.planned_sum, i.state, i.cause, i.hint, i.state_sum, {{name}}, s.item, s.n, s.kind,
    s.target, s.back, s.before, s.want, s.planned_sum, s.state, s.sent_at, s.after, s.state_sum
    FROM ({FOUND} {{which}}) f LEFT JOIN items i ON {AS_FOUND}
    LEFT JOIN steps s ON s.item = f.id ORDER BY {{order}}, s.n"""
PENDING: Final = ITEMS.format(
    name="''",
    which="""WHERE tenant = ? AND state = 'pending' AND (rank, id) > (?, ?)
    ORDER BY rank, id LIMIT ?""",
    order="f.rank, f.id",
)
DONE: Final = ITEMS.format(
    name="''",
    which="""WHERE tenant = ? AND state IN ('applied', 'unchanged') AND id > ?
    ORDER BY id LIMIT ?""",
    order="f.id",
)
WRITTEN: Final = ITEMS.format(
    name=EDIT_NAME,
    which="""WHERE rank = ? AND id < ? AND EXISTS (SELECT 1 FROM steps WHERE item = items.id
    AND sent_at IS NOT NULL AND state IN ('applied', 'sent')) ORDER BY id DESC LIMIT ?""",
    order="f.id DESC",
)
#: One of the items in some states that are not whole, as a person calls it.
BROKEN: Final = f"""SELECT
    'item ' || f.id || ' (' || trim(t.name || ' ' || ifnull(i.label, '')) || ')'
    FROM tenants t NOT INDEXED CROSS JOIN items f ON f.tenant = t.id AND f.state IN ({{states}})
    LEFT JOIN (SELECT *, {{whole}} AS whole FROM items) i ON {AS_FOUND}
    WHERE whole IS NOT 1 LIMIT 1"""
BOOKS: Final = "SELECT tenant, state, count(*) FROM items GROUP BY tenant, state"
#: Steps that were sent and have no answer (or whose state is none), and their items.
SENT: Final = f"""SELECT s.item, s.whole, i.tenant, i.state, i.whole
    FROM (SELECT *, {STEP_WHOLE} AS whole FROM steps
    WHERE state NOT IN ('pending', 'applied', 'failed')) s
    LEFT JOIN (SELECT *, {WHOLE} AS whole FROM items) i ON i.id = s.item"""
#: Selectors that must match something: how many hooks they matched, on how many tenants that
#: could be read they did not.
UNMATCHED: Final = """SELECT e.line, e.name, coalesce(json_extract(e.body, '$.of'), 'hooks')
    FROM edits e
    LEFT JOIN items i ON i.edit = e.id WHERE e.must_match = 1 GROUP BY e.id
    HAVING count(i.target) = 0 AND count(i.id) < e.tenants ORDER BY e.line"""

#: Edits that have items in some of the states, with the tenants of these. What a dead process left
#: sent counts as uncertain.
LEFT: Final = """SELECT e.name, e.body, l.tenants FROM edits e
    JOIN (SELECT edit, group_concat(DISTINCT tenant) AS tenants
        FROM items i WHERE CASE WHEN state = 'pending' AND EXISTS
            (SELECT 1 FROM steps s WHERE s.item = i.id AND s.state = 'sent')
            THEN 'uncertain' ELSE state END IN ({states})
        GROUP BY edit) l ON l.edit = e.id ORDER BY e.id"""
