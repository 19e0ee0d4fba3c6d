"""wbot customer and payee: two customers are merged, and no money is lost."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cli_harness import Wbot
from db_factories import (
    NOW,
    SHOP,
    available,
    end_message,
    give,
    make_customer,
    make_message,
    make_tx,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.admin import customer_lookup, customer_merge, ledger_adjustments
from wbot.admin.customer_merge import Merged
from wbot.admin.ledger_adjustments import Order
from wbot.domain.business import Policy
from wbot.domain.errors import RefusedError
from wbot.domain.ledger import Cause, CauseKind, TransferKind
from wbot.domain.outgoing import Text
from wbot.domain.states import MessageState
from wbot.storage import accounts, customers, invariants, ledger, outbox, payees

ALICE, BOB, CAROL = "15550101001", "15550101002", "15550101003"


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    made = Wbot(tmp_path, monkeypatch, capsys)
    made.add_business()
    return made


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    connection = make_tx()
    yield connection
    connection.close()


def merge(tx: sqlite3.Connection, from_text: str, into_text: str) -> Merged:
    return customer_merge.merge(tx, SHOP, from_text=from_text, into_text=into_text, now=NOW)


def pay(tx: sqlite3.Connection, customer_id: int, name: str, amount_minor: int, key: str) -> int:
    """A transfer to one of the customer's payees."""
    movement = ledger.Movement(
        business_id=SHOP.id,
        kind=TransferKind.TRANSFER,
        debit_account_id=accounts.of_customer(tx, SHOP.id, customer_id),
        credit_account_id=accounts.of_payee(tx, SHOP.id, customer_id, name, NOW),
        amount_minor=amount_minor,
        currency="USD",
        cause=Cause(CauseKind.OPERATOR, key),
        payee=name,
    )
    payees.learn(tx, customer_id, int(movement.credit_account_id or 0), NOW)
    return ledger.record(tx, movement, NOW)


def put_reply(tx: sqlite3.Connection, conversation_id: int) -> int:
    """Store a reply that waits to be sent."""
    reply = outbox.NewReply(
        business_id=SHOP.id,
        conversation_id=conversation_id,
        cause="message:m:0",
        part=0,
        message_id=None,
        reply_phone=ALICE,
        reply_user_id=None,
        content=Text("Hello"),
        created_at=NOW,
    )
    outbox.add(tx, reply)
    return int(tx.execute("SELECT max(id) FROM outbox").fetchone()[0])


# The commands -----------------------------------------------------------------------------------


def test_customers_are_listed_and_shown(wbot: Wbot) -> None:
    assert wbot.json("customer", "list", "shop") == {"customers": []}
    assert wbot.done("customer", "list", "shop") == "shop has no customers yet.\n"
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    wbot.done("ledger", "deposit", "shop", "US.Abc1", "2")
    listed = wbot.json("customer", "list", "shop")["customers"]
    assert listed[0] == {
        "id": "C1",
        "customer": ALICE,
        "name": None,
        "currency": "USD",
        "available": "5.00",
        "held": "0.00",
        "posted": "5.00",
        "messages": 0,
        "last_message_at": None,
        "merged_into": None,
    }
    assert [one["customer"] for one in listed] == [ALICE, "US.Abc1"]
    shown = wbot.json("customer", "show", "shop", "US.Abc1")
    assert [(one["kind"], one["value"]) for one in shown["aliases"]] == [("user_id", "US.Abc1")]
    assert shown["payees"] == shown["merged_from"] == []
    assert wbot.json("customer", "show", "shop", "c2") == shown
    assert f"Phone         {ALICE}, since 2" in wbot.done("customer", "show", "shop", "C1")


