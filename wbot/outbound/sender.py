"""The outbox's sender: in order within a conversation, concurrently between conversations."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from wbot.clients.whatsapp import PhoneNumberCredentials, WhatsApp
from wbot.clock import Clock, elapsed_ms, from_text, to_text
from wbot.domain.delivery import Verdict
from wbot.domain.errors import BlockedError, StorageError
from wbot.domain.states import ReplyState, SendOutcome
from wbot.keyed_worker import KeyedWorker, RetryDelay
from wbot.logs import Log
from wbot.metrics import Metrics
from wbot.outbound import attempt
from wbot.outbound.accounts import UNANSWERED, Accounts
from wbot.outbound.attempt import Opened, Result
from wbot.outbound.rate_limit import RateLimiter
from wbot.settings import Settings
from wbot.storage import outbox
from wbot.storage.database import Database
from wbot.storage.outbox import Reply, StateChange
from wbot.storage.tx import Tx

SENDS_RUNNING_MAX = 1_000
STORAGE_RETRY_S = 1.0
_ANSWERED = frozenset({SendOutcome.ACCEPTED, SendOutcome.REFUSED})


class HasCredentials(Protocol):
    """A configuration with a business's credentials for the Cloud API."""

    @property
    def credentials(self) -> PhoneNumberCredentials: ...


