"""Who is to get the money: another customer by number or label, or somebody outside by name."""

import msgspec

from wbot.domain.business import Business
from wbot.domain.errors import MalformedError
from wbot.domain.labels import Label, name_and_number
from wbot.domain.look_alikes import look_alike
from wbot.domain.names import clean_name
from wbot.domain.payees import (
    Payee,
    begun_by,
    check_name,
    folded_name,
    phone_digits,
    shown_number,
)
from wbot.domain.receipts import PAYEE_LENGTH_MAX, one_line, quoted, quoted_payee
from wbot.domain.spellings import one_spelling
from wbot.payments import labels
from wbot.payments.context import PaymentContext
from wbot.storage import accounts, customers, ledger_history, payees
from wbot.storage.tx import Tx


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Another customer, a number that may be unknown, or a name that may become a payee."""

    name: str
    number: str | None = None
    """Of a customer whom the payer has named; with + where the payer typed it, too."""
    is_known: bool = False
    customer_id: int | None = None
    is_number: bool = False
    """A customer's or an unknown one: until a yes, both get the same answers."""
    is_own: bool = False
    is_from_card: bool = False
    """Whether a contact card gave the number its name."""
    is_new_name: bool = False
    is_look_alike: bool = False
    """Whether the new name looks like that of a known payee."""


def normalised(to: str) -> str:
    """A recipient as compared: two spellings of one recipient have the same key."""
    name = one_line(to, PAYEE_LENGTH_MAX)  # as `find` reads it, or one payee had two keys
    if (both := name_and_number(name)) is not None:
        return one_spelling(both.digits)
    digits = phone_digits(name)
    return folded_name(name) if digits is None else one_spelling(digits)


def find(tx: Tx, context: PaymentContext, to: str) -> Recipient:
    """The recipient that the payer means; raises MalformedError with a sentence for the payer."""
    name = one_line(to, PAYEE_LENGTH_MAX)
    if not name:
        raise MalformedError("Whom should the money go to?")
    if (digits := phone_digits(name)) is not None:
        return _by_number(tx, context, digits)
    if (both := name_and_number(name)) is not None:
        return _by_both(tx, context, both)
    return _by_name(tx, context, name)


def known_look_alike(tx: Tx, customer_id: int, name: str) -> str | None:
    """The customer's known payee whose name this new one looks like; None for none."""
    paid = payees.names_paid(tx, customer_id)
    is_new = phone_digits(name) is None and folded_name(name) not in paid
    return look_alike(name, paid.values()) if is_new else None


def account_of(tx: Tx, context: PaymentContext, recipient: Recipient) -> int:
    """The account that gets the money; made where there is none yet."""
    business_id = context.business.id
    if recipient.customer_id is not None:
        return accounts.of_customer(tx, business_id, recipient.customer_id)
    if recipient.is_number:  # a hold needs an account to go to; this one never goes, see consent.py
        return accounts.of_business(tx, business_id)
    return accounts.of_payee(tx, business_id, context.customer_id, recipient.name, context.now)


def find_account(tx: Tx, context: PaymentContext, recipient: Recipient) -> int | None:
    """The account that would get the money, if there is one already."""
    if recipient.customer_id is not None:
        return accounts.find(tx, recipient.customer_id)
    if recipient.is_number:
        return accounts.of_business(tx, context.business.id)
    return accounts.find_of_payee(tx, context.customer_id, recipient.name)


def payee_of(tx: Tx, business: Business, transfer_id: int) -> Payee:
    """Whom a transfer is to, as its payer reads it."""
    row = ledger_history.payee_of(tx, transfer_id)
    return Payee(
        name=row.name,
        number=row.number,
        paid_out_by=business.name if row.kind == "payee" else None,
    )


def _by_number(tx: Tx, context: PaymentContext, digits: str, *, is_typed: bool = True) -> Recipient:
    found = customers.find_by_phone(tx, context.business.id, digits)
    label = payees.label_of(tx, context.customer_id, digits)
    return Recipient(
        name=f"+{digits}" if label is None else label.name,
        number=None if label is None else f"{'+' if is_typed else ''}{digits}",
        is_from_card=label is not None and label.is_from_card,
        is_known=found is not None and payees.is_known_customer(tx, context.customer_id, found),
        customer_id=found,
        is_number=True,
        is_own=found == context.customer_id,
    )


def _by_both(tx: Tx, context: PaymentContext, label: Label) -> Recipient:
    """By name and number at once: the number decides, and the name may not be another one's."""
    now = payees.number_of(tx, context.customer_id, label.name)
    if now not in {None, label.digits}:
        shown = quoted_payee(label.name, now)
        raise MalformedError(
            f"{shown} has another number than {shown_number(f'+{label.digits}')}. If it has "
            f"changed, please write: {label.name} is +{label.digits}"
        )
    if now is None:
        labels.name_if_typed(tx, context, label)
    return _by_number(tx, context, label.digits)


def _by_name(tx: Tx, context: PaymentContext, name: str) -> Recipient:
    paid, folded = payees.names_paid(tx, context.customer_id), folded_name(name)
    if (digits := payees.number_of(tx, context.customer_id, name)) is not None:
        found = _by_number(tx, context, digits, is_typed=False)
        return msgspec.structs.replace(found, name=paid[folded])
    if folded in paid:  # under whatever rules for names
        is_known = payees.is_known(tx, context.customer_id, name)
        return Recipient(name=paid[folded], is_known=is_known)
    alike = look_alike(name, paid.values())
    check_name(name, looks_like=alike)
    name = clean_name(name) or name
    if longer := begun_by(folded, paid):  # one John or two: only the customer knows which
        named = " or ".join(quoted_payee(paid[one]) for one in longer)
        raise MalformedError(f"Which {quoted(name)}? You have paid {named}; give the full name.")
    return Recipient(name=name, is_new_name=True, is_look_alike=alike is not None)
