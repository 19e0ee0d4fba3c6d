"""What the model may call: valid and invalid calls, each effect once, and within limits."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from db_factories import (
    AT_ONCE,
    NOW,
    SHOP,
    after,
    available,
    give,
    make_customer,
    make_message,
    make_tx,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.admin import customer_lookup
from wbot.clients.model import ToolCall
from wbot.domain.business import Business, PayeeRule
from wbot.domain.policy import SENTENCES, Refusal
from wbot.domain.receipts import MARK
from wbot.payments.context import PaymentContext
from wbot.storage import accounts, customers, invariants, journal, ledger, ledger_history
from wbot.turns import toolbox
from wbot.turns.toolbox import ToolStep

ALICE, BOB = "15550101001", "15550101002"
BIDI = "\N{RIGHT-TO-LEFT OVERRIDE}"


class ToolCaller:
    """A customer with $100.00 whose messages make the model call tools."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self.tx = tx
        self.alice = make_customer(tx, ALICE, "Alice")
        self.bob = make_customer(tx, BOB, "Bob")
        self.business = SHOP
        give(tx, self.alice, 10_000)
        self.said: set[str] = set()

    def call(
        self,
        tool: str,
        arguments: Any,
        *,
        message: str = "wamid.1",
        who: int | None = None,
        now: str = NOW,
    ) -> ToolStep:
        """Make one call; arguments are JSON text, or a value to be encoded."""
        customer_id = self.alice if who is None else who
        if message not in self.said:
            make_message(self.tx, customer_id, message)
            self.said.add(message)
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        customer = PaymentContext(
            business=self.business, customer_id=customer_id, message_id=message, now=now
        )
        step = toolbox.call(self.tx, customer, ToolCall("call_1", tool, text))
        assert (step.call_id, step.name) == ("call_1", tool)
        return step

    def result(self, tool: str, arguments: Any, **more: Any) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.call(tool, arguments, **more).result)
        return result

    def pay(self, amount: str = "20", to: str = "John", **more: Any) -> dict[str, Any]:
        return self.result("transfer", {"amount": amount, "to": to}, **more)

    @property
    def left(self) -> int:
        return available(self.tx, self.alice)

    @property
    def transfers(self) -> int:
        return int(self.tx.execute("SELECT count(*) FROM transfers").fetchone()[0]) - 1


@pytest.fixture
def caller() -> Iterator[ToolCaller]:
    tx = make_tx()
    caller = ToolCaller(tx)
    yield caller
    assert invariants.breaches(tx) == []
    tx.close()


# Offered tools ---------------------------------------------------------------------------------


def test_the_tools_are_those_of_the_contract() -> None:
    offered = {
        one["function"]["name"]: {
            name: (kind["type"], name in one["function"]["parameters"].get("required", []))
            for name, kind in one["function"]["parameters"]["properties"].items()
        }
        for one in toolbox.definitions()
    }
    assert offered == {
        "transfer": {"amount": ("string", True), "to": ("string", True), "memo": ("string", False)},
        "cancel": {"transfer": ("string", False)},
        "balance": {},
        "statement": {"limit": ("integer", False)},
    }


def test_the_description_of_a_tool_fits_what_it_reads() -> None:
    for name, tool in toolbox.TOOLS.items():
        assert name == tool.name
        assert set(tool.parameters["properties"]) == set(tool.arguments.__struct_fields__)
        assert tool.parameters["additionalProperties"] is False


# transfer --------------------------------------------------------------------------------------


def test_a_transfer_to_a_payee_posts_and_says_so(caller: ToolCaller) -> None:
    step = caller.call("transfer", {"amount": "20.00", "to": "John", "memo": "lunch"})
    assert json.loads(step.result) == {
        "ok": True,
        "state": "posted",
        "transfer": "T2",
        "amount": "20.00",
        "currency": "USD",
        "to": "John",
        "payee": "outside",
        "available": "80.00",
    }
    assert (
        step.receipt
        == f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2). Available: $80.00."
    )
    assert caller.left == 8_000
    entry = ledger_history.latest_outgoing(
        caller.tx, accounts.of_customer(caller.tx, "shop", caller.alice)
    )
    assert entry is not None
    assert (entry.counterparty, entry.memo, entry.message_id) == ("John", "lunch", "wamid.1")


