"""One writer with shared commits, concurrent readers, and both when something fails."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiosqlite
import pytest
from conftest import writing

from wbot.clock import Clock
from wbot.domain.errors import ConfigurationError, RefusedError, StorageError
from wbot.storage import database as database_module
from wbot.storage.database import Database, connect, transaction

WAIT_S = 10.0
SCHEMA = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, words TEXT NOT NULL UNIQUE);
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (
    parent INTEGER NOT NULL REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED
);
"""

Opened = AbstractAsyncContextManager[Database]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file with a few tables of this test."""
    path = tmp_path / "notes.db"
    connection = connect(path)
    connection.executescript(SCHEMA)
    connection.close()
    return path


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    async with asyncio.timeout(60):
        database = Database(path, clock=Clock())
        await database.open()
        try:
            yield database
        finally:
            await database.close()


def noting(words: str) -> Callable[[sqlite3.Connection], str]:
    """Work that stores the words and returns them."""

    def note(tx: sqlite3.Connection) -> str:
        tx.execute("INSERT INTO notes (words) VALUES (?)", (words,))
        return words

    return note


def notes(tx: sqlite3.Connection) -> list[str]:
    return [row[0] for row in tx.execute("SELECT words FROM notes ORDER BY id").fetchall()]


def notes_on_disk(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return notes(connection)
    finally:
        connection.close()


class ModelGate:
    """Work that blocks its thread until it is released."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._may_go = threading.Event()

    def hold(self, tx: sqlite3.Connection) -> list[str]:
        before = notes(tx)
        self._entered.set()
        assert self._may_go.wait(WAIT_S)
        return before + notes(tx)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, WAIT_S)

    def open(self) -> None:
        self._may_go.set()


async def queued(database: Database, number: int) -> None:
    """Return when this many pieces are queued and not yet claimed by the writer's thread."""
    async with asyncio.timeout(WAIT_S):
        await database.read(notes)
        while database.waiting != number:
            await database.read(notes)


async def together(
    database: Database, *works: Callable[[sqlite3.Connection], object]
) -> list[object]:
    """The results of pieces that are queued together: one transaction runs them all."""
    gate = ModelGate()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(database.write(gate.hold))
        await gate.entered()
        outcomes = asyncio.gather(*map(database.write, works), return_exceptions=True)
        await queued(database, len(works))
        gate.open()
        return await outcomes


async def traced(database: Database) -> list[str]:
    """Every statement that the writer runs from now on."""
    statements: list[str] = []
    await database.write(lambda tx: tx.set_trace_callback(statements.append))
    statements.clear()
    return statements


async def test_everything_that_waits_shares_one_commit(path: Path) -> None:
    async with opened(path) as database:
        statements = await traced(database)
        words = [f"note {number}" for number in range(100)]
        assert await together(database, *map(noting, words)) == words
        assert statements.count("COMMIT") == 2  # one of them for the work that kept the writer busy
        assert notes_on_disk(path) == words


async def test_a_commit_takes_a_bounded_number_of_pieces(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PIECES_PER_COMMIT_MAX", 10)
    async with opened(path) as database:
        statements = await traced(database)
        words = [f"note {number}" for number in range(25)]
        await together(database, *map(noting, words))
        assert statements.count("COMMIT") == 4
        assert notes_on_disk(path) == words


async def test_a_piece_sees_what_the_pieces_before_it_did(path: Path) -> None:
    async with opened(path) as database:
        _, seen, _ = await together(database, noting("first"), notes, noting("third"))
        assert seen == ["first"]


async def test_a_failing_piece_undoes_only_itself(path: Path) -> None:
    def refuse(tx: sqlite3.Connection) -> None:
        noting("half")(tx)
        raise RefusedError("No.")

    def repeat(tx: sqlite3.Connection) -> None:
        noting("other half")(tx)
        noting("first")(tx)

    async with opened(path) as database:
        first, refused, repeated, last = await together(
            database, noting("first"), refuse, repeat, noting("last")
        )
        assert (first, last) == ("first", "last")
        assert isinstance(refused, RefusedError)
        assert isinstance(repeated, sqlite3.IntegrityError)
        assert database.failure is None
    assert notes_on_disk(path) == ["first", "last"]


def limit_pages(more: int) -> Callable[[sqlite3.Connection], None]:
    """Leave room for this many more pages, as on a nearly full disk."""

    def limit(tx: sqlite3.Connection) -> None:
        pages = tx.execute("PRAGMA page_count").fetchone()[0]
        tx.execute(f"PRAGMA max_page_count = {pages + more}")

    return limit


def fill_row_by_row(tx: sqlite3.Connection) -> None:
    for number in range(100):
        noting(f"{number} " + "x" * 4_000)(tx)


def fill_in_one_statement(tx: sqlite3.Connection) -> None:
    tx.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 100) "
        "INSERT INTO notes (words) SELECT n || hex(zeroblob(2000)) FROM numbers"
    )


