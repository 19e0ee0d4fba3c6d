"""The service and its simulated outside on this machine: what demo and burst run."""

import asyncio
import secrets
import socket
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from wbot.app import build_app, serving
from wbot.clock import Clock, to_text
from wbot.domain.business import Business
from wbot.domain.errors import ConfigurationError
from wbot.operations import bookkeeping
from wbot.settings import environment, read_settings
from wbot.simulator.app import MODEL, Simulator, serve
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.storage import businesses, migrations
from wbot.storage.database import connect, transaction
from wbot.storage.lock import locked

HOST = "127.0.0.1"
START_S = 30.0
BUSINESS = SimulatedBusiness("100000000000001", "200000000000001", "15550100000", "Corner Shop")
PEOPLE = (
    SimulatedCustomer("Alice", "15550101001", "US.10001"),
    SimulatedCustomer("Bob", "15550101002", "US.10002"),
    SimulatedCustomer("Carol", "15550101003", "US.10003"),
)
BUSINESS_ID = "demo"
FIRST_DEPOSIT = "500.00"


class Loopback(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything listens, and the secret that signs webhooks."""

    simulator: Simulator
    page_url: str
    service_url: str
    app_secret: str

    @property
    def webhook_url(self) -> str:
        return f"{self.service_url}/api/webhook"


@contextmanager
def database_at(path: Path | None) -> Iterator[Path]:
    """The given database file, or one that goes away afterwards."""
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="wbot-") as folder:
        yield Path(folder) / "wbot.db"


@asynccontextmanager
async def loopback(
    database: Path, *, page_port: int = 0, model_delay_s: float = 0.0, own_process: bool = False
) -> AsyncIterator[Loopback]:
    """Run simulator and service until the block ends; raises ConfigurationError.

    With a process of its own the service's times are not those of the simulator beside it.
    """
    secret, verify_token = secrets.token_hex(16), secrets.token_hex(16)
    access_token, api_key = secrets.token_hex(16), secrets.token_hex(16)
    await asyncio.to_thread(_furnish, database, access_token)
    simulator = Simulator(
        clock=Clock(),
        app_secret=secret,
        verify_token=verify_token,
        access_token=access_token,
        api_key=api_key,
        businesses=[BUSINESS],
        customers=PEOPLE,
        status_delays_s=(0.2, 0.5, None),
        model_delay_s=model_delay_s,
    )
    async with _outside(simulator, page_port) as page_url:
        variables = {
            "WBOT_DATABASE": str(database),
            "WBOT_VERIFY_TOKEN": verify_token,
            "WBOT_APP_SECRET": secret,
            "WBOT_GRAPH_URL": page_url,
            "WBOT_MODEL": MODEL,
            "OPENAI_API_KEY": api_key,
            "OPENAI_BASE_URL": f"{page_url}/v1",
        }
        service = _process(variables) if own_process else _service(variables)
        async with service as port:
            running = Loopback(
                simulator=simulator,
                page_url=page_url,
                service_url=f"http://{HOST}:{port}",
                app_secret=secret,
            )
            simulator.webhook_url = running.webhook_url
            await simulator.handshake()
            yield running


@asynccontextmanager
async def _service(variables: Mapping[str, str]) -> AsyncIterator[int]:
    async with serving(build_app(read_settings(variables), variables), HOST, 0) as port:
        yield port


@asynccontextmanager
async def _process(variables: Mapping[str, str]) -> AsyncIterator[int]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    own = {"WBOT_HOST": HOST, "WBOT_PORT": str(port), "WBOT_LOG_LEVEL": "warning"}
    inherited = {**environment(), **variables, **own}
    read_settings(inherited)  # what is wrong is said once, here, and not by the process as well
    # The one-file binary is its own interpreter.
    command = [] if getattr(sys, "frozen", False) else ["-m", "wbot"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        "serve",
        env=inherited,
        stdout=sys.stderr.fileno(),
    )
    try:
        await _listening(process, port)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(START_S):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
    raise ConfigurationError("The service did not start; its own words are above.")


@asynccontextmanager
async def _outside(simulator: Simulator, port: int) -> AsyncIterator[str]:
    try:
        async with serve(simulator, host=HOST, port=port) as page_url:
            yield page_url
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {HOST}:{port}: {error.strerror or error}; choose another port with "
            "--port, or any free one with --port 0."
        ) from error


def _furnish(path: Path, access_token: str) -> None:
    """A business with this run's token, and some money for everybody the first time."""
    with locked(path):
        connection = connect(path)
        try:
            migrations.migrate(connection, path, Clock().now())
            with transaction(connection) as tx:
                business = _add_business(tx, access_token)
                for person in PEOPLE:
                    _give_money(tx, business, person)
        finally:
            connection.close()


def _add_business(tx: sqlite3.Connection, access_token: str) -> Business:
    known = businesses.by_id(tx, BUSINESS_ID)
    if known is not None:
        known = msgspec.structs.replace(known, access_token=access_token)
        businesses.change(tx, known)
        return known
    business = Business(
        id=BUSINESS_ID,
        name=BUSINESS.name,
        phone_number_id=BUSINESS.phone_number_id,
        access_token=access_token,
        currency_code="USD",
    )
    businesses.add(tx, business, to_text(Clock().now()))
    return business


def _give_money(tx: sqlite3.Connection, business: Business, person: SimulatedCustomer) -> None:
    order = bookkeeping.Order(
        customer=person.key, amount=FIRST_DEPOSIT, key=f"first deposit of {person.name}"
    )
    bookkeeping.deposit(tx, business, order, to_text(Clock().now()))
