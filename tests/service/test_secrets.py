"""No secret leaks: Graph and model quote everything they know, and no trace of it is left."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from conftest import (
    ACCESS_TOKEN,
    ALICE,
    API_KEY,
    APP_SECRET,
    VERIFY_TOKEN,
    WAIT_S,
    Ahead,
    MakeWorld,
    make_simulator,
    query,
)
from test_process import outside, process, run, variables
from test_redaction import SPELLINGS, Spelling

from wbot.logs import configure_logs
from wbot.monitoring.health import FAILING_MAX_S
from wbot.simulator.faults.plan import Endpoint, Fault, garbled, refused
from wbot.simulator.simulator import Simulator
from wbot.turns import waiting_notice
from wbot.turns.waiting_notice import TAKES_LONGER

TEXT = "My door code is tangerine and 4711"
SENTENCE, GRAPH_SENTENCE = "Their own words stay", "Meta's own words stay too"
PHONE = str(ALICE.phone)
SECOND_KEY = "second-key-of-a-fallback"
PLANTED = (ACCESS_TOKEN, APP_SECRET, VERIFY_TOKEN, API_KEY, SECOND_KEY, PHONE, TEXT)
GROUPED = f"+{PHONE[0]} {PHONE[1:4]} {PHONE[4:7]} {PHONE[7:]}"
MESSAGE_GONE, TOKEN_GONE = 131026, 190


THEIR_OWN = {
    ("businesses", "access_token"),
    ("customer_aliases", "value"),
    ("messages", "content"),
    ("messages", "reply_phone"),
    ("outbox", "reply_phone"),
    ("webhooks", "body"),
}
"""Columns that hold what is planted, by its owner's doing."""
SECOND_KEY = "second-key-of-a-fallback"
FALLBACK = {"WBOT_MODEL_FALLBACK": "second-model", "WBOT_MODEL_FALLBACK_API_KEY": SECOND_KEY}


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


def rows_kept(database: Path) -> str:
    """Every value of the database, except where customers' words and secrets belong."""
    sql = (
        "SELECT tables.name AS name, columns.name AS column "
        "FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns "
        "WHERE tables.type = 'table'"
    )
    found = []
    for place in query(database, sql):
        table, column = place["name"], place["column"]
        if (table, column) not in THEIR_OWN:
            found += query(database, f'SELECT "{column}" AS value FROM "{table}"')  # noqa: S608
    return "\n".join(str(row["value"]) for row in found)


async def teach(simulator: Simulator) -> None:
    """A refusal of the request's form, quoting: the form that is taken is then kept."""
    form = "Unsupported parameter: 'max_completion_tokens'. Use 'max_tokens' instead. | "
    simulator.faults.add(Endpoint.MODEL, refused(400, 0, form + quotation(str)))
    await simulator.say(ALICE, TEXT)
    await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)


async def fail_in_every_spelling(simulator: Simulator, database: Path) -> None:
    """Messages whose model call, read mark, reply and status fail one after another, quoting."""
    failures = "SELECT * FROM processing_errors"
    for number, spelling in enumerate(SPELLINGS.values()):
        said, code = quotation(spelling), spelling(PLANTED[number % len(PLANTED)])
        simulator.faults.always(Endpoint.READ, refused(400, MESSAGE_GONE, said))
        # A rejected message gets the error text as its reply.
        simulator.faults.add(Endpoint.MODEL, refused(400, 0, said, error_type=code))
        refusal = refused(400, MESSAGE_GONE, said)
        fails_later = number % 2
        simulator.faults.add(Endpoint.STATUS if fails_later else Endpoint.SEND, refusal)
        # In turn: the same words again and again at once would be a program's.
        await simulator.say(ALICE, TEXT + "!" * fails_later)
        await rows(database, failures, 2 * number + 2)


