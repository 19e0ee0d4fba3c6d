"""Since when a model has given no good answer, and the question that shows when that is over."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from wbot.clients.model import Answer, Failing, ModelClient
from wbot.clock import Clock
from wbot.domain.errors import (
    BadAnswerError,
    BlockedError,
    FilteredError,
    OutageError,
    RejectedError,
    RetryableError,
    StorageError,
    TooLongError,
    WbotError,
)
from wbot.storage import businesses
from wbot.storage.database import Database

LOOK_EVERY_S = 1.0
ASK_AGAIN_S = 15.0
"""Seconds after which a failing model that no turn asks is asked by the watch, at the latest."""
OUTAGE_SHARE = 0.5
"""Of an outage's age: the wait until it is asked again whether it is over."""
QUESTION = ({"role": "user", "content": "Please answer with the word OK."},)


class _Trouble(msgspec.Struct):
    since: float
    asked_at: float
    reason: str
    tools: Sequence[Mapping[str, Any]]
    is_refusal: bool
    is_outage: bool


class ModelWatch:
    """A model client that remembers how the one behind it fares, whatever the failure.

    A failure may lie in one message's words: a harmless question tells. After an outage nobody may
    write: so a failing model is asked again, with the tools of the turn it failed, until it answers
    or is out of use. One that refuses everybody, or is down, is asked by nobody else meanwhile;
    when that is over, `on_recovery` is called with its name. Where another model stands in, no
    turn waits for the harmless question.
    """

    def __init__(
        self,
        model: ModelClient,
        *,
        database: Database,
        default_model: str,
        clock: Clock,
        on_recovery: Callable[[str], None],
        is_always_used: bool = False,
        has_stand_in: bool = False,
    ) -> None:
        self._model = model
        self._is_always_used = is_always_used
        self._has_stand_in = has_stand_in
        self._database = database
        self._default_model = default_model
        self._clock = clock
        self._on_recovery = on_recovery
        self._troubles: dict[str, _Trouble] = {}
        self._doubts: dict[str, asyncio.Lock] = {}
        self._answered: dict[str, float] = {}
        """By model: when the latest request that it answered was made."""
        self._unsettled: set[str] = set()
        """Models in doubt whose harmless question was told to wait: it comes first next time."""

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
        """The answer of the model behind; what that raises is remembered and raised.

        Raises BlockedError without asking while the model is known to refuse.
        """
        self._check_refusal(model)
        if model in self._unsettled and await self._is_refusing(model, tools):
            self._check_refusal(model)
        try:
            return await self._ask(messages, model=model, tools=tools)
        except BlockedError as error:
            if error.may_be_request and not await self._is_refusing(model, tools):
                raise RetryableError(str(error), own_words=error.own_words) from error
            raise

    def refusal_of(self, model: str) -> str | None:
        """Why the model refuses every request, as far as is known; None while it does not."""
        trouble = self._troubles.get(model)
        return trouble.reason if trouble is not None and trouble.is_refusal else None

    def is_down(self, model: str) -> bool:
        """Whether it refuses for an outage, which passes by itself."""
        trouble = self._troubles.get(model)
        return trouble is not None and trouble.is_refusal and trouble.is_outage

    def _check_refusal(self, model: str) -> None:
        trouble = self._troubles.get(model)
        if trouble is not None and trouble.is_refusal:
            raise (OutageError if trouble.is_outage else BlockedError)(trouble.reason)

    async def _is_refusing(self, model: str, tools: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the model refuses a harmless question too, or only what it was just asked.

        One asks it for all that failed before.
        """
        failed_at = self._clock.monotonic()
        async with self._doubts.setdefault(model, asyncio.Lock()):
            self._unsettled.discard(model)
            if self._has_answered(model, failed_at):
                return False
            try:
                self._check_refusal(model)
                await self._ask(QUESTION, model=model, tools=tools, is_probe=True)
            except BlockedError:
                return True
            except RetryableError as error:
                # A router lets a model rest for seconds after it refused one request.
                if error.retry_after_s is not None:
                    self._unsettled.add(model)
                return False
            except WbotError:
                return False
        return False

    async def _ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
        is_probe: bool = False,
    ) -> Answer:
        started = self._clock.monotonic()
        try:
            answer = await self._model.complete(messages, model=model, tools=tools)
        except (FilteredError, TooLongError):  # it is there, and has read the words
            self._note_answer(model, started)
            raise
        except (WbotError, asyncio.CancelledError) as error:  # cancelled: the turn's time is over
            # One who hangs while others are answered hangs for what they wrote.
            is_alone = not is_probe and self._has_answered(model, started)
            self._note(model, error, tools, is_probe=is_probe, is_alone=is_alone)
            raise
        self._note_answer(model, started)
        return answer

    def _has_answered(self, model: str, since: float) -> bool:
        """Whether it has answered a request made since then."""
        answered = self._answered.get(model)
        return answered is not None and answered >= since

    def _note_answer(self, model: str, started: float) -> None:
        self._answered[model] = max(started, self._answered.get(model, started))
        trouble = self._troubles.get(model)
        # What was asked before the refusal proves nothing about the time after it.
        if trouble is not None and not (trouble.is_refusal and started < trouble.asked_at):
            self._end_trouble(model)

    def _note(
        self,
        model: str,
        error: BaseException,
        tools: Sequence[Mapping[str, Any]],
        *,
        is_probe: bool,
        is_alone: bool,
    ) -> None:
        now, before = self._clock.monotonic(), self._troubles.get(model)
        was_refusal = before is not None and before.is_refusal
        is_refusal = was_refusal
        is_outage = isinstance(error, OutageError | asyncio.CancelledError)
        if isinstance(error, BlockedError):
            stands_in = self._has_stand_in and is_outage and not is_alone
            is_refusal = was_refusal or is_probe or stands_in or not error.may_be_request
            # The harmless question may be what the endpoint cannot take: a turn's own may pass.
            if is_probe and was_refusal and is_outage and error.may_be_request:
                is_refusal = stands_in
        elif self._has_stand_in and is_outage and not is_alone:  # cancelled
            is_refusal = True
        elif is_probe and isinstance(error, RejectedError | BadAnswerError):  # it is there again
            is_refusal = False
        reason = "The model did not answer in time."
        if isinstance(error, WbotError):
            reason = error.own_words
        since = before.since if before else now
        self._troubles[model] = _Trouble(since, now, reason, tools, is_refusal, is_outage)
        if was_refusal and not is_refusal:
            self._on_recovery(model)

    def _end_trouble(self, model: str) -> None:
        if self._troubles.pop(model).is_refusal:
            self._on_recovery(model)

    async def run(self) -> None:
        """Ask again, for ever."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            with suppress(StorageError):  # which shows in /health by itself
                await self.ask_again()

    async def ask_again(self) -> None:
        """Ask each failing model that was left alone; forget those that no business uses."""
        if not self._troubles:
            return
        in_use = await self._database.read(businesses.models)
        due = []
        for model, trouble in list(self._troubles.items()):
            is_used = self._is_always_used or model in in_use
            if not is_used and not (model == self._default_model and None in in_use):
                self._end_trouble(model)
            elif self._clock.monotonic() - trouble.asked_at >= self._wait_s(trouble):
                due.append(self._probe(model, trouble))
        await asyncio.gather(*due)  # one that hangs delays no other

    async def _probe(self, model: str, trouble: _Trouble) -> None:
        with suppress(WbotError):
            await self._ask(QUESTION, model=model, tools=trouble.tools, is_probe=True)

    def _wait_s(self, trouble: _Trouble) -> float:
        if not (trouble.is_outage and trouble.is_refusal):
            return ASK_AGAIN_S
        age_s = self._clock.monotonic() - trouble.since
        return min(ASK_AGAIN_S, max(LOOK_EVERY_S, age_s * OUTAGE_SHARE))
