"""A turn: what it asks the model, what it stores, and how it fails."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from conftest import (
    ALICE,
    BOB,
    CAROL,
    WAIT_S,
    Ahead,
    MakeWorld,
    World,
    deposit,
    make_simulator,
    writing,
)

from wbot.clock import Clock, to_text
from wbot.domain.receipts import MARK
from wbot.simulator.faults.plan import Endpoint, garbled, refused, slow
from wbot.simulator.simulator import MODEL
from wbot.storage import businesses, errors, messages
from wbot.turns.finish import ERROR_TEXT
from wbot.turns.model_health import ASK_AGAIN_S


def change_business(path: Path, **changes: Any) -> None:
    with writing(path) as tx:
        business = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(business, **changes))


def completion(text: str | None = None, *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """An answer of the model: text, or tool calls with new ids."""
    tool_calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for number, (name, arguments) in enumerate(calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if tool_calls:
        message["tool_calls"] = tool_calls
    finish = "tool_calls" if tool_calls else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1790000000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }


def balance_of(world: World) -> int:
    found = world.rows(
        "SELECT posted_minor FROM balances b JOIN accounts a ON a.id = b.account_id "
        "WHERE a.kind = 'customer' ORDER BY a.id LIMIT 1"
    )
    return int(found[0]["posted_minor"])


async def test_the_prompt_ends_with_the_customers_words_verbatim(make_world: MakeWorld) -> None:
    words = "  Hi *there*\n{name} 🧾 “quoted” \u202etricky  "
    async with make_world() as world:
        await world.ask(ALICE, "hello")
        await world.ask(ALICE, words)
        request = world.simulator.completions[-1]
        assert request["messages"][-1] == {"role": "user", "content": words}
        roles = ["system", "user", "assistant", "system", "user"]
        assert [m["role"] for m in request["messages"]] == roles
        assert request["messages"][1]["content"] == "hello"
        assert "The Shop" in request["messages"][0]["content"]
        names = [tool["function"]["name"] for tool in request["tools"]]
        assert names == ["transfer", "cancel", "balance", "statement"]
        assert request["max_completion_tokens"] == 500


async def test_without_ledger_lines_the_reply_is_the_models_text_but_for_the_mark(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    simulator.responder = lambda _: completion(f" {MARK} Sent $1.00\u202e\x07 to you\n\n ok ")
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "hi") == "  Sent $1.00 to you\n\n ok "


async def test_the_same_call_again_in_one_message_acts_once(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    simulator = make_simulator()
    calls = [
        [
            ("transfer", {"amount": "20", "to": "John"}),
            ("transfer", {"amount": "$20.00", "to": "JOHN "}),
        ],
        [("transfer", {"to": "john", "amount": "20.0", "memo": "again"})],
    ]
    answers = [completion(None, *one) for one in calls] + [completion("Done.")]
    simulator.responder = lambda _: answers.pop(0)
    async with make_world(simulator=simulator) as world:
        reply = await world.ask(ALICE, "Transfer $20 to John")
        assert (
            reply == f"{MARK} Sent $20.00 to “John”, outside: "
            f"paid out by The Shop (T2). Available: $480.00.\n\nDone."
        )
        assert balance_of(world) == 48_000
        results = [m for m in simulator.completions[-1]["messages"] if m["role"] == "tool"]
        assert [json.loads(m["content"])["transfer"] for m in results] == ["T2"] * 3


async def test_a_call_that_does_not_fit_gets_a_sentence_and_the_turn_goes_on(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    bad = completion(None, ("transfer", {"amount": 1}), ("steal", {}), ("balance", {}))
    bad["choices"][0]["message"]["tool_calls"][2]["function"]["arguments"] = "{not json"
    answers = [bad, completion("I could not do that.")]
    simulator.responder = lambda _: answers.pop(0)
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "do something odd") == "I could not do that."
        results = [
            json.loads(m["content"])
            for m in simulator.completions[-1]["messages"]
            if m["role"] == "tool"
        ]
        assert [result["ok"] for result in results] == [False] * 3
        assert "steal" in results[1]["error"]


@pytest.mark.parametrize(
    "fault",
    [
        refused(500, 0, error_type="server_error"),
        refused(429, 0, error_type="rate_limit_exceeded", retry_after_s=0),
        garbled(),
        garbled("{", status=200),
        garbled('{"choices": []}', status=200),
        garbled('{"choices": null}', status=200),
    ],
    ids=["500", "429", "html", "broken json", "no choices", "null choices"],
)
async def test_a_failure_of_the_model_that_passes_is_tried_again(
    make_world: MakeWorld, fault: Any
) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.MODEL, fault)
    async with make_world(simulator=simulator) as world:
        assert "Available: $0.00" in await world.ask(ALICE, "What's my balance?")
        outcomes = [row["outcome"] for row in world.rows("SELECT outcome FROM turns")]
        assert outcomes == ["retry", "answered"]


async def test_a_lasting_failure_is_reported_recorded_and_does_not_block_the_next_message(
    make_world: MakeWorld, database_path: Path
) -> None:
    change_business(database_path, error_text="Please call us.")
    simulator = make_simulator()
    simulator.faults.add(
        Endpoint.MODEL, refused(500, 0, about="broken"), refused(500, 0, about="broken")
    )
    async with make_world(simulator=simulator, variables={"WBOT_MAX_ATTEMPTS": "2"}) as world:
        await simulator.say(ALICE, "broken")
        await simulator.say(ALICE, "What's my balance?")
        await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        texts = [send.text for send in simulator.replies_to(ALICE)]
        assert texts[0] == "Please call us."
        assert "Available" in texts[1]
        found = world.rows("SELECT error_message, retry_count, state FROM processing_errors")
        said = "The model endpoint failed: HTTP 500, server_error: Refused on demand."
        assert found == [
            {
                "error_message": said,
                "retry_count": 1,
                "state": "open",
            }
        ]
        assert world.service.metrics.errors == 1


async def test_a_rejected_request_is_not_repeated(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.MODEL, refused(400, 0, error_type="bad_request"))
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "hi") == ERROR_TEXT
        assert len(world.rows("SELECT * FROM turns")) == 1


async def test_no_other_symbol_stands_first_in_a_model_s_line_of_money(
    make_world: MakeWorld,
) -> None:
    """Not even where a long text is cut into parts."""
    simulator = make_simulator()
    simulator.responder = lambda _: f"👋 Hello\n📃 Sent $5.00\n{'x' * 4_075} ✅ Sent $6.00"
    async with make_world(simulator=simulator):
        await simulator.say(ALICE, "hi")
        await simulator.wait_for_sends(2, timeout_s=WAIT_S)
        first, second = (send.text.split("\n") for send in simulator.sends)
        assert first[:2] == ["👋 Hello", "Sent 📃 $5.00"]
        assert second[-1] == "Sent ✅ $6.00"


async def test_after_an_effect_a_failing_model_leaves_the_receipt_and_no_error_text(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    simulator = make_simulator()
    answers = [completion(None, ("transfer", {"amount": "20", "to": "John"}))]
    simulator.responder = lambda _: (
        answers.pop() if answers else web.Response(status=400, text="no")
    )
    async with make_world(simulator=simulator) as world:
        reply = await world.ask(ALICE, "Transfer $20 to John")
        assert (
            reply == f"{MARK} Sent $20.00 to “John”, outside: "
            f"paid out by The Shop (T2). Available: $480.00."
        )
        assert len(world.rows("SELECT * FROM processing_errors")) == 1
        asked = len(simulator.completions)
        message_id = world.rows("SELECT message_id FROM messages")[0]["message_id"]
        now = to_text(Clock().now())
        with writing(database_path) as tx:
            messages.requeue(tx, message_id, now)
            errors.mark_retried(tx, message_id)
        again = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert again.text == reply
        assert balance_of(world) == 48_000
        assert len(simulator.completions) == asked


async def test_an_interrupted_later_revision_continues_from_its_own_steps(
    make_world: MakeWorld, database_path: Path
) -> None:
    """Only money moved in an earlier revision ends a message; the second payment was once lost."""
    deposit(database_path, ALICE, 50_000)
    simulator = make_simulator()
    answers: list[Any] = [
        web.Response(status=400),
        completion(None, ("transfer", {"amount": "20", "to": "John"})),
        web.Response(status=500),
        completion("OK"),  # to a harmless question: the failure was the message's own
        completion(None, ("transfer", {"amount": "30", "to": "Jane"})),
        completion("Both are sent."),
    ]
    simulator.responder = lambda _: answers.pop(0)
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "Transfer $20 to John and $30 to Jane") == ERROR_TEXT
        message_id = world.rows("SELECT message_id FROM messages")[0]["message_id"]
        with writing(database_path) as tx:
            messages.requeue(tx, message_id, to_text(Clock().now()))
        again = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        assert again.text.count("Sent $") == 2
        assert again.text.endswith("Both are sent.")
        assert balance_of(world) == 45_000


async def test_a_model_that_never_stops_calling_tools_is_stopped(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.responder = lambda _: completion(None, ("balance", {}))
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "hi") == f"{MARK} Available: $0.00."
        assert "called tools" in world.rows("SELECT * FROM processing_errors")[0]["error_message"]


async def test_a_refused_key_holds_the_messages_and_turns_health_red(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.MODEL, refused(401, 0, error_type="invalid_api_key"))
    clock = Ahead()
    async with make_world(simulator=simulator, clock=clock) as world:
        await simulator.say(ALICE, "What's my balance?")
        assert "401" in (await world.health_of(503))["reasons"][0]
        assert world.rows("SELECT * FROM processing_errors") == []
        clock.ahead_s = ASK_AGAIN_S
        await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        await world.health_of(200)


async def test_a_redirect_of_the_model_holds_the_queue_and_costs_no_message(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    moved = web.Response(status=307, headers={"Location": "/v1/elsewhere"})
    answers: list[Any] = [moved]
    simulator.responder = lambda _: answers.pop() if answers else completion("Hello.")
    async with make_world(simulator=simulator) as world:
        await simulator.say(ALICE, "hi")
        assert "OPENAI_BASE_URL" in (await world.health_of(503))["reasons"][0]
        assert world.rows("SELECT * FROM processing_errors") == []
        async with asyncio.timeout(WAIT_S):  # /health is red before the attempt is given back
            while world.rows("SELECT attempts FROM messages") != [{"attempts": 0}]:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.01)
        with writing(world.service.settings.database) as tx:
            tx.execute("UPDATE messages SET not_before = NULL")
        reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert reply.text == "Hello."


async def test_a_paused_business_answers_nothing_until_it_is_resumed(
    make_world: MakeWorld, database_path: Path
) -> None:
    change_business(database_path, is_paused=True)
    async with make_world() as world:
        await world.simulator.say(ALICE, "What's my balance?")
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        states = world.rows("SELECT state, attempts FROM messages")
        assert states == [{"state": "waiting", "attempts": 0}]
        change_business(database_path, is_paused=False)
        await world.simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)


async def test_a_change_by_the_command_line_is_seen_within_two_seconds(
    make_world: MakeWorld, database_path: Path
) -> None:
    clock = Clock()
    async with make_world() as world:
        for _ in range(3):
            await world.ask(ALICE, "hello")
        cache = (await world.service.health.report())["cache"]
        assert cache["misses"] == 1
        assert cache["hits"] >= 5
        assert cache["keys"] == 1
        change_business(database_path, instructions="Answer like a pirate.")
        changed = clock.monotonic()
        # In turn: the same words again and again at once would be a program's.
        for words in itertools.cycle(["hello there", "hello"]):
            await world.ask(ALICE, words)
            if "pirate" in world.simulator.completions[-1]["messages"][0]["content"]:
                break
            assert clock.monotonic() - changed < 2 + 1  # one for the question itself


@pytest.mark.parametrize(
    ("kind", "words"),
    [("image", "pictures"), ("voice", "voice notes"), ("location", "locations")],
)
async def test_an_unhandled_kind_gets_one_polite_sentence(
    make_world: MakeWorld, kind: str, words: str
) -> None:
    async with make_world() as world:
        await world.simulator.send_inbound(CAROL, kind)
        reply = await world.simulator.wait_for_reply_to(CAROL, after=0, timeout_s=WAIT_S)
        assert words in reply.text
        assert world.simulator.completions == ()


async def test_a_reaction_gets_silence_with_a_recorded_reason(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.simulator.send_inbound(BOB, "reaction")
        await world.ask(BOB, "hello")
        found = world.rows("SELECT type, state, reason FROM messages ORDER BY number")
        assert found[0] == {"type": "reaction", "state": "silent", "reason": "reaction"}
        assert len(world.simulator.replies_to(BOB)) == 1
        assert [mark.message_id for mark in world.simulator.reads] == [
            world.rows("SELECT message_id FROM messages ORDER BY number")[1]["message_id"]
        ]


async def test_the_read_mark_and_typing_go_out_before_the_reply(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.faults.add(Endpoint.MODEL, slow(0.3))
    async with make_world(simulator=simulator) as world:
        await world.ask(ALICE, "hello")
        assert simulator.reads[0].typing
        assert simulator.reads[0].at < simulator.sends[0].at


async def test_a_customer_without_a_phone_number_is_answered_by_user_id(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    hidden = msgspec.structs.replace(ALICE, name="Hidden", phone=None, user_id="US.9009")
    async with make_world(simulator=simulator) as world:
        seen = len(simulator.sends)
        await simulator.say(hidden, "What's my balance?")
        sends = await simulator.wait_for_sends(seen + 1, timeout_s=WAIT_S)
        assert sends[-1].recipient == "US.9009"
        assert "to" not in sends[-1].payload
        assert world.rows("SELECT kind, value FROM customer_aliases") == [
            {"kind": "user_id", "value": "US.9009"}
        ]


@pytest.mark.parametrize("text", [MARK, "\u202e", " \n"])
async def test_an_answer_of_nothing_but_marks_is_asked_for_again(
    make_world: MakeWorld, text: str
) -> None:
    simulator = make_simulator()
    answers = [completion(text), completion("Here I am.")]
    simulator.responder = lambda _: answers.pop(0)
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "hi") == "Here I am."


async def test_half_a_surrogate_pair_from_the_model_is_no_reason_to_fail(
    make_world: MakeWorld,
) -> None:
    simulator = make_simulator()
    simulator.responder = lambda _: completion("odd \ud83d text")
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "hi") == "odd � text"
        assert world.rows("SELECT * FROM processing_errors") == []


async def test_a_models_markdown_is_shown_with_whatsapps_marks_below_our_lines(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    simulator = make_simulator()
    answers = [
        completion(None, ("transfer", {"amount": "20", "to": "John"})),
        completion("# Done\n\nYou sent **$20** to [John](https://example.com)."),
    ]
    simulator.responder = lambda _: answers.pop(0)
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "Transfer $20 to John") == (
            f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2). "
            "Available: $480.00.\n\n"
            "*Done*\n\nYou sent *$20* to John: https://example.com."
        )
