"""Which businesses' accounts may send: one refused is tested with one reply at a time."""

import msgspec

from wbot.clients.whatsapp import refusal_words
from wbot.clock import Clock
from wbot.domain.delivery import ACCOUNT_RETRY_S, Verdict, verdict_of
from wbot.domain.states import REPORTED, ReplyState
from wbot.logs import Log
from wbot.storage.outbox import StateChange

UNANSWERED = "the Graph API gives no answer"


class Failing(msgspec.Struct, frozen=True):
    """For how long a business's sends fail for a passing reason, and why, in our words."""

    seconds: float
    reason: str


class _Block(msgspec.Struct):
    until: float
    by_status: bool
    """Its sends are accepted, and fail afterwards: an accepted one proves nothing."""
    tested_by: int | None = None
    """The reply that was accepted since; a status, or its absence, tells whether that is over."""


class Accounts:
    """What is known of each business's account, from answers and statuses."""

    def __init__(self, *, clock: Clock, log: Log) -> None:
        self.reasons: dict[str, str] = {}
        """By business: why its account may not send, in our words; removed once it may again."""
        self._blocks: dict[str, _Block] = {}
        self._failing: dict[str, tuple[float, str]] = {}
        self._clock = clock
        self._log = log

    def failing(self) -> dict[str, Failing]:
        """By business: sends that fail for a passing reason."""
        now = self._clock.monotonic()
        return {name: Failing(now - since, why) for name, (since, why) in self._failing.items()}

    def blocked_s(self, business_id: str) -> float:
        """Seconds until a reply of the business may test its account; not above 0: it may send."""
        block = self._blocks.get(business_id)
        return 0.0 if block is None else block.until - self._clock.monotonic()

    def begin(self, business_id: str, now: float) -> None:
        """A reply is about to be sent: while the account is refused, all others wait for it."""
        block = self._blocks.get(business_id)
        if block is None:
            return
        if block.tested_by is not None:  # accepted, and not reported as failed ever since
            self._release(business_id)
        else:
            block.until = now + ACCOUNT_RETRY_S

    def refused(self, business_id: str, reason: str, *, by_status: bool = False) -> None:
        """The account is refused: by an answer, or by a status about an accepted reply."""
        if business_id not in self.reasons:
            self._log.error("account.blocked", business=business_id, reason=reason)
        self.reasons[business_id] = reason
        until = self._clock.monotonic() + ACCOUNT_RETRY_S
        self._blocks[business_id] = _Block(until, by_status)

    def failed(self, business_id: str, reason: str) -> None:
        """A send failed for a passing reason."""
        self._failing.setdefault(business_id, (self._clock.monotonic(), reason))

    def answered(self, business_id: str, outbox_id: int, *, accepted: bool) -> None:
        """The Graph API answered, and not that the account is refused."""
        self._failing.pop(business_id, None)
        block = self._blocks.get(business_id)
        if block is None:
            return
        if not block.by_status:
            self._release(business_id)
        elif accepted:
            block.tested_by = outbox_id
            block.until = self._clock.monotonic() + ACCOUNT_RETRY_S

    def note_status(self, change: StateChange) -> None:
        """A status may say that the account is refused, or that a test of it went through."""
        business_id = change.business_id
        if change.is_to_be_sent_again:
            verdict = verdict_of(change.code)
            words = refusal_words(change.code, verdict)
            if verdict is Verdict.ACCOUNT:
                self.refused(business_id, words, by_status=True)
            else:
                self.failed(business_id, words)
        elif change.after in REPORTED and change.after is not ReplyState.FAILED:
            self._failing.pop(business_id, None)
            block = self._blocks.get(business_id)
            if block is not None and block.tested_by == change.outbox_id:
                self._release(business_id)

    def _release(self, business_id: str) -> None:
        self._blocks.pop(business_id, None)
        self.reasons.pop(business_id, None)
        self._log.info("account.released", business=business_id)
