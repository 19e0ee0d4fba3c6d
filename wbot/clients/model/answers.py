"""The values that the model endpoint and the built-in interpreter both answer with."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class ToolCall(msgspec.Struct, frozen=True):
    """One call the model proposes; `arguments` is its unchecked JSON text."""

    id: str
    name: str
    arguments: str


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one completion, as the endpoint counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One completion that passed the shape check: text, calls, or both."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str = ""
    usage: Usage = Usage()
    is_fallback: bool = False
    """Whether the second model gave it, in place of the first."""


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
        """The next answer of the chat; `messages` and `tools` are in the Chat Completions form."""
        ...
