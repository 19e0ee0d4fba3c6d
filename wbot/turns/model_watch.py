"""Since when a model has given no good answer, and the question that shows when that is over."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from wbot.clients.model import Answer, Failing, ModelClient
from wbot.clock import Clock
from wbot.domain.errors import StorageError, WbotError
from wbot.storage import businesses
from wbot.storage.database import Database

ASK_AGAIN_S = 15.0
"""Seconds after which a failing model that no turn asks is asked by the watch."""
QUESTION = ({"role": "user", "content": "Please answer with the word OK."},)


class _Trouble(msgspec.Struct):
    since: float
    asked_at: float
    reason: str
    tools: Sequence[Mapping[str, Any]]


class ModelWatch:
    """A model client that remembers how the one behind it fares, whatever the failure.

    A refusal may lie in one message's words, and after an outage nobody may write: so a failing
    model is asked again, with the tools of the turn it failed, until it answers or is out of use.
    """

    def __init__(
        self, model: ModelClient, *, database: Database, default_model: str, clock: Clock
    ) -> None:
        self._model = model
        self._database = database
        self._default_model = default_model
        self._clock = clock
        self._troubles: dict[str, _Trouble] = {}

    def failing(self) -> list[Failing]:
        """Every model that last failed, by name."""
        now = self._clock.monotonic()
        return [
            Failing(model, now - trouble.since, trouble.reason)
            for model, trouble in sorted(self._troubles.items())
        ]

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
    ) -> Answer:
        """The answer of the model behind; what that raises is remembered and raised."""
        try:
            answer = await self._model.complete(messages, model=model, tools=tools)
        except (WbotError, asyncio.CancelledError) as error:  # cancelled: the turn's time is over
            now = self._clock.monotonic()
            before = self._troubles.get(model)
            reason = "The model did not answer in time."
            if isinstance(error, WbotError):
                reason = error.own_words
            since = before.since if before else now
            self._troubles[model] = _Trouble(since, now, reason, tools)
            raise
        self._troubles.pop(model, None)
        return answer

    async def run(self) -> None:
        """Ask again, for ever."""
        while True:
            await self._clock.sleep(ASK_AGAIN_S)
            with suppress(StorageError):  # which shows in /health by itself
                await self.ask_again()

    async def ask_again(self) -> None:
        """Ask each failing model that was left alone; forget those that no business uses."""
        in_use = await self._database.read(businesses.models)
        for model, trouble in list(self._troubles.items()):
            if model not in in_use and not (model == self._default_model and None in in_use):
                del self._troubles[model]
            elif self._clock.monotonic() - trouble.asked_at >= ASK_AGAIN_S:
                with suppress(WbotError):
                    await self.complete(QUESTION, model=model, tools=trouble.tools)
