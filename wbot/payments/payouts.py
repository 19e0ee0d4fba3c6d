"""Pays people outside: what is owed goes into a batch, which is settled, or void and given back."""

from collections import defaultdict

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain.business import Business
from wbot.domain.errors import RefusedError
from wbot.domain.ledger import Cause, CauseKind, TransferKind, reference_of
from wbot.domain.payouts import batch_reference, payee_reference
from wbot.domain.states import PayoutState
from wbot.payments import adjustments, notifications
from wbot.storage import accounts, businesses, ledger, payouts, restorations
from wbot.storage.payouts import Owed, Payout, UsedKey
from wbot.storage.tx import Tx


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The payouts of a batch that a key settled or voided, now or earlier."""

    batch_id: int
    payout_ids: tuple[int, ...]
    state: PayoutState
    is_repeated: bool


def export(tx: Tx, business: Business, now: str) -> int | None:
    """Put what customers can no longer cancel into a batch; its number, None without any.

    Raises RefusedError in a restored copy: the original may have exported the same since.
    """
    if restorations.is_stopped(tx):
        raise RefusedError(restorations.STOPPED)
    before = to_text(later(from_text(now), -business.policy.cancel_window_s))
    owed: defaultdict[int, list[Owed]] = defaultdict(list)
    for row in payouts.owed(tx, business.id):
        if row.made_at < before:
            owed[row.payee_id].append(row)
    if not owed:
        return None
    batch_id = payouts.add_batch(tx, business.id, now)
    for payee_id, rows in owed.items():
        payouts.add(
            tx,
            batch_id,
            payee_id,
            amount_minor=sum(row.amount_minor for row in rows),
            transfer_ids=[row.transfer_id for row in rows],
        )
    return batch_id


def settle(tx: Tx, batch_id: int, payee_id: int | None, *, key: str, now: str) -> Ended:
    """Book a batch, or its payout to one payee, as paid out; the same key again does nothing."""
    return _end(tx, batch_id, payee_id, PayoutState.SETTLED, key=key, now=now)


def void(tx: Tx, batch_id: int, payee_id: int | None, *, key: str, now: str) -> Ended:
    """Give what a batch was to pay back to the customers; the same key again does nothing."""
    return _end(tx, batch_id, payee_id, PayoutState.VOID, key=key, now=now)


def _end(
    tx: Tx, batch_id: int, payee_id: int | None, state: PayoutState, *, key: str, now: str
) -> Ended:
    batch = payouts.batch(tx, batch_id)
    if batch is None:
        raise RefusedError(f"There is no batch {batch_reference(batch_id)}.")
    business = businesses.required(tx, batch.business_id)
    meant = [row for row in payouts.of_batch(tx, batch_id) if payee_id in {None, row.payee_id}]
    if not meant:
        raise RefusedError(
            f"{batch_reference(batch_id)} pays nothing to {payee_reference(payee_id or 0)}."
        )
    used = payouts.use_of_key(tx, business.id, key)
    if used is not None:
        _check_same(used, (state, batch_id, payee_id))
        open_ = [row for row in meant if row.key == key]
    else:
        open_ = [row for row in meant if row.state == PayoutState.EXPORTED]
        _check_open(batch_id, meant, open_)
        payouts.keep_key(
            tx, business.id, key, state=state, batch_id=batch_id, payee_id=payee_id, now=now
        )
        end = _settle if state is PayoutState.SETTLED else _void
        for row in open_:
            end(tx, business, row, key=key, now=now)
    ids = tuple(int(row.id) for row in open_)
    return Ended(batch_id=batch_id, payout_ids=ids, state=state, is_repeated=used is not None)


def _check_same(used: UsedKey, wanted: tuple[PayoutState, int, int | None]) -> None:
    if (used.end_state, used.batch_id, used.payee_id) != wanted:
        whom = "" if used.payee_id is None else f" to {payee_reference(used.payee_id)}"
        raise RefusedError(
            f"The key was already used: {batch_reference(used.batch_id)}{whom} is "
            f"{used.end_state}; nothing was done."
        )


def _check_open(batch_id: int, meant: list[Payout], open_: list[Payout]) -> None:
    if not open_:
        states = " and ".join(sorted({row.state for row in meant}))
        raise RefusedError(
            f"That part of {batch_reference(batch_id)} is already {states}, under another key; "
            "nothing was done."
        )


def _settle(tx: Tx, business: Business, payout: Payout, *, key: str, now: str) -> None:
    movement = ledger.Movement(
        business_id=business.id,
        kind=TransferKind.PAYOUT,
        debit_account_id=payouts.payee(tx, payout.payee_id).account_id,
        credit_account_id=accounts.of_business(tx, business.id),
        amount_minor=payout.amount_minor,
        currency=business.currency_code,
        cause=_cause(business, payout, "settle"),
        memo=f"{batch_reference(payout.batch_id)}, {payee_reference(payout.payee_id)}",
    )
    transfer_id = ledger.record(tx, movement, now)
    payouts.end(tx, payout.id, PayoutState.SETTLED, key=key, transfer_id=transfer_id, now=now)


def _void(tx: Tx, business: Business, payout: Payout, *, key: str, now: str) -> None:
    # First: the ledger reverses nothing that is still in a payout.
    payouts.end(tx, payout.id, PayoutState.VOID, key=key, transfer_id=None, now=now)
    for transfer_id in payouts.transfers_of(tx, payout.id):
        cause = _cause(business, payout, f"void/{reference_of(transfer_id)}")
        reversal_id = ledger.reverse(tx, transfer_id, cause, now)
        payer = ledger.required(tx, transfer_id).debit_account_id
        adjustments.pass_on(tx, payer, reversal_id, now)
        notifications.notify_not_paid_out(tx, business, transfer_id, now)


def _cause(business: Business, payout: Payout, what: str) -> Cause:
    place = f"{batch_reference(payout.batch_id)}/{payee_reference(payout.payee_id)}"
    return Cause(CauseKind.OPERATOR, f"{business.id}/payout/{place}/{what}")
