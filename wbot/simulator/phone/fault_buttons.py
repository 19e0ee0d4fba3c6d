"""The faults that the phone page can inject, so that a team sees how wbot handles them."""

import msgspec

from wbot.simulator.faults.plan import Endpoint, Fault, Faults, dropped, refused, repeated, slow


class _Cause(msgspec.Struct, frozen=True):
    label: str
    endpoints: tuple[Endpoint, ...]
    fault: Fault
    lasts: bool


CAUSES = {
    "webhooks": _Cause(
        "Deliver webhooks three times",
        (Endpoint.WEBHOOK, Endpoint.STATUS),
        repeated(3, at_once=True),
        lasts=True,
    ),
    "model": _Cause("Delay the model 5 s", (Endpoint.MODEL,), slow(5.0), lasts=True),
    "refusal": _Cause(
        "Fail the next send",
        (Endpoint.SEND,),
        refused(400, 130429, "Rate limit hit"),
        lasts=False,
    ),
    "response": _Cause(
        "Lose the next send's response", (Endpoint.SEND,), dropped(acts=True), lasts=False
    ),
}


class FaultButtons:
    """Switches the page's faults on and off."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def cause(self, name: str, *, wanted: bool) -> None:
        """Start or end one fault; raises KeyError when there is no such fault."""
        cause = CAUSES[name]
        for endpoint in cause.endpoints:
            if not wanted:
                self._faults.remove(endpoint, cause.fault)
            elif cause.lasts:
                self._faults.always(endpoint, cause.fault)
            else:
                self._faults.add(endpoint, cause.fault)

    def state(self) -> list[dict[str, str | bool]]:
        """Every fault with its label, whether it lasts, and whether it is on now."""
        return [
            {"name": name, "label": one.label, "lasts": one.lasts, "on": self._is_on(one)}
            for name, one in CAUSES.items()
        ]

    def _is_on(self, cause: _Cause) -> bool:
        endpoint = cause.endpoints[0]
        lasting = self._faults.lasting(endpoint) == cause.fault
        return lasting or cause.fault in self._faults.waiting(endpoint)
