"""The demo's panel beside the phones: what the network saw, and what the service stored.

The simulator counts deliveries and replies, outside the service; what was processed is read from
the database, and the books are verified as `wbot ledger verify` does it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from wbot.admin import message_outcomes
from wbot.admin.message_outcomes import Outcome
from wbot.clock import Clock, later
from wbot.commands.loopback import Loopback
from wbot.simulator.webhooks.evidence import Exchange, Seen
from wbot.storage import invariants, ledger_queries
from wbot.storage.database import connect, snapshot
from wbot.storage.tx import Tx

POLL_EVERY_S = 0.25
VERIFY_EVERY_S = 10.0
MESSAGES_SHOWN = 30
RESTARTS_KEPT = 20
SILENT_KINDS = frozenset({"request_welcome"})
"""Types that customers do not write, so there is nothing to show."""


class Restart(msgspec.Struct, kw_only=True):
    """One end of the service's process, and its restart."""

    at: datetime
    is_ours: bool
    """Whether the button killed it; otherwise it ended by itself."""
    during: Exchange | None
    unfinished: tuple[str, ...] = ()
    """The messages it left unfinished."""
    back_at: datetime | None = None


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """The latest verification."""

    at: datetime
    times: int
    transfers: int
    breaches: tuple[str, ...]


class Proof:
    """Keeps the service running and the panel up to date, until cancelled."""

    def __init__(self, running: Loopback, database: Path, clock: Clock) -> None:
        self._simulator = running.simulator
        self._service = running.service
        self._database = database
        self._clock = clock
        self._restarts: list[Restart] = []
        self._books: Books | None = None
        self._dying: Restart | None = None
        self._verified_rows: tuple[int, int] | None = None
        self._shown: dict[str, Any] = {}
        running.simulator.on_kill = self.kill

    def kill(self) -> None:
        """Kill the service at once, whatever it is doing; ValueError while it is down."""
        if self._service.pid is None:
            raise ValueError("the service is already down, and restarts by itself")
        during = self._simulator.evidence.under_way
        self._dying = Restart(at=self._clock.now(), is_ours=True, during=during)
        self._service.kill()

    async def keep_running(self) -> None:
        """Restart the service whenever it ends; ConfigurationError if it does not start."""
        while True:
            await self._service.ended()
            restart = self._dying or Restart(at=self._clock.now(), is_ours=False, during=None)
            found = await self._outcomes()
            restart.unfinished = tuple(
                seen.id for seen in self._messages() if not _is_finished(found.get(seen.id))
            )
            self._restarts = [*self._restarts[1 - RESTARTS_KEPT :], restart]
            self._dying = None
            self._show(found)
            await self._service.start()
            restart.back_at = self._clock.now()
            self._verified_rows = None

    async def watch(self) -> None:
        """Show each change on the pages."""
        while True:
            self._show(await self._outcomes())
            await self._clock.sleep(POLL_EVERY_S)

    def _messages(self) -> list[Seen]:
        seen = self._simulator.evidence.messages
        return [one for one in seen if one.type not in SILENT_KINDS]

    async def _outcomes(self) -> dict[str, Outcome]:
        return await asyncio.to_thread(self._read, [seen.id for seen in self._messages()])

    def _read(self, message_ids: Sequence[str]) -> dict[str, Outcome]:
        connection = connect(self._database)
        try:
            with snapshot(connection) as tx:
                found = {one: message_outcomes.of(tx, one) for one in message_ids}
                self._verify(tx)
        finally:
            connection.close()
        return {one: outcome for one, outcome in found.items() if outcome is not None}

    def _verify(self, tx: Tx) -> None:
        """What `wbot ledger verify` does, after each change of the ledger and every few seconds."""
        counts, now, latest = ledger_queries.counts(tx), self._clock.now(), self._books
        rows = (counts.transfers, counts.postings)
        if latest and rows == self._verified_rows and now < later(latest.at, VERIFY_EVERY_S):
            return
        self._verified_rows = rows
        self._books = Books(
            at=now,
            times=latest.times + 1 if latest else 1,
            transfers=counts.transfers,
            breaches=tuple(invariants.breaches(tx)),
        )

    def _show(self, found: Mapping[str, Outcome]) -> None:
        proof = self._document(found)
        if proof != self._shown:
            self._shown = proof
            self._simulator.show_proof(proof)

    def _document(self, found: Mapping[str, Outcome]) -> dict[str, Any]:
        messages = [self._message(seen, found.get(seen.id)) for seen in self._messages()]
        restarts = [_restart(one, messages, self._books) for one in self._restarts]
        return {
            "pid": self._service.pid,
            "restarts": len(self._restarts),
            "books": _books(self._books),
            "totals": {
                name: sum(one[name] for one in messages)
                for name in ("delivered", "acted", "replies")
            }
            | {"messages": len(messages)},
            "entries": sorted(
                [*messages[-MESSAGES_SHOWN:], *restarts], key=lambda one: int(one["at_ms"])
            ),
        }

    def _message(self, seen: Seen, outcome: Outcome | None) -> dict[str, Any]:
        sends = outcome.sends if outcome else frozenset()
        return {
            "kind": "message",
            "id": seen.id,
            "at_ms": _milliseconds(seen.at),
            "customer": seen.customer,
            "type": seen.type,
            "words": seen.words,
            "delivered": seen.delivered,
            "unanswered": seen.unanswered,
            "state": outcome.state if outcome else None,
            "is_finished": _is_finished(outcome),
            "attempts": outcome.attempts if outcome else 0,
            "acted": outcome.acted if outcome else 0,
            "replies": sum(send.opaque in sends for send in self._simulator.sends),
            "deeds": msgspec.to_builtins(outcome.deeds) if outcome else [],
        }


def _is_finished(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.is_finished


def _restart(
    restart: Restart, messages: Sequence[Mapping[str, Any]], latest: Books | None
) -> dict[str, Any]:
    resumed = [one for one in messages if one["id"] in restart.unfinished]
    back_at = restart.back_at
    return {
        "kind": "restart",
        "at_ms": _milliseconds(restart.at),
        "is_ours": restart.is_ours,
        "during": restart.during,
        "back_s": round((back_at - restart.at).total_seconds(), 1) if back_at else None,
        "is_verified": bool(back_at and latest and latest.at > back_at and not latest.breaches),
        "unfinished": len(restart.unfinished),
        "resumed": sum(one["is_finished"] for one in resumed),
        "replies": sum(one["replies"] for one in resumed),
        "moved": sum(deed["deed"] == "moved" for one in resumed for deed in one["deeds"]),
        "held": sum(deed["deed"] == "held" for one in resumed for deed in one["deeds"]),
    }


def _books(latest: Books | None) -> dict[str, Any] | None:
    if latest is None:
        return None
    return {
        "at_ms": _milliseconds(latest.at),
        "times": latest.times,
        "transfers": latest.transfers,
        "breaches": list(latest.breaches),
    }


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
