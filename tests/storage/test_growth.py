"""No step costs more on a large database than on a small one, in SQLite instructions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import growth

from wbot.storage.database import connect

OWN = {"wbot why CUSTOMER": "it says how many messages that customer has sent"}
ROUNDS = 5
GOAL = 1.3


class Counted(growth.Journey):
    """The journey, measured in instructions instead of time: the same on any machine."""

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        instructions = 0

        def count() -> int:
            nonlocal instructions
            instructions += 1
            return 0

        self.tx.set_progress_handler(count, 1)
        yield
        self.tx.set_progress_handler(None, 1)
        self.times[step].append(instructions)


def test_no_step_executes_more_because_the_database_has_grown(tmp_path: Path) -> None:
    most: list[dict[str, float]] = []
    for messages in (1_000, 10_000):
        path = tmp_path / f"{messages}.db"
        growth.fill(path, messages)
        journey = Counted(connect(path), messages)
        for number in range(ROUNDS):
            journey.travel(number)
        journey.tx.close()
        most.append({step: min(instructions) for step, instructions in journey.times.items()})
    small, large = most
    grown = {step: (small[step], large[step]) for step in small if large[step] > GOAL * small[step]}
    assert grown.keys() <= OWN.keys(), grown
    assert len(small) > 20


def test_a_scan_would_be_noticed(tmp_path: Path) -> None:
    path = tmp_path / "wbot.db"
    growth.fill(path, 1_000)
    journey = Counted(connect(path), 1_000)
    with journey.timed("scan"):
        journey.tx.execute("SELECT count(*) FROM messages WHERE type = 'image'").fetchall()
    assert journey.times["scan"][0] > 1_000
    journey.tx.close()
