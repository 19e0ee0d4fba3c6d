"""The cost of a refusal: a thousand customers who wait for a model or token cost as much as one."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from conftest import (
    ALICE,
    BOB,
    SHOP,
    WAIT_S,
    Ahead,
    MakeWorld,
    World,
    deposit,
    make_simulator,
    writing,
)
from test_stale_messages import asked_about, pause, tap, transfers

from wbot.clock import Clock, to_text
from wbot.domain.receipts import MARK
from wbot.inbound.intake import record
from wbot.inbound.webhook_parser import parse_payload
from wbot.simulator.faults.plan import Endpoint, refused, silent
from wbot.simulator.people import SimulatedBusiness
from wbot.storage import businesses
from wbot.turns.finish import ERROR_TEXT
from wbot.turns.model_health import ASK_AGAIN_S, QUESTION
from wbot.turns.waiting_notice import TAKES_LONGER

MANY = 1_000
REFUSED = refused(401, 0, error_type="invalid_api_key")
QUESTIONS = ("What's my balance?", "What is my balance?") * 3
"""In turn: the same one five times at once would be a program's."""
OTHER = SimulatedBusiness("106500000000002", "206500000000002", "15550100002", "The Other")


def fill(path: Path, count: int, *, text: str, number: str = SHOP.phone_number_id) -> bytes:
    """Messages from this many customers, received while the service was down."""
    said = [
        {
            "from": f"1555{place:07}",
            "id": f"wamid.{number}.{place}",
            "timestamp": str(int(Clock().now().timestamp())),
            "type": "text",
            "text": {"body": text},
        }
        for place in range(count)
    ]
    value = {"metadata": {"phone_number_id": number}, "messages": said}
    entry = [{"id": "1", "changes": [{"field": "messages", "value": value}]}]
    body = json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()
    with writing(path) as tx:
        record(tx, parse_payload(body), body=body, now=Clock().now(), installation="before")
    return body


def add_other(path: Path, *, access_token: str | None = None, throughput: int = 80) -> None:
    """Add another business beside The Shop."""
    with writing(path) as tx:
        shop = businesses.required(tx, "shop")
        other = msgspec.structs.replace(
            shop,
            id="other",
            name=OTHER.name,
            phone_number_id=OTHER.phone_number_id,
            access_token=access_token or shop.access_token,
            throughput=throughput,
        )
        businesses.add(tx, other, to_text(Clock().now()))


async def until(is_true: object, timeout_s: float = WAIT_S) -> None:
    assert callable(is_true)
    async with asyncio.timeout(timeout_s):
        while not is_true():  # noqa: ASYNC110  no event to wait for
            await asyncio.sleep(0.01)


