"""What the business allows: each refusal has a name, and a sentence for the customer."""

from datetime import datetime
from enum import StrEnum

import msgspec

from wbot.domain.business import PayeeRule, Policy
from wbot.domain.ledger import Balance, Entry, TransferKind, TransferState
from wbot.domain.money import Currency, format_money

ASKED_AT_ONCE_MAX = 5
"""How many transfers one message may ask to confirm: what a person can check at a glance."""

UNKNOWN_NUMBERS_A_DAY = 5
"""How many unassigned numbers a customer may try in 24 hours: enough for typing errors."""

DAY_S = 24 * 3600.0
"""Daily limits look back so many seconds, regardless of the calendar day."""


class Refusal(StrEnum):
    """Why money did not move."""

    OWN_ACCOUNT = "own_account"
    UNKNOWN_CUSTOMER = "unknown_customer"
    CUSTOMER_SINCE = "customer_since"
    TOO_MANY_UNKNOWN = "too_many_unknown"
    ABOVE_MAX_TRANSFER = "above_max_transfer"
    UNKNOWN_PAYEE = "unknown_payee"
    ABOVE_NEW_PAYEE_LIMIT = "above_new_payee_limit"
    DAILY_COUNT = "daily_count"
    DAILY_TOTAL = "daily_total"
    TOO_MANY_AT_ONCE = "too_many_at_once"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    NOTHING_TO_CANCEL = "nothing_to_cancel"
    LATEST_REFUSED = "latest_refused"
    ALREADY_CANCELLED = "already_cancelled"
    CANCEL_WINDOW_CLOSED = "cancel_window_closed"
    REACHED_A_CUSTOMER = "reached_a_customer"
    PAYING_OUT = "paying_out"
    QUOTES_NO_PAYMENT = "quotes_no_payment"
    QUOTES_ANOTHER = "quotes_another"
    QUOTES_SEVERAL = "quotes_several"


SENTENCES = {
    Refusal.OWN_ACCOUNT: "You cannot pay yourself.",
    Refusal.UNKNOWN_CUSTOMER: "No customer here has that number.",
    Refusal.CUSTOMER_SINCE: (
        "No customer here had that number when you asked; please ask again if you still want this."
    ),
    Refusal.TOO_MANY_UNKNOWN: (
        "You have tried too many numbers that no customer here has; for 24 hours you can only pay "
        "numbers that you have paid before."
    ),
    Refusal.ABOVE_MAX_TRANSFER: "One transfer can be {max_transfer} at most.",
    Refusal.UNKNOWN_PAYEE: "You can only pay payees we know; please ask us to add this one.",
    Refusal.ABOVE_NEW_PAYEE_LIMIT: (
        "The first transfer to a new payee can be {new_payee_limit} at most."
    ),
    Refusal.DAILY_COUNT: "You have made as many transfers as 24 hours allow ({daily_count}).",
    Refusal.DAILY_TOTAL: "That is more than you can send in 24 hours ({daily_total}).",
    Refusal.TOO_MANY_AT_ONCE: (
        f"One message can ask for {ASKED_AT_ONCE_MAX} transfers to confirm; "
        "please send another message for more."
    ),
    Refusal.INSUFFICIENT_FUNDS: "There is not enough money in your account for this.",
    Refusal.NOTHING_TO_CANCEL: "There is no such transfer of yours to cancel.",
    Refusal.LATEST_REFUSED: "Your latest transfer was not made, so there is nothing to cancel.",
    Refusal.ALREADY_CANCELLED: "That transfer is already cancelled.",
    Refusal.CANCEL_WINDOW_CLOSED: "It is too late to cancel that transfer.",
    Refusal.REACHED_A_CUSTOMER: (
        "That money has reached another customer's account; please ask us to sort it out."
    ),
    Refusal.PAYING_OUT: "That money is already being paid out; please ask us.",
    Refusal.QUOTES_NO_PAYMENT: "The message that you quote is about no payment of yours.",
    Refusal.QUOTES_ANOTHER: "That is not the payment in the message that you quote.",
    Refusal.QUOTES_SEVERAL: (
        "The message that you quote is about several payments; please give the reference of the "
        "one that you mean, for example T12."
    ),
}
"""With the policy's figures where they stand in braces."""


