"""What an operator does to the ledger: deposits, withdrawals, reversals; one transaction each.

A refusal that must be remembered under its key is returned, since an exception would undo it.
"""

import secrets
import sqlite3

import msgspec

from wbot.domain.business import Business
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.ledger import (
    Balance,
    Cause,
    CauseKind,
    TransferKind,
    TransferState,
    reference_of,
    transfer_id_of,
)
from wbot.domain.money import currency_of, format_amount, parse_amount
from wbot.domain.policy import transfer_refusal
from wbot.domain.receipts import MEMO_LENGTH_MAX, one_line
from wbot.operations import merging, people
from wbot.operations.people import Person
from wbot.storage import books, customers, ledger

KEY_LENGTH_MAX = 200


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asks for, as written; without a key each call is its own."""

    customer: str
    amount: str
    memo: str | None = None
    key: str | None = None


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer that is in the ledger now, or was already; `balance` is the customer's."""

    transfer_id: int
    person: Person
    kind: TransferKind
    state: TransferState
    amount_minor: int
    balance: Balance
    is_repeated: bool


class Reversed(msgspec.Struct, frozen=True, kw_only=True):
    """A reversal, and whom a merge has passed the money on to, if anybody."""

    transfer_id: int
    reversal_id: int
    business_id: str
    amount: str
    currency: str
    passed_on_to: str | None


def deposit(tx: sqlite3.Connection, business: Business, order: Order, now: str) -> Booked:
    """Money from the business's account to the customer's, who is made if never seen before."""
    return _book(tx, business, order, kind=TransferKind.DEPOSIT, now=now)


def withdraw(tx: sqlite3.Connection, business: Business, order: Order, now: str) -> Booked:
    """Money back from the customer's account; refused beyond what is available there."""
    return _book(tx, business, order, kind=TransferKind.WITHDRAWAL, now=now)


def reverse(tx: sqlite3.Connection, reference: str, now: str) -> Reversed:
    """Mirror a posted transfer; raises RefusedError where that may not be."""
    transfer_id = transfer_id_of(reference)
    if transfer_id is None:
        raise MalformedError(f"{reference[:20]!r} is no transfer; they are called T12 or 12.")
    row = ledger.by_id(tx, transfer_id)
    if row is not None and row["phase"] == "posted":
        _check_reversible(tx, row)
    business_id = str(row["business_id"]) if row is not None else ""
    cause = Cause(CauseKind.OPERATOR, f"{business_id}/reverse/{reference_of(transfer_id)}")
    reversal_id = ledger.reverse(tx, transfer_id, cause, now)
    row = ledger.by_id(tx, reversal_id)
    return Reversed(
        transfer_id=transfer_id,
        reversal_id=reversal_id,
        business_id=business_id,
        amount=format_amount(row["amount_minor"], currency_of(row["currency"])),
        currency=row["currency"],
        passed_on_to=_pass_on(tx, row, now),
    )


def _book(
    tx: sqlite3.Connection, business: Business, order: Order, *, kind: TransferKind, now: str
) -> Booked:
    amount_minor = parse_amount(order.amount, business.currency)
    memo = one_line(order.memo or "", MEMO_LENGTH_MAX) or None
    cause = _cause(business, kind, order.key)
    known = ledger.by_cause(tx, cause)
    person = _person(tx, business, order, kind=kind, now=now)
    if known is not None:
        _check_same(tx, known, person, amount_minor=amount_minor, memo=memo)
        return _booked(tx, business, person, transfer_id=known["id"], is_repeated=True)
    outside = ledger.account_of_business(tx, business.id)
    own = ledger.account_of_customer(tx, business.id, person.customer_id)
    is_deposit = kind is TransferKind.DEPOSIT
    refusal = None if is_deposit else transfer_refusal(amount_minor, ledger.balance(tx, own))
    transfer_id = ledger.record(
        tx,
        ledger.Movement(
            business_id=business.id,
            kind=kind,
            debit_account_id=outside if is_deposit else own,
            credit_account_id=own if is_deposit else outside,
            amount_minor=amount_minor,
            currency=business.currency_code,
            cause=cause,
            refusal=refusal,
            memo=memo,
        ),
        now,
    )
    return _booked(tx, business, person, transfer_id=transfer_id, is_repeated=False)


