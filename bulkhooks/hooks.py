"""Hooks: their fields and rules, and what an edit of a hook means."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeAlias

import msgspec

Trigger = Literal[
    "credentials-exchange",
    "pre-user-registration",
    "post-user-registration",
    "post-change-password",
    "send-phone-message",
]

#: What the API takes as a hook's name (UpdateHookRequestContent of Auth0's OpenAPI description).
NAME: Final = re.compile(r"^[a-zA-Z0-9]([ \-a-zA-Z0-9]*[a-zA-Z0-9])?\Z")
#: What the API takes as a hook's id.
ID: Final = re.compile(r"^[A-Za-z0-9-]+\Z")

#: Fields of a hook under the API's own names, or some of them.
Fields: TypeAlias = dict[str, Any]


class HookMatch(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which hooks of a tenant an edit is for. All that is given must hold."""

    id: str | None = None
    name: str | None = None  #: a glob in a `hooks:` selector, the exact name in `hook:`
    triggerId: Trigger | None = None
    enabled: bool | None = None


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One edit of a job, checked: names are known, values are what the API takes."""

    digest: str  #: of the edit as it was written, `id` and `note` left out; 32 hex digits
    line: int  #: in the job file; for a job built in code, the edit's number from 1
    tenants: tuple[str, ...]  #: at least one, in the tenants file's order
    match: HookMatch
    one: bool  #: `hook:` (exactly one, missing is a failure) rather than `hooks:` (every match)
    set: Fields  #: of name, script, enabled, dependencies; at least one; `script` is the text
    expect: Fields = {}
    id: str | None = None  #: as the job gives it
    note: str | None = None
    allow_empty: bool = False
