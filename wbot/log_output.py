"""Log outputs: each has a bounded queue and a thread, so a slow reader never blocks the service."""

import os
import queue
import select
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

Event = MutableMapping[str, Any]
"""What is logged, by key; a destination's thread makes it a line."""

LINES_WAITING_MAX = 10_000
FILE_BYTES_MAX = 50 * 1024 * 1024
FILES_KEPT = 5


class Destination(Protocol):
    """Writes whole lines and may block; raises OSError when a line is lost."""

    def write(self, line: bytes) -> None: ...

    def reopen(self) -> None: ...


class Pipe:
    """A file that is open already, such as stdout: written past Python's buffer and its lock."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # the parent process may have made it non-blocking
                room = select.poll()
                room.register(self._descriptor, select.POLLOUT)
                room.poll()

    def reopen(self) -> None:
        """Nothing to reopen."""


class RotatingFile:
    """A file by its path: created again when it or its folder is moved or removed, and rotated."""

    def __init__(
        self, path: Path, *, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT
    ) -> None:
        """Open it; raises OSError where that fails."""
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._descriptor = -1
        self._is_cut_off = False
        self._wants_reopening = False
        self._open()

    def reopen(self) -> None:
        """Open the path again before the next line."""
        self._wants_reopening = True

    def write(self, line: bytes) -> None:
        size = self._size_in_place()
        if size and size + len(line) > self._bytes_max:
            self._rotate()
        if self._is_cut_off:  # by a full disk: the rest of that line was not written
            line = b"\n" + line
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        finally:
            self._is_cut_off = 0 < len(left) < len(line) or (self._is_cut_off and bool(left))

    def _size_in_place(self) -> int:
        """The size of the file at the path, opened again if it is not the open one."""
        try:
            found = self._path.stat()
            ours = os.fstat(self._descriptor)
            is_ours = (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)
        except OSError:
            is_ours = False
        if self._wants_reopening or not is_ours:
            self._open()
        return os.fstat(self._descriptor).st_size

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = opened
        self._is_cut_off = self._wants_reopening = False

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._open()


class Output:
    """One destination and the thread that writes to it; logging never waits.

    `line_of` formats an event, in the thread; `lost_line` reports how many lines were lost since
    the last one written.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        line_of: Callable[[Event], str],
        lost_line: Callable[[int], str],
    ) -> None:
        self._destination = destination
        self._line_of = line_of
        self._lost_line = lost_line
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._overflowed = 0
        self._failed = 0
        self._counting = threading.Lock()
        self._reported = 0
        # A destination that blocks must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log output", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were not written: the queue was full, or the write failed."""
        return self._overflowed + self._failed

    def put(self, event: Event) -> None:
        """Queue an event, or count it as dropped; never waits."""
        if self._events.qsize() < LINES_WAITING_MAX:
            self._events.put(event)
            return
        with self._counting:
            self._overflowed += 1

    def reopen(self) -> None:
        self._destination.reopen()

    def stop(self, wait_s: float) -> None:
        """Write what is queued, for at most so many seconds."""
        self._events.put(None)
        self._thread.join(wait_s)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            self._write(event)

    def _write(self, event: Event) -> None:
        try:
            self._destination.write(_encoded(self._line_of(event)))
            if (dropped := self.dropped) > self._reported:
                self._destination.write(_encoded(self._lost_line(dropped - self._reported)))
                self._reported = dropped
        except Exception:  # noqa: BLE001  any failure loses this line alone
            self._failed += 1


def _encoded(line: str) -> bytes:
    return f"{line}\n".encode("utf-8", "backslashreplace")
