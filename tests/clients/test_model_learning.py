"""What is learned of an endpoint: once, kept in the database, for a week."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Ahead
from model_endpoint import (
    PROMPT,
    Asked,
    Endpoint,
    Said,
    ask,
    calling,
    chat,
    endpoint,
    error,
    response,
    spoken,
    words,
)

from wbot.clients.model.answers import assistant_message, tool_message
from wbot.clock import Clock
from wbot.domain.errors import BadAnswerError, BlockedError, FilteredError, RejectedError
from wbot.storage import model_dialects
from wbot.storage.database import Database
from wbot.storage.model_dialects import DialectMemory
from wbot.turns import toolbox

WEEK_S = 7 * 24 * 3600.0


@pytest.fixture(name="database")
async def _database(database_path: Path) -> AsyncIterator[Database]:
    database = Database(database_path, clock=Clock())
    await database.open()
    yield database
    await database.close()


def older_cap(asked: Asked) -> Said:
    if "max_completion_tokens" in asked.body:
        return error("Unsupported parameter: 'max_completion_tokens'")
    return words("Hello")


async def once(made: Endpoint, database: Database, name: str = "m", **options: Any) -> None:
    model = made.client(memory=DialectMemory(database), **options)
    assert (await ask(model, name=name))[-1].text == "Hello"
    await model.close()


async def test_what_was_learned_outlives_the_service(database: Database) -> None:
    async with endpoint(older_cap) as made:
        for _ in range(3):
            await once(made, database)
        assert made.refused == 1


async def test_another_model_or_address_begins_anew(database: Database) -> None:
    async with endpoint(older_cap) as made:
        await once(made, database)
        await once(made, database, name="another")
        await once(made, database, url=f"{made.url}/v2")
        assert made.refused == 3


async def test_after_a_week_or_when_told_it_is_learned_anew(database: Database) -> None:
    clock = Ahead()
    async with endpoint(older_cap) as made:
        await once(made, database, clock=clock)
        clock.ahead_s = WEEK_S - 60
        await once(made, database, clock=clock)
        assert made.refused == 1
        clock.ahead_s = WEEK_S + 60
        await once(made, database, clock=clock)
        assert made.refused == 2
        assert await database.write(model_dialects.forget_all) == 1
        await once(made, database, clock=clock)
        assert made.refused == 3


async def test_who_comes_during_a_search_takes_what_it_tries() -> None:
    """An endpoint that takes its time with the first answer, while many write at once."""
    is_trying, may_answer = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked) -> Said:
        said = older_cap(asked)
        if not isinstance(said, tuple):
            is_trying.set()
            await may_answer.wait()
        return said

    async with endpoint(script) as made, asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        model = made.client()
        tasks.create_task(ask(model))
        await is_trying.wait()
        others = [tasks.create_task(ask(model)) for _ in range(10)]
        may_answer.set()
        await asyncio.gather(*others)
        assert made.refused == 1
        await model.close()


async def test_many_at_once_have_one_refused_call_among_them() -> None:
    async with endpoint(older_cap) as made:
        model = made.client()
        answers = await asyncio.gather(*(ask(model) for _ in range(20)))
        assert {one[-1].text for one in answers} == {"Hello"}
        assert made.refused == 1
        await model.close()


async def test_an_unexplained_refusal_forgets_what_was_learned(database: Database) -> None:
    """The endpoint was changed behind its address: what it takes now is found out again."""
    clock, takes = Ahead(), ["max_tokens"]

    def script(asked: Asked) -> Said:
        if takes[0] in asked.body:
            return words("Hello")
        refused = {"max_tokens", "max_completion_tokens"} & set(asked.body)
        wanted = takes[0] == "max_tokens"
        return error(f"Unsupported parameter: {refused.pop()}" if wanted else "Bad request.")

    async with endpoint(script) as made:
        await once(made, database, clock=clock)
        takes[0] = "max_completion_tokens"
        clock.ahead_s = 3_600
        await once(made, database, clock=clock)
        await once(made, database, clock=clock)
        assert made.refused == 2


async def test_a_refusal_that_nothing_explains_is_the_request_s_own() -> None:
    async with endpoint(lambda _: error("Bad request.")) as made:
        model = made.client()
        with pytest.raises(RejectedError, match="Bad request"):
            await ask(model)
        assert made.refused == 1
        await model.close()


async def test_refusals_that_never_end_are_few() -> None:
    """Whatever an endpoint says each time, a turn's attempt has an end."""
    said = [
        "Unsupported parameter: 'max_completion_tokens'",
        "Unsupported parameter: 'max_tokens'",
        "Conversation roles must alternate",
        "System role not supported",
        "use /v1/responses",
        "content must be a string",
        "additionalProperties",
        "single tool-calls",
    ]
    async with endpoint(lambda asked: error(" ".join(said))) as made:
        model = made.client()
        with pytest.raises(Exception, match=r"refused|rejected"):
            await ask(model)
        assert made.refused <= 6
        await model.close()


