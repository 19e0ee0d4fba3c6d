"""Which question of ours a message answers, and what its yes or no does: never the model's."""

import json
from collections.abc import Sequence

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain.business import Business
from wbot.domain.confirmations import line_of, which_body
from wbot.domain.content import content_of, context_of
from wbot.domain.foreign import ForeignWords, is_foreign_label
from wbot.domain.ledger import reference_of
from wbot.domain.message_age import WINDOW_S
from wbot.domain.messages import ButtonReply, Context, Text
from wbot.domain.money import format_money
from wbot.domain.outgoing import Button, Prompt
from wbot.domain.prompts import (
    Decision,
    PromptKind,
    button,
    decision_of_button,
    decisions_of,
    is_stop,
    plain_answer,
)
from wbot.domain.states import PromptOutcome
from wbot.payments import cancellations, consent
from wbot.payments.cancellations import Cancellation
from wbot.payments.context import PaymentContext
from wbot.payments.quotations import quoted_in
from wbot.storage import businesses, customers, journal, messages, outbox_queries, prompts
from wbot.storage.messages import StoredMessage
from wbot.storage.prompts import StoredPrompt
from wbot.storage.tx import Tx

BUTTONS_MAX, TITLE_LENGTH_MAX = 3, 20
"""Buttons of one message, and characters of a title (cloud-api.md 4.2)."""

