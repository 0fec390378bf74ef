"""What an edit means: the items that it makes of a tenant's hooks, and the way back of an item.

A `Listing` is one tenant's hooks as they were read. Edits are resolved on it in the job's order,
so that each sees what those ahead of it will leave, while selectors match what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

import msgspec

from .errors import ItemError
from .hooks import (
    MAX_SECRETS,
    drift,
    get_secrets,
    judge,
    read_hook,
    rivalled,
    rivals,
    secrets_in,
    told,
)
from .items import (
    ABSENT,
    PENDING,
    SECRET,
    UNCHANGED,
    Edit,
    Fields,
    Item,
    Match,
    Narrowed,
    Outcome,
    Read,
    Seen,
    State,
    Step,
    Undo,
)

#: Says why the steps of an item cannot be carried out, if that is known.
Forbids: TypeAlias = Callable[[Item], ItemError | None]

#: What a hook is created with; enabling it is a step of its own.
_CREATED: Final = ("name", "triggerId", "script", "dependencies")
_ON: Final[Fields] = {"enabled": True}
_OFF: Final[Fields] = {"enabled": False}


@dataclass(frozen=True, slots=True, order=True)
class Contradiction:
    """Two edits of one job, by their rows, that want different things of one tenant."""

    first: int
    second: int
    what: str


class Listing:
    """One tenant's hooks as they were read, and as edits will leave them."""

    def __init__(self, hooks: dict[str, Fields]) -> None:
        self.hooks = hooks
        self.contradictions: list[Contradiction] = []
        self._left: dict[str, Fields] = {}  #: what edits want of a hook, or of one that they make
        self._by: dict[str, dict[str, int]] = {}  #: the same keys: by which edit
        self._late: set[str] = set()
        self._named: set[str] = set()  #: hooks whose secrets' names are known
        self._met: set[str] | None = None
        self._trail: list[tuple[dict[str, Any], str, Any]] = []  #: what the edit at hand noted
        self._names: dict[str, str] = {}  #: hooks by name, as edits will leave them
        for hook, fields in hooks.items():
            self._names.setdefault(str(fields.get("name")), hook)

    def must_wait(self, edit: Edit | Undo) -> bool:
        """Whether `edit` is to be resolved, and carried out, after all that need not wait: it
        enables hooks, or is for a hook or a name of one that an edit ahead of it will enable. What
        disables goes before what enables, for only one hook of a trigger may be enabled; and the
        edits of one hook and of one name keep their order.
        """
        if isinstance(edit, Undo):
            hooks = [self._hook_of(step) for step in edit.steps]
            wants = [step.want for step in edit.steps if not step.back]
        else:
            hooks, wants = self._matching(edit), [edit.set, edit.create]
        late = any(want.get("enabled") is True for want in wants)
        late = late or not self._late.isdisjoint(hooks)
        late = late or any(self._names.get(want.get("name", "")) in self._late for want in wants)
        if late:
            self._late.update(hooks)
        return late

    async def read_for(self, edit: Edit | Undo, read: Read) -> None:
        """Read what the list does not show and resolving `edit` takes. Raises what `read` does."""
        for hook, needed in self._needs(edit):
            fields = self.hooks.get(hook)
            if fields is None:
                continue
            if not fields.keys() >= needed - {SECRET}:
                seen = await read_hook(hook, read)
                fields |= {"dependencies": {}} | seen
            if SECRET in needed and hook not in self._named:
                fields |= secrets_in(await read(get_secrets(hook)))
                self._named.add(hook)

    def _needs(self, edit: Edit | Undo) -> Iterator[tuple[str, set[str]]]:
        """The fields of hooks that resolving `edit` takes; SECRET: the names of their secrets."""
        if isinstance(edit, Undo):
            wants = [step.want for step in edit.steps]
            yield from ((self._hook_of(step), _undo_needs(step)) for step in edit.steps)
        else:
            wants = [edit.set, edit.create]
            needed = edit.set.keys() | edit.expect.keys() | edit.create.keys()
            if edit.delete:
                needed |= {"script", "dependencies", SECRET}
            if edit.set_secrets or edit.remove_secrets:
                needed |= {SECRET}
            there = self._names.get(edit.create.get("name", ""))
            matching = ([there] if there else []) if edit.create else self._matching(edit)
            yield from ((hook, set(needed)) for hook in matching)
        if any(want.get("enabled") is True for want in wants):  # what else is on matters
            yield from ((hook, {"triggerId", "enabled"}) for hook in self.hooks)

    def resolve(
        self,
        row: int,
        edit: Edit | Undo,
        *,
        late: bool = False,
        only: str | None = None,
        forbids: Forbids = lambda item: None,
    ) -> list[Item]:
        """The items of one edit, or just that of hook `only`; `row` is its place in the journal,
        `late` whether it had to wait. What `forbids` says no to has failed, and leaves nothing.

        Raises ItemError when `hook:` is not there, or is not one; then nothing is noted of it.
        """
        self._trail = []
        try:
            if isinstance(edit, Undo):
                back = self._undo(row, edit, again=only is not None)
                items = [self._possible(item, 0, forbids) for item in back]
            elif edit.create:
                items = [self._possible(item, 0, forbids) for item in self._create(row, edit)]
            else:
                act = self._delete if edit.delete else self._change
                items = []
                for hook in self._chosen(edit, only):
                    noted = len(self._trail)
                    items.append(self._possible(act(row, edit, hook), noted, forbids))
        except ItemError:
            self._forget()
            raise
        return [msgspec.structs.replace(item, rank=1) for item in items] if late else items

    def _possible(self, item: Item, noted: int, forbids: Forbids) -> Item:
        """An item as it is; failed, and nothing noted of it after the first `noted` notes, if it
        is known beforehand that its steps will be refused."""
        error = forbids(item)
        if error is None:
            return item
        self._forget(noted)
        outcome = Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)
        return Item(edit=item.edit, target=item.target, label=item.label, outcome=outcome)

    def let_go(self) -> None:
        """Keep no scripts that were read: where another edit needs one, it is read again."""
        for fields in self.hooks.values():
            fields.pop("script", None)

    def _chosen(self, edit: Edit, only: str | None) -> list[str]:
        """The hooks that an edit is for."""
        if only is not None:
            if only not in self.hooks:
                raise ItemError("no such hook", "it was deleted since it was planned")
            return [only]
        matching = self._matching(edit)
        if edit.one and len(matching) != 1 and not (edit.narrowed and not matching):
            raise self._not_one(edit, matching)
        return matching

    def _not_one(self, edit: Edit, matching: list[str]) -> ItemError:
        if matching:
            return ItemError("several hooks have that name", "name the hook by its id")
        hint = "correct the job, or take the edit out of it"
        if any(hook.get("name") == edit.match.id for hook in self.hooks.values()):
            hint = f"that is a name, not an id: write hook: {{name: {edit.match.id}}}"
        elif self._names.get(edit.match.name or "", "").startswith("new:"):
            hint = "this job creates it: write what else it needs beside `create`"
        return ItemError("no such hook", hint)

    def _matching(self, edit: Edit) -> list[str]:
        match = edit.match
        if edit.create:
            return []
        if match.id is not None:
            found = {match.id: self.hooks[match.id]} if match.id in self.hooks else {}
        else:
            found = self.hooks
        return [
            hook
            for hook, fields in found.items()
            if _fits(match, fields, edit.one) and self._kept(edit.narrowed, fields)
        ]

    @staticmethod
    def _kept(narrowed: Narrowed | None, fields: Fields) -> bool:
        """Whether a hook is among those that the call was narrowed to."""
        if narrowed is None:
            return True
        name, trigger = str(fields.get("name", "")), fields.get("triggerId")
        return (
            (not narrowed.only_hooks or bool(_met(narrowed.only_hooks, [name])))
            and (not narrowed.only_triggers or trigger in narrowed.only_triggers)
            and not _met(narrowed.skip_hooks, [name])
            and trigger not in narrowed.skip_triggers
        )

    def met(self, edit: Edit | Undo) -> set[str]:
        """The names and globs that narrow an edit and that hooks have, here or in the edit."""
        if isinstance(edit, Undo) or edit.narrowed is None:
            return set()
        globs = (*edit.narrowed.only_hooks, *edit.narrowed.skip_hooks)
        if self._met is None:  # a journal's edits are all narrowed in one way
            self._met = _met(globs, self._names)
        return self._met | _met(globs, [str(edit.create.get("name", ""))])

    def label(self, edit: Edit | Undo) -> str:
        """What a person calls the hook of an edit that could not be resolved."""
        known = {} if isinstance(edit, Undo) else self.hooks.get(edit.match.id or "", {})
        return str(known.get("name", edit.label))

    # ---- one edit on one hook

    def _change(self, row: int, edit: Edit, hook: str) -> Item:
        wanted = edit.set | {SECRET + name: value for name, value in edit.set_secrets.items()}
        wanted |= dict.fromkeys((SECRET + name for name in edit.remove_secrets), False)
        now = self._now(hook, wanted)
        if now == ABSENT:
            return self._clashes(row, hook)
        if missing := (wanted.keys() | edit.expect.keys()) - now.keys():
            raise ItemError(
                f"the tenant does not tell the hook's {', '.join(sorted(missing))}",
                "look at the tenant's base_url",
            )
        label = str(now.get("name", hook))
        if outcome := _guard(edit, now):
            return Item(edit=row, target=hook, label=label, outcome=outcome)
        noted = len(self._trail)
        if clash := self._claim(row, hook, wanted, label):
            return Item(edit=row, target=hook, label=label, outcome=clash)
        want = {key: value for key, value in edit.set.items() if now.get(key) != value}
        keys = [hook, *self._moved(hook, now.get("name"), want.get("name"))]
        if "enabled" in want:
            keys.append(f"enabled:{now.get('triggerId')}")
        others = rivals(hook, self._after()) if want.get("enabled") is True else []
        steps = [*_secret_steps(hook, edit, now)]
        if want:
            update = Step(
                kind="update", target=hook, before={key: now[key] for key in want}, want=want
            )
            steps.insert(len(steps) if want.get("enabled") is True else 0, update)
        if not steps:
            return Item(edit=row, target=hook, label=label, outcome=UNCHANGED)
        steps[0] = _guarded(steps[0], edit.expect)
        if outcome := self._spared(edit.narrowed, others):
            self._forget(noted)
            return Item(edit=row, target=hook, label=label, outcome=outcome)
        steps = self._switched(row, steps, others, keys)
        return Item(edit=row, target=hook, label=label, keys=tuple(keys), steps=tuple(steps))

    def _delete(self, row: int, edit: Edit, hook: str) -> Item:
        now = self._now(hook)
        if now == ABSENT:
            return Item(edit=row, target=hook, label=hook, outcome=UNCHANGED)
        label = str(now.get("name", hook))
        if outcome := _guard(edit, now):
            return Item(edit=row, target=hook, label=label, outcome=outcome)
        if clash := self._claim(row, hook, ABSENT, label):
            return Item(edit=row, target=hook, label=label, outcome=clash)
        keys = [hook, *self._moved(hook, now.get("name"), "")]
        if now.get("enabled") is True:
            keys.append(f"enabled:{now.get('triggerId')}")
        step = Step(kind="delete", target=hook, before=_whole(now), want=ABSENT)
        return Item(edit=row, target=hook, label=label, keys=tuple(keys), steps=(step,))

    def _create(self, row: int, edit: Edit) -> list[Item]:
        want: Fields = {"dependencies": {}, "enabled": False} | edit.create
        name, thing = str(want["name"]), f"new:{want['name']}"
        if not self._kept(edit.narrowed, want):
            return []
        secrets = {SECRET + secret: value for secret, value in edit.set_secrets.items()}
        there = self._names.get(name, thing)
        if outcome := self._there_already(row, edit, there, name):
            return [Item(edit=row, target=there, label=name, outcome=outcome)]
        known = thing in self._left
        if outcome := self._claim(row, thing, want | secrets, name):
            return [Item(edit=row, target=thing, label=name, outcome=outcome)]
        if known:
            return [Item(edit=row, target=thing, label=name, outcome=UNCHANGED)]
        self._put(self._names, name, thing)
        trigger, enabled = want["triggerId"], want.pop("enabled")
        keys = [thing.replace(" ", "+"), _name_key(name), f"enabled:{trigger}"]
        steps = [Step(kind="create", target=thing, before=ABSENT, want=want)]
        if secrets:
            before = dict.fromkeys(secrets, False)
            steps.append(Step(kind="create_secrets", target=thing, before=before, want=secrets))
        # The first hook of a trigger comes out enabled, whatever is asked for.
        before, after = {"enabled": not enabled}, {"enabled": enabled}
        steps.append(Step(kind="update", target=thing, before=before, want=after))
        others = rivals(thing, self._after()) if enabled else []
        if spared := self._spared(edit.narrowed, others):
            self._forget()
            return [Item(edit=row, target=thing, label=name, outcome=spared)]
        steps = self._switched(row, steps, others, keys)
        return [Item(edit=row, target=thing, label=name, keys=tuple(keys), steps=tuple(steps))]

    def _there_already(self, row: int, edit: Edit, there: str, name: str) -> Outcome | None:
        """What becomes of a hook to be created where `there` has its name."""
        if there.startswith("new:"):
            return None
        if "name" in self._by.get(there, {}):
            return self._against(row, self._by[there]["name"], f"which hook is {name}")
        secrets = [SECRET + secret for secret in edit.set_secrets]
        now = self._now(there, secrets)
        same = all(now.get(key) == value for key, value in edit.create.items())
        if same and all(now.get(secret) for secret in secrets):
            return self._claim(row, there, edit.create, name) or UNCHANGED
        cause, hint = "a hook of that name is there already", "change it by `hook` and `set`"
        return Outcome(state=State.FAILED, cause=cause, hint=hint)

    def _spared(self, narrowed: Narrowed | None, others: list[str]) -> Outcome | None:
        """The end of an item that would switch off what the call leaves out by name."""
        skipped = narrowed.skip_hooks if narrowed else ()
        names = [str(self._now(other).get("name")) for other in others]
        left_out = [name for name in names if _met(skipped, [name])]
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
        named = {other: {"name": self._now(other).get("name")} for other in others}
        for other in others:
            self._put(self._left, other, self._left.get(other, {}) | _OFF)
            self._put(self._by, other, self._by.get(other, {}) | {"enabled": row})
        return [
            *steps[:-1],
            *(
                Step(kind="update", target=other, before=named[other] | _ON, want=_OFF)
                for other in others
            ),
            steps[-1],
            *(
                Step(kind="update", target=other, before=_OFF, want=_ON, back=True)
                for other in others
            ),
        ]

    # ---- the way back

    def _undo(self, row: int, undo: Undo, *, again: bool) -> list[Item]:
        now = self._now(undo.target)
        label = undo.label if now == ABSENT else str(now.get("name"))
        items = []
        for lost in () if again else undo.lost:
            hint = "give it its values by `set_secrets`"
            outcome = Outcome(state=State.SKIPPED, cause=f"cannot be undone: {lost}", hint=hint)
            items.append(Item(edit=row, target=undo.target, label=label, outcome=outcome))
        if not undo.steps:
            return items
        steps: list[Step] = []
        keys = [undo.target.replace(" ", "+")]
        for step in undo.steps:
            drifted, kept = self._turned(step, steps)
            if drifted:
                outcome = Outcome(
                    state=State.SKIPPED,
                    cause=f"drifted since it was written: {drifted}",
                    hint="look at it; what others wrote is left as it is",
                )
                self._forget()
                item = Item(edit=row, target=undo.target, label=label, outcome=outcome)
                return [*items, item]
            if kept is None:
                continue
            steps.append(kept)
            now = self._now(kept.target)
            keys.append(kept.target.replace(" ", "+"))
            if now != ABSENT:
                keys.append(f"enabled:{now.get('triggerId')}")
            if kept.back:
                continue
            gone = "" if kept.kind == "delete" else kept.want.get("name")
            keys += self._moved(kept.target, now.get("name"), gone)
            self._put(self._left, kept.target, self._left.get(kept.target, {}) | kept.want)
        return [
            *items,
            Item(
                edit=row,
                target=undo.target,
                label=label,
                keys=tuple(dict.fromkeys(keys)),
                outcome=PENDING if steps else UNCHANGED,
                steps=tuple(steps),
            ),
        ]

    def _turned(self, step: Step, ahead: list[Step]) -> tuple[str, Step | None]:
        """How what `step` was to turn back has drifted; else the step, None if it needs none."""
        hook = self._hook_of(step)
        if step.back:
            return "", step if any(other.target == step.target for other in ahead) else None
        if any(other.kind == "create" and other.target == step.target for other in ahead):
            on = step.want.get("enabled") is True
            return rivalled(step.target, self._after()) if on else "", step
        now = self._now(hook, step.want)
        verdict = judge(step, now, sent=False)
        never_made = now == ABSENT and step.kind == "update" and step.target.startswith("new:")
        if verdict is Seen.WANTED or never_made:
            return "", None
        if verdict is not Seen.BEFORE:
            return drift(step, now), None
        if step.want.get("enabled") is True and (others := rivalled(hook, self._after())):
            return others, None
        before = step.before
        if step.kind == "delete":
            before = _whole(now)
        elif step.kind == "update" and "name" not in before:  # a plan names each of its hooks
            before = {"name": now.get("name")} | before
        return "", msgspec.structs.replace(step, target=hook, before=before)

    def _hook_of(self, step: Step) -> str:
        """The id of the hook that a step of the way back is for, as far as it is known."""
        if step.target.startswith("new:"):
            return self._names.get(step.target.removeprefix("new:"), step.target)
        return step.target

    # ---- what edits will leave

    def _now(self, hook: str, keys: Iterable[str] = ()) -> Fields:
        """A hook as the edits so far will leave it; ABSENT if it will not be there. Where its
        secrets are known, those among `keys` that it has not are there as False."""
        left = self._left.get(hook, {})
        if left.get("id", hook) is None or not (left or hook in self.hooks):
            return ABSENT
        known = keys if hook in self._named else ()
        lacking = dict.fromkeys((key for key in known if key.startswith(SECRET)), False)
        return lacking | self.hooks.get(hook, {}) | left

    def _put(self, noted: dict[str, Any], key: str, value: Any) -> None:
        """Note something that the edit at hand leaves; None: that nothing is under `key`."""
        self._trail.append((noted, key, noted.get(key)))
        if value is None:
            noted.pop(key, None)
        else:
            noted[key] = value

    def _forget(self, kept: int = 0) -> None:
        """Note nothing of the edit at hand after all, but for its first `kept` notes."""
        trail, self._trail = self._trail, self._trail[:kept]
        for noted, key, value in reversed(trail[kept:]):
            if value is None:
                noted.pop(key, None)
            else:
                noted[key] = value

    def _claim(self, row: int, thing: str, want: Fields, label: str) -> Outcome | None:
        """Note what an edit wants; what is to be said of it if another edit contradicts it."""
        left, by = self._left.get(thing, {}), self._by.get(thing, {})
        label = str(self.hooks.get(thing, {}).get("name", label))
        for key, value in want.items():
            against = [other for other in by if "id" in (key, other) and key != other]
            if key in by and left[key] != value:
                against.append(key)
            if against:
                return self._against(row, by[against[0]], f"{against[0]} of {label}")
        name = want.get("name")
        if name is not None and self._names.get(name, thing) != thing:
            other = self._names[name]
            if "name" in self._by.get(other, {}):
                return self._against(row, self._by[other]["name"], f"which hook is {name}")
            cause, hint = "another hook has that name", "choose another, or rename that one before"
            return Outcome(state=State.FAILED, cause=cause, hint=hint)
        if want.get("enabled") is True:
            trigger = (self.hooks.get(thing, {}) | left | want).get("triggerId")
            place = f"enabled:{trigger}"
            if self._left.get(place, {"id": thing})["id"] != thing:
                what = f"which hook of {trigger} is enabled; only one may be"
                return self._against(row, self._by[place]["id"], what)
            self._put(self._left, place, {"id": thing})
            self._put(self._by, place, {"id": row})
        self._put(self._left, thing, left | want)
        self._put(self._by, thing, by | dict.fromkeys(want, row))
        return None

    def _against(self, row: int, other: int, what: str) -> Outcome:
        first, second = sorted((row, other))
        self.contradictions.append(Contradiction(first, second, what))
        return Outcome(
            state=State.FAILED, cause=f"contradicts another edit: {what}", hint="correct the job"
        )

    def _clashes(self, row: int, hook: str) -> Item:
        label = str(self.hooks[hook].get("name", hook))
        outcome = self._against(row, self._by[hook]["id"], f"whether {label} is there")
        return Item(edit=row, target=hook, label=label, outcome=outcome)

    def _moved(self, hook: str, old: object, new: object) -> list[str]:
        """Note a hook's new name, "" if it goes; None: it keeps its own. The keys that keep others
        of either name in their order."""
        if new is None:
            return []
        if self._names.get(str(old)) == hook:
            self._put(self._names, str(old), None)
        if new:
            self._put(self._names, str(new), hook)
        return [_name_key(str(name)) for name in (old, new) if name]

    def _after(self) -> dict[str, Fields]:
        """All hooks as the edits so far will leave them, those that they make among them."""
        made = (thing for thing in self._left if thing.startswith("new:"))
        return {thing: self._now(thing) for thing in (*self.hooks, *made)}


