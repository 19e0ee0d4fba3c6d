"""The torture test in its short form, proof that its judge detects faults, and regressions."""

import asyncio
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgspec
import pytest
from conftest import ALICE, BOB, SHOP, WAIT_S, MakeWorld, World, make_simulator, query
from db_factories import STARTED_AT, make_tx
from torture.asks import Kind
from torture.evidence import Evidence, message_id_in
from torture.judge import KILLED, TAKES_LONGER, judged
from torture.preparation import free_port, make_database, variables
from torture.run import Torture
from torture.schedule import SHORT, End, Hostility, schedule

from wbot.app import Service
from wbot.clock import Clock
from wbot.inbound.intake import record
from wbot.inbound.webhook_parser import parse_payload
from wbot.settings import read_settings
from wbot.simulator.faults.plan import Endpoint, dropped, refused, slow
from wbot.simulator.webhooks.bodies import body_of, message_update
from wbot.simulator.webhooks.wire import to_wire
from wbot.storage import messages

SEED = 7


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """One run of the short form, shared by all its tests."""
    folder = tmp_path_factory.mktemp("torture")
    return asyncio.run(Torture(SHORT, seed=SEED, folder=folder, is_warm=True).run())


def test_20_kills_lose_nothing_double_nothing_and_keep_the_order(evidence: Evidence) -> None:
    verdict = judged(evidence)
    assert verdict.breaches == []
    ended = verdict.answered + verdict.reported + verdict.noted
    assert evidence.deliveries.acknowledged == SHORT.messages == ended
    assert sum(process.exit_code == KILLED for process in evidence.processes) == SHORT.kills
    assert {process.ended_by for process in evidence.processes} >= {End.START, End.STOPPED}
    assert {ask.kind for ask in evidence.asks} == set(Kind)


def test_every_end_of_a_process_comes_up_in_the_long_form() -> None:
    ends = Counter(plan.end for plan in schedule(Hostility(), Random(SEED)))
    assert set(ends) == set(End)
    assert ends.total() - ends[End.STOPPED] == Hostility().kills


# The judge must see what is made wrong in a copy of that run. -------------------------------------


def lose_a_reply(evidence: Evidence) -> None:
    careful = (
        send.customer and send.customer.name not in evidence.refused for send in evidence.sends
    )
    del evidence.sends[list(careful).index(True)]


def repeat_a_reply(evidence: Evidence) -> None:
    evidence.sends.append(evidence.sends[-1])


def swap_two_replies(evidence: Evidence) -> None:
    pairs = combinations(range(len(evidence.sends)), 2)
    sends = evidence.sends
    one, two = next(pair for pair in pairs if len({sends[n].recipient for n in pair}) == 1)
    sends[one], sends[two] = sends[two], sends[one]


def misdirect_a_reply(evidence: Evidence) -> None:
    # A reply that names its message, as a notice to a payee does not: only that one can be judged.
    sends = evidence.sends
    place = next(n for n, send in enumerate(sends) if message_id_in(send.text) is not None)
    other = next(send for send in sends if send.recipient != sends[place].recipient)
    sends[place] = msgspec.structs.replace(sends[place], recipient=other.recipient)


def end_a_process_by_itself(evidence: Evidence) -> None:
    evidence.processes[-1] = msgspec.structs.replace(evidence.processes[-1], exit_code=1)


def in_the_database(sql: str) -> Callable[[Evidence], None]:
    def tamper(evidence: Evidence) -> None:
        with closing(sqlite3.connect(evidence.database)) as tx:
            tx.executescript(sql)

    return tamper


