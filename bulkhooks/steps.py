"""What a step means, whatever it writes to: its write, what is read for it, and what that says.

What is a hook's stands in `hooks`, what is an action's in `actions`; who works on steps asks here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from . import actions, hooks
from .errors import ItemError
from .items import ABSENT, SECRET, Call, Edit, Fields, Read, Seen, Step, holds, told

#: Kinds of steps, of whatever they write to, of which nothing is seen before they are read back.
SILENT: Final = actions.SILENT
#: The permissions that reading takes: the list of each kind of thing.
READ: Final = frozenset((hooks.READ, actions.READ))


def of_action(target: str) -> bool:
    """Whether what has this id, or will have, is an action rather than a hook."""
    return actions.PREFIX in target


def kind_of(target: str) -> str:
    """Which of the lists of a tenant has what has this id, or will have it."""
    return "actions" if of_action(target) else "hooks"


def of_edit(edit: Edit) -> list[Step]:
    """Steps like those that an edit makes of things which are in nothing as it wants them: what
    the edit needs is what these need."""
    return actions.steps_of(edit) if edit.of == "actions" else hooks.steps_of(edit)


def request(step: Step, id: str, seen: Fields | None = None) -> Call:
    """The write of a step on the thing of that id: the changed fields and nothing else.

    `seen` is what was read for it, if anything. Raises ItemError where that leaves no write.
    """
    if of_action(step.target):
        return actions.request(step, id, seen)
    return hooks.request(step, id, seen)


def scopes(steps: Iterable[Step]) -> set[str]:
    """The scopes that steps need, those of their way back left out."""
    return {request(step, step.target).scope for step in steps if not step.back}


def frozen(steps: Iterable[Step]) -> str:
    """What of some steps read-only hooks refuse, in words; "" if nothing."""
    refused = [step for step in steps if request(step, step.target).frozen]
    if any(step.kind == "create" for step in refused):
        return "a new hook"
    return ", ".join(sorted({key for step in refused for key in step.want} - hooks.THAWED))


async def look(step: Step, id: str, read: Read) -> Fields:
    """What `step` is for, as it is now: all that it takes to tell whether it is done.

    Raises Gone when the thing of an update is not there.
    """
    if of_action(step.target):
        return await actions.look(step, id, read)
    return await hooks.look(step, id, read)


def known(step: Step, id: str, live: Mapping[str, Fields | None]) -> Fields | None:
    """What `live`, things by their ids as far as they are known, says of a step's; None: it must
    be read."""
    if step.kind == "create":
        named = (was for was in live.values() if was and was.get("name") == step.want["name"])
        of = of_action(step.target)
        return next((was for was in named if of_action(str(was.get("id"))) is of), None)
    return None if reread(step) else live.get(id)


def reread(step: Step) -> bool:
    """Whether what a step writes to must be read right before it, and what that shows is kept."""
    return of_action(step.target) and step.kind in actions.REREAD


def kept(step: Step, seen: Fields) -> Fields:
    """What is kept of what was seen right before a step, for its way back."""
    return actions.kept(step, seen) if reread(step) else {}


def unready(step: Step, seen: Fields) -> str:
    """What a step must wait for before it is sent; "" if nothing. Raises ItemError when that
    cannot come."""
    return actions.unready(seen) if _drafted(step) else ""


def anew(step: Step, wrote: Iterable[Step]) -> bool:
    """Whether a step is to be sent although what it wants is seen: a deployment of what its item
    `wrote`, for not every tenant shows that a draft has other secrets than what is deployed."""
    if step.kind != "deploy":
        return False
    return any(each.target == step.target for each in wrote if each.kind != "bind")


def harmless(step: Step) -> bool:
    """Whether what a step leaves is a state that a tenant can be left in: nothing runs that did
    not, and all runs that did."""
    return of_action(step.target) and step.kind != "bind"


def switches(steps: Iterable[Step]) -> bool:
    """Whether some steps switch one thing off and another on."""
    keys = ("enabled", "bound")
    return sum(any(key in each.want for key in keys) for each in steps if not each.back) > 1


def seen_in(step: Step, id: str, answer: object) -> Fields:
    """The fields that the answer to a step's write shows; none if it does not show them."""
    thing_in = actions.action_in if of_action(step.target) else hooks.hook_in
    try:
        shown, fields = ("", {}) if step.kind in SILENT else thing_in(answer)
    except ItemError:
        return {}
    return {"dependencies": {}} | fields if shown == id or step.kind == "create" else {}