def test_a_merge_is_reported_and_shown(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    wbot.done("ledger", "deposit", "shop", BOB, "2")
    first = wbot.json("customer", "merge", "shop", f"+{ALICE}", BOB)
    assert first == {
        "business": "shop",
        "from": "C1",
        "into": BOB,
        "transfer": "T3",
        "amount": "5.00",
        "currency": "USD",
        "repeated": False,
    }
    assert wbot.json("customer", "merge", "shop", ALICE, BOB) == {**first, "repeated": True}
    assert wbot.done("customer", "merge", "shop", ALICE, BOB) == (
        f"C1 was already merged into {BOB}: 5.00 USD moved with T3.\n"
    )
    assert "Merged from   C1" in wbot.done("customer", "show", "shop", ALICE)
    assert "Merged into   C2" in wbot.done("customer", "show", "shop", "C1")
    assert "merged into C2" in wbot.done("customer", "list", "shop")
    statement = wbot.done("ledger", "statement", "shop", BOB)
    assert "Transfers of C1 before the merge are under C1." in statement
    kinds = [one["kind"] for one in wbot.json("ledger", "statement", "shop", "C1")["entries"]]
    assert kinds == ["merge", "deposit"]
    assert wbot.json("ledger", "verify")["ok"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["list", "nope"], 2, "There is no business 'nope'"),
        (["show", "shop", BOB], 1, f"shop has no customer {BOB}"),
        (["show", "shop", "Bob"], 2, "'Bob' does not identify a customer"),
        (["show", "shop", "C9"], 1, "shop has no customer C9"),
        (["merge", "shop", BOB, ALICE], 1, f"shop has no customer {BOB}"),
        (["merge", "shop", ALICE, BOB], 1, f"shop has no customer {BOB}"),
        (["merge", "shop", ALICE, f"+{ALICE}"], 1, "are already one customer"),
        (["merge", "shop", ALICE], 2, "Missing argument 'INTO'"),
    ],
)
def test_bad_input_gets_one_sentence(
    wbot: Wbot, arguments: list[str], code: int, words: str
) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    ran = wbot("customer", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_a_payee_is_added_once_however_it_is_written(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    added = wbot.json("payee", "add", "shop", ALICE, "  John\n Smith ")
    assert added == {
        "business": "shop",
        "customer": ALICE,
        "payee": "John Smith",
        "created": True,
    }
    assert wbot.done("payee", "add", "shop", ALICE, "JOHN smith") == (
        f"John Smith was already a payee of {ALICE}.\n"
    )
    shown = wbot.json("customer", "show", "shop", ALICE)
    assert shown["payees"] == [
        {"payee": "P1", "name": "John Smith", "number": None, "received": "0.00", "of": "C1"}
    ]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("", 2, "can have 24 characters"),
        ("\u202e \n", 2, "can have 24 characters"),
        ("x" * 25, 2, "can have 24 characters"),
        ("+1 555 010 1002", 1, "shop has no customer +1 555 010 1002"),
        (ALICE, 1, "A customer cannot be their own payee."),
        ("42!", 2, "neither a name nor a phone number"),
        ("J\u043ehn", 2, "mixes letters of different alphabets"),
    ],
)
def test_a_name_that_no_payment_could_use_is_refused(
    wbot: Wbot, name: str, code: int, words: str
) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    ran = wbot("payee", "add", "shop", ALICE, name)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


# Merging ----------------------------------------------------------------------------------------


def test_messages_from_either_alias_reach_the_merged_customer(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB, "Bob")
    customers.resolve(tx, SHOP.id, phone=ALICE, user_id="US.A", name=None, now=NOW)
    merge(tx, BOB, ALICE)
    found = {
        customers.resolve(tx, SHOP.id, phone=phone, user_id=user_id, name=None, now=NOW).customer_id
        for phone, user_id in ((ALICE, None), (BOB, None), (None, "US.A"), (BOB, "US.A"))
    }
    assert found == {alice}
    assert customers.survivor(tx, bob) == alice
    retired = [one.value for one in customers.aliases(tx, bob) if one.retired_at == NOW]
    assert retired == [BOB]
    assert customers.name_of(tx, alice) == "Bob"


@pytest.mark.parametrize("busy", [ALICE, BOB])
def test_a_merge_waits_for_messages_in_progress(tx: sqlite3.Connection, busy: str) -> None:
    make_customer(tx, ALICE)
    make_customer(tx, BOB)
    customer_id = customers.find(tx, SHOP.id, busy)
    assert customer_id is not None
    make_message(tx, customer_id, "wamid.1")
    with pytest.raises(RefusedError, match=f"A message of {busy} is not answered yet"):
        merge(tx, ALICE, BOB)
    end_message(tx, "wamid.1", state=MessageState.ANSWERED, reason=None, now=NOW)
    assert not merge(tx, ALICE, BOB).is_repeated