def number_of(world: World, table: str) -> int:
    return int(world.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608  our own


async def probed(world: World, clock: Ahead) -> None:
    """Advance the clock past the next model probe, and wait for it."""
    asked = len(world.simulator.completions)
    clock.ahead_s += ASK_AGAIN_S
    await until(lambda: len(world.simulator.completions) > asked)


@pytest.mark.parametrize(("status", "many"), [(401, MANY), (403, 50)])
async def test_a_thousand_who_wait_for_a_refused_model_cost_what_one_costs(
    make_world: MakeWorld, database_path: Path, status: int, many: int
) -> None:
    with writing(database_path) as tx:
        tx.execute("UPDATE businesses SET throughput = 10000")
    simulator, clock = make_simulator(), Ahead()
    simulator.learn_from(fill(database_path, many, text="What's my balance?"))
    simulator.faults.always(Endpoint.MODEL, refused(status, 0))
    async with make_world(simulator=simulator, clock=clock) as world:
        assert str(status) in (await world.health_of(503))["reasons"][0]
        for _ in range(3):
            await world.service.notify_unfinished()
            await probed(world, clock)
        # The first turn, for a doubtful refusal a harmless question beside it, and the probes.
        assert len(simulator.completions) <= 2 + 3
        assert all(one["messages"] == list(QUESTION) for one in simulator.completions[1:])
        assert len(simulator.reads) <= 1
        assert number_of(world, "outbox WHERE cause NOT LIKE 'waiting:%'") == 0
        assert number_of(world, "turns") == 1
        simulator.faults.clear(Endpoint.MODEL)
        await probed(world, clock)
        answered = "messages WHERE state = 'answered'"
        await until(lambda: number_of(world, answered) == many, 90)
        marked = [mark.message_id for mark in simulator.reads]
        assert len(marked) == len(set(marked))
        assert world.rows("SELECT max(attempts) AS most FROM messages") == [{"most": 1}]
        await world.health_of(200)


async def test_a_yes_to_stale_messages_does_not_loop_while_the_model_refuses(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    pause(database_path, is_paused=True)
    simulator, clock = make_simulator(), Ahead()
    simulator.faults.always(Endpoint.MODEL, REFUSED)
    async with make_world(simulator=simulator, clock=clock) as world:
        question = await asked_about(database_path, world, "Transfer $20 to John")
        await tap(world, question, "yes")
        await until(lambda: simulator.completions)
        await world.health_of(503)
        turns = number_of(world, "turns")
        for _ in range(3):
            await world.service.notify_unfinished()
            await probed(world, clock)
        assert number_of(world, "turns") == turns
        assert len(simulator.completions) == 1 + 3
        simulator.faults.clear(Endpoint.MODEL)
        await probed(world, clock)
        reply = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        if reply.text == TAKES_LONGER:
            reply = await simulator.wait_for_reply_to(ALICE, after=2, timeout_s=WAIT_S)
        assert reply.text.startswith(f"{MARK} Sent $20.00 to “John”")


async def test_what_waits_until_the_yes_to_it_is_stale_is_asked_about_once_more(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    pause(database_path, is_paused=True)
    simulator = make_simulator()
    simulator.faults.always(Endpoint.MODEL, REFUSED)
    async with make_world(simulator=simulator, variables={"WBOT_STALE_AFTER": "3"}) as world:
        question = await asked_about(
            database_path, world, "Transfer $20 to John", "Transfer $30 to Mary"
        )
        await tap(world, question, "yes")
        again = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert "• Transfer $20 to John\n• Transfer $30 to Mary" in again.text
        assert transfers(world) == []
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert len(simulator.replies_to(ALICE)) == 2


async def test_one_refused_message_delays_no_other_conversation(
    make_world: MakeWorld,
) -> None:
    """For example, a firewall before the endpoint rejects its words."""
    simulator = make_simulator()
    simulator.faults.always(Endpoint.MODEL, refused(403, 0, about="DROP TABLE"))
    async with make_world(simulator=simulator, variables={"WBOT_MAX_ATTEMPTS": "2"}) as world:
        await simulator.say(ALICE, "'; DROP TABLE users")
        assert "Available" in await world.ask(BOB, "What's my balance?")
        reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert reply.text == ERROR_TEXT
        assert world.service.conversations.blocked == {}


async def test_a_message_is_marked_as_read_once(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    broken = refused(500, 0, about="balance")
    simulator.faults.add(Endpoint.MODEL, broken, broken)
    async with make_world(simulator=simulator) as world:
        assert "Available" in await world.ask(ALICE, "What's my balance?")
        asked = [one for one in simulator.completions if one["messages"] != list(QUESTION)]
        assert len(asked) == 2 + 2
        assert len(simulator.reads) == 1


async def test_a_token_that_cannot_be_read_costs_no_row_and_is_tried_again(
    make_world: MakeWorld, database_path: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    with writing(database_path) as tx:
        shop = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(shop, access_token=f"file:{token}"))
    fill(database_path, 50, text="What's my balance?")
    async with make_world() as world:
        reasons = (await world.health_of(503))["reasons"]
        assert "cannot be read" in reasons[0]
        for _ in range(3):
            await world.service.notify_unfinished()
        assert number_of(world, "turns") == 0
        token.write_text("test-access-token")
        with writing(database_path) as tx:  # any change from outside is worth a try
            tx.execute("UPDATE businesses SET name = name || '.'")
        await until(lambda: number_of(world, "messages WHERE state = 'answered'") == 50)
        await world.health_of(200)


@pytest.mark.parametrize(("places", "many"), [(8, 40), (MANY, MANY)])
async def test_a_model_that_hangs_for_one_business_leaves_the_others_as_they_were(
    make_world: MakeWorld, database_path: Path, places: int, many: int
) -> None:
    add_other(database_path)
    fill(database_path, many, text="hang", number=OTHER.phone_number_id)
    simulator = make_simulator(businesses=[SHOP, OTHER])
    simulator.faults.always(Endpoint.MODEL, silent(about="hang"))
    variables = {"WBOT_TURNS_MAX": str(places)}
    async with make_world(simulator=simulator, variables=variables) as world:
        await until(lambda: len(simulator.completions) >= places // 2)
        for question in QUESTIONS:
            assert "Available" in await world.ask(ALICE, question)
        assert places // 2 <= world.service.conversations.running < places


async def test_a_token_that_is_refused_for_one_business_leaves_the_others_as_they_were(
    make_world: MakeWorld, database_path: Path
) -> None:
    add_other(database_path, access_token="wrong", throughput=10_000)
    fill(database_path, MANY, text="hello", number=OTHER.phone_number_id)
    simulator = make_simulator(businesses=[SHOP, OTHER])
    async with make_world(simulator=simulator) as world:
        await until(lambda: "other" in world.service.sender.accounts.reasons)
        for question in QUESTIONS:
            assert "Available" in await world.ask(ALICE, question)
        await until(lambda: number_of(world, "outbox") >= MANY, 60)
        tried = number_of(world, "send_attempts")
        for _ in range(3):
            await world.service.notify_unfinished()
        assert "Available" in await world.ask(BOB, "What's my balance?")
        assert number_of(world, "send_attempts") == tried + 1
