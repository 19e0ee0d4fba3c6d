"""The service proves its books right while it runs, and moves no money while they are wrong."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from conftest import ALICE, WAIT_S, MakeWorld, deposit, writing

from wbot.clock import Clock
from wbot.domain.business import Policy
from wbot.domain.receipts import MARK
from wbot.operations.audit import EVERY_S
from wbot.storage import businesses
from wbot.turns.turn import BOOKS_ARE_WRONG

WRONG = "UPDATE balances SET posted_minor = posted_minor + ? WHERE account_id = 2"


class Minutes(Clock):
    """A clock whose minutes pass when the test says so."""

    def __init__(self) -> None:
        self._passed = asyncio.Condition()

    async def sleep(self, seconds: float) -> None:
        if seconds < EVERY_S:
            return await super().sleep(seconds)
        async with self._passed:
            await self._passed.wait()
        return None

    async def pass_one(self) -> None:
        async with self._passed:
            self._passed.notify_all()


def by_hand(path: Path, amount_minor: int) -> None:
    with writing(path) as tx:
        tx.execute(WRONG, (amount_minor,))


async def test_wrong_books_stop_money_but_not_words_until_they_are_right(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 10_000)
    clock = Minutes()
    async with make_world(clock=clock) as world:
        assert (await world.ask(ALICE, "Transfer $20 to John")).startswith(f"{MARK} Sent $20.00")
        by_hand(database_path, 1)
        await clock.pass_one()
        report = await world.health_of(503)
        (reason,) = report["reasons"]
        assert reason.startswith("The books are wrong, so no money moves: Account 2 says -9999 ")
        for text in ("Transfer $20 to John", "Balance", "Statement", "Cancel that"):
            assert await world.ask(ALICE, text) == BOOKS_ARE_WRONG
        assert (await world.ask(ALICE, "hello")).startswith("Hello!")
        by_hand(database_path, -1)
        await clock.pass_one()
        await world.health_of(200)
        assert (await world.ask(ALICE, "Transfer $20 to John")).startswith(f"{MARK} Sent $20.00")
        assert world.rows("SELECT count(*) AS n FROM transfers") == [{"n": 3}]


@pytest.mark.parametrize(
    ("guard", "damage"),
    [
        ("transfers_are_not_edited", "UPDATE transfers SET cause_key = CAST(x'ff' AS TEXT)"),
        ("postings_are_not_edited", "UPDATE postings SET amount_minor = 9223372036854775807"),
        ("none", "UPDATE sqlite_sequence SET seq = 'x'"),
    ],
)
async def test_books_that_cannot_be_checked_count_as_wrong(
    make_world: MakeWorld, database_path: Path, guard: str, damage: str
) -> None:
    deposit(database_path, ALICE, 10_000)
    with writing(database_path) as tx:
        tx.execute(f"DROP TRIGGER IF EXISTS {guard}")
        tx.execute(damage)
    async with make_world() as world:
        assert await world.ask(ALICE, "Transfer $20 to John") == BOOKS_ARE_WRONG
        await world.health_of(503)


async def test_wrong_books_are_found_at_the_start_before_money_moves(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 10_000)
    by_hand(database_path, 5)
    async with make_world() as world:
        assert await world.ask(ALICE, "Transfer $20 to John") == BOOKS_ARE_WRONG
        await world.health_of(503)


async def test_a_tap_while_the_books_are_wrong_can_be_made_again(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 10_000)
    with writing(database_path) as tx:
        shop = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(shop, policy=Policy()))
    clock = Minutes()
    async with make_world(clock=clock) as world:
        await world.ask(ALICE, "Transfer $20 to John")
        (question,) = world.simulator.replies_to(ALICE)
        buttons = question.payload["interactive"]["action"]["buttons"]
        confirm = buttons[0]["reply"]
        by_hand(database_path, 1)
        await clock.pass_one()
        await world.health_of(503)
        for answer in (BOOKS_ARE_WRONG, f"{MARK} Sent $20.00 to “John” (T2). Available: $80.00."):
            seen = len(world.simulator.replies_to(ALICE))
            await world.simulator.tap(ALICE, confirm["id"], confirm["title"], question.wamid)
            reply = await world.simulator.wait_for_reply_to(ALICE, after=seen, timeout_s=WAIT_S)
            assert reply.text == answer
            if seen == 1:
                by_hand(database_path, -1)
                await clock.pass_one()
                await world.health_of(200)
