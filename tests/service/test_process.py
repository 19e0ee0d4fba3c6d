"""The real `wbot serve`: acknowledged messages survive kill -9, and problems are reported."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    ALICE,
    API_KEY,
    APP_SECRET,
    BOB,
    VERIFY_TOKEN,
    WAIT_S,
    deposit,
    make_simulator,
    query,
)

from wbot.domain.receipts import MARK
from wbot.simulator.faults.plan import Endpoint, silent
from wbot.simulator.simulator import MODEL, Simulator, serve

# No configuration of this machine's reaches a test.
WBOT = [sys.executable, "-m", "wbot", "--config", os.devnull]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def variables(database: Path, outside: str, port: int, **more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WBOT_", "OPENAI_"))}
    return clean | {
        "WBOT_DATABASE": str(database),
        "WBOT_PORT": str(port),
        "WBOT_VERIFY_TOKEN": VERIFY_TOKEN,
        "WBOT_APP_SECRET": APP_SECRET,
        "WBOT_GRAPH_URL": outside,
        "WBOT_MODEL": MODEL,
        "OPENAI_API_KEY": API_KEY,
        "OPENAI_BASE_URL": f"{outside}/v1",
        **more,
    }


class Process:
    """A running `wbot serve` and its log so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[dict[str, Any]] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    async def event(self, name: str) -> dict[str, Any]:
        """The next log line of this event."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            while line := await self._process.stdout.readline():
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == name:
                    return self.events[-1]
        raise AssertionError(f"the process ended without {name}: {self.events}")

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; returns the exit code."""
        self._process.send_signal(number)
        async with asyncio.timeout(WAIT_S):
            await self._process.communicate()
        return int(self._process.returncode or 0)


@asynccontextmanager
async def process(
    settings: dict[str, str], folder: Path, *options: str, launcher: Sequence[str] = ()
) -> AsyncIterator[Process]:
    started = await asyncio.create_subprocess_exec(
        *launcher,
        *WBOT,
        "serve",
        *options,
        env=settings,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        running = Process(started)
        await running.event("service.started")
        yield running
    finally:
        if started.returncode is None:
            started.kill()
            await started.communicate()


@asynccontextmanager
async def outside(**options: Any) -> AsyncIterator[tuple[Simulator, str, int]]:
    simulator, port = make_simulator(**options), free_port()
    simulator.webhook_url = f"http://127.0.0.1:{port}/api/webhook"
    async with serve(simulator) as url:
        yield simulator, url, port


async def test_a_message_acknowledged_before_kill_9_is_answered_after_the_next_start(
    database_path: Path, tmp_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port)
        simulator.faults.add(Endpoint.MODEL, silent())
        async with process(settings, tmp_path) as first:
            await simulator.say(ALICE, "Transfer $20 to John")
            await first.event("message.accepted")
            await simulator.until(lambda: len(simulator.completions) == 1, timeout_s=WAIT_S)
            assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        assert simulator.sends == ()
        async with process(settings, tmp_path) as second:
            reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
            assert reply.text.startswith(
                f"{MARK} Sent $20.00 to “John”, outside: "
                f"paid out by The Shop (T2). Available: $480.00."
            )
            assert await second.end(signal.SIGTERM) == 0


async def test_after_a_kill_between_tool_and_reply_money_moved_once(
    database_path: Path, tmp_path: Path
) -> None:
    """The transfer is journaled when the process dies; the restart continues from there."""
    deposit(database_path, ALICE, 50_000)
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port)
        blocked = asyncio.Event()

        async def answer(request: dict[str, Any]) -> Any:
            if request["messages"][-1]["role"] == "tool" and len(simulator.completions) == 2:
                blocked.set()
                await asyncio.Event().wait()
            return responder(request)

        simulator.responder = answer
        async with process(settings, tmp_path) as first:
            await simulator.say(ALICE, "Transfer $20 to John")
            async with asyncio.timeout(WAIT_S):
                await blocked.wait()
            await first.end(signal.SIGKILL)
        async with process(settings, tmp_path):
            reply = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
            assert (
                reply.text == f"{MARK} Sent $20.00 to “John”, outside: "
                f"paid out by The Shop (T2). Available: $480.00.\n\nDone."
            )
        steps = query(database_path, "SELECT kind FROM steps ORDER BY number")
        assert [step["kind"] for step in steps] == ["model", "tool", "model"]
        assert len(query(database_path, "SELECT * FROM transfers WHERE kind = 'transfer'")) == 1


