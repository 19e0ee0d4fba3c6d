"""Queries for the full timeline of one message; nothing here writes."""

import msgspec

from wbot.domain.ledger import TransferState
from wbot.storage import ledger
from wbot.storage.tx import Tx, typed, typed_or_none

SELECT_MESSAGE = """
SELECT m.*, b.status AS business_status, v.customer_id,
    (SELECT count(*) FROM messages o WHERE o.conversation_id = m.conversation_id
        AND o.state IN ('waiting', 'begun') AND o.message_id <> m.message_id
        AND (o.state = 'begun' OR o.sort_at < m.sort_at
             OR (o.sort_at = m.sort_at AND o.number < m.number))) AS ahead
FROM messages m
LEFT JOIN businesses b ON b.id = m.business_id
LEFT JOIN conversations v ON v.id = m.conversation_id
WHERE m.message_id = ?
"""
SELECT_TRANSFERS = """
SELECT e.tool, e.created_at AS done_at, t.id, t.kind, t.phase, t.amount_minor, t.currency,
    t.target_id, t.refusal, t.created_at, x.payee,
    (SELECT r.phase FROM transfers r
     WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire')) AS resolution,
    (SELECT r.id FROM transfers r WHERE r.target_id = t.id AND r.kind = 'reversal') AS reversal_id
FROM effects e JOIN transfers t ON t.id = e.transfer_id
LEFT JOIN transfer_texts x ON x.transfer_id = t.id
WHERE e.message_id = ? ORDER BY t.id
"""
SELECT_ATTEMPTS = """
SELECT a.*, o.part FROM send_attempts a JOIN outbox o ON o.id = a.outbox_id
WHERE o.message_id = ? ORDER BY a.id
"""
SELECT_STATUSES = """
SELECT s.*, o.part FROM statuses s JOIN outbox o ON o.id = s.outbox_id
WHERE o.message_id = ? ORDER BY s.id
"""
# Also of customers merged into this one: their messages stay where they were.
SELECT_LATEST = """
SELECT m.business_id, m.message_id,
    (SELECT count(*) FROM messages o WHERE o.conversation_id = v.id) AS messages
FROM (SELECT ?1 AS id UNION ALL SELECT id FROM customers WHERE merged_into = ?1) c
JOIN conversations v ON v.customer_id = c.id
JOIN messages m ON m.message_id = (SELECT message_id FROM messages WHERE conversation_id = v.id
    ORDER BY number DESC LIMIT 1)
ORDER BY m.received_at DESC, m.number DESC
"""


SELECT_UNROUTED = """
SELECT message_id, received_at FROM messages WHERE business_id IS NULL AND reply_phone = :alias
UNION SELECT message_id, received_at FROM messages
WHERE business_id IS NULL AND reply_user_id = :alias
ORDER BY received_at DESC
"""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message, its business's status, and how many of its conversation go before it."""

    message_id: str
    business_id: str | None
    business_status: str | None
    conversation_id: int | None
    customer_id: int | None
    phone_number_id: str | None
    number: int | None
    type: str
    reply_phone: str | None
    reply_user_id: str | None
    sent_at: str | None
    received_at: str
    not_before: str | None
    state: str
    reason: str | None
    duplicates: int
    is_late: int
    prompt_id: int | None
    ended_at: str | None
    webhook_id: int | None
    ahead: int


class TurnAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a turn; without `ended_at` it is under way, or the process died."""

    revision: int
    attempt: int
    began_at: str
    ended_at: str | None
    outcome: str | None
    detail: str | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A model's answer or a tool's result, as the journal has it."""

    revision: int
    kind: str
    content: str
    duration_ms: float
    created_at: str


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a message wrote into the ledger, and what became of it."""

    id: int
    kind: str
    phase: str
    amount_minor: int
    currency: str
    target_id: int | None
    refusal: str | None
    created_at: str
    payee: str | None
    resolution: str | None
    reversal_id: int | None

    @property
    def state(self) -> TransferState:
        is_reversed = self.reversal_id is not None
        return ledger.state_by(self.phase, self.resolution, is_reversed=is_reversed)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One reply to the message."""

    part: int
    payload: str
    state: str
    wamid: str | None
    error: str | None
    created_at: str


class SendAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to send a reply; without `closed_at` it is under way, or the process died."""

    id: int
    part: int
    number: int
    opened_at: str
    closed_at: str | None
    outcome: str | None
    wamid: str | None
    code: int | None
    detail: str | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What WhatsApp reported of a reply."""

    part: int
    status: str
    occurred_at: str | None
    received_at: str
    errors: str | None


class OutsideCall(msgspec.Struct, frozen=True):
    """A call to another system; times as text."""

    key: str
    tool: str
    attempts: int
    state: str
    opened_at: str
    closed_at: str | None


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's latest message, and how many they have sent."""

    business_id: str
    message_id: str
    messages: int


