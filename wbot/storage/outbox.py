"""What goes out: replies in the order of their conversation, attempts to send them, statuses."""

import json

import msgspec

from wbot.domain.outgoing import Outgoing, decoded, encoded
from wbot.domain.redaction import words_of_message
from wbot.domain.states import REPORTED, UNSETTLED, ReplyState, SendOutcome, later_state
from wbot.storage import customers, undelivered
from wbot.storage import errors as failures
from wbot.storage.tx import Row, Tx

ADD = """
INSERT INTO outbox (business_id, conversation_id, cause, part, message_id, reply_phone,
    reply_user_id, payload, created_at)
VALUES (:business_id, :conversation_id, :cause, :part, :message_id, :reply_phone,
    :reply_user_id, :payload, :created_at)
ON CONFLICT (conversation_id, cause, part) DO NOTHING
"""
NEXT_OF = """
SELECT o.*, b.throughput, v.customer_id, m.content AS answers
FROM outbox o JOIN businesses b ON b.id = o.business_id
JOIN conversations v ON v.id = o.conversation_id
LEFT JOIN messages m ON m.message_id = o.message_id
WHERE o.conversation_id = ? AND o.state IN ('waiting', 'sending', 'unknown')
    AND b.status = 'active'
ORDER BY o.id LIMIT 1
"""
IN_LINE = """
SELECT o.id, o.conversation_id, o.business_id
FROM outbox o JOIN businesses b ON b.id = o.business_id
WHERE o.state IN ('waiting', 'sending', 'unknown') AND b.status = 'active' AND o.id > ?
ORDER BY o.id LIMIT ?
"""
WAITING_NOTICE = "waiting"
"""What the cause of a line begins with that only tells a customer to wait: no answer."""

ADD_STATUS = """
INSERT INTO statuses (wamid, status, participant, opaque, occurred_at, received_at, pricing,
    code, errors, webhook_id)
VALUES (:wamid, :status, :participant, :opaque, :occurred_at, :received_at, :pricing,
    :code, :errors, :webhook_id)
ON CONFLICT (wamid, status, participant) DO NOTHING
"""

_AT_CUSTOMER = frozenset({ReplyState.DELIVERED, ReplyState.READ, ReplyState.PLAYED})


class NewReply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply about to be stored."""

    business_id: str
    conversation_id: int
    cause: str
    part: int
    message_id: str | None
    reply_phone: str | None
    reply_user_id: str | None
    content: Outgoing
    created_at: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply as its sender reads it; times as text."""

    id: int
    business_id: str
    conversation_id: int
    message_id: str | None
    reply_phone: str | None
    reply_user_id: str | None
    content: Outgoing
    state: ReplyState
    attempts: int
    not_before: str | None
    created_at: str
    throughput: int
    """Sends a second its business may make."""
    answers: str | None = None
    """The message it answers, as received."""

    @property
    def words(self) -> tuple[str, ...]:
        """Numbers and texts that a failure to send it may quote."""
        return quotable(self.reply_phone, self.reply_user_id, self.content, self.answers)


class InLine(msgspec.Struct, frozen=True):
    """A reply whose outcome is open."""

    id: int
    conversation_id: int
    business_id: str


class Unsettled(msgspec.Struct, frozen=True):
    """A reply whose outcome is open, and how often it was sent."""

    id: int
    business_id: str
    conversation_id: int
    message_id: str | None
    attempts: int


class NewStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery status about to be stored; times as text."""

    wamid: str
    status: str
    participant: str
    opaque: str | None
    occurred_at: str | None
    received_at: str
    pricing: str | None
    code: int | None = None
    """Of the failure, if it is one."""
    errors: str | None
    webhook_id: int | None
    """The raw body it came in, where that is kept."""


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """A reply whose state has advanced."""

    outbox_id: int
    business_id: str
    conversation_id: int
    message_id: str | None
    before: ReplyState
    after: ReplyState
    errors: str | None
    code: int | None = None

    @property
    def is_newly_settled(self) -> bool:
        return self.before in UNSETTLED and self.after not in UNSETTLED

    @property
    def is_to_be_sent_again(self) -> bool:
        return self.after is ReplyState.WAITING


def installation_id(tx: Tx) -> str:
    """Distinguishes our own sends from those of another database."""
    return str(tx.execute("SELECT id FROM installation").fetchone()[0])


def check_writable(tx: Tx) -> None:
    """Write a row without changing it; raises where nothing can be written."""
    tx.execute("UPDATE installation SET id = id")


def opaque_of(installation: str, attempt_id: int) -> str:
    """The value that statuses bring back: whose send, which attempt."""
    return f"wbot:{installation}:{attempt_id}"


def add(tx: Tx, reply: NewReply) -> None:
    """Store a reply once; the same cause and part again change nothing."""
    values = msgspec.structs.asdict(reply)
    tx.execute(ADD, {**values, "payload": encoded(reply.content)})


def next_of(tx: Tx, conversation_id: int) -> Reply | None:
    """The oldest reply of the conversation whose outcome is open; None if all are settled."""
    row = tx.execute(NEXT_OF, (conversation_id,)).fetchone()
    if row is None:
        return None
    phone, user_id = customers.address_now(
        tx, row["customer_id"], phone=row["reply_phone"], user_id=row["reply_user_id"]
    )
    values = {name: row[name] for name in Reply.__struct_fields__ if name != "content"}
    # Not by msgspec.convert: see `businesses`.
    values |= {"reply_phone": phone, "reply_user_id": user_id, "state": ReplyState(row["state"])}
    return Reply(**values, content=decoded(row["payload"]))


def open_attempt(tx: Tx, outbox_id: int, now: str) -> int | None:
    """Count an attempt and mark the reply as being sent; the attempt, or None if it is settled."""
    changed = tx.execute(
        "UPDATE outbox SET state = 'sending', attempts = attempts + 1, not_before = NULL "
        "WHERE id = ? AND state IN ('waiting', 'unknown')",
        (outbox_id,),
    ).rowcount
    if not changed:
        return None
    rows = tx.execute(
        "INSERT INTO send_attempts (outbox_id, number, opened_at) "
        "SELECT ?1, count(*) + 1, ?2 FROM send_attempts WHERE outbox_id = ?1 RETURNING id",
        (outbox_id, now),
    ).fetchall()
    return int(rows[0][0])


def close_attempt(
    tx: Tx,
    attempt_id: int,
    *,
    outcome: SendOutcome,
    now: str,
    wamid: str | None = None,
    code: int | None = None,
    detail: str | None = None,
) -> None:
    """Record how an attempt ended."""
    tx.execute(
        "UPDATE send_attempts SET closed_at = ?, outcome = ?, wamid = ?, code = ?, detail = ? "
        "WHERE id = ?",
        (now, outcome, wamid, code, detail, attempt_id),
    )


def accept(tx: Tx, outbox_id: int, wamid: str, now: str) -> list[StateChange]:
    """The Graph API accepted the reply: advance it, and apply statuses that came earlier."""
    row = _row(tx, outbox_id)
    raised_now: list[StateChange] = []
    # Waiting again already if a status has said that this very send failed.
    if row["state"] != ReplyState.WAITING or not undelivered.has_failed(tx, wamid):
        raised_now = _advance(tx, row, ReplyState.ACCEPTED, wamid=wamid, now=now)
    early = tx.execute(
        "SELECT id, status, code, errors, opaque FROM statuses "
        "WHERE wamid = ? AND outbox_id IS NULL ORDER BY status = 'failed'",
        (wamid,),
    ).fetchall()
    for status in early:
        raised_now += _match(tx, status, outbox_id, wamid=wamid, now=now)
    return raised_now


def wait_again(tx: Tx, outbox_id: int, until: str, *, counts: bool) -> None:
    """Nothing was sent, or it was refused for now: send again later, unless a status settled it.

    An attempt that failed through no fault of the reply does not count.
    """
    tx.execute(
        "UPDATE outbox SET state = 'waiting', not_before = ?, "
        "attempts = attempts - ? WHERE id = ? AND state = 'sending'",
        (until, 0 if counts else 1, outbox_id),
    )


def become_unknown(tx: Tx, outbox_id: int) -> None:
    """It is unknown whether it was sent: wait for a status, unless one has come."""
    tx.execute(
        "UPDATE outbox SET state = 'unknown' WHERE id = ? AND state = 'sending'", (outbox_id,)
    )


def fail(tx: Tx, outbox_id: int, error: str) -> bool:
    """Give the reply up; False if a status had settled it meanwhile."""
    cursor = tx.execute(
        "UPDATE outbox SET state = 'failed', error = ? "
        "WHERE id = ? AND state IN ('waiting', 'sending', 'unknown')",
        (error, outbox_id),
    )
    return cursor.rowcount == 1


def give_up(tx: Tx, reply: Reply | Unsettled, reason: str, now: str) -> None:
    """End the reply as failed, with a row for the operator, unless a status settled it."""
    if fail(tx, reply.id, reason):
        failures.add(
            tx,
            reason,
            now=now,
            business_id=reply.business_id,
            conversation_id=reply.conversation_id,
            message_id=reply.message_id,
            retry_count=reply.attempts,
            outbox_id=reply.id,
        )


def unsettled(tx: Tx) -> list[Unsettled]:
    """The replies whose outcome is open, oldest first."""
    rows = tx.execute(
        "SELECT id, business_id, conversation_id, message_id, attempts FROM outbox "
        "WHERE state IN ('waiting', 'sending', 'unknown') ORDER BY id"
    ).fetchall()
    return [Unsettled(*row) for row in rows]


def attempts_alike(tx: Tx, outbox_id: int, outcome: SendOutcome, code: int | None) -> int:
    """How many attempts of the reply ended like this."""
    row = tx.execute(
        "SELECT count(*) FROM send_attempts WHERE outbox_id = ? AND outcome = ? "
        "AND code IS NOT DISTINCT FROM ?",
        (outbox_id, outcome, code),
    ).fetchone()
    return int(row[0])


def orphan_attempts_become_unknown(tx: Tx, now: str) -> None:
    """After a crash: sends that were under way have an unknown outcome."""
    tx.execute(
        "UPDATE send_attempts SET closed_at = ?, outcome = 'unknown', "
        "detail = 'the process ended during the send' WHERE closed_at IS NULL",
        (now,),
    )
    tx.execute(
        # The first condition is the index's own: without it the whole table would be read.
        "UPDATE outbox SET state = 'unknown' "
        "WHERE state IN ('waiting', 'sending', 'unknown') AND state = 'sending'"
    )


def interrupted(tx: Tx, outbox_id: int, now: str) -> None:
    """An attempt whose end could not be stored has an unknown outcome."""
    tx.execute(
        "UPDATE send_attempts SET closed_at = ?, outcome = 'unknown', "
        "detail = 'its end could not be stored' WHERE outbox_id = ? AND closed_at IS NULL",
        (now, outbox_id),
    )
    become_unknown(tx, outbox_id)


def has_status(tx: Tx, wamid: str, *, status: str, participant: str) -> bool:
    """Whether this status was stored before."""
    row = tx.execute(
        "SELECT 1 FROM statuses WHERE wamid = ? AND status = ? AND participant = ?",
        (wamid, status, participant),
    ).fetchone()
    return row is not None


def record_status(tx: Tx, status: NewStatus, installation: str) -> list[StateChange] | None:
    """Store a status and advance the reply it is about; None when it was known already.

    One that matches nothing yet is stored for `accept` to apply.
    """
    if tx.execute(ADD_STATUS, msgspec.structs.asdict(status)).rowcount == 0:
        return None
    outbox_id = reply_of_status(tx, status.wamid, status.opaque, installation)
    if outbox_id is None or _awaits_answer(tx, outbox_id, status, installation):
        return []
    row = tx.execute(
        "SELECT id, status, code, errors, opaque FROM statuses "
        "WHERE wamid = ? AND status = ? AND participant = ?",
        (status.wamid, status.status, status.participant),
    ).fetchone()
    return _match(tx, row, outbox_id, wamid=status.wamid, now=status.received_at)


def in_line(tx: Tx, after: int, limit: int) -> list[InLine]:
    """The next replies of active businesses whose outcome is open, oldest first."""
    return [InLine(*row) for row in tx.execute(IN_LINE, (after, limit)).fetchall()]


def reply_of_status(tx: Tx, wamid: str, opaque: str | None, installation: str) -> int | None:
    """The reply that a status is about; by the attempt that it names, else by WhatsApp's id."""
    attempt_id = _attempt_named(opaque, installation)
    if attempt_id is not None:
        row = tx.execute(
            "SELECT outbox_id FROM send_attempts WHERE id = ?", (attempt_id,)
        ).fetchone()
    else:
        row = tx.execute("SELECT id FROM outbox WHERE wamid = ?", (wamid,)).fetchone()
    return None if row is None else int(row[0])


