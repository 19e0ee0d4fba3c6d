"""The same payment again: what went to the same payee shortly before, or waits to."""

from datetime import datetime

from wbot.clock import from_text, later, to_text
from wbot.domain.business import Policy
from wbot.domain.confirmations import Repeated
from wbot.domain.policy import DAY_S
from wbot.storage import ledger
from wbot.storage.ledger import Alike
from wbot.storage.tx import Row, Tx


def is_repeated(tx: Tx, alike: Alike, policy: Policy, now: str) -> bool:
    """Whether such a payment was made within `repeat_window`, or waits since then."""
    return _found(tx, alike, policy, from_text(now)) is not None


def repeated_by(tx: Tx, row: Row, *, payee: str, policy: Policy, now: str) -> Repeated | None:
    """What a pending transfer repeats, as seen now; None where it repeats nothing."""
    alike = Alike(row["debit_account_id"], row["credit_account_id"], row["amount_minor"], payee)
    found = _found(tx, alike, policy, from_text(row["created_at"]), before=row["id"])
    if found is None:
        return None
    ago = from_text(now) - from_text(found["made_at"])
    return Repeated(ago.total_seconds(), bool(found["is_sent"]))


def _found(
    tx: Tx, alike: Alike, policy: Policy, at: datetime, *, before: int | None = None
) -> Row | None:
    if not policy.repeat_window_s:
        return None
    since = later(at, -policy.repeat_window_s)
    # One that was confirmed since may have been asked for long before.
    asked_since = later(since, -max(policy.hold_ttl_s, DAY_S))
    return ledger.latest_alike(
        tx, alike, since=to_text(since), asked_since=to_text(asked_since), before=before
    )
