"""The phone page in a real browser, where one is installed."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

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
from simulator_harness import ALICE, BOB, SHOP, Rig, running, text_to

from wbot.simulator.faults.plan import Endpoint
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
    """Opens the page, which must neither fail nor request anything from other hosts."""
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


PROOF: dict[str, Any] = {
    "pid": 4711,
    "restarts": 1,
    "totals": {"messages": 1, "delivered": 3, "acted": 1, "replies": 1},
    "books": {"at_ms": 1_790_000_009_000, "times": 4, "transfers": 5, "breaches": []},
    "entries": [
        {
            "kind": "message",
            "id": "wamid.1",
            "at_ms": 1_790_000_000_000,
            "customer": "Alice",
            "type": "text",
            "words": "Send $20",
            "delivered": 3,
            "unanswered": 0,
            "state": "answered",
            "is_finished": True,
            "attempts": 2,
            "acted": 1,
            "replies": 1,
            "deeds": [{"deed": "moved", "transfer": "T4", "amount": "$20.00"}],
        },
        {
            "kind": "restart",
            "at_ms": 1_790_000_001_000,
            "is_ours": True,
            "during": "model",
            "back_s": 1.4,
            "is_verified": True,
            "unfinished": 1,
            "resumed": 1,
            "replies": 1,
            "moved": 1,
            "held": 0,
        },
    ],
}


def spaced(customer: SimulatedCustomer) -> str:
    digits = str(customer.phone)
    return f"+{digits[0]} {digits[1:4]} {digits[4:7]} {digits[7:]}"


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


async def test_on_a_small_screen_phones_are_swiped(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(NARROW)
    alice, bob = phone_of(page, ALICE), phone_of(page, BOB)
    await expect(alice).to_be_in_viewport(ratio=0.9)
    await expect(bob).not_to_be_in_viewport()
    await rig.simulator.say(BOB, "Hello")
    wamid = await rig.graph.send(BOB, "Hello Bob")
    tab = page.get_by_role("tab", name="Bob")
    await expect(tab.locator(".badge")).to_have_text("1")
    await rig.quiet()
    assert "read" not in [one["status"] for one in rig.target.statuses if one["id"] == wamid]
    await page.mouse.move(NARROW["width"] / 2, NARROW["height"] / 2)
    await page.mouse.wheel(NARROW["width"], 0)
    await expect(bob).to_be_in_viewport(ratio=0.9)
    await expect(alice).not_to_be_in_viewport()
    await expect(bob.locator("li.bubble.theirs")).to_have_attribute("data-state", "read")
    await expect(tab).to_have_attribute("aria-selected", "true")
    await expect(tab.locator(".badge")).to_be_hidden()
    await page.get_by_role("tab", name="Alice").click()
    await expect(alice).to_be_in_viewport(ratio=0.9)
    await expect(bob).to_have_attribute("inert", "")
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


async def test_an_empty_phone_says_what_to_type(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    alice = phone_of(page, ALICE)
    chips = alice.get_by_role("group", name="Suggestions")
    await expect(chips).to_be_hidden()
    pay = alice.get_by_role("group", name="What to write").get_by_role("button", name="Send $20 to")
    await expect(pay).to_contain_text("pays Bob, on another phone here")
    await pay.click()
    await expect(alice.locator(".bubble.mine .text")).to_have_text(f"Send $20 to {spaced(BOB)}")
    await expect(pay).to_be_hidden()
    await expect(chips).to_be_visible()
    await rig.quiet()
    assert rig.target.messages[0]["text"]["body"] == f"Send $20 to {spaced(BOB)}"


async def test_a_voice_note_plays(open_page: OpenPage, rig: Rig) -> None:
    page = await open_page(WIDE)
    await rig.simulator.send_inbound(ALICE, "voice")
    alice = phone_of(page, ALICE)
    audio = alice.locator("audio")
    await audio.evaluate("audio => audio.addEventListener('ended', () => audio.dataset.ended = 1)")
    await alice.get_by_role("button", name="Play voice note").click()
    await expect(alice.get_by_role("button", name="Pause voice note")).to_be_visible()
    await expect(audio).to_have_attribute("data-ended", "1")
    assert 0.5 < await audio.evaluate("audio => audio.duration") < 60
    await page.reload()
    await expect(alice.locator(".voice .length")).to_have_text("0:02")


async def test_what_happened_underneath_is_shown_beside_the_phones(
    open_page: OpenPage, rig: Rig
) -> None:
    page = await open_page(WIDE)
    strip = page.get_by_role("region", name="What happened underneath")
    await expect(page.get_by_role("button", name="Kill it now")).to_be_hidden()
    killed: list[None] = []
    rig.simulator.on_kill = lambda: killed.append(None)
    rig.simulator.show_proof(PROOF)
    await expect(strip).to_contain_text("Delivered 3 times, acted once, answered once (resumed)")
    await expect(strip).to_contain_text("$20.00 moved once T4")
    await expect(strip).to_contain_text("Killed while the model was being asked")
    await expect(strip).to_contain_text(
        "Back after 1.4 s, resumed 1 message: answered once, money moved once, books verified"
    )
    service = page.get_by_role("region", name="The service")
    await expect(service).to_contain_text("Books verified 4 times")
    await page.get_by_role("button", name="Kill it now").click()
    await rig.simulator.until(lambda: bool(killed), timeout_s=5.0)
    wrong = {"books": PROOF["books"] | {"breaches": ["T4 has no postings."]}}
    rig.simulator.show_proof(PROOF | {"pid": None} | wrong)
    await expect(service).to_contain_text("The books are wrong: T4 has no postings.")
    await expect(service).to_contain_text("starting again")
    await page.set_viewport_size(NARROW)
    await page.reload()
    await expect(page.locator("#proof")).not_to_be_in_viewport()
    await page.get_by_role("tab", name="Proof").click()
    await expect(page.locator("#proof")).to_be_in_viewport(ratio=0.9)
    await expect(page.get_by_role("button", name="Kill it now")).to_be_in_viewport(ratio=1)


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
