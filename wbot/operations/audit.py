"""The service's own auditor: proves the books right, over and over, while it runs."""

import asyncio
from collections.abc import Sequence

from wbot.clock import Clock
from wbot.domain.redaction import redacted
from wbot.logs import Log
from wbot.storage import invariants
from wbot.storage.database import Database

EVERY_S = 60.0
AGAIN_S = 5.0
"""Seconds until books that could not even be read are looked at again."""
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
                wait_s = max(EVERY_S, SHARE * (self._clock.monotonic() - started))
            except Exception as error:  # noqa: BLE001  what cannot be proved counts as wrong
                self._report([f"They could not be checked: {redacted(str(error))}"])
                wait_s = AGAIN_S
            self._first.set()
            await self._clock.sleep(wait_s)

    def _report(self, found: Sequence[str]) -> None:
        if found:
            self._log.error("books.wrong", breaches=len(found), first=found[0])
        elif self.breaches:
            self._log.info("books.right")
        self.breaches = found
