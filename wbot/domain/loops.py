"""Two programs that answer each other: the same text again and again, or faster than typing."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import msgspec

ANSWERED_MAX = 20
"""How often the same text is answered in a row, where each follows our reply at once.

People and monitoring that try the bot repeat a text too, but not so often.
"""
AT_ONCE_S = 2.0
STAYS_S = 600.0
"""Seconds during which the same text stays unanswered after a loop was seen."""
RATE_MESSAGES, RATE_S = 150, 10.0
"""So many messages in so many seconds, each after our reply, are no person's."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a conversation: its text (or type), when it came, and when it was answered."""

    text: str
    received_at: datetime
    ended_at: datetime | None = None
    is_loop: bool = False
    """It was kept in silence as a part of a loop."""


def shape_of(text: str) -> str:
    """A text as compared; another figure makes it another text, since orders differ by amounts."""
    return " ".join(text.casefold().split())


def is_loop(said: Said, before: Sequence[Said], *, rate_since: datetime | None) -> bool:
    """Whether a message is a part of a loop, given those before it, the latest first.

    `rate_since` is when the message RATE_MESSAGES ago came, where there is one.
    """
    if not before or not _follows(said, before[0]):
        return _stays(said, before)
    if rate_since is not None and (said.received_at - rate_since).total_seconds() < RATE_S:
        return True
    run = (said, *before[:ANSWERED_MAX])
    if len(run) <= ANSWERED_MAX or len({shape_of(one.text) for one in run}) > 1:
        return _stays(said, before)
    return all(_follows(one, former) for one, former in pairwise(run))


def _stays(said: Said, before: Sequence[Said]) -> bool:
    if not before or not before[0].is_loop or shape_of(said.text) != shape_of(before[0].text):
        return False
    return (said.received_at - before[0].received_at).total_seconds() < STAYS_S


def _follows(said: Said, former: Said) -> bool:
    """Whether it came after the former one was answered, and at once."""
    if former.ended_at is None:
        return False
    return 0 <= (said.received_at - former.ended_at).total_seconds() <= AT_ONCE_S
