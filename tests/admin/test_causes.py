"""Why is there no reply? `wbot why` names the cause in plain words, with the next step."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cli_harness import Wbot
from conftest import ALICE, BOB, WAIT_S, MakeWorld, World, writing
from db_factories import NOW, SHOP, after, end_message, make_customer, make_message, make_tx

from wbot.admin.no_reply_causes import NOT_DELIVERED_HINT, cause_of
from wbot.clock import Clock
from wbot.domain.outgoing import Text
from wbot.domain.states import MessageState, SendOutcome, TurnOutcome
from wbot.domain.triage import SilenceReason
from wbot.simulator.faults.plan import Endpoint, refused
from wbot.storage import businesses, errors, journal, outbox
from wbot.storage.outbox import NewReply

Why = Callable[[str], "asyncio.Future[str]"]


@pytest.fixture
def wbot(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database_path: Path,
) -> Wbot:
    return Wbot(tmp_path, monkeypatch, capsys, database_path)


async def shown_cause(wbot: Wbot, who: str, words: str) -> str:
    """The cause that `wbot why` shows, once it contains these words."""
    async with asyncio.timeout(WAIT_S):
        while True:
            ran = await asyncio.to_thread(wbot, "why", who)
            lines = [one for one in ran.out.splitlines() if one.startswith("Why no reply")]
            cause = lines[0].removeprefix("Why no reply").strip() if lines else ran.err
            if words in cause:
                return cause


def set_business(path: Path, **changes: object) -> None:
    with writing(path) as tx:
        business = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(business, **changes))


# Through the whole program ------------------------------------------------------------------------


async def test_a_refused_token_is_shown_with_where_to_replace_it(
    make_world: MakeWorld, wbot: Wbot
) -> None:
    async with make_world() as world:
        world.simulator.faults.always(Endpoint.SEND, refused(401, 190, "Session has expired"))
        await world.simulator.say(ALICE, "Hello")
        cause = await shown_cause(wbot, f"+{ALICE.phone}", "WhatsApp refuses")
    assert "Session has expired (code 190)" in cause
    assert "`wbot business show shop`" in cause
    assert "`wbot check` tests the token" in cause


async def test_a_blocked_model_is_shown_as_the_cause(make_world: MakeWorld, wbot: Wbot) -> None:
    async with make_world() as world:
        world.simulator.faults.always(Endpoint.MODEL, refused(401, 0))
        await world.simulator.say(ALICE, "Hello")
        cause = await shown_cause(wbot, f"+{ALICE.phone}", "blocked")
        await world.simulator.say(ALICE, "Are you there?")
        behind = await shown_cause(wbot, f"+{ALICE.phone}", "earlier messages")
        first = world.rows("SELECT message_id FROM messages ORDER BY number")[0]["message_id"]
    assert "continues by itself once this is fixed" in cause
    assert "HTTP 401" in cause
    assert cause.endswith("`wbot check` shows what to fix.")
    assert f"`wbot why {first}` says why" in behind


async def test_a_paused_business_is_shown_with_how_to_resume(
    make_world: MakeWorld, wbot: Wbot, database_path: Path
) -> None:
    set_business(database_path, is_paused=True)
    async with make_world() as world:
        message_id = await world.simulator.say(ALICE, "Hello")
        cause = await shown_cause(wbot, message_id, "is paused")
        as_json = await asyncio.to_thread(wbot.json, "why", message_id)
    assert "`wbot business resume shop` lets them continue" in cause
    assert (as_json["stages"][-1]["stage"], as_json["stages"][-1]["detail"]) == ("no_reply", cause)


async def test_a_service_that_is_not_running_is_shown(
    make_world: MakeWorld, wbot: Wbot, database_path: Path
) -> None:
    set_business(database_path, is_paused=True)
    async with make_world() as world:
        await world.simulator.say(ALICE, "Hello")
    set_business(database_path, is_paused=False)
    cause = await shown_cause(wbot, f"+{ALICE.phone}", "No service is running")
    assert "`wbot serve`" in cause


async def old_message(world: World, hours: float) -> str:
    sent_at = Clock().now() - timedelta(hours=hours)
    return await world.simulator.say(ALICE, "Hello", sent_at=sent_at)


async def test_old_messages_are_shown_as_asked_about_or_out_of_the_window(
    make_world: MakeWorld, wbot: Wbot
) -> None:
    async with make_world() as world:
        expired = await shown_cause(wbot, await old_message(world, 25), "older than a day")
        asked = await shown_cause(wbot, await old_message(world, 2), "too old")
    assert "the customer has to write again" in expired
    assert "it continues when the customer taps the button" in asked


async def test_an_unknown_number_is_shown_with_how_to_add_it(
    make_world: MakeWorld, wbot: Wbot, database_path: Path
) -> None:
    set_business(database_path, phone_number_id="999")
    async with make_world() as world:
        await world.simulator.say(BOB, "Hello")
        cause = await shown_cause(wbot, f"+{BOB.phone}", "No business here has the phone number id")
    assert "phone_number_id=106500000000001" in cause
    assert "`wbot business add`" in cause


async def test_a_refused_signature_is_shown_with_what_to_check(
    make_world: MakeWorld, wbot: Wbot
) -> None:
    async with make_world() as world:
        headers = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
        url = f"{world.url}/api/webhook"
        async with world.session.post(url, data=b"{}", headers=headers) as answer:
            assert answer.status == 401
        ran = await asyncio.to_thread(wbot, "why", f"+{ALICE.phone}")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"wbot: No message from +{ALICE.phone} has arrived. {NOT_DELIVERED_HINT}\n"
    assert "code 401" in ran.err
    stopped = await asyncio.to_thread(wbot, "why", f"+{ALICE.phone}")
    assert "No service is running" in stopped.err


async def test_an_answered_customer_has_no_cause_but_where_to_look_for_a_newer_message(
    make_world: MakeWorld, wbot: Wbot
) -> None:
    async with make_world() as world:
        await world.ask(ALICE, "Hello")
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        ran = await asyncio.to_thread(wbot, "why", f"+{ALICE.phone}")
    assert "Why no reply" not in ran.out
    assert "It has its reply, and no later message arrived. If they wrote" in ran.out


# From rows alone ----------------------------------------------------------------------------------


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    connection = make_tx()
    yield connection
    connection.close()


@pytest.mark.parametrize("reason", SilenceReason)
def test_every_silence_is_shown_with_its_reason(
    tx: sqlite3.Connection, reason: SilenceReason
) -> None:
    make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    end_message(tx, "wamid.1", state=MessageState.SILENT, reason=reason, now=NOW)
    cause = cause_of(tx, "wamid.1", is_served=True) or ""
    assert cause.startswith("It gets no reply: ")
    assert cause.endswith("; no action needed.")


def test_a_failure_is_shown_with_its_retry_until_it_is_purged(tx: sqlite3.Connection) -> None:
    conversation_id = make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    end_message(tx, "wamid.1", state=MessageState.FAILED, reason="it broke", now=NOW)
    common = {"business_id": SHOP.id, "conversation_id": conversation_id}
    errors.add(tx, "It broke.", now=NOW, message_id="wamid.1", **common)  # type: ignore[arg-type]
    assert cause_of(tx, "wamid.1", is_served=True) == (
        "It failed for good: It broke; once the cause is fixed, `wbot errors retry 1` processes it "
        "again."
    )
    errors.purge(tx, after(1))
    assert "was purged" in (cause_of(tx, "wamid.1", is_served=True) or "")


def test_a_failed_attempt_is_shown_as_repeated(tx: sqlite3.Connection) -> None:
    conversation_id = make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    assert "Its turn has not ended yet" in (cause_of(tx, "wamid.1", is_served=True) or "")
    taken = journal.claim_conversation(tx, conversation_id, "wamid.1", after(1))
    detail = "The model endpoint failed."
    retry = TurnOutcome.RETRY
    journal.end(tx, "wamid.1", taken.epoch, outcome=retry, detail=detail, now=after(2))
    assert cause_of(tx, "wamid.1", is_served=True) == (
        "The last attempt failed and is repeated by itself: The model endpoint failed. If it keeps "
        "failing, `wbot check` shows what to fix."
    )


def answered(tx: sqlite3.Connection) -> int:
    """Store a message with its reply; returns the reply's outbox id."""
    conversation_id = make_message(tx, make_customer(tx, "15550101001"), "wamid.1")
    end_message(tx, "wamid.1", state=MessageState.ANSWERED, reason=None, now=NOW)
    outbox.add(
        tx,
        NewReply(
            business_id=SHOP.id,
            conversation_id=conversation_id,
            cause="message:wamid.1:0",
            part=0,
            message_id="wamid.1",
            reply_phone="15550101001",
            reply_user_id=None,
            content=Text("Hello"),
            created_at=NOW,
        ),
    )
    return int(tx.execute("SELECT max(id) FROM outbox").fetchone()[0])


