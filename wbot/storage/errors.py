"""The processing_errors table: every failure that ended a message or a send."""

from wbot.domain.errors import RefusedError
from wbot.storage.tx import Row, Tx

INSERT = """
INSERT INTO processing_errors (message_id, error_message, created_at, retry_count, business_id,
    conversation_id, outbox_id)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def add(
    tx: Tx,
    error_message: str,
    *,
    now: str,
    business_id: str,
    conversation_id: int,
    message_id: str | None,
    retry_count: int = 0,
    outbox_id: int | None = None,
) -> None:
    """Record a failure; `retry_count` is how often it was retried before."""
    tx.execute(
        INSERT,
        (message_id, error_message, now, retry_count, business_id, conversation_id, outbox_id),
    )


def every(tx: Tx, limit: int) -> list[Row]:
    """The latest failures, newest first."""
    return tx.execute(
        "SELECT * FROM processing_errors ORDER BY id DESC LIMIT ?", (limit,)
    ).fetchall()


def by_id(tx: Tx, error_id: int) -> Row | None:
    """One failure, or None."""
    row: Row | None = tx.execute(
        "SELECT * FROM processing_errors WHERE id = ?", (error_id,)
    ).fetchone()
    return row


def required(tx: Tx, error_id: int) -> Row:
    """One failure; raises RefusedError where there is none."""
    row = by_id(tx, error_id)
    if row is None:
        raise RefusedError(f"There is no failure {error_id}; `wbot errors list` shows them.")
    return row


def count(tx: Tx) -> int:
    """How many failures there are."""
    return int(tx.execute("SELECT count(*) FROM processing_errors").fetchone()[0])


def of_message(tx: Tx, message_id: str) -> list[Row]:
    """The failures of one message, oldest first."""
    return tx.execute(
        "SELECT * FROM processing_errors WHERE message_id = ? ORDER BY id", (message_id,)
    ).fetchall()


def mark_retried(tx: Tx, message_id: str) -> None:
    """Close the open failures of a requeued message."""
    tx.execute(
        "UPDATE processing_errors SET state = 'retried' WHERE message_id = ? AND state = 'open'",
        (message_id,),
    )


def purge(tx: Tx, before: str) -> int:
    """Delete failures recorded before an instant; how many."""
    return tx.execute("DELETE FROM processing_errors WHERE created_at < ?", (before,)).rowcount
