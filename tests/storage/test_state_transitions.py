"""The schema allows what the page of state machines says, word for word, and nothing else."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import product

import pytest
from db_factories import NOW, SHOP, make_customer, make_message, make_tx

from wbot.domain.errors import RefusedError
from wbot.domain.ledger import Cause, CauseKind, Phase, TransferKind
from wbot.domain.outgoing import Text
from wbot.domain.prompts import PromptKind
from wbot.domain.states import (
    IN_COLUMNS,
    MESSAGE,
    OUTSIDE_CALL,
    PROMPT,
    REPLY,
    SEND,
    TRANSFER,
    TURN,
    MessageState,
    OutsideCallState,
    PromptOutcome,
    ReplyState,
    SendOutcome,
    TransferState,
    TurnOutcome,
)
from wbot.storage import accounts, journal, ledger, outbox, outside_calls, prompts


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    """One row of each machine."""
    tx = make_tx()
    conversation_id = make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    journal.claim_conversation(tx, conversation_id, "wamid.1", NOW)
    reply = outbox.NewReply(
        business_id=SHOP.id,
        conversation_id=conversation_id,
        cause="message:wamid.1:0",
        part=0,
        message_id="wamid.1",
        reply_phone="15550101001",
        reply_user_id=None,
        content=Text("Hi"),
        created_at=NOW,
    )
    outbox.add(tx, reply)
    outbox.open_attempt(tx, 1, NOW)
    outside_calls.open_call(tx, "wamid.1", "order", arguments="[]", request="{}", now=NOW)
    prompts.ask(
        tx,
        PromptKind.CONFIRM,
        conversation_id=conversation_id,
        message_id="wamid.1",
        now=NOW,
        expires_at=NOW,
    )
    yield tx
    tx.close()


def test_the_schema_has_the_page_word_for_word(tx: sqlite3.Connection) -> None:
    page = {
        (machine, before or "", after)
        for machine, table in IN_COLUMNS.items()
        for before, following in table.items()
        for after in following
    }
    rows = tx.execute("SELECT machine, from_state, to_state FROM state_transitions").fetchall()
    assert {tuple(row) for row in rows} == page


@pytest.mark.parametrize(
    ("table", "column", "states", "transitions"),
    [
        ("messages", "state", MessageState, MESSAGE),
        ("turns", "outcome", TurnOutcome, TURN),
        ("outbox", "state", ReplyState, REPLY),
        ("send_attempts", "outcome", SendOutcome, SEND),
        ("outside_calls", "state", OutsideCallState, OUTSIDE_CALL),
        ("prompts", "outcome", PromptOutcome, PROMPT),
    ],
)
def test_a_state_changes_only_as_the_page_says(
    tx: sqlite3.Connection,
    table: str,
    column: str,
    states: type[StrEnum],
    transitions: Mapping[StrEnum | None, frozenset[StrEnum]],
) -> None:
    befores = [*states] if column == "state" else [None, *states]
    (guard,) = tx.execute(
        "SELECT name, sql FROM sqlite_master WHERE name = ?", (f"{table}_change_as_allowed",)
    ).fetchall()
    update = f"UPDATE {table} SET {column} = ?"  # noqa: S608  our own names
    for before, after in product(befores, [*befores, "another"]):
        tx.execute(f"DROP TRIGGER {guard['name']}")
        tx.execute(update, (before,))
        tx.execute(guard["sql"])
        if after == before or after in transitions.get(before, ()):
            assert tx.execute(update, (after,)).rowcount == 1
        else:
            with pytest.raises(sqlite3.IntegrityError):
                tx.execute(update, (after,))


@pytest.mark.parametrize(
    ("table", "states", "transitions"),
    [
        ("messages", MessageState, MESSAGE),
        ("outbox", ReplyState, REPLY),
        ("outside_calls", OutsideCallState, OUTSIDE_CALL),
    ],
)
def test_a_row_begins_only_as_the_page_says(
    tx: sqlite3.Connection,
    table: str,
    states: type[StrEnum],
    transitions: Mapping[StrEnum | None, frozenset[StrEnum]],
) -> None:
    row = dict(tx.execute(f"SELECT * FROM {table}").fetchone())  # noqa: S608  our own names
    tx.execute("INSERT INTO message_ids VALUES ('wamid.9')")
    another: dict[str, dict[str, str | int]] = {
        "messages": {"message_id": "wamid.9", "number": 9},
        "outbox": {"id": 9, "part": 9},
        "outside_calls": {"key": "9"},
    }
    row |= another[table]
    values = f"({', '.join(row)}) VALUES (:{', :'.join(row)})"
    insert = f"INSERT INTO {table} {values}"
    for state in states:
        tx.execute("SAVEPOINT one")
        if state in transitions[None]:
            tx.execute(insert, {**row, "state": state})
        else:
            with pytest.raises(sqlite3.IntegrityError, match="begin"):
                tx.execute(insert, {**row, "state": state})
        tx.execute("ROLLBACK TO one")


# Of a transfer no column tells the state -------------------------------------------------------


class Bank:
    """One customer with money, and transfers of theirs in any state."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self.tx = tx
        self.alice = accounts.of_customer(tx, SHOP.id, make_customer(tx, "15550101001"))
        self.keys = 0

    def cause(self) -> Cause:
        self.keys += 1
        return Cause(CauseKind.OPERATOR, str(self.keys))

    def make(self, phase: Phase) -> int:
        movement = ledger.Movement(
            business_id=SHOP.id,
            kind=TransferKind.DEPOSIT,
            debit_account_id=accounts.of_business(self.tx, SHOP.id),
            credit_account_id=self.alice,
            amount_minor=100,
            currency="USD",
            cause=self.cause(),
            phase=phase,
            refusal="why" if phase is Phase.REFUSED else None,
        )
        return ledger.record(self.tx, movement, NOW)

    def end(self, transfer_id: int, phase: Phase) -> int:
        return ledger.resolve(self.tx, transfer_id, phase, cause=self.cause(), now=NOW)

    def reverse(self, transfer_id: int) -> int:
        return ledger.reverse(self.tx, transfer_id, self.cause(), NOW)

    def state(self, transfer_id: int) -> TransferState:
        return ledger.required(self.tx, transfer_id).state


