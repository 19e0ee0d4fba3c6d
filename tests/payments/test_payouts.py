"""Payouts: what is owed to payees outside is exported once, then settled or given back, once."""

import sqlite3
from collections.abc import Callable, Iterator

import msgspec
import pytest
from db_factories import NOW, SHOP, after, allow_change, available, make_message, make_tx
from payment_factories import Paying

from wbot.admin import customer_merge, ledger_adjustments, payout_report
from wbot.domain.business import Policy
from wbot.domain.errors import RefusedError
from wbot.domain.ledger import Phase
from wbot.domain.policy import Refusal
from wbot.payments import cancellations, payouts
from wbot.payments.context import PaymentContext
from wbot.storage import accounts, invariants, ledger, ledger_history
from wbot.storage.ledger import Movement

BOB = "15550101002"
LATER = after(901)


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    tx = make_tx()
    yield tx
    tx.close()


@pytest.fixture
def alice(tx: sqlite3.Connection) -> Paying:
    return Paying(tx)


def owed(tx: sqlite3.Connection, now: str = LATER) -> list[tuple[str, str, str, str, str]]:
    names = ("payee", "name", "customer", "owed", "ready")
    found = payout_report.owed(tx, SHOP, now)
    return [tuple(one[name] for name in names) for one in found]


def states(tx: sqlite3.Connection) -> list[tuple[str, str, str]]:
    return [
        (one["payee"], one["amount"], one["state"])
        for batch in reversed(payout_report.batches(tx, SHOP))
        for one in batch["payouts"]
    ]


def held_by_payees(tx: sqlite3.Connection) -> int:
    query = (
        "SELECT coalesce(sum(posted_minor), 0) FROM balances b JOIN accounts a "
        "ON a.id = b.account_id WHERE a.kind = 'payee'"
    )
    return int(tx.execute(query).fetchone()[0])


def test_what_can_still_be_cancelled_is_not_exported(alice: Paying) -> None:
    tx = alice.tx
    alice.pay("John", 20_00)
    alice.pay("John", 5_00, at=after(600))
    alice.pay("Mary", 7_00, at=after(600))
    assert owed(tx, after(900)) == [
        ("P1", "John", alice.phone, "25.00", "0.00"),
        ("P2", "Mary", alice.phone, "7.00", "0.00"),
    ]
    assert payouts.export(tx, SHOP, after(900)) is None
    assert owed(tx, LATER)[0][3:] == ("25.00", "20.00")
    assert payouts.export(tx, SHOP, LATER) == 1
    assert payouts.export(tx, SHOP, LATER) is None
    assert owed(tx, LATER)[0][3:] == ("5.00", "0.00")
    assert payouts.export(tx, SHOP, after(1501)) == 2
    assert states(tx) == [
        ("P1", "20.00", "exported"),
        ("P1", "5.00", "exported"),
        ("P2", "7.00", "exported"),
    ]
    assert owed(tx) == []
    assert invariants.breaches(tx) == []


def test_only_what_was_posted_and_kept_is_owed(alice: Paying) -> None:
    alice.reverse(alice.pay("John", 1_00))
    alice.hold("John", 2_00)
    alice.resolve(alice.hold("John", 4_00), Phase.VOID)
    alice.reverse(alice.posted("John", 8_00))
    alice.posted("John", 16_00)
    assert owed(alice.tx) == [("P1", "John", alice.phone, "16.00", "16.00")]


def test_a_confirmed_transfer_counts_from_its_yes(alice: Paying) -> None:
    alice.resolve(alice.hold("John", 4_00), Phase.POST, at=after(500))
    assert payouts.export(alice.tx, SHOP, after(1_400)) is None
    assert payouts.export(alice.tx, SHOP, after(1_401)) == 1


def test_each_customer_has_a_john_of_their_own(alice: Paying) -> None:
    bob = Paying(alice.tx, BOB)
    alice.pay("John", 20_00)
    bob.pay("John", 30_00)
    assert owed(alice.tx) == [
        ("P1", "John", alice.phone, "20.00", "20.00"),
        ("P2", "John", BOB, "30.00", "30.00"),
    ]


