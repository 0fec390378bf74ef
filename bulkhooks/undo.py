"""The way back of what was written for an item: its steps turned round, the newest first."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from . import hook_edits
from .action_edits import CREATED, ways_back
from .actions import DRAFT, PREFIX
from .hook_edits import OFF, ON
from .items import ABSENT, SECRET, Fields, Item, Step, Undo
from .steps import of_action


def undone(item: Item, *, leave_actions: bool = True) -> Undo | None:
    """The way back of what was written for an item; None where nothing was. With `leave_actions`
    an action that was made is taken out of its trigger's list, and stays."""
    ours = [s for s in item.steps if s.sent_at is not None and s.state in ("applied", "sent")]
    back = {(step.target, step.kind) for step in ours if step.back and step.state == "applied"}
    ours = [s for s in ours if not s.back and (s.target, s.kind) not in back]
    made = next((step for step in ours if step.kind == "create"), None)
    own = [step for step in ours if made is not None and step.target == made.target]
    steps: list[Step] = []
    lost: list[str] = []
    for step in reversed(ours):
        if step not in own or step.kind == "bind":
            back_steps, gone = _turned_round(step)
            steps += back_steps
            lost += gone
    label, target = item.label, str(item.target)
    if made is not None and not of_action(made.target):
        steps = _unmade(made, own, steps)
        target = steps[0].target
    else:
        steps += [*_put_back(steps), *_switched_back(steps)]
        if made is not None and not leave_actions:
            steps.append(_deletion(made, own, {}))
    if not (steps or lost):
        return None
    ids = {s.target: _remade_as(s) for s in ours if s.kind == "delete" and of_action(s.target)}
    ids |= {made.target: _id_after(made)} if made is not None else {}
    steps = [msgspec.structs.replace(s, target=ids.get(s.target, s.target)) for s in steps]
    return Undo(target=target, label=label, steps=tuple(steps), lost=tuple(lost))


def _switched_back(steps: list[Step]) -> list[Step]:
    """Where a hook is enabled for an action that goes: the way back of the two."""
    on = [step for step in steps if step.kind == "update" and step.want.get("enabled") is True]
    off = [step for step in steps if step.kind == "bind" and not step.want["bound"]]
    return ways_back([step for step in steps if step in (*on, *off)]) if on and off else []


def _turned_round(step: Step) -> tuple[list[Step], list[str]]:
    """The steps that turn one back, and what cannot be brought back."""
    names = [key.removeprefix(SECRET) for key in step.want if key.startswith(SECRET)]
    match step.kind:
        case "delete" if of_action(step.target):
            return _remade(step)
        case "delete":
            thing = f"new:{step.before['name']}"
            want = {key: step.before[key] for key in hook_edits.CREATED}
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
        case "bind":
            return [_bound_again(step)], []
        case "deploy":
            return _deployed_again(step)
        case _:
            was = {key: step.before[key] for key in step.want}
            return [Step(kind="update", target=step.target, before=step.want, want=was)], []


def _deployed_again(step: Step) -> tuple[list[Step], list[str]]:
    """The step that deploys the version again that was deployed before: the draft of that time may
    have been another, and its secrets had their values."""
    after = step.after or {}
    was = after.get("was")
    if was is None:
        return [], ["that it was never deployed"]
    if was.keys() < {"version", "runs"}:
        return [], ["what was deployed of it before"]
    before = {"runs": after["runs"]} if "runs" in after else {}
    return [Step(kind="deploy", target=_id_after(step), before=before, want=was)], []


def _bound_again(step: Step) -> Step:
    """The step that gives an action its old place in its trigger's list."""
    bound, was = bool(step.before["bound"]), (step.after or {}).get("was", [])
    before: Fields = {"bound": bool(step.want["bound"]), "triggerId": step.before["triggerId"]}
    if not bound:  # its place is for the way back of this one
        want = step.want | {"bound": False}
    else:
        # Its own place is left open: an action that was deleted comes back with another id.
        name = (step.after or {}).get("display_name") or step.want.get("display_name", "")
        want = {"bound": True, "display_name": name}
        own = (["", ""] if each[0] == step.target else each for each in was)
        want |= {"among": list(own)} if was else {}
    return Step(kind="bind", target=_id_after(step), before=before, want=want)


def _remade(step: Step) -> tuple[list[Step], list[str]]:
    """The steps that make a deleted action again, but for the values of its secrets."""
    thing = _remade_as(step)
    want: Fields = {key: step.before[key] for key in CREATED if key in step.before}
    secrets = [key.removeprefix(SECRET) for key in step.before if key.startswith(SECRET)]
    steps = [Step(kind="create", target=thing, before=ABSENT, want=want)]
    if step.before.get("deployed"):
        drafted: Fields = {key: value for key, value in want.items() if key in DRAFT}
        deployed = {"deployed": True, "all_changes_deployed": True}
        steps.append(Step(kind="deploy", target=thing, before=drafted, want=deployed))
    return steps, _values(secrets)


def _remade_as(step: Step) -> str:
    return f"new:{PREFIX}{step.before['name']}"


def _unmade(made: Step, own: list[Step], between: list[Step]) -> list[Step]:
    """The steps that delete a hook that its `own` steps made, unless it has changed since; where
    others are to be enabled again, `between`, it is disabled first and deleted last."""
    hook, gone = _id_after(made), _deletion(made, own, {})
    if not between:
        return [gone]
    gone = _deletion(made, own, OFF)
    switched = [Step(kind="update", target=hook, before=ON, want=OFF), *between]
    return [*switched, *_put_back(switched), gone]


def _deletion(made: Step, own: list[Step], left: Fields) -> Step:
    """The step that deletes what `own` steps made, if it is as they, and `left`, have left it."""
    before: Fields = {}
    for step in own:
        if step.kind not in ("bind", "deploy") and (step.state == "applied" or step is made):
            for key, value in step.want.items():  # of the others nobody knows
                before[key] = value is not False if key.startswith(SECRET) else value
    before.pop("version", None)
    return Step(kind="delete", target=_id_after(made), before=before | left, want=ABSENT)


def _id_after(step: Step) -> str:
    return str((step.after or {}).get("id", step.target))


def _put_back(steps: Iterable[Step]) -> list[Step]:
    """For what `steps` disable so that another can be enabled: the way back if that fails."""
    updates = [step for step in steps if step.kind == "update" and "enabled" in step.want]
    if not any(step.want["enabled"] for step in updates):
        return []
    return [
        Step(kind="update", target=step.target, before=OFF, want=ON, back=True)
        for step in updates
        if not step.want["enabled"]
    ]


def _values(names: list[str]) -> list[str]:
    return [f"the value of secret {', '.join(sorted(names))}"] if names else []
