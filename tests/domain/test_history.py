"""The recent history, cut to what a prompt can hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.history import CHARACTERS_MAX, LINES_MAX, ChatMessage, fit

LINES = st.lists(st.integers(min_value=0, max_value=12).map(lambda n: ChatMessage("user", "x" * n)))


def test_what_fits_is_kept_in_order() -> None:
    lines = [
        ChatMessage("user", "Hi"),
        ChatMessage("assistant", "Hello"),
        ChatMessage("user", "Bye"),
    ]
    assert fit(lines) == tuple(lines)
    assert fit([]) == ()


def test_the_newest_lines_are_kept() -> None:
    lines = [ChatMessage("user", str(number)) for number in range(LINES_MAX + 5)]
    assert fit(lines) == tuple(lines[5:])


def test_a_line_is_kept_whole_or_not_at_all() -> None:
    lines = [
        ChatMessage("user", "12345"),
        ChatMessage("assistant", "123456"),
        ChatMessage("user", "1234"),
    ]
    assert fit(lines, characters_max=10) == tuple(lines[1:])
    assert fit(lines, characters_max=9) == tuple(lines[2:])
    assert fit(lines, characters_max=3) == ()


def test_one_endless_line_hides_what_came_before_it() -> None:
    """A gap in the middle would make an answer seem to answer another question."""
    lines = [
        ChatMessage("user", "short"),
        ChatMessage("user", "x" * (CHARACTERS_MAX + 1)),
        ChatMessage("user", "new"),
    ]
    assert fit(lines) == (ChatMessage("user", "new"),)


@settings(max_examples=200, deadline=None)
@given(
    lines=LINES,
    lines_max=st.integers(min_value=0, max_value=8),
    characters_max=st.integers(min_value=0, max_value=40),
)
def test_the_longest_tail_within_both_limits_is_kept(
    lines: list[ChatMessage], lines_max: int, characters_max: int
) -> None:
    tails = [tuple(lines[start:]) for start in range(len(lines) + 1)]
    fitting = [
        tail
        for tail in tails
        if len(tail) <= lines_max and sum(len(line.text) for line in tail) <= characters_max
    ]
    assert fit(lines, lines_max=lines_max, characters_max=characters_max) == fitting[0]
