"""The processing_errors table: every failure that ended a message or a send."""

import msgspec

from wbot.domain.errors import RefusedError
from wbot.storage.tx import Tx, typed, typed_or_none

INSERT = """
INSERT INTO processing_errors (message_id, error_message, created_at, retry_count, business_id,
    conversation_id, outbox_id)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failure; `retry_count` is how often the message was retried before, times are text."""

    id: int
    message_id: str | None
    error_message: str
    created_at: str
    retry_count: int
    state: str
    business_id: str | None
    conversation_id: int | None
    outbox_id: int | None


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


def every(tx: Tx, limit: int) -> list[Failure]:
    """The latest failures, newest first."""
    rows = tx.execute("SELECT * FROM processing_errors ORDER BY id DESC LIMIT ?", (limit,))
    return [typed(Failure, row) for row in rows.fetchall()]


def by_id(tx: Tx, error_id: int) -> Failure | None:
    """One failure, or None."""
    row = tx.execute("SELECT * FROM processing_errors WHERE id = ?", (error_id,)).fetchone()
    return typed_or_none(Failure, row)


def required(tx: Tx, error_id: int) -> Failure:
    """One failure; raises RefusedError where there is none."""
    found = by_id(tx, error_id)
    if found is None:
        raise RefusedError(f"There is no failure {error_id}; `wbot errors list` shows them.")
    return found


def count(tx: Tx) -> int:
    """How many failures there are."""
    return int(tx.execute("SELECT count(*) FROM processing_errors").fetchone()[0])


def of_message(tx: Tx, message_id: str) -> list[Failure]:
    """The failures of one message, oldest first."""
    rows = tx.execute(
        "SELECT * FROM processing_errors WHERE message_id = ? ORDER BY id", (message_id,)
    )
    return [typed(Failure, row) for row in rows.fetchall()]


def mark_retried(tx: Tx, message_id: str) -> None:
    """Close the open failures of a requeued message."""
    tx.execute(
        "UPDATE processing_errors SET state = 'retried' WHERE message_id = ? AND state = 'open'",
        (message_id,),
    )


def purge(tx: Tx, before: str) -> int:
    """Delete failures recorded before an instant; how many."""
    return tx.execute("DELETE FROM processing_errors WHERE created_at < ?", (before,)).rowcount
