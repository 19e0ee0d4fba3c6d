"""What code adds to a model's words or makes of them, in a whole turn."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from conftest import ALICE, MakeWorld, deposit, make_simulator
from model_endpoint import calling, words

from wbot.domain.receipts import MARK

BUSY = web.Response(status=429, headers={"Retry-After": "0"})
FIELD = Path(__file__).parents[1] / "clients" / "field"


def case(number: str) -> Any:
    return json.loads(next(FIELD.glob(f"{number}-*.json")).read_text("utf-8"))


async def test_12c_a_claim_without_a_call_is_followed_by_the_truth(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.responder = lambda _: case("12c")["model_body"]
    async with make_world(simulator=simulator) as world:
        reply = await world.ask(ALICE, "Send $20 to John")
        assert reply.endswith("Your new balance is $480.00.\n\nNo money was moved.")
        assert not reply.startswith(MARK)


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("Send $20 to John", [words("Whom do you mean?")]),
        ("hello", [words("I have sent $20.00.")]),
        (
            "Send $20 to John",
            [calling("transfer", '{"amount":"20","to":"John"}'), words("I sent $20.")],
        ),
        (
            "Send $2000 to John",
            [calling("transfer", '{"amount":"2000","to":"John"}'), words("$2000 is too much.")],
        ),
    ],
    ids=["no amount repeated", "no amount written", "money moved", "a refused transfer"],
)
async def test_where_money_acted_or_no_amount_is_repeated_nothing_is_added(
    make_world: MakeWorld, database_path: Path, text: str, answers: list[Any]
) -> None:
    deposit(database_path, ALICE, 50_000)
    simulator = make_simulator()
    simulator.responder = lambda _: answers.pop(0)
    async with make_world(simulator=simulator) as world:
        assert "No money was moved." not in await world.ask(ALICE, text)


async def test_12a_a_transfer_that_came_as_text_is_asked_about_below_any_threshold(
    make_world: MakeWorld, database_path: Path
) -> None:
    """The business pays such amounts at once: not on a call that the model wrote as text."""
    deposit(database_path, ALICE, 50_000)
    simulator = make_simulator()
    simulator.responder = lambda _: case("12a")["model_body"]
    async with make_world(simulator=simulator) as world:
        reply = await world.ask(ALICE, "Send $20 to John")
        assert "tool_call" not in reply
        assert "$20.00" in reply
        assert world.rows("SELECT phase FROM transfers ORDER BY id DESC LIMIT 1") == [
            {"phase": "pending"}
        ]


async def test_11_thinking_is_in_no_later_prompt(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.responder = lambda _: case("11")["model_body"]
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "hi") == "Hello! How can I help?"
        await world.ask(ALICE, "hi again")
        assert "VIP" not in json.dumps(simulator.completions[-1]["messages"])


async def test_38_markdown_is_shown_as_whatsapp_shows_it(make_world: MakeWorld) -> None:
    simulator = make_simulator()
    simulator.responder = lambda _: case("38")
    async with make_world(simulator=simulator) as world:
        assert await world.ask(ALICE, "When are you open?") == (
            "*Our hours*\n\n*Weekdays*\n- *Mon–Fri*: 9–17\n\n"
            "Map: https://example.com/map\n\nDay | Hours\nSat | 10–14"
        )


async def test_03_a_signature_comes_back_from_the_journal_in_a_later_attempt(
    make_world: MakeWorld,
) -> None:
    found = case("03")
    first = found["first_answer"]
    answers: list[Any] = [first, BUSY, words("You have nothing.")]
    simulator = make_simulator()
    simulator.responder = lambda _: answers.pop(0)
    async with make_world(simulator=simulator) as world:
        assert (await world.ask(ALICE, "balance?")).endswith("You have nothing.")
        for request in simulator.completions[-2:]:
            (call,) = request["messages"][-2]["tool_calls"]
            assert call == first["choices"][0]["message"]["tool_calls"][0]
