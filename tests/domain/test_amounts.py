"""Amounts as people and models write them: read for sure, asked about, or refused."""

import re
import unicodedata
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain import money
from wbot.domain.amounts import UNITS, parse_amount
from wbot.domain.currencies import CURRENCIES
from wbot.domain.errors import MalformedError
from wbot.domain.money import (
    MINOR_DIGITS_MAX,
    Currency,
    currency_of,
    format_amount,
    format_money,
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
AMBIGUOUS = "Do you mean"
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
        ("5%", USD, UNREADABLE),
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
        ("1000.000", USD, AMBIGUOUS),
        ("1,000.000", USD, AMBIGUOUS),
        ("1.2345", KWD, DECIMALS),
        ("1.000", USD, AMBIGUOUS),
        ("1.000 €", EUR, AMBIGUOUS),
        ("12.345", USD, AMBIGUOUS),
        ("1,000", KWD, AMBIGUOUS),
        ("1,000", CLF, AMBIGUOUS),
        ("1e9", JPY, UNREADABLE),
        ("1e9", KWD, UNREADABLE),
        ("1e9 USD", USD, UNREADABLE),
        ("1e-9", USD, UNREADABLE),
        ("one thousand", USD, UNREADABLE),
        ("one hundred dollars", USD, UNREADABLE),
        ("twenty yen", JPY, UNREADABLE),
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
        ("0.0", JPY, NOT_POSITIVE),
        ("1.5", JPY, DECIMALS),
        ("1,000.50", JPY, DECIMALS),
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


# By currency, as its people write; a text that is asked about has both of its readings.
READ = {
    "IDR": {
        "50.000": 50_000_00,
        "50,000": 50_000_00,
        "Rp 50.000": 50_000_00,
        "Rp50.000,00": 50_000_00,
        "Rp. 50.000,-": 50_000_00,
        "1.500.000": 1_500_000_00,
        "50rb": 50_000_00,
        "50 ribu rupiah": 50_000_00,
        "50k": 50_000_00,
        "1,5 juta": 1_500_000_00,
        "1.5jt": 1_500_000_00,
        "1 juta 500 ribu": 1_500_000_00,
        "50000.00": 50_000_00,
    },
    "VND": {
        "50.000": 50_000,
        "50.000đ": 50_000,
        "50000 đ": 50_000,
        "50.000 VND": 50_000,
        "50 nghìn đồng": 50_000,
        "1,5 triệu": 1_500_000,
        "2tr": 2_000_000,
        "50000.0": 50_000,
        "1.200.000": 1_200_000,
    },
    "CLP": {
        "5.000": 5_000,
        "$5.000": 5_000,
        "CLP$ 5.000": 5_000,
        "CLP $5.000": 5_000,
        "5000.0": 5_000,
        "$5.000 pesos": 5_000,
        "5 lucas": 5_000,
        "2 mil": 2_000,
        "2 mil 500 pesos": 2_500,
        "1,5 millones de pesos": 1_500_000,
    },
    "COP": {"50.000": 50_000_00, "$ 50.000": 50_000_00, "20 mil": 20_000_00, "1,000": 1_000_00},
    "ISK": {"1.500 kr.": 1_500, "1500 krónur": 1_500},
    "JPY": {
        "5,000": 5_000,
        "5.000": 5_000,
        "5000.0": 5_000,
        "5000.00": 5_000,
        "5000円": 5_000,
        "￥５，０００": 5_000,
        "¥5,000": 5_000,
        "1万": 10_000,
        "1.5万円": 15_000,
        "1万5000円": 15_000,
        "1万5千円": 15_000,
    },
    "KRW": {"₩5,000": 5_000, "5천원": 5_000, "3만 원": 30_000},
    "INR": {
        "1,00,000": 100_000_00,
        "₹1,00,000.00": 100_000_00,
        "12,34,567.50": 1_234_567_50,
        "1.5 lakh": 150_000_00,
        "2 lakhs": 200_000_00,
        "2 lakh rupees": 200_000_00,
        "1 crore 5 lakh": 10_500_000_00,
        "1.25 cr": 12_500_000_00,
        "Rs. 50,000/-": 50_000_00,
        "Rs.500/- only": 500_00,
        "रु.500": 500_00,
        "₹ २०": 20_00,
        "5k": 5_000_00,
        "5 हज़ार": 5_000_00,
        "50,000": 50_000_00,
    },
    "PKR": {"Rs 5,000": 5_000_00, "5000 روپے": 5_000_00, "1 lac": 100_000_00, "۵۰۰": 500_00},
    "NPR": {"रू १,००,०००": 100_000_00},
    "BDT": {"৳৫০০": 500_00, "৫০০ টাকা": 500_00},
    "BRL": {
        "1.000,50": 1_000_50,
        "R$ 1.000": 1_000_00,
        "1.000": 1_000_00,
        "1000 reais": 1_000_00,
        "R$50": 50_00,
        "50,00": 50_00,
        "2 mil reais": 2_000_00,
    },
    "EUR": {
        "1.000,00 €": 1_000_00,
        "20 €": 20_00,
        "20€": 20_00,
        "20,-": 20_00,
        "20,– €": 20_00,
        "1.000,- €": 1_000_00,
        "20 euro": 20_00,
        "20 ευρώ": 20_00,
        "20,5": 20_50,
        "1 000": 1_000_00,
        "1\N{THIN SPACE}000": 1_000_00,
        "EUR 20": 20_00,
    },
    "CHF": {"1'000.50": 1_000_50, "Fr. 20.-": 20_00, "1’000": 1_000_00, "20 Franken": 20_00},
    "SEK": {"20:-": 20_00, "20 kr": 20_00, "49,90": 49_90},
    "DKK": {"1.000 kr.": 1_000_00},
    "USD": {
        "$1,000": 1_000_00,
        "5k": 5_000_00,
        "5K": 5_000_00,
        "1.5k": 1_500_00,
        "1.25 million": 1_250_000_00,
        "$20.00 USD": 20_00,
        "USD $20": 20_00,
        "20 US dollars": 20_00,
        "US$20": 20_00,
        "20 dólares": 20_00,
        "20 dolares": 20_00,
        "20 do\N{COMBINING ACUTE ACCENT}lares": 20_00,
        "USD20": 20_00,
        "20usd": 20_00,
        "$ 20": 20_00,
        "20$": 20_00,
        "20 $.": 20_00,
        "20.5": 20_50,
        "20.0000": 20_00,
        "0.500": 50,
        "٢٠": 20_00,
        "۲۰٫۵۰": 20_50,
        "١٬٥٠٠": 1_500_00,
        "२०": 20_00,
        "２０": 20_00,
        "𝟐𝟎": 20_00,
        "20 bucks": 20_00,
        "$20.": 20_00,
    },
    "KWD": {
        "1.500": 1_500,
        "1.5": 1_500,
        "0.250": 250,
        "1,000.5000": 1_000_500,
        "٥٫٢٥٠": 5_250,
        "1'500": 1_500_000,
        "5 KD": 5_000,
    },
    "SAR": {
        "٥٠٠": 500_00,
        "500 ر.س": 500_00,
        "\N{RIGHT-TO-LEFT MARK}500 ر.س.\N{RIGHT-TO-LEFT MARK}": 500_00,
        "500 ريال": 500_00,
        "SR 500": 500_00,
        "١٬٢٥٠٫٥٠": 1_250_50,
    },
    "EGP": {"٥٠٠ جنيه": 500_00, "LE 500": 500_00},
    "AED": {"Dhs 500": 500_00, "500 د.إ": 500_00},
    "IRR": {"۵۰۰٬۰۰۰ ریال": 500_000_00, "﷼500": 500_00},
    "NGN": {"₦5,000": 5_000_00, "5,000 naira": 5_000_00, "N5000": 5_000_00, "5k": 5_000_00},
    "KES": {"KSh 500": 500_00, "500/=": 500_00, "50 bob": 50_00},
    "ZAR": {"R500": 500_00, "R1 500,50": 1_500_50},
    "ZMW": {"K50": 50_00, "50 kwacha": 50_00},
    "TRY": {"1.250,75 TL": 1_250_75, "250 TL": 250_00, "₺250": 250_00, "5 bin lira": 5_000_00},
    "RUB": {
        "500 ₽": 500_00,
        "500 руб": 500_00,
        "500 руб.": 500_00,
        "500 рублей": 500_00,
        "1 500,50": 1_500_50,
        "5 тыс. руб.": 5_000_00,
        "2 млн рублей": 2_000_000_00,
    },
    "PLN": {"20 zł": 20_00, "20 zl": 20_00, "5 tys. zł": 5_000_00},
    "CZK": {"20 Kč": 20_00, "20 korun": 20_00},
    "PEN": {"S/.500": 500_00, "S/ 20": 20_00, "20 soles": 20_00},
    "CNY": {"20元": 20_00, "5千元": 5_000_00, "￥20": 20_00},
    "THB": {"฿20": 20_00, "20 บาท": 20_00, "๒๐": 20_00},
    "MXN": {"MX$20": 20_00, "MXN $20.00": 20_00, "2 mil pesos": 2_000_00},
    "XOF": {"5.000 FCFA": 5_000, "5 000 F CFA": 5_000},
}


@pytest.mark.parametrize("code", READ)
def test_an_amount_is_read_as_the_people_of_its_currency_write_it(code: str) -> None:
    assert {text: parse_amount(text, currency_of(code)) for text in READ[code]} == READ[code]


@pytest.mark.parametrize(
    ("code", "text", "offers"),
    [
        ("USD", "1.000", ("$1.00", "$1,000.00")),
        ("USD", "$1.500", ("$1.50", "$1,500.00")),
        ("USD", "20.005", ("$20.005", "$20,005.00")),
        ("USD", "1000.000", ("$1,000.00", "$1,000,000.00")),
        ("USD", "1,000.000", ("$1,000.00", "$1,000,000.00")),
        ("USD", ".500", ("$0.50", "$500.00")),
        ("USD", "1,500k", ("$1,500.00", "$1,500,000.00")),
        ("USD", "2 mil", ("$2,000.00", "$2,000,000.00")),
        ("EUR", "1.000", ("€1.00", "€1,000.00")),
        ("EUR", "1,000", ("€1.00", "€1,000.00")),
        ("CHF", "1.000 CHF", ("CHF 1.00", "CHF 1,000.00")),
        ("RUB", "1,500", ("₽1.50", "₽1,500.00")),
        ("BRL", "1,500", ("R$1.50", "R$1,500.00")),
        ("KWD", "1,500", ("KWD 1.500", "KWD 1,500.000")),
        ("IDR", "1.500 ribu", ("IDR 1,500.00", "IDR 1,500,000.00")),
        ("JPY", "5000.000", ("¥5,000", "¥5,000,000")),
        ("ZMW", "50K", ("ZMW 50.00", "ZMW 50,000.00")),
    ],
)
def test_a_doubt_of_a_thousand_is_asked_about_with_readings_that_are_accepted(
    code: str, text: str, offers: tuple[str, str]
) -> None:
    currency = currency_of(code)
    small, large = offers
    with pytest.raises(MalformedError, match=f"^Do you mean {re.escape(' or '.join(offers))}\\? "):
        parse_amount(text, currency)
    assert parse_amount(large, currency) >= 1_000
    if text != "20.005":  # which is no amount at all
        assert parse_amount(small, currency) * 1_000 == parse_amount(large, currency)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("USD", "20 or 30"),
        ("USD", "20-30"),
        ("USD", "20/30"),
        ("USD", "20 to 30"),
        ("USD", "1.000.00"),
        ("USD", "1.000.00,5"),
        ("USD", "1e3"),
        ("USD", "0x14"),
        ("USD", "20 and a half"),
        ("USD", "20 dollars 50 cents"),
        ("USD", "20,"),
        ("USD", ". 20"),
        ("USD", "20.."),
        ("USD", "2٠"),
        ("USD", "12\N{RIGHT-TO-LEFT MARK}34"),
        ("USD", "1\n000"),
        ("USD", "5²"),
        ("USD", "①"),
        ("USD", "1 lakh 2 lakh"),
        ("USD", "1 thousand 5 million"),
        ("USD", "500 cr"),
        ("USD", "2 billion"),
        ("USD", "5 lucas"),
        ("USD", "5 apples k"),
        ("USD", "1,00,000"),
        ("VND", "1tr5"),
        ("JPY", "1万5"),
        ("GBP", "50p"),
        ("IRR", "500 تومان"),
    ],
)
def test_nothing_is_dropped_or_guessed(code: str, text: str) -> None:
    with pytest.raises(MalformedError):
        parse_amount(text, currency_of(code))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("USD", "$20 €"),
        ("USD", "20 руб"),
        ("USD", "5k €"),
        ("USD", "20 SR"),
        ("IDR", "1 juta dong"),
        ("JPY", "20元"),
        ("CLP", "US$ 20"),
        ("BRL", "20 dólares"),
        ("EUR", "$20 EUR"),
    ],
)
def test_money_of_another_currency_is_never_taken_for_the_business_s(code: str, text: str) -> None:
    with pytest.raises(MalformedError, match=f"please give it in {code}"):
        parse_amount(text, currency_of(code))


