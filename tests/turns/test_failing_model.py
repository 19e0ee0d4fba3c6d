"""A model that fails for longer than one message: the waits it requests, and /health."""

import asyncio
from typing import Any

import msgspec
import pytest
from conftest import ALICE, WAIT_S, Ahead, MakeWorld, World, make_simulator, writing

from wbot.monitoring.health import FAILING_MAX_S
from wbot.simulator.faults.plan import Endpoint, refused
from wbot.storage import businesses
from wbot.turns.finish import ERROR_TEXT
from wbot.turns.model_health import ASK_AGAIN_S, QUESTION
from wbot.turns.waiting_notice import TAKES_LONGER, TELL_AFTER_S

QUOTA = refused(429, 0, "Slow down", error_type="rate_limit_exceeded", retry_after_s=0)
ONE_ATTEMPT = {"WBOT_MAX_ATTEMPTS": "1"}


REFUSED = (
    "retry",
    "The model endpoint asks us to wait: HTTP 429, rate_limit_exceeded: Slow down.",
)


def outcomes(world: World) -> list[Any]:
    rows = world.rows("SELECT outcome, detail FROM turns ORDER BY attempt")
    return [(row["outcome"], row["detail"]) for row in rows]


async def first_failure(world: World) -> None:
    """Wait until a turn has ended."""
    async with asyncio.timeout(WAIT_S):
        while not any(outcome for outcome, _ in outcomes(world)):  # noqa: ASYNC110  no event to wait for
            await asyncio.sleep(0.01)


async def test_a_wait_that_the_endpoint_asks_for_costs_no_attempt(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.MODEL, QUOTA)
    async with make_world(simulator=simulator, variables=ONE_ATTEMPT) as world:
        assert "Available" in await world.ask(ALICE, "What's my balance?")
        assert outcomes(world) == [REFUSED, ("answered", None)]
        assert world.rows("SELECT attempts FROM messages") == [{"attempts": 1}]


async def test_such_waiting_ends_with_the_question_whether_it_still_holds(
    make_world: MakeWorld,
) -> None:
    """Nothing is burnt: the customer is told, then asked, as after any outage."""
    simulator, clock = make_simulator(), Ahead()
    simulator.faults.always(Endpoint.MODEL, QUOTA)
    async with make_world(simulator=simulator, variables=ONE_ATTEMPT, clock=clock) as world:
        await simulator.say(ALICE, "What's my balance?")
        await first_failure(world)
        clock.ahead_s = TELL_AFTER_S
        told = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert told.text == TAKES_LONGER
        clock.ahead_s = 901.0
        asked = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert "Shall I still do that?" in asked.text
        assert world.rows("SELECT * FROM processing_errors") == []


async def test_a_model_that_only_fails_turns_health_red_until_it_is_asked_and_answers(
    make_world: MakeWorld,
) -> None:
    """Whatever the failure; and it becomes healthy again even if no customer writes."""
    simulator, clock = make_simulator(), Ahead()
    simulator.faults.always(Endpoint.MODEL, refused(400, 0))
    async with make_world(simulator=simulator, variables=ONE_ATTEMPT, clock=clock) as world:
        assert await world.ask(ALICE, "What's my balance?") == ERROR_TEXT
        clock.ahead_s = FAILING_MAX_S + 1
        reasons = (await world.health_of(503))["reasons"]
        assert len(reasons) == 1
        assert "has given no good answer for 2 minutes" in reasons[0]
        assert "HTTP 400" in reasons[0]
        simulator.faults.clear(Endpoint.MODEL)
        clock.ahead_s += ASK_AGAIN_S
        await world.health_of(200)
        asked = simulator.completions[-1]
        assert asked["messages"] == list(QUESTION)
        assert asked["tools"][0]["function"]["name"] == "transfer"


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_health_is_red_as_long_as_a_message_waits_for_a_failing_model(
    make_world: MakeWorld, status: int
) -> None:
    simulator, clock = make_simulator(), Ahead()
    simulator.faults.always(Endpoint.MODEL, refused(status, 0))
    async with make_world(simulator=simulator, variables=ONE_ATTEMPT, clock=clock) as world:
        await simulator.say(ALICE, "What's my balance?")
        await first_failure(world)
        clock.ahead_s = FAILING_MAX_S + 1
        reasons = (await world.health_of(503))["reasons"]
        assert any("no good answer" in one and f"HTTP {status}" in one for one in reasons)
        simulator.faults.clear(Endpoint.MODEL)
        clock.ahead_s += ASK_AGAIN_S
        await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        await world.health_of(200)


async def test_a_model_that_no_business_uses_any_more_is_no_fault(make_world: MakeWorld) -> None:
    simulator, clock = make_simulator(), Ahead()
    simulator.faults.always(Endpoint.MODEL, refused(404, 0))
    async with make_world(simulator=simulator, clock=clock) as world:
        await simulator.say(ALICE, "What's my balance?")
        await first_failure(world)
        clock.ahead_s = FAILING_MAX_S + 1
        await world.health_of(503)
        with writing(world.service.settings.database) as tx:
            shop = businesses.required(tx, "shop")
            businesses.change(tx, msgspec.structs.replace(shop, is_paused=True))
        await world.health_of(200)
