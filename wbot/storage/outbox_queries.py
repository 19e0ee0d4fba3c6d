"""What was sent or is about to be, as prompts, redaction and operators ask for it."""

import msgspec

from wbot.domain.foreign import ForeignWords
from wbot.domain.outgoing import Outgoing, decoded
from wbot.storage import outbox
from wbot.storage.tx import Row, Tx

QUOTABLE = """
SELECT o.reply_phone, o.reply_user_id, o.payload, m.content
FROM outbox o LEFT JOIN messages m ON m.message_id = o.message_id
"""


SENT_AS = """
SELECT o.payload, m.foreign_words
FROM outbox o LEFT JOIN messages m ON m.message_id = o.message_id
WHERE o.wamid = ? AND o.conversation_id = ?
"""


class Sent(msgspec.Struct, frozen=True):
    """What a customer received, and whether its turn had read another person's words."""

    content: Outgoing
    foreign_words: ForeignWords | None


def latest_quotable(tx: Tx, limit: int) -> tuple[str, ...]:
    """Numbers and texts of the latest replies, and of the messages that they answer."""
    rows = tx.execute(f"{QUOTABLE} ORDER BY o.id DESC LIMIT ?", (limit,)).fetchall()
    return tuple(dict.fromkeys(words for row in rows for words in _quotable_in(row)))


def quotable_by(tx: Tx, wamid: str, opaque: str | None, installation: str) -> tuple[str, ...]:
    """Numbers and texts that the status of a reply may quote, where the reply is known."""
    outbox_id = outbox.reply_of_status(tx, wamid, opaque, installation)
    row = tx.execute(f"{QUOTABLE} WHERE o.id = ?", (outbox_id,)).fetchone()
    return () if row is None else _quotable_in(row)


def _quotable_in(row: Row) -> tuple[str, ...]:
    said = decoded(row["payload"])
    return outbox.quotable(row["reply_phone"], row["reply_user_id"], said, row["content"])


def count_unsettled(tx: Tx) -> int:
    """The number of replies whose outcome is open."""
    row = tx.execute(
        "SELECT count(*) FROM outbox WHERE state IN ('waiting', 'sending', 'unknown')"
    ).fetchone()
    return int(row[0])


def unsettled_of(tx: Tx, customer_id: int) -> int:
    """How many replies to the customer have an open outcome."""
    row = tx.execute(
        "SELECT count(*) FROM outbox o JOIN conversations v ON v.id = o.conversation_id "
        "WHERE v.customer_id = ? AND o.state IN ('waiting', 'sending', 'unknown')",
        (customer_id,),
    ).fetchone()
    return int(row[0])


def said(tx: Tx, message_id: str) -> list[Outgoing]:
    """The replies a message got, in order; no line that only told its customer to wait."""
    rows = tx.execute(
        "SELECT payload FROM outbox WHERE message_id = ? AND cause NOT LIKE ? ORDER BY id",
        (message_id, f"{outbox.WAITING_NOTICE}:%"),
    ).fetchall()
    return [decoded(row[0]) for row in rows]


def sent_as(tx: Tx, conversation_id: int, wamid: str) -> Sent | None:
    """What WhatsApp accepted under this id in a conversation; None if there is none."""
    row = tx.execute(SENT_AS, (wamid, conversation_id)).fetchone()
    if row is None:
        return None
    met = row["foreign_words"]
    return Sent(decoded(row["payload"]), ForeignWords(met) if met else None)
