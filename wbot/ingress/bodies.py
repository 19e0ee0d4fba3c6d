"""Request bodies, read as they come and counted together: large ones never starve small ones."""

import asyncio
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from wbot.ingress.addresses import client_address
from wbot.ingress.limits import SMALL_BODY_BYTES_MAX, Limits

TOO_MUCH = "Too many bytes of bodies are under way; try again."


TOO_MUCH_OF_ONE = "Too many bodies of one address are under way; try again."


class _Room:
    """The bytes that the bodies of one size may hold together."""

    def __init__(self, bytes_max: int) -> None:
        self.free = bytes_max


class _Body:
    """A body under way, and how many bytes it holds of which room."""

    def __init__(self, request: web.Request, began_at: float) -> None:
        self.request = request
        self.began_at = began_at
        self.address = client_address(request)
        self.deadline: asyncio.Timeout
        self.room: _Room | None = None
        self.held = 0
        self.has_given_way = False

    def release(self) -> None:
        if self.room is not None:
            self.room.free += self.held
        self.room, self.held = None, 0

    def give_way(self, now: float) -> None:
        """Release its bytes; its reader raises when it next runs."""
        self.release()
        self.has_given_way = True
        self.deadline.reschedule(now)


class Bodies:
    """Every body under way of one application."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._small = _Room(limits.small_bodies_bytes_max)
        self._large = _Room(limits.large_bodies_bytes_max)
        self._unfinished: dict[_Body, None] = {}  # the oldest first
        self._by_address: Counter[str] = Counter()

    async def receive(
        self, request: web.Request, bytes_max: int, on_chunk: Callable[[bytes], None]
    ) -> tuple[bytes, _Body]:
        """The whole body, and what counts its bytes as under way until it is released."""
        length = check_headers(request, bytes_max)
        body = _Body(request, asyncio.get_running_loop().time())
        is_read = False
        try:
            if length > SMALL_BODY_BYTES_MAX:
                self._hold(body, length)
            # Most webhooks arrive with their headers: nothing is left to wait for.
            read = self._joined if request.content.is_eof() else self._read
            data = await read(body, bytes_max, on_chunk)
            is_read = True
            return data, body
        finally:
            if not is_read:
                body.release()

    def abort_oldest(self) -> bool:
        """Close the connection that has been sending a body for the longest; False without one."""
        for body in self._unfinished:
            transport = body.request.transport
            if transport is not None and not transport.is_closing():
                transport.abort()
                return True
        return False

    async def _read(self, body: _Body, bytes_max: int, on_chunk: Callable[[bytes], None]) -> bytes:
        self._begin(body)
        try:
            async with asyncio.timeout(self._limits.body_timeout_s) as body.deadline:
                return await self._joined(body, bytes_max, on_chunk)
        except TimeoutError as error:
            if body.has_given_way:
                raise web.HTTPServiceUnavailable(text=TOO_MUCH) from error
            raise web.HTTPRequestTimeout(text="The body did not come in time.") from error
        except (ConnectionError, web.RequestPayloadError, RuntimeError) as error:
            # RuntimeError: aiohttp raises it if the connection was closed before we read.
            raise web.HTTPBadRequest(text="The body ended before its time.") from error
        finally:
            self._finish(body)

    def _begin(self, body: _Body) -> None:
        if body.address is not None:
            if self._by_address[body.address] >= self._limits.unfinished_per_address_max:
                raise web.HTTPServiceUnavailable(text=TOO_MUCH_OF_ONE)
            self._by_address[body.address] += 1
        self._unfinished[body] = None

    def _finish(self, body: _Body) -> None:
        del self._unfinished[body]
        if body.address is not None:
            self._by_address[body.address] -= 1
            if not self._by_address[body.address]:
                del self._by_address[body.address]

    async def _joined(
        self, body: _Body, bytes_max: int, on_chunk: Callable[[bytes], None]
    ) -> bytes:
        # One growing array: a client that sends byte by byte would cost 40 bytes for each.
        joined = bytearray()
        while chunk := await body.request.content.readany():
            size = len(joined) + len(chunk)
            if size > bytes_max:
                raise too_large(bytes_max)
            self._hold(body, size)
            on_chunk(chunk)
            joined += chunk
        return bytes(joined)

    def _hold(self, body: _Body, size: int) -> None:
        """Let the body hold so many bytes in all; raises HTTPServiceUnavailable."""
        if body.has_given_way:
            raise web.HTTPServiceUnavailable(text=TOO_MUCH)
        if size <= body.held:
            return
        room = self._small if size <= SMALL_BODY_BYTES_MAX else self._large
        if room is not body.room:
            body.release()
        self._make_room(room, size - body.held, body)
        room.free -= size - body.held
        body.room, body.held = room, size

    def _make_room(self, room: _Room, wanted: int, body: _Body) -> None:
        now = asyncio.get_running_loop().time()
        for other in self._unfinished:
            is_young = now - other.began_at < self._limits.gives_way_after_s
            if room.free >= wanted or is_young:
                break
            if other.room is room and other is not body:
                other.give_way(now)
        if room.free < wanted:
            raise web.HTTPServiceUnavailable(text=TOO_MUCH)


BODIES_KEY = web.AppKey("bodies", Bodies)


def _ignore(_chunk: bytes) -> None:
    """The default, for callers that want only the whole body."""


class received:  # noqa: N801  read as the verb it is in `async with received(request)`
    """The request's whole body, as its client sent it; `on_chunk` gets each part as it comes.

    Its bytes count as under way until the block ends. Raises web.HTTPException: 415 for a body that
    is compressed, 413, 408, 400 for one that ends too early, 503 where too much is under way.
    """

    def __init__(
        self, request: web.Request, *, bytes_max: int, on_chunk: Callable[[bytes], None] = _ignore
    ) -> None:
        self._request = request
        self._bytes_max = bytes_max
        self._on_chunk = on_chunk
        self._body: _Body

    async def __aenter__(self) -> bytes:
        bodies = self._request.app[BODIES_KEY]
        data, self._body = await bodies.receive(self._request, self._bytes_max, self._on_chunk)
        return data

    async def __aexit__(self, *_error: object) -> None:
        self._body.release()


async def read_body(request: web.Request, bytes_max: int) -> bytes:
    """The request's whole body, for handlers that are done with it at once; see `received`."""
    async with received(request, bytes_max=bytes_max) as body:
        return body


def check_headers(request: web.Request, bytes_max: int) -> int:
    """Refuse an unacceptable body by its headers; the announced length, 0 if unknown.

    Raises web.HTTPException.
    """
    if "Content-Encoding" in request.headers:
        encodings = ",".join(request.headers.getall("Content-Encoding")).split(",")
        if any(name.strip().lower() not in {"", "identity"} for name in encodings):
            raise web.HTTPUnsupportedMediaType(
                text="The body is compressed; send it without Content-Encoding."
            )
    length = request.content_length or 0
    if length > bytes_max:
        raise too_large(bytes_max)
    return length


def too_large(bytes_max: int) -> web.HTTPRequestEntityTooLarge:
    """The refusal of a body over the limit."""
    mib = bytes_max / 1024**2
    return web.HTTPRequestEntityTooLarge(
        bytes_max, bytes_max, text=f"The body is over {mib:g} MiB."
    )
