"""What an edit makes of one hook: an item with its steps, or why there is nothing to do."""

from __future__ import annotations

from typing import Final

from .errors import ItemError
from .hooks import MAX_SECRETS, rivals
from .items import (
    ABSENT,
    SECRET,
    UNCHANGED,
    Edit,
    Fields,
    Item,
    Narrowed,
    Outcome,
    State,
    Step,
)
from .matching import kept, met
from .prospect import Prospect, guard, guarded, name_key, secret_steps

#: What a hook is created with; enabling it is a step of its own.
CREATED: Final = ("name", "triggerId", "script", "dependencies")
ON: Final[Fields] = {"enabled": True}
OFF: Final[Fields] = {"enabled": False}


class HookEdits:
    """Edits of one tenant's hooks, in the job's order."""

    def __init__(self, prospect: Prospect) -> None:
        self._prospect = prospect

    def change(self, row: int, edit: Edit, hook: str) -> Item:
        wanted = edit.set | {SECRET + name: value for name, value in edit.set_secrets.items()}
        wanted |= dict.fromkeys((SECRET + name for name in edit.remove_secrets), False)
        now = self._prospect.now(hook, wanted)
        if now == ABSENT:
            return self._clashes(row, hook)
        if missing := (wanted.keys() | edit.expect.keys()) - now.keys():
            raise ItemError(
                f"the tenant does not tell the hook's {', '.join(sorted(missing))}",
                "look at the tenant's base_url",
            )
        label = str(now.get("name", hook))
        if outcome := guard(edit, now):
            return Item(edit=row, target=hook, label=label, outcome=outcome)
        noted = self._prospect.noted
        if clash := self._claim(row, hook, wanted, label):
            return Item(edit=row, target=hook, label=label, outcome=clash)
        want = {key: value for key, value in edit.set.items() if now.get(key) != value}
        keys = [hook, *self._prospect.moved(hook, now.get("name"), want.get("name"))]
        if "enabled" in want:
            keys.append(f"enabled:{now.get('triggerId')}")
        others = rivals(hook, self._prospect.after()) if want.get("enabled") is True else []
        steps = [*secret_steps(hook, edit, now, MAX_SECRETS)]
        if want:
            update = Step(
                kind="update", target=hook, before={key: now[key] for key in want}, want=want
            )
            steps.insert(len(steps) if want.get("enabled") is True else 0, update)
        if not steps:
            return Item(edit=row, target=hook, label=label, outcome=UNCHANGED)
        steps[0] = guarded(steps[0], edit.expect)
        if outcome := self._spared(edit.narrowed, others):
            self._prospect.forget(noted)
            return Item(edit=row, target=hook, label=label, outcome=outcome)
        steps = self._switched(row, steps, others, keys)
        return Item(edit=row, target=hook, label=label, keys=tuple(keys), steps=tuple(steps))

    def delete(self, row: int, edit: Edit, hook: str) -> Item:
        now = self._prospect.now(hook)
        if now == ABSENT:
            return Item(edit=row, target=hook, label=hook, outcome=UNCHANGED)
        label = str(now.get("name", hook))
        if outcome := guard(edit, now):
            return Item(edit=row, target=hook, label=label, outcome=outcome)
        if clash := self._claim(row, hook, ABSENT, label):
            return Item(edit=row, target=hook, label=label, outcome=clash)
        keys = [hook, *self._prospect.moved(hook, now.get("name"), "")]
        if now.get("enabled") is True:
            keys.append(f"enabled:{now.get('triggerId')}")
        step = Step(kind="delete", target=hook, before=whole(now), want=ABSENT)
        return Item(edit=row, target=hook, label=label, keys=tuple(keys), steps=(step,))

    def create(self, row: int, edit: Edit) -> list[Item]:
        want: Fields = {"dependencies": {}, "enabled": False} | edit.create
        name, thing = str(want["name"]), f"new:{want['name']}"
        if not kept(edit.narrowed, want):
            return []
        secrets = {SECRET + secret: value for secret, value in edit.set_secrets.items()}
        there = self._prospect.names.get(name, thing)
        if outcome := self._there_already(row, edit, there, name):
            return [Item(edit=row, target=there, label=name, outcome=outcome)]
        known = thing in self._prospect.left
        if outcome := self._claim(row, thing, want | secrets, name):
            return [Item(edit=row, target=thing, label=name, outcome=outcome)]
        if known:
            return [Item(edit=row, target=thing, label=name, outcome=UNCHANGED)]
        self._prospect.put(self._prospect.names, name, thing)
        trigger, enabled = want["triggerId"], want.pop("enabled")
        keys = [thing.replace(" ", "+"), name_key(name), f"enabled:{trigger}"]
        steps = [Step(kind="create", target=thing, before=ABSENT, want=want)]
        if secrets:
            before = dict.fromkeys(secrets, False)
            steps.append(Step(kind="create_secrets", target=thing, before=before, want=secrets))
        # The first hook of a trigger comes out enabled, whatever is asked for.
        before, after = {"enabled": not enabled}, {"enabled": enabled}
        steps.append(Step(kind="update", target=thing, before=before, want=after))
        others = rivals(thing, self._prospect.after()) if enabled else []
        if spared := self._spared(edit.narrowed, others):
            self._prospect.forget()
            return [Item(edit=row, target=thing, label=name, outcome=spared)]
        steps = self._switched(row, steps, others, keys)
        return [Item(edit=row, target=thing, label=name, keys=tuple(keys), steps=tuple(steps))]

    def _there_already(self, row: int, edit: Edit, there: str, name: str) -> Outcome | None:
        """What becomes of a hook to be created where `there` has its name."""
        if there.startswith("new:"):
            return None
        if "name" in self._prospect.by.get(there, {}):
            return self._prospect.against(
                row, self._prospect.by[there]["name"], f"which hook is {name}"
            )
        secrets = [SECRET + secret for secret in edit.set_secrets]
        now = self._prospect.now(there, secrets)
        same = all(now.get(key) == value for key, value in edit.create.items())
        if same and all(now.get(secret) for secret in secrets):
            return self._claim(row, there, edit.create, name) or UNCHANGED
        cause, hint = "a hook of that name is there already", "change it by `hook` and `set`"
        return Outcome(state=State.FAILED, cause=cause, hint=hint)

    def _spared(self, narrowed: Narrowed | None, others: list[str]) -> Outcome | None:
        """The end of an item that would switch off what the call leaves out by name."""
        skipped = narrowed.skip_names if narrowed else ()
        names = [str(self._prospect.now(other).get("name")) for other in others]
        left_out = [name for name in names if met(skipped, [name])]
        if not left_out:
            return None
        cause = f"{left_out[0]} of its trigger is enabled, and --skip leaves that as it is"
        return Outcome(state=State.SKIPPED, cause=cause)

    def _switched(
        self, row: int, steps: list[Step], others: list[str], keys: list[str]
    ) -> list[Step]:
        """The steps of an item whose last one enables, with those that make room for it, and put
        back what they disabled if the last fails."""
        if not others:
            return steps
        keys += others
        # Its name is there to be shown: the id alone tells a person nothing.
        named = {other: {"name": self._prospect.now(other).get("name")} for other in others}
        for other in others:
            self._prospect.put(self._prospect.left, other, self._prospect.left.get(other, {}) | OFF)
            self._prospect.put(
                self._prospect.by, other, self._prospect.by.get(other, {}) | {"enabled": row}
            )
        return [
            *steps[:-1],
            *(
                Step(kind="update", target=other, before=named[other] | ON, want=OFF)
                for other in others
            ),
            steps[-1],
            *(
                Step(kind="update", target=other, before=OFF, want=ON, back=True)
                for other in others
            ),
        ]

    def _claim(self, row: int, thing: str, want: Fields, label: str) -> Outcome | None:
        """Note what an edit wants; what is to be said of it if that cannot be, or if another edit
        contradicts it."""
        prospect = self._prospect
        label = str(prospect.things.get(thing, {}).get("name", label))
        if clash := prospect.conflict(row, thing, want, label):
            return clash
        name = want.get("name")
        if name is not None and prospect.names.get(name, thing) != thing:
            other = prospect.names[name]
            if "name" in prospect.by.get(other, {}):
                return prospect.against(row, prospect.by[other]["name"], f"which hook is {name}")
            cause, hint = "another hook has that name", "choose another, or rename that one before"
            return Outcome(state=State.FAILED, cause=cause, hint=hint)
        if want.get("enabled") is True:
            left = prospect.things.get(thing, {}) | prospect.left.get(thing, {}) | want
            trigger = left.get("triggerId")
            what = f"which hook of {trigger} is enabled; only one may be"
            if clash := prospect.only(row, f"enabled:{trigger}", thing, what):
                return clash
        prospect.note(row, thing, want)
        return None

    def _clashes(self, row: int, hook: str) -> Item:
        label = str(self._prospect.things[hook].get("name", hook))
        outcome = self._prospect.against(
            row, self._prospect.by[hook]["id"], f"whether {label} is there"
        )
        return Item(edit=row, target=hook, label=label, outcome=outcome)


def whole(now: Fields) -> Fields:
    """All of a hook that is kept before it is deleted."""
    kept = (*CREATED, "enabled")
    if missing := [key for key in kept if key not in now]:
        raise ItemError(
            f"the tenant does not tell the hook's {', '.join(missing)}",
            "look at the tenant's base_url",
        )
    whole: Fields = {key: now[key] for key in kept}
    whole.update((key, True) for key, value in now.items() if key.startswith(SECRET) and value)
    return whole
