"""The service audits its ledger while it runs, and moves no money while it is inconsistent."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from conftest import ALICE, WAIT_S, MakeWorld, deposit, make_simulator, writing
from db_factories import make_tx
from payment_factories import Paying

from wbot.clock import Clock
from wbot.domain.business import Policy
from wbot.domain.receipts import MARK
from wbot.monitoring.ledger_audit import EVERY_S
from wbot.storage import businesses, invariants, migrations
from wbot.storage.invariants import Checkpoint
from wbot.turns.turn import BOOKS_ARE_WRONG

WRONG = "UPDATE balances SET posted_minor = posted_minor + ? WHERE account_id = 2"


class Minutes(Clock):
    """A clock whose minutes pass when the test advances it."""

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


async def test_an_inconsistent_ledger_stops_money_but_not_replies_until_it_is_fixed(
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
async def test_a_ledger_that_cannot_be_checked_counts_as_inconsistent(
    make_world: MakeWorld, database_path: Path, guard: str, damage: str
) -> None:
    deposit(database_path, ALICE, 10_000)
    with writing(database_path) as tx:
        tx.execute(f"DROP TRIGGER IF EXISTS {guard}")
        tx.execute(damage)
    async with make_world() as world:
        assert await world.ask(ALICE, "Transfer $20 to John") == BOOKS_ARE_WRONG
        await world.health_of(503)


async def test_an_inconsistent_ledger_is_found_at_the_start_before_money_moves(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 10_000)
    by_hand(database_path, 5)
    async with make_world() as world:
        assert await world.ask(ALICE, "Transfer $20 to John") == BOOKS_ARE_WRONG
        await world.health_of(503)


async def test_a_tap_while_the_ledger_is_inconsistent_can_be_repeated(
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
        for answer in (
            BOOKS_ARE_WRONG,
            f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2). Available: $80.00.",
        ):
            seen = len(world.simulator.replies_to(ALICE))
            await world.simulator.tap(ALICE, confirm["id"], confirm["title"], question.wamid)
            reply = await world.simulator.wait_for_reply_to(ALICE, after=seen, timeout_s=WAIT_S)
            assert reply.text == answer
            if seen == 1:
                by_hand(database_path, -1)
                await clock.pass_one()
                await world.health_of(200)


# Cost ------------------------------------------------------------------------------------------


def long_ledger(path: Path, transfers: int) -> None:
    with writing(path) as tx:
        alice = Paying(tx)
        for number in range(transfers):
            alice.posted(f"John {number % 7}", 1)
            if number % 10 == 0:
                alice.hold("Mary", 1)
                alice.reverse(alice.pay("Paul", 1))


def steps_of(tx: sqlite3.Connection, work: Callable[[sqlite3.Connection], object]) -> int:
    """How many instructions of SQLite's virtual machine the work takes: the same on any machine."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    tx.set_progress_handler(count, 1)
    try:
        work(tx)
    finally:
        tx.set_progress_handler(None, 1)
    return steps


def test_the_whole_audit_takes_as_long_as_the_ledger_and_no_longer() -> None:
    """Reversals of confirmed transfers once made it quadratic."""
    steps = []
    for transfers in (200, 800):
        tx = make_tx()
        alice = Paying(tx)
        for _ in range(transfers):
            alice.reverse(alice.posted("John", 1))
        steps.append(steps_of(tx, invariants.breaches))
    assert steps[1] < steps[0] * 4.5


def test_what_is_new_is_verified_at_the_cost_of_what_is_new() -> None:
    steps = []
    for transfers in (100, 1_000):
        tx = make_tx()
        old, new = Paying(tx), Paying(tx, "15550101002")
        for _ in range(transfers):
            old.posted("John", 1)
        reached = invariants.verify(tx, Checkpoint(), 10**6).upto
        for _ in range(20):
            new.posted("Mary", 1)
            new.reverse(new.pay("Paul", 1))
        steps.append(
            steps_of(tx, partial(invariants.verify_latest, since=reached, rows=2_000, sums={}))
        )
    assert steps[1] < steps[0] * 1.05


def test_an_account_that_is_long_is_not_added_up_every_minute() -> None:
    steps = []
    for transfers in (100, 1_000):
        tx = make_tx()
        alice = Paying(tx)
        for _ in range(transfers):
            alice.posted("John", 1)
        first = invariants.verify_latest(tx, Checkpoint(), 10**6, {})
        alice.posted("John", 1)
        again = partial(invariants.verify_latest, since=first.upto, rows=2_000, sums=first.sums)
        steps.append(steps_of(tx, again))
        assert again(tx).breaches == []
        tx.execute("UPDATE balances SET posted_minor = posted_minor + 1 WHERE account_id = 2")
        assert len(again(tx).breaches) == 1
    assert steps[1] < steps[0] * 1.05


