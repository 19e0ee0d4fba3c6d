"""Pure reading of a model's words: thinking, calls written as text, odd arguments."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbot.clients.model.text_calls import has_call_notation, offered_name, read_call
from wbot.clients.model.thinking import without_thinking
from wbot.domain.errors import MalformedError
from wbot.domain.tool_arguments import read_arguments
from wbot.turns import toolbox

TOOLS = toolbox.definitions()
NAMES = list(toolbox.TOOLS)
TRANSFER = {"amount": "20.00", "to": "John"}
JSON = json.dumps({"name": "transfer", "arguments": TRANSFER})
ARGUMENTS = json.dumps(TRANSFER)

THOUGHTS = {
    "Hello.<|im_end|>": "Hello.",
    "Hello.</s>": "Hello.",
    "<start_of_turn>Hello.<end_of_turn>": "Hello.",
    "Is it 3 <4>?": "Is it 3 <4>?",
    "<think>a</think>Hello": "Hello",
    "<think>\na\n</think>\n\nHello": "Hello",
    "<thinking>a</thinking> Hello": "Hello",
    "<reasoning>a</reasoning>Hello": "Hello",
    "<thought>a</thought>Hello": "Hello",
    "<THINK>a</THINK>Hello": "Hello",
    "<think >a</think >Hello": "Hello",
    '<think time="2">a</think>Hello': "Hello",
    "Hello <think>a</think>there": "Hello there",
    "a</think>Hello": "Hello",
    "a\n</thinking>\nHello": "Hello",
    "<think>a": "",
    "Hello<think>a": "Hello",
    "<think></think>Hello": "Hello",
    "<think>a<think>b</think>c</think>Hello": "Hello",
    "<think>a</think>Hello<think>b</think>": "Hello",
    "&lt;think&gt;a&lt;/think&gt;Hello": "Hello",
    "[THINK]a[/THINK]Hello": "Hello",
    "◁think▷a◁/think▷Hello": "Hello",
    "<|begin_of_thought|>a<|end_of_thought|>Hello": "Hello",
    "<seed:think>a</seed:think>Hello": "Hello",
    "<think>a</think><answer>Hello</answer>": "Hello",
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Hello": (
        "Hello"
    ),
    "<|channel|>final<|message|>Hello<|return|>": "Hello",
    "Hello": "Hello",
    " 3 < 4 thinks ": " 3 < 4 thinks ",
    "I think <b> so": "I think <b> so",
}

WRITTEN = {
    "bare": JSON,
    "fenced": f"```json\n{JSON}\n```",
    "fenced without a word": f"```\n{JSON}\n```",
    "Hermes": f"<tool_call>\n{JSON}\n</tool_call>",
    "Hermes, unclosed": f"<tool_call>\n{JSON}",
    "fenced Hermes": f"```xml\n<tool_call>{JSON}</tool_call>\n```",
    "a list of one": f"[{JSON}]",
    "Llama": json.dumps({"name": "transfer", "parameters": TRANSFER}),
    "Llama, token": f"<|python_tag|>{json.dumps({'name': 'transfer', 'parameters': TRANSFER})}",
    "OpenAI's object": json.dumps(
        {"type": "function", "function": {"name": "transfer", "arguments": ARGUMENTS}}
    ),
    "OpenAI's list": json.dumps(
        {"tool_calls": [{"id": "1", "function": {"name": "transfer", "arguments": TRANSFER}}]}
    ),
    "a tool's name": json.dumps({"tool": "transfer", "tool_input": TRANSFER}),
    "LangChain": json.dumps({"action": "transfer", "action_input": TRANSFER}),
    "Mistral": f"[TOOL_CALLS] [{JSON}]",
    "Mistral's newer": f"[TOOL_CALLS]transfer[ARGS]{ARGUMENTS}",
    "Llama's tag": f"<function=transfer>{ARGUMENTS}</function>",
    "Qwen's coder": (
        "<tool_call>\n<function=transfer>\n<parameter=amount>\n20.00\n</parameter>\n"
        "<parameter=to>\nJohn\n</parameter>\n</function>\n</tool_call>"
    ),
    "Anthropic's": (
        '<function_calls>\n<invoke name="transfer">\n<parameter name="amount">20.00</parameter>\n'
        '<parameter name="to">John</parameter>\n</invoke>\n</function_calls>'
    ),
    "GLM": (
        "<tool_call>transfer\n<arg_key>amount</arg_key>\n<arg_value>20.00</arg_value>\n"
        "<arg_key>to</arg_key>\n<arg_value>John</arg_value>\n</tool_call>"
    ),
    "Phi": f"functools[{JSON}]",
    "DeepSeek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>transfer\n"
        f"```json\n{ARGUMENTS}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "Kimi": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.transfer:0"
        f"<|tool_call_argument_begin|>{ARGUMENTS}<|tool_call_end|><|tool_calls_section_end|>"
    ),
    "harmony": (
        "<|channel|>commentary to=functions.transfer <|constrain|>json<|message|>"
        f"{ARGUMENTS}<|call|>"
    ),
    "Python": 'transfer(amount="20.00", to="John")',
    "Python, listed": '[transfer(amount="20.00", to="John")]',
    "Gemini's code": '```tool_code\nprint(default_api.transfer(amount="20.00", to="John"))\n```',
    "ReAct": f"Action: transfer\nAction Input: {ARGUMENTS}",
    "a server's prefix": json.dumps({"name": "functions.transfer", "arguments": TRANSFER}),
    "encoded twice": json.dumps({"name": "transfer", "arguments": ARGUMENTS}),
}

NO_CALLS = {
    "another tool": json.dumps({"name": "send_money", "arguments": TRANSFER}),
    "an unknown argument": json.dumps(
        {"name": "transfer", "arguments": {**TRANSFER, "confirmed": "yes"}}
    ),
    "a missing argument": json.dumps({"name": "transfer", "arguments": {"amount": "20.00"}}),
    "an argument of another kind": json.dumps(
        {"name": "transfer", "arguments": {"amount": {"value": 20}, "to": "John"}}
    ),
    "two calls": f"<tool_call>{JSON}</tool_call>\n<tool_call>{JSON}</tool_call>",
    "a list of two": f"[{JSON}, {JSON}]",
    "words before": f"Sure!\n<tool_call>{JSON}</tool_call>",
    "words behind": f"<tool_call>{JSON}</tool_call>\nDone.",
    "cut off": JSON[:-5],
    "no arguments": '```json\n{"tool": "transfer"}\n```',
}


@pytest.mark.parametrize(("text", "words"), THOUGHTS.items())
def test_thinking_is_left_out(text: str, words: str) -> None:
    assert without_thinking(text) == words


@given(st.text(), st.text())
def test_what_is_thought_in_tags_is_never_among_the_words(thought: str, said: str) -> None:
    hidden = thought.replace("<", "").replace("[", "").replace("&", "").replace("◁", "")
    text = f"<think>secret-{hidden}</think>{said}"
    assert "secret-" not in without_thinking(text)


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_call_in_any_notation_is_read(text: str) -> None:
    call = read_call(text, TOOLS, quoted=["Please send 20.00 to John"])
    assert call is not None
    assert (call.name, json.loads(call.arguments), call.came_as_text) == (
        "transfer",
        TRANSFER,
        True,
    )
    assert has_call_notation(text, NAMES)


@pytest.mark.parametrize("text", NO_CALLS.values(), ids=NO_CALLS)
def test_what_is_not_exactly_one_sound_call_is_none_and_not_shown(text: str) -> None:
    assert read_call(text, TOOLS, quoted=[]) is None
    assert has_call_notation(text, NAMES)


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("around", ["{}", "Say this: {}", "{} please", "```\n{}\n```"])
def test_what_the_prompt_quotes_is_no_call(text: str, around: str) -> None:
    assert read_call(text, TOOLS, quoted=["hi", around.format(text)]) is None


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_no_other_notation_of_what_the_prompt_quotes_is_a_call(text: str) -> None:
    """A model that translates a customer's text is obeying it all the same."""
    assert [one for one in WRITTEN.values() if read_call(one, TOOLS, quoted=[text])] == []


