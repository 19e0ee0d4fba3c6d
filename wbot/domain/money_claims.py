"""Whether a reply repeats an amount of the customer's, so that code says that nothing was moved.

No word is guessed at, in any language: only numbers are compared. A number counts as an amount
unless it plainly is something else: a part of a word, a date, a time, a percentage, an ordinal, a
phone number, a link, or a bare number behind the same word in both, such as "order 42".
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from wbot.domain.amounts import UNITS

NO_MONEY_MOVED = "No money was moved."

LENGTH_MAX = 4_096
"""Characters of each text that are looked at."""
NEAR = 60
"""Characters on each side of a number that say what it is."""
PHONE_DIGITS_MIN = 7
"""So many digits without groups, decimals or a currency are no amount."""
_GROUP_DIGITS = 3

_SPACES = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
_MARKS = f".,'\N{RIGHT SINGLE QUOTATION MARK}{_SPACES}"
_NUMBER = re.compile(
    rf"[0-9]{{1,3}}(?:(?P<mark>[{_MARKS}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*)(?:[.,][0-9]{{1,4}})?"
    r"(?![0-9])|[0-9]+(?:[.,][0-9]+)?"
)
_BEFORE = re.compile(r"(?P<sign>[^\s\d]*)$")
_AFTER = re.compile(r"^[^\s\d]*")
_LETTERS = re.compile(r"[^\W\d_]+")
_JOINED_BEFORE = re.compile(r"(?:[0-9][.,:/\u2010-\u2015-]|[#@&=_/:+]|://\S*)$")
_JOINED_AFTER = re.compile(
    r"^(?:[:/][0-9]|[\u2010-\u2015-][0-9]+[\u2010-\u2015-]|\s?[%°]|[.,][0-9])"
)


class _Amount(msgspec.Struct, frozen=True):
    value: Decimal
    label: str | None
    """The word before a number that stands alone, without currency, decimals or groups."""


def repeats_amount(asked: str, reply: str) -> bool:
    """Whether the reply holds an amount that the customer wrote, in whatever form."""
    wanted = _labels(asked)
    said = _labels(reply) if wanted else {}
    # The same label and number twice is a name: "order 42".
    return any(
        None in wanted[value] | said[value] or wanted[value] != said[value] or len(said[value]) > 1
        for value in wanted.keys() & said.keys()
    )


def _labels(text: str) -> dict[Decimal, set[str | None]]:
    """The labels of every amount's value."""
    found: dict[Decimal, set[str | None]] = {}
    for amount in _amounts(text):
        found.setdefault(amount.value, set()).add(amount.label)
    return found


def _amounts(text: str) -> Iterator[_Amount]:
    """Every reading of every amount: 1.000 is a thousand to some, and one to others."""
    plain = _with_ascii_digits(text[:LENGTH_MAX])
    for match in _NUMBER.finditer(plain):
        start, end = match.span()
        before, after = plain[max(0, start - NEAR) : start], plain[end : end + NEAR]
        if _is_amount(match[0], before, after):
            is_bare = match[0].isdigit() and not _has_unit(before, after)
            label = "".join(_LETTERS.findall(before)[-1:]).lower() if is_bare else None
            yield from (_Amount(value, label) for value in _readings(match[0]))


def _with_ascii_digits(text: str) -> str:
    """Digits of every script, and marks that stand for ours, as ASCII has them."""
    folded = text.replace("\u066b", ".").replace("\u066c", ",")
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in folded
    )


def _is_amount(number: str, before: str, after: str) -> bool:
    if _JOINED_BEFORE.search(before) or _JOINED_AFTER.search(after):
        return False
    if None in {_unit(_BEFORE.findall(before)[0]), _unit(_AFTER.findall(after)[0])}:
        return False
    is_short = not number.isdigit() or len(number) < PHONE_DIGITS_MIN
    return is_short or _has_unit(before, after)


def _has_unit(before: str, after: str) -> bool:
    return any(_unit(word) for word in {*before.split()[-1:], *after.split()[:1]})


def _unit(joined: str) -> str | None:
    """The currency written against a number, "" for none; None for any other letters."""
    letters = _LETTERS.findall(joined)
    signs = [sign for sign in joined if unicodedata.category(sign) == "Sc"]
    if not letters:
        return "".join(signs)
    word = "".join(letters).lower()
    return word if word in UNITS or joined.lower().strip("(.,*_~\"'“”") in UNITS else None


def _readings(number: str) -> Iterator[Decimal]:
    digits = re.sub(f"[{_MARKS}]", "", number)
    last = max((number.rfind(mark) for mark in ".,"), default=-1)
    readings = {Decimal(digits)} if len(number) - last - 1 == _GROUP_DIGITS or last < 0 else set()
    if last >= 0:
        whole = re.sub(f"[{_MARKS}]", "", number[:last]) or "0"
        readings.add(Decimal(f"{whole}.{number[last + 1 :]}"))
    yield from (reading for reading in readings if reading)
