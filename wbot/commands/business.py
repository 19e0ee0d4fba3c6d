"""wbot business: the businesses, their numbers and their rules."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from wbot.admin import conflict_resolution
from wbot.admin.waiting_messages import TakenUp, take_up
from wbot.clock import to_text
from wbot.commands.console import (
    WORDS,
    json_option,
    now,
    print_facts,
    print_json,
    print_table,
    reading,
    say,
    warn,
    writing,
)
from wbot.domain.business import Business
from wbot.domain.business_settings import (
    KNOWN,
    OPTIONS,
    RULES,
    changed,
    checked_id,
    described,
    is_literal,
)
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.money import format_amount
from wbot.storage import accounts, businesses, ledger, ledger_queries
from wbot.storage.tx import Tx
from wbot.turns.knowledge import read_knowledge

_ADDED_BY_NAME = (
    "instructions",
    "model",
    *RULES,
    "throughput",
    "error_text",
    "show_payer",
    "knowledge",
    "echo_pause",
    "waba_id",
    "timezone",
)


@click.group()
def business() -> None:
    """The businesses: add, list, show, set, pause, resume."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """The optional settings of a business as options of a command."""
    for name in reversed(_ADDED_BY_NAME):
        flag, meaning = f"--{name.replace('_', '-')}", OPTIONS[name].meaning
        option = click.option(flag, name, type=WORDS, metavar=_metavar(name), help=meaning)
        command = option(command)
    return command


def _metavar(name: str) -> str:
    field = OPTIONS[name].field
    if field.endswith("_minor"):
        return "AMOUNT"
    if field.endswith("_s"):
        return "SECONDS"
    return {"payees": "any|known", "throughput": "N", "daily_count": "N"}.get(name, "TEXT")


@business.command()
@click.argument("business_id", metavar="ID", type=WORDS)
@click.option("--name", required=True, type=WORDS, help=OPTIONS["name"].meaning)
@click.option(
    "--phone-number-id", required=True, type=WORDS, help=OPTIONS["phone_number_id"].meaning
)
@click.option("--access-token", required=True, type=WORDS, help=OPTIONS["access_token"].meaning)
@click.option(
    "--currency", default="USD", show_default=True, type=WORDS, help="Currency of its accounts."
)
@_options
@json_option
def add(*, business_id: str, as_json: bool, **settings: str | None) -> None:
    """Add a business.

    ID is a short name of your own, such as shop. Amounts are decimal strings in the business's
    currency (100.00); a limit not given does not apply. The first business creates the database
    that WBOT_DATABASE or --config names.
    """
    new = Business(
        id=checked_id(business_id),
        name="",
        phone_number_id="",
        access_token="",
        currency_code="USD",
    )
    given = {name: text for name, text in settings.items() if text is not None}
    new = changed(new, _with_knowledge(given))
    with writing(creates=True) as tx:
        businesses.add(tx, new, to_text(now()))
        taken = take_up(tx, new, to_text(now()))
    _warn_of_secret(new, given)
    _report(new, f"Added {new.id}. {taken.sentence}".strip(), as_json=as_json, taken=taken)


def _with_knowledge(given: Mapping[str, str]) -> dict[str, str]:
    """The settings with the file of knowledge read once, and its path from the root."""
    path = given.get("knowledge", "").strip()
    if not path:
        return dict(given)
    absolute = Path(path).expanduser().absolute()
    read_knowledge(absolute)
    return {**given, "knowledge": str(absolute)}


@business.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the businesses."""
    with reading() as tx:
        known = businesses.every(tx)
    if as_json:
        print_json({"businesses": [described(one) for one in known]})
        return
    rows = [
        (one.id, one.name, _status(one), one.phone_number_id, one.currency_code) for one in known
    ]
    columns = ("ID", "Name", "Status", "Phone number id", "Currency")
    print_table(columns, rows, empty="No business yet; add one with `wbot business add`.")


@business.command()
@click.argument("business_id", metavar="ID", type=WORDS)
@json_option
def show(*, business_id: str, as_json: bool) -> None:
    """Show the settings of a business.

    The access token stays hidden.
    """
    with reading() as tx:
        found = businesses.required(tx, business_id)
    _report(found, None, as_json=as_json)


