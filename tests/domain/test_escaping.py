"""What leaves for a terminal, JSON, a spreadsheet or a journal is words, never syntax."""

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.escaping import in_csv, in_journal, in_json, on_lines, on_one_line

CONTROLS = (
    *("\x1b[31m", "\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\x90q\x9c", "\x08\x08", "\r", "\x7f"),
    *("\N{RIGHT-TO-LEFT OVERRIDE}", "\N{LEFT-TO-RIGHT ISOLATE}", "\N{RIGHT-TO-LEFT MARK}", "\x85"),
    *("\N{ARABIC LETTER MARK}", "\N{LINE SEPARATOR}", "\N{PARAGRAPH SEPARATOR}", "\ud83d", "\0"),
)
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("control", CONTROLS)
def test_no_control_reaches_a_terminal(control: str) -> None:
    text = f"Jo{control}hn"
    for safe in (on_lines(text), on_one_line(text), in_csv(text), in_journal(text)):
        assert not UNSAFE.search(safe)
        safe.encode()
        assert safe.startswith("Jo")
        assert safe.endswith("hn")
    encoded = in_json(json.dumps({"name": text}, ensure_ascii=False, indent=2))
    assert not UNSAFE.search(encoded)
    encoded.encode()
    assert json.loads(encoded) == {"name": text}


def test_lines_stay_lines_only_where_there_may_be_several() -> None:
    assert on_lines("one\ntwo\r\n") == "one\ntwo \n"
    assert on_one_line("one\ntwo") == "one two"


@pytest.mark.parametrize(
    "text", ["John", "José 山田 محمد", "👩‍👩‍👧", "5 - 2", "a=b", "", "'x", "“quoted”", "می‌خواهم"]
)
def test_words_are_left_as_they_are(text: str) -> None:
    assert on_lines(text) == on_one_line(text) == in_csv(text) == in_journal(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "\N{NO-BREAK SPACE}=1"),
        *("＝1", "＋1", "－1", "＠1", "−1", "\N{ZERO WIDTH SPACE}=1", "\ufeff=1", "\ufe0f=1"),
        *("=cmd|' /C calc'!A0", '=HYPERLINK("http://x.example")', "-2+3+cmd|x", "\t\t-1"),
    ],
)
def test_no_cell_is_a_formula(text: str) -> None:
    assert in_csv(text) == f"'{on_one_line(text)}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one ; two | three  four\N{NO-BREAK SPACE}\tfive\n", "one , two / three four five"),
        ("\x1b[31mred\n2026-11-23 T9 forged", "[31mred 2026-11-23 T9 forged"),
    ],
)
def test_a_journal_s_words_are_one_line_without_its_syntax(text: str, words: str) -> None:
    assert in_journal(text) == words


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30) | st.lists(st.sampled_from(CONTROLS), max_size=4).map("".join))
def test_whatever_is_written_is_one_safe_cell_and_line(text: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([in_csv(text), "x"])
    assert list(csv.reader([out.getvalue()])) == [[in_csv(text), "x"]]
    assert len(on_one_line(text).splitlines()) <= 1
    assert in_csv(in_csv(text)) == in_csv(text)
    assert json.loads(in_json(json.dumps(text, ensure_ascii=False))) == text
