"""Unknown numbers: how many a customer may try before all new numbers get the same refusal."""

from wbot.clock import from_text, later, to_text
from wbot.domain.policy import DAY_S, UNKNOWN_NUMBERS_A_DAY
from wbot.storage import ledger_history
from wbot.storage.tx import Tx


def may_guess(tx: Tx, account_id: int, to_account_id: int | None, *, now: str) -> bool:
    """Whether a number not confirmed before may be paid, be it a customer's or an unknown one.

    One that was paid before tells nothing new. The writer alone asks, so that nobody gets one more
    attempt by trying several at once.
    """
    if to_account_id is not None and ledger_history.has_paid(tx, account_id, to_account_id):
        return True
    since = to_text(later(from_text(now), -DAY_S))
    return ledger_history.unknown_numbers_since(tx, account_id, since) < UNKNOWN_NUMBERS_A_DAY
