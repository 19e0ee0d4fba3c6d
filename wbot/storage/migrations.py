"""The numbered schema files, and which of them a database has."""

import hashlib
import os
import secrets
import sqlite3
from datetime import datetime
from importlib import resources
from pathlib import Path

import msgspec

from wbot.clock import to_text
from wbot.domain.errors import ConfigurationError
from wbot.storage.database import transaction
from wbot.storage.files import open_private

_TRIGGER = "CREATE TRIGGER"


class Migration(msgspec.Struct, frozen=True):
    """One schema file; a database with another text of the same number is refused."""

    version: int
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """Every schema file this program knows, in order."""
    folder = resources.files("wbot.storage") / "schema"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return tuple(
        Migration(int(file.name.split("_")[0]), file.read_text("utf-8"))
        for file in files
        if file.name.endswith(".sql")
    )


def triggers() -> dict[str, str]:
    """The guards of the whole schema by name, exactly as SQLite stores them."""
    found: dict[str, str] = {}
    for migration in migrations():
        for statement in _statements(migration.sql):
            if _TRIGGER in statement:
                text = statement[statement.index(_TRIGGER) :].strip().removesuffix(";")
                found[text.split()[2]] = text
    return found


def pending(connection: sqlite3.Connection) -> tuple[Migration, ...]:
    """What the database still lacks; raises ConfigurationError where it is not ours or newer."""
    known = migrations()
    applied = _seen(connection)
    seen = dict(applied)
    for migration in known:
        sha256 = seen.pop(migration.version, migration.sha256)
        if sha256 != migration.sha256:
            raise ConfigurationError(
                f"The database was made with another edition of schema {migration.version}; "
                "use the wbot that made it, or begin a new database."
            )
    if seen:
        raise ConfigurationError(
            f"The database has schema {max(seen)}, newer than this wbot's {known[-1].version}; "
            "install the newer wbot, or restore the copy made before its upgrade."
        )
    return tuple(migration for migration in known if migration.version not in applied)


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    now: datetime,
    *,
    creates: bool = True,
    copies: bool = True,
) -> None:
    """Bring the database up to this program's schema; copied first if it is not empty.

    Without `copies` it is a copy itself.

    Raises ConfigurationError where it is empty, and none may be created.
    """
    missing = pending(connection)
    if not missing:
        return
    if _seen(connection):
        if copies:
            _copy(connection, path.with_name(f"{path.name}.before-{missing[0].version:04}"))
    elif not creates:
        raise ConfigurationError(
            f"The database {path} is empty: name another, or let `wbot serve --create` begin it."
        )
    for migration in missing:
        with transaction(connection):
            _apply(connection, migration, now)


def _copy(connection: sqlite3.Connection, copy: Path) -> None:
    try:
        copy.unlink(missing_ok=True)
        os.close(open_private(copy, os.O_RDONLY))  # VACUUM accepts an empty file
        connection.execute("VACUUM INTO ?", (str(copy),))
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"The database cannot be copied to {copy} before its upgrade: {error}."
        ) from error


def _apply(connection: sqlite3.Connection, migration: Migration, now: datetime) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version "
        "(version INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, at TEXT NOT NULL)"
    )
    for statement in _statements(migration.sql):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO schema_version (version, sha256, at) VALUES (?, ?, ?)",
        (migration.version, migration.sha256, to_text(now)),
    )
    if migration.version == 1:
        connection.execute(
            "INSERT INTO installation (id, created_at) VALUES (?, ?)",
            (secrets.token_hex(4), to_text(now)),
        )


def _statements(sql: str) -> list[str]:
    # executescript would commit first; complete_statement knows where a trigger ends.
    statements, current = [], ""
    for line in sql.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements


def _seen(connection: sqlite3.Connection) -> dict[int, str]:
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {row[0] for row in names.fetchall()}
        if "schema_version" in tables:
            rows = connection.execute("SELECT version, sha256 FROM schema_version").fetchall()
            return {int(row[0]): str(row[1]) for row in rows}
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"The database cannot be read: {error}.") from error
    if tables:
        raise ConfigurationError("The database is not one of wbot's; name another file.")
    return {}