def _person(
    tx: sqlite3.Connection, business: Business, order: Order, *, kind: TransferKind, now: str
) -> Person:
    if kind is TransferKind.WITHDRAWAL:
        return people.required(tx, business, order.customer)
    person = people.found_or_made(tx, business, order.customer, now)
    survivor = customers.survivor(tx, person.customer_id)
    if survivor != person.customer_id:
        raise RefusedError(
            f"{order.customer} was merged into {customers.label(tx, survivor)}; "
            "the money belongs there."
        )
    return person


def _cause(business: Business, kind: TransferKind, key: str | None) -> Cause:
    if key is not None and not 0 < len(key.strip()) <= KEY_LENGTH_MAX:
        raise MalformedError(f"A key has 1 to {KEY_LENGTH_MAX} characters.")
    name = "withdraw" if kind is TransferKind.WITHDRAWAL else "deposit"
    own = f"once:{secrets.token_hex(16)}" if key is None else f"key:{key.strip()}"
    return Cause(CauseKind.OPERATOR, f"{business.id}/{name}/{own}")


def _check_same(
    tx: sqlite3.Connection, known: sqlite3.Row, person: Person, *, amount_minor: int, memo: str | None
) -> None:
    accounts = (known["debit_account_id"], known["credit_account_id"])
    owners = {ledger.owner_of(tx, account) for account in accounts} - {None}
    # A merge since then made another row of the same person.
    now_owners = {customers.survivor(tx, owner) for owner in owners if owner is not None}
    is_same = (
        customers.survivor(tx, person.customer_id) in now_owners
        and known["amount_minor"] == amount_minor
        and ledger.memo_of(tx, known["id"]) == memo
    )
    if not is_same:
        raise RefusedError(
            f"The key was already used for {reference_of(known['id'])}, which has another "
            "customer, amount or memo; nothing was done."
        )


def _booked(
    tx: sqlite3.Connection,
    business: Business,
    person: Person,
    *,
    transfer_id: int,
    is_repeated: bool,
) -> Booked:
    own = ledger.account_of_customer(tx, business.id, person.customer_id)
    transfer = books.transfer(tx, transfer_id)
    return Booked(
        transfer_id=transfer_id,
        person=person,
        kind=TransferKind(transfer.kind),
        state=transfer.state,
        amount_minor=transfer.amount_minor,
        balance=ledger.balance(tx, own),
        is_repeated=is_repeated,
    )


def _check_reversible(tx: sqlite3.Connection, row: sqlite3.Row) -> None:
    reference = reference_of(row["id"])
    if row["kind"] == TransferKind.MERGE:
        raise RefusedError(f"{reference} moved a balance to where it belongs after a merge.")
    holder = row["credit_account_id"]
    if books.is_outside(tx, holder) or books.is_reversed(tx, row["id"]):
        return
    available = ledger.balance(tx, holder).available_minor
    if available < row["amount_minor"]:
        currency = currency_of(row["currency"])
        raise RefusedError(
            f"Reversing {reference} takes {format_amount(row['amount_minor'], currency)} back from "
            f"an account that has {format_amount(available, currency)} available; nothing was done."
        )


def _pass_on(tx: sqlite3.Connection, reversal: sqlite3.Row, now: str) -> str | None:
    """What comes back to somebody merged since then goes on to whom the money belongs to now."""
    owner = ledger.owner_of(tx, reversal["credit_account_id"])
    survivor = None if owner is None else customers.survivor(tx, owner)
    if owner is None or survivor is None or survivor == owner:
        return None
    merging.move_balance(tx, owner, survivor, key=reference_of(reversal["id"]), now=now)
    return customers.label(tx, survivor)
