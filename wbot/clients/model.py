"""The model endpoint, and the values that it and the built-in interpreter both answer with."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from wbot.domain import json_access
from wbot.domain.errors import (
    BlockedError,
    MalformedError,
    RejectedError,
    RetryableError,
    WbotError,
)
from wbot.domain.receipts import without_mark
from wbot.domain.redaction import redacted


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


class Failing(msgspec.Struct, frozen=True):
    """A model whose every answer has failed for so long; `reason` is the latest, in our words."""

    model: str
    seconds: float
    reason: str


CODE_LENGTH_MAX = 200
"""Characters of an error's code or a finish reason; both are short words."""

Cleaner = Callable[[str], str]
"""Makes text of the endpoint safe to log, store and show."""


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


class OpenAIModel:
    """An OpenAI-compatible chat completions endpoint, one attempt a call, within a total time.

    Its error texts contain none of the `secrets`, no number, and no message.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        timeout_s: float,
        max_tokens: int,
        secrets: Collection[str] = (),
    ) -> None:
        # Imported here: it takes most of a second, which no other command should pay.
        import openai  # noqa: PLC0415

        self._openai = openai
        self._api_key = api_key
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._max_tokens = max_tokens
        # Its own retries would sleep inside the turn and call twice; the turn decides instead. A
        # redirect could send the key and the customer's words anywhere.
        self._client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url or None,
            max_retries=0,
            timeout=timeout_s,
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
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
        """The endpoint's answer; raises RetryableError, BlockedError or RejectedError."""
        # As extra_body they are sent unchanged; as parameters, the client would convert each by its
        # type hints, which costs more than the rest of the call.
        body = {"messages": list(messages), "tools": list(tools)}
        cleaned = self._cleaner(messages)
        completion = await self._request(
            self._client.chat.completions.with_raw_response.create(
                model=model,
                messages=(),
                max_completion_tokens=self._max_tokens,
                extra_body=body,
            ),
            cleaned,
        )
        return _answer_of(completion, cleaned)

    async def check(self, model: str) -> None:
        """Ask whether the key and the model's name are accepted; raises as `complete` does."""
        try:
            await self._request(
                self._client.models.with_raw_response.retrieve(model), self._cleaner()
            )
        except BlockedError as error:
            if not (_has_no_such_route(error) and await self._is_listed(model)):
                raise

    async def _is_listed(self, model: str) -> bool:
        try:
            listed = await self._request(
                self._client.models.with_raw_response.list(), self._cleaner()
            )
        except WbotError:
            return False
        return any(one.get("id") == model for one in json_access.mappings(listed, "data"))

    def _cleaner(self, messages: Sequence[Mapping[str, Any]] = ()) -> Cleaner:
        def cleaned(words: str) -> str:
            secrets = {*self._secrets, self._api_key}
            return redacted(words, secrets=secrets, messages=_quotable(messages))

        return cleaned

    async def _request(self, call: Awaitable[Any], cleaned: Cleaner) -> dict[str, Any]:
        """The JSON object of the answer, parsed here: the client's models accept anything."""
        openai = self._openai
        try:
            # The client's own timeout is per read: a slow server could hold a call forever.
            async with asyncio.timeout(self._timeout_s):
                response = await call
        except (TimeoutError, openai.APITimeoutError) as error:
            raise RetryableError("The model did not answer in time.") from error
        except openai.APIConnectionError as error:
            raise RetryableError("The model endpoint cannot be reached.") from error
        except openai.APIStatusError as error:
            code = "no code" if error.code is None else str(error.code)[:CODE_LENGTH_MAX]
            shown = code if code in _BLOCKED_CODES or error.code is None else cleaned(code)
            raise _failure(error.status_code, code, shown, error.response.headers) from error
        except (openai.OpenAIError, ValueError) as error:
            raise RetryableError("The request to the model endpoint could not be made.") from error
        return _json_object(response.content)


_REDIRECTS = range(300, 400)
_BLOCKED_STATUSES = {401, 403, 404}
_BLOCKED_CODES = {"insufficient_quota", "model_not_found", "invalid_api_key", "billing_not_active"}
_TOO_MANY_REQUESTS = 429
_RETRIED_STATUSES = {408, 409, _TOO_MANY_REQUESTS}
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_SERVER_ERROR = 500


def _quotable(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The words of a chat, without the instructions, which are the business's own."""
    for message in messages:
        content = message.get("content")
        if message.get("role") != "system" and isinstance(content, str):
            yield content


def _failure(status: int, code: str, shown: str, headers: Mapping[str, str]) -> WbotError:
    if status in _REDIRECTS:
        return BlockedError(
            f"The model endpoint redirects to another address (HTTP {status}), which is not "
            "followed: set OPENAI_BASE_URL to the address that answers itself."
        )
    # The unredacted code decides what to do, so that no customer's words can change that.
    if status in _BLOCKED_STATUSES or code in _BLOCKED_CODES:
        refused = f"The model endpoint rejected the credentials or the model: HTTP {status}"
        return BlockedError(
            f"{refused}, {shown}.",
            own_words=f"{refused}.",
            may_be_request=status != _UNAUTHORIZED and code not in _BLOCKED_CODES,
        )
    if status in _RETRIED_STATUSES or status >= _SERVER_ERROR:
        return RetryableError(
            f"The model endpoint failed: HTTP {status}.",
            retry_after_s=_retry_after_s(status, headers),
        )
    rejected = f"The model endpoint rejected the request: HTTP {status}"
    return RejectedError(f"{rejected}, {shown}.", own_words=f"{rejected}.")


def _retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """The requested wait, 0 if it is not given in seconds; None if none is requested."""
    named = headers.get("retry-after")
    if named is None and status != _TOO_MANY_REQUESTS:
        return None
    try:
        return max(0.0, float(named or 0))
    except ValueError:  # a date: our own back-off applies
        return 0.0


def _has_no_such_route(error: BlockedError) -> bool:
    """Whether a 404 may be about the address alone: some compatible servers have only the list."""
    cause = error.__cause__
    status, code = getattr(cause, "status_code", None), getattr(cause, "code", None)
    return status == _NOT_FOUND and code not in _BLOCKED_CODES


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        answer = json_access.decoded(content)
    except MalformedError as error:  # a proxy's HTML page too comes with a 200
        raise RetryableError("The model's answer could not be read.") from error
    if not isinstance(answer, dict):
        raise RetryableError("The model's answer is not a JSON object.")
    return answer


def _answer_of(completion: Mapping[str, Any], cleaned: Cleaner) -> Answer:
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
