"""cancel: what waits for a yes is voided, else the latest transfer, or a named one, taken back."""

import msgspec

from wbot.clock import from_text
from wbot.domain.foreign import is_foreign_label
from wbot.domain.ledger import (
    Cause,
    CauseKind,
    Entry,
    Phase,
    TransferState,
    reference_of,
    transfer_id_of,
)
from wbot.domain.money import format_amount
from wbot.domain.payees import shown_payee
from wbot.domain.policy import Refusal, cancel_refusal, sentence_of
from wbot.domain.receipts import ReceiptFormatter, receipt
from wbot.payments import consent
from wbot.storage import ledger
from wbot.storage.tx import Tx
from wbot.turns.tools import CallContext, Outcome, Tool, refused


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    transfer: str | None = None


def effect_key(customer: CallContext, arguments: Arguments) -> str:  # noqa: ARG001  one message, one cancel
    """Always the same: one message cancels one transfer, whichever it names."""
    return ""


def run(tx: Tx, customer: CallContext, arguments: Arguments) -> Outcome:
    account = ledger.account_of_customer(tx, customer.business.id, customer.customer_id)
    named = (arguments.transfer or "").strip()
    open_ = [] if named else ledger.open_of_account(tx, account)
    if open_:  # whatever waits for a yes is meant before anything that has gone
        return _voided(tx, customer, account, open_)
    entry = _wanted(tx, account, named)
    refusal = cancel_refusal(
        entry,
        made_at=from_text(entry.made_at) if entry else None,
        now=from_text(customer.now),
        policy=customer.business.policy,
    )
    if entry is None or refusal is not None:
        refusal = refusal or Refusal.NOTHING_TO_CANCEL
        sentence = sentence_of(refusal, customer.business.policy, customer.business.currency)
        return Outcome(
            result=refused(sentence, refusal=str(refusal)),
            receipt=receipt(f"Nothing cancelled. {sentence}"),
        )
    if entry.state is TransferState.PENDING:
        return _voided(tx, customer, account, [entry.transfer_id])
    return _reversed(tx, customer, account, entry)


def _voided(tx: Tx, customer: CallContext, account: int, transfer_ids: list[int]) -> Outcome:
    void_id = 0
    for transfer_id in transfer_ids:
        cause = _cause(customer, reference_of(transfer_id))
        void_id = ledger.resolve(tx, transfer_id, Phase.VOID, cause=cause, now=customer.now)
        consent.close_if_voided(tx, transfer_id, by=customer.message_id, now=customer.now)
    currency = customer.business.currency
    left_minor = ledger.balance(tx, account).available_minor
    entries = [ledger.entry(tx, account, transfer_id) for transfer_id in transfer_ids]
    lines = [
        ReceiptFormatter(currency, left_minor).cancelled(
            entry.transfer_id, entry.amount_minor, entry.payee, was_posted=False
        )
        for entry in entries
        if entry is not None
    ]
    return Outcome(
        result={
            "ok": True,
            "state": str(TransferState.VOID),
            "transfers": [reference_of(transfer_id) for transfer_id in transfer_ids],
            "currency": currency.code,
            "available": format_amount(left_minor, currency),
        },
        receipt="\n".join(lines),
        transfer_id=void_id,
        is_foreign=any(entry is not None and is_foreign_label(entry) for entry in entries),
    )


def _reversed(tx: Tx, customer: CallContext, account: int, entry: Entry) -> Outcome:
    reversal_id = ledger.reverse(tx, entry.transfer_id, _cause(customer, ""), customer.now)
    currency = customer.business.currency
    left_minor = ledger.balance(tx, account).available_minor
    return Outcome(
        result={
            "ok": True,
            "state": str(TransferState.REVERSED),
            "transfer": entry.reference,
            "reversal": reference_of(reversal_id),
            "amount": format_amount(entry.amount_minor, currency),
            "currency": currency.code,
            "to": shown_payee(entry.payee),
            "available": format_amount(left_minor, currency),
        },
        receipt=ReceiptFormatter(currency, left_minor).cancelled(
            entry.transfer_id, entry.amount_minor, entry.payee, was_posted=True
        ),
        transfer_id=reversal_id,
    )


def _cause(customer: CallContext, what: str) -> Cause:
    return Cause(CauseKind.CALL, f"{customer.message_id}/cancel/{what}")


def _wanted(tx: Tx, account: int, reference: str) -> Entry | None:
    if not reference:
        return ledger.latest_outgoing(tx, account)
    transfer_id = transfer_id_of(reference)
    return None if transfer_id is None else ledger.entry(tx, account, transfer_id)


CANCEL = Tool(
    name="cancel",
    description=(
        "Cancel whatever waits for the customer's confirmation, else take back the latest "
        "transfer; or only the one named by its reference (for example T12). Once a message."
    ),
    parameters={
        "type": "object",
        "properties": {
            "transfer": {
                "type": "string",
                "description": "The transfer's reference, only if the customer named one.",
            }
        },
        "additionalProperties": False,
    },
    run=run,
    arguments=Arguments,
    effect_key=effect_key,
)
