"""The file below a journal: SQLite connections, transactions, checksums, and writes in batches.

It knows rows and statements, and nothing of what they tell. Rows are read on one connection and
written on another, in batches that are gathered over all lanes and are durable before anyone who
waits for them goes on.
"""

from __future__ import annotations

import asyncio
import glob
import os
import shlex
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
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

#: What SQLite says of a file that cannot be used now, and may be later; all else is damage.
_PASSING: Final = (
    *("SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_INTERRUPT", "SQLITE_IOERR"),
    *("SQLITE_LOCKED", "SQLITE_NOMEM", "SQLITE_PERM", "SQLITE_PROTOCOL", "SQLITE_READONLY"),
)

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
    #: For each table: what a person calls a row, and when it is whole.
    WHOLE: ClassVar[Mapping[str, tuple[str, str]]]
    #: The tables of few rows, all of which are verified at opening.
    FEW: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: sqlite3.Connection) -> None:
        self.path = path
        self._reader, self._writer = reader, writer
        self._batch = _Batch()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._broken: JournalError | None = None
        self._closing = False
        #: To its thread: commands that credentials come from may keep all that others share.
        self.disk = anyio.CapacityLimiter(1)

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
        """The journal at `path`, to work on: whoever opens it holds its lock. Looked at are its
        structure and the rows of which there are few; of the others each is verified when it is
        used.

        Raises Refused when there is none, or when it has another version's format; JournalError
        when it is damaged.
        """
        cls._look_over(path)
        with cls._opened(path) as journal:
            journal._sound("quick_check", journal.FEW)
            yield journal

    @classmethod
    @contextmanager
    def read(cls, path: Path) -> Iterator[Self]:
        """The journal at `path` to look into, while another process may be at work on it.

        Raises what `open` raises, but does not look at all of its structure.
        """
        # Where no file can be made beside it, nobody can be at work on it either; but what a dead
        # process left in its log counts.
        log = path.with_name(f"{path.name}-wal")
        left = log.exists() and log.stat().st_size > 0
        sealed = not (left or os.access(path.absolute().parent, os.W_OK))
        cls._look_over(path, sealed=sealed)
        with _connection(path, sealed=sealed) as reader:
            with _told(path):
                reader.execute("PRAGMA query_only = ON")
                reader.execute("BEGIN")  # all that is read is of one moment
            yield cls(path, reader, reader)

    @classmethod
    def _look_over(cls, path: Path, *, sealed: bool = False) -> None:
        if not path.is_file():
            # Of a job with recurrences each has its own, under the job's name.
            like = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*{path.suffix}"))
            newest = ", ".join(str(found) for found in like[-4:])
            raise Refused(
                f"{path}: there is no such journal; "
                + (f"there is {newest}" if like else "`bulkhooks plan JOB` makes one")
            )
        with _told(path), _connection(path, sealed=sealed) as db:
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if application != _APPLICATION:
                raise damage(path, "its head, if it is a journal at all")
            if version != cls.FORMAT:
                raise Refused(
                    f"{path}: journal format {version}, this bulkhooks reads format {cls.FORMAT}; "
                    f"use the bulkhooks version that made it"
                )
            if _schema(db) != cls._own_schema():
                raise damage(path, "its schema")

    @classmethod
    def _own_schema(cls) -> list[Any]:
        with closing(sqlite3.connect(":memory:")) as db:
            db.executescript(cls.SCHEMA)
            return _schema(db)

    def check(self) -> None:
        """Raises JournalError when SQLite finds the file damaged, or when any row is not whole;
        reads all of it, for whoever uses most of it."""
        self._sound("integrity_check", self.WHOLE)

    def check_index(self, table: str) -> None:
        """Raises JournalError when SQLite finds a table damaged, or that an index of it leads
        elsewhere."""
        self._sound(f"integrity_check({table})", ())

    def _sound(self, pragma: str, tables: Iterable[str]) -> None:
        found = self.rows(f"PRAGMA {pragma}")[0][0]
        if found != "ok":
            raise self.damaged(found)
        for table in tables:
            row, whole = self.WHOLE[table]
            if broken := self.rows(f"SELECT {row} FROM {table} WHERE NOT ({whole}) LIMIT 1"):
                raise self.damaged(str(broken[0][0]))

    def damaged(self, what: str) -> JournalError:
        """What is raised for a journal that is not as it was written."""
        return damage(self.path, what)

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
            # `yield from` closes the cursor of a loop that was left, perhaps after its file.
            for row in self._reader.execute(sql, values):  # noqa: UP028
                yield row

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
        assert self._loop is not None  # who waits does so while `writing`
        durable = self._loop.create_future()
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
        self._closing, self._loop = False, asyncio.get_running_loop()
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
                    await anyio.to_thread.run_sync(self._commit, limiter=self.disk)
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


def damage(path: Path, what: str) -> JournalError:
    """What is raised for a journal that is not as it was written; says what to type."""
    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H%M%S")
    aside = f"{path}.{stamp}.damaged"
    moves = [
        shlex.join(["mv", f"{path}{end}", f"{aside}{end}"])
        for end in ("", "-wal")
        if Path(f"{path}{end}").exists()
    ]
    found = "".join(char if char.isprintable() else "?" for char in what)
    return JournalError(
        f"{path}: the journal is damaged: {found}; nothing more was sent. Put it aside:\n"
        f"  {' && '.join(moves)}\n"
        "and plan its job again: what is done already comes out unchanged"
    )


def _schema(db: sqlite3.Connection) -> list[Any]:
    return db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    ).fetchall()


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
    except UnicodeDecodeError as error:
        raise damage(path, "a text in it that is none") from error
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if not name.startswith(_PASSING):
            raise damage(path, str(error)) from error
        raise JournalError(
            f"{path}: the journal cannot be used: {error}; nothing more was sent. When its disk "
            "has room and it may be written, type the same command again"
        ) from error
