"""Service processes in sequence on the same file: how each started, ended, and how long it took."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from torture.target import Cue
from wbot.clock import Clock

TESTS = Path(__file__).parent.parent
CHECKOUT = os.pathsep.join((str(TESTS), str(TESTS.parent)))
HOST = "127.0.0.1"
POLL_S = 0.01
OPEN_S = 60.0
"""Seconds a start may take on a busy machine."""


class ServiceProcess(msgspec.Struct, kw_only=True):
    """One process; instants are monotonic seconds."""

    pid: int
    parent: asyncio.subprocess.Process
    cue: Cue
    began_at: float
    opened_at: float | None = None
    exit_code: int | None = None
    """Negative: the signal that ended it; None until its end is known."""
    ended_by: str = ""
    """Which of our actions killed it; empty when it killed or ended itself."""

    def signal(self, number: signal.Signals, by: str) -> None:
        """Send a signal, unless the process has ended."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):  # dead already, but its exit code is not read yet
                os.kill(self.pid, number)
                self.ended_by = self.ended_by or by

    def kill(self, by: str) -> None:
        """Kill it with SIGKILL."""
        self.signal(signal.SIGKILL, by)

    async def over(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; returns whether it ended in time."""
        assert self.parent.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                if self.exit_code is None:
                    self.exit_code = int(await self.parent.stdout.readline())
        except TimeoutError:
            return False
        return True


class Service:
    """Starts the service; with `is_warm` all processes share the imports of one parent."""

    def __init__(
        self,
        *,
        variables: Mapping[str, str],
        port: int,
        folder: Path,
        is_warm: bool,
        clock: Clock,
        module: str = "torture.target",
    ) -> None:
        self.processes: list[ServiceProcess] = []
        self.log = folder / "serve.log"
        self._variables = dict(variables)
        self._port = port
        self._folder = folder
        self._is_warm = is_warm
        self._module = module
        self._clock = clock
        self._parent: asyncio.subprocess.Process | None = None

    async def start(self, cue: Cue) -> ServiceProcess:
        """Start the next process, which dies on this cue; its port may not be open yet."""
        began_at = self._clock.monotonic()
        if self._parent is None or not self._is_warm:
            await self._end_parent()
            self._parent = await self._spawn()
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(msgspec.json.encode(cue) + b"\n")
        pid = int(await self._parent.stdout.readline())
        self.processes.append(
            ServiceProcess(pid=pid, parent=self._parent, cue=cue, began_at=began_at)
        )
        return self.processes[-1]

    async def opened(self, process: ServiceProcess) -> bool:
        """Wait for the open port; returns False if the process ended first."""
        async with asyncio.timeout(OPEN_S):
            while not await process.over(POLL_S):
                try:
                    _, writer = await asyncio.open_connection(HOST, self._port)
                except OSError:
                    continue
                writer.close()
                process.opened_at = self._clock.monotonic()
                return True
        return False

    async def stop(self) -> None:
        """Kill the running process."""
        for process in self.processes[-1:]:
            process.kill("the end")
        await self._end_parent()

    async def _end_parent(self) -> None:
        if self._parent is not None:
            assert self._parent.stdin is not None
            self._parent.stdin.close()
            await self._parent.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                env=self._variables | {"PYTHONPATH": CHECKOUT},
                cwd=self._folder,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
