"""How fast webhooks are acknowledged, compared with two baselines in the same run.

`bare` checks the signature and answers without storing anything: the floor of HTTP itself.
`each its own commit` stores the body with one fsync per webhook: what group commit saves.
`wbot` is the whole intake: signature, parse, customer, message, commit. Its business is paused, so
that no turn is measured with it.
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.table import Table

from wbot.app import build_app, serving
from wbot.clock import Clock, elapsed_ms, to_text
from wbot.commands.serve import run
from wbot.domain.business import Business
from wbot.inbound.signature import sign
from wbot.logs import configure_logs
from wbot.settings import read_settings
from wbot.storage import businesses, migrations
from wbot.storage.database import connect, transaction

SECRET = "benchmark-secret"
CONNECTIONS = 50
HOST = "127.0.0.1"
clock = Clock()


def body_of(number: int) -> bytes:
    message = {
        "from": f"1555030{number % 500:04}",
        "id": f"wamid.benchmark.{number}",
        "timestamp": str(int(clock.now().timestamp())),
        "type": "text",
        "text": {"body": "What's my balance?"},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"phone_number_id": "1"},
        "contacts": [{"profile": {"name": "Somebody"}, "wa_id": message["from"]}],
        "messages": [message],
    }
    entry = [{"id": "1", "changes": [{"field": "messages", "value": value}]}]
    return json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()


async def acknowledged(url: str, count: int) -> tuple[float, list[float]]:
    """Webhooks per second, and the milliseconds of each."""
    numbers = iter(range(count))
    times: list[float] = []

    async def post_some(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = body_of(number)
            headers = {"X-Hub-Signature-256": sign(body, SECRET)}
            started = clock.monotonic()
            async with session.post(url, data=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
            times.append(elapsed_ms(started, clock.monotonic()))

    started = clock.monotonic()
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(post_some(session) for _ in range(CONNECTIONS)))
    return count / (clock.monotonic() - started), sorted(times)


@asynccontextmanager
async def plain(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/api/webhook", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def bare(request: web.Request) -> web.Response:
    assert sign(await request.read(), SECRET) == request.headers["X-Hub-Signature-256"]
    return web.Response(text="ok\n")


@asynccontextmanager
async def each_its_own_commit(folder: Path) -> AsyncIterator[int]:
    connection = sqlite3.connect(folder / "each.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE webhooks (body BLOB)")

    async def store(request: web.Request) -> web.Response:
        body = await request.read()
        assert sign(body, SECRET) == request.headers["X-Hub-Signature-256"]
        connection.execute("INSERT INTO webhooks VALUES (?)", (body,))
        return web.Response(text="ok\n")

    async with plain(store) as port:
        yield port
    connection.close()


@asynccontextmanager
async def wbot(folder: Path) -> AsyncIterator[int]:
    path = folder / "wbot.db"
    connection = connect(path)
    migrations.migrate(connection, path, clock.now())
    business = Business(
        id="benchmark",
        name="Benchmark",
        phone_number_id="1",
        access_token="none",
        currency_code="USD",
        is_paused=True,
    )
    with transaction(connection):
        businesses.add(connection, business, to_text(clock.now()))
    connection.close()
    variables = {
        "WBOT_DATABASE": str(path),
        "WBOT_APP_SECRET": SECRET,
        "WBOT_VERIFY_TOKEN": "none",
        "WBOT_MODEL": "offline",
    }
    async with serving(build_app(read_settings(variables), variables), HOST, 0) as port:
        yield port


async def measure(count: int) -> None:
    table = Table("", "webhooks/s", "p50 ms", "p99 ms", "of bare", title=f"{count} webhooks")
    floor = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = {
            "bare": plain(bare),
            "each its own commit": each_its_own_commit(folder),
            "wbot": wbot(folder),
        }
        for subject, server in subjects.items():
            async with server as port:
                rate, times = await acknowledged(f"http://{HOST}:{port}/api/webhook", count)
            floor = floor or rate
            p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
            table.add_row(subject, f"{rate:.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{rate / floor:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000, help="webhooks a subject")
    configure_logs(level="warning", style="json")
    arguments = parser.parse_args()
    run(lambda: measure(arguments.count))
