"""A reference ledger: what each customer should have, and what each reply should say."""

import re
from collections.abc import Sequence

import msgspec
from db_factories import SHOP

from torture.asks import PLACEHOLDER, Ask, Kind, Payment
from wbot.domain.content import content_of
from wbot.domain.policy import SENTENCES, Refusal
from wbot.domain.receipts import MARK
from wbot.domain.triage import Decline, handling_of
from wbot.turns.finish import ERROR_TEXT

_DECLINED = handling_of(content_of(PLACEHOLDER))
NOT_ARRIVED = _DECLINED.sentence if isinstance(_DECLINED, Decline) else ""


class _Sent(msgspec.Struct):
    """The latest payment that a customer tried, as a cancellation finds it."""

    payment: Payment
    refusal: Refusal | None
    reference: str = ""
    is_cancelled: bool = False


class Account(msgspec.Struct):
    """One customer's money in minor units, replayed message by message."""

    available_minor: int
    presents: dict[str, int] = msgspec.field(default_factory=dict)
    """The amount paid, by receiver's number with its plus."""
    effects: int = 0
    """Payments that were made and reversed."""
    _latest: _Sent | None = None
    _second: dict[str, "_Sent | str"] = msgspec.field(default_factory=dict)
    """By message, what its reprocessing reports: a payment in its current state, or a refusal."""

    def differs(
        self, ask: Ask, reply: str, *, is_last: bool, told: Sequence[str] = ()
    ) -> str | None:
        """Replay the message up to this reply; returns the expected text if the reply differs.

        `told`: lines that stand before it, about earlier replies; a line stands in a reply once.
        The ledger's own numbers (T12) cannot be predicted: they are read from the reply, and must
        appear again when the same payment is cancelled.
        """
        if not is_last and ask.kind in {Kind.PLACEHOLDER, Kind.REJECTED}:
            expected = NOT_ARRIVED if ask.kind is Kind.PLACEHOLDER else ERROR_TEXT
            return None if reply == expected else expected
        if is_last and ask.kind is Kind.REJECTED_AFTER:
            said = self._second[ask.message_id]
            expected = said if isinstance(said, str) else f"{MARK} {self._standing(said)}"
            return None if reply == expected else expected
        pattern, made = self._pattern(ask, told)
        found = re.fullmatch(pattern, reply)
        if found is None:
            return pattern
        for payment, reference in zip(made, found.groups(), strict=True):
            payment.reference = reference
        if ask.kind is Kind.REJECTED_AFTER:  # a message that moved no money is read again
            self._second[ask.message_id] = made[0] if made else f"{reply}\n\n{ask.words}"
        return None

    def _pattern(self, ask: Ask, told: Sequence[str]) -> tuple[str, list[_Sent]]:
        """The reply as a pattern, with a group for the number of each payment made."""
        if ask.is_held:
            return re.escape(ask.words), []
        lines, made = [], []
        for payment in ask.payments:
            line, sent = self._pay(payment)
            lines.append(line)
            made += [] if sent.refusal else [sent]
        if ask.kind is Kind.CANCEL:
            lines.append(self._cancel())
        if ask.kind is Kind.BALANCE:
            lines.append(f"Available: {money(self.available_minor)}.")
        new = [line for line in lines if f"{MARK} {line}" not in told]
        receipts = "\n".join(f"{MARK} {re.escape(line)}" for line in new)
        receipts = receipts.replace(re.escape("(T#)"), r"\((T\d+)\)")
        words = "" if ask.kind is Kind.REJECTED_AFTER else re.escape(ask.words)
        return "\n\n".join(part for part in (receipts, words) if part), made

    def _pay(self, payment: Payment) -> tuple[str, _Sent]:
        too_much = payment.amount_minor > self.available_minor
        sent = _Sent(payment, Refusal.INSUFFICIENT_FUNDS if too_much else None)
        self._latest = sent
        if sent.refusal:
            return (
                f"Not sent: {money(payment.amount_minor)} to “{payment.to}”. "
                f"{SENTENCES[sent.refusal]} Available: {money(self.available_minor)}."
            ), sent
        self.available_minor -= payment.amount_minor
        self.effects += 1
        if payment.to.startswith("+"):
            self.presents[payment.to] = self.presents.get(payment.to, 0) + payment.amount_minor
        return (
            f"Sent {money(payment.amount_minor)} to “{payment.to}”, {told(payment.to)} (T#). "
            f"Available: {money(self.available_minor)}."
        ), sent

    def _cancel(self) -> str:
        latest, refusal = self._latest, None
        if latest is None:
            refusal = Refusal.NOTHING_TO_CANCEL
        elif latest.refusal:
            refusal = Refusal.LATEST_REFUSED
        elif latest.is_cancelled:
            refusal = Refusal.ALREADY_CANCELLED
        elif latest.payment.to.startswith("+"):
            refusal = Refusal.REACHED_A_CUSTOMER
        if latest is None or refusal is not None:
            return f"Nothing cancelled. {SENTENCES[refusal or Refusal.NOTHING_TO_CANCEL]}"
        latest.is_cancelled = True
        self.effects += 1
        self.available_minor += latest.payment.amount_minor
        return self._standing(latest)

    def _standing(self, sent: _Sent) -> str:
        paid = f"{money(sent.payment.amount_minor)} to “{sent.payment.to}”"
        left = f"Available: {money(self.available_minor)}."
        if sent.is_cancelled:
            return f"Cancelled {sent.reference}: {paid} is back. {left}"
        return f"Sent {paid}, {told(sent.payment.to)} ({sent.reference}). {left}"


def told(payee: str) -> str:
    """How the money gets to a payee."""
    outside = f"outside: paid out by {SHOP.name}"
    return "gets it at once" if payee.startswith("+") else outside


def money(minor: int) -> str:
    """Dollars in the format of a receipt."""
    return f"${minor // 100:,}.{minor % 100:02}"
