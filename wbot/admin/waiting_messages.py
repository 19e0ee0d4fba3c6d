"""Messages for a number that no business had yet: they wait a day for it."""

import json

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain.business import Business
from wbot.domain.message_age import WINDOW_S
from wbot.storage import customers, messages
from wbot.storage.messages import UnmatchedMessage
from wbot.storage.tx import Tx


class TakenUp(msgspec.Struct, frozen=True):
    """How many messages are answered now, and how many came too long ago."""

    waiting: int
    too_old: int

    @property
    def sentence(self) -> str:
        """For the operator; empty where no message had come."""
        parts = []
        if self.waiting:
            parts.append(f"Messages that waited for it and are answered now: {self.waiting}.")
        if self.too_old:
            parts.append(f"Older than 24 hours, so not answered: {self.too_old}.")
        return " ".join(parts)


def take_up(tx: Tx, business: Business, now: str) -> TakenUp:
    """Give the business the messages that came for its number before it had one."""
    since = to_text(later(from_text(now), -WINDOW_S))
    came = messages.unmatched_of(tx, business.phone_number_id)
    fresh = [one for one in came if one.written_at >= since]
    taken = sum(_take_up(tx, business, one, now) for one in fresh)
    old = [one for one in came if one.written_at < since]
    for one in old:
        messages.leave_silent(tx, one.message_id, business_id=business.id, reason="window_closed")
    return TakenUp(taken, len(old))


def _take_up(tx: Tx, business: Business, message: UnmatchedMessage, now: str) -> bool:
    phone, user_id = message.reply_phone, message.reply_user_id
    is_in_group = json.loads(message.content or "{}").get("group_id") is not None
    if (phone is None and user_id is None) or is_in_group:
        reason = "group" if is_in_group else "unknown_sender"
        messages.leave_silent(tx, message.message_id, business_id=business.id, reason=reason)
        return False
    identity = customers.resolve(tx, business.id, phone=phone, user_id=user_id, name=None, now=now)
    conversation_id = customers.conversation_of(tx, business.id, identity.customer_id, now)
    messages.take_up(tx, message, business_id=business.id, conversation_id=conversation_id)
    return True