@business.command("set", epilog=f"The keys are {', '.join(KNOWN)}.")
@click.argument("business_id", metavar="ID", type=WORDS)
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True, type=WORDS)
@json_option
def set_(*, business_id: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Change settings of a business.

    For example confirm_above=100.00. An empty value (max_transfer=) restores the default. A
    running service applies changes within two seconds.
    """
    given = _with_knowledge(_read_assignments(assignments))
    with writing() as tx:
        before = businesses.required(tx, business_id)
        after = changed(before, given)
        if after.currency_code != before.currency_code:
            _redenominate(tx, after)
        if after.policy.overdraft_minor != before.policy.overdraft_minor:
            _check_overdraft(tx, after)
        businesses.change(tx, after)
        taken = take_up(tx, after, to_text(now()))
    _warn_of_secret(after, given)
    _report(after, f"Changed {after.id}. {taken.sentence}".strip(), as_json=as_json, taken=taken)


@business.command()
@click.argument("business_id", metavar="ID", type=WORDS)
@json_option
def pause(*, business_id: str, as_json: bool) -> None:
    """Stop answering for a business.

    No new turn starts and nothing new is sent; messages wait.
    """
    _switch(business_id, is_paused=True, as_json=as_json)


@business.command()
@click.argument("business_id", metavar="ID", type=WORDS)
@json_option
def resume(*, business_id: str, as_json: bool) -> None:
    """Answer for a paused business again.

    Waiting messages go first.
    """
    _switch(business_id, is_paused=False, as_json=as_json)


@business.command()
@click.argument("business_id", metavar="ID", type=WORDS)
@json_option
def rekeyed(*, business_id: str, as_json: bool) -> None:
    """Tell that customers come with new user ids, as after a move to another portfolio.

    For seven days a new user id under a known number is the same customer, and keeps the account.
    Those of `wbot customer conflicts` are merged where nothing of theirs is unfinished.
    """
    with writing() as tx:
        found = businesses.required(tx, business_id)
        merged, left = conflict_resolution.take_as_same(tx, found, to_text(now()))
    if as_json:
        print_json({"business": found.id, "merged": merged, "left": left})
        return
    rest = f"; left, see `wbot customer conflicts {found.id}`: {left}" if left else ""
    say(f"New user ids keep their accounts for seven days. Merged: {merged}{rest}.")


def _switch(business_id: str, *, is_paused: bool, as_json: bool) -> None:
    with writing() as tx:
        before = businesses.required(tx, business_id)
        after = msgspec.structs.replace(before, is_paused=is_paused)
        businesses.change(tx, after)
    word = "was already" if before.is_paused is is_paused else "is now"
    _report(after, f"{after.id} {word} {_status(after)}.", as_json=as_json)


def _redenominate(tx: Tx, after: Business) -> None:
    if ledger.has_transfers(tx, after.id):
        raise RefusedError(
            f"The currency of {after.id} cannot change any more: money has moved in its accounts."
        )
    accounts.redenominate(tx, after.id, after.currency_code)


def _check_overdraft(tx: Tx, after: Business) -> None:
    customer, available_minor = ledger_queries.lowest(tx, after.id) or ("", 0)
    limit_minor = after.policy.overdraft_minor
    if available_minor >= -limit_minor:
        return
    owed, limit, missing = (
        f"{format_amount(minor, after.currency)} {after.currency_code}"
        for minor in (-available_minor, limit_minor, -available_minor - limit_minor)
    )
    raise RefusedError(
        f"The overdraft of {after.id} cannot be {limit}: {customer} is already {owed} below zero, "
        f"including held amounts. Deposit at least {missing} there first, or allow {owed}."
    )


def _read_assignments(assignments: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for assignment in assignments:
        name, mark, text = assignment.partition("=")
        if not mark:
            raise MalformedError(
                f"{assignment[:40]!r} is not KEY=VALUE; the keys are {', '.join(KNOWN)}."
            )
        if name in given:
            raise MalformedError(f"{name} is given twice.")
        given[name] = text
    return given


def _report(
    one: Business, sentence: str | None, *, as_json: bool, taken: TakenUp | None = None
) -> None:
    if as_json:
        came = {"messages": msgspec.structs.asdict(taken)} if taken and taken.sentence else {}
        print_json(described(one) | came)
    elif sentence is not None:
        say(sentence)
    else:
        _show(one)


def _show(one: Business) -> None:
    print_facts([(name, _shown(name, value, one)) for name, value in described(one).items()])


_UNITS = {
    **dict.fromkeys(("cancel_window", "echo_pause", "hold_ttl", "repeat_window"), "s"),
    "throughput": "sends a second",
}


def _shown(name: str, value: Any, one: Business) -> str:
    if value is None and name in RULES:
        return "no limit"
    if value in {None, ""}:
        return "-"
    is_amount = name in RULES and RULES[name].is_amount
    unit = one.currency_code if is_amount else _UNITS.get(name, "")
    return f"{value} {unit}".rstrip()


def _status(one: Business) -> str:
    return "paused" if one.is_paused else "active"


def _warn_of_secret(one: Business, given: Mapping[str, str]) -> None:
    if "access_token" in given and is_literal(one.access_token):
        warn(
            "the access token itself was written on the command line, where the shell's history "
            "keeps it, and is now in the database; env:NAME or file:PATH keep it out of both."
        )
