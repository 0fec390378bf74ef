"""The engine over the sandbox's core, without sockets, and jobs of all kinds for it.

A crash is what the disk has at that moment: the journal's files are copied, and whatever the
process still does is not seen again.

Where a core has a `Clock`, time is virtual: builds and the waits for them take none.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args
from urllib.parse import parse_qsl

import anyio
from anyio.to_thread import current_default_thread_limiter

from bulkhooks import Job, Limits, Tenant, tally
from bulkhooks.errors import Refused, Unsure
from bulkhooks.gates import Gate
from bulkhooks.guards import Guards
from bulkhooks.hooks import Trigger
from bulkhooks.items import Move, Reply, State, body_of
from bulkhooks.journal import Journal, StagedEdit
from bulkhooks.lanes import SETTLE, Lanes
from bulkhooks.plan import stage, stage_undo
from bulkhooks.sandbox import NoAnswer, Request, Sandbox, SecondEnable
from virtual import VirtualTimeLoop

NAMES = ("t0", "t1")
TRIGGERS = get_args(Trigger)
PRE = "pre-user-registration"
#: When a virtual clock begins.
EPOCH = 1_700_000_000.0
TENANTS = {name: Tenant.with_token(name, f"https://x/{name}", "sandbox") for name in NAMES}


class Killed(BaseException):
    """The process is no more."""


def request_of(method: str, url: str, headers: dict[str, str], body: bytes | None) -> Request:
    """What the sandbox's core is asked by a request to a tenant at https://x/."""
    path, _, query = url.removeprefix("https://x/").partition("?")
    tenant, _, path = path.partition("/")
    return Request(
        tenant=tenant,
        method=method,
        path="/" + path,
        query=dict(parse_qsl(query)),
        headers={name.lower(): value for name, value in headers.items()},
        body=body or b"",
    )


class Clock:
    """Unix seconds of virtual loops: each begins where the one before it ended."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin, self._now = 0.0, EPOCH

    @property
    def now(self) -> float:
        """What it said last."""
        return self._now

    def __call__(self) -> float:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._begin = loop, self._now - loop.time()
        self._now = self._begin + loop.time()
        return self._now

    def pass_by(self, seconds: float) -> None:
        """Let time go by until the next loop begins."""
        self._now += seconds


class Core:
    """The sandbox's core as a network, in which the process dies at one request."""

    def __init__(
        self,
        sandbox: Sandbox,
        journal: Path,
        copy: Path,
        at: int,
        after: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sandbox, self.journal, self.copy = sandbox, journal, copy
        self.at, self.after = at, after
        self.clock = clock
        self.sent = 0
        self.writing = ""
        self.gate = Gate(256)

    def way_to(self, tenant: Tenant) -> Core:
        return self

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        self.sent += 1
        last = self.sent == self.at
        if last and method != "GET":
            self.writing = url
        if last and not self.after:
            self.die()
        await anyio.lowlevel.checkpoint()
        if 0 < self.at < self.sent and not last:
            await anyio.sleep_forever()
        request = request_of(method, url, headers, body)
        try:
            answer = self.sandbox.handle(request, self.clock())
        except NoAnswer as cut:
            if last:
                self.die()
            raise Unsure("the line was cut") from cut
        if last:
            self.die()
        if answer.sending == "half":
            raise Unsure("the line was cut")
        seen = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status, body=answer.body), seen

    def die(self) -> None:
        for end in ("", "-wal"):
            file = Path(f"{self.journal}{end}")
            if file.exists():
                shutil.copy(file, f"{self.copy}{end}")
        raise Killed


#: Is asked with method, path and body of a request; what it answers goes back in its place.
Answers: TypeAlias = Callable[[str, str, bytes], Awaitable[Reply | None]]


class Answered(Core):
    """The sandbox's core, some requests to which somebody else answers."""

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        answers: Answers,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sandbox, folder / "j", folder / "none", 0, False, clock)
        self.answers = answers

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        reply = await self.answers(method, url.removeprefix("https://x"), body or b"")
        return (reply, {}) if reply else await super().send(method, url, headers, body)


class Refusing(Answered):
    """The sandbox's core, but the next `times` requests of which `what` holds get `status`."""

    def __init__(
        self,
        sandbox: Sandbox,
        folder: Path,
        what: Callable[[str, str, bytes], bool],
        times: int = 1,
        status: int = 400,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sandbox, folder, self._refuse, clock)
        self.what, self.times, self.status = what, times, status

    async def _refuse(self, method: str, path: str, body: bytes) -> Reply | None:
        if not (self.times and self.what(method, path, body)):
            return None
        self.times -= 1
        return Reply(status=self.status, body=b'{"message": "no"}')


