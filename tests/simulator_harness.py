"""A webhook receiver and a Graph client for the simulator's own tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from wbot.clock import Clock
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.simulator import Simulator, serve
from wbot.simulator.webhooks.wire import sign

APP_SECRET, VERIFY_TOKEN, ACCESS_TOKEN = "app-secret", "verify-token", "simulated-token"
SHOP = SimulatedBusiness("106500000000001", "206500000000001", "15550100000", "The Shop")
ALICE = SimulatedCustomer("Alice", "15550100001", "US.1001")
BOB = SimulatedCustomer("Bob", "15550100002")
HIDDEN = SimulatedCustomer("Hidden", None, "US.1009")
WAIT_S = 5.0


class Target:
    """Stands in for wbot: records every webhook, answers with the scripted statuses, then 200."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.challenge_suffix = ""
        self.arrived = asyncio.Condition()
        self.on_body: Callable[[dict[str, Any]], None] = lambda _body: None

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [one for value in self.values for one in value.get("messages", [])]

    @property
    def statuses(self) -> list[dict[str, Any]]:
        return [one for value in self.values for one in value.get("statuses", [])]

    @property
    def values(self) -> list[dict[str, Any]]:
        entries = [entry for body in self.bodies for entry in body["entry"]]
        return [change["value"] for entry in entries for change in entry["changes"]]

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S), self.arrived:
            await self.arrived.wait_for(is_true)

    async def post(self, request: web.Request) -> web.Response:
        raw = await request.read()
        status = self.answers.pop(0) if self.answers else 200
        assert request.headers["X-Hub-Signature-256"] == sign(raw, APP_SECRET)
        async with self.arrived:
            self.raw.append(raw)
            self.headers.append(dict(request.headers))
            self.bodies.append(json.loads(raw))
            self.on_body(self.bodies[-1])
            self.arrived.notify_all()
        return web.Response(status=status)

    async def get(self, request: web.Request) -> web.Response:
        if request.query["hub.verify_token"] != VERIFY_TOKEN:
            return web.Response(status=403)
        return web.Response(text=request.query["hub.challenge"] + self.challenge_suffix)


class Graph:
    """Calls the simulator as a Cloud API client does."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self.session = session
        self.headers: dict[str, str] = {}

    async def call(
        self, method: str, path: str, token: str | None = ACCESS_TOKEN, **arguments: Any
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.base_url}/v26.0/{path}"
        async with self.session.request(method, url, headers=headers, **arguments) as response:
            self.headers = dict(response.headers)
            return response.status, await response.json()

    async def post(self, payload: Any, **arguments: Any) -> tuple[int, dict[str, Any]]:
        return await self.call(
            "POST", f"{SHOP.phone_number_id}/messages", json=payload, **arguments
        )

    async def send(self, to: SimulatedCustomer = ALICE, text: str = "Hello", **more: Any) -> str:
        """Send a text that must be accepted; returns its wamid."""
        status, answer = await self.post(text_to(to, text) | more)
        assert status == 200, answer
        return str(answer["messages"][0]["id"])


class Rig:
    """A running simulator with a receiver behind it."""

    def __init__(self, simulator: Simulator, target: Target, graph: Graph) -> None:
        self.simulator = simulator
        self.target = target
        self.graph = graph
        self.faults = simulator.faults

    async def quiet(self) -> None:
        await self.simulator.wait_until_quiet(timeout_s=WAIT_S)


def text_to(to: SimulatedCustomer, text: str = "Hello") -> dict[str, Any]:
    recipient = {"to": f"+{to.phone}"} if to.phone else {"recipient": to.user_id}
    payload = {"messaging_product": "whatsapp", "type": "text", "text": {"body": text}}
    return payload | {"recipient_type": "individual"} | recipient


def make_simulator(**more: Any) -> Simulator:
    arguments: dict[str, Any] = {
        "clock": Clock(),
        "app_secret": APP_SECRET,
        "verify_token": VERIFY_TOKEN,
        "businesses": [SHOP],
        "customers": [ALICE, BOB, HIDDEN],
        "status_delays_s": (0.0, 0.0, 0.0),
        "retry_delays_s": (0.0, 0.01),
    }
    return Simulator(**(arguments | more))


@asynccontextmanager
async def running(**more: Any) -> AsyncIterator[Rig]:
    target, simulator = Target(), make_simulator(**more)
    app = web.Application()
    app.add_routes([web.get("/hook", target.get), web.post("/hook", target.post)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    simulator.webhook_url = target.url
    try:
        async with serve(simulator) as base_url, aiohttp.ClientSession() as session:
            yield Rig(simulator, target, Graph(base_url, session))
    finally:
        await runner.cleanup()
