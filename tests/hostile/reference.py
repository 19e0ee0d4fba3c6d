"""A ledger of the tests' own, written from the rules alone; it imports nothing of wbot.

One `Bank` keeps one business's money: it says what a call, a tap or a passing second may do, and is
told what was done. Amounts are integers of minor units, instants are seconds.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import msgspec

DAY_S = 24 * 3600.0
OPEN_MAX = 5
"""Transfers that one message may leave to be confirmed."""
NAME_LENGTH_MAX = 60


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What one business allows; None is no limit."""

    currency: str = "USD"
    exponent: int = 2
    confirm_above: int = 0
    max_transfer: int | None = None
    daily_total: int | None = None
    daily_count: int | None = None
    overdraft: int = 0
    cancel_window_s: float = 900.0
    hold_ttl_s: float = 600.0
    new_payee_limit: int | None = None
    known_only: bool = False


class Payee(msgspec.Struct, frozen=True):
    """Whom a transfer goes to: a name as compared, or the digits of a number."""

    name: str = ""
    phone: str = ""


class Payment(msgspec.Struct, kw_only=True):
    """One transfer of a customer, and where it stands."""

    number: int
    payer: str
    message: str
    amount: int
    payee: Payee
    at: float
    state: str
    """posted, pending, refused, void, expired or reversed."""
    reason: str = ""
    posted_at: float = 0.0


class Decision(msgspec.Struct, frozen=True):
    """What a call may do: `outcome` is posted, pending, refused, or unread (and nothing kept)."""

    outcome: str
    reason: str = ""
    payee: Payee = Payee()


class Cancelling(msgspec.Struct, frozen=True):
    """What a cancel may do: `outcome` is voided, reversed or nothing."""

    outcome: str
    numbers: tuple[int, ...] = ()
    reason: str = ""


class Bank:
    """The customers of one business, by phone number."""

    def __init__(self, rules: Rules, phones: Iterable[str]) -> None:
        self.rules = rules
        self.phones = set(phones)
        self.posted: defaultdict[str, int] = defaultdict(int)
        self.payments: dict[int, Payment] = {}
        self._known: defaultdict[str, dict[Payee, float]] = defaultdict(dict)
        self._of: defaultdict[str, list[int]] = defaultdict(list)
        self._pending: defaultdict[str, list[int]] = defaultdict(list)

    def held(self, phone: str) -> int:
        return sum(self.payments[number].amount for number in self._pending[phone])

    def available(self, phone: str) -> int:
        return self.posted[phone] - self.held(phone)

    def is_known(self, phone: str, payee: Payee) -> bool:
        return payee in self._known[phone]

    def known_since(self, phone: str, payee: Payee) -> float:
        """When the payee became known; infinity for one who never did."""
        return self._known[phone].get(payee, float("inf"))

    def know(self, phone: str, payee: Payee, at: float) -> None:
        """The operator's word, or a first payment that went through."""
        self._known[phone].setdefault(payee, at)

    def give(self, phone: str, amount: int) -> None:
        """A deposit."""
        self.posted[phone] += amount

    # A transfer --------------------------------------------------------------------------------

    def decide(self, payer: str, message: str, amount: int, to: str, at: float) -> Decision:
        """What a readable amount to this payee comes to."""
        payee = payee_of(to)
        if payee is None:
            return Decision("unread", "no_payee")
        if unread := self._unread(payer, payee, cleaned(to)):
            return Decision("unread", unread, payee)
        if reason := self._refusal(payer, message, amount, payee, at):
            return Decision("refused", reason, payee)
        is_asked = amount > self.rules.confirm_above
        return Decision("pending" if is_asked else "posted", payee=payee)

    def _unread(self, payer: str, payee: Payee, written: str) -> str:
        if payee.phone or self.is_known(payer, payee):
            return ""
        if not any(c.isalpha() for c in unicodedata.normalize("NFKC", written)):
            return "no_name"
        if any(len(scripts_of(word)) > 1 for word in written.split()):
            return "mixed_scripts"
        names = [known.name for known in self._known[payer]]
        if any(name.startswith(payee.name + " ") for name in names):
            return "several"
        return ""

    def _refusal(self, payer: str, message: str, amount: int, payee: Payee, at: float) -> str:
        rules, is_known = self.rules, self.is_known(payer, payee)
        count, total = self._of_the_day(payer, at)
        waiting = [one for one in self._pending[payer] if self.payments[one].message == message]
        ordered = {
            "own_account": payee.phone == payer,
            "unknown_customer": bool(payee.phone) and payee.phone not in self.phones,
            "above_max_transfer": _is_over(amount, rules.max_transfer),
            "unknown_payee": rules.known_only and not is_known,
            "above_new_payee_limit": not is_known and _is_over(amount, rules.new_payee_limit),
            "daily_count": _is_over(count + 1, rules.daily_count),
            "daily_total": _is_over(total + amount, rules.daily_total),
            "too_many_at_once": amount > rules.confirm_above and len(waiting) >= OPEN_MAX,
            "insufficient_funds": amount > self.available(payer) + rules.overdraft,
        }
        return next((reason for reason, holds in ordered.items() if holds), "")

    def _of_the_day(self, payer: str, at: float) -> tuple[int, int]:
        amounts = []
        for number in reversed(self._of[payer]):
            payment = self.payments[number]
            if payment.at <= at - DAY_S:
                break
            if payment.state in {"posted", "pending"}:
                amounts.append(payment.amount)
        return len(amounts), sum(amounts)

    def made(self, payment: Payment) -> None:
        """The call's transfer is in the ledger, in this state."""
        self.payments[payment.number] = payment
        self._of[payment.payer].append(payment.number)
        if payment.state == "pending":
            self._pending[payment.payer].append(payment.number)
        if payment.state == "posted":
            self._move(payment, payment.at)

    # What becomes of it ------------------------------------------------------------------------

    def end(self, number: int, state: str, at: float) -> None:
        """What was pending is posted, void or expired."""
        payment = self.payments[number]
        self._pending[payment.payer].remove(number)
        payment.state = state
        if state == "posted":
            self._move(payment, at)

    def mirror(self, number: int) -> None:
        """What was posted is back."""
        payment = self.payments[number]
        payment.state = "reversed"
        self.posted[payment.payer] += payment.amount

    def _move(self, payment: Payment, at: float) -> None:
        payment.posted_at = at
        self.posted[payment.payer] -= payment.amount
        if payment.payee.phone:
            self.posted[payment.payee.phone] += payment.amount
        self.know(payment.payer, payment.payee, at)

    # Taking it back ----------------------------------------------------------------------------

    def cancel(self, payer: str, reference: str | None, at: float) -> Cancelling:
        """What a customer's cancel comes to, with a reference (T5) or without one."""
        if not (reference or "").strip() and self._pending[payer]:
            return Cancelling("voided", tuple(self._pending[payer]))
        payment = self._meant(payer, (reference or "").strip())
        if payment is None:
            return Cancelling("nothing", reason="nothing_to_cancel")
        if payment.state == "pending":
            return Cancelling("voided", (payment.number,))
        if reason := self._kept(payment, at):
            return Cancelling("nothing", reason=reason)
        return Cancelling("reversed", (payment.number,))

    def _meant(self, payer: str, reference: str) -> Payment | None:
        if not reference:
            own = self._of[payer]
            return self.payments[own[-1]] if own else None
        found = re.fullmatch(r"[Tt]?\s*([0-9]{1,18})", reference)
        payment = self.payments.get(int(found[1])) if found else None
        return payment if payment and payment.payer == payer else None

    def _kept(self, payment: Payment, at: float) -> str:
        """Why a payment that is not pending cannot be taken back."""
        if payment.state == "refused":
            return "latest_refused"
        if payment.state != "posted":
            return "already_cancelled"
        if payment.payee.phone:
            return "reached_a_customer"
        is_late = at - payment.posted_at > self.rules.cancel_window_s
        return "cancel_window_closed" if is_late else ""