def undone(item: Item) -> Undo | None:
    """The way back of what was written for an item; None where nothing was."""
    ours = [s for s in item.steps if s.sent_at is not None and s.state in ("applied", "sent")]
    back = {step.target for step in ours if step.back and step.state == "applied"}
    ours = [step for step in ours if not step.back and step.target not in back]
    if not ours:
        return None
    steps: list[Step] = []
    lost: list[str] = []
    made = next((step for step in ours if step.kind == "create"), None)
    for step in reversed(ours):
        if made is None or step.target != made.target:
            back_steps, gone = _turned_round(step)
            steps += back_steps
            lost += gone
    if made is not None:
        own = [step for step in ours if step.target == made.target]
        steps = _unmade(made, own, steps)
        return Undo(target=steps[0].target, label=item.label, steps=tuple(steps), lost=tuple(lost))
    steps += _put_back(steps)
    return Undo(target=str(item.target), label=item.label, steps=tuple(steps), lost=tuple(lost))


def _turned_round(step: Step) -> tuple[list[Step], list[str]]:
    """The steps that turn one back, and what cannot be brought back."""
    names = [key.removeprefix(SECRET) for key in step.want if key.startswith(SECRET)]
    match step.kind:
        case "delete":
            thing = f"new:{step.before['name']}"
            want = {key: step.before[key] for key in _CREATED}
            enabled = bool(step.before["enabled"])
            before, after = {"enabled": not enabled}, {"enabled": enabled}
            secrets = [key.removeprefix(SECRET) for key in step.before if key.startswith(SECRET)]
            return [
                Step(kind="create", target=thing, before=ABSENT, want=want),
                Step(kind="update", target=thing, before=before, want=after),
            ], _values(secrets)
        case "create_secrets":
            before, after = dict.fromkeys(step.want, True), dict.fromkeys(step.want, False)
            return [Step(kind="remove_secrets", target=step.target, before=before, want=after)], []
        case "update_secrets" | "remove_secrets":
            return [], _values(names)
        case _:
            was = {key: step.before[key] for key in step.want}
            return [Step(kind="update", target=step.target, before=step.want, want=was)], []


