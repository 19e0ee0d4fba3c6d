"""An OpenAI-compatible endpoint, asked through the openai package in the form that it takes."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

from wbot.clients.model import chat_form, responses_form
from wbot.clients.model.answers import Answer, Completion, Usage
from wbot.clients.model.dialect import (
    AUTO,
    Api,
    Dialect,
    Known,
    advice_of,
    candidates,
)
from wbot.clients.model.failures import Cleaner, Failure, error_of, failure_of
from wbot.clients.model.learning import Dialects
from wbot.clients.model.meanings import Meaning
from wbot.clients.model.memory import Memory
from wbot.clients.model.reading import (
    BE_BRIEF,
    CALL_PROPERLY,
    UnusableAnswerError,
    answer_of,
    quotable,
)
from wbot.clients.model.refusals import Refusal, error_within, refusal_of
from wbot.clock import Clock
from wbot.domain import json_access
from wbot.domain.errors import (
    BadAnswerError,
    BlockedError,
    MalformedError,
    OutageError,
    RetryableError,
    TooLongError,
)
from wbot.domain.redaction import redacted

REFUSALS_MAX = 6
"""Refused requests of one search; each teaches something, or the search ends."""
ROOMS = (1, 8, 32)
"""By how much the cap is raised, each time an answer was cut off or was none; so often is asked."""

_AZURE_VERSION = "api-version"


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt for one model; `source` names the endpoint and the model."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    model: str
    source: str
    cleaned: Cleaner
    steps: int = 0
    """How often the cap was raised already, from what is known to be needed."""

    def with_hint(self, hint: str) -> "Asking":
        """The same with a sentence for the model behind its instructions."""
        if not hint:
            return self
        first, *others = self.messages
        if first.get("role") != "system":
            return self
        told = {**first, "content": f"{first['content']}\n\n{hint}"}
        return msgspec.structs.replace(self, messages=(told, *others))


class RefusedRequestError(Exception):
    """The endpoint refused; perhaps only the form of the request."""

    def __init__(self, refusal: Refusal, failure: Failure) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal
        self.failure = failure


class OpenAIModel:
    """An OpenAI-compatible endpoint in either form of the API, each request within a total time.

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
        api: str = AUTO,
        effort: str = "",
        memory: Memory | None = None,
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
        self._api = api
        self._effort = effort
        self._client = _client(openai, api_key, base_url, self._patience_s)
        self.endpoint = _shown(str(self._client.base_url), base_url)
        self._dialects = Dialects(memory, endpoint=self.endpoint, api=api, clock=self._clock)

    async def close(self) -> None:
        await self._client.close()

    def look_again(self) -> None:
        """What is known is read from the memory anew: another process may have changed it."""
        self._dialects.look_again()

    async def learned(self, model: str) -> str | None:
        """What was found out about the model here, for the operator."""
        dialect = await self._dialects.of(model)
        return None if dialect is None else dialect.summary

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
    ) -> Answer:
        """The endpoint's answer; raises RetryableError, BlockedError or RejectedError."""
        asking = Asking(
            messages=messages,
            tools=tools,
            model=model,
            source=f"{self.endpoint} {model}",
            cleaned=self._cleaner(messages),
        )
        usage, hint, steps, is_thinker = Usage(calls=0), "", 0, False
        for again in reversed(range(len(ROOMS))):
            told = msgspec.structs.replace(asking.with_hint(hint), steps=steps)
            try:
                completion = await self._completion(told)
                usage += completion.usage
                answer = answer_of(
                    completion, messages=messages, tools=tools, cleaned=asking.cleaned
                )
            except UnusableAnswerError as error:
                if not again:
                    raise
                hint, is_thinker = error.hint, is_thinker or error.is_of_thinking
                steps += error.needs_room
                continue
            except TooLongError:
                if not (again and steps):
                    raise
                hint, steps, is_thinker = BE_BRIEF, 0, False  # there was no room for more room
                continue
            if is_thinker:
                await self._learn_room(model, steps)
            return msgspec.structs.replace(answer, usage=usage)
        raise AssertionError  # the last time either returns or raises

    async def _learn_room(self, model: str, steps: int) -> None:
        dialect = await self._dialects.of(model)
        if dialect is not None:
            room = _room_of(dialect, steps)
            await self._dialects.keep(model, msgspec.structs.replace(dialect, room=room))

    async def _completion(self, asking: Asking) -> Completion:
        """What the endpoint says, asked in the form that it takes, found out where need be."""
        dialect = await self._dialects.of(asking.model)
        if dialect is None:
            return await self._search(asking)
        try:
            return await self._send(asking, dialect)
        except RefusedRequestError as refused:
            return await self._search(asking, dialect, refused)

    async def _search(
        self,
        asking: Asking,
        used: Dialect | None = None,
        refused: RefusedRequestError | None = None,
    ) -> Completion:
        """The answer in the first form that is not refused, which is kept; one searches for all."""
        async with self._dialects.alone(asking.model):
            dialect = await self._dialects.of(asking.model)
            if dialect != used or dialect is None:  # somebody has found it meanwhile
                refused = None
            dialect = dialect or self._dialects.default
            tried: set[Dialect] = set()
            for _ in range(REFUSALS_MAX):
                tried.add(dialect)
                if refused is None:
                    try:
                        return await self._kept(asking, dialect)
                    except RefusedRequestError as error:
                        refused = error
                dialect = await self._next(asking, dialect, refused, tried)
                self._dialects.assume(asking.model, dialect)
                refused = None
        self._dialects.give_up(asking.model)
        raise RetryableError("The model endpoint refused every form of the request.")

    async def _kept(self, asking: Asking, dialect: Dialect) -> Completion:
        try:
            completion = await self._send(asking, dialect)
        except OutageError:
            self._dialects.assume(asking.model)
            raise
        await self._dialects.keep(asking.model, dialect)
        return completion

    async def _next(
        self,
        asking: Asking,
        dialect: Dialect,
        refused: RefusedRequestError,
        tried: Collection[Dialect],
    ) -> Dialect:
        """What to try after this refusal; raises what the refusal means where that is nothing."""
        known = Known(
            api=self._api,
            has_tools=bool(asking.tools),
            has_effort=bool(self._effort),
            opaque_keys=chat_form.opaque_keys(asking.messages, asking.source),
            cap=self._cap(asking, dialect),
        )
        for following in candidates(dialect, refused.refusal, known):
            if following not in tried:
                return following
        failure = refused.failure
        self._dialects.give_up(asking.model)
        if failure.meaning is Meaning.REQUEST:  # perhaps it takes something else since
            is_forgotten = await self._dialects.doubt(asking.model, dialect)
            if is_forgotten and self._dialects.default not in tried:
                return self._dialects.default
        advice = advice_of(refused.refusal, known)
        if advice is not None:
            raise BlockedError(advice) from refused.__cause__
        if failure.meaning is Meaning.BOTCHED:
            error = error_of(failure)
            raise UnusableAnswerError(
                str(error), own_words=error.own_words, hint=CALL_PROPERLY
            ) from refused.__cause__
        raise error_of(failure) from refused.__cause__

    async def _send(self, asking: Asking, dialect: Dialect) -> Completion:
        is_chat = dialect.api is Api.CHAT
        form = chat_form if is_chat else responses_form
        # As extra_body it is sent unchanged; as parameters, the client would convert each by its
        # type hints, which costs more than the rest of the call.
        body = form.body_of(
            asking.messages,
            asking.tools,
            dialect,
            source=asking.source,
            room=self._cap(asking, dialect),
            effort=self._effort,
        )
        call: Awaitable[Any]
        if is_chat:
            create = self._client.chat.completions.with_raw_response.create
            call = create(model=asking.model, messages=(), extra_body=body)
        else:
            respond = self._client.responses.with_raw_response.create
            call = respond(model=asking.model, input=[], extra_body=body)
        is_awake = asking.model in self._awake
        answer = await self._request(
            call,
            asking.cleaned,
            timeout_s=self._timeout_s if is_awake else self._patience_s,
            model=asking.model,
        )
        completion: Completion | None = form.completion_of(answer, asking.source)
        if completion is None:
            raise BadAnswerError("The model's answer has no choices.")
        return completion

    def _cap(self, asking: Asking, dialect: Dialect) -> int:
        room = self._max_tokens * _room_of(dialect, asking.steps)
        return min(room, dialect.room_max or room)

    def _cleaner(self, messages: Sequence[Mapping[str, Any]] = ()) -> Cleaner:
        def cleaned(words: str) -> str:
            secrets = {*self._secrets, self._api_key}
            return redacted(words, secrets=secrets, messages=quotable(messages))

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
            raise self._refused(error.response, cleaned) from error
        except (openai.OpenAIError, ValueError) as error:
            raise RetryableError("The request to the model endpoint could not be made.") from error
        self._awake.add(model)
        answer = _json_object(response.content)
        if (inside := error_within(answer)) is not None:
            raise self._refused(response, cleaned, inside)
        return answer

    def _refused(
        self, response: Any, cleaned: Cleaner, body: dict[str, Any] | None = None
    ) -> RefusedRequestError:
        said: Any = body
        if said is None:
            try:
                said = json_access.decoded(response.content)
            except MalformedError:
                said = response.text
        failure = failure_of(
            response.status_code, said, response.headers, now=self._clock.now(), cleaned=cleaned
        )
        return RefusedRequestError(refusal_of(failure.status, said, cleaned), failure)


