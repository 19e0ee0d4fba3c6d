"""What a model endpoint's failure means, whatever its status and dialect.

The same refusal comes as 400, 402, 403, 429 or even 200, and one sentence ("You exceeded your
current quota") means an empty account at OpenAI and a minute's wait at Google. So codes are read
first, then sentences, then the status; what is unknown is decided by the status alone.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from wbot.clients.model import waits
from wbot.clients.model.meanings import CODES, PASSING, PASSING_CODES, SENTENCES, Cause, Meaning
from wbot.domain import json_access
from wbot.domain.errors import (
    BadAnswerError,
    BlockedError,
    FilteredError,
    OutageError,
    RejectedError,
    RetryableError,
    TooLongError,
    WbotError,
)

ASKED_WAIT_MAX_S = 600.0
"""A longer wait is no rate limit but a spent budget: one asks for all, instead of each."""

Cleaner = Callable[[str], str]
"""Makes text of the endpoint safe to log, store and show."""

_OK = 200
_REDIRECTS = range(300, 400)
_BLOCKING = {
    401: (Cause.KEY, True),
    402: (Cause.CREDIT, True),
    403: (Cause.REFUSED, False),
    404: (Cause.REFUSED, False),
}
_CONTENT_TOO_LARGE, _TOO_MANY_REQUESTS = 413, 429
_PASSING = {408, 409, 425, _TOO_MANY_REQUESTS}
_SERVER_ERROR = 500
_NAMES = ("code", "type", "status", "reason", "quotaId", "error_type")
_TEXTS = ("message", "msg", "detail", "raw")
_DOUBTFUL = frozenset({Meaning.BLOCKED, Meaning.OVERLOADED})
_ROUTERS_NAME = re.compile(r"\s*(?:litellm\.)?(?:\w+: ){0,2}\w+(?:Exception|Error)(?: -|:) (?=\{)")
"""As in `litellm.BadRequestError: OpenAIException - {...}`."""
_DEPTH_MAX = 6
CODE_LENGTH_MAX = 200
"""Characters of an error's code; it is a short word."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A failed request: what it means, and what the endpoint said of it, cleaned."""

    meaning: Meaning
    status: int
    cause: Cause | None = None
    """Of a block: what must be mended."""
    is_sure: bool = True
    """Whether it surely meets every request, not only this one."""
    code: str = ""
    sentence: str = ""
    retry_after_s: float | None = None


def failure_of(
    status: int, body: Any, headers: Mapping[str, str], *, now: datetime, cleaned: Cleaner = str
) -> Failure:
    """What a failed answer means; `body` is its decoded JSON, or its text where it is none.

    Phrases are sought in the cleaned sentence, so that a customer whose words it quotes cannot
    choose the meaning; a block found by a phrase alone stays in doubt.
    """
    parts = list(_objects(body))
    # An error inside a 200 names its own status.
    status = _status_inside(parts, status) if status == _OK else status
    codes = [code for part in parts for code in _codes(part)]
    sentence = cleaned(" ".join(dict.fromkeys(_sentences(body, parts))))
    asked_s = waits.asked_wait_s(headers, parts, sentence, now=now)
    meaning, cause, is_sure = _read(status, codes, sentence, asked_s)
    if meaning is Meaning.OVERLOADED and (
        waits.is_of_a_day(codes, sentence, asked_s) or (asked_s or 0) > ASKED_WAIT_MAX_S
    ):
        meaning, cause, is_sure = Meaning.BLOCKED, Cause.QUOTA, True
    if asked_s is None and status == _TOO_MANY_REQUESTS:
        asked_s = 0.0
    return Failure(
        meaning=meaning,
        status=status,
        cause=cause,
        is_sure=is_sure,
        code=cleaned(next((code for code in codes if not code.isdigit()), "")),
        sentence=sentence,
        retry_after_s=asked_s if meaning is Meaning.OVERLOADED else None,
    )


def error_of(failure: Failure) -> WbotError:
    """The error to raise: its text has the endpoint's own sentence, its own words only ours."""
    said = _said(failure)
    public = f"HTTP {failure.status}"
    if failure.meaning is Meaning.BLOCKED:
        cause = failure.cause or Cause.REFUSED
        return BlockedError(
            f"{cause.sentence}: {said} {cause.fix}",
            # Customers' words and secrets are cut out of it, and no operator can mend it unseen.
            own_words=f"{cause.sentence}: {said} {cause.fix}",
            may_be_request=not failure.is_sure,
        )
    if failure.meaning is Meaning.OVERLOADED:
        if failure.retry_after_s is None:
            words = "The model endpoint failed"
            own_words = f"{words}: {public}."
            return OutageError(
                f"{words}: {said}", own_words=own_words, may_be_request=not failure.is_sure
            )
        words = "The model endpoint asks us to wait"
        return RetryableError(
            f"{words}: {said}",
            own_words=f"{words}: {public}.",
            retry_after_s=failure.retry_after_s,
        )
    kind, words = _OTHERS[failure.meaning]
    return kind(f"{words}: {said}", own_words=f"{words}: {public}.")


