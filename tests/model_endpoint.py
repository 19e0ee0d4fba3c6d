"""A model endpoint of a test's own: it answers as the test says, and keeps what it was asked."""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from wbot.clients.model import Answer, OpenAIModel
from wbot.clients.model.answers import assistant_message, tool_message
from wbot.turns import toolbox

MODEL = "m"
KEY = "endpoint-key"
PROMPT = (
    {"role": "system", "content": "You answer the customers of The Shop."},
    {"role": "user", "content": "What's my balance?"},
)
OK = {"role": "assistant", "content": "All right."}


class Asked(msgspec.Struct, frozen=True):
    """One request as it came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.body["messages"]
        return found

    @property
    def roles(self) -> list[str]:
        return [message["role"] for message in self.messages]


Said = dict[str, Any] | list[Any] | tuple[int, Any]
Script = Callable[[Asked], Said | Awaitable[Said]]


class Endpoint:
    """What was asked; `refused` counts what was not answered with 200."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.refused = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read() or b"{}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.path, dict(request.query), headers, body)
        self.asked.append(asked)
        scripted = self.script(asked)
        said = await scripted if inspect.isawaitable(scripted) else scripted
        status, content = said if isinstance(said, tuple) else (200, said)
        self.refused += status != 200
        return web.json_response(content, status=status)

    def client(self, *, url: str = "", **options: Any) -> OpenAIModel:
        given: dict[str, Any] = {"timeout_s": 5.0, "max_tokens": 500, "api_key": KEY}
        return OpenAIModel(base_url=url or f"{self.url}/v1", **(given | options))


@asynccontextmanager
async def endpoint(script: Script) -> AsyncIterator[Endpoint]:
    """The endpoint, listening."""
    made = Endpoint(script)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def chat(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    """A completion of the Chat form."""
    whole = {"role": "assistant", "content": None, **message}
    choice = {"index": 0, "message": whole, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60}
    return {"id": "c", "model": MODEL, "choices": [choice], "usage": usage, **more}


def words(text: str, **more: Any) -> dict[str, Any]:
    return chat({"content": text, **more})


def calling(name: str = "balance", arguments: str = "{}", **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    call = {"id": "call_1", "type": "function", "function": function, **more}
    return chat({"tool_calls": [call]}, "tool_calls")


def response(*items: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    """An answer of the Responses form."""
    usage = {"input_tokens": 50, "output_tokens": 10, "total_tokens": 60}
    return {
        "id": "r",
        "object": "response",
        "model": MODEL,
        "status": status,
        "output": list(items),
        "usage": usage,
        **more,
    }


def spoken(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": content}


def error(message: str, status: int = 400, **more: Any) -> tuple[int, dict[str, Any]]:
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return status, {"error": body | more}


async def ask(
    model: OpenAIModel,
    prompt: Any = PROMPT,
    *,
    result: str = '{"ok":true}',
    name: str = MODEL,
    has_restart: bool = False,
) -> list[Answer]:
    """The answers of one turn, its tools answered, up to words; as Turn makes its prompts.

    With `has_restart` each answer comes from the journal before it is handed back.
    """
    messages, answers = list(prompt), []
    for _ in range(5):
        answer = await model.complete(messages, model=name, tools=toolbox.definitions())
        if has_restart:
            answer = msgspec.json.decode(msgspec.json.encode(answer), type=Answer)
        answers.append(answer)
        if not answer.tool_calls:
            break
        messages.append(assistant_message(answer))
        messages += [tool_message(call.id, result) for call in answer.tool_calls]
    return answers
