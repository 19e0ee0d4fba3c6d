"""One message's timeline in plain words, from its arrival to WhatsApp's status reports."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec

from wbot.admin import customer_lookup
from wbot.clock import from_text
from wbot.domain import json_access
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.ledger import Phase, TransferState, reference_of
from wbot.domain.messages import is_log_id
from wbot.domain.money import currency_of, format_amount
from wbot.domain.outgoing import decoded
from wbot.domain.prompts import PromptKind
from wbot.domain.states import UNFINISHED, MessageState, PromptOutcome, SendOutcome, TurnOutcome
from wbot.storage import customers, errors, prompts, timeline
from wbot.storage.timeline import LedgerRow, Message, SendAttempt, TurnAttempt
from wbot.storage.tx import Tx

SILENCES = {
    "group": "it was said in a group",
    "empty_text": "it contains no text",
    "reaction": "it is a reaction",
    "system": "it is a notice about the customer, not from the customer",
    "request_welcome": "the customer opened the chat and has not written yet",
    "revoked": "it deletes an earlier message",
    "unsupported": "WhatsApp does not deliver its content",
    "unknown": "its type is not known here",
    "window_closed": "it is older than a day, and WhatsApp allows no reply after that",
    "asked_about": "it was too old when its turn came, and the customer was asked about it",
    "took_up_stale_messages": "it is the customer's yes to older messages, which follow",
    "unknown_number": "no business here has the phone number id it was sent to",
    "unknown_sender": "it does not say who sent it",
    "own_number": "it comes from the business's own number",
    "owner_writes": "the owner has just written to the customer from the phone",
}
"""Recorded reasons for silence, in words; a reason without an entry is shown as it is."""

PROMPTS: dict[PromptKind, tuple[str, dict[PromptOutcome, str]]] = {
    PromptKind.CONFIRM: (
        "to confirm",
        {
            PromptOutcome.YES: "confirmed",
            PromptOutcome.NO: "cancelled",
            PromptOutcome.EXPIRED: "expired",
        },
    ),
    PromptKind.CANCEL: (
        "whether to take the payment back",
        {
            PromptOutcome.YES: "answered yes",
            PromptOutcome.NO: "answered no",
            PromptOutcome.EXPIRED: "expired",
        },
    ),
}
"""What was asked by buttons about money, and how it ended."""

SEND_OUTCOMES = {
    SendOutcome.ACCEPTED: "WhatsApp accepted it",
    SendOutcome.REFUSED: "WhatsApp refused it",
    SendOutcome.NOT_SENT: "it was not sent",
    SendOutcome.UNKNOWN: "it is unknown whether it arrived",
}


ENDS = {
    Phase.POST: "posting",
    Phase.VOID: "voiding",
    Phase.EXPIRE: "expiring",
}
"""What a ledger row that ends a pending transfer does to it."""


class Stage(msgspec.Struct, frozen=True):
    """One thing that happened; `at` is UTC text."""

    at: str
    stage: str
    detail: str


class Reply(msgspec.Struct, frozen=True):
    """One reply to the message, and its delivery state."""

    text: str
    state: str
    wamid: str | None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one message; stages are ordered by time."""

    message_id: str
    business: str | None
    customer: str | None
    state: str
    stages: tuple[Stage, ...]
    replies: tuple[Reply, ...]


class NoMessageError(RefusedError):
    """No message of this customer is stored."""


def find(tx: Tx, text: str) -> tuple[str, int]:
    """The message an operator means, and the number of other messages from its sender.

    The text is a message's id, its short id in the logs, the wamid of our reply to it, or a
    customer, which means their latest message. Raises RefusedError if no or several messages fit.
    """
    if timeline.message(tx, text) is not None:
        return text, 0
    named = timeline.message_answered_by(tx, text)
    if named is None and is_log_id(text):
        named = timeline.message_logged_as(tx, text)
    if named is not None:
        return named, 0
    sent = [latest for one in _meant(tx, text) if (latest := timeline.latest_by(tx, one))]
    if not sent and customer_lookup.referred_id(text) is None:
        sent = (
            [latest]
            if (latest := timeline.latest_unrouted(tx, customer_lookup.alias_of(text)))
            else []
        )
    if not sent:
        raise NoMessageError(f"No message from {text} has arrived.")
    if len(sent) > 1:
        named = ", ".join(f"{latest.business_id}: {latest.message_id}" for latest in sent)
        raise RefusedError(
            f"{text} has written to several businesses; name one message instead ({named})."
        )
    return sent[0].message_id, sent[0].messages - 1


