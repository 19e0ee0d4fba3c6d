"""What goes out: replies in order, attempts on record, and states that only ever rise."""

import sqlite3
from collections.abc import Callable, Iterator

import msgspec
import pytest
from db_factories import NOW, SHOP, after, make_customer, make_message, make_tx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wbot.domain.states import ReplyState, SendOutcome
from wbot.storage import businesses, messages, outbox
from wbot.storage.outbox import NewReply, NewStatus, Reply, StateChange

ALICE, BOB = "15550101001", "15550101002"


class Box:
    """A conversation of Alice with one reply in it, and Meta's answers about it."""

    def __init__(self) -> None:
        self.tx = make_tx()
        self.installation = outbox.installation_id(self.tx)
        alice = make_customer(self.tx, ALICE)
        self.conversation = make_message(self.tx, alice, "wamid.IN1")
        self.webhook = messages.keep_webhook(self.tx, b"{}", None, NOW)
        self.reply = self.add()

    def add(self, cause: str = "message:wamid.IN1:0", part: int = 0, text: str = "Hi") -> int:
        reply = NewReply(
            business_id=SHOP.id,
            conversation_id=self.conversation,
            cause=cause,
            part=part,
            message_id="wamid.IN1",
            reply_phone=ALICE,
            reply_user_id=None,
            payload=f'{{"type":"text","text":{{"body":"{text}"}}}}',
            created_at=NOW,
        )
        outbox.add(self.tx, reply)
        row = self.tx.execute(
            "SELECT id FROM outbox WHERE conversation_id = ? AND cause = ? AND part = ?",
            (self.conversation, cause, part),
        ).fetchone()
        return int(row["id"])

    def open(self, reply: int | None = None) -> int:
        attempt = outbox.open_attempt(self.tx, reply or self.reply, NOW)
        assert attempt is not None
        return attempt

    def accept(self, attempt: int, wamid: str, reply: int | None = None) -> list[StateChange]:
        outbox.close_attempt(self.tx, attempt, outcome=SendOutcome.ACCEPTED, now=NOW, wamid=wamid)
        return outbox.accept(self.tx, reply or self.reply, wamid, NOW)

    def status(
        self,
        word: str,
        wamid: str,
        *,
        opaque: str | None = None,
        participant: str = "",
        errors: str | None = None,
    ) -> list[StateChange] | None:
        status = NewStatus(
            wamid=wamid,
            status=word,
            participant=participant,
            opaque=opaque,
            occurred_at=NOW,
            received_at=NOW,
            pricing=None,
            errors=errors,
            webhook_id=self.webhook,
        )
        return outbox.record_status(self.tx, status, self.installation)

    def ours(self, attempt: int) -> str:
        return outbox.opaque_of(self.installation, attempt)

    def row(self, reply: int | None = None) -> sqlite3.Row:
        row: sqlite3.Row = self.tx.execute(
            "SELECT * FROM outbox WHERE id = ?", (reply or self.reply,)
        ).fetchone()
        return row

    @property
    def state(self) -> str:
        return str(self.row()["state"])

    def attempts(self) -> list[tuple[int, str | None, str | None]]:
        rows = self.tx.execute("SELECT number, outcome, wamid FROM send_attempts ORDER BY id")
        return [tuple(row) for row in rows.fetchall()]

    def next(self) -> Reply | None:
        return outbox.next_of(self.tx, self.conversation)


@pytest.fixture
def box() -> Iterator[Box]:
    box = Box()
    yield box
    box.tx.close()


# One reply after another -----------------------------------------------------------------------


def test_a_reply_is_stored_once(box: Box) -> None:
    assert box.add(text="Something else") == box.reply
    assert outbox.said(box.tx, "wamid.IN1") == ['{"type":"text","text":{"body":"Hi"}}']
    second = box.add(part=1, text="and")
    assert second != box.reply
    assert box.add(cause="message:wamid.IN1:1") not in {box.reply, second}


def test_the_next_reply_waits_until_the_one_before_it_is_settled(box: Box) -> None:
    second = box.add(part=1)
    attempt = box.open()
    meanwhile: list[Callable[[], object]] = [
        lambda: outbox.become_unknown(box.tx, box.reply, NOW),
        lambda: outbox.open_attempt(box.tx, box.reply, NOW),
        lambda: outbox.wait_again(box.tx, box.reply, after(5), counts=True),
    ]
    for happens in meanwhile:
        happens()
        first = box.next()
        assert first is not None
        assert first.id == box.reply
    box.accept(attempt, "wamid.OUT1")
    following = box.next()
    assert following is not None
    assert following.id == second
    outbox.fail(box.tx, second, "No.")
    assert box.next() is None


