"""What `wbot check` finds about the machine: room on the disk, the clock, files with secrets."""

import shutil
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp

from wbot.admin import preflight
from wbot.admin.preflight import Check
from wbot.clock import Clock
from wbot.domain.business import Business
from wbot.domain.message_age import AHEAD_MAX

DISK_BYTES_LOW = 1024**3
SKEW_S_NOTED = 10.0
"""Seconds the clocks may differ; the header has whole ones, and the answer takes time."""
SKEW_S_MAX = AHEAD_MAX.total_seconds()
MIB = 1024**2
_NAME = "clock"


def disk(database: Path, *, least_bytes: int) -> Check:
    """Whether there is room to write, and for a copy of the database."""
    name = "disk"
    try:
        size, free = _size_of(database), shutil.disk_usage(_existing(database)).free
    except OSError as error:
        return preflight.warned(name, f"not checked ({error.strerror})")
    shown = f"{free // MIB:,} MiB are free where the database is, which takes {size // MIB:,} MiB"
    if free < least_bytes:
        return preflight.failed(name, f"{shown}: soon nothing can be stored; free some space")
    if free < max(DISK_BYTES_LOW, 2 * size):
        return preflight.warned(name, f"{shown}: an upgrade or a backup needs a copy of it")
    return preflight.passed(name, shown)


def secret_files(businesses: Iterable[Business]) -> list[Check]:
    """Whether the files that hold access tokens are private to their owner."""
    marks = [one.access_token for one in businesses if one.access_token.startswith("file:")]
    paths = {Path(mark.removeprefix("file:")) for mark in marks}
    return [preflight.private(sorted(paths), name="files with tokens")] if paths else []


async def clock(graph_url: str, *, timeout_s: float, own: Clock | None = None) -> Check:
    """How far this machine's clock is from that of the Graph API, by its Date header."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(graph_url, allow_redirects=False) as answer,
        ):
            said = parsedate_to_datetime(answer.headers.get("Date", ""))
            ahead_s = ((own or Clock()).now() - said).total_seconds()
    except (aiohttp.ClientError, TimeoutError, ValueError, TypeError):
        return preflight.warned(_NAME, "not checked: the Graph API did not tell its time")
    return _skew(ahead_s)


def _skew(ahead_s: float) -> Check:
    if abs(ahead_s) <= SKEW_S_NOTED:
        return preflight.passed(_NAME, "as the Graph API's")
    words = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the Graph API's"
    fix = "turn on NTP (`timedatectl set-ntp true`)"
    if abs(ahead_s) <= SKEW_S_MAX:
        return preflight.warned(_NAME, f"{words}: {fix}")
    return preflight.failed(_NAME, f"{words}, so messages count as too old: {fix}")


def _existing(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.exists())


def _size_of(database: Path) -> int:
    return database.stat().st_size if database.exists() else 0
