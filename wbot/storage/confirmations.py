"""What customers were asked to confirm, until when, and how each question ended."""

from wbot.domain.states import ConfirmationOutcome
from wbot.storage.tx import Row, Tx

INSERT = """
INSERT INTO confirmations (message_id, conversation_id, token, asked_at, expires_at)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (message_id) DO UPDATE SET expires_at = excluded.expires_at WHERE outcome IS NULL
"""
# A message from before the expiry still waits for its turn: it may be the yes.
MAY_BE_ANSWERED = """
EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = c.conversation_id
    AND m.state IN ('waiting', 'begun') AND m.received_at <= c.expires_at)
"""
DUE = f"""
SELECT c.* FROM confirmations c
WHERE c.outcome IS NULL AND c.expires_at <= ? AND NOT {MAY_BE_ANSWERED}
"""  # noqa: S608  our own text
END = """
UPDATE confirmations SET outcome = ?, ended_at = ?, ended_by = ?
WHERE message_id = ? AND outcome IS NULL
"""


def ask(
    tx: Tx,
    message_id: str,
    *,
    conversation_id: int,
    token: str,
    now: str,
    expires_at: str,
) -> str:
    """Store the question about what a message left pending; the token of its buttons.

    A later revision of the message asks the same question again, with a new expiry.
    """
    tx.execute(INSERT, (message_id, conversation_id, token, now, expires_at))
    row = tx.execute(
        "SELECT token FROM confirmations WHERE message_id = ?", (message_id,)
    ).fetchone()
    return str(row[0])


def by_token(tx: Tx, token: str) -> Row | None:
    """The question that these buttons belong to, or None."""
    row: Row | None = tx.execute("SELECT * FROM confirmations WHERE token = ?", (token,)).fetchone()
    return row


def of_message(tx: Tx, message_id: str) -> Row | None:
    """The question about what a message left pending, or None."""
    row: Row | None = tx.execute(
        "SELECT * FROM confirmations WHERE message_id = ?", (message_id,)
    ).fetchone()
    return row


def due(tx: Tx, before: str) -> list[Row]:
    """Open questions that had expired at that instant, and that no message can still answer."""
    return tx.execute(DUE, (before,)).fetchall()


def may_be_answered(tx: Tx, message_id: str) -> bool:
    """Whether a message from before the question's expiry still waits for its turn."""
    row = tx.execute(
        f"SELECT {MAY_BE_ANSWERED} FROM confirmations c WHERE c.message_id = ?",  # noqa: S608  our own text
        (message_id,),
    ).fetchone()
    return bool(row[0])


def end(tx: Tx, message_id: str, *, outcome: ConfirmationOutcome, by: str | None, now: str) -> None:
    """Close the question: confirmed, cancelled or expired; `by` is the message that did, if any."""
    tx.execute(END, (outcome, now, by, message_id))


def expired_untold(tx: Tx, conversation_id: int) -> list[Row]:
    """Expired questions of a conversation whose customer was not told of the expiry."""
    return tx.execute(
        "SELECT * FROM confirmations WHERE conversation_id = ? AND outcome = 'expired' "
        "AND told_by IS NULL ORDER BY asked_at",
        (conversation_id,),
    ).fetchall()


def mark_told(tx: Tx, message_id: str, by: str) -> None:
    """Record that the reply to this other message tells the customer of the expiry."""
    tx.execute("UPDATE confirmations SET told_by = ? WHERE message_id = ?", (by, message_id))
