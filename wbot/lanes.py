"""One queue and one coroutine per key: in order inside a key, side by side between keys.

A queue holds bells, never work: what is to be done is on disk, and a bell says that it is time to
look. A coroutine is born by a bell and gone when there is nothing to do, so a key that must wait
costs a timer and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable

LookAgain = float | None
"""Seconds until it is worth looking again, 0 for at once; None: when the next bell rings."""


class Lanes:
    """Runs `work(key)` for each key that was rung, at most `running_max` keys at once.

    Where more keys than that have something to do they take turns, one look each.
    """

    def __init__(
        self, name: str, work: Callable[[int], Awaitable[LookAgain]], *, running_max: int
    ) -> None:
        self._name = name
        self._work = work
        self._running_max = running_max
        self._tasks: asyncio.TaskGroup
        self._queues: dict[int, asyncio.Queue[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, None] = {}  # an ordered set: who waits for a free place
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._is_stopping = False

    @property
    def running(self) -> int:
        """Keys that have a coroutine now."""
        return len(self._queues)

    @property
    def is_stopping(self) -> bool:
        """Whether work in hand should end at its next durable step."""
        return self._is_stopping

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks

    def ring(self, key: int) -> None:
        """Say that there is something to look at; ringing twice is ringing once."""
        if self._is_stopping:
            return
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if (queue := self._queues.get(key)) is not None:
            if queue.empty():
                queue.put_nowait(None)
        elif len(self._queues) < self._running_max:
            self._begin(key)
        else:
            self._waiting[key] = None

    async def stop(self, grace_s: float) -> None:
        """Let work in hand end, at most so many seconds, then cancel what is left."""
        self._is_stopping = True
        self._waiting.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _begin(self, key: int) -> None:
        queue: asyncio.Queue[None] = asyncio.Queue(maxsize=1)
        queue.put_nowait(None)
        self._queues[key] = queue
        task = self._tasks.create_task(self._run(key, queue), name=f"{self._name} {key}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, key: int, queue: asyncio.Queue[None]) -> None:
        again: LookAgain = None
        has_more = True
        try:
            while has_more and not self._is_stopping:
                if not queue.empty():
                    queue.get_nowait()
                again = await self._work(key)
                has_more = again == 0 or not queue.empty()
                if self._waiting:
                    break
        finally:
            # No await from the last look at the queue to here: a bell is never lost in between.
            del self._queues[key]
        if self._is_stopping:
            return
        if has_more:  # others wait for a place: one with much to do goes to their end
            self._waiting[key] = None
        elif again:
            self._ring_later(key, again)
        self._begin_next()

    def _begin_next(self) -> None:
        if self._waiting:
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._begin(key)

    def _ring_later(self, key: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self.ring, key)
