"""Locks that the kernel drops with their holder, and that tell who holds them.

POSIX record locks: one open file carries any number of them, each on a byte of its own, so that a
run over two thousand tenants needs one descriptor. The kernel knows the holder's process id.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .errors import Locked, Refused

#: `struct flock` of fcntl(2): type, whence, start, length, pid (another order on macOS).
_FLOCK: Final = "qqihh" if sys.platform == "darwin" else "hhqqi4x"


#: The one lock in a lock file that stands for the file beside it.
_WHOLE: Final = ""


class _LockFile:
    """One open lock file of this process, and the bytes of it that are held."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(path, flags, 0o600)
        self.path, self.bytes = path, set[int]()


#: Record locks belong to the process, and closing any descriptor of a file drops them all: so the
#: process has one descriptor a file, and knows what it holds (the kernel would grant it twice).
_FILES: Final[dict[Path, _LockFile]] = {}


@contextmanager
def held(path: Path, names: Iterable[str]) -> Iterator[None]:
    """Hold the lock of each name in the file at `path` until the block ends.

    Raises Locked, naming the first lock that another holds and its process id, and then holds none
    of them; raises Refused when the file cannot be made.
    """
    file = _opened(path.absolute())
    taken: set[int] = set()
    try:
        for start, name in sorted((_byte(name), name) for name in set(names)):
            _take(file, start, name)
            taken.add(start)
        yield
    finally:
        for start in taken:
            fcntl.lockf(file.descriptor, fcntl.LOCK_UN, 1, start)
        file.bytes -= taken
        if not file.bytes:
            del _FILES[path.absolute()]
            os.close(file.descriptor)


@contextmanager
def held_beside(path: Path) -> Iterator[None]:
    """Hold the file at `path` by a lock file beside it, which is gone when the block has ended.

    Raises what `held` raises.
    """
    path = path.resolve()
    lock = path.with_name(f"{path.name}.lock")
    while True:
        with held(lock, [_WHOLE]):
            # The last holder may have removed the file between our opening it and our locking it.
            if not _is_at(lock, _FILES[lock].descriptor):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _opened(path: Path) -> _LockFile:
    if path not in _FILES:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _FILES[path] = _LockFile(path)
        except OSError as error:
            raise Refused(f"{path}: cannot make the lock file: {error.strerror}") from error
    return _FILES[path]


def _byte(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest()) & (2**52 - 1)


def _take(file: _LockFile, start: int, name: str) -> None:
    name = name or str(file.path.with_suffix(""))
    if start in file.bytes:
        raise Locked(name, os.getpid())
    try:
        fcntl.lockf(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise Refused(f"{name}: cannot lock: {error.strerror}") from error
        raise Locked(name, _holder(file.descriptor, start)) from error
    file.bytes.add(start)


def _holder(descriptor: int, start: int) -> int | None:
    if sys.platform == "darwin":
        asked = struct.pack(_FLOCK, start, 1, 0, fcntl.F_WRLCK, os.SEEK_SET)
        pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[2]
    else:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
        pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[4]
    return pid or None