@pytest.mark.parametrize("to", [BOB, f"+{BOB}", "+1 (555) 010-1002", int(BOB), f"{MARK}+{BOB}"])
def test_a_transfer_to_a_number_reaches_that_customer(caller: ToolCaller, to: object) -> None:
    assert caller.result("transfer", {"amount": "20", "to": to})["ok"]
    assert (caller.left, available(caller.tx, caller.bob)) == (8_000, 2_000)


def test_a_customer_of_another_business_is_unknown_here() -> None:
    other = Business(
        id="other",
        name="Other",
        phone_number_id="2",
        access_token="env:T",
        currency_code="USD",
    )
    caller = ToolCaller(make_tx(other))
    stranger = "15550101009"
    customers.resolve(caller.tx, "other", phone=stranger, user_id=None, name=None, now=NOW)
    assert caller.pay(to=stranger)["refusal"] == Refusal.UNKNOWN_CUSTOMER


@pytest.mark.parametrize(
    ("amount", "to", "refusal"),
    [
        ("100.01", "John", Refusal.INSUFFICIENT_FUNDS),
        ("9999999999999.99", "John", Refusal.INSUFFICIENT_FUNDS),
        ("20", "+15550109999", Refusal.UNKNOWN_CUSTOMER),
        ("20", f"+{ALICE}", Refusal.OWN_ACCOUNT),
        ("500", f"+{ALICE}", Refusal.OWN_ACCOUNT),
    ],
)
def test_a_transfer_that_may_not_be_is_refused_and_remembered(
    caller: ToolCaller, amount: str, to: str, refusal: Refusal
) -> None:
    step = caller.call("transfer", {"amount": amount, "to": to})
    result = json.loads(step.result)
    assert (result["ok"], result["refusal"], result["state"]) == (False, refusal, "refused")
    assert result["error"] == SENTENCES[refusal]
    assert result["available"] == "100.00"
    assert step.receipt is not None
    assert step.receipt.startswith(f"{MARK} Not sent: $")
    assert step.receipt.endswith(f" to “{to}”. {SENTENCES[refusal]} Available: $100.00.")
    row = ledger.by_id(caller.tx, 2)
    assert row is not None
    assert (row.phase, row.refusal) == ("refused", refusal)
    assert caller.left == 10_000


def test_the_whole_balance_can_be_sent_and_not_a_cent_more(caller: ToolCaller) -> None:
    assert caller.pay("100.00")["available"] == "0.00"
    assert caller.pay("0.01", "Jane")["refusal"] == Refusal.INSUFFICIENT_FUNDS


def test_a_payee_who_looks_like_a_known_one_is_asked_about_whatever_the_threshold(
    caller: ToolCaller,
) -> None:
    assert caller.call("transfer", {"amount": "20", "to": "John"}).receipt
    step = caller.call("transfer", {"amount": "20", "to": "J0hn"})
    assert json.loads(step.result)["state"] == "pending"
    assert step.receipt is None


@pytest.mark.parametrize("amount", [20, 20.0, "20", "$20.00", "20 dollars", "20,00", "USD 20"])
@pytest.mark.parametrize("to", ["John", " john ", "JOHN", f"Jo{BIDI}hn", f"{MARK} John\n"])
def test_the_same_transfer_in_one_message_acts_once_whatever_the_spelling(
    caller: ToolCaller, amount: object, to: str
) -> None:
    first = caller.pay("20.00", "John")
    again = caller.call("transfer", {"amount": amount, "to": to, "memo": "again"})
    assert json.loads(again.result) == first | {
        "repeated": "The same call in one message acts once."
    }
    assert (
        again.receipt
        == f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2). Available: $80.00."
    )
    assert (caller.transfers, caller.left) == (1, 8_000)


@pytest.mark.parametrize(
    "to", [BOB, "+1-555-010-1002", f"{MARK}+{BOB}", f"{BIDI}+{BOB}", f"{BOB} "]
)
def test_the_same_number_in_one_message_is_paid_once_whatever_the_spelling(
    caller: ToolCaller, to: str
) -> None:
    caller.pay(to=f"+{BOB}")
    assert "repeated" in caller.pay(to=to)
    assert (caller.left, available(caller.tx, caller.bob)) == (8_000, 2_000)


