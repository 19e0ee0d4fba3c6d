"""What a customer takes back: holds are voided, a posted transfer is reversed inside its window."""

import re

import msgspec

from wbot.clock import from_text, later
from wbot.domain.business import Business
from wbot.domain.ledger import (
    Cause,
    CauseKind,
    Entry,
    Phase,
    TransferKind,
    TransferState,
    effect_key,
    reference_of,
    transfer_id_of,
)
from wbot.domain.policy import Refusal, cancel_refusal, sentence_of
from wbot.domain.receipts import ReceiptFormatter, receipt
from wbot.payments import consent
from wbot.payments.context import PaymentContext
from wbot.storage import accounts, ledger, ledger_history, prompts
from wbot.storage.tx import Tx

LOOKED_AT_MAX = 20
"""How many of the latest transfers a stop word may mean."""


class Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """What was cancelled: `state` is void or reversed; nothing where there is a refusal."""

    entries: tuple[Entry, ...] = ()
    state: TransferState | None = None
    transfer_id: int | None = None
    """The ledger's row that did it, or the last of them."""
    refusal: Refusal | None = None
    available_minor: int = 0


def cancel(tx: Tx, context: PaymentContext, reference: str) -> Cancellation:
    """Cancel what the reference names, else what the message quotes and nothing else.

    Without either: all that waits for a yes, or else the latest transfer.
    """
    account_id = accounts.of_customer(tx, context.business.id, context.customer_id)
    if context.quotation is not None:
        return _cancel_quoted(tx, context, account_id, reference)
    open_ = [] if reference else ledger.open_of_account(tx, account_id)
    if open_:  # what waits for a yes goes before anything that was posted
        return _void(tx, context, account_id, open_)
    return _cancel_one(tx, context, account_id, _wanted(tx, account_id, reference))


def stop(tx: Tx, context: PaymentContext) -> Cancellation:
    """Void what waits for a yes, of what the message quotes if it quotes; the rest stays."""
    account_id = accounts.of_customer(tx, context.business.id, context.customer_id)
    open_ = [one for one in ledger.open_of_account(tx, account_id) if _may_mean(context, one)]
    return _void(tx, context, account_id, open_) if open_ else Cancellation()


def may_stop(tx: Tx, context: PaymentContext) -> bool:
    """Whether the customer has something that a stop word can mean."""
    account_id = accounts.of_customer(tx, context.business.id, context.customer_id)
    open_ = ledger.open_of_account(tx, account_id)
    return any(_may_mean(context, one) for one in open_) or latest_made(tx, context) is not None


def latest_made(tx: Tx, context: PaymentContext) -> Entry | None:
    """The customer's latest transfer inside `cancel_window`, or the one quoted; None if none is.

    Nor one that a stop word was about before. Whether it can be taken back: see `refusal_of`.
    """
    account_id = accounts.of_customer(tx, context.business.id, context.customer_id)
    since = later(from_text(context.now), -context.business.policy.cancel_window_s)
    for entry in ledger_history.entries(tx, account_id, LOOKED_AT_MAX):
        is_own = entry.kind is TransferKind.TRANSFER and not entry.is_incoming
        is_made = entry.state is TransferState.POSTED and from_text(entry.made_at) >= since
        if is_own and is_made and _may_mean(context, entry.transfer_id):
            number, message_id = entry.transfer_id, context.message_id
            is_new = not prompts.has_asked_about(tx, number, apart_from=message_id)
            return entry if is_new else None
    return None


def _may_mean(context: PaymentContext, transfer_id: int) -> bool:
    return context.quotation is None or transfer_id in context.quotation.transfer_ids


def receipt_of(done: Cancellation, business: Business) -> str:
    """The lines of the ledger about it."""
    if done.refusal is not None:
        sentence = sentence_of(done.refusal, business.policy, business.currency)
        return receipt(f"Nothing cancelled. {sentence}")
    was_posted = done.state is TransferState.REVERSED
    lines = ReceiptFormatter(business.currency, done.available_minor)
    return "\n".join(
        lines.cancelled(entry.transfer_id, entry.amount_minor, entry.payee, was_posted=was_posted)
        for entry in done.entries
    )


def _cancel_quoted(
    tx: Tx, context: PaymentContext, account_id: int, reference: str
) -> Cancellation:
    quoted = () if context.quotation is None else context.quotation.transfer_ids
    if reference:
        entry = _wanted(tx, account_id, reference)
        is_meant = entry is not None and entry.transfer_id in quoted
        if entry is not None and not is_meant and not _is_typed(entry, context.words):
            return Cancellation(refusal=Refusal.QUOTES_ANOTHER)
        return _cancel_one(tx, context, account_id, entry)
    entries = [ledger_history.entry(tx, account_id, transfer_id) for transfer_id in quoted]
    own = [entry for entry in entries if entry is not None and not entry.is_incoming]
    if not own:
        return Cancellation(refusal=Refusal.QUOTES_NO_PAYMENT)
    if len(own) == 1:
        return _cancel_one(tx, context, account_id, own[0])
    if all(entry.state is TransferState.PENDING for entry in own):  # one question about them all
        return _void(tx, context, account_id, [entry.transfer_id for entry in own])
    return Cancellation(refusal=Refusal.QUOTES_SEVERAL)


def _is_typed(entry: Entry, words: str) -> bool:
    return re.search(rf"\b{entry.reference}\b", words, re.IGNORECASE) is not None


def _cancel_one(
    tx: Tx, context: PaymentContext, account_id: int, entry: Entry | None
) -> Cancellation:
    refusal = refusal_of(entry, context)
    if entry is None or refusal is not None:
        return Cancellation(refusal=refusal or Refusal.NOTHING_TO_CANCEL)
    if entry.state is TransferState.PENDING:
        return _void(tx, context, account_id, [entry.transfer_id])
    reversal_id = ledger.reverse(tx, entry.transfer_id, _cause(context, ""), context.now)
    return Cancellation(
        entries=(entry,),
        state=TransferState.REVERSED,
        transfer_id=reversal_id,
        available_minor=accounts.balance(tx, account_id).available_minor,
    )


def refusal_of(entry: Entry | None, context: PaymentContext) -> Refusal | None:
    """Why the customer's transfer cannot be cancelled now; None when it can."""
    return cancel_refusal(
        entry,
        made_at=from_text(entry.made_at) if entry else None,
        now=from_text(context.now),
        policy=context.business.policy,
    )


def _void(
    tx: Tx, context: PaymentContext, account_id: int, transfer_ids: list[int]
) -> Cancellation:
    void_id = 0
    for transfer_id in transfer_ids:
        cause = _cause(context, reference_of(transfer_id))
        void_id = ledger.resolve(tx, transfer_id, Phase.VOID, cause=cause, now=context.now)
        consent.close_if_voided(tx, transfer_id, by=context.message_id, now=context.now)
    entries = [ledger_history.entry(tx, account_id, transfer_id) for transfer_id in transfer_ids]
    return Cancellation(
        entries=tuple(entry for entry in entries if entry is not None),
        state=TransferState.VOID,
        transfer_id=void_id,
        available_minor=accounts.balance(tx, account_id).available_minor,
    )


def _cause(context: PaymentContext, what: str) -> Cause:
    return Cause(CauseKind.CALL, effect_key(context.message_id, "cancel", what))


def _wanted(tx: Tx, account_id: int, reference: str) -> Entry | None:
    if not reference:
        return ledger_history.latest_outgoing(tx, account_id)
    transfer_id = transfer_id_of(reference)
    return None if transfer_id is None else ledger_history.entry(tx, account_id, transfer_id)
