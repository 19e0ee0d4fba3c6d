"""Double entry: transfers, their references, and the hash chain over them."""

import hashlib
import re
from enum import StrEnum

import msgspec

from wbot.domain.states import TransferState as TransferState  # noqa: PLC0414  for its users

ANOTHER_CUSTOMER = "another customer"
"""In place of a name that the reader may not see."""


class TransferKind(StrEnum):
    """Why money moves."""

    TRANSFER = "transfer"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    PAYOUT = "payout"
    MERGE = "merge"
    REVERSAL = "reversal"


class Phase(StrEnum):
    """What a row of the ledger says; the last three end a pending transfer, once."""

    POSTED = "posted"
    PENDING = "pending"
    REFUSED = "refused"
    POST = "post"
    VOID = "void"
    EXPIRE = "expire"


class CauseKind(StrEnum):
    """What kind of thing requested a transfer."""

    CALL = "call"
    TAP = "tap"
    OPERATOR = "operator"
    EXPIRY = "expiry"


class Cause(msgspec.Struct, frozen=True):
    """What requested a transfer; the same cause never moves money twice."""

    kind: CauseKind
    key: str


def effect_key(message_id: str, tool: str, arguments: str) -> str:
    """The one key of what a message's call does, in the ledger and outside it."""
    return f"{message_id}/{tool}/{arguments}"


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
    made_at: str
    """When its money moved, or was refused; of a pending one, when it was requested."""
    message_id: str | None
    memo: str | None
    refusal: str | None
    is_to_customer: bool
    payee: str
    """The payee as the payer named them."""
    label: str | None = None
    """The account holder's name for the other side: a payee's name, or a number as written."""
    payee_number: str | None = None
    """The number behind that name, where it is a customer's; with + where its payer typed it."""
    is_outside: bool = False
    """Whether the other side is somebody outside, whom the business pays out."""
    is_paying_out: bool = False
    """Whether a batch of payouts has it."""
    is_payee_used: bool = False
    """Whether the customer has confirmed a payment to the payee, or one needed no yes."""
    was_foreign_read: bool = False
    """Whether the turn that wrote the label had read another person's words."""
    business_name: str | None = None
    """Where the other side is the business itself."""
    other_name: str | None = None
    """The profile's name and the number of the customer on the other side, where it is one."""
    other_phone: str | None = None

    @property
    def reference(self) -> str:
        return reference_of(self.transfer_id)


_REFERENCE = re.compile(r"\s*[Tt]?\s*(\d{1,18})\s*")


def reference_of(transfer_id: int) -> str:
    """The reference that people use: T and the transfer's number."""
    return f"T{transfer_id}"


def transfer_id_of(reference: str) -> int | None:
    """The number in a reference as people write it ("T12", "t 12", "12"); None if it is not one."""
    match = _REFERENCE.fullmatch(reference)
    return int(match[1]) if match else None


GENESIS_HASH = "0" * 64
"""The previous hash of the first transfer."""


def chain_hash(previous_hash: str, *fields: str | int | None) -> str:
    """The hash of one transfer's fields, in a fixed order, after the one before it."""
    canonical = msgspec.json.encode([previous_hash, *fields])
    return hashlib.sha256(canonical).hexdigest()
