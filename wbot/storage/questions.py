"""Questions about stale messages, and the messages that each of them asks about."""

import sqlite3

from wbot.storage import messages


def ask(tx: sqlite3.Connection, conversation_id: int, message_ids: list[str], now: str) -> int:
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


def settle(
    tx: sqlite3.Connection,
    key: str,
    *,
    conversation_id: int,
    answer: str,
    message_id: str,
    now: str,
) -> bool:
    """Answer the question of this number once, by a message of its conversation.

    A yes takes its messages up. False where there is no such question here, or another message has
    answered it.
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
        if answer == "yes":
            _take_up(tx, row["id"], now)
    return True


def answered_at(tx: sqlite3.Connection, question_id: int | None) -> str | None:
    """When the question was answered, or None."""
    row = tx.execute(
        "SELECT answered_at FROM stale_questions WHERE id = ?", (question_id,)
    ).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def _take_up(tx: sqlite3.Connection, question_id: int, now: str) -> None:
    asked = tx.execute(
        "SELECT message_id FROM messages WHERE question_id = ? ORDER BY sort_at, number",
        (question_id,),
    ).fetchall()
    for row in asked:
        messages.revive(tx, row["message_id"], now)
        messages.take_up(tx, row["message_id"])
