"""Customers' messages against the ledger: every line behind the mark must be true."""

import json
import re
import sqlite3
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

import msgspec

from hostile.audit import TURNED_DOWN, UNTOLD, UNTRUE, Audit, Breach, Standing, Story
from hostile.books import instant
from hostile.reference import RECEIPT, Rules, cleaned, digits_of, folded, shown_payer
from hostile.world import BY_ID, Place, Record, Sent

_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_QUOTES = re.compile('["\u201c-\u201f\u2033\u2036\u301d-\u301f\uff02]')
_SYMBOLS = {"USD": "$", "EUR": "€", "JPY": "¥"}
_MORE = "more; your statement shows them"
_LEFT = r" Available: (?P<left>[^“”]+)\."
_NUMBER = r" \((?P<number>…\d{1,4}|\+\d+)\)"
_OTHER_NUMBER = _NUMBER.replace("number", "other_number")
_PAYEE = rf"“(?P<name>[^“”\"]*)”(?:{_NUMBER})?|(?P<label>[^“”()]+){_OTHER_NUMBER}"
_TO = rf"(?P<money>[^“”]+?) to (?:{_PAYEE})"
_HOW = r"(?P<how>, gets it at once|, outside: paid out by [^“”()]+)"
_REF = r"T(?P<ref>\d+)"
_ALIKE = '(?:, looks like your payee “[^“”"]+”, but is written differently)?'
_WHO = rf"(?:{_PAYEE}|another customer)(?P<how>, outside)?"
LINES = {
    "posted": re.compile(rf"Sent {_TO}{_HOW} \({_REF}\)\.{_LEFT}"),
    "expired": re.compile(rf"Not sent: {_TO} \({_REF}\) was not confirmed in time\.{_LEFT}"),
    "refused": re.compile(rf"Not sent: {_TO}\. [^“”]+?\.{_LEFT}"),
    "void": re.compile(rf"Cancelled {_REF}: {_TO} will not be sent\.{_LEFT}"),
    "reversed": re.compile(rf"Cancelled {_REF}: {_TO} is back\.{_LEFT}"),
    "received": re.compile(
        rf"You have received (?P<money>[^“”]+?) from {_WHO} \({_REF}\)\.{_LEFT}"
    ),
    "asked": re.compile(
        rf"{_TO}{_HOW} \({_REF}\)(?P<new>, a new payee{_ALIKE})?"
        r"(, (sent|asked for) already \d+ \w+ ago|, again)?"
    ),
    "again": re.compile(
        r"You (already asked to send|sent) (?P<money>[^“”]+?) to .+? \d+ \w+ ago\. "
        r"Send another (?P=money)\?"
    ),
    "together": re.compile(r"Together (?P<money>[^“”]+)"),
    "balance": re.compile(r"Available: (?P<left>[^“”]+?)\.( Held: (?P<held>[^“”]+)\.)?"),
    "statement": re.compile(
        rf"\d\d \w{{3}} \d\d:\d\d  (?:(?P<sign>[+−])|(?P<void>void|refused): ~)"
        rf"(?P<money>[^“”]+?)(?(void)~)  {_WHO} \({_REF}(, (?P<state>\w+))?\)"
    ),
    "nothing": re.compile(
        rf"Nothing cancelled\. [^“”]+|Times: [\w/+-]+\.|No transfers yet\.|And \d+ {_MORE}\."
    ),
}
_SHOWN = {None: {"posted"}, "void": {"void", "expired", TURNED_DOWN}}
_SLACK_S = 1.0
"""Between the instants that one piece of work writes down."""


class Verdict(msgspec.Struct, frozen=True):
    """The breaches, and the counts: by name, and of lines behind the mark by kind."""

    breaches: list[Breach]
    figures: Counter[str]
    reported: Counter[str]


def judged(database: Path, record: Record, names: dict[str, str]) -> Verdict:
    """The verdict on a database that is no longer written."""
    audit = Audit(database, record)
    try:
        audit.run()
        truth = Truth(audit, record, names)
        untrue = list(truth.breaches())
    finally:
        audit.books.close()
    return Verdict([*audit.breaches, *untrue], audit.figures + record.counts, truth.counts)


