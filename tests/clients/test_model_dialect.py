"""What refusals teach, in the words of many providers."""

import json
from typing import Any

import msgspec
import pytest

from wbot.clients.model.dialect import Api, Dialect, Known, advice_of, candidates
from wbot.clients.model.refusals import Refusal, refusal_of

KNOWN = Known(cap=16_000, opaque_keys=frozenset({"reasoning_content", "extra_content", "index"}))
LOW = msgspec.structs.replace(KNOWN, has_effort=True)
RESPONSES = Dialect(api=Api.RESPONSES)
OPENAI = "Unsupported parameter: '{0}' is not supported with this model."
ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def pydantic(*place: str | int, message: str = "Extra inputs are not permitted") -> dict[str, Any]:
    return {"detail": [{"type": "extra_forbidden", "loc": list(place), "msg": message}]}


TAUGHT: dict[str, tuple[int, Any, dict[str, Any]]] = {
    "OpenAI, tools with reasoning": (
        400,
        said(
            "Function tools with reasoning_effort are not supported for x in "
            "/v1/chat/completions. Please use /v1/responses instead."
        ),
        {"api": "responses"},
    ),
    "OpenAI, responses only": (
        404,
        said("This model is only supported in v1/responses and not in v1/chat/completions."),
        {"api": "responses"},
    ),
    "OpenAI, not a chat model": (
        404,
        said("This is not a chat model and thus not supported in the v1/chat/completions endpoint"),
        {"api": "responses"},
    ),
    "no such route": (404, {"detail": "Not Found"}, {"api": "responses"}),
    "OpenAI, older cap": (
        400,
        said(
            "Unsupported parameter: 'max_completion_tokens' is not supported with this model. "
            "Use 'max_tokens' instead."
        ),
        {"cap": "max_tokens"},
    ),
    "Mistral, 422": (422, pydantic("body", "max_completion_tokens"), {"cap": "max_tokens"}),
    "Mistral, object": (
        422,
        {"object": "error", "message": pydantic("body", "max_completion_tokens"), "code": None},
        {"cap": "max_tokens"},
    ),
    "Gemini, unknown name": (
        400,
        [{"error": {"code": 400, "message": 'Unknown name "max_completion_tokens": Cannot find'}}],
        {"cap": "max_tokens"},
    ),
    "vLLM, list of errors": (
        400,
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), "
            "'msg': 'Extra inputs are not permitted'}]",
        },
        {"cap": "max_tokens"},
    ),
    "Groq, property": (
        400,
        said("property 'max_completion_tokens' is unsupported"),
        {"cap": "max_tokens"},
    ),
    "OpenRouter, its provider's": (
        400,
        said(
            "Provider returned error",
            metadata={"raw": json.dumps(said("max_completion_tokens: extra field not allowed"))},
        ),
        {"cap": "max_tokens"},
    ),
    "OpenAI, cap too large": (
        400,
        said(
            "max_tokens is too large: 16000. This model supports at most 4096 completion tokens, "
            "whereas you provided 16000."
        ),
        {"room_max": 4096},
    ),
    "vLLM, roles": (400, {"object": "error", "message": ALTERNATE}, {"alternates": True}),
    "llama.cpp, roles in a 500": (500, said(ALTERNATE), {"alternates": True}),
    "Mistral, order": (
        400,
        {
            "object": "error",
            "message": "Expected last role User or Tool (or Assistant with prefix "
            "True) for serving but got assistant; roles order is wrong",
        },
        {"alternates": True},
    ),
    "Perplexity": (
        400,
        said(
            "After the (optional) system message(s), user and assistant roles should be "
            "alternating. Messages with the same role are not allowed."
        ),
        {"alternates": True},
    ),
    "Anthropic's older": (
        400,
        said(
            'messages: roles must alternate between "user" and "assistant", but found multiple '
            '"user" roles in a row'
        ),
        {"alternates": True},
    ),
    "first must be a user": (
        400,
        said("messages: first message must be from the user; it must start with a user role"),
        {"alternates": True},
    ),
    "Gemma, no system": (500, said("System role not supported"), {"system": "user"}),
    "o1, no system": (
        400,
        said("Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        {"system": "developer"},
    ),
    "Gemini with Gemma": (
        400,
        said("Developer instruction is not enabled for models/gemma-3-27b-it"),
        {"system": "user"},
    ),
    "a role that is no choice": (
        422,
        said("'system' is not one of ['user', 'assistant'] - 'messages.0.role'"),
        {"system": "user"},
    ),
    "Qwen, one system": (
        400,
        said("System message must be at the beginning."),
        {"has_one_system": True},
    ),
    "Mistral, system later": (
        400,
        {"object": "error", "message": "Unexpected role 'system' after role 'assistant'"},
        {"has_one_system": True},
    ),
    "Llama, one call": (
        400,
        {"object": "error", "message": "This model only supports single tool-calls at once!"},
        {"splits_calls": True},
    ),
    "DeepSeek, reasoning demanded": (
        400,
        said("Missing `reasoning_content` field in the assistant message at message index 2."),
        {"fills": ("reasoning_content",)},
    ),
    "Moonshot, reasoning demanded": (
        400,
        said("thinking is enabled but reasoning_content is missing in assistant tool call message"),
        {"fills": ("reasoning_content",)},
    ),
    "Gemini, signature demanded": (
        400,
        [{"error": {"message": "Function call is missing a thought_signature in functionCall"}}],
        {"fills": ("thought_signature",)},
    ),
    "Groq, reasoning refused": (
        400,
        said(
            "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : "
            "property 'reasoning_content' is unsupported)]"
        ),
        {"drops": ("reasoning_content",)},
    ),
    "Mistral, reasoning refused": (
        422,
        pydantic("body", "messages", 2, "assistant", "reasoning_content"),
        {"drops": ("reasoning_content",)},
    ),
    "a call's field refused": (
        422,
        pydantic("body", "messages", 2, "assistant", "tool_calls", 0, "index"),
        {"drops": ("index",)},
    ),
    "reasoning refused without its name": (
        400,
        said("The reasoning of a previous answer must not be part of the input."),
        {"hands_back": False},
    ),
    "a signature that does not verify": (
        400,
        said("Invalid `signature` in `thinking` block"),
        {"hands_back": False},
    ),
    "vLLM, content null": (
        400,
        {
            "object": "error",
            "message": "messages.2.content: Input should be a valid string, got None",
        },
        {"has_null_content": False},
    ),
    "Gemini, additionalProperties": (
        400,
        [
            {
                "error": {
                    "message": "Invalid JSON payload received. Unknown name "
                    "\"additionalProperties\" at 'tools[0]': Cannot find field."
                }
            }
        ],
        {"is_lean": True},
    ),
}
IN_RESPONSES: dict[str, tuple[int, Any, dict[str, Any]]] = {
    "no such route": (404, {"detail": "Not Found"}, {"api": "chat", "effort": "none"}),
    "nginx": (405, "<html>405 Not Allowed</html>", {"api": "chat", "effort": "none"}),
    "OpenAI, not a reasoning model": (
        400,
        said("Encrypted content is not supported with this model."),
        {"omits": ("include",)},
    ),
    "an endpoint that keeps nothing": (
        400,
        said("Unknown parameter: 'store'."),
        {"omits": ("store",)},
    ),
    "the cap": (
        400,
        said(OPENAI.format("max_output_tokens")),
        {"responses_cap": ""},
    ),
    "an item that is not kept": (
        404,
        said(
            "Item with id 'rs_1' not found. Items are not persisted when `store` is set to "
            "false. Try again with `store` set to true, or remove this item from your input."
        ),
        {"hands_back": False},
    ),
}
NOTHING: dict[str, tuple[int, Any]] = {
    "no tools": (400, said("registry.ollama.ai/library/gemma3:4b does not support tools")),
    "no model": (404, said("The model `gpt-9` does not exist", code="model_not_found")),
    "no key": (401, said("Incorrect API key provided", code="invalid_api_key")),
    "overloaded": (503, said("The server is overloaded; roles must alternate")),
    "too long": (400, said("This model's maximum context length is 4096 tokens.")),
}


