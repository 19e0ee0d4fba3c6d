"""Who sent a message: the sender's ids, and which of a value's contacts is the sender."""

from typing import Any

import msgspec

from wbot.domain import json_access
from wbot.domain.json_access import JsonObject
from wbot.domain.messages import is_user_id


class Identity(msgspec.Struct, frozen=True):
    """A phone number as Meta gave it, and a business-scoped user id; either may be absent."""

    phone: str | None = None
    user_id: str | None = None

    @property
    def is_unknown(self) -> bool:
        return self.phone is None and self.user_id is None


def identity_of(source: JsonObject, phone_key: str, user_id_key: str) -> Identity:
    """The ids under two keys; a user id in the phone's place is recognised."""
    phone = json_access.identifier(source, phone_key)
    user_id = json_access.identifier(source, user_id_key)
    if phone is not None and is_user_id(phone):
        return Identity(None, user_id or phone)
    return Identity(phone, user_id)


class Contacts:
    """The contacts of one value, matched by id and never by place: there may be fewer or more."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items
        self._by_user_id: dict[str, JsonObject] = {}
        self._by_phone: dict[str, JsonObject] = {}
        self._matched: dict[Identity, JsonObject] = {}
        for contact in items:
            if isinstance(contact, dict):
                self._add(contact)

    def _add(self, contact: JsonObject) -> None:
        identity = _of_contact(contact)
        if identity.user_id is not None:
            self._by_user_id.setdefault(identity.user_id, contact)
        if identity.phone is not None:
            self._by_phone.setdefault(identity.phone, contact)

    def match(self, sender: Identity) -> JsonObject | None:
        """The contact with the sender's user id, else with the phone number."""
        contact = self._by_user_id.get(sender.user_id or "")
        if contact is None:
            contact = self._by_phone.get(sender.phone or "")
            # A known number under another user id is another person (numbers are recycled).
            if contact is None or (sender.user_id and _of_contact(contact).user_id):
                return None
        return self._mark(contact)

    def only(self) -> JsonObject | None:
        """The contact of a value that has no other."""
        if len(self._items) != 1 or not isinstance(self._items[0], dict):
            return None
        return self._mark(self._items[0])

    def _mark(self, contact: JsonObject) -> JsonObject:
        self._matched[_of_contact(contact)] = contact
        return contact

    def unmatched(self) -> list[Any]:
        """What no message or status was matched with, without repetitions of matched contacts."""
        return [item for item in self._items if not self._is_matched(item)]

    def _is_matched(self, item: Any) -> bool:
        return isinstance(item, dict) and self._matched.get(_of_contact(item)) == item


def _of_contact(contact: JsonObject) -> Identity:
    return identity_of(contact, "wa_id", "user_id")
