"""The run: real services that are killed, hostile customers and model, and the audit."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from torture.evidence import count_unfinished
from torture.preparation import free_port, variables
from torture.processes import CHECKOUT, HOST, Service, ServiceProcess
from torture.target import Cue, Moment, Place
from torture.troubles import LOST, ODD_STATUSES

from hostile.attacks import plain_amount
from hostile.audit import BROKEN, ENDED, Breach
from hostile.crowd import Crowd
from hostile.model import HostileModel
from hostile.truth import judged
from hostile.world import KNOWN_NAMES, SHOPS, Record, people
from wbot.admin import customer_lookup as operators_people
from wbot.admin import ledger_adjustments
from wbot.clock import Clock, to_text
from wbot.simulator.call_log import Send
from wbot.simulator.faults.plan import Endpoint, rebatched, reordered, repeated, silent, slow
from wbot.simulator.simulator import Simulator, serve
from wbot.storage import businesses, customers, migrations
from wbot.storage.database import connect, transaction

GIVEN = 300
"""Units of the currency that each customer has at first, and gets again at some starts."""
POLL_S = 0.2
STOP_S = 15.0
OPEN_HOLDS = """
SELECT count(*) FROM transfers t WHERE t.phase = 'pending' AND NOT EXISTS (
    SELECT 1 FROM transfers r WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire'))
"""
ODD_DELIVERIES = (
    repeated(2),
    repeated(3, at_once=True),
    reordered(),
    rebatched(),
    rebatched(after_alone=True),
    slow(0.3),
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is tried."""

    turns: int = 100_000
    customers: int = 240
    kills: int = 60
    drain_s: float = 600.0
    jump_s: float = 8 * 3600.0
    """How far the time leaps at most while the service is down: a day's limits must roll over."""


SHORT = Plan(turns=300, customers=48, kills=2, drain_s=60.0)


class LeapingClock(Clock):
    """The clock of all processes in the run; it jumps while the service is down."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class Findings(msgspec.Struct, kw_only=True):
    """The results of the run."""

    breaches: list[Breach]
    figures: Counter[str]
    reported: Counter[str]
    """Lines behind the mark that customers got, by kind."""
    kills: int
    seconds: float


class Run:
    """One run; `folder` gets the database and the logs."""

    def __init__(self, plan: Plan, *, seed: int, folder: Path) -> None:
        self._plan = plan
        self._random = Random(seed)
        self._folder = folder
        self.database = folder / "wbot.db"
        self._clock = LeapingClock()
        self._people = people(plan.customers)
        self.record = Record()
        self._simulator = Simulator(
            clock=self._clock,
            app_secret="torture-secret",
            verify_token="torture-verify",
            access_token="torture-token",
            api_key="torture-key",
            businesses=[shop.outside for shop in SHOPS],
            customers=[person.customer for person in self._people],
            seed=seed,
            status_delays_s=(0.1, 0.2, None),
            retry_delays_s=(0.0, 0.1, 0.2, 0.3),
        )
        self._simulator.responder = HostileModel(self._people, self.record, seed=seed)
        self._simulator.on_send(self._sent)
        self._crowd = Crowd(
            self._people,
            self.record,
            self._simulator,
            clock=self._clock,
            seed=seed,
            turns=plan.turns,
        )
        self._verdicts: list[Breach] = []

    async def run(self, on_turns: Callable[[int], None] = lambda _: None) -> Findings:
        """Run the whole plan; `on_turns` is called with the number of messages."""
        began = self._clock.monotonic()
        port = free_port()
        self._make_database()
        self._make_trouble()
        self._simulator.webhook_url = f"http://{HOST}:{port}/api/webhook"
        async with serve(self._simulator) as outside:
            self._variables = variables(self.database, outside=outside, port=port) | {
                "WBOT_STALE_AFTER": "900",
                "WBOT_MAX_ATTEMPTS": "3",
                "WBOT_LOG_LEVEL": "error",
            }
            service = Service(
                variables=self._variables,
                port=port,
                folder=self._folder,
                is_warm=True,
                clock=self._clock,
            )
            try:
                await self._live(service, on_turns)
            finally:
                await service.stop()
        return self._findings(service, self._clock.monotonic() - began)

    def _sent(self, send: Send) -> None:
        if sent := self.record.note(send):
            self._crowd.hear(sent)

    async def _live(self, service: Service, on_turns: Callable[[int], None]) -> None:
        kills = self._plan.kills
        async with asyncio.TaskGroup() as group:
            for number in range(kills):
                process = await self._start(service, is_last=False)
                if number == 0:
                    group.create_task(self._crowd.live())
                await self._wait(process, self._plan.turns * (number + 1) // (kills + 1), on_turns)
                process.kill("the run")
                await process.over()
                await self._verify(f"after kill {number + 1}")
            process = await self._start(service, is_last=True)
            await self._wait(process, self._plan.turns, on_turns)
        await self._drain(process)
        process.signal(signal.SIGTERM, "SIGTERM")
        await process.over(STOP_S)
        await self._verify("at the end")

    async def _start(self, service: Service, *, is_last: bool) -> ServiceProcess:
        """Start the next process, after a jump of the clock and new money for some."""
        random = self._random
        if service.processes:
            leap_s = random.choice((0.0, 0.0, 30.0, random.uniform(0.0, self._plan.jump_s)))
            self._clock.ahead += timedelta(seconds=leap_s)
            self._give(f"life{len(service.processes)}", share=0.3)
        per_process = max(2, 2 * self._plan.turns // (self._plan.kills + 1))
        cue = Cue(
            place=None if is_last or random.random() < 0.3 else random.choice(list(Place)),
            moment=random.choice(list(Moment)),
            nth=random.randint(1, per_process),
            clock_ahead_s=self._clock.ahead.total_seconds(),
        )
        process = await service.start(cue)
        await service.opened(process)
        return process

    async def _wait(
        self, process: ServiceProcess, turns: int, on_turns: Callable[[int], None]
    ) -> None:
        """Wait until the customers have written this many messages, or the process has ended."""
        while self._crowd.said < turns and not await process.over(POLL_S):
            on_turns(self._crowd.said)

    async def _drain(self, process: ServiceProcess) -> None:
        """Wait until everything is finished: messages, replies, and holds."""
        self._simulator.faults.clear()
        try:
            async with asyncio.timeout(self._plan.drain_s):
                while self._is_unfinished():
                    await process.over(POLL_S)
                await self._simulator.wait_until_quiet(timeout_s=self._plan.drain_s)
        except TimeoutError:
            pass  # the auditor sees what is stuck

    def _is_unfinished(self) -> bool:
        connection = connect(self.database)
        try:
            open_holds = connection.execute(OPEN_HOLDS).fetchone()[0]
            kept = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
        finally:
            connection.close()
        is_all_there = kept >= len(self.record.said)
        return bool(open_holds) or not is_all_there or count_unfinished(self.database) > 0

    async def _verify(self, when: str) -> None:
        """`wbot ledger verify`, as an operator would run it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "wbot",
            *("--config", os.devnull, "ledger", "verify"),
            env=self._variables | {"PYTHONPATH": CHECKOUT},
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        self.record.counts["verified"] += 1
        if process.returncode != 0:
            self._verdicts.append(Breach(BROKEN, f"{when}: {output.decode(errors='replace')}"))

    def _make_database(self) -> None:
        connection = connect(self.database)
        migrations.migrate(connection, self.database, self._clock.now())
        now = to_text(self._clock.now())
        with transaction(connection):
            for shop in SHOPS:
                businesses.add(connection, shop.business, now)
                for person in self._people:
                    self._make_customer(connection, shop.id, person.phone, now)
            for person in self._people:
                self._make_known(connection, person.home.id, person.phone, now)
        connection.close()
        self._give("first", share=1.0)

    def _make_customer(self, tx: Any, shop_id: str, phone: str, now: str) -> None:
        known = customers.resolve(
            tx, shop_id, phone=phone, user_id=f"US.{phone}", name=None, now=now
        )
        customers.conversation_of(tx, shop_id, known.customer_id, now)

    def _make_known(self, tx: Any, shop_id: str, phone: str, now: str) -> None:
        business = businesses.required(tx, shop_id)
        if business.policy.payees == "known":
            person = operators_people.required(tx, business, phone)
            for name in (*KNOWN_NAMES, f"+{self._people[3].phone}"):
                if name != f"+{phone}":
                    operators_people.make_payee(tx, business, person, name, now)
                    self.record.known.append(((shop_id, phone), name))

    def _give(self, key: str, *, share: float) -> None:
        """The operator's deposits, while no other process writes."""
        connection = connect(self.database)
        now = to_text(self._clock.now())
        with transaction(connection):
            for person in self._people:
                if self._random.random() < share:
                    rules = person.home.rules
                    minor = GIVEN * 10**rules.exponent
                    own_key = f"{key}.{person.number}"
                    order = ledger_adjustments.Order(
                        customer=person.phone,
                        amount=plain_amount(minor, rules.exponent),
                        key=own_key,
                    )
                    business = businesses.required(connection, person.home.id)
                    ledger_adjustments.deposit(connection, business, order, now)
                    self.record.deposits[own_key] = ((business.id, person.phone), minor)
        connection.close()

    def _make_trouble(self) -> None:
        faults = self._simulator.faults
        faults.at_random(Endpoint.WEBHOOK, 0.08, ODD_DELIVERIES)
        faults.at_random(Endpoint.SEND, 0.01, LOST)
        # Each status is a webhook of its own: too many for two cores, and no matter of money.
        faults.at_random(Endpoint.STATUS, 0.9, (*(silent(),) * 20, *ODD_STATUSES))

    def _findings(self, service: Service, seconds: float) -> Findings:
        verdict = judged(self.database, self.record, self.names)
        ended = [
            Breach(ENDED, f"a process ended with {process.exit_code}, see {service.log}")
            for process in service.processes
            if process.exit_code not in {0, -signal.SIGKILL}
        ]
        return Findings(
            breaches=[*verdict.breaches, *self._verdicts, *ended],
            figures=verdict.figures,
            reported=verdict.reported,
            kills=sum(process.exit_code == -signal.SIGKILL for process in service.processes),
            seconds=seconds,
        )

    @property
    def names(self) -> dict[str, str]:
        """The names that the customers use, by phone number."""
        return {person.phone: person.customer.name for person in self._people}
