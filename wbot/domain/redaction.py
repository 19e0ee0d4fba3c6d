"""Texts from outside, made safe to log, store or show: without secrets, numbers and messages.

A server's answer may quote what we sent, in any encoding. So a text is read in several ways, with
its escapes decoded and as Base64, and what is found in one reading is cut from the text itself.
"""

import base64
import html
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

SECRET, NUMBER, MESSAGE, MESSAGE_ID = "(secret)", "(number)", "(message)", "(message id)"
"""Placeholders for what was cut."""

LENGTH_MAX = 500
"""Characters of a cleaned text, unless asked otherwise."""
LEFT_OUT = "(left out)"
"""In place of a text that PASSES_MAX passes could not clean."""
PASSES_MAX = 8

PIECE_MIN = 12
"""Letters and digits in a row that make a quotation, though it is not the whole message."""
WITHIN_WORDS_MIN = 8
"""A shorter secret or message counts only where it stands alone, or no sentence would be left."""
MESSAGE_MIN = 4
"""Letters and digits; a shorter message cannot be told from ordinary words."""
BASE64_MIN = 8

_MARKERS = re.compile(r"(\((?:secret|number|message|message id|left out)\))")
_ESCAPES = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+|(?:\\u[0-9A-Fa-f]{4})+|\\x[0-9A-Fa-f]{2}|\\[\"'\\/bfnrt]"
    r"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[a-z]{2,6});"
)
_ESCAPED_TIMES = 3
_NUMBER = re.compile(r"\+?\(?\d(?:[\s().\-/_\u00a0\u2010-\u2015]{0,3}\d){6,}")
_DATE = re.compile(
    r"(?<![\d+])(?<!\d[\s.])(?:19|20)\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?![\s().\-/_]{0,3}\d)"
)
_TOKENS = (
    re.compile(r"(?i)\bbearer\s+(?P<value>[^\s\"',;]*[0-9._~+/=-][^\s\"',;]*|[^\s\"',;]{20,})"),
    re.compile(
        r"(?i)(?:token|secret|passw(?:or)?d|pwd|api[\s_-]?key|authorization|signature)"
        r"(?:\s*=\s*|[\"']\s*:\s*)[\"']?(?P<value>[^\s\"'&,;<>(){}\[\]]+)"
    ),
    re.compile(
        r"(?<![A-Za-z0-9])(?P<value>(?:(?:sk|pk|rk|gsk|xai|hf|gh[opsu]|xox[abprs]|glpat)[-_]"
        r"|AIza|EAA|eyJ)[-_A-Za-z0-9.*…]{6,})"
    ),
    re.compile(r"(?P<value>(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,})"),
)
_MESSAGE_IDS = re.compile(r"(?i)wamid\.[A-Za-z0-9+/=_-]+")

_NO_WORDS = frozenset({"type", "id", "mime_type", "sha256", "url", "messaging_product"})
"""Keys of a message object whose values are not a person's words."""


def redacted(
    text: str,
    *,
    secrets: Iterable[str] = (),
    messages: Iterable[str] = (),
    length_max: int = LENGTH_MAX,
) -> str:
    """The text without the secrets and anything that looks like a secret or a phone number.

    `messages` are the words, numbers and names that the other side may have quoted. Cleaning what
    is clean changes nothing.
    """
    said = tuple(messages)
    if not said:  # log lines repeat the same few texts
        return _remembered(text, _hidden(secrets, ()), length_max)
    return _until_clean(text, _hidden(secrets, said), length_max, is_guessing=True)


def without(text: str, *, secrets: Iterable[str] = (), messages: Iterable[str] = ()) -> str:
    """The text without these alone, guessing nothing: for facts with numbers of our own."""
    return _until_clean(text, _hidden(secrets, messages), LENGTH_MAX, is_guessing=False)