SECOND_EFFECT = """
DROP TRIGGER transfers_continue_the_chain;
CREATE TEMP TABLE again AS SELECT * FROM transfers
WHERE cause_kind = 'call' AND phase = 'posted' LIMIT 1;
UPDATE again SET id = 999999, hash = 'x', cause_key = cause_key || 'x';
INSERT INTO transfers SELECT * FROM again;
"""
UNKNOWN_FOR_EVER = """
DROP TRIGGER outbox_change_as_allowed;
UPDATE outbox SET state = 'unknown' WHERE id = 1;
"""
TURN_BETWEEN_OTHERS = """
CREATE TEMP TABLE latest AS SELECT conversation_id FROM turns JOIN messages USING (message_id)
WHERE number > 1 LIMIT 1;
INSERT INTO turns SELECT message_id, revision, 999, 999999, '', NULL, NULL, NULL
FROM messages JOIN latest USING (conversation_id) WHERE number = 1;
"""
TOLD_FALSELY = r"""
UPDATE outbox SET payload = replace(payload, '"body":"',
    '"body":"These messages did not reach you earlier:\n🧾 Available: $1.00.\n')
WHERE id = (SELECT min(id) FROM outbox WHERE payload LIKE '%That is all.%');
"""
NOTICES = """
DROP TRIGGER outbox_begin_as_allowed;
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 99)
INSERT INTO outbox
    (business_id, conversation_id, cause, part, message_id, payload, state, created_at)
SELECT business_id, conversation_id, 'waiting:' || n, 0, message_id, {payload}, 'sent', created_at
FROM outbox, numbers WHERE id = (SELECT min(id) FROM outbox WHERE message_id IS NOT NULL);
"""
TOO_MANY_NOTICES = NOTICES.format(payload=f"json_object('type', 'text', 'body', '{TAKES_LONGER}')")
WRONG_NOTICES = NOTICES.format(payload="payload")


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lose_a_reply, "lost"),
        (repeat_a_reply, "replies doubled"),
        (swap_two_replies, "out of order"),
        (misdirect_a_reply, "misdirected"),
        (end_a_process_by_itself, "ended itself"),
        (in_the_database("DELETE FROM messages WHERE rowid = 1"), "lost"),
        (in_the_database("UPDATE messages SET state = 'waiting' WHERE rowid = 1"), "stuck"),
        (in_the_database(UNKNOWN_FOR_EVER), "stuck"),
        (in_the_database("UPDATE balances SET posted_minor = posted_minor + 1"), "ledger off"),
        (
            in_the_database("UPDATE outbox SET payload = replace(payload, 'all.', 'not all.')"),
            "replies untrue",
        ),
        (in_the_database(TOLD_FALSELY), "replies untrue"),
        (in_the_database(WRONG_NOTICES), "replies untrue"),
        (in_the_database(TOO_MANY_NOTICES), "replies doubled"),
        (in_the_database(SECOND_EFFECT), "effects doubled"),
        (in_the_database(TURN_BETWEEN_OTHERS), "out of order"),
    ],
)
def test_the_judge_finds_what_is_wrong(
    evidence: Evidence, tmp_path: Path, tamper: Callable[[Evidence], None], kind: str
) -> None:
    copy = msgspec.structs.replace(
        evidence,
        database=tmp_path / "wbot.db",
        sends=list(evidence.sends),
        processes=list(evidence.processes),
    )
    with (
        closing(sqlite3.connect(evidence.database)) as original,
        closing(sqlite3.connect(copy.database)) as target,
    ):
        original.backup(target)
    tamper(copy)
    assert kind in {breach.kind for breach in judged(copy).breaches}


# Regressions --------------------------------------------------------------------------------------