@settings(max_examples=400, deadline=None)
@given(any_minor, any_currency)
def test_what_we_write_is_read_back_to_the_same_minor_units(minor: int, currency: Currency) -> None:
    assert parse_amount(format_amount(minor, currency), currency) == minor
    assert parse_amount(format_money(minor, currency), currency) == minor


def test_every_currency_round_trips_at_its_edges() -> None:
    for currency in EVERY_CURRENCY:
        one = 10**currency.exponent
        for minor in (1, one, 999 * one, 1_000 * one, 1_234 * one + one // 3, LARGEST_MINOR):
            assert parse_amount(format_amount(minor, currency), currency) == minor
            assert parse_amount(format_money(minor, currency), currency) == minor


# What amounts are made of, so that most of what is drawn is nearly one.
FRAGMENTS = (
    *("1", "2", "5", "12", "000", "500", "00", "50", "0", "٥", "٢", "१", "５", "²"),
    *(".", ",", "'", " ", "\N{NO-BREAK SPACE}", "٫", "٬", "-", "/-", ",-", "+", "(", ")", "\n"),
    *("$", "€", "Rs.", "R$", "USD", "usd", "ر.س", "円", "K", "k", "mil", "lakh", "万", "rb", "e"),
    *("\N{RIGHT-TO-LEFT MARK}", "\N{RIGHT-TO-LEFT OVERRIDE}", "\N{ZERO WIDTH SPACE}", "or", "\0"),
)
nearly_amounts = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)


