"""What an operator does to the ledger: deposits, withdrawals, reversals; one transaction each.

A refusal that must stay stored under its key is returned: an exception would roll it back.
"""

import secrets

import msgspec

from wbot.admin import customer_lookup
from wbot.admin.customer_lookup import Person
from wbot.domain.amounts import parse_amount
from wbot.domain.business import Business
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.ledger import (
    Balance,
    Cause,
    CauseKind,
    TransferKind,
    reference_of,
    transfer_id_of,
)
from wbot.domain.money import Currency
from wbot.domain.receipts import MEMO_LENGTH_MAX, one_line
from wbot.payments import adjustments
from wbot.storage import accounts, customers, ledger, ledger_queries
from wbot.storage.ledger_queries import Transfer
from wbot.storage.tx import Tx

KEY_LENGTH_MAX = 200


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's request, as written; without a key each call is a new one."""

    customer: str
    amount: str
    memo: str | None = None
    key: str | None = None


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer in the ledger, new or repeated; `balance` is the customer's."""

    transfer: Transfer
    person: Person
    balance: Balance
    is_repeated: bool = False


class Reversed(msgspec.Struct, frozen=True, kw_only=True):
    """A reversal: who got the money back, and who it was passed on to after a merge, if anyone."""

    transfer: Transfer
    reversal_id: int
    back_to: str
    passed_on_to: str | None


def deposit(tx: Tx, business: Business, order: Order, now: str) -> Booked:
    """Move money from the business's account to the customer's; creates an unknown customer."""
    return _book(tx, business, order, kind=TransferKind.DEPOSIT, now=now)


def withdraw(tx: Tx, business: Business, order: Order, now: str) -> Booked:
    """Move money back from the customer's account; refused beyond what is available."""
    return _book(tx, business, order, kind=TransferKind.WITHDRAWAL, now=now)


def reverse(tx: Tx, reference: str, now: str) -> Reversed:
    """Reverse a posted transfer; raises RefusedError where that is not allowed."""
    transfer_id = transfer_id_of(reference)
    if transfer_id is None:
        raise MalformedError(f"{reference[:20]!r} is not a transfer reference; use T12 or 12.")
    transfer = ledger_queries.transfer(tx, transfer_id)
    reversal_id = adjustments.reverse(tx, transfer, now)
    survivor = adjustments.pass_on(tx, transfer.debit_account_id, reversal_id, now)
    return Reversed(
        transfer=transfer,
        reversal_id=reversal_id,
        back_to=ledger_queries.account(tx, transfer.debit_account_id).holder,
        passed_on_to=None if survivor is None else customers.label(tx, survivor),
    )


def checked_key(key: str) -> str:
    """An operator's key for one booking; raises MalformedError where it cannot be one."""
    if not 0 < len(key.strip()) <= KEY_LENGTH_MAX:
        raise MalformedError(f"A key has 1 to {KEY_LENGTH_MAX} characters.")
    return key.strip()


def _amount(text: str, currency: Currency) -> int:
    try:
        return parse_amount(text, currency)
    except MalformedError as error:
        raise MalformedError(f"AMOUNT is {text[:40]!r}: {error}") from error


def _book(tx: Tx, business: Business, order: Order, *, kind: TransferKind, now: str) -> Booked:
    amount_minor = _amount(order.amount, business.currency)
    memo = one_line(order.memo or "", MEMO_LENGTH_MAX) or None
    cause = _cause(business, kind, order.key)
    known = ledger.by_cause(tx, cause)
    person = _person(tx, business, order, kind=kind, now=now)
    own = accounts.of_customer(tx, business.id, person.customer_id)
    if known is not None:
        booked = _booked(tx, known.id, person, own)
        _check_same(tx, booked, amount_minor=amount_minor, memo=memo)
        return msgspec.structs.replace(booked, is_repeated=True)
    transfer_id = adjustments.adjust(
        tx, business, own, kind=kind, amount_minor=amount_minor, memo=memo, cause=cause, now=now
    )
    return _booked(tx, transfer_id, person, own)


def _person(tx: Tx, business: Business, order: Order, *, kind: TransferKind, now: str) -> Person:
    if kind is TransferKind.WITHDRAWAL:
        return customer_lookup.required(tx, business, order.customer)
    person = customer_lookup.find_or_create(tx, business, order.customer, now)
    survivor = customers.survivor(tx, person.customer_id)
    if survivor != person.customer_id:
        raise RefusedError(
            f"{order.customer} was merged into {customers.label(tx, survivor)}; "
            "deposit the money there."
        )
    return person


def _cause(business: Business, kind: TransferKind, key: str | None) -> Cause:
    name = "withdraw" if kind is TransferKind.WITHDRAWAL else "deposit"
    own = f"once:{secrets.token_hex(16)}" if key is None else f"key:{checked_key(key)}"
    return Cause(CauseKind.OPERATOR, f"{business.id}/{name}/{own}")


def _check_same(tx: Tx, booked: Booked, *, amount_minor: int, memo: str | None) -> None:
    known = booked.transfer
    touched = {known.debit_account_id, known.credit_account_id} - {None}
    owners = [accounts.by_id(tx, one).customer_id for one in touched if one is not None]
    # After a merge the same person has another row.
    survivors = {customers.survivor(tx, owner) for owner in owners if owner is not None}
    is_same_customer = customers.survivor(tx, booked.person.customer_id) in survivors
    if not (is_same_customer and (known.amount_minor, known.memo) == (amount_minor, memo)):
        raise RefusedError(
            f"The key was already used for {reference_of(known.id)}, which has another "
            "customer, amount or memo; nothing was done."
        )


def _booked(tx: Tx, transfer_id: int, person: Person, account_id: int) -> Booked:
    return Booked(
        transfer=ledger_queries.transfer(tx, transfer_id),
        person=person,
        balance=accounts.balance(tx, account_id),
    )
