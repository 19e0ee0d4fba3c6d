"""Money: integers of minor units with a currency, read from and written for people.

How an amount is read. A number of ASCII digits, with at most one currency word or sign on each
side, and that one must be able to mean the business's currency.

1. Groups of three digits may be set apart by a comma, a dot, an apostrophe or a space, the same one
   throughout, the first group of one to three digits without a leading zero. Decimals follow a dot
   or a comma, whichever does not separate groups: 1,000.50 and 1.000,50 and 1 000,00 and 1'000.50.
2. One comma or dot and then other than three digits is a decimal mark: 100.5, 1,50.
3. One comma and three digits (1,000) is one thousand, and one dot and three digits (1.000) is
   refused: to half the world that is one thousand, to the other half one. Where the currency has
   three decimals or more, 1.000 is one, because we write it so, and 1,000 is refused: it is one
   dinar in Tunis and one thousand in Kuwait.
4. More decimals than the currency has are refused, even if they are zeros.
"""

import re

import msgspec

from wbot.domain.errors import MalformedError

MINOR_DIGITS_MAX = 15
"""Digits of the largest amount in minor units; far within SQLite's 64-bit integers."""

TEXT_LENGTH_MAX = 64
"""Characters of an amount as written; what is longer is not read at all."""


class Currency(msgspec.Struct, frozen=True):
    """An ISO 4217 currency; `exponent` counts its decimals, `symbol` is its sign or its code."""

    code: str
    exponent: int
    symbol: str


# ISO 4217 list one with amendment 180 (Bulgaria's lev gone), by exponent. Left out is what has no
# minor unit: metals, drawing rights, bond units, the codes for testing and for no currency.
_CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
        CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
        GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
        LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO
        NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS
        SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST
        XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

# Signs that name one currency and no other; all other currencies are written with their code.
_SIGNS = """
    USD $, EUR €, GBP £, JPY ¥, CNY CN¥, INR ₹, KRW ₩, ILS ₪, VND ₫, NGN ₦, PHP ₱, UAH ₴, TRY ₺,
    KZT ₸, GHS GH₵, BRL R$, CAD CA$, AUD A$, NZD NZ$, HKD HK$, SGD S$, TWD NT$, MXN MX$, XCD EC$,
    CRC ₡, PYG ₲, MNT ₮, LAK ₭, AZN ₼, GEL ₾, RUB ₽, BDT ৳, THB ฿, KHR ៛
"""
_SYMBOLS = dict(pair.split() for pair in _SIGNS.split(","))

_DOLLARS = "USD CAD AUD NZD HKD SGD TWD XCD BBD BMD BND BSD BZD FJD GYD JMD KYD LRD NAD SBD SRD TTD"
_PESOS = "MXN ARS CLP COP CUP DOP UYU"

# What people call their own money. A word or sign that several countries share means the currency
# of the business; one that cannot mean it is refused, never converted and never ignored.
_EVERYDAY_UNITS = {
    "$": f"{_DOLLARS} {_PESOS}",
    "dollar dollars buck bucks": _DOLLARS,
    "us$": "USD",
    "peso pesos": f"{_PESOS} PHP",
    "euro euros": "EUR",
    "£ pound pounds quid": "GBP EGP FKP GIP LBP SDG SHP SSP SYP",
    "¥": "JPY CNY",
    "yen": "JPY",
    "yuan rmb": "CNY",
    "rs ₨ rupee rupees": "INR LKR MUR NPR PKR SCR",
    "franc francs": "CHF BIF CDF DJF GNF KMF RWF XAF XOF XPF",
    "dinar dinars": "KWD BHD DZD IQD JOD LYD RSD TND",
    "dirham dirhams": "AED MAD",
    "rial rials riyal riyals": "SAR IRR OMR QAR YER",
    "shilling shillings": "KES SOS TZS UGX",
    "kr krona kronor krone kroner": "SEK DKK ISK NOK",
    "real reais": "BRL",
    "r rand": "ZAR",
    "naira": "NGN",
    "cedi cedis": "GHS",
    "won": "KRW KPW",
    "lira": "TRY",
    "rm ringgit": "MYR",
    "rp rupiah": "IDR",
    "zł zloty": "PLN",
    "baht": "THB",
    "dong": "VND",
}

_CURRENCIES = {
    code: Currency(code=code, exponent=exponent, symbol=_SYMBOLS.get(code, code))
    for exponent, codes in _CODES.items()
    for code in codes.split()
}


def _meanings() -> dict[str, frozenset[str]]:
    """Every word and sign for money, in lower case, with the codes that it can mean."""
    meanings = {code.lower(): frozenset([code]) for code in _CURRENCIES}
    meanings |= {symbol.lower(): frozenset([code]) for code, symbol in _SYMBOLS.items()}
    for words, codes in _EVERYDAY_UNITS.items():
        meanings |= dict.fromkeys(words.split(), frozenset(codes.split()))
    return meanings


