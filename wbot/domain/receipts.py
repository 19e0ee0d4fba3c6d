"""What a reply says about money: lines rendered from the ledger, behind a mark of code's own."""

import re
import unicodedata
from collections.abc import Sequence

MARK = "\N{RECEIPT}"
"""Begins each line that code rendered; stripped from everybody else's words."""

# They can make text read in another order than it is stored: an amount could be turned around.
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LEFT_OUT = {"Cc", "Cs"}  # controls, and halves of a pair that JSON can spell and no file can keep
_LINE_BREAKS = re.compile("[\\s\u0085\u2028\u2029]+")

PAYEE_LENGTH_MAX = 60
MEMO_LENGTH_MAX = 140


def receipt(text: str) -> str:
    """One line of the ledger, as the customer sees it."""
    return f"{MARK} {text}"


def without_mark(text: str) -> str:
    """Somebody's words without the mark, bidirectional and other controls, lone surrogates."""
    kept = _BIDI_CONTROLS.sub("", text.replace(MARK, ""))
    return "".join(c for c in kept if c in "\n\t" or unicodedata.category(c) not in _LEFT_OUT)


def one_line(text: str, length_max: int) -> str:
    """A payee or memo: words without mark, controls and line breaks, cut to a length."""
    return _LINE_BREAKS.sub(" ", without_mark(text)).strip()[:length_max].rstrip()


def reply_text(receipts: Sequence[str], words: str) -> str:
    """The whole reply: the ledger's lines first, apart from the model's words."""
    spoken = without_mark(words).strip() if receipts else without_mark(words)
    return "\n\n".join(part for part in ("\n".join(receipts), spoken) if part)
