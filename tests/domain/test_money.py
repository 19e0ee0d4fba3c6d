"""Currencies, and amounts as we write them."""

import pytest

from wbot.domain import money
from wbot.domain.errors import MalformedError
from wbot.domain.money import Currency, currency_of, format_amount, format_money

USD, EUR, JPY, KWD = (currency_of(code) for code in ("USD", "EUR", "JPY", "KWD"))
CLF, CAD, INR = (currency_of(code) for code in ("CLF", "CAD", "INR"))


@pytest.mark.parametrize(
    ("minor", "currency", "plain", "for_people"),
    [
        (400_00, USD, "400.00", "$400.00"),
        (1_250_50, USD, "1250.50", "$1,250.50"),
        (-5_00, USD, "-5.00", "-$5.00"),
        (0, USD, "0.00", "$0.00"),
        (7, USD, "0.07", "$0.07"),
        (1_250_50, EUR, "1250.50", "€1,250.50"),
        (400, JPY, "400", "¥400"),
        (-1_000, JPY, "-1000", "-¥1,000"),
        (1_250_500, KWD, "1250.500", "KWD 1,250.500"),
        (-5, KWD, "-0.005", "-KWD 0.005"),
        (12_3456, CLF, "12.3456", "CLF 12.3456"),
        (20_00, CAD, "20.00", "CA$20.00"),
        (20_00, currency_of("AUD"), "20.00", "A$20.00"),
        (20_00, currency_of("ARS"), "20.00", "ARS 20.00"),
        (1_000_00, INR, "1000.00", "₹1,000.00"),
    ],
)
def test_amounts_are_written_plainly_and_for_people(
    minor: int, currency: Currency, plain: str, for_people: str
) -> None:
    assert format_amount(minor, currency) == plain
    assert format_money(minor, currency) == for_people


@pytest.mark.parametrize(
    ("code", "exponent", "symbol"),
    [
        ("USD", 2, "$"),
        ("eur", 2, "€"),
        (" JPY ", 0, "¥"),
        ("KWD", 3, "KWD"),
        ("CLF", 4, "CLF"),
        ("ISK", 0, "ISK"),
        ("MRU", 2, "MRU"),
        ("XCG", 2, "XCG"),
        ("CHF", 2, "CHF"),
    ],
)
def test_a_code_names_its_currency(code: str, exponent: int, symbol: str) -> None:
    assert currency_of(code) == Currency(
        code=code.strip().upper(), exponent=exponent, symbol=symbol
    )


@pytest.mark.parametrize("code", ["", "US", "USDT", "XXX", "XAU", "BGN", "HRK", "ußd", "$"])
def test_a_code_outside_the_active_list_is_refused_in_a_sentence(code: str) -> None:
    with pytest.raises(MalformedError, match="not a currency code of ISO 4217"):
        currency_of(code)


def test_signs_are_unmistakable() -> None:
    """No two currencies share a sign, and every sign belongs to a known code."""
    assert len(set(money._SYMBOLS.values())) == len(money._SYMBOLS)
    assert set(money._SYMBOLS) <= set(money._CURRENCIES)
