"""Accounts, transfers, postings and balances: written once, read by everybody."""

import sqlite3

import msgspec

from wbot.domain.errors import RefusedError
from wbot.domain.ledger import (
    GENESIS_HASH,
    Balance,
    Cause,
    Entry,
    TransferKind,
    TransferState,
    chain_hash,
    folded_name,
)
from wbot.domain.receipts import PAYEE_LENGTH_MAX, one_line

SELECT_ENTRIES = """
SELECT t.id, t.kind, t.phase, t.amount_minor, t.created_at, t.refusal,
       t.credit_account_id = :account AS is_incoming,
       x.payee, x.memo, e.message_id,
       other.kind AS other_kind,
       b.name AS business_name, c.name AS customer_name, p.name AS payee_name,
       (SELECT r.phase FROM transfers r
        WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')) AS resolution,
       EXISTS (SELECT 1 FROM transfers r WHERE r.target_id = t.id AND r.kind = 'reversal')
           AS is_reversed
FROM transfers t
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
LEFT JOIN effects e ON e.transfer_id = t.id
LEFT JOIN accounts other ON other.id =
    CASE WHEN t.debit_account_id = :account THEN t.credit_account_id ELSE t.debit_account_id END
LEFT JOIN businesses b ON b.id = other.business_id AND other.kind = 'business'
LEFT JOIN customers c ON c.id = other.customer_id
LEFT JOIN payees p ON p.id = other.payee_id
WHERE t.phase IN ('posted', 'pending', 'refused')
  AND t.id IN (SELECT id FROM transfers WHERE debit_account_id = :account
               UNION ALL SELECT id FROM transfers
                         WHERE credit_account_id = :account AND phase <> 'refused')
"""
INSERT_TRANSFER = """
INSERT INTO transfers (id, business_id, kind, phase, debit_account_id, credit_account_id,
    amount_minor, currency, target_id, refusal, cause_kind, cause_key, created_at,
    previous_hash, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
CHAINED = (
    "id, business_id, kind, phase, debit_account_id, credit_account_id, amount_minor, currency, "
    "target_id, refusal, cause_kind, cause_key, created_at"
)
ADD_TO_BALANCE = """
INSERT INTO balances (account_id, posted_minor) VALUES (?, ?)
ON CONFLICT (account_id) DO UPDATE SET posted_minor = posted_minor + excluded.posted_minor
"""


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be recorded: who pays whom, how much, why."""

    business_id: str
    kind: TransferKind
    debit_account_id: int
    credit_account_id: int | None
    amount_minor: int
    currency: str
    cause: Cause
    target_id: int | None = None
    refusal: str | None = None
    payee: str | None = None
    memo: str | None = None


def account_of_business(tx: sqlite3.Connection, business_id: str) -> int:
    """The business's own account, the outside of every customer's; made on first use."""
    row = tx.execute(
        "SELECT id FROM accounts WHERE business_id = ? AND kind = 'business'", (business_id,)
    ).fetchone()
    return int(row[0]) if row else _open(tx, business_id, "business")


def account_of_customer(tx: sqlite3.Connection, business_id: str, customer_id: int) -> int:
    """The customer's account, made on first use."""
    row = tx.execute("SELECT id FROM accounts WHERE customer_id = ?", (customer_id,)).fetchone()
    return int(row[0]) if row else _open(tx, business_id, "customer", customer_id=customer_id)


def find_account(tx: sqlite3.Connection, customer_id: int) -> int | None:
    """The customer's account, or None where no money was ever there."""
    row = tx.execute("SELECT id FROM accounts WHERE customer_id = ?", (customer_id,)).fetchone()
    return int(row[0]) if row else None


def account(tx: sqlite3.Connection, account_id: int) -> sqlite3.Row:
    """An account's row."""
    row: sqlite3.Row = tx.execute("SELECT * FROM accounts WHERE id = ?", (account_id,)).fetchone()
    return row


def account_of_payee(
    tx: sqlite3.Connection, business_id: str, customer_id: int, name: str, now: str
) -> int:
    """The account of a payee this customer names; made on first use, private to the customer."""
    folded = folded_name(name)
    tx.execute(
        "INSERT INTO payees (customer_id, name, folded, created_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (customer_id, folded) DO NOTHING",
        (customer_id, name, folded, now),
    )
    payee = tx.execute(
        "SELECT p.id, a.id FROM payees p LEFT JOIN accounts a ON a.payee_id = p.id "
        "WHERE p.customer_id = ? AND p.folded = ?",
        (customer_id, folded),
    ).fetchone()
    return int(payee[1]) if payee[1] else _open(tx, business_id, "payee", payee_id=payee[0])


def payee_name(tx: sqlite3.Connection, customer_id: int, name: str) -> str:
    """The payee's name as the customer first wrote it, or the given one."""
    row = tx.execute(
        "SELECT name FROM payees WHERE customer_id = ? AND folded = ?",
        (customer_id, folded_name(name)),
    ).fetchone()
    return str(row[0]) if row else name


