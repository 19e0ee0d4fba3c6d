"""Questions with buttons: what was asked, until when, how it ended, and which are open."""

import secrets

from wbot.domain.prompts import PromptKind
from wbot.domain.states import MessageState, PromptOutcome
from wbot.storage import messages
from wbot.storage.tx import Row, Tx

# A message from before the expiry still waits for its turn: it may be the yes.
MAY_BE_ANSWERED = """
EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = p.conversation_id
    AND m.state IN ('waiting', 'begun') AND m.received_at <= p.expires_at)
"""
DUE = f"""
SELECT p.* FROM prompts p
WHERE p.outcome IS NULL AND p.expires_at IS NOT NULL AND p.expires_at <= ?
    AND NOT {MAY_BE_ANSWERED}
"""  # noqa: S608  our own text
END = """
UPDATE prompts SET outcome = ?, ended_at = ?, ended_by = ? WHERE id = ? AND outcome IS NULL
"""
# WhatsApp's times have whole seconds. What this message itself answered before a crash, it still
# answers; for a confirmation, its effects show that. Each part by its own index.
ANSWERABLE = """
WITH asked AS (
    SELECT kind, token, message_id, asked_at, 1 AS is_open FROM prompts
    WHERE conversation_id = :conversation_id AND outcome IS NULL
        AND (kind <> 'stale' OR asked_at >= :since)
    UNION ALL
    SELECT kind, token, message_id, asked_at, 1 FROM prompts
    WHERE ended_by = :message_id AND conversation_id = :conversation_id AND kind <> 'confirm'
    UNION ALL
    SELECT kind, token, message_id, asked_at, 0 FROM prompts
    WHERE conversation_id = :conversation_id AND outcome = 'expired' AND told_by IS NULL
        AND kind = 'confirm'
)
SELECT DISTINCT a.kind, a.token, a.is_open, a.asked_at
FROM asked a
JOIN outbox o ON o.message_id = a.message_id AND o.created_at >= a.asked_at
JOIN conversations v ON v.id = o.conversation_id
WHERE o.state <> 'failed' AND o.id > coalesce(v.model_spoke_after, 0)
    AND o.accepted_at <= :received_at AND substr(o.accepted_at, 1, 19) <= :written_at
ORDER BY a.asked_at
"""


def ask(
    tx: Tx,
    kind: PromptKind,
    *,
    conversation_id: int,
    message_id: str,
    now: str,
    expires_at: str | None = None,
    transfer_id: int | None = None,
) -> Row:
    """Store a question that is the reply to a message; its row.

    A later revision of the message asks the same question again, with a new expiry. Its token is
    random: a restored copy must not take an old tap for a new one.
    """
    asked = of_message(tx, message_id, kind)
    if asked is not None and asked["outcome"] is None and expires_at is not None:
        tx.execute("UPDATE prompts SET expires_at = ? WHERE id = ?", (expires_at, asked["id"]))
        return asked
    row: Row = tx.execute(
        "INSERT INTO prompts (kind, token, conversation_id, message_id, transfer_id, asked_at, "
        "expires_at) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (kind, secrets.token_hex(8), conversation_id, message_id, transfer_id, now, expires_at),
    ).fetchall()[0]
    return row


def by_token(tx: Tx, token: str) -> Row | None:
    """The question that these buttons belong to, or None."""
    row: Row | None = tx.execute("SELECT * FROM prompts WHERE token = ?", (token,)).fetchone()
    return row


def of_message(tx: Tx, message_id: str, kind: PromptKind) -> Row | None:
    """The latest question of this kind in the reply to a message, or None."""
    row: Row | None = tx.execute(
        "SELECT * FROM prompts WHERE message_id = ? AND kind = ? ORDER BY id DESC LIMIT 1",
        (message_id, kind),
    ).fetchone()
    return row


