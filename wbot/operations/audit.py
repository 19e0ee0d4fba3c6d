"""The service's own auditor: proves the books right, over and over, while it runs."""

import asyncio
from collections.abc import Sequence

from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.logs import Log
from wbot.storage import invariants
from wbot.storage.database import Database

EVERY_S = 60.0
SHARE = 20
"""An audit takes a twentieth of the time at most: long books are proved less often."""


class Audit:
    """Verifies every invariant of the ledger at the start and every minute; a reader's work."""

    def __init__(self, *, database: Database, clock: Clock, log: Log) -> None:
        self.breaches: Sequence[str] = ()
        """What was wrong when last looked at, in plain words; empty while the books are right."""
        self._first = asyncio.Event()
        self._database = database
        self._clock = clock
        self._log = log

    async def are_books_right(self) -> bool:
        """Whether money may move; waits for the first audit of this process."""
        await self._first.wait()
        return not self.breaches

    async def run(self) -> None:
        while True:
            started = self._clock.monotonic()
            try:
                self._report(await self._database.read(invariants.breaches))
            except StorageError as error:
                self._log.error("storage.failed", error=str(error))
            self._first.set()
            took_s = self._clock.monotonic() - started
            await self._clock.sleep(max(EVERY_S, SHARE * took_s))

    def _report(self, found: Sequence[str]) -> None:
        if found:
            self._log.error("books.wrong", breaches=len(found), first=found[0])
        elif self.breaches:
            self._log.info("books.right")
        self.breaches = found
