"""What is known of each model at an endpoint: found out once, kept for a week."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
    is_proven: bool = True


ALONE_MAX_S = 1.0
"""Seconds others wait for the one who finds out: a request that hangs must not hold them up."""


class Dialects:
    """The dialect of each model at one endpoint; whoever finds one out does so alone."""

    def __init__(self, memory: Memory | None, *, endpoint: str, api: str, clock: Clock) -> None:
        self._memory = memory
        self._endpoint = endpoint
        self._api = api
        self._clock = clock
        self._known: dict[str, _Learned] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def alone(self, model: str) -> AsyncIterator[None]:
        """One finds out at a time; behind one that takes long nobody waits, but asks at once."""
        lock = self._locks.setdefault(model, asyncio.Lock())
        try:
            async with asyncio.timeout(ALONE_MAX_S):
                await lock.acquire()
        except TimeoutError:
            self.assume(model)
            yield
            return
        try:
            yield
        finally:
            lock.release()

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
        await self.of(model)
        known = self._known.get(model)
        if known is not None and known.is_proven and known.dialect == dialect:
            return
        learned = _Learned(dialect, self._clock.now())
        self._known[model] = learned
        if self._memory is not None:
            text = msgspec.json.encode(dialect).decode()
            await self._memory.keep(self._endpoint, model, text, learned.at)

    def look_again(self) -> None:
        """What the memory holds counts, not what was read from it before."""
        if self._memory is not None:
            self._known.clear()

    def assume(self, model: str, dialect: Dialect | None = None) -> None:
        """What others take who do not wait for the search: the likeliest, as yet unproven."""
        known = self._known.get(model)
        if known is None or not known.is_proven:
            likeliest = dialect or (known.dialect if known else self.default)
            self._known[model] = _Learned(likeliest, self._clock.now(), is_proven=False)

    def give_up(self, model: str) -> None:
        """The search has failed: what was assumed meanwhile is nothing."""
        known = self._known.get(model)
        if known is not None and not known.is_proven:
            del self._known[model]

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
