"""The built-in interpreter, which stands in for a model and answers in the same form, offline."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from wbot.clients.model import Answer, ToolCall, Usage
from wbot.clients.model.answers import assistant_message
from wbot.clients.offline_reading import Call, read

MODEL = "offline"

_NOT_OFFERED = "Sorry, I cannot do that here."
_FAILED = "Sorry, that did not work."
_AFTER_TRANSFER = "If that was a mistake, say “Cancel”."
_AFTER_TRANSFERS = "If one of them was a mistake, say “Cancel” and its reference."
_AFTER_ALL_ELSE = "Anything else?"


class Offline:
    """A model client that needs no endpoint."""

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,  # noqa: ARG002 - it has no models to choose from
        tools: Sequence[Mapping[str, Any]],
    ) -> Answer:
        offered = {tool.get("function", {}).get("name") for tool in tools}
        answer = interpret(messages)
        calls = tuple(call for call in answer.tool_calls if call.name in offered)
        if len(calls) == len(answer.tool_calls):
            return answer
        text = answer.text if calls else _NOT_OFFERED
        return msgspec.structs.replace(answer, text=text, tool_calls=calls)


def interpret(messages: Sequence[Mapping[str, Any]]) -> Answer:
    """The next answer of a chat in the Chat Completions form, from its last user message on."""
    asked, since = _last_question(messages)
    results = [message for message in since if message.get("role") == "tool"]
    reading = _words_after(results) if results else read(asked)
    text = reading if isinstance(reading, str) else ""
    calls = () if isinstance(reading, str) else _numbered(reading, messages)
    usage = Usage(
        prompt_tokens=sum(_tokens(_text_of(message)) for message in messages),
        completion_tokens=_tokens(text) + sum(_tokens(call.arguments) for call in calls),
    )
    return Answer(text=text, tool_calls=calls, model=MODEL, usage=usage)


def completion_of(answer: Answer, *, created: int, completion_id: str) -> dict[str, Any]:
    """The answer as the body of a Chat Completions response; `created` in Unix seconds."""
    message = {**assistant_message(answer), "refusal": None}
    finish_reason = "tool_calls" if answer.tool_calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
    read, written = answer.usage.prompt_tokens, answer.usage.completion_tokens
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [choice],
        "usage": usage,
    }


def _last_question(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """The text of the last user message, and the messages after it."""
    for position in range(len(messages) - 1, -1, -1):
        if messages[position].get("role") == "user":
            return _text_of(messages[position]), messages[position + 1 :]
    return "", ()


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _tokens(text: str) -> int:
    """Roughly: English has some four characters a token."""
    return -(-len(text) // 4)


_CALL_ID = re.compile(r"call_([0-9]{1,9})")


def _numbered(calls: Sequence[Call], messages: Sequence[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """The calls with ids that go on from the highest in the chat."""
    ids = (str(call.get("id")) for call in _calls_in(messages))
    numbers = [int(match[1]) for match in map(_CALL_ID.fullmatch, ids) if match]
    first = max(numbers, default=0) + 1
    return tuple(
        ToolCall(id=f"call_{number}", name=call.name, arguments=json.dumps(call.arguments))
        for number, call in enumerate(calls, first)
    )


def _calls_in(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        yield from (call for call in message.get("tool_calls") or () if isinstance(call, dict))


def _words_after(messages: Sequence[Mapping[str, Any]]) -> str:
    """Short words after what the receipts state already; the sentence of any other failure."""
    results = [_result_of(message) for message in messages]
    errors = [
        error if isinstance(error := result.get("error"), str) and error else _FAILED
        for result in results
        # A refusal has a receipt line of its own, with its sentence.
        if result.get("ok") is not True and not result.get("refusal")
    ]
    if errors:
        return " ".join(dict.fromkeys(errors))
    sent = [result for result in results if _is_cancellable(result)]
    if not sent:
        return _AFTER_ALL_ELSE
    return _AFTER_TRANSFER if len(sent) == 1 else _AFTER_TRANSFERS


def _result_of(message: Mapping[str, Any]) -> dict[str, Any]:
    try:
        result = json.loads(_text_of(message))
    except (ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


def _is_cancellable(result: Mapping[str, Any]) -> bool:
    """Whether it is a transfer to somebody outside; what went to a customer stays there."""
    return result.get("ok") is True and result.get("payee") == "outside"