def balance(tx: sqlite3.Connection, account_id: int) -> Balance:
    """The account's money; zero where nothing was ever posted."""
    row = tx.execute(
        "SELECT posted_minor, held_minor FROM balances WHERE account_id = ?", (account_id,)
    ).fetchone()
    return Balance(int(row[0]), int(row[1])) if row else Balance(0, 0)


def by_cause(tx: sqlite3.Connection, cause: Cause) -> sqlite3.Row | None:
    """The transfer this cause already made, or None."""
    row: sqlite3.Row | None = tx.execute(
        "SELECT * FROM transfers WHERE cause_kind = ? AND cause_key = ?", (cause.kind, cause.key)
    ).fetchone()
    return row


def by_id(tx: sqlite3.Connection, transfer_id: int) -> sqlite3.Row | None:
    """The transfer's row, or None."""
    row: sqlite3.Row | None = tx.execute(
        "SELECT * FROM transfers WHERE id = ?", (transfer_id,)
    ).fetchone()
    return row


def record(tx: sqlite3.Connection, movement: Movement, now: str) -> int:
    """Append a transfer, posted unless it carries a refusal; its number.

    The cause is unique: recording the same one again raises sqlite3.IntegrityError.
    """
    last = tx.execute("SELECT id, hash FROM transfers ORDER BY id DESC LIMIT 1").fetchone()
    transfer_id = int(last["id"]) + 1 if last else 1
    previous_hash = str(last["hash"]) if last else GENESIS_HASH
    fields = (
        transfer_id,
        movement.business_id,
        str(movement.kind),
        "refused" if movement.refusal else "posted",
        movement.debit_account_id,
        movement.credit_account_id,
        movement.amount_minor,
        movement.currency,
        movement.target_id,
        movement.refusal,
        str(movement.cause.kind),
        movement.cause.key,
        now,
    )
    tx.execute(INSERT_TRANSFER, (*fields, previous_hash, chain_hash(previous_hash, *fields)))
    if movement.payee or movement.memo:
        tx.execute(
            "INSERT INTO transfer_texts (transfer_id, payee, memo) VALUES (?, ?, ?)",
            (transfer_id, movement.payee, movement.memo),
        )
    if movement.refusal is None:
        _post(tx, transfer_id, movement)
    return transfer_id


