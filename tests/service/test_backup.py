"""A backup of the live service, a kill, and what the restored copy does and leaves undone."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import ALICE, BOB, CAROL, WAIT_S, MakeWorld, deposit, query, writing
from test_process import WBOT, outside, process, variables

from wbot.admin import restoration
from wbot.clock import Clock, to_text
from wbot.domain.business_settings import changed
from wbot.simulator.faults.plan import Endpoint, dropped, silent
from wbot.storage import businesses, copies, restorations

PAUSED = "Payments and balances are paused while our books are checked; please try again later."


async def run(settings: dict[str, str], *command: str) -> str:
    """One command, which must succeed; its output."""
    started = await asyncio.create_subprocess_exec(
        *WBOT,
        *command,
        env=settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        out, err = await started.communicate()
    assert started.returncode == 0, err.decode()
    return out.decode()


def asks_always(path: Path) -> None:
    with writing(path) as tx:
        shop = businesses.required(tx, "shop")
        businesses.change(tx, changed(shop, {"confirm_above": "0"}))


async def test_a_restored_copy_repeats_nothing_that_the_original_may_have_done(
    database_path: Path, tmp_path: Path
) -> None:
    deposit(database_path, ALICE, 50_000)
    asks_always(database_path)
    copy = str(tmp_path / "copy.db")
    async with outside() as (simulator, url, port):
        settings = variables(database_path, url, port)
        async with process(settings, tmp_path) as original:
            await simulator.say(ALICE, "Transfer $20 to John")
            question = await simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
            await original.event("reply.sent")
            simulator.faults.add(Endpoint.SEND, dropped())
            await simulator.say(CAROL, "What's my balance?")
            assert (await original.event("reply.not_sent"))["outcome"] == "unknown"
            asked_before = len(simulator.completions)
            simulator.faults.always(Endpoint.MODEL, silent())
            await simulator.say(BOB, "What's my balance?")
            await simulator.until(
                lambda: len(simulator.completions) > asked_before, timeout_s=WAIT_S
            )
            assert json.loads(await run(settings, "backup", copy, "--json"))["path"] == copy
            deposit(database_path, ALICE, 500)
            await original.end(signal.SIGKILL)
        simulator.faults.clear()
        sent_before = len(simulator.sends)
        restored = json.loads(await run(settings, "restore", copy, "--json"))["gaps"][0]
        assert (restored["messages"], restored["replies"], restored["holds"]) == (1, 1, 1)
        async with process(settings, tmp_path):
            asked = await simulator.wait_for_reply_to(BOB, after=0, timeout_s=WAIT_S)
            assert "Shall I still do that?" in asked.text
            confirm = question.payload["interactive"]["action"]["buttons"][0]["reply"]
            await simulator.tap(ALICE, confirm["id"], confirm["title"], question.wamid)
            late = await simulator.wait_for_reply_to(ALICE, after=1, timeout_s=WAIT_S)
            assert PAUSED in late.text
            await simulator.say(ALICE, "Transfer $5 to John")
            refused = await simulator.wait_for_reply_to(ALICE, after=2, timeout_s=WAIT_S)
            assert PAUSED in refused.text
            assert len(simulator.sends) == sent_before + 3
            gap = json.loads(await run(settings, "restore", "--accept", "--json"))["gaps"][0]
            assert [one["amount"] for one in gap["lost"]["transfers"]] == ["5.00"]
            await simulator.say(ALICE, "What's my balance?")
            told = await simulator.wait_for_reply_to(ALICE, after=3, timeout_s=WAIT_S)
            assert "Available: $500.00" in told.text
        await run(settings, "ledger", "verify")


def restored(path: Path, tmp_path: Path) -> None:
    restoration.back_up(path, tmp_path / "copy.db", Clock().now())
    restoration.restore(tmp_path / "copy.db", path, Clock().now())


def accept(path: Path) -> None:
    with writing(path) as tx:
        restorations.accept(tx, to_text(Clock().now()))


async def test_health_is_red_until_the_copy_is_accepted(
    database_path: Path, tmp_path: Path, make_world: MakeWorld
) -> None:
    restored(database_path, tmp_path)
    async with make_world() as world:
        assert "`wbot restore --accept`" in (await world.health_of(503))["reasons"][0]
        accept(database_path)
        await world.health_of(200)


async def test_a_backup_put_in_place_by_hand_is_settled_by_the_service(
    database_path: Path, tmp_path: Path, make_world: MakeWorld
) -> None:
    before = query(database_path, "SELECT id FROM installation")
    restoration.back_up(database_path, tmp_path / "copy.db", Clock().now())
    copies.remove(database_path)
    (tmp_path / "copy.db").rename(database_path)
    async with make_world() as world:
        await world.health_of(503)
        assert world.rows("SELECT id FROM installation") != before
        accept(database_path)
        await world.health_of(200)


@pytest.fixture
def large(database_path: Path) -> Path:
    """A database whose copy takes a moment."""
    with writing(database_path) as tx:
        rows = [("2026-11-25T00:00:00.000000Z", os.urandom(1_000_000))] * 60
        tx.executemany("INSERT INTO webhooks (received_at, body) VALUES (?, ?)", rows)
    return database_path


async def test_a_backup_that_is_killed_leaves_no_file_of_that_name(
    large: Path, tmp_path: Path
) -> None:
    (folder := tmp_path / "copies").mkdir()
    settings = variables(large, "http://127.0.0.1:9", 0)
    started = await asyncio.create_subprocess_exec(
        *WBOT, "backup", str(folder / "copy.db"), env=settings
    )
    async with asyncio.timeout(WAIT_S):
        while not await asyncio.to_thread(lambda: list(folder.iterdir())):
            pass
    started.kill()
    await started.wait()
    assert not (folder / "copy.db").exists()
    await run(settings, "backup", str(folder / "copy.db"))
    assert [path.name for path in folder.iterdir()] == ["copy.db"]


def test_a_backup_that_finds_no_room_leaves_nothing(large: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "copies").mkdir()
    limited = f"ulimit -f 1000; exec {shlex.join([*WBOT, 'backup', str(folder / 'copy.db')])}"
    settings = variables(large, "http://127.0.0.1:9", 0)
    ran = subprocess.run(
        ["sh", "-c", limited], env=settings, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []
