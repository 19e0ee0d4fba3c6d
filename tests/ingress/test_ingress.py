"""What clients without a valid signature can do: nothing that other clients notice."""

import asyncio
import gzip
import json
import resource
import signal
import socket
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from conftest import APP_SECRET, WAIT_S, MakeWorld, World, make_simulator
from test_process import free_port, process, variables
from test_webhook import envelope, post, text

from wbot.inbound.signature import sign
from wbot.ingress.addresses import counted_address
from wbot.ingress.bodies import Bodies
from wbot.ingress.connections import Connections
from wbot.ingress.limits import Limits
from wbot.ingress.server import listening
from wbot.simulator.simulator import serve

MIB = 1024 * 1024
BODY_BYTES_MAX = 4 * MIB


class Client:
    """A connection of a client with its own behaviour."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            return  # closed on us: what was answered before is still there to read

    async def status(self) -> int:
        """The status of the answer; 0 if the connection was closed without one."""
        async with asyncio.timeout(WAIT_S):
            try:
                line = await self._reader.readline()
            except ConnectionError:
                line = b""
        return int(line.split()[1]) if line else 0

    async def closed(self) -> bool:
        """Whether the server closes the connection without an answer."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def clients(port: int) -> AsyncIterator[Callable[..., Any]]:
    """Opens connections, sends these first bytes on each, and closes them at the end."""
    opened: list[Client] = []

    async def opens(*data: bytes) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        opened.append(client)
        for part in data:
            await client.send(part)
        return client

    try:
        yield opens
    finally:
        for client in opened:
            client.close()


def port_of(world: World) -> int:
    return int(world.url.rpartition(":")[2])


