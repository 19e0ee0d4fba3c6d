"""Errors, grouped by what to do next.

WbotError
├── RetryableError    try again; `retry_after_s` is the wait that the other side asks for
│   ├── BlockedError  nothing works until something changes; until then no attempt counts
│   │   └── OutageError  which passes by itself: the other side is down, overloaded or slow
│   ├── BadAnswerError   the model answered something that cannot be used
│   └── StorageError  the database could not be read or written
├── RejectedError     the other side said no for good
│   ├── TooLongError  the prompt does not fit the model
│   └── FilteredError a content filter stopped the request or its answer
├── RefusedError      we said no: a sentence the customer or the operator may read
├── MalformedError    the input does not have the required form
│   └── OversizedError  the input is too large
├── ConfigurationError  the operator must fix the configuration
└── StaleClaimError   another turn has claimed the conversation meanwhile
"""


class WbotError(Exception):
    """The parent of every error wbot raises on purpose.

    `own_words` contains nothing that others wrote, so that a public page may show it; only a block
    names what the endpoint says of it, cleaned of what it may quote.
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
    """A failure that lasts until an operator fixes it: a rejected key, an unknown model.

    With `may_be_request`, the server may have rejected only this one request.
    """

    def __init__(
        self, message: str, *, own_words: str | None = None, may_be_request: bool = False
    ) -> None:
        super().__init__(message, own_words=own_words)
        self.may_be_request = may_be_request


class OutageError(BlockedError):
    """The other side is down, overloaded or too slow; it passes without an operator."""


class BadAnswerError(RetryableError):
    """The model answered something that cannot be used; asked again, it may answer better."""


class RejectedError(WbotError):
    """Meta or the model endpoint refused for good; asking again would be refused again."""


class TooLongError(RejectedError):
    """The prompt does not fit the model; with a shorter history it may."""


class FilteredError(RejectedError):
    """A content filter stopped the request or its answer; the same words are stopped again."""


class RefusedError(WbotError):
    """We refused; the message is a plain sentence for the requester."""


class MalformedError(WbotError):
    """The input does not have the required form."""


class OversizedError(MalformedError):
    """The input is larger than is accepted."""


class ConfigurationError(WbotError):
    """The operator must fix the configuration first; the message says what and how."""


class StorageError(RetryableError):
    """The database could not be read or written: locked, full, or damaged."""


class StaleClaimError(WbotError):
    """Another turn has claimed the conversation meanwhile; the one with this error just stops."""
