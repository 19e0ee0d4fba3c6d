"""Which conversations may ask the model: after a refusal only one, until it works again.

A refused key, an exhausted quota or an unreadable token is no fault of the message that met it, and
meets every other message of the business too. So they wait here, which costs nothing, and one
conversation tries for all of them.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

TRIAL_MAX_S = 3.0
"""Seconds after which a trial without an answer delays no other: a slow model is not blocked."""
TRY_AGAIN_S = 15.0
"""Seconds until it is tried again whether a business's token can be read."""


class Block(msgspec.Struct, frozen=True):
    """Why a business's turns cannot go on; `model` is the one that refused, if that is why."""

    reason: str
    model: str | None


class ModelGate:
    """By business: open, blocked, or on trial by one conversation; `notify` wakes all that wait."""

    def __init__(self, notify: Callable[[int, str], None]) -> None:
        self._notify = notify
        self._open: set[str] = set()
        self._blocks: dict[str, Block] = {}
        self._trials: dict[str, int] = {}
        self._waiting: dict[str, dict[int, None]] = {}

    @property
    def blocks(self) -> Mapping[str, Block]:
        """By business: why its turns cannot go on."""
        return self._blocks

    def block_of(self, business_id: str) -> Block | None:
        return self._blocks.get(business_id)

    def is_open(self, business_id: str) -> bool:
        return business_id in self._open

    def is_waiting(self, business_id: str, conversation_id: int) -> bool:
        """Whether the conversation is known to wait, so that processing it would do nothing."""
        return conversation_id in self._waiting.get(business_id, {})

    def enter(self, business_id: str, conversation_id: int) -> bool:
        """Whether the conversation may ask the model; if it is the first, for all the others."""
        self._waiting.get(business_id, {}).pop(conversation_id, None)
        if business_id in self._open or self._trials.get(business_id) == conversation_id:
            return True
        if business_id in self._blocks or business_id in self._trials:
            return False
        self._trials[business_id] = conversation_id
        loop = asyncio.get_running_loop()
        loop.call_later(TRIAL_MAX_S, self._end_slow_trial, business_id, conversation_id)
        return True

    def wait(self, business_id: str, conversation_id: int) -> None:
        """Let the conversation wait until a try makes sense."""
        self._waiting.setdefault(business_id, {})[conversation_id] = None

    def leave(self, business_id: str, conversation_id: int) -> None:
        """The conversation was processed; a trial without a result goes to the next one."""
        if self._trials.get(business_id) == conversation_id:
            del self._trials[business_id]
            self._notify_next(business_id)

    def open(self, business_id: str) -> None:
        """The model was asked and did not refuse: everybody may go on."""
        if business_id in self._open:
            return
        self._trials.pop(business_id, None)
        self._blocks.pop(business_id, None)
        self._open.add(business_id)
        for conversation_id in self._waiting.pop(business_id, {}):
            self._notify(conversation_id, business_id)

    def block(self, business_id: str, block: Block) -> None:
        """What the business's turns need was refused: no conversation continues until `retry`."""
        self._trials.pop(business_id, None)
        self._open.discard(business_id)
        self._blocks[business_id] = block
        if block.model is None:
            asyncio.get_running_loop().call_later(TRY_AGAIN_S, self._try_again, business_id, block)

    def retry(self, model: str | None = None) -> None:
        """Let one conversation of each blocked business, or of those of the model, try again."""
        for business_id, block in list(self._blocks.items()):
            if model is None or block.model == model:
                self._try_again(business_id, block)

    def _try_again(self, business_id: str, block: Block) -> None:
        if self._blocks.get(business_id) is block:
            del self._blocks[business_id]
            self._notify_next(business_id)

    def _notify_next(self, business_id: str) -> None:
        waiting = self._waiting.get(business_id)
        if waiting:
            conversation_id = next(iter(waiting))
            del waiting[conversation_id]
            self._notify(conversation_id, business_id)

    def _end_slow_trial(self, business_id: str, conversation_id: int) -> None:
        if self._trials.get(business_id) == conversation_id:
            self.open(business_id)
