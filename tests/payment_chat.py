"""A shop whose customers write and tap, for tests of payments: the whole program, but for Meta."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from conftest import ALICE, SHOP, WAIT_S, MakeWorld, World, writing

from wbot.clock import Clock
from wbot.domain.business import Policy, Switch
from wbot.domain.receipts import MARK
from wbot.simulator.call_log import Send
from wbot.simulator.people import SimulatedCustomer
from wbot.storage import businesses, invariants
from wbot.storage.database import connect


class Ahead(Clock):
    """The real clock, set ahead by this many seconds."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)


def change(path: Path, **rules: Any) -> None:
    """Change the money rules of the shop, whose models propose what no customer has typed."""
    rules = {"own_words": Switch.OFF, **rules}
    with writing(path) as tx:
        business = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(business, policy=Policy(**rules)))


def pause(path: Path, *, is_paused: bool) -> None:
    with writing(path) as tx:
        business = businesses.required(tx, "shop")
        businesses.change(tx, msgspec.structs.replace(business, is_paused=is_paused))


class Chat:
    """The shop's customers, who write and tap."""

    def __init__(self, world: World, path: Path, clock: Ahead) -> None:
        self.world = world
        self.path = path
        self.clock = clock
        self.simulator = world.simulator

    async def next_reply(self, who: SimulatedCustomer, act: Any) -> Send:
        seen = len(self.simulator.replies_to(who))
        await act
        reply = await self.simulator.wait_for_reply_to(who, after=seen, timeout_s=WAIT_S)
        await self.simulator.wait_until_quiet(timeout_s=WAIT_S)
        return reply

    async def say(self, text: str, who: SimulatedCustomer = ALICE) -> Send:
        return await self.next_reply(who, self.simulator.say(who, text, sent_at=self.clock.now()))

    async def say_quoting(self, text: str, quoted: Send, who: SimulatedCustomer = ALICE) -> Send:
        context = {"from": SHOP.display_phone_number, "id": quoted.wamid}
        content = {"type": "text", "text": {"body": text}, "context": context}
        sent = self.simulator.send_inbound(who, content, sent_at=self.clock.now())
        return await self.next_reply(who, sent)

    async def tap(self, question: Send, answer: str, who: SimulatedCustomer = ALICE) -> Send:
        return await self.next_reply(who, self.touch(question, answer, who))

    async def touch(self, question: Send, answer: str, who: SimulatedCustomer = ALICE) -> None:
        reply = button(question, answer)
        await self.touch_id(reply["id"], reply["title"], question, who)

    async def touch_id(
        self, button_id: str, title: str, question: Send, who: SimulatedCustomer = ALICE
    ) -> None:
        reply = {"type": "button_reply", "button_reply": {"id": button_id, "title": title}}
        content = {
            "type": "interactive",
            "interactive": reply,
            "context": {"from": SHOP.display_phone_number, "id": question.wamid},
        }
        await self.simulator.send_inbound(who, content, sent_at=self.clock.now())

    def balance(self) -> tuple[int, int]:
        """What Alice has posted and held; also checks that the ledger is consistent."""
        connection = connect(self.path)
        try:
            assert invariants.breaches(connection) == []
            row = connection.execute(
                "SELECT posted_minor, held_minor FROM balances b JOIN accounts a "
                "ON a.id = b.account_id WHERE a.customer_id = 1"
            ).fetchone()
            return int(row[0]), int(row[1])
        finally:
            connection.close()

    def phases(self) -> list[str]:
        rows = self.world.rows("SELECT phase FROM transfers WHERE kind = 'transfer' ORDER BY id")
        return [row["phase"] for row in rows]

    async def until_phase(self, phase: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while phase not in self.phases():  # noqa: ASYNC110  another thread's commit
                await asyncio.sleep(0.02)


@asynccontextmanager
async def chatting(make_world: MakeWorld, path: Path) -> AsyncIterator[Chat]:
    clock = Ahead()
    async with make_world(clock=clock) as world:
        yield Chat(world, path, clock)


def button(question: Send, answer: str) -> dict[str, str]:
    buttons = question.payload["interactive"]["action"]["buttons"]
    found: dict[str, str] = next(
        one["reply"] for one in buttons if one["reply"]["id"].endswith(f":{answer}")
    )
    return found


def titles_of(question: Send) -> list[str]:
    buttons = question.payload["interactive"]["action"]["buttons"]
    return [one["reply"]["title"] for one in buttons]


def calls(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A model's answer that makes these calls, with a text that it should not send."""
    return {
        "choices": [
            {
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": f"{MARK} Sent $999.00 to everybody.",
                    "tool_calls": [
                        {
                            "id": f"call_{place}",
                            "type": "function",
                            "function": {"name": name, "arguments": json.dumps(arguments)},
                        }
                        for place, (name, arguments) in enumerate(calls)
                    ],
                },
            }
        ]
    }


def pay(amount: str, to: str) -> tuple[str, dict[str, Any]]:
    return "transfer", {"amount": amount, "to": to}
