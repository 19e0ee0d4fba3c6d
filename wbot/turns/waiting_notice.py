"""The one line that tells a customer that an answer takes longer: once an outage, for it is billed.

It goes through the outbox like a reply, so it is in order before the reply and survives a restart.
"""

from wbot.domain.outgoing import Text
from wbot.storage import outbox, waiting_notices
from wbot.storage.messages import StoredMessage
from wbot.storage.tx import Tx

TELL_AFTER_S = 20.0
"""Seconds without an answer after which the customer is told."""
CALL_SHARE = 0.25
"""Of TELL_AFTER_S: what a call that has just begun gets even where its message has waited long."""

TAKES_LONGER = (
    "This takes a little longer than usual. Your message has arrived, and I will answer it as "
    "soon as I can; you need not write it again."
)


def due_in_s(waited_s: float, *, is_asking: bool = False) -> float:
    """Seconds until a customer who has waited so long is told."""
    least_s = TELL_AFTER_S * CALL_SHARE if is_asking else 0.0
    return max(TELL_AFTER_S - waited_s, least_s)


def tell(tx: Tx, message: StoredMessage, *, now: str) -> bool:
    """Put the line into the outbox; False if the customer was told in this outage."""
    if not waiting_notices.note_told(tx, message.conversation_id, now):
        return False
    outbox.add(
        tx,
        outbox.NewReply(
            business_id=message.business_id,
            conversation_id=message.conversation_id,
            cause=f"{outbox.WAITING_NOTICE}:{message.message_id}:{message.revision}:{now}",
            part=0,
            message_id=message.message_id,
            reply_phone=message.reply_phone,
            reply_user_id=message.reply_user_id,
            content=Text(TAKES_LONGER),
            created_at=now,
        ),
    )
    return True
