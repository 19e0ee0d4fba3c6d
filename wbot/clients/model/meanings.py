"""The words of model endpoints' failures, each with its meaning: one table for all dialects.

Sources: OpenAI, Azure OpenAI, Anthropic, Gemini, Mistral, DeepSeek, Groq, OpenRouter, Together,
LiteLLM (error-code pages and the texts of their servers), vLLM, Ollama, llama.cpp, LM Studio
(source and issue threads: BerriAI/litellm#14144, #4208, #36729; google-gemini/gemini-cli#24641).
"""

import re
from enum import StrEnum


class Meaning(StrEnum):
    """What to do about a failure."""

    BLOCKED = "blocked"
    """An operator must act; until then nothing is tried but one probe."""
    OVERLOADED = "overloaded"
    """It passes by itself."""
    TOO_LONG = "too_long"
    FILTERED = "filtered"
    """A content filter stopped the request: the same words will be stopped again."""
    BOTCHED = "botched"
    """The model's own call was unreadable to the endpoint: ask again."""
    REQUEST = "request"
    """The request's form: another form may be taken, this one never."""


class Cause(StrEnum):
    """What blocks: a sentence and the fix, in our words."""

    CREDIT = "credit"
    BUDGET = "budget"
    QUOTA = "quota"
    KEY = "key"
    MODEL = "model"
    REGION = "region"
    ACCOUNT = "account"
    TOOLS = "tools"
    REDIRECT = "redirect"
    REFUSED = "refused"

    @property
    def sentence(self) -> str:
        return _CAUSES[self][0]

    @property
    def fix(self) -> str:
        return _CAUSES[self][1]


_CAUSES = {
    Cause.CREDIT: (
        "The model account is out of credit",
        "Top it up; the messages that wait are then answered.",
    ),
    Cause.BUDGET: (
        "The budget for the model is spent",
        "Raise it or wait until it is renewed; the messages that wait are then answered.",
    ),
    Cause.QUOTA: (
        "The model endpoint's quota is used up for longer than minutes",
        "Raise the quota or wait until it is renewed; the messages that wait are then answered.",
    ),
    Cause.KEY: (
        "The model endpoint rejected the key",
        "Set OPENAI_API_KEY to a key that is valid there.",
    ),
    Cause.MODEL: (
        "The model endpoint does not have the model, or not for this key",
        "Set WBOT_MODEL (or the business's model) to one that it has.",
    ),
    Cause.REGION: (
        "The model endpoint does not serve this country or region",
        "Use another endpoint, or run the service elsewhere.",
    ),
    Cause.ACCOUNT: (
        "The account at the model endpoint is deactivated or restricted",
        "Ask the endpoint's provider.",
    ),
    Cause.TOOLS: (
        "The model takes no tools, which this service needs",
        "Choose a model that can call tools (WBOT_MODEL).",
    ),
    Cause.REDIRECT: (
        "The model endpoint redirects to another address, which is not followed",
        "Set OPENAI_BASE_URL to the address that answers itself.",
    ),
    Cause.REFUSED: (
        "The model endpoint rejected the credentials or the model",
        "Check WBOT_MODEL, OPENAI_API_KEY and OPENAI_BASE_URL.",
    ),
}

_Known = tuple[Meaning, Cause | None]

_BLOCKED_CODES: dict[Cause, tuple[str, ...]] = {
    Cause.CREDIT: (
        "insufficient_quota",  # OpenAI, 429
        "billing_not_active",
        "billing_hard_limit_reached",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_funds",
        "credit_limit",  # Together, 402
        "billing_error",  # Anthropic, 402
        "payment_required",
        "billing_disabled",  # Google's ErrorInfo
        "1113",  # Zhipu: no balance
        "arrearage",  # Alibaba
    ),
    Cause.BUDGET: (
        "budget_exceeded",  # LiteLLM, 400 or 429
        "budgetexceedederror",
        "exceededbudget",
        "spend_limit_reached",  # Groq
        "blocked_api_access",  # Groq, 400: the organisation's spend alert
    ),
    Cause.KEY: (
        "invalid_api_key",
        "invalid_authentication",
        "authentication_error",  # Anthropic, DeepSeek, 401
        "api_key_invalid",  # Google's ErrorInfo, 400
        "api_key_expired",
        "expired_api_key",
        "expired_key",  # LiteLLM
        "token_not_found_in_db",
        "key_disabled",
        "incorrect_api_key",
        "unauthenticated",  # Google
        "invalid_token",
    ),
    Cause.MODEL: (
        "model_not_found",
        "model_not_available",
        "model_decommissioned",  # Groq
        "model_terms_required",  # Groq
        "model_permission_blocked_org",
        "model_permission_blocked_project",
        "invalid_model",  # Mistral, 400
        "deploymentnotfound",  # Azure
        "deploymentmodelnotsupported",
        "key_model_access_denied",  # LiteLLM
        "team_model_access_denied",
        "user_model_access_denied",
        "customer_model_access_denied",
        "org_model_access_denied",
        "project_model_access_denied",
        "model_not_supported",
        "model_deprecated",
    ),
    Cause.REGION: (
        "unsupported_country_region_territory",  # OpenAI, 403
        "request_forbidden_country",
        "user_location_invalid",
    ),
    Cause.ACCOUNT: (
        "account_deactivated",
        "organization_deactivated",
        "organization_restricted",  # Groq
        "access_terminated",
        "account_suspended",
        "consumer_suspended",  # Google
        "consumer_invalid",
        "service_disabled",  # Google: the API is not enabled
    ),
}

