"""Which symbol may stand first in a line: the ledger's mark, and no other that looks like it.

In a model's text a symbol at the start of a line moves behind the line's first word if it shows
paper, money or a tick, or if the line names an amount of money or speaks of a payment in figures.
Any other stays where it is.
"""

import re
import unicodedata
from collections.abc import Iterator

from wbot.domain.receipts import MARK

# What WhatsApp formats with, quotes and bullets: they stand before a line's first sign.
_FORMAT = frozenset("*_~`>-\u2022\u00b7\u2013\u2014|")
_SYMBOLS = frozenset({"So", "Sk", "Sm", "Co", "Cn", "Me"})
_SIGNS = frozenset("\u00a7\u00b6\u2020\u2021\u203b\u2042")  # by their kind punctuation
# Joiners, variation selectors and tags change the symbol before them.
_JOINED = frozenset({"Mn", "Cf", "Zs", "Cc"})
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")

_LIKE_A_RECEIPT = re.compile(
    r"\b(?:RECEIPT|PAGE|DOCUMENT|SCROLL|NOTE|NOTE ?PAD|NOTE ?BOOK|BOOK|LEDGER|MEMO|CLIPBOARD|MONEY"
    r"|BANKNOTE|CREDIT CARD|COIN|BANK|CHECK|BALLOT|TICK|TICKETS?|BOOKMARK|LABEL|NEWSPAPER|INDEX"
    r"|FILE|FOLDER|DOLLAR|EURO|YEN|POUND|CURRENCY|TELLER|ABACUS|CHART|CROSS MARK|HORIZONTAL FILL)\b"
)
_SIGN = "[$\u00a2-\u00a5\u0e3f\u20a0-\u20cf]|\\b[A-Z]{3}\\b"
_MONEY = re.compile(rf"(?:{_SIGN})[ \u00a0]?\d|\d[ \u00a0]?(?:{_SIGN})")
_REFERENCE = re.compile(r"\bT\d+\b")
_PAYMENT = re.compile(
    r"\b(?:sent|paid|pay|received|transferred|available|balance|held|cancell?ed|reversed|refunded"
    r"|credited|debited|deposit(?:ed)?|withdrawn|confirm(?:ed)?|pending|together)\b",
    re.IGNORECASE,
)


def symbols_moved(text: str) -> str:
    """The text with such symbols behind a word; the ledger's own lines as they are."""
    return "\n".join(_lines(text.split("\n")))


def _lines(lines: list[str]) -> Iterator[str]:
    alone: list[str] = []  # symbols in lines of their own stand before the next line with words
    for line in lines:
        before, symbols, rest = _parts(line)
        is_ours = line.startswith(f"{MARK} ")
        if not is_ours and ((symbols and not rest) or (alone and not line.strip())):
            alone.append(line)
            continue
        first = " ".join([*(one.strip() for one in alone if one.strip()), symbols]).strip()
        if first and rest and not is_ours and _is_like_a_receipt(first, rest):
            word, space, remainder = re.split(r"(\s+|$)", rest, maxsplit=1)
            yield f"{before}{word} {first}{space}{remainder}"
        else:
            yield from (*alone, line)
        alone = []
    yield from alone


def _parts(line: str) -> tuple[str, str, str]:
    """What formats the line, its leading symbols, and the rest, which begins with a word."""
    start = 0
    while start < len(line) and _is_ornament(line[start]) and not _KEYCAP.match(line, start):
        start += 1
    end, has_symbol = start, False
    while end < len(line):
        keycap = _KEYCAP.match(line, end)
        is_symbol = keycap is not None or _is_symbol(line[end])
        if not is_symbol and not _is_ornament(line[end]):
            break
        has_symbol |= is_symbol
        end = keycap.end() if keycap else end + 1
    end = end if has_symbol else start
    return line[:start], line[start:end].rstrip(), line[end:]


def _is_symbol(c: str) -> bool:
    return c in _SIGNS or (unicodedata.category(c) in _SYMBOLS and not c.isascii())


def _is_ornament(c: str) -> bool:
    return c in _FORMAT or unicodedata.category(c) in _JOINED


def _is_like_a_receipt(symbols: str, rest: str) -> bool:
    return (
        any(_LIKE_A_RECEIPT.search(unicodedata.name(c, "")) for c in symbols)
        or _MONEY.search(rest) is not None
        or _REFERENCE.search(rest) is not None
        or (any(c.isdecimal() for c in rest) and _PAYMENT.search(rest) is not None)
    )
