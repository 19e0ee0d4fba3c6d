"""A migrated database in memory, for storage rules that need no file and no event loop."""

import sqlite3
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from wbot.clock import later, to_text
from wbot.domain.business import Business, Policy, Switch
from wbot.domain.ledger import Cause, CauseKind, TransferKind
from wbot.domain.states import MessageState
from wbot.storage import accounts, businesses, customers, ledger, messages, migrations
from wbot.storage.database import connect
from wbot.storage.messages import NewMessage

STARTED_AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOW = to_text(STARTED_AT)
AT_ONCE = Policy(confirm_above_minor=10**15, repeat_window_s=0, own_words=Switch.OFF)
"""A policy under which every transfer posts without a confirmation."""
SHOP = Business(
    id="shop",
    name="The Shop",
    phone_number_id="106500000000001",
    access_token="env:SHOP_TOKEN",
    currency_code="USD",
    policy=AT_ONCE,
)


def after(seconds: float) -> str:
    """The instant that many seconds after NOW, as text."""
    return to_text(later(STARTED_AT, seconds))


def make_tx(*more: Business) -> sqlite3.Connection:
    """A connection to a new database with The Shop and these businesses."""
    connection = connect(Path(":memory:"))
    connection.deserialize(_migrated())
    for business in (SHOP, *more):
        businesses.add(connection, business, NOW)
    return connection


@cache
def _migrated() -> bytes:
    connection = connect(Path(":memory:"))
    migrations.migrate(connection, Path(":memory:"), STARTED_AT)
    image = connection.serialize()
    connection.close()
    return image


def make_customer(tx: sqlite3.Connection, phone: str, name: str | None = None) -> int:
    """A customer of The Shop."""
    return customers.resolve(tx, SHOP.id, phone=phone, user_id=None, name=name, now=NOW).customer_id


def make_message(
    tx: sqlite3.Connection,
    customer_id: int,
    message_id: str,
    *,
    sort_at: str = NOW,
    not_before: str | None = None,
) -> int:
    """A text from a customer of The Shop, waiting for its turn; with its conversation."""
    conversation_id = customers.conversation_of(tx, SHOP.id, customer_id, NOW)
    assert messages.claim(tx, message_id)
    message = NewMessage(
        message_id=message_id,
        business_id=SHOP.id,
        conversation_id=conversation_id,
        phone_number_id=SHOP.phone_number_id,
        type="text",
        content='{"type":"text","text":{"body":"Hello"}}',
        reply_phone="15550101001",
        reply_user_id=None,
        sent_at=sort_at,
        sort_at=sort_at,
        received_at=NOW,
        not_before=not_before,
        state=MessageState.WAITING,
        reason=None,
    )
    messages.insert(tx, message)
    return conversation_id


def end_message(
    tx: sqlite3.Connection, message_id: str, *, state: MessageState, reason: str | None, now: str
) -> None:
    """A message's turn, from its begin to its end."""
    tx.execute("UPDATE messages SET state = 'begun' WHERE message_id = ?", (message_id,))
    messages.finish(tx, message_id, state=state, reason=reason, now=now)


def allow_change(tx: sqlite3.Connection, machine: str, before: str, after: str) -> None:
    """Let the database take a change of state that no statement of ours makes."""
    tx.execute("INSERT INTO state_transitions VALUES (?, ?, ?)", (machine, before, after))


def give(tx: sqlite3.Connection, customer_id: int, amount_minor: int) -> None:
    """Deposit money of The Shop for a customer."""
    transfers = tx.execute("SELECT count(*) FROM transfers").fetchone()[0]
    movement = ledger.Movement(
        business_id=SHOP.id,
        kind=TransferKind.DEPOSIT,
        debit_account_id=accounts.of_business(tx, SHOP.id),
        credit_account_id=accounts.of_customer(tx, SHOP.id, customer_id),
        amount_minor=amount_minor,
        currency=SHOP.currency_code,
        cause=Cause(CauseKind.OPERATOR, f"given:{transfers}"),
    )
    ledger.record(tx, movement, NOW)


def available(tx: sqlite3.Connection, customer_id: int) -> int:
    """What a customer of The Shop can spend, in minor units."""
    account_id = accounts.of_customer(tx, SHOP.id, customer_id)
    return accounts.balance(tx, account_id).available_minor
