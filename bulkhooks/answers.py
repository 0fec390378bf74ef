"""What an answer means: a value, or an error that says how far the damage reaches, and what to do.

The table below is the whole of it; docs/answers.md shows the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import orjson

from .errors import Ended, Gone, HooksGone, ItemError, NoActions, TenantError, Unsure
from .items import Call, Reply
from .secrecy import veiled

#: Looks at the call and at what the answer says, in lower case: its errorCode and its message.
Test: TypeAlias = Callable[[Call, str], bool]

#: Characters of a server's message that are shown and kept.
_MESSAGE: Final = 200
#: Bytes of a body in which it is looked for.
_LONGEST: Final = 100_000
#: A code that a server gives an error: one plain word.
_CODE: Final = re.compile(r"[a-z_]{1,40}\Z")
#: The way out of hooks that are at their end.
MOVE: Final = "move this tenant's hooks to Actions: bulkhooks migrate"
PROXY_WANTS: Final = (
    "give the proxy a user and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
)
REDIRECTS: Final = "the address redirects, which is never followed; correct domain or base_url"
#: Where to look when it is not the API that answers.
BETWEEN: Final = "look at what stands between here and the tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One row of the table."""

    status: Collection[int]
    error: type[ItemError | TenantError]
    hint: str  #: what to do; {scope} and {client} are filled in
    when: str = ""  #: what else must hold, in words
    test: Test = lambda call, said: True

    @property
    def reach(self) -> str:
        """What it stops, in words."""
        if self.error is Unsure:
            return "nothing yet: a read is asked again, a write read back first"
        if self.error is NoActions:
            return "what needs that of the tenant's actions"
        return "the tenant" if issubclass(self.error, TenantError) else "the item"


def _says(*words: str) -> Test:
    return lambda call, said: any(word in said for word in words)


def _ended(call: Call, said: str) -> bool:
    words = ("deprecated feature", "disabled for your tenant", "read-only", "read only")
    return any(word in said for word in words)


_FROZEN: Final = "hooks are read-only here: enabled and secrets can change, nothing else; " + MOVE

#: The first row that fits counts. (Statuses of 200 to 299 are values; 401 is asked again with a
#: new token, and 429 after a wait, before they come here.)
TABLE: Final = (
    Meaning(status=(400,), error=ItemError, hint="correct the edit"),
    Meaning(
        status=(401,),
        error=TenantError,
        hint="the token is refused; give this tenant a valid one",
    ),
    Meaning(
        status=(403,),
        when="`insufficient_scope`, or the message names a scope, to a call of actions",
        test=lambda call, said: call.of_actions and "scope" in said,
        error=NoActions,
        hint="grant {scope} to {client}, then apply --failed",
    ),
    Meaning(
        status=(403,),
        when="`insufficient_scope`, or the message names a scope",
        test=_says("scope"),
        error=TenantError,
        hint="grant {scope} to {client}",
    ),
    Meaning(
        status=(403,),
        when='"deprecated feature", "disabled for your tenant" or "read-only", to a write of what '
        "read-only hooks do not take",
        test=lambda call, said: call.frozen and _ended(call, said),
        error=Ended,
        hint=_FROZEN,
    ),
    Meaning(
        status=(405, 410, 501),
        when="to a write of what read-only hooks do not take",
        test=lambda call, said: call.frozen,
        error=Ended,
        hint=_FROZEN,
    ),
    Meaning(
        status=(403,),
        when='"deprecated feature", "disabled for your tenant" or "read-only", to another call of '
        "hooks",
        test=lambda call, said: not call.of_actions and _ended(call, said),
        error=HooksGone,
        hint="hooks are at their end here; " + MOVE,
    ),
    Meaning(
        status=(403,),
        when="anything else, to a call of actions",
        test=lambda call, said: call.of_actions,
        error=NoActions,
        hint="{client} may not do that; ask the tenant's owner what its plan covers",
    ),
    Meaning(
        status=(403,),
        when="`insufficient_entitlement`, `feature_not_enabled`, `operation_not_supported`",
        test=_says("entitlement", "feature_not_enabled", "operation_not_supported"),
        error=TenantError,
        hint="this tenant's subscription does not cover it; ask its owner, or " + MOVE,
    ),
    Meaning(
        status=(403,),
        when="anything else",
        error=TenantError,
        hint=f"{{client}} may not do that; ask the tenant's owner, or {BETWEEN}",
    ),
    Meaning(
        status=(404, 405, 410, 501),
        when="to the lists of actions, triggers and bindings, or to a new action",
        test=lambda call, said: call.of_actions and call.whole,
        error=NoActions,
        hint="no Actions here: look at base_url, and at what the tenant's plan covers",
    ),
    Meaning(
        status=(404, 410),
        when="to one action",
        test=lambda call, said: call.of_actions,
        error=Gone,
        hint="the action was deleted; take its edit out of the job",
    ),
    Meaning(
        status=(404, 410),
        when="to the list, or to a new hook",
        test=lambda call, said: call.whole,
        error=HooksGone,
        hint="no hooks here: either base_url is wrong, or hooks are gone; " + MOVE,
    ),
    Meaning(
        status=(404, 410),
        when="to one hook",
        error=Gone,
        hint="the hook was deleted; take its edit out of the job",
    ),
    Meaning(
        status=(501,),
        when="to a call of hooks",
        test=lambda call, said: not call.of_actions,
        error=HooksGone,
        hint="no hooks here: either base_url is wrong, or hooks are gone; " + MOVE,
    ),
    Meaning(
        status=(407,),
        error=TenantError,
        hint=PROXY_WANTS,
    ),
    Meaning(status=(408, *range(500, 600)), error=Unsure, hint="see whether the tenant works"),
    Meaning(
        status=(409,),
        error=ItemError,
        hint="something there is in its way (a name, another enabled hook of its trigger); "
        "look at it, then apply --failed",
    ),
    Meaning(status=range(300, 400), error=Unsure, hint=REDIRECTS),
    Meaning(status=range(400, 500), error=ItemError, hint="look at the tenant, or " + BETWEEN),
)