def head(*lines: str, length: int | None = None) -> bytes:
    """A request's line and headers; chunked if no length is given."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return "\r\n".join(("POST /api/webhook HTTP/1.1", "Host: test", size, *lines, "", "")).encode()


def signed(body: bytes) -> str:
    return f"X-Hub-Signature-256: {sign(body, APP_SECRET)}"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def answered(world: World, status: int, at_least: int = 1) -> None:
    """Wait until this many webhooks were answered with the status, as /metrics counts them."""
    async with asyncio.timeout(WAIT_S):
        while True:
            async with world.session.get(f"{world.url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            found = [one for one in lines if f'wbot_webhooks_total{{code="{status}"}}' in one]
            if found and float(found[0].split()[1]) >= at_least:
                return


# Compressed bodies -------------------------------------------------------------------------------

BOMB = gzip.compress(bytes(64 * MIB))


@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", BOMB),
        ("GZip", BOMB),
        ("x-gzip", BOMB),
        ("identity, gzip", BOMB),
        ("deflate", zlib.compress(bytes(64 * MIB))),
        ("br", b"\x8b\x02\x80"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("nobody knows", b"{}"),
    ],
)
async def test_a_compressed_body_is_refused_by_its_header(
    make_world: MakeWorld, encoding: str, body: bytes, is_signed: bool
) -> None:
    """None of the body has arrived when the answer is sent."""
    async with make_world() as world, clients(port_of(world)) as opens:
        lines = (f"Content-Encoding: {encoding}", *([signed(body)] if is_signed else []))
        client = await opens(head(*lines, length=len(body)))
        assert await client.status() == 415
        await client.send(body)
        assert (await world.health_of(200))["status"] == "healthy"
        await answered(world, 415)
        assert world.rows("SELECT * FROM webhooks") == []


async def test_a_body_that_says_it_is_not_compressed_is_accepted(make_world: MakeWorld) -> None:
    async with make_world() as world, clients(port_of(world)) as opens:
        for number, encoding in enumerate(("identity", "Identity", "", "identity, identity")):
            body = json.dumps(envelope(text(f"wamid.{number}", "hi"))).encode()
            lines = (f"Content-Encoding: {encoding}", signed(body))
            client = await opens(head(*lines, length=len(body)), body)
            assert await client.status() == 200


async def test_the_simulator_refuses_compressed_bodies_too() -> None:
    simulator = make_simulator()
    async with serve(simulator) as url, aiohttp.ClientSession() as session:
        for path in ("/v1/chat/completions", "/v26.0/1/messages", "/phone/say"):
            headers = {
                "Content-Encoding": "gzip",
                "Content-Type": "application/json",
                "Authorization": "Bearer test-api-key",
            }
            async with session.post(url + path, data=BOMB, headers=headers) as answer:
                assert answer.status == 415, path


# Bytes in progress -------------------------------------------------------------------------------


async def small(world: World, message_id: str) -> int:
    return await post(world, envelope(text(message_id, "hi")))


def large(message_id: str, size: int) -> bytes:
    body = {**envelope(text(message_id, "hi")), "padding": "x" * size}
    return json.dumps(body).encode()


async def test_150_unfinished_bodies_keep_memory_bounded_and_webhooks_answered(
    database_path: Path, tmp_path: Path
) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    async with process(settings, tmp_path) as running, clients(int(settings["WBOT_PORT"])) as opens:
        before = memory_mib(running.pid)
        body = head(length=BODY_BYTES_MAX) + b"x" * (BODY_BYTES_MAX - 1)
        await asyncio.gather(*(opens(body) for _ in range(150)))
        answer = json.dumps(envelope(text("wamid.1", "hi"))).encode()
        client = await opens(head(signed(answer), length=len(answer)), answer)
        assert await client.status() == 200
        codes: list[int] = []
        while codes.count(503) < 100:
            codes.append((await running.event("webhook.answered"))["code"])
        assert memory_mib(running.pid) - before < 250


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


PATIENT = Limits(large_bodies_bytes_max=MIB, gives_way_after_s=WAIT_S * 2, linger_s=0.1)


async def test_a_body_with_a_length_counts_from_its_first_byte(make_world: MakeWorld) -> None:
    async with make_world(limits=PATIENT) as world, clients(port_of(world)) as opens:
        first = await opens(head(length=900_000), b"x")
        await settled(world)
        second = await opens(head(length=900_000), b"x")
        assert await second.status() == 503
        assert await small(world, "wamid.1") == 200
        await first.send(b"x" * 899_999)
        assert await first.status() == 401
        assert await post(world, large("wamid.2", 900_000)) == 200
        await answered(world, 503)


async def settled(world: World) -> None:
    """Wait until earlier bytes are read: a later request has been answered."""
    await world.health_of(200)
    await world.health_of(200)


async def test_a_body_without_a_length_counts_as_it_comes(make_world: MakeWorld) -> None:
    async with make_world(limits=PATIENT) as world, clients(port_of(world)) as opens:
        first = await opens(head(), chunk(b"x" * 600_000))
        await settled(world)
        second = await opens(head(), chunk(b"x" * 300_000))
        await settled(world)
        third = await opens(head(), chunk(b"x" * 200_000))
        assert await third.status() == 503
        assert await small(world, "wamid.1") == 200
        await second.send(b"0\r\n\r\n")
        assert await second.status() == 401
        body = large("wamid.2", 300_000)
        fourth = await opens(head(signed(body)), chunk(body), b"0\r\n\r\n")
        assert await fourth.status() == 200
        await first.send(chunk(b"x" * 600_000))
        assert await first.status() == 503


async def test_small_bodies_have_room_of_their_own(make_world: MakeWorld) -> None:
    """And no more than that: small ones cannot use up everything either."""
    limits = Limits(
        small_bodies_bytes_max=50_000, large_bodies_bytes_max=MIB, gives_way_after_s=WAIT_S * 2
    )
    async with make_world(limits=limits) as world, clients(port_of(world)) as opens:
        await opens(head(length=MIB), b"x")
        await opens(head(length=30_000), b"x" * 29_999)
        await settled(world)
        assert await small(world, "wamid.1") == 200
        assert await post(world, large("wamid.2", 25_000)) == 503
        assert await post(world, large("wamid.2", 100_000)) == 503


async def test_an_old_unfinished_body_gives_way_to_a_new_one(make_world: MakeWorld) -> None:
    limits = Limits(large_bodies_bytes_max=MIB, gives_way_after_s=0.0, linger_s=0.1)
    async with make_world(limits=limits) as world, clients(port_of(world)) as opens:
        for number in range(5):
            old = await opens(head(length=MIB), b"x")
            await settled(world)
            assert await post(world, large(f"wamid.{number}", 900_000)) == 200
            assert await old.status() == 503


async def test_what_is_counted_is_given_back_however_a_body_ends(make_world: MakeWorld) -> None:
    async with make_world(limits=PATIENT) as world, clients(port_of(world)) as opens:
        for number in range(3):
            gone = await opens(head(length=MIB), b"x")
            await settled(world)
            gone.close()
            await answered(world, 400, number + 1)
            broken = await opens(head(), chunk(b"x" * 900_000))
            await settled(world)
            broken.close()
            await answered(world, 400, number + 1)
            assert await post(world, large(f"wamid.{number}", 900_000)) == 200


async def test_one_address_behind_our_proxy_has_so_many_unfinished_bodies(
    make_world: MakeWorld,
) -> None:
    """The proxy's own entry counts, which is the last; what the client wrote before it does not."""
    limits = Limits(unfinished_per_address_max=2)
    async with make_world(limits=limits) as world, clients(port_of(world)) as opens:
        for invented in ("198.51.100.1", "198.51.100.2"):
            line = f"X-Forwarded-For: {invented}, 203.0.113.5"
            await opens(head(line, length=1000), b"x")
        await settled(world)
        third = await opens(head("X-Forwarded-For: 203.0.113.5", length=1000), b"x")
        assert await third.status() == 503
        body = json.dumps(envelope(text("wamid.1", "hi"))).encode()
        other = await opens(
            head("X-Forwarded-For: 203.0.113.6", signed(body), length=len(body)), body
        )
        assert await other.status() == 200
        assert await small(world, "wamid.2") == 200


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("127.0.0.1", None),
        ("127.1.2.3", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_counts_as_what_one_client_has(address: str, counted: str | None) -> None:
    assert counted_address(address) == counted


# Bodies that contradict their headers ------------------------------------------------------------


async def test_a_body_shorter_than_it_says_is_answered_when_time_is_up(
    make_world: MakeWorld,
) -> None:
    async with (
        make_world(limits=Limits(body_timeout_s=0.2, linger_s=0.1)) as world,
        clients(port_of(world)) as opens,
    ):
        short = await opens(head(length=1000), b"x" * 999)
        assert await short.status() == 408
        endless = await opens(head(), chunk(b"x"))
        assert await endless.status() == 408
        await answered(world, 408, 2)


async def test_a_body_longer_than_it_says_is_no_request(make_world: MakeWorld) -> None:
    async with make_world() as world, clients(port_of(world)) as opens:
        body = json.dumps(envelope(text("wamid.1", "hi"))).encode()
        client = await opens(head(signed(body), length=len(body)), body + b"{}\r\n\r\n")
        assert await client.status() == 400
        assert await small(world, "wamid.2") == 200


async def test_a_body_over_4_mib_is_refused_by_its_length_or_where_it_passes_it(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world, clients(port_of(world)) as opens:
        refused = await opens(head(length=BODY_BYTES_MAX + 1))
        assert await refused.status() == 413
        found = await opens(head(), *[chunk(b"x" * MIB)] * 4, chunk(b"x"))
        assert await found.status() == 413
        await answered(world, 413, 2)
        assert await small(world, "wamid.1") == 200


async def test_a_body_that_comes_byte_by_byte_is_accepted(make_world: MakeWorld) -> None:
    async with make_world() as world, clients(port_of(world)) as opens:
        body = json.dumps({**envelope(text("wamid.1", "hi")), "kept": "for this"}).encode()
        parts = [chunk(bytes([byte])) for byte in body]
        client = await opens(head(signed(body)), *parts, b"0\r\n\r\n")
        assert await client.status() == 200
        assert world.rows("SELECT body FROM webhooks") == [{"body": body}]


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"])
@pytest.mark.parametrize("size", [b"1", b"0001", b"1;x"])
async def test_a_body_of_nothing_but_small_chunks_is_cut_off(
    make_world: MakeWorld, before: bytes, size: bytes
) -> None:
    """Each costs some microseconds of everybody's, and 4 MiB hold 700,000."""
    async with make_world() as world, clients(port_of(world)) as opens:
        dense = [(size + b"\r\nz\r\n") * 10_000] * 3
        client = await opens(before + head("Connection: close"), *dense, b"0\r\n\r\n")
        assert b" 401 " not in await client.rest()
        assert await small(world, "wamid.1") == 200


async def test_a_large_body_in_chunks_of_some_size_is_taken(make_world: MakeWorld) -> None:
    async with make_world() as world, clients(port_of(world)) as opens:
        body = json.dumps(envelope(text("wamid.1", "hi" * MIB)), indent=1).encode()
        parts = [chunk(body[place : place + 256]) for place in range(0, len(body), 256)]
        client = await opens(head(signed(body)), b"".join(parts), b"0\r\n\r\n")
        assert await client.status() == 200


# Connections -------------------------------------------------------------------------------------


async def test_headers_must_come_in_time(make_world: MakeWorld) -> None:
    async with (
        make_world(limits=Limits(headers_timeout_s=0.2)) as world,
        clients(port_of(world)) as opens,
    ):
        slow = [await opens(begun) for begun in (b"P", b"\r\n\r\nPOST /api", head(length=1)[:-2])]
        for client in slow:
            assert await client.closed()
        assert await small(world, "wamid.1") == 200


async def test_a_second_request_on_a_connection_must_come_in_time_too(
    make_world: MakeWorld,
) -> None:
    async with (
        make_world(limits=Limits(headers_timeout_s=0.2)) as world,
        clients(port_of(world)) as opens,
    ):
        client = await opens(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
        assert await client.status() == 200
        await client.send(b"GET /hea")
        async with asyncio.timeout(WAIT_S):
            await client.rest()


async def test_endless_headers_are_cut_off(make_world: MakeWorld) -> None:
    limits = Limits(headers_timeout_s=WAIT_S * 2)
    async with make_world(limits=limits) as world, clients(port_of(world)) as opens:
        begun = b"GET /health HTTP/1.1\r\nHost: test\r\n"
        client = await opens(begun, *(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(40)))
        assert await client.closed()


async def test_the_longest_idle_connection_gives_way_to_a_new_one(make_world: MakeWorld) -> None:
    async with (
        make_world(limits=Limits(connections_max=10)) as world,
        clients(port_of(world)) as opens,
    ):
        idle = [await opens() for _ in range(30)]
        assert await small(world, "wamid.1") == 200
        for client in idle[:20]:
            assert await client.closed()


async def test_the_oldest_unfinished_body_gives_way_where_no_connection_is_idle(
    make_world: MakeWorld,
) -> None:
    limits = Limits(connections_max=10)
    async with make_world(limits=limits) as world, clients(port_of(world)) as opens:
        sending = [await opens(head(length=1000), b"x") for _ in range(30)]
        assert await small(world, "wamid.1") == 200
        assert await sending[0].closed()


async def test_900_slow_and_1100_idle_connections_leave_a_webhook_answered(
    database_path: Path, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4_200:
        pytest.skip(f"this machine allows {hard:,} open files, and client and service need 4,200")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, hard))  # what most systems start with
    try:
        settings = variables(database_path, "http://127.0.0.1:9", free_port())
        async with process(settings, tmp_path) as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            async with clients(int(settings["WBOT_PORT"])) as opens:
                await slow_and_idle(opens)
                for number in range(5):
                    body = json.dumps(envelope(text(f"wamid.{number}", "hi"))).encode()
                    client = await opens(head(signed(body), length=len(body)), body)
                    assert await client.status() == 200
                assert await running.end(signal.SIGTERM) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def slow_and_idle(opens: Callable[..., Any]) -> None:
    for _ in range(20):
        slow_headers = [opens(b"POST /api/webhook HTTP/1.1\r\nHo") for _ in range(20)]
        slow_bodies = [opens(head(length=1_000_000), b"x") for _ in range(10)]
        slow_small = [opens(head(length=1_000), b"x") for _ in range(15)]
        idle = [opens() for _ in range(55)]
        await asyncio.gather(*slow_headers, *slow_bodies, *slow_small, *idle)


async def test_every_refusal_has_its_line_in_the_log(database_path: Path, tmp_path: Path) -> None:
    settings = variables(database_path, "http://127.0.0.1:9", free_port())
    async with process(settings, tmp_path) as running, clients(int(settings["WBOT_PORT"])) as opens:
        for code, request in (
            (415, head("Content-Encoding: gzip", length=10)),
            (413, head(length=BODY_BYTES_MAX + 1)),
            (401, head(length=2) + b"{}"),
            (400, head(signed(b"{"), length=1) + b"{"),
        ):
            client = await opens(request)
            assert await client.status() == code
            assert (await running.event("webhook.answered"))["code"] == code
        with closing(await opens(head(length=10), b"x")):
            pass
        assert (await running.event("webhook.answered"))["code"] == 400


async def test_a_client_that_does_not_read_its_answers_is_cut_off(make_world: MakeWorld) -> None:
    limits = Limits(unread_answer_s=0.2)
    async with make_world(limits=limits) as world:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(world), limit=1024)
        with closing(writer), pytest.raises(ConnectionError):
            await asyncio.wait_for(only_ask(writer), WAIT_S)


async def only_ask(writer: asyncio.StreamWriter) -> None:
    """Request after request, forever."""
    while True:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n" * 1000)
        await writer.drain()


class Transport(asyncio.Transport):
    """A connection from another address."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 40_000)})
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted


async def say_nothing(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


async def test_one_address_has_so_many_connections_to_a_port_open_to_all() -> None:
    limits = Limits(connections_per_address_max=2)
    connections = Connections(limits, Bodies(limits))
    server = web.Server(say_nothing)
    addresses = ["203.0.113.5"] * 3 + ["203.0.113.6"] + ["127.0.0.1"] * 3
    transports = [Transport(address) for address in addresses]
    protocols = [connections.make(server()) for _ in transports]
    for protocol, transport in zip(protocols, transports, strict=True):
        protocol.connection_made(transport)
    assert [one.is_aborted for one in transports] == [False, False, True, *[False] * 4]
    for protocol in protocols:
        protocol.connection_lost(None)
    again = Transport("203.0.113.5")
    protocol = connections.make(server())
    protocol.connection_made(again)
    assert not again.is_aborted
    protocol.connection_lost(None)
    connections.stop()
    await server.shutdown()


@pytest.mark.parametrize("steps", range(6))
async def test_a_connection_that_comes_while_the_service_stops_is_closed(steps: int) -> None:
    """However far the event loop has come with it; else its client would wait for ever."""
    app = web.Application()
    async with listening(app, host="127.0.0.1", port=0, shutdown_timeout_s=1) as port:
        waiting = [socket.create_connection(("127.0.0.1", port), WAIT_S) for _ in range(5)]
        for _ in range(steps):
            await asyncio.sleep(0)
    for client in waiting:
        with closing(client):
            client.setblocking(False)
            assert await asyncio.wait_for(ended(client), WAIT_S)


async def ended(client: socket.socket) -> bool:
    try:
        return await asyncio.get_running_loop().sock_recv(client, 1) == b""
    except ConnectionError:
        return True
