"""The model endpoint, and the values that it and the built-in interpreter both answer with."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from wbot.domain.errors import HeldError, RejectedError, RetryableError, WbotError


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


class ModelClient(Protocol):
    """Whoever completes a chat: an OpenAI-compatible endpoint, or the built-in interpreter."""

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
    ) -> Answer:
        """The next answer of the chat; `messages` and `tools` are in the Chat Completions form."""
        ...


class OpenAIModel:
    """An OpenAI-compatible chat completions endpoint, one attempt a call, within a total time."""

    def __init__(self, *, api_key: str, base_url: str, timeout_s: float, max_tokens: int) -> None:
        # Imported here: it takes most of a second, which no other command should pay.
        import openai  # noqa: PLC0415

        self._openai = openai
        self._timeout_s = timeout_s
        self._max_tokens = max_tokens
        # Its own retries would sleep inside the turn and ask twice; the turn decides instead.
        self._client = openai.AsyncOpenAI(
            api_key=api_key, base_url=base_url or None, max_retries=0, timeout=timeout_s
        )

    async def close(self) -> None:
        await self._client.close()

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
    ) -> Answer:
        """The endpoint's answer; raises RetryableError, HeldError or RejectedError."""
        # As extra_body they go out as they are; as parameters, the client would walk every message
        # and tool through its type hints, which costs more than the rest of the call together.
        body = {"messages": list(messages), "tools": list(tools), "parallel_tool_calls": False}
        completion = await self._ask(
            self._client.chat.completions.create(
                model=model,
                messages=(),
                max_completion_tokens=self._max_tokens,
                extra_body=body,
            )
        )
        return _answer_of(completion)

    async def check(self, model: str) -> None:
        """Ask whether the key and the model's name are accepted; raises as `complete` does."""
        await self._ask(self._client.models.retrieve(model))

    async def _ask(self, call: Awaitable[Any]) -> Any:
        openai = self._openai
        try:
            # The client's own number is per read: a dripping server could hold a call for ever.
            async with asyncio.timeout(self._timeout_s):
                return await call
        except (TimeoutError, openai.APITimeoutError) as error:
            raise RetryableError("The model did not answer in time.") from error
        except openai.APIConnectionError as error:
            raise RetryableError("The model endpoint cannot be reached.") from error
        except openai.APIStatusError as error:
            raise _failure(error.status_code, error.code, error.response.headers) from error
        except (openai.OpenAIError, ValueError) as error:
            raise RetryableError("The model's answer could not be read.") from error


_HELD_STATUSES = {401, 403, 404}
_HELD_CODES = {"insufficient_quota", "model_not_found", "invalid_api_key", "billing_not_active"}
_RETRIED_STATUSES = {408, 409, 429}
_SERVER_ERROR = 500


def _failure(status: int, code: str | None, headers: Mapping[str, str]) -> WbotError:
    if status in _HELD_STATUSES or code in _HELD_CODES:
        return HeldError(f"The model endpoint refuses us: HTTP {status}, {code or 'no code'}.")
    if status in _RETRIED_STATUSES or status >= _SERVER_ERROR:
        return RetryableError(
            f"The model endpoint failed: HTTP {status}.", retry_after_s=_retry_after_s(headers)
        )
    return RejectedError(f"The model endpoint rejected the request: HTTP {status}, {code}.")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:  # absent, or a date: our own back-off will do
        return None


def _answer_of(completion: Any) -> Answer:
    # A proxy's HTML page comes back as str, and odd servers leave choices empty or None.
    choices = getattr(completion, "choices", None)
    if not choices or choices[0].message is None:
        raise RetryableError("The model's answer has no choices.")
    message, finish_reason = choices[0].message, choices[0].finish_reason
    calls = tuple(
        ToolCall(str(call.id), str(call.function.name), str(call.function.arguments))
        for call in message.tool_calls or ()
        if call.type == "function"
    )
    text = message.content or ""
    if calls and finish_reason == "length":
        raise RetryableError("The model's tool call was cut off.")
    if not calls and not text.strip():
        raise RetryableError(f"The model's answer is empty (finish reason {finish_reason}).")
    usage = completion.usage
    return Answer(
        text=text,
        tool_calls=calls,
        model=str(completion.model),
        usage=Usage(usage.prompt_tokens, usage.completion_tokens) if usage else Usage(),
    )
