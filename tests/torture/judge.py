"""The verdict on one run: whether every message was stored, handled once, in order, and answered.

Three independent sources: what the customers sent and saw acknowledged, what the Graph API
accepted, and what the database holds. Money is judged in audit.py.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import combinations, groupby

import msgspec

from torture.asks import Kind
from torture.audit import Breach, audited
from torture.deliveries import Said
from torture.evidence import Evidence, Kept, Reply, message_id_in
from torture.run import STOP_S
from torture.schedule import End

KILLED = -9
TAKES_LONGER = (
    "This takes a little longer than usual. Your message has arrived, and I will answer it as "
    "soon as I can; you need not write it again."
)
"""All that a customer reads besides replies; docs/OPERATIONS.md says when."""
UNDER_WAY = timedelta(seconds=2)
"""How long a send may be in progress while its number gets a new owner."""
_ENDINGS = {
    Kind.PLACEHOLDER: ("answered", {1, 2}),
    Kind.REJECTED: ("answered", {2}),
    Kind.REJECTED_AFTER: ("answered", {2}),
    Kind.MOVED: ("silent", {0}),
}
"""How a message without exactly one ordinary reply ends, and its number of replies."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The breaches and figures; no breach means that every promise was kept."""

    breaches: list[Breach]
    answered: int
    reported: int
    """Permanently refused replies, each reported to the operator."""
    noted: int
    """Number changes, which get no answer."""
    ledger_off_minor: int
    unknown_settled: int
    """Sends of unknown outcome that a status settled."""
    unknown_resent: int
    """And those sent again after the grace, without a status."""


def judged(evidence: Evidence) -> Verdict:
    """Every breach, and the figures of the table."""
    with closing(Kept(evidence)) as kept:
        judge = _Judge(evidence, kept)
        breaches = [
            *judge.lost_or_stuck(),
            *judge.doubled(),
            *judge.needless_waits(),
            *judge.misdirected(),
            *judge.out_of_order(),
            *judge.interleaved(),
            *judge.ends(),
        ]
        books, ledger_off_minor = audited(evidence, kept)
        settled, resent = judge.unknown_sends()
        return Verdict(
            breaches=breaches + books,
            answered=judge.answered,
            reported=judge.reported,
            noted=judge.noted,
            ledger_off_minor=ledger_off_minor,
            unknown_settled=settled,
            unknown_resent=resent,
        )


