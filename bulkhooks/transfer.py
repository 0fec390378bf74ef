"""Hooks out to files, and jobs back in: exports, and jobs out of exported trees and journals.

Nothing here writes to a tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import anyio.to_thread

from . import deploy, hooks, jobwriter, plan
from .auth0 import Log, ManagementClient, everywhere
from .errors import BadInput, Complaint, Refused, TenantError
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
    secrets: int
    changes: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What makes one tenant's live hooks like its tree's: edits, and remarks for a person."""

    edits: tuple[Fields, ...]
    remarks: tuple[str, ...]
    complaints: tuple[Complaint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left of a journal: a job's head and edits, and which part of it was asked for."""

    head: Fields
    edits: Iterator[Fields]
    narrowing: Narrowing


async def export_hooks(
    tenants: Tenants, folder: Path, *, yaml: bool = False, log: Log | None = None
) -> dict[str, Exported | TenantError]:
    """Write every tenant's hooks to a folder of its own in `folder`, in the Deploy CLI's directory
    format or in its YAML format; a tenant that cannot be read has its error. `log` is told of
    every request.

    Raises Refused, before anything is read, where there are files already.
    """
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise Refused(f"{path} is not a folder")
    taken = [why for name in tenants if (why := deploy.occupied(folder / name))]
    if taken:
        raise Refused("\n".join([*taken, "name another folder with --to, or move these away"]))

    async def export(tenant: Tenant, client: ManagementClient) -> Exported:
        found = list((await whole_hooks(client, await hooks.list_all(client.read))).values())
        for hook in found:
            for key in ("name", "script"):
                if not isinstance(hook.get(key), str):
                    cause = f"the tenant does not tell a hook's {key}"
                    raise TenantError(cause, "look at the tenant's base_url")
        root = folder / tenant.name
        try:
            await anyio.to_thread.run_sync(lambda: deploy.write_tree(root, found, yaml=yaml))
        except OSError as error:
            cause = f"{root} cannot be written: {error.strerror}"
            raise TenantError(cause, "correct that, then export it again") from error
        return Exported(
            hooks=len(found),
            secrets=sum(len(hook["secrets"]) for hook in found),
            changes=deploy.changes_by_import([hook["name"] for hook in found]),
        )

    return await everywhere(tenants.values(), export, log=log)


async def compare_trees(
    folder: Path,
    tenants: Tenants,
    *,
    tenant: str | None = None,
    mappings: deploy.Mappings | None = None,
    job_folder: Path | None = None,
    log: Log | None = None,
) -> dict[str, Compared | TenantError]:
    """Read the trees in `folder` and the live hooks of their tenants: what a job has to say to
    create what is missing and set what differs. Live hooks that no tree has are left alone.

    `job_folder` is where the job will be, if its scripts may be named by their files; `log` is
    told of every request. Raises BadInput with all that is wrong with the trees, Refused where it
    cannot be told whose they are.
    """
    found = Findings(str(folder))
    trees = {
        name: deploy.read_tree(root, tenants[name], mappings or deploy.Mappings(), found)
        for name, root in deploy.find_trees(folder, tenants, tenant).items()
    }
    if found.count:
        raise BadInput(found.complaints)

    async def compare(tenant: Tenant, client: ManagementClient) -> Compared:
        live = await hooks.list_all(client.read)
        pairs, complaints = deploy.pair(trees[tenant.name], live)
        ids = {id: hook for hook, id in pairs if id is not None}
        masked = {id for id, hook in ids.items() if hook.masked}
        whole = await whole_hooks(client, {id: live[id] for id in ids}, masked)
        edits, remarks = [], []
        for hook, id in pairs:
            now = whole.get(id) if id is not None else None
            edit, told, wrong = deploy.edit_of(
                hook, now, (now or {}).get("secrets", ()), job_folder
            )
            complaints += wrong
            remarks += [f"hook {hook.fields['name']}: {remark}" for remark in told]
            if edit:
                edits.append({"tenant": tenant.name} | edit)
        return Compared(edits=tuple(edits), remarks=tuple(remarks), complaints=tuple(complaints))

    compared = await everywhere([tenants[name] for name in trees], compare, log=log)
    done = [each for each in compared.values() if isinstance(each, Compared)]
    if complaints := [complaint for each in done for complaint in each.complaints]:
        raise BadInput(complaints)
    return compared


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
            name=journal.meta("job"), note=journal.meta("note"), limits=plan.limits(journal)
        )
        edits = (
            jobwriter.as_written(edit, id=name, tenants=tenants)
            for name, body, tenants in journal.left(states)
            if isinstance(edit := edit_of(body), Edit)
        )
        yield Left(head=head, edits=edits, narrowing=narrowed_by(journal))
