"""The operator, who requeues every message that the model rejected, from another process."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from torture.asks import REJECTIONS, Ask
from wbot.admin import reprocessing
from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.storage.database import connect, transaction

POLL_S = 0.3
STALE_AFTER_S = 36_000.0
FAILED = """
SELECT e.id, message_id FROM processing_errors e JOIN messages m USING (message_id)
WHERE e.state = 'open' AND m.state = 'failed'
"""


class Operator:
    """Runs `errors retry` while the service runs and while it is down."""

    def __init__(self, path: Path, asks: Sequence[Ask], retried: set[str], clock: Clock) -> None:
        self._path = path
        self._rejected = {ask.message_id for ask in asks if ask.kind in REJECTIONS}
        self._retried = retried
        self._clock = clock

    async def run(self) -> None:
        """Retry failures periodically, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            self.retry_failed()

    def retry_failed(self) -> int:
        """Retry the expected failures; returns how many there were."""
        connection = connect(self._path)
        try:
            connection.execute("PRAGMA busy_timeout = 0")  # or this event loop would be blocked
            found = [
                row
                for row in connection.execute(FAILED).fetchall()
                if row["message_id"] in self._rejected
            ]
            for row in found:
                now = self._clock.now()
                with transaction(connection) as tx:
                    reprocessing.retry(tx, row["id"], now=now, stale_after_s=STALE_AFTER_S)
                self._retried.add(row["message_id"])
            return len(found)
        except StorageError:  # another process writes
            return 1
        finally:
            connection.close()
