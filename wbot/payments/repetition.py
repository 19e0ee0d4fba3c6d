"""The same payment again: what went to the same payee shortly before, or waits to."""

from datetime import datetime

from wbot.clock import from_text, later, to_text
from wbot.domain.business import Policy
from wbot.domain.confirmations import Repeated
from wbot.domain.policy import DAY_S
from wbot.storage import ledger_history
from wbot.storage.ledger_history import Alike, Earlier
from wbot.storage.tx import Tx


def is_repeated(tx: Tx, alike: Alike, policy: Policy, now: str) -> bool:
    """Whether such a payment was made within `repeat_window`, or waits since then."""
    return _found(tx, alike, policy, from_text(now)) is not None


def repeated_by(
    tx: Tx, transfer_id: int, alike: Alike, *, asked_at: str, policy: Policy, now: str
) -> Repeated | None:
    """What a pending transfer repeats, as seen now; None where it repeats nothing."""
    found = _found(tx, alike, policy, from_text(asked_at), before=transfer_id)
    if found is None:
        return None
    ago = from_text(now) - from_text(found.made_at)
    return Repeated(int(ago.total_seconds()), found.is_sent)


def _found(
    tx: Tx, alike: Alike, policy: Policy, at: datetime, *, before: int | None = None
) -> Earlier | None:
    if not policy.repeat_window_s:
        return None
    since = later(at, -policy.repeat_window_s)
    # One that was confirmed since may have been asked for long before.
    asked_since = later(since, -max(policy.hold_ttl_s, DAY_S))
    return ledger_history.latest_alike(
        tx, alike, since=to_text(since), asked_since=to_text(asked_since), before=before
    )
