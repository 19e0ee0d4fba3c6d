"""Every conversation at its own pace: one message after another, each to its end."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

from wbot.clients.model import Failing, ModelClient
from wbot.clients.whatsapp import WhatsApp
from wbot.clock import Clock, elapsed_ms, from_text, later, to_text
from wbot.domain.delivery import TURN_BACKOFF
from wbot.domain.errors import (
    BlockedError,
    OutageError,
    RejectedError,
    RetryableError,
    StaleClaimError,
    StorageError,
    WbotError,
)
from wbot.domain.redaction import redacted
from wbot.domain.states import MessageState, TurnOutcome
from wbot.keyed_worker import KeyedWorker, RetryDelay, cancel_and_wait
from wbot.logs import Log
from wbot.metrics import Metrics
from wbot.settings import Settings
from wbot.storage import journal, messages
from wbot.storage.database import Database
from wbot.storage.tx import Tx
from wbot.turns import finish
from wbot.turns.config_cache import BusinessCache, Configured
from wbot.turns.courtesies import Courtesies
from wbot.turns.finish import Ending
from wbot.turns.knowledge import Knowledge
from wbot.turns.model_gate import Block, ModelGate
from wbot.turns.model_health import ModelWatch
from wbot.turns.models import Fallback, Models
from wbot.turns.turn import StoppingError, Turn
from wbot.turns.turn_start import Begun, Waits, begin, stale_in_s, wait_for_model

STORAGE_RETRY_S = 1.0
STALE_MARGIN_S = 0.1
"""Seconds after a message becomes stale, when its conversation is processed again."""


class Conversations:
    """Processes each notified conversation, and notifies the sender of finished replies."""

    def __init__(
        self,
        *,
        database: Database,
        cache: BusinessCache,
        model: ModelClient,
        fallback: ModelClient | None,
        whatsapp: WhatsApp,
        settings: Settings,
        secrets: Collection[str],
        clock: Clock,
        log: Log,
        metrics: Metrics,
        notify_outbound: Callable[[int, str], None],
        are_books_right: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._cache = cache
        self._courtesies = Courtesies(
            database=database,
            whatsapp=whatsapp,
            clock=clock,
            log=log,
            notify_outbound=notify_outbound,
        )
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._notify_outbound = notify_outbound
        self._are_books_right = are_books_right
        self._watching: list[asyncio.Task[None]] = []
        self._worker = KeyedWorker(
            "conversation", self._process_next, running_max=settings.turns_max
        )
        self.notify = self._worker.notify
        self._model_gate = ModelGate(self.notify)
        self._knowledge = Knowledge(log)
        self.model_watch = ModelWatch(
            model,
            database=database,
            default_model=settings.model,
            clock=clock,
            on_recovery=self._model_gate.retry,
            has_stand_in=fallback is not None,
        )
        self.fallback_watch = None if fallback is None else self._watch_fallback(fallback)
        self._models = Models(self.model_watch, self._fallback())

    def _watch_fallback(self, client: ModelClient) -> ModelWatch:
        return ModelWatch(
            client,
            database=self._database,
            default_model=self._settings.model_fallback,
            clock=self._clock,
            on_recovery=lambda _: self._model_gate.retry(),
            is_always_used=True,
        )

    def _fallback(self) -> Fallback | None:
        if self.fallback_watch is None:
            return None
        return Fallback(
            watch=self.fallback_watch,
            name=self._settings.model_fallback,
            after_s=self._settings.api_timeout,
            count=self._metrics.fallback_answers.inc,
        )

    @property
    def running(self) -> int:
        """Conversations at work now."""
        return self._worker.running

    @property
    def blocked(self) -> dict[str, str]:
        """By business: why its model cannot be asked; gone once it answers again.

        An outage is not among them: it passes by itself, and lasting is told by the model's watch.
        """
        found = {}
        for business_id, block in self._model_gate.blocks.items():
            if block.model is None or not self.model_watch.is_down(block.model):
                reason = self.model_watch.refusal_of(block.model) if block.model else None
                found[business_id] = reason or block.reason
        return found

    def failing_models(self) -> list[Failing]:
        """Every model that last failed, the fallback included."""
        fallback = self.fallback_watch.failing() if self.fallback_watch else []
        return [*self.model_watch.failing(), *fallback]

    @property
    def unreadable_knowledge(self) -> dict[str, str]:
        """By business: why its file of knowledge is not in the prompt."""
        return self._knowledge.problems

    @property
    def stands_in(self) -> str | None:
        """The fallback's name, where it answers in place of the default model now."""
        return self._models.stands_in_for(self._settings.model)

    def share_among(self, businesses: int) -> None:
        """From now on so many businesses share the places."""
        self._worker.groups = businesses

    def remind(self, conversation_id: int, business_id: str) -> None:
        """Notify, unless the conversation is known to wait for a blocked model."""
        if not self._model_gate.is_waiting(business_id, conversation_id):
            self.notify(conversation_id, business_id)

    def configuration_changed(self) -> None:
        """A blocked model or token may work now: one conversation per business tries."""
        self._model_gate.retry()

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._courtesies.start(tasks)
        watches = [self.model_watch, *([self.fallback_watch] if self.fallback_watch else [])]
        self._watching = [tasks.create_task(one.run(), name="model watch") for one in watches]
        self._worker.start(tasks)

    async def stop(self, grace_s: float) -> None:
        await self._worker.stop(grace_s)
        await cancel_and_wait(self._watching)
        await self._courtesies.stop()

    async def _process_next(self, conversation_id: int, business_id: str) -> RetryDelay:
        may_ask = self._model_gate.enter(business_id, conversation_id)
        try:
            if not await self._may_begin(business_id, is_first=may_ask):
                self._model_gate.wait(business_id, conversation_id)
                return None
            may_ask = self._model_gate.enter(business_id, conversation_id)
            begun = await self._database.write(
                lambda tx: begin(
                    tx,
                    conversation_id,
                    may_ask=may_ask,
                    now=self._clock.now(),
                    stale_after_s=self._settings.stale_after,
                )
            )
            if isinstance(begun, Waits):
                return self._wait(conversation_id, business_id, begun, is_held=not may_ask)
            if begun is None or isinstance(begun, float):
                return begun
            if begun.is_new_loop:
                self._log_loop(begun.message)
            return await self._attempt(begun)
        except StaleClaimError:  # the turn that claimed the conversation continues
            return 0
        except StorageError as error:
            self._log.error("storage.failed", conversation=conversation_id, error=str(error))
            return STORAGE_RETRY_S
        finally:
            self._model_gate.leave(business_id, conversation_id)

    async def _may_begin(self, business_id: str, *, is_first: bool) -> bool:
        """Whether to process the conversation while the business's gate is not open yet.

        What the first one needs is looked at before anything is written or sent for it.
        """
        block = self._model_gate.block_of(business_id)
        if block is not None:
            return block.model is not None
        if self._model_gate.is_open(business_id) or not is_first:
            return True
        try:
            configured = await self._cache.get(business_id)
        except BlockedError as error:
            self._hold_business(business_id, error)
            return False
        reason = self._models.refusal_of(self._model_of(configured))
        if reason is not None:
            self._model_gate.block(business_id, Block(reason, self._model_of(configured)))
        return True

    def _wait(
        self, conversation_id: int, business_id: str, waits: Waits, *, is_held: bool
    ) -> RetryDelay:
        """Wait, at the gate where the business is held; then the customer is told, or asked."""
        if waits.is_told:
            self._notify_outbound(conversation_id, business_id)
        if not is_held:
            return waits.seconds
        if self._model_gate.enter(business_id, conversation_id):  # it has opened meanwhile
            return 0
        self._model_gate.wait(business_id, conversation_id)
        return max(waits.seconds, STALE_MARGIN_S)

    def _log_loop(self, message: messages.StoredMessage) -> None:
        self._log.warning(
            "conversation.loop",
            message_id=message.message_id,
            business=message.business_id,
            conversation=message.conversation_id,
        )

    async def _attempt(self, begun: Begun) -> RetryDelay:
        """Run the turn and record how it went: the boundary at which every failure ends."""
        if begun.claim.attempt > self._settings.max_attempts:
            died = RejectedError("The process ended during every attempt.")
            return await self._fail(begun, None, died)
        started = self._clock.monotonic()
        configured: Configured | None = None
        turn: Turn | None = None
        try:
            configured = await self._cache.get(begun.message.business_id)
            turn = self._turn(begun, configured)
            if begun.shows_reading:
                self._courtesies.mark_read(configured.credentials, begun)
            async with asyncio.timeout(self._settings.turn_timeout):
                ending = await turn.run()
            await self._close(begun, ending)
        except asyncio.CancelledError:  # the stop's grace is over: no fault of the message's
            message_id = begun.message.message_id
            await self._database.write(lambda tx: journal.refund_attempt(tx, message_id))
            raise
        except Exception as error:  # noqa: BLE001  the turn boundary: whatever it is, it is recorded
            if turn is not None and turn.model_ms:
                self._open_gate(configured)
            if isinstance(error, TimeoutError) and turn is not None and turn.is_asking:
                error = OutageError("The model did not answer within the turn's time.")
                return await self._hold(begun, error)
            return await self._ended_by(begun, configured, error)
        if turn.model_ms:
            self._open_gate(configured)
        self._report(begun, turn, ending, started)
        return 0

    async def _ended_by(
        self, begun: Begun, configured: Configured | None, error: Exception
    ) -> RetryDelay:
        match error:
            case StaleClaimError():
                self._log.warning("turn.claim_lost", message_id=begun.message.message_id)
                raise error
            case StoppingError():
                return await self._release(begun, TurnOutcome.STOPPED, None, wait_s=0)
            case BlockedError():
                return await self._block(begun, configured, error)
            case WbotError() | TimeoutError():
                return await self._fail(begun, configured, error)
            case _:
                message = begun.message
                self._log.error(
                    "turn.crashed",
                    message_id=message.message_id,
                    exc_info=error,
                    quotable=message.words,
                )
                return await self._fail(begun, configured, error)

    def _turn(self, begun: Begun, configured: Configured) -> Turn:
        return Turn(
            begun,
            configured.business,
            database=self._database,
            models=self._models,
            default_model=self._settings.model,
            knowledge=self._knowledge.of(configured.business),
            stale_after_s=self._settings.stale_after,
            clock=self._clock,
            is_stopping=lambda: self._worker.is_stopping,
            are_books_right=self._are_books_right,
            notify_outbound=self._notify_outbound,
            tell_slow=lambda: self._courtesies.tell_slow(begun),
        )

    async def _close(self, begun: Begun, ending: Ending) -> None:
        now = to_text(self._clock.now())
        closed = await self._database.write(
            lambda tx: finish.close(tx, begun.message, begun.claim, ending=ending, now=now)
        )
        self._metrics.count_ended(ending.state)
        for message_id in closed.also_ended:
            self._metrics.count_ended(MessageState.SILENT)
            self._log.info(
                "message.processed",
                message_id=message_id,
                business=begun.message.business_id,
                conversation=begun.message.conversation_id,
                state=MessageState.SILENT,
                reason=finish.ASKED_ABOUT,
            )
        if closed.has_reply:
            self._notify_outbound(begun.message.conversation_id, begun.message.business_id)

    async def _fail(
        self, begun: Begun, configured: Configured | None, error: Exception
    ) -> RetryDelay:
        reason = redacted(
            str(error) or type(error).__name__,
            secrets=self._secrets,
            messages=begun.message.words,
        )
        if isinstance(error, TimeoutError):
            reason = "The turn took too long."
        wait_s = self._wait_s(begun, error)
        if _asked_wait_s(error) is not None:
            return await self._hold(begun, error, reason)
        is_final = isinstance(error, RejectedError)
        if not is_final and begun.claim.attempt < self._settings.max_attempts:
            self._log_retry(begun, wait_s, reason)
            return await self._postpone(begun, TurnOutcome.RETRY, reason, wait_s=wait_s)
        now = to_text(self._clock.now())
        error_text = configured.business.error_text if configured else None
        await self._database.write(
            lambda tx: finish.fail(
                tx, begun.message, begun.claim, error=reason, error_text=error_text, now=now
            )
        )
        self._metrics.count_ended(MessageState.FAILED)
        self._log.error(
            "message.failed",
            message_id=begun.message.message_id,
            business=begun.message.business_id,
            attempts=begun.claim.attempt,
            error=reason,
        )
        self._notify_outbound(begun.message.conversation_id, begun.message.business_id)
        return 0

    async def _hold(self, begun: Begun, error: Exception, reason: str | None = None) -> RetryDelay:
        """Try again without counting: the customer is told of it, and asked once it is stale."""
        wait_s = self._wait_s(begun, error)
        told = reason or str(error)
        self._log_retry(begun, wait_s, told)
        await self._release(begun, TurnOutcome.RETRY, told, wait_s=wait_s)
        return 0  # the conversation is looked at again: it may be time to tell its customer

    def _wait_s(self, begun: Begun, error: Exception) -> float:
        attempts, jitter = begun.claim.failures + 1, random.random()  # noqa: S311  no secret
        asked_s = _asked_wait_s(error)
        if asked_s is None:
            return TURN_BACKOFF.wait_s(attempts, jitter)
        longest_s = self._settings.turn_timeout
        return TURN_BACKOFF.asked_wait_s(attempts, min(asked_s, longest_s), jitter)

    def _log_retry(self, begun: Begun, wait_s: float, reason: str) -> None:
        self._log.warning(
            "turn.retried",
            message_id=begun.message.message_id,
            attempt=begun.claim.attempt,
            retry_in_s=round(wait_s, 3),
            error=reason,
        )

    async def _block(
        self, begun: Begun, configured: Configured | None, error: BlockedError
    ) -> RetryDelay:
        """Release the message; its business's conversations wait until a try makes sense."""
        business_id, words = begun.message.business_id, begun.message.words
        reason = redacted(str(error), secrets=self._secrets, messages=words)
        self._log.error("turn.blocked", message_id=begun.message.message_id, error=reason)
        if configured is None:
            self._hold_business(business_id, error)
        else:
            self._model_gate.block(business_id, Block(error.own_words, self._model_of(configured)))
        await self._release(begun, TurnOutcome.BLOCKED, reason, wait_s=0)
        message, now = begun.message, self._clock.now()
        left_s = stale_in_s(message, now, self._settings.stale_after)
        waits = await self._database.write(lambda tx: wait_for_model(tx, message, left_s, now))
        return self._wait(message.conversation_id, business_id, waits, is_held=True)

    def _hold_business(self, business_id: str, error: BlockedError) -> None:
        reason = redacted(str(error), secrets=self._secrets)
        self._log.error("business.blocked", business=business_id, error=reason)
        self._model_gate.block(business_id, Block(error.own_words, None))

    def _open_gate(self, configured: Configured | None) -> None:
        """The model answered, if only with an error: unless it is blocked, all may go on."""
        if configured is None:
            return
        if self._models.refusal_of(self._model_of(configured)) is None:
            self._model_gate.open(configured.business.id)

    def _model_of(self, configured: Configured) -> str:
        return configured.business.model or self._settings.model

    async def _release(
        self, begun: Begun, outcome: TurnOutcome, detail: str | None, *, wait_s: float
    ) -> RetryDelay:
        """As if the attempt had not been made: it failed for no fault of the message's."""
        message_id = begun.message.message_id
        await self._database.write(lambda tx: journal.refund_attempt(tx, message_id))
        return await self._postpone(begun, outcome, detail, wait_s=wait_s)

    async def _postpone(
        self, begun: Begun, outcome: TurnOutcome, detail: str | None, *, wait_s: float
    ) -> RetryDelay:
        now = self._clock.now()
        message, claim = begun.message, begun.claim

        def put(tx: Tx) -> None:
            journal.guard(tx, message.conversation_id, claim.epoch)
            messages.postpone(tx, message.message_id, to_text(later(now, wait_s)))
            journal.end(
                tx,
                message.message_id,
                claim.epoch,
                outcome=outcome,
                detail=detail,
                now=to_text(now),
            )

        await self._database.write(put)
        return wait_s

    def _report(self, begun: Begun, turn: Turn, ending: Ending, started: float) -> None:
        ended = self._clock.monotonic()
        waited = self._clock.now() - from_text(begun.message.received_at)
        total_ms = round(waited.total_seconds() * 1000, 3)
        queue_ms = round(max(0.0, total_ms - elapsed_ms(started, ended)), 3)
        self._metrics.total_ms.observe(total_ms)
        self._metrics.queue_ms.observe(queue_ms)
        self._metrics.model_ms.observe(turn.model_ms)
        self._metrics.tools_ms.observe(turn.tools_ms)
        self._log.info(
            "message.processed",
            message_id=begun.message.message_id,
            business=begun.message.business_id,
            conversation=begun.message.conversation_id,
            total_ms=total_ms,
            queue_ms=queue_ms,
            model_ms=turn.model_ms,
            tools_ms=turn.tools_ms,
            attempt=begun.claim.attempt,
            state=ending.state,
            reason=ending.reason,
        )


def _asked_wait_s(error: Exception) -> float | None:
    """The wait that the model endpoint asked for, if it asked for one."""
    return error.retry_after_s if isinstance(error, RetryableError) else None
