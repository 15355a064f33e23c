"""Connect only to public addresses: what stops a URL list from reaching into our own network.

A list of URLs from a stranger may name 127.0.0.1, a router, or a cloud's metadata service, either
outright or through a redirect or a name that resolves there. There are two gates. The resolver
refuses a name with any address that is not public, and hands on the addresses that it checked.
The socket is only made for a checked address; this gate sees addresses that stand in a URL too,
which aiohttp resolves no more. Both sit below redirects, hence every hop is checked, and nothing
is resolved between check and connection, so that no second answer can differ (DNS rebinding). The
TLS certificate is still checked against the name.

Address blocks: IANA special-purpose registries, RFC 6890, RFC 6598 (CGNAT), RFC 6052 (NAT64).
"""

import asyncio
import ipaddress
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

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
            _check(address, f"{host} leads to {address}")
    return addresses


def _check(address: str, what: str) -> None:
    if not is_public(address):
        raise BlockedAddressError(f"{what}, which is not public")


class GuardedResolver(AbstractResolver):
    """Names to checked addresses, for aiohttp."""

    def __init__(self, allow_private: bool = False) -> None:
        self.allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As the function `resolve`, whatever the family.

        Raises:
            OSError: the name does not resolve, or leads to an address that is not public.
        """
        try:
            addresses = await resolve(host, port, self.allow_private)
        except (socket.gaierror, UnicodeError) as error:
            raise OSError(f"{host} does not resolve ({error})") from error
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


def guarded_connector(connections: int, allow_private: bool = False) -> aiohttp.TCPConnector:
    """Make an aiohttp connector that connects to checked addresses only.

    Args:
        connections: open at once.
        allow_private: let private addresses through; for a mirror in one's own network.
    """

    def new_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allow_private:
            _check(address[0], str(address[0]))
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        limit=connections, resolver=GuardedResolver(allow_private), socket_factory=new_socket
    )
