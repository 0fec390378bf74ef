"""Which things of a tenant an edit is for: what its selector says, and what the call leaves."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from .items import Fields, Match, Narrowed


def fits(match: Match, id: str, fields: Fields, *, exact: bool) -> bool:
    """Whether a thing is what a selector is for; its name is a glob unless `exact`."""
    name = str(fields.get("name", ""))
    if match.id is not None and match.id != id.rpartition("/")[2]:
        return False
    if match.name is not None and not (
        name == match.name if exact else fnmatchcase(name, match.name)
    ):
        return False
    return (
        (match.triggerId is None or fields.get("triggerId") == match.triggerId)
        and (match.enabled is None or fields.get("enabled") == match.enabled)
        and (match.deployed is None or fields.get("deployed") == match.deployed)
        and (match.bound is None or fields.get("bound") == match.bound)
    )


def kept(narrowed: Narrowed | None, fields: Fields) -> bool:
    """Whether a thing is among those that the call was narrowed to."""
    if narrowed is None:
        return True
    name, trigger = str(fields.get("name", "")), fields.get("triggerId")
    return (
        (not narrowed.only_names or bool(met(narrowed.only_names, [name])))
        and (not narrowed.only_triggers or trigger in narrowed.only_triggers)
        and not met(narrowed.skip_names, [name])
        and trigger not in narrowed.skip_triggers
    )


def met(globs: Iterable[str], names: Iterable[str]) -> set[str]:
    """Those of some globs that one of the names meets."""
    return {glob for glob in globs if any(fnmatchcase(name, glob) for name in names)}
