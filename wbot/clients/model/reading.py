"""Whether what an endpoint said is an answer: words, calls, or a reason to ask again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from wbot.clients.model.answers import Answer, Completion, ToolCall
from wbot.clients.model.failures import CODE_LENGTH_MAX, Cleaner
from wbot.clients.model.text_calls import has_call_notation, offered_name, read_call
from wbot.clients.model.thinking import without_thinking
from wbot.domain.errors import BadAnswerError, FilteredError
from wbot.domain.receipts import without_mark

CALL_PROPERLY = (
    "Make tool calls through the interface for them alone, one complete call after another; never "
    "write one as text."
)
SAY_SOMETHING = "Answer the customer's latest message in words, or call a tool."
BE_BRIEF = "Answer in a few short sentences."


class UnusableAnswerError(BadAnswerError):
    """An answer to ask for again; `hint` is said to the model then."""

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        own_words: str | None = None,
        needs_room: bool = False,
        is_of_thinking: bool = False,
    ) -> None:
        super().__init__(message, own_words=own_words)
        self.hint = hint
        self.needs_room = needs_room
        self.is_of_thinking = is_of_thinking


def answer_of(
    completion: Completion,
    *,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    cleaned: Cleaner,
) -> Answer:
    """The answer; raises FilteredError, or UnusableAnswerError for one to ask for again."""
    if completion.is_filtered:
        raise FilteredError("The model endpoint's content filter stopped the answer.")
    if completion.is_cut:  # a call that was cut off might be another one
        what = "tool call" if completion.calls else "answer"
        words = without_thinking(completion.text).strip()
        raise UnusableAnswerError(
            f"The model's {what} was cut off.",
            hint=BE_BRIEF if words else "",
            needs_room=True,
            is_of_thinking=not words,
        )
    if completion.has_odd_call:
        raise UnusableAnswerError("The model's tool call could not be read.", hint=CALL_PROPERLY)
    text, calls = _said(completion, messages, tools)
    if not calls and not without_mark(text).strip():
        reason = cleaned(completion.finish_reason[:CODE_LENGTH_MAX]) or "none"
        raise UnusableAnswerError(
            f"The model's answer is empty (finish reason {reason}).",
            own_words="The model's answer is empty.",
            hint=SAY_SOMETHING,
        )
    return Answer(
        text=text,
        tool_calls=calls,
        model=completion.model,
        usage=completion.usage,
        opaque=completion.opaque,
    )


def _said(
    completion: Completion,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
) -> tuple[str, tuple[ToolCall, ...]]:
    """The words without thinking, and the calls by the names on offer."""
    offered = [tool["function"]["name"] for tool in tools]
    text = without_thinking(completion.text)
    if completion.calls:
        # Words beside a call go back to the model, and to nobody else.
        words = "" if has_call_notation(text, offered) else text
        return words, tuple(
            msgspec.structs.replace(call, name=offered_name(call.name, offered))
            for call in completion.calls
        )
    # Of a call in tags for thinking nothing is left, and one in a channel's is a call's notation.
    written = text.strip() or completion.text
    call = read_call(written, tools, quoted=quotable(messages))
    if call is not None:
        return "", (call,)
    if has_call_notation(text, offered):
        raise UnusableAnswerError("The model wrote its tool call as text.", hint=CALL_PROPERLY)
    return text, ()


def quotable(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Every text of the prompt that others than the business have written, or may have."""
    for message in messages:
        content = message.get("content")
        if message.get("role") == "system":
            continue
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (
                part["text"]
                for part in content
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