_OTHER_CODES: dict[Meaning, tuple[str, ...]] = {
    Meaning.FILTERED: (
        "content_filter",  # Azure, 400
        "responsibleaipolicyviolation",
        "content_policy_violation",
        "moderation_blocked",
        "data_inspection_failed",  # Alibaba
        "prohibited_content",  # Google
        "1301",  # Zhipu
    ),
    Meaning.TOO_LONG: (
        "context_length_exceeded",
        "string_above_max_length",
        "context_window_exceeded",
        "contextwindowexceedederror",  # LiteLLM
        "exceed_context_size_error",  # llama.cpp
        "request_too_large",  # Anthropic, 413
        "max_tokens_exceeded",
    ),
    Meaning.BOTCHED: (
        "tool_use_failed",  # Groq
        "output_parse_failed",
        "json_validate_failed",
        "invalid_tool_call",
        "malformed_function_call",  # Google
    ),
}

CODES: dict[str, _Known] = {
    **{code: (Meaning.BLOCKED, cause) for cause, codes in _BLOCKED_CODES.items() for code in codes},
    **{code: (meaning, None) for meaning, codes in _OTHER_CODES.items() for code in codes},
}
"""By code, type, status or reason, in lower case."""

PASSING_CODES = frozenset(
    {
        "rate_limit_exceeded",
        "rate_limit_error",
        "too_many_requests",
        "throttling_error",  # LiteLLM
        "resource_exhausted",  # Google
        "overloaded_error",  # Anthropic, 529
        "engine_overloaded",
        "service_tier_capacity_exceeded",  # Mistral
        "3505",  # Mistral
        "unavailable_error",  # llama.cpp, while it loads
        "unavailable",
        "deadline_exceeded",
        "timeout_error",
        "api_connection_error",
        "nocapacity",  # Azure
        "slow_down",
    }
)
"""Codes of what passes, unless the sentence says otherwise."""
PASSING = re.compile(r"RESOURCE_EXHAUSTED|RateLimitError")
"""Such codes inside sentences, as proxies pass them on."""


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


