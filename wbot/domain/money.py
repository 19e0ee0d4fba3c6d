"""Money: integers of minor units with a currency, written for people and for programs."""

import msgspec

from wbot.domain.currencies import CURRENCIES
from wbot.domain.errors import MalformedError

MINOR_DIGITS_MAX = 15
"""Digits of the largest amount in minor units; far within SQLite's 64-bit integers."""


class Currency(msgspec.Struct, frozen=True):
    """An ISO 4217 currency; `exponent` counts its decimals, `symbol` is its sign or its code."""

    code: str
    exponent: int
    symbol: str


# Signs that name one currency and no other; all other currencies are written with their code.
_SIGNS = """
    USD $, EUR €, GBP £, JPY ¥, CNY CN¥, INR ₹, KRW ₩, ILS ₪, VND ₫, NGN ₦, PHP ₱, UAH ₴, TRY ₺,
    KZT ₸, GHS GH₵, BRL R$, CAD CA$, AUD A$, NZD NZ$, HKD HK$, SGD S$, TWD NT$, MXN MX$, XCD EC$,
    CRC ₡, PYG ₲, MNT ₮, LAK ₭, AZN ₼, GEL ₾, RUB ₽, BDT ৳, THB ฿, KHR ៛
"""
_SYMBOLS = dict(pair.split() for pair in _SIGNS.split(","))

_CURRENCIES = {
    code: Currency(code=code, exponent=facts.exponent, symbol=_SYMBOLS.get(code, code))
    for code, facts in CURRENCIES.items()
}


def currency_of(code: str) -> Currency:
    """The currency of an ISO 4217 code in either case; MalformedError for any other word."""
    currency = _CURRENCIES.get(code.strip().upper()) if code.isascii() else None
    if currency is None:
        raise MalformedError(f"{code[:20]!r} is not a currency code of ISO 4217, such as USD.")
    return currency


def format_amount(minor: int, currency: Currency) -> str:
    """A plain decimal string with all of the currency's decimals: "400.00", "-5.00", "400"."""
    sign, whole, decimals = _parts(minor, currency)
    return f"{sign}{whole}{decimals}"


def format_money(minor: int, currency: Currency) -> str:
    """The amount for people, with sign or code and groups: "$1,250.50", "-KWD 1,250.500"."""
    sign, whole, decimals = _parts(minor, currency)
    symbol = currency.symbol if currency.symbol != currency.code else f"{currency.code} "
    return f"{sign}{symbol}{int(whole):,}{decimals}"


def _parts(minor: int, currency: Currency) -> tuple[str, str, str]:
    """The sign, the whole units, and the decimals with their dot."""
    digits = str(abs(minor)).zfill(currency.exponent + 1)
    cut = len(digits) - currency.exponent
    decimals = f".{digits[cut:]}" if currency.exponent else ""
    return "-" if minor < 0 else "", digits[:cut], decimals
