"""Injected faults: values that say how one call or one delivery fails."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from random import Random

import msgspec


class Endpoint(StrEnum):
    """Where a fault can be injected."""

    SEND = "send"  # POST /{phone number id}/messages with a message
    READ = "read"  # the same with a read mark or typing indicator
    MEDIA = "media"  # resolving, downloading, uploading and deleting media
    LOOKUP = "lookup"  # phone numbers and subscriptions
    MODEL = "model"  # POST /v1/chat/completions
    WEBHOOK = "webhook"  # delivery of a customer's message
    STATUS = "status"  # delivery of a sent, delivered or read status


class Kind(StrEnum):
    """What goes wrong, besides the delays that every fault may have."""

    SLOW = "slow"  # nothing but the delays
    REFUSE = "refuse"  # answered with an error; of a status: `failed` is reported instead
    DROP = "drop"  # the connection is closed without an answer
    GARBLE = "garble"  # answered with a body that is not the API's
    SILENCE = "silence"  # never answered; of a delivery: never delivered
    REPEAT = "repeat"  # delivered `copies` times
    REORDER = "reorder"  # delivered after the one that follows
    REBATCH = "rebatch"  # delivered in one body with the one that follows


_CALLS = frozenset({Kind.SLOW, Kind.REFUSE, Kind.DROP, Kind.GARBLE, Kind.SILENCE})
_DELIVERIES = frozenset({Kind.SLOW, Kind.SILENCE, Kind.REPEAT, Kind.REORDER, Kind.REBATCH})
_POSSIBLE = dict.fromkeys(Endpoint, _CALLS) | {
    Endpoint.WEBHOOK: _DELIVERIES,
    Endpoint.STATUS: _DELIVERIES | {Kind.REFUSE},
}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """How one call or delivery fails; the functions below make the usual faults."""

    kind: Kind = Kind.SLOW
    about: str = ""
    """Only calls whose customer (phone or user id) or, at the model, last text contains this."""
    delay_s: float = 0.0
    """Seconds before anything else happens."""
    answer_after_s: float = 0.0
    """Seconds between acting and answering."""
    acts: bool = False
    """Whether a dropped, garbled or silent call takes effect anyway."""
    status: int = 500
    code: int = 131000
    error_type: str = ""
    message: str = "Something went wrong"
    retry_after_s: int | None = None
    body: str = "<html><head><title>502 Bad Gateway</title></head><body></body></html>"
    content_type: str = "text/html"
    copies: int = 1
    at_once: bool = False


def slow(delay_s: float, *, answer_after_s: float = 0.0, about: str = "") -> Fault:
    """Acts after `delay_s`, answers `answer_after_s` later; of a delivery: arrives late."""
    return Fault(delay_s=delay_s, answer_after_s=answer_after_s, about=about)


def refused(
    status: int,
    code: int,
    message: str = "Refused on demand",
    *,
    error_type: str = "",
    retry_after_s: int | None = None,
    about: str = "",
) -> Fault:
    """Answered with an error in the API's own shape; of a status: `failed` with this code.

    The model endpoint's errors carry `error_type` where the Graph API's carry `code`.
    """
    return Fault(
        kind=Kind.REFUSE,
        status=status,
        code=code,
        message=message,
        error_type=error_type,
        retry_after_s=retry_after_s,
        about=about,
    )


def dropped(*, acts: bool = False, about: str = "") -> Fault:
    """The connection closes without an answer, before acting or after it."""
    return Fault(kind=Kind.DROP, acts=acts, about=about)


def garbled(body: str | None = None, *, status: int = 200, acts: bool = False) -> Fault:
    """Answered with a body that is not the API's, by default a proxy's HTML page."""
    fault = Fault(kind=Kind.GARBLE, status=status, acts=acts)
    return fault if body is None else msgspec.structs.replace(fault, body=body)


def silent(*, acts: bool = False, about: str = "") -> Fault:
    """Never answered; of a delivery: never delivered."""
    return Fault(kind=Kind.SILENCE, acts=acts, about=about)


def repeated(copies: int, *, at_once: bool = False, delay_s: float = 0.0, about: str = "") -> Fault:
    """Delivered this many times, one after another or at the same time."""
    return Fault(kind=Kind.REPEAT, copies=copies, at_once=at_once, delay_s=delay_s, about=about)


def reordered(*, about: str = "") -> Fault:
    """Delivered only after the delivery that follows."""
    return Fault(kind=Kind.REORDER, about=about)


def rebatched(*, after_alone: bool = False, about: str = "") -> Fault:
    """Held back, and delivered in one body with the delivery that follows.

    With `after_alone` it is delivered at once too: a repetition grouped differently.
    """
    return Fault(kind=Kind.REBATCH, copies=2 if after_alone else 1, about=about)


class Faults:
    """The faults to inject: scripted ones first, then the lasting one, then the random plan."""

    def __init__(self, *, seed: int = 0) -> None:
        self.listeners: list[Callable[[], None]] = []
        self._seed = seed
        self._script: dict[Endpoint, list[Fault]] = {}
        self._lasting: dict[Endpoint, Fault] = {}
        self._plans: dict[Endpoint, tuple[Random, float, tuple[Fault, ...]]] = {}

    def add(self, endpoint: Endpoint, *faults: Fault) -> None:
        """Inject these faults into the next calls, one per call, in this order."""
        _check(endpoint, faults)
        self._script.setdefault(endpoint, []).extend(faults)
        self._changed()

    def always(self, endpoint: Endpoint, fault: Fault) -> None:
        """Inject this fault into every call until `clear`."""
        _check(endpoint, (fault,))
        self._lasting[endpoint] = fault
        self._changed()

    def at_random(self, endpoint: Endpoint, chance: float, faults: Sequence[Fault]) -> None:
        """Inject faults with this probability; draws depend only on the seed and the call order."""
        _check(endpoint, faults)
        # A plan must repeat from its seed; nothing here is a secret.
        random = Random(f"{self._seed}:{endpoint}")  # noqa: S311
        self._plans[endpoint] = (random, chance, tuple(faults))
        self._changed()

    def clear(self, endpoint: Endpoint | None = None) -> None:
        """Remove all faults, at one endpoint or everywhere."""
        for one in Endpoint if endpoint is None else (endpoint,):
            self._script.pop(one, None)
            self._lasting.pop(one, None)
            self._plans.pop(one, None)
        self._changed()

    def remove(self, endpoint: Endpoint, fault: Fault) -> None:
        """Remove this fault; a random plan stays in force."""
        script = self._script.get(endpoint, [])
        self._script[endpoint] = [one for one in script if one != fault]
        if self._lasting.get(endpoint) == fault:
            del self._lasting[endpoint]
        self._changed()

    def waiting(self, endpoint: Endpoint) -> tuple[Fault, ...]:
        """The scripted faults that are not used up yet."""
        return tuple(self._script.get(endpoint, ()))

    def lasting(self, endpoint: Endpoint) -> Fault | None:
        """What `always` set for this endpoint."""
        return self._lasting.get(endpoint)

    def next_fault(self, endpoint: Endpoint, about: str) -> Fault | None:
        """The fault to inject into this call, if any; a scripted one is used up."""
        script = self._script.get(endpoint, [])
        for position, fault in enumerate(script):
            if fault.about in about:
                del script[position]
                self._changed()
                return fault
        lasting = self._lasting.get(endpoint)
        if lasting is not None and lasting.about in about:
            return lasting
        return self._drawn(endpoint, about)

    def _changed(self) -> None:
        for listener in self.listeners:
            listener()

    def _drawn(self, endpoint: Endpoint, about: str) -> Fault | None:
        if endpoint not in self._plans:
            return None
        random, chance, faults = self._plans[endpoint]
        applies, fault = random.random() < chance, random.choice(faults)
        return fault if applies and fault.about in about else None


def _check(endpoint: Endpoint, faults: Sequence[Fault]) -> None:
    for fault in faults:
        if fault.kind not in _POSSIBLE[endpoint]:
            raise ValueError(f"a {endpoint} cannot go wrong by {fault.kind}")
