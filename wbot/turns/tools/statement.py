"""statement: the customer's latest transfers."""

from datetime import datetime

import msgspec

from wbot.clock import from_text
from wbot.domain import foreign
from wbot.domain.business import Business
from wbot.domain.ledger import Entry, TransferState
from wbot.domain.money import format_amount, format_money
from wbot.domain.receipts import receipt
from wbot.domain.timezones import zone
from wbot.payments.context import PaymentContext
from wbot.storage import accounts, ledger_history
from wbot.storage.tx import Tx
from wbot.turns.tools import Outcome, Tool

_NOT_MADE = frozenset({TransferState.REFUSED, TransferState.VOID})

LIMIT_DEFAULT = 5
LIMIT_MAX = 20


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    limit: int | None = None


def run(tx: Tx, context: PaymentContext, arguments: Arguments) -> Outcome:
    account = accounts.of_customer(tx, context.business.id, context.customer_id)
    limit = min(max(arguments.limit or LIMIT_DEFAULT, 1), LIMIT_MAX)
    entries = ledger_history.entries(tx, account, limit)
    business = context.business
    named = [(entry, foreign.counterparty(entry, business.show_payer)) for entry in entries]
    lines = [receipt(_line(entry, other, business)) for entry, other in named]
    if lines:
        lines.append(receipt(f"Times: {business.zone_name}."))
    return Outcome(
        result={"ok": True, "entries": [_facts(entry, other, business) for entry, other in named]},
        receipt="\n".join(lines) or receipt("No transfers yet."),
        is_foreign=any(other.is_foreign for _, other in named),
    )


def _line(entry: Entry, other: foreign.Named, business: Business) -> str:
    day = f"{_time(entry, business):%d %b %H:%M}"
    who = f"{other.in_line}, outside" if entry.is_outside else other.in_line
    money = format_money(entry.amount_minor, business.currency)
    if entry.state in _NOT_MADE:  # its state first, and the amount struck out: it is no payment
        return f"{day}  {entry.state}: ~{money}~  {who} ({entry.reference})"
    note = "" if entry.state is TransferState.POSTED else f", {entry.state}"
    sign = "+" if entry.is_incoming else "−"
    return f"{day}  {sign}{money}  {who} ({entry.reference}{note})"


def _time(entry: Entry, business: Business) -> datetime:
    """When it was requested, on the business's clock."""
    return from_text(entry.created_at).astimezone(zone(business.zone_name))


def _facts(entry: Entry, other: foreign.Named, business: Business) -> dict[str, str]:
    return {
        "transfer": entry.reference,
        "kind": str(entry.kind),
        "amount": format_amount(entry.amount_minor, business.currency),
        "direction": "in" if entry.is_incoming else "out",
        **other.facts,
        **({"payee": "outside"} if entry.is_outside else {}),
        "state": str(entry.state),
        "created_at": f"{_time(entry, business):%Y-%m-%d %H:%M} {business.zone_name}",
    }


STATEMENT = Tool(
    name="statement",
    description="The customer's latest transfers, newest first.",
    parameters={
        "type": "object",
        "properties": {
            "limit": {
                "type": "integer",
                "description": f"How many, at most {LIMIT_MAX}; {LIMIT_DEFAULT} if not said.",
            }
        },
        "additionalProperties": False,
    },
    run=run,
    arguments=Arguments,
)