def swallow_the_full_disk(tx: sqlite3.Connection) -> None:
    """Work that ignores the error: after it, SQLite has rolled back the whole transaction."""
    try:
        fill_row_by_row(tx)
    except sqlite3.OperationalError:
        return


@pytest.mark.parametrize("fill", [fill_row_by_row, swallow_the_full_disk])
async def test_a_full_disk_fails_the_whole_batch_and_keeps_no_half(
    path: Path, fill: Callable[[sqlite3.Connection], None]
) -> None:
    """SQLite rolls everything back, savepoints included: no work may be reported done."""
    async with opened(path) as database:
        await database.write(limit_pages(4))
        outcomes = await together(database, noting("before"), fill, noting("after"))
        assert [type(outcome) for outcome in outcomes] == [StorageError] * 3
        assert database.failure is not None
        assert notes_on_disk(path) == []
        await database.write(limit_pages(1_000))
        assert database.failure is None
        assert await database.write(noting("room again")) == "room again"
    assert notes_on_disk(path) == ["room again"]


async def test_a_full_disk_that_sqlite_survives_fails_only_its_piece(path: Path) -> None:
    """A statement with its own journal is undone alone; its caller gets a StorageError."""
    async with opened(path) as database:
        await database.write(limit_pages(4))
        before, full, after = await together(
            database, noting("before"), fill_in_one_statement, noting("after")
        )
        assert (before, after) == ("before", "after")
        assert isinstance(full, StorageError)
    assert notes_on_disk(path) == ["before", "after"]


