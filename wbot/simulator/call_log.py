"""A bounded log of the calls to the simulator's endpoints, for tests and reports."""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from wbot.simulator.background import Notifier
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer

SENDS_KEPT = 10_000  # the same number of attempts and of read marks
COMPLETIONS_KEPT = 2_000  # each holds a whole prompt
DELIVERIES_KEPT = 10_000


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """One message that the Graph API accepted."""

    wamid: str
    business: SimulatedBusiness
    recipient: str
    """Digits of a phone number, or a user id."""
    customer: SimulatedCustomer | None
    """None when no customer has that number or id; the message reaches no one."""
    payload: dict[str, Any]
    at: datetime
    opaque: str | None = None
    swallowed: bool = False
    """A user id stood in `to`: accepted, never delivered, no status ever."""

    @property
    def type(self) -> str:
        return str(self.payload.get("type", "text"))

    @property
    def text(self) -> str:
        """What the customer reads: a text, an interactive body or a caption."""
        content = self.payload.get(self.type, {})
        if self.type == "interactive":
            content = content.get("body", {})
            return str(content.get("text", ""))
        if not isinstance(content, dict):
            return ""
        return str(content.get("body", content.get("caption", "")))


class Outcome(StrEnum):
    """How one POST of a message ended for the caller."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DROPPED = "dropped"
    GARBLED = "garbled"
    SILENT = "silent"


class SendAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One POST of a message, with its outcome."""

    at: datetime
    phone_number_id: str
    payload: dict[str, Any]
    outcome: Outcome
    code: int | None = None
    """The Graph code of a refusal."""
    wamid: str | None = None
    """Set when the message was sent, even if the caller got no answer."""


class ReadMark(msgspec.Struct, frozen=True, kw_only=True):
    """One read mark that the business set, with or without the typing indicator."""

    at: datetime
    business: SimulatedBusiness
    message_id: str
    typing: bool


class DeliveryResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one POST of a webhook ended; `status` is None when no answer came."""

    status: int | None
    ms: float
    error: str = ""

    @property
    def acknowledged(self) -> bool:
        """Only 200 counts."""
        return self.status == 200  # noqa: PLR2004 - Meta names this number, no other


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook body with every attempt at it, the newest last."""

    ids: tuple[str, ...]
    """Message ids and wamids of what the body carried."""
    started_at: datetime
    attempts: tuple[DeliveryResult, ...]


class Record:
    """Everything recorded, newest last; notifies waiting tasks at each addition."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self.sends: deque[Send] = deque(maxlen=SENDS_KEPT)
        self.sends_total = 0
        self.attempts: deque[SendAttempt] = deque(maxlen=SENDS_KEPT)
        self.reads: deque[ReadMark] = deque(maxlen=SENDS_KEPT)
        self.completions: deque[dict[str, Any]] = deque(maxlen=COMPLETIONS_KEPT)
        self.deliveries: deque[Delivery] = deque(maxlen=DELIVERIES_KEPT)
        self.send_listeners: list[Callable[[Send], None]] = []
        self.read_listeners: list[Callable[[ReadMark], None]] = []

    def add_send(self, send: Send) -> None:
        self.sends.append(send)
        self.sends_total += 1
        for listener in tuple(self.send_listeners):
            listener(send)
        self._notifier.notify()

    def add_attempt(self, attempt: SendAttempt) -> None:
        self.attempts.append(attempt)
        self._notifier.notify()

    def add_read(self, mark: ReadMark) -> None:
        self.reads.append(mark)
        for listener in tuple(self.read_listeners):
            listener(mark)
        self._notifier.notify()

    def add_completion(self, request: dict[str, Any]) -> None:
        self.completions.append(request)
        self._notifier.notify()

    def add_delivery(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._notifier.notify()
