"""wbot errors: list and reprocess what ended in processing_errors."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from wbot.admin import reprocessing
from wbot.admin.reprocessing import Requeued
from wbot.clock import to_text
from wbot.commands.console import (
    WORDS,
    counted,
    json_option,
    load_settings,
    now,
    print_facts,
    print_json,
    print_table,
    readable,
    reading,
    say,
    writing,
)
from wbot.domain.errors import MalformedError
from wbot.domain.message_age import Staleness
from wbot.storage import errors as storage

_AGE = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_LISTED = ("id", "message_id", "error_message", "created_at", "retry_count", "state")


@click.group()
def errors() -> None:
    """Messages and replies that failed for good: list, show, retry, purge."""


@errors.command("list")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@json_option
def list_(*, limit: int | None, as_json: bool) -> None:
    """List failures, newest first."""
    with reading() as tx:
        total = storage.count(tx)
        found = storage.every(tx, limit or max(total, 1))
    if as_json:
        print_json({"errors": [_facts(row, _LISTED) for row in found]})
        return
    rows = [
        (
            str(row.id),
            readable(row.created_at, zone=""),
            row.state,
            str(row.retry_count),
            row.message_id or "-",
            row.error_message,
        )
        for row in found
    ]
    columns = ("ID", "Time (UTC)", "State", "Retries", "Message", "What happened")
    print_table(columns, rows, empty="No failures.")
    if len(found) < total:
        say(f"The newest {len(found)} of {counted(total, 'failure')}.")


def _facts(failure: storage.Failure, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in names}


_error_id = click.argument("error_id", metavar="ID", type=click.IntRange(1))


@errors.command()
@_error_id
@json_option
def show(*, error_id: int, as_json: bool) -> None:
    """Show one failure in full."""
    with reading() as tx:
        row = storage.required(tx, error_id)
    facts = _facts(row, (*_LISTED, "business_id", "outbox_id"))
    if as_json:
        print_json(facts)
        return
    at = {"created_at": readable(row.created_at)}
    print_facts(
        [(name, str(value)) for name, value in {**facts, **at}.items() if value is not None]
    )
    if row.message_id is not None:
        say(f"Its timeline: wbot why {row.message_id}")


@errors.command()
@_error_id
@json_option
def retry(*, error_id: int, as_json: bool) -> None:
    """Process a failed message again.

    It goes to the end of its conversation. A message that already moved money is not processed
    again: it is closed with its receipts.
    """
    settings, _ = load_settings()
    with writing() as tx:
        requeued = reprocessing.retry(tx, error_id, now=now(), stale_after_s=settings.stale_after)
    if as_json:
        print_json({"id": error_id, "message_id": requeued.message_id, "state": "waiting"})
    else:
        say(f"{requeued.message_id} waits for its turn again; {_what_happens_next(requeued)}.")


def _what_happens_next(requeued: Requeued) -> str:
    if requeued.moved_money:
        return "it already moved money, so it is only closed with its receipts"
    match requeued.staleness:
        case Staleness.FRESH:
            return "a running service processes it within two seconds"
        case Staleness.STALE:
            return "it is old by now, so the customer is first asked whether they still want it"
        case Staleness.EXPIRED:
            return "it will get no reply, because WhatsApp allows none after 24 hours"


@errors.command()
@click.option(
    "--older-than", "age", required=True, metavar="AGE", type=WORDS, help="Such as 30d, 12h or 4w."
)
@json_option
def purge(*, age: str, as_json: bool) -> None:
    """Delete failures older than AGE.

    Their messages stay.
    """
    before = to_text(now() - _age(age))
    with writing() as tx:
        deleted = storage.purge(tx, before)
    if as_json:
        print_json({"deleted": deleted})
    else:
        say(f"Deleted {counted(deleted, 'failure')} older than {age}.")


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise MalformedError(f"{text[:20]!r} is not an age; write it like 30d, 12h or 4w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
