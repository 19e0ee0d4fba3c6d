"""How a start goes with a hundred thousand messages left unfinished by a crash.

A database is filled through the real intake, the real `wbot serve` is started on it, and three
figures are read: seconds until it answers, memory, and messages finished per second. Nothing can
be sent (the Graph API is a closed port), so only the turns are measured.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import track

from wbot.clock import Clock, to_text
from wbot.domain.business import Business
from wbot.inbound.intake import record
from wbot.inbound.webhook_parser import parse_payload
from wbot.storage import businesses, migrations
from wbot.storage.database import connect, transaction

HOST = "127.0.0.1"
CUSTOMERS = 5_000
BATCH = 1_000
WATCHED_S = 20.0
clock = Clock()


def fill(path: Path, count: int) -> None:
    connection = connect(path)
    migrations.migrate(connection, path, clock.now())
    business = Business(
        id="benchmark",
        name="Benchmark",
        phone_number_id="1",
        access_token="none",
        currency_code="USD",
    )
    with transaction(connection):
        businesses.add(connection, business, to_text(clock.now()))
    for first in track(range(0, count, BATCH), "Filling", transient=True):
        body = body_of(range(first, min(first + BATCH, count)))
        with transaction(connection):
            payload = parse_payload(body)
            record(connection, payload, body=body, now=clock.now(), installation="benchmark")
    connection.close()


def body_of(numbers: range) -> bytes:
    said = [
        {
            "from": f"1555{number % CUSTOMERS:07}",
            "id": f"wamid.{number}",
            "timestamp": str(int(clock.now().timestamp())),
            "type": "text",
            "text": {"body": "What's my balance?"},
        }
        for number in numbers
    ]
    value = {"metadata": {"phone_number_id": "1"}, "messages": said}
    entry = [{"id": "1", "changes": [{"field": "messages", "value": value}]}]
    return json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()


async def measure(folder: Path, count: int) -> None:
    path = folder / "wbot.db"
    await asyncio.to_thread(fill, path, count)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    variables = {
        **os.environ,
        "WBOT_DATABASE": str(path),
        "WBOT_PORT": str(port),
        "WBOT_APP_SECRET": "benchmark",
        "WBOT_VERIFY_TOKEN": "benchmark",
        "WBOT_MODEL": "offline",
        "WBOT_GRAPH_URL": f"http://{HOST}:9",
        "WBOT_LOG_LEVEL": "error",
    }
    started = clock.monotonic()
    command = [sys.executable, "-m", "wbot", "serve"]
    process = await asyncio.create_subprocess_exec(*command, env=variables, cwd=folder)
    try:
        await report(process.pid, f"http://{HOST}:{port}/health", started, count)
        process.send_signal(signal.SIGTERM)
        stopping = clock.monotonic()
        code = await process.wait()
        print(f"stopped with {code} {clock.monotonic() - stopping:.1f} s after SIGTERM")
    finally:
        if process.returncode is None:
            process.kill()


async def report(pid: int, url: str, started: float, count: int) -> None:
    async with aiohttp.ClientSession() as session:
        first = await health(session, url)
        ready_s = clock.monotonic() - started
        Console().print(f"{count} unfinished: ready after {ready_s:.2f} s, {memory(pid)}")
        await asyncio.sleep(WATCHED_S)
        last = await health(session, url)
    ended = last["processor"]["processed"] - first["processor"]["processed"]
    Console().print(f"then {ended / WATCHED_S:.0f} messages a second, {memory(pid)}")


async def health(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get(url) as answer:
                    found: dict[str, Any] = await answer.json()
                    return found
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)


def memory(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return f"{int(kib) // 1024} MiB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="unfinished messages")
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name), parser.parse_args().count))