def exported(alice: Paying) -> int:
    alice.pay("John", 20_00)
    alice.pay("Mary", 30_00)
    alice.pay("John", 5_00)
    batch_id = payouts.export(alice.tx, SHOP, LATER)
    assert batch_id is not None
    return batch_id


def test_a_batch_is_settled_in_the_books(alice: Paying) -> None:
    tx, batch_id = alice.tx, exported(alice)
    outside = accounts.of_business(tx, SHOP.id)
    before = accounts.balance(tx, outside).posted_minor
    ended = payouts.settle(tx, batch_id, None, key="bank-1", now=LATER)
    assert not ended.is_repeated
    assert accounts.balance(tx, outside).posted_minor - before == 55_00
    assert held_by_payees(tx) == 0
    rows = tx.execute("SELECT kind, amount_minor FROM transfers ORDER BY id DESC LIMIT 2")
    assert [tuple(row) for row in rows] == [("payout", 30_00), ("payout", 25_00)]
    assert states(tx) == [("P1", "25.00", "settled"), ("P2", "30.00", "settled")]
    assert invariants.breaches(tx) == []


@pytest.mark.parametrize("end", [payouts.settle, payouts.void])
def test_the_same_key_does_nothing_again(alice: Paying, end: Callable[..., payouts.Ended]) -> None:
    tx, batch_id = alice.tx, exported(alice)
    first = end(tx, batch_id, 1, key="k", now=LATER)
    count = tx.execute("SELECT count(*) FROM transfers").fetchone()[0]
    again = end(tx, batch_id, 1, key="k", now=after(999))
    assert (again.is_repeated, again.payout_ids) == (True, first.payout_ids)
    assert tx.execute("SELECT count(*) FROM transfers").fetchone()[0] == count
    for other in (payouts.settle, payouts.void):
        for payee_id in (None, 2):
            with pytest.raises(RefusedError, match="The key was already used: B1 to P1 is"):
                other(tx, batch_id, payee_id, key="k", now=LATER)


def test_what_has_ended_ends_no_other_way(alice: Paying) -> None:
    tx, batch_id = alice.tx, exported(alice)
    payouts.settle(tx, batch_id, 1, key="a", now=LATER)
    for end in (payouts.settle, payouts.void):
        with pytest.raises(RefusedError, match="That part of B1 is already settled"):
            end(tx, batch_id, 1, key="b", now=LATER)
    payouts.void(tx, batch_id, None, key="c", now=LATER)  # what is left of it
    assert states(tx) == [("P1", "25.00", "settled"), ("P2", "30.00", "void")]
    with pytest.raises(RefusedError, match="already settled and void"):
        payouts.void(tx, batch_id, None, key="d", now=LATER)
    assert invariants.breaches(tx) == []


def test_no_batch_and_no_such_payee_are_refused(alice: Paying) -> None:
    with pytest.raises(RefusedError, match="There is no batch B1"):
        payouts.settle(alice.tx, 1, None, key="k", now=LATER)
    with pytest.raises(RefusedError, match="B1 pays nothing to P9"):
        payouts.settle(alice.tx, exported(alice), 9, key="k", now=LATER)


def test_void_gives_the_money_back_and_says_so(alice: Paying) -> None:
    tx = alice.tx
    make_message(tx, alice.customer_id, "wamid.1")
    tx.execute("UPDATE conversations SET last_inbound_at = ?", (NOW,))
    batch_id = exported(alice)
    payouts.void(tx, batch_id, 1, key="k", now=LATER)
    assert available(tx, alice.customer_id) == 1_000_00 - 30_00
    entries = ledger_history.entries(tx, alice.account, 10)
    assert [(one.reference, str(one.state)) for one in entries if one.kind == "transfer"] == [
        ("T4", "reversed"),
        ("T3", "posted"),
        ("T2", "reversed"),
    ]
    texts = [row[0] for row in tx.execute("SELECT payload FROM outbox ORDER BY id")]
    assert len(texts) == 2
    assert "Not paid out: $20.00 to “John” (T2) is back. Available: $965.00." in texts[0]
    assert owed(tx) == []  # what came back is not owed again
    assert invariants.breaches(tx) == []


