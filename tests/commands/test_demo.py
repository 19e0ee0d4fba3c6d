"""`wbot demo` as a new user sees it: the command, the page, a reply, a kill, the output."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from cli_harness import Wbot
from conftest import query
from playwright.async_api import Locator, Page, async_playwright, expect

from wbot.commands import demo as command
from wbot.commands.loopback import SOURCE

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_S = 30.0
WAIT_MS = WAIT_S * 1000
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")


class Running(msgspec.Struct, frozen=True):
    """A running demo: its page, everything it printed, and its database."""

    url: str
    printed: str
    database: Path


@asynccontextmanager
async def demo(folder: Path, *options: str, port: str = "0") -> AsyncIterator[Running]:
    """The running command, until the block ends; it must then exit cleanly."""
    database = folder / "demo.db"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "wbot", "demo", "--no-browser"),
        *(("--port", port) if port else ()),
        *("--database", str(database), *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            printed = (await process.stdout.readuntil(b"Ctrl-C.\n")).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+/", printed.splitlines()[0])
        assert found, printed
        yield Running(found[0], printed, database)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Page]:
    """The page in a browser."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        await page.goto(url)
        yield page
        await browser.close()


async def write(phone: Locator, name: str, text: str) -> None:
    await phone.get_by_label(f"Message from {name}").fill(text)
    await phone.get_by_label(f"Message from {name}").press("Enter")


