"""The tools on offer, and how one proposed call becomes a result inside a step's transaction."""

from typing import Any

import msgspec

from wbot.clients.model import ToolCall
from wbot.domain.errors import MalformedError, RefusedError
from wbot.domain.foreign import ForeignWords
from wbot.domain.states import OutsideCallState
from wbot.domain.tool_arguments import read_arguments
from wbot.payments.context import PaymentContext
from wbot.storage import journal, messages, outside_calls
from wbot.storage.outside_calls import OutsideCall
from wbot.storage.tx import Tx
from wbot.turns.tools import Outcome, OutsideTool, Tool, refused
from wbot.turns.tools.balance import BALANCE
from wbot.turns.tools.cancel import CANCEL
from wbot.turns.tools.statement import STATEMENT
from wbot.turns.tools.transfer import TRANSFER

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (TRANSFER, CANCEL, BALANCE, STATEMENT)}

OUTSIDE_TOOLS: dict[str, OutsideTool] = {}
"""Tools that call another system, by name; none is built in."""


def definitions() -> list[dict[str, Any]]:
    """The tools in the Chat Completions form."""
    tools: list[Tool | OutsideTool] = [*TOOLS.values(), *OUTSIDE_TOOLS.values()]
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools
    ]


class ToolStep(msgspec.Struct, frozen=True, kw_only=True):
    """A call and what came of it, as the journal keeps it; a repeat has the first's receipt."""

    call_id: str
    name: str
    result: str
    receipt: str | None = None
    notify_conversation_id: int | None = None
    """The conversation whose outbox has something new because of it."""


def call(tx: Tx, context: PaymentContext, proposed: ToolCall) -> ToolStep:
    """Do what the model proposes, once per effect; a bad call gets a sentence, never an error."""
    try:
        tool = _tool(proposed.name)
        outcome = _act(tx, context, tool, _arguments(tool, proposed.arguments))
        if outcome.is_foreign:  # in the same transaction: no later call may act as if it were not
            messages.note_foreign(tx, context.message_id, ForeignWords.READ)
    except (MalformedError, RefusedError) as error:
        outcome = Outcome(result=refused(str(error)))
    return _step(proposed, outcome)


def open_call(
    tx: Tx, context: PaymentContext, tool: OutsideTool, proposed: ToolCall
) -> OutsideCall | ToolStep:
    """The call, opened; or its step, where the message made it before or it does not fit."""
    try:
        arguments = _arguments(tool, proposed.arguments)
        key = tool.effect_key(context, arguments)
        done = _done_before(tx, context.message_id, tool.name, key)
        if done is not None:
            return _step(proposed, done)
        request = tool.prepare(tx, context, arguments)
    except (MalformedError, RefusedError) as error:
        return _step(proposed, Outcome(result=refused(str(error))))
    return outside_calls.open_call(
        tx, context.message_id, tool.name, arguments=key, request=request, now=context.now
    )


def close_call(
    tx: Tx, context: PaymentContext, proposed: ToolCall, call: OutsideCall, outcome: Outcome
) -> ToolStep:
    """The step of a call that was answered; what was answered is another's words."""
    outside_calls.close_call(tx, call.key, OutsideCallState.DONE, context.now)
    _add_effect(tx, context, call.tool, call.arguments, outcome)
    messages.note_foreign(tx, context.message_id, ForeignWords.READ)
    return _step(proposed, outcome)


def refusal(proposed: ToolCall, sentence: str) -> ToolStep:
    """The result of a call that is not processed at all."""
    return _step(proposed, Outcome(result=refused(sentence)))


def _step(proposed: ToolCall, outcome: Outcome) -> ToolStep:
    return ToolStep(
        call_id=proposed.id,
        name=proposed.name,
        result=msgspec.json.encode(outcome.result).decode(),
        receipt=outcome.receipt,
        notify_conversation_id=outcome.notify_conversation_id,
    )


def _tool(name: str) -> Tool:
    if name not in TOOLS:
        raise MalformedError(f"There is no tool {name!r}.")
    return TOOLS[name]


def _act(tx: Tx, context: PaymentContext, tool: Tool, arguments: Any) -> Outcome:
    if tool.effect_key is None:
        return tool.run(tx, context, arguments)
    key = tool.effect_key(context, arguments)
    done = _done_before(tx, context.message_id, tool.name, key)
    if done is not None:
        return done
    outcome = tool.run(tx, context, arguments)
    _add_effect(tx, context, tool.name, key, outcome)
    return outcome


def _done_before(tx: Tx, message_id: str, tool: str, key: str) -> Outcome | None:
    done = journal.effect(tx, message_id, tool, key)
    if done is None:
        return None
    first = msgspec.json.decode(done.result)
    repeated = {**first, "repeated": "The same call in one message acts once."}
    return Outcome(result=repeated, receipt=done.receipt)


def _add_effect(tx: Tx, context: PaymentContext, tool: str, key: str, outcome: Outcome) -> None:
    effect = journal.Effect(
        tool=tool,
        arguments=key,
        result=msgspec.json.encode(outcome.result).decode(),
        receipt=outcome.receipt,
        transfer_id=outcome.transfer_id,
    )
    journal.add_effect(tx, context.message_id, effect, context.now)


def _arguments(tool: Tool | OutsideTool, text: str) -> Any:
    try:
        return msgspec.convert(read_arguments(text), tool.arguments, strict=False)
    except (MalformedError, ValueError) as error:
        raise MalformedError(f"The arguments of {tool.name} do not fit: {error}.") from error
