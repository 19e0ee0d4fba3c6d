"""The phone page's server side: its files, its live events, its controls."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from simulator_harness import ALICE, BOB, HIDDEN, SHOP, WAIT_S, Rig, running, text_to

from wbot.simulator.faults.plan import Endpoint
from wbot.simulator.people import SimulatedCustomer
from wbot.simulator.phone.routes import EVENTS_WAITING_MAX, Pages

CHAT = f"{ALICE.key}|{SHOP.phone_number_id}"
BETWEEN = {"customer": ALICE.key, "business": SHOP.phone_number_id}


@pytest.fixture(name="rig")
async def _rig() -> AsyncIterator[Rig]:
    async with running(status_delays_s=(0.0, 0.0, None)) as rig:
        yield rig


class Page:
    """An open page without a browser: its stream of events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> tuple[str, dict[str, Any]]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(WAIT_S):
            while line := (await self.response.content.readline()).decode().strip():
                name, _, value = line.partition(": ")
                fields[name] = value
        return fields["event"], json.loads(fields["data"])

    async def until(self, event: str, **expected: Any) -> dict[str, Any]:
        """The next event of this name with these fields."""
        while True:
            name, data = await self.next()
            if name == event and expected.items() <= data.items():
                return data

    async def switched_on(self) -> int:
        """How many faults the next event shows as on."""
        shown = await self.until("troubles")
        return sum(one["on"] for one in shown["troubles"])


@asynccontextmanager
async def opened(rig: Rig) -> AsyncIterator[Page]:
    async with rig.graph.session.get(f"{rig.graph.base_url}/phone/events") as response:
        assert response.content_type == "text/event-stream"
        yield Page(response)


async def control(rig: Rig, name: str, body: Any, **arguments: Any) -> tuple[int, Any]:
    url = f"{rig.graph.base_url}/phone/{name}"
    async with rig.graph.session.post(url, json=body, **arguments) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/phone/phone.js", "text/javascript"),
        ("/phone/bubbles.js", "text/javascript"),
        ("/phone/phone.css", "text/css"),
    ],
)
async def test_the_page_loads_nothing_from_elsewhere(
    rig: Rig, path: str, content_type: str
) -> None:
    async with rig.graph.session.get(rig.graph.base_url + path) as response:
        text = await response.text()
    assert (response.status, response.content_type) == (200, content_type)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    outside = [word for word in text.split() if "//" in word and "http" in word]
    assert all("w3.org" in word or "https?:" in word for word in outside), outside


async def test_an_opened_page_gets_the_state_and_then_each_change(rig: Rig) -> None:
    async with opened(rig) as page:
        name, state = await page.next()
        assert name == "everything"
        assert [one["name"] for one in state["customers"]] == ["Alice", "Bob", "Hidden"]
        assert [one["name"] for one in state["businesses"]] == ["The Shop"]
        assert (state["bubbles"], state["typing"]) == ([], {})
        _, answer = await control(rig, "say", BETWEEN | {"text": "Hello"})
        message_id = answer["message_id"]
        bubble = await page.until("bubble", id=message_id)
        assert (bubble["chat"], bubble["mine"], bubble["state"]) == (CHAT, True, "sent")
        await page.until("state", id=message_id, state="delivered")
        mark = {"messaging_product": "whatsapp", "status": "read", "message_id": message_id}
        await rig.graph.post(mark | {"typing_indicator": {"type": "text"}})
        await page.until("state", id=message_id, state="read")
        assert (await page.until("typing", chat=CHAT))["ms"] == 25_000
        wamid = await rig.graph.send(ALICE, "Hello Alice")
        assert (await page.until("bubble", id=wamid))["state"] == "sending"
        await page.until("state", id=wamid, state="delivered")
        await control(rig, "read", {"wamids": [wamid]})
        await page.until("state", id=wamid, state="read")


async def test_a_reloaded_page_sees_the_chat_as_it_stands(rig: Rig) -> None:
    first = await rig.simulator.say(ALICE, "Hello")
    second = await rig.simulator.say(ALICE, "Are you there?")
    await rig.quiet()
    mark = {"messaging_product": "whatsapp", "status": "read", "message_id": first}
    await rig.graph.post(mark | {"typing_indicator": {"type": "text"}})
    wamid = await rig.graph.send(BOB, "Hello Bob")
    await rig.quiet()
    async with opened(rig) as page:
        _, state = await page.next()
    assert {one["id"]: one["state"] for one in state["bubbles"]} == {
        first: "read",
        second: "delivered",
        wamid: "failed",
    }
    assert 20_000 < state["typing"][CHAT] <= 25_000
    (failed,) = (one for one in state["bubbles"] if one["id"] == wamid)
    assert "24 hours" in failed["reason"]