class Truth:
    """Reads every message that a customer received; `counts` are its lines by kind."""

    def __init__(self, audit: Audit, record: Record, names: dict[str, str]) -> None:
        """`names` are the customers' own, by phone number."""
        self.counts: Counter[str] = Counter()
        self._audit = audit
        self._record = record
        self._names = names
        self._times = {
            place: list(accumulate((one.at for one in standings), max))
            for place, standings in audit.timeline.items()
        }
        self._refused: defaultdict[Place, list[Story]] = defaultdict(list)
        for story in audit.stories.values():
            if story.states[0].name == "refused" or story.states[-1].name == TURNED_DOWN:
                self._refused[story.place].append(story)

    def breaches(self) -> Iterator[Breach]:
        for sent in self._record.sent:
            for line in _BREAKS.split(sent.text):
                seen = "".join(c for c in line if unicodedata.category(c) != "Cf").lstrip()
                if seen.startswith(RECEIPT) and (why := self._lie(sent, line)):
                    yield Breach(UNTRUE, f"{sent.place} was sent {line!r}: {why}")
        yield from self._untold()

    def _lie(self, sent: Sent, line: str) -> str:
        """What is false in the line; empty if all is true."""
        reply_id = self._audit.books.reply_of_attempt.get(sent.attempt_id)
        reply = self._audit.books.replies.get(reply_id or 0)
        if reply is None or self._audit.books.places[reply["conversation_id"]] != sent.place:
            return "no reply of this conversation"
        for kind, pattern in LINES.items():
            if found := pattern.fullmatch(line.removeprefix(f"{RECEIPT} ")):
                self.counts[kind] += 1
                return _Telling(self, sent, found.groupdict(), reply).lie(kind)
        return "no line of the ledger's"

    def _untold(self) -> Iterator[Breach]:
        """Each effect has its line in a reply, unless there was no more room for it."""
        reported: Counter[tuple[str, int]] = Counter()
        full: set[str] = set()
        for reply in self._audit.books.replies.values():
            text = _text_of(reply)
            if _MORE in text:
                full.add(reply["message_id"])
            reported.update(_reported_in(text))
        for number, story in self._audit.stories.items():
            for place, state in enumerate(story.states):
                count = reported[state.name, number]
                is_own = state.name in {"posted", "void", "reversed"} and story.place[1]
                # A message that sends and reverses may report only the end.
                later = [one for one in story.states[place + 1 :] if one.by == state.by]
                is_reported = count or any(reported[one.name, number] for one in later)
                if is_own and not is_reported and state.by not in full:
                    yield Breach(UNTOLD, f"{story.place} never heard T{number} {state.name}")
                if state.name == "expired" and count > 1:
                    yield Breach(UNTOLD, f"{story.place} heard {count} times T{number} expired")

    def standings(self, place: Place, since: float, until: float) -> list[Standing]:
        """What a customer had at any moment between the two."""
        times = self._times.get(place, [0.0])
        first = bisect_left(times, since - _SLACK_S) - 1
        return self._audit.timeline[place][first : bisect_right(times, until + _SLACK_S)]

    def story(self, number: int) -> Story | None:
        return self._audit.stories.get(number)

    def refused(self, place: Place) -> list[Story]:
        return self._refused[place]

    def name_of(self, phone: str) -> str:
        return self._names.get(phone, "")