def test_a_ledger_is_as_right_in_slices_as_in_one() -> None:
    tx = make_tx()
    alice = Paying(tx)
    for number in range(30):
        alice.posted(f"John {number}", 1)
        alice.reverse(alice.pay("Paul", 1))
        alice.hold("Mary", 1)
    reached, is_last = Checkpoint(), False
    sums: dict[int, invariants.Sum] = {}
    while not is_last:
        verified = invariants.verify_latest(tx, reached, 7, sums)
        assert verified.breaches == []
        sums |= verified.sums
        reached, is_last = verified.upto, verified.is_last
    after: int | None = invariants.ID_MIN
    while after is not None:
        found, after = invariants.verify_accounts(tx, after, 4)
        assert found == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE transfers SET amount_minor = 2 WHERE id = 5", "does not continue the chain"),
        ("UPDATE balances SET held_minor = 7 WHERE account_id = 2", "holds 7 minor units"),
        ("DELETE FROM holds WHERE transfer_id = 5", "holds 3 minor units"),
        ("INSERT INTO holds VALUES (2, 2, 3)", "The list of holds of account 2"),
        ("DELETE FROM postings WHERE transfer_id = 4", "The postings of T4"),
        ("INSERT INTO postings VALUES (999, 2, 1)", "which has no part in it"),
        ("DROP TRIGGER transfers_are_whole", "guard transfers_are_whole is missing"),
    ],
)
def test_what_is_wrong_with_the_latest_rows_is_found_from_the_checkpoint_on(
    damage: str, words: str
) -> None:
    tx = make_tx()
    alice = Paying(tx)
    reached = invariants.verify(tx, Checkpoint(), 10**6).upto
    alice.posted("John", 2)  # T2 and T3
    alice.pay("John", 1)
    alice.hold("Mary", 3)
    tx.execute("PRAGMA foreign_keys = OFF")
    for guard in migrations.triggers():
        if "DROP" not in damage:
            tx.execute(f"DROP TRIGGER {guard}")
    tx.execute(damage)
    found = [*invariants.verify_latest(tx, reached, 2_000, {}).breaches, *invariants.unguarded(tx)]
    assert any(words in one for one in found), found
    assert any(words in one or "list of holds" in one for one in invariants.breaches(tx))


async def test_an_audit_goes_on_where_the_one_before_the_restart_stopped(
    make_world: MakeWorld, database_path: Path
) -> None:
    long_ledger(database_path, 30)
    async with make_world() as world:
        assert "Available" in await world.ask(ALICE, "Balance")
    with writing(database_path) as tx:
        head = tx.execute("SELECT id, hash FROM transfers ORDER BY id DESC LIMIT 1").fetchone()
        assert invariants.checkpoint(tx) == Checkpoint(*head)
        tx.execute("UPDATE ledger_checkpoint SET hash = 'x'")
        assert invariants.checkpoint(tx) is None


async def test_an_old_row_changed_by_hand_is_found_by_the_audit_of_everything(
    make_world: MakeWorld, database_path: Path
) -> None:
    long_ledger(database_path, 30)
    simulator = make_simulator()
    async with make_world(simulator=simulator) as world:
        assert "Available" in await world.ask(ALICE, "Balance")
    guards = migrations.triggers()
    with writing(database_path) as tx:
        tx.execute("DROP TRIGGER transfers_are_not_edited")
        tx.execute("UPDATE transfers SET cause_key = 'mine' WHERE id = 4")
        tx.execute(guards["transfers_are_not_edited"])
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "Balance") == BOOKS_ARE_WRONG
        assert "T4 does not continue the chain" in (await world.health_of(503))["reasons"][0]


async def test_money_does_not_wait_for_a_long_audit_at_a_start(
    make_world: MakeWorld, database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is audited in the background; what is found wrong then still stops money."""
    deposit(database_path, ALICE, 10_000)
    by_hand(database_path, 5)
    goes_on = threading.Event()
    whole = invariants.verify

    def slow(tx: sqlite3.Connection, since: Checkpoint, rows: int) -> invariants.Verified:
        goes_on.wait()
        return whole(tx, since, rows)

    monkeypatch.setattr(invariants, "verify", slow)
    async with make_world() as world:
        try:
            assert (await world.ask(ALICE, "Balance")).startswith(f"{MARK} ")
        finally:
            goes_on.set()
        await world.health_of(503)
        assert await world.ask(ALICE, "Balance") == BOOKS_ARE_WRONG