class Sender:
    """Sends what waits in the outbox; `configured` gives a business's cached credentials."""

    def __init__(
        self,
        *,
        database: Database,
        configured: Callable[[str], Awaitable[HasCredentials]],
        whatsapp: WhatsApp,
        settings: Settings,
        secrets: Collection[str],
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.accounts = Accounts(clock=clock, log=log)
        self.note_status = self.accounts.note_status
        self.failing = self.accounts.failing
        self._database = database
        self._configured = configured
        self._whatsapp = whatsapp
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._installation = ""
        self._rate_limiter = RateLimiter()
        self._listening_since: float | None = None
        """Since when Meta can report what became of a send; None: it cannot."""
        self._unknown_since: dict[int, float] = {}
        """By conversation: since when the outcome of its oldest open reply is unknown."""
        self._worker = KeyedWorker("sender", self._process_next, running_max=SENDS_RUNNING_MAX)
        self.notify = self._worker.notify

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin; sends that a crash interrupted have an unknown outcome from now on."""
        now = to_text(self._clock.now())
        await self._database.write(lambda tx: outbox.orphan_attempts_become_unknown(tx, now))
        self._installation = await self._database.read(outbox.installation_id)
        self._worker.start(tasks)

    def port_opened(self) -> None:
        """From now on Meta can report what became of a send."""
        self._listening_since = self._clock.monotonic()

    def port_closes(self) -> None:
        """From now on webhooks are refused: no status can settle a send of unknown outcome."""
        self._listening_since = None

    def share_among(self, businesses: int) -> None:
        """From now on so many businesses share the slots."""
        self._worker.groups = businesses

    async def stop(self, grace_s: float) -> None:
        await self._worker.stop(grace_s)

    async def _process_next(self, conversation_id: int, business_id: str) -> RetryDelay:
        if (
            blocked_s := self.accounts.blocked_s(business_id)
        ) > 0:  # without a read for each of many
            return blocked_s
        try:
            reply = await self._database.read(lambda tx: outbox.next_of(tx, conversation_id))
            if reply is None:
                self._unknown_since.pop(conversation_id, None)
                return None
            opened = await self._open(reply)
            if not isinstance(opened, Opened):
                return opened
            result = await self._request(opened)
            await self._close(opened, result)
        except StorageError as error:
            self._log.error("storage.failed", conversation=conversation_id, error=str(error))
            return STORAGE_RETRY_S
        return 0

    async def _open(self, reply: Reply) -> Opened | RetryDelay:
        """Open an attempt if it is time for one; only one worker handles a conversation."""
        now = to_text(self._clock.now())
        if reply.state is ReplyState.SENDING:  # its own attempt, whose end was not stored
            await self._database.write(lambda tx: outbox.interrupted(tx, reply.id, now))
            self._unknown_since[reply.conversation_id] = self._clock.monotonic()
            return self._settings.unknown_grace
        if (wait_s := self._wait_s(reply) or self._rate_wait_s(reply)) > 0:
            return wait_s
        if reply.state is ReplyState.UNKNOWN and reply.attempts >= self._settings.max_attempts:
            reason = "It is unknown whether the reply was sent."
            await self._database.write(lambda tx: outbox.give_up(tx, reply, reason, now))
            return 0
        decided_at = self._clock.monotonic()
        self.accounts.begin(reply.business_id, decided_at)

        def open_(tx: Tx) -> int | None:
            # The grace does not count after a failed transaction, even one just before this.
            is_sure = self._database.failed_at <= decided_at
            return outbox.open_attempt(tx, reply.id, now) if is_sure else None

        attempt_id = await self._database.write(open_)
        if attempt_id is None:  # or a status has settled it meanwhile
            return 0
        self._unknown_since.pop(reply.conversation_id, None)
        return Opened(reply, attempt_id, outbox.opaque_of(self._installation, attempt_id))

    def _rate_wait_s(self, reply: Reply) -> float:
        return self._rate_limiter.wait_s(
            reply.business_id,
            reply.conversation_id,
            rate=reply.throughput,
            now=self._clock.monotonic(),
        )

    def _wait_s(self, reply: Reply) -> float:
        now = self._clock.monotonic()
        waits = [self.accounts.blocked_s(reply.business_id)]
        if reply.not_before is not None:
            not_before = from_text(reply.not_before)
            waits.append((not_before - self._clock.now()).total_seconds())
        if reply.state is ReplyState.UNKNOWN:
            # A status can settle it only while we accept webhooks, so only that time counts, by the
            # monotonic clock, because the other one may step.
            listening_since = now if self._listening_since is None else self._listening_since
            unknown_since = self._unknown_since.get(reply.conversation_id, listening_since)
            since = max(listening_since, self._database.failed_at, unknown_since)
            waits.append(self._settings.unknown_grace - (now - since))
        return max(0.0, *waits)

    async def _request(self, opened: Opened) -> Result:
        started = self._clock.monotonic()
        try:
            configured = await self._configured(opened.reply.business_id)
            result = await attempt.request(
                self._whatsapp, configured.credentials, opened, secrets=self._secrets
            )
        except BlockedError as error:
            result = Result(
                outcome=SendOutcome.NOT_SENT,
                detail=str(error),
                own_words=error.own_words,
                verdict=Verdict.ACCOUNT,
            )
        except StorageError as error:
            result = Result(outcome=SendOutcome.NOT_SENT, detail=str(error))
        except Exception as error:  # noqa: BLE001  the attempt boundary: any failure closes it
            words = opened.reply.words
            self._log.error(
                "attempt.crashed", outbox_id=opened.reply.id, exc_info=error, quotable=words
            )
            result = Result(
                outcome=SendOutcome.UNKNOWN, detail=f"The send crashed: {type(error).__name__}."
            )
        send_ms = elapsed_ms(started, self._clock.monotonic())
        self._metrics.replies.labels(result.outcome).inc()
        self._metrics.send_ms.observe(send_ms)
        report = self._log.info if result.outcome is SendOutcome.ACCEPTED else self._log.warning
        report(
            "reply.sent" if result.outcome is SendOutcome.ACCEPTED else "reply.not_sent",
            message_id=opened.reply.message_id,
            business=opened.reply.business_id,
            outbox_id=opened.reply.id,
            send_ms=send_ms,
            outcome=result.outcome,
            code=result.code,
            error=result.detail,
        )
        return result

    async def _close(self, opened: Opened, result: Result) -> None:
        is_accepted = result.outcome is SendOutcome.ACCEPTED
        if is_accepted:  # before the statuses that came earlier, which know more
            self._note_account(opened.reply, result)
        await self._record(opened, result)
        if not is_accepted:
            self._note_account(opened.reply, result)
        if result.outcome is SendOutcome.UNKNOWN:
            self._unknown_since[opened.reply.conversation_id] = self._clock.monotonic()

    def _note_account(self, reply: Reply, result: Result) -> None:
        business_id = reply.business_id
        if result.verdict is Verdict.ACCOUNT:
            self.accounts.refused(business_id, result.own_words)
        elif result.outcome not in _ANSWERED:
            self.accounts.failed(business_id, UNANSWERED)
        elif result.verdict in {Verdict.RETRY, Verdict.UNSURE}:
            self.accounts.failed(business_id, result.own_words)
        else:
            is_accepted = result.outcome is SendOutcome.ACCEPTED
            self.accounts.answered(business_id, reply.id, accepted=is_accepted)

    async def _record(self, opened: Opened, result: Result) -> None:
        """Store the result, however long that takes: until then the reply counts as being sent."""
        now = self._clock.now()
        while True:
            try:
                state_changes = await self._database.write(
                    lambda tx: attempt.close(tx, opened, result, now=now)
                )
            except StorageError as error:
                self._log.error("storage.failed", outbox_id=opened.reply.id, error=str(error))
                await self._clock.sleep(STORAGE_RETRY_S)
            else:
                return self._report_early(state_changes)

    def _report_early(self, state_changes: list[StateChange]) -> None:
        """Statuses that came before the answer of their send count now."""
        for change in state_changes:
            self.note_status(change)
            if change.after is not ReplyState.ACCEPTED:
                self._metrics.statuses.labels(change.after).inc()
                self._log.info(
                    "reply.status",
                    message_id=change.message_id,
                    outbox_id=change.outbox_id,
                    status=change.after,
                    error=change.errors,
                )
