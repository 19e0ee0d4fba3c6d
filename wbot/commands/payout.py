"""wbot payout: what the business owes to payees outside, paid in batches."""

import csv
import sys
from collections.abc import Callable
from typing import Any

import click

from wbot.admin import payout_report
from wbot.admin.ledger_adjustments import checked_key
from wbot.clock import to_text
from wbot.commands.console import (
    WORDS,
    counted,
    json_option,
    now,
    print_json,
    print_table,
    readable,
    reading,
    right,
    say,
    writing,
)
from wbot.domain.escaping import in_csv
from wbot.domain.payouts import batch_id_of, payee_id_of
from wbot.payments import payouts
from wbot.payments.payouts import Ended
from wbot.storage import businesses
from wbot.storage import payouts as storage
from wbot.storage.tx import Tx

COLUMNS = ("batch", "payee", "name", "customer", "amount", "currency", "transfers")

End = Callable[..., Ended]

_business = click.argument("business_id", metavar="BUSINESS", type=WORDS)
_batch = click.argument("batch", metavar="BATCH", type=WORDS)
_payee = click.option("--payee", type=WORDS, metavar="P7", help="Only the payout to this payee.")
_key = click.option(
    "--key", required=True, type=WORDS, help="Makes it idempotent: the same key again does nothing."
)


@click.group()
def payout() -> None:
    """Payees outside: what the business owes them, paid in batches.

    A transfer to a name goes to somebody outside, whom the business pays by its own means. BATCH
    and P7 are the references that `list` shows; each customer has a "John" of their own.
    """


@payout.command("list")
@_business
@json_option
def list_(*, business_id: str, as_json: bool) -> None:
    """List what is owed, and the latest batches."""
    with reading() as tx:
        business = businesses.required(tx, business_id)
        owed = payout_report.owed(tx, business, to_text(now()))
        batches = payout_report.batches(tx, business)
    if as_json:
        common = {"business": business.id, "currency": business.currency_code}
        print_json({**common, "owed": owed, "batches": batches})
        return
    _print_owed(owed, business.currency_code)
    if batches:
        say()
        _print_batches(batches)


@payout.command()
@_business
@json_option
def export(*, business_id: str, as_json: bool) -> None:
    """Make a batch of what is owed, and print it.

    Only what customers can no longer cancel (cancel_window). What is in a batch is never cancelled
    or exported again: pay it, then `settle` or `void` it. CSV, or JSON with --json; `list --json`
    shows it again.
    """
    with writing() as tx:
        business = businesses.required(tx, business_id)
        batch_id = payouts.export(tx, business, to_text(now()))
        found = None if batch_id is None else payout_report.batch(tx, business, batch_id)
    if as_json:
        nothing: dict[str, Any] = {"batch": None, "business": business.id, "payouts": []}
        print_json(nothing if found is None else found)
    elif found is None:
        say(f"Nothing is owed that {business.id} can pay out yet; no batch was made.", err=True)
    else:
        _print_csv(found)


@payout.command()
@_batch
@_payee
@_key
@json_option
def settle(*, batch: str, payee: str | None, key: str, as_json: bool) -> None:
    """Book a batch as paid out."""
    _end(payouts.settle, batch, payee, key=key, as_json=as_json)


@payout.command()
@_batch
@_payee
@_key
@json_option
def void(*, batch: str, payee: str | None, key: str, as_json: bool) -> None:
    """Give a batch back to the customers who paid.

    They are told, if they wrote within the last day.
    """
    _end(payouts.void, batch, payee, key=key, as_json=as_json)


def _end(end: End, batch: str, payee: str | None, *, key: str, as_json: bool) -> None:
    batch_id, payee_id = batch_id_of(batch), None if payee is None else payee_id_of(payee)
    with writing() as tx:
        ended = end(tx, batch_id, payee_id, key=checked_key(key), now=to_text(now()))
        found = _ended(tx, ended)
    if as_json:
        print_json({**found, "repeated": ended.is_repeated})
        return
    again = "Already done under this key. " if ended.is_repeated else ""
    verb = "paid out" if found["state"] == "settled" else "given back to the customers who paid"
    count = counted(len(found["payouts"]), "payee")
    say(f"{again}{found['batch']}: {found['total']} {found['currency']} {verb} ({count}).")


def _ended(tx: Tx, ended: Ended) -> dict[str, Any]:
    row = storage.batch(tx, ended.batch_id)
    business = businesses.required(tx, row["business_id"] if row else "")
    return payout_report.batch(tx, business, ended.batch_id, ended.payout_ids)


def _print_owed(owed: list[dict[str, Any]], currency: str) -> None:
    columns = ("Payee", "Name", "Of customer", right(f"Owed {currency}"), right("Ready"))
    names = ("payee", "name", "customer", "owed", "ready")
    rows = [tuple(one[name] or "-" for name in names) for one in owed]
    print_table(columns, rows, empty="Nothing is owed to payees outside that is in no batch.")


def _print_batches(batches: list[dict[str, Any]]) -> None:
    columns = ("Batch", "Made (UTC)", "Payee", "Name", "Of customer", right("Amount"), "State")
    rows = [
        (
            batch["batch"],
            readable(batch["created_at"], zone=""),
            one["payee"],
            one["name"] or "-",
            one["customer"],
            f"{one['amount']} {batch['currency']}",
            one["state"],
        )
        for batch in batches
        for one in batch["payouts"]
    ]
    print_table(columns, rows, empty="")


def _print_csv(batch: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in batch["payouts"]:
        cells = (
            batch["batch"],
            one["payee"],
            one["name"] or "",
            one["customer"],
            one["amount"],
            batch["currency"],
            " ".join(one["transfers"]),
        )
        writer.writerow([in_csv(cell) for cell in cells])