def _unmade(made: Step, own: list[Step], between: list[Step]) -> list[Step]:
    """The steps that delete a hook that its `own` steps made, unless it has changed since; where
    others are to be enabled again, `between`, it is disabled first and deleted last."""
    before: Fields = {}
    for step in own:
        if step.state == "applied" or step is made:  # of the others nobody knows
            for key, value in step.want.items():
                before[key] = value is not False if key.startswith(SECRET) else value
    hook = str((made.after or {}).get("id", made.target))
    gone = Step(kind="delete", target=hook, before=before, want=ABSENT)
    if not between:
        return [gone]
    gone = msgspec.structs.replace(gone, before=before | _OFF)
    switched = [Step(kind="update", target=hook, before=_ON, want=_OFF), *between]
    return [*switched, *_put_back(switched), gone]


def _put_back(steps: Iterable[Step]) -> list[Step]:
    """For what `steps` disable so that another can be enabled: the way back if that fails."""
    updates = [step for step in steps if step.kind == "update" and "enabled" in step.want]
    if not any(step.want["enabled"] for step in updates):
        return []
    return [
        Step(kind="update", target=step.target, before=_OFF, want=_ON, back=True)
        for step in updates
        if not step.want["enabled"]
    ]


def _values(names: list[str]) -> list[str]:
    return [f"the value of secret {', '.join(sorted(names))}"] if names else []


