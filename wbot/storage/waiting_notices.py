"""Who was told that an answer takes longer: once, until a model has answered them again."""

from wbot.storage.tx import Tx


def note_told(tx: Tx, conversation_id: int, now: str) -> bool:
    """Record that the customer is told; False if they were, and no model has answered since."""
    told = tx.execute(
        "UPDATE conversations SET told_to_wait_at = ? WHERE id = ? AND told_to_wait_at IS NULL",
        (now, conversation_id),
    )
    return told.rowcount == 1


def was_told(tx: Tx, conversation_id: int) -> bool:
    """Whether the customer was told since a model last answered them."""
    row = tx.execute(
        "SELECT told_to_wait_at FROM conversations WHERE id = ?", (conversation_id,)
    ).fetchone()
    return row[0] is not None


def note_answered(tx: Tx, conversation_id: int) -> None:
    """A model has answered: the next wait is another one."""
    tx.execute(
        "UPDATE conversations SET told_to_wait_at = NULL "
        "WHERE id = ? AND told_to_wait_at IS NOT NULL",
        (conversation_id,),
    )
