"""What the owner of a business wrote to customers from the phone."""

import msgspec

from wbot.storage.tx import Tx

ADD = """
INSERT INTO echoes (message_id, conversation_id, type, content, said_at, webhook_id)
VALUES (:message_id, :conversation_id, :type, :content, :said_at, :webhook_id)
"""
OF_CONVERSATION = """
SELECT type, content, said_at FROM echoes
WHERE conversation_id = ? AND said_at >= ? AND content IS NOT NULL
ORDER BY said_at DESC LIMIT ?
"""


class NewEcho(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the owner wrote; `said_at` as text."""

    message_id: str
    conversation_id: int
    type: str
    content: str
    said_at: str
    webhook_id: int | None


class Echo(msgspec.Struct, frozen=True):
    """One thing the owner wrote; `said_at` as text."""

    type: str
    content: str
    said_at: str


def add(tx: Tx, echo: NewEcho) -> None:
    """Store it, and when the owner last spoke in the conversation."""
    tx.execute(ADD, msgspec.structs.asdict(echo))
    tx.execute(
        "UPDATE conversations SET owner_spoke_at = max(coalesce(owner_spoke_at, ''), ?) "
        "WHERE id = ?",
        (echo.said_at, echo.conversation_id),
    )


def lately(tx: Tx, conversation_id: int, *, since: str, limit: int) -> list[Echo]:
    """The owner's words since an instant, oldest first."""
    rows = tx.execute(OF_CONVERSATION, (conversation_id, since, limit)).fetchall()
    return [Echo(*row) for row in rows[::-1]]


def owner_spoke_at(tx: Tx, conversation_id: int) -> str | None:
    """When the owner last wrote to the customer from the phone; None: never."""
    row = tx.execute(
        "SELECT owner_spoke_at FROM conversations WHERE id = ?", (conversation_id,)
    ).fetchone()
    return None if row is None or row[0] is None else str(row[0])
