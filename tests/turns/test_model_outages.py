"""What customers and operators see while the model is blocked, down, slow, or refuses the words."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from conftest import ALICE, BOB, WAIT_S, Ahead, MakeWorld, World, deposit, make_simulator, writing
from test_turns import completion
from test_waiting_costs_nothing import until

from wbot.clients.offline import completion_of, interpret
from wbot.domain.receipts import MARK
from wbot.monitoring.health import FAILING_MAX_S
from wbot.simulator.faults.plan import Endpoint, silent
from wbot.simulator.simulator import Simulator
from wbot.storage import businesses
from wbot.turns import waiting_notice
from wbot.turns.finish import ERROR_TEXT
from wbot.turns.model_health import ASK_AGAIN_S, QUESTION
from wbot.turns.turn import FILTERED
from wbot.turns.waiting_notice import TAKES_LONGER

BALANCE = "What's my balance?"


def interpreted(request: dict[str, Any]) -> dict[str, Any]:
    return completion_of(interpret(request["messages"]), created=0, completion_id="chatcmpl-1")


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answering(simulator: Simulator, *bodies: Any) -> None:
    """Script the endpoint: each body once, then the interpreter's own answers."""
    left = list(bodies)

    def respond(request: dict[str, Any]) -> Any:
        return left.pop(0) if left else interpreted(request)

    simulator.responder = respond


def error(status: int, body: Any) -> web.Response:
    return web.json_response(body, status=status)


EMPTY = {
    "error": {
        "message": "Insufficient Balance",
        "type": "unknown_error",
        "param": None,
        "code": "invalid_request_error",
    }
}
TOO_FAST = {
    "error": {
        "message": "Rate limit exceeded: free-models-per-min",
        "code": 429,
        "metadata": {"headers": {"X-RateLimit-Reset": "1795610300000"}},
    },
    "user_id": "user_x",
}
NO_TOOLS = {"error": {"message": "library/m does not support tools", "type": "api_error"}}
TOO_LONG = {"error": {"message": "Too long", "code": "context_length_exceeded"}}


def states(world: World) -> list[tuple[Any, ...]]:
    return [
        (row["state"], row["attempts"])
        for row in world.rows("SELECT state, attempts FROM messages ORDER BY sort_at, message_id")
    ]


@pytest.mark.parametrize(("status", "body"), [(402, EMPTY), (400, NO_TOOLS)])
async def test_what_an_operator_must_mend_burns_no_message(
    make_world: MakeWorld, status: int, body: Any
) -> None:
    """Messages wait in order, /health has the endpoint's words, one asks, all are answered."""
    simulator, clock = make_simulator(), Ahead()
    simulator.responder = lambda _: error(status, body)
    async with make_world(simulator=simulator, clock=clock) as world:
        for text in (BALANCE, "hello"):
            await simulator.say(ALICE, text)
        await simulator.say(BOB, BALANCE)
        reasons = (await world.health_of(503))["reasons"]
        assert body["error"]["message"] in reasons[0]
        asked = [one for one in simulator.completions if one["messages"] != list(QUESTION)]
        assert len(asked) <= 2
        simulator.responder = None
        clock.ahead_s += ASK_AGAIN_S
        await simulator.wait_for_reply_to(BOB, after=0, timeout_s=WAIT_S)
        await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert "Available" in simulator.replies_to(ALICE)[0].text
        assert {state for state, _ in states(world)} == {"answered"}
        assert world.rows("SELECT * FROM processing_errors") == []
        await world.health_of(200)


async def test_a_router_that_rests_after_each_refusal_is_known_to_refuse(
    make_world: MakeWorld,
) -> None:
    """LiteLLM answers 429 for seconds after a 404, to the harmless question too."""
    simulator, clock = make_simulator(), Ahead()
    rests = {"error": {"message": "Try again", "type": "all_deployments_in_cooldown"}}
    asked: list[Any] = []

    def respond(request: dict[str, Any]) -> web.Response:
        asked.append(request["messages"])
        if len(asked) % 2:
            return error(404, {"error": {"message": "litellm.NotFoundError: gone"}})
        return web.json_response(rests, status=429, headers={"Retry-After": "1"})

    simulator.responder = respond
    async with make_world(
        simulator=simulator,
        clock=clock,
        variables={"WBOT_MAX_ATTEMPTS": "2", "WBOT_MODEL_API": "chat"},
    ) as world:
        await simulator.say(ALICE, BALANCE)
        await until(lambda: bool(world.rows("SELECT * FROM turns WHERE outcome = 'retry'")))
        clock.ahead_s += 5.0
        reasons = (await world.health_of(503))["reasons"]
        assert "litellm.NotFoundError: gone" in reasons[0]
        simulator.responder = None
        clock.ahead_s += ASK_AGAIN_S
        # They may have been told before that it takes longer.
        await simulator.until(
            lambda: any("Available" in one.text for one in simulator.replies_to(ALICE)),
            timeout_s=WAIT_S,
        )
        assert world.rows("SELECT * FROM processing_errors") == []


