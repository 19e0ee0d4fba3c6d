"""What systemd is told (sd_notify): when the service is ready, that it is alive, that it stops."""

import socket
from collections.abc import Mapping
from contextlib import suppress

from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.logs import Log
from wbot.storage.database import Database
from wbot.storage.tx import Tx

SHARE = 3
"""Signs of life in each of systemd's periods: one may come late."""


class Supervisor:
    """Sends to the socket that systemd names in the environment; does nothing where there is none.

    A sign of life follows an empty transaction, so the event loop and the database's writer both
    have to run. One that fails in time is alive too: /health says what is wrong with it.
    """

    def __init__(
        self, variables: Mapping[str, str], *, database: Database, clock: Clock, log: Log
    ) -> None:
        self._address = variables.get("NOTIFY_SOCKET", "")
        self._every_s = _microseconds(variables.get("WATCHDOG_USEC", "")) / 1e6 / SHARE
        self._database = database
        self._clock = clock
        self._log = log

    async def run(self) -> None:
        """Send signs of life, for ever, if systemd wants them."""
        while self._address and self._every_s:
            with suppress(StorageError):
                await self._database.write(_nothing)
            self._send("WATCHDOG=1")
            await self._clock.sleep(self._every_s)

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # An address that begins with @ is of Linux's abstract namespace.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), address)
        except OSError as error:
            self._log.warning("supervisor.unreachable", state=state, error=str(error))


def _nothing(_: Tx) -> None:
    return None


def _microseconds(text: str) -> int:
    return int(text) if text.isdecimal() else 0
