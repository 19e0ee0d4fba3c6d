"""Client-side rate limit per business, so that the Cloud API need not refuse."""

from collections import OrderedDict

SLOTS_MAX = 50_000


class RateLimiter:
    """Gives each conversation a time slot of its business; instants are monotonic seconds."""

    def __init__(self) -> None:
        self._next_free: dict[str, float] = {}
        self._slots: OrderedDict[int, float] = OrderedDict()

    def wait_s(self, business_id: str, conversation_id: int, *, rate: int, now: float) -> float:
        """Seconds until the conversation may send, 0 when it may; asking again keeps the slot."""
        slot = self._slots.get(conversation_id)
        if slot is None:
            slot = max(now, self._next_free.get(business_id, now))
            self._next_free[business_id] = slot + 1 / rate
        if slot <= now:
            self._slots.pop(conversation_id, None)
            return 0.0
        self._slots[conversation_id] = slot
        if len(self._slots) > SLOTS_MAX:  # the oldest was never used
            self._slots.popitem(last=False)
        return slot - now
