"""What systemd hears of the service, on the socket that it names."""

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from conftest import WAIT_S
from test_process import process, variables

from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.logs import get_log
from wbot.monitoring.supervisor import Supervisor
from wbot.storage.database import Database
from wbot.storage.tx import Tx


class Systemd:
    """The receiving end."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    async def hears(self) -> str:
        """The next state; waits for one."""
        async with asyncio.timeout(WAIT_S):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 100)).decode()

    def heard(self) -> list[str]:
        """The states that have come."""
        states = []
        while True:
            try:
                states.append(self._socket.recv(100).decode())
            except BlockingIOError:
                return states

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def systemd(address: str) -> Iterator[Systemd]:
    one = Systemd(address)
    yield one
    one.close()


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[Database]:
    one = Database(database_path, clock=Clock())
    await one.open()
    yield one
    await one.close()


async def test_the_service_is_ready_when_it_listens_and_says_that_it_stops(
    database_path: Path, tmp_path: Path, address: str, systemd: Systemd
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", 0)
    settings |= {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}
    async with process(settings, tmp_path) as running:
        first, second = await systemd.hears(), await systemd.hears()
        assert {first, second} == {"READY=1", "WATCHDOG=1"}
        assert await running.end(signal.SIGTERM) == 0
        assert systemd.heard() == ["STOPPING=1"]


class Hasty(Clock):
    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        await asyncio.sleep(0)


def supervisor(database: Database, address: str) -> Supervisor:
    given = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}
    return Supervisor(given, database=database, clock=Hasty(), log=get_log())


async def test_a_writer_that_hangs_gives_no_sign_of_life(
    database: Database, address: str, systemd: Systemd
) -> None:
    goes_on = threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: Tx) -> None:
        loop.call_soon_threadsafe(began.set)
        goes_on.wait(WAIT_S)

    async with asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(database.write(hang))
        await began.wait()
        feeding = tasks.create_task(supervisor(database, address).run())
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert systemd.heard() == []
        goes_on.set()
        await hanging
        assert await systemd.hears() == "WATCHDOG=1"
        feeding.cancel()


async def test_a_database_that_refuses_is_alive(
    database: Database, address: str, systemd: Systemd
) -> None:
    """A restart frees no disk; /health reports it."""
    database.lost = "The database is gone."
    with pytest.raises(StorageError):
        await database.write(lambda _: None)
    async with asyncio.TaskGroup() as tasks:
        feeding = tasks.create_task(supervisor(database, address).run())
        assert await systemd.hears() == "WATCHDOG=1"
        feeding.cancel()


async def test_an_abstract_address_is_reached(database: Database, tmp_path: Path) -> None:
    address = f"@wbot-test-{tmp_path.name}"
    systemd = Systemd(address)
    supervisor(database, address).ready()
    assert await systemd.hears() == "READY=1"
    systemd.close()


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
async def test_without_systemd_nothing_is_sent(database: Database, address: str) -> None:
    supervisor(database, address).ready()
