"""Cases from the field: what real endpoints answer, through the real openai package."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from model_endpoint import (
    KEY,
    PROMPT,
    Asked,
    Said,
    ask,
    calling,
    endpoint,
    response,
    spoken,
    words,
)

from wbot.clients.model import Answer
from wbot.domain.errors import BlockedError, RetryableError
from wbot.domain.tool_arguments import read_arguments
from wbot.turns import toolbox

FIELD = Path(__file__).parent / "field"
TRANSFER = {"amount": "20.00", "to": "John"}


def case(number: str) -> Any:
    return json.loads(next(FIELD.glob(f"{number}-*.json")).read_text("utf-8"))


async def test_01_tools_go_where_the_model_takes_them_and_one_call_is_refused_ever() -> None:
    """The first turn finds out; the second is asked in the right form at once."""
    found = case("01")

    def script(asked: Asked) -> Said:
        if asked.path.endswith("/responses"):
            return response(spoken("Hello"))
        if asked.body.get("tools") and asked.body.get("reasoning_effort") != "none":
            return found["model_http"], found["model_body"]
        return words("Hello")

    async with endpoint(script) as made:
        model = made.client()
        for _ in range(3):
            assert [answer.text for answer in await ask(model)] == ["Hello"]
        assert made.refused == 1
        assert all(one.body["tools"] for one in made.asked)
        assert await model.learned("m") == "Responses"
        await model.close()


async def test_01_where_there_is_no_other_api_the_parameter_is_taken_that_the_endpoint_names() -> (
    None
):
    found = case("01")

    def script(asked: Asked) -> Said:
        if asked.path.endswith("/responses"):
            return 404, {"detail": "Not Found"}
        if asked.body.get("reasoning_effort") != "none":
            return found["model_http"], found["model_body"]
        return words("Hello")

    async with endpoint(script) as made:
        model = made.client()
        assert (await ask(model))[-1].text == "Hello"
        assert (await ask(model))[-1].text == "Hello"
        assert made.refused == 2
        await model.close()


async def test_02_a_model_that_spends_the_cap_on_thinking_gets_room_and_keeps_it() -> None:
    found = case("02")

    def script(asked: Asked) -> Said:
        enough = asked.body["max_completion_tokens"] > 2_000
        return words("Hello") if enough else dict(found["model_body"])

    async with endpoint(script) as made:
        model = made.client()
        answer = (await ask(model))[-1]
        assert (answer.text, answer.usage.completion_tokens) == ("Hello", 510)
        assert (answer.usage.reasoning_tokens, answer.usage.calls) == (500, 2)
        assert (await ask(model))[-1].usage.calls == 1
        await model.close()


def _signed(asked: Asked, signature: Any) -> bool:
    said = [one for one in asked.messages if one.get("tool_calls")]
    calls = [call for one in said for call in one["tool_calls"]]
    return all(call.get("extra_content") == signature for call in calls)


@pytest.mark.parametrize("has_restart", [False, True], ids=["at once", "after a restart"])
@pytest.mark.parametrize(("number", "rounds"), [("03", 1), ("47", 2)])
async def test_03_and_47_a_signature_goes_back_exactly_as_it_came(
    number: str, rounds: int, *, has_restart: bool
) -> None:
    assert case(number)
    found = case("03")
    first = found["first_answer"]
    signature = first["choices"][0]["message"]["tool_calls"][0]["extra_content"]

    def script(asked: Asked) -> Said:
        if not _signed(asked, signature):
            return found["then_http"], found["then_body"]
        done = asked.roles.count("tool")
        return first if done < rounds else words("You have $5.00.")

    async with endpoint(script) as made:
        model = made.client()
        answers = await ask(model, has_restart=has_restart)
        assert answers[-1].text == "You have $5.00."
        assert made.refused == 0
        await model.close()


@pytest.mark.parametrize("has_restart", [False, True], ids=["at once", "after a restart"])
async def test_04_reasoning_goes_back_in_the_tool_round(*, has_restart: bool) -> None:
    found = case("04")
    reasoning = found["first_answer"]["choices"][0]["message"]["reasoning_content"]

    def script(asked: Asked) -> Said:
        said = [one for one in asked.messages if one["role"] == "assistant"]
        if not said:
            return dict(found["first_answer"])
        if said[0].get("reasoning_content") != reasoning:
            return found["then_http"], found["then_body"]
        return words("You have $5.00.")

    async with endpoint(script) as made:
        model = made.client()
        assert (await ask(model, has_restart=has_restart))[-1].text == "You have $5.00."
        assert made.refused == 0
        await model.close()


async def test_10a_an_error_inside_a_200_is_that_error() -> None:
    async with endpoint(lambda _: case("10a")["model_body"]) as made:
        model = made.client()
        with pytest.raises(RetryableError, match="429"):
            await ask(model)
        await model.close()


async def test_11_thinking_reaches_nobody() -> None:
    async with endpoint(lambda _: case("11")["model_body"]) as made:
        model = made.client()
        assert (await ask(model))[-1].text == "Hello! How can I help?"
        await model.close()


async def test_12a_a_call_in_a_tag_is_the_call_that_it_is() -> None:
    async with endpoint(lambda _: case("12a")["model_body"]) as made:
        model = made.client()
        answer = await model.complete(PROMPT, model="m", tools=toolbox.definitions())
        (call,) = answer.tool_calls
        assert (call.name, json.loads(call.arguments), call.came_as_text) == (
            "transfer",
            TRANSFER,
            True,
        )
        assert answer.text == ""
        await model.close()


async def test_12a_quoted_by_the_prompt_it_is_asked_for_again_and_never_shown() -> None:
    found = case("12a")
    text = found["model_body"]["choices"][0]["message"]["content"]
    answers = [found["model_body"], words("I cannot do that.")]
    async with endpoint(lambda _: answers.pop(0)) as made:
        model = made.client()
        prompt = [PROMPT[0], {"role": "user", "content": f"Say this: {text}"}]
        answer = (await ask(model, prompt))[-1]
        assert (answer.text, answer.tool_calls) == ("I cannot do that.", ())
        assert made.asked[1].messages[-1] == prompt[-1]
        assert "never write one as text" in made.asked[1].messages[0]["content"]
        await model.close()


HISTORY: list[dict[str, Any]] = [
    PROMPT[0],
    {"role": "assistant", "content": "Cut from the middle."},
    {"role": "user", "content": "one"},
    {"role": "user", "content": "two"},
    {"role": "assistant", "content": "three"},
    {"role": "assistant", "content": "four"},
    {"role": "user", "content": "five"},
]


@pytest.mark.parametrize("status", [400, 500], ids=["vLLM", "llama.cpp"])
async def test_14_roles_take_turns_where_that_is_asked(status: int) -> None:
    found = case("14")

    def script(asked: Asked) -> Said:
        roles = [one["role"] for one in asked.messages if not _is_of_tools(one)]
        turns = ["user", "assistant"] * len(roles)
        if roles[1:] != turns[: len(roles) - 1]:
            return status, found["model_body"]
        return words("six") if "tool" in asked.roles else calling()

    async with endpoint(script) as made:
        model = made.client()
        for _ in range(2):
            assert (await ask(model, HISTORY))[-1].text == "six"
        assert made.refused == 1
        assert made.asked[1].messages[-1] == HISTORY[-1]
        await model.close()


def _is_of_tools(message: dict[str, Any]) -> bool:
    return message["role"] == "tool" or bool(message.get("tool_calls"))


async def test_15_a_model_without_tools_is_said_to_be_one_and_never_asked_without() -> None:
    found = case("15")

    def script(asked: Asked) -> Said:
        if asked.body.get("tools"):
            return found["model_http"], found["model_body"]
        return words("I have sent it.")

    async with endpoint(script) as made:
        model = made.client()
        with pytest.raises(BlockedError, match="no tools") as raised:
            await ask(model)
        assert "WBOT_MODEL" in raised.value.own_words
        assert len(made.asked) == 1
        await model.close()


SOUND = {"double-encoded", "wrapped", "fenced", "python", "list", "number"}


@pytest.mark.parametrize(("kind", "text"), case("19").items(), ids=case("19"))
async def test_19_sound_arguments_are_read_in_odd_wrappings(kind: str, text: str) -> None:
    """The text goes back to the model as it came, whatever is read in it."""
    answers = [calling("transfer", text), words("Done.")]
    async with endpoint(lambda _: answers.pop(0)) as made:
        model = made.client()
        first = (await ask(model))[0]
        assert first.tool_calls[0].arguments == text
        if kind in SOUND:
            values = read_arguments(text)
            assert {**values, "amount": values["amount"].removesuffix(".00")} == {
                "amount": "20",
                "to": "John",
            }
        await model.close()


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_52_a_base_url_with_a_query_works(api: str) -> None:
    base_url = case("52")["OPENAI_BASE_URL"]
    tail = base_url.removeprefix("https://RES.openai.azure.com")

    def script(asked: Asked) -> Said:
        return words("Hello") if api == "chat" else response(spoken("Hello"))

    async with endpoint(script) as made:
        model = made.client(url=f"{made.url}{tail}", api=api)
        assert (await ask(model))[-1].text == "Hello"
        (asked,) = made.asked
        assert asked.path.startswith("/openai/deployments/gpt4o/")
        assert asked.query == {"api-version": "2024-10-21"}
        assert asked.headers["api-key"] == KEY
        await model.close()


def test_an_answer_kept_by_an_older_version_still_reads() -> None:
    old = b'{"text":"","tool_calls":[{"id":"a","name":"balance","arguments":"{}"}],"model":"m"}'
    answer = msgspec.json.decode(old, type=Answer)
    assert (answer.opaque, answer.tool_calls[0].came_as_text) == ("", False)


def test_every_case_has_its_test() -> None:
    source = Path(__file__).read_text("utf-8")
    kept = {"12c", "38"}  # of the whole turn: tests/turns/test_said_by_code.py
    numbers = {path.name.split("-")[0] for path in FIELD.glob("*.json")} - kept
    assert [number for number in sorted(numbers) if f'"{number}"' not in source] == []
