"""From an empty file to the schema of this program, and files that must not be touched."""

import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import query

from wbot.domain.errors import ConfigurationError, StorageError
from wbot.domain.ledger import GENESIS_HASH, Cause, CauseKind, TransferKind, chain_hash
from wbot.domain.messages import log_id_of
from wbot.storage import invariants, ledger, messages, migrations, payees, timeline
from wbot.storage.database import connect
from wbot.storage.migrations import Migration, migrate

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OURS = migrations.migrations()
NEXT = len(OURS) + 1
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
    assert triggers == [{"n": 19}]
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
    assert versions(path) == [*range(1, NEXT + 1)]
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
    assert versions(path.with_name(COPY)) == [*range(1, NEXT)]


def test_a_copy_that_cannot_be_made_stops_the_upgrade(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated(path)
    know(monkeypatch, SECOND)
    path.with_name(COPY).mkdir()
    assert "cannot be copied" in refusal_of(path)
    assert versions(path) == [*range(1, NEXT)]


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


TWO_CUSTOMERS = """
INSERT INTO businesses (id, name, phone_number_id, access_token, currency, created_at)
    VALUES ('shop', 'Shop', '1', 'env:T', 'USD', 'then');
INSERT INTO customers (id, business_id, created_at) VALUES (1, 'shop', ''), (2, 'shop', '');
INSERT INTO payees VALUES (1, 1, 'John', 'john', 'then');
INSERT INTO accounts VALUES
    (1, 'shop', 'business', NULL, NULL, 'USD'), (2, 'shop', 'customer', 1, NULL, 'USD'),
    (3, 'shop', 'customer', 2, NULL, 'USD'), (4, 'shop', 'payee', NULL, 1, 'USD');
"""


def test_whom_customers_have_paid_is_known_after_the_upgrade(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrations, "migrations", lambda: OURS[:1])
        migrated(path)
    connection = connect(path)
    connection.executescript(TWO_CUSTOMERS)
    for number, (debit, credit) in enumerate([(1, 2), (2, 3), (2, 4), (2, 3)]):
        movement = ledger.Movement(
            business_id="shop",
            kind=TransferKind.TRANSFER if number else TransferKind.DEPOSIT,
            debit_account_id=debit,
            credit_account_id=credit,
            amount_minor=9 if number else 90,
            currency="USD",
            cause=Cause(CauseKind.OPERATOR, str(number)),
        )
        ledger.record(connection, movement, f"day {number}")
    migrate(connection, path, NOW)
    known = connection.execute("SELECT * FROM known_customers").fetchall()
    assert [tuple(row) for row in known] == [(1, 2, "day 1")]
    assert payees.is_known(connection, 1, "John")
    assert invariants.breaches(connection) == []
    connection.close()


def test_messages_from_before_have_their_name_in_logs_after_the_upgrade(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrations, "migrations", lambda: OURS[:2])
        migrated(path)
    connection = connect(path)
    connection.execute("INSERT INTO message_ids VALUES ('wamid.1')")
    connection.execute(
        "INSERT INTO messages (message_id, type, sort_at, received_at, state) "
        "VALUES ('wamid.1', 'text', '', '', 'silent')"
    )
    migrate(connection, path, NOW)
    assert timeline.message_logged_as(connection, log_id_of("wamid.1")) == "wamid.1"
    plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM messages WHERE log_id = ''")
    assert "messages_by_log_id" in plan.fetchone()["detail"]
    connection.close()


def test_a_statement_read_before_the_upgrade_counts_as_foreign_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It named the payer by a name of their own choice, and is in the history."""
    place = next(n for n, one in enumerate(OURS) if "foreign_words" in one.sql)
    with monkeypatch.context() as older:
        older.setattr(migrations, "migrations", lambda: OURS[:place])
        migrated(path)
    connection = connect(path)
    people = TWO_CUSTOMERS.partition("INSERT INTO payees")[0]
    connection.executescript(people)
    for name in ("statement", "balance"):
        step = f'{{"call_id":"c","name":"{name}","result":"{{}}"}}'
        connection.execute("INSERT INTO message_ids VALUES (?)", (name,))
        connection.execute(
            "INSERT INTO messages (message_id, type, sort_at, received_at, state) "
            "VALUES (?, 'text', '', '', 'answered')",
            (name,),
        )
        connection.execute("INSERT INTO steps VALUES (?, 0, 1, 'tool', ?, 1.0, '')", (name, step))
    migrate(connection, path, NOW)
    rows = connection.execute("SELECT message_id, foreign_words FROM messages").fetchall()
    assert {tuple(row) for row in rows} == {("statement", "read"), ("balance", None)}
    assert connection.execute("SELECT show_payer FROM businesses").fetchone()[0] == "none"
    connection.close()


TWO_MESSAGES = """
INSERT INTO conversations (id, business_id, customer_id, created_at) VALUES (1, 'shop', 1, '');
INSERT INTO message_ids VALUES ('a'), ('b'), ('c');
INSERT INTO messages
    (message_id, business_id, conversation_id, number, type, sent_at, sort_at, received_at, state)
VALUES ('a', 'shop', 1, 1, 'text', '2026-11-01', '2026-11-01', '', 'answered'),
    ('b', 'shop', 1, 2, 'text', '2026-11-02', '2026-11-02', '', 'silent'),
    ('c', 'shop', 1, 3, 'text', '2026-11-03', '2026-11-03', '', 'waiting');
"""


def test_stored_summaries_are_there_after_the_upgrade(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which message was handled last, and which pending transfers are still open."""
    with monkeypatch.context() as older:
        older.setattr(migrations, "migrations", lambda: OURS[:2])
        migrated(path)
    connection = connect(path)
    connection.executescript(TWO_CUSTOMERS.replace("'john', 'then'", "'john', 'then', NULL"))
    connection.executescript(TWO_MESSAGES)
    previous = GENESIS_HASH
    for row in (
        (1, "shop", "transfer", "pending", 2, 4, 5, "USD", None, None, "operator", "1", "day"),
        (2, "shop", "transfer", "pending", 2, 3, 7, "USD", None, None, "operator", "2", "day"),
        (3, "shop", "transfer", "void", 2, 4, 5, "USD", 1, None, "operator", "3", "day"),
    ):
        own = chain_hash(previous, *row)
        connection.execute(
            "INSERT INTO transfers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, previous, own),
        )
        previous = own
    connection.execute("INSERT INTO balances VALUES (2, 0, 7)")
    connection.execute("UPDATE businesses SET overdraft_minor = 100")
    migrate(connection, path, NOW)
    assert ledger.open_of_account(connection, 2) == [2]
    assert ledger.has_incoming_open(connection, 3)
    assert not ledger.has_incoming_open(connection, 4)
    assert invariants.breaches(connection) == []
    waiting = messages.next_of(connection, 1)
    assert waiting is not None
    assert not messages.note_lateness(connection, waiting)
    handled = connection.execute("SELECT last_handled_sent_at FROM conversations").fetchone()
    assert handled[0] == "2026-11-02"
    connection.close()


def test_outcomes_of_attempts_are_words_after_the_upgrade(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrations, "migrations", lambda: OURS[:2])
        migrated(path)
    connection = connect(path)
    connection.executescript(TWO_CUSTOMERS.partition("INSERT INTO payees")[0])
    connection.executescript(TWO_MESSAGES)
    outcomes = ["retry: HTTP 500: no", "held: The key is refused.", "stopped", "answered", None]
    for number, outcome in enumerate(outcomes):
        connection.execute(
            "INSERT INTO turns VALUES ('a', 0, ?, ?, '', '', ?)", (number, 1, outcome)
        )
    migrate(connection, path, NOW)
    rows = timeline.turns(connection, "a")
    assert [(row["outcome"], row["detail"]) for row in rows] == [
        ("retry", "HTTP 500: no"),
        ("blocked", "The key is refused."),
        ("stopped", None),
        ("answered", None),
        (None, None),
    ]
    connection.close()
