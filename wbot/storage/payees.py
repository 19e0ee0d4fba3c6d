"""The people a customer pays by name, private to that customer."""

import sqlite3

from wbot.domain.ledger import folded_name

SELECT_OF_CUSTOMER = """
SELECT p.id, p.name, p.created_at, coalesce(b.posted_minor, 0) AS posted_minor
FROM payees p LEFT JOIN accounts a ON a.payee_id = p.id LEFT JOIN balances b ON b.account_id = a.id
WHERE p.customer_id = ? ORDER BY p.folded
"""
# Those whose name the other customer uses too stay behind: see operations/merging.
HAND_OVER = """
UPDATE payees SET customer_id = ?1
WHERE customer_id = ?2 AND folded NOT IN (SELECT folded FROM payees WHERE customer_id = ?1)
"""


def of_customer(tx: sqlite3.Connection, customer_id: int) -> list[sqlite3.Row]:
    """The customer's payees with what each has got, by name."""
    return tx.execute(SELECT_OF_CUSTOMER, (customer_id,)).fetchall()


def is_known(tx: sqlite3.Connection, customer_id: int, name: str) -> bool:
    """Whether the customer has a payee of this name, however it is written."""
    row = tx.execute(
        "SELECT 1 FROM payees WHERE customer_id = ? AND folded = ?",
        (customer_id, folded_name(name)),
    ).fetchone()
    return row is not None


def hand_over(tx: sqlite3.Connection, from_id: int, into_id: int) -> None:
    """Give one customer's payees to another, but for those of a name the other uses too."""
    tx.execute(HAND_OVER, (into_id, from_id))
