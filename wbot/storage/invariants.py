"""The invariants of the ledger: each statement finds nothing in a consistent one.

Rows of the ledger are never changed, so what was verified once stays verified: an audit may go on
from a checkpoint, and a full one runs in slices, each on a snapshot of its own.
"""

from collections.abc import Mapping, Sequence

import msgspec

from wbot.domain.ledger import GENESIS_HASH, chain_hash
from wbot.storage import migrations
from wbot.storage.ledger import CHAINED
from wbot.storage.tx import Row, Tx

ID_MIN, ID_MAX = -(2**63), 2**63 - 1

# Of the rows in a span of numbers: after the first, up to the second.
UNBALANCED = """
SELECT t.id FROM transfers t LEFT JOIN postings p ON p.transfer_id = t.id
WHERE t.id > :after AND t.id <= :upto AND t.phase IN ('posted', 'post')
GROUP BY t.id HAVING count(p.account_id) <> 2 OR sum(p.amount_minor) <> 0
    OR max(p.amount_minor) <> t.amount_minor
"""
STRAY = """
SELECT DISTINCT p.transfer_id FROM postings p JOIN transfers t ON t.id = p.transfer_id
WHERE p.transfer_id > :after AND p.transfer_id <= :upto AND t.phase NOT IN ('posted', 'post')
"""
MISPLACED = """
SELECT p.transfer_id, p.account_id FROM postings p
LEFT JOIN transfers t ON t.id = p.transfer_id
WHERE p.transfer_id > :after AND p.transfer_id <= :upto AND (t.id IS NULL OR p.account_id <>
    CASE WHEN p.amount_minor < 0 THEN t.debit_account_id ELSE t.credit_account_id END)
"""
WRONG_CURRENCY = """
SELECT t.id FROM transfers t JOIN accounts a ON a.id IN (t.debit_account_id, t.credit_account_id)
WHERE t.id > :after AND t.id <= :upto
    AND (a.currency <> t.currency OR a.business_id <> t.business_id) GROUP BY t.id
"""
# `phase IN (...)` beside the one phase meant: the partial index is used only with it.
NO_MIRROR = """
SELECT r.id, r.target_id FROM transfers r LEFT JOIN transfers t ON t.id = r.target_id
WHERE r.id > :after AND r.id <= :upto
    AND r.kind = 'reversal' AND (t.id IS NULL OR t.amount_minor <> r.amount_minor
    OR t.debit_account_id <> r.credit_account_id OR t.credit_account_id <> r.debit_account_id
    OR NOT (t.phase = 'posted' OR EXISTS (
        SELECT 1 FROM transfers p WHERE p.target_id = t.id
            AND p.phase IN ('post', 'void', 'expire') AND p.phase = 'post')))
"""
# The unique index lets nothing end a hold twice; this checks that what ends one fits it.
NO_END = """
SELECT r.id, r.target_id FROM transfers r LEFT JOIN transfers t ON t.id = r.target_id
WHERE r.id > :after AND r.id <= :upto
    AND r.phase IN ('post', 'void', 'expire') AND (t.id IS NULL OR t.phase <> 'pending'
    OR t.kind <> r.kind OR t.amount_minor <> r.amount_minor
    OR t.debit_account_id <> r.debit_account_id OR t.credit_account_id <> r.credit_account_id)
"""
# What a message requested is among its effects; the rest has its cause only in its key.
NO_CAUSE = """
SELECT t.id FROM transfers t
WHERE t.id > :after AND t.id <= :upto
    AND (t.cause_key = '' OR (t.cause_kind = 'call' AND t.phase <> 'void' AND NOT EXISTS
        (SELECT 1 FROM effects e WHERE e.transfer_id = t.id)))
"""
SELECT_CHAIN = f"""
SELECT {CHAINED}, previous_hash, hash FROM transfers
WHERE id > :after AND id <= :upto ORDER BY id
"""  # noqa: S608  our own names

