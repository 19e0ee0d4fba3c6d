"""`wbot serve`, made to kill itself the n-th time it reaches a named place.

Reads its cue, a line of JSON, and then runs the ordinary command. Nothing in wbot knows of this:
the functions that make the five transactions are wrapped from outside before the service starts.
"""

import importlib
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from wbot.clock import Clock
from wbot.storage.database import Database


class Place(StrEnum):
    """The transactions of the flow; a turn's first write and its two kinds of step are separate."""

    INTAKE = "intake"
    BEGIN = "turn begins"
    MODEL_STEP = "model step"
    TOOL_STEP = "tool step"
    CLOSE = "close"
    ATTEMPT_OPENS = "attempt opens"
    ATTEMPT_CLOSES = "attempt closes"


class Moment(StrEnum):
    """Where in a transaction."""

    BEFORE = "before"  # in the transaction, before the place's own statements
    INSIDE = "inside"  # all statements executed, no COMMIT
    AFTER = "after"  # committed, and no caller informed


class Cue(msgspec.Struct, frozen=True, kw_only=True):
    """When to kill itself, if at all, and how wrong the clock is meanwhile."""

    place: Place | None = None
    moment: Moment = Moment.INSIDE
    nth: int = 1
    clock_ahead_s: float = 0.0
    step_after_s: float = 0.0
    step_s: float = 0.0


FUNCTIONS: dict[tuple[str, str], dict[str | None, Place]] = {
    ("wbot.inbound.webhook", "record"): {None: Place.INTAKE},
    ("wbot.storage.journal", "claim_conversation"): {None: Place.BEGIN},
    ("wbot.storage.journal", "add_step"): {"model": Place.MODEL_STEP, "tool": Place.TOOL_STEP},
    ("wbot.turns.finish", "close"): {None: Place.CLOSE},
    ("wbot.storage.outbox", "open_attempt"): {None: Place.ATTEMPT_OPENS},
    ("wbot.outbound.attempt", "close"): {None: Place.ATTEMPT_CLOSES},
}


class Killer:
    """Counts how often the cue's place is reached, and kills the process there."""

    def __init__(self, cue: Cue) -> None:
        self._cue = cue
        self._left = cue.nth
        self._is_here = False
        """Whether the current work is the one to kill in; a single thread writes."""

    def install(self) -> None:
        for (module_name, name), places in FUNCTIONS.items():
            if self._cue.place in places.values():
                self._watch(importlib.import_module(module_name), name, places)
        self._watch_writes()

    def _watch(self, module: Any, name: str, places: dict[str | None, Place]) -> None:
        real = getattr(module, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            if places.get(getattr(named.get("step"), "kind", None)) is not self._cue.place:
                return real(*arguments, **named)
            self._left -= 1
            self._is_here = self._is_here or self._left == 0
            if self._left == 0 and self._cue.moment is Moment.BEFORE:
                die()
            return real(*arguments, **named)

        setattr(module, name, watched)

    def _watch_writes(self) -> None:
        real = Database.write

        async def write(database: Database, work: Callable[[sqlite3.Connection], Any]) -> Any:
            result, is_here = await real(database, lambda tx: self._run(work, tx))
            if is_here and self._cue.moment is Moment.AFTER:
                die()
            return result

        Database.write = write  # type: ignore[method-assign,assignment]

    def _run(
        self, work: Callable[[sqlite3.Connection], Any], tx: sqlite3.Connection
    ) -> tuple[Any, bool]:
        self._is_here = False
        result = work(tx)
        if self._is_here and self._cue.moment is Moment.INSIDE:
            die()
        return result, self._is_here


def die() -> None:
    """Kill this process at once, without cleanup, as the kernel or an operator would."""
    os.kill(os.getpid(), signal.SIGKILL)


def set_clock(cue: Cue) -> None:
    """Make the wall clock wrong, and step it while the service runs; durations stay right."""
    started = time.monotonic()

    def now(_clock: Clock) -> datetime:
        is_stepped = time.monotonic() - started > cue.step_after_s
        ahead_s = cue.clock_ahead_s + (cue.step_s if is_stepped else 0.0)
        return datetime.now(UTC) + timedelta(seconds=ahead_s)

    Clock.now = now  # type: ignore[method-assign,assignment]


def live(cue: Cue) -> None:
    """Run `wbot serve` until it dies; its output goes to the log."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    set_clock(cue)
    if cue.place is not None:
        Killer(cue).install()
    sys.argv = ["wbot", "--config", os.devnull, "serve"]
    importlib.import_module("wbot.__main__").main()


def main(cues: type[Cue] = Cue, prepare: Callable[[Any], None] = lambda _cue: None) -> None:
    """For each line of input, run one process; print its id and then its exit code."""
    for name in ("wbot.__main__", "wbot.commands.serve", "openai"):
        importlib.import_module(name)
    for line in sys.stdin.buffer:
        pid = os.fork()
        if pid == 0:
            cue = msgspec.json.decode(line, type=cues)
            prepare(cue)
            live(cue)
            os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