def test_a_reply_is_read_as_it_was_stored(box: Box) -> None:
    reply = box.next()
    assert reply is not None
    assert (reply.reply_phone, reply.reply_user_id, reply.message_id) == (ALICE, None, "wamid.IN1")
    assert (reply.state, reply.attempts, reply.throughput) == (ReplyState.WAITING, 0, 80)


def in_line(tx: sqlite3.Connection) -> list[int]:
    """The conversations of the replies whose fate is open, one page after another."""
    found: list[int] = []
    page = [outbox.InLine(0, 0, "")]
    while page := outbox.in_line(tx, page[-1].id, 1):
        found += [one.conversation_id for one in page]
    return found


def test_a_paused_business_sends_nothing_and_keeps_everything(box: Box) -> None:
    businesses.change(box.tx, msgspec.structs.replace(SHOP, is_paused=True))
    assert box.next() is None
    assert in_line(box.tx) == []
    assert outbox.count_unsettled(box.tx) == 1
    businesses.change(box.tx, SHOP)
    assert box.next() is not None


def test_conversations_are_named_by_their_oldest_open_reply(box: Box) -> None:
    bob = make_customer(box.tx, BOB)
    bobs = make_message(box.tx, bob, "wamid.IN2")
    first, box.conversation = box.conversation, bobs
    box.add(cause="message:wamid.IN2:0")
    assert in_line(box.tx) == [first, bobs]
    assert (outbox.count_unsettled(box.tx), outbox.unsettled_of(box.tx, bob)) == (2, 1)
    outbox.fail(box.tx, box.reply, "No.")
    assert in_line(box.tx) == [bobs]


# Attempts --------------------------------------------------------------------------------------


def test_an_attempt_is_on_record_before_it_is_made(box: Box) -> None:
    attempt = box.open()
    assert (box.state, box.row()["attempts"]) == ("sending", 1)
    assert box.attempts() == [(1, None, None)]
    assert outbox.open_attempt(box.tx, box.reply, NOW) is None
    box.accept(attempt, "wamid.OUT1")
    assert (box.state, box.row()["wamid"], box.row()["accepted_at"]) == (
        "accepted",
        "wamid.OUT1",
        NOW,
    )
    assert outbox.open_attempt(box.tx, box.reply, NOW) is None


@pytest.mark.parametrize(("counts", "counted"), [(True, 1), (False, 0)])
def test_an_attempt_that_failed_for_no_fault_of_the_reply_is_not_counted(
    box: Box, *, counts: bool, counted: int
) -> None:
    attempt = box.open()
    outbox.close_attempt(box.tx, attempt, outcome=SendOutcome.NOT_SENT, now=NOW, detail="refused")
    outbox.wait_again(box.tx, box.reply, after(3), counts=counts)
    row = box.row()
    assert (row["state"], row["attempts"], row["not_before"]) == ("waiting", counted, after(3))
    box.open()
    assert box.row()["attempts"] == counted + 1
    assert box.row()["not_before"] is None
    assert box.attempts() == [(1, "not_sent", None), (2, None, None)]
    assert outbox.attempts_alike(box.tx, box.reply, SendOutcome.NOT_SENT, None) == 1


def test_a_send_under_way_at_a_crash_has_an_unknown_outcome(box: Box) -> None:
    second = box.add(part=1)
    box.open()
    outbox.orphan_attempts_become_unknown(box.tx, after(9))
    assert (box.state, box.row()["unknown_at"]) == ("unknown", after(9))
    assert box.row(second)["state"] == "waiting"
    assert box.attempts() == [(1, "unknown", None)]


def test_a_settled_reply_is_left_alone_by_what_comes_late(box: Box) -> None:
    attempt = box.open()
    box.status("sent", "wamid.OUT1", opaque=box.ours(attempt))
    outbox.wait_again(box.tx, box.reply, after(3), counts=False)
    outbox.become_unknown(box.tx, box.reply, NOW)
    outbox.orphan_attempts_become_unknown(box.tx, NOW)
    assert not outbox.fail(box.tx, box.reply, "No.")
    row = box.row()
    assert (row["state"], row["attempts"], row["error"]) == ("sent", 1, None)


# Statuses --------------------------------------------------------------------------------------


def test_a_status_that_comes_before_the_answer_is_stale_approved_with_it(box: Box) -> None:
    attempt = box.open()
    assert box.status("delivered", "wamid.OUT1") == []
    assert box.status("sent", "wamid.OUT1") == []
    assert box.state == "sending"
    raised = box.accept(attempt, "wamid.OUT1")
    assert [(one.before, one.after) for one in raised] == [
        (ReplyState.SENDING, ReplyState.ACCEPTED),
        (ReplyState.ACCEPTED, ReplyState.DELIVERED),
    ]
    assert [one.is_newly_settled for one in raised] == [True, False]
    assert box.state == "delivered"


