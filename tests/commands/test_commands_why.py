"""wbot why: the whole timeline of a message, from the tables alone."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_harness import Wbot
from conftest import ALICE, BOB, WAIT_S, MakeWorld, World, deposit, writing
from db_factories import NOW, SHOP, after, end_message, make_customer, make_message, make_tx

from wbot.admin import customer_merge, message_timeline
from wbot.admin.message_timeline import SILENCES, Timeline
from wbot.domain.errors import RefusedError
from wbot.domain.outgoing import Button, Outgoing, Prompt, Text
from wbot.domain.states import MessageState, SendOutcome, TurnOutcome
from wbot.domain.triage import SilenceReason
from wbot.simulator.faults.plan import Endpoint, refused, repeated
from wbot.storage import businesses, customers, errors, journal, messages, outbox
from wbot.storage.journal import Step
from wbot.storage.outbox import NewReply, NewStatus

LATER = after(100)


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    connection = make_tx()
    yield connection
    connection.close()


def stages_of(tx: sqlite3.Connection, message_id: str = "wamid.1") -> list[tuple[str, str]]:
    """Stage and detail, in order; checks that the times do not decrease."""
    found = message_timeline.build_timeline(tx, message_id, LATER)
    times = [one.at for one in found.stages]
    assert times == sorted(times)
    return [(one.stage, one.detail) for one in found.stages]


def details(stages: list[tuple[str, str]], name: str) -> list[str]:
    return [detail for stage, detail in stages if stage == name]


async def a_transfer(world: World) -> str:
    """A message that transfers twice, the second time without success; returns its id."""
    await world.ask(ALICE, "Transfer $20 to John; send 9000 to Mary")
    await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
    message_id: str = world.rows("SELECT message_id FROM messages")[0]["message_id"]
    return message_id


# Through the whole program ----------------------------------------------------------------------


async def test_a_transfer_is_shown_from_its_arrival_to_its_ticks(
    make_world: MakeWorld,
    database_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with make_world() as world:
        world.simulator.faults.add(Endpoint.WEBHOOK, repeated(3))
        message_id = await a_transfer(world)
    wbot = Wbot(tmp_path, monkeypatch, capsys, database_path)
    found: dict[str, Any] = wbot.json("why", message_id)
    assert list(found) == ["message_id", "business", "customer", "state", "stages", "replies"]
    assert (found["message_id"], found["business"]) == (message_id, "shop")
    assert (found["customer"], found["state"]) == (ALICE.phone, "answered")
    assert all(list(one) == ["at", "stage", "detail"] for one in found["stages"])
    stages = [(one["stage"], one["detail"]) for one in found["stages"]]
    assert [stage for stage, _ in stages] == [
        "sent",
        "received",
        "duplicates",
        "waited",
        "turn_began",
        "model",
        "ledger",
        "tool",
        "ledger",
        "tool",
        "model",
        "reply_stored",
        "turn_ended",
        "send_began",
        "send_ended",
        "status",
        "status",
        "status",
    ]
    assert details(stages, "received") == [
        "a message of type text in webhook 1, number 1 of its conversation"
    ]
    assert details(stages, "duplicates") == ["it came again 2 times since, and was ignored"]
    assert details(stages, "ledger") == [
        "T2: 20.00 USD to John, posted",
        "T3: 9000.00 USD to Mary, refused (insufficient funds)",
    ]
    asked, said = details(stages, "model")
    assert "asks for transfer(amount=$20, to=John) and transfer(amount=9000, to=Mary)" in asked
    assert "tokens read" in asked
    assert "says " in said
    paid, refused_ = details(stages, "tool")
    assert (paid.startswith("transfer, "), paid.endswith(": done")) == (True, True)
    assert "refused: There is not enough money" in refused_
    assert details(stages, "turn_ended") == ["attempt 1: answered"]
    (reply,) = found["replies"]
    assert details(stages, "send_ended") == [f"attempt 1: WhatsApp accepted it as {reply['wamid']}"]
    assert [words.split(",")[0] for words in details(stages, "status")] == [
        "sent",
        "delivered",
        "read",
    ]
    assert reply["state"] == "read"
    assert "Sent $20.00 to “John”, outside: paid out by The Shop (T2)" in reply["text"]
    assert wbot.json("why", ALICE.phone or "") == found
    assert wbot.json("why", f"+{ALICE.phone}") == found
    assert wbot.json("why", reply["wamid"]) == found
    table = wbot.done("why", message_id)
    assert "turn began" in table
    assert "T2: 20.00 USD to John, posted" in table
    assert "Reply, read" in table


async def test_a_cancel_and_what_it_reversed_refer_to_each_other(
    make_world: MakeWorld, database_path: Path
) -> None:
    deposit(database_path, BOB, 10_000)
    async with make_world() as world:
        await world.ask(BOB, "Pay Mary 15.50")
        await world.ask(BOB, "Cancel that")
    with writing(database_path) as tx:
        latest, others = message_timeline.find(tx, BOB.phone or "")
        first = tx.execute("SELECT min(message_id) FROM messages WHERE message_id <> ?", (latest,))
        paid = message_timeline.build_timeline(tx, first.fetchone()[0], LATER)
        taken_back = message_timeline.build_timeline(tx, latest, LATER)
    assert others == 1
    ledger = [one.detail for story in (paid, taken_back) for one in story.stages]
    assert "T2: 15.50 USD to Mary, posted, and reversed since by T3" in ledger
    assert "T3: 15.50 USD, reversing T2, posted" in ledger


async def test_a_failed_message_shows_what_went_wrong(
    make_world: MakeWorld, database_path: Path
) -> None:
    async with make_world(variables={"WBOT_MAX_ATTEMPTS": "2"}) as world:
        world.simulator.faults.add(Endpoint.MODEL, *[refused(500, 0, about="balance")] * 2)
        world.simulator.faults.add(Endpoint.SEND, refused(500, 131000))
        await world.ask(ALICE, "What is my balance?")
    with writing(database_path) as tx:
        stages = stages_of(tx, message_timeline.find(tx, ALICE.phone or "")[0])
    said = "The model endpoint failed: HTTP 500, server_error: Refused on demand."
    assert details(stages, "turn_ended") == [
        f"attempt 1 failed, will be retried: {said}",
        "attempt 2: failed",
    ]
    (error,) = details(stages, "error")
    assert error == f"failure 1, after 2 tries: {said}"
    first = details(stages, "send_ended")[0]
    assert first.startswith("attempt 1: WhatsApp refused it with code 131000 (")


# From rows alone --------------------------------------------------------------------------------


def test_a_waiting_message_shows_what_it_waits_for(tx: sqlite3.Connection) -> None:
    alice = make_customer(tx, "15550101001")
    make_message(tx, alice, "wamid.1")
    assert stages_of(tx)[-1] == (
        "waiting",
        "100.00 s since it came: for a running service to process it",
    )
    make_message(tx, alice, "wamid.0", sort_at=after(-5))
    make_message(tx, alice, "wamid.2", sort_at=after(5), not_before=after(200))
    assert stages_of(tx)[-1][1] == "100.00 s since it came: 1 of its conversation go first"
    businesses.change(tx, msgspec.structs.replace(SHOP, is_paused=True))
    assert stages_of(tx, "wamid.2")[-1][1] == (
        "100.00 s since it came: its business is paused; 2 of its conversation go first; "
        "not before 2026-11-23 12:03:20 UTC"
    )


def test_every_attempt_is_shown_and_a_long_block_once(tx: sqlite3.Connection) -> None:
    conversation_id = make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    blocked, stopped = (TurnOutcome.BLOCKED, "no key"), (TurnOutcome.STOPPED, None)
    retried, silent = (TurnOutcome.RETRY, "it broke"), (TurnOutcome.SILENT, None)
    outcomes = [blocked] * 5 + [stopped, (None, None), retried, silent]
    for number, (outcome, detail) in enumerate(outcomes):
        taken = journal.claim_conversation(tx, conversation_id, "wamid.1", after(2 * number + 1))
        if outcome is not None:
            now = after(2 * number + 2)
            journal.end(tx, "wamid.1", taken.epoch, outcome=outcome, detail=detail, now=now)
    stages = stages_of(tx)
    assert details(stages, "waited") == ["1.00 s for its turn"]
    assert details(stages, "turn_began") == [
        "attempt 1",
        "attempt 5",
        "attempt 6",
        "attempt 7; it never ended: the process died, or another turn took over",
        "attempt 8",
        "attempt 9",
    ]
    assert details(stages, "turn_ended") == [
        "attempt 1 blocked, not counted, 5 times in all: no key",
        "attempt 5 blocked, not counted, 5 times in all: no key",
        "attempt 6 stopped with the service; the next start continues from here",
        "attempt 8 failed, will be retried: it broke",
        "attempt 9: silent",
    ]


def test_a_turn_under_way_has_no_end_yet(tx: sqlite3.Connection) -> None:
    conversation_id = make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    journal.claim_conversation(tx, conversation_id, "wamid.1", after(1))
    assert stages_of(tx)[-1] == ("turn_began", "attempt 1; its end is not recorded yet")


def test_a_later_revision_is_shown_separately(tx: sqlite3.Connection) -> None:
    conversation_id = make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    end_message(tx, "wamid.1", state=MessageState.FAILED, reason="it broke", now=after(1))
    common = {"business_id": SHOP.id, "conversation_id": conversation_id}
    errors.add(tx, "it broke", now=after(1), message_id="wamid.1", **common)  # type: ignore[arg-type]
    messages.requeue(tx, "wamid.1", after(2))
    errors.mark_retried(tx, "wamid.1")
    journal.claim_conversation(tx, conversation_id, "wamid.1", after(3))
    step = Step(1, "model", '{"text":"Hello","model":"m"}', 12.345)
    journal.add_step(tx, "wamid.1", 1, step=step, now=after(4))
    stages = stages_of(tx)
    assert details(stages, "error") == ["failure 1, retried since: it broke"]
    assert details(stages, "turn_began") == ["attempt 1 of revision 1; its end is not recorded yet"]
    assert details(stages, "model") == [
        "m, 12.3 ms of revision 1: says 5 characters (0 tokens read, 0 written)"
    ]


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        (
            "model",
            '{"tool_calls":[{"id":"1","name":"pay","arguments":"{not json"}]}',
            "the model, 1.0 ms: asks for pay({not json) (0 tokens read, 0 written)",
        ),
        (
            "model",
            '{"tool_calls":[{"id":"1","name":"pay","arguments":"[1]"}],"text":"Hm"}',
            "the model, 1.0 ms: asks for pay([1]), says 2 characters (0 tokens read, 0 written)",
        ),
        (
            "tool",
            '{"call_id":"1","name":"pay","result":"{\\"ok\\":true,\\"repeated\\":\\"x\\"}"}',
            "pay, 1.0 ms: the same call as before: nothing was done again",
        ),
        ("tool", '{"call_id":"1","name":"pay","result":"{}"}', "refused: no reason given"),
    ],
)
def test_odd_steps_are_shown_as_they_are(
    tx: sqlite3.Connection, kind: str, content: str, words: str
) -> None:
    make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    journal.add_step(tx, "wamid.1", 0, step=Step(1, kind, content, 1.0), now=NOW)
    assert details(stages_of(tx), kind)[0].endswith(words)


def reply_of(tx: sqlite3.Connection, part: int, content: Outgoing) -> int:
    """A stored part of the answer to wamid.1."""
    conversation_id = tx.execute("SELECT conversation_id FROM messages").fetchone()[0]
    reply = NewReply(
        business_id=SHOP.id,
        conversation_id=conversation_id,
        cause="message:wamid.1:0",
        part=part,
        message_id="wamid.1",
        reply_phone="15550101001",
        reply_user_id=None,
        content=content,
        created_at=after(1),
    )
    outbox.add(tx, reply)
    return int(tx.execute("SELECT max(id) FROM outbox").fetchone()[0])


def test_sends_and_statuses_are_shown_part_by_part(tx: sqlite3.Connection) -> None:
    make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    first = reply_of(tx, 0, Text("Hello"))
    reply_of(tx, 1, Prompt("Still?", (Button("stale:1:yes", "Yes"),)))
    lost = outbox.open_attempt(tx, first, after(2)) or 0
    outbox.close_attempt(
        tx, lost, outcome=SendOutcome.UNKNOWN, now=after(3), detail="connection lost"
    )
    outbox.become_unknown(tx, first)
    sent = outbox.open_attempt(tx, first, after(4)) or 0
    outbox.close_attempt(tx, sent, outcome=SendOutcome.ACCEPTED, now=after(5), wamid="wamid.out")
    outbox.accept(tx, first, "wamid.out", after(5))
    status = NewStatus(
        wamid="wamid.out",
        status="failed",
        participant="",
        opaque=None,
        occurred_at=after(6),
        received_at=after(7),
        pricing=None,
        errors="no such number (code 131026)",
        webhook_id=None,
    )
    outbox.record_status(tx, status, "other")
    found = message_timeline.build_timeline(tx, "wamid.1", LATER)
    assert [(one.text, one.state, one.wamid) for one in found.replies] == [
        ("Hello", "failed", "wamid.out"),
        ("Still?", "waiting", None),
    ]
    stages = stages_of(tx)
    assert details(stages, "reply_stored") == [
        "part 1: 5 characters",
        "part 2: 6 characters",
    ]
    assert details(stages, "send_ended") == [
        "part 1: attempt 1: it is unknown whether it arrived (connection lost)",
        "part 1: attempt 2: WhatsApp accepted it as wamid.out",
    ]
    assert details(stages, "status") == [
        (
            "part 1: failed, WhatsApp reports at 12:00:06 UTC by its clock: no such number "
            "(code 131026)"
        )
    ]


def silent(tx: sqlite3.Connection, reason: str) -> Timeline:
    make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    end_message(tx, "wamid.1", state=MessageState.SILENT, reason=reason, now=after(1))
    return message_timeline.build_timeline(tx, "wamid.1", LATER)


def test_silence_has_its_reason_in_words(tx: sqlite3.Connection) -> None:
    assert silent(tx, "reaction").stages[-1].detail == "no reply: it is a reaction"


def test_a_reason_without_a_sentence_is_shown_as_it_is(tx: sqlite3.Connection) -> None:
    assert silent(tx, "some_new_reason").stages[-1].detail == "no reply: some new reason"


def test_every_known_reason_for_silence_is_worded() -> None:
    assert {str(reason) for reason in SilenceReason} <= set(SILENCES)


def test_a_message_to_an_unknown_number_has_no_business(tx: sqlite3.Connection) -> None:
    make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    tx.execute(
        "UPDATE messages SET business_id = NULL, conversation_id = NULL, number = NULL, "
        "state = 'silent', reason = 'unknown_number', ended_at = received_at"
    )
    found = message_timeline.build_timeline(tx, "wamid.1", LATER)
    assert (found.business, found.customer, found.state) == (None, "15550101001", "silent")
    assert "no business here has the phone number id" in found.stages[-1].detail


# Finding the message ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wamid.9", "No message is known as 'wamid.9'; give a message's id (wamid.…), or a "),
        ("15550109999", "No message from 15550109999 has arrived."),
        ("US.Nobody", "No message from US.Nobody has arrived."),
        ("", "No message is known as ''; give a message's id (wamid.…), or a customer's phone "),
    ],
)
def test_an_unknown_customer_gets_a_sentence(tx: sqlite3.Connection, text: str, words: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        message_timeline.find(tx, text)
    assert str(refusal.value).startswith(words)


def test_a_customer_of_several_businesses_must_be_named_exactly(tx: sqlite3.Connection) -> None:
    cafe = msgspec.structs.replace(SHOP, id="cafe", phone_number_id="2")
    businesses.add(tx, cafe, NOW)
    make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    identity = customers.resolve(tx, "cafe", phone="15550101001", user_id=None, name=None, now=NOW)
    assert message_timeline.find(tx, "15550101001") == ("wamid.1", 0)
    make_message(tx, identity.customer_id, "wamid.2")
    tx.execute("UPDATE messages SET business_id = 'cafe' WHERE message_id = 'wamid.2'")
    with pytest.raises(RefusedError, match=r"\(cafe: wamid\.2, shop: wamid\.1\)"):
        message_timeline.find(tx, "15550101001")
    assert message_timeline.find(tx, "C1") == ("wamid.1", 0)


def test_messages_from_before_a_merge_count_as_the_customers(tx: sqlite3.Connection) -> None:
    alice, bob = make_customer(tx, "15550101001"), make_customer(tx, "15550101002")
    for customer_id, message_id in ((alice, "wamid.1"), (bob, "wamid.2")):
        make_message(tx, customer_id, message_id)
        end_message(tx, message_id, state=MessageState.ANSWERED, reason=None, now=NOW)
    tx.execute("UPDATE messages SET received_at = ? WHERE message_id = 'wamid.1'", (after(5),))
    customer_merge.merge(tx, SHOP, from_text="15550101001", into_text="15550101002", now=NOW)
    assert message_timeline.find(tx, "15550101002") == ("wamid.1", 1)
    assert message_timeline.find(tx, "C1") == ("wamid.1", 0)
    assert message_timeline.build_timeline(tx, "wamid.1", LATER).customer == "C1"


def test_the_tokens_of_thinking_and_of_every_call_are_shown() -> None:
    usage = {
        "prompt_tokens": 600,
        "completion_tokens": 1_020,
        "reasoning_tokens": 1_000,
        "calls": 2,
    }
    shown = message_timeline._model({"text": "Hello", "model": "m", "usage": usage})
    tokens = "600 tokens read, 1,020 written, 1,000 of them thinking, 2 calls"
    assert shown == ("m", f"says 5 characters ({tokens})")