def test_another_amount_or_payee_is_another_transfer(caller: ToolCaller) -> None:
    for amount, to in (("20", "John"), ("20.01", "John"), ("20", "Jane"), ("20", BOB)):
        assert "repeated" not in caller.pay(amount, to)
    assert (caller.transfers, caller.left) == (4, 1_999)


def test_the_same_words_in_another_message_pay_again(caller: ToolCaller) -> None:
    caller.pay()
    assert "repeated" not in caller.pay(message="wamid.2")
    assert caller.left == 6_000


def test_a_refused_transfer_stays_refused_in_its_message(caller: ToolCaller) -> None:
    refused = caller.pay("150")
    give(caller.tx, caller.alice, 10_000)
    assert caller.pay("150.00", " JOHN ") == refused | {
        "repeated": "The same call in one message acts once."
    }
    assert caller.left == 20_000
    assert caller.pay("150", message="wamid.2")["ok"]


def test_payee_and_memo_are_one_clean_line_each(caller: ToolCaller) -> None:
    evil = f"{BIDI}Jo\nhn\r\n{MARK} Available: $9\t9\0 \ud800{'x' * 100}"
    payee = f"{BIDI}Jo\nhn\r\n{MARK} Available\t9\0 \ud800xyz"
    step = caller.call("transfer", {"amount": "20", "to": payee, "memo": evil})
    assert step.receipt is not None
    assert step.receipt.count(MARK) == 1
    assert len(step.receipt.splitlines()) == 1
    (row,) = caller.tx.execute("SELECT payee, memo FROM transfer_texts").fetchall()
    assert row["memo"] == f"Jo hn Available: $9 9 {'x' * 100}"
    assert row["payee"] == "Jo hn Available 9 xyz"


@pytest.mark.parametrize("memo", ["", "  ", "\n", MARK, None])
def test_an_empty_memo_is_none(caller: ToolCaller, memo: str | None) -> None:
    assert caller.result("transfer", {"amount": "20", "to": "John", "memo": memo})["ok"]
    assert caller.tx.execute("SELECT memo FROM transfer_texts").fetchone()["memo"] is None


# Invalid calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("transfer", "", "missing required field `amount`"),
        ("transfer", "{", "do not fit"),
        ("transfer", "20 to John", "do not fit"),
        ("transfer", '{"amount": "20", "to": "John"', "do not fit"),
        ("transfer", '{"amount": NaN, "to": "John"}', "do not fit"),
        pytest.param("transfer", "[" * 100_000, "do not fit", id="deep"),
        ("transfer", "[]", "do not fit"),
        ("transfer", '["20", "John"]', "do not fit"),
        ("transfer", "null", "do not fit"),
        ("transfer", '"20"', "do not fit"),
        ("transfer", {"amount": "20"}, "missing required field `to`"),
        ("transfer", {"amount": None, "to": "John"}, "do not fit"),
        ("transfer", {"amount": True, "to": "John"}, "do not fit"),
        ("transfer", {"amount": ["20"], "to": "John"}, "do not fit"),
        ("transfer", {"amount": "20", "to": {"name": "John"}}, "do not fit"),
        ("transfer", {"amount": "20", "to": "John", "memo": ["x"]}, "do not fit"),
        ("transfer", '{"amount": 1e2, "to": "John"}', "could not read that amount"),
        ("transfer", {"amount": "", "to": "John"}, "Please give an amount"),
        ("transfer", {"amount": "0", "to": "John"}, "more than zero"),
        ("transfer", {"amount": -20, "to": "John"}, "more than zero"),
        ("transfer", {"amount": 10**400, "to": "John"}, "could not read that amount"),
        ("transfer", {"amount": 10**15, "to": "John"}, "too large"),
        ("transfer", {"amount": 20.505, "to": "John"}, "$20.505 or $20,505.00"),
        ("transfer", {"amount": "€20", "to": "John"}, "give it in USD"),
        ("transfer", {"amount": "all of it", "to": "John"}, "could not read that amount"),
        ("transfer", {"amount": "20", "to": ""}, "Whom should"),
        ("transfer", {"amount": "20", "to": " \n"}, "Whom should"),
        ("transfer", {"amount": "20", "to": MARK}, "Whom should"),
        ("transfer", {"amount": "20", "to": BIDI}, "Whom should"),
        ("transfer", {"amount": "20", "to": "\ud800"}, "Whom should"),
        ("cancel", {"transfer": 1.5}, "no such transfer"),
        ("cancel", {"transfer": ["T1"]}, "do not fit"),
        ("cancel", "[]", "do not fit"),
        ("balance", "[]", "do not fit"),
        ("balance", "{", "do not fit"),
        ("statement", {"limit": "many"}, "do not fit"),
        ("statement", {"limit": True}, "do not fit"),
        ("statement", {"limit": 2.5}, "do not fit"),
        ("statement", {"limit": [5]}, "do not fit"),
        ("withdraw", {}, "There is no tool 'withdraw'"),
        ("", {}, "There is no tool ''"),
        ("Transfer", {"amount": "20", "to": "John"}, "There is no tool"),
        ("\ud800", {}, "There is no tool"),
    ],
)
def test_a_call_that_does_not_fit_gets_a_sentence_and_does_nothing(
    caller: ToolCaller, tool: str, arguments: object, sentence: str
) -> None:
    step = caller.call(tool, arguments)
    result = json.loads(step.result)
    assert result["ok"] is False
    assert sentence in result["error"]
    assert result["error"].endswith((".", "?"))
    assert "\n" not in result["error"]
    assert (caller.transfers, caller.left) == (0, 10_000)


