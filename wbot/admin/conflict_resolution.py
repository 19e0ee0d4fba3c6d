"""What an operator decides about customers who came with new user ids."""

from wbot.admin import customer_merge
from wbot.clock import from_text, later, to_text
from wbot.domain.business import Business
from wbot.domain.errors import RefusedError
from wbot.storage import conflicts
from wbot.storage.tx import Tx

EXPECTED_S = 7 * 24 * 3600.0
"""Seconds during which new user ids under known numbers are taken as the same people."""


def take_as_same(tx: Tx, business: Business, now: str) -> tuple[int, int]:
    """Keep the accounts of all, now and for a week; how many were merged, and how many left.

    Left is whose message or reply is unfinished: a merge would come between.
    """
    conflicts.expect_new_ids(tx, business.id, to_text(later(from_text(now), EXPECTED_S)))
    merged = 0
    waiting = conflicts.every(tx, business.id)
    for one in waiting:
        try:
            customer_merge.merge(
                tx,
                business,
                from_text=f"C{one.customer_id}",
                into_text=f"C{one.former_id}",
                now=now,
            )
        except RefusedError:
            continue
        merged += 1
    return merged, len(waiting) - merged
