"""Customers, their dated aliases, and the conversation each of them has."""

import msgspec

from wbot.clock import from_text, later, to_text
from wbot.domain.spellings import other_spelling
from wbot.storage import conflicts
from wbot.storage.tx import Tx, typed, typed_or_none

UNHEARD_S = 365 * 24 * 3600.0
"""A number unused for so long may have been assigned to another person."""

REKEYED = "the number came with a new user id, as others of the business did: the same customer"
RESPELLED = "WhatsApp has the number in its country's other spelling, used from now on: one person"

SELECT_BY_ALIAS = """
SELECT customer_id FROM customer_aliases
WHERE business_id = ? AND kind = ? AND value = ? AND retired_at IS NULL
"""
SELECT_ALIASES = """
SELECT kind, value, first_seen_at, retired_at FROM customer_aliases
WHERE customer_id = ? ORDER BY id
"""
INSERT_CUSTOMER = """
INSERT INTO customers (business_id, name, created_at) VALUES (?, ?, ?) RETURNING id
"""
INSERT_ALIAS = """
INSERT INTO customer_aliases (business_id, customer_id, kind, value, first_seen_at)
SELECT business_id, id, ?, ?, ? FROM customers WHERE id = ?
"""
RETIRE_ALIAS = """
UPDATE customer_aliases SET retired_at = ?
WHERE business_id = ? AND kind = ? AND value = ? AND retired_at IS NULL
"""
RETIRE_ALL = """
UPDATE customer_aliases SET retired_at = ?
WHERE customer_id = ? AND kind = ? AND retired_at IS NULL
"""
# A new alias, even one by a merge, counts as much as a message.
SELECT_LAST_HEARD = """
SELECT max(
    coalesce((SELECT last_inbound_at FROM conversations WHERE customer_id = ?1), ''),
    coalesce((SELECT max(first_seen_at) FROM customer_aliases WHERE customer_id = ?1), ''))
"""
INSERT_CONVERSATION = """
INSERT INTO conversations (business_id, customer_id, created_at) VALUES (?, ?, ?)
ON CONFLICT (customer_id) DO NOTHING
"""
# How operators identify a customer: the number, else the user id, else our own reference.
LABEL = """
coalesce(
    (SELECT value FROM customer_aliases
     WHERE customer_id = c.id AND kind = 'phone' AND retired_at IS NULL ORDER BY id LIMIT 1),
    (SELECT value FROM customer_aliases
     WHERE customer_id = c.id AND kind = 'user_id' AND retired_at IS NULL ORDER BY id LIMIT 1),
    'C' || c.id)
"""
SELECT_LISTED = f"""
SELECT c.id, c.name, {LABEL} AS label, c.merged_into, c.created_at,
    coalesce(b.posted_minor, 0) AS posted_minor, coalesce(b.held_minor, 0) AS held_minor,
    a.id AS account_id, v.last_inbound_at,
    (SELECT count(*) FROM messages m WHERE m.conversation_id = v.id) AS messages
FROM customers c
LEFT JOIN conversations v ON v.customer_id = c.id
LEFT JOIN accounts a ON a.customer_id = c.id
LEFT JOIN balances b ON b.account_id = a.id
"""  # noqa: S608  our own text
SELECT_ADDRESS = """
SELECT v.id, m.reply_phone, m.reply_user_id
FROM conversations v JOIN messages m ON m.conversation_id = v.id
WHERE v.customer_id = ? AND v.last_inbound_at > ? ORDER BY m.number DESC LIMIT 1
"""
SELECT_FORMER = """
SELECT c.id FROM customers c JOIN customer_aliases a ON a.customer_id = c.id
WHERE c.business_id = ? AND a.value = ? AND a.retired_at IS NOT NULL AND c.merged_into IS NOT NULL
GROUP BY c.id ORDER BY max(a.id) DESC
"""


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's own row."""

    id: int
    business_id: str
    name: str | None
    merged_into: int | None
    created_at: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as operators see them; amounts in minor units, times as text."""

    id: int
    name: str | None
    label: str
    merged_into: int | None
    created_at: str
    posted_minor: int
    held_minor: int
    account_id: int | None
    last_inbound_at: str | None
    messages: int


class Alias(msgspec.Struct, frozen=True):
    """An identifier of a customer at Meta; `kind` is phone or user_id."""

    kind: str
    value: str
    first_seen_at: str
    retired_at: str | None


class Address(msgspec.Struct, frozen=True):
    """A conversation, and the ids its latest message came with, exactly as Meta gave them."""

    conversation_id: int
    phone: str | None
    user_id: str | None


class Identity(msgspec.Struct, frozen=True):
    """The customer a sender was resolved to, and what an operator should check, if anything.

    `former_id` is the customer who had the number before, where both may be one person.
    """

    customer_id: int
    warning: str | None = None
    former_id: int | None = None


def resolve(
    tx: Tx,
    business_id: str,
    *,
    phone: str | None,
    user_id: str | None,
    name: str | None,
    now: str,
) -> Identity:
    """The customer behind a phone number, a user id, or both; created when neither is known.

    The user id has priority, because numbers are recycled: a known number with another user id is a
    new person, and so is one without a user id after a year without messages, until an operator
    says otherwise. A new alias attaches only to a customer who has none of its kind.
    """
    by_user = _find(tx, business_id, "user_id", user_id)
    by_phone = _find(tx, business_id, "phone", phone)
    respelled = None if by_phone is None else _respell(tx, by_phone, str(phone), now)
    if by_user is not None:
        warning = respelled
        if phone is not None and by_phone is None:
            warning = _attach_phone(tx, by_user, phone, now)
        elif by_phone not in {None, by_user}:
            warning = "a user id and a phone number of one sender belong to two customers"
        return _named(tx, Identity(by_user, warning), name)
    if by_phone is not None and (why := _doubt(tx, by_phone, user_id, now)):
        if user_id is not None and conflicts.is_rekeyed(tx, business_id, now):
            tx.execute(RETIRE_ALL, (now, by_phone, "user_id"))
            _attach(tx, by_phone, "user_id", user_id, now)
            return _named(tx, Identity(by_phone, REKEYED), name)
        customer_id = _give_number(tx, str(phone), business_id, now)
        if user_id is not None:
            _attach(tx, customer_id, "user_id", user_id, now)
        return _named(tx, Identity(customer_id, why, by_phone), name)
    if by_phone is None or user_id is None:
        customer_id = by_phone or _create(tx, business_id, now)
        if by_phone is None and phone is not None:
            _attach(tx, customer_id, "phone", phone, now)
        if user_id is not None:
            _attach(tx, customer_id, "user_id", user_id, now)
        return _named(tx, Identity(customer_id, respelled), name)
    _attach(tx, by_phone, "user_id", user_id, now)
    return _named(tx, Identity(by_phone, respelled), name)


def may_be_gone(tx: Tx, customer_id: int, now: str) -> bool:
    """Whether a number without the stored user id proves too little after so long a time."""
    since = to_text(later(from_text(now), -UNHEARD_S))
    row = tx.execute(SELECT_LAST_HEARD, (customer_id,)).fetchone()
    return bool(row[0] < since) and _has(tx, customer_id, "user_id")


def change_identity(
    tx: Tx, customer_id: int, *, phone: str | None, user_id: str | None, now: str
) -> str | None:
    """Store the customer's new number or user id as WhatsApp reports it; a warning, if any.

    Nothing changes where another customer has one of them. WhatsApp makes a new user id with each
    new number, so the old one is retired with the old number even if the new one is not known yet.
    """
    row = tx.execute("SELECT business_id FROM customers WHERE id = ?", (customer_id,)).fetchone()
    owners = {
        _find(tx, row["business_id"], "phone", phone),
        _find(tx, row["business_id"], "user_id", user_id),
    }
    if owners - {None, customer_id}:
        return "a customer's new number or user id already belongs to another customer"
    for kind, value in (("phone", phone), ("user_id", user_id)):
        if value is None and (kind == "phone" or phone is None):
            continue
        if value is not None and customer_id == _find(tx, row["business_id"], kind, value):
            continue
        tx.execute(RETIRE_ALL, (now, customer_id, kind))
        if value is not None:
            _attach(tx, customer_id, kind, value, now)
    return None


def address_now(
    tx: Tx, customer_id: int, *, phone: str | None, user_id: str | None
) -> tuple[str | None, str | None]:
    """Where to reach the customer who wrote under these ids: there, unless one is no longer theirs.

    A number they gave up may have a new owner, who must not read the reply.
    """
    known = aliases(tx, customer_id)
    in_use = {alias.kind: alias.value for alias in known if alias.retired_at is None}
    left = {(alias.kind, alias.value) for alias in known} - set(in_use.items())
    if left & {("phone", _bare("phone", phone or "")), ("user_id", user_id)}:
        return in_use.get("phone"), in_use.get("user_id")
    return phone, user_id


def find_sender(tx: Tx, business_id: str, *, phone: str | None, user_id: str | None) -> int | None:
    """The customer known by this user id, else by this phone number, or None."""
    return _find(tx, business_id, "user_id", user_id) or _find(tx, business_id, "phone", phone)


def find(tx: Tx, business_id: str, alias: str) -> int | None:
    """The customer with this phone number (`+` allowed) or user id, or None."""
    return _find(tx, business_id, "phone", alias.lstrip("+")) or _find(
        tx, business_id, "user_id", alias
    )


def find_by_phone(tx: Tx, business_id: str, digits: str) -> int | None:
    """The customer with this phone number, or None."""
    return _find(tx, business_id, "phone", digits)


def conversation_of(tx: Tx, business_id: str, customer_id: int, now: str) -> int:
    """The customer's conversation, made on first use."""
    tx.execute(INSERT_CONVERSATION, (business_id, customer_id, now))
    row = tx.execute(
        "SELECT id FROM conversations WHERE customer_id = ?", (customer_id,)
    ).fetchone()
    return int(row[0])


