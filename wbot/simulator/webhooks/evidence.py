"""What the simulator observes of each customer's message, and its calls in progress."""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from wbot.simulator.call_log import DeliveryResult
from wbot.simulator.people import SimulatedCustomer
from wbot.simulator.webhooks.bodies import Update

SEEN_KEPT = 500  # messages; the oldest is forgotten first


class Exchange(StrEnum):
    """One kind of call between the service and its outside."""

    MODEL = "model"
    SEND = "send"
    WEBHOOK = "webhook"


class Seen(msgspec.Struct, kw_only=True):
    """One message of a customer, with its counted deliveries."""

    id: str
    customer: str
    type: str
    words: str
    """What was written or tapped; empty for a message without text."""
    at: datetime
    delivered: int = 0
    """Deliveries that the service answered 200."""
    unanswered: int = 0
    """Deliveries that it did not, because it was down or refused."""


class Evidence:
    """Counts deliveries by message, and the calls in progress by kind."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._under_way: Counter[Exchange] = Counter()

    @property
    def messages(self) -> tuple[Seen, ...]:
        """Oldest first."""
        return tuple(self._seen.values())

    @property
    def under_way(self) -> Exchange | None:
        """The call that a kill would interrupt now; of several, the most important."""
        return next((kind for kind in Exchange if self._under_way[kind] > 0), None)

    def said(
        self, customer: SimulatedCustomer, content: dict[str, Any], *, message_id: str, at: datetime
    ) -> None:
        """A customer sent a message; its deliveries follow."""
        self._seen[message_id] = Seen(
            id=message_id,
            customer=customer.name,
            type=str(content.get("type", "")),
            words=_words(content),
            at=at,
        )
        if len(self._seen) > SEEN_KEPT:
            self._seen.popitem(last=False)

    def posted(self, updates: Sequence[Update], result: DeliveryResult) -> None:
        """Record one POST of a webhook with these updates, and its answer."""
        for update in updates:
            seen = self._seen.get(update.id) if update.message else None
            if seen is not None and result.acknowledged:
                seen.delivered += 1
            elif seen is not None:
                seen.unanswered += 1

    @contextmanager
    def during(self, kind: Exchange) -> Iterator[None]:
        """A call of this kind is in progress until the block ends."""
        self._under_way[kind] += 1
        try:
            yield
        finally:
            self._under_way[kind] -= 1


def _words(content: dict[str, Any]) -> str:
    body = content.get(str(content.get("type")))
    if not isinstance(body, dict):
        return ""
    reply = body.get("button_reply") or body.get("list_reply") or {}
    return str(body.get("body") or reply.get("title") or body.get("caption") or "")
