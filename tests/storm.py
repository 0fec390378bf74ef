"""A job of every kind of edit on many tenants, faults over all of it, and what must hold after it.

Each edit has a hook of its own, or shares one with an edit of other fields, so that what the job
wants of a hook does not hang on the order of things.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, get_args

from bulkhooks import Guards, Job, Limits, Tenant
from bulkhooks.errors import Unsure
from bulkhooks.gates import Gate
from bulkhooks.hooks import Trigger
from bulkhooks.items import Item, Reply, State
from bulkhooks.journal import Journal
from bulkhooks.lane import LaneView
from bulkhooks.lanes import Lanes
from bulkhooks.plan import stage
from bulkhooks.report import Summary, summary
from bulkhooks.sandbox import NoAnswer, Request, Sandbox, Seen
from bulkhooks.sandbox.faults import FAULTS, Fault
from bulkhooks.tenants import ClientSecret, Given, Route
from engine import EPOCH, mind_threads, request_of
from virtual import VirtualTimeLoop

TRIGGERS = get_args(Trigger)
SCRIPT = "module.exports = 1;"
GUARDS = Guards(max_deletes=100_000)
#: Names of secrets by the value that a job gives them.
VALUES = {"env:SECRET_ONE": "one", "env:SECRET_TWO": "two"}
os.environ |= {"SECRET_ONE": "one", "SECRET_TWO": "two"}

Edit: TypeAlias = dict[str, Any]
#: Every hook and action of a tenant by its id, its secrets among its fields.
Hooks: TypeAlias = dict[str, dict[str, Any]]


def rates(total: float, *besides: Fault) -> dict[Fault, float]:
    """Equal shares of all kinds of faults but some, `total` together."""
    kinds = [kind for kind in FAULTS if kind not in besides]
    return dict.fromkeys(kinds, total / len(kinds))


def tenants_at(url: str, names: list[str], route: Route | None = None) -> dict[str, Tenant]:
    """Tenants there that ask for their tokens."""
    credential = ClientSecret(client_id=Given("storm"), client_secret=Given("secret"))
    return {
        name: Tenant(
            name=name, base_url=f"{url}/{name}", credential=credential, route=route or Route()
        )
        for name in names
    }


@dataclass(kw_only=True)
class Storm:
    """So many edits of each of the sandbox's tenants, by a seed; and the tenants before them."""

    sandbox: Sandbox
    names: list[str]
    edits: list[Edit]
    before: dict[str, Hooks] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int, names: list[str], edits: int, sandbox: Sandbox) -> Storm:
        """A job for a sandbox that has at least 20 hooks and 4 for each 3 edits; where it has 12
        actions there are edits of those besides."""
        chance, chosen = random.Random(seed), list[Edit]()
        for name in names:
            hooks = sandbox.hooks_of(name)
            for hook in hooks[::2]:
                sandbox.set_secrets(name, hook["id"], {"OLD": "old", "KEPT": "kept"})
            chosen += _edits_of(name, hooks, edits, chance)
            chosen += _edits_of_actions(name, sandbox.actions_of(name))
        return cls.given(chosen, names, sandbox)

    @classmethod
    def given(cls, edits: list[Edit], names: list[str], sandbox: Sandbox) -> Storm:
        """These edits."""
        numbered = [edit | {"id": str(number)} for number, edit in enumerate(edits)]
        storm = cls(sandbox=sandbox, names=names, edits=numbered)
        storm.before = {name: storm.now(name) for name in names}
        return storm

    @property
    def job(self) -> Job:
        """The edits as a job."""
        return Job.of("storm", self.edits)

    def now(self, tenant: str) -> Hooks:
        """A tenant as it is."""
        hooks = self.sandbox.hooks_of(tenant)
        return {
            hook["id"]: hook | {"secrets": self.sandbox.secrets_of(tenant, hook["id"])}
            for hook in hooks
        } | {
            f"actions/{action['id']}": self._action(tenant, action)
            for action in self.sandbox.actions_of(tenant)
        }

    def _action(self, tenant: str, action: dict[str, Any]) -> dict[str, Any]:
        trigger, runs = action["supported_triggers"][0]["id"], action.get("deployed_version") or {}
        packages = {each["name"]: each["version"] for each in action["dependencies"]}
        return {
            "name": action["name"],
            "triggerId": trigger,
            "code": action["code"],
            "dependencies": packages,
            "bound": action["name"] in self.sandbox.bindings_of(tenant, trigger),
            "runs": runs.get("code"),
            "secrets": self.sandbox.action_secrets_of(tenant, action["id"]),
        }

    # ---- what must hold

    def check(self, journal: Journal) -> Summary:
        """The books balance, and the tenants are as the journal says."""
        told = summary(journal)  # which raises where they do not balance as a whole
        each = [one.books for one in told.tenants.values()]
        for state in ("planned", *(state.value for state in State)):
            assert getattr(told.books, state) == sum(getattr(books, state) for books in each)
        for books in (told.books, *each):
            assert books.planned == sum(getattr(books, state.value) for state in State)
        assert told.books.planned == len(self.edits)
        live = {name: self.now(name) for name in self.names}
        for item in journal.items(State, len(self.edits)):
            self._check_item(item, live)
        return told

    def _check_item(self, item: Item, live: dict[str, Hooks]) -> None:
        edit = self.edits[int(item.edit_name)]
        was, now = self.before[edit["tenant"]], live[edit["tenant"]]
        state = item.outcome.state
        if state in (State.APPLIED, State.UNCHANGED):
            assert done(edit, was, now), f"not done: {item}"
        elif state is not State.UNCERTAIN:
            taken = {step.target: step.back for step in item.steps if step.state == "applied"}
            if all(taken.values()):  # nothing was written, or it was put back
                assert untouched(edit, was, now), f"not as before: {item}"

    def check_all_done(self, journal: Journal) -> None:
        """Everything is as the job wants it, and what it does not speak of as before."""
        told = self.check(journal)
        assert told.books.applied + told.books.unchanged == len(self.edits), told.causes
        named = {(edit["tenant"], thing_of(edit)) for edit in self.edits}
        for name in self.names:
            now = self.now(name)
            for id, hook in self.before[name].items():
                if (name, id) not in named:
                    assert now[id] | {"enabled": None} == hook | {"enabled": None}
            on = Counter(hook["triggerId"] for hook in now.values() if hook.get("enabled"))
            assert max(on.values(), default=0) <= 1