async def test_a_failed_commit_fails_every_piece(path: Path) -> None:
    def orphan(tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO children VALUES (1)")  # checked at the commit, and not before

    async with opened(path) as database:
        outcomes = await together(database, noting("first"), orphan)
        assert [type(outcome) for outcome in outcomes] == [StorageError] * 2
        assert "FOREIGN KEY" in (database.failure or "")
        assert await database.write(noting("later")) == "later"
        assert database.failure is None
    assert notes_on_disk(path) == ["later"]


async def test_a_lock_held_elsewhere_fails_the_batch_and_passes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 50)
    other = connect(path)
    async with opened(path) as database:
        other.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(
            *(database.write(noting(f"note {n}")) for n in range(3)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StorageError] * 3
        assert "locked" in (database.failure or "")
        assert await database.read(notes) == []
        other.execute("ROLLBACK")
        assert await database.write(noting("free again")) == "free again"
        assert database.failure is None
    other.close()


async def test_a_lock_held_elsewhere_for_a_moment_is_waited_for(path: Path) -> None:
    other = connect(path)
    begins = threading.Event()

    def watch(statement: str) -> None:
        if statement == "BEGIN IMMEDIATE":
            begins.set()

    async with opened(path) as database, asyncio.TaskGroup() as tasks:
        await database.write(lambda tx: tx.set_trace_callback(watch))
        other.execute("BEGIN IMMEDIATE")
        patient = tasks.create_task(database.write(noting("patient")))
        assert await asyncio.to_thread(begins.wait, WAIT_S)
        assert not patient.done()
        other.execute("COMMIT")
        assert await patient == "patient"
    other.close()


async def test_a_cancelled_caller_affects_no_other(path: Path) -> None:
    """Random cancellations: a caller with a result has its rows, and no piece is half done."""
    chance = random.Random(20_261_123)
    results: dict[int, str] = {}

    async def keep(database: Database, number: int) -> None:
        def pair(tx: sqlite3.Connection) -> str:
            noting(f"{number} a")(tx)
            return noting(f"{number} b")(tx)

        results[number] = await database.write(pair)

    async with opened(path) as database:
        running: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as tasks:
            for number in range(1_500):
                running.append(tasks.create_task(keep(database, number)))
                if chance.random() < 0.5:
                    await asyncio.sleep(0)
                if chance.random() < 0.6:
                    chance.choice(running[-40:]).cancel()
                if chance.random() < 0.02:
                    await database.read(notes)
        cancelled = {number for number, task in enumerate(running) if task.cancelled()}
        stored = await database.read(notes)
    numbers = [int(words.split()[0]) for words in stored]
    assert set(results) | cancelled == set(range(1_500))
    assert set(results) <= set(numbers)
    assert len(numbers) == 2 * len(set(numbers))
    assert cancelled & set(numbers), "cancelled does not mean undone, and this run must show it"
    assert len(cancelled) > 300


async def test_a_cancelled_reader_gives_its_connection_back(path: Path) -> None:
    gates = [ModelGate() for _ in range(database_module.READERS)]
    async with opened(path) as database, asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(database.read(gate.hold)) for gate in gates]
        for gate, task in zip(gates, reading, strict=True):
            await gate.entered()
            task.cancel()
        for gate in gates:
            gate.open()
        for _ in range(2 * len(gates)):
            assert await database.read(notes) == []


async def test_readers_see_committed_rows_only(path: Path) -> None:
    gate = ModelGate()

    def note_and_hold(tx: sqlite3.Connection) -> None:
        noting("not yet")(tx)
        gate.hold(tx)

    async with opened(path) as database, asyncio.TaskGroup() as tasks:
        held = tasks.create_task(database.write(note_and_hold))
        await gate.entered()
        assert await database.read(notes) == []
        gate.open()
        await held
        assert await database.read(notes) == ["not yet"]


async def test_a_reader_works_on_one_snapshot(path: Path) -> None:
    gate = ModelGate()
    async with opened(path) as database, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(database.read(gate.hold))
        await gate.entered()
        await database.write(noting("meanwhile"))
        gate.open()
        assert await reading == []
        assert await database.read(notes) == ["meanwhile"]


async def test_a_reader_cannot_write(path: Path) -> None:
    async with opened(path) as database:
        with pytest.raises(StorageError, match="readonly"):
            await database.read(noting("sly"))
        assert await database.read(notes) == []


async def test_a_damaged_file_is_a_storage_error_for_reader_and_writer(path: Path) -> None:
    with writing(path) as tx:
        for number in range(200):
            noting(f"{number} " + "x" * 400)(tx)
    root = _root_page_of_notes(path)
    with path.open("r+b") as file:
        file.seek((root - 1) * 4_096)
        file.write(b"\xff" * 4_096)
    async with opened(path) as database:
        with pytest.raises(StorageError, match="malformed"):
            await database.read(notes)
        with pytest.raises(StorageError, match="malformed"):
            await database.write(notes)


def _root_page_of_notes(path: Path) -> int:
    connection = connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    row = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'notes'").fetchone()
    connection.close()
    return int(row[0])


