"""The Graph API's refusals, in its error shape."""

import hashlib
from typing import Any

from aiohttp import web

from wbot.domain.errors import RefusedError


class GraphError(RefusedError):
    """A call that the Graph API refuses; branch on `code`, as its clients must."""

    def __init__(
        self,
        code: int,
        title: str,
        details: str = "",
        *,
        status: int = 400,
        subcode: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"(#{code}) {title}")
        self.code = code
        self.details = details
        self.status = status
        self.subcode = subcode
        self.retry_after_s = retry_after_s

    def to_response(self) -> web.Response:
        """The answer as the Graph API words it."""
        error: dict[str, Any] = {
            "message": str(self),
            "type": "OAuthException",
            "code": self.code,
            "fbtrace_id": "A" + hashlib.sha256(str(self).encode()).hexdigest()[:22],
        }
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return web.json_response({"error": error}, status=self.status, headers=headers)


def bad_parameter(title: str, details: str = "") -> GraphError:
    """A parameter is unknown, too long, or not of its kind."""
    return GraphError(100, title, details)


def missing(details: str) -> GraphError:
    """A parameter that must be there is not."""
    return GraphError(131008, "Required parameter is missing", details)


def bad_value(details: str) -> GraphError:
    """A parameter is there, with a value that cannot be used."""
    return GraphError(131009, "Parameter value is not valid", details)


def no_token() -> GraphError:
    """No access token came with the call."""
    return GraphError(0, "AuthException", "No access token was given.", status=401)


def bad_token() -> GraphError:
    """The access token is not one that may be used here."""
    title = "Invalid OAuth access token - Cannot parse access token"
    return GraphError(190, title, status=401)


def no_such_business() -> GraphError:
    """The path names a phone number id that is not there."""
    title = "Parameter value is not valid"
    return GraphError(33, title, "There is no business phone number with this id.")


def no_such_object() -> GraphError:
    """The path names something that is not there, or not for this token."""
    title = "Unsupported request. The object does not exist or does not support this operation"
    return GraphError(100, title, subcode=33)
