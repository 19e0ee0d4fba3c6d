"""Meta's side of webhooks: signs and posts bodies, and retries until acknowledged."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta

import aiohttp
import msgspec
from aiohttp import web

from wbot.clock import Clock, elapsed_ms, later
from wbot.domain.errors import RejectedError, RetryableError
from wbot.simulator.background import Background
from wbot.simulator.call_log import Delivery, DeliveryResult, Record
from wbot.simulator.faults.plan import Fault, Kind
from wbot.simulator.people import People
from wbot.simulator.webhooks.bodies import UPDATES_MAX, Inbound, Update, body_of, inbound_in
from wbot.simulator.webhooks.evidence import Evidence, Exchange
from wbot.simulator.webhooks.wire import SIGNATURE_HEADER, sign, to_wire

ANSWER_TIMEOUT_S = 10.0  # Meta does not publish its own; third parties name 3 to 20
DELIVERIES_AT_ONCE = 100
RETRY_PERIOD = timedelta(days=7)
ATTEMPTS_KEPT = 100  # of one delivery, in its record
FOLLOWER_WAIT_S = 1.0  # how long a reordered or rebatched update waits for the next one
MEMORY_S = 10 * 365 * 86_400.0  # an older timestamp is invalid and counts as now
CHALLENGE = "1158201444"


class _Waiting(msgspec.Struct):
    """An update held back for the one that follows it."""

    update: Update
    fault: Fault
    released: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    claimed: bool = False


class Meta:
    """Posts updates to the webhook URL, and retries each until it is answered 200."""

    def __init__(
        self,
        *,
        clock: Clock,
        app_secret: str,
        verify_token: str,
        webhook_url: str | None,
        retry_delays_s: Sequence[float],
        people: People,
        record: Record,
        evidence: Evidence,
        background: Background,
        is_subscribed: Callable[[str], bool],
    ) -> None:
        self.webhook_url = webhook_url
        self.acknowledged_listeners: list[Callable[[Update], None]] = []
        self._clock = clock
        self._app_secret = app_secret
        self._verify_token = verify_token
        self._retry_delays_s = tuple(retry_delays_s)
        self._people = people
        self._record = record
        self._evidence = evidence
        self._background = background
        self._is_subscribed = is_subscribed
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(DELIVERIES_AT_ONCE)
        self._waiting: list[_Waiting] = []
        self._held: list[Update] | None = None

    async def session_ctx(self, _app: web.Application) -> AsyncIterator[None]:
        """The cleanup context in which webhooks can be posted."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=DELIVERIES_AT_ONCE)
        headers = {"User-Agent": "facebookexternalua"}
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers
        ) as self._session:
            yield

    def post(self, update: Update, fault: Fault | None) -> None:
        """Deliver in the background, as the fault says."""
        for inbound in inbound_in(body_of([update])):
            self._note(inbound)
        if not self._is_subscribed(update.business.waba_id):
            return
        if self._held is not None:
            self._held.append(update)
            return
        fault = fault or Fault()
        if fault.kind is not Kind.SILENCE:
            self._background.start(self._deliver_with(fault, update))

    def hold(self) -> None:
        """Stop delivering: updates are queued until `release`, as in an outage at Meta."""
        self._held = self._held or []

    def release(self, *, updates_max: int = UPDATES_MAX) -> None:
        """Deliver the queued updates in order, at most `updates_max` to a body."""
        held, self._held = self._held or [], None
        for start in range(0, len(held), updates_max):
            self._background.start(self._until_acknowledged(held[start : start + updates_max]))

    async def deliver(self, body: bytes | dict[str, object]) -> DeliveryResult:
        """One signed POST, now, without faults and without a retry."""
        raw = body if isinstance(body, bytes) else to_wire(body)
        self.learn_from(raw)
        return await self._attempt(raw)

    def learn_from(self, raw: bytes) -> None:
        """Record the senders in this body, so that answers to them are delivered."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            return  # malformed bodies are delivered on purpose
        for inbound in inbound_in(body):
            self._note(inbound)

    def _note(self, inbound: Inbound) -> None:
        now = self._clock.now()
        since_s = now.timestamp() - inbound.sent_at_s
        at = later(now, -since_s) if 0 <= since_s < MEMORY_S else now
        customer = self._people.learn(inbound.customer)
        self._people.wrote(
            customer,
            phone_number_id=inbound.phone_number_id,
            message_id=inbound.message_id,
            at=at,
        )

    async def handshake(self) -> None:
        """Verify the webhook URL as Meta does when it is entered in the dashboard.

        Raises RejectedError for a wrong answer, RetryableError when it cannot be reached.
        """
        params = {
            "hub.mode": "subscribe",
            "hub.challenge": CHALLENGE,
            "hub.verify_token": self._verify_token,
        }
        try:
            async with self._client().get(self._target(), params=params) as response:
                answer = await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RetryableError(f"the webhook cannot be reached: {error}") from error
        if response.status != web.HTTPOk.status_code or answer != CHALLENGE:
            raise RejectedError(f"the webhook answered {response.status}, not the challenge")

    async def _deliver_with(self, fault: Fault, update: Update) -> None:
        await self._pause(fault.delay_s)
        if fault.kind in {Kind.REORDER, Kind.REBATCH}:
            await self._deliver_after_next(fault, update)
            return
        companions = self._claim_companions()
        waiting, self._waiting = self._waiting, []
        updates = [*companions, update]
        if fault.kind is Kind.REPEAT:
            await self._repeat(fault, updates)
        else:
            await self._until_acknowledged(updates)
        for one in waiting:
            one.released.set()

    async def _deliver_after_next(self, fault: Fault, update: Update) -> None:
        place = _Waiting(update, fault)
        self._waiting.append(place)
        if fault.copies > 1:
            await self._until_acknowledged([update])
        try:
            async with asyncio.timeout(FOLLOWER_WAIT_S):
                await place.released.wait()
        except TimeoutError:
            self._waiting = [one for one in self._waiting if one is not place]
        if not place.claimed:
            await self._until_acknowledged([update])

    def _claim_companions(self) -> list[Update]:
        companions = [one for one in self._waiting if one.fault.kind is Kind.REBATCH]
        self._waiting = [one for one in self._waiting if one not in companions]
        for one in companions:
            one.claimed = True
            one.released.set()
        return [one.update for one in companions]

    async def _repeat(self, fault: Fault, updates: list[Update]) -> None:
        if not fault.at_once:
            for _ in range(fault.copies):
                await self._until_acknowledged(updates)
            return
        async with asyncio.TaskGroup() as group:
            for _ in range(fault.copies):
                group.create_task(self._until_acknowledged(updates))

    async def _until_acknowledged(self, updates: Sequence[Update]) -> None:
        raw, started_at = to_wire(body_of(updates)), self._clock.now()
        attempts: list[DeliveryResult] = []
        for wait_s in self._waits():
            await self._pause(wait_s)
            async with self._places:
                attempts.append(await self._attempt(raw))
            self._evidence.posted(updates, attempts[-1])
            if attempts[-1].acknowledged or self._clock.now() - started_at > RETRY_PERIOD:
                break
            del attempts[:-ATTEMPTS_KEPT]
        if attempts[-1].acknowledged:
            self._notify_acknowledged(updates)
        ids = tuple(update.id for update in updates)
        delivery = Delivery(ids=ids, started_at=started_at, attempts=tuple(attempts))
        self._record.add_delivery(delivery)

    def _waits(self) -> Iterator[float]:
        yield 0.0
        yield from self._retry_delays_s
        while self._retry_delays_s:
            yield self._retry_delays_s[-1]

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)

    def _notify_acknowledged(self, updates: Sequence[Update]) -> None:
        for update in updates:
            for listener in self.acknowledged_listeners:
                listener(update)

    async def _attempt(self, raw: bytes) -> DeliveryResult:
        started = self._clock.monotonic()
        status, error = None, ""
        try:
            with self._evidence.during(Exchange.WEBHOOK):
                status = await self._post(raw)
        except (aiohttp.ClientError, RetryableError, TimeoutError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        ms = elapsed_ms(started, self._clock.monotonic())
        return DeliveryResult(status=status, ms=ms, error=error)

    async def _post(self, raw: bytes) -> int:
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(raw, self._app_secret),
        }
        target = self._target()
        async with self._client().post(
            target, data=raw, headers=headers, allow_redirects=False
        ) as response:
            await response.read()
            return response.status

    def _target(self) -> str:
        if self.webhook_url is None:
            raise RetryableError("the simulator has no webhook URL yet")
        return self.webhook_url

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the simulator is not running: start its application first")
        return self._session
