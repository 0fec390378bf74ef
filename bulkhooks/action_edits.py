"""What an edit makes of one action, and what moving a hook makes of it and of its action."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from . import actions
from .actions import DRAFT, MAX_ACTIONS, MAX_BOUND, MAX_SECRETS, PREFIX, Binding
from .errors import ItemError
from .items import ABSENT, SECRET, UNCHANGED, Edit, Fields, Item, Move, Outcome, State, Step
from .matching import kept
from .prospect import Prospect, guard, guarded, name_key, secret_steps
from .steps import of_action

#: What an action is created with; its place in its trigger's list is a step of its own.
CREATED: Final = ("name", "triggerId", *DRAFT)
_PLACE: Final[tuple[str, ...]] = ("bound", "position")
_DEPLOYED: Final[Fields] = {"deployed": True, "all_changes_deployed": True}
#: What an action is that is to be made.
_NEW: Final[Fields] = {"bound": False, "deployed": False, "all_changes_deployed": False}


class ActionEdits:
    """Edits of one tenant's actions, in the job's order."""

    def __init__(self, prospect: Prospect) -> None:
        self._prospect = prospect
        #: What is bound to triggers, in order, as edits will leave it; as far as it was read.
        self.orders: dict[str, list[Binding]] = {}
        self.versions: dict[str, str] = {}  #: of triggers, for new actions
        self.hooks_gone = False  #: the tenant has none any more, whatever was known of them

    def change(self, row: int, edit: Edit, action: str) -> Item:
        """The item of one edit of one action. Raises ItemError."""
        now = self._prospect.now(action)
        if now == ABSENT:
            label = str(self._prospect.things[action].get("name"))
            what = f"whether {label} is there"
            clash = self._prospect.against(row, self._prospect.by[action]["id"], what)
            return Item(edit=row, target=action, label=label, outcome=clash)
        label = str(now.get("name", action))
        _tells(now, edit.expect)
        if outcome := guard(edit, now):
            return Item(edit=row, target=action, label=label, outcome=outcome)
        noted = self._prospect.noted
        steps = self._toward(row, edit, action, edit.set)
        if isinstance(steps, Outcome):
            self._prospect.forget(noted)
            return Item(edit=row, target=action, label=label, outcome=steps)
        if steps:
            steps[0] = guarded(steps[0], edit.expect)
        return self._item(row, action, label, steps)

    def create(self, row: int, edit: Edit) -> list[Item]:
        """The item of an edit that makes an action; none where the call leaves it out. One that
        is there as it is to be is taken for ours of before. Raises ItemError."""
        if not kept(edit.narrowed, edit.create):
            return []
        name = str(edit.create["name"])
        steps = self._made(row, edit, edit.create)
        if isinstance(steps, Outcome):
            self._prospect.forget()
            return [Item(edit=row, target=self._thing(name), label=name, outcome=steps)]
        return [self._item(row, self._thing(name), name, steps)]

    def delete(self, row: int, edit: Edit, action: str) -> Item:
        """The item that takes an action out of its trigger's list and deletes it."""
        now = self._prospect.now(action)
        if now == ABSENT:
            return Item(edit=row, target=action, label=action, outcome=UNCHANGED)
        gone = Step(kind="delete", target=action, before=whole(now), want=ABSENT)
        label = str(now["name"])
        _tells(now, edit.expect)
        outcome = guard(edit, now) or self._prospect.conflict(row, action, ABSENT, label)
        if outcome:
            return Item(edit=row, target=action, label=label, outcome=outcome)
        order = self.orders.get(str(now["triggerId"]), [])
        steps = self._placed(row, action, now, {"bound": False})
        assert not isinstance(steps, Outcome)
        self._prospect.note(row, action, ABSENT)
        self._prospect.moved(action, PREFIX + label, "")
        among = [["", ""] if each.id == action else [each.id, each.name] for each in order]
        back = [_turned_back(step, {"among": among}) for step in steps]
        return self._item(row, action, label, [*steps, gone, *back])

    def move(self, row: int, move: Move) -> Item:
        """The item that moves a hook to an action, as far as `move` says. Raises ItemError."""
        if move.blocked:
            target = move.hook or self._thing(move.label)
            outcome = Outcome(state=State.SKIPPED, cause=move.blocked, hint=move.hint)
            return Item(edit=row, target=target, label=move.label, outcome=outcome)
        hook = self._hook_of(move)
        target = hook or self._thing(move.label)
        there = self._action_of(move)
        if lacking := [name for name in move.lacking if not there.get(SECRET + name)]:
            cause = f"no value for secret {', '.join(lacking)}"
            hint = "say by --secrets FILE where each is found"
            outcome = Outcome(state=State.SKIPPED, cause=cause, hint=hint)
            return Item(edit=row, target=target, label=move.label, outcome=outcome)
        steps = self._outdated(move, hook) or self._handed_over(row, move, hook)
        if isinstance(steps, Outcome):
            self._prospect.forget()
            return Item(edit=row, target=target, label=move.label, outcome=steps)
        return self._item(row, target, move.label, steps)

    # ---- from a hook to its action

    def _hook_of(self, move: Move) -> str | None:
        """The live hook that is to be moved; None: there is none any more, or it is not enabled."""
        if move.hook is None or self.hooks_gone:
            return self._prospect.names.get(move.label)
        if move.hook not in self._prospect.things:
            raise ItemError("no such hook", "it was deleted since it was planned")
        return move.hook

    def _outdated(self, move: Move, hook: str | None) -> Outcome | None:
        """The end of an item whose hook is not as it was when its action was made of it."""
        now = self._prospect.now(hook) if hook else ABSENT
        if now == ABSENT or move.until == "deploy":
            return None
        cause, hint = "", "plan anew, from the hook as it is"
        if now.get("enabled") is not True:
            there = self._action_of(move)
            if move.enabled and move.hook and not there.get("bound"):  # a file's may be off by now
                cause = "it is disabled by now, and was not when its action was made of it"
        elif not move.enabled:
            cause = "it is enabled by now, and was not when its action was made of it"
        elif now.get("script", move.script) != move.script:
            cause = "its script is no longer the one that its action is made of"
        return Outcome(state=State.SKIPPED, cause=cause, hint=hint) if cause else None

    def _action_of(self, move: Move) -> Fields:
        """The action of a hook as it is, or will be."""
        return self._prospect.now(self._thing(str(move.create["name"])))

    def _handed_over(self, row: int, move: Move, hook: str | None) -> list[Step] | Outcome:
        name = str(move.create["name"])
        act = Edit(
            digest="",
            line=0,
            tenants=(),
            of="actions",
            create=move.create,
            set_secrets=move.set_secrets,
            deploy=True,
        )
        steps = self._found(move) if move.until == "cutover" else self._made(row, act, move.create)
        if isinstance(steps, Outcome) or move.until == "deploy" or not move.enabled:
            return steps
        thing = self._thing(name)
        now = {"triggerId": move.create["triggerId"]} | _NEW | self._prospect.now(thing)
        first = {"bound": True, "position": "first"}  # the hook ran before all actions
        on = self._placed(row, thing, now | {"deployed": True}, first)
        if isinstance(on, Outcome):
            return on
        off = self._switched_off(row, move, hook)
        switched = [*on, *off] if move.overlap else [*off, *on]
        return [*steps, *switched, *ways_back(switched)]

    def _found(self, move: Move) -> list[Step] | Outcome:
        """No step, where the action that was prepared is there still and is deployed."""
        now = self._prospect.now(self._thing(str(move.create["name"])))
        if now.get("triggerId") == move.create["triggerId"] and now.get("all_changes_deployed"):
            return []
        cause = "its action is not there, or not all of it is deployed"
        return Outcome(state=State.FAILED, cause=cause, hint="look at it, or prepare it again")

    def _switched_off(self, row: int, move: Move, hook: str | None) -> list[Step]:
        now = self._prospect.now(hook) if hook else ABSENT
        if hook is None or now == ABSENT or now.get("enabled") is not True:
            return []
        self._prospect.note(row, hook, {"enabled": False})
        before = {"name": move.label, "enabled": True, "script": move.script}
        return [Step(kind="update", target=hook, before=before, want={"enabled": False})]

    # ---- one action

    def _thing(self, name: str) -> str:
        return self._prospect.names.get(PREFIX + name, f"new:{PREFIX}{name}")

    def _made(self, row: int, edit: Edit, wanted: Fields) -> list[Step] | Outcome:
        """The steps that make an action, or what is left to do of one that is there."""
        thing = self._thing(name := str(wanted["name"]))
        now, place = self._prospect.now(thing), {k: wanted[k] for k in _PLACE if k in wanted}
        fields = {"dependencies": {}} | {k: v for k, v in wanted.items() if k not in _PLACE}
        if not thing.startswith("new:") or now != ABSENT:
            if any(now.get(key) != value for key, value in fields.items()):
                cause = "another action of that name is there already"
                hint = "rename or delete that one, or change it by `action` and `set`"
                return Outcome(state=State.FAILED, cause=cause, hint=hint)
            if clash := self._prospect.conflict(row, thing, fields, self._called(thing)):
                return clash
            self._prospect.note(row, thing, fields)
            return self._completed(row, edit, thing, now, place)
        if sum(1 for id in self._prospect.after() if PREFIX in id) >= MAX_ACTIONS:
            hint = "delete some that are not used"
            raise ItemError(f"the tenant has {MAX_ACTIONS} actions, which is the most", hint)
        version = self.versions.get(fields["triggerId"])
        if version is None:
            hint = "look at the trigger's name, and at what the tenant's plan covers"
            raise ItemError(f"the tenant has no trigger {fields['triggerId']}", hint)
        self._prospect.named.add(thing)
        self._prospect.put(self._prospect.names, PREFIX + name, thing)
        self._prospect.note(row, thing, fields)
        self._prospect.suppose(thing, _NEW)
        made = Step(kind="create", target=thing, before=ABSENT, want=fields | {"version": version})
        rest = self._toward(row, edit, thing, place)
        return rest if isinstance(rest, Outcome) else [made, *rest]

    def _completed(
        self, row: int, edit: Edit, thing: str, now: Fields, place: Fields
    ) -> list[Step] | Outcome:
        """What is left to do of an action that is there, or that another edit makes."""
        lacking = {k: v for k, v in edit.set_secrets.items() if SECRET + k not in now}
        edit = msgspec.structs.replace(edit, set_secrets=lacking)
        steps = self._toward(row, edit, thing, place)
        if steps and thing.startswith("new:") and not isinstance(steps, Outcome):
            hint = "write what else it needs beside that edit's `create`"
            return Outcome(state=State.FAILED, cause="another edit makes it", hint=hint)
        return steps

    def _toward(self, row: int, edit: Edit, action: str, wanted: Fields) -> list[Step] | Outcome:
        """The steps from an action as it is to what an edit wants of it; an end if it contradicts
        another edit, or cannot be."""
        secrets: Fields = {SECRET + name: value for name, value in edit.set_secrets.items()}
        secrets |= dict.fromkeys((SECRET + name for name in edit.remove_secrets), False)
        now = self._prospect.now(action, secrets)
        draft = {key: value for key, value in wanted.items() if key not in _PLACE}
        if clash := self._prospect.conflict(row, action, draft | secrets, self._called(action)):
            return clash
        _tells(now, [*draft, *secrets])
        if clash := self._renamed(row, action, now, draft):
            return clash
        want = {key: value for key, value in draft.items() if now[key] != value}
        steps = secret_steps(action, edit, now, MAX_SECRETS)
        if want:
            before = {key: now[key] for key in want}
            steps.insert(0, Step(kind="update", target=action, before=before, want=want))
        self._prospect.note(row, action, draft | secrets)
        if steps:
            self._prospect.suppose(action, {"all_changes_deployed": False})
        if edit.deploy and (steps or not now.get("all_changes_deployed")):
            after = now | want
            before = {key: after[key] for key in DRAFT if key in after}
            steps.append(Step(kind="deploy", target=action, before=before, want=_DEPLOYED))
            self._prospect.suppose(action, _DEPLOYED)
        placed = self._placed(row, action, self._prospect.now(action), wanted)
        if isinstance(placed, Outcome):
            return placed
        return [*placed, *steps] if wanted.get("bound") is False else [*steps, *placed]

    def _called(self, action: str) -> str:
        """What a person calls an action: its name before any edit, if it had one."""
        thing = self._prospect.things.get(action) or self._prospect.now(action)
        return str(thing.get("name"))

    def _renamed(self, row: int, action: str, now: Fields, draft: Fields) -> Outcome | None:
        name = draft.get("name")
        if name is None or name == now.get("name"):
            return None
        if self._prospect.names.get(PREFIX + name, action) != action:
            hint = "choose another, or rename that one before"
            return Outcome(state=State.FAILED, cause="another action has that name", hint=hint)
        self._prospect.moved(action, f"{PREFIX}{now.get('name')}", PREFIX + name)
        return None

    def _placed(self, row: int, action: str, now: Fields, wanted: Fields) -> list[Step] | Outcome:
        """The step that puts an action where its edit wants it; none if it is there."""
        if not wanted.keys() & {*_PLACE}:
            return []
        _tells(now, ["triggerId"])
        trigger, label = str(now["triggerId"]), str(now.get("name") or "it")
        want: Fields = {"bound": bool(wanted.get("bound", True))}
        if "position" in wanted and want["bound"]:
            want["position"] = wanted["position"]
            if not now["bound"] and "bound" not in wanted:
                return Outcome(state=State.SKIPPED, cause="it is not bound, so it has no place")
        if outcome := self._barred(row, action, now, want):
            return outcome
        order = self.orders.get(trigger, [])
        self._prospect.note(row, action, want)
        if actions.in_place(order, action, want):
            return []
        after = actions.arranged(order, Binding(action, label, label, {}), want, trigger)
        if len(after) > max(MAX_BOUND, len(order)):
            raise ItemError(f"{trigger} has {MAX_BOUND} actions, which is the most", "unbind one")
        self._prospect.put(self.orders, trigger, after)
        before = {"bound": now["bound"], "triggerId": trigger}
        want["display_name"] = label
        return [Step(kind="bind", target=action, before=before, want=want)]

    def _barred(self, row: int, action: str, now: Fields, want: Fields) -> Outcome | None:
        """The end of an item whose action cannot have the place that its edit wants."""
        if want["bound"] and not now.get("deployed"):
            hint = "say `deploy: true` beside it"
            return Outcome(state=State.FAILED, cause="it was never deployed", hint=hint)
        position, trigger = want.get("position"), now["triggerId"]
        if clash := self._prospect.conflict(row, action, want, self._called(action)):
            return clash
        if position not in ("first", "last"):
            return None
        what = f"which action of {trigger} is {position}"
        return self._prospect.only(row, f"{position}:{trigger}", action, what)

    def rearranged(self, action: str, step: Step) -> None:
        """Note what a step of the way back leaves of a trigger's list. Raises ItemError."""
        trigger, name = str(step.before["triggerId"]), str(step.want.get("display_name", ""))
        own = Binding(action, name, name, {})
        after = actions.arranged(self.orders.get(trigger, []), own, step.want, trigger)
        self._prospect.put(self.orders, trigger, after)

    def versioned(self, step: Step) -> Step:
        """A step that makes an action, for the version that its trigger has now."""
        if step.kind != "create" or not of_action(step.target):
            return step
        version = self.versions.get(step.want["triggerId"], "")
        return msgspec.structs.replace(step, want=step.want | {"version": version})

    @staticmethod
    def _item(row: int, target: str, label: str, steps: Sequence[Step]) -> Item:
        if not steps:
            return Item(edit=row, target=target, label=label, outcome=UNCHANGED)
        keys = [key_of(target)]
        for step in steps:
            keys += keys_of(step)
        return Item(
            edit=row,
            target=target,
            label=label,
            keys=tuple(dict.fromkeys(keys)),
            steps=tuple(steps),
        )


