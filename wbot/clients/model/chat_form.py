"""The Chat Completions form: a prompt as an endpoint takes it, and its answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wbot.clients.model.answers import (
    OPAQUE,
    Completion,
    ToolCall,
    Usage,
    opaque_in,
    opaque_of,
)
from wbot.clients.model.dialect import Dialect, Effort, SystemRole
from wbot.domain import json_access

UNDERSTOOD = "Understood."
"""The assistant's line after instructions that had to be sent as a user's."""
NO_REPLY = "(no reply)"
"""Between two messages of a user where roles must take turns."""
NO_SIGNATURE = "skip_thought_signature_validator"
"""Google's own value for a call whose signature is not there."""

_KNOWN_FIELDS = {"role", "content", "tool_calls", "function_call", "refusal", "audio"} | {
    "annotations"
}
_KNOWN_CALL_FIELDS = {"id", "type", "function"}
_KNOWN_FUNCTION_FIELDS = {"name", "arguments"}
_NO_WORDS = {"thinking", "redacted_thinking", "reasoning"}
_FILTERS = {"content_filter", "safety", "prohibited_content", "blocklist", "spii", "recitation"} | {
    "guardrail_intervened",
    "sensitive",
}
_CUTS = {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window"}


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
    body: dict[str, Any] = {"messages": _messages(messages, dialect, source)}
    body["tools"] = [lean(tool) for tool in tools] if dialect.is_lean else list(tools)
    if dialect.cap:
        body[dialect.cap] = room
    if (asked := effort_of(dialect, effort)) is not None:
        body["reasoning_effort"] = asked
    return body


def effort_of(dialect: Dialect, given: str) -> str | None:
    """The reasoning effort to ask for; None for none named."""
    match dialect.effort:
        case Effort.NONE:
            return "none"
        case Effort.OMITTED:
            return None
        case Effort.GIVEN:
            return given or None


def lean(value: Any) -> Any:
    """A tool's definition without what some endpoints refuse in schemas."""
    if not isinstance(value, dict):
        return value
    return {
        key: lean(inner)
        for key, inner in value.items()
        if key not in {"additionalProperties", "strict"}
    }


def opaque_keys(messages: Sequence[Mapping[str, Any]], source: str) -> frozenset[str]:
    """The names of the fields that are handed back."""
    return frozenset(
        key
        for message in messages
        for part in _opaque_parts(opaque_in(message, source))
        for key in part
    )


def _opaque_parts(opaque: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield json_access.mapping(opaque, "message")
    yield from json_access.mapping(opaque, "calls").values()
    kinds = {item.get("type") for item in json_access.mappings(opaque, "items")}
    yield {"reasoning": True} if "reasoning" in kinds else {}


def _messages(
    messages: Sequence[Mapping[str, Any]], dialect: Dialect, source: str
) -> list[dict[str, Any]]:
    found = [_with_opaque(message, dialect, source) for message in messages]
    if dialect.splits_calls:
        found = list(_split(found))
    if not dialect.has_null_content:
        found = [{**one, "content": ""} if one.get("content", "") is None else one for one in found]
    if dialect.has_one_system or dialect.alternates or dialect.system is SystemRole.USER:
        found = _with_one_system(found)
    if dialect.alternates:
        found = _alternating(found)
    return _with_system(found, dialect.system)


def _with_opaque(message: Mapping[str, Any], dialect: Dialect, source: str) -> dict[str, Any]:
    plain = {key: value for key, value in message.items() if key != OPAQUE}
    if plain.get("role") != "assistant":
        return plain
    opaque = opaque_in(message, source) if dialect.hands_back else {}
    more = json_access.mapping(opaque, "message")
    plain |= {key: value for key, value in more.items() if key not in dialect.drops}
    if "reasoning_content" in dialect.fills:
        plain.setdefault("reasoning_content", "")
    if plain.get("tool_calls"):
        parts = json_access.mapping(opaque, "calls")
        plain["tool_calls"] = [_call(call, parts, dialect) for call in plain["tool_calls"]]
    return plain


def _call(call: Mapping[str, Any], parts: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    more = dict(parts.get(call["id"], {}))
    function = {**call["function"], **more.pop("function", {})}
    whole = {**call, "function": function, **more}
    whole = {key: value for key, value in whole.items() if key not in dialect.drops}
    if "thought_signature" in dialect.fills and "extra_content" not in whole:
        whole["extra_content"] = {"google": {"thought_signature": NO_SIGNATURE}}
    return whole


def _split(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each call of an assistant's message as a message of its own, with its result behind it."""
    results = {one["tool_call_id"]: one for one in messages if one.get("role") == "tool"}
    for message in messages:
        calls = message.get("tool_calls") or []
        if message.get("role") == "tool":
            if message["tool_call_id"] in results:
                yield results.pop(message["tool_call_id"])
        elif len(calls) < 2:  # noqa: PLR2004  nothing to split
            yield message
        else:
            for place, call in enumerate(calls):
                words = message if place == 0 else {"role": "assistant", "content": None}
                yield {**words, "tool_calls": [call]}
                if call["id"] in results:
                    yield results.pop(call["id"])


def _with_one_system(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All instructions in one message, the first."""
    texts = [one["content"] for one in messages if one["role"] == "system"]
    others = [one for one in messages if one["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(texts)}, *others] if texts else others


def _alternating(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """User and assistant in turn, the user first; the last message is left as it is."""
    found: list[dict[str, Any]] = []
    for message in messages:
        role, before = message["role"], found[-1]["role"] if found else "system"
        if role == "assistant" and before == "system":
            continue
        if role == before == "assistant" and not (
            message.get("tool_calls") or found[-1].get("tool_calls")
        ):
            joined = f"{found[-1].get('content') or ''}\n\n{message.get('content') or ''}".strip()
            found[-1] = {**found[-1], "content": joined}
            continue
        if role == "user" and before in {"user", "tool"}:
            found.append({"role": "assistant", "content": NO_REPLY})
        found.append(message)
    return found


def _with_system(messages: list[dict[str, Any]], role: SystemRole) -> list[dict[str, Any]]:
    if role is SystemRole.SYSTEM:
        return messages
    found: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] != "system":
            found.append(message)
        elif role is SystemRole.DEVELOPER:
            found.append({**message, "role": "developer"})
        else:  # the customer's own words stay a message of their own
            found.append({**message, "role": "user"})
            found.append({"role": "assistant", "content": UNDERSTOOD})
    return found


def completion_of(answer: Mapping[str, Any], source: str) -> Completion | None:
    """What the endpoint said; None where there is no message."""
    choice = next(iter(json_access.mappings(answer, "choices")), {})
    message = json_access.mapping(choice, "message")
    if not message:
        return None
    finish_reason = json_access.text(choice, "finish_reason") or ""
    proposed = _proposed(message)
    calls = _calls(proposed)
    return Completion(
        text=_text(message),
        calls=calls,
        has_odd_call=len(calls) < len(proposed),
        finish_reason=finish_reason,
        is_cut=finish_reason.lower() in _CUTS,
        is_filtered=finish_reason.lower() in _FILTERS,
        model=json_access.text(answer, "model") or "",
        usage=_usage(json_access.mapping(answer, "usage")),
        opaque=_opaque(message, proposed, calls, source),
    )


def _proposed(message: Mapping[str, Any]) -> list[Any]:
    proposed = json_access.items(message, "tool_calls")
    legacy = message.get("function_call")
    return proposed or ([{"function": legacy}] if legacy else [])


def _text(message: Mapping[str, Any]) -> str:
    """The words: a string, the text parts of a list, or else the reason for a refusal."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [
            part
            for part in json_access.mappings(message, "content")
            if part.get("type") not in _NO_WORDS
        ]
        content = "".join(json_access.text(part, "text") or "" for part in parts)
    words = content if isinstance(content, str) else ""
    return words or json_access.text(message, "refusal") or ""


def _calls(proposed: Sequence[Any]) -> tuple[ToolCall, ...]:
    objects = [one for one in proposed if isinstance(one, dict)]
    functions = [json_access.mapping(one, "function") for one in objects]
    names = [name for function in functions if (name := json_access.text(function, "name"))]
    if len(names) < len(proposed):
        return ()
    return tuple(
        ToolCall(call_id, name, arguments_text(function.get("arguments")))
        for call_id, name, function in zip(_ids(objects), names, functions, strict=True)
    )


def _ids(calls: Sequence[Mapping[str, Any]]) -> list[str]:
    """The calls' own ids, or new ones if some are missing or equal: each result names its call."""
    own = [call_id for call in calls if (call_id := json_access.identifier(call, "id"))]
    if len(set(own)) == len(calls):
        return own
    return [f"call_{place}" for place, _ in enumerate(calls)]


def arguments_text(arguments: Any) -> str:
    """The JSON text; some servers omit it where there are no arguments, or send an object."""
    if isinstance(arguments, str):
        return arguments
    return json.dumps({} if arguments is None else arguments)


def _opaque(
    message: Mapping[str, Any],
    proposed: Sequence[Any],
    calls: Sequence[ToolCall],
    source: str,
) -> str:
    more = {
        key: value
        for key, value in message.items()
        if key not in _KNOWN_FIELDS and value is not None
    }
    if isinstance(message.get("content"), list):  # with parts that we don't know
        more["content"] = message["content"]
    parts = {call.id: _more_of(raw) for call, raw in zip(calls, proposed, strict=False)}
    return opaque_of(
        source,
        {"message": more, "calls": {call_id: part for call_id, part in parts.items() if part}},
    )


def _more_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a call that we don't know, and those of its function."""
    more = {key: value for key, value in call.items() if key not in _KNOWN_CALL_FIELDS}
    function = {
        key: value
        for key, value in json_access.mapping(call, "function").items()
        if key not in _KNOWN_FUNCTION_FIELDS
    }
    return more | ({"function": function} if function else {})


def _usage(usage: Mapping[str, Any]) -> Usage:
    written = json_access.mapping(usage, "completion_tokens_details")
    read = json_access.mapping(usage, "prompt_tokens_details")
    return Usage(
        json_access.integer(usage, "prompt_tokens") or 0,
        json_access.integer(usage, "completion_tokens") or 0,
        json_access.integer(written, "reasoning_tokens") or 0,
        json_access.integer(read, "cached_tokens") or 0,
    )
