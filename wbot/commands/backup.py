"""wbot backup, wbot restore: checked copies of the database, and the way back to one."""

import os
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console

from wbot.admin import restoration
from wbot.admin.restoration import Gap
from wbot.clock import to_text
from wbot.commands.console import (
    counted,
    find_database,
    json_option,
    load_configuration,
    now,
    prepared_database,
    print_json,
    print_table,
    readable,
    reading,
    say,
    writing,
)
from wbot.domain.errors import ConfigurationError
from wbot.storage import files, restorations
from wbot.storage.lock import locked

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("path", metavar="PATH", type=_PATH)
@json_option
def backup(*, path: Path, as_json: bool) -> None:
    """Copy the database to PATH, also while the service runs.

    The copy is one consistent file, for its owner alone. It is opened and its books are verified;
    if anything is wrong, there is no file at PATH, and the exit code is 1. `wbot restore` puts it
    in place.
    """
    database, copied_at = prepared_database(), now()
    with Console(stderr=True).status("Copying and verifying the database"):
        restoration.back_up(database, path.absolute(), copied_at)
    size = path.stat().st_size
    if as_json:
        print_json({"path": str(path.absolute()), "copied_at": to_text(copied_at), "bytes": size})
        return
    say(f"Copied {database} to {path}: {size / 1e6:,.1f} MB, the books are right.")


@click.command()
@click.argument("source", metavar="[FROM]", type=_PATH, required=False)
@click.option("--accept", "accepts", is_flag=True, help="List what is missing; let money move.")
@json_option
def restore(*, source: Path | None, accepts: bool, as_json: bool) -> None:
    """Put a copy in the place of the database, while no service runs.

    What it replaces stays beside it under a dated name. What was unfinished in the copy may have
    been done since: customers are asked about their messages again, queued replies are not sent,
    holds are voided. No money moves until `wbot restore --accept`, which lists what is missing.
    """
    if source is None and not accepts:
        raise click.UsageError("Name the copy to restore, or give --accept.")
    if source is not None:
        _restore(source.absolute())
    with reading() as tx:
        gaps = restoration.gaps(tx)
    if accepts:
        _accept()
    if as_json:
        print_json({"accepted": accepts, "gaps": [msgspec.to_builtins(one) for one in gaps]})
    elif source is not None:
        _report_restored(source, gaps[-1:], is_accepted=accepts)
    if accepts and not as_json:
        _report_gaps(gaps)


def _restore(source: Path) -> None:
    configuration = load_configuration()
    is_named = configuration.is_database_named or configuration.file is not None
    path = Path(os.path.realpath(find_database(configuration, creates=is_named)))
    is_new = files.is_empty(path)
    try:
        with locked(path, creates=True), Console(stderr=True).status("Verifying the copy"):
            restoration.restore(source, path, now())
    finally:
        if is_new and files.is_empty(path):  # the lock has created it
            path.unlink(missing_ok=True)


def _accept() -> None:
    at = now()
    with writing() as tx:
        if any(one.restored_at is None for one in restorations.unaccepted(tx)):
            raise ConfigurationError(
                "This copy was put in place by hand: start the service once, then accept it."
            )
        restorations.accept(tx, to_text(at))


def _report_restored(source: Path, gaps: Sequence[Gap], *, is_accepted: bool) -> None:
    for gap in gaps:
        say(f"Restored {source} of {readable(gap.copied_at)} as {prepared_database()}.")
        if gap.replaced is not None:
            say(f"What it replaces is kept: {gap.replaced}.")
        if not is_accepted:
            say(_ended(gap), "No money moves until `wbot restore --accept`.")


def _report_gaps(gaps: Sequence[Gap]) -> None:
    if not gaps:
        say("No restored copy waits to be accepted.")
        return
    for gap in gaps:
        say(f"Missing: all after {readable(gap.copied_at)}, when the copy was made.")
        say(_ended(gap))
        _report_lost(gap)
    say("Accepted: money moves again.")


def _ended(gap: Gap) -> str:
    return (
        f"Unfinished in it: {counted(gap.messages, 'message')}, about which customers are asked "
        f"again; {counted(gap.replies, 'reply', 'replies')}, not sent; "
        f"{counted(gap.holds, 'hold')}, voided."
    )


def _report_lost(gap: Gap) -> None:
    if gap.lost is None:
        say("What came after it is not known here: no readable database was replaced.")
        return
    since = gap.lost
    say(
        f"In {gap.replaced} since then: {counted(since.messages, 'message')}, "
        f"{counted(len(since.transfers), 'transfer')}, "
        f"{counted(len(since.payout_batches), 'exported batch', 'exported batches')} of payouts."
    )
    if since.transfers:
        rows = [
            (one.transfer, one.kind, f"{one.amount} {one.currency}", one.from_, one.to)
            for one in since.transfers
        ]
        print_table(("Transfer", "Kind", "Amount", "From", "To"), rows, empty="")
        say("Enter what counts again, such as `wbot ledger deposit … --key restored-T7`.")
    for one in since.payout_batches:
        say(
            f"{one.batch} of {one.business}, {one.amount} {one.currency}, may have been paid: its "
            "transfers are owed here again, so settle them under the same payees, not twice."
        )
