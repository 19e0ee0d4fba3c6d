"""How long an overloaded model endpoint asks us to wait, in any of the ways they say it."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(
    r"(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|s|m|h|d)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_ASKED_IN_WORDS = re.compile(
    r"(?:(?:try|retry|available|reset\w*)(?: again)?|wait)(?: in| after| for)?:?\s+"
    r"((?:about )?\d[\d.\s]*[a-z]+(?:[\s,]*(?:and )?\d[\d.]*\s*[a-z]+)*)",
    re.IGNORECASE,
)
_EPOCH_S = 1e9
_EPOCH_MS = 1e12
_LONGEST_S = 366 * 86400.0
_OF_A_DAY = re.compile(r"per[ _-]?(?:day|month|week)|\b(?:TPD|RPD)\b|daily|monthly", re.IGNORECASE)


def asked_wait_s(
    headers: Mapping[str, str], parts: Sequence[Mapping[str, Any]], sentence: str, *, now: datetime
) -> float | None:
    """Seconds until it may work again, by headers, fields or words; None where nothing is said."""
    for seconds in _asked(headers, parts, sentence, now):
        if seconds is not None and -_LONGEST_S < seconds < _LONGEST_S:
            return max(0.0, seconds)
    return None


def is_of_a_day(codes: Collection[str], sentence: str, asked_s: float | None) -> bool:
    """Whether a quota of a day or more is used up, so that no wait of minutes helps.

    Google names a wait of seconds beside it, which does not hold; Groq's day is a rolling one,
    whose wait does.
    """
    if any(_OF_A_DAY.search(code) for code in codes):
        return True
    return asked_s is None and _OF_A_DAY.search(sentence) is not None


def _asked(
    headers: Mapping[str, str], parts: Sequence[Mapping[str, Any]], sentence: str, now: datetime
) -> Iterator[float | None]:
    inside = [part["headers"] for part in parts if isinstance(part.get("headers"), Mapping)]
    for named in (headers, *inside):
        yield from _of_headers({str(k).lower(): str(v) for k, v in named.items()}, now)
    for part in parts:
        for name in ("retryDelay", "retry_after", "retry_after_seconds", "retryAfter"):
            yield _instant_or_seconds(str(part.get(name) or ""), now)
    asked = _ASKED_IN_WORDS.search(sentence)
    yield _duration_s(asked[1]) if asked else None


def _of_headers(headers: Mapping[str, str], now: datetime) -> Iterator[float | None]:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    yield None if milliseconds is None else milliseconds / 1000
    yield _instant_or_seconds(headers.get("retry-after", ""), now)
    # A limit's reset says when the whole quota is back: it counts where that quota is used up.
    for name, value in headers.items():
        remaining = headers.get(name.replace("reset", "remaining"))
        is_of_limit = "ratelimit" in name and "reset" in name
        if is_of_limit and (remaining == "0" or (remaining is None and name.endswith("-reset"))):
            yield _instant_or_seconds(value, now)


def _instant_or_seconds(text: str, now: datetime) -> float | None:
    """A number of seconds, a duration (7m12s), an epoch, or a date in either common form."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number >= _EPOCH_MS:
            number /= 1000
        return number - now.timestamp() if number >= _EPOCH_S else number
    if (duration := _duration_s(text)) is not None:
        return duration
    return None if (instant := _date(text)) is None else (instant - now).total_seconds()


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,16}(?:\.\d{1,9})?", text) else None


def _duration_s(text: str) -> float | None:
    found = _DURATION.findall(text)
    if not found or not re.fullmatch(r"\D{0,8}\d.*", text.strip(), re.DOTALL):
        return None
    return sum(float(number) * _UNITS_S[_unit(word.lower())] for number, word in found)


def _unit(word: str) -> str:
    return "ms" if word.startswith(("ms", "milli")) else word[0]


def _date(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            instant = read(text)
        except (ValueError, TypeError, IndexError):
            continue
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return None
