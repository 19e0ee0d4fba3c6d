"""The tests' own ledger, written from the rules alone; it imports nothing from wbot.

One `Bank` holds one business's money: it says what a call, a tap or elapsed time may do, and is
told what was done. Amounts are integers of minor units, instants are seconds.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

DAY_S = 24 * 3600.0
OPEN_MAX = 5
"""Transfers that one message may leave to be confirmed."""
NAME_LENGTH_MAX = 60
LABEL_LENGTH_MAX = 24
GUESSES_MAX = 5
"""Unassigned numbers that a customer may try in a day."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What one business allows; None means no limit."""

    currency: str = "USD"
    exponent: int = 2
    confirm_above: int = 0
    max_transfer: int | None = None
    daily_total: int | None = None
    daily_count: int | None = None
    overdraft: int = 0
    cancel_window_s: float = 900.0
    hold_ttl_s: float = 600.0
    repeat_window_s: float = 300.0
    new_payee_limit: int | None = None
    known_only: bool = False
    show_payer: str = "none"


class Payee(msgspec.Struct, frozen=True):
    """The payee of a transfer: a name as compared, or the digits of a number."""

    name: str = ""
    phone: str = ""


class Payment(msgspec.Struct, kw_only=True):
    """One transfer of a customer, and its state."""

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
    is_unasked: bool = False
    """Whether it posted without a confirmation."""


