"""How operators name payouts: a batch is B and a number, a payee P and a number."""

import re

from wbot.domain.errors import MalformedError

_BATCH = re.compile(r"\s*[Bb]?\s*(\d{1,18})\s*")
_PAYEE = re.compile(r"\s*[Pp]?\s*(\d{1,18})\s*")


def batch_reference(batch_id: int) -> str:
    """The reference of a batch: B and its number."""
    return f"B{batch_id}"


def payee_reference(payee_id: int) -> str:
    """The reference of a payee: P and a number, for each customer has a "John" of their own."""
    return f"P{payee_id}"


def batch_id_of(text: str) -> int:
    """The number in a batch's reference; raises MalformedError for other text."""
    if (match := _BATCH.fullmatch(text)) is None:
        raise MalformedError(
            f"{text[:20]!r} is not a batch; use the reference that `wbot payout list` shows (B3)."
        )
    return int(match[1])


def payee_id_of(text: str) -> int:
    """The number in a payee's reference; raises MalformedError for other text."""
    if (match := _PAYEE.fullmatch(text)) is None:
        raise MalformedError(
            f"{text[:20]!r} is not a payee; use the reference that `wbot payout list` shows (P7)."
        )
    return int(match[1])
