"""One queue and one coroutine per key: in order inside a key, side by side between keys.

A queue holds bells, never work: what is to be done is on disk, and a bell says that it is time to
look. A coroutine is born by a bell and gone when there is nothing to do, so a key that must wait
costs a timer and nothing else. Keys belong to groups, which share the places fairly.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any

RetryDelay = float | None
"""Seconds until it is worth looking again, 0 for at once; None: when the next bell rings."""

CANCEL_AGAIN_S = 0.2


async def cancel_and_wait(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until they are gone.

    Python 3.11's wait_for can swallow a cancellation; what went on then would meet a closed
    database.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


class KeyedWorker:
    """Runs `work(key, group)` for each key that was rung, at most `running_max` keys at once.

    Where more keys than that have something to do they take turns, one look each. Where there are
    several groups, one may only take a place while it has fewer than are free: whatever it waits
    for, places are left for the others. Free places go to the groups in turn.
    """

    def __init__(
        self, name: str, work: Callable[[int, str], Awaitable[RetryDelay]], *, running_max: int
    ) -> None:
        self.groups = 1
        """How many groups there are, at work or not."""
        self._name = name
        self._work = work
        self._running_max = running_max
        self._tasks: asyncio.TaskGroup
        self._queues: dict[int, asyncio.Queue[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._running_of: Counter[str] = Counter()
        self._waiting: dict[str, dict[int, None]] = {}
        """By group, ordered sets: who waits for a place; the group whose turn it is comes first."""
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

    def notify(self, key: int, group: str) -> None:
        """Say that there is something to look at; ringing twice is ringing once."""
        if self._is_stopping:
            return
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if (queue := self._queues.get(key)) is not None:
            if queue.empty():
                queue.put_nowait(None)
        elif key in self._waiting.get(group, {}):
            return
        elif self._has_place(group):
            self._begin(key, group)
        else:
            self._wait(key, group)

    async def stop(self, grace_s: float) -> None:
        """Let work in hand end, at most so many seconds, then cancel what is left."""
        self._is_stopping = True
        self._waiting.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            await cancel_and_wait(late)

    def _has_place(self, group: str) -> bool:
        free = self._running_max - len(self._queues)
        return free > 0 and (self.groups <= 1 or self._running_of[group] < free)

    def _wait(self, key: int, group: str) -> None:
        self._waiting.setdefault(group, {})[key] = None

    def _begin(self, key: int, group: str) -> None:
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
            # No await from the last look at the queue to here: a bell is never lost in between.
            del self._queues[key]
            self._running_of[group] -= 1
        if self._is_stopping:
            return
        if has_more:  # others wait for a place: one with much to do goes to their end
            self._wait(key, group)
        elif again:
            self._notify_later(key, group, again)
        while self._begin_next():
            pass

    def _begin_next(self) -> bool:
        """Give a free place to the next group that may have it; whether there was one."""
        group = next((one for one in self._waiting if self._has_place(one)), None)
        if group is None:
            return False
        keys = self._waiting.pop(group)
        key = next(iter(keys))
        del keys[key]
        if keys:  # from now on the last in turn
            self._waiting[group] = keys
        self._begin(key, group)
        return True

    def _notify_later(self, key: int, group: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self.notify, key, group)
