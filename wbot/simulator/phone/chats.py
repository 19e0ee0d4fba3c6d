"""What the customers' phones show: bubbles with their states, and who is typing."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from wbot.clock import Clock
from wbot.simulator.call_log import ReadMark, Send
from wbot.simulator.people import People, SimulatedBusiness, SimulatedCustomer
from wbot.simulator.webhooks.bodies import Update

BUBBLES_KEPT = 300  # in one chat
UNSEEN = frozenset({"request_welcome"})  # kinds that the sender's phone does not show
TYPING_S = 25.0  # WhatsApp hides the indicator after this long without a message

_RANKS = {"sending": 0, "sent": 1, "delivered": 2, "read": 3, "failed": 4}


class Bubble(msgspec.Struct, kw_only=True):
    """One message in a chat; `message` is in the shape of the API, `at_ms` Unix milliseconds."""

    id: str
    chat: str
    mine: bool
    """Whether the phone's owner wrote it."""
    message: dict[str, Any]
    at_ms: int
    state: str
    reason: str = ""
    reaction: str = ""


def chat_key(customer: SimulatedCustomer, business: SimulatedBusiness) -> str:
    """The page's key for the chat between these two."""
    return f"{customer.key}|{business.phone_number_id}"


class Chats:
    """The chats of the named customers; publishes each change to the pages as (event, data)."""

    def __init__(
        self, *, clock: Clock, people: People, publish: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._clock = clock
        self._people = people
        self._publish = publish
        self._bubbles: dict[str, OrderedDict[str, Bubble]] = {}
        self._typing_until: dict[str, float] = {}

    def said(
        self,
        customer: SimulatedCustomer,
        business: SimulatedBusiness,
        content: dict[str, Any],
        *,
        message_id: str,
        at: datetime,
    ) -> None:
        """A customer wrote; a reaction goes to the bubble it is about."""
        chat = chat_key(customer, business)
        if content.get("type") in UNSEEN:
            return
        if content.get("type") == "reaction":
            self._react(chat, content["reaction"])
            return
        self._put(
            customer,
            Bubble(
                id=message_id,
                chat=chat,
                mine=True,
                message=content,
                at_ms=int(at.timestamp() * 1000),
                state="sent",
            ),
        )

    def acknowledged(self, update: Update) -> None:
        """The business acknowledged a webhook: a message in it now has two ticks."""
        if update.message is not None:
            for bubbles in self._bubbles.values():
                if update.id in bubbles:
                    self._advance(bubbles[update.id], "delivered")

    def marked(self, mark: ReadMark) -> None:
        """The business read a message and all before it, and may have started to type."""
        phone_number_id = mark.business.phone_number_id
        customer = self._people.sender_of(mark.message_id, phone_number_id=phone_number_id)
        if customer not in self._people.named:
            return
        chat = chat_key(customer, mark.business)
        bubbles = self._of(chat)
        for bubble in bubbles.values() if mark.message_id in bubbles else ():
            if bubble.mine:
                self._advance(bubble, "read")
            if bubble.id == mark.message_id:
                break
        if mark.typing:
            self._typing_until[chat] = self._clock.monotonic() + TYPING_S
            self._publish("typing", {"chat": chat, "ms": int(TYPING_S * 1000)})

    def sent(self, send: Send) -> None:
        """The business sent something that may reach a named customer."""
        if send.customer is None:
            return
        chat = chat_key(send.customer, send.business)
        if send.type == "reaction":
            self._react(chat, send.payload["reaction"])
            return
        self._typing_until.pop(chat, None)
        self._put(
            send.customer,
            Bubble(
                id=send.wamid,
                chat=chat,
                mine=False,
                message=send.payload,
                at_ms=int(send.at.timestamp() * 1000),
                state="sending",
            ),
        )

    def status(self, send: Send, status: str, reason: str) -> None:
        """A status of something the business sent."""
        if send.customer is not None:
            bubbles = self._of(chat_key(send.customer, send.business))
            if send.wamid in bubbles:
                self._advance(bubbles[send.wamid], status, reason=reason)

    def snapshot(self) -> dict[str, Any]:
        """Every bubble, and the milliseconds each typing indicator still has."""
        now = self._clock.monotonic()
        left = {chat: int((until - now) * 1000) for chat, until in self._typing_until.items()}
        bubbles = [one for chat in self._bubbles.values() for one in chat.values()]
        return {
            "bubbles": [msgspec.to_builtins(bubble) for bubble in bubbles],
            "typing": {chat: ms for chat, ms in left.items() if ms > 0},
        }

    def _of(self, chat: str) -> OrderedDict[str, Bubble]:
        return self._bubbles.get(chat) or OrderedDict()

    def _put(self, customer: SimulatedCustomer, bubble: Bubble) -> None:
        if customer not in self._people.named:
            return
        bubbles = self._bubbles.setdefault(bubble.chat, OrderedDict())
        bubbles[bubble.id] = bubble
        if len(bubbles) > BUBBLES_KEPT:
            bubbles.popitem(last=False)
        self._publish("bubble", msgspec.to_builtins(bubble))

    def _advance(self, bubble: Bubble, state: str, *, reason: str = "") -> None:
        if _RANKS[state] > _RANKS[bubble.state]:
            bubble.state, bubble.reason = state, reason
            self._publish_state(bubble)

    def _react(self, chat: str, reaction: dict[str, Any]) -> None:
        bubble = self._of(chat).get(str(reaction.get("message_id")))
        if bubble is not None:
            bubble.reaction = str(reaction.get("emoji", ""))
            self._publish_state(bubble)

    def _publish_state(self, bubble: Bubble) -> None:
        fields = ("id", "chat", "state", "reason", "reaction")
        self._publish("state", {name: getattr(bubble, name) for name in fields})
