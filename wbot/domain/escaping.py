"""Text that leaves for a terminal, JSON, a spreadsheet or a journal: words, never syntax."""

import re
import unicodedata

# C0 and C1 controls, marks and overrides of direction, line and paragraph separators, surrogates:
# they could move a cursor, change a title, turn a line around, or cannot be written at all.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_FORMULA = frozenset("=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}") | frozenset(
    "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}\N{MINUS SIGN}"
)
_SPACES = re.compile(r"\s+")


def on_lines(text: str) -> str:
    """For a terminal: the text with a space for each control, line breaks kept."""
    return "\n".join(on_one_line(line) for line in text.split("\n"))


def on_one_line(text: str) -> str:
    """For a terminal or a file of lines: the text with a space for each control and line break."""
    return _CONTROLS.sub(" ", text)


def in_json(encoded: str) -> str:
    """JSON whose controls are written as escapes: the same value, and safe to print."""
    return _CONTROLS.sub(lambda c: c[0] if c[0] == "\n" else f"\\u{ord(c[0]):04x}", encoded)


def in_csv(text: str) -> str:
    """A cell of a CSV file: a spreadsheet would run one that begins like a formula."""
    cell = on_one_line(text)
    starts = (
        next((c for c in one if unicodedata.category(c) not in {"Zs", "Cf", "Mn"}), None)
        for one in (text, cell)
    )
    return f"'{cell}" if not _FORMULA.isdisjoint(starts) else cell


def in_journal(text: str) -> str:
    """Words in a journal's description: a semicolon begins a comment, a bar divides it."""
    plain = on_one_line(text).replace(";", ",").replace("|", "/")
    return _SPACES.sub(" ", plain).strip()