def test_each_state_of_a_reply_that_did_not_arrive_has_its_words(tx: sqlite3.Connection) -> None:
    outbox_id = answered(tx)

    def cause() -> str | None:
        return cause_of(tx, "wamid.1", is_served=True)

    assert "stored and waits to be sent" in str(cause())
    assert "No service is running" in str(cause_of(tx, "wamid.1", is_served=False))
    attempt_id = outbox.open_attempt(tx, outbox_id, after(1)) or 0
    detail = "The access token of shop cannot be read: it is not set."
    outbox.close_attempt(tx, attempt_id, outcome=SendOutcome.NOT_SENT, now=after(2), detail=detail)
    outbox.wait_again(tx, outbox_id, after(3), counts=False)
    assert f"is repeated by itself: {detail} If it keeps failing" in str(cause())
    attempt_id = outbox.open_attempt(tx, outbox_id, after(4)) or 0
    outbox.close_attempt(tx, attempt_id, outcome=SendOutcome.UNKNOWN, now=after(5), detail="lost")
    outbox.become_unknown(tx, outbox_id)
    assert "It is unknown whether WhatsApp accepted the reply" in str(cause())
    outbox.accept(tx, outbox_id, "wamid.out", after(6))
    assert "has not reported it delivered" in str(cause())
    tx.execute("UPDATE outbox SET state = 'failed', error = 'Too late (code 131047)'")
    assert str(cause()).startswith("Too late (code 131047): WhatsApp does not deliver the reply")
    tx.execute("UPDATE outbox SET state = 'read'")
    assert cause() is None
