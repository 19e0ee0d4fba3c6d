"""What each step of the flow costs as the database grows: a table with a column per size.

A database of so many finished messages, each with its reply and three statuses, is written
directly in SQL: a tenth in one long conversation, and a tenth with a confirmed transfer. Then one
message passes through the real functions repeatedly, each step timed inside its transaction
without the commit, and the real `wbot serve` is started on the file. The goal is the last column:
nothing at the largest size costs more than 1.3 times its cost at the smallest.
"""

# ruff: noqa: S608  our own statements

import argparse
import asyncio
import json
import os
import signal
import socket
import sqlite3
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from wbot.admin import message_timeline
from wbot.clients.model import ToolCall
from wbot.clock import Clock, elapsed_ms, later, to_text
from wbot.domain.business import Business
from wbot.domain.ledger import GENESIS_HASH, chain_hash
from wbot.domain.prompts import Decision, PromptKind
from wbot.domain.states import MessageState, SendOutcome
from wbot.inbound.intake import record
from wbot.inbound.webhook_parser import parse_payload
from wbot.payments import answers
from wbot.payments.context import PaymentContext
from wbot.storage import (
    businesses,
    errors,
    invariants,
    journal,
    ledger,
    ledger_history,
    messages,
    migrations,
    outbox,
    outbox_queries,
    prompts,
)
from wbot.storage.database import connect, connect_writer, transaction
from wbot.turns import finish, toolbox
from wbot.turns.finish import Ending
from wbot.turns.prompt import recent_history

HOST = "127.0.0.1"
GOAL = 1.3
ROUNDS = 300
AUDITS = 5
WARM_UP = 30
LATEST = 100
"""Transfers since the last audit, in a busy minute."""
clock = Clock()
SHOP = Business(
    id="shop",
    name="Shop",
    phone_number_id="1",
    access_token="none",
    currency_code="USD",
)

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
AT = "strftime('%Y-%m-%dT%H:%M:%S.000000Z', :begun + i, 'unixepoch')"
CONVERSATION = "(CASE WHEN i % 10 = 0 THEN 1 ELSE 2 + i % (:customers - 1) END)"
MESSAGE_ID = "printf('wamid.%09d', i)"
FILL = [
    f"""{NUMBERS} INSERT INTO customers (id, business_id, name, created_at)
    SELECT i, 'shop', 'Customer ' || i, {AT} FROM n WHERE i <= :customers""",
    f"""{NUMBERS} INSERT INTO customer_aliases
        (business_id, customer_id, kind, value, first_seen_at)
    SELECT 'shop', i, 'phone', printf('1555%07d', i), {AT} FROM n WHERE i <= :customers""",
    f"""{NUMBERS} INSERT INTO conversations
        (id, business_id, customer_id, next_number, last_inbound_at, created_at)
    SELECT i, 'shop', i, :count + 1, {AT}, {AT} FROM n WHERE i <= :customers""",
    "INSERT INTO state_transitions VALUES ('message', '', 'answered'), ('reply', '', 'read')",
    f"{NUMBERS} INSERT INTO message_ids SELECT {MESSAGE_ID} FROM n",
    f"""{NUMBERS} INSERT INTO messages (message_id, business_id, conversation_id, phone_number_id,
        number, type, content, reply_phone, sent_at, sort_at, received_at, state, attempts,
        ended_at)
    SELECT {MESSAGE_ID}, 'shop', {CONVERSATION}, '1', i, 'text',
        '{{"type":"text","text":{{"body":"Please send $20 to John Number ' || i || '"}}}}',
        printf('1555%07d', {CONVERSATION}), {AT}, {AT}, {AT}, 'answered', 1, {AT} FROM n""",
    f"""{NUMBERS} INSERT INTO turns (message_id, revision, attempt, epoch, began_at, ended_at,
        outcome)
    SELECT {MESSAGE_ID}, 0, 1, 1, {AT}, {AT}, 'answered' FROM n""",
    f"""{NUMBERS} INSERT INTO steps
    SELECT {MESSAGE_ID}, 0, 1, 'model', '{{"text":"' || printf('%0160d', i) || '"}}', 900.0, {AT}
    FROM n""",
    f"""{NUMBERS} INSERT INTO outbox (id, business_id, conversation_id, cause, message_id,
        reply_phone, payload, state, attempts, wamid, created_at, accepted_at)
    SELECT i, 'shop', {CONVERSATION}, 'message:' || {MESSAGE_ID} || ':0', {MESSAGE_ID},
        printf('1555%07d', {CONVERSATION}),
        '{{"type":"text","body":"Here you are, number ' || i || '"}}',
        'read', 1, printf('out.%09d', i), {AT}, {AT} FROM n""",
    f"""{NUMBERS} INSERT INTO send_attempts
        (outbox_id, number, opened_at, closed_at, outcome, wamid)
    SELECT i, 1, {AT}, {AT}, 'accepted', printf('out.%09d', i) FROM n""",
    *(
        f"""{NUMBERS} INSERT INTO statuses
            (wamid, status, outbox_id, occurred_at, received_at)
        SELECT printf('out.%09d', i), '{status}', i, {AT}, {AT} FROM n"""
        for status in ("sent", "delivered", "read")
    ),
    f"""{NUMBERS} INSERT INTO payees (customer_id, name, folded, created_at, known_since)
    SELECT i, 'John', 'john', {AT}, {AT} FROM n WHERE i <= :customers""",
    "INSERT INTO accounts (id, business_id, kind, currency) VALUES (1, 'shop', 'business', 'USD')",
    f"""{NUMBERS} INSERT INTO accounts (id, business_id, kind, customer_id, currency)
    SELECT 1 + i, 'shop', 'customer', i, 'USD' FROM n WHERE i <= :customers""",
    f"""{NUMBERS} INSERT INTO accounts (id, business_id, kind, payee_id, currency)
    SELECT 1 + :customers + i, 'shop', 'payee', i, 'USD' FROM n WHERE i <= :customers""",
]
LEDGER_ROW = (
    f"INSERT INTO transfers ({ledger.CHAINED}, previous_hash, hash) VALUES ({', '.join('?' * 15)})"
)


