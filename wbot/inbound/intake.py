"""Stores what a webhook says: one function over a transaction, committed before the 200."""

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from functools import partial

import msgspec

from wbot.clock import later, to_text
from wbot.domain.content import content_of
from wbot.domain.message_age import credible_time
from wbot.domain.messages import (
    TEST_MESSAGE_ID,
    Echo,
    Inbound,
    Status,
    System,
    is_placeholder,
)
from wbot.domain.payees import phone_digits
from wbot.domain.redaction import redacted
from wbot.domain.spellings import one_spelling
from wbot.domain.states import UNFINISHED, MessageState
from wbot.inbound.webhook_parser import Payload
from wbot.storage import (
    accounts,
    businesses,
    conflicts,
    customers,
    echoes,
    errors,
    journal,
    messages,
    outbox,
    outbox_queries,
)
from wbot.storage.messages import KeptMessage
from wbot.storage.outbox import StateChange
from wbot.storage.tx import Tx

PLACEHOLDER_WAIT_S = 2.0
"""Seconds for the real text to follow a placeholder; it was seen to come after 200 ms."""

NOTICE_NAMES_MAX, NOTICE_NAME_MAX = 50, 60
"""How many notices a stored webhook lists, and characters of each: the sender could choose both."""

PART_UPDATES_MAX = 100
"""Messages and statuses of one transaction: some 20 ms, while others wait to be written."""

STATUS_ERRORS_MAX = 5
"""Failures of one reply that are stored; Meta sends one."""

OWN_NUMBER = "own_number"
"""Why a message is silent: the business's own number wrote it."""

IDENTITY_CHANGES = {"user_changed_number", "user_changed_user_id"}


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is now on disk; without a conversation it ends in silence there."""

    message_id: str
    type: str
    business_id: str | None
    conversation_id: int | None
    phone: str | None
    is_dated: bool = True
    """Whether it names a credible time of writing."""
    reason: str | None = None
    warning: str | None = None


class Recorded(msgspec.Struct, kw_only=True):
    """What was new in one webhook, and what was not."""

    accepted: list[Accepted] = msgspec.field(default_factory=list)
    state_changes: list[StateChange] = msgspec.field(default_factory=list)
    duplicates: int = 0
    statuses: int = 0
    tests: int = 0
    webhook_id: int | None = None
    """The row of its raw body, where that says more than the other rows hold."""

    def add(self, more: "Recorded") -> None:
        """Count the webhook's next part too."""
        self.accepted += more.accepted
        self.state_changes += more.state_changes
        self.duplicates += more.duplicates
        self.statuses += more.statuses
        self.tests += more.tests
        self.webhook_id = more.webhook_id


class _RawBody:
    """The raw body, stored with the first thing in it that is new, if other rows lack any of it.

    A text is kept once: what a message said is in its row.
    """

    def __init__(
        self, body: bytes, payload: Payload, *, received_at: str, webhook_id: int | None
    ) -> None:
        self._body = body
        self._is_needed = payload.needs_body
        self._kept = _notice_names(payload)
        self._received_at = received_at
        self.webhook_id = webhook_id

    def stored(self, tx: Tx) -> int | None:
        """The number of its row, for the rows made from it."""
        if self._is_needed and self.webhook_id is None:
            self.webhook_id = messages.keep_webhook(tx, self._body, self._kept, self._received_at)
        return self.webhook_id


def parts_of(payload: Payload) -> Iterator[Payload]:
    """The payload in parts that one transaction can store without others waiting for long."""
    count, messages_count = len(payload.messages) + len(payload.statuses), len(payload.messages)
    for start in range(0, max(count, 1), PART_UPDATES_MAX):
        end = start + PART_UPDATES_MAX
        yield Payload(
            messages=payload.messages[start:end],
            statuses=payload.statuses[
                max(0, start - messages_count) : max(0, end - messages_count)
            ],
            notices=payload.notices if start == 0 else (),
            echoes=payload.echoes if start == 0 else (),
            needs_body=payload.needs_body,
        )


def record(
    tx: Tx,
    payload: Payload,
    *,
    body: bytes,
    now: datetime,
    installation: str,
    webhook_id: int | None = None,
    secrets: Collection[str] = (),
) -> Recorded:
    """Store every new piece of the payload, once; the same webhook again changes nothing.

    `webhook_id` is the row of the body where an earlier part of the webhook has stored it. What
    Meta says of a failed reply is stored without the `secrets`, numbers and messages.
    """
    raw = _RawBody(body, payload, received_at=to_text(now), webhook_id=webhook_id)
    recorded = Recorded()
    for message in payload.messages:
        _record_message(tx, message, recorded, raw=raw, now=now)
    for status in payload.statuses:
        _record_status(
            tx, status, recorded, raw=raw, now=now, installation=installation, secrets=secrets
        )
    for echo in payload.echoes:
        _record_echo(tx, echo, raw=raw, now=now)
    if payload.notices or recorded.tests:
        raw.stored(tx)
    recorded.webhook_id = raw.webhook_id
    return recorded


