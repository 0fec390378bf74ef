"""One edit as it is written: what it is for, what it changes, and all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from . import kinds, schema, transform
from .fields import ACTIONS, HOOKS, FieldsShape, Resource, check_code
from .items import Edit, Fields, Match, Transform
from .kinds import matcher, rule
from .references import MASKS, Reference
from .schema import is_of_actions
from .shape import Shape
from .source import Findings, dotted, read_below, shown
from .tenants import Tenant

#: Bytes in a hook's script, at most. Auth0 documents no limit for hooks.
MAX_SCRIPT: Final = 1_000_000

_GLOB: Final = re.compile(r"[*?\[]")
#: Tenants that a complaint names.
_NAMED: Final = 3

_SELECT: Final = Shape(schema.TenantSelector)
_TAGGED: Final = Shape(schema.Tagged)
_is_secret = matcher(kinds.SecretName)
_is_edit_id = matcher(kinds.EditId)
_Select: TypeAlias = Callable[[str, object], tuple[str, ...]]
#: What most edits have, and nothing else.
_USUAL: Final = {"tenant", "tenants", "hook", "hooks", "action", "actions", "set", "expect"}
#: What makes an edit one of hooks, where it has no `action` and no `actions`.
_OF_HOOKS: Final = ("hook", "hooks")
#: Keys, and characters of each, that are looked at for what was meant: that takes its time.
_LOOKED_AT: Final = 20


class EditCheck:
    """Checks edits one by one; all that is wrong with them goes to the findings."""

    def __init__(
        self,
        found: Findings,
        tenants: Mapping[str, Tenant],
        folder: Path,
        only_tags: tuple[str, ...],
    ) -> None:
        self._found = found
        self._tenants = tenants
        self._tags = sorted({tag for tenant in tenants.values() for tag in tenant.tags})
        self._rank = {name: rank for rank, name in enumerate(tenants)}
        self._folder = folder
        self._only_tags = only_tags
        self._barred = {
            name
            for name, tenant in tenants.items()
            if only_tags and tenant.tags.isdisjoint(only_tags)
        }
        for index, tag in enumerate(only_tags):
            if tag not in self._tags:
                found.unknown(f"only_tags[{index}]", "tag", tag, self._tags)
        # Long jobs say the same again and again: what costs time is done once.
        self._named = lru_cache(maxsize=1000)(self._find_named)
        self._script = lru_cache(maxsize=32)(self._read_script)
        self._transform = lru_cache(maxsize=32)(transform.find)

    def edit(self, raw: object, line: int) -> Edit | None:
        """The edit that `raw` is; None, with complaints, if it is none."""
        found = self._found
        before = found.count
        of = HOOKS
        if isinstance(raw, dict) and (is_of_actions(raw) or _nearly_of_actions(raw)):
            of, raw = ACTIONS, self._without_hooks(raw)
        written = of.edit.of(found, "", raw)
        if not written:
            return None
        tenants = self._tenants_of(written)
        match = self._match(written, of)
        fields = self._fields("set", written, of, of.set)
        expect = self._fields("expect", written, of, of.expect)
        rest = {} if written.keys() <= _USUAL else self._rest(written, of)
        if found.count != before:
            return None
        return Edit(
            digest=_digest(written),
            line=line,
            tenants=tenants,
            of=of.of,
            match=match,
            one=of.of not in written,
            set=fields,
            expect=expect,
            **rest,
        )

    def _without_hooks(self, raw: Mapping[str, object]) -> dict[str, object]:
        """An edit of actions without what would make it one of hooks as well."""
        for key in _OF_HOOKS:
            if key in raw:
                self._found.add(key, "is for hooks, the rest for an action; write two edits")
        return {key: value for key, value in raw.items() if key not in _OF_HOOKS}

    def _rest(self, edit: Mapping[str, object], of: Resource) -> dict[str, Any]:
        """What few edits have."""
        found, rest = self._found, self._acts(edit, of)
        if "id" in edit:
            rest["id"] = ident = found.text("id", edit["id"])
            if ident is not None and not (_is_edit_id(ident) and ident.isprintable()):
                found.add("id", f"must be {rule(kinds.EditId)}")
        if "note" in edit:
            rest["note"] = found.text("note", edit["note"])
        if "allow_empty" in edit:
            rest["allow_empty"] = found.boolean("allow_empty", edit["allow_empty"])
        return rest

    def _acts(self, edit: Mapping[str, object], of: Resource) -> dict[str, Any]:
        """What few edits do."""
        acts = dict[str, Any]()
        if "create" in edit:
            acts["create"] = self._fields("create", edit, of, of.create)
        for key in ("delete", "deploy"):
            if key in edit:
                acts[key] = edit[key]
                if edit[key] is not True:
                    self._found.add(key, f"must be true, not {shown(edit[key])}")
        if "transform" in edit:
            acts["transform"] = self._find_transform(edit["transform"])
        if "set_secrets" in edit:
            acts["set_secrets"] = self._set_secrets(edit["set_secrets"], of.max_secrets)
        if "remove_secrets" in edit:
            also_set = edit.get("set_secrets")
            acts["remove_secrets"] = self._remove_secrets(edit["remove_secrets"], also_set)
        return acts

    # ---- which tenants

    def _tenants_of(self, edit: Mapping[str, object]) -> tuple[str, ...]:
        names: tuple[str, ...] = ()
        if "tenant" in edit:
            names = self._one_tenant(edit["tenant"])
        elif isinstance(value := edit.get("tenants", ""), dict):
            names = self._selected(value)
        elif "tenants" in edit:
            names = self._any_of("tenants", value)
        if self._barred and not self._barred.isdisjoint(names):
            self._complain_of_barred("tenant" if "tenant" in edit else "tenants", names)
        return names

    def _one_tenant(self, value: object) -> tuple[str, ...]:
        name = self._found.text("tenant", value)
        if name is not None and name not in self._tenants and _GLOB.search(name):
            self._found.add(
                "tenant", f"must be one name; for a glob write {shown(f'tenants: {name}')}"
            )
            return ()
        return () if name is None else self._names("tenant", name)

    def _complain_of_barred(self, key: str, names: tuple[str, ...]) -> None:
        barred = [name for name in names if name in self._barred]
        few = ", ".join(map(shown, barred[:_NAMED]))
        more = f" and {len(barred) - _NAMED} more" if len(barred) > _NAMED else ""
        has = "has" if len(barred) == 1 else "have"
        tags = ", ".join(self._only_tags)
        self._found.add(key, f"reaches {few}{more}, which {has} none of only_tags ({tags})")

    def _selected(self, value: object) -> tuple[str, ...]:
        """The tenants of a mapping: all that it gives must hold."""
        found = self._found
        before = found.count
        raw = _SELECT.of(found, "tenants", value)
        if not raw:
            return ()
        names = set(self._tenants)
        if "names" in raw:
            names.intersection_update(self._any_of("tenants.names", raw["names"]))
        if "tags" in raw:
            names.intersection_update(self._tagged("tenants.tags", raw["tags"]))
        if "not" in raw:
            names.difference_update(self._any_of("tenants.not", raw["not"], self._tags_mapping))
        if not names and found.count == before:
            found.add("tenants", "no tenant is left of those that it names")
        return self._ordered(names)

    def _any_of(self, key: str, value: object, mapping: _Select | None = None) -> tuple[str, ...]:
        """The tenants of a name, a glob or a list of these; `mapping` reads what is a mapping."""
        if not isinstance(value, list):
            return self._each(key, value, mapping)
        if not value:
            self._found.add(key, "is an empty list")
        every: set[str] = set()
        for index, item in enumerate(value):
            every.update(self._each(f"{key}[{index}]", item, mapping))
        return self._ordered(every)

    def _each(self, key: str, value: object, mapping: _Select | None) -> tuple[str, ...]:
        if mapping is not None and isinstance(value, dict):
            return mapping(key, value)
        name = self._found.text(key, value)
        return () if name is None else self._names(key, name)

    def _names(self, key: str, name: str) -> tuple[str, ...]:
        """The tenants of a name or glob."""
        names = self._named(name)
        if not names:
            kind = "tenant" if not _GLOB.search(name) else "tenants"
            self._found.unknown(key, kind, name, self._tenants)
        return names

    def _find_named(self, name: str) -> tuple[str, ...]:
        if name in self._tenants:
            return (name,)
        if not _GLOB.search(name):
            return ()
        return tuple(known for known in self._tenants if fnmatchcase(known, name))

    def _tags_mapping(self, key: str, value: object) -> tuple[str, ...]:
        raw = _TAGGED.of(self._found, key, value)
        return self._tagged(f"{key}.tags", raw["tags"]) if "tags" in raw else ()

    def _tagged(self, key: str, value: object) -> tuple[str, ...]:
        """The tenants that have all of the tags."""
        found = self._found
        if not isinstance(value, list) or not value:
            found.add(key, "must be a list like [prod, eu]")
            return ()
        before = found.count
        tags: set[str] = set()
        for index, item in enumerate(value):
            tag = found.text(f"{key}[{index}]", item)
            if tag is not None and tag not in self._tags:
                found.unknown(f"{key}[{index}]", "tag", tag, self._tags)
            elif tag is not None:
                tags.add(tag)
        names = tuple(name for name, tenant in self._tenants.items() if tenant.tags >= tags)
        if not names and found.count == before:
            found.add(key, "no tenant has all of these tags")
        return names

    def _ordered(self, names: set[str]) -> tuple[str, ...]:
        return tuple(sorted(names, key=self._rank.__getitem__))

    # ---- which hooks or actions, and what is to become of them

    def _match(self, edit: Mapping[str, object], of: Resource) -> Match:
        if of.of in edit:
            return Match(**of.select.checked(self._found, of.of, edit[of.of]))
        if of.one not in edit:
            return Match()
        value = edit[of.one]
        if isinstance(value, dict):
            return Match(**of.pick.checked(self._found, of.one, value))
        of.id(self._found, of.one, value)
        return Match(id=value if isinstance(value, str) else None)

    def _fields(
        self, key: str, edit: Mapping[str, object], of: Resource, shape: FieldsShape
    ) -> Fields:
        """The mapping of fields at `key`, if any; a file's text is in its field's place."""
        if key not in edit:
            return {}
        found, file = self._found, f"{of.text}_file"
        fields = shape.checked(found, key, edit[key])
        written = fields.pop(file, None)
        if isinstance(written, str) and written and of.text not in fields:
            fields[of.text], wrong = self._script(written)
            if wrong:
                found.add(f"{key}.{file}", wrong)
            elif of is ACTIONS:
                check_code(found, f"{key}.{file}", fields[of.text])
        return fields

    def _find_transform(self, value: object) -> Transform | None:
        name = self._found.text("transform", value)
        try:
            return None if name is None else self._transform(name, self._folder)
        except ValueError as error:
            self._found.add("transform", str(error))
            return None

    def _read_script(self, written: str) -> tuple[str, str]:
        """The text of a script file, and what is wrong with it."""
        try:
            _, data = read_below(self._folder, written, MAX_SCRIPT)
            text = data.decode()
        except UnicodeDecodeError:
            return "", f"{shown(written)} is not UTF-8"
        except ValueError as error:
            return "", str(error)
        return text, "" if text else f"{shown(written)} is empty"

    def _set_secrets(self, value: object, most: int) -> dict[str, str]:
        """References by the names of secrets. No complaint shows a value: it may be the secret."""
        found = self._found
        if not isinstance(value, dict) or not 1 <= len(value) <= most:
            found.add("set_secrets", f"must be a mapping of 1 to {most} names to references")
            return {}
        references = {}
        for name, written in value.items():
            key = dotted("set_secrets", name)
            _secret_name(found, key, name)
            if isinstance(written, str) and written in MASKS:
                found.add(key, "is what Auth0 shows in place of a secret; leave the name out")
                continue
            try:
                reference = Reference.parse(written, self._folder, ("env", "file"))
                references[name] = str(reference)
            except ValueError as error:
                found.add(key, str(error))
        return references

    def _remove_secrets(self, value: object, also_set: object) -> tuple[str, ...]:
        found = self._found
        if not isinstance(value, list) or not value:
            found.add("remove_secrets", "must be a list of names")
            return ()
        names = dict[str, None]()
        for index, item in enumerate(value):
            key = f"remove_secrets[{index}]"
            name = found.text(key, item)
            if name is None:
                continue
            _secret_name(found, key, name)
            if isinstance(also_set, dict) and name in also_set:
                found.add(key, f"{shown(name)} is set by the same edit")
            names[name] = None
        return tuple(names)


def _digest(written: Mapping[str, object]) -> str:
    content = {key: value for key, value in written.items() if key not in ("id", "note")}
    return blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _nearly_of_actions(raw: Mapping[str, object]) -> bool:
    """Whether an edit is meant for actions, though the key that would say so has a mistake."""
    if not raw.keys().isdisjoint(_OF_HOOKS):
        return False
    odd = [key for key in raw if key not in HOOKS.edit.keys][:_LOOKED_AT]
    return any(get_close_matches(key[:_LOOKED_AT], (ACTIONS.one, ACTIONS.of), 1) for key in odd)


def _secret_name(found: Findings, key: str, name: str) -> None:
    if not _is_secret(name):
        found.add(key, f"{shown(name)} cannot name a secret: {rule(kinds.SecretName)}")
