"""The recent past, cut to what a prompt can hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.history import CHARACTERS_MAX, LINES_MAX, Line, fit

LINES = st.lists(st.integers(min_value=0, max_value=12).map(lambda n: Line("user", "x" * n)))


def test_what_fits_is_kept_in_order() -> None:
    lines = [Line("user", "Hi"), Line("assistant", "Hello"), Line("user", "Bye")]
    assert fit(lines) == tuple(lines)
    assert fit([]) == ()


def test_the_newest_lines_are_kept() -> None:
    lines = [Line("user", str(number)) for number in range(LINES_MAX + 5)]
    assert fit(lines) == tuple(lines[5:])


def test_a_line_is_kept_whole_or_not_at_all() -> None:
    lines = [Line("user", "12345"), Line("assistant", "123456"), Line("user", "1234")]
    assert fit(lines, characters_max=10) == tuple(lines[1:])
    assert fit(lines, characters_max=9) == tuple(lines[2:])
    assert fit(lines, characters_max=3) == ()


def test_one_endless_line_hides_what_came_before_it() -> None:
    """A gap in the middle would make an answer look like one to another question."""
    lines = [Line("user", "short"), Line("user", "x" * (CHARACTERS_MAX + 1)), Line("user", "new")]
    assert fit(lines) == (Line("user", "new"),)


@settings(max_examples=200, deadline=None)
@given(
    lines=LINES,
    lines_max=st.integers(min_value=0, max_value=8),
    characters_max=st.integers(min_value=0, max_value=40),
)
def test_the_longest_tail_within_both_limits_is_kept(
    lines: list[Line], lines_max: int, characters_max: int
) -> None:
    tails = [tuple(lines[start:]) for start in range(len(lines) + 1)]
    fitting = [
        tail
        for tail in tails
        if len(tail) <= lines_max and sum(len(line.text) for line in tail) <= characters_max
    ]
    assert fit(lines, lines_max=lines_max, characters_max=characters_max) == fitting[0]
