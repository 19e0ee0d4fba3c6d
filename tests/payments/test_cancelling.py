"""A stop word right after a payment, and what a message quotes: which transfer is cancelled."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ALICE, BOB, MakeWorld, deposit, writing
from payment_chat import Chat, calls, change, chatting, pay, titles_of

from wbot.admin import message_timeline
from wbot.clock import Clock, to_text
from wbot.domain.policy import SENTENCES, Refusal
from wbot.domain.receipts import MARK
from wbot.payments import answers
from wbot.simulator.call_log import Send


@pytest.fixture
async def chat(make_world: MakeWorld, database_path: Path) -> AsyncIterator[Chat]:
    """A shop that asks above $50, where Alice has $100 and Bob $1."""
    change(database_path, confirm_above_minor=5_000)
    deposit(database_path, ALICE, 10_000)
    deposit(database_path, BOB, 100)
    async with chatting(make_world, database_path) as chat:
        yield chat


def in_turn(*said: Any) -> Any:
    """A model that answers with these, one after the other."""
    left = list(said)
    return lambda _: left.pop(0)


# Stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["Stop", "CANCEL!", "stop\u200b"])
async def test_a_stop_word_offers_to_take_the_payment_back(chat: Chat, word: str) -> None:
    await chat.say("Transfer $20 to John")
    completions = len(chat.simulator.completions)
    asked = await chat.say(word)
    assert asked.text == (
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $80.00.\n"
        "Shall I take this payment back?"
    )
    assert titles_of(asked) == ["Yes, take it back", "No"]
    assert chat.balance() == (8_000, 0)
    done = await chat.tap(asked, "yes")
    assert done.text == f"{MARK} Cancelled T3: $20.00 to “John” is back. Available: $100.00."
    assert (await chat.tap(asked, "yes")).text == answers.SETTLED
    assert chat.balance() == (10_000, 0)
    assert len(chat.simulator.completions) == completions


async def test_a_stop_word_voids_what_waits_and_asks_about_the_rest(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    await chat.say("Transfer $60 to Mary")
    asked = await chat.say("stop")
    assert asked.text == (
        f"{MARK} Cancelled T4: $60.00 to “Mary” will not be sent. Available: $80.00.\n\n"
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $80.00.\n"
        "Shall I take this payment back?"
    )
    assert (await chat.say("no")).text == answers.LEFT
    assert chat.balance() == (8_000, 0)
    assert chat.phases() == ["posted", "pending", "void"]


async def test_the_same_word_again_is_the_models(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    asked = await chat.say("stop")
    chat.simulator.responder = lambda _: "Shall I stop writing to you?"
    assert (await chat.say("stop")).text == "Shall I stop writing to you?"
    assert (await chat.tap(asked, "yes")).text.startswith(f"{MARK} Cancelled T3")
    with writing(chat.path) as tx:
        row = tx.execute("SELECT message_id FROM messages WHERE number = 2").fetchone()
        stages = message_timeline.build_timeline(tx, row[0], to_text(Clock().now())).stages
    asked_stages = [one.detail for one in stages if one.stage.startswith("asked")]
    assert asked_stages[0].startswith("the customer whether to take the payment back, until ")
    assert asked_stages[1].startswith("answered yes by message ")


async def test_a_stop_word_with_nothing_to_stop_is_the_models(chat: Chat) -> None:
    change(chat.path, confirm_above_minor=5_000, cancel_window_s=60)
    chat.simulator.responder = lambda _: "What shall I stop?"
    assert (await chat.say("stop")).text == "What shall I stop?"
    chat.simulator.responder = in_turn(calls(pay("20", "John")), "Done.")
    await chat.say("Transfer $20 to John")
    chat.clock.ahead_s = 61
    chat.simulator.responder = lambda _: "Too late, I am afraid."
    assert (await chat.say("stop")).text == "Too late, I am afraid."
    assert chat.balance() == (8_000, 0)


async def test_a_stop_word_that_the_model_had_begun_with_stays_the_models(chat: Chat) -> None:
    chat.simulator.responder = in_turn(
        calls(pay("20", "John")), {"choices": []}, "I have paid John."
    )
    reply = await chat.say("stop")
    assert reply.text == (
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3). Available: $80.00.\n\n"
        "I have paid John."
    )


async def test_a_sentence_with_such_a_word_is_the_models(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    chat.simulator.responder = lambda _: "Pardon?"
    assert (await chat.say("stop sending me offers")).text == "Pardon?"
    content = {"type": "text", "text": {"body": "stop"}, "context": {"forwarded": True}}
    sent = chat.simulator.send_inbound(ALICE, content, sent_at=chat.clock.now())
    assert (await chat.next_reply(ALICE, sent)).text == "Pardon?"
    assert chat.balance() == (8_000, 0)


async def test_what_has_reached_a_customer_is_not_taken_back(chat: Chat) -> None:
    await chat.say(f"Transfer $20 to +{BOB.phone}")
    reply = await chat.say("stop")
    assert reply.text == f"{MARK} Nothing cancelled. {SENTENCES[Refusal.REACHED_A_CUSTOMER]}"
    assert chat.balance() == (8_000, 0)


# What a message quotes -------------------------------------------------------------------------


async def quoting(chat: Chat, text: str, quoted_id: str | None) -> Send:
    content = {"type": "text", "text": {"body": text}, "context": {"id": quoted_id}}
    sent = chat.simulator.send_inbound(ALICE, content, sent_at=chat.clock.now())
    return await chat.next_reply(ALICE, sent)


async def test_a_cancel_that_quotes_an_older_receipt_means_that_transfer(chat: Chat) -> None:
    older = await chat.say("Transfer $20 to John")
    await chat.say("Transfer $10 to Mary")
    chat.simulator.responder = in_turn(calls(("cancel", {})), "Done.")
    reply = await chat.say_quoting("Cancel this", older)
    assert reply.text.startswith(f"{MARK} Cancelled T3: $20.00 to “John” is back.")
    assert chat.balance() == (9_000, 0)
    prompt = chat.simulator.completions[-2]["messages"]
    assert prompt[-1] == {"role": "user", "content": "Cancel this"}
    system = " ".join(line["content"] for line in prompt if line["role"] == "system")
    assert "quoted, written by you before" in system
    assert "Sent $20.00 to “John”, outside: paid out by The Shop (T3)" in system


async def test_what_cannot_be_cancelled_is_said_and_nothing_else_is(chat: Chat) -> None:
    to_bob = await chat.say(f"Transfer $20 to +{BOB.phone}")
    await chat.say("Transfer $10 to Mary")
    chat.simulator.responder = lambda _: "Hello there."
    chatter = await chat.say("hello")
    wanted = {
        to_bob.wamid: Refusal.REACHED_A_CUSTOMER,
        chatter.wamid: Refusal.QUOTES_NO_PAYMENT,
        "wamid.unknown": Refusal.QUOTES_NO_PAYMENT,
    }
    for quoted_id, refusal in wanted.items():
        chat.simulator.responder = in_turn(calls(("cancel", {})), "Sorry.")
        reply = await quoting(chat, "cancel this", quoted_id)
        assert reply.text.startswith(f"{MARK} Nothing cancelled. {SENTENCES[refusal]}")
    assert chat.balance() == (7_000, 0)


@pytest.mark.parametrize(
    ("text", "reference", "balance"),
    [("cancel this", "T4", 7_000), ("cancel T4", "T4", 8_000), ("cancel this", "T3", 9_000)],
)
async def test_a_model_cannot_turn_a_quotation_into_another_transfer(
    chat: Chat, text: str, reference: str, balance: int
) -> None:
    older = await chat.say("Transfer $20 to John")
    await chat.say("Transfer $10 to Mary")
    chat.simulator.responder = in_turn(calls(("cancel", {"transfer": reference})), "Done.")
    await chat.say_quoting(text, older)
    assert chat.balance() == (balance, 0)


async def test_a_quotation_of_ones_own_wish_names_what_it_made(chat: Chat) -> None:
    await chat.say("Transfer $20 to John")
    await chat.say("Transfer $10 to Mary")
    (row,) = chat.world.rows("SELECT message_id FROM messages WHERE number = 1")
    asked = await quoting(chat, "stop", row["message_id"])
    assert asked.text.startswith(
        f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T3)."
    )
    await chat.tap(asked, "yes")
    assert chat.balance() == (9_000, 0)


async def test_a_payment_of_a_message_that_quotes_is_asked_about(chat: Chat) -> None:
    receipt = await chat.say("Transfer $20 to John")
    chat.simulator.responder = lambda _: calls(pay("20", "John"))
    assert (await chat.say_quoting("again please", receipt)).type == "interactive"
    assert chat.balance() == (8_000, 2_000)
