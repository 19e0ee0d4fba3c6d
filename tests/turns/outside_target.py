"""`wbot serve` with one tool that calls another system, made to kill itself around the call.

The tool exists in tests alone: production registers none yet.
"""

import importlib
from enum import StrEnum
from typing import Any

import aiohttp
import msgspec
from torture.target import Cue, die, main

from wbot.clients.model import ToolCall
from wbot.domain.errors import RetryableError
from wbot.payments.context import PaymentContext
from wbot.storage import outside_calls
from wbot.storage.outside_calls import OutsideCall
from wbot.storage.tx import Tx
from wbot.turns import toolbox
from wbot.turns.tools import Outcome, OutsideTool

HTTP_OK = 200


class Arguments(msgspec.Struct, frozen=True):
    """What the model may choose."""

    item: str


def order_tool(url: str) -> OutsideTool:
    """A tool that orders an item from the backend at this address."""

    def prepare(tx: Tx, context: PaymentContext, arguments: Arguments) -> str:
        order = {"item": arguments.item, "at": context.now}  # another text at each call
        return msgspec.json.encode(order).decode()

    async def call(key: str, request: str) -> Outcome:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=request, headers={"Idempotency-Key": key}) as answer,
            ):
                if answer.status != HTTP_OK:
                    raise RetryableError(f"The backend answered HTTP {answer.status}.")
                return Outcome(result={"ok": True, **await answer.json()})
        except aiohttp.ClientError as error:
            raise RetryableError("The connection to the backend was lost.") from error

    return OutsideTool(
        name="order",
        description="Order an item.",
        parameters={"type": "object", "properties": {"item": {"type": "string"}}},
        arguments=Arguments,
        effect_key=lambda _context, arguments: arguments.item,
        prepare=prepare,
        call=call,
    )


class Step(StrEnum):
    """Where the process kills itself; what happens during a call, the backend does."""

    NONE = ""
    BEFORE_OPEN = "before open"
    OPEN_UNCOMMITTED = "open uncommitted"
    AFTER_OPEN = "after open"
    AFTER_CALL = "after call"
    CLOSE_UNCOMMITTED = "close uncommitted"


class OutsideCue(Cue, frozen=True, kw_only=True):
    """Where to die with the order of this item, and where the backend is."""

    url: str
    step: Step = Step.NONE
    item: str = ""


def prepare(cue: OutsideCue) -> None:
    """Register the tool, and wrap what the cue names."""
    toolbox.OUTSIDE_TOOLS["order"] = _watched_tool(cue)
    if cue.step in {Step.BEFORE_OPEN, Step.OPEN_UNCOMMITTED}:
        _watch_open(cue)
    if cue.step is Step.CLOSE_UNCOMMITTED:
        _watch_close(cue)


def _watched_tool(cue: OutsideCue) -> OutsideTool:
    tool = order_tool(cue.url)

    async def call(key: str, request: str) -> Outcome:
        is_here = msgspec.json.decode(request)["item"] == cue.item
        if is_here and cue.step is Step.AFTER_OPEN:
            die()
        outcome = await tool.call(key, request)
        if is_here and cue.step is Step.AFTER_CALL:
            die()
        return outcome

    return msgspec.structs.replace(tool, call=call)


def _watch_open(cue: OutsideCue) -> None:
    real = outside_calls.open_call

    def watched(*given: Any, arguments: str, **named: Any) -> OutsideCall:
        if arguments == cue.item and cue.step is Step.BEFORE_OPEN:
            die()
        call = real(*given, arguments=arguments, **named)
        if arguments == cue.item:
            die()
        return call

    outside_calls.open_call = watched


def _watch_close(cue: OutsideCue) -> None:
    real = toolbox.close_call

    def watched(
        tx: Tx, context: PaymentContext, proposed: ToolCall, call: OutsideCall, outcome: Outcome
    ) -> toolbox.ToolStep:
        step = real(tx, context, proposed, call, outcome)
        if call.arguments == cue.item:
            die()
        return step

    toolbox.close_call = watched


if __name__ == "__main__":
    importlib.import_module("wbot.turns.turn")
    main(OutsideCue, prepare)
