"""wbot ledger: an operator moves money in and out, and verifies that the ledger is consistent."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_harness import Wbot
from db_factories import NOW, SHOP, make_tx
from hypothesis import given, settings
from hypothesis import strategies as st
from payment_factories import ALICE, Paying

from wbot.admin import ledger_adjustments
from wbot.admin.ledger_adjustments import Order
from wbot.domain.errors import RefusedError
from wbot.domain.ledger import Phase
from wbot.storage import invariants, ledger
from wbot.storage.database import connect, transaction

BOB = "15550101002"


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    made = Wbot(tmp_path, monkeypatch, capsys)
    made.add_business()
    return made


def available(wbot: Wbot, customer: str = ALICE) -> str:
    found: str = wbot.json("ledger", "balance", "shop", customer)["available"]
    return found


# Deposits and withdrawals -----------------------------------------------------------------------


def test_a_deposit_makes_the_customer_and_the_balance(wbot: Wbot) -> None:
    booked = wbot.json("ledger", "deposit", "shop", f"+{ALICE}", "100", "--memo", "Welcome")
    assert booked == {
        "transfer": "T1",
        "business": "shop",
        "customer": ALICE,
        "kind": "deposit",
        "amount": "100.00",
        "currency": "USD",
        "state": "posted",
        "repeated": False,
        "available": "100.00",
    }
    assert wbot.json("ledger", "balance", "shop", ALICE) == {
        "business": "shop",
        "customer": ALICE,
        "currency": "USD",
        "available": "100.00",
        "held": "0.00",
        "posted": "100.00",
    }


@pytest.mark.parametrize(
    "written", ["15550101001", "+15550101001", "+1 555 010-1001", "(1555) 0101001", "US.Abc123"]
)
def test_a_customer_is_found_again_by_the_number_or_user_id(wbot: Wbot, written: str) -> None:
    if written.startswith("("):
        wbot.done("ledger", "deposit", "shop", ALICE, "1")
        written = "1 (555) 0101001"
    wbot.done("ledger", "deposit", "shop", written, "1")
    wbot.done("ledger", "deposit", "shop", written, "1")
    assert len(wbot.json("customer", "list", "shop")["customers"]) == 1


def test_each_deposit_without_a_key_is_its_own(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    wbot.done("ledger", "deposit", "shop", ALICE, "5")
    assert available(wbot) == "10.00"


def test_a_key_makes_a_deposit_idempotent(wbot: Wbot) -> None:
    arguments = ("ledger", "deposit", "shop", ALICE, "100", "--memo", "June", "--key", "june-1")
    first = wbot.json(*arguments)
    again = wbot.json(*arguments)
    assert again == {**first, "repeated": True}
    assert wbot.done(*arguments).startswith("Already done under this key. T1: 100.00 USD")
    assert available(wbot) == "100.00"


def test_a_repeat_says_that_the_first_was_reversed_since(wbot: Wbot) -> None:
    arguments = ("ledger", "deposit", "shop", ALICE, "100", "--key", "k")
    wbot.done(*arguments)
    wbot.done("ledger", "reverse", "T1")
    assert "was reversed since" in wbot.done(*arguments)
    assert wbot.json(*arguments)["state"] == "reversed"
    assert available(wbot) == "0.00"


@pytest.mark.parametrize(
    "other",
    [
        (ALICE, "101", "--memo", "June"),
        (ALICE, "100", "--memo", "July"),
        (ALICE, "100"),
        (BOB, "100", "--memo", "June"),
        ("15550109999", "100", "--memo", "June"),
    ],
)
def test_a_key_of_another_content_is_refused(wbot: Wbot, other: tuple[str, ...]) -> None:
    wbot.done("ledger", "deposit", "shop", BOB, "1")
    wbot.done("ledger", "deposit", "shop", ALICE, "100", "--memo", "June", "--key", "k")
    ran = wbot("ledger", "deposit", "shop", *other, "--key", "k")
    assert (ran.code, ran.out) == (1, "")
    assert "already used for T2" in ran.err
    found = wbot.json("customer", "list", "shop")["customers"]
    assert [(one["customer"], one["available"]) for one in found] == [
        (BOB, "1.00"),
        (ALICE, "100.00"),
    ]


def test_the_same_key_serves_other_commands_and_businesses(wbot: Wbot) -> None:
    wbot.add_business("cafe")
    wbot.done("ledger", "deposit", "shop", ALICE, "100", "--key", "k")
    wbot.done("ledger", "deposit", "cafe", ALICE, "100", "--key", "k")
    wbot.done("ledger", "withdraw", "shop", ALICE, "30", "--key", "k")
    wbot.done("ledger", "withdraw", "shop", ALICE, "30", "--key", "k")
    assert available(wbot) == "70.00"


def test_a_withdrawal_beyond_the_balance_is_refused_and_stays_so(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "40")
    arguments = ("ledger", "withdraw", "shop", ALICE, "50", "--key", "k")
    ran = wbot(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"wbot: T2 was refused: 50.00 USD is more than {ALICE} had; available now: 40.00.\n"
    )
    wbot.done("ledger", "deposit", "shop", ALICE, "60")
    again = wbot(*arguments, "--json")
    assert (again.code, again.out) == (1, "")
    assert "T2 was already refused" in again.err
    assert available(wbot) == "100.00"
    states = [one["state"] for one in wbot.json("ledger", "statement", "shop", ALICE)["entries"]]
    assert states == ["posted", "refused", "posted"]
    assert wbot.json("ledger", "verify")["ok"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["deposit", "nope", ALICE, "5"], 2, "There is no business 'nope'; known: shop."),
        (["deposit", "shop", "bob", "5"], 2, "'bob' does not identify a customer"),
        (["deposit", "shop", "1234", "5"], 2, "5 to 20 digits"),
        (["deposit", "shop", "1" * 21, "5"], 2, "5 to 20 digits"),
        (["deposit", "shop", "us.abc", "5"], 2, "business-scoped user id"),
        (["deposit", "shop", "C7", "5"], 1, "shop has no customer C7"),
        (["deposit", "shop", ALICE, "0"], 2, "more than zero"),
        (["deposit", "shop", ALICE, "five"], 2, "could not read that amount"),
        (["deposit", "shop", ALICE, "1.005"], 2, "Do you mean $1.005 or $1,005.00?"),
        (["deposit", "shop", ALICE, "5 EUR"], 2, "please give it in USD"),
        (["deposit", "shop", ALICE, "5", "--key", " "], 2, "A key has 1 to 200 characters"),
        (["deposit", "shop", ALICE, "5", "--memo", "\udc80"], 2, "not UTF-8"),
        (["deposit", "shop", ALICE], 2, "Missing argument 'AMOUNT'"),
        (["deposit", "shop", ALICE, "-5"], 2, "AMOUNT is '-5', and must be more than zero"),
        (["withdraw", "shop", ALICE, "5"], 1, f"shop has no customer {ALICE}"),
        (["balance", "shop", ALICE], 1, f"shop has no customer {ALICE}"),
        (["statement", "shop", ALICE], 1, "`wbot customer list shop` lists them"),
        (["statement", "shop", ALICE, "--limit", "0"], 2, "--limit"),
        (["reverse", "T1"], 1, "There is no transfer T1."),
        (["reverse", "X1"], 2, "'X1' is not a transfer reference"),
        (["reverse", "-"], 2, "'-' is not a transfer reference"),
        (["export", "--format", "pdf"], 2, "--format"),
        (["export", "--business", "nope"], 2, "There is no business 'nope'"),
        (
            ["export", "--since", "yesterday"],
            2,
            "'yesterday' is not a date; write it like 2026-11-23.",
        ),
        (["export", "--since", "2026-11-31"], 2, "'2026-11-31' is not a date"),
        (["export", "--until", "20261123"], 2, "'20261123' is not a date"),
        (["export", "--until", "2026-W47-1"], 2, "'2026-W47-1' is not a date"),
        (["export", "--until", "٢٠٢٦-11-23"], 2, "is not a date"),
        (["export", "--until", ""], 2, "'' is not a date"),
        (
            ["export", "--since", "2026-11-02", "--until", "2026-11-01"],
            2,
            "The period ends on 2026-11-01, before it starts on 2026-11-02.",
        ),
        ([], 2, "Usage: wbot ledger"),
    ],
)
def test_bad_input_gets_one_sentence_and_changes_nothing(
    wbot: Wbot, arguments: list[str], code: int, words: str
) -> None:
    ran = wbot("ledger", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert wbot.json("customer", "list", "shop") == {"customers": []}


# Statements, reversals --------------------------------------------------------------------------


def test_a_statement_lists_the_newest_first(wbot: Wbot) -> None:
    assert wbot.json("ledger", "deposit", "shop", ALICE, "100")["transfer"] == "T1"
    wbot.done("ledger", "withdraw", "shop", ALICE, "1.50", "--memo", "Cash; [bold]now")
    entries = wbot.json("ledger", "statement", "shop", ALICE)["entries"]
    assert [one.pop("created_at") > "2026" for one in entries] == [True, True]
    assert entries == [
        {
            "transfer": "T2",
            "kind": "withdrawal",
            "amount": "1.50",
            "currency": "USD",
            "direction": "out",
            "counterparty": "The Shop",
            "state": "posted",
            "message_id": None,
        },
        {
            "transfer": "T1",
            "kind": "deposit",
            "amount": "100.00",
            "currency": "USD",
            "direction": "in",
            "counterparty": "The Shop",
            "state": "posted",
            "message_id": None,
        },
    ]
    assert len(wbot.json("ledger", "statement", "shop", ALICE, "--limit", "1")["entries"]) == 1
    table = wbot.done("ledger", "statement", "shop", ALICE).splitlines()
    assert re.fullmatch(
        r"T2 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  withdrawal +-1\.50  The Shop +posted  "
        r"Cash; \[bold\]now",
        table[1],
    )


def test_a_statement_has_each_transfer_once_whatever_became_of_it(wbot: Wbot) -> None:
    connection = connect(wbot.database)
    with transaction(connection) as tx:
        alice = Paying(tx)
        alice.posted("John", 10_00, "rent")
        alice.resolve(alice.hold("John", 11_00), Phase.VOID)
        alice.resolve(alice.hold("John", 12_00), Phase.EXPIRE)
        alice.reverse(alice.posted("Jim", 14_00))
        alice.hold("John", 13_00)
        refused = msgspec.structs.replace(
            alice.movement("Jane", 9_000_00), credit_account_id=None, refusal="insufficient_funds"
        )
        ledger.record(tx, refused, NOW)
    connection.close()
    entries = wbot.json("ledger", "statement", "shop", ALICE)["entries"]
    shown = ("transfer", "kind", "amount", "direction", "counterparty", "state")
    assert [tuple(one[name] for name in shown) for one in entries] == [
        ("T12", "transfer", "9000.00", "out", "Jane", "refused"),
        ("T11", "transfer", "13.00", "out", "John", "pending"),
        ("T10", "reversal", "14.00", "in", "Jim", "posted"),
        ("T8", "transfer", "14.00", "out", "Jim", "reversed"),
        ("T6", "transfer", "12.00", "out", "John", "void"),
        ("T4", "transfer", "11.00", "out", "John", "void"),
        ("T2", "transfer", "10.00", "out", "John", "posted"),
        ("T1", "deposit", "1000.00", "in", "The Shop", "posted"),
    ]
    table = wbot.done("ledger", "statement", "shop", ALICE).splitlines()
    assert [line.split("  ")[-1].strip() for line in table[1:4]] == [
        "refused: insufficient funds",
        "pending",
        "posted",
    ]
    assert re.search(r"transfer +-10\.00  John \(outside\) +posted +rent$", table[7])
    assert wbot.json("ledger", "balance", "shop", ALICE) == {
        "business": "shop",
        "customer": ALICE,
        "currency": "USD",
        "available": "977.00",
        "held": "13.00",
        "posted": "990.00",
    }


def test_a_customer_without_money_has_an_empty_statement(wbot: Wbot) -> None:
    wbot("ledger", "deposit", "shop", ALICE, "5")
    wbot.done("ledger", "reverse", "1")
    wbot.add_business("cafe")
    with sqlite3.connect(wbot.database) as connection:
        connection.execute(
            "INSERT INTO customers (id, business_id, created_at) VALUES (9, 'cafe', ?)", (NOW,)
        )
    connection.close()
    assert wbot.json("ledger", "balance", "cafe", "C9")["available"] == "0.00"
    assert wbot.json("ledger", "statement", "cafe", "C9") == {"entries": []}
    assert wbot.done("ledger", "statement", "cafe", "C9") == "No money has moved for C9 yet.\n"


@pytest.mark.parametrize("reference", ["T2", "t2", "2", " T 2 "])
def test_a_reversal_puts_the_money_back_once(wbot: Wbot, reference: str) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "100")
    wbot.done("ledger", "withdraw", "shop", ALICE, "30")
    done = wbot.json("ledger", "reverse", reference)
    assert done == {
        "transfer": "T2",
        "reversal": "T3",
        "business": "shop",
        "amount": "30.00",
        "currency": "USD",
        "back_to": ALICE,
        "state": "reversed",
    }
    assert available(wbot) == "100.00"
    again = wbot("ledger", "reverse", reference)
    assert (again.code, again.err) == (1, "wbot: T2 is already reversed.\n")
    its_own = wbot("ledger", "reverse", "T3")
    assert (its_own.code, its_own.err) == (1, "wbot: T3 is itself a reversal.\n")


def test_a_reversal_that_would_overdraw_is_refused(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "100")
    wbot.done("ledger", "withdraw", "shop", ALICE, "30")
    ran = wbot("ledger", "reverse", "T1")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"wbot: Reversing T1 would overdraw the account of {ALICE}: 100.00 USD would have to come "
        "back, and 70.00 is available.\n"
    )
    assert available(wbot) == "70.00"


def test_a_refused_transfer_cannot_be_reversed(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "1")
    assert wbot("ledger", "withdraw", "shop", ALICE, "2").code == 1
    ran = wbot("ledger", "reverse", "T2")
    assert (ran.code, ran.err) == (1, "wbot: There is no posted transfer T2.\n")


# Verification -----------------------------------------------------------------------------------


def test_a_consistent_ledger_is_reported_as_such(wbot: Wbot) -> None:
    wbot.done("ledger", "deposit", "shop", ALICE, "1")
    assert wbot.done("ledger", "verify") == (
        "The books are right; checked 1 transfer, 2 postings and 2 accounts.\n"
    )
    assert wbot.json("ledger", "verify") == {"ok": True, "breaches": []}


UNLOCKED = """
DROP TRIGGER transfers_are_not_edited; DROP TRIGGER transfers_are_not_deleted;
DROP TRIGGER postings_are_not_edited; DROP TRIGGER postings_are_not_deleted;
"""


# Account 1 is Alice's with 100.00 of T1 and T2, account 3 is Bob's with 5.00 of T3.
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("UPDATE balances SET posted_minor = posted_minor + 1 WHERE account_id = 1", "says 10001"),
        ("UPDATE balances SET held_minor = 5 WHERE account_id = 1", "holds 5 minor units"),
        ("DELETE FROM balances WHERE account_id = 1", "says 0 minor units"),
        ("UPDATE postings SET amount_minor = 5 WHERE account_id = 1", "do not match its amount"),
        ("DELETE FROM postings WHERE account_id = 1", "do not match its amount"),
        ("UPDATE transfers SET amount_minor = 5", "does not continue the chain"),
        ("UPDATE transfers SET created_at = 'x'", "does not continue the chain"),
        ("UPDATE transfers SET cause_key = cause_key || 'x'", "does not continue the chain"),
        ("DELETE FROM transfers WHERE id = 3", "has no part in it"),
        ("UPDATE transfers SET currency = 'EUR'", "another currency or business"),
        (
            """
            UPDATE postings SET account_id = 3 WHERE transfer_id = 1 AND account_id = 1;
            UPDATE balances SET posted_minor = 3000 WHERE account_id = 1;
            UPDATE balances SET posted_minor = 7500 WHERE account_id = 3;
            """,
            "A posting of T1 is on account 3, which has no part in it.",
        ),
        (
            """
            UPDATE postings SET amount_minor = -amount_minor;
            UPDATE balances SET posted_minor = -posted_minor;
            """,
            "Account 3 is overdrawn: -500 minor units are available.",
        ),
    ],
)
def test_a_hand_in_the_file_is_noticed(wbot: Wbot, harm: str, words: str) -> None:
    for customer, amount in ((ALICE, "70"), (ALICE, "30"), (BOB, "5")):
        wbot.done("ledger", "deposit", "shop", customer, amount)
    connection = sqlite3.connect(wbot.database)
    connection.executescript(UNLOCKED + harm)
    connection.close()
    ran = wbot("ledger", "verify")
    assert ran.code == 1
    assert words in ran.out
    assert "the books are wrong" in ran.err
    machine = wbot("ledger", "verify", "--json")
    assert machine.code == 1
    assert machine.json == {"ok": False, "breaches": ran.out.splitlines()}


# A long run -------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["deposit", "withdraw", "reverse"]),
        st.sampled_from([ALICE, BOB, "US.Abc"]),
        st.integers(1, 30),
        st.sampled_from([None, "a", "b"]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_the_ledger_stays_consistent_whatever_operators_do(
    steps: list[tuple[str, str, int, str | None]],
) -> None:
    tx = make_tx()
    for step in steps:
        try:
            do(tx, step)
        except RefusedError:
            continue
    assert invariants.breaches(tx) == []
    held: list[Any] = tx.execute("SELECT sum(posted_minor) FROM balances").fetchone()
    assert held[0] in {None, 0}
    tx.close()


def do(tx: sqlite3.Connection, step: tuple[str, str, int, str | None]) -> None:
    """One step as the command line runs it, in a transaction that a refusal rolls back."""
    verb, customer, number, key = step
    tx.execute("SAVEPOINT step")
    try:
        if verb == "reverse":
            ledger_adjustments.reverse(tx, f"T{number}", NOW)
        else:
            order = Order(customer=customer, amount=str(number), key=key)
            book = ledger_adjustments.deposit if verb == "deposit" else ledger_adjustments.withdraw
            book(tx, SHOP, order, NOW)
    except RefusedError:
        tx.execute("ROLLBACK TO step")
        raise
    finally:
        tx.execute("RELEASE step")
