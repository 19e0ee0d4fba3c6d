"""Accounts, transfers, postings and balances: written in one place only."""

import msgspec

from wbot.domain.errors import RefusedError
from wbot.domain.ledger import (
    ANOTHER_CUSTOMER,
    GENESIS_HASH,
    Balance,
    Cause,
    Entry,
    Phase,
    TransferKind,
    TransferState,
    chain_hash,
    effect_key,
    reference_of,
)
from wbot.domain.payees import folded_name
from wbot.domain.policy import Refusal
from wbot.domain.receipts import PAYEE_LENGTH_MAX, one_line
from wbot.storage import restorations
from wbot.storage.tx import Row, Tx, typed, typed_or_none

SELECT_ENTRIES = """
SELECT t.id, t.kind, t.phase, t.amount_minor, t.created_at, t.refusal,
       t.credit_account_id = :account AS is_incoming,
       x.memo, e.message_id, written.payee, written.payee_number, m.foreign_words,
       other.kind AS other_kind,
       b.name AS business_name, c.name AS customer_name, p.name AS payee_name,
       p.known_since IS NOT NULL OR got.posted_minor > 0
           OR (written.payee_number IS NOT NULL AND r.phase = 'post')
           AS is_payee_used,
       (SELECT value FROM customer_aliases WHERE customer_id = other.customer_id
        AND kind = 'phone' AND retired_at IS NULL ORDER BY id LIMIT 1) AS other_phone,
       r.phase AS resolution, r.created_at AS resolved_at,
       EXISTS (SELECT 1 FROM transfers v WHERE v.target_id = t.id AND v.kind = 'reversal')
           AS is_reversed,
       EXISTS (SELECT 1 FROM payout_transfers WHERE transfer_id = t.id) AS is_paying_out
FROM transfers t
LEFT JOIN transfers r ON r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
LEFT JOIN effects e ON e.transfer_id = t.id
LEFT JOIN transfer_texts written ON written.transfer_id = coalesce(t.target_id, t.id)
LEFT JOIN effects asked ON asked.transfer_id = coalesce(t.target_id, t.id)
LEFT JOIN messages m ON m.message_id = asked.message_id
LEFT JOIN accounts other ON other.id =
    CASE WHEN t.debit_account_id = :account THEN t.credit_account_id ELSE t.debit_account_id END
LEFT JOIN businesses b ON b.id = other.business_id AND other.kind = 'business'
LEFT JOIN customers c ON c.id = other.customer_id
LEFT JOIN payees p ON p.id = other.payee_id
LEFT JOIN balances got ON got.account_id = other.id AND other.kind = 'payee'
WHERE t.phase IN ('posted', 'pending', 'refused')
  AND (t.debit_account_id = :account
       OR (t.credit_account_id = :account AND (t.phase = 'posted' OR r.phase = 'post')))
"""
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
SELECT_PAYEE = """
SELECT coalesce(x.payee, 'the payee') AS name, x.payee_number AS number, a.kind
FROM transfers t
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
LEFT JOIN accounts a ON a.id = t.credit_account_id
WHERE t.id = ?
"""
POSTED_SINCE = """
SELECT count(*), coalesce(sum(t.amount_minor), 0) FROM transfers t
WHERE t.debit_account_id = ? AND t.created_at > ? AND t.kind = 'transfer'
    AND t.phase IN ('posted', 'post') AND NOT EXISTS
    (SELECT 1 FROM transfers r
     WHERE r.target_id = coalesce(t.target_id, t.id) AND r.kind = 'reversal')
"""
POSTED_BY_CALL = """
SELECT coalesce(sum(t.amount_minor), 0) FROM effects e JOIN transfers t ON t.id = e.transfer_id
WHERE e.message_id = ? AND e.tool = 'transfer' AND t.phase = 'posted'
"""
# By the index transfers_alike. Numbers that no customer has share the business's account: of them
# the name tells.
LATEST_ALIKE = """
SELECT t.id, coalesce(r.created_at, t.created_at) AS made_at,
    coalesce(r.phase, t.phase) IN ('posted', 'post') AS is_sent
FROM transfers t
JOIN accounts c ON c.id = t.credit_account_id
LEFT JOIN transfers r ON r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
WHERE t.debit_account_id = :from_id AND t.credit_account_id = :to_id
    AND t.amount_minor = :amount_minor AND t.created_at >= :asked_since
    AND t.kind = 'transfer' AND t.phase IN ('posted', 'pending')
    AND (:before IS NULL OR t.id < :before)
    AND (r.phase IS NULL OR r.phase = 'post')
    AND coalesce(r.created_at, t.created_at) >= :since
    AND (c.kind <> 'business' OR x.payee = :payee)
    AND NOT EXISTS (SELECT 1 FROM transfers v WHERE v.target_id = t.id AND v.kind = 'reversal')
ORDER BY made_at DESC, t.id DESC LIMIT 1
"""
PAID = """
SELECT 1 FROM transfers WHERE debit_account_id = ? AND credit_account_id = ?
    AND kind = 'transfer' AND phase IN ('posted', 'post') LIMIT 1
"""
# Refused at once, or at the customer's confirmation; the void's cause says why.
UNKNOWN_NUMBERS = """
SELECT count(*) FROM transfers
WHERE debit_account_id = :account AND created_at > :since AND (refusal = :refusal
    OR (phase = 'void' AND cause_kind = 'tap' AND cause_key LIKE '%/' || :refusal || '/T%'))
"""
# Each half by its own index.
CANCELLED_BY = """
SELECT 1 FROM (
    SELECT cause_key FROM transfers
    WHERE target_id = :transfer AND phase IN ('post', 'void', 'expire') AND cause_kind = 'call'
    UNION ALL SELECT cause_key FROM transfers
    WHERE target_id = :transfer AND kind = 'reversal' AND cause_kind = 'call')
WHERE substr(cause_key, 1, length(:own)) = :own
"""
LATEST_OUTGOING = """
SELECT id FROM transfers WHERE debit_account_id = ? AND kind = 'transfer'
    AND phase IN ('posted', 'pending', 'refused') ORDER BY id DESC LIMIT 1
"""
# Each half by its own index, so that a long history costs no more than a short one. A pending
# transfer is hidden from its payee.
LATEST_ENTRIES = """
SELECT id FROM (SELECT id FROM transfers WHERE debit_account_id = :account
    AND phase IN ('posted', 'pending', 'refused') ORDER BY id DESC LIMIT :limit)
UNION ALL
SELECT id FROM (SELECT id FROM transfers t WHERE credit_account_id = :account
    AND (phase = 'posted' OR (phase = 'pending' AND EXISTS (SELECT 1 FROM transfers r
         WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire') AND r.phase = 'post')))
    ORDER BY id DESC LIMIT :limit)
ORDER BY 1 DESC LIMIT :limit
"""


