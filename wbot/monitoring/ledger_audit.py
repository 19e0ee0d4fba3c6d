"""The continuous audit of the ledger while the service runs.

Rows of the ledger never change and each carries the hash of the one before it, so what is new is
verified every minute from where the last audit stopped. Everything is verified at the start and
once a day, in slices: no snapshot stays open for long, and others get the reader in between. Short
books are verified completely every minute.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from wbot.clock import Clock, to_text
from wbot.domain.errors import StorageError
from wbot.domain.redaction import redacted
from wbot.logs import Log
from wbot.storage import invariants
from wbot.storage.database import Database
from wbot.storage.invariants import Checkpoint, Sum
from wbot.storage.tx import Tx

T = TypeVar("T")

EVERY_S = 60.0
DAY_S = 24 * 3600.0
AGAIN_S = 5.0
"""Seconds until the next try after the books could not be read."""
START_MAX_S = 1.0
"""Seconds that transfers wait at a start for the first audit, which then continues in parallel."""
SHORT_S = 1.0
"""Books that take less than this are verified completely every minute."""
SHARE = 20
"""Caps repeated full audits of wrong books at 1/20 of the time."""
PAUSE = 4
"""The pause between two slices, as a multiple of what the slice took."""
ROWS_PER_SLICE = 2_000
ACCOUNTS_PER_SLICE = 500
SUMS_MAX = 10_000
"""Accounts whose sums are kept, so that a long one is not added up every minute."""


class Audit:
    """Verifies every invariant of the ledger, on a reader."""

    def __init__(self, *, database: Database, clock: Clock, log: Log) -> None:
        self._found: dict[str, Sequence[str]] = {}
        self._first_left = {"latest", "whole"}
        self._may_move = asyncio.Event()
        self._reached: Checkpoint | None = None
        self._sums: Mapping[int, Sum] = {}
        self._database = database
        self._clock = clock
        self._log = log

    @property
    def breaches(self) -> Sequence[str]:
        """What the latest audit found wrong, in plain words; empty while the books are right."""
        return list(dict.fromkeys(one for found in self._found.values() for one in found))

    async def are_books_right(self) -> bool:
        """Whether money may move; waits for the first audit of this process, a second at most."""
        await self._may_move.wait()
        return not self.breaches

    async def run(self) -> None:
        limit = asyncio.get_running_loop().call_later(START_MAX_S, self._may_move.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._repeat("latest", self._verify_latest), name="audit latest")
                tasks.create_task(self._repeat("whole", self._verify_whole), name="audit whole")
        finally:
            limit.cancel()

    async def _repeat(
        self, name: str, verify: Callable[[], Awaitable[tuple[Sequence[str], float]]]
    ) -> None:
        while True:
            try:
                found, wait_s = await verify()
            except Exception as error:  # noqa: BLE001  what cannot be verified counts as wrong
                found, wait_s = [f"They could not be checked: {redacted(str(error))}"], AGAIN_S
            self._report(name, found)
            self._first_left.discard(name)
            if not self._first_left:
                self._may_move.set()
            await self._clock.sleep(wait_s)

    async def _verify_latest(self) -> tuple[Sequence[str], float]:
        """Verify the triggers and all new rows; stop at the first wrong slice."""
        found = await self._database.read(invariants.unguarded)
        before = self._reached or await self._database.read(invariants.checkpoint)
        reached, is_last = before, before is None  # the whole audit will find a first one
        while reached is not None and not is_last:
            verified, _ = await self._slice(
                partial(
                    invariants.verify_latest, since=reached, rows=ROWS_PER_SLICE, sums=self._sums
                )
            )
            self._remember(verified.sums)
            found += verified.breaches
            if verified.breaches:
                break
            reached, is_last = verified.upto, verified.is_last
        if reached is not None and reached != before:
            await self._keep(reached)
        return found, EVERY_S

    async def _verify_whole(self) -> tuple[Sequence[str], float]:
        """Verify every row and every account from the first on, without a checkpoint."""
        found: list[str] = []
        spent_s, reached, is_last = 0.0, Checkpoint(), False
        while not is_last:
            verified, took_s = await self._slice(
                partial(invariants.verify, since=reached, rows=ROWS_PER_SLICE)
            )
            found += verified.breaches
            reached, is_last, spent_s = verified.upto, verified.is_last, spent_s + took_s
        account: int | None = invariants.ID_MIN
        while account is not None:
            (wrong, account), took_s = await self._slice(
                partial(invariants.verify_accounts, after=account, limit=ACCOUNTS_PER_SLICE)
            )
            found, spent_s = found + wrong, spent_s + took_s
        if not found and reached != self._reached:
            await self._keep(reached)
        if spent_s < SHORT_S:
            return found, EVERY_S
        return found, SHARE * spent_s if found else DAY_S

    async def _slice(self, work: Callable[[Tx], T]) -> tuple[T, float]:
        """One slice on its own snapshot, and the seconds it took; then pause for other readers."""
        started = self._clock.monotonic()
        result = await self._database.read(work)
        took_s = self._clock.monotonic() - started
        if self._may_move.is_set():
            await self._clock.sleep(min(PAUSE * took_s, 1.0))
        return result, took_s

    def _remember(self, sums: Mapping[int, Sum]) -> None:
        room = len(self._sums) + len(sums) <= SUMS_MAX
        self._sums = {**self._sums, **sums} if room else dict(sums)

    async def _keep(self, reached: Checkpoint) -> None:
        self._reached = reached
        now = to_text(self._clock.now())
        with suppress(StorageError):  # it only spares the next start some work
            await self._database.write(lambda tx: invariants.keep_checkpoint(tx, reached, now))

    def _report(self, name: str, found: Sequence[str]) -> None:
        before = self.breaches
        self._found[name] = found
        if found:
            self._log.error("ledger.inconsistent", breaches=len(found), first=found[0])
        elif before and not self.breaches:
            self._log.info("ledger.consistent")
