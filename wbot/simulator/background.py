"""Work in flight behind the simulator's answers, and waiting for it without polling."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

from aiohttp import web


class Bell:
    """Wakes everybody who waits for something to become true."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def notify(self) -> None:
        """Something changed: every waiter looks again."""
        self._rung.set()
        self._rung = asyncio.Event()

    async def until(self, is_true: Callable[[], bool], *, timeout_s: float) -> None:
        """Return once the condition holds; TimeoutError when it does not hold in time."""
        async with asyncio.timeout(timeout_s):
            while not is_true():
                rung = self._rung
                await rung.wait()


class Background:
    """Deliveries under way: born in one TaskGroup, cancelled when the application stops."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._group: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        return not self._running

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run this beside the others; RuntimeError unless the application runs."""
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
        self._bell.notify()
