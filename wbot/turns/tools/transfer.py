"""transfer: money from the customer to a payee of theirs, or to another customer by number."""

import msgspec

from wbot.domain.amounts import parse_amount
from wbot.domain.ledger import Phase, reference_of
from wbot.domain.money import format_amount
from wbot.domain.payees import shown_payee
from wbot.domain.policy import sentence_of
from wbot.domain.receipts import MEMO_LENGTH_MAX, ReceiptFormatter, one_line
from wbot.payments import recipients, transfers
from wbot.payments.context import PaymentContext
from wbot.payments.transfers import Transfer
from wbot.storage.tx import Tx
from wbot.turns.tools import Outcome, Tool, refused


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    amount: str
    to: str
    memo: str | None = None


def effect_key(context: PaymentContext, arguments: Arguments) -> str:
    """Amount and payee, as compared; a memo does not make another payment of the same sum."""
    amount_minor = parse_amount(arguments.amount, context.business.currency)
    return msgspec.json.encode([amount_minor, recipients.normalised(arguments.to)]).decode()


def run(tx: Tx, context: PaymentContext, arguments: Arguments) -> Outcome:
    made = transfers.transfer(
        tx,
        context,
        transfers.Order(
            amount_minor=parse_amount(arguments.amount, context.business.currency),
            to=arguments.to,
            key=effect_key(context, arguments),
            memo=one_line(arguments.memo or "", MEMO_LENGTH_MAX) or None,
        ),
    )
    result, receipt = _reported(context, made)
    return Outcome(
        result=result,
        receipt=receipt,
        transfer_id=made.transfer_id,
        notify_conversation_id=made.notify_conversation_id,
        is_foreign=made.is_foreign,
    )


def _reported(context: PaymentContext, made: Transfer) -> tuple[dict[str, object], str | None]:
    """The result for the model and the receipt; a question to the customer is a receipt itself."""
    currency, policy = context.business.currency, context.business.policy
    lines = ReceiptFormatter(currency, made.available_minor)
    facts = {
        "transfer": reference_of(made.transfer_id),
        "amount": format_amount(made.amount_minor, currency),
        "currency": currency.code,
        "to": shown_payee(made.payee.name),
        "payee": "customer" if made.payee.paid_out_by is None else "outside",
        "available": format_amount(made.available_minor, currency),
    }
    if made.refusal is not None:
        sentence = sentence_of(made.refusal, policy, currency)
        line = lines.not_sent(made.amount_minor, made.payee.name, sentence)
        return refused(sentence, refusal=str(made.refusal), state="refused", **facts), line
    result = {"ok": True, "state": str(made.phase), **facts}
    if made.phase is Phase.PENDING:
        return result, None
    return result, lines.sent(made.transfer_id, made.amount_minor, made.payee)


TRANSFER = Tool(
    name="transfer",
    description=(
        "Send money from the customer's account to a payee. For several payments in one message "
        "make all the calls in one answer; the same call again acts once. Where the customer must "
        "confirm, they are asked by a message with buttons, and your turn ends."
    ),
    parameters={
        "type": "object",
        "properties": {
            "amount": {
                "type": "string",
                "description": (
                    "A decimal string in the business's currency, for example 20.00; where the "
                    "customer's figure can be read in two ways (1.500), as they wrote it."
                ),
            },
            "to": {
                "type": "string",
                "description": (
                    "The payee's name or another customer's phone number, or both, as the "
                    "customer wrote it."
                ),
            },
            "memo": {"type": "string", "description": "What it is for, if the customer said so."},
        },
        "required": ["amount", "to"],
        "additionalProperties": False,
    },
    run=run,
    arguments=Arguments,
    effect_key=effect_key,
)