def _is_over(value: int, limit: int | None) -> bool:
    return limit is not None and value > limit


# Names ------------------------------------------------------------------------------------------

RECEIPT = "\N{RECEIPT}"
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {
    *map(chr, range(0xFE00, 0xFE10)),
    *map(chr, range(0x180B, 0x1810)),
}
_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})


def cleaned(written: str) -> str:
    """A payee as it is kept: one line, without the mark, controls and what turns text around."""
    kept = (c for c in written if c != RECEIPT and c not in _BIDI)
    text = "".join(c for c in kept if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    return re.sub(r"\s+", " ", text).strip()[:NAME_LENGTH_MAX].rstrip()


def folded(name: str) -> str:
    """A name as compared."""
    seen = "".join(c for c in name if c not in _UNSEEN and unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).casefold().split())


def payee_of(written: str) -> Payee | None:
    """Whom the words mean; None where they mean nobody."""
    name = cleaned(written)
    if not name:
        return None
    if phone := digits_of(name):
        return Payee(phone=phone)
    return Payee(name=folded(name))


def digits_of(name: str) -> str:
    """The digits of what is written like a phone number; nothing for all else."""
    plain = unicodedata.normalize("NFKC", name).strip()
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    if not plain.lstrip("+")[:1].isdecimal() or not re.fullmatch(
        r"\+?[\d\s().\-\u2010-\u2015\u2212]+", plain
    ):
        return ""
    digits = "".join(str(unicodedata.decimal(c)) for c in plain if c.isdecimal())
    return digits if 5 <= len(digits) <= 20 else ""


def scripts_of(word: str) -> set[str]:
    """Alphabets that look alike, among a word's letters."""
    letters = [c for c in unicodedata.normalize("NFKC", word) if c.isalpha()]
    return {unicodedata.name(c, "?").split()[0] for c in letters} & _ALIKE
