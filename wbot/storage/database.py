"""One SQLite file: a writer whose commits are shared by everything waiting, and readers beside it.

All writes of the service go through one connection, so a piece of work sees what the pieces before
it did, and one fsync serves all of them. A piece is a plain function over the connection; each has
a savepoint of its own, so one failure undoes only itself.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from wbot.clock import Clock, elapsed_ms
from wbot.domain.errors import ConfigurationError, StorageError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT_MS = 2_000
READERS = 2
PIECES_PER_COMMIT_MAX = 512
PIECES_WAITING_MAX = 20_000


def connect(path: Path) -> sqlite3.Connection:
    """A connection with explicit transactions and full durability; raises ConfigurationError."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode only FULL survives a power cut with every acknowledged commit.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        raise ConfigurationError(f"The database {path} cannot be used: {error}.") from error
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One immediate transaction: kept when the block ends, undone when it raises."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise StorageError(f"The database could not be written: {error}.") from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class _Piece:
    """Work waiting for the writer, and whoever waits for its result."""

    __slots__ = ("done", "work")

    def __init__(self, work: Work[Any], done: asyncio.Future[Any]) -> None:
        self.work = work
        self.done = done


class Database:
    """The writer and the readers of one file, for the event loop that opened them."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self.path = path
        self.commit_ms = 0.0
        """Milliseconds the latest transaction took, from BEGIN to COMMIT."""
        self.failure: str | None = None
        """Why the latest transaction could not be kept; None when it was."""
        self._clock = clock
        self._pieces: deque[_Piece] = deque()
        self._bell = asyncio.Event()
        self._closing = False
        self._stopped = asyncio.Event()
        self._writer: aiosqlite.Connection
        self._idle_readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()

    @property
    def waiting(self) -> int:
        """Pieces of work that no transaction has taken yet."""
        return len(self._pieces)

    async def open(self, tasks: asyncio.TaskGroup) -> None:
        self._writer = await self._connect()
        for _ in range(READERS):
            reader = await self._connect()
            await _run(reader, lambda raw: raw.execute("PRAGMA query_only = ON"))
            self._idle_readers.put_nowait(reader)
        tasks.create_task(self._write_batches(), name="database writer")

    async def close(self) -> None:
        """Finish what waits, then close; later writes are refused."""
        self._closing = True
        self._bell.set()
        await self._stopped.wait()
        for _ in range(READERS):
            await (await self._idle_readers.get()).close()
        await self._writer.close()

    async def write(self, work: Work[T]) -> T:
        """Run the work in the next shared transaction; its result once that is on disk.

        Raises StorageError when the transaction could not be kept, and whatever the work raised. A
        caller that is cancelled meanwhile does not undo the work.
        """
        if self._closing or len(self._pieces) >= PIECES_WAITING_MAX:
            raise StorageError("The database is closing." if self._closing else "Too much waits.")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pieces.append(_Piece(work, done))
        self._bell.set()
        return await done

    async def read(self, work: Work[T]) -> T:
        """Run the work on a query-only connection, on one snapshot; raises StorageError."""
        if self._closing:  # its readers may be gone, and none would ever come back
            raise StorageError("The database is closing.")
        reader = await self._idle_readers.get()
        try:
            return await asyncio.shield(_run(reader, lambda raw: _in_snapshot(raw, work)))
        except sqlite3.DatabaseError as error:
            if not _is_storage_failure(error):
                raise
            raise StorageError(f"The database could not be read: {error}.") from error
        finally:
            self._idle_readers.put_nowait(reader)

    async def version_elsewhere(self) -> int:
        """A number that changes whenever another process commits; our own writes leave it."""
        return await _run(
            self._writer, lambda raw: int(raw.execute("PRAGMA data_version").fetchone()[0])
        )

    def _connect(self) -> aiosqlite.Connection:
        return aiosqlite.Connection(lambda: connect(self.path), iter_chunk_size=64)

    async def _write_batches(self) -> None:
        try:
            while self._pieces or not self._closing:
                if self._pieces:
                    size = min(len(self._pieces), PIECES_PER_COMMIT_MAX)
                    await self._write_batch([self._pieces.popleft() for _ in range(size)])
                else:
                    await self._bell.wait()
                    self._bell.clear()
        finally:
            self._closing = True
            self._stopped.set()

    async def _write_batch(self, batch: list[_Piece]) -> None:
        started = self._clock.monotonic()
        works = [piece.work for piece in batch]
        outcomes, failure = await _run(self._writer, lambda raw: _keep(raw, works))
        self.commit_ms = elapsed_ms(started, self._clock.monotonic())
        self.failure = failure
        for piece, (result, error) in zip(batch, outcomes, strict=True):
            if piece.done.done():  # its caller was cancelled
                continue
            if error is None:
                piece.done.set_result(result)
            else:
                piece.done.set_exception(error)


Outcome = tuple[Any, Exception | None]


class _BatchLostError(Exception):
    """SQLite rolled the whole transaction back, savepoints included."""


def _keep(raw: sqlite3.Connection, works: list[Work[Any]]) -> tuple[list[Outcome], str | None]:
    """Outcomes of the works, kept together, and why nothing was kept where that is so."""
    try:
        raw.execute("BEGIN IMMEDIATE")
        outcomes = [_try(raw, work) for work in works]
        raw.execute("COMMIT")
    except (sqlite3.Error, _BatchLostError) as error:
        failure = StorageError(f"The database could not be written: {error}.")
        return [(None, failure) for _ in works], str(failure)
    else:
        return outcomes, None
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")


def _try(raw: sqlite3.Connection, work: Work[Any]) -> Outcome:
    raw.execute("SAVEPOINT piece")
    try:
        result = work(raw)
    except Exception as error:  # noqa: BLE001  whatever it raised is the caller's; the piece is undone
        _check_standing(raw, error)
        raw.execute("ROLLBACK TO piece")
        raw.execute("RELEASE piece")
        if _is_storage_failure(error):
            return None, StorageError(f"The database could not be written: {error}.")
        return None, error
    _check_standing(raw, None)
    raw.execute("RELEASE piece")
    return result, None


def _is_storage_failure(error: Exception) -> bool:
    """Locked, full or damaged; whatever else sqlite3 raises tells of our own statement."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _check_standing(raw: sqlite3.Connection, error: Exception | None) -> None:
    # On a full disk SQLite rolls everything back by itself; the next SAVEPOINT would then begin,
    # and its RELEASE commit, a transaction of its own.
    if not raw.in_transaction:
        raise _BatchLostError(str(error or "the transaction was rolled back")) from error


def _in_snapshot(raw: sqlite3.Connection, work: Work[T]) -> T:
    raw.execute("BEGIN")
    try:
        return work(raw)
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")


async def _run(connection: aiosqlite.Connection, work: Work[T]) -> T:
    # aiosqlite's own way onto its thread, private but one hop instead of one a statement: a
    # transaction of four inserts takes little more than half the time. tests/test_database.py
    # guards that it keeps working.
    raw = connection._conn  # noqa: SLF001
    result: T = await connection._execute(work, raw)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return result
