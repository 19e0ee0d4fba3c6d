"""The two spellings that one phone number has in some countries; nothing else is guessed.

WhatsApp's own may differ from what people dial, see cloud-api.md 12.
"""

import re

# Country, an extra digit or none, and the rest: only numbers for which both are surely one.
_COUNTRIES = (
    re.compile("(55[1-9][1-9])(9?)([6-9][0-9]{7})"),  # Brazil: the ninth digit
    re.compile("(52)(1?)([2-9][0-9]{9})"),  # Mexico
    re.compile("(54)(9?)([1-3][0-9]{9})"),  # Argentina
)
_EXTRA = ("9", "1", "9")


def other_spelling(digits: str) -> str | None:
    """The same number with or without the country's extra digit; None where there is no other."""
    for pattern, extra in zip(_COUNTRIES, _EXTRA, strict=True):
        if match := pattern.fullmatch(digits):
            return f"{match[1]}{'' if match[2] else extra}{match[3]}"
    return None


def one_spelling(digits: str) -> str:
    """The number as compared: the same for both of its spellings."""
    return min(digits, other_spelling(digits) or digits)
