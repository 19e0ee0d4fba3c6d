"""How a message ends: reply, error text or silence, and the record of it, in one transaction."""

import sqlite3
from collections.abc import Sequence

import msgspec

from wbot.domain.delivery import split_text
from wbot.domain.receipts import reply_text
from wbot.storage import errors, journal, messages, outbox
from wbot.storage.journal import Taken
from wbot.storage.messages import StoredMessage

ERROR_TEXT = (
    "Sorry, something went wrong on our side with your last message. Please try again later."
)
"""What the customer reads when a turn fails for good, unless the business words it."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn came to: `state` is answered, silent or failed; `reason` of the latter two."""

    state: str
    receipts: tuple[str, ...] = ()
    words: str = ""
    reason: str | None = None


def close(
    tx: sqlite3.Connection, message: StoredMessage, taken: Taken, *, ending: Ending, now: str
) -> bool:
    """Store the reply and end the message; whether there is anything to send.

    Raises OvertakenError if another turn has taken the conversation.
    """
    journal.guard(tx, message.conversation_id, taken.epoch)
    text = reply_text(ending.receipts, ending.words)
    parts = split_text(text) if text else ()
    for part, body in enumerate(parts):
        outbox.add(tx, _reply(message, taken.revision, part=part, body=body, now=now))
    messages.finish(tx, message.message_id, state=ending.state, reason=ending.reason, now=now)
    journal.end(tx, message.message_id, taken.epoch, ending.state, now)
    return bool(parts)


def fail(
    tx: sqlite3.Connection,
    message: StoredMessage,
    taken: Taken,
    *,
    error: str,
    error_text: str | None,
    now: str,
) -> None:
    """End the message as a processing error; the customer hears of it, or sees what was done.

    After an effect the receipts stand alone: the error text could read as if nothing had happened.
    """
    receipts = receipts_of(tx, message.message_id, taken.revision)
    ending = Ending(
        state="failed",
        receipts=receipts,
        words="" if receipts else error_text or ERROR_TEXT,
        reason=error,
    )
    close(tx, message, taken, ending=ending, now=now)
    errors.add(
        tx,
        error,
        now=now,
        business_id=message.business_id,
        conversation_id=message.conversation_id,
        message_id=message.message_id,
        retry_count=taken.attempt - 1,
    )


def receipts_of(tx: sqlite3.Connection, message_id: str, revision: int) -> tuple[str, ...]:
    """What the message did to money in any of its lives, then what this life read."""
    done = [effect.receipt for effect in journal.effects(tx, message_id)]
    steps = [
        msgspec.json.decode(step.content).get("receipt")
        for step in journal.steps(tx, message_id, revision)
        if step.kind == "tool"
    ]
    return unique([*done, *steps])


def unique(receipts: Sequence[str | None]) -> tuple[str, ...]:
    """The receipts that are there, each once, in order."""
    return tuple(dict.fromkeys(receipt for receipt in receipts if receipt))


def _reply(
    message: StoredMessage, revision: int, *, part: int, body: str, now: str
) -> outbox.NewReply:
    return outbox.NewReply(
        business_id=message.business_id,
        conversation_id=message.conversation_id,
        cause=f"message:{message.message_id}:{revision}",
        part=part,
        message_id=message.message_id,
        reply_phone=message.reply_phone,
        reply_user_id=message.reply_user_id,
        payload=msgspec.json.encode({"type": "text", "text": {"body": body}}).decode(),
        created_at=now,
    )
