"""One SQLite file: a writer that commits all waiting work together, and concurrent readers.

All writes of the service go through one connection, so a piece of work sees the effects of those
before it, and one fsync serves all of them. A piece is a plain function over the connection; each
has a savepoint of its own, so a failure undoes only its own piece.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from wbot.clock import Clock, elapsed_ms
from wbot.domain.errors import ConfigurationError, StorageError
from wbot.storage.files import Watched, check_access, identity_of
from wbot.storage.tx import Tx

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT_MS = 2_000
READERS = 2
WRITER_CACHE_KIB = 16 * 1024
"""Room for the upper pages of every index that a write uses, however large the index."""
PIECES_PER_COMMIT_MAX = 512
PIECES_WAITING_MAX = 20_000


Connection = sqlite3.Connection
"""A connection to the file, as commands hold one; storage functions see its `Tx`."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection with explicit transactions and full durability; raises ConfigurationError."""
    check_access(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode only FULL survives a power cut with every acknowledged commit.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # No statistics are ever collected (ANALYZE, PRAGMA optimize): those of a new database
        # prefer full scans of its small tables, and would still apply when they have grown.
        # Without them every plan is the one that tests/storage/test_query_plans.py checks.
    except sqlite3.Error as error:
        raise ConfigurationError(f"The database {path} cannot be used: {error}.") from error
    return connection


def connect_writer(path: Path) -> sqlite3.Connection:
    """The same for the service's one writer, with more room in memory."""
    connection = connect(path)
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    return connection


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one command; raises StorageError for any error of the engine."""
    connection = connect(path)
    try:
        yield connection
    except sqlite3.Error as error:
        raise StorageError(str(error)) from error
    finally:
        connection.close()


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[Tx]:
    """The database as it is at one moment, unaffected by concurrent writes."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One immediate transaction: committed when the block ends, rolled back when it raises."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise StorageError(f"The database could not be written: {error}.") from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


Outcome = tuple[Any, Exception | None]


class _Piece:
    """Work waiting for the writer, and the future of its result."""

    __slots__ = ("done", "work")

    def __init__(self, work: Work[Any], done: asyncio.Future[Any]) -> None:
        self.work = work
        self.done = done


class Database:
    """The writer and the readers of one file, for the event loop that opened them.

    The writer is a thread that dequeues what waits by itself: on a busy loop, each hop through a
    task would delay a webhook's answer by a whole iteration of the loop. Readers use aiosqlite.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self.path = path
        self.commit_ms = 0.0
        """Milliseconds the latest transaction took, from BEGIN to COMMIT."""
        self.failure: str | None = None
        """Why the latest transaction could not be committed; None when it was."""
        self.failed_at = float("-inf")
        """When something last could not be stored, in the clock's monotonic seconds."""
        self.lost: str | None = None
        """Why the open files are no longer the database; only a restart ends that."""
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop
        self._writer: sqlite3.Connection
        self._files: Watched | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database writer")
        self._pieces: deque[_Piece] = deque()
        self._is_writing = False
        self._lock = threading.Lock()  # guards the two above, for moments only
        self._is_closing = False
        self._idle_readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._readers = 0

    @property
    def waiting(self) -> int:
        """Pieces of work that are not in a transaction yet."""
        return len(self._pieces)

    async def open(self) -> None:
        """Raises ConfigurationError."""
        self._loop = asyncio.get_running_loop()
        before = identity_of(self.path)
        self._writer = await self._in_thread(lambda: connect_writer(self.path))
        for _ in range(READERS):
            reader = await aiosqlite.Connection(lambda: connect(self.path), iter_chunk_size=64)
            await _run(reader, lambda raw: raw.execute("PRAGMA query_only = ON"))
            self._idle_readers.put_nowait(reader)
            self._readers += 1
        self._files = Watched(self.path)
        if before not in {None, self._files.identity}:
            raise ConfigurationError(f"The database {self.path} was replaced meanwhile; try again.")

    async def close(self) -> None:
        """Finish what waits, then close; later writes are refused. Also after an open that failed.

        An open reader would keep the process from ending.
        """
        self._is_closing = True
        for _ in range(self._readers):
            await (await self._idle_readers.get()).close()
        while self._is_writing:  # nothing new is accepted, and each round waits for one transaction
            await self._in_thread(lambda: None)
        if self._readers:
            await self._in_thread(self._writer.close)
        if self._files is not None:
            self._files.close()
        self._thread.shutdown()

    async def write(self, work: Work[T]) -> T:
        """Run the work in the next shared transaction; its result once that is on disk.

        Raises StorageError when the transaction could not be committed, and what the work raised. A
        caller that is cancelled meanwhile does not undo the work.
        """
        self._check_open()
        if len(self._pieces) >= PIECES_WAITING_MAX:
            self.failed_at = self._clock.monotonic()
            raise StorageError("The write queue is full.")
        done: asyncio.Future[T] = self._loop.create_future()
        with self._lock:
            self._pieces.append(_Piece(work, done))
            begins, self._is_writing = not self._is_writing, True
        if begins:
            self._thread.submit(self._write_what_waits)
        return await done

    async def read(self, work: Work[T]) -> T:
        """Run the work on a query-only connection, on one snapshot; raises StorageError."""
        self._check_open()
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
        """A number that changes whenever another process commits; our own writes do not change it.

        Checks the files too. Raises StorageError.
        """
        self._check_open()
        try:
            return await self._in_thread(self._read_version)
        except sqlite3.Error as error:
            raise StorageError(f"The database could not be read: {error}.") from error

    def _read_version(self) -> int:
        self._look_after_files()
        return int(self._writer.execute("PRAGMA data_version").fetchone()[0])

    def _look_after_files(self) -> None:
        """Check the files; in the writer's thread, so that none of its checkpoints is running."""
        trouble = self._files.trouble() if self._files and not self.lost else None
        if trouble is None:
            return
        advice = "put the right file in its place, then restart wbot"
        if trouble.is_overwritten:
            advice = "stop wbot, put the right file in its place without -wal and -shm, then start"
        else:
            # A WAL left behind would be applied to a file that replaces ours. First of all: whoever
            # reads that the database is lost may copy the file.
            with suppress(sqlite3.Error):
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.lost = (
            f"The database was changed under the running service: {trouble.words}. "
            f"Nothing is stored or sent any more; {advice}."
        )

    def _check_open(self) -> None:
        if self._is_closing:  # its readers may be gone, and waiting for one would never end
            raise StorageError("The database is closing.")
        if self.lost is not None:
            raise StorageError(self.lost)

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return self._loop.run_in_executor(self._thread, call)

    def _write_what_waits(self) -> None:
        """In the writer's thread: one transaction; the next is queued after other calls."""
        batch = self._take()
        if not batch:
            return
        started = self._clock.monotonic()
        outcomes, failure = self._keep([piece.work for piece in batch])
        ended = self._clock.monotonic()
        if failure is not None:  # here, because the next transaction may read it
            self.failed_at = ended
        ms = elapsed_ms(started, ended)
        self._loop.call_soon_threadsafe(self._release, batch, outcomes, failure, ms)
        self._thread.submit(self._write_what_waits)

    def _keep(self, works: list[Work[Any]]) -> tuple[list[Outcome], str | None]:
        """Commit; it counts only if the next start finds it, so the files are checked twice.

        Before, because a commit would extend a WAL that was cut off; and after, for the rest.
        """
        self._look_after_files()
        if self.lost is None:
            kept = _keep(self._writer, works)
            self._look_after_files()
            if self.lost is None:
                return kept
        lost = StorageError(str(self.lost))
        return [(None, lost) for _ in works], str(lost)

    def _take(self) -> list[_Piece]:
        with self._lock:
            size = min(len(self._pieces), PIECES_PER_COMMIT_MAX)
            self._is_writing = size > 0
            return [self._pieces.popleft() for _ in range(size)]

    def _release(
        self, batch: list[_Piece], outcomes: list[Outcome], failure: str | None, ms: float
    ) -> None:
        self.commit_ms, self.failure = ms, failure
        for piece, (result, error) in zip(batch, outcomes, strict=True):
            if piece.done.done():  # its caller was cancelled
                continue
            if error is None:
                piece.done.set_result(result)
            else:
                piece.done.set_exception(error)


class _BatchLostError(Exception):
    """SQLite rolled the whole transaction back, savepoints included."""


def _keep(raw: sqlite3.Connection, works: list[Work[Any]]) -> tuple[list[Outcome], str | None]:
    """Outcomes of the works, committed together, and why nothing was committed if so."""
    try:
        raw.execute("BEGIN IMMEDIATE")
        outcomes = [_try(raw, work) for work in works]
        raw.execute("COMMIT")
    except Exception as error:  # noqa: BLE001  after any failure, no caller may wait forever
        failure = StorageError(f"The database could not be written: {error}.")
        return [(None, failure) for _ in works], str(failure)
    else:
        return outcomes, None
    finally:
        with suppress(sqlite3.Error):
            if raw.in_transaction:
                raw.execute("ROLLBACK")


def _try(raw: sqlite3.Connection, work: Work[Any]) -> Outcome:
    raw.execute("SAVEPOINT piece")
    try:
        result = work(raw)
    except Exception as error:  # noqa: BLE001  the caller gets it; the piece is undone
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
    """Locked, full or damaged; any other error of sqlite3 is about our own statement."""
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
    # aiosqlite's own way onto its thread: private, but one hop instead of one per statement.
    # tests/storage/test_database.py checks that it works.
    raw = connection._conn  # noqa: SLF001
    result: T = await connection._execute(work, raw)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return result