def words_of_message(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Every text in the part that a message object's type names: what may be quoted of it."""
    return tuple(_strings(body.get(str(body.get("type")))))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _NO_WORDS:
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


class _Reading(msgspec.Struct, frozen=True):
    """One way to read a text: its characters, and where in the text each of them stands."""

    chars: str
    starts: list[int]
    ends: list[int]


class _Folded(msgspec.Struct, frozen=True):
    """Letters, digits and symbols alone, in one case; `places` are those of the reading."""

    chars: str
    places: list[int]


_Hidden = tuple[tuple[str, str], ...]
"""What must not be found, with the marker that replaces it."""
_Cut = tuple[int, int, str]


def _hidden(secrets: Iterable[str], messages: Iterable[str]) -> _Hidden:
    found = [(secret, SECRET) for secret in sorted(secrets)]
    for words in messages:
        size = len(_folded_words(words))
        marker = NUMBER if re.fullmatch(r"\+?\d{5,}", words) else MESSAGE
        if size >= MESSAGE_MIN or (size > 1 and not words.isascii()):
            found.append((words, marker))
    return tuple(found)


@lru_cache(maxsize=512)
def _remembered(text: str, hidden: _Hidden, length_max: int) -> str:
    return _until_clean(text, hidden, length_max, is_guessing=True)


def _until_clean(text: str, hidden: _Hidden, length_max: int, *, is_guessing: bool) -> str:
    cleaned = text[: 2 * length_max]  # with a margin, because cleaning shortens a text
    for _ in range(PASSES_MAX):
        before, cleaned = cleaned, _pass(cleaned, hidden, length_max, is_guessing=is_guessing)
        if cleaned == before:
            return cleaned
    return LEFT_OUT


def _pass(text: str, hidden: _Hidden, length_max: int, *, is_guessing: bool) -> str:
    pieces = _MARKERS.split(_printable(text))
    pieces[::2] = [_cleaned(piece, hidden, is_guessing=is_guessing) for piece in pieces[::2]]
    cleaned = "".join(pieces)
    return cleaned if len(cleaned) <= length_max else f"{cleaned[: length_max - 1]}…"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        "\ufffd" if "\ud800" <= c <= "\udfff" else " " if c < " " and c != "\n" else c for c in text
    )


def _cleaned(piece: str, hidden: _Hidden, *, is_guessing: bool) -> str:
    if not piece:
        return piece
    plain = _unescaped(piece)
    cuts = list(_quotations(plain, hidden))
    for reading in _base64_readings(plain):
        cuts += _quotations(reading, tuple((_as_bytes(one), marker) for one, marker in hidden))
        cuts += _matches(reading, _NUMBER, NUMBER) if is_guessing else ()
    cuts += _guesses(plain) if is_guessing else ()
    return _with_cuts(piece, cuts)


def _with_cuts(piece: str, cuts: Collection[_Cut]) -> str:
    parts, done = [], 0
    for start, end, marker in sorted(cuts):
        if start >= done:
            parts += [piece[done:start], marker]
        done = max(done, end)
    return "".join(parts) + piece[done:]


# Readings ---------------------------------------------------------------------------------------


def _unescaped(text: str) -> _Reading:
    reading = _Reading(text, list(range(len(text))), list(range(1, len(text) + 1)))
    for _ in range(_ESCAPED_TIMES):
        if _ESCAPES.search(reading.chars) is None:
            break
        reading = _unescaped_once(reading)
    return reading


def _unescaped_once(reading: _Reading) -> _Reading:
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _ESCAPES.finditer(reading.chars):
        chars.append(reading.chars[done : match.start()])
        starts += reading.starts[done : match.start()]
        ends += reading.ends[done : match.start()]
        meant = _meant(match[0])
        chars.append(meant)
        starts += [reading.starts[match.start()]] * len(meant)
        ends += [reading.ends[match.end() - 1]] * len(meant)
        done = match.end()
    chars.append(reading.chars[done:])
    return _Reading("".join(chars), starts + reading.starts[done:], ends + reading.ends[done:])


def _meant(escape: str) -> str:
    if escape.startswith("%"):
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8", "replace")
    if escape.startswith("&"):
        return html.unescape(escape)
    if escape.startswith("\\x"):
        return bytes.fromhex(escape[2:]).decode("latin-1")
    if escape == "\\'":
        return "'"
    return str(json.loads(f'"{escape}"'))


def _base64_readings(plain: _Reading) -> Iterator[_Reading]:
    # A dash may be a digit of Base64 or a break in it, and a run may begin at any of four digits.
    for pattern in ("[A-Za-z0-9+/_-]", "[A-Za-z0-9+/]"):
        places = [match.start() for match in re.finditer(pattern, plain.chars)]
        if len(places) < BASE64_MIN or (pattern == "[A-Za-z0-9+/]" and not _has_dash(plain.chars)):
            continue
        digits = "".join(plain.chars[place] for place in places)
        for offset in range(4):
            yield _decoded(plain, digits[offset:], places[offset:])


def _has_dash(chars: str) -> bool:
    return "-" in chars or "_" in chars


def _decoded(plain: _Reading, digits: str, places: list[int]) -> _Reading:
    missing = -len(digits) % 4
    decoded = base64.b64decode(
        digits + "A" * missing, altchars=b"-_" if _has_dash(digits) else None
    )
    # Each byte lies in two digits of the four that make three bytes.
    firsts = [4 * (place // 3) + place % 3 for place in range(len(decoded))]
    last = len(places) - 1
    return _Reading(
        decoded.decode("latin-1"),
        [plain.starts[places[min(first, last)]] for first in firsts],
        [plain.ends[places[min(first + 1, last)]] for first in firsts],
    )


def _as_bytes(words: str) -> str:
    return words.encode("utf-8", "replace").decode("latin-1")


# What is looked for -----------------------------------------------------------------------------


def _guesses(plain: _Reading) -> Iterator[_Cut]:
    yield from _matches(plain, _MESSAGE_IDS, MESSAGE_ID)
    for pattern in _TOKENS:
        yield from _matches(plain, pattern, SECRET)
    # A date has as many digits as a number, and helps the reader of an error.
    undated = _DATE.sub(lambda match: "x" * len(match[0]), plain.chars)
    yield from _matches(_Reading(undated, plain.starts, plain.ends), _NUMBER, NUMBER)


def _matches(reading: _Reading, pattern: re.Pattern[str], marker: str) -> Iterator[_Cut]:
    for match in pattern.finditer(reading.chars):
        start, end = match.span("value" if "value" in pattern.groupindex else 0)
        yield reading.starts[start], reading.ends[end - 1], marker


def _quotations(reading: _Reading, hidden: _Hidden) -> Iterator[_Cut]:
    if not hidden:
        return
    folded = _fold(reading.chars)
    for words, marker in hidden:
        sought = _folded_words(words)
        found = (
            _pieces(folded, sought) if len(sought) >= PIECE_MIN else _wholes(reading, folded, words)
        )
        for first, last in found:
            start, end = folded.places[first], folded.places[last]
            yield reading.starts[start], reading.ends[end], marker


def _pieces(folded: _Folded, sought: str) -> Iterator[tuple[int, int]]:
    start = None
    for place in range(len(folded.chars) - PIECE_MIN + 1):
        if folded.chars[place : place + PIECE_MIN] in sought:
            start = place if start is None else start
        elif start is not None:
            yield start, place + PIECE_MIN - 2
            start = None
    if start is not None:
        yield start, len(folded.chars) - 1


def _wholes(reading: _Reading, folded: _Folded, words: str) -> Iterator[tuple[int, int]]:
    sought = _folded_words(words)
    first = folded.chars.find(sought) if sought else -1
    while first >= 0:
        last = first + len(sought) - 1
        may_be_within = len(sought) >= WITHIN_WORDS_MIN or not words.isascii()
        if may_be_within or _stands_alone(reading, folded.places[first], folded.places[last]):
            yield first, last
        first = folded.chars.find(sought, first + 1)


def _stands_alone(reading: _Reading, first: int, last: int) -> bool:
    return not (reading.chars[:first][-1:].isalnum() or reading.chars[last + 1 :][:1].isalnum())


@lru_cache(maxsize=256)
def _folded_words(words: str) -> str:
    if words.isascii():
        return "".join(filter(str.isalnum, words.lower()))
    return "".join(map(_folded_char, words))


def _fold(chars: str) -> _Folded:
    kept: list[str] = []
    places: list[int] = []
    for place, char in enumerate(chars):
        folded = _folded_char(char)
        kept.append(folded)
        places += [place] * len(folded)
    return _Folded("".join(kept), places)


@lru_cache(maxsize=4096)
def _folded_char(char: str) -> str:
    if char.isascii():
        return char.lower() if char.isalnum() else ""
    spelled = unicodedata.normalize("NFKD", char).casefold()
    return "".join(
        str(unicodedata.digit(c)) if c.isdigit() else c
        for c in spelled
        if unicodedata.category(c)[0] in "LNS"
    )