WAYS: dict[str, Callable[[Bank], int]] = {
    "posted": lambda bank: bank.make(Phase.POSTED),
    "pending": lambda bank: bank.make(Phase.PENDING),
    "refused": lambda bank: bank.make(Phase.REFUSED),
    "confirmed": lambda bank: ended(bank, Phase.POST),
    "void": lambda bank: ended(bank, Phase.VOID),
    "expired": lambda bank: ended(bank, Phase.EXPIRE),
    "reversed": lambda bank: reversed_(bank, bank.make(Phase.POSTED)),
    "confirmed and reversed": lambda bank: reversed_(bank, ended(bank, Phase.POST)),
}
"""Every way into every state."""
CHANGES: dict[TransferState, tuple[Callable[[Bank, int], int], ...]] = {
    TransferState.POSTED: (lambda bank, one: bank.end(one, Phase.POST),),
    TransferState.VOID: (
        lambda bank, one: bank.end(one, Phase.VOID),
        lambda bank, one: bank.end(one, Phase.EXPIRE),
    ),
    TransferState.REVERSED: (lambda bank, one: bank.reverse(one),),
}


def ended(bank: Bank, phase: Phase) -> int:
    transfer_id = bank.make(Phase.PENDING)
    bank.end(transfer_id, phase)
    return transfer_id


def reversed_(bank: Bank, transfer_id: int) -> int:
    bank.reverse(transfer_id)
    return transfer_id


@pytest.mark.parametrize("way", WAYS)
def test_a_transfer_changes_only_as_the_page_says(tx: sqlite3.Connection, way: str) -> None:
    bank = Bank(tx)
    before = bank.state(WAYS[way](bank))
    for after, changes in CHANGES.items():
        for change in changes:
            transfer_id = WAYS[way](bank)
            if after in TRANSFER.get(before, ()):
                change(bank, transfer_id)
                assert bank.state(transfer_id) is after
            else:
                with pytest.raises((sqlite3.IntegrityError, RefusedError)):
                    change(bank, transfer_id)
                assert bank.state(transfer_id) is before


def test_what_is_not_posted_is_not_reversed_by_a_row_of_ones_own(tx: sqlite3.Connection) -> None:
    bank = Bank(tx)
    for way in ("pending", "refused", "void"):
        mirror = ledger.Movement(
            business_id=SHOP.id,
            kind=TransferKind.REVERSAL,
            debit_account_id=bank.alice,
            credit_account_id=accounts.of_business(tx, SHOP.id),
            amount_minor=100,
            currency="USD",
            cause=bank.cause(),
            target_id=WAYS[way](bank),
        )
        with pytest.raises(sqlite3.IntegrityError, match="only what is posted is reversed"):
            ledger.record(tx, mirror, NOW)