def _undo_needs(step: Step) -> set[str]:
    if step.kind == "delete":
        return {"script", "dependencies", SECRET}
    needs = step.want.keys() | step.before.keys()
    return {SECRET if key.startswith(SECRET) else key for key in needs} - {"id"}


def _secret_steps(hook: str, edit: Edit, now: Fields) -> list[Step]:
    """The steps that remove secrets, set new ones and set known ones."""
    wanted = {SECRET + name: value for name, value in edit.set_secrets.items()}
    there = {SECRET + name for name in (*edit.set_secrets, *edit.remove_secrets)}
    there = {key for key in there if now[key]}
    gone = [SECRET + name for name in edit.remove_secrets if SECRET + name in there]
    new = [key for key in wanted if key not in there]
    count = sum(1 for key in now if key.startswith(SECRET) and now[key])
    if count - len(gone) + len(new) > MAX_SECRETS:
        raise ItemError(
            f"more than {MAX_SECRETS} secrets", f"it has {count}; remove some in the same edit"
        )
    steps = []
    if gone:
        before, want = dict.fromkeys(gone, True), dict.fromkeys(gone, False)
        steps.append(Step(kind="remove_secrets", target=hook, before=before, want=want))
    for kind, names in (("create_secrets", new), ("update_secrets", sorted(there & wanted.keys()))):
        if names:
            before = dict.fromkeys(names, kind == "update_secrets")
            values = {key: wanted[key] for key in names}
            steps.append(Step(kind=kind, target=hook, before=before, want=values))
    return steps


