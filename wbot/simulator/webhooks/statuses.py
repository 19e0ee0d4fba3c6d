"""The statuses of an accepted send: sent, delivered, read, or failed."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from wbot.clock import Clock
from wbot.simulator.background import Background
from wbot.simulator.call_log import Send
from wbot.simulator.faults.plan import Endpoint, Faults, Kind
from wbot.simulator.people import People
from wbot.simulator.webhooks.bodies import failure_of, status_update
from wbot.simulator.webhooks.delivery import Meta

TRACKED_SENDS_MAX = 10_000  # a message older than this many sends cannot be read any more

UNDELIVERABLE = failure_of(131026, "Message undeliverable", "Message undeliverable.")
WINDOW_CLOSED = failure_of(
    131047,
    "Re-engagement message",
    "More than 24 hours have passed since the recipient last replied to the sender number.",
)
NO_SUCH_MESSAGE = failure_of(
    131009, "Parameter value is not valid", "The message that the reaction names is not there."
)

StatusListener = Callable[[Send, str, str], None]
"""Called with a send, its new status, and why it failed (empty unless it did)."""


class _TrackedSend(msgspec.Struct):
    send: Send
    delivered: bool = False
    read: bool = False
    read_wanted: bool = False


class Statuses:
    """Follows each accepted send and reports on it by webhooks.

    `delays_s` are seconds from acceptance to sent, delivered and read; a read of None waits
    for the customer's phone.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        delays_s: tuple[float, float, float | None],
        meta: Meta,
        people: People,
        faults: Faults,
        background: Background,
    ) -> None:
        self.listeners: list[StatusListener] = []
        self._clock = clock
        self._delays_s = delays_s
        self._meta = meta
        self._people = people
        self._faults = faults
        self._background = background
        self._tracked: OrderedDict[str, _TrackedSend] = OrderedDict()

    def follow(self, send: Send) -> None:
        """Report on this send from now on."""
        if send.swallowed:
            return
        self._tracked[send.wamid] = _TrackedSend(send)
        if len(self._tracked) > TRACKED_SENDS_MAX:
            self._tracked.popitem(last=False)
        self._background.start(self._report_on(self._tracked[send.wamid]))

    def read(self, wamids: Sequence[str]) -> None:
        """The customer saw these messages; each is reported once, after its delivery."""
        for wamid in wamids:
            tracked = self._tracked.get(wamid)
            if tracked is not None:
                tracked.read_wanted = True
                self._report_read(tracked)

    async def _report_on(self, tracked: _TrackedSend) -> None:
        sent_s, delivered_s, read_s = self._delays_s
        await self._pause(sent_s)
        failure = self._failure_of(tracked.send)
        if failure is not None:
            self._report(tracked.send, "failed", failure)
            return
        if not self._report(tracked.send, "sent") or tracked.send.type == "reaction":
            return
        await self._pause(delivered_s - sent_s)
        tracked.delivered = self._report(tracked.send, "delivered")
        self._report_read(tracked)
        if read_s is not None:
            await self._pause(read_s - delivered_s)
            self.read([tracked.send.wamid])

    def _report_read(self, tracked: _TrackedSend) -> None:
        if tracked.delivered and tracked.read_wanted and not tracked.read:
            tracked.read = True
            self._report(tracked.send, "read")

    def _failure_of(self, send: Send) -> dict[str, Any] | None:
        if send.customer is None:
            return UNDELIVERABLE
        phone_number_id = send.business.phone_number_id
        if send.type == "reaction":
            target = str(send.payload["reaction"]["message_id"])
            known = self._people.sender_of(target, phone_number_id=phone_number_id)
            return None if known or target in self._tracked else NO_SUCH_MESSAGE
        may = send.type == "template" or self._people.may_be_answered(
            send.customer, phone_number_id=phone_number_id, now=self._clock.now()
        )
        return None if may else WINDOW_CLOSED

    def _report(self, send: Send, status: str, failure: dict[str, Any] | None = None) -> bool:
        """Whether it succeeded; a fault may turn any status into a failure."""
        update = status_update(send, status, at=self._clock.now(), error=failure)
        fault = self._faults.next_fault(Endpoint.STATUS, update.about)
        if fault is not None and fault.kind is Kind.REFUSE:
            failure = failure_of(fault.code, fault.message, fault.message)
            update = status_update(send, "failed", at=self._clock.now(), error=failure)
        self._meta.post(update, fault)
        reason = failure["error_data"]["details"] if failure else ""
        for listener in self.listeners:
            listener(send, "failed" if failure else status, reason)
        return failure is None

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)
