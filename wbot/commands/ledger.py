"""wbot ledger: customers' money, and verification of the books."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from wbot.admin import customer_lookup, ledger_adjustments
from wbot.admin.ledger_adjustments import Booked, Order, Reversed
from wbot.admin.ledger_export import csv_lines, hledger_lines
from wbot.clock import from_text, to_text
from wbot.commands.console import (
    DAY,
    WORDS,
    counted,
    fail,
    json_option,
    now,
    print_facts,
    print_json,
    print_table,
    reading,
    right,
    say,
    warn,
    writing,
)
from wbot.domain.business import Business
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.ledger import Balance, Entry, TransferState, reference_of
from wbot.domain.money import Currency, currency_of, format_amount
from wbot.domain.timezones import zone
from wbot.storage import (
    accounts,
    businesses,
    customers,
    invariants,
    ledger_history,
    ledger_queries,
)
from wbot.storage.ledger_queries import Selection
from wbot.storage.tx import Tx

ENTRIES_MAX = 1_000_000
"""Entries of one statement: in practice all of them."""

Book = Callable[[Tx, Business, Order, str], Booked]
ExportLines = Callable[[Tx, Selection], Iterator[str]]

FORMATS: dict[str, ExportLines] = {"csv": csv_lines, "hledger": hledger_lines}


@click.group()
def ledger() -> None:
    """Customers' money: deposits, withdrawals, balances, and verification of the books.

    CUSTOMER is a phone number (5 to 20 digits, + allowed) or a business-scoped user id. AMOUNT is
    a decimal string in the business's currency, such as 100.00.
    """


_business = click.argument("business_id", metavar="BUSINESS", type=WORDS)
_customer = click.argument("customer", metavar="CUSTOMER", type=WORDS)
_amount = click.argument("amount", metavar="AMOUNT", type=WORDS)
_memo = click.option("--memo", type=WORDS, help="Note for statements and exports.")
_key = click.option(
    "--key", type=WORDS, help="Makes it idempotent: the same key again changes nothing."
)


@ledger.command()
@_business
@_customer
@_amount
@_memo
@_key
@json_option
def deposit(*, business_id: str, as_json: bool, **order: Any) -> None:
    """Credit a customer; an unknown one is created."""
    _book(ledger_adjustments.deposit, business_id, Order(**order), as_json=as_json)


@ledger.command()
@_business
@_customer
@_amount
@_memo
@_key
@json_option
def withdraw(*, business_id: str, as_json: bool, **order: Any) -> None:
    """Debit a customer, never beyond what is available.

    A refusal is kept in the statement; the same --key gets the same refusal again.
    """
    _book(ledger_adjustments.withdraw, business_id, Order(**order), as_json=as_json)


@ledger.command()
@_business
@_customer
@json_option
def balance(*, business_id: str, customer: str, as_json: bool) -> None:
    """Show a customer's balance.

    Available is what can be spent, held what pending transfers reserve, posted the sum of both.
    """
    with reading() as tx:
        business = businesses.required(tx, business_id)
        person = customer_lookup.required(tx, business, customer)
        account_id = accounts.find(tx, person.customer_id)
        found = Balance(0, 0) if account_id is None else accounts.balance(tx, account_id)
    figures = _figures(found, business.currency)
    common = {"business": business.id, "customer": person.label, "currency": business.currency_code}
    if as_json:
        print_json({**common, **figures})
    else:
        print_facts([(name, f"{text} {business.currency_code}") for name, text in figures.items()])


@ledger.command()
@_business
@_customer
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@json_option
def statement(*, business_id: str, customer: str, limit: int | None, as_json: bool) -> None:
    """List a customer's transfers, newest first.

    Each with its state: pending (waits for the customer's yes), posted, void (cancelled or not
    confirmed in time: nothing moved), reversed, or refused, with the reason.
    """
    with reading() as tx:
        business = businesses.required(tx, business_id)
        person = customer_lookup.required(tx, business, customer)
        account_id = accounts.find(tx, person.customer_id)
        most = limit or ENTRIES_MAX
        found = [] if account_id is None else ledger_history.entries(tx, account_id, most)
        merged = customers.merged_from(tx, person.customer_id)
    if as_json:
        print_json({"entries": [_entry(entry, business) for entry in found]})
        return
    _print_statement(found, business, person.label)
    for customer_id in merged:
        older = customer_lookup.reference_of(customer_id)
        say(f"Transfers of {older} before the merge are under {older}.")


@ledger.command()
@json_option
def verify(*, as_json: bool) -> None:
    """Verify the books.

    Recomputes every balance from its postings and checks every invariant of the ledger.
    """
    with reading() as tx:
        found, counts = invariants.breaches(tx), ledger_queries.counts(tx)
    if as_json:
        print_json({"ok": not found, "breaches": found})
    else:
        for breach in found:
            say(breach)
    checked = (
        f"checked {counted(counts.transfers, 'transfer')}, {counted(counts.postings, 'posting')} "
        f"and {counted(counts.accounts, 'account')}"
    )
    if found:
        fail(f"the books are wrong in {counted(len(found), 'place')}; {checked}.")
    if not as_json:
        say(f"The books are right; {checked}.")


@ledger.command()
@click.argument("transfer", metavar="TRANSFER", type=WORDS)
@json_option
def reverse(*, transfer: str, as_json: bool) -> None:
    """Reverse a posted transfer in full.

    TRANSFER is its reference, T12 or 12. Refused if it would overdraw an account.
    """
    with writing() as tx:
        done = ledger_adjustments.reverse(tx, transfer, to_text(now()))
    if as_json:
        print_json(_reversal(done))
    else:
        say(_reversal_sentence(done))


@ledger.command()
@click.option(
    "--format",
    "style",
    type=click.Choice(list(FORMATS)),
    default="csv",
    show_default=True,
    help="csv: every transfer; hledger: a journal of what was posted.",
)
@click.option("--business", "business_id", type=WORDS, help="Only this business.")
@click.option("--since", type=DAY, help="From the start of this day, such as 2026-11-01.")
@click.option("--until", type=DAY, help="To the end of this day, inclusive.")
def export(*, style: str, business_id: str | None, since: str | None, until: str | None) -> None:
    """Print the ledger for other programs.

    Oldest first: a CSV file for a spreadsheet, or a journal that hledger and ledger-cli read. Days
    are UTC: the day of the request in the CSV file, the day of posting in the journal.
    """
    if since is not None and until is not None and since > until:
        raise MalformedError(f"The period ends on {until}, before it starts on {since}.")
    lines = FORMATS[style]
    wanted = Selection(business_id=business_id, since=since, until=until)
    with reading() as tx:
        if business_id is not None:
            businesses.required(tx, business_id)
        sys.stdout.writelines(f"{line}\n" for line in lines(tx, wanted))


def _book(book: Book, business_id: str, order: Order, *, as_json: bool) -> None:
    with writing() as tx:
        business = businesses.required(tx, business_id)
        booked = book(tx, business, order, to_text(now()))
    if booked.person.other_spelling is not None:
        warn(
            f"+{booked.person.label} is the customer +{booked.person.other_spelling}: the same "
            "number in its country's other spelling."
        )
    if booked.transfer.state is TransferState.REFUSED:
        raise RefusedError(_refusal(booked, business))
    if as_json:
        print_json(_booking(booked, business))
    else:
        say(_sentence(booked, business))


def _booking(booked: Booked, business: Business) -> dict[str, Any]:
    transfer = booked.transfer
    return {
        "transfer": reference_of(transfer.id),
        "business": business.id,
        "customer": booked.person.label,
        "kind": transfer.kind,
        "amount": format_amount(transfer.amount_minor, business.currency),
        "currency": business.currency_code,
        "state": transfer.state,
        "repeated": booked.is_repeated,
        "available": _figures(booked.balance, business.currency)["available"],
    }


def _sentence(booked: Booked, business: Business) -> str:
    facts = _booking(booked, business)
    verb = "deposited for" if facts["kind"] == "deposit" else "withdrawn from"
    sentence = (
        f"{facts['transfer']}: {facts['amount']} {facts['currency']} {verb} {facts['customer']}; "
        f"available now: {facts['available']} {facts['currency']}."
    )
    if not booked.is_repeated:
        return sentence
    since = ", and was reversed since" if booked.transfer.state is TransferState.REVERSED else ""
    return f"Already done under this key{since}. {sentence}"


def _refusal(booked: Booked, business: Business) -> str:
    facts = _booking(booked, business)
    again = "already " if booked.is_repeated else ""
    return (
        f"{facts['transfer']} was {again}refused: {facts['amount']} {facts['currency']} is more "
        f"than {facts['customer']} had; available now: {facts['available']}."
    )


def _figures(found: Balance, currency: Currency) -> dict[str, str]:
    return {
        "available": format_amount(found.available_minor, currency),
        "held": format_amount(found.held_minor, currency),
        "posted": format_amount(found.posted_minor, currency),
    }


def _entry(entry: Entry, business: Business) -> dict[str, Any]:
    return {
        "transfer": entry.reference,
        "kind": entry.kind,
        "amount": format_amount(entry.amount_minor, business.currency),
        "currency": business.currency_code,
        "direction": "in" if entry.is_incoming else "out",
        "counterparty": entry.counterparty,
        "state": entry.state,
        "message_id": entry.message_id,
        "created_at": entry.created_at,
    }


def _print_statement(found: list[Entry], business: Business, label: str) -> None:
    here = zone(business.zone_name)
    columns = (
        "Transfer",
        f"Time ({business.zone_name})",
        "Kind",
        right(f"Amount {business.currency_code}"),
    )
    rows = [
        (
            entry.reference,
            f"{from_text(entry.created_at).astimezone(here):%Y-%m-%d %H:%M:%S}",
            entry.kind,
            ("" if entry.is_incoming else "-")
            + format_amount(entry.amount_minor, business.currency),
            f"{entry.counterparty} (outside)" if entry.is_outside else entry.counterparty,
            _state(entry),
            entry.memo or "",
        )
        for entry in found
    ]
    print_table(
        (*columns, "From or to", "State", "Memo"),
        rows,
        empty=f"No money has moved for {label} yet.",
    )


def _state(entry: Entry) -> str:
    why = "" if entry.refusal is None else f": {entry.refusal.replace('_', ' ')}"
    return f"{entry.state}{why}"


def _reversal(done: Reversed) -> dict[str, Any]:
    transfer = done.transfer
    return {
        "transfer": reference_of(transfer.id),
        "reversal": reference_of(done.reversal_id),
        "business": transfer.business_id,
        "amount": format_amount(transfer.amount_minor, currency_of(transfer.currency)),
        "currency": transfer.currency,
        "back_to": done.passed_on_to or done.back_to,
        "state": TransferState.REVERSED,
    }


def _reversal_sentence(done: Reversed) -> str:
    facts = _reversal(done)
    passed_on = "" if done.passed_on_to is None else f", into whom {done.back_to} was merged"
    return (
        f"{facts['reversal']} reverses {facts['transfer']}: {facts['amount']} {facts['currency']} "
        f"is back with {facts['back_to']}{passed_on}."
    )
