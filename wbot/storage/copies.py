"""Copies of a whole database file, also of one in use: made whole, or not at all."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from wbot.domain.errors import ConfigurationError, StorageError
from wbot.storage.database import Connection
from wbot.storage.files import open_private

SIDES = ("-wal", "-shm", "-journal")
"""Files beside a database that SQLite would read as its own."""


@contextmanager
def opened_copy(path: Path) -> Iterator[Connection]:
    """A database that is only read; raises StorageError where it is none or damaged."""
    try:
        # Not mode=ro: the last connection to close could then not remove the WAL that it made.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as raw:
            raw.isolation_level = None
            raw.row_factory = sqlite3.Row
            raw.execute("PRAGMA query_only = ON")
            yield raw
    except (sqlite3.Error, ConfigurationError) as error:
        raise StorageError(f"{path} cannot be read as a database: {error}") from error


def copy_to(source: Path, path: Path, finish: Callable[[Connection], None]) -> None:
    """Copy a database as it is at one moment, let `finish` change and check it, then name it.

    It has that name whole and on disk, or not at all. Raises StorageError, and what `finish` does.
    """
    partial = partial_of(path)
    try:
        remove(partial)
        os.close(open_private(partial, os.O_WRONLY))
        with opened_copy(source) as original, closing(_connect(partial)) as copy:
            original.backup(copy)  # in one step: a writer meanwhile does not restart it
            # One file, that needs none beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("PRAGMA synchronous = FULL")
            copy.execute("PRAGMA foreign_keys = ON")
            _check_pages(copy)
            finish(copy)
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{path} cannot be written: {_reason(error)}.") from error
    finally:
        remove(partial)


def partial_of(path: Path) -> Path:
    """The name that a copy has while it is being made."""
    return path.with_name(f"{path.name}.partial")


def remove(path: Path) -> None:
    """Remove a database file and what is beside it, if anything."""
    for end in ("", *SIDES):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def in_the_way(path: Path) -> Path | None:
    """A file that a new database of this name would overwrite, or read as its own."""
    found = [path.with_name(f"{path.name}{end}") for end in ("", *SIDES)]
    return next((one for one in found if os.path.lexists(one)), None)


def kept_name(path: Path, stamp: str) -> Path | None:
    """The dated name that a database about to be replaced gets; None for an empty one."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    names = (f"{path.name}.replaced-{stamp}{end}" for end in ("", *(f"-{n}" for n in range(2, 99))))
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def keep_as(path: Path, kept: Path) -> None:
    """Give a database a second name, under which it stays when the first is taken.

    The caller holds it, so that nobody writes to it. Raises StorageError.
    """
    try:
        _write_back(path)
        os.link(path, kept)
        for end in SIDES:
            side = path.with_name(f"{path.name}{end}")
            if side.exists():
                side.rename(kept.with_name(f"{kept.name}{end}"))
        _sync(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be kept as {kept}: {_reason(error)}.") from error


def _write_back(path: Path) -> None:
    """Bring what is in the WAL into the file; one that is damaged keeps its WAL beside it."""
    try:
        with closing(_connect(path)) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        return


def _connect(path: Path) -> Connection:
    raw = sqlite3.connect(path, isolation_level=None)
    raw.row_factory = sqlite3.Row
    return raw


def _check_pages(copy: Connection) -> None:
    found = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        raise StorageError(f"The copy is damaged, so the database is too: {found[0]}.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
