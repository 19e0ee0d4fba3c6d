"""Whether a conversation's other side is a program that answers our replies."""

import json

import msgspec

from wbot.clock import from_text
from wbot.domain.content import content_of
from wbot.domain.loops import ANSWERED_MAX, RATE_MESSAGES, Said, is_loop, shape_of
from wbot.domain.messages import text_of
from wbot.storage import customers, errors, messages
from wbot.storage.messages import StoredMessage
from wbot.storage.tx import Tx

LOOP = "loop"
"""Why a message is silent: it seems to be a program's answer to our reply."""


class Seen(msgspec.Struct, frozen=True):
    """Whether a message is a part of a loop, and the first one of it that is kept in silence."""

    is_loop: bool
    is_new: bool


NO_LOOP = Seen(is_loop=False, is_new=False)


def look(tx: Tx, message: StoredMessage) -> Seen:
    """Compare the message with those before it in the conversation."""
    said = Said(
        text=_text(message.type, message.content), received_at=from_text(message.received_at)
    )
    before = _before(tx, message, 1)
    if before and shape_of(before[0].text) == shape_of(said.text):
        before = _before(tx, message, ANSWERED_MAX)
    since = messages.received_before(tx, message, RATE_MESSAGES)
    found = is_loop(said, before, rate_since=from_text(since) if since else None)
    return Seen(found, is_new=found and not before[0].is_loop)


def _before(tx: Tx, message: StoredMessage, limit: int) -> list[Said]:
    return [
        Said(
            text=_text(row.type, row.content),
            received_at=from_text(row.received_at),
            ended_at=from_text(row.ended_at) if row.ended_at else None,
            is_loop=row.reason == LOOP,
        )
        for row in messages.before(tx, message, limit)
    ]


def tell(tx: Tx, message: StoredMessage, now: str) -> None:
    """Record the loop for the operators."""
    customer_id = customers.required_of(tx, message.conversation_id)
    errors.add(
        tx,
        f"C{customer_id} seems to be a program that answers our replies: its messages are kept in "
        "silence. If it is a person, answer them yourself; they are answered again as soon as they "
        "write something else.",
        now=now,
        business_id=message.business_id,
        conversation_id=message.conversation_id,
        message_id=message.message_id,
    )


def _text(kind: str, content: str | None) -> str:
    return text_of(content_of(json.loads(content or "{}"))) or kind
