"""All that a run leaves behind: what was sent, what the Graph API took, what the database holds."""

import re
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from torture.asks import Ask, message_id_of
from torture.deliveries import Deliveries
from torture.lives import Life
from wbot.domain.delivery import words_of
from wbot.simulator.call_log import Send
from wbot.simulator.people import SimulatedCustomer
from wbot.storage.database import connect

UNFINISHED = """
SELECT (SELECT count(*) FROM messages WHERE state IN ('waiting', 'begun'))
    + (SELECT count(*) FROM outbox WHERE state IN ('waiting', 'sending', 'unknown'))
"""
NOTICES = "a receiver's notice"
"""What stands for the message that nobody wrote: whoever is paid hears of it unasked."""
TAG = re.compile(r"^\[(c\d+)\.(\d+)\]", re.MULTILINE)


class Evidence(msgspec.Struct, kw_only=True):
    """One run from outside the database."""

    database: Path
    asks: list[Ask]
    payers: tuple[SimulatedCustomer, ...]
    receivers: tuple[SimulatedCustomer, ...]
    given_minor: int
    """What each payer had at the beginning."""
    refused: frozenset[str]
    """Names of the customers some of whose replies were refused for good."""
    deliveries: Deliveries
    sends: list[Send] = msgspec.field(default_factory=list)
    """Whatever the Graph API took, in that order."""
    lives: list[Life] = msgspec.field(default_factory=list)
    stopped_s: list[float] = msgspec.field(default_factory=list)
    """How long each life took that SIGTERM ended well."""
    hindered: list[tuple[float, float]] = msgspec.field(default_factory=list)
    """When the database could not be written, in monotonic seconds."""
    worked_off_s: list[float] = msgspec.field(default_factory=list)
    """From a start until all that had been acknowledged before it was answered."""
    drained_s: float | None = None
    """The same for the last life and everything; None when it did not get there."""


class Reply(msgspec.Struct, frozen=True):
    """One row of the outbox: what the service meant to say."""

    outbox_id: int
    message_id: str
    text: str
    state: str
    is_told: bool
    """Whether a row of processing_errors tells the operator of it."""
    places: list[int] = msgspec.field(default_factory=list)
    """Where it stands among all that the Graph API took; once, if all is well."""

    @property
    def is_settled(self) -> bool:
        return self.state not in {"waiting", "sending", "unknown"}


class Kept:
    """The same run as the database has it, read once, beside what the Graph API took."""

    def __init__(self, evidence: Evidence) -> None:
        self.tx = connect(evidence.database)
        self.messages = {row["message_id"]: row for row in self.rows("SELECT * FROM messages")}
        told = {row["outbox_id"] for row in self.rows("SELECT outbox_id FROM processing_errors")}
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        """By message; in the order of the outbox, which is the order of handling."""
        for row in self.rows("SELECT * FROM outbox ORDER BY id"):
            text = words_of(msgspec.json.decode(row["payload"]))
            asker = row["message_id"] or NOTICES
            reply = Reply(row["id"], asker, text, row["state"], row["id"] in told)
            self.replies[asker].append(reply)
        self.unasked: list[Send] = []
        """What the Graph API took although no message asks for it."""
        self._place(evidence)

    def _place(self, evidence: Evidence) -> None:
        """Find each send's reply: by the tag in the model's words, else by customer and text."""
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
        for place, send in enumerate(evidence.sends):
            message_id = message_id_in(send.text)
            alike = untagged[names.get(send.recipient, ""), send.text]
            found = tagged.get(message_id) if message_id else min(alike, key=_taken, default=None)
            found = found or notices.get(send.text)
            if found is None:
                self.unasked.append(send)
            else:
                found.places.append(place)

    def close(self) -> None:
        self.tx.close()

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self.tx.execute(sql, values).fetchall()


def _taken(reply: Reply) -> tuple[int, int]:
    return len(reply.places), reply.outbox_id


def message_id_in(text: str) -> str | None:
    """The message that a reply answers, by the tag in the model's words."""
    found = TAG.search(text)
    return found and message_id_of(found[1], int(found[2]))


def count_unfinished(path: Path) -> int:
    """Messages without an end, and replies whose fate is open."""
    connection = connect(path)
    try:
        return int(connection.execute(UNFINISHED).fetchone()[0])
    finally:
        connection.close()
