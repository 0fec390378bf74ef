"""A rehearsal: a job's tenants are pretend ones, in this process, that have what it names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import get_args

from . import actions, hooks
from .console import talk
from .items import Edit
from .jobfile import Job
from .sandbox import Sandbox, serve
from .sandbox.buckets import BUCKETS
from .tenants import Given, Route, StaticToken, Tenant


@asynccontextmanager
async def pretended(job: Job, tenants: Mapping[str, Tenant]) -> AsyncIterator[dict[str, Tenant]]:
    """The job's tenants, each at a sandbox that has what the job names."""
    schedule = job.schedule
    if schedule.window or any(wave.soak for wave in schedule.waves):
        talk("a rehearsal waits for nothing: no window, no soak, no end of a freeze")
    named: dict[tuple[str, str, str], Edit] = {}
    names: dict[str, None] = {}
    selected = set[str]()
    for edit in job.edits(tenants):
        names.update(dict.fromkeys(edit.tenants))
        if not edit.one:
            selected.add(edit.of)
        elif not edit.create:
            wanted = edit.match.id or edit.match.name or ""
            named.update({(name, edit.of, wanted): edit for name in edit.tenants})
    box = Sandbox(
        names,
        hooks=25 if "hooks" in selected else 0,
        actions=6 if "actions" in selected else 0,
        bucket=BUCKETS["prod"],
        keep_log=False,
    )
    for number, ((name, _, _), edit) in enumerate(named.items()):
        with suppress(ValueError):  # one of that name is there already
            _pretend(box, name, number, edit)
    token = StaticToken(token=Given("sandbox"))
    async with serve(box) as url:
        # Those that no edit reaches too: a selector may name them under `not`. Headers of theirs
        # may be secrets, and what a real tenant takes is not what a job is rehearsed for, unless
        # somebody has said it.
        yield {
            name: replace(
                tenant,
                base_url=f"{url}/{name}",
                credential=token,
                route=Route(),
                headers={},
                lifecycle=tenant.lifecycle or "active",
            )
            for name, tenant in tenants.items()
        }


def _pretend(box: Sandbox, tenant: str, number: int, edit: Edit) -> None:
    """Put into a sandbox the one hook or action that an edit is for."""
    match, expect = edit.match, edit.expect
    of_hooks = edit.of == "hooks"
    triggers = get_args(hooks.Trigger if of_hooks else actions.Trigger)
    trigger = match.triggerId or expect.get("triggerId") or triggers[number % len(triggers)]
    name = match.name or expect.get("name") or f"{edit.of[:-1]}-{number + 1}"
    if of_hooks:
        box.add_hook(
            tenant,
            id=match.id,
            name=name,
            triggerId=trigger,
            enabled=expect.get("enabled", False),
            dependencies=expect.get("dependencies"),
            alone=True in (expect.get("enabled"), edit.set.get("enabled")),
        )
    else:
        box.add_action(
            tenant,
            name=name,
            triggerId=trigger,
            dependencies=expect.get("dependencies"),
            deployed=expect.get("deployed", True),
            bound=expect.get("bound", False),
        )
