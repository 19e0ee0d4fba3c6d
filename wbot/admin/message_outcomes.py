"""One message's outcome in figures: how often it was processed, what money it moved."""

import msgspec

from wbot.domain.ledger import Phase, TransferKind, reference_of
from wbot.domain.money import currency_of, format_money
from wbot.domain.states import NOT_FINAL, UNFINISHED, UNSETTLED
from wbot.storage import outbox, timeline
from wbot.storage.timeline import LedgerRow
from wbot.storage.tx import Tx

DEEDS = {
    Phase.POSTED: "moved",
    Phase.PENDING: "held",
    Phase.REFUSED: "refused",
    Phase.POST: "moved",
    Phase.VOID: "released",
    Phase.EXPIRE: "released",
}


class Deed(msgspec.Struct, frozen=True):
    """One row that a message wrote into the ledger: what it did to which transfer."""

    deed: str
    transfer: str
    amount: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One stored message; `sends` are the opaque values of every attempt to send its replies."""

    state: str
    is_finished: bool
    """Whether its handling ended and every reply to it is settled."""
    attempts: int
    acted: int
    """How many attempts completed the turn; at most one per revision."""
    deeds: tuple[Deed, ...]
    sends: frozenset[str]


def of(tx: Tx, message_id: str) -> Outcome | None:
    """The outcome so far of a message that is stored, or None."""
    message = timeline.message(tx, message_id)
    if message is None:
        return None
    turns = timeline.turns(tx, message_id)
    is_settled = all(row.state not in UNSETTLED for row in timeline.replies(tx, message_id))
    installation = outbox.installation_id(tx)
    return Outcome(
        state=message.state,
        is_finished=message.state not in UNFINISHED and is_settled,
        attempts=len(turns),
        acted=sum(row.outcome is not None and row.outcome not in NOT_FINAL for row in turns),
        deeds=tuple(_deed(row) for row in timeline.transfers(tx, message_id)),
        sends=frozenset(
            outbox.opaque_of(installation, row.id) for row in timeline.attempts(tx, message_id)
        ),
    )


def _deed(row: LedgerRow) -> Deed:
    return Deed(
        deed="reversed" if row.kind == TransferKind.REVERSAL else DEEDS[Phase(row.phase)],
        transfer=reference_of(row.target_id or row.id),
        amount=format_money(row.amount_minor, currency_of(row.currency)),
    )
