"""Find customers as operators name them: by phone number, user id or our reference (C3)."""

import re

import msgspec

from wbot.domain.business import Business
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.labels import name_and_number
from wbot.domain.messages import is_user_id
from wbot.domain.names import clean_name
from wbot.domain.payees import NO_NAME, check_name, phone_digits
from wbot.domain.receipts import PAYEE_LENGTH_MAX, one_line
from wbot.domain.spellings import other_spelling
from wbot.storage import accounts, customers, payees
from wbot.storage.tx import Tx

_REFERENCE = re.compile(r"[Cc]([0-9]{1,18})")


class Person(msgspec.Struct, frozen=True):
    """A customer, and the name the operator used, as we write it."""

    customer_id: int
    label: str
    other_spelling: str | None = None
    """WhatsApp's spelling of the number, where the operator used the other one."""


class Payee(msgspec.Struct, frozen=True):
    """A known payee that an operator added for a customer, under its stored name."""

    name: str
    is_new: bool


def reference_of(customer_id: int) -> str:
    """The reference of a customer who has no other name left: C and a number."""
    return f"C{customer_id}"


def referred_id(text: str) -> int | None:
    """The customer that a reference names; None for any other text."""
    match = _REFERENCE.fullmatch(text)
    return int(match[1]) if match else None


def find(tx: Tx, business: Business, text: str) -> Person | None:
    """The customer with this name, or None; raises MalformedError for text that cannot be one."""
    if (number := referred_id(text)) is not None:
        row = customers.by_id(tx, number)
        is_ours = row is not None and row.business_id == business.id
        return Person(number, customers.label(tx, number)) if is_ours else None
    alias = alias_of(text)
    customer_id = customers.find(tx, business.id, alias)
    if customer_id is None:
        return None
    known = customers.phone_of(tx, customer_id)
    other = known if known is not None and known == other_spelling(alias) else None
    return Person(customer_id, alias, other)


def required(tx: Tx, business: Business, text: str) -> Person:
    """The customer with this name; raises RefusedError if there is none."""
    person = find(tx, business, text)
    if person is None:
        raise RefusedError(
            f"{business.id} has no customer {text}; `wbot customer list {business.id}` lists them."
        )
    return person


def find_or_create(tx: Tx, business: Business, text: str, now: str) -> Person:
    """The customer with this phone number or user id, created if there is none yet."""
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
    """The digits of a phone number, or the user id as it is; MalformedError for other text."""
    alias = text.strip() if is_user_id(text.strip()) else phone_digits(text)
    if alias is None:
        raise MalformedError(
            f"{text[:40]!r} does not identify a customer: give a phone number (5 to 20 "
            "digits, + allowed), a business-scoped user id, or the reference that `wbot customer "
            "list` shows (C3)."
        )
    return alias


def make_payee(tx: Tx, business: Business, person: Person, name: str, now: str) -> Payee:
    """Add a known payee: a name, another customer by phone number, or both ("Bob +1555…").

    Raises MalformedError for an invalid name, RefusedError for an unknown or the customer's own
    number.
    """
    shown = one_line(name, PAYEE_LENGTH_MAX)
    if not shown:
        raise MalformedError(NO_NAME)
    both = name_and_number(shown)
    if both is not None:
        before = payees.number_of(tx, person.customer_id, both.name)
        if before not in {None, both.digits}:
            raise RefusedError(
                f"“{both.name}” is +{before} for {person.label}; only they can change that, by a "
                f"message: {both.name} is +{both.digits}"
            )
        payees.give_label(tx, person.customer_id, both.name, both.digits, now=now)
        shown = f"+{both.digits}"
    if phone_digits(shown) is not None:
        other = required(tx, business, shown)
        if other.customer_id == person.customer_id:
            raise RefusedError("A customer cannot be their own payee.")
        account_id = accounts.of_customer(tx, business.id, other.customer_id)
        shown = f"+{other.label}" if both is None else f"{both.name} (+{both.digits})"
    else:
        check_name(shown)
        shown = clean_name(shown) or shown
        account_id = accounts.of_payee(tx, business.id, person.customer_id, shown, now)
        shown = accounts.payee_name(tx, person.customer_id, shown)
    is_new = not payees.is_known_account(tx, person.customer_id, account_id)
    payees.learn(tx, person.customer_id, account_id, now)
    return Payee(shown, is_new)
