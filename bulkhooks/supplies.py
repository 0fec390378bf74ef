"""Where the values of secrets are found when hooks move: Auth0 shows none, so somebody says it.

A file of references, by a rule of nearness. No value is read here, and none is ever shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeAlias

from . import kinds, schema
from .kinds import matcher, rule
from .references import MASKS, Reference
from .shape import Shape
from .source import Findings, check_file, dotted, read_document, shown
from .tenants import Tenant

#: Bytes in the file, at most.
_MAX_FILE: Final = 4_000_000
_FILE: Final = Shape(schema.SecretsFile)
_hook_name = matcher(kinds.HookName)
_hook_glob = matcher(kinds.HookGlob)
_secret_name = matcher(kinds.SecretName)

#: References by the names of secrets.
_References: TypeAlias = Mapping[str, Reference]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """References to the values of secrets.

    The nearest word on a secret counts: under `tenants` by TENANT/HOOK, under `hooks` by the hook's
    name, under `tenants` by the tenant's name, under `secrets`. Under `tenants` names go before
    globs, and of these the first that matches.
    """

    secrets: _References
    tenants: Mapping[str, _References]  #: of TENANT or TENANT/HOOK, in the order of the file
    hooks: Mapping[str, _References]

    @classmethod
    def load(cls, path: Path, tenants: Mapping[str, Tenant]) -> Supplies:
        """Reads a YAML or JSON file that speaks of some of `tenants`; its `file:` paths start in
        its folder. Raises BadInput with all that is wrong with it."""
        document = read_document(path, limit=_MAX_FILE)
        found = Findings(str(path), document.lines)
        found.take(*document.complaints)
        named = _names(found, "", document.value)
        raw = _FILE.of(found, "", named) if named else {}
        given = _Given(found, path.parent)
        supplies = cls(
            secrets=given.references("secrets", raw["secrets"]) if "secrets" in raw else {},
            tenants=given.each("tenants", raw),
            hooks=given.each("hooks", raw),
        )
        for name in supplies.tenants:
            tenant, slash, hook = name.partition("/")
            if not any(fnmatchcase(known, tenant) for known in tenants):
                found.unknown(dotted("tenants", name), "tenant", tenant, tenants)
            if slash and not _hook_glob(hook):
                what = f"{shown(hook)} matches no hook name: {rule(kinds.HookGlob)}"
                found.add(dotted("tenants", name), what)
        for name in supplies.hooks:
            if not _hook_name(name):
                what = f"{shown(name)} is no hook name: {rule(kinds.HookName)}"
                found.add(dotted("hooks", name), what)
        found.close()
        return supplies

    def reference(self, tenant: str, hook: str, name: str) -> str | None:
        """Where the value of a hook's secret is found, as a job has it; None: nothing says."""
        found = self._nearest(tenant, hook, name)
        return None if found is None else str(found)

    def lack(self, tenant: str, hook: str, name: str) -> str:
        """Why there is no value of a hook's secret; "" where there is a reference, and the
        variable is set or the file there that it leads to. The value is not read."""
        found = self._nearest(tenant, hook, name)
        if found is None:
            return "nothing says where"
        if found.kind == "env":
            return "" if os.environ.get(found.value) else f"variable {found.value} is not set"
        try:
            check_file(found.folder / found.value)
        except ValueError as error:
            return f"file {found.value} {error}"
        return ""

    def _nearest(self, tenant: str, hook: str, name: str) -> Reference | None:
        return next((each[name] for each in self._near(tenant, hook) if name in each), None)

    def _near(self, tenant: str, hook: str) -> Iterator[_References]:
        """What speaks of a hook's secrets, the nearest first."""
        yield from self._of(f"{tenant}/{hook}")
        yield self.hooks.get(hook, {})
        yield from self._of(tenant)
        yield self.secrets

    def _of(self, name: str) -> Iterator[_References]:
        """What is under `tenants` for a name, of a tenant or of a tenant and its hook."""
        yield self.tenants.get(name, {})
        for glob, each in self.tenants.items():
            if ("/" in glob) is ("/" in name) and fnmatchcase(name, glob):
                yield each


#: Nothing is supplied.
NONE: Final = Supplies(secrets={}, tenants={}, hooks={})


class _Given:
    """Reads the references of a file. No complaint shows what stands in the place of one: it may
    be the secret."""

    def __init__(self, found: Findings, folder: Path) -> None:
        self._found, self._folder = found, folder

    def each(self, key: str, raw: Mapping[str, object]) -> dict[str, _References]:
        """The references of each name in the mapping at a key, if there is one."""
        named = _names(self._found, key, raw[key]) if key in raw else {}
        return {name: self.references(dotted(key, name), given) for name, given in named.items()}

    def references(self, key: str, value: object) -> _References:
        """The references in the mapping that `value` is."""
        found, references = self._found, dict[str, Reference]()
        for name, written in _names(found, key, value).items():
            at = dotted(key, name)
            if not _secret_name(name):
                found.add(at, f"{shown(name)} cannot name a secret: {rule(kinds.SecretName)}")
            if isinstance(written, str) and written in MASKS:
                found.add(at, "is what Auth0 shows in place of a secret; leave the name out")
                continue
            try:
                references[name] = Reference.parse(written, self._folder, ("env", "file"))
            except ValueError as error:
                found.add(at, str(error))
        return references


def _names(found: Findings, key: str, value: object) -> dict[str, object]:
    """The mapping that `value` is, with something in it; what it is instead is not shown."""
    if isinstance(value, dict) and value:
        return value
    found.add(key, "must be a mapping with at least one name in it")
    return {}
