"""Restored copies of the database: from when they are, and whether an operator accepted them."""

import secrets

import msgspec

from wbot.domain.ledger import GENESIS_HASH
from wbot.storage.tx import Row, Tx

STOPPED = (
    "This database was restored from a copy, so no money moves until an operator has run "
    "`wbot restore --accept`, which lists what is missing."
)

MARK = """
INSERT INTO restorations (copied_at, last_transfer_id, last_hash)
VALUES (?, coalesce((SELECT max(id) FROM transfers), 0),
    coalesce((SELECT hash FROM transfers ORDER BY id DESC LIMIT 1), ?))
"""
IS_STOPPED = "SELECT 1 FROM restorations WHERE accepted_at IS NULL LIMIT 1"
SETTLE = """
UPDATE restorations SET restored_at = ?, messages = ?, replies = ?, holds = ?
WHERE restored_at IS NULL
"""
LOST_MESSAGES = "SELECT count(*) FROM messages WHERE received_at > ?"
LOST_TRANSFERS = """
SELECT coalesce(CASE WHEN phase = 'post' THEN target_id END, id) AS id, kind, business_id,
    amount_minor, currency, created_at, debit_account_id, credit_account_id
FROM transfers WHERE id > ? AND phase IN ('posted', 'post') ORDER BY id
"""
LOST_BATCHES = """
SELECT b.id, b.business_id, b.created_at, s.currency, sum(p.amount_minor) AS amount_minor
FROM payout_batches b JOIN payouts p ON p.batch_id = b.id JOIN businesses s ON s.id = b.business_id
WHERE b.created_at > ? GROUP BY b.id ORDER BY b.id
"""


class Restoration(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that an operator has not accepted yet; times as text."""

    id: int
    copied_at: str
    last_transfer_id: int
    last_hash: str
    replaced: str | None
    restored_at: str | None
    messages: int | None
    replies: int | None
    holds: int | None


def mark(tx: Tx, copied_at: str) -> None:
    """Record in a copy that it is one, made at this instant."""
    tx.execute(MARK, (copied_at, GENESIS_HASH))


def is_stopped(tx: Tx) -> bool:
    """Whether money is stopped, for this is a restored copy that nobody has accepted yet."""
    return tx.execute(IS_STOPPED).fetchone() is not None


def unaccepted(tx: Tx) -> list[Restoration]:
    """The copies not accepted yet, the latest last."""
    rows = tx.execute("SELECT * FROM restorations WHERE accepted_at IS NULL ORDER BY id")
    names = Restoration.__struct_fields__
    return [Restoration(**{name: row[name] for name in names}) for row in rows.fetchall()]


def note_replaced(tx: Tx, replaced: str | None) -> None:
    """Record the file that the copy takes the place of."""
    tx.execute("UPDATE restorations SET replaced = ? WHERE restored_at IS NULL", (replaced,))


def note_settled(tx: Tx, *, messages: int, replies: int, holds: int, now: str) -> None:
    """Record that what was unfinished in the copy has been ended."""
    tx.execute(SETTLE, (now, messages, replies, holds))


def accept(tx: Tx, now: str) -> None:
    """Let money move again."""
    tx.execute("UPDATE restorations SET accepted_at = ? WHERE accepted_at IS NULL", (now,))


def renew_installation(tx: Tx) -> None:
    """From now on, statuses of what the original sends are not taken for our own."""
    tx.execute("UPDATE installation SET id = ?", (secrets.token_hex(4),))


def lost_transfers(tx: Tx, copy: Restoration) -> list[Row]:
    """Of a replaced database: the money that moved after the copy was made."""
    row = tx.execute("SELECT hash FROM transfers WHERE id = ?", (copy.last_transfer_id,)).fetchone()
    is_continued = (GENESIS_HASH if row is None else row[0]) == copy.last_hash
    return tx.execute(LOST_TRANSFERS, (copy.last_transfer_id if is_continued else 0,)).fetchall()


def lost_messages(tx: Tx, copied_at: str) -> int:
    """Of a replaced database: how many messages came after the copy was made."""
    return int(tx.execute(LOST_MESSAGES, (copied_at,)).fetchone()[0])


def lost_batches(tx: Tx, copied_at: str) -> list[Row]:
    """Of a replaced database: the payouts that were exported after the copy was made."""
    return tx.execute(LOST_BATCHES, (copied_at,)).fetchall()