async def test_reasoning_that_its_provider_refuses_is_dropped_once() -> None:
    first = calling()
    first["choices"][0]["message"]["reasoning"] = "The user wants the balance."

    def script(asked: Asked) -> Said:
        if any("reasoning" in one for one in asked.messages):
            return error("property 'reasoning' is unsupported")
        return words("Hello") if "tool" in asked.roles else first

    async with endpoint(script) as made:
        model = made.client()
        for _ in range(3):
            assert (await ask(model))[-1].text == "Hello"
        assert made.refused == 1
        await model.close()


async def test_another_model_gets_none_of_what_only_the_first_understands() -> None:
    first = calling(extra_content={"google": {"thought_signature": "AAA"}})
    answers: list[Said] = [first, words("Hello")]
    async with endpoint(lambda _: answers.pop(0)) as made:
        model = made.client()
        answer = await model.complete(PROMPT, model="m", tools=toolbox.definitions())
        rounds = [*PROMPT, assistant_message(answer), tool_message("call_1", "{}")]
        await model.complete(rounds, model="another", tools=toolbox.definitions())
        call = made.asked[1].messages[2]["tool_calls"][0]
        assert "extra_content" not in call
        assert "opaque" not in made.asked[1].messages[2]
        await model.close()


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "balance",
    "arguments": "{}",
    "status": "completed",
}


@pytest.mark.parametrize("has_restart", [False, True])
async def test_the_responses_form_is_stateless_and_hands_its_items_back(
    *, has_restart: bool
) -> None:
    answers: list[Said] = [response(REASONING, CALL), response(spoken("You have $5.00."))]
    async with endpoint(lambda _: answers.pop(0)) as made:
        model = made.client(api="responses", effort="low")
        found = await ask(model, has_restart=has_restart)
        assert (found[-1].text, found[-1].usage.prompt_tokens) == ("You have $5.00.", 50)
        first, second = (one.body for one in made.asked)
        assert (first["store"], first["include"]) == (False, ["reasoning.encrypted_content"])
        assert (first["reasoning"], first["max_output_tokens"]) == ({"effort": "low"}, 500)
        assert first["instructions"] == PROMPT[0]["content"]
        assert first["tools"][0]["name"] == "transfer"
        assert second["input"] == [
            PROMPT[1],
            REASONING,
            CALL,
            {"type": "function_call_output", "call_id": "call_1", "output": '{"ok":true}'},
        ]
        await model.close()


async def test_each_earlier_answer_is_an_item_with_its_type() -> None:
    """llama.cpp infers the type of every role but the assistant's, and refuses all else."""
    earlier = [*PROMPT, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "?"}]
    async with endpoint(lambda _: response(spoken("You have $5.00."))) as made:
        model = made.client(api="responses")
        await model.complete(earlier, model="m", tools=())
        assert made.asked[0].body["input"][1:] == [
            {"type": "message", "role": "assistant", "content": "Hello"},
            {"role": "user", "content": "?"},
        ]
        await model.close()


