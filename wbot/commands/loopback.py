"""The service and the simulator on this machine, for `wbot demo` and `wbot burst`."""

import asyncio
import errno
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

import wbot
from wbot.admin import customer_lookup, ledger_adjustments
from wbot.clock import Clock, to_text
from wbot.domain.business import Business
from wbot.domain.errors import ConfigurationError
from wbot.settings import read_configuration
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.simulator import MODEL, Simulator, serve
from wbot.storage import businesses, migrations, payees
from wbot.storage.database import connect, transaction
from wbot.storage.lock import locked
from wbot.storage.tx import Tx

HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 15.0
"""More than the 10 s in which `wbot serve` ends."""
BUSINESS = SimulatedBusiness("100000000000001", "200000000000001", "15550100000", "Corner Shop")
PEOPLE = (
    SimulatedCustomer("Alice", "15550101001", "US.10001"),
    SimulatedCustomer("Bob", "15550101002", "US.10002"),
    SimulatedCustomer("Carol", "15550101003", "US.10003"),
)
BUSINESS_ID = "shop"
FIRST_DEPOSIT = "500.00"
SOURCE = Path(wbot.__file__).parents[1]
"""The folder of the package, from which Python can import it uninstalled."""


class ServiceProcess:
    """`wbot serve` as a separate process, on the same port at each start."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        self.port = _free_port()
        own = {"WBOT_HOST": HOST, "WBOT_PORT": str(self.port), "WBOT_LOG_LEVEL": "warning"}
        # The operator's variables and .env file do not apply here.
        kept = {
            name: value
            for name, value in read_configuration(Path(os.devnull)).variables.items()
            if not name.startswith(("WBOT_", "OPENAI_"))
        }
        self._environment = {**kept, **variables, **own, "PYTHONPATH": str(SOURCE)}
        self._folder = folder
        self.pid: int | None = None
        """None while it does not listen."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Return once it listens; raises ConfigurationError if it does not start."""
        # The one-file binary is its own interpreter.
        command = [] if getattr(sys, "frozen", False) else ["-m", "wbot"]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *("--config", os.devnull, "serve"),
            env=self._environment,
            cwd=self._folder,
            stdout=sys.stderr.fileno(),
        )
        await self._listening(self._process)
        self.pid = self._process.pid

    def kill(self) -> None:
        """Send SIGKILL, so that it cannot finish anything."""
        if self._process is not None:
            self._process.kill()
        self.pid = None

    async def ended(self) -> None:
        """Return once the process is gone."""
        if self._process is not None:
            await self._process.wait()
        self.pid = None

    async def stop(self) -> None:
        """Ask it to end, and wait until it has; one that does not is killed."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()

    async def _listening(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection(HOST, self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return
        raise ConfigurationError("The service did not start; see its output above.")


class Loopback(msgspec.Struct, frozen=True, kw_only=True):
    """The running parts, their addresses, and the secret that signs webhooks."""

    simulator: Simulator
    service: ServiceProcess
    business_id: str
    page_url: str
    app_secret: str

    @property
    def webhook_url(self) -> str:
        return f"{self.service.url}/api/webhook"


@contextmanager
def database_at(path: Path | None) -> Iterator[Path]:
    """The absolute path of the given database file, or of a temporary one."""
    if path is not None:
        yield path.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="wbot-") as folder:
        yield Path(folder) / "wbot.db"


@asynccontextmanager
async def loopback(
    database: Path,
    *,
    page_ports: Iterable[int] = (0,),
    model_delay_s: float = 0.0,
    send_delay_s: float = 0.0,
) -> AsyncIterator[Loopback]:
    """Run simulator and service until the block ends; raises ConfigurationError.

    The page takes the first of its ports that is free. The service is a separate process, so
    that the simulator does not affect its times, and it can be killed alone.
    """
    secret, verify_token = secrets.token_hex(16), secrets.token_hex(16)
    access_token, api_key = secrets.token_hex(16), secrets.token_hex(16)
    business_id = await asyncio.to_thread(_seed_database, database, access_token)
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
        send_delay_s=send_delay_s,
    )
    async with AsyncExitStack() as stack:
        page_url = await _serve_at_first_free(simulator, page_ports, stack)
        variables = {
            "WBOT_DATABASE": str(database),
            "WBOT_VERIFY_TOKEN": verify_token,
            "WBOT_APP_SECRET": secret,
            "WBOT_GRAPH_URL": page_url,
            "WBOT_MODEL": MODEL,
            "OPENAI_API_KEY": api_key,
            "OPENAI_BASE_URL": f"{page_url}/v1",
        }
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wbot-")))
        service = ServiceProcess(variables, folder)
        stack.push_async_callback(service.stop)
        await service.start()
        running = Loopback(
            simulator=simulator,
            service=service,
            business_id=business_id,
            page_url=page_url,
            app_secret=secret,
        )
        simulator.webhook_url = running.webhook_url
        await simulator.handshake()
        yield running


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def _serve_at_first_free(
    simulator: Simulator, ports: Iterable[int], stack: AsyncExitStack
) -> str:
    port = 0
    for port in ports:
        try:
            return await stack.enter_async_context(serve(simulator, host=HOST, port=port))
        except ConfigurationError as error:
            if not _is_taken(error):
                raise
    raise ConfigurationError(
        f"Port {port} is taken by another program; name another with --port, or omit the "
        "option for the next free one."
    )


def _is_taken(error: ConfigurationError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _seed_database(path: Path, access_token: str) -> str:
    """Set up the business with this run's token and first deposits; return its id."""
    with locked(path, creates=True):
        connection = connect(path)
        try:
            migrations.migrate(connection, path, Clock().now())
            with transaction(connection) as tx:
                _check_is_demo(tx, path)
                business = _add_business(tx, access_token)
                for person in PEOPLE:
                    _give_money(tx, business, person)
                for person in PEOPLE:
                    _name_others(tx, business, person)
                return business.id
        finally:
            connection.close()


def _check_is_demo(tx: Tx, path: Path) -> None:
    """Raise ConfigurationError if the database holds a real business."""
    for one in businesses.every(tx):
        if one.phone_number_id != BUSINESS.phone_number_id or ":" in one.access_token:
            raise ConfigurationError(
                f"The database {path} holds the business {one.id!r}, which is not the demo's; "
                "name another file with --database, or omit the option."
            )


def _add_business(tx: Tx, access_token: str) -> Business:
    known = businesses.by_phone_number_id(tx, BUSINESS.phone_number_id)
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


def _name_others(tx: Tx, business: Business, person: SimulatedCustomer) -> None:
    """Let a customer pay the others by name: whom they name is on another phone of the page."""
    customer_id = customer_lookup.required(tx, business, person.key).customer_id
    for other in PEOPLE:
        is_free = other.name.casefold() not in payees.names_paid(tx, customer_id)
        if other is not person and other.phone is not None and is_free:
            now = to_text(Clock().now())
            payees.give_label(tx, customer_id, other.name, other.phone, now=now)


def _give_money(tx: Tx, business: Business, person: SimulatedCustomer) -> None:
    order = ledger_adjustments.Order(
        customer=person.key, amount=FIRST_DEPOSIT, key=f"first deposit of {person.name}"
    )
    ledger_adjustments.deposit(tx, business, order, to_text(Clock().now()))
