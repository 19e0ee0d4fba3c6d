"""The Graph API client: how it handles any answer to a send."""

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from simulator_harness import ACCESS_TOKEN, ALICE, SHOP, Rig, running

from wbot.clients.whatsapp import (
    GraphError,
    NotSentError,
    PhoneNumberCredentials,
    Recipient,
    UnknownOutcomeError,
    WhatsApp,
    rendered,
)
from wbot.domain.delivery import Verdict
from wbot.domain.outgoing import Button, Prompt, Text
from wbot.simulator.faults.plan import Endpoint, garbled

LINE = PhoneNumberCredentials(SHOP.phone_number_id, ACCESS_TOKEN)


TO = Recipient(ALICE.phone, None)


async def send(rig: Rig, line: PhoneNumberCredentials = LINE) -> str:
    url = rig.graph.base_url
    whatsapp = WhatsApp(rig.graph.session, graph_url=url, version="v26.0", timeout_s=5.0)
    return await whatsapp.send(line, Text("Hello"), to=TO, opaque="wbot:1:2")


async def answered(body: str, *, status: int = 200, line: PhoneNumberCredentials = LINE) -> str:
    """The wamid of a send that this body answers."""
    async with running() as rig:
        rig.faults.add(Endpoint.SEND, garbled(body, status=status))
        return await send(rig, line)


async def refused(error: Any) -> GraphError:
    with pytest.raises(GraphError) as caught:
        await answered(json.dumps({"error": error}), status=400)
    return caught.value


async def test_an_accepted_send_has_its_id() -> None:
    async with running() as rig:
        assert await send(rig) == rig.simulator.sends[-1].wamid


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html></html>",
        "[" * 100_000,
        "[]",
        "{}",
        '{"success": true}',
        '{"messages": "wamid.1"}',
        '{"messages": [null]}',
        '{"messages": [{"id": null}]}',
        '{"messages": [{"id": {}}]}',
        '{"error": "no"}',
    ],
)
async def test_a_send_answered_without_an_id_may_have_gone_out(body: str) -> None:
    with pytest.raises(UnknownOutcomeError):
        await answered(body)


@pytest.mark.parametrize(
    ("code", "read"),
    [(131047, 131047), ("131047", 131047), (None, None), (True, None), (10**30, None)],
)
async def test_a_refusals_code_is_a_number_that_can_be_kept(code: Any, read: int | None) -> None:
    error = await refused({"message": "No", "code": code})
    assert (error.code, str(error)) == (read, "No")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": "No", "error_data": {"details": "Not now"}}, "No Not now"),
        ({"message": "No", "error_data": "Not now"}, "No Not now"),
        ({"message": "N\0o \ud800", "error_data": [1]}, "No \N{REPLACEMENT CHARACTER}"),
        ({"message": {"a": 1}, "ratio": float("nan")}, "no reason given"),
        (
            {"message": f"Malformed access token {ACCESS_TOKEN}"},
            "Malformed access token (secret)",
        ),
    ],
)
async def test_a_refusals_words_can_be_kept_and_hold_no_token(error: Any, words: str) -> None:
    assert str(await refused(error | {"code": 100})) == words


async def test_a_token_that_is_part_of_an_id_leaves_the_id_alone() -> None:
    line = PhoneNumberCredentials(SHOP.phone_number_id, "id")
    assert await answered('{"messages": [{"id": "wamid.1"}]}', line=line) == "wamid.1"


@pytest.mark.parametrize("token", ["one\ntwo", "\ud800"])
async def test_a_token_that_no_header_can_carry_is_not_sent(token: str) -> None:
    async with running() as rig:
        with pytest.raises(NotSentError, match="token"):
            await send(rig, PhoneNumberCredentials(SHOP.phone_number_id, token))
        assert not rig.simulator.send_attempts


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_takes_the_token_elsewhere(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], status: int
) -> None:
    shown: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        shown.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", redirect)
    server = await aiohttp_server(app)
    async with aiohttp.ClientSession() as session:
        url = str(server.make_url(""))
        whatsapp = WhatsApp(session, graph_url=url, version="v26.0", timeout_s=5.0)
        sent = whatsapp.send(LINE, Text("Hello"), to=TO, opaque="wbot:1:2")
        for ask in (sent, whatsapp.look_up(LINE, "1", fields="id")):
            with pytest.raises(UnknownOutcomeError, match=str(status)):
                await ask
    assert "/elsewhere" not in shown
    assert len(shown) == 2


async def test_every_call_proves_the_apps_secret(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]],
) -> None:
    proofs: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        proofs.append(request.query["appsecret_proof"])
        return web.json_response({"messages": [{"id": "wamid.1"}]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    url = str((await aiohttp_server(app)).make_url(""))
    async with aiohttp.ClientSession() as session:
        whatsapp = WhatsApp(
            session, graph_url=url, version="v26.0", timeout_s=5.0, app_secret="app-secret"
        )
        await whatsapp.send(LINE, Text("Hello"), to=TO, opaque="wbot:1:2")
        await whatsapp.look_up(LINE, "1", fields="id")
    expected = hmac.new(b"app-secret", ACCESS_TOKEN.encode(), "sha256").hexdigest()
    assert proofs == [expected, expected]


@pytest.mark.parametrize(
    "error",
    [
        {"message": "API calls from the server require an appsecret_proof argument"},
        {"message": "Invalid appsecret_proof provided in the API argument"},
        {"message": "Unsupported post request.", "error_subcode": 33},
        {"message": "Unsupported post request.", "type": "GraphMethodException"},
    ],
)
async def test_a_refusal_of_the_call_itself_is_no_fault_of_the_message(error: Any) -> None:
    assert (await refused(error | {"code": 100})).verdict is Verdict.ACCOUNT


# What is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", ["15550101001", "+15550101001"])
@pytest.mark.parametrize("user_id", [None, "US.1001"])
def test_a_number_is_addressed_with_its_plus_and_goes_first(
    phone: str, user_id: str | None
) -> None:
    to = Recipient(phone, user_id)
    assert rendered(Text("Hi"), to=to, opaque="wbot:1:2") == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+15550101001",
        "type": "text",
        "text": {"body": "Hi"},
        "biz_opaque_callback_data": "wbot:1:2",
    }


def test_a_user_id_is_never_put_where_a_number_goes() -> None:
    body = rendered(Text("Hi"), to=Recipient(None, "US.1001"), opaque="o")
    assert body["recipient"] == "US.1001"
    assert "to" not in body


def test_a_prompt_is_a_message_with_buttons() -> None:
    prompt = Prompt("Sure?", (Button("confirm:a1:yes", "Confirm"), Button("x", "Cancel")))
    body = rendered(prompt, to=TO, opaque="o")
    assert body["type"] == "interactive"
    assert body["interactive"] == {
        "type": "button",
        "body": {"text": "Sure?"},
        "action": {
            "buttons": [
                {"type": "reply", "reply": {"id": "confirm:a1:yes", "title": "Confirm"}},
                {"type": "reply", "reply": {"id": "x", "title": "Cancel"}},
            ]
        },
    }