def test_a_call_that_did_not_fit_can_be_made_well(caller: ToolCaller) -> None:
    assert not caller.pay("twenty")["ok"]
    assert not caller.pay(to="")["ok"]
    assert caller.pay()["ok"]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({"amount": 20, "to": "John"}, 8_000),
        ({"amount": 20.5, "to": "John"}, 7_950),
        ('{"amount": 20.50, "to": "John"}', 7_950),
        ('{"amount": 0.1, "to": "John"}', 9_990),
        ({"amount": "20", "to": "John", "from": "Bob", "confirm": True}, 8_000),
        ('{"amount": "90", "amount": "20", "to": "John"}', 8_000),
    ],
)
def test_numbers_and_extra_names_are_read_as_written(
    caller: ToolCaller, arguments: object, left: int
) -> None:
    """A number's digits are read as written: no amount ever passes through a binary fraction."""
    assert caller.result("transfer", arguments)["ok"]
    assert caller.left == left


# The policy ------------------------------------------------------------------------------------


def under(caller: ToolCaller, **rules: Any) -> None:
    policy = msgspec.structs.replace(AT_ONCE, **rules)
    caller.business = msgspec.structs.replace(caller.business, policy=policy)


def test_what_waits_for_a_yes_counts_against_the_balance_at_once(caller: ToolCaller) -> None:
    under(caller, confirm_above_minor=0)
    step = caller.call("transfer", {"amount": "60", "to": "John"})
    assert json.loads(step.result)["state"] == "pending"
    assert step.receipt is None
    assert caller.left == 4_000
    assert caller.pay("60", "Mary")["refusal"] == "insufficient_funds"
    assert caller.pay("40", "Mary", message="wamid.2")["state"] == "pending"
    assert caller.left == 0


def test_a_refused_attempt_stays_refused_when_the_limit_is_lifted(caller: ToolCaller) -> None:
    under(caller, max_transfer_minor=1_000)
    first = caller.pay("20", "John")
    assert first["error"] == "One transfer can be $10.00 at most."
    under(caller)
    assert caller.pay("20", "John") == first | {
        "repeated": "The same call in one message acts once."
    }
    assert caller.pay("20", "John", message="wamid.2")["state"] == "posted"


def test_a_day_is_the_last_24_hours_and_what_came_back_does_not_count(caller: ToolCaller) -> None:
    under(caller, daily_count=2, daily_total_minor=3_000)
    assert caller.pay("20", message="wamid.1")["ok"]
    assert caller.pay("10.01", message="wamid.2")["refusal"] == "daily_total"
    assert caller.result("cancel", {}, message="wamid.3")["refusal"] == "latest_refused"
    assert caller.result("cancel", {"transfer": "T2"}, message="wamid.4")["ok"]
    assert caller.pay("15", message="wamid.5")["ok"]
    assert caller.pay("15", message="wamid.6")["ok"]
    assert caller.pay("0.01", message="wamid.7")["refusal"] == "daily_count"
    assert caller.pay("1", message="wamid.8", now=after(86_399))["refusal"] == "daily_count"
    assert caller.pay("1", message="wamid.9", now=after(86_401))["ok"]