def responder(request: dict[str, Any]) -> Any:
    """A transfer first, then text, as the built-in interpreter would answer."""
    is_second_round = request["messages"][-1]["role"] == "tool"
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "transfer", "arguments": '{"amount": "20", "to": "John"}'},
    }
    message: dict[str, Any] = (
        {"role": "assistant", "content": "Done."}
        if is_second_round
        else {"role": "assistant", "content": None, "tool_calls": [call]}
    )
    finish = "stop" if is_second_round else "tool_calls"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1790000000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }


async def test_sigterm_in_the_middle_of_a_turn_exits_0_and_the_answer_comes_later(
    database_path: Path, tmp_path: Path
) -> None:
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port)
        simulator.faults.add(Endpoint.MODEL, silent())
        async with process(settings, tmp_path) as first:
            await simulator.say(BOB, "What's my balance?")
            await simulator.until(lambda: len(simulator.completions) == 1, timeout_s=WAIT_S)
            assert await first.end(signal.SIGTERM) == 0
        async with process(settings, tmp_path):
            reply = await simulator.wait_for_reply_to(BOB, after=0, timeout_s=WAIT_S)
            assert "Available: $0.00" in reply.text


async def test_a_webhook_sent_while_the_service_is_down_arrives_later(
    database_path: Path, tmp_path: Path
) -> None:
    async with outside() as (simulator, url, port):
        await simulator.say(BOB, "What's my balance?")
        async with process(variables(database_path, url, port), tmp_path):
            reply = await simulator.wait_for_reply_to(BOB, after=0, timeout_s=WAIT_S)
            assert "Available: $0.00" in reply.text


async def test_logs_hold_no_text_no_whole_number_and_no_secret(
    database_path: Path, tmp_path: Path
) -> None:
    async with outside() as (simulator, url, port):
        async with process(variables(database_path, url, port), tmp_path) as running:
            await simulator.say(ALICE, "my password is swordfish")
            await running.event("reply.sent")
            await running.event("reply.status")
        names = {event["event"] for event in running.events}
        assert {
            "webhook.answered",
            "message.accepted",
            "config.loaded",
            "message.processed",
            "reply.sent",
            "reply.status",
        } <= names
        everything = json.dumps(running.events)
        for secret in ("swordfish", str(ALICE.phone), APP_SECRET, API_KEY, VERIFY_TOKEN):
            assert secret not in everything


def run(
    settings: dict[str, str], folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WBOT, *arguments],
        env=settings,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_sentence(ended: subprocess.CompletedProcess[str]) -> str:
    """The message of a command that refused to start: exit 2, one line, no traceback."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"WBOT_APP_SECRET": ""}, "WBOT_APP_SECRET"),
        ({"WBOT_VERIFY_TOKEN": "", "WBOT_MODEL": ""}, "WBOT_VERIFY_TOKEN, WBOT_MODEL"),
        ({"OPENAI_API_KEY": ""}, "OPENAI_API_KEY"),
        ({"WBOT_PORT": "http"}, "WBOT_PORT"),
        ({"WBOT_CACHE_TTL": "0"}, "WBOT_CACHE_TTL"),
        ({"WBOT_LOG_LEVEL": "loud"}, "WBOT_LOG_LEVEL"),
        ({"WBOT_DATABASE": "/proc/none/wbot.db"}, "/proc/none"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_and_exit_2(
    database_path: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port(), **changes)
    assert words in one_sentence(run(settings, tmp_path, "serve"))


def test_an_unreadable_database_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"this is no database" * 100)
    settings = variables(path, "http://127.0.0.1:9", free_port())
    assert "broken.db" in one_sentence(run(settings, tmp_path, "serve"))
    assert path.read_bytes().startswith(b"this is no database")


async def test_a_busy_port_and_a_second_process_are_one_sentence_each(
    database_path: Path, tmp_path: Path
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    async with process(settings, tmp_path):
        second = await asyncio.to_thread(run, settings, tmp_path, "serve")
        assert "already serves" in one_sentence(second)
        other = settings | {"WBOT_DATABASE": str(tmp_path / "other.db")}
        busy = await asyncio.to_thread(run, other, tmp_path, "serve", "--create")
        assert f"Cannot listen on 127.0.0.1:{settings['WBOT_PORT']}" in one_sentence(busy)
