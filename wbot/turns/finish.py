"""How a message ends: reply, error text or silence, and the record of it, in one transaction."""

import json
from collections.abc import Sequence

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain import triage
from wbot.domain.content import content_of, context_of
from wbot.domain.delivery import split_text
from wbot.domain.foreign import is_foreign, words_for_model
from wbot.domain.leading_symbols import symbols_moved
from wbot.domain.message_age import WINDOW_S, stale_prompt
from wbot.domain.messages import ButtonReply
from wbot.domain.money_claims import NO_MONEY_MOVED, repeats_amount
from wbot.domain.outgoing import Outgoing, Prompt, Text
from wbot.domain.prompts import PromptKind, decision_of_button, decisions_of
from wbot.domain.receipts import our_lines, reply_text
from wbot.domain.states import MessageState, OutsideCallState, TurnOutcome
from wbot.domain.triage import handling_of
from wbot.payments import consent
from wbot.storage import (
    businesses,
    errors,
    journal,
    messages,
    outbox,
    outside_calls,
    prompts,
    undelivered,
)
from wbot.storage.journal import Claim
from wbot.storage.messages import StoredMessage
from wbot.storage.tx import Tx
from wbot.turns.markdown import as_whatsapp_shows

ASKED_ABOUT = "asked_about"
"""Why a stale message is silent: the question put for another one speaks of it too."""

ERROR_TEXT = (
    "Sorry, something went wrong on our side with your last message. Please try again later."
)
"""What the customer reads when a turn fails for good, unless the business words it."""


MISSED = "These messages did not reach you earlier:"
INCOMPLETE = "Your request could not be completed."
"""What the customer reads where nobody can say whether a call to another system acted."""

NOT_OWN = "(something that you passed on)"
"""In place of a card or forwarded words, where a customer's stale messages are repeated."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn came to; `reason` of a silence or a failure."""

    state: MessageState
    receipts: tuple[str, ...] = ()
    words: str = ""
    is_by_model: bool = False
    """Whether the words are the model's."""
    reason: str | None = None
    prompt: Prompt | None = None
    """The reply itself, where it is a question of code's about the message."""
    asks_before: str | None = None
    """Written before this instant, the message and all that wait with it are only asked about."""


class Closed(msgspec.Struct, frozen=True):
    """What closing did: whether there is anything to send, and which others ended in silence."""

    has_reply: bool
    also_ended: tuple[str, ...]


def close(tx: Tx, message: StoredMessage, claim: Claim, *, ending: Ending, now: str) -> Closed:
    """Store the reply and end the message; what it left pending is asked about instead.

    Raises StaleClaimError if another turn has taken the conversation.
    """
    journal.guard(tx, message.conversation_id, claim.epoch)
    also_ended: list[str] = []
    if ending.asks_before is not None:
        asked, also_ended = _ask(tx, message, before=ending.asks_before, now=now)
        parts: list[Outgoing] = [asked]
    elif ending.state is MessageState.SILENT:
        parts = []
    else:
        parts = _parts(tx, message, ending, now)
    for part, content in enumerate(parts):
        outbox.add(tx, _reply(message, claim.revision, part=part, content=content, now=now))
    messages.finish(tx, message.message_id, state=ending.state, reason=ending.reason, now=now)
    outcome = TurnOutcome(ending.state)
    journal.end(tx, message.message_id, claim.epoch, outcome=outcome, detail=None, now=now)
    return Closed(has_reply=bool(parts), also_ended=tuple(also_ended))


def _parts(tx: Tx, message: StoredMessage, ending: Ending, now: str) -> list[Outgoing]:
    if ending.prompt is not None:
        return [ending.prompt]
    business = businesses.required(tx, message.business_id)
    told = [*_undelivered(tx, message, now), *consent.expiry_lines(tx, message, business)]
    receipts = unique([*told, *ending.receipts])
    asked = consent.question(tx, message, business, receipts=receipts, now=now)
    if asked is not None:
        return [asked]
    words = ending.words
    if ending.is_by_model:
        prompts.note_model_spoke(tx, message.conversation_id)
        words = _with_denial(tx, message, as_whatsapp_shows(words))
    text = symbols_moved(reply_text(receipts, words))
    # After the cut again: what stood behind a word may begin a part.
    parts = [part for cut in split_text(text) for part in split_text(symbols_moved(cut))]
    return [Text(part) for part in parts if part]


def _with_denial(tx: Tx, message: StoredMessage, words: str) -> str:
    """The model's words; behind them that nothing was moved, where they could read as if it was."""
    raw = json.loads(message.content or "{}")
    asked = words_for_model(content_of(raw), context_of(raw)) or ""
    if not repeats_amount(asked, words) or journal.effects(tx, message.message_id):
        return words
    return f"{words.rstrip()}\n\n{NO_MONEY_MOVED}"


