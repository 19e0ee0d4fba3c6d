"""The outbox: replies in order, recorded attempts, and states that only advance."""

import sqlite3
from collections.abc import Callable, Iterator

import msgspec
import pytest
from db_factories import NOW, SHOP, after, make_customer, make_message, make_tx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wbot.domain.outgoing import Text
from wbot.domain.states import ReplyState, SendOutcome
from wbot.storage import businesses, messages, outbox, outbox_queries, undelivered
from wbot.storage.outbox import NewReply, NewStatus, Reply, StateChange

ALICE, BOB = "15550101001", "15550101002"


class OneReply:
    """A conversation of Alice with one reply, and Meta's statuses of it."""

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
            content=Text(text),
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
        code: int | None = None,
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
            code=code,
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
def case() -> Iterator[OneReply]:
    case = OneReply()
    yield case
    case.tx.close()


# One reply after another -----------------------------------------------------------------------


def test_a_reply_is_stored_once(case: OneReply) -> None:
    assert case.add(text="Something else") == case.reply
    assert outbox_queries.said(case.tx, "wamid.IN1") == [Text("Hi")]
    second = case.add(part=1, text="and")
    assert second != case.reply
    assert case.add(cause="message:wamid.IN1:1") not in {case.reply, second}


def test_the_next_reply_waits_until_the_one_before_it_is_settled(case: OneReply) -> None:
    second = case.add(part=1)
    attempt = case.open()
    meanwhile: list[Callable[[], object]] = [
        lambda: outbox.become_unknown(case.tx, case.reply),
        lambda: outbox.open_attempt(case.tx, case.reply, NOW),
        lambda: outbox.wait_again(case.tx, case.reply, after(5), counts=True),
    ]
    for happens in meanwhile:
        happens()
        first = case.next()
        assert first is not None
        assert first.id == case.reply
    case.accept(attempt, "wamid.OUT1")
    following = case.next()
    assert following is not None
    assert following.id == second
    outbox.fail(case.tx, second, "No.")
    assert case.next() is None


def test_a_reply_is_read_as_it_was_stored(case: OneReply) -> None:
    reply = case.next()
    assert reply is not None
    assert (reply.reply_phone, reply.reply_user_id, reply.message_id) == (ALICE, None, "wamid.IN1")
    assert (reply.state, reply.attempts, reply.throughput) == (ReplyState.WAITING, 0, 80)


def in_line(tx: sqlite3.Connection) -> list[int]:
    """The conversations of the unfinished replies, one page after another."""
    found: list[int] = []
    page = [outbox.InLine(0, 0, "")]
    while page := outbox.in_line(tx, page[-1].id, 1):
        found += [one.conversation_id for one in page]
    return found


def test_a_paused_business_sends_nothing_and_keeps_everything(case: OneReply) -> None:
    businesses.change(case.tx, msgspec.structs.replace(SHOP, is_paused=True))
    assert case.next() is None
    assert in_line(case.tx) == []
    assert outbox_queries.count_unsettled(case.tx) == 1
    businesses.change(case.tx, SHOP)
    assert case.next() is not None


def test_conversations_are_named_by_their_oldest_open_reply(case: OneReply) -> None:
    bob = make_customer(case.tx, BOB)
    bobs = make_message(case.tx, bob, "wamid.IN2")
    first, case.conversation = case.conversation, bobs
    case.add(cause="message:wamid.IN2:0")
    assert in_line(case.tx) == [first, bobs]
    assert (outbox_queries.count_unsettled(case.tx), outbox_queries.unsettled_of(case.tx, bob)) == (
        2,
        1,
    )
    outbox.fail(case.tx, case.reply, "No.")
    assert in_line(case.tx) == [bobs]


# Attempts --------------------------------------------------------------------------------------


def test_an_attempt_is_on_record_before_it_is_made(case: OneReply) -> None:
    attempt = case.open()
    assert (case.state, case.row()["attempts"]) == ("sending", 1)
    assert case.attempts() == [(1, None, None)]
    assert outbox.open_attempt(case.tx, case.reply, NOW) is None
    case.accept(attempt, "wamid.OUT1")
    assert (case.state, case.row()["wamid"], case.row()["accepted_at"]) == (
        "accepted",
        "wamid.OUT1",
        NOW,
    )
    assert outbox.open_attempt(case.tx, case.reply, NOW) is None