@settings(max_examples=400, deadline=None)
@given(nearly_amounts | st.text(max_size=80), any_currency)
def test_any_text_is_either_a_positive_amount_or_a_plain_refusal(
    text: str, currency: Currency
) -> None:
    said = ""
    try:
        minor = parse_amount(text, currency)
    except MalformedError as refused:
        minor, said = None, str(refused)
    assert said.endswith(".") if minor is None else 1 <= minor <= LARGEST_MINOR


def meanings(text: str) -> set[int]:
    """Thousandths of a unit that digits with dots and commas may stand for, to anybody at all."""
    cuts = [(text, "")]
    for mark in ".,":
        whole, _, decimals = text.partition(mark)
        cuts += [(whole, decimals)] if text.count(mark) == 1 else []
    return {
        int(f"{re.sub('[.,]', '', whole)}{decimals:0<3}")
        for whole, decimals in cuts
        if re.fullmatch(r"\d+|\d{1,3}(?:\.\d{3})+|\d{1,3}(?:,\d{3})+", whole)
        and re.fullmatch(r"\d{0,3}", decimals)
    }


SHAPES = [
    head + "".join(mark + group for mark, group in zip(marks, groups, strict=True))
    for head in ("1", "12", "123", "1234")
    for groups in ((), ("500",), ("000",), ("500", "000"), ("000", "50"), ("5",), ("50",))
    for marks in product(".,", repeat=len(groups))
]
KINDS = {(one.exponent, CURRENCIES[one.code].thousands): one for one in EVERY_CURRENCY}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_no_factor_of_a_thousand_is_decided_in_silence(kind: tuple[int, str]) -> None:
    """Read for sure is what nobody takes for a thousand times more or less, or the habit there."""
    currency, (exponent, habit) = KINDS[kind], kind
    for text in SHAPES:
        try:
            read = parse_amount(text, currency) * 1_000 // 10**exponent
        except MalformedError:
            continue
        assert read in meanings(text), text
        marks = {*text} & {*".,"}
        is_habit = habit == "0" or marks == {habit}  # thousands is how they write it
        is_ours = exponent >= 3 and marks == {"."}  # decimals are how we write it
        doubts = {read * 1_000, *(() if is_habit else (read // 1_000,))} & meanings(text)
        assert is_ours or not doubts, text


def test_every_unit_is_written_as_it_is_compared() -> None:
    assert {"usd", "$", "dollars", "€", "euro", "ca$", "руб", "ريال", "円"} <= UNITS
    assert not {"for", "to", "", "USD", "cents"} & UNITS
    for unit in UNITS:
        assert unit == unicodedata.normalize("NFC", unit).lower()


def test_every_name_of_a_currency_is_read_on_either_side() -> None:
    for currency in EVERY_CURRENCY:
        twenty = 20 * 10**currency.exponent
        for name in (currency.code, currency.symbol, *CURRENCIES[currency.code].names):
            assert parse_amount(f"{name} 20", currency) == twenty, name
            if name != "k":  # 20 k is a doubt, see above
                assert parse_amount(f"20 {name.upper()}", currency) == twenty, name
