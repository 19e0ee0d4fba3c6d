"""From a customer's text to the calls it asks for, or to an answer in words.

Reading is by whitelist: a message is cut into clauses, and money moves only if every clause is a
known form from its first to its last word. Questions, conditions, negations and anything half
understood get words. What a call names is cut out of the customer's own text, unchanged; whether it
is an amount or a payee is for the tool to judge.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from wbot.clients import offline_phrases as phrases

TEXT_LENGTH_MAX = 600
"""Characters of a message that are read: requests are shorter, and reading is not linear."""

_ABILITIES = (
    "I can send money, cancel your latest transfer, and show your balance or your last transfers. "
    "For example: “Send 20 to John for lunch”, “Cancel”, “Balance”, “Statement”."
)
_NOT_UNDERSTOOD = f"Sorry, I did not understand that. {_ABILITIES}"
_NOTHING_MOVED = (
    "This message moved no money. To send some, say so plainly, for example “Send 20 to John”; "
    "to see what was sent before, say “Statement”."
)
_NOTHING_CANCELLED = (
    "This message cancelled nothing. To take back your latest transfer, say “Cancel”; for an "
    "older one add its reference, for example “Cancel T12”."
)
_ONE_CANCEL = "One message can cancel one transfer; please cancel them one by one."
_WHOM = "Whom should I send it to? Please say it in one message, for example “Send 20 to John”."
_HOW_MUCH = "How much should I send? Please say it in figures, for example “Send 20 to John”."
_HOW_MUCH_TO_WHOM = "How much should I send, and to whom? For example: “Send 20 to John”."

_SMALL_TALK = (
    (phrases.GREETING, f"Hello! {_ABILITIES}"),
    (phrases.THANKS, "You are welcome!"),
    (phrases.FAREWELL, "Goodbye!"),
    (
        phrases.YES_OR_NO,
        "Please say in one message what you would like me to do, for example “Send 20 to John”.",
    ),
    (phrases.HELP, _ABILITIES),
)

_PLAIN = dict.fromkeys("\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}", "'")
_QUOTES = "\"'\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"


class Call(msgspec.Struct, frozen=True):
    """A tool to call, before the call has an id."""

    name: str
    arguments: dict[str, Any]


class _Clause(msgspec.Struct, frozen=True):
    """A stretch of the customer's text, and its plain spelling, character for character."""

    raw: str
    plain: str

    def cut(self, start: int, end: int) -> "_Clause":
        return _Clause(self.raw[start:end], self.plain[start:end])

    def part(self, match: re.Match[str], group: str) -> str:
        """The customer's spelling of what a group matched; empty if it matched nothing."""
        start, end = match.span(group)
        return self.raw[start:end] if match[group] else ""


_Reading = Call | str
"""A call to make, or words to say instead."""


def read(text: str) -> tuple[Call, ...] | str:
    """All that the text asks for, or words and nothing else."""
    if len(text) > TEXT_LENGTH_MAX:
        return _NOT_UNDERSTOOD
    whole = _clause_of(text)
    message = _trimmed(whole)
    words = _small_talk(whole) or _small_talk(message) or _card(whole)
    if words:
        return words
    readings = _readings(message)
    calls = tuple(reading for reading in readings if isinstance(reading, Call))
    if len(calls) == len(readings):
        return _refusal_of(calls, whole) or calls
    return _words_for(message, whole, readings)


def _clause_of(text: str) -> _Clause:
    plain = "".join(
        "\n" if c in "\n\r\u2028\u2029" else " " if c.isspace() else _PLAIN.get(c, c) for c in text
    )
    return _Clause(text, plain)


def _trimmed(clause: _Clause) -> _Clause:
    """The clause without the polite phrases and the punctuation around it."""
    plain = clause.plain
    start, end = len(plain) - len(plain.lstrip()), len(plain)
    while (after := phrases.AFTER.search(plain, start, end)) and after.start() < end:
        end = after.start()
    while before := phrases.BEFORE.match(plain, start, end):
        start = before.end()
    return clause.cut(start, end)


def _small_talk(clause: _Clause) -> str:
    said = clause.plain.strip(" \n.,;:!?…")
    return next((words for pattern, words in _SMALL_TALK if pattern.fullmatch(said)), "")


def _card(clause: _Clause) -> str:
    """What to say to a contact card, which names a person and asks for nothing yet."""
    match = phrases.CARD.fullmatch(clause.plain)
    return (
        f"What should I send there? For example: “Send 20 to {match['number']}”." if match else ""
    )