def _shown(used: str, given: str) -> str:
    """The address that names the endpoint: without what may be a secret in it."""
    parts = urlsplit(used)
    version = dict(parse_qsl(urlsplit(given).query)).get(_AZURE_VERSION)
    query = f"{_AZURE_VERSION}={version}" if version else ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), query, ""))


def _room_of(dialect: Dialect, steps: int) -> int:
    """By how much the cap is raised, so many steps above what is known to be needed."""
    larger = [room for room in ROOMS if room > dialect.room]
    return ([dialect.room, *larger])[min(steps, len(larger))]


def _client(openai: ModuleType, api_key: str, base_url: str, timeout_s: float) -> Any:
    parts = urlsplit(base_url)
    query = dict(parse_qsl(parts.query))
    # Azure's older addresses have their version in the query, and take the key in this header.
    headers = {"api-key": api_key} if _AZURE_VERSION in query else {}
    # Its own retries would sleep inside the turn and call twice; the turn decides instead. A
    # redirect could send the key and the customer's words anywhere.
    return openai.AsyncOpenAI(
        api_key=api_key,
        base_url=urlunsplit(parts._replace(query="", fragment="")) or None,
        default_query=query,
        default_headers=headers,
        max_retries=0,
        timeout=timeout_s,
        http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
    )


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        answer = json_access.decoded(content)
    except MalformedError as error:  # a proxy's HTML page too comes with a 200
        raise BadAnswerError("The model's answer could not be read.") from error
    if not isinstance(answer, dict):
        raise BadAnswerError("The model's answer is not a JSON object.")
    return answer
