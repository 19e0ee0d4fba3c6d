"""Below the threshold, what the customer did not type is asked about all the same."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ALICE, MakeWorld, deposit
from payment_chat import Chat, calls, change, chatting, pay

from wbot.domain.business import Switch
from wbot.domain.confirmations import NOT_TYPED
from wbot.simulator.call_log import Send


@pytest.fixture
async def chat(make_world: MakeWorld, database_path: Path) -> AsyncIterator[Chat]:
    change(database_path, confirm_above_minor=5_000, own_words=Switch.ON)
    deposit(database_path, ALICE, 10_000)
    async with chatting(make_world, database_path) as chat:
        yield chat


async def proposed(chat: Chat, words: str, amount: str, to: str) -> Send:
    said: list[Any] = [calls(pay(amount, to)), "Done."]
    chat.simulator.responder = lambda _: said.pop(0)
    return await chat.say(words)


async def test_what_was_typed_is_not_asked_about(chat: Chat) -> None:
    assert (await proposed(chat, "Transfer $20 to John", "20.00", "John")).type == "text"
    assert chat.phases() == ["posted"]


@pytest.mark.parametrize(
    ("words", "amount", "to"),
    [
        ("Transfer $20 to John", "30", "John"),
        ("Transfer $20 to John", "20", "Eve"),
        ("yes do it", "20", "John"),
    ],
)
async def test_what_was_not_typed_is_asked_about(
    chat: Chat, words: str, amount: str, to: str
) -> None:
    question = await proposed(chat, words, amount, to)
    assert question.type == "interactive"
    assert f"\n{NOT_TYPED}\n" in question.text
    assert chat.phases() == ["pending"]


async def test_a_number_that_was_typed_is_found_whatever_name_it_has(chat: Chat) -> None:
    await chat.say("Bob is +15550101002")
    question = await proposed(chat, "Transfer $60 to +15550101002", "60", "+15550101002")
    assert "to Bob (+15550101002)" in question.text
    assert NOT_TYPED not in question.text


async def test_a_payee_confirmed_before_need_not_be_typed(chat: Chat) -> None:
    await proposed(chat, "Transfer $60 to John", "60", "John")
    await chat.say("yes")
    assert (await proposed(chat, "and 10 more for him", "10", "John")).type == "text"
    assert (await proposed(chat, "and some more for him", "5", "John")).type == "interactive"


async def test_the_option_lifts_this_test(chat: Chat) -> None:
    change(chat.path, confirm_above_minor=5_000, own_words=Switch.OFF)
    assert (await proposed(chat, "yes do it", "20", "John")).type == "text"