@pytest.mark.parametrize("busy", [ALICE, BOB])
def test_a_merge_waits_for_replies_on_their_way(tx: sqlite3.Connection, busy: str) -> None:
    make_customer(tx, ALICE)
    make_customer(tx, BOB)
    customer_id = customers.find(tx, SHOP.id, busy)
    assert customer_id is not None
    outbox_id = put_reply(tx, customers.conversation_of(tx, SHOP.id, customer_id, NOW))
    with pytest.raises(RefusedError, match=f"A reply to {busy} is still being sent"):
        merge(tx, ALICE, BOB)
    outbox.accept(tx, outbox_id, "wamid.out", NOW)
    assert not merge(tx, ALICE, BOB).is_repeated


def test_money_on_hold_holds_the_merge_up(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, ALICE)
    make_customer(tx, BOB)
    give(tx, alice, 500)
    tx.execute("UPDATE balances SET held_minor = 1 WHERE posted_minor > 0")
    with pytest.raises(RefusedError, match="is on hold"):
        merge(tx, ALICE, BOB)


def test_a_merged_customer_is_merged_no_further(tx: sqlite3.Connection) -> None:
    for phone in (ALICE, BOB, CAROL):
        make_customer(tx, phone)
    merge(tx, ALICE, BOB)
    with pytest.raises(RefusedError, match=f"C1 was already merged into {BOB}"):
        merge(tx, "C1", CAROL)
    with pytest.raises(RefusedError, match=f"C1 was already merged into {BOB}"):
        merge(tx, CAROL, "C1")
    merge(tx, BOB, CAROL)
    assert merge(tx, ALICE, CAROL).is_repeated
    assert merge(tx, "C1", CAROL).is_repeated
    assert merge(tx, "C2", CAROL).is_repeated


def test_a_repeat_names_the_latest_merge_of_a_number(tx: sqlite3.Connection) -> None:
    for phone in (ALICE, BOB, CAROL):
        give(tx, make_customer(tx, phone), 100)
    merge(tx, CAROL, ALICE)
    first = merge(tx, CAROL, BOB)
    assert (first.from_id, first.amount_minor) == (1, 200)
    assert merge(tx, CAROL, BOB) == msgspec.structs.replace(first, is_repeated=True)


def test_two_names_of_one_customer_are_no_merge(tx: sqlite3.Connection) -> None:
    customers.resolve(tx, SHOP.id, phone=ALICE, user_id="US.A", name=None, now=NOW)
    with pytest.raises(RefusedError, match="are already one customer"):
        merge(tx, "US.A", ALICE)


