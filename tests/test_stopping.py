"""A stop ends every task, including one that misses the first cancellation."""

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


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    started, cancellations = asyncio.Event(), 0

    async def stubborn() -> None:
        nonlocal cancellations
        started.set()
        while cancellations < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stubborn())
        await started.wait()
        await cancel_and_wait([task])
        assert (task.done(), cancellations) == (True, 2)


async def test_a_database_that_closes_is_asked_nothing_more(tmp_path: Path) -> None:
    database = Database(tmp_path / "wbot.db", clock=Clock())
    await database.open()
    await database.close()
    with pytest.raises(StorageError, match="closing"):
        await database.version_elsewhere()


class Stubborn:
    """Work that swallows the first cancellation, as wait_for can in Python 3.11."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancellations = 0

    async def wait(self) -> None:
        self.started.set()
        while self.cancellations < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancellations += 1


async def test_a_worker_that_stops_ends_also_what_swallows_a_cancellation() -> None:
    stubborn = Stubborn()

    async def work(_: int, __: str) -> RetryDelay:
        await stubborn.wait()
        return None

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        worker = KeyedWorker("test", work, running_max=1)
        worker.start(tasks)
        worker.notify(1, "all")
        await stubborn.started.wait()
        await worker.stop(0.01)
        assert (worker.running, stubborn.cancellations) == (0, 2)


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
        assert (mark.cancellations, watch.cancellations) == (2, 2)


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
    """A database that stays open would keep the process running."""
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

        def setdefault(self, *arguments: Any) -> Any:
            threads.add(threading.get_ident())
            return super().setdefault(*arguments)

        def __setitem__(self, *arguments: Any) -> None:
            threads.add(threading.get_ident())
            super().__setitem__(*arguments)

    monkeypatch.setattr(RateLimiter, "wait_s", watched)
    simulator = make_simulator()
    async with make_world(simulator=simulator) as world:
        sender, accounts = world.service.sender, world.service.sender.accounts
        for owner, names in (
            (sender, ["_unknown_since"]),
            (accounts, ["reasons", "_blocks", "_failing"]),
        ):
            for name in names:
                setattr(owner, name, Owned(getattr(owner, name)))
        await world.ask(ALICE, "hello")
        simulator.faults.add(Endpoint.SEND, refused(500, 1))
        await world.ask(ALICE, "hello")
        simulator.faults.add(Endpoint.SEND, refused(401, 190))
        await simulator.say(ALICE, "hello")
        await world.health_of(503)
    assert threads == {threading.get_ident()}
