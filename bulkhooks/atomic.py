"""A file that is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """What is written in the block takes the place of the file at `path` when the block ends; where
    it raises, the file stays as it was. Raises OSError."""
    staged = path.with_name(f".{path.name}.staged")
    try:
        staged.unlink(missing_ok=True)
        with staged.open("xb") as file:  # not through a link
            yield file
        os.replace(staged, path)
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
