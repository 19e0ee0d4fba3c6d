"""A transfer that a customer asks for: posted, held until their yes, or refused by a rule."""

from collections.abc import Iterator

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain import own_words
from wbot.domain.business import Switch
from wbot.domain.ledger import Cause, CauseKind, Phase, TransferKind, effect_key
from wbot.domain.payees import Payee
from wbot.domain.policy import (
    DAY_S,
    AskReason,
    Refusal,
    Standing,
    needs_confirmation,
    transfer_refusal,
)
from wbot.payments import notifications, recipients, repetition, unknown_numbers
from wbot.payments.context import PaymentContext
from wbot.payments.recipients import Recipient
from wbot.storage import accounts, ledger, ledger_history, messages
from wbot.storage.tx import Tx


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the payer asks for; the same `key` of the same message never moves money twice."""

    amount_minor: int
    to: str
    key: str
    memo: str | None = None


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order, as it stands in the ledger now."""

    transfer_id: int
    amount_minor: int
    payee: Payee
    phase: Phase
    refusal: Refusal | None
    available_minor: int
    is_foreign: bool = False
    """Whether the payee's name may be words of another person that a model passed on."""
    notify_conversation_id: int | None = None
    """The payee's conversation, where they have a notice in their outbox."""


def transfer(tx: Tx, context: PaymentContext, order: Order) -> Transfer:
    """Record the transfer as the business's rules have it; raises MalformedError for no payee."""
    recipient = recipients.find(tx, context, order.to)
    account_id = accounts.of_customer(tx, context.business.id, context.customer_id)
    reasons = context.must_ask.union(_reasons_to_ask(tx, context, account_id, recipient, order))
    standing = _standing(tx, context, account_id, recipient, reasons=reasons)
    policy = context.business.policy
    refusal = transfer_refusal(order.amount_minor, standing, policy)
    if recipient.is_own:
        refusal = Refusal.OWN_ACCOUNT
    phase = Phase.POSTED
    if needs_confirmation(order.amount_minor, standing, policy):
        phase = Phase.PENDING
    transfer_id = ledger.record(
        tx,
        ledger.Movement(
            business_id=context.business.id,
            kind=TransferKind.TRANSFER,
            debit_account_id=account_id,
            credit_account_id=None if refusal else recipients.account_of(tx, context, recipient),
            amount_minor=order.amount_minor,
            currency=context.business.currency_code,
            cause=Cause(CauseKind.CALL, effect_key(context.message_id, "transfer", order.key)),
            phase=phase,
            refusal=refusal,
            payee=recipient.name,
            payee_number=recipient.number,
            memo=order.memo,
        ),
        context.now,
    )
    is_posted = refusal is None and phase is Phase.POSTED
    return Transfer(
        transfer_id=transfer_id,
        amount_minor=order.amount_minor,
        payee=recipients.payee_of(tx, context.business, transfer_id),
        phase=Phase.REFUSED if refusal else phase,
        refusal=refusal,
        available_minor=accounts.balance(tx, account_id).available_minor,
        is_foreign=_is_foreign(recipient, standing),
        notify_conversation_id=notifications.notify_payee(
            tx, context.business, transfer_id, context.now
        )
        if is_posted
        else None,
    )


def _is_foreign(recipient: Recipient, standing: Standing) -> bool:
    """Whether another person chose the name, or a model that had read such a person's words."""
    if recipient.is_from_card:
        return not recipient.is_known
    return recipient.is_new_name and AskReason.FOREIGN_WORDS in standing.must_ask


def _standing(
    tx: Tx,
    context: PaymentContext,
    account_id: int,
    recipient: Recipient,
    *,
    reasons: frozenset[AskReason],
) -> Standing:
    since = to_text(later(from_text(context.now), -DAY_S))
    day_count, day_total_minor = ledger_history.made_since(tx, account_id, since)
    return Standing(
        balance=accounts.balance(tx, account_id),
        is_payee_known=recipient.is_known,
        day_count=day_count,
        day_total_minor=day_total_minor,
        asked_at_once=len(ledger.open_of_message(tx, context.message_id)),
        unasked_minor=ledger_history.posted_by_call_minor(tx, context.message_id),
        must_ask=reasons,
        is_nobody=recipient.is_number and recipient.customer_id is None,
        may_guess=_may_guess(tx, context, account_id, recipient),
    )


def _is_repeated(
    tx: Tx, context: PaymentContext, account_id: int, recipient: Recipient, order: Order
) -> bool:
    to_id = recipients.find_account(tx, context, recipient)
    if to_id is None:
        return False
    alike = ledger_history.Alike(account_id, to_id, order.amount_minor, recipient.name)
    return repetition.is_repeated(tx, alike, context.business.policy, context.now)


def _is_in_own_words(context: PaymentContext, recipient: Recipient, order: Order) -> bool:
    business = context.business
    if business.policy.own_words is Switch.OFF:
        return True
    if not own_words.has_amount(context.words, order.amount_minor, business.currency):
        return False
    names = (order.to, recipient.name)
    return recipient.is_known or any(own_words.has_payee(context.words, one) for one in names)


def _reasons_to_ask(
    tx: Tx, context: PaymentContext, account_id: int, recipient: Recipient, order: Order
) -> Iterator[AskReason]:
    if _is_repeated(tx, context, account_id, recipient, order):
        yield AskReason.REPEATED
    if not _is_in_own_words(context, recipient, order):
        yield AskReason.NOT_OWN_WORDS
    # A model may obey another person whose words it has read.
    if messages.has_met_foreign(tx, context.message_id):
        yield AskReason.FOREIGN_WORDS
    if recipient.is_look_alike:
        yield AskReason.LOOK_ALIKE


def _may_guess(tx: Tx, context: PaymentContext, account_id: int, recipient: Recipient) -> bool:
    if not recipient.is_number or recipient.is_known:
        return True
    to = None
    if recipient.customer_id is not None:
        to = accounts.find(tx, recipient.customer_id)
    return unknown_numbers.may_guess(tx, account_id, to, now=context.now)
