"""Whom a payment acts for: the one who pays, their business's rules, and what asked for it."""

import msgspec

from wbot.domain.business import Business


class PaymentContext(msgspec.Struct, frozen=True, kw_only=True):
    """Whose account pays, and which message asked; neither model nor payee can change any of it."""

    business: Business
    customer_id: int
    message_id: str
    now: str
