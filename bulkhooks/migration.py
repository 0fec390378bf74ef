"""Hooks on their way to actions: each is one edit of a journal, a `Move`, made of what was found of
the hook, what the converter makes of its script, and where the values of its secrets are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from .actions import over_limits
from .convert import Conversion, Mode, convert, syntax_error
from .errors import ItemError, Refused, TenantError
from .items import SECRET, Fields, Move, State, Transform, edit_of
from .journal import Journal
from .legacy import SourceHook, Sources, script_digest
from .supplies import Supplies
from .transform import Transforms

#: Gives the action of a hook in the place of the one that is proposed; None: the hook stays.
#: Raises ItemError.
Propose: TypeAlias = Callable[[SourceHook, Fields], Fields | None]

#: What may stand in the place of a script's digest.
ALL: Final = "all"
_LOOK: Final = (
    "look at it by `bulkhooks migrate assess --html FILE`; give another action by --transform, or "
    "take this one as it is by --allow {digest}"
)
_OTHER: Final = "give another action by --transform"
_WRAP: Final = (
    "leave out --mode: what is not plain is wrapped; or give another action by --transform"
)
_CORRECT: Final = "correct the function, then plan anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How hooks become actions."""

    until: Literal["deploy", "off"] = "off"  #: "deploy": nothing is bound, and no hook goes off
    overlap: bool = True  #: for a moment both run, rather than neither
    mode: Mode | None = None  #: of the converter; None: as each script allows
    #: Digests of scripts of which not all can be carried over, and that are moved all the same.
    allowed: frozenset[str] = frozenset()
    propose: Propose | None = None


class _Proposal(NamedTuple):
    action: Fields | None
    blocked: str = ""
    hint: str = ""


def moves(sources: Sources, supplies: Supplies, way: Way) -> Iterator[tuple[str, Move]]:
    """Each hook's tenant and what becomes of it; for a tenant whose hooks could not be read one
    that says so. Raises Refused, at the end, where scripts are allowed that none has and all
    tenants could be read."""
    proposals = _Proposals(way)
    for tenant, found in sources.items():
        if isinstance(found, TenantError):
            yield tenant, _blocked("its hooks", found.cause, found.hint)
            continue
        for hook in found:
            yield tenant, _move(hook, proposals.of(hook), supplies, way)
    whole = not any(isinstance(found, TenantError) for found in sources.values())
    if whole and (strangers := proposals.strangers()):
        known = "the digest of a script, as `migrate assess` and a plan tell it, or `all`"
        raise Refused(f"--allow {', '.join(strangers)}: no hook has such a script; give {known}")


def prepared_moves(
    journal: Journal, tenants: Collection[str], *, overlap: bool
) -> Iterator[tuple[str, Move]]:
    """The rest of the way for all that a journal has prepared on `tenants`, with its tenant. Raises
    Refused where it is no such journal, or was undone, JournalError."""
    journal.check()
    if journal.meta("job") != "prepare" or not journal.meta("moves"):
        raise Refused(f"{journal.path} is no journal of `bulkhooks migrate prepare`")
    if other := journal.meta("undone_by"):
        raise Refused(f"{journal.path} was undone by {other}; prepare the hooks anew")
    done = journal.left([State.APPLIED, State.UNCHANGED])
    return (
        (tenant, msgspec.structs.replace(move, until="cutover", overlap=overlap))
        for _, body, found in done
        for tenant in found
        if tenant in tenants and isinstance(move := edit_of(body), Move)
    )


def proposing(transforms: Transforms, transform: Transform) -> Propose:
    """What asks a person's own function for the action of a hook."""

    def propose(hook: SourceHook, proposed: Fields) -> Fields | None:
        fields: Fields = {
            "id": hook.id,
            "name": hook.name,
            "triggerId": hook.triggerId,
            "enabled": hook.enabled,
            "script": hook.script,
            "dependencies": dict(hook.dependencies),
        }
        fields |= {SECRET + name: True for name in hook.secrets}
        return transforms.propose(transform, fields, proposed, tenant=hook.tenant)

    return propose


