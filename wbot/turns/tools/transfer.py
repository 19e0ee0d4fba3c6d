"""transfer: money from the customer to a payee of his, or to another customer by phone number."""

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain.errors import MalformedError
from wbot.domain.ledger import Cause, CauseKind, Phase, TransferKind, reference_of
from wbot.domain.money import format_amount, parse_amount
from wbot.domain.names import clean_name
from wbot.domain.payees import begun_by, check_name, folded_name, phone_digits, shown_payee
from wbot.domain.policy import (
    DAY_S,
    Refusal,
    Standing,
    needs_confirmation,
    sentence_of,
    transfer_refusal,
)
from wbot.domain.receipts import (
    MEMO_LENGTH_MAX,
    PAYEE_LENGTH_MAX,
    ReceiptFormatter,
    one_line,
    quoted,
    quoted_payee,
)
from wbot.payments import notifications, unknown_numbers
from wbot.storage import customers, ledger, messages, payees
from wbot.storage.tx import Tx
from wbot.turns.tools import CallContext, Outcome, Tool, refused


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    amount: str
    to: str
    memo: str | None = None


class _Payee(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to get the money: another customer, or a name that may become a payee."""

    name: str
    is_known: bool = False
    customer_id: int | None = None
    is_number: bool = False
    """Of a customer, or of nobody: what is said of both is the same until a yes."""
    is_own: bool = False
    is_new_name: bool = False


def effect_key(customer: CallContext, arguments: Arguments) -> str:
    """Amount and payee, as compared; a memo does not make another payment of the same sum."""
    amount_minor = parse_amount(arguments.amount, customer.business.currency)
    return msgspec.json.encode([amount_minor, _normalised(arguments.to)]).decode()


def run(tx: Tx, customer: CallContext, arguments: Arguments) -> Outcome:
    amount_minor = parse_amount(arguments.amount, customer.business.currency)
    payee = _payee(tx, customer, arguments.to)
    account = ledger.account_of_customer(tx, customer.business.id, customer.customer_id)
    policy = customer.business.policy
    standing = _standing(tx, customer, account, payee)
    refusal = transfer_refusal(amount_minor, standing, policy)
    if payee.is_own:
        refusal = Refusal.OWN_ACCOUNT
    must_wait = needs_confirmation(amount_minor, standing, policy)
    phase = Phase.PENDING if must_wait else Phase.POSTED
    transfer_id = ledger.record(
        tx,
        ledger.Movement(
            business_id=customer.business.id,
            kind=TransferKind.TRANSFER,
            debit_account_id=account,
            credit_account_id=None if refusal else _account_of(tx, customer, payee),
            amount_minor=amount_minor,
            currency=customer.business.currency_code,
            cause=Cause(
                CauseKind.CALL, f"{customer.message_id}/transfer/{effect_key(customer, arguments)}"
            ),
            phase=phase,
            refusal=refusal,
            payee=payee.name,
            memo=one_line(arguments.memo or "", MEMO_LENGTH_MAX) or None,
        ),
        customer.now,
    )
    if refusal:
        outcome = _refused(tx, customer, transfer_id, payee=payee, refusal=refusal)
    else:
        outcome = _made(tx, customer, transfer_id, payee=payee, phase=phase)
    # A new name may be one that the model has read, so whoever reads of it reads foreign words.
    is_foreign = payee.is_new_name and standing.has_met_foreign
    return msgspec.structs.replace(outcome, is_foreign=is_foreign)


def _refused(
    tx: Tx,
    customer: CallContext,
    transfer_id: int,
    *,
    payee: _Payee,
    refusal: Refusal,
) -> Outcome:
    amount_minor, left_minor, facts = _facts(tx, customer, transfer_id, payee)
    business = customer.business
    sentence = sentence_of(refusal, business.policy, business.currency)
    line = ReceiptFormatter(business.currency, left_minor).not_sent(
        amount_minor, payee.name, sentence
    )
    result = refused(sentence, refusal=str(refusal), state="refused", **facts)
    return Outcome(result=result, receipt=line, transfer_id=transfer_id)


def _made(
    tx: Tx, customer: CallContext, transfer_id: int, *, payee: _Payee, phase: Phase
) -> Outcome:
    amount_minor, left_minor, facts = _facts(tx, customer, transfer_id, payee)
    result = {"ok": True, "state": str(phase), **facts}
    if phase is Phase.PENDING:  # the question to the customer is its receipt
        return Outcome(result=result, transfer_id=transfer_id)
    lines = ReceiptFormatter(customer.business.currency, left_minor)
    return Outcome(
        result=result,
        receipt=lines.sent(transfer_id, amount_minor, payee.name),
        transfer_id=transfer_id,
        notify_conversation_ids=notifications.tell_receiver(
            tx, customer.business, transfer_id, customer.now
        ),
    )


def _facts(
    tx: Tx, customer: CallContext, transfer_id: int, payee: _Payee
) -> tuple[int, int, dict[str, str]]:
    """The amount, what is available after it, and what the model is told of both."""
    row, currency = ledger.required(tx, transfer_id), customer.business.currency
    amount_minor: int = row["amount_minor"]
    left_minor = ledger.balance(tx, row["debit_account_id"]).available_minor
    facts = {
        "transfer": reference_of(transfer_id),
        "amount": format_amount(amount_minor, currency),
        "currency": currency.code,
        "to": shown_payee(payee.name),
        "available": format_amount(left_minor, currency),
    }
    return amount_minor, left_minor, facts


def _standing(tx: Tx, customer: CallContext, account: int, payee: _Payee) -> Standing:
    since = to_text(later(from_text(customer.now), -DAY_S))
    day_count, day_total_minor = ledger.made_since(tx, account, since)
    return Standing(
        balance=ledger.balance(tx, account),
        is_payee_known=payee.is_known,
        day_count=day_count,
        day_total_minor=day_total_minor,
        asked_at_once=len(ledger.open_of_message(tx, customer.message_id)),
        unasked_minor=ledger.posted_by_call_minor(tx, customer.message_id),
        has_met_foreign=messages.has_met_foreign(tx, customer.message_id),
        is_nobody=payee.is_number and payee.customer_id is None,
        may_guess=_may_guess(tx, customer, account, payee),
    )


def _may_guess(tx: Tx, customer: CallContext, account: int, payee: _Payee) -> bool:
    if not payee.is_number or payee.is_known:
        return True
    to = None if payee.customer_id is None else ledger.find_account(tx, payee.customer_id)
    return unknown_numbers.may_guess(tx, account, to, now=customer.now)


def _normalised(to: str) -> str:
    name = one_line(to, PAYEE_LENGTH_MAX)  # as `_payee` reads it, or one payee had two keys
    return phone_digits(name) or folded_name(name)


def _payee(tx: Tx, customer: CallContext, to: str) -> _Payee:
    name = one_line(to, PAYEE_LENGTH_MAX)
    if not name:
        raise MalformedError("Whom should the money go to?")
    digits = phone_digits(name)
    return _customer(tx, customer, digits) if digits else _named(tx, customer, name)


def _customer(tx: Tx, customer: CallContext, digits: str) -> _Payee:
    number = f"+{digits}"
    payee_id = customers.find_by_phone(tx, customer.business.id, digits)
    return _Payee(
        name=number,
        is_known=payee_id is not None
        and payees.is_known_customer(tx, customer.customer_id, payee_id),
        customer_id=payee_id,
        is_number=True,
        is_own=payee_id == customer.customer_id,
    )


def _named(tx: Tx, customer: CallContext, name: str) -> _Payee:
    paid, folded = payees.names_paid(tx, customer.customer_id), folded_name(name)
    if folded in paid:  # under whatever rules for names
        is_known = payees.is_known(tx, customer.customer_id, name)
        return _Payee(name=paid[folded], is_known=is_known)
    check_name(name)
    name = clean_name(name) or name
    if longer := begun_by(folded, paid):  # one John or two: only the customer knows whom he means
        named = " or ".join(quoted_payee(paid[one]) for one in longer)
        raise MalformedError(f"Which {quoted(name)}? You have paid {named}; give the full name.")
    return _Payee(name=name, is_new_name=True)


def _account_of(tx: Tx, customer: CallContext, payee: _Payee) -> int:
    business_id = customer.business.id
    if payee.customer_id is not None:
        return ledger.account_of_customer(tx, business_id, payee.customer_id)
    if payee.is_number:  # a hold needs an account to go to; this one never goes, see confirming.py
        return ledger.account_of_business(tx, business_id)
    return ledger.account_of_payee(tx, business_id, customer.customer_id, payee.name, customer.now)


TRANSFER = Tool(
    name="transfer",
    description=(
        "Send money from the customer's account to a payee. For several payments in one message "
        "make all the calls in one answer; the same call again acts once. Where the customer must "
        "confirm, he is asked by a message with buttons, and your turn ends."
    ),
    parameters={
        "type": "object",
        "properties": {
            "amount": {
                "type": "string",
                "description": "A decimal string in the business's currency, for example 20.00.",
            },
            "to": {
                "type": "string",
                "description": "The payee's name, or another customer's phone number.",
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
