"""Name resolution for hosts that a caller may choose: listed ones as configured, others only at public addresses.

Without it a caller could have the server talk to what only the server can reach (server-side request forgery).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

from aiohttp.abc import AbstractResolver, ResolveResult

Target = tuple[str, int] | None
"""(host, port) where a listed name is really reached; None where its own name and the usual port do."""


class ChosenHosts(AbstractResolver):
    """Resolves with `resolver`, and checks what it says: a connection goes to the address that was checked."""

    def __init__(self, listed: Mapping[str, Target], resolver: AbstractResolver) -> None:
        """`listed` maps names in lower case to their targets; they may be at any address."""
        self._listed = listed
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises OSError when none of them may be called."""
        name = host.lower()
        if name in self._listed:
            target = self._listed[name] or (host, port)
            found = await self._resolver.resolve(target[0], target[1], family)
            return [{**address, "hostname": host} for address in found]
        found = await self._resolver.resolve(host, port, family)
        public = [address for address in found if is_public(address["host"])]
        if not public:
            raise OSError(f"{host} is not at a public address")
        return public

    async def close(self) -> None:
        """Close what is beneath."""
        await self._resolver.close()


def is_public(text: str) -> bool:
    """Whether an IP address belongs to somebody on the Internet, also when it is an IPv4 address inside IPv6."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _translated(address)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a NAT64 gateway would call (RFC 6052)."""
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
