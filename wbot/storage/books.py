"""The whole ledger at once: what verification, export and the operator's statements read."""

import sqlite3
from collections.abc import Iterator

import msgspec

from wbot.domain.errors import RefusedError
from wbot.domain.ledger import TransferState, reference_of
from wbot.storage import ledger
from wbot.storage.customers import LABEL

SELECT_TRANSFERS = """
SELECT t.*, x.payee, x.memo, e.message_id,
       (SELECT r.phase FROM transfers r
        WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')) AS resolution,
       EXISTS (SELECT 1 FROM transfers r WHERE r.target_id = t.id AND r.kind = 'reversal')
           AS is_reversed
FROM transfers t
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
LEFT JOIN effects e ON e.transfer_id = t.id
WHERE t.phase IN ('posted', 'pending', 'refused')
"""
SELECTED = """
(:business_id IS NULL OR t.business_id = :business_id)
  AND (:since IS NULL OR substr(t.created_at, 1, 10) >= :since)
  AND (:until IS NULL OR substr(t.created_at, 1, 10) <= :until)
"""
# A pending transfer is known by its own number and words; what it posted hangs on a later row.
SELECT_POSTED = f"""
SELECT o.id, o.kind, t.currency, t.created_at, o.target_id, x.memo,
       p.account_id, p.amount_minor
FROM transfers t
JOIN transfers o ON o.id = CASE t.phase WHEN 'post' THEN t.target_id ELSE t.id END
JOIN postings p ON p.transfer_id = t.id
LEFT JOIN transfer_texts x ON x.transfer_id = o.id
WHERE {SELECTED}
ORDER BY t.id, p.amount_minor
"""  # noqa: S608  our own text
SELECT_ACCOUNTS = f"""
SELECT a.id, a.business_id, a.kind, {LABEL} AS customer, p.name AS payee
FROM accounts a
LEFT JOIN payees p ON p.id = a.payee_id
LEFT JOIN customers c ON c.id = coalesce(a.customer_id, p.customer_id)
"""  # noqa: S608  our own text
SELECT_LOWEST = f"""
SELECT {LABEL} AS customer, b.posted_minor - b.held_minor AS available_minor
FROM accounts a
JOIN balances b ON b.account_id = a.id
JOIN customers c ON c.id = a.customer_id
WHERE a.business_id = ?
ORDER BY available_minor, a.id LIMIT 1
"""  # noqa: S608  our own text
COUNT = """
SELECT (SELECT count(*) FROM businesses) AS businesses, (SELECT count(*) FROM accounts) AS accounts,
    (SELECT count(*) FROM transfers) AS transfers, (SELECT count(*) FROM postings) AS postings
"""

