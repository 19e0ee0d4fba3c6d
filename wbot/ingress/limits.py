"""What clients may use before they are authenticated, in one place."""

import resource
from contextlib import suppress

import msgspec

SMALL_BODY_BYTES_MAX = 32 * 1024
"""Nearly every webhook is smaller: the longest text, escaped, has some 25 KB."""

FILES_RESERVED = 1_024
"""Open files kept for the database and for calls to the model and the Graph API."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one listening application."""

    connections_max: int = 4_096
    connections_per_address_max: int = 256
    """Of a peer that is not on this machine: requests through a proxy all have its address."""
    headers_bytes_max: int = 32 * 1024
    small_chunks_max: int = 8_000
    """Chunks of less than 256 bytes in one body: each costs as much as some kilobytes do."""
    bytes_a_small_chunk: int = 200
    """For each so many bytes of it a body may have one small chunk more."""
    headers_timeout_s: float = 10.0
    """From a request's first byte to its last header."""
    keepalive_s: float = 75.0
    """How long a connection may be idle; a proxy before us should give up earlier."""
    unread_answer_s: float = 30.0
    """How long a client may leave an answer unread."""
    linger_s: float = 2.0
    """How long the rest of a refused body is read and thrown away, so that the refusal arrives."""
    body_timeout_s: float = 20.0
    """For the whole body: a slow client does not hold a connection forever."""
    small_bodies_bytes_max: int = 16 * 1024 * 1024
    """All bodies of up to SMALL_BODY_BYTES_MAX together; large ones do not use it."""
    large_bodies_bytes_max: int = 48 * 1024 * 1024
    unfinished_per_address_max: int = 100
    """Bodies that one address has begun and not finished; the address that our proxy reports."""
    gives_way_after_s: float = 2.0
    """Where there is no room, an unfinished body gives way to a new one after this time."""


def raise_open_files_limit() -> None:
    """Use as many open files as the system allows; the usual 1,024 would soon be used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS reports a limit that it does not accept
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_allowed(limits: Limits) -> int:
    """How many connections may be open, so that files are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits.connections_max
    return min(limits.connections_max, soft - min(FILES_RESERVED, soft // 2))
