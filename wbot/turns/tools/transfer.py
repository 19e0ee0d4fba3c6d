"""transfer: money from the customer to a payee of his, or to another customer by phone number."""

import sqlite3

import msgspec

from wbot.domain.errors import MalformedError
from wbot.domain.ledger import (
    Cause,
    CauseKind,
    TransferKind,
    folded_name,
    phone_digits,
    reference_of,
)
from wbot.domain.money import format_amount, format_money, parse_amount
from wbot.domain.policy import SENTENCES, Refusal, transfer_refusal
from wbot.domain.receipts import MEMO_LENGTH_MAX, PAYEE_LENGTH_MAX, one_line, receipt
from wbot.storage import customers, ledger
from wbot.turns.tools import Customer, Outcome, Tool, refused


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    amount: str
    to: str
    memo: str | None = None


class _Payee(msgspec.Struct, frozen=True):
    """Who is to get the money: an account already known, or a name that may become one."""

    name: str
    customer_id: int | None = None
    refusal: Refusal | None = None


def effect_key(customer: Customer, arguments: Arguments) -> str:
    """Amount and payee, as compared; a memo does not make another payment of the same sum."""
    amount_minor = parse_amount(arguments.amount, customer.business.currency)
    return msgspec.json.encode([amount_minor, _normalised(arguments.to)]).decode()


def run(tx: sqlite3.Connection, customer: Customer, arguments: Arguments) -> Outcome:
    currency = customer.business.currency
    amount_minor = parse_amount(arguments.amount, currency)
    payee = _payee(tx, customer, arguments.to)
    account = ledger.account_of_customer(tx, customer.business.id, customer.customer_id)
    refusal = payee.refusal or transfer_refusal(amount_minor, ledger.balance(tx, account))
    transfer_id = ledger.record(
        tx,
        ledger.Movement(
            business_id=customer.business.id,
            kind=TransferKind.TRANSFER,
            debit_account_id=account,
            credit_account_id=None if refusal else _account_of(tx, customer, payee),
            amount_minor=amount_minor,
            currency=currency.code,
            cause=Cause(
                CauseKind.CALL, f"{customer.message_id}/transfer/{effect_key(customer, arguments)}"
            ),
            refusal=refusal,
            payee=payee.name,
            memo=one_line(arguments.memo or "", MEMO_LENGTH_MAX) or None,
        ),
        customer.now,
    )
    balance = ledger.balance(tx, account)
    money = format_money(amount_minor, currency)
    left = format_money(balance.available_minor, currency)
    facts = {
        "transfer": reference_of(transfer_id),
        "amount": format_amount(amount_minor, currency),
        "currency": currency.code,
        "to": payee.name,
        "available": format_amount(balance.available_minor, currency),
    }
    if refusal:
        sentence = SENTENCES[refusal]
        line = receipt(f"Not sent: {money} to {payee.name}. {sentence} Available: {left}.")
        result = refused(sentence, refusal=str(refusal), state="refused", **facts)
        return Outcome(result=result, receipt=line, transfer_id=transfer_id)
    line = receipt(
        f"Sent {money} to {payee.name} ({reference_of(transfer_id)}). Available: {left}."
    )
    return Outcome(
        result={"ok": True, "state": "posted", **facts}, receipt=line, transfer_id=transfer_id
    )


def _normalised(to: str) -> str:
    name = one_line(to, PAYEE_LENGTH_MAX)  # as `_payee` reads it, or one payee had two keys
    return phone_digits(name) or folded_name(name)


def _payee(tx: sqlite3.Connection, customer: Customer, to: str) -> _Payee:
    name = one_line(to, PAYEE_LENGTH_MAX)
    if not name:
        raise MalformedError("Whom should the money go to?")
    digits = phone_digits(name)
    if digits is None:
        return _Payee(ledger.payee_name(tx, customer.customer_id, name))
    payee_id = customers.find_by_phone(tx, customer.business.id, digits)
    if payee_id is None:
        return _Payee(name, refusal=Refusal.UNKNOWN_CUSTOMER)
    if payee_id == customer.customer_id:
        return _Payee(name, refusal=Refusal.OWN_ACCOUNT)
    return _Payee(name, customer_id=payee_id)


def _account_of(tx: sqlite3.Connection, customer: Customer, payee: _Payee) -> int:
    business_id = customer.business.id
    if payee.customer_id is not None:
        return ledger.account_of_customer(tx, business_id, payee.customer_id)
    return ledger.account_of_payee(tx, business_id, customer.customer_id, payee.name, customer.now)


TRANSFER = Tool(
    name="transfer",
    description=(
        "Send money from the customer's account to a payee. Call it once for each payment the "
        "customer asks for in this message; the same call again acts once."
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