def test_payees_move_and_those_of_one_name_both_stay_reachable(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    give(tx, alice, 1_000)
    give(tx, bob, 1_000)
    to_john = pay(tx, alice, "John", 100, "a")
    pay(tx, alice, "Mary", 50, "b")
    pay(tx, bob, "JOHN", 7, "c")
    merge(tx, ALICE, BOB)
    assert [(one.name, one.posted_minor) for one in payees.of_customer(tx, bob)] == [
        ("JOHN", 7),
        ("Mary", 50),
    ]
    assert [(one.name, one.posted_minor) for one in payees.of_customer(tx, alice)] == [
        ("John", 100)
    ]
    assert available(tx, bob) == 850 + 993
    reversed_ = ledger_adjustments.reverse(tx, f"T{to_john}", NOW)
    assert reversed_.passed_on_to == BOB
    assert (available(tx, alice), available(tx, bob)) == (0, 950 + 993)
    assert invariants.breaches(tx) == []


def test_two_debts_are_not_merged_beyond_the_overdraft(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    tx.execute("UPDATE businesses SET overdraft_minor = 2000")
    for customer_id, key in ((alice, "a"), (bob, "b")):
        pay(tx, customer_id, "John", 2_000, key)
    shop = msgspec.structs.replace(SHOP, policy=Policy(overdraft_minor=2_000))
    with pytest.raises(RefusedError, match=r"owe 20\.00 USD more than the overdraft"):
        customer_merge.merge(tx, shop, from_text=ALICE, into_text=BOB, now=NOW)
    give(tx, bob, 2_000)
    customer_merge.merge(tx, shop, from_text=ALICE, into_text=BOB, now=NOW)
    assert invariants.breaches(tx) == []


def test_shown_payees_name_their_former_owner(wbot: Wbot) -> None:
    for customer in (ALICE, BOB):
        wbot.done("ledger", "deposit", "shop", customer, "5")
        wbot.done("payee", "add", "shop", customer, "John")
    wbot.done("customer", "merge", "shop", ALICE, BOB)
    shown = wbot.json("customer", "show", "shop", BOB)
    assert [(one["name"], one["of"]) for one in shown["payees"]] == [("John", "C2"), ("John", "C1")]
    assert "(from C1 before the merge)" in wbot.done("customer", "show", "shop", BOB)


def test_a_merge_cannot_be_reversed_by_its_transfer(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    wbot.done("ledger", "deposit", "shop", BOB, "5")
    wbot.done("customer", "merge", "shop", ALICE, BOB)
    ran = wbot("ledger", "reverse", "T3")
    assert (ran.code, ran.err) == (
        1,
        "wbot: T3 moved a balance in a merge, which cannot be undone.\n",
    )
    into_the_past = wbot("ledger", "deposit", "shop", "C1", "5")
    assert "C1 was merged into 15550101002" in into_the_past.err


def test_what_comes_back_to_a_merged_customer_goes_on(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    wbot.done("ledger", "withdraw", "shop", ALICE, "2")
    wbot.done("ledger", "deposit", "shop", BOB, "1")
    wbot.done("customer", "merge", "shop", ALICE, BOB)
    assert wbot.done("ledger", "reverse", "T2") == (
        f"T5 reverses T2: 2.00 USD is back with {BOB}, into whom C1 was merged.\n"
    )
    assert wbot.json("ledger", "balance", "shop", BOB)["available"] == "6.00"
    assert wbot.json("ledger", "verify")["ok"]


def test_a_key_means_the_same_deposit_after_a_merge(tx: sqlite3.Connection) -> None:
    make_customer(tx, ALICE)
    bob = make_customer(tx, BOB)
    order = Order(customer=ALICE, amount="5", key="k")
    first = ledger_adjustments.deposit(tx, SHOP, order, NOW)
    merge(tx, ALICE, BOB)
    again = ledger_adjustments.deposit(tx, SHOP, order, NOW)
    assert (again.is_repeated, again.transfer.id) == (True, first.transfer.id)
    assert available(tx, bob) == 500


phones = st.sampled_from([ALICE, BOB, CAROL, "15550101004"])


@settings(max_examples=150, deadline=None)
@given(
    deposits=st.lists(st.tuples(phones, st.integers(1, 10_000)), max_size=8),
    merges=st.lists(st.tuples(phones, phones), max_size=8),
)
def test_merging_conserves_money_and_repeats_exactly(
    deposits: list[tuple[str, int]], merges: list[tuple[str, str]]
) -> None:
    tx = make_tx()
    for phone, amount_minor in deposits:
        give(tx, make_customer(tx, phone), amount_minor)
    for from_text, into_text in merges:
        try:
            merged = merge(tx, from_text, into_text)
        except RefusedError:
            continue
        before = tx.total_changes
        again = merge(tx, from_text, into_text)
        assert again.is_repeated
        assert again.transfer_id == merged.transfer_id
        assert tx.total_changes == before
        assert customer_lookup.required(tx, SHOP, from_text).customer_id == again.into.customer_id
    held = sum(row.posted_minor for row in customers.listed(tx, SHOP.id) if row.merged_into is None)
    assert held == sum(amount_minor for _, amount_minor in deposits)
    assert invariants.breaches(tx) == []
    tx.close()


def test_an_operator_names_a_number_for_a_customer_once(wbot: Wbot) -> None:
    for phone in (ALICE, BOB, CAROL):
        wbot.done("ledger", "deposit", "shop", phone, "5")
    assert wbot.done("payee", "add", "shop", ALICE, f"Bob +{BOB}") == (
        f"Bob (+{BOB}) is now a payee of {ALICE}.\n"
    )
    assert f"Bob, a customer: +{BOB}" in wbot.done("customer", "show", "shop", ALICE)
    again = wbot("payee", "add", "shop", ALICE, f"Bob +{CAROL}")
    assert (again.code, again.out) == (1, "")
    assert f"“Bob” is +{BOB} for {ALICE}; only they can change that" in again.err
