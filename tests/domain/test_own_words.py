"""Whether an amount and a payee stand in what a customer typed, as people write both."""

import pytest

from wbot.domain.messages import Contacts, Context, Text
from wbot.domain.money import currency_of
from wbot.domain.own_words import has_amount, has_payee, typed_in

USD = currency_of("USD")


@pytest.mark.parametrize(
    "words",
    [
        "Transfer $20 to John",
        "Send John 20.",
        "20 to John, please!",
        "pay John ($20.00) for lunch",
        "John gets 20 dollars",
        "USD 20 for John",
        "20,John",
        "at 5 pm send 20 to John",
        "给John20",
    ],
)
def test_an_amount_is_found_as_people_write_it(words: str) -> None:
    assert has_amount(words, 2_000, USD)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Send John 200",
        "Send John 20.50",
        "twenty to John",
        "2 0",
        "Send John 1,020",
        "20€",
        "€20",
    ],
)
def test_another_amount_is_not_this_one(words: str) -> None:
    assert not has_amount(words, 2_000, USD)


def test_thousands_and_minor_units_are_read() -> None:
    assert has_amount("Send 1,234.50 to John", 123_450, USD)
    assert has_amount("Send 5000円 to John", 5_000, currency_of("JPY"))


@pytest.mark.parametrize(
    ("words", "payee", "is_there"),
    [
        ("Transfer $20 to john", "John", True),
        ("John's 20", "John", True),
        ("20 for Ｊｏｈｎ\u200b", "John", True),
        ("to John Smith", "John Smith", True),
        ("to Johnny", "John", False),
        ("to him", "John", False),
        ("Send 20 to +1 555 010-1002 now", "+15550101002", True),
        ("Send 20 15550101002", "+15550101002", True),
        ("Send 20 to +15550101003", "+15550101002", False),
        ("Send 20 to (J.", "(J.", True),
    ],
)
def test_a_payee_is_found_by_name_or_number(words: str, payee: str, is_there: bool) -> None:
    assert has_payee(words, payee) is is_there


def test_only_what_was_typed_counts() -> None:
    assert typed_in(Text("20 to John"), Context(message_id="wamid.1")) == "20 to John"
    assert typed_in(Text("20 to John"), Context(is_forwarded=True)) == ""
    assert typed_in(Contacts((), None), None) == ""


def test_only_so_many_readings_are_tried() -> None:
    assert has_amount("1 " * 100 + "20", 2_000, USD)
    assert not has_amount("1 " * 400 + "20", 2_000, USD)
