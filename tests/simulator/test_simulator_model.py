"""The simulated chat endpoint, used by the real openai package."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from simulator_harness import Rig, running

from wbot.simulator.faults.plan import Endpoint, dropped, garbled, refused, slow
from wbot.simulator.model.chat_completions import CompletionError, check_messages
from wbot.simulator.simulator import MODEL

QUESTION: list[Any] = [{"role": "user", "content": "What is my balance?"}]
CALL = {"id": "call-1", "type": "function", "function": {"name": "balance", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWERING = {"role": "tool", "tool_call_id": "call-1", "content": '{"ok": true}'}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "balance", "parameters": {}}}]


@pytest.fixture(name="rig")
async def _rig() -> AsyncIterator[Rig]:
    async with running() as rig:
        yield rig


@pytest.fixture(name="client")
async def _client(rig: Rig) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(rig) as client:
        yield client


def client_of(rig: Rig, *, api_key: str = "simulated-key") -> AsyncOpenAI:
    return AsyncOpenAI(api_key=api_key, base_url=f"{rig.graph.base_url}/v1", max_retries=0)


async def ask(client: AsyncOpenAI, messages: list[Any] = QUESTION, **more: Any) -> Any:
    return await client.chat.completions.create(model=MODEL, messages=messages, **more)


async def test_the_interpreter_proposes_a_tool_call_and_then_a_text(client: AsyncOpenAI) -> None:
    completion = await ask(client, tools=TOOLS, parallel_tool_calls=False)
    (choice,) = completion.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "balance")
    assert (completion.model, completion.object) == (MODEL, "chat.completion")
    asked = [*QUESTION, choice.message.model_dump(exclude_none=True)]
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"ok": true}'}
    completion = await ask(client, [*asked, result], tools=TOOLS)
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.content


async def test_requests_are_recorded(rig: Rig, client: AsyncOpenAI) -> None:
    await ask(client, max_completion_tokens=7)
    (request,) = rig.simulator.completions
    assert (request["messages"], request["max_completion_tokens"]) == (QUESTION, 7)


async def test_answers_can_be_scripted(rig: Rig, client: AsyncOpenAI) -> None:
    rig.simulator.responder = lambda request: f"You said: {request['messages'][-1]['content']}"
    assert (await ask(client)).choices[0].message.content == "You said: What is my balance?"
    rig.simulator.responder = lambda _request: {"object": "chat.completion", "choices": []}
    assert (await ask(client)).choices == []
    rig.simulator.responder = lambda _request: web.Response(
        text="<html></html>", content_type="text/html"
    )
    assert await ask(client) == "<html></html>"


async def test_a_scripted_answer_can_wait_for_something(rig: Rig, client: AsyncOpenAI) -> None:
    asked, allowed = asyncio.Event(), asyncio.Event()

    async def respond(_request: dict[str, Any]) -> str:
        asked.set()
        await allowed.wait()
        return "At last"

    rig.simulator.responder = respond
    async with asyncio.TaskGroup() as group:
        completion = group.create_task(ask(client))
        await asked.wait()
        assert not completion.done()
        allowed.set()
    assert completion.result().choices[0].message.content == "At last"


async def test_models_are_listed_and_described(client: AsyncOpenAI) -> None:
    assert [one.id async for one in client.models.list()] == [MODEL]
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("another")
    assert caught.value.code == "model_not_found"


async def test_a_wrong_key_is_refused_everywhere(rig: Rig) -> None:
    async with client_of(rig, api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await ask(client)
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await client.models.retrieve(MODEL)


async def test_an_unknown_model_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="another", messages=QUESTION)


@pytest.mark.parametrize(
    "messages",
    [
        QUESTION,
        [{"role": "system", "content": "Be brief."}, *QUESTION],
        [*QUESTION, CALLING, ANSWERING],
        [*QUESTION, CALLING, ANSWERING, *QUESTION],
    ],
)
def test_a_conversation_in_order_passes(messages: list[Any]) -> None:
    check_messages(messages)


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "Hello",
        [7],
        [{"role": "robot", "content": "Hello"}],
        [{"role": "user"}],
        [{"role": "user", "content": "Hello", "tool_calls": [CALL]}],
        [*QUESTION, CALLING],
        [*QUESTION, CALLING, *QUESTION],
        [*QUESTION, ANSWERING],
        [*QUESTION, CALLING, ANSWERING, ANSWERING],
        [*QUESTION, CALLING, ANSWERING | {"tool_call_id": "call-2"}],
        [*QUESTION, CALLING | {"tool_calls": [CALL, CALL]}, ANSWERING],
        [*QUESTION, CALLING | {"tool_calls": [{}]}],
    ],
)
def test_a_conversation_out_of_order_is_refused(messages: Any) -> None:
    with pytest.raises(CompletionError):
        check_messages(messages)


async def test_a_missing_tool_answer_is_a_bad_request(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="call-1"):
        await ask(client, [*QUESTION, CALLING])
    with pytest.raises(openai.BadRequestError, match="Streaming"):
        await ask(client, stream=True)


async def test_faults_look_to_the_client_like_the_real_ones(rig: Rig, client: AsyncOpenAI) -> None:
    quota = refused(429, 0, "Quota exhausted", error_type="insufficient_quota", retry_after_s=3)
    rig.faults.add(Endpoint.MODEL, quota, refused(503, 0), dropped(), garbled(), slow(0.3))
    with pytest.raises(openai.RateLimitError) as caught:
        await ask(client)
    assert caught.value.code == "insufficient_quota"
    assert caught.value.response.headers["retry-after"] == "3"
    with pytest.raises(openai.InternalServerError):
        await ask(client)
    with pytest.raises(openai.APIConnectionError):
        await ask(client)
    assert isinstance(await ask(client), str)
    with pytest.raises(openai.APITimeoutError):
        await ask(client, timeout=0.05)
    assert len(rig.simulator.completions) == 5


async def test_a_fault_can_wait_for_a_certain_question(rig: Rig, client: AsyncOpenAI) -> None:
    rig.faults.add(Endpoint.MODEL, refused(500, 0, about="John"))
    await ask(client)
    with pytest.raises(openai.InternalServerError):
        await ask(client, [{"role": "user", "content": "Send 20 to John"}])


async def test_the_model_can_take_its_time() -> None:
    async with running(model_delay_s=0.05) as rig, client_of(rig) as client:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await ask(client)
        assert loop.time() - started >= 0.05


TOOL = {"type": "function", "name": "balance", "parameters": {"type": "object"}, "strict": False}
STATELESS: dict[str, Any] = {
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "tools": [TOOL],
    "max_output_tokens": 100,
}


async def test_the_responses_form_answers_as_the_chat_form_does(
    client: AsyncOpenAI, rig: Rig
) -> None:
    """Two rounds without state: the items of the first come back in the second."""
    asked: list[Any] = [{"role": "user", "content": "What's my balance?"}]
    options = {**STATELESS, "instructions": "Be brief."}
    first = await client.responses.create(model=MODEL, input=asked, **options)
    items: list[Any] = [item.to_dict() for item in first.output]
    assert [item["type"] for item in items] == ["reasoning", "function_call"]
    output: Any = {
        "type": "function_call_output",
        "call_id": items[1]["call_id"],
        "output": '{"ok":true}',
    }
    second = await client.responses.create(model=MODEL, input=[*asked, *items, output], **options)
    assert (second.status, second.output_text) == ("completed", "Anything else?")
    roles = [message["role"] for message in rig.simulator.completions[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"max_tokens": 5}, "max_tokens"),
        ({"store": True}, "store"),
        ({"include": []}, "include"),
        ({"max_output_tokens": 5}, "max_output_tokens"),
        ({"tools": [{"type": "function", "function": {"name": "balance"}}]}, "tools[0].name"),
        ({"input": [{"type": "function_call", "id": "fc_9.0", "call_id": "c"}]}, "input"),
        ({"input": [{"type": "reasoning", "id": "rs_9", "encrypted_content": "x"}]}, "input"),
        ({"input": [{"type": "video"}]}, "input[0]"),
    ],
)
async def test_the_responses_form_refuses_what_the_real_one_refuses(
    client: AsyncOpenAI, changes: dict[str, Any], param: str
) -> None:
    asked = {"input": [{"role": "user", "content": "hi"}], **STATELESS, **changes}
    with pytest.raises(openai.BadRequestError) as raised:
        await client.responses.create(model=MODEL, input="", extra_body=asked)
    assert raised.value.param == param