def test_void_after_a_merge_goes_to_the_customer_who_stayed(alice: Paying) -> None:
    tx, bob = alice.tx, Paying(alice.tx, BOB)
    batch_id = exported(alice)
    customer_merge.merge(tx, SHOP, from_text=alice.phone, into_text=BOB, now=LATER)
    payouts.void(tx, batch_id, None, key="k", now=LATER)
    assert available(tx, bob.customer_id) == 2_000_00
    assert available(tx, alice.customer_id) == 0
    assert invariants.breaches(tx) == []


def test_what_is_in_a_batch_is_never_cancelled(alice: Paying) -> None:
    tx = alice.tx
    exported(alice)
    longer = msgspec.structs.replace(SHOP, policy=Policy(cancel_window_s=99_999))
    context = PaymentContext(
        business=longer, customer_id=alice.customer_id, message_id="wamid.9", now=LATER
    )
    for reference in ("", "T2", "T3"):
        assert cancellations.cancel(tx, context, reference).refusal is Refusal.PAYING_OUT


def test_an_operator_reverses_neither_it_nor_its_settlement(alice: Paying) -> None:
    tx, batch_id = alice.tx, exported(alice)
    with pytest.raises(RefusedError, match="wbot payout void B1 --payee P1 --key K"):
        ledger_adjustments.reverse(tx, "T2", LATER)
    payouts.settle(tx, batch_id, None, key="k", now=LATER)
    with pytest.raises(RefusedError, match="T2 is in the payout B1 to P1: it has been paid out"):
        ledger_adjustments.reverse(tx, "T2", LATER)
    with pytest.raises(RefusedError, match="T5 settled a payout"):
        ledger_adjustments.reverse(tx, "T5", LATER)


@pytest.mark.parametrize("is_settled", [False, True])
def test_the_database_itself_refuses_to_reverse_it(alice: Paying, is_settled: bool) -> None:
    tx, batch_id = alice.tx, exported(alice)
    if is_settled:
        payouts.settle(tx, batch_id, None, key="k", now=LATER)
    for transfer_id in (2, 5) if is_settled else (2,):
        with pytest.raises(sqlite3.IntegrityError, match="only by voiding it"):
            alice.reverse(transfer_id)


def test_a_transfer_is_in_one_batch_alone(alice: Paying) -> None:
    exported(alice)
    with pytest.raises(sqlite3.IntegrityError):
        alice.tx.execute("INSERT INTO payout_transfers VALUES (2, 2)")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payouts SET amount_minor = 1 WHERE id = 1",
        "UPDATE payout_transfers SET payout_id = 2 WHERE transfer_id = 2",
        "DELETE FROM payout_transfers WHERE transfer_id = 2",
        "UPDATE payouts SET state = 'void' WHERE id = 2",
        "UPDATE payouts SET state = 'settled' WHERE id = 2",
        "UPDATE payouts SET state = 'exported' WHERE id = 1",
        "UPDATE payouts SET transfer_id = 3 WHERE id = 1",
        "UPDATE payouts SET transfer_id = NULL WHERE id = 1",
    ],
)
def test_verification_sees_a_payout_that_was_changed(alice: Paying, change: str) -> None:
    tx, batch_id = alice.tx, exported(alice)
    payouts.settle(tx, batch_id, 1, key="k", now=LATER)
    assert invariants.breaches(tx) == []
    allow_change(tx, "payout", "settled", "exported")
    tx.execute(change)
    assert any("What batch B1 pays" in one for one in invariants.breaches(tx))


def test_verification_sees_a_payout_without_a_batch(alice: Paying) -> None:
    tx = alice.tx
    alice.pay("John", 20_00)
    movement = msgspec.structs.replace(
        alice.movement("John", 20_00),
        kind="payout",
        debit_account_id=accounts.of_payee(tx, SHOP.id, alice.customer_id, "John", NOW),
        credit_account_id=accounts.of_business(tx, SHOP.id),
    )
    assert isinstance(movement, Movement)
    ledger.record(tx, movement, NOW)
    assert "T3 pays out what no batch has." in invariants.breaches(tx)
