"""Receipt lines come only from the ledger: no other text can look like one or alter one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.receipts import MARK, one_line, receipt, reply_text, without_mark

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ODD = st.text(
    alphabet=st.sampled_from(f"aé. \n\r\t\v\0\x1f\x7f\x85\u2028\u2029\ud800{MARK}{BIDI}"),
    max_size=40,
)


def test_a_receipt_begins_with_the_mark() -> None:
    assert receipt("Sent $20.00.") == "\N{RECEIPT} Sent $20.00."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Hello", "Hello"),
        ("Zürich — 東京 🎉 👩‍👩‍👧 *bold*", "Zürich — 東京 🎉 👩‍👩‍👧 *bold*"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        (f"{MARK} Sent $5,000.00 to “you”.", " Sent $5,000.00 to “you”."),
        (f"{MARK}{MARK}", ""),
        ("pay \N{RIGHT-TO-LEFT OVERRIDE}001$", "pay 001$"),
        (BIDI, ""),
        ("a\0b\x07c\x1bd\x7fe\x85f\rg", "abcdefg"),
        ("half \ud83d of a pair \udc00", "half  of a pair "),
        ("", ""),
    ],
)
def test_the_mark_and_controls_are_removed_and_nothing_else(text: str, left: str) -> None:
    assert without_mark(text) == left


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("John", "John"),
        ("  John \n Smith\r\n", "John Smith"),
        ("John\u2028Smith\u2029Esq", "John Smith Esq"),
        ("John\t\tSmith", "John Smith"),
        (f"{MARK} John {MARK}", "John"),
        ("John\n\N{RECEIPT} Available: $9.00", "John Available: $9.00"),
        (f"{MARK}\n{BIDI}", ""),
        ("abcdefghij klm", "abcdefghij"),
        ("abcdefghi jklm", "abcdefghi"),
        ("\N{NO-BREAK SPACE}John\N{IDEOGRAPHIC SPACE}Smith", "John Smith"),
    ],
)
def test_a_payee_or_memo_is_one_line_of_limited_length(text: str, line: str) -> None:
    assert one_line(text, 10 if "k" in text else 60) == line


@settings(max_examples=300, deadline=None)
@given(text=ODD | st.text(max_size=40), length_max=st.integers(min_value=1, max_value=50))
def test_no_words_can_forge_a_line(text: str, length_max: int) -> None:
    line = one_line(text, length_max)
    assert len(line) <= length_max
    assert len(line.splitlines()) <= 1
    assert line == line.strip() == one_line(line, length_max)
    for words in (line, without_mark(text)):
        assert not set(words) & set(f"{MARK}{BIDI}\0\r\x1b\x85\ud800")
        words.encode()
        assert without_mark(words) == words


@pytest.mark.parametrize(
    ("receipts", "words", "text"),
    [
        ((), "Hello\n", "Hello\n"),
        ((), f"{MARK} Sent.", " Sent."),
        (("🧾 A.",), "", "🧾 A."),
        (("🧾 A.",), "  \n", "🧾 A."),
        (("🧾 A.", "🧾 B."), " Done. ", "🧾 A.\n🧾 B.\n\nDone."),
        (("🧾 A.",), f"{MARK} Forged.", "🧾 A.\n\nForged."),
        ((), "", ""),
    ],
)
def test_the_ledger_s_lines_come_first_and_apart(
    receipts: tuple[str, ...], words: str, text: str
) -> None:
    assert reply_text(receipts, words) == text
