"""Questions about stale messages, and which question of any kind a plain yes or no can answer."""

from wbot.domain.states import MessageState, StaleAnswer
from wbot.storage import messages
from wbot.storage.tx import Tx

# WhatsApp's times have whole seconds. What this message itself answered before a crash, it still
# answers; for a confirmation, its effects show that.
ANSWERABLE = """
WITH asked AS (
    SELECT 'confirm' AS kind, token AS key, message_id, asked_at, 1 AS is_open
    FROM confirmations WHERE conversation_id = :conversation_id AND outcome IS NULL
    UNION ALL
    SELECT 'confirm', token, message_id, asked_at, 0 FROM confirmations
    WHERE conversation_id = :conversation_id AND outcome = 'expired' AND told_by IS NULL
    UNION ALL
    SELECT 'stale', CAST(q.id AS TEXT), m.message_id, q.asked_at, 1
    FROM stale_questions q JOIN messages m ON m.question_id = q.id
    WHERE q.conversation_id = :conversation_id AND q.asked_at >= :since
        AND (q.answered_by IS NULL OR q.answered_by = :message_id)
)
SELECT DISTINCT a.kind, a.key, a.is_open
FROM asked a
JOIN outbox o ON o.message_id = a.message_id AND o.created_at >= a.asked_at
JOIN conversations v ON v.id = o.conversation_id
WHERE o.state <> 'failed' AND o.id > coalesce(v.model_spoke_after, 0)
    AND o.accepted_at <= :received_at AND substr(o.accepted_at, 1, 19) <= :written_at
"""


def ask(tx: Tx, conversation_id: int, message_ids: list[str], now: str) -> int:
    """Store a question about these messages; its number."""
    cursor = tx.execute(
        "INSERT INTO stale_questions (conversation_id, asked_at) VALUES (?, ?)",
        (conversation_id, now),
    )
    question_id = int(cursor.lastrowid or 0)
    tx.executemany(
        "UPDATE messages SET question_id = ? WHERE message_id = ?",
        [(question_id, message_id) for message_id in message_ids],
    )
    return question_id


def answerable(tx: Tx, message: messages.StoredMessage, *, since: str) -> list[tuple[str, str]]:
    """Kind and key of each question that a plain yes or no can be about.

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
    return [(row["kind"], row["key"]) for row in open_ or rows]


def note_model_spoke(tx: Tx, conversation_id: int) -> None:
    """From now on a plain answer may be meant for the model, not for an earlier question."""
    tx.execute(
        "UPDATE conversations SET model_spoke_after = (SELECT max(id) FROM outbox) WHERE id = ?",
        (conversation_id,),
    )


def settle(
    tx: Tx,
    key: str,
    *,
    conversation_id: int,
    answer: StaleAnswer,
    message_id: str,
    now: str,
) -> bool:
    """Answer the question of this number once, by a message of its conversation.

    A yes approves and requeues its messages. False where there is no such question here, or another
    message has answered it.
    """
    row = tx.execute(
        "SELECT id, answered_by FROM stale_questions WHERE id = ? AND conversation_id = ?",
        (key, conversation_id),
    ).fetchone()
    if row is None or row["answered_by"] not in {None, message_id}:
        return False
    if row["answered_by"] is None:
        tx.execute(
            "UPDATE stale_questions SET answer = ?, answered_by = ?, answered_at = ? WHERE id = ?",
            (answer, message_id, now, row["id"]),
        )
        if answer is StaleAnswer.YES:
            _approve_stale(tx, row["id"], now)
    return True


def answered_at(tx: Tx, question_id: int | None) -> str | None:
    """When the question was answered, or None."""
    row = tx.execute(
        "SELECT answered_at FROM stale_questions WHERE id = ?", (question_id,)
    ).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def _approve_stale(tx: Tx, question_id: int, now: str) -> None:
    asked = tx.execute(
        "SELECT message_id, state FROM messages WHERE question_id = ? ORDER BY sort_at, number",
        (question_id,),
    ).fetchall()
    for row in asked:
        if row["state"] != MessageState.BEGUN:  # one whose turn has begun is answered anyway
            messages.requeue(tx, row["message_id"], now)
        messages.approve_stale(tx, row["message_id"])