@pytest.mark.parametrize(("counts", "counted"), [(True, 1), (False, 0)])
def test_an_attempt_that_failed_for_no_fault_of_the_reply_is_not_counted(
    case: OneReply, *, counts: bool, counted: int
) -> None:
    attempt = case.open()
    outbox.close_attempt(case.tx, attempt, outcome=SendOutcome.NOT_SENT, now=NOW, detail="refused")
    outbox.wait_again(case.tx, case.reply, after(3), counts=counts)
    row = case.row()
    assert (row["state"], row["attempts"], row["not_before"]) == ("waiting", counted, after(3))
    case.open()
    assert case.row()["attempts"] == counted + 1
    assert case.row()["not_before"] is None
    assert case.attempts() == [(1, "not_sent", None), (2, None, None)]
    assert outbox.attempts_alike(case.tx, case.reply, SendOutcome.NOT_SENT, None) == 1


def test_a_send_under_way_at_a_crash_has_an_unknown_outcome(case: OneReply) -> None:
    second = case.add(part=1)
    case.open()
    outbox.orphan_attempts_become_unknown(case.tx, after(9))
    assert case.state == "unknown"
    assert case.row(second)["state"] == "waiting"
    assert case.attempts() == [(1, "unknown", None)]


def test_a_settled_reply_is_left_alone_by_what_comes_late(case: OneReply) -> None:
    attempt = case.open()
    case.status("sent", "wamid.OUT1", opaque=case.ours(attempt))
    outbox.wait_again(case.tx, case.reply, after(3), counts=False)
    outbox.become_unknown(case.tx, case.reply)
    outbox.orphan_attempts_become_unknown(case.tx, NOW)
    assert not outbox.fail(case.tx, case.reply, "No.")
    row = case.row()
    assert (row["state"], row["attempts"], row["error"]) == ("sent", 1, None)


# Statuses --------------------------------------------------------------------------------------


def test_a_status_that_comes_before_the_answer_is_stale_approved_with_it(case: OneReply) -> None:
    attempt = case.open()
    assert case.status("delivered", "wamid.OUT1") == []
    assert case.status("sent", "wamid.OUT1") == []
    assert case.state == "sending"
    raised = case.accept(attempt, "wamid.OUT1")
    assert [(one.before, one.after) for one in raised] == [
        (ReplyState.SENDING, ReplyState.ACCEPTED),
        (ReplyState.ACCEPTED, ReplyState.DELIVERED),
    ]
    assert [one.is_newly_settled for one in raised] == [True, False]
    assert case.state == "delivered"


def test_a_status_with_our_value_settles_a_send_of_unknown_outcome(case: OneReply) -> None:
    attempt = case.open()
    outbox.become_unknown(case.tx, case.reply)
    (raised,) = case.status("sent", "wamid.OUT1", opaque=case.ours(attempt)) or []
    assert raised.is_newly_settled
    assert (case.state, case.row()["wamid"]) == ("sent", "wamid.OUT1")


def test_an_unknown_status_still_proves_that_meta_has_the_message(case: OneReply) -> None:
    """Otherwise it would be sent again after the grace period, and arrive twice."""
    attempt = case.open()
    outbox.become_unknown(case.tx, case.reply)
    (raised,) = case.status("in_orbit", "wamid.OUT1", opaque=case.ours(attempt)) or []
    assert raised.is_newly_settled
    assert (case.state, case.row()["wamid"]) == ("accepted", "wamid.OUT1")
    assert case.status("warning", "wamid.OUT1", opaque=case.ours(attempt)) == []


def test_a_failure_stands_until_a_delivery_says_otherwise(case: OneReply) -> None:
    attempt = case.open()
    case.accept(attempt, "wamid.OUT1")
    (failed,) = case.status("failed", "wamid.OUT1", errors="gone (code 131026)") or []
    assert (failed.after, failed.errors) == (ReplyState.FAILED, "gone (code 131026)")
    assert (case.state, case.row()["error"]) == ("failed", "gone (code 131026)")
    assert case.status("sent", "wamid.OUT1") == []
    (delivered,) = case.status("delivered", "wamid.OUT1") or []
    assert (delivered.before, delivered.after) == (ReplyState.FAILED, ReplyState.DELIVERED)


def test_a_delivered_reply_does_not_fail_any_more(case: OneReply) -> None:
    case.accept(case.open(), "wamid.OUT1")
    case.status("delivered", "wamid.OUT1")
    assert case.status("failed", "wamid.OUT1", errors="second device") == []
    assert (case.state, case.row()["error"]) == ("delivered", None)


