"""Where it is kept what an endpoint takes for a model."""

from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from wbot.clients.model.dialect import Dialect

KEPT_FOR = timedelta(days=7)
"""Then it is learned anew: endpoints change."""


class Learned(msgspec.Struct, frozen=True):
    """A dialect that worked, as JSON, and since when it is known."""

    dialect: str
    at: datetime


class Memory(Protocol):
    """Keeps what was learned by endpoint and model."""

    async def recall(self, endpoint: str, model: str) -> Learned | None: ...

    async def keep(self, endpoint: str, model: str, learned: Learned) -> None: ...

    async def forget(self, endpoint: str, model: str) -> None: ...


def dialect_in(learned: Learned | None, now: datetime) -> Dialect | None:
    """What was learned, unless it is too old, or from another version of this program."""
    if learned is None or now - learned.at > KEPT_FOR:
        return None
    try:
        return msgspec.json.decode(learned.dialect, type=Dialect)
    except msgspec.DecodeError:
        return None
