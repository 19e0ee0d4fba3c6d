"""Reprocess a failed message when an operator asks for it."""

from datetime import datetime

import msgspec

from wbot.clock import from_text, to_text
from wbot.domain.errors import RefusedError
from wbot.domain.message_age import Staleness, staleness_of
from wbot.domain.states import UNFINISHED, MessageState
from wbot.storage import customers, errors, journal, messages, prompts
from wbot.storage.tx import Tx


class Requeued(msgspec.Struct, frozen=True):
    """The message that waits again, and what decides how it will be handled."""

    message_id: str
    moved_money: bool
    staleness: Staleness


def retry(tx: Tx, error_id: int, *, now: datetime, stale_after_s: float) -> Requeued:
    """Requeue the message of a failure; raises RefusedError where that is not possible."""
    error = errors.required(tx, error_id)
    message = messages.by_id(tx, error.message_id or "")
    if message is None or message.conversation_id is None:
        raise RefusedError(f"Failure {error_id} is not about a message that can be retried.")
    if message.state in UNFINISHED:
        is_waiting = message.state == MessageState.WAITING
        word = "already waits for its turn" if is_waiting else "is in progress"
        raise RefusedError(f"The message of failure {error_id} {word}; nothing was done.")
    if error.state == "retried":
        raise RefusedError(
            f"Failure {error_id} was retried before, and its message is {message.state} since; "
            "nothing was done."
        )
    _check_customer(tx, message.conversation_id)
    message_id = str(message.message_id)
    messages.requeue(tx, message_id, to_text(now))
    errors.mark_retried(tx, message_id)
    approved_at = prompts.ended_at(tx, message.prompt_id) if message.is_stale_approved else None
    requested_at = approved_at or message.sent_at
    staleness = staleness_of(
        from_text(requested_at) if requested_at else None,
        from_text(message.received_at),
        now,
        stale_after_s,
    )
    return Requeued(message_id, journal.moved_money(tx, message_id), staleness)


def _check_customer(tx: Tx, conversation_id: int) -> None:
    # It would use the account that the merge emptied.
    customer_id = customers.of_conversation(tx, conversation_id)
    survivor = None if customer_id is None else customers.survivor(tx, customer_id)
    if survivor is not None and survivor != customer_id:
        raise RefusedError(
            f"Its customer was merged into {customers.label(tx, survivor)} since; "
            "ask for a new message instead."
        )
