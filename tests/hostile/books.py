"""The database as the auditor reads it: the append-only rows, identities and instants."""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from hostile.world import Place

TRANSFERS = """
SELECT t.*, x.payee, x.payee_number
FROM transfers t LEFT JOIN transfer_texts x ON x.transfer_id = t.id
ORDER BY t.id
"""
ACCOUNTS = """
SELECT a.id, a.business_id, a.kind, a.customer_id, p.name AS payee,
    p.customer_id AS payee_of
FROM accounts a LEFT JOIN payees p ON p.id = a.payee_id
"""
REPLIES = """
SELECT o.*, coalesce((SELECT min(t.began_at) FROM turns t WHERE t.message_id = o.message_id),
    o.created_at) AS began_at
FROM outbox o
"""


class Account(msgspec.Struct, frozen=True):
    """The owner of money: a business, a customer, or a customer's payee."""

    kind: str
    place: Place
    """The customer, or the one whose payee it is; no phone for the business itself."""
    payee: str


class Naming(msgspec.Struct, frozen=True):
    """A customer's own name for a number, since an instant."""

    place: Place
    name: str
    number: str
    at: str


class Books:
    """One read of a database that is no longer written."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.row_factory = sqlite3.Row
        phones = {
            row["customer_id"]: (row["business_id"], row["value"])
            for row in self.rows("SELECT * FROM customer_aliases WHERE kind = 'phone' ORDER BY id")
        }
        self.places = {
            row["id"]: phones[row["customer_id"]]
            for row in self.rows("SELECT id, customer_id FROM conversations")
        }
        """By conversation."""
        self.accounts = {
            row["id"]: Account(
                row["kind"],
                phones.get(row["customer_id"] or row["payee_of"], (row["business_id"], "")),
                row["payee"] or "",
            )
            for row in self.rows(ACCOUNTS)
        }
        self.namings = [
            Naming(phones[row["customer_id"]], row["name"], row["number"], row["named_at"])
            for row in self.rows("SELECT * FROM payees WHERE number NOTNULL ORDER BY named_at")
        ]
        self.messages = {row["message_id"]: row for row in self.rows("SELECT * FROM messages")}
        self.replies = {row["id"]: row for row in self.rows(REPLIES)}
        self.reply_of_attempt = {
            row["id"]: row["outbox_id"]
            for row in self.rows("SELECT id, outbox_id FROM send_attempts")
        }
        self.prompts = {row["id"]: row for row in self.rows("SELECT * FROM prompts")}
        self.take_backs = {
            row["token"]: row for row in self.prompts.values() if row["kind"] == "cancel"
        }
        """Questions whether a transfer is taken back, by token."""
        self.buttons = {
            f"{row['kind']}:{row['token']}:{answer}"
            for row in self.prompts.values()
            for answer in ("yes", "no")
        }
        self.confirmations = {
            row["message_id"]: row for row in self.prompts.values() if row["kind"] == "confirm"
        }

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()


def instant(text: str) -> float:
    """Seconds of a time as the database stores it."""
    return datetime.fromisoformat(text).timestamp()
