"""Customers who came under a known number with another user id, until an operator decides."""

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.storage.tx import Tx

WAVE_S, WAVE_MAX = 6 * 3600.0, 3
"""So many within so long are no recycled numbers: the business has moved to another portfolio."""


class Conflict(msgspec.Struct, frozen=True):
    """A new customer, and the one who had the number before; times as text."""

    customer_id: int
    former_id: int
    created_at: str


def hold(tx: Tx, customer_id: int, former_id: int) -> None:
    """The new customer moves no money until an operator has decided."""
    tx.execute("UPDATE customers SET held_for = ? WHERE id = ?", (former_id, customer_id))


def release(tx: Tx, customer_id: int) -> bool:
    """The new customer is a person of their own; False if they were not held."""
    cursor = tx.execute(
        "UPDATE customers SET held_for = NULL WHERE id = ? AND held_for IS NOT NULL", (customer_id,)
    )
    return cursor.rowcount == 1


def is_held(tx: Tx, customer_id: int) -> bool:
    """Whether an operator has yet to decide who the customer is."""
    row = tx.execute("SELECT held_for FROM customers WHERE id = ?", (customer_id,)).fetchone()
    return row is not None and row[0] is not None


def every(tx: Tx, business_id: str) -> list[Conflict]:
    """The business's customers who wait for a decision, oldest first."""
    rows = tx.execute(
        "SELECT id, held_for, created_at FROM customers "
        "WHERE business_id = ? AND held_for IS NOT NULL ORDER BY created_at",
        (business_id,),
    ).fetchall()
    return [Conflict(*row) for row in rows]


def expect_new_ids(tx: Tx, business_id: str, until: str) -> None:
    """From now on, and until then, a new user id under a known number is the same person."""
    tx.execute("UPDATE businesses SET rekeyed_until = ? WHERE id = ?", (until, business_id))


def is_rekeyed(tx: Tx, business_id: str, now: str) -> bool:
    """Whether its customers come with new user ids: an operator said so, or many did lately."""
    row = tx.execute("SELECT rekeyed_until FROM businesses WHERE id = ?", (business_id,)).fetchone()
    if row is not None and row[0] is not None and row[0] > now:
        return True
    since = to_text(later(from_text(now), -WAVE_S))
    count = tx.execute(
        "SELECT count(*) FROM customers "
        "WHERE business_id = ? AND held_for IS NOT NULL AND created_at >= ?",
        (business_id, since),
    ).fetchone()
    return int(count[0]) >= WAVE_MAX