def _clauses(message: _Clause) -> Iterator[_Clause]:
    start = 0
    for border in phrases.NEXT.finditer(message.plain):
        if phrases.SIGN_BEFORE_FIGURE.search(message.plain, start, border.end() + 1):
            continue
        yield _trimmed(message.cut(start, border.start()))
        start = border.end()
    yield _trimmed(message.cut(start, len(message.plain)))


def _readings(message: _Clause) -> list[_Reading | None]:
    """What each clause asks for, in order; None for one that was not understood."""
    readings: list[_Reading | None] = []
    for clause in _clauses(message):
        previous = readings[-1] if readings else None
        goes_on = isinstance(previous, Call) and previous.name == "transfer"
        readings.append(
            _statement(clause)
            or _balance(clause)
            or _cancel(clause)
            or _transfer(clause, goes_on=goes_on)
        )
    return readings


def _first_match(patterns: Sequence[re.Pattern[str]], clause: _Clause) -> re.Match[str] | None:
    matches = (pattern.fullmatch(clause.plain) for pattern in patterns)
    return next((match for match in matches if match), None)


def _balance(clause: _Clause) -> Call | None:
    return Call("balance", {}) if _first_match(phrases.BALANCES, clause) else None


def _statement(clause: _Clause) -> Call | None:
    match = _first_match(phrases.STATEMENTS, clause)
    if match is None:
        return None
    limit = match.groupdict().get("limit")
    return Call("statement", {"limit": int(limit)} if limit else {})


def _cancel(clause: _Clause) -> Call | None:
    match = _first_match(phrases.CANCELS, clause)
    if match is None:
        return None
    named = [group for group, text in match.groupdict().items() if text]
    return Call("cancel", {"transfer": clause.part(match, named[0])} if named else {})


def _transfer(clause: _Clause, *, goes_on: bool) -> _Reading | None:
    match = _first_match(
        (*phrases.TRANSFERS, phrases.TRANSFER_GOING_ON) if goes_on else phrases.TRANSFERS, clause
    )
    if match is None:
        return _missing(clause)
    if phrases.PRONOUNS.fullmatch(match["to"]):
        return _WHOM
    if not phrases.NOT_IN_NAMES.isdisjoint(match["to"].lower().split()):
        return None
    if phrases.DOUBT.search(clause.plain) or phrases.MORE_IN_MEMO.search(match["memo"] or ""):
        return None
    memo = clause.part(match, "memo").strip(_QUOTES)
    arguments = {"amount": clause.part(match, "amount"), "to": clause.part(match, "to")}
    return Call("transfer", arguments | ({"memo": memo} if memo else {}))


def _missing(clause: _Clause) -> str | None:
    """A question for what a transfer lacks."""
    if phrases.NOTHING_NAMED.fullmatch(clause.plain):
        return _HOW_MUCH_TO_WHOM
    if phrases.NO_PAYEE.fullmatch(clause.plain):
        return _WHOM
    return _HOW_MUCH if phrases.NO_AMOUNT.fullmatch(clause.plain) else None


def _refusal_of(calls: Sequence[Call], whole: _Clause) -> str:
    """Why calls that were understood are not made after all; empty if they are."""
    names = [call.name for call in calls]
    if names.count("cancel") > 1:
        return _ONE_CANCEL
    if not _is_question(whole):
        return ""
    if "transfer" in names:
        return _NOTHING_MOVED
    return _NOTHING_CANCELLED if "cancel" in names else ""


def _is_question(whole: _Clause) -> bool:
    """Whether it asks something else than "could you?"."""
    return "?" in whole.plain and not phrases.ASKED_OF_US.search(whole.plain)


def _words_for(
    message: _Clause, whole: _Clause, readings: Sequence[_Reading | None]
) -> tuple[Call, ...] | str:
    """The best answer to a message that is not, as a whole, a request we know."""
    said = message.plain
    if phrases.SPEAKS_OF_MOVING.search(said):
        if phrases.DOUBT.search(said) or _is_question(whole):
            return _NOTHING_MOVED
        questions = [reading for reading in readings if isinstance(reading, str)]
        return questions[0] if len(readings) == len(questions) else _NOT_UNDERSTOOD
    if phrases.SPEAKS_OF_CANCELLING.search(said):
        return _NOTHING_CANCELLED
    if phrases.SPEAKS_OF_BALANCE.search(said):
        return (Call("balance", {}),)
    if phrases.SPEAKS_OF_STATEMENT.search(said):
        return (Call("statement", {}),)
    return _NOT_UNDERSTOOD