class Watched(Core):
    """The sandbox's core in virtual time, that sees what runs after every request and what is in
    flight; where asked, write number `nth` is refused, or somebody `meddles` after it."""

    nth = 0
    status = 400
    times = 0  #: how often that write is refused, and what is sent in its place
    meddles: Callable[[Sandbox], None] | None = None

    def __init__(
        self,
        sandbox: Sandbox,
        journal: Path,
        *,
        at: int = 0,
        after: bool = False,
        clock: Clock | None = None,
    ) -> None:
        copy = journal.with_name(f"{journal.name}-copy")
        self.clock: Clock
        super().__init__(sandbox, journal, copy, at, after, clock or Clock())
        self.runs: list[str] = []  #: the hook, the action called as it, or both
        self.crossed: list[str] = []  #: lists to which two writes were in flight
        self._flying: set[str] = set()
        self._writes = 0

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if method != "GET":
            self._writes += 1
            if self._writes == self.nth and self.times:
                self._writes, self.times = self._writes - 1, self.times - 1
                return Reply(status=self.status, body=b'{"message": "no"}'), {}
        binds = method == "PATCH" and url.endswith("/bindings")
        if binds and url in self._flying:
            self.crossed.append(url)
        self._flying |= {url} if binds else set()
        try:
            await anyio.sleep(0.01)
            answer = await super().send(method, url, headers, body)
        finally:
            self._flying -= {url} if binds else set()
            self._look()
        if method != "GET" and self._writes == self.nth and self.meddles:
            meddles, self.meddles = self.meddles, None
            meddles(self.sandbox)
        return answer

    def _look(self) -> None:
        running = on(self.sandbox) + ("h" if "h" in bound(self.sandbox).split() else "")
        if self.runs[-1:] != [running]:
            self.runs.append(running)


def calm(sandbox: Sandbox, folder: Path) -> Core:
    """The sandbox's core and nothing else."""
    return Core(sandbox, folder / "j", folder / "none", 0, False)


os.environ |= {"SECRET_ONE": "one", "SECRET_TWO": "two"}


@dataclass(frozen=True)
class Undoing:
    """The journal to be undone."""

    done: Path
    max_deletes: int = 0


@dataclass(frozen=True)
class Moving:
    """Hooks of t0 that are to become actions."""

    moves: Iterable[Move]

    def stage(self, journal: Journal) -> None:
        """Write the moves into a new journal."""
        edits = (
            StagedEdit(
                name=f"{number}",
                given=True,
                line=0,
                must_match=False,
                body=body_of(move),
                tenants=("t0",),
            )
            for number, move in enumerate(self.moves)
        )
        digest = journal.stage(edits, {name: tenant.base_url for name, tenant in TENANTS.items()})
        journal.note(job="move", digest=digest)


def random_job(sandbox: Sandbox, chance: random.Random, edits: int = 14) -> Job:
    """Edits of every kind there is, several of them on one hook now and then, none of which
    contradicts another. Hooks 0 and 1 of each tenant have a secret."""
    wanted: list[Mapping[str, Any]] = []
    taken: set[tuple[str, str, str]] = set()
    whole = {(tenant, trigger) for tenant in NAMES for trigger in TRIGGERS if chance.random() < 0.5}
    for number in range(chance.randint(1, edits)):
        tenant = chance.choice(NAMES)
        hooks = sandbox.hooks_of(tenant)
        place = chance.randrange(6)
        hook, trigger = hooks[place], hooks[place]["triggerId"]
        base = {"tenant": tenant, "hook": hook["id"]}
        edit: Mapping[str, Any]
        key, edit = chance.choice(
            [
                ("dependencies", base | {"set": {"dependencies": {"axios": f"1.0.{number}"}}}),
                ("name", base | {"set": {"name": f"renamed-{number}"}}),
                ("script", base | {"set": {"script": f"module.exports = {number};"}}),
                ("enabled", base | {"set": {"enabled": (tenant, trigger) in whole}}),
                ("secrets", base | {"set_secrets": {"NEW": "env:SECRET_ONE"}}),
                (
                    "secrets",
                    base | {"set_secrets": {"NEW": "env:SECRET_ONE", "OLD": "env:SECRET_TWO"}},
                ),
                ("secrets", base | {"remove_secrets": ["OLD"]}),
                ("*", base | {"delete": True}),
                (
                    "new",
                    {
                        "tenant": tenant,
                        "create": NEW | {"name": f"new-{number}", "triggerId": trigger},
                    },
                ),
                (
                    "enabled",
                    {
                        "tenant": tenant,
                        "create": NEW
                        | {"name": f"new-{number}", "triggerId": trigger, "enabled": True},
                        "set_secrets": {"KEY": "env:SECRET_ONE"},
                    },
                ),
            ]
        )
        mine = {(tenant, hook["id"], key)} if key != "new" else set()
        if key == "enabled":  # one edit a trigger says which of its hooks is to be on
            mine = {(tenant, trigger, key), (tenant, hook["id"], key)}
        everything = {field for *_, field in taken if _ == [tenant, hook["id"]]}
        if mine & taken or "*" in everything or (key == "*" and everything):
            continue
        if key == "*" and (tenant, trigger, "enabled") in taken:
            continue
        taken |= mine
        wanted.append(edit)
    wanted = wanted or [{"tenant": "t0", "hooks": {"enabled": True}, "set": {"enabled": False}}]
    return Job.of("job", wanted)


