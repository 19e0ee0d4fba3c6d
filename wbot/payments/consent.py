"""What is pending until the customer's own yes: asked about, posted, released or expired."""

import json
from collections.abc import Sequence

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain import own_words
from wbot.domain.business import Business, Switch
from wbot.domain.confirmations import PendingTransfer, confirmation_body, take_back_body
from wbot.domain.content import content_of, context_of
from wbot.domain.foreign import ForeignWords, is_foreign_label
from wbot.domain.ledger import (
    Cause,
    CauseKind,
    Phase,
    TransferKind,
    TransferState,
    reference_of,
)
from wbot.domain.outgoing import Prompt
from wbot.domain.payees import Payee, phone_digits
from wbot.domain.policy import Refusal, sentence_of
from wbot.domain.prompts import PromptKind, prompt
from wbot.domain.receipts import ReceiptFormatter
from wbot.domain.states import PromptOutcome
from wbot.payments import notifications, recipients, repetition, unknown_numbers
from wbot.storage import (
    accounts,
    customers,
    journal,
    ledger,
    ledger_history,
    messages,
    payees,
    prompts,
)
from wbot.storage.ledger import Pending, StoredTransfer
from wbot.storage.messages import StoredMessage
from wbot.storage.prompts import StoredPrompt
from wbot.storage.tx import Tx

EXPIRY_GRACE_S = 2.0
"""Seconds a webhook may take from its arrival to its commit: a yes of the last moment counts."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What a yes or no did: lines of the ledger, and whose outboxes have something new."""

    receipts: tuple[str, ...] = ()
    notify_conversation_ids: tuple[int, ...] = ()


def question(
    tx: Tx,
    message: StoredMessage,
    business: Business,
    *,
    receipts: Sequence[str],
    now: str,
) -> Prompt | None:
    """Ask about what the message left pending; None if nothing is."""
    open_ = ledger.open_of_message(tx, message.message_id)
    if not open_:
        return _take_back_prompt(tx, message, business, receipts)
    ttl_s = business.policy.hold_ttl_s
    asked = prompts.ask(
        tx,
        PromptKind.CONFIRM,
        conversation_id=message.conversation_id,
        message_id=message.message_id,
        now=now,
        expires_at=to_text(later(from_text(now), ttl_s)),
    )
    held = [_held(tx, row, business, now) for row in open_]
    # Where there is no room for all, what was done goes before what was only read.
    done = {effect.receipt for effect in journal.effects(tx, message.message_id)}
    receipts = sorted(receipts, key=lambda line: line not in done)
    body = confirmation_body(
        held,
        business.currency,
        ttl_s=ttl_s,
        receipts=receipts,
        is_typed=_is_typed(message, held, business),
    )
    return prompt(PromptKind.CONFIRM, asked.token, body, yes="Confirm", no="Cancel")


def _is_typed(message: StoredMessage, held: Sequence[PendingTransfer], business: Business) -> bool:
    raw = json.loads(message.content or "{}")
    words = own_words.typed_in(content_of(raw), context_of(raw))
    return business.policy.own_words is Switch.OFF or all(
        own_words.has_amount(words, one.amount_minor, business.currency)
        and (one.is_payee_known or _is_payee_typed(words, one.payee))
        for one in held
    )


def _is_payee_typed(words: str, payee: Payee) -> bool:
    names = (payee.name, payee.number)
    return any(own_words.has_payee(words, name) for name in names if name is not None)


def _take_back_prompt(
    tx: Tx, message: StoredMessage, business: Business, receipts: Sequence[str]
) -> Prompt | None:
    asked = prompts.of_message(tx, message.message_id, PromptKind.CANCEL)
    if asked is None or asked.outcome is not None:
        return None
    row = ledger.required(tx, asked.transfer_id or 0)
    payee = recipients.payee_of(tx, business, row.id)
    sent = _lines(tx, row, business).sent(row.id, row.amount_minor, payee)
    body = take_back_body(sent, receipts)
    return prompt(PromptKind.CANCEL, asked.token, body, yes="Yes, take it back", no="No")


def held_of(tx: Tx, asked: StoredPrompt, business: Business, now: str) -> list[PendingTransfer]:
    """The pending transfers that a confirmation is about."""
    return [_held(tx, row, business, now) for row in ledger.open_of_message(tx, asked.message_id)]


def note_labels(tx: Tx, asked: StoredPrompt, message_id: str) -> None:
    """Record that the reply to this message names the payees that a question is about."""
    for row in ledger.open_of_message(tx, asked.message_id):
        _note_label(tx, row, message_id)