async def run(line: str, folder: Path) -> tuple[int | None, str]:
    """Run a shell line in another folder; returns exit code and output."""
    process = await asyncio.create_subprocess_shell(
        line, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(WAIT_S):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


@needs_chromium
async def test_a_stranger_pays_confirms_by_the_button_and_gets_the_receipt(
    tmp_path: Path,
) -> None:
    async with demo(tmp_path) as running, opened(running.url) as page:
        alice, bob = page.locator("#phone-15550101001"), page.locator("#phone-15550101002")
        await alice.get_by_role("button", name="Send $20 to +1 555 010 1002").first.click()
        await alice.get_by_role("button", name="Confirm").click()
        await expect(alice.get_by_text("Available: $480.00.")).to_be_visible()
        await expect(bob.get_by_text("Available: $520.00.")).to_be_visible()
        await expect(alice.locator("li.bubble[data-state=read]")).to_have_count(4)
        strip = page.locator("#proof .entry")
        await expect(strip.nth(0)).to_contain_text("Alice tapped Confirm")
        for entry in (strip.nth(0), strip.nth(1)):
            await expect(entry).to_contain_text("Delivered 3 times, acted once, answered once")
        await expect(strip.nth(0)).to_contain_text("$20.00 moved once")
        await expect(page.locator("#books")).to_contain_text("Books verified")
        await write(alice, "Alice", "Transfer $30 to Bob")
        await expect(alice.get_by_text("Bob (…1002), gets it at once (T6)")).to_be_visible()
        await alice.get_by_role("button", name="Confirm").last.click()
        await expect(bob.get_by_text("Available: $550.00.")).to_be_visible()
    assert query(running.database, "SELECT DISTINCT id FROM businesses") == [{"id": "shop"}]
    repeats = query(
        running.database, "SELECT DISTINCT duplicates FROM messages WHERE state = 'answered'"
    )
    assert repeats == [{"duplicates": 2}]


KILL_WHEN_TYPING = """() => {
  const typing = document.querySelector("#phone-15550101001 .typing");
  new MutationObserver((_changes, observer) => {
    if (typing.hidden) return;
    observer.disconnect();
    document.querySelector("#kill").click();
  }).observe(typing, {attributes: true});
}"""
"""Clicks in the page itself: from outside, a busy machine might be too late for the moment."""
KILLED_IN_A_TURN = re.compile(
    "Killed (while the model was being asked|between two steps of a turn)"
)


@needs_chromium
async def test_the_service_is_killed_in_the_middle_of_a_transfer_and_goes_on(
    tmp_path: Path,
) -> None:
    async with demo(tmp_path) as running, opened(running.url) as page:
        alice = page.locator("#phone-15550101001")
        process = await page.locator("#service-process").inner_text()
        await page.evaluate(KILL_WHEN_TYPING)
        await write(alice, "Alice", "Transfer $20 to John")
        killed = page.locator("#proof .entry.restart")
        await expect(killed).to_contain_text(KILLED_IN_A_TURN)
        await expect(killed).to_contain_text(
            re.compile(r"Back after .* s, resumed 1 message: answered once, money held once")
        )
        await expect(page.locator("#service-process")).not_to_have_text(process)
        await alice.get_by_role("button", name="Confirm").click()
        await expect(alice.locator("li.bubble.mine")).to_have_count(2)
        await page.get_by_role("button", name="Kill it now").click()
        await expect(alice.get_by_text("Available: $480.00.")).to_be_visible()
        await expect(killed).to_have_count(2)
        await expect(killed.first).to_have_attribute("data-state", "done")
        await expect(killed.first).to_contain_text("books verified")
        await expect(page.locator("#proof .entry").filter(has_text="Confirm")).to_contain_text(
            "$20.00 moved once"
        )
        await expect(alice.locator("li.bubble.theirs")).to_have_count(2)
        verified = [line for line in running.printed.splitlines() if "ledger verify" in line]
        assert (await run(verified[0], tmp_path))[0] == 0
    moved = query(
        running.database,
        "SELECT count(*) AS rows FROM transfers WHERE kind = 'transfer' AND phase = 'post'",
    )
    assert moved == [{"rows": 1}]
    attempts = query(running.database, "SELECT max(attempt) AS last FROM turns")
    assert attempts == [{"last": 2}]


async def test_every_printed_command_works_as_printed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    async with demo(tmp_path / "else where") as running:
        lines = [line for line in running.printed.splitlines() if "WBOT_DATABASE=" in line]
        assert len(lines) == 3
        for line in lines:
            code, said = await run(line, tmp_path)
            assert code == 0, said
        assert "500.00" in (await run(lines[1], tmp_path))[1]


def test_an_uninstalled_source_prints_commands_that_find_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    printed = command._command(tmp_path / "demo.db")
    assert printed == (f"cd {SOURCE} && WBOT_DATABASE={tmp_path}/demo.db {tmp_path}/python -m wbot")


async def test_a_used_port_is_replaced_by_the_next_free_one(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", command.FIRST_PORT))
            taken.listen()
        except OSError:
            pass  # another program uses it, which serves as well
        async with demo(tmp_path, port="") as running:
            port = int(running.url.rstrip("/").rsplit(":", 1)[1])
            assert port > command.FIRST_PORT
            assert f"port {command.FIRST_PORT} is taken" in running.printed


@pytest.fixture
def wbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Wbot:
    return Wbot(tmp_path, monkeypatch, capsys)


def test_a_port_that_was_named_is_not_replaced(wbot: Wbot) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = wbot("demo", "--no-browser", "--port", port)
    assert ran.code == 2
    assert ran.err.startswith(f"wbot: Port {port} is taken by another program;")


def test_a_real_business_is_not_played_with(wbot: Wbot) -> None:
    wbot.set(TOKEN="real")
    wbot.add_business("shop")
    ran = wbot("demo", "--no-browser", "--port", "0", "--database", str(wbot.database))
    assert ran.code == 2
    assert "holds the business 'shop', which is not the demo's" in ran.err
    assert query(wbot.database, "SELECT access_token FROM businesses") == [
        {"access_token": "env:TOKEN"}
    ]


async def test_a_service_that_does_not_end_does_not_keep_the_demo(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        stopped = service_of(running.database)
        os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


def service_of(database: Path) -> int:
    """The process of the demo's service, by its environment."""
    wanted = f"WBOT_DATABASE={database}".encode()
    found = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and _is_service(entry, wanted)
    ]
    assert len(found) == 1
    return found[0]


def _is_service(entry: Path, wanted: bytes) -> bool:
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        return b"serve" in words and wanted in (entry / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return False
