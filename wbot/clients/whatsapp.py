"""The Cloud API: sends, read marks and look-ups, with every failure classified by what it means."""

import hmac
import os
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import aiohttp
import msgspec

from wbot.domain import json_access
from wbot.domain.delivery import Verdict, account_hint, verdict_of
from wbot.domain.errors import MalformedError, RetryableError, WbotError
from wbot.domain.messages import meta_code
from wbot.domain.outgoing import Outgoing, Prompt, Text
from wbot.domain.redaction import redacted, words_of_message

USER_AGENT = "wbot/1.0"
HTTP_OK = 200
_NO_SUCH_OBJECT = 33
"""The subcode of code 100 where the path names nothing that this token may use."""


class NotSentError(RetryableError):
    """The request was certainly not sent: no address, connection refused, no TLS."""


class UnknownOutcomeError(WbotError):
    """The request may have been acted on; only a status webhook can tell."""


def refusal_words(code: int | None, verdict: Verdict) -> str:
    """A refusal in our own words, which a public page may show."""
    named = "no code" if code is None else f"code {code}"
    return f"WhatsApp refuses it ({account_hint(code) if verdict is Verdict.ACCOUNT else named})"


class GraphError(WbotError):
    """Meta's own error object; branch on the verdict, never on the HTTP status alone."""

    def __init__(
        self,
        detail: str,
        *,
        code: int | None,
        http_status: int,
        is_transient: bool = False,
        is_about_call: bool = False,
    ) -> None:
        self.code = code
        self.http_status = http_status
        self.verdict: Verdict = verdict_of(
            code, http_status, is_transient=is_transient, is_about_call=is_about_call
        )
        super().__init__(detail, own_words=refusal_words(code, self.verdict))


class PhoneNumberCredentials(msgspec.Struct, frozen=True):
    """A business's phone number id and its resolved access token."""

    phone_number_id: str
    access_token: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.phone_number_id})"


class Recipient(msgspec.Struct, frozen=True):
    """Where a message goes, exactly as Meta gave it."""

    phone: str | None
    user_id: str | None


def rendered(said: Outgoing, *, to: Recipient, opaque: str) -> dict[str, Any]:
    """The whole body of a send, by phone number where there is one: Meta then keeps reporting it.

    A number gets its `+`, or Meta would prefix the business's own country code; a user id goes into
    `recipient`, because in `to` it would be accepted and never delivered (cloud-api.md 3.1, 4.1).
    """
    address = {"to": f"+{to.phone.lstrip('+')}"} if to.phone else {"recipient": to.user_id}
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **address,
        **_content(said),
        "biz_opaque_callback_data": opaque,
    }


def _content(said: Outgoing) -> dict[str, Any]:
    match said:
        case Text(body=body):
            return {"type": "text", "text": {"body": body}}
        case Prompt(body=body, buttons=buttons):
            replies = [
                {"type": "reply", "reply": {"id": one.id, "title": one.title}} for one in buttons
            ]
            action = {"buttons": replies}
            interactive = {"type": "button", "body": {"text": body}, "action": action}
            return {"type": "interactive", "interactive": interactive}