def _guard(edit: Edit, now: Fields) -> Outcome | None:
    for key, value in edit.expect.items():
        if now.get(key) != value:
            cause = f"expected {key} {told(key, value)}, found {told(key, now.get(key))}"
            return Outcome(state=State.SKIPPED, cause=cause)
    return None


def _guarded(step: Step, expect: Fields) -> Step:
    return msgspec.structs.replace(step, before=expect | step.before)


def _whole(now: Fields) -> Fields:
    """All of a hook that is kept before it is deleted."""
    kept = (*_CREATED, "enabled")
    if missing := [key for key in kept if key not in now]:
        raise ItemError(
            f"the tenant does not tell the hook's {', '.join(missing)}",
            "look at the tenant's base_url",
        )
    whole: Fields = {key: now[key] for key in kept}
    whole.update((key, True) for key, value in now.items() if key.startswith(SECRET) and value)
    return whole


def _met(globs: Iterable[str], names: Iterable[str]) -> set[str]:
    return {glob for glob in globs if any(fnmatchcase(name, glob) for name in names)}


def _name_key(name: str) -> str:
    return f"name:{name.replace(' ', '+')}"


def _fits(match: Match, fields: Fields, exact: bool) -> bool:
    name = str(fields.get("name", ""))
    if match.name is not None and not (
        name == match.name if exact else fnmatchcase(name, match.name)
    ):
        return False
    if match.triggerId is not None and fields.get("triggerId") != match.triggerId:
        return False
    return match.enabled is None or fields.get("enabled") is match.enabled
