"""The businesses and their configuration."""

import sqlite3
from difflib import get_close_matches
from typing import Any

import msgspec

from wbot.domain.business import Business, PayeeRule, Policy, ShowPayer, Switch
from wbot.domain.errors import ConfigurationError, RefusedError
from wbot.storage.tx import Cursor, Row, Tx

_POLICY = Policy.__struct_fields__
_COLUMNS = (
    "id, name, phone_number_id, access_token, currency AS currency_code, "
    "status = 'paused' AS is_paused, instructions, model, throughput, error_text, show_payer, "
    "knowledge, timezone, number, echo_pause_s, waba_id, " + ", ".join(_POLICY)
)
_STORED = (
    *("name", "phone_number_id", "access_token", "instructions", "model", "throughput"),
    *("error_text", "show_payer", "knowledge", "timezone", "number", "echo_pause_s", "waba_id"),
    *("currency", "status"),
    *_POLICY,
)
_SELECT = f"SELECT {_COLUMNS} FROM businesses"  # noqa: S608  our own column names
_INSERT = (
    f"INSERT INTO businesses (id, created_at, {', '.join(_STORED)}) "  # noqa: S608  our own names
    f"VALUES (:id, :created_at, {', '.join(f':{name}' for name in _STORED)})"
)
_CHANGE = (
    f"UPDATE businesses SET {', '.join(f'{name} = :{name}' for name in _STORED)} "  # noqa: S608  ours
    "WHERE id = :id"
)


def by_id(tx: Tx, business_id: str) -> Business | None:
    """The business, or None."""
    return _one(tx.execute(f"{_SELECT} WHERE id = ?", (business_id,)))


def by_phone_number_id(tx: Tx, phone_number_id: str) -> Business | None:
    """The business whose number this is, or None."""
    return _one(tx.execute(f"{_SELECT} WHERE phone_number_id = ?", (phone_number_id,)))


def every(tx: Tx) -> list[Business]:
    """All businesses, by id."""
    return [_business(row) for row in tx.execute(f"{_SELECT} ORDER BY id").fetchall()]


def models(tx: Tx) -> set[str | None]:
    """The models that active businesses name; None stands for the default one."""
    rows = tx.execute("SELECT DISTINCT model FROM businesses WHERE status = 'active'").fetchall()
    return {row[0] or None for row in rows}


def count_active(tx: Tx) -> int:
    """How many businesses there are that are not paused."""
    row = tx.execute("SELECT count(*) FROM businesses WHERE status = 'active'").fetchone()
    return int(row[0])


def required(tx: Tx, business_id: str) -> Business:
    """The business; raises ConfigurationError with a sentence that names the ones there are."""
    business = by_id(tx, business_id)
    if business is None:
        raise ConfigurationError(_unknown(tx, business_id))
    return business


def _unknown(tx: Tx, business_id: str) -> str:
    sentence = f"There is no business {business_id[:64]!r}"
    known = [str(row[0]) for row in tx.execute("SELECT id FROM businesses ORDER BY id")]
    if not known:
        return f"{sentence}; add one with `wbot business add`."
    near = get_close_matches(business_id, known, n=1)
    hint = f"did you mean {near[0]}? All" if near and len(known) > 1 else "known"
    return f"{sentence}; {hint}: {', '.join(known)}."


def add(tx: Tx, business: Business, now: str) -> None:
    """Insert a business; raises RefusedError where its id or number is taken."""
    values = _row_of(business) | {"id": business.id, "created_at": now}
    try:
        tx.execute(_INSERT, values)
    except sqlite3.IntegrityError as error:
        raise RefusedError(_taken(tx, business)) from error


def learn_number(tx: Tx, business: Business, number: str | None) -> None:
    """Store the business's own number as WhatsApp names it, where it is another one than before."""
    digits = "".join(c for c in number or "" if c in "0123456789")
    if digits and digits != business.number:
        tx.execute("UPDATE businesses SET number = ? WHERE id = ?", (digits, business.id))


def change(tx: Tx, business: Business) -> None:
    """Store a changed business; raises RefusedError where its number is taken."""
    try:
        tx.execute(_CHANGE, _row_of(business) | {"id": business.id})
    except sqlite3.IntegrityError as error:
        raise RefusedError(
            f"Another business has the phone number id {business.phone_number_id!r}; "
            "`wbot business list` shows which."
        ) from error


def _taken(tx: Tx, business: Business) -> str:
    owner = by_phone_number_id(tx, business.phone_number_id)
    if owner is not None and owner.id != business.id:
        return (
            f"The phone number id {business.phone_number_id!r} already exists here: it belongs to "
            f"{owner.id}; see `wbot business show {owner.id}`."
        )
    return (
        f"A business {business.id!r} already exists; change it with "
        f"`wbot business set {business.id} NAME=VALUE`."
    )


def _row_of(business: Business) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(business)
    values |= values["policy"]
    values["currency"] = business.currency_code
    values["status"] = "paused" if business.is_paused else "active"
    return {name: values[name] for name in _STORED}


def _one(cursor: Cursor) -> Business | None:
    row = cursor.fetchone()
    return None if row is None else _business(row)


def _business(row: Row) -> Business:
    # Not by msgspec.convert: it learns a type at first use, and where two threads (a reader's and
    # the writer's) do so at once, msgspec 0.22 ends the process with a segmentation fault.
    values: dict[str, Any] = dict(row)
    policy: dict[str, Any] = {name: values.pop(name) for name in _POLICY}
    policy["payees"] = PayeeRule(policy["payees"])
    policy["own_words"] = Switch(policy["own_words"])
    values["is_paused"] = bool(values["is_paused"])
    values["show_payer"] = ShowPayer(values["show_payer"])
    return Business(policy=Policy(**policy), **values)
