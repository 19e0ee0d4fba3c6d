"""Customers, their dated aliases, and the conversation each of them has."""

import sqlite3

import msgspec

SELECT_BY_ALIAS = """
SELECT customer_id FROM customer_aliases
WHERE business_id = ? AND kind = ? AND value = ? AND retired_at IS NULL
"""
SELECT_ALIASES = """
SELECT kind, value, first_seen_at, retired_at FROM customer_aliases
WHERE customer_id = ? ORDER BY id
"""
INSERT_CUSTOMER = "INSERT INTO customers (business_id, name, created_at) VALUES (?, ?, ?)"
INSERT_ALIAS = """
INSERT INTO customer_aliases (business_id, customer_id, kind, value, first_seen_at)
SELECT business_id, id, ?, ?, ? FROM customers WHERE id = ?
"""
RETIRE_ALIAS = """
UPDATE customer_aliases SET retired_at = ?
WHERE business_id = ? AND kind = ? AND value = ? AND retired_at IS NULL
"""
INSERT_CONVERSATION = """
INSERT INTO conversations (business_id, customer_id, created_at) VALUES (?, ?, ?)
ON CONFLICT (customer_id) DO NOTHING
"""


class Alias(msgspec.Struct, frozen=True):
    """A name by which Meta knows a customer; `kind` is phone or user_id."""

    kind: str
    value: str
    first_seen_at: str
    retired_at: str | None


class Identity(msgspec.Struct, frozen=True):
    """The customer a sender turned out to be, and what an operator should look at, if anything."""

    customer_id: int
    warning: str | None = None


def resolve(
    tx: sqlite3.Connection,
    business_id: str,
    *,
    phone: str | None,
    user_id: str | None,
    name: str | None,
    now: str,
) -> Identity:
    """The customer behind a phone number, a user id, or both; made when neither is known.

    The user id goes first, for numbers are recycled: a known number under another user id is a new
    person. A new alias attaches only to a customer who has none of its kind.
    """
    by_user = _find(tx, business_id, "user_id", user_id)
    by_phone = _find(tx, business_id, "phone", phone)
    if by_user is not None:
        warning = None
        if phone is not None and by_phone is None:
            warning = _attach_phone(tx, by_user, phone, now)
        elif by_phone not in {None, by_user}:
            warning = "a user id and a phone number of one sender belong to two customers"
        return _named(tx, Identity(by_user, warning), name)
    if by_phone is None or user_id is None:
        customer_id = by_phone or _create(tx, business_id, now)
        if by_phone is None and phone is not None:
            _attach(tx, customer_id, "phone", phone, now)
        if user_id is not None:
            _attach(tx, customer_id, "user_id", user_id, now)
        return _named(tx, Identity(customer_id), name)
    if _has(tx, by_phone, "user_id"):
        customer_id = _create(tx, business_id, now)
        tx.execute(RETIRE_ALIAS, (now, business_id, "phone", phone))
        _attach(tx, customer_id, "phone", str(phone), now)
        _attach(tx, customer_id, "user_id", user_id, now)
        warning = "a known phone number came with another user id: taken as a new customer"
        return _named(tx, Identity(customer_id, warning), name)
    _attach(tx, by_phone, "user_id", user_id, now)
    return _named(tx, Identity(by_phone), name)


def find(tx: sqlite3.Connection, business_id: str, alias: str) -> int | None:
    """The customer with this phone number (`+` allowed) or user id, or None."""
    return _find(tx, business_id, "phone", alias.lstrip("+")) or _find(
        tx, business_id, "user_id", alias
    )


def find_by_phone(tx: sqlite3.Connection, business_id: str, digits: str) -> int | None:
    """The customer with this phone number, or None."""
    return _find(tx, business_id, "phone", digits)


def conversation_of(tx: sqlite3.Connection, business_id: str, customer_id: int, now: str) -> int:
    """The customer's conversation, made on first use."""
    tx.execute(INSERT_CONVERSATION, (business_id, customer_id, now))
    row = tx.execute(
        "SELECT id FROM conversations WHERE customer_id = ?", (customer_id,)
    ).fetchone()
    return int(row[0])


def name_of(tx: sqlite3.Connection, customer_id: int) -> str | None:
    """The name the customer's WhatsApp profile last showed."""
    row = tx.execute("SELECT name FROM customers WHERE id = ?", (customer_id,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def aliases(tx: sqlite3.Connection, customer_id: int) -> list[Alias]:
    """Every alias the customer ever had, oldest first."""
    return [Alias(*row) for row in tx.execute(SELECT_ALIASES, (customer_id,)).fetchall()]


def _find(tx: sqlite3.Connection, business_id: str, kind: str, value: str | None) -> int | None:
    if value is None:
        return None
    if kind == "phone":
        value = value.lstrip("+")
    row = tx.execute(SELECT_BY_ALIAS, (business_id, kind, value)).fetchone()
    return None if row is None else int(row[0])


def _has(tx: sqlite3.Connection, customer_id: int, kind: str) -> bool:
    return any(a.kind == kind and a.retired_at is None for a in aliases(tx, customer_id))


def _create(tx: sqlite3.Connection, business_id: str, now: str) -> int:
    return int(tx.execute(INSERT_CUSTOMER, (business_id, None, now)).lastrowid or 0)


def _attach(tx: sqlite3.Connection, customer_id: int, kind: str, value: str, now: str) -> None:
    # The one liberty taken with a number: a leading + is not part of it.
    bare = value.lstrip("+") if kind == "phone" else value
    tx.execute(INSERT_ALIAS, (kind, bare, now, customer_id))


def _attach_phone(tx: sqlite3.Connection, customer_id: int, phone: str, now: str) -> str | None:
    if _has(tx, customer_id, "phone"):
        return "a known user id came with another phone number: not taken as an alias"
    _attach(tx, customer_id, "phone", phone, now)
    return None


def _named(tx: sqlite3.Connection, identity: Identity, name: str | None) -> Identity:
    if name:
        tx.execute(
            "UPDATE customers SET name = ?1 WHERE id = ?2 AND name IS NOT ?1",
            (name, identity.customer_id),
        )
    return identity
