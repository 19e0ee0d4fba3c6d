"""/health: 200 while the service can do its work, 503 with the reasons when it cannot.

It is public, so each reason is in our own words. What others said is in logs and rows; only what
a model's endpoint says of a block is here too, without secrets, numbers and customers' words.
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from aiohttp import web

from wbot import __version__
from wbot.clients.model import Failing
from wbot.clock import Clock, from_text, later, to_text
from wbot.domain.errors import StorageError
from wbot.domain.message_age import SILENT_S
from wbot.logs import lines_dropped
from wbot.metrics import Metrics
from wbot.storage import messages, outbox, outbox_queries, restorations
from wbot.storage.database import Database
from wbot.storage.messages import Backlog
from wbot.storage.tx import Tx

DISK_BYTES_FREE_MIN = 64 * 1024 * 1024
FAILING_MAX_S = 120.0
"""Seconds without a good answer from an outside system before that is a fault."""
SENDS_FAILING_MAX_S = 60.0
"""Seconds during which nothing but passing failures of sends is only a warning."""
OLDEST_MAX_S = 120.0
"""Seconds a message that could be processed may wait before that is a fault."""

COUNT_SHARE = 20
"""Caps the counting at 1/20 of the time."""
COUNT_FREE_S = 0.005
"""A count that takes less is repeated for each request."""


class FailingSends(Protocol):
    """For how long sends fail for a passing reason, and why, in our words."""

    @property
    def seconds(self) -> float: ...

    @property
    def reason(self) -> str: ...


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What the stages report about themselves, as plain callables."""

    blocked_models: Callable[[], Mapping[str, str]]
    failing_models: Callable[[], Sequence[Failing]]
    stands_in: Callable[[], str | None]
    unreadable_knowledge: Callable[[], Mapping[str, str]]
    failing_sends: Callable[[], Mapping[str, FailingSends]]
    refused_webhooks: Callable[[], Sequence[str]]
    blocked_accounts: Callable[[], Mapping[str, str]]
    book_breaches: Callable[[], Sequence[str]]
    currently_processing: Callable[[], int]
    cache_keys: Callable[[], int]