def value(call: Call, reply: Reply, *, client: str, hidden: Collection[str]) -> Any:
    """What a call was answered; None where that shows nothing.

    `client` is what the tenant calls us, `hidden` what must not be shown. Raises ItemError or
    TenantError with the server's message and what to do.
    """
    if 200 <= reply.status < 300:
        found = parsed(reply.body)
        if found is None and call.method == "GET":
            what = page(reply.body) or "the answer is not JSON"
            raise ItemError(f"{reply.status} {what}", BETWEEN)
        return found
    _refuse(call, reply, client, hidden)


def parsed(body: bytes) -> Any:
    """A body as JSON; None if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _refuse(call: Call, reply: Reply, client: str, hidden: Collection[str]) -> NoReturn:
    answer = parsed(reply.body)
    said = answer if isinstance(answer, dict) else {}
    hidden = (*hidden, *call.secret_values())
    code = said.get("errorCode")
    if not isinstance(code, str) or not _CODE.match(code) or code != veiled(code, hidden):
        code = ""
    strange = "" if said else page(reply.body)
    told = (said.get(key) for key in ("message", "error"))
    text = next((each for each in told if isinstance(each, str) and each), code)
    if not (said or strange):
        text = reply.body[:_LONGEST].decode(errors="replace")
    message = strange or _shown(text, hidden)
    if call.secret:  # what it says may hold the values, however twisted
        message = code
    cause = f"{reply.status} {message}".strip()
    words = f"{code} {text}".lower()
    for row in TABLE:
        if reply.status in row.status and row.test(call, words):
            raise row.error(cause, row.hint.format(scope=call.scope, client=client))
    raise Unsure(cause, BETWEEN)  # a status that HTTP does not have


def page(body: bytes) -> str:
    """What a body is that stands in the API's place; "" if it does not."""
    return "an HTML page, not the API's answer" if b"<" in body[:_MESSAGE] else ""


def _shown(message: str, hidden: Collection[str]) -> str:
    """The server's message, fit to be shown and kept: bounded, and without what is secret."""
    text = message[:_LONGEST]
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return veiled(text[: 2 * _MESSAGE], hidden)[:_MESSAGE]