def reverse(tx: sqlite3.Connection, transfer_id: int, cause: Cause, now: str) -> int:
    """Mirror a posted transfer; the reversal's number.

    Raises RefusedError for a transfer that is not posted, is itself a reversal, or is reversed.
    """
    row = by_id(tx, transfer_id)
    if row is None or row["phase"] != "posted":
        raise RefusedError(f"There is no posted transfer T{transfer_id}.")
    if row["kind"] == TransferKind.REVERSAL:
        raise RefusedError(f"T{transfer_id} is itself a reversal.")
    if tx.execute(
        "SELECT 1 FROM transfers WHERE target_id = ? AND kind = 'reversal'", (transfer_id,)
    ).fetchone():
        raise RefusedError(f"T{transfer_id} is already reversed.")
    movement = Movement(
        business_id=row["business_id"],
        kind=TransferKind.REVERSAL,
        debit_account_id=row["credit_account_id"],
        credit_account_id=row["debit_account_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        cause=cause,
        target_id=transfer_id,
    )
    return record(tx, movement, now)


def entries(tx: sqlite3.Connection, account_id: int, limit: int) -> list[Entry]:
    """The account's latest transfers, newest first."""
    rows = tx.execute(
        f"{SELECT_ENTRIES} ORDER BY t.id DESC LIMIT :limit",
        {"account": account_id, "limit": limit},
    )
    return [_entry(row) for row in rows.fetchall()]


def entry(tx: sqlite3.Connection, account_id: int, transfer_id: int) -> Entry | None:
    """One transfer as the account sees it; None if it has no part in it."""
    row = tx.execute(
        f"{SELECT_ENTRIES} AND t.id = :transfer", {"account": account_id, "transfer": transfer_id}
    ).fetchone()
    return None if row is None else _entry(row)


def latest_outgoing(tx: sqlite3.Connection, account_id: int) -> Entry | None:
    """The customer's latest transfer to somebody, made or refused; None if there is none."""
    row = tx.execute(
        f"{SELECT_ENTRIES} AND t.kind = 'transfer' AND t.debit_account_id = :account "
        "ORDER BY t.id DESC LIMIT 1",
        {"account": account_id},
    ).fetchone()
    return None if row is None else _entry(row)


def has_transfers(tx: sqlite3.Connection, business_id: str) -> bool:
    """Whether anything was ever recorded for the business."""
    row = tx.execute(
        "SELECT 1 FROM transfers WHERE business_id = ? LIMIT 1", (business_id,)
    ).fetchone()
    return row is not None


def redenominate(tx: sqlite3.Connection, business_id: str, currency: str) -> None:
    """Put the accounts of a business, none of which has ever been used, into another currency."""
    tx.execute("UPDATE accounts SET currency = ? WHERE business_id = ?", (currency, business_id))


def breaches(tx: sqlite3.Connection) -> list[str]:
    """Every invariant that does not hold, in plain words; empty when the books are right."""
    return [*_unbalanced(tx), *_wrong_balances(tx), *_broken_chain(tx)]


def _unbalanced(tx: sqlite3.Connection) -> list[str]:
    found = tx.execute(
        "SELECT t.id FROM transfers t LEFT JOIN postings p ON p.transfer_id = t.id "
        "WHERE t.phase IN ('posted', 'post') GROUP BY t.id "
        "HAVING count(p.account_id) <> 2 OR sum(p.amount_minor) <> 0 "
        "OR max(p.amount_minor) <> t.amount_minor"
    ).fetchall()
    stray = tx.execute(
        "SELECT DISTINCT p.transfer_id FROM postings p JOIN transfers t ON t.id = p.transfer_id "
        "WHERE t.phase NOT IN ('posted', 'post')"
    ).fetchall()
    return [f"The postings of T{row[0]} do not match its amount." for row in found] + [
        f"T{row[0]} has postings though it was never posted." for row in stray
    ]


def _wrong_balances(tx: sqlite3.Connection) -> list[str]:
    found = tx.execute(
        "SELECT a.id, coalesce(b.posted_minor, 0), coalesce(sum(p.amount_minor), 0) "
        "FROM accounts a LEFT JOIN balances b ON b.account_id = a.id "
        "LEFT JOIN postings p ON p.account_id = a.id GROUP BY a.id "
        "HAVING coalesce(b.posted_minor, 0) <> coalesce(sum(p.amount_minor), 0)"
    ).fetchall()
    return [
        f"Account {row[0]} says {row[1]} minor units, but its postings add up to {row[2]}."
        for row in found
    ]


def _broken_chain(tx: sqlite3.Connection) -> list[str]:
    found, previous = [], GENESIS_HASH
    for row in tx.execute(f"SELECT {CHAINED}, previous_hash, hash FROM transfers ORDER BY id"):  # noqa: S608  our own names
        *fields, previous_hash, own_hash = tuple(row)
        if previous_hash != previous or own_hash != chain_hash(previous, *fields):
            found.append(f"T{row['id']} does not continue the chain: it was changed by hand.")
        previous = own_hash
    return found


def _post(tx: sqlite3.Connection, transfer_id: int, movement: Movement) -> None:
    legs = (
        (movement.debit_account_id, -movement.amount_minor),
        (movement.credit_account_id, movement.amount_minor),
    )
    for account_id, amount_minor in legs:
        tx.execute("INSERT INTO postings VALUES (?, ?, ?)", (transfer_id, account_id, amount_minor))
        tx.execute(ADD_TO_BALANCE, (account_id, amount_minor))


def _open(
    tx: sqlite3.Connection,
    business_id: str,
    kind: str,
    *,
    customer_id: int | None = None,
    payee_id: int | None = None,
) -> int:
    cursor = tx.execute(
        "INSERT INTO accounts (business_id, kind, customer_id, payee_id, currency) "
        "SELECT id, ?, ?, ?, currency FROM businesses WHERE id = ?",
        (kind, customer_id, payee_id, business_id),
    )
    return int(cursor.lastrowid or 0)


_RESOLVED = {
    None: TransferState.PENDING,
    "post": TransferState.POSTED,
    "void": TransferState.VOID,
    "expire": TransferState.VOID,
}


def state_of(row: sqlite3.Row) -> TransferState:
    """Where a transfer stands, by its phase, `resolution` and `is_reversed`."""
    if row["phase"] == "refused":
        return TransferState.REFUSED
    if row["is_reversed"]:
        return TransferState.REVERSED
    return _RESOLVED[row["resolution"]] if row["phase"] == "pending" else TransferState.POSTED


def _entry(row: sqlite3.Row) -> Entry:
    # What was written as the payee names whoever got the money, never whoever sent it. A profile's
    # name is its owner's choice, and is shown to other customers in lines that begin with our mark.
    written = None if row["is_incoming"] else row["payee"]
    customer_name = one_line(row["customer_name"] or "", PAYEE_LENGTH_MAX)
    names = (row["payee_name"], customer_name, row["business_name"], written)
    return Entry(
        transfer_id=row["id"],
        kind=TransferKind(row["kind"]),
        state=state_of(row),
        amount_minor=row["amount_minor"],
        is_incoming=bool(row["is_incoming"]),
        counterparty=next((name for name in names if name), "another customer"),
        created_at=row["created_at"],
        message_id=row["message_id"],
        memo=row["memo"],
        refusal=row["refusal"],
        is_to_customer=row["other_kind"] == "customer",
    )
