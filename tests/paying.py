"""A customer with money who pays by name, at once or in two phases, straight into the ledger."""

import sqlite3

from stored import NOW, SHOP, give, make_customer

from wbot.domain.ledger import GENESIS_HASH, Cause, CauseKind, TransferKind, chain_hash
from wbot.storage import ledger

ALICE = "15550101001"


def append(tx: sqlite3.Connection, movement: ledger.Movement, phase: str, at: str) -> int:
    """A row of a two-phase transfer with its postings and holds, as the ledger writes it."""
    last = tx.execute("SELECT id, hash FROM transfers ORDER BY id DESC LIMIT 1").fetchone()
    number, previous = (last["id"] + 1, last["hash"]) if last else (1, GENESIS_HASH)
    debit, credit, amount = (
        movement.debit_account_id,
        movement.credit_account_id,
        movement.amount_minor,
    )
    fields = (
        *(number, movement.business_id, str(movement.kind), phase, debit, credit, amount),
        *(movement.currency, movement.target_id, None),
        *(str(movement.cause.kind), movement.cause.key, at),
    )
    hashes = (previous, chain_hash(previous, *fields))
    tx.execute(ledger.INSERT_TRANSFER, (*fields, *hashes))
    if movement.memo:
        tx.execute(
            "INSERT INTO transfer_texts VALUES (?, ?, ?)", (number, movement.payee, movement.memo)
        )
    held = amount if phase == "pending" else -amount
    change = "UPDATE balances SET held_minor = held_minor + ? WHERE account_id = ?"
    tx.execute(change, (held, debit))
    if phase == "post":
        for account, minor in ((debit, -amount), (credit, amount)):
            tx.execute("INSERT INTO postings VALUES (?, ?, ?)", (number, account, minor))
            tx.execute(ledger.ADD_TO_BALANCE, (account, minor))
    return number


class Paying:
    """Alice of The Shop with 1,000.00, who pays by name, at once or in two phases."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self.tx = tx
        self.customer_id = make_customer(tx, ALICE)
        give(tx, self.customer_id, 1_000_00)
        self.account = ledger.account_of_customer(tx, SHOP.id, self.customer_id)
        self._keys = 0

    def movement(self, payee: str, minor: int, memo: str | None = None) -> ledger.Movement:
        self._keys += 1
        return ledger.Movement(
            business_id=SHOP.id,
            kind=TransferKind.TRANSFER,
            debit_account_id=self.account,
            credit_account_id=ledger.account_of_payee(
                self.tx, SHOP.id, self.customer_id, payee, NOW
            ),
            amount_minor=minor,
            currency="USD",
            cause=Cause(CauseKind.OPERATOR, f"m{self._keys}"),
            payee=payee,
            memo=memo,
        )

    def pay(self, payee: str, minor: int, memo: str | None = None, at: str = NOW) -> int:
        return ledger.record(self.tx, self.movement(payee, minor, memo), at)

    def hold(self, payee: str, minor: int, memo: str | None = None, at: str = NOW) -> int:
        return append(self.tx, self.movement(payee, minor, memo), "pending", at)

    def resolve(self, pending_id: int, phase: str, at: str = NOW) -> int:
        row = self.tx.execute("SELECT * FROM transfers WHERE id = ?", (pending_id,)).fetchone()
        names = ("business_id", "debit_account_id", "credit_account_id", "amount_minor", "currency")
        movement = ledger.Movement(
            kind=TransferKind(row["kind"]),
            target_id=pending_id,
            cause=Cause(CauseKind.TAP, f"m/{phase}/T{pending_id}"),
            **{name: row[name] for name in names},
        )
        return append(self.tx, movement, phase, at)

    def reverse(self, row_id: int, target_id: int, at: str = NOW) -> int:
        """Mirror a posted row, in the name of the transfer that people know."""
        row = self.tx.execute("SELECT * FROM transfers WHERE id = ?", (row_id,)).fetchone()
        movement = ledger.Movement(
            business_id=SHOP.id,
            kind=TransferKind.REVERSAL,
            debit_account_id=row["credit_account_id"],
            credit_account_id=row["debit_account_id"],
            amount_minor=row["amount_minor"],
            currency="USD",
            target_id=target_id,
            cause=Cause(CauseKind.OPERATOR, f"reverse/T{target_id}"),
        )
        return ledger.record(self.tx, movement, at)
