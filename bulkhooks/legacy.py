"""The hooks that are to become actions: read from their tenants, or from files that were exported
while that was possible.

Nothing here writes to a tenant.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

from . import deploy, hooks
from .answers import MOVE
from .auth0 import Log, ManagementClient, WatchTenants, everywhere
from .deploy_hooks import read_hooks as read_tree_hooks
from .errors import BadInput, Gone, ItemError, Refused, TenantError
from .guards import Narrowing, whole_tenants
from .items import SECRET, Fields
from .source import Findings
from .tenants import Tenant

#: Hooks that are read at once on one tenant; the limiter and the bound above pace their requests.
_AT_ONCE: Final = 32
_FILES: Final = "take them from files that were exported before: --from DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHook:
    """One hook as it was found; hooks with equal scripts hold one text."""

    tenant: str
    id: str | None  #: None: it was read from a file
    file: str | None  #: None: it was read from its tenant
    name: str
    triggerId: str
    enabled: bool
    script: str
    dependencies: Mapping[str, str]
    secrets: tuple[str, ...]  #: their names


#: The hooks of each tenant, or why they could not be read.
Sources: TypeAlias = dict[str, tuple[SourceHook, ...] | TenantError]
#: Is awaited for each tenant whose hooks were read from there, with the client that read them.
Beside: TypeAlias = Callable[[ManagementClient, tuple[SourceHook, ...]], Awaitable[None]]


def script_digest(script: str) -> str:
    """What a script, or an action's code, is called: 16 hex digits, as the converter tells a
    script's in the code that it makes."""
    return sha256(script.encode(errors="surrogatepass")).hexdigest()[:16]


async def read_hooks(
    tenants: Mapping[str, Tenant],
    *,
    narrowing: Narrowing | None = None,
    folder: Path | None = None,
    tenant: str | None = None,
    mappings: deploy.Mappings | None = None,
    beside: Beside | None = None,
    watch: WatchTenants | None = None,
    log: Log | None = None,
) -> Sources:
    """The hooks of the tenants that `narrowing` leaves: of all of them at once from where they
    are, or from the trees in `folder`; then those that have one, and no request is sent.

    `tenant` says whose tree `folder` itself is, `mappings` what the markers in it stand for.
    `beside` reads what else is wanted of a tenant, `watch` is given the names of those that are
    not done yet, `log` is told of every request. A tenant whose hooks cannot be read has its
    error. Raises BadInput with all that is wrong with the trees, Refused where nothing is left to
    be read or it cannot be told whose a tree is.
    """
    chosen = whole_tenants(tenants, narrowing or Narrowing())
    texts: dict[str, str] = {}
    if folder is not None:
        return _in_trees(folder, tenants, chosen, tenant, mappings or deploy.Mappings(), texts)

    async def read(tenant: Tenant, client: ManagementClient) -> tuple[SourceHook, ...]:
        try:
            whole = await whole_hooks(client, await hooks.list_all(client.read))
        except TenantError as error:
            raise type(error)(error.cause, error.hint.replace(MOVE, _FILES)) from error
        found = tuple(_live(tenant.name, fields, texts) for fields in whole.values())
        if beside:
            await beside(client, found)
        return found

    return await everywhere(chosen.values(), read, watch=watch, log=log)


async def whole_hooks(
    client: ManagementClient, listed: Mapping[str, Fields], secrets_of: Iterable[str] | None = None
) -> dict[str, Fields]:
    """Hooks with their scripts and, under `secrets`, the names of their secrets (of all hooks
    unless `secrets_of` says which). One that was deleted meanwhile is left out."""
    ids = iter(listed)
    wanted = set(listed if secrets_of is None else secrets_of)
    whole: dict[str, Fields] = {}
    trouble: list[TenantError | ItemError] = []

    async def read() -> None:
        for id in ids:
            try:
                fields = await hooks.read_hook(id, client.read)
                secrets = await client.read(hooks.get_secrets(id)) if id in wanted else {}
                names = [key.removeprefix(SECRET) for key in hooks.secrets_in(secrets)]
                # In the order of the hook's own answer, as the Deploy CLI writes it.
                rest = {key: value for key, value in listed[id].items() if key not in fields}
                whole[id] = fields | rest | {"secrets": names}
            except Gone:
                continue
            except (TenantError, ItemError) as error:
                trouble.append(error)
            if trouble:
                return

    async with TaskGroup() as tasks:
        for _ in range(min(_AT_ONCE, len(listed))):
            tasks.create_task(read())
    if trouble:
        raise trouble[0]
    return {id: whole[id] for id in listed if id in whole}


def _live(tenant: str, fields: Fields, texts: dict[str, str]) -> SourceHook:
    for key in ("name", "triggerId", "script"):
        if key not in fields:
            cause = f"the tenant does not tell a hook's {key}"
            raise TenantError(cause, "look at the tenant's base_url")
    return _source(fields, texts, tenant=tenant, id=fields["id"], secrets=fields["secrets"])


def _source(
    fields: Fields,
    texts: dict[str, str],
    *,
    tenant: str,
    id: str | None = None,
    file: str | None = None,
    secrets: Iterable[str],
) -> SourceHook:
    """A hook whose script is one with the others in `texts` that are equal to it."""
    found: dict[str, Any] = {key: fields[key] for key in ("name", "triggerId")}
    return SourceHook(
        **found,
        tenant=tenant,
        id=id,
        file=file,
        enabled=fields.get("enabled", False),
        script=texts.setdefault(fields["script"], fields["script"]),
        dependencies=fields.get("dependencies", {}),
        secrets=tuple(sorted(secrets)),
    )


def _in_trees(
    folder: Path,
    tenants: Mapping[str, Tenant],
    chosen: Mapping[str, Tenant],
    tenant: str | None,
    mappings: deploy.Mappings,
    texts: dict[str, str],
) -> Sources:
    if not folder.is_dir():
        raise Refused(f"{folder} is not a folder")
    roots = deploy.find_trees(folder, tenants, tenant)
    roots = {name: root for name, root in roots.items() if name in chosen}
    if not roots:
        raise Refused(f"{folder} has no files of the tenants that --only and --skip leave")
    found = Findings(str(folder))
    sources: Sources = {}
    for name, root in roots.items():
        tree = read_tree_hooks(deploy.Tree(root, tenants[name], mappings, found))
        found.take(*(hook.not_replaced() for hook in tree if hook.lacking))
        sources[name] = tuple(_in_file(name, hook, texts) for hook in tree)
    if found.count:
        raise BadInput(found.complaints)
    return sources


def _in_file(tenant: str, hook: deploy.TreeEntry, texts: dict[str, str]) -> SourceHook:
    secrets = (*hook.references, *hook.masked, *hook.literal)
    return _source(hook.fields, texts, tenant=tenant, file=hook.file, secrets=secrets)
