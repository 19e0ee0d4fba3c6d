"""The outbox's sender: in order within a conversation, side by side between conversations."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from wbot.clients.whatsapp import Line, WhatsApp
from wbot.clock import Clock, elapsed_ms, from_text, to_text
from wbot.domain.delivery import ReplyState
from wbot.domain.errors import HeldError, StorageError
from wbot.lanes import Lanes, LookAgain
from wbot.logs import Log
from wbot.measures import Measures
from wbot.outbound import attempt
from wbot.outbound.attempt import ACCOUNT_HELD_S, Opened, Result
from wbot.outbound.pace import Pace
from wbot.settings import Settings
from wbot.storage import outbox
from wbot.storage.database import Database
from wbot.storage.outbox import Reply

SENDS_RUNNING_MAX = 100
STORAGE_RETRY_S = 1.0


class HasLine(Protocol):
    """Whatever knows a business's way to the Cloud API."""

    @property
    def line(self) -> Line: ...


class Sender:
    """Sends what waits in the outbox; `configured` gives a business's line, from the cache."""

    def __init__(
        self,
        *,
        database: Database,
        configured: Callable[[str], Awaitable[HasLine]],
        whatsapp: WhatsApp,
        settings: Settings,
        clock: Clock,
        log: Log,
        measures: Measures,
    ) -> None:
        self.held: dict[str, str] = {}
        """By business: why its account may not send; gone once it may again."""
        self._held_until: dict[str, float] = {}
        self._unanswered_since: float | None = None
        self._database = database
        self._configured = configured
        self._whatsapp = whatsapp
        self._settings = settings
        self._clock = clock
        self._log = log
        self._measures = measures
        self._installation = ""
        self._pace = Pace()
        self._port_opened_at: datetime | None = None
        self._lanes = Lanes("sender", self._look, running_max=SENDS_RUNNING_MAX)
        self.ring = self._lanes.ring

    @property
    def unanswered_s(self) -> float:
        """Seconds since the Graph API last gave an answer of its own, while none comes; else 0."""
        if self._unanswered_since is None:
            return 0.0
        return self._clock.monotonic() - self._unanswered_since

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin; sends that a crash interrupted have an unknown outcome from now on."""
        now = to_text(self._clock.now())
        await self._database.write(lambda tx: outbox.orphan_attempts_become_unknown(tx, now))
        self._installation = await self._database.read(outbox.installation_id)
        self._lanes.start(tasks)

    def port_opened(self) -> None:
        """From now on Meta can tell us what became of a send."""
        self._port_opened_at = self._clock.now()

    async def stop(self, grace_s: float) -> None:
        await self._lanes.stop(grace_s)

    async def _look(self, conversation_id: int) -> LookAgain:
        try:
            opened = await self._database.write(lambda tx: self._open(tx, conversation_id))
            if opened is None or isinstance(opened, float):
                return opened
            result = await self._request(opened)
            await self._close(opened, result)
        except StorageError as error:
            self._log.error("storage.failed", conversation=conversation_id, error=str(error))
            return STORAGE_RETRY_S
        return 0

    def _open(self, tx: sqlite3.Connection, conversation_id: int) -> Opened | LookAgain:
        reply = outbox.next_of(tx, conversation_id)
        if reply is None:
            return None
        if (wait_s := self._wait_s(reply)) > 0:
            return wait_s
        wait_s = self._pace.wait_s(
            reply.business_id,
            conversation_id,
            rate=reply.throughput,
            now=self._clock.monotonic(),
        )
        if wait_s > 0:
            return wait_s
        now = to_text(self._clock.now())
        if reply.state is ReplyState.UNKNOWN and reply.attempts >= self._settings.max_attempts:
            attempt.give_up(tx, reply, "Nobody could say whether the reply was sent.", now)
            return 0.0
        attempt_id = outbox.open_attempt(tx, reply.id, now)
        if attempt_id is None:
            return None
        if reply.business_id in self.held:  # one reply at a time finds out whether it is mended
            self._held_until[reply.business_id] = self._clock.monotonic() + ACCOUNT_HELD_S
        return Opened(reply, attempt_id, outbox.opaque_of(self._installation, attempt_id))

    def _wait_s(self, reply: Reply) -> float:
        now = self._clock.now()
        waits = [self._held_until.get(reply.business_id, 0.0) - self._clock.monotonic()]
        if reply.not_before is not None:
            waits.append((from_text(reply.not_before) - now).total_seconds())
        if reply.state is ReplyState.UNKNOWN and reply.unknown_at is not None:
            # Only while our port is open can a status settle it, so only that time counts.
            since = max(from_text(reply.unknown_at), self._port_opened_at or now)
            waits.append(self._settings.unknown_grace - (now - since).total_seconds())
        return max(0.0, *waits)

    async def _request(self, opened: Opened) -> Result:
        started = self._clock.monotonic()
        try:
            configured = await self._configured(opened.reply.business_id)
        except HeldError as error:
            return Result(outcome="not_sent", detail=str(error))
        result = await attempt.request(self._whatsapp, configured.line, opened)
        send_ms = elapsed_ms(started, self._clock.monotonic())
        self._measures.replies.labels(result.outcome).inc()
        self._measures.send_ms.observe(send_ms)
        report = self._log.info if result.outcome == "accepted" else self._log.warning
        report(
            "reply.sent" if result.outcome == "accepted" else "reply.not_sent",
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
        business_id = opened.reply.business_id
        now = self._clock.now()
        attempts_max = self._settings.max_attempts
        await self._database.write(
            lambda tx: attempt.close(tx, opened, result, now=now, attempts_max=attempts_max)
        )
        if result.outcome in {"accepted", "refused"}:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = self._clock.monotonic()
        if result.is_account_failure:
            self.held[business_id] = f"{result.detail} (code {result.code})"
            self._held_until[business_id] = self._clock.monotonic() + ACCOUNT_HELD_S
        elif result.outcome == "accepted":
            self.held.pop(business_id, None)
            self._held_until.pop(business_id, None)
