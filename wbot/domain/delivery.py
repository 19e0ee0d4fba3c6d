"""What becomes of a reply: its parts, what Meta's error codes ask for, how long to wait."""

import re
from enum import StrEnum

import msgspec

TEXT_LENGTH_MAX = 4_096
"""Characters of one text message (cloud-api.md 4.2)."""


class Verdict(StrEnum):
    """What a Graph API error code asks for, in an HTTP answer and in a status alike."""

    RETRY = "retry"
    """It passes by itself: tried again as long as the customer service window is open."""
    UNSURE = "unsure"
    """It may pass, or lie in this message: tried again for a quarter of an hour."""
    PAIR_LIMIT = "pair_limit"
    REFUSED = "refused"
    """About this message or its recipient: the same request would fail again."""
    ACCOUNT = "account"
    """About the token or the account: an operator must fix it, until then replies wait."""


_ACCOUNT_CODES = frozenset(
    {
        0,
        3,
        10,
        33,
        102,
        190,
        368,
        131005,
        131031,
        131037,
        131042,
        131045,
        131048,
        133000,
        133005,
        133006,
    }
    | {133010, 134011}
) | frozenset(range(200, 300))
_RETRY_CODES = frozenset(
    {2, 4, 17, 32, 613, 130429, 131016, 131057, 133004, 133008, 133009, 133015, 133016, 134101}
) | frozenset(range(80000, 80015))  # the rate limits of accounts and their kinds of calls
_UNSURE_CODES = frozenset({1, 131000})
_REFUSED_CODES = frozenset(
    {100, 130403, 130472, 130497, 131008, 131009, 131021, 131026, 131030, 131047, 131049, 131050}
    | {131051, 131052, 131053, 131055, 131059, 131062, 131063, 131064, 132000, 132001, 132005}
    | {132007, 132008, 132012, 132015, 132016, 132018, 132068, 132069, 134100, 134102, 135000}
    | {137000}
)
_PAIR_LIMIT_CODE = 131056
_INVALID_PARAMETER = 100
_KNOWN: dict[int | None, Verdict] = {
    _PAIR_LIMIT_CODE: Verdict.PAIR_LIMIT,
    **dict.fromkeys(_ACCOUNT_CODES, Verdict.ACCOUNT),
    **dict.fromkeys(_RETRY_CODES, Verdict.RETRY),
    **dict.fromkeys(_UNSURE_CODES, Verdict.UNSURE),
    **dict.fromkeys(_REFUSED_CODES, Verdict.REFUSED),
}
_TOO_MANY_REQUESTS = 429
_UNAUTHORIZED = 401


def verdict_of(
    code: int | None,
    http_status: int | None = None,
    *,
    is_transient: bool = False,
    is_about_call: bool = False,
) -> Verdict:
    """What to do after a Graph error; the code decides, for unknown ones the HTTP status.

    A status webhook has no HTTP status. `is_about_call`: Meta refuses the number id or the way of
    calling, not what is in the message, under the same code as a wrong parameter.
    """
    verdict = _KNOWN.get(code)
    if code == _INVALID_PARAMETER and is_about_call:
        return Verdict.ACCOUNT
    if is_transient and verdict in {None, Verdict.UNSURE, Verdict.REFUSED}:
        return Verdict.RETRY
    return verdict or _verdict_of_status(http_status or 0)


def _verdict_of_status(http_status: int) -> Verdict:
    if http_status == _UNAUTHORIZED:
        return Verdict.ACCOUNT
    if http_status == _TOO_MANY_REQUESTS:
        return Verdict.RETRY
    return Verdict.UNSURE if http_status >= 500 else Verdict.REFUSED  # noqa: PLR2004  HTTP's line


_ACCOUNT_HINTS = {
    0: "the access token is not valid",
    10: "the token lacks a permission",
    33: "there is no such phone number id for this token",
    100: "the phone number id does not exist for this token, or the app secret is not its app's",
    190: "the access token has expired or was revoked",
    368: "Meta has restricted the account",
    131031: "the account is locked",
    131042: "the account's payment method is missing or fails",
    133010: "the phone number is not registered",
}


def account_hint(code: int | None) -> str:
    """What an operator should look at after such a code, for a sentence that goes on."""
    hint = _ACCOUNT_HINTS.get(-1 if code is None else code)
    named = "no code" if code is None else f"code {code}"
    return f"{named}: {hint}" if hint else named


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

SEND_BACKOFF = Backoff(1.0, 2.0, 30.0)
TURN_BACKOFF = Backoff(1.0, 2.0, 60.0)

ACCOUNT_RETRY_S = 30.0
"""Seconds until a business whose account was refused is tried again, with one reply."""

SEND_AGE_MAX_S = 24 * 3600.0
"""After a day the customer service window is closed: a reply still waiting is given up."""

UNSURE_AGE_MAX_S = 900.0
"""After so long a failure that may lie in the message is taken to lie there."""


def send_again_s(
    verdict: Verdict | None, *, failures: int, age_s: float, jitter: float = 0.0
) -> float | None:
    """Seconds until a reply so old is sent again after so many failures alike; None: never.

    Without a verdict Meta was not reached.
    """
    if verdict is Verdict.ACCOUNT:
        return ACCOUNT_RETRY_S
    age_max_s = UNSURE_AGE_MAX_S if verdict is Verdict.UNSURE else SEND_AGE_MAX_S
    if verdict is Verdict.REFUSED or age_s > age_max_s:
        return None
    backoff = PAIR_LIMIT_BACKOFF if verdict is Verdict.PAIR_LIMIT else SEND_BACKOFF
    return backoff.wait_s(failures, 0.0 if verdict is Verdict.PAIR_LIMIT else jitter)


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
