"""What a customer typed themselves, and whether an amount and a payee stand in it."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice

from wbot.domain.amounts import parse_amount
from wbot.domain.errors import MalformedError
from wbot.domain.foreign import is_foreign
from wbot.domain.messages import Content, Context, Text
from wbot.domain.money import Currency
from wbot.domain.payees import folded_name, phone_digits

_AROUND = ".,;:!?()\"'“”«»"
_NUMBER = re.compile(r"(?P<bare>\d[\d.,'’]*)(?:\s?[^\W\d]{1,4})?")
_PHONE = re.compile("\\+?\\d[\\d\\s().\u2010-\u2015\u2212-]*\\d")
_LENGTH_MAX, _CANDIDATES_MAX = 1_000, 300
"""Characters that are read, and readings that are tried: it happens on the only writer."""
_WORDS_MAX = 3
"""An amount is written in so many words at most, such as "1.5 million dollars"."""


def typed_in(content: Content, context: Context | None) -> str:
    """The words that the customer typed; empty for anything else, such as forwarded ones."""
    if not isinstance(content, Text) or is_foreign(content, context):
        return ""
    return content.body[:_LENGTH_MAX]


def has_amount(words: str, amount_minor: int, currency: Currency) -> bool:
    """Whether this amount is written somewhere in the words."""
    readings = islice(_written_amounts(words), _CANDIDATES_MAX)
    return any(_minor(written, currency) == amount_minor for written in readings)


def has_payee(words: str, payee: str) -> bool:
    """Whether this name, or this phone number, is written somewhere in the words."""
    digits = phone_digits(payee)
    if digits is not None:
        written = [match[0] for match in _PHONE.finditer(words)]
        return digits in {phone_digits(one) for one in [*written, *words.split()]}
    name = re.escape(folded_name(payee))
    return re.search(rf"(?<!\w){name}(?!\w)", folded_name(words)) is not None


def _written_amounts(words: str) -> Iterator[str]:
    for match in _NUMBER.finditer(words):
        start, end = match.span("bare")
        # Beside a sign of a currency, only both together are an amount, see below.
        if not any(unicodedata.category(c) == "Sc" for c in words[max(0, start - 1) : end + 1]):
            yield from (match[0].strip(_AROUND), match["bare"].strip(_AROUND))
    parts = words.split()
    for start in range(len(parts)):
        for count in range(1, _WORDS_MAX + 1):
            written = " ".join(parts[start : start + count]).strip(_AROUND)
            if any(char.isdecimal() for char in written):
                yield written


def _minor(written: str, currency: Currency) -> int | None:
    try:
        return parse_amount(written, currency)
    except MalformedError:
        return None
