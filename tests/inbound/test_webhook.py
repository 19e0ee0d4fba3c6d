"""What the webhook promises over HTTP: its answers, and that 200 means stored on disk."""

import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    ALICE,
    APP_SECRET,
    BOB,
    SHOP,
    VERIFY_TOKEN,
    WAIT_S,
    Ahead,
    MakeWorld,
    World,
    writing,
)

from wbot.clock import Clock
from wbot.domain.messages import TEST_MESSAGE_ID
from wbot.inbound.signature import sign

PAYLOADS = Path(__file__).parents[1] / "payloads"
REAL_PAYLOADS = Path(__file__).parents[3] / "shared" / "payloads"


def envelope(*messages: dict[str, Any], number: str = SHOP.phone_number_id) -> dict[str, Any]:
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100001", "phone_number_id": number},
        "messages": list(messages),
    }
    changes = [{"field": "messages", "value": value}]
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}


def now_s() -> str:
    """A WhatsApp timestamp for a message sent just now."""
    return str(int(Clock().now().timestamp()))


def text(message_id: str, body: str, **more: Any) -> dict[str, Any]:
    said = {"type": "text", "text": {"body": body}}
    return {"from": ALICE.phone, "id": message_id, "timestamp": now_s(), **said, **more}


async def post(world: World, body: bytes | dict[str, Any], signature: str | None = "") -> int:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if signature is not None:
        headers["X-Hub-Signature-256"] = signature or sign(raw, APP_SECRET)
    data = io.BytesIO(raw)
    async with world.session.post(f"{world.url}/api/webhook", data=data, headers=headers) as answer:
        return answer.status


