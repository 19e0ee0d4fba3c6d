"""Calls that leave this database: opened before they go, closed with what came of them.

A process that dies in between leaves the call open: nobody can say whether the other side acted.
It is called again with the same key and the same request, so that the other side can act once.
"""

import hashlib
import json

import msgspec

from wbot.domain.states import OutsideCallState
from wbot.storage.tx import Tx

OPEN = """
INSERT INTO outside_calls (key, message_id, tool, arguments, request, attempts, state, opened_at)
VALUES (?, ?, ?, ?, ?, 1, 'open', ?)
ON CONFLICT (key) DO UPDATE SET state = 'open', attempts = attempts + 1, closed_at = NULL
RETURNING request
"""


class OutsideCall(msgspec.Struct, frozen=True):
    """A call that is open; `key` is its own for ever, in each attempt and revision."""

    key: str
    tool: str
    arguments: str
    request: str
    """What is sent, byte for byte the same each time."""


def key_of(message_id: str, tool: str, arguments: str) -> str:
    """The idempotency key of an effect outside; it tells nothing about the customer."""
    effect = json.dumps([message_id, tool, arguments])
    return hashlib.sha256(effect.encode()).hexdigest()[:32]


def open_call(
    tx: Tx, message_id: str, tool: str, *, arguments: str, request: str, now: str
) -> OutsideCall:
    """Open the call, or open it once more: then its first request is sent again."""
    key = key_of(message_id, tool, arguments)
    row = tx.execute(OPEN, (key, message_id, tool, arguments, request, now)).fetchall()[0]
    return OutsideCall(key, tool, arguments, str(row[0]))


def close_call(tx: Tx, key: str, state: OutsideCallState, now: str) -> None:
    """Record that the call has its result, or that its outcome stays unknown."""
    tx.execute("UPDATE outside_calls SET state = ?, closed_at = ? WHERE key = ?", (state, now, key))


def open_calls(tx: Tx, message_id: str) -> list[OutsideCall]:
    """The calls of the message whose outcome is not known yet."""
    rows = tx.execute(
        "SELECT key, tool, arguments, request FROM outside_calls "
        "WHERE message_id = ? AND state = 'open' ORDER BY opened_at, key",
        (message_id,),
    )
    return [OutsideCall(*row) for row in rows.fetchall()]