async def test_an_error_inside_a_200_is_that_error(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    answering(simulator, TOO_FAST)
    variables = {"WBOT_MAX_ATTEMPTS": "1"}
    async with make_world(simulator=simulator, variables=variables) as world:
        assert "Available" in await world.ask(ALICE, BALANCE)
        assert states(world) == [("answered", 1)]


async def test_a_content_filter_gets_one_plain_sentence_after_one_call(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    stopped = {"error": {"message": "The response was filtered", "code": "content_filter"}}
    answering(simulator, error(400, stopped))
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "something odd") == FILTERED
        assert len(simulator.completions) == 1
        assert world.rows("SELECT state, reason FROM messages") == [
            {"state": "answered", "reason": "content_filter"}
        ]


async def test_a_filtered_message_is_no_trouble_of_the_model(make_world: MakeWorld) -> None:
    simulator, clock = make_simulator(), Ahead()
    stopped = {"error": {"message": "The response was filtered", "code": "content_filter"}}
    simulator.responder = lambda _: error(400, stopped)
    async with make_world(simulator=simulator, clock=clock) as world:
        assert await world.ask(ALICE, "something odd") == FILTERED
        clock.ahead_s = FAILING_MAX_S + 1
        await world.health_of(200)
        assert world.service.conversations.model_watch.failing() == []


async def test_a_probe_that_fails_does_not_hold_what_the_model_would_answer(
    make_world: MakeWorld,
) -> None:
    """An endpoint may take real prompts and no harmless question."""
    simulator, failures = make_simulator(), [error(500, {})]

    def respond(request: dict[str, Any]) -> Any:
        if request["messages"] == list(QUESTION):
            return error(500, {})
        return failures.pop() if failures else interpreted(request)

    simulator.responder = respond
    async with make_world(simulator=simulator) as world:
        assert "Available" in await world.ask(ALICE, BALANCE)
        assert states(world) == [("answered", 1)]


async def test_a_prompt_that_is_too_long_is_shortened_at_once(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    async with make_world(simulator=simulator) as world:
        for _ in range(4):
            await world.ask(ALICE, "hello")
        asked = len(simulator.completions)
        answering(simulator, error(400, TOO_LONG), error(400, TOO_LONG))
        assert "Available" in await world.ask(ALICE, BALANCE)
        sizes = [len(one["messages"]) for one in simulator.completions[asked : asked + 3]]
        assert sizes == [11, 7, 5]
        for request in simulator.completions[asked:]:
            assert request["messages"][1]["role"] == "user"
        outcomes = world.rows("SELECT outcome FROM turns ORDER BY began_at DESC LIMIT 1")
        assert outcomes == [{"outcome": "answered"}]


async def test_a_message_that_never_fits_is_a_processing_error_with_the_endpoint_s_words(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    simulator.responder = lambda _: error(400, TOO_LONG)
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "hello") == ERROR_TEXT
        (row,) = world.rows("SELECT error_message FROM processing_errors")
        assert row["error_message"].endswith("HTTP 400, context_length_exceeded: Too long.")


async def test_an_outage_burns_nothing_and_the_customer_is_told_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, aiohttp_server: Any
) -> None:
    """Connections are refused for a while; two messages wait, one line tells of it."""
    monkeypatch.setattr(waiting_notice, "TELL_AFTER_S", 0.5)
    simulator, port = make_simulator(), unused_port()
    variables = {"WBOT_MAX_ATTEMPTS": "1", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    async with make_world(simulator=simulator, variables=variables) as world:
        await simulator.say(ALICE, BALANCE)
        await simulator.say(ALICE, "hello")
        told = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert told.text == TAKES_LONGER
        assert (await world.health_of(200))["queue"]["waiting"] == 2
        requests = []

        async def answer(request: web.Request) -> web.Response:
            requests.append(await request.json())
            return web.json_response(interpreted(requests[-1]))

        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        await aiohttp_server(app, port=port)
        await simulator.wait_for_reply_to(ALICE, after=2, timeout_s=WAIT_S)
        texts = [reply.text for reply in simulator.replies_to(ALICE)]
        assert texts.count(TAKES_LONGER) == 1
        assert "Available" in texts[1]
        assert world.rows("SELECT told_to_wait_at FROM conversations") == [
            {"told_to_wait_at": None}
        ]
        assert TAKES_LONGER not in json.dumps(requests[-1]["messages"])


async def test_a_slow_first_answer_is_waited_for_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local model that loads: a hang-up would end the load, so one call waits it out."""
    monkeypatch.setattr(waiting_notice, "TELL_AFTER_S", 0.2)
    simulator = make_simulator()
    is_loaded = asyncio.Event()

    async def load(request: dict[str, Any]) -> Any:
        await is_loaded.wait()
        return interpreted(request)

    simulator.responder = load
    async with make_world(simulator=simulator, variables={"WBOT_API_TIMEOUT": "0.3"}) as world:
        await simulator.say(ALICE, BALANCE)
        told = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert told.text == TAKES_LONGER
        await asyncio.sleep(0.3)  # longer than one outside call may take
        is_loaded.set()
        reply = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert "Available" in reply.text
        assert len(simulator.completions) == 2  # asked once in each of two rounds
        assert states(world) == [("answered", 1)]


async def test_a_model_that_never_answers_burns_no_attempt(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.MODEL, silent())
    variables = {"WBOT_MAX_ATTEMPTS": "1", "WBOT_TURN_TIMEOUT": "0.3"}
    async with make_world(simulator=simulator, variables=variables) as world:
        assert "Available" in await world.ask(ALICE, BALANCE)
        assert states(world) == [("answered", 1)]
        outcomes = [row["outcome"] for row in world.rows("SELECT outcome FROM turns")]
        assert outcomes == ["retry", "answered"]


FALLBACK = {
    "WBOT_MODEL_FALLBACK": "second-model",
    "WBOT_MODEL_FALLBACK_API_KEY": "second-key",
}


class Second:
    """A second endpoint on loopback, which records what it is asked."""

    def __init__(self, *bodies: Any) -> None:
        self.bodies = list(bodies)
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(await request.json())
        self.keys.add(request.headers["Authorization"])
        return web.json_response(self.bodies.pop(0) if self.bodies else completion("Second."))


@pytest.fixture(name="serve_second")
async def _serve_second(aiohttp_server: Any) -> Any:
    async def serve(second: Second) -> dict[str, str]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", second.answer)
        server = await aiohttp_server(app)
        return FALLBACK | {"WBOT_MODEL_FALLBACK_BASE_URL": str(server.make_url("/v1"))}

    return serve


async def test_the_fallback_answers_in_the_same_attempt(
    make_world: MakeWorld, serve_second: Any
) -> None:
    simulator, second = make_simulator(), Second()
    simulator.responder = lambda _: error(402, EMPTY)
    variables = await serve_second(second)
    async with make_world(simulator=simulator, variables=variables) as world:
        assert await world.ask(ALICE, "hello") == "Second."
        assert await world.ask(BOB, "hello") == "Second."
        asked = [one for one in simulator.completions if one["messages"] != list(QUESTION)]
        assert len(asked) == 1  # once blocked, the first is not asked by turns
        assert second.requests[0]["model"] == "second-model"
        assert second.keys == {"Bearer second-key"}
        assert states(world) == [("answered", 1)] * 2
        async with world.session.get(f"{world.url}/health") as answer:
            report = await answer.json()
        assert report["model"] == {"fallback_answers_for_it": "second-model"}
        async with world.session.get(f"{world.url}/metrics") as answer:
            assert "wbot_fallback_answers_total 2.0" in await answer.text()
        (step, _) = world.rows("SELECT content FROM steps ORDER BY created_at")
        assert json.loads(step["content"])["is_fallback"] is True


async def test_every_transfer_of_the_fallback_is_asked_about(
    make_world: MakeWorld, serve_second: Any, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    second = Second(completion(None, ("transfer", {"amount": "20", "to": "John"})))
    simulator = make_simulator()
    simulator.responder = lambda _: error(402, EMPTY)
    variables = await serve_second(second)
    async with make_world(simulator=simulator, variables=variables) as world:
        await simulator.say(ALICE, "Transfer $20 to John")
        question = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert "$20.00" in question.text
        assert world.rows("SELECT phase FROM transfers WHERE kind = 'transfer'") == [
            {"phase": "pending"}
        ]


async def test_after_money_moved_the_fallback_only_words_the_reply(
    make_world: MakeWorld, serve_second: Any, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    again = completion("It is sent.", ("transfer", {"amount": "30", "to": "Jane"}))
    second, simulator = Second(again), make_simulator()
    paid = [completion(None, ("transfer", {"amount": "20", "to": "John"}))]
    simulator.responder = lambda _: paid.pop() if paid else error(402, EMPTY)
    variables = await serve_second(second)
    async with make_world(simulator=simulator, variables=variables) as world:
        reply = await world.ask(ALICE, "Transfer $20 to John")
        assert reply.startswith(f"{MARK} Sent $20.00 to “John”")
        assert reply.endswith("It is sent.")
        assert not second.requests[0].get("tools")
        assert len(world.rows("SELECT * FROM transfers WHERE kind = 'transfer'")) == 1


async def test_without_any_model_messages_wait_for_either(
    make_world: MakeWorld, serve_second: Any
) -> None:
    second, clock = Second(*[EMPTY] * 4), Ahead()
    simulator = make_simulator()
    simulator.responder = lambda _: error(402, EMPTY)
    variables = await serve_second(second)
    async with make_world(simulator=simulator, variables=variables, clock=clock) as world:
        await simulator.say(ALICE, "hello")
        assert "credit" in (await world.health_of(503))["reasons"][0]
        second.bodies.clear()
        clock.ahead_s += ASK_AGAIN_S
        reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert reply.text == "Second."
        assert states(world) == [("answered", 1)]


def set_knowledge(path: Path, file: Path) -> None:
    with writing(path) as tx:
        shop = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(shop, knowledge=str(file)))


async def test_knowledge_is_read_into_the_prompt_and_its_loss_costs_no_turn(
    make_world: MakeWorld, database_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "knowledge.txt"
    file.write_text("We open at nine.")
    set_knowledge(database_path, file)
    async with make_world() as world:

        async def system() -> str:
            await world.ask(ALICE, "hello")
            return str(world.simulator.completions[-1]["messages"][0]["content"])

        assert "We open at nine." in await system()
        file.write_text("We open at ten now.")
        assert "We open at ten now." in await system()
        file.unlink()
        assert "open at" not in await system()
        assert (await world.health_of(503))["reasons"] == [
            "shop is answered without its knowledge: its knowledge file cannot be used."
        ]
        file.write_text("We are back.")
        assert "We are back." in await system()
        await world.health_of(200)


async def test_what_was_said_before_stays_a_prefix_of_the_next_prompt(
    make_world: MakeWorld,
) -> None:
    """So that an endpoint's cache reuses it: only time, name and the new words come after it."""
    simulator, clock = make_simulator(), Ahead()
    async with make_world(simulator=simulator, clock=clock) as world:
        await world.ask(ALICE, "hello")
        await world.ask(ALICE, "What can you do?")
        clock.ahead_s += 61
        await world.ask(ALICE, "Thank you")
        before, after = (one["messages"] for one in simulator.completions[-2:])
        assert after[: len(before) - 2] == before[:-2]
        assert before[-2]["content"] != after[-2]["content"]


async def test_the_model_is_told_to_keep_to_the_business(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.ask(ALICE, "hello")
        system = world.simulator.completions[-1]["messages"][0]["content"]
        assert "You deal with the matters of The Shop alone" in system


async def test_the_line_survives_a_restart_and_is_not_repeated(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_notice, "TELL_AFTER_S", 0.2)
    simulator = make_simulator()
    simulator.responder = lambda _: error(402, EMPTY)
    async with make_world(simulator=simulator):
        await simulator.say(ALICE, BALANCE)
        await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
    clock = Ahead()
    async with make_world(simulator=simulator, clock=clock) as world:
        await until(lambda: world.rows("SELECT count(*) AS n FROM turns")[0]["n"] > 1)
        simulator.responder = None
        clock.ahead_s = ASK_AGAIN_S
        await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        texts = [reply.text for reply in simulator.replies_to(ALICE)]
        assert texts.count(TAKES_LONGER) == 1
        assert "Available" in texts[-1]