def test_what_waits_counts_for_the_day_and_what_was_voided_does_not(caller: ToolCaller) -> None:
    under(caller, confirm_above_minor=0, daily_count=1)
    assert caller.pay("1", message="wamid.1")["state"] == "pending"
    assert caller.pay("1", message="wamid.2")["refusal"] == "daily_count"
    assert caller.result("cancel", {}, message="wamid.3")["state"] == "void"
    assert caller.pay("1", message="wamid.4")["state"] == "pending"


def test_a_payment_cut_in_pieces_is_asked_about_all_the_same(caller: ToolCaller) -> None:
    under(caller, confirm_above_minor=2_500)
    states = [caller.pay(amount)["state"] for amount in ("10", "15", "0.01", "24.99")]
    assert states == ["posted", "posted", "pending", "pending"]
    assert caller.pay("25", message="wamid.2")["state"] == "posted"


def test_a_payee_is_known_by_a_yes_alone(caller: ToolCaller) -> None:
    under(caller, confirm_above_minor=500, new_payee_limit_minor=1_000)
    assert caller.pay("10.01", "John", message="wamid.1")["refusal"] == "above_new_payee_limit"
    assert caller.pay("10", "John", message="wamid.2")["state"] == "pending"
    assert caller.pay("20", "John", message="wamid.3")["refusal"] == "above_new_payee_limit"
    assert caller.pay("5", "JOHN", message="wamid.4")["state"] == "posted"  # without a yes
    assert caller.pay("20", "John", message="wamid.8")["refusal"] == "above_new_payee_limit"
    customer_lookup.make_payee(
        caller.tx, SHOP, customer_lookup.Person(caller.alice, ALICE), "John", NOW
    )
    assert caller.pay("20", "jo\u200bhn", message="wamid.5")["state"] == "pending"
    assert caller.pay("20", "J\u043ehn", message="wamid.6")["ok"] is False
    assert caller.pay("20", "Joan", message="wamid.7")["refusal"] == "above_new_payee_limit"


def test_where_only_known_payees_are_paid_an_operator_makes_them(caller: ToolCaller) -> None:
    under(caller, payees=PayeeRule.KNOWN)
    assert caller.pay("1", "John", message="wamid.1")["refusal"] == "unknown_payee"
    assert caller.pay("1", f"+{BOB}", message="wamid.2")["refusal"] == "unknown_payee"
    alice = customer_lookup.Person(caller.alice, ALICE)
    assert customer_lookup.make_payee(caller.tx, SHOP, alice, "John", NOW) == customer_lookup.Payee(
        "John", True
    )
    assert customer_lookup.make_payee(caller.tx, SHOP, alice, "JOHN", NOW) == customer_lookup.Payee(
        "John", False
    )
    assert customer_lookup.make_payee(caller.tx, SHOP, alice, BOB, NOW) == customer_lookup.Payee(
        f"+{BOB}", True
    )
    assert caller.pay("1", "john", message="wamid.3")["ok"]
    assert caller.pay("1", f"+{BOB}", message="wamid.4")["ok"]


@pytest.mark.parametrize("to", ["John", "john", " JOHN "])
def test_two_johns_are_asked_about(caller: ToolCaller, to: str) -> None:
    caller.pay("1", "John Smith", message="wamid.1")
    caller.pay("1", "John Doe", message="wamid.2")
    step = caller.call("transfer", {"amount": "20", "to": to}, message="wamid.3")
    assert json.loads(step.result)["error"].endswith(
        "You have paid “John Doe” or “John Smith”; give the full name."
    )
    assert (step.receipt, caller.left) == (None, 9_800)
    assert caller.pay("20", "John Smith", message="wamid.3")["ok"]


def test_an_overdraft_is_as_deep_as_the_business_says(caller: ToolCaller) -> None:
    under(caller, overdraft_minor=500)
    caller.tx.execute("UPDATE businesses SET overdraft_minor = 500")
    assert caller.pay("105", "John")["available"] == "-5.00"
    assert caller.pay("0.01", "John")["refusal"] == "insufficient_funds"


