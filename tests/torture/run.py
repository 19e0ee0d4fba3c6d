"""The torture run: the service is killed and restarted while the customers keep writing."""

import asyncio
import signal
import sqlite3
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web

from torture import troubles
from torture.asks import RECEIVERS, Ask, Kind, Script, asks_of, people
from torture.deliveries import Deliveries
from torture.evidence import Evidence, count_unfinished, message_id_in
from torture.operator import Operator
from torture.preparation import free_port, make_database, make_outside, variables
from torture.processes import HOST, Service, ServiceProcess
from torture.schedule import End, Hostility, Plan, schedule
from torture.target import Cue
from wbot.clock import Clock
from wbot.simulator.call_log import Send
from wbot.simulator.simulator import serve

CUSTOMERS = 25
REFUSED = 2
"""The first customers: some of their replies are permanently refused."""
DRAIN_S = 420.0
STARTS_MAX = 5
POLL_S = 0.1
STOP_S = 10.0
LAST_LOCK_S = 2.5
"""Longer than the service waits for a lock."""


class Torture:
    """One run; `folder` gets the database and the logs."""

    def __init__(self, how: Hostility, *, seed: int, folder: Path, is_warm: bool) -> None:
        random = Random(seed)
        everyone = people(CUSTOMERS)
        self._how = how
        self._clock = Clock()
        self._folder, self._is_warm = folder, is_warm
        self._plans = schedule(how, random)
        self._refused = everyone[:REFUSED]
        self._asks = asks_of(everyone, how.messages, random, refused=self._refused)
        first = {ask.customer.name: ask.customer for ask in reversed(self._asks)}
        customers = [first.get(one.name, one) for one in everyone]
        self._simulator = make_outside(everyone, seed=seed, clock=self._clock)
        self._simulator.responder = self._answer
        self._simulator.on_send(self._sent)
        self._script = Script(self._asks, Random(seed))
        self._operator = Operator(folder / "wbot.db", self._asks, self._script.retried, self._clock)
        self._random = Random(seed)
        self._spoken: asyncio.Queue[Ask | None] = asyncio.Queue()
        self._replied: set[str] = set()
        self._armed: tuple[End, int, ServiceProcess] | None = None
        # Not quite enough for all the payments they will request.
        given_minor = int(2.5 * (how.messages / CUSTOMERS) ** 2) + 20
        self._evidence = Evidence(
            database=folder / "wbot.db",
            asks=self._asks,
            payers=tuple(customers[:-RECEIVERS]),
            receivers=tuple(customers[-RECEIVERS:]),
            given_minor=given_minor,
            refused=frozenset(one.name for one in self._refused),
            deliveries=Deliveries(self._simulator, random=Random(seed), clock=self._clock),
        )

    async def run(self, on_death: Callable[[], None] = lambda: None) -> Evidence:
        """Run the whole plan, then the drain; `on_death` is called at each kill."""
        port, database = free_port(), self._evidence.database
        make_database(
            database,
            payers=self._evidence.payers,
            receivers=self._evidence.receivers,
            given_minor=self._evidence.given_minor,
        )
        self._simulator.webhook_url = f"http://{HOST}:{port}/api/webhook"
        async with serve(self._simulator) as outside:
            service = Service(
                variables=variables(database, outside=outside, port=port),
                port=port,
                folder=self._folder,
                is_warm=self._is_warm,
                clock=self._clock,
            )
            self._evidence.processes = service.processes
            try:
                await self._suffer(service, on_death)
            finally:
                await service.stop()
        return self._evidence

    async def _suffer(self, service: Service, on_death: Callable[[], None]) -> None:
        troubles.begin(self._simulator, self._refused)
        asks = iter(self._asks)
        async with asyncio.TaskGroup() as group:
            speaking = group.create_task(self._speak(group))
            operating = group.create_task(self._operator.run())
            for plan in self._plans:
                for ask in islice(asks, plan.messages):
                    self._spoken.put_nowait(ask)
                if plan.lock_s:
                    group.create_task(self._lock(plan.lock_after_s, plan.lock_s))
                if plan.account_code is not None:
                    troubles.refuse_account(self._simulator, plan.account_code)
                for _ in range(STARTS_MAX):  # a start fails while the database is locked
                    if await self._live(service, plan):
                        break
                if plan.end is not End.STOPPED:
                    on_death()
                await asyncio.sleep(plan.down_s)
            self._spoken.put_nowait(None)
            await self._drain(service, speaking)
            operating.cancel()

    async def _speak(self, group: asyncio.TaskGroup) -> None:
        while (ask := await self._spoken.get()) is not None:
            await asyncio.sleep(self._random.uniform(0.0, self._how.pause_s))
            self._evidence.deliveries.say(group, ask)
        await self._evidence.deliveries.finish(group)

    async def _live(self, service: Service, plan: Plan) -> bool:
        """Run one process to its end; returns whether it ended as planned."""
        known = self._unanswered()
        process = await service.start(plan.cue)
        self._armed = (plan.end, plan.nth, process)
        is_open = await self._is_opened(service, process, plan)
        if is_open and plan.is_calm and await self._is_worked_off(known):
            self._evidence.worked_off_s.append(self._clock.monotonic() - process.began_at)
        if plan.end in {End.RANDOM, End.STOPPED}:
            await process.over(max(0.0, process.began_at + plan.after_s - self._clock.monotonic()))
        elif is_open and plan.end is not End.START:
            await process.over(self._how.patience_s)
        if is_open and plan.end is End.STOPPED:
            await self._stop(process)
        process.kill(plan.end if plan.end is End.START else End.RANDOM)
        await process.over()
        self._armed = None
        return process.exit_code in {0, -signal.SIGKILL}

    async def _is_opened(self, service: Service, process: ServiceProcess, plan: Plan) -> bool:
        if plan.end is not End.START:
            return await service.opened(process)
        try:
            async with asyncio.timeout(plan.start_s):
                return await service.opened(process)
        except TimeoutError:
            return False

    async def _stop(self, process: ServiceProcess) -> None:
        """Ask the process to stop, with as much work queued as ever."""
        asked_at = self._clock.monotonic()
        process.signal(signal.SIGTERM, End.STOPPED)
        if await process.over(STOP_S) and process.exit_code == 0:
            self._evidence.stopped_s.append(self._clock.monotonic() - asked_at)

    def _unanswered(self) -> set[str]:
        """Acknowledged messages whose reply from the model, if there is one, has not been sent."""
        return {
            message_id
            for message_id, one in self._evidence.deliveries.said.items()
            if one.acknowledged_at is not None
            and one.ask.customer.name not in self._evidence.refused
            and one.ask.kind not in {Kind.REJECTED_AFTER, Kind.MOVED}
            and message_id not in self._replied
        }

    async def _is_worked_off(self, known: set[str]) -> bool:
        try:
            await self._simulator.until(lambda: known <= self._replied, timeout_s=self._how.calm_s)
        except TimeoutError:
            return False
        return True

    async def _lock(self, after_s: float, lock_s: float) -> None:
        """Lock the database in another process."""
        await asyncio.sleep(after_s)
        connection = sqlite3.connect(self._evidence.database, isolation_level=None, timeout=0.0)
        while not connection.in_transaction:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                await asyncio.sleep(0.01)
        since = self._clock.monotonic()
        await asyncio.sleep(lock_s)
        connection.close()
        self._evidence.hindered.append((since, self._clock.monotonic()))

    async def _drain(self, service: Service, speaking: asyncio.Task[None]) -> None:
        """Run a last process, with faults but no kill: all work is done, and SIGTERM ends it.

        A restart must not hide what a running service leaves undone.
        """
        process = await service.start(Cue())
        await service.opened(process)
        await self._lock(0.0, LAST_LOCK_S)
        troubles.end(self._simulator)
        try:
            async with asyncio.timeout(DRAIN_S):
                await speaking
                await self._finished()
            self._evidence.drained_s = self._clock.monotonic() - process.began_at
        except TimeoutError:
            pass  # the judge sees what is stuck
        await self._simulator.wait_until_quiet(timeout_s=STOP_S)
        await self._stop(process)

    async def _finished(self) -> None:
        # Another process sends no events. What the operator retries is unfinished again.
        while count_unfinished(self._evidence.database) or self._operator.retry_failed():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    def _strike(self, end: End) -> None:
        """Kill the process that was planned to end like this, when its time has come."""
        if self._armed is None or self._armed[0] is not end:
            return
        _, left, process = self._armed
        self._armed = (end, left - 1, process)
        if left == 1:
            process.kill(end)

    def _sent(self, send: Send) -> None:
        self._evidence.sends.append(send)
        if message_id := message_id_in(send.text):
            self._replied.add(message_id)
        self._strike(End.SENT)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any] | web.Response:
        self._strike(End.ASKED)
        return self._script(request)