def _attempt_named(opaque: str | None, installation: str) -> str | None:
    prefix = opaque_of(installation, 0)[:-1]
    return opaque[len(prefix) :] if opaque is not None and opaque.startswith(prefix) else None


def _match(tx: Tx, status: Row, outbox_id: int, *, wamid: str, now: str) -> list[StateChange]:
    tx.execute("UPDATE statuses SET outbox_id = ? WHERE id = ?", (outbox_id, status["id"]))
    # With any status, Meta has the message: sending it again would send it twice.
    is_known = status["status"] in REPORTED
    reported = ReplyState(status["status"]) if is_known else ReplyState.ACCEPTED
    row = _row(tx, outbox_id)
    if reported is ReplyState.FAILED:
        if undelivered.is_heard_otherwise(tx, outbox_id, wamid):
            return []
        is_sent_since = _is_sent_since(tx, status, outbox_id, wamid=wamid)
        if is_sent_since and ReplyState(row["state"]) in UNSETTLED:
            return []  # the latest send decides
        if row["state"] == ReplyState.WAITING and undelivered.may_pass(status["code"]):
            return []  # the next one does
        if not is_sent_since and undelivered.wait_again(tx, row, status, now=now):
            return [_change(row, ReplyState.WAITING, status["errors"], status["code"])]
    elif reported not in _AT_CUSTOMER and undelivered.has_failed(tx, wamid):
        return []  # late: what it tells of has failed since
    return _advance(
        tx, row, reported, wamid=wamid, now=now, errors=status["errors"], code=status["code"]
    )


