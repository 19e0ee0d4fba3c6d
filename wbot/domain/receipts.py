"""What a reply says about money: lines rendered from the ledger, behind a mark of code's own."""

import re
import unicodedata
from collections.abc import Sequence

from wbot.domain.ledger import reference_of
from wbot.domain.money import Currency, format_money
from wbot.domain.payees import Payee, shown_number, shown_payee

MARK = "\N{RECEIPT}"
"""Begins each line that code rendered; removed from all other text."""

# With what varies or continues a symbol: alone it would be left over.
_MARK = re.compile(f"{MARK}[\ufe0e\ufe0f\u200d\u20e3]*")
# They can display text in another order than it is stored: an amount could be reversed.
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LEFT_OUT = {"Cc", "Cs"}  # controls, and lone surrogates, which no file can store
_LINE_BREAKS = re.compile("[\\s\u0085\u2028\u2029]+")
_QUOTATION_MARKS = re.compile('["\u201c-\u201f\u2033\u2036\u301d-\u301f\uff02]')
_QUOTED = re.compile("“[^”]*”")
_REFERENCE = re.compile(r"\bT\d+\b")

PAYEE_LENGTH_MAX = 60
BUSINESS_LENGTH_MAX = 40
MEMO_LENGTH_MAX = 140


def receipt(text: str) -> str:
    """One line of the ledger, as the customer sees it."""
    return f"{MARK} {text}"


def without_mark(text: str) -> str:
    """The text without the mark, bidirectional and other controls, lone surrogates."""
    kept = _BIDI_CONTROLS.sub("", _MARK.sub("", text))
    return "".join(c for c in kept if c in "\n\t" or unicodedata.category(c) not in _LEFT_OUT)


def one_line(text: str, length_max: int) -> str:
    """A payee or memo: words without mark, controls and line breaks, cut to a length."""
    return _LINE_BREAKS.sub(" ", without_mark(text)).strip()[:length_max].rstrip()


def quoted(name: str) -> str:
    """A name within a line: what it says, figures too, cannot be taken for the line's own words."""
    return f"“{_QUOTATION_MARKS.sub('', one_line(name, PAYEE_LENGTH_MAX))}”"


def quoted_payee(name: str, number: str | None = None) -> str:
    """Whom the customer pays, within a line or a question; `number` is a named customer's."""
    shown = shown_payee(name)
    if number is None:
        return quoted(shown)
    # Before the number, words alone need no marks to be told from the line's own.
    is_plain = all(c.isalpha() or c in " '-" or unicodedata.combining(c) for c in shown)
    return f"{shown if is_plain else quoted(shown)} ({shown_number(number)})"


def told_payee(payee: Payee) -> str:
    """Whom the customer pays, and how the money gets there."""
    shown = quoted_payee(payee.name, payee.number)
    if payee.paid_out_by is None:
        return f"{shown}, gets it at once"
    return f"{shown}, outside: paid out by {one_line(payee.paid_out_by, BUSINESS_LENGTH_MAX)}"


class ReceiptFormatter:
    """The ledger's sentences about one account, each with what is available there afterwards."""

    def __init__(self, currency: Currency, available_minor: int) -> None:
        self._currency = currency
        self._available = f"Available: {format_money(available_minor, currency)}."

    def available(self, held_minor: int) -> str:
        held = f" Held: {format_money(held_minor, self._currency)}." if held_minor else ""
        return receipt(f"{self._available}{held}")

    def sent(self, transfer_id: int, amount_minor: int, payee: Payee) -> str:
        money = f"{format_money(amount_minor, self._currency)} to {told_payee(payee)}"
        return receipt(f"Sent {money} ({reference_of(transfer_id)}). {self._available}")

    def not_sent(self, amount_minor: int, payee: str, sentence: str) -> str:
        return receipt(f"Not sent: {self._to(amount_minor, payee)}. {sentence} {self._available}")

    def not_confirmed(self, transfer_id: int, amount_minor: int, payee: str) -> str:
        money = f"{self._to(amount_minor, payee)} ({reference_of(transfer_id)})"
        return receipt(f"Not sent: {money} was not confirmed in time. {self._available}")

    def cancelled(
        self, transfer_id: int, amount_minor: int, payee: str, *, was_posted: bool
    ) -> str:
        end = "is back" if was_posted else "will not be sent"
        money = f"{self._to(amount_minor, payee)} {end}"
        return receipt(f"Cancelled {reference_of(transfer_id)}: {money}. {self._available}")

    def not_paid_out(self, transfer_id: int, amount_minor: int, payee: str) -> str:
        money = f"{self._to(amount_minor, payee)} ({reference_of(transfer_id)})"
        return receipt(f"Not paid out: {money} is back. {self._available}")

    def received(self, transfer_id: int, amount_minor: int, payer: str) -> str:
        """`payer` is what may be shown of the payer, see domain/foreign.py."""
        money = f"{format_money(amount_minor, self._currency)} from {payer}"
        return receipt(
            f"You have received {money} ({reference_of(transfer_id)}). {self._available}"
        )

    def _to(self, amount_minor: int, payee: str) -> str:
        return f"{format_money(amount_minor, self._currency)} to {quoted_payee(payee)}"


def reply_text(receipts: Sequence[str], words: str) -> str:
    """The whole reply: the ledger's lines first, apart from the model's words."""
    spoken = without_mark(words).strip() if receipts else without_mark(words)
    return "\n\n".join(part for part in ("\n".join(receipts), spoken) if part)


def references_in(text: str) -> tuple[str, ...]:
    """The transfers that a reply's lines of the ledger name, each once, in order."""
    lines = _QUOTED.sub("", our_lines(text))
    return tuple(dict.fromkeys(_REFERENCE.findall(lines)))


def our_lines(text: str) -> str:
    """What of a reply is the ledger's, without the model's words."""
    return "\n".join(line for line in text.split("\n") if line.startswith(MARK))