def decide(
    tx: Tx,
    message: StoredMessage,
    asked: StoredPrompt,
    *,
    is_yes: bool,
    business: Business,
    now: str,
) -> Decided:
    """Post or release what an open question is about."""
    outcome = PromptOutcome.YES if is_yes else PromptOutcome.NO
    prompts.end(tx, asked.id, outcome=outcome, by=message.message_id, now=now)
    end = _post if is_yes else _decline
    ends = [
        end(tx, row, message.message_id, business=business, now=now)
        for row in ledger.open_of_message(tx, asked.message_id)
    ]
    return Decided(
        receipts=tuple(receipt for receipt, _ in ends),
        notify_conversation_ids=tuple(notify for _, notify in ends if notify is not None),
    )


def expire(tx: Tx, asked: StoredPrompt, now: str) -> None:
    """End a question whose time has run out, and release what it holds."""
    for row in ledger.open_of_message(tx, asked.message_id):
        cause = Cause(CauseKind.EXPIRY, reference_of(row.id))
        ledger.resolve(tx, row.id, Phase.EXPIRE, cause=cause, now=now)
    prompts.end(tx, asked.id, outcome=PromptOutcome.EXPIRED, by=None, now=now)


def expire_due(tx: Tx, now: str) -> int:
    """Let every hold expire whose time is over; how many questions that ended."""
    before = to_text(later(from_text(now), -EXPIRY_GRACE_S))
    due = prompts.due(tx, before)
    for asked in due:
        expire(tx, asked, now)
    return len(due)


def void_all(tx: Tx, why: str, now: str) -> int:
    """Void every hold, and close its question; how many there were."""
    open_ = ledger.open_everywhere(tx)
    for transfer_id in open_:
        cause = Cause(CauseKind.OPERATOR, f"{why}/{reference_of(transfer_id)}")
        ledger.resolve(tx, transfer_id, Phase.VOID, cause=cause, now=now)
        close_if_voided(tx, transfer_id, by=None, now=now)
    return len(open_)


def close_if_voided(tx: Tx, transfer_id: int, *, by: str | None, now: str) -> None:
    """End the question about a transfer that was cancelled otherwise, if it was the last of it."""
    asker = journal.message_of_transfer(tx, transfer_id)
    if asker is None or ledger.open_of_message(tx, asker):
        return
    asked = prompts.of_message(tx, asker, PromptKind.CONFIRM)
    if asked is not None:
        prompts.end(tx, asked.id, outcome=PromptOutcome.NO, by=by, now=now)


def expiry_lines(tx: Tx, message: StoredMessage, business: Business) -> list[str]:
    """Lines about the holds that expired since the last reply; they go out with this one."""
    lines = []
    for asked in prompts.expired_untold(tx, message.conversation_id):
        prompts.mark_told(tx, asked.id, message.message_id)
        for row in ledger.pending_of_message(tx, asked.message_id):
            if row.resolution == Phase.EXPIRE:
                facts = (row.id, row.amount_minor, row.payee)
                lines.append(_lines(tx, row, business).not_confirmed(*facts))
                _note_label(tx, row, message.message_id)
    return lines


def current_lines(tx: Tx, message_id: str, business: Business) -> list[str]:
    """What a message did to money, as it stands now, for a later revision of the message."""
    return [
        line
        for effect in journal.effects(tx, message_id)
        if (line := _line_now(tx, effect, message_id, business)) is not None
    ]


def _line_now(tx: Tx, effect: journal.Effect, message_id: str, business: Business) -> str | None:
    found = None if effect.transfer_id is None else ledger.by_id(tx, effect.transfer_id)
    if found is None or found.kind != TransferKind.TRANSFER:
        return effect.receipt
    entry = ledger_history.entry(tx, found.debit_account_id, found.id)
    if entry is None or entry.state in {TransferState.REFUSED, TransferState.PENDING}:
        return effect.receipt  # one that still waits is asked about again instead
    if ledger_history.is_cancelled_by(tx, found.id, message_id):
        return effect.receipt  # the cancel has a line of its own
    lines = _lines(tx, found, business)
    facts = (entry.transfer_id, entry.amount_minor, entry.payee)
    if found.resolution == Phase.EXPIRE:
        return lines.not_confirmed(*facts)
    if entry.state is TransferState.POSTED:
        payee = recipients.payee_of(tx, business, entry.transfer_id)
        return lines.sent(entry.transfer_id, entry.amount_minor, payee)
    return lines.cancelled(*facts, was_posted=entry.state is TransferState.REVERSED)