def _meant(tx: Tx, text: str) -> list[int]:
    number = customer_lookup.referred_id(text)
    if number is not None:
        return [number]
    try:
        return timeline.known_as(tx, customer_lookup.alias_of(text))
    except MalformedError as error:
        raise RefusedError(
            f"No message is known as {text[:200]!r}; give a message's id (wamid.…), or a "
            "customer's phone number or user id."
        ) from error


def build_timeline(tx: Tx, message_id: str, now: str) -> Timeline:
    """The timeline of a message; raises RefusedError if it does not exist."""
    message = timeline.message(tx, message_id)
    if message is None:
        raise RefusedError(f"No message is known as {message_id[:200]!r}.")
    replies = timeline.replies(tx, message_id)
    # Stages with equal times stay in this order.
    stages = [
        *_arrival(message),
        *_waiting(tx, message, now),
        *_transfers(tx, message_id),
        *_confirmation(tx, message_id),
        *_outside_calls(tx, message_id),
        *_steps(tx, message_id),
        *_stored(replies),
        *_failures(tx, message_id),
        *_silence(message),
        *_turns(tx, message),
        *_sends(tx, message_id, len(replies)),
    ]
    return Timeline(
        message_id=message_id,
        business=message.business_id,
        customer=_customer(tx, message),
        state=message.state,
        stages=tuple(sorted(stages, key=lambda stage: stage.at)),
        replies=tuple(Reply(_text(row), row.state, row.wamid) for row in replies),
    )


def _customer(tx: Tx, message: Message) -> str | None:
    if message.customer_id is not None:
        return customers.label(tx, message.customer_id)
    return message.reply_phone or message.reply_user_id


def _arrival(message: Message) -> Iterator[Stage]:
    if message.sent_at is not None:
        yield Stage(message.sent_at, "sent", "by the customer, by WhatsApp's clock (whole seconds)")
    place = "" if message.number is None else f", number {message.number} of its conversation"
    webhook = "" if message.webhook_id is None else f" in webhook {message.webhook_id}"
    received_at = message.received_at
    yield Stage(received_at, "received", f"a message of type {message.type}{webhook}{place}")
    if message.sent_at is None:
        words = "without a credible time of writing, so it counts as stale"
        yield Stage(received_at, "undated", words)
    if message.duplicates:
        times = _times(message.duplicates)
        yield Stage(received_at, "duplicates", f"it came again {times} since, and was ignored")


def _waiting(tx: Tx, message: Message, now: str) -> Iterator[Stage]:
    turns = timeline.turns(tx, message.message_id)
    if turns:
        began_at = turns[0].began_at
        late = "; a newer one had its turn first" if message.is_late else ""
        waited = _seconds(message.received_at, began_at)
        yield Stage(began_at, "waited", f"{waited} for its turn{late}")
    if message.state not in UNFINISHED:
        return
    reasons = []
    if message.business_status == "paused":
        reasons.append("its business is paused")
    if message.ahead:
        reasons.append(f"{message.ahead} of its conversation go first")
    if message.not_before is not None and message.not_before > now:
        reasons.append(f"not before {_instant(message.not_before)}")
    why = "; ".join(reasons) or "for a running service to process it"
    if message.state == MessageState.WAITING or reasons:
        yield Stage(now, "waiting", f"{_seconds(message.received_at, now)} since it came: {why}")


def _turns(tx: Tx, message: Message) -> Iterator[Stage]:
    rows = timeline.turns(tx, message.message_id)
    # A blocked turn is retried until it is fixed: shown once, with a count.
    alike = groupby(rows, lambda row: (row.revision, row.outcome, row.detail))
    for (_, outcome, _), group in alike:
        attempts = list(group)
        is_blocked = outcome == TurnOutcome.BLOCKED
        shown = [attempts[0], attempts[-1]] if is_blocked and len(attempts) > 1 else attempts
        for row in dict.fromkeys(shown):
            yield Stage(row.began_at, "turn_began", _began(row, is_latest=row == rows[-1]))
            if row.ended_at is not None:
                yield Stage(row.ended_at, "turn_ended", _ended(row, len(attempts)))


