"""Many customers at once: all answered, once, in order, whatever Meta repeats."""

import asyncio
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from conftest import APP_SECRET, SHOP, WAIT_S, MakeWorld, World, make_simulator

from wbot.clock import Clock
from wbot.inbound.signature import sign
from wbot.simulator.people import SimulatedCustomer
from wbot.simulator.simulator import Simulator

USERS, MESSAGES = 20, 10
BEGAN_S = str(int(Clock().now().timestamp()))
PEOPLE = [SimulatedCustomer(f"User {n}", f"155502000{n:02}") for n in range(USERS)]


def said(user: int, number: int) -> bytes:
    """One customer's message; WhatsApp's seconds are too coarse to order a burst."""
    message = {
        "from": PEOPLE[user].phone,
        "id": f"wamid.{user}.{number}",
        "timestamp": BEGAN_S,
        "type": "text",
        "text": {"body": f"message {number}"},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": SHOP.phone_number_id},
        "messages": [message],
    }
    entry = [{"id": "1", "changes": [{"field": "messages", "value": value}]}]
    return json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()


async def deliver(world: World, body: bytes) -> None:
    headers = {"X-Hub-Signature-256": sign(body, APP_SECRET)}
    async with world.session.post(f"{world.url}/api/webhook", data=body, headers=headers) as answer:
        assert answer.status == 200


def echo(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def answered_by(simulator: Simulator) -> dict[str, list[str]]:
    replies = defaultdict(list)
    for send in simulator.sends:
        replies[send.recipient].append(send.text)
    return dict(replies)


EXPECTED = {str(one.phone): [f"message {n}" for n in range(MESSAGES)] for one in PEOPLE}


async def test_each_of_20_customers_gets_10_answers_in_order(make_world: MakeWorld) -> None:
    simulator = make_simulator(customers=PEOPLE)
    simulator.responder = echo
    async with make_world(simulator=simulator) as world:

        async def write(user: int) -> None:
            for number in range(MESSAGES):
                await deliver(world, said(user, number))

        await asyncio.gather(*(write(user) for user in range(USERS)))
        await simulator.wait_for_sends(USERS * MESSAGES, timeout_s=60)
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert answered_by(simulator) == EXPECTED
        report = await world.service.health.report()
        assert report["status"] == "healthy"
        assert report["processor"]["processed"] == USERS * MESSAGES


@pytest.mark.parametrize("seed", [1])
async def test_every_webhook_three_times_at_once_and_again_after_a_restart_is_answered_once(
    make_world: MakeWorld, database_path: Path, seed: int
) -> None:
    simulator = make_simulator(customers=PEOPLE)
    simulator.responder = echo
    shuffled = random.Random(seed)
    async with make_world(simulator=simulator) as world:

        async def write(user: int) -> None:
            for number in range(MESSAGES):
                body = said(user, number)
                await asyncio.gather(*(deliver(world, body) for _ in range(3)))

        await asyncio.gather(*(write(user) for user in range(USERS)))
        await simulator.wait_for_sends(USERS * MESSAGES, timeout_s=60)
        assert world.service.metrics.duplicates == 2 * USERS * MESSAGES
    again = make_simulator(customers=PEOPLE)
    async with make_world(simulator=again) as world:
        bodies = [said(user, number) for user in range(USERS) for number in range(MESSAGES)]
        shuffled.shuffle(bodies)
        await asyncio.gather(*(deliver(world, body) for body in bodies))
        last = SimulatedCustomer("Last", "15550209999")
        await again.say(last, "hello")
        await again.wait_for_reply_to(last, after=0, timeout_s=WAIT_S)
        assert len(again.sends) == 1
    assert answered_by(simulator) == EXPECTED


async def test_a_slow_conversation_holds_up_no_other(make_world: MakeWorld) -> None:
    simulator = make_simulator(customers=PEOPLE)
    gate = asyncio.Event()

    async def answer(request: dict[str, Any]) -> str:
        if echo(request) == "slow":
            await gate.wait()
        return echo(request)

    simulator.responder = answer
    async with make_world(simulator=simulator) as world:
        await simulator.say(PEOPLE[0], "slow")
        await simulator.say(PEOPLE[0], "after it")
        assert await world.ask(PEOPLE[1], "quick") == "quick"
        assert simulator.replies_to(PEOPLE[0]) == ()
        gate.set()
        await simulator.wait_for_reply_to(PEOPLE[0], after=1, timeout_s=WAIT_S)
        assert [send.text for send in simulator.replies_to(PEOPLE[0])] == ["slow", "after it"]
