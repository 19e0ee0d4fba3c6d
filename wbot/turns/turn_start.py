"""Where a turn begins: the first transaction, which claims a message or says how long to wait."""

import json
from datetime import datetime

import msgspec

from wbot.clock import from_text, to_text
from wbot.domain import triage
from wbot.domain.content import content_of, context_of
from wbot.domain.message_age import Staleness, staleness_of
from wbot.domain.messages import Content, Context
from wbot.domain.prompts import Decision
from wbot.domain.states import MessageState
from wbot.domain.triage import Handling, handling_of
from wbot.payments import answers
from wbot.payments.quotations import Quotation, quoted_in
from wbot.storage import customers, echoes, journal, messages, waiting_notices
from wbot.storage.journal import Claim
from wbot.storage.messages import StoredMessage
from wbot.storage.tx import Tx
from wbot.turns import loop_detection, waiting_notice


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose turn has begun, and what its first transaction read."""

    message: StoredMessage
    claim: Claim
    customer_id: int
    moved_money: bool
    """In an earlier revision or attempt."""
    has_decided: bool
    """An earlier attempt carried its answer to a confirmation out."""
    content: Content
    context: Context | None
    handling: Handling
    stops: bool
    """Whether it is a stop word, and there is something to stop."""
    quotation: Quotation | None
    decisions: tuple[Decision, ...]
    """The answers to questions of ours that it can be: one counts, several are asked about."""
    staleness: Staleness
    came_fresh: bool
    """It was fresh when it was received, however late its turn is."""
    is_late: bool
    is_loop: bool
    """It seems to be a program's answer to our reply."""
    is_new_loop: bool
    owner_spoke_at: str | None
    """When the owner last wrote to the customer from the phone."""
    shows_reading: bool
    """Whether its customer is to see that it is read: once, and never for a silence."""


class Waits(msgspec.Struct, frozen=True):
    """A message that needs the model while that may not be asked; seconds until a change."""

    seconds: float
    is_told: bool
    """Whether its customer was told just now that it takes longer."""


def begin(
    tx: Tx, conversation_id: int, *, may_ask: bool, now: datetime, stale_after_s: float
) -> Begun | Waits | float | None:
    """Claim the conversation's next message; else what, or how many seconds, it waits for."""
    message = messages.next_of(tx, conversation_id)
    if message is None:
        return None
    if message.not_before is not None and from_text(message.not_before) > now:
        wait_s = (from_text(message.not_before) - now).total_seconds()
        if message.state is not MessageState.BEGUN:
            return wait_s
        return wait_for_model(tx, message, wait_s, now)
    raw = json.loads(message.content or "{}")
    content, received_at = content_of(raw), from_text(message.received_at)
    how = handling_of(content, raw.get("group_id"))
    decisions = answers.decisions_in(tx, message)
    staleness = _staleness(message, now, stale_after_s)
    moved_money = journal.moved_money(tx, message.message_id)
    is_due = isinstance(how, triage.Answer) and staleness is Staleness.FRESH
    has_steps = _has_steps(tx, message)
    # What the model has begun with may have made something to stop: it stays the model's.
    stops = is_due and not has_steps and answers.stop_in(tx, message, to_text(now))
    asks = is_due and not decisions and not stops
    if asks and not (may_ask or moved_money or has_steps):
        return wait_for_model(tx, message, stale_in_s(message, now, stale_after_s), now)
    loop = loop_detection.look(tx, message) if is_due else loop_detection.NO_LOOP
    if loop.is_new:
        loop_detection.tell(tx, message, to_text(now))
    is_silent = isinstance(how, triage.Silence) or staleness is Staleness.EXPIRED
    shows_reading = not (is_silent or message.is_marked_read)
    return Begun(
        message=message,
        claim=journal.claim_conversation(
            tx,
            conversation_id,
            message.message_id,
            to_text(now),
            is_marked_read=shows_reading,
        ),
        customer_id=customers.required_of(tx, conversation_id),
        moved_money=moved_money,
        has_decided=journal.has_decided(tx, message.message_id),
        content=content,
        context=context_of(raw),
        handling=how,
        stops=stops,
        quotation=quoted_in(tx, message),
        decisions=decisions,
        staleness=staleness,
        came_fresh=_staleness(message, received_at, stale_after_s) is Staleness.FRESH,
        is_late=messages.note_lateness(tx, message),
        is_loop=loop.is_loop,
        is_new_loop=loop.is_new,
        owner_spoke_at=echoes.owner_spoke_at(tx, conversation_id),
        shows_reading=shows_reading,
    )


def wait_for_model(tx: Tx, message: StoredMessage, seconds: float, now: datetime) -> Waits:
    """Wait so long, but tell the customer when it is time, if they were not told yet."""
    if waiting_notices.was_told(tx, message.conversation_id):
        return Waits(seconds, is_told=False)
    since = from_text(message.taken_up_at or message.received_at)
    due_s = waiting_notice.due_in_s((now - since).total_seconds())
    if due_s > 0:
        return Waits(min(seconds, due_s), is_told=False)
    return Waits(seconds, is_told=waiting_notice.tell(tx, message, now=to_text(now)))


def _staleness(message: StoredMessage, now: datetime, stale_after_s: float) -> Staleness:
    # A yes to going on with an old message asks for it anew.
    asked_for_at = message.taken_up_at or message.sent_at
    return staleness_of(
        from_text(asked_for_at) if asked_for_at else None,
        from_text(message.received_at),
        now,
        stale_after_s,
    )


def stale_in_s(message: StoredMessage, now: datetime, stale_after_s: float) -> float:
    """Seconds until the message is too old to be acted on unasked."""
    age_s = (now - _asked_for_at(message)).total_seconds()
    return stale_after_s - age_s


def _asked_for_at(message: StoredMessage) -> datetime:
    """When its customer last asked for it: by writing it, or by a yes to going on with it."""
    return from_text(message.taken_up_at or message.sent_at or message.received_at)


def _has_steps(tx: Tx, message: StoredMessage) -> bool:
    return bool(journal.steps(tx, message.message_id, message.revision))
