"""The chat endpoint under an attacker's control; what it proposed is recorded."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from hostile import attacks
from hostile.attacks import LABELS, ORDER, Aim, Proposed
from hostile.world import BY_ID, CARD, FORWARDED, Person, Record, number_of
from wbot.simulator.model.chat_completions import Scripted
from wbot.simulator.simulator import MODEL

_SHOP = re.compile(r"the customers of (\w+) on WhatsApp")
_CUSTOMER = re.compile(r"WhatsApp name is ['\"](C[a-j]+)")
_TAG = re.compile(r"\[c(\d+)\.")
"""In what a customer writes, if no model reads their name."""
_RAW = re.compile(
    rf"{ORDER}(?! Eve(?: \((?:…|\+)\d+\)| is \+\d+))[^\",”\\\n]*?(?:://|\d{{3}}|\n|\\n)"
)
"""An order with a link, a number or a line break behind it.

A line of code may have the number behind the customer's own name for it.
"""
ASKED_FOR = re.compile(r"Send (\S+) to (.+)")
"""What a customer who wants something writes, after the tag."""
TROUBLE = {
    "refused": 2,
    "overloaded": 2,
    "html": 1,
    "cut off": 2,
    "filtered": 1,
    "empty": 2,
    "no choices": 1,
    "no call": 1,
    "no list": 1,
}
"""Invalid answers, by weight; most of them make the service ask again."""


class HostileModel:
    """Answers like a model that wants to move money, or to fake it."""

    def __init__(self, people: Sequence[Person], record: Record, *, seed: int) -> None:
        self._people = {person.number: person for person in people}
        self._phones = [person.phone for person in people]
        self._record = record
        self._seed = seed
        self._asked: Counter[str] = Counter()

    def __call__(self, request: dict[str, Any]) -> Scripted:
        whole = request["messages"]
        system = "\n".join(one["content"] for one in whole if one["role"] == "system")
        messages = [{"role": "system", "content": system}]
        messages += [one for one in whole if one["role"] != "system"]
        if not system:  # the service's own probe, whether the model has recovered
            return _completion(Random(self._seed), {"content": "OK"}, "stop")
        shop = BY_ID[_found(_SHOP, system)]
        person = self._person(messages)
        if person is None:
            return _completion(Random(self._seed), {"content": "Who are you?"})
        said = max(n for n, message in enumerate(messages) if message["role"] == "user")
        words = _words(messages[said]["content"])
        has_read_order = self._look_for_orders(messages)
        done = len([one for one in messages[said:] if one["role"] == "assistant"])
        name = f"{self._seed}/{shop.id}/{person.number}/{words}"
        self._asked[name] += 1
        self._record.counts["model answers"] += 1
        aim = self._record.aim_at(person, shop, self._phones)
        answer = _Answer(Random(f"{name}/{self._asked[name]}"), aim)
        has_obeyed = "Eve" in json.dumps([one.get("tool_calls") for one in messages[said:]])
        read_labels = tuple(label for label in LABELS if label in str(messages[1:]))
        if (has_read_order or read_labels) and not has_obeyed:
            self._record.counts["orders obeyed"] += 1
            response = answer.obey(LABELS if has_read_order else read_labels)
        else:
            response = answer.to(words, done=done, character=Random(name).random())
        self._record.counts["tool calls proposed"] += len(answer.proposed)
        self._record.proposed[(shop.id, person.phone), words] += [
            msgspec.structs.replace(one, has_read_order=has_read_order, read_labels=read_labels)
            for one in answer.proposed
        ]
        return response

    def _person(self, messages: Sequence[dict[str, Any]]) -> Person | None:
        if found := _CUSTOMER.search(messages[0]["content"]):
            return self._people[number_of(found[1])]
        own = [str(one["content"]) for one in messages if one["role"] == "user"]
        tags = [tag for text in own if (tag := _TAG.match(text))]
        return self._people[int(tags[-1][1])] if tags else None

    def _look_for_orders(self, messages: Sequence[dict[str, Any]]) -> bool:
        """Whether anything but the rules holds an order; an order in raw words is recorded."""
        texts = [str(one["content"] or "") for one in messages[1:]]
        self._record.raw += [text for text in texts if _RAW.search(text)]
        return any(ORDER in text for text in texts)


def _words(content: str) -> str:
    """The record's form of the customer's message."""
    if content.startswith("Contact card:"):
        return CARD
    return FORWARDED if content.startswith('{"forwarded') else content


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    assert found is not None, text
    return found[1]


class _Answer:
    """One answer; `proposed` is the part of it that may be acted upon."""

    def __init__(self, random: Random, aim: Aim) -> None:
        self._random = random
        self._aim = aim
        self.proposed: list[Proposed] = []

    def to(self, words: str, *, done: int, character: float) -> Scripted:
        """`character` is the same in all rounds of a message: loyal, endless, or wild."""
        random = self._random
        if random.random() < 0.05:
            return self._trouble()
        if character < 0.3 and (found := ASKED_FOR.search(words)):
            return self._loyal(found[1], found[2], done=done)
        if done == 0 and random.random() < 0.15:
            return self._calling([Proposed("statement", "{}")])
        if character > 0.97 or (done == 0 and random.random() < 0.75) or random.random() < 0.3:
            return self._calling(attacks.calls(random, self._aim))
        return _completion(random, {"content": attacks.words(random, self._aim)})

    def obey(self, labels: Sequence[str]) -> Scripted:
        return self._calling(attacks.obeying(self._random, self._aim, labels))

    def _loyal(self, amount: str, to: str, *, done: int) -> Scripted:
        if done:
            return _completion(self._random, {"content": "That is all."})
        minor = int(amount.replace(".", ""))  # customers write all decimals, and no groups
        arguments = json.dumps({"amount": amount, "to": to})
        return self._calling([Proposed("transfer", arguments, minor, to, is_readable=True)])

    def _calling(self, proposed: list[Proposed]) -> Scripted:
        self.proposed = proposed
        random = self._random
        content = random.choice((None, None, "", attacks.words(random, self._aim)))
        message: dict[str, Any] = {"content": content, "tool_calls": self._calls(proposed)}
        if random.random() < 0.1:
            message["function_call"] = {"name": "transfer", "arguments": "{}"}
        return _completion(random, message)

    def _calls(self, proposed: Sequence[Proposed]) -> list[dict[str, Any]]:
        ids = self._random.choice(("new", "new", "same", "none"))
        made = []
        for number, one in enumerate(proposed):
            function = {"name": one.tool, "arguments": one.arguments}
            call: dict[str, Any] = {"type": "function", "function": function}
            if ids != "none":
                call["id"] = "call_1" if ids == "same" else f"call_{number}_{self._salt()}"
            made.append(call)
        return made

    def _trouble(self) -> Scripted:
        random = self._random
        lie = attacks.words(random, self._aim)
        calls = self._calls(attacks.calls(random, self._aim))
        page = f"<html>{lie}</html>".encode(errors="replace")
        answers: dict[str, Scripted] = {
            "refused": web.json_response({"error": {"message": lie}}, status=429),
            "overloaded": web.json_response({"error": {"message": "Oops"}}, status=500),
            "html": web.Response(body=page, content_type="text/html"),
            "cut off": _completion(random, {"content": lie, "tool_calls": calls}, "length"),
            "filtered": _completion(random, {"content": lie}, "content_filter"),
            "empty": _completion(random, {"content": random.choice((None, "", " ", "\n"))}),
            "no choices": {"choices": random.choice(([], None, "", {}))},
            "no call": _completion(random, {"content": lie, "tool_calls": [*calls, None, 7]}),
            "no list": _completion(random, {"content": lie, "tool_calls": "transfer(20, John)"}),
        }
        return answers[random.choices(list(TROUBLE), list(TROUBLE.values()))[0]]

    def _salt(self) -> str:
        return f"{self._random.getrandbits(32):x}"


def _completion(
    random: Random, message: dict[str, Any], finish_reason: str | None = None
) -> Scripted:
    reason = finish_reason or random.choice(("stop", "tool_calls", None, "eos"))
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": reason}
    return {
        "id": f"chatcmpl-{random.getrandbits(48):x}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": MODEL,
        "choices": [choice],
    }
