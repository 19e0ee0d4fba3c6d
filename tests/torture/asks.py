"""What the customers ask for, and the scripted model that does as each of them says."""

import json
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Any

import msgspec
from stored import SHOP

from wbot.simulator.app import MODEL
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer

OUTSIDE_SHOP = SimulatedBusiness(SHOP.phone_number_id, "206500000000001", "15550100001", "The Shop")
FIRST_PHONE = 15550300000
RECEIVERS = 3
"""The last customers: they get presents and never touch money, so figures are told exactly."""
PAYEES = 5


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


WEIGHTS = {
    Kind.WORDS: 18,
    Kind.BALANCE: 12,
    Kind.TRANSFER: 34,
    Kind.PAIR: 8,
    Kind.ROUNDS: 6,
    Kind.TWICE: 6,
    Kind.PRESENT: 4,
    Kind.CANCEL: 12,
}

Call = tuple[str, dict[str, str]]


class Payment(msgspec.Struct, frozen=True):
    """An amount, unlike any other of its customer, and whom it goes to."""

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
        """What the model says in the end."""
        return f"{self.tag} That is all."

    @property
    def rounds(self) -> tuple[tuple[Call, ...], ...]:
        """What the model calls, answer by answer, before it says its words."""
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
        return {"type": "text", "text": {"body": self.text}}


def message_id_of(name: str, number: int) -> str:
    """The id of one customer's n-th message."""
    return f"wamid.torture.{name}.{number}"


def people(count: int) -> tuple[SimulatedCustomer, ...]:
    """The customers, receivers last."""
    return tuple(
        SimulatedCustomer(f"c{number}", str(FIRST_PHONE + number), f"US.{FIRST_PHONE + number}")
        for number in range(count)
    )


def asks_of(everybody: Sequence[SimulatedCustomer], count: int, random: Random) -> list[Ask]:
    """`count` messages, the customers mixed, each customer's own in the order of their numbers."""
    receivers = everybody[-RECEIVERS:]
    numbers = dict.fromkeys(everybody, 0)
    asks: list[Ask] = []
    while len(asks) < count:
        writer = random.choice(everybody)
        for _ in range(random.choice((1, 1, 1, 1, 2, 5))):  # sometimes several in one breath
            numbers[writer] += 1
            asks.append(_ask(writer, numbers[writer], receivers, random))
    return asks[:count]


def _ask(
    writer: SimulatedCustomer,
    number: int,
    receivers: Sequence[SimulatedCustomer],
    random: Random,
) -> Ask:
    if writer in receivers:
        return Ask(customer=writer, number=number, kind=Kind.WORDS)
    kind = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    payee = f"P{random.randrange(PAYEES)}"
    first, second = Payment(10 * number + 1, payee), Payment(10 * number + 2, payee)
    if kind in {Kind.PAIR, Kind.ROUNDS}:
        return Ask(customer=writer, number=number, kind=kind, payments=(first, second))
    if kind in {Kind.TRANSFER, Kind.TWICE}:
        return Ask(customer=writer, number=number, kind=kind, payments=(first,))
    if kind is Kind.PRESENT:
        present = Payment(10 * number + 3, f"+{random.choice(receivers).phone}")
        return Ask(customer=writer, number=number, kind=kind, payments=(present,))
    return Ask(customer=writer, number=number, kind=kind)


class Script:
    """The chat endpoint's answers; ids of calls are new each time, as a real model's are."""

    def __init__(self, asks: Sequence[Ask], random: Random) -> None:
        self._by_text = {ask.text: ask for ask in asks}
        self._random = random

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        messages = request["messages"]
        said = max(n for n, message in enumerate(messages) if message["role"] == "user")
        ask = self._by_text[messages[said]["content"]]
        done = sum(message["role"] == "assistant" for message in messages[said:])
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
