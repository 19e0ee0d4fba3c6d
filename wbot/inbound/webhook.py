"""The webhook's two routes: Meta's handshake, and the POST that is answered 200 once on disk."""

import asyncio
import hmac
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from wbot.clock import Clock, elapsed_ms
from wbot.domain.errors import MalformedError, StorageError
from wbot.inbound.intake import KEPT_NAME_MAX, Recorded, record
from wbot.inbound.payload import Payload, parse_payload
from wbot.inbound.signature import is_valid
from wbot.logs import Log, shortened
from wbot.measures import Measures
from wbot.settings import Settings
from wbot.storage import outbox
from wbot.storage.database import Database

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Meta sends up to 3 MB; aiohttp's own limit of 1 MiB would refuse that for days."""

PARSED_AT_ONCE_BYTES_MAX = 128 * 1024
"""A larger body is parsed in a thread: it takes milliseconds that other webhooks would wait."""
BODY_TIMEOUT_S = 20.0
"""Seconds for the whole body: a sender that drips bytes does not hold a connection for ever."""


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
    """Takes Meta's webhooks; `ring_conversation` and `ring_sender` are the next stages' bells."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        clock: Clock,
        log: Log,
        measures: Measures,
        ring_conversation: Callable[[int, str], None],
        ring_sender: Callable[[int, str], None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._log = log
        self._measures = measures
        self._ring_conversation = ring_conversation
        self._ring_sender = ring_sender
        self._installation = ""
        self._is_stopping = False

    async def start(self) -> None:
        self._installation = await self._database.read(outbox.installation_id)

    def stop(self) -> None:
        """From now on Meta keeps what it has: every POST is answered 503."""
        self._is_stopping = True

    async def shake_hands(self, request: web.Request) -> web.Response:
        """GET: the bare challenge to whoever knows the verify token."""
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
            status, text, recorded = await self._take(request, timing)
        except web.HTTPRequestEntityTooLarge:
            status, text = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is over 4 MiB."
        except TimeoutError:
            status, text = HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time."
        self._report(recorded, timing, status)
        return web.Response(status=status, text=f"{text}\n")

    async def _take(
        self, request: web.Request, timing: _Timing
    ) -> tuple[HTTPStatus, str, Recorded]:
        if self._is_stopping:
            return HTTPStatus.SERVICE_UNAVAILABLE, "The service is stopping.", Recorded()
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
        signature = request.headers.get("X-Hub-Signature-256")
        is_signed = is_valid(body, signature, self._settings.app_secret)
        timing.mark("verify_ms")
        if not is_signed:
            return HTTPStatus.UNAUTHORIZED, "The signature is missing or wrong.", Recorded()
        try:
            payload = await self._parse(body)
        except MalformedError as error:
            return HTTPStatus.BAD_REQUEST, f"The body is {error}.", Recorded()
        finally:
            timing.mark("parse_ms")
        try:
            recorded = await self._store(payload, body)
        except StorageError as error:
            self._log.error("storage.failed", error=str(error))
            return HTTPStatus.SERVICE_UNAVAILABLE, "The webhook cannot be stored now.", Recorded()
        except Exception as error:  # noqa: BLE001  what is not on disk is an honest 503, not a 500
            self._log.error("intake.broke", exc_info=error)
            return HTTPStatus.SERVICE_UNAVAILABLE, "The webhook cannot be stored now.", Recorded()
        finally:
            timing.mark("store_ms")
        self._tell(payload, recorded)
        return HTTPStatus.OK, "ok", recorded

    async def _parse(self, body: bytes) -> Payload:
        if len(body) <= PARSED_AT_ONCE_BYTES_MAX:
            return parse_payload(body)
        return await asyncio.to_thread(parse_payload, body)

    async def _store(self, payload: Payload, body: bytes) -> Recorded:
        now, installation = self._clock.now(), self._installation
        recorded = await self._database.write(
            lambda tx: record(tx, payload, body=body, now=now, installation=installation)
        )
        for message in recorded.accepted:
            if message.conversation_id is not None and message.business_id is not None:
                self._ring_conversation(message.conversation_id, message.business_id)
        for change in recorded.raised:
            if change.is_newly_settled:
                self._ring_sender(change.conversation_id, change.business_id)
        return recorded

    def _tell(self, payload: Payload, recorded: Recorded) -> None:
        if recorded.tests:
            self._log.info("webhook.tested", messages=recorded.tests)
        for notice in payload.notices:
            self._log.info(
                "webhook.kept",
                field=notice.field[:KEPT_NAME_MAX],
                notice=(notice.event or "")[:KEPT_NAME_MAX],
                reason=notice.reason,
                phone_number_id=notice.phone_number_id,
            )
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
                self._measures.count_ended("silent")
                self._measures.unknown_numbers.inc(message.reason == "unknown_number")
                self._log.error(
                    "message.unroutable", message_id=message.message_id, reason=message.reason
                )
            if message.warning is not None:
                self._log.warning(
                    "customer.ambiguous", message_id=message.message_id, warning=message.warning
                )
        for change in recorded.raised:
            self._measures.statuses.labels(change.after).inc()
            self._log.info(
                "reply.status",
                message_id=change.message_id,
                outbox_id=change.outbox_id,
                status=change.after,
                error=change.errors,
            )

    def _report(self, recorded: Recorded, timing: _Timing, status: HTTPStatus) -> None:
        self._measures.count_duplicates(recorded.duplicates)
        self._measures.webhooks.labels(int(status)).inc()
        response_ms = timing.total_ms()
        self._measures.response_ms.observe(response_ms)
        self._measures.commit_ms.observe(timing.parts["store_ms"])
        self._log.info(
            "webhook.answered",
            response_ms=response_ms,
            **timing.parts,
            messages=len(recorded.accepted),
            duplicates=recorded.duplicates,
            statuses=recorded.statuses,
            code=int(status),
        )
