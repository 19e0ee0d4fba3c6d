"""Another life for a message that failed, when an operator asks for it."""

import sqlite3

import msgspec

from wbot.domain.errors import RefusedError
from wbot.storage import customers, errors, journal, messages


class Revived(msgspec.Struct, frozen=True):
    """The message that waits again, and whether it will only be closed with its receipts."""

    message_id: str
    moved_money: bool


def retry(tx: sqlite3.Connection, error_id: int, now: str) -> Revived:
    """Revive the message of a failure; raises RefusedError where that cannot be."""
    error = errors.required(tx, error_id)
    message_id = error["message_id"]
    message = None if message_id is None else messages.by_id(tx, message_id)
    if message is None:
        raise RefusedError(f"Failure {error_id} is not about a message that could be tried again.")
    if message["state"] in {"waiting", "begun"}:
        word = "already waits for its turn" if message["state"] == "waiting" else "is at work now"
        raise RefusedError(f"The message of failure {error_id} {word}; nothing was done.")
    if error["state"] == "retried":
        raise RefusedError(
            f"Failure {error_id} was retried before, and its message is {message['state']} since; "
            "nothing was done."
        )
    _check_customer(tx, message["conversation_id"])
    if messages.revive(tx, message_id, now) is None:
        raise RefusedError(f"The message of failure {error_id} belongs to no conversation.")
    errors.mark_retried(tx, message_id)
    return Revived(message_id, journal.moved_money(tx, message_id))


def _check_customer(tx: sqlite3.Connection, conversation_id: int | None) -> None:
    # It would act on the account that the merge has emptied.
    customer_id = customers.of_conversation(tx, conversation_id)
    survivor = None if customer_id is None else customers.survivor(tx, customer_id)
    if survivor is not None and survivor != customer_id:
        raise RefusedError(
            f"Its customer was merged into {customers.label(tx, survivor)} since; "
            "ask for a new message instead."
        )