NOT_ASKED = "That button is not about anything I asked you, so nothing was done."
NOT_FRESH = (
    "I cannot tell that you answered just now, so nothing was done. "
    "If you still mean it, please answer again."
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
    said = outbox_queries.sent_as(tx, message.conversation_id, quoted)
    if said is None or not isinstance(said.content, Prompt):
        return ()
    offered = decisions_of(said.content)
    return tuple(decision for decision in offered if decision.is_yes is is_yes)


def _decisions_meant(tx: Tx, message: StoredMessage, *, is_yes: bool) -> tuple[Decision, ...]:
    since = to_text(later(from_text(message.received_at), -WINDOW_S))
    found = prompts.answerable(tx, message, since=since)
    return tuple(Decision(kind, token, is_yes) for kind, token in found)


def stop_in(tx: Tx, message: StoredMessage, now: str) -> bool:
    """Whether the message is a stop word while there is something that it can stop."""
    raw = json.loads(message.content or "{}")
    content, context = content_of(raw), context_of(raw) or Context()
    if not isinstance(content, Text) or not is_stop(content.body):
        return False
    if context.is_forwarded or context.is_frequently_forwarded:
        return False
    acting = _acting(tx, message, businesses.required(tx, message.business_id), now)
    return cancellations.may_stop(tx, acting)


def stop(tx: Tx, message: StoredMessage, *, business: Business, now: str) -> Settled:
    """Void what waits for a yes, and ask whether the latest transfer is to be taken back."""
    acting = _acting(tx, message, business, now)
    voided = cancellations.stop(tx, acting)
    made = cancellations.latest_made(tx, acting)
    refusal = None if made is None else cancellations.refusal_of(made, acting)
    receipts = [cancellations.receipt_of(voided, business)] if voided.entries else []
    if voided.entries:
        _keep(tx, message, "stop", voided, line=receipts[0], now=now)
    if made is not None and refusal is None:
        window_s = business.policy.cancel_window_s
        prompts.ask(
            tx,
            PromptKind.CANCEL,
            conversation_id=message.conversation_id,
            message_id=message.message_id,
            transfer_id=made.transfer_id,
            now=now,
            expires_at=to_text(later(from_text(made.made_at), window_s)),
        )
    elif refusal is not None and not voided.entries:
        receipts.append(cancellations.receipt_of(Cancellation(refusal=refusal), business))
    return Settled(receipts=tuple(receipts))


def which(
    tx: Tx,
    message: StoredMessage,
    decisions: Sequence[Decision],
    *,
    business: Business,
    now: str,
) -> Prompt:
    """The question which of several open ones is meant, with the buttons of the latest ones.

    It has no row of its own: each of its buttons answers the question that it belongs to.
    """
    lines: list[str] = []
    buttons: list[Button] = []
    for number, decision in enumerate(decisions[-BUTTONS_MAX:], start=1):
        asked = prompts.by_token(tx, decision.token)
        if asked is None:
            continue
        about, shown = _described(tx, asked, business, now)
        consent.note_labels(tx, asked, message.message_id)
        lines += shown
        buttons.append(button(decision, f"{number}. {about}"[:TITLE_LENGTH_MAX]))
    return Prompt(which_body(lines, is_yes=decisions[0].is_yes), tuple(buttons))


def _described(tx: Tx, asked: StoredPrompt, business: Business, now: str) -> tuple[str, list[str]]:
    """What a question is about: a button's title, and lines that say more."""
    match PromptKind(asked.kind):
        case PromptKind.CONFIRM:
            held = consent.held_of(tx, asked, business, now)
            total = format_money(sum(one.amount_minor for one in held), business.currency)
            names = " ".join(reference_of(one.transfer_id) for one in held)
            return f"{names} {total}", [line_of(one, business.currency) for one in held]
        case PromptKind.CANCEL:
            name = reference_of(asked.transfer_id or 0)
            return f"Take {name} back", [f"• Taking {name} back"]
        case PromptKind.STALE:
            return "Older messages", ["• The messages that I could not answer in time"]


def settle(
    tx: Tx, message: StoredMessage, *, decision: Decision, business: Business, now: str
) -> Settled:
    """Do what the answer says, once, if it came in time; what it came to."""
    asked = prompts.by_token(tx, decision.token)
    is_own = asked is not None and asked.conversation_id == message.conversation_id
    if asked is None or not is_own or asked.kind != decision.kind:
        return Settled(words=NOT_ASKED)
    match decision.kind:
        case PromptKind.CONFIRM:
            return _confirm(tx, message, asked, is_yes=decision.is_yes, business=business, now=now)
        case PromptKind.STALE:
            return _take_up(tx, message, asked, is_yes=decision.is_yes, now=now)
        case PromptKind.CANCEL:
            acting = _acting(tx, message, business, now)
            return _take_back(tx, message, asked, acting, is_yes=decision.is_yes)


def _confirm(
    tx: Tx,
    message: StoredMessage,
    asked: StoredPrompt,
    *,
    is_yes: bool,
    business: Business,
    now: str,
) -> Settled:
    if asked.outcome is not None:
        return Settled(words=CONFIRMATION_ENDED[PromptOutcome(asked.outcome)])
    if message.received_at > (asked.expires_at or ""):
        if prompts.may_be_answered(tx, asked.id):
            return Settled(words=TOO_LATE)
        consent.expire(tx, asked, now)
        return Settled(words=CONFIRMATION_ENDED[PromptOutcome.EXPIRED])
    done = consent.decide(tx, message, asked, is_yes=is_yes, business=business, now=now)
    return Settled(receipts=done.receipts, notify_conversation_ids=done.notify_conversation_ids)


def _take_up(
    tx: Tx, message: StoredMessage, asked: StoredPrompt, *, is_yes: bool, now: str
) -> Settled:
    if asked.outcome is None:
        outcome = PromptOutcome.YES if is_yes else PromptOutcome.NO
        prompts.end(tx, asked.id, outcome=outcome, by=message.message_id, now=now)
        if is_yes:
            prompts.approve_stale(tx, asked.id, now)
    elif asked.ended_by != message.message_id:
        return Settled(words=SETTLED)
    return Settled(takes_up_stale=True) if is_yes else Settled(words=LEFT)


def _take_back(
    tx: Tx, message: StoredMessage, asked: StoredPrompt, acting: PaymentContext, *, is_yes: bool
) -> Settled:
    if asked.outcome is not None:
        is_own_no = asked.ended_by == message.message_id and not is_yes
        return Settled(words=LEFT if is_own_no else SETTLED)
    outcome = PromptOutcome.YES if is_yes else PromptOutcome.NO
    prompts.end(tx, asked.id, outcome=outcome, by=message.message_id, now=acting.now)
    if not is_yes:
        return Settled(words=LEFT)
    # The question names the transfer, whatever the answer to it quotes.
    acting = msgspec.structs.replace(acting, quotation=None)
    done = cancellations.cancel(tx, acting, reference_of(asked.transfer_id or 0))
    line = cancellations.receipt_of(done, acting.business)
    if done.transfer_id is not None:
        _keep(tx, message, "take_back", done, line=line, now=acting.now)
    return Settled(receipts=(line,))


def _acting(tx: Tx, message: StoredMessage, business: Business, now: str) -> PaymentContext:
    return PaymentContext(
        business=business,
        customer_id=customers.required_of(tx, message.conversation_id),
        message_id=message.message_id,
        now=now,
        quotation=quoted_in(tx, message),
    )


def _keep(
    tx: Tx, message: StoredMessage, tool: str, done: Cancellation, *, line: str, now: str
) -> None:
    effect = journal.Effect(
        tool=tool, arguments="", result="{}", receipt=line, transfer_id=done.transfer_id
    )
    journal.add_effect(tx, message.message_id, effect, now)
    if any(is_foreign_label(entry) for entry in done.entries):
        messages.note_foreign(tx, message.message_id, ForeignWords.READ)
