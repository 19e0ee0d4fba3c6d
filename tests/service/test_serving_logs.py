"""The real `wbot serve`, whether its log is read or not, and the signals for logs."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import ALICE, BOB, WAIT_S, query
from test_process import WBOT, outside, variables

from wbot.simulator.simulator import Simulator

PIPE_BYTES = 64 * 1024
A_LINE_BYTES_MIN = 100


class Served:
    """A running service whose stdout is a pipe that only `read` reads."""

    def __init__(self, process: asyncio.subprocess.Process, reader: int, url: str) -> None:
        self.process = process
        self.reader = reader
        self.url = url

    async def read_until(self, event: str) -> None:
        async with asyncio.timeout(WAIT_S):
            seen = b""
            while f'"{event}"'.encode() not in seen:
                seen += await asyncio.to_thread(os.read, self.reader, PIPE_BYTES)

    async def end(self) -> int:
        self.process.terminate()
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()


@asynccontextmanager
async def served(settings: dict[str, str], folder: Path) -> AsyncIterator[Served]:
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *WBOT, "serve", env=settings, cwd=folder, stdout=writer
    )
    os.close(writer)
    running = Served(process, reader, f"http://127.0.0.1:{settings['WBOT_PORT']}")
    try:
        await running.read_until("service.started")
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if running.reader >= 0:
            os.close(running.reader)


async def fill_the_pipe(url: str) -> None:
    """Log more than the pipe can hold; every POST is answered."""
    async with aiohttp.ClientSession() as session:
        for _ in range(2 * PIPE_BYTES // A_LINE_BYTES_MIN):
            async with session.post(f"{url}/api/webhook", data=b"{}") as answer:
                assert answer.status == 401


async def is_answered(simulator: Simulator) -> None:
    """Messages are still accepted, and replies are still sent."""
    seen = len(simulator.replies_to(BOB))
    await simulator.say(BOB, "What's my balance?")
    await simulator.wait_for_reply_to(BOB, after=seen, timeout_s=WAIT_S)


def events_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_a_reader_that_stops_reading_stops_neither_the_service_nor_its_end(
    database_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "wbot.log"
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port, WBOT_LOG_FILE=str(file))
        async with served(settings, tmp_path) as running:
            await fill_the_pipe(running.url)
            await is_answered(simulator)
            assert await running.end() == 0
    # The file's lines do not wait for the pipe's.
    assert events_of(file)[-1]["event"] == "service.stopped"


async def test_a_reader_that_went_away_costs_its_lines_and_nothing_else(
    database_path: Path, tmp_path: Path
) -> None:
    async with (
        outside() as (simulator, url, port),
        served(variables(database_path, url, port), tmp_path) as running,
    ):
        os.close(running.reader)
        running.reader = -1
        await is_answered(simulator)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{running.url}/health") as answer:
                assert answer.status == 200
                assert (await answer.json())["logs"]["dropped"] > 0
            async with session.get(f"{running.url}/metrics") as answer:
                (line,) = [
                    one
                    for one in (await answer.text()).splitlines()
                    if one.startswith("wbot_log_lines_dropped_total ")
                ]
                assert float(line.split()[1]) > 0
        assert await running.end() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
async def test_a_signal_about_logs_ends_nothing(
    database_path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    async with (
        outside() as (simulator, url, port),
        served(variables(database_path, url, port), tmp_path) as running,
    ):
        running.process.send_signal(number)
        await is_answered(simulator)
        assert running.process.returncode is None
        assert await running.end() == 0


async def test_a_log_file_that_was_moved_goes_on_at_its_path_after_sighup(
    database_path: Path, tmp_path: Path
) -> None:
    file, moved = tmp_path / "logs" / "wbot.log", tmp_path / "wbot.log.old"
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port, WBOT_LOG_FILE=str(file))
        async with served(settings, tmp_path) as running:
            file.rename(moved)
            running.process.send_signal(signal.SIGHUP)
            await is_answered(simulator)
            assert await running.end() == 0
    assert events_of(moved)[0]["event"] == "service.started"
    assert "message.processed" in {event["event"] for event in events_of(file)}


async def test_a_log_folder_that_was_removed_comes_back(
    database_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "logs" / "wbot.log"
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port, WBOT_LOG_FILE=str(file))
        async with served(settings, tmp_path) as running:
            file.unlink()
            file.parent.rmdir()
            await is_answered(simulator)
            assert await running.end() == 0
    assert "message.processed" in {event["event"] for event in events_of(file)}


async def test_a_crash_is_one_log_line_and_no_traceback_on_stderr(
    database_path: Path, tmp_path: Path
) -> None:
    """What an exception quotes would otherwise reach everyone who can read stderr."""
    code = (
        "import sys; from pathlib import Path; from wbot.logs import start_logs, stop_logs\n"
        "import atexit\n"
        "start_logs(level='info', style='json', stream=sys.stdout, file=None)\n"
        "atexit.register(stop_logs, 5.0)\n"
        "raise ValueError('call +1 555 010 1001')"
    )
    process = await asyncio.create_subprocess_exec(
        WBOT[0],
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
    )
    out, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")
    event = json.loads(out)
    assert (event["event"], event["level"]) == ("service.crashed", "critical")
    assert event["exception"].endswith("ValueError: call (number)")


async def test_a_message_is_named_in_logs_as_wbot_why_takes_it(
    database_path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "wbot.log"
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port, WBOT_LOG_FILE=str(file))
        async with served(settings, tmp_path) as running:
            await simulator.say(ALICE, "What's my balance?")
            await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
            assert await running.end() == 0
        (name,) = {event["message_id"] for event in events_of(file) if "message_id" in event}
        why = await asyncio.create_subprocess_exec(
            *WBOT, "why", name, "--json", env=settings, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await why.communicate()
    (message,) = query(database_path, "SELECT message_id FROM messages")
    assert json.loads(out)["message_id"] == message["message_id"]
    assert message["message_id"] not in file.read_text()


async def test_a_malformed_request_is_one_short_line(database_path: Path, tmp_path: Path) -> None:
    """With a traceback each, a stranger's flood would rotate everything else out of the file."""
    file = tmp_path / "wbot.log"
    async with outside() as (_, url, port):
        settings = variables(database_path, url, port, WBOT_LOG_FILE=str(file))
        async with served(settings, tmp_path) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
            async with asyncio.timeout(WAIT_S):
                assert b" 400 " in await reader.readline()
            writer.close()
            assert await running.end() == 0
    (line,) = [one for one in events_of(file) if one["event"] == "aiohttp.server.logged"]
    assert "exception" not in line