@pytest.mark.parametrize("to", ["42", "$", "+12", "👍"])
def test_what_is_neither_name_nor_number_is_asked_for_again(caller: ToolCaller, to: str) -> None:
    assert "neither a name nor a phone number" in caller.pay("1", to)["error"]


def test_digits_of_any_script_are_a_number(caller: ToolCaller) -> None:
    full_width = "".join(chr(ord(digit) + 0xFEE0) for digit in BOB)
    assert caller.pay("1", f"＋{full_width}")["to"] == f"+{BOB}"
    assert available(caller.tx, caller.bob) == 100


# cancel ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    ["", "{}", {"transfer": None}, {"transfer": ""}, {"transfer": " T2"}, {"transfer": 2}],
)
def test_the_latest_or_a_named_transfer_is_reversed(caller: ToolCaller, arguments: object) -> None:
    caller.pay()
    step = caller.call("cancel", arguments, message="wamid.2", now=after(60))
    assert json.loads(step.result) == {
        "ok": True,
        "state": "reversed",
        "transfer": "T2",
        "reversal": "T3",
        "amount": "20.00",
        "currency": "USD",
        "to": "John",
        "available": "100.00",
    }
    assert step.receipt == f"{MARK} Cancelled T2: $20.00 to “John” is back. Available: $100.00."
    assert caller.left == 10_000


def test_a_transfer_before_the_latest_is_cancelled_by_its_reference(caller: ToolCaller) -> None:
    caller.pay("20", "John")
    caller.pay("30", "Jane")
    assert caller.result("cancel", {"transfer": "t2"}, message="wamid.2")["to"] == "John"
    assert caller.left == 7_000


def refusal_of(caller: ToolCaller, **more: Any) -> str:
    """Why a cancel in a separate message is refused; it moves nothing."""
    before = caller.left
    step = caller.call("cancel", more.pop("arguments", {}), message="wamid.cancel", **more)
    result = json.loads(step.result)
    assert result["ok"] is False
    assert caller.left == before
    assert step.receipt == f"{MARK} Nothing cancelled. {result['error']}"
    assert result["error"] == SENTENCES[Refusal(result["refusal"])]
    return str(result["refusal"])


def test_without_a_transfer_there_is_nothing_to_cancel(caller: ToolCaller) -> None:
    assert refusal_of(caller) == Refusal.NOTHING_TO_CANCEL


@pytest.mark.parametrize(
    "reference", ["T1", "T99", "latest", "T3; T2", "-2", "2.0", "²", "T" * 999]
)
def test_what_is_no_transfer_of_the_customer_is_not_cancelled(
    caller: ToolCaller, reference: str
) -> None:
    """T1 is the deposit, an incoming transfer."""
    caller.pay()
    arguments = {"transfer": reference}
    assert refusal_of(caller, arguments=arguments) == Refusal.NOTHING_TO_CANCEL


def test_another_customer_s_transfer_is_not_cancelled(caller: ToolCaller) -> None:
    caller.pay()
    refusal = refusal_of(caller, arguments={"transfer": "T2"}, who=caller.bob)
    assert refusal == Refusal.NOTHING_TO_CANCEL


def test_money_that_came_in_is_not_cancelled_by_its_receiver(caller: ToolCaller) -> None:
    caller.pay(to=BOB)
    refusal = refusal_of(caller, arguments={"transfer": "T2"}, who=caller.bob)
    assert refusal == Refusal.NOTHING_TO_CANCEL


def test_money_that_reached_another_customer_is_not_reversed(caller: ToolCaller) -> None:
    caller.pay(to=BOB)
    assert refusal_of(caller) == Refusal.REACHED_A_CUSTOMER
    assert available(caller.tx, caller.bob) == 2_000


def test_a_refused_transfer_leaves_nothing_to_cancel(caller: ToolCaller) -> None:
    """Not even the one before it, which the customer does not mean."""
    caller.pay()
    caller.pay("500", "Jane")
    assert refusal_of(caller) == Refusal.LATEST_REFUSED


