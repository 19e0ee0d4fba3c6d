"""The bell between processes: notices what the command line changed, and anything forgotten."""

from collections.abc import Awaitable, Callable

from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.logs import Log
from wbot.storage.database import Database

LOOK_EVERY_S = 1.0
SWEEP_EVERY = 15
"""Looks until everything unfinished is rung anyway: a lost bell costs seconds, not a restart."""


class Watch:
    """Calls `on_change` after another process wrote, and `sweep` then and now and again."""

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
        version, looks = -1, 0
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            looks += 1
            try:
                seen = await self._database.version_elsewhere()
                if seen != version:
                    await self._on_change()
                if seen != version or looks % SWEEP_EVERY == 0:
                    await self._sweep()
                version = seen
            except StorageError as error:
                self._log.error("storage.failed", error=str(error))