async def is_held(simulator: Simulator, url: str) -> str:
    """The public /health while account and model are refused, quoting."""
    said = quotation(str)
    graph_said = said.replace(SENTENCE, GRAPH_SENTENCE)
    simulator.faults.always(Endpoint.SEND, refused(401, TOKEN_GONE, graph_said))
    await simulator.say(ALICE, TEXT)
    await simulator.until(lambda: simulator.send_attempts[-1].code == TOKEN_GONE, timeout_s=WAIT_S)
    simulator.faults.always(Endpoint.MODEL, refused(401, 0, said, error_type=API_KEY))
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
            database_path,
            url,
            port,
            WBOT_LOG_FILE=str(file),
            WBOT_LOG_LEVEL="debug",
            WBOT_MODEL_FALLBACK_API_KEY=SECOND_KEY,
        )
        async with process(settings, tmp_path):
            await teach(simulator)
            await fail_in_every_spelling(simulator, database_path)
            health = await is_held(simulator, f"http://127.0.0.1:{port}")
            check = await shown(settings, tmp_path, "check", "--json")
        (failed, *_) = query(
            database_path, "SELECT message_id FROM processing_errors WHERE outbox_id IS NOT NULL"
        )
        why = await shown(settings, tmp_path, "why", failed["message_id"], "--json")
        errors = await shown(settings, tmp_path, "errors", "list", "--json")
    stored = rows_kept(database_path)
    errors_shown = [one["error_message"] for one in json.loads(errors)["errors"]]
    stages = [
        one["detail"]
        for one in json.loads(why)["stages"]
        if one["stage"] in {"error", "turn_ended", "send_ended", "status"}
    ]
    kept = json.dumps([errors_shown, stages], ensure_ascii=False)
    for place in (file.read_text(), stored, kept, health, check):
        assert list(traces_in(place)) == []
    assert query(database_path, "SELECT json_extract(dialect, '$.cap') AS cap FROM model_dialects")
    # What the other side said to the operator is still there; Meta's is not on the public page.
    for place in (stored, kept, check, health, file.read_text()):
        assert SENTENCE in place
    assert GRAPH_SENTENCE in stored
    assert GRAPH_SENTENCE not in health
    assert f"code {TOKEN_GONE}" in health
    assert "HTTP 401" in health


@pytest.fixture(name="log")
def _log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs(level="debug", style="json", stream=stream)
    yield stream
    configure_logs(level="critical", style="json")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refused(503, 0), "HTTP 503"),
        (refused(402, 0), SENTENCE),
        (refused(429, 0, retry_after_s=1), "HTTP 429"),
        (refused(429, 0, error_type="insufficient_quota"), SENTENCE),
        (garbled(quotation(str)), "could not be read"),
    ],
    ids=["down", "out of credit", "busy", "out of quota", "garbled"],
)
async def test_what_both_models_quote_while_messages_wait_for_them_is_nowhere(
    make_world: MakeWorld,
    monkeypatch: pytest.MonkeyPatch,
    log: io.StringIO,
    fault: Fault,
    reason: str,
) -> None:
    monkeypatch.setattr(waiting_notice, "TELL_AFTER_S", 0.2)
    simulator, clock = make_simulator(), Ahead()
    quoting = msgspec.structs.replace(fault, message=quotation(str))
    simulator.faults.always(Endpoint.MODEL, quoting)
    async with make_world(simulator=simulator, clock=clock, variables=FALLBACK) as world:
        await simulator.say(ALICE, TEXT)
        reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert reply.text == TAKES_LONGER
        clock.ahead_s += FAILING_MAX_S + 1
        health = json.dumps(await world.health_of(503), ensure_ascii=False)
        assert reason in health
        assert "second-model has given no good answer" in health
        simulator.faults.clear()
        reply = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
        stored = rows_kept(world.service.settings.database)
        for place in (health, reply.text, log.getvalue(), stored):
            assert list(traces_in(place)) == []
        assert SENTENCE not in reply.text