def _notice_names(payload: Payload) -> str | None:
    names = sorted({f"{n.reason}:{n.event or n.field}"[:NOTICE_NAME_MAX] for n in payload.notices})
    return ",".join(names[:NOTICE_NAMES_MAX]) or None


def _record_message(
    tx: Tx,
    message: Inbound,
    recorded: Recorded,
    *,
    raw: _RawBody,
    now: datetime,
) -> None:
    # The dashboard's test always has one id: storing it would hide every test but the first.
    if message.message_id == TEST_MESSAGE_ID:
        recorded.tests += 1
    elif messages.claim(tx, message.message_id):
        recorded.accepted.append(_insert(tx, message, webhook_id=raw.stored(tx), now=now))
    elif (again := _supersede(tx, message, raw=raw, now=now)) is not None:
        recorded.accepted.append(again)
    else:
        messages.count_duplicate(tx, message.message_id)
        recorded.duplicates += 1


def _record_echo(tx: Tx, echo: Echo, *, raw: _RawBody, now: datetime) -> None:
    """Keep what the owner wrote from the phone, once, as words of the business."""
    business = businesses.by_phone_number_id(tx, echo.phone_number_id or "")
    is_addressed = echo.phone is not None or echo.user_id is not None
    if business is None or not is_addressed:
        raw.stored(tx)
        return
    if not messages.claim(tx, echo.message_id):
        return
    at = to_text(now)
    identity = customers.resolve(
        tx, business.id, phone=echo.phone, user_id=echo.user_id, name=None, now=at
    )
    echoes.add(
        tx,
        echoes.NewEcho(
            message_id=echo.message_id,
            conversation_id=customers.conversation_of(tx, business.id, identity.customer_id, at),
            type=echo.type,
            content=json.dumps(echo.raw, ensure_ascii=False),
            said_at=to_text(credible_time(echo.sent_at, now) or now),
            webhook_id=raw.stored(tx),
        ),
    )


def _is_own_number(message: Inbound) -> bool:
    own = phone_digits(message.business_number or "")
    return own is not None and one_spelling(own) == one_spelling((message.phone or "").lstrip("+"))


def _insert(tx: Tx, message: Inbound, *, webhook_id: int | None, now: datetime) -> Accepted:
    business = businesses.by_phone_number_id(tx, message.phone_number_id or "")
    conversation_id, reason, warning = None, None, None
    if business is None:
        reason = "unknown_number"
    elif _is_own_number(message):
        reason = OWN_NUMBER
    elif message.phone is None and message.user_id is None and not _previous_user_id(message):
        reason = "unknown_sender"
    else:
        businesses.learn_number(tx, business, message.business_number)
        identity = _identity(tx, business.id, message, to_text(now))
        warning = identity.warning
        conversation_id = customers.conversation_of(
            tx, business.id, identity.customer_id, to_text(now)
        )
        if identity.warning in {customers.RESPELLED, customers.REKEYED}:
            errors.add(
                tx,
                f"C{identity.customer_id}: {identity.warning}; nothing needs to be done",
                now=to_text(now),
                business_id=business.id,
                conversation_id=conversation_id,
                message_id=None,
            )
        if identity.former_id is not None:
            if accounts.find(tx, identity.former_id) is not None:
                conflicts.hold(tx, identity.customer_id, identity.former_id)
            _notify_operator(tx, business.id, identity, conversation_id, now=to_text(now))
    sent_at = credible_time(message.sent_at, now)
    waits = is_placeholder(message.content)
    messages.insert(
        tx,
        messages.NewMessage(
            message_id=message.message_id,
            business_id=business.id if business else None,
            conversation_id=conversation_id,
            account_id=message.account_id,
            phone_number_id=message.phone_number_id,
            type=message.type,
            content=_json(message),
            reply_phone=message.phone,
            reply_user_id=message.user_id,
            sent_at=to_text(sent_at) if sent_at else None,
            sort_at=to_text(sent_at or now),  # WhatsApp's clock alone: ours may step back
            received_at=to_text(now),
            not_before=to_text(later(now, PLACEHOLDER_WAIT_S)) if waits else None,
            state=MessageState.SILENT if reason else MessageState.WAITING,
            reason=reason,
            webhook_id=webhook_id,
            # What was said in a group, or by WhatsApp itself, was not said to the business.
            opens_window=message.group_id is None and not isinstance(message.content, System),
        ),
    )
    return Accepted(
        message_id=message.message_id,
        type=message.type,
        business_id=business.id if business else None,
        conversation_id=conversation_id,
        phone=message.phone or message.user_id,
        is_dated=sent_at is not None,
        reason=reason,
        warning=warning,
    )


