"""Transfers, postings and balances: written in one place only."""

import msgspec

from wbot.domain.errors import RefusedError
from wbot.domain.ledger import (
    GENESIS_HASH,
    Cause,
    Phase,
    TransferKind,
    TransferState,
    chain_hash,
    reference_of,
)
from wbot.storage import restorations
from wbot.storage.tx import Tx, typed, typed_or_none

SELECT_TRANSFER = """
SELECT t.*, r.phase AS resolution,
       EXISTS (SELECT 1 FROM transfers v WHERE v.target_id = t.id AND v.kind = 'reversal')
           AS is_reversed
FROM transfers t
LEFT JOIN transfers r ON r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')
WHERE t.id = ? AND t.phase IN ('posted', 'pending', 'refused')
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
HOLD = "UPDATE balances SET held_minor = held_minor + ? WHERE account_id = ?"
PENDING_OF_MESSAGE = """
SELECT t.*, coalesce(x.payee, 'the payee') AS payee,
    (SELECT r.phase FROM transfers r
     WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')) AS resolution
FROM effects e JOIN transfers t ON t.id = e.transfer_id AND t.phase = 'pending'
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
WHERE e.message_id = ? ORDER BY t.id
"""
# By the index transfers_alike. Numbers that no customer has share the business's account: of them
# the name tells.
# Refused at once, or at the customer's confirmation; the void's cause says why.
# Each half by its own index.
# Each half by its own index, so that a long history costs no more than a short one. A pending
# transfer is hidden from its payee.


_MOVING = frozenset({Phase.POSTED, Phase.PENDING, Phase.POST})


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """What to record: who pays whom, how much, why; refused where it has a refusal."""

    business_id: str
    kind: TransferKind
    debit_account_id: int
    credit_account_id: int | None
    amount_minor: int
    currency: str
    cause: Cause
    phase: Phase = Phase.POSTED
    target_id: int | None = None
    refusal: str | None = None
    payee: str | None = None
    payee_number: str | None = None
    memo: str | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger, as its cause finds it again."""

    id: int
    kind: str
    phase: str
    amount_minor: int
    refusal: str | None


class StoredTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer and what became of it; without a credit account it was refused at once."""

    id: int
    business_id: str
    kind: str
    phase: str
    debit_account_id: int
    credit_account_id: int | None
    amount_minor: int
    currency: str
    target_id: int | None
    refusal: str | None
    created_at: str
    resolution: str | None
    is_reversed: int

    @property
    def to_account_id(self) -> int:
        """The account it credits, or was to; 0 of one that was refused at once."""
        return self.credit_account_id or 0

    @property
    def state(self) -> TransferState:
        return state_by(self.phase, self.resolution, is_reversed=bool(self.is_reversed))


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer that was to be confirmed; `resolution` is the phase of what ended it."""

    id: int
    debit_account_id: int
    credit_account_id: int
    amount_minor: int
    payee: str
    created_at: str
    resolution: str | None


def by_cause(tx: Tx, cause: Cause) -> Recorded | None:
    """The row this cause already made, or None."""
    row = tx.execute(
        "SELECT * FROM transfers WHERE cause_kind = ? AND cause_key = ?", (cause.kind, cause.key)
    ).fetchone()
    return typed_or_none(Recorded, row)


def by_id(tx: Tx, transfer_id: int) -> StoredTransfer | None:
    """The transfer, or None.

    A row that ends a pending transfer is not a transfer of its own.
    """
    return typed_or_none(StoredTransfer, tx.execute(SELECT_TRANSFER, (transfer_id,)).fetchone())


def required(tx: Tx, transfer_id: int) -> StoredTransfer:
    """The transfer; raises RefusedError where there is none."""
    found = by_id(tx, transfer_id)
    if found is None:
        raise RefusedError(f"There is no transfer {reference_of(transfer_id)}.")
    return found


def record(tx: Tx, movement: Movement, now: str) -> int:
    """Append a row to the ledger and update the balances; its number.

    The cause is unique: recording the same one again raises sqlite3.IntegrityError. Raises
    RefusedError while money is stopped in a restored copy.
    """
    phase = movement.phase if movement.refusal is None else Phase.REFUSED
    if phase in _MOVING and restorations.is_stopped(tx):
        raise RefusedError(restorations.STOPPED)
    last = tx.execute("SELECT id, hash FROM transfers ORDER BY id DESC LIMIT 1").fetchone()
    transfer_id = int(last["id"]) + 1 if last else 1
    previous_hash = str(last["hash"]) if last else GENESIS_HASH
    fields = (
        transfer_id,
        movement.business_id,
        str(movement.kind),
        str(phase),
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
            "INSERT INTO transfer_texts (transfer_id, payee, payee_number, memo) "
            "VALUES (?, ?, ?, ?)",
            (transfer_id, movement.payee, movement.payee_number, movement.memo),
        )
    if phase in {Phase.POSTED, Phase.POST}:
        _post(tx, transfer_id, movement)
    if phase is Phase.PENDING:
        _hold(tx, movement.debit_account_id, movement.amount_minor)
        legs = (movement.debit_account_id, movement.credit_account_id)
        tx.execute("INSERT INTO holds VALUES (?, ?, ?)", (transfer_id, *legs))
    elif phase in {Phase.POST, Phase.VOID, Phase.EXPIRE}:
        _hold(tx, movement.debit_account_id, -movement.amount_minor)
        tx.execute("DELETE FROM holds WHERE transfer_id = ?", (movement.target_id,))
    return transfer_id


def resolve(tx: Tx, transfer_id: int, phase: Phase, *, cause: Cause, now: str) -> int:
    """End an open pending transfer by posting, voiding or expiring it; the row that does.

    Raises sqlite3.IntegrityError where it has ended already.
    """
    row = tx.execute("SELECT * FROM transfers WHERE id = ?", (transfer_id,)).fetchone()
    movement = Movement(
        business_id=row["business_id"],
        kind=TransferKind(row["kind"]),
        debit_account_id=row["debit_account_id"],
        credit_account_id=row["credit_account_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        cause=cause,
        phase=phase,
        target_id=transfer_id,
    )
    return record(tx, movement, now)


def open_of_account(tx: Tx, account_id: int) -> list[int]:
    """The pending transfers out of an account that have not ended, oldest first."""
    rows = tx.execute(
        "SELECT transfer_id FROM holds WHERE debit_account_id = ? ORDER BY transfer_id",
        (account_id,),
    ).fetchall()
    return [int(row[0]) for row in rows]


def pending_of_message(tx: Tx, message_id: str) -> list[Pending]:
    """The transfers that the message left pending, ended since or not."""
    rows = tx.execute(PENDING_OF_MESSAGE, (message_id,)).fetchall()
    return [typed(Pending, row) for row in rows]


def open_of_message(tx: Tx, message_id: str) -> list[Pending]:
    """The message's pending transfers that have not ended."""
    return [one for one in pending_of_message(tx, message_id) if one.resolution is None]


def open_everywhere(tx: Tx) -> list[int]:
    """Every pending transfer that has not ended, oldest first."""
    rows = tx.execute("SELECT transfer_id FROM holds ORDER BY transfer_id").fetchall()
    return [int(row[0]) for row in rows]


def reverse(tx: Tx, transfer_id: int, cause: Cause, now: str) -> int:
    """Mirror a posted transfer; the reversal's number.

    Raises RefusedError for a transfer that is not posted, is itself a reversal, or is reversed.
    """
    row, reference = by_id(tx, transfer_id), reference_of(transfer_id)
    state = None if row is None else row.state
    if row is None or state in {None, TransferState.REFUSED, TransferState.VOID}:
        raise RefusedError(f"There is no posted transfer {reference}.")
    if state is TransferState.PENDING:
        raise RefusedError(f"{reference} waits for its customer's yes; nothing has moved yet.")
    if row.kind == TransferKind.REVERSAL:
        raise RefusedError(f"{reference} is itself a reversal.")
    if state is TransferState.REVERSED:
        raise RefusedError(f"{reference} is already reversed.")
    movement = Movement(
        business_id=row.business_id,
        kind=TransferKind.REVERSAL,
        debit_account_id=row.to_account_id,
        credit_account_id=row.debit_account_id,
        amount_minor=row.amount_minor,
        currency=row.currency,
        cause=cause,
        target_id=transfer_id,
    )
    return record(tx, movement, now)


def has_transfers(tx: Tx, business_id: str) -> bool:
    """Whether anything was ever recorded for the business."""
    row = tx.execute(
        "SELECT 1 FROM accounts a JOIN transfers t ON t.debit_account_id = a.id "
        "WHERE a.business_id = ? LIMIT 1",
        (business_id,),
    ).fetchone()
    return row is not None


def _post(tx: Tx, transfer_id: int, movement: Movement) -> None:
    legs = (
        (movement.debit_account_id, -movement.amount_minor),
        (movement.credit_account_id, movement.amount_minor),
    )
    for account_id, amount_minor in legs:
        tx.execute("INSERT INTO postings VALUES (?, ?, ?)", (transfer_id, account_id, amount_minor))
        tx.execute(ADD_TO_BALANCE, (account_id, amount_minor))


def _hold(tx: Tx, account_id: int, amount_minor: int) -> None:
    if not tx.execute(HOLD, (amount_minor, account_id)).rowcount:  # on an overdraft alone
        tx.execute(ADD_TO_BALANCE, (account_id, 0))
        tx.execute(HOLD, (amount_minor, account_id))


_RESOLVED: dict[str | None, TransferState] = {
    None: TransferState.PENDING,
    Phase.POST: TransferState.POSTED,
    Phase.VOID: TransferState.VOID,
    Phase.EXPIRE: TransferState.VOID,
}


def state_by(phase: str, resolution: str | None, *, is_reversed: bool) -> TransferState:
    """Where a transfer stands, by its own phase, that of the row that ended it, and a reversal."""
    if phase == Phase.REFUSED:
        return TransferState.REFUSED
    if is_reversed:
        return TransferState.REVERSED
    return _RESOLVED[resolution] if phase == Phase.PENDING else TransferState.POSTED
