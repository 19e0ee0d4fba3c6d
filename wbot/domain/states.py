"""Every state machine on one page: its states, and which of them may follow which.

The schema keeps the same pairs in `state_transitions`, and refuses every other change.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

_State = TypeVar("_State", bound=StrEnum)
Transitions = Mapping[_State | None, frozenset[_State]]
"""What may follow each state; what follows None is how a row may begin, or a question may end."""

# A message received --------------------------------------------------------------------------


class MessageState(StrEnum):
    """Where a message stands; the last three end it."""

    WAITING = "waiting"
    BEGUN = "begun"
    ANSWERED = "answered"
    SILENT = "silent"
    FAILED = "failed"


MESSAGE: Transitions[MessageState] = {
    None: frozenset({MessageState.WAITING, MessageState.SILENT}),
    MessageState.WAITING: frozenset(
        {MessageState.BEGUN, MessageState.SILENT}  # silent: asked about together with an older one
    ),
    MessageState.BEGUN: frozenset(
        {MessageState.ANSWERED, MessageState.SILENT, MessageState.FAILED}
    ),
    # Another revision: its real text came, an operator retries it, or its customer says to go on.
    MessageState.ANSWERED: frozenset({MessageState.WAITING}),
    MessageState.SILENT: frozenset({MessageState.WAITING}),
    MessageState.FAILED: frozenset({MessageState.WAITING}),
}

UNFINISHED = frozenset({MessageState.WAITING, MessageState.BEGUN})
"""States of a message whose turn has not ended."""

# One attempt of a turn -----------------------------------------------------------------------


class TurnOutcome(StrEnum):
    """How an attempt of a turn ended; the first three leave the message to another attempt."""

    RETRY = "retry"
    BLOCKED = "blocked"
    """The model or the token is refused, or the model is down; the attempt does not count."""
    STOPPED = "stopped"
    ANSWERED = "answered"
    SILENT = "silent"
    FAILED = "failed"


TURN: Transitions[TurnOutcome] = {None: frozenset(TurnOutcome)}

NOT_FINAL = frozenset({TurnOutcome.RETRY, TurnOutcome.BLOCKED, TurnOutcome.STOPPED})
"""Outcomes after which the message still waits."""

# A reply -------------------------------------------------------------------------------------


class ReplyState(StrEnum):
    """The states of an outbox row, each above those before it."""

    WAITING = "waiting"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    SENT = "sent"
    # A failure on one device says nothing where another one has it; before that it stands.
    FAILED = "failed"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"


_RANK = {state: rank for rank, state in enumerate(ReplyState)}

UNSETTLED = frozenset({ReplyState.WAITING, ReplyState.SENDING, ReplyState.UNKNOWN})
"""States in which the next reply of the conversation still waits."""

REPORTED = frozenset(
    {
        ReplyState.SENT,
        ReplyState.DELIVERED,
        ReplyState.READ,
        ReplyState.PLAYED,
        ReplyState.FAILED,
    }
)
"""States a status webhook can report; any other word says only that Meta took the message."""

# Also of one whose send was never answered: a status can come before the answer, or without it.
_SETTLED = REPORTED | {ReplyState.ACCEPTED}

REPLY: Transitions[ReplyState] = {
    None: frozenset({ReplyState.WAITING}),
    ReplyState.WAITING: _SETTLED | {ReplyState.SENDING},
    ReplyState.SENDING: _SETTLED | {ReplyState.WAITING, ReplyState.UNKNOWN},
    ReplyState.UNKNOWN: _SETTLED | {ReplyState.SENDING, ReplyState.WAITING},
    # Waiting again: a status said that it failed for now.
    ReplyState.ACCEPTED: REPORTED | {ReplyState.WAITING},
    ReplyState.SENT: (REPORTED - {ReplyState.SENT}) | {ReplyState.WAITING},
    # Waiting: a question still open goes out again when its customer writes.
    ReplyState.FAILED: frozenset(
        {ReplyState.WAITING, ReplyState.DELIVERED, ReplyState.READ, ReplyState.PLAYED}
    ),
    ReplyState.DELIVERED: frozenset({ReplyState.READ, ReplyState.PLAYED}),
    ReplyState.READ: frozenset({ReplyState.PLAYED}),
}


def later_state(current: ReplyState, reported: ReplyState) -> ReplyState:
    """The higher of the two: statuses come late, twice, out of order, and never lower a state."""
    return max(current, reported, key=_RANK.__getitem__)


# One attempt to send a reply -----------------------------------------------------------------


class SendOutcome(StrEnum):
    """How an attempt to send ended; unknown: nobody can say whether it left."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


SEND: Transitions[SendOutcome] = {None: frozenset(SendOutcome)}

# A call to the team's own backend --------------------------------------------------------------


class OutsideCallState(StrEnum):
    """Where a call stands; unknown: nobody can say whether the other side has acted."""

    OPEN = "open"
    DONE = "done"
    UNKNOWN = "unknown"


OUTSIDE_CALL: Transitions[OutsideCallState] = {
    None: frozenset({OutsideCallState.OPEN}),
    OutsideCallState.OPEN: frozenset({OutsideCallState.DONE, OutsideCallState.UNKNOWN}),
    # A later revision of the message makes it once more, with the same key.
    OutsideCallState.UNKNOWN: frozenset({OutsideCallState.OPEN}),
}

# A question with buttons ---------------------------------------------------------------------


class PromptOutcome(StrEnum):
    """How a question ended; once. What it asked about may have been cancelled otherwise: no."""

    YES = "yes"
    NO = "no"
    EXPIRED = "expired"


PROMPT: Transitions[PromptOutcome] = {None: frozenset(PromptOutcome)}

# A transfer ----------------------------------------------------------------------------------


class TransferState(StrEnum):
    """Where a transfer stands, as statements show it."""

    PENDING = "pending"
    POSTED = "posted"
    VOID = "void"
    REVERSED = "reversed"
    REFUSED = "refused"


# The ledger's rows never change: a later row, at most one of each kind, changes the state.
TRANSFER: Transitions[TransferState] = {
    None: frozenset({TransferState.PENDING, TransferState.POSTED, TransferState.REFUSED}),
    TransferState.PENDING: frozenset({TransferState.POSTED, TransferState.VOID}),
    TransferState.POSTED: frozenset({TransferState.REVERSED}),
}

# What a batch pays to one payee outside -------------------------------------------------------


class PayoutState(StrEnum):
    """Where a payout stands: handed to whoever pays it, then paid out, or given back."""

    EXPORTED = "exported"
    SETTLED = "settled"
    VOID = "void"


PAYOUT: Transitions[PayoutState] = {
    None: frozenset({PayoutState.EXPORTED}),
    PayoutState.EXPORTED: frozenset({PayoutState.SETTLED, PayoutState.VOID}),
}

IN_COLUMNS: Mapping[str, Mapping[Any, frozenset[Any]]] = {
    "message": MESSAGE,
    "turn": TURN,
    "reply": REPLY,
    "send": SEND,
    "outside_call": OUTSIDE_CALL,
    "payout": PAYOUT,
    "prompt": PROMPT,
}
"""The machines whose state is a column, by their names in `state_transitions`."""
