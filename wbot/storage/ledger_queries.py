"""The whole ledger at once: what verification, export and the operator's statements read."""

from collections.abc import Iterator
from itertools import groupby

import msgspec

from wbot.domain.errors import RefusedError
from wbot.domain.ledger import TransferState, reference_of
from wbot.storage import ledger
from wbot.storage.customers import LABEL
from wbot.storage.tx import Row, Tx, typed

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
# A pending transfer has its own number and texts; its postings belong to a later row.
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


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer as the ledger has it; accounts by their number, times as text."""

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


class Posting(msgspec.Struct, frozen=True):
    """One side of a transfer, whose number, kind and texts it has."""

    id: int
    kind: str
    currency: str
    created_at: str
    target_id: int | None
    memo: str | None
    account_id: int
    amount_minor: int


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the ledger: one business, a period of UTC days, both ends included."""

    business_id: str | None = None
    since: str | None = None
    until: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """How much there is to verify."""

    businesses: int
    accounts: int
    transfers: int
    postings: int


def counts(tx: Tx) -> Counts:
    return Counts(*tx.execute(COUNT).fetchone())


def transfers(tx: Tx, selection: Selection) -> Iterator[Transfer]:
    """The transfers requested in the period, oldest first."""
    wanted = msgspec.structs.asdict(selection)
    for row in tx.execute(f"{SELECT_TRANSFERS} AND {SELECTED} ORDER BY t.id", wanted):
        yield _transfer(row)


def transfer(tx: Tx, transfer_id: int) -> Transfer:
    """One transfer; raises RefusedError where there is none."""
    row = tx.execute(f"{SELECT_TRANSFERS} AND t.id = ?", (transfer_id,)).fetchone()
    if row is None:
        raise RefusedError(f"There is no transfer {reference_of(transfer_id)}.")
    return _transfer(row)


def posted(tx: Tx, selection: Selection) -> Iterator[list[Posting]]:
    """The postings that each transfer made in the period, the paying account first."""
    rows = tx.execute(SELECT_POSTED, msgspec.structs.asdict(selection))
    for _, group in groupby((Posting(*row) for row in rows), lambda posting: posting.id):
        yield list(group)


def accounts(tx: Tx, business_id: str | None = None) -> dict[int, Account]:
    """Every account by its number; of one business where it is named."""
    condition = "WHERE ?1 IS NULL OR a.business_id = ?1"
    rows = tx.execute(f"{SELECT_ACCOUNTS} {condition}", (business_id,)).fetchall()
    return {int(row["id"]): _account(row) for row in rows}


def account(tx: Tx, account_id: int) -> Account:
    """One account."""
    return _account(tx.execute(f"{SELECT_ACCOUNTS} WHERE a.id = ?", (account_id,)).fetchone())


def lowest(tx: Tx, business_id: str) -> tuple[str, int] | None:
    """The customer with the least available, and how much; None where no customer has any yet."""
    row = tx.execute(SELECT_LOWEST, (business_id,)).fetchone()
    return None if row is None else (row["customer"], row["available_minor"])


def _account(row: Row) -> Account:
    return typed(Account, row)


def _transfer(row: Row) -> Transfer:
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
