"""How every application of wbot listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web

from wbot.domain.errors import ConfigurationError
from wbot.ingress.bodies import BODIES_KEY, Bodies
from wbot.ingress.connections import Connections
from wbot.ingress.limits import Limits

READ_BYTES = 64 * 1024
"""Of each connection, before its handler reads; twice as much at most."""
BACKLOG = 512


@asynccontextmanager
async def listening(
    app: web.Application,
    *,
    host: str,
    port: int,
    shutdown_timeout_s: float,
    limits: Limits | None = None,
    advice: str = "choose another port",
) -> AsyncIterator[int]:
    """Start the application, then open the port, which is yielded; the reverse at the end.

    Raises ConfigurationError, with the advice, where the address cannot be used, and what the start
    raised.
    """
    limits = limits or Limits()
    bodies = app[BODIES_KEY] = Bodies(limits)
    connections = Connections(limits, bodies)
    app.middlewares.insert(0, connections.follow)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # a kilobyte can hold a gigabyte
        read_bufsize=READ_BYTES,
        keepalive_timeout=limits.keepalive_s,
        lingering_time=limits.linger_s,
        shutdown_timeout=shutdown_timeout_s,
    )
    try:
        try:
            await runner.setup()
        except ExceptionGroup as failed:  # a start that failed, in the wrapping of its TaskGroup
            raise failed.exceptions[0] from failed
        server = await _open(runner, connections, host, port, advice)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            await _close(server)
    finally:
        await runner.cleanup()
        connections.stop()


async def _open(
    runner: web.AppRunner, connections: Connections, host: str, port: int, advice: str
) -> asyncio.Server:
    make_handler = cast("web.Server", runner.server)  # there is one since the set-up
    try:
        return await asyncio.get_running_loop().create_server(
            lambda: connections.make(make_handler()), host, port, backlog=BACKLOG
        )
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}; {advice}."
        ) from error


async def _close(server: asyncio.Server) -> None:
    # CPython forgets, without closing it, a connection that is accepted but not set up when its
    # server closes: so stop accepting, let the event loop set those up, and only then close.
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener)
    await asyncio.sleep(0)
    server.close()
