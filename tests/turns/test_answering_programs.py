"""A program that answers each of our replies is soon kept in silence, and operators are told."""

import asyncio

from conftest import ALICE, WAIT_S, MakeWorld, make_simulator

from wbot.domain.loops import ANSWERED_MAX
from wbot.simulator.call_log import Send


async def test_an_away_message_is_answered_a_few_times_and_then_no_more(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    answers: list[asyncio.Task[str]] = []

    def away(send: Send) -> None:
        answers.append(asyncio.ensure_future(simulator.say(ALICE, "We are away until 9:00.")))

    async with make_world(simulator=simulator) as world:
        stop = simulator.on_send(away)
        await simulator.say(ALICE, "We are away until 9:00.")
        async with asyncio.timeout(WAIT_S):
            while not world.rows("SELECT 1 FROM messages WHERE reason = 'loop'"):
                await world.health_of(200)
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert len(simulator.sends) == ANSWERED_MAX
        (told,) = world.rows("SELECT error_message FROM processing_errors")
        assert "program" in told["error_message"]
        stop()
        assert await world.ask(ALICE, "Hello, it is me")
