"""What is known of each endpoint and model: found out once, kept for a week."""

import asyncio
from datetime import timedelta

import msgspec

from wbot.clients.model.dialect import AUTO, Api, Dialect
from wbot.clients.model.memory import KEPT_FOR, Learned, Memory, dialect_in
from wbot.clock import Clock

TRUSTED_FOR = timedelta(minutes=10)
"""So long after it was learned a refusal that nobody understands does not forget it."""


class Dialects:
    """The dialect of each model at one endpoint; whoever finds one out does so alone."""

    def __init__(self, memory: Memory | None, *, endpoint: str, api: str, clock: Clock) -> None:
        self._memory = memory
        self._endpoint = endpoint
        self._api = api
        self._clock = clock
        self._known: dict[str, Learned] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, model: str) -> asyncio.Lock:
        return self._locks.setdefault(model, asyncio.Lock())

    @property
    def default(self) -> Dialect:
        """Where a search begins."""
        return Dialect(api=Api.CHAT if self._api == AUTO else Api(self._api))

    async def of(self, model: str) -> Dialect | None:
        """What is known and not too old; None where it must be found out."""
        now = self._clock.now()
        learned = self._known.get(model)
        if learned is None or now - learned.at > KEPT_FOR:
            learned = await self._recalled(model)
        dialect = dialect_in(learned, now)
        if learned is None or dialect is None or self._api not in {AUTO, dialect.api}:
            self._known.pop(model, None)
            return None
        self._known[model] = learned
        return dialect

    async def keep(self, model: str, dialect: Dialect) -> None:
        """A dialect that worked; known already, it keeps its age."""
        if await self.of(model) == dialect:
            return
        learned = Learned(msgspec.json.encode(dialect).decode(), self._clock.now())
        self._known[model] = learned
        if self._memory is not None:
            await self._memory.keep(self._endpoint, model, learned)

    def assume(self, model: str) -> None:
        """Nothing was found out, for the endpoint is down: all may ask at once again."""
        if model not in self._known:
            default = msgspec.json.encode(self.default).decode()
            self._known[model] = Learned(default, self._clock.now())

    async def doubt(self, model: str, dialect: Dialect) -> bool:
        """Forget what was refused without a reason that helps; whether anything was to forget."""
        learned = self._known.get(model)
        if learned is None or dialect == self.default:
            return False
        if self._clock.now() - learned.at < TRUSTED_FOR:
            return False
        await self.forget(model)
        return True

    async def forget(self, model: str) -> None:
        self._known.pop(model, None)
        if self._memory is not None:
            await self._memory.forget(self._endpoint, model)

    async def _recalled(self, model: str) -> Learned | None:
        if self._memory is None:
            return None
        return await self._memory.recall(self._endpoint, model)
