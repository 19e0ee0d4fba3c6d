"""What the customers ask for, and the scripted model that does what each of them says."""

import json
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Any

import msgspec
from aiohttp import web
from db_factories import SHOP

from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.simulator import MODEL

OUTSIDE_SHOP = SimulatedBusiness(SHOP.phone_number_id, "206500000000001", "15550100001", "The Shop")
FIRST_PHONE = 15550300000
RECEIVERS = 3
"""The last customers: they receive money and never spend it, so that totals are exact."""
PAYEES = 5
PLACEHOLDER = {"type": "unsupported", "errors": [{"code": 131060, "title": "Unavailable"}]}


class Kind(StrEnum):
    """What one message asks for."""

    WORDS = "words"
    BALANCE = "balance"
    TRANSFER = "transfer"
    PAIR = "pair"  # two payments, in one answer of the model
    ROUNDS = "rounds"  # two payments, the second in a later round
    TWICE = "twice"  # the model calls the same payment twice
    PRESENT = "present"  # to another customer
    CANCEL = "cancel"
    PLACEHOLDER = "placeholder"  # a payment whose text comes after a placeholder under its id
    REJECTED = "rejected"  # a payment that the model refuses to read until an operator retries
    REJECTED_AFTER = "rejected after"  # the same, once the money has moved
    MOVED = "moved"  # WhatsApp announces that the customer has another number


REQUEUED = {Kind.PLACEHOLDER, Kind.REJECTED, Kind.REJECTED_AFTER}
REJECTIONS = {Kind.REJECTED: 0, Kind.REJECTED_AFTER: 1}
"""After how many of its answers the model rejects the next question."""

WEIGHTS = {
    Kind.WORDS: 18,
    Kind.BALANCE: 12,
    Kind.TRANSFER: 34,
    Kind.PAIR: 8,
    Kind.ROUNDS: 6,
    Kind.TWICE: 6,
    Kind.PRESENT: 4,
    Kind.CANCEL: 12,
    Kind.PLACEHOLDER: 8,
    Kind.REJECTED: 4,
    Kind.REJECTED_AFTER: 6,
}

Call = tuple[str, dict[str, str]]


class Payment(msgspec.Struct, frozen=True):
    """An amount, unique for its customer, and its recipient."""

    amount_minor: int
    to: str

    @property
    def call(self) -> Call:
        amount = f"{self.amount_minor // 100}.{self.amount_minor % 100:02}"
        return "transfer", {"amount": amount, "to": self.to, "memo": f"sum {self.amount_minor}"}


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One message of one customer; its tag is in its text, and in the words of its reply."""

    customer: SimulatedCustomer
    number: int
    kind: Kind
    payments: tuple[Payment, ...] = ()
    filler: str = ""
    after: tuple[str, ...] = ()
    """Messages that must be acknowledged before this one is sent."""
    becomes: SimulatedCustomer | None = None
    """The customer after an announced change."""
    is_held: bool = False
    """Its number is on file with another user id: no balance and no money until one decides."""

    @property
    def tag(self) -> str:
        return f"[{self.customer.name}.{self.number}]"

    @property
    def message_id(self) -> str:
        return message_id_of(self.customer.name, self.number)

    @property
    def text(self) -> str:
        said = [f"Transfer ${one.amount_minor / 100:.2f} to {one.to}" for one in self.payments]
        return f"{self.tag} {' and '.join(said) or self.kind}{self.filler}"

    @property
    def words(self) -> str:
        """The model's final text."""
        return f"{self.tag} That is all."

    @property
    def rounds(self) -> tuple[tuple[Call, ...], ...]:
        """The model's calls, answer by answer, before its final text."""
        calls = tuple(one.call for one in self.payments)
        match self.kind:
            case Kind.WORDS:
                return ()
            case Kind.BALANCE | Kind.CANCEL:
                return (((str(self.kind), {}),),)
            case Kind.ROUNDS:
                return tuple((call,) for call in calls)
            case Kind.TWICE:
                return (calls * 2, calls)
            case _:
                return (calls,)

    def content(self) -> dict[str, Any]:
        if self.becomes is not None:
            change = {"type": "user_changed_number", "wa_id": self.becomes.phone, "body": self.text}
            return {"type": "system", "system": change}
        return {"type": "text", "text": {"body": self.text}}


class Fate(StrEnum):
    """What happens to a customer's number during the run."""

    MOVES = "moves"  # to another number, as WhatsApp announces; the old one gets a new owner
    LOSES = "loses"  # it to a new owner, without an announcement
    GAINS = "gains"  # one, after the customer was known by user id alone


FATES = (Fate.MOVES, Fate.LOSES, Fate.GAINS) * 2
HEIRS = 100
"""Added to a customer's number for the new owner of that phone number."""


