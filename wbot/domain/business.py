"""A business: whose number it is, how it answers, and what its money rules are."""

from enum import StrEnum

import msgspec

from wbot.domain.money import Currency, currency_of
from wbot.domain.timezones import zone_of_number

THROUGHPUT_DEFAULT = 80
"""Sends a second that the Cloud API allows a number by default."""


class PayeeRule(StrEnum):
    """Whom a customer may pay."""

    ANY = "any"
    KNOWN = "known"


class ShowPayer(StrEnum):
    """What a payee who is a customer reads of who paid; masked is a number's last four digits."""

    NAME = "name"
    MASKED = "masked"
    NONE = "none"


class Switch(StrEnum):
    """An option that is on or off."""

    ON = "on"
    OFF = "off"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A business's money rules; amounts in minor units, None means no limit."""

    confirm_above_minor: int = 0
    max_transfer_minor: int | None = None
    daily_total_minor: int | None = None
    daily_count: int | None = None
    overdraft_minor: int = 0
    cancel_window_s: int = 900
    hold_ttl_s: int = 600
    repeat_window_s: int = 300
    new_payee_limit_minor: int | None = None
    payees: PayeeRule = PayeeRule.ANY
    own_words: Switch = Switch.ON


class Business(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `businesses`; `access_token` is the reference, never the resolved secret."""

    id: str
    name: str
    phone_number_id: str
    access_token: str
    currency_code: str
    is_paused: bool = False
    instructions: str = ""
    model: str | None = None
    throughput: int = THROUGHPUT_DEFAULT
    error_text: str | None = None
    knowledge: str | None = None
    """The path of a text file that the model reads with every message."""
    show_payer: ShowPayer = ShowPayer.NONE
    echo_pause_s: int = 1800
    """Seconds the model is silent after the owner wrote to a customer from the phone."""
    waba_id: str | None = None
    """Its WhatsApp Business Account at Meta, where an operator named it."""
    timezone: str | None = None
    """Chosen by the operator; see `zone_name`."""
    number: str | None = None
    """Its own number in digits, once WhatsApp has named it."""
    policy: Policy = Policy()

    @property
    def zone_name(self) -> str:
        """The time zone of all times that its customers read."""
        return self.timezone or zone_of_number(self.number)

    @property
    def currency(self) -> Currency:
        return currency_of(self.currency_code)
