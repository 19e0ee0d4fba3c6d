"""What failures of model endpoints mean: bodies after public reports, in every dialect we know."""

from datetime import UTC, datetime
from typing import Any

import pytest

from wbot.clients.model.failures import error_of, failure_of
from wbot.clients.model.meanings import Cause, Meaning
from wbot.domain.errors import (
    BadAnswerError,
    BlockedError,
    FilteredError,
    OutageError,
    RejectedError,
    RetryableError,
    TooLongError,
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def openai(message: str, kind: str | None = None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def google(status: str, message: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"error": {"code": 400, "message": message, "status": status, "details": [*details]}}]


CURRENT_QUOTA = "You exceeded your current quota, please check your plan and billing details."

BLOCKED: dict[str, tuple[int, Any, Cause]] = {
    "deepseek, empty": (
        402,
        openai("Insufficient Balance", "unknown_error", "invalid_request_error"),
        Cause.CREDIT,
    ),
    "openai, empty": (
        429,
        openai(CURRENT_QUOTA, "insufficient_quota", "insufficient_quota"),
        Cause.CREDIT,
    ),
    "a proxy that drops the code": (429, openai(CURRENT_QUOTA), Cause.CREDIT),
    "openrouter, too little": (
        402,
        {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tok"}},
        Cause.CREDIT,
    ),
    "openrouter, in a 200": (
        200,
        {"error": {"code": 402, "message": "Insufficient credits. Add more using the page."}},
        Cause.CREDIT,
    ),
    "anthropic, empty": (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the API.",
            },
        },
        Cause.CREDIT,
    ),
    "together": (402, openai("Credit limit exceeded", "credit_limit"), Cause.CREDIT),
    "litellm, a team's budget": (
        400,
        openai("Budget has been exceeded! Team=x Current cost: 26.1, Max budget: 25", "auth_error"),
        Cause.BUDGET,
    ),
    "litellm, by type": (429, openai("Ask the AI team.", "budget_exceeded", "429"), Cause.BUDGET),
    "litellm, by type in a 422": (
        422,
        openai("Budget has been exceeded! Current cost: 12.5", "budget_exceeded", "422"),
        Cause.BUDGET,
    ),
    "litellm, a user's": (
        400,
        openai("ExceededBudget: User u over budget. Spend=0.3, Budget=0.2", "auth_error", 400),
        Cause.BUDGET,
    ),
    "litellm, a deployment's": (
        429,
        openai("No deployments available - crossed budget: 0.36 >= 1d", "throttling_error", "429"),
        Cause.BUDGET,
    ),
    "openrouter, the key's limit": (403, openai("Key limit exceeded (total limit)"), Cause.BUDGET),
    "openai, key": (
        401,
        openai("Incorrect API key provided: sk-x", None, "invalid_api_key"),
        Cause.KEY,
    ),
    "mistral, key": (401, {"message": "Unauthorized", "request_id": "r"}, Cause.KEY),
    "mistral, detail": (401, {"detail": "Unauthorized"}, Cause.KEY),
    "gemini, key": (
        400,
        google(
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},
        ),
        Cause.KEY,
    ),
    "gemini, leaked": (
        403,
        google("PERMISSION_DENIED", "Your API key was reported as leaked. Use another API key."),
        Cause.KEY,
    ),
    "azure, key": (
        401,
        openai("Access denied due to invalid subscription key or wrong API endpoint.", None, "401"),
        Cause.KEY,
    ),
    "litellm, key": (
        401,
        openai("Authentication Error, Invalid proxy server token passed", "auth_error"),
        Cause.KEY,
    ),
    "litellm, any key but its own where it has no database": (
        400,
        openai("No connected db.", "no_db_connection", "400"),
        Cause.KEY,
    ),
    "litellm, a provider's error behind its name": (
        403,
        openai(
            'litellm.PermissionDeniedError: OpenAIException - {"error": {"message": "No.", '
            '"code": "unsupported_country_region_territory"}}\n\nLiteLLM: model group x failed.'
        ),
        Cause.REGION,
    ),
    "litellm, a model that its provider has not": (
        404,
        openai(
            "litellm.NotFoundError: NotFoundError: OpenAIException - There is no model 'x' here.",
            "invalid_request_error",
            "404",
        ),
        Cause.MODEL,
    ),
    "litellm, a user's models": (
        403,
        openai("Tried to access x", "user_model_access_denied", "403"),
        Cause.MODEL,
    ),
    "litellm, a model without a provider": (
        400,
        openai("litellm.BadRequestError: LLM Provider NOT provided.", None, "400"),
        Cause.MODEL,
    ),
    "deepseek, key": (
        401,
        openai("Authentication Fails, Your api key is invalid", "authentication_error"),
        Cause.KEY,
    ),
    "a key in a 400": (400, openai("The provided API key has expired."), Cause.KEY),
    "openai, model": (
        404,
        openai("The model `x` does not exist", code="model_not_found"),
        Cause.MODEL,
    ),
    "mistral, model": (
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        Cause.MODEL,
    ),
    "groq, model": (
        400,
        openai("The model `x` has been decommissioned", code="model_decommissioned"),
        Cause.MODEL,
    ),
    "azure, deployment": (
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
        Cause.MODEL,
    ),
    "vllm, model": (
        404,
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"},
        Cause.MODEL,
    ),
    "ollama, model": (404, openai('model "x" not found, try pulling it first'), Cause.MODEL),
    "ollama, text": (404, {"error": "model 'x' not found"}, Cause.MODEL),
    "openrouter, model": (400, openai("acme/x is not a valid model ID", code=400), Cause.MODEL),
    "lm studio": (400, {"error": "No models loaded. Please load a model."}, Cause.MODEL),
    "gemini, model": (
        404,
        google("NOT_FOUND", "models/x is not found for API version v1main"),
        Cause.MODEL,
    ),
    "openai, country": (
        403,
        openai(
            "Country, region, or territory not supported",
            code="unsupported_country_region_territory",
        ),
        Cause.REGION,
    ),
    "gemini, country": (
        400,
        google("FAILED_PRECONDITION", "User location is not supported for the API use."),
        Cause.REGION,
    ),
    "openai, account": (
        401,
        openai("The OpenAI account has been deactivated.", code="account_deactivated"),
        Cause.ACCOUNT,
    ),
    "groq, account": (
        400,
        openai("Organization has been restricted.", code="organization_restricted"),
        Cause.ACCOUNT,
    ),
    "anthropic, account": (
        403,
        {"error": {"type": "permission_error", "message": "This organization has been disabled."}},
        Cause.ACCOUNT,
    ),
    "ollama, tools": (
        400,
        openai("registry.ollama.ai/library/gemma3:4b does not support tools", "api_error"),
        Cause.TOOLS,
    ),
    "openrouter, tools": (
        404,
        openai("No endpoints found that support tool use. To learn more, see the page."),
        Cause.TOOLS,
    ),
    "vllm, tools": (
        400,
        openai(
            '"auto" tool choice requires --enable-auto-tool-choice to be set', "BadRequestError"
        ),
        Cause.TOOLS,
    ),
    "llama.cpp, tools": (500, openai("tools param requires --jinja flag"), Cause.TOOLS),
    "a day's quota": (
        200,
        openai("Rate limit exceeded: free-models-per-day", code=429),
        Cause.QUOTA,
    ),
    "gemini, a day's quota beside a wait of seconds": (
        429,
        google(
            "RESOURCE_EXHAUSTED",
            CURRENT_QUOTA,
            {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
            {"retryDelay": "34s"},
        ),
        Cause.QUOTA,
    ),
    "a refusal without words": (403, "<html>Forbidden</html>", Cause.REFUSED),
    "a wrong address": (404, "404 page not found", Cause.REFUSED),
}

