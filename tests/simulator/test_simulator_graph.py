"""The simulated Cloud API: what it accepts, what it refuses, and with which code."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from simulator_harness import ACCESS_TOKEN, ALICE, BOB, HIDDEN, SHOP, Rig, running, text_to

from wbot.simulator.call_log import Outcome
from wbot.simulator.faults.plan import Endpoint, dropped, garbled, refused, silent, slow
from wbot.simulator.people import SimulatedBusiness


@pytest.fixture(name="rig")
async def _rig() -> AsyncIterator[Rig]:
    async with running() as rig:
        yield rig


def interactive(kind: str = "button", **parts: Any) -> dict[str, Any]:
    body = {"type": kind, "body": {"text": "Sure?"}, "action": {"buttons": [button()]}}
    return {"interactive": body | parts, "type": "interactive"}


def button(id_: str = "yes", title: str = "Yes") -> dict[str, Any]:
    return {"type": "reply", "reply": {"id": id_, "title": title}}


def rows_of(*rows: dict[str, Any], **section: Any) -> dict[str, Any]:
    action = {"button": "Choose", "sections": [{"title": "All", "rows": list(rows)} | section]}
    return interactive("list", action=action)


def cta(**parameters: Any) -> dict[str, Any]:
    shown = {"display_text": "Open", "url": "https://example.com"} | parameters
    return interactive("cta_url", action={"name": "cta_url", "parameters": shown})


ROW = {"id": "a", "title": "A"}
LINK = "https://example.com/a.png"
ACCEPTED: dict[str, dict[str, Any]] = {
    "a text of 4096 characters": {"text": {"body": "x" * 4096}},
    "no recipient type": {"recipient_type": "individual"},
    "opaque data of 512": {"biz_opaque_callback_data": "x" * 512},
    "a quotation": {"context": {"message_id": "wamid.x"}},
    "a reaction": {"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "👍"}},
    "three buttons": interactive(
        action={"buttons": [button("a", "A"), button("b", "B"), button("c", "C")]}
    ),
    "a header and a footer": interactive(
        header={"type": "text", "text": "x" * 60}, footer={"text": "x" * 60}
    ),
    "ten rows": rows_of(*({"id": str(n), "title": str(n)} for n in range(10))),
    "a list body of 4096": rows_of(ROW)
    | {"interactive": rows_of(ROW)["interactive"] | {"body": {"text": "x" * 4096}}},
    "a link button": cta(),
    "a location request": interactive("location_request_message", action={"name": "send_location"}),
    "an image by link": {"type": "image", "image": {"link": LINK, "caption": "x" * 1024}},
    "a location": {"type": "location", "location": {"latitude": "37.7", "longitude": -122.4}},
    "contacts": {"type": "contacts", "contacts": [{"name": {"formatted_name": "John"}}]},
    "a template": {"type": "template", "template": {"name": "a", "language": {"code": "en"}}},
}

REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "no product": ({"messaging_product": None}, 100),
    "an unknown recipient type": ({"recipient_type": "person"}, 100),
    "an unknown type": ({"type": "song"}, 100),
    "an unknown field": ({"colour": "red"}, 100),
    "no recipient": ({"to": None}, 100),
    "a number in to": ({"to": 15550100001}, 100),
    "letters in to": ({"to": "+1555ALICE"}, 131009),
    "a phone in recipient": ({"to": None, "recipient": "+15550100001"}, 100),
    "the business itself": ({"to": f"+{SHOP.display_phone_number}"}, 131021),
    "a text of 4097 characters": ({"text": {"body": "x" * 4097}}, 100),
    "an empty text": ({"text": {"body": " "}}, 100),
    "no text": ({"text": None}, 131008),
    "text as a string": ({"text": "Hello"}, 100),
    "an unknown field of a text": ({"text": {"body": "x", "font": "serif"}}, 100),
    "opaque data of 513": ({"biz_opaque_callback_data": "x" * 513}, 100),
    "a quotation of nothing": ({"context": {}}, 131008),
    "a reaction to nothing": ({"type": "reaction", "reaction": {"emoji": "👍"}}, 131008),
    "four buttons": (interactive(action={"buttons": [button(c, c) for c in "abcd"]}), 131009),
    "no buttons": (interactive(action={"buttons": []}), 131009),
    "two buttons with one id": (
        interactive(action={"buttons": [button("a", "A"), button("a", "B")]}),
        131009,
    ),
    "two buttons with one title": (
        interactive(action={"buttons": [button("a", "A"), button("b", "A")]}),
        131009,
    ),
    "a button title of 21": (interactive(action={"buttons": [button("a", "x" * 21)]}), 131009),
    "a button id of 257": (interactive(action={"buttons": [button("x" * 257)]}), 131009),
    "a button body of 1025": (interactive(body={"text": "x" * 1025}), 131009),
    "a footer of 61": (interactive(footer={"text": "x" * 61}), 131009),
    "a header of 61": (interactive(header={"type": "text", "text": "x" * 61}), 131009),
    "an unknown interactive type": (interactive("song"), 100),
    "no action": (interactive(action=None), 131008),
    "eleven rows": (rows_of(*({"id": str(n), "title": str(n)} for n in range(11))), 131009),
    "two rows with one id": (rows_of(ROW, ROW), 131009),
    "a row title of 25": (rows_of({"id": "a", "title": "x" * 25}), 131009),
    "a row description of 73": (rows_of(ROW | {"description": "x" * 73}), 131009),
    "a section title of 25": (rows_of(ROW, title="x" * 25), 131009),
    "an image header on a list": (
        {
            "type": "interactive",
            "interactive": rows_of(ROW)["interactive"]
            | {"header": {"type": "image", "image": {"link": LINK}}},
        },
        131009,
    ),
    "a link button of 21": (cta(display_text="x" * 21), 131009),
    "a link that is none": (cta(url="ftp://example.com"), 131009),
    "a caption of 1025": (
        {"type": "image", "image": {"link": LINK, "caption": "x" * 1025}},
        131009,
    ),
    "id and link": ({"type": "image", "image": {"link": LINK, "id": "1"}}, 100),
    "media that is not there": ({"type": "image", "image": {"id": "1"}}, 100),
    "a latitude of 91": (
        {"type": "location", "location": {"latitude": 91, "longitude": 0}},
        131009,
    ),
    "no longitude": ({"type": "location", "location": {"latitude": 1}}, 131008),
    "no contacts": ({"type": "contacts", "contacts": []}, 131008),
    "a template without language": ({"type": "template", "template": {"name": "a"}}, 131008),
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    payload = text_to(ALICE) | changes
    if payload["type"] != "text":
        del payload["text"]
    return {name: value for name, value in payload.items() if value is not None}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
async def test_a_message_within_the_limits_is_accepted(rig: Rig, changes: dict[str, Any]) -> None:
    payload = changed(changes)
    status, answer = await rig.graph.post(payload)
    assert (status, answer["contacts"]) == (200, [{"input": "+15550100001", "wa_id": ALICE.phone}])
    assert answer["messages"][0]["id"].startswith("wamid.")
    assert [send.payload for send in rig.simulator.sends] == [payload]


@pytest.mark.parametrize(("changes", "code"), REFUSED.values(), ids=REFUSED)
async def test_a_message_beyond_the_limits_is_refused(
    rig: Rig, changes: dict[str, Any], code: int
) -> None:
    status, answer = await rig.graph.post(changed(changes))
    error = answer["error"]
    assert (status, error["code"], error["type"]) == (400, code, "OAuthException")
    assert error["message"].startswith(f"(#{code}) ")
    assert rig.simulator.sends == ()
    assert [(one.outcome, one.code) for one in rig.simulator.send_attempts] == [
        (Outcome.REFUSED, code)
    ]


@pytest.mark.parametrize(
    ("to", "recipient"),
    [
        ("+1 (555) 010-0001", "15550100001"),
        ("5550100001", "15550100001"),
        ("15550100001", "115550100001"),
    ],
)
async def test_without_a_plus_the_business_country_code_is_prepended(
    rig: Rig, to: str, recipient: str
) -> None:
    _, answer = await rig.graph.post(text_to(ALICE) | {"to": to})
    assert answer["contacts"] == [{"input": to, "wa_id": recipient}]
    assert [send.recipient for send in rig.simulator.sends] == [recipient]


async def test_a_user_id_in_recipient_reaches_a_customer_who_hides_the_phone(rig: Rig) -> None:
    await rig.simulator.say(HIDDEN, "Hello")
    status, answer = await rig.graph.post(text_to(HIDDEN))
    assert (status, answer["contacts"]) == (200, [{"input": "US.1009", "user_id": "US.1009"}])
    await rig.quiet()
    assert {one["status"] for one in rig.target.statuses} == {"sent", "delivered", "read"}
    assert rig.simulator.replies_to(HIDDEN)[0].customer == HIDDEN


async def test_a_user_id_in_to_is_accepted_and_never_delivered(rig: Rig) -> None:
    await rig.simulator.say(HIDDEN, "Hello")
    payload = text_to(ALICE) | {"to": "US.1009"}
    assert (await rig.graph.post(payload))[0] == 200
    await rig.quiet()
    assert rig.target.statuses == []
    assert rig.simulator.replies_to(HIDDEN) == ()
    assert len(rig.simulator.sends) == 1


async def test_of_both_recipients_to_wins(rig: Rig) -> None:
    _, answer = await rig.graph.post(text_to(ALICE) | {"recipient": "US.1009"})
    assert answer["contacts"] == [{"input": "+15550100001", "wa_id": ALICE.phone}]


@pytest.mark.parametrize(("token", "code"), [(None, 0), ("another-token", 190)])
async def test_a_call_without_the_token_is_refused(rig: Rig, token: str | None, code: int) -> None:
    status, answer = await rig.graph.post(text_to(ALICE), token=token)
    assert (status, answer["error"]["code"]) == (401, code)
    assert rig.simulator.send_attempts[0].code == code


async def test_an_unknown_number_and_an_unknown_object_are_refused(rig: Rig) -> None:
    status, answer = await rig.graph.call("POST", "999/messages", json=text_to(ALICE))
    assert (status, answer["error"]["code"]) == (400, 33)
    status, answer = await rig.graph.call("GET", "999")
    assert (status, answer["error"]["code"], answer["error"]["error_subcode"]) == (400, 100, 33)


async def test_a_body_that_is_not_json_lacks_its_first_parameter(rig: Rig) -> None:
    path = f"{SHOP.phone_number_id}/messages"
    status, answer = await rig.graph.call("POST", path, data=b"{oops")
    assert (status, answer["error"]["code"]) == (400, 100)


async def test_a_read_mark_with_the_typing_indicator_is_recorded(rig: Rig) -> None:
    message_id = await rig.simulator.say(ALICE, "Hello")
    mark = {"messaging_product": "whatsapp", "status": "read", "message_id": message_id}
    assert await rig.graph.post(mark) == (200, {"success": True})
    typing = mark | {"typing_indicator": {"type": "text"}}
    assert await rig.graph.post(typing) == (200, {"success": True})
    assert [(one.message_id, one.typing) for one in rig.simulator.reads] == [
        (message_id, False),
        (message_id, True),
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"message_id": "wamid.unknown"}, 131009),
        ({"status": "seen"}, 100),
        ({"typing_indicator": {"type": "voice"}}, 100),
        ({"messaging_product": "music"}, 100),
    ],
)
async def test_a_wrong_read_mark_is_refused(rig: Rig, changes: dict[str, Any], code: int) -> None:
    message_id = await rig.simulator.say(ALICE, "Hello")
    mark = {"messaging_product": "whatsapp", "status": "read", "message_id": message_id}
    status, answer = await rig.graph.post(mark | changes)
    assert (status, answer["error"]["code"]) == (400, code)
    assert rig.simulator.reads == ()


async def test_a_number_has_the_requested_fields(rig: Rig) -> None:
    path = f"{SHOP.phone_number_id}?fields=verified_name,display_phone_number,throughput"
    _, answer = await rig.graph.call("GET", path)
    assert answer == {
        "verified_name": "The Shop",
        "display_phone_number": "15550100000",
        "throughput": {"level": "STANDARD"},
        "id": SHOP.phone_number_id,
    }
    _, answer = await rig.graph.call("GET", SHOP.phone_number_id)
    assert answer["quality_rating"] == "GREEN"
    assert answer["webhook_configuration"] == {"application": rig.target.url}
    status, answer = await rig.graph.call("GET", f"{SHOP.phone_number_id}?fields=shoe_size")
    assert (status, answer["error"]["code"]) == (400, 100)


async def test_an_account_lists_its_numbers_and_subscriptions(rig: Rig) -> None:
    _, answer = await rig.graph.call("GET", f"{SHOP.waba_id}/phone_numbers")
    assert [one["id"] for one in answer["data"]] == [SHOP.phone_number_id]
    apps = f"{SHOP.waba_id}/subscribed_apps"
    _, answer = await rig.graph.call("GET", apps)
    assert answer["data"][0]["whatsapp_business_api_data"]["name"] == "wbot"
    assert await rig.graph.call("DELETE", apps) == (200, {"success": True})
    assert await rig.graph.call("GET", apps) == (200, {"data": []})


async def test_an_account_without_subscription_sends_no_webhooks() -> None:
    quiet = SimulatedBusiness("1", "2", "15550100009", "Quiet", subscribed=False)
    async with running(businesses=[quiet]) as rig:
        await rig.simulator.say(ALICE, "Hello")
        await rig.quiet()
        assert rig.target.bodies == []
        assert (await rig.graph.call("POST", "2/subscribed_apps"))[1] == {"success": True}
        await rig.simulator.say(ALICE, "Hello again")
        await rig.quiet()
        assert [one["text"]["body"] for one in rig.target.messages] == ["Hello again"]


async def test_media_of_a_customer_is_resolved_then_downloaded_with_the_token(rig: Rig) -> None:
    await rig.simulator.send_inbound(ALICE, "image")
    await rig.quiet()
    image = rig.target.messages[0]["image"]
    _, found = await rig.graph.call("GET", image["id"])
    assert (found["mime_type"], found["id"]) == ("image/png", image["id"])
    headers = {"Authorization": f"Bearer {ACCESS_TOKEN}"}
    for url in (found["url"], image["url"]):
        async with rig.graph.session.get(url, headers=headers) as response:
            data = await response.read()
        assert response.content_type == "image/png"
        assert hashlib.sha256(data).hexdigest() == found["sha256"]
        assert len(data) == found["file_size"]
    async with rig.graph.session.get(found["url"]) as response:
        assert response.status == 401


async def test_uploaded_media_can_be_sent_and_deleted(rig: Rig) -> None:
    form = aiohttp.FormData({"messaging_product": "whatsapp"})
    form.add_field("file", b"png bytes", filename="a.png", content_type="image/png")
    path = f"{SHOP.phone_number_id}/media"
    status, answer = await rig.graph.call("POST", path, data=form)
    assert status == 200
    picture = changed({"type": "image", "image": {"id": answer["id"]}})
    assert (await rig.graph.post(picture))[0] == 200
    assert await rig.graph.call("DELETE", answer["id"]) == (200, {"success": True})
    assert (await rig.graph.call("GET", answer["id"]))[1]["error"]["error_subcode"] == 33


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/vnd.ms-excel",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ],
)
async def test_every_kind_of_document_can_be_uploaded(rig: Rig, content_type: str) -> None:
    form = aiohttp.FormData({"messaging_product": "whatsapp", "type": content_type})
    form.add_field("file", b"bytes", filename="a.doc", content_type=content_type)
    status, answer = await rig.graph.call("POST", f"{SHOP.phone_number_id}/media", data=form)
    assert (status, list(answer)) == (200, ["id"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "999/phone_numbers"),
        ("GET", "999/subscribed_apps"),
        ("POST", "999/media"),
        ("DELETE", "999"),
        ("POST", f"{SHOP.phone_number_id}/media"),
    ],
)
async def test_a_lookup_of_what_is_not_there_is_refused(rig: Rig, method: str, path: str) -> None:
    status, answer = await rig.graph.call(method, path)
    assert status == 400
    assert answer["error"]["code"] in {33, 100}


@pytest.mark.parametrize(
    ("name", "content_type"), [("file", "application/x-msdownload"), ("attachment", "image/png")]
)
async def test_an_upload_of_no_known_file_is_refused(
    rig: Rig, name: str, content_type: str
) -> None:
    form = aiohttp.FormData({"messaging_product": "whatsapp"})
    form.add_field(name, b"bytes", filename="a.bin", content_type=content_type)
    status, answer = await rig.graph.call("POST", f"{SHOP.phone_number_id}/media", data=form)
    assert (status, answer["error"]["code"]) == (400, 100)


async def test_a_refused_send_answers_with_the_code_and_sends_nothing(rig: Rig) -> None:
    rig.faults.add(Endpoint.SEND, refused(400, 131056, "Pair rate limit hit", retry_after_s=4))
    status, answer = await rig.graph.post(text_to(ALICE))
    assert (status, answer["error"]["code"]) == (400, 131056)
    assert rig.graph.headers["Retry-After"] == "4"
    assert rig.simulator.sends == ()
    await rig.graph.send()
    assert [one.outcome for one in rig.simulator.send_attempts] == [
        Outcome.REFUSED,
        Outcome.ACCEPTED,
    ]


@pytest.mark.parametrize("acts", [False, True])
async def test_a_dropped_send_takes_effect_only_if_it_acts(rig: Rig, acts: bool) -> None:
    await rig.simulator.say(ALICE, "Hello")
    rig.faults.add(Endpoint.SEND, dropped(acts=acts))
    with pytest.raises(aiohttp.ClientConnectionError):
        await rig.graph.post(text_to(ALICE) | {"biz_opaque_callback_data": "attempt-7"})
    await rig.quiet()
    assert [one.outcome for one in rig.simulator.send_attempts] == [Outcome.DROPPED]
    opaques = [one["biz_opaque_callback_data"] for one in rig.target.statuses]
    assert opaques == (["attempt-7"] * 3 if acts else [])
    assert len(rig.simulator.sends) == acts
    (attempt,) = rig.simulator.send_attempts
    assert (attempt.wamid,) == (tuple(one.wamid for one in rig.simulator.sends) or (None,))


async def test_a_garbled_send_is_answered_with_a_proxys_page(rig: Rig) -> None:
    rig.faults.add(Endpoint.SEND, garbled(status=502, acts=True))
    with pytest.raises(aiohttp.ContentTypeError) as caught:
        await rig.graph.post(text_to(ALICE))
    assert caught.value.status == 502
    assert len(rig.simulator.sends) == 1


async def test_a_slow_send_answers_late_and_a_silent_one_never(rig: Rig) -> None:
    rig.faults.add(Endpoint.SEND, slow(0.0, answer_after_s=0.05), silent(acts=True))
    started = asyncio.get_running_loop().time()
    await rig.graph.send()
    assert asyncio.get_running_loop().time() - started >= 0.05
    timeout = aiohttp.ClientTimeout(total=0.1)
    with pytest.raises(TimeoutError):
        await rig.graph.post(text_to(ALICE), timeout=timeout)
    assert [one.outcome for one in rig.simulator.send_attempts] == [
        Outcome.ACCEPTED,
        Outcome.SILENT,
    ]
    assert len(rig.simulator.sends) == 2


async def test_a_fault_about_one_customer_leaves_the_others_alone(rig: Rig) -> None:
    rig.faults.always(Endpoint.SEND, refused(500, 131000, about=str(ALICE.phone)))
    await rig.graph.send(BOB)
    assert (await rig.graph.post(text_to(ALICE)))[0] == 500
    assert (await rig.graph.post(text_to(ALICE)))[0] == 500
    rig.faults.clear(Endpoint.SEND)
    await rig.graph.send(ALICE)


async def test_reading_and_lookups_can_go_wrong_too(rig: Rig) -> None:
    message_id = await rig.simulator.say(ALICE, "Hello")
    rig.faults.add(Endpoint.READ, refused(500, 131016))
    rig.faults.add(Endpoint.LOOKUP, refused(403, 10))
    mark = {"messaging_product": "whatsapp", "status": "read", "message_id": message_id}
    assert (await rig.graph.post(mark))[1]["error"]["code"] == 131016
    assert (await rig.graph.call("GET", SHOP.phone_number_id))[0] == 403
    assert rig.simulator.reads == ()
