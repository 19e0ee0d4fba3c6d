"""The phone page: its files, its live events, and its controls."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Protocol

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from wbot.ingress.bodies import read_body
from wbot.simulator.graph.media import BODY_BYTES_MAX, MediaStore
from wbot.simulator.people import SimulatedBusiness, SimulatedCustomer
from wbot.simulator.phone.chats import Chats
from wbot.simulator.phone.fault_buttons import FaultButtons

EVENTS_WAITING_MAX = 256  # per page; a slower page is disconnected, reconnects and gets the state
PING_S = 10.0
TEXT_MAX = 65_536
PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/phone/phone.css": ("phone.css", "text/css"),
    "/phone/phone.js": ("phone.js", "text/javascript"),
    "/phone/bubbles.js": ("bubbles.js", "text/javascript"),
    "/phone/proof.js": ("proof.js", "text/javascript"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}

Queue = asyncio.Queue[tuple[str, dict[str, Any]] | None]


class Network(Protocol):
    """What the page needs of the simulator."""

    def customer(self, name: str) -> SimulatedCustomer: ...

    def business(self, phone_number_id: str) -> SimulatedBusiness: ...

    async def say(
        self, customer: SimulatedCustomer, text: str, *, business: SimulatedBusiness
    ) -> str: ...

    async def send_inbound(
        self, customer: SimulatedCustomer, message: str, *, business: SimulatedBusiness
    ) -> str: ...

    async def tap(
        self,
        customer: SimulatedCustomer,
        button_id: str,
        title: str,
        context_wamid: str,
        *,
        business: SimulatedBusiness,
    ) -> str: ...

    def read(self, wamids: Sequence[str]) -> None: ...

    def kill(self) -> None: ...


class Pages:
    """The open pages, each with its bounded queue of events."""

    def __init__(self) -> None:
        self._queues: set[Queue] = set()

    def open(self) -> Queue:
        queue: Queue = asyncio.Queue(EVENTS_WAITING_MAX)
        self._queues.add(queue)
        return queue

    def close(self, queue: Queue) -> None:
        self._queues.discard(queue)

    def publish(self, event: str, data: dict[str, Any]) -> None:
        """Queue an event for every page; a page that falls behind is disconnected."""
        for queue in tuple(self._queues):
            if queue.full():
                self._disconnect(queue)
            else:
                queue.put_nowait((event, data))

    async def on_shutdown(self, _app: web.Application) -> None:
        """End every page's connection, so that stopping does not wait for them."""
        for queue in tuple(self._queues):
            self._disconnect(queue)

    def _disconnect(self, queue: Queue) -> None:
        self._queues.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


class Phone:
    """The page and its controls, under `/` and `/phone/`."""

    def __init__(
        self,
        *,
        network: Network,
        chats: Chats,
        pages: Pages,
        fault_buttons: FaultButtons,
        proof: Callable[[], dict[str, Any] | None],
        media: MediaStore,
        businesses: Sequence[SimulatedBusiness],
        customers: Sequence[SimulatedCustomer],
    ) -> None:
        self._network = network
        self._chats = chats
        self._pages = pages
        self._fault_buttons = fault_buttons
        self._proof = proof
        self._media = media
        self._businesses = tuple(businesses)
        self._customers = tuple(customers)

    def routes(self) -> list[web.RouteDef]:
        return [
            *(web.get(path, _page_file(name, kind)) for path, (name, kind) in PAGE_FILES.items()),
            web.get("/phone/events", self._events),
            web.get("/phone/media/{id}", self._media_file),
            web.post("/phone/say", _control(self._say)),
            web.post("/phone/attach", _control(self._attach)),
            web.post("/phone/tap", _control(self._tap)),
            web.post("/phone/read", _control(self._read)),
            web.post("/phone/trouble", _control(self._cause_trouble)),
            web.post("/phone/kill", _control(self._kill)),
        ]

    async def _events(self, request: web.Request) -> web.StreamResponse:
        queue = self._pages.open()
        try:
            async with sse_response(request, ping_interval=PING_S) as response:
                with suppress(ConnectionResetError):  # the page was closed
                    await self._stream(queue, response)
            return response
        finally:
            self._pages.close(queue)

    async def _stream(self, queue: Queue, response: EventSourceResponse) -> None:
        await response.send(json.dumps(self._state()), event="everything")
        while response.is_connected():
            # Only the ping detects a closed page; waiting for the next event does not.
            with suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    waiting = await queue.get()
                if waiting is None:
                    return
                event, data = waiting
                await response.send(json.dumps(data), event=event)

    def _state(self) -> dict[str, Any]:
        people = [{"key": one.key, "name": one.name, "phone": one.phone} for one in self._customers]
        businesses = [
            {"id": one.phone_number_id, "name": one.name, "phone": one.display_phone_number}
            for one in self._businesses
        ]
        known = {
            "customers": people,
            "businesses": businesses,
            "troubles": self._fault_buttons.state(),
        }
        return known | {"proof": self._proof()} | self._chats.snapshot()

    async def _media_file(self, request: web.Request) -> web.Response:
        file = self._media.get(request.match_info["id"])
        if file is None:
            raise web.HTTPNotFound
        headers = HEADERS | {"Content-Type": file.mime_type, "Accept-Ranges": "bytes"}
        if "Range" not in request.headers:
            return web.Response(body=file.data, headers=headers)
        # A player requests the end of a recording to learn its length.
        try:
            start, stop, _ = request.http_range.indices(len(file.data))
        except ValueError:
            raise web.HTTPRequestRangeNotSatisfiable from None
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(file.data)}"
        return web.Response(
            status=HTTPStatus.PARTIAL_CONTENT, body=file.data[start:stop], headers=headers
        )

    async def _say(self, fields: dict[str, Any]) -> str:
        text = str(fields["text"]).strip()
        if not 0 < len(text) <= TEXT_MAX:
            raise ValueError("the text is empty or too long")
        customer, business = self._between(fields)
        return await self._network.say(customer, text, business=business)

    async def _attach(self, fields: dict[str, Any]) -> str:
        customer, business = self._between(fields)
        kind = str(fields["kind"])
        return await self._network.send_inbound(customer, kind, business=business)

    async def _tap(self, fields: dict[str, Any]) -> str:
        customer, business = self._between(fields)
        return await self._network.tap(
            customer,
            str(fields["id"]),
            str(fields["title"]),
            str(fields["wamid"]),
            business=business,
        )

    async def _read(self, fields: dict[str, Any]) -> None:
        self._network.read([str(wamid) for wamid in fields["wamids"]])

    async def _cause_trouble(self, fields: dict[str, Any]) -> None:
        self._fault_buttons.cause(str(fields["name"]), wanted=bool(fields["wanted"]))

    async def _kill(self, _fields: dict[str, Any]) -> None:
        self._network.kill()

    def _between(self, fields: dict[str, Any]) -> tuple[SimulatedCustomer, SimulatedBusiness]:
        customer = self._network.customer(str(fields["customer"]))
        return customer, self._network.business(str(fields["business"]))


def _page_file(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    content = (files("wbot.simulator.phone") / "page" / name).read_bytes()

    async def serve(_request: web.Request) -> web.Response:
        return web.Response(
            body=content, content_type=content_type, charset="utf-8", headers=HEADERS
        )

    return serve


def _control(
    act: Callable[[dict[str, Any]], Awaitable[str | None]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        # Another site's form cannot send this content type without a CORS preflight.
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        try:
            message_id = await act(json.loads(await read_body(request, BODY_BYTES_MAX)))
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"message_id": message_id})

    return handle
