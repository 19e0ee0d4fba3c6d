"""Which question of ours a message answers, and what its yes or no does: never the model's."""

import json

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain.business import Business
from wbot.domain.content import content_of, context_of
from wbot.domain.message_age import WINDOW_S
from wbot.domain.messages import ButtonReply, Context, Text
from wbot.domain.outgoing import Prompt
from wbot.domain.prompts import (
    Decision,
    PromptKind,
    decision_of_button,
    decisions_of,
    plain_answer,
)
from wbot.domain.states import PromptOutcome
from wbot.payments import consent
from wbot.storage import outbox, prompts
from wbot.storage.messages import StoredMessage
from wbot.storage.tx import Row, Tx

NOT_ASKED = "That button is not about anything I asked you, so nothing was done."
NOT_FRESH = (
    "I cannot tell that you answered just now, so nothing was done. "
    "If you still mean it, please answer again."
)
WHICH = (
    "I have asked you more than one thing, so nothing was done. "
    "Please tap the button under the one you mean."
)
TOO_LATE = "That came too late to count; a message of yours from before still waits for its turn."
SETTLED = "That is already settled."
LEFT = "All right, I will leave it."
CONFIRMATION_ENDED: dict[str, str] = {
    PromptOutcome.YES: "You have confirmed that already; nothing was sent again.",
    PromptOutcome.NO: "That was cancelled already, so nothing was sent.",
    PromptOutcome.EXPIRED: "That was not confirmed in time, so nothing was sent. Please ask again.",
}


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer came to: lines of the ledger, or words; whose outboxes have something new."""

    receipts: tuple[str, ...] = ()
    words: str = ""
    notify_conversation_ids: tuple[int, ...] = ()
    takes_up_stale: bool = False
    """Whether the stale messages that it requeues are its answer."""


def decisions_in(tx: Tx, message: StoredMessage) -> tuple[Decision, ...]:
    """The answers to questions of ours that a message can be; none for all others.

    A button names its question, and a plain yes or no that quotes one answers that one alone. Else
    it answers the open question, whatever else code has sent since; with several open, nobody can
    say which one. Once the model has spoken it may be meant for the model, which reads it then, and
    forwarded words are somebody else's.
    """
    raw = json.loads(message.content or "{}")
    match content_of(raw):
        case ButtonReply(id=button_id):
            decision = decision_of_button(button_id)
            return () if decision is None else (decision,)
        case Text(body=body) if (is_yes := plain_answer(body)) is not None:
            context = context_of(raw) or Context()
            if context.is_forwarded or context.is_frequently_forwarded:
                return ()
            if context.message_id is not None:
                return _decisions_quoting(tx, message, context.message_id, is_yes=is_yes)
            return _decisions_meant(tx, message, is_yes=is_yes)
        case _:
            return ()


def _decisions_quoting(
    tx: Tx, message: StoredMessage, quoted: str, *, is_yes: bool
) -> tuple[Decision, ...]:
    said = outbox.sent_as(tx, message.conversation_id, quoted)
    offered = decisions_of(said) if isinstance(said, Prompt) else ()
    return tuple(decision for decision in offered if decision.is_yes is is_yes)


def _decisions_meant(tx: Tx, message: StoredMessage, *, is_yes: bool) -> tuple[Decision, ...]:
    since = to_text(later(from_text(message.received_at), -WINDOW_S))
    found = prompts.answerable(tx, message, since=since)
    return tuple(Decision(kind, token, is_yes) for kind, token in found)


def settle(
    tx: Tx, message: StoredMessage, decision: Decision, *, business: Business, now: str
) -> Settled:
    """Do what the answer says, once, if it came in time; what it came to."""
    asked = prompts.by_token(tx, decision.token)
    is_own = asked is not None and asked["conversation_id"] == message.conversation_id
    if asked is None or not is_own or asked["kind"] != decision.kind:
        return Settled(words=NOT_ASKED)
    match decision.kind:
        case PromptKind.CONFIRM:
            return _confirm(tx, message, asked, is_yes=decision.is_yes, business=business, now=now)
        case PromptKind.STALE:
            return _take_up(tx, message, asked, is_yes=decision.is_yes, now=now)


def _confirm(
    tx: Tx, message: StoredMessage, asked: Row, *, is_yes: bool, business: Business, now: str
) -> Settled:
    if asked["outcome"] is not None:
        return Settled(words=CONFIRMATION_ENDED[asked["outcome"]])
    if message.received_at > asked["expires_at"]:
        if prompts.may_be_answered(tx, asked["id"]):
            return Settled(words=TOO_LATE)
        consent.expire(tx, asked, now)
        return Settled(words=CONFIRMATION_ENDED[PromptOutcome.EXPIRED])
    done = consent.decide(tx, message, asked, is_yes=is_yes, business=business, now=now)
    return Settled(receipts=done.receipts, notify_conversation_ids=done.notify_conversation_ids)


def _take_up(tx: Tx, message: StoredMessage, asked: Row, *, is_yes: bool, now: str) -> Settled:
    if asked["outcome"] is None:
        outcome = PromptOutcome.YES if is_yes else PromptOutcome.NO
        prompts.end(tx, asked["id"], outcome=outcome, by=message.message_id, now=now)
        if is_yes:
            prompts.approve_stale(tx, asked["id"], now)
    elif asked["ended_by"] != message.message_id:
        return Settled(words=SETTLED)
    return Settled(takes_up_stale=True) if is_yes else Settled(words=LEFT)
