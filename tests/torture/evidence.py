"""Everything a run leaves: what was sent, what the Graph API accepted, what the database holds."""

import re
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from torture.asks import Ask, message_id_of
from torture.deliveries import Deliveries
from torture.processes import ServiceProcess
from wbot.domain.outgoing import decoded
from wbot.simulator.call_log import Send
from wbot.simulator.people import SimulatedCustomer
from wbot.storage.database import connect
from wbot.storage.outbox import WAITING_NOTICE

UNFINISHED = """
SELECT (SELECT count(*) FROM messages WHERE state IN ('waiting', 'begun'))
    + (SELECT count(*) FROM outbox WHERE state IN ('waiting', 'sending', 'unknown'))
"""
NOTICES = "a receiver's notice"
"""The message id of a notice to a payee, which answers no message of theirs."""
TAG = re.compile(r"^\[(c\d+)\.(\d+)\]", re.MULTILINE)


class Evidence(msgspec.Struct, kw_only=True):
    """One run seen from outside the database."""

    database: Path
    asks: list[Ask]
    payers: tuple[SimulatedCustomer, ...]
    receivers: tuple[SimulatedCustomer, ...]
    given_minor: int
    """The opening balance of each payer."""
    refused: frozenset[str]
    """Names of the customers with permanently refused replies."""
    deliveries: Deliveries
    sends: list[Send] = msgspec.field(default_factory=list)
    """Everything the Graph API accepted, in order."""
    processes: list[ServiceProcess] = msgspec.field(default_factory=list)
    stopped_s: list[float] = msgspec.field(default_factory=list)
    """How long each clean stop by SIGTERM took."""
    hindered: list[tuple[float, float]] = msgspec.field(default_factory=list)
    """When the database could not be written, in monotonic seconds."""
    worked_off_s: list[float] = msgspec.field(default_factory=list)
    """From a start until everything acknowledged before it was answered."""
    drained_s: float | None = None
    """The same for the last process and all messages; None if it did not finish."""


class Reply(msgspec.Struct, frozen=True):
    """One row of the outbox: what the service intended to send."""

    outbox_id: int
    message_id: str
    text: str
    state: str
    is_told: bool
    """Whether a row of processing_errors reports it to the operator."""
    places: list[int] = msgspec.field(default_factory=list)
    """Its positions among all sends that the Graph API accepted; normally one."""

    @property
    def is_settled(self) -> bool:
        return self.state not in {"waiting", "sending", "unknown"}


class Kept:
    """The same run from the database, read once, with what the Graph API accepted."""

    def __init__(self, evidence: Evidence) -> None:
        self.tx = connect(evidence.database)
        self.messages = {row["message_id"]: row for row in self.rows("SELECT * FROM messages")}
        reported = {
            row["outbox_id"] for row in self.rows("SELECT outbox_id FROM processing_errors")
        }
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        """By message; in the order of the outbox, which is the order of handling."""
        self.waits: defaultdict[str, list[Reply]] = defaultdict(list)
        """By message, the lines that only say that its answer takes longer."""
        for row in self.rows("SELECT * FROM outbox ORDER BY id"):
            text = decoded(row["payload"]).body
            asker = row["message_id"] or NOTICES
            reply = Reply(row["id"], asker, text, row["state"], row["id"] in reported)
            is_answer = not row["cause"].startswith(f"{WAITING_NOTICE}:")
            (self.replies if is_answer else self.waits)[asker].append(reply)
        self.unasked: list[Send] = []
        """Sends that the Graph API accepted and that no message asks for."""
        self._sends = evidence.sends
        self._place(evidence)

    def reached_nobody(self, reply: Reply) -> bool:
        """Whether it was given up, or the outside had nobody under the address it went to."""
        if not reply.places:
            return reply.state == "failed"
        return all(self._sends[place].customer is None for place in reply.places)

    def _place(self, evidence: Evidence) -> None:
        """Find each send's reply: by the tag in the model's text, else by customer and text."""
        writers = {ask.customer for ask in evidence.asks}
        names = {alias: writer.name for writer in writers for alias in writer.aliases}
        untagged: defaultdict[tuple[str, str], list[Reply]] = defaultdict(list)
        tagged: dict[str, Reply] = {}
        for ask in evidence.asks:
            for reply in self.replies[ask.message_id]:
                if message_id_in(reply.text):
                    tagged[ask.message_id] = reply
                else:
                    untagged[ask.customer.name, reply.text].append(reply)
        notices = {reply.text: reply for reply in self.replies[NOTICES]}
        waits = self._waits_by_recipient(evidence)
        for place, send in enumerate(evidence.sends):
            message_id = message_id_in(send.text)
            alike = untagged[names.get(send.recipient, ""), send.text]
            alike = alike or waits[send.recipient, send.text]
            found = tagged.get(message_id) if message_id else min(alike, key=_taken, default=None)
            found = found or notices.get(send.text)
            if found is None:
                self.unasked.append(send)
            else:
                found.places.append(place)

    def _waits_by_recipient(self, evidence: Evidence) -> dict[tuple[str, str], list[Reply]]:
        """Lines that name no message, by each id their customer has in the run, and text."""
        aliases: defaultdict[str, set[str]] = defaultdict(set)
        for ask in evidence.asks:
            for person in (ask.customer, ask.becomes or ask.customer):
                aliases[ask.customer.name] |= set(person.aliases)
        found: defaultdict[tuple[str, str], list[Reply]] = defaultdict(list)
        for ask in evidence.asks:
            for alias in aliases[ask.customer.name]:
                for wait in self.waits[ask.message_id]:
                    found[alias, wait.text].append(wait)
        return found

    def close(self) -> None:
        self.tx.close()

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self.tx.execute(sql, values).fetchall()


def _taken(reply: Reply) -> tuple[int, int]:
    return len(reply.places), reply.outbox_id


def message_id_in(text: str) -> str | None:
    """The message that a reply answers, by the tag in the model's text."""
    found = TAG.search(text)
    return found and message_id_of(found[1], int(found[2]))


def count_unfinished(path: Path) -> int:
    """The number of unfinished messages and replies."""
    connection = connect(path)
    try:
        return int(connection.execute(UNFINISHED).fetchone()[0])
    finally:
        connection.close()
