"""Hooks and actions out to files, and jobs back in: exports, and jobs out of exported trees and
journals.

Nothing here writes to a tenant.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import anyio.to_thread

from . import actions, deploy, deploy_hooks, hooks, jobwriter, plan
from .actions import LOOK
from .auth0 import Log, ManagementClient, everywhere, without_journal
from .deploy_actions import (
    Comparison,
    LiveActions,
    TreeAction,
    TreeBindings,
    actions_section,
    read_actions,
    read_bindings,
    triggers_section,
)
from .errors import BadInput, Complaint, HooksGone, ItemError, Refused, TenantError
from .guards import Narrowing, narrowed_by
from .items import Edit, Fields, State, edit_of
from .journal import Journal
from .legacy import whole_hooks
from .source import Findings
from .tenants import Tenant

Tenants: TypeAlias = Mapping[str, Tenant]
_T = TypeVar("_T")

#: States of items that a journal's job may be made of.
LEFT: Final = (State.FAILED, State.SKIPPED, State.UNCERTAIN, State.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written of one tenant; `changes` tells by name which hooks the Deploy CLI would
    not import as they are, and what it would make of them."""

    hooks: int
    actions: int
    secrets: int
    changes: dict[str, str]
    remarks: tuple[str, ...]  #: on what was left out
    left_out: TenantError | None  #: why there are no hooks, or no actions, among it

    @property
    def whole(self) -> bool:
        """Whether all was written that there is."""
        return self.left_out is None or isinstance(self.left_out, HooksGone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What makes one tenant's live hooks and actions like its tree's: edits, and remarks for a
    person."""

    edits: tuple[Fields, ...]
    remarks: tuple[str, ...]
    complaints: tuple[Complaint, ...]
    left_out: TenantError | None  #: why hooks, or actions, were not compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left of a journal: a job's head and edits, and which part of it was asked for."""

    head: Fields
    edits: Iterator[Fields]
    narrowing: Narrowing


# ---- out to files


async def export_trees(
    tenants: Tenants, folder: Path, *, yaml: bool = False, log: Log | None = None
) -> dict[str, Exported | TenantError]:
    """Write every tenant's hooks, actions and what is bound to triggers to a folder of its own in
    `folder`, in the Deploy CLI's directory format or in its YAML format.

    Where only hooks, or only actions, cannot be read, the rest is written; a tenant of which
    nothing can be read has its error. `log` is told of every request. Raises Refused, before
    anything is read, where there are files already.
    """
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise Refused(f"{path} is not a folder")
    taken = [why for name in tenants if (why := deploy.occupied(folder / name))]
    if taken:
        raise Refused("\n".join([*taken, "name another folder with --to, or move these away"]))

    async def export(tenant: Tenant, client: ManagementClient) -> Exported:
        found, left_out = await _apart(
            hooks=_hooks_of(client, yaml), actions=_actions_of(client, yaml)
        )
        root, sections = folder / tenant.name, [each for one in found for each in one.sections]
        try:
            await anyio.to_thread.run_sync(lambda: deploy.write_tree(root, sections, yaml=yaml))
        except OSError as error:
            cause = f"{root} cannot be written: {error.strerror}"
            raise TenantError(cause, "correct that, then export it again") from error
        return Exported(
            hooks=sum(len(each.hooks) for each in found),
            actions=sum(each.actions for each in found),
            secrets=sum(each.secrets for each in found),
            changes=deploy_hooks.changes_by_import([name for each in found for name in each.hooks]),
            remarks=tuple(remark for each in found for remark in each.remarks),
            left_out=left_out,
        )

    return await everywhere(tenants.values(), export, log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Out:
    """Hooks or actions of a tenant that are to be written."""

    sections: tuple[deploy.Section, ...]
    secrets: int
    hooks: tuple[str, ...] = ()  #: their names
    actions: int = 0
    remarks: tuple[str, ...] = ()


async def _hooks_of(client: ManagementClient, yaml: bool) -> _Out:
    found = list((await whole_hooks(client, await hooks.list_all(client.read))).values())
    _check_told("a hook", found, "name", "script")
    return _Out(
        sections=(deploy_hooks.hooks_section(found, yaml=yaml),),
        secrets=sum(len(hook["secrets"]) for hook in found),
        hooks=tuple(hook["name"] for hook in found),
    )


async def _actions_of(client: ManagementClient, yaml: bool) -> _Out:
    shown = [raw for _, raw in (await actions.list_whole(client.read)).values()]
    _check_told("an action", shown, "name", "code")
    own = [action for action in shown if not action.get("integration")]
    remarks = [
        f"action {action['name']} is of the marketplace: left out"
        for action in shown
        if action.get("integration")
    ]
    supported = {id for action in shown for id in actions.triggers_of(action)}
    orders = {}
    for trigger in await actions.trigger_ids(client.read) if supported else ():
        if trigger in supported:
            try:
                orders[trigger] = await actions.read_bindings(trigger, client.read)
            except ItemError as error:  # there are triggers whose bindings Auth0 keeps to itself
                remarks.append(f"what is bound to {trigger} is left out: {error}")
    return _Out(
        sections=(actions_section(own, yaml=yaml), triggers_section(orders, yaml=yaml)),
        secrets=sum(len(action.get("secrets") or ()) for action in own),
        actions=len(own),
        remarks=tuple(remarks),
    )


def _check_told(what: str, shown: Iterable[Fields], *keys: str) -> None:
    for each in shown:
        for key in keys:
            if not isinstance(each.get(key), str):
                raise TenantError(f"the tenant does not tell {what}'s {key}", LOOK)


async def _apart(**kinds: Awaitable[_T]) -> tuple[list[_T], TenantError | None]:
    """Work on hooks and work on actions, at once: what comes of it, and why one of them could not
    be done. Raises TenantError where none could."""
    done: dict[str, _T] = {}
    trouble: dict[str, TenantError | ItemError] = {}

    async def run(kind: str, work: Awaitable[_T]) -> None:
        try:
            done[kind] = await work
        except (TenantError, ItemError) as error:
            trouble[kind] = error

    async with TaskGroup() as tasks:
        for kind, work in kinds.items():
            tasks.create_task(run(kind, work))
    if trouble and not done:
        raise next(trouble[kind] for kind in kinds if kind in trouble)
    found = [done[kind] for kind in kinds if kind in done]
    return found, _left_out(*trouble.popitem()) if trouble else None


def _left_out(kind: str, error: TenantError | ItemError) -> TenantError:
    told, ends = without_journal(error), isinstance(error, HooksGone)
    return (HooksGone if ends else TenantError)(f"{kind} are left out: {told.cause}", told.hint)


# ---- jobs back in


@dataclass(frozen=True, slots=True, kw_only=True)
class _TreeThings:
    """What is in one tenant's tree."""

    hooks: list[deploy.TreeEntry]
    actions: list[TreeAction]
    bindings: TreeBindings | None


@dataclass(slots=True)
class _Found:
    """What came of comparing hooks, or actions."""

    edits: list[Fields] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)


async def compare_trees(
    folder: Path,
    tenants: Tenants,
    *,
    tenant: str | None = None,
    mappings: deploy.Mappings | None = None,
    job_folder: Path | None = None,
    log: Log | None = None,
) -> dict[str, Compared | TenantError]:
    """Read the trees in `folder` and the live hooks and actions of their tenants: what a job has
    to say to create what is missing, set what differs, and bind to triggers what the trees have
    bound, in their order. What no tree has is left alone.

    `job_folder` is where the job will be, if its scripts may be named by their files; `log` is
    told of every request. Where only hooks, or only actions, cannot be read, the rest is compared.
    Raises BadInput with all that is wrong with the trees, Refused where it cannot be told whose
    they are.
    """
    found = Findings(str(folder))
    trees = {}
    for name, root in deploy.find_trees(folder, tenants, tenant).items():
        tree = deploy.Tree(root, tenants[name], mappings or deploy.Mappings(), found)
        trees[name] = _TreeThings(
            hooks=deploy_hooks.read_hooks(tree),
            actions=read_actions(tree),
            bindings=read_bindings(tree),
        )
    if found.count:
        raise BadInput(found.complaints)

    async def compare(tenant: Tenant, client: ManagementClient) -> Compared:
        tree, kinds = trees[tenant.name], dict[str, Awaitable[_Found]]()
        if tree.hooks:
            kinds["hooks"] = _compare_hooks(client, tree, job_folder)
        if tree.actions or tree.bindings:
            kinds["actions"] = _compare_actions(client, tree, job_folder)
        done, left_out = await _apart(**kinds)
        return Compared(
            edits=tuple({"tenant": tenant.name} | edit for each in done for edit in each.edits),
            remarks=tuple(remark for each in done for remark in each.remarks),
            complaints=tuple(wrong for each in done for wrong in each.complaints),
            left_out=left_out,
        )

    compared = await everywhere([tenants[name] for name in trees], compare, log=log)
    done = [each for each in compared.values() if isinstance(each, Compared)]
    if complaints := [complaint for each in done for complaint in each.complaints]:
        raise BadInput(complaints)
    return compared


async def _compare_hooks(
    client: ManagementClient, tree: _TreeThings, job_folder: Path | None
) -> _Found:
    live = await hooks.list_all(client.read)
    pairs, complaints = deploy_hooks.pair(tree.hooks, live)
    ids = {id: hook for hook, id in pairs if id is not None}
    masked = {id for id, hook in ids.items() if hook.masked}
    whole = await whole_hooks(client, {id: live[id] for id in ids}, masked)
    found = _Found(complaints=complaints)
    for hook, id in pairs:
        now = whole.get(id) if id is not None else None
        secrets = (now or {}).get("secrets", ())
        edit, told, wrong = deploy_hooks.edit_of(hook, now, secrets, job_folder)
        found.complaints += wrong
        found.remarks += [f"hook {hook.fields['name']}: {remark}" for remark in told]
        found.edits += [edit] if edit else []
    return found


async def _compare_actions(
    client: ManagementClient, tree: _TreeThings, job_folder: Path | None
) -> _Found:
    live = LiveActions(
        actions=await actions.list_whole(client.read),
        orders={
            trigger: await actions.read_bindings(trigger, client.read)
            for trigger in (tree.bindings.orders if tree.bindings else ())
        },
    )
    found = Comparison(tree.actions, tree.bindings, live, job_folder)
    return _Found(found.edits, found.remarks, found.complaints)


# ---- what a journal has left


@contextmanager
def left_of(path: Path, states: Iterable[State]) -> Iterator[Left]:
    """What is left of the journal at `path`, as a job: its edits as they are asked for, each for
    the tenants where it has items in one of `states`.

    Raises Refused for a journal whose edits are not a job's; JournalError.
    """
    with Journal.read(path) as journal:
        journal.check()
        if journal.meta("undoes"):
            raise Refused(f"{path} is an undo; `bulkhooks apply {path}` goes on with it")
        if journal.meta("moves"):
            raise Refused(f"{path} is a migration; `bulkhooks apply {path}` goes on with it")
        if journal.meta("sandbox"):
            raise Refused(f"{path}: its tenants were pretend ones; nothing is left to do on them")
        if not journal.meta("planned"):
            raise Refused(f"{path}: its plan was not finished; plan the job again")
        head = jobwriter.header(
            name=journal.meta("job"),
            note=journal.meta("note"),
            limits=plan.limits(journal),
            schedule=plan.schedule(journal),
        )
        edits = (
            jobwriter.as_written(edit, id=name, tenants=tenants)
            for name, body, tenants in journal.left(states)
            if isinstance(edit := edit_of(body), Edit)
        )
        yield Left(head=head, edits=edits, narrowing=narrowed_by(journal))
