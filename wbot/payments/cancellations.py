"""What a customer takes back: holds are voided, a posted transfer is reversed inside its window."""

import msgspec

from wbot.clock import from_text
from wbot.domain.ledger import (
    Cause,
    CauseKind,
    Entry,
    Phase,
    TransferState,
    reference_of,
    transfer_id_of,
)
from wbot.domain.policy import Refusal, cancel_refusal
from wbot.payments import consent
from wbot.payments.context import PaymentContext
from wbot.storage import ledger
from wbot.storage.tx import Tx


class Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """What was cancelled: `state` is void or reversed; nothing where there is a refusal."""

    entries: tuple[Entry, ...] = ()
    state: TransferState | None = None
    transfer_id: int | None = None
    """The ledger's row that did it, or the last of them."""
    refusal: Refusal | None = None
    available_minor: int = 0


def cancel(tx: Tx, context: PaymentContext, reference: str) -> Cancellation:
    """Cancel what the reference names; without one, all that waits for a yes, else the latest."""
    account_id = ledger.account_of_customer(tx, context.business.id, context.customer_id)
    open_ = [] if reference else ledger.open_of_account(tx, account_id)
    if open_:  # what waits for a yes goes before anything that was posted
        return _void(tx, context, account_id, open_)
    entry = _wanted(tx, account_id, reference)
    refusal = cancel_refusal(
        entry,
        made_at=from_text(entry.made_at) if entry else None,
        now=from_text(context.now),
        policy=context.business.policy,
    )
    if entry is None or refusal is not None:
        return Cancellation(refusal=refusal or Refusal.NOTHING_TO_CANCEL)
    if entry.state is TransferState.PENDING:
        return _void(tx, context, account_id, [entry.transfer_id])
    reversal_id = ledger.reverse(tx, entry.transfer_id, _cause(context, ""), context.now)
    return Cancellation(
        entries=(entry,),
        state=TransferState.REVERSED,
        transfer_id=reversal_id,
        available_minor=ledger.balance(tx, account_id).available_minor,
    )


def _void(
    tx: Tx, context: PaymentContext, account_id: int, transfer_ids: list[int]
) -> Cancellation:
    void_id = 0
    for transfer_id in transfer_ids:
        cause = _cause(context, reference_of(transfer_id))
        void_id = ledger.resolve(tx, transfer_id, Phase.VOID, cause=cause, now=context.now)
        consent.close_if_voided(tx, transfer_id, by=context.message_id, now=context.now)
    entries = [ledger.entry(tx, account_id, transfer_id) for transfer_id in transfer_ids]
    return Cancellation(
        entries=tuple(entry for entry in entries if entry is not None),
        state=TransferState.VOID,
        transfer_id=void_id,
        available_minor=ledger.balance(tx, account_id).available_minor,
    )


def _cause(context: PaymentContext, what: str) -> Cause:
    return Cause(CauseKind.CALL, f"{context.message_id}/cancel/{what}")


def _wanted(tx: Tx, account_id: int, reference: str) -> Entry | None:
    if not reference:
        return ledger.latest_outgoing(tx, account_id)
    transfer_id = transfer_id_of(reference)
    return None if transfer_id is None else ledger.entry(tx, account_id, transfer_id)