NEW = {"script": "module.exports = 1;"}


def random_action_job(chance: random.Random, edits: int = 8) -> Job:
    """Edits of every kind of what `acting` has, none of which contradicts another."""
    wanted: list[Mapping[str, Any]] = []
    taken: set[tuple[str, str, str]] = set()
    for number in range(chance.randint(1, edits)):
        tenant, name = chance.choice(NAMES), chance.choice("abcde")
        base: dict[str, Any] = {"tenant": tenant, "action": {"name": name}}
        deploy = {"deploy": True} if chance.random() < 0.5 else {}
        place = {"bound": True, "position": chance.choice(["first", "last"])}
        new = {"name": f"new {number}", "triggerId": PRE, "code": f"exports.x = {number};"}
        secrets = {"NEW": "env:SECRET_ONE", "OLD": "env:SECRET_TWO"}
        edit: Mapping[str, Any]
        key, edit = chance.choice(
            [
                ("code", base | {"set": {"code": f"exports.y = {number};"}} | deploy),
                ("code", base | {"set": {"dependencies": {"axios": f"1.0.{number}"}}} | deploy),
                ("name", base | {"set": {"name": f"renamed {number}"}}),
                ("secrets", base | {"set_secrets": secrets} | deploy),
                ("secrets", base | {"remove_secrets": ["OLD"]}),
                ("bound", base | {"set": {"bound": False}}),
                ("bound", base | {"set": {"bound": True}, "deploy": True}),
                ("*", base | {"delete": True}),
                ("new", {"tenant": tenant, "create": new} | deploy),
                ("place", {"tenant": tenant, "create": new | place, "deploy": True}),
            ]
        )
        if key == "place":  # one edit says what is first, and one what is last
            name, key = PRE, str(place["position"])
        mine = {(tenant, name, key)} if key != "new" else set()
        others = {field for *where, field in taken if where == [tenant, name]}
        if mine & taken or "*" in others or (key == "*" and others):
            continue
        taken |= mine
        wanted.append(edit)
    off = {"tenant": "t0", "action": {"name": "a"}, "set": {"bound": False}}
    return Job.of("job", wanted or [off])


def two_tenants(fault: Any = None, second_enable: SecondEnable = "conflict") -> Sandbox:
    sandbox = Sandbox(NAMES, hooks=8, fault=fault, second_enable=second_enable)
    for name in NAMES:
        for hook in sandbox.hooks_of(name)[:2]:
            sandbox.set_secrets(name, hook["id"], {"OLD": "old"})
    return sandbox


async def work(
    path: Path,
    core: Core,
    *,
    plan: Job | Undoing | Moving | None = None,
    failed: bool = False,
    replan: bool = False,
    apply: bool = True,
    settle: float | None = None,
    watch: Callable[[Lanes], Coroutine[Any, Any, None]] | None = None,
) -> dict[State, int]:
    """Plan, if there is a job or a journal to undo, and `apply`; the books after it. Without
    `settle` no time is true, or none is waited."""

    @asynccontextmanager
    async def connect(_: int) -> AsyncIterator[Core]:
        yield core

    if settle is None:
        settle = SETTLE if isinstance(core.clock, Clock) else 0.0
    opening = Journal.create(path) if plan else Journal.open(path)
    with opening as journal:
        mind_threads(journal)
        if isinstance(plan, Job):
            stage(journal, plan, TENANTS, sandbox=False, now=datetime.now(UTC))
        elif isinstance(plan, Moving):
            plan.stage(journal)
        elif plan:
            with Journal.open(plan.done) as done:
                guards = Guards(max_deletes=plan.max_deletes)
                stage_undo(journal, done, guards=guards, now=datetime.now(UTC))
        async with Lanes.opened(
            *(journal, journal.tenants(), TENANTS, Limits()),
            settle=settle,
            aside=settle,
            connect=connect,
            wall=core.clock,
        ) as lanes:
            if plan or failed or replan:
                await lanes.survey(failed=failed or bool(plan), replan=replan)
            await lanes.reopen(failed=failed, replan=replan)
            async with anyio.create_task_group() as tasks:
                if watch:
                    tasks.start_soon(watch, lanes)
                if apply:
                    await lanes.apply(read_first=plan is None)
                tasks.cancel_scope.cancel()
        books = journal.books()
        return {state: sum(mine[state] for mine in books.values()) for state in State}


