"""What is known of each model at an endpoint: found out once, kept for a week."""

import asyncio
from datetime import datetime, timedelta

import msgspec

from wbot.clients.model.dialect import AUTO, Api, Dialect
from wbot.clients.model.memory import Memory
from wbot.clock import Clock

KEPT_FOR = timedelta(days=7)
"""Then it is learned anew: endpoints change."""
TRUSTED_FOR = timedelta(minutes=10)
"""So long after it was learned a refusal that nobody understands does not forget it."""


class _Learned(msgspec.Struct, frozen=True):
    dialect: Dialect
    at: datetime


class Dialects:
    """The dialect of each model at one endpoint; whoever finds one out does so alone."""

    def __init__(self, memory: Memory | None, *, endpoint: str, api: str, clock: Clock) -> None:
        self._memory = memory
        self._endpoint = endpoint
        self._api = api
        self._clock = clock
        self._known: dict[str, _Learned] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, model: str) -> asyncio.Lock:
        return self._locks.setdefault(model, asyncio.Lock())

    @property
    def default(self) -> Dialect:
        """Where a search begins."""
        return Dialect(api=Api.CHAT if self._api == AUTO else Api(self._api))

    async def of(self, model: str) -> Dialect | None:
        """What is known and not too old; None where it must be found out."""
        learned = self._fresh(self._known.pop(model, None))
        if learned is None and self._memory is not None:
            learned = self._fresh(_decoded(await self._memory.recall(self._endpoint, model)))
        if learned is None:
            return None
        self._known[model] = learned
        return learned.dialect

    def _fresh(self, learned: _Learned | None) -> _Learned | None:
        if learned is None or self._clock.now() - learned.at > KEPT_FOR:
            return None
        return learned if self._api in {AUTO, learned.dialect.api} else None

    async def keep(self, model: str, dialect: Dialect) -> None:
        """A dialect that worked; known already, it keeps its age."""
        if await self.of(model) == dialect:
            return
        learned = _Learned(dialect, self._clock.now())
        self._known[model] = learned
        if self._memory is not None:
            text = msgspec.json.encode(dialect).decode()
            await self._memory.keep(self._endpoint, model, text, learned.at)

    def assume(self, model: str) -> None:
        """Nothing was found out, for the endpoint is down: all may ask at once again."""
        self._known.setdefault(model, _Learned(self.default, self._clock.now()))

    async def doubt(self, model: str, dialect: Dialect) -> bool:
        """Forget what was refused without a reason that helps; whether anything was to forget."""
        learned = self._known.get(model)
        if learned is None or dialect == self.default:
            return False
        if self._clock.now() - learned.at < TRUSTED_FOR:
            return False
        self._known.pop(model, None)
        if self._memory is not None:
            await self._memory.forget(self._endpoint, model)
        return True


def _decoded(kept: tuple[str, datetime] | None) -> _Learned | None:
    try:
        return kept and _Learned(msgspec.json.decode(kept[0], type=Dialect), kept[1])
    except msgspec.DecodeError:  # of another version of this program
        return None
