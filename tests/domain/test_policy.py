"""What is refused, why, and in which order."""

from datetime import datetime, timedelta

import msgspec
import pytest
from db_factories import NOW, STARTED_AT

from wbot.domain.business import PayeeRule, Policy
from wbot.domain.ledger import Balance, Entry, TransferKind, TransferState
from wbot.domain.money import currency_of
from wbot.domain.policy import (
    SENTENCES,
    AskReason,
    Refusal,
    Standing,
    cancel_refusal,
    needs_confirmation,
    sentence_of,
    transfer_refusal,
)

TRANSFER = Entry(
    transfer_id=7,
    kind=TransferKind.TRANSFER,
    state=TransferState.POSTED,
    amount_minor=500,
    is_incoming=False,
    counterparty="John",
    created_at=NOW,
    made_at=NOW,
    message_id="wamid.1",
    memo=None,
    refusal=None,
    is_to_customer=False,
    payee="John",
)


@pytest.mark.parametrize(
    ("amount_minor", "posted_minor", "held_minor", "refusal"),
    [
        (1, 1, 0, None),
        (100, 100, 0, None),
        (101, 100, 0, Refusal.INSUFFICIENT_FUNDS),
        (60, 100, 40, None),
        (61, 100, 40, Refusal.INSUFFICIENT_FUNDS),
        (1, 0, 0, Refusal.INSUFFICIENT_FUNDS),
        (1, -5, 0, Refusal.INSUFFICIENT_FUNDS),
    ],
)
def test_what_is_available_can_be_sent(
    amount_minor: int, posted_minor: int, held_minor: int, refusal: Refusal | None
) -> None:
    standing = Standing(balance=Balance(posted_minor, held_minor), is_payee_known=True)
    assert transfer_refusal(amount_minor, standing, Policy()) is refusal


LIMITS = Policy(
    confirm_above_minor=50,
    max_transfer_minor=1_000,
    daily_total_minor=2_000,
    daily_count=5,
    overdraft_minor=300,
    new_payee_limit_minor=100,
)


@pytest.mark.parametrize(
    ("amount_minor", "changes", "refusal"),
    [
        (1_000, {}, None),
        (1_001, {}, Refusal.ABOVE_MAX_TRANSFER),
        (100, {"is_payee_known": False}, None),
        (101, {"is_payee_known": False}, Refusal.ABOVE_NEW_PAYEE_LIMIT),
        (1_001, {"is_payee_known": False}, Refusal.ABOVE_MAX_TRANSFER),
        (1, {"day_count": 4}, None),
        (1, {"day_count": 5}, Refusal.DAILY_COUNT),
        (500, {"day_total_minor": 1_500}, None),
        (501, {"day_total_minor": 1_500}, Refusal.DAILY_TOTAL),
        (501, {"day_total_minor": 1_500, "day_count": 5}, Refusal.DAILY_COUNT),
        (51, {"asked_at_once": 5}, Refusal.TOO_MANY_AT_ONCE),
        (51, {"asked_at_once": 4}, None),
        (50, {"asked_at_once": 5}, None),  # it is not asked about
        (800, {"balance": Balance(500, 0)}, None),
        (801, {"balance": Balance(500, 0)}, Refusal.INSUFFICIENT_FUNDS),
        (701, {"balance": Balance(500, 100)}, Refusal.INSUFFICIENT_FUNDS),
        (1, {"balance": Balance(-300, 0)}, Refusal.INSUFFICIENT_FUNDS),
    ],
)
def test_each_limit_is_kept_to_the_minor_unit(
    amount_minor: int, changes: dict[str, object], refusal: Refusal | None
) -> None:
    standing = Standing(balance=Balance(10_000, 0), is_payee_known=True)
    standing = msgspec.structs.replace(standing, **changes)
    assert transfer_refusal(amount_minor, standing, LIMITS) is refusal


def test_where_only_known_payees_are_paid_a_new_one_is_not() -> None:
    policy = Policy(payees=PayeeRule.KNOWN)
    known = Standing(balance=Balance(100, 0), is_payee_known=True)
    new = msgspec.structs.replace(known, is_payee_known=False)
    assert transfer_refusal(1, known, policy) is None
    assert transfer_refusal(1, new, policy) is Refusal.UNKNOWN_PAYEE