class WhatsApp:
    """The Graph API at one URL and version; `timeout_s` is the total for one call.

    The `app_secret` proves each call. Meta's error texts contain none of the `secrets`, no number,
    and nothing of what was sent.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        graph_url: str,
        version: str,
        timeout_s: float,
        app_secret: str = "",
        secrets: Collection[str] = (),
    ) -> None:
        self._session = session
        self._app_secret = app_secret
        self._secrets = secrets
        self._base = f"{graph_url.rstrip('/')}/{version}"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def send(
        self, credentials: PhoneNumberCredentials, said: Outgoing, *, to: Recipient, opaque: str
    ) -> str:
        """Send one message; its wamid. Statuses bring the opaque value back.

        Raises NotSentError, GraphError or UnknownOutcomeError. There is no idempotency key: only
        the first two may be followed by the same request again.
        """
        answer = await self._post(credentials, rendered(said, to=to, opaque=opaque))
        message = next(iter(json_access.mappings(answer, "messages")), {})
        wamid = json_access.identifier(message, "id")
        if wamid is None:
            raise UnknownOutcomeError("The answer to the send carries no message id.")
        return wamid

    async def mark_read(
        self, credentials: PhoneNumberCredentials, message_id: str, *, is_typing: bool
    ) -> None:
        """Mark a message read and, if typing, show so for up to 25 s; raises as `send` does."""
        body: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": message_id,
        }
        if is_typing:
            body["typing_indicator"] = {"type": "text"}
        await self._post(credentials, body)

    async def look_up(
        self, credentials: PhoneNumberCredentials, path: str, **parameters: str
    ) -> dict[str, Any]:
        """One GET below the version; raises as `send` does."""
        return await self._request("GET", path, credentials, params=parameters)

    async def _post(
        self, credentials: PhoneNumberCredentials, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        return await self._request(
            "POST", f"{credentials.phone_number_id}/messages", credentials, json=body
        )

    def _proof(self, access_token: str) -> dict[str, str]:
        """Shows that the caller has the app's secret too; an app can be set to require it."""
        if not self._app_secret:
            return {}
        digest = hmac.digest(self._app_secret.encode(), access_token.encode(), "sha256")
        return {"appsecret_proof": digest.hex()}

    async def _request(
        self,
        method: str,
        path: str,
        credentials: PhoneNumberCredentials,
        *,
        params: Mapping[str, str] = MappingProxyType({}),
        **content: Any,
    ) -> dict[str, Any]:
        if not credentials.access_token.isprintable():
            raise NotSentError("The access token has characters that no header can carry.")
        headers = {"Authorization": f"Bearer {credentials.access_token}", "User-Agent": USER_AGENT}
        try:
            async with self._session.request(
                method,
                f"{self._base}/{path}",
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                params={**params, **self._proof(credentials.access_token)},
                **content,
            ) as response:
                status, answer = response.status, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSentError(f"The Graph API cannot be reached: {_cause(error)}.") from error
        except ValueError as error:  # aiohttp raises it for an invalid header or address
            raise NotSentError("The request cannot be made; check the access token.") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            name = type(error).__name__
            raise UnknownOutcomeError(f"The connection was lost ({name}).") from error
        quotable = _quotable(content.get("json", {}))
        return _answer(
            status, answer, secrets={*self._secrets, credentials.access_token}, quotable=quotable
        )


def _cause(error: OSError) -> str:
    """The operating system's error text, without what aiohttp adds."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _quotable(body: Mapping[str, Any]) -> list[str]:
    """What a refusal of this send may quote: its recipient and its words."""
    addresses = [body[name] for name in ("to", "recipient") if body.get(name)]
    return [*addresses, *words_of_message(body)]


def _answer(
    http_status: int, content: bytes, *, secrets: Collection[str], quotable: Collection[str]
) -> dict[str, Any]:
    try:
        answer = json_access.decoded(content)
    except MalformedError as error:
        raise UnknownOutcomeError(f"HTTP {http_status} without JSON.") from error
    if not isinstance(answer, dict):
        raise UnknownOutcomeError(f"HTTP {http_status} with JSON that is no object.")
    if isinstance(answer.get("error"), dict):
        refusal = answer["error"]
        raise GraphError(
            redacted(_detail(refusal), secrets=secrets, messages=quotable),
            code=meta_code(refusal),
            http_status=http_status,
            is_transient=json_access.flag(refusal, "is_transient"),
            is_about_call=_is_about_call(refusal),
        )
    if http_status != HTTP_OK:
        raise UnknownOutcomeError(f"HTTP {http_status} without an error object.")
    return answer


def _is_about_call(error: Mapping[str, Any]) -> bool:
    return (
        json_access.text(error, "type") == "GraphMethodException"
        or json_access.integer(error, "error_subcode") == _NO_SUCH_OBJECT
        or "appsecret_proof" in (json_access.text(error, "message") or "")
    )


def _detail(error: Mapping[str, Any]) -> str:
    details = json_access.text(json_access.mapping(error, "error_data"), "details")
    parts = (json_access.text(error, "message"), details or json_access.text(error, "error_data"))
    return " ".join(part for part in parts if part) or "no reason given"
