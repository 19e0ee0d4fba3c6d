"""What becomes of a reply: its parts, what Meta's error codes ask for, how long to wait."""

import re
from enum import StrEnum

import msgspec

TEXT_LENGTH_MAX = 4_096
"""Characters of one text message (cloud-api.md 4.2)."""


class Verdict(StrEnum):
    """What a Graph API error code asks for (cloud-api.md 5.2)."""

    RETRY = "retry"
    PAIR_LIMIT = "pair_limit"
    REFUSED = "refused"
    ACCOUNT = "account"


_ACCOUNT_CODES = frozenset(
    {0, 3, 10, 33, 190, 368, 131005, 131031, 131037, 131042, 131045, 131048, 133000, 133005, 133006}
    | {133010, 134011}
) | frozenset(range(200, 300))
_RETRY_CODES = frozenset(
    {1, 2, 4, 17, 80007, 130429, 131000, 131016, 131057, 133004, 133008, 133009, 133015, 133016}
    | {134101}
)
# About this message or its recipient: with any HTTP status, the same request would fail again.
_REFUSED_CODES = frozenset(
    {100, 130403, 130472, 130497, 131008, 131009, 131021, 131026, 131030, 131047, 131049, 131050}
    | {131051, 131052, 131053, 131055, 131059, 131062, 131063, 131064, 132000, 132001, 132005}
    | {132007, 132008, 132012, 132015, 132016, 132018, 132068, 132069, 134100, 134102, 135000}
    | {137000}
)
_PAIR_LIMIT_CODE = 131056


def verdict_of(code: int | None, http_status: int, *, is_transient: bool = False) -> Verdict:
    """What to do after a parsed Graph error; the code decides, the HTTP status for unknown ones."""
    if code == _PAIR_LIMIT_CODE:
        return Verdict.PAIR_LIMIT
    if code in _ACCOUNT_CODES:
        return Verdict.ACCOUNT
    if code in _RETRY_CODES or is_transient:
        return Verdict.RETRY
    if code in _REFUSED_CODES or http_status < 500:  # noqa: PLR2004  HTTP's own line
        return Verdict.REFUSED
    return Verdict.RETRY


class Backoff(msgspec.Struct, frozen=True):
    """Seconds to wait before the next attempt: base times factor^attempts, up to a longest wait."""

    base_s: float
    factor: float
    longest_s: float

    def wait_s(self, attempts: int, jitter: float = 0.0) -> float:
        """The wait after so many attempts (from 1); full `jitter` (1) shortens it by a quarter."""
        # Past some 50 doublings only the limit counts, and a float would end in infinity.
        wait = min(self.base_s * self.factor ** min(attempts - 1, 50), self.longest_s)
        return wait * (1 - jitter / 4)

    def asked_wait_s(self, attempts: int, retry_after_s: float, jitter: float = 0.0) -> float:
        """The wait where the server asked for one: never shorter; full `jitter` adds a half.

        Requests refused together must not all be retried together; and if the wait asked for is
        too short, our own exceeds it after a few attempts.
        """
        return max(retry_after_s, self.wait_s(attempts)) * (1 + jitter / 2)


PAIR_LIMIT_BACKOFF = Backoff(1.0, 4.0, 256.0)
"""Meta's own advice for code 131056: 4^x seconds, x from 0."""

SEND_BACKOFF = Backoff(1.0, 3.0, 300.0)
TURN_BACKOFF = Backoff(1.0, 2.0, 60.0)
UNREACHABLE_BACKOFF = Backoff(1.0, 2.0, 30.0)

ASKED_WAIT_MAX_S = 600.0
"""Seconds from a message's first attempt during which waits the endpoint asks for do not count.

Long enough for a per-minute quota to renew several times; short enough that the message
has its answer, or its question, before it is stale.
"""

SEND_AGE_MAX_S = 24 * 3600.0
"""After a day the customer service window is closed: a reply still waiting is given up."""

# Chinese and Japanese put no space after a sentence.
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？][\"'”’)\]」』）]*\s*|\n+")


def split_text(text: str, length_max: int = TEXT_LENGTH_MAX) -> tuple[str, ...]:
    """The text in parts within the limit, cut after a sentence, else a word, else anywhere."""
    parts: list[str] = []
    rest = text
    while len(rest) > length_max:
        cut = _cut(rest[: length_max + 1], length_max)
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    if rest or not parts:
        parts.append(rest)
    return tuple(part for part in parts if part) or ("",)


def _cut(window: str, length_max: int) -> int:
    # A cut in the first half would leave a needlessly short message.
    ends = [m.end() for m in _SENTENCE_END.finditer(window) if length_max // 2 < m.end()]
    ends = [end for end in ends if end <= length_max]
    if ends:
        return ends[-1]
    space = window.rfind(" ", length_max // 2)
    return space if space > 0 else length_max