class Writer:
    """A customer under their current ids."""

    def __init__(
        self, customer: SimulatedCustomer, fate: Fate | None = None, *, is_plain: bool = False
    ) -> None:
        self.customer = first_of(customer) if fate is Fate.GAINS else customer
        self.fate = fate
        self.number = 0
        self.kinds = {k: w for k, w in WEIGHTS.items() if not (is_plain and k in REQUEUED)}
        """With weights; replies to requeued messages name no message, so they need one number."""
        self._full = customer
        self._is_held = False
        self._after: tuple[str, ...] = ()

    def ask(self, kind: Kind, *payments: Payment) -> Ask:
        """The customer's next message."""
        self.number += 1
        return Ask(
            customer=self.customer,
            number=self.number,
            kind=kind,
            payments=payments,
            after=self._after,
            is_held=self._is_held,
        )

    def suffer(self, writers: list["Writer"]) -> list[Ask]:
        """Apply the customer's fate and WhatsApp's notice of it; a new owner joins the writers."""
        fate, self.fate = self.fate, None
        if fate is Fate.GAINS:
            self.customer = self._full
            return []
        name, phone = self.customer.name, self.customer.phone
        owner = SimulatedCustomer(f"c{HEIRS + int(name[1:])}", phone, f"US.1{phone}")
        heir = Writer(owner, is_plain=True)
        writers.append(heir)
        before = tuple(message_id_of(name, number + 1) for number in range(self.number))
        # The user id must be known by then, or the new owner's would become theirs.
        if fate is Fate.LOSES:
            heir._after, heir._is_held = before[:1], True
            self.customer = first_of(self.customer)
            return []
        moved = SimulatedCustomer(name, str(int(str(phone)) + HEIRS), f"US.2{phone}")
        change = self.ask(Kind.MOVED)
        self.customer = moved
        self._after = heir._after = (change.message_id,)
        return [msgspec.structs.replace(change, after=before, becomes=moved)]


def first_of(customer: SimulatedCustomer) -> SimulatedCustomer:
    """The same customer by user id alone."""
    return msgspec.structs.replace(customer, phone=None)


def message_id_of(name: str, number: int) -> str:
    """The id of one customer's n-th message."""
    return f"wamid.torture.{name}.{number}"


def people(count: int) -> tuple[SimulatedCustomer, ...]:
    """The customers, receivers last."""
    return tuple(
        SimulatedCustomer(f"c{number}", str(FIRST_PHONE + number), f"US.{FIRST_PHONE + number}")
        for number in range(count)
    )


def asks_of(
    everyone: Sequence[SimulatedCustomer],
    count: int,
    random: Random,
    *,
    refused: Sequence[SimulatedCustomer],
) -> list[Ask]:
    """`count` messages, the customers mixed, each customer's own in numerical order."""
    receivers = everyone[-RECEIVERS:]
    fates = dict(zip(everyone[len(refused) :], FATES, strict=False))
    writers = [Writer(one, fates.get(one), is_plain=one in (*refused, *fates)) for one in everyone]
    asks: list[Ask] = []
    while len(asks) < count:
        writer = random.choice(writers)
        breath = random.choice((1, 1, 1, 1, 2, 5))  # sometimes several in one
        asks += [_ask(writer, receivers, random) for _ in range(breath)]
        if writer.fate and writer.number >= count // len(everyone) // 2:
            asks += writer.suffer(writers)
    return asks[:count]


def _ask(writer: Writer, receivers: Sequence[SimulatedCustomer], random: Random) -> Ask:
    if writer.customer in receivers:
        return writer.ask(Kind.WORDS)
    kind = random.choices(list(writer.kinds), list(writer.kinds.values()))[0]
    payee = f"P{random.randrange(PAYEES)}"
    number = writer.number + 1
    first, second = Payment(10 * number + 1, payee), Payment(10 * number + 2, payee)
    if kind in {Kind.PAIR, Kind.ROUNDS}:
        return writer.ask(kind, first, second)
    if kind in {Kind.TRANSFER, Kind.TWICE, *REQUEUED}:
        return writer.ask(kind, first)
    if kind is Kind.PRESENT:
        return writer.ask(kind, Payment(10 * number + 3, f"+{random.choice(receivers).phone}"))
    return writer.ask(kind)


class Script:
    """The chat endpoint's answers; call ids are new each time, as with a real model."""

    def __init__(self, asks: Sequence[Ask], random: Random) -> None:
        self.retried: set[str] = set()
        """Ids of messages that the model no longer rejects."""
        self._by_text = {ask.text: ask for ask in asks}
        self._random = random

    def __call__(self, request: dict[str, Any]) -> dict[str, Any] | web.Response:
        messages = request["messages"]
        said = max(n for n, message in enumerate(messages) if message["role"] == "user")
        ask = self._by_text.get(messages[said]["content"])
        if ask is None:  # the service's own probe, whether the model has recovered
            return self._completion({"content": "OK"})
        done = sum(message["role"] == "assistant" for message in messages[said:])
        if REJECTIONS.get(ask.kind) == done and ask.message_id not in self.retried:
            return web.Response(status=400)
        if done < len(ask.rounds):
            return self._completion({"content": None, "tool_calls": self._calls(ask.rounds[done])})
        return self._completion({"content": ask.words})

    def _calls(self, calls: Sequence[Call]) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{self._random.getrandbits(48):x}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for name, arguments in calls
        ]

    def _completion(self, message: dict[str, Any]) -> dict[str, Any]:
        finish_reason = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"message": {"role": "assistant"} | message, "finish_reason": finish_reason}
        return {
            "id": f"chatcmpl-{self._random.getrandbits(48):x}",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": MODEL,
            "choices": [{"index": 0} | choice],
        }
