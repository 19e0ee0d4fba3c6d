"""Whom a customer pays: names private to the customer, and other customers."""

import msgspec

from wbot.domain.payees import folded_name
from wbot.storage.tx import Tx, typed

SELECT_OF_CUSTOMER = """
SELECT p.id, p.name, p.number, p.created_at, coalesce(b.posted_minor, 0) AS posted_minor
FROM payees p LEFT JOIN accounts a ON a.payee_id = p.id LEFT JOIN balances b ON b.account_id = a.id
WHERE p.customer_id = ?
    AND (p.known_since IS NOT NULL OR p.number IS NOT NULL OR b.posted_minor > 0) ORDER BY p.folded
"""
SELECT_NAMES_PAID = """
SELECT p.folded, p.name FROM payees p
LEFT JOIN accounts a ON a.payee_id = p.id LEFT JOIN balances b ON b.account_id = a.id
WHERE p.customer_id = ?
    AND (p.known_since IS NOT NULL OR p.number IS NOT NULL OR b.posted_minor > 0) ORDER BY p.folded
"""
GIVE_LABEL = """
INSERT INTO payees (customer_id, name, folded, created_at, number, named_at, is_from_card)
VALUES (:customer_id, :name, :folded, :now, :number, :now, :is_from_card)
ON CONFLICT (customer_id, folded) DO UPDATE SET number = excluded.number,
    named_at = excluded.named_at, is_from_card = excluded.is_from_card
"""
SELECT_LABEL = """
SELECT name, is_from_card FROM payees WHERE customer_id = ? AND number = ?
ORDER BY named_at DESC, id DESC LIMIT 1
"""
# Those whose name the other customer uses too are not moved: see admin/customer_merge.
HAND_OVER = """
UPDATE payees SET customer_id = ?1
WHERE customer_id = ?2 AND folded NOT IN (SELECT folded FROM payees WHERE customer_id = ?1)
"""
HAND_OVER_KNOWN = """
UPDATE payees SET known_since =
    (SELECT o.known_since FROM payees o WHERE o.customer_id = ?2 AND o.folded = payees.folded)
WHERE customer_id = ?1 AND known_since IS NULL
"""
# Customers who knew the merged one know the other one now; no customer is their own payee.
HAND_OVER_CUSTOMERS = """
INSERT INTO known_customers
SELECT ?1, payee_customer_id, known_since FROM known_customers
WHERE customer_id = ?2 AND payee_customer_id <> ?1
UNION ALL
SELECT customer_id, ?1, known_since FROM known_customers
WHERE payee_customer_id = ?2 AND customer_id <> ?1
ON CONFLICT DO NOTHING
"""
LEARN_NAME = "UPDATE payees SET known_since = coalesce(known_since, ?) WHERE id = ?"
LEARN_CUSTOMER = "INSERT INTO known_customers VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class PaidPayee(msgspec.Struct, frozen=True, kw_only=True):
    """A payee and what they have received."""

    id: int
    name: str
    number: str | None
    created_at: str
    posted_minor: int


class LabelGiven(msgspec.Struct, frozen=True):
    """A customer's name for a number, and whether a contact card gave it."""

    name: str
    is_from_card: bool


def of_customer(tx: Tx, customer_id: int) -> list[PaidPayee]:
    """The customer's known or paid payees, with what each has received, by name."""
    rows = tx.execute(SELECT_OF_CUSTOMER, (customer_id,)).fetchall()
    return [typed(PaidPayee, row) for row in rows]


def names_paid(tx: Tx, customer_id: int) -> dict[str, str]:
    """The names of the customer's payees who are known or have money, by folded name."""
    rows = tx.execute(SELECT_NAMES_PAID, (customer_id,))
    return {str(row[0]): str(row[1]) for row in rows.fetchall()}


def give_label(
    tx: Tx, customer_id: int, name: str, digits: str, *, now: str, is_from_card: bool = False
) -> None:
    """Make the name the customer's own for this number."""
    values = {"customer_id": customer_id, "name": name, "folded": folded_name(name)}
    tx.execute(
        GIVE_LABEL, {**values, "number": digits, "now": now, "is_from_card": int(is_from_card)}
    )


def number_of(tx: Tx, customer_id: int, name: str) -> str | None:
    """The digits that the customer's name stands for; None if it is none of theirs for a number."""
    row = tx.execute(
        "SELECT number FROM payees WHERE customer_id = ? AND folded = ?",
        (customer_id, folded_name(name)),
    ).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def label_of(tx: Tx, customer_id: int, digits: str) -> LabelGiven | None:
    """The customer's latest name for this number, or None."""
    row = tx.execute(SELECT_LABEL, (customer_id, digits)).fetchone()
    return None if row is None else LabelGiven(str(row[0]), bool(row[1]))


def is_known(tx: Tx, customer_id: int, name: str) -> bool:
    """Whether the customer has a known payee of this name, however it is written."""
    row = tx.execute(
        "SELECT 1 FROM payees WHERE customer_id = ? AND folded = ? AND known_since IS NOT NULL",
        (customer_id, folded_name(name)),
    ).fetchone()
    return row is not None


def is_known_customer(tx: Tx, customer_id: int, payee_customer_id: int) -> bool:
    """Whether the customer confirmed a transfer to this one, or an operator vouched for them."""
    row = tx.execute(
        "SELECT 1 FROM known_customers WHERE customer_id = ? AND payee_customer_id = ?",
        (customer_id, payee_customer_id),
    ).fetchone()
    return row is not None


def is_known_account(tx: Tx, customer_id: int, account_id: int) -> bool:
    """Whether the customer knows the holder of this account."""
    row = tx.execute(
        "SELECT a.customer_id, p.known_since FROM accounts a LEFT JOIN payees p "
        "ON p.id = a.payee_id WHERE a.id = ?",
        (account_id,),
    ).fetchone()
    if row["customer_id"] is not None:
        return is_known_customer(tx, customer_id, row["customer_id"])
    return row["known_since"] is not None


def learn(tx: Tx, customer_id: int, account_id: int, now: str) -> None:
    """Make the holder of this account, payee or customer, known to the customer."""
    holder = tx.execute(
        "SELECT payee_id, customer_id FROM accounts WHERE id = ?", (account_id,)
    ).fetchone()
    if holder["payee_id"] is not None:
        tx.execute(LEARN_NAME, (now, holder["payee_id"]))
    else:
        tx.execute(LEARN_CUSTOMER, (customer_id, holder["customer_id"], now))


def hand_over(tx: Tx, from_id: int, into_id: int) -> None:
    """Give one customer's payees to another, except names that the other uses too.

    Such a name becomes known to the other customer if it was known to the first.
    """
    tx.execute(HAND_OVER_KNOWN, (into_id, from_id))
    tx.execute(HAND_OVER, (into_id, from_id))
    tx.execute(HAND_OVER_CUSTOMERS, (into_id, from_id))
