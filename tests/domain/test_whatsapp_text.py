"""Markdown as WhatsApp shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbot.domain.whatsapp_text import as_whatsapp_shows

SHOWN = {
    "**bold**": "*bold*",
    "__bold__": "*bold*",
    "***both***": "*_both_*",
    "a **b c** d **e**": "a *b c* d *e*",
    "### Weekdays": "*Weekdays*",
    "# **Hours** #": "*Hours*",
    "~~gone~~": "~gone~",
    "[Map](https://example.com/map)": "Map: https://example.com/map",
    "[https://example.com](https://example.com)": "https://example.com",
    '[Map](https://example.com "title")': "Map: https://example.com",
    "![Photo](https://example.com/a.jpg)": "Photo: https://example.com/a.jpg",
    "a\n---\nb": "a\nb",
    "| Day | Hours |\n|---|---|\n| Sat | 10–14 |": "Day | Hours\nSat | 10–14",
    "Day | Hours\n:-- | --:\nSat | 10": "Day | Hours\nSat | 10",
    "- **Mon–Fri**: 9–17": "- *Mon–Fri*: 9–17",
    "`**code**`": "`**code**`",
    "```python\n# x\n**y**\n```": "```\n# x\n**y**\n```",
    # What is no Markdown, or WhatsApp's own, stays.
    "*bold* _italic_ ~strike~": "*bold* _italic_ ~strike~",
    "2 ** 3 ** 4": "2 ** 3 ** 4",
    "a__b__c": "a__b__c",
    "#1 choice": "#1 choice",
    "a | b": "a | b",
    "5 * 3 = 15": "5 * 3 = 15",
    " leading and trailing ": " leading and trailing ",
    "> quote\n* item\n1. item": "> quote\n* item\n1. item",
    "[not a link] (really)": "[not a link] (really)",
}


@pytest.mark.parametrize(("markdown", "shown"), SHOWN.items())
def test_markdown_is_shown_in_whatsapp_s_marks(markdown: str, shown: str) -> None:
    assert as_whatsapp_shows(markdown) == shown


@given(st.text(alphabet="ab 19$.,-\n"))
def test_words_without_marks_are_left_as_they_are(text: str) -> None:
    if "--" not in text.replace(" ", ""):
        assert as_whatsapp_shows(text) == text
