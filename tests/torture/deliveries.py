"""Webhooks under the worst conditions: repeated, concurrent, re-batched, reordered and late."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from enum import StrEnum
from random import Random
from typing import Any

import msgspec

from torture.asks import OUTSIDE_SHOP, PLACEHOLDER, Ask, Kind
from wbot.clock import Clock
from wbot.simulator.simulator import Simulator
from wbot.simulator.webhooks.bodies import Update, body_of, message_update
from wbot.simulator.webhooks.wire import to_wire

RETRY_S = (0.0, 0.05, 0.1, 0.2, 0.4)
PLACEHOLDER_S = (0.0, 0.2, 1.9, 3.5)
"""From a placeholder to its real text; after two seconds the service answers without it."""


class Way(StrEnum):
    """How one message is delivered."""

    PLAIN = "plain"
    AT_ONCE = "at once"  # three copies at the same time
    LATE = "late"  # so that the next ones overtake it
    HELD = "held"  # in one body with the next one
    HELD_TOO = "held too"  # alone, and again in one body with the next one
    AGAIN = "again"  # once more, much later, among others


WAYS = dict(zip(Way, (40, 15, 12, 12, 9, 12), strict=True))


class Said(msgspec.Struct, kw_only=True):
    """One message as its sender knows it; instants are monotonic seconds."""

    ask: Ask
    number: int
    """In the order in which everything was said."""
    sent_at_s: int
    """WhatsApp's timestamp, which has no finer unit."""
    posted_at: float | None = None
    """When it was first sent to the service."""
    acknowledged_at: float | None = None
    known_at: datetime | None = None
    """The same by the wall clock."""
    acknowledged: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    deliveries: int = 0


class Deliveries:
    """Posts each message until it is acknowledged, and some of them more often."""

    def __init__(self, simulator: Simulator, *, random: Random, clock: Clock) -> None:
        self.said: dict[str, Said] = {}
        self._simulator = simulator
        self._random = random
        self._clock = clock
        self._updates: dict[str, Update] = {}
        self._placeholders: dict[str, Update] = {}
        self._held: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def acknowledged(self) -> int:
        return sum(one.acknowledged_at is not None for one in self.said.values())

    def write(self, ask: Ask) -> str:
        """The customer has written, and delivery has not started yet; returns the message's id."""
        now = self._clock.now()
        one = Said(ask=ask, number=len(self.said), sent_at_s=int(now.timestamp()))
        self.said[ask.message_id] = one
        for updates, content in ((self._updates, ask.content()), (self._placeholders, PLACEHOLDER)):
            updates[ask.message_id] = message_update(
                OUTSIDE_SHOP, ask.customer, content, message_id=ask.message_id, sent_at=now
            )
        return ask.message_id

    def say(self, group: asyncio.TaskGroup, ask: Ask) -> None:
        """The customer has written, and delivery starts now."""
        self.write(ask)
        if ask.kind in {Kind.PLACEHOLDER, Kind.MOVED}:
            self._say_apart(group, ask)
            return
        way = self._random.choices(list(WAYS), list(WAYS.values()))[0]
        delay_s, again_s = self._random.uniform(0.2, 1.5), self._random.uniform(0.5, 15.0)
        companions, self._held = self._held, []
        match way:
            case Way.HELD:
                self._held = [*companions, ask.message_id]
            case Way.HELD_TOO:
                self._begin(group, [*companions, ask.message_id])
                self._held = [ask.message_id]
            case Way.AT_ONCE:
                for _ in range(3):
                    self._begin(group, [*companions, ask.message_id])
            case Way.LATE:
                self._begin(group, [*companions, ask.message_id], delay_s=delay_s)
            case Way.AGAIN:
                others = self._random.sample(list(self.said), min(3, len(self.said)))
                self._begin(group, [*companions, ask.message_id])
                self._begin(group, [*others, ask.message_id], delay_s=again_s)
            case Way.PLAIN:
                self._begin(group, [*companions, ask.message_id])

    def _say_apart(self, group: asyncio.TaskGroup, ask: Ask) -> None:
        """Deliver alone; held messages go first, because a change waits for them."""
        self._flush(group)
        if ask.kind is Kind.MOVED:
            self._begin(group, [ask.message_id])
        else:
            text_after_s = self._random.choice(PLACEHOLDER_S)
            again_s = self._random.uniform(0.5, 15.0)
            self._do(group, self._deliver_twofold(ask.message_id, text_after_s, again_s))

    async def finish(self, group: asyncio.TaskGroup) -> None:
        """Send the held messages, and return once no delivery is in progress."""
        self._flush(group)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _flush(self, group: asyncio.TaskGroup) -> None:
        if self._held:
            self._begin(group, self._held)
            self._held = []

    def _begin(
        self, group: asyncio.TaskGroup, message_ids: Sequence[str], *, delay_s: float = 0.0
    ) -> None:
        self._do(group, self._deliver(message_ids, delay_s))

    def _do(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, message_ids: Sequence[str], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for message_id in message_ids:
            for before in self.said[message_id].ask.after:
                await self.said[before].acknowledged.wait()
        await _insist(lambda: self.post(message_ids))

    async def _deliver_twofold(self, message_id: str, text_after_s: float, again_s: float) -> None:
        """A placeholder, the real text under the same id, and the placeholder again."""
        body = to_wire(body_of([self._placeholders[message_id]]))
        await _insist(lambda: self._post(body))
        await self._deliver([message_id], text_after_s)
        await self._deliver([message_id], 0.0)
        await asyncio.sleep(again_s)
        await _insist(lambda: self._post(body))

    async def post(self, message_ids: Sequence[str]) -> bool:
        """One delivery of these messages in one body; returns whether it was acknowledged."""
        body = to_wire(body_of([self._updates[one] for one in dict.fromkeys(message_ids)]))
        batch = [self.said[one] for one in message_ids]
        now = self._clock.monotonic()
        for one in batch:
            one.posted_at = one.posted_at or now
        is_acknowledged = await self._post(body)
        now = self._clock.monotonic()
        for one in batch:
            one.deliveries += 1
            if is_acknowledged:
                one.acknowledged_at = one.acknowledged_at or now
                one.known_at = one.known_at or self._clock.now()
                one.acknowledged.set()
        return is_acknowledged

    async def _post(self, body: bytes) -> bool:
        return (await self._simulator.deliver(body)).acknowledged


async def _insist(post: Callable[[], Awaitable[bool]]) -> None:
    tries = 0
    while not await post():
        await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
        tries += 1
