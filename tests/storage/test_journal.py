"""The journal of a turn's steps, and the epoch that fences them."""

import sqlite3
from collections.abc import Iterator

import pytest
from db_factories import NOW, SHOP, after, give, make_customer, make_message, make_tx

from wbot.domain.errors import StaleClaimError
from wbot.domain.ledger import Cause, CauseKind, TransferKind
from wbot.domain.states import TurnOutcome
from wbot.storage import accounts, journal, ledger, messages
from wbot.storage.journal import Effect, Step

MODEL = Step(1, "model", '{"text":"ok"}', 12.5)
TOOL = Step(2, "tool", '{"result":"{}"}', 0.5)


class Conversation:
    """A conversation with one message."""

    def __init__(self) -> None:
        self.tx = make_tx()
        self.alice = make_customer(self.tx, "15550101001")
        self.id = make_message(self.tx, self.alice, "wamid.1")

    def claim(self) -> journal.Claim:
        return journal.claim_conversation(self.tx, self.id, "wamid.1", NOW)

    def end(self, claim: journal.Claim, outcome: TurnOutcome, detail: str | None, now: str) -> None:
        journal.end(self.tx, "wamid.1", claim.epoch, outcome=outcome, detail=detail, now=now)

    def turns(self) -> list[tuple[int, int, int, str | None]]:
        rows = self.tx.execute("SELECT revision, attempt, epoch, outcome FROM turns ORDER BY epoch")
        return [tuple(row) for row in rows.fetchall()]

    def record(self, key: str, refusal: str | None = None) -> int:
        own = accounts.of_customer(self.tx, SHOP.id, self.alice)
        movement = ledger.Movement(
            business_id=SHOP.id,
            kind=TransferKind.TRANSFER,
            debit_account_id=own,
            credit_account_id=accounts.of_payee(self.tx, SHOP.id, self.alice, "John", NOW),
            amount_minor=100,
            currency="USD",
            cause=Cause(CauseKind.CALL, key),
            refusal=refusal,
        )
        return ledger.record(self.tx, movement, NOW)


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    conversation = Conversation()
    yield conversation
    conversation.tx.close()


def test_a_turn_begins_with_an_epoch_and_an_empty_journal(conversation: Conversation) -> None:
    assert conversation.claim() == journal.Claim(
        epoch=1, revision=0, attempt=1, steps=(), failures=0, first_began_at=NOW
    )
    row = messages.by_id(conversation.tx, "wamid.1")
    assert row is not None
    assert (row.state, row.attempts) == ("begun", 1)


def test_a_later_attempt_reads_what_the_one_before_it_kept(conversation: Conversation) -> None:
    claim = conversation.claim()
    for step in (TOOL, MODEL):
        journal.add_step(conversation.tx, "wamid.1", claim.revision, step=step, now=NOW)
    conversation.end(claim, TurnOutcome.RETRY, "slow", after(1))
    again = conversation.claim()
    assert (again.epoch, again.attempt) == (2, 2)
    assert again.steps == (MODEL, TOOL)
    assert conversation.turns() == [(0, 1, 1, "retry"), (0, 2, 2, None)]


def test_a_step_is_kept_once(conversation: Conversation) -> None:
    journal.add_step(conversation.tx, "wamid.1", 0, step=MODEL, now=NOW)
    with pytest.raises(sqlite3.IntegrityError):
        journal.add_step(conversation.tx, "wamid.1", 0, step=MODEL, now=NOW)


def test_only_the_latest_taker_passes_the_guard(conversation: Conversation) -> None:
    first = conversation.claim()
    journal.guard(conversation.tx, conversation.id, first.epoch)
    second = conversation.claim()
    with pytest.raises(StaleClaimError):
        journal.guard(conversation.tx, conversation.id, first.epoch)
    journal.guard(conversation.tx, conversation.id, second.epoch)
    journal.invalidate_claims(conversation.tx, conversation.id)
    with pytest.raises(StaleClaimError):
        journal.guard(conversation.tx, conversation.id, second.epoch)
    with pytest.raises(StaleClaimError):
        journal.guard(conversation.tx, 999, 1)