def test_a_known_status_is_distinguished_from_a_new_one(case: OneReply) -> None:
    case.accept(case.open(), "wamid.OUT1")
    assert case.status("sent", "wamid.OUT1") is not None
    assert case.status("sent", "wamid.OUT1") is None
    assert case.status("sent", "wamid.OUT1", participant="15550101009") == []
    assert case.tx.execute("SELECT count(*) FROM statuses").fetchone()[0] == 2


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
    case: OneReply, opaque: str | None
) -> None:
    case.accept(case.open(), "wamid.OUT1")
    value = opaque and opaque.format(installation=case.installation)
    assert case.status("read", "wamid.FOREIGN", opaque=value) == []
    assert case.state == "accepted"
    (row,) = case.tx.execute("SELECT outbox_id, opaque FROM statuses").fetchall()
    assert (row["outbox_id"], row["opaque"]) == (None, value)


def test_two_sends_of_one_reply_keep_both_their_ids(case: OneReply) -> None:
    """The first send was unseen, the second came after the grace: both ids belong to the reply."""
    first = case.open()
    outbox.close_attempt(case.tx, first, outcome=SendOutcome.UNKNOWN, now=NOW)
    outbox.become_unknown(case.tx, case.reply)
    second = case.open()
    case.accept(second, "wamid.OUT2")
    case.status("delivered", "wamid.OUT1", opaque=case.ours(first))
    case.status("read", "wamid.OUT2", opaque=case.ours(second))
    assert (case.state, case.row()["wamid"]) == ("read", "wamid.OUT2")
    assert case.attempts() == [(1, "unknown", None), (2, "accepted", "wamid.OUT2")]
    rows = case.tx.execute("SELECT wamid, outbox_id FROM statuses ORDER BY id").fetchall()
    assert [tuple(row) for row in rows] == [
        ("wamid.OUT1", case.reply),
        ("wamid.OUT2", case.reply),
    ]


def test_a_failure_for_now_lets_the_reply_wait_again_and_its_late_sent_changes_nothing(
    case: OneReply,
) -> None:
    case.accept(case.open(), "wamid.OUT1")
    (held,) = case.status("failed", "wamid.OUT1", errors="overloaded", code=131016) or []
    assert held.is_to_be_sent_again
    assert case.state == "waiting"
    assert case.status("sent", "wamid.OUT1", opaque=case.ours(1)) == []
    case.accept(case.open(), "wamid.OUT2")
    case.status("failed", "wamid.OUT1", errors="overloaded", code=131016, participant="1")
    assert (case.state, case.row()["wamid"]) == ("accepted", "wamid.OUT2")


def test_a_failure_before_the_answer_to_its_send_is_applied_by_the_answer(case: OneReply) -> None:
    attempt = case.open()
    assert case.status("failed", "wamid.OUT1", code=131042, opaque=case.ours(attempt)) == []
    assert case.state == "sending"
    case.accept(attempt, "wamid.OUT1")
    assert (case.state, case.row()["attempts"]) == ("waiting", 0)


def test_a_delivery_on_one_device_needs_no_second_send(case: OneReply) -> None:
    case.accept(case.open(), "wamid.OUT1")
    case.status("failed", "wamid.OUT1", code=131000)
    case.status("delivered", "wamid.OUT1", opaque=case.ours(1))
    assert case.state == "delivered"


# Any order of events ---------------------------------------------------------------------

RANK = ["accepted", "sent", "failed", "delivered", "read", "played"]
"""Advance-only, from cloud-api.md 2.4: a failure counts unless a device has the message."""

WORDS = st.sampled_from([*RANK[1:], "deleted", "warning"])
OUTCOMES = st.sampled_from(["accepted", "unknown", "not_sent", "refused", "given_up"])


