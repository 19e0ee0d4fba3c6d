"""Whether a reply repeats an amount of the customer's, so that code says that nothing was moved.

No word is guessed at, in any language: only numbers are compared. A number counts as an amount
unless it plainly is something else: a part of a word, a date, a time, a percentage, an ordinal, a
phone number, a link.
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal

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


def repeats_amount(asked: str, reply: str) -> bool:
    """Whether the reply holds an amount that the customer wrote, in whatever form."""
    wanted = set(_amounts(asked))
    return bool(wanted) and not wanted.isdisjoint(_amounts(reply))


def _amounts(text: str) -> Iterator[Decimal]:
    """Every reading of every amount: 1.000 is a thousand to some, and one to others."""
    plain = _with_ascii_digits(text[:LENGTH_MAX])
    for match in _NUMBER.finditer(plain):
        start, end = match.span()
        before, after = plain[max(0, start - NEAR) : start], plain[end : end + NEAR]
        if _is_amount(match[0], before, after):
            yield from _readings(match[0])


def _with_ascii_digits(text: str) -> str:
    """Digits of every script, and marks that stand for ours, as ASCII has them."""
    folded = text.replace("\u066b", ".").replace("\u066c", ",")
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in folded
    )


def _is_amount(number: str, before: str, after: str) -> bool:
    if _JOINED_BEFORE.search(before) or _JOINED_AFTER.search(after):
        return False
    left, right = _unit(_BEFORE.findall(before)[0]), _unit(_AFTER.findall(after)[0])
    if None in {left, right}:
        return False
    near = {*before.split()[-1:], *after.split()[:1]}
    has_unit = bool(left or right) or any(_unit(word) for word in near)
    return has_unit or not number.isdigit() or len(number) < PHONE_DIGITS_MIN


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
