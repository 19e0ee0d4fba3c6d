"""The processing_errors table: every failure that ended a message or a send."""

import sqlite3

from wbot.domain.errors import RefusedError

INSERT = """
INSERT INTO processing_errors (message_id, error_message, created_at, retry_count, business_id,
    conversation_id, outbox_id)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def add(
    tx: sqlite3.Connection,
    error_message: str,
    *,
    now: str,
    business_id: str,
    conversation_id: int,
    message_id: str | None,
    retry_count: int = 0,
    outbox_id: int | None = None,
) -> None:
    """Record a failure; `retry_count` is how often it was tried again before it counted as one."""
    tx.execute(
        INSERT,
        (message_id, error_message, now, retry_count, business_id, conversation_id, outbox_id),
    )


def every(tx: sqlite3.Connection, limit: int) -> list[sqlite3.Row]:
    """The latest failures, newest first."""
    return tx.execute(
        "SELECT * FROM processing_errors ORDER BY id DESC LIMIT ?", (limit,)
    ).fetchall()


def by_id(tx: sqlite3.Connection, error_id: int) -> sqlite3.Row | None:
    """One failure, or None."""
    row: sqlite3.Row | None = tx.execute(
        "SELECT * FROM processing_errors WHERE id = ?", (error_id,)
    ).fetchone()
    return row


def required(tx: sqlite3.Connection, error_id: int) -> sqlite3.Row:
    """One failure; raises RefusedError where there is none."""
    row = by_id(tx, error_id)
    if row is None:
        raise RefusedError(f"There is no failure {error_id}; `wbot errors list` shows them.")
    return row


def count(tx: sqlite3.Connection) -> int:
    """How many failures there are."""
    return int(tx.execute("SELECT count(*) FROM processing_errors").fetchone()[0])


def of_message(tx: sqlite3.Connection, message_id: str) -> list[sqlite3.Row]:
    """The failures of one message, oldest first."""
    return tx.execute(
        "SELECT * FROM processing_errors WHERE message_id = ? ORDER BY id", (message_id,)
    ).fetchall()


def mark_retried(tx: sqlite3.Connection, message_id: str) -> None:
    """Close the open failures of a message that lives again."""
    tx.execute(
        "UPDATE processing_errors SET state = 'retried' WHERE message_id = ? AND state = 'open'",
        (message_id,),
    )


def purge(tx: sqlite3.Connection, before: str) -> int:
    """Delete failures recorded before an instant; how many."""
    return tx.execute("DELETE FROM processing_errors WHERE created_at < ?", (before,)).rowcount