class Decision(msgspec.Struct, frozen=True):
    """What a call may do: `outcome` is posted, pending, refused, or unread (and nothing stored)."""

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
        self._posted: defaultdict[str, list[int]] = defaultdict(list)
        """In the order in which they posted."""
        self._got: defaultdict[str, Counter[Payee]] = defaultdict(Counter)
        """What each payee has received, by customer."""
        self._paid: defaultdict[str, set[Payee]] = defaultdict(set)
        self._names: defaultdict[str, dict[str, str]] = defaultdict(dict)
        """The numbers behind each customer's own names, as compared."""
        self._guesses: defaultdict[str, list[float]] = defaultdict(list)
        """When each customer learned that a number is unassigned."""

    def held(self, phone: str) -> int:
        return sum(self.payments[number].amount for number in self._pending[phone])

    def pending(self, phone: str) -> tuple[int, ...]:
        """The numbers of what waits for the customer's yes."""
        return tuple(self._pending[phone])

    def available(self, phone: str) -> int:
        return self.posted[phone] - self.held(phone)

    def is_known(self, phone: str, payee: Payee) -> bool:
        return payee in self._known[phone]

    def known_since(self, phone: str, payee: Payee) -> float:
        """When the payee became known; infinity if it never did."""
        return self._known[phone].get(payee, float("inf"))

    def know(self, phone: str, payee: Payee, at: float) -> None:
        """Record a payee as known, by the operator or by a first confirmed payment."""
        self._known[phone].setdefault(payee, at)

    def give(self, phone: str, amount: int) -> None:
        """A deposit."""
        self.posted[phone] += amount

    # Names for numbers -------------------------------------------------------------------------

    def name(self, phone: str, name: str, number: str) -> None:
        """Record that the customer gave the number a name."""
        self._names[phone][folded(name)] = number

    def number_of(self, phone: str, name: str) -> str:
        """The number behind the customer's own name; empty if it is none."""
        return self._names[phone].get(folded(cleaned(name)), "")

    def may_be_named(self, phone: str, name: str) -> bool:
        """Whether a contact card may give this name: not if another number or payee has it."""
        return folded(name) not in self._paid_names(phone) | set(self._names[phone])

    def payee_of(self, phone: str, written: str) -> Payee | None:
        """The payee that this customer means; None if they mean no one."""
        if number := self.number_of(phone, written):
            return Payee(phone=number)
        return payee_of(written)

    def _paid_names(self, phone: str) -> set[str]:
        """The names of payees outside that the customer knows or has paid."""
        known = {known.name for known in self._known[phone]}
        return known | {paid.name for paid, got in self._got[phone].items() if got > 0}

    # A transfer --------------------------------------------------------------------------------

    def decide(
        self,
        payer: str,
        message: str,
        amount: int,
        to: str,
        at: float,
        *,
        is_foreign: bool = False,
    ) -> Decision:
        """The decision on an amount to this payee; foreign: the call has read others' words."""
        payee = self.payee_of(payer, to)
        if payee is None:
            return Decision("unread", "no_payee")
        if unread := self._unread(payer, payee, cleaned(to)):
            return Decision("unread", unread, payee)
        is_repeated = self._is_repeated(payer, amount, payee, at)
        is_asked = is_foreign or is_repeated or self._must_ask(payer, message, amount)
        if reason := self._refusal(payer, message, amount, payee, at, is_asked=is_asked):
            return Decision("refused", reason, payee)
        return Decision("pending" if is_asked else "posted", payee=payee)

    def _must_ask(self, payer: str, message: str, amount: int) -> bool:
        """All that one message moves without a yes stays within the threshold."""
        moved = 0
        for number in reversed(self._of[payer]):
            payment = self.payments[number]
            if payment.message != message:
                break  # a customer's messages have their turns one after another
            moved += payment.amount if payment.is_unasked else 0
        return moved + amount > self.rules.confirm_above

    def _is_repeated(self, payer: str, amount: int, payee: Payee, at: float) -> bool:
        """Whether the same amount went to the same payee shortly before, or waits to."""
        for number in reversed(self._of[payer]):
            payment = self.payments[number]
            if at - payment.at > self.rules.repeat_window_s + DAY_S:
                break
            made_at = payment.posted_at if payment.state == "posted" else payment.at
            is_alike = payment.amount == amount and payment.payee == payee
            is_there = is_alike and payment.state in {"posted", "pending"}
            if (
                is_there
                and self.rules.repeat_window_s
                and at - made_at <= self.rules.repeat_window_s
            ):
                return True
        return False

    def _unread(self, payer: str, payee: Payee, written: str) -> str:
        if payee.phone:
            return ""
        plain = unicodedata.normalize("NFKC", written)
        letters = sum(c.isalpha() for c in plain)
        if letters == 0 or sum(c.isdecimal() for c in plain) > letters:
            return "no_name"
        if any(len(scripts_of(word)) > 1 for word in written.split()):
            return "mixed_scripts"
        names = self._paid_names(payer) | set(self._names[payer])
        if payee.name in names:
            return ""
        is_begun = any(name.startswith(payee.name + " ") for name in names)
        return "several" if is_begun else "" if is_plain(written) else "no_label"

    def _refusal(
        self, payer: str, message: str, amount: int, payee: Payee, at: float, *, is_asked: bool
    ) -> str:
        rules, is_known = self.rules, self.is_known(payer, payee)
        count, total = self._of_the_day(payer, at)
        waiting = [one for one in self._pending[payer] if self.payments[one].message == message]
        ordered = {
            "own_account": payee.phone == payer,
            "too_many_unknown": self._guesses_too_much(payer, payee, at),
            "above_max_transfer": _is_over(amount, rules.max_transfer),
            "unknown_payee": rules.known_only and not is_known,
            "above_new_payee_limit": not is_known and _is_over(amount, rules.new_payee_limit),
            "daily_count": _is_over(count + 1, rules.daily_count),
            "daily_total": _is_over(total + amount, rules.daily_total),
            "too_many_at_once": is_asked and len(waiting) >= OPEN_MAX,
            "insufficient_funds": amount > self.available(payer) + rules.overdraft,
            "unknown_customer": self._is_nobody(payee) and not is_asked,
        }
        return next((reason for reason, holds in ordered.items() if holds), "")

    def _is_nobody(self, payee: Payee) -> bool:
        return bool(payee.phone) and payee.phone not in self.phones

    def _guesses_too_much(self, payer: str, payee: Payee, at: float) -> bool:
        if not payee.phone or self.is_known(payer, payee) or payee in self._paid[payer]:
            return False
        return sum(at - one < DAY_S for one in self._guesses[payer]) >= GUESSES_MAX

    def at_yes(self, number: int, at: float) -> str:
        """Why a yes sends nothing after all; empty if it does send."""
        payment = self.payments[number]
        if self._guesses_too_much(payment.payer, payment.payee, at):
            return "too_many_unknown"
        return "unknown_customer" if self._is_nobody(payment.payee) else ""

    def _of_the_day(self, payer: str, at: float) -> tuple[int, int]:
        amounts = [self.payments[number].amount for number in self._pending[payer]]
        for number in reversed(self._posted[payer]):
            payment = self.payments[number]
            if payment.posted_at <= at - DAY_S:
                break
            if payment.state == "posted":
                amounts.append(payment.amount)
        return len(amounts), sum(amounts)

    def made(self, payment: Payment) -> None:
        """Record that the call's transfer is in the ledger, in this state."""
        self.payments[payment.number] = payment
        self._of[payment.payer].append(payment.number)
        if payment.state == "pending":
            self._pending[payment.payer].append(payment.number)
        if payment.state == "posted":
            payment.is_unasked = True
            self._move(payment, payment.at)
        if payment.reason == "unknown_customer":
            self._guesses[payment.payer].append(payment.at)

    # Its outcome -------------------------------------------------------------------------------

    def end(self, number: int, state: str, at: float, reason: str = "") -> None:
        """Record that a pending transfer is posted, void or expired, or why a yes sent nothing."""
        payment = self.payments[number]
        self._pending[payment.payer].remove(number)
        payment.state = state
        if reason == "unknown_customer":
            self._guesses[payment.payer].append(at)
        if state == "posted":
            self._move(payment, at)
            self.know(payment.payer, payment.payee, at)

    def mirror(self, number: int) -> None:
        """Record the reversal of a posted transfer."""
        payment = self.payments[number]
        payment.state = "reversed"
        self.posted[payment.payer] += payment.amount
        self._got[payment.payer][payment.payee] -= payment.amount

    def _move(self, payment: Payment, at: float) -> None:
        payment.posted_at = at
        self.posted[payment.payer] -= payment.amount
        if payment.payee.phone:
            self.posted[payment.payee.phone] += payment.amount
        self._posted[payment.payer].append(payment.number)
        self._got[payment.payer][payment.payee] += payment.amount
        self._paid[payment.payer].add(payment.payee)

    # Cancelling --------------------------------------------------------------------------------

    def cancel(self, payer: str, reference: str | None, at: float) -> Cancelling:
        """The result of a customer's cancel, with a reference (T5) or without one."""
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
        """Why a payment that is not pending cannot be reversed."""
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
    """A payee as stored: one line, without the mark, controls and bidirectional characters."""
    kept = (c for c in written if c != RECEIPT and c not in _BIDI)
    text = "".join(c for c in kept if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
    return re.sub(r"\s+", " ", text).strip()[:NAME_LENGTH_MAX].rstrip()


def folded(name: str) -> str:
    """A name as compared."""
    seen = "".join(c for c in name if c not in _UNSEEN and unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).casefold().split())