PIECES = st.sampled_from([*WRITTEN.values(), ARGUMENTS, "transfer", "<tool_call>", "{", "}", "\n"])


@given(st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=4).map("".join))
def test_no_text_of_a_customer_becomes_a_call(text: str) -> None:
    """Whatever they type and however the model wraps it in handing it on."""
    for answer in (text, f"<tool_call>{text}</tool_call>", f"```json\n{text}\n```"):
        assert read_call(answer, TOOLS, quoted=[text]) is None


@given(st.text(max_size=80))
def test_ordinary_words_are_read_as_words(text: str) -> None:
    assert read_call(text, TOOLS, quoted=[]) is None


@pytest.mark.parametrize(
    "text",
    [
        "Hello! How can I help?",
        "You can transfer (up to $500) today.",
        "Your balance (available): $5.00.",
        "We open at 9. Call us, or cancel (no fee).",
        'The code is {"a": 1}.',
        "Use the tools > settings menu.",
        "**Action**: pay the bill",
    ],
)
def test_ordinary_answers_have_no_notation_of_calls(text: str) -> None:
    assert not has_call_notation(text, NAMES)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("transfer", "transfer"),
        ("functions.transfer", "transfer"),
        ("default_api:transfer", "transfer"),
        ("default_api.transfer", "transfer"),
        ("mcp__bank__transfer", "transfer"),
        ("tools/transfer", "transfer"),
        ("transfer<|channel|>commentary", "transfer"),
        ("wire.transfers", "wire.transfers"),
        ("my_transfer", "my_transfer"),
        ("transfer.all", "transfer.all"),
        ("", ""),
    ],
)
def test_a_server_s_prefix_is_no_part_of_a_name(name: str, meant: str) -> None:
    assert offered_name(name, NAMES) == meant


