"""Webhook bodies as Meta builds them for messages and statuses (the v24 shape and later)."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from wbot.simulator.call_log import Send
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer

UPDATES_MAX = 1000  # in one body
HREF = (
    "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes"
)
PRICING = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "service"}


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """One message or status, before it is grouped into a body."""

    business: SimulatedBusiness
    contact: dict[str, Any] | None
    message: dict[str, Any] | None = None
    status: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The inbound message id, or the wamid of what the status is about."""
        return str((self.message or self.status or {}).get("id", ""))

    @property
    def about(self) -> str:
        """The text that a fault's `about` is matched against: ids, kind or status, and text."""
        fields = self.message or self.status or {}
        names = ("from", "from_user_id", "recipient_id", "recipient_user_id", "type", "status")
        words = [str(fields[name]) for name in names if fields.get(name)]
        text = fields.get("text")
        return " ".join([*words, str(text.get("body", "")) if isinstance(text, dict) else ""])


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """One customer's message found in a body; `sent_at_s` is Unix seconds."""

    phone_number_id: str
    message_id: str
    customer: SimulatedCustomer
    sent_at_s: float


def message_update(
    business: SimulatedBusiness,
    customer: SimulatedCustomer,
    content: dict[str, Any],
    *,
    message_id: str,
    sent_at: datetime,
) -> Update:
    """A customer's message; `content` is its type, body and context."""
    message = {"from": customer.phone, "from_user_id": customer.user_id, "id": message_id}
    message |= {"timestamp": _seconds(sent_at)}
    contact = {"profile": {"name": customer.name}} | _contact_of(customer)
    # Meta omits contacts in messages about an account rather than a person.
    anonymous = content.get("type") == "system"
    return Update(
        business=business,
        contact=None if anonymous else contact,
        message=_present(message) | content,
    )


def status_update(
    send: Send, status: str, *, at: datetime, error: dict[str, Any] | None = None
) -> Update:
    """A status of a message the business sent; `error` as `failure_of` makes it."""
    customer = send.customer
    body: dict[str, Any] = {"id": send.wamid, "status": status, "timestamp": _seconds(at)}
    body |= _recipient_of(send, failed=error is not None)
    if send.opaque is not None:
        body["biz_opaque_callback_data"] = send.opaque
    if error is not None:
        return Update(business=send.business, contact=None, status=body | {"errors": [error]})
    if status in {"sent", "delivered"}:
        body["pricing"] = PRICING
    contact = _contact_of(customer) if customer else None
    return Update(business=send.business, contact=contact, status=body)


def failure_of(code: int, title: str, details: str) -> dict[str, Any]:
    """The error of a `failed` status: `message` repeats `title`."""
    return {
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": details},
        "href": HREF,
    }


def body_of(updates: Sequence[Update]) -> dict[str, Any]:
    """One body: an entry per account, a change per phone number and kind, in order."""
    entries: dict[str, dict[str, Any]] = {}
    values: dict[tuple[str, str], dict[str, Any]] = {}
    for update in updates:
        business, kind = update.business, "messages" if update.message else "statuses"
        entry = entries.setdefault(business.waba_id, {"id": business.waba_id, "changes": []})
        key = (business.phone_number_id, kind)
        if key not in values:
            values[key] = _empty_value(business, kind)
            entry["changes"].append({"value": values[key], "field": "messages"})
        if update.contact and update.contact not in values[key].setdefault("contacts", []):
            values[key]["contacts"].append(update.contact)
        values[key][kind].append(update.message or update.status)
    return {"object": "whatsapp_business_account", "entry": list(entries.values())}


def inbound_in(body: Any) -> Iterator[Inbound]:
    """The customers' messages in a body of any shape, as far as they can be parsed."""
    for value in _values_in(body):
        metadata = value.get("metadata")
        phone_number_id = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
        contacts = _dicts(value.get("contacts"))
        for message in _dicts(value.get("messages")):
            found = _inbound_of(message, contacts, str(phone_number_id))
            if found is not None:
                yield found


def _values_in(body: Any) -> Iterator[dict[str, Any]]:
    for entry in _dicts(body.get("entry") if isinstance(body, dict) else None):
        for change in _dicts(entry.get("changes")):
            if isinstance(change.get("value"), dict):
                yield change["value"]


def _inbound_of(
    message: dict[str, Any], contacts: list[dict[str, Any]], phone_number_id: str
) -> Inbound | None:
    phone, user_id = message.get("from"), message.get("from_user_id")
    if not isinstance(message.get("id"), str) or not (phone or user_id):
        return None
    name = str(phone or user_id)
    for contact in contacts:
        profile = contact.get("profile")
        theirs = (contact.get("wa_id"), contact.get("user_id"))
        same = (phone and theirs[0] == phone) or (user_id and theirs[1] == user_id)
        if same and isinstance(profile, dict):
            name = str(profile.get("name", name))
    timestamp = str(message.get("timestamp", ""))
    return Inbound(
        phone_number_id=phone_number_id,
        message_id=message["id"],
        customer=SimulatedCustomer(name, _text(phone), _text(user_id)),
        sent_at_s=float(timestamp) if timestamp.isdecimal() else 0.0,
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _empty_value(business: SimulatedBusiness, kind: str) -> dict[str, Any]:
    metadata = {
        "display_phone_number": business.display_phone_number,
        "phone_number_id": business.phone_number_id,
    }
    return {"messaging_product": "whatsapp", "metadata": metadata, kind: []}


def _recipient_of(send: Send, *, failed: bool) -> dict[str, Any]:
    to_phone = send.customer is None or send.recipient == send.customer.phone
    user_id = send.customer.user_id if send.customer else None
    return _present(
        {
            "recipient_id": send.recipient if to_phone else None,
            "recipient_user_id": None if failed and to_phone else user_id,
        }
    )


def _contact_of(customer: SimulatedCustomer) -> dict[str, Any]:
    return _present({"wa_id": customer.phone, "user_id": customer.user_id})


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _seconds(instant: datetime) -> str:
    return str(int(instant.timestamp()))
