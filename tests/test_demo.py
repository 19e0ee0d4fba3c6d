"""`wbot demo` as a stranger meets it: the command, the page, a reply and its ticks."""

import asyncio
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import query
from playwright.async_api import async_playwright, expect

CHROMIUM = shutil.which("chromium")
WAIT_S = 30.0


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[str]:
    """The running command; yields the page's address that it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-u", "-m", "wbot", "demo", "--no-browser", "--port", "0"),
        *("--database", str(folder / "demo.db")),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line
        yield found[0]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
async def test_a_stranger_pays_confirms_by_the_button_and_gets_the_receipt(
    tmp_path: Path,
) -> None:
    async with demo(tmp_path) as url, async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking"],
        )
        page = await browser.new_page()
        await page.goto(url)
        alice = page.locator("#phone-15550101001")
        await alice.get_by_label("Message from Alice").fill("Transfer $20 to John")
        await alice.get_by_label("Message from Alice").press("Enter")
        await alice.get_by_role("button", name="Confirm").click(timeout=WAIT_S * 1000)
        receipt = alice.get_by_text("Sent $20.00 to “John” (T4). Available: $480.00.")
        await expect(receipt).to_be_visible(timeout=WAIT_S * 1000)
        read = alice.locator("li.bubble[data-state=read]")
        await expect(read).to_have_count(4, timeout=WAIT_S * 1000)
        await browser.close()
    delivered = query(tmp_path / "demo.db", "SELECT state FROM outbox")
    assert delivered == [{"state": "read"}] * 2
