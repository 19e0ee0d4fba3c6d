"""Lets holds expire by themselves, whether their customer writes again or not."""

from collections.abc import Awaitable, Callable

from wbot.clock import Clock, later, to_text
from wbot.domain.errors import StorageError
from wbot.logs import Log
from wbot.payments import consent
from wbot.storage import prompts
from wbot.storage.database import Database

LOOK_EVERY_S = 1.0


class Expiry:
    """Expires holds whose time is over, every second; nothing moves while the ledger is wrong."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        log: Log,
        are_books_right: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._are_books_right = are_books_right

    async def run(self) -> None:
        while True:
            try:
                await self._process_next()
            except StorageError as error:
                self._log.error("storage.failed", error=str(error))
            await self._clock.sleep(LOOK_EVERY_S)

    async def _process_next(self) -> None:
        now = self._clock.now()
        before = to_text(later(now, -consent.EXPIRY_GRACE_S))
        if not await self._database.read(lambda tx: prompts.due(tx, before)):
            return
        if await self._are_books_right():
            # Only the writer sees an answer that came in between, so it checks again.
            ended = await self._database.write(
                lambda tx: consent.expire_due(tx, to_text(self._clock.now()))
            )
            self._log.info("holds.expired", confirmations=ended)
