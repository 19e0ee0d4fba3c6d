"""Late messages: stale ones are asked about, expired ones stay unanswered, late ones are marked."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from conftest import ALICE, BOB, WAIT_S, MakeWorld, World, deposit, make_simulator, writing
from db_factories import allow_change

from wbot.clock import Clock, to_text
from wbot.domain.receipts import MARK
from wbot.payments import answers
from wbot.simulator.call_log import Send
from wbot.storage import businesses, messages


def pause(path: Path, *, is_paused: bool) -> None:
    with writing(path) as tx:
        business = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(business, is_paused=is_paused))


async def say_old(world: World, text: str, *, hours: float) -> str:
    sent_at = Clock().now() - timedelta(hours=hours)
    message_id = await world.simulator.say(ALICE, text, sent_at=sent_at)
    await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
    return message_id


async def tap(world: World, question: Send, answer: str) -> None:
    buttons = question.payload["interactive"]["action"]["buttons"]
    found = next(b["reply"] for b in buttons if b["reply"]["id"].endswith(f":{answer}"))
    await world.simulator.tap(ALICE, found["id"], found["title"], question.wamid)


def transfers(world: World) -> list[dict[str, Any]]:
    return world.rows("SELECT amount_minor FROM transfers WHERE kind = 'transfer' ORDER BY id")


async def asked_about(path: Path, world: World, *texts: str, hours: float = 2) -> Send:
    """The question that answers a run of stale messages after a pause."""
    for place, text in enumerate(texts):
        await say_old(world, text, hours=hours - place / 100)
    pause(path, is_paused=False)
    return await world.simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)


async def test_a_run_of_stale_messages_gets_one_question_and_a_yes_takes_them_up_in_order(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    pause(database_path, is_paused=True)
    async with make_world() as world:
        question = await asked_about(
            database_path, world, "Transfer $20 to John", "Transfer $30 to Mary"
        )
        assert "• Transfer $20 to John\n• Transfer $30 to Mary" in question.text
        assert transfers(world) == []
        await tap(world, question, "yes")
        await world.simulator.wait_for_reply_to(ALICE, after=2, timeout_s=WAIT_S)
        texts = [send.text for send in world.simulator.replies_to(ALICE)[1:]]
        assert texts[0].startswith(
            f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2)"
        )
        assert texts[1].startswith(
            f"{MARK} Sent $30.00 to “Mary”, outside: paid out by The Shop (T3)"
        )
        await tap(world, question, "yes")
        await world.simulator.wait_for_reply_to(ALICE, after=3, timeout_s=WAIT_S)
        assert world.simulator.replies_to(ALICE)[3].text == "That is already settled."
        assert transfers(world) == [{"amount_minor": 2_000}, {"amount_minor": 3_000}]


async def test_a_no_leaves_the_stale_messages_alone(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    pause(database_path, is_paused=True)
    async with make_world() as world:
        question = await asked_about(database_path, world, "Transfer $20 to John", "Cancel that")
        await tap(world, question, "no")
        reply = await world.simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert reply.text == "All right, I will leave it."
        assert transfers(world) == []
        found = world.rows("SELECT state, reason FROM messages ORDER BY number LIMIT 2")
        assert found == [
            {"state": "answered", "reason": None},
            {"state": "silent", "reason": "asked_about"},
        ]


async def test_a_plain_yes_takes_the_stale_messages_up_too(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    pause(database_path, is_paused=True)
    async with make_world() as world:
        await asked_about(database_path, world, "Transfer $20 to John")
        reply = await world.ask(ALICE, "Yes")
        assert reply.startswith(f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2)")
        assert transfers(world) == [{"amount_minor": 2_000}]


async def test_a_plain_yes_that_died_before_its_close_still_answers_its_question(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    pause(database_path, is_paused=True)
    async with make_world() as world:
        await asked_about(database_path, world, "Transfer $20 to John")
        assert (await world.ask(ALICE, "Yes")).startswith(f"{MARK} Sent $20.00")
        asked = len(world.simulator.completions)
        with writing(database_path) as tx:
            allow_change(tx, "message", "silent", "begun")
            tx.execute("UPDATE messages SET state = 'begun', ended_at = NULL WHERE number = 2")
            tx.execute("UPDATE conversations SET model_spoke_after = NULL")
        await world.ask(ALICE, "hello")
        found = world.rows("SELECT state, reason FROM messages WHERE number = 2")
        assert found == [{"state": "silent", "reason": "took_up_stale_messages"}]
        assert len(world.simulator.completions) == asked + 1
        assert transfers(world) == [{"amount_minor": 2_000}]


async def test_another_customers_tap_settles_nothing(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    pause(database_path, is_paused=True)
    async with make_world() as world:
        question = await asked_about(database_path, world, "Transfer $20 to John")
        reply = question.payload["interactive"]["action"]["buttons"][0]["reply"]
        await world.simulator.tap(BOB, reply["id"], reply["title"], question.wamid)
        answer = await world.simulator.wait_for_reply_to(BOB, after=0, timeout_s=WAIT_S)
        assert answer.text == answers.NOT_ASKED
        assert transfers(world) == []


async def test_a_message_older_than_a_day_is_kept_in_silence(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await say_old(world, "Transfer $20 to John", hours=25)
        await world.ask(ALICE, "hello")
        found = world.rows("SELECT state, reason FROM messages ORDER BY number")
        assert found[0] == {"state": "silent", "reason": "window_closed"}
        assert len(world.simulator.replies_to(ALICE)) == 1


async def test_a_message_that_comes_after_a_newer_one_was_handled_is_marked_late(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    async with make_world(simulator=simulator) as world:
        await world.ask(ALICE, "hello")
        assert "arrived late" not in str(simulator.completions[-1]["messages"])
        sent_at = Clock().now() - timedelta(minutes=5)
        await simulator.say(ALICE, "What's my balance?", sent_at=sent_at)
        await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert "arrived late" in str(simulator.completions[-1]["messages"])
        assert [row["is_late"] for row in world.rows("SELECT is_late FROM messages")] == [0, 1]


async def test_a_payment_already_made_is_not_asked_about_again(
    make_world: MakeWorld, database_path: Path
) -> None:
    """A message requeued behind a stale one is only closed with its receipts."""
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        await world.ask(ALICE, "Transfer $20 to John")
        paid = world.rows("SELECT message_id FROM messages")[0]["message_id"]
        pause(database_path, is_paused=True)
        await say_old(world, "What's my balance?", hours=2)
        with writing(database_path) as tx:
            messages.requeue(tx, paid, to_text(Clock().now()))
            long_ago = to_text(Clock().now() - timedelta(hours=2))
            tx.execute("UPDATE messages SET sent_at = ?", (long_ago,))
        pause(database_path, is_paused=False)
        question = await world.simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert "John" not in question.text
        receipt = await world.simulator.wait_for_reply_to(ALICE, after=2, timeout_s=WAIT_S)
        assert receipt.text.startswith(
            f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2)"
        )
        assert transfers(world) == [{"amount_minor": 2_000}]
