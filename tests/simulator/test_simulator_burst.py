"""The burst: what it sends, which replies it sees, and how it judges them."""

import asyncio
from typing import Any

import pytest
from simulator_harness import APP_SECRET, SHOP, Rig, running

from wbot.clock import Clock
from wbot.simulator.burst import BurstReport, Reply, burst, first_replies, judge, times_of
from wbot.simulator.simulator import MODEL

KEYS = [
    "sent",
    "acknowledged",
    "replied",
    "duplicate_replies",
    "out_of_order",
    "errors",
    "ack_ms",
    "reply_ms",
]


class Bot:
    """A small correct bot: asks the chat endpoint, sends the answer, one message at a time."""

    def __init__(self, rig: Rig, group: asyncio.TaskGroup) -> None:
        self.rig = rig
        self.group = group
        self.copies = 1
        self.asks_the_model = True
        rig.target.on_body = self.on_body

    def on_body(self, body: dict[str, Any]) -> None:
        for message in body["entry"][0]["changes"][0]["value"].get("messages", []):
            self.group.create_task(self.answer(message))

    async def answer(self, message: dict[str, Any]) -> None:
        text = await self.completion(message["text"]["body"]) if self.asks_the_model else "Yes"
        payload = {"messaging_product": "whatsapp", "to": f"+{message['from']}", "type": "text"}
        for _ in range(self.copies):
            assert (await self.rig.graph.post(payload | {"text": {"body": text}}))[0] == 200

    async def completion(self, text: str) -> str:
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
        headers = {"Authorization": "Bearer simulated-key"}
        url = f"{self.rig.graph.base_url}/v1/chat/completions"
        async with self.rig.graph.session.post(url, json=body, headers=headers) as response:
            return str((await response.json())["choices"][0]["message"]["content"])


async def run(rig: Rig, **more: Any) -> BurstReport:
    return await burst(
        target_url=rig.target.url,
        app_secret=APP_SECRET,
        phone_number_id=SHOP.phone_number_id,
        users=3,
        messages=4,
        clock=Clock(),
        **more,
    )


async def test_every_message_is_acknowledged_and_answered_once() -> None:
    sent: list[None] = []
    async with running() as rig, asyncio.TaskGroup() as group:
        Bot(rig, group)
        report = await run(rig, simulator=rig.simulator, on_progress=lambda: sent.append(None))
        assert rig.simulator.responder is None
    found = report.to_dict()
    assert list(found) == KEYS
    assert list(found["ack_ms"]) == ["p50", "p95", "p99", "max"]
    counts = (report.sent, report.acknowledged, report.replied, report.duplicate_replies)
    assert counts == (12, 12, 12, 0)
    assert report.errors == 0
    assert report.reply_ms is not None
    assert report.reply_ms.p50 is not None
    assert 0 < report.reply_ms.p50 <= (report.reply_ms.max or 0)
    assert len(sent) == 12
    bodies = {one["text"]["body"] for one in rig.target.messages}
    assert len(bodies) == 12
    people = {(one["from"], one["from_user_id"]) for one in rig.target.messages}
    assert len(people) == 3


async def test_answers_given_twice_are_counted() -> None:
    async with running() as rig, asyncio.TaskGroup() as group:
        Bot(rig, group).copies = 2
        report = await run(rig, simulator=rig.simulator)
    assert (report.replied, report.duplicate_replies) == (12, 12)


async def test_a_bot_with_a_model_of_its_own_is_judged_by_number() -> None:
    async with running() as rig, asyncio.TaskGroup() as group:
        Bot(rig, group).asks_the_model = False
        report = await run(rig, simulator=rig.simulator)
    assert (report.replied, report.duplicate_replies) == (12, 0)


async def test_without_a_simulator_replies_cannot_be_seen() -> None:
    async with running() as rig:
        rig.target.answers = [503, 503]
        report = await run(rig)
    unseen = (report.replied, report.duplicate_replies, report.out_of_order, report.reply_ms)
    assert unseen == (None, None, None, None)
    assert (report.sent, report.acknowledged, report.errors) == (12, 10, 2)


async def test_missing_replies_end_the_wait_at_its_limit() -> None:
    async with running() as rig:
        report = await run(rig, simulator=rig.simulator, reply_timeout_s=0.05)
    assert (report.acknowledged, report.replied) == (12, 0)
    assert report.to_dict()["reply_ms"] == dict.fromkeys(["p50", "p95", "p99", "max"])


async def test_an_unreachable_target_gives_errors_only() -> None:
    report = await burst(
        target_url="http://127.0.0.1:1/",
        app_secret=APP_SECRET,
        phone_number_id=SHOP.phone_number_id,
        users=2,
        messages=2,
        clock=Clock(),
    )
    assert (report.sent, report.acknowledged, report.errors) == (4, 0, 4)
    assert report.ack_ms.p50 is None


def replies(*numbers: int | None) -> list[Reply]:
    return [Reply(number, float(at)) for at, number in enumerate(numbers)]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 1, 2], (0, 0)),
        ([0, 1, 1, 2, 0], (2, 0)),
        ([1, 0, 2], (0, 1)),
        ([2, 1, 0], (0, 2)),
        ([None, None, None], (0, 0)),
        ([None, None, None, None], (1, 0)),
        ([0, None, 2], (0, 0)),
        ([], (0, 0)),
    ],
)
def test_replies_are_judged_by_what_they_answer(
    numbers: list[int | None], expected: tuple[int, int]
) -> None:
    assert judge(replies(*numbers), messages=3) == expected


def test_the_first_reply_counts_and_unnumbered_ones_fill_the_gaps() -> None:
    assert first_replies(replies(1, 1, None), messages=3) == {0: 2.0, 1: 0.0}


def test_percentiles_are_values_that_were_measured() -> None:
    times = times_of([float(value) for value in range(100, 0, -1)])
    assert (times.p50, times.p95, times.p99, times.max) == (50.0, 95.0, 99.0, 100.0)
    assert times_of([7.0]).p50 == times_of([7.0]).max == 7.0
