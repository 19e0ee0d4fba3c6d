"""The webhook's two routes: Meta's handshake, and the POST that is answered 200 once on disk."""

import asyncio
import gc
import hmac
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import nullcontext
from functools import partial
from http import HTTPStatus

from aiohttp import web

from wbot.clock import Clock, elapsed_ms
from wbot.domain.errors import MalformedError, OversizedError, StorageError
from wbot.domain.messages import Notice
from wbot.domain.redaction import words_of_message
from wbot.domain.states import MessageState
from wbot.inbound.intake import (
    NOTICE_NAME_MAX,
    NOTICE_NAMES_MAX,
    OWN_NUMBER,
    Recorded,
    parts_of,
    record,
)
from wbot.inbound.signature import Signature
from wbot.inbound.webhook_parser import Payload, parse_payload
from wbot.ingress.bodies import received
from wbot.ingress.limits import SMALL_BODY_BYTES_MAX
from wbot.logs import Log, shortened
from wbot.metrics import Metrics
from wbot.settings import Settings
from wbot.storage import outbox
from wbot.storage.database import Database
from wbot.storage.outbox import StateChange

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Meta sends up to 3 MB; aiohttp's own limit of 1 MiB would refuse that for days."""


class _Timing:
    """Milliseconds of one request, by part, for its log line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = self._latest = clock.monotonic()
        self.parts: dict[str, float] = {"verify_ms": 0.0, "parse_ms": 0.0, "store_ms": 0.0}

    def mark(self, part: str) -> None:
        now = self._clock.monotonic()
        self.parts[part] = elapsed_ms(self._latest, now)
        self._latest = now

    def total_ms(self) -> float:
        return elapsed_ms(self._started, self._clock.monotonic())


class Webhooks:
    """Accepts Meta's webhooks; the callables wake the next stages, or tell them of a status."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        secrets: Collection[str],
        clock: Clock,
        log: Log,
        metrics: Metrics,
        notify_conversation: Callable[[int, str], None],
        notify_sender: Callable[[int, str], None],
        note_status: Callable[[StateChange], None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._notify_conversation = notify_conversation
        self._notify_sender = notify_sender
        self._note_status = note_status
        self._installation = ""
        self._is_stopping = False
        self._large_body = asyncio.Lock()
        """One large body at a time is parsed and stored, so that small ones wait less."""

    async def start(self) -> None:
        self._installation = await self._database.read(outbox.installation_id)

    def stop(self) -> None:
        """From now on every POST is answered 503, and Meta will send it again."""
        self._is_stopping = True

    async def handshake(self, request: web.Request) -> web.Response:
        """GET: the bare challenge, if the verify token is right."""
        query = request.query
        token = query.get("hub.verify_token", "")
        expected = self._settings.verify_token
        is_ours = hmac.compare_digest(token.encode("utf-8", "replace"), expected.encode())
        if query.get("hub.mode") == "subscribe" and is_ours and "hub.challenge" in query:
            self._log.info("webhook.verified")
            return web.Response(text=query["hub.challenge"])
        self._log.warning("webhook.verification_refused")
        return web.Response(status=HTTPStatus.FORBIDDEN, text="The verify token does not match.\n")

    async def receive(self, request: web.Request) -> web.Response:
        """POST: 200 only when every message and status of the body is on disk."""
        timing = _Timing(self._clock)
        recorded = Recorded()
        try:
            status, text = await self._accept(request, timing, recorded)
        except web.HTTPException as refused:
            status, text = HTTPStatus(refused.status), str(refused.text)
        self._report(recorded, timing, status)
        return web.Response(status=status, text=f"{text}\n")

    async def _accept(
        self, request: web.Request, timing: _Timing, recorded: Recorded
    ) -> tuple[HTTPStatus, str]:
        if self._is_stopping:
            return HTTPStatus.SERVICE_UNAVAILABLE, "The service is stopping."
        signature = Signature(self._settings.app_secret)
        async with received(request, bytes_max=BODY_BYTES_MAX, on_chunk=signature.update) as body:
            is_signed = signature.matches(request.headers.get("X-Hub-Signature-256"))
            timing.mark("verify_ms")
            if not is_signed:
                return HTTPStatus.UNAUTHORIZED, "The signature is missing or wrong."
            is_large = len(body) > SMALL_BODY_BYTES_MAX
            async with self._large_body if is_large else nullcontext():
                return await self._process(body, timing, recorded)

    async def _process(
        self, body: bytes, timing: _Timing, recorded: Recorded
    ) -> tuple[HTTPStatus, str]:
        payload: Payload | None = None
        try:
            payload = await self._parse(body, timing)
            await self._store(payload, body, timing, recorded)
        except OversizedError as error:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is {error}."
        except MalformedError as error:
            return HTTPStatus.BAD_REQUEST, f"The body is {error}."
        except StorageError as error:
            self._log.error("storage.failed", error=str(error))
        except Exception as error:  # noqa: BLE001  not on disk, so a 503: Meta sends it again
            parsed = payload.messages if payload else ()
            said = [words for one in parsed for words in words_of_message(one.raw)]
            self._log.error("intake.crashed", exc_info=error, quotable=said)
        else:
            return HTTPStatus.OK, "ok"
        return HTTPStatus.SERVICE_UNAVAILABLE, "The webhook cannot be stored now."

    async def _parse(self, body: bytes, timing: _Timing) -> Payload:
        try:
            if len(body) <= SMALL_BODY_BYTES_MAX:
                return parse_payload(body)
            return await asyncio.to_thread(_parse_large, body)
        finally:
            timing.mark("parse_ms")

    async def _store(
        self, payload: Payload, body: bytes, timing: _Timing, recorded: Recorded
    ) -> None:
        """Store the parts one after another: others are written in between.

        Each has its own transaction. After a failure the webhook is not answered 200, so that it
        comes again, and what is stored already is then a duplicate.
        """
        now, installation = self._clock.now(), self._installation
        try:
            for part in parts_of(payload):
                work = partial(
                    record,
                    payload=part,
                    body=body,
                    now=now,
                    installation=installation,
                    webhook_id=recorded.webhook_id,
                    secrets=self._secrets,
                )
                stored = await self._database.write(work)
                recorded.add(stored)
                self._log_stored(part, stored)
        finally:
            timing.mark("store_ms")
            self._notify(recorded)

    def _notify(self, recorded: Recorded) -> None:
        # Only after all parts: the oldest message of a body goes first, whichever part it is in.
        for message in recorded.accepted:
            if message.conversation_id is not None and message.business_id is not None:
                self._notify_conversation(message.conversation_id, message.business_id)
        for change in recorded.state_changes:
            self._note_status(change)
            if change.is_newly_settled or change.is_to_be_sent_again:
                self._notify_sender(change.conversation_id, change.business_id)

    def _log_stored(self, payload: Payload, recorded: Recorded) -> None:
        if recorded.tests:
            self._log.info("webhook.tested", messages=recorded.tests)
        if payload.notices:
            self._log_notices(payload.notices)
        for message in recorded.accepted:
            self._log.info(
                "message.accepted",
                message_id=message.message_id,
                type=message.type,
                business=message.business_id,
                conversation=message.conversation_id,
                customer=shortened(message.phone),
            )
            if message.reason is not None:
                self._metrics.count_ended(MessageState.SILENT)
                self._metrics.unknown_numbers.inc(message.reason == "unknown_number")
                report = self._log.info if message.reason == OWN_NUMBER else self._log.error
                report("message.unroutable", message_id=message.message_id, reason=message.reason)
            if not message.is_dated:  # many of them: our own clock may be wrong
                self._log.warning("message.undated", message_id=message.message_id)
            if message.warning is not None:
                self._log.warning(
                    "customer.identity_conflict",
                    message_id=message.message_id,
                    warning=message.warning,
                )
        for change in recorded.state_changes:
            self._metrics.statuses.labels(change.after).inc()
            self._log.info(
                "reply.status",
                message_id=change.message_id,
                outbox_id=change.outbox_id,
                status=change.after,
                error=change.errors,
            )

    def _log_notices(self, notices: tuple[Notice, ...]) -> None:
        """One line per kind: the sender could choose how many a body has."""
        kinds = Counter(
            (one.field, one.event or "", one.reason, one.phone_number_id) for one in notices
        )
        for (field, event, reason, phone_number_id), count in kinds.most_common(NOTICE_NAMES_MAX):
            self._log.info(
                "webhook.unhandled_part",
                field=field[:NOTICE_NAME_MAX],
                notice=event[:NOTICE_NAME_MAX],
                reason=reason,
                phone_number_id=phone_number_id,
                count=count,
            )

    def _report(self, recorded: Recorded, timing: _Timing, status: HTTPStatus) -> None:
        self._metrics.count_duplicates(recorded.duplicates)
        self._metrics.webhooks.labels(int(status)).inc()
        response_ms = timing.total_ms()
        self._metrics.response_ms.observe(response_ms)
        self._metrics.commit_ms.observe(timing.parts["store_ms"])
        self._log.info(
            "webhook.answered",
            response_ms=response_ms,
            **timing.parts,
            messages=len(recorded.accepted),
            duplicates=recorded.duplicates,
            statuses=recorded.statuses,
            code=int(status),
        )


def _parse_large(body: bytes) -> Payload:
    # While a body becomes a million objects, garbage collection would take most of the time and
    # block everything else. So a refused body's objects must be freed before it is on again.
    gc.disable()
    try:
        return parse_payload(body)
    except MalformedError as error:
        raise error.with_traceback(None) from None
    finally:
        gc.enable()
