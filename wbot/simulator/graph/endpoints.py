"""The Cloud API's endpoints: sending, read marks, media, numbers and subscriptions."""

import json
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from wbot.clock import Clock
from wbot.ingress.bodies import read_body
from wbot.simulator.call_log import Outcome, ReadMark, Record, Send, SendAttempt
from wbot.simulator.faults.plan import Endpoint, Fault, Faults, Kind
from wbot.simulator.faults.server import FaultInjector
from wbot.simulator.graph.media import BODY_BYTES_MAX
from wbot.simulator.graph.payload_checks import check_message
from wbot.simulator.graph.refusals import (
    GraphError,
    bad_parameter,
    bad_token,
    bad_value,
    missing,
    no_such_business,
    no_token,
)
from wbot.simulator.people import People, SimulatedBusiness, SimulatedCustomer, is_user_id
from wbot.simulator.webhooks.evidence import Evidence, Exchange
from wbot.simulator.webhooks.wire import outbound_id

VERSION = r"/{version:v\d+\.\d+}"
PHONE_DIGITS = range(5, 21)
MEDIA_TYPES = ("image", "video", "audio", "document", "sticker")

_OUTCOMES = {
    Kind.SLOW: Outcome.ACCEPTED,
    Kind.REFUSE: Outcome.REFUSED,
    Kind.DROP: Outcome.DROPPED,
    Kind.GARBLE: Outcome.GARBLED,
    Kind.SILENCE: Outcome.SILENT,
}


@web.middleware
async def graph_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns a GraphError into the answer the Graph API gives."""
    try:
        return await handler(request)
    except GraphError as error:
        return error.to_response()


def check_bearer(request: web.Request, access_token: str) -> None:
    """Raises GraphError unless the call carries the access token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise no_token()
    if token.strip() != access_token:
        raise bad_token()


def refusal(fault: Fault) -> web.StreamResponse:
    """A fault's refusal in the Graph API's shape."""
    error = GraphError(
        fault.code,
        fault.message,
        fault.message,
        status=fault.status,
        retry_after_s=fault.retry_after_s,
    )
    return error.to_response()


class _Address(msgspec.Struct, frozen=True, kw_only=True):
    input: str
    recipient: str
    customer: SimulatedCustomer | None
    swallowed: bool = False


