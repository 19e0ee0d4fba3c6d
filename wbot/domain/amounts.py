"""Amounts as people write them, read into minor units for sure or asked about.

An amount is one number with the signs, codes and words of one currency around it, and perhaps a
word that multiplies it. Digits may be of any script, but of one.

1. Groups of three digits may be set apart by a comma, a dot, an apostrophe or a space, the same one
   throughout; in South Asia 1,00,000 too. Decimals follow a dot or a comma, whichever does not
   separate groups: 1,000.50 and 1.000,50 and 1 000,00 and 1'000.50.
2. One comma or dot and then other than three digits is a decimal mark: 100.5, 1,50.
3. One comma or dot and then three digits means thousands where the people of the currency write
   thousands so, or no decimals at all (domain/currencies.py). Where the currency has three
   decimals a dot is a decimal mark, because we write it so. All else is a doubt.
4. Decimals beyond those of the currency can only be zeros. Just three of them are a doubt.
5. In 1.5 lakh, 50rb, 2 mil the number may have decimals, so 1.500 mil is a doubt.

A doubt is asked about, with the readings as text. What is left over is refused, never dropped.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise, product

import msgspec

from wbot.domain.currencies import CURRENCIES, NO_DECIMALS
from wbot.domain.errors import MalformedError
from wbot.domain.money import MINOR_DIGITS_MAX, Currency, format_amount, format_money
from wbot.domain.number_words import SCALE_WORDS, factors_of

TEXT_LENGTH_MAX = 64
"""Characters of an amount as written; what is longer is not read at all."""

UNREADABLE = "I could not read that amount"
"""Begins the refusal of what is no amount."""

_SOUTH_ASIA = frozenset(["INR", "PKR", "BDT", "NPR", "LKR", "BTN"])
_GROUP_DIGITS = 3

_DECIMAL_ONLY = "\N{ARABIC DECIMAL SEPARATOR}"
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bb\u02bc\u2032\u00b4`\N{ARABIC THOUSANDS SEPARATOR}", "'"),
        **dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}\N{HYPHEN}\N{FIGURE DASH}", "-"),
        "\N{ARABIC COMMA}": ",",
    }
)
# Marks of direction are usual around Arabic and Hebrew words; within a number they could turn it.
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u061c]")

# A dot that follows a letter or a slash belongs to the word before it: Rs.500, S/.500.
_NUMBER = re.compile(
    rf"(?:(?:^|(?<=[ $€£¥₹₩₦₱₫₺₽₪₴-]))\.)?[0-9](?:[0-9.,' {_DECIMAL_ONLY}]*[0-9])?"
)
_PLAIN = re.compile(rf"(?P<whole>[0-9]*)(?:(?P<point>[.,{_DECIMAL_ONLY}])(?P<decimals>[0-9]+))?")
_GROUPED = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?P<mark>[.,' ])[0-9]{3}(?:(?P=mark)[0-9]{3})*)"
    rf"(?:(?!(?P=mark))(?P<point>[.,{_DECIMAL_ONLY}])(?P<decimals>[0-9]+))?"
)
_SOUTH_ASIAN = re.compile(
    r"(?P<whole>[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3})(?:(?P<point>\.)(?P<decimals>[0-9]+))?"
)
_NOT_DIGITS = re.compile("[^0-9]")
# "And no cents": 20,- and 20.- and 50,000/- and 500/= and 20:-.
_ROUND = re.compile(r" ?(?:[,.]--?|/-|/=|:-)(?: only\b)?")
_MINUS = re.compile(r"(?<![^\W\d_])-")
_OF = re.compile(r"(?:de |d'|of )")
_CODE_AND_SIGN = re.compile(r"([a-z]{3})([^a-z0-9\s.])")


def _meanings() -> dict[str, frozenset[str]]:
    """Every word and sign for money, in lower case, with the codes that it can mean."""
    meanings: dict[str, frozenset[str]] = {}
    for code, facts in CURRENCIES.items():
        for name in (code.lower(), *facts.names):
            meanings[name] = meanings.get(name, frozenset()) | {code}
    return meanings


_MEANINGS = _meanings()

UNITS = frozenset(_MEANINGS)
"""Codes, signs and everyday words for some currency, in lower case: "usd", "€", "dollars"."""


class _Figure(msgspec.Struct, frozen=True):
    """One reading of the digits: before and after the decimal mark."""

    whole: str
    decimals: str = ""

    @property
    def value(self) -> Fraction:
        return Fraction(int(self.whole + self.decimals), 10 ** len(self.decimals))


class _Part(msgspec.Struct, frozen=True):
    """A number with the word that multiplies it: whatever they may mean."""

    figures: tuple[_Figure, ...]
    factors: tuple[int, ...] = (1,)


def parse_amount(text: str, currency: Currency) -> int:
    """Minor units, more than zero; MalformedError says in a customer's words what is wrong."""
    written = _normalised(text) if len(text) <= TEXT_LENGTH_MAX else ""
    numbers = _NUMBER.findall(written)
    if not numbers:
        raise _unreadable(text, currency)
    before, *between, after = (_DIRECTION_MARKS.sub("", one) for one in _NUMBER.split(written))
    if currency.code not in _codes(before, currency):
        raise _other_currency(currency)
    factors = [factors_of(word.strip(), currency.code) for word in between]
    if not all(factors):
        raise _unreadable(text, currency)
    parts = [
        _Part(_figures(number, currency, is_scaled=True), factor)
        for number, factor in zip(numbers, factors, strict=False)
    ]
    return _agreed({*_totals([*parts, _last_part(numbers[-1], after, currency)])}, currency)