# About accounts: each is completed by one of two conditions, a span of accounts or of transfers.
OF_SPAN = "a.id > :after AND a.id <= :upto"
TOUCHED = """
a.id IN (SELECT debit_account_id FROM transfers WHERE id > :after AND id <= :upto
    UNION SELECT credit_account_id FROM transfers WHERE id > :after AND id <= :upto)
"""
DUE = "(SELECT coalesce(sum(p.amount_minor), 0) FROM postings p WHERE p.account_id = a.id)"
TOUCHED_BALANCES = """
SELECT a.id, coalesce(b.posted_minor, 0) FROM accounts a
LEFT JOIN balances b ON b.account_id = a.id WHERE
"""
WRONG_BALANCES = f"""
SELECT a.id, coalesce(b.posted_minor, 0), {DUE}
FROM accounts a LEFT JOIN balances b ON b.account_id = a.id
WHERE coalesce(b.posted_minor, 0) <> {DUE} AND
"""  # noqa: S608  our own text
OPEN = """
FROM transfers t WHERE t.debit_account_id = a.id AND t.phase = 'pending' AND NOT EXISTS
    (SELECT 1 FROM transfers r WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire'))
"""
WRONG_HOLDS = f"""
SELECT a.id, coalesce(b.held_minor, 0), (SELECT coalesce(sum(t.amount_minor), 0) {OPEN})
FROM accounts a LEFT JOIN balances b ON b.account_id = a.id
WHERE coalesce(b.held_minor, 0) <> (SELECT coalesce(sum(t.amount_minor), 0) {OPEN}) AND
"""  # noqa: S608  our own text
WRONG_LIST = f"""
SELECT a.id FROM accounts a WHERE (
    (SELECT count(*) FROM holds h WHERE h.debit_account_id = a.id) <> (SELECT count(*) {OPEN})
    OR EXISTS (SELECT 1 {OPEN} AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.transfer_id = t.id
        AND h.debit_account_id = a.id AND h.credit_account_id = t.credit_account_id))) AND
"""  # noqa: S608  our own text
# The list of holds was right at the checkpoint, so only what came since is compared.
WRONG_LISTED = """
SELECT a.id, coalesce(b.held_minor, 0),
    (SELECT coalesce(sum(t.amount_minor), 0) FROM holds h JOIN transfers t ON t.id = h.transfer_id
     WHERE h.debit_account_id = a.id)
FROM accounts a LEFT JOIN balances b ON b.account_id = a.id
WHERE coalesce(b.held_minor, 0) <>
    (SELECT coalesce(sum(t.amount_minor), 0) FROM holds h JOIN transfers t ON t.id = h.transfer_id
     WHERE h.debit_account_id = a.id) AND
"""
WRONG_ENTRIES = """
SELECT t.debit_account_id FROM transfers t
WHERE t.id > :after AND t.id <= :upto AND t.phase = 'pending' AND
    EXISTS (SELECT 1 FROM transfers r
            WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')) =
    EXISTS (SELECT 1 FROM holds h WHERE h.transfer_id = t.id
            AND h.debit_account_id = t.debit_account_id
            AND h.credit_account_id = t.credit_account_id)
UNION SELECT r.debit_account_id FROM transfers r JOIN holds h ON h.transfer_id = r.target_id
WHERE r.id > :after AND r.id <= :upto AND r.phase IN ('post', 'void', 'expire')
"""
OVERDRAWN = """
SELECT a.id, b.posted_minor - b.held_minor AS available_minor FROM accounts a
JOIN balances b ON b.account_id = a.id JOIN businesses s ON s.id = a.business_id
WHERE a.kind <> 'business' AND b.posted_minor - b.held_minor <
    CASE WHEN a.kind = 'customer' THEN -s.overdraft_minor ELSE 0 END AND
"""
# What a batch pays is what its transfers sum up to, each to that payee; it is settled by one row of
# that amount, or void by a reversal of each of them, and until then neither.
WRONG_PAYOUTS = """
SELECT a.id, o.batch_id, o.payee_id
FROM accounts a JOIN payouts o ON o.payee_id = a.payee_id
LEFT JOIN transfers s ON s.id = o.transfer_id
WHERE (o.amount_minor <> (
        SELECT coalesce(sum(t.amount_minor), 0)
        FROM payout_transfers i JOIN transfers t ON t.id = i.transfer_id
        WHERE i.payout_id = o.id AND t.credit_account_id = a.id AND t.kind = 'transfer')
    OR (o.state = 'settled') <> (s.id IS NOT NULL)
    OR (s.id IS NOT NULL AND (s.kind <> 'payout' OR s.phase <> 'posted'
        OR s.debit_account_id <> a.id OR s.amount_minor <> o.amount_minor))
    OR EXISTS (SELECT 1 FROM payout_transfers i WHERE i.payout_id = o.id
        AND (o.state = 'void') <> EXISTS (
            SELECT 1 FROM transfers v WHERE v.target_id = i.transfer_id AND v.kind = 'reversal'))
    ) AND
"""
# A payout that is in no batch.
STRAY_PAYOUTS = """
SELECT t.id FROM transfers t
WHERE t.id > :after AND t.id <= :upto AND t.kind = 'payout'
    AND NOT EXISTS (SELECT 1 FROM payouts o WHERE o.transfer_id = t.id)
"""
SELECT_GUARDS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
LAST_NUMBERS = """
SELECT seq AS given, seq IS NOT (SELECT max(id) FROM transfers) AS is_cut
FROM sqlite_sequence WHERE name = 'transfers'
"""
END_OF_SLICE = """
SELECT max(id) AS last, count(*) AS rows
FROM (SELECT id FROM transfers WHERE id > ? ORDER BY id LIMIT ?)
"""
KEEP_CHECKPOINT = """
INSERT INTO ledger_checkpoint (id, transfer_id, hash, at) VALUES (1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    transfer_id = excluded.transfer_id, hash = excluded.hash, at = excluded.at
"""

