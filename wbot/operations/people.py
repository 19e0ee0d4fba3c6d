"""Customers as operators name them: by phone number, by user id, or by our reference (C3)."""

import re
import sqlite3

import msgspec

from wbot.domain.business import Business
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.ledger import phone_digits
from wbot.domain.messages import is_user_id
from wbot.storage import customers

_REFERENCE = re.compile(r"[Cc]([0-9]{1,18})")


class Person(msgspec.Struct, frozen=True):
    """A customer, and the name the operator used, as we write it."""

    customer_id: int
    label: str


def reference_of(customer_id: int) -> str:
    """How operators name a customer who has no other name left: C and a number."""
    return f"C{customer_id}"


def referred_id(text: str) -> int | None:
    """The customer that a reference names; None for any other text."""
    match = _REFERENCE.fullmatch(text)
    return int(match[1]) if match else None


def find(tx: sqlite3.Connection, business: Business, text: str) -> Person | None:
    """The customer named so, or None; raises MalformedError for what can name nobody."""
    if (number := referred_id(text)) is not None:
        row = customers.by_id(tx, number)
        is_ours = row is not None and row["business_id"] == business.id
        return Person(number, customers.label(tx, number)) if is_ours else None
    alias = alias_of(text)
    customer_id = customers.find(tx, business.id, alias)
    return None if customer_id is None else Person(customer_id, alias)


def required(tx: sqlite3.Connection, business: Business, text: str) -> Person:
    """The customer named so; raises RefusedError where there is none."""
    person = find(tx, business, text)
    if person is None:
        raise RefusedError(
            f"{business.id} has no customer {text}; "
            f"`wbot customer list {business.id}` shows who there is."
        )
    return person


def found_or_made(tx: sqlite3.Connection, business: Business, text: str, now: str) -> Person:
    """The customer with this number or user id, made where nobody has it yet."""
    person = find(tx, business, text)
    if person is not None:
        return person
    if referred_id(text) is not None:
        return required(tx, business, text)
    alias = alias_of(text)
    names = {"user_id": alias} if is_user_id(alias) else {"phone": alias}
    identity = customers.resolve(
        tx,
        business.id,
        phone=names.get("phone"),
        user_id=names.get("user_id"),
        name=None,
        now=now,
    )
    return Person(identity.customer_id, alias)


def alias_of(text: str) -> str:
    """The digits of a phone number, or the user id as it is; MalformedError for anything else."""
    alias = text.strip() if is_user_id(text.strip()) else phone_digits(text)
    if alias is None:
        raise MalformedError(
            f"{text[:40]!r} names no customer: give a phone number (5 to 20 digits, + allowed) "
            "or a business-scoped user id."
        )
    return alias
