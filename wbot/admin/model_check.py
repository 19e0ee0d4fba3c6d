"""Whether a model does what the service needs of it: a real round trip with a harmless tool."""

from collections.abc import Sequence
from typing import Any

import msgspec

from wbot.clients.model import Answer, OpenAIModel, Usage
from wbot.clients.model.answers import assistant_message, tool_message
from wbot.clock import Clock
from wbot.domain.errors import BlockedError, OutageError, RejectedError, WbotError

PROMPT: tuple[dict[str, Any], ...] = (
    {"role": "system", "content": "Answer by calling the tool, then in one short sentence."},
    {"role": "user", "content": "What's my balance?"},
)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "balance",
        "description": "The customer's balance.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}
RESULT = '{"ok": true, "available": "0.00 USD"}'


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, with the fix; `is_misconfigured` if a retry will not help."""

    ok: bool
    detail: str
    is_misconfigured: bool = False
    error: WbotError | None = None


async def try_model(client: OpenAIModel, model: str) -> Finding:
    """Let the model call a tool and read its result, and say what that took."""
    clock = Clock()
    started = clock.monotonic()
    try:
        called, answers = await _round_trip(client, model)
    except WbotError as error:
        is_passing = isinstance(error, OutageError) or not isinstance(error, BlockedError)
        is_misconfigured = isinstance(error, RejectedError) or not is_passing
        return Finding(ok=False, detail=str(error), is_misconfigured=is_misconfigured, error=error)
    cost = _cost(answers, clock.monotonic() - started)
    learned = await client.learned(model) or "nothing"
    if not called:
        return Finding(
            ok=False,
            detail=f"it answers, but calls no tool when asked to ({cost}): choose a model that "
            "can call tools",
            is_misconfigured=True,
        )
    return Finding(ok=True, detail=f"calls tools and reads their results; {cost}; API: {learned}")


async def _round_trip(client: OpenAIModel, model: str) -> tuple[bool, list[Answer]]:
    """Whether it called the tool, and its answers."""
    first = await client.complete(PROMPT, model=model, tools=[TOOL])
    if not first.tool_calls:
        return False, [first]
    results = [tool_message(call.id, RESULT) for call in first.tool_calls]
    messages = [*PROMPT, assistant_message(first), *results]
    return True, [first, await client.complete(messages, model=model, tools=[TOOL])]


def _cost(answers: Sequence[Answer], seconds: float) -> str:
    used = [answer.usage for answer in answers]
    read = sum(usage.prompt_tokens for usage in used)
    written = sum(usage.completion_tokens for usage in used)
    return f"{_calls(used)} calls, {read:,} tokens read, {written:,} written, {seconds:.1f} s"


def _calls(used: Sequence[Usage]) -> int:
    return sum(usage.calls for usage in used)