class _Judge:
    def __init__(self, evidence: Evidence, kept: Kept) -> None:
        self._evidence = evidence
        self._kept = kept
        said = sorted(evidence.deliveries.said.values(), key=lambda one: one.ask.customer.name)
        self._of_customers = [
            list(found) for _, found in groupby(said, lambda one: one.ask.customer.name)
        ]
        self.answered = self.reported = self.noted = 0

    def lost_or_stuck(self) -> Iterator[Breach]:
        """Each acknowledged message ends in replies that are accepted, or reported as failed."""
        for message_id, one in self._evidence.deliveries.said.items():
            row, replies = self._kept.messages.get(message_id), self._kept.replies[message_id]
            state, counts = _ENDINGS.get(one.ask.kind, ("answered", {1}))
            if one.acknowledged_at is None:
                yield Breach("stuck", "was never acknowledged", message_id)
            elif row is None:
                yield Breach("lost", "was answered 200 and is not in the database", message_id)
            elif row["state"] in {"waiting", "begun"}:
                yield Breach("stuck", f"is still {row['state']}", message_id)
            elif row["state"] != state or len(replies) not in counts:
                what = f"ended {row['state']} ({row['reason']}) with {len(replies)} replies"
                yield Breach("lost", what, message_id)
            elif not all(reply.is_settled for reply in replies):
                states = ", ".join(reply.state for reply in replies)
                yield Breach("stuck", f"has a reply whose fate is open: {states}", message_id)
            elif not replies:
                self.noted += 1
            elif all(reply.places for reply in replies):
                self.answered += 1
            else:
                is_marked = one.ask.customer.name in self._evidence.refused
                if not (is_marked and all(reply.places or reply.is_told for reply in replies)):
                    yield Breach("lost", "has a reply that was never delivered", message_id)
                self.reported += 1

    def doubled(self) -> Iterator[Breach]:
        """Statuses always come before the grace ends here, so no reply may be sent twice."""
        for message_id, replies in (*self._kept.replies.items(), *self._kept.waits.items()):
            for place in (place for reply in replies for place in reply.places[1:]):
                what = f"was answered again, by send {place + 1} of all"
                yield Breach("replies doubled", what, message_id)
        for send in self._kept.unasked:
            yield Breach("replies untrue", f"a reply answers nothing: {send.text!r}")

    def needless_waits(self) -> Iterator[Breach]:
        """A customer is told once an outage to wait: again only once a model has answered them."""
        answers = Counter(
            row["message_id"].rpartition(".")[0]
            for row in self._kept.rows("SELECT message_id FROM steps WHERE kind = 'model'")
        )
        told: Counter[str] = Counter()
        for message_id, waits in self._kept.waits.items():
            told[message_id.rpartition(".")[0]] += len(waits)
            for wait in waits:
                if wait.text != TAKES_LONGER:
                    yield Breach("replies untrue", f"a notice says {wait.text!r}", message_id)
        for customer, count in told.items():
            if count > 1 + answers[customer]:
                yield Breach("replies doubled", f"{customer} was told {count} times to wait")

    def misdirected(self) -> Iterator[Breach]:
        """No reply reaches another customer: each goes to ids that belong to its customer then."""
        owners: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)
        for one in self._evidence.deliveries.said.values():
            for person in (one.ask.customer, one.ask.becomes):
                if person is not None and one.known_at is not None:
                    for alias in person.aliases:
                        owners[alias].append((one.known_at, _number(person.name)))
        for send in self._evidence.sends:
            message_id = message_id_in(send.text)
            if message_id is None or not owners[send.recipient]:
                continue
            number = _number(self._evidence.deliveries.said[message_id].ask.customer.name)
            numbers = {owner for _, owner in owners[send.recipient]}
            since = [owner for at, owner in owners[send.recipient] if at < send.at - UNDER_WAY]
            if number not in numbers or number < max(since, default=0):  # heirs' are the higher
                yield Breach("misdirected", f"was answered to {send.recipient}", message_id)

    def out_of_order(self) -> Iterator[Breach]:
        """Replies follow the order of handling, and handling that of acknowledgement."""
        for said in self._of_customers:
            replies = [reply for one in said for reply in self._kept.replies[one.ask.message_id]]
            handled = {
                one.ask.message_id: self._kept.replies[one.ask.message_id][0].outbox_id
                for one in said
                if self._kept.replies[one.ask.message_id] and one.ask.kind is not Kind.PLACEHOLDER
            }
            yield from self._sent_out_of_order(sorted(replies, key=lambda one: one.outbox_id))
            yield from self._handled_out_of_order(said, handled)

    def _sent_out_of_order(self, in_order: Sequence[Reply]) -> Iterator[Breach]:
        latest = -1
        for reply in in_order:
            if reply.places and reply.places[0] < latest:
                what = "was answered after a later message"
                yield Breach("out of order", what, reply.message_id)
            latest = max(latest, *reply.places, -1)

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
            "SELECT m.conversation_id, t.message_id, t.revision FROM turns t "
            "JOIN messages m USING (message_id) ORDER BY m.conversation_id, t.epoch"
        )
        seen = set()
        for revision, _turns in groupby(rows, key=tuple):
            if revision in seen:
                yield Breach("out of order", "had its turns among another message's", revision[1])
            seen.add(revision)

    def ends(self) -> Iterator[Breach]:
        """Only we end a process, or another process that locked the database during its start."""
        processes = self._evidence.processes
        until = [process.began_at for process in processes[1:]] + [float("inf")]
        for number, (process, ended_at) in enumerate(zip(processes, until, strict=True), 1):
            code = process.exit_code
            was_hindered = any(
                since < ended_at and to > process.began_at for since, to in self._evidence.hindered
            )
            if process.ended_by == End.STOPPED:
                if code != 0:
                    what = (
                        f"SIGTERM did not end process {number} well within {STOP_S:.0f} s: {code}"
                    )
                    yield Breach("ended itself", what)
            elif code != KILLED and not was_hindered:
                yield Breach("ended itself", f"process {number} ended by itself with {code}")

    def unknown_sends(self) -> tuple[int, int]:
        """Sends of unknown outcome: settled by a status, or sent again after the grace."""
        rows = self._kept.rows(
            "SELECT a.outcome, EXISTS (SELECT 1 FROM send_attempts l WHERE "
            "l.outbox_id = a.outbox_id AND l.number > a.number) AS is_resent FROM send_attempts a"
        )
        unknown = [bool(row["is_resent"]) for row in rows if row["outcome"] == "unknown"]
        return unknown.count(False), unknown.count(True)


def _number(name: str) -> int:
    return int(name[1:])


def _must_go_first(before: Said, after: Said) -> bool:
    """Acknowledged before the other was sent, and not written later than it."""
    if before.acknowledged_at is None or after.posted_at is None:
        return False
    return before.acknowledged_at < after.posted_at and before.sent_at_s <= after.sent_at_s
