"""The same payment again within `repeat_window`: always asked about, and the question says so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ALICE, BOB, MakeWorld, deposit
from payment_chat import Chat, calls, change, chatting, pay

from wbot.domain.confirmations import BODY_LENGTH_MAX, PendingTransfer, Repeated, confirmation_body
from wbot.domain.money import MINOR_DIGITS_MAX, currency_of
from wbot.domain.payees import Payee
from wbot.domain.policy import ASKED_AT_ONCE_MAX
from wbot.domain.receipts import MARK


@pytest.fixture
async def chat(make_world: MakeWorld, database_path: Path) -> AsyncIterator[Chat]:
    """A shop that asks above $50, where Alice has $100 and Bob $1."""
    change(database_path, confirm_above_minor=5_000)
    deposit(database_path, ALICE, 10_000)
    deposit(database_path, BOB, 100)
    async with chatting(make_world, database_path) as chat:
        yield chat


async def test_the_same_again_is_asked_about_and_the_question_says_so(chat: Chat) -> None:
    assert (await chat.say("Transfer $20 to John")).type == "text"
    chat.clock.ahead_s = 40
    again = await chat.say("Transfer $20 to john")
    assert again.text.startswith(
        f"Please confirm:\n{MARK} $20.00 to “John”, outside: paid out by The Shop (T4), "
        "a new payee\n"
        f"{MARK} You sent $20.00 to “John” 4"
    )
    assert " seconds ago. Send another $20.00?\n" in again.text
    assert chat.balance() == (8_000, 2_000)
    await chat.tap(again, "yes")
    assert chat.balance() == (6_000, 0)


async def test_another_amount_or_payee_is_another_payment(chat: Chat) -> None:
    await chat.say("Transfer $10 to John")
    for text in ("Transfer $10.01 to John", "Transfer $10 to Mary", f"Send $10 to +{BOB.phone}"):
        assert (await chat.say(text)).type == "text"
    assert "You sent $10.00 to “+15550101002”" in (await chat.say(f"Send $10 to +{BOB.phone}")).text


async def test_after_the_window_or_with_none_nobody_is_asked(chat: Chat) -> None:
    await chat.say("Transfer $10 to John")
    chat.clock.ahead_s = 301
    assert (await chat.say("Transfer $10 to John")).type == "text"
    change(chat.path, confirm_above_minor=5_000, repeat_window_s=0)
    assert (await chat.say("Transfer $10 to John")).type == "text"


async def test_what_waits_counts_and_what_was_taken_back_does_not(chat: Chat) -> None:
    change(chat.path)
    await chat.say("Transfer $20 to John")
    again = await chat.say("Transfer $20 to John")
    assert "You already asked to send $20.00 to “John” " in again.text
    await chat.tap(again, "no")
    await chat.say("no")
    assert "Send another" not in (await chat.say("Transfer $20 to John")).text
    await chat.say("yes")
    asked = await chat.say("stop")
    await chat.tap(asked, "yes")
    assert chat.balance() == (10_000, 0)
    assert "Send another" not in (await chat.say("Transfer $20 to John")).text


async def test_one_confirmed_late_counts_from_its_yes(chat: Chat) -> None:
    question = await chat.say("Transfer $60 to John")
    chat.clock.ahead_s = 500
    await chat.tap(question, "yes")
    chat.clock.ahead_s = 600
    deposit(chat.path, ALICE, 10_000)
    assert "You sent $60.00 to “John” 1 minute ago" in (await chat.say("Transfer $60 to John")).text


async def test_two_writings_of_one_customer_in_one_message_are_one_payee(chat: Chat) -> None:
    three = pay("10", f"+{BOB.phone}"), pay("10", "+1 555 010 1002"), pay("10", "John")
    said: list[Any] = [calls(*three), "Done."]
    chat.simulator.responder = lambda _: said.pop(0)
    reply = await chat.say("Pay Bob and John 10")
    assert reply.type == "text"
    assert chat.balance() == (8_000, 0)


async def test_numbers_that_nobody_has_are_told_apart(chat: Chat) -> None:
    change(chat.path)
    await chat.say("Transfer $5 to +15550109001")
    assert "asked to send" not in (await chat.say("Transfer $5 to +15550109002")).text
    assert "You already asked to send" in (await chat.say("Transfer $5 to +15550109001")).text


def test_many_repetitions_fit_into_one_question() -> None:
    amount = 10**MINOR_DIGITS_MAX - 1
    held = [
        PendingTransfer(
            transfer_id=10**9,
            amount_minor=amount,
            payee=Payee(name="n" * 24, paid_out_by="s" * 60),
            is_payee_known=False,
            repeats=Repeated(59, is_sent),
        )
        for is_sent in [True, False] * ASKED_AT_ONCE_MAX
    ][:ASKED_AT_ONCE_MAX]
    body = confirmation_body(held, currency_of("USD"), ttl_s=599, is_typed=False)
    assert len(body) <= BODY_LENGTH_MAX
    assert body.count(", again\n") == ASKED_AT_ONCE_MAX
    two = confirmation_body(held[:2], currency_of("USD"), ttl_s=599)
    assert two.count(", sent already 59 seconds ago\n") == 1
    assert "Send another" in confirmation_body(held[:1], currency_of("USD"), ttl_s=599)