def test_the_epoch_of_one_conversation_says_nothing_of_another(conversation: Conversation) -> None:
    claim = conversation.claim()
    bob = make_customer(conversation.tx, "15550101002")
    bobs = make_message(conversation.tx, bob, "wamid.2")
    journal.claim_conversation(conversation.tx, bobs, "wamid.2", NOW)
    journal.guard(conversation.tx, conversation.id, claim.epoch)


def test_a_refunded_attempt_is_not_counted(conversation: Conversation) -> None:
    """The journal of turns still shows it, so that an operator can see what happened."""
    for _ in range(3):
        assert conversation.claim().attempt == 1
        journal.refund_attempt(conversation.tx, "wamid.1")
    assert [turn[1] for turn in conversation.turns()] == [1, 2, 3]


def test_failures_are_counted_apart_from_deaths_and_holds(conversation: Conversation) -> None:
    retry, blocked, stopped = TurnOutcome.RETRY, TurnOutcome.BLOCKED, TurnOutcome.STOPPED
    outcomes = (retry, None, blocked, stopped, retry)
    for second, outcome in enumerate(outcomes):
        claim = journal.claim_conversation(
            conversation.tx, conversation.id, "wamid.1", after(second)
        )
        if outcome:
            conversation.end(claim, outcome, "why", after(second))
    claim = journal.claim_conversation(conversation.tx, conversation.id, "wamid.1", after(9))
    assert (claim.failures, claim.first_began_at) == (2, NOW)


def test_an_ending_is_written_to_its_own_attempt(conversation: Conversation) -> None:
    first, second = conversation.claim(), conversation.claim()
    conversation.end(second, TurnOutcome.ANSWERED, None, NOW)
    conversation.end(first, TurnOutcome.STOPPED, None, NOW)
    assert [turn[3] for turn in conversation.turns()] == ["stopped", "answered"]


def test_an_effect_is_found_by_message_tool_and_arguments(conversation: Conversation) -> None:
    done = Effect("transfer", "[100]", '{"ok":true}', "Sent.", None)
    journal.add_effect(conversation.tx, "wamid.1", done, NOW)
    assert journal.effect(conversation.tx, "wamid.1", "transfer", "[100]") == done
    for other in (
        ("wamid.2", "transfer", "[100]"),
        ("wamid.1", "cancel", "[100]"),
        ("wamid.1", "transfer", "[101]"),
    ):
        assert journal.effect(conversation.tx, *other) is None


def test_an_effect_is_kept_once(conversation: Conversation) -> None:
    done = Effect("transfer", "[100]", "{}", None, None)
    journal.add_effect(conversation.tx, "wamid.1", done, NOW)
    with pytest.raises(sqlite3.IntegrityError):
        journal.add_effect(conversation.tx, "wamid.1", done, NOW)


def test_an_effect_belongs_to_a_message_that_is_there(conversation: Conversation) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        journal.add_effect(
            conversation.tx, "wamid.none", Effect("cancel", "", "{}", None, None), NOW
        )


def test_effects_are_listed_in_the_order_they_happened(conversation: Conversation) -> None:
    give(conversation.tx, conversation.alice, 1_000)
    for second, key in ((3, "c"), (1, "b"), (2, "a")):
        effect = Effect("transfer", key, "{}", None, conversation.record(key))
        journal.add_effect(conversation.tx, "wamid.1", effect, after(second))
    assert [one.arguments for one in journal.effects(conversation.tx, "wamid.1")] == ["b", "a", "c"]


def test_money_moved_when_a_transfer_was_posted_and_not_when_it_was_refused(
    conversation: Conversation,
) -> None:
    give(conversation.tx, conversation.alice, 1_000)
    assert not journal.moved_money(conversation.tx, "wamid.1")
    journal.add_effect(conversation.tx, "wamid.1", Effect("cancel", "", "{}", None, None), NOW)
    refused = Effect("transfer", "a", "{}", None, conversation.record("a", refusal="no"))
    journal.add_effect(conversation.tx, "wamid.1", refused, NOW)
    assert not journal.moved_money(conversation.tx, "wamid.1")
    posted = Effect("transfer", "b", "{}", None, conversation.record("b"))
    journal.add_effect(conversation.tx, "wamid.1", posted, NOW)
    assert journal.moved_money(conversation.tx, "wamid.1")
    assert not journal.moved_money(conversation.tx, "wamid.2")