def ways_back(switched: Sequence[Step]) -> list[Step]:
    """The way back of steps that switch a hook and an action, the last first: the first of them,
    where the second fails, and both where they are read back otherwise. An action that was bound
    before stays so."""
    if len(switched) == 1:
        return []
    moved = [
        step
        for step in switched
        if step.kind != "bind" or not step.before["bound"] or not step.want["bound"]
    ]
    return [_turned_back(step) for step in reversed(moved)]


def _turned_back(step: Step, place: Fields | None = None) -> Step:
    key = "bound" if step.kind == "bind" else "enabled"
    before, want = step.before | {key: step.want[key]}, step.want | {key: not step.want[key]}
    want |= place or {}
    if key == "enabled":  # of the rest nothing was changed
        before, want = {key: step.want[key]}, {key: not step.want[key]}
    return msgspec.structs.replace(step, before=before, want=want, back=True)


def key_of(thing: str) -> str:
    """The key that keeps the writes to one thing in their order."""
    return "+".join(thing.split())


def keys_of(step: Step) -> list[str]:
    """Keys that keep a step of an action from others of its action, name or trigger's list."""
    keys = [key_of(step.target)]
    names = (fields.get("name") for fields in (step.before, step.want))
    keys += [name_key(PREFIX + str(name)) for name in names if name]
    if step.kind == "bind":
        keys.append(f"bindings:{step.before['triggerId']}")
    return keys


def _tells(now: Fields, keys: Iterable[str]) -> None:
    """Raises ItemError where an action is not shown with these fields."""
    if missing := {key.partition(".")[0] for key in keys if key not in now}:
        what = ", ".join(sorted(missing))
        raise ItemError(f"the tenant does not tell the action's {what}", actions.LOOK)


def whole(now: Fields) -> Fields:
    """All of an action that is kept before it is deleted. Raises ItemError."""
    _tells(now, ("name", "triggerId", "code"))
    fields = {key: now[key] for key in (*CREATED, "deployed") if key in now}
    return fields | {key: True for key, value in now.items() if key.startswith(SECRET) and value}
