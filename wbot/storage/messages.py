"""What came in: raw webhooks, message ids, and the messages in the order of their conversation."""

import json

import msgspec

from wbot.domain.foreign import ForeignWords
from wbot.domain.messages import log_id_of
from wbot.domain.redaction import words_of_message
from wbot.domain.states import MessageState
from wbot.storage.tx import Tx, typed, typed_or_none

INSERT_MESSAGE = """
INSERT INTO messages (message_id, log_id, business_id, conversation_id, phone_number_id, number,
    type, content, reply_phone, reply_user_id, sent_at, sort_at, received_at, not_before, state,
    reason, ended_at, webhook_id)
VALUES (:message_id, :log_id, :business_id, :conversation_id, :phone_number_id, :number, :type,
    :content, :reply_phone, :reply_user_id, :sent_at, :sort_at, :received_at, :not_before, :state,
    :reason, :ended_at, :webhook_id)
"""
# A new revision at the tail: a new number, after all waiting messages, by any clock. Handled
# messages do not count, so that a long conversation costs no more than a short one.
REQUEUE = """
UPDATE messages SET conversation_id = :conversation_id, number = :number,
    revision = revision + 1, state = 'waiting', attempts = 0,
    sort_at = max(:now, sort_at, coalesce(
        (SELECT max(o.sort_at) FROM messages o
         WHERE o.conversation_id = :conversation_id AND o.state IN ('waiting', 'begun')), '')),
    reason = NULL, not_before = NULL, ended_at = NULL
WHERE message_id = :message_id
"""
NEXT_OF = """
SELECT m.*, CASE WHEN m.is_stale_approved THEN p.ended_at END AS taken_up_at
FROM messages m JOIN businesses b ON b.id = m.business_id
LEFT JOIN prompts p ON p.id = m.prompt_id
WHERE m.conversation_id = ? AND m.state IN ('waiting', 'begun') AND b.status = 'active'
ORDER BY m.state = 'waiting', m.sort_at, m.number LIMIT 1
"""
RUNNABLE = """
FROM messages m JOIN businesses b ON b.id = m.business_id
WHERE m.state IN ('waiting', 'begun') AND b.status = 'active'
"""
IN_LINE = f"""
SELECT m.sort_at, m.message_id, m.conversation_id, m.business_id {RUNNABLE}
    AND (m.sort_at, m.message_id) > (?, ?)
ORDER BY m.sort_at, m.message_id LIMIT ?
"""
FINISH = """
UPDATE messages SET state = ?, reason = ?, ended_at = ?, not_before = NULL
WHERE message_id = ? RETURNING conversation_id, sent_at
"""
NOTE_HANDLED = """
UPDATE conversations SET last_handled_sent_at = ?1
WHERE id = ?2 AND coalesce(last_handled_sent_at, '') < ?1
"""
ACCOUNT_OF = """
SELECT v.account_id FROM businesses b
JOIN (SELECT id, account_id FROM conversations WHERE business_id = ?1
      AND last_inbound_at IS NOT NULL ORDER BY last_inbound_at DESC LIMIT 1) v
JOIN messages m ON m.message_id = (SELECT message_id FROM messages WHERE conversation_id = v.id
    ORDER BY number DESC LIMIT 1)
WHERE b.id = ?1 AND m.phone_number_id = b.phone_number_id
"""
PAST = """
SELECT message_id, type, content, foreign_words, sort_at FROM messages
WHERE conversation_id = ? AND content IS NOT NULL
    AND (state IN ('answered', 'failed') OR (state = 'silent' AND reason = 'owner_writes'))
ORDER BY number DESC LIMIT ?
"""

WAITING_STALE = """
SELECT message_id, content FROM (
    SELECT m.message_id, m.content, m.sort_at, m.number, m.received_at,
        CASE WHEN m.is_stale_approved THEN p.ended_at ELSE m.sent_at END AS asked_for_at
    FROM messages m LEFT JOIN prompts p ON p.id = m.prompt_id
    WHERE m.conversation_id = :conversation AND m.state = 'waiting')
WHERE (asked_for_at IS NULL OR asked_for_at < :before)
    AND coalesce(asked_for_at, received_at) >= :since
ORDER BY sort_at, number
"""


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message about to be stored; the columns of `messages`, times as text."""

    message_id: str
    business_id: str | None
    conversation_id: int | None
    account_id: str | None = None
    phone_number_id: str | None
    type: str
    content: str
    reply_phone: str | None
    reply_user_id: str | None
    sent_at: str | None
    sort_at: str
    received_at: str
    not_before: str | None
    state: MessageState
    reason: str | None
    webhook_id: int | None = None
    """The raw body it came in, where that is kept."""
    opens_window: bool = True
    """Whether it lets the business write to its sender for the next 24 hours."""


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as its turn reads it; times as text."""

    message_id: str
    business_id: str
    conversation_id: int
    number: int
    revision: int
    type: str
    content: str | None
    reply_phone: str | None
    reply_user_id: str | None
    sent_at: str | None
    received_at: str
    not_before: str | None
    state: MessageState
    attempts: int
    taken_up_at: str | None
    """When its customer approved it, although it is stale."""
    is_marked_read: int

    @property
    def words(self) -> tuple[str, ...]:
        """Its sender's numbers and words: what a failure to handle it may quote."""
        names = tuple(name for name in (self.reply_phone, self.reply_user_id) if name)
        return (*names, *words_of_message(json.loads(self.content or "{}")))


class KeptMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it stands, its turn over or not; times as text."""

    message_id: str
    business_id: str | None
    conversation_id: int | None
    number: int | None
    revision: int
    type: str
    content: str | None
    sent_at: str | None
    sort_at: str
    received_at: str
    not_before: str | None
    state: str
    reason: str | None
    attempts: int
    duplicates: int
    ended_at: str | None
    prompt_id: int | None
    is_stale_approved: int


class StaleMessage(msgspec.Struct, frozen=True):
    """A message that waits, and is too old to be acted on unasked."""

    message_id: str
    content: str | None


class PastMessage(msgspec.Struct, frozen=True):
    """A handled message, for the history that a model reads."""

    message_id: str
    type: str
    content: str
    foreign_words: str | None
    sort_at: str


class FormerMessage(msgspec.Struct, frozen=True):
    """A message of a conversation, as the next one is compared with it; times as text."""

    type: str
    content: str | None
    received_at: str
    ended_at: str | None
    reason: str | None


class UnmatchedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message for a number that no business had when it came; times as text."""

    message_id: str
    content: str | None
    reply_phone: str | None
    reply_user_id: str | None
    sent_at: str | None
    received_at: str

    @property
    def written_at(self) -> str:
        """By WhatsApp's timestamp, else by our own."""
        return self.sent_at or self.received_at


class Backlog(msgspec.Struct, frozen=True):
    """Messages that could be processed, and since when the oldest waits (text, or None)."""

    waiting: int
    oldest_received_at: str | None


class InLine(msgspec.Struct, frozen=True):
    """An unfinished message and where it stands among all of them."""

    sort_at: str
    message_id: str
    conversation_id: int
    business_id: str

    @property
    def place(self) -> tuple[str, str]:
        return self.sort_at, self.message_id


def keep_webhook(tx: Tx, body: bytes, kept: str | None, now: str) -> int:
    """Store a raw body and the names of its unhandled parts; its number."""
    rows = tx.execute(
        "INSERT INTO webhooks (received_at, body, kept) VALUES (?, ?, ?) RETURNING id",
        (now, body, kept),
    ).fetchall()
    return int(rows[0][0])


def claim(tx: Tx, message_id: str) -> bool:
    """Whether this id comes for the first time."""
    cursor = tx.execute("INSERT OR IGNORE INTO message_ids VALUES (?)", (message_id,))
    return cursor.rowcount == 1


def insert(tx: Tx, message: NewMessage) -> None:
    """Store a claimed message at the next number of its conversation."""
    values = msgspec.structs.asdict(message)
    values["log_id"] = log_id_of(message.message_id)
    values["number"] = (
        None if message.conversation_id is None else _take_number(tx, message.conversation_id)
    )
    values["ended_at"] = message.received_at if message.state is MessageState.SILENT else None
    tx.execute(INSERT_MESSAGE, values)
    if message.conversation_id is not None and message.opens_window:
        at = message.sent_at or message.received_at
        _note_inbound(tx, message.conversation_id, at, message.account_id)


def count_duplicate(tx: Tx, message_id: str) -> None:
    """Count that a known id came again."""
    tx.execute(
        "UPDATE messages SET duplicates = duplicates + 1 WHERE message_id = ?", (message_id,)
    )


def by_id(tx: Tx, message_id: str) -> KeptMessage | None:
    """The message, or None."""
    row = tx.execute("SELECT * FROM messages WHERE message_id = ?", (message_id,)).fetchone()
    return typed_or_none(KeptMessage, row)


def replace_content(
    tx: Tx, message_id: str, *, type_: str, content: str, webhook_id: int | None
) -> None:
    """Replace a placeholder by the real body, which need not wait any longer."""
    tx.execute(
        "UPDATE messages SET type = ?, content = ?, webhook_id = ?, not_before = NULL "
        "WHERE message_id = ?",
        (type_, content, webhook_id, message_id),
    )


