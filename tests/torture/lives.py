"""One service after another on the same file: how each began, how it ended, what it cost."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from torture.victim import Cue
from wbot.clock import Clock

TESTS = Path(__file__).parent.parent
HOST = "127.0.0.1"
KNOCK_S = 0.01
OPEN_S = 60.0
"""Seconds a start may take on a busy machine."""


class Life(msgspec.Struct, kw_only=True):
    """One process; instants are monotonic seconds."""

    process: asyncio.subprocess.Process
    cue: Cue
    began_at: float
    opened_at: float | None = None
    ended_by: str = ""
    """What killed it, in the words of the table; empty while it lives or when it ended itself."""

    @property
    def is_over(self) -> bool:
        return self.process.returncode is not None

    def kill(self, by: str) -> None:
        """Kill -9, unless it is dead already."""
        if not self.is_over and not self.ended_by:
            self.ended_by = by
            self.process.send_signal(signal.SIGKILL)

    async def over(self, timeout_s: float) -> bool:
        """Whether it ends within so many seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.process.wait()
        except TimeoutError:
            return False
        return True


class Service:
    """Starts the service; with `is_warm` the next process waits, imports done, for its turn."""

    def __init__(
        self, *, variables: Mapping[str, str], port: int, folder: Path, is_warm: bool, clock: Clock
    ) -> None:
        self.lives: list[Life] = []
        self.log = folder / "serve.log"
        self._variables = dict(variables)
        self._port = port
        self._folder = folder
        self._is_warm = is_warm
        self._clock = clock
        self._spare: asyncio.subprocess.Process | None = None

    async def start(self, cue: Cue) -> Life:
        """The next life, which dies on this cue; its port may not be open yet."""
        began_at = self._clock.monotonic()
        process = self._spare or await self._spawn()
        self._spare = None
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(cue) + b"\n")
        process.stdin.close()
        self.lives.append(Life(process=process, cue=cue, began_at=began_at))
        if self._is_warm:
            self._spare = await self._spawn()
        return self.lives[-1]

    async def opened(self, life: Life) -> bool:
        """Whether its port opened, rather than that it died on the way."""
        async with asyncio.timeout(OPEN_S):
            while not life.is_over:
                try:
                    _, writer = await asyncio.open_connection(HOST, self._port)
                except OSError:
                    await asyncio.sleep(KNOCK_S)
                    continue
                writer.close()
                life.opened_at = self._clock.monotonic()
                return True
        return False

    async def stop(self) -> None:
        """Kill whatever is left."""
        processes = [life.process for life in self.lives]
        for process in [*processes, self._spare] if self._spare else processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "torture.victim",
                env=self._variables | {"PYTHONPATH": str(TESTS)},
                cwd=self._folder,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
