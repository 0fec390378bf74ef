"""One page of HTML that needs nothing else: no network, and no script or style but its own.

What tenants and files say stays text in it: it makes no markup, and it never becomes script.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson

from .atomic import replacing
from .errors import Refused

#: How every page of ours begins.
_HEAD: Final = (
    b'<!doctype html>\n<html lang="en">\n<head>\n<meta name="generator" content="bulkhooks">'
)
#: What would end a block of data, or a line of it.
_ENDS: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028"}
_SAFE: Final = str.maketrans(_ENDS | {"\u2029": "\\u2029"})


def check_page(path: Path) -> None:
    """Raises Refused when no page can be written to `path`, or when what is there is none of
    ours."""
    if path.is_dir():
        raise Refused(f"{path} is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise Refused(f"{path.parent} is not a folder")
    if path.is_symlink() or not path.exists():
        return
    try:
        with path.open("rb") as file:
            begins = file.read(len(_HEAD))
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error
    if begins not in (_HEAD, b""):
        raise Refused(f"{path} is there, and was not made by bulkhooks; name another file")


def save_page(path: Path, template: str, **values: Any) -> None:
    """Write a page by a template of ours, whole or not at all; `values` are what it shows.

    Raises Refused when it cannot be written, and what `values` raise when they are asked.
    """
    check_page(path)
    try:
        with replacing(path) as file:
            file.writelines(piece.encode(errors="replace") for piece in _pieces(template, values))
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from error


def _pieces(template: str, values: dict[str, Any]) -> Iterator[str]:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def block(name: str) -> dict[str, str]:
        """A style or a script of ours, and the hash by which alone a browser takes it."""
        text = (files("bulkhooks") / name).read_text("utf-8")
        digest = b64encode(sha256(text.encode()).digest()).decode()
        return {"text": Markup(text), "hash": f"'sha256-{digest}'"}

    def data(value: Any) -> str:
        """A value as JSON that stands within a block of data."""
        return Markup(orjson.dumps(value).decode().translate(_SAFE))

    env = Environment(
        loader=PackageLoader("bulkhooks", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return env.get_template(template).generate(block=block, data=data, **values)