class AskReason(StrEnum):
    """Why a transfer waits for its customer's yes, whatever its amount."""

    FOREIGN_WORDS = "foreign_words"
    REPEATED = "repeated"
    """The same amount went to the same payee within `repeat_window`, or waits to."""
    NOT_OWN_WORDS = "not_own_words"
    """The amount, or a payee never confirmed before, is not in what the customer typed."""
    QUOTATION = "quotation"
    """The model read what the message quotes."""
    CAME_AS_TEXT = "came_as_text"
    """The model wrote the call as text, which it may have copied from anywhere."""
    FALLBACK_MODEL = "fallback_model"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about a transfer, besides its amount; read in the transfer's transaction."""

    balance: Balance
    is_payee_known: bool
    day_count: int = 0
    """Transfers of the last 24 hours that are made or pending, and not reversed."""
    day_total_minor: int = 0
    asked_at_once: int = 0
    """Transfers of the same message that already wait for a confirmation."""
    unasked_minor: int = 0
    """What the same message has moved already without one."""
    must_ask: frozenset[AskReason] = frozenset()
    is_nobody: bool = False
    """Whether the payee is a number that no customer has."""
    may_guess: bool = True
    """Whether the payee is not a number, was paid before, or may be one more unassigned number."""


def transfer_refusal(amount_minor: int, standing: Standing, policy: Policy) -> Refusal | None:
    """Why a customer's transfer is refused; None when it may go, or be asked about."""
    is_new, available_minor = not standing.is_payee_known, standing.balance.available_minor
    must_wait = needs_confirmation(amount_minor, standing, policy)
    asks_too_much = must_wait and standing.asked_at_once >= ASKED_AT_ONCE_MAX
    day_total_minor = standing.day_total_minor + amount_minor
    in_order = {
        Refusal.TOO_MANY_UNKNOWN: not standing.may_guess,
        Refusal.ABOVE_MAX_TRANSFER: _is_above(amount_minor, policy.max_transfer_minor),
        Refusal.UNKNOWN_PAYEE: is_new and policy.payees is PayeeRule.KNOWN,
        Refusal.ABOVE_NEW_PAYEE_LIMIT: (
            is_new and _is_above(amount_minor, policy.new_payee_limit_minor)
        ),
        Refusal.DAILY_COUNT: _is_above(standing.day_count + 1, policy.daily_count),
        Refusal.DAILY_TOTAL: _is_above(day_total_minor, policy.daily_total_minor),
        Refusal.TOO_MANY_AT_ONCE: asks_too_much,
        Refusal.INSUFFICIENT_FUNDS: amount_minor > available_minor + policy.overdraft_minor,
        # Last, and after the yes where one is due: it reveals whether a number is a customer's.
        Refusal.UNKNOWN_CUSTOMER: standing.is_nobody and not must_wait,
    }
    return next((refusal for refusal, applies in in_order.items() if applies), None)


def needs_confirmation(amount_minor: int, standing: Standing, policy: Policy) -> bool:
    """Whether a transfer of this amount waits for the customer's own yes.

    All that one message moves without one stays within the threshold, however many small
    transfers a model splits it into.
    """
    if standing.must_ask:
        return True
    return standing.unasked_minor + amount_minor > policy.confirm_above_minor


def withdrawal_refusal(amount_minor: int, balance: Balance) -> Refusal | None:
    """Why the operator cannot withdraw this much; there is no overdraft, and holds count."""
    return Refusal.INSUFFICIENT_FUNDS if amount_minor > balance.available_minor else None


def cancel_refusal(
    entry: Entry | None, *, made_at: datetime | None, now: datetime, policy: Policy
) -> Refusal | None:
    """Why a customer's transfer cannot be cancelled; None when it may be voided or reversed."""
    is_own = entry is not None and not entry.is_incoming
    if entry is None or made_at is None or not is_own or entry.kind is not TransferKind.TRANSFER:
        return Refusal.NOTHING_TO_CANCEL
    by_state: dict[TransferState, Refusal | None] = {
        TransferState.REFUSED: Refusal.LATEST_REFUSED,
        TransferState.REVERSED: Refusal.ALREADY_CANCELLED,
        TransferState.VOID: Refusal.ALREADY_CANCELLED,
        TransferState.PENDING: None,  # no money has moved yet
    }
    if entry.state in by_state:
        return by_state[entry.state]
    # A reversal could take money that the receiving customer already relies on.
    if entry.is_to_customer:
        return Refusal.REACHED_A_CUSTOMER
    if entry.is_paying_out:
        return Refusal.PAYING_OUT
    if (now - made_at).total_seconds() > policy.cancel_window_s:
        return Refusal.CANCEL_WINDOW_CLOSED
    return None


def sentence_of(refusal: Refusal, policy: Policy, currency: Currency) -> str:
    """The refusal for the customer, with the policy's figures."""
    amounts = {
        "max_transfer": policy.max_transfer_minor,
        "new_payee_limit": policy.new_payee_limit_minor,
        "daily_total": policy.daily_total_minor,
    }
    figures = {name: format_money(minor or 0, currency) for name, minor in amounts.items()}
    return SENTENCES[refusal].format(**figures, daily_count=policy.daily_count)


def _is_above(figure: int, limit: int | None) -> bool:
    return limit is not None and figure > limit
