"""cancel: the customer's latest transfer, or a named one, taken back whole."""

import sqlite3

import msgspec

from wbot.clock import from_text
from wbot.domain.ledger import Cause, CauseKind, Entry, reference_of, transfer_id_of
from wbot.domain.money import format_amount, format_money
from wbot.domain.policy import SENTENCES, Refusal, cancel_refusal
from wbot.domain.receipts import receipt
from wbot.storage import ledger
from wbot.turns.tools import Customer, Outcome, Tool, refused


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    transfer: str | None = None


def effect_key(customer: Customer, arguments: Arguments) -> str:  # noqa: ARG001  one message, one cancel
    """Always the same: one message cancels one transfer, whichever it names."""
    return ""


def run(tx: sqlite3.Connection, customer: Customer, arguments: Arguments) -> Outcome:
    account = ledger.account_of_customer(tx, customer.business.id, customer.customer_id)
    entry = _wanted(tx, account, arguments.transfer)
    refusal = cancel_refusal(
        entry,
        created_at=from_text(entry.created_at) if entry else None,
        now=from_text(customer.now),
        policy=customer.business.policy,
    )
    if entry is None or refusal is not None:
        refusal = refusal or Refusal.NOTHING_TO_CANCEL
        sentence = SENTENCES[refusal]
        return Outcome(
            result=refused(sentence, refusal=str(refusal)),
            receipt=receipt(f"Nothing cancelled. {sentence}"),
        )
    cause = Cause(CauseKind.CALL, f"{customer.message_id}/cancel/{effect_key(customer, arguments)}")
    reversal_id = ledger.reverse(tx, entry.transfer_id, cause, customer.now)
    currency = customer.business.currency
    left = ledger.balance(tx, account).available_minor
    money = format_money(entry.amount_minor, currency)
    return Outcome(
        result={
            "ok": True,
            "state": "reversed",
            "transfer": entry.reference,
            "reversal": reference_of(reversal_id),
            "amount": format_amount(entry.amount_minor, currency),
            "currency": currency.code,
            "to": entry.counterparty,
            "available": format_amount(left, currency),
        },
        receipt=receipt(
            f"Cancelled {entry.reference}: {money} to {entry.counterparty} is back. "
            f"Available: {format_money(left, currency)}."
        ),
        transfer_id=reversal_id,
    )


def _wanted(tx: sqlite3.Connection, account: int, reference: str | None) -> Entry | None:
    if not (reference or "").strip():
        return ledger.latest_outgoing(tx, account)
    transfer_id = transfer_id_of(str(reference))
    return None if transfer_id is None else ledger.entry(tx, account, transfer_id)


CANCEL = Tool(
    name="cancel",
    description=(
        "Take back the customer's latest transfer, or the one named by its reference (for example "
        "T12). One message can cancel one transfer."
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
