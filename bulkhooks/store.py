"""The file below a journal: SQLite connections, transactions, checksums, and writes in batches.

It knows rows and statements, and nothing of what they tell. Rows are read on one connection and
written on another, in batches that are gathered over all lanes and are durable before anyone who
waits for them goes on.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeAlias

import anyio
import anyio.to_thread
import orjson

from .errors import JournalError, Refused

_APPLICATION: Final = 0x62686B73  # "bhks"
#: Seconds over which writes of all lanes are gathered into one commit.
_GATHER: Final = 0.008
#: Writes in one commit from which on whoever has many more waits.
_CROWDED: Final = 8_192
#: KiB of the journal that the writer keeps at hand; pages of the log after which it is moved
#: into the journal.
_CACHE, _CHECKPOINT = 8_000, 4_000

Write: TypeAlias = tuple[str, Sequence[object] | Mapping[str, object]]


def rowsum(*values: object) -> int:
    """A row's checksum; statements have it as a function of the same name."""
    return zlib.crc32(orjson.dumps(values, repr))


class Store:
    """One open file, by `create` and `open` for whoever works on it, and by `read` beside them.

    What it holds is for a subclass to say. Everything raises JournalError when the file is damaged
    or cannot be read or written.
    """

    FORMAT: ClassVar[int]
    SCHEMA: ClassVar[str]
    #: The statements of most writes by far, which change nothing in common: between two other
    #: writes all of the first go first, then all of the second, as they go faster together.
    OFTEN: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: sqlite3.Connection) -> None:
        self.path = path
        self._reader, self._writer = reader, writer
        self._batch = _Batch()
        self._wake = asyncio.Event()
        self._broken: JournalError | None = None
        self._closing = False

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[Self]:
        """A new, empty journal that only its owner may read. Raises JournalError if it is there."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise JournalError(f"{path}: cannot make the journal: {error.strerror}") from error
        with _told(path), _connection(path) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            head = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {cls.FORMAT};"
            writer.executescript(head + cls.SCHEMA)
        with cls._opened(path) as journal:
            yield journal

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """The journal at `path`, checked, to work on: whoever opens it holds its lock.

        Raises Refused when there is none, or when it has another version's format; JournalError
        when it is damaged.
        """
        cls._look_over(path)
        with cls._opened(path) as journal:
            journal.check()
            yield journal

    @classmethod
    @contextmanager
    def read(cls, path: Path) -> Iterator[Self]:
        """The journal at `path` to look into, while another process may be at work on it.

        Raises what `open` raises, but does not `check`.
        """
        # Where no file can be made beside it, nobody can be at work on it either.
        sealed = not os.access(path.absolute().parent, os.W_OK)
        cls._look_over(path, sealed=sealed)
        with _connection(path, sealed=sealed) as reader:
            with _told(path):
                reader.execute("PRAGMA query_only = ON")
                reader.execute("BEGIN")  # all that is read is of one moment
            yield cls(path, reader, reader)

    @classmethod
    def _look_over(cls, path: Path, *, sealed: bool = False) -> None:
        if not path.is_file():
            raise Refused(f"{path}: there is no such journal; `bulkhooks plan JOB` makes one")
        with _told(path), _connection(path, sealed=sealed) as db:
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if application != _APPLICATION:
                raise JournalError(f"{path}: not a bulkhooks journal, or its head is damaged")
            if version != cls.FORMAT:
                raise Refused(
                    f"{path}: journal format {version}, this bulkhooks reads format {cls.FORMAT}; "
                    f"use the bulkhooks version that made it"
                )

    def check(self) -> None:
        """Raises JournalError when SQLite finds the file damaged; reads all of it."""
        found = self.rows("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise JournalError(f"{self.path}: the journal is damaged: {found}")

    @classmethod
    @contextmanager
    def _opened(cls, path: Path) -> Iterator[Self]:
        with _connection(path) as reader, _connection(path) as writer:
            with _told(path):
                reader.execute("PRAGMA query_only = ON")
                writer.execute("PRAGMA synchronous = FULL")
                writer.execute(f"PRAGMA cache_size = -{_CACHE}")
                writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
            yield cls(path, reader, writer)
            # A full checkpoint leaves one file that may be moved.
            reader.close()
            with suppress(sqlite3.Error):
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """All rows that a query finds."""
        with _told(self.path):
            return self._reader.execute(sql, values).fetchall()

    def each(self, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> Iterator[Any]:
        """Rows as they are found: there may be more of them than memory holds."""
        with _told(self.path):
            yield from self._reader.execute(sql, values)

    @contextmanager
    def transaction(self, *, commit: bool = True) -> Iterator[sqlite3.Connection]:
        """What is written inside is kept whole or not at all. Without `commit`, the COMMIT is left
        to the caller."""
        db = self._writer
        with _told(self.path):
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                if commit:
                    db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite may have rolled back on its own
                    db.execute("ROLLBACK")
                raise

    def write(self, writes: Iterable[Write]) -> None:
        """Write, at once and durably; not while `writing`."""
        with self.transaction():
            self._execute(writes)

    def _execute(self, writes: Iterable[Write]) -> None:
        """Write in order, but for what is `OFTEN`."""
        db, often = self._writer, self.OFTEN
        for is_often, run in groupby(writes, lambda write: write[0] in often):
            if is_often:
                together = list(run)
                for one in often:
                    db.executemany(one, [v for sql, v in together if sql is one])
            else:
                for sql, values in run:
                    db.execute(sql, values)

    def post(self, *writes: Write) -> None:
        """Hand writes over, to be durable before any that is handed over later."""
        if self._broken:
            raise self._broken
        self._batch.writes.extend(writes)
        self._wake.set()

    async def commit(self, *writes: Write) -> None:
        """Hand writes over and wait until they, and all before them, are durable."""
        self.post(*writes)
        durable = asyncio.get_running_loop().create_future()
        self._batch.waiting.append(durable)
        await durable
        if self._broken:
            raise self._broken

    async def room(self) -> None:
        """Wait while so much is gathered that more would fill the memory."""
        while len(self._batch.writes) > _CROWDED:
            await self.commit()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """While inside, what is handed over is written; at the end, all of it has been."""
        self._closing = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write_batches)
            try:
                yield
            finally:
                self._closing = True
                self._wake.set()
        if self._broken:
            raise self._broken

    async def _write_batches(self) -> None:
        # Whoever is cancelled, what was handed over is written.
        with anyio.CancelScope(shield=True):
            while not (self._broken or (self._closing and not self._batch.writes)):
                await self._wake.wait()
                if not self._closing:
                    await asyncio.sleep(_GATHER)
                batch, self._batch, self._wake = self._batch, _Batch(), asyncio.Event()
                try:
                    with self.transaction(commit=False):
                        self._execute(batch.writes)
                    # Only the wait for the disk goes to a thread: two threads that run Python
                    # take the interpreter from each other at every statement.
                    await anyio.to_thread.run_sync(self._commit)
                except JournalError as error:
                    self._broken = error
                    self._batch.end()
                batch.end()
                if self._closing:
                    self._wake.set()

    def _commit(self) -> None:
        with _told(self.path):
            self._writer.execute("COMMIT")


class _Batch:
    """Writes that become durable together, and whoever waits until they are."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.waiting: list[asyncio.Future[None]] = []

    def end(self) -> None:
        """Let them go on, those who were not cancelled."""
        for durable in self.waiting:
            if not durable.done():
                durable.set_result(None)


@contextmanager
def _connection(path: Path, *, sealed: bool = False) -> Iterator[sqlite3.Connection]:
    uri = path.absolute().as_uri() + ("?immutable=1" if sealed else "")
    db = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        db.create_function("rowsum", -1, rowsum, deterministic=True)
        yield db
    finally:
        db.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what SQLite raises into a JournalError that says what to do."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or not name:
            raise JournalError(f"{path}: the journal is damaged: {error}") from error
        raise JournalError(
            f"{path}: the journal cannot be used: {error}; nothing more was sent"
        ) from error
