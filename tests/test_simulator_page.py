"""The phone page in a real browser, where one is installed."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)
from simulated import ALICE, BOB, SHOP, Rig, running, text_to

from wbot.simulator.faults import Endpoint
from wbot.simulator.people import SimulatedCustomer

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = ViewportSize(width=1280, height=800)
NARROW = ViewportSize(width=390, height=844)
OpenPage = Callable[[ViewportSize], Awaitable[Page]]
CAROL = SimulatedCustomer("Carol", "15550100003")

# One loop and one browser for all of them: starting a browser takes longer than using it.
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(name="rig", loop_scope="module")
async def _rig() -> AsyncIterator[Rig]:
    customers = [ALICE, BOB, CAROL]
    async with running(status_delays_s=(0.0, 0.05, None), customers=customers) as rig:
        yield rig


@pytest_asyncio.fixture(name="browser", scope="module", loop_scope="module")
async def _browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(name="open_page", loop_scope="module")
async def _open_page(browser: Browser, rig: Rig) -> AsyncIterator[OpenPage]:
    """Opens the page, which must neither fail nor ask anybody else for anything."""
    context = await browser.new_context()
    context.set_default_timeout(5000)
    problems: list[str] = []
    context.on("weberror", lambda problem: problems.append(str(problem.error)))
    context.on("console", lambda message: problems.append(message.text))
    context.on("requestfailed", lambda request: problems.append(f"{request.url} {request.failure}"))

    async def open_page(viewport: ViewportSize) -> Page:
        page = await context.new_page()
        await page.set_viewport_size(viewport)
        await page.goto(rig.graph.base_url)
        await expect(page.locator(".phone")).to_have_count(3)
        return page

    yield open_page
    await context.close()
    expected = ("net::ERR_ABORTED", "net::ERR_FAILED")  # leaving a page, and a test's own block
    assert [one for one in problems if not any(word in one for word in expected)] == []


def phone_of(page: Page, customer: SimulatedCustomer) -> Locator:
    return page.locator(f"#phone-{customer.key}")


async def mark(rig: Rig, message_id: str) -> None:
    body = {"messaging_product": "whatsapp", "status": "read", "message_id": message_id}
    await rig.graph.post(body | {"typing_indicator": {"type": "text"}})


async def test_a_typed_message_gets_its_ticks_and_its_answer(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    alice = phone_of(page, ALICE)
    await alice.get_by_label("Message from Alice").fill("Transfer $20 to John")
    await alice.get_by_label("Message from Alice").press("Enter")
    mine = alice.locator(".bubble.mine")
    await expect(mine.locator(".text")).to_have_text("Transfer $20 to John")
    await expect(mine).to_have_attribute("data-state", "delivered")
    (message,) = rig.target.messages
    await mark(rig, message["id"])
    await expect(mine).to_have_attribute("data-state", "read")
    await expect(alice.locator(".typing")).to_be_visible()
    await expect(alice.locator(".chat-presence")).to_have_text("typing…")
    await rig.graph.send(ALICE, "Sent $20.00 to John\nBalance $480.00")
    theirs = alice.locator("li.bubble.theirs")
    await expect(theirs.locator(".text")).to_have_text("Sent $20.00 to John\nBalance $480.00")
    await expect(alice.locator(".typing")).to_be_hidden()
    await expect(theirs).to_have_attribute("data-state", "read")
    await rig.quiet()
    assert {one["status"] for one in rig.target.statuses} == {"sent", "delivered", "read"}
    await expect(phone_of(page, BOB).locator(".bubble.mine")).to_have_count(0)
    await page.reload()
    await expect(alice.locator("li.bubble")).to_have_count(2)
    await expect(mine).to_have_attribute("data-state", "read")


async def test_text_is_formatted_and_never_becomes_markup(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    await rig.simulator.say(ALICE, "<img src=x onerror=alert(1)> *<b>bold</b>* _it_ ~no~ 2*3*4")
    text = phone_of(page, ALICE).locator(".bubble.mine .text")
    await expect(text).to_have_text("<img src=x onerror=alert(1)> <b>bold</b> it no 2*3*4")
    await expect(text.locator("strong")).to_have_text("<b>bold</b>")
    await expect(text.locator("em")).to_have_text("it")
    await expect(text.locator("s")).to_have_text("no")
    await expect(text.locator("img, b")).to_have_count(0)


async def test_buttons_and_rows_can_be_tapped(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    alice, payload = phone_of(page, ALICE), text_to(ALICE) | {"type": "interactive"}
    del payload["text"]
    yes = {"type": "reply", "reply": {"id": "yes", "title": "Yes"}}
    body = {"type": "button", "body": {"text": "Sure?"}, "action": {"buttons": [yes]}}
    assert (await rig.graph.post(payload | {"interactive": body}))[0] == 200
    await alice.get_by_role("button", name="Yes").click()
    await expect(alice.locator(".bubble.mine .quote")).to_have_text("Sure?")
    await expect(alice.get_by_role("button", name="Yes")).to_be_disabled()
    rows = [{"id": "a", "title": "Apples"}, {"id": "b", "title": "Pears"}]
    action = {"button": "Choose", "sections": [{"title": "Fruit", "rows": rows}]}
    body = {"type": "list", "body": {"text": "Which?"}, "action": action}
    assert (await rig.graph.post(payload | {"interactive": body}))[0] == 200
    await alice.get_by_role("button", name="Choose").click()
    await alice.get_by_role("dialog", name="Choose").get_by_role("button", name="Pears").click()
    await expect(alice.locator(".bubble.mine .text")).to_have_text(["Yes", "Pears"])
    await rig.quiet()
    replies = [one["interactive"] for one in rig.target.messages]
    assert replies[0]["button_reply"] == {"id": "yes", "title": "Yes"}
    assert replies[1]["list_reply"] == {"id": "b", "title": "Pears"}


async def test_a_picture_can_be_attached_by_keyboard(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    alice = phone_of(page, ALICE)
    await alice.get_by_role("button", name="Attach").press("Enter")
    await page.keyboard.press("Enter")
    picture = alice.locator(".bubble.mine img")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


async def test_on_a_small_screen_one_phone_shows_at_a_time(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(NARROW)
    alice, bob = phone_of(page, ALICE), phone_of(page, BOB)
    await expect(alice).to_be_visible()
    await expect(bob).to_be_hidden()
    await rig.simulator.say(BOB, "Hello")
    wamid = await rig.graph.send(BOB, "Hello Bob")
    tab = page.get_by_role("tab", name="Bob")
    await expect(tab.locator(".badge")).to_have_text("1")
    await rig.quiet()
    assert "read" not in [one["status"] for one in rig.target.statuses if one["id"] == wamid]
    await tab.click()
    await expect(bob.locator("li.bubble.theirs")).to_have_attribute("data-state", "read")
    await expect(tab.locator(".badge")).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


async def test_trouble_is_switched_on_and_shown(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    await page.get_by_role("button", name="Cause trouble").click()
    switch = page.get_by_role("switch", name="Deliver webhooks three times")
    await switch.click()
    await expect(switch).to_have_attribute("aria-checked", "true")
    await page.keyboard.press("Escape")
    await expect(page.locator("#trouble-count")).to_have_text("1")
    await phone_of(page, ALICE).get_by_role("button", name="What's my balance?").click()
    await rig.target.until(lambda: len(rig.target.messages) == 3)
    assert rig.faults.lasting(Endpoint.WEBHOOK) is not None
    await expect(phone_of(page, ALICE).locator(".bubble.mine")).to_have_count(1)


async def test_a_lost_simulator_is_said_and_the_text_kept(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    await page.route("**/phone/say", lambda route: route.abort())
    alice = phone_of(page, ALICE)
    field = alice.get_by_label("Message from Alice")
    await field.fill("Hello")
    await field.press("Enter")
    await expect(alice.get_by_role("alert")).to_contain_text("did not get through")
    await expect(field).to_have_value("Hello")
    assert SHOP.name in await alice.locator(".chat-name").inner_text()