class Sends(RuleBasedStateMachine):
    """Attempts of one reply and statuses of any of them, in any order and any number of times.

    The reference: all reported statuses, and the state of the latest attempt until one comes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.case = OneReply()
        self.reports: set[str] = set()
        self.unsettled = "waiting"
        self.opened: list[int] = []
        self.under_way: int | None = None
        self.early: dict[str, set[str]] = {}
        self.first_wamid: str | None = None
        self.accepted: set[tuple[int, str]] = set()
        self.reported: set[tuple[str, str]] = set()
        self.counted: dict[str, set[str]] = {}
        """By id, what is known of the send: a failure counts while no other may have arrived."""
        self.unheard: set[int] = set()
        """Attempts that nobody knows the outcome of."""
        self.state_before = "waiting"

    def teardown(self) -> None:
        self.case.tx.close()

    @precondition(lambda self: self.under_way is None)
    @rule()
    def an_attempt_is_opened(self) -> None:
        attempt = outbox.open_attempt(self.case.tx, self.case.reply, NOW)
        assert (attempt is None) == bool(self.reports)
        if attempt is not None:
            self.opened.append(attempt)
            self.under_way = attempt
            self.unheard.add(attempt)
            self.unsettled = "sending"

    @precondition(lambda self: self.under_way is not None)
    @rule(outcome=OUTCOMES)
    def the_attempt_is_closed(self, outcome: str) -> None:
        tx, reply, attempt = self.case.tx, self.case.reply, self.under_way
        assert attempt is not None
        self.under_way = None
        if outcome != "unknown":
            self.unheard.discard(attempt)
        wamid = self._wamid(attempt)
        if outcome == "accepted":
            self.case.accept(attempt, wamid)
            self.accepted.add((attempt, wamid))
            self._count("accepted", wamid)
            early = self.early.pop(wamid, set())
            for word in sorted(early, key="failed".__eq__):  # the failure last
                self._count(word, wamid)
            return
        stored = SendOutcome.REFUSED if outcome == "given_up" else SendOutcome(outcome)
        outbox.close_attempt(tx, attempt, outcome=stored, now=NOW)
        if outcome == "unknown":
            outbox.become_unknown(tx, reply)
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
        outbox.orphan_attempts_become_unknown(self.case.tx, NOW)
        self.under_way = None
        self.unsettled = "unknown"

    @precondition(lambda self: self.opened)
    @rule(data=st.data(), word=WORDS, has_our_value=st.booleans())
    def meta_tells(self, data: st.DataObject, word: str, *, has_our_value: bool) -> None:
        attempt = data.draw(st.sampled_from(self.opened))
        wamid = self._wamid(attempt)
        opaque = self.case.ours(attempt) if has_our_value else None
        raised = self.case.status(word, wamid, opaque=opaque)
        assert (raised is None) == ((wamid, word) in self.reported)
        if raised is None:
            return
        self.reported.add((wamid, word))
        if has_our_value or wamid == self.first_wamid:
            self._count(word, wamid)
        elif (attempt, wamid) not in self.accepted:
            self.early.setdefault(wamid, set()).add(word)

    @rule(word=WORDS)
    def somebody_else_is_told(self, word: str) -> None:
        self.case.status(word, "wamid.FOREIGN", opaque="wbot:ffffffff:1")

    def _wamid(self, attempt: int) -> str:
        return f"wamid.OUT{attempt}"

    def _count(self, word: str, wamid: str) -> None:
        known = self.counted.setdefault(wamid, set())
        is_late = "failed" in known and word not in {"failed", "delivered", "read", "played"}
        known.add(word)
        if is_late or (word == "failed" and self._may_arrive_otherwise(wamid)):
            return
        self.reports.add(word if word in RANK else "accepted")
        self.first_wamid = self.first_wamid or wamid

    def _may_arrive_otherwise(self, wamid: str) -> bool:
        heard = {one for one, words in self.counted.items() if "failed" not in words}
        later = {self._wamid(one) for one in self.unheard if one > int(wamid[len("wamid.OUT") :])}
        return bool(heard or (not self.reports and later - self.counted.keys()))

    @invariant()
    def the_state_is_the_highest_reported(self) -> None:
        expected = max(self.reports, key=RANK.index) if self.reports else self.unsettled
        assert self.case.state == expected
        if self.state_before in RANK:
            assert RANK.index(expected) >= RANK.index(self.state_before)
        self.state_before = expected

    @invariant()
    def no_id_is_lost(self) -> None:
        assert self.case.row()["wamid"] == self.first_wamid
        rows = self.case.tx.execute(
            "SELECT id, wamid FROM send_attempts WHERE outcome = 'accepted'"
        ).fetchall()
        assert {(row["id"], row["wamid"]) for row in rows} == self.accepted

    @invariant()
    def an_attempt_is_open_only_while_it_is_made(self) -> None:
        rows = self.case.tx.execute("SELECT id FROM send_attempts WHERE closed_at IS NULL")
        assert [row["id"] for row in rows.fetchall()] == [self.under_way] * bool(self.under_way)


TestSends = Sends.TestCase
TestSends.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)

AT_CUSTOMER = {"delivered", "read", "played"}
CODES = st.sampled_from([131016, 131000, 131042, 131026])
"""It passes, it may pass, an operator must act, it never passes."""


class Repeats(RuleBasedStateMachine):
    """Meta's statuses carry our value and a code; replies that failed go out again, others never.

    The reference knows of each attempt only what was told of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.case = OneReply()
        self.told: dict[int, set[str]] = {}
        """By attempt, oldest first."""
        self.under_way: int | None = None
        self.unheard: set[int] = set()
        self.before = self.case.state

    def teardown(self) -> None:
        self.case.tx.close()

    @precondition(lambda self: self.under_way is None and self.case.state in {"waiting", "unknown"})
    @rule()
    def it_is_sent(self) -> None:
        """Of an unknown outcome: the grace is over."""
        self.under_way = self.case.open()
        self.told[self.under_way] = set()
        self.unheard.add(self.under_way)

    @precondition(lambda self: self.under_way is not None)
    @rule(outcome=st.sampled_from(list(SendOutcome)))
    def the_send_ends(self, outcome: SendOutcome) -> None:
        tx, reply, attempt = self.case.tx, self.case.reply, self.under_way
        assert attempt is not None
        self.under_way = None
        if outcome is SendOutcome.ACCEPTED:
            self.told[attempt].add("accepted")
            self.unheard.discard(attempt)
            self.case.accept(attempt, f"wamid.OUT{attempt}")
            return
        if self.told[attempt]:  # then it has left
            outcome = SendOutcome.UNKNOWN
        outbox.close_attempt(tx, attempt, outcome=outcome, now=NOW)
        if outcome is SendOutcome.UNKNOWN:
            outbox.become_unknown(tx, reply)
        else:
            self.unheard.discard(attempt)
            outbox.wait_again(tx, reply, after(1), counts=False)

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def the_process_dies(self) -> None:
        outbox.orphan_attempts_become_unknown(self.case.tx, NOW)
        self.under_way = None

    @precondition(lambda self: self.told)
    @rule(data=st.data(), word=st.sampled_from(["sent", "failed", *AT_CUSTOMER]), code=CODES)
    def meta_tells(self, data: st.DataObject, word: str, code: int) -> None:
        sent = [one for one in self.told if one in self.unheard or self.told[one]]
        if not sent:
            return
        attempt = data.draw(st.sampled_from(sent))
        self.told[attempt].add(word)
        self.case.status(
            word,
            f"wamid.OUT{attempt}",
            opaque=self.case.ours(attempt),
            code=code if word == "failed" else None,
        )

    @precondition(lambda self: self.case.state == "failed" and not self._may_latest_arrive())
    @rule()
    def its_question_is_put_again(self) -> None:
        undelivered.send_again(self.case.tx, self.case.reply, NOW)

    def _is_heard(self, attempt: int) -> bool:
        words = self.told[attempt]
        return bool(words & AT_CUSTOMER) or (bool(words) and "failed" not in words)

    @invariant()
    def nothing_waits_or_fails_that_meta_has(self) -> None:
        before, self.before = self.before, self.case.state
        if self.case.state == "waiting" or (self.case.state, before) == ("failed", "failed"):
            # Once failed, a late "sent" of another send lifts nothing: only its arrival does.
            is_late = before == "failed"
            assert not any(
                self.told[one] & AT_CUSTOMER if is_late else self._is_heard(one)
                for one in self.told
            )
        elif self.case.state == "failed":
            assert not any(map(self._is_heard, self.told))

    def _may_latest_arrive(self) -> bool:
        latest = max(self.told, default=0)
        return latest in self.unheard and "failed" not in self.told[latest]

    @invariant()
    def nothing_waits_whose_latest_send_may_have_arrived(self) -> None:
        assert not (self.case.state == "waiting" and self._may_latest_arrive())

    @invariant()
    def nothing_counts_as_sent_that_failed(self) -> None:
        if self.case.state in {"accepted", "sent"}:
            assert any(map(self._is_heard, self.told))


TestRepeats = Repeats.TestCase
TestRepeats.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)