def _normalised(text: str) -> str:
    """In lower case, with plain digits, marks, spaces and widths; empty if it mixes digits."""
    kept, zeros = [], set()
    for c in unicodedata.normalize("NFC", text.strip()):
        digit = unicodedata.decimal(c, None)
        if digit is not None:
            zeros.add(ord(c) - digit)
            kept.append(str(digit))
        elif unicodedata.category(c) == "Zs":
            kept.append(" ")
        elif unicodedata.decomposition(c).startswith(("<wide>", "<narrow>")):
            kept.append(unicodedata.normalize("NFKC", c))
        else:
            kept.append(c)
    return "".join(kept).translate(_SAME).lower() if len(zeros) == 1 else ""


def _codes(words: str, currency: Currency) -> frozenset[str]:
    """What the words may mean, every currency if there are none; raises MalformedError."""
    if _MINUS.search(words):
        raise MalformedError("The amount must be more than zero.")
    known = _known_codes(words.strip())
    if known is None:
        raise _unreadable(words, currency)
    return known


def _known_codes(unit: str) -> frozenset[str] | None:
    """The currencies that a unit may mean: "$", "US dollars", "MXN $", "clp$"; None for others."""
    if not unit:
        return frozenset(CURRENCIES)
    if (known := _meaning(unit)) is not None:
        return known
    both = _CODE_AND_SIGN.fullmatch(unit)
    pieces = both.groups() if both else unit.split()
    meanings = [_meaning(piece) for piece in pieces]
    found = [codes for codes in meanings if codes is not None]
    return frozenset.intersection(*found) if len(found) == len(meanings) else None


def _meaning(word: str) -> frozenset[str] | None:
    return _MEANINGS.get(word) or _MEANINGS.get(word.removesuffix("."))


def _last_part(number: str, after: str, currency: Currency) -> _Part:
    """The last number, with the words behind it: what multiplies it, and the unit."""
    is_round = (rounded := _ROUND.match(after)) is not None
    words = (after[rounded.end() :] if rounded else after.removeprefix(".")).strip()
    if _MINUS.search(words):
        raise MalformedError("The amount must be more than zero.")
    units = [(scale, _known_codes(unit)) for scale, unit in _split(words)]
    known = [(scale, codes) for scale, codes in units if codes is not None]
    if not known:
        raise _unreadable(words, currency)
    ours = [scale for scale, codes in known if currency.code in codes]
    factors = [
        factor for scale in ours for factor in (factors_of(scale, currency.code) if scale else (1,))
    ]
    if not factors:
        raise _unreadable(words, currency) if ours else _other_currency(currency)
    figures = _figures(number, currency, is_scaled=max(factors) > 1, is_round=is_round)
    return _Part(figures, tuple(factors))


def _split(words: str) -> Iterator[tuple[str, str]]:
    """What multiplies the number and what names the unit, in each way the words can be cut."""
    yield "", words
    for scale in SCALE_WORDS:
        rest = words[len(scale) :]
        runs_on = scale[-1].isalpha() and rest[:1].isalpha() and scale[-1] < "\u2e80"
        if words.startswith(scale) and not runs_on:
            unit = rest.removeprefix(".").strip()
            yield scale, _OF.sub("", unit, count=1) if _OF.match(unit) else unit


