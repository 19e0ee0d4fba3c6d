"""balance: what the customer has."""

import msgspec

from wbot.domain.money import format_amount
from wbot.domain.receipts import ReceiptFormatter
from wbot.payments.context import PaymentContext
from wbot.storage import accounts
from wbot.storage.tx import Tx
from wbot.turns.tools import Outcome, Tool


class Arguments(msgspec.Struct, frozen=True):
    """Nothing to choose."""


def run(tx: Tx, context: PaymentContext, arguments: Arguments) -> Outcome:  # noqa: ARG001  the shape of every tool
    account = accounts.of_customer(tx, context.business.id, context.customer_id)
    balance = accounts.balance(tx, account)
    currency = context.business.currency
    return Outcome(
        result={
            "ok": True,
            "currency": currency.code,
            "available": format_amount(balance.available_minor, currency),
            "held": format_amount(balance.held_minor, currency),
            "posted": format_amount(balance.posted_minor, currency),
        },
        receipt=ReceiptFormatter(currency, balance.available_minor).available(balance.held_minor),
    )


BALANCE = Tool(
    name="balance",
    description="How much money the customer has.",
    parameters={"type": "object", "properties": {}, "additionalProperties": False},
    run=run,
    arguments=Arguments,
)
