"""Test the whole program: a real service, a real file, and the simulator as Meta and the model."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from db_factories import AT_ONCE

from wbot import settings as settings_module
from wbot.admin import ledger_adjustments
from wbot.app import SERVICE_KEY, Service, build_app, serving
from wbot.clock import Clock, to_text
from wbot.domain.business import Business
from wbot.ingress.limits import Limits
from wbot.logs import configure_logs
from wbot.settings import read_settings
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.simulator import MODEL, Simulator, serve
from wbot.storage import businesses, migrations
from wbot.storage.database import connect, transaction

APP_SECRET = "test-app-secret"
VERIFY_TOKEN = "test-verify-token"
ACCESS_TOKEN = "test-access-token"
API_KEY = "test-api-key"
WAIT_S = 20.0

ALICE = SimulatedCustomer("Alice", "15550101001", "US.1001")
BOB = SimulatedCustomer("Bob", "15550101002", "US.1002")
CAROL = SimulatedCustomer("Carol", "15550101003")
SHOP = SimulatedBusiness("106500000000001", "206500000000001", "15550100001", "The Shop")


class Ahead(Clock):
    """A clock that a test sets ahead, and whose sleeps are short."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.5))


@pytest.fixture(autouse=True, scope="session")
def _logs() -> None:
    configure_logs(level="critical", style="json")


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that nobody writes to."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(autouse=True)
def _no_installed_service(
    request: pytest.FixtureRequest, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Isolate the tests from a service installed on this machine."""
    folder = empty_folder
    if "tmp_path" in request.fixturenames:  # made for the tests alone that use one: it takes time
        folder = request.getfixturevalue("tmp_path")
    monkeypatch.setattr(settings_module, "INSTALLED_FILE", folder / "etc" / "wbot.env")
    monkeypatch.setattr(settings_module, "INSTALLED_FOLDER", folder / "var")


class World:
    """A running service and the simulator; `url` is the service's base URL."""

    def __init__(
        self, *, simulator: Simulator, service: Service, url: str, session: aiohttp.ClientSession
    ) -> None:
        self.simulator = simulator
        self.service = service
        self.url = url
        self.session = session

    async def ask(self, customer: SimulatedCustomer, text: str) -> str:
        """The bot's answer to one message."""
        seen = len(self.simulator.replies_to(customer))
        await self.simulator.say(customer, text)
        reply = await self.simulator.wait_for_reply_to(customer, after=seen, timeout_s=WAIT_S)
        return reply.text

    async def health_of(self, status: int) -> dict[str, Any]:
        """The body of /health, once it answers with this status."""
        async with asyncio.timeout(WAIT_S):
            while True:
                async with self.session.get(f"{self.url}/health") as answer:
                    report: dict[str, Any] = await answer.json()
                    if answer.status == status:
                        return report

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the database, read over a connection of the test's own."""
        return query(self.service.settings.database, sql, *values)


def query(path: Path, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a database file as dictionaries."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql, values).fetchall()]
    finally:
        connection.close()


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    """A migrated database with one business and no customers."""
    path = tmp_path / "wbot.db"
    connection = connect(path)
    migrations.migrate(connection, path, Clock().now())
    business = Business(
        id="shop",
        name="The Shop",
        phone_number_id=SHOP.phone_number_id,
        access_token=ACCESS_TOKEN,
        currency_code="USD",
        policy=AT_ONCE,
    )
    with transaction(connection):
        businesses.add(connection, business, to_text(Clock().now()))
    connection.close()
    return path


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction from another process's view, as the command line makes it."""
    connection = connect(path)
    try:
        with transaction(connection):
            yield connection
    finally:
        connection.close()


def deposit(path: Path, customer: SimulatedCustomer, amount_minor: int) -> None:
    """Deposit money for a customer, as `wbot ledger deposit` does."""
    amount = f"{amount_minor // 100}.{amount_minor % 100:02}"
    with writing(path) as tx:
        order = ledger_adjustments.Order(customer=customer.key, amount=amount)
        business = businesses.required(tx, "shop")
        ledger_adjustments.deposit(tx, business, order, to_text(Clock().now()))


MakeWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def make_world(database_path: Path) -> MakeWorld:
    """A factory of worlds on the test's database; keywords are settings or simulator options."""

    @asynccontextmanager
    async def world(
        *,
        simulator: Simulator | None = None,
        variables: dict[str, str] | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
    ) -> AsyncIterator[World]:
        outside = simulator or make_simulator()
        async with serve(outside) as outside_url, aiohttp.ClientSession() as session:
            settings_of = {
                "WBOT_DATABASE": str(database_path),
                "WBOT_VERIFY_TOKEN": VERIFY_TOKEN,
                "WBOT_APP_SECRET": APP_SECRET,
                "WBOT_GRAPH_URL": outside_url,
                "WBOT_MODEL": MODEL,
                "OPENAI_API_KEY": API_KEY,
                "OPENAI_BASE_URL": f"{outside_url}/v1",
            } | (variables or {})
            app = build_app(read_settings(settings_of), settings_of, clock)
            async with serving(app, "127.0.0.1", 0, limits) as port:
                url = f"http://127.0.0.1:{port}"
                outside.webhook_url = f"{url}/api/webhook"
                yield World(simulator=outside, service=app[SERVICE_KEY], url=url, session=session)
                outside.webhook_url = None

    return world


def make_simulator(**options: Any) -> Simulator:
    """A simulator with three customers and one business by default."""
    given: dict[str, Any] = {
        "clock": Clock(),
        "app_secret": APP_SECRET,
        "verify_token": VERIFY_TOKEN,
        "access_token": ACCESS_TOKEN,
        "api_key": API_KEY,
        "businesses": [SHOP],
        "customers": [ALICE, BOB, CAROL],
        "status_delays_s": (0.01, 0.02, 0.03),
        "retry_delays_s": (0.0, 0.05, 0.1),
    }
    return Simulator(**(given | options))
