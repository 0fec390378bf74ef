"""The journal of a night that never was: so many items on so many tenants, hooks and actions, most
of them well, with waves, a window and a timeline."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import msgspec

from bulkhooks.items import Edit, Item, Outcome, State, Step, body_of
from bulkhooks.journal import Journal, Sample, StagedEdit, Unresolved
from bulkhooks.schedule import Schedule, Window
from bulkhooks.store import Write

#: When it began: Saturday 2026-11-28 at 1:00 in London.
BEGAN: Final = 1_795_827_600.0
WINDOW: Final = Window(
    timezone="Europe/London", start="2026-11-28T01:00:00", end="2026-11-28T03:00:00"
)
OLD: Final = "module.exports = function (user, context, cb) {\n  cb(null, { user });\n};\n"
NEW: Final = OLD.replace("cb(null", "if (user.blocked) return cb(new Error('no'));\n  cb(null")

FAILED: Final = Outcome(
    state=State.FAILED, cause="its token lacks update:hooks", hint="grant it, then apply --failed"
)
SKIPPED: Final = Outcome(state=State.SKIPPED, cause="drifted: enabled is false, was true")
UNCERTAIN: Final = Outcome(state=State.UNCERTAIN, cause="no answer", hint="apply reads it back")
#: How items end, in turns.
ENDS: Final = (FAILED, SKIPPED, UNCERTAIN, None)


def steps(number: int, kind: int) -> tuple[str, tuple[Step, ...]]:
    """What an item is for and does: a hook goes off, an action is unbound, or a script changes."""
    hook, action = f"h{number}", f"actions/a{number}"
    place = {"triggerId": "post-login", "bound": True}
    kinds = (
        ("fraud-check", Step(kind="update", target=hook, before=ON, want=OFF)),
        ("enrich", Step(kind="bind", target=action, before=place, want=UNBOUND)),
        ("audit", Step(kind="update", target=hook, before=WAS, want=IS)),
    )
    label, step = kinds[kind]
    return label, (step,)


ON, OFF = {"enabled": True, "name": "fraud-check"}, {"enabled": False}
UNBOUND = {"bound": False}
WAS, IS = {"script": OLD}, {"script": NEW}


@contextmanager
def night(
    path: Path,
    *,
    tenants: int = 6,
    each: int = 6,
    job: str = "freeze",
    label: str = "",
    troubles: int = 4,
    meta: Mapping[str, str] | None = None,
) -> Iterator[Journal]:
    """A journal of it, closed afterwards; `troubles` of its items did not end well."""
    names = tuple(f"prod-{number:03}" for number in range(tenants))
    edit = body_of(Edit(digest="", line=1, tenants=names, note="as agreed"))
    staged = (
        StagedEdit(name=f"e{n}", given=True, line=n, must_match=False, body=edit, tenants=names)
        for n in range(1, each + 1)
    )
    schedule = msgspec.json.encode(Schedule(window=WINDOW)).decode()
    with Journal.create(path) as journal:
        journal.stage(staged, {name: f"https://{name}" for name in names})
        made = {"made": "2026-11-28T00:40:00+00:00", "schedule": schedule, "note": "CHG-10423"}
        journal.note(**({"job": job} | made | dict(meta or {})), planned=str(tenants * each))
        for row in journal.tenants():
            last = Unresolved(journal.last_item)
            places = [place for page in journal.placeholders(row.id, last, 999) for place in page]
            writes: list[Write] = []
            for place, _ in places:
                called, does = steps(place.item, place.edit % 3)
                target = does[0].target
                item = Item(edit=place.edit, target=target, label=label or called, steps=does)
                writes += journal.resolve(row.id, place, [item])
            journal.write(writes)
        _carried_out(journal, troubles)
        journal.write([*_events(journal), *_samples(journal)])
        yield journal


def _carried_out(journal: Journal, troubles: int) -> None:
    after = done = 0
    while page := journal.items([State.PENDING], 256, after):
        after, writes = page[-1].id, list[Write]()
        for item in page:
            at, done = BEGAN + item.tenant * 10, done + 1
            outcome = ENDS[done % 4] if done <= troubles else Outcome(state=State.APPLIED)
            if outcome is None:
                continue
            if outcome.state is State.APPLIED:
                writes += journal.step_ended(item, 0, applied=True, at=at, after={})
            writes.append(journal.ended(item, outcome))
        journal.write(writes)


def _events(journal: Journal) -> list[Write]:
    event, end = journal.event, BEGAN + 600
    return [
        event("apply", BEGAN - 4000),
        event("window", BEGAN, start=BEGAN, end=BEGAN + 7200),
        event("wave", BEGAN, n=1, tenants=2),
        event("soak", BEGAN + 60, n=1, seconds=600),
        event("probe", BEGAN + 180, n=1, command="read-back", verdict="good", told=""),
        event("wave-done", BEGAN + 190, n=1, verdict="good", told=""),
        event("wave", BEGAN + 200, n=2, tenants=4),
        event("end", end),
    ]


def _samples(journal: Journal) -> Iterator[Write]:
    chance = random.Random(1)
    for row in journal.tenants():
        left, sent, refused = 50, 0, 0
        for second in range(60):
            requests = chance.choice((0, 1, 4, 9))
            left = max(8, min(50, left + 3 - requests))
            throttled = int(requests and chance.random() < 0.02)
            sent, refused = sent + requests, refused + throttled
            waited = 0.5 if left < 12 else 0.0
            at = BEGAN + row.id * 10 + second
            yield journal.sampled(
                Sample(row.id, at, 1.0, requests, throttled, waited, left, 50, 10)
            )
        yield journal.counted(row.id, sent, refused, {})


class Page(HTMLParser):
    """What is markup in a page, and what is text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.style = ""
        self.data = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag == "style":
            self.style += data
        if tag == "script" and attributes.get("type") == "application/json":
            self.data += data
        self.text.append(data)