async def test_a_response_cut_by_thinking_is_asked_for_again_with_room() -> None:
    cut = response(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    answers: list[Said] = [cut, response(spoken("Hello"))]
    async with endpoint(lambda _: answers.pop(0)) as made:
        model = made.client(api="responses")
        assert (await ask(model))[-1].text == "Hello"
        assert [one.body["max_output_tokens"] for one in made.asked] == [500, 4000]
        await model.close()


@pytest.mark.parametrize(
    ("api", "said"),
    [
        ("chat", {**words("Partly"), "choices": [{"message": {"content": "Partly"},
                                                  "finish_reason": "content_filter"}]}),
        ("responses", response(spoken("Partly"), status="incomplete",
                               incomplete_details={"reason": "content_filter"})),
        ("chat", error("The response was filtered", code="content_filter")),
    ],
    ids=["chat", "responses", "Azure's 400"],
)  # fmt: skip
async def test_a_content_filter_s_stop_is_asked_about_once(api: str, said: Any) -> None:
    async with endpoint(lambda _: said) as made:
        model = made.client(api=api)
        with pytest.raises(FilteredError):
            await ask(model)
        assert len(made.asked) == 1
        await model.close()


EMPTY: dict[str, Said] = {
    "nothing": words(""),
    "only thinking": words("<think>Hm.</think>"),
    "a cut text": {**words("Half of"), "choices": [{"message": {"content": "Half of"},
                                                    "finish_reason": "length"}]},
    "a call as text": words('Sure: <tool_call>{"name": "balance", "arguments": {}}</tool_call>'),
    "a cut call": {**calling(), "choices": [{**calling()["choices"][0],
                                             "finish_reason": "length"}]},
    "a botched call": error("Failed to call a function.", code="tool_use_failed"),
}  # fmt: skip


@pytest.mark.parametrize("said", EMPTY.values(), ids=EMPTY)
async def test_what_is_no_answer_is_asked_for_again_and_not_for_ever(said: Said) -> None:
    answers = [said, words("Hello")]
    async with endpoint(lambda _: answers.pop(0) if answers else said) as made:
        model = made.client()
        assert (await ask(model))[-1].text == "Hello"
        with pytest.raises(BadAnswerError):
            await ask(model)
        assert len(made.asked) == 2 + 3
        await model.close()


async def test_a_legacy_function_call_and_a_server_s_prefix_are_read() -> None:
    legacy = words("")
    message = {"content": None, "function_call": {"name": "functions.balance", "arguments": "{}"}}
    legacy["choices"] = [{"message": message, "finish_reason": "function_call"}]
    answers: list[Said] = [legacy, words("Hello")]
    async with endpoint(lambda _: answers.pop(0)) as made:
        model = made.client()
        first, last = await ask(model)
        assert ([call.name for call in first.tool_calls], last.text) == (["balance"], "Hello")
        assert made.asked[1].messages[-2]["tool_calls"][0]["function"]["name"] == "balance"
        await model.close()


async def test_a_fixed_api_that_is_not_there_is_the_operator_s_to_change() -> None:
    async with endpoint(lambda _: (404, {"detail": "Not Found"})) as made:
        model = made.client(api="responses")
        with pytest.raises(BlockedError, match="WBOT_MODEL_API"):
            await ask(model)
        await model.close()


async def test_one_call_a_message_where_the_template_asks_for_it() -> None:
    two = calling()
    first = two["choices"][0]["message"]["tool_calls"][0]
    two["choices"][0]["message"]["tool_calls"] = [first, {**first, "id": "call_2"}]

    def script(asked: Asked) -> Said:
        if any(len(one.get("tool_calls") or ()) > 1 for one in asked.messages):
            return error("This model only supports single tool-calls at once!")
        return words("Hello") if "tool" in asked.roles else two

    async with endpoint(script) as made:
        model = made.client()
        assert (await ask(model))[-1].text == "Hello"
        assert made.asked[-1].roles == ["system", "user", *["assistant", "tool"] * 2]
        await model.close()


async def test_a_model_that_thinks_longer_gets_more_than_it_was_known_to_need() -> None:
    needed = [3_000]

    def script(asked: Asked) -> Said:
        cut = {"message": {"content": ""}, "finish_reason": "length"}
        is_enough = asked.body["max_completion_tokens"] > needed[0]
        return words("Hello") if is_enough else {**words(""), "choices": [cut]}

    async with endpoint(script) as made:
        model = made.client()
        await ask(model)
        needed[0] = 5_000
        await ask(model)
        await ask(model)
        caps = [one.body["max_completion_tokens"] for one in made.asked]
        assert caps == [500, 4_000, 4_000, 16_000, 16_000]
        await model.close()


async def test_the_cap_is_raised_no_further_than_the_endpoint_allows() -> None:
    def script(asked: Asked) -> Said:
        cap = asked.body["max_completion_tokens"]
        if cap > 2_048:
            return error(f"max_tokens is too large: {cap}. This model supports at most 2048.")
        cut = {"message": {"content": ""}, "finish_reason": "length"}
        return words("Hello") if cap > 500 else {**words(""), "choices": [cut]}

    async with endpoint(script) as made:
        model = made.client()
        await ask(model)
        await ask(model)
        caps = [one.body["max_completion_tokens"] for one in made.asked]
        assert caps == [500, 4_000, 2_048, 2_048]
        await model.close()


async def test_where_the_context_has_no_more_room_a_short_answer_is_asked_for() -> None:
    def script(asked: Asked) -> Said:
        if asked.body["max_completion_tokens"] > 500:
            return error("This model's maximum context length is 1024 tokens.")
        if "few short sentences" in asked.messages[0]["content"]:
            return words("Hello")
        return chat({"content": "Hello, and"}, "length")

    async with endpoint(script) as made:
        model = made.client()
        assert (await ask(model))[-1].text == "Hello"
        await model.close()


def test_an_address_is_kept_without_what_may_be_secret_in_it() -> None:
    made = Endpoint(lambda _: {})
    model = made.client(url="http://user:pass@127.0.0.1:9/v1?api-version=2&key=secret-1")
    assert model.endpoint == "http://127.0.0.1:9/v1?api-version=2"
