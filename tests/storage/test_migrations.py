"""From an empty file to the schema of this program, and files that must not be touched."""

import re
import sqlite3
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pytest
from conftest import query

from wbot.domain.business import PayeeRule, ShowPayer
from wbot.domain.errors import ConfigurationError, StorageError
from wbot.domain.foreign import ForeignWords
from wbot.domain.ledger import CauseKind, Phase, TransferKind
from wbot.domain.prompts import PromptKind
from wbot.storage import migrations
from wbot.storage.database import connect
from wbot.storage.migrations import Migration, migrate

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OURS = migrations.migrations()
VERSIONS = [one.version for one in OURS]
NEXT = VERSIONS[-1] + 1
SECOND = Migration(
    NEXT,
    "CREATE TABLE extras (id INTEGER PRIMARY KEY); -- a semicolon; in a comment\n"
    "CREATE TRIGGER extras_stay BEFORE DELETE ON extras\n"
    "BEGIN SELECT RAISE(ABORT, 'extras stay; all of them'); END;\n",
)
THIRD = Migration(NEXT + 1, "CREATE TABLE more (id INTEGER PRIMARY KEY);\n")
BROKEN = Migration(
    NEXT + 1, "CREATE TABLE more (id INTEGER PRIMARY KEY);\nCREATE TABLE extras (id);\n"
)
COPY = f"wbot.db.before-{NEXT:04}"
A_PLAIN_SENTENCE = re.compile(r"The database [^\n]*\.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wbot.db"


def migrated(path: Path) -> None:
    connection = connect(path)
    try:
        migrate(connection, path, NOW)
    finally:
        connection.close()


def schema(path: Path) -> list[str]:
    rows = query(path, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    return [row["sql"] for row in rows]


def versions(path: Path) -> list[int]:
    rows = query(path, "SELECT version FROM schema_version ORDER BY version")
    return [row["version"] for row in rows]


def copies(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.glob("*.before-*"))


def know(monkeypatch: pytest.MonkeyPatch, *later: Migration) -> None:
    """Add these schema files to the program."""
    known = (*OURS, *later)
    monkeypatch.setattr(migrations, "migrations", lambda: known)


def refusal_of(path: Path) -> str:
    with pytest.raises(ConfigurationError, match=A_PLAIN_SENTENCE) as refused:
        migrated(path)
    return str(refused.value)


def test_a_fresh_file_gets_the_whole_schema(path: Path) -> None:
    migrated(path)
    known = migrations.migrations()
    seen = query(path, "SELECT version, sha256, at FROM schema_version ORDER BY version")
    assert [(row["version"], row["sha256"]) for row in seen] == [
        (migration.version, migration.sha256) for migration in known
    ]
    assert {row["at"] for row in seen} == {"2026-11-23T12:00:00.000000Z"}
    tables = query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    operators_query = {"businesses", "processing_errors", "messages", "message_ids"}
    assert operators_query <= {row["name"] for row in tables}
    triggers = query(path, "SELECT count(*) AS n FROM sqlite_master WHERE type = 'trigger'")
    assert triggers == [{"n": len(migrations.triggers())}]
    assert query(path, "PRAGMA foreign_key_check") == []
    assert copies(path) == []


def test_the_schema_files_hold_nothing_that_is_not_run() -> None:
    """Anything after the last complete statement would be dropped silently."""
    for migration in migrations.migrations():
        run = "".join(migrations._statements(migration.sql))
        assert migration.sql.removeprefix(run).strip() == ""


def test_each_installation_gets_an_id_of_its_own(tmp_path: Path) -> None:
    ids = set()
    for name in ("one.db", "two.db"):
        migrated(tmp_path / name)
        (row,) = query(tmp_path / name, "SELECT id FROM installation")
        ids.add(row["id"])
    assert len(ids) == 2


def test_migrating_again_changes_nothing(path: Path) -> None:
    migrated(path)
    before = (schema(path), query(path, "SELECT * FROM installation"))
    migrated(path)
    assert (schema(path), query(path, "SELECT * FROM installation")) == before
    assert copies(path) == []


def test_what_is_missing_is_reported_and_nothing_is_changed(path: Path) -> None:
    connection = connect(path)
    assert migrations.pending(connection) == migrations.migrations()
    assert schema(path) == []
    migrate(connection, path, NOW)
    assert migrations.pending(connection) == ()
    connection.close()


def test_a_copy_is_made_before_an_upgrade(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrated(path)
    before = (schema(path), query(path, "SELECT * FROM installation"))
    know(monkeypatch, SECOND)
    migrated(path)
    assert copies(path) == [COPY]
    copy = path.with_name(COPY)
    assert (schema(copy), query(copy, "SELECT * FROM installation")) == before
    assert versions(path) == [*VERSIONS, NEXT]
    connection = connect(path)
    connection.execute("INSERT INTO extras VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError, match="extras stay; all of them"):
        connection.execute("DELETE FROM extras")
    connection.close()


def test_a_copy_left_by_an_upgrade_that_failed_is_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.with_name(COPY).write_text("half a copy")
    migrated(path)
    know(monkeypatch, SECOND)
    migrated(path)
    assert versions(path.with_name(COPY)) == VERSIONS


def test_a_copy_that_cannot_be_made_stops_the_upgrade(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(path)
    know(monkeypatch, SECOND)
    path.with_name(COPY).mkdir()
    assert "cannot be copied" in refusal_of(path)
    assert versions(path) == VERSIONS


def test_a_failing_upgrade_leaves_the_schema_it_had(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(path)
    know(monkeypatch, SECOND)
    migrated(path)
    before = schema(path)
    know(monkeypatch, SECOND, BROKEN)
    with pytest.raises(StorageError, match="extras already exists"):
        migrated(path)
    assert schema(path) == before
    know(monkeypatch, SECOND, THIRD)
    migrated(path)
    assert copies(path) == [COPY, f"wbot.db.before-{NEXT + 1:04}"]


def test_a_newer_database_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        know(newer, SECOND)
        migrated(path)
    before = schema(path)
    assert f"schema {NEXT}, newer than this wbot's {NEXT - 1}" in refusal_of(path)
    assert schema(path) == before


def test_another_edition_of_a_schema_is_refused(path: Path) -> None:
    migrated(path)
    connection = connect(path)
    connection.execute("UPDATE schema_version SET sha256 = ?", ("0" * 64,))
    connection.close()
    assert "another edition of schema 1" in refusal_of(path)


def test_a_foreign_database_is_refused(path: Path) -> None:
    connection = connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    assert "not one of wbot's" in refusal_of(path)
    assert schema(path) == ["CREATE TABLE recipes (name TEXT)"]


@pytest.mark.parametrize("size", [20, 4_096, 100_000])
def test_a_file_that_is_no_database_is_refused_and_kept(path: Path, size: int) -> None:
    garbage = (b"Dear diary, " * size)[:size]
    path.write_bytes(garbage)
    assert "cannot be" in refusal_of(path)
    assert path.read_bytes() == garbage


def test_a_folder_is_refused(path: Path) -> None:
    path.mkdir()
    assert "cannot be used" in refusal_of(path)


def test_a_database_of_before_the_first_schema_is_refused(path: Path) -> None:
    """Its schemas 1 to 3 are in today's first; nothing of it is changed."""
    connection = connect(path)
    connection.execute("CREATE TABLE schema_version (version INTEGER, sha256 TEXT, at TEXT)")
    for version in (1, 2, 3):
        connection.execute("INSERT INTO schema_version VALUES (?, 'older', '')", (version,))
    connection.close()
    before = schema(path)
    assert "another edition of schema 1; use the wbot that made it" in refusal_of(path)
    assert schema(path) == before
    assert copies(path) == []


def test_schema_numbers_may_have_gaps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = Migration(NEXT + 5, THIRD.sql)
    with monkeypatch.context() as older:
        know(older, later)
        migrated(path)
    know(monkeypatch, SECOND, later)
    migrated(path)
    assert versions(path) == [*VERSIONS, NEXT, NEXT + 5]
    assert copies(path) == [COPY]


def test_allowed_values_stand_in_tables(path: Path) -> None:
    """A list in a CHECK could grow only by a rebuild of its table."""
    migrated(path)
    assert [sql for sql in schema(path) if re.search(r"CHECK \([^)]*\bIN \(", sql)] == []


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("payee_rules", PayeeRule),
        ("payer_names", ShowPayer),
        ("foreign_words", ForeignWords),
        ("prompt_kinds", PromptKind),
        ("transfer_kinds", TransferKind),
        ("transfer_phases", Phase),
        ("cause_kinds", CauseKind),
    ],
)
def test_the_schema_allows_what_the_domain_knows(
    path: Path, table: str, values: type[StrEnum]
) -> None:
    migrated(path)
    rows = query(path, f"SELECT * FROM {table}")  # noqa: S608  our own names
    assert {value for row in rows for value in row.values()} == {str(one) for one in values}
