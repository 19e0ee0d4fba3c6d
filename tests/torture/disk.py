"""A full disk, on a small tmpfs: what was answered 200 is stored, and no batch is half stored."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from torture.asks import RECEIVERS, Ask, Kind, Payment, Script, people
from torture.audit import Breach
from torture.deliveries import Deliveries
from torture.evidence import Evidence, count_unfinished
from torture.preparation import free_port, make_database, make_outside, variables
from torture.processes import HOST, Service
from torture.schedule import End
from torture.target import Cue
from wbot.clock import Clock
from wbot.simulator.people import SimulatedCustomer
from wbot.simulator.simulator import serve
from wbot.storage.database import connect

CUSTOMERS = 10
BATCHES, IN_A_BATCH = 150, 5
FILLER_WORDS = 500
SMALL, LARGE = "3m", "64m"
REFUSALS = 12
"""After so many batches refused one after another, the disk is full enough."""
GIVEN_MINOR = 50_000
KILLS = 4
FULL_AFTER = 40
"""Batches that mostly fit on the disk; the kills are among them."""
DRAIN_S = 120.0
POLL_S = 0.1


class CannotMountError(Exception):
    """This machine allows no mount; the sentence gives its reason."""


@asynccontextmanager
async def mounted(folder: Path) -> AsyncIterator[Path]:
    """A small disk for the test; raises CannotMountError."""
    await asyncio.to_thread(folder.mkdir)
    await _call("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        await _call("umount", str(folder))


async def _call(*command: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise CannotMountError(f"{command[0]}: {error.strerror}") from error
    said, _ = await process.communicate()
    if process.returncode:
        raise CannotMountError(said.decode(errors="replace").strip())


class FullDisk:
    """Fills the disk with messages, kills meanwhile, frees space, and checks what is stored."""

    def __init__(self, *, seed: int, disk: Path, folder: Path) -> None:
        everyone = people(CUSTOMERS)
        self._disk, self._folder = disk, folder
        self._clock = Clock()
        self._random = Random(seed)
        self._batches = _batches(everyone[:-RECEIVERS])
        asks = [ask for batch in self._batches for ask in batch]
        self._simulator = make_outside(everyone, seed=seed, clock=self._clock)
        self._simulator.responder = Script(asks, Random(seed))
        self.evidence = Evidence(
            database=disk / "wbot.db",
            asks=asks,
            payers=everyone[:-RECEIVERS],
            receivers=everyone[-RECEIVERS:],
            given_minor=GIVEN_MINOR,
            refused=frozenset(),
            deliveries=Deliveries(self._simulator, random=self._random, clock=self._clock),
        )
        self._simulator.on_send(self.evidence.sends.append)
        self._posted: dict[tuple[str, ...], bool] = {}
        """By the messages of a batch, whether it was acknowledged while the disk filled."""

    async def run(self) -> list[Breach]:
        """Breaches of the full-disk rules; the judge checks the rest."""
        port = free_port()
        make_database(
            self.evidence.database,
            payers=self.evidence.payers,
            receivers=self.evidence.receivers,
            given_minor=GIVEN_MINOR,
        )
        self._simulator.webhook_url = f"http://{HOST}:{port}/api/webhook"
        async with serve(self._simulator) as outside:
            service = Service(
                variables=variables(self.evidence.database, outside=outside, port=port),
                port=port,
                folder=self._folder,
                is_warm=True,
                clock=self._clock,
            )
            self.evidence.processes = service.processes
            try:
                await self._fill(service)
                return await self._recover(service)
            finally:
                await service.stop()

    async def _fill(self, service: Service) -> None:
        since = self._clock.monotonic()
        process = await service.start(Cue())
        await service.opened(process)
        kills, refused = self._random.sample(range(FULL_AFTER), KILLS), 0
        for number, batch in enumerate(self._batches):
            message_ids = tuple(self.evidence.deliveries.write(ask) for ask in batch)
            is_taken = await self.evidence.deliveries.post(message_ids)
            self._posted[message_ids] = is_taken
            refused = 0 if is_taken else refused + 1
            if refused == REFUSALS:
                break
            if number in kills:
                process.kill("the disk filling")
                await process.over()
                process = await service.start(Cue())
                await service.opened(process)
        process.kill("the disk full")
        await process.over()
        self.evidence.hindered.append((since, self._clock.monotonic()))

    async def _recover(self, service: Service) -> list[Breach]:
        await _call("mount", "-o", f"remount,size={LARGE}", str(self._disk))
        found = list(self._halves())
        process = await service.start(Cue())
        await service.opened(process)
        try:
            async with asyncio.timeout(DRAIN_S):
                for message_ids in self._posted:
                    await self._post_again(message_ids)
                # Another process cannot notify this one.
                while count_unfinished(self.evidence.database):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
            self.evidence.drained_s = self._clock.monotonic() - process.began_at
        except TimeoutError:
            pass  # the judge sees what is stuck
        await self._simulator.wait_until_quiet(timeout_s=DRAIN_S)
        process.signal(signal.SIGTERM, End.STOPPED)
        await process.over(DRAIN_S)
        return found

    async def _post_again(self, message_ids: tuple[str, ...]) -> None:
        is_taken = self._posted[message_ids]
        while not is_taken:
            await asyncio.sleep(POLL_S)
            is_taken = await self.evidence.deliveries.post(message_ids)

    def _halves(self) -> Iterator[Breach]:
        """The batches that are half stored after the last kill on the full disk."""
        if all(self._posted.values()):
            yield Breach("stuck", "the disk did not fill")
        tx = connect(self.evidence.database)
        kept = {row[0] for row in tx.execute("SELECT message_id FROM messages").fetchall()}
        tx.close()
        for message_ids, is_taken in self._posted.items():
            there = kept.intersection(message_ids)
            if is_taken and len(there) < len(message_ids):
                yield Breach("lost", "was answered 200 on a disk that filled", message_ids[0])
            elif there and len(there) < len(message_ids):
                yield Breach("lost", "stands in a batch that is half kept", message_ids[0])


def _batches(writers: Sequence[SimulatedCustomer]) -> list[list[Ask]]:
    """Large messages; the first of each batch moves money."""
    asks = [
        Ask(
            customer=writers[number % len(writers)],
            number=number,
            kind=Kind.WORDS if number % IN_A_BATCH else Kind.TRANSFER,
            payments=() if number % IN_A_BATCH else (Payment(number + 1, "P1"),),
            filler=" heavy" * FILLER_WORDS,
        )
        for number in range(BATCHES * IN_A_BATCH)
    ]
    return [asks[start : start + IN_A_BATCH] for start in range(0, len(asks), IN_A_BATCH)]
