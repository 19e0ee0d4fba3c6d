"""wbot customer and wbot payee: customers, their aliases and their payees."""

from typing import Any

import click
import msgspec

from wbot.admin import customer_lookup, customer_merge
from wbot.admin.customer_merge import Merged
from wbot.clock import to_text
from wbot.commands.console import (
    WORDS,
    json_option,
    now,
    print_facts,
    print_json,
    print_table,
    readable,
    reading,
    right,
    say,
    writing,
)
from wbot.domain.business import Business
from wbot.domain.ledger import reference_of
from wbot.domain.money import format_amount
from wbot.storage import businesses, conflicts, customers, payees
from wbot.storage.tx import Tx

_business = click.argument("business_id", metavar="BUSINESS", type=WORDS)
_customer = click.argument("text", metavar="CUSTOMER", type=WORDS)


@click.group()
def customer() -> None:
    """Customers: list, show, merge.

    CUSTOMER, FROM and INTO are a phone number (5 to 20 digits, + allowed), a business-scoped user
    id, or the reference that `list` shows (C3).
    """


@click.group()
def payee() -> None:
    """The payees of customers."""


@customer.command("list")
@_business
@json_option
def list_(*, business_id: str, as_json: bool) -> None:
    """List a business's customers, oldest first."""
    with reading() as tx:
        business = businesses.required(tx, business_id)
        found = [_summary(row, business) for row in customers.listed(tx, business.id)]
    if as_json:
        print_json({"customers": found})
        return
    available = right(f"Available {business.currency_code}")
    columns = ("Ref", "Customer", "Name", available, right("Messages"), "Last message (UTC)", "")
    rows = [
        (
            one["id"],
            one["customer"],
            one["name"] or "-",
            one["available"],
            str(one["messages"]),
            readable(one["last_message_at"], zone=""),
            f"merged into {one['merged_into']}" if one["merged_into"] else "",
        )
        for one in found
    ]
    print_table(columns, rows, empty=f"{business.id} has no customers yet.")


@customer.command()
@_business
@_customer
@json_option
def show(*, business_id: str, text: str, as_json: bool) -> None:
    """Show one customer: aliases, money, payees, merges."""
    with reading() as tx:
        business = businesses.required(tx, business_id)
        person = customer_lookup.required(tx, business, text)
        found = _details(tx, business, person.customer_id)
    if as_json:
        print_json(found)
    else:
        _print_details(found)


@customer.command()
@_business
@click.argument("from_text", metavar="FROM", type=WORDS)
@click.argument("into_text", metavar="INTO", type=WORDS)
@json_option
def merge(*, business_id: str, from_text: str, into_text: str, as_json: bool) -> None:
    """Merge two customers into one.

    FROM's money, aliases and payees move to INTO. Refused while a message or reply of either is
    unfinished. Earlier transfers stay under FROM's reference; repeating the merge changes nothing.
    """
    with writing() as tx:
        business = businesses.required(tx, business_id)
        merged = customer_merge.merge(
            tx, business, from_text=from_text, into_text=into_text, now=to_text(now())
        )
    facts = _merger(merged, business)
    if as_json:
        print_json(facts)
        return
    money = f"{facts['amount']} {facts['currency']}"
    moved = f"{money} moved with {facts['transfer']}" if facts["transfer"] else "no money to move"
    already = "was already" if merged.is_repeated else "is now"
    say(f"{facts['from']} {already} merged into {facts['into']}: {moved}.")


@customer.command("conflicts")
@_business
@json_option
def list_conflicts(*, business_id: str, as_json: bool) -> None:
    """List customers who came under a known number with another user id.

    They read no balance and move no money until you decide: `merge` if both are one person,
    `trust` if not; `wbot business rekeyed` if all customers come with new user ids.
    """
    with reading() as tx:
        business = businesses.required(tx, business_id)
        found = [_conflict(one, business.id) for one in conflicts.every(tx, business.id)]
    if as_json:
        print_json({"conflicts": found})
        return
    rows = [
        (one["customer"], one["former"], readable(one["since"], zone=""), one["same"], one["other"])
        for one in found
    ]
    columns = ("New", "Had the number", "Since (UTC)", "If one person", "If not")
    print_table(columns, rows, empty=f"{business.id} has no conflicts.")


def _conflict(one: conflicts.Conflict, business_id: str) -> dict[str, str]:
    heir, former = f"C{one.customer_id}", f"C{one.former_id}"
    return {
        "customer": heir,
        "former": former,
        "since": one.created_at,
        "same": f"wbot customer merge {business_id} {heir} {former}",
        "other": f"wbot customer trust {business_id} {heir}",
    }