def test_a_transfer_is_confirmed_above_the_threshold_and_not_at_it() -> None:
    first = Standing(balance=Balance(1_000, 0), is_payee_known=True)
    assert needs_confirmation(1, first, Policy())
    assert needs_confirmation(51, first, LIMITS)
    assert not needs_confirmation(50, first, LIMITS)


@pytest.mark.parametrize("reason", AskReason)
def test_a_reason_to_ask_counts_more_than_the_threshold(reason: AskReason) -> None:
    standing = Standing(
        balance=Balance(1_000, 0), is_payee_known=True, must_ask=frozenset({reason})
    )
    assert needs_confirmation(1, standing, LIMITS)


def test_small_transfers_of_one_message_count_together() -> None:
    later = Standing(balance=Balance(1_000, 0), is_payee_known=True, unasked_minor=30)
    assert needs_confirmation(21, later, LIMITS)
    assert not needs_confirmation(20, later, LIMITS)


def test_a_refusal_names_its_limit() -> None:
    sentences = {one: sentence_of(one, LIMITS, currency_of("USD")) for one in Refusal}
    assert not any("{" in sentence for sentence in sentences.values())
    assert "$10.00" in sentences[Refusal.ABOVE_MAX_TRANSFER]
    assert "$20.00" in sentences[Refusal.DAILY_TOTAL]
    assert "(5)" in sentences[Refusal.DAILY_COUNT]
    assert "$1.00" in sentences[Refusal.ABOVE_NEW_PAYEE_LIMIT]


def refusal_of(
    entry: Entry | None, *, after_s: float = 0, window_s: int = 900, is_dated: bool = True
) -> Refusal | None:
    made_at: datetime | None = STARTED_AT if is_dated else None
    now = STARTED_AT + timedelta(seconds=after_s)
    policy = Policy(cancel_window_s=window_s)
    return cancel_refusal(entry, made_at=made_at, now=now, policy=policy)


def test_a_transfer_of_one_s_own_is_cancelled_within_the_window() -> None:
    assert refusal_of(TRANSFER) is None
    assert refusal_of(TRANSFER, after_s=900) is None
    assert refusal_of(TRANSFER, after_s=900.001) is Refusal.CANCEL_WINDOW_CLOSED
    assert refusal_of(TRANSFER, window_s=0) is None
    assert refusal_of(TRANSFER, after_s=0.001, window_s=0) is Refusal.CANCEL_WINDOW_CLOSED
    assert refusal_of(TRANSFER, after_s=-60) is None


def test_without_a_transfer_there_is_nothing_to_cancel() -> None:
    assert refusal_of(None) is Refusal.NOTHING_TO_CANCEL
    assert refusal_of(TRANSFER, is_dated=False) is Refusal.NOTHING_TO_CANCEL


@pytest.mark.parametrize("state", list(TransferState))
@pytest.mark.parametrize("kind", list(TransferKind))
@pytest.mark.parametrize("is_incoming", [False, True])
@pytest.mark.parametrize("is_to_customer", [False, True])
@pytest.mark.parametrize("after_s", [0, 901])
def test_every_entry_is_refused_for_the_first_reason_that_holds(
    *,
    state: TransferState,
    kind: TransferKind,
    is_incoming: bool,
    is_to_customer: bool,
    after_s: int,
) -> None:
    entry = msgspec.structs.replace(
        TRANSFER, state=state, kind=kind, is_incoming=is_incoming, is_to_customer=is_to_customer
    )
    reasons = {
        Refusal.NOTHING_TO_CANCEL: is_incoming or kind is not TransferKind.TRANSFER,
        Refusal.LATEST_REFUSED: state is TransferState.REFUSED,
        Refusal.ALREADY_CANCELLED: state in {TransferState.REVERSED, TransferState.VOID},
        None: state is TransferState.PENDING,
        Refusal.REACHED_A_CUSTOMER: is_to_customer,
        Refusal.CANCEL_WINDOW_CLOSED: after_s > 900,
    }
    expected = next((reason for reason, holds in reasons.items() if holds), None)
    assert refusal_of(entry, after_s=after_s) is expected


def test_every_refusal_has_a_sentence_for_the_customer() -> None:
    assert set(SENTENCES) == set(Refusal)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())
    assert len(set(SENTENCES.values())) == len(SENTENCES)
