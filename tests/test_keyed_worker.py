"""One coroutine per key: ordered within a key, concurrent across keys, no notification lost."""

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from wbot.keyed_worker import KeyedWorker, RetryDelay

WAIT_S = 30.0
Work = Callable[[int, str], Awaitable[RetryDelay]]


@asynccontextmanager
async def started(work: Work, *, running_max: int = 100) -> AsyncIterator[KeyedWorker]:
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        worker = KeyedWorker("test", work, running_max=running_max)
        worker.start(tasks)
        yield worker
        await worker.stop(0)


class Script:
    """Work that returns the scripted answers, then None; calls are recorded and can be blocked."""

    def __init__(self, **answers: list[RetryDelay]) -> None:
        self.answers = {int(key[1:]): deque(given) for key, given in answers.items()}
        self.calls: list[int] = []
        self.blocked: set[int] = set()
        self._changed = asyncio.Condition()
        self._gates: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def __call__(self, key: int, group: str) -> RetryDelay:
        async with self._changed:
            self.calls.append(key)
            self._changed.notify_all()
        if key in self.blocked:
            await self._gates[key].wait()
        left = self.answers.get(key)
        return left.popleft() if left else None

    def release(self, key: int) -> None:
        self.blocked.discard(key)
        self._gates[key].set()

    async def called(self, times: int) -> list[int]:
        """The calls, once there are this many."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.calls) >= times)
        return self.calls


async def idle(worker: KeyedWorker) -> None:
    """Return when all current coroutines have ended."""
    if worker._running:
        await asyncio.wait(worker._running)


async def test_a_key_gets_a_coroutine_when_notified_and_none_when_idle() -> None:
    script = Script()
    async with started(script) as worker:
        worker.notify(1, "all")
        worker.notify(1, "all")
        assert worker.running == 1
        await idle(worker)
        assert (script.calls, worker.running) == ([1], 0)
        worker.notify(1, "all")
        await idle(worker)
        assert script.calls == [1, 1]


async def test_a_key_with_more_to_do_is_called_again_at_once() -> None:
    script = Script(k1=[0, 0.0, 0, None])
    async with started(script) as worker:
        worker.notify(1, "all")
        await idle(worker)
        assert script.calls == [1] * 4


async def test_a_notification_during_the_work_means_one_more_call() -> None:
    script = Script()
    script.blocked.add(1)
    async with started(script) as worker:
        worker.notify(1, "all")
        await script.called(1)
        for _ in range(5):
            worker.notify(1, "all")
        script.release(1)
        await idle(worker)
        assert script.calls == [1, 1]


async def test_keys_run_side_by_side() -> None:
    script = Script()
    script.blocked.update(range(10))
    async with started(script) as worker:
        for key in range(10):
            worker.notify(key, "all")
        assert sorted(await script.called(10)) == list(range(10))
        assert worker.running == 10
        for key in range(10):
            script.release(key)


async def test_a_key_that_must_wait_costs_no_coroutine() -> None:
    script = Script(k1=[0.01, None])
    async with started(script) as worker:
        worker.notify(1, "all")
        await idle(worker)
        assert (script.calls, worker.running) == ([1], 0)
        assert await script.called(2) == [1, 1]


async def test_a_notification_ends_a_wait() -> None:
    script = Script(k1=[3_600, None])
    async with started(script) as worker:
        worker.notify(1, "all")
        await idle(worker)
        (timer,) = worker._timers.values()
        worker.notify(1, "all")
        await idle(worker)
        assert script.calls == [1, 1]
        assert timer.cancelled()
        assert worker._timers == {}


async def test_a_notification_during_the_work_overrides_the_wait_it_requests() -> None:
    script = Script(k1=[3_600, None])
    script.blocked.add(1)
    async with started(script) as worker:
        worker.notify(1, "all")
        await script.called(1)
        worker.notify(1, "all")
        script.release(1)
        await idle(worker)
        assert script.calls == [1, 1]
        assert worker._timers == {}


async def test_who_finds_no_place_gets_one_in_turn() -> None:
    script = Script()
    script.blocked.update(range(6))
    async with started(script, running_max=2) as worker:
        for key in (0, 1, 2, 3, 2, 4, 3):
            worker.notify(key, "all")
        assert worker.running == 2
        for key in range(5):
            assert (await script.called(min(5, key + 2)))[: key + 2] == list(range(min(5, key + 2)))
            script.release(key)
        await idle(worker)
        assert script.calls == [0, 1, 2, 3, 4]


async def test_a_key_with_much_to_do_leaves_its_place_to_those_who_wait() -> None:
    script = Script(k1=[0] * 3, k2=[0] * 2)
    async with started(script, running_max=1) as worker:
        for key in (1, 2, 3):
            worker.notify(key, "all")
        assert await script.called(8) == [1, 2, 3, 1, 2, 1, 2, 1]


async def test_a_wait_is_not_forgotten_while_others_wait_for_the_place() -> None:
    script = Script(k1=[0.01, None])
    async with started(script, running_max=1) as worker:
        worker.notify(1, "all")
        worker.notify(2, "all")
        assert await script.called(3) == [1, 2, 1]


async def test_a_group_leaves_places_to_the_others_whatever_it_waits_for() -> None:
    script = Script()
    script.blocked.update(range(20))
    async with started(script, running_max=8) as worker:
        worker.groups = 2
        for key in range(20):
            worker.notify(key, "slow")
        assert worker.running == 4
        for key in range(20, 60):
            worker.notify(key, "quick")
        calls = await script.called(4 + 40)
        assert sorted(calls[4:44]) == list(range(20, 60))
        for key in range(20):
            script.release(key)
        assert len(await script.called(60)) == 60


async def test_free_places_go_to_the_groups_in_turn() -> None:
    script = Script()
    script.blocked.add(0)
    async with started(script, running_max=1) as worker:
        worker.groups = 2
        worker.notify(0, "many")
        for key in (1, 2, 3):
            worker.notify(key, "many")
        for key in (7, 8):
            worker.notify(key, "few")
        await script.called(1)
        script.release(0)
        assert await script.called(6) == [0, 1, 7, 2, 8, 3]


class Mailboxes:
    """Keys with queued items: each call handles the first one, as for a conversation."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.boxes: defaultdict[int, deque[int]] = defaultdict(deque)
        self.done: defaultdict[int, list[int]] = defaultdict(list)
        self.left = 0
        self.all_done = asyncio.Event()
        self.busy: set[int] = set()
        self.busy_most = 0

    async def work(self, key: int, group: str) -> RetryDelay:
        assert key not in self.busy, "two coroutines of one key"
        self.busy.add(key)
        self.busy_most = max(self.busy_most, len(self.busy))
        try:
            return await self._handle(key)
        finally:
            self.busy.remove(key)

    async def _handle(self, key: int) -> RetryDelay:
        # Read the queue first, as from a snapshot: later items need their own notification.
        seen = list(self.boxes[key])[: self.chance.randint(1, 3)]
        for _ in range(self.chance.randint(0, 2)):
            await asyncio.sleep(0)
        for number in seen:
            assert self.boxes[key].popleft() == number
            self.done[key].append(number)
            self.left -= 1
        if self.left == 0:
            self.all_done.set()
        if not seen:
            return None
        return self.chance.choice([0, 0, 0, 0.0001])