def shows(step: Step, seen: Fields) -> bool:
    """Whether `seen` shows what the step wants, as far as that can be seen: secrets are there."""
    if step.kind == "bind":
        return "order" in seen and actions.in_place(seen["order"], seen["id"], step.want)
    return all(
        key == "version" or (key in seen and seen[key] == _visible(key, value))
        for key, value in step.want.items()
    )


def judge(step: Step, seen: Fields, *, sent: bool) -> Seen:
    """Whether `seen` is what the step wants, what was there before it, or something else.

    A secret's value cannot be read, and setting it twice does no harm: once `sent`, it is never
    believed to be set. What is deployed must be what was planned to be. What was bound by us, and
    was moved by others since, is to be put in its place again.
    """
    if blind(step):
        if not seen.keys() >= step.want.keys():
            return Seen.LACKING
        again = sent and len({seen[key] for key in step.want}) == 1
        return Seen.BEFORE if again or holds(step.before, seen) else Seen.OTHER
    as_before = holds(step.before, seen)
    if shows(step, seen) and (as_before or not _drafted(step)):
        return Seen.WANTED
    moved = sent and step.kind == "bind" and seen.get("bound") is step.want["bound"]
    if as_before or moved:
        return Seen.BEFORE
    absent = seen == ABSENT
    lacking = not absent and not seen.keys() >= step.before.keys() | _seen_of(step)
    return Seen.LACKING if lacking and step.kind != "bind" else Seen.OTHER


def _drafted(step: Step) -> bool:
    """Whether a step deploys a draft, rather than nothing or a version of before."""
    return step.kind == "deploy" and "version" not in step.want


def _seen_of(step: Step) -> set[str]:
    """The fields that a step wants and that can be seen afterwards."""
    return step.want.keys() - {"version"}


def blind(step: Step) -> bool:
    """Whether nothing that can be read tells that a step is done: a secret's value is masked."""
    return step.kind in ("create_secrets", "update_secrets")


def recorded(step: Step, seen: Fields) -> Fields:
    """What is kept of what was seen after a step."""
    more = {"create": "id", "deploy": "runs"}.get(step.kind)
    keys = [*step.want, more] if more else step.want
    return {key: seen[key] for key in keys if key in seen}


def drift(step: Step, seen: Fields) -> str:
    """How what is seen differs from what a step's plan was made from."""
    thing = "action" if of_action(step.target) else "hook"
    if seen == ABSENT:
        return f"the {thing} is gone"
    if step.kind == "create":
        return f"{'an' if thing == 'action' else 'a'} {thing} of that name is there"
    return ", ".join(
        f"{key} was {told(key, value)}, is {told(key, seen.get(key))}"
        for key, value in sorted(step.before.items())
        if seen.get(key) != value
    )


def told_of(step: Step, label: str) -> tuple[Fields, Fields]:
    """What a step changes and into what, as far as it is told of an item called `label`: equal
    changes of actions are equal here, whatever their tenants' ids and versions are."""
    if not of_action(step.target):
        return _but_for(step.before, label), step.want
    want = {key: value for key, value in step.want.items() if key not in _OWN}
    if step.kind == "deploy":
        return {}, want
    before = step.before
    if step.kind == "update":
        before = {key: was for key, was in before.items() if key in want}
    return _but_for(before, label), _but_for(want, label)


#: What a tenant has of its own, and a plan does not tell.
_OWN: Final = ("version", "display_name", "among")


def _but_for(fields: Fields, label: str) -> Fields:
    """Fields but for a name that is the label."""
    return {key: value for key, value in fields.items() if (key, value) != ("name", label)}


def unlike(step: Step, seen: Fields) -> str:
    """How what is seen differs from what a step wants."""
    if step.kind == "bind" and seen.get("bound") == step.want["bound"]:
        return f"it is not bound where it should be ({step.want.get('position', 'as it was')})"
    if step.kind == "bind":
        return (
            f"bound is {told('bound', seen.get('bound'))}, not {told('bound', step.want['bound'])}"
        )
    return ", ".join(
        f"{key} is {told(key, seen.get(key))}, not {told(key, value)}"
        for key, value in sorted(step.want.items())
        if seen.get(key) != _visible(key, value)
    )


def _visible(key: str, value: Any) -> Any:
    return value is not False if key.startswith(SECRET) else value
