"""Missing, absurd, old or future message times: none of them moves money."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import ALICE, SHOP, WAIT_S, MakeWorld, World, deposit, writing
from db_factories import STARTED_AT, make_tx
from hypothesis import given
from hypothesis import strategies as st

from wbot.admin import message_timeline
from wbot.clock import Clock, from_text, later, to_text
from wbot.domain.business import Policy
from wbot.domain.message_age import Staleness, staleness_of
from wbot.domain.receipts import MARK
from wbot.inbound.intake import record
from wbot.inbound.webhook_parser import parse_payload
from wbot.logs import configure_logs
from wbot.payments.answers import NOT_FRESH
from wbot.simulator.call_log import Send
from wbot.simulator.webhooks.bodies import body_of, message_update
from wbot.storage import businesses, messages

ABSENT = object()
STALE_S, AHEAD_S, DAY_S = 900, 300, 24 * 3600
ABSURD: dict[str, Any] = {
    "absent": ABSENT,
    "null": None,
    "zero": "0",
    "negative": "-1790000000",
    "words": "yesterday",
    "empty": "",
    "true": True,
    "a list": ["1790000000"],
    "not a number": "NaN",
    "before WhatsApp": "86400",
    "in milliseconds": str(int(Clock().now().timestamp() * 1000)),
    "beyond any calendar": "9" * 60,
    "an hour ahead": str(int(Clock().now().timestamp()) + 3600),
    "a year ahead": str(int(Clock().now().timestamp()) + 366 * DAY_S),
}
EVERY_ABSURD = pytest.mark.parametrize("timestamp", ABSURD.values(), ids=ABSURD)


def written(content: dict[str, Any], timestamp: Any, message_id: str, at: Any = None) -> Any:
    """A body with one message from Alice with this timestamp."""
    sent_at = at or Clock().now()
    update = message_update(SHOP, ALICE, content, message_id=message_id, sent_at=sent_at)
    assert update.message is not None
    update.message["timestamp"] = timestamp
    if timestamp is ABSENT:
        del update.message["timestamp"]
    return body_of([update])


def text(body: str) -> dict[str, Any]:
    return {"type": "text", "text": {"body": body}}


async def send(world: World, content: dict[str, Any], timestamp: Any, message_id: str) -> Send:
    """The reply to the message."""
    seen = len(world.simulator.replies_to(ALICE))
    await world.simulator.deliver(written(content, timestamp, message_id))
    return await world.simulator.wait_for_reply_to(ALICE, after=seen, timeout_s=WAIT_S)


async def tap(world: World, question: Send, answer: str) -> Send:
    seen = len(world.simulator.replies_to(ALICE))
    found = button(question, answer)
    await world.simulator.tap(ALICE, found["id"], found["title"], question.wamid)
    return await world.simulator.wait_for_reply_to(ALICE, after=seen, timeout_s=WAIT_S)


def button(question: Send, answer: str) -> dict[str, str]:
    buttons = question.payload["interactive"]["action"]["buttons"]
    found: dict[str, str] = next(
        one["reply"] for one in buttons if one["reply"]["id"].endswith(f":{answer}")
    )
    return found


def phases(world: World) -> list[str]:
    rows = world.rows("SELECT phase FROM transfers WHERE kind = 'transfer' ORDER BY id")
    return [row["phase"] for row in rows]


@pytest.fixture
def path(database_path: Path) -> Path:
    """A shop that pays at once, where Alice has $500."""
    deposit(database_path, ALICE, 50_000)
    return database_path


def ask_first(path: Path) -> None:
    """Make the shop ask before every transfer."""
    with writing(path) as tx:
        business = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(business, policy=Policy()))


# An order ------------------------------------------------------------------------------------


@EVERY_ABSURD
async def test_an_order_without_a_credible_time_is_asked_about(
    make_world: MakeWorld, path: Path, timestamp: Any
) -> None:
    async with make_world() as world:
        question = await send(world, text("Transfer $20 to John"), timestamp, "wamid.1")
        assert "• Transfer $20 to John" in question.text
        assert phases(world) == []
        assert world.rows("SELECT sent_at, sort_at = received_at AS by_receipt FROM messages") == [
            {"sent_at": None, "by_receipt": 1}
        ]
        receipt = await tap(world, question, "yes")
        assert receipt.text.startswith(
            f"{MARK} Sent $20.00 to “John”, outside: paid out by The Shop (T2)"
        )
        assert phases(world) == ["posted"]


@pytest.mark.parametrize("days", [1.1, 29, 31, 40, 400, 4_000])
async def test_an_order_older_than_a_day_is_kept_in_silence(
    make_world: MakeWorld, path: Path, days: float
) -> None:
    async with make_world() as world:
        timestamp = str(int((Clock().now() - timedelta(days=days)).timestamp()))
        await world.simulator.deliver(written(text("Transfer $20 to John"), timestamp, "wamid.old"))
        await world.ask(ALICE, "hello")
        found = world.rows("SELECT state, reason FROM messages WHERE message_id = 'wamid.old'")
        assert found == [{"state": "silent", "reason": "window_closed"}]
        assert len(world.simulator.replies_to(ALICE)) == 1
        assert phases(world) == []


async def test_an_order_a_little_ahead_of_our_clock_is_fresh(
    make_world: MakeWorld, path: Path
) -> None:
    async with make_world() as world:
        timestamp = str(int(Clock().now().timestamp()) + 240)
        receipt = await send(world, text("Transfer $20 to John"), timestamp, "wamid.1")
        assert receipt.text.startswith(f"{MARK} Sent $20.00")


async def test_an_undated_message_is_shown_as_such_to_the_operator(
    make_world: MakeWorld, path: Path
) -> None:
    lines = io.StringIO()
    configure_logs(level="warning", style="json", stream=lines)
    async with make_world() as world:
        await send(world, text("What's my balance?"), "soon", "wamid.1")
        logged = [json.loads(line)["event"] for line in lines.getvalue().splitlines()]
        assert logged.count("message.undated") == 1
        configure_logs(level="critical", style="json")
        await world.simulator.wait_until_quiet(timeout_s=WAIT_S)
        with writing(path) as tx:
            stages = message_timeline.build_timeline(tx, "wamid.1", to_text(Clock().now())).stages
        assert [one.stage for one in stages].count("undated") == 1


async def test_undated_orders_share_one_question_in_the_order_they_came(
    make_world: MakeWorld, path: Path
) -> None:
    with writing(path) as tx:
        tx.execute("UPDATE businesses SET status = 'paused'")
    async with make_world() as world:
        for place, body in enumerate(("Transfer $20 to John", "Transfer $30 to Mary")):
            await world.simulator.deliver(written(text(body), ABSENT, f"wamid.{place}"))
        with writing(path) as tx:
            tx.execute("UPDATE businesses SET status = 'active'")
        question = await world.simulator.wait_for_reply_to(ALICE, after=0, timeout_s=WAIT_S)
        assert "• Transfer $20 to John\n• Transfer $30 to Mary" in question.text
        assert phases(world) == []


# Its yes -------------------------------------------------------------------------------------

OLD: dict[str, Any] = {
    "twenty minutes old": str(int(Clock().now().timestamp()) - 1_200),
    "six hours old": str(int(Clock().now().timestamp()) - 6 * 3600),
}
EVERY_UNFRESH = pytest.mark.parametrize(
    "timestamp", [*ABSURD.values(), *OLD.values()], ids=[*ABSURD, *OLD]
)


@EVERY_UNFRESH
async def test_a_tap_that_is_not_fresh_confirms_nothing_by_itself(
    make_world: MakeWorld, path: Path, timestamp: Any
) -> None:
    ask_first(path)
    async with make_world() as world:
        question = await send(world, text("Transfer $20 to John"), *fresh("wamid.ask"))
        content = {
            "type": "interactive",
            "interactive": {"type": "button_reply", "button_reply": button(question, "yes")},
        }
        reply = await send(world, content, timestamp, "wamid.tap")
        assert reply.text == NOT_FRESH
        assert phases(world) == ["pending"]
        assert (await tap(world, question, "yes")).text.startswith(f"{MARK} Sent $20.00")
        assert phases(world) == ["pending", "post"]


@EVERY_ABSURD
async def test_a_typed_yes_without_a_credible_time_confirms_nothing_by_itself(
    make_world: MakeWorld, path: Path, timestamp: Any
) -> None:
    ask_first(path)
    async with make_world() as world:
        question = await send(world, text("Transfer $20 to John"), *fresh("wamid.ask"))
        assert question.type == "interactive"
        reply = await send(world, text("yes"), timestamp, "wamid.yes")
        assert reply.text == NOT_FRESH
        assert phases(world) == ["pending"]
        assert (await world.ask(ALICE, "yes")).startswith(f"{MARK} Sent $20.00")


async def test_an_undated_yes_takes_no_stale_message_up(make_world: MakeWorld, path: Path) -> None:
    async with make_world() as world:
        question = await send(world, text("Transfer $20 to John"), ABSENT, "wamid.1")
        reply = await send(world, text("Yes"), "0", "wamid.2")
        assert reply.text == NOT_FRESH
        content = {
            "type": "interactive",
            "interactive": {"type": "button_reply", "button_reply": button(question, "yes")},
        }
        assert (await send(world, content, ABSENT, "wamid.3")).text == NOT_FRESH
        assert phases(world) == []
        assert (await world.ask(ALICE, "Yes")).startswith(f"{MARK} Sent $20.00")


async def test_an_undated_yes_to_nothing_is_asked_about_as_any_message(
    make_world: MakeWorld, path: Path
) -> None:
    async with make_world() as world:
        question = await send(world, text("yes"), ABSENT, "wamid.1")
        assert "• yes" in question.text
        await tap(world, question, "yes")
        assert len(world.simulator.completions) == 1  # the model reads it, once it may


async def test_an_undated_order_that_waited_for_a_day_is_kept_in_silence(
    make_world: MakeWorld, path: Path
) -> None:
    with writing(path) as tx:
        tx.execute("UPDATE businesses SET status = 'paused'")
    async with make_world() as world:
        await world.simulator.deliver(written(text("Transfer $20 to John"), ABSENT, "wamid.1"))
        with writing(path) as tx:
            a_day_ago = to_text(Clock().now() - timedelta(hours=25))
            tx.execute("UPDATE messages SET received_at = ?, sort_at = ?", (a_day_ago, a_day_ago))
            tx.execute("UPDATE businesses SET status = 'active'")
        await world.ask(ALICE, "hello")
        found = world.rows("SELECT reason FROM messages WHERE message_id = 'wamid.1'")
        assert found == [{"reason": "window_closed"}]


def fresh(message_id: str) -> tuple[str, str]:
    return str(int(Clock().now().timestamp())), message_id


# Any time ------------------------------------------------------------------------------------

NOW_S = int(STARTED_AT.timestamp())
SECONDS = st.one_of(
    st.integers(-DAY_S - 60, AHEAD_S + 60).map(lambda ago: NOW_S + ago),
    st.integers(-STALE_S - 2, -STALE_S + 2).map(lambda ago: NOW_S + ago),
    st.integers(AHEAD_S - 2, AHEAD_S + 2).map(lambda ago: NOW_S + ago),
    st.integers(),
    st.integers(0, 2**33),
)
NO_TIMES = st.one_of(
    st.none(),
    st.booleans(),
    st.text(st.characters(categories=["L", "P", "S"])),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(), st.integers(), max_size=2),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1e400", "0x6ab13380", "²0", "12:00"]),
)


class Intake:
    """Records bodies in its own database."""

    def __init__(self) -> None:
        self.tx = make_tx()
        self.count = 0

    def stored(self, timestamp: Any) -> dict[str, Any]:
        """The stored row of a message with this timestamp."""
        self.count += 1
        message_id = f"wamid.{self.count}"
        body = json.dumps(written(text("hi"), timestamp, message_id, STARTED_AT)).encode()
        record(self.tx, parse_payload(body), body=body, now=STARTED_AT, installation="test")
        row = messages.by_id(self.tx, message_id)
        assert row is not None
        return msgspec.structs.asdict(row)


@pytest.fixture(scope="module")
def intake() -> Iterator[Intake]:
    intake = Intake()
    yield intake
    intake.tx.close()


def judged(row: dict[str, Any], waits_s: float) -> Staleness:
    sent_at = from_text(row["sent_at"]) if row["sent_at"] else None
    now = later(STARTED_AT, waits_s)
    return staleness_of(sent_at, from_text(row["received_at"]), now, STALE_S)


@given(seconds=SECONDS, is_text=st.booleans(), waits_s=st.integers(0, 2 * DAY_S))
def test_any_number_of_seconds_is_fresh_only_if_it_was_just_now(
    intake: Intake, seconds: int, is_text: bool, waits_s: int
) -> None:
    row = intake.stored(str(seconds) if is_text else seconds)
    age_s = NOW_S - seconds
    is_credible = age_s >= -AHEAD_S and seconds >= 1_230_768_000  # the year 2009
    assert (row["sent_at"] is not None) == is_credible
    assert row["sort_at"] == (row["sent_at"] or row["received_at"])
    age_then_s = (age_s if is_credible else 0) + waits_s
    if age_then_s > DAY_S:
        assert judged(row, waits_s) is Staleness.EXPIRED
    elif is_credible and age_then_s <= STALE_S:
        assert judged(row, waits_s) is Staleness.FRESH
    else:
        assert judged(row, waits_s) is Staleness.STALE


@given(timestamp=NO_TIMES, waits_s=st.integers(0, DAY_S))
def test_what_is_no_time_is_never_fresh(intake: Intake, timestamp: Any, waits_s: int) -> None:
    row = intake.stored(timestamp)
    assert (row["sent_at"], row["sort_at"]) == (None, row["received_at"])
    assert judged(row, waits_s) is Staleness.STALE