async def test_an_unacknowledged_message_keeps_its_single_tick(rig: Rig) -> None:
    rig.target.answers = [500] * 3
    message_id = await rig.simulator.say(ALICE, "Hello")
    async with opened(rig) as page:
        _, state = await page.next()
        assert [one["state"] for one in state["bubbles"]] == ["sent"]
        await page.until("state", id=message_id, state="delivered")
    assert len(rig.target.bodies) == 4


async def test_reactions_go_to_their_bubble(rig: Rig) -> None:
    message_id = await rig.simulator.say(ALICE, "Hello")
    wamid = await rig.graph.send(ALICE)
    await rig.quiet()
    payload = {name: value for name, value in text_to(ALICE).items() if name != "text"}
    reaction = {"message_id": message_id, "emoji": "👍"}
    async with opened(rig) as page:
        await rig.graph.post(payload | {"type": "reaction", "reaction": reaction})
        assert (await page.until("state", id=message_id))["reaction"] == "👍"
        theirs = {"type": "reaction", "reaction": {"message_id": wamid, "emoji": "🎉"}}
        await rig.simulator.send_inbound(ALICE, theirs)
        assert (await page.until("state", id=wamid))["reaction"] == "🎉"


async def test_pictures_voice_notes_and_places_can_be_attached(rig: Rig) -> None:
    for kind in ("image", "voice", "location"):
        status, _ = await control(rig, "attach", BETWEEN | {"kind": kind})
        assert status == 200
    await rig.quiet()
    assert [one["type"] for one in rig.target.messages] == ["image", "audio", "location"]
    url = f"{rig.graph.base_url}/phone/media/{rig.target.messages[0]['image']['id']}"
    async with rig.graph.session.get(url) as response:
        assert (await response.read()).startswith(b"\x89PNG")
    async with rig.graph.session.get(f"{rig.graph.base_url}/phone/media/7") as response:
        assert response.status == 404


async def test_a_tap_on_the_page_becomes_a_button_reply(rig: Rig) -> None:
    fields = BETWEEN | {"wamid": "wamid.x", "id": "yes", "title": "Yes"}
    await control(rig, "tap", fields)
    await rig.quiet()
    assert rig.target.messages[0]["interactive"]["button_reply"]["title"] == "Yes"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("say", BETWEEN | {"text": "  "}),
        ("say", BETWEEN),
        ("say", BETWEEN | {"customer": "Nobody", "text": "Hello"}),
        ("say", BETWEEN | {"business": "7", "text": "Hello"}),
        ("attach", BETWEEN | {"kind": "hologram"}),
        ("trouble", {"name": "flood", "wanted": True}),
        ("read", []),
    ],
)
async def test_a_control_that_makes_no_sense_is_a_bad_request(
    rig: Rig, name: str, body: Any
) -> None:
    status, answer = await control(rig, name, body)
    assert status == 400
    assert answer["error"]
    assert rig.target.bodies == []


async def test_another_sites_form_cannot_press_the_buttons(rig: Rig) -> None:
    url = f"{rig.graph.base_url}/phone/say"
    headers = {"Content-Type": "text/plain"}
    async with rig.graph.session.post(url, data=b"{}", headers=headers) as response:
        assert response.status == 415


async def test_trouble_is_caused_shown_and_ended(rig: Rig) -> None:
    async with opened(rig) as page:
        for name in ("webhooks", "model", "refusal", "response"):
            await control(rig, "trouble", {"name": name, "wanted": True})
        while await page.switched_on() < 4:
            pass
        await rig.simulator.say(ALICE, "Hello")
        await rig.quiet()
        assert len(rig.target.messages) == 3
        assert (await rig.graph.post(text_to(ALICE)))[1]["error"]["code"] == 130429
        with pytest.raises(aiohttp.ClientConnectionError):
            await rig.graph.post(text_to(ALICE))
        await rig.graph.send(ALICE)
        await rig.quiet()
        assert len(rig.target.statuses) == 2 * 2 * 3
        for name in ("webhooks", "model"):
            await control(rig, "trouble", {"name": name, "wanted": False})
        while await page.switched_on() > 0:
            pass
    assert rig.faults.next_fault(Endpoint.WEBHOOK, "") is None


def test_a_page_that_does_not_keep_up_is_cut_off() -> None:
    pages = Pages()
    slow, quick = pages.open(), pages.open()
    for number in range(EVENTS_WAITING_MAX + 1):
        pages.publish("bubble", {"number": number})
        quick.get_nowait()
    assert slow.get_nowait() is None
    assert slow.empty()
    assert quick.empty()
    pages.publish("bubble", {})
    assert (slow.qsize(), quick.qsize()) == (0, 1)


async def test_messages_to_strangers_open_no_chat(rig: Rig) -> None:
    await rig.graph.send(SimulatedCustomer("Nobody", "15550109999"))
    await rig.simulator.say(HIDDEN, "Hello")
    await rig.quiet()
    async with opened(rig) as page:
        _, state = await page.next()
    assert [one["chat"] for one in state["bubbles"]] == [f"{HIDDEN.key}|{SHOP.phone_number_id}"]
