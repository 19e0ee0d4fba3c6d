"""Messages in the order of their conversation, their later revisions, and the waiting ones."""

import sqlite3
from collections.abc import Iterator

import msgspec
import pytest
from db_factories import NOW, SHOP, after, end_message, make_customer, make_message, make_tx
from hypothesis import given, settings
from hypothesis import strategies as st

from wbot.domain.business import Business
from wbot.domain.states import MessageState
from wbot.storage import businesses, customers, journal, messages
from wbot.storage.messages import NewMessage

ALICE, BOB = "15550101001", "15550101002"
OTHER = Business(
    id="other", name="Other", phone_number_id="2", access_token="env:T", currency_code="EUR"
)


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    connection = make_tx(OTHER)
    yield connection
    connection.close()


def next_id(tx: sqlite3.Connection, conversation_id: int) -> str | None:
    message = messages.next_of(tx, conversation_id)
    return None if message is None else message.message_id


def handled_in_order(tx: sqlite3.Connection, conversation_id: int) -> list[str]:
    """Claim and finish messages until none is left."""
    order = []
    while (message := messages.next_of(tx, conversation_id)) is not None:
        journal.claim_conversation(tx, conversation_id, message.message_id, NOW)
        assert next_id(tx, conversation_id) == message.message_id
        end_message(tx, message.message_id, state=MessageState.ANSWERED, reason=None, now=NOW)
        order.append(message.message_id)
    return order


# Duplicates ------------------------------------------------------------------------------------


def test_an_id_is_claimed_once(tx: sqlite3.Connection) -> None:
    assert messages.claim(tx, "wamid.1")
    assert not messages.claim(tx, "wamid.1")
    assert messages.claim(tx, "WAMID.1")


def test_nothing_but_the_key_makes_a_claim_fail(tx: sqlite3.Connection) -> None:
    """INSERT OR IGNORE would hide the violation of any other constraint as a duplicate."""
    (table,) = tx.execute("SELECT sql FROM sqlite_master WHERE name = 'message_ids'").fetchone()
    assert table == "CREATE TABLE message_ids (message_id TEXT PRIMARY KEY) WITHOUT ROWID"
    with pytest.raises(sqlite3.IntegrityError):
        tx.execute("INSERT INTO message_ids VALUES (NULL)")


def test_a_repeated_delivery_is_counted(tx: sqlite3.Connection) -> None:
    make_message(tx, make_customer(tx, ALICE), "wamid.1")
    messages.count_duplicate(tx, "wamid.1")
    messages.count_duplicate(tx, "wamid.1")
    row = messages.by_id(tx, "wamid.1")
    assert row is not None
    assert row.duplicates == 2
    assert messages.by_id(tx, "wamid.2") is None


def test_a_body_is_kept_byte_for_byte(tx: sqlite3.Connection) -> None:
    kept = messages.keep_webhook(tx, b"\xff{}", "field:account_update", NOW)
    rows = tx.execute("SELECT id, body, kept FROM webhooks").fetchall()
    assert [tuple(row) for row in rows] == [(kept, b"\xff{}", "field:account_update")]


# Order -----------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(seconds=st.lists(st.integers(min_value=-5, max_value=5), min_size=1, max_size=8))
def test_the_older_message_goes_first_then_the_one_that_came_first(seconds: list[int]) -> None:
    tx = make_tx()
    alice = make_customer(tx, ALICE)
    conversation_id = 0
    for number, second in enumerate(seconds):
        conversation_id = make_message(tx, alice, f"wamid.{number}", sort_at=after(second))
    expected = sorted(range(len(seconds)), key=lambda number: (seconds[number], number))
    assert handled_in_order(tx, conversation_id) == [f"wamid.{number}" for number in expected]
    tx.close()


def test_a_turn_that_has_begun_is_not_overtaken_by_an_older_message(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, ALICE)
    conversation_id = make_message(tx, alice, "wamid.new", sort_at=after(10))
    journal.claim_conversation(tx, conversation_id, "wamid.new", NOW)
    make_message(tx, alice, "wamid.old", sort_at=after(0))
    assert handled_in_order(tx, conversation_id) == ["wamid.new", "wamid.old"]


def in_line(tx: sqlite3.Connection) -> list[int]:
    """The conversations of the unfinished messages, one page after another."""
    found: list[int] = []
    page = [messages.InLine("", "", 0, "")]
    while page := messages.in_line(tx, page[-1].place, 1):
        found += [one.conversation_id for one in page]
    return found