def has_asked_about(tx: Tx, transfer_id: int, *, apart_from: str) -> bool:
    """Whether the customer was asked, after another message, about taking this transfer back."""
    row = tx.execute(
        "SELECT 1 FROM prompts WHERE transfer_id = ? AND message_id <> ? LIMIT 1",
        (transfer_id, apart_from),
    ).fetchone()
    return row is not None


def due(tx: Tx, before: str) -> list[Row]:
    """Open questions that had expired at that instant, and that no message can still answer."""
    return tx.execute(DUE, (before,)).fetchall()


def may_be_answered(tx: Tx, prompt_id: int) -> bool:
    """Whether a message from before the question's expiry still waits for its turn."""
    row = tx.execute(
        f"SELECT {MAY_BE_ANSWERED} FROM prompts p WHERE p.id = ?",  # noqa: S608  our own text
        (prompt_id,),
    ).fetchone()
    return bool(row[0])


def end(tx: Tx, prompt_id: int, *, outcome: PromptOutcome, by: str | None, now: str) -> None:
    """Close the question, if it is open; `by` is the message that did, if any."""
    tx.execute(END, (outcome, now, by, prompt_id))


def expired_untold(tx: Tx, conversation_id: int) -> list[Row]:
    """Expired confirmations of a conversation whose customer was not told of the expiry."""
    return tx.execute(
        "SELECT * FROM prompts WHERE conversation_id = ? AND outcome = 'expired' "
        "AND told_by IS NULL AND kind = 'confirm' ORDER BY asked_at",
        (conversation_id,),
    ).fetchall()


def mark_told(tx: Tx, prompt_id: int, by: str) -> None:
    """Record that the reply to this message tells the customer of the expiry."""
    tx.execute("UPDATE prompts SET told_by = ? WHERE id = ?", (by, prompt_id))


def answerable(
    tx: Tx, message: messages.StoredMessage, *, since: str
) -> list[tuple[PromptKind, str]]:
    """Kind and token of each question that a plain yes or no can be about, oldest first.

    WhatsApp had accepted the question before, and the model has not spoken since. Those about stale
    messages count from an instant on. Where none is open, those that expired without the customer
    being told.
    """
    values = {
        "conversation_id": message.conversation_id,
        "message_id": message.message_id,
        # A message that WhatsApp delivers late may answer something else.
        "written_at": message.sent_at or message.received_at,
        "received_at": message.received_at,
        "since": since,
    }
    rows = tx.execute(ANSWERABLE, values).fetchall()
    open_ = [row for row in rows if row["is_open"]]
    return [(PromptKind(row["kind"]), row["token"]) for row in open_ or rows]


def note_model_spoke(tx: Tx, conversation_id: int) -> None:
    """From now on a plain answer may be meant for the model, not for an earlier question."""
    tx.execute(
        "UPDATE conversations SET model_spoke_after = (SELECT max(id) FROM outbox) WHERE id = ?",
        (conversation_id,),
    )


# About stale messages ------------------------------------------------------------------------


def note_asked_about(tx: Tx, prompt_id: int, message_ids: list[str]) -> None:
    """Record which messages the question is about."""
    tx.executemany(
        "UPDATE messages SET prompt_id = ? WHERE message_id = ?",
        [(prompt_id, message_id) for message_id in message_ids],
    )


def approve_stale(tx: Tx, prompt_id: int, now: str) -> None:
    """Requeue the messages that the question is about, as approved by their customer."""
    asked = tx.execute(
        "SELECT message_id, state FROM messages WHERE prompt_id = ? ORDER BY sort_at, number",
        (prompt_id,),
    ).fetchall()
    for row in asked:
        if row["state"] != MessageState.BEGUN:  # one whose turn has begun is answered anyway
            messages.requeue(tx, row["message_id"], now)
        messages.approve_stale(tx, row["message_id"])


def ended_at(tx: Tx, prompt_id: int | None) -> str | None:
    """When the question was answered, or None."""
    row = tx.execute("SELECT ended_at FROM prompts WHERE id = ?", (prompt_id,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])