def thing_of(edit: Edit) -> str:
    """The id of what an edit is for; "" of what it makes."""
    return f"actions/{edit['action']}" if "action" in edit else edit.get("hook", "")


def done(edit: Edit, was: Hooks, now: Hooks) -> bool:
    """Whether a tenant is as an edit wants it."""
    if edit.get("delete"):
        return thing_of(edit) not in now
    if wanted := edit.get("create"):
        made = [hook for hook in now.values() if hook["name"] == wanted["name"]]
        if len(made) != 1:
            return False
        hook = made[0]
        usual: Edit = {"dependencies": {}} if "code" in wanted else {"enabled": False}
        wanted = {"dependencies": {}} | usual | wanted
    else:
        hook, wanted = now[thing_of(edit)], edit.get("set", {})
    secrets = {name: VALUES[ref] for name, ref in edit.get("set_secrets", {}).items()}
    return (
        all(hook[key] == value for key, value in wanted.items() if key != "position")
        and (not edit.get("deploy") or hook["runs"] == hook["code"])
        and hook["secrets"].items() >= secrets.items()
        and hook["secrets"].keys().isdisjoint(edit.get("remove_secrets", ()))
    )


def untouched(edit: Edit, was: Hooks, now: Hooks) -> bool:
    """Whether what an edit is for is as it was."""
    if wanted := edit.get("create"):
        return all(hook["name"] != wanted["name"] for hook in now.values())
    before, hook = was[thing_of(edit)], now.get(thing_of(edit))
    if hook is None:
        return False
    secrets = [*edit.get("set_secrets", ()), *edit.get("remove_secrets", ())]
    return all(hook[key] == before[key] for key in edit.get("set", ())) and all(
        hook["secrets"].get(name) == before["secrets"].get(name) for name in secrets
    )


