"""What must hold of the ledger whatever happened: each statement finds nothing in right books."""

import sqlite3

from wbot.domain.ledger import GENESIS_HASH, chain_hash
from wbot.storage import migrations
from wbot.storage.ledger import CHAINED

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
SELECT_GUARDS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
LAST_NUMBERS = """
SELECT seq AS given, seq IS NOT (SELECT max(id) FROM transfers) AS is_cut
FROM sqlite_sequence WHERE name = 'transfers'
"""
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


def breaches(tx: sqlite3.Connection) -> list[str]:
    """Every invariant of the ledger that does not hold, in plain words; empty in right books."""
    return [
        *_unbalanced(tx),
        *_wrong_balances(tx),
        *_broken_chain(tx),
        *_wrong_transfers(tx),
        *_wrong_accounts(tx),
        *_unguarded(tx),
    ]


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
    found = dict(tx.execute(SELECT_GUARDS).fetchall())
    missing = [name for name, sql in migrations.triggers().items() if found.get(name) != sql]
    numbers = tx.execute(LAST_NUMBERS).fetchone()
    is_cut = numbers is not None and bool(numbers["is_cut"])
    return [
        *(f"The schema's guard {name} is missing or another one." for name in missing),
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