def _undelivered(tx: Tx, message: StoredMessage, now: str) -> list[str]:
    """Lines about what failed to reach the customer; a question still open is sent once more.

    Of a reply only the ledger's lines are repeated: the model's words were for another moment.
    """
    lines: list[str] = []
    for outbox_id, said in undelivered.untold(tx, message.conversation_id):
        if isinstance(said, Prompt) and _is_open(tx, said):
            undelivered.send_again(tx, outbox_id, now)
            continue
        undelivered.mark_told(tx, outbox_id, now)
        lines += our_lines(said.body).splitlines()
    return [MISSED, *lines] if lines else []


def _is_open(tx: Tx, said: Prompt) -> bool:
    asked = (prompts.by_token(tx, decision.token) for decision in decisions_of(said))
    return any(row is not None and row.outcome is None for row in asked)


def _ask(tx: Tx, message: StoredMessage, *, before: str, now: str) -> tuple[Prompt, list[str]]:
    """Put one question for the whole run of stale messages, and end those that wait with it."""
    run = {message.message_id: _words(message.content)}
    since = to_text(later(from_text(now), -WINDOW_S))
    for row in messages.waiting_stale(tx, message.conversation_id, since=since, before=before):
        words = _words(row.content)
        if words is not None and not journal.moved_money(tx, row.message_id):
            run[row.message_id] = words
            messages.finish(
                tx, row.message_id, state=MessageState.SILENT, reason=ASKED_ABOUT, now=now
            )
    asked = prompts.ask(
        tx,
        PromptKind.STALE,
        conversation_id=message.conversation_id,
        message_id=message.message_id,
        now=now,
    )
    prompts.note_asked_about(tx, asked.id, list(run))
    question = stale_prompt(asked.token, [words for words in run.values() if words])
    return question, [message_id for message_id in run if message_id != message.message_id]


def _words(text: str | None) -> str | None:
    raw = json.loads(text or "{}")
    content = content_of(raw)
    decision = decision_of_button(content.id) if isinstance(content, ButtonReply) else None
    if (
        decision is not None and decision.kind is PromptKind.CONFIRM
    ):  # counts by when it was received
        return None
    said = handling_of(content, raw.get("group_id"))
    if not isinstance(said, triage.Answer):
        return None
    # Later prompts repeat the question: another person's words are only named in it.
    return NOT_OWN if is_foreign(content, context_of(raw)) else said.text


def fail(
    tx: Tx,
    message: StoredMessage,
    claim: Claim,
    *,
    error: str,
    error_text: str | None,
    now: str,
) -> None:
    """End the message as a processing error; the customer is told, or sees what was done.

    After an effect the receipts stand alone: the error text could read as if nothing had happened.
    """
    receipts = receipts_of(tx, message.message_id, claim.revision)
    words = "" if receipts else error_text or ERROR_TEXT
    for call in outside_calls.open_calls(tx, message.message_id):
        outside_calls.close_call(tx, call.key, OutsideCallState.UNKNOWN, now)
        words = INCOMPLETE
        error += f" It is unknown whether {call.tool} has acted; its key is {call.key}."
    ending = Ending(state=MessageState.FAILED, receipts=receipts, words=words, reason=error)
    close(tx, message, claim, ending=ending, now=now)
    errors.add(
        tx,
        error,
        now=now,
        business_id=message.business_id,
        conversation_id=message.conversation_id,
        message_id=message.message_id,
        retry_count=claim.attempt - 1,
    )


def receipts_of(tx: Tx, message_id: str, revision: int) -> tuple[str, ...]:
    """What the message did to money in any revision, then what this revision read."""
    done = [effect.receipt for effect in journal.effects(tx, message_id)]
    return unique([*done, *receipts_read(tx, message_id, revision)])


def receipts_read(tx: Tx, message_id: str, revision: int) -> tuple[str, ...]:
    """The lines of what this revision of the message only read."""
    done = {effect.receipt for effect in journal.effects(tx, message_id)}
    lines = [
        msgspec.json.decode(step.content).get("receipt")
        for step in journal.steps(tx, message_id, revision)
        if step.kind == "tool"
    ]
    return unique([line for line in lines if line not in done])


def unique(receipts: Sequence[str | None]) -> tuple[str, ...]:
    """The receipts that are there, each once, in order."""
    return tuple(dict.fromkeys(receipt for receipt in receipts if receipt))


def _reply(
    message: StoredMessage, revision: int, *, part: int, content: Outgoing, now: str
) -> outbox.NewReply:
    return outbox.NewReply(
        business_id=message.business_id,
        conversation_id=message.conversation_id,
        cause=f"message:{message.message_id}:{revision}",
        part=part,
        message_id=message.message_id,
        reply_phone=message.reply_phone,
        reply_user_id=message.reply_user_id,
        content=content,
        created_at=now,
    )