Span = Mapping[str, int]
"""Numbers of rows: those above `after`, up to and with `upto`."""


class Checkpoint(msgspec.Struct, frozen=True):
    """The last row of the ledger that was verified; at first, the place before the first row."""

    transfer_id: int = ID_MIN
    hash: str = GENESIS_HASH


class Sum(msgspec.Struct, frozen=True):
    """What an account's postings add up to, up to a transfer."""

    transfer_id: int = ID_MIN
    minor: int = 0


class Verified(msgspec.Struct, frozen=True):
    """What was found in a slice of the ledger, where it ended, and whether it was the last."""

    breaches: list[str]
    upto: Checkpoint
    is_last: bool
    sums: Mapping[int, Sum] = {}


def breaches(tx: Tx) -> list[str]:
    """Every invariant of the ledger that does not hold, in plain words; empty if all hold."""
    everything = {"after": ID_MIN, "upto": ID_MAX}
    return [
        *verify(tx, Checkpoint(), rows=ID_MAX).breaches,
        *_wrong_accounts(tx, everything),
        *unguarded(tx),
    ]


def verify(tx: Tx, since: Checkpoint, rows: int) -> Verified:
    """Verify the next so many rows of the ledger after a checkpoint."""
    end = tx.execute(END_OF_SLICE, (since.transfer_id, rows)).fetchone()
    is_last = end["rows"] < rows
    # The last slice goes on to the end of numbers: postings of no transfer may be there.
    span = {"after": since.transfer_id, "upto": ID_MAX if is_last else end["last"]}
    broken, last_hash = _broken_chain(tx, span, since.hash)
    found = [*_unbalanced(tx, span), *broken, *_wrong_transfers(tx, span)]
    last = since.transfer_id if end["last"] is None else int(end["last"])
    return Verified(found, Checkpoint(last, last_hash), is_last)


def verify_latest(tx: Tx, since: Checkpoint, rows: int, sums: Mapping[int, Sum]) -> Verified:
    """The same, and the balances of the accounts that these rows are about.

    Known sums are not added up again; returns the sums known from now on.
    """
    verified = verify(tx, since, rows)
    span = {"after": since.transfer_id, "upto": verified.upto.transfer_id}
    balances, sums = _touched_sums(tx, span, sums)
    found = [*verified.breaches, *_wrong_touched(tx, span, balances)]
    return Verified(found, verified.upto, verified.is_last, sums)


def verify_accounts(tx: Tx, after: int, limit: int) -> tuple[list[str], int | None]:
    """Verify the next so many accounts; the number of the last of them, None where all are done."""
    last = tx.execute(
        "SELECT max(id), count(*) FROM (SELECT id FROM accounts WHERE id > ? ORDER BY id LIMIT ?)",
        (after, limit),
    ).fetchone()
    upto = ID_MAX if last[1] < limit else int(last[0])
    return _wrong_accounts(tx, {"after": after, "upto": upto}), None if upto == ID_MAX else upto


def checkpoint(tx: Tx) -> Checkpoint | None:
    """Where the latest audit stopped; None where there was none, or the ledger has no such row."""
    row = tx.execute(
        "SELECT c.transfer_id, c.hash FROM ledger_checkpoint c "
        "JOIN transfers t ON t.id = c.transfer_id AND t.hash = c.hash WHERE c.id = 1"
    ).fetchone()
    return None if row is None else Checkpoint(int(row[0]), str(row[1]))


def keep_checkpoint(tx: Tx, reached: Checkpoint, now: str) -> None:
    """Store up to where the ledger is verified."""
    tx.execute(KEEP_CHECKPOINT, (reached.transfer_id, reached.hash, now))


def _unbalanced(tx: Tx, span: Span) -> list[str]:
    found = tx.execute(UNBALANCED, span).fetchall()
    stray = tx.execute(STRAY, span).fetchall()
    return [f"The postings of T{row[0]} do not match its amount." for row in found] + [
        f"T{row[0]} has postings though it was never posted." for row in stray
    ]


