"""What another person wrote: recognised only here, and shown to a model only as data.

Once a turn has read any of it, a transfer of that turn waits for the customer's own yes. What a
customer types, the numbers in it, and the names of payees that they have confirmed are their own.
"""

import json
import re
from enum import StrEnum

import msgspec

from wbot.domain.business import ShowPayer
from wbot.domain.ledger import ANOTHER_CUSTOMER, Entry
from wbot.domain.messages import Card, Contacts, Content, Context, text_of
from wbot.domain.names import clean_name, masked_number
from wbot.domain.payees import phone_digits, shown_payee
from wbot.domain.receipts import one_line, our_lines, quoted, quoted_payee

FIELD = "written by another customer"
"""The name of the field that holds such words for a model."""

LENGTH_MAX, READ_MAX = 300, 1_200
CARDS_MAX, NUMBERS_MAX = 10, 3

_LINK = re.compile(r"\w+://\S+|\S*@\S*|[^\s.,]+(?:\.[^\W\d_]\S*)+")
_NUMBER = re.compile(r"\+?\d(?:[\s().,:/\u2010-\u2015\u2212-]*\d){2,}")


class ForeignWords(StrEnum):
    """Where a turn read another person's words: in its message or look-ups, or in the history."""

    READ = "read"
    IN_HISTORY = "in_history"


class Named(msgspec.Struct, frozen=True):
    """A person as a customer sees them; foreign where they chose the name themselves."""

    text: str
    is_foreign: bool = False
    number: str | None = None
    """Behind the customer's own name for another customer."""

    @property
    def in_line(self) -> str:
        """As shown in a line of the ledger."""
        if self.number is not None:
            return quoted_payee(self.text, self.number)
        return self.text if self.text == ANOTHER_CUSTOMER else quoted(self.text)

    @property
    def facts(self) -> dict[str, str]:
        """As shown in a tool's result."""
        if self.is_foreign:
            return {"counterparty": ANOTHER_CUSTOMER, FIELD: self.text}
        return {"counterparty": self.text}


def is_foreign(content: Content, context: Context | None) -> bool:
    """Whether a customer's message has another person's words: a card, or forwarded text."""
    return isinstance(content, Contacts) or _is_forwarded(context)


def words_for_model(content: Content, context: Context | None) -> str | None:
    """What a model reads of a customer's message; None where that has no words.

    The customer's own words come unchanged.
    """
    if isinstance(content, Contacts):
        return "\n".join(_card(card) for card in content.cards[:CARDS_MAX])
    words = text_of(content)
    if words is None or not _is_forwarded(context):
        return words
    return json.dumps({f"forwarded, {FIELD}": as_data(words)}, ensure_ascii=False)


def as_data(words: str) -> str:
    """Another person's words on one line, shortened, without links and numbers."""
    text = _NUMBER.sub("[number]", _LINK.sub("[link]", one_line(words, READ_MAX)))
    return one_line(text, LENGTH_MAX)


def reply_for_model(text: str, met: ForeignWords | None) -> str:
    """What a later prompt repeats of a reply.

    What a model said with foreign words in its history may pass them on, so it is left out:
    otherwise one such message would taint the conversation forever.
    """
    return our_lines(text) if met is ForeignWords.IN_HISTORY else text


def payer(name: str | None, phone: str | None, show: ShowPayer) -> Named:
    """What a payee who is a customer reads of who paid."""
    if show is ShowPayer.NAME and (clean := clean_name(name)) is not None:
        return Named(clean, is_foreign=True)
    masked = None if show is ShowPayer.NONE else masked_number(phone)
    return Named(masked or ANOTHER_CUSTOMER)


def counterparty(entry: Entry, show: ShowPayer) -> Named:
    """The other side of a transfer: what the customer calls it, else what it shows of itself."""
    if entry.business_name is not None:
        return Named(entry.business_name)
    if entry.label is not None:
        is_foreign = is_foreign_label(entry)
        return Named(shown_payee(entry.label), is_foreign=is_foreign, number=entry.payee_number)
    if not entry.is_incoming:  # a payee's own name is never for the payer, forgotten label or not
        return Named(ANOTHER_CUSTOMER)
    return payer(entry.other_name, entry.other_phone, show)


def is_foreign_label(entry: Entry) -> bool:
    """Whether a payee's name may be another person's words that a model passed on.

    It is the customer's own once they have paid it: with a confirmation, or without one if nothing
    foreign was read.
    """
    is_name = entry.label is not None and phone_digits(entry.label) is None
    return is_name and not entry.is_payee_used and entry.was_foreign_read


def _is_forwarded(context: Context | None) -> bool:
    return context is not None and (context.is_forwarded or context.is_frequently_forwarded)


def _card(card: Card) -> str:
    # A payment finds the customer by WhatsApp's form of the number.
    found = [phone_digits(phone.wa_id or phone.number or "") for phone in card.phones]
    numbers = [f"+{digits}" for digits in found if digits]
    parts = [part for part in (clean_name(card.name), *numbers[:NUMBERS_MAX]) if part]
    return f"Contact card: {', '.join(parts) or 'empty'}"
