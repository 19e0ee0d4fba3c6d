"""The page of state machines: what its tables say agrees with what its states mean."""

from itertools import pairwise, permutations, product
from typing import Any

import pytest

from wbot.domain.states import (
    IN_COLUMNS,
    MESSAGE,
    REPLY,
    REPORTED,
    TRANSFER,
    UNFINISHED,
    UNSETTLED,
    MessageState,
    ReplyState,
    later_state,
)

RISING = [
    *("waiting", "sending", "unknown", "accepted", "sent"),
    *("failed", "delivered", "read", "played"),
]


def test_states_rise_in_the_order_of_delivery() -> None:
    assert set(RISING) == set(ReplyState)
    for lower, higher in pairwise(RISING):
        assert later_state(ReplyState(lower), ReplyState(higher)) == higher
        assert later_state(ReplyState(higher), ReplyState(lower)) == higher


@pytest.mark.parametrize("state", list(ReplyState))
def test_the_same_state_again_is_no_rise(state: ReplyState) -> None:
    assert later_state(state, state) is state


def test_the_order_of_statuses_does_not_matter() -> None:
    for order in permutations(REPORTED):
        state = ReplyState.SENDING
        for reported in order:
            state = later_state(state, reported)
        assert state is ReplyState.PLAYED


def test_every_state_is_settled_or_not() -> None:
    assert {"waiting", "sending", "unknown"} == UNSETTLED
    assert {"sent", "delivered", "read", "played", "failed"} == REPORTED


def test_a_status_raises_a_reply_only_as_its_table_says() -> None:
    for before, reported in product(ReplyState, [ReplyState.ACCEPTED, *REPORTED]):
        after = later_state(before, reported)
        assert after is before or after in REPLY[before]


@pytest.mark.parametrize("machine", [*IN_COLUMNS.values(), TRANSFER])
def test_every_state_can_be_reached(machine: Any) -> None:
    reached = set(machine[None])
    states: Any = type(next(iter(reached)))
    for _ in machine:
        reached |= {after for before in reached for after in machine.get(before, ())}
    assert reached == set(states)
    assert all(before not in after for before, after in machine.items())


def test_an_ended_message_only_waits_again() -> None:
    ended = set(MESSAGE) - UNFINISHED - {None}
    assert {frozenset(MESSAGE[one]) for one in ended} == {frozenset({MessageState.WAITING})}
