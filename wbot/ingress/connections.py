"""Every open connection: slow and idle ones are closed, so that a new one is always accepted."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web

from wbot.ingress.addresses import counted_address
from wbot.ingress.bodies import Bodies
from wbot.ingress.limits import Limits, connections_allowed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SWEEP_S = 1.0
_HEADERS_END = b"\r\n\r\n"
# The line before a chunk of less than 256 bytes; in JSON no line looks like it.
_SMALL_CHUNK = re.compile(rb"\r\n0*[0-9A-Fa-f]{1,2}[;\r\t ]")


class _Connection(asyncio.Protocol):
    """One client's connection: all of it goes to aiohttp's own protocol, within the limits."""

    def __init__(self, handler: web.RequestHandler, connections: "Connections") -> None:
        self.handler = handler
        self.address: str | None = None
        self.deadline = 0.0
        """When it is closed, in the loop's time, unless a request begins before."""
        self._connections = connections
        self._transport: asyncio.Transport
        self._is_waiting_for_request = True
        self._headers = b""
        self._bytes = 0
        self._small_chunks = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = counted_address(peer[0]) if peer else None
        self.handler.connection_made(transport)
        self._connections.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._is_too_dense(data):
            self.abort()
            return
        if self._is_waiting_for_request:
            self._follow_headers(data)
        self.handler.data_received(data)

    def eof_received(self) -> None:
        self.handler.eof_received()

    def pause_writing(self) -> None:
        self._connections.expects_reading(self)
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        self.handler.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.closed(self)
        self.handler.connection_lost(exc)

    def request_ended(self, *, is_body_left: bool) -> None:
        """Its answer is about to be written; the rest of a body is not part of the next headers."""
        self._is_waiting_for_request = not is_body_left
        self._bytes = self._small_chunks = 0

    def abort(self) -> None:
        self._transport.abort()

    def _is_too_dense(self, data: bytes) -> bool:
        # Asked before aiohttp reads all that came, which would keep everybody waiting.
        limits = self._connections.limits
        self._bytes += len(data)
        self._small_chunks += len(_SMALL_CHUNK.findall(data))
        allowed = limits.small_chunks_max + self._bytes // limits.bytes_a_small_chunk
        return self._small_chunks > allowed

    def _follow_headers(self, data: bytes) -> None:
        limits = self._connections.limits
        if not self._headers:
            data = data.lstrip(b"\r\n")  # aiohttp skips empty lines before a request
            self._connections.expects_headers(self)
        seen = max(0, len(self._headers) - len(_HEADERS_END))
        self._headers += data[: limits.headers_bytes_max + 1 - len(self._headers)]
        if self._headers.find(_HEADERS_END, seen) >= 0:
            self._is_waiting_for_request, self._headers = False, b""
        elif len(self._headers) > limits.headers_bytes_max:
            self.abort()


class Connections:
    """The connections of one listening application; a new one replaces the longest waiting."""

    def __init__(self, limits: Limits, bodies: Bodies) -> None:
        self.limits = limits
        self._bodies = bodies
        self._max = connections_allowed(limits)
        self._open: dict[web.RequestHandler, _Connection] = {}
        self._waiting: dict[_Connection, None] = {}  # those without a request, the longest first
        self._by_address: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)

    def make(self, handler: web.RequestHandler) -> asyncio.Protocol:
        """The protocol of a new connection, around aiohttp's own."""
        return _Connection(handler, self)

    def stop(self) -> None:
        self._sweep_timer.cancel()

    @web.middleware
    async def follow(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """While a request is handled, its connection is not a waiting one."""
        connection = self._open.get(request.protocol)
        if connection is None:  # gone already; what it sent may still be complete
            return await handler(request)
        self._waiting.pop(connection, None)
        try:
            return await handler(request)
        finally:
            is_body_left = not request.content.is_eof()
            connection.request_ended(is_body_left=is_body_left)
            if request.protocol in self._open:
                limits = self.limits
                self._wait(
                    connection, limits.headers_timeout_s if is_body_left else limits.keepalive_s
                )

    def opened(self, connection: _Connection) -> None:
        self._open[connection.handler] = connection
        self._wait(connection, self.limits.keepalive_s)
        address = connection.address
        if address is not None:
            self._by_address[address] += 1
            if self._by_address[address] > self.limits.connections_per_address_max:
                connection.abort()
        if len(self._open) > self._max:
            self._make_room(connection)

    def closed(self, connection: _Connection) -> None:
        self._waiting.pop(connection, None)
        if self._open.pop(connection.handler, None) and connection.address is not None:
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def expects_headers(self, connection: _Connection) -> None:
        """A request has begun to come: it must arrive soon, and is no longer next to be closed."""
        if connection in self._waiting:
            self._wait(connection, min(self._left(connection), self.limits.headers_timeout_s))

    def expects_reading(self, connection: _Connection) -> None:
        """The client does not read its answer."""
        if connection in self._waiting:
            left = min(self._left(connection), self.limits.unread_answer_s)
            connection.deadline = self._loop.time() + left

    def _left(self, connection: _Connection) -> float:
        return connection.deadline - self._loop.time()

    def _wait(self, connection: _Connection, seconds: float) -> None:
        self._waiting.pop(connection, None)
        self._waiting[connection] = None
        connection.deadline = self._loop.time() + seconds

    def _make_room(self, newest: _Connection) -> None:
        oldest = next(iter(self._waiting))
        if oldest is not newest:
            self._waiting.pop(oldest)
            oldest.abort()
        elif not self._bodies.abort_oldest():
            newest.abort()

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [one for one in self._waiting if one.deadline < now]:
            connection.abort()
        self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)
