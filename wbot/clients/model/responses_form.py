"""The Responses form, without state at the provider: a prompt as it is taken, and its answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wbot.clients.model.answers import Completion, ToolCall, Usage, opaque_in, opaque_of
from wbot.clients.model.chat_form import arguments_text, effort_of, lean
from wbot.clients.model.dialect import Dialect
from wbot.domain import json_access

ENCRYPTED = "reasoning.encrypted_content"


def body_of(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    dialect: Dialect,
    *,
    source: str,
    room: int,
    effort: str,
) -> dict[str, Any]:
    """The request's body, without the model's name."""
    has_instructions = bool(messages) and messages[0].get("role") == "system"
    said = messages[1:] if has_instructions else messages
    body: dict[str, Any] = {
        "input": [item for one in said for item in _items(one, dialect, source)],
        "tools": [_tool(tool, dialect) for tool in tools],
        "store": False,
        "include": [ENCRYPTED],
    }
    if has_instructions:
        body["instructions"] = messages[0]["content"]
    if dialect.responses_cap:
        body[dialect.responses_cap] = room
    if (asked := effort_of(dialect, effort)) is not None:
        body["reasoning"] = {"effort": asked}
    return {key: value for key, value in body.items() if key not in dialect.omits}


def _tool(tool: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    # Where it is not said, the endpoint assumes strict schemas, which have no optional arguments.
    whole = {"type": "function", **tool["function"], "strict": False}
    return dict(lean(whole)) if dialect.is_lean else whole


def _items(message: Mapping[str, Any], dialect: Dialect, source: str) -> Iterator[dict[str, Any]]:
    role = message.get("role")
    if role == "tool":
        yield {
            "type": "function_call_output",
            "call_id": message["tool_call_id"],
            "output": message["content"],
        }
    elif role == "assistant":
        yield from _said(message, dialect, source)
    else:
        name = "developer" if role == "system" else role
        yield {"role": name, "content": _content(message.get("content"))}


def _said(message: Mapping[str, Any], dialect: Dialect, source: str) -> Iterator[dict[str, Any]]:
    """An answer's items: those beside its words and calls in their own places, as they came."""
    items = json_access.mappings(opaque_in(message, source), "items")
    kinds = {item.get("type") for item in items}
    if items and dialect.hands_back and kinds.isdisjoint(dialect.drops):
        yield from items
        return
    if message.get("content"):
        # Said in full: llama.cpp infers the type of every role but this one.
        yield {"type": "message", "role": "assistant", "content": message["content"]}
    for call in message.get("tool_calls") or ():
        yield {
            "type": "function_call",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }


def _content(content: Any) -> Any:
    """The words, or the parts of a message in this form's names."""
    if not isinstance(content, list):
        return content
    return [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        image = part["image_url"]
        detail = {"detail": image["detail"]} if "detail" in image else {}
        return {"type": "input_image", "image_url": image["url"], **detail}
    return {**part, "type": "input_text"}


def completion_of(answer: Mapping[str, Any], source: str) -> Completion | None:
    """What the endpoint said; None where there is no output at all."""
    if not isinstance(answer.get("output"), list):
        return None
    items = json_access.items(answer, "output")
    kinds = [item for item in items if isinstance(item, dict)]
    proposed = [item for item in kinds if item.get("type") == "function_call"]
    calls = tuple(call for item in proposed if (call := _call(item)) is not None)
    status = json_access.text(answer, "status") or ""
    reason = json_access.text(json_access.mapping(answer, "incomplete_details"), "reason") or ""
    is_incomplete = status == "incomplete" or any(
        item.get("status") == "incomplete" for item in proposed
    )
    return Completion(
        text=_text(kinds),
        calls=calls,
        has_odd_call=len(kinds) < len(items) or len({call.id for call in calls}) < len(proposed),
        finish_reason=reason or status,
        is_cut=is_incomplete and reason != "content_filter",
        is_filtered=reason == "content_filter",
        model=json_access.text(answer, "model") or "",
        usage=_usage(json_access.mapping(answer, "usage")),
        opaque=_opaque(items, calls, source),
    )


def _opaque(items: Sequence[Any], calls: Sequence[ToolCall], source: str) -> str:
    """The items whole, where another round follows them."""
    return opaque_of(source, {"items": list(items)}) if calls else ""


def _call(item: Mapping[str, Any]) -> ToolCall | None:
    call_id, name = json_access.identifier(item, "call_id"), json_access.text(item, "name")
    if call_id is None or name is None:
        return None
    return ToolCall(call_id, name, arguments_text(item.get("arguments")))


def _text(items: Sequence[Mapping[str, Any]]) -> str:
    parts = [
        part
        for item in items
        if item.get("type") == "message"
        for part in json_access.mappings(item, "content")
    ]
    words = "".join(
        json_access.text(part, "text") or "" for part in parts if part.get("type") == "output_text"
    )
    return words or "".join(json_access.text(part, "refusal") or "" for part in parts)


def _usage(usage: Mapping[str, Any]) -> Usage:
    written = json_access.mapping(usage, "output_tokens_details")
    read = json_access.mapping(usage, "input_tokens_details")
    return Usage(
        json_access.integer(usage, "input_tokens") or 0,
        json_access.integer(usage, "output_tokens") or 0,
        json_access.integer(written, "reasoning_tokens") or 0,
        json_access.integer(read, "cached_tokens") or 0,
    )
