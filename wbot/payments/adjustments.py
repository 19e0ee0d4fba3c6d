"""What an operator moves: deposits, withdrawals, reversals, and a merged customer's balance."""

from wbot.domain.business import Business
from wbot.domain.errors import RefusedError
from wbot.domain.ledger import Cause, CauseKind, TransferKind, TransferState, reference_of
from wbot.domain.money import currency_of, format_amount
from wbot.domain.policy import withdrawal_refusal
from wbot.storage import ledger, ledger_queries
from wbot.storage.ledger_queries import Transfer
from wbot.storage.tx import Tx


def deposit(
    tx: Tx,
    business: Business,
    account_id: int,
    *,
    amount_minor: int,
    memo: str | None,
    cause: Cause,
    now: str,
) -> int:
    """Money from the business's account to a customer's; the transfer's number."""
    outside = ledger.account_of_business(tx, business.id)
    movement = ledger.Movement(
        business_id=business.id,
        kind=TransferKind.DEPOSIT,
        debit_account_id=outside,
        credit_account_id=account_id,
        amount_minor=amount_minor,
        currency=business.currency_code,
        cause=cause,
        memo=memo,
    )
    return ledger.record(tx, movement, now)


def withdraw(
    tx: Tx,
    business: Business,
    account_id: int,
    *,
    amount_minor: int,
    memo: str | None,
    cause: Cause,
    now: str,
) -> int:
    """Money back from a customer's account, recorded as refused beyond what is available there."""
    movement = ledger.Movement(
        business_id=business.id,
        kind=TransferKind.WITHDRAWAL,
        debit_account_id=account_id,
        credit_account_id=ledger.account_of_business(tx, business.id),
        amount_minor=amount_minor,
        currency=business.currency_code,
        cause=cause,
        refusal=withdrawal_refusal(amount_minor, ledger.balance(tx, account_id)),
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
    account_id = ledger.find_account(tx, from_id)
    amount_minor = 0 if account_id is None else ledger.balance(tx, account_id).posted_minor
    if account_id is None or amount_minor == 0:
        return
    account = ledger.account(tx, account_id)
    into_account_id = ledger.account_of_customer(tx, account["business_id"], into_id)
    # A debt moves too: then the money goes the other way.
    ways = (account_id, into_account_id) if amount_minor > 0 else (into_account_id, account_id)
    movement = ledger.Movement(
        business_id=account["business_id"],
        kind=TransferKind.MERGE,
        debit_account_id=ways[0],
        credit_account_id=ways[1],
        amount_minor=abs(amount_minor),
        currency=account["currency"],
        cause=merge_cause(from_id, into_id, why),
    )
    ledger.record(tx, movement, now)


def _check_reversible(tx: Tx, transfer: Transfer, holder_id: int) -> None:
    reference = reference_of(transfer.id)
    if transfer.kind == TransferKind.MERGE:
        raise RefusedError(f"{reference} moved a balance in a merge, which cannot be undone.")
    holder = ledger_queries.account(tx, holder_id)
    available_minor = ledger.balance(tx, holder_id).available_minor
    if holder.kind != "business" and available_minor < transfer.amount_minor:
        currency = currency_of(transfer.currency)
        raise RefusedError(
            f"Reversing {reference} would overdraw the account of {holder.holder}: "
            f"{format_amount(transfer.amount_minor, currency)} {currency.code} would have to come "
            f"back, and {format_amount(available_minor, currency)} is available."
        )
