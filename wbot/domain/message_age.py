"""Whether a message is still acted on, by the time between its writing and its turn."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from wbot.domain.outgoing import Prompt
from wbot.domain.prompts import PromptKind, prompt
from wbot.domain.receipts import one_line

WINDOW_S = 24 * 3600.0
"""The customer service window: after it nothing but templates may be sent (cloud-api.md 7)."""

AHEAD_MAX = timedelta(minutes=5)
"""How far WhatsApp's clock may be ahead of ours; a later time is not credible."""

FIRST_TIME = datetime(2009, 1, 1, tzinfo=UTC)
"""Before this year there was no WhatsApp to write with."""

QUOTE_LENGTH_MAX = 80
QUOTES_MAX = 5


class Staleness(StrEnum):
    """FRESH is answered, STALE is asked about, EXPIRED gets no reply."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


def credible_time(sent_at: datetime | None, received_at: datetime) -> datetime | None:
    """The time of writing that a message names, if it is credible; else None."""
    if sent_at is None or not FIRST_TIME <= sent_at <= received_at + AHEAD_MAX:
        return None
    return sent_at


def staleness_of(
    sent_at: datetime | None, received_at: datetime, now: datetime, stale_after_s: float
) -> Staleness:
    """How to treat a message now; without a credible time of writing it is never fresh."""
    age_s = (now - (sent_at or received_at)).total_seconds()
    if age_s > WINDOW_S:
        return Staleness.EXPIRED
    is_fresh = sent_at is not None and age_s <= stale_after_s
    return Staleness.FRESH if is_fresh else Staleness.STALE


def stale_prompt(token: str, texts: Sequence[str]) -> Prompt:
    """The one question about a run of stale messages, with a button for each answer."""
    quotes = [f"• {one_line(text, QUOTE_LENGTH_MAX)}" for text in texts[:QUOTES_MAX]]
    if len(texts) > QUOTES_MAX:
        quotes.append(f"… and {len(texts) - QUOTES_MAX} more")
    asked = "\n".join(["Sorry, I could not answer you in time. You wrote:", *quotes])
    return prompt(
        PromptKind.STALE,
        token,
        f"{asked}\n\nShall I still do that?",
        yes="Yes, do it now",
        no="No, leave it",
    )