@pytest.mark.parametrize(("keys", "running_max"), [(50, 100), (50, 3), (3, 1)])
async def test_no_notification_is_ever_lost(keys: int, running_max: int) -> None:
    """Thousands of notifications at random times: all done, in order, one call a key at a time."""
    mail = Mailboxes(seed=keys + running_max)
    notifications = 10_000
    mail.left = notifications
    async with started(mail.work, running_max=running_max) as worker:
        for number in range(notifications):
            key = mail.chance.randrange(keys)
            mail.boxes[key].append(number)
            worker.notify(key, "all")
            if mail.chance.random() < 0.3:
                await asyncio.sleep(0)
        await mail.all_done.wait()
    assert sum(map(len, mail.done.values())) == notifications
    assert all(done == sorted(done) for done in mail.done.values())
    assert min(2, running_max) <= mail.busy_most <= running_max


async def test_a_notification_for_work_that_ends_at_that_moment_is_not_lost() -> None:
    """Each call handles everything and requests no retry: only notifications bring it back."""
    inbox: deque[int] = deque()
    done: list[int] = []
    last = asyncio.Event()

    async def work(_: int, __: str) -> RetryDelay:
        while inbox:
            done.append(inbox.popleft())
        await asyncio.sleep(0)
        if len(done) == 20_000:
            last.set()
        return None

    chance = random.Random(7)
    async with started(work) as worker:
        for number in range(20_000):
            inbox.append(number)
            worker.notify(1, "all")
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        await last.wait()
    assert done == list(range(20_000))


async def test_stopping_lets_running_work_end() -> None:
    script = Script(k1=[0, 0, 0])
    script.blocked.add(1)
    async with started(script) as worker, asyncio.TaskGroup() as tasks:
        worker.notify(1, "all")
        await script.called(1)
        stopping = tasks.create_task(worker.stop(WAIT_S))
        await asyncio.sleep(0)
        assert worker.is_stopping
        assert not stopping.done()
        script.release(1)
        await stopping
        assert (script.calls, worker.running) == ([1], 0)


async def test_stopping_cancels_what_takes_too_long() -> None:
    script = Script()
    script.blocked.update({1, 2})
    async with started(script) as worker:
        worker.notify(1, "all")
        worker.notify(2, "all")
        await script.called(2)
        await worker.stop(0.01)
        assert worker.running == 0


async def test_after_the_stop_nothing_begins() -> None:
    script = Script(k1=[0.01, None], k2=[3_600])
    script.blocked.add(3)
    async with started(script, running_max=1) as worker:
        for key in (1, 2):
            worker.notify(key, "all")
            await idle(worker)
        worker.notify(3, "all")
        worker.notify(4, "all")
        await script.called(3)
        await worker.stop(0)
        calls = list(script.calls)
        worker.notify(5, "all")
        worker.notify(1, "all")
        assert (worker.running, worker._timers, worker._waiting) == (0, {}, {})
        await asyncio.sleep(0)
        assert script.calls == calls


async def test_stopping_when_idle_is_at_once() -> None:
    async with started(Script()) as worker:
        await worker.stop(3_600)
        assert worker.is_stopping


async def test_work_that_breaks_takes_its_group_down() -> None:
    """A silently dead worker would leave its conversation waiting forever."""

    async def work(_: int, __: str) -> RetryDelay:
        raise ArithmeticError("broken")

    async def serve() -> None:
        async with asyncio.TaskGroup() as tasks:
            worker = KeyedWorker("test", work, running_max=1)
            worker.start(tasks)
            worker.notify(1, "all")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as broken:
        await serve()
    assert broken.group_contains(ArithmeticError, match="broken")