def payee_of(written: str) -> Payee | None:
    """The payee that the words mean; None if they mean no one."""
    name = cleaned(written)
    if not name:
        return None
    if phone := digits_of(name):
        return Payee(phone=phone)
    return Payee(name=folded(name))


def digits_of(name: str) -> str:
    """The digits of text written like a phone number; empty for any other text."""
    plain = unicodedata.normalize("NFKC", name).strip()
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    if not plain.lstrip("+")[:1].isdecimal() or not re.fullmatch(
        r"\+?[\d\s().\-\u2010-\u2015\u2212]+", plain
    ):
        return ""
    digits = "".join(str(unicodedata.decimal(c)) for c in plain if c.isdecimal())
    return digits if 5 <= len(digits) <= 20 else ""


def scripts_of(word: str) -> set[str]:
    """Look-alike alphabets among a word's letters."""
    letters = [c for c in unicodedata.normalize("NFKC", word) if c.isalpha()]
    return {unicodedata.name(c, "?").split()[0] for c in letters} & _ALIKE


SIGNS = "'’-.&"


def without_unseen(written: str) -> str:
    """One line without invisible characters."""
    kept = (c for c in written if c not in _UNSEEN and unicodedata.category(c) != "Cf")
    return " ".join("".join(kept).split())


def is_plain(written: str) -> bool:
    """Whether a name may stand in a line of ours: no link, no number, no sentence with figures."""
    name = without_unseen(written)
    if not 0 < len(name) <= LABEL_LENGTH_MAX or not any(c.isalpha() for c in name):
        return False
    if sum(c.isdecimal() for c in name) > 2:
        return False
    kinds = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd", "Zs"}
    if any(c not in SIGNS and unicodedata.category(c) not in kinds for c in name):
        return False
    return all(_is_plain_word(word) for word in name.split())


def _is_plain_word(word: str) -> bool:
    if "." not in word or word == ".":
        return "." not in word
    pieces = word.split(".")
    is_initials = pieces[-1] == "" and all(len(one) == 1 and one.isalpha() for one in pieces[:-1])
    return is_initials or (word.endswith(".") and word.count(".") == 1)


def shown_payer(rule: str, name: str, phone: str) -> str:
    """The payer's name that a payee who is a customer is shown."""
    if rule == "name" and is_plain(name):
        return without_unseen(name)
    return "another customer" if rule == "none" else f"…{phone[-4:]}"
