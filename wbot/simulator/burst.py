"""A burst of customers' messages: how fast they are acknowledged, and whether each is answered."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from wbot.clock import Clock, elapsed_ms
from wbot.simulator.call_log import Send
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.simulator import Simulator
from wbot.simulator.webhooks.bodies import body_of, message_update
from wbot.simulator.webhooks.wire import SIGNATURE_HEADER, sign, to_wire

ANSWER_TIMEOUT_S = 30.0  # for one acknowledgement
REPLY_TIMEOUT_S = 60.0  # for the last reply, counted from the last acknowledgement
SETTLE_S = 2.0  # how long to wait for surplus replies after the last expected one
CONNECTIONS_MAX = 200
FIRST_PHONE = 15550200000

_TAG = re.compile(r"burst ([0-9a-f]+) (\d+)\.(\d+)")


class Times(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds, None where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class BurstReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `wbot burst` prints; None where a figure could not be observed."""

    sent: int
    acknowledged: int
    replied: int | None
    duplicate_replies: int | None
    out_of_order: int | None
    errors: int
    ack_ms: Times
    reply_ms: Times | None

    def to_dict(self) -> dict[str, Any]:
        """The names that contract.md fixes."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


class Reply(msgspec.Struct, frozen=True):
    """One reply seen; `number` is the message it answers, None if its text does not say."""

    number: int | None
    at: float


async def burst(
    *,
    target_url: str,
    app_secret: str,
    phone_number_id: str,
    users: int,
    messages: int,
    clock: Clock,
    simulator: Simulator | None = None,
    reply_timeout_s: float = REPLY_TIMEOUT_S,
    on_progress: Callable[[], None] = lambda: None,
) -> BurstReport:
    """Send each user's messages one after another, all users at the same time.

    Replies are seen only when the target sends them through this simulator. During the burst
    its chat endpoint repeats the customer's text, so that each reply shows which message it
    answers; a target that uses another model is judged only by the number of its replies.
    `on_progress` is called once for every message sent.
    """
    run = _Run(
        clock=clock,
        target_url=target_url,
        app_secret=app_secret,
        business=_business(simulator, phone_number_id),
        users=users,
        messages=messages,
        simulator=simulator,
        on_progress=on_progress,
    )
    if simulator is None:
        await run.send_all()
        return run.report(replies_seen=False)
    responder, simulator.responder = simulator.responder, _echo
    stop_listening = simulator.on_send(run.saw)
    try:
        await run.send_all()
        await run.wait_for_replies(reply_timeout_s)
    finally:
        stop_listening()
        simulator.responder = responder
    return run.report(replies_seen=True)


class _Run:
    def __init__(
        self,
        *,
        clock: Clock,
        target_url: str,
        app_secret: str,
        business: SimulatedBusiness,
        users: int,
        messages: int,
        simulator: Simulator | None,
        on_progress: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._target_url = target_url
        self._app_secret = app_secret
        self._business = business
        self._messages = messages
        self._simulator = simulator
        self._on_progress = on_progress
        self._name = f"{int(clock.now().timestamp() * 1000):x}"
        self._customers = [
            SimulatedCustomer(f"User {user}", str(FIRST_PHONE + user), f"US.{FIRST_PHONE + user}")
            for user in range(users)
        ]
        self._user_of = {customer.key: user for user, customer in enumerate(self._customers)}
        self._started: dict[tuple[int, int], float] = {}
        self._replies: dict[int, list[Reply]] = {user: [] for user in range(users)}
        self._answered_numbers: set[tuple[int, int]] = set()
        self._unnumbered = 0
        self._ack_ms: list[float] = []
        self._errors = 0

    async def send_all(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for user in range(len(self._customers)):
                group.create_task(self._send_of(user, session))

    async def wait_for_replies(self, timeout_s: float) -> None:
        """Until as many replies came as messages were acknowledged, and a little longer."""
        if self._simulator is None:
            return
        try:
            await self._simulator.until(self._is_answered, timeout_s=timeout_s)
            await self._simulator.wait_until_quiet(timeout_s=SETTLE_S)
        except TimeoutError:
            return  # the report says what is missing

    def saw(self, send: Send) -> None:
        user = self._user_of.get(send.recipient)
        if user is None:
            return
        tag = _TAG.search(send.text)
        ours = tag is not None and (tag[1], int(tag[2])) == (self._name, user)
        number = int(tag[3]) if tag is not None and ours else None
        self._replies[user].append(Reply(number, self._clock.monotonic()))
        if number is None:
            self._unnumbered += 1
        else:
            self._answered_numbers.add((user, number))

    def report(self, *, replies_seen: bool) -> BurstReport:
        replied, reply_ms = self._answered() if replies_seen else (None, None)
        counts = [judge(replies, messages=self._messages) for replies in self._replies.values()]
        return BurstReport(
            sent=len(self._started),
            acknowledged=len(self._ack_ms),
            replied=replied,
            duplicate_replies=sum(one[0] for one in counts) if replies_seen else None,
            out_of_order=sum(one[1] for one in counts) if replies_seen else None,
            errors=self._errors,
            ack_ms=times_of(self._ack_ms),
            reply_ms=reply_ms,
        )

    async def _send_of(self, user: int, session: aiohttp.ClientSession) -> None:
        for number in range(self._messages):
            raw = self._body(user, number)
            if self._simulator is not None:
                self._simulator.learn_from(raw)
            self._started[user, number] = started = self._clock.monotonic()
            if await self._is_acknowledged(raw, session):
                self._ack_ms.append(elapsed_ms(started, self._clock.monotonic()))
            else:
                self._errors += 1
            self._on_progress()

    async def _is_acknowledged(self, raw: bytes, session: aiohttp.ClientSession) -> bool:
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(raw, self._app_secret),
        }
        try:
            async with session.post(self._target_url, data=raw, headers=headers) as response:
                await response.read()
                return response.status == web.HTTPOk.status_code
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _body(self, user: int, number: int) -> bytes:
        text = f"burst {self._name} {user}.{number}"
        update = message_update(
            self._business,
            self._customers[user],
            {"type": "text", "text": {"body": text}},
            message_id=f"wamid.burst-{self._name}-{user}-{number}",
            sent_at=self._clock.now(),
        )
        return to_wire(body_of([update]))

    def _is_answered(self) -> bool:
        return len(self._answered_numbers) + self._unnumbered >= len(self._ack_ms)

    def _answered(self) -> tuple[int, Times]:
        waits = [
            elapsed_ms(self._started[user, number], at)
            for user, replies in self._replies.items()
            for number, at in first_replies(replies, messages=self._messages).items()
        ]
        return len(waits), times_of(waits)


def first_replies(replies: Sequence[Reply], *, messages: int) -> dict[int, float]:
    """When each message of a user was first answered; unnumbered replies fill the gaps in order."""
    firsts: dict[int, float] = {}
    for reply in replies:
        if reply.number is not None and reply.number < messages:
            firsts.setdefault(reply.number, reply.at)
    gaps = iter([number for number in range(messages) if number not in firsts])
    unnumbered = [reply.at for reply in replies if reply.number is None]
    return firsts | dict(zip(gaps, unnumbered, strict=False))


def judge(replies: Sequence[Reply], *, messages: int) -> tuple[int, int]:
    """Of one user's replies: the number of duplicates, and of first replies out of order."""
    duplicates = len(replies) - len(first_replies(replies, messages=messages))
    seen: set[int] = set()
    late = 0
    for reply in replies:
        if reply.number is not None and reply.number not in seen:
            late += bool(seen) and reply.number < max(seen)
            seen.add(reply.number)
    return duplicates, late


def times_of(values: Sequence[float]) -> Times:
    """Nearest-rank percentiles."""
    if not values:
        return Times(None, None, None, None)
    ordered = sorted(values)

    def at(percent: int) -> float:
        return ordered[-(-len(ordered) * percent // 100) - 1]

    return Times(at(50), at(95), at(99), ordered[-1])


def _business(simulator: Simulator | None, phone_number_id: str) -> SimulatedBusiness:
    if simulator is not None:
        return simulator.business(phone_number_id)
    return SimulatedBusiness(phone_number_id, "0", "15550100000", "Burst")


def _echo(request: dict[str, Any]) -> str:
    texts = [one["content"] for one in request["messages"] if one["role"] == "user"]
    return f"You wrote: {texts[-1]}"
