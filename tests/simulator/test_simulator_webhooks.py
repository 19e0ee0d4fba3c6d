"""The simulated Meta: signatures, deliveries, retries, and injected faults."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from simulator_harness import (
    ALICE,
    BOB,
    HIDDEN,
    SHOP,
    WAIT_S,
    Rig,
    make_simulator,
    running,
    text_to,
)

from wbot.clock import Clock
from wbot.domain.errors import RejectedError, RetryableError
from wbot.simulator.faults.plan import (
    Endpoint,
    Fault,
    Faults,
    dropped,
    rebatched,
    refused,
    reordered,
    repeated,
    silent,
    slow,
)
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.simulator import serve
from wbot.simulator.webhooks.samples import KINDS
from wbot.simulator.webhooks.wire import sign, to_wire

VECTOR = (
    rb'{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":'
    rb'{"t":"\u00e4 \ud83d\ude00 a\u0040b.c https:\/\/x.y"},"field":"messages"}]}]}'
)
VECTOR_SIGNATURE = "0d8aa150267d8760e4f3238360187e10ef231b036134885897b240c1c480e119"
NOW = Clock().now()
LONG_AGO = NOW - timedelta(hours=25)
CLOSED = SimulatedCustomer("Closed", "15550100004", wrote_at=LONG_AGO)
OPEN = SimulatedCustomer("Open", "15550100005", wrote_at=NOW - timedelta(hours=23))


@pytest.fixture(name="rig")
async def _rig() -> AsyncIterator[Rig]:
    async with running() as rig:
        yield rig


def texts(rig: Rig) -> list[str]:
    return [one["text"]["body"] for one in rig.target.messages]


def statuses(rig: Rig, wamid: str) -> list[dict[str, Any]]:
    return [one for one in rig.target.statuses if one["id"] == wamid]


def states(rig: Rig, wamid: str) -> list[str]:
    """In alphabetical order, because webhooks are delivered concurrently."""
    return sorted(one["status"] for one in statuses(rig, wamid))


def failures(rig: Rig, wamid: str) -> list[tuple[str, int]]:
    return [(one["status"], one["errors"][0]["code"]) for one in statuses(rig, wamid)]


def test_the_wire_form_escapes_as_meta_does() -> None:
    assert to_wire(json.loads(VECTOR)) == VECTOR
    assert json.loads(to_wire({"a": "\\/@é\n"})) == {"a": "\\/@é\n"}


def test_the_signature_is_over_the_bytes_of_the_wire() -> None:
    assert sign(VECTOR, "wbot-test-secret") == f"sha256={VECTOR_SIGNATURE}"


async def test_a_text_arrives_signed_in_metas_shape(rig: Rig) -> None:
    sent_at = NOW - timedelta(minutes=2)
    message_id = await rig.simulator.say(ALICE, "Grüße an a@b.c", sent_at=sent_at)
    await rig.quiet()
    assert rb"Gr\u00fc\u00dfe an a\u0040b.c" in rig.target.raw[0]
    message = {
        "from": ALICE.phone,
        "from_user_id": ALICE.user_id,
        "id": message_id,
        "timestamp": str(int(sent_at.timestamp())),
        "type": "text",
        "text": {"body": "Grüße an a@b.c"},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {
            "display_phone_number": SHOP.display_phone_number,
            "phone_number_id": SHOP.phone_number_id,
        },
        "contacts": [
            {"profile": {"name": "Alice"}, "wa_id": ALICE.phone, "user_id": ALICE.user_id}
        ],
        "messages": [message],
    }
    entry = {"id": SHOP.waba_id, "changes": [{"value": value, "field": "messages"}]}
    assert rig.target.bodies == [{"object": "whatsapp_business_account", "entry": [entry]}]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_message_can_be_sent(rig: Rig, kind: str) -> None:
    message_id = await rig.simulator.send_inbound("Alice", kind)
    await rig.quiet()
    (message,) = rig.target.messages
    assert message["id"] == message_id
    bodiless = {"request_welcome", "unknown", "unsupported"}
    assert message["type"] in message or message["type"] in bodiless
    if message["type"] in {"image", "video", "audio", "document", "sticker"}:
        assert message[message["type"]]["url"].startswith(rig.simulator.base_url)


@pytest.mark.parametrize("kind", ["button_reply", "list_reply", "flow_reply", "button"])
async def test_an_answer_names_the_message_it_answers(rig: Rig, kind: str) -> None:
    await rig.simulator.send_inbound(ALICE, kind)
    await rig.quiet()
    context = rig.target.messages[0]["context"]
    assert context["from"] == SHOP.display_phone_number
    assert context["id"].startswith("wamid.")


async def test_a_change_of_a_hidden_number_has_only_the_user_ids(rig: Rig) -> None:
    await rig.simulator.send_inbound(HIDDEN, "system")
    await rig.quiet()
    (message,) = rig.target.messages
    assert message["system"]["type"] == "user_changed_user_id"
    assert message["system"]["previous_user_id"] == HIDDEN.user_id
    assert "wa_id" not in message["system"]
    assert "from" not in message
    assert "contacts" not in rig.target.values[0]


async def test_a_hidden_phone_leaves_its_fields_out(rig: Rig) -> None:
    await rig.simulator.say(HIDDEN, "Hello")
    await rig.quiet()
    assert "from" not in rig.target.messages[0]
    assert rig.target.values[0]["contacts"] == [
        {"profile": {"name": "Hidden"}, "user_id": "US.1009"}
    ]


async def test_a_webhook_is_repeated_until_it_is_answered_200(rig: Rig) -> None:
    rig.target.answers = [503, 201]
    message_id = await rig.simulator.say(ALICE, "Hello")
    await rig.quiet()
    assert texts(rig) == ["Hello"] * 3
    assert len(set(rig.target.raw)) == 1
    (delivery,) = rig.simulator.deliveries
    assert delivery.ids == (message_id,)
    assert [one.status for one in delivery.attempts] == [503, 201, 200]
    assert all(one.ms > 0 for one in delivery.attempts)


async def test_the_first_repetition_is_immediate_and_the_last_wait_repeats() -> None:
    waits: list[float] = []

    class Impatient(Clock):
        async def sleep(self, seconds: float) -> None:
            waits.append(seconds)
            await super().sleep(0)

    async with running(clock=Impatient(), retry_delays_s=(0.0, 1.0, 5.0)) as rig:
        rig.target.answers = [500] * 5
        await rig.simulator.say(ALICE, "Hello")
        await rig.quiet()
    assert waits == [1.0, 5.0, 5.0, 5.0]


async def test_without_retry_delays_a_webhook_is_tried_once() -> None:
    async with running(retry_delays_s=()) as rig:
        rig.target.answers = [500]
        await rig.simulator.say(ALICE, "Hello")
        await rig.quiet()
        assert [len(one.attempts) for one in rig.simulator.deliveries] == [1]


async def test_deliveries_wait_for_a_webhook_url(rig: Rig) -> None:
    rig.simulator.webhook_url = None
    await rig.simulator.say(ALICE, "Hello")
    rig.simulator.webhook_url = rig.target.url
    await rig.quiet()
    assert texts(rig) == ["Hello"]


async def test_a_send_is_followed_by_its_statuses_with_the_opaque_value(rig: Rig) -> None:
    await rig.simulator.say(ALICE, "Hello")
    wamid = await rig.graph.send(biz_opaque_callback_data="attempt-7")
    await rig.quiet()
    found = statuses(rig, wamid)
    assert {one["biz_opaque_callback_data"] for one in found} == {"attempt-7"}
    assert {(one["recipient_id"], one["recipient_user_id"]) for one in found} == {
        (ALICE.phone, ALICE.user_id)
    }
    priced = {one["status"]: "pricing" in one for one in found}
    assert priced == {"sent": True, "delivered": True, "read": False}
    assert not any("conversation" in one for one in found)
    values = [value for value in rig.target.values if "statuses" in value]
    assert values[0]["contacts"] == [{"wa_id": ALICE.phone, "user_id": ALICE.user_id}]


async def test_outside_the_window_a_send_is_accepted_and_fails(rig: Rig) -> None:
    await rig.simulator.say(ALICE, "Hello", sent_at=LONG_AGO)
    wamid = await rig.graph.send(ALICE)
    await rig.quiet()
    assert failures(rig, wamid) == [("failed", 131047)]
    assert "contacts" not in rig.target.values[-1]
    template = {"type": "template", "template": {"name": "a", "language": {"code": "en"}}}
    payload = {name: value for name, value in text_to(ALICE).items() if name != "text"}
    _, answer = await rig.graph.post(payload | template)
    await rig.quiet()
    assert "sent" in states(rig, answer["messages"][0]["id"])


async def test_a_customer_may_have_written_before_the_simulator_started() -> None:
    async with running(customers=[OPEN, CLOSED]) as rig:
        good, late = await rig.graph.send(OPEN), await rig.graph.send(CLOSED)
        await rig.quiet()
        assert "sent" in states(rig, good)
        assert failures(rig, late) == [("failed", 131047)]


async def test_an_unknown_number_gets_a_failed_status(rig: Rig) -> None:
    wamid = await rig.graph.send(SimulatedCustomer("Nobody", "15550109999"))
    await rig.quiet()
    assert failures(rig, wamid) == [("failed", 131026)]


async def test_a_stranger_in_a_delivered_body_can_be_answered(rig: Rig) -> None:
    message = {"from": "15550108888", "id": "wamid.s", "timestamp": "9" * 400, "type": "text"}
    value = {"metadata": {"phone_number_id": SHOP.phone_number_id}, "messages": [message]}
    body = {"object": "whatsapp_business_account", "entry": [{"changes": [{"value": value}]}]}
    result = await rig.simulator.deliver(body)
    assert (result.status, result.acknowledged) == (200, True)
    stranger = rig.simulator.customer("15550108888")
    wamid = await rig.graph.send(stranger)
    await rig.quiet()
    assert "sent" in states(rig, wamid)


@pytest.mark.parametrize("odd", [b"null", b"[1]", b'{"entry":{}}', b'{"entry":[{"changes":3}]}'])
async def test_odd_bodies_are_delivered_as_they_are(rig: Rig, odd: bytes) -> None:
    await rig.simulator.say(ALICE, "Hello")
    await rig.quiet()
    rig.target.answers = [400]
    assert (await rig.simulator.deliver(odd)).status == 400
    assert rig.target.raw[-1] == odd


async def test_a_reaction_is_only_ever_sent(rig: Rig) -> None:
    message_id = await rig.simulator.say(ALICE, "Hello")
    payload = {name: value for name, value in text_to(ALICE).items() if name != "text"}
    wamids = []
    for target in (message_id, "wamid.unknown"):
        reaction = {"type": "reaction", "reaction": {"message_id": target, "emoji": "👍"}}
        _, answer = await rig.graph.post(payload | reaction)
        wamids.append(answer["messages"][0]["id"])
    await rig.quiet()
    assert states(rig, wamids[0]) == ["sent"]
    assert failures(rig, wamids[1]) == [("failed", 131009)]


async def test_a_message_is_read_once_when_the_phone_shows_it() -> None:
    async with running(status_delays_s=(0.0, 0.0, None)) as rig:
        await rig.simulator.say(ALICE, "Hello")
        wamid = await rig.graph.send()
        await rig.quiet()
        assert states(rig, wamid) == ["delivered", "sent"]
        rig.simulator.read([wamid, "wamid.unknown"])
        rig.simulator.read([wamid])
        await rig.quiet()
        assert states(rig, wamid) == ["delivered", "read", "sent"]


async def test_a_message_shown_before_its_delivery_is_read_after_it() -> None:
    async with running(status_delays_s=(0.0, 0.05, None)) as rig:
        await rig.simulator.say(ALICE, "Hello")
        wamid = await rig.graph.send()
        rig.simulator.read([wamid])
        await rig.quiet()
        assert states(rig, wamid) == ["delivered", "read", "sent"]


@pytest.mark.parametrize("at_once", [False, True])
async def test_webhooks_can_come_three_times(rig: Rig, at_once: bool) -> None:
    rig.faults.add(Endpoint.WEBHOOK, repeated(3, at_once=at_once))
    await rig.simulator.say(ALICE, "Hello")
    await rig.simulator.say(BOB, "Hi")
    await rig.quiet()
    assert sorted(texts(rig)) == ["Hello"] * 3 + ["Hi"]


async def test_webhooks_can_come_out_of_order(rig: Rig) -> None:
    rig.faults.add(Endpoint.WEBHOOK, reordered())
    await rig.simulator.say(ALICE, "First")
    await rig.simulator.say(ALICE, "Second")
    await rig.quiet()
    assert texts(rig) == ["Second", "First"]


async def test_webhooks_can_come_in_one_body(rig: Rig) -> None:
    rig.faults.add(Endpoint.WEBHOOK, rebatched(), rebatched())
    for text in ("First", "Second", "Third"):
        await rig.simulator.say(ALICE, text)
    await rig.quiet()
    assert len(rig.target.bodies) == 1
    assert texts(rig) == ["First", "Second", "Third"]
    assert len(rig.target.values[0]["contacts"]) == 1


async def test_a_repetition_can_be_grouped_differently(rig: Rig) -> None:
    rig.faults.add(Endpoint.WEBHOOK, rebatched(after_alone=True))
    await rig.simulator.say(ALICE, "First")
    await rig.target.until(lambda: texts(rig) == ["First"])
    await rig.simulator.say(ALICE, "Second")
    await rig.quiet()
    assert texts(rig) == ["First", "First", "Second"]
    assert len(rig.target.bodies) == 2


async def test_a_held_webhook_that_nothing_follows_comes_alone(rig: Rig) -> None:
    rig.faults.add(Endpoint.WEBHOOK, reordered())
    await rig.simulator.say(ALICE, "Only")
    await rig.quiet()
    assert texts(rig) == ["Only"]


async def test_webhooks_can_be_late_or_never_come(rig: Rig) -> None:
    rig.faults.add(Endpoint.WEBHOOK, slow(0.1), silent())
    for text in ("Late", "Lost", "Prompt"):
        await rig.simulator.say(ALICE, text)
    await rig.quiet()
    assert texts(rig) == ["Prompt", "Late"]


async def test_statuses_can_be_repeated_lost_and_turned_into_failures(rig: Rig) -> None:
    await rig.simulator.say(ALICE, "Hello")
    rig.faults.add(Endpoint.STATUS, repeated(2), silent(about="delivered"))
    wamid = await rig.graph.send()
    await rig.quiet()
    assert states(rig, wamid) == ["read", "sent", "sent"]
    rig.faults.add(Endpoint.STATUS, refused(400, 131026, "Message undeliverable"))
    wamid = await rig.graph.send()
    await rig.quiet()
    assert failures(rig, wamid) == [("failed", 131026)]


async def test_after_an_outage_the_backlog_comes_in_batches(rig: Rig) -> None:
    rig.simulator.hold_webhooks()
    for number in range(5):
        await rig.simulator.say(ALICE, str(number))
    await rig.quiet()
    assert rig.target.bodies == []
    rig.simulator.release_webhooks(updates_max=2)
    await rig.quiet()
    counts = [len(value["messages"]) for value in rig.target.values]
    assert sorted(counts) == [1, 2, 2]
    assert sorted(texts(rig)) == ["0", "1", "2", "3", "4"]


async def test_one_body_can_hold_several_accounts_numbers_and_kinds() -> None:
    branch = SimulatedBusiness("106500000000002", SHOP.waba_id, "15550100010", "Branch")
    other = SimulatedBusiness("106500000000003", "206500000000003", "15550100011", "Other")
    async with running(businesses=[SHOP, branch, other]) as rig:
        rig.simulator.hold_webhooks()
        for business in (SHOP, branch, other):
            await rig.simulator.say(ALICE, business.name, business=business)
        await rig.graph.send()
        await rig.quiet()
        rig.simulator.release_webhooks()
        await rig.quiet()
        (body,) = rig.target.bodies
        assert [entry["id"] for entry in body["entry"]] == [SHOP.waba_id, other.waba_id]
        assert [len(entry["changes"]) for entry in body["entry"]] == [3, 1]
        assert texts(rig) == ["The Shop", "Branch", "Other"]
        assert len(rig.target.statuses) == 3


async def test_a_tap_answers_the_message_it_belongs_to(rig: Rig) -> None:
    await rig.simulator.say(ALICE, "Hello")
    row = {"id": "a", "title": "A", "description": "The first"}
    action = {"button": "Choose", "sections": [{"title": "All", "rows": [row]}]}
    listed = {"type": "list", "body": {"text": "Which?"}, "action": action}
    payload = {name: value for name, value in text_to(ALICE).items() if name != "text"}
    _, answer = await rig.graph.post(payload | {"type": "interactive", "interactive": listed})
    wamid = answer["messages"][0]["id"]
    await rig.simulator.tap(ALICE, "a", "A", wamid)
    await rig.simulator.tap(ALICE, "yes", "Yes", "wamid.unknown")
    await rig.quiet()
    _, listed_reply, button_reply = rig.target.messages
    assert listed_reply["interactive"] == {"type": "list_reply", "list_reply": row}
    assert listed_reply["context"] == {"from": SHOP.display_phone_number, "id": wamid}
    assert button_reply["interactive"]["button_reply"] == {"id": "yes", "title": "Yes"}


async def test_a_tap_on_a_template_is_a_button_message(rig: Rig) -> None:
    payload = {name: value for name, value in text_to(ALICE).items() if name != "text"}
    template = {"type": "template", "template": {"name": "a", "language": {"code": "en"}}}
    _, answer = await rig.graph.post(payload | template)
    await rig.simulator.tap(ALICE, "stop", "Stop", answer["messages"][0]["id"])
    await rig.quiet()
    assert rig.target.messages[0]["button"] == {"payload": "stop", "text": "Stop"}


async def test_the_handshake_needs_the_bare_challenge(rig: Rig) -> None:
    await rig.simulator.handshake()
    rig.target.challenge_suffix = "\n"
    with pytest.raises(RejectedError):
        await rig.simulator.handshake()
    rig.simulator.webhook_url = rig.simulator.base_url + "/nothing"
    with pytest.raises(RejectedError, match="404"):
        await rig.simulator.handshake()
    rig.simulator.webhook_url = "http://127.0.0.1:1/"
    with pytest.raises(RetryableError):
        await rig.simulator.handshake()


async def test_an_unreachable_target_is_reported_without_a_status(rig: Rig) -> None:
    rig.simulator.webhook_url = "http://127.0.0.1:1/"
    result = await rig.simulator.deliver({})
    assert (result.status, result.acknowledged) == (None, False)
    assert "ClientConnectorError" in result.error


async def test_waiting_ends_with_what_is_waited_for_or_a_timeout(rig: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        sends = group.create_task(rig.simulator.wait_for_sends(2, timeout_s=WAIT_S))
        second = group.create_task(
            rig.simulator.wait_for_reply_to("Alice", after=1, timeout_s=WAIT_S)
        )
        await rig.graph.send(ALICE, "One")
        await rig.graph.send(BOB, "Two")
        await rig.graph.send(ALICE, "Three")
    assert [one.text for one in sends.result()][:2] == ["One", "Two"]
    assert second.result().text == "Three"
    with pytest.raises(TimeoutError):
        await rig.simulator.wait_for_sends(4, timeout_s=0.05)
    rig.simulator.webhook_url = None
    await rig.simulator.say(ALICE, "Hello")
    with pytest.raises(TimeoutError):
        await rig.simulator.wait_until_quiet(timeout_s=0.05)


async def test_nothing_is_delivered_before_the_simulator_runs() -> None:
    simulator = make_simulator(webhook_url="http://127.0.0.1:1/")
    with pytest.raises(RuntimeError, match="not running"):
        await simulator.say(ALICE, "Hello")
    with pytest.raises(RuntimeError, match="not running"):
        await simulator.deliver({})


async def test_stopping_does_not_wait_for_retries_silent_calls_or_open_pages() -> None:
    simulator = make_simulator(retry_delays_s=(60.0,), webhook_url="http://127.0.0.1:1/")
    simulator.faults.add(Endpoint.SEND, silent())
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        async with serve(simulator) as base_url:
            await simulator.say(ALICE, "Hello")
            page = await session.get(f"{base_url}/phone/events")
            await page.content.readline()
            url = f"{base_url}/v26.0/{SHOP.phone_number_id}/messages"
            call = group.create_task(_fails(session, url))
            await simulator.until(lambda: len(simulator.send_attempts) == 1, timeout_s=WAIT_S)
            stopping_at = loop.time()
        assert loop.time() - stopping_at < 1.5
        await call
        page.close()


async def _fails(session: aiohttp.ClientSession, url: str) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.post(url, json=text_to(ALICE))


async def test_the_same_seed_gives_the_same_ids() -> None:
    ids = []
    for seed in (1, 1, 2):
        async with running(seed=seed) as rig:
            ids.append(await rig.simulator.say(ALICE, "Hello"))
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("wamid.HBg")


def drawn(seed: int) -> list[Fault | None]:
    faults = Faults(seed=seed)
    faults.at_random(Endpoint.SEND, 0.5, [dropped(), dropped(acts=True), refused(500, 131000)])
    return [faults.next_fault(Endpoint.SEND, "") for _ in range(50)]


def test_a_random_plan_repeats_from_its_seed() -> None:
    assert drawn(7) == drawn(7) != drawn(8)
    assert 10 < sum(one is None for one in drawn(7)) < 40


def test_scripted_faults_strike_before_lasting_ones_and_each_once() -> None:
    faults = Faults()
    changes: list[None] = []
    faults.listeners.append(lambda: changes.append(None))
    faults.always(Endpoint.MODEL, slow(5))
    faults.add(Endpoint.MODEL, refused(429, 0, about="Bob"), dropped())
    assert faults.next_fault(Endpoint.MODEL, "Alice") == dropped()
    assert faults.next_fault(Endpoint.MODEL, "Alice") == slow(5)
    assert faults.waiting(Endpoint.MODEL) == (refused(429, 0, about="Bob"),)
    faults.remove(Endpoint.MODEL, refused(429, 0, about="Bob"))
    assert faults.next_fault(Endpoint.MODEL, "Bob") == slow(5)
    faults.clear()
    assert faults.next_fault(Endpoint.MODEL, "Bob") is None
    assert len(changes) == 5


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        (Endpoint.SEND, repeated(2)),
        (Endpoint.WEBHOOK, dropped()),
        (Endpoint.WEBHOOK, refused(500, 1)),
        (Endpoint.MODEL, reordered()),
    ],
)
def test_a_fault_that_an_endpoint_cannot_have_is_refused(endpoint: Endpoint, fault: Fault) -> None:
    with pytest.raises(ValueError, match="cannot go wrong by"):
        Faults().add(endpoint, fault)
