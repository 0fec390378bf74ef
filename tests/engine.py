"""The engine over the sandbox's core, without sockets, and jobs of all kinds for it.

A crash is what the disk has at that moment: the journal's files are copied, and whatever the
process still does is not seen again.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args

import anyio

from bulkhooks import Job, Limits, Tenant, tally
from bulkhooks.errors import Refused, Unsure
from bulkhooks.gates import Gate
from bulkhooks.guards import Guards
from bulkhooks.hooks import Trigger
from bulkhooks.items import Reply, State
from bulkhooks.journal import Journal
from bulkhooks.lanes import Lanes
from bulkhooks.plan import stage, stage_undo
from bulkhooks.sandbox import NoAnswer, Request, Sandbox, SecondEnable

NAMES = ("t0", "t1")
TRIGGERS = get_args(Trigger)
PRE = "pre-user-registration"
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
        query=dict(pair.split("=") for pair in query.split("&") if pair),
        headers={name.lower(): value for name, value in headers.items()},
        body=body or b"",
    )


class Core:
    """The sandbox's core as a network, in which the process dies at one request."""

    def __init__(self, sandbox: Sandbox, journal: Path, copy: Path, at: int, after: bool) -> None:
        self.sandbox, self.journal, self.copy = sandbox, journal, copy
        self.at, self.after = at, after
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
            answer = self.sandbox.handle(request, time.time())
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

    def __init__(self, sandbox: Sandbox, folder: Path, answers: Answers) -> None:
        super().__init__(sandbox, folder / "j", folder / "none", 0, False)
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
    ) -> None:
        super().__init__(sandbox, folder, self._refuse)
        self.what, self.times, self.status = what, times, status

    async def _refuse(self, method: str, path: str, body: bytes) -> Reply | None:
        if not (self.times and self.what(method, path, body)):
            return None
        self.times -= 1
        return Reply(status=self.status, body=b'{"message": "no"}')


def calm(sandbox: Sandbox, folder: Path) -> Core:
    """The sandbox's core and nothing else."""
    return Core(sandbox, folder / "j", folder / "none", 0, False)


os.environ |= {"SECRET_ONE": "one", "SECRET_TWO": "two"}


@dataclass(frozen=True)
class Undoing:
    """The journal to be undone."""

    done: Path


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
    plan: Job | Undoing | None = None,
    failed: bool = False,
    replan: bool = False,
    apply: bool = True,
    settle: float = 0.0,
    watch: Callable[[Lanes], Coroutine[Any, Any, None]] | None = None,
) -> dict[State, int]:
    """Plan, if there is a job or a journal to undo, and `apply`; the books after it."""

    @asynccontextmanager
    async def connect(_: int) -> AsyncIterator[Core]:
        yield core

    opening = Journal.create(path) if plan else Journal.open(path)
    with opening as journal:
        if isinstance(plan, Job):
            stage(journal, plan, TENANTS, sandbox=False, now=datetime.now(UTC))
        elif plan:
            with Journal.open(plan.done) as done:
                stage_undo(journal, done, guards=Guards(), now=datetime.now(UTC))
        async with Lanes.opened(
            *(journal, journal.tenants(), TENANTS, Limits()),
            settle=settle,
            aside=settle,
            connect=connect,
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


def one_on(**more: Any) -> Sandbox:
    """Hooks A (on), B and C of one trigger of t0; t1 has none."""
    sandbox = Sandbox(NAMES, hooks=0, **more)
    for id in "ABC":
        sandbox.add_hook("t0", id=id, name=id.lower(), triggerId=PRE, enabled=id == "A")
    return sandbox


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
        anyio.run(partial(work, journal, core, **what))
    except BaseExceptionGroup as group:
        if not group.subgroup(Killed):
            raise
        return True
    except Refused:
        pass  # there was nothing to undo
    return False
