"""How customers name whom they pay: a name of their own, or another customer's phone number."""

import re
import unicodedata
from collections.abc import Iterable

import msgspec

from wbot.domain.errors import MalformedError
from wbot.domain.names import (
    DIGITS_MAX,
    NAME_LENGTH_MAX,
    clean_name,
    masked_number,
    nearest_name,
    seen,
)

_NUMBER = re.compile("\\+?[0-9][0-9\\s().\u2010-\u2015\u2212-]*")
_NOT_DIGITS = re.compile("[^0-9]")
_DIGITS_MIN, _DIGITS_MAX = 5, 20

_LOOK_ALIKE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
"""Alphabets that share letters' shapes; no word of a real name mixes them."""


NO_NAME = (
    f"A payee's name can have {NAME_LENGTH_MAX} characters: letters, spaces, {DIGITS_MAX} digits "
    "and the signs ' - . & but no link; please choose a shorter or simpler name."
)


class Payee(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a customer pays: another customer, or somebody outside, whom the business pays out."""

    name: str
    """As the payer wrote it: a number, or a name of the payer's own."""
    number: str | None = None
    """Of a customer under such a name; with + where the payer typed it, too."""
    paid_out_by: str | None = None
    """The business that pays out somebody outside; None for a customer."""


def shown_number(number: str) -> str:
    """A named customer's number, for its payer: as they typed it, else its last digits."""
    return number if number.startswith("+") else masked_number(number) or ""


def folded_name(name: str) -> str:
    """A payee's name for comparison, without case, width, spacing and invisible characters."""
    return " ".join(unicodedata.normalize("NFKC", seen(name)).casefold().split())


def phone_digits(text: str) -> str | None:
    """The digits of a phone number as people write it, in any script; None if it is not one."""
    written = "".join(
        str(unicodedata.decimal(c, c))
        for c in unicodedata.normalize("NFKC", text).strip()
        if unicodedata.category(c) != "Cf"
    )
    if not _NUMBER.fullmatch(written):
        return None
    digits = _NOT_DIGITS.sub("", written)
    return digits if _DIGITS_MIN <= len(digits) <= _DIGITS_MAX else None


def check_name(name: str, looks_like: str | None = None) -> None:
    """Raise MalformedError, in a customer's words, for what cannot be a new payee's name.

    The sentence says which known payee the name looks like.
    """
    plain = unicodedata.normalize("NFKC", name)
    letters = sum(unicodedata.category(c).startswith("L") for c in plain)
    # A number with the letter O in it is not a name either.
    if letters == 0 or sum(c.isdecimal() for c in plain) > letters:
        raise MalformedError(f"“{name}” is neither a name nor a phone number.")
    for word in plain.split():
        scripts = {unicodedata.name(c, "?").split()[0] for c in word if c.isalpha()}
        if len(scripts & _LOOK_ALIKE_SCRIPTS) > 1:
            alike = f" {said_look_alike(looks_like)}: it" if looks_like else ""
            raise MalformedError(
                f"“{name}”{alike} mixes letters of different alphabets in one word; "
                "please write the name in one of them."
            )
    if clean_name(name) is None:
        raise MalformedError(NO_NAME)


def said_look_alike(known: str) -> str:
    """What is to be said of a new name that looks like a known payee's."""
    return f"looks like your payee “{shown_payee(known)}”, but is written differently"


def shown_payee(name: str) -> str:
    """Whom a customer pays, as lines and questions show it: the number, or a clean name."""
    if (digits := phone_digits(name)) is not None:
        return f"+{digits}"
    return clean_name(name) or nearest_name(name) or "a payee"


def begun_by(folded: str, known: Iterable[str]) -> list[str]:
    """Which of the known folded names begin with these whole words and go on."""
    return [name for name in known if name.startswith(f"{folded} ")]