def requeue(tx: Tx, message_id: str, now: str, *, conversation_id: int | None = None) -> int | None:
    """Give an ended message its next revision at the tail; its conversation, if it has one.

    A named conversation becomes the message's own.
    """
    kept = by_id(tx, message_id)
    if kept is None or kept.conversation_id is None:
        return None
    place = {"conversation_id": conversation_id or kept.conversation_id}
    place["number"] = _take_number(tx, place["conversation_id"])
    tx.execute(REQUEUE, {"message_id": message_id, "now": now, **place})
    return place["conversation_id"]


def next_of(tx: Tx, conversation_id: int) -> StoredMessage | None:
    """The next message: the one already begun, else the oldest by WhatsApp's time, then number."""
    row = tx.execute(NEXT_OF, (conversation_id,)).fetchone()
    if row is None:
        return None
    found = typed(StoredMessage, row)
    return msgspec.structs.replace(found, state=MessageState(found.state))


def waiting_stale(tx: Tx, conversation_id: int, *, since: str, before: str) -> list[StaleMessage]:
    """Messages not begun that were requested between two instants, or at an unknown time, in order.

    A message is requested when it is written, or when the customer approves it while stale. One of
    unknown time was received after the first instant.
    """
    rows = tx.execute(
        WAITING_STALE, {"conversation": conversation_id, "since": since, "before": before}
    )
    return [StaleMessage(*row) for row in rows.fetchall()]


def approve_stale(tx: Tx, message_id: str) -> None:
    """Record that the customer approved a stale message."""
    tx.execute("UPDATE messages SET is_stale_approved = 1 WHERE message_id = ?", (message_id,))


def make_unfinished_stale(tx: Tx) -> int:
    """Treat every unfinished message as stale: its customer is asked; how many there are.

    The time of writing stays in the content.
    """
    return tx.execute(
        "UPDATE messages SET sent_at = NULL, is_stale_approved = 0 "
        "WHERE state IN ('waiting', 'begun')"
    ).rowcount


def note_lateness(tx: Tx, message: StoredMessage) -> bool:
    """Whether a message written later has already had its turn; stored in the row."""
    if message.sent_at is None:
        return False
    row = tx.execute(
        "SELECT last_handled_sent_at FROM conversations WHERE id = ?", (message.conversation_id,)
    ).fetchone()
    is_late = row[0] is not None and row[0] > message.sent_at
    if is_late:
        tx.execute("UPDATE messages SET is_late = 1 WHERE message_id = ?", (message.message_id,))
    return is_late


def postpone(tx: Tx, message_id: str, until: str) -> None:
    """Make the message, and so its conversation, wait."""
    tx.execute("UPDATE messages SET not_before = ? WHERE message_id = ?", (until, message_id))


def note_foreign(tx: Tx, message_id: str, met: ForeignWords) -> None:
    """Record that the turn read another person's words; READ is never replaced by IN_HISTORY."""
    tx.execute(
        "UPDATE messages SET foreign_words = ?1 WHERE message_id = ?2 "
        "AND (foreign_words IS NULL OR ?1 = 'read')",
        (met, message_id),
    )


def has_met_foreign(tx: Tx, message_id: str) -> bool:
    """Whether the message's turn has read another person's words, in any attempt or revision."""
    row = tx.execute(
        "SELECT foreign_words FROM messages WHERE message_id = ?", (message_id,)
    ).fetchone()
    return row is not None and row[0] is not None


def finish(tx: Tx, message_id: str, *, state: MessageState, reason: str | None, now: str) -> None:
    """End the message in one of answered, silent, failed."""
    row = tx.execute(FINISH, (state, reason, now, message_id)).fetchall()[0]
    if row["conversation_id"] is not None and row["sent_at"] is not None:
        tx.execute(NOTE_HANDLED, (row["sent_at"], row["conversation_id"]))


def in_line(tx: Tx, after: tuple[str, str], limit: int) -> list[InLine]:
    """The next unfinished messages of active businesses, the longest waiting first."""
    return [InLine(*row) for row in tx.execute(IN_LINE, (*after, limit)).fetchall()]


def backlog(tx: Tx, now: str) -> Backlog:
    """How much could be processed now; a postponed message is not counted as the oldest."""
    row = tx.execute(
        "SELECT count(*), min(CASE WHEN coalesce(m.not_before, '') <= ? "
        "THEN max(m.received_at, m.sort_at) END) "
        f"{RUNNABLE}",
        (now,),
    ).fetchone()
    return Backlog(int(row[0]), row[1])