def _broken_chain(tx: Tx, span: Span, previous: str) -> tuple[list[str], str]:
    found = []
    for row in tx.execute(SELECT_CHAIN, span):
        *fields, previous_hash, own_hash = tuple(row)
        if previous_hash != previous or own_hash != chain_hash(previous, *fields):
            found.append(f"T{row['id']} does not continue the chain: it was changed by hand.")
        previous = own_hash
    return found, previous


def _wrong_transfers(tx: Tx, span: Span) -> list[str]:
    return [
        *(
            f"A posting of T{row[0]} is on account {row[1]}, which has no part in it."
            for row in tx.execute(MISPLACED, span).fetchall()
        ),
        *(
            f"T{row[0]} is in another currency or business than one of its accounts."
            for row in tx.execute(WRONG_CURRENCY, span).fetchall()
        ),
        *(
            f"T{row[0]} does not mirror T{row[1]}, which it reverses."
            for row in tx.execute(NO_MIRROR, span).fetchall()
        ),
        *(
            f"T{row[0]} does not fit T{row[1]}, whose hold it ends."
            for row in tx.execute(NO_END, span).fetchall()
        ),
        *(
            f"T{row[0]} does not say what caused it."
            for row in tx.execute(NO_CAUSE, span).fetchall()
        ),
        *(
            f"T{row[0]} pays out what no batch has."
            for row in tx.execute(STRAY_PAYOUTS, span).fetchall()
        ),
    ]


def unguarded(tx: Tx) -> list[str]:
    """Signs of changes by hand: guards removed, the end of the ledger cut off."""
    found = dict(tx.execute(SELECT_GUARDS).fetchall())
    missing = [name for name, sql in migrations.triggers().items() if found.get(name) != sql]
    numbers = tx.execute(LAST_NUMBERS).fetchone()
    is_cut = numbers is not None and bool(numbers["is_cut"])
    return [
        *(f"The schema's guard {name} is missing or another one." for name in missing),
        *([f"The ledger once had T{numbers['given']}, and ends before it."] if is_cut else []),
    ]


def _wrong_accounts(tx: Tx, span: Span) -> list[str]:
    wrong = _in_words(
        tx.execute(WRONG_BALANCES + OF_SPAN, span).fetchall(),
        tx.execute(WRONG_HOLDS + OF_SPAN, span).fetchall(),
        tx.execute(WRONG_LIST + OF_SPAN, span).fetchall(),
        tx.execute(OVERDRAWN + OF_SPAN, span).fetchall(),
    )
    payouts = tx.execute(WRONG_PAYOUTS + OF_SPAN, span).fetchall()
    return wrong + [
        f"What batch B{row['batch_id']} pays to P{row['payee_id']} is not what its transfers say."
        for row in payouts
    ]


def _touched_sums(
    tx: Tx, span: Span, known: Mapping[int, Sum]
) -> tuple[list[tuple[int, int, int]], dict[int, Sum]]:
    """The touched accounts whose balance is not their sum, and the sums of all of them."""
    wrong, sums = [], {}
    last = tx.execute("SELECT coalesce(max(id), 0) FROM transfers").fetchone()[0]
    for account_id, posted_minor in tx.execute(TOUCHED_BALANCES + TOUCHED, span).fetchall():
        before = known.get(account_id, Sum())
        added = tx.execute(
            "SELECT coalesce(sum(amount_minor), 0) FROM postings "
            "WHERE account_id = ? AND transfer_id > ?",
            (account_id, before.transfer_id),
        ).fetchone()
        due_minor = before.minor + int(added[0])
        if due_minor != posted_minor:
            wrong.append((account_id, posted_minor, due_minor))
        else:
            sums[account_id] = Sum(int(last), due_minor)
    return wrong, sums


def _wrong_touched(tx: Tx, span: Span, balances: list[tuple[int, int, int]]) -> list[str]:
    return _in_words(
        balances,
        tx.execute(WRONG_LISTED + TOUCHED, span).fetchall(),
        tx.execute(WRONG_ENTRIES, span).fetchall(),
        tx.execute(OVERDRAWN + TOUCHED, span).fetchall(),
    )


def _in_words(
    balances: Sequence[tuple[int, int, int] | Row],
    holds: list[Row],
    lists: list[Row],
    overdrawn: list[Row],
) -> list[str]:
    return [
        *(
            f"Account {row[0]} says {row[1]} minor units, but its postings add up to {row[2]}."
            for row in balances
        ),
        *(
            f"Account {row[0]} holds {row[1]} minor units, but its pending transfers add up to "
            f"{row[2]}."
            for row in holds
        ),
        *(f"The list of holds of account {row[0]} is not that of the ledger." for row in lists),
        *(
            f"Account {row[0]} is overdrawn: {row[1]} minor units are available."
            for row in overdrawn
        ),
    ]
