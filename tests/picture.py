"""Makes the picture of the phones in README: the demo in a browser. `make picture`."""

import asyncio
import re
import shutil
import signal
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Locator, Page, ViewportSize, async_playwright, expect

CHROMIUM = shutil.which("chromium")
VIEW = ViewportSize(width=1280, height=760)
WAIT_MS = 60_000.0
ARGUMENTS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]

TO_WEBP = """async (url) => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.9);
}"""


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[str]:
    """`wbot demo` with its own database; yields the URL of its phone page."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-u", "-m", "wbot", "demo", "--no-browser", "--port", "0"),
        *("--database", str(folder / "demo.db")),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_MS / 1000):
            found = None
            while found is None:
                line = (await process.stdout.readline()).decode()
                assert line, "the demo ended before it printed its address"
                found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()


async def say(page: Page, name: str, number: str, text: str) -> Locator:
    """A customer writes; returns their phone."""
    phone = page.locator(f"#phone-{number}")
    field = phone.get_by_label(f"Message from {name}")
    await field.fill(text)
    await field.press("Enter")
    return phone


async def play(page: Page) -> None:
    """One payment whose turn is killed, one balance, and one payment that the rules refuse."""
    alice = await say(page, "Alice", "15550101001", "Transfer $20 to Bob")
    await expect(alice.get_by_label("typing")).to_be_visible(timeout=WAIT_MS)
    await page.get_by_role("button", name="Kill it now").click()
    await alice.get_by_role("button", name="Confirm").click(timeout=WAIT_MS)
    await expect(alice.get_by_text("Sent $20.00")).to_be_visible(timeout=WAIT_MS)
    bob = await say(page, "Bob", "15550101002", "What's my balance?")
    await expect(bob.get_by_text("Available: $520.00")).to_be_visible(timeout=WAIT_MS)
    carol = await say(page, "Carol", "15550101003", "Send 9000 to Mary")
    await expect(carol.get_by_text("Not sent")).to_be_visible(timeout=WAIT_MS)
    for phone in (alice, bob, carol):
        unread = phone.locator("li.bubble:not([data-state=read])")
        await expect(unread).to_have_count(0, timeout=WAIT_MS)
    await expect(page.locator("#proof-list")).to_contain_text("resumed", timeout=WAIT_MS)
    await page.evaluate("document.activeElement.blur()")


async def take() -> bytes:
    """Take the picture, as WebP."""
    with tempfile.TemporaryDirectory() as folder:
        async with demo(Path(folder)) as url, async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = await browser.new_page(viewport=VIEW, color_scheme="light")
            await page.goto(url)
            await play(page)
            picture = await page.screenshot(animations="disabled")
            converted = await as_webp(await browser.new_page(), picture)
            await browser.close()
            return converted


async def as_webp(page: Page, png: bytes) -> bytes:
    """The same picture in a third of the bytes; the browser has the encoder."""
    url = f"data:image/png;base64,{b64encode(png).decode()}"
    converted: str = await page.evaluate(TO_WEBP, url)
    return b64decode(converted.partition(",")[2])


DIFFERENCE = """async (urls) => {
    const [width, height] = [80, 48];
    const pixels = await Promise.all(urls.map(async (url) => {
        const image = new Image();
        image.src = url;
        await image.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [width, height];
        const context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(image, 0, 0, width, height);
        return context.getImageData(0, 0, width, height).data;
    }));
    const apart = pixels[0].reduce((sum, one, at) => sum + Math.abs(one - pixels[1][at]), 0);
    return apart / (width * height * 3);
}"""


async def difference(one: bytes, other: bytes) -> float:
    """How far two pictures are from each other, by the mean of their channels (0 to 255)."""
    urls = [f"data:image/webp;base64,{b64encode(picture).decode()}" for picture in (one, other)]
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        found: float = await page.evaluate(DIFFERENCE, urls)
        await browser.close()
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(asyncio.run(take()))