def past(tx: Tx, conversation_id: int, limit: int) -> list[PastMessage]:
    """Handled messages of the conversation, newest first."""
    return [PastMessage(*row) for row in tx.execute(PAST, (conversation_id, limit)).fetchall()]


def before(tx: Tx, message: StoredMessage, limit: int) -> list[FormerMessage]:
    """The messages of the conversation before this one, the latest first."""
    rows = tx.execute(
        "SELECT type, content, received_at, ended_at, reason FROM messages "
        "WHERE conversation_id = ? AND number < ? ORDER BY number DESC LIMIT ?",
        (message.conversation_id, message.number, limit),
    ).fetchall()
    return [typed(FormerMessage, row) for row in rows]


def received_before(tx: Tx, message: StoredMessage, places: int) -> str | None:
    """When the message so many places before this one came; None where there is none."""
    row = tx.execute(
        "SELECT received_at FROM messages WHERE conversation_id = ? AND number = ?",
        (message.conversation_id, message.number - places),
    ).fetchone()
    return None if row is None else str(row[0])


def last_inbound(tx: Tx) -> list[tuple[str, str | None]]:
    """Each active business, and when a customer last wrote to it."""
    rows = tx.execute(
        "SELECT b.id, (SELECT v.last_inbound_at FROM conversations v WHERE v.business_id = b.id "
        "ORDER BY v.last_inbound_at DESC LIMIT 1) FROM businesses b WHERE b.status = 'active'"
    ).fetchall()
    return [(str(row[0]), row[1]) for row in rows]


def unfinished_of(tx: Tx, customer_id: int) -> int:
    """How many of the customer's messages wait or are being processed."""
    row = tx.execute(
        "SELECT count(*) FROM messages m JOIN conversations v ON v.id = m.conversation_id "
        "WHERE v.customer_id = ? AND m.state IN ('waiting', 'begun')",
        (customer_id,),
    ).fetchone()
    return int(row[0])


def account_of(tx: Tx, business_id: str) -> str | None:
    """The WhatsApp account of the business's number, as its latest message named it."""
    row = tx.execute(ACCOUNT_OF, (business_id,)).fetchone()
    return None if row is None else row[0]


def unmatched_phone_number_ids(tx: Tx) -> list[tuple[str, int]]:
    """Phone number ids that messages came for but no business has, with how many."""
    rows = tx.execute(
        "SELECT phone_number_id, count(*) FROM messages WHERE business_id IS NULL "
        "AND phone_number_id IS NOT NULL GROUP BY phone_number_id"
    ).fetchall()
    return [(str(row[0]), int(row[1])) for row in rows]


def unmatched_of(tx: Tx, phone_number_id: str) -> list[UnmatchedMessage]:
    """Messages for a number that no business had, in the order in which they were written."""
    rows = tx.execute(
        "SELECT * FROM messages WHERE phone_number_id = ? AND business_id IS NULL "
        "ORDER BY sort_at, message_id",
        (phone_number_id,),
    ).fetchall()
    return [typed(UnmatchedMessage, row) for row in rows]


def take_up(tx: Tx, message: UnmatchedMessage, *, business_id: str, conversation_id: int) -> None:
    """Give a message for a number that no business had to its business, to be answered."""
    tx.execute(
        "UPDATE messages SET business_id = ?, conversation_id = ?, number = ?, state = 'waiting', "
        "reason = NULL, ended_at = NULL WHERE message_id = ?",
        (business_id, conversation_id, _take_number(tx, conversation_id), message.message_id),
    )
    _note_inbound(tx, conversation_id, message.written_at)


def leave_silent(tx: Tx, message_id: str, *, business_id: str, reason: str) -> None:
    """Give a message that gets no reply any more to its business."""
    tx.execute(
        "UPDATE messages SET business_id = ?, reason = ? WHERE message_id = ?",
        (business_id, reason, message_id),
    )


def _take_number(tx: Tx, conversation_id: int) -> int:
    row = tx.execute(
        "UPDATE conversations SET next_number = next_number + 1 WHERE id = ? "
        "RETURNING next_number - 1",
        (conversation_id,),
    ).fetchall()
    return int(row[0][0])


def _note_inbound(tx: Tx, conversation_id: int, at: str, account_id: str | None = None) -> None:
    tx.execute(
        "UPDATE conversations SET last_inbound_at = max(coalesce(last_inbound_at, ''), ?), "
        "account_id = coalesce(?, account_id) WHERE id = ?",
        (at, account_id, conversation_id),
    )