class SteppingClock(Clock):
    """A wall clock that is set while the service runs; durations stay right."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process locks the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_a_start_on_a_locked_database_ends_with_one_sentence(tmp_path: Path) -> None:
    """It used to hang with its threads, and no supervisor would have restarted it."""
    path = tmp_path / "wbot.db"
    make_database(path)
    with locked(path):
        ended = subprocess.run(
            [sys.executable, "-m", "wbot", "serve"],
            env=variables(path, outside="http://127.0.0.1:9", port=free_port()),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "wbot: The database could not be written: database is locked."
    ]


async def test_a_service_stops_whose_start_failed_half_way(database_path: Path) -> None:
    """It used to fail again while stopping, and its threads kept the process running."""
    settings = read_settings({"WBOT_DATABASE": str(database_path), "WBOT_MODEL": "offline"})
    async with aiohttp.ClientSession() as session:
        service = Service(settings, {}, clock=Clock(), session=session)
        await service.database.open()
        await service.stop()


def test_messages_keep_their_order_when_the_clock_steps_back() -> None:
    tx = make_tx()
    for number, received_at in enumerate((STARTED_AT, STARTED_AT - timedelta(minutes=1))):
        update = message_update(
            SHOP,
            ALICE,
            {"type": "text", "text": {"body": "Hello"}},
            message_id=f"wamid.{number}",
            sent_at=STARTED_AT,
        )
        body = to_wire(body_of([update]))
        record(tx, parse_payload(body), body=body, now=received_at, installation="test")
    following = messages.next_of(tx, 1)
    assert following is not None
    assert following.message_id == "wamid.0"


async def first_reply(world: World, state: str) -> None:
    """Wait until the first reply is in this state."""
    async with asyncio.timeout(WAIT_S):
        while world.rows("SELECT state FROM outbox") != [{"state": state}]:  # noqa: ASYNC110  no event to wait for
            await asyncio.sleep(0.01)


async def test_a_clock_that_steps_ahead_does_not_end_the_grace(make_world: MakeWorld) -> None:
    simulator = make_simulator(status_delays_s=(1.5, 1.5, 1.5))
    clock = SteppingClock()
    more = {"WBOT_UNKNOWN_GRACE": "10", "WBOT_STALE_AFTER": "36000"}
    async with make_world(simulator=simulator, variables=more, clock=clock) as world:
        simulator.faults.add(Endpoint.SEND, dropped(acts=True))
        await simulator.say(ALICE, "first")
        await first_reply(world, "unknown")
        clock.ahead = timedelta(hours=1)
        await simulator.say(ALICE, "second")
        await simulator.wait_for_sends(2, timeout_s=WAIT_S)
        await simulator.wait_until_quiet(timeout_s=WAIT_S)
        assert len(simulator.sends) == 2
        assert world.rows("SELECT attempts FROM outbox") == [{"attempts": 1}] * 2


async def test_the_grace_does_not_count_while_no_status_can_be_stored(
    make_world: MakeWorld, database_path: Path
) -> None:
    """Meta may report a status after the database lock has ended."""
    simulator = make_simulator(status_delays_s=(0.2, 9.0, 9.0), retry_delays_s=(1.0,))
    async with make_world(simulator=simulator, variables={"WBOT_UNKNOWN_GRACE": "1.5"}) as world:
        simulator.faults.add(Endpoint.SEND, dropped(acts=True))
        await simulator.say(ALICE, "first")
        await first_reply(world, "unknown")
        with locked(database_path):
            await world.health_of(503)
        await simulator.say(ALICE, "second")
        await simulator.wait_for_sends(2, timeout_s=WAIT_S)
        assert world.rows("SELECT attempts FROM outbox") == [{"attempts": 1}] * 2


async def test_the_grace_does_not_count_while_a_stopping_service_refuses_statuses(
    make_world: MakeWorld, database_path: Path
) -> None:
    """It used to send again what a status, answered 503 meanwhile, was about to settle."""
    simulator = make_simulator(status_delays_s=(9.0, 9.0, 9.0))
    asked = asyncio.Event()

    def answer(_request: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        message = {"role": "assistant", "content": "Hello."}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    async with make_world(simulator=simulator, variables={"WBOT_UNKNOWN_GRACE": "0.5"}) as world:
        simulator.faults.add(Endpoint.SEND, dropped(acts=True))
        await simulator.say(ALICE, "first")
        await first_reply(world, "unknown")
        simulator.responder = answer
        simulator.faults.add(Endpoint.MODEL, slow(0.0, answer_after_s=1.0))
        await simulator.say(BOB, "second")  # whose turn keeps the service from ending at once
        await asyncio.wait_for(asked.wait(), WAIT_S)
    assert query(database_path, "SELECT attempts FROM outbox WHERE id = 1") == [{"attempts": 1}]


async def test_a_send_that_cannot_be_recorded_at_once_is_recorded_later(
    make_world: MakeWorld, database_path: Path
) -> None:
    """It used to count as sending until the next start, and its conversation waited."""
    simulator = make_simulator()
    late = msgspec.structs.replace(refused(500, 131000), delay_s=0.5)
    simulator.faults.add(Endpoint.SEND, late)
    async with make_world(simulator=simulator) as world:
        await simulator.say(ALICE, "first")
        await first_reply(world, "sending")
        with locked(database_path):
            await world.health_of(503)
        await simulator.wait_for_sends(1, timeout_s=WAIT_S)
        outcomes = [row["outcome"] for row in world.rows("SELECT outcome FROM send_attempts")]
        assert outcomes[0] == "refused"
