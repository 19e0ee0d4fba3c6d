"""What a customer reads before money may go: written by code alone, from the ledger's figures."""

from collections.abc import Sequence

import msgspec

from wbot.domain.ledger import reference_of
from wbot.domain.money import Currency, format_money
from wbot.domain.payees import Payee, said_look_alike
from wbot.domain.receipts import quoted_payee, receipt, told_payee

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))

BODY_LENGTH_MAX = 1_024
"""Characters in the body of a message with buttons (cloud-api.md 4.2)."""

_SHORT_NAME_LENGTH = 12


NOT_TYPED = "Please check it: I did not find all of this in your message."
"""Where an amount, or a payee never confirmed before, is not what the customer typed."""


class Repeated(msgspec.Struct, frozen=True):
    """The same payment before: whole seconds ago, and whether it was sent or still waits."""

    ago_s: int
    is_sent: bool


class PendingTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A pending transfer as its payer is asked about it."""

    transfer_id: int
    amount_minor: int
    payee: Payee
    is_payee_known: bool
    repeats: Repeated | None = None
    looks_like: str | None = None
    """A known payee whose name a new one looks like."""


def confirmation_body(
    held: Sequence[PendingTransfer],
    currency: Currency,
    *,
    ttl_s: int,
    receipts: Sequence[str] = (),
    is_typed: bool = True,
) -> str:
    """The question; what else the turn did stands above it, as far as there is room."""
    below = [] if is_typed else [NOT_TYPED]
    below.append(f"Nothing is sent until you confirm. Valid for {_duration(ttl_s)}.")
    full, brief = (
        "\n".join(["Please confirm:", *_lines_of(held, currency, is_brief=is_brief), *below])
        for is_brief in (False, True)
    )
    question = full if len(full) <= BODY_LENGTH_MAX else brief
    return "\n\n".join(part for part in (_above(receipts, question), question) if part)


def _lines_of(held: Sequence[PendingTransfer], currency: Currency, *, is_brief: bool) -> list[str]:
    lines = [line_of(one, currency, is_short=is_brief) for one in held]
    if len(held) == 1:
        again = held[0].repeats
        return lines if again is None else [*lines, _again(held[0], again, currency)]
    total = sum(one.amount_minor for one in held)
    repeats = [_mark_of_repetition(one, is_brief=is_brief) for one in held]
    marked = [f"{line}{repeat}" for line, repeat in zip(lines, repeats, strict=True)]
    return [*marked, receipt(f"Together {format_money(total, currency)}")]


def take_back_body(sent: str, receipts: Sequence[str]) -> str:
    """The question whether a transfer is taken back; `sent` is the ledger's line about it."""
    question = f"{sent}\nShall I take this payment back?"
    return "\n\n".join(part for part in (_above(receipts, question), question) if part)


def which_body(lines: Sequence[str], *, is_yes: bool) -> str:
    """The question which of several open ones a plain yes or no is about, as far as they fit."""
    word = "yes" if is_yes else "no"
    asked = f"I have asked you more than one thing, so nothing was done. What is your “{word}” for?"
    shown = list(lines)
    while len("\n".join([asked, *shown])) > BODY_LENGTH_MAX:
        shown.pop()
    return "\n".join([asked, *shown])


def line_of(one: PendingTransfer, currency: Currency, *, is_short: bool = False) -> str:
    """A pending transfer in a question; short where the question would be too long."""
    money, payee = format_money(one.amount_minor, currency), one.payee
    if is_short and payee.paid_out_by is not None:
        payee = msgspec.structs.replace(payee, paid_out_by=payee.paid_out_by[:_SHORT_NAME_LENGTH])
    new = "" if one.is_payee_known else ", a new payee"
    if one.looks_like is not None:
        alike = said_look_alike(one.looks_like)
        new += f", {alike.partition(',')[0] if is_short else alike}"
    return receipt(f"{money} to {told_payee(payee)} ({reference_of(one.transfer_id)}){new}")


def _again(one: PendingTransfer, before: Repeated, currency: Currency) -> str:
    money = format_money(one.amount_minor, currency)
    to, ago = quoted_payee(one.payee.name, one.payee.number), _ago(before.ago_s)
    did = "You sent" if before.is_sent else "You already asked to send"
    return receipt(f"{did} {money} to {to} {ago}. Send another {money}?")


def _mark_of_repetition(one: PendingTransfer, *, is_brief: bool) -> str:
    if one.repeats is None:
        return ""
    if is_brief:
        return ", again"
    return f", {'sent' if one.repeats.is_sent else 'asked for'} already {_ago(one.repeats.ago_s)}"


def _ago(seconds: int) -> str:
    whole = max(1, seconds)
    unit_s, name = next(one for one in _UNITS if whole >= one[0])
    count = whole // unit_s
    return f"{count} {name}{'' if count == 1 else 's'} ago"


def _above(receipts: Sequence[str], question: str) -> str:
    """The other lines of the turn: all of them, or as many as fit and how many more there are."""
    lines = [line for one in receipts for line in one.split("\n")]
    room = BODY_LENGTH_MAX - len(question) - 2
    for count in range(len(lines), -1, -1):
        left_out = len(lines) - count
        more = [receipt(f"And {left_out} more; your statement shows them.")] if left_out else []
        above = "\n".join([*lines[:count], *more])
        if len(above) <= room:
            return above
    return ""


def _duration(seconds: int) -> str:
    for unit, name in _UNITS:
        count, rest = divmod(seconds, unit)
        if count and not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"