_MOVING = frozenset({Phase.POSTED, Phase.PENDING, Phase.POST})


class Earlier(msgspec.Struct, frozen=True):
    """A transfer like another: when it was made or, while pending, asked for (text)."""

    made_at: str
    is_sent: bool


class Alike(msgspec.Struct, frozen=True):
    """What makes two transfers the same payment: the accounts, the amount, the payee's name."""

    from_id: int
    to_id: int
    amount_minor: int
    payee: str


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


def account_of_business(tx: Tx, business_id: str) -> int:
    """The business's own account, the other side of deposits; created on first use."""
    row = tx.execute(
        "SELECT id FROM accounts WHERE business_id = ? AND kind = 'business'", (business_id,)
    ).fetchone()
    return int(row[0]) if row else _open(tx, business_id, "business")


def account_of_customer(tx: Tx, business_id: str, customer_id: int) -> int:
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


class PaidTo(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a transfer is to, as its payer wrote it; of a refused one no account was found."""

    name: str
    number: str | None
    kind: str | None


def find_account(tx: Tx, customer_id: int) -> int | None:
    """The customer's account, or None if it was never used."""
    row = tx.execute("SELECT id FROM accounts WHERE customer_id = ?", (customer_id,)).fetchone()
    return int(row[0]) if row else None


def account(tx: Tx, account_id: int) -> Account:
    """An account that exists."""
    row = tx.execute("SELECT * FROM accounts WHERE id = ?", (account_id,)).fetchone()
    return typed(Account, row)


def account_of_payee(tx: Tx, business_id: str, customer_id: int, name: str, now: str) -> int:
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


def find_account_of_payee(tx: Tx, customer_id: int, name: str) -> int | None:
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


def payee_of(tx: Tx, transfer_id: int) -> PaidTo:
    """Whom a transfer is to, as its payer wrote it."""
    return typed(PaidTo, tx.execute(SELECT_PAYEE, (transfer_id,)).fetchone())


def open_of_message(tx: Tx, message_id: str) -> list[Pending]:
    """The message's pending transfers that have not ended."""
    return [one for one in pending_of_message(tx, message_id) if one.resolution is None]


def open_everywhere(tx: Tx) -> list[int]:
    """Every pending transfer that has not ended, oldest first."""
    rows = tx.execute("SELECT transfer_id FROM holds ORDER BY transfer_id").fetchall()
    return [int(row[0]) for row in rows]


def has_incoming_open(tx: Tx, account_id: int) -> bool:
    """Whether another customer's pending transfer would credit the account."""
    row = tx.execute(
        "SELECT 1 FROM holds WHERE credit_account_id = ? LIMIT 1", (account_id,)
    ).fetchone()
    return row is not None


def made_since(tx: Tx, account_id: int, since: str) -> tuple[int, int]:
    """How many transfers a customer has posted since, or has waiting, and their sum.

    What was reversed, voided or never confirmed does not count.
    """
    row = tx.execute(POSTED_SINCE, (account_id, since)).fetchone()
    open_ = open_of_account(tx, account_id)
    held_minor = balance(tx, account_id).held_minor
    return int(row[0]) + len(open_), int(row[1]) + held_minor


def has_paid(tx: Tx, account_id: int, payee_account_id: int) -> bool:
    """Whether money ever went from the one account to the other."""
    return tx.execute(PAID, (account_id, payee_account_id)).fetchone() is not None


def latest_alike(
    tx: Tx, alike: Alike, *, since: str, asked_since: str, before: int | None
) -> Earlier | None:
    """The latest such transfer that was made, or is pending, since an instant; None without one.

    It was asked for after the other instant and, with a number, before that transfer.
    """
    values = {"since": since, "asked_since": asked_since, "before": before}
    row = tx.execute(LATEST_ALIKE, {**msgspec.structs.asdict(alike), **values}).fetchone()
    return None if row is None else Earlier(str(row["made_at"]), bool(row["is_sent"]))


def unknown_numbers_since(tx: Tx, account_id: int, since: str) -> int:
    """How often the account's holder tried to pay a number and was told that no customer has it."""
    values = {"account": account_id, "since": since, "refusal": Refusal.UNKNOWN_CUSTOMER}
    return int(tx.execute(UNKNOWN_NUMBERS, values).fetchone()[0])


def posted_by_call_minor(tx: Tx, message_id: str) -> int:
    """What the message's calls have sent without a confirmation."""
    return int(tx.execute(POSTED_BY_CALL, (message_id,)).fetchone()[0])


def is_cancelled_by(tx: Tx, transfer_id: int, message_id: str) -> bool:
    """Whether a cancel of this same message voided or reversed the transfer."""
    own = effect_key(message_id, "cancel", "")
    row = tx.execute(CANCELLED_BY, {"transfer": transfer_id, "own": own}).fetchone()
    return row is not None


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


def entries(tx: Tx, account_id: int, limit: int) -> list[Entry]:
    """The account's latest transfers, newest first."""
    rows = tx.execute(
        f"{SELECT_ENTRIES} AND t.id IN ({LATEST_ENTRIES}) ORDER BY t.id DESC",
        {"account": account_id, "limit": limit},
    ).fetchall()
    return [_entry(row) for row in {row["id"]: row for row in reversed(rows)}.values()][::-1]


def entry(tx: Tx, account_id: int, transfer_id: int) -> Entry | None:
    """One transfer as the account sees it; None if the account is not part of it."""
    row = tx.execute(
        f"{SELECT_ENTRIES} AND t.id = :transfer", {"account": account_id, "transfer": transfer_id}
    ).fetchone()
    return None if row is None else _entry(row)


def latest_outgoing(tx: Tx, account_id: int) -> Entry | None:
    """The customer's latest outgoing transfer, made or refused; None if there is none."""
    row = tx.execute(LATEST_OUTGOING, (account_id,)).fetchone()
    return None if row is None else entry(tx, account_id, int(row[0]))


def has_transfers(tx: Tx, business_id: str) -> bool:
    """Whether anything was ever recorded for the business."""
    row = tx.execute(
        "SELECT 1 FROM accounts a JOIN transfers t ON t.debit_account_id = a.id "
        "WHERE a.business_id = ? LIMIT 1",
        (business_id,),
    ).fetchone()
    return row is not None


def redenominate(tx: Tx, business_id: str, currency: str) -> None:
    """Put the accounts of a business, none of which has ever been used, into another currency."""
    tx.execute("UPDATE accounts SET currency = ? WHERE business_id = ?", (currency, business_id))


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


def _entry(row: Row) -> Entry:
    is_incoming, kind = bool(row["is_incoming"]), TransferKind(row["kind"])
    # What was written as the payee is the payer's own text, and stays on the payer's side, which
    # in a reversal is the incoming one.
    is_payers = is_incoming is (kind is TransferKind.REVERSAL)
    label = row["payee_name"] or (row["payee"] if is_payers else None)
    is_business = row["other_kind"] == "business" and kind is not TransferKind.TRANSFER
    business_name = row["business_name"] if is_business else None
    customer_name = one_line(row["customer_name"] or "", PAYEE_LENGTH_MAX)
    names = (row["payee_name"], customer_name, label, business_name)
    return Entry(
        transfer_id=row["id"],
        kind=kind,
        state=state_by(row["phase"], row["resolution"], is_reversed=bool(row["is_reversed"])),
        amount_minor=row["amount_minor"],
        is_incoming=is_incoming,
        counterparty=next((name for name in names if name), ANOTHER_CUSTOMER),
        created_at=row["created_at"],
        made_at=row["resolved_at"] or row["created_at"],
        message_id=row["message_id"],
        memo=row["memo"],
        refusal=row["refusal"],
        is_to_customer=row["other_kind"] == "customer",
        payee=label or business_name or ANOTHER_CUSTOMER,
        label=label,
        payee_number=row["payee_number"] if is_payers else None,
        is_paying_out=bool(row["is_paying_out"]),
        is_outside=row["other_kind"] == "payee",
        is_payee_used=bool(row["is_payee_used"]),
        was_foreign_read=row["foreign_words"] is not None,
        business_name=business_name,
        other_name=row["customer_name"],
        other_phone=row["other_phone"],
    )
