"""Replies that Meta took and did not deliver: sent again, or told of in a later reply."""

from wbot.clock import from_text, later, to_text
from wbot.domain.delivery import Verdict, send_again_s, verdict_of
from wbot.domain.outgoing import Outgoing, decoded
from wbot.domain.states import ReplyState
from wbot.storage.tx import Row, Tx

MISSED_MAX = 20
"""How many undelivered replies one later reply tells of."""

_CAN_WAIT_AGAIN = frozenset({ReplyState.UNKNOWN, ReplyState.ACCEPTED, ReplyState.SENT})

WAIT_AGAIN = """
UPDATE outbox SET state = 'waiting', not_before = ?, wamid = NULL, accepted_at = NULL, error = ?,
    attempts = max(attempts - 1, 0)
WHERE id = ?
"""
HEARD_OTHERWISE = """
SELECT 1 FROM statuses s
WHERE s.outbox_id = :reply AND s.wamid <> :wamid AND NOT EXISTS
    (SELECT 1 FROM statuses f WHERE f.wamid = s.wamid AND f.status = 'failed')
UNION ALL
SELECT 1 FROM send_attempts a
WHERE a.outbox_id = :reply AND a.outcome = 'accepted' AND a.wamid <> :wamid AND NOT EXISTS
    (SELECT 1 FROM statuses f WHERE f.wamid = a.wamid AND f.status = 'failed')
LIMIT 1
"""
UNHEARD_LATER = """
SELECT 1 FROM send_attempts a
WHERE a.outbox_id = :reply AND a.id > :attempt AND coalesce(a.outcome, 'unknown') = 'unknown'
    AND NOT EXISTS (SELECT 1 FROM statuses f
        WHERE f.outbox_id = :reply AND f.status = 'failed' AND f.opaque = :prefix || a.id)
LIMIT 1
"""
SEND_AGAIN = """
UPDATE outbox SET state = 'waiting', attempts = 0, not_before = NULL, wamid = NULL,
    accepted_at = NULL, created_at = ?
WHERE id = ?
"""


def wait_again(tx: Tx, row: Row, failure: Row, *, now: str) -> bool:
    """Let a reply be sent again after a status that says it failed for now; whether it will be."""
    if ReplyState(row["state"]) not in _CAN_WAIT_AGAIN:
        return False
    age_s = (from_text(now) - from_text(row["created_at"])).total_seconds()
    count = "SELECT count(*) FROM statuses WHERE outbox_id = ? AND status = 'failed'"
    failed = int(tx.execute(count, (row["id"],)).fetchone()[0])
    wait_s = send_again_s(verdict_of(failure["code"]), failures=failed, age_s=age_s)
    if wait_s is None:
        return False
    until = to_text(later(from_text(now), wait_s))
    tx.execute(WAIT_AGAIN, (until, failure["errors"], row["id"]))
    return True


def has_failed(tx: Tx, wamid: str) -> bool:
    """Whether a status that was or will be heeded says that the message with this id failed."""
    rows = tx.execute(
        "SELECT outbox_id, code FROM statuses WHERE wamid = ? AND status = 'failed'", (wamid,)
    ).fetchall()
    return any(row["outbox_id"] is not None or may_pass(row["code"]) for row in rows)


def is_heard_otherwise(tx: Tx, outbox_id: int, wamid: str) -> bool:
    """Whether Meta has taken the reply under another id too, which has not failed."""
    values = {"reply": outbox_id, "wamid": wamid}
    return tx.execute(HEARD_OTHERWISE, values).fetchone() is not None


def is_sent_since(tx: Tx, outbox_id: int, attempt_id: int, *, opaque_prefix: str) -> bool:
    """Whether a later attempt is under way, or nobody knows whether it arrived."""
    values = {"reply": outbox_id, "attempt": attempt_id, "prefix": opaque_prefix}
    return tx.execute(UNHEARD_LATER, values).fetchone() is not None


def may_pass(code: int | None) -> bool:
    """Whether a reply that failed with this code is worth sending again."""
    return verdict_of(code) is not Verdict.REFUSED


def untold(tx: Tx, conversation_id: int) -> list[tuple[int, Outgoing]]:
    """What failed to reach the customer, who has not heard of it: the latest, oldest first."""
    rows = tx.execute(
        "SELECT id, payload FROM outbox WHERE conversation_id = ? AND state = 'failed' "
        "AND told_at IS NULL ORDER BY id DESC LIMIT ?",
        (conversation_id, MISSED_MAX),
    ).fetchall()
    return [(int(row["id"]), decoded(row["payload"])) for row in reversed(rows)]


def mark_told(tx: Tx, outbox_id: int, now: str) -> None:
    """The reply that is written now tells of it."""
    tx.execute("UPDATE outbox SET told_at = ? WHERE id = ?", (now, outbox_id))


def mark_all_told(tx: Tx, now: str) -> None:
    """A restored copy sends none of them again: its original may have."""
    tx.execute("UPDATE outbox SET told_at = ? WHERE state = 'failed' AND told_at IS NULL", (now,))


def send_again(tx: Tx, outbox_id: int, now: str) -> None:
    """Let a reply that failed for good be sent once more, as if it were written now."""
    tx.execute(SEND_AGAIN, (now, outbox_id))