_MEANINGS = _meanings()

UNITS = frozenset(_MEANINGS)
"""Codes, signs and everyday words for some currency, in lower case: "usd", "€", "dollars"."""

_SPACES = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
_MARKS = f".,'\N{RIGHT SINGLE QUOTATION MARK}{_SPACES}"

# A dot right after a letter belongs to the word before it: "Rs.500" is five hundred.
_WRITTEN = re.compile(
    rf"(?P<before>[^0-9]*?)\s*"
    rf"(?P<number>(?:(?<![^\W\d_])\.)?[0-9](?:[0-9{_MARKS}]*[0-9])?)"
    rf"\s*(?P<after>[^0-9]*)"
)
_GROUPED = re.compile(
    rf"(?P<whole>[1-9][0-9]{{0,2}}(?P<mark>[{_MARKS}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*)"
    r"(?:(?!(?P=mark))[.,](?P<decimals>[0-9]+))?"
)
_PLAIN = re.compile(r"(?P<whole>[0-9]*)(?:[.,](?P<decimals>[0-9]+))?")
_GROUP_DIGITS = 3
_NOT_DIGITS = re.compile("[^0-9]")
_MINUS = re.compile("[-\N{MINUS SIGN}\N{EN DASH}]")


def currency_of(code: str) -> Currency:
    """The currency of an ISO 4217 code in either case; MalformedError for any other word."""
    currency = _CURRENCIES.get(code.strip().upper()) if code.isascii() else None
    if currency is None:
        raise MalformedError(f"{code[:20]!r} is not a currency code of ISO 4217, such as USD.")
    return currency


def parse_amount(text: str, currency: Currency) -> int:
    """Minor units, more than zero; MalformedError says in a customer's words what is wrong."""
    written = _WRITTEN.fullmatch(text.strip()) if len(text) <= TEXT_LENGTH_MAX else None
    if written is None:
        raise _unreadable(text, currency)
    for side in ("before", "after"):
        _check_unit(written[side].strip(), currency)
    whole, decimals = _split(written["number"], currency)
    return _minor(whole, decimals, currency)


def _unreadable(text: str, currency: Currency) -> MalformedError:
    example = format_amount(100 * 10**currency.exponent, currency)
    if not text.strip():
        return MalformedError(f"Please give an amount, such as {example}.")
    return MalformedError(f"I could not read that amount; please write it like {example}.")


def _check_unit(unit: str, currency: Currency) -> None:
    if not unit:
        return
    if _MINUS.search(unit):
        raise MalformedError("The amount must be more than zero.")
    name = unit.lower()
    codes = _MEANINGS.get(name) or _MEANINGS.get(name.removesuffix("."))
    if codes is None:
        raise _unreadable(unit, currency)
    if currency.code not in codes:
        raise MalformedError(
            f"Amounts here are in {currency.code}, so please give it in {currency.code}."
        )


def _split(number: str, currency: Currency) -> tuple[str, str]:
    """The digits before and after the decimal mark, by the rules at the top."""
    grouped, plain = _GROUPED.fullmatch(number), _PLAIN.fullmatch(number)
    if grouped and plain:
        dot_is_decimal = currency.exponent >= _GROUP_DIGITS
        if (grouped["mark"] == ".") != dot_is_decimal:
            raise _ambiguous(plain["whole"], plain["decimals"], currency)
        grouped = None if dot_is_decimal else grouped
    read = grouped or plain
    if read is None:
        raise _unreadable(number, currency)
    return _NOT_DIGITS.sub("", read["whole"]), read["decimals"] or ""


def _ambiguous(whole: str, decimals: str, currency: Currency) -> MalformedError:
    mark = "comma" if currency.exponent >= _GROUP_DIGITS else "dot"
    short = f"{whole}.{decimals[: currency.exponent]}".rstrip(".")
    return MalformedError(
        f"I cannot tell whether that {mark} separates thousands or decimals; "
        f"please write {whole}{decimals} or {short}."
    )


def _minor(whole: str, decimals: str, currency: Currency) -> int:
    if len(decimals) > currency.exponent:
        allowed = f"at most {currency.exponent}" if currency.exponent else "no"
        raise MalformedError(f"An amount in {currency.code} has {allowed} decimals.")
    digits = (whole + decimals.ljust(currency.exponent, "0")).lstrip("0")
    if not digits:
        raise MalformedError("The amount must be more than zero.")
    if len(digits) > MINOR_DIGITS_MAX:
        raise MalformedError("That amount is too large.")
    return int(digits)


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