def _began(row: TurnAttempt, *, is_latest: bool) -> str:
    words = f"attempt {row.attempt}{_revision(row.revision)}"
    if row.ended_at is not None:
        return words
    if is_latest:
        return f"{words}; its end is not recorded yet"
    return f"{words}; it never ended: the process died, or another turn took over"


def _ended(row: TurnAttempt, times: int) -> str:
    attempt, outcome = f"attempt {row.attempt}", TurnOutcome(row.outcome or "")
    match outcome:
        case TurnOutcome.BLOCKED:
            again = f", {_times(times)} in all" if times > 1 else ""
            return f"{attempt} blocked, not counted{again}: {row.detail}"
        case TurnOutcome.RETRY:
            return f"{attempt} failed, will be retried: {row.detail}"
        case TurnOutcome.STOPPED:
            return f"{attempt} stopped with the service; the next start continues from here"
        case TurnOutcome.ANSWERED | TurnOutcome.SILENT | TurnOutcome.FAILED:
            return f"{attempt}: {outcome}"


def _steps(tx: Tx, message_id: str) -> Iterator[Stage]:
    for row in timeline.steps(tx, message_id):
        content = json.loads(row.content)
        who, words = _model(content) if row.kind == "model" else _tool(content)
        detail = f"{who}, {row.duration_ms:,.1f} ms{_revision(row.revision)}: {words}"
        yield Stage(row.created_at, row.kind, detail)


def _model(content: dict[str, Any]) -> tuple[str, str]:
    calls = [_call(call) for call in json_access.mappings(content, "tool_calls")]
    text = json_access.text(content, "text") or ""
    said = [f"asks for {' and '.join(calls)}"] if calls else []
    if text:
        said.append(f"says {len(text):,} characters")
    tokens = _tokens(json_access.mapping(content, "usage"))
    who = json_access.text(content, "model") or "the model"
    if json_access.flag(content, "is_fallback"):
        who = f"{who} (the fallback)"
    return who, f"{', '.join(said)} ({tokens})"


def _tokens(usage: dict[str, Any]) -> str:
    """What the answer cost, over all the calls that it took."""
    count = {key: json_access.integer(usage, key) or 0 for key in usage}
    parts = [
        f"{count.get('prompt_tokens', 0):,} tokens read",
        f"{count.get('completion_tokens', 0):,} written",
    ]
    if count.get("reasoning_tokens"):
        parts.append(f"{count['reasoning_tokens']:,} of them thinking")
    if count.get("calls", 1) > 1:
        parts.append(f"{count['calls']} calls")
    return ", ".join(parts)


def _call(call: dict[str, Any]) -> str:
    name = json_access.text(call, "name") or "?"
    text = json_access.text(call, "arguments") or ""
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return f"{name}({text})"
    if not isinstance(arguments, dict):
        return f"{name}({text})"
    return f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})"


def _tool(content: dict[str, Any]) -> tuple[str, str]:
    name = json_access.text(content, "name") or "?"
    result = json.loads(json_access.text(content, "result") or "{}")
    if not json_access.flag(result, "ok"):
        return name, f"refused: {json_access.text(result, 'error') or 'no reason given'}"
    is_repeated = "repeated" in result
    return name, "the same call as before: nothing was done again" if is_repeated else "done"


def _transfers(tx: Tx, message_id: str) -> Iterator[Stage]:
    for row in timeline.transfers(tx, message_id):
        amount = format_amount(row.amount_minor, currency_of(row.currency))
        words = f"{reference_of(row.id)}: {amount} {row.currency}"
        if row.phase in ENDS:
            yield Stage(
                row.created_at, "ledger", f"{words}, {ENDS[Phase(row.phase)]} {_target(row)}"
            )
            continue
        if row.target_id is not None:
            words += f", reversing {_target(row)}"
        elif row.payee:
            words += f" to {row.payee}"
        yield Stage(row.created_at, "ledger", f"{words}, {_standing(row)}")


