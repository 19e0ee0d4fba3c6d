"""Webhooks with very many updates are refused before they cost anything, or stored in parts."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
import pytest
from conftest import SHOP, WAIT_S, MakeWorld, World, query
from db_factories import STARTED_AT, make_tx
from test_webhook import envelope, post, text
from torture.preparation import free_port, make_database, variables
from torture.processes import Service
from torture.target import Cue, Moment, Place

from wbot.clock import Clock
from wbot.domain.errors import OversizedError
from wbot.inbound.intake import PART_UPDATES_MAX, parts_of, record
from wbot.inbound.signature import sign
from wbot.inbound.webhook_parser import UPDATES_MAX, Payload, parse_payload

BODY_BYTES_MAX = 4 * 1024 * 1024
ENTRIES = (b'{"object":"whatsapp_business_account","entry":[', b"]}")
VALUE = (
    b'{"object":"whatsapp_business_account","entry":[{"changes":[{"value":{'
    b'"metadata":{"phone_number_id":"%s"},' % SHOP.phone_number_id.encode(),
    b"}}]}]}",
)
LISTS = {
    name: (VALUE[0] + b'"%s":[' % name.encode(), b"]" + VALUE[1])
    for name in ("messages", "statuses", "contacts")
}
CHANGES = (b'{"object":"whatsapp_business_account","entry":[{"changes":[', b"]}]}")


def filled(around: tuple[bytes, bytes], item: bytes) -> bytes:
    """As many copies of the item as a body may hold."""
    room = BODY_BYTES_MAX - len(around[0]) - len(around[1])
    return around[0] + b",".join([item] * (room // (len(item) + 1))) + around[1]


DENSE = {
    "entries of numbers": filled(ENTRIES, b"1"),
    "entries of lists": filled(ENTRIES, b"[]"),
    "entries nested": filled(ENTRIES, b"[[[[]]]]"),
    "empty entries": filled(ENTRIES, b"{}"),
    "changes": filled(CHANGES, b"{}"),
    "fields": filled(CHANGES, b'{"field":"x"}'),
    "messages": filled(LISTS["messages"], b'{"id":"wamid.12345678901","from":"1"}'),
    "the same message": filled(LISTS["messages"], b'{"id":"1"}'),
    "messages of no shape": filled(LISTS["messages"], b"0"),
    "statuses": filled(LISTS["statuses"], b'{"id":"1","status":"read"}'),
    "contacts": filled(LISTS["contacts"], b"{}"),
    "keys": VALUE[0] + b",".join(b'"k%d":1' % n for n in range(300_000)) + VALUE[1],
    "not quite JSON": filled(ENTRIES, b"NaN"),
}


@pytest.mark.parametrize("kind", DENSE)
async def test_a_body_of_too_many_updates_is_refused(make_world: MakeWorld, kind: str) -> None:
    assert len(DENSE[kind]) <= BODY_BYTES_MAX
    async with make_world() as world:
        assert await post(world, DENSE[kind]) == 413
        assert world.rows("SELECT * FROM webhooks") == []
        assert await post(world, envelope(text("wamid.1", "hi"))) == 200


def calls_of(work: Callable[[], Any]) -> int:
    """How many Python and wbot functions the work calls: its cost, the same on any machine."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", DENSE)
def test_a_refusal_costs_no_more_than_an_accepted_body(kind: str) -> None:
    """An object for each of two million notices would block everything else for seconds."""

    def refused() -> None:
        with pytest.raises(OversizedError, match="10,000 updates"):
            parse_payload(DENSE[kind])

    assert calls_of(refused) < 25 * UPDATES_MAX


@pytest.mark.parametrize(
    ("within", "key"),
    [("statuses", "errors"), ("messages", "errors"), ("messages", "contacts"), ("messages", "odd")],
)
def test_one_update_may_hold_any_content(within: str, key: str) -> None:
    """It is stored unchanged, and only the displayed part of its lists is parsed."""
    before, after = LISTS[within]
    begun = b'{"id":"wamid.1","status":"failed","type":"contacts","%s":[' % key.encode()
    body = filled((before + begun, b"]}" + after), b"{}")
    payloads: list[Payload] = []
    assert calls_of(lambda: payloads.append(parse_payload(body))) < 25 * UPDATES_MAX
    (update,) = payloads[0].messages or payloads[0].statuses
    assert len(update.raw[key]) > 1_000_000


