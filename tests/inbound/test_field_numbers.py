"""Numbers as the field has them: two spellings, the business's own, one added later."""

import json
import sqlite3
from typing import Any

import pytest
from conftest import ALICE, WAIT_S, Ahead, MakeWorld, make_simulator
from db_factories import SHOP, STARTED_AT, give, make_tx
from test_webhook import envelope, now_s, post, text

from wbot.admin import customer_lookup, waiting_messages
from wbot.clock import later, to_text
from wbot.domain.business import Business
from wbot.inbound.intake import Recorded, record
from wbot.inbound.webhook_parser import parse_payload
from wbot.storage import accounts, businesses, customers, echoes, messages

TYPED, WHATSAPPS = "5511987654321", "551187654321"


@pytest.fixture
def tx() -> sqlite3.Connection:
    return make_tx()


def came(
    tx: sqlite3.Connection,
    sender: str,
    message_id: str = "wamid.1",
    *,
    age_s: float = 0,
    **more: Any,
) -> Recorded:
    said = {"from": sender, "id": message_id, "type": "text", "text": {"body": "Hello"}}
    sent_at = later(STARTED_AT, -age_s)
    body = envelope(said | {"timestamp": str(int(sent_at.timestamp()))} | more, number="999")
    if more.get("known", True):
        body["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = (
            SHOP.phone_number_id
        )
    raw = json.dumps(body).encode()
    return record(tx, parse_payload(raw), body=raw, now=STARTED_AT, installation="i")


def test_a_deposit_by_one_spelling_is_found_by_whatsapps_and_the_operator_is_told(
    tx: sqlite3.Connection,
) -> None:
    now = to_text(STARTED_AT)
    person = customer_lookup.find_or_create(tx, SHOP, f"+{TYPED}", now)
    give(tx, person.customer_id, 5_000)
    came(tx, WHATSAPPS, from_user_id="BR.1")
    assert customers.find_sender(tx, SHOP.id, phone=WHATSAPPS, user_id="BR.1") == person.customer_id
    found = customer_lookup.required(tx, SHOP, TYPED)
    assert (found.customer_id, found.other_spelling) == (person.customer_id, WHATSAPPS)
    assert customers.phone_of(tx, person.customer_id) == WHATSAPPS
    assert (
        "other spelling" in tx.execute("SELECT error_message FROM processing_errors").fetchone()[0]
    )
    account = accounts.of_customer(tx, SHOP.id, person.customer_id)
    assert accounts.balance(tx, account).available_minor == 5_000
    assert tx.execute("SELECT count(*) FROM customers").fetchone()[0] == 1


def test_a_message_from_the_businesss_own_number_is_no_customers(tx: sqlite3.Connection) -> None:
    (accepted,) = came(tx, "15550100001").accepted
    assert (accepted.reason, accepted.conversation_id) == ("own_number", None)
    assert tx.execute("SELECT count(*) FROM customers").fetchone()[0] == 0


def test_messages_wait_a_day_for_their_business(tx: sqlite3.Connection) -> None:
    came(tx, ALICE.phone or "", "wamid.1", age_s=3_600, known=False)
    came(tx, ALICE.phone or "", "wamid.2", age_s=60, known=False)
    came(tx, ALICE.phone or "", "wamid.3", age_s=25 * 3_600, known=False)
    added = Business(
        id="new", name="New", phone_number_id="999", access_token="t", currency_code="USD"
    )
    businesses.add(tx, added, to_text(STARTED_AT))
    taken = waiting_messages.take_up(tx, added, to_text(STARTED_AT))
    assert (taken.waiting, taken.too_old) == (2, 1)
    conversation = tx.execute("SELECT id FROM conversations").fetchone()[0]
    waiting = [row.message_id for row in messages.in_line(tx, ("", ""), 10)]
    assert waiting == ["wamid.1", "wamid.2"]
    assert messages.next_of(tx, conversation) is not None
    old = messages.by_id(tx, "wamid.3")
    assert old is not None
    assert (old.state, old.reason) == ("silent", "window_closed")
    assert waiting_messages.take_up(tx, added, to_text(STARTED_AT)).sentence == ""


def echo(body: str, message_id: str = "wamid.echo.1") -> dict[str, Any]:
    said = {"type": "text", "text": {"body": body}}
    one = {"from": "15550100001", "to": ALICE.phone, "id": message_id, "timestamp": now_s(), **said}
    whole = envelope()
    change = whole["entry"][0]["changes"][0]
    change["field"] = "smb_message_echoes"
    del change["value"]["messages"]
    change["value"]["message_echoes"] = [one]
    return whole


async def test_the_model_is_silent_until_a_while_after_the_owners_words(
    make_world: MakeWorld,
) -> None:
    simulator, clock = make_simulator(), Ahead()
    async with make_world(simulator=simulator, clock=clock) as world:
        for _ in range(2):  # Meta repeats itself
            assert await post(world, echo("This is Maria, I will see to it.")) == 200
        assert world.rows("SELECT count(*) AS n FROM echoes") == [{"n": 1}]
        await simulator.say(ALICE, "Thank you!")
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        while not (ended := world.rows("SELECT state, reason FROM messages WHERE ended_at > ''")):
            await world.health_of(200)
        assert ended == [{"state": "silent", "reason": "owner_writes"}]
        clock.ahead_s += 1_801
        simulator.responder = lambda _: "Yes?"
        message = text("wamid.9", "Hello again")
        message["timestamp"] = str(int(clock.now().timestamp()))
        assert await post(world, envelope(message)) == 200
        await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        prompt = simulator.completions[-1]["messages"]
        said = [(one["role"], one["content"]) for one in prompt if one["role"] != "system"]
        assert said == [
            ("user", "[The business wrote first: This is Maria, I will see to it.]"),
            ("user", "Thank you!"),
            ("user", "Hello again"),
        ]


def test_an_echo_to_nobody_known_is_kept_raw(tx: sqlite3.Connection) -> None:
    raw = json.dumps(echo("Hi") | {"x": 1}).replace("106500000000001", "77").encode()
    record(tx, parse_payload(raw), body=raw, now=STARTED_AT, installation="i")
    assert tx.execute("SELECT count(*) FROM webhooks").fetchone()[0] == 1
    assert echoes.owner_spoke_at(tx, 1) is None
