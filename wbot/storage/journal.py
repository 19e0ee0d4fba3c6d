"""What each turn did, step by step, so that a restart continues where it stopped."""

import msgspec

from wbot.domain.errors import StaleClaimError
from wbot.domain.states import TurnOutcome
from wbot.storage.tx import Tx

INSERT_STEP = """
INSERT INTO steps (message_id, revision, number, kind, content, duration_ms, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
INSERT_EFFECT = """
INSERT INTO effects (message_id, tool, arguments, result, receipt, transfer_id, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
SELECT_TURNS_BEFORE = """
SELECT coalesce(max(attempt), 0) AS attempts, min(began_at) AS first_began_at,
    count(*) FILTER (WHERE outcome = 'retry') AS failures
FROM turns WHERE message_id = ? AND revision = ?
"""


class Step(msgspec.Struct, frozen=True):
    """One stored step; `kind` is model or tool, `content` its JSON."""

    number: int
    kind: str
    content: str
    duration_ms: float


class Effect(msgspec.Struct, frozen=True):
    """What a call of this message already did."""

    tool: str
    arguments: str
    result: str
    receipt: str | None
    transfer_id: int | None


class Claim(msgspec.Struct, frozen=True):
    """A turn just begun: the epoch that guards it, which attempt it is, what is already done."""

    epoch: int
    revision: int
    attempt: int
    steps: tuple[Step, ...]
    failures: int
    """How often this revision failed before, counted or not; crashes of the process aside."""
    first_began_at: str
    """When this revision was first begun, as text."""


def claim_conversation(
    tx: Tx,
    conversation_id: int,
    message_id: str,
    now: str,
    *,
    is_marked_read: bool = False,
) -> Claim:
    """Begin a turn: increment the epoch, count the attempt, read the journal.

    A message once marked as read stays so.
    """
    epoch = tx.execute(
        "UPDATE conversations SET epoch = epoch + 1 WHERE id = ? RETURNING epoch",
        (conversation_id,),
    ).fetchall()[0][0]
    row = tx.execute(
        "UPDATE messages SET state = 'begun', attempts = attempts + 1, not_before = NULL, "
        "is_marked_read = CASE WHEN ? THEN 1 ELSE is_marked_read END "
        "WHERE message_id = ? RETURNING revision, attempts",
        (is_marked_read, message_id),
    ).fetchall()[0]
    revision = int(row["revision"])
    before = tx.execute(SELECT_TURNS_BEFORE, (message_id, revision)).fetchone()
    tx.execute(
        "INSERT INTO turns (message_id, revision, attempt, epoch, began_at) VALUES (?, ?, ?, ?, ?)",
        (message_id, revision, before["attempts"] + 1, epoch, now),
    )
    return Claim(
        epoch=int(epoch),
        revision=revision,
        attempt=int(row["attempts"]),
        steps=steps(tx, message_id, revision),
        failures=int(before["failures"]),
        first_began_at=before["first_began_at"] or now,
    )


def invalidate_claims(tx: Tx, conversation_id: int) -> None:
    """Make a running turn of the conversation stop at its next transaction."""
    tx.execute("UPDATE conversations SET epoch = epoch + 1 WHERE id = ?", (conversation_id,))


def guard(tx: Tx, conversation_id: int, epoch: int) -> None:
    """Raise StaleClaimError unless the conversation is still in this epoch."""
    row = tx.execute("SELECT epoch FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    if row is None or row[0] != epoch:
        raise StaleClaimError("Another turn has taken this conversation.")


def end(
    tx: Tx,
    message_id: str,
    epoch: int,
    *,
    outcome: TurnOutcome,
    detail: str | None,
    now: str,
) -> None:
    """Record how the attempt of this epoch ended."""
    tx.execute(
        "UPDATE turns SET ended_at = ?, outcome = ?, detail = ? WHERE message_id = ? AND epoch = ?",
        (now, outcome, detail, message_id, epoch),
    )


def refund_attempt(tx: Tx, message_id: str) -> None:
    """Do not count an attempt that failed through no fault of the message."""
    tx.execute("UPDATE messages SET attempts = attempts - 1 WHERE message_id = ?", (message_id,))


def steps(tx: Tx, message_id: str, revision: int) -> tuple[Step, ...]:
    """The stored steps of one revision, in order."""
    rows = tx.execute(
        "SELECT number, kind, content, duration_ms FROM steps "
        "WHERE message_id = ? AND revision = ? ORDER BY number",
        (message_id, revision),
    )
    return tuple(Step(*row) for row in rows.fetchall())


def add_step(tx: Tx, message_id: str, revision: int, *, step: Step, now: str) -> None:
    """Store one step; its number must be free."""
    tx.execute(
        INSERT_STEP,
        (message_id, revision, step.number, step.kind, step.content, step.duration_ms, now),
    )


def effect(tx: Tx, message_id: str, tool: str, arguments: str) -> Effect | None:
    """What the same call of the same message already did, or None."""
    row = tx.execute(
        "SELECT tool, arguments, result, receipt, transfer_id FROM effects "
        "WHERE message_id = ? AND tool = ? AND arguments = ?",
        (message_id, tool, arguments),
    ).fetchone()
    return None if row is None else Effect(*row)


def effects(tx: Tx, message_id: str) -> list[Effect]:
    """Everything the message did, in the order it did it."""
    rows = tx.execute(
        "SELECT tool, arguments, result, receipt, transfer_id FROM effects "
        "WHERE message_id = ? ORDER BY created_at, transfer_id",
        (message_id,),
    )
    return [Effect(*row) for row in rows.fetchall()]


def add_effect(tx: Tx, message_id: str, done: Effect, now: str) -> None:
    """Store what a call did; the same call of the same message raises sqlite3.IntegrityError."""
    tx.execute(
        INSERT_EFFECT,
        (
            message_id,
            done.tool,
            done.arguments,
            done.result,
            done.receipt,
            done.transfer_id,
            now,
        ),
    )


def has_decided(tx: Tx, message_id: str) -> bool:
    """Whether the message is an answer or a stop word that was carried out already."""
    row = tx.execute(
        "SELECT 1 FROM effects WHERE message_id = ? "
        "AND tool IN ('confirm', 'decline', 'stop', 'take_back') LIMIT 1",
        (message_id,),
    ).fetchone()
    return row is not None


def message_of_transfer(tx: Tx, transfer_id: int) -> str | None:
    """The message whose call asked for the transfer, or None."""
    row = tx.execute(
        "SELECT message_id FROM effects WHERE transfer_id = ?", (transfer_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def moved_money(tx: Tx, message_id: str) -> bool:
    """Whether any transfer of this message was not refused."""
    row = tx.execute(
        "SELECT 1 FROM effects e JOIN transfers t ON t.id = e.transfer_id "
        "WHERE e.message_id = ? AND t.phase <> 'refused' LIMIT 1",
        (message_id,),
    ).fetchone()
    return row is not None