def _figures(
    number: str, currency: Currency, *, is_scaled: bool, is_round: bool = False
) -> tuple[_Figure, ...]:
    """Every reading of the digits, by the rules at the top; raises MalformedError for none."""
    grouped, plain = _GROUPED.fullmatch(number), _PLAIN.fullmatch(number)
    if grouped is None and currency.code in _SOUTH_ASIA:
        grouped = _SOUTH_ASIAN.fullmatch(number)
    read = grouped or plain
    if read is None:
        raise _unreadable(number, currency)
    figure = _Figure(_NOT_DIGITS.sub("", read["whole"]), read["decimals"] or "")
    if grouped is None or plain is None:
        is_doubtful = read["point"] in {".", ","} and _may_be_a_group(figure, currency)
        return (figure, _Figure(figure.whole + figure.decimals)) if is_doubtful else (figure,)
    decimal = _Figure(plain["whole"], plain["decimals"])
    has_long_decimals = currency.exponent >= _GROUP_DIGITS
    is_group = is_round or CURRENCIES[currency.code].thousands in {NO_DECIMALS, grouped["mark"]}
    if not is_scaled and has_long_decimals and grouped["mark"] == "." and not is_round:
        return (decimal,)
    return (figure,) if is_group and not is_scaled and not has_long_decimals else (decimal, figure)


def _may_be_a_group(figure: _Figure, currency: Currency) -> bool:
    """Whether the decimals are more than the currency has, and perhaps slipped thousands."""
    is_too_long = len(figure.decimals) > currency.exponent
    is_small = figure.whole != "" and int(figure.whole) == 0  # 0.500
    return is_too_long and len(figure.decimals) % _GROUP_DIGITS == 0 and not is_small


def _totals(parts: Sequence[_Part]) -> Iterator[Fraction]:
    """What the parts come to, in each way that they can be read: 1 crore 5 lakh, 1万5000."""
    for figures in product(*(part.figures for part in parts)):
        for factors in product(*(part.factors for part in parts)):
            terms = list(zip(figures, factors, strict=True))
            if all(_continues(term, before) for before, term in pairwise(terms)):
                yield sum((figure.value * factor for figure, factor in terms), Fraction())


def _continues(term: tuple[_Figure, int], before: tuple[_Figure, int]) -> bool:
    """Whether a part says how much more than the one before: 1tr5 does not, it means 1.5 tr."""
    figure, factor = term
    if before[0].decimals:
        return False
    if factor == 1:
        return bool(10 ** len(figure.whole) == before[1])
    return figure.value * factor < before[1]


def _agreed(values: set[Fraction], currency: Currency) -> int:
    """Minor units of the one value; raises MalformedError with a question if there are several."""
    if not values:
        raise _unreadable("?", currency)
    in_minor = {value: value * 10**currency.exponent for value in values}
    fit = [value for value, minor in in_minor.items() if minor.denominator == 1]
    allowed = f"at most {currency.exponent}" if currency.exponent else "no"
    decimals = f"An amount in {currency.code} has {allowed} decimals."
    if not fit:
        raise MalformedError(decimals)
    if len(values) > 1:
        named = " or ".join(_shown(value, currency) for value in sorted(values))
        hint = "" if len(fit) == len(values) else f" {decimals}"
        raise MalformedError(f"Do you mean {named}? Please write the one you mean.{hint}")
    minor = int(in_minor[fit[0]])
    if minor == 0:
        raise MalformedError("The amount must be more than zero.")
    if minor >= 10**MINOR_DIGITS_MAX:
        raise MalformedError("That amount is too large.")
    return minor


def _shown(value: Fraction, currency: Currency) -> str:
    """A reading as text; one that is no amount keeps its decimals."""
    minor = value * 10**currency.exponent
    if minor.denominator == 1:
        return format_money(int(minor), currency)
    digits = TEXT_LENGTH_MAX
    whole, rest = divmod(int(value * 10**digits), 10**digits)
    units = format_money(whole * 10**currency.exponent, currency).partition(".")[0]
    return f"{units}.{rest:0{digits}}".rstrip("0")


def _other_currency(currency: Currency) -> MalformedError:
    return MalformedError(
        f"Amounts here are in {currency.code}, so please give it in {currency.code}."
    )


def _unreadable(text: str, currency: Currency) -> MalformedError:
    example = format_amount(100 * 10**currency.exponent, currency)
    if not text.strip():
        return MalformedError(f"Please give an amount, such as {example}.")
    return MalformedError(f"{UNREADABLE}; please write it like {example}.")
