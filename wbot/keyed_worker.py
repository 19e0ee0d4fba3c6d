"""One queue and one coroutine per key: in order within a key, concurrently between keys.

A queue holds wake-ups, never work: the work is on disk, and a wake-up says that it is time to
check. A coroutine starts on a wake-up and ends when there is nothing to do, so a waiting key costs
only a timer. Keys belong to groups, which share the running slots fairly.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any

RetryDelay = float | None
"""Seconds until the key is processed again, 0 for at once; None: at the next notification."""

CANCEL_AGAIN_S = 0.2


async def cancel_and_wait(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until all have ended.

    Python 3.11's wait_for can swallow a cancellation; such a task would go on with a closed
    database.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


class KeyedWorker:
    """Runs `work(key, group)` for each notified key, at most `running_max` keys at once.

    When more keys are ready, they take turns, one call each. With several groups, a group may take
    a slot only while it has fewer than are free, so a slow group always leaves slots to the others.
    Free slots go to the groups in turn.
    """

    def __init__(
        self, name: str, work: Callable[[int, str], Awaitable[RetryDelay]], *, running_max: int
    ) -> None:
        self.groups = 1
        """How many groups there are, active or not."""
        self._name = name
        self._work = work
        self._running_max = running_max
        self._tasks: asyncio.TaskGroup
        self._queues: dict[int, asyncio.Queue[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._running_of: Counter[str] = Counter()
        self._waiting: dict[str, dict[int, None]] = {}
        """By group, ordered sets of keys that wait for a slot; the next group comes first."""
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._is_stopping = False

    @property
    def running(self) -> int:
        """Keys that have a coroutine now."""
        return len(self._queues)

    @property
    def is_stopping(self) -> bool:
        """Whether running work should end at its next durable step."""
        return self._is_stopping

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks

    def notify(self, key: int, group: str) -> None:
        """Ask for the key to be processed; further calls before that have no effect."""
        if self._is_stopping:
            return
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if (queue := self._queues.get(key)) is not None:
            if queue.empty():
                queue.put_nowait(None)
        elif key in self._waiting.get(group, {}):
            return
        elif self._has_slot(group):
            self._start_key(key, group)
        else:
            self._enqueue(key, group)

    async def stop(self, grace_s: float) -> None:
        """Let running work end, waiting at most so many seconds, then cancel what is left."""
        self._is_stopping = True
        self._waiting.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            await cancel_and_wait(late)

    def _has_slot(self, group: str) -> bool:
        free = self._running_max - len(self._queues)
        return free > 0 and (self.groups <= 1 or self._running_of[group] < free)

    def _enqueue(self, key: int, group: str) -> None:
        self._waiting.setdefault(group, {})[key] = None

    def _start_key(self, key: int, group: str) -> None:
        queue: asyncio.Queue[None] = asyncio.Queue(maxsize=1)
        queue.put_nowait(None)
        self._queues[key] = queue
        self._running_of[group] += 1
        task = self._tasks.create_task(self._run(key, group, queue), name=f"{self._name} {key}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, key: int, group: str, queue: asyncio.Queue[None]) -> None:
        again: RetryDelay = None
        has_more = True
        try:
            while has_more and not self._is_stopping:
                if not queue.empty():
                    queue.get_nowait()
                again = await self._work(key, group)
                has_more = again == 0 or not queue.empty()
                if self._waiting:
                    break
        finally:
            # No await between the last check of the queue and here, so no notification is lost.
            del self._queues[key]
            self._running_of[group] -= 1
        if self._is_stopping:
            return
        if has_more:  # others wait for a slot: this key goes behind them
            self._enqueue(key, group)
        elif again:
            self._notify_later(key, group, again)
        while self._start_next():
            pass

    def _start_next(self) -> bool:
        """Start a key of the next group that may take a free slot; whether there was one."""
        group = next((one for one in self._waiting if self._has_slot(one)), None)
        if group is None:
            return False
        keys = self._waiting.pop(group)
        key = next(iter(keys))
        del keys[key]
        if keys:  # the group is now last in turn
            self._waiting[group] = keys
        self._start_key(key, group)
        return True

    def _notify_later(self, key: int, group: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self.notify, key, group)
