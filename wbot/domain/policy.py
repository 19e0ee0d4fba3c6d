"""What the business allows: each refusal has a name, and a sentence for the customer."""

from datetime import datetime
from enum import StrEnum

from wbot.domain.business import Policy
from wbot.domain.ledger import Balance, Entry, TransferKind, TransferState


class Refusal(StrEnum):
    """Why money did not move."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNKNOWN_CUSTOMER = "unknown_customer"
    OWN_ACCOUNT = "own_account"
    NOTHING_TO_CANCEL = "nothing_to_cancel"
    LATEST_REFUSED = "latest_refused"
    ALREADY_CANCELLED = "already_cancelled"
    CANCEL_WINDOW_CLOSED = "cancel_window_closed"
    REACHED_A_CUSTOMER = "reached_a_customer"


SENTENCES = {
    Refusal.INSUFFICIENT_FUNDS: "There is not enough money in your account for this.",
    Refusal.UNKNOWN_CUSTOMER: "No customer here has that number.",
    Refusal.OWN_ACCOUNT: "You cannot pay yourself.",
    Refusal.NOTHING_TO_CANCEL: "There is no such transfer of yours to cancel.",
    Refusal.LATEST_REFUSED: "Your latest transfer was not made, so there is nothing to cancel.",
    Refusal.ALREADY_CANCELLED: "That transfer is already cancelled.",
    Refusal.CANCEL_WINDOW_CLOSED: "It is too late to cancel that transfer.",
    Refusal.REACHED_A_CUSTOMER: (
        "That money has reached another customer's account; please ask us to sort it out."
    ),
}


def transfer_refusal(amount_minor: int, balance: Balance) -> Refusal | None:
    """Why a transfer out of an account with this balance is refused; None when it may post."""
    # Overdraft, limits and confirmation come with the policy that enforces them.
    if amount_minor > balance.available_minor:
        return Refusal.INSUFFICIENT_FUNDS
    return None


def cancel_refusal(
    entry: Entry | None, *, created_at: datetime | None, now: datetime, policy: Policy
) -> Refusal | None:
    """Why a customer's transfer cannot be cancelled; None when it may be reversed."""
    if entry is None or created_at is None or entry.is_incoming:
        return Refusal.NOTHING_TO_CANCEL
    if entry.kind is not TransferKind.TRANSFER:
        return Refusal.NOTHING_TO_CANCEL
    by_state = {
        TransferState.REFUSED: Refusal.LATEST_REFUSED,
        TransferState.REVERSED: Refusal.ALREADY_CANCELLED,
        TransferState.VOID: Refusal.ALREADY_CANCELLED,
    }
    if entry.state in by_state:
        return by_state[entry.state]
    # Taking it back could leave that customer with less than he has already counted on.
    if entry.is_to_customer:
        return Refusal.REACHED_A_CUSTOMER
    if (now - created_at).total_seconds() > policy.cancel_window_s:
        return Refusal.CANCEL_WINDOW_CLOSED
    return None
