"""What the edits of a job want of one tenant's hooks and actions, so far.

Each edit sees what those ahead of it will leave; two that want different things contradict each
other, and an edit that turns out to be impossible leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from .errors import ItemError
from .items import ABSENT, SECRET, Edit, Fields, Outcome, State, Step, told


@dataclass(frozen=True, slots=True, order=True)
class Contradiction:
    """Two edits of one job, by their rows, that want different things of one tenant."""

    first: int
    second: int
    what: str


class Prospect:
    """One tenant's things as they were read, and as edits will leave them."""

    def __init__(self, things: dict[str, Fields]) -> None:
        self.things = things  #: as they were read, by id
        self.named: set[str] = set()  #: things whose secrets' names are known
        self.contradictions: dict[Contradiction, None] = {}  #: each once
        self.left: dict[str, Fields] = {}  #: what edits want of a thing, or of one that they make
        self.by: dict[str, dict[str, int]] = {}  #: the same keys: by which edit
        #: Things by name, as edits will leave them; those of actions begin as their ids do.
        self.names: dict[str, str] = {}
        self._trail: list[tuple[dict[str, Any], str, Any]] = []  #: what the edit at hand noted

    def begin(self) -> None:
        """Another edit is at hand."""
        self._trail = []

    @property
    def noted(self) -> int:
        """How many notes the edit at hand has made."""
        return len(self._trail)

    def now(self, thing: str, keys: Iterable[str] = ()) -> Fields:
        """A thing as the edits so far will leave it; ABSENT if it will not be there. Where its
        secrets are known, those among `keys` that it has not are there as False."""
        left = self.left.get(thing, {})
        if left.get("id", thing) is None or not (left or thing in self.things):
            return ABSENT
        known = keys if thing in self.named else ()
        lacking = dict.fromkeys((key for key in known if key.startswith(SECRET)), False)
        return lacking | self.things.get(thing, {}) | left

    def put(self, noted: dict[str, Any], key: str, value: Any) -> None:
        """Note something that the edit at hand leaves; None: that nothing is under `key`."""
        self._trail.append((noted, key, noted.get(key)))
        if value is None:
            noted.pop(key, None)
        else:
            noted[key] = value

    def forget(self, kept: int = 0) -> None:
        """Note nothing of the edit at hand after all, but for its first `kept` notes."""
        trail, self._trail = self._trail, self._trail[:kept]
        for noted, key, value in reversed(trail[kept:]):
            if value is None:
                noted.pop(key, None)
            else:
                noted[key] = value

    def note(self, row: int, thing: str, want: Fields) -> None:
        """Note what an edit wants of a thing."""
        self.put(self.left, thing, self.left.get(thing, {}) | want)
        self.put(self.by, thing, self.by.get(thing, {}) | dict.fromkeys(want, row))

    def suppose(self, thing: str, fields: Fields) -> None:
        """Note what a thing will be that no edit asked for."""
        self.put(self.left, thing, self.left.get(thing, {}) | fields)

    def conflict(self, row: int, thing: str, want: Fields, label: str) -> Outcome | None:
        """What is to be said of an edit if another one contradicts it on `thing`."""
        left, by = self.left.get(thing, {}), self.by.get(thing, {})
        for key, value in want.items():
            against = [other for other in by if "id" in (key, other) and key != other]
            if key in by and left[key] != value:
                against.append(key)
            if against:
                return self.against(row, by[against[0]], f"{against[0]} of {label}")
        return None

    def only(self, row: int, place: str, thing: str, what: str) -> Outcome | None:
        """Note that a place which only one may have is for `thing`; what is to be said of the edit
        if another edit has given it to another."""
        if self.left.get(place, {"id": thing})["id"] != thing:
            return self.against(row, self.by[place]["id"], what)
        self.note(row, place, {"id": thing})
        return None

    def against(self, row: int, other: int, what: str) -> Outcome:
        """What is to be said of an edit that contradicts that of row `other`."""
        first, second = sorted((row, other))
        self.contradictions[Contradiction(first, second, what)] = None
        return Outcome(
            state=State.FAILED, cause=f"contradicts another edit: {what}", hint="correct the job"
        )

    def moved(self, thing: str, old: object, new: object) -> list[str]:
        """Note a thing's new name, "" if it goes; None: it keeps its own. The keys that keep others
        of either name in their order."""
        if new is None:
            return []
        if self.names.get(str(old)) == thing:
            self.put(self.names, str(old), None)
        if new:
            self.put(self.names, str(new), thing)
        return [name_key(str(name)) for name in (old, new) if name]

    def after(self) -> dict[str, Fields]:
        """All things as the edits so far will leave them, those that they make among them."""
        made = (thing for thing in self.left if thing.startswith("new:"))
        return {thing: self.now(thing) for thing in (*self.things, *made)}


def guard(edit: Edit, now: Fields) -> Outcome | None:
    """The end of an item whose thing is not as its edit expects it."""
    for key, value in edit.expect.items():
        if now.get(key) != value:
            cause = f"expected {key} {told(key, value)}, found {told(key, now.get(key))}"
            return Outcome(state=State.SKIPPED, cause=cause)
    return None


def guarded(step: Step, expect: Fields) -> Step:
    """A step that is taken only where what its edit expects still holds."""
    return msgspec.structs.replace(step, before=expect | step.before)


def secret_steps(thing: str, edit: Edit, now: Fields, most: int) -> list[Step]:
    """The steps that remove a thing's secrets, set new ones and set known ones. Raises ItemError
    where it would have more than `most`."""
    if not (edit.set_secrets or edit.remove_secrets):
        return []
    wanted = {SECRET + name: value for name, value in edit.set_secrets.items()}
    there = {SECRET + name for name in (*edit.set_secrets, *edit.remove_secrets)}
    there = {key for key in there if now[key]}
    gone = [SECRET + name for name in edit.remove_secrets if SECRET + name in there]
    new = [key for key in wanted if key not in there]
    count = sum(1 for key in now if key.startswith(SECRET) and now[key])
    if count - len(gone) + len(new) > most:
        raise ItemError(
            f"more than {most} secrets", f"it has {count}; remove some in the same edit"
        )
    steps = []
    if gone:
        before, want = dict.fromkeys(gone, True), dict.fromkeys(gone, False)
        steps.append(Step(kind="remove_secrets", target=thing, before=before, want=want))
    for kind, names in (("create_secrets", new), ("update_secrets", sorted(there & wanted.keys()))):
        if names:
            before = dict.fromkeys(names, kind == "update_secrets")
            values = {key: wanted[key] for key in names}
            steps.append(Step(kind=kind, target=thing, before=before, want=values))
    return steps


def name_key(name: str) -> str:
    """The key that keeps the writes to what has a name in their order."""
    return f"name:{'+'.join(name.split())}"
