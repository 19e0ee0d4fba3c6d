"""What a name may hold to stand behind the mark, in a question, or before a model."""

import re
import unicodedata
from collections.abc import Iterator

NAME_LENGTH_MAX = 24
DIGITS_MAX = 2
_SIGNS = frozenset("'\N{RIGHT SINGLE QUOTATION MARK}-.&")
_KINDS = frozenset({"Lu", "Ll", "Lt", "Lo", "Mn", "Mc", "Nd"})
# Of the letters that modify others those that names are written with: many others look like a sign.
_MODIFIERS = frozenset("\u02bb\u02bc\u0640\u0e46\u0ec6\u3005\u309d\u309e\u30fc\u30fd\u30fe\uff70")
# By their kind letters, marks and digits, but they look like a dot.
_DOT_ALIKE = frozenset("\u0660\u06f0\u1427\u18df\ua78f\U0001d16d")
# More of them on one letter would run over the lines around it.
_MARKS_MAX = 4
# A dot ends a word or follows an initial; anywhere else it may make a link.
_LINK = re.compile(r"(?:[^\s.]{2,}\.|\.)\S")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
# Invisible, but not format controls by category; they do not make a different name.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_BRAILLE_BLANK = "\u2800"


def seen(text: str) -> str:
    """The text without invisible characters."""
    return "".join(c for c in _UNSEEN.sub("", text) if unicodedata.category(c) != "Cf")


def has_visible(text: str) -> bool:
    """Whether anything in the text can be seen."""
    return any(not c.isspace() and c != _BRAILLE_BLANK for c in seen(text))


def clean_name(text: str | None) -> str | None:
    """The name on one line, if it is one: letters, marks, spaces, a few signs; else None.

    No link, no number, at most 24 characters: nothing in it can be taken for an instruction with
    figures, for an address, or for words of ours.
    """
    name = " ".join(seen(text or "").split())
    is_name = 0 < len(name) <= NAME_LENGTH_MAX and name == _readable(name)
    return name if is_name and any(c.isalpha() for c in name) else None


def nearest_name(text: str) -> str | None:
    """A name from before there were rules, without what no name may hold; None if nothing is left.

    It may look like another one: use it to show what is already agreed, never to choose.
    """
    return clean_name(_readable(" ".join(seen(text).split()))[:NAME_LENGTH_MAX])


def masked_number(phone: str | None) -> str | None:
    """The last four digits of a number, for readers who may not see all of it."""
    return f"…{phone[-4:]}" if phone else None


def _kept(name: str) -> Iterator[str]:
    marks = _MARKS_MAX  # without a letter before it a mark falls on what is around the name
    for c in name:
        kind = unicodedata.category(c)
        if kind in {"Mn", "Mc"}:
            marks += 1
        else:
            marks = 0 if kind.startswith("L") else _MARKS_MAX
        is_letter = kind in _KINDS and c not in _DOT_ALIKE and marks <= _MARKS_MAX
        if is_letter or c == " " or c in _SIGNS or c in _MODIFIERS:
            yield c


def _readable(name: str) -> str:
    kept = "".join(_kept(name))
    if sum(c.isdecimal() for c in kept) > DIGITS_MAX:
        kept = "".join(c for c in kept if not c.isdecimal())
    words = (word if _INITIALS.fullmatch(word) else _without_link(word) for word in kept.split())
    return " ".join(word for word in words if word.strip("."))


def _without_link(word: str) -> str:
    return word.replace(".", "") if _LINK.search(word) else word