def message(tx: Tx, message_id: str) -> Message | None:
    """The message, or None."""
    return typed_or_none(Message, tx.execute(SELECT_MESSAGE, (message_id,)).fetchone())


def message_answered_by(tx: Tx, wamid: str) -> str | None:
    """The message that a reply of ours answered, or None."""
    row = tx.execute("SELECT message_id FROM outbox WHERE wamid = ?", (wamid,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def message_logged_as(tx: Tx, log_id: str) -> str | None:
    """The message with this id in the logs, or None."""
    row = tx.execute("SELECT message_id FROM messages WHERE log_id = ?", (log_id,)).fetchone()
    return None if row is None else str(row[0])


def known_as(tx: Tx, alias: str) -> list[int]:
    """The customers with this number or user id: at most one of each business."""
    rows = tx.execute(
        "SELECT customer_id FROM customer_aliases WHERE value = ? AND retired_at IS NULL "
        "ORDER BY business_id",
        (alias,),
    ).fetchall()
    return [int(row[0]) for row in rows]


def latest_by(tx: Tx, customer_id: int) -> Latest | None:
    """The customer's latest message and how many there are; None where none has come."""
    rows = tx.execute(SELECT_LATEST, (customer_id,)).fetchall()
    if not rows:
        return None
    return Latest(
        business_id=str(rows[0]["business_id"]),
        message_id=str(rows[0]["message_id"]),
        messages=sum(row["messages"] for row in rows),
    )


def first_unfinished(tx: Tx, conversation_id: int) -> str | None:
    """The message that all others of a conversation wait for."""
    row = tx.execute(
        "SELECT message_id FROM messages WHERE conversation_id = ? "
        "AND state IN ('waiting', 'begun') ORDER BY state <> 'begun', sort_at, number LIMIT 1",
        (conversation_id,),
    ).fetchone()
    return None if row is None else str(row[0])


def latest_unrouted(tx: Tx, alias: str) -> Latest | None:
    """The latest message from this number or user id that reached no business; None without one."""
    rows = tx.execute(SELECT_UNROUTED, {"alias": alias}).fetchall()
    if not rows:
        return None
    return Latest(business_id="", message_id=str(rows[0]["message_id"]), messages=len(rows))


def is_unanswered(tx: Tx, prompt_id: int) -> bool:
    """Whether the customer has not answered this question about stale messages."""
    row = tx.execute("SELECT outcome FROM prompts WHERE id = ?", (prompt_id,)).fetchone()
    return row is not None and row[0] is None


def turns(tx: Tx, message_id: str) -> list[TurnAttempt]:
    """Every attempt of every revision, in order."""
    rows = tx.execute(
        "SELECT * FROM turns WHERE message_id = ? ORDER BY revision, attempt", (message_id,)
    )
    return [typed(TurnAttempt, row) for row in rows.fetchall()]


def steps(tx: Tx, message_id: str) -> list[Step]:
    """Every model answer and tool result of every revision, in order."""
    rows = tx.execute(
        "SELECT * FROM steps WHERE message_id = ? ORDER BY revision, number", (message_id,)
    )
    return [typed(Step, row) for row in rows.fetchall()]


def outside_calls(tx: Tx, message_id: str) -> list[OutsideCall]:
    """Every call to another system that the message made, in order."""
    rows = tx.execute(
        "SELECT key, tool, attempts, state, opened_at, closed_at FROM outside_calls "
        "WHERE message_id = ? ORDER BY opened_at, key",
        (message_id,),
    )
    return [OutsideCall(*row) for row in rows.fetchall()]


def transfers(tx: Tx, message_id: str) -> list[LedgerRow]:
    """What the message did in the ledger, in order."""
    rows = tx.execute(SELECT_TRANSFERS, (message_id,))
    return [typed(LedgerRow, row) for row in rows.fetchall()]


def replies(tx: Tx, message_id: str) -> list[Reply]:
    """The outbox rows of the message, in order."""
    rows = tx.execute("SELECT * FROM outbox WHERE message_id = ? ORDER BY id", (message_id,))
    return [typed(Reply, row) for row in rows.fetchall()]


def attempts(tx: Tx, message_id: str) -> list[SendAttempt]:
    """Every attempt to send one of its replies, in order."""
    rows = tx.execute(SELECT_ATTEMPTS, (message_id,))
    return [typed(SendAttempt, row) for row in rows.fetchall()]


def statuses(tx: Tx, message_id: str) -> list[Status]:
    """Every status of one of its replies, in the order they came."""
    rows = tx.execute(SELECT_STATUSES, (message_id,))
    return [typed(Status, row) for row in rows.fetchall()]
