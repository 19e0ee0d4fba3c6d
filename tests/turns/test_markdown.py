"""A model's Markdown is shown with WhatsApp's marks; plain text is left as it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.turns.markdown import as_whatsapp_shows

FIELD = (
    "**Our hours**\n\n### Weekdays\n- **Mon–Fri**: 9–17\n\n[Map](https://example.com/map)\n\n"
    "| Day | Hours |\n|---|---|\n| Sat | 10–14 |"
)

FIELD_SHOWN = (
    "*Our hours*\n\n*Weekdays*\n- *Mon–Fri*: 9–17\n\nMap: https://example.com/map\n\n"
    "*Day* · *Hours*\nSat · 10–14"
)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (
            FIELD,
            FIELD_SHOWN,
        ),
        ("__Bold__ and ~~gone~~", "*Bold* and ~gone~"),
        ("**Bold** and *slanted*", "*Bold* and _slanted_"),
        ("***Both***", "_*Both*_"),
        ("# **All** of it #", "*All of it*"),
        ("Above\n---\nbelow", "Above\n———\nbelow"),
        ('[Map](https://example.com "title")', "Map: https://example.com"),
        ("Day | Hours\n:-- | --:\nSat | 10", "*Day* · *Hours*\nSat · 10"),
        ("- ## Part\n- x", "- *Part*\n- x"),
        ("```python\nx = **1**\n```", "```\nx = **1**\n```"),
        ("~~~\nx\n~~~", "```\nx\n```"),
        ("```sh\nx", "```\nx\n```"),
        ("1. **One**\n2. two\n   - **three**", "1. *One*\n2. two\n   - *three*"),
        ("> **Quoted**\n> text", "> *Quoted*\n> text"),
        ("one\n\n---\n\ntwo", "one\n\n———\n\ntwo"),
        ("<https://example.com/a>", "https://example.com/a"),
        ("[https://a.example](https://a.example)", "https://a.example"),
        ("**[Map](https://a.example)**", "Map: https://a.example"),
        ("![Our shop](https://a.example/i.png)", "Our shop: https://a.example/i.png"),
        ("[write](mailto:a@example.com) us", "write: mailto:a@example.com us"),
        ("one<br>two **x**", "one\ntwo *x*"),
        (r"5 \* 3 \_x\_ **b**", "5 * 3 _x_ *b*"),
        ("das **Wort**ende", "das Wortende"),
        ("**5**3 and 5**3**2", "**5**3 and 5**3**2"),
        ("* **a**\n* b", "* *a*\n* b"),
        ("| a | b | c |\n|:--|:-:|--:|\n| **1** | | 3 |\n\nend", "*a* · *b* · *c*\n*1* · 3\n\nend"),
    ],
)
def test_markdown_is_shown_as_whatsapp_has_it(written: str, shown: str) -> None:
    assert as_whatsapp_shows(written) == shown
    assert as_whatsapp_shows(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Hello, how can I help?",
        "  Two spaces,  and   more  \n\n\n  kept ",
        "*Bold* as WhatsApp has it, and _slanted_",
        "2 * 3 * 4 = 24, 5*3*2 = 30",
        "2 ** 3 ** 4 and a__b__c",
        "a | b",
        "[not a link] (really)",
        "`**code**`",
        "snake_case_name and C:\\dir",
        "- one\n- two\n\n1. first\n2. second",
        "#1 in town, +1 555 0101001, -5 °C",
        "> a quotation\nof two lines",
        "a `b` c",
        "$20.00 to John (T2)",
        "https://example.com/a_b_c?x=*1*",
        "| no | table |",
        "    an indented line",
        "",
    ],
)
def test_plain_text_is_unchanged(text: str) -> None:
    assert as_whatsapp_shows(text) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab 1*_~`#[]()|-\n>!<\\", max_size=80))
def test_any_text_can_be_shown(text: str) -> None:
    shown = as_whatsapp_shows(text)
    assert [c for c in shown if c in "ab"] == [c for c in text if c in "ab"] or "[" in text
