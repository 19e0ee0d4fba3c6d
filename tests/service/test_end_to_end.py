"""End to end: a customer's text in, a reply with its receipt out, over the real protocols."""

from pathlib import Path

from conftest import ALICE, BOB, WAIT_S, MakeWorld, deposit

from wbot.domain.receipts import MARK


async def test_a_transfer_is_answered_with_its_receipt(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        reply = await world.ask(ALICE, "Transfer $20 to John")
        assert reply.startswith(
            f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2). Available: $480.00."
        )
        balance = await world.ask(ALICE, "What's my balance?")
        assert balance.startswith(f"{MARK} Available: $480.00.")
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        states = [row["state"] for row in world.rows("SELECT state FROM outbox")]
        assert states == ["read", "read"]


async def test_a_cancel_takes_the_latest_transfer_back(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, BOB, 10_000)
    async with make_world() as world:
        await world.ask(BOB, "Pay Mary 15.50")
        reply = await world.ask(BOB, "Cancel that")
        assert "Cancelled T2: $15.50 to “Mary” is back. Available: $100.00." in reply