def first_of(status: int, body: Any, dialect: Dialect, known: Known = KNOWN) -> Dialect | None:
    return next(candidates(dialect, refusal_of(status, body), known), None)


@pytest.mark.parametrize(("status", "body", "changes"), TAUGHT.values(), ids=TAUGHT)
def test_a_refusal_teaches_what_to_change(status: int, body: Any, changes: dict[str, Any]) -> None:
    assert first_of(status, body, Dialect()) == msgspec.structs.replace(Dialect(), **changes)


@pytest.mark.parametrize(("status", "body", "changes"), IN_RESPONSES.values(), ids=IN_RESPONSES)
def test_a_refusal_of_the_responses_form_teaches_too(
    status: int, body: Any, changes: dict[str, Any]
) -> None:
    expected = msgspec.structs.replace(RESPONSES, **changes)
    known = msgspec.structs.replace(KNOWN, opaque_keys=frozenset({"reasoning", "function_call"}))
    assert expected in list(candidates(RESPONSES, refusal_of(status, body), known))


@pytest.mark.parametrize(("status", "body"), NOTHING.values(), ids=NOTHING)
def test_what_is_not_about_the_form_teaches_nothing(status: int, body: Any) -> None:
    assert first_of(status, body, Dialect()) is None


@pytest.mark.parametrize(
    "sentence",
    [
        OPENAI.format("reasoning_effort"),
        "Unrecognized request argument supplied: reasoning_effort",
        "`reasoning_effort` is not supported with this model",
        "reasoning_effort must be one of 'none' or 'default'",
    ],
)
def test_an_effort_that_is_not_taken_is_left_out_or_none(sentence: str) -> None:
    found = [one.effort for one in candidates(Dialect(), refusal_of(400, said(sentence)), LOW)]
    assert "omitted" in found[:2]


