"""The simulator's background tasks, and waiting for changes without polling."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

from aiohttp import web


class Notifier:
    """Wakes the tasks that wait for a condition."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Make every waiting task check its condition again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, is_true: Callable[[], bool], *, timeout_s: float) -> None:
        """Return once the condition holds; raises TimeoutError if it does not in time."""
        async with asyncio.timeout(timeout_s):
            while not is_true():
                changed = self._changed
                await changed.wait()


class Background:
    """Deliveries in progress, in one TaskGroup; cancelled when the application stops."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._group: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        return not self._running

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run this concurrently; raises RuntimeError unless the application is running."""
        if self._group is None:
            work.close()
            raise RuntimeError("the simulator is not running: start its application first")
        task = self._group.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def running_ctx(self, _app: web.Application) -> AsyncIterator[None]:
        """The cleanup context in which work may be started."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            yield
            self._group = None
            for task in tuple(self._running):
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._notifier.notify()