def of_conversation(tx: Tx, conversation_id: int | None) -> int | None:
    """The customer of a conversation, or None."""
    row = tx.execute(
        "SELECT customer_id FROM conversations WHERE id = ?", (conversation_id,)
    ).fetchone()
    return None if row is None else int(row[0])


def required_of(tx: Tx, conversation_id: int) -> int:
    """The customer of a conversation that exists."""
    row = tx.execute(
        "SELECT customer_id FROM conversations WHERE id = ?", (conversation_id,)
    ).fetchone()
    return int(row[0])


def name_of(tx: Tx, customer_id: int) -> str | None:
    """The name the customer's WhatsApp profile last showed."""
    row = tx.execute("SELECT name FROM customers WHERE id = ?", (customer_id,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


def phone_of(tx: Tx, customer_id: int) -> str | None:
    """The customer's number now, or None."""
    in_use = (a for a in aliases(tx, customer_id) if a.kind == "phone" and a.retired_at is None)
    return next((alias.value for alias in in_use), None)


def reachable_since(tx: Tx, customer_id: int, since: str) -> Address | None:
    """The address of a customer's latest message, if written since that instant; or None."""
    row = tx.execute(SELECT_ADDRESS, (customer_id, since)).fetchone()
    return None if row is None else Address(*row)


def aliases(tx: Tx, customer_id: int) -> list[Alias]:
    """Every alias the customer ever had, oldest first."""
    return [Alias(*row) for row in tx.execute(SELECT_ALIASES, (customer_id,)).fetchall()]


def by_id(tx: Tx, customer_id: int) -> Customer | None:
    """The customer, or None."""
    row = tx.execute("SELECT * FROM customers WHERE id = ?", (customer_id,)).fetchone()
    return typed_or_none(Customer, row)


def listed(tx: Tx, business_id: str) -> list[Summary]:
    """Every customer of a business with label, money and messages, oldest first."""
    rows = tx.execute(f"{SELECT_LISTED} WHERE c.business_id = ? ORDER BY c.id", (business_id,))
    return [typed(Summary, row) for row in rows.fetchall()]


def summary(tx: Tx, customer_id: int) -> Summary:
    """One customer as `listed` shows all of them."""
    return typed(Summary, tx.execute(f"{SELECT_LISTED} WHERE c.id = ?", (customer_id,)).fetchone())


def label(tx: Tx, customer_id: int) -> str:
    """How operators identify the customer: number, else user id, else our reference (C3)."""
    row = tx.execute(f"SELECT {LABEL} FROM customers c WHERE c.id = ?", (customer_id,)).fetchone()  # noqa: S608  our own text
    return str(row[0])


def merged_from(tx: Tx, customer_id: int) -> list[int]:
    """The customers that were merged into this one, oldest first."""
    rows = tx.execute(
        "SELECT id FROM customers WHERE merged_into = ? ORDER BY id", (customer_id,)
    ).fetchall()
    return [int(row[0]) for row in rows]


def former(tx: Tx, business_id: str, alias: str) -> list[int]:
    """The customers who had this alias until a merge, the latest first."""
    return [int(row[0]) for row in tx.execute(SELECT_FORMER, (business_id, alias)).fetchall()]


def survivor(tx: Tx, customer_id: int) -> int:
    """The customer into whom this one was finally merged, or this one."""
    found = by_id(tx, customer_id)
    if found is None or found.merged_into is None:
        return customer_id
    return survivor(tx, found.merged_into)


def hand_over_aliases(tx: Tx, from_id: int, into_id: int, now: str) -> None:
    """Retire one customer's aliases and give them to another, from now on."""
    rows = tx.execute(
        "UPDATE customer_aliases SET retired_at = ? WHERE customer_id = ? AND retired_at IS NULL "
        "RETURNING id, kind, value",
        (now, from_id),
    ).fetchall()
    for row in sorted(rows, key=lambda row: int(row["id"])):
        _attach(tx, into_id, row["kind"], row["value"], now)


def mark_merged(tx: Tx, from_id: int, into_id: int) -> None:
    """Record into whom a customer was merged, and the name if only the merged one had one."""
    tx.execute(
        "UPDATE customers SET merged_into = ?, held_for = NULL WHERE id = ?", (into_id, from_id)
    )
    tx.execute(
        "UPDATE customers SET name = (SELECT name FROM customers WHERE id = ?) "
        "WHERE id = ? AND name IS NULL",
        (from_id, into_id),
    )


def _find(tx: Tx, business_id: str, kind: str, value: str | None) -> int | None:
    if value is None:
        return None
    bare = _bare(kind, value)
    for spelled in (bare, other_spelling(bare) if kind == "phone" else None):
        row = tx.execute(SELECT_BY_ALIAS, (business_id, kind, spelled)).fetchone()
        if row is not None:
            return int(row[0])
    return None


def _bare(kind: str, value: str) -> str:
    # The only normalisation of a number: a leading + is not part of it.
    return value.lstrip("+") if kind == "phone" else value


def _has(tx: Tx, customer_id: int, kind: str) -> bool:
    return any(a.kind == kind and a.retired_at is None for a in aliases(tx, customer_id))


def _doubt(tx: Tx, holder: int, user_id: str | None, now: str) -> str | None:
    """Why the sender with a customer's number may be another person; None if nothing says so."""
    if user_id is not None and _has(tx, holder, "user_id"):
        return "a known phone number came with another user id: taken as a new customer"
    if user_id is None and may_be_gone(tx, holder, now):
        return (
            "a phone number that was last heard of over a year ago came without its user id: "
            "taken as a new customer"
        )
    return None


def _respell(tx: Tx, holder: int, phone: str, now: str) -> str | None:
    """Use WhatsApp's spelling of a number from now on; a warning where it was another."""
    if phone_of(tx, holder) in {None, _bare("phone", phone)}:
        return None
    tx.execute(RETIRE_ALL, (now, holder, "phone"))
    _attach(tx, holder, "phone", phone, now)
    return RESPELLED


def _give_number(tx: Tx, phone: str, business_id: str, now: str) -> int:
    """A new customer, who has this number from now on."""
    customer_id = _create(tx, business_id, now)
    tx.execute(RETIRE_ALIAS, (now, business_id, "phone", _bare("phone", phone)))
    _attach(tx, customer_id, "phone", phone, now)
    return customer_id


def _create(tx: Tx, business_id: str, now: str) -> int:
    return int(tx.execute(INSERT_CUSTOMER, (business_id, None, now)).fetchall()[0][0])


def _attach(tx: Tx, customer_id: int, kind: str, value: str, now: str) -> None:
    tx.execute(INSERT_ALIAS, (kind, _bare(kind, value), now, customer_id))


def _attach_phone(tx: Tx, customer_id: int, phone: str, now: str) -> str | None:
    if _has(tx, customer_id, "phone"):
        return "a known user id came with another phone number: not taken as an alias"
    _attach(tx, customer_id, "phone", phone, now)
    return None


def _named(tx: Tx, identity: Identity, name: str | None) -> Identity:
    if name:
        tx.execute(
            "UPDATE customers SET name = ?1 WHERE id = ?2 AND name IS DISTINCT FROM ?1",
            (name, identity.customer_id),
        )
    return identity