def _edits_of(tenant: str, hooks: list[Any], edits: int, chance: random.Random) -> Iterator[Edit]:
    """Edits of a tenant; those that switch hooks on and off first, one for each trigger."""
    free = list(hooks)
    by_trigger = defaultdict(list)
    for hook in hooks:
        by_trigger[hook["triggerId"]].append(hook)
    kinds = ["off", "swap", "new on", "delete on", "both"]
    chance.shuffle(kinds)
    yielded = 0
    for trigger, kind in zip(TRIGGERS, kinds, strict=True):
        on, other = by_trigger[trigger][:2]
        for edit in _switch(kind, trigger, on["id"], other["id"]):
            yield {"tenant": tenant, **edit}
            yielded += 1
        free = [hook for hook in free if hook["id"] not in (on["id"], other["id"])]
    for number in range(edits - yielded):
        hook = free.pop(0)
        for edit in _plain(number, hook, chance):
            yield {"tenant": tenant, **edit}
            yielded += 1
        if yielded >= edits:
            return


def _switch(kind: str, trigger: str, on: str, other: str) -> list[Edit]:
    turn_off: Edit = {"hook": on, "set": {"enabled": False}}
    turn_on: Edit = {"hook": other, "set": {"enabled": True}}
    new: Edit = {"name": f"new-{trigger}", "triggerId": trigger, "script": SCRIPT, "enabled": True}
    return {
        "off": [turn_off],
        "swap": [turn_on],
        "new on": [{"create": new, "set_secrets": {"KEY": "env:SECRET_ONE"}}],
        "delete on": [{"hook": on, "delete": True}],
        "both": [turn_on, turn_off],
    }[kind]


def _plain(number: int, hook: Any, chance: random.Random) -> list[Edit]:
    id = hook["id"]
    sets: Edit = {"hook": id, "set": {"dependencies": {"axios": f"2.0.{number}"}}}
    secrets: Edit = {"hook": id, "set_secrets": {"NEW": "env:SECRET_ONE", "OLD": "env:SECRET_TWO"}}
    new: Edit = {"name": f"new {number}", "triggerId": hook["triggerId"], "script": SCRIPT}
    choices: list[list[Edit]] = [
        [sets],
        [sets, secrets],
        [secrets],
        [{"hook": id, "remove_secrets": ["OLD"]}],
        [{"hook": id, "set": {"name": f"renamed-{number}"}}],
        [{"hook": id, "set": {"script": f"module.exports = {number};"}}],
        [{"hook": id, "set": {"enabled": False}}],
        [{"hook": id, "delete": True}],
        [{"create": new}],
    ]
    return deepcopy(chance.choice(choices))


def _edits_of_actions(tenant: str, actions: list[Any]) -> Iterator[Edit]:
    """Edits of the 12 actions that are generated: those of one trigger lie 6 apart, and the first
    of them is bound."""
    if not actions:
        return
    ids = [action["id"] for action in actions]
    trigger = actions[0]["supported_triggers"][0]["id"]
    new = {"name": "new action", "triggerId": trigger, "code": SCRIPT, "bound": True}
    yield from (
        {"tenant": tenant, **edit}
        for edit in (
            {"action": ids[0], "set": {"code": SCRIPT}, "deploy": True},
            {"action": ids[1], "set": {"bound": False}},
            {"action": ids[7], "set": {"bound": True, "dependencies": {"axios": "2.0.0"}}},
            {"action": ids[2], "set_secrets": {"NEW": "env:SECRET_ONE"}, "deploy": True},
            {"action": ids[3], "delete": True},
            {"action": ids[4], "set": {"name": "renamed"}},
            {"action": ids[5], "remove_secrets": ["API_KEY"]},
            {"action": ids[6], "set": {"bound": True}},
            {"create": new, "deploy": True, "set_secrets": {"KEY": "env:SECRET_ONE"}},
        )
    )