def test_a_transfer_is_cancelled_once(caller: ToolCaller) -> None:
    caller.pay("10", "Jane")
    caller.pay()
    assert caller.result("cancel", {}, message="wamid.2")["ok"]
    assert refusal_of(caller) == Refusal.ALREADY_CANCELLED
    assert caller.left == 9_000


def test_a_cancellation_is_not_cancelled(caller: ToolCaller) -> None:
    caller.pay()
    caller.result("cancel", {}, message="wamid.2")
    assert refusal_of(caller, arguments={"transfer": "T3"}) == Refusal.NOTHING_TO_CANCEL


@pytest.mark.parametrize(
    ("window_s", "after_s", "refusal"),
    [
        (900, 900, None),
        (900, 900.001, Refusal.CANCEL_WINDOW_CLOSED),
        (0, 0, None),
        (0, 1, Refusal.CANCEL_WINDOW_CLOSED),
        (900, -5, None),
    ],
)
def test_the_window_of_the_business_decides(
    caller: ToolCaller, window_s: int, after_s: float, refusal: Refusal | None
) -> None:
    policy = msgspec.structs.replace(SHOP.policy, cancel_window_s=window_s)
    caller.business = msgspec.structs.replace(SHOP, policy=policy)
    caller.pay()
    if refusal is None:
        assert caller.result("cancel", {}, message="wamid.2", now=after(after_s))["ok"]
    else:
        assert refusal_of(caller, now=after(after_s)) == refusal


def test_one_message_cancels_one_transfer(caller: ToolCaller) -> None:
    caller.pay("10", "Jane")
    caller.pay("20", "John")
    first = caller.result("cancel", {"transfer": "T2"}, message="wamid.2")
    for arguments in ({"transfer": "T2"}, {"transfer": "T3"}, {}):
        again = caller.call("cancel", arguments, message="wamid.2")
        assert json.loads(again.result) == first | {
            "repeated": "The same call in one message acts once."
        }
        assert again.receipt == f"{MARK} Cancelled T2: $10.00 to “Jane” is back. Available: $80.00."
    assert caller.left == 8_000


def test_a_refused_cancel_stays_refused_in_its_message(caller: ToolCaller) -> None:
    assert not caller.result("cancel", {}, message="wamid.2")["ok"]
    caller.pay()
    assert caller.result("cancel", {}, message="wamid.2")["refusal"] == Refusal.NOTHING_TO_CANCEL
    assert caller.left == 8_000


def test_a_message_can_pay_and_take_back(caller: ToolCaller) -> None:
    caller.pay()
    assert caller.result("cancel", {})["ok"]
    assert "repeated" in caller.pay()
    assert caller.left == 10_000


# balance and statement -------------------------------------------------------------------------


def test_the_balance_is_reported(caller: ToolCaller) -> None:
    caller.pay("0.50")
    step = caller.call("balance", {"whose": "Bob"})
    assert json.loads(step.result) == {
        "ok": True,
        "currency": "USD",
        "available": "99.50",
        "held": "0.00",
        "posted": "99.50",
    }
    assert step.receipt == f"{MARK} Available: $99.50."


def test_held_money_is_reported_separately(caller: ToolCaller) -> None:
    caller.tx.execute("SAVEPOINT a_hold_nothing_makes_yet")
    caller.tx.execute("UPDATE balances SET held_minor = 1000 WHERE posted_minor = 10000")
    step = caller.call("balance", {})
    caller.tx.execute("ROLLBACK TO a_hold_nothing_makes_yet")
    assert step.receipt == f"{MARK} Available: $90.00. Held: $10.00."
    assert json.loads(step.result)["posted"] == "100.00"


def test_the_balance_is_the_customer_s_own(caller: ToolCaller) -> None:
    assert caller.result("balance", {}, who=caller.bob)["available"] == "0.00"


def test_a_read_is_answered_anew_each_time(caller: ToolCaller) -> None:
    assert caller.result("balance", {})["available"] == "100.00"
    caller.pay()
    assert caller.result("balance", {})["available"] == "80.00"


