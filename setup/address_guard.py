"""Connect only to public addresses: what stops a URL list from reaching into our own network.

A list of URLs from a stranger may name 127.0.0.1, a router, or a cloud's metadata service, either
outright or through a redirect or a name that resolves there. `GuardedTransport` resolves a name
once, checks every address that it got, and connects to a checked one, so that a second resolution
cannot give another answer (DNS rebinding). It sits below redirects, hence every hop is checked.
The TLS certificate is still checked against the name.

Address blocks: IANA special-purpose registries, RFC 6890, RFC 6598 (CGNAT), RFC 6052 (NAT64).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

# Blocks that `ipaddress.is_global` of Python 3.11 lets through, or lets through in some releases.
EXTRA_BLOCKS = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's platform service, a public number
            "192.0.0.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "64:ff9b::/96",  # NAT64: an IPv4 address in disguise
            "64:ff9b:1::/48",
            "2001::/32",  # Teredo
            "2002::/16",  # 6to4
            "fec0::/10",  # once site-local
        ),
    )
)


class BlockedAddressError(OSError):
    """A name or URL leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an IP address is one that the public internet routes to.

    Raises:
        ValueError: not an IP address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        return is_public(str(mapped))
    if any(ip in block for block in EXTRA_BLOCKS):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


async def resolve(host: str, port: int, allow_private: bool = False) -> list[str]:
    """Resolve a name once and return its addresses, all of them checked.

    A name with one public and one private address is refused whole: honest names do not mix them.

    Raises:
        BlockedAddressError: an address is not public (and `allow_private` is not set).
        OSError: the name does not resolve.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private:
        for address in addresses:
            if not is_public(address):
                raise BlockedAddressError(f"{host} leads to {address}, which is not public")
    return addresses


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, allow_private: bool) -> None:
        self.allow_private = allow_private
        self.sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await resolve(host, port, self.allow_private)
        except (socket.gaierror, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve ({error})") from error
        for address in addresses[:-1]:
            try:
                return await self.sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self.sockets.connect_tcp(
            addresses[-1], port, timeout, local_address, socket_options
        )

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise BlockedAddressError(f"{path} is a local socket")

    async def sleep(self, seconds: float) -> None:
        await self.sockets.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """An httpx transport that connects to checked addresses only.

    Args:
        max_connections: open at once.
        allow_private: let private addresses through; for a mirror in one's own network.
    """

    def __init__(self, max_connections: int, allow_private: bool = False) -> None:
        certificates = httpx.create_ssl_context()
        super().__init__(verify=certificates)
        # httpx has no public place for a network backend; its own pool takes one.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=certificates,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            network_backend=_GuardedBackend(allow_private),
        )
