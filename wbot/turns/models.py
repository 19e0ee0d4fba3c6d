"""The model that turns ask, and the one that stands in for it where there is one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from wbot.clients.model import Answer
from wbot.domain.errors import (
    BadAnswerError,
    BlockedError,
    FilteredError,
    RejectedError,
    TooLongError,
    WbotError,
)
from wbot.turns.model_health import ModelWatch

Tools = Sequence[Mapping[str, Any]]


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """The second model, and how long the first may take before it is asked."""

    watch: ModelWatch
    name: str
    after_s: float
    count: Callable[[], None]


class Models:
    """Asks the first model; where it fails or is blocked, the fallback in the same attempt."""

    def __init__(self, first: ModelWatch, fallback: Fallback | None) -> None:
        self._first = first
        self._fallback = fallback

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Tools,
        fallback_tools: Callable[[], Awaitable[Tools]],
    ) -> Answer:
        """The answer of either; raises what the model that decides about the next attempt raised.

        What is too long or filtered is not asked again: it concerns the words, not the model.
        """
        if self._fallback is None:
            return await self._first.complete(messages, model=model, tools=tools)
        try:
            async with asyncio.timeout(self._fallback.after_s):
                return await self._first.complete(messages, model=model, tools=tools)
        except (TooLongError, FilteredError):
            raise
        except (WbotError, TimeoutError) as error:
            return await self._stand_in(messages, error, await fallback_tools())

    async def _stand_in(
        self, messages: Sequence[Mapping[str, Any]], first: Exception, tools: Tools
    ) -> Answer:
        fallback = self._fallback
        if fallback is None:
            raise first
        try:
            answer = await fallback.watch.complete(messages, model=fallback.name, tools=tools)
        except (TooLongError, FilteredError):
            raise
        except BlockedError:  # what the first waits for decides
            raise first from None
        except RejectedError as error:
            raise (first if isinstance(first, WbotError) else error) from None
        fallback.count()
        calls = answer.tool_calls if tools else ()
        if not calls and not answer.text.strip():
            raise BadAnswerError("The fallback model called a tool where it may only answer.")
        return msgspec.structs.replace(answer, tool_calls=calls, is_fallback=True)

    def refusal_of(self, model: str) -> str | None:
        """Why nobody can be asked in place of the model; None while somebody can."""
        reason = self._first.refusal_of(model)
        fallback = self._fallback
        if fallback is not None and fallback.watch.refusal_of(fallback.name) is None:
            return None
        return reason

    def stands_in_for(self, model: str) -> str | None:
        """The fallback's name, where it answers in place of the model now."""
        is_needed = self._fallback is not None and self._first.refusal_of(model) is not None
        return self._fallback.name if self._fallback is not None and is_needed else None