def sent_twice(log: list[Seen]) -> list[str]:
    """Writes that went out again though nobody had looked whether they were done, or though they
    were. (What was refused before it was looked at, by 401 or 429, may go out again. A secret is
    set again, for its value cannot be seen; and a hook is switched on again by a way back.)"""
    wrong = []
    open_writes: dict[tuple[str, ...], Seen] = {}  # by its place, what nobody has looked at
    done_writes: dict[tuple[str, ...], Seen] = {}  # the last that was done
    for seen in log:
        place = (seen.tenant, *_place_of(seen.path))
        thing = place[-1]
        if seen.path == "/oauth/token" or seen.status in (401, 429):
            continue
        if seen.method == "GET":
            if seen.status == 200:  # a list tells of all hooks
                for other in [place] if thing else [k for k in open_writes if k[:2] == place[:2]]:
                    open_writes.pop(other, None)
            continue
        for known in (open_writes.get(place), done_writes.get(place)):
            same = known is not None and _same(known, seen)
            blind = seen.path.endswith("/secrets") or b'"value"' in seen.body
            blind = blind and seen.method != "DELETE"
            if same and not (blind and known is done_writes.get(place)):
                wrong.append(f"{seen.method} {seen.path} of {seen.tenant}: {known} then {seen}")
        open_writes[place] = seen
        if 200 <= seen.status < 300:
            done_writes[place] = seen
    return wrong


def _place_of(path: str) -> tuple[str, str]:
    """Of what kind a request is - hooks, actions, triggers - and of which; "" of all of them."""
    kind, _, rest = path.removeprefix("/api/v2/").removeprefix("actions/").partition("/")
    return kind, rest.partition("/")[0]


def _same(one: Seen, other: Seen) -> bool:
    return (one.method, one.path, one.body) == (other.method, other.path, other.body)


# ---- without sockets, in virtual time

#: Is asked of each request; what it answers, with its headers, goes back in the sandbox's place.
Instead: TypeAlias = Callable[[Request], tuple[Reply, Mapping[str, str]] | None]


class Air:
    """The sandbox's core as a network: answers take some hundredths of a second, and what goes
    wrong on the way goes wrong as over sockets."""

    def __init__(
        self, sandbox: Sandbox, seed: int, wall: Callable[[], float], instead: Instead
    ) -> None:
        self.sandbox, self.chance = sandbox, random.Random(seed)
        self.wall, self.instead = wall, instead
        self.gate = Gate(1024)

    def way_to(self, tenant: Tenant) -> Air:
        return self

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        await asyncio.sleep(self.chance.uniform(0.005, 0.05))
        request = request_of(method, url, headers, body)
        if other := self.instead(request):
            return other
        try:
            answer = self.sandbox.handle(request, self.wall())
        except NoAnswer as cut:
            if cut.fault == "hang":
                await asyncio.sleep(30)
            raise Unsure(f"no answer: {cut.fault}") from None
        await asyncio.sleep(self.chance.uniform(0.005, 0.05))
        if answer.sending == "half":
            raise Unsure("no answer: half")
        if answer.sending == "drip":
            await asyncio.sleep(self.sandbox.drip)
        seen = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status, body=answer.body), seen


async def weathered(
    storm: Storm,
    path: Path,
    *,
    seed: int = 0,
    plan: bool = True,
    watch: Callable[[list[LaneView]], None] | None = None,
    tenants: dict[str, Tenant] | None = None,
    instead: Instead = lambda request: None,
    apply: bool = True,
) -> Summary:
    """Plan, or take up what failed, and apply; in virtual time. `watch` looks on each second."""

    @asynccontextmanager
    async def connect(_: int) -> AsyncIterator[Air]:
        yield Air(storm.sandbox, seed, wall, instead)

    def wall() -> float:  # an hour after all that was before
        return begin + asyncio.get_running_loop().time()

    async def look_on(lanes: Lanes) -> None:
        while watch:
            watch(lanes.views())
            await asyncio.sleep(1)

    begin = storm.sandbox.log[-1].at + 3600 if storm.sandbox.log else EPOCH
    known = tenants or tenants_at("https://x", storm.names)
    opening = Journal.create(path) if plan else Journal.open(path)
    with opening as journal:
        mind_threads(journal)
        if plan:
            stage(journal, storm.job, known, sandbox=False, now=datetime.now(UTC), guards=GUARDS)
        async with Lanes.opened(
            *(journal, journal.tenants(), known, Limits()),
            connect=connect,
            wall=wall,
        ) as lanes:
            looking = asyncio.create_task(look_on(lanes))
            await lanes.survey(failed=True)
            await lanes.reopen(failed=not plan)
            if apply:
                await lanes.apply(read_first=not plan)
            looking.cancel()
        return storm.check(journal)


def in_virtual_time(work: Callable[[], Any]) -> Any:
    """What `work` comes to, on a clock that leaps."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work())