def body_of(*, messages: int = 0, statuses: int = 0, notices: int = 0) -> bytes:
    said = [text(f"wamid.{n}", f"hello {n}", **{"from": f"1555020{n:04}"}) for n in range(messages)]
    body = envelope(*said)
    value = body["entry"][0]["changes"][0]["value"]
    value["statuses"] = [{"id": f"wamid.out.{n}", "status": "sent"} for n in range(statuses)]
    body["entry"] += [{"id": str(n)} for n in range(notices)]
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "counts", [{"messages": 1}, {"statuses": 1}, {"notices": 1}], ids=lambda one: next(iter(one))
)
def test_messages_statuses_and_notices_count_alike(counts: dict[str, int]) -> None:
    rest = {"messages": 3_000, "statuses": 3_000, "notices": 4_000}
    payload = parse_payload(body_of(**rest))
    assert (len(payload.messages), len(payload.statuses), len(payload.notices)) == (
        3_000,
        3_000,
        4_000,
    )
    with pytest.raises(OversizedError):
        parse_payload(body_of(**{name: n + counts.get(name, 0) for name, n in rest.items()}))


@pytest.mark.parametrize(
    ("messages", "statuses"), [(0, 0), (1, 0), (0, 1), (250, 130), (PART_UPDATES_MAX, 0)]
)
def test_the_parts_are_the_whole(messages: int, statuses: int) -> None:
    payload = parse_payload(body_of(messages=messages, statuses=statuses, notices=3))
    parts = list(parts_of(payload))
    assert tuple(one for part in parts for one in part.messages) == payload.messages
    assert tuple(one for part in parts for one in part.statuses) == payload.statuses
    assert [part.notices for part in parts] == [payload.notices, *[()] * (len(parts) - 1)]
    assert all(len(part.messages) + len(part.statuses) <= PART_UPDATES_MAX for part in parts)
    assert len(parts) == max(1, -(-(messages + statuses) // PART_UPDATES_MAX))


async def first_part(world: World) -> None:
    """Wait until part of the large webhook is on disk."""
    async with asyncio.timeout(WAIT_S):
        while not world.rows("SELECT 1 FROM messages LIMIT 1"):  # noqa: ASYNC110  no event to wait for
            await asyncio.sleep(0.001)


async def test_10_000_updates_are_stored_in_parts_with_others_in_between(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        pause(world.service.settings.database)
        body = body_of(messages=7_000, statuses=UPDATES_MAX - 7_000)
        async with asyncio.TaskGroup() as group:
            dense = group.create_task(post(world, body))
            await first_part(world)
            assert await post(world, envelope(text("wamid.between", "hi"))) == 200
            assert not dense.done()
        assert dense.result() == 200
        (place,) = world.rows(
            "SELECT (SELECT count(*) FROM messages WHERE rowid < m.rowid) AS before, "
            "(SELECT count(*) FROM messages WHERE rowid > m.rowid) AS after "
            "FROM messages m WHERE message_id = 'wamid.between'"
        )
        assert place["before"] > 0
        assert place["after"] > 0
        assert place["before"] % PART_UPDATES_MAX == 0
        assert stored(world.service.settings.database) == (7_001, 3_000)
        assert await post(world, body) == 200
        assert world.rows("SELECT count(*) AS n FROM webhooks") == [{"n": 0}]


def pause(database: Path) -> None:
    """Pause the business, so that messages are only stored."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE businesses SET status = 'paused'")


def stored(database: Path) -> tuple[int, int]:
    """The number of messages and statuses on disk."""
    (row,) = query(
        database,
        "SELECT (SELECT count(*) FROM messages) AS messages, (SELECT count(*) FROM statuses) AS s",
    )
    return row["messages"], row["s"]


@pytest.mark.parametrize("moment", Moment)
async def test_a_webhook_that_was_cut_off_between_its_parts_is_completed_by_its_repetition(
    tmp_path: Path, moment: Moment
) -> None:
    database, port = tmp_path / "wbot.db", free_port()
    make_database(database)
    pause(database)
    service = Service(
        variables=variables(database, outside="http://127.0.0.1:9", port=port),
        port=port,
        folder=tmp_path,
        is_warm=True,
        clock=Clock(),
    )
    body = body_of(messages=250, statuses=150, notices=2)
    try:
        dying = await service.start(Cue(place=Place.INTAKE, nth=3, moment=moment))
        assert await service.opened(dying)
        with pytest.raises(aiohttp.ClientError):
            await deliver(port, body)
        assert await dying.over(WAIT_S)
        parts = 3 if moment is Moment.AFTER else 2
        assert stored(database) == (min(250, parts * 100), max(0, parts * 100 - 250))
        assert await service.opened(await service.start(Cue()))
        assert await deliver(port, body) == 200
        assert await deliver(port, body) == 200
    finally:
        await service.stop()
    assert stored(database) == (250, 150)
    numbers = "SELECT max(number) AS highest, count(*) AS n FROM messages GROUP BY conversation_id"
    assert all(row == {"highest": 1, "n": 1} for row in query(database, numbers))
    assert query(database, "PRAGMA foreign_key_check") == []


async def deliver(port: int, body: bytes) -> int:
    headers = {"X-Hub-Signature-256": sign(body, "torture-secret")}
    url = f"http://127.0.0.1:{port}/api/webhook"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status


# A repeated webhook ------------------------------------------------------------------------------


@pytest.fixture
def tx() -> Iterator[sqlite3.Connection]:
    with closing(make_tx()) as connection:
        yield connection


def test_a_repeated_webhook_writes_no_body_and_scans_nothing(tx: sqlite3.Connection) -> None:
    """It used to store the body and to scan all messages and statuses first."""
    body = body_of(messages=2, statuses=2)
    payload = parse_payload(body)
    tx.execute("BEGIN")
    record(tx, payload, body=body, now=STARTED_AT, installation="test")
    statements: list[str] = []
    tx.set_trace_callback(statements.append)
    again = record(tx, payload, body=body, now=STARTED_AT, installation="test")
    tx.set_trace_callback(None)
    assert (again.duplicates, again.statuses, again.webhook_id) == (2, 0, None)
    assert statements
    assert not [one for one in statements if "webhooks" in one]
    assert plans_with_scans(tx, statements) == []


def test_a_new_webhook_and_the_clearing_of_an_old_body_scan_nothing(
    tx: sqlite3.Connection,
) -> None:
    body = body_of(messages=2, statuses=2)
    tx.execute("BEGIN")
    statements: list[str] = ["DELETE FROM webhooks WHERE id = 1"]
    tx.set_trace_callback(statements.append)
    record(tx, parse_payload(body), body=body, now=STARTED_AT, installation="test")
    tx.set_trace_callback(None)
    assert plans_with_scans(tx, statements) == []


def plans_with_scans(tx: sqlite3.Connection, statements: list[str]) -> list[tuple[str, str]]:
    """Statements, with the lines of their plans that read a whole table."""
    return [
        (statement, row["detail"])
        for statement in statements
        if not statement.startswith("--")  # a trigger's own, which no statement can name
        for row in tx.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        if "SCAN" in row["detail"]
    ]


def test_a_body_is_stored_only_for_what_no_row_holds(tx: sqlite3.Connection) -> None:
    tx.execute("BEGIN")
    odd = body_of(messages=2, statuses=1).replace(b'"metadata"', b'"new": 1, "metadata"')
    for body, rows in (
        (body_of(messages=1), 0),
        (body_of(messages=1, statuses=1), 0),
        (odd, 1),
        (body_of(notices=1), 2),
    ):
        record(tx, parse_payload(body), body=body, now=STARTED_AT, installation="test")
        assert tx.execute("SELECT count(*) FROM webhooks").fetchone()[0] == rows
    named = "SELECT message_id, w.body FROM messages LEFT JOIN webhooks w ON w.id = webhook_id"
    assert [tuple(row) for row in tx.execute(named).fetchall()] == [
        ("wamid.0", None),
        ("wamid.1", odd),
    ]
