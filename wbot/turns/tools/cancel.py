"""cancel: what waits for a yes is voided, else the latest transfer, or a named one, reversed."""

from typing import Any

import msgspec

from wbot.domain.foreign import is_foreign_label
from wbot.domain.ledger import TransferState, reference_of
from wbot.domain.money import format_amount
from wbot.domain.payees import shown_payee
from wbot.domain.policy import sentence_of
from wbot.payments import cancellations
from wbot.payments.cancellations import Cancellation
from wbot.payments.context import PaymentContext
from wbot.storage.tx import Tx
from wbot.turns.tools import Outcome, Tool, refused


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    transfer: str | None = None


def effect_key(context: PaymentContext, arguments: Arguments) -> str:  # noqa: ARG001  one message, one cancel
    """Always the same: one message cancels one transfer, whichever it names."""
    return ""


def run(tx: Tx, context: PaymentContext, arguments: Arguments) -> Outcome:
    done = cancellations.cancel(tx, context, (arguments.transfer or "").strip())
    lines = cancellations.receipt_of(done, context.business)
    if done.refusal is not None:
        sentence = sentence_of(done.refusal, context.business.policy, context.business.currency)
        return Outcome(result=refused(sentence, refusal=str(done.refusal)), receipt=lines)
    was_posted = done.state is TransferState.REVERSED
    return Outcome(
        result=_result(context, done),
        receipt=lines,
        transfer_id=done.transfer_id,
        is_foreign=not was_posted and any(is_foreign_label(entry) for entry in done.entries),
    )


def _result(context: PaymentContext, done: Cancellation) -> dict[str, Any]:
    currency = context.business.currency
    common = {
        "currency": currency.code,
        "available": format_amount(done.available_minor, currency),
    }
    if done.state is not TransferState.REVERSED or done.transfer_id is None:
        names = [entry.reference for entry in done.entries]
        return {"ok": True, "state": str(done.state), "transfers": names, **common}
    (entry,) = done.entries
    return {
        "ok": True,
        "state": str(done.state),
        "transfer": entry.reference,
        "reversal": reference_of(done.transfer_id),
        "amount": format_amount(entry.amount_minor, currency),
        "to": shown_payee(entry.payee),
        **common,
    }


CANCEL = Tool(
    name="cancel",
    description=(
        "Cancel whatever waits for the customer's confirmation, else take back the latest "
        "transfer; or only the one named by its reference (for example T12), or quoted by the "
        "customer's message. Once a message."
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