def _identity(tx: Tx, business_id: str, message: Inbound, now: str) -> customers.Identity:
    content = message.content
    if isinstance(content, System) and content.event in IDENTITY_CHANGES:
        user_id = _previous_user_id(message) or message.user_id
        known = customers.find_sender(tx, business_id, phone=message.phone, user_id=user_id)
        # Such a number may have a new owner, whose change must not move the account.
        is_sure = user_id is not None or known is None or not customers.may_be_gone(tx, known, now)
        if known is not None and is_sure:
            warning = customers.change_identity(
                tx, known, phone=content.phone, user_id=content.user_id, now=now
            )
            return customers.Identity(known, warning)
    return customers.resolve(
        tx,
        business_id,
        phone=message.phone,
        user_id=message.user_id or _previous_user_id(message),
        name=message.name,
        now=now,
    )


def _notify_operator(
    tx: Tx,
    business_id: str,
    identity: customers.Identity,
    conversation_id: int,
    *,
    now: str,
) -> None:
    """Only an operator can decide whether both are one person: no message proves it."""
    former, heir = f"C{identity.former_id}", f"C{identity.customer_id}"
    errors.add(
        tx,
        f"{heir} writes from the number that {former} had: {identity.warning}. If they are two "
        f"persons: wbot customer trust {business_id} {heir}. If they are one person, run: wbot "
        f"customer merge {business_id} {heir} {former}",
        now=now,
        business_id=business_id,
        conversation_id=conversation_id,
        message_id=None,
    )


def _previous_user_id(message: Inbound) -> str | None:
    content = message.content
    return content.previous_user_id if isinstance(content, System) else None


def _supersede(tx: Tx, message: Inbound, *, raw: _RawBody, now: datetime) -> Accepted | None:
    """Replace the placeholder of the same id by the real body; None if there is none."""
    stored = messages.by_id(tx, message.message_id)
    if stored is None or stored.content is None or is_placeholder(message.content):
        return None
    if not is_placeholder(content_of(json.loads(stored.content))):
        return None
    messages.replace_content(
        tx,
        message.message_id,
        type_=message.type,
        content=_json(message),
        webhook_id=raw.stored(tx),
    )
    if stored.state == MessageState.BEGUN and stored.conversation_id is not None:
        # The turn that answers the placeholder must not close the real text with it.
        journal.invalidate_claims(tx, stored.conversation_id)
    conversation_id = stored.conversation_id
    if stored.state not in UNFINISHED:
        conversation_id = _conversation_now(tx, stored, to_text(now))
        messages.requeue(tx, message.message_id, to_text(now), conversation_id=conversation_id)
    return Accepted(
        message_id=message.message_id,
        type=message.type,
        business_id=stored.business_id,
        conversation_id=conversation_id,
        phone=message.phone or message.user_id,
    )


def _conversation_now(tx: Tx, stored: KeptMessage, now: str) -> int | None:
    """The conversation of the sender now: after a merge, that of the customer merged into."""
    sender = customers.of_conversation(tx, stored.conversation_id)
    if sender is None or stored.business_id is None:
        return None
    survivor = customers.survivor(tx, sender)
    return customers.conversation_of(tx, stored.business_id, survivor, now)


def _record_status(
    tx: Tx,
    status: Status,
    recorded: Recorded,
    *,
    raw: _RawBody,
    now: datetime,
    installation: str,
    secrets: Collection[str],
) -> None:
    participant = status.participant or ""
    if outbox.has_status(tx, status.wamid, status=status.status, participant=participant):
        return
    state_changes = outbox.record_status(
        tx,
        outbox.NewStatus(
            wamid=status.wamid,
            status=status.status,
            participant=participant,
            opaque=status.opaque,
            occurred_at=to_text(status.occurred_at) if status.occurred_at else None,
            received_at=to_text(now),
            pricing=json.dumps(status.pricing) if status.pricing else None,
            code=next((error.code for error in status.errors), None),
            errors=_failure(tx, status, installation, secrets),
            webhook_id=raw.stored(tx),
        ),
        installation,
    )
    recorded.statuses += 1
    recorded.state_changes += state_changes or []


def _json(message: Inbound) -> str:
    # The standard library's JSON can write every number it has read.
    return json.dumps(message.raw, ensure_ascii=False)


def _failure(tx: Tx, status: Status, installation: str, secrets: Collection[str]) -> str | None:
    if not status.errors:
        return None
    quotable = outbox_queries.quotable_by(tx, status.wamid, status.opaque, installation)
    cleaned = partial(redacted, secrets=secrets, messages=quotable)
    return "; ".join(
        f"{cleaned(error.details or error.message or error.title or 'no details')} "
        f"(code {error.code})"
        for error in status.errors[:STATUS_ERRORS_MAX]
    )
