"""A stop ends every task, also one that misses the first word of it."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import ALICE, MakeWorld, make_simulator

from wbot.app import Service
from wbot.clients.whatsapp import WhatsApp
from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.keyed_worker import KeyedWorker, RetryDelay, cancel_and_wait
from wbot.outbound.rate_limit import RateLimiter
from wbot.simulator.faults.plan import Endpoint, refused
from wbot.storage.database import Database
from wbot.turns.conversation_worker import Conversations
from wbot.turns.model_health import ModelWatch


async def test_a_task_that_swallows_a_cancellation_is_told_again() -> None:
    started, told = asyncio.Event(), 0

    async def stubborn() -> None:
        nonlocal told
        started.set()
        while told < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stubborn())
        await started.wait()
        await cancel_and_wait([task])
        assert (task.done(), told) == (True, 2)


async def test_a_database_that_closes_is_asked_nothing_more(tmp_path: Path) -> None:
    database = Database(tmp_path / "wbot.db", clock=Clock())
    await database.open()
    await database.close()
    with pytest.raises(StorageError, match="closing"):
        await database.version_elsewhere()


class Stubborn:
    """Work that swallows the first cancellation, as what waits in Python 3.11's wait_for can."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.told = 0

    async def wait(self) -> None:
        self.started.set()
        while self.told < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.told += 1


async def test_lanes_that_stop_end_also_what_swallows_a_cancellation() -> None:
    stubborn = Stubborn()

    async def work(_: int, __: str) -> RetryDelay:
        await stubborn.wait()
        return None

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        lanes = KeyedWorker("test", work, running_max=1)
        lanes.start(tasks)
        lanes.notify(1, "all")
        await stubborn.started.wait()
        await lanes.stop(0.01)
        assert (lanes.running, stubborn.told) == (0, 2)


async def test_a_stop_waits_for_read_marks_and_the_watch_of_the_models(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, watch = Stubborn(), Stubborn()

    async def mark_read(*_: object, **__: object) -> None:
        await mark.wait()

    async def run(_: ModelWatch) -> None:
        await watch.wait()

    monkeypatch.setattr(WhatsApp, "mark_read", mark_read)
    monkeypatch.setattr(ModelWatch, "run", run)
    async with make_world() as world:
        await world.ask(ALICE, "hello")
        await mark.started.wait()
        await world.service.conversations.stop(1)
        assert (mark.told, watch.told) == (2, 2)


async def test_the_cache_waits_for_nothing_that_could_swallow_a_cancellation(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait_for(*_: object, **__: object) -> None:
        raise AssertionError("asyncio.wait_for")

    async with make_world() as world:
        monkeypatch.setattr(asyncio, "wait_for", wait_for)
        for _ in range(2):
            await world.service.cache.get("shop")
        await world.service.cache.clear()
        monkeypatch.undo()


async def test_a_stop_goes_on_whatever_breaks_on_its_way(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that stays open keeps the process from ending."""
    whole = Conversations.stop

    async def stop(self: Conversations, grace_s: float) -> None:
        await whole(self, grace_s)
        raise ArithmeticError("broken")

    monkeypatch.setattr(Conversations, "stop", stop)
    service: Service | None = None
    with pytest.raises(ExceptionGroup) as broken:
        async with make_world() as world:
            service = world.service
    assert broken.group_contains(ArithmeticError, match="broken")
    assert service is not None
    with pytest.raises(StorageError, match="closing"):
        await service.database.read(lambda tx: None)


async def test_what_the_event_loop_owns_is_changed_on_it_alone(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    wait_s = RateLimiter.wait_s

    def watched(self: RateLimiter, *arguments: Any, **more: Any) -> float:
        threads.add(threading.get_ident())
        return wait_s(self, *arguments, **more)

    class Owned(dict[Any, Any]):
        def pop(self, *arguments: Any) -> Any:
            threads.add(threading.get_ident())
            return super().pop(*arguments)

        def __setitem__(self, *arguments: Any) -> None:
            threads.add(threading.get_ident())
            super().__setitem__(*arguments)

    monkeypatch.setattr(RateLimiter, "wait_s", watched)
    simulator = make_simulator()
    async with make_world(simulator=simulator) as world:
        sender = world.service.sender
        for name in ("blocked", "_blocked_until", "_unknown_since"):
            setattr(sender, name, Owned(getattr(sender, name)))
        await world.ask(ALICE, "hello")
        simulator.faults.add(Endpoint.SEND, refused(401, 190))
        await simulator.say(ALICE, "hello")
        await world.health_of(503)
    assert threads == {threading.get_ident()}