class _Telling:
    """One line, sent between the start of its turn and the writing of its reply."""

    def __init__(
        self, truth: Truth, sent: Sent, found: dict[str, str | None], reply: sqlite3.Row
    ) -> None:
        self._truth = truth
        self._sent = sent
        self._place = sent.place
        self._rules = BY_ID[sent.place[0]].rules
        self._found = found
        self._since, self._until = instant(reply["began_at"]), instant(reply["created_at"])
        self._story = truth.story(int(found.get("ref") or 0))

    def lie(self, kind: str) -> str:
        """What is wrong with a line of this kind."""
        checks: dict[str, Callable[[], str]] = {
            "refused": self._refused,
            "received": self._received,
            "asked": self._asked,
            "again": lambda: "",
            "together": self._together,
            "balance": lambda: "",
            "nothing": lambda: "",
            "statement": self._listed,
        }
        return checks.get(kind, lambda: self._done(kind))() or self._left()

    def _done(self, state: str) -> str:
        """posted, void, reversed or expired, by that customer, and by then."""
        if self._story is None or self._story.place != self._place:
            return "no transfer of this customer"
        if not self._is_since(self._story, state):
            return f"it was {self._story.states}"
        return self._differs(self._story, {self._story.name})

    def _received(self) -> str:
        story = self._story
        if story is None or story.to != self._place or not self._is_since(story, "posted"):
            return f"it was {story}"
        return self._differs(story, {self._payer(story.place[1])})

    def _asked(self) -> str:
        story = self._story
        if story is None or story.place != self._place or story.states[0].name != "pending":
            return f"it was {story}"
        if any(one.at < self._until - _SLACK_S for one in story.states[1:]):
            return "it was over when the customer was asked"
        is_known = story.known_since <= self._until
        if is_known == (self._found["new"] is not None):
            return f"the payee was {'' if is_known else 'not '}known"
        return self._differs(story, {story.name})

    def _together(self) -> str:
        total = 0
        for line in self._sent.text.split("\n"):
            found = LINES["asked"].fullmatch(line.removeprefix(f"{RECEIPT} "))
            story = self._truth.story(int(found["ref"])) if found else None
            total += story.amount if story else 0
        return "" if money(total, self._rules) == self._found["money"] else f"it is {total}"

    def _listed(self) -> str:
        story = self._story
        is_out = self._found["sign"] != "+"
        if story is None or (story.place if is_out else story.to) != self._place:
            return f"it was {story}"
        state = self._found["void"] or self._found["state"]
        shown = _SHOWN.get(state, {str(state)})
        states = {one.name for one in story.states if one.at <= self._until + _SLACK_S}
        if not states & shown:
            return f"it was {story.states}"
        if is_out or not story.place[1]:  # a label of one's own, or the business
            return self._differs(story, {story.name})
        return self._differs(story, {self._payer(story.place[1])})

    def _refused(self) -> str:
        lies = {
            self._differs(story, {story.name})
            for story in self._truth.refused(self._place)
            if self._since - _SLACK_S <= story.states[-1].at <= self._until + _SLACK_S
        }
        return "" if "" in lies else f"nothing like it was refused: {lies}"

    def _is_since(self, story: Story, state: str) -> bool:
        return any(one.name == state and one.at <= self._until + _SLACK_S for one in story.states)

    def _payer(self, phone: str) -> str:
        """The payer, as far as the business shows it."""
        return shown_payer(self._rules.show_payer, self._truth.name_of(phone), phone)

    def _differs(self, story: Story, names: set[str]) -> str:
        if self._found["money"] != money(story.amount, self._rules):
            return f"the amount is {story.amount}"
        shown = folded(self._found["name"] or self._found.get("label") or "another customer")
        if shown not in {folded(cleaned(_QUOTES.sub("", cleaned(name)))) for name in names}:
            return f"the name is one of {names}"
        if (how := self._found.get("how")) and ("outside" in how) == bool(story.number):
            return f"the money went to {story.to}"
        return self._differs_in_number(story, is_payer=story.name in names)

    def _differs_in_number(self, story: Story, *, is_payer: bool) -> str:
        """A payer's own name for a number has that number behind it, and no other name has one."""
        shown = self._found.get("number") or self._found.get("other_number")
        is_named = is_payer and story.number and not digits_of(cleaned(story.name))
        if shown is None:  # lines about what went to nobody need none
            return "no number" if is_named and "how" in self._found else ""
        is_right = is_named and shown in {f"+{story.number}", f"…{story.number[-4:]}"}
        return "" if is_right else f"the number is {story.number!r}"

    def _left(self) -> str:
        """Whether available and held money had these values at any moment of the turn."""
        if (left := self._found.get("left")) is None:
            return ""
        held = self._found.get("held")
        for one in self._truth.standings(self._place, self._since, self._until):
            is_held = "held" not in self._found or held == (
                money(one.held, self._rules) if one.held else None
            )
            if is_held and left == money(one.available, self._rules):
                return ""
        return f"{left} was never available then"


def money(minor: int, rules: Rules) -> str:
    """An amount as people read it."""
    digits = str(abs(minor)).zfill(rules.exponent + 1)
    cut = len(digits) - rules.exponent
    decimals = f".{digits[cut:]}" if rules.exponent else ""
    symbol = _SYMBOLS.get(rules.currency, f"{rules.currency} ")
    return f"{'-' if minor < 0 else ''}{symbol}{int(digits[:cut]):,}{decimals}"


def _reported_in(text: str) -> set[tuple[str, int]]:
    """What a reply says was done, by state and number."""
    lines = [line.removeprefix(f"{RECEIPT} ") for line in text.split("\n")]
    kinds = ("posted", "void", "reversed", "expired")
    found = ((kind, LINES[kind].fullmatch(line)) for line in lines for kind in kinds)
    return {(kind, int(match["ref"])) for kind, match in found if match}


def _text_of(reply: sqlite3.Row) -> str:
    return str(json.loads(reply["payload"])["body"])