def mind_threads(journal: Journal) -> None:
    """Let no virtual time pass while a thread of this loop is at work."""
    loop, limiter = asyncio.get_running_loop(), current_default_thread_limiter()
    if isinstance(loop, VirtualTimeLoop):
        loop.mind(lambda: limiter.borrowed_tokens + journal.disk.borrowed_tokens > 0)


def run(path: Path, core: Core, **what: Any) -> dict[State, int]:
    """`work` in a loop of its own, whose time is the core's."""
    options = {"loop_factory": VirtualTimeLoop} if isinstance(core.clock, Clock) else {}
    return anyio.run(partial(work, path, core, **what), backend_options=options)


def one_on(**more: Any) -> Sandbox:
    """Hooks A (on), B and C of one trigger of t0; t1 has none."""
    sandbox = Sandbox(NAMES, hooks=0, **more)
    for id in "ABC":
        sandbox.add_hook("t0", id=id, name=id.lower(), triggerId=PRE, enabled=id == "A")
    return sandbox


def acting(**more: Any) -> Sandbox:
    """In each tenant hook H (on) and actions a, b and c bound to its trigger, d deployed and bound
    nowhere, e never deployed. a and d have a secret, b has a dependency. Building takes seconds."""
    sandbox = Sandbox(NAMES, hooks=0, **({"build_time": 3.0, "deploy_time": 2.0} | more))
    for tenant in NAMES:
        sandbox.add_hook(tenant, id="H", name="h", triggerId=PRE, enabled=True, script="h")
        for name in "abcde":
            sandbox.add_action(
                tenant,
                name=name,
                triggerId=PRE,
                code=f"exports.{name} = 1;",
                dependencies={"axios": "1.7.9"} if name == "b" else None,
                secrets={"OLD": "old"} if name in "ad" else None,
                deployed=name != "e",
                bound=name in "abc",
            )
    return sandbox


def actions_of(sandbox: Sandbox, tenant: str = "t0") -> dict[str, Any]:
    """Actions by name, as drafts and as what runs of them, with the values of secrets; ids and
    numbers of versions depend on the order of making."""
    found = {}
    for action in sandbox.actions_of(tenant):
        runs = action.get("deployed_version")
        found[action["name"]] = _draft(action) | {
            "secrets": sandbox.action_secrets_of(tenant, action["id"]),
            "runs": runs and _draft(runs),
        }
    return found


def _draft(shown: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: shown[key] for key in ("code", "dependencies", "runtime")}
    secrets = [secret["name"] for secret in shown["secrets"]]
    return fields | {"trigger": shown["supported_triggers"][0]["id"], "secrets": sorted(secrets)}


def bound(sandbox: Sandbox, tenant: str = "t0", trigger: str = PRE) -> str:
    """Names of what is bound to a trigger, in order."""
    return " ".join(sandbox.bindings_of(tenant, trigger))


def whole_state_of(sandbox: Sandbox) -> list[Any]:
    """All hooks, actions and lists of bindings."""
    lists = ({each: bound(sandbox, name, each) for each in TRIGGERS} for name in NAMES)
    actions = (actions_of(sandbox, name) for name in NAMES)
    return [state_of(sandbox), *zip(actions, lists, strict=True)]


def on(sandbox: Sandbox) -> str:
    """The hooks of t0 that are enabled."""
    return "".join(hook["id"] for hook in sandbox.hooks_of("t0") if hook["enabled"])


def for_t0(*edits: Mapping[str, Any]) -> Job:
    """A job of edits for t0."""
    return Job.of("job", [{"tenant": "t0", **edit} for edit in edits])


def causes(journal: Path) -> list[str]:
    """Why items did not end well."""
    with Journal.open(journal) as kept:
        return [found.cause for found in tally.causes(kept)]


def state_of(sandbox: Sandbox) -> list[Any]:
    """All hooks with their secrets, by name; ids of made hooks depend on the order of making."""
    return [
        {
            hook.pop("name"): hook | {"secrets": sandbox.secrets_of(name, hook.pop("id"))}
            for hook in sandbox.hooks_of(name)
        }
        for name in NAMES
    ]


def killed(journal: Path, core: Core, **what: Any) -> bool:
    """Work until the end or until the process is killed; whether it was."""
    try:
        run(journal, core, **what)
    except BaseExceptionGroup as group:
        if not group.subgroup(Killed):
            raise
        return True
    except Refused:
        pass  # there was nothing to undo
    return False
