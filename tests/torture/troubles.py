"""Faults at the Graph API, at the model, and in statuses: values for the simulator."""

from collections.abc import Sequence

from wbot.simulator.faults.plan import (
    Endpoint,
    Fault,
    dropped,
    garbled,
    rebatched,
    refused,
    reordered,
    repeated,
    silent,
    slow,
)
from wbot.simulator.people import SimulatedCustomer
from wbot.simulator.simulator import Simulator

RETRYABLE_CODES = {
    1: 400,
    2: 503,
    4: 400,
    17: 400,
    80007: 400,
    130429: 400,
    131000: 500,
    131016: 500,
    131056: 400,
    131057: 400,
    133004: 503,
    133015: 400,
}
"""Meta's code, and the HTTP status that comes with it (cloud-api.md 5.2: R)."""
PERMANENT_CODES = {
    100: 400,
    130472: 400,
    130497: 403,
    131008: 400,
    131009: 400,
    131026: 400,
    131047: 400,
    131049: 400,
    131050: 400,
    131051: 400,
}
"""The same for N: never as it is."""
ACCOUNT_CODES = {0: 401, 190: 401, 10: 403, 131042: 400, 131045: 500}
"""Some of F: the business's sends wait half a minute."""

LOST = (
    dropped(),
    dropped(acts=True),
    garbled(acts=True),
    garbled(status=502),
    silent(acts=True),
    silent(),
    slow(0.3, answer_after_s=0.3),
)
BROKEN_MODEL = (
    slow(0.4),
    silent(),
    refused(429, 0, "Slow down", error_type="rate_limit_exceeded", retry_after_s=1),
    refused(500, 0, "Oops", error_type="server_error"),
    refused(503, 0, "Overloaded", error_type="server_error"),
    dropped(),
    dropped(acts=True),
    garbled(),
    garbled("{"),
    garbled('{"choices": []}'),
)
ODD_STATUSES = (
    repeated(3, at_once=True),
    repeated(2),
    reordered(),
    rebatched(),
    rebatched(after_alone=True),
    slow(0.3),
)


def begin(simulator: Simulator, refused_customers: Sequence[SimulatedCustomer]) -> None:
    """Make a part of all calls fail from now on; permanently only for those customers."""
    simulator.faults.at_random(Endpoint.MODEL, 0.15, BROKEN_MODEL)
    simulator.faults.at_random(Endpoint.STATUS, 0.3, ODD_STATUSES)
    simulator.faults.at_random(Endpoint.READ, 0.1, (dropped(), refused(500, 131000)))
    retryable = [refused(status, code) for code, status in RETRYABLE_CODES.items()]
    permanent = [
        refused(status, code, about=str(customer.phone))
        for code, status in PERMANENT_CODES.items()
        for customer in refused_customers
    ]
    plan: list[Fault] = [*LOST * 3, *retryable, *permanent]
    simulator.faults.at_random(Endpoint.SEND, 0.35, plan)


def refuse_account(simulator: Simulator, code: int) -> None:
    """Refuse the next send with an error of the account."""
    simulator.faults.add(Endpoint.SEND, refused(ACCOUNT_CODES[code], code))


def end(simulator: Simulator) -> None:
    """Remove all faults."""
    simulator.faults.clear()
