"""Backups and their restoration: checked copies, and what a copy may not do by itself."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from wbot.clock import to_text
from wbot.domain.errors import RefusedError, StorageError
from wbot.domain.ledger import reference_of
from wbot.domain.money import currency_of, format_amount
from wbot.domain.payouts import batch_reference
from wbot.payments import consent
from wbot.storage import (
    copies,
    invariants,
    ledger_queries,
    messages,
    migrations,
    outbox,
    restorations,
    undelivered,
)
from wbot.storage.database import Connection, transaction
from wbot.storage.files import identity_of
from wbot.storage.restorations import Restoration
from wbot.storage.tx import Tx

NOT_SENT = "Not sent: this database was restored from a copy, and the original may have sent it."


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moved in the replaced database after the copy was made."""

    transfer: str
    kind: str
    business: str
    amount: str
    currency: str
    from_: str = msgspec.field(name="from")
    to: str
    created_at: str


class LostBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Payouts that were exported from the replaced database after the copy was made."""

    batch: str
    business: str
    amount: str
    currency: str
    created_at: str


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """What the replaced database has more than the copy."""

    messages: int
    transfers: list[Lost]
    payout_batches: list[LostBatch]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing in a restored copy; `lost` is None where no database tells."""

    copied_at: str
    restored_at: str | None
    replaced: str | None
    messages: int
    replies: int
    holds: int
    lost: Since | None


def back_up(database: Path, path: Path, now: datetime) -> None:
    """A checked copy of the database, marked as one; raises RefusedError or StorageError."""
    obstacle = copies.in_the_way(path)
    if obstacle is not None:
        raise RefusedError(f"{obstacle} exists already; name a file that does not.")
    if not path.parent.is_dir():
        raise RefusedError(f"There is no folder {path.parent} for the copy.")

    def finish(copy: Connection) -> None:
        with transaction(copy) as tx:
            _check_books(tx)
            restorations.mark(tx, to_text(now))

    copies.copy_to(database, path, finish)


def restore(source: Path, database: Path, now: datetime) -> None:
    """Put a copy in the place of a database that no service uses, and keep what it replaces.

    Raises RefusedError or StorageError; then nothing has changed.
    """
    if not source.is_file():
        raise RefusedError(f"There is no file {source} to restore.")
    if identity_of(source) == identity_of(database):
        raise RefusedError(f"{source} is the database itself; name a copy of it.")
    copied_at = to_text(datetime.fromtimestamp(source.stat().st_mtime, UTC))
    kept = copies.kept_name(database, now.strftime("%Y%m%dT%H%M%SZ"))

    def finish(copy: Connection) -> None:
        migrations.migrate(copy, source, now, creates=False, copies=False)
        with transaction(copy) as tx:
            _check_books(tx)
            if all(one.restored_at for one in restorations.unaccepted(tx)):
                restorations.mark(tx, copied_at)
            restorations.note_replaced(tx, None if kept is None else str(kept))
            _settle(tx, to_text(now))
        if kept is not None:
            copies.keep_as(database, kept)

    copies.copy_to(source, database, finish)


def settle_copy(connection: Connection, now: datetime) -> None:
    """End what is unfinished in a copy that was put in place by hand; nothing elsewhere."""
    with transaction(connection) as tx:
        if any(one.restored_at is None for one in restorations.unaccepted(tx)):
            _settle(tx, to_text(now))


def _settle(tx: Tx, now: str) -> None:
    """The original has gone on since: nothing is repeated that it may have done."""
    restorations.renew_installation(tx)
    restorations.note_settled(
        tx,
        holds=consent.void_all(tx, f"restore/{now}", now),
        messages=messages.make_unfinished_stale(tx),
        replies=_give_up_replies(tx, now),
        now=now,
    )


def _give_up_replies(tx: Tx, now: str) -> int:
    outbox.orphan_attempts_become_unknown(tx, now)
    waiting = outbox.unsettled(tx)
    for reply in waiting:
        outbox.give_up(tx, reply, NOT_SENT, now)
    undelivered.mark_all_told(tx, now)
    return len(waiting)


def gaps(tx: Tx) -> list[Gap]:
    """What is missing in each copy that was not accepted yet."""
    return [_gap(one) for one in restorations.unaccepted(tx)]


def _gap(one: Restoration) -> Gap:
    return Gap(
        copied_at=one.copied_at,
        restored_at=one.restored_at,
        replaced=one.replaced,
        messages=one.messages or 0,
        replies=one.replies or 0,
        holds=one.holds or 0,
        lost=None if one.replaced is None else _lost(one, Path(one.replaced)),
    )


def _lost(one: Restoration, replaced: Path) -> Since | None:
    try:
        with copies.opened_copy(replaced) as tx:
            return Since(
                messages=restorations.lost_messages(tx, one.copied_at),
                transfers=[_transfer(tx, row) for row in restorations.lost_transfers(tx, one)],
                payout_batches=[
                    LostBatch(
                        batch=batch_reference(row.id),
                        business=row.business_id,
                        amount=_amount(row),
                        currency=row.currency,
                        created_at=row.created_at,
                    )
                    for row in restorations.lost_batches(tx, one.copied_at)
                ],
            )
    except StorageError:  # it was moved away since, or is the damaged one
        return None


def _transfer(tx: Tx, row: restorations.LostTransfer) -> Lost:
    return Lost(
        transfer=reference_of(row.id),
        kind=row.kind,
        business=row.business_id,
        amount=_amount(row),
        currency=row.currency,
        from_=ledger_queries.account(tx, row.debit_account_id).holder,
        to=ledger_queries.account(tx, row.credit_account_id).holder,
        created_at=row.created_at,
    )


def _amount(row: restorations.LostTransfer | restorations.LostPayoutBatch) -> str:
    return format_amount(row.amount_minor, currency_of(row.currency))


def _check_books(tx: Tx) -> None:
    found = invariants.breaches(tx)
    if found:
        raise StorageError(f"The books in this database are wrong: {found[0]}")
