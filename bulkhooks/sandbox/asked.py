"""What is asked of a pretend tenant, and how the Management API refuses it.

Part of the sandbox, and as `sandbox.py` apart from the client: requests, the checks of bodies and
queries that all calls share, and errors in Auth0's form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import orjson

_T = TypeVar("_T")

_JSON_TYPES: Final[Mapping[type, str]] = MappingProxyType(
    {bool: "boolean", str: "string", dict: "object", list: "array"}
)
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to one tenant. `path` is what follows the tenant; header names in lower case."""

    tenant: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Refusal(Exception):
    """Ends the handling of a request with an error answer in Auth0's form."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        self.status, self.message, self.code = status, message, code
        super().__init__(message)

    def body(self) -> bytes:
        phrase = HTTPStatus(self.status).phrase
        error = {"statusCode": self.status, "error": phrase, "message": self.message}
        return orjson.dumps(error | ({"errorCode": self.code} if self.code else {}))


#: Of one path, by method: what carries it out, and the scope that it needs.
Calls: TypeAlias = Mapping[str, tuple[Callable[..., tuple[int, Any]], str]]
#: By what a path must match whole; its groups are the ids in it.
Paths: TypeAlias = Mapping[re.Pattern[str], Calls]


def find_call(
    paths: Paths, request: Request, headers: dict[str, str]
) -> tuple[Callable[..., tuple[int, Any]], str, tuple[str, ...]]:
    """The call that method and path ask for, its scope, and the ids in the path.

    Adds to `headers` of the answer.

    :raises Refusal: if there is no such call.
    """
    for pattern, calls in paths.items():
        if found := pattern.fullmatch(request.path):
            if request.method not in calls:
                headers["Allow"] = ", ".join(calls)
                raise Refusal(405, "Method Not Allowed")
            return *calls[request.method], found.groups()
    raise Refusal(404, "Not Found")


def check_scope(scope: str, granted: Collection[str] | None) -> None:
    """Raises Refusal where `granted` has not the scope; None has all."""
    if granted is not None and scope not in granted:
        expected = f"Insufficient scope, expected any of: {scope}"
        raise Refusal(403, expected, "insufficient_scope")


def bad_body(what: str, key: str | None = None) -> Refusal:
    place = f" on property {key}" if key else ""
    return Refusal(400, f"Payload validation error: '{what}'{place}", "invalid_body")


def bad_query(what: str, key: str | None = None) -> Refusal:
    place = f" on property {key}" if key else ""
    return Refusal(400, f"Query validation error: '{what}'{place}", "invalid_query_string")


def bad_path() -> Refusal:
    return Refusal(400, "Path validation error: 'Invalid value'", "invalid_uri")


def read_json(request: Request) -> Any:
    """The body as JSON, whatever its content type says."""
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise Refusal(400, "Invalid request payload JSON format", "invalid_body") from None


def read_object(request: Request) -> dict[str, Any]:
    """The body, an object; raises Refusal where it is anything else."""
    return expect(read_json(request), dict)


def expect(value: Any, kind: type[_T], key: str | None = None) -> _T:
    """The value, if it is of that kind, as JSON has them; raises Refusal where it is not."""
    if not isinstance(value, kind):
        raise bad_body(f"Expected type {_JSON_TYPES[kind]}", key)
    return value


def check_keys(
    value: Mapping[str, Any], allowed: Collection[str], required: Collection[str] = ()
) -> None:
    """Raises Refusal where an object has a key that is not allowed, or lacks one."""
    if unknown := [key for key in value if key not in allowed]:
        raise bad_body(f"Additional properties not allowed: {','.join(unknown)}")
    for key in required:
        if key not in value:
            raise bad_body(f"Missing required property: {key}")


def check_query(query: Mapping[str, str], allowed: Mapping[str, Callable[[str], bool]]) -> None:
    """Raises Refusal where the query has a key that is not allowed, or a value that is not good."""
    for key, value in query.items():
        if key not in allowed:
            raise bad_query(f"Additional properties not allowed: {key}")
        if not allowed[key](value):
            raise bad_query("Invalid value", key)


def is_boolean(value: str) -> bool:
    return value in ("true", "false")


def _is_page(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _is_page_size(value: str) -> bool:
    return _is_page(value) and int(value) <= 100


#: What a query for a page of a list may have.
PAGING: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {"page": _is_page, "per_page": _is_page_size}
)
