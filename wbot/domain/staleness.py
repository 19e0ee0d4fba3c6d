"""Whether a message is still to be acted on, by the time between its writing and its turn."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from wbot.domain.questions import QuestionKind, question_payload
from wbot.domain.receipts import one_line

WINDOW_S = 24 * 3600.0
"""The customer service window: after it nothing but templates may be sent (cloud-api.md 7)."""

QUOTE_LENGTH_MAX = 80
QUOTES_MAX = 5


class Staleness(StrEnum):
    """FRESH is answered, STALE asked about, EXPIRED kept silent about."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


def staleness_of(sent_at: datetime, now: datetime, stale_after_s: float) -> Staleness:
    """How a message written at an instant is to be taken now."""
    age_s = (now - sent_at).total_seconds()
    if age_s > WINDOW_S:
        return Staleness.EXPIRED
    return Staleness.STALE if age_s > stale_after_s else Staleness.FRESH


def stale_question(question_id: int, texts: Sequence[str]) -> dict[str, Any]:
    """The one question about a run of stale messages, with a button for each answer."""
    quotes = [f"• {one_line(text, QUOTE_LENGTH_MAX)}" for text in texts[:QUOTES_MAX]]
    if len(texts) > QUOTES_MAX:
        quotes.append(f"… and {len(texts) - QUOTES_MAX} more")
    asked = "\n".join(["Sorry, I could not answer you in time. You wrote:", *quotes])
    return question_payload(
        QuestionKind.STALE,
        str(question_id),
        f"{asked}\n\nShall I still do that?",
        yes="Yes, do it now",
        no="No, leave it",
    )
