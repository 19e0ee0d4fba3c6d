"""Which client a request comes from, as far as its address tells."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp import web

_KNOWN_MAX = 4_096
_LENGTH_MAX = 64


@lru_cache(_KNOWN_MAX)
def counted_address(text: str) -> str | None:
    """What counts as one address: of IPv6 the /64 that one customer of a provider has.

    None for this machine's own.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return _counted_v6(address) if mapped is None else _counted_v4(mapped)
    return _counted_v4(address)


def client_address(request: web.Request) -> str | None:
    """The address a request comes from; None for a program on this machine.

    X-Forwarded-For is believed only when a proxy on this machine sends it, and of it only the last
    address, which the proxy itself added.
    """
    peer = counted_address(request.remote or "")
    if peer is not None:
        return peer
    forwarded = request.headers.get("X-Forwarded-For", "")
    last = forwarded.rpartition(",")[2].strip()[:_LENGTH_MAX]
    return counted_address(last) if last else None


def _counted_v4(address: IPv4Address) -> str | None:
    return None if address.is_loopback else str(address)


def _counted_v6(address: IPv6Address) -> str | None:
    return None if address.is_loopback else str(IPv6Network((address, 64), strict=False))
