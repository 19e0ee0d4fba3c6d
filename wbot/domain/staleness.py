"""Whether a message is still to be acted on, by the time between its writing and its turn."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

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


_BUTTON = "stale"


def question_payload(question_id: int, texts: Sequence[str]) -> dict[str, Any]:
    """The one question about a run of stale messages, with a button for each answer."""
    quotes = [f"• {one_line(text, QUOTE_LENGTH_MAX)}" for text in texts[:QUOTES_MAX]]
    if len(texts) > QUOTES_MAX:
        quotes.append(f"… and {len(texts) - QUOTES_MAX} more")
    asked = "\n".join(["Sorry, I could not answer you in time. You wrote:", *quotes])
    buttons = [
        {"type": "reply", "reply": {"id": f"{_BUTTON}:{question_id}:{answer}", "title": title}}
        for answer, title in (("yes", "Yes, do it now"), ("no", "No, leave it"))
    ]
    body = {"text": f"{asked}\n\nShall I still do that?"}
    interactive = {"type": "button", "body": body, "action": {"buttons": buttons}}
    return {"type": "interactive", "interactive": interactive}


def answer_of(button_id: str | None) -> tuple[int, str] | None:
    """Which question a tapped button answers, and how (yes or no); None for any other button."""
    kind, _, rest = (button_id or "").partition(":")
    number, _, answer = rest.partition(":")
    if kind != _BUTTON or answer not in {"yes", "no"} or not number.isdecimal():
        return None
    return int(number[:18]), answer
