"""Merge two customers that are one person: balance, aliases and payees, in one transaction."""

import msgspec

from wbot.admin import customer_lookup
from wbot.admin.customer_lookup import Person
from wbot.domain.business import Business
from wbot.domain.errors import RefusedError
from wbot.domain.money import format_amount
from wbot.payments import adjustments
from wbot.storage import (
    accounts,
    customers,
    ledger,
    ledger_history,
    messages,
    outbox_queries,
    payees,
)
from wbot.storage.tx import Tx


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What a merge did; `transfer_id` is None if there was no money to move."""

    from_id: int
    into: Person
    transfer_id: int | None
    amount_minor: int
    is_repeated: bool


def merge(tx: Tx, business: Business, *, from_text: str, into_text: str, now: str) -> Merged:
    """Merge one customer into another; raises RefusedError where that is not allowed.

    The history stays with the account it happened on. A payee whose name both use stays with the
    merged customer: two accounts cannot become one without rewriting the ledger, and the same
    name need not be the same person. No money is lost by that, since a payee's account only
    receives: it stays in the books, in exports and under `customer show` of both, its transfers
    can still be reversed, and new payments to that name go to the merged customer's payee.
    """
    into = customer_lookup.required(tx, business, into_text)
    earlier = _find_earlier_merge(tx, business, from_text, into)
    if earlier is not None:
        return earlier
    source = customer_lookup.required(tx, business, from_text)
    _check(tx, source, into)
    _check_debt(tx, business, source, into)
    adjustments.move_balance(tx, source.customer_id, into.customer_id, now=now)
    customers.hand_over_aliases(tx, source.customer_id, into.customer_id, now)
    payees.hand_over(tx, source.customer_id, into.customer_id)
    customers.mark_merged(tx, source.customer_id, into.customer_id)
    return _merged(tx, source.customer_id, into, is_repeated=False)


def _find_earlier_merge(tx: Tx, business: Business, from_text: str, into: Person) -> Merged | None:
    """The merge, if it was done before: since then the alias belongs to the other customer."""
    person = customer_lookup.find(tx, business, from_text)
    if person is None:
        return None
    if person.customer_id == into.customer_id:
        candidates = customers.former(tx, business.id, person.label)
    else:
        candidates = [person.customer_id]
    for customer_id in candidates:
        if customers.survivor(tx, customer_id) == into.customer_id:
            return _merged(tx, customer_id, into, is_repeated=True)
    if person.customer_id == into.customer_id:
        raise RefusedError(f"{from_text} and {into.label} are already one customer.")
    return None


def _check(tx: Tx, source: Person, into: Person) -> None:
    for person in (source, into):
        survivor = customers.survivor(tx, person.customer_id)
        if survivor != person.customer_id:
            raise RefusedError(
                f"{person.label} was already merged into {customers.label(tx, survivor)}."
            )
        if messages.unfinished_of(tx, person.customer_id):
            raise RefusedError(
                f"A message of {person.label} is not answered yet; merge once it is."
            )
        if outbox_queries.unsettled_of(tx, person.customer_id):
            raise RefusedError(
                f"A reply to {person.label} is still being sent; merge once it is sent."
            )
        account_id = accounts.find(tx, person.customer_id)
        if account_id is None:
            continue
        if accounts.balance(tx, account_id).held_minor or ledger_history.has_incoming_open(
            tx, account_id
        ):
            raise RefusedError(f"Money of {person.label} is on hold; merge once that is settled.")


def _check_debt(tx: Tx, business: Business, source: Person, into: Person) -> None:
    """Two debts may each be within the overdraft, and their sum beyond it."""
    found = [accounts.find(tx, one.customer_id) for one in (source, into)]
    sums = [accounts.balance(tx, one).posted_minor for one in found if one is not None]
    lacking_minor = -business.policy.overdraft_minor - sum(sums)
    if lacking_minor > 0:
        lacking = f"{format_amount(lacking_minor, business.currency)} {business.currency_code}"
        raise RefusedError(
            f"Together {source.label} and {into.label} would owe {lacking} more than the "
            "overdraft allows; deposit that first."
        )


def _merged(tx: Tx, from_id: int, into: Person, *, is_repeated: bool) -> Merged:
    row = customers.by_id(tx, from_id)
    moved = ledger.by_cause(tx, adjustments.merge_cause(from_id, row.merged_into if row else None))
    return Merged(
        from_id=from_id,
        into=into,
        transfer_id=None if moved is None else int(moved.id),
        amount_minor=0 if moved is None else int(moved.amount_minor),
        is_repeated=is_repeated,
    )
