"""An OpenAI-compatible endpoint, asked through the openai package."""

import asyncio
from collections.abc import Awaitable, Collection, Iterator, Mapping, Sequence
from typing import Any

from wbot.clients.model.answers import Answer
from wbot.clients.model.reading import answer_of
from wbot.clients.model_failures import Cleaner, error_inside, error_of, failure_of
from wbot.clock import Clock
from wbot.domain import json_access
from wbot.domain.errors import (
    BadAnswerError,
    BlockedError,
    MalformedError,
    OutageError,
    RetryableError,
    WbotError,
)
from wbot.domain.redaction import redacted


class OpenAIModel:
    """An OpenAI-compatible chat completions endpoint, one attempt a call, within a total time.

    Its error texts contain none of the `secrets`, no number, and no message. A model that has not
    answered since the start, or since its last time-out, may be loading, and a hang-up would end
    that: it is given `patience_s`.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        timeout_s: float,
        max_tokens: int,
        secrets: Collection[str] = (),
        patience_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        # Imported here: it takes most of a second, which no other command should pay.
        import openai  # noqa: PLC0415

        self._openai = openai
        self._api_key = api_key
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._patience_s = timeout_s if patience_s is None else max(timeout_s, patience_s)
        self._clock = clock or Clock()
        self._awake: set[str] = set()
        self._max_tokens = max_tokens
        # Its own retries would sleep inside the turn and call twice; the turn decides instead. A
        # redirect could send the key and the customer's words anywhere.
        self._client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=base_url or None,
            max_retries=0,
            timeout=self._patience_s,
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
            timeout_s=self._timeout_s if model in self._awake else self._patience_s,
            model=model,
        )
        return answer_of(completion, cleaned)

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

    async def _request(
        self,
        call: Awaitable[Any],
        cleaned: Cleaner,
        *,
        timeout_s: float | None = None,
        model: str = "",
    ) -> dict[str, Any]:
        """The JSON object of the answer, parsed here: the client's models accept anything."""
        openai = self._openai
        try:
            # The client's own timeout is per read: a slow server could hold a call forever.
            async with asyncio.timeout(timeout_s or self._timeout_s):
                response = await call
        except (TimeoutError, openai.APITimeoutError) as error:
            self._awake.discard(model)
            raise OutageError("The model did not answer in time.", may_be_request=True) from error
        except openai.APIConnectionError as error:
            raise OutageError("The model endpoint cannot be reached.") from error
        except openai.APIStatusError as error:
            raise self._failed(error.response, cleaned) from error
        except (openai.OpenAIError, ValueError) as error:
            raise RetryableError("The request to the model endpoint could not be made.") from error
        self._awake.add(model)
        answer = _json_object(response.content)
        if error_inside(answer):
            raise self._failed(response, cleaned)
        return answer

    def _failed(self, response: Any, cleaned: Cleaner) -> WbotError:
        try:
            body = json_access.decoded(response.content)
        except MalformedError:
            body = response.text
        now = self._clock.now()
        return error_of(
            failure_of(response.status_code, body, response.headers, now=now, cleaned=cleaned)
        )


_NOT_FOUND = 404


def _quotable(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The words of a chat, without the instructions, which are the business's own."""
    for message in messages:
        content = message.get("content")
        if message.get("role") != "system" and isinstance(content, str):
            yield content


def _has_no_such_route(error: BlockedError) -> bool:
    """Whether a 404 may be about the address alone: some compatible servers have only the list."""
    cause = error.__cause__
    return error.may_be_request and getattr(cause, "status_code", None) == _NOT_FOUND


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        answer = json_access.decoded(content)
    except MalformedError as error:  # a proxy's HTML page too comes with a 200
        raise BadAnswerError("The model's answer could not be read.") from error
    if not isinstance(answer, dict):
        raise BadAnswerError("The model's answer is not a JSON object.")
    return answer
