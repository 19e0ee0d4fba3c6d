"""Every conversation at its own pace: one message after another, each to its end."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime

import msgspec

from wbot.clients.model import ModelClient
from wbot.clients.whatsapp import PhoneNumberCredentials, WhatsApp
from wbot.clock import Clock, elapsed_ms, from_text, later, to_text
from wbot.domain import triage
from wbot.domain.content import content_of, context_of
from wbot.domain.delivery import ASKED_WAIT_MAX_S, TURN_BACKOFF
from wbot.domain.errors import (
    BlockedError,
    RejectedError,
    RetryableError,
    StaleClaimError,
    StorageError,
    WbotError,
)
from wbot.domain.message_age import Staleness, staleness_of
from wbot.domain.redaction import redacted
from wbot.domain.states import MessageState, TurnOutcome
from wbot.domain.triage import handling_of
from wbot.keyed_worker import KeyedWorker, RetryDelay, cancel_and_wait
from wbot.logs import Log
from wbot.metrics import Metrics
from wbot.payments import answers
from wbot.payments.quotations import quoted_in
from wbot.settings import Settings
from wbot.storage import customers, journal, messages
from wbot.storage.database import Database
from wbot.storage.tx import Tx
from wbot.turns import finish
from wbot.turns.config_cache import BusinessCache, Configured
from wbot.turns.finish import Ending
from wbot.turns.model_gate import Block, ModelGate
from wbot.turns.model_health import ModelWatch
from wbot.turns.turn import Begun, StoppingError, Turn

READ_MARKS_UNDER_WAY_MAX = 200
STORAGE_RETRY_S = 1.0
STALE_MARGIN_S = 0.1
"""Seconds after a message becomes stale, when its conversation is processed again."""


class Waits(msgspec.Struct, frozen=True):
    """A message that needs the model while that may not be asked; seconds until it is stale."""

    stale_in_s: float


class Conversations:
    """Takes conversations that were rung, and hands finished replies to the outbound bell."""

    def __init__(
        self,
        *,
        database: Database,
        cache: BusinessCache,
        model: ModelClient,
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
        self._whatsapp = whatsapp
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._notify_outbound = notify_outbound
        self._are_books_right = are_books_right
        self._tasks: asyncio.TaskGroup
        self._watching: asyncio.Task[None] | None = None
        self._read_marks: set[asyncio.Task[None]] = set()
        self._worker = KeyedWorker(
            "conversation", self._process_next, running_max=settings.turns_max
        )
        self.notify = self._worker.notify
        self._model_gate = ModelGate(self.notify)
        self.model_watch = ModelWatch(
            model,
            database=database,
            default_model=settings.model,
            clock=clock,
            on_recovery=self._model_gate.retry,
        )

    @property
    def running(self) -> int:
        """Conversations at work now."""
        return self._worker.running

    @property
    def blocked(self) -> dict[str, str]:
        """By business: why its model cannot be asked, in our words; gone once it answers again."""
        return self._model_gate.reasons

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
        self._tasks = tasks
        self._watching = tasks.create_task(self.model_watch.run(), name="model watch")
        self._worker.start(tasks)

    async def stop(self, grace_s: float) -> None:
        await self._worker.stop(grace_s)
        started = () if self._watching is None else (self._watching,)  # a start may have failed
        await cancel_and_wait([*started, *self._read_marks])

    async def _process_next(self, conversation_id: int, business_id: str) -> RetryDelay:
        may_ask = self._model_gate.enter(business_id, conversation_id)
        try:
            if not await self._may_begin(business_id, is_first=may_ask):
                self._model_gate.wait(business_id, conversation_id)
                return None
            may_ask = self._model_gate.enter(business_id, conversation_id)
            begun = await self._database.write(
                lambda tx: self._begin(tx, conversation_id, may_ask=may_ask)
            )
            if isinstance(begun, Waits):
                return self._wait(conversation_id, business_id, begun.stale_in_s)
            if begun is None or isinstance(begun, float):
                return begun
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
        reason = self.model_watch.refusal_of(self._model_of(configured))
        if reason is not None:
            self._model_gate.block(business_id, Block(reason, self._model_of(configured)))
        return True

    def _wait(self, conversation_id: int, business_id: str, seconds: float) -> RetryDelay:
        """Wait at the gate, or so many seconds: then the message is stale, and is asked about."""
        if self._model_gate.enter(business_id, conversation_id):  # it has opened meanwhile
            return 0
        self._model_gate.wait(business_id, conversation_id)
        return max(seconds, STALE_MARGIN_S)

    def _begin(self, tx: Tx, conversation_id: int, *, may_ask: bool) -> Begun | Waits | RetryDelay:
        message = messages.next_of(tx, conversation_id)
        if message is None:
            return None
        now = self._clock.now()
        if message.not_before is not None and from_text(message.not_before) > now:
            return (from_text(message.not_before) - now).total_seconds()
        raw = json.loads(message.content or "{}")
        content = content_of(raw)
        how = handling_of(content, raw.get("group_id"))
        decisions = answers.decisions_in(tx, message)
        staleness = self._staleness(message, now)
        moved_money = journal.moved_money(tx, message.message_id)
        is_due = isinstance(how, triage.Answer) and staleness is Staleness.FRESH
        stops = is_due and answers.stop_in(tx, message, to_text(now))
        asks = is_due and not decisions and not stops
        if asks and not (may_ask or moved_money or _has_steps(tx, message)):
            return Waits(self._stale_in_s(message, now))
        is_silent = isinstance(how, triage.Silence) or staleness is Staleness.EXPIRED
        shows_reading = not (is_silent or message.is_marked_read)
        return Begun(
            message=message,
            claim=journal.claim_conversation(
                tx,
                conversation_id,
                message.message_id,
                to_text(now),
                is_marked_read=shows_reading,
            ),
            customer_id=customers.required_of(tx, conversation_id),
            moved_money=moved_money,
            has_decided=journal.has_decided(tx, message.message_id),
            content=content,
            context=context_of(raw),
            handling=how,
            stops=stops,
            quotation=quoted_in(tx, message),
            decisions=decisions,
            staleness=staleness,
            came_fresh=self._staleness(message, from_text(message.received_at)) is Staleness.FRESH,
            is_late=messages.note_lateness(tx, message),
            shows_reading=shows_reading,
        )

    def _staleness(self, message: messages.StoredMessage, now: datetime) -> Staleness:
        # A yes to going on with an old message asks for it anew.
        asked_for_at = message.taken_up_at or message.sent_at
        return staleness_of(
            from_text(asked_for_at) if asked_for_at else None,
            from_text(message.received_at),
            now,
            self._settings.stale_after,
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
                self._mark_read(configured.credentials, begun)
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
            model=self.model_watch,
            default_model=self._settings.model,
            stale_after_s=self._settings.stale_after,
            clock=self._clock,
            is_stopping=lambda: self._worker.is_stopping,
            are_books_right=self._are_books_right,
            notify_outbound=self._notify_outbound,
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
        if _asked_wait_s(error) is not None and self._age_s(begun) < ASKED_WAIT_MAX_S:
            self._log_retry(begun, wait_s, reason)
            return await self._release(begun, TurnOutcome.RETRY, reason, wait_s=wait_s)
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

    def _wait_s(self, begun: Begun, error: Exception) -> float:
        attempts, jitter = begun.claim.failures + 1, random.random()  # noqa: S311  no secret
        asked_s = _asked_wait_s(error)
        if asked_s is None:
            return TURN_BACKOFF.wait_s(attempts, jitter)
        longest_s = self._settings.turn_timeout
        return TURN_BACKOFF.asked_wait_s(attempts, min(asked_s, longest_s), jitter)

    def _age_s(self, begun: Begun) -> float:
        """Seconds since this revision of the message was first claimed."""
        return (self._clock.now() - from_text(begun.claim.first_began_at)).total_seconds()

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
        business_id, conversation_id = begun.message.business_id, begun.message.conversation_id
        words = begun.message.words
        reason = redacted(str(error), secrets=self._secrets, messages=words)
        self._log.error("turn.blocked", message_id=begun.message.message_id, error=reason)
        if configured is None:
            self._hold_business(business_id, error)
        else:
            self._model_gate.block(business_id, Block(error.own_words, self._model_of(configured)))
        await self._release(begun, TurnOutcome.BLOCKED, reason, wait_s=0)
        seconds = self._stale_in_s(begun.message, self._clock.now())
        return self._wait(conversation_id, business_id, seconds)

    def _hold_business(self, business_id: str, error: BlockedError) -> None:
        reason = redacted(str(error), secrets=self._secrets)
        self._log.error("business.blocked", business=business_id, error=reason)
        self._model_gate.block(business_id, Block(error.own_words, None))

    def _open_gate(self, configured: Configured | None) -> None:
        """The model answered, if only with an error: unless it is blocked, all may go on."""
        if configured is None:
            return
        if self.model_watch.refusal_of(self._model_of(configured)) is None:
            self._model_gate.open(configured.business.id)

    def _model_of(self, configured: Configured) -> str:
        return configured.business.model or self._settings.model

    def _stale_in_s(self, message: messages.StoredMessage, now: datetime) -> float:
        age_s = (now - _asked_for_at(message)).total_seconds()
        return self._settings.stale_after - age_s

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

    def _mark_read(self, credentials: PhoneNumberCredentials, begun: Begun) -> None:
        # Unjournaled and unwaited for: it is a courtesy, and must never cost the reply a second.
        if len(self._read_marks) < READ_MARKS_UNDER_WAY_MAX:
            task = self._tasks.create_task(
                self._send_read_mark(credentials, begun), name="read mark"
            )
            self._read_marks.add(task)
            task.add_done_callback(self._read_marks.discard)

    async def _send_read_mark(self, credentials: PhoneNumberCredentials, begun: Begun) -> None:
        message_id = begun.message.message_id
        try:
            await self._whatsapp.mark_read(credentials, message_id, is_typing=True)
        except Exception as error:  # noqa: BLE001  a courtesy must never cost more than itself
            self._log.info(
                "read_mark.failed",
                message_id=message_id,
                error=str(error),
                quotable=begun.message.words,
            )

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


def _asked_for_at(message: messages.StoredMessage) -> datetime:
    """When its customer last asked for it: by writing it, or by a yes to going on with it."""
    return from_text(message.taken_up_at or message.sent_at or message.received_at)


def _has_steps(tx: Tx, message: messages.StoredMessage) -> bool:
    return bool(journal.steps(tx, message.message_id, message.revision))


def _asked_wait_s(error: Exception) -> float | None:
    """The wait that the model endpoint asked for, if it asked for one."""
    return error.retry_after_s if isinstance(error, RetryableError) else None
