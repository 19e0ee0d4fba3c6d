"""What each model endpoint takes, as its refusals taught."""

from datetime import datetime

from wbot.clock import from_text, to_text
from wbot.storage.database import Database
from wbot.storage.tx import Tx

KEEP = """
INSERT INTO model_dialects (endpoint, model, dialect, learned_at) VALUES (?, ?, ?, ?)
ON CONFLICT (endpoint, model) DO UPDATE
SET dialect = excluded.dialect, learned_at = excluded.learned_at
"""


def find(tx: Tx, endpoint: str, model: str) -> tuple[str, str] | None:
    """The dialect's JSON and when it was learned, or None."""
    row = tx.execute(
        "SELECT dialect, learned_at FROM model_dialects WHERE endpoint = ? AND model = ?",
        (endpoint, model),
    ).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def keep(tx: Tx, endpoint: str, model: str, *, dialect: str, now: str) -> None:
    """Store what was learned in place of what was known."""
    tx.execute(KEEP, (endpoint, model, dialect, now))


def forget(tx: Tx, endpoint: str, model: str) -> None:
    """Let it be learned anew."""
    tx.execute("DELETE FROM model_dialects WHERE endpoint = ? AND model = ?", (endpoint, model))


def forget_all(tx: Tx) -> int:
    """Let everything be learned anew, for `wbot check --relearn`; how much was known."""
    return tx.execute("DELETE FROM model_dialects").rowcount


class DialectMemory:
    """The table as the model client uses it, each call a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, endpoint: str, model: str) -> tuple[str, datetime] | None:
        found = await self._database.read(lambda tx: find(tx, endpoint, model))
        return None if found is None else (found[0], from_text(found[1]))

    async def keep(self, endpoint: str, model: str, dialect: str, at: datetime) -> None:
        now = to_text(at)
        await self._database.write(lambda tx: keep(tx, endpoint, model, dialect=dialect, now=now))

    async def forget(self, endpoint: str, model: str) -> None:
        await self._database.write(lambda tx: forget(tx, endpoint, model))
