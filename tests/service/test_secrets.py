"""No secret leaks: Graph and model quote everything they know, and no trace of it is left."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import ACCESS_TOKEN, ALICE, API_KEY, APP_SECRET, VERIFY_TOKEN, WAIT_S, query
from test_process import outside, process, run, variables
from test_redaction import SPELLINGS, Spelling

from wbot.simulator.faults.plan import Endpoint, refused
from wbot.simulator.simulator import Simulator

TEXT = "My door code is tangerine and 4711"
SENTENCE = "Their own words stay"
PHONE = str(ALICE.phone)
PLANTED = (ACCESS_TOKEN, APP_SECRET, VERIFY_TOKEN, API_KEY, PHONE, TEXT)
GROUPED = f"+{PHONE[0]} {PHONE[1:4]} {PHONE[4:7]} {PHONE[7:]}"
MESSAGE_GONE, TOKEN_GONE = 131026, 190


def quotation(spelling: Spelling) -> str:
    return " | ".join([SENTENCE, *[spelling(one) for one in PLANTED], GROUPED])


def traces_in(text: str) -> Iterator[str]:
    """The planted secrets that the text contains, in any encoding."""
    folded = text.casefold()
    for spelled in (SPELLINGS[name](one) for name in SPELLINGS for one in PLANTED):
        if spelled.casefold() in folded:
            yield spelled
    squeezed = "".join(char for char in folded if char.isalnum())
    for one in PLANTED:
        if "".join(char for char in one.casefold() if char.isalnum()) in squeezed:
            yield one


async def rows(path: Path, sql: str, count: int) -> list[dict[str, Any]]:
    """The rows, once there are this many."""
    async with asyncio.timeout(WAIT_S):
        while len(found := query(path, sql)) < count:  # noqa: ASYNC110  no event from another process
            await asyncio.sleep(0.05)
    return found


async def fail_in_every_spelling(simulator: Simulator, database: Path) -> None:
    """Messages whose model call, read mark, reply and status fail one after another, quoting."""
    failures = "SELECT * FROM processing_errors"
    for number, spelling in enumerate(SPELLINGS.values()):
        said = quotation(spelling)
        simulator.faults.always(Endpoint.READ, refused(400, MESSAGE_GONE, said))
        # The model's text is its code; a rejected message gets the error text as its reply.
        simulator.faults.add(Endpoint.MODEL, refused(400, 0, said, error_type=said))
        refusal = refused(400, MESSAGE_GONE, said)
        fails_later = number % 2
        simulator.faults.add(Endpoint.STATUS if fails_later else Endpoint.SEND, refusal)
        await simulator.say(ALICE, TEXT)
        await rows(database, failures, 2 * number + 2)


async def is_held(simulator: Simulator, url: str) -> str:
    """The public /health while account and model are refused, quoting."""
    said = quotation(str)
    simulator.faults.always(Endpoint.SEND, refused(401, TOKEN_GONE, said))
    await simulator.say(ALICE, TEXT)
    await simulator.until(lambda: simulator.send_attempts[-1].code == TOKEN_GONE, timeout_s=WAIT_S)
    simulator.faults.always(Endpoint.MODEL, refused(401, 0, said, error_type=said))
    await simulator.say(ALICE, TEXT)
    async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/api/webhook/health") as answer:
                text = await answer.text()
            if "cannot send" in text and "cannot be asked" in text:
                break
            await asyncio.sleep(0.05)
        async with session.get(f"{url}/metrics") as answer:
            assert not list(traces_in(await answer.text()))
    return text


async def shown(settings: dict[str, str], folder: Path, *command: str) -> str:
    ended = await asyncio.to_thread(run, settings, folder, *command)
    return ended.stdout + ended.stderr


@pytest.mark.timeout(240)
async def test_what_graph_and_model_quote_back_is_in_no_log_row_page_or_command(
    database_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "wbot.log"
    async with outside() as (simulator, url, port):
        simulator.faults.always(Endpoint.LOOKUP, refused(400, 100, quotation(str)))
        settings = variables(
            database_path, url, port, WBOT_LOG_FILE=str(file), WBOT_LOG_LEVEL="debug"
        )
        async with process(settings, tmp_path):
            await fail_in_every_spelling(simulator, database_path)
            health = await is_held(simulator, f"http://127.0.0.1:{port}")
            check = await shown(settings, tmp_path, "check", "--json")
        (failed, *_) = query(
            database_path, "SELECT message_id FROM processing_errors WHERE outbox_id IS NOT NULL"
        )
        why = await shown(settings, tmp_path, "why", failed["message_id"], "--json")
        errors = await shown(settings, tmp_path, "errors", "list", "--json")
    stored = query(
        database_path,
        "SELECT error_message FROM processing_errors UNION ALL SELECT detail FROM send_attempts "
        "UNION ALL SELECT error FROM outbox UNION ALL SELECT errors FROM statuses "
        "UNION ALL SELECT detail FROM turns UNION ALL SELECT reason FROM messages",
    )
    errors_shown = [one["error_message"] for one in json.loads(errors)["errors"]]
    stages = [
        one["detail"]
        for one in json.loads(why)["stages"]
        if one["stage"] in {"error", "turn_ended", "send_ended", "status"}
    ]
    kept = json.dumps([stored, errors_shown, stages], ensure_ascii=False)
    for place in (file.read_text(), kept, health, check):
        assert list(traces_in(place)) == []
    # What the other side said to the operator is still there, and not on the public page.
    for place in (kept, check, file.read_text()):
        assert SENTENCE in place
    assert SENTENCE not in health
    assert f"code {TOKEN_GONE}" in health
    assert "HTTP 401" in health
