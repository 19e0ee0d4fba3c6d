"""Where it is kept what an endpoint takes for a model."""

from datetime import datetime
from typing import Protocol


class Memory(Protocol):
    """Keeps a dialect's JSON by endpoint and model, and when it was learned."""

    async def recall(self, endpoint: str, model: str) -> tuple[str, datetime] | None: ...

    async def keep(self, endpoint: str, model: str, dialect: str, at: datetime) -> None: ...

    async def forget(self, endpoint: str, model: str) -> None: ...