def _blocked(label: str, why: str, hint: str) -> Move:
    return Move(hook=None, label=label, script="", enabled=False, create={}, blocked=why, hint=hint)


def _move(hook: SourceHook, proposal: _Proposal, supplies: Supplies, way: Way) -> Move:
    if proposal.action is None:
        return _blocked(hook.name, proposal.blocked, proposal.hint)
    names = {name: supplies.reference(hook.tenant, hook.name, name) for name in hook.secrets}
    return Move(
        hook=hook.id,
        label=hook.name,
        script=hook.script,
        enabled=hook.enabled,
        create=proposal.action,
        set_secrets={name: found for name, found in names.items() if found is not None},
        lacking=tuple(name for name, found in names.items() if found is None),
        overlap=way.overlap,
        until=way.until,
        blocked=proposal.blocked,
        hint=proposal.hint,
    )


class _Proposals:
    """The actions of hooks; equal scripts are converted once."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._converted: dict[tuple[str, str, tuple[tuple[str, str], ...]], Conversion] = {}
        self._checked: dict[str, str | None] = {}
        self._met: set[str] = set()  #: digests of scripts

    def of(self, hook: SourceHook) -> _Proposal:
        """What becomes of a hook: its action, or why there is none."""
        conversion, digest = self._conversion(hook), script_digest(hook.script)
        self._met.add(digest)
        proposed: Fields = {
            "name": hook.name,
            "triggerId": hook.triggerId,
            "code": conversion.code,
            "dependencies": conversion.dependencies,
        }
        action: Fields | None = proposed
        if self._way.propose:
            try:
                action = self._way.propose(hook, proposed)
            except ItemError as error:
                return _Proposal(None, error.cause, _CORRECT)  # the same for all of its hooks
            if action is None:
                return _Proposal(None, "left as it is by the transform")
        assert action is not None
        own = action["code"] != conversion.code  # a person's, who knows what it must do
        if not own and (why := self._refused(conversion, digest)):
            if conversion.mode:
                return _Proposal(proposed, why, _LOOK.format(digest=digest))
            return _Proposal(None, why, _WRAP if self._way.mode == "rewrite" else _OTHER)
        if why := self._wrong(action, len(hook.secrets)):
            return _Proposal(action, why, _OTHER)
        return _Proposal(action)

    def strangers(self) -> list[str]:
        """What is allowed and no hook so far has."""
        return sorted(self._way.allowed - self._met - {ALL})

    def _conversion(self, hook: SourceHook) -> Conversion:
        key = hook.triggerId, hook.script, tuple(sorted(hook.dependencies.items()))
        if key not in self._converted:
            self._converted[key] = convert(
                hook.script, hook.triggerId, dependencies=hook.dependencies, mode=self._way.mode
            )
        return self._converted[key]

    def _refused(self, conversion: Conversion, digest: str) -> str:
        if not conversion.blockers and conversion.mode:
            return ""
        if conversion.mode and not self._way.allowed.isdisjoint({digest, ALL}):
            return ""
        line, what = 1, "no action can be made of it"
        for first in conversion.blockers[:1]:
            line, what = first.line, first.what
        more = len(conversion.blockers) - 1
        rest = f"; and {more} more" if more > 0 else ""
        return f"script {digest} cannot be carried over, line {line}: {what}{rest}"

    def _wrong(self, action: Mapping[str, object], secrets: int) -> str:
        """What the service would refuse of an action, or would build and then not run."""
        code, packages = str(action["code"]), action["dependencies"]
        for broken in over_limits(code, packages if isinstance(packages, dict) else {}, secrets):
            return broken
        if code not in self._checked:
            self._checked[code] = syntax_error(code)
        wrong = self._checked[code]
        return f"the action's code is not JavaScript: {wrong}" if wrong else ""