SENTENCES: tuple[tuple[re.Pattern[str], Meaning, Cause | None], ...] = (
    (
        _any(
            r"content (?:management )?(?:filter|policy)",
            r"content.{0,20} (?:flagged|blocked)|input was flagged",
            r"inappropriate content|content exists risk",  # Alibaba, DeepSeek
            r"blocked by .{0,40}safety|safety (?:system|filter|settings)",
            r"prohibited (?:content|use policy)",
        ),
        Meaning.FILTERED,
        None,
    ),
    (
        _any(
            r"context[ _](?:length|window|size)",
            r"maximum (?:prompt|input|model|sequence) length",
            r"max(?:imum)?_?(?: model| seq(?:uence)?)?[ _]len",
            r"prompt (?:is )?too long|prompt contains too many tokens",
            r"(?:input|message|request|prompt).{0,40}too (?:long|large)",
            r"too many (?:input |prompt )?tokens",
            r"exceeds? .{0,60}(?:token (?:limit|count)|tokens allowed|context)",
            r"token count .{0,40}exceeds",  # Gemini
            r"too large for model .{0,200}tokens per min",  # Mistral, Groq, 413
            r"tokens must be reduced|reduce (?:the length|your (?:message|prompt))",
            r"greater than the (?:maximum|context)",  # LM Studio
            r"longer than the (?:model|maximum)|number of tokens .{0,40}exceed",
        ),
        Meaning.TOO_LONG,
        None,
    ),
    (
        _any(
            r"failed to call a function|failed to parse (?:the )?tool call",
            r"tool call validation failed",  # Groq: a tool that was not offered
            r"error parsing tool call",  # Ollama
        ),
        Meaning.BOTCHED,
        None,
    ),
    (
        _any(
            r"budget (?:has been |was )?exceeded|exceeded ?budget|crossed budget|over budget",
            r"(?:spend|spending|key|monthly|hard) limit.{0,30}(?:reached|exceeded)",
        ),
        Meaning.BLOCKED,
        Cause.BUDGET,
    ),
    (
        _any(
            r"insufficient (?:balance|credit|fund|quota)",
            r"(?:requires|need|add|purchase) more credits|can only afford",  # OpenRouter
            r"credit balance is too low|out of credits?|no credits?\b|credits? (?:are )?exhausted",
            r"(?:billing|usage) limit.{0,30}(?:reached|exceeded)",
            r"exceeded your (?:current|monthly|included) (?:quota|usage|spend|allowance)",
            r"(?:payment|billing) (?:is )?(?:required|overdue|disabled|not active|failed|issue)",
            r"account (?:balance|is in arrears)|overdue (?:payment|balance)|plan and billing",
        ),
        Meaning.BLOCKED,
        Cause.CREDIT,
    ),
    (
        _any(
            r"(?:country|region|territory|location).{0,30}"
            r"(?:not |un)(?:supported|available|allowed)",
            r"not (?:available|supported) in your (?:country|region|location)",
        ),
        Meaning.BLOCKED,
        Cause.REGION,
    ),
    (
        _any(
            r"(?:account|organi[sz]ation|project|consumer|workspace|user).{0,80}"
            r"(?:deactivated|disabled|suspended|restricted|terminated|banned|archived)",
            r"must be (?:a )?(?:verified|member)",
        ),
        Meaning.BLOCKED,
        Cause.ACCOUNT,
    ),
    (
        _any(
            r"(?:invalid|incorrect|wrong|expired|revoked|missing|disabled|leaked|unknown|malformed)"
            r".{0,24}(?:api[ _-]?key|subscription key|auth|access token|credential)",
            r"(?:api[ _-]?key|auth\w*|token|credentials?).{0,40}"
            r"(?:not valid|invalid|incorrect|expired|revoked|disabled|leaked|blocked|fail|missing"
            r"|not (?:provided|found))",
            r"no (?:auth|api[ _-]?key|cookie auth)|user not found|no key (?:found|provided)",
            r"no connected db",  # LiteLLM, 400: without a database it knows its master key alone
        ),
        Meaning.BLOCKED,
        Cause.KEY,
    ),
    (
        _any(
            r"(?:does not|doesn't|not|un)\s?(?:currently )?support(?:ed)?"
            r".{0,16}\b(?:tools?|tool use|tool calling|function calling)\b(?! with)",
            r"no endpoints found that support tool use",  # OpenRouter, 404
            r"(?:tool(?:s| use| calling)?|function calling) (?:is|are) not "
            r"(?:supported|enabled) (?:for|by|with) (?:this|the) model",
            r"auto.{0,12} tool choice requires",  # vLLM: started without a tool parser
            r"tools param requires --jinja",  # llama.cpp
        ),
        Meaning.BLOCKED,
        Cause.TOOLS,
    ),
    (
        _any(
            r"\bmodels?\b.{0,80}(?:not (?:found|exist|available|accessible|deployed|served)"
            r"|does ?n[o']t exist|decommissioned|deprecated|retired|no longer|shut ?down)",
            r"(?:no such|there is no|unknown|invalid|unsupported|non-existent) model\b",
            r"not a valid model|llm provider not provided",  # LiteLLM
            r"no (?:endpoints|models?) (?:found|loaded|available) for|no models? loaded",
            r"(?:access to|permission for|allowed to (?:use|access|call)) .{0,24}model",
            r"deployment .{0,60}not exist|publisher model",
        ),
        Meaning.BLOCKED,
        Cause.MODEL,
    ),
    (
        _any(
            r"rate.?limit|too many requests|quota exceeded|resource (?:has been )?exhausted",
            r"overloaded|over capacity|at capacity|capacity exceeded|no healthy upstream",
            r"temporarily (?:unavailable|overloaded|rate)|server (?:is )?busy|high demand",
            r"loading model|model is (?:currently )?loading|still loading|warming up",
            r"(?:try|retry) again (?:later|in)|please retry|timed? ?out",
            r"server had an error|internal (?:server )?error|bad gateway",
            r"upstream (?:error|connect)",
        ),
        Meaning.OVERLOADED,
        None,
    ),
)
"""Sought in this order in what the endpoint says, where no code is known."""