def test_a_status_with_our_value_settles_a_send_nobody_saw_end(box: Box) -> None:
    attempt = box.open()
    outbox.become_unknown(box.tx, box.reply, NOW)
    (raised,) = box.status("sent", "wamid.OUT1", opaque=box.ours(attempt)) or []
    assert raised.is_newly_settled
    assert (box.state, box.row()["wamid"]) == ("sent", "wamid.OUT1")


def test_a_word_nobody_knows_still_proves_that_meta_has_the_message(box: Box) -> None:
    """Otherwise it would be sent again after the grace, and reach the customer twice."""
    attempt = box.open()
    outbox.become_unknown(box.tx, box.reply, NOW)
    (raised,) = box.status("in_orbit", "wamid.OUT1", opaque=box.ours(attempt)) or []
    assert raised.is_newly_settled
    assert (box.state, box.row()["wamid"]) == ("accepted", "wamid.OUT1")
    assert box.status("warning", "wamid.OUT1", opaque=box.ours(attempt)) == []


def test_a_failure_stands_until_a_delivery_says_otherwise(box: Box) -> None:
    attempt = box.open()
    box.accept(attempt, "wamid.OUT1")
    (failed,) = box.status("failed", "wamid.OUT1", errors="gone (code 131026)") or []
    assert (failed.after, failed.errors) == (ReplyState.FAILED, "gone (code 131026)")
    assert (box.state, box.row()["error"]) == ("failed", "gone (code 131026)")
    assert box.status("sent", "wamid.OUT1") == []
    (delivered,) = box.status("delivered", "wamid.OUT1") or []
    assert (delivered.before, delivered.after) == (ReplyState.FAILED, ReplyState.DELIVERED)


def test_a_delivered_reply_does_not_fail_any_more(box: Box) -> None:
    box.accept(box.open(), "wamid.OUT1")
    box.status("delivered", "wamid.OUT1")
    assert box.status("failed", "wamid.OUT1", errors="second device") == []
    assert (box.state, box.row()["error"]) == ("delivered", None)


def test_a_known_status_is_told_from_a_new_one(box: Box) -> None:
    box.accept(box.open(), "wamid.OUT1")
    assert box.status("sent", "wamid.OUT1") is not None
    assert box.status("sent", "wamid.OUT1") is None
    assert box.status("sent", "wamid.OUT1", participant="15550101009") == []
    assert box.tx.execute("SELECT count(*) FROM statuses").fetchone()[0] == 2


@pytest.mark.parametrize(
    "opaque",
    [
        "wbot:00000000:1",
        "wbot:{installation}:99",
        "wbot:{installation}:",
        "wbot:{installation}:1x",
        "wbot:{installation}1",
        "somebody else's",
        "",
        None,
    ],
)
def test_a_status_of_another_sender_raises_nothing_and_is_kept(
    box: Box, opaque: str | None
) -> None:
    box.accept(box.open(), "wamid.OUT1")
    value = opaque and opaque.format(installation=box.installation)
    assert box.status("read", "wamid.FOREIGN", opaque=value) == []
    assert box.state == "accepted"
    (row,) = box.tx.execute("SELECT outbox_id, opaque FROM statuses").fetchall()
    assert (row["outbox_id"], row["opaque"]) == (None, value)


def test_two_sends_of_one_reply_keep_both_their_ids(box: Box) -> None:
    """The first went out unseen, the second after the grace: statuses of both are the reply's."""
    first = box.open()
    outbox.close_attempt(box.tx, first, outcome=SendOutcome.UNKNOWN, now=NOW)
    outbox.become_unknown(box.tx, box.reply, NOW)
    second = box.open()
    box.accept(second, "wamid.OUT2")
    box.status("delivered", "wamid.OUT1", opaque=box.ours(first))
    box.status("read", "wamid.OUT2", opaque=box.ours(second))
    assert (box.state, box.row()["wamid"]) == ("read", "wamid.OUT2")
    assert box.attempts() == [(1, "unknown", None), (2, "accepted", "wamid.OUT2")]
    rows = box.tx.execute("SELECT wamid, outbox_id FROM statuses ORDER BY id").fetchall()
    assert [tuple(row) for row in rows] == [
        ("wamid.OUT1", box.reply),
        ("wamid.OUT2", box.reply),
    ]


# Every order of everything ---------------------------------------------------------------------

RANK = ["accepted", "sent", "failed", "delivered", "read", "played"]
"""Raise-only, from cloud-api.md 2.4: a failure counts unless a device has it."""

