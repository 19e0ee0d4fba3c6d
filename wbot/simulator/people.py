"""Who is on the simulated network: businesses, customers, and when each customer last wrote."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

PEOPLE_KEPT = 20_000  # aliases, windows and message ids each; the oldest is forgotten first
WINDOW = timedelta(hours=24)  # a business may answer freely this long after the customer's message
USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")


class SimulatedBusiness(msgspec.Struct, frozen=True):
    """One business phone number; `display_phone_number` and `country_code` are digits."""

    phone_number_id: str
    waba_id: str
    display_phone_number: str
    name: str
    country_code: str = "1"
    subscribed: bool = True
    """Whether the app starts subscribed to the account; without that no webhook is sent."""


class SimulatedCustomer(msgspec.Struct, frozen=True):
    """One person; `phone` is digits as Meta writes them, None when the person hides it."""

    name: str
    phone: str | None
    user_id: str | None = None
    wrote_at: datetime | None = None
    """When this customer last wrote to every business before the simulator started."""

    @property
    def key(self) -> str:
        """What identifies this customer: the phone number, else the user id."""
        return self.phone or self.user_id or self.name

    @property
    def aliases(self) -> tuple[str, ...]:
        """What a send may name this customer by."""
        return tuple(alias for alias in (self.phone, self.user_id) if alias)


class People:
    """Finds customers by the alias in a send, and tracks the 24-hour windows."""

    def __init__(self, customers: Iterable[SimulatedCustomer]) -> None:
        self.named = tuple(customers)
        self._by_name = {one.name: one for one in self.named}
        self._by_alias = {alias: one for one in self.named for alias in one.aliases}
        self._learned: dict[str, SimulatedCustomer] = {}
        self._wrote_at: dict[tuple[str, str], datetime] = {}
        self._senders: dict[str, tuple[str, SimulatedCustomer]] = {}

    def by_alias(self, alias: str) -> SimulatedCustomer | None:
        """The customer with this phone number or user id."""
        return self._by_alias.get(alias) or self._learned.get(alias)

    def find(self, name: str) -> SimulatedCustomer:
        """The customer of that name, phone number or user id; raises KeyError if there is none."""
        found = self._by_name.get(name) or self.by_alias(name)
        if found is None:
            raise KeyError(name)
        return found

    def learn(self, customer: SimulatedCustomer) -> SimulatedCustomer:
        """The customer already known under one of these aliases, else this one."""
        for alias in customer.aliases:
            if known := self.by_alias(alias):
                return known
        for alias in customer.aliases:
            self._learned[alias] = customer
        if len(self._learned) > PEOPLE_KEPT:
            del self._learned[next(iter(self._learned))]
        return customer

    def wrote(
        self, customer: SimulatedCustomer, *, phone_number_id: str, message_id: str, at: datetime
    ) -> None:
        """Record a customer's message; an older one never shortens the window."""
        self._senders[message_id] = (phone_number_id, customer)
        if len(self._senders) > PEOPLE_KEPT:
            del self._senders[next(iter(self._senders))]
        key = (phone_number_id, customer.key)
        before = self._wrote_at.pop(key, customer.wrote_at)
        self._wrote_at[key] = max(at, before or at)
        if len(self._wrote_at) > PEOPLE_KEPT:
            del self._wrote_at[next(iter(self._wrote_at))]

    def sender_of(self, message_id: str, *, phone_number_id: str) -> SimulatedCustomer | None:
        """Who wrote this message to this business."""
        found_id, customer = self._senders.get(message_id, ("", None))
        return customer if found_id == phone_number_id else None

    def may_be_answered(
        self, customer: SimulatedCustomer, *, phone_number_id: str, now: datetime
    ) -> bool:
        """Whether the 24-hour window between this customer and business is open."""
        wrote_at = self._wrote_at.get((phone_number_id, customer.key), customer.wrote_at)
        return wrote_at is not None and now - wrote_at <= WINDOW


def is_user_id(text: str) -> bool:
    """Whether the text has the form of a business-scoped user id."""
    return USER_ID.fullmatch(text) is not None
