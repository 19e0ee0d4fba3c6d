"""Tries dist/wbot in an empty environment: every command, then one message and its reply.

PYTHONPATH=. python tests/binary/smoke.py dist/wbot
"""

import asyncio
import json
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from wbot.__main__ import COMMANDS
from wbot.clock import Clock
from wbot.commands.loopback import BUSINESS, PEOPLE
from wbot.simulator.simulator import Simulator, serve

START_S = 30.0
GOAL_S = 3.0
TOKEN = secrets.token_hex(8)


def run(binary: Path, folder: Path, environment: dict[str, str], *command: str) -> str:
    ran = subprocess.run(
        [binary, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )
    if ran.returncode != 0:
        sys.exit(f"`wbot {' '.join(command)}` ended with {ran.returncode}: {ran.stderr}")
    return ran.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def first_answer(url: str) -> None:
    async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/live") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)


async def talk(binary: Path, folder: Path) -> float:
    """One message to the running binary and its reply; seconds until it answered at all."""
    app_secret, verify_token = secrets.token_hex(8), secrets.token_hex(8)
    simulator = Simulator(
        clock=Clock(),
        app_secret=app_secret,
        verify_token=verify_token,
        access_token=TOKEN,
        businesses=[BUSINESS],
        customers=PEOPLE,
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with serve(simulator) as graph_url:
        environment = {
            "WBOT_GRAPH_URL": graph_url,
            "WBOT_PORT": str(port),
            "WBOT_VERIFY_TOKEN": verify_token,
        }
        answers = {
            "--business": "shop",
            "--name": "Shop",
            "--phone-number-id": BUSINESS.phone_number_id,
            "--access-token": TOKEN,
            "--app-secret": app_secret,
            "--model": "offline",
        }
        options = [word for pair in answers.items() for word in pair]
        await asyncio.to_thread(run, binary, folder, environment, "init", *options, "--yes")
        started = time.monotonic()
        service = await asyncio.create_subprocess_exec(
            binary, "serve", cwd=folder, env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await first_answer(url)
            took_s = time.monotonic() - started
            simulator.webhook_url = f"{url}/api/webhook"
            await simulator.say(PEOPLE[0], "What's my balance?")
            reply = await simulator.wait_for_reply_to(PEOPLE[0], after=0, timeout_s=START_S)
            assert "Available: $0.00" in reply.text, reply.text
            async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as answer:
                assert answer.status == 200, await answer.text()
            service.send_signal(signal.SIGTERM)
            assert await service.wait() == 0
        finally:
            if service.returncode is None:
                service.kill()
        copied = await asyncio.to_thread(
            run, binary, folder, environment, "backup", "copy.db", "--json"
        )
        assert json.loads(copied)["bytes"] > 0
    return took_s


def main(binary: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(run(binary, folder, {}, "--version").strip())
        for command in COMMANDS:
            run(binary, folder, {}, command, "--help")
        took_s = asyncio.run(talk(binary, folder))
    print(
        f"{binary}, {binary.stat().st_size / 1e6:.0f} MB: {len(COMMANDS)} commands, a message and "
        f"its reply; the first request was answered after {took_s:.1f} s (goal: {GOAL_S:.0f} s)."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