def test_a_message_that_must_wait_holds_its_conversation_and_no_other(
    tx: sqlite3.Connection,
) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    alices = make_message(tx, alice, "wamid.a1", not_before=after(2))
    make_message(tx, alice, "wamid.a2", sort_at=after(1))
    bobs = make_message(tx, bob, "wamid.b1", sort_at=after(-1))
    waiting = messages.next_of(tx, alices)
    assert waiting is not None
    assert (waiting.message_id, waiting.not_before) == ("wamid.a1", after(2))
    assert next_id(tx, bobs) == "wamid.b1"
    assert in_line(tx) == [bobs, alices, alices]
    messages.postpone(tx, "wamid.b1", after(60))
    postponed = messages.next_of(tx, bobs)
    assert postponed is not None
    assert postponed.not_before == after(60)


def test_numbers_are_allocated_one_by_one_in_each_conversation(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    for who, message_id in ((alice, "a1"), (bob, "b1"), (alice, "a2"), (alice, "a3")):
        make_message(tx, who, message_id)
    rows = tx.execute("SELECT message_id, number FROM messages").fetchall()
    assert dict(map(tuple, rows)) == {"a1": 1, "b1": 1, "a2": 2, "a3": 3}


def test_a_paused_business_keeps_its_messages_waiting(tx: sqlite3.Connection) -> None:
    conversation_id = make_message(tx, make_customer(tx, ALICE), "wamid.1")
    businesses.change(tx, msgspec.structs.replace(SHOP, is_paused=True))
    assert messages.next_of(tx, conversation_id) is None
    assert in_line(tx) == []
    assert messages.backlog(tx, NOW).waiting == 0
    businesses.change(tx, SHOP)
    assert next_id(tx, conversation_id) == "wamid.1"


def test_an_ended_message_keeps_its_reason_and_waits_no_longer(tx: sqlite3.Connection) -> None:
    conversation_id = make_message(tx, make_customer(tx, ALICE), "wamid.1", not_before=after(9))
    end_message(tx, "wamid.1", state=MessageState.SILENT, reason="reaction", now=after(3))
    row = messages.by_id(tx, "wamid.1")
    assert row is not None
    assert (row.state, row.reason, row.ended_at, row.not_before) == (
        "silent",
        "reaction",
        after(3),
        None,
    )
    assert messages.next_of(tx, conversation_id) is None


def test_the_window_opens_with_the_latest_message(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, ALICE)
    conversation_id = 0
    for message_id, second in (("m1", 10), ("m2", 30), ("m3", 20)):
        conversation_id = make_message(tx, alice, message_id, sort_at=after(second))
    row = tx.execute(
        "SELECT last_inbound_at FROM conversations WHERE id = ?", (conversation_id,)
    ).fetchone()
    assert row["last_inbound_at"] == after(30)


# Later revisions -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["answered", "silent", "failed"])
def test_a_requeued_message_goes_to_the_tail(tx: sqlite3.Connection, state: str) -> None:
    alice = make_customer(tx, ALICE)
    conversation_id = make_message(tx, alice, "wamid.1", sort_at=after(-100))
    journal.claim_conversation(tx, conversation_id, "wamid.1", NOW)
    end_message(tx, "wamid.1", state=MessageState(state), reason="why", now=NOW)
    make_message(tx, alice, "wamid.2", sort_at=after(1))
    assert messages.requeue(tx, "wamid.1", after(2)) == conversation_id
    make_message(tx, alice, "wamid.3", sort_at=after(3))
    revived = messages.by_id(tx, "wamid.1")
    assert revived is not None
    assert (revived.state, revived.revision, revived.attempts, revived.number) == (
        "waiting",
        1,
        0,
        3,
    )
    assert (revived.reason, revived.ended_at) == (None, None)
    assert handled_in_order(tx, conversation_id) == ["wamid.2", "wamid.1", "wamid.3"]


def test_a_later_revision_has_its_own_journal_and_all_effects(
    tx: sqlite3.Connection,
) -> None:
    conversation_id = make_message(tx, make_customer(tx, ALICE), "wamid.1")
    first = journal.claim_conversation(tx, conversation_id, "wamid.1", NOW)
    step = journal.Step(1, "model", "{}", 1.0)
    journal.add_step(tx, "wamid.1", first.revision, step=step, now=NOW)
    effect = journal.Effect("cancel", "", "{}", None, None)
    journal.add_effect(tx, "wamid.1", effect, NOW)
    end_message(tx, "wamid.1", state=MessageState.FAILED, reason="why", now=NOW)
    messages.requeue(tx, "wamid.1", NOW)
    second = journal.claim_conversation(tx, conversation_id, "wamid.1", NOW)
    assert (first.revision, second.revision) == (0, 1)
    assert (second.attempt, second.steps) == (1, ())
    assert journal.effects(tx, "wamid.1") == [effect]


def test_what_has_no_conversation_cannot_live_again(tx: sqlite3.Connection) -> None:
    messages.claim(tx, "wamid.1")
    nobodys = NewMessage(
        message_id="wamid.1",
        business_id=None,
        conversation_id=None,
        phone_number_id="999",
        type="text",
        content="{}",
        reply_phone=ALICE,
        reply_user_id=None,
        sent_at=None,
        sort_at=NOW,
        received_at=NOW,
        not_before=None,
        state=MessageState.SILENT,
        reason="unknown_number",
    )
    messages.insert(tx, nobodys)
    assert messages.requeue(tx, "wamid.1", NOW) is None
    assert messages.requeue(tx, "wamid.none", NOW) is None
    row = messages.by_id(tx, "wamid.1")
    assert row is not None
    assert (row.revision, row.number, row.ended_at) == (0, None, NOW)
    assert messages.unmatched_phone_number_ids(tx) == [("999", 1)]


def test_a_real_body_takes_the_place_of_its_placeholder(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, ALICE)
    conversation_id = make_message(tx, alice, "wamid.1", not_before=after(2))
    webhook_id = messages.keep_webhook(tx, b"{}", None, NOW)
    messages.replace_content(
        tx, "wamid.1", type_="text", content='{"real":1}', webhook_id=webhook_id
    )
    message = messages.next_of(tx, conversation_id)
    assert message is not None
    assert (message.content, message.not_before, message.revision) == ('{"real":1}', None, 0)


# History ---------------------------------------------------------------------------------------


def test_the_backlog_counts_what_waits_and_dates_what_could_be_done(tx: sqlite3.Connection) -> None:
    assert messages.backlog(tx, NOW) == messages.Backlog(0, None)
    alice = make_customer(tx, ALICE)
    make_message(tx, alice, "wamid.1", not_before=after(60))
    assert messages.backlog(tx, NOW) == messages.Backlog(1, None)
    conversation_id = make_message(tx, alice, "wamid.2")
    journal.claim_conversation(tx, conversation_id, "wamid.2", NOW)
    assert messages.backlog(tx, NOW) == messages.Backlog(2, NOW)
    end_message(tx, "wamid.2", state=MessageState.ANSWERED, reason=None, now=NOW)
    assert messages.backlog(tx, after(61)) == messages.Backlog(1, NOW)


def test_the_past_is_what_was_answered_or_failed_newest_first(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, ALICE)
    states = {"m1": "answered", "m2": "silent", "m3": "failed", "m4": "answered", "m5": None}
    conversation_id = 0
    for message_id, state in states.items():
        conversation_id = make_message(tx, alice, message_id)
        if state is not None:
            end_message(tx, message_id, state=MessageState(state), reason=None, now=NOW)
    bobs = make_message(tx, make_customer(tx, BOB), "b1")
    end_message(tx, "b1", state=MessageState.ANSWERED, reason=None, now=NOW)
    past = [row.message_id for row in messages.past(tx, conversation_id, 10)]
    assert past == ["m4", "m3", "m1"]
    assert [row.message_id for row in messages.past(tx, conversation_id, 2)] == ["m4", "m3"]
    assert [row.message_id for row in messages.past(tx, bobs, 10)] == ["b1"]


def test_unfinished_messages_are_counted_by_customer(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, ALICE), make_customer(tx, BOB)
    for message_id in ("m1", "m2"):
        make_message(tx, alice, message_id)
    conversation_id = customers.conversation_of(tx, SHOP.id, alice, NOW)
    journal.claim_conversation(tx, conversation_id, "m1", NOW)
    assert (messages.unfinished_of(tx, alice), messages.unfinished_of(tx, bob)) == (2, 0)
    end_message(tx, "m1", state=MessageState.ANSWERED, reason=None, now=NOW)
    assert messages.unfinished_of(tx, alice) == 1