def _is_sent_since(tx: Tx, failure: Row, outbox_id: int, *, wamid: str) -> bool:
    installation = installation_id(tx)
    named = _attempt_named(failure["opaque"], installation)
    accepted = tx.execute(
        "SELECT id FROM send_attempts WHERE outbox_id = ? AND wamid = ?", (outbox_id, wamid)
    ).fetchone()
    return undelivered.is_sent_since(
        tx,
        outbox_id,
        int(named or (accepted[0] if accepted else 0)),
        opaque_prefix=opaque_of(installation, 0)[:-1],
    )


def _awaits_answer(tx: Tx, outbox_id: int, status: NewStatus, installation: str) -> bool:
    """Whether a failure that may pass came before the answer to its send, which then applies it."""
    if status.status != ReplyState.FAILED or not undelivered.may_pass(status.code):
        return False
    under_way = "SELECT 1 FROM send_attempts WHERE id = ? AND closed_at IS NULL"
    attempt_id = _attempt_named(status.opaque, installation)
    is_under_way = tx.execute(under_way, (attempt_id,)).fetchone() is not None
    return is_under_way and _row(tx, outbox_id)["state"] == ReplyState.SENDING


def _advance(
    tx: Tx,
    row: Row,
    reported: ReplyState,
    *,
    wamid: str,
    now: str,
    errors: str | None = None,
    code: int | None = None,
) -> list[StateChange]:
    before = ReplyState(row["state"])
    after = later_state(before, reported)
    error = errors if after is ReplyState.FAILED else None
    tx.execute(
        "UPDATE outbox SET state = ?, wamid = coalesce(wamid, ?), "
        "accepted_at = coalesce(accepted_at, ?), error = ? WHERE id = ?",
        (after, wamid, now, error or row["error"], row["id"]),
    )
    if after is before:
        return []
    if after is ReplyState.FAILED:
        failures.add(
            tx,
            f"Meta could not deliver the reply: {error or 'no reason given'}",
            now=now,
            business_id=row["business_id"],
            conversation_id=row["conversation_id"],
            message_id=row["message_id"],
            outbox_id=row["id"],
        )
    return [_change(row, after, error, code)]


def _change(row: Row, after: ReplyState, errors: str | None, code: int | None) -> StateChange:
    return StateChange(
        outbox_id=row["id"],
        business_id=row["business_id"],
        conversation_id=row["conversation_id"],
        message_id=row["message_id"],
        before=ReplyState(row["state"]),
        after=after,
        errors=errors,
        code=code,
    )


def _row(tx: Tx, outbox_id: int) -> Row:
    row: Row = tx.execute("SELECT * FROM outbox WHERE id = ?", (outbox_id,)).fetchone()
    return row


def quotable(
    phone: str | None, user_id: str | None, said: Outgoing, answers: str | None
) -> tuple[str, ...]:
    """Numbers and texts that a failure to send a reply may quote."""
    names = tuple(name for name in (phone, user_id) if name)
    return (*names, *said.words, *words_of_message(json.loads(answers or "{}")))
