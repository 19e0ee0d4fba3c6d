"""What can go wrong, by what to do next.

WbotError
├── RetryableError    try again; `retry_after_s` is the wait that the other side asks for
│   ├── HeldError     an operator must mend something first; nothing counts as an attempt meanwhile
│   └── StorageError  the database could not take or give what was asked
├── RejectedError     the other side said no for good
├── RefusedError      we said no: a sentence the customer or the operator may read
├── MalformedError    what came in is not what it should be
│   └── OversizedError  it is more than we take at once
├── ConfigurationError  the operator must mend the configuration
└── OvertakenError   somebody else has taken the conversation meanwhile
"""


class WbotError(Exception):
    """The parent of every error wbot raises on purpose.

    `own_words` says it without anything that others wrote, so that it may stand on a public page.
    """

    def __init__(self, message: str = "", *, own_words: str | None = None) -> None:
        super().__init__(message)
        self.own_words = message if own_words is None else own_words


class RetryableError(WbotError):
    """A failure that may pass by itself."""

    def __init__(
        self,
        message: str = "",
        *,
        own_words: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, own_words=own_words)
        self.retry_after_s = retry_after_s


class BlockedError(RetryableError):
    """A failure that lasts until an operator mends it: a refused key, an unknown model.

    Where the other side does not say what it refuses, it may be this one request alone.
    """

    def __init__(
        self, message: str, *, own_words: str | None = None, may_be_request: bool = False
    ) -> None:
        super().__init__(message, own_words=own_words)
        self.may_be_request = may_be_request


class RejectedError(WbotError):
    """Meta or the model endpoint refused for good; asking again would be refused again."""


class RefusedError(WbotError):
    """We refused; the message is a plain sentence for whoever asked."""


class MalformedError(WbotError):
    """The input does not have the shape it must have."""


class OversizedError(MalformedError):
    """The input holds more than is taken at once."""


class ConfigurationError(WbotError):
    """The operator's configuration must be mended first; the message says what and how."""


class StorageError(RetryableError):
    """The database could not take or give what was asked: locked, full, or unreadable."""


class StaleClaimError(WbotError):
    """Somebody else has taken the conversation meanwhile; whoever sees this stops, silently."""
