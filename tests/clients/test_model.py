"""The model client: how it handles any answer of an OpenAI-compatible endpoint."""

import copy
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from simulator_harness import Rig, running

from wbot.clients.model import Answer, OpenAIModel, ToolCall, Usage
from wbot.domain.errors import BlockedError, RetryableError
from wbot.simulator.simulator import MODEL

PROMPT = [{"role": "user", "content": "Transfer $20 to John"}]
SEED = int(os.environ.get("WBOT_TEST_SEED", "20261123"))
MUTATIONS = 300


@pytest.fixture(name="rig")
async def _rig() -> AsyncIterator[Rig]:
    async with running() as rig:
        yield rig


@pytest.fixture(name="model")
async def _model(rig: Rig) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(
        api_key="simulated-key", base_url=f"{rig.graph.base_url}/v1", timeout_s=5.0, max_tokens=5
    )
    yield model
    await model.close()


def said(message: Any, finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "model": MODEL, "choices": [choice]} | more


def calling(*calls: Any, finish_reason: str = "tool_calls") -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "tool_calls": list(calls)}
    return said(message, finish_reason)


def call(name: str = "balance", **parts: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": "{}"}
    return {"id": "a", "type": "function", "function": function} | parts


def speaking(content: Any, **more: Any) -> dict[str, Any]:
    return said({"role": "assistant", "content": content} | more)


async def answer_to(rig: Rig, model: OpenAIModel, scripted: Any) -> Answer:
    rig.simulator.responder = lambda _: (
        scripted if isinstance(scripted, web.Response) else web.json_response(scripted)
    )
    return await model.complete(PROMPT, model=MODEL, tools=())


CALL = call()
TEXTS: dict[str, tuple[Any, str]] = {
    "a string": (speaking("Hello"), "Hello"),
    "parts": (
        speaking([{"type": "thinking"}, {"text": "Hel"}, "?", {"type": "text", "text": "lo"}]),
        "Hello",
    ),
    "a refusal": (speaking(None, refusal="I cannot."), "I cannot."),
    "half of a pair": (speaking("Hi \ud800!"), "Hi \N{REPLACEMENT CHARACTER}!"),
    "a null character": (speaking("Hi\0!"), "Hi!"),
}
CALLS: dict[str, tuple[Any, list[ToolCall]]] = {
    "no type": (
        calling({"id": "a", "function": CALL["function"]}),
        [ToolCall("a", "balance", "{}")],
    ),
    "no id": (calling(call(id=None)), [ToolCall("call_0", "balance", "{}")]),
    "ids alike": (
        calling(call(), call("statement")),
        [ToolCall("call_0", "balance", "{}"), ToolCall("call_1", "statement", "{}")],
    ),
    "no arguments": (calling(call(function={"name": "balance"})), [ToolCall("a", "balance", "{}")]),
    "arguments as an object": (
        calling(call(function={"name": "transfer", "arguments": {"amount": "1", "to": "J"}})),
        [ToolCall("a", "transfer", '{"amount": "1", "to": "J"}')],
    ),
}
UNREADABLE: dict[str, Any] = {
    "a call of nothing": calling(call(function=None)),
    "a call without a name": calling(call(function={"arguments": "{}"})),
    "one readable call of two": calling(call(), "transfer"),
    "a call that is null": calling(None),
    "a call cut off": calling(call(), finish_reason="length"),
    "a number as text": speaking(7),
    "an object as text": speaking({"text": "Hello"}),
    "nothing at all": speaking(None),
    "a message in place of an object": said("Hello"),
    "choices as text": {"choices": "Hello"},
    "choices as an object": {"choices": {"0": {}}},
    "choices as a number": {"choices": 7},
    "a choice that is null": {"choices": [None]},
    "an error with a 200": {"error": {"message": "overloaded", "code": 503}},
    "a list": [speaking("Hello")],
    "an empty body": web.Response(content_type="application/json"),
    "not UTF-8": web.Response(body=b'{"choices": "\xff"}', content_type="application/json"),
    "too deep": web.Response(body=b"[" * 100_000, content_type="application/json"),
    "a stream": web.Response(text='data: {"choices": []}\n\n', content_type="text/event-stream"),
}


@pytest.mark.parametrize(("scripted", "text"), TEXTS.values(), ids=TEXTS)
async def test_the_words_are_found(rig: Rig, model: OpenAIModel, scripted: Any, text: str) -> None:
    answer = await answer_to(rig, model, scripted)
    assert (answer.text, answer.tool_calls) == (text, ())


@pytest.mark.parametrize(("scripted", "calls"), CALLS.values(), ids=CALLS)
async def test_each_call_is_read_separately(
    rig: Rig, model: OpenAIModel, scripted: Any, calls: list[ToolCall]
) -> None:
    assert list((await answer_to(rig, model, scripted)).tool_calls) == calls


@pytest.mark.parametrize("scripted", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_is_a_failure_that_may_pass(
    rig: Rig, model: OpenAIModel, scripted: Any
) -> None:
    with pytest.raises(RetryableError):
        await answer_to(rig, model, scripted)


@pytest.mark.parametrize(
    "usage", [None, {}, [1], "none", {"prompt_tokens": None, "completion_tokens": 1.5}]
)
async def test_odd_usage_costs_no_answer(rig: Rig, model: OpenAIModel, usage: Any) -> None:
    answer = await answer_to(rig, model, speaking("Hello") | {"usage": usage, "model": None})
    assert answer == Answer(text="Hello", usage=Usage(0, 0))


async def test_an_answer_of_any_shape_can_be_kept_or_asked_for_again(
    rig: Rig, model: OpenAIModel
) -> None:
    """Mutated completions: an answer survives the journal, and everything else is retryable."""
    draw = random.Random(SEED)
    kept = 0
    for _ in range(MUTATIONS):
        scripted = mutated(draw)
        try:
            answer = await answer_to(rig, model, scripted)
        except RetryableError:
            continue
        assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer, scripted
        kept += 1
    assert 0 < kept < MUTATIONS


@pytest.mark.parametrize(
    ("status", "headers", "retry_after_s"),
    [
        (429, {"Retry-After": "7"}, 7),
        (429, {"Retry-After": "-1"}, 0),
        (429, {"Retry-After": "nan"}, 0),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        (429, {}, 0),
        (503, {"Retry-After": "2.5"}, 2.5),
        (503, {}, None),
        (500, {}, None),
    ],
)
async def test_a_failure_carries_the_wait_that_the_endpoint_asks_for(
    rig: Rig,
    model: OpenAIModel,
    status: int,
    headers: dict[str, str],
    retry_after_s: float | None,
) -> None:
    """A failure without the header requests no wait, unless it is a quota failure."""
    with pytest.raises(RetryableError) as raised:
        await answer_to(rig, model, web.Response(status=status, headers=headers))
    assert raised.value.retry_after_s == retry_after_s


def mutated(draw: random.Random) -> Any:
    """A completion with one value, at any depth, replaced by an odd one."""
    root = copy.deepcopy(
        draw.choice([calling(call(), call("statement")), speaking("Hello", refusal=None)])
    ) | {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    at: Any = root
    while True:
        key = draw.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not at[key] or not isinstance(at[key], dict | list) or draw.random() < 0.2:
            break
        at = at[key]
    odd: list[Any] = [
        None,
        True,
        -1,
        10**30,
        float("nan"),
        "",
        "\0",
        "\ud800",
        "x" * 5_000,
        [],
        {},
        [[]],
    ]
    at[key] = draw.choice(odd)
    return root


@asynccontextmanager
async def thief() -> AsyncIterator[tuple[str, list[str]]]:
    """The address of another party's server, and the keys that it received."""
    shown: list[str] = []

    async def take(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization", ""))
        return web.json_response(speaking("Send me more."))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", shown
    await runner.cleanup()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_waits_for_the_operator(
    rig: Rig, model: OpenAIModel, status: int
) -> None:
    """Neither elsewhere nor on the same host: the key and the text go only where they were sent."""
    for path in ("/v1/chat/completions", "{elsewhere}"):
        async with thief() as (elsewhere, shown):
            location = {"Location": path.format(elsewhere=elsewhere)}
            asked = len(rig.simulator.completions)
            with pytest.raises(BlockedError, match=f"HTTP {status}.*OPENAI_BASE_URL"):
                await answer_to(rig, model, web.Response(status=status, headers=location))
            assert len(rig.simulator.completions) == asked + 1
            assert shown == []
