"""Double entry: what a transfer is, what it is called, and how the chain over transfers is made."""

import hashlib
import re
import unicodedata
from enum import StrEnum

import msgspec


class TransferKind(StrEnum):
    """Why money moves."""

    TRANSFER = "transfer"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    MERGE = "merge"
    REVERSAL = "reversal"


class TransferState(StrEnum):
    """Where a transfer stands, as statements show it."""

    PENDING = "pending"
    POSTED = "posted"
    VOID = "void"
    REVERSED = "reversed"
    REFUSED = "refused"


class CauseKind(StrEnum):
    """What kind of thing asked for a transfer; with its key it asks once."""

    CALL = "call"
    TAP = "tap"
    OPERATOR = "operator"
    EXPIRY = "expiry"


class Cause(msgspec.Struct, frozen=True):
    """Who asked for a transfer; the same cause never moves money twice."""

    kind: CauseKind
    key: str


class Balance(msgspec.Struct, frozen=True):
    """An account's money in minor units; what is held is still posted, but not available."""

    posted_minor: int
    held_minor: int

    @property
    def available_minor(self) -> int:
        return self.posted_minor - self.held_minor


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer as one account sees it."""

    transfer_id: int
    kind: TransferKind
    state: TransferState
    amount_minor: int
    is_incoming: bool
    counterparty: str
    created_at: str
    message_id: str | None
    memo: str | None
    refusal: str | None
    is_to_customer: bool

    @property
    def reference(self) -> str:
        return reference_of(self.transfer_id)


_REFERENCE = re.compile(r"\s*[Tt]?\s*(\d{1,18})\s*")
_NUMBER = re.compile(r"\+?\d[\d\s().-]*")
_DIGITS_MIN, _DIGITS_MAX = 5, 20


def reference_of(transfer_id: int) -> str:
    """How people name a transfer: T and its number."""
    return f"T{transfer_id}"


def transfer_id_of(reference: str) -> int | None:
    """The number in a reference as people write it ("T12", "t 12", "12"); None if it is none."""
    match = _REFERENCE.fullmatch(reference)
    return int(match[1]) if match else None


def phone_digits(text: str) -> str | None:
    """The digits of a phone number as people write it; None for what is a name."""
    if not _NUMBER.fullmatch(text.strip()):
        return None
    digits = re.sub(r"\D", "", text)
    return digits if digits.isascii() and _DIGITS_MIN <= len(digits) <= _DIGITS_MAX else None


def folded_name(name: str) -> str:
    """A payee's name as compared: case, width and spacing do not make another person."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


GENESIS_HASH = "0" * 64
"""What the first transfer names as the one before it."""


def chain_hash(previous_hash: str, *fields: str | int | None) -> str:
    """The hash of one transfer's fields, in a fixed order, after the one before it."""
    canonical = msgspec.json.encode([previous_hash, *fields])
    return hashlib.sha256(canonical).hexdigest()
