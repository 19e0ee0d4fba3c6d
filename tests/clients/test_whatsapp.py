"""The Graph API client: how it handles any answer to a send."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from simulator_harness import ACCESS_TOKEN, ALICE, SHOP, Rig, running, text_to

from wbot.clients.whatsapp import (
    GraphError,
    NotSentError,
    PhoneNumberCredentials,
    UnknownOutcomeError,
    WhatsApp,
)
from wbot.simulator.faults.plan import Endpoint, garbled

LINE = PhoneNumberCredentials(SHOP.phone_number_id, ACCESS_TOKEN)


async def send(rig: Rig, line: PhoneNumberCredentials = LINE) -> str:
    url = rig.graph.base_url
    whatsapp = WhatsApp(rig.graph.session, graph_url=url, version="v26.0", timeout_s=5.0)
    return await whatsapp.send(line, text_to(ALICE))


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
        for ask in (whatsapp.send(LINE, text_to(ALICE)), whatsapp.look_up(LINE, "1", fields="id")):
            with pytest.raises(UnknownOutcomeError, match=str(status)):
                await ask
    assert "/elsewhere" not in shown
    assert len(shown) == 2
