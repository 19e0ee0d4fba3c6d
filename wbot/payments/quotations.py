"""What a message quotes: an earlier message of its conversation, and the transfers it is about."""

import json

import msgspec

from wbot.domain.content import content_of, context_of, type_of
from wbot.domain.foreign import ForeignWords, is_foreign, reply_for_model, words_for_model
from wbot.domain.ledger import transfer_id_of
from wbot.domain.outgoing import Prompt
from wbot.domain.receipts import references_in
from wbot.storage import journal, messages, outbox_queries
from wbot.storage.messages import StoredMessage
from wbot.storage.outbox_queries import Sent
from wbot.storage.tx import Tx


class Quotation(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier message as the one that quotes it refers to it."""

    text: str | None
    """What it said; None where it is not on file."""
    is_ours: bool = False
    is_foreign: bool = False
    """Whether another person's words may be in it."""
    transfer_ids: tuple[int, ...] = ()


def quoted_in(tx: Tx, message: StoredMessage) -> Quotation | None:
    """What the message quotes, or None."""
    context = context_of(json.loads(message.content or "{}"))
    if context is None or context.message_id is None:
        return None
    said = outbox_queries.sent_as(tx, message.conversation_id, context.message_id)
    if said is not None:
        return _of_ours(said)
    return _of_customer(tx, message.conversation_id, context.message_id)


def _of_ours(said: Sent) -> Quotation:
    body, met = said.content.body, said.foreign_words
    named = (transfer_id_of(reference) for reference in references_in(body))
    return Quotation(
        text=body if isinstance(said.content, Prompt) else reply_for_model(body, met),
        is_ours=True,
        is_foreign=met is ForeignWords.READ,
        transfer_ids=tuple(transfer_id for transfer_id in named if transfer_id is not None),
    )


def _of_customer(tx: Tx, conversation_id: int, message_id: str) -> Quotation:
    row = messages.by_id(tx, message_id)
    if row is None or row.conversation_id != conversation_id:
        return Quotation(text=None)
    raw = json.loads(row.content or "{}")
    content, context = content_of(raw), context_of(raw)
    words = words_for_model(content, context) or f"[{type_of(raw)}]"
    made = (
        effect.transfer_id
        for effect in journal.effects(tx, message_id)
        if effect.tool == "transfer"
    )
    ids = tuple(transfer_id for transfer_id in made if transfer_id is not None)
    return Quotation(text=words, is_foreign=is_foreign(content, context), transfer_ids=ids)
