"""A stop ends every task, also one that misses the first word of it."""

import asyncio
from pathlib import Path

import pytest

from wbot.clock import Clock
from wbot.domain.errors import StorageError
from wbot.lanes import cancel_and_wait
from wbot.storage.database import Database


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
