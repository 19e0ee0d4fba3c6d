"""The Responses form of the model endpoint: each request read as a chat, each completion turned.

As strict as the real one where nothing is stored: every call has its output, and a call made while
reasoning comes back with that reasoning, whose encrypted content must be ours.
"""

import json
from collections.abc import Mapping
from typing import Any

from wbot.domain.errors import RefusedError

PARAMETERS = (
    {"model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "store"}
    | {"include", "reasoning", "max_output_tokens", "stream", "temperature", "top_p", "metadata"}
    | {"user", "truncation", "text", "prompt_cache_key", "safety_identifier"}
)
ENCRYPTED = "reasoning.encrypted_content"
CAP_MIN = 16
ROLES = {"user", "assistant", "system", "developer"}


class ResponseFormError(RefusedError):
    """A request that this form refuses; `param` is what is wrong."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def chat_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a chat's; raises ResponseFormError."""
    for name in body:
        if name not in PARAMETERS:
            raise ResponseFormError(f"Unknown parameter: '{name}'.", name)
    if body.get("store") is not False:
        raise ResponseFormError("Only requests with store=false are simulated.", "store")
    if ENCRYPTED not in (body.get("include") or ()):
        raise ResponseFormError("The reasoning of this model must be included.", "include")
    cap = body.get("max_output_tokens", CAP_MIN)
    if not isinstance(cap, int) or cap < CAP_MIN:
        raise ResponseFormError(
            f"Invalid 'max_output_tokens': expected a value >= {CAP_MIN}.", "max_output_tokens"
        )
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    _check_reasoning(_items(body))
    for place, item in enumerate(_items(body)):
        _add(messages, item, f"input[{place}]")
    tools = [_chat_tool(tool, n) for n, tool in enumerate(body.get("tools") or ())]
    return {"model": body.get("model"), "messages": messages, "tools": tools}


def response_of(completion: Mapping[str, Any], number: str) -> dict[str, Any]:
    """A chat's completion as a response; `number` tells its items from others'."""
    choices = completion.get("choices")
    if not choices or not isinstance(choices, list):  # a script's own odd answer
        return dict(completion)
    choice = choices[0]
    message, usage = choice["message"], completion.get("usage") or {}
    is_cut = choice.get("finish_reason") == "length"
    read, written = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": completion["created"],
        "model": completion["model"],
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "error": None,
        "output": _output(message, number),
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
    }


def _items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = body.get("input")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ResponseFormError("The input must be a list of items.", "input")
    return items


def _check_reasoning(items: list[dict[str, Any]]) -> None:
    given = {item.get("id") for item in items if item.get("type") == "reasoning"}
    for item in items:
        number = str(item.get("id", ""))[3:].split(".", maxsplit=1)[0]
        if item.get("type") == "function_call" and number and f"rs_{number}" not in given:
            raise ResponseFormError(
                f"Item '{item['id']}' of type 'function_call' was provided without its required "
                f"'reasoning' item: 'rs_{number}'.",
                "input",
            )
        if item.get("type") == "reasoning" and item.get("encrypted_content") != _sealed(number):
            raise ResponseFormError(
                f"The encrypted content for item {item.get('id')} could not be verified.", "input"
            )


def _sealed(number: str) -> str:
    return f"gAAAA{number[::-1]}"


def _add(messages: list[dict[str, Any]], item: dict[str, Any], where: str) -> None:
    match item.get("type", "message"):
        case "reasoning":
            pass
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            if not messages or "tool_calls" not in messages[-1]:
                messages.append({"role": "assistant", "content": None, "tool_calls": []})
            messages[-1]["tool_calls"].append(call)
        case "function_call_output":
            output, call_id = item.get("output"), item.get("call_id")
            messages.append({"role": "tool", "tool_call_id": call_id, "content": output})
        case "message" if item.get("role") in ROLES:
            messages.append({"role": _role(item["role"]), "content": _text(item.get("content"))})
        case _:
            raise ResponseFormError("This item is of no type that is known.", where)


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def _text(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _chat_tool(tool: Mapping[str, Any], place: int) -> dict[str, Any]:
    if tool.get("type") != "function" or not isinstance(tool.get("name"), str):
        where = f"tools[{place}].name"
        raise ResponseFormError(f"Missing required parameter: '{where}'.", where)
    function = {key: value for key, value in tool.items() if key not in {"type", "strict"}}
    return {"type": "function", "function": function}


def _output(message: Mapping[str, Any], number: str) -> list[Any]:
    items: list[Any] = []
    given = message.get("tool_calls")
    calls: list[Any] = given if isinstance(given, list) else []
    if calls:
        sealed = {"summary": [], "encrypted_content": _sealed(number)}
        items.append({"type": "reasoning", "id": f"rs_{number}", **sealed})
    if message.get("content"):
        part = {"type": "output_text", "text": message["content"], "annotations": []}
        items.append(
            {
                "type": "message",
                "id": f"msg_{number}",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        )
    for place, call in enumerate(calls):
        if not isinstance(call, dict):
            items.append(call)
            continue
        function = call.get("function") or {}
        arguments = function.get("arguments")
        items.append(
            {
                "type": "function_call",
                "id": f"fc_{number}.{place}",
                "call_id": call.get("id"),
                "name": function.get("name"),
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                "status": "completed",
            }
        )
    return items
