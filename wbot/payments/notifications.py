"""Notices that customers get unasked: they were paid, or a payout of theirs came back."""

from wbot.clock import from_text, later, to_text
from wbot.domain import foreign
from wbot.domain.business import Business
from wbot.domain.ledger import reference_of
from wbot.domain.message_age import WINDOW_S
from wbot.domain.outgoing import Text
from wbot.domain.receipts import ReceiptFormatter
from wbot.storage import accounts, customers, ledger, ledger_history, outbox
from wbot.storage.tx import Tx


def notify_payee(tx: Tx, business: Business, transfer_id: int, now: str) -> int | None:
    """Put a notice to the payee into the outbox; their conversation, or None without one."""
    row = ledger.required(tx, transfer_id)
    payer_id = accounts.by_id(tx, row.debit_account_id).owner_id
    receiver_id = accounts.by_id(tx, row.to_account_id).customer_id
    if receiver_id is None:
        return None
    left = accounts.balance(tx, row.to_account_id).available_minor
    payer = foreign.payer(
        customers.name_of(tx, payer_id), customers.phone_of(tx, payer_id), business.show_payer
    )
    line = ReceiptFormatter(business.currency, left).received(
        row.id, row.amount_minor, payer.in_line
    )
    return _notify(tx, business, receiver_id, line, cause=row.id, now=now)


def notify_not_paid_out(tx: Tx, business: Business, transfer_id: int, now: str) -> None:
    """Put a notice to the payer into the outbox: what should have been paid out is back."""
    row = ledger.required(tx, transfer_id)
    payer_id = accounts.by_id(tx, row.debit_account_id).owner_id
    payer_id = customers.survivor(tx, payer_id)
    account_id = accounts.of_customer(tx, business.id, payer_id)
    left = accounts.balance(tx, account_id).available_minor
    payee = ledger_history.payee_of(tx, transfer_id).name
    line = ReceiptFormatter(business.currency, left).not_paid_out(
        transfer_id, row.amount_minor, payee
    )
    _notify(tx, business, payer_id, line, cause=transfer_id, now=now)


def _notify(
    tx: Tx, business: Business, customer_id: int, line: str, *, cause: int, now: str
) -> int | None:
    since = to_text(later(from_text(now), -WINDOW_S))
    to = customers.reachable_since(tx, customer_id, since)
    if to is None:
        return None
    outbox.add(
        tx,
        outbox.NewReply(
            business_id=business.id,
            conversation_id=to.conversation_id,
            cause=f"notice:{reference_of(cause)}",
            part=0,
            message_id=None,
            reply_phone=to.phone,
            reply_user_id=to.user_id,
            content=Text(line),
            created_at=now,
        ),
    )
    return to.conversation_id
