"""The values that the model endpoint and the built-in interpreter both answer with."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

OPAQUE = "opaque"
"""The key under which an assistant's message of a prompt holds `Answer.opaque`; never sent."""


class ToolCall(msgspec.Struct, frozen=True):
    """One call the model proposes; `arguments` is its unchecked JSON text."""

    id: str
    name: str
    arguments: str
    came_as_text: bool = False
    """Whether the model wrote it where its words belong; a transfer is then always asked about."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer, as the endpoint counted them, over all calls that it took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Of the completion's."""
    cached_tokens: int = 0
    """Of the prompt's."""
    calls: int = 1

    def __add__(self, other: "Usage") -> "Usage":
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Usage(*(one + more for one, more in zip(mine, theirs, strict=True)))


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One completion that passed the shape check: text, calls, or both."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str = ""
    usage: Usage = Usage()
    is_fallback: bool = False
    """Whether the second model gave it, in place of the first."""
    opaque: str = ""
    """JSON of what else the endpoint said, which it may want back in the next round."""


class Failing(msgspec.Struct, frozen=True):
    """A model whose every answer has failed for so long; `reason` is the latest, in our words."""

    model: str
    seconds: float
    reason: str


class ModelClient(Protocol):
    """Completes a chat: an OpenAI-compatible endpoint, or the built-in interpreter."""

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
    ) -> Answer:
        """The next answer of the chat; `messages` and `tools` are in the Chat Completions form.

        An assistant's message may have the answer's `opaque` beside it.
        """
        ...


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint sent, in either form, before anything is judged."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    has_odd_call: bool = False
    """Whether a call could not be read: it might have been the payment."""
    finish_reason: str = ""
    is_cut: bool = False
    is_filtered: bool = False
    model: str = ""
    usage: Usage = Usage()
    opaque: str = ""


def opaque_of(source: str, parts: Mapping[str, Any]) -> str:
    """What an answer holds beside words and calls, bound to the endpoint and model it is from."""
    return json.dumps({"source": source, **parts}) if any(parts.values()) else ""


def opaque_in(message: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What a message of a prompt holds for this endpoint and model; another one gets nothing."""
    text = message.get(OPAQUE)
    parts = json.loads(text) if isinstance(text, str) and text else {}
    return parts if parts.get("source") == source else {}


def assistant_message(answer: Answer) -> dict[str, Any]:
    """A model's answer as the next round repeats it, whole."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.opaque:
        message[OPAQUE] = answer.opaque
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in answer.tool_calls
        ]
    return message


def tool_message(call_id: str, result: str) -> dict[str, Any]:
    """A tool's result as the next round reads it."""
    return {"role": "tool", "tool_call_id": call_id, "content": result}
