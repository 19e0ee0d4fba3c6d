"""Accounts of a business, its customers and their payees, and what stands on them."""

import msgspec

from wbot.domain.ledger import (
    Balance,
)
from wbot.domain.payees import folded_name
from wbot.storage.tx import Tx, typed


def of_business(tx: Tx, business_id: str) -> int:
    """The business's own account, the other side of deposits; created on first use."""
    row = tx.execute(
        "SELECT id FROM accounts WHERE business_id = ? AND kind = 'business'", (business_id,)
    ).fetchone()
    return int(row[0]) if row else _open(tx, business_id, "business")


def of_customer(tx: Tx, business_id: str, customer_id: int) -> int:
    """The customer's account, created on first use."""
    row = tx.execute("SELECT id FROM accounts WHERE customer_id = ?", (customer_id,)).fetchone()
    return int(row[0]) if row else _open(tx, business_id, "customer", customer_id=customer_id)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account, and whose it is."""

    id: int
    business_id: str
    kind: str
    customer_id: int | None
    currency: str

    @property
    def owner_id(self) -> int:
        """The customer whose own account it is; 0 for any other's."""
        return self.customer_id or 0


def find(tx: Tx, customer_id: int) -> int | None:
    """The customer's account, or None if it was never used."""
    row = tx.execute("SELECT id FROM accounts WHERE customer_id = ?", (customer_id,)).fetchone()
    return int(row[0]) if row else None


def by_id(tx: Tx, account_id: int) -> Account:
    """An account that exists."""
    row = tx.execute("SELECT * FROM accounts WHERE id = ?", (account_id,)).fetchone()
    return typed(Account, row)


def of_payee(tx: Tx, business_id: str, customer_id: int, name: str, now: str) -> int:
    """The account of a payee this customer names; created on first use, private to the customer.

    That alone does not make the payee known.
    """
    folded = folded_name(name)
    # Until the customer has confirmed a transfer to it, the name may still be changed.
    tx.execute(
        "INSERT INTO payees (customer_id, name, folded, created_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (customer_id, folded) DO UPDATE SET name = excluded.name "
        "WHERE known_since IS NULL",
        (customer_id, name, folded, now),
    )
    payee = tx.execute(
        "SELECT p.id, a.id FROM payees p LEFT JOIN accounts a ON a.payee_id = p.id "
        "WHERE p.customer_id = ? AND p.folded = ?",
        (customer_id, folded),
    ).fetchone()
    return int(payee[1]) if payee[1] else _open(tx, business_id, "payee", payee_id=payee[0])


def find_of_payee(tx: Tx, customer_id: int, name: str) -> int | None:
    """The account of a payee this customer names, or None if there is none yet."""
    row = tx.execute(
        "SELECT a.id FROM payees p JOIN accounts a ON a.payee_id = p.id "
        "WHERE p.customer_id = ? AND p.folded = ?",
        (customer_id, folded_name(name)),
    ).fetchone()
    return None if row is None else int(row[0])


def payee_name(tx: Tx, customer_id: int, name: str) -> str:
    """The payee's name as stored, or the given one."""
    row = tx.execute(
        "SELECT name FROM payees WHERE customer_id = ? AND folded = ?",
        (customer_id, folded_name(name)),
    ).fetchone()
    return str(row[0]) if row else name


def balance(tx: Tx, account_id: int) -> Balance:
    """The account's money; zero where nothing was ever posted."""
    row = tx.execute(
        "SELECT posted_minor, held_minor FROM balances WHERE account_id = ?", (account_id,)
    ).fetchone()
    return Balance(int(row[0]), int(row[1])) if row else Balance(0, 0)


def redenominate(tx: Tx, business_id: str, currency: str) -> None:
    """Put the accounts of a business, none of which has ever been used, into another currency."""
    tx.execute("UPDATE accounts SET currency = ? WHERE business_id = ?", (currency, business_id))


def _open(
    tx: Tx,
    business_id: str,
    kind: str,
    *,
    customer_id: int | None = None,
    payee_id: int | None = None,
) -> int:
    rows = tx.execute(
        "INSERT INTO accounts (business_id, kind, customer_id, payee_id, currency) "
        "SELECT id, ?, ?, ?, currency FROM businesses WHERE id = ? RETURNING id",
        (kind, customer_id, payee_id, business_id),
    ).fetchall()
    return int(rows[0][0])
