"""Delivery of a reply: its parts and address, and what Meta's codes require."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain import delivery
from wbot.domain.delivery import (
    PAIR_LIMIT_BACKOFF,
    SEND_BACKOFF,
    TEXT_LENGTH_MAX,
    TURN_BACKOFF,
    Backoff,
    Verdict,
    send_again_s,
    split_text,
    verdict_of,
)

# Codes -----------------------------------------------------------------------------------------

RETRY, UNSURE, PAIR, REFUSED, ACCOUNT = (
    Verdict.RETRY,
    Verdict.UNSURE,
    Verdict.PAIR_LIMIT,
    Verdict.REFUSED,
    Verdict.ACCOUNT,
)
# Code, HTTP status (400 where none is known), and what the fact sheet says: R the same request
# again, N never, F something must be fixed first.
CODES = {
    0: (401, "F", ACCOUNT),
    190: (401, "F", ACCOUNT),
    3: (500, "F", ACCOUNT),
    10: (403, "F", ACCOUNT),
    200: (403, "F", ACCOUNT),
    230: (403, "F", ACCOUNT),
    299: (403, "F", ACCOUNT),
    1: (400, "R", UNSURE),
    2: (503, "R", RETRY),
    4: (400, "R", RETRY),
    32: (400, "R", RETRY),
    613: (400, "R", RETRY),
    102: (401, "F", ACCOUNT),
    17: (400, "R", RETRY),
    33: (400, "F", ACCOUNT),
    100: (400, "N", REFUSED),
    368: (403, "N", ACCOUNT),  # stop all sends
    80007: (400, "R", RETRY),
    130403: (400, "N", REFUSED),
    130429: (400, "R", RETRY),
    130472: (400, "N", REFUSED),
    130497: (403, "N", REFUSED),
    131000: (500, "R", UNSURE),
    131005: (403, "F", ACCOUNT),
    131008: (400, "N", REFUSED),
    131009: (400, "N", REFUSED),
    131016: (500, "R", RETRY),
    131021: (400, "N", REFUSED),
    131026: (400, "N", REFUSED),
    131030: (400, "F", REFUSED),  # this recipient only
    131031: (403, "N", ACCOUNT),  # the account is locked
    131037: (400, "F", ACCOUNT),
    131042: (400, "F", ACCOUNT),
    131045: (500, "F", ACCOUNT),
    131047: (400, "N", REFUSED),
    131048: (400, "N", ACCOUNT),  # pause everything
    131049: (400, "N", REFUSED),
    131050: (400, "N", REFUSED),
    131051: (400, "N", REFUSED),
    131052: (400, "N", REFUSED),
    131053: (400, "N", REFUSED),
    131055: (400, "N", REFUSED),
    131056: (400, "R", PAIR),
    131057: (500, "R", RETRY),
    131059: (400, "N", REFUSED),  # again only without the cursor
    131062: (400, "F", REFUSED),  # this message to a user id
    131063: (400, "F", REFUSED),  # marketing templates
    131064: (400, "F", REFUSED),  # templates
    132000: (400, "N", REFUSED),
    132001: (404, "N", REFUSED),
    132005: (400, "N", REFUSED),
    132007: (400, "N", REFUSED),
    132008: (400, "N", REFUSED),
    132012: (400, "N", REFUSED),
    132015: (400, "N", REFUSED),
    132016: (400, "N", REFUSED),
    132018: (400, "N", REFUSED),
    132068: (400, "F", REFUSED),  # this flow
    132069: (400, "F", REFUSED),
    133000: (500, "F", ACCOUNT),
    133004: (503, "R", RETRY),
    133005: (400, "F", ACCOUNT),
    133006: (400, "F", ACCOUNT),
    133008: (400, "R", RETRY),
    133009: (400, "R", RETRY),
    133010: (400, "F", ACCOUNT),
    133015: (400, "R", RETRY),
    133016: (400, "R", RETRY),
    134011: (400, "F", ACCOUNT),
    134100: (400, "N", REFUSED),
    134101: (400, "R", RETRY),
    134102: (500, "F", REFUSED),  # marketing messages only
    135000: (400, "N", REFUSED),
    137000: (400, "N", REFUSED),
}


@pytest.mark.parametrize("code", CODES)
def test_a_code_asks_for_what_the_fact_sheet_says(code: int) -> None:
    """Whatever the HTTP status: rate limits come as 400, and a 500 may be permanent."""
    http_status, letter, verdict = CODES[code]
    for status in {http_status, 400, 500, None}:  # None: a status webhook
        assert verdict_of(code, status) is verdict
    assert (letter == "R") == (verdict in {RETRY, UNSURE, PAIR})


def test_every_code_we_name_is_in_the_table() -> None:
    groups = (
        delivery._ACCOUNT_CODES,
        delivery._RETRY_CODES,
        delivery._UNSURE_CODES,
        delivery._REFUSED_CODES,
    )
    named = frozenset().union(*groups)
    assert named - set(range(200, 300)) - set(range(80000, 80015)) <= set(CODES)
    assert sum(map(len, groups)) == len(named)


@pytest.mark.parametrize("code", [None, 5, 99_999, 131_999, 300, 199, -1])
@pytest.mark.parametrize(
    ("http_status", "verdict"),
    [
        (None, REFUSED),
        (400, REFUSED),
        (401, ACCOUNT),
        (403, REFUSED),
        (429, RETRY),
        (499, REFUSED),
        (500, UNSURE),
        (503, UNSURE),
    ],
)
def test_an_unknown_code_is_judged_by_its_http_status(
    code: int | None, http_status: int | None, verdict: Verdict
) -> None:
    assert verdict_of(code, http_status) is verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(None, RETRY), (99_999, RETRY), (100, RETRY), (190, ACCOUNT), (131056, PAIR)],
)
def test_meta_s_own_hint_that_it_will_pass_is_believed(code: int | None, verdict: Verdict) -> None:
    assert verdict_of(code, 400, is_transient=True) is verdict


@pytest.mark.parametrize(("code", "verdict"), [(100, ACCOUNT), (131026, REFUSED), (131016, RETRY)])
def test_a_refusal_of_the_call_itself_is_about_the_account(code: int, verdict: Verdict) -> None:
    assert verdict_of(code, 400, is_about_call=True) is verdict


# Waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (PAIR_LIMIT_BACKOFF, [1, 4, 16, 64, 256, 256]),
        (TURN_BACKOFF, [1, 2, 4, 8, 16, 32, 60]),
        (SEND_BACKOFF, [1, 2, 4, 8, 16, 30, 30]),
    ],
)
def test_each_wait_is_longer_up_to_a_limit(backoff: Backoff, waits: list[float]) -> None:
    assert [backoff.wait_s(attempt) for attempt in range(1, len(waits) + 1)] == waits
    assert backoff.wait_s(1_000_000) == waits[-1]


@pytest.mark.parametrize(
    ("verdict", "age_s", "again"),
    [
        (RETRY, 86_000, True),
        (RETRY, 86_401, False),
        (None, 86_000, True),
        (PAIR, 86_000, True),
        (UNSURE, 890, True),
        (UNSURE, 910, False),
        (ACCOUNT, 200_000, True),
        (REFUSED, 0, False),
    ],
)
def test_what_passes_is_waited_for_as_long_as_the_window_is_open(
    verdict: Verdict | None, age_s: float, again: bool
) -> None:
    assert (send_again_s(verdict, failures=1, age_s=age_s) is not None) is again


def test_jitter_shortens_a_wait_by_at_most_a_quarter() -> None:
    assert [SEND_BACKOFF.wait_s(3, jitter) for jitter in (0.0, 0.5, 1.0)] == [4, 3.5, 3]


@pytest.mark.parametrize(
    ("attempts", "retry_after_s", "waits"),
    [(1, 0, [1, 1.5]), (1, 20, [20, 30]), (3, 1, [4, 6]), (99, 1, [60, 90])],
)
def test_a_wait_that_was_asked_for_is_kept_and_spread(
    attempts: int, retry_after_s: float, waits: list[float]
) -> None:
    """Never shorter than requested, and longer where the requested time proved too short."""
    found = [TURN_BACKOFF.asked_wait_s(attempts, retry_after_s, jitter) for jitter in (0, 1)]
    assert found == waits


# Parts -----------------------------------------------------------------------------------------

SPACES = " \n\t\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}"
LONG_TEXTS = st.text(max_size=300) | st.text(alphabet=f'ab.!?。”"{SPACES}', max_size=300)


def without_spaces(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=300, deadline=None)
@given(text=LONG_TEXTS, length_max=st.integers(min_value=1, max_value=60))
def test_parts_fit_and_lose_nothing_but_white_space(text: str, length_max: int) -> None:
    parts = split_text(text, length_max)
    assert parts
    assert all(len(part) <= length_max for part in parts)
    assert without_spaces("".join(parts)) == without_spaces(text)
    rest = text
    for part in filter(None, parts):  # each in its place, with only white space between them
        before, found, rest = rest.partition(part)
        assert found == part
        assert not before.strip()
    if text.strip():
        assert all(part.strip() for part in parts)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=100))
def test_what_fits_is_left_as_it_is(text: str) -> None:
    assert split_text(text, 100) == (text,)


ENDS = st.sampled_from([".", "!", "?", ".)", "!”", "…"])
SENTENCES = st.lists(
    st.tuples(st.integers(min_value=1, max_value=18), ENDS).map(lambda one: "a" * one[0] + one[1]),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(sentences=SENTENCES, length_max=st.integers(min_value=50, max_value=90))
def test_cuts_are_made_after_sentences_where_there_are_any(
    sentences: list[str], length_max: int
) -> None:
    parts = split_text(" ".join(sentences), length_max)
    assert all(part.endswith((".", "!", "?", ")", "”", "…")) for part in parts)
    assert " ".join(parts) == " ".join(sentences)
    assert all(len(part) > length_max // 2 - 1 for part in parts[:-1])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One two. Three four. Five", ("One two. Three four.", "Five")),
        ("Twelve chars. Go. And so on", ("Twelve chars. Go.", "And so on")),
        ("One two three four five six", ("One two three four", "five six")),
        ("a" * 45, ("a" * 20, "a" * 20, "a" * 5)),
        ("A line of words\nand another one", ("A line of words", "and another one")),
        (
            "これは文です。これも長い文です。そして終わりです。",
            ("これは文です。これも長い文です。", "そして終わりです。"),
        ),
        ("Pay 1.50 now or pay 2.75 then", ("Pay 1.50 now or pay", "2.75 then")),
        ("Hm. And then no end for a while", ("Hm. And then no end", "for a while")),
        ("exactly twenty chars", ("exactly twenty chars",)),
        ("exactly twenty char. More", ("exactly twenty char.", "More")),
        ("", ("",)),
        (" " * 50, ("",)),
    ],
)
def test_a_text_is_cut_where_a_reader_would(text: str, parts: tuple[str, ...]) -> None:
    assert split_text(text, 20) == parts


def test_the_limit_is_the_one_of_a_text_message() -> None:
    assert TEXT_LENGTH_MAX == 4_096
    assert [len(part) for part in split_text("x" * 10_000)] == [4_096, 4_096, 1_808]
