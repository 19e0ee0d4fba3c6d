"""What was paid before, as rules, receipts and statements ask for it."""

import msgspec

from wbot.domain.ledger import (
    ANOTHER_CUSTOMER,
    Entry,
    TransferKind,
    effect_key,
)
from wbot.domain.policy import Refusal
from wbot.domain.receipts import PAYEE_LENGTH_MAX, one_line
from wbot.storage import accounts, ledger
from wbot.storage.tx import Row, Tx, typed

SELECT_PAYEE = """
SELECT coalesce(x.payee, 'the payee') AS name, x.payee_number AS number, a.kind
FROM transfers t
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
LEFT JOIN accounts a ON a.id = t.credit_account_id
WHERE t.id = ?
"""
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


UNKNOWN_NUMBERS = """
SELECT count(*) FROM transfers
WHERE debit_account_id = :account AND created_at > :since AND (refusal = :refusal
    OR (phase = 'void' AND cause_kind = 'tap' AND cause_key LIKE '%/' || :refusal || '/T%'))
"""


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


class PaidTo(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a transfer is to, as its payer wrote it; of a refused one no account was found."""

    name: str
    number: str | None
    kind: str | None


def payee_of(tx: Tx, transfer_id: int) -> PaidTo:
    """Whom a transfer is to, as its payer wrote it."""
    return typed(PaidTo, tx.execute(SELECT_PAYEE, (transfer_id,)).fetchone())


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
    open_ = ledger.open_of_account(tx, account_id)
    held_minor = accounts.balance(tx, account_id).held_minor
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
        state=ledger.state_by(
            row["phase"], row["resolution"], is_reversed=bool(row["is_reversed"])
        ),
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