WORDS = st.sampled_from([*RANK[1:], "deleted", "warning"])
OUTCOMES = st.sampled_from(["accepted", "unknown", "not_sent", "refused", "given_up"])


class Sends(RuleBasedStateMachine):
    """Attempts of one reply and statuses of any of them, each at any time and any number of times.

    The reference: what was ever reported, and where the latest attempt stands while nothing was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.box = Box()
        self.reports: set[str] = set()
        self.unsettled = "waiting"
        self.opened: list[int] = []
        self.under_way: int | None = None
        self.early: dict[str, set[str]] = {}
        self.first_wamid: str | None = None
        self.accepted: set[tuple[int, str]] = set()
        self.told: set[tuple[str, str]] = set()
        self.state_before = "waiting"

    def teardown(self) -> None:
        self.box.tx.close()

    @precondition(lambda self: self.under_way is None)
    @rule()
    def an_attempt_is_opened(self) -> None:
        attempt = outbox.open_attempt(self.box.tx, self.box.reply, NOW)
        assert (attempt is None) == bool(self.reports)
        if attempt is not None:
            self.opened.append(attempt)
            self.under_way = attempt
            self.unsettled = "sending"

    @precondition(lambda self: self.under_way is not None)
    @rule(outcome=OUTCOMES)
    def the_attempt_is_closed(self, outcome: str) -> None:
        tx, reply, attempt = self.box.tx, self.box.reply, self.under_way
        assert attempt is not None
        self.under_way = None
        wamid = self._wamid(attempt)
        if outcome == "accepted":
            self.box.accept(attempt, wamid)
            self.accepted.add((attempt, wamid))
            self._count("accepted", wamid)
            for word in self.early.pop(wamid, set()):
                self._count(word, wamid)
            return
        stored = SendOutcome.REFUSED if outcome == "given_up" else SendOutcome(outcome)
        outbox.close_attempt(tx, attempt, outcome=stored, now=NOW)
        if outcome == "unknown":
            outbox.become_unknown(tx, reply, NOW)
            self.unsettled = "unknown"
        elif outcome == "given_up":
            if outbox.fail(tx, reply, "given up"):
                self.reports.add("failed")
        else:
            outbox.wait_again(tx, reply, after(1), counts=outcome == "refused")
            self.unsettled = "waiting"

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def the_process_dies(self) -> None:
        outbox.orphan_attempts_become_unknown(self.box.tx, NOW)
        self.under_way = None
        self.unsettled = "unknown"

    @precondition(lambda self: self.opened)
    @rule(data=st.data(), word=WORDS, has_our_value=st.booleans())
    def meta_tells(self, data: st.DataObject, word: str, *, has_our_value: bool) -> None:
        attempt = data.draw(st.sampled_from(self.opened))
        wamid = self._wamid(attempt)
        opaque = self.box.ours(attempt) if has_our_value else None
        raised = self.box.status(word, wamid, opaque=opaque)
        assert (raised is None) == ((wamid, word) in self.told)
        if raised is None:
            return
        self.told.add((wamid, word))
        if has_our_value or wamid == self.first_wamid:
            self._count(word, wamid)
        elif (attempt, wamid) not in self.accepted:
            self.early.setdefault(wamid, set()).add(word)

    @rule(word=WORDS)
    def somebody_else_is_told(self, word: str) -> None:
        self.box.status(word, "wamid.FOREIGN", opaque="wbot:ffffffff:1")

    def _wamid(self, attempt: int) -> str:
        return f"wamid.OUT{attempt}"

    def _count(self, word: str, wamid: str) -> None:
        self.reports.add(word if word in RANK else "accepted")
        self.first_wamid = self.first_wamid or wamid

    @invariant()
    def the_state_is_the_highest_reported(self) -> None:
        expected = max(self.reports, key=RANK.index) if self.reports else self.unsettled
        assert self.box.state == expected
        if self.state_before in RANK:
            assert RANK.index(expected) >= RANK.index(self.state_before)
        self.state_before = expected

    @invariant()
    def no_id_is_lost(self) -> None:
        assert self.box.row()["wamid"] == self.first_wamid
        rows = self.box.tx.execute(
            "SELECT id, wamid FROM send_attempts WHERE outcome = 'accepted'"
        ).fetchall()
        assert {(row["id"], row["wamid"]) for row in rows} == self.accepted

    @invariant()
    def an_attempt_is_open_only_while_it_is_made(self) -> None:
        rows = self.box.tx.execute("SELECT id FROM send_attempts WHERE closed_at IS NULL")
        assert [row["id"] for row in rows.fetchall()] == [self.under_way] * bool(self.under_way)


TestSends = Sends.TestCase
TestSends.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)