def fill(path: Path, count: int) -> None:
    """Fill the database with finished messages, all older than an hour."""
    connection = connect(path)
    migrations.migrate(connection, path, clock.now())
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    customers = max(200, count // 50)
    begun = int((clock.now() - timedelta(hours=1)).timestamp()) - count
    sizes = {"count": count, "customers": customers, "begun": begun}
    with transaction(connection):
        businesses.add(connection, SHOP, to_text(clock.now()))
        for statement in FILL:
            names = {name: size for name, size in sizes.items() if f":{name}" in statement}
            connection.execute(statement, names)
        fill_ledger(connection, count, customers)
        fill_summaries(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def fill_ledger(tx: sqlite3.Connection, count: int, customers: int) -> None:
    """A deposit for every customer; then every tenth message's transfer, pending and confirmed."""
    rows: list[tuple[Any, ...]] = []
    postings: list[tuple[int, int, int]] = []
    effects: list[tuple[Any, ...]] = []
    asked: list[tuple[Any, ...]] = []
    now, previous = to_text(clock.now() - timedelta(days=2)), GENESIS_HASH

    def add(kind: str, phase: str, legs: tuple[int, int], minor: int, **more: Any) -> int:
        nonlocal previous
        row_id = len(rows) + 1
        cause = (more["cause_kind"], more.get("cause_key") or f"growth:{row_id}")
        facts = (row_id, SHOP.id, kind, phase, *legs, minor, "USD", more.get("target"), None)
        own = chain_hash(previous, *facts, *cause, now)
        rows.append((*facts, *cause, now, previous, own))
        previous = own
        if phase in {"posted", "post"}:
            postings.extend([(row_id, legs[0], -minor), (row_id, legs[1], minor)])
        return row_id

    for customer in range(1, customers + 1):
        add("deposit", "posted", (1, 1 + customer), 10**9, cause_kind="operator")
    for number in range(1, count, 10):
        message_id = f"wamid.{number:09}"
        customer = 1 if number % 100 == 1 else 2 + number % (customers - 1)
        legs = (1 + customer, 1 + customers + customer)
        transfer = add("transfer", "pending", legs, 2_000, cause_kind="call")
        effects.append((message_id, "transfer", f"a{number}", "{}", "done", transfer, now))
        asked.append((message_id, customer, f"token{number}", now, now, "yes", now))
        posted = add("transfer", "post", legs, 2_000, cause_kind="tap", target=transfer)
        if number % 200 == 1:
            back = (legs[1], legs[0])
            add("reversal", "posted", back, 2_000, cause_kind="operator", target=transfer)
        assert posted
    tx.executemany(LEDGER_ROW, rows)
    tx.executemany("INSERT INTO postings VALUES (?, ?, ?)", postings)
    tx.executemany("INSERT INTO effects VALUES (?, ?, ?, ?, ?, ?, ?)", effects)
    tx.executemany(
        "INSERT INTO prompts (kind, message_id, conversation_id, token, asked_at, expires_at, "
        "outcome, ended_at) VALUES ('confirm', ?, ?, ?, ?, ?, ?, ?)",
        asked,
    )


def fill_summaries(tx: sqlite3.Connection) -> None:
    """The summaries that the service stores so that it need not read all rows."""
    tx.execute(
        "INSERT INTO balances (account_id, posted_minor) "
        "SELECT account_id, sum(amount_minor) FROM postings GROUP BY account_id"
    )
    tx.execute("UPDATE conversations SET last_handled_sent_at = last_inbound_at")


def webhook(**value: Any) -> bytes:
    metadata = {"metadata": {"phone_number_id": "1"}}
    entry = [{"id": "1", "changes": [{"field": "messages", "value": metadata | value}]}]
    return json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()


def text_of(message_id: str, phone: str = "15550000001") -> bytes:
    said = {
        "from": phone,
        "id": message_id,
        "timestamp": str(int(clock.now().timestamp())),
        "type": "text",
        "text": {"body": "Please send $20 to John"},
    }
    return webhook(messages=[said])


class Journey:
    """One message through every step, timed; `times` are milliseconds by step."""

    def __init__(self, tx: sqlite3.Connection, count: int) -> None:
        self.tx = tx
        self.count = count
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.business = businesses.required(tx, SHOP.id)
        self.customers = int(tx.execute("SELECT count(*) FROM customers").fetchone()[0])
        self.sums: dict[int, invariants.Sum] = {}
        self.last_id = int(tx.execute("SELECT max(id) FROM transfers").fetchone()[0])

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        started = clock.monotonic()
        yield
        self.times[step].append(elapsed_ms(started, clock.monotonic()))

    def store(self, step: str, body: bytes) -> None:
        payload = parse_payload(body)
        with self.timed(step):
            record(self.tx, payload, body=body, now=clock.now(), installation="growth")

    def travel(self, number: int) -> None:
        """The whole flow once, on the longest conversation, rolled back at the end."""
        self.tx.execute("BEGIN IMMEDIATE")
        try:
            message_id = f"wamid.new.{number}"
            self.store("new webhook", text_of(message_id))
            old = 1 + number * 7919 % self.count
            self.store("duplicate webhook", text_of(f"wamid.{old:09}"))
            self.turn(message_id)
            self.send(message_id)
            self.confirm(message_id, number)
            self.run_periodic_queries(number)
        finally:
            self.tx.execute("ROLLBACK")

    def begin(self) -> tuple[messages.StoredMessage, journal.Claim]:
        message = messages.next_of(self.tx, 1)
        assert message is not None
        answers.decisions_in(self.tx, message)
        claim = journal.claim_conversation(self.tx, 1, message.message_id, to_text(clock.now()))
        journal.moved_money(self.tx, message.message_id)
        journal.has_decided(self.tx, message.message_id)
        messages.note_lateness(self.tx, message)
        return message, claim

    def turn(self, message_id: str) -> None:
        with self.timed("turn begins"):
            message, claim = self.begin()
        with self.timed("prompt"):
            recent_history(self.tx, 1)
        call = ToolCall("call_1", "transfer", '{"amount":"20.00","to":"John"}')
        with self.timed("model step"):
            journal.add_step(
                self.tx,
                message_id,
                claim.revision,
                step=journal.Step(1, "model", "{}", 1.0),
                now=to_text(clock.now()),
            )
        with self.timed("transfer proposed"):
            customer = PaymentContext(
                business=self.business,
                customer_id=1,
                message_id=message_id,
                now=to_text(clock.now()),
            )
            step = toolbox.call(self.tx, customer, call)
        assert '"ok":true' in step.result, step.result
        with self.timed("turn closes"):
            finish.close(
                self.tx,
                message,
                claim,
                ending=Ending(state=MessageState.ANSWERED, receipts=(), words="Sure."),
                now=to_text(clock.now()),
            )

    def send(self, message_id: str) -> None:
        now = to_text(clock.now())
        with self.timed("send opens"):
            reply = outbox.next_of(self.tx, 1)
            assert reply is not None
            attempt_id = outbox.open_attempt(self.tx, reply.id, now)
        assert attempt_id is not None
        wamid = f"out.{message_id}"
        with self.timed("send closes"):
            outbox.close_attempt(
                self.tx, attempt_id, outcome=SendOutcome.ACCEPTED, now=now, wamid=wamid
            )
            outbox.accept(self.tx, reply.id, wamid, now)
        for status in ("sent", "delivered", "read"):
            at = str(int(clock.now().timestamp()))
            update = {"id": wamid, "status": status, "timestamp": at, "recipient_id": "15550000001"}
            self.store("status webhook", webhook(statuses=[update]))

    def confirm(self, message_id: str, number: int) -> None:
        self.store("tap webhook", text_of(f"wamid.tap.{number}"))
        message, _ = self.begin()
        asked = prompts.of_message(self.tx, message_id, PromptKind.CONFIRM)
        assert asked is not None
        with self.timed("transfer confirmed"):
            settled = answers.settle(
                self.tx,
                message,
                decision=Decision(PromptKind.CONFIRM, asked.token, is_yes=True),
                business=self.business,
                now=to_text(clock.now()),
            )
        assert settled.receipts, settled
        now, state = to_text(clock.now()), MessageState.SILENT
        messages.finish(self.tx, message.message_id, state=state, reason="told", now=now)
        with self.timed("requeue"):
            messages.requeue(self.tx, message.message_id, now)

    def run_periodic_queries(self, number: int) -> None:
        """The periodic queries of the service and its operator."""
        now = to_text(clock.now())
        steps: dict[str, Callable[[], object]] = {
            "holds that are due": lambda: prompts.due(self.tx, now),
            "/health counts": lambda: (
                messages.backlog(self.tx, now),
                outbox_queries.count_unsettled(self.tx),
            ),
            "sweep": self.sweep,
            "sends that a crash cut off": lambda: outbox.orphan_attempts_become_unknown(
                self.tx, now
            ),
            "wbot why CUSTOMER": lambda: message_timeline.find(
                self.tx, f"1555{2 + number % 17:07}"
            ),
            "wbot why MESSAGE": lambda: message_timeline.build_timeline(
                self.tx, f"wamid.{1 + number * 7919 % self.count:09}", now
            ),
            "statement of 10": lambda: ledger_history.entries(self.tx, 2, 10),
            "limits of a day": lambda: ledger_history.made_since(
                self.tx, 2, to_text(later(clock.now(), -86_400))
            ),
            "wbot errors list": lambda: errors.every(self.tx, 50),
            "wbot check: account": lambda: messages.account_of(self.tx, "shop"),
            "wbot check: numbers": lambda: messages.unmatched_phone_number_ids(self.tx),
        }
        for name, work in steps.items():
            with self.timed(name):
                work()

    def sweep(self) -> None:
        messages.in_line(self.tx, ("", ""), 1_000)
        outbox.in_line(self.tx, 0, 1_000)

    def audit(self) -> None:
        """The audit of one minute, after a busy one."""
        with self.timed("audit each minute"):
            found = invariants.unguarded(self.tx)
            since = self.tx.execute(
                "SELECT id, hash FROM transfers WHERE id = ?", (self.last_id - LATEST,)
            ).fetchone()
            checkpoint = invariants.Checkpoint(*since)
            verified = invariants.verify_latest(self.tx, checkpoint, 2_000, self.sums)
            self.sums |= verified.sums
            found += verified.breaches
        assert found == [], found[:3]


def measure(paths: dict[int, Path]) -> dict[int, dict[str, float]]:
    """Medians by count and step; the databases take turns, so that a busy moment meets all."""
    journeys = {count: Journey(connect_writer(path), count) for count, path in paths.items()}
    for number in range(WARM_UP + ROUNDS):
        for journey in journeys.values():
            if number == WARM_UP:
                journey.times.clear()
            journey.travel(number)
    for _ in range(AUDITS):
        for journey in journeys.values():
            journey.audit()
    for journey in journeys.values():
        journey.tx.close()
    return {
        count: {step: statistics.median(times) for step, times in journey.times.items()}
        for count, journey in journeys.items()
    }


async def start(path: Path, rounds: int = 3) -> dict[str, float]:
    """Seconds until the real service answers, and its memory use then."""
    seconds, mebibytes = [], []
    for _ in range(rounds):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        variables = {
            **os.environ,
            "WBOT_DATABASE": str(path),
            "WBOT_PORT": str(port),
            "WBOT_APP_SECRET": "benchmark",
            "WBOT_VERIFY_TOKEN": "benchmark",
            "WBOT_MODEL": "offline",
            "WBOT_GRAPH_URL": f"http://{HOST}:9",
            "WBOT_LOG_LEVEL": "error",
        }
        started = clock.monotonic()
        command = [sys.executable, "-m", "wbot", "serve"]
        process = await asyncio.create_subprocess_exec(*command, env=variables, cwd=path.parent)
        try:
            await answered(f"http://{HOST}:{port}/health")
            seconds.append(clock.monotonic() - started)
            await asyncio.sleep(1.5)  # the first audit is in progress
            mebibytes.append(memory(process.pid))
            process.send_signal(signal.SIGTERM)
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
    return {
        "start to first answer, s": statistics.median(seconds),
        "memory, MiB": statistics.median(mebibytes),
    }


async def answered(url: str) -> None:
    async with asyncio.timeout(120), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    await answer.read()
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)


def memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) / 1024


def main(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        paths = {count: Path(name) / f"{count}.db" for count in counts}
        for count, path in paths.items():
            began = clock.monotonic()
            fill(path, count)
            size, filled = path.stat().st_size / 2**20, clock.monotonic()
            print(f"{count}: {size:.0f} MiB, filled in {filled - began:.0f} s", file=sys.stderr)
        columns = measure(paths)
        for count, path in paths.items():
            columns[count] |= asyncio.run(start(path))
    table = Table("ms, median, inside the transaction", *(f"{count:,}" for count in counts))
    table.add_column("ratio", justify="right")
    for step in columns[counts[0]]:
        row = [columns[count][step] for count in counts]
        ratio = row[-1] / row[0]
        mark = " !" if ratio > GOAL else ""
        table.add_row(step, *(f"{value:.3f}" for value in row), f"{ratio:.2f}{mark}")
    Console(width=120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    main(parser.parse_args().counts)
