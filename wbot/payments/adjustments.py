"""What an operator moves: deposits, withdrawals, reversals, and a merged customer's balance."""

from wbot.domain.business import Business
from wbot.domain.errors import RefusedError
from wbot.domain.ledger import Cause, CauseKind, TransferKind, TransferState, reference_of
from wbot.domain.money import currency_of, format_amount
from wbot.domain.payouts import batch_reference, payee_reference
from wbot.domain.policy import withdrawal_refusal
from wbot.domain.states import PayoutState
from wbot.storage import accounts, customers, ledger, ledger_queries, payouts
from wbot.storage.ledger_queries import Transfer
from wbot.storage.tx import Tx


def adjust(
    tx: Tx,
    business: Business,
    account_id: int,
    *,
    kind: TransferKind,
    amount_minor: int,
    memo: str | None,
    cause: Cause,
    now: str,
) -> int:
    """A deposit to a customer's account, or a withdrawal from it; the transfer's number.

    A withdrawal beyond what is available there is recorded as refused.
    """
    outside, is_deposit = accounts.of_business(tx, business.id), kind is TransferKind.DEPOSIT
    refusal = None
    if not is_deposit:
        refusal = withdrawal_refusal(amount_minor, accounts.balance(tx, account_id))
    movement = ledger.Movement(
        business_id=business.id,
        kind=kind,
        debit_account_id=outside if is_deposit else account_id,
        credit_account_id=account_id if is_deposit else outside,
        amount_minor=amount_minor,
        currency=business.currency_code,
        cause=cause,
        refusal=refusal,
        memo=memo,
    )
    return ledger.record(tx, movement, now)


def reverse(tx: Tx, transfer: Transfer, now: str) -> int:
    """Mirror a posted transfer; the reversal's number.

    Raises RefusedError where that may not be.
    """
    if transfer.state is TransferState.POSTED and transfer.credit_account_id is not None:
        _check_reversible(tx, transfer, transfer.credit_account_id)
    cause = Cause(CauseKind.OPERATOR, f"{transfer.business_id}/reverse/{reference_of(transfer.id)}")
    return ledger.reverse(tx, transfer.id, cause, now)


def merge_cause(from_id: int, into_id: int | None, why: str = "") -> Cause:
    """What makes one customer's balance move to another once: both, and why if it is no merge."""
    return Cause(CauseKind.OPERATOR, f"merge:{from_id}:{into_id}{why and f':{why}'}")


def move_balance(tx: Tx, from_id: int, into_id: int, *, now: str, why: str = "") -> None:
    """Move what the first customer has to the second, if anything.

    The transfer's key names both, and why where that is not the merge itself.
    """
    account_id = accounts.find(tx, from_id)
    amount_minor = 0 if account_id is None else accounts.balance(tx, account_id).posted_minor
    if account_id is None or amount_minor == 0:
        return
    account = accounts.by_id(tx, account_id)
    into_account_id = accounts.of_customer(tx, account.business_id, into_id)
    # A debt moves too: then the money goes the other way.
    ways = (account_id, into_account_id) if amount_minor > 0 else (into_account_id, account_id)
    movement = ledger.Movement(
        business_id=account.business_id,
        kind=TransferKind.MERGE,
        debit_account_id=ways[0],
        credit_account_id=ways[1],
        amount_minor=abs(amount_minor),
        currency=account.currency,
        cause=merge_cause(from_id, into_id, why),
    )
    ledger.record(tx, movement, now)


def pass_on(tx: Tx, account_id: int, reversal_id: int, now: str) -> int | None:
    """Pass money returned to a customer who was merged since on; the surviving customer, if so."""
    owner = accounts.by_id(tx, account_id).customer_id
    survivor = None if owner is None else customers.survivor(tx, owner)
    if owner is None or survivor is None or survivor == owner:
        return None
    move_balance(tx, owner, survivor, why=reference_of(reversal_id), now=now)
    return survivor


def _check_reversible(tx: Tx, transfer: Transfer, holder_id: int) -> None:
    reference = reference_of(transfer.id)
    if transfer.kind == TransferKind.MERGE:
        raise RefusedError(f"{reference} moved a balance in a merge, which cannot be undone.")
    _check_no_payout(tx, transfer)
    holder = ledger_queries.account(tx, holder_id)
    available_minor = accounts.balance(tx, holder_id).available_minor
    if holder.kind != "business" and available_minor < transfer.amount_minor:
        currency = currency_of(transfer.currency)
        raise RefusedError(
            f"Reversing {reference} would overdraw the account of {holder.holder}: "
            f"{format_amount(transfer.amount_minor, currency)} {currency.code} would have to come "
            f"back, and {format_amount(available_minor, currency)} is available."
        )


def _check_no_payout(tx: Tx, transfer: Transfer) -> None:
    reference = reference_of(transfer.id)
    if transfer.kind == TransferKind.PAYOUT:
        raise RefusedError(f"{reference} settled a payout, which cannot be undone.")
    found = payouts.of_transfer(tx, transfer.id)
    if found is not None and found.state != PayoutState.VOID:
        batch, payee = batch_reference(found.batch_id), payee_reference(found.payee_id)
        how = (
            "it has been paid out"
            if found.state == PayoutState.SETTLED
            else f"`wbot payout void {batch} --payee {payee} --key K` gives it back"
        )
        raise RefusedError(f"{reference} is in the payout {batch} to {payee}: {how}.")