# Breaches: each statement finds none in books that are right.
MISPLACED = """
SELECT p.transfer_id, p.account_id FROM postings p
LEFT JOIN transfers t ON t.id = p.transfer_id
WHERE t.id IS NULL OR p.account_id <>
    CASE WHEN p.amount_minor < 0 THEN t.debit_account_id ELSE t.credit_account_id END
"""
WRONG_CURRENCY = """
SELECT t.id FROM transfers t JOIN accounts a ON a.id IN (t.debit_account_id, t.credit_account_id)
WHERE a.currency <> t.currency OR a.business_id <> t.business_id GROUP BY t.id
"""
NO_MIRROR = """
SELECT r.id, r.target_id FROM transfers r LEFT JOIN transfers t ON t.id = r.target_id
WHERE r.kind = 'reversal' AND (t.id IS NULL OR t.amount_minor <> r.amount_minor
    OR t.debit_account_id <> r.credit_account_id OR t.credit_account_id <> r.debit_account_id
    OR NOT (t.phase = 'posted' OR EXISTS (
        SELECT 1 FROM transfers p WHERE p.target_id = t.id AND p.phase = 'post')))
"""
# The unique index lets nothing end a hold twice; here, that whatever ends one fits it.
NO_END = """
SELECT r.id, r.target_id FROM transfers r LEFT JOIN transfers t ON t.id = r.target_id
WHERE r.phase IN ('post', 'void', 'expire') AND (t.id IS NULL OR t.phase <> 'pending'
    OR t.kind <> r.kind OR t.amount_minor <> r.amount_minor
    OR t.debit_account_id <> r.debit_account_id OR t.credit_account_id <> r.credit_account_id)
"""
# What a message asked for is among its effects; the rest names its cause by its key alone.
NO_CAUSE = """
SELECT t.id FROM transfers t
WHERE t.cause_key = '' OR (t.cause_kind = 'call' AND t.phase <> 'void' AND NOT EXISTS
    (SELECT 1 FROM effects e WHERE e.transfer_id = t.id))
"""
LAST_NUMBERS = """
SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'transfers') AS given,
    (SELECT max(id) FROM transfers) AS found
"""
GUARDS = frozenset(
    {
        "transfers_are_not_edited",
        "transfers_are_not_deleted",
        "transfers_are_not_replaced",
        "transfers_are_whole",
        "transfers_continue_the_chain",
        "postings_are_not_edited",
        "postings_are_not_deleted",
        "postings_are_not_replaced",
    }
)
"""The triggers by which the schema itself keeps the ledger append-only."""
WRONG_HOLDS = """
SELECT a.id, coalesce(b.held_minor, 0) AS held_minor, coalesce(sum(t.amount_minor), 0) AS due_minor
FROM accounts a
LEFT JOIN balances b ON b.account_id = a.id
LEFT JOIN transfers t ON t.debit_account_id = a.id AND t.phase = 'pending' AND NOT EXISTS
    (SELECT 1 FROM transfers r WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire'))
GROUP BY a.id HAVING coalesce(b.held_minor, 0) <> coalesce(sum(t.amount_minor), 0)
"""
OVERDRAWN = """
SELECT a.id, b.posted_minor - b.held_minor AS available_minor FROM accounts a
JOIN balances b ON b.account_id = a.id JOIN businesses s ON s.id = a.business_id
WHERE a.kind <> 'business' AND b.posted_minor - b.held_minor <
    CASE WHEN a.kind = 'customer' THEN -s.overdraft_minor ELSE 0 END
"""


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer as the books have it; accounts by their number, times as text."""

    id: int
    business_id: str
    kind: str
    state: TransferState
    amount_minor: int
    currency: str
    debit_account_id: int
    credit_account_id: int | None
    target_id: int | None
    payee: str | None
    memo: str | None
    message_id: str | None
    cause: str
    created_at: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account and whose it is; `customer` is the label of the owner, or of the payee's owner."""

    id: int
    business_id: str
    kind: str
    customer: str | None
    payee: str | None

    @property
    def holder(self) -> str:
        """Whose money it is, in words."""
        if self.payee is not None:
            return f"{self.payee} (a payee of {self.customer})"
        return self.customer or self.business_id


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What of the books is wanted: one business, a period of UTC days with both its ends."""

    business_id: str | None = None
    since: str | None = None
    until: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """How much there is to verify."""

    businesses: int
    accounts: int
    transfers: int
    postings: int


def breaches(tx: sqlite3.Connection) -> list[str]:
    """Every invariant of the ledger that does not hold, in plain words."""
    return [*ledger.breaches(tx), *_wrong_transfers(tx), *_wrong_accounts(tx), *_unguarded(tx)]


def counts(tx: sqlite3.Connection) -> Counts:
    return Counts(*tx.execute(COUNT).fetchone())


def transfers(tx: sqlite3.Connection, selection: Selection) -> Iterator[Transfer]:
    """The transfers that were asked for in the period, oldest first."""
    wanted = msgspec.structs.asdict(selection)
    for row in tx.execute(f"{SELECT_TRANSFERS} AND {SELECTED} ORDER BY t.id", wanted):
        yield _transfer(row)


def transfer(tx: sqlite3.Connection, transfer_id: int) -> Transfer:
    """One transfer; raises RefusedError where there is none."""
    row = tx.execute(f"{SELECT_TRANSFERS} AND t.id = ?", (transfer_id,)).fetchone()
    if row is None:
        raise RefusedError(f"There is no transfer {reference_of(transfer_id)}.")
    return _transfer(row)


def posted(tx: sqlite3.Connection, selection: Selection) -> Iterator[list[sqlite3.Row]]:
    """The postings that each transfer made in the period, the paying account first."""
    rows: list[sqlite3.Row] = []
    for row in tx.execute(SELECT_POSTED, msgspec.structs.asdict(selection)):
        if rows and rows[0]["id"] != row["id"]:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def accounts(tx: sqlite3.Connection, business_id: str | None = None) -> dict[int, Account]:
    """Every account by its number; of one business where it is named."""
    condition = "WHERE ?1 IS NULL OR a.business_id = ?1"
    rows = tx.execute(f"{SELECT_ACCOUNTS} {condition}", (business_id,)).fetchall()
    return {int(row["id"]): _account(row) for row in rows}


def account(tx: sqlite3.Connection, account_id: int) -> Account:
    """One account."""
    return _account(tx.execute(f"{SELECT_ACCOUNTS} WHERE a.id = ?", (account_id,)).fetchone())


def lowest(tx: sqlite3.Connection, business_id: str) -> tuple[str, int] | None:
    """The customer with the least available, and how much; None where nobody had money yet."""
    row = tx.execute(SELECT_LOWEST, (business_id,)).fetchone()
    return None if row is None else (row["customer"], row["available_minor"])


def _account(row: sqlite3.Row) -> Account:
    return Account(**{name: row[name] for name in Account.__struct_fields__})


def _transfer(row: sqlite3.Row) -> Transfer:
    return Transfer(
        id=row["id"],
        business_id=row["business_id"],
        kind=row["kind"],
        state=ledger.state_of(row),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        debit_account_id=row["debit_account_id"],
        credit_account_id=row["credit_account_id"],
        target_id=row["target_id"],
        payee=row["payee"],
        memo=row["memo"],
        message_id=row["message_id"],
        cause=f"{row['cause_kind']}:{row['cause_key']}",
        created_at=row["created_at"],
    )


def _wrong_transfers(tx: sqlite3.Connection) -> list[str]:
    return [
        *(
            f"A posting of T{row[0]} is on account {row[1]}, which has no part in it."
            for row in tx.execute(MISPLACED).fetchall()
        ),
        *(
            f"T{row[0]} is in another currency or business than one of its accounts."
            for row in tx.execute(WRONG_CURRENCY).fetchall()
        ),
        *(
            f"T{row[0]} does not mirror T{row[1]}, which it reverses."
            for row in tx.execute(NO_MIRROR).fetchall()
        ),
        *(
            f"T{row[0]} does not fit T{row[1]}, whose hold it ends."
            for row in tx.execute(NO_END).fetchall()
        ),
        *(f"T{row[0]} does not say what caused it." for row in tx.execute(NO_CAUSE).fetchall()),
    ]


def _unguarded(tx: sqlite3.Connection) -> list[str]:
    """What somebody must have done by hand: guards taken away, the end of the ledger cut off."""
    names = tx.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    missing = GUARDS - {str(row[0]) for row in names}
    numbers = tx.execute(LAST_NUMBERS).fetchone()
    is_cut = (numbers["given"] or 0) > (numbers["found"] or 0)
    return [
        *(f"The schema's guard {name} is missing." for name in sorted(missing)),
        *([f"The ledger once had T{numbers['given']}, and ends before it."] if is_cut else []),
    ]


def _wrong_accounts(tx: sqlite3.Connection) -> list[str]:
    return [
        *(
            f"Account {row[0]} holds {row[1]} minor units, but its pending transfers add up to "
            f"{row[2]}."
            for row in tx.execute(WRONG_HOLDS).fetchall()
        ),
        *(
            f"Account {row[0]} is overdrawn: {row[1]} minor units are available."
            for row in tx.execute(OVERDRAWN).fetchall()
        ),
    ]
