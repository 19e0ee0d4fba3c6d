"""The verdict on one run: whether every message was kept, handled once, in order, answered.

Three sources that know nothing of each other: what the customers sent and saw acknowledged, what
the Graph API took, and what the database holds. Money is judged next door, in audit.py.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import combinations, groupby

import msgspec

from torture.audit import Breach, audited
from torture.deliveries import Said
from torture.evidence import Evidence, Kept, message_id_in, notice_in

KILLED = -9


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; no breach means that every promise was kept."""

    breaches: list[Breach]
    answered: int
    told: int
    """Replies refused for good, each with a row for the operator."""
    ledger_off_minor: int
    unknown_settled: int
    """Sends of unknown outcome that a status settled."""
    unknown_resent: int
    """And those sent again after the grace, since nothing was heard of them."""


def judged(evidence: Evidence) -> Verdict:
    """Every breach, and the figures of the table."""
    with closing(Kept(evidence.database)) as kept:
        judge = _Judge(evidence, kept)
        breaches = [
            *judge.lost_or_stuck(),
            *judge.doubled(),
            *judge.out_of_order(),
            *judge.interleaved(),
            *judge.ends(),
        ]
        books, ledger_off_minor = audited(evidence, kept)
        settled, resent = judge.unknown_sends()
        return Verdict(
            breaches=breaches + books,
            answered=judge.answered,
            told=judge.told,
            ledger_off_minor=ledger_off_minor,
            unknown_settled=settled,
            unknown_resent=resent,
        )


class _Judge:
    def __init__(self, evidence: Evidence, kept: Kept) -> None:
        self._evidence = evidence
        self._kept = kept
        self._taken: defaultdict[str, list[int]] = defaultdict(list)
        """By message, the places of its replies among all that the Graph API took."""
        self._notices: Counter[str] = Counter()
        """By transfer, how often its receiver was told of it."""
        for place, send in enumerate(evidence.sends):
            if (reference := notice_in(send.text)) is not None:
                self._notices[reference] += 1
            else:
                self._taken[message_id_in(send.text) or ""].append(place)
        said = sorted(evidence.deliveries.said.values(), key=lambda one: one.ask.customer.name)
        self._of_customers = [
            list(found) for _, found in groupby(said, lambda one: one.ask.customer.name)
        ]
        self.answered = sum(bool(self._taken.get(one.ask.message_id)) for one in said)
        self.told = 0

    def lost_or_stuck(self) -> Iterator[Breach]:
        """Each acknowledged message ends in one reply that is taken, or that we are told of."""
        for message_id, one in self._evidence.deliveries.said.items():
            row, replies = self._kept.messages.get(message_id), self._kept.replies[message_id]
            if one.acknowledged_at is None:
                yield Breach("stuck", "was never acknowledged", message_id)
            elif row is None:
                yield Breach("lost", "was answered 200 and is not in the database", message_id)
            elif row["state"] in {"waiting", "begun"}:
                yield Breach("stuck", f"is still {row['state']}", message_id)
            elif row["state"] != "answered" or len(replies) != 1:
                what = f"ended {row['state']} ({row['reason']}) with {len(replies)} replies"
                yield Breach("lost", what, message_id)
            elif not replies[0].is_settled:
                yield Breach("stuck", f"has a reply that is still {replies[0].state}", message_id)
            elif not self._taken.get(message_id):
                is_marked = one.ask.customer.name in self._evidence.refused
                if not (is_marked and replies[0].is_told):
                    yield Breach("lost", "has a reply that nobody got", message_id)
                self.told += 1

    def doubled(self) -> Iterator[Breach]:
        """Statuses always come before the grace ends here, so no reply may be seen twice."""
        for message_id, places in self._taken.items():
            for place in places[1:]:
                what = f"was answered again, by send {place + 1} of all"
                yield Breach("replies doubled", what, message_id)
        for reference, times in self._notices.items():
            if times > 1:
                what = f"the receiver of {reference} was told of it {times} times"
                yield Breach("replies doubled", what)
        for place in self._taken.get("", []):
            text = self._evidence.sends[place].text
            yield Breach("replies untrue", f"a reply answers nothing: {text!r}")

    def out_of_order(self) -> Iterator[Breach]:
        """Replies go out as messages were handled; who was acknowledged first is handled first."""
        for said in self._of_customers:
            handled = {
                one.ask.message_id: self._kept.replies[one.ask.message_id][0].outbox_id
                for one in said
                if self._kept.replies[one.ask.message_id]
            }
            yield from self._sent_out_of_order(sorted(handled, key=handled.__getitem__))
            yield from self._handled_out_of_order(said, handled)

    def _sent_out_of_order(self, in_order: Sequence[str]) -> Iterator[Breach]:
        latest = -1
        for message_id in in_order:
            places = self._taken.get(message_id, [])
            if places and places[0] < latest:
                yield Breach("out of order", "was answered after a later message", message_id)
            latest = max(latest, *places, -1)

    def _handled_out_of_order(
        self, said: Sequence[Said], handled: dict[str, int]
    ) -> Iterator[Breach]:
        for one, other in combinations(said, 2):
            first, second = (one, other) if one.number < other.number else (other, one)
            for before, after in ((first, second), (second, first)):
                ids = before.ask.message_id, after.ask.message_id
                if _must_go_first(before, after) and handled.get(ids[0], 0) > handled.get(
                    ids[1], 1 << 62
                ):
                    what = f"was handled after {after.ask.tag}, which came later"
                    yield Breach("out of order", what, ids[0])

    def interleaved(self) -> Iterator[Breach]:
        """No turn of a conversation begins while another message's turn is unfinished."""
        rows = self._kept.rows(
            "SELECT m.conversation_id, t.message_id FROM turns t JOIN messages m USING (message_id)"
            " ORDER BY m.conversation_id, t.epoch"
        )
        seen = set()
        for (_, message_id), _turns in groupby(rows, key=tuple):
            if message_id in seen:
                yield Breach("out of order", "had its turns among another message's", message_id)
            seen.add(message_id)

    def ends(self) -> Iterator[Breach]:
        """Only we end a life, or another process that held the database as it began."""
        lives = self._evidence.lives
        until = [life.began_at for life in lives[1:]] + [float("inf")]
        for number, (life, ended_at) in enumerate(zip(lives, until, strict=True), 1):
            code = life.exit_code
            was_hindered = any(
                since < ended_at and to > life.began_at for since, to in self._evidence.hindered
            )
            if code not in {0, KILLED} and not was_hindered:
                yield Breach("ended itself", f"life {number} ended by itself with {code}")
        if lives[-1].exit_code != 0:
            yield Breach("ended itself", f"SIGTERM was answered with {lives[-1].exit_code}")

    def unknown_sends(self) -> tuple[int, int]:
        """Sends of unknown outcome: settled by a status, and sent again after the grace."""
        rows = self._kept.rows(
            "SELECT a.outcome, EXISTS (SELECT 1 FROM send_attempts l WHERE "
            "l.outbox_id = a.outbox_id AND l.number > a.number) AS is_resent FROM send_attempts a"
        )
        unknown = [bool(row["is_resent"]) for row in rows if row["outcome"] == "unknown"]
        return unknown.count(False), unknown.count(True)


def _must_go_first(before: Said, after: Said) -> bool:
    """Acknowledged before the other was on its way, and not written later than it."""
    if before.acknowledged_at is None or after.posted_at is None:
        return False
    return before.acknowledged_at < after.posted_at and before.sent_at_s <= after.sent_at_s
