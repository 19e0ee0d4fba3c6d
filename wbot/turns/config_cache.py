"""Businesses' configuration, loaded once per key at a time and kept for a while."""

import asyncio
from collections.abc import Mapping

import msgspec
from aiocache import SimpleMemoryCache

from wbot.clients.whatsapp import PhoneNumberCredentials
from wbot.clock import Clock, elapsed_ms
from wbot.domain.business import Business
from wbot.domain.errors import BlockedError, ConfigurationError
from wbot.logs import Log
from wbot.metrics import Metrics
from wbot.settings import resolve_secret
from wbot.storage import businesses
from wbot.storage.database import Database


class Configured(msgspec.Struct, frozen=True):
    """A business as the service uses it: its row, and the way to the Cloud API with its token."""

    business: Business
    credentials: PhoneNumberCredentials


class BusinessCache:
    """An aiocache cache in front of the businesses table; frozen values, own counters.

    Each token that it reads is added to `secrets`, before anybody can use it.
    """

    def __init__(
        self,
        database: Database,
        *,
        variables: Mapping[str, str],
        secrets: set[str],
        ttl_s: float,
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._variables = variables
        self._secrets = secrets
        self._ttl_s = ttl_s
        self._clock = clock
        self._log = log
        self._metrics = metrics
        # No time limit of its own: Python 3.11's wait_for, which that uses, can swallow a
        # cancellation.
        self._cache = SimpleMemoryCache(timeout=None)
        self._loads: dict[str, asyncio.Lock] = {}
        self._keys: set[str] = set()
        self._generation = 0

    @property
    def keys(self) -> int:
        """Businesses that were loaded since the cache was last cleared."""
        return len(self._keys)

    async def get(self, business_id: str) -> Configured:
        """The business's configuration; raises BlockedError where its token cannot be read."""
        started = self._clock.monotonic()
        # aiocache's own lock would let everybody through again once its lease ends.
        async with self._loads.setdefault(business_id, asyncio.Lock()):
            found: Configured | None = await self._cache.get(business_id)
            is_cached = found is not None
            configured = found or await self._load(business_id)
        if is_cached:
            self._metrics.cache_hits += 1
        else:
            self._metrics.cache_misses += 1
        self._log.info(
            "config.loaded",
            business=business_id,
            cached=is_cached,
            load_ms=elapsed_ms(started, self._clock.monotonic()),
        )
        return configured

    async def clear(self) -> None:
        """Forget everything: somebody changed the database from outside."""
        self._generation += 1
        self._keys.clear()
        await self._cache.clear()

    async def _load(self, business_id: str) -> Configured:
        generation = self._generation
        business = await self._database.read(lambda tx: businesses.by_id(tx, business_id))
        if business is None:
            raise BlockedError(f"The business {business_id} is gone.")
        try:
            token = resolve_secret(business.access_token, self._variables)
        except ConfigurationError as error:
            raise BlockedError(
                f"The access token of {business_id} cannot be read: {error}"
            ) from error
        self._secrets.add(token)
        configured = Configured(business, PhoneNumberCredentials(business.phone_number_id, token))
        if generation == self._generation:  # else it may be older than what cleared the cache
            await self._cache.set(business_id, configured, ttl=self._ttl_s)
            self._keys.add(business_id)
        return configured