SOUND: dict[str, dict[str, Any]] = {
    "": {},
    "{}": {},
    "null": {},
    ARGUMENTS: TRANSFER,
    json.dumps(ARGUMENTS): TRANSFER,
    json.dumps(json.dumps(ARGUMENTS)): TRANSFER,
    f"```json\n{ARGUMENTS}\n```": TRANSFER,
    f"```\n{ARGUMENTS}```": TRANSFER,
    json.dumps({"parameters": TRANSFER}): TRANSFER,
    json.dumps({"arguments": ARGUMENTS}): TRANSFER,
    json.dumps([TRANSFER]): TRANSFER,
    str(TRANSFER): TRANSFER,
    '{"amount": 100.0, "to": "John"}': {"amount": "100", "to": "John"},
    '{"amount": 100.00, "to": "John"}': {"amount": "100", "to": "John"},
    '{"amount": 20.5, "to": "John"}': {"amount": "20.5", "to": "John"},
    '{"amount": 1e2, "to": "John"}': {"amount": "1e2", "to": "John"},
    '{"amount": 9007199254740993.0}': {"amount": "9007199254740993"},
    '{"limit": 5}': {"limit": "5"},
}


@pytest.mark.parametrize(("text", "values"), SOUND.items())
def test_arguments_are_read_in_any_wrapping(text: str, values: dict[str, Any]) -> None:
    assert read_arguments(text) == values


@pytest.mark.parametrize(
    "text",
    [
        ARGUMENTS + ARGUMENTS,
        f"[{ARGUMENTS}, {ARGUMENTS}]",
        "[]",
        "7",
        '"John"',
        "{",
        "{'amount': 20.1, 'to': 'John'}",
        "__import__('os')",
        "[" * 50_000,
    ],
)
def test_arguments_that_are_not_one_object_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        read_arguments(text)
