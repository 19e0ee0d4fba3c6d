"""Payouts as operators see them: what is owed to payees outside, and what each batch pays."""

from collections import defaultdict
from typing import Any

from wbot.clock import from_text, later, to_text
from wbot.domain.business import Business
from wbot.domain.ledger import reference_of
from wbot.domain.money import format_amount
from wbot.domain.payouts import batch_reference, payee_reference
from wbot.domain.states import PayoutState
from wbot.storage import payouts
from wbot.storage.payouts import Batch, Payout
from wbot.storage.tx import Tx

BATCHES_MAX = 50
"""The latest batches that a list shows."""


def owed(tx: Tx, business: Business, now: str) -> list[dict[str, Any]]:
    """What is in no batch yet, a payee each; `ready` is what an export would take now."""
    before = to_text(later(from_text(now), -business.policy.cancel_window_s))
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for row in payouts.owed(tx, business.id):
        sums[row.payee_id][0] += row.amount_minor
        sums[row.payee_id][1] += row.amount_minor if row.made_at < before else 0
    return [
        {
            **_payee(tx, payee_id),
            "owed": format_amount(owed_minor, business.currency),
            "ready": format_amount(ready_minor, business.currency),
        }
        for payee_id, (owed_minor, ready_minor) in sorted(sums.items())
    ]


def batches(tx: Tx, business: Business) -> list[dict[str, Any]]:
    """The latest batches, newest first."""
    return [
        _batch(tx, business, row, payouts.of_batch(tx, row.id))
        for row in payouts.batches(tx, business.id, BATCHES_MAX)
    ]


def batch(
    tx: Tx, business: Business, batch_id: int, only: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """One batch that exists, or only some of its payouts."""
    row = payouts.batch(tx, batch_id)
    found = payouts.of_batch(tx, batch_id)
    wanted = [one for one in found if only is None or one.id in only]
    return {} if row is None else _batch(tx, business, row, wanted)


def _batch(tx: Tx, business: Business, row: Batch, found: list[Payout]) -> dict[str, Any]:
    return {
        "batch": batch_reference(row.id),
        "business": business.id,
        "created_at": row.created_at,
        "currency": business.currency_code,
        "total": format_amount(sum(one.amount_minor for one in found), business.currency),
        "state": _state({one.state for one in found}),
        "payouts": [_payout(tx, business, one) for one in found],
    }


def _state(states: set[str]) -> str:
    """Of a whole batch: open while anything of it is."""
    if PayoutState.EXPORTED in states:
        return PayoutState.EXPORTED
    return PayoutState.SETTLED if PayoutState.SETTLED in states else PayoutState.VOID


def _payout(tx: Tx, business: Business, row: Payout) -> dict[str, Any]:
    settlement = row.transfer_id
    return {
        **_payee(tx, row.payee_id),
        "amount": format_amount(row.amount_minor, business.currency),
        "state": row.state,
        "ended_at": row.ended_at,
        "settled_by": None if settlement is None else reference_of(settlement),
        "transfers": [reference_of(one) for one in payouts.transfers_of(tx, row.id)],
    }


def _payee(tx: Tx, payee_id: int) -> dict[str, Any]:
    row = payouts.payee(tx, payee_id)
    return {
        "payee": payee_reference(payee_id),
        "name": row.name,
        "customer": row.customer,
    }
