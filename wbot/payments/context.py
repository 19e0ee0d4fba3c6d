"""Whom a payment acts for: the one who pays, their business's rules, and what asked for it."""

import msgspec

from wbot.domain.business import Business
from wbot.domain.policy import AskReason
from wbot.payments.quotations import Quotation


class PaymentContext(msgspec.Struct, frozen=True, kw_only=True):
    """Whose account pays, and which message asked; neither model nor payee can change any of it."""

    business: Business
    customer_id: int
    message_id: str
    now: str
    quotation: Quotation | None = None
    """What the message quotes."""
    words: str = ""
    """What the customer typed in the message; nothing that others wrote."""
    must_ask: frozenset[AskReason] = frozenset()
    """Why a transfer of this call is asked about anyway; the ledger may know more reasons."""