def _post(
    tx: Tx, row: Pending, message_id: str, *, business: Business, now: str
) -> tuple[str, int | None]:
    if (refusal := _refusal_at_yes(tx, row, business, now)) is not None:
        return _turn_down(tx, row, message_id, refusal=refusal, business=business, now=now), None
    post_id = _resolve(tx, row, Phase.POST, f"{message_id}/confirm", now)
    payer_id = accounts.by_id(tx, row.debit_account_id).owner_id
    payees.learn(tx, payer_id, row.credit_account_id, now)
    notify = notifications.notify_payee(tx, business, row.id, now)
    payee = recipients.payee_of(tx, business, row.id)
    line = _lines(tx, row, business).sent(row.id, row.amount_minor, payee)
    _keep(tx, message_id, "confirm", row, end_id=post_id, line=line, now=now)
    return line, notify


def _refusal_at_yes(tx: Tx, row: Pending, business: Business, now: str) -> Refusal | None:
    """Why a number is not paid after all; only after a yes may a customer learn it."""
    to = accounts.by_id(tx, row.credit_account_id)
    payer_id = accounts.by_id(tx, row.debit_account_id).owner_id
    if to.kind == "payee" or payees.is_known_account(tx, payer_id, to.id):
        return None
    is_customer = to.kind == "customer"
    to_id = to.id if is_customer else None
    if not unknown_numbers.may_guess(tx, row.debit_account_id, to_id, now=now):
        return Refusal.TOO_MANY_UNKNOWN
    if is_customer:
        return None
    # The customer who has the number now is not the one the question was about.
    payee = recipients.payee_of(tx, business, row.id)
    digits = phone_digits(payee.number or payee.name)
    is_now = digits is not None and customers.find_by_phone(tx, business.id, digits) is not None
    return Refusal.CUSTOMER_SINCE if is_now else Refusal.UNKNOWN_CUSTOMER


def _turn_down(
    tx: Tx,
    row: Pending,
    message_id: str,
    *,
    refusal: Refusal,
    business: Business,
    now: str,
) -> str:
    void_id = _resolve(tx, row, Phase.VOID, f"{message_id}/{refusal}", now)
    sentence = sentence_of(refusal, business.policy, business.currency)
    line = _lines(tx, row, business).not_sent(row.amount_minor, row.payee, sentence)
    _keep(tx, message_id, "confirm", row, end_id=void_id, line=line, now=now)
    _note_label(tx, row, message_id)
    return line


def _decline(
    tx: Tx, row: Pending, message_id: str, *, business: Business, now: str
) -> tuple[str, int | None]:
    void_id = _resolve(tx, row, Phase.VOID, f"{message_id}/decline", now)
    line = _lines(tx, row, business).cancelled(
        row.id, row.amount_minor, row.payee, was_posted=False
    )
    _keep(tx, message_id, "decline", row, end_id=void_id, line=line, now=now)
    _note_label(tx, row, message_id)
    return line, None


def _note_label(tx: Tx, row: Pending, message_id: str) -> None:
    """Record that the reply to this message names a payee in words of another person, perhaps."""
    entry = ledger_history.entry(tx, row.debit_account_id, row.id)
    if entry is not None and is_foreign_label(entry):
        messages.note_foreign(tx, message_id, ForeignWords.READ)


def _resolve(tx: Tx, row: Pending, phase: Phase, why: str, now: str) -> int:
    cause = Cause(CauseKind.TAP, f"{why}/{reference_of(row.id)}")
    return ledger.resolve(tx, row.id, phase, cause=cause, now=now)


def _keep(
    tx: Tx,
    message_id: str,
    tool: str,
    row: Pending,
    *,
    end_id: int,
    line: str,
    now: str,
) -> None:
    reference = reference_of(row.id)
    effect = journal.Effect(
        tool=tool, arguments=reference, result="{}", receipt=line, transfer_id=end_id
    )
    journal.add_effect(tx, message_id, effect, now)


def _held(tx: Tx, row: Pending, business: Business, now: str) -> PendingTransfer:
    payer_id = accounts.by_id(tx, row.debit_account_id).owner_id
    is_known = payees.is_known_account(tx, payer_id, row.credit_account_id)
    alike = None if is_known else recipients.known_look_alike(tx, payer_id, row.payee)
    same = ledger_history.Alike(
        row.debit_account_id, row.credit_account_id, row.amount_minor, row.payee
    )
    return PendingTransfer(
        transfer_id=row.id,
        amount_minor=row.amount_minor,
        payee=recipients.payee_of(tx, business, row.id),
        is_payee_known=is_known,
        looks_like=alike,
        repeats=repetition.repeated_by(
            tx, row.id, same, asked_at=row.created_at, policy=business.policy, now=now
        ),
    )


def _lines(tx: Tx, row: Pending | StoredTransfer, business: Business) -> ReceiptFormatter:
    left = accounts.balance(tx, row.debit_account_id).available_minor
    return ReceiptFormatter(business.currency, left)
