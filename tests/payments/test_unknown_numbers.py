"""The owner of a number stays unknown until a yes, and a day of guessing reveals little."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ALICE, BOB, MakeWorld, deposit, make_simulator, writing
from db_factories import NOW, SHOP, after, make_tx
from payment_chat import Ahead, Chat, calls, change, chatting, pay
from test_toolbox import ToolCaller, under

from wbot.admin import customer_lookup
from wbot.domain.business import PayeeRule
from wbot.domain.policy import SENTENCES, UNKNOWN_NUMBERS_A_DAY, Refusal
from wbot.domain.receipts import MARK
from wbot.storage import customers, invariants, ledger_history

NOBODY = "15550109999"
TOO_MANY = SENTENCES[Refusal.TOO_MANY_UNKNOWN]
UNKNOWN = SENTENCES[Refusal.UNKNOWN_CUSTOMER]


@pytest.fixture
def path(database_path: Path) -> Path:
    """A shop that asks before every transfer, where Alice has $100 and Bob $1."""
    change(database_path)
    deposit(database_path, ALICE, 10_000)
    deposit(database_path, BOB, 100)
    return database_path


@pytest.fixture
def caller() -> Iterator[ToolCaller]:
    tx = make_tx()
    caller = ToolCaller(tx)
    yield caller
    assert invariants.breaches(tx) == []
    tx.close()


def alike(text: str) -> str:
    """The text without the two numbers and without a reference."""
    for number in (NOBODY, str(BOB.phone)):
        text = text.replace(number, "NUMBER")
    return text.replace("T3", "T").replace("T4", "T").replace("T5", "T").replace("T6", "T")


async def test_an_unassigned_number_is_asked_about_like_a_customer(
    make_world: MakeWorld, path: Path
) -> None:
    async with chatting(make_world, path) as chat:
        asked = [await chat.say(f"Send 1 to +{number}") for number in (NOBODY, BOB.phone)]
        assert alike(asked[0].text) == alike(asked[1].text)
        assert ", a new payee" in asked[0].text
        assert chat.balance() == (10_000, 200)
        listed = (await chat.say("statement")).text.split("\n")[:2]
        assert alike(listed[0])[-30:] == alike(listed[1])[-30:]
        results = [alike(one["messages"][-1]["content"]) for one in chat.simulator.completions[-1:]]
        assert "The Shop" not in results[0].partition("NUMBER")[0]
        cancelled = (await chat.say("cancel")).text.split("\n")[:2]
        assert alike(cancelled[0]) == alike(cancelled[1])


async def test_only_a_yes_reveals_that_a_number_is_unassigned(
    make_world: MakeWorld, path: Path
) -> None:
    async with chatting(make_world, path) as chat:
        question = await chat.say(f"Send 20 to +{NOBODY}")
        reply = await chat.tap(question, "yes")
        assert (
            reply.text == f"{MARK} Not sent: $20.00 to “+{NOBODY}”. {UNKNOWN} Available: $100.00."
        )
        assert chat.balance() == (10_000, 0)
        assert chat.phases() == ["pending", "void"]
        again = await chat.tap(question, "yes")
        assert "nothing was sent again" in again.text
        assert chat.world.rows("SELECT * FROM known_customers") == []
        listed = await chat.say("statement")
        assert f"void: ~$20.00~  “+{NOBODY}” (T3)" in listed.text


async def test_what_else_was_confirmed_is_sent(make_world: MakeWorld, path: Path) -> None:
    async with chatting(make_world, path) as chat:
        chat.simulator.responder = lambda _: calls(pay("20", f"+{NOBODY}"), pay("30", "John"))
        question = await chat.say("Pay both")
        text = (await chat.tap(question, "yes")).text
        assert f"Not sent: $20.00 to “+{NOBODY}”" in text
        assert "Sent $30.00 to “John”" in text
        assert chat.balance() == (7_000, 0)


async def test_a_number_that_became_a_customer_s_meanwhile_is_not_paid(
    make_world: MakeWorld, path: Path
) -> None:
    async with chatting(make_world, path) as chat:
        question = await chat.say(f"Send 20 to +{NOBODY}")
        with writing(path) as tx:
            customers.resolve(tx, "shop", phone=NOBODY, user_id=None, name=None, now=NOW)
        reply = await chat.tap(question, "yes")
        assert SENTENCES[Refusal.CUSTOMER_SINCE] in reply.text
        assert chat.balance() == (10_000, 0)
        sent = await chat.tap(await chat.say(f"Send 20 to +{NOBODY}"), "yes")
        assert f"Sent $20.00 to “+{NOBODY}”" in sent.text


async def confirmed(chat: Chat, number: str) -> str:
    return (await chat.tap(await chat.say(f"Send 0.01 to +{number}"), "yes")).text


async def test_who_guesses_learns_little_in_a_day(make_world: MakeWorld, path: Path) -> None:
    """Across a restart, and with questions asked before the last guess."""
    simulator, clock = make_simulator(), Ahead()
    async with make_world(simulator=simulator, clock=clock) as world:
        chat = Chat(world, path, clock)
        early = [await chat.say(f"Send 1 to +{number}") for number in (BOB.phone, NOBODY)]
        for number in range(UNKNOWN_NUMBERS_A_DAY - 1):
            assert UNKNOWN in await confirmed(chat, f"1555010800{number}")
    async with make_world(simulator=simulator, clock=clock) as world:
        chat = Chat(world, path, clock)
        assert UNKNOWN in await confirmed(chat, "15550108009")
        late = [(await chat.tap(question, "yes")).text for question in early]
        assert all(TOO_MANY in text for text in late)
        refused = [(await chat.say(f"Send 2 to +{one}")).text for one in (BOB.phone, NOBODY)]
        assert alike(refused[0]) == alike(refused[1])
        assert TOO_MANY in refused[0]
        assert "Please confirm" in (await chat.say("Send 2 to John")).text
        clock.ahead_s = 24 * 3600 + 5
        assert "Please confirm" in (await chat.say(f"Send 2 to +{NOBODY}")).text


# Without a confirmation --------------------------------------------------------------------------


def test_below_the_threshold_guesses_are_counted_too(caller: ToolCaller) -> None:
    for number in range(UNKNOWN_NUMBERS_A_DAY):
        result = caller.pay("1", f"+1555010800{number}", message=f"wamid.a{number}")
        assert result["refusal"] == Refusal.UNKNOWN_CUSTOMER
    results = [
        caller.pay("1", f"+{one}", message=f"wamid.b{one}")
        for one in (BOB.phone, NOBODY, "15550108000")
    ]
    assert {one["refusal"] for one in results} == {Refusal.TOO_MANY_UNKNOWN}
    assert len({one["error"] for one in results}) == 1
    assert caller.pay("1", "John", message="wamid.c")["ok"]
    assert caller.pay("1", f"+{ALICE.phone}", who=caller.bob, message="wamid.d")["refusal"] != (
        Refusal.TOO_MANY_UNKNOWN
    )
    day = after(24 * 3600 + 1)
    assert caller.pay("1", f"+{BOB.phone}", message="wamid.e", now=day)["ok"]


@pytest.fixture
def bob() -> str:
    return str(BOB.phone)


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_a_payee_paid_or_confirmed_before_is_paid_anyway(
    caller: ToolCaller, bob: str, *, is_confirmed: bool
) -> None:
    if is_confirmed:
        alice = customer_lookup.Person(caller.alice, str(ALICE.phone))
        customer_lookup.make_payee(caller.tx, SHOP, alice, bob, NOW)
    else:
        assert caller.pay("1", bob, message="wamid.first")["ok"]
    for number in range(UNKNOWN_NUMBERS_A_DAY + 2):
        caller.pay("1", f"+1555010800{number}", message=f"wamid.a{number}")
    assert caller.pay("1", bob, message="wamid.b")["ok"]


@pytest.mark.parametrize(
    ("rules", "refusal"),
    [
        ({"payees": PayeeRule.KNOWN}, "unknown_payee"),
        ({"max_transfer_minor": 50}, "above_max_transfer"),
        ({"new_payee_limit_minor": 50}, "above_new_payee_limit"),
        ({"daily_total_minor": 50}, "daily_total"),
        ({"confirm_above_minor": 0, "max_transfer_minor": 50}, "above_max_transfer"),
    ],
)
def test_a_rule_refuses_both_alike(
    caller: ToolCaller, bob: str, rules: dict[str, object], refusal: str
) -> None:
    under(caller, **rules)
    results = [caller.pay("1", one, message=f"wamid.{one}") for one in (bob, NOBODY)]
    assert [one["refusal"] for one in results] == [refusal, refusal]


def test_a_transfer_without_the_money_reveals_nothing(caller: ToolCaller, bob: str) -> None:
    results = [caller.pay("500", one, message=f"wamid.{one}") for one in (bob, NOBODY)]
    assert [one["refusal"] for one in results] == ["insufficient_funds"] * 2


def test_what_waits_counts_alike(caller: ToolCaller, bob: str) -> None:
    under(caller, confirm_above_minor=0, daily_count=2)
    for one in (bob, NOBODY):
        assert caller.pay("1", one, message=f"wamid.{one}")["state"] == "pending"
    assert caller.pay("1", "John", message="wamid.3")["refusal"] == "daily_count"
    assert caller.left == 9_800


def test_the_tables_that_grow_are_not_searched(caller: ToolCaller) -> None:
    for statement in (ledger_history.PAID, ledger_history.UNKNOWN_NUMBERS):
        plan = _plan(caller.tx, statement)
        assert "SCAN" not in plan
        assert "USING" in plan


def _plan(tx: sqlite3.Connection, statement: str) -> str:
    values: object = (1, 2) if "?" in statement else {"account": 1, "since": "", "refusal": ""}
    return "\n".join(row["detail"] for row in tx.execute(f"EXPLAIN QUERY PLAN {statement}", values))  # type: ignore[arg-type]