def test_a_fixed_api_is_kept_and_the_operator_told_what_to_set() -> None:
    chat = msgspec.structs.replace(KNOWN, api="chat")
    refusal = refusal_of(404, TAUGHT["OpenAI, responses only"][1])
    assert list(candidates(Dialect(), refusal, chat)) == []
    assert "WBOT_MODEL_API=auto" in (advice_of(refusal, chat) or "")
    fixed = msgspec.structs.replace(KNOWN, api="responses")
    missing = refusal_of(404, {"detail": "Not Found"})
    assert list(candidates(RESPONSES, missing, fixed)) == []
    assert "no Responses API" in (advice_of(missing, fixed) or "")


def test_nothing_is_ever_learned_that_takes_the_tools_away() -> None:
    """No dialect has a way to say so."""
    assert not [name for name in Dialect.__struct_fields__ if "tools" in name]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (said("One."), "One."),
        ({"error": "One."}, "One."),
        ({"message": "One."}, "One."),
        ([said("One.")], "One."),
        ({"detail": "One."}, "One."),
        ("One.", "One."),
        (pydantic("body", "x"), "body.x Extra inputs are not permitted"),
        (said("Out.", metadata={"raw": json.dumps(said("In."))}), "Out. In."),
        (None, ""),
        (7, ""),
        ([[[[[[[[[["deep"]]]]]]]]]], ""),
    ],
)
def test_the_sentence_of_any_error_is_found(body: Any, sentence: str) -> None:
    assert refusal_of(400, body) == Refusal(status=400, sentence=sentence)


def test_what_a_dialect_says_is_readable() -> None:
    assert Dialect().summary == "Chat Completions"
    found = Dialect(cap="max_tokens", alternates=True)
    assert found.summary == "Chat Completions, cap max_tokens, alternates yes"