@customer.command()
@_business
@_customer
@json_option
def trust(*, business_id: str, text: str, as_json: bool) -> None:
    """Let a customer of `conflicts` act as a person of their own."""
    with writing() as tx:
        business = businesses.required(tx, business_id)
        person = customer_lookup.required(tx, business, text)
        was_held = conflicts.release(tx, person.customer_id)
    if as_json:
        print_json({"business": business.id, "customer": person.label, "was_held": was_held})
    else:
        word = "is now" if was_held else "was already"
        say(f"{person.label} {word} trusted.")


@payee.command("add")
@_business
@_customer
@click.argument("name", metavar="NAME", type=WORDS)
@json_option
def add(*, business_id: str, text: str, name: str, as_json: bool) -> None:
    """Make NAME a known payee of the customer.

    NAME may be another customer's phone number, or a name for it ("Bob +15550101002"). The
    customer can then pay them even if the business allows known payees only, and without the limit
    for new payees.
    """
    with writing() as tx:
        business = businesses.required(tx, business_id)
        person = customer_lookup.required(tx, business, text)
        made = customer_lookup.make_payee(tx, business, person, name, to_text(now()))
    if as_json:
        facts = {"business": business.id, "customer": person.label}
        print_json({**facts, "payee": made.name, "created": made.is_new})
    else:
        word = "is now" if made.is_new else "was already"
        say(f"{made.name} {word} a payee of {person.label}.")


def _summary(row: customers.Summary, business: Business) -> dict[str, Any]:
    merged_into = row.merged_into
    available_minor = row.posted_minor - row.held_minor
    return {
        "id": customer_lookup.reference_of(row.id),
        "customer": row.label,
        "name": row.name,
        "currency": business.currency_code,
        "available": format_amount(available_minor, business.currency),
        "held": format_amount(row.held_minor, business.currency),
        "posted": format_amount(row.posted_minor, business.currency),
        "messages": row.messages,
        "last_message_at": row.last_inbound_at,
        "merged_into": customer_lookup.reference_of(merged_into) if merged_into else None,
    }


def _details(tx: Tx, business: Business, customer_id: int) -> dict[str, Any]:
    row = customers.summary(tx, customer_id)
    merged = customers.merged_from(tx, customer_id)
    # Payees that a merge left behind belong to the same person: show them too.
    owners = [customer_id, *merged]
    return {
        "business": business.id,
        **_summary(row, business),
        "account": row.account_id,
        "created_at": row.created_at,
        "merged_from": [customer_lookup.reference_of(one) for one in merged],
        "aliases": [msgspec.to_builtins(alias) for alias in customers.aliases(tx, customer_id)],
        "payees": [
            {
                "payee": f"P{one.id}",
                "name": one.name,
                "number": one.number,
                "received": format_amount(one.posted_minor, business.currency),
                "of": customer_lookup.reference_of(owner),
            }
            for owner in owners
            for one in payees.of_customer(tx, owner)
        ],
    }


def _print_details(found: dict[str, Any]) -> None:
    unit = found["currency"]
    facts = [
        ("Reference", found["id"]),
        ("Name", found["name"] or "-"),
        ("Available", f"{found['available']} {unit}"),
        ("Held", f"{found['held']} {unit}"),
        ("Account", str(found["account"] or "none yet")),
        ("Messages", str(found["messages"])),
        ("Last message", readable(found["last_message_at"])),
        ("Known since", readable(found["created_at"])),
        *[("Merged into", one) for one in [found["merged_into"]] if one],
        *[("Merged from", one) for one in found["merged_from"]],
        *[(_alias_name(one), _alias_text(one)) for one in found["aliases"]],
        *[("Payee", _payee_text(one, found)) for one in found["payees"]],
    ]
    print_facts(facts)


def _alias_name(alias: dict[str, Any]) -> str:
    return "Phone" if alias["kind"] == "phone" else "User id"


def _alias_text(alias: dict[str, Any]) -> str:
    since = f"{alias['value']}, since {readable(alias['first_seen_at'])}"
    return (
        since if alias["retired_at"] is None else f"{since} until {readable(alias['retired_at'])}"
    )


def _payee_text(one: dict[str, Any], found: dict[str, Any]) -> str:
    if one["number"] is not None:
        text = f"{one['name']}, a customer: +{one['number']}"
    else:
        received = f"received {one['received']} {found['currency']}"
        text = f"{one['name']} ({one['payee']}), outside: {received}"
    return text if one["of"] == found["id"] else f"{text} (from {one['of']} before the merge)"


def _merger(merged: Merged, business: Business) -> dict[str, Any]:
    transfer_id = merged.transfer_id
    return {
        "business": business.id,
        "from": customer_lookup.reference_of(merged.from_id),
        "into": merged.into.label,
        "transfer": None if transfer_id is None else reference_of(transfer_id),
        "amount": format_amount(merged.amount_minor, business.currency),
        "currency": business.currency_code,
        "repeated": merged.is_repeated,
    }
