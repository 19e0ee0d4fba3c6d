"""When two programs answer each other, and when a person only writes much."""

from datetime import UTC, datetime, timedelta

import pytest

from wbot.domain.loops import ANSWERED_MAX, Said, is_loop

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AWAY = "Thanks for your message! We are away until 9:00."


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def said(text: str, came_s: float, *, ended_s: float | None = None, is_loop: bool = False) -> Said:
    ended_at = None if ended_s is None else at(ended_s)
    return Said(text=text, received_at=at(came_s), ended_at=ended_at, is_loop=is_loop)


def rounds(*texts: str, every_s: float = 0.1) -> list[Said]:
    """Messages, each answered before the next came; the latest first."""
    return [
        said(text, -every_s * number, ended_s=-every_s * number + every_s / 2)
        for number, text in enumerate(texts, 1)
    ]


@pytest.mark.parametrize(
    ("text", "before", "found"),
    [
        (AWAY, rounds(*[AWAY] * ANSWERED_MAX), True),
        (AWAY, rounds(AWAY.upper(), AWAY + " ", *[AWAY] * (ANSWERED_MAX - 2)), True),
        (AWAY, rounds(*[AWAY] * (ANSWERED_MAX - 1)), False),
        (AWAY, rounds(AWAY, "Hello", *[AWAY] * ANSWERED_MAX), False),
        ("Send $5", rounds(*(f"Send ${number}" for number in range(6, 6 + ANSWERED_MAX))), False),
        (AWAY, rounds(*[AWAY] * ANSWERED_MAX, every_s=20), False),  # a person asks again
        (AWAY, [said(AWAY, -0.3) for _ in range(ANSWERED_MAX)], False),  # sent at once
        (AWAY, [said(AWAY, -500, ended_s=-500, is_loop=True)], True),
        (AWAY, [said(AWAY, -700, ended_s=-700, is_loop=True)], False),
        ("Hello", [said(AWAY, -5, ended_s=-5, is_loop=True)], False),
        (AWAY, [], False),
    ],
)
def test_the_same_text_again_and_again_is_a_loop(
    text: str, before: list[Said], found: bool
) -> None:
    assert is_loop(said(text, 0), before, rate_since=None) is found


@pytest.mark.parametrize(("since_s", "found"), [(-9.0, True), (-11.0, False), (None, False)])
def test_a_rate_that_no_person_types_is_a_loop(since_s: float | None, found: bool) -> None:
    before = rounds(*(f"text {chr(97 + number)}" for number in range(3)))
    since = None if since_s is None else at(since_s)
    assert is_loop(said("another", 0), before, rate_since=since) is found
    unanswered = [said("text", -0.1)]  # a queue of many messages is no conversation
    assert not is_loop(said("another", 0), unanswered, rate_since=since)
