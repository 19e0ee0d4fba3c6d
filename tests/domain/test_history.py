"""The recent history, cut to what a prompt can hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.history import (
    BYTES_PER_TOKEN,
    LINES_MAX,
    TOKENS_MAX,
    ChatMessage,
    fit,
    from_customer,
    shorter,
    tokens_of,
)

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
        ChatMessage("assistant", "123456789"),
        ChatMessage("user", "1234"),
    ]
    assert fit(lines, tokens_max=5) == tuple(lines[1:])
    assert fit(lines, tokens_max=4) == tuple(lines[2:])
    assert fit(lines, tokens_max=1) == ()


def test_tokens_are_counted_cautiously_in_any_script() -> None:
    assert [tokens_of(text) for text in ("", "a", "word", "слово", "你好")] == [0, 1, 2, 4, 2]


def test_a_shorter_past_begins_with_a_customer_and_ends_with_nothing() -> None:
    lines = [ChatMessage("user" if n % 2 == 0 else "assistant", str(n)) for n in range(7)]
    sizes = []
    while lines:
        lines = list(shorter(lines))
        assert not lines or lines[0].role == "user"
        sizes.append(len(lines))
    assert sizes == [3, 1, 0]
    answer = ChatMessage("assistant", "Hello")
    assert from_customer([answer, ChatMessage("user", "Hi"), answer])[0].role == "user"
    assert from_customer([answer]) == ()


def test_one_endless_line_hides_what_came_before_it() -> None:
    """A gap in the middle would make an answer seem to answer another question."""
    lines = [
        ChatMessage("user", "short"),
        ChatMessage("user", "x" * (TOKENS_MAX * BYTES_PER_TOKEN + 1)),
        ChatMessage("user", "new"),
    ]
    assert fit(lines) == (ChatMessage("user", "new"),)


@settings(max_examples=200, deadline=None)
@given(
    lines=LINES,
    lines_max=st.integers(min_value=0, max_value=8),
    tokens_max=st.integers(min_value=0, max_value=14),
)
def test_the_longest_tail_within_both_limits_is_kept(
    lines: list[ChatMessage], lines_max: int, tokens_max: int
) -> None:
    tails = [tuple(lines[start:]) for start in range(len(lines) + 1)]
    fitting = [
        tail
        for tail in tails
        if len(tail) <= lines_max and sum(tokens_of(line.text) for line in tail) <= tokens_max
    ]
    assert fit(lines, lines_max=lines_max, tokens_max=tokens_max) == fitting[0]
