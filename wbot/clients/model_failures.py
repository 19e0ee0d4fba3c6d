"""What a failure of the model endpoint means: passing, blocked, or for good."""

from collections.abc import Callable, Mapping

from wbot.domain.errors import BlockedError, RejectedError, RetryableError, WbotError

CODE_LENGTH_MAX = 200
"""Characters of an error's code or a finish reason; both are short words."""

Cleaner = Callable[[str], str]
"""Makes text of the endpoint safe to log, store and show."""

_REDIRECTS = range(300, 400)
_BLOCKED_STATUSES = {401, 403, 404}
BLOCKED_CODES = {"insufficient_quota", "model_not_found", "invalid_api_key", "billing_not_active"}
_TOO_MANY_REQUESTS = 429
_RETRIED_STATUSES = {408, 409, _TOO_MANY_REQUESTS}
_UNAUTHORIZED = 401
_SERVER_ERROR = 500


def failure(status: int, code: str, shown: str, headers: Mapping[str, str]) -> WbotError:
    """The error of an HTTP status and code; `shown` is the code as it may be shown."""
    if status in _REDIRECTS:
        return BlockedError(
            f"The model endpoint redirects to another address (HTTP {status}), which is not "
            "followed: set OPENAI_BASE_URL to the address that answers itself."
        )
    # The unredacted code decides what to do, so that no customer's words can change that.
    if status in _BLOCKED_STATUSES or code in BLOCKED_CODES:
        refused = f"The model endpoint rejected the credentials or the model: HTTP {status}"
        return BlockedError(
            f"{refused}, {shown}.",
            own_words=f"{refused}.",
            may_be_request=status != _UNAUTHORIZED and code not in BLOCKED_CODES,
        )
    if status in _RETRIED_STATUSES or status >= _SERVER_ERROR:
        return RetryableError(
            f"The model endpoint failed: HTTP {status}.",
            retry_after_s=_retry_after_s(status, headers),
        )
    rejected = f"The model endpoint rejected the request: HTTP {status}"
    return RejectedError(f"{rejected}, {shown}.", own_words=f"{rejected}.")


def _retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """The requested wait, 0 if it is not given in seconds; None if none is requested."""
    named = headers.get("retry-after")
    if named is None and status != _TOO_MANY_REQUESTS:
        return None
    try:
        return max(0.0, float(named or 0))
    except ValueError:  # a date: our own back-off applies
        return 0.0
