"""Notices what other processes changed in the database, and retries missed notifications."""

from collections.abc import Awaitable, Callable

from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.logs import Log
from wbot.storage.database import Database

POLL_EVERY_S = 1.0
SWEEP_EVERY = 15
"""Polls between two sweeps of everything unfinished: a missed notification costs seconds."""


class ChangePoller:
    """Calls `on_change` after another process wrote, and `sweep` then and at intervals."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        log: Log,
        on_change: Callable[[], Awaitable[None]],
        sweep: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._on_change = on_change
        self._sweep = sweep

    async def run(self) -> None:
        version, polls = -1, 0
        while True:
            await self._clock.sleep(POLL_EVERY_S)
            polls += 1
            try:
                seen = await self._database.version_elsewhere()
                if seen != version:
                    await self._on_change()
                if seen != version or polls % SWEEP_EVERY == 0:
                    await self._sweep()
                version = seen
            except StorageError as error:
                self._log.error("storage.failed", error=str(error))