def test_the_statement_shows_each_transfer_as_it_stands(caller: ToolCaller) -> None:
    caller.pay("20", "John")
    caller.pay("1,500", "Jane")
    caller.result("cancel", {"transfer": "T2"})
    step = caller.call("statement", {})
    assert step.receipt == "\n".join(
        [
            f"{MARK} 23 Nov 12:00  +$20.00  “John”, outside (T4)",
            f"{MARK} 23 Nov 12:00  refused: ~$1,500.00~  “Jane” (T3)",
            f"{MARK} 23 Nov 12:00  −$20.00  “John”, outside (T2, reversed)",
            f"{MARK} 23 Nov 12:00  +$100.00  “The Shop” (T1)",
            f"{MARK} Times: UTC.",
        ]
    )
    result = json.loads(step.result)
    assert result["ok"]
    assert result["entries"][1] == {
        "transfer": "T3",
        "kind": "transfer",
        "amount": "1500.00",
        "direction": "out",
        "counterparty": "Jane",
        "state": "refused",
        "created_at": "2026-11-23 12:00 UTC",
    }


def test_an_empty_statement_says_so(caller: ToolCaller) -> None:
    step = caller.call("statement", "", who=caller.bob)
    assert json.loads(step.result) == {"ok": True, "entries": []}
    assert step.receipt == f"{MARK} No transfers yet."


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        (3, 3),
        ("3", 3),
        (3.0, 3),
        (None, 5),
        (0, 5),
        (-4, 1),
        (20, 20),
        (21, 20),
        pytest.param(10**400, 20, id="huge"),
    ],
)
def test_a_statement_is_as_long_as_asked_within_limits(
    caller: ToolCaller, limit: object, shown: int
) -> None:
    for number in range(21):
        caller.pay("1", f"Payee {number}")
    assert len(caller.result("statement", {"limit": limit})["entries"]) == shown


def test_a_profile_s_name_cannot_forge_a_receipt(caller: ToolCaller) -> None:
    forged = f"Mallory\n{MARK} Available: $9,999.00."
    mallory = make_customer(caller.tx, "15550101666", forged)
    give(caller.tx, mallory, 100)
    caller.pay("1", f"+{ALICE}", who=mallory)
    step = caller.call("statement", {}, message="wamid.2")
    assert step.receipt is not None
    *lines, times = step.receipt.splitlines()
    assert (len(lines), times) == (2, f"{MARK} Times: UTC.")
    assert all(line.startswith(f"{MARK} 23 Nov") and line.count(MARK) == 1 for line in lines)


# Arbitrary calls -------------------------------------------------------------------------------

WORDS = st.text(max_size=20) | st.text(
    alphabet=f"Jo hn\n{MARK}{BIDI}\0\ud800+15550101002", max_size=20
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
)
AMOUNTS = st.sampled_from(["20", "$99.99", "0.01", "100", "100.01", "1e2", "1,000"]) | st.floats(
    min_value=0.01, max_value=200, allow_nan=False
)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "amount": AMOUNTS | ANYTHING,
        "to": st.sampled_from(["John", f"+{BOB}", ALICE]) | ANYTHING,
        "memo": ANYTHING,
        "transfer": st.sampled_from(["T1", "T2", "3"]) | ANYTHING,
        "limit": st.integers() | ANYTHING,
    },
)
CALLS = st.lists(
    st.tuples(
        st.sampled_from(sorted(toolbox.TOOLS)),
        (PLAUSIBLE | ANYTHING).map(json.dumps) | st.text(max_size=30),
        st.sampled_from(["wamid.1", "wamid.2", "wamid.3"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(calls=CALLS)
def test_no_call_breaks_anything_or_moves_more_than_there_is(
    calls: list[tuple[str, str, str]],
) -> None:
    caller = ToolCaller(make_tx())
    for tool, arguments, message in calls:
        before, made = caller.left, caller.transfers
        step = caller.call(tool, arguments, message=message)
        result = json.loads(step.result)
        assert 0 <= caller.left <= 10_000
        if not result["ok"]:
            assert caller.left == before
        if tool in {"balance", "statement"} or "repeated" in result:
            assert caller.transfers == made
        for line in (step.receipt or MARK).split("\n"):
            assert line.startswith(MARK)
            assert line.count(MARK) == 1
        msgspec.json.encode(step)
    assert invariants.breaches(caller.tx) == []
    effects = [effect for n in (1, 2, 3) for effect in journal.effects(caller.tx, f"wamid.{n}")]
    assert caller.transfers == sum(effect.transfer_id is not None for effect in effects)
    caller.tx.close()