OVERLOADED: dict[str, tuple[int, Any, dict[str, str], float | None]] = {
    "seconds": (429, openai("Slow down"), {"retry-after": "7"}, 7.0),
    "milliseconds": (429, {}, {"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
    "a date": (429, {}, {"retry-after": "Wed, 25 Nov 2026 12:00:30 GMT"}, 30.0),
    "a date that is over": (429, {}, {"retry-after": "Wed, 25 Nov 2026 11:00:30 GMT"}, 0.0),
    "nothing asked": (429, openai("Slow down"), {}, 0.0),
    "unreadable": (429, {}, {"retry-after": "soon"}, 0.0),
    "openai's resets": (
        429,
        openai("Rate limit reached", "tokens", "rate_limit_exceeded"),
        {
            "x-ratelimit-remaining-requests": "99",
            "x-ratelimit-reset-requests": "2h",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        360.0,
    ),
    "groq's words": (
        429,
        openai("Rate limit reached on tokens per day (TPD). Please try again in 7m12s.", "tokens"),
        {},
        432.0,
    ),
    "openai's words": (429, openai("Please try again in 1.5s. Visit the page."), {}, 1.5),
    "openai's short words": (429, openai("Please try again in 20ms."), {}, 0.02),
    "azure's words": (
        429,
        {"error": {"code": "429", "message": "Please retry after 20 seconds."}},
        {},
        20.0,
    ),
    "gemini's minute": (
        429,
        google(
            "RESOURCE_EXHAUSTED",
            CURRENT_QUOTA + " Please retry in 34.07s.",
            {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
        ),
        {},
        34.0,
    ),
    "gemini through litellm": (
        429,
        openai(f"litellm.RateLimitError: VertexAI {CURRENT_QUOTA}", "throttling_error", "429"),
        {},
        0.0,
    ),
    "openrouter in a 200": (
        200,
        {
            "error": {
                "message": "Rate limit exceeded: free-models-per-min",
                "code": 429,
                "metadata": {"headers": {"X-RateLimit-Reset": "1795608012000"}},
            },
            "user_id": "user_x",
        },
        {},
        12.0,
    ),
    "a reset in seconds since 1970": (429, {}, {"x-ratelimit-reset": "1795608012"}, 12.0),
    "anthropic's reset": (
        429,
        {"error": {"type": "rate_limit_error", "message": "This would exceed your rate limit"}},
        {
            "anthropic-ratelimit-tokens-remaining": "0",
            "anthropic-ratelimit-tokens-reset": "2026-11-25T12:00:09Z",
        },
        9.0,
    ),
    "anthropic, overloaded": (
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {},
        None,
    ),
    "overloaded in a 200": (200, openai("Overloaded", code=503), {}, None),
    "overloaded in a 400": (400, openai("The model is overloaded. Try again later."), {}, None),
    "mistral's capacity": (
        429,
        {"message": "Service tier capacity exceeded for this model.", "code": "3505"},
        {},
        0.0,
    ),
    "llama.cpp loads": (
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        {},
        None,
    ),
    "openai, down": (500, openai("The server had an error", "server_error"), {}, None),
    "a gateway": (502, "<html><h1>502 Bad Gateway</h1></html>", {}, None),
    "a gateway's wait": (503, "", {"Retry-After": "3"}, 3.0),
    "a conflict": (409, {}, {}, None),
}

TOO_LONG: dict[str, tuple[int, Any]] = {
    "openai": (400, openai("Too long", code="context_length_exceeded")),
    "openrouter": (400, openai("This endpoint's maximum context length is 8192 tokens.", code=400)),
    "vllm": (
        400,
        {"object": "error", "message": "This model's maximum context length is 4096 tokens."},
    ),
    "vllm, new": (
        400,
        openai("The decoder prompt (length 5000) is longer than the maximum model length of 4096"),
    ),
    "anthropic": (400, openai("prompt is too long: 213 tokens > 200 maximum")),
    "anthropic, bytes": (413, {"error": {"type": "request_too_large", "message": "Too large"}}),
    "gemini": (
        400,
        google("INVALID_ARGUMENT", "The input token count (9) exceeds the maximum allowed (8)"),
    ),
    "mistral": (
        400,
        {"message": "Prompt contains 9 tokens, too large for model with 8 maximum context length"},
    ),
    "groq": (
        413,
        openai(
            "Request too large for model `m` on tokens per minute (TPM): Limit 6000, "
            "Requested 7000, please reduce your message size and try again.",
            "tokens",
            "rate_limit_exceeded",
        ),
    ),
    "openai, a minute's tokens": (
        429,
        openai(
            "Request too large for m on tokens per min (TPM): Limit 30000, Requested 31000. "
            "The input or output tokens must be reduced in order to run successfully.",
            "tokens",
            "rate_limit_exceeded",
        ),
    ),
    "llama.cpp": (400, openai("the request exceeds the context", "exceed_context_size_error")),
    "lm studio": (400, {"error": "Tokens to keep is greater than the context length"}),
    "litellm": (400, openai("litellm.ContextWindowExceededError: too many tokens", "None", "400")),
    "a proxy without words": (413, ""),
}

FILTERED: dict[str, tuple[int, Any]] = {
    "azure": (
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt",
                "code": "content_filter",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
    ),
    "deepseek": (400, openai("Content Exists Risk", "invalid_request_error")),
    "alibaba": (400, openai("Input may be inappropriate", code="data_inspection_failed")),
    "openrouter": (403, openai("Your input was flagged", code=403)),
}

BOTCHED: dict[str, tuple[int, Any]] = {
    "groq": (
        400,
        openai("Failed to call a function.", "invalid_request_error", "tool_use_failed"),
    ),
    "groq, not ours": (400, openai("tool call validation failed: `brave` was not in request")),
    "ollama": (500, openai("error parsing tool call: raw='{...'")),
}

REQUEST: dict[str, tuple[int, Any]] = {
    "openai, the other api": (
        400,
        openai(
            "Function tools with reasoning_effort are not supported for m in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
            "invalid_request_error",
        ),
    ),
    "openai, parameter": (
        400,
        openai("Unsupported parameter: 'max_tokens'", code="unsupported_parameter"),
    ),
    "mistral, parameter": (
        422,
        {"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]},
    ),
    "roles": (
        400,
        {
            "object": "error",
            "message": "After the optional system message, conversation roles must alternate",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "gemini, signature": (400, google("INVALID_ARGUMENT", "Function call lacks a signature")),
    "no words": (400, {}),
}


def meaning_of(status: int, body: Any) -> Meaning:
    return failure_of(status, body, {}, now=NOW).meaning


@pytest.mark.parametrize(("status", "body", "cause"), BLOCKED.values(), ids=BLOCKED)
def test_what_an_operator_must_mend_blocks(status: int, body: Any, cause: Cause) -> None:
    failure = failure_of(status, body, {}, now=NOW)
    assert (failure.meaning, failure.cause) == (Meaning.BLOCKED, cause)
    error = error_of(failure)
    assert isinstance(error, BlockedError)
    assert not isinstance(error, OutageError)
    assert cause.fix in error.own_words


@pytest.mark.parametrize(
    ("status", "body", "headers", "wait_s"), OVERLOADED.values(), ids=OVERLOADED
)
def test_what_passes_is_waited_for(
    status: int, body: Any, headers: dict[str, str], wait_s: float | None
) -> None:
    failure = failure_of(status, body, headers, now=NOW)
    assert failure.meaning is Meaning.OVERLOADED
    assert failure.retry_after_s == (None if wait_s is None else pytest.approx(wait_s))
    error = error_of(failure)
    assert isinstance(error, RetryableError)
    assert isinstance(error, OutageError) == (wait_s is None)


def test_a_wait_of_hours_blocks() -> None:
    failure = failure_of(429, openai("Slow down"), {"retry-after": "7200"}, now=NOW)
    assert (failure.meaning, failure.cause) == (Meaning.BLOCKED, Cause.QUOTA)


@pytest.mark.parametrize(
    ("bodies", "meaning", "kind"),
    [
        (TOO_LONG, Meaning.TOO_LONG, TooLongError),
        (FILTERED, Meaning.FILTERED, FilteredError),
        (BOTCHED, Meaning.BOTCHED, BadAnswerError),
        (REQUEST, Meaning.REQUEST, RejectedError),
    ],
    ids=["too long", "filtered", "botched", "request"],
)
def test_each_other_meaning_has_its_error(
    bodies: dict[str, tuple[int, Any]], meaning: Meaning, kind: type[Exception]
) -> None:
    found = {name: meaning_of(status, body) for name, (status, body) in bodies.items()}
    assert found == dict.fromkeys(bodies, meaning)
    status, body = next(iter(bodies.values()))
    assert type(error_of(failure_of(status, body, {}, now=NOW))) is kind


def test_a_quoted_customer_does_not_choose_the_meaning() -> None:
    def cleaned(text: str) -> str:
        return text.replace("Insufficient Balance", "(words)")

    body = openai("Invalid value: 'Insufficient Balance'")
    failure = failure_of(400, body, {}, now=NOW, cleaned=cleaned)
    assert failure.meaning is Meaning.REQUEST
    assert "Balance" not in str(error_of(failure))


def test_an_error_quoted_within_a_sentence_is_no_provider_s() -> None:
    quoted = '{"error": {"code": "insufficient_quota"}}'
    for before in ("Invalid value: ", "Your words: OpenAIException - "):
        assert meaning_of(400, openai(before + quoted)) is Meaning.REQUEST


def test_a_key_s_refusal_is_sure_whatever_its_words() -> None:
    for words in ("Key is blocked", "Authentication Error, invalid key", ""):
        error = error_of(failure_of(401, openai(words, "auth_error"), {}, now=NOW))
        assert isinstance(error, BlockedError)
        assert not error.may_be_request


def test_what_only_a_sentence_says_is_in_doubt() -> None:
    by_sentence = error_of(failure_of(400, openai("Insufficient Balance"), {}, now=NOW))
    by_status = error_of(failure_of(402, openai("Insufficient Balance"), {}, now=NOW))
    assert isinstance(by_sentence, BlockedError)
    assert isinstance(by_status, BlockedError)
    assert (by_sentence.may_be_request, by_status.may_be_request) == (True, False)


@pytest.mark.parametrize(
    "body", [None, 7, [], [[]], {"error": None}, {"error": {"message": {"a": 1}}}, "x" * 5_000]
)
@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 418, 429, 500, 599])
def test_any_body_has_a_meaning(status: int, body: Any) -> None:
    failure = failure_of(status, body, {}, now=NOW)
    assert f"HTTP {status}" in str(error_of(failure))