def _said(failure: Failure) -> str:
    """The endpoint's own words, as a sentence."""
    words = f"HTTP {failure.status}" + (f", {failure.code}" if failure.code else "")
    sentence = failure.sentence.rstrip(" .")
    return f"{words}: {sentence}." if sentence else f"{words}."


_OTHERS: dict[Meaning, tuple[type[WbotError], str]] = {
    Meaning.TOO_LONG: (TooLongError, "The prompt is too long for the model"),
    Meaning.FILTERED: (FilteredError, "The model endpoint's content filter stopped the request"),
    Meaning.BOTCHED: (BadAnswerError, "The model's own tool call could not be read"),
    Meaning.REQUEST: (RejectedError, "The model endpoint rejected the request"),
}


def _read(
    status: int, codes: list[str], sentence: str, asked_s: float | None
) -> tuple[Meaning, Cause | None, bool]:
    for code in codes:
        if (known := CODES.get(code.lower())) is not None:
            return *known, True
    # A quota's sentence alone does not say whether it is one of a minute or one that is spent.
    is_passing = (status == _TOO_MANY_REQUESTS and asked_s is not None) or (
        PASSING.search(sentence) is not None or any(code.lower() in PASSING_CODES for code in codes)
    )
    for pattern, meaning, cause in SENTENCES:
        if pattern.search(sentence) and not (is_passing and cause not in {None, Cause.BUDGET}):
            return meaning, cause, meaning not in _DOUBTFUL or _is_surely_blocked(status)
    return (Meaning.OVERLOADED, None, False) if is_passing else _by_status(status)


def _is_surely_blocked(status: int) -> bool:
    return status in _BLOCKING and _BLOCKING[status][1]


def _by_status(status: int) -> tuple[Meaning, Cause | None, bool]:
    if status in _BLOCKING:
        return Meaning.BLOCKED, *_BLOCKING[status]
    if status in _REDIRECTS:
        return Meaning.BLOCKED, Cause.REDIRECT, True
    if status == _CONTENT_TOO_LARGE:
        return Meaning.TOO_LONG, None, True
    # An error inside a 200 without a word that we know may pass.
    is_passing = status in _PASSING or status >= _SERVER_ERROR or status == _OK
    return (Meaning.OVERLOADED, None, False) if is_passing else (Meaning.REQUEST, None, True)


def _objects(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Every object of an error's body, outer ones first; also those in texts that are JSON."""
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, Mapping):
        yield value
        for name, item in value.items():
            if isinstance(item, str) and name in _TEXTS:
                yield from _objects(passed_on(item), depth + 1)
            elif isinstance(item, Mapping | list):
                yield from _objects(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item, depth + 1)


def passed_on(text: str) -> Any:
    """The provider's own error that a router passes on as text, decoded; None where it is none.

    Behind LiteLLM's name of it more may follow. Elsewhere in a sentence it may be a quotation.
    """
    name = _ROUTERS_NAME.match(text)
    body = text[name.end() :] if name else text.strip()
    if body[:1] not in {"{", "["}:
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(body)
    except (ValueError, RecursionError):
        return None
    return value if name or end == len(body) else None


def _status_inside(parts: list[Mapping[str, Any]], status: int) -> int:
    for part in parts:
        for name in ("code", "status", "status_code"):
            text = str(part.get(name) or "")
            if re.fullmatch(r"[345]\d\d", text):
                return int(text)
    return status


def _codes(part: Mapping[str, Any]) -> Iterator[str]:
    for name in _NAMES:
        word = json_access.text(part, name)
        if word and len(word) <= CODE_LENGTH_MAX:
            yield word


def _sentences(body: Any, parts: list[Mapping[str, Any]]) -> Iterator[str]:
    if isinstance(body, str):
        yield "" if "<" in body[:200] else body  # a proxy's page says nothing
    for part in parts:
        if isinstance(part.get("error"), str):
            yield part["error"]
        for name in _TEXTS:
            text = part.get(name)
            if isinstance(text, str) and passed_on(text) is None:
                yield text
