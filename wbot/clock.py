"""The only reader of the time: wall clock for records, monotonic clock for durations."""

import asyncio
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Aware UTC instants, monotonic seconds, and waiting; tests pass one they can set."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def to_text(instant: datetime) -> str:
    """UTC ISO 8601 with microseconds and a Z: of equal length, so text order is time order."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_text(text: str) -> datetime:
    """The aware instant that `to_text` wrote."""
    return datetime.fromisoformat(text)


def later(instant: datetime, seconds: float) -> datetime:
    """The instant so many seconds after (or, negative, before) another."""
    return instant + timedelta(seconds=seconds)


def elapsed_ms(started: float, ended: float) -> float:
    """Milliseconds between two monotonic readings, to the microsecond."""
    return round((ended - started) * 1000, 3)
