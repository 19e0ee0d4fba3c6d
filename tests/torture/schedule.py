"""The hostile schedule: what happens to each service process, all drawn from one seed."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import product
from random import Random

import msgspec

from torture.target import Cue, Moment, Place
from torture.troubles import ACCOUNT_CODES


class End(StrEnum):
    """What ends a process."""

    CUE = "cue"  # killed by itself, at a place in a transaction
    RANDOM = "at random"
    SENT = "reply taken"  # as the Graph API acts, before its answer
    ASKED = "model asked"  # while the model call is in progress
    START = "at its start"  # before its port opens
    STOPPED = "SIGTERM"  # asked to stop while it works; not a kill


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan for one process; seconds count from its start."""

    cue: Cue
    end: End
    nth: int
    """Which send or model call kills it."""
    after_s: float
    """When, for an end at a random moment."""
    start_s: float
    """When, for an end at the start, unless the port opens first."""
    lock_after_s: float
    lock_s: float
    """How long another process locks the database; 0 for not at all."""
    account_code: int | None
    down_s: float
    """How long it stays down afterwards."""
    is_calm: bool = False
    """Whether it may first finish all queued work."""
    messages: int = 0
    """How many messages are written meanwhile."""


class Hostility(msgspec.Struct, frozen=True, kw_only=True):
    """How hostile the run is, and how long it lasts."""

    kills: int = 200
    messages: int = 2_000
    calm_every: int = 8
    calm_s: float = 20.0
    """The longest run of a calm process."""
    start_every: int = 12
    stop_every: int = 10
    """After so many kills, one more process ends by SIGTERM."""
    lock_every: int = 9
    account_every: int = 25
    clock_every: int = 6
    clock_s: float = 20.0
    """The largest clock error, in either direction."""
    run_s: float = 3.0
    """The longest run of a process with a random end."""
    start_s: float = 0.5
    """The longest after which a start is killed; most take longer."""
    patience_s: float = 6.0
    """The longest run of a process whose cue is not reached."""
    down_s: float = 0.8
    pause_s: float = 0.3
    """The longest time between two messages of any customers."""
    nths: tuple[int, ...] = (1, 1, 2, 3, 5, 8)
    """How often a cue's place may have to be reached."""


SHORT = Hostility(
    kills=20,
    messages=120,
    calm_every=10,
    calm_s=5.0,
    start_every=7,
    account_every=10**6,
    clock_every=4,
    clock_s=2.0,
    run_s=1.0,
    patience_s=2.0,
    down_s=0.1,
    pause_s=0.1,
    nths=(1, 1, 2, 3),
)
"""Without faults that take half a minute to clear."""


KILLS = {End.CUE: 70, End.RANDOM: 16, End.SENT: 8, End.ASKED: 6}


def schedule(how: Hostility, random: Random) -> list[Plan]:
    """One plan per process; each place and moment is used before any is used again."""
    deck: list[tuple[Place, Moment]] = []
    ends = list(_ends(how, random))
    plans = []
    for number, (end, is_calm) in enumerate(ends):
        if not deck:
            deck = random.sample([*product(Place, Moment)], len(Place) * len(Moment))
        place, moment = deck.pop() if end is End.CUE else (None, Moment.INSIDE)
        plan = _plan(how, random, number=number, end=end, place=place, moment=moment)
        share = how.messages * (number + 1) // len(ends) - how.messages * number // len(ends)
        plans.append(msgspec.structs.replace(plan, is_calm=is_calm, messages=share))
    return plans


def _ends(how: Hostility, random: Random) -> Iterator[tuple[End, bool]]:
    """How each process ends, and whether it is calm before."""
    for number in range(1, how.kills + 1):
        if number % how.calm_every == 0:
            yield End.RANDOM, True
        elif number % how.start_every == 0:
            yield End.START, False
        else:
            yield random.choices(list(KILLS), list(KILLS.values()))[0], False
        if number % how.stop_every == 0:
            yield End.STOPPED, False


def _plan(
    how: Hostility,
    random: Random,
    *,
    number: int,
    end: End,
    place: Place | None,
    moment: Moment,
) -> Plan:
    is_locked = number % how.lock_every == how.lock_every - 1
    holds_account = number % how.account_every == how.account_every - 1
    is_clock_wrong = number % how.clock_every == how.clock_every - 1
    clock_s = how.clock_s if is_clock_wrong else 0.0
    cue = Cue(
        place=place,
        moment=moment,
        nth=random.choice(how.nths),
        clock_ahead_s=random.uniform(-clock_s, clock_s),
        step_after_s=random.uniform(0.3, how.run_s),
        step_s=random.uniform(-clock_s, clock_s),
    )
    return Plan(
        cue=cue,
        end=end,
        nth=random.choice(how.nths),
        after_s=random.uniform(0.1, how.run_s),
        start_s=random.uniform(0.0, how.start_s),
        lock_after_s=random.uniform(0.0, how.run_s),
        lock_s=random.uniform(0.2, 4.5) if is_locked else 0.0,
        account_code=random.choice(list(ACCOUNT_CODES)) if holds_account else None,
        down_s=random.uniform(0.0, how.down_s),
    )
