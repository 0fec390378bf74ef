"""What an edit means on one tenant: the items that it makes of its hooks and actions.

A `Listing` is one tenant's things as they were read. Edits are resolved on it in the job's order,
so that each sees what those ahead of it will leave, while selectors match what was read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import msgspec

from . import actions
from .action_edits import ActionEdits, key_of, keys_of
from .action_edits import whole as whole_action
from .errors import HooksGone, ItemError
from .hook_edits import HookEdits, whole
from .hooks import get_secrets, read_hook, rivalled, secrets_in
from .items import (
    ABSENT,
    PENDING,
    SECRET,
    UNCHANGED,
    AnyEdit,
    Edit,
    Fields,
    Item,
    Move,
    Outcome,
    Read,
    Seen,
    State,
    Step,
    Undo,
)
from .matching import fits, kept, met
from .prospect import Contradiction, Prospect
from .steps import drift, judge, kind_of, of_action
from .transform import Transforms

#: Says why the steps of an item cannot be carried out, if that is known.
Forbids: TypeAlias = Callable[[Item], ItemError | None]


class Listing:
    """One tenant's hooks and actions as they were read, and as edits will leave them."""

    def __init__(
        self,
        things: dict[str, Fields] | None = None,
        *,
        tenant: str = "",
        transforms: Transforms | None = None,
    ) -> None:
        self._tenant, self._transforms = tenant, transforms
        self._prospect = Prospect({})
        self._hooks, self._actions = HookEdits(self._prospect), ActionEdits(self._prospect)
        self._listed: set[str] = set()
        self._late: set[str] = set()
        self._met: set[str] | None = None
        self.add(things or {})

    async def open_for(
        self, edit: AnyEdit, list_all: Callable[[str], Awaitable[dict[str, Fields]]]
    ) -> None:
        """Have listed what resolving `edit` takes, if it was not yet: hooks, actions, or both.
        Raises what `list_all` does, but that hooks are gone where the edit does not need them."""
        for kind in _kinds(edit) - self._listed:
            try:
                self.add(await list_all(kind))
            except HooksGone:
                if not (isinstance(edit, Move) and (edit.hook is None or edit.until == "cutover")):
                    raise
                self._actions.hooks_gone = True
            self._listed.add(kind)

    def add(self, things: dict[str, Fields]) -> None:
        """Take in all hooks, or all actions, as their list shows them, by their ids."""
        prospect = self._prospect
        for id, fields in things.items():
            prefix = actions.PREFIX if of_action(id) else ""
            prospect.names.setdefault(f"{prefix}{fields.get('name')}", id)
            if fields.pop("secrets", False):
                prospect.named.add(id)
        prospect.things |= things

    @property
    def contradictions(self) -> list[Contradiction]:
        """What edits want differently, so far, each once."""
        return list(self._prospect.contradictions)

    def must_wait(self, edit: AnyEdit) -> bool:
        """Whether `edit` is to be resolved, and carried out, after all that need not wait: it
        enables hooks, or is for a hook or a name of one that an edit ahead of it will enable. What
        disables goes before what enables, for only one hook of a trigger may be enabled; and the
        edits of one hook and of one name keep their order.
        """
        if isinstance(edit, Move):
            return False
        if isinstance(edit, Undo):
            hooks = [self._id_of(step) for step in edit.steps]
            wants = [step.want for step in edit.steps if not step.back]
        else:
            hooks, wants = self._matching(edit), [edit.set, edit.create]
        names = self._prospect.names
        late = any(want.get("enabled") is True for want in wants)
        # What a function of a person's own enables is known too late.
        late = late or (isinstance(edit, Edit) and edit.of == "hooks" and bool(edit.transform))
        late = late or not self._late.isdisjoint(hooks)
        late = late or any(names.get(want.get("name", "")) in self._late for want in wants)
        if late:
            self._late.update(hooks)
        return late

    # ---- what it takes to resolve an edit

    async def read_for(self, edit: AnyEdit, read: Read) -> None:
        """Read what the lists do not show and resolving `edit` takes. Raises what `read` does."""
        prospect = self._prospect
        for hook, needed in self._needs(edit):
            fields = prospect.things.get(hook)
            if fields is None:
                continue
            if not fields.keys() >= needed - {SECRET}:
                seen = await read_hook(hook, read)
                fields |= {"dependencies": {}} | seen
            if SECRET in needed and hook not in prospect.named:
                fields |= secrets_in(await read(get_secrets(hook)))
                prospect.named.add(hook)
        for trigger in self._triggers(edit):
            if trigger not in self._actions.orders:
                order = await actions.read_bindings(trigger, read)
                self._actions.orders[trigger] = order
                bound = {each.id for each in order}
                for id, fields in prospect.things.items():
                    if of_action(id) and fields.get("triggerId") == trigger:
                        fields["bound"] = id in bound
        if _makes_actions(edit) and not self._actions.versions:
            self._actions.versions = await actions.current_versions(read)

    def _needs(self, edit: AnyEdit) -> Iterator[tuple[str, set[str]]]:
        """The fields of hooks that resolving `edit` takes; SECRET: the names of their secrets."""
        if isinstance(edit, Move):
            if edit.enabled and edit.until != "deploy" and not edit.blocked:
                yield edit.hook or self._prospect.names.get(edit.label, ""), {"script"}
            return
        if isinstance(edit, Edit) and edit.of == "actions":
            return
        if isinstance(edit, Undo):
            wants = [step.want for step in edit.steps]
            hooks = [step for step in edit.steps if not of_action(step.target)]
            yield from ((self._id_of(step), _undo_needs(step)) for step in hooks)
        else:
            wants = [edit.set, edit.create]
            needed = edit.set.keys() | edit.expect.keys() | edit.create.keys()
            if edit.delete:
                needed |= {"script", "dependencies", SECRET}
            if edit.transform:
                needed |= {"script", "dependencies"}
            if edit.set_secrets or edit.remove_secrets or edit.transform:
                needed |= {SECRET}
            there = self._prospect.names.get(edit.create.get("name", ""))
            matching = ([there] if there else []) if edit.create else self._matching(edit)
            yield from ((hook, set(needed)) for hook in matching)
        transformed = isinstance(edit, Edit) and edit.transform
        if transformed or any(want.get("enabled") is True for want in wants):  # what else is on
            hooks_there = [id for id in self._prospect.things if not of_action(id)]
            yield from ((hook, {"triggerId", "enabled"}) for hook in hooks_there)

    def _triggers(self, edit: AnyEdit) -> set[str]:
        """The triggers whose lists resolving `edit` takes."""
        if isinstance(edit, Undo):
            binds = (step for step in edit.steps if step.kind == "bind")
            return {str(step.before["triggerId"]) for step in binds}
        if isinstance(edit, Move):
            return set() if edit.blocked else {str(edit.create["triggerId"])}
        if edit.of == "hooks":
            return set()
        said = edit.set.keys() | edit.create.keys() | edit.expect.keys()
        placed = edit.transform or {"bound", "position"} & said
        if not (placed or edit.delete or edit.match.bound is not None):
            return set()
        if edit.create:
            return {str(edit.create["triggerId"])}
        there = (self._prospect.things[id] for id in self._matching(edit, unbound=True))
        return {str(fields["triggerId"]) for fields in there if "triggerId" in fields}

    # ---- one edit

    def resolve(
        self,
        row: int,
        edit: AnyEdit,
        *,
        late: bool = False,
        only: str | None = None,
        forbids: Forbids = lambda item: None,
    ) -> list[Item]:
        """The items of one edit, or just that of thing `only`; `row` is its place in the journal,
        `late` whether it had to wait. What `forbids` says no to has failed, and leaves nothing.

        Raises ItemError when `hook:` is not there, or is not one; then nothing is noted of it.
        """
        prospect = self._prospect
        prospect.begin()
        try:
            items = []
            for noted, item in self._resolved(row, edit, only):
                items.append(self._possible(item, noted, forbids))
        except ItemError:
            prospect.forget()
            raise
        return [msgspec.structs.replace(item, rank=1) for item in items] if late else items

    def _resolved(self, row: int, edit: AnyEdit, only: str | None) -> Iterator[tuple[int, Item]]:
        """Each item, and how many notes the edit had made before it."""
        if isinstance(edit, Undo):
            yield from ((0, item) for item in self._undo(row, edit, again=only is not None))
            return
        if isinstance(edit, Move):
            yield 0, self._actions.move(row, edit)
            return
        edits = self._actions if edit.of == "actions" else self._hooks
        if edit.create:
            yield from ((0, item) for item in edits.create(row, edit))
            return
        for thing in self._chosen(edit, only):
            noted = self._prospect.noted
            try:
                mine = self._transformed(edit, thing)
            except ItemError as error:
                yield noted, self._failed(row, thing, error)
                continue
            yield noted, (edits.delete if edit.delete else edits.change)(row, mine, thing)

    def _transformed(self, edit: Edit, thing: str) -> Edit:
        """An edit with what its function, if it has one, wants of a thing. Raises ItemError."""
        if edit.transform is None:
            return edit
        if self._transforms is None:
            raise ItemError("no functions are called here", "plan the job again")
        fields = self._prospect.now(thing)
        wanted = self._transforms.apply(edit.transform, fields, of=edit.of, tenant=self._tenant)
        return msgspec.structs.replace(edit, set=wanted)

    def _failed(self, row: int, thing: str, error: ItemError) -> Item:
        outcome = Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)
        label = str(self._prospect.things[thing].get("name", thing))
        return Item(edit=row, target=thing, label=label, outcome=outcome)

    def _possible(self, item: Item, noted: int, forbids: Forbids) -> Item:
        """An item as it is; failed, and nothing noted of it after the first `noted` notes, if it
        is known beforehand that its steps will be refused."""
        error = forbids(item)
        if error is None:
            return item
        self._prospect.forget(noted)
        outcome = Outcome(state=State.FAILED, cause=error.cause, hint=error.hint)
        return Item(edit=item.edit, target=item.target, label=item.label, outcome=outcome)

    def let_go(self) -> None:
        """Keep no scripts that were read: where another edit needs one, it is read again."""
        for fields in self._prospect.things.values():
            fields.pop("script", None)

    def _chosen(self, edit: Edit, only: str | None) -> list[str]:
        """The things that an edit is for."""
        if only is not None:
            if only not in self._prospect.things:
                raise ItemError(f"no such {_noun(edit)}", "it was deleted since it was planned")
            return [only]
        matching = self._matching(edit)
        if edit.one and len(matching) != 1 and not (edit.narrowed and not matching):
            raise self._not_one(edit, matching)
        return matching

    def _not_one(self, edit: Edit, matching: list[str]) -> ItemError:
        noun, prefix = _noun(edit), actions.PREFIX if edit.of == "actions" else ""
        if matching:
            return ItemError(f"several {noun}s have that name", f"name the {noun} by its id")
        hint = "correct the job, or take the edit out of it"
        if prefix + str(edit.match.id) in self._prospect.names:
            hint = f"that is a name, not an id: write {noun}: {{name: {edit.match.id}}}"
        elif self._prospect.names.get(prefix + (edit.match.name or ""), "").startswith("new:"):
            hint = "this job creates it: write what else it needs beside `create`"
        return ItemError(f"no such {noun}", hint)

    def _matching(self, edit: Edit, *, unbound: bool = False) -> list[str]:
        """What an edit's selector matches; `unbound`: whatever it says of being bound."""
        match, prefix = edit.match, actions.PREFIX if edit.of == "actions" else ""
        if edit.create:
            return []
        found = self._prospect.things
        if match.id is not None:
            id = prefix + match.id
            found = {id: found[id]} if id in found else {}
        if unbound:
            match = msgspec.structs.replace(match, bound=None)
        return [
            id
            for id, fields in found.items()
            if of_action(id) is bool(prefix)
            and fits(match, id, fields, exact=edit.one)
            and kept(edit.narrowed, fields)
        ]

    def met(self, edit: AnyEdit) -> set[str]:
        """The names and globs that narrow an edit and that things have, here or in the edit."""
        if not isinstance(edit, Edit) or edit.narrowed is None:
            return set()
        globs = (*edit.narrowed.only_names, *edit.narrowed.skip_names)
        if self._met is None:  # a journal's edits are all narrowed in one way
            self._met = met(globs, (each.rpartition("/")[2] for each in self._prospect.names))
        return self._met | met(globs, [str(edit.create.get("name", ""))])

    def label(self, edit: AnyEdit) -> str:
        """What a person calls the thing of an edit that could not be resolved."""
        id = (edit.match.id or "") if isinstance(edit, Edit) else ""
        prefix = actions.PREFIX if isinstance(edit, Edit) and edit.of == "actions" else ""
        return str(self._prospect.things.get(prefix + id, {}).get("name", edit.label))

    # ---- the way back

    def _undo(self, row: int, undo: Undo, *, again: bool) -> list[Item]:
        prospect = self._prospect
        now = prospect.now(undo.target)
        label = undo.label if now == ABSENT else str(now.get("name"))
        items = []
        for lost in () if again else undo.lost:
            hint = _VALUES if lost.startswith("the value") else _DEPLOYED
            outcome = Outcome(state=State.SKIPPED, cause=f"cannot be undone: {lost}", hint=hint)
            items.append(Item(edit=row, target=undo.target, label=label, outcome=outcome))
        if not undo.steps:
            return items
        steps: list[Step] = []
        keys = [key_of(undo.target)]
        for step in undo.steps:
            drifted, kept = self._turned(step, steps)
            if drifted:
                outcome = Outcome(
                    state=State.SKIPPED,
                    cause=f"drifted since it was written: {drifted}",
                    hint="look at it; what others wrote is left as it is",
                )
                prospect.forget()
                item = Item(edit=row, target=undo.target, label=label, outcome=outcome)
                return [*items, item]
            if kept is None:
                continue
            steps.append(kept)
            keys += self._noted(row, kept)
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

    def _noted(self, row: int, step: Step) -> list[str]:
        """Note what a step of the way back leaves; its keys."""
        prospect, id = self._prospect, step.target
        now, action = prospect.now(id), of_action(id)
        keys = keys_of(step) if action else [key_of(id)]
        if now != ABSENT and not action:
            keys.append(f"enabled:{now.get('triggerId')}")
        if step.back:
            return keys
        prefix = actions.PREFIX if action else ""
        gone = "" if step.kind == "delete" else step.want.get("name")
        keys += prospect.moved(id, f"{prefix}{now.get('name')}", gone and prefix + gone)
        prospect.put(prospect.left, id, prospect.left.get(id, {}) | step.want)
        if step.kind == "bind":
            self._actions.rearranged(id, step)
        return keys

    def _turned(self, step: Step, ahead: list[Step]) -> tuple[str, Step | None]:
        """How what `step` was to turn back has drifted; else the step, None if it needs none."""
        id = self._id_of(step)
        made = any(other.kind == "create" and other.target == step.target for other in ahead)
        if step.back:
            return "", step if any(other.target == step.target for other in ahead) else None
        if made:
            on = step.want.get("enabled") is True
            step = self._actions.versioned(step)
            return rivalled(step.target, self._prospect.after()) if on else "", step
        now = self._prospect.now(id, step.want)
        if step.kind == "bind":
            now = now | {"order": self._actions.orders.get(str(step.before["triggerId"]), [])}
        verdict = judge(step, now, sent=False)
        never_made = now == ABSENT and step.kind in ("update", "bind") and ":" in step.target
        if verdict is Seen.WANTED or never_made:
            return "", None
        if verdict is not Seen.BEFORE:
            return drift(step, now), None
        if step.want.get("enabled") is True:
            others = rivalled(id, self._prospect.after())
            if others:
                return others, None
        return "", self._as_now(step, id, now)

    def _as_now(self, step: Step, id: str, now: Fields) -> Step:
        """A step of the way back with the id of its thing, and with what is there now."""
        before = step.before
        if step.kind == "delete":
            before = whole_action(now) if of_action(id) else whole(now)
        elif step.kind == "update" and "name" not in before:  # a plan names each of its things
            before = {"name": now.get("name")} | before
        if step.kind == "create":
            step = self._actions.versioned(step)
            id = step.target
        return msgspec.structs.replace(step, target=id, before=before)

    def _id_of(self, step: Step) -> str:
        """The id of the thing that a step of the way back is for, as far as it is known."""
        if step.target.startswith("new:"):
            return self._prospect.names.get(step.target.removeprefix("new:"), step.target)
        return step.target


_VALUES = "give it its values by `set_secrets`"
_DEPLOYED = "look at its versions in the dashboard"


def _kinds(edit: AnyEdit) -> set[str]:
    """The lists that resolving an edit takes."""
    if isinstance(edit, Undo):
        return {kind_of(step.target) for step in edit.steps} | {kind_of(edit.target)}
    if isinstance(edit, Move):
        return set() if edit.blocked else {"hooks", "actions"}
    return {edit.of}


def _noun(edit: Edit) -> str:
    return edit.of.removesuffix("s")


def _makes_actions(edit: AnyEdit) -> bool:
    """Whether resolving an edit takes the versions of triggers."""
    if isinstance(edit, Undo):
        return any(step.kind == "create" and of_action(step.target) for step in edit.steps)
    if isinstance(edit, Move):
        return not edit.blocked
    return edit.of == "actions" and bool(edit.create)


def _undo_needs(step: Step) -> set[str]:
    if step.kind == "delete":
        return {"script", "dependencies", SECRET}
    needs = step.want.keys() | step.before.keys()
    return {SECRET if key.startswith(SECRET) else key for key in needs} - {"id"}