class Messages:
    """`POST /{phone number id}/messages`: sends, read marks and typing indicators."""

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        access_token: str,
        businesses: Sequence[SimulatedBusiness],
        people: People,
        faults: Faults,
        record: Record,
        evidence: Evidence,
        fault_injector: FaultInjector,
        send_delay_s: float,
        has_media: Callable[[str, str], bool],
    ) -> None:
        self._clock = clock
        self._random = random
        self._access_token = access_token
        self._businesses = {business.phone_number_id: business for business in businesses}
        self._people = people
        self._faults = faults
        self._record = record
        self._evidence = evidence
        self._send_delay_s = send_delay_s
        self._fault_injector = fault_injector
        self._has_media = has_media

    def routes(self) -> list[web.RouteDef]:
        return [web.post(VERSION + "/{id}/messages", self._post)]

    async def _post(self, request: web.Request) -> web.StreamResponse:
        payload = await _json_object(request)
        if "status" in payload:
            return await self._mark(request, payload)
        return await self._send(request, payload)

    async def _send(self, request: web.Request, payload: dict[str, Any]) -> web.StreamResponse:
        about = f"{payload.get('to', '')} {payload.get('recipient', '')}"
        fault = self._faults.next_fault(Endpoint.SEND, about)
        outcome = _OUTCOMES[fault.kind if fault else Kind.SLOW]

        def note(how: Outcome, *, code: int | None = None, wamid: str | None = None) -> None:
            attempt = SendAttempt(
                at=self._clock.now(),
                phone_number_id=request.match_info["id"],
                payload=payload,
                outcome=how,
                code=code,
                wamid=wamid,
            )
            self._record.add_attempt(attempt)

        async def act() -> web.StreamResponse:
            try:
                send, address = self._accept(request, payload)
            except GraphError as error:
                note(Outcome.REFUSED, code=error.code)
                raise
            note(outcome, wamid=send.wamid)
            self._record.add_send(send)
            if self._send_delay_s > 0:
                await self._clock.sleep(self._send_delay_s)
            return _accepted(send, address)

        if fault and fault.kind is not Kind.SLOW and not fault.acts:
            note(outcome, code=fault.code if outcome is Outcome.REFUSED else None)
        with self._evidence.during(Exchange.SEND):
            return await self._fault_injector.answer(request, fault, act=act, refuse=refusal)

    async def _mark(self, request: web.Request, payload: dict[str, Any]) -> web.StreamResponse:
        message_id = str(payload.get("message_id", ""))
        phone_number_id = request.match_info["id"]
        customer = self._people.sender_of(message_id, phone_number_id=phone_number_id)
        about = f"{message_id} {customer.key if customer else ''}"

        async def act() -> web.StreamResponse:
            business = self._business_of(request)
            typing = _check_mark(payload)
            if customer is None:
                raise bad_value("There is no message with this id.")
            mark = ReadMark(
                at=self._clock.now(), business=business, message_id=message_id, typing=typing
            )
            self._record.add_read(mark)
            return web.json_response({"success": True})

        fault = self._faults.next_fault(Endpoint.READ, about)
        return await self._fault_injector.answer(request, fault, act=act, refuse=refusal)

    def _business_of(self, request: web.Request) -> SimulatedBusiness:
        check_bearer(request, self._access_token)
        business = self._businesses.get(request.match_info["id"])
        if business is None:
            raise no_such_business()
        return business

    def _accept(self, request: web.Request, payload: dict[str, Any]) -> tuple[Send, _Address]:
        business = self._business_of(request)
        message_type = check_message(payload)
        self._check_media(message_type, payload, business)
        address = self._address_of(payload, business)
        send = Send(
            wamid=outbound_id(self._random, address.recipient),
            business=business,
            recipient=address.recipient,
            customer=address.customer,
            payload=payload,
            at=self._clock.now(),
            opaque=payload.get("biz_opaque_callback_data"),
            swallowed=address.swallowed,
        )
        return send, address

    def _check_media(
        self, message_type: str, payload: dict[str, Any], business: SimulatedBusiness
    ) -> None:
        media_id = payload[message_type].get("id") if message_type in MEDIA_TYPES else None
        if media_id is not None and not self._has_media(media_id, business.phone_number_id):
            raise bad_parameter(
                f"Param {message_type}['id'] is not a valid whatsapp business account "
                "media attachment ID"
            )

    def _address_of(self, payload: dict[str, Any], business: SimulatedBusiness) -> _Address:
        to, recipient = payload.get("to"), payload.get("recipient")
        if to is not None:
            return self._phone_address(to, business)
        if recipient is None:
            raise bad_parameter("The parameter to is required.")
        if not isinstance(recipient, str) or not is_user_id(recipient):
            raise bad_parameter("Param recipient must be a business-scoped user id")
        return _Address(
            input=recipient, recipient=recipient, customer=self._people.by_alias(recipient)
        )

    def _phone_address(self, to: Any, business: SimulatedBusiness) -> _Address:
        if not isinstance(to, str):
            raise bad_parameter("Param to must be a string")
        if is_user_id(to):  # the real API also accepts it, and never delivers it
            return _Address(input=to, recipient=to, customer=None, swallowed=True)
        number = to.translate(str.maketrans("", "", " -().\t"))
        digits = number.removeprefix("+")
        if number == digits:
            digits = business.country_code + digits
        if not (digits.isascii() and digits.isdecimal() and len(digits) in PHONE_DIGITS):
            raise bad_value("Param to is not a phone number.")
        if digits == business.display_phone_number:
            raise GraphError(131021, "Recipient cannot be sender", "Sender and recipient are one.")
        return _Address(input=to, recipient=digits, customer=self._people.by_alias(digits))


def _accepted(send: Send, address: _Address) -> web.Response:
    by_user_id = is_user_id(address.recipient)
    contact = {"input": address.input, "user_id" if by_user_id else "wa_id": address.recipient}
    body = {
        "messaging_product": "whatsapp",
        "contacts": [contact],
        "messages": [{"id": send.wamid}],
    }
    return web.json_response(body)


def _check_mark(payload: dict[str, Any]) -> bool:
    """Whether the mark requests the typing indicator; raises GraphError when it is malformed."""
    if payload.get("messaging_product") != "whatsapp":
        raise bad_parameter("The parameter messaging_product is required.")
    if payload["status"] != "read":
        raise bad_parameter("Param status must be one of {READ}")
    if not isinstance(payload.get("message_id"), str):
        raise missing("message_id")
    typing = payload.get("typing_indicator")
    if typing not in (None, {"type": "text"}):
        raise bad_parameter("Param typing_indicator['type'] must be one of {TEXT}")
    return typing is not None


async def _json_object(request: web.Request) -> dict[str, Any]:
    """The body, or no fields if malformed: the Graph API then reports a missing parameter."""
    try:
        body = json.loads(await read_body(request, BODY_BYTES_MAX))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