class _Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What /health reads from the database."""

    backlog: Backlog = Backlog(0, None)
    unsettled: int = 0
    is_stopped: bool = False
    silent: list[str] = []
    """Numbers that used to get webhooks, in words."""


class Health:
    """Answers /health."""

    def __init__(
        self, *, database: Database, clock: Clock, metrics: Metrics, sources: Sources
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._sources = sources
        self._started = clock.monotonic()
        self._counting = asyncio.Lock()
        self._counted = _Counted()
        self._counts_until = 0.0

    async def answer(self) -> web.Response:
        report = await self.report()
        is_healthy = report["status"] == "healthy"
        status = HTTPStatus.OK if is_healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return web.json_response(
            report, status=status, dumps=lambda value: msgspec.json.encode(value).decode()
        )

    async def report(self) -> dict[str, Any]:
        """The document of /health."""
        reasons = await self._storage_reasons()
        try:
            await self._count()
        except StorageError as error:
            reasons += [] if self._database.lost else [str(error)]
        backlog, unsettled = self._counted.backlog, self._counted.unsettled
        # A failing model is probed until it answers; other causes count only while messages wait.
        reasons += self._blocked_reasons() if backlog.waiting else []
        reasons += self._model_reasons()
        reasons += self._knowledge_reasons()
        reasons += self._graph_reasons() if unsettled else []
        reasons += _books_reasons(self._sources.book_breaches())
        reasons += [restorations.STOPPED] if self._counted.is_stopped else []
        reasons += self._sources.refused_webhooks()
        oldest_s = self._age_s(backlog.oldest_received_at)
        if oldest_s > OLDEST_MAX_S:
            reasons.append(f"A message has waited {oldest_s:.0f} s for its turn.")
        return {
            "status": "unhealthy" if reasons else "healthy",
            "reasons": reasons,
            "warnings": self._warnings(),
            "cache": self._cache(),
            "processor": {
                "processed": self._metrics.processed,
                "duplicates": self._metrics.duplicates,
                "errors": self._metrics.errors,
                "currentlyProcessing": self._sources.currently_processing(),
            },
            "database": {"waiting": self._database.waiting, "commit_ms": self._database.commit_ms},
            "queue": {"waiting": backlog.waiting, "oldest_s": oldest_s},
            "outbox": {"waiting": unsettled},
            "model": {"fallback_answers_for_it": self._sources.stands_in()},
            "logs": {"dropped": lines_dropped()},
            "version": __version__,
            "uptime_s": round(self._clock.monotonic() - self._started, 1),
        }

    async def _count(self) -> None:
        """Count again, unless the last count is younger than a few times its own duration.

        However often /health is requested, counting a long queue takes a small share of one
        reader; the count of a short queue is always fresh.
        """
        async with self._counting:
            started = self._clock.monotonic()
            if started < self._counts_until:
                return
            self._counted = _Counted()
            self._counted = await self._database.read(self._read_backlog)
            ended = self._clock.monotonic()
            self._counts_until = ended + COUNT_SHARE * (ended - started - COUNT_FREE_S)

    def _read_backlog(self, tx: Tx) -> "_Counted":
        now = self._clock.now()
        before = to_text(later(now, -SILENT_S))
        return _Counted(
            backlog=messages.backlog(tx, to_text(now)),
            unsettled=outbox_queries.count_unsettled(tx),
            is_stopped=restorations.is_stopped(tx),
            silent=[
                f"{business_id}: no webhook since {last[:16].replace('T', ' ')} UTC"
                for business_id, last in messages.last_inbound(tx)
                if last is not None and last < before
            ],
        )

    async def _storage_reasons(self) -> list[str]:
        if self._database.lost is not None:
            return [self._database.lost]
        reasons = []
        if self._database.failure is not None:
            # Only a write shows whether the failure is over.
            try:
                await self._database.write(outbox.check_writable)
            except StorageError as error:
                reasons.append(str(error))
        free = shutil.disk_usage(self._database.path.parent).free
        if free < DISK_BYTES_FREE_MIN:
            reasons.append(f"The disk is nearly full: {free // 1024**2} MiB are free.")
        return reasons

    def _blocked_reasons(self) -> list[str]:
        blocked = set(self._sources.blocked_models().values())
        return [f"The model cannot be asked: {reason}" for reason in sorted(blocked)]

    def _model_reasons(self) -> list[str]:
        return [
            f"The model {one.model} has given no good answer for {one.seconds / 60:.0f} minutes: "
            f"{one.reason}"
            for one in self._sources.failing_models()
            if one.seconds > FAILING_MAX_S
        ]

    def _knowledge_reasons(self) -> list[str]:
        problems = sorted(self._sources.unreadable_knowledge().items())
        return [
            f"{business} is answered without its knowledge: {why}." for business, why in problems
        ]

    def _graph_reasons(self) -> list[str]:
        blocked = self._sources.blocked_accounts().items()
        reasons = [f"{business} cannot send: {reason}" for business, reason in blocked]
        return reasons + [
            f"{business} has sent nothing for {one.seconds / 60:.0f} minutes: {one.reason}"
            for business, one in self._sources.failing_sends().items()
            if one.seconds > SENDS_FAILING_MAX_S
        ]

    def _warnings(self) -> list[str]:
        """What may be wrong, or over soon."""
        failing = self._sources.failing_sends().items() if self._counted.unsettled else ()
        return self._counted.silent + [
            f"{business} tries again to send: {one.reason}"
            for business, one in failing
            if one.seconds <= SENDS_FAILING_MAX_S
        ]

    def _cache(self) -> dict[str, Any]:
        hits, misses = self._metrics.cache_hits, self._metrics.cache_misses
        rate = round(100 * hits / (hits + misses)) if hits + misses else 0
        keys = self._sources.cache_keys()
        return {"hits": hits, "misses": misses, "hitRate": f"{rate}%", "keys": keys}

    def _age_s(self, instant: str | None) -> float:
        if instant is None:
            return 0.0
        return round(max(0.0, (self._clock.now() - from_text(instant)).total_seconds()), 1)


def _books_reasons(breaches: Sequence[str]) -> list[str]:
    if not breaches:
        return []
    more = f" (and {len(breaches) - 1} more)" if len(breaches) > 1 else ""
    return [f"The books are wrong, so no money moves: {breaches[0]}{more}"]
