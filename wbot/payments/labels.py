"""Names that customers give to numbers: by a sentence, beside a payment, or by a contact card.

Code reads them in the customer's own message; no model can give one.
"""

from wbot.domain.foreign import is_foreign
from wbot.domain.labels import Label, card_label, is_typed, named_in
from wbot.domain.messages import Contacts, Content, Context, Text
from wbot.domain.names import masked_number
from wbot.domain.payees import folded_name
from wbot.payments.context import PaymentContext
from wbot.storage import payees
from wbot.storage.tx import Tx

CARDS_MAX = 10


def said_in(content: Content, context: Context | None) -> Label | None:
    """The label that a customer's message gives as a whole: typed, and not forwarded."""
    if not isinstance(content, Text) or is_foreign(content, context):
        return None
    return named_in(content.body)


def shared_in(content: Content, context: Context | None) -> tuple[Label, ...]:
    """The labels on the contact cards that a customer shares."""
    is_forwarded = context is not None and (context.is_forwarded or context.is_frequently_forwarded)
    if not isinstance(content, Contacts) or is_forwarded or content.origin is not None:
        return ()
    found = (
        card_label(card.name, [phone.wa_id or phone.number or "" for phone in card.phones])
        for card in content.cards[:CARDS_MAX]
    )
    return tuple(label for label in found if label is not None)


def name(tx: Tx, customer_id: int, label: Label, *, now: str) -> str:
    """Give the number this name, as the customer says in so many words; what to tell them."""
    before = payees.number_of(tx, customer_id, label.name)
    payees.give_label(tx, customer_id, label.name, label.digits, now=now)
    if before in {None, label.digits}:
        return f"“{label.name}” is +{label.digits} from now on: “Send 5 to {label.name}” pays them."
    return (
        f"“{label.name}” is +{label.digits} from now on; it was {masked_number(before)} until now."
    )


def name_by_card(tx: Tx, customer_id: int, label: Label, *, now: str) -> str:
    """Give the number the card's name if that is free; what to tell the customer."""
    before = payees.number_of(tx, customer_id, label.name)
    if before == label.digits:
        return f"“{label.name}” is +{label.digits}, as before."
    if before is not None:
        return (
            f"Your “{label.name}” stays {masked_number(before)}; the card has another number. "
            f"To change it, write: {label.name} is +{label.digits}"
        )
    if is_taken(tx, customer_id, label):
        return (
            f"Your “{label.name}” stays the payee outside that you have paid. "
            f"To change that, write: {label.name} is +{label.digits}"
        )
    payees.give_label(tx, customer_id, label.name, label.digits, now=now, is_from_card=True)
    return f"“{label.name}” is +{label.digits} from now on: “Send 5 to {label.name}” pays them."


def is_taken(tx: Tx, customer_id: int, label: Label) -> bool:
    """Whether the name is that of a payee outside whom the customer knows or has paid."""
    return folded_name(label.name) in payees.names_paid(tx, customer_id)


def name_if_typed(tx: Tx, context: PaymentContext, label: Label) -> None:
    """Give the number the name beside it, if the customer typed both in this message."""
    if not is_typed(label, context.words) or is_taken(tx, context.customer_id, label):
        return
    payees.give_label(tx, context.customer_id, label.name, label.digits, now=context.now)
