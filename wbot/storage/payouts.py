"""What is owed to payees outside, and the batches in which the business pays it out."""

from wbot.domain.states import PayoutState
from wbot.storage.customers import LABEL
from wbot.storage.tx import Row, Tx

# Only payees with money are looked at: what was settled or voided has left their accounts.
SELECT_OWED = """
SELECT t.id AS transfer_id, t.amount_minor, p.id AS payee_id,
    coalesce(r.created_at, t.created_at) AS made_at
FROM accounts a
JOIN balances b ON b.account_id = a.id AND b.posted_minor > 0
JOIN payees p ON p.id = a.payee_id
JOIN transfers t ON t.credit_account_id = a.id AND t.kind = 'transfer'
LEFT JOIN transfers r ON r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')
WHERE a.business_id = ? AND a.kind = 'payee'
    AND (t.phase = 'posted' OR (t.phase = 'pending' AND r.phase = 'post'))
    AND NOT EXISTS (SELECT 1 FROM transfers v WHERE v.target_id = t.id AND v.kind = 'reversal')
    AND NOT EXISTS (SELECT 1 FROM payout_transfers i WHERE i.transfer_id = t.id)
ORDER BY t.id
"""
SELECT_PAYEE = f"""
SELECT p.id, p.name, a.id AS account_id, {LABEL} AS customer
FROM payees p JOIN accounts a ON a.payee_id = p.id
JOIN customers c ON c.id = p.customer_id
WHERE p.id = ?
"""  # noqa: S608  our own text
SELECT_BATCHES = """
SELECT id, business_id, created_at FROM payout_batches
WHERE business_id = ? ORDER BY id DESC LIMIT ?
"""
SELECT_PAYOUTS = """
SELECT id, batch_id, payee_id, amount_minor, state, ended_at, key, transfer_id
FROM payouts WHERE batch_id = ? ORDER BY id
"""
SELECT_BATCH_OF_TRANSFER = """
SELECT o.batch_id, o.payee_id, o.state
FROM payout_transfers i JOIN payouts o ON o.id = i.payout_id WHERE i.transfer_id = ?
"""
END = "UPDATE payouts SET state = ?, key = ?, transfer_id = ?, ended_at = ? WHERE id = ?"


def owed(tx: Tx, business_id: str) -> list[Row]:
    """The posted transfers to payees outside that are in no batch yet, oldest first."""
    return tx.execute(SELECT_OWED, (business_id,)).fetchall()


def payee(tx: Tx, payee_id: int) -> Row:
    """A payee with an account: name, account and the label of the customer whose payee it is."""
    row: Row = tx.execute(SELECT_PAYEE, (payee_id,)).fetchone()
    return row


def add_batch(tx: Tx, business_id: str, now: str) -> int:
    """A new batch, empty so far; its number."""
    rows = tx.execute(
        "INSERT INTO payout_batches (business_id, created_at) VALUES (?, ?) RETURNING id",
        (business_id, now),
    ).fetchall()
    return int(rows[0][0])


def add(
    tx: Tx, batch_id: int, payee_id: int, *, amount_minor: int, transfer_ids: list[int]
) -> None:
    """Put what these transfers owe to a payee into a batch; each is in one batch at most."""
    rows = tx.execute(
        "INSERT INTO payouts (batch_id, payee_id, amount_minor, state) VALUES (?, ?, ?, ?) "
        "RETURNING id",
        (batch_id, payee_id, amount_minor, PayoutState.EXPORTED),
    ).fetchall()
    tx.executemany(
        "INSERT INTO payout_transfers (transfer_id, payout_id) VALUES (?, ?)",
        [(transfer_id, rows[0][0]) for transfer_id in transfer_ids],
    )


def batch(tx: Tx, batch_id: int) -> Row | None:
    """A batch, or None."""
    row: Row | None = tx.execute(
        "SELECT id, business_id, created_at FROM payout_batches WHERE id = ?", (batch_id,)
    ).fetchone()
    return row


def batches(tx: Tx, business_id: str, limit: int) -> list[Row]:
    """The latest batches of a business, newest first."""
    return tx.execute(SELECT_BATCHES, (business_id, limit)).fetchall()


def of_batch(tx: Tx, batch_id: int) -> list[Row]:
    """What a batch pays, a payee each."""
    return tx.execute(SELECT_PAYOUTS, (batch_id,)).fetchall()


def transfers_of(tx: Tx, payout_id: int) -> list[int]:
    """The transfers that a payout is for, oldest first."""
    rows = tx.execute(
        "SELECT transfer_id FROM payout_transfers WHERE payout_id = ? ORDER BY transfer_id",
        (payout_id,),
    ).fetchall()
    return [int(row[0]) for row in rows]


def of_transfer(tx: Tx, transfer_id: int) -> Row | None:
    """The batch, payee and state of the payout that a transfer is in, or None."""
    row: Row | None = tx.execute(SELECT_BATCH_OF_TRANSFER, (transfer_id,)).fetchone()
    return row


def settled_by(tx: Tx, transfer_id: int) -> Row | None:
    """The payout that this row of the ledger settled, or None."""
    row: Row | None = tx.execute(
        "SELECT batch_id, payee_id FROM payouts WHERE transfer_id = ?", (transfer_id,)
    ).fetchone()
    return row


def end(
    tx: Tx, payout_id: int, state: PayoutState, *, key: str, transfer_id: int | None, now: str
) -> None:
    """Settle or void a payout, once; `transfer_id` is what settled it."""
    tx.execute(END, (state, key, transfer_id, now, payout_id))


def use_of_key(tx: Tx, business_id: str, key: str) -> Row | None:
    """What an operator's key was used for, or None."""
    row: Row | None = tx.execute(
        "SELECT end_state, batch_id, payee_id FROM payout_keys WHERE business_id = ? AND key = ?",
        (business_id, key),
    ).fetchone()
    return row


def keep_key(
    tx: Tx,
    business_id: str,
    key: str,
    *,
    state: PayoutState,
    batch_id: int,
    payee_id: int | None,
    now: str,
) -> None:
    """Remember what a key was used for."""
    tx.execute(
        "INSERT INTO payout_keys VALUES (?, ?, ?, ?, ?, ?)",
        (business_id, key, state, batch_id, payee_id, now),
    )