async def test_closing_finishes_what_waits_and_refuses_what_comes_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PIECES_PER_COMMIT_MAX", 5)
    words = [f"note {number}" for number in range(200)]
    gate = ModelGate()
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        database = Database(path, clock=Clock())
        await database.open()
        tasks.create_task(database.write(gate.hold))
        await gate.entered()
        notes_to_be = [tasks.create_task(database.write(noting(one))) for one in words]
        await queued(database, len(words))
        closing = tasks.create_task(database.close())
        gate.open()
        await closing
        assert [task.result() for task in notes_to_be] == words
        with pytest.raises(StorageError, match="closing"):
            await database.write(noting("late"))
        with pytest.raises(StorageError, match="closing"):
            await database.read(notes)
    assert notes_on_disk(path) == words


async def test_too_much_waiting_is_refused_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PIECES_WAITING_MAX", 5)
    gate = ModelGate()
    async with opened(path) as database, asyncio.TaskGroup() as tasks:
        tasks.create_task(database.write(gate.hold))
        await gate.entered()
        for number in range(5):
            tasks.create_task(database.write(noting(f"note {number}")))
        await queued(database, 5)
        with pytest.raises(StorageError, match="queue is full"):
            await database.write(noting("one too many"))
        assert database.failed_at > float("-inf")  # webhooks are refused: no grace counts
        gate.open()


async def test_the_version_changes_with_other_connections_alone(path: Path) -> None:
    async with opened(path) as database:
        before = await database.version_elsewhere()
        await database.write(noting("our own"))
        await database.read(notes)
        assert await database.version_elsewhere() == before
        with writing(path) as tx:
            noting("theirs")(tx)
        assert await database.version_elsewhere() != before


async def test_the_version_is_notified_under_any_load(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notification between processes also works under load: between any two transactions."""
    monkeypatch.setattr(database_module, "PIECES_PER_COMMIT_MAX", 1)
    first, later = ModelGate(), ModelGate()
    async with opened(path) as database, asyncio.TaskGroup() as tasks:
        tasks.create_task(database.write(first.hold))
        await first.entered()
        tasks.create_task(database.write(noting("between")))
        tasks.create_task(database.write(later.hold))
        version = tasks.create_task(database.version_elsewhere())
        await queued(database, 2)
        first.open()
        assert await version > 0
        later.open()


async def test_the_time_of_a_commit_is_reported(path: Path) -> None:
    async with opened(path) as database:
        await database.write(noting("timed"))
        assert database.commit_ms > 0


async def test_aiosqlite_still_runs_a_function_on_its_own_thread(path: Path) -> None:
    """`_run` relies on two private names of aiosqlite; this test detects when they change."""
    connection = await aiosqlite.Connection(lambda: connect(path), iter_chunk_size=64)
    try:
        raw = connection._conn
        assert isinstance(raw, sqlite3.Connection)
        thread = await connection._execute(threading.get_ident)  # type: ignore[no-untyped-call]
        again, seen = await connection._execute(  # type: ignore[no-untyped-call]
            lambda given: (threading.get_ident(), given), raw
        )
        assert thread == again != threading.get_ident()
        assert seen is raw
        with pytest.raises(RefusedError):
            await connection._execute(_refuse)  # type: ignore[no-untyped-call]
    finally:
        await connection.close()


def _refuse() -> None:
    raise RefusedError("No.")


def test_a_connection_is_durable_and_checks_its_keys(path: Path) -> None:
    connection = connect(path)
    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": database_module.BUSY_TIMEOUT_MS,
    }
    connection.close()


def test_a_transaction_is_kept_whole_or_not_at_all(path: Path) -> None:
    connection = connect(path)

    def break_off() -> None:
        with transaction(connection) as tx:
            noting("half")(tx)
            _refuse()

    with pytest.raises(RefusedError):
        break_off()
    with transaction(connection) as tx:
        noting("whole")(tx)
    assert not connection.in_transaction
    connection.close()
    assert notes_on_disk(path) == ["whole"]


def test_a_transaction_under_anothers_lock_is_a_storage_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)
    other, connection = connect(path), connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"), transaction(connection):
        pass
    other.execute("ROLLBACK")
    for one in (other, connection):
        one.close()


def test_a_file_in_a_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        connect(tmp_path / "nowhere" / "wbot.db")
