"""A customer's own name for a number: how they say it, on its own or beside a payment."""

import re
import unicodedata

import msgspec

from wbot.domain.errors import MalformedError
from wbot.domain.names import clean_name
from wbot.domain.payees import check_name, folded_name, phone_digits

_PHONE = r"(?P<number>[+(]?[0-9][0-9\s().\u2010-\u2015\u2212-]{5,30}[0-9])"
_NAME = r"(?P<name>[^\d+:=,;]{1,60}?)"
_END = r"\s*[.!]*\s*(?:please|thanks|thank you)?\s*[.!]*"
_IS_NUMBER = r"\s+(?:(?:phone|mobile|cell)\s+)?(?:number|phone|mobile|cell)\s*(?:is|:|=)\s*"
_SAVE = r"(?:(?:please\s+)?(?:save|add|remember|store|note)(?:\s+that)?\s+)?"

# Said as a whole message. Without a word for "number", only a + tells it from any other figure.
_SENTENCES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_SAVE}{_NAME}(?:['\u2019]s)?{_IS_NUMBER}{_PHONE}{_END}",
        rf"{_SAVE}{_NAME}\s*(?:\bis|:|=)\s*(?:now\s+)?(?=\+){_PHONE}{_END}",
        rf"(?=\+){_PHONE}\s+is\s+{_NAME}(?:['\u2019]s\s+(?:number|phone))?{_END}",
        rf"(?:please\s+)?(?:save|add|remember|store)\s+{_PHONE}\s+as\s+{_NAME}{_END}",
        rf"(?:please\s+)?(?:save|add|remember|store)\s+{_NAME}\s+(?:as\s+)?(?=\+){_PHONE}{_END}",
    )
)
_PAIR = re.compile(
    rf"{_NAME}[\s,:(]+(?P<number>\+?[0-9][0-9\s().\u2010-\u2015\u2212-]{{5,30}})"
    r"|(?P<number_first>\+[0-9][0-9\s.\u2010-\u2015\u2212-]{5,30}[0-9])[\s,:(]+(?P<name_last>[^\d+]{1,60})"
)
# Whoever says these speaks of no name.
_NOT_NAMES = """
    a an and another any he her his i id it its me mine my no number order our pay she some send
    that the their there these they this those to transfer us we what which who whose you your
    account code pin phone invoice reference ref mobile
"""
_NO_NAMES = frozenset(_NOT_NAMES.split())


class Label(msgspec.Struct, frozen=True):
    """A name and the digits of the number it stands for."""

    name: str
    digits: str


def named_in(text: str) -> Label | None:
    """The label that a whole message gives ("Bob is +1 555 010 1002"); None for any other text."""
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    found = (match for pattern in _SENTENCES if (match := pattern.fullmatch(plain)))
    labels = (_label(match["name"], match["number"]) for match in found)
    return next((label for label in labels if label is not None), None)


def name_and_number(text: str) -> Label | None:
    """A payee given by name and number at once ("Bob +1 555 010 1002"); None for one of them."""
    match = _PAIR.fullmatch(unicodedata.normalize("NFKC", text).strip().rstrip(")"))
    if match is None:
        return None
    return _label(match["name"] or match["name_last"], match["number"] or match["number_first"])


def is_typed(label: Label, text: str) -> bool:
    """Whether the text has this name with this number beside it."""
    words = folded_name(text)
    name = re.escape(folded_name(label.name))
    beside = re.findall(rf"(?<!\w){name}[\s,:(]+([+0-9][0-9\s().-]{{4,30}})", words)
    return any(phone_digits(one.rstrip(" (.-)")) == label.digits for one in beside)


def card_label(name: str | None, numbers: list[str]) -> Label | None:
    """The label that a contact card gives; None without a clean name or with several numbers."""
    digits = {found for number in numbers if (found := phone_digits(number))}
    return _label(name or "", f"+{digits.pop()}") if len(digits) == 1 else None


def _label(name: str, number: str) -> Label | None:
    cleaned, digits = clean_name(name.strip(" ,.:-(")), phone_digits(number.strip())
    if cleaned is None or digits is None:
        return None
    if _NO_NAMES & set(folded_name(cleaned).split()[:1]):
        return None
    try:
        check_name(cleaned)
    except MalformedError:
        return None
    return Label(cleaned, digits)