def _target(row: LedgerRow) -> str:
    return reference_of(row.target_id or 0)


def _confirmation(tx: Tx, message_id: str) -> Iterator[Stage]:
    for kind, (what, outcomes) in PROMPTS.items():
        asked = prompts.of_message(tx, message_id, kind)
        if asked is None:
            continue
        until = f"until {asked['expires_at'][:19]}Z"
        yield Stage(asked["asked_at"], "asked", f"the customer {what}, {until}")
        if asked["outcome"] is not None:
            by = f" by message {asked['ended_by']}" if asked["ended_by"] else ""
            reported = (
                f"; reported with the reply to {asked['told_by']}" if asked["told_by"] else ""
            )
            words = outcomes[PromptOutcome(asked["outcome"])]
            yield Stage(asked["ended_at"], "asked_ended", f"{words}{by}{reported}")


def _standing(row: LedgerRow) -> str:
    if row.state is TransferState.REFUSED:
        return f"refused ({str(row.refusal).replace('_', ' ')})"
    if row.state is TransferState.REVERSED:
        return f"posted, and reversed since by {reference_of(row.reversal_id or 0)}"
    return str(row.state)


def _outside_calls(tx: Tx, message_id: str) -> Iterator[Stage]:
    for call in timeline.outside_calls(tx, message_id):
        yield Stage(call.opened_at, "call_opened", f"{call.tool}, key {call.key}")
        if call.closed_at is not None:
            words = f"{call.tool}: {call.state}, after {call.attempts} attempts"
            yield Stage(call.closed_at, "call_closed", words)


def _stored(replies: list[timeline.Reply]) -> Iterator[Stage]:
    for row in replies:
        part = _part(row.part, len(replies))
        yield Stage(row.created_at, "reply_stored", f"{part}{len(_text(row)):,} characters")


def _sends(tx: Tx, message_id: str, parts: int) -> Iterator[Stage]:
    for row in timeline.attempts(tx, message_id):
        words = f"{_part(row.part, parts)}attempt {row.number}"
        yield Stage(row.opened_at, "send_began", words)
        if row.closed_at is not None:
            yield Stage(row.closed_at, "send_ended", f"{words}: {_send_outcome(row)}")
    for status in timeline.statuses(tx, message_id):
        words = f"{_part(status.part, parts)}{status.status}"
        at = "" if status.occurred_at is None else f" at {_clock(status.occurred_at)}"
        failure = f": {status.errors}" if status.errors else ""
        yield Stage(status.received_at, "status", f"{words}, WhatsApp reports{at}{failure}")


def _send_outcome(row: SendAttempt) -> str:
    words = SEND_OUTCOMES[SendOutcome(row.outcome or "")]
    code = "" if row.code is None else f" with code {row.code}"
    detail = f" ({row.detail})" if row.detail else ""
    wamid = f" as {row.wamid}" if row.wamid else ""
    return f"{words}{wamid}{code}{detail}"


def _failures(tx: Tx, message_id: str) -> Iterator[Stage]:
    for row in errors.of_message(tx, message_id):
        again = f", after {row.retry_count + 1} tries" if row.retry_count else ""
        since = ", retried since" if row.state == "retried" else ""
        words = f"failure {row.id}{again}{since}: {row.error_message}"
        yield Stage(row.created_at, "error", words)


def _silence(message: Message) -> Iterator[Stage]:
    if message.state == MessageState.SILENT:
        reason = str(message.reason)
        words = SILENCES.get(reason, reason.replace("_", " "))
        yield Stage(message.ended_at or message.received_at, "silent", f"no reply: {words}")


def _text(row: timeline.Reply) -> str:
    return decoded(row.payload).body


def _revision(revision: int) -> str:
    return "" if revision == 0 else f" of revision {revision}"


def _part(part: int, parts: int) -> str:
    return "" if parts == 1 else f"part {part + 1}: "


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _seconds(earlier: str, later: str) -> str:
    return f"{max(0.0, (from_text(later) - from_text(earlier)).total_seconds()):,.2f} s"


def _clock(at: str) -> str:
    return f"{at[11:19]} UTC by its clock"


def _instant(at: str) -> str:
    return f"{at[:19].replace('T', ' ')} UTC"
