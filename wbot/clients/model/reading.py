"""How an answer of the endpoint is read, whatever its shape."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wbot.clients.model.answers import Answer, ToolCall, Usage
from wbot.clients.model_failures import CODE_LENGTH_MAX, Cleaner
from wbot.domain import json_access
from wbot.domain.errors import RetryableError
from wbot.domain.receipts import without_mark


def answer_of(completion: Mapping[str, Any], cleaned: Cleaner) -> Answer:
    choice = next(iter(json_access.mappings(completion, "choices")), {})
    message = json_access.mapping(choice, "message")
    if not message:
        raise RetryableError("The model's answer has no choices.")
    finish_reason = json_access.text(choice, "finish_reason")
    text, calls = _text_of(message), _calls_of(message)
    if calls and finish_reason == "length":
        raise RetryableError("The model's tool call was cut off.")
    if not calls and not without_mark(text).strip():
        reason = "none" if finish_reason is None else cleaned(finish_reason[:CODE_LENGTH_MAX])
        raise RetryableError(
            f"The model's answer is empty (finish reason {reason}).",
            own_words="The model's answer is empty.",
        )
    usage = json_access.mapping(completion, "usage")
    return Answer(
        text=text,
        tool_calls=calls,
        model=json_access.text(completion, "model") or "",
        usage=Usage(
            json_access.integer(usage, "prompt_tokens") or 0,
            json_access.integer(usage, "completion_tokens") or 0,
        ),
    )


def _text_of(message: Mapping[str, Any]) -> str:
    """The words: a string, the text parts of a list, or else the reason for a refusal."""
    content = message.get("content")
    if isinstance(content, list):
        parts = json_access.mappings(message, "content")
        content = "".join(json_access.text(part, "text") or "" for part in parts)
    words = content if isinstance(content, str) else ""
    return words or json_access.text(message, "refusal") or ""


def _calls_of(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    proposed = json_access.items(message, "tool_calls")
    functions = [
        json_access.mapping(one, "function") for one in json_access.mappings(message, "tool_calls")
    ]
    names = [name for function in functions if (name := json_access.text(function, "name"))]
    if len(names) < len(proposed):  # the unreadable call might have been the payment
        raise RetryableError("The model's tool call could not be read.")
    return tuple(
        ToolCall(call_id, name, _arguments_of(function))
        for call_id, name, function in zip(_ids_of(proposed), names, functions, strict=True)
    )


def _ids_of(calls: Sequence[Mapping[str, Any]]) -> list[str]:
    """The calls' own ids, or new ones if some are missing or equal: each result names its call."""
    own = [call_id for call in calls if (call_id := json_access.identifier(call, "id"))]
    if len(set(own)) == len(calls):
        return own
    return [f"call_{place}" for place, _ in enumerate(calls)]


def _arguments_of(function: Mapping[str, Any]) -> str:
    """The JSON text; some servers omit it where there are no arguments, or send an object."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return json.dumps({} if arguments is None else arguments)
