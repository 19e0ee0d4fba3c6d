"""One number in two spellings: a sure table of countries, nothing else guessed."""

import pytest

from wbot.domain.spellings import one_spelling, other_spelling


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("551187654321", "5511987654321"),
        ("554799990000", "5547999990000"),
        ("525512345678", "5215512345678"),
        ("541123456789", "5491123456789"),
    ],
)
def test_two_spellings_are_one_number(short: str, long: str) -> None:
    assert (other_spelling(short), other_spelling(long)) == (long, short)
    assert one_spelling(short) == one_spelling(long)


@pytest.mark.parametrize(
    "digits",
    [
        "551133334444",  # a landline in Brazil has no ninth digit
        "5511233334444",
        "550187654321",  # no such area
        "52551234567",
        "521551234567",
        "5491123",
        "15550101001",
        "4915501010010",
        "",
    ],
)
def test_no_other_number_has_another_spelling(digits: str) -> None:
    assert other_spelling(digits) is None
    assert one_spelling(digits) == digits
