"""Customer identity: numbers and user ids that appear, vanish and change owners, via webhooks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_harness import Wbot
from conftest import ALICE, BOB, WAIT_S, MakeWorld, World, deposit, writing

from wbot.admin import customer_merge
from wbot.clock import Clock, to_text
from wbot.domain.receipts import MARK
from wbot.simulator.people import SimulatedCustomer
from wbot.storage import businesses
from wbot.turns.turn import HELD

NEW_PHONE, NEW_USER_ID = "15550109999", "US.9999"


@pytest.fixture
def wbot(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database_path: Path,
) -> Wbot:
    return Wbot(tmp_path, monkeypatch, capsys, database_path)


async def balance_seen_by(world: World, customer: SimulatedCustomer) -> str:
    """The balance line that a customer with these ids gets."""
    seen = len(world.simulator.sends)
    await world.simulator.say(customer, "What's my balance?")
    sends = await world.simulator.wait_for_sends(seen + 1, timeout_s=WAIT_S)
    return sends[-1].text.splitlines()[0]


@asynccontextmanager
async def paused(world: World) -> AsyncIterator[None]:
    """The business is paused inside the block, and its messages are answered at the end."""
    path = world.service.settings.database
    seen = len(world.simulator.sends)
    for is_paused in (True, False):
        with writing(path) as tx:
            shop = businesses.required(tx, "shop")
            businesses.change(tx, msgspec.structs.replace(shop, is_paused=is_paused))
        if is_paused:
            yield
    asked = world.rows("SELECT count(*) AS count FROM messages WHERE type <> 'system'")
    await world.simulator.wait_for_sends(seen + asked[0]["count"], timeout_s=WAIT_S)


def as_alice(**ids: Any) -> SimulatedCustomer:
    return msgspec.structs.replace(ALICE, **ids)


async def test_a_recycled_number_with_another_user_id_sees_no_balance(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        stranger = as_alice(name="Stranger", user_id="US.7777")
        assert HELD in await balance_seen_by(world, stranger)
        assert "$500.00" in await balance_seen_by(world, as_alice(phone=None))


async def test_a_user_id_that_gains_a_number_stays_the_same_customer(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, as_alice(phone=None), 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        assert "$500.00" in await balance_seen_by(world, as_alice(user_id=None))


async def test_an_announced_number_change_keeps_the_account_and_frees_the_old_number(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        change = {"type": "user_changed_number", "wa_id": NEW_PHONE, "body": "changed"}
        await world.simulator.send_inbound(ALICE, {"type": "system", "system": change})
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        moved = SimulatedCustomer("Alice", NEW_PHONE, NEW_USER_ID)
        assert "$500.00" in await balance_seen_by(world, moved)
        heir = SimulatedCustomer("Heir", ALICE.phone, "US.8888")
        assert "$0.00" in await balance_seen_by(world, heir)


async def test_a_changed_user_id_keeps_the_account(
    make_world: MakeWorld, database_path: Path
) -> None:
    hidden = as_alice(phone=None)
    deposit(database_path, hidden, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, hidden)
        change = {
            "type": "user_changed_user_id",
            "user_id": NEW_USER_ID,
            "previous_user_id": ALICE.user_id,
        }
        await world.simulator.send_inbound(hidden, {"type": "system", "system": change})
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert "$500.00" in await balance_seen_by(world, as_alice(phone=None, user_id=NEW_USER_ID))


async def test_a_reply_follows_customers_to_a_new_number(
    make_world: MakeWorld, database_path: Path
) -> None:
    """The old number may belong to another customer by then."""
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world, paused(world):
        await world.simulator.say(ALICE, "What's my balance?")
        change = {"type": "user_changed_number", "wa_id": NEW_PHONE, "body": "changed"}
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        await world.simulator.send_inbound(ALICE, {"type": "system", "system": change})
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
    assert [send.recipient for send in world.simulator.sends] == [NEW_PHONE]


async def test_a_reply_does_not_go_to_the_new_owner_of_a_number(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    stranger = as_alice(name="Stranger", user_id="US.7777")
    async with make_world() as world, paused(world):
        for one in (ALICE, stranger):
            await world.simulator.say(one, "What's my balance?")
            await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
    lines = {
        send.recipient: send.text.splitlines()[0].split()[-1] for send in world.simulator.sends
    }
    assert lines == {ALICE.user_id: "$500.00.", ALICE.phone: HELD.split()[-1]}


async def test_a_change_to_another_customers_number_changes_nothing(
    make_world: MakeWorld, database_path: Path
) -> None:
    other = SimulatedCustomer("Other", NEW_PHONE, "US.5555")
    deposit(database_path, ALICE, 50_000)
    deposit(database_path, other, 7_000)
    async with make_world() as world:
        change = {"type": "user_changed_number", "wa_id": NEW_PHONE, "body": "changed"}
        await world.simulator.send_inbound(ALICE, {"type": "system", "system": change})
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert "$70.00" in await balance_seen_by(world, other)
        assert "$500.00" in await balance_seen_by(world, ALICE)


async def test_a_text_that_comes_after_a_merge_acts_for_the_one_who_is_left(
    make_world: MakeWorld, database_path: Path
) -> None:
    """Its placeholder was answered, then its sender was merged; now the real text arrives."""
    placeholder = {"type": "unsupported", "errors": [{"code": 131060}]}
    deposit(database_path, ALICE, 7_000)
    deposit(database_path, BOB, 500)
    async with make_world() as world:
        message_id = await world.simulator.send_inbound(ALICE, placeholder)
        await world.simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        with writing(database_path) as tx:
            people = {"from_text": str(ALICE.phone), "into_text": str(BOB.phone)}
            now = to_text(Clock().now())
            customer_merge.merge(tx, businesses.required(tx, "shop"), **people, now=now)
        text = {"type": "text", "text": {"body": "What's my balance?"}}
        await world.simulator.send_inbound(ALICE, text, message_id=message_id)
        reply = await world.simulator.wait_for_sends(2, timeout_s=WAIT_S)
        assert reply[-1].text.startswith(f"{MARK} Available: $75.00.")


# Numbers unused for a year --------------------------------------------------------------------


def last_heard(path: Path, *, days: float) -> None:
    """Set the last activity of all customers and aliases to that long ago."""
    at = to_text(Clock().now() - timedelta(days=days))
    with writing(path) as tx:
        tx.execute("UPDATE conversations SET last_inbound_at = ?", (at,))
        tx.execute("UPDATE customer_aliases SET first_seen_at = ?", (at,))


WITHOUT_ID = as_alice(user_id=None)


async def test_a_number_long_unheard_without_its_user_id_is_the_operators_to_decide(
    make_world: MakeWorld, database_path: Path, wbot: Wbot
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        last_heard(database_path, days=366)
        assert HELD in await balance_seen_by(world, WITHOUT_ID)
        assert HELD in await balance_seen_by(world, WITHOUT_ID)
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        (error,) = wbot.json("errors", "list")["errors"]
        command = error["error_message"].rpartition("run: wbot ")[2]
        assert command == "customer merge shop C2 C1"
        wbot.done(*command.split())
        assert "$500.00" in await balance_seen_by(world, WITHOUT_ID)
        assert "$500.00" in await balance_seen_by(world, ALICE)


async def test_a_known_user_id_keeps_the_account_however_long_it_was_unused(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        last_heard(database_path, days=4_000)
        assert "$500.00" in await balance_seen_by(world, ALICE)
        assert world.rows("SELECT * FROM processing_errors") == []


async def test_a_number_heard_of_within_a_year_needs_no_user_id(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        last_heard(database_path, days=364)
        assert "$500.00" in await balance_seen_by(world, WITHOUT_ID)


async def test_a_number_is_enough_where_no_user_id_is_on_file(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, WITHOUT_ID, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, WITHOUT_ID)
        last_heard(database_path, days=4_000)
        assert "$500.00" in await balance_seen_by(world, WITHOUT_ID)


async def test_a_number_long_unheard_takes_no_account_along_as_it_changes(
    make_world: MakeWorld, database_path: Path
) -> None:
    """The customer who changes it may be its new owner."""
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        last_heard(database_path, days=400)
        change = {"type": "user_changed_number", "wa_id": NEW_PHONE, "body": "changed"}
        await world.simulator.send_inbound(WITHOUT_ID, {"type": "system", "system": change})
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert "$0.00" in await balance_seen_by(world, SimulatedCustomer("Heir", NEW_PHONE))
        assert "$500.00" in await balance_seen_by(world, as_alice(phone=None))


async def test_the_operator_hears_of_a_number_that_came_with_another_user_id(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        assert "$500.00" in await balance_seen_by(world, ALICE)
        assert HELD in await balance_seen_by(world, as_alice(user_id="US.7777"))
        (error,) = world.rows("SELECT error_message FROM processing_errors")
        assert error["error_message"].startswith("C2 writes from the number that C1 had")
        assert "wbot customer merge shop C2 C1" in error["error_message"]