async def test_the_handshake_echoes_the_challenge_only_to_who_knows_the_token(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
        url = f"{world.url}/api/webhook"
        async with world.session.get(
            url, params=asked | {"hub.verify_token": VERIFY_TOKEN}
        ) as answer:
            assert (answer.status, await answer.text()) == (200, "1158201444")
        for wrong in ({"hub.verify_token": "ünknown"}, {}, {"hub.verify_token": ""}):
            async with world.session.get(url, params=asked | wrong) as answer:
                assert answer.status == 403
        async with world.session.get(url, params={"hub.verify_token": VERIFY_TOKEN}) as answer:
            assert answer.status == 403


async def test_only_a_signed_envelope_is_answered_200(make_world: MakeWorld) -> None:
    async with make_world() as world:
        good = json.dumps(envelope(text("wamid.1", "hi"))).encode()
        assert await post(world, good, None) == 401
        assert await post(world, good, "sha256=" + "0" * 64) == 401
        assert await post(world, good, "sha1=ü") == 401
        assert await post(world, good + b" ", sign(good, APP_SECRET)) == 401
        assert world.rows("SELECT * FROM webhooks") == []
        assert await post(world, b"{") == 400
        assert await post(world, b"null") == 400
        assert await post(world, {"object": "page", "entry": []}) == 400
        assert await post(world, {"object": "whatsapp_business_account", "entry": {}}) == 400
        assert await post(world, {"object": "whatsapp_business_account", "entry": []}) == 200
        assert await post(world, good) == 200


async def test_a_body_up_to_4_mib_is_accepted_and_a_larger_one_refused(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        body = envelope(text("wamid.1", "x"))
        body["padding"] = ""
        room = 4 * 1024 * 1024 - len(json.dumps(body))
        body["padding"] = "y" * room
        assert await post(world, body) == 200
        body["padding"] += "z"
        assert await post(world, body) == 413


async def test_a_thousand_messages_in_one_body_are_all_on_disk(make_world: MakeWorld) -> None:
    async with make_world() as world:
        with writing(world.service.settings.database) as tx:
            tx.execute("UPDATE businesses SET status = 'paused'")
        said = [text(f"wamid.{n}", f"hello {n}", **{"from": f"1555020{n:04}"}) for n in range(1000)]
        assert await post(world, envelope(*said)) == 200
        assert world.rows("SELECT count(*) AS n FROM messages")[0]["n"] == 1000


async def test_a_number_that_no_business_has_is_stored_and_answered_200(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        assert await post(world, envelope(text("wamid.1", "hi"), number="999")) == 200
        found = world.rows("SELECT message_id, state, reason, business_id FROM messages")
        assert found == [
            {
                "message_id": "wamid.1",
                "state": "silent",
                "reason": "unknown_number",
                "business_id": None,
            }
        ]
        async with world.session.get(f"{world.url}/metrics") as answer:
            assert "wbot_messages_for_unknown_numbers_total 1.0" in await answer.text()


async def test_the_dashboards_test_message_is_kept_each_time_and_starts_no_turn(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        for _ in range(2):
            assert (
                await post(world, envelope(text(TEST_MESSAGE_ID, "this is a text message"))) == 200
            )
        assert len(world.rows("SELECT * FROM webhooks")) == 2
        assert world.rows("SELECT * FROM messages") == []


async def test_a_locked_database_is_an_honest_503_and_loses_nothing(
    make_world: MakeWorld, database_path: Path
) -> None:
    async with make_world() as world:
        blocker = sqlite3.connect(database_path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        body = envelope(text("wamid.1", "What's my balance?"))
        assert await post(world, body) == 503
        async with world.session.get(f"{world.url}/health") as answer:
            assert answer.status == 503
            assert "could not be written" in (await answer.json())["reasons"][0]
        blocker.execute("ROLLBACK")
        blocker.close()
        assert await post(world, body) == 200
        assert len(await world.simulator.wait_for_sends(1, timeout_s=20)) == 1
        async with world.session.get(f"{world.url}/health") as answer:
            assert answer.status == 200


async def test_the_real_text_takes_its_placeholders_place(make_world: MakeWorld) -> None:
    """A 131060 waits two seconds; if the text follows under the same id, that text is answered."""
    async with make_world() as world:
        ghost = {
            "from": BOB.phone,
            "id": "wamid.ghost",
            "timestamp": now_s(),
            "type": "unsupported",
            "errors": [{"code": 131060, "title": "This message is currently unavailable."}],
        }
        assert await post(world, envelope(ghost)) == 200
        real = text("wamid.ghost", "What's my balance?", **{"from": BOB.phone})
        assert await post(world, envelope(real)) == 200
        assert await post(world, envelope(real)) == 200
        reply = await world.simulator.wait_for_reply_to(BOB, after=0, timeout_s=20)
        assert "Available: $0.00" in reply.text
        assert world.rows("SELECT state FROM messages") == [{"state": "answered"}]
        assert len(world.simulator.replies_to(BOB)) == 1


async def test_the_real_text_after_the_placeholder_was_answered_gets_its_own_answer(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        ghost = {
            "from": BOB.phone,
            "id": "wamid.ghost",
            "timestamp": now_s(),
            "type": "unsupported",
            "errors": [{"code": 131060}],
        }
        assert await post(world, envelope(ghost)) == 200
        first = await world.simulator.wait_for_reply_to(BOB, after=0, timeout_s=20)
        assert "did not reach me" in first.text
        assert world.rows("SELECT state FROM messages") == [{"state": "answered"}]
        real = text("wamid.ghost", "What's my balance?", **{"from": BOB.phone})
        assert await post(world, envelope(real)) == 200
        second = await world.simulator.wait_for_reply_to(BOB, after=1, timeout_s=20)
        assert "Available: $0.00" in second.text
        assert world.rows("SELECT revision FROM messages") == [{"revision": 1}]


def expected_status(raw: bytes) -> int:
    """The status that contract.md requires for a body, computed without wbot's own parser."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return 400
    is_envelope = (
        isinstance(value, dict)
        and value.get("object") == "whatsapp_business_account"
        and isinstance(value.get("entry"), list)
    )
    return 200 if is_envelope else 400


def ids_in(value: Any) -> set[str]:
    """The ids of messages that start turns, found without wbot's own parser."""
    found = set()
    for entry in value["entry"]:
        for change in entry.get("changes", []) if isinstance(entry, dict) else []:
            if change.get("field", "messages") != "messages":
                continue
            inner = change.get("value") or {}
            found |= {m["id"] for m in inner.get("messages", []) if m.get("id")}
    return found - {TEST_MESSAGE_ID}


@pytest.mark.parametrize("folder", [PAYLOADS, REAL_PAYLOADS], ids=["own", "real"])
async def test_every_body_gets_its_status_and_nothing_in_it_is_lost(
    make_world: MakeWorld, folder: Path
) -> None:
    files = sorted(folder.rglob("*.json"))  # noqa: ASYNC240  a handful of small files
    if not files:
        pytest.skip(f"no payloads at {folder.name} beside the project")
    async with make_world() as world:
        wanted: set[str] = set()
        for file in files:
            raw = file.read_bytes()
            assert await post(world, raw) == expected_status(raw), file.name
            if folder is REAL_PAYLOADS and expected_status(raw) == 200:
                wanted |= ids_in(json.loads(raw))
        stored = {row["message_id"] for row in world.rows("SELECT message_id FROM messages")}
        assert wanted <= stored


async def test_nothing_but_wrong_signatures_turns_health_red_until_a_right_one(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        for number in range(3):
            await world.health_of(200)
            assert await post(world, envelope(text(f"wamid.{number}", "Hi")), "sha256=00") == 401
        assert "WBOT_APP_SECRET" in (await world.health_of(503))["reasons"][0]
        assert await post(world, envelope()) == 200
        assert (await world.health_of(200))["reasons"] == []
        for _ in range(5):  # without a signature it is no webhook of Meta's
            assert await post(world, envelope(), None) == 401
        await world.health_of(200)


async def test_a_number_that_used_to_get_webhooks_is_named_when_it_is_silent(
    make_world: MakeWorld,
) -> None:
    clock = Ahead()
    async with make_world(clock=clock) as world:
        assert await post(world, envelope(text("wamid.1", "Hi"))) == 200
        await world.simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert (await world.health_of(200))["warnings"] == []
        clock.ahead_s += 25 * 3600
        assert "shop: no webhook since" in (await world.health_of(200))["warnings"][0]
