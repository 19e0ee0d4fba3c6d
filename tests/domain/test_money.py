"""Amounts as people and models write them, and as we format them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain import money
from wbot.domain.errors import MalformedError
from wbot.domain.money import (
    MINOR_DIGITS_MAX,
    UNITS,
    Currency,
    currency_of,
    format_amount,
    format_money,
    parse_amount,
)

USD, EUR, JPY, KWD = (currency_of(code) for code in ("USD", "EUR", "JPY", "KWD"))
CLF, CAD, INR, BRL = (currency_of(code) for code in ("CLF", "CAD", "INR", "BRL"))
EVERY_CURRENCY = sorted(money._CURRENCIES.values(), key=lambda currency: currency.code)
LARGEST_MINOR = 10**MINOR_DIGITS_MAX - 1

# Sentences, by what they ask the customer to fix.
EMPTY = "Please give an amount"
UNREADABLE = "could not read that amount"
NOT_POSITIVE = "must be more than zero"
OTHER_CURRENCY = "please give it in"
DECIMALS = "decimals."
AMBIGUOUS = "separates thousands or decimals"
TOO_LARGE = "too large"

any_currency = st.sampled_from(EVERY_CURRENCY)
any_minor = st.integers(min_value=1, max_value=LARGEST_MINOR)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("100", USD, 100_00),
        ("100.5", USD, 100_50),
        ("100.00", USD, 100_00),
        ("1,000.50", USD, 1_000_50),
        ("$1,000", USD, 1_000_00),
        ("1.000,50 €", EUR, 1_000_50),
        ("100 USD", USD, 100_00),
        ("USD 100", USD, 100_00),
        ("usd100", USD, 100_00),
        ("100usd", USD, 100_00),
        ("$100 USD", USD, 100_00),
        ("US$ 5", USD, 5_00),
        ("  $ 5  ", USD, 5_00),
        ("1 000,00", EUR, 1_000_00),
        ("1\N{NO-BREAK SPACE}000,00", EUR, 1_000_00),
        ("1\N{NARROW NO-BREAK SPACE}000\N{NARROW NO-BREAK SPACE}000,5", EUR, 1_000_000_50),
        ("1'000.50", USD, 1_000_50),
        ("1\N{RIGHT SINGLE QUOTATION MARK}000.50", USD, 1_000_50),
        ("1 000", USD, 1_000_00),
        ("1,50", USD, 1_50),
        ("1,5", EUR, 1_50),
        ("0,50", EUR, 50),
        (".50", USD, 50),
        ("$.50", USD, 50),
        ("0.01", USD, 1),
        ("007", USD, 7_00),
        ("1,000", USD, 1_000_00),
        ("1,000,000", USD, 1_000_000_00),
        ("1.000.000", EUR, 1_000_000_00),
        ("1.000.000,25", EUR, 1_000_000_25),
        ("1000.50", USD, 1_000_50),
        ("9999999999999.99", USD, LARGEST_MINOR),
        ("20 dollars", USD, 20_00),
        ("20 Dollars", CAD, 20_00),
        ("5 bucks", USD, 5_00),
        ("$5", CAD, 5_00),
        ("CA$5", CAD, 5_00),
        ("20 euros", EUR, 20_00),
        ("Rs.500", INR, 500_00),
        ("Rs. 1,500.5", INR, 1_500_50),
        ("₹2", INR, 2_00),
        ("R$ 1.000,50", BRL, 1_000_50),
        ("¥1,000", JPY, 1_000),
        ("400", JPY, 400),
        ("1.000", KWD, 1_000),
        ("0.5", KWD, 500),
        ("1,25", KWD, 1_250),
        ("1,250.500", KWD, 1_250_500),
        ("1250,500", KWD, 1_250_500),
        ("12.345", CLF, 12_3450),
        ("12.3456", CLF, 12_3456),
        ("1.000,50", USD, 1_000_50),
        ("€1.000,50", EUR, 1_000_50),
        ("1.000,50 EUR", EUR, 1_000_50),
        ("1", JPY, 1),
        ("100 JPY", JPY, 100),
        ("1000 yen", JPY, 1_000),
        ("JPY 1,000,000", JPY, 1_000_000),
        ("0.001", KWD, 1),
        ("5 dinars", KWD, 5_000),
        ("1,000.50", KWD, 1_000_500),
        ("1.000,50", KWD, 1_000_500),
        ("KWD 1,000.500", KWD, 1_000_500),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, currency: Currency, minor: int) -> None:
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency", "sentence"),
    [
        ("", USD, EMPTY),
        (" \n", USD, EMPTY),
        ("a hundred", USD, UNREADABLE),
        ("twenty", USD, UNREADABLE),
        ("100 apples", USD, UNREADABLE),
        ("about 100", USD, UNREADABLE),
        ("1e9", USD, UNREADABLE),
        ("1E-2", USD, UNREADABLE),
        ("NaN", USD, UNREADABLE),
        ("Infinity", USD, UNREADABLE),
        ("0x10", USD, UNREADABLE),
        ("1_000", USD, UNREADABLE),
        ("5k", USD, UNREADABLE),
        ("5%", USD, UNREADABLE),
        ("5.", USD, UNREADABLE),
        (",50", USD, UNREADABLE),
        ("(5)", USD, UNREADABLE),
        ("+5", USD, UNREADABLE),
        ("1/2", USD, UNREADABLE),
        ("10 20", USD, UNREADABLE),
        ("5 and 6", USD, UNREADABLE),
        ("5 USD 6", USD, UNREADABLE),
        ("$5 $", EUR, OTHER_CURRENCY),
        ("$$5", USD, UNREADABLE),
        ("1,00,0", USD, UNREADABLE),
        ("1,00,000", USD, UNREADABLE),
        ("1,000,00", USD, UNREADABLE),
        ("1,000.000.00", USD, UNREADABLE),
        ("1,000 000", USD, UNREADABLE),
        ("1.5.0", USD, UNREADABLE),
        ("1..5", USD, UNREADABLE),
        ("٥٠", USD, UNREADABLE),
        ("\N{FULLWIDTH DIGIT FIVE}", USD, UNREADABLE),
        ("5\N{SUPERSCRIPT TWO}", USD, UNREADABLE),
        ("5½", USD, UNREADABLE),
        ("\N{RIGHT-TO-LEFT OVERRIDE}100", USD, UNREADABLE),
        ("1\N{ZERO WIDTH SPACE}00", USD, UNREADABLE),
        ("0" * 65, USD, UNREADABLE),
        ("-5", USD, NOT_POSITIVE),
        ("\N{MINUS SIGN}5", USD, NOT_POSITIVE),
        ("-$5", USD, NOT_POSITIVE),
        ("$-5", USD, NOT_POSITIVE),
        ("0", USD, NOT_POSITIVE),
        ("0.00", USD, NOT_POSITIVE),
        ("€5", USD, OTHER_CURRENCY),
        ("5 EUR", USD, OTHER_CURRENCY),
        ("20 euros", USD, OTHER_CURRENCY),
        ("20 pounds", USD, OTHER_CURRENCY),
        ("US$5", CAD, OTHER_CURRENCY),
        ("CA$5", USD, OTHER_CURRENCY),
        ("$5", EUR, OTHER_CURRENCY),
        ("USD 5 EUR", USD, OTHER_CURRENCY),
        ("1.2345", USD, DECIMALS),
        ("0.005", USD, DECIMALS),
        ("1000.000", USD, DECIMALS),
        ("1,000.000", USD, DECIMALS),
        ("5.0", JPY, DECIMALS),
        ("1.2345", KWD, DECIMALS),
        ("1.000", USD, AMBIGUOUS),
        ("1.000 €", EUR, AMBIGUOUS),
        ("12.345", USD, AMBIGUOUS),
        ("1.000", JPY, AMBIGUOUS),
        ("1,000", KWD, AMBIGUOUS),
        ("1,000", CLF, AMBIGUOUS),
        ("1e9", JPY, UNREADABLE),
        ("1e9", KWD, UNREADABLE),
        ("1e9 USD", USD, UNREADABLE),
        ("1e-9", USD, UNREADABLE),
        ("one thousand", USD, UNREADABLE),
        ("one hundred dollars", USD, UNREADABLE),
        ("twenty yen", JPY, UNREADABLE),
        ("1 thousand", USD, UNREADABLE),
        ("everything", USD, UNREADABLE),
        ("half", USD, UNREADABLE),
        ("None", USD, UNREADABLE),
        ("true", USD, UNREADABLE),
        ("[5]", USD, UNREADABLE),
        ("100, to John", USD, UNREADABLE),
        ("-100.00", USD, NOT_POSITIVE),
        ("100-", USD, NOT_POSITIVE),
        ("- 5", USD, NOT_POSITIVE),
        ("-0", USD, NOT_POSITIVE),
        ("-1.000,50 €", EUR, NOT_POSITIVE),
        ("-100", JPY, NOT_POSITIVE),
        ("-0.001", KWD, NOT_POSITIVE),
        ("0,00 €", EUR, NOT_POSITIVE),
        ("0", JPY, NOT_POSITIVE),
        ("0.000", KWD, NOT_POSITIVE),
        ("1.000,50 €", USD, OTHER_CURRENCY),
        ("$1,000", JPY, OTHER_CURRENCY),
        ("100 USD", EUR, OTHER_CURRENCY),
        ("100 USD", KWD, OTHER_CURRENCY),
        ("1,000.505", USD, DECIMALS),
        ("1.000,505 €", EUR, DECIMALS),
        ("0.0", JPY, DECIMALS),
        ("1.5", JPY, DECIMALS),
        ("1,000.50", JPY, DECIMALS),
        ("1,000.5000", KWD, DECIMALS),
        ("10000000000000.00", USD, TOO_LARGE),
        ("1" + "0" * 15, JPY, TOO_LARGE),
        ("9" * 64, USD, TOO_LARGE),
    ],
)
def test_amounts_that_could_mean_something_else_are_refused_in_one_sentence(
    text: str, currency: Currency, sentence: str
) -> None:
    with pytest.raises(MalformedError) as refused:
        parse_amount(text, currency)
    said = str(refused.value)
    assert sentence in said
    assert said.endswith(".")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "currency", "offers"),
    [("1.000", USD, "1000 or 1.00"), ("2.500", JPY, "2500 or 2"), ("1,500", KWD, "1500 or 1.500")],
)
def test_a_refused_separator_comes_with_spellings_that_are_accepted(
    text: str, currency: Currency, offers: str
) -> None:
    with pytest.raises(MalformedError, match=f"please write {offers}\\."):
        parse_amount(text, currency)
    thousands, units = (parse_amount(offer, currency) for offer in offers.split(" or "))
    assert thousands > units


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


@settings(max_examples=400, deadline=None)
@given(any_minor, any_currency)
def test_what_we_write_is_read_back_to_the_same_minor_units(minor: int, currency: Currency) -> None:
    assert parse_amount(format_amount(minor, currency), currency) == minor
    assert parse_amount(format_money(minor, currency), currency) == minor


@pytest.mark.parametrize("currency", EVERY_CURRENCY, ids=lambda currency: currency.code)
def test_every_currency_round_trips_at_its_edges(currency: Currency) -> None:
    one = 10**currency.exponent
    for minor in (1, one, 999 * one, 1_000 * one, 1_234 * one + one // 3, LARGEST_MINOR):
        assert parse_amount(format_amount(minor, currency), currency) == minor
        assert parse_amount(format_money(minor, currency), currency) == minor


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet="0123456789.,' $€-+eEUSD\N{NO-BREAK SPACE}"), any_currency)
def test_any_text_is_either_a_positive_amount_or_a_plain_refusal(
    text: str, currency: Currency
) -> None:
    said = ""
    try:
        minor = parse_amount(text, currency)
    except MalformedError as refused:
        minor, said = None, str(refused)
    assert said.endswith(".") if minor is None else 1 <= minor <= LARGEST_MINOR


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
    named = set(money._SYMBOLS) | {code for codes in money._MEANINGS.values() for code in codes}
    assert named == {currency.code for currency in EVERY_CURRENCY}


def test_words_for_money_are_known_in_lower_case() -> None:
    assert {"usd", "$", "dollars", "€", "euro", "ca$"} <= UNITS
    assert not {"for", "to", "", "USD", "cents"} & UNITS
